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

CREATE TABLE loyalty.member_counted (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	seq             bigint NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.member_counted IS 'which entries are in program_points: a member''s entries are numbered without gaps';
COMMENT ON COLUMN loyalty.member_counted.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_counted.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_counted.seq IS 'the newest of them';

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

-- What counts as a sale; campaign_sales() and refresh_non_members() say the
-- same of what they read.  A sale does not count once its linked returns have
-- taken back all of it; only returns up to as_of are seen, and none of those
-- that wait, with no member, for a sale.  Not pinned to a search_path, so that
-- it can be inlined: its body is parsed here and now.
CREATE FUNCTION loyalty.sale_documents(program_id integer, as_of date, members bigint[])
RETURNS TABLE (member_id bigint, day date, kind integer, gross numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT d.member_id, d.doc_date,
		CASE WHEN d.kind <> 'sale' THEN 3 WHEN r.returned IS NULL OR d.gross <= 0 OR d.gross + r.returned > 0 THEN 1 ELSE 2 END,
		d.gross
	FROM loyalty.document d
	LEFT JOIN (SELECT x.root_source_id, x.root_key, x.member_id, pg_catalog.sum(x.gross) AS returned
			FROM loyalty.document x
			WHERE x.root_source_id <> 0 AND x.state <> 'withdrawn' AND x.doc_date <= $2
				AND ($3 IS NULL OR x.member_id = ANY ($3))
			GROUP BY x.root_source_id, x.root_key, x.member_id) r
		ON r.root_source_id = d.source_id AND r.root_key = d.doc_key AND r.member_id = d.member_id
			AND d.root_source_id = 0 AND d.kind = 'sale'
	WHERE d.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s WHERE s.program_id = $1))
		AND d.state <> 'withdrawn' AND d.kind <> 'event' AND d.doc_date <= $2 AND d.member_id <> 0
		AND ($3 IS NULL OR d.member_id = ANY ($3));
END;
COMMENT ON FUNCTION loyalty.sale_documents(integer, date, bigint[]) IS
'documents of members (NULL for all) of a programme dated up to as_of; kind: 1 a sale, 2 a sale that was returned altogether, 3 a return';

CREATE FUNCTION loyalty.sale_days(program_id integer, as_of date, members bigint[])
RETURNS TABLE (member_id bigint, day date, sales integer, reversed integer, returns integer, gross numeric, returned numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT d.member_id, d.day, (pg_catalog.count(*) FILTER (WHERE d.kind = 1))::integer, (pg_catalog.count(*) FILTER (WHERE d.kind = 2))::integer,
		(pg_catalog.count(*) FILTER (WHERE d.kind = 3))::integer,
		coalesce(pg_catalog.sum(d.gross) FILTER (WHERE d.kind <> 3), 0), coalesce(-pg_catalog.sum(d.gross) FILTER (WHERE d.kind = 3), 0)
	FROM loyalty.sale_documents($1, $2, $3) d
	GROUP BY d.member_id, d.day;
END;
COMMENT ON FUNCTION loyalty.sale_days(integer, date, bigint[]) IS
'what members (NULL for all) of a programme bought and returned per day, read from the documents dated up to as_of';

CREATE FUNCTION loyalty.fill_days(program_id integer, as_of date,
	OUT cohort date, OUT day date, OUT sales bigint, OUT reversed bigint, OUT returns bigint, OUT gross numeric, OUT returned numeric,
	OUT members bigint, OUT new_buyers bigint)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_fill_days';
COMMENT ON FUNCTION loyalty.fill_days(integer, date) IS
'internal: writes member_day and member_summary of all members of a programme; returns the rows of program_day (without cohort), and of program_cohort (gross: the net amount)';

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
		WHERE (age(d.xmin) <= v_age OR d.doc_date > v_known) AND d.member_id <> 0
			AND d.source_id = ANY (ARRAY(SELECT s.source_id FROM loyalty.source s WHERE s.program_id = v_program)));
END
$$;
COMMENT ON FUNCTION loyalty.changed_members(integer, date, date, bigint) IS
'members of a programme to read again for figures as of a day, given the day and the horizon of those that are known; NULL for all';

-- Sums of member_day: of members, so that what some of them add to the whole
-- can be taken out before they are read again, and put back after.
CREATE FUNCTION loyalty.day_sums(program_id integer, members bigint[]) RETURNS SETOF loyalty.program_day
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT $1, d.day, d.sales, d.reversed, d.returns, d.gross, d.returned, d.active_members, coalesce(f.new_buyers, 0)
	FROM (SELECT x.day, pg_catalog.sum(x.sales) AS sales, pg_catalog.sum(x.reversed) AS reversed, pg_catalog.sum(x.returns) AS returns,
				pg_catalog.sum(x.gross) AS gross, pg_catalog.sum(x.returned) AS returned,
				pg_catalog.count(*) FILTER (WHERE x.sales > 0) AS active_members
			FROM loyalty.member_day x
			WHERE x.program_id = $1 AND ($2 IS NULL OR x.member_id = ANY ($2))
			GROUP BY x.day) d
	LEFT JOIN (SELECT s.first_sale_on, pg_catalog.count(*) AS new_buyers
			FROM loyalty.member_summary s
			WHERE s.program_id = $1 AND ($2 IS NULL OR s.member_id = ANY ($2))
			GROUP BY s.first_sale_on) f ON f.first_sale_on = d.day;
