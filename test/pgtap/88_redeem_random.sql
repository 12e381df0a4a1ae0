-- Random lives of members: sales, returns, drafts and edits with redemptions,
-- cancellations, holds, rewards and transfers among them, some of it undone.
-- They are judged by a formula that knows nothing of the order in which things
-- happened: what is adjusted, what each sale's remaining goods earn, and what
-- of each redemption is not given back.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.5) \gset
SELECT loyalty.set_reward('tab', 'mug', 'product', 7, max_units => 2) \gset
SELECT shop.attach('inv', 'tab', on_error => 'raise') \gset

-- what happened, in the test's own words
CREATE TABLE shop.adjusted (customer text, points numeric);
CREATE TABLE shop.redeemed (customer text, key text, points numeric, doc integer, cancelled boolean DEFAULT false, reward boolean DEFAULT false);
CREATE TABLE shop.held (customer text, key text, points numeric);

CREATE FUNCTION shop.sale_left(sale integer, OUT gross_left numeric, OUT paid numeric) RETURNS record LANGUAGE sql AS $$
	SELECT greatest(i.total + coalesce((SELECT sum(b.total) FROM shop.invoice b WHERE b.return_of = i.id AND b.state = 'posted'), 0), 0),
		coalesce((SELECT sum(trunc(r.points * 0.5, 2)) FROM shop.redeemed r WHERE r.doc = i.id AND NOT r.cancelled), 0)
	FROM shop.invoice i WHERE i.id = sale
$$;

CREATE FUNCTION shop.expected(c text) RETURNS numeric LANGUAGE sql AS $$
	SELECT (SELECT coalesce(sum(a.points), 0) FROM shop.adjusted a WHERE a.customer = c)
		+ (SELECT coalesce(sum(floor(s.gross_left * (i.total - least(s.paid, i.total)) / i.total)), 0)
			FROM shop.invoice i CROSS JOIN LATERAL shop.sale_left(i.id) s
			WHERE i.customer = c AND i.return_of IS NULL AND i.state = 'posted')
		- (SELECT coalesce(sum(r.points - CASE WHEN s.id IS NULL THEN 0
					WHEN s.gross_left = 0 THEN r.points
					ELSE floor(r.points * (s.total - s.gross_left) / s.total) END), 0)
			FROM shop.redeemed r
			LEFT JOIN LATERAL (SELECT i.id, i.total, CASE WHEN i.state = 'posted' THEN x.gross_left ELSE 0 END AS gross_left
				FROM shop.invoice i CROSS JOIN LATERAL shop.sale_left(i.id) x WHERE i.id = r.doc) s ON true
			WHERE r.customer = c AND NOT r.cancelled)
