/*
 * The oracle: what the points of every document have to be, computed from the
 * final rows of the ERP's tables.
 *
 * It knows nothing of events, of earlier states or of the ledger, with one
 * exception that lies in the matter: whether a sale that is gone from the ERP
 * was ever booked, because the returns of a withdrawn sale move nothing while
 * those of a sale that nobody ever saw stand on their own.
 *
 * Arithmetic is exact: fractions of numerics are multiplied first and divided
 * last, by div(), which truncates without rounding.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

CREATE TYPE rnd.frac AS (n numeric, d numeric);		-- d > 0

CREATE FUNCTION rnd.plus(a rnd.frac, b rnd.frac) RETURNS rnd.frac
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN a.d = b.d THEN ROW(a.n + b.n, a.d)::rnd.frac
		ELSE ROW(a.n * b.d + b.n * a.d, a.d * b.d)::rnd.frac END
$$;

-- x >= 0 to a multiple of unit
CREATE FUNCTION rnd.round_to(x rnd.frac, unit numeric, direction text) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	d numeric := x.d * unit;
	q numeric := div(x.n, d);		-- whole units
	r numeric := x.n - q * d;		-- and the rest, 0 <= r < d
BEGIN
	IF direction = 'up' AND r > 0
		OR direction = 'half_up' AND 2 * r >= d
		OR direction = 'half_even' AND (2 * r > d OR 2 * r = d AND mod(q, 2) = 1)
	THEN
		q := q + 1;
	END IF;
	RETURN q * unit;
END
$$;

/*
 * The points of some goods: lines with their amounts (and whether they earn),
 * of which rest remains (rest is their sum unless part of it was returned by
 * value), out of a document of that gross amount of which paid was paid with
 * points.
 */
CREATE TYPE rnd.award AS (points numeric, exact numeric);

CREATE FUNCTION rnd.award(p_w text, p_day date, p_gross numeric, p_paid numeric,
	p_amounts numeric[], p_earns boolean[], p_rest numeric) RETURNS rnd.award
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v rnd.world;
	r rnd.rule;
	v_all numeric := 0;
	v_earning numeric := 0;
	v_basis rnd.frac;
	v_line rnd.frac;
	v_sum rnd.frac := (0, 1);
	v_raw rnd.frac;
	v_award rnd.award := (0, 0);
BEGIN
	SELECT * INTO STRICT v FROM rnd.world WHERE w = p_w;
	FOR i IN 1 .. coalesce(cardinality(p_amounts), 0) LOOP
		v_all := v_all + p_amounts[i];
		IF p_earns[i] THEN
			v_earning := v_earning + p_amounts[i];
		END IF;
	END LOOP;
	IF v_all <= 0 OR p_rest <= 0 OR p_gross <= 0 OR v_earning <= 0 THEN
		RETURN v_award;
	END IF;

	-- given back before it was taken: not more than all of it
	p_rest := least(p_rest, v_all);
	-- basis = (earning lines - their part of paid) * (rest / all lines)
	v_basis := ((v_earning * p_gross - p_paid * v_all) * p_rest, p_gross * v_all);
	IF v_basis.n <= 0 THEN
		RETURN v_award;
	END IF;

	FOR r IN SELECT * FROM rnd.rule
		WHERE w = p_w AND applies_to = 'document' AND p_day BETWEEN valid_from AND valid_to
	LOOP
		IF r.mode = 'step' THEN
			v_raw := (div(v_basis.n, v_basis.d * r.per) * r.points, 1);
		ELSE
			v_raw := (v_basis.n * r.points, v_basis.d * r.per);
		END IF;
		v_sum := rnd.plus(v_sum, v_raw);
	END LOOP;

	FOR i IN 1 .. cardinality(p_amounts) LOOP
		CONTINUE WHEN NOT p_earns[i];
		v_line := (0, 1);
		FOR r IN SELECT * FROM rnd.rule
			WHERE w = p_w AND applies_to = 'line' AND p_day BETWEEN valid_from AND valid_to
		LOOP
			-- the line's part of the basis
			v_raw := (v_basis.n * p_amounts[i], v_basis.d * v_earning);
			IF r.mode = 'step' THEN
				v_raw := (div(v_raw.n, v_raw.d * r.per) * r.points, 1);
			ELSE
				v_raw := (v_raw.n * r.points, v_raw.d * r.per);
			END IF;
			v_line := rnd.plus(v_line, v_raw);
		END LOOP;
		IF v.scope = 'line' THEN
			v_line.n := v_line.n * v.tier_rate;
			v_award.points := v_award.points + rnd.round_to(v_line, v.unit, v.rounding);
		ELSE
			v_sum := rnd.plus(v_sum, v_line);
		END IF;
	END LOOP;

	v_sum.n := v_sum.n * v.tier_rate;
	v_award.exact := v_sum.n / v_sum.d;
	IF v.scope <> 'line' THEN
		v_award.points := rnd.round_to(v_sum, v.unit, v.rounding);
	END IF;
	RETURN v_award;
