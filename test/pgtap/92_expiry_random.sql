-- Random histories played twice: one programme has upkeep at odd moments, the
-- other never.  Nobody may be able to tell them apart, at any instant.
\ir common.psql
SELECT no_plan();

CREATE FUNCTION shop.day(seed text, days integer) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT '2024-01-15 00:00+00'::timestamptz + (abs(hashtext(seed)) % (days * 1440)) * interval '1 minute' $$;
CREATE FUNCTION shop.pick(seed text, n integer) RETURNS integer LANGUAGE sql AS $$ SELECT abs(hashtext('pick' || seed)) % n $$;

CREATE TABLE shop.doc (LIKE shop.invoice INCLUDING ALL);
ALTER TABLE shop.doc ADD program text;

DO $$
DECLARE
	v_expires text;
	v_lapse text;
	v_zone text;
	v_p text;
	v_n integer := 0;
BEGIN
	FOR v_expires, v_lapse, v_zone IN VALUES ('40 days', NULL, 'UTC'), ('1 month', NULL, 'Pacific/Auckland'), ('end of month + 1', NULL, 'America/New_York'),
			('never', '30 days', 'Europe/Berlin'), ('60 days', '1 month', 'Asia/Kathmandu'), ('every 04-01', NULL, 'Europe/London') LOOP
		v_n := v_n + 1;
		FOREACH v_p IN ARRAY ARRAY['lazy', 'tidy'] LOOP
			PERFORM loyalty.create_program(v_p || v_n, v_zone, point_unit => 0.01);
			PERFORM loyalty.set_rule(v_p || v_n, 'base', 1, 1);
			PERFORM loyalty.set_redemption(v_p || v_n, 0.1);
			PERFORM loyalty.set_expiry(v_p || v_n, v_expires, lapse_after => v_lapse, usable_after => v_n % 3);
			PERFORM loyalty.attach(v_p || v_n, v_p || v_n, 'shop.doc', key => 'r.id', customer => 'r.customer', doc_date => 'r.at',
				amount => 'r.total', void => 'r.cancelled', return_of => 'r.return_of', filter => format('r.program = %L', v_p || v_n));
		END LOOP;
	END LOOP;
END $$;

