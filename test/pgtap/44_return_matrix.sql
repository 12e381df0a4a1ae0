-- Every kind of link with everything that may happen to a return: partial,
-- several, too much, cancelled, cancelled back, the sale gone.  Linked returns
-- give the same whichever way they are linked; unlinked ones know no sale, so
-- that they are not clamped by it.
\ir common.psql
SELECT no_plan();

CREATE TABLE shop.credit (id integer PRIMARY KEY, customer text, at timestamptz, total numeric, sale integer, void boolean DEFAULT false);
CREATE TABLE shop.credit_line (id integer PRIMARY KEY, credit integer, product text, qty numeric DEFAULT 1, amount numeric, sold integer);

-- one programme per kind of link, all fed from the same tables
SELECT loyalty.create_program(p, 'UTC'), loyalty.set_rule(p, 'base', 1, 30)
	FROM unnest('{document,line,source,source line,unlinked}'::text[]) p \g /dev/null
SELECT loyalty.attach('document', 'document', 'shop.invoice', 'r.id', 'r.customer', 'r.at', posted => 'r.state = ''posted''', void => 'r.cancelled',
	amount => 'r.total', return_of => 'r.return_of') \g /dev/null
SELECT loyalty.attach('line', 'line', 'shop.invoice', 'r.id', 'r.customer', 'r.at', posted => 'r.state = ''posted''', void => 'r.cancelled',
	lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product', line_qty => 'l.qty',
	line_amount => 'l.amount', line_return_of => 'l.return_of') \g /dev/null
-- sales alone are in shop.invoice for these two; their returns are in shop.credit, as positive amounts
SELECT loyalty.attach('source', 'source', 'shop.invoice', 'r.id', 'r.customer', 'r.at', posted => 'r.state = ''posted''', void => 'r.cancelled',
	amount => 'r.total', filter => 'r.return_of IS NULL') \g /dev/null
SELECT loyalty.attach('source returns', 'source', 'shop.credit', 'r.id', 'r.customer', 'r.at', void => 'r.void',
	amount => 'r.total', sign => '-1', return_of => 'r.sale', return_source => 'source') \g /dev/null
