-- check_source() and status(): what a DBA looks at.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('st', 'UTC') \gset
SELECT loyalty.set_rule('st', 'base', 1, 1) \gset
INSERT INTO shop.invoice (id, customer, total) SELECT i, 'c' || i % 10, 10 FROM generate_series(1, 100) i;
INSERT INTO shop.line (id, invoice, amount) SELECT i, 1 + i % 100, 5 FROM generate_series(1, 1000) i;
ANALYZE shop.invoice, shop.line;

-- an attached table with everything it needs
SELECT shop.attach_lines('good', 'st') \gset
SELECT isnt_empty($$SELECT FROM loyalty.check_source('good')$$, 'check_source() says what it looked at');
SELECT is_empty($$SELECT * FROM loyalty.check_source('good') WHERE NOT ok$$, 'and has nothing against a good mapping');
SELECT is_empty($$SELECT * FROM loyalty.check_source('good', 3) WHERE ok IS NULL OR check_name IS NULL$$, 'with fewer documents too');
SELECT is_empty($$SELECT FROM shop.entry$$, 'it books nothing');
SELECT is_empty($$SELECT FROM shop.member$$, 'and makes nobody a member');
SELECT throws_ok($$SELECT loyalty.check_source('nowhere')$$, 'LY001', NULL, 'an unknown source is an error');

-- lines without an index on their parent
DROP INDEX shop.line_invoice_idx;
SELECT isnt_empty($$SELECT FROM loyalty.check_source('good') WHERE NOT ok AND detail ~* '\mscan'$$, 'a sequential scan of the lines is warned of');
CREATE INDEX line_invoice_idx ON shop.line (invoice);
SELECT is_empty($$SELECT * FROM loyalty.check_source('good') WHERE NOT ok$$, 'an index cures that');
-- a key without an index: each document would be looked for in all of them
CREATE TABLE shop.heap (id integer, customer text, total numeric);
INSERT INTO shop.heap SELECT i, 'h', 1 FROM generate_series(1, 1000) i;
SELECT loyalty.attach('heap', 'st', 'shop.heap', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total') \gset
SELECT isnt_empty($$SELECT FROM loyalty.check_source('heap') WHERE NOT ok AND detail ~* '\mscan'$$, 'a sequential scan of the documents is warned of');

-- a mapping that fails on some rows
CREATE TABLE shop.bad (id integer PRIMARY KEY, customer text, qty numeric, total numeric);
INSERT INTO shop.bad SELECT i, 'b', i % 10, 100 FROM generate_series(1, 20) i;
SELECT loyalty.attach('bad', 'st', 'shop.bad', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total / r.qty') \gset
SELECT isnt_empty($$SELECT FROM loyalty.check_source('bad', 20) WHERE NOT ok AND detail ~* 'division by zero'$$, 'a mapping that fails on some documents is shown with its error');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and nothing is parked by looking');
-- an empty table is no failure
CREATE TABLE shop.empty (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('empty', 'st', 'shop.empty', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total') \gset
SELECT lives_ok($$SELECT * FROM loyalty.check_source('empty')$$, 'an empty table can be checked');

-- status
SELECT results_eq($$SELECT source, attached, capturing, mapping_ok, queued, parked, problem FROM loyalty.status() WHERE source = 'good'$$,
	$$VALUES ('good', true, true, true, 0::bigint, 0::bigint, NULL::text)$$, 'status() of a source that works');
SELECT results_eq($$SELECT header, lines FROM loyalty.status() WHERE source = 'good'$$, $$VALUES ('shop.invoice', 'shop.line')$$, 'with its tables');
SELECT is((SELECT count(*) FROM loyalty.status()), (SELECT count(*) FROM loyalty.source), 'every source has its row');

CREATE FUNCTION shop.state(name text) RETURNS text LANGUAGE sql AS $$
	SELECT format('attached %s, capturing %s, mapping %s, problem %s', attached, capturing, mapping_ok, problem IS NOT NULL)
	FROM loyalty.status() WHERE source = name
$$;
SAVEPOINT a;
ALTER TABLE shop.line DISABLE TRIGGER USER;
SELECT is(shop.state('good'), 'attached t, capturing f, mapping t, problem t', 'disabled triggers on the lines show');
ROLLBACK TO a;
ALTER TABLE shop.invoice DISABLE TRIGGER USER;
SELECT is(shop.state('good'), 'attached t, capturing f, mapping t, problem t', 'disabled triggers on the header show');
ROLLBACK TO a;
-- one trigger of several is enough to miss something
SELECT is_empty($$SELECT FROM unnest('{shop.invoice,shop.line}'::regclass[]) WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = unnest)$$, 'there are triggers on both tables');
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT tgname, tgrelid::regclass AS rel FROM pg_trigger WHERE tgrelid IN ('shop.invoice'::regclass, 'shop.line'::regclass) AND NOT tgisinternal LOOP
		BEGIN
			EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.rel);
			IF shop.state('good') IS DISTINCT FROM 'attached t, capturing f, mapping t, problem t' THEN
				INSERT INTO shop.heap VALUES (-1, t.tgname || ' on ' || t.rel, 0);
				CONTINUE;
			END IF;
			RAISE EXCEPTION USING ERRCODE = 'XX999';
		EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
		END;
	END LOOP;
END
$$;
SELECT is_empty($$SELECT customer FROM shop.heap WHERE id = -1$$, 'every single dropped trigger shows');
ROLLBACK TO a;
ALTER TABLE shop.line RENAME amount TO amnt;
SELECT is(shop.state('good'), 'attached t, capturing t, mapping f, problem t', 'a renamed column shows');
SELECT isnt_empty($$SELECT FROM loyalty.status() WHERE source = 'good' AND problem ~ 'amount'$$, 'and is named');
SELECT is(shop.state('bad'), 'attached t, capturing t, mapping t, problem f', 'other sources are not concerned');
ROLLBACK TO a;
DROP TABLE shop.line;
SELECT is((SELECT mapping_ok FROM loyalty.status() WHERE source = 'good'), false, 'dropped lines show');
ROLLBACK TO a;
DROP TABLE shop.invoice;
SELECT is((SELECT mapping_ok FROM loyalty.status() WHERE source = 'good'), false, 'a dropped header shows');
SELECT is((SELECT capturing FROM loyalty.status() WHERE source = 'good'), false, 'as not capturing');
SELECT lives_ok($$SELECT loyalty.detach('good')$$, 'and can be detached');
SELECT lives_ok($$SELECT * FROM loyalty.status()$$, 'and status() still answers');
ROLLBACK TO a;
SELECT is(shop.state('good'), 'attached t, capturing t, mapping t, problem f', 'all is well again after the rollback');
SELECT loyalty.detach('good') \gset
SELECT is((SELECT attached FROM loyalty.status() WHERE source = 'good'), false, 'a detached source is shown as such');
SELECT is_empty($$SELECT FROM loyalty.status() WHERE source = 'good' AND capturing$$, 'and does not capture');

-- what waits
SET LOCAL client_min_messages = error;
INSERT INTO shop.bad VALUES (101, 'b', 0, 100);
SELECT loyalty.settle() \gset
SELECT is((SELECT parked FROM loyalty.status() WHERE source = 'bad'), 1::bigint, 'parked documents are counted');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
