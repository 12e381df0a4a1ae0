-- Views over scores: as of the last refresh, over snapshots, and per segment.

CREATE VIEW loyalty.rfm_current WITH (security_invoker = true) AS
	SELECT p.name AS program, s.member_id, a.as_of, s.population, s.last_sale_on,
		a.as_of - s.last_sale_on AS recency_days, s.frequency, s.monetary::numeric(18,2) AS monetary,
		s.r, s.f, s.m, (s.r * 100 + s.f * 10 + s.m)::integer AS rfm_code, s.segment,
		coalesce(l.label, e.label, s.segment) AS segment_label
	FROM loyalty.member_score s
	JOIN loyalty.program p ON p.program_id = s.program_id
	JOIN loyalty.analytics_state a ON a.program_id = s.program_id
	LEFT JOIN loyalty.rfm_setting t ON t.program_id = s.program_id
	LEFT JOIN loyalty.segment_label l ON l.model = coalesce(t.model, 'grid') AND l.segment = s.segment
		AND l.language = coalesce(t.language, 'en')
	LEFT JOIN loyalty.segment_label e ON e.model = coalesce(t.model, 'grid') AND e.segment = s.segment AND e.language = 'en';
COMMENT ON VIEW loyalty.rfm_current IS 'one row per member: scores and segment as of the last refresh_analytics()';
COMMENT ON COLUMN loyalty.rfm_current.program IS 'programme';
COMMENT ON COLUMN loyalty.rfm_current.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.rfm_current.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.rfm_current.population IS 'scored, lapsed (bought before the window only), returns_only (no sale that counts, but returns) or prospect (nothing)';
COMMENT ON COLUMN loyalty.rfm_current.last_sale_on IS 'day of the last sale; returns do not move it';
COMMENT ON COLUMN loyalty.rfm_current.recency_days IS 'days from the last sale to as_of';
COMMENT ON COLUMN loyalty.rfm_current.frequency IS 'sales in the window that were not returned altogether';
COMMENT ON COLUMN loyalty.rfm_current.monetary IS 'sales less returns in the window, in money';
COMMENT ON COLUMN loyalty.rfm_current.r IS 'recency score, 5 for the most recent; NULL unless scored';
COMMENT ON COLUMN loyalty.rfm_current.f IS 'frequency score, 5 for the most frequent';
COMMENT ON COLUMN loyalty.rfm_current.m IS 'monetary score, 5 for the highest';
COMMENT ON COLUMN loyalty.rfm_current.rfm_code IS 'the three scores as one number, 555 for the best';
COMMENT ON COLUMN loyalty.rfm_current.segment IS 'segment in the programme''s model';
COMMENT ON COLUMN loyalty.rfm_current.segment_label IS 'its label in the programme''s language; without one in English, or its name';

CREATE VIEW loyalty.rfm_history WITH (security_invoker = true) AS
	SELECT p.name AS program, h.as_of, h.member_id, h.population, h.last_sale_on,
		h.as_of - h.last_sale_on AS recency_days, h.frequency, h.monetary::numeric(18,2) AS monetary,
		h.r, h.f, h.m, (h.r * 100 + h.f * 10 + h.m)::integer AS rfm_code, h.segment
	FROM loyalty.rfm_snapshot_member h
	JOIN loyalty.program p ON p.program_id = h.program_id;
COMMENT ON VIEW loyalty.rfm_history IS 'one row per snapshot and member, see take_rfm_snapshot()';
COMMENT ON COLUMN loyalty.rfm_history.program IS 'programme';
COMMENT ON COLUMN loyalty.rfm_history.as_of IS 'day of the snapshot, the last that counts';
COMMENT ON COLUMN loyalty.rfm_history.member_id IS 'number of the member';
COMMENT ON COLUMN loyalty.rfm_history.population IS 'scored, lapsed, returns_only or prospect';
COMMENT ON COLUMN loyalty.rfm_history.last_sale_on IS 'day of the last sale';
COMMENT ON COLUMN loyalty.rfm_history.recency_days IS 'days from the last sale to as_of';
COMMENT ON COLUMN loyalty.rfm_history.frequency IS 'sales in the window that were not returned altogether';
COMMENT ON COLUMN loyalty.rfm_history.monetary IS 'sales less returns in the window, in money';
COMMENT ON COLUMN loyalty.rfm_history.r IS 'recency score';
COMMENT ON COLUMN loyalty.rfm_history.f IS 'frequency score';
COMMENT ON COLUMN loyalty.rfm_history.m IS 'monetary score';
COMMENT ON COLUMN loyalty.rfm_history.rfm_code IS 'the three scores as one number';
COMMENT ON COLUMN loyalty.rfm_history.segment IS 'segment at the time';

CREATE VIEW loyalty.rfm_migration WITH (security_invoker = true) AS
	SELECT p.name AS program, v.from_as_of, v.to_as_of, v.from_segment, v.to_segment, v.members,
		sum(v.members) OVER (PARTITION BY v.program_id, v.to_as_of, v.from_segment)::bigint AS from_members,
		round(v.members / sum(v.members) OVER (PARTITION BY v.program_id, v.to_as_of, v.from_segment), 4)::numeric(7,4) AS from_share
	FROM loyalty.rfm_move v
	JOIN loyalty.program p ON p.program_id = v.program_id;
