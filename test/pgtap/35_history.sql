-- Rules on what a member bought before: every figure, every way it can change,
-- and the same points whatever the transactions are.
\ir common.psql
SELECT no_plan();
SET LOCAL client_min_messages = error;

SELECT loyalty.create_program('hi', 'UTC') \gset
SELECT shop.attach('hi', 'hi', evaluate => 'statement') \gset
SELECT loyalty.set_rule('hi', 'base', 1, 100) \gset
CREATE FUNCTION shop.sell(id integer, customer text, day date, total numeric DEFAULT 100) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, customer, at, total) VALUES (sell.id, sell.customer, sell.day + time '12:00' AT TIME ZONE 'UTC', sell.total);
	RETURN shop.booked('hi', sell.id::text);
END $$;
-- points of a member's sales less their returns, in the order of purchase
CREATE FUNCTION shop.row_of(customer text, source text DEFAULT 'hi') RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(trim_scale(d.points + coalesce((SELECT sum(r.points) FROM loyalty.document r
			WHERE r.root_source_id = d.source_id AND r.root_key = d.doc_key AND r.member_id = d.member_id), 0))::text, ' ' ORDER BY d.occurred_at, d.doc_key::integer)
	FROM loyalty.document d JOIN loyalty.source s USING (source_id) JOIN loyalty.member m USING (member_id)
	WHERE s.name = $2 AND m.customer = $1 AND d.root_source_id = 0 AND d.state = 'booked'
$$;
-- a bonus with the given condition, and no other
CREATE FUNCTION shop.rule(condition text) RETURNS integer LANGUAGE sql AS $$
	SELECT loyalty.set_rule('hi', 'bonus', 50, kind => 'bonus', condition => $1)
$$;

-- each figure is of the purchases before the document
SELECT shop.rule('member.purchase_count = 2 AND member.lifetime_amount = 350') \gset
SELECT is(shop.sell(1, 'a', '2023-12-30', 150), 1::numeric, 'first');
SELECT is(shop.sell(2, 'a', '2024-01-10', 200), 2::numeric, 'second');
SELECT is(shop.sell(3, 'a', '2024-01-20', 100), 51::numeric, 'two purchases of 350 before the third');
SELECT shop.rule('member.year_count = 2 AND member.year_amount = 300') \gset
SELECT is(shop.sell(4, 'a', '2024-02-01', 100), 51::numeric, 'two of this year');
SELECT shop.rule('member.month_count = 1 AND member.month_amount = 100') \gset
SELECT is(shop.sell(5, 'a', '2024-02-29', 100), 51::numeric, 'one of this month');
SELECT shop.rule('member.last_purchase_on = ''2024-02-29'' AND member.first_purchase_on = ''2023-12-30'' AND member.days_since_last_purchase = 1') \gset
SELECT is(shop.sell(6, 'a', '2024-03-01', 100), 51::numeric, 'the last one was yesterday');
SELECT shop.rule('member.cycle_days = 12.4') \gset
SELECT is(shop.sell(7, 'a', '2024-03-01', 100), 51::numeric, 'six purchases on six days, 62 days apart: 12.4');
SELECT is(shop.sell(8, 'a', '2024-03-01', 100), 51::numeric, 'a second one of a day is no day more');
SELECT shop.rule('member.purchase_count = 0 AND member.days_since_last_purchase IS NULL AND member.cycle_days IS NULL AND member.lifetime_amount = 0') \gset
SELECT is(shop.sell(9, 'b', '2024-03-01'), 51::numeric, 'before the first there is nothing');
SELECT is(shop.sell(10, 'b', '2024-03-02'), 1::numeric, 'before the second there is');
-- what is no purchase
SELECT shop.rule('member.purchase_count = 0') \gset
SELECT is(shop.sell(11, 'c', '2024-03-01', 0), 0::numeric, 'a document of nothing has no bonus ...');
SELECT is(shop.sell(12, 'c', '2024-03-02', 100), 51::numeric, '... and is no purchase');
INSERT INTO shop.invoice (id, customer, at, total, state) VALUES (13, 'd', '2024-03-01', 100, 'draft'), (14, 'd', '2024-03-02', 100, 'posted');
SELECT is(shop.row_of('d'), '51', 'a draft is none');
UPDATE shop.invoice SET state = 'posted' WHERE id = 13;
SELECT is(shop.row_of('d'), '51 1', 'until it is posted');
INSERT INTO shop.invoice (id, customer, at, total) VALUES (15, 'e', '2024-03-01', -100), (16, 'e', '2024-03-02', 100);
SELECT is(shop.row_of('e'), '-1 51', 'a return that belongs to nothing is none, and has no bonus');