END;
COMMENT ON FUNCTION loyalty.day_sums(integer, bigint[]) IS 'rows of program_day as members (NULL for all) of a programme make them';

-- By cohort and day first: that leaves few rows whose months are to be found.
-- A member is counted at his first sale of a month, which he had none before
-- for as many days as the month is old.
CREATE FUNCTION loyalty.cohort_sums(program_id integer, members bigint[]) RETURNS SETOF loyalty.program_cohort
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT $1, pg_catalog.make_date(y.cohort / 12, y.cohort % 12 + 1, 1),
		pg_catalog.date_trunc('month', y.day::timestamp)::date, pg_catalog.sum(y.members), pg_catalog.sum(y.sales), pg_catalog.sum(y.net)
	FROM (SELECT s.cohort, x.day, pg_catalog.count(*) FILTER (WHERE x.is_first) AS members,
				pg_catalog.sum(x.sales) AS sales, pg_catalog.sum(x.net) AS net
			FROM (SELECT w.member_id, w.day, w.sales, w.net, w.gap IS NULL OR w.gap > 30
						OR w.gap >= pg_catalog.date_part('day', w.day) AS is_first
					FROM (SELECT d.member_id, d.day, d.sales, d.gross - d.returned AS net,
								d.day - pg_catalog.lag(d.day) OVER (PARTITION BY d.member_id ORDER BY d.day) AS gap
							FROM loyalty.member_day d
							WHERE d.program_id = $1 AND d.sales > 0 AND ($2 IS NULL OR d.member_id = ANY ($2))) w
					UNION ALL
					SELECT d.member_id, d.day, 0, d.gross - d.returned, false
					FROM loyalty.member_day d
					WHERE d.program_id = $1 AND d.sales = 0 AND ($2 IS NULL OR d.member_id = ANY ($2))) x
			JOIN (SELECT m.member_id,
						(pg_catalog.date_part('year', m.first_sale_on) * 12 + pg_catalog.date_part('month', m.first_sale_on))::integer - 1 AS cohort
					FROM loyalty.member_summary m
					WHERE m.program_id = $1 AND m.first_sale_on IS NOT NULL AND ($2 IS NULL OR m.member_id = ANY ($2))
					-- once per member, not per row
					OFFSET 0) s
				ON s.member_id = x.member_id
			GROUP BY s.cohort, x.day) y
	GROUP BY 2, 3;
END;
COMMENT ON FUNCTION loyalty.cohort_sums(integer, bigint[]) IS 'rows of program_cohort as members (NULL for all) of a programme make them';

