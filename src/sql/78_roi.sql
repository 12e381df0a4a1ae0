-- What a programme is worth: members against others, before against after,
-- both at once, and against a group that is held out.  Only the last is an
-- experiment: who joins buys more anyway.

CREATE FUNCTION loyalty.program_roi(program text, since date, until date, holdout text DEFAULT NULL,
	margin numeric DEFAULT NULL, cost numeric DEFAULT 0,
	OUT comparison text, OUT design text, OUT members bigint, OUT others bigint,
	OUT member_mean numeric(18,2), OUT other_mean numeric(18,2), OUT member_median numeric(18,2), OUT other_median numeric(18,2),
	OUT difference numeric(18,2), OUT difference_se numeric(18,4), OUT difference_low numeric(18,2), OUT difference_high numeric(18,2),
	OUT is_small boolean, OUT incremental_net_amount numeric(18,2), OUT margin_share numeric(12,4), OUT incremental_margin numeric(18,2),
	OUT points_issued numeric(18,2), OUT points_redeemed numeric(18,2), OUT point_value numeric(18,6),
	OUT issued_value numeric(18,2), OUT redeemed_value numeric(18,2), OUT other_cost numeric(18,2), OUT total_cost numeric(18,2),
	OUT roi numeric(18,4))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off SET enable_nestloop = on
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_since date := since;
	v_until date := until;
	v_program integer := loyalty.program_id(program);
	v_campaign integer;
	v_margin numeric := margin;
	v_cost numeric := cost;
	v_days integer;
	v_zone text;
	v_value numeric;
	v_as_of date;
	v_known_from date;
