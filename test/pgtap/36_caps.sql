-- Caps and budgets: every period, kind and scope, what is cut off, and what
-- comes back.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('ca', 'Asia/Kolkata', point_unit => 0.01) \gset
SELECT shop.attach('ca', 'ca', evaluate => 'statement') \gset
CREATE FUNCTION shop.sell(id integer, customer text, at timestamptz, total numeric) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, customer, at, total) VALUES (sell.id, sell.customer, sell.at, sell.total);
	RETURN shop.booked('ca', sell.id::text);
END $$;
CREATE FUNCTION shop.row_of(customer text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(trim_scale(d.points)::text, ' ' ORDER BY d.occurred_at, d.doc_key::integer)
	FROM shop.document d WHERE d.member_id = loyalty.member_id('ca', $1) AND d.root_source_id = 0 AND d.state = 'booked'
$$;
CREATE FUNCTION shop.used(rule text) RETURNS numeric LANGUAGE sql STABLE AS $$
	SELECT trim_scale(b.used) FROM loyalty.budget b WHERE b.program_id = loyalty.program_id('ca') AND b.rule = $1
$$;

-- each period by itself; a day begins at midnight in Kolkata (18:30 UTC)
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_day => 10) \gset
SELECT is(shop.sell(1, 'day', '2024-03-10 18:29+00', 8), 8::numeric, 'day: 8 of 10');
SELECT is(shop.sell(2, 'day', '2024-03-09 18:30+00', 8), 8::numeric, 'earlier the same day: all of it');
SELECT is(shop.row_of('day'), '8 2', 'and the later one gives way');
SELECT is(shop.sell(3, 'day', '2024-03-10 18:30+00', 8), 8::numeric, 'the next day');
SELECT is(shop.sell(4, 'day', '2024-03-09 18:29+00', 8), 8::numeric, 'the day before');
SELECT is(shop.sell(5, 'other', '2024-03-10 12:00+00', 8), 8::numeric, 'another member');
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_week => 10) \gset
SELECT is(shop.sell(10, 'week', '2024-03-10 18:30+00', 8), 8::numeric, 'week: Monday');
SELECT is(shop.sell(11, 'week', '2024-03-17 18:29+00', 8), 2::numeric, 'Sunday');
SELECT is(shop.sell(12, 'week', '2024-03-17 18:30+00', 8), 8::numeric, 'Monday');
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_month => 10) \gset
SELECT is(shop.sell(20, 'month', '2024-02-01 12:00+00', 8), 8::numeric, 'month: the first');
SELECT is(shop.sell(21, 'month', '2024-02-29 18:29+00', 8), 2::numeric, 'the 29th of February');
SELECT is(shop.sell(22, 'month', '2024-02-29 18:30+00', 8), 8::numeric, 'March in Kolkata');
SELECT is(shop.sell(23, 'month', '2023-02-10 12:00+00', 8), 8::numeric, 'February of another year');
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_year => 10) \gset
SELECT is(shop.sell(30, 'year', '2024-01-01 12:00+00', 8), 8::numeric, 'year');
SELECT is(shop.sell(31, 'year', '2024-12-31 12:00+00', 8), 2::numeric, 'its last day');
SELECT is(shop.sell(32, 'year', '2024-12-31 18:30+00', 8), 8::numeric, 'the next');
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_lifetime => 10) \gset
SELECT is(shop.sell(40, 'life', '2000-01-01', 8), 8::numeric, 'lifetime');
SELECT is(shop.sell(41, 'life', '2040-01-01', 8), 2::numeric, 'forty years later');
SELECT is(shop.sell(42, 'life', '2020-01-01', 8), 2::numeric, 'twenty years in between');
SELECT is(shop.row_of('life'), '8 2 0', 'the last gives way');
-- the least of them; nothing at all
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_document => 5, cap_day => 8, cap_month => 9) \gset
INSERT INTO shop.invoice (id, customer, at, total) SELECT 50 + i, 'all', '2024-03-01 06:00+00'::timestamptz + i * interval '1 hour', 7 FROM generate_series(1, 3) i;
INSERT INTO shop.invoice (id, customer, at, total) SELECT 55 + i, 'all', '2024-03-02 06:00+00'::timestamptz + i * interval '1 hour', 7 FROM generate_series(1, 2) i;
SELECT is(shop.row_of('all'), '5 3 0 1 0', 'document, then day, then month');
SELECT matches((SELECT string_agg(calculation, '; ') FROM loyalty.explain('ca', '51')), 'no more than 5 for one document', 'explained: the document''s cap');
SELECT matches((SELECT string_agg(calculation, '; ') FROM loyalty.explain('ca', '56')), 'no more than 1 left by its caps', 'explained: what a period left');
SELECT is((SELECT points FROM loyalty.explain('ca', '56') WHERE calculation LIKE 'no more%'), -6::numeric, 'and what was cut off');
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_day => 0) \gset
SELECT is(shop.sell(59, 'none', '2024-03-01', 7), 0::numeric, 'a cap of 0 is one');

