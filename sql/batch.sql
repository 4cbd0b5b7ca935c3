-- Many games in one call: apply_moves(), get_states().
\pset format unaligned
\pset null NULL
\set a 0000000b-0000-4000-8000-00000000000a
\set b 0000000b-0000-4000-8000-00000000000b
\set c 0000000b-0000-4000-8000-00000000000c
\set w 0000000b-0000-4000-8000-000000000001
\set y 0000000b-0000-4000-8000-000000000002
\set nobody 0000000b-0000-4000-8000-00000000ffff
SELECT count(gamestate.create_game('batch', '0', '{ann,bob}', game_id => id))
  FROM unnest(ARRAY[:'a', :'b', :'c']::uuid[]) id;
SELECT gamestate.create_game('batch', status => 'waiting', game_id => :'w') IS NOT NULL,
       gamestate.create_game_bytes('batch', '\x00', game_id => :'y') IS NOT NULL;
-- in input order, the same game several times
SELECT * FROM gamestate.apply_moves(ARRAY[:'c', :'a', :'c', :'b']::uuid[], '{1,1,2,NULL}',
	ARRAY['"c2"', '"a2"', '"c3"', '"b2"']::json[], ARRAY['1', '2', '3', NULL]::json[]);
SELECT * FROM gamestate.get_states(ARRAY[:'a', :'b', :'c', :'nobody', NULL, :'a']::uuid[]);
-- a refusal is a row; what comes after it of the same game is judged as if it had not been
SELECT * FROM gamestate.apply_moves(
	ARRAY[:'a', :'nobody', :'b', :'w', :'y', :'a', :'b', NULL, :'b', :'c']::uuid[],
	'{7,1,2,1,1,2,3,1,NULL,3}',
	ARRAY['1', '2', '3', '4', '5', '6', '7', '8', NULL, '10']::json[],
	ARRAY['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']::json[],
	ARRAY[NULL, NULL, 'ann', NULL, NULL, 'bob', 'cyd', NULL, NULL, NULL]);
SELECT * FROM gamestate.get_states(ARRAY[:'a', :'b', :'c']::uuid[]);
-- with all_or_nothing the first refusal is the error
SELECT * FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], '{3,7}',
	ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], all_or_nothing => true);
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(ARRAY[:'a', :'nobody']::uuid[], '{3,7}',
	ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], all_or_nothing => true);
\echo :SQLSTATE
SELECT version FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], '{3,3}',
	ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], all_or_nothing => true);
-- request ids are in the log
SELECT version FROM gamestate.apply_moves(ARRAY[:'a', :'a']::uuid[], '{4,5}',
	ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], NULL, false,
	request_ids => ARRAY['0000000b-0000-4000-8000-00000000f001', NULL]::uuid[]);
SELECT version, request_id, event FROM gamestate.get_changes(:'a', 4);
-- nothing to do
SELECT * FROM gamestate.apply_moves('{}', '{}', '{}', '{}');
SELECT * FROM gamestate.get_states('{}');
-- arrays that do not fit
SELECT * FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], '{1}', ARRAY['1', '2']::json[], ARRAY['1', '2']::json[]);
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], '{1,2}', ARRAY['1', '2']::json[], ARRAY['1', '2']::json[], '{ann}');
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(NULL, '{1}', ARRAY['1']::json[], ARRAY['1']::json[]);
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(ARRAY[:'a']::uuid[], '{1}', NULL, ARRAY['1']::json[]);
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(ARRAY[:'a']::uuid[], '{1}', ARRAY['1']::json[], ARRAY['1']::json[], all_or_nothing => NULL);
\echo :SQLSTATE
SELECT * FROM gamestate.apply_moves(ARRAY[[:'a'], [:'b']]::uuid[], '{1,2}', ARRAY['1', '2']::json[], ARRAY['1', '2']::json[]);
\echo :SQLSTATE
-- limits are a matter of one move; the number of games is one of the call
SET gamestate.max_games_per_transaction = 10;
SELECT ord, sqlstate, message FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], NULL::bigint[] || NULL::bigint || NULL::bigint,
	ARRAY['1', to_json(repeat('x', 64 * 1024))], ARRAY[NULL, NULL]::json[]);