COMMENT ON VIEW loyalty.rfm_migration IS 'one row per two snapshots in succession, segment before and segment after';
COMMENT ON COLUMN loyalty.rfm_migration.program IS 'programme';
COMMENT ON COLUMN loyalty.rfm_migration.from_as_of IS 'day of the earlier snapshot';
COMMENT ON COLUMN loyalty.rfm_migration.to_as_of IS 'day of the later snapshot';
COMMENT ON COLUMN loyalty.rfm_migration.from_segment IS 'segment before; lapsed, returns_only or prospect for members without one; new_member for those who were none yet';
COMMENT ON COLUMN loyalty.rfm_migration.to_segment IS 'segment after; likewise, and no_member for those who are none any more';
COMMENT ON COLUMN loyalty.rfm_migration.members IS 'members that moved so';
COMMENT ON COLUMN loyalty.rfm_migration.from_members IS 'members that were in from_segment: the denominator of from_share';
COMMENT ON COLUMN loyalty.rfm_migration.from_share IS 'members / from_members';

CREATE VIEW loyalty.segment_summary WITH (security_invoker = true) AS
	SELECT p.name AS program, a.as_of, coalesce(x.segment, x.population) AS segment, coalesce(l.label, e.label, x.segment) AS segment_label,
		g.position, x.members, (sum(x.members) OVER w)::bigint AS program_members,
		round(x.members / (sum(x.members) OVER w), 4)::numeric(7,4) AS member_share,
		x.net::numeric(18,2) AS net_amount, (sum(x.net) OVER w)::numeric(18,2) AS program_net_amount,
		round(x.net / nullif((sum(x.net) OVER w), 0), 4)::numeric(18,4) AS net_share,
		x.sales, x.recency_days,
		round(x.recency_days::numeric / nullif(x.buyers, 0), 1)::numeric(10,1) AS avg_recency_days,
		round(x.sales::numeric / nullif(x.buyers, 0), 2)::numeric(18,2) AS avg_frequency,
		round(x.net / nullif(x.buyers, 0), 2)::numeric(18,2) AS avg_monetary, x.buyers
	FROM (SELECT s.program_id, s.segment, s.population, count(*) AS members, sum(s.monetary) AS net, sum(s.frequency)::bigint AS sales,
				count(s.last_sale_on) AS buyers, sum(b.as_of - s.last_sale_on)::bigint AS recency_days
			FROM loyalty.member_score s JOIN loyalty.analytics_state b ON b.program_id = s.program_id
			GROUP BY s.program_id, s.segment, s.population) x
	JOIN loyalty.program p ON p.program_id = x.program_id
	JOIN loyalty.analytics_state a ON a.program_id = x.program_id
	LEFT JOIN loyalty.rfm_setting t ON t.program_id = x.program_id
	LEFT JOIN loyalty.segment g ON g.model = coalesce(t.model, 'grid') AND g.segment = x.segment
	LEFT JOIN loyalty.segment_label l ON l.model = g.model AND l.segment = g.segment AND l.language = coalesce(t.language, 'en')
	LEFT JOIN loyalty.segment_label e ON e.model = g.model AND e.segment = g.segment AND e.language = 'en'
	WINDOW w AS (PARTITION BY x.program_id);
COMMENT ON VIEW loyalty.segment_summary IS 'one row per programme and segment (or population without one), as of the last refresh';
COMMENT ON COLUMN loyalty.segment_summary.program IS 'programme';
COMMENT ON COLUMN loyalty.segment_summary.as_of IS 'last day that counts';
COMMENT ON COLUMN loyalty.segment_summary.segment IS 'segment; lapsed, returns_only or prospect for members without one';
COMMENT ON COLUMN loyalty.segment_summary.segment_label IS 'its label in the programme''s language; without one in English, or its name';
COMMENT ON COLUMN loyalty.segment_summary.position IS 'order in which segments are listed';
COMMENT ON COLUMN loyalty.segment_summary.members IS 'members in the segment';
COMMENT ON COLUMN loyalty.segment_summary.program_members IS 'members of the programme: the denominator of member_share';
COMMENT ON COLUMN loyalty.segment_summary.member_share IS 'members / program_members';
COMMENT ON COLUMN loyalty.segment_summary.net_amount IS 'their sales less returns in the window, in money';
COMMENT ON COLUMN loyalty.segment_summary.program_net_amount IS 'that of all members: the denominator of net_share';
COMMENT ON COLUMN loyalty.segment_summary.net_share IS 'net_amount / program_net_amount';
COMMENT ON COLUMN loyalty.segment_summary.sales IS 'their sales in the window';
COMMENT ON COLUMN loyalty.segment_summary.recency_days IS 'sum of their days since the last sale';
COMMENT ON COLUMN loyalty.segment_summary.avg_recency_days IS 'recency_days / buyers';
COMMENT ON COLUMN loyalty.segment_summary.avg_frequency IS 'sales / buyers';
COMMENT ON COLUMN loyalty.segment_summary.avg_monetary IS 'net_amount / buyers';
COMMENT ON COLUMN loyalty.segment_summary.buyers IS 'members with a sale: the denominator of the averages';
