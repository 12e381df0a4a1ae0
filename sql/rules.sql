-- Rules that marketing writes: what each kind gives, how they combine, and
-- what stays with a document when they change.
CREATE SCHEMA ru_erp;
SET search_path = ru_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, at timestamp DEFAULT '2024-03-13 15:00', shop text,
	of integer, coupon text);
CREATE TABLE line (id integer PRIMARY KEY, invoice integer, product text, category text, qty numeric DEFAULT 1,
	amount numeric, brand text);
SELECT loyalty.create_program('ru club', 'Europe/Berlin') > 0 AS created;
SELECT loyalty.attach('ru shop', 'ru club', 'invoice', 'r.id', 'r.customer', 'r.at', return_of => 'r.of', channel => 'r.shop',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id', line_product => 'l.product',
	line_category => 'l.category', line_qty => 'l.qty', line_amount => 'l.amount') > 0 AS attached;
-- a sale with its lines in one statement
CREATE FUNCTION sell(id integer, customer text, lines text, at timestamp DEFAULT '2024-03-13 15:00', shop text DEFAULT 'town') RETURNS void
LANGUAGE sql AS $$
	INSERT INTO invoice (id, customer, at, shop) VALUES ($1, $2, $4, $5);
	-- category:amount[:quantity[:brand]], ...
	INSERT INTO line SELECT $1 * 10 + o, $1, 'p' || o, p[1], coalesce(p[3], '1')::numeric, p[2]::numeric, p[4]
		FROM unnest(string_to_array($3, ', ')) WITH ORDINALITY u (line, o), LATERAL string_to_array(u.line, ':') p
$$;
CREATE FUNCTION why(key integer) RETURNS TABLE (rule text, line text, calculation text, points numeric)
LANGUAGE sql AS $$SELECT e.rule, e.line, e.calculation, e.points FROM loyalty.explain('ru shop', key::text) e ORDER BY e.step$$;
CREATE VIEW booked AS
	SELECT d.doc_key AS invoice, d.points, (SELECT string_agg(r.name || ' ' || r.version, ', ' ORDER BY o)
			FROM unnest(d.rules) WITH ORDINALITY u (id, o) JOIN loyalty.rule r ON r.rule_id = u.id) AS rules
	FROM loyalty.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'ru shop' AND d.state = 'booked'
	ORDER BY d.doc_key::integer;

-- every kind: 1 point per 10, 5 per crate of water, 20 for a big basket,
-- double on shoes, nothing on gift cards
SELECT loyalty.set_rule('ru club', 'base', 1, 10) > 0 AS written;
SELECT loyalty.set_rule('ru club', 'crates', 5, kind => 'unit', condition => 'line.category = ''water''') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'big basket', 20, kind => 'bonus', condition => 'document.amount >= 500') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'shoes', kind => 'multiplier', factor => 2, condition => 'line.category = ''shoes''') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'gift cards', kind => 'exclusion', condition => 'line.category = ''gift card''') > 0 AS written;
SELECT sell(1, 'ann', 'shoes:200, water:30:3, gift card:400');
SELECT * FROM why(1);
-- the same is said of a basket before it is bought
SELECT step, rule, line, calculation, points FROM loyalty.quote_earn('ru club', 'ann', 630,
	'[{"key": 11, "category": "shoes", "amount": 200}, {"key": 12, "category": "water", "qty": 3, "amount": 30},
	  {"key": 13, "category": "gift card", "amount": 400}]', at => '2024-03-13 15:00+01');
-- a bonus is no longer due when less than its threshold is left
INSERT INTO invoice (id, customer, of) VALUES (2, 'ann', 1);
INSERT INTO line (id, invoice, amount) VALUES (21, 2, -150);
SELECT * FROM why(2);

-- a condition may look at any column of the invoice and of the line
SELECT loyalty.set_rule('ru club', 'coupon', 7, kind => 'bonus', condition => 'invoice.coupon LIKE ''SPRING%''') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'acme', kind => 'multiplier', factor => 1.5, condition => 'line.brand = ''acme''') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'early bird', kind => 'multiplier', factor => 3,
	condition => 'document.weekday IN (6, 7) AND document.hour < 10 AND document.channel = ''web''') > 0 AS written;
SELECT sell(3, 'bob', 'shoes:100:1:acme, shoes:100, hat:100:1:acme');
SELECT * FROM why(3);
UPDATE invoice SET coupon = 'SPRING24' WHERE id = 3;
SELECT * FROM booked WHERE invoice = '3';
-- Saturday in Berlin, at a quarter to ten
SELECT sell(4, 'bob', 'hat:100', '2024-03-16 09:45', 'web');
SELECT sell(5, 'bob', 'hat:100', '2024-03-16 10:00', 'web');
SELECT sell(6, 'bob', 'hat:100', '2024-03-15 09:45', 'web');
SELECT sell(7, 'bob', 'hat:100', '2024-03-17 09:45', 'town');
SELECT * FROM booked WHERE invoice IN ('4', '5', '6', '7');

