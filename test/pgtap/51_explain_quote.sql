-- explain() says why, quote_earn() says it beforehand.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('ex', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('ex', 'base', 1, 30) \gset
SELECT loyalty.set_rule('ex', 'bonus', 5, 1000, 'step') \gset
SELECT loyalty.set_rule('ex', 'line bonus', 1, 100, applies_to => 'line') \gset
SELECT loyalty.set_rule('ex', 'next year', 1000, 1, valid_from => '2025-01-01') \gset
SELECT loyalty.set_tier('ex', 'Silver', 2000, 1.5) \gset
SELECT loyalty.set_tier('ex', 'Gold', 6000, 2) \gset
SELECT shop.attach_lines('inv', 'ex', evaluate => 'statement', paid_by_points => 'r.points_paid') \gset

CREATE FUNCTION shop.last(source text, key text) RETURNS numeric LANGUAGE sql AS $$
	SELECT trim_scale(e.points) FROM loyalty.explain(source, key) e ORDER BY e.step DESC LIMIT 1
$$;

INSERT INTO shop.line (id, invoice, product, qty, amount) VALUES (1, 1, 'tea', 2, 1500), (2, 1, 'cup', 1, 499.99);
INSERT INTO shop.invoice (id, customer) VALUES (1, 'ann');
-- 1,999.99: 66.6663 + 5 + 19.9999
SELECT is(loyalty.balance('ex', 'ann'), 91.00, 'three rules');
SELECT is(shop.last('inv', '1'), 91::numeric, 'the last row of explain() is what is booked');
SELECT set_has($$SELECT rule FROM loyalty.explain('inv', '1') WHERE rule IS NOT NULL$$, $$VALUES ('base'), ('bonus'), ('line bonus')$$, 'each rule has its row');
SELECT is_empty($$SELECT FROM loyalty.explain('inv', '1') WHERE rule = 'next year'$$, 'one that is not in force has none');
SELECT isnt_empty($$SELECT FROM loyalty.explain('inv', '1') WHERE calculation ~ '1999\.99'$$, 'the calculation names the amount');
SELECT is((SELECT round(sum(points), 6) FROM loyalty.explain('inv', '1') WHERE rule IN ('base', 'bonus', 'line bonus')), 91.666233, 'the rules'' rows show what each gave, exactly');
SELECT results_eq($$SELECT step FROM loyalty.explain('inv', '1')$$, $$SELECT generate_series(1, (SELECT count(*)::integer FROM loyalty.explain('inv', '1')))$$, 'the steps are numbered');
SELECT results_eq($$SELECT * FROM loyalty.explain('inv', '1')$$, $$SELECT * FROM loyalty.explain('inv', '1')$$, 'asked again it says the same');
-- with a tier
INSERT INTO shop.line (id, invoice, product, amount) VALUES (3, 2, 'tea', 3000);
INSERT INTO shop.invoice (id, customer, at) VALUES (2, 'ann', '2024-03-11');
SELECT is(shop.last('inv', '2'), shop.booked('inv', '2'), 'so with a tier');
SELECT isnt_empty($$SELECT FROM loyalty.explain('inv', '2') WHERE calculation ~ 'Silver' OR rule ~ 'Silver'$$, 'whose name is said');
SELECT isnt_empty($$SELECT FROM loyalty.explain('inv', '2') WHERE calculation ~ '1\.5'$$, 'and whose rate');
-- a return
INSERT INTO shop.line (id, invoice, product, amount, return_of) VALUES (4, 3, 'cup', -499.99, 2);
INSERT INTO shop.invoice (id, customer, at) VALUES (3, 'ann', '2024-03-12');
SELECT is(shop.last('inv', '3'), shop.booked('inv', '3'), 'so for a return');
SELECT cmp_ok(shop.booked('inv', '3'), '<', 0::numeric, 'which takes points');
-- a rule that changes later does not change the answer
SELECT loyalty.set_rule('ex', 'base', 10, 30) \gset
SELECT loyalty.end_rule('ex', 'bonus') \gset
SELECT is(shop.last('inv', '1'), 91::numeric, 'older documents are explained by the rules they were booked with');
SELECT isnt_empty($$SELECT FROM loyalty.explain('inv', '1') WHERE rule = 'bonus'$$, 'also by one that has ended');
UPDATE shop.invoice SET cancelled = true WHERE id = 2;
SELECT is(shop.last('inv', '2'), 0::numeric, 'a cancelled document has nothing');
SELECT throws_ok($$SELECT * FROM loyalty.explain('nowhere', '1')$$, 'LY001', NULL, 'an unknown source is an error');
SELECT throws_ok($$SELECT * FROM loyalty.explain('inv', '999')$$, 'LY001', NULL, 'so is a document that is not booked');

-- quotes: for each case the answer, and what the same invoice earns then
CREATE TABLE shop.till (id serial PRIMARY KEY, customer text, at timestamptz, total numeric, paid numeric DEFAULT 0);
CREATE TABLE shop.till_line (id serial PRIMARY KEY, till integer, product text, category text, qty numeric, amount numeric);
CREATE FUNCTION shop.prove(prg text, customer text, total numeric, lines jsonb DEFAULT NULL, paid numeric DEFAULT 0,
	at timestamptz DEFAULT '2024-03-15 12:00+00') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	quoted numeric;
	before text;
	what text := format('%s, %s for %s, %s paid by points, lines %s', prg, total, customer, paid, lines IS NOT NULL);
	key integer;
	src text := prg || CASE WHEN lines IS NULL THEN ' head' ELSE ' lines' END;
BEGIN
	SELECT string_agg(format('%s %s %s %s', (SELECT count(*) FROM shop.entry), (SELECT count(*) FROM shop.document),
		(SELECT md5(string_agg(m::text, ' ' ORDER BY m.member_id)) FROM shop.member m), (SELECT count(*) FROM loyalty.lot)), '') INTO before;
	SELECT trim_scale(q.points) INTO quoted FROM loyalty.quote_earn(prg, customer, total, lines, paid, at) q ORDER BY q.step DESC LIMIT 1;
	RETURN NEXT is(format('%s %s %s %s', (SELECT count(*) FROM shop.entry), (SELECT count(*) FROM shop.document),
		(SELECT md5(string_agg(m::text, ' ' ORDER BY m.member_id)) FROM shop.member m), (SELECT count(*) FROM loyalty.lot)), before, what || ': a quote writes nothing');
	key := nextval('shop.till_id_seq');
	INSERT INTO shop.till_line (till, product, category, qty, amount)
		SELECT key, l.product, l.category, l.qty, l.amount FROM jsonb_to_recordset(lines) l (product text, category text, qty numeric, amount numeric);
	INSERT INTO shop.till (id, customer, at, total, paid) VALUES (key, prove.customer, prove.at, prove.total, prove.paid);
	PERFORM loyalty.settle();
	RETURN NEXT is(quoted, shop.booked(src, key::text), what || ': it earns what was quoted');
	RETURN NEXT isnt(quoted, NULL, what || ': which is a figure');
END
$$;
DO $$
DECLARE
	p text;
BEGIN
	FOREACH p IN ARRAY '{q doc,q line,q old,q tenth,q carry,q step}'::text[] LOOP
		PERFORM loyalty.create_program(p, 'UTC', crossing => CASE p WHEN 'q old' THEN 'old' ELSE 'new' END,
			point_unit => CASE p WHEN 'q tenth' THEN 0.1 ELSE 1 END, rounding => CASE p WHEN 'q tenth' THEN 'half_even' ELSE 'down' END,
			rounding_scope => CASE p WHEN 'q line' THEN 'line' WHEN 'q carry' THEN 'carry' ELSE 'document' END);
		PERFORM loyalty.set_rule(p, 'base', 1, 3, mode => CASE p WHEN 'q step' THEN 'step' ELSE 'proportional' END, applies_to => CASE p WHEN 'q line' THEN 'line' ELSE 'document' END);
		PERFORM loyalty.set_rule(p, 'lines', 1, 7, applies_to => 'line');
		PERFORM loyalty.set_rule(p, 'spring', 3, 100, valid_from => '2024-04-01', valid_to => '2024-04-30');
		PERFORM loyalty.set_tier(p, 'Silver', 100, 1.25);
		PERFORM loyalty.set_tier(p, 'Gold', 500, 2);
		PERFORM loyalty.attach(p || ' head', p, 'shop.till', 'r.id', 'r.customer', 'r.at', amount => 'r.total', paid_by_points => 'r.paid',
			filter => 'NOT EXISTS (SELECT FROM shop.till_line x WHERE x.till = r.id)');
		PERFORM loyalty.attach(p || ' lines', p, 'shop.till', 'r.id', 'r.customer', 'r.at', lines => 'shop.till_line', line_parent => 'l.till', line_key => 'l.id',
			line_product => 'l.product', line_category => 'l.category', line_qty => 'l.qty', line_amount => 'l.amount', paid_by_points => 'r.paid',
			filter => 'EXISTS (SELECT FROM shop.till_line x WHERE x.till = r.id)');
	END LOOP;
END
$$;
SELECT shop.prove(p, 'new', 10) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 89.99) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 0.01) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 500) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 50, paid => 20) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 50, paid => 50) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'new', 77.7, at => '2024-04-15 12:00+00') FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'jumper', 12345.67) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'liner', 33.5, '[{"key": "1", "product": "a", "category": "x", "qty": 1, "amount": 10.5}, {"key": "2", "product": "b", "qty": 2, "amount": 23}]')
	FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'liner', 600, '[{"key": "1", "amount": 599.99}, {"key": "2", "amount": 0.01}]') FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'liner', 100, '[{"key": "1", "amount": 70}, {"key": "2", "amount": 30}]', 40) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