BEGIN
	IF v_since IS NULL OR v_until IS NULL OR NOT isfinite(v_since) OR NOT isfinite(v_until) OR v_since > v_until THEN
		RAISE EXCEPTION 'since % is not before until %', coalesce(v_since::text, 'NULL'), coalesce(v_until::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'Both days are inclusive, and finite.';
	END IF;
	v_days := v_until - v_since + 1;
	PERFORM loyalty.check_money('cost', v_cost, false);
	PERFORM loyalty.check_share('margin', v_margin);
	IF holdout IS NOT NULL THEN
		v_campaign := loyalty.campaign_id(v_name, holdout);
	END IF;
	SELECT p.time_zone INTO v_zone FROM loyalty.program p WHERE p.program_id = v_program;
	SELECT y.point_value INTO v_value FROM loyalty.redemption_policy y WHERE y.program_id = v_program;
	SELECT s.as_of INTO v_as_of FROM loyalty.analytics_state s WHERE s.program_id = v_program;
	v_margin := coalesce(v_margin, (SELECT (sum(l.cost_amount) - sum(l.cost)) / nullif(sum(l.cost_amount), 0)
		FROM loyalty.member_line l WHERE l.program_id = v_program));
	v_known_from := (SELECT min(x.day) FROM (SELECT min(d.day) AS day FROM loyalty.program_day d WHERE d.program_id = v_program
		UNION ALL SELECT min(n.month) FROM loyalty.non_member_month n WHERE n.program_id = v_program) x);

	RETURN QUERY
	WITH member_net AS MATERIALIZED (
		-- per member, in the days and in as many before
		SELECT d.member_id, sum(d.gross - d.returned) FILTER (WHERE d.day >= v_since) AS net,
			coalesce(sum(d.sales) FILTER (WHERE d.day >= v_since), 0) AS sales,
			coalesce(sum(d.gross - d.returned) FILTER (WHERE d.day < v_since), 0) AS before,
			coalesce(sum(d.sales) FILTER (WHERE d.day < v_since), 0) AS sales_before
		FROM loyalty.member_day d
		WHERE d.program_id = v_program AND d.day BETWEEN v_since - v_days AND v_until
		GROUP BY d.member_id
	), other_net AS MATERIALIZED (
		SELECT d.member_id, sum(d.gross - d.returned) FILTER (WHERE d.day >= v_since) AS net,
			coalesce(sum(d.sales) FILTER (WHERE d.day >= v_since), 0) AS sales,
			coalesce(sum(d.gross - d.returned) FILTER (WHERE d.day < v_since), 0) AS before,
			coalesce(sum(d.sales) FILTER (WHERE d.day < v_since), 0) AS sales_before
		FROM loyalty.non_member_day d
		WHERE d.program_id = v_program AND d.member_id <> 0 AND d.day BETWEEN v_since - v_days AND v_until
		GROUP BY d.member_id
	), joined AS MATERIALIZED (
		SELECT m.member_id, m.joined_on FROM loyalty.member m
		WHERE m.program_id = v_program AND m.merged_into IS NULL AND m.joined_on BETWEEN v_since AND v_until
	), unit AS MATERIALIZED (
		-- what is compared: one row per customer, with the days whose points he costs
		SELECT 'members_against_others' AS comparison, true AS is_member, n.member_id, n.net AS value, v_since AS first_day, v_until AS last_day
		FROM member_net n JOIN loyalty.member m ON m.member_id = n.member_id
		WHERE n.sales > 0 AND m.joined_on < v_since
		UNION ALL
		SELECT 'members_against_others', false, o.member_id, o.net, NULL, NULL
		FROM other_net o
		WHERE o.sales > 0 AND NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = o.member_id AND m.joined_on <= v_until)
		UNION ALL
		-- paired: the same members, each around his own day; both sides must be known
		SELECT 'before_against_after', g.is_after, j.member_id, coalesce(CASE WHEN g.is_after THEN a.net ELSE b.net END, 0),
			CASE WHEN g.is_after THEN j.joined_on END, CASE WHEN g.is_after THEN j.joined_on + v_days - 1 END
		FROM joined j
		CROSS JOIN (VALUES (true), (false)) g (is_after)
		LEFT JOIN LATERAL (SELECT sum(d.gross - d.returned) AS net FROM loyalty.member_day d
			WHERE g.is_after AND d.member_id = j.member_id AND d.day BETWEEN j.joined_on AND j.joined_on + v_days - 1) a ON true
		LEFT JOIN LATERAL (SELECT sum(d.gross - d.returned) AS net FROM (
				SELECT d.gross, d.returned FROM loyalty.member_day d
				WHERE d.member_id = j.member_id AND d.day BETWEEN j.joined_on - v_days AND j.joined_on - 1
				UNION ALL
				SELECT d.gross, d.returned FROM loyalty.non_member_day d
				WHERE d.member_id = j.member_id AND d.day BETWEEN j.joined_on - v_days AND j.joined_on - 1) d WHERE NOT g.is_after) b ON true
		WHERE j.joined_on + v_days - 1 <= v_as_of AND j.joined_on - v_days >= v_known_from
		UNION ALL
		-- known as buyers before, so that both groups are chosen alike
		SELECT 'difference_in_differences', true, j.member_id,
			coalesce(n.net, 0) + coalesce(o.net, 0) - coalesce(n.before, 0) - coalesce(o.before, 0), v_since, v_until
		FROM joined j
		LEFT JOIN member_net n ON n.member_id = j.member_id
		LEFT JOIN other_net o ON o.member_id = j.member_id
		WHERE coalesce(n.sales_before, 0) + coalesce(o.sales_before, 0) > 0
		UNION ALL
		SELECT 'difference_in_differences', false, o.member_id, coalesce(o.net, 0) - o.before, NULL, NULL
		FROM other_net o
		WHERE o.sales_before > 0 AND NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = o.member_id AND m.joined_on <= v_until)
		UNION ALL
		-- all of both groups, buyers or not
		SELECT 'holdout', c.assigned = 'target', c.member_id, coalesce(d.net, 0), greatest(v_since, c.counts_from), v_until
		FROM loyalty.campaign_member c
		LEFT JOIN LATERAL (SELECT sum(d.gross - d.returned) AS net FROM loyalty.member_day d
			WHERE d.member_id = c.member_id AND d.day BETWEEN greatest(v_since, c.counts_from) AND v_until) d ON true
		WHERE c.campaign_id = v_campaign
	), point AS (
		SELECT u.comparison, sum(e.points) FILTER (WHERE e.kind IN ('earn', 'event', 'return', 'correction')) AS issued,
			-sum(e.points) FILTER (WHERE e.kind IN ('redeem', 'redeem_cancel')) AS redeemed
		FROM unit u
		JOIN loyalty.entry e ON e.member_id = u.member_id
			AND (e.occurred_at AT TIME ZONE v_zone)::date BETWEEN u.first_day AND u.last_day
		WHERE u.is_member
		GROUP BY u.comparison
	), paired AS (
		SELECT sqrt(var_samp(a.value - b.value) / nullif(count(*), 0)) AS se
		FROM unit a JOIN unit b ON b.comparison = a.comparison AND b.member_id = a.member_id AND NOT b.is_member
		WHERE a.comparison = 'before_against_after' AND a.is_member
	), figure AS (
		SELECT k.comparison, k.position, count(u.value) FILTER (WHERE u.is_member) AS n1, count(u.value) FILTER (WHERE NOT u.is_member) AS n0,
			avg(u.value) FILTER (WHERE u.is_member) AS m1, avg(u.value) FILTER (WHERE NOT u.is_member) AS m0,
			(percentile_cont(0.5) WITHIN GROUP (ORDER BY u.value) FILTER (WHERE u.is_member))::numeric AS d1,
			(percentile_cont(0.5) WITHIN GROUP (ORDER BY u.value) FILTER (WHERE NOT u.is_member))::numeric AS d0,
			var_samp(u.value) FILTER (WHERE u.is_member) AS v1, var_samp(u.value) FILTER (WHERE NOT u.is_member) AS v0
		FROM (VALUES ('members_against_others', 1), ('before_against_after', 2), ('difference_in_differences', 3), ('holdout', 4)) k (comparison, position)
		LEFT JOIN unit u ON u.comparison = k.comparison
		WHERE k.comparison <> 'holdout' OR v_campaign IS NOT NULL
		GROUP BY k.comparison, k.position
	), result AS (
		SELECT f.*, f.m1 - f.m0 AS diff, (f.m1 - f.m0) * f.n1 AS extra,
			CASE f.comparison WHEN 'before_against_after' THEN (SELECT p.se FROM paired p)
				ELSE sqrt(f.v1 / nullif(f.n1, 0) + f.v0 / nullif(f.n0, 0)) END AS se,
			coalesce(p.issued, 0) AS issued, coalesce(p.redeemed, 0) AS redeemed,
			CASE WHEN coalesce(p.issued, 0) = 0 THEN 0 ELSE p.issued * v_value END AS issued_value,
			CASE WHEN coalesce(p.redeemed, 0) = 0 THEN 0 ELSE p.redeemed * v_value END AS redeemed_value
		FROM figure f LEFT JOIN point p ON p.comparison = f.comparison
	)
	SELECT r.comparison, CASE r.comparison WHEN 'holdout' THEN 'experiment' ELSE 'observational' END, r.n1, r.n0,
		round(r.m1, 2)::numeric(18,2), round(r.m0, 2)::numeric(18,2), round(r.d1, 2)::numeric(18,2), round(r.d0, 2)::numeric(18,2),
		round(r.diff, 2)::numeric(18,2), round(r.se, 4)::numeric(18,4),
		round(r.diff - 1.96 * r.se, 2)::numeric(18,2), round(r.diff + 1.96 * r.se, 2)::numeric(18,2),
		least(r.n1, r.n0) < 30, round(r.extra, 2)::numeric(18,2), round(v_margin, 4)::numeric(12,4), round(r.extra * v_margin, 2)::numeric(18,2),
		r.issued::numeric(18,2), r.redeemed::numeric(18,2), v_value::numeric(18,6),
		round(r.issued_value, 2)::numeric(18,2), round(r.redeemed_value, 2)::numeric(18,2), v_cost::numeric(18,2),
		round(r.issued_value + v_cost, 2)::numeric(18,2),
		round((r.extra * v_margin - r.issued_value - v_cost) / nullif(r.issued_value + v_cost, 0), 4)::numeric(18,4)
	FROM result r
	ORDER BY r.position;
