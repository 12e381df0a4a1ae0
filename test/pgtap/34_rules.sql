-- Rules: kinds, factors, exclusive groups, thresholds under returns, versions.
\ir common.psql
SELECT no_plan();
-- nothing a session sets may matter
SET LOCAL search_path = shop, public;

ALTER TABLE shop.invoice ADD paid_on date, ADD tags text[], ADD colour text;
SELECT loyalty.create_program('ru', 'Asia/Kolkata', point_unit => 0.01) \gset
SELECT shop.attach_lines('ru', 'ru') \gset

-- a sale with lines category:amount[:qty], evaluated at once; its points
CREATE FUNCTION shop.sell(id integer, customer text, lines text, at timestamptz DEFAULT '2024-03-10 12:00+00', channel text DEFAULT NULL) RETURNS numeric
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, customer, at, channel) VALUES (sell.id, sell.customer, sell.at, sell.channel);
	INSERT INTO shop.line (id, invoice, product, category, qty, amount)
		SELECT sell.id * 10 + o, sell.id, 'p' || o, p[1], coalesce(p[3], '1')::numeric, p[2]::numeric
		FROM unnest(string_to_array(lines, ' ')) WITH ORDINALITY u (line, o), LATERAL string_to_array(u.line, ':') p;
	PERFORM loyalty.settle();
	RETURN shop.booked('ru', sell.id::text);
END $$;
-- a return: of lines (line:amount[:qty]), or by value; what is left of the sale's points
CREATE FUNCTION shop.give_back(id integer, sale integer, lines text) RETURNS numeric
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, customer, return_of) SELECT give_back.id, i.customer, sale FROM shop.invoice i WHERE i.id = sale;
	INSERT INTO shop.line (id, invoice, qty, amount, return_of)
		SELECT give_back.id * 10 + o, give_back.id, -coalesce(p[3], '1')::numeric, -p[2]::numeric, sale * 10 + p[1]::integer
		FROM unnest(string_to_array(lines, ' ')) WITH ORDINALITY u (line, o), LATERAL string_to_array(u.line, ':') p;
	PERFORM loyalty.settle();
	RETURN trim_scale((SELECT sum(d.points) FROM loyalty.document d JOIN loyalty.source s USING (source_id)
		WHERE s.name = 'ru' AND (d.doc_key = sale::text OR d.root_key = sale::text)));
END $$;
-- ends all rules but those named
CREATE FUNCTION shop.only(VARIADIC names text[]) RETURNS void LANGUAGE sql AS $$
	SELECT loyalty.end_rule('ru', r.name) FROM loyalty.rule r
	WHERE r.program_id = loyalty.program_id('ru') AND r.is_current AND r.name <> ALL (names)
$$;

-- amount: proportional and step, on the document and on each line
SELECT loyalty.set_rule('ru', 'base', 100, 1000) \gset
SELECT is(shop.sell(1, 'a', 'x:1999'), 199.9, 'proportional: every part counts');
SELECT loyalty.set_rule('ru', 'base', 100, 1000, mode => 'step') \gset
SELECT is(shop.sell(2, 'a', 'x:1999'), 100::numeric, 'step: whole multiples only');
SELECT is(shop.sell(3, 'a', 'x:600 x:600'), 100::numeric, 'step on the document: 1,200 is one');
SELECT loyalty.set_rule('ru', 'base', 100, 1000, mode => 'step', applies_to => 'line') \gset
SELECT is(shop.sell(4, 'a', 'x:600 x:1600 x:999.99'), 100::numeric, 'step on each line');
SELECT loyalty.set_rule('ru', 'base', 100, 1000, mode => 'step', condition => 'line.category = ''x''') \gset
SELECT is(shop.sell(5, 'a', 'x:600 y:600 x:400'), 100::numeric, 'with a condition on lines: the sum of those');
SELECT is(shop.sell(6, 'a', 'y:600'), 0::numeric, 'and nothing for others');