SELECT shop.prove(p, 'debtor', 0) FROM unnest('{q doc,q line,q old,q tenth,q carry,q step}'::text[]) p;
-- a stranger is told what joining would bring, and nobody joins by asking
SELECT isnt_empty($$SELECT FROM loyalty.quote_earn('q doc', 'stranger', 100)$$, 'a stranger can be quoted');
SELECT is(loyalty.member_id('q doc', 'stranger'), NULL::bigint, 'and stays one');
SELECT results_eq($$SELECT * FROM loyalty.quote_earn('q doc', NULL, 30, at => '2024-03-15 12:00+00')$$,
	$$SELECT * FROM loyalty.quote_earn('q doc', 'stranger', 30, at => '2024-03-15 12:00+00')$$, 'a guest as well');
SELECT isnt_empty($$SELECT FROM loyalty.quote_earn('q doc', NULL, 30, at => '2024-03-15 12:00+00') WHERE points > 0$$, 'with points');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('nowhere', 'ann', 100)$$, 'LY001', NULL, 'an unknown programme is an error');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('q doc', 'ann', 'NaN')$$, '22023', NULL, 'NaN cannot be quoted');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('q doc', 'ann', 'Infinity')$$, '22023', NULL, 'nor Infinity');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('q doc', 'ann', 10, '{"a": 1}')$$, '22023', NULL, 'lines that are no array are refused');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('q doc', 'ann', 10, '[1]')$$, '22023', NULL, 'so are lines that are no objects');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('q doc', 'ann', 10, '[{"amount": "ten"}]')$$, NULL, NULL, 'and amounts that are no numbers');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn(NULL, 'ann', 10)$$, '22004', NULL, 'no programme is an error');

