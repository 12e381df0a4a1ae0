-- What was there before, and what went past.
CREATE SCHEMA rp_erp;
SET search_path = rp_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, of integer);
INSERT INTO invoice SELECT i, 'c' || i % 3, '2024-01-01'::date + i, 10 * i, NULL FROM generate_series(1, 7) i;
INSERT INTO invoice VALUES (8, 'c1', '2024-01-01', -20, 4), (9, NULL, '2024-01-02', 500, NULL);
SELECT loyalty.create_program('rp club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('rp club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('rp invoice', 'rp club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.of') > 0 AS attached;
SELECT c, loyalty.balance('rp club', c) FROM unnest('{c0,c1,c2}'::text[]) c;
SELECT doc_key, is_return FROM loyalty.documents_of('rp invoice');
SELECT doc_key, customer, booked, due FROM loyalty.verify('rp invoice') ORDER BY doc_key;
CALL loyalty.backfill('rp invoice', 'dry_run', 3);
SELECT c, loyalty.balance('rp club', c) FROM unnest('{c0,c1,c2}'::text[]) c;
CALL loyalty.backfill('rp invoice', 'earn', 3);
SELECT c, loyalty.balance('rp club', c) FROM unnest('{c0,c1,c2}'::text[]) c;
CALL loyalty.backfill('rp invoice', 'earn');
SELECT c, loyalty.balance('rp club', c) FROM unnest('{c0,c1,c2}'::text[]) c;
SELECT * FROM loyalty.verify('rp invoice');
\set SHOW_CONTEXT never
CALL loyalty.backfill('rp invoice', 'sideways');
CALL loyalty.backfill('rp invoice', 'earn', 0);
-- a rule changed: old documents keep theirs until one asks
SELECT loyalty.set_rule('rp club', 'base', 2, 1) > 0 AS changed;
SELECT loyalty.balance('rp club', 'c0');
SELECT doc_key, customer, booked, due FROM loyalty.verify('rp invoice') WHERE customer = 'c0' ORDER BY doc_key;
SELECT loyalty.reevaluate('rp invoice', '3');
SELECT loyalty.reevaluate('rp invoice', '3');
SELECT loyalty.balance('rp club', 'c0');
-- an opening: known, but without points
SELECT loyalty.create_program('rp late', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('rp late', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('rp late', 'rp late', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.of') > 0 AS attached;
CALL loyalty.backfill('rp late', 'opening');
SELECT state, count(*) FROM loyalty.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'rp late' GROUP BY state;
SELECT c, loyalty.balance('rp late', c) FROM unnest('{c0,c1,c2}'::text[]) c;
INSERT INTO invoice VALUES (10, 'c0', '2024-02-01', 5, NULL);
SELECT c, loyalty.balance('rp late', c) FROM unnest('{c0,c1,c2}'::text[]) c;
SELECT * FROM loyalty.verify('rp late');
SELECT * FROM loyalty.check();