-- what a version gave counts for the next: the cap is the rule's
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_month => 10) \gset
SELECT is(shop.sell(60, 'version', '2024-03-01', 8), 8::numeric, 'version with a cap');
SELECT loyalty.set_rule('ca', 'base', 2, 1, cap_month => 10) \gset
SELECT is(shop.sell(61, 'version', '2024-03-02', 8), 2::numeric, 'the next version goes on from there');

-- returns: less than nothing left of the cap
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_month => 10) \gset
SELECT is(shop.sell(70, 'ret', '2024-03-01', 8), 8::numeric, 'first');
SELECT is(shop.sell(71, 'ret', '2024-03-02', 8), 2::numeric, 'second');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (72, 'ret', '2024-03-03', -4, 71);
SELECT is(shop.booked('ca', '72'), 0::numeric, 'what is left of the capped one still reaches the cap');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (73, 'ret', '2024-03-04', -3, 71);
SELECT is(shop.booked('ca', '73'), -1::numeric, 'no longer');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (74, 'ret', '2024-03-05', -4, 70);
SELECT is(shop.row_of('ret'), '8 6', 'a part of the first returned leaves room for the second');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (75, 'ret', '2024-03-06', -4, 70);
SELECT is(shop.row_of('ret'), '8 8', 'all of it, and the second has it');
SELECT is(loyalty.balance('ca', 'ret'), 1.00, 'of which 1 is left');
DELETE FROM shop.invoice WHERE id = 75;
SELECT is(shop.row_of('ret'), '8 6', 'and back');

-- every kind, factors before caps
SELECT loyalty.set_rule('ca', 'base', 1, 10, cap_document => 12) \gset
SELECT loyalty.set_rule('ca', 'double', kind => 'multiplier', factor => 2) \gset
SELECT is(shop.sell(80, 'kind', '2024-04-01', 100), 12::numeric, 'a cap is on what the factors make');
SELECT loyalty.set_rule('ca', 'bonus', 9, kind => 'bonus', cap_month => 15) \gset
SELECT is(shop.sell(81, 'kind', '2024-04-02', 100), 21::numeric, 'a bonus');
SELECT is(shop.sell(82, 'kind', '2024-04-03', 100), 18::numeric, 'is cut');
SELECT loyalty.end_rule('ca', r) FROM unnest('{double,bonus}'::text[]) r \g /dev/null

