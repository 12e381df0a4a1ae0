-- Keys of any type, shown as text.
CREATE SCHEMA ke_erp;
SET search_path = ke_erp;
SELECT loyalty.create_program('ke club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('ke club', 'base', 1, 1) > 0 AS created;
CREATE TABLE t_int (k integer PRIMARY KEY, of integer, customer text, total numeric);
CREATE TABLE t_bigint (k bigint PRIMARY KEY, of bigint, customer text, total numeric);
CREATE TABLE t_numeric (k numeric PRIMARY KEY, of numeric, customer text, total numeric);
CREATE TABLE t_uuid (k uuid PRIMARY KEY, of uuid, customer text, total numeric);
CREATE TABLE t_text (k text PRIMARY KEY, of text, customer text, total numeric);
CREATE TABLE t_pair (company text, no integer, of integer, customer text, total numeric, PRIMARY KEY (company, no));
SELECT loyalty.attach('ke ' || t, 'ke club', ('t_' || t)::regclass, 'r.k', 'r.customer', '''2024-03-10''::date',
	amount => 'r.total', return_of => 'r.of') > 0 AS attached
FROM unnest('{int,bigint,numeric,uuid,text}'::text[]) t;
SELECT loyalty.attach('ke pair', 'ke club', 't_pair', '(r.company, r.no)', 'r.customer', '''2024-03-10''::date',
	amount => 'r.total', return_of => 'CASE WHEN r.of IS NOT NULL THEN (r.company, r.of) END') > 0 AS attached;

INSERT INTO t_int VALUES (-5, NULL, 'int', 100);
INSERT INTO t_int VALUES (6, -5, 'int', -40);
INSERT INTO t_bigint VALUES (9223372036854775807, NULL, 'bigint', 100);
INSERT INTO t_bigint VALUES (1, 9223372036854775807, 'bigint', -40);
INSERT INTO t_numeric VALUES (10.500, NULL, 'numeric', 100);
INSERT INTO t_numeric VALUES (11, 10.5, 'numeric', -40);
INSERT INTO t_uuid VALUES ('{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}', NULL, 'uuid', 100);
INSERT INTO t_uuid VALUES ('b0eebc999c0b4ef8bb6d6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'uuid', -40);
INSERT INTO t_text VALUES ('SINV/2024, "7"', NULL, 'text', 100);
INSERT INTO t_text VALUES ('it''s 8', 'SINV/2024, "7"', 'text', -40);
INSERT INTO t_pair VALUES ('ACME', 17, NULL, 'pair', 100), ('ACME, Inc', 17, NULL, 'pair', 1000);
INSERT INTO t_pair VALUES ('ACME', 18, 17, 'pair', -40);
SELECT s.name, d.doc_key, d.kind, d.root_key, d.points
FROM loyalty.document d JOIN loyalty.source s USING (source_id)
WHERE s.name LIKE 'ke %' ORDER BY s.source_id, d.kind DESC, d.doc_key COLLATE "C";

-- renamed, with whatever refers to them
BEGIN;
UPDATE t_text SET k = 'SINV-7' WHERE k LIKE 'SINV%';
UPDATE t_text SET of = 'SINV-7' WHERE of LIKE 'SINV%';
COMMIT;
BEGIN;
UPDATE t_pair SET company = 'Umbrella' WHERE company = 'ACME';
COMMIT;
SELECT s.name, d.doc_key, d.state, d.root_key, d.points
FROM loyalty.document d JOIN loyalty.source s USING (source_id)
WHERE s.name IN ('ke text', 'ke pair') ORDER BY s.source_id, d.state, d.doc_key COLLATE "C", d.root_key COLLATE "C";
SELECT k, loyalty.balance('ke club', k) FROM unnest('{int,bigint,numeric,uuid,text,pair}'::text[]) k;
SELECT loyalty.reevaluate('ke pair', '(Umbrella,17)', '("ACME, Inc",17)');
SELECT points FROM loyalty.explain('ke pair', '(Umbrella,17)') ORDER BY step DESC LIMIT 1;
SELECT s.name, v.* FROM loyalty.source s, loyalty.verify(s.name) v WHERE s.name LIKE 'ke %';
SELECT * FROM loyalty.check();
