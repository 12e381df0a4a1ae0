-- Views per programme: days, months, cohorts, points, rules; and what BI tools
-- need beside them.

CREATE VIEW loyalty.program_kpi_daily WITH (security_invoker = true) AS
	SELECT p.name AS program, x.day,
		sum(x.sales)::bigint AS sales, sum(x.returns)::bigint AS returns, sum(x.gross)::numeric(18,2) AS gross_amount,
		sum(x.returned)::numeric(18,2) AS returned_amount, (sum(x.gross) - sum(x.returned))::numeric(18,2) AS net_amount,
		round(sum(x.gross) / nullif(sum(x.sales), 0), 2)::numeric(18,2) AS avg_sale_amount,
		round(sum(x.returned) / nullif(sum(x.gross), 0), 4)::numeric(18,4) AS return_share,
		sum(x.active)::bigint AS active_members, sum(x.new_buyers)::bigint AS new_buyers, sum(x.joined)::bigint AS new_members,
		sum(x.earned)::numeric(18,2) AS points_earned, sum(x.returned_points)::numeric(18,2) AS points_returned,
		sum(x.other_points)::numeric(18,2) AS points_other,
		sum(x.earned + x.returned_points + x.other_points)::numeric(18,2) AS points_net
	FROM (SELECT d.program_id, d.day, d.sales + d.reversed AS sales, d.returns, d.gross, d.returned, d.active_members AS active,
				d.new_buyers, 0 AS joined, 0 AS earned, 0 AS returned_points, 0 AS other_points
			FROM loyalty.program_day d
			UNION ALL
			SELECT m.program_id, m.joined_on, 0, 0, 0, 0, 0, 0, count(*), 0, 0, 0
			FROM loyalty.member m GROUP BY m.program_id, m.joined_on
			UNION ALL
			SELECT e.program_id, e.day, 0, 0, 0, 0, 0, 0, 0, CASE WHEN e.kind IN ('earn', 'event') THEN e.points ELSE 0 END,
				CASE e.kind WHEN 'return' THEN e.points ELSE 0 END,
				CASE WHEN e.kind NOT IN ('earn', 'event', 'return') THEN e.points ELSE 0 END
			FROM loyalty.program_points e) x
	JOIN loyalty.program p ON p.program_id = x.program_id
	GROUP BY p.name, x.day;
COMMENT ON VIEW loyalty.program_kpi_daily IS 'one row per programme and day with a document, an entry or an enrolment, as of the last refresh';
COMMENT ON COLUMN loyalty.program_kpi_daily.program IS 'programme';
COMMENT ON COLUMN loyalty.program_kpi_daily.day IS 'day (programme time)';
COMMENT ON COLUMN loyalty.program_kpi_daily.sales IS 'sales of members, also those that were returned later: the denominator of avg_sale_amount';
COMMENT ON COLUMN loyalty.program_kpi_daily.returns IS 'returns of members';
COMMENT ON COLUMN loyalty.program_kpi_daily.gross_amount IS 'amount of the sales: the denominator of return_share';
COMMENT ON COLUMN loyalty.program_kpi_daily.returned_amount IS 'amount of the returns, positive';
COMMENT ON COLUMN loyalty.program_kpi_daily.net_amount IS 'gross_amount - returned_amount';
COMMENT ON COLUMN loyalty.program_kpi_daily.avg_sale_amount IS 'gross_amount / sales';
COMMENT ON COLUMN loyalty.program_kpi_daily.return_share IS 'returned_amount / gross_amount';
COMMENT ON COLUMN loyalty.program_kpi_daily.active_members IS 'members with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.program_kpi_daily.new_buyers IS 'members whose first such sale it was';
COMMENT ON COLUMN loyalty.program_kpi_daily.new_members IS 'members who joined';
COMMENT ON COLUMN loyalty.program_kpi_daily.points_earned IS 'points earned by purchases and events, by business time';
COMMENT ON COLUMN loyalty.program_kpi_daily.points_returned IS 'points of returns, mostly negative';
COMMENT ON COLUMN loyalty.program_kpi_daily.points_other IS 'points of all other entries, such as corrections';
COMMENT ON COLUMN loyalty.program_kpi_daily.points_net IS 'sum of the three';