-- a cap on everything, with a condition, for some documents only
SELECT loyalty.set_rule('ca', 'base', 1, 10) \gset
SELECT loyalty.set_rule('ca', 'web', kind => 'cap', condition => 'document.channel = ''web''', cap_document => 5) \gset
SELECT is(shop.sell(90, 'all', '2024-05-01', 100), 10::numeric, 'not for the shop');
INSERT INTO shop.invoice (id, customer, at, total, channel) VALUES (91, 'all', '2024-05-02', 100, 'web');
SELECT is(shop.booked('ca', '91'), 5::numeric, 'but for the web');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (92, 'all', '2024-05-03', -60, 91);
SELECT is(shop.booked('ca', '92'), -1::numeric, 'of what is left, too');
SELECT loyalty.end_rule('ca', 'web') \gset
SELECT loyalty.set_rule('ca', 'both', 3, kind => 'bonus') \gset
SELECT loyalty.set_rule('ca', 'week', kind => 'cap', cap_week => 20) \gset
SELECT is(shop.sell(93, 'total', '2024-05-06', 100), 13::numeric, 'all rules together');
SELECT is(shop.sell(94, 'total', '2024-05-07', 100), 7::numeric, 'reach the cap');
SELECT is(shop.sell(95, 'total', '2024-05-08', 100), 0::numeric, 'and no more');
UPDATE shop.invoice SET total = 10 WHERE id = 93;
SELECT is(shop.row_of('total'), '4 13 3', 'an edit of the first leaves more for the others');
SELECT loyalty.end_rule('ca', r) FROM unnest('{week,both}'::text[]) r \g /dev/null

-- bulk, one by one, backwards: the same
SELECT loyalty.set_rule('ca', 'base', 1, 1, cap_day => 20, cap_week => 45, cap_month => 100) \gset
CREATE TABLE shop.script AS SELECT i AS n, '2024-07-01 12:00+00'::timestamptz + (i * 7919 % 40) * interval '17 hours' AS at, 3 + i * 37 % 20 AS total FROM generate_series(1, 40) i;
SELECT shop.sell(1000 + n, 'each', at, total) FROM (SELECT * FROM shop.script ORDER BY n) s \g /dev/null
SELECT shop.sell(2000 + n, 'backwards', at, total) FROM (SELECT * FROM shop.script ORDER BY n DESC) s \g /dev/null
INSERT INTO shop.invoice (id, customer, at, total) SELECT 3000 + n, 'bulk', at, total FROM shop.script ORDER BY md5(n::text);
SELECT is(shop.row_of('backwards'), shop.row_of('each'), 'backwards');
SELECT is(shop.row_of('bulk'), shop.row_of('each'), 'in bulk');
SELECT is((SELECT max(p) FROM (SELECT sum(points) AS p FROM shop.document WHERE member_id = loyalty.member_id('ca', 'each') GROUP BY date_trunc('week', doc_date)) w), 45::numeric, 'no week has more');
SELECT is((SELECT max(p) FROM (SELECT sum(points) AS p FROM shop.document WHERE member_id = loyalty.member_id('ca', 'each') GROUP BY doc_date) w) <= 20, true, 'no day has more');