CREATE FUNCTION loyalty.refresh_members(program_id integer, as_of date, members bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_as_of date := as_of;
	v_members bigint[] := members;
	v_days loyalty.program_day[];
	v_cohorts loyalty.program_cohort[];
	v_count bigint;
BEGIN
	IF v_members IS NULL THEN
		DELETE FROM loyalty.member_day t WHERE t.program_id = v_program;
		DELETE FROM loyalty.member_summary t WHERE t.program_id = v_program;
		DELETE FROM loyalty.program_day t WHERE t.program_id = v_program;
		DELETE FROM loyalty.program_cohort t WHERE t.program_id = v_program;
		PERFORM set_config('enable_nestloop', 'off', true);
		WITH filled AS MATERIALIZED (
			SELECT * FROM loyalty.fill_days(v_program, v_as_of)
		), days AS (
			INSERT INTO loyalty.program_day
			SELECT v_program, f.day, f.sales, f.reversed, f.returns, f.gross, f.returned, f.members, f.new_buyers
			FROM filled f WHERE f.cohort IS NULL
		)
		INSERT INTO loyalty.program_cohort
		SELECT v_program, f.cohort, f.day, f.members, f.sales, f.gross
		FROM filled f WHERE f.cohort IS NOT NULL AND (f.members, f.sales, f.gross) <> (0, 0, 0);
		-- what follows must not be planned for an empty table
		ANALYZE loyalty.member_day, loyalty.member_summary;
		v_count := (SELECT count(*) FROM loyalty.member_summary t WHERE t.program_id = v_program);
	ELSE
		v_days := (SELECT array_agg(x) FROM loyalty.day_sums(v_program, v_members) x);
		v_cohorts := (SELECT array_agg(x) FROM loyalty.cohort_sums(v_program, v_members) x);
		DELETE FROM loyalty.member_day t WHERE t.member_id = ANY (v_members);
		DELETE FROM loyalty.member_summary t WHERE t.member_id = ANY (v_members);
		INSERT INTO loyalty.member_day (member_id, day, program_id, sales, reversed, returns, gross, returned)
		SELECT f.member_id, f.day, v_program, f.sales, f.reversed, f.returns, f.gross, f.returned
		FROM loyalty.sale_days(v_program, v_as_of, v_members) f
		ORDER BY f.member_id, f.day;
		INSERT INTO loyalty.member_summary (member_id, program_id, sales, reversed, returns, gross, returned,
			purchase_days, first_sale_on, last_sale_on, last_return_on)
		SELECT d.member_id, v_program, sum(d.sales), sum(d.reversed), sum(d.returns), sum(d.gross), sum(d.returned),
			count(*) FILTER (WHERE d.sales > 0),
			min(d.day) FILTER (WHERE d.sales > 0), max(d.day) FILTER (WHERE d.sales > 0),
			max(d.day) FILTER (WHERE d.returns > 0)
		FROM loyalty.member_day d
		WHERE d.program_id = v_program AND d.member_id = ANY (v_members)
		GROUP BY d.member_id;
		v_count := cardinality(v_members);

		-- what they are less what they were
		INSERT INTO loyalty.program_day AS t
		SELECT v_program, x.day, sum(x.sales), sum(x.reversed), sum(x.returns), sum(x.gross), sum(x.returned),
			sum(x.active_members), sum(x.new_buyers)
		FROM (SELECT n.* FROM loyalty.day_sums(v_program, v_members) n
			UNION ALL
			SELECT o.program_id, o.day, -o.sales, -o.reversed, -o.returns, -o.gross, -o.returned, -o.active_members, -o.new_buyers
			FROM unnest(v_days) o) x
		GROUP BY x.day
		ON CONFLICT (program_id, day) DO UPDATE
			SET sales = t.sales + excluded.sales, reversed = t.reversed + excluded.reversed, returns = t.returns + excluded.returns,
				gross = t.gross + excluded.gross, returned = t.returned + excluded.returned,
				active_members = t.active_members + excluded.active_members, new_buyers = t.new_buyers + excluded.new_buyers
			WHERE (excluded.sales, excluded.reversed, excluded.returns, excluded.gross, excluded.returned,
				excluded.active_members, excluded.new_buyers) <> (0, 0, 0, 0, 0, 0, 0);
		DELETE FROM loyalty.program_day t
		WHERE t.program_id = v_program AND t.sales = 0 AND t.reversed = 0 AND t.returns = 0;
		INSERT INTO loyalty.program_cohort AS t
		SELECT v_program, x.cohort, x.month, sum(x.members), sum(x.sales), sum(x.net)
		FROM (SELECT n.* FROM loyalty.cohort_sums(v_program, v_members) n
			UNION ALL
			SELECT o.program_id, o.cohort, o.month, -o.members, -o.sales, -o.net FROM unnest(v_cohorts) o) x
		GROUP BY x.cohort, x.month
		ON CONFLICT (program_id, cohort, month) DO UPDATE
			SET members = t.members + excluded.members, sales = t.sales + excluded.sales, net = t.net + excluded.net
			WHERE (excluded.members, excluded.sales, excluded.net) <> (0, 0, 0);
		DELETE FROM loyalty.program_cohort t
		WHERE t.program_id = v_program AND t.sales = 0 AND t.net = 0 AND t.members = 0;
	END IF;

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
	RETURN v_count;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_members(integer, date, bigint[]) IS
'reads members (NULL for all) of a programme again: member_day, member_summary, and what they add to days, cohorts and cycles; returns how many';

CREATE FUNCTION loyalty.refresh_points(program_id integer, rebuild boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
BEGIN
	IF rebuild THEN
		PERFORM set_config('enable_nestloop', 'off', true);
		DELETE FROM loyalty.program_points t WHERE t.program_id = v_program;
		DELETE FROM loyalty.member_counted t WHERE t.program_id = v_program;
	END IF;
	WITH due AS MATERIALIZED (
		SELECT m.member_id, coalesce(c.seq, 0) AS seq, m.last_seq
		FROM loyalty.member m LEFT JOIN loyalty.member_counted c ON c.member_id = m.member_id
		WHERE m.program_id = v_program AND m.last_seq > coalesce(c.seq, 0)
	), counted AS (
		INSERT INTO loyalty.member_counted AS t
		SELECT d.member_id, v_program, d.last_seq FROM due d
		ON CONFLICT (member_id) DO UPDATE SET seq = excluded.seq
	)
	INSERT INTO loyalty.program_points AS t (program_id, day, kind, entries, points)
	SELECT v_program, (e.occurred_at AT TIME ZONE (SELECT p.time_zone FROM loyalty.program p WHERE p.program_id = v_program))::date,
		e.kind, count(*), sum(e.points)
	FROM due d
	JOIN loyalty.entry e ON e.member_id = d.member_id AND e.seq > d.seq AND e.seq <= d.last_seq
	GROUP BY 2, 3
	ON CONFLICT (program_id, day, kind) DO UPDATE
		SET entries = t.entries + excluded.entries, points = t.points + excluded.points;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_points(integer, boolean) IS
'adds the entries that have been written since to program_points (rebuild: all of them again)';
