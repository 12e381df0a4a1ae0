-- Conditions: check_condition() and condition_columns().
\ir common.psql
SELECT no_plan();

CREATE TYPE shop.colour AS ENUM ('red', 'green');
CREATE DOMAIN shop.price AS numeric(10,2);
ALTER TABLE shop.invoice ADD colour shop.colour, ADD price shop.price, ADD "order" integer, ADD spot point, ADD amount text;
COMMENT ON COLUMN shop.invoice.channel IS 'where it was sold';
SELECT loyalty.create_program('cond', 'Asia/Kolkata') \gset
SELECT shop.attach_lines('cond', 'cond') \g /dev/null
SELECT shop.attach('cond header', 'cond') \g /dev/null

CREATE FUNCTION shop.cond(condition text, source text DEFAULT 'cond', event boolean DEFAULT false) RETURNS text
LANGUAGE sql AS $$SELECT loyalty.check_condition('cond', cond.condition, cond.source, cond.event)$$;

-- what may be named
SELECT is(shop.cond(c), n, c) FROM (VALUES
	('invoice.total > 5', '(invoice.total > (5)::numeric)'),
	('invoice."order" = 1', '(invoice."order" = 1)'),
	('invoice.amount = ''x''', '(invoice.amount = ''x''::text)'),
	('line.amount > 0.5', '(line.amount > 0.5)'),
	('invoice.price > 1', '(invoice.price > (1)::numeric)'),
	('invoice.colour = ''red''', '(invoice.colour = ''red''::shop.colour)'),
	('invoice.colour > ''red''', '(invoice.colour > ''red''::shop.colour)'),
	('''b'' = ANY (line.categories)', '(''b''::text = ANY (line.categories))'),
	('document.is_return', 'document.is_return'),
	('(document.date)::date = ''2024-02-29''', '(document.date = ''2024-02-29''::date)'),
	('document.occurred_at = ''2024-02-29''', '(document.occurred_at = ''2024-02-29 00:00:00+05:30''::timestamp with time zone)'),
	('line.qty > 1 -- a comment', '(line.qty > (1)::numeric)'),
	('/* none */ true', 'true')) v (c, n);
SELECT is(shop.cond('line.amount > 1', 'cond header'), '(line.amount > (1)::numeric)', 'a source without lines still has a line''s fields');
SELECT throws_ok($$SELECT shop.cond('line.note = ''x''', 'cond header')$$, '42703', NULL, 'but not the columns of one');
SELECT is(shop.cond('line.note = ''x'''), '(line.note = ''x''::text)', 'which a source with lines has');
SELECT throws_ok($$SELECT shop.cond('invoice.total > 1', NULL)$$, '42P01', NULL, 'without a source there is no invoice');
SELECT is(shop.cond('event.kind = member.tier', NULL, true), '(event.kind = member.tier)', 'an event is one');
SELECT throws_ok(format('SELECT shop.cond(%L, NULL, true)', c), '42P01', NULL, 'an event has no ' || c)
	FROM unnest('{invoice.total > 1,line.qty > 1,document.hour > 1}'::text[]) c;
SELECT throws_ok($$SELECT shop.cond('event.kind = ''x''')$$, '42P01', NULL, 'a document is no event');

-- columns come and go
SELECT throws_ok($$SELECT shop.cond('invoice.fresh = 1')$$, '42703', NULL, 'a column that is not there yet');
ALTER TABLE shop.invoice ADD fresh integer;
SELECT is(shop.cond('invoice.fresh = 1'), '(invoice.fresh = 1)', 'is seen as soon as it is');
ALTER TABLE shop.invoice RENAME fresh TO stale;
SELECT throws_ok($$SELECT shop.cond('invoice.fresh = 1')$$, '42703', NULL, 'a renamed one is gone');
ALTER TABLE shop.invoice ALTER stale TYPE text;
SELECT is(shop.cond('invoice.stale = ''1'''), '(invoice.stale = ''1''::text)', 'a changed one has its new type');
ALTER TABLE shop.invoice DROP COLUMN stale;
SELECT throws_ok($$SELECT shop.cond('invoice.stale = ''1''')$$, '42703', NULL, 'a dropped one is gone');
SELECT throws_ok($$SELECT shop.cond('invoice."........pg.dropped.19........" = ''1''')$$, '42703', NULL, 'by its last name, too');

