-- Views per member.  Days and figures are those of the last refresh, balance
-- and tier those of now.  Whom a number belongs to is for those who may read
-- loyalty.member.

CREATE VIEW loyalty.purchase_cycle_population WITH (security_invoker = true) AS
	SELECT p.name AS program, a.as_of, c.members, c.mean_days, c.p25_days, c.median_days, c.p75_days, c.p90_days
	FROM loyalty.program_cycle c
	JOIN loyalty.program p ON p.program_id = c.program_id
	JOIN loyalty.analytics_state a ON a.program_id = c.program_id;
COMMENT ON VIEW loyalty.purchase_cycle_population IS 'one row per programme: days between purchases, over the members with three purchase days or more';
COMMENT ON COLUMN loyalty.purchase_cycle_population.program IS 'programme';
COMMENT ON COLUMN loyalty.purchase_cycle_population.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.purchase_cycle_population.members IS 'members with three purchase days or more';
COMMENT ON COLUMN loyalty.purchase_cycle_population.mean_days IS 'mean of their cycles in days; a cycle is (last - first purchase day) / (purchase days - 1)';
COMMENT ON COLUMN loyalty.purchase_cycle_population.p25_days IS 'a quarter of them has a shorter cycle';
COMMENT ON COLUMN loyalty.purchase_cycle_population.median_days IS 'half of them has a shorter cycle';
COMMENT ON COLUMN loyalty.purchase_cycle_population.p75_days IS 'three quarters of them have a shorter cycle';
COMMENT ON COLUMN loyalty.purchase_cycle_population.p90_days IS 'nine tenths of them have a shorter cycle';

CREATE VIEW loyalty.churn_risk WITH (security_invoker = true) AS
	SELECT p.name AS program, x.member_id, x.as_of, x.first_sale_on, x.last_sale_on, x.purchase_days,
		x.days_since, x.cycle_days::numeric(10,2) AS cycle_days, x.is_own_cycle,
		round(x.days_since / nullif(x.cycle_days, 0), 2)::numeric(12,2) AS cycles_since,
		CASE WHEN x.cycle_days IS NULL THEN 'unknown'
			WHEN x.days_since > 3 * x.cycle_days THEN 'lost'
			WHEN x.days_since > 2 * x.cycle_days THEN 'churning'
			WHEN x.days_since > 1.5 * x.cycle_days THEN 'at_risk'
			WHEN x.days_since > x.cycle_days THEN 'due'
			ELSE 'active' END AS risk
	FROM (SELECT s.program_id, s.member_id, a.as_of, s.first_sale_on, s.last_sale_on, s.purchase_days,
				a.as_of - s.last_sale_on AS days_since, s.purchase_days >= 3 AS is_own_cycle,
				CASE WHEN s.purchase_days >= 3 THEN (s.last_sale_on - s.first_sale_on)::numeric / (s.purchase_days - 1)
					ELSE c.median_days END AS cycle_days
			FROM loyalty.member_summary s
			JOIN loyalty.analytics_state a ON a.program_id = s.program_id
			LEFT JOIN loyalty.program_cycle c ON c.program_id = s.program_id
			WHERE s.purchase_days > 0) x
	JOIN loyalty.program p ON p.program_id = x.program_id;
COMMENT ON VIEW loyalty.churn_risk IS 'one row per member with a sale: how late he is, measured by his own purchase cycle';
COMMENT ON COLUMN loyalty.churn_risk.program IS 'programme';
COMMENT ON COLUMN loyalty.churn_risk.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.churn_risk.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.churn_risk.first_sale_on IS 'first purchase day';
COMMENT ON COLUMN loyalty.churn_risk.last_sale_on IS 'last purchase day';
COMMENT ON COLUMN loyalty.churn_risk.purchase_days IS 'days with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.churn_risk.days_since IS 'days from the last of them to as_of; this gap is not part of the cycle';
COMMENT ON COLUMN loyalty.churn_risk.cycle_days IS 'days from purchase to purchase; the median of the programme for members with less than three purchase days';
COMMENT ON COLUMN loyalty.churn_risk.is_own_cycle IS 'whether cycle_days is the member''s own';
COMMENT ON COLUMN loyalty.churn_risk.cycles_since IS 'days_since / cycle_days';
COMMENT ON COLUMN loyalty.churn_risk.risk IS 'active, due (more than 1 cycle since), at_risk (1.5), churning (2), lost (3), or unknown (no cycle to measure by)';

