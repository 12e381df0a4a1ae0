-- attach() and detach(): what is refused and what is taken.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('at', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('at', 'base', 1, 1) \gset

-- a mapping with one thing wrong: the arguments after the fixed ones
CREATE FUNCTION shop.try(args text) RETURNS text LANGUAGE sql AS $$
	SELECT 'SELECT loyalty.attach(source => ''bad'', program => ''at'', header => ''shop.invoice'', ' || args || ')'
$$;
CREATE FUNCTION shop.refused(args text, state text, what text) RETURNS text LANGUAGE sql AS $$
	SELECT throws_ok(shop.try($1), $2, NULL, $3)
$$;

-- names that are not there
SELECT shop.refused($$key => 'r.nope', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total'$$, '42703', 'unknown column in key');
SELECT shop.refused($$key => 'r.id', customer => 'r.nope', doc_date => 'r.at', amount => 'r.total'$$, '42703', 'unknown column in customer');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.nope', amount => 'r.total'$$, '42703', 'unknown column in doc_date');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', posted => 'r.nope', amount => 'r.total'$$, '42703', 'unknown column in posted');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.nope'$$, '42703', 'unknown column in amount');
SELECT shop.refused(format($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', %I => 'r.nope'$$, a), '42703', 'unknown column in ' || a)
	FROM unnest('{filter,sign,company,currency,rate,paid_by_points,return_of,void,channel,enrol}'::text[]) a;
SELECT shop.refused(format($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.amount', %I => 'l.nope'$$, a), '42703', 'unknown column in ' || a)
	FROM unnest('{line_filter,line_product,line_category,line_qty,line_cost,line_list_price,line_return_of}'::text[]) a;
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.nope', line_amount => 'l.amount'$$, '42703', 'unknown column in line_key');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.nope', line_key => 'l.id', line_amount => 'l.amount'$$, '42703', 'unknown column in line_parent');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.nope'$$, '42703', 'unknown column in line_amount');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'l.amount', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id'$$, '42P01', 'a header expression does not see l');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'x.total'$$, '42P01', 'an unknown table alias');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'frobnicate(r.total)'$$, '42883', 'an unknown function');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => '(SELECT t.v FROM shop.nowhere t)'$$, '42P01', 'an unknown table in a sub-select');

-- wrong types
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', posted => 'r.total', amount => 'r.total'$$, '42804', 'posted that is no boolean');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.at'$$, '42804', 'amount that is no number');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.total', amount => 'r.total'$$, '42804', 'doc_date that is no date');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', filter => 'r.note'$$, '42804', 'filter that is no boolean');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', void => 'r.id'$$, '42804', 'void that is no boolean');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', rate => 'r.cancelled'$$, '42804', 'rate that is no number');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.product'$$, '42804', 'line_amount that is no number');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.product = ''x''', line_key => 'l.id', line_amount => 'l.amount'$$, '42804', 'line_parent of another type than key');

-- not one expression
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total +'$$, '42601', 'half an expression');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => ''$$, '42601', 'an empty expression');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total, r.rate'$$, '42601', 'two expressions');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total; DROP TABLE shop.line'$$, '42601', 'two statements');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total FROM shop.line'$$, '42601', 'an expression with a FROM behind it');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total) FROM shop.line --'$$, '42601', 'an expression that closes a parenthesis it did not open');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total WHERE true'$$, '42601', 'an expression with a WHERE behind it');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total AS total'$$, '42601', 'an expression with a name behind it');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total LIMIT 1'$$, '42601', 'an expression with a LIMIT behind it');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total UNION SELECT 1'$$, '42601', 'an expression with a UNION behind it');
SELECT has_table('shop', 'line', 'nothing of what was smuggled in was run');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => '*'$$, '42601', 'a star');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => '$1'$$, '42P02', 'a parameter');

