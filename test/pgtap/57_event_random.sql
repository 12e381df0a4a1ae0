-- Random lives: events recorded in any order, approved, rejected and revoked
-- among purchases and returns, against an oracle that only knows what was done.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('rnd', 'UTC') \gset
SELECT shop.attach('inv', 'rnd') \gset
SELECT loyalty.set_rule('rnd', 'base', 1, 10) \gset
SELECT loyalty.set_rule('rnd', 'visit', 10, kind => 'bonus', event => 'visit', limit_count => 2, limit_period => 'week') \gset
SELECT loyalty.set_rule('rnd', 'third', 3, kind => 'bonus', event => 'visit', condition => 'event.count % 3 = 2') \gset
SELECT loyalty.set_rule('rnd', 'share', 20, kind => 'bonus', event => 'share', needs_approval => true, limit_count => 3, limit_period => 'month') \gset
SELECT loyalty.set_rule('rnd', 'friend', 50, kind => 'bonus', event => 'referral') \gset
SELECT loyalty.set_rule('rnd', 'referrer', 70, kind => 'bonus', event => 'referrer', limit_count => 2, limit_period => 'lifetime') \gset

-- what was done; state: recorded, approved, rejected, revoked
CREATE TABLE shop.log (customer text, key text, kind text, reference text, at timestamptz, state text DEFAULT 'recorded', PRIMARY KEY (customer, key));
-- friends 5 to 8 are referred by 1 to 4
SELECT loyalty.enrol('rnd', 'c' || n, '2024-01-01') FROM generate_series(1, 8) n \g /dev/null