CREATE VIEW loyalty.preferences WITH (security_invoker = true) AS
	SELECT p.name AS program, m.member_id, m.dimension, m.value, m.n, (sum(m.n) OVER w)::bigint AS total_n,
		round(m.n / nullif((sum(m.n) OVER w), 0), 4)::numeric(7,4) AS share,
		m.amount::numeric(18,2) AS amount,
		row_number() OVER (PARTITION BY m.member_id, m.dimension ORDER BY m.n DESC, m.amount DESC, m.value) AS rank
	FROM loyalty.member_preference m
	JOIN loyalty.program p ON p.program_id = m.program_id
	WINDOW w AS (PARTITION BY m.member_id, m.dimension);
COMMENT ON VIEW loyalty.preferences IS 'one row per member, dimension (category, channel, store) and value: what he buys, and where; sales only';
COMMENT ON COLUMN loyalty.preferences.program IS 'programme';
COMMENT ON COLUMN loyalty.preferences.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.preferences.dimension IS 'category (of lines), channel or store (company of documents)';
COMMENT ON COLUMN loyalty.preferences.value IS 'the category, channel or store';
COMMENT ON COLUMN loyalty.preferences.n IS 'lines of sales (category), or sales (channel, store)';
COMMENT ON COLUMN loyalty.preferences.total_n IS 'sum of n over the dimension: the denominator of share; a line in two categories counts in both';
COMMENT ON COLUMN loyalty.preferences.share IS 'n / total_n';
COMMENT ON COLUMN loyalty.preferences.amount IS 'their amount';
COMMENT ON COLUMN loyalty.preferences.rank IS '1 for the value he likes best';

CREATE VIEW loyalty.price_sensitivity WITH (security_invoker = true) AS
	SELECT p.name AS program, l.member_id, l.lines, l.priced_lines, l.low_price_lines,
		round(l.low_price_lines::numeric / nullif(l.priced_lines, 0), 4)::numeric(7,4) AS low_price_share,
		l.paid::numeric(18,2) AS paid_amount, l.reference::numeric(18,2) AS reference_amount,
		round(l.paid / nullif(l.reference, 0), 4)::numeric(12,4) AS price_index,
		l.discount_lines, l.discount::numeric(18,2) AS discount_amount, l.amount::numeric(18,2) AS line_amount,
		round(l.discount / nullif(l.amount, 0), 4)::numeric(12,4) AS discount_share,
		l.cost_lines, l.cost::numeric(18,2) AS cost_amount, l.cost_amount::numeric(18,2) AS costed_amount,
		round((l.cost_amount - l.cost) / nullif(l.cost_amount, 0), 4)::numeric(12,4) AS margin_share,
		l.listed_lines, (l.list - l.listed)::numeric(18,2) AS list_discount_amount, l.list::numeric(18,2) AS list_amount,
		round((l.list - l.listed) / nullif(l.list, 0), 4)::numeric(12,4) AS list_discount_share
	FROM loyalty.member_line l
	JOIN loyalty.program p ON p.program_id = l.program_id;
