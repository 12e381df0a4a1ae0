-- What the page shows, as one JSON document, from the views alone.
\pset format unaligned
\pset tuples_only on

SELECT json_build_object(
	'program', (SELECT p.name FROM loyalty.program p),
	'currency', (SELECT coalesce(p.currency, '') FROM loyalty.program p),
	'as_of', (SELECT max(s.as_of) FROM loyalty.segment_summary s),
	'months', (SELECT json_agg(k ORDER BY k.month) FROM loyalty.program_kpi_monthly k),
	'segments', (SELECT json_agg(s ORDER BY s.position, s.segment) FROM loyalty.segment_summary s),
	'grid', (SELECT json_agg(g) FROM (SELECT c.r, c.f, count(*) AS members, sum(c.monetary) AS net_amount
		FROM loyalty.rfm_current c WHERE c.population = 'scored' GROUP BY c.r, c.f) g),
	'migration', (SELECT json_agg(m ORDER BY m.from_segment, m.to_segment) FROM loyalty.rfm_migration m
		WHERE m.to_as_of = (SELECT max(x.to_as_of) FROM loyalty.rfm_migration x)),
	'cohorts', (SELECT json_agg(c ORDER BY c.cohort, c.month_number) FROM loyalty.cohort_retention c),
	'liability', (SELECT json_agg(l) FROM loyalty.points_liability l),
	'expiring', (SELECT json_agg(e ORDER BY e.expires_month) FROM loyalty.points_expiring e),
	'tiers', (SELECT json_agg(t ORDER BY t.threshold) FROM loyalty.tier_ladder t),
	'risk', (SELECT json_agg(r) FROM (SELECT c.risk, count(*) AS members FROM loyalty.churn_risk c GROUP BY c.risk) r),
	'groups', (SELECT json_agg(g ORDER BY g.members DESC) FROM (SELECT c.group_name, count(*) AS members
		FROM loyalty.member_group c GROUP BY c.group_name) g),
	'pairs', (SELECT json_agg(a) FROM (SELECT * FROM loyalty.product_affinity x
		ORDER BY x.confidence_low DESC, x.product, x.other LIMIT 10) a),
	'lifetime', (SELECT json_agg(d ORDER BY d.tenth) FROM (SELECT x.tenth, count(*) AS members, sum(x.lifetime_value) AS lifetime_value
		FROM (SELECT l.lifetime_value, ntile(10) OVER (ORDER BY l.lifetime_value DESC) AS tenth
			FROM loyalty.customer_lifetime l) x GROUP BY x.tenth) d));
