-- Returns that do not say what they return, and what becomes of points that
-- are no longer there.
\ir common.psql
SELECT no_plan();

CREATE TABLE shop.neg (id integer PRIMARY KEY, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric, of integer, void boolean DEFAULT false);
CREATE TABLE shop.ign (LIKE shop.neg INCLUDING ALL);
CREATE TABLE shop.cla (LIKE shop.neg INCLUDING ALL);
CREATE TABLE shop.wri (LIKE shop.neg INCLUDING ALL);
SELECT loyalty.create_program('neg', 'UTC') \gset
SELECT loyalty.create_program('ign', 'UTC') \gset
SELECT loyalty.create_program('cla', 'UTC') \gset
SELECT loyalty.create_program('wri', 'UTC', negative => 'write_off') \gset
SELECT loyalty.set_rule(p, 'base', 1, 1), loyalty.set_tier(p, 'Double', 1000, 2),
	loyalty.attach(p, p, ('shop.' || p)::regclass, 'r.id', 'r.customer', 'r.at', amount => 'r.total', return_of => 'r.of', void => 'r.void', evaluate => 'statement',
		unlinked => CASE p WHEN 'ign' THEN 'ignore' WHEN 'cla' THEN 'clamp' ELSE 'negative' END)
	FROM unnest('{neg,ign,cla,wri}'::text[]) p \g /dev/null

-- negative: what the amount would earn now is taken
INSERT INTO shop.neg (id, customer, total) VALUES (1, 'ann', 100);
INSERT INTO shop.neg (id, customer, total, at) VALUES (2, 'ann', -40, '2024-03-11');
SELECT is(loyalty.balance('neg', 'ann'), 60.00, 'negative: a return without a link takes what its amount would earn');
SELECT is((SELECT kind || ' ' || root_key FROM shop.doc('neg', '2')), 'return ', 'it is a return of no family');
SELECT is(shop.qualifying('neg', 'ann'), 60::numeric, 'it lowers what qualifies');
UPDATE shop.neg SET total = -50 WHERE id = 2;
SELECT is(loyalty.balance('neg', 'ann'), 50.00, 'edited');
UPDATE shop.neg SET void = true WHERE id = 2;
SELECT is(loyalty.balance('neg', 'ann'), 100.00, 'cancelled');
SELECT is(shop.qualifying('neg', 'ann'), 100::numeric, 'altogether');
-- at the member's tier of the moment
INSERT INTO shop.neg (id, customer, total) VALUES (5, 'bob', 2000);
INSERT INTO shop.neg (id, customer, total, at) VALUES (6, 'bob', -100, '2024-03-11');
SELECT is(shop.entries('neg', 'bob'), 'earn 4000, return -200', 'at the tier the member is in');
INSERT INTO shop.neg (id, customer, total, at) VALUES (7, 'bob', -1500, '2024-03-12');
SELECT is(shop.booked('neg', '7'), -3000::numeric, 'even where it drops the member out of it');
SELECT is(shop.tier('neg', 'bob'), NULL, 'which it does');
INSERT INTO shop.neg (id, customer, total, at) VALUES (8, 'bob', -100, '2024-03-13');
SELECT is(shop.booked('neg', '8'), -100::numeric, 'the next one goes by the lower tier');
-- rounding is towards what the amount would have earned
SELECT loyalty.set_rule('neg', 'base', 1, 30) \gset
INSERT INTO shop.neg (id, customer, total) VALUES (9, 'rnd', 100);
INSERT INTO shop.neg (id, customer, total) VALUES (10, 'rnd', -100);
SELECT is(shop.entries('neg', 'rnd'), 'earn 3, return -3', 'an amount takes what the same amount gave');
SELECT loyalty.set_rule('neg', 'base', 1, 1) \gset
-- NULL and zero totals are no returns
INSERT INTO shop.neg (id, customer, total) VALUES (11, 'zer', 0);
SELECT is((SELECT count(*) FROM shop.entry WHERE member_id = loyalty.member_id('neg', 'zer')), 0::bigint, 'a total of 0 moves nothing');

-- ignore
INSERT INTO shop.ign (id, customer, total) VALUES (1, 'ann', 100);
INSERT INTO shop.ign (id, customer, total, at) VALUES (2, 'ann', -40, '2024-03-11');
SELECT is(loyalty.balance('ign', 'ann'), 100.00, 'ignore: it takes nothing');
SELECT is(shop.qualifying('ign', 'ann'), 100::numeric, 'and lowers nothing');
SELECT is(shop.entries('ign', 'ann'), 'earn 100', 'and writes nothing');
INSERT INTO shop.ign (id, customer, total, of, at) VALUES (3, 'ann', -40, 1, '2024-03-12');
SELECT is(loyalty.balance('ign', 'ann'), 60.00, 'a linked one is a return all the same');
INSERT INTO shop.ign (id, customer, total, of) VALUES (5, 'bob', -40, 4);
SELECT is(loyalty.balance('ign', 'bob'), 0.00, 'one whose sale is not known is ignored');
INSERT INTO shop.ign (id, customer, total) VALUES (4, 'bob', 100);
SELECT is(loyalty.balance('ign', 'bob'), 60.00, 'until it is');