COMMENT ON VIEW loyalty.price_sensitivity IS
'one row per member with lines: whether he buys at low prices: below a product''s usual price (its average over all sales), with discounts that the ERP writes as lines of their own, and below list prices where the source maps them';
COMMENT ON COLUMN loyalty.price_sensitivity.program IS 'programme';
COMMENT ON COLUMN loyalty.price_sensitivity.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.price_sensitivity.lines IS 'lines of sales with a product';
COMMENT ON COLUMN loyalty.price_sensitivity.priced_lines IS 'those whose product has a usual price: the denominator of low_price_share';
COMMENT ON COLUMN loyalty.price_sensitivity.low_price_lines IS 'those bought at less than 95 % of it';
COMMENT ON COLUMN loyalty.price_sensitivity.low_price_share IS 'low_price_lines / priced_lines';
COMMENT ON COLUMN loyalty.price_sensitivity.paid_amount IS 'what was paid on the priced lines';
COMMENT ON COLUMN loyalty.price_sensitivity.reference_amount IS 'what they would have cost at usual prices: the denominator of price_index';
COMMENT ON COLUMN loyalty.price_sensitivity.price_index IS 'paid_amount / reference_amount: below 1, he pays less than others';
COMMENT ON COLUMN loyalty.price_sensitivity.discount_lines IS 'lines of sales below 0';
COMMENT ON COLUMN loyalty.price_sensitivity.discount_amount IS 'their amount, positive';
COMMENT ON COLUMN loyalty.price_sensitivity.line_amount IS 'amount of the lines above 0: the denominator of discount_share';
COMMENT ON COLUMN loyalty.price_sensitivity.discount_share IS 'discount_amount / line_amount';
COMMENT ON COLUMN loyalty.price_sensitivity.cost_lines IS 'lines whose cost is known';
COMMENT ON COLUMN loyalty.price_sensitivity.cost_amount IS 'their cost';
COMMENT ON COLUMN loyalty.price_sensitivity.costed_amount IS 'their amount: the denominator of margin_share';
COMMENT ON COLUMN loyalty.price_sensitivity.margin_share IS '(costed_amount - cost_amount) / costed_amount';
COMMENT ON COLUMN loyalty.price_sensitivity.listed_lines IS 'lines of sales with a list price, a quantity above 0 and an amount of 0 or more';
COMMENT ON COLUMN loyalty.price_sensitivity.list_discount_amount IS 'list_amount less what was paid on these lines; negative if that was more';
COMMENT ON COLUMN loyalty.price_sensitivity.list_amount IS 'what these lines would have cost at list prices (list price x quantity): the denominator of list_discount_share';
COMMENT ON COLUMN loyalty.price_sensitivity.list_discount_share IS 'list_discount_amount / list_amount';

CREATE VIEW loyalty.member_group WITH (security_invoker = true) AS
	SELECT p.name AS program, s.member_id, g.name AS group_name
	FROM loyalty.member_score s
	JOIN loyalty.program p ON p.program_id = s.program_id
	LEFT JOIN loyalty.member_line l ON l.member_id = s.member_id
	LEFT JOIN LATERAL (SELECT max(c.n) AS top, sum(c.n) AS total FROM loyalty.member_preference c
		WHERE c.member_id = s.member_id AND c.dimension = 'category') c ON true
	CROSS JOIN LATERAL (VALUES
		('loyal_core', s.r >= 4 AND s.f >= 4),
		('high_potential', s.r >= 4 AND s.f IN (2, 3) AND s.m >= 3),
		('to_reactivate', s.r <= 2 AND s.f >= 3),
		('high_value_silent', s.r <= 2 AND s.m = 5),
		('price_sensitive', l.priced_lines >= 5 AND l.low_price_lines * 2 >= l.priced_lines),
		('category_enthusiast', c.total >= 5 AND c.top * 5 >= c.total * 3),
		('new_product_tryer', l.lines >= 5 AND l.new_product_lines * 10 >= l.lines * 3)) g (name, is_in)
	WHERE g.is_in;
COMMENT ON VIEW loyalty.member_group IS
'one row per member and named group he is in (none, one or several): loyal_core (R and F of 4 or 5), high_potential (R 4 or 5, F 2 or 3, M 3 or more), to_reactivate (R 1 or 2, F 3 or more), high_value_silent (R 1 or 2, M 5), price_sensitive (half of 5 or more priced lines below 95 % of the usual price), category_enthusiast (three fifths of 5 or more lines in one category), new_product_tryer (three tenths of 5 or more lines of products first sold at most 30 days before)';
COMMENT ON COLUMN loyalty.member_group.program IS 'programme';
COMMENT ON COLUMN loyalty.member_group.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.member_group.group_name IS 'the group';

