-- An ordinary role installs the extension and owns all of it; another ordinary
-- role owns the ERP's tables; a third writes invoices.
\ir common.psql
SELECT no_plan();

-- rolled back with everything else
SET LOCAL client_min_messages = error;
DROP EXTENSION loyalty CASCADE;
DROP SCHEMA loyalty;
SET LOCAL client_min_messages = warning;
CREATE ROLE lt_dba;
CREATE ROLE lt_erp;
CREATE ROLE lt_cashier;
DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO lt_dba', current_database()); END$$;
-- assertions are run as these roles too
DO $$BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO lt_dba, lt_erp, lt_cashier', current_database()); END$$;

SET LOCAL ROLE lt_dba;
CREATE EXTENSION loyalty;
RESET ROLE;

SELECT is((SELECT extowner::regrole::text FROM pg_extension WHERE extname = 'loyalty'), 'lt_dba', 'an ordinary role can create the extension');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relowner <> 'lt_dba'::regrole
	UNION ALL
	SELECT NULL FROM pg_proc p WHERE p.pronamespace = 'loyalty'::regnamespace AND p.proowner <> 'lt_dba'::regrole
	UNION ALL
	SELECT NULL FROM pg_namespace n WHERE n.nspname = 'loyalty' AND n.nspowner <> 'lt_dba'::regrole
$$, 'and owns all of it');

SET LOCAL ROLE lt_dba;
SELECT loyalty.create_program('own', 'UTC') \gset
SELECT loyalty.set_rule('own', 'base', 1, 1) \gset
RESET ROLE;
GRANT USAGE ON SCHEMA loyalty TO lt_erp;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA loyalty TO lt_erp;