-- every way in which the first can go, and come back
SELECT shop.sell(100 + i, 'f', '2024-04-01'::date + i) FROM generate_series(1, 4) i \g /dev/null
SELECT is(shop.row_of('f'), '51 1 1 1', 'the first of four');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (110, 'f', '2024-05-01', -99.99, 101);
SELECT is(shop.row_of('f'), '50 1 1 1', 'a cent is left of it: it is the first still');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (111, 'f', '2024-05-02', -0.01, 101);
SELECT is(shop.row_of('f'), '0 51 1 1', 'nothing is left');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (112, 'f', '2024-05-03', -100, 102);
SELECT is(shop.row_of('f'), '0 0 51 1', 'nor of the next');
DELETE FROM shop.invoice WHERE id = 110;
SELECT is(shop.row_of('f'), '50 0 1 1', 'a return is deleted');
UPDATE shop.invoice SET total = -100 WHERE id = 111;
SELECT is(shop.row_of('f'), '0 0 51 1', 'and edited');
UPDATE shop.invoice SET return_of = 104 WHERE id = 111;
SELECT is(shop.row_of('f'), '51 0 1 0', 'it was another sale''s');
UPDATE shop.invoice SET customer = 'g' WHERE id = 101;
SELECT is(shop.row_of('f') || ' / ' || shop.row_of('g'), '0 51 0 / 51', 'the first is somebody else''s');
UPDATE shop.invoice SET customer = NULL WHERE id = 101;
SELECT is(shop.row_of('g'), NULL, 'nobody''s');
UPDATE shop.invoice SET customer = 'f', at = '2024-06-01' WHERE id = 101;
SELECT is(shop.row_of('f'), '0 51 0 1', 'back, but on another day');
UPDATE shop.invoice SET total = 300 WHERE id = 101;
SELECT is(shop.row_of('f'), '0 51 0 3', 'a larger one is not the first for that');
UPDATE shop.invoice SET at = '2024-01-01' WHERE id = 101;
SELECT is(shop.row_of('f'), '53 0 1 0', 'an earlier one is');
UPDATE shop.invoice SET cancelled = true WHERE customer = 'f' AND return_of IS NULL;
SELECT is(loyalty.balance('hi', 'f'), 0.00, 'all of it is cancelled');
UPDATE shop.invoice SET cancelled = false WHERE customer = 'f';
SELECT is(shop.row_of('f'), '53 0 1 0', 'and not');

-- a change far down touches what lies behind it only as far as it matters
SELECT shop.rule('(member.purchase_count + 1) % 10 = 0') \gset
SELECT shop.sell(200 + i, 'ten', '2024-01-01'::date + i) FROM generate_series(1, 30) i \g /dev/null
SELECT is((SELECT string_agg(doc_key, ' ' ORDER BY doc_key) FROM shop.document WHERE points > 50 AND member_id = loyalty.member_id('hi', 'ten')), '210 220 230', 'every tenth');
SELECT last_seq AS seq FROM loyalty.member WHERE customer = 'ten' AND program_id = loyalty.program_id('hi') \gset
UPDATE shop.invoice SET cancelled = true WHERE id = 215;
SELECT is((SELECT string_agg(doc_key, ' ' ORDER BY doc_key) FROM shop.document WHERE points > 50 AND member_id = loyalty.member_id('hi', 'ten')), '210 221', 'those behind move up');
SELECT is((SELECT string_agg(doc_key || ' ' || trim_scale(points), ', ' ORDER BY doc_key, points) FROM shop.entry WHERE member_id = loyalty.member_id('hi', 'ten') AND seq > :seq),
	'215 -1, 220 -50, 221 50, 230 -50', 'with no entry more than that takes');