END
$$;
COMMENT ON FUNCTION loyalty.program_roi(text, date, date, text, numeric, numeric) IS
'what a programme brought in the days since to until (inclusive, programme time, n of them), one row per comparison, from the kept figures (refresh_analytics(); refresh_details() for customers who are no members, line costs).  members_against_others: net sales of members who joined before and bought, against those of customers who are no members and bought.  before_against_after: members who joined in these days, in n days before joining and n days from it, where both are known.  difference_in_differences: change from the n days before since to these days, of customers who bought before and joined in these days, less that of those who bought before and did not join.  holdout: target against control group of a campaign, buyers or not: the only experiment, the others are observational, for who joins buys more anyway.  See the columns of the view program_roi; cost is what the programme costs besides points, margin a share of sales (default: from line costs)';

CREATE TABLE loyalty.program_roi_figure (
	program_id      integer NOT NULL,
	since           date NOT NULL,
	until           date NOT NULL,
	comparison      text NOT NULL,
	design          text NOT NULL,
	members         bigint NOT NULL,
	others          bigint NOT NULL,
	member_mean     numeric(18,2),
	other_mean      numeric(18,2),
	member_median   numeric(18,2),
	other_median    numeric(18,2),
	difference      numeric(18,2),
	difference_se   numeric(18,4),
	difference_low  numeric(18,2),
	difference_high numeric(18,2),
	is_small        boolean NOT NULL,
	incremental_net_amount numeric(18,2),
	margin_share    numeric(12,4),
	incremental_margin numeric(18,2),
	points_issued   numeric(18,2) NOT NULL,
	points_redeemed numeric(18,2) NOT NULL,
	point_value     numeric(18,6),
	issued_value    numeric(18,2),
	redeemed_value  numeric(18,2),
	other_cost      numeric(18,2) NOT NULL,
	total_cost      numeric(18,2),
	roi             numeric(18,4),
	PRIMARY KEY (program_id, comparison)
);
COMMENT ON TABLE loyalty.program_roi_figure IS 'what program_roi() answered at the last refresh_details()';
COMMENT ON COLUMN loyalty.program_roi_figure.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_roi_figure.since IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.until IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.comparison IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.design IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.members IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.others IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.member_mean IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.other_mean IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.member_median IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.other_median IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.difference IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.difference_se IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.difference_low IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.difference_high IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.is_small IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.incremental_net_amount IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.margin_share IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.incremental_margin IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.points_issued IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.points_redeemed IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.point_value IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.issued_value IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.redeemed_value IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.other_cost IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.total_cost IS 'see the view program_roi';
COMMENT ON COLUMN loyalty.program_roi_figure.roi IS 'see the view program_roi';