CREATE VIEW loyalty.program_kpi_monthly WITH (security_invoker = true) AS
	SELECT p.name AS program, x.month,
		sum(x.sales)::bigint AS sales, sum(x.returns)::bigint AS returns, sum(x.gross)::numeric(18,2) AS gross_amount,
		sum(x.returned)::numeric(18,2) AS returned_amount, (sum(x.gross) - sum(x.returned))::numeric(18,2) AS net_amount,
		round(sum(x.gross) / nullif(sum(x.sales), 0), 2)::numeric(18,2) AS avg_sale_amount,
		round(sum(x.returned) / nullif(sum(x.gross), 0), 4)::numeric(18,4) AS return_share,
		sum(x.active)::bigint AS active_members, sum(x.repeaters)::bigint AS returning_members,
		sum(x.new_buyers)::bigint AS new_buyers, sum(x.joined)::bigint AS new_members,
		(sum(sum(x.joined)) OVER (PARTITION BY p.name ORDER BY x.month))::bigint AS members,
		round(sum(x.active) / nullif(sum(sum(x.joined)) OVER (PARTITION BY p.name ORDER BY x.month), 0), 4)::numeric(18,4) AS active_share,
		sum(x.earned)::numeric(18,2) AS points_earned, sum(x.returned_points)::numeric(18,2) AS points_returned,
		sum(x.other_points)::numeric(18,2) AS points_other,
		sum(x.earned + x.returned_points + x.other_points)::numeric(18,2) AS points_net
	FROM (SELECT d.program_id, date_trunc('month', d.day)::date AS month, d.sales + d.reversed AS sales, d.returns, d.gross, d.returned,
				0 AS active, 0 AS repeaters, d.new_buyers, 0 AS joined, 0 AS earned, 0 AS returned_points, 0 AS other_points
			FROM loyalty.program_day d
			UNION ALL
			SELECT c.program_id, c.month, 0, 0, 0, 0, c.members, CASE WHEN c.month > c.cohort THEN c.members ELSE 0 END, 0, 0, 0, 0, 0
			FROM loyalty.program_cohort c
			UNION ALL
			SELECT m.program_id, date_trunc('month', m.joined_on)::date, 0, 0, 0, 0, 0, 0, 0, count(*), 0, 0, 0
			FROM loyalty.member m GROUP BY 1, 2
			UNION ALL
			SELECT e.program_id, date_trunc('month', e.day)::date, 0, 0, 0, 0, 0, 0, 0, 0, CASE WHEN e.kind IN ('earn', 'event') THEN e.points ELSE 0 END,
				CASE e.kind WHEN 'return' THEN e.points ELSE 0 END,
				CASE WHEN e.kind NOT IN ('earn', 'event', 'return') THEN e.points ELSE 0 END
			FROM loyalty.program_points e) x
	JOIN loyalty.program p ON p.program_id = x.program_id
	GROUP BY p.name, x.month;
COMMENT ON VIEW loyalty.program_kpi_monthly IS 'one row per programme and month with a document, an entry or an enrolment, as of the last refresh';
COMMENT ON COLUMN loyalty.program_kpi_monthly.program IS 'programme';
COMMENT ON COLUMN loyalty.program_kpi_monthly.month IS 'first day of the month (programme time)';
COMMENT ON COLUMN loyalty.program_kpi_monthly.sales IS 'sales of members, also those that were returned later: the denominator of avg_sale_amount';
COMMENT ON COLUMN loyalty.program_kpi_monthly.returns IS 'returns of members';
COMMENT ON COLUMN loyalty.program_kpi_monthly.gross_amount IS 'amount of the sales: the denominator of return_share';
COMMENT ON COLUMN loyalty.program_kpi_monthly.returned_amount IS 'amount of the returns, positive';
COMMENT ON COLUMN loyalty.program_kpi_monthly.net_amount IS 'gross_amount - returned_amount';
COMMENT ON COLUMN loyalty.program_kpi_monthly.avg_sale_amount IS 'gross_amount / sales';
COMMENT ON COLUMN loyalty.program_kpi_monthly.return_share IS 'returned_amount / gross_amount';
COMMENT ON COLUMN loyalty.program_kpi_monthly.active_members IS 'members with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.program_kpi_monthly.returning_members IS 'those of them whose first sale was in an earlier month';
COMMENT ON COLUMN loyalty.program_kpi_monthly.new_buyers IS 'those of them whose first sale it was';
COMMENT ON COLUMN loyalty.program_kpi_monthly.new_members IS 'members who joined';
COMMENT ON COLUMN loyalty.program_kpi_monthly.members IS 'members who had joined by the end of the month: the denominator of active_share';
COMMENT ON COLUMN loyalty.program_kpi_monthly.active_share IS 'active_members / members';
COMMENT ON COLUMN loyalty.program_kpi_monthly.points_earned IS 'points earned by purchases and events, by business time';
COMMENT ON COLUMN loyalty.program_kpi_monthly.points_returned IS 'points of returns, mostly negative';
COMMENT ON COLUMN loyalty.program_kpi_monthly.points_other IS 'points of all other entries, such as corrections';
COMMENT ON COLUMN loyalty.program_kpi_monthly.points_net IS 'sum of the three';

