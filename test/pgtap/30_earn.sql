-- Base earning: amounts, rules, tiers.
\ir common.psql
SELECT no_plan();

-- the seed example: 1 point per 300
SELECT loyalty.create_program('seed', 'UTC', 'INR') \gset
SELECT loyalty.set_rule('seed', 'base', 1, 300) \gset
SELECT loyalty.set_tier('seed', 'Silver', 2000, 1.5) \gset
SELECT loyalty.set_tier('seed', 'Gold', 6000, 2) \gset
SELECT shop.attach('seed', 'seed', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'low', 1500);
SELECT is(loyalty.balance('seed', 'low'), 5.00, 'below the first tier the rate is 1');
SELECT is(shop.tier('seed', 'low'), NULL, 'and there is no tier');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (2, 'ann', 3000, '2024-03-01');
SELECT is(loyalty.balance('seed', 'ann'), 15.00, 'the invoice that reaches Silver earns at Silver''s rate');
SELECT is(shop.tier('seed', 'ann'), 'Silver', 'Silver');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (3, 'ann', 3000, '2024-03-02');
SELECT is(shop.booked('seed', '3'), 20::numeric, 'the second invoice of 3,000 earns at Gold''s rate');
SELECT is(shop.tier('seed', 'ann'), 'Gold', 'and makes the member Gold');
SELECT is(shop.booked('seed', '2'), 15::numeric, 'the first one keeps what it earned');
SELECT is(shop.qualifying('seed', 'ann'), 6000::numeric, 'both amounts qualify');
-- without a rate of its own a tier changes nothing: 3,000 at 1 per 300 is 10
SELECT loyalty.create_program('plain', 'UTC') \gset
SELECT loyalty.set_rule('plain', 'base', 1, 300) \gset
SELECT loyalty.set_tier('plain', 'Silver', 2000) \gset
SELECT loyalty.set_tier('plain', 'Gold', 6000, 2) \gset
SELECT loyalty.create_program('old', 'UTC', crossing => 'old') \gset
SELECT loyalty.set_rule('old', 'base', 1, 300) \gset
SELECT loyalty.set_tier('old', 'Silver', 2000, 1.5) \gset
SELECT loyalty.set_tier('old', 'Gold', 6000, 2) \gset
SELECT shop.attach('plain', 'plain', evaluate => 'statement') \gset
SELECT shop.attach('old', 'old', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, at) VALUES (4, 'bea', 3000, '2024-03-01');
SELECT is(loyalty.balance('plain', 'bea'), 10.00, '3,000 at 1 per 300 is 10');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (5, 'bea', 3000, '2024-03-02'), (6, 'bea', 300, '2024-03-03');
SELECT is(shop.entries('plain', 'bea'), 'earn 10, earn 20, earn 2', 'then 20 at Gold''s rate');
SELECT is(shop.entries('old', 'bea'), 'earn 10, earn 15, earn 2', 'crossing old: each earns at the tier before it');
SELECT is(shop.tier('old', 'bea'), 'Gold', 'and the tiers are the same');
SELECT results_eq($$SELECT d.doc_key COLLATE "default", d.tier_before, t.name, d.rate FROM unnest('{4,5,6}'::text[]) k, shop.doc('seed', k) d
		LEFT JOIN loyalty.tier t USING (tier_id) ORDER BY d.doc_key$$,
	$$VALUES ('4', 0::numeric, 'Silver', 1.5::numeric), ('5', 3000, 'Gold', 2), ('6', 6000, 'Gold', 2)$$, 'the document keeps the tier it earned at');