CREATE FUNCTION loyalty.refresh_roi(program_id integer, as_of date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_name text := (SELECT p.name FROM loyalty.program p WHERE p.program_id = $1);
	v_until date := as_of;
	v_since date := as_of - 89;
BEGIN
	DELETE FROM loyalty.program_roi_figure t WHERE t.program_id = v_program;
	INSERT INTO loyalty.program_roi_figure
	SELECT v_program, v_since, v_until, r.* FROM loyalty.program_roi(v_name, v_since, v_until) r;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_roi(integer, date) IS 'makes program_roi_figure anew, for the 90 days up to as_of; part of refresh_details()';

CREATE VIEW loyalty.program_roi WITH (security_invoker = true) AS
	SELECT p.name AS program, f.since, f.until, f.comparison, f.design, f.members, f.others, f.member_mean, f.other_mean,
		f.member_median, f.other_median, f.difference, f.difference_se, f.difference_low, f.difference_high, f.is_small,
		f.incremental_net_amount, f.margin_share, f.incremental_margin, f.points_issued, f.points_redeemed, f.point_value,
		f.issued_value, f.redeemed_value, f.other_cost, f.total_cost, f.roi
	FROM loyalty.program_roi_figure f
	JOIN loyalty.program p ON p.program_id = f.program_id;
COMMENT ON VIEW loyalty.program_roi IS 'one row per programme and comparison: what it brought in the 90 days up to the last refresh_details(); program_roi() answers for other days, and against a group that is held out';
COMMENT ON COLUMN loyalty.program_roi.program IS 'programme';
COMMENT ON COLUMN loyalty.program_roi.since IS 'first of the days (programme time)';
COMMENT ON COLUMN loyalty.program_roi.until IS 'last of them';
COMMENT ON COLUMN loyalty.program_roi.comparison IS 'members_against_others, before_against_after or difference_in_differences, see program_roi()';
COMMENT ON COLUMN loyalty.program_roi.design IS 'observational: no proof, for who joins buys more anyway; experiment: against a group chosen at random (holdout)';
COMMENT ON COLUMN loyalty.program_roi.members IS 'members compared: the denominator of member_mean';
COMMENT ON COLUMN loyalty.program_roi.others IS 'those they are compared with: customers who are no members (before_against_after: the same members before, holdout: the control group); the denominator of other_mean';
COMMENT ON COLUMN loyalty.program_roi.member_mean IS 'sales less returns of the members / members; their change in difference_in_differences';
COMMENT ON COLUMN loyalty.program_roi.other_mean IS 'the same of the others';
COMMENT ON COLUMN loyalty.program_roi.member_median IS 'half of the members have less';
COMMENT ON COLUMN loyalty.program_roi.other_median IS 'half of the others have less';
COMMENT ON COLUMN loyalty.program_roi.difference IS 'member_mean - other_mean';
COMMENT ON COLUMN loyalty.program_roi.difference_se IS 'its standard error: sqrt(s1 ^ 2 / n1 + s0 ^ 2 / n0) with the groups'' own variances (Welch); before_against_after: of the paired differences, s / sqrt(n); NULL for fewer than two on a side';
COMMENT ON COLUMN loyalty.program_roi.difference_low IS 'difference - 1.96 difference_se, the lower end of its 95 % interval';
COMMENT ON COLUMN loyalty.program_roi.difference_high IS 'difference + 1.96 difference_se';
COMMENT ON COLUMN loyalty.program_roi.is_small IS 'fewer than 30 on a side: the standard error is not to be trusted';
COMMENT ON COLUMN loyalty.program_roi.incremental_net_amount IS 'difference * members';
COMMENT ON COLUMN loyalty.program_roi.margin_share IS 'share of sales that is margin, from the lines whose cost is known if it was not given';
COMMENT ON COLUMN loyalty.program_roi.incremental_margin IS 'incremental_net_amount * margin_share';
COMMENT ON COLUMN loyalty.program_roi.points_issued IS 'points that purchases and events of these members brought within the days, less those that returns took back';
COMMENT ON COLUMN loyalty.program_roi.points_redeemed IS 'points they redeemed within the days, less those given back';
COMMENT ON COLUMN loyalty.program_roi.point_value IS 'money that a point pays, by the redemption policy; NULL without one';
COMMENT ON COLUMN loyalty.program_roi.issued_value IS 'points_issued * point_value: what they cost if all of them are redeemed';
COMMENT ON COLUMN loyalty.program_roi.redeemed_value IS 'points_redeemed * point_value: what was paid so far';
COMMENT ON COLUMN loyalty.program_roi.other_cost IS 'what the programme costs besides points, as given';
COMMENT ON COLUMN loyalty.program_roi.total_cost IS 'issued_value + other_cost: the denominator of roi';
COMMENT ON COLUMN loyalty.program_roi.roi IS '(incremental_margin - total_cost) / total_cost; NULL where a part of it is not known';