-- Most of the time that one member takes goes into the plan, which grows with
-- every way of joining: what is joined by the member's number alone is kept out
-- of it by OFFSET 0, or stands in the list of columns.
CREATE VIEW loyalty.customer_360 WITH (security_invoker = true) AS
	SELECT p.name AS program, m.member_id, m.joined_on, a.as_of, t.name AS tier, nt.name AS next_tier,
		(nt.threshold - m.qualifying)::numeric(18,2) AS amount_to_next_tier,
		coalesce(b.balance, m.balance) AS balance, m.debt, e.next_expiry_on, e.expiring_points::numeric(18,2) AS next_expiring_points,
		s.population, s.r, s.f, s.m, (s.r * 100 + s.f * 10 + s.m)::integer AS rfm_code, s.segment,
		y.first_sale_on, y.last_sale_on, a.as_of - y.last_sale_on AS days_since_last_sale, y.last_return_on,
		y.sales, y.reversed AS reversed_sales, y.returns, y.purchase_days,
		y.gross::numeric(18,2) AS gross_amount, y.returned::numeric(18,2) AS returned_amount,
		(y.gross - y.returned)::numeric(18,2) AS net_amount,
		round(y.gross / nullif(y.sales + y.reversed, 0), 2)::numeric(18,2) AS avg_sale_amount,
		round(y.returned / nullif(y.gross, 0), 4)::numeric(18,4) AS return_share,
		d.sales AS sales_365d, d.net::numeric(18,2) AS net_amount_365d,
		k.cycle_days, k.is_own_cycle, k.cycles_since, k.risk,
		(SELECT c.value FROM loyalty.member_preference c WHERE c.member_id = m.member_id
			AND c.dimension = 'category' ORDER BY c.n DESC, c.amount DESC, c.value LIMIT 1) AS top_category,
		(SELECT c.value FROM loyalty.member_preference c WHERE c.member_id = m.member_id
			AND c.dimension = 'channel' ORDER BY c.n DESC, c.amount DESC, c.value LIMIT 1) AS top_channel,
		(SELECT c.value FROM loyalty.member_preference c WHERE c.member_id = m.member_id
			AND c.dimension = 'store' ORDER BY c.n DESC, c.amount DESC, c.value LIMIT 1) AS top_store,
		l.low_price_lines, l.priced_lines, l.new_product_lines, l.lines
	FROM loyalty.member m
	JOIN loyalty.program p ON p.program_id = m.program_id
	LEFT JOIN loyalty.analytics_state a ON a.program_id = m.program_id
	LEFT JOIN loyalty.tier t ON t.tier_id = loyalty.tier_id_now(m.member_id, m.tier_id, m.tier_review, m.tier_at)
	LEFT JOIN LATERAL (SELECT n.name, n.threshold FROM loyalty.tier n
		WHERE n.program_id = m.program_id AND n.threshold > m.qualifying ORDER BY n.threshold LIMIT 1) nt ON true
	LEFT JOIN LATERAL (SELECT o.expires_on AS next_expiry_on, sum(o.remaining) AS expiring_points FROM loyalty.open_lot o
		WHERE o.member_id = m.member_id AND o.remaining > 0 AND o.expires_on < 'infinity'
			AND o.expires_on >= (now() AT TIME ZONE p.time_zone)::date
		GROUP BY o.expires_on ORDER BY o.expires_on LIMIT 1) e ON true
	LEFT JOIN LATERAL (SELECT n.balance FROM loyalty.member_now n WHERE n.member_id = m.member_id OFFSET 0) b ON true
	LEFT JOIN loyalty.member_score s ON s.member_id = m.member_id
	LEFT JOIN loyalty.member_summary y ON y.member_id = m.member_id
	LEFT JOIN LATERAL (SELECT coalesce(sum(v.sales), 0)::bigint AS sales, coalesce(sum(v.gross - v.returned), 0) AS net
		FROM loyalty.member_day v WHERE v.member_id = m.member_id AND v.day > a.as_of - 365) d ON true
	LEFT JOIN LATERAL (SELECT r.cycle_days, r.is_own_cycle, r.cycles_since, r.risk FROM loyalty.churn_risk r
		WHERE r.member_id = m.member_id OFFSET 0) k ON true
	LEFT JOIN loyalty.member_line l ON l.member_id = m.member_id;
