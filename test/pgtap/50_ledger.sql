-- The ledger: append-only, with business and system time, and proved by check().
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('led', 'UTC') \gset
SELECT loyalty.set_rule('led', 'base', 1, 1) \gset
SELECT loyalty.set_tier('led', 'Silver', 100) \gset
SELECT loyalty.set_tier('led', 'Gold', 1000) \gset
SELECT shop.attach('inv', 'led', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, at) VALUES (1, 'ann', 100, '2024-01-10 12:00+00'), (2, 'ann', 50, '2024-02-10 12:00+00');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (3, 'ann', -500, '2024-03-10 12:00+00');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (4, 'ann', 20, '2024-03-20 12:00+00');

-- nobody rewrites the books: not even a superuser who owns them
SELECT isnt_empty(format('SELECT FROM loyalty.%I', t), t || ' has rows') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok(format('UPDATE loyalty.%I SET member_id = member_id', t), 'LY004', NULL, t || ' cannot be updated') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok(format('DELETE FROM loyalty.%I', t), 'LY004', NULL, t || ' cannot be deleted from') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok(format('TRUNCATE loyalty.%I', t), 'LY004', NULL, t || ' cannot be truncated') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok($$UPDATE loyalty.entry SET points = 1000000 WHERE kind = 'earn'$$, 'LY004', NULL, 'an entry''s points least of all');
SELECT throws_ok($$UPDATE loyalty.member SET balance = 1000000$$, 'LY004', NULL, 'nor a balance');
SELECT throws_ok($$INSERT INTO loyalty.member AS m SELECT * FROM loyalty.member ON CONFLICT (member_id) DO UPDATE SET balance = 1000000$$, 'LY004', NULL, 'also by ON CONFLICT');
SELECT throws_ok($$MERGE INTO loyalty.stored_lot l USING loyalty.member m ON l.member_id = m.member_id WHEN MATCHED THEN UPDATE SET remaining = 1000000$$, 'LY004', NULL, 'or MERGE');
SET LOCAL session_replication_role = replica;
SELECT throws_ok(format('UPDATE loyalty.%I SET member_id = member_id', t), 'LY004', NULL, t || ' cannot be updated in replica mode') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok(format('DELETE FROM loyalty.%I', t), 'LY004', NULL, t || ' cannot be deleted from in replica mode') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SELECT throws_ok(format('TRUNCATE loyalty.%I', t), 'LY004', NULL, t || ' cannot be truncated in replica mode') FROM unnest('{member,document,entry,stored_lot,allocation}'::text[]) t;
SET LOCAL session_replication_role = origin;
-- the engine itself is not in its own way afterwards
INSERT INTO shop.invoice (id, customer, total, at) VALUES (5, 'ann', 1, '2024-03-21 12:00+00');
SELECT is(loyalty.balance('led', 'ann'), -329.00, 'the engine goes on');
-- indexes that others make are kept, whether or not a new version of a row stays on its page
SAVEPOINT indexed;
CREATE INDEX ON loyalty.member USING brin (balance);
INSERT INTO shop.invoice (id, customer, total, at) VALUES (6, 'ann', 400, '2024-03-22 12:00+00');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (7, 'ann', 10, '2024-03-22 13:00+00');
SELECT is(loyalty.balance('led', 'ann'), 81.00, 'an index that only summarizes is in nobody''s way');
CREATE INDEX ON loyalty.member (balance);
CREATE INDEX ON loyalty.member ((balance + debt)) WHERE debt = 0;
INSERT INTO shop.invoice (id, customer, total, at) VALUES (8, 'ann', 20, '2024-03-22 14:00+00');
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM loyalty.member WHERE balance = 101), 1::bigint, 'and one on what changes finds what it is');
SELECT is((SELECT count(*) FROM loyalty.member WHERE balance = 81), 0::bigint, 'and not what it was');
SELECT is_empty('SELECT * FROM loyalty.pending', 'nothing was parked');
-- an index of the engine's own that was made anew, otherwise
DROP INDEX loyalty.document_root;
CREATE INDEX document_root ON loyalty.document (root_source_id, root_key);
INSERT INTO shop.invoice (id, customer, total, at) VALUES (9, 'ann', 5, '2024-03-22 15:00+00');
SELECT is((SELECT count(*) FROM loyalty.document d WHERE d.root_source_id = 0 AND d.root_key = '' AND d.source_id = (SELECT source_id FROM loyalty.source WHERE name = 'inv')),
	9::bigint, 'one that was made anew for more rows gets them all');