-- budgets
SELECT loyalty.set_rule('ca', 'base', 1, 10) \gset
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus', budget => 100) \gset
SELECT is(shop.used('gift'), 0::numeric, 'nothing is used');
SELECT is(shop.sell(100, 'b1', '2024-06-01', 10), 41::numeric, 'the first');
SELECT is(shop.sell(101, 'b2', '2024-06-02', 10), 41::numeric, 'the second');
SELECT is(shop.sell(102, 'b3', '2024-06-03', 10), 21::numeric, 'the third has what is left');
SELECT is(shop.sell(103, 'b4', '2024-06-04', 10), 1::numeric, 'the fourth nothing');
SELECT is(shop.used('gift'), 100::numeric, 'all is used');
SELECT matches((SELECT string_agg(calculation, '; ') FROM loyalty.explain('ca', '102')), 'no more than 20', 'explained');
UPDATE shop.invoice SET total = 20 WHERE id = 100;
SELECT is(shop.booked('ca', '100'), 42::numeric, 'who is served keeps his share when his sale is edited');
UPDATE shop.invoice SET total = 20 WHERE id = 102;
SELECT is(shop.booked('ca', '102'), 22::numeric, 'and has no more of it');
UPDATE shop.invoice SET customer = 'b5' WHERE id = 100;
SELECT is((SELECT sum(points) FROM shop.document WHERE doc_key = '100' AND member_id = loyalty.member_id('ca', 'b5')), 42::numeric, 'it goes with the sale to another member');
SELECT is(shop.used('gift'), 100::numeric, 'and is used once');
DELETE FROM shop.invoice WHERE id = 101;
SELECT is(shop.used('gift'), 60::numeric, 'a sale that is gone frees its share');
SELECT is(shop.sell(104, 'b6', '2024-06-01', 10), 41::numeric, 'for the next');
-- undone with what undoes it
SAVEPOINT s;
UPDATE shop.invoice SET cancelled = true WHERE id = 104;
SELECT is(shop.used('gift'), 60::numeric, 'cancelled');
ROLLBACK TO s;
SELECT is(shop.used('gift'), 100::numeric, 'and not');
-- a larger one, a smaller one, none
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus', budget => 110) \gset
SELECT is(shop.sell(105, 'b7', '2024-06-01', 10), 11::numeric, 'ten more');
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus', budget => 50) \gset
SELECT is(shop.sell(106, 'b8', '2024-06-01', 10), 1::numeric, 'a smaller budget takes from nobody, and gives nothing');
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus') \gset
SELECT is(shop.sell(107, 'b9', '2024-06-01', 10), 41::numeric, 'without one there is no limit');
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus', budget => 500) \gset
SELECT is(shop.sell(108, 'b10', '2024-06-01', 10), 41::numeric, 'with one again');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the budget is what its versions gave');
-- many at once never give more
INSERT INTO shop.invoice (id, customer, at, total) SELECT 4000 + i, 'many ' || i, '2024-06-05', 10 FROM generate_series(1, 50) i;
SELECT is(shop.used('gift'), 500::numeric, 'fifty members at once use it up');
SELECT is((SELECT sum(points) FROM shop.document WHERE doc_key::integer BETWEEN 4001 AND 4050), 50 + 500 - 110 - 40::numeric, 'and no more');
-- a budget and a cap of the same rule; a budget of everything
SELECT loyalty.set_rule('ca', 'gift', 40, kind => 'bonus', budget => 1000, cap_month => 50) \gset
SELECT is(shop.sell(110, 'both', '2024-08-01', 10), 41::numeric, 'cap and budget');
SELECT is(shop.sell(111, 'both', '2024-08-02', 10), 11::numeric, 'the cap counts');
SELECT is(shop.used('gift'), 550::numeric, 'and only what was given is used');
SELECT loyalty.end_rule('ca', 'gift') \gset
SELECT loyalty.set_rule('ca', 'campaign', kind => 'cap', budget => 15) \gset
SELECT is(shop.sell(112, 'camp', '2024-09-01', 100), 10::numeric, 'a budget for all rules together');
SELECT is(shop.sell(113, 'camp', '2024-09-01', 100), 5::numeric, 'ends the campaign');
SELECT loyalty.end_rule('ca', 'campaign') \gset

