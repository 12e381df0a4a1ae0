-- Conditions: what marketing can write, and what is refused, with the place and a hint.
CREATE SCHEMA co_erp;
SET search_path = co_erp;
CREATE TYPE state AS ENUM ('draft', 'posted', 'paid');
CREATE DOMAIN money_amount AS numeric(12,2) CHECK (VALUE >= 0);
CREATE COLLATION bookish (provider = libc, locale = 'C');
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, delivered timestamptz, paid money_amount,
	state state, note varchar(40), gone text, place point, tags text[]);
ALTER TABLE invoice DROP COLUMN gone;
CREATE TABLE line (id integer PRIMARY KEY, invoice integer, amount numeric, brand text, "Pack Size" integer,
	title text COLLATE bookish);
COMMENT ON COLUMN line.brand IS 'brand of the product';
SELECT loyalty.create_program('co club', 'Europe/Madrid') > 0 AS created;
SELECT loyalty.attach('co shop', 'co club', 'invoice', 'r.id', 'r.customer', 'r.day',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.amount') > 0 AS attached;

-- what can be named
SELECT * FROM loyalty.condition_columns();
SELECT * FROM loyalty.condition_columns('co shop') WHERE meaning IS NULL OR column_name = 'brand';

CREATE FUNCTION ok(condition text, source text DEFAULT 'co shop', event boolean DEFAULT false) RETURNS text
LANGUAGE sql AS $$SELECT loyalty.check_condition('co club', ok.condition, ok.source, ok.event)$$;

-- comparisons, and what they combine to
SELECT ok('line.category = ''new'' AND invoice.paid > 500');
SELECT ok('NOT document.is_return AND (document.channel IS NULL OR document.channel <> ''web'')');
SELECT ok('document.amount BETWEEN 100 AND 200 OR line.product IN (''a'', ''b'')');
SELECT ok('member.tier IS DISTINCT FROM ''Gold'' AND member.tier_rank >= 2');
SELECT ok('line."Pack Size" = 6 AND line.brand LIKE ''A%'' AND line.product NOT ILIKE ''%gift%''');
SELECT ok('line.title COLLATE "C" = ''x''');
-- dates: a literal is in the programme's time zone, as is everything in document
SELECT ok('document.date >= ''2026-01-01'' AND document.occurred_at < ''2026-07-01 12:00''');
SELECT ok('document.weekday IN (6, 7) AND document.hour BETWEEN 9 AND 12 AND document.date - line.launched_on <= 30');
SELECT ok('(invoice.delivered AT TIME ZONE ''Europe/Madrid'')::date = document.date AND extract(doy FROM invoice.day) = 1');
-- arithmetic, text, choices
SELECT ok('round(line.amount / NULLIF(line.qty, 0), 2) > 9.99 AND member.purchase_count % 10 = 9');
SELECT ok('lower(btrim(line.product)) = ''cup'' AND left(line.product, 2) = ''A-'' AND length(invoice.note) > 3');
SELECT ok('COALESCE(member.days_since_last_purchase, 999) > 30 AND GREATEST(line.qty, 1) < 5');
SELECT ok('CASE line.brand WHEN ''acme'' THEN line.qty > 2 ELSE line.qty > 5 END');
-- lists, json, enums
SELECT ok('''food'' = ANY (line.categories) AND invoice.tags && ''{a,b}''');
SELECT ok('member.attributes ->> ''vip'' = ''yes'' AND member.attributes @> ''{"a": 1}'' AND (line.attributes ->> ''size'')::int > 40');
SELECT ok('invoice.state IN (''posted'', ''paid'') AND invoice.state::text LIKE ''p%''');
-- without a source there is no invoice; an event has nothing of a document
SELECT ok('line.amount > 10 AND member.year_amount >= 5000', NULL);
SELECT ok('event.kind = ''review'' AND event.count = 0 AND member.days_to_anniversary BETWEEN -3 AND 3', NULL, true);
-- no condition is one, too
SELECT ok(NULL) IS NULL AS always;

-- the session's search_path, settings and zone change nothing
CREATE FUNCTION yes(numeric, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR > (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = yes);
CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''x''::text';
SET search_path = co_erp, pg_catalog;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET transform_null_equals = on;
SET quote_all_identifiers = on;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Tokyo';
SELECT ok($$line.amount > 100 AND lower(invoice.note) = 'a\b' AND document.occurred_at > '2026-02-03 00:00' AND invoice.day > '2026-02-03'$$);
SHOW search_path;
RESET standard_conforming_strings;
RESET escape_string_warning;
RESET transform_null_equals;
RESET quote_all_identifiers;
RESET DateStyle;
RESET TimeZone;
SET search_path = co_erp;

-- refused: \set SHOW_CONTEXT keeps the calls of ok() out of it
\set SHOW_CONTEXT never
-- names
SELECT ok('invoice.nope > 10 AND line.qty > 0');
SELECT ok('line.qty > 0 AND line.categry = ''new''');
SELECT ok('line.qty > 0 AND paid > 10');
SELECT ok('line.category = "new"');
SELECT ok('line.qty > 0 AND customer.name = ''x''');
SELECT ok('invoice.paid > 500', NULL);
SELECT ok('event.kind = ''review''');
SELECT ok('line.qty > 0', NULL, true);
SELECT ok('invoice IS NOT NULL');
SELECT ok('line.* IS NOT NULL');
SELECT ok('invoice.ctid IS NOT NULL');
SELECT ok('invoice.gone = ''x''');
SELECT ok('invoice.place IS NULL');
SELECT ok('(line.product).upper = ''X''');
-- syntax and types
SELECT ok('line.qty > > 0');
SELECT ok('line.qty > 0; DROP TABLE invoice');
SELECT ok('line.qty > 0 FROM line');
SELECT ok('line.qty > 0 AS x');
SELECT ok('line.qty > 0, true');
SELECT ok('line.qty := 0');
SELECT ok('');
SELECT ok('line.qty');
SELECT ok('line.qty > ''many''');
SELECT ok('invoice.state = ''payed''');
SELECT ok('line.category = NULL');
SELECT ok('1 / 0 > line.qty');
-- what another day or session would answer differently
SELECT ok('document.date = current_date');
SELECT ok('document.occurred_at > now() - interval ''1 day''');
SELECT ok('document.date >= ''today''');
SELECT ok($$document.date IN ('2026-01-01', E'tomo\162row')$$);
SELECT ok('document.occurred_at::date = document.date');
SELECT ok('line.product::date = document.date');
SELECT ok('document.date::text LIKE ''2026%''');
SELECT ok('current_user = ''till''');
SELECT ok('random() < 0.5');
-- what is not the document's
SELECT ok('line.qty > (SELECT avg(qty) FROM pg_class)');
SELECT ok('EXISTS (SELECT FROM invoice)');
SELECT ok('sum(line.qty) > 3');
SELECT ok('count(*) > 3');
SELECT ok('rank() OVER () = 1');
SELECT ok('''a'' = unnest(line.categories)');
SELECT ok('line.qty > $1');
SELECT ok('nextval(''loyalty.rule_rule_id_seq'') > 0');
-- other people's code
SELECT ok('co_erp.yes(line.qty, 1)');
SELECT ok('line.qty OPERATOR(co_erp.>) 1');
SELECT ok('line.qty::co_erp.money_amount > 1');
SELECT ok('line.title = ''x''');
-- what could take long
SELECT ok('length(repeat(repeat(''x'', 10000), 100000)) > 0');
SELECT ok('line.product ~ ''(a+)+$''');
SELECT ok('line.product SIMILAR TO ''(a|b)*''');
SELECT ok('substring(line.product from ''a+'') = ''a''');
SELECT ok('line.product LIKE line.brand');
SELECT ok('line.qty ^ 1000000 > 1');
SELECT ok('1e100000 > line.qty');
SELECT ok('''x''::char(1000000) = line.product');
SELECT ok('(line.qty, 1) = (2, 1)');
SELECT ok('xmlparse(CONTENT ''x'') IS NULL');
SELECT ok(repeat('NOT ', 200) || 'true');
SELECT ok('line.qty' || repeat('*1', 40) || ' > 1');
SELECT ok('line.product = ''' || repeat('x', 4000) || '''');
-- arguments
SELECT loyalty.check_condition('co shop', 'true');
SELECT loyalty.check_condition(NULL, 'true');
SELECT ok('true', 'co club');
SELECT ok('true', 'co shop', true);
SELECT * FROM loyalty.condition_columns('co club');
-- and nothing of it is left behind
SHOW search_path;

\set SHOW_CONTEXT errors
SET client_min_messages = warning;
SELECT loyalty.detach('co shop');
DROP SCHEMA co_erp CASCADE;