-- unit
SELECT loyalty.set_rule('ru', 'units', 5, kind => 'unit') \gset
SELECT shop.only('units') \gset
SELECT is(shop.sell(10, 'a', 'x:10:3 y:20:0.5'), 17.5, 'per unit, per_amount is 1 unless it is said');
SELECT is(shop.give_back(11, 10, '1:10:3'), 2.5, 'units that are returned are gone');
SELECT is(shop.sell(12, 'a', 'x:30:3'), 15::numeric, 'three for 30');
SELECT is(shop.give_back(13, 12, '1:10:1'), 10::numeric, 'one back: two are left');
SELECT is(shop.give_back(14, 12, '1:5'), 7.5, 'half of one in money: half a unit');
SELECT loyalty.set_rule('ru', 'units', 5, 2, mode => 'step', kind => 'unit') \gset
SELECT is(shop.sell(15, 'a', 'x:30:3 x:10:1'), 10::numeric, 'each pair, over all lines');
SELECT loyalty.set_rule('ru', 'units', 5, 2, mode => 'step', kind => 'unit', applies_to => 'line') \gset
SELECT is(shop.sell(16, 'a', 'x:30:3 x:10:1'), 5::numeric, 'each pair of one line');
SELECT is(shop.sell(17, 'a', 'x:0:10'), 0::numeric, 'what is given away earns nothing');

-- bonus: once, for each line, multiplied or not
SELECT loyalty.set_rule('ru', 'bonus', 7, kind => 'bonus') \gset
SELECT shop.only('bonus') \gset
SELECT is(shop.sell(20, 'a', 'x:10 y:10'), 7::numeric, 'once for the document');
SELECT is(shop.give_back(21, 20, '1:10'), 7::numeric, 'as long as something is left');
SELECT is(shop.give_back(22, 20, '2:10'), 0::numeric, 'and no longer');
SELECT loyalty.set_rule('ru', 'bonus', 7, kind => 'bonus', applies_to => 'line', condition => 'line.category = ''x''') \gset
SELECT is(shop.sell(23, 'a', 'x:10 x:10 y:10'), 14::numeric, 'for each line it holds for');
SELECT is(shop.give_back(24, 23, '1:10'), 7::numeric, 'less one');
SELECT loyalty.set_rule('ru', 'twice', kind => 'multiplier', factor => 2) \gset
SELECT is(shop.sell(25, 'a', 'x:10'), 7::numeric, 'a bonus is not multiplied');
SELECT loyalty.set_rule('ru', 'bonus', 7, kind => 'bonus', multiplied => true) \gset
SELECT is(shop.sell(26, 'a', 'x:10'), 14::numeric, 'unless it says so');
SELECT loyalty.set_rule('ru', 'flat', 1, 1, multiplied => false) \gset
SELECT shop.only('flat', 'twice') \gset
SELECT is(shop.sell(27, 'a', 'x:10'), 10::numeric, 'an amount rule can say that it is not');

-- 2x and 1.5x: 3, 2 or 2.5; with the tier's rate as one of them
SELECT is((SELECT points FROM loyalty.quote_earn('st ' || s, 'n', 100) WHERE calculation = 'would be booked'), due, s)
	FROM (VALUES ('multiply', 300.00, loyalty.create_program('st multiply', 'UTC')), ('max', 200.00, loyalty.create_program('st max', 'UTC', stacking => 'max')),
		('add', 250.00, loyalty.create_program('st add', 'UTC', stacking => 'add'))) v (s, due, id),
		LATERAL (SELECT loyalty.set_rule('st ' || s, 'base', 1, 1) + loyalty.set_rule('st ' || s, 'two', kind => 'multiplier', factor => 2)
			+ loyalty.set_rule('st ' || s, 'half more', kind => 'multiplier', factor => 1.5)) r (n) WHERE n > 0;
SELECT loyalty.set_tier('st ' || s, 'Any', 0, 1.5) FROM unnest('{multiply,max,add}'::text[]) s \g /dev/null
SELECT is((SELECT points FROM loyalty.quote_earn('st ' || s, 'n', 100) WHERE calculation = 'would be booked'), due, s || ' with a tier''s 1.5')
	FROM (VALUES ('multiply', 450.00), ('max', 200.00), ('add', 300.00)) v (s, due);