-- a budget is used by what is left of sales
SELECT loyalty.set_rule('ca', 'launch', 40, kind => 'bonus', budget => 100, condition => 'document.amount >= 100') \gset
SELECT loyalty.set_rule('ca', 'each', 1, 1, condition => 'document.channel = ''each''', budget => 100) \gset
SELECT shop.sell(200 + i, 'f' || i, '2024-10-01', 100) FROM generate_series(1, 3) i \g /dev/null
SELECT is(shop.used('launch'), 100::numeric, 'three sales use it up');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (210, 'f1', -100, 201);
SELECT is(shop.used('launch'), 60::numeric, 'a sale that is returned altogether frees its share');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (211, 'f2', -1, 202);
SELECT is(shop.used('launch'), 20::numeric, 'and so does one of which too little is left for the rule');
SELECT is(shop.booked('ca', '201') || ' ' || shop.booked('ca', '210'), '50 -50', 'what was booked for them stays');
UPDATE shop.invoice SET cancelled = true WHERE id = 211;
SELECT is(shop.used('launch'), 60::numeric, 'a return that is undone takes it again');
SELECT is(shop.booked('ca', '202') || ' ' || shop.booked('ca', '211'), '50 0', 'all of it, since it is there');
SELECT is(shop.sell(204, 'f4', '2024-10-01', 100), 50::numeric, 'what was freed is for the next');
SELECT is(shop.used('launch'), 100::numeric, 'and used');
DELETE FROM shop.invoice WHERE id = 210;
SELECT is(shop.booked('ca', '201'), 10::numeric, 'who comes back finds nothing then');
SELECT is(shop.used('launch'), 100::numeric, 'never more than there is');
SELECT is(loyalty.balance('ca', 'f1'), 10.00, 'in his balance, too');
-- before the sale is known, in one statement, and evaluated again: the same
INSERT INTO shop.invoice (id, customer, total, channel, return_of) VALUES (220, 'e1', 150, 'each', NULL), (221, 'e1', -120, 'each', 220);
SELECT is(shop.used('each'), 0::numeric + (SELECT sum(points) - 3 FROM shop.document WHERE doc_key IN ('220', '221')), 'a sale and its return in one statement use what is left');
SELECT is(shop.used('each'), 30::numeric, 'of the hundred that it could have');
SELECT is(loyalty.reevaluate('ca', '220', '221'), 0.00, 'evaluated again: nothing moves');
INSERT INTO shop.invoice (id, customer, total, channel) VALUES (222, 'e2', 90, 'each');
SELECT is(shop.used('each'), 100::numeric, 'the next has the rest');
SELECT is_empty('SELECT * FROM loyalty.check()', 'budgets are what is given for what is left');
SELECT loyalty.end_rule('ca', r) FROM unnest('{launch,each}'::text[]) r \g /dev/null

-- the example of the reference: a bonus that is taken back leaves its place under the cap
SELECT loyalty.set_rule('ca', 'big one', 50, kind => 'bonus', condition => 'document.amount >= 1000', cap_month => 100) \gset
SELECT shop.sell(230 + i, 'big', '2024-11-01'::timestamptz + i * interval '1 day', 1000) FROM generate_series(1, 3) i \g /dev/null
SELECT is(shop.row_of('big'), '150 150 100', 'two of three have it');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (234, 'big', '2024-11-05', -1, 231);
SELECT is(shop.row_of('big'), '150 150 150', 'the first is no big one any more: the third has it');
DELETE FROM shop.invoice WHERE id = 234;
SELECT is(shop.row_of('big'), '150 150 100', 'and back');
SELECT loyalty.end_rule('ca', 'big one') \gset

-- a cap on everything is on events, too, but for one with a condition
SELECT loyalty.set_rule('ca', 'month', kind => 'cap', cap_month => 30) \gset
SELECT loyalty.set_rule('ca', 'visit', 12, kind => 'bonus', event => 'visit') \gset
SELECT is(shop.sell(96, 'ev', '2024-05-01', 100), 10::numeric, 'ten of thirty');
SELECT is((SELECT string_agg(trim_scale((SELECT e.points FROM loyalty.record_event('ca', 'ev', 'visit', n::text, ('2024-05-0' || n || ' 12:00+00')::timestamptz) e))::text, ' ' ORDER BY n) FROM generate_series(2, 4) n), '12 8 0', 'events have what is left of them');
SELECT is(shop.sell(97, 'ev', '2024-05-20', 100), 0::numeric, 'and nothing is left for documents');
SELECT is((SELECT e.points FROM loyalty.revoke_event('ca', 'ev', 'visit:2') e), 0.00, 'an event is revoked');
SELECT is((SELECT string_agg(trim_scale(e.points)::text, ' ' ORDER BY e.occurred_at) FROM loyalty.events('ca', 'ev') e), '0 12 8', 'its place is the others');
SELECT matches((SELECT string_agg(calculation, '; ') FROM loyalty.explain_event('ca', 'ev', 'visit:4')), 'no more than 8 left by its caps', 'explained');
SELECT loyalty.set_rule('ca', 'month', kind => 'cap', cap_month => 30, condition => 'document.amount > 0') \gset
SELECT is((SELECT e.points FROM loyalty.record_event('ca', 'ev', 'visit', '5', '2024-05-05 12:00+00') e), 12.00, 'not so one for documents');
SELECT loyalty.end_rule('ca', r) FROM unnest('{month,visit}'::text[]) r \g /dev/null

