-- Tiers of random histories against a plain account of them: every day one by
-- one, from the shop's own rows.  Half of the documents are of the future, and
-- reviewed on some days or on none.
\ir common.psql
SELECT no_plan();
SELECT setseed(0.42) \gset

CREATE TABLE shop.policy (program text, metric text, win text, months integer, ret integer, grace integer, dem text, returns text);
CREATE TABLE shop.ladder (program text, rank integer, name text, thr numeric, keep numeric);
CREATE TABLE shop.way (program text, rank integer, metric text, win text, months integer, thr numeric);
ALTER TABLE shop.invoice ADD program text;

CREATE FUNCTION shop.day(at timestamptz) RETURNS date LANGUAGE sql IMMUTABLE AS $$SELECT (at AT TIME ZONE 'Asia/Kolkata')::date$$;
-- the day before the window that a day is in
CREATE FUNCTION shop.before(win text, months integer, d date, joined date) RETURNS date LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v date;
BEGIN
	CASE win
		WHEN 'lifetime' THEN RETURN '-infinity';
		WHEN 'rolling' THEN RETURN (d - make_interval(months => months))::date;
		WHEN 'calendar_year' THEN RETURN (date_trunc('year', d::timestamp))::date - 1;
		ELSE
			FOR k IN REVERSE 20..-20 LOOP
				v := (joined + make_interval(years => k))::date;
				IF v <= d THEN
					RETURN v - 1;
				END IF;
			END LOOP;
	END CASE;
END $$;
CREATE FUNCTION shop.figure(metric text, days date[], nets numeric[], lo date) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	s numeric := 0;
BEGIN
	FOR i IN 1..coalesce(array_length(days, 1), 0) LOOP
		IF days[i] > lo THEN
			s := s + CASE metric WHEN 'amount' THEN nets[i] ELSE (nets[i] > 0)::integer END;
		END IF;
	END LOOP;
	RETURN s;
END $$;
CREATE FUNCTION shop.reached(p shop.policy, d date, joined date, days date[], nets numeric[], base date, lost integer) RETURNS integer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	l shop.ladder;
	f numeric := shop.figure(p.metric, days, nets, shop.before(p.win, p.months, d, joined));
BEGIN
	FOR l IN SELECT * FROM shop.ladder x WHERE x.program = p.program ORDER BY rank DESC LOOP
		IF l.rank <= lost AND l.keep IS NOT NULL AND p.win = 'lifetime' THEN
			IF shop.figure(p.metric, days, nets, base) >= l.keep THEN RETURN l.rank; END IF;
		ELSIF f >= (CASE WHEN l.rank <= lost THEN greatest(l.thr, l.keep) ELSE l.thr END) THEN
			RETURN l.rank;
		END IF;
		IF EXISTS (SELECT FROM shop.way w WHERE w.program = p.program AND w.rank = l.rank
			AND shop.figure(w.metric, days, nets, shop.before(w.win, w.months, d, joined)) >= w.thr) THEN
			RETURN l.rank;
		END IF;
	END LOOP;
	RETURN 0;
END $$;
-- through which day a tier is kept
CREATE FUNCTION shop.through(p shop.policy, rank integer, base date, joined date) RETURNS date LANGUAGE plpgsql STABLE AS $$
DECLARE
	u date;
BEGIN
	IF rank = 0 OR p.ret IS NULL OR p.dem = 'none' OR (SELECT l.thr = 0 FROM shop.ladder l WHERE l.program = p.program AND l.rank = through.rank) THEN
		RETURN 'infinity';
	END IF;
	u := (base + make_interval(months => p.ret))::date;
	IF p.win IN ('calendar_year', 'membership_year') THEN
		-- the last day whose window is the same
		WHILE shop.before(p.win, NULL, u + 1, joined) = shop.before(p.win, NULL, u, joined) LOOP
			u := u + 1;
		END LOOP;
	END IF;
	RETURN u;
END $$;