COMMENT ON VIEW loyalty.customer_360 IS 'one row per member: everything at a glance, made for one member at a time';
COMMENT ON COLUMN loyalty.customer_360.program IS 'programme';
COMMENT ON COLUMN loyalty.customer_360.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.customer_360.joined_on IS 'day of enrolment';
COMMENT ON COLUMN loyalty.customer_360.as_of IS 'last day that counts in figures of purchases; NULL before the first refresh';
COMMENT ON COLUMN loyalty.customer_360.tier IS 'tier now; NULL below the first one';
COMMENT ON COLUMN loyalty.customer_360.next_tier IS 'tier above; NULL at the top';
COMMENT ON COLUMN loyalty.customer_360.amount_to_next_tier IS 'qualifying amount that is missing to next_tier';
COMMENT ON COLUMN loyalty.customer_360.balance IS 'points now; negative if the member owes some';
COMMENT ON COLUMN loyalty.customer_360.debt IS 'points owed';
COMMENT ON COLUMN loyalty.customer_360.next_expiry_on IS 'last day of the points that expire next; NULL if none ever do';
COMMENT ON COLUMN loyalty.customer_360.next_expiring_points IS 'points that expire then';
COMMENT ON COLUMN loyalty.customer_360.population IS 'scored, lapsed, returns_only or prospect';
COMMENT ON COLUMN loyalty.customer_360.r IS 'recency score, 5 for the most recent';
COMMENT ON COLUMN loyalty.customer_360.f IS 'frequency score, 5 for the most frequent';
COMMENT ON COLUMN loyalty.customer_360.m IS 'monetary score, 5 for the highest';
COMMENT ON COLUMN loyalty.customer_360.rfm_code IS 'the three scores as one number';
COMMENT ON COLUMN loyalty.customer_360.segment IS 'segment in the programme''s model';
COMMENT ON COLUMN loyalty.customer_360.first_sale_on IS 'day of the first sale that was not returned altogether';
COMMENT ON COLUMN loyalty.customer_360.last_sale_on IS 'day of the last one';
COMMENT ON COLUMN loyalty.customer_360.days_since_last_sale IS 'days from last_sale_on to as_of';
COMMENT ON COLUMN loyalty.customer_360.last_return_on IS 'day of the last return';
COMMENT ON COLUMN loyalty.customer_360.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.customer_360.reversed_sales IS 'sales that were';
COMMENT ON COLUMN loyalty.customer_360.returns IS 'returns';
COMMENT ON COLUMN loyalty.customer_360.purchase_days IS 'days with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.customer_360.gross_amount IS 'amount of all sales: the denominator of return_share';
COMMENT ON COLUMN loyalty.customer_360.returned_amount IS 'amount of all returns, positive';
COMMENT ON COLUMN loyalty.customer_360.net_amount IS 'gross_amount - returned_amount';
COMMENT ON COLUMN loyalty.customer_360.avg_sale_amount IS 'gross_amount / (sales + reversed_sales)';
COMMENT ON COLUMN loyalty.customer_360.return_share IS 'returned_amount / gross_amount';
COMMENT ON COLUMN loyalty.customer_360.sales_365d IS 'sales in the 365 days up to as_of';
COMMENT ON COLUMN loyalty.customer_360.net_amount_365d IS 'sales less returns in these days, in money';
COMMENT ON COLUMN loyalty.customer_360.cycle_days IS 'days from purchase to purchase, see churn_risk';
COMMENT ON COLUMN loyalty.customer_360.is_own_cycle IS 'whether cycle_days is the member''s own';
COMMENT ON COLUMN loyalty.customer_360.cycles_since IS 'days_since_last_sale / cycle_days';
COMMENT ON COLUMN loyalty.customer_360.risk IS 'active, due, at_risk, churning, lost or unknown, see churn_risk';
COMMENT ON COLUMN loyalty.customer_360.top_category IS 'category he buys most';
COMMENT ON COLUMN loyalty.customer_360.top_channel IS 'channel he buys through most';
COMMENT ON COLUMN loyalty.customer_360.top_store IS 'store he buys in most';
COMMENT ON COLUMN loyalty.customer_360.low_price_lines IS 'lines bought below 95 % of the usual price, see price_sensitivity';
COMMENT ON COLUMN loyalty.customer_360.priced_lines IS 'lines whose product has a usual price';
COMMENT ON COLUMN loyalty.customer_360.new_product_lines IS 'lines of products first sold at most 30 days before';
COMMENT ON COLUMN loyalty.customer_360.lines IS 'lines of sales with a product';
