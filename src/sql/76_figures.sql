-- What analytics keeps: purchases per member and day, sums per member, per
-- programme and day, per cohort and month.  All of it follows from the books;
-- refresh_analytics() brings it up to date without locking any of them.

CREATE TABLE loyalty.analytics_state (
	program_id      integer PRIMARY KEY,
	as_of           date NOT NULL,
	horizon         bigint NOT NULL,
	refreshed_at    timestamptz NOT NULL
);
CREATE TABLE loyalty.analytics_detail_state (
	program_id      integer PRIMARY KEY,
	as_of           date NOT NULL,
	horizon         bigint NOT NULL,
	refreshed_at    timestamptz NOT NULL
);
COMMENT ON TABLE loyalty.analytics_detail_state IS 'how far the figures that refresh_details() keeps have been refreshed';
COMMENT ON COLUMN loyalty.analytics_detail_state.program_id IS 'programme';
COMMENT ON COLUMN loyalty.analytics_detail_state.as_of IS 'last day (programme time) that the figures contain';
COMMENT ON COLUMN loyalty.analytics_detail_state.horizon IS 'see analytics_state';
COMMENT ON COLUMN loyalty.analytics_detail_state.refreshed_at IS 'when they were refreshed';
COMMENT ON TABLE loyalty.analytics_state IS 'how far the figures of a programme have been refreshed';
COMMENT ON COLUMN loyalty.analytics_state.program_id IS 'programme';
COMMENT ON COLUMN loyalty.analytics_state.as_of IS 'last day (programme time) that the figures contain';
COMMENT ON COLUMN loyalty.analytics_state.horizon IS 'oldest transaction that was not over when they were read; what it or a later one wrote is read again';
COMMENT ON COLUMN loyalty.analytics_state.refreshed_at IS 'when they were refreshed';

CREATE TABLE loyalty.member_day (
	member_id       bigint NOT NULL,
	day             date NOT NULL,
	program_id      integer NOT NULL,
	sales           integer NOT NULL,
	reversed        integer NOT NULL,
	returns         integer NOT NULL,
	gross           numeric NOT NULL,
	returned        numeric NOT NULL,
	PRIMARY KEY (member_id, day)
) WITH (fillfactor = 95);
COMMENT ON TABLE loyalty.member_day IS 'what a member bought and returned on a day, up to analytics_state.as_of';
COMMENT ON COLUMN loyalty.member_day.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_day.day IS 'day of the documents (programme time)';
COMMENT ON COLUMN loyalty.member_day.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_day.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.member_day.reversed IS 'sales that were returned altogether';
COMMENT ON COLUMN loyalty.member_day.returns IS 'returns';
COMMENT ON COLUMN loyalty.member_day.gross IS 'amount of all sales, also of those that were returned later';
COMMENT ON COLUMN loyalty.member_day.returned IS 'amount of all returns, positive';