-- refusals, by SQLSTATE
SELECT throws_ok(format('SELECT shop.cond(%L)', c), s, NULL, c) FROM (VALUES
	('line.qty >', '42601'), ('line.qty > 1)', '42601'), ('', '42601'), ('SELECT true', '42601'), ('true; true', '42601'),
	('total > 1', '42703'), ('invoice.nope > 1', '42703'), ('r.total > 1', '42P01'), ('shop.invoice.total > 1', '42P01'),
	('invoice.spot IS NULL', '0A000'), ('invoice = invoice', '0A000'), ('invoice.*', '0A000'),
	('line.qty', '42804'), ('line.qty + 1', '42804'), ('line.product > 1', '42883'), ('invoice.colour = ''blue''', '22P02'),
	('nope(line.qty)', '42883'), ('line.qty = NULL', '22023'), ('line.qty / 0 > 1 / 0', '22012'),
	('document.date = ''2024-02-30''', '22008'), ('document.date = ''soon''', '22007'),
	('(SELECT true)', '0A000'), ('line.qty IN (SELECT 1)', '0A000'), ('ARRAY(SELECT 1) = ''{1}''', '0A000'),
	('max(line.qty) > 1', '0A000'), ('string_agg(line.product, '','') = ''x''', '0A000'), ('lag(1) OVER () = 1', '0A000'),
	('generate_series(1, 2) = 1', '0A000'), ('$1', '0A000'), ('ROW(1) = ROW(1)', '0A000'), ('localtime > ''12:00''', '0A000'),
	('clock_timestamp() > document.occurred_at', '0A000'), ('document.date > ''now''', '0A000'), ('document.occurred_at > ''  Yesterday ''', '0A000'),
	('document.date = ANY (''{today}'')', '0A000'), ('invoice.at::date = document.date', '0A000'), ('invoice.at > document.date', '0A000'),
	('pg_sleep(10) IS NULL', '0A000'), ('pg_read_file(''/etc/passwd'') = ''x''', '0A000'), ('current_setting(''a.b'') = ''x''', '0A000'),
	('set_config(''search_path'', ''x'', false) = ''x''', '0A000'), ('query_to_xml(''SELECT 1'', true, true, '''') IS NULL', '0A000'),
	('lpad(line.product, 1000000000) = ''x''', '0A000'), ('line.product ~* ''(x+)+y''', '0A000'), ('regexp_replace(line.product, ''x'', ''y'') = ''x''', '0A000'),
	('format(''%s'', 1) = ''x''', '0A000'), ('line.product LIKE line.category', '0A000'), ('power(line.qty, 10000) > 1', '0A000'),
	('''178000000 years''::interval * 10 > ''1 day''', '22008'), ('1e60000 > line.qty', '0A000'), ('B''1'' = B''1''', '0A000'),
	('''a''::regclass = 1', '0A000'), ('''<x/>''::xml IS NULL', '0A000'), ('line.qty::money > ''1''', '0A000'),
	(repeat('NOT ', 150) || 'true', '54001'), ('line.qty' || repeat(' * 2', 33) || ' > 1', '54001'), ('''' || repeat('x', 4000) || ''' = line.product', '54000')) v (c, s);

-- every refusal has a hint
CREATE FUNCTION shop.hint(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_hint text;
BEGIN
	PERFORM shop.cond(condition);
	RETURN 'none';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS v_hint = PG_EXCEPTION_HINT;
	RETURN nullif(v_hint, '');
END $$;
SELECT isnt(shop.hint(c), NULL, 'a hint for: ' || c) FROM unnest(ARRAY['line.qty >', $x$line.qty = 'many'$x$, $x$document.date = '2024-02-30'$x$, $x$document.date = 'soon'$x$,
	'line.product > 1', 'line.qty', 'nope(line.qty)', 'invoice.nope > 1', '(SELECT true)', 'line.qty / 0 > 1 / 0', 'generate_series(1, 2) = 1', 'max(line.qty) > 1',
	'clock_timestamp() > document.occurred_at', 'invoice.spot IS NULL', 'CASE line.qty WHEN 1 THEN true ELSE 5 END', 'line.qty COLLATE "C" = 1']) c;

-- nobody else's code
CREATE FUNCTION shop.spy(numeric, integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE EXCEPTION 'spied'; END$$;
CREATE OPERATOR shop.> (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = shop.spy);
CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''spied''';
SET LOCAL search_path = shop, pg_temp, pg_catalog, public;
SELECT is(shop.cond('line.qty > 1 AND lower(''X'') = line.product'), '((line.qty > (1)::numeric) AND (lower(''X''::text) = line.product))', 'names are PostgreSQL''s own, whatever the search_path');
SELECT is(current_setting('search_path'), 'shop, pg_temp, pg_catalog, public', 'which is back afterwards');
SELECT throws_ok($$SELECT shop.cond('1 / 0 = line.qty')$$, '22012', NULL, 'an error while constants are folded');
SELECT is(current_setting('search_path'), 'shop, pg_temp, pg_catalog, public', 'puts it back as well');
SELECT is(current_setting('TimeZone'), 'America/St_Johns', 'and the time zone');
SET LOCAL search_path TO DEFAULT;
SELECT throws_ok($$SELECT shop.cond('line.qty OPERATOR(shop.>) 1')$$, '0A000', NULL, 'an operator of somebody''s');
SELECT throws_ok($$SELECT shop.cond('shop.spy(line.qty, 1)')$$, '0A000', NULL, 'a function of somebody''s');
SELECT throws_ok($$SELECT shop.cond('line.qty::shop.price > 1')$$, '0A000', NULL, 'a domain of somebody''s');

-- nor while the parser makes values of literals
CREATE FUNCTION shop.spied(numeric) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RAISE EXCEPTION 'spied'; END$$;
CREATE DOMAIN shop.trap AS numeric CHECK (shop.spied(VALUE));
CREATE TYPE shop.pair AS (a shop.trap);
CREATE FUNCTION shop.takes(shop.trap[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE TYPE pg_temp.pair AS (a shop.trap);
SELECT throws_ok(format('SELECT shop.cond(%L)', c), s, NULL, c) FROM (VALUES
	('''{5}''::shop.trap[] IS NULL', '0A000'), ('''(5)''::shop.pair IS NULL', '0A000'), ('''(5)''::pair IS NULL', '0A000'),
	('shop.takes(''{5}'')', '0A000'), ('pair(''(5)'') IS NULL', '42883'), ('''5'' OPERATOR(shop.>) 1', '0A000')) v (c, s);

-- arguments
SELECT throws_ok($$SELECT loyalty.check_condition('nope', 'true')$$, 'LY001', NULL, 'no such programme');
SELECT throws_ok($$SELECT loyalty.check_condition('cond', 'true', 'nope')$$, 'LY001', NULL, 'no such source');
SELECT throws_ok($$SELECT loyalty.check_condition(NULL, 'true')$$, '22004', NULL, 'no programme');
SELECT throws_ok($$SELECT loyalty.check_condition('cond', 'true', 'cond', true)$$, '22023', NULL, 'a source and an event');
SELECT is(loyalty.check_condition('cond', NULL), NULL, 'no condition');

-- condition_columns()
SELECT results_eq('SELECT DISTINCT space FROM loyalty.condition_columns() ORDER BY 1', '{document,event,line,member}'::text[], 'without a source: no invoice');
SELECT is((SELECT count(*) FROM loyalty.condition_columns()), (11 + 16 + 21 + 10)::bigint, 'every field is listed');
SELECT is_empty('SELECT * FROM loyalty.condition_columns() WHERE meaning IS NULL', 'and has a meaning');
SELECT is((SELECT c.meaning FROM loyalty.condition_columns('cond') c WHERE space = 'invoice' AND column_name = 'channel'), 'where it was sold', 'a column''s meaning is its comment');
SELECT is_empty($$SELECT * FROM loyalty.condition_columns('cond') WHERE column_name = 'spot'$$, 'what cannot be used is not listed');
SELECT is((SELECT count(*) FROM loyalty.condition_columns('cond') c WHERE space = 'line' AND column_name = 'amount'), 1::bigint, 'a mapped field hides the table''s column');
SELECT is_empty($$
	SELECT c.space, c.column_name FROM loyalty.condition_columns('cond') c
	WHERE c.column_name <> 'segment' AND loyalty.check_condition('cond', format('%I.%I IS NOT NULL', c.space, c.column_name),
		CASE WHEN c.space <> 'event' THEN 'cond' END, c.space = 'event') IS NULL
$$, 'everything that is listed can be used');
SELECT throws_like($$SELECT loyalty.check_condition('cond', 'member.segment = ''champions''')$$, 'column member.segment can be used for rewards only',
	'but for what may be another tomorrow: rules must give the same whenever they are asked');

-- who may
SELECT loyalty.create_roles() \g /dev/null
SET LOCAL ROLE loyalty_admin;
SELECT is(loyalty.check_condition('cond', 'invoice.total > 1', 'cond'), '(invoice.total > (1)::numeric)', 'loyalty_admin may check conditions');
RESET ROLE;
SET LOCAL ROLE loyalty_bi;
SELECT throws_ok($$SELECT loyalty.check_condition('cond', 'true')$$, '42501', NULL, 'loyalty_bi may not');
RESET ROLE;

SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
