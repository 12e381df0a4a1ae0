/*
 * What is due by the rules, worked out anew and slowly from the final rows of
 * the ERP's tables: nothing of the engine is asked, no order of events known.
 *
 * Only runs of variant a are worked out; the other variants of a history end
 * with the same rows and must have the same points.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

CREATE TABLE rul.row (w text, run text, key text, customer text, at timestamptz, channel text, of text, live boolean,
	PRIMARY KEY (w, key));
CREATE TABLE rul.rowline (w text, key text, parent text, category text, qty numeric, amount numeric, of_line text,
	PRIMARY KEY (w, key));
CREATE INDEX ON rul.rowline (w, parent);

-- a sale and what is left of it
CREATE TABLE rul.sale (w text, run text, customer text, key text, at timestamptz, day date, channel text,
	gross numeric, left_gross numeric, returned boolean, PRIMARY KEY (w, key));
CREATE TABLE rul.basis (w text, sale text, line text, category text, qty numeric, amount numeric,
	left_qty numeric, left_amount numeric, PRIMARY KEY (w, sale, line));
-- rules that hold: of the sale as it was made, and of what is left; line NULL: for all of them
CREATE TABLE rul.held (w text, sale text, rule text, line text, of_rest boolean);
CREATE INDEX ON rul.held (w, sale, of_rest);
CREATE TABLE rul.given (w text, run text, customer text, sale text, rule text, points numeric);
CREATE INDEX ON rul.given (w, customer, rule);
CREATE TABLE rul.due (w text, run text, customer text, sale text, points numeric, PRIMARY KEY (w, sale));

CREATE FUNCTION rul.run(key text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT split_part(key, '-', 1)$$;
CREATE FUNCTION rul.clamp(x numeric, top numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$SELECT least(greatest(x, 0), top)$$;

CREATE AGGREGATE rul.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');

CREATE FUNCTION rul.round_points(x numeric, unit numeric, direction text) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$
	-- what division left behind the tenth digit is nothing
	SELECT unit * CASE direction
			WHEN 'down' THEN floor(q)
			WHEN 'up' THEN ceil(q)
			WHEN 'half_up' THEN floor(q + 0.5)
			ELSE CASE WHEN q - floor(q) = 0.5 THEN 2 * round(q / 2) ELSE floor(q + 0.5) END END
	FROM (SELECT round(x / unit, 9) AS q) v
$$;

CREATE FUNCTION rul.load() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	TRUNCATE rul.row, rul.rowline, rul.sale, rul.basis, rul.held, rul.given, rul.due;
	FOR v IN SELECT * FROM rul.world LOOP
		EXECUTE format('INSERT INTO rul.row SELECT %L, rul.run(key), key, customer, at, channel, of, posted AND NOT void FROM u_%s.doc', v.w, v.w);
		EXECUTE format('INSERT INTO rul.rowline SELECT %L, key, parent, category, qty, amount, of_line FROM u_%s.line WHERE parent IN (SELECT key FROM u_%s.doc)', v.w, v.w, v.w);
	END LOOP;
END $$;

-- sales, what returns leave of their lines, and which rules hold
CREATE FUNCTION rul.prepare() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	x record;
BEGIN
	INSERT INTO rul.sale
		SELECT r.w, r.run, r.customer, r.key, r.at, (r.at AT TIME ZONE v.zone)::date, r.channel,
			coalesce((SELECT sum(l.amount) FROM rul.rowline l WHERE l.w = r.w AND l.parent = r.key), 0), 0,
			EXISTS (SELECT FROM rul.row b WHERE b.w = r.w AND b.of = r.key AND b.live)
		FROM rul.row r JOIN rul.world v USING (w)
		WHERE r.live AND r.of IS NULL AND r.customer IS NOT NULL AND r.run ~ '^\d+a$' AND v.oracle <> 'budget';
	INSERT INTO rul.basis
		SELECT s.w, s.key, l.key, l.category, l.qty, l.amount,
			l.qty * left_amount / nullif(l.amount, 0), left_amount
		FROM rul.sale s
		JOIN rul.rowline l ON l.w = s.w AND l.parent = s.key
		-- of each line what returns of it leave ...
		CROSS JOIN LATERAL (SELECT rul.clamp(l.amount + coalesce(sum(b.amount), 0), l.amount) AS by_line
			FROM rul.rowline b JOIN rul.row d ON d.w = b.w AND d.key = b.parent AND d.of = s.key AND d.live
			WHERE b.w = s.w AND b.of_line = l.key) own
		CROSS JOIN LATERAL (SELECT sum(rul.clamp(o.amount + coalesce((SELECT sum(b.amount)
				FROM rul.rowline b JOIN rul.row d ON d.w = b.w AND d.key = b.parent AND d.of = s.key AND d.live
				WHERE b.w = s.w AND b.of_line = o.key), 0), o.amount)) AS lines
			FROM rul.rowline o WHERE o.w = s.w AND o.parent = s.key) total
		-- ... and of that the share that returns by value leave
		CROSS JOIN LATERAL (SELECT coalesce(-sum(b.amount), 0) AS value
			FROM rul.rowline b JOIN rul.row d ON d.w = b.w AND d.key = b.parent AND d.of = s.key AND d.live
			WHERE b.w = s.w AND NOT EXISTS (SELECT FROM rul.rowline o WHERE o.w = s.w AND o.parent = s.key AND o.key = b.of_line)) by_value
		CROSS JOIN LATERAL (SELECT CASE WHEN total.lines = 0 THEN 0
			ELSE by_line * greatest(total.lines - value, 0) / total.lines END AS left_amount) rest;
	UPDATE rul.sale s SET left_gross = coalesce((SELECT sum(b.left_amount) FROM rul.basis b WHERE b.w = s.w AND b.sale = s.key), 0);

	CREATE TEMP TABLE member ON COMMIT DROP AS
		SELECT s.w, s.key AS sale, f.*,
			CASE WHEN days >= 3 THEN round((f.last_purchase_on - f.first_purchase_on)::numeric / (days - 1), 6) END AS cycle_days,
			s.day - f.last_purchase_on AS days_since_last_purchase
		FROM rul.sale s CROSS JOIN LATERAL (
			SELECT (count(*) FILTER (WHERE p.left_gross > 0))::integer AS purchase_count,
				coalesce(sum(p.left_gross), 0) AS lifetime_amount,
				coalesce(sum(p.left_gross) FILTER (WHERE date_trunc('year', p.day) = date_trunc('year', s.day)), 0) AS year_amount,
				(count(*) FILTER (WHERE p.left_gross > 0 AND date_trunc('year', p.day) = date_trunc('year', s.day)))::integer AS year_count,
				coalesce(sum(p.left_gross) FILTER (WHERE date_trunc('month', p.day) = date_trunc('month', s.day)), 0) AS month_amount,
				(count(*) FILTER (WHERE p.left_gross > 0 AND date_trunc('month', p.day) = date_trunc('month', s.day)))::integer AS month_count,
				min(p.day) FILTER (WHERE p.left_gross > 0) AS first_purchase_on,
				max(p.day) FILTER (WHERE p.left_gross > 0) AS last_purchase_on,
				count(DISTINCT p.day) FILTER (WHERE p.left_gross > 0) AS days
			FROM rul.sale p WHERE p.w = s.w AND p.customer = s.customer AND (p.at, p.key COLLATE "C") < (s.at, s.key COLLATE "C")) f;
	CREATE INDEX ON member (w, sale);
	ANALYZE member;

	FOR x IN SELECT r.*, r.condition ~ '\mline\.' AS by_line, d.zone
			FROM rul.rule r JOIN rul.world d USING (w) WHERE d.oracle <> 'budget' LOOP
		FOR rest IN 0 .. 1 LOOP
			EXECUTE format($q$
				INSERT INTO rul.held
				SELECT DISTINCT %1$L, s.key, %2$L, %3$s, %4$s
				FROM rul.sale s
				CROSS JOIN LATERAL (SELECT s.channel) AS invoice
				CROSS JOIN LATERAL (SELECT CASE WHEN %4$s THEN round(s.left_gross, 6) ELSE s.gross END AS amount, s.day AS date, s.channel,
					extract(hour FROM s.at AT TIME ZONE %5$L)::integer AS hour, extract(isodow FROM s.day)::integer AS weekday) AS document
				JOIN pg_temp.member ON member.w = s.w AND member.sale = s.key
				LEFT JOIN LATERAL (SELECT b.line AS key, b.category, CASE WHEN %4$s THEN round(b.left_qty, 6) ELSE b.qty END AS qty,
					CASE WHEN %4$s THEN round(b.left_amount, 6) ELSE b.amount END AS amount
					FROM rul.basis b WHERE b.w = s.w AND b.sale = s.key) AS line ON true
				WHERE s.w = %1$L AND (%6$s)$q$,
				x.w, x.name, CASE WHEN x.by_line THEN 'line.key' ELSE 'NULL' END, (rest = 1)::text, x.zone, coalesce(x.condition, 'true'));
		END LOOP;
	END LOOP;
	-- what did not hold for the sale does not begin to hold for what is left of it
	DELETE FROM rul.held h WHERE h.of_rest AND NOT EXISTS (SELECT FROM rul.held o
		WHERE o.w = h.w AND o.sale = h.sale AND o.rule = h.rule AND o.line IS NOT DISTINCT FROM h.line AND NOT o.of_rest);
	-- of a group the highest priority counts
	DELETE FROM rul.held h USING rul.rule r WHERE r.w = h.w AND r.name = h.rule AND r.grp IS NOT NULL
		AND EXISTS (SELECT FROM rul.held o JOIN rul.rule q ON q.w = o.w AND q.name = o.rule
			WHERE o.w = h.w AND o.sale = h.sale AND o.of_rest = h.of_rest AND q.grp = r.grp AND q.priority > r.priority
				AND (o.line IS NULL OR o.line = h.line));
	ANALYZE rul.held;
	ANALYZE rul.basis;
	ANALYZE rul.sale;
END $$;

-- points as they are booked: of lines line by line, then of the rest
CREATE FUNCTION rul.booked_points(v rul.world, raw numeric, lines jsonb) RETURNS numeric LANGUAGE sql AS $$
	SELECT CASE v.scope WHEN 'carry' THEN raw WHEN 'document' THEN rul.round_points(raw, v.unit, v.rounding)
		ELSE coalesce(sum(rul.round_points(l.value::numeric, v.unit, v.rounding)), 0)
			+ rul.round_points(raw - coalesce(sum(l.value::numeric), 0), v.unit, v.rounding) END
	FROM jsonb_each_text(lines) l
$$;

-- points of a sale, whole or what is left; notes what rules with caps gave to what is left
CREATE FUNCTION rul.award(s rul.sale, rest boolean) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	v rul.world;
	r record;
	b record;
	raw numeric := 0;		-- all of it
	lines jsonb := '{}';
	gave numeric;
	own jsonb;
	cap numeric;
	sum_amount numeric;
	sum_weighted numeric;
	x numeric;
BEGIN
	SELECT * INTO v FROM rul.world d WHERE d.w = s.w;
	IF s.gross <= 0 THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT q.*, EXISTS (SELECT FROM rul.held h WHERE h.w = s.w AND h.sale = s.key AND h.rule = q.name AND h.line IS NULL AND h.of_rest = rest) AS for_all
			FROM rul.rule q WHERE q.w = s.w AND q.kind IN ('amount', 'unit', 'bonus', 'cap') ORDER BY q.kind = 'cap', q.name LOOP
		gave := 0;
		sum_amount := 0;
		sum_weighted := 0;
		own := lines;
		CONTINUE WHEN NOT EXISTS (SELECT FROM rul.held h WHERE h.w = s.w AND h.sale = s.key AND h.rule = r.name AND h.of_rest = rest);
		FOR b IN SELECT l.line, CASE WHEN rest THEN l.left_amount ELSE l.amount END AS amount, CASE WHEN rest THEN l.left_qty ELSE CASE WHEN l.amount > 0 THEN l.qty END END AS qty,
				CASE WHEN coalesce(r.multiplied, r.kind <> 'bonus') THEN f.factor ELSE 1 END AS factor
				FROM rul.basis l
				CROSS JOIN LATERAL (SELECT CASE v.stacking
						WHEN 'multiply' THEN v.tier_rate * coalesce(rul.product(m.factor), 1)
						WHEN 'max' THEN greatest(v.tier_rate, coalesce(max(m.factor), 0))
						ELSE greatest(v.tier_rate + coalesce(sum(m.factor - 1), 0), 0) END AS factor
					FROM rul.rule m WHERE m.w = s.w AND m.kind = 'multiplier' AND EXISTS (SELECT FROM rul.held h
						WHERE h.w = s.w AND h.sale = s.key AND h.rule = m.name AND (h.line IS NULL OR h.line = l.line) AND h.of_rest = rest)) f
				WHERE l.w = s.w AND l.sale = s.key AND r.kind <> 'cap'
					AND (r.for_all OR EXISTS (SELECT FROM rul.held h WHERE h.w = s.w AND h.sale = s.key AND h.rule = r.name AND h.line = l.line AND h.of_rest = rest))
					AND NOT EXISTS (SELECT FROM rul.held h JOIN rul.rule e ON e.w = h.w AND e.name = h.rule AND e.kind = 'exclusion'
						WHERE h.w = s.w AND h.sale = s.key AND (h.line IS NULL OR h.line = l.line) AND h.of_rest = rest)
				ORDER BY l.line COLLATE "C" LOOP
			IF r.kind = 'bonus' THEN
				CONTINUE WHEN b.amount <= 0;
				gave := gave + r.points * b.factor;
				EXIT WHEN r.applies_to = 'document';
				own := jsonb_set(own, ARRAY[b.line], to_jsonb(coalesce((own ->> b.line)::numeric, 0) + r.points * b.factor));
				CONTINUE;
			END IF;
			x := coalesce(CASE r.kind WHEN 'unit' THEN b.qty ELSE b.amount END, 0);
			IF r.applies_to = 'line' OR v.scope = 'line' THEN
				x := x / r.per;
				IF r.mode = 'step' THEN x := floor(round(x, 9)); END IF;
				gave := gave + x * r.points * b.factor;
				own := jsonb_set(own, ARRAY[b.line], to_jsonb(coalesce((own ->> b.line)::numeric, 0) + x * r.points * b.factor));
			ELSE
				sum_amount := sum_amount + x;
				sum_weighted := sum_weighted + x * b.factor;
			END IF;
		END LOOP;
		IF sum_amount > 0 THEN
			x := sum_amount / r.per;
			IF r.mode = 'step' THEN x := floor(round(x, 9)); END IF;
			gave := gave + x * r.points * sum_weighted / sum_amount;
		END IF;
		-- the least that its caps leave of what it gave before
		SELECT min(c.points - coalesce((SELECT sum(g.points) FROM rul.given g JOIN rul.sale p ON p.w = g.w AND p.key = g.sale
				WHERE g.w = s.w AND g.customer = s.customer AND g.rule = r.name AND p.left_gross > 0
					AND (p.at, p.key COLLATE "C") < (s.at, s.key COLLATE "C")
					AND (c.period IS NULL OR date_trunc(c.period, p.day) = date_trunc(c.period, s.day))), 0)) INTO cap
			FROM (VALUES ('day', r.cap_day), ('week', r.cap_week), ('month', r.cap_month), ('year', r.cap_year), (NULL, r.cap_lifetime)) c (period, points)
			WHERE c.points IS NOT NULL;
		cap := least(CASE WHEN cap < 0 THEN 0 ELSE cap END, r.cap_document);
		-- a cap is on whole units, by which the booked points grow
		cap := floor(cap / v.unit) * v.unit;
		IF r.kind = 'cap' THEN
			x := rul.booked_points(v, raw, lines);
			IF greatest(x, raw) > cap THEN
				raw := cap;
				lines := '{}';
				x := cap;
			END IF;
		ELSIF cap IS NULL THEN
			raw := raw + gave;
			lines := own;
		ELSE
			x := rul.booked_points(v, raw + gave, lines) - rul.booked_points(v, raw, lines);
			IF greatest(x, gave) > cap THEN
				gave := cap;
				x := rul.booked_points(v, raw + gave, lines) - rul.booked_points(v, raw, lines);
			END IF;
			raw := raw + gave;
		END IF;
		IF rest = s.returned AND cap IS NOT NULL THEN
			INSERT INTO rul.given VALUES (s.w, s.run, s.customer, s.key, r.name, x);
		END IF;
	END LOOP;
	RETURN rul.booked_points(v, raw, lines);
END $$;

CREATE FUNCTION rul.compute() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s rul.sale;
	points numeric;
BEGIN
	FOR s IN SELECT * FROM rul.sale ORDER BY w, customer, at, key COLLATE "C" LOOP
		points := rul.award(s, false);
		IF s.returned THEN
			points := rul.award(s, true);
		END IF;
		INSERT INTO rul.due VALUES (s.w, s.run, s.customer, s.key, points);
	END LOOP;
END $$;

-- points of sales with all their returns, per run, against what is due for variant a
CREATE FUNCTION rul.mismatches(OUT w text, OUT run text, OUT what text, OUT due numeric, OUT booked numeric) RETURNS SETOF record LANGUAGE sql AS $$
	WITH booked AS (
		SELECT s.name AS source, rul.run(d.doc_key) AS run, CASE WHEN d.root_source_id = 0 THEN d.doc_key ELSE d.root_key END AS sale, m.customer, sum(d.points) AS points
		FROM loyalty.document d JOIN loyalty.source s USING (source_id) LEFT JOIN loyalty.member m USING (member_id) GROUP BY 1, 2, 3, 4),
	wanted AS (
		SELECT v.w, v.oracle, regexp_replace(d.run, 'a$', x) AS run, regexp_replace(d.sale, '^(\d+)a', '\1' || x) AS sale,
			regexp_replace(d.customer, '^(\d+)a', '\1' || x) AS customer, d.points
		FROM rul.due d JOIN rul.world v USING (w), unnest('{a,b,c,d,e}'::text[]) x)
	SELECT coalesce(v.w, substr(b.source, 3)), coalesce(v.run, b.run), coalesce(v.sale || ' of ' || v.customer, b.sale || ' of ' || b.customer), coalesce(v.points, 0), coalesce(b.points, 0)
	FROM (SELECT * FROM wanted WHERE oracle = 'exact') v
	FULL JOIN (SELECT b.* FROM booked b JOIN rul.world d ON b.source = 'u_' || d.w AND d.oracle = 'exact') b
		ON b.source = 'u_' || v.w AND b.sale = v.sale AND b.customer = v.customer
	WHERE coalesce(v.points, 0) <> coalesce(b.points, 0)
	UNION ALL
	-- carried: the balance is what is due, but for less than a unit
	SELECT v.w, v.run, v.customer, v.points, coalesce(m.balance, 0)
	FROM (SELECT w, run, customer, sum(points) AS points FROM wanted WHERE oracle = 'carry' GROUP BY 1, 2, 3) v
	LEFT JOIN loyalty.member m ON m.customer = v.customer AND m.program_id = loyalty.program_id('u_' || v.w)
	WHERE abs(v.points - coalesce(m.balance, 0)) >= 1
	ORDER BY 1, 2, 3
$$;