-- clamp
INSERT INTO shop.cla (id, customer, total) VALUES (1, 'ann', 30);
INSERT INTO shop.cla (id, customer, total, at) VALUES (2, 'ann', -40, '2024-03-11');
SELECT is(loyalty.balance('cla', 'ann'), 0.00, 'clamp: it takes what is there');
SELECT is(shop.booked('cla', '2'), -30::numeric, 'and books that');
SELECT is((SELECT debt FROM shop.member WHERE member_id = loyalty.member_id('cla', 'ann')), 0.00, 'no debt is left');
INSERT INTO shop.cla (id, customer, total, at) VALUES (3, 'ann', 5, '2024-03-12');
SELECT is(loyalty.balance('cla', 'ann'), 5.00, 'the next earnings are the member''s');
UPDATE shop.cla SET void = true WHERE id = 2;
SELECT is(loyalty.balance('cla', 'ann'), 35.00, 'cancelled, it gives back what it took and not more');
INSERT INTO shop.cla (id, customer, total) VALUES (4, 'bob', -40);
SELECT is(loyalty.balance('cla', 'bob'), 0.00, 'from nothing it takes nothing');
UPDATE shop.cla SET void = true WHERE id = 4;
SELECT is(loyalty.balance('cla', 'bob'), 0.00, 'and gives nothing back');