DROP INDEX loyalty.document_root;
CREATE INDEX document_root ON loyalty.document (root_source_id, root_key) WHERE root_source_id <> 7;
INSERT INTO shop.invoice (id, customer, total, at) VALUES (10, 'ann', 5, '2024-03-22 16:00+00');
SELECT is((SELECT count(*) FROM loyalty.document d WHERE d.root_source_id = 0 AND d.root_key = '' AND d.source_id = (SELECT source_id FROM loyalty.source WHERE name = 'inv')),
	10::bigint, 'or for others');
ROLLBACK TO indexed;
-- what the engine allows itself it does not leave open behind it, nor after an error
SELECT throws_ok($$DELETE FROM loyalty.entry$$, 'LY004', NULL, 'and the books are closed behind it');
CREATE TABLE shop.bad (id integer PRIMARY KEY, customer text, total numeric, qty numeric);
CREATE FUNCTION shop.evil(v numeric) RETURNS numeric LANGUAGE plpgsql AS $$BEGIN UPDATE loyalty.member SET balance = 1000000; RETURN v; END$$;
SELECT loyalty.attach('bad', 'led', 'shop.bad', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'shop.evil(r.total / r.qty)', evaluate => 'statement') \gset
SET LOCAL client_min_messages = error;
INSERT INTO shop.bad VALUES (1, 'eve', 10, 1), (2, 'eve', 10, 0);
SELECT is_empty($$SELECT FROM shop.member WHERE balance = 1000000$$, 'a mapping cannot write the books while the engine reads it');
SELECT throws_ok($$DELETE FROM loyalty.entry$$, 'LY004', NULL, 'and an error leaves no door open');
DELETE FROM shop.bad;
SELECT loyalty.detach('bad') \gset
SET LOCAL client_min_messages = warning;

-- entries
SELECT results_eq($$SELECT seq, kind, points::numeric, occurred_at FROM shop.entry WHERE member_id = loyalty.member_id('led', 'ann') ORDER BY seq$$,
	$$VALUES (1::bigint, 'earn', 100::numeric, '2024-01-10 12:00+00'::timestamptz), (2, 'earn', 50, '2024-02-10 12:00+00'),
		(3, 'return', -500, '2024-03-10 12:00+00'), (4, 'earn', 20, '2024-03-20 12:00+00'), (5, 'earn', 1, '2024-03-21 12:00+00')$$, 'entries are numbered and carry business time');
SELECT is_empty($$SELECT FROM shop.entry WHERE recorded_at NOT BETWEEN now() - interval '1 hour' AND clock_timestamp()$$, 'and the time they were written at');
SELECT results_eq($$SELECT e.doc_key COLLATE "default" FROM shop.entry e JOIN loyalty.source s USING (source_id) WHERE s.name = 'inv' AND e.member_id = loyalty.member_id('led', 'ann') ORDER BY e.seq$$,
	$$SELECT g::text FROM generate_series(1, 5) g$$, 'and say which document they are of');
UPDATE shop.invoice SET total = 60 WHERE id = 2;
UPDATE shop.invoice SET total = 70 WHERE id = 2;
SELECT results_eq($$WITH RECURSIVE w AS (
		SELECT e.seq, e.prev_seq, e.points FROM shop.doc('inv', '2') d JOIN loyalty.entry e ON e.member_id = d.member_id AND e.seq = d.last_seq
		UNION ALL SELECT e.seq, e.prev_seq, e.points FROM w JOIN loyalty.entry e ON e.member_id = loyalty.member_id('led', 'ann') AND e.seq = w.prev_seq)
		SELECT seq, points::numeric FROM w$$, $$VALUES (7::bigint, 10::numeric), (6, 10), (2, 50)$$, 'a document''s entries are chained, newest first');

-- balance, as of any instant
SELECT is(loyalty.balance('led', 'ann', i), b, 'as of ' || i) FROM (VALUES
	('2024-01-10 11:59:59.999999+00'::timestamptz, 0.00), ('2024-01-10 12:00+00', 100.00), ('2024-02-10 11:59+00', 100.00), ('2024-02-10 12:00+00', 170.00),
	('2024-03-10 12:00+00', -330.00), ('2024-03-20 12:00+00', -310.00), ('infinity', -309.00), ('-infinity', 0.00)) v (i, b);