-- a rule on a category reaches what is below it
SELECT loyalty.set_category('ru club', 'boots', 'shoes');
SELECT loyalty.set_category('ru club', 'rubber boots', 'boots');
SELECT loyalty.set_rule('ru club', 'shoes', kind => 'multiplier', factor => 2, condition => '''shoes'' = ANY (line.categories)') > 0 AS written;
SELECT sell(8, 'cid', 'rubber boots:100, boots:100, shoes:100, hat:100');
SELECT * FROM why(8);
-- what is put elsewhere is new for new sales only
SELECT loyalty.set_category('ru club', 'rubber boots', NULL);
SELECT sell(9, 'cid', 'rubber boots:100');
SELECT * FROM booked WHERE invoice IN ('8', '9');

-- of an exclusive group the highest priority that holds counts, for each line
SELECT loyalty.set_rule('ru club', 'sale', kind => 'multiplier', factor => 5, exclusive_group => 'promo', priority => 2,
	condition => 'line.category = ''bag'' AND line.amount >= 100') > 0 AS written;
SELECT loyalty.set_rule('ru club', 'bags', kind => 'multiplier', factor => 4, exclusive_group => 'promo', priority => 1,
	condition => 'line.category = ''bag''') > 0 AS written;
SELECT sell(10, 'dee', 'bag:100, bag:50, hat:100');
SELECT * FROM why(10);

-- 2x and 1.5x make 3, 2 or 2.5
SELECT loyalty.create_program('ru ' || stacking, 'UTC', stacking => stacking) > 0 AS created FROM unnest('{multiply,max,add}'::text[]) stacking;
SELECT loyalty.set_rule('ru ' || stacking, 'base', 1, 1) > 0 AND loyalty.set_rule('ru ' || stacking, 'two', kind => 'multiplier', factor => 2) > 0
	AND loyalty.set_rule('ru ' || stacking, 'one and a half', kind => 'multiplier', factor => 1.5) > 0 AS written FROM unnest('{multiply,max,add}'::text[]) stacking;
SELECT stacking, q.rule, q.calculation, q.points FROM unnest('{multiply,max,add}'::text[]) stacking,
	loyalty.quote_earn('ru ' || stacking, 'ann', 100) q WHERE q.rule IS NOT NULL;

-- versions: a change is for the next document, a booked one keeps its own
SELECT loyalty.set_rule('ru club', 'base', 1, 5) > 0 AS written;
SELECT sell(11, 'eve', 'hat:100');
INSERT INTO invoice (id, customer, of) VALUES (12, 'bob', 3);
INSERT INTO line (id, invoice, amount) VALUES (121, 12, -100);
SELECT loyalty.end_rule('ru club', 'early bird');
UPDATE invoice SET shop = 'web' WHERE id = 7;
UPDATE invoice SET customer = 'eve' WHERE id = 6;
SELECT * FROM booked WHERE invoice IN ('3', '6', '7', '11', '12');
SELECT name, version, is_current, per_amount, changed_by = session_user AS by_me, ended_at IS NOT NULL AS ended, ended_by = session_user AS ended_by_me
	FROM loyalty.rule WHERE program_id = loyalty.program_id('ru club') AND name IN ('base', 'early bird') ORDER BY name, version;
-- a rule for some days is for the documents of those days, whenever they are written
SELECT loyalty.set_rule('ru club', 'easter', 50, kind => 'bonus', valid_from => '2024-03-29', valid_to => '2024-04-01') > 0 AS written;
SELECT sell(13, 'eve', 'hat:10', '2024-03-28 23:59');
SELECT sell(14, 'eve', 'hat:10', '2024-03-29 00:00');
SELECT sell(15, 'eve', 'hat:10', '2024-04-01 23:59');
SELECT sell(16, 'eve', 'hat:10', '2024-04-02 00:00');
SELECT * FROM booked WHERE invoice IN ('13', '14', '15', '16');
-- asked again, all of them go by the rules of now
SELECT doc_key, booked, due FROM loyalty.verify('ru shop') ORDER BY doc_key::integer;

-- a column goes: its rule is skipped, and status() says so
ALTER TABLE invoice DROP COLUMN coupon;
SELECT sell(17, 'fay', 'hat:100');
SELECT * FROM booked WHERE invoice = '17';
SELECT source, mapping_ok, problem FROM loyalty.status() WHERE source = 'ru shop';
-- or parks what it would have been asked about
UPDATE loyalty.program SET broken_rule = 'park' WHERE name = 'ru club';
SELECT sell(18, 'fay', 'hat:100');
SELECT doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'ru shop';
SELECT id FROM invoice WHERE id = 18;
SELECT loyalty.end_rule('ru club', 'coupon');
SELECT loyalty.retry_parked('ru shop');
SELECT * FROM booked WHERE invoice = '18';
SELECT source, mapping_ok, problem FROM loyalty.status() WHERE source = 'ru shop';

SELECT * FROM loyalty.check();
SET client_min_messages = warning;
SELECT loyalty.detach('ru shop');
DROP SCHEMA ru_erp CASCADE;