CREATE VIEW loyalty.cohort_retention WITH (security_invoker = true) AS
	SELECT p.name AS program, c.cohort, c.month,
		(extract(year FROM c.month) * 12 + extract(month FROM c.month)
			- extract(year FROM c.cohort) * 12 - extract(month FROM c.cohort))::integer AS month_number,
		b.members AS cohort_members, c.members AS active_members,
		round(c.members::numeric / nullif(b.members, 0), 4)::numeric(7,4) AS retention,
		c.sales, c.net::numeric(18,2) AS net_amount,
		round(c.net / nullif(b.members, 0), 2)::numeric(18,2) AS net_amount_per_member
	FROM loyalty.program_cohort c
	JOIN loyalty.program_cohort b ON b.program_id = c.program_id AND b.cohort = c.cohort AND b.month = c.cohort
	JOIN loyalty.program p ON p.program_id = c.program_id
	-- a return may precede the first sale that counts
	WHERE c.month >= c.cohort;
COMMENT ON VIEW loyalty.cohort_retention IS 'one row per programme, month of the first sale, and month since in which somebody bought or returned';
COMMENT ON COLUMN loyalty.cohort_retention.program IS 'programme';
COMMENT ON COLUMN loyalty.cohort_retention.cohort IS 'first day of the month of the members'' first sale';
COMMENT ON COLUMN loyalty.cohort_retention.month IS 'first day of the month in question';
COMMENT ON COLUMN loyalty.cohort_retention.month_number IS 'months from cohort to month, 0 for the first';
COMMENT ON COLUMN loyalty.cohort_retention.cohort_members IS 'members of the cohort: the denominator of retention';
COMMENT ON COLUMN loyalty.cohort_retention.active_members IS 'those of them with a sale in the month';
COMMENT ON COLUMN loyalty.cohort_retention.retention IS 'active_members / cohort_members';
COMMENT ON COLUMN loyalty.cohort_retention.sales IS 'their sales in the month';
COMMENT ON COLUMN loyalty.cohort_retention.net_amount IS 'their sales less returns in the month, in money';
COMMENT ON COLUMN loyalty.cohort_retention.net_amount_per_member IS 'net_amount / cohort_members';

CREATE VIEW loyalty.points_liability WITH (security_invoker = true) AS
	SELECT p.name AS program, p.currency,
		count(x.open) AS members_with_points, coalesce(sum(x.open), 0)::numeric(18,2) AS open_points,
		coalesce(sum(x.expiring), 0)::numeric(18,2) AS expiring_points,
		count(x.debt) AS members_in_debt, coalesce(sum(x.debt), 0)::numeric(18,2) AS debt_points
	FROM loyalty.program p
	-- by member first: that is less than telling apart the members of all lots
	LEFT JOIN (SELECT l.program_id, l.member_id, sum(l.remaining) FILTER (WHERE l.remaining > 0) AS open,
				sum(l.remaining) FILTER (WHERE l.remaining > 0 AND l.expires_on < 'infinity') AS expiring,
				-sum(l.remaining) FILTER (WHERE l.remaining < 0) AS debt
			FROM loyalty.program q
			JOIN loyalty.open_lot l ON l.program_id = q.program_id AND l.expires_on >= (now() AT TIME ZONE q.time_zone)::date
			GROUP BY l.program_id, l.member_id) x ON x.program_id = p.program_id
	GROUP BY p.program_id, p.name, p.currency;
