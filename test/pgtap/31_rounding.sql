-- Rounding: unit, direction, scope.
\ir common.psql
SELECT no_plan();

CREATE TABLE shop.sale (id serial PRIMARY KEY, customer text, total numeric, of integer);
CREATE TABLE shop.sale_line (sale integer, id serial PRIMARY KEY, amount numeric);

-- every direction at every unit: what one document of v earns at 1 per 1
CREATE FUNCTION shop.rounds(unit numeric, direction text, VARIADIC pairs text[]) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	prg text := format('%s %s', direction, unit);
	p text;
BEGIN
	PERFORM loyalty.create_program(prg, 'UTC', point_unit => unit, rounding => direction);
	PERFORM loyalty.set_rule(prg, 'base', 1, 1);
	PERFORM loyalty.attach(prg, prg, 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement');
	FOREACH p IN ARRAY pairs LOOP
		INSERT INTO shop.sale (customer, total) VALUES (prg || ' ' || p, split_part(p, '>', 1)::numeric);
		RETURN NEXT is(trim_scale(loyalty.balance(prg, prg || ' ' || p)), split_part(p, '>', 2)::numeric,
			format('%s to %s: %s', direction, unit, replace(p, '>', ' is ')));
	END LOOP;
	PERFORM loyalty.detach(prg);
END
$$;
SELECT shop.rounds(1, 'down', '2.5>2', '3.5>3', '2.999>2', '3>3', '0.999>0', '2.0000000001>2', '2.9999999999999999999999>2');
SELECT shop.rounds(1, 'up', '2.5>3', '3.5>4', '2.001>3', '3>3', '0.001>1', '2.0000000000000000000001>3');
SELECT shop.rounds(1, 'half_up', '2.5>3', '3.5>4', '2.499999>2', '2.500001>3', '0.5>1', '0.49>0');
SELECT shop.rounds(1, 'half_even', '2.5>2', '3.5>4', '2.499999>2', '2.500001>3', '0.5>0', '1.5>2');
SELECT shop.rounds(0.1, 'down', '199.99>199.9', '0.09>0', '0.1>0.1');
SELECT shop.rounds(0.1, 'up', '199.91>200', '0.01>0.1', '0.1>0.1');
SELECT shop.rounds(0.1, 'half_up', '0.25>0.3', '0.35>0.4', '0.249>0.2');
SELECT shop.rounds(0.1, 'half_even', '0.25>0.2', '0.35>0.4', '0.251>0.3');
SELECT shop.rounds(0.01, 'down', '12.345>12.34', '12.349999>12.34', '12.3>12.3');
SELECT shop.rounds(0.01, 'up', '12.345>12.35', '12.3400001>12.35', '12.34>12.34');
SELECT shop.rounds(0.01, 'half_up', '12.345>12.35', '12.3449>12.34', '99.999>100');
SELECT shop.rounds(0.01, 'half_even', '12.345>12.34', '12.355>12.36', '12.3451>12.35');

-- 1,999 at 100 per 1,000 with tenths
SELECT loyalty.create_program('tenths', 'UTC', point_unit => 0.1) \gset
SELECT loyalty.set_rule('tenths', 'base', 100, 1000) \gset
SELECT loyalty.attach('tenths', 'tenths', 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.sale (customer, total) VALUES ('ten', 1999);
SELECT is(loyalty.balance('tenths', 'ten'), 199.90, '1,999 at 100 per 1,000 is 199.9 where tenths are booked');
SELECT loyalty.detach('tenths') \gset

-- the tier's rate is part of what is rounded, not applied to what was rounded
SELECT loyalty.create_program('rate', 'UTC') \gset
SELECT loyalty.set_rule('rate', 'base', 1, 1) \gset
SELECT loyalty.set_tier('rate', 'T', 0, 1.5) \gset
SELECT loyalty.attach('rate', 'rate', 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.sale (customer, total) VALUES ('rat', 1.9);
SELECT is(loyalty.balance('rate', 'rat'), 2.00, '1.9 at a rate of 1.5 is 2.85, which is 2');
SELECT loyalty.detach('rate') \gset

-- scope: the document or each line
SELECT loyalty.create_program('doc', 'UTC', rounding_scope => 'document') \gset
SELECT loyalty.create_program('line', 'UTC', rounding_scope => 'line') \gset
SELECT loyalty.create_program('line up', 'UTC', rounding_scope => 'line', rounding => 'up') \gset
SELECT loyalty.set_rule(p, 'base', 1, 1, applies_to => 'line'), loyalty.set_rule(p, 'tenth', 1, 10, applies_to => 'line'),
	loyalty.attach(p, p, 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', lines => 'shop.sale_line', line_parent => 'l.sale', line_key => 'l.id', line_amount => 'l.amount')
	FROM unnest('{doc,line,line up}'::text[]) p \g /dev/null
INSERT INTO shop.sale (id, customer) VALUES (1001, 'sco');
INSERT INTO shop.sale_line (sale, amount) VALUES (1001, 1.5), (1001, 1.5), (1001, 2.4);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('doc', 'sco'), 5.00, 'scope document: 5.94 is 5');
-- the lines earn 1.65, 1.65 and 2.64
SELECT is(loyalty.balance('line', 'sco'), 4.00, 'scope line: 1 + 1 + 2');
SELECT is(loyalty.balance('line up', 'sco'), 7.00, 'scope line, up: 2 + 2 + 3');
SELECT loyalty.detach(p) FROM unnest('{doc,line,line up}'::text[]) p \g /dev/null

-- scope: the member's running total
SELECT loyalty.create_program('carry', 'UTC', rounding_scope => 'carry') \gset
SELECT loyalty.set_rule('carry', 'base', 1, 3) \gset
SELECT loyalty.attach('carry', 'carry', 'shop.sale', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', return_of => 'r.of', evaluate => 'statement') \gset
INSERT INTO shop.sale (id, customer, total) VALUES (2001, 'car', 1);
SELECT is(loyalty.balance('carry', 'car'), 0.00, 'carry: a third is nothing yet');
INSERT INTO shop.sale (id, customer, total) VALUES (2002, 'car', 1);
SELECT is(loyalty.balance('carry', 'car'), 0.00, 'nor are two');
INSERT INTO shop.sale (id, customer, total) VALUES (2003, 'car', 1);
SELECT is(loyalty.balance('carry', 'car'), 1.00, 'three thirds are exactly one');
INSERT INTO shop.sale (id, customer, total) VALUES (2004, 'car', 5), (2005, 'car', 5);
SELECT is(loyalty.balance('carry', 'car'), 4.00, 'ten thirds more: 4 1/3');
SELECT is(shop.entries('carry', 'car'), 'earn 1, earn 1, earn 2', 'carried from document to document');
UPDATE shop.sale SET total = 3 WHERE id = 2005;
SELECT is(loyalty.balance('carry', 'car'), 3.00, 'an edit moves the running total: 3 2/3');
UPDATE shop.sale SET total = 4 WHERE id = 2005;
SELECT is(loyalty.balance('carry', 'car'), 4.00, 'to the last third: 4');
INSERT INTO shop.sale (id, customer, total, of) VALUES (2006, 'car', -1, 2001);
SELECT is(loyalty.balance('carry', 'car'), 3.00, 'a return of a third takes the point that it completed: 3 2/3');
DELETE FROM shop.sale WHERE id BETWEEN 2001 AND 2006;
SELECT is(loyalty.balance('carry', 'car'), 0.00, 'all gone: nothing is left of the points');
SELECT is((SELECT coalesce(carry[1], 0) FROM shop.member WHERE customer = 'car'), 0::numeric, 'nor of the fractions');
-- many small ones lose nothing
INSERT INTO shop.sale (id, customer, total) SELECT 3000 + i, 'small', 0.1 FROM generate_series(1, 100) i;
SELECT is(loyalty.balance('carry', 'small'), 3.00, 'a hundred times 0.1 at 1 per 3 are 3 1/3');
INSERT INTO shop.sale (id, customer, total) VALUES (3200, 'small', 2);
SELECT is(loyalty.balance('carry', 'small'), 4.00, 'two more complete the fourth');
SELECT is_empty($$SELECT * FROM loyalty.verify('carry') WHERE doc_key::integer > 2000$$, 'verify agrees');

-- the column's limit holds for sums as well, which the books write directly
SELECT loyalty.create_program('big', time_zone => 'UTC') \gset
SELECT loyalty.set_rule('big', 'base', 1, 1) \gset
SELECT shop.attach('big', 'big', evaluate => 'statement') \gset
SET LOCAL client_min_messages = error;
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'big', 9999999999999999);
INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'big', 1), (3, 'huge', 1e40);
SELECT is(loyalty.balance('big', 'big'), 9999999999999999.00, 'the largest number of points');
SELECT is((SELECT string_agg(doc_key || ' ' || sqlstate || ' ' || message, ', ' ORDER BY doc_key) FROM shop.pending),
	'2 22003 points out of range, 3 22003 points out of range', 'one more does not fit: it is parked');
UPDATE shop.invoice SET total = 5 WHERE id = 1;
DELETE FROM shop.invoice WHERE id = 3;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('big', 'big'), 6.00, 'and booked when there is room');
SELECT is_empty($$SELECT * FROM shop.pending$$, 'nothing waits');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
