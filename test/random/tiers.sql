/*
 * Tiers: the way matters here, because the tier of a document is what the
 * member had reached before it.  So the ways are given: documents inserted one
 * by one in order of (date, key), and the same documents in bulk in any order,
 * have to make the same entries, lots, members and document rows; and a loop
 * over the documents says which.
 *
 * psql variable: seed
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SET timezone = 'UTC';

CREATE SCHEMA tiers;
-- the documents, once; returns are later than their sales
CREATE TABLE tiers.data (
	n		integer PRIMARY KEY,
	key		text NOT NULL,
	customer text NOT NULL,
	at		timestamptz NOT NULL,
	total	numeric NOT NULL,
	of_key	text);
CREATE TABLE tiers.config (
	c			text PRIMARY KEY,
	crossing	text NOT NULL,
	unit		numeric NOT NULL,
	rounding	text NOT NULL,
	unlinked	text NOT NULL,
	tiers		numeric[] NOT NULL,		-- {threshold, rate, ...}
	points		numeric NOT NULL,
	per			numeric NOT NULL);
INSERT INTO tiers.config VALUES
	('new', 'new', 1, 'down', 'negative', '{0,1, 2000,1.5, 6000,2}', 1, 300),
	('old', 'old', 0.01, 'half_up', 'negative', '{0,1, 2000,1.5, 6000,2}', 1, 7),
	('late', 'new', 0.1, 'half_even', 'ignore', '{500,1.25, 3000.5,3}', 2, 9);
-- one: each document its own transaction; rest: all at once, see below
CREATE TABLE tiers.way (way text PRIMARY KEY, evaluate text NOT NULL);
INSERT INTO tiers.way VALUES ('one', 'commit'), ('bulk', 'commit'), ('statement', 'statement'), ('queue', 'queue'),
	('loop', 'commit'), ('lines', 'commit'), ('backfill', 'commit');

SELECT setseed((:seed % 100000) / 100000.0) \g /dev/null
DO $data$
DECLARE
	v_at timestamptz := '2024-01-01 08:00+00';
	v_sale record;
	v_total numeric;
BEGIN
	FOR i IN 1 .. 400 LOOP
		-- now and then at the same instant; then the key decides
		v_at := v_at + CASE WHEN random() < 0.2 THEN interval '0' ELSE (random() * 1000)::int * interval '1 minute' END;
		v_total := (random() * 100000)::int / 100.0 + CASE WHEN random() < 0.1 THEN 2000 ELSE 0 END;
		-- exactly at a threshold
		IF random() < 0.15 THEN
			v_total := 500 * (1 + (random() * 5)::int);
		END IF;
		SELECT key, customer, total INTO v_sale FROM tiers.data
			WHERE total > 0 AND random() < 0.3 ORDER BY n DESC OFFSET (random() * 20)::int LIMIT 1;
		IF random() < 0.2 AND v_sale.key IS NOT NULL THEN
			INSERT INTO tiers.data VALUES (i, 'D' || to_char(i, 'FM0000'), v_sale.customer, v_at,
				-CASE WHEN random() < 0.4 THEN v_sale.total ELSE round(v_sale.total / 3, 2) END, v_sale.key);
		ELSIF random() < 0.06 THEN
			INSERT INTO tiers.data VALUES (i, 'D' || to_char(i, 'FM0000'), 'C' || (random() * 30)::int, v_at, -round(v_total / 4, 2) - 0.01, NULL);
		ELSE
			INSERT INTO tiers.data VALUES (i, 'D' || to_char(i, 'FM0000'), 'C' || (random() * 30)::int, v_at, v_total, NULL);
		END IF;
	END LOOP;
END
$data$;

DO $setup$
DECLARE
	c record;
	v_name text;
BEGIN
	FOR c IN SELECT * FROM tiers.config, tiers.way LOOP
		v_name := c.c || '_' || c.way;
		PERFORM loyalty.create_program(v_name, time_zone => 'Europe/Berlin', point_unit => c.unit, rounding => c.rounding, crossing => c.crossing);
		FOR i IN 1 .. cardinality(c.tiers) / 2 LOOP
			PERFORM loyalty.set_tier(v_name, 'tier ' || i, c.tiers[2 * i - 1], c.tiers[2 * i]);
		END LOOP;
		PERFORM loyalty.set_rule(v_name, 'base', c.points, c.per);
		EXECUTE format('CREATE TABLE tiers.%I (key text PRIMARY KEY, customer text, at timestamptz, total numeric, of_key text)', v_name);
		EXECUTE format('CREATE TABLE tiers.%I (parent text, no integer, amount numeric, PRIMARY KEY (parent, no))', v_name || '_line');
		EXECUTE format('CREATE INDEX ON tiers.%I (of_key)', v_name);
		IF c.way = 'lines' THEN
			PERFORM loyalty.attach(v_name, v_name, format('tiers.%I', v_name)::regclass, key => 'r.key', customer => 'r.customer',
				doc_date => 'r.at', return_of => 'r.of_key', lines => format('tiers.%I', v_name || '_line')::regclass,
				line_parent => 'l.parent', line_key => '(l.parent, l.no)', line_amount => 'l.amount',
				evaluate => c.evaluate, unlinked => c.unlinked);
		ELSE
			PERFORM loyalty.attach(v_name, v_name, format('tiers.%I', v_name)::regclass, key => 'r.key', customer => 'r.customer',
				doc_date => 'r.at', amount => 'r.total', return_of => 'r.of_key', evaluate => c.evaluate, unlinked => c.unlinked);
		END IF;
	END LOOP;
END
$setup$;

-- one by one, each in its own transaction
SELECT format('INSERT INTO tiers.%I VALUES (%L, %L, %L, %L, %L)', c || '_one', key, customer, at, total, of_key)
	FROM tiers.config, tiers.data ORDER BY c, at, key \gexec
-- by one statement, in any order
SELECT format('INSERT INTO tiers.%I SELECT key, customer, at, total, of_key FROM tiers.data ORDER BY md5(key)', c || '_' || way)
	FROM tiers.config, tiers.way WHERE way IN ('bulk', 'statement', 'queue') ORDER BY 1 \gexec
-- one by one, but in one transaction and backwards
BEGIN;
SELECT format('INSERT INTO tiers.%I VALUES (%L, %L, %L, %L, %L)', c || '_loop', key, customer, at, total, of_key)
	FROM tiers.config, tiers.data ORDER BY c, n DESC \gexec
COMMIT;
-- every document in two lines, all lines before all headers
SELECT unnest(ARRAY['BEGIN',
		format('INSERT INTO tiers.%I SELECT key, i, CASE i WHEN 1 THEN trunc(total / 3, 2) ELSE total - trunc(total / 3, 2) END FROM tiers.data, generate_series(1, 2) i ORDER BY md5(key)', c || '_lines_line'),
		format('INSERT INTO tiers.%I SELECT key, customer, at, NULL, of_key FROM tiers.data ORDER BY md5(key || 1)', c || '_lines'),
		'COMMIT'])
	FROM tiers.config \gexec
-- behind the engine's back
SET session_replication_role = replica;
SELECT format('INSERT INTO tiers.%I SELECT key, customer, at, total, of_key FROM tiers.data ORDER BY md5(key)', c || '_backfill') FROM tiers.config \gexec
SET session_replication_role = origin;
\o /dev/null
SELECT format('CALL loyalty.backfill(%L, batch => 1000)', c || '_backfill') FROM tiers.config \gexec
-- the queue in one go: its documents are put in order only within a batch
CALL loyalty.upkeep(batch => 100000);
\o

CREATE TABLE tiers.want (c text, customer text, seq bigint, kind text, points numeric, at timestamptz, key text, tier text);
CREATE TABLE tiers.want_member (c text, customer text, balance numeric, qualifying numeric, tier text);

DO $oracle$
DECLARE
	c record;
	m record;
	d record;
	s record;
	v_qualifying numeric;
	v_balance numeric;
	v_seq bigint;
	v_rate numeric;
	v_reach numeric;
	v_tier integer;
	v_points numeric;
	v_part numeric;
	v_unit numeric;
BEGIN
	CREATE TEMP TABLE sold (key text PRIMARY KEY, gross numeric, rest numeric, rate numeric, points numeric);
	FOR c IN SELECT * FROM tiers.config LOOP
		FOR m IN SELECT DISTINCT customer FROM tiers.data LOOP
			TRUNCATE sold;
			v_qualifying := 0;
			v_balance := 0;
			v_seq := 0;
			-- originals are done before the returns that follow them in time anyway
			FOR d IN SELECT * FROM tiers.data WHERE customer = m.customer ORDER BY at, key LOOP
				v_points := 0;
				SELECT * INTO s FROM sold WHERE key = d.of_key;
				IF s.key IS NOT NULL THEN
					-- the sale's rate; no more than what is left of it
					v_part := least(-d.total, s.rest);
					v_rate := s.rate;
					v_points := (s.rest - v_part) * c.points * v_rate;
				ELSE
					v_reach := v_qualifying + CASE WHEN c.crossing = 'new' AND d.total >= 0 THEN d.total ELSE 0 END;
					v_rate := 1;
					v_tier := NULL;
					FOR i IN 1 .. cardinality(c.tiers) / 2 LOOP
						IF v_reach >= c.tiers[2 * i - 1] THEN
							v_rate := c.tiers[2 * i];
							v_tier := i;
						END IF;
					END LOOP;
					v_points := abs(d.total) * c.points * v_rate;
				END IF;
				-- to the unit: multiplied first, divided last
				v_unit := div(v_points, c.per * c.unit);
				v_part := v_points - v_unit * c.per * c.unit;
				IF c.rounding = 'half_up' AND 2 * v_part >= c.per * c.unit
					OR c.rounding = 'half_even' AND (2 * v_part > c.per * c.unit OR 2 * v_part = c.per * c.unit AND mod(v_unit, 2) = 1) THEN
					v_unit := v_unit + 1;
				END IF;
				v_points := v_unit * c.unit;
				IF s.key IS NOT NULL THEN
					v_part := least(-d.total, s.rest);
					UPDATE sold SET rest = rest - v_part, points = v_points WHERE key = d.of_key;
					v_points := v_points - s.points;
					v_qualifying := v_qualifying - v_part;
				ELSIF d.total >= 0 THEN
					INSERT INTO sold VALUES (d.key, d.total, d.total, v_rate, v_points);
					v_qualifying := v_qualifying + d.total;
				ELSIF c.unlinked = 'ignore' THEN
					v_points := 0;
				ELSE
					v_points := -v_points;
					v_qualifying := v_qualifying + d.total;
				END IF;
				IF v_points <> 0 THEN
					v_seq := v_seq + 1;
					v_balance := v_balance + v_points;
					INSERT INTO tiers.want VALUES (c.c, m.customer, v_seq,
						CASE WHEN d.total < 0 THEN 'return' ELSE 'earn' END, v_points, d.at, d.key,
						CASE WHEN d.total >= 0 AND v_tier IS NOT NULL THEN 'tier ' || v_tier END);
				END IF;
			END LOOP;
			v_tier := NULL;
			FOR i IN 1 .. cardinality(c.tiers) / 2 LOOP
				IF v_qualifying >= c.tiers[2 * i - 1] THEN
					v_tier := i;
				END IF;
			END LOOP;
			INSERT INTO tiers.want_member VALUES (c.c, m.customer, v_balance, v_qualifying, 'tier ' || v_tier);
		END LOOP;
	END LOOP;
END
$oracle$;

CREATE TABLE tiers.got AS
	SELECT split_part(p.name, '_', 1) AS c, split_part(p.name, '_', 2) AS way, m.customer, e.seq, e.kind, e.points, e.occurred_at AS at, e.doc_key AS key,
		t.name AS tier
	FROM loyalty.entry e JOIN loyalty.member m USING (member_id) JOIN loyalty.program p USING (program_id)
		JOIN loyalty.document d ON d.source_id = e.source_id AND d.doc_key = e.doc_key AND d.member_id = e.member_id
		LEFT JOIN loyalty.tier t ON t.tier_id = d.tier_id AND d.kind = 'sale'
	WHERE split_part(p.name, '_', 1) IN (SELECT c FROM tiers.config);
CREATE TABLE tiers.got_member AS
	SELECT split_part(p.name, '_', 1) AS c, split_part(p.name, '_', 2) AS way, m.customer, m.balance, trim_scale(m.qualifying) AS qualifying, t.name AS tier,
		m.debt, m.last_seq, m.joined_on,
		(SELECT jsonb_agg(jsonb_build_array(l.seq, l.is_open, l.points, l.remaining) ORDER BY l.seq) FROM loyalty.lot l WHERE l.member_id = m.member_id) AS lots,
		(SELECT jsonb_agg(jsonb_build_array(a.entry_seq, a.lot_seq, a.points) ORDER BY a.entry_seq, a.lot_seq) FROM loyalty.allocation a WHERE a.member_id = m.member_id) AS allocations
	FROM loyalty.member m JOIN loyalty.program p USING (program_id) LEFT JOIN loyalty.tier t ON t.tier_id = m.tier_id
	WHERE split_part(p.name, '_', 1) IN (SELECT c FROM tiers.config);

CREATE INDEX ON tiers.got (c, way, customer);
CREATE INDEX ON tiers.want (c, customer);
CREATE INDEX ON tiers.got_member (c, way, customer);
ANALYZE tiers.got;
ANALYZE tiers.want;

-- a customer's entries in one way, the first that differs
CREATE FUNCTION tiers.compare(p_c text, p_way text) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT CASE WHEN diff IS NULL THEN 'ok' ELSE 'not ok' END || ' - tiers, seed ' || current_setting('tiers.seed') || ': ' || p_c || ', ' || p_way
		|| ', customer ' || customer || coalesce(': ' || diff, '')
	FROM (
		SELECT customer, coalesce(
			(SELECT 'entry ' || seq || ' wanted ' || coalesce(nullif(concat_ws(' ', w.kind, w.points, w.at, w.key, w.tier), ''), 'none')
					|| ', got ' || coalesce(nullif(concat_ws(' ', g.kind, g.points, g.at, g.key, g.tier), ''), 'none')
				FROM (SELECT * FROM tiers.want WHERE (c, customer) = (p_c, u.customer)) w
					FULL JOIN (SELECT * FROM tiers.got WHERE (c, way, customer) = (p_c, p_way, u.customer)) g USING (seq)
				WHERE (w.kind, w.points, w.at, w.key, w.tier) IS DISTINCT FROM (g.kind, g.points, g.at, g.key, g.tier)
				ORDER BY seq LIMIT 1),
			(SELECT 'member wanted ' || concat_ws(' ', w.balance, w.qualifying, w.tier)
					|| ', got ' || coalesce(nullif(concat_ws(' ', g.balance, g.qualifying, g.tier), ''), 'none')
				FROM (SELECT * FROM tiers.want_member WHERE (c, customer) = (p_c, u.customer)) w
					LEFT JOIN (SELECT * FROM tiers.got_member WHERE (c, way, customer) = (p_c, p_way, u.customer)) g USING (customer)
				WHERE (w.balance, w.qualifying, w.tier) IS DISTINCT FROM (g.balance, g.qualifying, g.tier)),
			(SELECT (SELECT string_agg(k || ' ' || coalesce(v, 'none') || ' one by one, ' || coalesce(to_jsonb(b) ->> k, 'none') || ' here', '; ')
					FROM jsonb_each_text(to_jsonb(a)) e(k, v) WHERE k <> 'way' AND v IS DISTINCT FROM to_jsonb(b) ->> k)
				FROM tiers.got_member a JOIN tiers.got_member b USING (c, customer)
				WHERE (c, customer) = (p_c, u.customer) AND a.way = 'one' AND b.way = p_way
					AND (a.debt, a.last_seq, a.joined_on, a.lots, a.allocations) IS DISTINCT FROM (b.debt, b.last_seq, b.joined_on, b.lots, b.allocations))) AS diff
		FROM (SELECT DISTINCT customer FROM tiers.data) u) x
	ORDER BY customer
$$;
SET tiers.seed = :seed;
SELECT line FROM tiers.config, tiers.way, LATERAL tiers.compare(c, way) line ORDER BY c, way = 'one' DESC, way;