SELECT is(loyalty.balance('led', 'ann', 'infinity'), loyalty.balance('led', 'ann'), 'as of the end of time is the balance');
SELECT is(loyalty.balance('led', 'nobody', '2024-03-10'), 0.00, 'a stranger has none at any time');
-- a correction counts at the time of its document
UPDATE shop.invoice SET total = 90 WHERE id = 1;
SELECT is(loyalty.balance('led', 'ann', '2024-01-31 00:00+00'), 90.00, 'a correction belongs to its document''s date');

-- statement
SELECT isnt_empty($$SELECT FROM loyalty.statement('led', 'ann')$$, 'a statement');
SELECT is((SELECT count(*) FROM loyalty.statement('led', 'ann')), 8::bigint, 'has every entry');
SELECT is((SELECT sum(points) FROM loyalty.statement('led', 'ann')), loyalty.balance('led', 'ann'), 'that add up to the balance');
SELECT is((SELECT sum(points) FROM loyalty.statement('led', 'ann', '2024-02-01 00:00+00', '2024-02-29 00:00+00')), 70.00, 'or those of a period');
SELECT is_empty($$SELECT FROM loyalty.statement('led', 'nobody')$$, 'a stranger''s is empty');
SELECT throws_ok($$SELECT * FROM loyalty.statement('nowhere', 'ann')$$, 'LY001', NULL, 'an unknown programme is an error');

-- lots are stored when they are needed, or some dozens at a time
INSERT INTO shop.invoice (id, customer, total, at) VALUES (100, 'may', 5, '2024-01-01 12:00+00');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (101, 'may', 6, '2024-01-02 12:00+00');
SELECT is_empty($$SELECT FROM loyalty.stored_lot WHERE member_id = loyalty.member_id('led', 'may')$$, 'an entry is its own lot');
SELECT results_eq($$SELECT seq, is_open, points::numeric, remaining::numeric FROM loyalty.lot WHERE member_id = loyalty.member_id('led', 'may') ORDER BY seq$$,
	$$VALUES (1::bigint, true, 5::numeric, 5::numeric), (2, true, 6, 6)$$, 'and is read as one');
UPDATE shop.invoice SET total = 4 WHERE id = 100;
SELECT results_eq($$SELECT seq, is_open, points::numeric, remaining::numeric FROM loyalty.stored_lot WHERE member_id = loyalty.member_id('led', 'may') ORDER BY seq$$,
	$$VALUES (1::bigint, true, 5::numeric, 4::numeric), (2, true, 6, 6)$$, 'until something is drawn from any of them');
INSERT INTO shop.invoice (id, customer, total, at) SELECT 200 + n, 'may', n, '2024-02-01 12:00+00' FROM generate_series(1, 64) n;
SELECT is((SELECT count(*) FROM loyalty.stored_lot WHERE member_id = loyalty.member_id('led', 'may')), 2::bigint, '64 more are lots of their own');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (300, 'may', 7, '2024-02-02 12:00+00');
SELECT is((SELECT count(*) FROM loyalty.stored_lot WHERE member_id = loyalty.member_id('led', 'may')), 67::bigint, 'one more and they are stored');
SELECT is((SELECT sum(remaining) FROM loyalty.lot WHERE member_id = loyalty.member_id('led', 'may')), loyalty.balance('led', 'may'), 'none is lost, none counts twice');

-- views
SELECT is((SELECT mb.balance FROM loyalty.member_balance mb WHERE mb.customer = 'ann'), loyalty.balance('led', 'ann'), 'member_balance shows the balance');
SELECT isnt_empty($$SELECT FROM loyalty.tier_ladder$$, 'tier_ladder shows the tiers');
SELECT shop.clean();