-- thresholds are reached with >=
INSERT INTO shop.invoice (id, customer, total) VALUES (7, 'edge-', 5999.99), (8, 'edge', 6000), (9, 'edge+', 6000.01);
SELECT is(shop.tier('seed', 'edge-'), 'Silver', '5,999.99 is not 6,000');
SELECT is(shop.tier('seed', 'edge'), 'Gold', '6,000 is');
SELECT is(loyalty.balance('seed', 'edge-'), 29.00, 'nor is its rate');
SELECT is(loyalty.balance('seed', 'edge'), 40.00, 'and is its rate');
SELECT is(shop.tier('old', 'edge'), 'Gold', 'crossing old changes the rate');
SELECT is(loyalty.balance('old', 'edge'), 20.00, 'not the tier');
-- qualifying amounts are not rounded
INSERT INTO shop.invoice (id, customer, total) VALUES (60, 'mill', 1999.999);
SELECT is(shop.tier('seed', 'mill'), NULL, '1,999.999 is not 2,000');
INSERT INTO shop.invoice (id, customer, total) VALUES (61, 'mill', 0.001);
SELECT is(shop.tier('seed', 'mill'), 'Silver', 'one thousandth more is');
-- an edit re-prices its own document, at the tier it was booked at, and no other
UPDATE shop.invoice SET total = 2700 WHERE id = 3;
SELECT is(shop.qualifying('seed', 'ann'), 5700::numeric, 'a lower amount lowers what qualifies');
SELECT is(shop.tier('seed', 'ann'), 'Silver', 'and the tier at once');
SELECT is(shop.booked('seed', '2'), 15::numeric, 'older documents are left alone');
-- a cancellation as well
UPDATE shop.invoice SET cancelled = true WHERE id = 2;
SELECT is(shop.qualifying('seed', 'ann'), 2700::numeric, 'a cancelled document does not qualify');
SELECT is(shop.tier('seed', 'ann'), 'Silver', 'Silver by the other one');
UPDATE shop.invoice SET cancelled = true WHERE id = 3;
SELECT is(shop.tier('seed', 'ann'), NULL, 'and none without it');

-- the tier that counts is the one before the document, frozen at its first booking
INSERT INTO shop.invoice (id, customer, total, at) VALUES (62, 'frz', 300, '2024-03-05');
SELECT is(shop.booked('seed', '62'), 1::numeric, 'earned without a tier');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (63, 'frz', 6000, '2024-03-06');
UPDATE shop.invoice SET total = 600 WHERE id = 62;
SELECT is(shop.booked('seed', '62'), 2::numeric, 'an edit after an upgrade earns at the tier of its time');
INSERT INTO shop.invoice (id, customer, total, at) VALUES (64, 'frz', 300, '2024-03-01');
SELECT is(shop.booked('seed', '63'), 40::numeric, 'a back-dated document re-rates no other');