-- the ERP's tables, which neither the extension's owner nor the cashier owns
CREATE SCHEMA erp AUTHORIZATION lt_erp;
GRANT USAGE ON SCHEMA shop TO lt_erp;
SET LOCAL ROLE lt_erp;
CREATE TABLE erp.secret (customer text, is_member boolean);
INSERT INTO erp.secret VALUES ('ann', true), ('bob', false);
CREATE TABLE erp.ticket (id integer PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric);
GRANT USAGE ON SCHEMA erp TO lt_cashier;
GRANT SELECT, INSERT, UPDATE, DELETE ON erp.ticket TO lt_cashier;
-- an extension that no superuser owns can run expressions only as roles that its owner may become
SELECT throws_ok($$SELECT loyalty.attach('ticket', 'own', 'erp.ticket', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$,
	'42501', NULL, 'a table of a role that the extension''s owner may not become is refused');
RESET ROLE;
GRANT lt_erp TO lt_dba;
SET LOCAL ROLE lt_erp;
SELECT loyalty.attach('ticket', 'own', 'erp.ticket', 'r.id', 'r.customer', 'r.at', amount => 'r.total',
	filter => '(SELECT s.is_member FROM erp.secret s WHERE s.customer = r.customer)',
	channel => 'current_user::text') \gset
RESET ROLE;

SELECT ok(NOT has_schema_privilege('lt_cashier', 'loyalty', 'USAGE'), 'the cashier has no right in schema loyalty');
SET LOCAL ROLE lt_cashier;
INSERT INTO erp.ticket (id, customer, total) VALUES (1, 'ann', 70), (2, 'bob', 50);
UPDATE erp.ticket SET total = 80 WHERE id = 1;
RESET ROLE;
SET LOCAL ROLE lt_dba;
SELECT loyalty.settle() \gset
RESET ROLE;
SELECT is(loyalty.balance('own', 'ann'), 80.00, 'the cashier''s tickets earn');
SELECT is(loyalty.balance('own', 'bob'), 0.00, 'by a mapping that reads what the cashier may not read');
SELECT is((SELECT channel FROM loyalty.document WHERE doc_key = '1'), 'lt_erp', 'expressions run as the owner of the table');

-- who may attach
SET LOCAL ROLE lt_erp;
SELECT throws_ok($$SELECT loyalty.attach('theft', 'own', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$,
	'42501', NULL, 'a table of another role cannot be attached');
SELECT throws_ok($$SELECT loyalty.attach('theft', 'own', 'erp.ticket', 'r.id', 'r.customer', 'r.at', amount => 'l.amount',
	lines => 'shop.line', line_parent => 'l.invoice')$$, '42501', NULL, 'nor its lines');
RESET ROLE;
SET LOCAL ROLE lt_cashier;
SELECT throws_ok($$SELECT loyalty.attach('theft', 'own', 'erp.ticket', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$,
	'42501', NULL, 'nor anything without the right to execute attach()');
SELECT throws_ok($$SELECT loyalty.settle()$$, '42501', NULL, 'settle() needs a right as well');
SELECT throws_ok($$SELECT * FROM loyalty.member$$, '42501', NULL, 'the cashier does not see the members');
-- whoever could hang the capture function on a table of their own would mint points
CREATE TEMP TABLE fake (id integer, customer text, at timestamptz, total numeric);
SELECT throws_ok($$CREATE TRIGGER mint AFTER INSERT ON fake FOR EACH ROW EXECUTE FUNCTION loyalty.capture()$$,
	'42501', NULL, 'the capture function cannot be hung on a table of one''s own');
RESET ROLE;

-- the owner of the books cannot rewrite them either
SET LOCAL ROLE lt_dba;
SELECT throws_ok($$UPDATE loyalty.entry SET points = points * 2$$, 'LY004', NULL, 'the owner of the ledger cannot change it');
SELECT throws_ok($$DELETE FROM loyalty.entry$$, 'LY004', NULL, 'nor delete from it');
SELECT throws_ok($$TRUNCATE loyalty.entry$$, 'LY004', NULL, 'nor truncate it');
SELECT throws_ok($$UPDATE loyalty.member SET balance = balance + 1$$, 'LY004', NULL, 'nor change a balance');
RESET ROLE;

-- what the ERP's own pg_dump reads
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c JOIN pg_extension e ON c.oid = ANY (e.extconfig)
	WHERE e.extname = 'loyalty' AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege('lt_erp', c.oid, 'SELECT')
		ELSE has_table_privilege('lt_erp', c.oid, 'SELECT') END
$$, 'the owner of an attached table can dump the extension''s tables');
SELECT is_empty($$
	SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'r'
		AND has_table_privilege('lt_erp', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
$$, 'but write none of them');

-- a table that changes hands
ALTER TABLE erp.ticket OWNER TO lt_dba;
ALTER TABLE erp.secret OWNER TO lt_dba;
GRANT USAGE ON SCHEMA erp TO lt_dba;
SET LOCAL ROLE lt_cashier;
INSERT INTO erp.ticket (id, customer, total) VALUES (3, 'ann', 5);
RESET ROLE;
SET LOCAL ROLE lt_dba;
SELECT loyalty.settle() \gset
RESET ROLE;
SELECT is(loyalty.balance('own', 'ann'), 85.00, 'earning follows the table to its new owner');
SELECT is((SELECT channel FROM loyalty.document WHERE doc_key = '3'), 'lt_dba', 'whose rights count from then on');

-- roles
SELECT lives_ok($$SELECT loyalty.create_roles()$$, 'create_roles() creates the roles');
SELECT is((SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^loyalty_'),
	'loyalty_admin loyalty_bi loyalty_clerk loyalty_erp loyalty_manager loyalty_messenger', 'all six');
SELECT lives_ok($$SELECT loyalty.create_roles()$$, 'and can be called again');
CREATE ROLE lt_new;
GRANT loyalty_admin TO lt_new;
GRANT lt_new TO lt_dba;
CREATE SCHEMA erp2 AUTHORIZATION lt_new;
SET LOCAL ROLE lt_new;
CREATE TABLE erp2.ticket (id integer PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric);
SELECT lives_ok($$SELECT loyalty.attach('ticket2', 'own', 'erp2.ticket', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement')$$,
	'a member of loyalty_admin attaches its own table');
INSERT INTO erp2.ticket (id, customer, total) VALUES (1, 'ann', 15);
SELECT is(loyalty.balance('own', 'ann'), 100.00, 'and earns and looks');
SELECT throws_ok($$UPDATE loyalty.entry SET points = 0$$, NULL, NULL, 'but does not write the books');
RESET ROLE;
SELECT is_empty($$
	SELECT r.rolname, c.oid::regclass FROM pg_class c, pg_roles r
	WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind = 'r'
		AND c.relname IN ('member', 'document', 'entry', 'stored_lot', 'allocation') AND r.rolname ~ '^loyalty_'
		AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
$$, 'no role writes the books by hand');
SELECT ok(NOT has_column_privilege('loyalty_bi', 'loyalty.member', 'customer', 'SELECT'), 'BI does not read who the members are');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