$$;
CREATE FUNCTION shop.live(c text, steps integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_what integer;
	v_id integer;
	v_key text;
	v_points numeric;
	v_have numeric;
	v_undo boolean;
	v_reward boolean;
	v_other text;
	v_log text := '';
BEGIN
	PERFORM loyalty.enrol('tab', c);
	FOR step IN 1..steps LOOP
		v_what := floor(random() * 16);
		v_undo := random() < 0.15;
		v_key := c || '.' || step;
		v_id := NULL;
		BEGIN
			CASE
			WHEN v_what <= 1 THEN
				INSERT INTO shop.invoice (id, customer, total)
					VALUES ((SELECT coalesce(max(id), 0) + 1 FROM shop.invoice), c, 1 + floor(random() * 90));
			WHEN v_what = 2 THEN
				v_points := 1 + floor(random() * 8);
				PERFORM loyalty.adjust('tab', c, v_points, 'gift', v_key,
					expires_on => CASE WHEN random() < 0.7 THEN date '2050-01-01' + floor(random() * 5)::integer END);
				INSERT INTO shop.adjusted VALUES (c, v_points);
			WHEN v_what <= 5 THEN
				-- for a sale, one to come, or none
				SELECT i.id INTO v_id FROM shop.invoice i WHERE i.customer = c AND i.return_of IS NULL ORDER BY random() LIMIT 1;
				IF random() < 0.3 THEN
					v_id := NULL;
				END IF;
				v_have := loyalty.available('tab', c);
				v_points := CASE WHEN random() < 0.5 AND v_have >= 1 THEN floor(v_have) ELSE 1 + floor(random() * 40) END;
				BEGIN
					PERFORM loyalty.redeem('tab', c, v_points, v_key, CASE WHEN v_id IS NOT NULL THEN 'inv' END, v_id::text);
					INSERT INTO shop.redeemed VALUES (c, v_key, v_points, v_id);
					IF v_points > v_have THEN
						RETURN format('step %s: %s of %s were redeemed', step, v_points, v_have);
					END IF;
				EXCEPTION WHEN SQLSTATE 'LY010' THEN
					IF v_points <= v_have THEN
						RETURN format('step %s: %s of %s were refused', step, v_points, v_have);
					END IF;
				END;
			WHEN v_what = 6 THEN
				SELECT r.key, r.reward INTO v_key, v_reward FROM shop.redeemed r WHERE r.customer = c ORDER BY random() LIMIT 1;
				IF FOUND THEN
					IF v_reward THEN
						PERFORM loyalty.cancel_reward('tab', c, v_key);
					ELSE
						PERFORM loyalty.cancel_redemption('tab', c, v_key);
					END IF;
					UPDATE shop.redeemed SET cancelled = true WHERE key = v_key;
				END IF;
			WHEN v_what <= 8 THEN
				INSERT INTO shop.invoice (id, customer, total, return_of)
					SELECT (SELECT max(id) + 1 FROM shop.invoice), c, -1 - floor(random() * i.total), i.id
					FROM shop.invoice i WHERE i.customer = c AND i.return_of IS NULL ORDER BY random() LIMIT 1;
			WHEN v_what = 9 THEN
				UPDATE shop.invoice SET state = CASE WHEN state = 'posted' THEN 'draft' ELSE 'posted' END
					WHERE id = (SELECT i.id FROM shop.invoice i WHERE i.customer = c ORDER BY random() LIMIT 1);
			WHEN v_what = 10 THEN
				UPDATE shop.invoice SET total = total + sign(total) * floor(random() * 10)
					WHERE id = (SELECT i.id FROM shop.invoice i WHERE i.customer = c ORDER BY random() LIMIT 1);
			WHEN v_what IN (12, 15) THEN
				-- a hold is made, or one of those that are open is closed
				IF random() < 0.5 THEN
					SELECT h.key, h.points INTO v_key, v_points FROM shop.held h WHERE h.customer = c ORDER BY random() LIMIT 1;
					IF FOUND THEN
						DELETE FROM shop.held WHERE key = v_key;
						IF random() < 0.7 THEN
							v_points := 1 + floor(random() * v_points);
							BEGIN
								PERFORM loyalty.capture_hold('tab', c, v_key, v_points);
								INSERT INTO shop.redeemed VALUES (c, v_key, v_points);
							EXCEPTION WHEN SQLSTATE 'LY010' THEN
								-- a return has taken what was reserved: it stays reserved
								INSERT INTO shop.held VALUES (c, v_key, (SELECT h.points FROM loyalty.hold h
									WHERE h.key = v_key AND h.member_id = loyalty.member_id('tab', c)));
							END;
						ELSE
							PERFORM loyalty.release_hold('tab', c, v_key);
						END IF;
					END IF;
				ELSIF loyalty.available('tab', c) >= 1 THEN
					v_points := 1 + floor(random() * loyalty.available('tab', c));
					v_points := least(v_points, floor(loyalty.available('tab', c)));
					PERFORM loyalty.reserve('tab', c, v_points, v_key);
					INSERT INTO shop.held VALUES (c, v_key, v_points);
				END IF;
			WHEN v_what = 13 THEN
				IF loyalty.available('tab', c) >= 7 THEN
					PERFORM loyalty.redeem_reward('tab', c, 'mug', v_key);
					INSERT INTO shop.redeemed (customer, key, points, reward) VALUES (c, v_key, 7, true);
				END IF;
			WHEN v_what = 14 THEN
				-- to somebody who has lived before
				v_other := 'c' || (substr(c, 2)::integer - 1);
				v_points := 1 + floor(random() * 9);
				IF loyalty.member_id('tab', v_other) IS NOT NULL AND loyalty.available('tab', c) >= v_points THEN
					PERFORM loyalty.transfer('tab', c, v_other, v_points, v_key);
					INSERT INTO shop.adjusted VALUES (c, -v_points), (v_other, v_points);
				END IF;
			ELSE
				DELETE FROM shop.invoice WHERE id = (SELECT i.id FROM shop.invoice i WHERE i.customer = c
					AND i.return_of IS NOT NULL ORDER BY random() LIMIT 1);
			END CASE;
			-- a document that was booked once gives back when it is a draft again
			IF v_what <= 1 OR random() < 0.5 THEN
				PERFORM loyalty.settle();
			END IF;
			IF v_undo THEN
				RAISE EXCEPTION 'undo' USING ERRCODE = 'P0099';
			END IF;
		EXCEPTION WHEN SQLSTATE 'P0099' THEN
			NULL;
		END;
		v_log := v_log || ' ' || v_what;
		IF random() < 0.6 THEN
			PERFORM loyalty.settle();
			IF loyalty.available('tab', c) <> greatest(shop.expected(c)
					- coalesce((SELECT sum(h.points) FROM shop.held h WHERE h.customer = c), 0), 0) THEN
				RETURN format('step %s: available %s of %s, held %s, after%s', step, loyalty.available('tab', c), shop.expected(c),
					(SELECT sum(h.points) FROM shop.held h WHERE h.customer = c), v_log);
			END IF;
			IF loyalty.balance('tab', c) <> shop.expected(c) THEN
				RETURN format('step %s: balance %s, expected %s, after%s', step, loyalty.balance('tab', c), shop.expected(c), v_log);
			END IF;
		END IF;
	END LOOP;
	RETURN 'fine';
END
$$;

SELECT setseed(0.20240229) \gset
SELECT is(shop.live('c' || n, 40), 'fine', 'a life of 40 steps: ' || n) FROM generate_series(1, 60) n;
SELECT cmp_ok((SELECT count(*) FROM shop.redeemed WHERE doc IS NOT NULL AND NOT cancelled), '>', 60::bigint, 'many redemptions for documents');
SELECT cmp_ok((SELECT count(*) FROM loyalty.redemption WHERE restored > 0 AND restored < points), '>', 5::bigint, 'of which some came back in part');
SELECT cmp_ok((SELECT count(*) FROM shop.member WHERE debt > 0), '>', 0::bigint, 'and some members owe');
SELECT loyalty.settle() \gset
SELECT is_empty($$SELECT c, loyalty.balance('tab', c), shop.expected(c) FROM (SELECT 'c' || n AS c FROM generate_series(1, 60) n) x
	WHERE loyalty.balance('tab', c) <> shop.expected(c)$$, 'whoever got points later has them');
SELECT cmp_ok((SELECT count(*) FROM loyalty.hold h WHERE h.state = 'captured' AND h.captured < h.points AND h.member_id IN (SELECT member_id FROM shop.member)), '>', 5::bigint, 'holds were captured in part');
SELECT cmp_ok((SELECT count(*) FROM shop.redeemed WHERE reward AND cancelled), '>', 3::bigint, 'rewards given back');
SELECT cmp_ok((SELECT count(*) FROM shop.adjusted WHERE points < 0), '>', 20::bigint, 'points transferred');
SELECT is_empty('SELECT * FROM loyalty.verify(''inv'')', 'verify() agrees');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
