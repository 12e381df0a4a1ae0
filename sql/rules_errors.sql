-- What is refused when a rule is written: the message, what is wrong, and what
-- to do; and nothing of it is left behind.
CREATE SCHEMA rx_erp;
SET search_path = rx_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, gift boolean);
CREATE TABLE order_head (id integer PRIMARY KEY, customer text, day date, total numeric, coupon text);
SELECT loyalty.create_program('rx club', 'UTC') > 0 AS created;
SELECT loyalty.create_program('rx other', 'UTC') > 0 AS created;
SELECT loyalty.attach('rx shop', 'rx club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total') > 0 AS attached;
SELECT loyalty.attach('rx web', 'rx club', 'order_head', 'r.id', 'r.customer', 'r.day', amount => 'r.total') > 0 AS attached;
SELECT loyalty.set_rule('rx club', 'base', 1, 10) > 0 AS written;
-- what a mistake could leave behind
CREATE VIEW written AS SELECT (SELECT count(*) FROM loyalty.program WHERE name LIKE 'rx %') AS programmes,
	(SELECT string_agg(r.name || ' ' || r.version, ', ' ORDER BY r.rule_id) FROM loyalty.rule r WHERE r.program_id = loyalty.program_id('rx club')) AS rules,
	(SELECT count(*) FROM loyalty.category c WHERE c.program_id = loyalty.program_id('rx club')) AS categories,
	(SELECT count(*) FROM loyalty.budget b WHERE b.program_id = loyalty.program_id('rx club')) AS budgets;
SELECT * FROM written;
\set SHOW_CONTEXT never

-- names
SELECT loyalty.set_rule('no club', 'base', 1, 10);
SELECT loyalty.set_rule(NULL, 'base', 1, 10);
SELECT loyalty.set_rule('rx club', NULL, 1, 10);
SELECT loyalty.set_rule('rx club', ' ', 1, 10);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, source => 'no source');
SELECT loyalty.set_rule('rx other', 'base', 1, 10, source => 'rx shop');
SELECT loyalty.end_rule('rx club', 'no rule');
SELECT loyalty.end_rule('rx club', NULL);
SELECT loyalty.end_rule('no club', 'base');
-- kinds, and what belongs to each
SELECT loyalty.set_rule('rx club', 'base', 1, 10, kind => 'discount');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, kind => NULL);
SELECT loyalty.set_rule('rx club', 'base', 1);
SELECT loyalty.set_rule('rx club', 'base', per_amount => 10);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, factor => 2);
SELECT loyalty.set_rule('rx club', 'base', kind => 'unit');
SELECT loyalty.set_rule('rx club', 'base', 5, kind => 'unit', factor => 2);
SELECT loyalty.set_rule('rx club', 'base', kind => 'bonus');
SELECT loyalty.set_rule('rx club', 'base', 5, 10, kind => 'bonus');
SELECT loyalty.set_rule('rx club', 'base', 5, kind => 'bonus', factor => 2);
SELECT loyalty.set_rule('rx club', 'base', kind => 'multiplier');
SELECT loyalty.set_rule('rx club', 'base', 5, kind => 'multiplier', factor => 2);
SELECT loyalty.set_rule('rx club', 'base', per_amount => 5, kind => 'multiplier', factor => 2);
SELECT loyalty.set_rule('rx club', 'base', kind => 'exclusion', factor => 2);
SELECT loyalty.set_rule('rx club', 'base', 5, kind => 'exclusion');
SELECT loyalty.set_rule('rx club', 'base', kind => 'cap');
SELECT loyalty.set_rule('rx club', 'base', 5, kind => 'cap', cap_day => 10);
-- numbers
SELECT loyalty.set_rule('rx club', 'base', -1, 10);
SELECT loyalty.set_rule('rx club', 'base', 'NaN', 10);
SELECT loyalty.set_rule('rx club', 'base', 'Infinity', 10);
SELECT loyalty.set_rule('rx club', 'base', 1, 0);
SELECT loyalty.set_rule('rx club', 'base', 1, -10);
SELECT loyalty.set_rule('rx club', 'base', 1, 'NaN');
SELECT loyalty.set_rule('rx club', 'base', kind => 'multiplier', factor => -0.5);
SELECT loyalty.set_rule('rx club', 'base', kind => 'multiplier', factor => 'Infinity');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, cap_document => -1);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, cap_month => 'NaN');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, cap_year => 1e17);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, cap_day => 0.001);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, budget => 'Infinity');
SELECT loyalty.set_rule('rx club', 'base', kind => 'multiplier', factor => 2, cap_day => 10);
SELECT loyalty.set_rule('rx club', 'base', kind => 'exclusion', budget => 10);
SELECT loyalty.set_rule('rx club', 'base', 1, 10, priority => NULL);
-- choices and days
SELECT loyalty.set_rule('rx club', 'base', 1, 10, mode => 'sometimes');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, applies_to => 'page');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, valid_from => '2024-02-01', valid_to => '2024-01-31');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, valid_from => NULL);
-- conditions: with the place
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'invoice.totl > 5', source => 'rx shop');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'line.qty > 0 AND lin.amount > 5');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'document.amount > ''much''');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'document.amount');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'document.amount >');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => '');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'document.date = now()::date');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'document.amount > (SELECT 1)');
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'event.kind = ''review''');
-- a column that one source has and another has not
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'invoice.coupon = ''x''', source => 'rx shop');
SELECT loyalty.set_rule('rx club', 'coupon', 1, 10, condition => 'invoice.coupon = ''x''') > 0 AS written;
SELECT loyalty.set_rule('rx club', 'base', 1, 10, condition => 'invoice.coupon = ''x'' AND invoice.gift');
SELECT loyalty.set_rule('rx other', 'base', 1, 10, condition => 'invoice.total > 5');
-- two of a group that nothing tells apart
SELECT loyalty.set_rule('rx club', 'summer', kind => 'multiplier', factor => 2, exclusive_group => 'promo', priority => 1,
	valid_from => '2024-06-01', valid_to => '2024-08-31') > 0 AS written;