SELECT loyalty.set_rule('st ' || s, 'little', kind => 'multiplier', factor => 0.1) FROM unnest('{multiply,max,add}'::text[]) s \g /dev/null
SELECT is((SELECT points FROM loyalty.quote_earn('st ' || s, 'n', 100) WHERE calculation = 'would be booked'), due, s || ' with a tenth')
	FROM (VALUES ('multiply', 45.00), ('max', 200.00), ('add', 210.00)) v (s, due);
SELECT loyalty.set_rule('st add', 'none' || i, kind => 'multiplier', factor => 0) FROM generate_series(1, 5) i \g /dev/null
SELECT is((SELECT points FROM loyalty.quote_earn('st add', 'n', 100) WHERE calculation = 'would be booked'), 0.00, 'factors that are added up do not take points away');

-- a factor for some lines; a return of such a line, and by value
SELECT loyalty.set_rule('ru', 'base', 1, 10) \gset
SELECT loyalty.set_rule('ru', 'new', kind => 'multiplier', factor => 3, condition => 'line.category = ''new''') \gset
SELECT shop.only('base', 'new') \gset
SELECT is(shop.sell(30, 'a', 'new:100 old:100'), 40::numeric, 'three times 10, and 10');
SELECT is(shop.give_back(31, 30, '2:100'), 30::numeric, 'the plain one back');
SELECT is(shop.give_back(32, 30, '1:50'), 15::numeric, 'half of the other');
SELECT is(shop.sell(33, 'a', 'new:100 old:100'), 40::numeric, 'once more');
INSERT INTO shop.invoice (id, customer, return_of) VALUES (34, 'a', 33);
INSERT INTO shop.line (id, invoice, amount) VALUES (341, 34, -100);
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '34'), -20::numeric, 'half of it by value: half of both');

-- thresholds are of what is left
SELECT loyalty.set_rule('ru', 'big', 50, kind => 'bonus', condition => 'document.amount >= 500') \gset
SELECT loyalty.set_rule('ru', 'dear', kind => 'multiplier', factor => 2, condition => 'line.amount >= 300') \gset
SELECT shop.only('base', 'big', 'dear') \gset
SELECT is(shop.sell(40, 'a', 'x:300 x:200'), 130::numeric, 'at both thresholds');
SELECT is(shop.give_back(41, 40, '2:100'), 70::numeric, 'less than 500 is left: no bonus');
SELECT is(shop.give_back(42, 40, '1:100'), 30::numeric, 'less than 300 of the line: no factor');
UPDATE shop.invoice SET cancelled = true WHERE id IN (41, 42);
SELECT loyalty.settle() \g /dev/null
SELECT is(loyalty.balance('ru', 'a') - (SELECT sum(points) FROM shop.document WHERE root_source_id <> 0 OR doc_key <> '40') , 130.00, 'cancelled returns give everything back');
-- the next rung of an exclusive group holds for what is left
SELECT loyalty.set_rule('ru', 'rung 3', 100, kind => 'bonus', condition => 'document.amount >= 1000', exclusive_group => 'ladder', priority => 3) \gset
SELECT loyalty.set_rule('ru', 'rung 2', 40, kind => 'bonus', condition => 'document.amount >= 500', exclusive_group => 'ladder', priority => 2) \gset
SELECT loyalty.set_rule('ru', 'rung 1', 10, kind => 'bonus', condition => 'line.amount >= 100', exclusive_group => 'ladder', priority => 1) \gset
SELECT shop.only('rung 1', 'rung 2', 'rung 3') \gset
SELECT is(shop.sell(45, 'a', 'x:600 x:600'), 100::numeric, 'the highest rung counts alone');
SELECT is(shop.give_back(46, 45, '1:600'), 40::numeric, 'less is left: the next');
SELECT is(shop.give_back(47, 45, '2:200'), 10::numeric, 'and the next');
SELECT is(shop.give_back(48, 45, '2:350'), 0::numeric, 'and none');
SELECT results_eq($$SELECT rule, points FROM loyalty.explain('ru', '45') WHERE rule IS NOT NULL$$, $$VALUES ('rung 3', 100::numeric)$$, 'explained is what counts');
-- groups by line: one for the document is not outranked by one for lines
SELECT loyalty.set_rule('ru', 'l2', 5, kind => 'bonus', applies_to => 'line', condition => 'line.category = ''x''', exclusive_group => 'lines', priority => 2) \gset
SELECT loyalty.set_rule('ru', 'l1', 1, kind => 'bonus', applies_to => 'line', condition => 'line.qty > 0', exclusive_group => 'lines', priority => 1) \gset
SELECT shop.only('l1', 'l2') \gset
SELECT is(shop.sell(49, 'a', 'x:1 y:1 z:1'), 7::numeric, 'each line has its own winner');

