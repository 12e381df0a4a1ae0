-- Rules that give growth instead of points: sales, returns, events, tiers.
\ir common.psql
SELECT no_plan();

CREATE FUNCTION shop.growth(source text, key text) RETURNS numeric LANGUAGE sql STABLE AS $$
	SELECT trim_scale(coalesce(sum(d.growth), 0)) FROM shop.doc($1, $2) d
$$;
CREATE FUNCTION shop.tiers(program text, customer text, instants text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce(loyalty.tier($1, $2, i::timestamptz), '-'), ' ' ORDER BY n)
	FROM unnest(string_to_array($3, ', ')) WITH ORDINALITY u (i, n)
$$;
-- what is booked, without a word on growth
CREATE FUNCTION shop.booking(source text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s %s %s %s %s', d.doc_key, d.points, d.qualifying, d.tier_before, d.rate, d.written_off)
	FROM loyalty.document d JOIN loyalty.source s USING (source_id) WHERE s.name = $1
$$;

-- a programme by lines, and the same without rules on growth: 1 per 10 beside the points, 0.5 a unit of tea, 3 for a large sale
CREATE FUNCTION shop.club(name text, zone text DEFAULT 'UTC') RETURNS void LANGUAGE sql AS $$
	SELECT loyalty.create_program($1, $2);
	SELECT loyalty.set_rule($1, 'base', 1, 100);
	SELECT loyalty.set_rule($1, 'triple', kind => 'multiplier', factor => 3);
	SELECT loyalty.set_rule($1, 'nothing for tea', kind => 'exclusion', condition => 'line.product = ''tea''');
	SELECT loyalty.set_rule($1, 'at most 100', kind => 'cap', cap_document => 100);
	SELECT loyalty.set_tier($1, 'Basic', 0, 2);
	SELECT shop.attach_lines($1, $1, evaluate => 'statement');
$$;
SELECT shop.club('gr'), shop.club('no') \gset
SELECT loyalty.set_rule('gr', 'grow', 1, 30, growth => true) \gset
SELECT loyalty.set_rule('gr', 'grow by tea', 0.5, kind => 'unit', growth => true, condition => 'line.product = ''tea''') \gset
SELECT loyalty.set_rule('gr', 'grow once', 3, kind => 'bonus', growth => true, condition => 'document.amount >= 1000') \gset
SELECT is((SELECT string_agg(DISTINCT r.growth || ' ' || r.multiplied, ', ') FROM loyalty.rule r WHERE r.program_id = loyalty.program_id('gr') AND r.name LIKE 'grow%'),
	'true false', 'the rules are on growth, which nothing multiplies');

INSERT INTO shop.invoice (id, customer) VALUES (1, 'a');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (11, 1, 'tea', 4, 400), (12, 1, 'pot', 1, 700);
SELECT is(shop.growth('gr', '1'), 41.66, 'a sale: 1100 / 30 + 4 x 0.5 + 3, cut off to hundredths');
SELECT is(shop.booked('gr', '1'), shop.booked('no', '1'), 'its points are those of the rules on points');
SELECT is(shop.booked('gr', '1'), 42::numeric, 'with rate, multiplier and exclusion');

-- returns: by line, then by value; together they take back what was given
INSERT INTO shop.invoice (id, customer, return_of, at) VALUES (2, 'a', 1, '2024-03-11 12:00+00');
INSERT INTO shop.line (id, invoice, product, qty, amount, return_of) VALUES (21, 2, 'tea', -2, -200, 11);
SELECT is(shop.growth('gr', '2'), 31 - 41.66, 'a return by line: 900 / 30 + 2 x 0.5, and the bonus is gone');
INSERT INTO shop.invoice (id, customer, return_of, at) VALUES (3, 'a', 1, '2024-03-12 12:00+00');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (31, 3, NULL, NULL, -450);
SELECT is(shop.growth('gr', '3'), -15.5, 'a return by value takes its share of both');
INSERT INTO shop.invoice (id, customer, return_of, at) VALUES (4, 'a', 1, '2024-03-13 12:00+00');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (41, 4, NULL, NULL, -450);
SELECT is((SELECT sum(d.growth) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'gr'), 0.00, 'nothing is left of goods that are gone');
SELECT results_eq($$SELECT * FROM shop.booking('gr') ORDER BY 1$$, $$SELECT * FROM shop.booking('no') ORDER BY 1$$, 'the points are the other programme''s');
SELECT is((SELECT count(*) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'no' AND d.growth <> 0), 0::bigint, 'which has no growth');
-- a return is taken out, changes, and the sale changes, goes and comes again
DELETE FROM shop.line WHERE invoice IN (3, 4);
DELETE FROM shop.invoice WHERE id IN (3, 4);
SELECT is(shop.growth('gr', '3') + shop.growth('gr', '4'), 0::numeric, 'withdrawn returns take nothing');
UPDATE shop.line SET qty = -4, amount = -400 WHERE id = 21;
SELECT is(shop.growth('gr', '1') + shop.growth('gr', '2'), 23.33, 'a return that changes: 700 / 30 are left');
UPDATE shop.line SET amount = 30 WHERE id = 12;
SELECT is(shop.growth('gr', '1'), 16.33, 'a sale that changes: 430 / 30 + 2');
SELECT is(shop.growth('gr', '1') + shop.growth('gr', '2'), 1::numeric, 'and its return with it');
UPDATE shop.invoice SET cancelled = true WHERE id = 1;
SELECT is((SELECT sum(abs(d.growth)) FROM shop.document d), 0.00, 'a sale that is cancelled gives none, nor takes its return any');
UPDATE shop.invoice SET cancelled = false WHERE id = 1;
SELECT is(shop.growth('gr', '1') + shop.growth('gr', '2'), 1::numeric, 'it comes back');
-- a return that is linked to nothing takes what its goods would have given
INSERT INTO shop.invoice (id, customer, at) VALUES (5, 'a', '2024-03-14 12:00+00');
INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (51, 5, 'tea', -2, -60);
SELECT is(shop.growth('gr', '5'), -3::numeric, 'an unlinked return: 60 / 30 + 2 x 0.5');
-- reevaluate() and verify()
SELECT loyalty.set_rule('gr', 'grow', 2, 30, growth => true) \gset
SELECT is(shop.growth('gr', '1'), 16.33, 'a new version leaves what is booked');
SELECT results_eq($$SELECT booked::numeric, due::numeric, problem FROM loyalty.verify('gr') WHERE doc_key = '1'$$, $$VALUES (16.33, 30.66, 'other growth')$$, 'verify() says what it would be now');
SELECT loyalty.reevaluate('gr', '1') \g /dev/null
SELECT is(shop.growth('gr', '1'), 30.66, 'reevaluate() asks for it: 2 x 430 / 30 + 2');
SELECT is_empty($$SELECT * FROM loyalty.verify('gr') WHERE doc_key = '1'$$, 'and verify() finds nothing more');
SELECT results_eq($$SELECT * FROM shop.booking('gr') ORDER BY 1$$, $$SELECT * FROM shop.booking('no') ORDER BY 1$$, 'and no points move');
-- explain() and quote_earn()
SELECT results_eq($$SELECT rule, line, calculation, points FROM loyalty.explain('gr', '1') WHERE rule LIKE 'grow%' OR calculation LIKE 'growth%'$$,
	$$VALUES ('grow by tea', NULL, '4 units x 0.5 per 1: growth 2', 0::numeric), ('grow', NULL, '430 x 2 per 30: growth 28.666667', 0),
		(NULL, NULL, 'growth 30.66 counts for tiers', 0)$$, 'explain() says what growth a rule gave');
SELECT is((SELECT string_agg(calculation, '; ') FROM loyalty.explain('gr', '2') WHERE calculation LIKE 'growth%'), 'growth -28.66 counts for tiers', 'and what a return takes');
SELECT is((SELECT string_agg(rule || ': ' || calculation, '; ') FROM loyalty.quote_earn('gr', 'a', 60) WHERE calculation ~ 'growth'), 'grow: 60 x 2 per 30: growth 4', 'so does quote_earn()');
SELECT is((SELECT string_agg(rule || ': ' || calculation, '; ') FROM loyalty.quote_earn('gr', 'a', 60, rules => '[{"name": "new", "kind": "bonus", "points": 7, "growth": true}]')
	WHERE rule = 'new'), 'new: 7 once: growth 7', 'and of a rule that is proposed');

-- caps, priorities and groups, with points line by line
SELECT loyalty.create_program('cap', 'UTC', rounding_scope => 'line') \gset
SELECT loyalty.set_rule('cap', 'base', 1, 10) \gset
SELECT loyalty.set_rule('cap', 'grow', 1, 1, growth => true, cap_document => 50, cap_month => 80, budget => 100) \gset
SELECT loyalty.set_rule('cap', 'first', 5, kind => 'bonus', growth => true, exclusive_group => 'g', priority => 2, condition => 'document.amount > 500') \gset
SELECT loyalty.set_rule('cap', 'second', 2, kind => 'bonus', exclusive_group => 'g', priority => 1) \gset
SELECT loyalty.attach('cap', 'cap', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', filter => 'r.company = ''cap''', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, at, company) VALUES (101, 'c', 60, '2024-05-01', 'cap'), (102, 'c', 60, '2024-05-02', 'cap'), (103, 'c', 60, '2024-06-01', 'cap');
SELECT is((SELECT string_agg(trim_scale(d.growth)::text, ' ' ORDER BY d.doc_key) FROM shop.doc('cap', '101') d), '50', 'a cap per document');
SELECT is(shop.growth('cap', '102'), 30::numeric, 'per month');
SELECT is(shop.growth('cap', '103'), 20::numeric, 'and a budget');
SELECT is((SELECT b.used FROM loyalty.budget b WHERE b.program_id = loyalty.program_id('cap')), 100.00, 'that says what is used');
UPDATE shop.invoice SET total = 45 WHERE id = 101;
SELECT is(shop.growth('cap', '101') || ' ' || shop.growth('cap', '102'), '45 35', 'what one does not take a later one has');
SELECT is(shop.booked('cap', '101'), 6::numeric, 'points as ever: 45 / 10 and the second of the group');
INSERT INTO shop.invoice (id, customer, total, at, company) VALUES (104, 'd', 600, '2024-05-03', 'cap');
SELECT is(shop.booked('cap', '104'), 60::numeric, 'the first of the group gives growth instead of points');
SELECT is(shop.growth('cap', '104'), 5::numeric, 'namely; the budget is used up');
SELECT is((SELECT string_agg(calculation, '; ') FROM loyalty.explain('cap', '101') WHERE calculation LIKE '%cap%' OR calculation LIKE '%document%'), NULL, 'nothing was cut off');
SELECT is((SELECT string_agg(calculation, '; ') FROM loyalty.explain('cap', '103') WHERE calculation LIKE 'no more%'), 'no more than 20 left by its caps: growth -40', 'explain() says what a cap cut off');

-- events: limits, approval, taken back, a merge
SELECT loyalty.create_program('ev', 'UTC') \gset
SELECT loyalty.set_tier('ev', 'Basic', 0), loyalty.set_tier('ev', 'Silver', 10), loyalty.set_tier('ev', 'Gold', 20) \gset
SELECT loyalty.set_tier_policy('ev', 'growth') \gset
SELECT loyalty.set_rule('ev', 'course', 10, kind => 'bonus', event => 'course', growth => true, limit_count => 1, limit_period => 'month') \gset
SELECT loyalty.set_rule('ev', 'talk', 10, kind => 'bonus', event => 'talk', growth => true, needs_approval => true) \gset
SELECT loyalty.set_rule('ev', 'talk points', 7, kind => 'bonus', event => 'talk') \gset
SELECT results_eq($$SELECT state, points, pending FROM loyalty.record_event('ev', 'a', 'course', '1', '2024-01-02 12:00+00')$$,
	$$VALUES ('counted', 0.00, 0.00)$$, 'an event that gives growth alone');
SELECT is(loyalty.tier('ev', 'a'), 'Silver', 'takes its member up');
SELECT loyalty.record_event('ev', 'a', 'course', '2', '2024-01-03 12:00+00') \g /dev/null
SELECT is(loyalty.tier('ev', 'a'), 'Silver', 'a limit is for growth, too');
SELECT results_eq($$SELECT state, points, pending FROM loyalty.record_event('ev', 'a', 'talk', '1', '2024-01-04 12:00+00')$$,
	$$VALUES ('pending', 0.00, 7.00)$$, 'an event waits for approval');
SELECT is((SELECT sum(d.growth) FROM shop.document d WHERE d.member_id = loyalty.member_id('ev', 'a')), 10.00, 'and so does its growth');
SELECT is(loyalty.tier('ev', 'a'), 'Silver', 'and the tier');
SELECT loyalty.approve_event('ev', 'a', 'talk:1') \g /dev/null
SELECT is(shop.tiers('ev', 'a', '2024-01-01 12:00+00, 2024-01-02 12:00+00, 2024-01-04 12:00+00'), 'Basic Silver Gold', 'it counts from when it happened');
SELECT is((SELECT balance FROM shop.member WHERE member_id = loyalty.member_id('ev', 'a')), 7.00, 'its points are those of the rule on points');
SELECT loyalty.revoke_event('ev', 'a', 'course:1') \g /dev/null
SELECT is((SELECT string_agg(d.doc_key || ' ' || trim_scale(d.growth), ', ' ORDER BY d.occurred_at) FROM (SELECT substr(x.doc_key, 1 + strpos(x.doc_key, ':')) AS doc_key,
	x.growth, x.occurred_at FROM shop.document x WHERE x.member_id = loyalty.member_id('ev', 'a')) d), 'course:1 0, course:2 10, talk:1 10', 'taken back; the next one has its place');
SELECT is(shop.tiers('ev', 'a', '2024-01-02 13:00+00, 2024-01-03 12:00+00'), 'Basic Silver', 'and the tier follows');
SELECT loyalty.revoke_event('ev', 'a', 'talk:1') \g /dev/null
SELECT is(loyalty.tier('ev', 'a'), 'Silver', 'another one');
SELECT loyalty.record_event('ev', 'b', 'course', '1', '2024-01-02 12:00+00') \g /dev/null
SELECT loyalty.record_growth('ev', 'b', 5, 'g', at => '2024-01-02 13:00+00') \g /dev/null
SELECT loyalty.merge_customers('ev', 'b', 'a') \g /dev/null
SELECT is(loyalty.tier('ev', 'a'), 'Gold', 'whoever is merged brings his: 10 + 10 + 5');
SELECT results_eq($$SELECT tier, next_tier, purpose FROM loyalty.tier_progress('ev', 'a')$$, $$VALUES ('Gold', NULL::text, NULL::text)$$, 'there is no way further up');
SELECT loyalty.revoke_event('ev', 'b', 'course:1') \g /dev/null
SELECT is(loyalty.tier('ev', 'a'), 'Silver', 'and what is taken back of it is taken back here');

-- tiers: lifetime and rolling, at which tier a sale earns that crosses, returns
CREATE FUNCTION shop.ladder(name text, crossing text, time_window text DEFAULT 'lifetime', months integer DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT loyalty.create_program($1, 'UTC', crossing => $2);
	SELECT loyalty.set_rule($1, 'base', 1, 1);
	SELECT loyalty.set_rule($1, 'grow', 1, 10, growth => true, mode => 'step');
	SELECT loyalty.set_tier($1, 'Basic', 0), loyalty.set_tier($1, 'Silver', 10, 2), loyalty.set_tier($1, 'Gold', 20, 3);
	SELECT loyalty.set_tier_policy($1, 'growth', time_window => $3, months => $4);
	SELECT loyalty.attach($1, $1, 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.return_of',
		void => 'r.cancelled', filter => format('r.company = %L', $1), evaluate => 'statement');
$$;
SELECT shop.ladder('new', 'new'), shop.ladder('old', 'old'), shop.ladder('ro', 'new', 'rolling', 12) \gset
INSERT INTO shop.invoice (id, customer, total, at, company)
	SELECT n * 1000 + i, 't', t, a, p FROM unnest('{new,old,ro}'::text[]) WITH ORDINALITY x (p, n),
		(VALUES (1, 99, '2024-01-01 12:00+00'::timestamptz), (2, 19, '2024-02-01 12:00+00'), (3, 90, '2024-03-01 12:00+00'), (4, 100, '2024-04-01 12:00+00')) v (i, t, a);
SELECT is(shop.growth('new', '1001') || ' ' || shop.growth('new', '1002') || ' ' || shop.growth('new', '1003'), '9 1 9', 'whole multiples');
SELECT is((SELECT string_agg(trim_scale(d.points)::text, ' ' ORDER BY d.doc_key) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'new'),
	'99 38 180 300', 'crossing new: the sale whose growth crosses earns at the new tier');
SELECT is((SELECT string_agg(trim_scale(d.points)::text, ' ' ORDER BY d.doc_key) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'old'),
	'99 19 180 200', 'crossing old: at the old one');
SELECT is(shop.tiers('new', 't', '2024-01-31 12:00+00, 2024-02-01 12:00+00, 2024-04-01 12:00+00, 2025-06-01'), 'Basic Silver Gold Gold', 'lifetime');
SELECT is(shop.tiers('ro', 't', '2024-02-01 12:00+00, 2024-04-01 12:00+00, 2025-01-02, 2025-03-02, 2025-04-02'), 'Silver Gold Gold Silver Basic', 'rolling: what is older leaves');
INSERT INTO shop.invoice (id, customer, total, at, company, return_of) VALUES (1010, 't', -10, '2024-05-01 12:00+00', 'new', 1002), (3010, 't', -100, '2024-05-01 12:00+00', 'ro', 3004);
SELECT is(shop.growth('new', '1010'), -1::numeric, 'a return takes growth');
SELECT is(shop.tiers('ro', 't', '2024-04-30, 2024-05-01 12:00+00, 2025-03-02'), 'Gold Silver Basic', 'and the tier with it');
SELECT loyalty.record_growth('new', 't', -9, 'k', 'by hand', '2024-06-01 12:00+00') \g /dev/null
SELECT is(shop.tiers('new', 't', '2024-05-31, 2024-06-01 12:00+00'), 'Gold Silver', 'growth by hand counts beside it: 9 + 0 + 9 + 10 - 9');
SELECT is((SELECT string_agg(trim_scale(figure)::text, ' ') FROM loyalty.tier_progress('new', 't') WHERE purpose = 'next'), '19', 'tier_progress() counts both');
UPDATE shop.invoice SET cancelled = true WHERE id = 1004;
SELECT is(loyalty.tier('new', 't'), 'Basic', 'a sale that is cancelled is not counted');
SELECT results_eq($$SELECT doc_key, problem FROM unnest('{gr,no,cap,new,old,ro}'::text[]) s CROSS JOIN loyalty.verify(s) v$$, $$VALUES ('5', 'other growth')$$, 'verify() finds nothing but what was not asked for yet');

-- many at once, remainders carried forward, sales that go to another customer with their returns
SELECT loyalty.create_program('carry', 'UTC', rounding_scope => 'carry', negative => 'write_off') \gset
SELECT loyalty.set_rule('carry', 'base', 1, 7), loyalty.set_rule('carry', 'grow', 1, 7, growth => true, applies_to => 'line') \gset
SELECT loyalty.attach('carry', 'carry', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.return_of',
	filter => 'r.company = ''carry''', evaluate => 'queue') \gset
INSERT INTO shop.invoice (id, customer, total, company) SELECT 5000 + i, 'c' || i % 3, i * 3, 'carry' FROM generate_series(1, 40) i;
INSERT INTO shop.invoice (id, customer, total, return_of, at, company) SELECT 6000 + i, 'c' || i % 3, -i, 5000 + i, '2024-04-01', 'carry' FROM generate_series(1, 40) i;
SELECT loyalty.settle() \g /dev/null
UPDATE shop.invoice SET customer = 'c0' WHERE id BETWEEN 5001 AND 5019;
SELECT loyalty.settle() \g /dev/null
SELECT is((SELECT sum(d.growth) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'carry'),
	(SELECT sum(trunc(i * 2 / 7.0, 2)) FROM generate_series(1, 40) i), 'the growth of each sale is cut off by itself');
SELECT is_empty($$SELECT * FROM loyalty.verify('carry')$$, 'verify() finds nothing');

-- what does not go together
SELECT throws_ok(format('SELECT loyalty.set_rule(''new'', ''x'', %s, growth => true)', args), '22023', NULL, what || ' is refused') FROM (VALUES
	('a multiplier', 'kind => ''multiplier'', factor => 2'), ('an exclusion', 'kind => ''exclusion'''), ('a cap', 'kind => ''cap'', cap_day => 2'),
	('growth at the tier''s rate', '1, 1, multiplied => true'), ('growth that expires', '1, 1, expires => ''12 months''')) v (what, args);
SELECT throws_ok($$SELECT loyalty.set_rule('new', 'base', 1, 1, growth => true)$$, 'LY002', NULL, 'so is growth of a rule on points');
SELECT throws_ok($$SELECT loyalty.set_rule('new', 'grow', 1, 1)$$, 'LY002', NULL, 'and the other way round');

SELECT * FROM shop.clean();
-- check() sees growth of what does not count, and growth out of nothing
CREATE FUNCTION shop.finds(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	ALTER TABLE loyalty.document DISABLE TRIGGER guard;
	EXECUTE change;
	SELECT string_agg(DISTINCT problem, '; ') INTO v FROM loyalty.check() WHERE problem LIKE '%growth%';
	RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = coalesce(v, 'nothing');
EXCEPTION WHEN raise_exception THEN
	RETURN SQLERRM;
END $$;
SELECT is(shop.finds($$UPDATE loyalty.document d SET growth = 1 FROM loyalty.source s WHERE s.source_id = d.source_id AND s.name = 'new' AND doc_key = '1004'$$), 'document that does not count gives growth', 'check(): a document that is withdrawn');
SELECT is(shop.finds($$UPDATE loyalty.document d SET growth = 1 FROM loyalty.source s WHERE s.source_id = d.source_id AND s.name = 'no' AND doc_key = '1'$$), 'growth that no rule gave', 'check(): growth that no rule gave');
SELECT is(shop.finds($$UPDATE loyalty.document d SET rules = (SELECT array_agg(r.rule_id) FROM loyalty.rule r WHERE r.growth AND r.rule_id = ANY (d.rules))
	FROM loyalty.source s WHERE s.source_id = d.source_id AND s.name = 'new' AND doc_key = '1001'$$), 'points where only growth was given', 'check(): points that are growth');
SELECT * FROM finish();
ROLLBACK;