-- check() finds what somebody with a superuser's rights did all the same
CREATE FUNCTION shop.tamper(what text, VARIADIC statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	s text;
	found_it boolean;
BEGIN
	BEGIN
		ALTER TABLE loyalty.member DISABLE TRIGGER USER;
		ALTER TABLE loyalty.document DISABLE TRIGGER USER;
		ALTER TABLE loyalty.entry DISABLE TRIGGER USER;
		ALTER TABLE loyalty.stored_lot DISABLE TRIGGER USER;
		ALTER TABLE loyalty.allocation DISABLE TRIGGER USER;
		FOREACH s IN ARRAY statements LOOP
			EXECUTE s;
		END LOOP;
		found_it := EXISTS (SELECT FROM loyalty.check());
		RAISE EXCEPTION USING ERRCODE = 'XX997';
	EXCEPTION WHEN SQLSTATE 'XX997' THEN NULL;
	END;
	RETURN NEXT ok(found_it, 'check() finds ' || what);
END
$$;
SELECT is_empty('SELECT * FROM loyalty.check()', 'nothing to be found before');
SELECT shop.tamper('a balance that was raised', $$UPDATE loyalty.member SET balance = balance + 1$$);
SELECT shop.tamper('a balance and its lot that were raised', $$UPDATE loyalty.member SET balance = balance + 1$$, $$UPDATE loyalty.stored_lot SET remaining = remaining + 1 WHERE seq = 3$$);
SELECT shop.tamper('a debt that was forgiven', $$UPDATE loyalty.member SET debt = 0$$);
SELECT shop.tamper('a lot with too much left', $$UPDATE loyalty.stored_lot SET remaining = remaining + 1 WHERE seq = 3$$);
SELECT shop.tamper('a lot made larger', $$UPDATE loyalty.stored_lot SET points = points + 1, remaining = remaining + 1 WHERE seq = 3$$);
SELECT shop.tamper('an open lot that is marked closed', $$UPDATE loyalty.stored_lot SET is_open = false WHERE is_open$$);
SELECT shop.tamper('an entry that was changed', $$UPDATE loyalty.entry SET points = points + 1 WHERE seq = 1$$);
SELECT shop.tamper('an entry and a balance that were changed together', $$UPDATE loyalty.entry SET points = points + 1 WHERE seq = 5$$, $$UPDATE loyalty.member SET balance = balance + 1$$);
SELECT shop.tamper('an entry that is gone', $$DELETE FROM loyalty.entry WHERE seq = 2$$);
SELECT shop.tamper('the newest entry that is gone', $$DELETE FROM loyalty.entry e WHERE seq = (SELECT last_seq FROM loyalty.member m WHERE m.member_id = e.member_id)$$);
SELECT shop.tamper('an entry of nobody', $$INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at, source_id, doc_key) VALUES (42, 1, 'earn', 5, now(), now(), 1, '1')$$);
SELECT shop.tamper('an entry that was slipped in', $$INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at) SELECT member_id, 99, 'earn', 5, now(), now() FROM loyalty.member WHERE customer = 'ann'$$);
SELECT shop.tamper('a lot that was slipped in', $$INSERT INTO loyalty.stored_lot SELECT member_id, true, 'infinity', 99, 5, 5 FROM loyalty.member WHERE customer = 'ann'$$);
SELECT shop.tamper('a lot that is gone', $$DELETE FROM loyalty.stored_lot WHERE seq = 3$$);
SELECT shop.tamper('lots that would count twice', $$UPDATE loyalty.member SET lots_through = 0$$);
SELECT shop.tamper('lots that would not count', $$UPDATE loyalty.member SET last_seq = last_seq + 1, lots_through = last_seq + 1, balance = balance + 7$$,
	$$INSERT INTO loyalty.entry (member_id, seq, kind, points, occurred_at, recorded_at, expires_on) SELECT member_id, last_seq, 'earn', 7, now(), now(), 'infinity' FROM loyalty.member$$);
SELECT shop.tamper('an allocation that is gone', $$DELETE FROM loyalty.allocation$$);
SELECT shop.tamper('an allocation that was changed', $$UPDATE loyalty.allocation SET points = points - 1$$);
SELECT shop.tamper('a document''s points that were changed', $$UPDATE loyalty.document SET points = points + 1 WHERE doc_key = '1'$$);
SELECT shop.tamper('a document that is gone', $$DELETE FROM loyalty.document WHERE doc_key = '1'$$);
SELECT shop.tamper('a document''s newest entry that is another', $$UPDATE loyalty.document SET last_seq = 1 WHERE doc_key = '2'$$);
SELECT shop.tamper('a qualifying amount that was raised', $$UPDATE loyalty.member SET qualifying = qualifying + 1$$);
SELECT shop.tamper('a document''s qualifying amount that was raised', $$UPDATE loyalty.document SET qualifying = qualifying + 1 WHERE doc_key = '1'$$);
SELECT shop.tamper('a tier that is not reached', $$UPDATE loyalty.member SET tier_id = (SELECT tier_id FROM loyalty.tier WHERE name = 'Gold')$$);
SELECT shop.tamper('a member that is gone', $$DELETE FROM loyalty.member$$);
SELECT shop.tamper('a numbering that was turned back', $$UPDATE loyalty.member SET last_seq = last_seq - 1$$);
SELECT shop.tamper('a numbering that was put forward', $$UPDATE loyalty.member SET last_seq = last_seq + 1$$);
SELECT is_empty('SELECT * FROM loyalty.check()', 'nothing to be found after');

SELECT * FROM finish();
ROLLBACK;
