-- CALL backfill(): it commits on its way, so this file leaves its rows behind,
-- under names that no other run has.
\set ON_ERROR_STOP 1
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS loyalty;
SET client_min_messages = warning;
SELECT 'backfill_' || to_char(clock_timestamp(), 'YYYYMMDDHH24MISSUS') AS run \gset
SELECT set_config('test.run', :'run', false) \g /dev/null
CREATE SCHEMA :"run";
SET search_path = :"run", public;
SELECT no_plan();

CREATE TABLE invoice (id integer PRIMARY KEY, customer text, at date, total numeric, of integer);
INSERT INTO invoice SELECT i, 'c' || i % 50, '2024-01-01'::date + i % 90, 1 + i % 7, NULL FROM generate_series(1, 1000) i;
INSERT INTO invoice SELECT 1000 + i, 'c' || (i * 9) % 50, '2024-01-01'::date + (i * 9) % 90 + 1, -1, i * 9 FROM generate_series(1, 100) i;
SELECT loyalty.create_program(:'run', 'UTC') AS program \gset
SELECT loyalty.set_rule(:'run', 'base', 1, 1) AS rule \gset
SELECT loyalty.set_tier(:'run', 'Silver', 40, 2) AS tier \gset
SELECT loyalty.attach(:'run', :'run', 'invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.of') AS source \gset

CALL loyalty.backfill(:'run', 'dry_run', 100) \gset dry_
SELECT is(:dry_documents, 1100, 'dry_run counts the documents');
SELECT is((SELECT count(*) FROM loyalty.member WHERE program_id = :program), 0::bigint, 'and writes nothing');
SELECT is(:dry_parked, 0, 'and parks nothing');

-- a batch at a time; live traffic before, which is not booked twice
INSERT INTO invoice VALUES (5000, 'live', '2024-04-01', 10);
UPDATE invoice SET total = total + 1 WHERE id = 500;
CALL loyalty.backfill(:'run', 'earn', 64) \gset one_
SELECT is(:one_documents, 1101, 'earn takes every document');
SELECT is(:one_parked, 0, 'and parks none');
SELECT is((SELECT count(DISTINCT e.doc_key) FROM loyalty.entry e WHERE e.source_id = :source), 1101::bigint, 'each has its entry');
SELECT is((SELECT sum(balance) FROM loyalty.member WHERE program_id = :program), :one_points + 10 + (SELECT sum(points) FROM loyalty.document WHERE source_id = :source AND doc_key = '500'),
	'the points are those that live traffic had not booked already');
SELECT is_empty(format('SELECT * FROM loyalty.verify(%L)', :'run'), 'verify finds nothing');
SELECT is_empty('SELECT * FROM loyalty.check()', 'check() finds nothing');
SELECT (SELECT count(*) FROM loyalty.entry WHERE source_id = :source) AS entries \gset
CALL loyalty.backfill(:'run', 'earn', 1000) \gset two_
SELECT is(:two_points::numeric, 0.00, 'again it books nothing');
SELECT is((SELECT count(*) FROM loyalty.entry WHERE source_id = :source), :entries::bigint, 'not even an entry');
SELECT is((SELECT string_agg(DISTINCT t.name, ' ') FROM loyalty.member m JOIN loyalty.tier t USING (tier_id) WHERE m.program_id = :program), 'Silver', 'tiers are reached');

-- an opening: history is known, but earns nothing
SELECT loyalty.create_program(:'run' || ' opening', 'UTC') AS program2 \gset
SELECT loyalty.set_rule(:'run' || ' opening', 'base', 1, 1) AS rule2 \gset
SELECT loyalty.attach(:'run' || ' opening', :'run' || ' opening', 'invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.of') AS source2 \gset
CALL loyalty.backfill(:'run' || ' opening', 'opening', 200) \gset open_
SELECT is(:open_points::numeric, 0.00, 'opening books no points');
SELECT is(:open_documents, 1101, 'for as many documents');
UPDATE invoice SET total = total + 1 WHERE id = 1;
INSERT INTO invoice VALUES (5001, 'live', '2024-04-02', 4);
SELECT is(loyalty.balance(:'run' || ' opening', 'live'), 4.00, 'what comes after it earns');
CALL loyalty.backfill(:'run' || ' opening', 'earn', 200) \gset after_
SELECT is((SELECT sum(balance) FROM loyalty.member WHERE program_id = :program2), 4.00, 'a later backfill leaves the opening alone');

CALL loyalty.backfill(:'run' || ' opening', 'opening', 100) \gset again_
SELECT is(loyalty.balance(:'run' || ' opening', 'live'), 4.00, 'nor does an opening take what live traffic has earned');

-- within a transaction: a dry run is all that can be undone
BEGIN;
CALL loyalty.backfill(:'run', 'dry_run') \gset block_
SELECT is(:block_documents, 1102, 'a dry run within a transaction');
ROLLBACK;
SELECT throws_ok(format('CALL loyalty.backfill(%L)', :'run'), '2D000', NULL, 'anything else is refused there');

-- documents that cannot be read are parked, the others booked
CREATE TABLE ratio (id integer PRIMARY KEY, customer text, total numeric, qty numeric);
INSERT INTO ratio SELECT i, 'r', 10, i % 5 FROM generate_series(1, 25) i;
SELECT loyalty.attach(:'run' || ' ratio', :'run', 'ratio', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty') AS source3 \gset
SET client_min_messages = error;
CALL loyalty.backfill(:'run' || ' ratio', 'earn', 10) \gset bad_
SELECT is(:bad_parked, 5, 'documents that fail are parked');
SELECT is((SELECT count(*) FROM loyalty.document WHERE source_id = :source3 AND state = 'booked'), 20::bigint, 'the others are booked');
SELECT is((SELECT count(*) FROM loyalty.pending WHERE source_id = :source3), 5::bigint, 'each waits once');
DELETE FROM ratio WHERE qty = 0;
SELECT is((SELECT count(*) FROM loyalty.pending WHERE source_id = :source3), 0::bigint, 'and no longer when it is deleted');

-- arguments
SELECT throws_ok(format($$CALL loyalty.backfill(%L, 'guess')$$, :'run'), '22023', NULL, 'an unknown mode is refused');
SELECT throws_ok(format($$CALL loyalty.backfill(%L, 'earn', 0)$$, :'run'), '22023', NULL, 'a batch of 0 is refused');
SELECT throws_ok($$CALL loyalty.backfill('nowhere')$$, 'LY001', NULL, 'an unknown source is refused');

SELECT loyalty.detach(:'run' || s) AS d FROM unnest(ARRAY['', ' opening', ' ratio']) s \g /dev/null
SELECT is_empty('SELECT * FROM loyalty.check()', 'check() finds nothing');
SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA :"run" CASCADE;
