-- The extension goes: the ERP stays.
CREATE SCHEMA un_erp;
SET search_path = un_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.create_program('un club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('un club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('un invoice', 'un club', 'invoice', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total') > 0 AS attached;
INSERT INTO invoice VALUES (1, 'ann', 10);
SELECT loyalty.balance('un club', 'ann');
SELECT * FROM loyalty.check();
-- dropped and not dropped
SET client_min_messages = warning;
BEGIN;
INSERT INTO invoice VALUES (2, 'ann', 10);
DROP EXTENSION loyalty CASCADE;
INSERT INTO invoice VALUES (3, 'ann', 10);
ROLLBACK;
INSERT INTO invoice VALUES (2, 'ann', 5);
SELECT loyalty.balance('un club', 'ann');
-- with a document under way
BEGIN;
INSERT INTO invoice VALUES (3, 'ann', 10);
DROP EXTENSION loyalty CASCADE;
INSERT INTO invoice VALUES (4, 'ann', 10);
COMMIT;
RESET client_min_messages;
INSERT INTO invoice VALUES (5, 'ann', 10);
UPDATE invoice SET total = 11;
DELETE FROM invoice WHERE id = 1;
SELECT * FROM invoice ORDER BY id;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'invoice'::regclass;
SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname = 'loyalty';
-- and comes again, knowing nothing
CREATE EXTENSION loyalty;
SELECT count(*) FROM loyalty.program;
SELECT loyalty.create_program('un club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('un club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('un invoice', 'un club', 'invoice', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total') > 0 AS attached;
INSERT INTO invoice VALUES (6, 'ann', 10);
SELECT loyalty.balance('un club', 'ann');
SELECT * FROM loyalty.check();
SET client_min_messages = warning;
DROP EXTENSION loyalty CASCADE;
DROP SCHEMA loyalty;
SELECT count(*) FROM invoice;