CREATE TABLE loyalty.member_summary (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	sales           bigint NOT NULL,
	reversed        bigint NOT NULL,
	returns         bigint NOT NULL,
	gross           numeric NOT NULL,
	returned        numeric NOT NULL,
	purchase_days   bigint NOT NULL,
	first_sale_on   date,
	last_sale_on    date,
	last_return_on  date
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.member_summary IS 'sums of member_day';
COMMENT ON COLUMN loyalty.member_summary.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_summary.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_summary.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.member_summary.reversed IS 'sales that were returned altogether';
COMMENT ON COLUMN loyalty.member_summary.returns IS 'returns';
COMMENT ON COLUMN loyalty.member_summary.gross IS 'amount of all sales';
COMMENT ON COLUMN loyalty.member_summary.returned IS 'amount of all returns, positive';
COMMENT ON COLUMN loyalty.member_summary.purchase_days IS 'days with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.member_summary.first_sale_on IS 'first of these days';
COMMENT ON COLUMN loyalty.member_summary.last_sale_on IS 'last of these days';
COMMENT ON COLUMN loyalty.member_summary.last_return_on IS 'last day with a return';

CREATE TABLE loyalty.program_day (
	program_id      integer NOT NULL,
	day             date NOT NULL,
	sales           bigint NOT NULL,
	reversed        bigint NOT NULL,
	returns         bigint NOT NULL,
	gross           numeric NOT NULL,
	returned        numeric NOT NULL,
	active_members  bigint NOT NULL,
	new_buyers      bigint NOT NULL,
	PRIMARY KEY (program_id, day)
);
COMMENT ON TABLE loyalty.program_day IS 'sums of member_day per programme and day';
COMMENT ON COLUMN loyalty.program_day.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_day.day IS 'day (programme time)';
COMMENT ON COLUMN loyalty.program_day.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.program_day.reversed IS 'sales that were returned altogether';
COMMENT ON COLUMN loyalty.program_day.returns IS 'returns';
COMMENT ON COLUMN loyalty.program_day.gross IS 'amount of all sales';
COMMENT ON COLUMN loyalty.program_day.returned IS 'amount of all returns, positive';
COMMENT ON COLUMN loyalty.program_day.active_members IS 'members with a sale that was not returned altogether';
COMMENT ON COLUMN loyalty.program_day.new_buyers IS 'members whose first such sale it was';

CREATE TABLE loyalty.program_points (
	program_id      integer NOT NULL,
	day             date NOT NULL,
	kind            text NOT NULL,
	entries         bigint NOT NULL,
	points          numeric(18,2) NOT NULL,
	PRIMARY KEY (program_id, day, kind)
);
COMMENT ON TABLE loyalty.program_points IS 'sums of the ledger per programme, day and kind of entry';
COMMENT ON COLUMN loyalty.program_points.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_points.day IS 'day (programme time) of the entries, by business time';
COMMENT ON COLUMN loyalty.program_points.kind IS 'kind of entry';
COMMENT ON COLUMN loyalty.program_points.entries IS 'entries';
COMMENT ON COLUMN loyalty.program_points.points IS 'their points';

CREATE TABLE loyalty.program_cohort (
	program_id      integer NOT NULL,
	cohort          date NOT NULL,
	month           date NOT NULL,
	members         bigint NOT NULL,
	sales           bigint NOT NULL,
	net             numeric NOT NULL,
	PRIMARY KEY (program_id, cohort, month)
);
COMMENT ON TABLE loyalty.program_cohort IS 'members by the month of their first sale, and what they bought month by month';
COMMENT ON COLUMN loyalty.program_cohort.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_cohort.cohort IS 'first day of the month of the members'' first sale';
COMMENT ON COLUMN loyalty.program_cohort.month IS 'first day of the month in question';
COMMENT ON COLUMN loyalty.program_cohort.members IS 'members of the cohort with a sale in the month';
COMMENT ON COLUMN loyalty.program_cohort.sales IS 'their sales in the month';
COMMENT ON COLUMN loyalty.program_cohort.net IS 'their sales less their returns in the month, in money';

CREATE TABLE loyalty.program_rule (
	program_id      integer NOT NULL,
	rule_id         integer NOT NULL,
	sales           bigint NOT NULL,
	members         bigint NOT NULL,
	gross           numeric NOT NULL,
	points          numeric(18,2) NOT NULL,
	PRIMARY KEY (program_id, rule_id)
);
COMMENT ON TABLE loyalty.program_rule IS 'sales that a version of a rule gave points';
COMMENT ON COLUMN loyalty.program_rule.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_rule.rule_id IS 'version of the rule';
COMMENT ON COLUMN loyalty.program_rule.sales IS 'booked sales with it';
COMMENT ON COLUMN loyalty.program_rule.members IS 'members who made them';
COMMENT ON COLUMN loyalty.program_rule.gross IS 'their amount';
COMMENT ON COLUMN loyalty.program_rule.points IS 'points booked for them, by all rules together';

CREATE TABLE loyalty.program_cycle (
	program_id      integer PRIMARY KEY,
	members         bigint NOT NULL,
	mean_days       numeric(10,2),
	p25_days        numeric(10,2),
	median_days     numeric(10,2),
	p75_days        numeric(10,2),
	p90_days        numeric(10,2)
);
COMMENT ON TABLE loyalty.program_cycle IS 'how the purchase cycles of a programme''s members are distributed';
COMMENT ON COLUMN loyalty.program_cycle.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_cycle.members IS 'members with three purchase days or more, whose cycles these are';
COMMENT ON COLUMN loyalty.program_cycle.mean_days IS 'mean cycle in days; a member''s cycle is (last - first purchase day) / (purchase days - 1)';
COMMENT ON COLUMN loyalty.program_cycle.p25_days IS 'a quarter of the members has a shorter cycle';
COMMENT ON COLUMN loyalty.program_cycle.median_days IS 'half of the members has a shorter cycle';
COMMENT ON COLUMN loyalty.program_cycle.p75_days IS 'three quarters of the members have a shorter cycle';
COMMENT ON COLUMN loyalty.program_cycle.p90_days IS 'nine tenths of the members have a shorter cycle';

-- The only place that says what counts as a sale.  A sale does not count once
-- its linked returns have taken back all of it; only returns up to as_of are
-- seen.  Not pinned to a search_path, so that it can be inlined: its body is
-- parsed here and now.
CREATE FUNCTION loyalty.sale_days(program_id integer, as_of date, members bigint[])
RETURNS TABLE (member_id bigint, day date, sales integer, reversed integer, returns integer, gross numeric, returned numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT d.member_id, d.doc_date,
		pg_catalog.count(*) FILTER (WHERE d.kind = 'sale' AND (r.returned IS NULL OR d.gross <= 0 OR d.gross + r.returned > 0))::integer,
		pg_catalog.count(*) FILTER (WHERE d.kind = 'sale' AND d.gross > 0 AND d.gross + r.returned <= 0)::integer,
		pg_catalog.count(*) FILTER (WHERE d.kind = 'return')::integer,
		coalesce(pg_catalog.sum(d.gross) FILTER (WHERE d.kind = 'sale'), 0),
		coalesce(-pg_catalog.sum(d.gross) FILTER (WHERE d.kind = 'return'), 0)
	FROM loyalty.document d
	LEFT JOIN (SELECT x.root_source_id, x.root_key, x.member_id, pg_catalog.sum(x.gross) AS returned
			FROM loyalty.document x
			WHERE x.root_source_id <> 0 AND x.state <> 'withdrawn' AND x.doc_date <= $2
				AND ($3 IS NULL OR x.member_id = ANY ($3))
			GROUP BY x.root_source_id, x.root_key, x.member_id) r
		ON r.root_source_id = d.source_id AND r.root_key = d.doc_key AND r.member_id = d.member_id
			AND d.root_source_id = 0 AND d.kind = 'sale'
	WHERE d.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s WHERE s.program_id = $1))
		AND d.state <> 'withdrawn' AND d.doc_date <= $2
		AND ($3 IS NULL OR d.member_id = ANY ($3))
	GROUP BY d.member_id, d.doc_date;
