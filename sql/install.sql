-- The extension arrives: what it brings, and that nobody else may touch it.
CREATE EXTENSION loyalty;
SELECT extname, nspname, extversion, extrelocatable
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'loyalty';
-- one name a line, so that a new one changes one line
\a\t
SELECT relname, CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE relkind::text END AS kind
FROM pg_class WHERE relnamespace = 'loyalty'::regnamespace AND relkind NOT IN ('i', 'S', 't')
ORDER BY kind, relname COLLATE "C";
SELECT DISTINCT proname, CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind
FROM pg_proc WHERE pronamespace = 'loyalty'::regnamespace
ORDER BY kind, proname;
\a\t
-- a second copy is refused, another schema as well
CREATE EXTENSION loyalty;
CREATE EXTENSION IF NOT EXISTS loyalty;
ALTER EXTENSION loyalty SET SCHEMA public;
-- it has no programme, no source, no member, and nothing to complain of
SELECT count(*) FROM loyalty.program;
SELECT * FROM loyalty.status();
SELECT loyalty.settle();
SELECT loyalty.retry_parked();
CALL loyalty.upkeep();
SELECT * FROM loyalty.check();