SELECT count(*) FROM gamestate.apply_moves(
	array(SELECT gen_random_uuid() FROM generate_series(1, 11)), array_fill(NULL::bigint, '{11}'),
	array_fill('1'::json, '{11}'), array_fill('1'::json, '{11}'));
\echo :SQLSTATE
RESET gamestate.max_games_per_transaction;
-- in a transaction: own changes count, a savepoint takes them back
BEGIN;
SELECT version FROM gamestate.apply_moves(ARRAY[:'b', :'c']::uuid[], '{4,4}', ARRAY['1', '2']::json[], ARRAY['"b"', '"c"']::json[]);
SAVEPOINT s;
SELECT version FROM gamestate.apply_moves(ARRAY[:'c', :'b']::uuid[], '{5,5}', ARRAY['1', '2']::json[], ARRAY['"c"', NULL]::json[]);
SELECT gamestate.delete_game(:'a');
SELECT ord, version, sqlstate, message FROM gamestate.apply_moves(ARRAY[:'a', :'b']::uuid[], '{6,6}', ARRAY['1', '2']::json[], ARRAY['"c"', '"bb"']::json[]);
SELECT * FROM gamestate.get_states(ARRAY[:'a', :'b', :'c']::uuid[]);
ROLLBACK TO s;
SELECT * FROM gamestate.get_states(ARRAY[:'a', :'b', :'c']::uuid[]);
COMMIT;
-- bytes
SELECT * FROM gamestate.apply_moves_bytes(ARRAY[:'y', :'a', :'y']::uuid[], '{1,1,2}', '{"\\x01","\\x02","\\x03"}', '{"\\x11","\\x12",NULL}');
SELECT * FROM gamestate.get_states_bytes(ARRAY[:'y']::uuid[]);
SELECT * FROM gamestate.get_states_bytes(ARRAY[:'y', :'a']::uuid[]);
\echo :SQLSTATE
SELECT * FROM gamestate.get_states(ARRAY[:'y']::uuid[]);
\echo :SQLSTATE
-- only what is newer
SELECT gamestate.get_state_if_newer(:'b', 4), gamestate.get_state_if_newer(:'b', 5), gamestate.get_state_if_newer(:'b', 6),
       gamestate.get_state_if_newer(:'nobody', 0), gamestate.get_state_if_newer_bytes(:'y', 2);
SELECT gamestate.get_state_if_newer(:'y', 9);
\echo :SQLSTATE
BEGIN;
SELECT gamestate.apply_move(:'b', 5, '1', NULL);
SELECT gamestate.get_state_if_newer(:'b', 5), gamestate.get_state_if_newer(:'b', 6);
SELECT gamestate.apply_move(:'b', 6, '1', '"six"');
SELECT gamestate.get_state_if_newer(:'b', 6), gamestate.get_state_if_newer(:'b', 7);
ROLLBACK;
-- games that are over
SELECT gamestate.finish_game(:'c');
SELECT ord, sqlstate, regexp_replace(message, '(finished|archived)', 'finished or archived') FROM gamestate.apply_moves(ARRAY[:'c']::uuid[], '{1}', ARRAY['1']::json[], ARRAY['1']::json[]);
SELECT version, state FROM gamestate.get_states(ARRAY[:'c']::uuid[]);
SELECT gamestate.get_state_if_newer(:'c', 5), gamestate.get_state_if_newer(:'c', 6);
SELECT count(gamestate.delete_game(id)) FROM unnest(ARRAY[:'a', :'b', :'w', :'y']::uuid[]) id;