END
$$;

-- the ERP's documents, cut into pieces: each piece is on its own (no root) or
-- belongs to the family of a sale
CREATE UNLOGGED TABLE rnd.doc (
	w text, src text, key text, customer text, at timestamptz, day date, counts boolean,
	of_key text, total numeric, paid numeric,
	PRIMARY KEY (w, src, key));
CREATE UNLOGGED TABLE rnd.piece (
	w text, src text, key text, root_src text, root_key text, dead boolean,
	line text, of_line text, amount numeric, earns boolean);
CREATE INDEX ON rnd.piece (w, src, key);
CREATE INDEX ON rnd.piece (w, root_key) WHERE root_key IS NOT NULL;
CREATE UNLOGGED TABLE rnd.due (
	w text, src text, key text, customer text, at timestamptz, root_key text,
	points numeric, exact numeric, overcredited numeric);
CREATE INDEX ON rnd.due (w, src, key);

-- runs in which a document was given another date
CREATE TABLE rnd.redated (run text PRIMARY KEY);

-- does a return whose sale nobody ever saw stand on its own (see
-- source.unlinked), or does it move nothing until the sale appears?
CREATE FUNCTION rnd.orphans_move() RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT false $$;

-- was this sale ever booked?
CREATE FUNCTION rnd.known(p_w text, p_src text, p_key text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM loyalty.document d
		WHERE d.source_id = (SELECT s.source_id FROM loyalty.source s WHERE s.name = p_w || '_' || p_src)
			AND d.doc_key = p_key)
$$;

