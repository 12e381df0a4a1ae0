-- The books are written directly where their tables are what the extension
-- made them, else by SQL: where they have triggers of somebody's, further
-- columns or another access method.  One life, played both ways, must leave
-- the same books.
\ir common.psql
SELECT no_plan();

CREATE FUNCTION shop.live(p text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM loyalty.create_program(p, 'UTC');
	PERFORM loyalty.set_tier(p, 'Basic', 0);
	PERFORM loyalty.set_tier(p, 'Silver', 2000, 1.5, gift_points => 25);
	PERFORM loyalty.set_rule(p, 'base', 1, 10);
	PERFORM loyalty.set_expiry(p, '12 months');
	PERFORM loyalty.set_redemption(p, 0.01);
	PERFORM loyalty.set_message(p, k) FROM unnest(ARRAY['earned', 'tier_up']) k;
	PERFORM shop.attach(p, p, evaluate => 'statement');
	-- many at once, for many members; then more for one than stay without stored lots
	INSERT INTO shop.invoice (id, customer, total, at)
		SELECT n, 'c' || n % 40, 20 + n % 97, timestamptz '2024-01-01 12:00+00' + n % 300 * interval '1 day' FROM generate_series(1, 1200) n;
	INSERT INTO shop.invoice (id, customer, total, at)
		SELECT 10000 + n, 'c' || n % 40, 1, timestamptz '2022-01-01 12:00+00' + n % 701 * interval '1 day' FROM generate_series(1, 5200) n;
	INSERT INTO shop.invoice (id, customer, total, at)
		SELECT n, 'hot', 100, timestamptz '2024-01-01 12:00+00' + n % 50 * interval '1 day' FROM generate_series(2001, 2150) n;
	-- one by one
	FOR n IN 3001 .. 3020 LOOP
		INSERT INTO shop.invoice (id, customer, total, at) VALUES (n, 'c' || n % 5, 35, '2024-11-01 12:00+00');
	END LOOP;
	-- returns, changes, cancellations
	INSERT INTO shop.invoice (id, customer, total, at, return_of)
		SELECT 4000 + n, 'c' || n % 40, -10, timestamptz '2024-11-02 12:00+00', n FROM generate_series(1, 200, 3) n;
	UPDATE shop.invoice SET total = total + 50 WHERE id % 7 = 0 AND total > 0;
	UPDATE shop.invoice SET customer = 'c39' WHERE id BETWEEN 100 AND 110;
	UPDATE shop.invoice SET cancelled = true WHERE id % 11 = 0;
	DELETE FROM shop.invoice WHERE id % 13 = 0;
	-- what others book
	PERFORM loyalty.redeem(p, 'c1', 40, 'r1', at => '2024-11-03 12:00+00');
	PERFORM loyalty.redeem(p, 'hot', 900, 'r2', at => '2024-11-03 12:00+00');
	PERFORM loyalty.cancel_redemption(p, 'c1', 'r1', '2024-11-04 12:00+00');
	PERFORM loyalty.transfer(p, 'hot', 'c2', 15, 't1', '2024-11-05 12:00+00');
	PERFORM loyalty.refresh_analytics(p, '2024-12-01');
END
$$;

-- all that is to be equal: without numbers, which come from the programme's, and without clock times
CREATE FUNCTION shop.books(p text) RETURNS TABLE (what text, customer text, seq bigint, rest text)
LANGUAGE sql AS $$
	WITH m AS (SELECT m.* FROM loyalty.member m JOIN loyalty.program p USING (program_id) WHERE p.name = $1)
	SELECT 'member', m.customer, m.last_seq, concat_ws(' ', m.balance, m.debt, m.qualifying, m.lots_through, m.next_expiry, m.joined_on,
		(SELECT t.name FROM loyalty.tier t WHERE t.tier_id = m.tier_id)) FROM m
	UNION ALL
	SELECT 'entry', m.customer, e.seq, concat_ws(' ', e.kind, e.points, e.expires_on, e.doc_key, e.prev_seq,
		CASE WHEN e.key LIKE 'gift:%' THEN 'gift' ELSE e.key || extract(epoch FROM e.occurred_at) END)
	FROM m JOIN loyalty.entry e USING (member_id)
	UNION ALL
	SELECT 'document', m.customer, d.last_seq, concat_ws(' ', d.doc_key, d.root_key, d.state, d.kind, extract(epoch FROM d.occurred_at), d.gross, d.rate,
		d.tier_before, d.qualifying, d.points, d.overcredited, d.written_off) FROM m JOIN loyalty.document d USING (member_id)
	UNION ALL
	SELECT 'lot', m.customer, l.seq, concat_ws(' ', l.is_open, l.expires_on, l.points, l.remaining) FROM m JOIN loyalty.stored_lot l USING (member_id)
	UNION ALL
	SELECT 'allocation', m.customer, a.entry_seq, concat_ws(' ', a.lot_seq, a.points) FROM m JOIN loyalty.allocation a USING (member_id)
	UNION ALL
	SELECT 'tier', m.customer, row_number() OVER (PARTITION BY m.customer ORDER BY c.n), concat_ws(' ', extract(epoch FROM c.at), c.reason, (SELECT t.name FROM loyalty.tier t WHERE t.tier_id = c.to_tier))
	FROM m JOIN loyalty.tier_change c USING (member_id) WHERE c.superseded_at IS NULL
	UNION ALL
	SELECT 'message', m.customer, x.n, x.kind FROM m JOIN (SELECT member_id, kind, count(*) AS n FROM loyalty.message GROUP BY 1, 2) x USING (member_id)
	UNION ALL
	SELECT 'day', m.customer, s.day - date '2000-01-01', concat_ws(' ', s.sales, s.reversed, s.returns, s.gross, s.returned)
	FROM m JOIN loyalty.member_day s USING (member_id)
	UNION ALL
	SELECT 'summary', m.customer, s.sales, concat_ws(' ', s.reversed, s.returns, s.gross, s.returned, s.purchase_days, s.first_sale_on, s.last_sale_on)
	FROM m JOIN loyalty.member_summary s USING (member_id)
$$;

SELECT shop.live('directly');
CREATE TEMP TABLE directly AS SELECT * FROM shop.books('directly');
SELECT cmp_ok(n, '>=', least, what || ': there are some')
FROM (VALUES ('member', 41), ('entry', 1300), ('document', 1300), ('lot', 50), ('allocation', 50), ('tier', 30), ('message', 40), ('day', 4700), ('summary', 41)) v (what, least)
CROSS JOIN LATERAL (SELECT count(*)::integer AS n FROM directly d WHERE d.what = v.what) c;
SELECT loyalty.detach('directly') \gset
TRUNCATE shop.invoice;

-- somebody watches the books
CREATE TABLE shop.watched (book text, n bigint);
CREATE FUNCTION shop.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.watched VALUES (TG_TABLE_NAME, 1);
	RETURN NULL;
END
$$;
SELECT format('CREATE TRIGGER watch AFTER INSERT ON loyalty.%I FOR EACH ROW EXECUTE FUNCTION shop.watch()', t)
FROM unnest(ARRAY['member', 'document', 'entry', 'stored_lot', 'allocation', 'tier_change', 'message', 'member_day', 'member_summary']) t \gexec
SELECT shop.live('by SQL');
SELECT bag_eq($$SELECT * FROM shop.books('by SQL')$$, 'SELECT * FROM directly', 'books that are watched are the same');
SELECT is((SELECT string_agg(DISTINCT book, ' ' ORDER BY book) FROM shop.watched),
	'allocation document entry member member_day member_summary message stored_lot tier_change', 'and every row was seen');
SELECT is((SELECT count(*) FROM shop.watched WHERE book = 'entry'), (SELECT count(*) FROM shop.books('by SQL') WHERE what = 'entry'), 'each entry once');
SELECT format('DROP TRIGGER watch ON loyalty.%I', t)
FROM unnest(ARRAY['member', 'document', 'entry', 'stored_lot', 'allocation', 'tier_change', 'message', 'member_day', 'member_summary']) t \gexec
SELECT loyalty.detach('by SQL') \gset
TRUNCATE shop.invoice;

-- another access method, be it the same in disguise
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
SELECT format('ALTER TABLE loyalty.%I SET ACCESS METHOD other', t)
FROM unnest(ARRAY['member', 'document', 'entry', 'stored_lot']) t \gexec
SELECT shop.live('in another table');
SELECT bag_eq($$SELECT * FROM shop.books('in another table')$$, 'SELECT * FROM directly', 'nor does the way of storing make a difference');

-- it is SQL that writes there: it looks at constraints, which direct writing need not
ALTER TABLE loyalty.entry ADD CONSTRAINT never CHECK (points < 7777) NOT VALID;
SET LOCAL client_min_messages = error;
INSERT INTO shop.invoice (id, customer, total) VALUES (90001, 'refused', 77770);
SELECT is((SELECT count(*) FROM shop.pending WHERE doc_key = '90001'), 1::bigint, 'by SQL, which sees a constraint of somebody''s');
ALTER TABLE loyalty.entry DROP CONSTRAINT never;
DELETE FROM shop.invoice WHERE id = 90001;
SET LOCAL client_min_messages = warning;

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
