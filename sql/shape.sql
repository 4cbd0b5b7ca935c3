-- What the extension consists of: objects, signatures, marks, comments, rights.
\pset format unaligned
\pset tuples_only on
-- members of the extension, array types and row types apart
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, d.objsubid,
       pg_describe_object(d.classid, d.objid, d.objsubid) AS object
  FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid
  LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
  LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.deptype = 'e' AND e.extname = 'gamestate'
   AND (t.oid IS NULL OR (t.typelem = 0 AND coalesce(c.relkind, 'c') = 'c'));
SELECT extversion = gamestate.library_version(), extrelocatable
  FROM pg_extension WHERE extname = 'gamestate';
-- everything but functions
SELECT object FROM member
 WHERE classid <> 'pg_proc'::regclass
 ORDER BY object COLLATE "C";
-- types that callers see
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'gamestate'::regnamespace AND c.relkind = 'c'
 GROUP BY c.relname ORDER BY c.relname COLLATE "C";
-- writers: VOLATILE, PARALLEL UNSAFE
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || coalesce(pg_get_function_result(p.oid), 'procedure'),
       p.provolatile, p.proparallel, p.proisstrict
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
 WHERE p.provolatile = 'v' AND p.proparallel = 'u'
 ORDER BY p.proname COLLATE "C";
-- readers of running games: VOLATILE, PARALLEL RESTRICTED
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || coalesce(pg_get_function_result(p.oid), 'procedure'),
       p.provolatile, p.proparallel, p.proisstrict
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
 WHERE p.provolatile = 'v' AND p.proparallel = 'r'
 ORDER BY p.proname COLLATE "C";
-- all others
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || coalesce(pg_get_function_result(p.oid), 'procedure'),
       p.provolatile, p.proparallel, p.proisstrict
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
 WHERE NOT (p.provolatile = 'v' AND p.proparallel IN ('u', 'r'))
 ORDER BY p.proname COLLATE "C";
-- members without a comment: none
SELECT object FROM member
 WHERE obj_description(objid, classid::regclass::name) IS NULL
 ORDER BY object COLLATE "C";
-- what PUBLIC may do with them: call no writer, change no table
SELECT p.oid::regprocedure
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid,
       aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE a.grantee = 0 AND p.proparallel = 'u'
 ORDER BY p.proname COLLATE "C";
SELECT c.relname, a.privilege_type
  FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid,
       aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
 WHERE a.grantee = 0 AND a.privilege_type <> 'SELECT'
 ORDER BY c.relname COLLATE "C";
SELECT n.nspname, a.privilege_type
  FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid,
       aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
 WHERE a.grantee = 0 AND a.privilege_type <> 'USAGE';
-- security definers have a fixed search_path
SELECT p.oid::regprocedure
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
 WHERE p.prosecdef
   AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search\_path=%');
-- the owner of the archive's tables can do nothing else; the journal is not its
SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls
  FROM pg_roles WHERE rolname = 'gamestate_owner';
SELECT c.oid::regclass FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
 WHERE c.relkind IN ('r', 'p') AND pg_get_userbyid(c.relowner) <> 'gamestate_owner';
SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'gamestate_partitions';
-- payloads are compressed already
SELECT attstorage FROM pg_attribute
 WHERE attrelid = 'gamestate.archive_payload'::regclass AND attname = 'payload';
-- the script cannot be run by itself, twice or relocated
CREATE EXTENSION gamestate;
CREATE SCHEMA elsewhere;
ALTER EXTENSION gamestate SET SCHEMA elsewhere;
DROP SCHEMA elsewhere;
