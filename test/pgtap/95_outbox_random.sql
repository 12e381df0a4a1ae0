-- Random histories with all kinds of messages on: what was told is what
-- happened, no more and no less.  Milestones and tiers are worked out again
-- from the ledger.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Europe/Madrid') AS club \gset
SELECT loyalty.set_rule('club', 'base', 1, 1) \gset
SELECT loyalty.set_tier('club', 'Base', 0) \gset
SELECT loyalty.set_tier('club', 'tier ' || n, n * 100) FROM generate_series(1, 20) n \g /dev/null
SELECT loyalty.set_redemption('club', 0.01) \gset
SELECT shop.attach('inv', 'club') \gset
SELECT loyalty.set_message('club', k) FROM unnest('{earned,reversed,tier_up,tier_down,hold_released}'::text[]) k \g /dev/null
SELECT loyalty.set_milestones('club', '{30,60,100,200}') \g /dev/null
SELECT setseed(coalesce(nullif(current_setting('loyalty.seed', true), '')::float8, 0.42)) \g /dev/null

-- one of many things, in a subtransaction that is undone now and then
CREATE FUNCTION shop.act(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v_customer text := 'c' || (1 + floor(random() * 4))::integer;
	v_id integer := 1 + floor(random() * 60)::integer;
	v_amount integer := 1 + floor(random() * 60)::integer;
BEGIN
	PERFORM loyalty.enrol('club', v_customer);
	BEGIN
		CASE floor(random() * 10)::integer
			WHEN 0, 1, 2 THEN
				INSERT INTO shop.invoice (id, customer, total, at) VALUES (n + 100, v_customer, v_amount, now() - v_amount * interval '1 day');
				INSERT INTO shop.invoice (id, customer, total, at) VALUES (v_id, v_customer, v_amount, now()) ON CONFLICT DO NOTHING;
			WHEN 3 THEN
				UPDATE shop.invoice SET total = v_amount WHERE id = v_id AND return_of IS NULL;
			WHEN 4 THEN
				INSERT INTO shop.invoice (id, customer, total, return_of) SELECT n + 100, i.customer, -ceil(i.total / 2), i.id
					FROM shop.invoice i WHERE i.id = v_id AND i.return_of IS NULL;
			WHEN 5 THEN
				UPDATE shop.invoice SET cancelled = NOT cancelled WHERE id = v_id;
			WHEN 6 THEN
				UPDATE shop.invoice SET customer = v_customer WHERE id = v_id AND NOT EXISTS (SELECT FROM shop.invoice r WHERE r.return_of = v_id);
			WHEN 7 THEN
				PERFORM loyalty.redeem('club', v_customer, v_amount, 'r' || n);
			WHEN 8 THEN
				PERFORM loyalty.reserve('club', v_customer, 1, 'h' || n, at => now() - (v_amount - 30) * interval '1 minute');
				IF v_amount % 2 = 0 THEN
					PERFORM loyalty.release_hold('club', v_customer, 'h' || n);
				END IF;
			ELSE
				PERFORM loyalty.adjust('club', v_customer, v_amount - 20, 'x', 'a' || n);
		END CASE;
		IF random() < 0.7 THEN
			PERFORM loyalty.settle();
		END IF;
		IF random() < 0.2 THEN
			RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
		END IF;
	EXCEPTION WHEN SQLSTATE 'UNDO0' OR SQLSTATE 'LY010' OR SQLSTATE 'LY011' OR SQLSTATE '22023' THEN
		NULL;
	END;
END
$$;
SELECT count(shop.act(n)) FROM generate_series(1, 600) n \g /dev/null
SELECT loyalty.settle(), loyalty.close_holds() \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM loyalty.message m WHERE m.program_id = :club), '>', 300::bigint, 'a good deal happened');
SELECT set_eq(format($$SELECT DISTINCT m.kind FROM loyalty.message m WHERE m.program_id = %s$$, :club),
	'{earned,reversed,milestone,tier_up,tier_down,hold_released}'::text[], 'of every kind');

