-- Several types of points in a programme, and several programmes for one document.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC') \gset
SELECT loyalty.set_rule('club', 'base', 1, 10) \gset
SELECT loyalty.set_redemption('club', 0.1) \gset
SELECT shop.attach('inv', 'club', paid_by_points => 'r.points_paid') \gset
SELECT throws_ok($$SELECT loyalty.create_wallet('none', 'cash')$$, 'LY001', NULL, 'a wallet of no programme');
SELECT throws_ok(format('SELECT loyalty.create_wallet(%L, %L)', 'club', w), '22023', NULL, 'a wallet without a proper name') FROM unnest('{"", " ", "a/b", NULL}'::text[]) w;
SELECT isnt(loyalty.create_wallet('club', 'cash', point_unit => 0.01), NULL, 'another type of points');
SELECT isnt(loyalty.create_wallet('club', 'status'), NULL, 'and another');
SELECT throws_ok($$SELECT loyalty.create_wallet('club', 'cash')$$, 'LY002', NULL, 'once each');
SELECT throws_ok($$SELECT loyalty.create_wallet('club/cash', 'x')$$, 'LY003', NULL, 'a wallet has none');
SELECT is(array_agg(s.source ORDER BY s.source), '{inv,inv/cash,inv/status}', 'the source counts for all') FROM loyalty.status() s WHERE s.source LIKE 'inv%';
SELECT is(loyalty.attach_wallets('club'), 0::bigint, 'nothing is left to attach');

-- each has its rules: a percentage back, by channel; status points for a big one
SELECT loyalty.set_rule('club/cash', 'two per cent', 2, 100, condition => $$invoice.channel = 'app'$$) \gset
SELECT loyalty.set_rule('club/status', 'big', kind => 'bonus', points => 5, condition => 'document.amount >= 500') \gset
SELECT loyalty.set_redemption('club/cash', 1) \gset
INSERT INTO shop.invoice (id, customer, total, channel) VALUES (1, 'ann', 620, 'app'), (2, 'ann', 100, 'store');
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT wallet, balance FROM loyalty.wallets('club', 'ann')$$,
	$$VALUES ('club', 72.00::numeric(18,2)), ('club/cash', 12.40), ('club/status', 5.00)$$, 'one document, three types of points');
SELECT is((SELECT value FROM loyalty.redeem('club/cash', 'ann', 2.40, 'r1')), 2.4, 'one is spent');
SELECT results_eq($$SELECT wallet, available FROM loyalty.wallets('club', 'ann')$$,
	$$VALUES ('club', 72.00::numeric(18,2)), ('club/cash', 10.00), ('club/status', 5.00)$$, 'the others are not touched');
-- a return is one in each
INSERT INTO shop.invoice (id, customer, total, channel, return_of) VALUES (3, 'ann', -310, 'app', 1);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT wallet, balance FROM loyalty.wallets('club', 'ann')$$,
	$$VALUES ('club', 41.00::numeric(18,2)), ('club/cash', 3.80), ('club/status', 0.00)$$, 'and comes back in all of them');
SELECT is(string_agg(e.rule, ',' ORDER BY e.step), 'two per cent', 'explain() tells them apart') FROM loyalty.explain('inv/cash', '1') e WHERE e.rule IS NOT NULL;

-- a source that comes later
CREATE TABLE shop.ticket (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.attach('ticket', 'club', 'shop.ticket', 'r.id', 'r.customer', 'r.at', amount => 'r.total', channel => 'r.channel', return_of => 'r.return_of', return_source => 'inv') \gset
SELECT is(loyalty.attach_wallets('club'), 2::bigint, 'is attached for the wallets on request');
INSERT INTO shop.ticket (id, customer, total, channel, return_of) VALUES (9, 'ann', -310, 'app', 1);
SELECT loyalty.settle() \gset
SELECT results_eq($$SELECT wallet, balance FROM loyalty.wallets('club', 'ann')$$,
	$$VALUES ('club', 10.00::numeric(18,2)), ('club/cash', -2.40), ('club/status', 0.00)$$, 'its returns find their sale in each');

-- programmes by condition: one company each, and one for a group of customers
CREATE TABLE shop.person (id text PRIMARY KEY, grp text);
INSERT INTO shop.person VALUES ('ann', 'b2b'), ('bob', 'b2c');
CREATE TABLE shop.bill (LIKE shop.invoice INCLUDING ALL);
SELECT loyalty.create_program('north', 'UTC', companies => '{N}') \gset
SELECT loyalty.create_program('south', 'UTC', companies => '{S}') \gset
SELECT loyalty.create_program('partners', 'UTC') \gset
SELECT loyalty.set_rule(p, 'base', 1, 1) FROM unnest('{north,south,partners}'::text[]) p \g /dev/null
SELECT loyalty.attach(p, p, 'shop.bill', 'r.id', 'r.customer', 'r.at', amount => 'r.total', company => 'r.company',
	posted => CASE p WHEN 'partners' THEN $$(SELECT x.grp = 'b2b' FROM shop.person x WHERE x.id = r.customer)$$ ELSE 'true' END)
	FROM unnest('{north,south,partners}'::text[]) p \g /dev/null
INSERT INTO shop.bill (id, customer, total, company) VALUES (1, 'ann', 10, 'N'), (2, 'ann', 20, 'S'), (3, 'bob', 40, 'N'), (4, 'bob', 80, 'W');
SELECT loyalty.settle() \gset
SELECT is(array_agg(loyalty.balance(p, c) ORDER BY p, c), '{10,40,30,0,20,0}'::numeric[], 'a document counts where it belongs')
	FROM unnest('{north,partners,south}'::text[]) p CROSS JOIN unnest('{ann,bob}'::text[]) c;
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

SELECT * FROM finish();
ROLLBACK;
