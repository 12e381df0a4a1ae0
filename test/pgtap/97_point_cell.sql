-- Figures of finance are sums over entries and draws for members whose lots are
-- plain, and lot by lot for the others.  Lot by lot for all gives the same.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Europe/Berlin', 'EUR') AS tab \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 1, clerk_limit => 1000) \gset
SELECT loyalty.set_revenue_policy('tab', 0.5) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
SELECT loyalty.set_expiry('tab', '90 days', lapse_after => '6 months') \gset
\ir life.psql
SELECT setseed(0.2718) \g /dev/null
SELECT shop.live(60) \g /dev/null
SELECT shop.brief(60, 500) \g /dev/null
-- by hand: who owes and has nothing else; who has repaid it; who spends, by an offline till, what was given back only later;
-- whose return takes, by business time, from a lot that is earned only later
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'owes', '2041-02-03 12:00+00', 50), (2, 'paid', '2041-02-03 12:00+00', 50),
	(3, 'early', '2041-03-01 12:00+00', 100), (7, 'late', '2041-03-01 12:00+00', 100), (8, 'late', '2041-03-12 12:00+00', 90);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'owes', 50, 'r', at => '2041-02-04 12:00+00'), loyalty.redeem('tab', 'paid', 50, 'r', at => '2041-02-04 12:00+00') b (p),
	loyalty.redeem('tab', 'early', 100, 'r', at => '2041-03-05 12:00+00') c (p), loyalty.redeem('tab', 'late', 100, 'r', at => '2041-03-02 12:00+00') d (p) \g /dev/null
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (4, 'owes', '2041-02-10 12:00+00', -50, 1), (5, 'paid', '2041-02-10 12:00+00', -50, 2), (9, 'late', '2041-03-05 12:00+00', -40, 7);
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (6, 'paid', '2041-02-20 12:00+00', 80);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.cancel_redemption('tab', 'early', 'r', at => '2041-03-20 12:00+00') \g /dev/null
SELECT points FROM loyalty.redeem('tab', 'early', 100, 's', at => '2041-03-10 12:00+00') \g /dev/null
SELECT is(loyalty.balance('tab', 'owes'), -50.00, 'a member owes');

CREATE TABLE shop.instant AS SELECT t FROM generate_series(timestamptz '2041-02-01 00:00+01', '2043-06-01', '83 days 7 hours') t
	UNION ALL VALUES (timestamptz '2041-04-30 22:00+00'), ('2041-02-15 00:00+00'), ('2041-03-15 00:00+00'), ('2041-03-07 00:00+00'), ('2041-05-31 21:59:59.999999+00'), ('2045-01-01 00:00+00');
CREATE VIEW shop.cell AS SELECT i.t, c.class, c.vintage, c.month, c.expires_month, sum(c.issued) AS issued, sum(c.redeemed) AS redeemed,
		sum(c.expired) AS expired, sum(c.lots) AS lots, sum(c.points) AS points
	FROM shop.instant i, loyalty.point_cell(:tab, i.t) c WHERE c.month IS NOT NULL OR c.lots <> 0 GROUP BY 1, 2, 3, 4, 5;
CREATE VIEW shop.lot_by_lot AS SELECT i.t, c.class, c.vintage, c.month, c.expires_month, sum(c.issued) AS issued, sum(c.redeemed) AS redeemed,
		sum(c.expired) AS expired, sum(c.lots) AS lots, sum(c.points) AS points
	FROM shop.instant i, loyalty.lot_cell(:tab, ARRAY(SELECT m.member_id FROM loyalty.member m WHERE m.program_id = :tab), i.t) c
	WHERE c.month IS NOT NULL OR c.lots <> 0 GROUP BY 1, 2, 3, 4, 5;
SELECT ok(cardinality(c.others) BETWEEN 6 AND 50, cardinality(c.others) || ' of 70 members are looked at lot by lot')
	FROM loyalty.plain_cell(:tab, '2043-01-01') c WHERE c.others IS NOT NULL;
SELECT cmp_ok((SELECT count(*) FROM shop.cell WHERE expired <> 0), '>', 20::bigint, 'points expire');
SELECT cmp_ok((SELECT count(*) FROM shop.cell WHERE month IS NULL AND lots > 0), '>', 20::bigint, 'some are left');
SELECT set_eq('SELECT * FROM shop.cell', 'SELECT * FROM shop.lot_by_lot', 'the same at every instant');
CREATE TABLE shop.before AS SELECT * FROM shop.cell;
SELECT done > 0 AS expired FROM loyalty.expire_points('2042-06-01', program => 'tab') \gset
SELECT ok(:'expired', 'upkeep');
SELECT set_eq('SELECT * FROM shop.cell', 'SELECT * FROM shop.before', 'changes nothing');
SELECT set_eq('SELECT * FROM shop.cell', 'SELECT * FROM shop.lot_by_lot', 'nor lot by lot');
SELECT is_empty($$SELECT i.t, c.* FROM shop.instant i, loyalty.check_liability('tab', i.t) c$$, 'check_liability() agrees');
SELECT is_empty($$SELECT * FROM loyalty.check_revenue('tab', '2043-03-01')$$, 'check_revenue() agrees');
-- when nothing changes any more, one month costs no more than another
SELECT is((SELECT d.expected_share FROM loyalty.deferred_revenue('tab', '2541-05-01', '2541-05-01') d),
	loyalty.expected_redemption('tab', '2541-05-31 21:59:59.999999+00')::numeric(9,8), 'the estimate of a month in 500 years is that of expected_redemption()');
SELECT results_eq($$SELECT s.period, s.points_expected, s.expected_share, s.released, s.used FROM loyalty.revenue_state($$ || :tab || $$, '2541-05-01') s WHERE s.period BETWEEN '2046-01-01' AND '2050-01-01'$$,
	$$SELECT s.period, s.points_expected, s.expected_share, s.released, s.used FROM generate_series(date '2046-01-01', '2050-01-01', '1 month') m,
		LATERAL (SELECT * FROM loyalty.revenue_state($$ || :tab || $$, m::date) x WHERE x.period = m::date) s$$, 'however far one looks');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