COMMENT ON VIEW loyalty.points_liability IS 'one row per programme: points that members can still spend, now, whether or not expiry has been booked';
COMMENT ON COLUMN loyalty.points_liability.program IS 'programme';
COMMENT ON COLUMN loyalty.points_liability.currency IS 'its currency';
COMMENT ON COLUMN loyalty.points_liability.members_with_points IS 'members with points left in a lot that is valid';
COMMENT ON COLUMN loyalty.points_liability.open_points IS 'their points';
COMMENT ON COLUMN loyalty.points_liability.expiring_points IS 'those of them that expire some day';
COMMENT ON COLUMN loyalty.points_liability.members_in_debt IS 'members who owe points';
COMMENT ON COLUMN loyalty.points_liability.debt_points IS 'the points they owe';

CREATE VIEW loyalty.points_expiring WITH (security_invoker = true) AS
	SELECT p.name AS program, date_trunc('month', l.expires_on)::date AS expires_month, min(l.expires_on) AS first_expiry_on,
		count(*) AS lots, count(DISTINCT l.member_id) AS members, sum(l.remaining)::numeric(18,2) AS points
	FROM loyalty.open_lot l
	JOIN loyalty.program p ON p.program_id = l.program_id
	WHERE l.remaining > 0 AND l.expires_on < 'infinity'
		AND l.expires_on >= (now() AT TIME ZONE p.time_zone)::date
	GROUP BY p.name, 2;
COMMENT ON VIEW loyalty.points_expiring IS 'one row per programme and month in which points expire that are valid now; points that never expire are in none';
COMMENT ON COLUMN loyalty.points_expiring.program IS 'programme';
COMMENT ON COLUMN loyalty.points_expiring.expires_month IS 'first day of the month';
COMMENT ON COLUMN loyalty.points_expiring.first_expiry_on IS 'first day in the month after which points are gone';
COMMENT ON COLUMN loyalty.points_expiring.lots IS 'lots that expire';
COMMENT ON COLUMN loyalty.points_expiring.members IS 'members they belong to';
COMMENT ON COLUMN loyalty.points_expiring.points IS 'points that expire';

CREATE VIEW loyalty.rule_performance WITH (security_invoker = true) AS
	SELECT p.name AS program, r.name AS rule, r.version, r.is_current, nullif(r.valid_from, '-infinity') AS first_day,
		nullif(least(r.valid_to, CASE WHEN r.is_current THEN (SELECT min(n.valid_from) - 1 FROM loyalty.rule n
			WHERE n.program_id = r.program_id AND n.name = r.name AND n.is_current AND n.version > r.version) END), 'infinity') AS last_day,
		coalesce(x.sales, 0) AS sales, coalesce(x.members, 0) AS members,
		coalesce(x.gross, 0)::numeric(18,2) AS gross_amount, coalesce(x.points, 0)::numeric(18,2) AS points,
		round(x.points / nullif(x.gross, 0), 6)::numeric(18,6) AS points_per_amount
	FROM loyalty.rule r
	JOIN loyalty.program p ON p.program_id = r.program_id
	LEFT JOIN loyalty.program_rule x ON x.rule_id = r.rule_id AND x.program_id = r.program_id;
COMMENT ON VIEW loyalty.rule_performance IS 'one row per version of a rule: the sales it gave points, as of the last refresh; a sale that several rules gave points is in each of them';
COMMENT ON COLUMN loyalty.rule_performance.program IS 'programme';
COMMENT ON COLUMN loyalty.rule_performance.rule IS 'name of the rule';
COMMENT ON COLUMN loyalty.rule_performance.version IS 'version of the rule';
COMMENT ON COLUMN loyalty.rule_performance.is_current IS 'whether this version is used for documents evaluated from now on';
COMMENT ON COLUMN loyalty.rule_performance.first_day IS 'first document date it is for; NULL for any';
COMMENT ON COLUMN loyalty.rule_performance.last_day IS 'last document date it is for; NULL for any';
COMMENT ON COLUMN loyalty.rule_performance.sales IS 'booked sales it gave points';
COMMENT ON COLUMN loyalty.rule_performance.members IS 'members who made them';
COMMENT ON COLUMN loyalty.rule_performance.gross_amount IS 'their amount: the denominator of points_per_amount';
COMMENT ON COLUMN loyalty.rule_performance.points IS 'points booked for these sales, by all rules together, before returns';
COMMENT ON COLUMN loyalty.rule_performance.points_per_amount IS 'points / gross_amount';

