-- Leases: games are claimed, renewed, given up; moves show their lease.
\pset format unaligned
\pset tuples_only on
\pset null (null)
\set VERBOSITY terse
\set g1 24000000-0000-4000-8000-000000000001
\set g2 24000000-0000-4000-8000-000000000002
\set g3 24000000-0000-4000-8000-000000000003
\set room 24000000-0000-4000-8000-000000000004
\set nobody 24000000-0000-4000-8000-00000000ffff
SELECT count(gamestate.create_game('leases', '{}', '{ann}', game_id => ('24000000-0000-4000-8000-00000000000' || n)::uuid)) FROM generate_series(1, 3) n;
SELECT gamestate.create_game('leases room', game_id => :'room', status => 'waiting');
-- by type, at most so many
SELECT count(*), count(DISTINCT lease), min(version), min(expires_at) > now() + '20 s' FROM gamestate.claim_games('server a', 'leases', 2);
SELECT count(*), count(DISTINCT lease), count(DISTINCT game_id), count(DISTINCT pid), bool_and(pid = pg_backend_pid()) FROM gamestate.list_leases('server a');
SELECT count(*) FROM gamestate.claim_games('server b', 'leases');
SELECT count(*) FROM gamestate.claim_games('server b', 'leases');
SELECT count(*) FROM gamestate.claim_games('server a', 'leases');
SELECT count(*) FROM gamestate.claim_games('server a', 'none');
SELECT count(*) FROM gamestate.claim_games('server a', 'leases', 0);
SELECT owner_name, count(*) FROM gamestate.list_leases() WHERE owner_name LIKE 'server _' GROUP BY 1 ORDER BY 1;
-- given up: all, or some
SELECT gamestate.release_games('server a');
SELECT gamestate.release_games('server a');
SELECT gamestate.release_games('server x');
SELECT gamestate.release_games('server b', (SELECT array_agg(game_id) FROM gamestate.list_leases('server b')));
SELECT count(*) FROM gamestate.list_leases('server b');
-- named ones
SELECT game_id, version FROM gamestate.claim_games('server a', game_ids => ARRAY[:'g1', :'g1', :'nobody', :'room']::uuid[]) ORDER BY 1;
SELECT game_id FROM gamestate.claim_games('server b', 'leases', game_ids => ARRAY[:'g1', :'g2', :'g3', :'room']::uuid[], max_games => 1);
SELECT gamestate.release_games('server a', ARRAY[:'g2', :'room', :'nobody']::uuid[]);
-- under a lease
SELECT lease AS l1 FROM gamestate.list_leases('server a') WHERE game_id = :'g1' \gset
SELECT lease AS l2 FROM gamestate.list_leases('server b') WHERE game_id = :'g2' \gset
SELECT :l2 > :l1;
\set VERBOSITY sqlstate
SELECT gamestate.apply_move(:'g1', 1, '1', NULL, 'ann', lease => :l1);
SELECT gamestate.apply_move(:'g1', 2, '1', NULL, 'ann', lease => :l2);
\echo :SQLSTATE
SELECT gamestate.apply_move(:'g1', 1, '1', NULL, 'ann', lease => :l2);
\echo :SQLSTATE
SELECT gamestate.apply_move(:'g3', 1, '1', NULL, 'ann', lease => :l1);
\echo :SQLSTATE
SELECT gamestate.apply_patch(:'g1', 2, '1', '{"a": 1}', lease => :l1);
SELECT gamestate.apply_patch(:'g1', 3, '1', '{"a": 1}', lease => 0);
\echo :SQLSTATE
-- who shows none is let through
SELECT gamestate.apply_move(:'g1', 3, '1', NULL);
SELECT version, sqlstate, regexp_replace(message, '[0-9]{10,}', 'N', 'g') FROM gamestate.apply_moves(ARRAY[:'g1', :'g1', :'g2']::uuid[], '{4,5,1}', '{1,2,3}', '{NULL,NULL,NULL}', leases => ARRAY[:l1, 1, NULL]::bigint[]);
SELECT gamestate.finish_game(:'g1', lease => 17);
\echo :SQLSTATE
\set VERBOSITY terse
-- a retry may come under another lease
SELECT gamestate.apply_move(:'g1', 5, '"r"', NULL, lease => :l1, request_id => '24000000-0000-4000-8000-0000000000aa');
SELECT gamestate.apply_move(:'g1', 5, '"r"', NULL, lease => 1, request_id => '24000000-0000-4000-8000-0000000000aa');
-- a lease ends with the game, also if the id is used again
SELECT gamestate.finish_game(:'g1', lease => :l1);
SELECT count(*) FROM gamestate.list_leases('server a');
BEGIN;
SELECT gamestate.delete_game(:'g2');
SELECT gamestate.create_game('leases', '{}', '{ann}', game_id => :'g2');
COMMIT;
SELECT count(*) FROM gamestate.list_leases('server b');
SELECT count(*) FROM gamestate.claim_games('server a', game_ids => ARRAY[:'g1', :'g2']::uuid[]);
SELECT gamestate.delete_game(:'g2');
SELECT count(*) FROM gamestate.list_leases('server a');
-- what was claimed is given up by a rollback
BEGIN;
SELECT count(*) FROM gamestate.claim_games('server a', game_ids => ARRAY[:'g3']::uuid[]);
SAVEPOINT s;
SELECT count(*) FROM gamestate.claim_games('server a', game_ids => ARRAY[:'room']::uuid[]);
SELECT count(*) FROM gamestate.list_leases('server a');
ROLLBACK TO s;
SELECT count(*) FROM gamestate.list_leases('server a');
SAVEPOINT t;
SELECT count(*) FROM gamestate.claim_games('server a', game_ids => ARRAY[:'room']::uuid[]);
RELEASE t;
ROLLBACK;
SELECT count(*) FROM gamestate.list_leases('server a');
BEGIN;
SELECT count(*) FROM gamestate.claim_games('server a', game_ids => ARRAY[:'g3']::uuid[]);
COMMIT;
SELECT count(*) FROM gamestate.list_leases('server a');
-- a game of this transaction cannot be claimed before it is committed
BEGIN;
SELECT gamestate.create_game('leases new', game_id => :'g2');
SELECT count(*) FROM gamestate.claim_games('server a', 'leases new');
ROLLBACK;
-- the time: renewed, over
SELECT gamestate.release_games('server a');
SELECT gamestate.feed_position() AS pos \gset
SELECT lease AS l3 FROM gamestate.claim_games('server a', 'leases', with_session => false) \gset
SELECT pid, expires_at < clock_timestamp() + '31 s' FROM gamestate.list_leases('server a');
SELECT gamestate.renew_lease('server a', '1 h');
SELECT expires_at > clock_timestamp() + '50 min' FROM gamestate.list_leases('server a');
SELECT gamestate.renew_lease('server x');
SELECT gamestate.apply_move(:'g3', 1, '1', NULL, lease => :l3);
SELECT gamestate.renew_lease('server a', '1 ms');
SELECT pg_sleep(0.1);
\set VERBOSITY sqlstate
SELECT gamestate.apply_move(:'g3', 2, '1', NULL, lease => :l3);
\set VERBOSITY terse
SELECT gamestate.renew_lease('server a');
SELECT count(*) FROM gamestate.list_leases('server a');
SELECT lease > :l3 FROM gamestate.claim_games('server b', 'leases', ttl => NULL);
SELECT pid = pg_backend_pid(), expires_at FROM gamestate.list_leases('server b');
SELECT gamestate.release_games('server b');
-- what the feed tells
SELECT kind, event->>'owner', (event->>'lease')::bigint > 0, version FROM gamestate.wait_changes(:pos, ARRAY[:'g3']::uuid[], timeout => '0') WHERE kind <> 'position' ORDER BY feed_position;
-- names are texts
SELECT count(*) FROM gamestate.claim_games(E'q"\\\t\u00e9', game_ids => ARRAY[:'g3']::uuid[]);
SELECT event->>'owner' = E'q"\\\t\u00e9', type FROM gamestate.wait_changes(:pos, ARRAY[:'g3']::uuid[], timeout => '0') WHERE kind = 'claimed' ORDER BY feed_position DESC LIMIT 1;
SELECT gamestate.release_games(E'q"\\\t\u00e9');
-- arguments
SELECT gamestate.claim_games('');
\echo :SQLSTATE
SELECT gamestate.claim_games(NULL);
\echo :SQLSTATE
SELECT gamestate.claim_games(repeat('x', 64));
\echo :SQLSTATE
SELECT gamestate.claim_games('a', max_games => -1);
\echo :SQLSTATE
SELECT gamestate.claim_games('a', ttl => '0');
\echo :SQLSTATE
SELECT gamestate.claim_games('a', ttl => NULL, with_session => false);
\echo :SQLSTATE
SELECT gamestate.claim_games('a', with_session => NULL);
\echo :SQLSTATE
SELECT gamestate.claim_games('a', game_ids => '{NULL}');
\echo :SQLSTATE
SELECT gamestate.renew_lease('a', NULL);
\echo :SQLSTATE
BEGIN READ ONLY;
SELECT gamestate.claim_games('a');
\echo :SQLSTATE
ROLLBACK;
SELECT count(gamestate.delete_game(game_id)) FROM gamestate.list_live_games() WHERE game_type LIKE 'leases%' AND status <> 'finished';
