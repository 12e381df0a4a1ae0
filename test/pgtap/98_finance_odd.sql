-- Odd questions and odd settings of tiers and finance.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Europe/Berlin', 'EUR') \gset
SELECT loyalty.set_tier('tab', 'Basic', 0), loyalty.set_tier('tab', 'Silver', 100), loyalty.set_tier('tab', 'Gold', 500) \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.01) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset
SELECT loyalty.set_tier_policy('tab', time_window => 'rolling', months => 6, retention => 6) \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (1, 'ann', '2024-01-05 12:00+00', 600), (2, 'bob', '2024-01-05 12:00+00', 10),
	(3, 'bob', '2024-10-05 12:00+00', 90);
SELECT loyalty.settle() \gset

-- progress of a time before settings changed tells the tier that tier() tells
SELECT loyalty.set_tier_policy('tab', time_window => 'calendar_year', retention => 12) \gset
SELECT loyalty.set_tier('tab', 'Gold', 700) \gset
CREATE VIEW shop.instant AS SELECT c, timestamptz '2024-01-01 00:00+01' + d * interval '9 days' AS at
	FROM unnest(ARRAY['ann', 'bob']) c, generate_series(0, 150) d;
SELECT is_empty($$SELECT i.c, i.at, t, p.tier FROM shop.instant i, loyalty.tier('tab', i.c, i.at) t,
	LATERAL loyalty.tier_progress('tab', i.c, i.at) p WHERE p.tier IS DISTINCT FROM t$$, 'progress never contradicts the tier');
SELECT results_eq($$SELECT DISTINCT tier, until, next_tier, purpose FROM loyalty.tier_progress('tab', 'ann', '2024-03-01')$$,
	$$VALUES ('Gold', date '2024-07-05', NULL::text, NULL::text)$$, 'the tier of then, and what it was kept for');
SELECT is_empty($$SELECT i.c, i.at FROM shop.instant i, LATERAL loyalty.tier_progress('tab', i.c, i.at) p
	WHERE p.tier IS NOT NULL AND p.next_tier IS NULL AND p.tier <> 'Gold' OR p.purpose = 'next' AND p.next_tier IS NULL$$, 'there is a next tier, or it is the top one');

-- settings that would break what reads them
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 1e20)$$, '22023', NULL, 'a price that no figure can hold');
SELECT throws_ok($$SELECT loyalty.set_revenue_policy('tab', 0.0000001)$$, '22023', NULL, 'a price that would be shown as 0');
SELECT is_empty('SELECT * FROM loyalty.revenue_policy p JOIN loyalty.program USING (program_id) WHERE name = ''tab''', 'nothing is set');
SELECT loyalty.set_revenue_policy('tab', 999999999.999999) \gset
SELECT lives_ok($$SELECT * FROM loyalty.liability('tab', '2025-01-01')$$, 'the highest price works');
SELECT lives_ok($$SELECT * FROM loyalty.deferred_revenue('tab', NULL, '2025-01-01')$$, 'in every report');
SELECT throws_ok(format('SELECT loyalty.set_non_members(''inv'', %s)', n), '22023', NULL, 'reread_days ' || n) FROM unnest(ARRAY[0, 36601, 2147483647]) n;
SELECT loyalty.set_non_members('inv', 36600) \gset
SELECT lives_ok($$SELECT loyalty.refresh_details('tab'), loyalty.refresh_details('tab')$$, 'the longest works');
SELECT throws_ok($$SELECT loyalty.override_tier('tab', 'ann', 'Gold', '5000000-01-01', 'x')$$, '22023', NULL, 'an override beyond any calendar');
SELECT throws_ok($$SELECT loyalty.override_tier('tab', 'ann', 'Gold', 'infinity', 'x')$$, '22023', NULL, 'or without an end');
SELECT throws_ok($$SELECT loyalty.override_tier('tab', 'ann', 'Gold', '2099-01-01', 'x', at => 'infinity')$$, '22023', 'at must be a finite instant', 'or a beginning');

-- months that are none
SELECT throws_ok($$SELECT * FROM loyalty.deferred_revenue('tab', NULL, 'infinity')$$, '22023', NULL, 'revenue through the end of time');
SELECT throws_ok($$SELECT * FROM loyalty.check_revenue('tab', 'infinity')$$, '22023', NULL, 'nor is it checked');
SELECT throws_ok(q, '22023', NULL, q) FROM (SELECT format(c, m) AS q FROM unnest('{10000-01-01,5874897-12-31}'::text[]) m, unnest(ARRAY[
	$$SELECT * FROM loyalty.deferred_revenue('tab', NULL, %L)$$, $$SELECT * FROM loyalty.check_revenue('tab', %L)$$,
	$$SELECT loyalty.close_period('tab', %L)$$]) c) x;
SELECT throws_ok(format('SELECT loyalty.revenue_allocation(%s)', a), '22023', NULL, 'no sales: ' || a) FROM unnest(ARRAY[$$'NaN', 1$$, $$1, 'NaN'$$, $$'Infinity', 1$$]) a;
SELECT is(loyalty.revenue_allocation(100000, 9500)::text, '(91324.20,8675.80)', 'as it should be');

-- BI reads figures; a key that a caller made up may say who it is of
SELECT count(*) FROM loyalty.create_roles() \gset
SELECT is_empty($$SELECT a.attrelid::regclass, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'loyalty'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
		AND a.attname IN ('key', 'customer', 'doc_key', 'code', 'reason', 'payload', 'recorded_by', 'issue_key')
		AND has_column_privilege('loyalty_bi', a.attrelid, a.attnum, 'SELECT')$$, 'BI reads no keys');
CREATE FUNCTION shop.read_as_bi() RETURNS SETOF text LANGUAGE plpgsql SET ROLE loyalty_bi AS $$
DECLARE
	q record;
BEGIN
	FOR q IN SELECT format('SELECT count(%s) FROM (SELECT %s FROM %s OFFSET 0) x', min(quote_ident(a.attname)),
				string_agg(quote_ident(a.attname), ', '), a.attrelid::regclass) AS text, a.attrelid::regclass::text AS rel
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
			WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
				AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
			GROUP BY a.attrelid LOOP
		BEGIN
			EXECUTE q.text;
		EXCEPTION WHEN insufficient_privilege THEN
			RETURN NEXT q.rel || ': ' || SQLERRM;
		END;
	END LOOP;
END
$$;
SELECT is_empty('SELECT * FROM shop.read_as_bi()', 'and every view that is granted to it can be read');
SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