-- upkeep for one member, and nobody else: the others stay as they are
CREATE FUNCTION shop.upkeep(program text, customer text, as_of timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_last bigint;
BEGIN
	v_id := (SELECT m.member_id FROM loyalty.member m JOIN loyalty.program p USING (program_id) WHERE p.name = upkeep.program AND m.customer = upkeep.customer);
	SELECT e.last INTO v_last FROM loyalty.expire_points(as_of, v_id - 1, 1) e;
	IF v_last IS DISTINCT FROM v_id THEN
		RAISE EXCEPTION USING ERRCODE = 'TT000';
	END IF;
EXCEPTION WHEN SQLSTATE 'TT000' THEN
	NULL;
END $$;

-- one step in the life of a member of both programmes; late: booked in no order
CREATE FUNCTION shop.step(n integer, seed text, late boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v_seed text := seed || ' ' || n;
	v_at timestamptz := CASE WHEN late THEN shop.day(v_seed, 150) ELSE '2024-01-15'::timestamptz + n * interval '31 hours' + shop.pick(v_seed, 1440) * interval '1 minute' END;
	v_what integer := shop.pick(v_seed || 'what', 10);
	v_p integer := 1 + shop.pick(seed, 6);
	v_program text;
	v_target integer;
	v_points numeric;
	v_answer text;
	v_first text;
BEGIN
	FOREACH v_program IN ARRAY ARRAY['lazy' || v_p, 'tidy' || v_p] LOOP
		v_answer := '';
		IF v_program LIKE 'tidy%' AND shop.pick(v_seed || 'upkeep', 3) = 0 THEN
			PERFORM shop.upkeep(v_program, seed, CASE WHEN late THEN shop.day(v_seed || 'upkeep', 200) ELSE v_at - shop.pick(v_seed || 'ago', 5) * interval '1 day' END);
		END IF;
		v_target := (SELECT d.id FROM shop.doc d WHERE d.program = v_program AND d.customer = seed AND d.total > 0 AND NOT d.cancelled
			AND d.at <= v_at ORDER BY hashtext(v_seed || d.id % 10000) LIMIT 1);
		v_points := 1 + shop.pick(v_seed || 'points', 40);
		BEGIN
			IF v_what < 5 OR v_target IS NULL THEN
				INSERT INTO shop.doc (id, program, customer, at, total)
					VALUES (n + 10000 * shop.pick(seed || 'id', 1000) + CASE WHEN v_program LIKE 'tidy%' THEN 500000000 ELSE 0 END, v_program, seed, v_at, v_points);
			ELSIF v_what < 8 THEN
				v_answer := (SELECT r::text FROM loyalty.redeem(v_program, seed, v_points, 'k' || n, at => v_at) r);
			ELSIF v_what = 8 THEN
				INSERT INTO shop.doc (id, program, customer, at, total, return_of)
					SELECT n + 10000 * shop.pick(seed || 'id', 1000) + CASE WHEN v_program LIKE 'tidy%' THEN 500000000 ELSE 0 END, v_program, seed, v_at,
						- ceil(d.total / 2), d.id FROM shop.doc d WHERE d.id = v_target;
			ELSIF late THEN
				UPDATE shop.doc SET cancelled = true WHERE id = v_target;
			ELSE
				v_answer := coalesce((SELECT r::text FROM loyalty.redemption k CROSS JOIN LATERAL loyalty.cancel_redemption(v_program, seed, k.key, v_at) r
					WHERE k.member_id = loyalty.member_id(v_program, seed) AND NOT k.is_cancelled AND k.occurred_at <= v_at
					ORDER BY hashtext(v_seed || k.key) LIMIT 1), '');
			END IF;
			PERFORM loyalty.settle();
		EXCEPTION WHEN SQLSTATE 'LY010' OR SQLSTATE 'LY001' THEN
			v_answer := SQLSTATE;
		END;
		IF v_program LIKE 'lazy%' THEN
			v_first := v_answer;
		ELSIF v_first IS DISTINCT FROM v_answer THEN
			RAISE EXCEPTION '% step %: % without upkeep, % with it', seed, n, v_first, v_answer;
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION shop.differences(seed text) RETURNS TABLE (at timestamptz, what text, lazy text, tidy text) LANGUAGE sql AS $$
	WITH p AS (SELECT 1 + shop.pick(seed, 6) AS n),
	day AS (SELECT generate_series('2024-01-10'::timestamptz, '2024-12-01', '3 days') AS d),
	-- and the moments before and after a day begins in the programme's zone
	instant AS (SELECT d.d + s AS at FROM day d CROSS JOIN p JOIN loyalty.program g ON g.name = 'lazy' || p.n
			CROSS JOIN LATERAL (SELECT (d.d::date::timestamp AT TIME ZONE g.time_zone) - d.d AS o) z
			CROSS JOIN LATERAL (VALUES (interval '13 hours'), (z.o - interval '1 microsecond'), (z.o)) v (s)),
	answer AS (SELECT i.at, v.what, v.lazy, v.tidy FROM p, instant i CROSS JOIN LATERAL (VALUES
			('balance', loyalty.balance('lazy' || p.n, seed, i.at)::text, loyalty.balance('tidy' || p.n, seed, i.at)::text),
			('points', loyalty.points('lazy' || p.n, seed, i.at)::text, loyalty.points('tidy' || p.n, seed, i.at)::text)) v (what, lazy, tidy))
	SELECT * FROM answer WHERE lazy IS DISTINCT FROM tidy
	UNION ALL
	SELECT NULL, 'lot ' || coalesce(l.rn, t.rn), l.lot, t.lot
	FROM (SELECT row_number() OVER (ORDER BY l.seq) AS rn, format('%s of %s, %s', l.remaining + l.expired, l.points, l.expires_on) AS lot FROM p, loyalty.lot l WHERE l.member_id = loyalty.member_id('lazy' || p.n, seed)) l
	FULL JOIN (SELECT row_number() OVER (ORDER BY l.seq) AS rn, format('%s of %s, %s', l.remaining + l.expired, l.points, l.expires_on) AS lot FROM p, loyalty.lot l WHERE l.member_id = loyalty.member_id('tidy' || p.n, seed)) t
		ON t.rn = l.rn
	WHERE l.lot IS DISTINCT FROM t.lot $$;

SELECT lives_ok(format($q$SELECT shop.step(n, %L, false) FROM generate_series(1, 60) n$q$, 'c' || s), 'history ' || s || ' in the order of time') FROM generate_series(1, 18) s;
SELECT lives_ok(format($q$SELECT shop.step(n, %L, true) FROM generate_series(1, 60) n$q$, 'l' || s), 'history ' || s || ' in no order') FROM generate_series(1, 18) s;
SELECT is_empty('SELECT * FROM loyalty.check()', 'all is well before upkeep');
SELECT is_empty($$SELECT FROM shop.entry JOIN shop.member m USING (member_id) JOIN loyalty.program p USING (program_id) WHERE kind = 'expire' AND p.name LIKE 'lazy%'$$,
	'some never had upkeep');
SELECT is_empty(format('SELECT * FROM shop.differences(%L) LIMIT 5', c || s), 'upkeep made no difference: ' || c || s)
	FROM generate_series(1, 18) s CROSS JOIN (VALUES ('c'), ('l')) v (c);
SELECT isnt_empty($$SELECT FROM shop.entry WHERE kind = 'expire' AND points < 0$$, 'there was something to write down');
SELECT isnt_empty($$SELECT FROM shop.entry WHERE kind = 'expire' AND points > 0$$, 'and to recall');

-- at the end the tidy ones are up to date: their entries alone say what the balance is
SELECT loyalty.expire_points('2024-12-01', 0, 10000) \gset
SELECT is_empty('SELECT * FROM loyalty.check()', 'all is well after upkeep');
-- (where upkeep came late, goods that were returned meanwhile are left out of what had expired before they were)
SELECT is_empty($$SELECT m.customer, d.d FROM shop.member m JOIN loyalty.program p USING (program_id)
	CROSS JOIN generate_series('2024-01-10'::timestamptz, '2024-11-30', '3 days') d (d)
	WHERE p.name LIKE 'tidy%' AND m.customer LIKE 'c%' AND loyalty.balance(p.name, m.customer, d.d)
		<> (SELECT coalesce(sum(e.points), 0) FROM loyalty.entry e WHERE e.member_id = m.member_id AND e.occurred_at <= d.d) LIMIT 5$$,
	'where things were booked in their order, entries add up to the balance at every instant');

SELECT * FROM finish();
ROLLBACK;
