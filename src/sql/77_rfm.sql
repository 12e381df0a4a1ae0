-- RFM: recency, frequency, monetary value, scored 1 to 5 among the members of
-- a programme that bought something, for any day in the past.

CREATE TABLE loyalty.rfm_setting (
	program_id      integer PRIMARY KEY,
	method          text NOT NULL DEFAULT 'rank' CHECK (method IN ('rank', 'cut', 'ntile', 'fixed')),
	window_days     integer CHECK (window_days > 0),
	model           text NOT NULL DEFAULT 'grid',
	language        text NOT NULL DEFAULT 'en',
	recency_bounds  numeric[],
	frequency_bounds numeric[],
	monetary_bounds numeric[]
);
COMMENT ON TABLE loyalty.rfm_setting IS 'how a programme scores its members; without a row: by rank, over all history, segment model grid';
COMMENT ON COLUMN loyalty.rfm_setting.program_id IS 'programme';
COMMENT ON COLUMN loyalty.rfm_setting.method IS 'rank, cut, ntile or fixed, see rfm()';
COMMENT ON COLUMN loyalty.rfm_setting.window_days IS 'days that count; NULL for all history';
COMMENT ON COLUMN loyalty.rfm_setting.model IS 'segment model';
COMMENT ON COLUMN loyalty.rfm_setting.language IS 'language of the segments'' labels';
COMMENT ON COLUMN loyalty.rfm_setting.recency_bounds IS 'method fixed: most days since the last sale for the scores 5, 4, 3, 2';
COMMENT ON COLUMN loyalty.rfm_setting.frequency_bounds IS 'method fixed: fewest sales for the scores 2, 3, 4, 5';
COMMENT ON COLUMN loyalty.rfm_setting.monetary_bounds IS 'method fixed: smallest net amounts for the scores 2, 3, 4, 5';