-- not an expression of one row
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'sum(r.total)'$$, '42809', 'an aggregate');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', posted => 'count(*) > 0', amount => 'r.total'$$, '42809', 'an aggregate in posted');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'max(l.amount)'$$, '42809', 'an aggregate over lines');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'row_number() OVER ()'$$, '42809', 'a window function');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'generate_series(1, 3)'$$, '42809', 'a function that returns a set');

-- arguments
SELECT throws_ok($$SELECT loyalty.attach('bad', 'at', 'shop.nowhere', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$, '42P01', NULL, 'a table that is not there');
SELECT throws_ok($$SELECT loyalty.attach('bad', 'nowhere', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$, 'LY001', NULL, 'an unknown programme');
SELECT throws_ok($$SELECT loyalty.attach('', 'at', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$, '22023', NULL, 'a source without a name');
SELECT throws_ok(format($$SELECT loyalty.attach(source => %s, program => %s, header => %s, key => %s, customer => %s, doc_date => %s, amount => 'r.total')$$,
		CASE a WHEN 1 THEN 'NULL' ELSE quote_literal('bad') END, CASE a WHEN 2 THEN 'NULL' ELSE quote_literal('at') END,
		CASE a WHEN 3 THEN 'NULL' ELSE quote_literal('shop.invoice') END, CASE a WHEN 4 THEN 'NULL' ELSE quote_literal('r.id') END,
		CASE a WHEN 5 THEN 'NULL' ELSE quote_literal('r.customer') END, CASE a WHEN 6 THEN 'NULL' ELSE quote_literal('r.at') END),
	'22004', NULL, 'required argument ' || a || ' is NULL') FROM generate_series(1, 6) a;
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at'$$, '22023', 'neither an amount nor lines with one');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', evaluate => 'never'$$, '22023', 'an unknown evaluate');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', on_error => 'ignore'$$, '22023', 'an unknown on_error');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', unlinked => 'positive'$$, '22023', 'an unknown unlinked');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', lines => 'shop.line'$$, '22004', 'lines without line_parent');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', lines => 'shop.line', line_parent => 'l.invoice', line_amount => 'l.amount'$$, '22004', 'lines without line_key');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', line_parent => 'l.invoice'$$, '22023', 'line_parent without lines');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', line_amount => 'l.amount'$$, '22023', 'line_amount without lines');
SELECT shop.refused($$key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', return_of => 'r.return_of', return_source => 'nowhere'$$, 'LY001', 'an unknown return_source');
CREATE VIEW shop.invoice_view AS SELECT * FROM shop.invoice;
SELECT throws_ok($$SELECT loyalty.attach('bad', 'at', 'shop.invoice_view', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$, '42809', NULL, 'a view');
SELECT throws_ok($$SELECT loyalty.attach('bad', 'at', 'shop.invoice', 'r.id', 'r.customer', 'r.at', lines => 'shop.invoice_view', line_parent => 'l.id', line_key => 'l.id', line_amount => 'l.total')$$, '42809', NULL, 'a view for lines');

SELECT is_empty($$SELECT FROM loyalty.source WHERE name = 'bad'$$, 'what was refused left no source');
SELECT is_empty($$SELECT FROM pg_trigger WHERE tgrelid IN ('shop.invoice'::regclass, 'shop.line'::regclass)$$, 'nor a trigger');

-- what is taken
SELECT lives_ok($$SELECT loyalty.attach('full', 'at', 'shop.invoice', 'r.id', 'upper(r.customer)', 'r.at',
	posted => 'r.state = ''posted''', amount => 'coalesce(r.total, 0) - (SELECT coalesce(sum(l.amount), 0) FROM shop.line l WHERE l.invoice = r.id AND l.category = ''freight'')',
	filter => 'r.company IS DISTINCT FROM ''internal''', sign => 'CASE WHEN r.state = ''refund'' THEN -1 ELSE 1 END', company => 'r.company', currency => 'r.currency', rate => 'r.rate',
	paid_by_points => 'r.points_paid', return_of => 'r.return_of', void => 'r.cancelled', channel => '''web''', evaluate => 'statement')$$,
	'a mapping with sub-selects, functions and constants');
INSERT INTO shop.line (id, invoice, category, amount) VALUES (1, 1, 'freight', 10);
INSERT INTO shop.invoice (id, customer, total, currency) VALUES (1, 'ann', 110, 'EUR');
SELECT is(loyalty.balance('at', 'ANN'), 100.00, 'its expressions are evaluated');
SELECT is((SELECT channel FROM shop.document WHERE doc_key = '1'), 'web', 'a constant is an expression too');
INSERT INTO shop.invoice (id, customer, total, company, currency) VALUES (2, 'ann', 40, 'internal', 'EUR');
SELECT is_empty($$SELECT FROM shop.document WHERE doc_key = '2'$$, 'rows that the filter leaves out are not known');
UPDATE shop.invoice SET company = NULL WHERE id = 2;
SELECT is(loyalty.balance('at', 'ANN'), 140.00, 'a row that comes into scope earns');
UPDATE shop.invoice SET company = 'internal' WHERE id = 2;
SELECT is(loyalty.balance('at', 'ANN'), 100.00, 'a row that leaves it gives back');

SELECT throws_ok($$SELECT loyalty.attach('full', 'at', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total')$$,
	'LY002', NULL, 'a second source of the name is refused');

-- two sources on one table, as ERPs with one table for invoices and credit notes need it
SELECT lives_ok($$SELECT loyalty.attach('second', 'at', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total',
	filter => 'r.company = ''internal''', evaluate => 'statement')$$, 'one table can be attached twice');
INSERT INTO shop.invoice (id, customer, total, company, currency) VALUES (3, 'staff', 7, 'internal', 'EUR'), (4, 'bob', 8, NULL, 'EUR');
SELECT is(loyalty.balance('at', 'staff'), 7.00, 'the second source sees its rows');
SELECT is(loyalty.balance('at', 'BOB'), 8.00, 'the first one its own');
SELECT is(loyalty.balance('at', 'bob'), 0.00, 'and none twice');

-- a source in two programmes
SELECT loyalty.create_program('at2', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('at2', 'base', 2, 1) \gset
SELECT lives_ok($$SELECT loyalty.attach('other programme', 'at2', 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement')$$,
	'another programme can have the table too');
INSERT INTO shop.invoice (id, customer, total, currency) VALUES (5, 'cid', 10, 'EUR');
SELECT is(loyalty.balance('at', 'CID'), 10.00, 'one programme gives its points');
SELECT is(loyalty.balance('at2', 'cid'), 20.00, 'the other one its own');

-- names in expressions are found where they were found at attach()
CREATE SCHEMA finders;
CREATE FUNCTION finders.net(v numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT v / 2';
CREATE TABLE shop.sale (id integer PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric);
SELECT throws_ok($$SELECT loyalty.attach('path', 'at', 'shop.sale', 'r.id', 'r.customer', 'r.at', amount => 'net(r.total)')$$,
	'42883', NULL, 'a function outside the search_path is not found');
SELECT lives_ok($$SELECT loyalty.attach('path', 'at', 'shop.sale', 'r.id', 'r.customer', 'r.at', amount => 'net(r.total)',
	search_path => 'finders', evaluate => 'statement')$$, 'a search_path can be given');
CREATE FUNCTION public.net(v numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT v * 1000';
SET LOCAL search_path = public;
INSERT INTO shop.sale (id, customer, total) VALUES (1, 'dan', 50);
SELECT is(loyalty.balance('at', 'dan'), 25.00, 'and holds whatever the session''s is');

-- detach
SELECT throws_ok($$SELECT loyalty.detach('nowhere')$$, 'LY001', NULL, 'an unknown source cannot be detached');
SELECT lives_ok($$SELECT loyalty.detach('path')$$, 'a source is detached');
SELECT is_empty($$SELECT FROM pg_trigger WHERE tgrelid = 'shop.sale'::regclass$$, 'its triggers are gone');
INSERT INTO shop.sale (id, customer, total) VALUES (2, 'dan', 50);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('at', 'dan'), 25.00, 'what was booked stays, nothing new comes');
SELECT loyalty.detach('second') \gset
INSERT INTO shop.invoice (id, customer, total, company, currency) VALUES (6, 'staff', 7, 'internal', 'EUR'), (7, 'BOB', 8, NULL, 'EUR');
SELECT is(loyalty.balance('at', 'staff'), 7.00, 'detaching one source of a table stops that one');
SELECT is(loyalty.balance('at', 'BOB'), 16.00, 'and no other');
SELECT lives_ok($$SELECT loyalty.attach('path', 'at', 'shop.sale', 'r.id', 'r.customer', 'r.at', amount => 'finders.net(r.total)', evaluate => 'statement')$$,
	'a detached source can be attached again');
UPDATE shop.sale SET total = 60 WHERE id = 1;
SELECT is(loyalty.balance('at', 'dan'), 30.00, 'and goes on from what is booked');
SELECT isnt_empty($$SELECT FROM loyalty.verify('path') WHERE doc_key = '2'$$, 'verify finds what it missed in between');

-- detached with changes under way
CREATE TABLE shop.late (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('late', 'at', 'shop.late', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total') \gset
INSERT INTO shop.late VALUES (1, 'eve', 10);
SELECT lives_ok($$SELECT loyalty.detach('late')$$, 'a source can be detached while documents wait');
SELECT lives_ok($$SELECT loyalty.settle()$$, 'and what waits does no harm');

-- links that could never match, or not be followed
CREATE TABLE shop.link (id uuid PRIMARY KEY, customer text, at date, total numeric, of uuid, no integer);
CREATE TABLE shop.link_line (id integer, parent uuid, amount numeric, of integer);
CREATE FUNCTION shop.linked(VARIADIC more text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT loyalty.attach(%L, %L, %L, key => %L, customer => %L, doc_date => %L, %s)',
		'link', 'at', 'shop.link', 'r.id', 'r.customer', 'r.at', array_to_string(more, ', '));
END
$$;
SELECT throws_like($$SELECT shop.linked('amount => ''r.total''', 'return_of => ''(r.of, r.no)''')$$,
	'"return_of" and "key" have different numbers of columns', 'a link with more columns than the key');
SELECT throws_like($$SELECT shop.linked('amount => ''r.total''', 'return_of => ''r.no''')$$,
	'expression "return_of" is integer, but "key" is uuid', 'a link of another type');
SELECT throws_like($$SELECT shop.linked('lines => ''shop.link_line''', 'line_parent => ''l.parent''', 'line_key => ''l.id''', 'line_amount => ''l.amount''', 'line_return_of => ''l.parent''')$$,
	'expression "line_return_of" is uuid, but "line_key" is integer', 'a line''s link of another type');
SELECT throws_like($$SELECT shop.linked('lines => ''shop.link_line''', 'line_parent => ''l.parent''', 'line_key => ''r.no''', 'line_amount => ''l.amount''', 'line_return_of => ''l.of''')$$,
	'source "link" cannot look up documents by their lines', 'lines'' links that cannot be followed');
SELECT throws_like($$SELECT loyalty.attach('link', 'at', 'shop.link', '7', 'r.customer', 'r.at', amount => 'r.total')$$,
	'expression "key" is the same for every row', 'a key that is none');
SELECT lives_ok($$SELECT shop.linked('amount => ''r.total''', 'return_of => ''r.of::text''')$$, 'text may stand for any key');
SELECT throws_like($$SELECT loyalty.attach('back', 'at', 'shop.late', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', return_of => 'r.id', return_source => 'link')$$,
	'expression "return_of" is integer, but "key" of source "link" is uuid', 'a link into another source is checked as well');
CREATE TEMP TABLE fleeting (id integer PRIMARY KEY, customer text, total numeric);
SELECT throws_ok($$SELECT loyalty.attach('temp', 'at', 'fleeting', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total')$$,
	'42809', NULL, 'a temporary table');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
