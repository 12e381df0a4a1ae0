-- The figures of analytics follow from the books: proved like these.

CREATE FUNCTION loyalty.check_analytics(OUT problem text, OUT member_id bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_state loyalty.analytics_state;
	v_changed bigint[];
BEGIN
	FOR v_state IN SELECT * FROM loyalty.analytics_state s WHERE s.horizon > 0 LOOP
		-- figures of members whose documents have changed since are old, not wrong
		v_changed := loyalty.changed_members(v_state.program_id, v_state.as_of, v_state.as_of, v_state.horizon);
		CONTINUE WHEN v_changed IS NULL;

		RETURN QUERY
			SELECT 'member_day is not what the documents give', coalesce(f.member_id, t.member_id),
				format('%s: kept %s, due %s', coalesce(f.day, t.day), (t.sales, t.reversed, t.returns, t.gross, t.returned),
					(f.sales, f.reversed, f.returns, f.gross, f.returned))
			FROM loyalty.sale_days(v_state.program_id, v_state.as_of, NULL) f
			FULL JOIN (SELECT * FROM loyalty.member_day d WHERE d.program_id = v_state.program_id) t
				ON t.member_id = f.member_id AND t.day = f.day
			WHERE (f.sales, f.reversed, f.returns, f.gross, f.returned)
					IS DISTINCT FROM (t.sales, t.reversed, t.returns, t.gross, t.returned)
				AND coalesce(f.member_id, t.member_id) <> ALL (v_changed);
		RETURN QUERY
			SELECT 'member_summary is not the sum of member_day', coalesce(f.member_id, t.member_id),
				format('kept %s, due %s', (t.sales, t.gross, t.returned, t.purchase_days), (f.sales, f.gross, f.returned, f.purchase_days))
			FROM (SELECT d.member_id, sum(d.sales) AS sales, sum(d.reversed) AS reversed, sum(d.returns) AS returns,
					sum(d.gross) AS gross, sum(d.returned) AS returned, count(*) FILTER (WHERE d.sales > 0) AS purchase_days,
					min(d.day) FILTER (WHERE d.sales > 0) AS first_sale_on, max(d.day) FILTER (WHERE d.sales > 0) AS last_sale_on
				FROM loyalty.member_day d WHERE d.program_id = v_state.program_id GROUP BY d.member_id) f
			FULL JOIN (SELECT * FROM loyalty.member_summary s WHERE s.program_id = v_state.program_id) t ON t.member_id = f.member_id
			WHERE (f.sales, f.reversed, f.returns, f.gross, f.returned, f.purchase_days, f.first_sale_on, f.last_sale_on)
				IS DISTINCT FROM (t.sales, t.reversed, t.returns, t.gross, t.returned, t.purchase_days, t.first_sale_on, t.last_sale_on);
		RETURN QUERY
			SELECT 'program_day is not the sum of member_day', 0::bigint, format('programme %s, %s: kept %s, due %s',
				v_state.program_id, coalesce(f.day, t.day), t, f)
			FROM loyalty.day_sums(v_state.program_id, NULL) f
			FULL JOIN (SELECT * FROM loyalty.program_day d WHERE d.program_id = v_state.program_id) t ON t.day = f.day
			WHERE (f.sales, f.reversed, f.returns, f.gross, f.returned, f.active_members, f.new_buyers)
				IS DISTINCT FROM (t.sales, t.reversed, t.returns, t.gross, t.returned, t.active_members, t.new_buyers);
		RETURN QUERY
			SELECT 'program_cohort is not the sum of member_day', 0::bigint, format('programme %s: kept %s, due %s', v_state.program_id, t, f)
			FROM loyalty.cohort_sums(v_state.program_id, NULL) f
			FULL JOIN (SELECT * FROM loyalty.program_cohort c WHERE c.program_id = v_state.program_id) t
				ON t.cohort = f.cohort AND t.month = f.month
			WHERE (coalesce(f.members, 0), coalesce(f.sales, 0), coalesce(f.net, 0))
				IS DISTINCT FROM (coalesce(t.members, 0), coalesce(t.sales, 0), coalesce(t.net, 0));
		RETURN QUERY
			SELECT 'program_points is not the sum of the entries', 0::bigint, format('programme %s, %s %s: kept %s, due %s',
				v_state.program_id, coalesce(f.day, t.day), coalesce(f.kind, t.kind), t.points, f.points)
			FROM (SELECT (e.occurred_at AT TIME ZONE p.time_zone)::date AS day, e.kind, count(*) AS entries, sum(e.points) AS points
					FROM loyalty.member_counted c
					JOIN loyalty.program p ON p.program_id = c.program_id
					JOIN loyalty.entry e ON e.member_id = c.member_id AND e.seq <= c.seq
					WHERE c.program_id = v_state.program_id GROUP BY 1, 2) f
			FULL JOIN (SELECT * FROM loyalty.program_points c WHERE c.program_id = v_state.program_id) t ON t.day = f.day AND t.kind = f.kind
			WHERE (f.entries, f.points) IS DISTINCT FROM (t.entries, t.points);
		RETURN QUERY
			SELECT 'campaign_outcome is not what the documents give', coalesce(f.member_id, t.member_id),
				format('campaign %s: kept %s, due %s', coalesce(f.campaign_id, t.campaign_id), t, f)
			FROM loyalty.campaign_sales(ARRAY(SELECT c.campaign_id FROM loyalty.campaign c WHERE c.program_id = v_state.program_id),
				v_state.as_of, NULL) f
			FULL JOIN (SELECT o.* FROM loyalty.campaign_outcome o JOIN loyalty.campaign c USING (campaign_id)
				WHERE c.program_id = v_state.program_id) t ON t.member_id = f.member_id AND t.campaign_id = f.campaign_id
			WHERE (f.assigned, f.sales, f.reversed, f.gross, f.returned, f.points, f.costed, f.cost, f.before)
					IS DISTINCT FROM (t.assigned, t.sales, t.reversed, t.gross, t.returned, t.points, t.costed, t.cost, t.before)
				AND coalesce(f.member_id, t.member_id) <> ALL (v_changed);
		RETURN QUERY
			SELECT 'campaign_figure is not the sum of campaign_outcome', 0::bigint, format('campaign %s: kept %s, due %s', f.campaign_id, t, f)
			FROM loyalty.campaign_sums(ARRAY(SELECT c.campaign_id FROM loyalty.campaign c WHERE c.program_id = v_state.program_id)) f
			LEFT JOIN loyalty.campaign_figure t ON t.campaign_id = f.campaign_id AND t.assigned = f.assigned
			WHERE (f.members, f.buyers, f.sales, f.net, f.net_squares, f.points, f.costed, f.cost, f.before)
				IS DISTINCT FROM (t.members, t.buyers, t.sales, t.net, t.net_squares, t.points, t.costed, t.cost, t.before);
	END LOOP;
	RETURN QUERY
		SELECT 'member is in another group than the campaign''s seed puts him', m.member_id, format('campaign "%s": %s', c.name, m.assigned)
		FROM loyalty.campaign_member m JOIN loyalty.campaign c USING (campaign_id)
		WHERE m.assigned <> loyalty.campaign_group(c.seed, m.member_id, c.holdout_percent);
	RETURN QUERY
		SELECT 'snapshot has other members than it says', 0::bigint, format('programme %s, %s: %s', s.program_id, s.as_of, s.members)
		FROM loyalty.rfm_snapshot s
		WHERE s.members <> (SELECT count(*) FROM loyalty.rfm_snapshot_member m
			WHERE m.program_id = s.program_id AND m.as_of = s.as_of);
END
$$;
COMMENT ON FUNCTION loyalty.check_analytics() IS
'proves that the figures kept by analytics follow from the documents and entries they were made from; what was written since the last refresh is left out; part of check()';