-- proportional and step
SELECT loyalty.create_program('prop', 'UTC') \gset
SELECT loyalty.set_rule('prop', 'base', 100, 1000) \gset
SELECT loyalty.create_program('step', 'UTC') \gset
SELECT loyalty.set_rule('step', 'base', 100, 1000, 'step') \gset
CREATE TABLE shop.sale (id integer PRIMARY KEY, customer text, total numeric, paid_by_points numeric);
SELECT loyalty.attach(p, p, 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', paid_by_points => 'r.paid_by_points', evaluate => 'statement')
	FROM unnest('{prop,step}'::text[]) p \g /dev/null
INSERT INTO shop.sale VALUES (1, '1999', 1999), (2, '1000', 1000), (3, '999.99', 999.99), (4, '0', 0), (5, '2000', 2000), (6, '0.009', 0.009);
SELECT is(loyalty.balance('prop', '1999'), 199.00, '1,999 at 100 per 1,000, proportional: 199');
SELECT is(loyalty.balance('step', '1999'), 100.00, 'step: 100');
SELECT is(loyalty.balance('prop', '1000') || ' ' || loyalty.balance('step', '1000'), '100.00 100.00', '1,000');
SELECT is(loyalty.balance('prop', '999.99') || ' ' || loyalty.balance('step', '999.99'), '99.00 0.00', '999.99');
SELECT is(loyalty.balance('prop', '0') || ' ' || loyalty.balance('step', '0'), '0.00 0.00', 'nothing');
SELECT is(loyalty.balance('prop', '2000') || ' ' || loyalty.balance('step', '2000'), '200.00 200.00', '2,000');
SELECT is(shop.entries('prop', '0.009'), '', 'less than a point is no entry');
SELECT is(shop.entries('step', '999.99'), '', 'nor is less than a step');

-- what was paid with points earns nothing but qualifies
SELECT loyalty.set_tier('prop', 'Top', 5000, 2) \gset
INSERT INTO shop.sale VALUES (10, 'pay', 3000, 1000);
SELECT is(loyalty.balance('prop', 'pay'), 200.00, 'the part paid with points earns nothing');
SELECT is(shop.qualifying('prop', 'pay'), 3000::numeric, 'but it qualifies');
SELECT results_eq($$SELECT gross, paid FROM shop.doc('prop', '10')$$,
	$$VALUES (3000::numeric, 1000::numeric)$$, 'both figures are kept');
INSERT INTO shop.sale VALUES (11, 'pay', 2000, 2000);
SELECT is(shop.booked('prop', '11'), 0::numeric, 'paid with points altogether: nothing');
SELECT is(shop.tier('prop', 'pay'), 'Top', 'but the tier is reached');
INSERT INTO shop.sale VALUES (12, 'pay2', 1000, NULL);
SELECT is(loyalty.balance('prop', 'pay2'), 100.00, 'NULL paid with points is none');
INSERT INTO shop.sale VALUES (13, 'pay3', 1000, 1500);
SELECT is(loyalty.balance('prop', 'pay3'), 0.00, 'more than the whole paid with points costs nothing');
UPDATE shop.sale SET paid_by_points = 500 WHERE id = 13;
SELECT is(loyalty.balance('prop', 'pay3'), 50.00, 'the part paid with points may be edited');

-- rules
SELECT loyalty.create_program('rules', 'UTC') \gset
SELECT loyalty.attach('rules', 'rules', 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.sale VALUES (20, 'none', 1999);
SELECT is(loyalty.balance('rules', 'none'), 0.00, 'a programme without rules earns nothing');
SELECT is(shop.entries('rules', 'none'), '', 'and writes nothing');
SELECT loyalty.set_rule('rules', 'base', 1, 100) \gset
SELECT loyalty.set_rule('rules', 'bonus', 5, 1000, 'step') \gset
INSERT INTO shop.sale VALUES (21, 'two', 1999);
SELECT is(loyalty.balance('rules', 'two'), 24.00, 'two rules add up before rounding: 19.99 + 5');
SELECT loyalty.set_rule('rules', 'third', 0.01, 1999) \gset
INSERT INTO shop.sale VALUES (22, 'three', 1999);
SELECT is(loyalty.balance('rules', 'three'), 25.00, 'to the hundredth: 19.99 + 5 + 0.01');
SELECT is((SELECT array_length(rules, 1) FROM shop.doc('rules', '22')), 3,
	'the document keeps which versions gave its points');
SELECT loyalty.end_rule('rules', 'third') \gset
SELECT loyalty.set_rule('rules', 'base', 2, 100) \gset
INSERT INTO shop.sale VALUES (23, 'four', 1999);
SELECT is(loyalty.balance('rules', 'four'), 44.00, 'a changed rule counts from the next document on: 39.98 + 5');
SELECT is(loyalty.balance('rules', 'two'), 24.00, 'not for older ones');
UPDATE shop.sale SET total = 1999.00, paid_by_points = 0 WHERE id = 21;
SELECT is(shop.entries('rules', 'two'), 'earn 24', 'not even when something changes in them that does not matter');
UPDATE shop.sale SET total = 2999 WHERE id = 21;
SELECT is(shop.booked('rules', '21'), 69::numeric, 'a change of the document itself prices it by the rules of now: 59.98 + 10');
SELECT is(loyalty.reevaluate('rules', '21'), 0.00, 'so that reevaluate() has nothing to add');
SELECT is(loyalty.reevaluate('rules', '22'), 19.00, 'as it has for a document that was left alone: 39.98 + 5 instead of 25');
SELECT is(shop.booked('rules', '22'), 44::numeric, 'which is priced by the rules of now when one asks for it');

-- lines: the amount of each line, or of all
SELECT loyalty.create_program('byline', 'UTC') \gset
SELECT loyalty.set_rule('byline', 'step', 100, 1000, 'step', 'line') \gset
SELECT loyalty.create_program('bydoc', 'UTC') \gset
SELECT loyalty.set_rule('bydoc', 'step', 100, 1000, 'step', 'document') \gset
SELECT shop.attach_lines('byline', 'byline', evaluate => 'statement') \gset
SELECT shop.attach_lines('bydoc', 'bydoc', evaluate => 'statement', line_filter => 'l.category IS DISTINCT FROM ''deposit''') \gset
INSERT INTO shop.invoice (id, customer) VALUES (30, 'lin');
INSERT INTO shop.line (id, invoice, amount) VALUES (1, 30, 1500), (2, 30, 700);
SELECT is(loyalty.balance('byline', 'lin'), 100.00, 'a rule on lines takes each line: 1,500 and 700 are one step');
SELECT is(loyalty.balance('bydoc', 'lin'), 200.00, 'a rule on documents takes their sum: 2,200 are two');
INSERT INTO shop.line (id, invoice, category, amount) VALUES (3, 30, 'deposit', 5000);
SELECT is(loyalty.balance('bydoc', 'lin'), 200.00, 'a line that the line_filter leaves out earns nothing');
SELECT is(loyalty.balance('byline', 'lin'), 600.00, 'without one it earns');
SELECT is(shop.qualifying('bydoc', 'lin'), 7200::numeric, 'it was billed all the same, and qualifies');
-- a discount line
INSERT INTO shop.line (id, invoice, amount) VALUES (4, 30, -300);
SELECT is(loyalty.balance('bydoc', 'lin'), 100.00, 'a negative line lowers the document: 1,900');

-- sums that binary fractions would get wrong
SELECT loyalty.create_program('exact', 'UTC') \gset
SELECT loyalty.set_rule('exact', 'base', 1, 0.1) \gset
SELECT loyalty.create_program('third', 'UTC') \gset
SELECT loyalty.set_rule('third', 'a', 1, 3) \gset
SELECT loyalty.set_rule('third', 'b', 1, 3) \gset
SELECT loyalty.set_rule('third', 'c', 1, 3) \gset
SELECT loyalty.attach(p, p, 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement')
	FROM unnest('{exact,third}'::text[]) p \g /dev/null
INSERT INTO shop.sale VALUES (40, 'exact', 0.3), (41, 'third', 1);
SELECT is(loyalty.balance('exact', 'exact'), 3.00, '0.3 at 1 per 0.1 is 3');
SELECT is(loyalty.balance('third', 'third'), 1.00, 'three rules of a third each give one point');
SELECT loyalty.set_tier('third', 'T', 1000, 0.3) \gset
SELECT loyalty.set_tier('third', 'U', 10000, 3.333333333333333333333333333333) \gset
INSERT INTO shop.sale VALUES (42, 'rate', 1000), (43, 'rate3', 30000);
SELECT is(loyalty.balance('third', 'rate'), 300.00, 'a rate of 0.3 is exact');
SELECT is(loyalty.balance('third', 'rate3'), 99999.00, 'a rate of 30 digits as well');
INSERT INTO shop.sale VALUES (44, 'big', 99999999999.99);
SELECT is(loyalty.balance('prop', 'big'), 19999999999.00, 'large amounts are exact');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