CREATE FUNCTION shop.step(n integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_customer text := 'c' || 1 + floor(random() * 8);
	v_at timestamptz := '2024-03-01 00:00+00'::timestamptz + floor(random() * 60) * interval '12 hours';
	v_kind text;
	v_old shop.log;
BEGIN
	CASE floor(random() * 8)::integer
		WHEN 0, 1, 2 THEN
			v_kind := CASE WHEN random() < 0.5 THEN 'visit' ELSE 'share' END;
			PERFORM loyalty.record_event('rnd', v_customer, v_kind, NULL, v_at, NULL, v_kind || n);
			INSERT INTO shop.log VALUES (v_customer, v_kind || n, v_kind, NULL, v_at);
		WHEN 3 THEN
			v_customer := 'c' || 5 + floor(random() * 4);
			IF NOT EXISTS (SELECT FROM shop.log l WHERE l.customer = v_customer AND l.kind = 'referral' AND l.state = 'recorded') THEN
				PERFORM loyalty.record_event('rnd', v_customer, 'referral', 'c' || 1 + n % 3, v_at, NULL, 'ref' || n);
				INSERT INTO shop.log VALUES (v_customer, 'ref' || n, 'referral', 'c' || 1 + n % 3, v_at);
			END IF;
		WHEN 4, 5 THEN
			SELECT l.* INTO v_old FROM shop.log l WHERE l.state IN ('recorded', 'approved') ORDER BY random() LIMIT 1;
			IF FOUND AND v_old.kind = 'share' AND v_old.state = 'recorded' THEN
				IF random() < 0.7 THEN
					PERFORM loyalty.approve_event('rnd', v_old.customer, v_old.key);
					v_kind := 'approved';
				ELSE
					PERFORM loyalty.reject_event('rnd', v_old.customer, v_old.key);
					v_kind := 'rejected';
				END IF;
			ELSIF FOUND THEN
				PERFORM loyalty.revoke_event('rnd', v_old.customer, v_old.key);
				v_kind := 'revoked';
			END IF;
			UPDATE shop.log l SET state = v_kind WHERE l.customer = v_old.customer AND l.key = v_old.key;
		WHEN 6 THEN
			INSERT INTO shop.invoice (id, customer, at, total, return_of) SELECT n, v_customer, v_at, 10, NULL
				UNION ALL SELECT 10000 + n, v_customer, v_at, -10, n WHERE random() < 0.3;
		ELSE
			UPDATE shop.invoice i SET customer = CASE WHEN random() < 0.5 THEN v_customer ELSE i.customer END, cancelled = random() < 0.5
				WHERE i.id = (SELECT x.id FROM shop.invoice x WHERE x.id < 10000 ORDER BY random() LIMIT 1);
	END CASE;
	-- now and then in the middle of things
	IF random() < 0.3 THEN
		PERFORM loyalty.settle();
	END IF;
END
$$;

-- the oracle
CREATE VIEW shop.bought AS
	SELECT DISTINCT i.customer FROM shop.invoice i
	WHERE i.return_of IS NULL AND NOT i.cancelled
		AND i.total + coalesce((SELECT sum(r.total) FROM shop.invoice r WHERE r.return_of = i.id), 0) > 0;
CREATE VIEW shop.due AS
	WITH live AS (
		SELECT l.*, row_number() OVER (PARTITION BY l.customer, l.kind ORDER BY l.at, l.key COLLATE "C") AS place,
			row_number() OVER (PARTITION BY l.customer, l.kind, date_trunc('week', l.at AT TIME ZONE 'UTC') ORDER BY l.at, l.key COLLATE "C") AS in_week,
			row_number() OVER (PARTITION BY l.customer, l.kind, date_trunc('month', l.at AT TIME ZONE 'UTC') ORDER BY l.at, l.key COLLATE "C") AS in_month
		FROM shop.log l WHERE l.state IN ('recorded', 'approved')
	), referral AS (
		SELECT l.customer, l.reference, l.at, l.key, row_number() OVER (PARTITION BY l.reference
				ORDER BY l.at, (loyalty.member_id('rnd', l.customer) || ':' || l.key) COLLATE "C") AS of_referrer
		FROM live l JOIN shop.bought b USING (customer) WHERE l.kind = 'referral'
	)
	SELECT l.customer, sum(CASE l.kind
			WHEN 'visit' THEN CASE WHEN l.in_week <= 2 THEN 10 ELSE 0 END + CASE WHEN l.place % 3 = 0 THEN 3 ELSE 0 END
			WHEN 'share' THEN CASE WHEN l.state = 'approved' AND l.in_month <= 3 THEN 20 ELSE 0 END
			ELSE 0 END) AS points
	FROM live l GROUP BY l.customer
	UNION ALL SELECT r.customer, 50 FROM referral r
	UNION ALL SELECT r.reference, 70 FROM referral r WHERE r.of_referrer <= 2;
CREATE FUNCTION shop.differences() RETURNS TABLE (customer text, booked numeric, due numeric)
LANGUAGE sql AS $$
	SELECT m.customer, b.points, d.points
	FROM loyalty.member m
	CROSS JOIN LATERAL (SELECT coalesce(sum(e.points), 0) AS points FROM loyalty.events('rnd', m.customer) e) b
	CROSS JOIN LATERAL (SELECT coalesce(sum(x.points), 0) AS points FROM shop.due x WHERE x.customer = m.customer) d
	WHERE m.program_id = (SELECT p.program_id FROM loyalty.program p WHERE p.name = 'rnd') AND b.points <> d.points
$$;

-- as many events as are needed for places to be fought for
SELECT setseed(0.4711) \g /dev/null
CREATE FUNCTION shop.live(steps integer, seed integer) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. steps LOOP
		PERFORM shop.step(seed * 1000 + i);
	END LOOP;
	PERFORM loyalty.settle();
	RETURN NEXT is_empty('SELECT * FROM shop.differences()', 'life ' || seed || ': every customer has what the oracle says');
	RETURN NEXT is_empty('SELECT problem, detail FROM loyalty.check()', 'life ' || seed || ': check() finds nothing');
	RETURN NEXT is_empty($q$SELECT * FROM loyalty.verify('rnd events')$q$, 'life ' || seed || ': verify() finds nothing');
END
$$;
SELECT shop.live(60, seed) FROM generate_series(1, 9) seed;
SELECT cmp_ok((SELECT count(*) FROM loyalty.document d WHERE d.kind = 'event' AND d.matches @> '[{"cut": true}]'), '>', 5::bigint, 'limits were reached');
SELECT cmp_ok((SELECT count(DISTINCT e.state) FROM loyalty.event e), '=', 5::bigint, 'events are in every state');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