CREATE FUNCTION rnd.load(p_run text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE rnd.doc, rnd.piece;
	IF p_run IS NULL THEN
		INSERT INTO rnd.doc SELECT w, src, key, customer, at, day, counts, of_key, total * sign * fx, paid * fx
			FROM rnd.erp_doc;
		CREATE TEMP TABLE erp_line AS SELECT * FROM rnd.erp_line;
	ELSE
		INSERT INTO rnd.doc SELECT w, src, key, customer, at, day, counts, of_key, total * sign * fx, paid * fx
			FROM rnd.erp_doc WHERE rnd.run(key) = p_run;
		CREATE TEMP TABLE erp_line AS SELECT * FROM rnd.erp_line WHERE rnd.run(key) = p_run;
	END IF;
	CREATE INDEX ON erp_line (w, src, parent);
	CREATE INDEX ON erp_line (w, src, key);
	ANALYZE rnd.doc;
	ANALYZE erp_line;

	-- invoices and credit notes: by line; what is not linked by line goes
	-- where the document is linked to
	INSERT INTO rnd.piece
		SELECT d.w, d.src, d.key, 'inv', coalesce(o.parent, d.of_key), false,
			l.key, o.key, l.amount, l.earns
		FROM rnd.doc d
			JOIN erp_line l ON l.w = d.w AND l.src = d.src AND l.parent = d.key
			LEFT JOIN erp_line o ON o.w = l.w AND o.src = 'inv' AND o.key = l.of_line;

	-- credit notes without lines: the total
	INSERT INTO rnd.piece
		SELECT d.w, d.src, d.key, 'inv', d.of_key, false, NULL, NULL, d.total, true
		FROM rnd.doc d JOIN rnd.world w USING (w)
		WHERE d.src = 'crn' AND w.crn_amount AND d.total <> 0
			AND NOT EXISTS (SELECT FROM erp_line l WHERE l.w = d.w AND l.src = d.src AND l.parent = d.key);

	-- tickets: up the chain of links to the sale; the chain is dead when a
	-- return on the way does not count
	INSERT INTO rnd.piece
		WITH RECURSIVE chain AS (
			SELECT d.w, d.key, d.of_key AS root_key, false AS dead
			FROM rnd.doc d WHERE d.src = 'pos'
			UNION ALL
			SELECT c.w, c.key, p.of_key, c.dead OR NOT p.counts
			FROM chain c JOIN rnd.doc p ON p.w = c.w AND p.src = 'pos' AND p.key = c.root_key
			WHERE p.of_key IS NOT NULL)
		SELECT d.w, d.src, d.key, 'pos', c.root_key, c.dead, NULL, NULL, d.total, true
		FROM rnd.doc d JOIN chain c ON c.w = d.w AND c.key = d.key
		WHERE d.src = 'pos'
			AND NOT EXISTS (SELECT FROM rnd.doc p WHERE p.w = d.w AND p.src = 'pos'
				AND p.key = c.root_key AND p.of_key IS NOT NULL);

	-- a sale that nobody ever saw is none
	UPDATE rnd.piece p SET root_key = NULL
		WHERE root_key IS NOT NULL
			AND NOT EXISTS (SELECT FROM rnd.doc d WHERE d.w = p.w AND d.src = p.root_src AND d.key = p.root_key)
			AND rnd.orphans_move() AND NOT rnd.known(p.w, p.root_src, p.root_key);
	UPDATE rnd.piece SET root_src = NULL WHERE root_key IS NULL;
	DROP TABLE erp_line;
	ANALYZE rnd.piece;
END
$$;

CREATE FUNCTION rnd.compute() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	s record;
	r record;
	v_lines text[];
	v_left numeric[];
	v_earns boolean[];
	v_gross numeric;
	v_all numeric;			-- what the lines that remain add up to
	v_value numeric;		-- returned by value
	v_excess numeric;		-- returned but not there
	v_excess_new numeric;
	v_has rnd.award;
	v_will rnd.award;
	i integer;
BEGIN
	TRUNCATE rnd.due;

	-- what stands on its own: sales, and returns without an original
	FOR s IN
		SELECT d.w, d.src, d.key, d.customer, d.at, d.day, d.paid, w.unlinked,
			coalesce(sum(p.amount), 0) AS gross,
			array_agg(p.line ORDER BY p.line) FILTER (WHERE p.amount IS NOT NULL) AS lines,
			array_agg(p.amount ORDER BY p.line) FILTER (WHERE p.amount IS NOT NULL) AS amounts,
			array_agg(p.earns ORDER BY p.line) FILTER (WHERE p.amount IS NOT NULL) AS earns
		FROM rnd.doc d JOIN rnd.world w USING (w) LEFT JOIN rnd.piece p USING (w, src, key)
		WHERE d.counts AND d.customer IS NOT NULL AND p.root_key IS NULL
		GROUP BY d.w, d.src, d.key, w.unlinked
	LOOP
		IF s.gross < 0 THEN
			v_has := (0, 0);
			IF s.unlinked = 'negative' THEN
				FOR i IN 1 .. cardinality(s.amounts) LOOP
					s.amounts[i] := -s.amounts[i];
				END LOOP;
				v_has := rnd.award(s.w, s.day, -s.gross, 0, s.amounts, s.earns, -s.gross);
			END IF;
			INSERT INTO rnd.due VALUES (s.w, s.src, s.key, s.customer, s.at, '', -v_has.points, -v_has.exact, 0);
			CONTINUE;
		END IF;

		v_has := rnd.award(s.w, s.day, s.gross, s.paid, s.amounts, s.earns, s.gross);
		INSERT INTO rnd.due VALUES (s.w, s.src, s.key, s.customer, s.at, '', v_has.points, v_has.exact, 0);

		-- its family: every return takes what then remains from what was
		-- there, and from whom it was given to, whoever brings it back
		v_left := s.amounts;
		v_gross := s.gross;
		v_value := 0;
		v_excess := 0;
		FOR r IN
			SELECT d.src, d.key, d.at, jsonb_agg(jsonb_build_object('line', p.of_line, 'amount', p.amount)) AS pieces
			FROM rnd.piece p JOIN rnd.doc d USING (w, src, key)
			WHERE p.w = s.w AND p.root_src = s.src AND p.root_key = s.key AND d.counts AND NOT p.dead
			GROUP BY d.src, d.key, d.at ORDER BY d.at, d.key
		LOOP
			FOR i IN 0 .. jsonb_array_length(r.pieces) - 1 LOOP
				IF r.pieces -> i ->> 'line' = ANY (s.lines) THEN
					v_left[array_position(s.lines, r.pieces -> i ->> 'line')] :=
						v_left[array_position(s.lines, r.pieces -> i ->> 'line')] + (r.pieces -> i ->> 'amount')::numeric;
				ELSE
					v_value := v_value - (r.pieces -> i ->> 'amount')::numeric;
				END IF;
			END LOOP;
			v_all := 0;
			v_excess_new := 0;
			v_lines := '{}';
			FOR i IN 1 .. coalesce(cardinality(v_left), 0) LOOP
				IF s.amounts[i] >= 0 THEN
					v_all := v_all + greatest(v_left[i], 0);
					v_excess_new := v_excess_new + greatest(-v_left[i], 0);
					v_lines[i] := greatest(v_left[i], 0);
				ELSE
					v_all := v_all + v_left[i];
					v_lines[i] := v_left[i];
				END IF;
			END LOOP;
			v_excess_new := v_excess_new + greatest(v_value - greatest(v_all, 0), 0);
			v_will := rnd.award(s.w, s.day, v_gross, s.paid, v_lines::numeric[], s.earns, v_all - v_value);
			INSERT INTO rnd.due VALUES (s.w, r.src, r.key, s.customer, r.at, s.key,
				v_will.points - v_has.points, v_will.exact - v_has.exact, greatest(v_excess_new - v_excess, 0));
			v_has := v_will;
			v_excess := v_excess_new;
		END LOOP;
	END LOOP;
END
$$;

-- runs with a link to a document that is not there any more
CREATE VIEW rnd.gone AS
	SELECT DISTINCT rnd.run(d.key) AS run FROM rnd.doc d
	WHERE d.of_key IS NOT NULL AND NOT EXISTS (SELECT FROM rnd.doc o WHERE o.w = d.w
		AND o.src = CASE d.src WHEN 'crn' THEN 'inv' ELSE d.src END AND o.key = d.of_key);

/*
 * Histories for which the papers do not say what is right; the generator does
 * not make any, and the search for a minimal history must not wander there.
 */
CREATE FUNCTION rnd.unclear() RETURNS TABLE (run text, why text)
LANGUAGE sql STABLE AS $$
	SELECT rnd.run(d.key), 'the header''s amount is not the lines'''
		FROM rnd.doc d JOIN rnd.world w USING (w)
		WHERE (d.src = 'inv' AND w.inv_amount AND d.total IS DISTINCT FROM
				(SELECT coalesce(sum(p.amount), 0) FROM rnd.piece p WHERE (p.w, p.src, p.key) = (d.w, d.src, d.key)))
			OR (d.src = 'crn' AND w.crn_amount AND d.total IS DISTINCT FROM
				(SELECT coalesce(sum(p.amount), 0) FROM rnd.piece p WHERE (p.w, p.src, p.key) = (d.w, d.src, d.key)))
	UNION SELECT rnd.run(p.key), 'line link into another document, or nowhere'
		FROM rnd.erp_line l JOIN rnd.doc p ON p.w = l.w AND p.src = 'crn' AND p.key = l.parent
			LEFT JOIN rnd.erp_line o ON o.w = l.w AND o.src = 'inv' AND o.key = l.of_line
		WHERE l.src = 'crn' AND l.of_line IS NOT NULL
			AND (o.key IS NOT NULL AND o.parent IS DISTINCT FROM coalesce(p.of_key, o.parent)
				OR o.key IS NULL AND p.of_key IS NULL
				OR o.key IS NULL AND EXISTS (SELECT FROM rnd.doc s WHERE s.w = p.w AND s.src = 'inv' AND s.key = p.of_key)
				OR p.of_key IS NULL AND NOT EXISTS (SELECT FROM rnd.doc s WHERE s.w = p.w AND s.src = 'inv' AND s.key = o.parent))
	UNION SELECT rnd.run(d.key), 'a ticket of the wrong sign for its link'
		FROM rnd.doc d LEFT JOIN rnd.doc o ON o.w = d.w AND o.src = 'pos' AND o.key = d.of_key
		WHERE d.src = 'pos' AND d.of_key IS NOT NULL
			AND (d.total > 0 AND o.key IS NOT NULL AND coalesce(o.total >= 0 OR o.of_key IS NULL OR o.total + d.total > 0, true)
				OR d.total < 0 AND (o.total < 0 OR o.of_key IS NOT NULL))
	UNION SELECT rnd.run(d.key), 'the returned document is itself negative'
		FROM rnd.piece p JOIN rnd.doc d ON d.w = p.w AND d.src = p.root_src AND d.key = p.root_key
		GROUP BY d.w, d.src, d.key, d.total
		HAVING (d.src = 'pos' AND d.total < 0) OR (d.src = 'inv' AND (SELECT sum(l.amount) FROM rnd.piece l
			WHERE (l.w, l.src, l.key) = (d.w, d.src, d.key)) < 0)
	UNION SELECT rnd.run(d.key), 'an invoice below zero'
		FROM rnd.piece p JOIN rnd.doc d USING (w, src, key) WHERE d.src = 'inv'
		GROUP BY d.w, d.src, d.key HAVING sum(p.amount) < 0
	UNION SELECT rnd.run(p.key), 'a rate other than 1, and a return without an original'
		FROM rnd.piece p JOIN rnd.world w USING (w) JOIN rnd.doc d USING (w, src, key)
		WHERE w.tier_rate <> 1 AND p.root_key IS NULL AND p.amount < 0 AND d.src <> 'inv'
$$;

/*
 * What is booked, against what is due.  Call after load() and compute().
 */
CREATE FUNCTION rnd.mismatches(p_run text DEFAULT NULL)
RETURNS TABLE (w text, run text, what text, who text, due numeric, booked numeric)
LANGUAGE sql AS $$
	WITH booked AS MATERIALIZED (
		SELECT p.name AS w, substr(s.name, length(p.name) + 2) AS src, d.doc_key AS key, m.customer, d.points, d.overcredited
		FROM loyalty.document d JOIN loyalty.source s USING (source_id)
			JOIN loyalty.program p USING (program_id) JOIN loyalty.member m USING (member_id)
		WHERE p_run IS NULL OR rnd.run(d.doc_key) = p_run),
	entered AS MATERIALIZED (
		SELECT p.name AS w, substr(s.name, length(p.name) + 2) AS src, e.doc_key AS key, m.customer, e.points, e.kind, e.occurred_at
		FROM loyalty.entry e JOIN loyalty.source s USING (source_id)
			JOIN loyalty.program p USING (program_id) JOIN loyalty.member m USING (member_id)
		WHERE p_run IS NULL OR rnd.run(e.doc_key) = p_run),
	due AS MATERIALIZED (
		SELECT * FROM rnd.due WHERE p_run IS NULL OR rnd.run(key) = p_run),
	exact AS (SELECT w FROM rnd.world WHERE oracle = 'exact'),
	-- document by document, and for whom
	a AS (SELECT w, src, key, customer, sum(points) AS points, sum(overcredited) AS over FROM due GROUP BY 1, 2, 3, 4),
	b AS (SELECT w, src, key, customer, sum(points) AS points, sum(overcredited) AS over FROM booked GROUP BY 1, 2, 3, 4),
	c AS (SELECT w, src, key, customer, sum(points) AS points FROM entered GROUP BY 1, 2, 3, 4),
	-- and customer by customer
	f AS (SELECT w, customer, sum(points) AS points, sum(exact) AS exact FROM due GROUP BY 1, 2),
	g AS (SELECT p.name AS w, m.customer, m.balance, m.debt, p.point_unit, p.negative,
			loyalty.balance(p.name, m.customer) AS told
		FROM loyalty.member m JOIN loyalty.program p USING (program_id)
		WHERE p_run IS NULL OR rnd.run(m.customer) = p_run)
	SELECT w, rnd.run(key), 'document ' || src, key || ' of ' || customer, coalesce(a.points, 0), coalesce(b.points, 0)
		FROM a FULL JOIN b USING (w, src, key, customer) JOIN exact USING (w)
		WHERE coalesce(a.points, 0) <> coalesce(b.points, 0)
	UNION ALL
	SELECT w, rnd.run(key), 'entries of ' || src, key || ' of ' || customer, coalesce(a.points, 0), coalesce(c.points, 0)
		FROM a FULL JOIN c USING (w, src, key, customer) JOIN exact USING (w)
		WHERE coalesce(a.points, 0) <> coalesce(c.points, 0)
	UNION ALL
	SELECT w, rnd.run(key), 'overcredited ' || src, key || ' of ' || customer, coalesce(a.over, 0), coalesce(b.over, 0)
		FROM a FULL JOIN b USING (w, src, key, customer) JOIN exact USING (w)
		WHERE coalesce(a.over, 0) <> coalesce(b.over, 0)
	UNION ALL
	SELECT w, rnd.run(customer), 'balance', customer, coalesce(f.points, 0), coalesce(g.balance, 0)
		FROM f FULL JOIN g USING (w, customer) JOIN exact USING (w)
		WHERE coalesce(f.points, 0) <> coalesce(g.balance, 0) OR g.told IS DISTINCT FROM g.balance
	UNION ALL
	-- a remainder that is carried along is less than one unit
	SELECT w, rnd.run(customer), 'balance (carry)', customer, round(coalesce(f.exact, 0), 6), coalesce(g.balance, 0)
		FROM f FULL JOIN g USING (w, customer) JOIN rnd.world v USING (w)
		WHERE v.oracle = 'carry' AND abs(coalesce(f.exact, 0) - coalesce(g.balance, 0)) >= v.unit
	UNION ALL
	SELECT w, rnd.run(customer), 'balance below zero', customer, 0, g.balance
		FROM g WHERE g.negative = 'write_off' AND (g.balance < 0 OR g.debt <> 0)
	UNION ALL
	-- by business time; a document that was given another date is a case of its own
	SELECT w, rnd.run(customer), 'balance as of ' || at, customer, points, told
		FROM (SELECT g.w, g.customer, t.at, loyalty.balance(g.w, g.customer, t.at) AS told,
				(SELECT coalesce(sum(due.points), 0) FROM due
					WHERE due.w = g.w AND due.customer = g.customer AND due.at <= t.at) AS points
			FROM g JOIN exact USING (w) CROSS JOIN (VALUES (timestamptz '2024-06-15 12:00+00')) t(at)
			WHERE rnd.run(g.customer) NOT IN (SELECT run FROM rnd.redated)) x
		WHERE told <> points
	UNION ALL
	-- a sale earns for the first time only once
	SELECT w, rnd.run(key), 'earn entries', key || ' of ' || customer, 1, count(*)
		FROM entered WHERE kind = 'earn' GROUP BY w, src, key, customer HAVING count(*) > 1
	UNION ALL
	-- no family is below zero or above what it earned
	SELECT s.w, rnd.run(s.key), 'family', s.key || ' of ' || s.customer, s.points, s.points + sum(b.points)
		FROM due s JOIN due r ON r.w = s.w AND r.root_key = s.key
			JOIN booked b ON b.w = r.w AND b.src = r.src AND b.key = r.key AND b.customer = s.customer
		WHERE s.root_key = '' AND s.w IN (SELECT w FROM exact)
			AND NOT EXISTS (SELECT FROM due t WHERE t.w = r.w AND t.key = r.key AND t.root_key <> s.key)
		GROUP BY s.w, s.key, s.customer, s.points
		HAVING s.points + sum(b.points) NOT BETWEEN 0 AND s.points
$$;