SELECT loyalty.attach('source line', 'source line', 'shop.invoice', 'r.id', 'r.customer', 'r.at', posted => 'r.state = ''posted''', void => 'r.cancelled',
	filter => 'r.return_of IS NULL',
	lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product', line_qty => 'l.qty', line_amount => 'l.amount') \g /dev/null
SELECT loyalty.attach('source line returns', 'source line', 'shop.credit', 'r.id', 'r.customer', 'r.at', void => 'r.void', sign => '-1',
	lines => 'shop.credit_line', line_parent => 'l.credit', line_key => 'l.id', line_product => 'l.product', line_qty => 'l.qty',
	line_amount => 'l.amount', line_return_of => 'l.sold', return_source => 'source line') \g /dev/null
SELECT loyalty.attach('unlinked', 'unlinked', 'shop.invoice', 'r.id', 'r.customer', 'r.at', posted => 'r.state = ''posted''', void => 'r.cancelled',
	amount => 'r.total') \g /dev/null

-- a sale of one line, a return of part of it, and its undoing, in both pairs of tables
CREATE FUNCTION shop.sell(id integer, amount numeric) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.invoice (id, customer, at, total) VALUES (sell.id, 'ann', '2024-03-01', amount);
	INSERT INTO shop.line (id, invoice, product, amount) VALUES (sell.id, sell.id, 'tea', amount);
$$;
CREATE FUNCTION shop.take_back(id integer, sale integer, amount numeric) RETURNS void LANGUAGE sql AS $$
	INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (take_back.id, 'ann', '2024-03-01'::timestamptz + take_back.id * interval '1 hour', -amount, sale);
	INSERT INTO shop.line (id, invoice, product, qty, amount, return_of) VALUES (take_back.id, take_back.id, 'tea', -1, -amount, sale);
	INSERT INTO shop.credit VALUES (take_back.id, 'ann', '2024-03-01'::timestamptz + take_back.id * interval '1 hour', amount, sale);
	INSERT INTO shop.credit_line VALUES (take_back.id, take_back.id, 'tea', 1, amount, sale);
$$;
CREATE FUNCTION shop.cancel(id integer, cancelled boolean DEFAULT true) RETURNS void LANGUAGE sql AS $$
	UPDATE shop.invoice i SET cancelled = cancel.cancelled WHERE i.id = cancel.id;
	UPDATE shop.credit c SET void = cancel.cancelled WHERE c.id = cancel.id;
$$;
-- balances of the five, linked ones once if they agree; what is wrong, if anything is
CREATE FUNCTION shop.state() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.settle();
	RETURN (SELECT string_agg(DISTINCT trim_scale(loyalty.balance(p, 'ann'))::text, ' <> ') FROM unnest('{document,line,source,source line}'::text[]) p)
		|| ' / ' || trim_scale(loyalty.balance('unlinked', 'ann'))
		|| coalesce((SELECT '; check: ' || string_agg(c.problem, ', ') FROM loyalty.check() c), '')
		|| coalesce((SELECT '; verify: ' || string_agg(s.name || ' ' || v.doc_key || ' ' || v.problem, ', ') FROM loyalty.source s, loyalty.verify(s.name) v
			WHERE s.source_id > (SELECT k.source_id FROM shop.mark k)), '')
		|| coalesce((SELECT '; waits: ' || string_agg(p.doc_key || ' ' || p.message, ', ') FROM shop.pending p), '');
END
$$;
CREATE FUNCTION shop.too_much(key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT trim_scale(d.overcredited)::text, ' <> ') FROM shop.document d JOIN loyalty.source s USING (source_id)
	WHERE d.doc_key = $1 AND d.state = 'booked' AND d.kind = 'return' AND s.name <> 'unlinked'
$$;

-- the figures of the design: 100 at 1 per 30 is 3; 33, 33 and 34 come back
SELECT shop.sell(1, 100) \g /dev/null
SELECT is(shop.state(), '3 / 3', '100 at 1 per 30');
SELECT shop.take_back(2, 1, 33) \g /dev/null
SELECT is(shop.state(), '2 / 2', 'a part of it comes back');
SELECT shop.take_back(3, 1, 33) \g /dev/null
SELECT is(shop.state(), '1 / 1', 'a second part');
SELECT shop.take_back(4, 1, 34) \g /dev/null
SELECT is(shop.state(), '0 / 0', 'the rest: nothing is left, and nothing is owed');

-- over-credited: clamped, and reported
SELECT shop.take_back(5, 1, 60) \g /dev/null
SELECT is(shop.state(), '0 / -2', 'more than was sold moves nothing; what is linked to nothing is owed');
SELECT is(shop.too_much('5'), '60', 'and is reported');
SELECT is((SELECT count(*) FROM unnest('{document,line,source returns,source line returns}'::text[]) s, loyalty.explain(s, '5') e
	WHERE e.calculation = '60 more was returned than was left'), 4::bigint, 'explain() says so too');

-- cancelled: what it covered goes to the others
SELECT shop.cancel(2) \g /dev/null
SELECT is(shop.state(), '0 / -1', 'one return is cancelled, the one that was too much takes its place');
SELECT is(shop.too_much('5'), '27', 'and is less too much');
SELECT shop.cancel(5) \g /dev/null
SELECT is(shop.state(), '1 / 1', 'that one is cancelled too');
SELECT shop.cancel(3), shop.cancel(4) \g /dev/null
SELECT is(shop.state(), '3 / 3', 'all are: everything is given back');
SELECT shop.cancel(2, false), shop.cancel(3, false) \g /dev/null
SELECT is(shop.state(), '1 / 1', 'two come into force again');

-- edited
UPDATE shop.invoice SET total = -50 WHERE id = 2;
UPDATE shop.line SET amount = -50 WHERE id = 2;
UPDATE shop.credit SET total = 50 WHERE id = 2;
UPDATE shop.credit_line SET amount = 50 WHERE id = 2;
SELECT is(shop.state(), '0 / 1', 'one is raised to 50');
UPDATE shop.invoice SET total = 200 WHERE id = 1;
UPDATE shop.line SET amount = 200 WHERE id = 1;
SELECT is(shop.state(), '3 / 4', 'the sale is corrected to 200: 117 are left');

-- the sale itself goes, and comes again
SELECT shop.cancel(1) \g /dev/null
SELECT is(shop.state(), '0 / -2', 'the sale is cancelled: its returns move nothing');
SELECT shop.cancel(1, false) \g /dev/null
SELECT is(shop.state(), '3 / 4', 'and in force again');
DELETE FROM shop.invoice WHERE id = 1;
DELETE FROM shop.line WHERE id = 1;
SELECT is(shop.state(), '0 / -2', 'it is deleted');
SELECT shop.sell(1, 100) \g /dev/null
SELECT is(shop.state(), '0 / 1', 'and written anew');

-- a return before its sale
SELECT shop.take_back(12, 11, 40) \g /dev/null
SELECT is(shop.state(), '0 / 0', 'a return whose sale is not there');
SELECT shop.sell(11, 100) \g /dev/null
SELECT is(shop.state(), '2 / 3', 'the sale follows');

-- all of it in one transaction, returns first
SELECT shop.take_back(22, 21, 33), shop.take_back(23, 21, 80), shop.sell(21, 100), shop.cancel(22) \g /dev/null
SELECT is(shop.state(), '2 / 4', 'two returns and their sale together, one of them cancelled');
SELECT is((SELECT string_agg(DISTINCT shop.booked(s, '21')::text, ' <> ') FROM unnest('{document,line,source,source line}'::text[]) s), '3', 'the sale is booked as it was sold');

-- deleted
DELETE FROM shop.invoice WHERE return_of IS NOT NULL;
DELETE FROM shop.credit;
SELECT is(shop.state(), '9 / 9', 'all returns are deleted: three sales of 100');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