-- rounding line by line, and carried: caps hold all the same
SELECT loyalty.create_program('li', 'UTC', rounding_scope => 'line') \gset
SELECT loyalty.set_rule('li', 'base', 1, 3, cap_month => 10) \gset
SELECT loyalty.create_program('cy', 'UTC', rounding_scope => 'carry') \gset
SELECT loyalty.set_rule('cy', 'base', 1, 3, cap_month => 10) \gset
SELECT loyalty.detach('ca') \gset
DELETE FROM shop.invoice;
SELECT shop.attach('li', 'li', evaluate => 'statement'), shop.attach('cy', 'cy', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, at, total) SELECT i, 'm', '2024-03-01'::timestamptz + i * interval '1 day', 10 FROM generate_series(1, 5) i;
SELECT is(loyalty.balance('li', 'm'), 10.00, 'by line: 3 and a third, three times, each rounded down, and what is left');
SELECT is(loyalty.balance('cy', 'm'), 10.00, 'carried: nothing is lost of the cap');
DELETE FROM shop.invoice WHERE id = 1;
SELECT is(loyalty.balance('cy', 'm'), 10.00, 'and the others fill it');

-- caps are on points as they are booked, however they are rounded
DELETE FROM shop.invoice;
SELECT loyalty.detach(s) FROM unnest('{li,cy}'::text[]) s \g /dev/null
CREATE FUNCTION shop.capped(rounding text, unit numeric, scope text, cap numeric, OUT total numeric, OUT used numeric) LANGUAGE plpgsql AS $$
DECLARE
	name text := format('%s %s %s %s', rounding, unit, scope, cap);
	id integer;
BEGIN
	id := loyalty.create_program(name, 'UTC', point_unit => unit, rounding => capped.rounding, rounding_scope => scope);
	PERFORM loyalty.set_rule(name, 'a', 1, 3, cap_month => cap), loyalty.set_rule(name, 'b', 0.5, kind => 'bonus', budget => cap, multiplied => false);
	PERFORM shop.attach(name, name, evaluate => 'statement');
	INSERT INTO shop.invoice (id, customer, at, total) SELECT i, 'm', '2024-03-01'::timestamptz + i * interval '1 hour', 10 FROM generate_series(1, 40) i;
	PERFORM loyalty.detach(name);
	DELETE FROM shop.invoice;
	total := loyalty.balance(name, 'm');
	SELECT b.used INTO used FROM loyalty.budget b WHERE b.program_id = id;
END
$$;
SELECT is(c.total <= 2 * cap AND c.used <= cap AND c.total >= cap, true, format('%s, unit %s, by %s: a cap and a budget of %s give %s', rounding, unit, scope, cap, c.total))
	FROM unnest('{down,up,half_up,half_even}'::text[]) rounding, unnest('{1,0.1,0.01}'::numeric[]) unit, unnest('{document,line}'::text[]) scope, unnest('{10,7.5}'::numeric[]) cap,
		shop.capped(rounding, unit, scope, cap) c WHERE unit <= 1 AND cap % unit = 0;
SELECT loyalty.create_program('up', 'UTC', rounding => 'up') \gset
SELECT loyalty.set_rule('up', 'a', 1, 3, cap_month => 10) \gset
SELECT shop.attach('up', 'up', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, at, total) SELECT i, 'm', '2024-03-01'::timestamptz + i * interval '1 day', 10 FROM generate_series(1, 5) i;
SELECT is((SELECT string_agg(trim_scale(d.points)::text, ' ' ORDER BY d.doc_key) FROM shop.document d WHERE d.member_id = loyalty.member_id('up', 'm')), '4 4 2 0 0', 'rounded up: ten, not thirteen');
SELECT loyalty.set_rule('up', 'a', 1, 3, cap_document => 3.5) \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (6, 'n', '2024-03-01', 10);
SELECT is(shop.booked('up', '6'), 3::numeric, 'a cap of three and a half whole points is one of three');
SELECT loyalty.detach('up') \gset

SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