SELECT is_empty($$
	SELECT c.customer, e.seq, e.kind, e.points, m.payload FROM shop.member c
	JOIN loyalty.entry e ON e.member_id = c.member_id AND e.kind IN ('earn', 'return', 'correction', 'event', 'adjust')
	FULL JOIN (SELECT * FROM loyalty.message m WHERE m.kind IN ('earned', 'reversed') AND NOT m.payload ? 'last_entry') m
		ON m.member_id = e.member_id AND m.cause = 'entry:' || e.seq
	WHERE e.points IS DISTINCT FROM CASE m.kind WHEN 'earned' THEN 1 ELSE -1 END * (m.payload ->> 'points')::numeric
		AND coalesce(m.member_id, e.member_id) IN (SELECT member_id FROM shop.member)
		AND NOT EXISTS (SELECT FROM loyalty.message o WHERE o.member_id = e.member_id AND o.payload ? 'last_entry'
			AND e.seq BETWEEN substr(o.cause, 7)::bigint AND (o.payload ->> 'last_entry')::bigint)
$$, 'an entry, a message');
SELECT is_empty($$
	SELECT c.customer, x.points, m.points FROM shop.member c
	JOIN LATERAL (SELECT sum(e.points) AS points FROM loyalty.entry e WHERE e.member_id = c.member_id
		AND e.kind IN ('earn', 'return', 'correction', 'event', 'adjust')) x ON true
	JOIN LATERAL (SELECT sum(CASE m.kind WHEN 'earned' THEN 1 ELSE -1 END * (m.payload ->> 'points')::numeric) AS points
		FROM loyalty.message m WHERE m.member_id = c.member_id AND m.kind IN ('earned', 'reversed')) m ON true
	WHERE x.points <> m.points
$$, 'and their sums agree');
SELECT is_empty($$
	SELECT * FROM (SELECT e.member_id, 'entry:' || e.seq AS cause, (SELECT max(v) FROM unnest('{30,60,100,200}'::numeric[]) v
			WHERE v > e.balance - e.points AND v <= e.balance) AS milestone
		FROM (SELECT e.*, sum(e.points) OVER (PARTITION BY e.member_id ORDER BY e.seq) AS balance FROM shop.entry e) e) e
	FULL JOIN (SELECT m.member_id, m.cause, (m.payload ->> 'milestone')::numeric AS told FROM loyalty.message m
		WHERE m.kind = 'milestone' AND m.member_id IN (SELECT member_id FROM shop.member)) m USING (member_id, cause)
	WHERE e.milestone IS DISTINCT FROM m.told
$$, 'milestones are the crossings of the balance');
SELECT is_empty($$
	SELECT c.customer, t.name, m.tier FROM shop.member c
	JOIN loyalty.tier t ON t.tier_id = c.tier_id
	LEFT JOIN LATERAL (SELECT m.payload ->> 'tier' AS tier FROM loyalty.message m WHERE m.member_id = c.member_id AND m.kind IN ('tier_up', 'tier_down')
		ORDER BY m.recorded_at DESC LIMIT 1) m ON true
	WHERE coalesce(m.tier, 'Base') <> t.name
$$, 'the last tier that was told is the one he is in');
SELECT is_empty($$
	SELECT * FROM (SELECT m.member_id, m.payload ->> 'from_tier' AS from_tier, lag(m.payload ->> 'tier', 1, 'Base') OVER (PARTITION BY m.member_id ORDER BY m.recorded_at) AS before
		FROM loyalty.message m WHERE m.kind IN ('tier_up', 'tier_down') AND m.member_id IN (SELECT member_id FROM shop.member)) x
	WHERE x.from_tier <> x.before
$$, 'and each begins where the one before ended');
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.program_id = :club AND m.kind = 'hold_released'),
	(SELECT count(*) FROM loyalty.hold h JOIN shop.member c USING (member_id) WHERE h.state IN ('released', 'expired')), 'every hold that was given free');
-- everything is delivered once
CREATE TEMP TABLE got AS SELECT f.member_id, f.kind, f.cause FROM loyalty.fetch_messages('x', 1) f LIMIT 0;
DO $$
DECLARE
	v_n bigint;
BEGIN
	LOOP
		INSERT INTO got SELECT f.member_id, f.kind, f.cause FROM loyalty.fetch_messages('x', 37, CASE WHEN random() < 0.5 THEN '{milestone,earned,reversed}'::text[] END,
			at => now() + interval '1 hour') f;
		GET DIAGNOSTICS v_n = ROW_COUNT;
		EXIT WHEN v_n = 0 AND NOT EXISTS (SELECT FROM loyalty.message m WHERE m.state = 'new');
	END LOOP;
END
$$;
SELECT is((SELECT count(*) FROM got), (SELECT count(*) FROM (SELECT DISTINCT * FROM got) g), 'no message came twice');
SELECT set_eq(format($$SELECT m.member_id, m.kind, m.cause FROM loyalty.message m WHERE m.program_id = %s$$, :club), 'SELECT * FROM got', 'and all came');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