-- exclusions: whole lines, whole documents
SELECT loyalty.set_rule('ru', 'base', 1, 10) \gset
SELECT loyalty.set_rule('ru', 'no cards', kind => 'exclusion', condition => 'line.category LIKE ''card%''') \gset
SELECT loyalty.set_rule('ru', 'bonus', 7, kind => 'bonus') \gset
SELECT shop.only('base', 'no cards', 'bonus') \gset
SELECT is(shop.sell(50, 'a', 'cards:100 x:100'), 17::numeric, 'a gift card earns nothing');
SELECT is(shop.sell(51, 'a', 'cards:100'), 0::numeric, 'a sale of nothing else has no bonus either');
SELECT is(shop.give_back(52, 50, '1:100'), 17::numeric, 'it gives nothing back');
SELECT is((SELECT qualifying FROM shop.doc('ru', '51')), 100::numeric, 'but counts for the tier');
SELECT loyalty.set_rule('ru', 'no web', kind => 'exclusion', condition => 'invoice.channel = ''web''') \gset
SELECT is(shop.sell(53, 'a', 'x:100', channel => 'web'), 0::numeric, 'a channel that earns nothing');

-- what a document is: hour, weekday and day in programme time
SELECT shop.only('base') \gset
SELECT loyalty.set_rule('ru', 'mark', 1000, kind => 'bonus', condition => 'document.weekday = 1 AND document.hour = 0 AND document.day = 11 AND document.month = 3 AND document.quarter = 1 AND document.year = 2024') \gset
SELECT is(shop.sell(60, 'a', 'x:1', '2024-03-10 18:30+00'), 1000.1, 'Monday, half past midnight in Kolkata');
SELECT is(shop.sell(61, 'a', 'x:1', '2024-03-10 18:29+00'), 0.1, 'a minute before');
SELECT loyalty.set_rule('ru', 'mark', 1000, kind => 'bonus', condition => 'document.lines = 2 AND NOT document.is_return AND document.source = ''ru'' AND document.key = ''62''') \gset
SELECT is(shop.sell(62, 'a', 'x:1 x:1'), 1000.2, 'number of lines, source and key');

-- the columns of the ERP's own rows
SELECT loyalty.set_rule('ru', 'mark', 1000, kind => 'bonus', condition => '''vip'' = ANY (invoice.tags) AND invoice.paid_on <= document.date + 10') \gset
SELECT is(shop.sell(70, 'a', 'x:1'), 0.1, 'not yet');
UPDATE shop.invoice SET tags = '{a,vip}' WHERE id = 70;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '70'), 0.1, 'not yet');
UPDATE shop.invoice SET paid_on = '2024-03-20' WHERE id = 70;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '70'), 1000.1, 'a change of a column that only the condition looks at counts');
UPDATE shop.invoice SET paid_on = '2024-03-21' WHERE id = 70;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '70'), 0.1, 'and back');
UPDATE shop.invoice SET colour = 'red', note = 'x', tags = '{vip,b}' WHERE id = 70;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.entries('ru', 'a') ~ 'correction -1000$', true, 'one that no rule looks at changes nothing');
SELECT loyalty.set_rule('ru', 'mark', 1000, kind => 'bonus', condition => 'line.note = ''gold''') \gset
SELECT is(shop.sell(71, 'a', 'x:1'), 0.1, 'a column of the line');
UPDATE shop.line SET note = 'gold' WHERE id = 711;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '71'), 1000.1, 'changes, too');
-- for one source only
SELECT shop.attach('ru head', 'ru', paid_by_points => 'r.points_paid') \gset
SELECT loyalty.set_rule('ru', 'mark', 1000, kind => 'bonus', source => 'ru head') \gset
SELECT loyalty.detach('ru head') \gset
SELECT is(shop.sell(72, 'a', 'x:1'), 0.1, 'a rule for another source');

