-- Odd turns of expiry.  Each is played twice, without upkeep and with upkeep
-- at the worst moment: the answers are the same.
\ir common.psql
SELECT no_plan();

ALTER TABLE shop.invoice ADD program text;

CREATE FUNCTION shop.play(program text, negative text DEFAULT 'debt', expires text DEFAULT 'never', lapse_after text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT loyalty.create_program(program, 'UTC', negative => negative), loyalty.set_rule(program, 'base', 1, 1),
		loyalty.set_rule(program, 'short', 10, kind => 'bonus', condition => 'document.channel = ''app''', expires => '10 days'),
		loyalty.set_redemption(program, 0.1, restore_grace_days => 30), loyalty.set_expiry(program, expires, lapse_after => lapse_after),
		loyalty.attach(program, program, 'shop.invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total',
			void => 'r.cancelled', return_of => 'r.return_of', channel => 'r.channel', filter => format('r.program = %L', program)) $$;

-- upkeep comes to programmes whose name begins with tidy, and to no others
CREATE FUNCTION shop.upkeep(program text, customer text, as_of timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := loyalty.member_id(program, customer);
	v_last bigint;
BEGIN
	IF program LIKE 'tidy%' THEN
		v_last := (SELECT e.last FROM loyalty.expire_points(as_of, v_id - 1, 1) e);
		IF v_last IS DISTINCT FROM v_id THEN
			RAISE EXCEPTION '% is not due by %', customer, as_of;
		END IF;
	END IF;
END $$;
-- each programme has sales of its own
CREATE FUNCTION shop.id(program text, n integer) RETURNS integer LANGUAGE sql AS $$
	SELECT n + 100 * p.program_id FROM loyalty.program p WHERE p.name = program $$;
CREATE FUNCTION shop.sale(program text, id integer, customer text, at timestamptz, total numeric, channel text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, program, customer, at, total, channel) SELECT shop.id(program, id), program, customer, at, total, channel;
	PERFORM loyalty.settle();
END $$;
CREATE FUNCTION shop.void(program text, id integer, void boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE shop.invoice i SET cancelled = void.void WHERE i.id = shop.id(void.program, void.id);
	PERFORM loyalty.settle();
END $$;
-- what is left of each lot, written down as expired or not
CREATE FUNCTION shop.lots(p text, c text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s/%s', trim_scale(l.remaining + l.expired), trim_scale(l.points)), ' ' ORDER BY l.seq)
	FROM loyalty.lot l WHERE l.member_id = loyalty.member_id(p, c) $$;

-- points that come back find no room in what has expired
CREATE FUNCTION shop.room(p text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.play(p);
	PERFORM shop.sale(p, 1, 'ann', '2024-01-01', 10);
	PERFORM loyalty.redeem(p, 'ann', 10, 'k', at => '2024-01-02');
	PERFORM shop.sale(p, 2, 'ann', '2024-01-02', -10);	-- 10 owed
	PERFORM loyalty.adjust(p, 'ann', 10, 'why', 'a', '2024-01-13', '2024-01-03');	-- repays them
	PERFORM shop.void(p, 2, true);						-- and gets them back
	PERFORM shop.upkeep(p, 'ann', '2024-02-01');
	UPDATE shop.invoice SET at = '2024-02-10', cancelled = false WHERE id = shop.id(p, 2);
	PERFORM loyalty.settle();							-- 10 owed
	PERFORM shop.sale(p, 3, 'ann', '2024-02-11', 30);	-- repays them
	PERFORM shop.void(p, 2, true);						-- and gets them back
	RETURN shop.lots(p, 'ann') || ', ' || loyalty.available(p, 'ann', '2024-02-12');
END $$;
SELECT is(shop.room('lazy room'), '0/10 0/-10 10/10 0/-10 30/30, 30.00', 'they go to what lives');
SELECT is(shop.room('tidy room'), '0/10 0/-10 10/10 0/-10 30/30, 30.00', 'with upkeep, too');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- a late correction repays a debt with what its document still had on that day
CREATE FUNCTION shop.debt(p text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.play(p);
	PERFORM shop.sale(p, 1, 'ann', '2024-01-01', 20, 'app');
	PERFORM shop.sale(p, 2, 'ann', '2024-01-02', 40);
	PERFORM loyalty.redeem(p, 'ann', 60, 'k', at => '2024-02-01');		-- what is valid then
	PERFORM shop.upkeep(p, 'ann', '2024-02-01');
	PERFORM shop.sale(p, 3, 'ann', '2024-02-10', -40);
	UPDATE shop.invoice SET total = 25 WHERE id = shop.id(p, 1);
	PERFORM loyalty.settle();
	RETURN shop.lots(p, 'ann') || ', ' || loyalty.balance(p, 'ann', '2024-02-12');
END $$;
SELECT is(shop.debt('lazy debt'), '0/10 0/20 0/40 -25/-40 0/5, -25.00', 'with what is there now and what was');
SELECT is(shop.debt('tidy debt'), '0/10 0/20 0/40 -25/-40 0/5, -25.00', 'with upkeep, too');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- who lapses without points lapses all the same: what comes back then is valid for the days of grace
CREATE FUNCTION shop.poor(p text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.play(p, lapse_after => '30 days');
	PERFORM shop.sale(p, 1, 'ann', '2024-01-01', 20, 'app');
	PERFORM loyalty.redeem(p, 'ann', 30, 'k', at => '2024-01-02');
	PERFORM shop.upkeep(p, 'ann', '2024-02-20');
	PERFORM shop.sale(p, 2, 'ann', '2024-03-01', 5);
	PERFORM loyalty.cancel_redemption(p, 'ann', 'k', '2024-03-02');
	RETURN (SELECT string_agg(concat(trim_scale(l.remaining), CASE WHEN l.expires_on > now() AND l.expires_on < 'infinity' THEN ' for days of grace' END), ', ' ORDER BY l.seq)
		FROM loyalty.lot l WHERE l.member_id = loyalty.member_id(p, 'ann') AND l.remaining > 0);
END $$;
SELECT is(shop.poor('lazy poor'), '5, 30 for days of grace', 'a lapse is for spent points, too');
SELECT is(shop.poor('tidy poor'), '5, 30 for days of grace', 'with upkeep, too');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- a lapse that is noted and was none is undone for lots that are empty as well
CREATE FUNCTION shop.empty(p text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.play(p, lapse_after => '30 days');
	PERFORM shop.sale(p, 1, 'ann', '2024-01-01', 20);
	PERFORM loyalty.redeem(p, 'ann', 20, 'k', at => '2024-01-02');
	PERFORM loyalty.adjust(p, 'ann', 10, 'why', 'a', '2024-01-20', '2024-01-03');
	PERFORM shop.upkeep(p, 'ann', '2024-02-20');
	PERFORM shop.sale(p, 3, 'ann', '2024-01-30', 1);			-- it was no lapse
	PERFORM loyalty.cancel_redemption(p, 'ann', 'k', '2024-02-25');
	RETURN shop.lots(p, 'ann') || ', ' || loyalty.available(p, 'ann', '2024-02-26');
END $$;
SELECT is(shop.empty('lazy empty'), '20/20 10/10 1/1, 21.00', 'what comes back goes to its lot');
SELECT is(shop.empty('tidy empty'), '20/20 10/10 1/1, 21.00', 'with upkeep, too');

-- before a lapse, points are drawn in the order of their own days
CREATE FUNCTION shop.late(p text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.play(p, lapse_after => '30 days');
	PERFORM loyalty.enrol(p, 'ann');
	PERFORM loyalty.adjust(p, 'ann', 10, 'why', 'a1', 'infinity', '2024-01-01');
	PERFORM loyalty.adjust(p, 'ann', 10, 'why', 'a2', '2024-06-30', '2024-01-01');
	PERFORM shop.upkeep(p, 'ann', '2024-03-01');
	PERFORM loyalty.redeem(p, 'ann', 4, 'k', at => '2024-01-15');
	PERFORM shop.upkeep(p, 'ann', '2024-03-01');
	PERFORM loyalty.enrol(p, 'bob');
	PERFORM loyalty.transfer(p, 'ann', 'bob', 10, 't', '2024-01-20');
	RETURN shop.lots(p, 'ann') || ', ' || (SELECT string_agg(l.points || ' ' || CASE WHEN l.expires_on = 'infinity' THEN 'never' ELSE to_char(l.expires_on, 'MM-DD') END, ', ' ORDER BY l.seq)
		FROM loyalty.lot l WHERE l.member_id = loyalty.member_id(p, 'bob'));
END $$;
SELECT is(shop.late('lazy late'), '6/10 0/10, 6.00 06-30, 4.00 never', 'soonest expiring first, and whoever gets them has them as long');
SELECT is(shop.late('tidy late'), '6/10 0/10, 6.00 06-30, 4.00 never', 'with upkeep, too');

-- answers count what is valid
CREATE FUNCTION shop.answers(p text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_answer text := '';
BEGIN
	PERFORM shop.play(p, lapse_after => '90 days');
	PERFORM shop.sale(p, 1, 'ann', '2024-01-01', 20, 'app');
	PERFORM loyalty.enrol(p, 'bob');
	PERFORM loyalty.adjust(p, 'bob', 10, 'why', 'a', '2024-01-11', '2024-01-01');
	PERFORM shop.upkeep(p, 'ann', '2024-02-01');
	v_answer := (SELECT e.points FROM loyalty.extend_points(p, 'ann', '2024-12-31', 'ill', 'e', at => '2024-02-01') e);
	PERFORM shop.upkeep(p, 'bob', '2024-02-01');
	RETURN v_answer || ', ' || (SELECT m.points || ' of ' || m.balance FROM loyalty.merge_customers(p, 'bob', 'ann', '2024-02-01') m);
END $$;
SELECT is(shop.answers('lazy answers'), '20.00, 0.00 of 20.00', 'of an extension and of a merge');
SELECT is(shop.answers('tidy answers'), '20.00, 0.00 of 20.00', 'with upkeep, too');
SELECT shop.sale('lazy answers', 3, 'cat', '2024-01-01', 20) \gset
SELECT throws_ok($$SELECT loyalty.extend_points('lazy answers', 'cat', '2024-12-31', 'ill', 'e', at => '2024-06-01')$$, 'LY010', NULL, 'what has lapsed is not extended');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- what was written off when a sale went is no points it has
SELECT shop.play('off', negative => 'write_off') \gset
SELECT shop.sale('off', 10, 'ann', '2024-01-01', 20) \gset
SELECT loyalty.redeem('off', 'ann', 15, 'k', at => '2024-01-02') \gset
SELECT shop.void('off', 10, true) \gset
SELECT is(loyalty.balance('off', 'ann'), 0.00, 'nothing is owed');
SELECT is_empty('SELECT * FROM loyalty.check()', 'and the books agree');

-- a sale that changes while it is cancelled comes back as it is then
SELECT shop.void('off', 10, false) \gset
SELECT is(shop.booked('off', shop.id('off', 10)::text), 20::numeric, 'it came back');
SELECT shop.void('off', 10, true) \gset
UPDATE shop.invoice SET channel = 'app' WHERE id = shop.id('off', 10);
SELECT loyalty.settle() \gset
SELECT shop.void('off', 10, false) \gset
SELECT is(shop.booked('off', shop.id('off', 10)::text), 30::numeric, 'and as a sale of another channel');
SELECT is_empty($$SELECT * FROM loyalty.verify('off')$$, 'verify() agrees');
SELECT is_empty('SELECT * FROM loyalty.check()', 'and so do the books');

-- before and after all days
SELECT is(loyalty.available('lazy room', 'ann', 'infinity'), 30.00, 'what never expires can be spent at the end of time');
SELECT is(loyalty.available('lazy answers', 'ann', 'infinity') || ' ' || loyalty.balance('lazy answers', 'ann', 'infinity'), '0.00 0.00', 'and what expires cannot');
SELECT lives_ok($$SELECT loyalty.points('lazy answers', 'ann', '-infinity')$$, 'nor does its beginning hurt');

-- a merged customer's documents concern the points that went to the other one
SELECT shop.play('merge', expires => '1 month') \gset
SELECT loyalty.enrol('merge', 'ann') \gset
SELECT shop.sale('merge', 1, 'bob', '2024-01-01', 100) \gset
SELECT loyalty.merge_customers('merge', 'bob', 'ann', '2024-01-05') \gset
SELECT shop.void('merge', 1, true) \gset
SELECT is(debt, 0.00::numeric(18,2), 'nothing is owed for goods that come back') FROM loyalty.points('merge', 'ann');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
SELECT shop.void('merge', 1, false) \gset
SELECT is(debt || ' ' || balance, '0.00 0.00', 'nor when they stay after all') FROM loyalty.points('merge', 'ann');
SELECT is(loyalty.balance('merge', 'ann', '2024-01-20'), 100.00, 'while they were valid they are there');
SELECT loyalty.expire_points('2026-01-01') \gset
SELECT shop.void('merge', 1, true) \gset
SELECT is(debt || ' ' || balance, '0.00 0.00', 'and the same after upkeep') FROM loyalty.points('merge', 'ann');
SELECT is(loyalty.balance('merge', 'ann', '2024-01-20'), 0.00, 'they never were');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
ALTER TABLE shop.invoice ADD paid_on date;
SELECT loyalty.create_program('paid', 'UTC'), loyalty.set_rule('paid', 'base', 1, 1), loyalty.set_redemption('paid', 0.1),
	loyalty.attach('paid', 'paid', 'shop.invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total',
		usable_from => 'r.paid_on', filter => 'r.program = ''paid''') \gset
SELECT loyalty.enrol('paid', 'ann') \gset
SELECT shop.sale('paid', 1, 'bob', '2024-01-01', 100) \gset
SELECT loyalty.merge_customers('paid', 'bob', 'ann', '2024-01-05') \gset
UPDATE shop.invoice SET paid_on = '2024-01-10' WHERE program = 'paid';
SELECT loyalty.settle() \gset
SELECT is(available, 100.00::numeric(18,2), 'once it is paid, the points can be spent') FROM loyalty.points('paid', 'ann', '2024-01-11');
SELECT is(pending, 100.00::numeric(18,2), 'not before') FROM loyalty.points('paid', 'ann', '2024-01-09');
SELECT is(loyalty.balance('paid', 'ann', '2024-01-06'), 100.00, 'all the time they were hers');
UPDATE shop.invoice SET paid_on = NULL WHERE program = 'paid';
SELECT loyalty.settle() \gset
SELECT is(pending || ' ' || available, '100.00 0.00', 'a payment that bounced') FROM loyalty.points('paid', 'ann', '2024-01-11');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');
-- what is booked late for him is hers from its own time on
SELECT shop.sale('paid', 2, 'bob', '2024-03-01', 40) \gset
SELECT is(loyalty.balance('paid', 'ann', '2024-03-02'), 140.00, 'a sale that comes late counts from its day');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- what has expired is told once, also when something was booked late in between
SELECT loyalty.create_program('once', 'UTC'), loyalty.set_rule('once', 'base', 1, 1), loyalty.set_redemption('once', 1),
	loyalty.set_expiry('once', 'never', lapse_after => '30 days', lapse_activities => '{earn}'), loyalty.set_message('once', 'expired'),
	loyalty.attach('once', 'once', 'shop.invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total',
		filter => 'r.program = ''once''') \gset
CREATE FUNCTION shop.told() RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(x.payload ->> 'points', ', ' ORDER BY x.cause) FROM loyalty.message x WHERE x.member_id = loyalty.member_id('once', 'ann') $$;
SELECT shop.sale('once', 1, 'ann', '2024-03-01', 100) \gset
SELECT loyalty.expire_points('2024-05-01', 0, 10000) \gset
SELECT is(shop.told(), '100', 'points expired');
SELECT points FROM loyalty.redeem('once', 'ann', 30, 'r1', at => '2024-03-20') \gset
SELECT loyalty.expire_points('2024-05-01', 0, 10000) \gset
SELECT is((SELECT string_agg(e.points::text, ', ' ORDER BY e.seq) FROM loyalty.entry e WHERE e.member_id = loyalty.member_id('once', 'ann') AND e.kind = 'expire'),
	'-100.00, 100.00, -70.00', 'some of them had been spent, it turns out');
SELECT is(shop.told(), '100', 'that is no news of what expired');
SELECT shop.sale('once', 2, 'ann', '2024-02-20', 50) \gset
SELECT loyalty.expire_points('2024-05-01', 0, 10000) \gset
SELECT is(shop.told(), '100, 20', 'only what is more than was told');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

-- settings that come later do not bring back what is gone, with or without upkeep in between
SELECT loyalty.create_program(p, 'UTC'), loyalty.set_rule(p, 'base', 1, 1), loyalty.set_expiry(p, 'never', lapse_after => CASE p WHEN 'idle' THEN '30 days' END,
		points_until => CASE p WHEN 'over' THEN date '2024-06-30' ELSE 'infinity' END),
	loyalty.attach(p, p, 'shop.invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', filter => format('r.program = %L', p))
	FROM (VALUES ('idle'), ('over')) v (p) \g /dev/null
SELECT shop.sale(p, CASE c WHEN 'ann' THEN 1 ELSE 2 END, c, '2024-03-01', 100) FROM (VALUES ('idle'), ('over')) v (p) CROSS JOIN (VALUES ('ann'), ('bob')) w (c) \g /dev/null
SELECT loyalty.expire_points('2024-12-01', loyalty.member_id(p, 'ann') - 1, 1) FROM (VALUES ('idle'), ('over')) v (p) \g /dev/null
SELECT loyalty.set_expiry(p, 'never', lapse_after => CASE p WHEN 'idle' THEN '100 years' END) FROM (VALUES ('idle'), ('over')) v (p) \g /dev/null
SELECT results_eq($$SELECT p, c, loyalty.balance(p, c), loyalty.balance(p, c, '2024-03-15'), (loyalty.points(p, c)).available
		FROM (VALUES ('idle'), ('over')) v (p) CROSS JOIN (VALUES ('ann'), ('bob')) w (c) ORDER BY 1, 2$$,
	$$VALUES ('idle', 'ann', 0.00::numeric(18,2), 100.00::numeric(18,2), 0.00::numeric(18,2)), ('idle', 'bob', 0, 100, 0), ('over', 'ann', 0, 100, 0), ('over', 'bob', 0, 100, 0)$$,
	'what had lapsed, or ended with the programme, stays gone');
-- and nobody else's books are touched for it
SELECT loyalty.create_program(p, 'UTC'), loyalty.set_rule(p, 'base', 1, 1), loyalty.set_expiry(p, 'never', points_until => '2024-06-30'),
	loyalty.attach(p, p, 'shop.invoice', key => 'r.id', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total', filter => format('r.program = %L', p))
	FROM (VALUES ('own'), ('else')) v (p) \g /dev/null
SELECT shop.sale(p, 1, 'ann', '2024-03-01', 100) FROM (VALUES ('own'), ('else')) v (p) \g /dev/null
SELECT loyalty.set_expiry('own', 'never') \g /dev/null
SELECT results_eq($$SELECT p, loyalty.balance(p, 'ann'), (SELECT count(*) FROM loyalty.entry e WHERE e.member_id = loyalty.member_id(p, 'ann') AND e.kind = 'expire')
		FROM (VALUES ('own'), ('else')) v (p)$$, $$VALUES ('own', 0.00::numeric(18,2), 1::bigint), ('else', 0, 0)$$, 'it is written down for the programme alone');
SELECT throws_ok($$SELECT loyalty.expire_points(NULL, 0, 10, 'no')$$, 'LY001', NULL, 'upkeep of a programme that there is');
SELECT is((SELECT done FROM loyalty.expire_points(program => 'else')), 1::bigint, 'that of the other one is due');
SELECT is_empty('SELECT * FROM loyalty.check()', 'the books agree');

SELECT * FROM finish();
ROLLBACK;