-- one statement, one by one, in bulk, queued: all the same
SELECT shop.rule('member.purchase_count IN (0, 3) OR member.month_amount >= 250') \gset
SELECT loyalty.detach('hi') \gset
CREATE TABLE shop.script AS SELECT i AS n, '2024-01-01'::date + (i * 7919 % 60) AS day, 60 + i * 37 % 90 AS total FROM generate_series(1, 12) i;
CREATE FUNCTION shop.play(evaluate text, way text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	answer text;
BEGIN
	DELETE FROM shop.invoice;
	PERFORM shop.attach('play ' || evaluate || ' ' || way, 'hi', evaluate => play.evaluate);
	IF way = 'each' THEN
		FOR r IN SELECT * FROM shop.script ORDER BY n LOOP
			INSERT INTO shop.invoice (id, customer, at, total) VALUES (r.n, evaluate || way, r.day, r.total);
			PERFORM loyalty.settle();
		END LOOP;
	ELSIF way = 'backwards' THEN
		FOR r IN SELECT * FROM shop.script ORDER BY n DESC LOOP
			INSERT INTO shop.invoice (id, customer, at, total) VALUES (r.n, evaluate || way, r.day, r.total);
		END LOOP;
	ELSE
		INSERT INTO shop.invoice (id, customer, at, total) SELECT n, evaluate || way, day, total FROM shop.script ORDER BY md5(n::text);
	END IF;
	PERFORM loyalty.settle();
	PERFORM loyalty.retry_parked();
	answer := shop.row_of(evaluate || way, 'play ' || evaluate || ' ' || way);
	PERFORM loyalty.detach('play ' || evaluate || ' ' || way);
	RETURN answer;
END $$;
SELECT shop.play('commit', 'each') AS expected \gset
SELECT is(shop.play(e, w), :'expected', e || ', ' || w) FROM unnest('{commit,statement,queue}'::text[]) e, unnest('{each,backwards,bulk}'::text[]) w WHERE e || w <> 'commiteach';

-- birthdays: what is nearest, over the turn of the year, leap days
ALTER TABLE shop.invoice ADD born date, ADD member jsonb;
DELETE FROM shop.invoice;
SELECT loyalty.attach('birth', 'hi', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', birthday => 'r.born', member_attributes => 'r.member', evaluate => 'statement') \gset
SELECT shop.rule('member.days_to_birthday = (member.attributes ->> ''days'')::integer') \gset
INSERT INTO shop.invoice (id, customer, at, total, born, member)
	SELECT n, 'born ' || n, day::timestamptz AT TIME ZONE 'UTC' AT TIME ZONE 'UTC', 1, born, jsonb_build_object('days', days)
	FROM (VALUES (1, '2024-05-10 12:00+00', '1990-05-10'::date, 0), (2, '2024-05-09 12:00+00', '1990-05-10', 1), (3, '2024-05-11 12:00+00', '1990-05-10', -1),
		(4, '2024-12-30 12:00+00', '1990-01-02', 3), (5, '2024-01-02 12:00+00', '1990-12-30', -3), (6, '2023-02-28 12:00+00', '2000-02-29', 0),
		(7, '2024-02-28 12:00+00', '2000-02-29', 1), (8, '2024-02-29 12:00+00', '2000-02-29', 0), (9, '2023-03-01 12:00+00', '2000-02-29', -1),
		(10, '2024-03-01 12:00+00', '2000-02-29', -1), (11, '2023-12-31 12:00+00', '2024-01-01', 1), (12, '2100-02-28 12:00+00', '2000-02-29', 0)) v (n, day, born, days);
SELECT is(shop.booked('birth', n::text), 50::numeric, 'birthday ' || n) FROM generate_series(1, 12) n;
INSERT INTO shop.invoice (id, customer, at, total, born, member) VALUES (13, 'born 13', '2024-01-01', 1, NULL, '{"days": 0}');
SELECT is(shop.booked('birth', '13'), 0::numeric, 'no birthday, no window');
SELECT loyalty.detach('birth') \gset

-- the day a member joined
DELETE FROM shop.invoice;
SELECT shop.attach('join', 'hi', evaluate => 'statement') \gset
SELECT shop.rule('member.joined_on = ''2024-01-31'' AND member.days_since_joined = 29 AND member.customer = ''j''') \gset
SELECT loyalty.enrol('hi', 'j', '2024-01-31') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'j', '2024-02-29 12:00+00', 1);
SELECT is(shop.booked('join', '1'), 50::numeric, 'an anniversary can be found from joined_on');
SELECT loyalty.set_rule('hi', 'bonus', 50, kind => 'bonus', condition => 'member.days_to_anniversary BETWEEN -1 AND 1') \gset
INSERT INTO shop.invoice (id, customer, at, total) SELECT 20 + n, 'j', d, 1 FROM unnest('{2024-02-01 12:00+00,2024-07-31 12:00+00,2025-01-29 12:00+00,2025-01-30 12:00+00,2025-01-31 12:00+00,2025-02-01 12:00+00,2025-02-02 12:00+00,2026-01-31 12:00+00}'::timestamptz[]) WITH ORDINALITY u (d, n);
SELECT is((SELECT string_agg(trim_scale(d.points)::text, ' ' ORDER BY d.doc_key) FROM shop.document d WHERE d.member_id = loyalty.member_id('hi', 'j') AND d.doc_key <> '1'), '0 0 0 50 50 50 0 50', 'the window of an anniversary, which the day of joining is not');
SELECT loyalty.enrol('hi', 'leap', '2024-02-29') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (29, 'leap', '2025-02-27 12:00+00', 1), (30, 'leap', '2025-03-02 12:00+00', 1);
SELECT is(shop.booked('join', '29') || ' ' || shop.booked('join', '30'), '50 0', 'who joined on 29 February has it on the 28th');

-- a new version is for new sales; those of before are asked by the one of their time
SELECT shop.rule('member.purchase_count = 0') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (4, 'l', '2024-01-01', 100), (5, 'l', '2024-01-02', 100);
SELECT loyalty.set_rule('hi', 'bonus', 70, kind => 'bonus', condition => 'member.purchase_count = 0 AND document.amount > 0') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (6, 'l', '2024-01-03', 100);
SELECT is(shop.row_of('l', 'join'), '51 1 1', 'the first, as it was when it was written');
UPDATE shop.invoice SET cancelled = true WHERE id = 4;
SELECT is(shop.row_of('l', 'join'), '51 1', 'the second becomes the first, by the version that it was written under');
UPDATE shop.invoice SET cancelled = true WHERE id = 5;
SELECT is(shop.row_of('l', 'join'), '71', 'and the third by its own');
UPDATE shop.invoice SET cancelled = false WHERE id IN (4, 5);
SELECT is(shop.row_of('l', 'join'), '51 1 1', 'and back');
-- one that does not ask takes its place
SELECT loyalty.set_rule('hi', 'bonus', 9, kind => 'bonus') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (7, 'l', '2024-01-04', 100);
UPDATE shop.invoice SET cancelled = true WHERE id = 4;
SELECT is(shop.row_of('l', 'join'), '51 1 10', 'a version that does not ask for purchases changes nothing of before');
UPDATE shop.invoice SET cancelled = false WHERE id = 4;

-- a version that comes later is not asked about sales of before
SELECT shop.rule('member.purchase_count = 0') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (2, 'k', '2024-01-01', 100), (3, 'k', '2024-01-02', 100);
SELECT is(shop.row_of('k', 'join'), '51 1', 'the first');
SELECT loyalty.end_rule('hi', 'bonus') \gset
UPDATE shop.invoice SET cancelled = true WHERE id = 2;
SELECT is(shop.row_of('k', 'join'), '1', 'a rule that has ended gives the next one nothing');
UPDATE shop.invoice SET cancelled = false WHERE id = 2;
SELECT is(shop.row_of('k', 'join'), '51 1', 'who comes back unchanged has what he had');

SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