-- versions
SELECT shop.only('base') \gset
SELECT is(shop.sell(80, 'v', 'x:100'), 10::numeric, 'version 1');
SELECT loyalty.set_rule('ru', 'base', 1, 5) \gset
SELECT is(shop.sell(81, 'v', 'x:100'), 20::numeric, 'the next document has version 2, without any more ado');
SELECT is(shop.booked('ru', '80'), 10::numeric, 'the other keeps its own');
SELECT is(shop.give_back(82, 80, '1:50'), 5::numeric, 'its return goes by it');
UPDATE shop.line SET note = 'y' WHERE id = 801;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '80'), 10::numeric, 'a change of what is not mapped re-prices nothing');
UPDATE shop.line SET amount = 200 WHERE id = 801;
SELECT loyalty.settle() \g /dev/null
SELECT is(shop.booked('ru', '80'), 40::numeric, 'a change of the document does');
SELECT loyalty.end_rule('ru', 'base') \gset
SELECT is(shop.sell(83, 'v', 'x:100'), 0::numeric, 'no rule any more');
SELECT is(shop.booked('ru', '81'), 20::numeric, 'which changes nothing of before');
SELECT throws_ok($$SELECT loyalty.end_rule('ru', 'base')$$, 'LY001', NULL, 'it is not in force twice');
SELECT loyalty.set_rule('ru', 'base', 1, 10) \gset
SELECT is((SELECT array_agg(version ORDER BY version) @> '{1,2,3}' AND count(*) FILTER (WHERE is_current) = 1 AND bool_and((ended_at IS NULL) = is_current)
	FROM loyalty.rule WHERE program_id = loyalty.program_id('ru') AND name = 'base'), true, 'every version is there, one is in force');
-- a change is undone with its transaction
SAVEPOINT s;
SELECT loyalty.set_rule('ru', 'base', 1, 1) \gset
SELECT is(shop.sell(84, 'v', 'x:100'), 100::numeric, 'seen at once');
ROLLBACK TO s;
SELECT is(shop.sell(84, 'v', 'x:100'), 10::numeric, 'and gone with the savepoint');

-- a version that begins later, or began earlier
SELECT shop.only('base') \gset
SELECT loyalty.set_rule('ru', 'base', 1, 10) \gset
SELECT loyalty.set_rule('ru', 'base', 2, 10, valid_from => '2024-06-01', valid_to => '2024-06-30') \gset
SELECT is(shop.sell(180, 'w', 'x:100', '2024-05-31 18:29+00'), 10::numeric, 'until a later version begins, the one before it holds');
SELECT is(shop.sell(181, 'w', 'x:100', '2024-05-31 18:30+00'), 20::numeric, 'from its first day, in programme time, it does');
SELECT is(shop.sell(182, 'w', 'x:100', '2024-06-30 18:30+00'), 0::numeric, 'and after its last day none');
SELECT loyalty.set_rule('ru', 'base', 3, 10, valid_from => '2024-07-01') \gset
SELECT is(shop.sell(183, 'w', 'x:100', '2024-07-01'), 30::numeric, 'three of them');
SELECT is(shop.sell(184, 'w', 'x:100', '2024-06-10') || ' ' || shop.sell(185, 'w', 'x:100', '2024-01-10'), '20 10', 'each for its days, whatever the order of the documents');
SELECT results_eq($$SELECT last_day FROM loyalty.rule_performance WHERE program = 'ru' AND rule = 'base' AND is_current ORDER BY version$$,
	$$VALUES ('2024-05-31'::date), ('2024-06-30'), (NULL)$$, 'rule_performance says until when');