SELECT loyalty.set_rule('rx club', 'july', kind => 'multiplier', factor => 3, exclusive_group => 'promo', priority => 1,
	valid_from => '2024-07-01', valid_to => '2024-07-31');
SELECT loyalty.set_rule('rx club', 'august', kind => 'multiplier', factor => 3, exclusive_group => 'promo', priority => 1, valid_from => '2024-08-31');
SELECT loyalty.set_rule('rx club', 'autumn', kind => 'multiplier', factor => 3, exclusive_group => 'promo', priority => 1, valid_from => '2024-09-01') > 0 AS written;
SELECT loyalty.set_rule('rx club', 'summer', kind => 'multiplier', factor => 2, exclusive_group => 'promo', priority => 1, valid_from => '2024-06-01');
-- categories
SELECT loyalty.set_category('rx club', 'boots', 'shoes');
SELECT loyalty.set_category('rx club', 'rubber boots', 'boots');
SELECT loyalty.set_category('rx club', 'shoes', 'rubber boots');
SELECT loyalty.set_category('rx club', 'boots', 'boots');
SELECT loyalty.set_category('rx club', '', 'boots');
SELECT loyalty.set_category('rx club', NULL, 'boots');
SELECT loyalty.set_category('rx club', 'boots', ' ');
SELECT loyalty.set_category('no club', 'boots', 'shoes');
-- programmes
SELECT loyalty.create_program('rx third', 'UTC', stacking => 'divide');
SELECT loyalty.create_program('rx third', 'UTC', stacking => NULL);
SELECT loyalty.create_program('rx third', 'UTC', broken_rule => 'panic');

-- what has been written are the good ones
SELECT * FROM written;
SELECT name, exclusive_group, valid_from, valid_to FROM loyalty.rule WHERE program_id = loyalty.program_id('rx club') AND is_current ORDER BY name;
SHOW search_path;

-- a condition that fails for a document parks it; the invoice is written all the same
\set SHOW_CONTEXT errors
SELECT loyalty.set_rule('rx club', 'thrift', 5, kind => 'bonus', condition => '100 / document.amount > 1') > 0 AS written;
INSERT INTO invoice VALUES (1, 'ann', '2024-01-01', 50), (2, 'ann', '2024-01-02', 0);
SELECT id FROM invoice ORDER BY id;
SELECT doc_key, sqlstate, message FROM loyalty.parked WHERE source = 'rx shop';
SELECT loyalty.set_rule('rx club', 'thrift', 5, kind => 'bonus', condition => '100 / NULLIF(document.amount, 0) > 1') > 0 AS written;
SELECT loyalty.retry_parked('rx shop');
SELECT doc_key, points FROM loyalty.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'rx shop' ORDER BY doc_key;

SELECT * FROM loyalty.check();
SET client_min_messages = warning;
SELECT loyalty.detach(s) FROM unnest('{rx shop,rx web}'::text[]) s;
DROP SCHEMA rx_erp CASCADE;