-- debt, lot by lot
CREATE FUNCTION shop.lots(program text, customer text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s: %s of %s%s', l.seq, trim_scale(l.remaining), trim_scale(l.points), CASE WHEN l.is_open THEN '' ELSE ' closed' END), ', ' ORDER BY l.seq)
	FROM loyalty.lot l WHERE l.member_id = loyalty.member_id($1, $2) AND (l.points, l.remaining) <> (0, 0)
$$;
CREATE FUNCTION shop.moves(program text, customer text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s->%s: %s', a.entry_seq, a.lot_seq, trim_scale(a.points)), ', ' ORDER BY a.entry_seq, a.lot_seq)
	FROM loyalty.allocation a WHERE a.member_id = loyalty.member_id($1, $2)
$$;
CREATE FUNCTION shop.standing(program text, customer text) RETURNS text LANGUAGE sql AS $$
	SELECT format('balance %s, debt %s', trim_scale(m.balance), trim_scale(m.debt)) FROM shop.member m WHERE m.member_id = loyalty.member_id($1, $2)
$$;
INSERT INTO shop.neg (id, customer, total, at) VALUES (101, 'deb', 30, '2024-03-01');
SELECT is(shop.lots('neg', 'deb'), '1: 30 of 30', 'a sale makes a lot');
INSERT INTO shop.neg (id, customer, total, at) VALUES (102, 'deb', -50, '2024-03-02');
SELECT is(shop.standing('neg', 'deb'), 'balance -20, debt 20', 'more taken than there is: debt');
SELECT is(shop.lots('neg', 'deb'), '1: 0 of 30 closed, 2: -20 of -20', 'the lot is used up, the debt is a negative one');
SELECT is(shop.moves('neg', 'deb'), '2->1: -30', 'the return drew from the lot');
INSERT INTO shop.neg (id, customer, total, at) VALUES (103, 'deb', 15, '2024-03-03');
SELECT is(shop.standing('neg', 'deb'), 'balance -5, debt 5', 'the next earnings repay');
SELECT is(shop.lots('neg', 'deb'), '1: 0 of 30 closed, 2: -5 of -20, 3: 0 of 15 closed', 'with the lot they made');
SELECT is(shop.moves('neg', 'deb'), '2->1: -30, 3->2: 15, 3->3: -15', 'from which they go to the debt');
INSERT INTO shop.neg (id, customer, total, at) VALUES (104, 'deb', 12, '2024-03-04');
SELECT is(shop.standing('neg', 'deb'), 'balance 7, debt 0', 'more than the debt');
SELECT is(shop.lots('neg', 'deb'), '1: 0 of 30 closed, 2: 0 of -20 closed, 3: 0 of 15 closed, 4: 7 of 12', 'leaves a rest in its lot');
SELECT is(shop.moves('neg', 'deb'), '2->1: -30, 3->2: 15, 3->3: -15, 4->2: 5, 4->4: -5', 'after it has repaid');
SELECT is(shop.entries('neg', 'deb'), 'earn 30, return -50, earn 15, earn 12', 'the entries say what was earned');
-- a return that is cancelled while its debt is part repaid
INSERT INTO shop.neg (id, customer, total, at) VALUES (111, 'undo', -50, '2024-03-02'), (112, 'undo', 20, '2024-03-03');
SELECT is(shop.standing('neg', 'undo'), 'balance -30, debt 30', 'a debt partly repaid');
UPDATE shop.neg SET void = true WHERE id = 111;
SELECT is(shop.standing('neg', 'undo'), 'balance 20, debt 0', 'its cause is cancelled: what was repaid is the member''s again');
-- a claw-back takes from the lot of its own sale first
INSERT INTO shop.neg (id, customer, total, at) VALUES (121, 'own', 10, '2024-03-01'), (122, 'own', 20, '2024-03-02'), (123, 'own', 30, '2024-03-03');
INSERT INTO shop.neg (id, customer, total, of, at) VALUES (124, 'own', -15, 122, '2024-03-04');
SELECT is(shop.lots('neg', 'own'), '1: 10 of 10, 2: 5 of 20, 3: 30 of 30', 'a return takes from the lot of its sale');
UPDATE shop.neg SET void = true WHERE id = 123;
SELECT is(shop.lots('neg', 'own'), '1: 10 of 10, 2: 5 of 20, 3: 0 of 30 closed', 'so does a cancellation');
UPDATE shop.neg SET void = true WHERE id = 124;
SELECT is(shop.lots('neg', 'own'), '1: 10 of 10, 2: 20 of 20, 3: 0 of 30 closed', 'and what is given back goes there');
-- points gone before their sale is returned
INSERT INTO shop.neg (id, customer, total, at) VALUES (131, 'spent', 100, '2024-03-01'), (132, 'spent', -100, '2024-03-02');
SELECT is(shop.standing('neg', 'spent'), 'balance 0, debt 0', 'all points are gone');
INSERT INTO shop.neg (id, customer, total, of, at) VALUES (133, 'spent', -60, 131, '2024-03-03');
SELECT is(shop.standing('neg', 'spent'), 'balance -60, debt 60', 'points taken back that are gone become debt');
UPDATE shop.neg SET void = true WHERE id = 131;
SELECT is(shop.standing('neg', 'spent'), 'balance -100, debt 100', 'and those of the cancelled rest');
INSERT INTO shop.neg (id, customer, total, at) VALUES (134, 'spent', 250, '2024-03-04');
SELECT is(shop.standing('neg', 'spent'), 'balance 150, debt 0', 'and are repaid');
UPDATE shop.neg SET void = false WHERE id = 131;
UPDATE shop.neg SET void = true WHERE id IN (132, 133);
SELECT is(shop.standing('neg', 'spent'), 'balance 350, debt 0', 'everything undone: what the two sales earn');
-- in several debts the oldest is repaid first
INSERT INTO shop.neg (id, customer, total, at) VALUES (141, 'two', -10, '2024-03-01'), (142, 'two', -20, '2024-03-02'), (143, 'two', 15, '2024-03-03');
SELECT is(shop.lots('neg', 'two'), '1: 0 of -10 closed, 2: -15 of -20, 3: 0 of 15 closed', 'the older debt is repaid first');

-- write_off
INSERT INTO shop.wri (id, customer, total, at) VALUES (1, 'ann', 30, '2024-03-01');
INSERT INTO shop.wri (id, customer, total, at) VALUES (2, 'ann', -50, '2024-03-02');
SELECT is(shop.standing('wri', 'ann'), 'balance 0, debt 0', 'write_off: the balance stops at 0');
SELECT is((SELECT written_off FROM shop.doc('wri', '2')), 20.00, 'what was missing is written off');
INSERT INTO shop.wri (id, customer, total, at) VALUES (3, 'ann', 10, '2024-03-03');
SELECT is(shop.standing('wri', 'ann'), 'balance 10, debt 0', 'the next earnings are the member''s');
UPDATE shop.wri SET void = true WHERE id = 2;
SELECT is(shop.standing('wri', 'ann'), 'balance 40, debt 0', 'cancelled, it gives back what it took, not what was written off');
SELECT is((SELECT written_off FROM shop.doc('wri', '2')), 0.00, 'and nothing is written off any more');
INSERT INTO shop.wri (id, customer, total, at) VALUES (10, 'bob', 100, '2024-03-01'), (11, 'bob', -100, '2024-03-02');
INSERT INTO shop.wri (id, customer, total, of, at) VALUES (12, 'bob', -60, 10, '2024-03-03');
SELECT is(shop.standing('wri', 'bob'), 'balance 0, debt 0', 'a linked return of points that are gone');
SELECT is((SELECT written_off FROM shop.doc('wri', '12')), 60.00, 'is written off');
UPDATE shop.wri SET total = 50 WHERE id = 10;
SELECT is(shop.standing('wri', 'bob'), 'balance 0, debt 0', 'a sale corrected downwards as well');

SELECT is_empty($$SELECT v.* FROM unnest('{neg,ign,cla,wri}'::text[]) s, loyalty.verify(s) v WHERE v.customer <> 'rnd'$$, 'verify agrees, but for the documents whose rule has changed since');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