CREATE VIEW loyalty.date_dim WITH (security_invoker = true) AS
	SELECT d.day::date AS day, extract(year FROM d.day)::integer AS year, extract(quarter FROM d.day)::integer AS quarter,
		extract(month FROM d.day)::integer AS month, extract(day FROM d.day)::integer AS day_of_month,
		extract(isoyear FROM d.day)::integer AS iso_year, extract(week FROM d.day)::integer AS iso_week,
		extract(isodow FROM d.day)::integer AS iso_weekday, extract(doy FROM d.day)::integer AS day_of_year,
		date_trunc('month', d.day)::date AS month_start, date_trunc('quarter', d.day)::date AS quarter_start,
		date_trunc('week', d.day)::date AS week_start,
		(extract(year FROM d.day) * 100 + extract(month FROM d.day))::integer AS year_month,
		extract(isodow FROM d.day) >= 6 AS is_weekend,
		d.day = date_trunc('month', d.day) + interval '1 month - 1 day' AS is_month_end
	FROM generate_series(timestamp '2000-01-01', timestamp '2049-12-31', interval '1 day') d (day);
COMMENT ON VIEW loyalty.date_dim IS 'one row per day from 2000 to 2049';
COMMENT ON COLUMN loyalty.date_dim.day IS 'the day';
COMMENT ON COLUMN loyalty.date_dim.year IS 'year';
COMMENT ON COLUMN loyalty.date_dim.quarter IS 'quarter, 1 to 4';
COMMENT ON COLUMN loyalty.date_dim.month IS 'month, 1 to 12';
COMMENT ON COLUMN loyalty.date_dim.day_of_month IS 'day of the month, 1 to 31';
COMMENT ON COLUMN loyalty.date_dim.iso_year IS 'year of iso_week';
COMMENT ON COLUMN loyalty.date_dim.iso_week IS 'week by ISO 8601, 1 to 53';
COMMENT ON COLUMN loyalty.date_dim.iso_weekday IS 'day of the week, 1 for Monday to 7 for Sunday';
COMMENT ON COLUMN loyalty.date_dim.day_of_year IS 'day of the year, 1 to 366';
COMMENT ON COLUMN loyalty.date_dim.month_start IS 'first day of the month';
COMMENT ON COLUMN loyalty.date_dim.quarter_start IS 'first day of the quarter';
COMMENT ON COLUMN loyalty.date_dim.week_start IS 'Monday of the week';
COMMENT ON COLUMN loyalty.date_dim.year_month IS 'year and month as one number, such as 202603';
COMMENT ON COLUMN loyalty.date_dim.is_weekend IS 'Saturday or Sunday';
COMMENT ON COLUMN loyalty.date_dim.is_month_end IS 'last day of its month';