CREATE FUNCTION loyalty.set_rfm(program text, method text DEFAULT 'rank', window_days integer DEFAULT NULL,
	model text DEFAULT 'grid', language text DEFAULT 'en', recency_bounds numeric[] DEFAULT NULL,
	frequency_bounds numeric[] DEFAULT NULL, monetary_bounds numeric[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_bounds numeric[];
BEGIN
	PERFORM loyalty.check_choice('method', method, ARRAY['rank', 'cut', 'ntile', 'fixed']);
	PERFORM loyalty.segment_model(model);
	IF window_days < 1 THEN
		RAISE EXCEPTION 'window_days must be at least 1' USING ERRCODE = '22023', HINT = 'It is a number of days.';
	END IF;
	FOR v_bounds IN SELECT x.b FROM (VALUES (recency_bounds), (frequency_bounds), (monetary_bounds)) x (b) WHERE x.b IS NOT NULL LOOP
		IF cardinality(v_bounds) <> 4 OR array_position(v_bounds, NULL) IS NOT NULL
			OR NOT (v_bounds[1] < v_bounds[2] AND v_bounds[2] < v_bounds[3] AND v_bounds[3] < v_bounds[4])
			OR v_bounds && '{NaN,Infinity,-Infinity}' THEN
			RAISE EXCEPTION 'invalid bounds: %', v_bounds USING ERRCODE = '22023',
				HINT = 'Bounds are four numbers in ascending order.';
		END IF;
	END LOOP;
	IF method = 'fixed' AND (recency_bounds IS NULL OR frequency_bounds IS NULL OR monetary_bounds IS NULL) THEN
		RAISE EXCEPTION 'method fixed needs recency_bounds, frequency_bounds and monetary_bounds'
			USING ERRCODE = '22023', HINT = 'Each is four numbers in ascending order.';
	END IF;
	INSERT INTO loyalty.rfm_setting AS s
		VALUES (v_program, method, window_days, model, language, recency_bounds, frequency_bounds, monetary_bounds)
		ON CONFLICT ON CONSTRAINT rfm_setting_pkey DO UPDATE
			SET method = excluded.method, window_days = excluded.window_days, model = excluded.model,
				language = excluded.language, recency_bounds = excluded.recency_bounds,
				frequency_bounds = excluded.frequency_bounds, monetary_bounds = excluded.monetary_bounds;
END
$$;
COMMENT ON FUNCTION loyalty.set_rfm(text, text, integer, text, text, numeric[], numeric[], numeric[]) IS
'says how a programme scores its members; see the columns of loyalty.rfm_setting; counts from the next refresh on';

CREATE TABLE loyalty.member_score (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	population      text NOT NULL,
	last_sale_on    date,
	frequency       bigint NOT NULL,
	monetary        numeric NOT NULL,
	r               smallint,
	f               smallint,
	m               smallint,
	segment         text
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.member_score IS 'scores and segments as of analytics_state.as_of';
COMMENT ON COLUMN loyalty.member_score.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_score.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.member_score.population IS 'scored, lapsed (bought before the window only), returns_only (no sale that counts, but returns) or prospect';
COMMENT ON COLUMN loyalty.member_score.last_sale_on IS 'day of the last sale';
COMMENT ON COLUMN loyalty.member_score.frequency IS 'sales in the window that were not returned altogether';
COMMENT ON COLUMN loyalty.member_score.monetary IS 'sales less returns in the window, in money';
COMMENT ON COLUMN loyalty.member_score.r IS 'recency score, 1 to 5; NULL unless scored';
COMMENT ON COLUMN loyalty.member_score.f IS 'frequency score';
COMMENT ON COLUMN loyalty.member_score.m IS 'monetary score';
COMMENT ON COLUMN loyalty.member_score.segment IS 'segment in the programme''s model';

CREATE TABLE loyalty.rfm_snapshot (
	program_id      integer NOT NULL,
	as_of           date NOT NULL,
	method          text NOT NULL,
	window_days     integer,
	model           text NOT NULL,
	members         bigint NOT NULL,
	taken_at        timestamptz NOT NULL,
	PRIMARY KEY (program_id, as_of)
);
COMMENT ON TABLE loyalty.rfm_snapshot IS 'snapshots of scores that were taken';
COMMENT ON COLUMN loyalty.rfm_snapshot.program_id IS 'programme';
COMMENT ON COLUMN loyalty.rfm_snapshot.as_of IS 'last day (programme time) that counts';
COMMENT ON COLUMN loyalty.rfm_snapshot.method IS 'method of scoring';
COMMENT ON COLUMN loyalty.rfm_snapshot.window_days IS 'days that count; NULL for all history';
COMMENT ON COLUMN loyalty.rfm_snapshot.model IS 'segment model';
COMMENT ON COLUMN loyalty.rfm_snapshot.members IS 'members in the snapshot';
COMMENT ON COLUMN loyalty.rfm_snapshot.taken_at IS 'when it was taken';

CREATE TABLE loyalty.rfm_snapshot_member (
	member_id       bigint NOT NULL,
	as_of           date NOT NULL,
	program_id      integer NOT NULL,
	population      text NOT NULL,
	last_sale_on    date,
	frequency       bigint NOT NULL,
	monetary        numeric NOT NULL,
	r               smallint,
	f               smallint,
	m               smallint,
	segment         text,
	PRIMARY KEY (member_id, as_of)
);
COMMENT ON TABLE loyalty.rfm_snapshot_member IS 'scores of each member in a snapshot';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.member_id IS 'member';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.as_of IS 'day of the snapshot';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.program_id IS 'programme of the member';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.population IS 'see member_score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.last_sale_on IS 'see member_score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.frequency IS 'see member_score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.monetary IS 'see member_score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.r IS 'recency score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.f IS 'frequency score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.m IS 'monetary score';
COMMENT ON COLUMN loyalty.rfm_snapshot_member.segment IS 'segment';

CREATE TABLE loyalty.rfm_move (
	program_id      integer NOT NULL,
	to_as_of        date NOT NULL,
	from_as_of      date NOT NULL,
	from_segment    text NOT NULL,
	to_segment      text NOT NULL,
	members         bigint NOT NULL,
	PRIMARY KEY (program_id, to_as_of, from_segment, to_segment)
);
COMMENT ON TABLE loyalty.rfm_move IS 'how members moved from one snapshot to the next';
COMMENT ON COLUMN loyalty.rfm_move.program_id IS 'programme';
COMMENT ON COLUMN loyalty.rfm_move.to_as_of IS 'day of a snapshot';
COMMENT ON COLUMN loyalty.rfm_move.from_as_of IS 'day of the snapshot before it';
COMMENT ON COLUMN loyalty.rfm_move.from_segment IS 'segment before, or population of those without one; new_member: was none yet';
COMMENT ON COLUMN loyalty.rfm_move.to_segment IS 'segment after, or population of those without one; no_member: is none any more';
COMMENT ON COLUMN loyalty.rfm_move.members IS 'members that moved so';

-- Figures from the documents (stored false: right for every as_of) or from
-- what is kept (stored true: right for analytics_state.as_of).
CREATE FUNCTION loyalty.rfm_figures(program_id integer, as_of date, window_days integer, stored boolean,
	OUT member_id bigint, OUT last_sale_on date, OUT has_returns boolean, OUT frequency bigint, OUT monetary numeric)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF stored AND window_days IS NULL THEN
		RETURN QUERY SELECT s.member_id, s.last_sale_on, s.returns > 0, s.sales, s.gross - s.returned
			FROM loyalty.member_summary s WHERE s.program_id = $1;
	ELSIF stored THEN
		RETURN QUERY SELECT s.member_id, s.last_sale_on, s.returns > 0, coalesce(d.sales, 0), coalesce(d.net, 0)
			FROM loyalty.member_summary s
			LEFT JOIN (SELECT w.member_id, sum(w.sales) AS sales, sum(w.gross - w.returned) AS net
					FROM loyalty.member_day w WHERE w.program_id = $1 AND w.day > $2 - $3 GROUP BY w.member_id) d
				ON d.member_id = s.member_id
			WHERE s.program_id = $1;
	ELSE
		RETURN QUERY SELECT d.member_id, max(d.day) FILTER (WHERE d.sales > 0), sum(d.returns) > 0,
				coalesce(sum(d.sales) FILTER (WHERE $3 IS NULL OR d.day > $2 - $3), 0),
				coalesce(sum(d.gross - d.returned) FILTER (WHERE $3 IS NULL OR d.day > $2 - $3), 0)
			FROM loyalty.sale_days($1, $2, NULL) d GROUP BY d.member_id;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.rfm_figures(integer, date, integer, boolean) IS
'recency, frequency and monetary value of the members of a programme with documents, from the documents or from what is kept';

CREATE FUNCTION loyalty.non_member_figures(program_id integer, as_of date, window_days integer,
	OUT member_id bigint, OUT last_sale_on date, OUT has_returns boolean, OUT frequency bigint, OUT monetary numeric)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT d.member_id, max(d.day) FILTER (WHERE d.sales > 0), sum(d.returns) > 0,
		coalesce(sum(d.sales) FILTER (WHERE $3 IS NULL OR d.day > $2 - $3), 0),
		coalesce(sum(d.gross - d.returned) FILTER (WHERE $3 IS NULL OR d.day > $2 - $3), 0)
	FROM loyalty.non_member_day d
	WHERE d.program_id = $1 AND d.day <= $2 AND d.member_id <> 0
		AND NOT EXISTS (SELECT FROM loyalty.member m WHERE m.member_id = d.member_id AND m.joined_on <= $2)
	GROUP BY d.member_id
$$;
COMMENT ON FUNCTION loyalty.non_member_figures(integer, date, integer) IS
'recency, frequency and monetary value of customers who are no members on a day, from what refresh_details() keeps of them; guests are nobody in particular';

-- Scores.  rank: 1 + 5 * (rank - 1) / n in integers, ties share the lower
-- score; ntile: fifths of equal size, ties broken by the customer's key; cut:
-- fifths of the range of values; fixed: bounds of the programme's setting.
CREATE FUNCTION loyalty.rfm_scores(program_id integer, as_of date, window_days integer, method text, stored boolean, non_members boolean,
	OUT member_id bigint, OUT population text, OUT last_sale_on date, OUT frequency bigint, OUT monetary numeric,
	OUT r smallint, OUT f smallint, OUT m smallint, OUT segment text, OUT is_member boolean)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH figure AS (
		SELECT c.member_id, c.is_member, c.last_sale_on, coalesce(c.frequency, 0) AS frequency, coalesce(c.monetary, 0) AS monetary,
			CASE WHEN c.frequency > 0 THEN 'scored' WHEN c.last_sale_on IS NOT NULL THEN 'lapsed'
				WHEN c.has_returns THEN 'returns_only' ELSE 'prospect' END AS population,
			CASE WHEN $4 = 'ntile' THEN c.customer COLLATE "C" END AS tie,
			c.last_sale_on - $2 AS recency
		FROM (SELECT m.member_id, true AS is_member, m.customer, x.last_sale_on, x.has_returns, x.frequency, x.monetary
				FROM loyalty.member m
				LEFT JOIN loyalty.rfm_figures($1, $2, $3, $5) x ON x.member_id = m.member_id
				WHERE m.program_id = $1 AND (m.joined_on <= $2 OR x.member_id IS NOT NULL)
				UNION ALL
				-- nobody knows their keys here
				SELECT n.member_id, false, n.member_id::text, n.last_sale_on, n.has_returns, n.frequency, n.monetary
				FROM loyalty.non_member_figures($1, $2, $3) n WHERE $6) c
	), ranked AS (
		SELECT g.member_id, g.recency, g.frequency, g.monetary, count(*) OVER () AS n,
			CASE $4 WHEN 'ntile' THEN ntile(5) OVER r ELSE rank() OVER r END AS r,
			CASE $4 WHEN 'ntile' THEN ntile(5) OVER f ELSE rank() OVER f END AS f,
			CASE $4 WHEN 'ntile' THEN ntile(5) OVER m ELSE rank() OVER m END AS m,
			min(g.recency) OVER () AS r_min, max(g.recency) OVER () AS r_max,
			min(g.frequency) OVER () AS f_min, max(g.frequency) OVER () AS f_max,
			min(g.monetary) OVER () AS m_min, max(g.monetary) OVER () AS m_max
		FROM figure g
		WHERE g.population = 'scored'
		WINDOW r AS (ORDER BY g.recency, g.tie), f AS (ORDER BY g.frequency, g.tie), m AS (ORDER BY g.monetary, g.tie)
	), scored AS (
		SELECT k.member_id,
			(CASE $4 WHEN 'rank' THEN 1 + 5 * (k.r - 1) / k.n WHEN 'ntile' THEN k.r
				WHEN 'cut' THEN 1 + least(4, coalesce(5 * (k.recency - k.r_min) / nullif(k.r_max - k.r_min, 0), 0))
				ELSE 5 - width_bucket(-k.recency - 1, t.recency_bounds) END)::smallint AS r,
			(CASE $4 WHEN 'rank' THEN 1 + 5 * (k.f - 1) / k.n WHEN 'ntile' THEN k.f
				WHEN 'cut' THEN 1 + least(4, coalesce(5 * (k.frequency - k.f_min) / nullif(k.f_max - k.f_min, 0), 0))
				ELSE 1 + width_bucket(k.frequency, t.frequency_bounds) END)::smallint AS f,
			(CASE $4 WHEN 'rank' THEN 1 + 5 * (k.m - 1) / k.n WHEN 'ntile' THEN k.m
				WHEN 'cut' THEN 1 + least(4, coalesce(div(5 * (k.monetary - k.m_min), nullif(k.m_max - k.m_min, 0)), 0))
				ELSE 1 + width_bucket(k.monetary, t.monetary_bounds) END)::smallint AS m
		FROM ranked k
		LEFT JOIN loyalty.rfm_setting t ON t.program_id = $1
	)
	SELECT g.member_id, g.population, g.last_sale_on, g.frequency, g.monetary, s.r, s.f, s.m, c.segment, g.is_member
	FROM figure g
	LEFT JOIN scored s ON s.member_id = g.member_id
	LEFT JOIN loyalty.segment_cell c ON c.r = s.r AND c.f = s.f AND c.m = s.m
		AND c.model = coalesce((SELECT t.model FROM loyalty.rfm_setting t WHERE t.program_id = $1), 'grid')
$$;
COMMENT ON FUNCTION loyalty.rfm_scores(integer, date, integer, text, boolean, boolean) IS
'scores of all members of a programme (non_members: among its other customers)';

CREATE FUNCTION loyalty.today(program_id integer) RETURNS date
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (now() AT TIME ZONE p.time_zone)::date FROM loyalty.program p WHERE p.program_id = $1
$$;
COMMENT ON FUNCTION loyalty.today(integer) IS 'the day it is in a programme''s time zone';

CREATE FUNCTION loyalty.rfm(as_of date DEFAULT NULL, window_days integer DEFAULT NULL,
	method text DEFAULT NULL, program text DEFAULT NULL, non_members boolean DEFAULT false,
	OUT program_name text, OUT member_id bigint, OUT population text, OUT last_sale_on date, OUT recency_days integer,
	OUT frequency bigint, OUT monetary numeric(18,2), OUT r smallint, OUT f smallint, OUT m smallint, OUT segment text,
	OUT is_member boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off
AS $$
DECLARE
	v_program record;
	v_method text;
	v_as_of date;
BEGIN
	IF window_days < 1 THEN
		RAISE EXCEPTION 'window_days must be at least 1' USING ERRCODE = '22023', HINT = 'It is a number of days.';
	END IF;
	IF method IS NOT NULL THEN
		PERFORM loyalty.check_choice('method', method, ARRAY['rank', 'cut', 'ntile', 'fixed']);
	END IF;
	IF program IS NOT NULL THEN
		PERFORM loyalty.program_id(program);
	END IF;
	IF NOT isfinite(as_of) THEN
		RAISE EXCEPTION 'as_of must be finite' USING ERRCODE = '22023', HINT = 'It is a day; leave it out for today.';
	END IF;
	FOR v_program IN
		SELECT p.program_id, p.name, s.method, s.window_days, s.recency_bounds
		FROM loyalty.program p LEFT JOIN loyalty.rfm_setting s ON s.program_id = p.program_id
		WHERE $4 IS NULL OR p.name = $4 ORDER BY p.name
	LOOP
		v_method := coalesce($3, v_program.method, 'rank');
		v_as_of := coalesce($1, loyalty.today(v_program.program_id));
		IF v_method = 'fixed' AND v_program.recency_bounds IS NULL THEN
			RAISE EXCEPTION 'programme "%" has no bounds for method fixed', v_program.name
				USING ERRCODE = 'LY001', HINT = 'loyalty.set_rfm() sets them.';
		END IF;
		RETURN QUERY SELECT v_program.name, s.member_id, s.population, s.last_sale_on, v_as_of - s.last_sale_on,
				s.frequency, s.monetary::numeric(18,2), s.r, s.f, s.m, s.segment, s.is_member
			FROM loyalty.rfm_scores(v_program.program_id, v_as_of, coalesce($2, v_program.window_days), v_method, false, coalesce($5, false)) s;
	END LOOP;
END
$$;
COMMENT ON FUNCTION loyalty.rfm(date, integer, text, text, boolean) IS
'recency, frequency and monetary value of members as of the end of a day (programme time, default today), over the last window_days (default as set, else all history), scored 1 to 5 by method: rank (ties share the lower score), ntile, cut or fixed; nothing dated later is seen; population says who is scored.  non_members: customers who are no members on that day are scored among them, under the number they would have, as refresh_details() has read them (see set_non_members()); is_member tells them apart';

CREATE FUNCTION loyalty.take_rfm_snapshot(program text DEFAULT NULL, as_of date DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_as_of date := as_of;
	v_program record;
	v_count bigint;
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL THEN
		PERFORM loyalty.program_id(v_name);
	END IF;
	FOR v_program IN
		SELECT p.program_id, coalesce(s.method, 'rank') AS method, s.window_days, coalesce(s.model, 'grid') AS model,
			coalesce(v_as_of, loyalty.today(p.program_id)) AS as_of
		FROM loyalty.program p LEFT JOIN loyalty.rfm_setting s ON s.program_id = p.program_id
		WHERE v_name IS NULL OR p.name = v_name ORDER BY p.program_id
	LOOP
		INSERT INTO loyalty.rfm_snapshot VALUES (v_program.program_id, v_program.as_of, v_program.method,
				v_program.window_days, v_program.model, 0, clock_timestamp())
			ON CONFLICT ON CONSTRAINT rfm_snapshot_pkey DO UPDATE SET method = excluded.method,
				window_days = excluded.window_days, model = excluded.model, taken_at = excluded.taken_at;
		DELETE FROM loyalty.rfm_snapshot_member t WHERE t.program_id = v_program.program_id AND t.as_of = v_program.as_of;
		INSERT INTO loyalty.rfm_snapshot_member
			SELECT s.member_id, v_program.as_of, v_program.program_id, s.population, s.last_sale_on, s.frequency,
				s.monetary, s.r, s.f, s.m, s.segment
			FROM loyalty.rfm_scores(v_program.program_id, v_program.as_of, v_program.window_days, v_program.method, false, false) s
			ORDER BY s.member_id;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		UPDATE loyalty.rfm_snapshot t SET members = v_count
			WHERE t.program_id = v_program.program_id AND t.as_of = v_program.as_of;
		-- the move that leads here, and the one that leads on
		PERFORM loyalty.count_moves(v_program.program_id, n.as_of)
			FROM (SELECT v_program.as_of UNION ALL
				SELECT min(t.as_of) FROM loyalty.rfm_snapshot t
				WHERE t.program_id = v_program.program_id AND t.as_of > v_program.as_of) n (as_of)
			WHERE n.as_of IS NOT NULL;
		v_total := v_total + v_count;
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.take_rfm_snapshot(text, date) IS
'keeps the scores of a programme (NULL for all) as of a day, as set by set_rfm(); the same day again replaces them; returns how many members it has';

CREATE FUNCTION loyalty.count_moves(program_id integer, as_of date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_to date := as_of;
	v_from date := (SELECT max(t.as_of) FROM loyalty.rfm_snapshot t WHERE t.program_id = v_program AND t.as_of < v_to);
BEGIN
	DELETE FROM loyalty.rfm_move t WHERE t.program_id = v_program AND t.to_as_of = v_to;
	INSERT INTO loyalty.rfm_move
		SELECT v_program, v_to, v_from,
			CASE WHEN a.member_id IS NULL THEN 'new_member' ELSE coalesce(a.segment, a.population) END,
			CASE WHEN b.member_id IS NULL THEN 'no_member' ELSE coalesce(b.segment, b.population) END, count(*)
		FROM (SELECT * FROM loyalty.rfm_snapshot_member t WHERE t.program_id = v_program AND t.as_of = v_from) a
		FULL JOIN (SELECT * FROM loyalty.rfm_snapshot_member t WHERE t.program_id = v_program AND t.as_of = v_to) b
			ON b.member_id = a.member_id
		WHERE v_from IS NOT NULL
		GROUP BY 4, 5;
END
$$;
COMMENT ON FUNCTION loyalty.count_moves(integer, date) IS 'counts how members moved from the snapshot before to the one of as_of';

CREATE FUNCTION loyalty.refresh_scores(program_id integer, as_of date) RETURNS void
-- whole tables against each other: a plan made for few rows would never end
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
	v_as_of date := as_of;
	v_method text;
	v_window integer;
BEGIN
	SELECT s.method, s.window_days INTO v_method, v_window FROM loyalty.rfm_setting s WHERE s.program_id = v_program;
	WITH fresh AS MATERIALIZED (
		SELECT * FROM loyalty.rfm_scores(v_program, v_as_of, v_window, coalesce(v_method, 'rank'), true, false)
	), gone AS (
		DELETE FROM loyalty.member_score t
		WHERE t.program_id = v_program AND NOT EXISTS (SELECT FROM fresh f WHERE f.member_id = t.member_id)
	), changed AS (
		-- ON CONFLICT would lock and so write every row that has not changed
		UPDATE loyalty.member_score t
		SET population = f.population, last_sale_on = f.last_sale_on, frequency = f.frequency,
			monetary = f.monetary, r = f.r, f = f.f, m = f.m, segment = f.segment
		FROM fresh f
		WHERE t.member_id = f.member_id
			AND (t.population, t.last_sale_on, t.frequency, t.monetary, t.r, t.f, t.m, t.segment)
				IS DISTINCT FROM (f.population, f.last_sale_on, f.frequency, f.monetary, f.r, f.f, f.m, f.segment)
	)
	INSERT INTO loyalty.member_score (member_id, program_id, population, last_sale_on, frequency, monetary, r, f, m, segment)
	SELECT f.member_id, v_program, f.population, f.last_sale_on, f.frequency, f.monetary, f.r, f.f, f.m, f.segment
	FROM fresh f
	WHERE NOT EXISTS (SELECT FROM loyalty.member_score t WHERE t.member_id = f.member_id);
END
$$;
COMMENT ON FUNCTION loyalty.refresh_scores(integer, date) IS
'scores the members of a programme again from what is kept; writes only what differs';

CREATE FUNCTION loyalty.refresh_analytics(program text DEFAULT NULL, as_of date DEFAULT NULL,
	rebuild boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	v_name text := program;
	v_as_of date := as_of;
	v_program record;
	v_state loyalty.analytics_state;
	v_horizon bigint;
	v_members bigint[];
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL THEN
		PERFORM loyalty.program_id(v_name);
	END IF;
	IF NOT isfinite(v_as_of) THEN
		RAISE EXCEPTION 'as_of must be finite' USING ERRCODE = '22023', HINT = 'It is a day; leave it out for today.';
	END IF;
	-- sorting and hashing take what the server allows for its own upkeep
	PERFORM set_config('work_mem', current_setting('maintenance_work_mem'), true);
	FOR v_program IN
		SELECT p.program_id, coalesce(v_as_of, loyalty.today(p.program_id)) AS as_of
		FROM loyalty.program p WHERE v_name IS NULL OR p.name = v_name ORDER BY p.program_id
	LOOP
		-- whoever refreshes the same programme waits here
		INSERT INTO loyalty.analytics_state VALUES (v_program.program_id, '-infinity', 0, clock_timestamp())
			ON CONFLICT DO NOTHING;
		SELECT * INTO v_state FROM loyalty.analytics_state s WHERE s.program_id = v_program.program_id FOR UPDATE;
		v_horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
		v_members := CASE WHEN NOT rebuild
			THEN loyalty.changed_members(v_program.program_id, v_program.as_of, v_state.as_of, v_state.horizon) END;
		IF v_members IS NULL OR v_members <> '{}' THEN
			v_total := v_total + loyalty.refresh_members(v_program.program_id, v_program.as_of, v_members);
			PERFORM loyalty.refresh_campaigns(v_program.program_id, v_program.as_of, v_members);
		END IF;
		PERFORM loyalty.refresh_points(v_program.program_id, v_members IS NULL);
		PERFORM loyalty.refresh_scores(v_program.program_id, v_program.as_of);
		IF v_members IS NULL THEN
			ANALYZE loyalty.member_score, loyalty.member_counted;
		END IF;
		UPDATE loyalty.analytics_state s
			SET as_of = v_program.as_of, horizon = v_horizon, refreshed_at = clock_timestamp()
			WHERE s.program_id = v_program.program_id;
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_analytics(text, date, boolean) IS
'brings the figures that analytics keeps up to date as of a day (programme time, default today): reads again the members whose documents have changed since the last time, or all of them if as_of went back or rebuild is true; locks none of the books; returns how many members were read';