SELECT shop.clean();
-- the row of an invoice that does not exist yet: its rules are asked, too
SELECT loyalty.create_program('row', 'Europe/Berlin', currency => 'EUR') \gset
SELECT loyalty.set_rule('row', 'base', 1, 1) \gset
SELECT shop.attach('row', 'row', currency => 'r.currency', rate => 'r.rate', paid_by_points => 'r.points_paid') \gset
SELECT loyalty.set_rule('row', 'app', kind => 'bonus', points => 7, condition => $$invoice.channel = 'app'$$) \gset
SELECT loyalty.set_rule('row', 'store', kind => 'bonus', points => 9, condition => $$document.channel = 'store'$$) \gset
SELECT loyalty.set_rule('row', 'march', kind => 'bonus', points => 11, condition => 'document.month = 3') \gset
SELECT is((SELECT points FROM loyalty.quote_earn('row', 'ann', 100, source => 'row', invoice => i::jsonb) ORDER BY step DESC LIMIT 1), p, i)
	FROM (VALUES ('{"state": "posted", "channel": "app", "at": "2024-02-10"}', 107.00), ('{"state": "posted", "channel": "store", "at": "2024-02-10"}', 109.00),
		('{"state": "posted", "at": "2024-03-31 23:30 UTC"}', 100.00), ('{"state": "paid", "at": "2024-03-31 20:30 UTC", "note": "x"}', 111.00)) v (i, p);
SELECT is((SELECT points FROM loyalty.quote_earn('row', NULL, source => 'row', invoice => '{"state": "posted", "at": "2024-02-10", "total": 50, "currency": "USD", "rate": 2, "customer": "ann", "points_paid": 10}')
	ORDER BY step DESC LIMIT 1), 80.00, 'amount, rate and what points paid are in the row');
