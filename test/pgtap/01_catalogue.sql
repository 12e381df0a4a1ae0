-- What the catalogues must say about the extension's objects.
\ir common.psql
SELECT no_plan();

CREATE TEMP VIEW member_object AS
	SELECT d.classid, d.objid FROM pg_depend d
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'loyalty');

SELECT cmp_ok((SELECT count(*) FROM member_object), '>', 40::bigint, 'the extension has objects to look at');

SELECT is((SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	WHERE e.extname = 'loyalty'), 'loyalty', 'the extension lives in schema loyalty');

SELECT is_empty($$
	SELECT d.classid::regclass, d.objid FROM pg_depend d
	WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'loyalty'::regnamespace
		AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
		AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype IN ('i', 'a'))
		AND NOT EXISTS (SELECT FROM member_object m WHERE m.classid = d.classid AND m.objid = d.objid)
$$, 'everything in schema loyalty belongs to the extension');

-- comments
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
		AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''
$$, 'every table and view has a comment');
SELECT is_empty($$
	SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
		AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(col_description(c.oid, a.attnum), '') = ''
$$, 'every column of every table and view has a comment');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	WHERE p.pronamespace = 'loyalty'::regnamespace AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''
$$, 'every function and procedure has a comment');
SELECT is_empty($$
	SELECT t.oid::regtype FROM pg_type t
	WHERE t.typnamespace = 'loyalty'::regnamespace AND t.typtype IN ('d', 'e')
		AND coalesce(obj_description(t.oid, 'pg_type'), '') = ''
$$, 'every domain and enum has a comment');

-- rights
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p
	WHERE p.pronamespace = 'loyalty'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
$$, 'PUBLIC may execute nothing');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		AND has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
$$, 'PUBLIC may touch no table or view');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'loyalty'::regnamespace AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE, SELECT, UPDATE') END
$$, 'PUBLIC may touch no sequence');
SELECT ok(NOT has_schema_privilege('public', 'loyalty', 'CREATE'), 'PUBLIC may create nothing in the schema');
SELECT ok(NOT has_schema_privilege('public', 'loyalty', 'USAGE'), 'PUBLIC may not even look into the schema');

-- search_path
SELECT is_empty($$
	SELECT p.oid::regprocedure, p.proconfig FROM pg_proc p
	WHERE p.pronamespace = 'loyalty'::regnamespace AND p.prosecdef
		AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=.*\mpg_temp$')
$$, 'every SECURITY DEFINER function pins its search_path, pg_temp last');
SELECT is_empty($$
	SELECT p.oid::regprocedure, p.proconfig FROM pg_proc p
	WHERE p.pronamespace = 'loyalty'::regnamespace AND p.prosecdef
		AND EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=' AND c ~ '\m(public|"\$user")\M')
$$, 'no SECURITY DEFINER function looks into a schema that others may write');
-- procedures that commit cannot carry a setting
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'loyalty'::regnamespace AND l.lanname = 'plpgsql' AND p.prokind = 'f'
		AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=.*\mpg_temp$')
$$, 'every PL/pgSQL function pins its search_path, pg_temp last');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'v'
		AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)
$$, 'views show a caller what the caller may see');

-- owner
SELECT is_empty($$
	SELECT o.what FROM (
		SELECT c.oid::regclass::text AS what, c.relowner AS owner FROM member_object m
			JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		UNION ALL
		SELECT p.oid::regprocedure::text, p.proowner FROM member_object m
			JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		UNION ALL
		SELECT t.oid::regtype::text, t.typowner FROM member_object m
			JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		UNION ALL
		SELECT n.nspname, n.nspowner FROM pg_namespace n WHERE n.nspname = 'loyalty') o
	WHERE o.owner <> (SELECT extowner FROM pg_extension WHERE extname = 'loyalty')
$$, 'everything belongs to the extension''s owner');

-- dump
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p', 'S')
		AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'loyalty' AND c.oid = ANY (e.extconfig))
$$, 'pg_dump takes along the rows of every table and the state of every sequence');

-- layout: what a cluster of machines needs
SELECT is_empty($$
	SELECT a.attrelid::regclass FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'member_id'
		AND (NOT a.attnotnull OR a.atttypid <> 'bigint'::regtype)
$$, 'member_id is bigint NOT NULL wherever it is');
SELECT is_empty($$
	SELECT i.indexrelid::regclass FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'member_id'
		JOIN pg_class c ON c.oid = i.indrelid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'p') AND i.indisunique
		AND NOT a.attnum = ANY (i.indkey::int2[])
$$, 'every unique index of a growing table contains member_id');
SELECT is_empty($$
	SELECT f.conrelid::regclass, f.conname FROM pg_constraint f
		JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attname = 'member_id'
	WHERE f.connamespace = 'loyalty'::regnamespace AND f.contype = 'f'
$$, 'no foreign key hangs on a growing table');
SELECT is_empty($$
	SELECT d.adrelid::regclass FROM pg_attrdef d
		JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attname = 'member_id'
		JOIN pg_class c ON c.oid = d.adrelid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND pg_get_expr(d.adbin, d.adrelid) ~ 'nextval'
$$, 'no growing table has a counter of its own');
-- a points column that takes NaN would let it into every sum
SELECT throws_ok($$INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at)
	VALUES (1, 1, 'earn', 'NaN', now(), now())$$, '23514', NULL, 'an entry of NaN points is refused');
SELECT is_empty($$
	SELECT t.tgrelid::regclass, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'
$$, 'replica mode switches none of the extension''s own triggers off');

SELECT * FROM finish();
ROLLBACK;