SELECT loyalty.set_rule('ru', 'base', 4, 10, valid_from => '2024-06-15') \gset
SELECT is(shop.sell(186, 'w', 'x:100', '2024-07-02') || ' ' || shop.sell(187, 'w', 'x:100', '2024-06-14') || ' ' || shop.sell(188, 'w', 'x:100', '2024-05-01'), '40 20 10', 'one that begins earlier takes the place of those that would begin after it');
SELECT is((SELECT count(*) FROM loyalty.rule WHERE program_id = loyalty.program_id('ru') AND name = 'base' AND is_current), 3::bigint, 'the others are in force still');
SELECT is((SELECT points FROM loyalty.quote_earn('ru', 'w', 100, at => '2024-05-01', rules => '{"instead": [{"name": "y", "points": 1, "per_amount": 1}]}') q ORDER BY step DESC LIMIT 1), 100.00, 'other rules instead take the place of all');
SELECT lives_ok($$SELECT loyalty.set_rule('ru', 'g one', 1, 10, exclusive_group => 'g', valid_to => '2024-12-31'), loyalty.set_rule('ru', 'g one', 1, 10, exclusive_group => 'g', priority => 1, valid_from => '2024-06-01'),
	loyalty.set_rule('ru', 'g two', 1, 10, exclusive_group => 'g', valid_from => '2024-06-01')$$, 'windows of an exclusive group end where the next version begins');
SELECT throws_ok($$SELECT loyalty.set_rule('ru', 'g three', 1, 10, exclusive_group => 'g', valid_from => '2024-05-01', valid_to => '2024-05-31')$$, 'LY002', NULL, 'and overlap before');
SELECT loyalty.end_rule('ru', r) FROM unnest('{base,g one,g two}'::text[]) r \g /dev/null
SELECT is(shop.sell(189, 'w', 'x:100', '2024-05-01'), 0::numeric, 'end_rule() ends all versions');
SELECT loyalty.set_rule('ru', 'base', 1, 10) \gset

-- a category tree
SELECT loyalty.set_rule('ru', 'food', 100, kind => 'bonus', condition => '''food'' = ANY (line.categories)') \gset
SELECT loyalty.set_category('ru', 'fruit', 'food') \gset
SELECT loyalty.set_category('ru', 'apple', 'fruit') \gset
SELECT is(shop.sell(90, 'a', 'apple:10'), 101::numeric, 'a rule on a category reaches the grandchild');
SELECT is(shop.sell(91, 'a', 'food:10'), 101::numeric, 'itself');
SELECT is(shop.sell(92, 'a', 'pear:10'), 1::numeric, 'and nothing else');
SELECT loyalty.set_category('ru', 'fruit', NULL) \gset
SELECT is(shop.sell(93, 'a', 'apple:10'), 1::numeric, 'what is taken out is out at once');
SELECT is(shop.booked('ru', '90'), 101::numeric, 'for what comes');
SELECT throws_ok($$SELECT loyalty.set_category('ru', 'fruit', 'apple')$$, '22023', NULL, 'no circles');

-- a rule that fails parks the document, with the rule's name for those who mend it
SELECT shop.only('base') \gset
SELECT loyalty.set_rule('ru', 'thrift', 5, kind => 'bonus', condition => '100 / (document.amount - 50) > 1') \gset
SET LOCAL client_min_messages = error;
SELECT is(shop.sell(95, 'a', 'x:50'), 0::numeric, 'the sale is written');
SELECT is((SELECT sqlstate || ' ' || message FROM shop.pending WHERE doc_key = '95'), '22012 condition of rule "thrift": division by zero', 'and parked for a division by zero');
SELECT loyalty.end_rule('ru', 'thrift') \gset
SELECT is(loyalty.retry_parked('ru'), 1::bigint, 'the rule is mended');
SELECT is(shop.booked('ru', '95'), 5::numeric, 'and it is booked');
SET LOCAL client_min_messages = warning;

-- a hundred rules
SELECT loyalty.set_rule('ru', 'n' || i, 1, kind => 'bonus', condition => format('line.amount >= %s AND line.category <> ''y''', i)) FROM generate_series(1, 100) i \g /dev/null
SELECT is(shop.sell(96, 'a', 'x:50 y:100'), 65::numeric, 'fifty of a hundred rules hold');
SELECT is(shop.give_back(97, 96, '1:25'), 37.5, 'and half of them for what is left');

SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