INSERT INTO shop.invoice (id, customer, total, currency, rate, points_paid, at, channel) VALUES (900, 'ann', 50, 'USD', 2, 10, '2024-02-10', 'app');
SELECT loyalty.settle() \gset
SELECT is((SELECT points FROM loyalty.quote_earn('row', NULL, source => 'row', invoice => (SELECT to_jsonb(i) FROM shop.invoice i WHERE id = 900)) ORDER BY step DESC LIMIT 1),
	loyalty.balance('row', 'ann'), 'what is quoted is what is booked');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('row', 'ann', 100, source => 'row', invoice => '{"state": "draft"}')$$, '22023', NULL, 'a draft does not count');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('row', 'ann', 100, source => 'row')$$, '22023', NULL, 'a source without a row');
-- without a row, rules that need one are left out, and named
SELECT loyalty.set_rule('row', 'of the row', 7, kind => 'bonus', condition => 'invoice.note IS NULL'), loyalty.set_rule('row', 'of the source', 8, kind => 'bonus', source => 'row'),
	loyalty.set_rule('row', 'later', 9, kind => 'bonus', condition => 'invoice.note IS NULL', valid_from => '2099-01-01') \g /dev/null
SELECT results_eq($$SELECT rule, calculation, points FROM loyalty.quote_earn('row', 'ann', 100, at => '2024-02-10') WHERE calculation LIKE 'left out%' AND rule <> 'app'$$,
	$$VALUES ('of the row', 'left out: it looks at the invoice (pass source and invoice)', 0::numeric), ('of the source', 'left out: it is for source "row" (pass source and invoice)', 0)$$, 'rules that are left out');
SELECT is_empty($$SELECT * FROM loyalty.quote_earn('row', NULL, source => 'row', invoice => (SELECT to_jsonb(i) FROM shop.invoice i WHERE id = 900)) WHERE calculation LIKE 'left out%'$$, 'none with a row');
SELECT loyalty.end_rule('row', r) FROM unnest('{of the row,of the source,later}'::text[]) r \g /dev/null
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('row', 'ann', 100, source => 'none', invoice => '{}')$$, 'LY001', NULL, 'a source that is not there');
SELECT shop.attach('row two', 'q doc') \gset
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('row', 'ann', 100, source => 'row two', invoice => '{}')$$, 'LY001', NULL, 'or another programme''s');
SELECT throws_ok($$SELECT * FROM loyalty.quote_earn('row', 'ann', source => 'row', invoice => '{"state": "posted", "at": "2024-02-10", "total": -1, "currency": "EUR"}')$$, '22023', NULL, 'a basket below 0');

-- what the basket itself earns can make the tier it earns at
SELECT loyalty.create_program('by points', 'UTC') \gset
SELECT loyalty.set_rule('by points', 'base', 1, 1) \gset
SELECT loyalty.set_tier('by points', 'plain', 0) \gset
SELECT loyalty.set_tier('by points', 'gold', 100, 3) \gset
SELECT loyalty.set_tier_policy('by points', 'points') \gset
SELECT shop.attach('by points', 'by points', paid_by_points => 'r.points_paid') \gset
INSERT INTO shop.invoice (id, customer, total, at) VALUES (910, 'pia', 60, '2024-02-10');
SELECT loyalty.settle() \gset
CREATE TEMP TABLE quoted AS SELECT (SELECT points FROM loyalty.quote_earn('by points', 'pia', 50, at => '2024-02-11') ORDER BY step DESC LIMIT 1) AS points,
	loyalty.balance('by points', 'pia') AS before;
INSERT INTO shop.invoice (id, customer, total, at) VALUES (911, 'pia', 50, '2024-02-11');
SELECT loyalty.settle() \gset
SELECT is(q.points, loyalty.balance('by points', 'pia') - q.before, 'a basket that crosses a threshold of points is quoted as it is booked') FROM quoted q;
SELECT is(shop.tier('by points', 'pia'), 'gold', 'and it does cross it');
-- paid_by_points that is said, though it is 0, goes before what the row says
SELECT is((SELECT points FROM loyalty.quote_earn('row', NULL, source => 'row', paid_by_points => p,
	invoice => '{"state": "posted", "at": "2024-02-10", "total": 50, "currency": "EUR", "customer": "ann", "points_paid": 10}') ORDER BY step DESC LIMIT 1), w, format('paid by points: %s', coalesce(p::text, 'the row''s')))
	FROM (VALUES (NULL::numeric, 40.00), (0, 50.00), (20, 30.00)) v (p, w);

SELECT * FROM finish();
ROLLBACK;