CREATE VIEW loyalty.metric_catalog WITH (security_invoker = true) AS
	SELECT v.metric, v.view_name, v.grain, v.formula
	FROM (VALUES
		('recency_days', 'rfm_current', 'member', 'as_of - day of the last sale that was not returned altogether'),
		('frequency', 'rfm_current', 'member', 'count of sales in the window that were not returned altogether'),
		('monetary', 'rfm_current', 'member', 'sum of sales - sum of returns in the window'),
		('r, f, m', 'rfm_current', 'member', '1 + 5 * (rank - 1) / n in integers over the scored members, ties share the lower score (method rank)'),
		('member_share', 'segment_summary', 'segment', 'members / program_members'),
		('net_share', 'segment_summary', 'segment', 'net_amount / program_net_amount'),
		('from_share', 'rfm_migration', 'pair of snapshots, segment before, segment after', 'members / from_members'),
		('cycle_days', 'churn_risk', 'member', '(last - first purchase day) / (purchase_days - 1); the median of all below three purchase days'),
		('cycles_since', 'churn_risk', 'member', 'days_since / cycle_days'),
		('risk', 'churn_risk', 'member', 'cycles_since: due above 1, at_risk above 1.5, churning above 2, lost above 3'),
		('share', 'preferences', 'member, dimension, value', 'n / total_n'),
		('low_price_share', 'price_sensitivity', 'member', 'low_price_lines / priced_lines'),
		('price_index', 'price_sensitivity', 'member', 'paid_amount / reference_amount'),
		('discount_share', 'price_sensitivity', 'member', 'discount_amount / line_amount'),
		('list_discount_share', 'price_sensitivity', 'member', 'list_discount_amount / list_amount'),
		('margin_share', 'price_sensitivity', 'member', '(costed_amount - cost_amount) / costed_amount'),
		('support', 'product_affinity', 'ordered pair of products', 'both_baskets / baskets'),
		('confidence', 'product_affinity', 'ordered pair of products', 'both_baskets / product_baskets'),
		('confidence_low', 'product_affinity', 'ordered pair of products', 'lower bound of Wilson''s 95 % interval of both_baskets / product_baskets'),
		('lift', 'product_affinity', 'ordered pair of products', 'both_baskets * baskets / (product_baskets * other_baskets)'),
		('leverage', 'product_affinity', 'ordered pair of products', 'both_baskets / baskets - product_baskets * other_baskets / baskets ^ 2'),
		('avg_sale_amount', 'program_kpi_daily, program_kpi_monthly', 'day, month', 'gross_amount / sales'),
		('return_share', 'program_kpi_daily, program_kpi_monthly', 'day, month', 'returned_amount / gross_amount'),
		('active_share', 'program_kpi_monthly', 'month', 'active_members / members'),
		('retention', 'cohort_retention', 'cohort, month', 'active_members / cohort_members'),
		('net_amount_per_member', 'cohort_retention', 'cohort, month', 'net_amount / cohort_members'),
		('open_points', 'points_liability', 'programme', 'sum of what is left in lots that are valid today'),
		('points_per_amount', 'rule_performance', 'version of a rule', 'points / gross_amount'),
		('avg_sale_amount', 'sales_by_membership', 'month, kind of customer', 'gross_amount / sales'),
		('net_amount_per_customer', 'sales_by_membership', 'month, kind of customer', 'net_amount / customers'),
		('net_share', 'sales_by_membership', 'month, kind of customer', 'net_amount / sum of net_amount over the month''s kinds of customers'),
		('conversion_rate', 'campaign_result', 'campaign', 'target_buyers / target_members'),
		('control_conversion_rate', 'campaign_result', 'campaign', 'control_buyers / control_members'),
		('uplift', 'campaign_result', 'campaign', 'conversion_rate - control_conversion_rate'),
		('uplift_se', 'campaign_result', 'campaign', 'sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) of two independent proportions'),
		('net_amount_uplift', 'campaign_result', 'campaign', 'net_amount_per_member - control_net_amount_per_member'),
		('net_amount_uplift_se', 'campaign_result', 'campaign', 'sqrt(s1 ^ 2 / n1 + s0 ^ 2 / n0), Welch''s standard error of a difference of means'),
		('incremental_buyers', 'campaign_result', 'campaign', 'uplift * target_members'),
		('incremental_net_amount', 'campaign_result', 'campaign', 'net_amount_uplift * target_members; without a control group target_net_amount - target_net_amount_before'),
		('margin_share', 'campaign_result', 'campaign', '(costed_amount - cost_amount) / costed_amount, or as given'),
		('roi', 'campaign_result', 'campaign', '(incremental_margin - total_cost) / total_cost'),
		('difference', 'program_roi', 'comparison', 'member_mean - other_mean'),
		('difference_se', 'program_roi', 'comparison', 'sqrt(s1 ^ 2 / n1 + s0 ^ 2 / n0), Welch; before_against_after: s of the paired differences / sqrt(n)'),
		('incremental_net_amount', 'program_roi', 'comparison', 'difference * members'),
		('margin_share', 'program_roi', 'comparison', '(sum of costed line amounts - their cost) / sum of costed line amounts, or as given'),
		('roi', 'program_roi', 'comparison', '(incremental_margin - total_cost) / total_cost')) v (metric, view_name, grain, formula);
COMMENT ON VIEW loyalty.metric_catalog IS 'one row per metric of the views: how it is made';
COMMENT ON COLUMN loyalty.metric_catalog.metric IS 'column or columns';
COMMENT ON COLUMN loyalty.metric_catalog.view_name IS 'view or views that have it';
COMMENT ON COLUMN loyalty.metric_catalog.grain IS 'what it is given for';
COMMENT ON COLUMN loyalty.metric_catalog.formula IS 'how it is made; names are columns of the view';