END;
COMMENT ON FUNCTION loyalty.sale_days(integer, date, bigint[]) IS
'what members (NULL for all) of a programme bought and returned per day, read from the documents dated up to as_of';

-- Members whose documents have changed since the horizon, or are dated beyond
-- the day the figures end with; NULL: all of them, because nothing is known of
-- what has changed.
CREATE FUNCTION loyalty.changed_members(program_id integer, as_of date, known_as_of date, horizon bigint) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_known date := known_as_of;
	v_now bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
	v_age integer;
BEGIN
	-- transaction numbers compare within half their circle only
	IF horizon = 0 OR as_of < known_as_of OR v_now NOT BETWEEN horizon AND horizon + 1000000000 THEN
		RETURN NULL;
	END IF;
	v_age := age((horizon % 4294967296)::text::xid);
	RETURN (SELECT coalesce(array_agg(DISTINCT d.member_id), '{}')
		FROM loyalty.document d
		WHERE (age(d.xmin) <= v_age OR d.doc_date > v_known)
			AND d.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s WHERE s.program_id = v_program)));
END
$$;
COMMENT ON FUNCTION loyalty.changed_members(integer, date, date, bigint) IS
'members of a programme to read again for figures as of a day, given the day and the horizon of those that are known; NULL for all';

CREATE FUNCTION loyalty.refresh_members(program_id integer, as_of date, members bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_hashagg = on
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_as_of date := as_of;
	v_members bigint[] := members;
	v_count bigint;
BEGIN
	-- all of them: sorted once, for the sums as for the index
	IF v_members IS NULL THEN
		DELETE FROM loyalty.member_day t WHERE t.program_id = v_program;
		DELETE FROM loyalty.member_summary t WHERE t.program_id = v_program;
		PERFORM set_config('enable_hashagg', 'off', true);
		INSERT INTO loyalty.member_day (member_id, day, program_id, sales, reversed, returns, gross, returned)
		SELECT f.member_id, f.day, v_program, f.sales, f.reversed, f.returns, f.gross, f.returned
		FROM loyalty.sale_days(v_program, v_as_of, NULL) f
		ORDER BY f.member_id, f.day;
	ELSE
		WITH fresh AS MATERIALIZED (
			SELECT * FROM loyalty.sale_days(v_program, v_as_of, v_members)
		), gone AS (
			DELETE FROM loyalty.member_day t
			WHERE t.program_id = v_program AND t.member_id = ANY (v_members)
				AND NOT EXISTS (SELECT FROM fresh f WHERE f.member_id = t.member_id AND f.day = t.day)
		)
		INSERT INTO loyalty.member_day AS t (member_id, day, program_id, sales, reversed, returns, gross, returned)
		SELECT f.member_id, f.day, v_program, f.sales, f.reversed, f.returns, f.gross, f.returned
		FROM fresh f
		ORDER BY f.member_id, f.day
		ON CONFLICT (member_id, day) DO UPDATE
			SET sales = excluded.sales, reversed = excluded.reversed, returns = excluded.returns,
				gross = excluded.gross, returned = excluded.returned
			WHERE (t.sales, t.reversed, t.returns, t.gross, t.returned)
				IS DISTINCT FROM (excluded.sales, excluded.reversed, excluded.returns, excluded.gross, excluded.returned);
		DELETE FROM loyalty.member_summary t
		WHERE t.program_id = v_program AND t.member_id = ANY (v_members);
	END IF;
	INSERT INTO loyalty.member_summary (member_id, program_id, sales, reversed, returns, gross, returned,
		purchase_days, first_sale_on, last_sale_on, last_return_on)
	SELECT d.member_id, v_program, sum(d.sales), sum(d.reversed), sum(d.returns), sum(d.gross), sum(d.returned),
		count(*) FILTER (WHERE d.sales > 0),
		min(d.day) FILTER (WHERE d.sales > 0), max(d.day) FILTER (WHERE d.sales > 0),
		max(d.day) FILTER (WHERE d.returns > 0)
	FROM loyalty.member_day d
	WHERE d.program_id = v_program AND (v_members IS NULL OR d.member_id = ANY (v_members))
	GROUP BY d.member_id;
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN coalesce(cardinality(v_members), v_count);
END
$$;
COMMENT ON FUNCTION loyalty.refresh_members(integer, date, bigint[]) IS
'reads member_day and member_summary of members (NULL for all) of a programme again; returns how many';

CREATE FUNCTION loyalty.refresh_program(program_id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
BEGIN
	WITH fresh AS MATERIALIZED (
		SELECT d.day, sum(d.sales) AS sales, sum(d.reversed) AS reversed, sum(d.returns) AS returns,
			sum(d.gross) AS gross, sum(d.returned) AS returned,
			count(*) FILTER (WHERE d.sales > 0) AS active_members
		FROM loyalty.member_day d WHERE d.program_id = v_program GROUP BY d.day
	), first AS (
		SELECT s.first_sale_on AS day, count(*) AS new_buyers
		FROM loyalty.member_summary s WHERE s.program_id = v_program AND s.first_sale_on IS NOT NULL GROUP BY s.first_sale_on
	), gone AS (
		DELETE FROM loyalty.program_day t
		WHERE t.program_id = v_program AND NOT EXISTS (SELECT FROM fresh f WHERE f.day = t.day)
	)
	INSERT INTO loyalty.program_day AS t (program_id, day, sales, reversed, returns, gross, returned, active_members, new_buyers)
	SELECT v_program, f.day, f.sales, f.reversed, f.returns, f.gross, f.returned, f.active_members, coalesce(n.new_buyers, 0)
	FROM fresh f LEFT JOIN first n ON n.day = f.day
	ON CONFLICT (program_id, day) DO UPDATE
		SET sales = excluded.sales, reversed = excluded.reversed, returns = excluded.returns, gross = excluded.gross,
			returned = excluded.returned, active_members = excluded.active_members, new_buyers = excluded.new_buyers
		WHERE t.* IS DISTINCT FROM excluded.*;

	INSERT INTO loyalty.program_cycle AS t
	SELECT v_program, count(*), round(avg(c.days), 2),
		round((percentile_cont(0.25) WITHIN GROUP (ORDER BY c.days))::numeric, 2),
		round((percentile_cont(0.5) WITHIN GROUP (ORDER BY c.days))::numeric, 2),
		round((percentile_cont(0.75) WITHIN GROUP (ORDER BY c.days))::numeric, 2),
		round((percentile_cont(0.9) WITHIN GROUP (ORDER BY c.days))::numeric, 2)
	FROM (SELECT (s.last_sale_on - s.first_sale_on)::numeric / (s.purchase_days - 1) AS days
			FROM loyalty.member_summary s WHERE s.program_id = v_program AND s.purchase_days >= 3) c
	ON CONFLICT (program_id) DO UPDATE
		SET members = excluded.members, mean_days = excluded.mean_days, p25_days = excluded.p25_days,
			median_days = excluded.median_days, p75_days = excluded.p75_days, p90_days = excluded.p90_days
		WHERE t.* IS DISTINCT FROM excluded.*;

	WITH fresh AS MATERIALIZED (
		SELECT date_trunc('month', s.first_sale_on)::date AS cohort, d.month,
			count(*) FILTER (WHERE d.sales > 0) AS members, sum(d.sales) AS sales, sum(d.net) AS net
		FROM (SELECT d.member_id, k.month, sum(d.sales) AS sales, sum(d.gross - d.returned) AS net
				FROM loyalty.member_day d
				-- the month of a day is looked up, not worked out for every row
				JOIN (SELECT x.day, date_trunc('month', x.day)::date AS month
					FROM loyalty.program_day x WHERE x.program_id = v_program) k ON k.day = d.day
				WHERE d.program_id = v_program GROUP BY 1, 2) d
		JOIN loyalty.member_summary s ON s.member_id = d.member_id AND s.first_sale_on IS NOT NULL
		GROUP BY 1, 2
	), gone AS (
		DELETE FROM loyalty.program_cohort t
		WHERE t.program_id = v_program AND NOT EXISTS (SELECT FROM fresh f WHERE f.cohort = t.cohort AND f.month = t.month)
	)
	INSERT INTO loyalty.program_cohort AS t (program_id, cohort, month, members, sales, net)
	SELECT v_program, f.cohort, f.month, f.members, f.sales, f.net FROM fresh f
	ON CONFLICT (program_id, cohort, month) DO UPDATE
		SET members = excluded.members, sales = excluded.sales, net = excluded.net
		WHERE t.* IS DISTINCT FROM excluded.*;

	WITH fresh AS MATERIALIZED (
		SELECT (e.occurred_at AT TIME ZONE p.time_zone)::date AS day, e.kind, count(*) AS entries, sum(e.points) AS points
		FROM loyalty.program p
		JOIN loyalty.member m ON m.program_id = p.program_id
		JOIN loyalty.entry e ON e.member_id = m.member_id
		WHERE p.program_id = v_program
		GROUP BY 1, 2
	), gone AS (
		DELETE FROM loyalty.program_points t
		WHERE t.program_id = v_program AND NOT EXISTS (SELECT FROM fresh f WHERE f.day = t.day AND f.kind = t.kind)
	)
	INSERT INTO loyalty.program_points AS t (program_id, day, kind, entries, points)
	SELECT v_program, f.day, f.kind, f.entries, f.points FROM fresh f
	ON CONFLICT (program_id, day, kind) DO UPDATE
		SET entries = excluded.entries, points = excluded.points
		WHERE t.* IS DISTINCT FROM excluded.*;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_program(integer) IS
'sums up days, cohorts and points of a programme again; writes only what differs';