CREATE FUNCTION shop.oracle(program text, customer text, q timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	p shop.policy;
	joined date := (SELECT m.joined_on FROM loyalty.member m WHERE m.member_id = loyalty.member_id($1, $2));
	i record;
	j integer;
	rest numeric;
	-- what is known at the end, and what is seen so far
	ids integer[] := '{}';
	all_days date[] := '{}';
	all_nets numeric[] := '{}';
	days date[] := '{}';
	nets numeric[] := '{}';
	n integer := 0;
	v_rank integer;
	r integer;
	base date;
	until date;
	grace boolean := false;
	lost integer := 0;
	d date;
	need numeric;
BEGIN
	SELECT * INTO p FROM shop.policy x WHERE x.program = $1;
	-- what is left of every purchase, by what is known at q
	FOR i IN SELECT * FROM shop.invoice x WHERE x.program = $1 AND x.customer = $2 AND x.at <= q AND NOT x.cancelled
			ORDER BY x.at, x.return_of IS NOT NULL, x.id LOOP
		IF i.return_of IS NOT NULL THEN
			j := array_position(ids, i.return_of);
			all_nets[j] := all_nets[j] + i.total;
		ELSIF i.total < 0 THEN
			rest := -i.total;
			FOR j IN REVERSE coalesce(array_length(ids, 1), 0)..1 LOOP
				IF all_nets[j] > 0 THEN
					need := least(all_nets[j], rest);
					all_nets[j] := all_nets[j] - need;
					rest := rest - need;
				END IF;
			END LOOP;
			IF rest > 0 THEN
				ids := ids || i.id; all_days := all_days || shop.day(i.at); all_nets := all_nets || -rest;
			END IF;
		ELSE
			ids := ids || i.id; all_days := all_days || shop.day(i.at); all_nets := all_nets || i.total;
		END IF;
	END LOOP;
	v_rank := shop.reached(p, joined, joined, '{}', '{}', joined, 0);
	base := joined;
	until := shop.through(p, v_rank, base, joined);
	d := least(joined, coalesce(all_days[1], joined));
	WHILE d <= shop.day(q) LOOP
		-- the day begins
		IF p.ret IS NULL AND p.dem = 'to_earned' THEN
			v_rank := shop.reached(p, d, joined, days, nets, base, 0);
		ELSIF (NOT grace AND d = until + 1) OR (grace AND d = until + 1 + p.grace) THEN
			IF NOT grace AND shop.kept(p, v_rank, base, until, joined, days, nets) THEN
				base := until;
				until := shop.through(p, v_rank, base, joined);
			ELSIF NOT grace AND p.grace > 0 THEN
				grace := true;
			ELSE
				lost := greatest(lost, v_rank);
				v_rank := CASE p.dem WHEN 'one_level' THEN v_rank - 1
					ELSE least(v_rank - 1, shop.reached(p, until, joined, days, nets, base, lost)) END;
				base := d - 1;
				until := shop.through(p, v_rank, base, joined);
				grace := false;
			END IF;
		END IF;
		-- what is bought on it
		WHILE n < coalesce(array_length(all_days, 1), 0) AND all_days[n + 1] = d LOOP
			n := n + 1;
			days := days || all_days[n];
			nets := nets || all_nets[n];
			r := shop.reached(p, d, joined, days, nets, base, lost);
			IF p.ret IS NULL AND p.dem = 'to_earned' THEN
				v_rank := r;
			ELSIF r > v_rank THEN
				v_rank := r;
				base := d;
				until := shop.through(p, v_rank, base, joined);
				grace := false;
				lost := CASE WHEN v_rank >= lost THEN 0 ELSE lost END;
			ELSIF grace AND shop.kept(p, v_rank, base, until, joined, days, nets) THEN
				base := until;
				until := shop.through(p, v_rank, base, joined);
				grace := false;
			END IF;
		END LOOP;
		d := d + 1;
	END LOOP;
	RETURN (SELECT l.name FROM shop.ladder l WHERE l.program = $1 AND l.rank = v_rank);
END $$;
CREATE FUNCTION shop.kept(p shop.policy, rank integer, base date, until date, joined date, days date[], nets numeric[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM shop.ladder l WHERE l.program = p.program AND l.rank = $2
			AND shop.figure(p.metric, days, nets, CASE WHEN p.win = 'lifetime' AND l.keep IS NOT NULL THEN base
				ELSE shop.before(p.win, p.months, until, joined) END) >= coalesce(l.keep, l.thr))
		OR EXISTS (SELECT FROM shop.way w WHERE w.program = p.program AND w.rank >= $2
			AND shop.figure(w.metric, days, nets, shop.before(w.win, w.months, until, joined)) >= w.thr)
$$;

-- policies of every kind
INSERT INTO shop.policy VALUES
	('r0', 'amount', 'rolling', 6, NULL, 0, 'to_earned', 'recompute'),
	('r1', 'amount', 'rolling', 12, 12, 0, 'to_earned', 'recompute'),
	('r2', 'amount', 'rolling', 1, 3, 10, 'one_level', 'recompute'),
	('r3', 'documents', 'rolling', 3, 6, 0, 'one_level', 'recompute'),
	('r4', 'amount', 'lifetime', NULL, 12, 0, 'one_level', 'recompute'),
	('r5', 'amount', 'lifetime', NULL, 6, 20, 'to_earned', 'recompute'),
	('r6', 'amount', 'calendar_year', NULL, NULL, 0, 'to_earned', 'recompute'),
	('r7', 'amount', 'calendar_year', NULL, 12, 31, 'to_earned', 'recompute'),
	('r8', 'amount', 'membership_year', NULL, 12, 0, 'one_level', 'recompute'),
	('r9', 'documents', 'membership_year', NULL, NULL, 0, 'to_earned', 'recompute'),
	('ra', 'amount', 'rolling', 12, 12, 0, 'none', 'recompute'),
	('rb', 'amount', 'lifetime', NULL, NULL, 0, 'to_earned', 'recompute'),
	('rc', 'amount', 'calendar_year', NULL, NULL, 0, 'none', 'recompute');
INSERT INTO shop.ladder SELECT p.program, l.* FROM shop.policy p, (VALUES (1, 'Basic', 0), (2, 'Silver', 10), (3, 'Gold', 20), (4, 'Platinum', 40)) l;
UPDATE shop.ladder SET thr = thr / 10 WHERE program IN ('r3', 'r9');
UPDATE shop.ladder SET keep = thr / 2 WHERE program IN ('r4', 'r5', 'r7') AND rank > 1;
UPDATE shop.ladder SET keep = thr * 1.5 WHERE program = 'r1' AND rank = 3;
INSERT INTO shop.way VALUES ('r1', 3, 'documents', 'calendar_year', NULL, 6), ('r1', 4, 'amount', 'rolling', 1, 25),
	('rb', 2, 'documents', 'rolling', 2, 3), ('rb', 3, 'amount', 'calendar_year', NULL, 15), ('r8', 2, 'documents', 'rolling', 1, 2);
INSERT INTO shop.policy SELECT 'f' || program, metric, win, months, ret, grace, dem, returns FROM shop.policy;
INSERT INTO shop.ladder SELECT 'f' || program, rank, name, thr, keep FROM shop.ladder;
INSERT INTO shop.way SELECT 'f' || program, rank, metric, win, months, thr FROM shop.way;
-- the same again, and only reviewed at the end
INSERT INTO shop.policy SELECT 'l' || program, metric, win, months, ret, grace, dem, returns FROM shop.policy WHERE program LIKE 'f%';
INSERT INTO shop.ladder SELECT 'l' || program, rank, name, thr, keep FROM shop.ladder WHERE program LIKE 'f%';
INSERT INTO shop.way SELECT 'l' || program, rank, metric, win, months, thr FROM shop.way WHERE program LIKE 'f%';

DO $$
DECLARE
	p shop.policy;
	l shop.ladder;
	w shop.way;
BEGIN
	FOR p IN SELECT * FROM shop.policy LOOP
		PERFORM loyalty.create_program(p.program, 'Asia/Kolkata');
		PERFORM loyalty.set_rule(p.program, 'base', 1, 1);
		FOR l IN SELECT * FROM shop.ladder x WHERE x.program = p.program LOOP
			PERFORM loyalty.set_tier(p.program, l.name, l.thr, keep_threshold => l.keep);
		END LOOP;
		PERFORM loyalty.set_tier_policy(p.program, p.metric, p.win, p.months, p.ret, p.grace, p.dem, p.returns);
		FOR w IN SELECT * FROM shop.way x WHERE x.program = p.program LOOP
			PERFORM loyalty.set_tier_path(p.program, (SELECT x.name FROM shop.ladder x WHERE x.program = p.program AND x.rank = w.rank),
				w.metric, w.win, w.months, w.thr);
		END LOOP;
		PERFORM loyalty.attach(p.program, p.program, 'shop.invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total',
			void => 'r.cancelled', return_of => 'r.return_of', filter => format('r.program = %L', p.program), evaluate => 'statement');
		PERFORM loyalty.enrol(p.program, c, CASE WHEN p.program LIKE 'r%' THEN date '2020-02-29' ELSE date '2032-02-29' END + k::integer - 1)
			FROM unnest('{a,b,c}'::text[]) WITH ORDINALITY x (c, k);
	END LOOP;
END $$;

-- what happens, in every programme of a kind alike
CREATE FUNCTION shop.play(kind text, first date, seed integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	p text;
	c text;
	k integer := seed;
	s shop.invoice;
	t timestamptz;
	dice float;
BEGIN
	FOR p IN SELECT x.program FROM shop.policy x WHERE x.program LIKE kind || '%' ORDER BY 1 LOOP
		FOREACH c IN ARRAY '{a,b,c}'::text[] LOOP
			FOR step IN 1..14 LOOP
				k := k + 1;
				dice := random();
				t := first + random() * 1000 * interval '1 day';
				IF dice < 0.15 THEN		-- on a boundary
					t := (date_trunc('month', t AT TIME ZONE 'Asia/Kolkata') AT TIME ZONE 'Asia/Kolkata') - CASE WHEN random() < 0.5 THEN interval '1 second' ELSE interval '0' END;
				END IF;
				SELECT * INTO s FROM shop.invoice x WHERE x.program = p AND x.customer = c AND x.total > 0 AND NOT x.cancelled
					AND NOT EXISTS (SELECT FROM shop.invoice y WHERE y.return_of = x.id) ORDER BY random() LIMIT 1;
				IF dice < 0.7 OR s.id IS NULL THEN
					INSERT INTO shop.invoice (id, program, customer, at, total) VALUES (k, p, c, t, (1 + random() * 14)::integer);
				ELSIF dice < 0.85 THEN
					INSERT INTO shop.invoice (id, program, customer, at, total, return_of)
						VALUES (k, p, c, s.at + random() * 200 * interval '1 day', -(s.total * (1 + (random() * 3)::integer) / 4), s.id);
				ELSIF dice < 0.9 THEN
					INSERT INTO shop.invoice (id, program, customer, at, total) VALUES (k, p, c, t, -(1 + random() * 4)::integer);
				ELSIF dice < 0.95 THEN
					UPDATE shop.invoice SET cancelled = true WHERE id = s.id;
				ELSE
					UPDATE shop.invoice SET total = total + 3 WHERE id = s.id;
				END IF;
				IF kind = 'f' AND random() < 0.3 THEN
					PERFORM loyalty.review_tiers(first + random() * 1000 * interval '1 day');
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
SELECT shop.play('r', '2020-03-15', 0) \gset
SELECT shop.play('f', '2032-03-15', 10000) \gset
-- the third kind learns the same in another order, all at once
INSERT INTO shop.invoice (id, program, customer, at, total, return_of, cancelled)
	SELECT i.id + 10000, 'l' || i.program, i.customer, i.at, i.total, i.return_of + 10000, i.cancelled FROM shop.invoice i
	WHERE i.program LIKE 'f%' ORDER BY random();

-- every tier at instants before, at and after each document and boundary
CREATE TABLE shop.asked AS
	SELECT p.program, c.c AS customer, q.q FROM shop.policy p, unnest('{a,b,c}'::text[]) c (c),
	LATERAL (SELECT x.q FROM (
			SELECT i.at + g * interval '1 microsecond' AS q FROM shop.invoice i, generate_series(-1, 0) g WHERE i.program = p.program AND i.customer = c.c
			UNION ALL
			SELECT (d AT TIME ZONE 'Asia/Kolkata') + g * interval '1 microsecond' FROM shop.invoice i, generate_series(-1, 0) g,
				LATERAL (VALUES ((shop.day(i.at) + make_interval(months => coalesce(p.ret, p.months, 12)) + interval '1 day')::timestamp),
					((shop.day(i.at) + make_interval(months => coalesce(p.ret, p.months, 12)) + make_interval(days => p.grace + 1))::timestamp),
					(date_trunc('year', i.at + interval '1 year')::timestamp)) v (d)
			WHERE i.program = p.program AND i.customer = c.c) x ORDER BY random() LIMIT 10) q
	WHERE p.program NOT LIKE 'l%';
SELECT cmp_ok((SELECT count(*) FROM shop.asked), '>', 500::bigint, 'hundreds of instants are asked');
SELECT is_empty(format($$SELECT a.*, loyalty.tier(a.program, a.customer, a.q), shop.oracle(a.program, a.customer, a.q) FROM shop.asked a
	WHERE a.program = %L AND loyalty.tier(a.program, a.customer, a.q) IS DISTINCT FROM shop.oracle(a.program, a.customer, a.q)$$, p.program),
	p.program || ': every instant') FROM shop.policy p WHERE p.program NOT LIKE 'l%' ORDER BY p.program;
SELECT is_empty($$SELECT a.*, loyalty.tier(a.program, a.customer, a.q), loyalty.tier('l' || a.program, a.customer, a.q) FROM shop.asked a
	WHERE a.program LIKE 'f%' AND loyalty.tier(a.program, a.customer, a.q) IS DISTINCT FROM loyalty.tier('l' || a.program, a.customer, a.q)$$,
	'whether reviewed or not, in whatever order it was learned');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree before the last review');

-- late reviews are timely reviews
CREATE VIEW shop.history AS SELECT p.name AS program, m.customer, c.at, f.name AS from_tier, t.name AS to_tier, c.reason, c.until
	FROM loyalty.tier_change c JOIN loyalty.member m USING (member_id) JOIN loyalty.program p USING (program_id)
	LEFT JOIN loyalty.tier f ON f.tier_id = c.from_tier LEFT JOIN loyalty.tier t ON t.tier_id = c.to_tier
	WHERE c.superseded_at IS NULL;
SELECT loyalty.review_tiers('2042-01-01', 0, 100000) \gset
SELECT cmp_ok((SELECT count(*) FROM shop.history WHERE program LIKE 'f%'), '>', 100::bigint, 'much has happened');
SELECT set_eq($$SELECT 'l' || program, customer, at, from_tier, to_tier, reason, until FROM shop.history WHERE program LIKE 'f%'$$,
	$$SELECT program, customer, at, from_tier, to_tier, reason, until FROM shop.history WHERE program LIKE 'l%'$$, 'one late review writes what many timely ones did');
SELECT is((SELECT done FROM loyalty.review_tiers('2042-01-01', 0, 100000)), 0::bigint, 'and a second one nothing');
-- what is written down is what was true before
SELECT is_empty($$SELECT a.* FROM shop.asked a WHERE a.program LIKE 'f%'
	AND loyalty.tier(a.program, a.customer, a.q) IS DISTINCT FROM shop.oracle(a.program, a.customer, a.q)$$, 'answers are the same afterwards');
SELECT * FROM shop.clean();
SELECT * FROM finish();
ROLLBACK;
