-- Returns linked to the sale they return: by document, by value.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('ret', 'UTC') \gset
SELECT loyalty.set_rule('ret', 'base', 1, 30) \gset
SELECT shop.attach('inv', 'ret', evaluate => 'statement', paid_by_points => 'r.points_paid') \gset

-- what every family must hold, at any time
CREATE FUNCTION shop.family(key text, VARIADIC returns text[]) RETURNS text LANGUAGE sql AS $$
	SELECT shop.booked('inv', key) || ' ' || (SELECT string_agg(shop.booked('inv', r)::text, ' ' ORDER BY o) FROM unnest(returns) WITH ORDINALITY u (r, o))
$$;

-- 100 at 1 per 30 with returns of 33, 33, 34: cumulative targets 3, 2, 1, 0
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'cum', 100);
SELECT is(loyalty.balance('ret', 'cum'), 3.00, '100 at 1 per 30 is 3');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (2, 'cum', -33, 1, '2024-03-11');
SELECT is(loyalty.balance('ret', 'cum'), 2.00, '33 returned: 2');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (3, 'cum', -33, 1, '2024-03-12');
SELECT is(loyalty.balance('ret', 'cum'), 1.00, '33 more: 1');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (4, 'cum', -34, 1, '2024-03-13');
SELECT is(loyalty.balance('ret', 'cum'), 0.00, 'the last 34: 0');
SELECT is(shop.entries('ret', 'cum'), 'earn 3, return -1, return -1, return -1', 'one entry each');
SELECT is((SELECT string_agg(kind || ' ' || root_key, ', ' ORDER BY doc_key) FROM shop.document WHERE member_id = loyalty.member_id('ret', 'cum')),
	'sale , return 1, return 1, return 1', 'the returns know their sale');
-- all in one statement
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES
	(14, 'one', -34, 11, '2024-03-13'), (12, 'one', -33, 11, '2024-03-11'), (11, 'one', 100, NULL, '2024-03-10'), (13, 'one', -33, 11, '2024-03-12');
SELECT is(shop.entries('ret', 'one'), 'earn 3, return -1, return -1, return -1', 'the same in one statement, in any order');

-- the worked example: two items of 50 that earned 70, since 30 was paid with points
SELECT loyalty.create_program('one', 'UTC') \gset
SELECT loyalty.set_rule('one', 'base', 1, 1) \gset
SELECT loyalty.set_tier('one', 'Double', 1000, 2) \gset
SELECT loyalty.detach('inv') \gset
SELECT shop.attach('i1', 'one', evaluate => 'statement', paid_by_points => 'r.points_paid') \gset
INSERT INTO shop.invoice (id, customer, total, points_paid) VALUES (20, 'ex', 100, 30);
SELECT is(loyalty.balance('one', 'ex'), 70.00, 'earned 70');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (21, 'ex', -50, 20, '2024-03-11');
SELECT is(loyalty.balance('one', 'ex'), 35.00, 'one item refunded: -35');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (22, 'ex', -50, 20, '2024-03-12');
SELECT is(loyalty.balance('one', 'ex'), 0.00, 'both refunded: nothing');
SELECT is(shop.qualifying('one', 'ex'), 0::numeric, 'and nothing qualifies');

-- at the sale's own tier and rate, whatever the member is now
INSERT INTO shop.invoice (id, customer, total, at) VALUES (30, 'tier', 500, '2024-03-01'), (31, 'tier', 500, '2024-03-02');
SELECT is(shop.entries('one', 'tier'), 'earn 500, earn 1000', 'the second sale doubles');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (32, 'tier', -100, 30, '2024-03-05');
SELECT is(shop.booked('i1', '32'), -100::numeric, 'a return of the first takes what the first gave');
SELECT is(shop.tier('one', 'tier'), NULL, 'the tier falls with it');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (33, 'tier', -100, 31, '2024-03-06');
SELECT is(shop.booked('i1', '33'), -200::numeric, 'a return of the second takes what the second gave');
SELECT is(shop.booked('i1', '31'), 1000::numeric, 'the sale itself is not re-rated');
SELECT is(shop.qualifying('one', 'tier'), 800::numeric, '1,000 less 200 qualify');
-- and by the rules of the sale
INSERT INTO shop.invoice (id, customer, total) VALUES (35, 'rule', 100);
SELECT loyalty.set_rule('one', 'base', 7, 1) \gset
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (36, 'rule', -100, 35);
SELECT is(loyalty.balance('one', 'rule'), 0.00, 'a return goes by the rules of its sale');
SELECT loyalty.set_rule('one', 'base', 1, 1) \gset

-- over-credited
INSERT INTO shop.invoice (id, customer, total, at) VALUES (40, 'over', 100, '2024-03-01');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (41, 'over', -80, 40, '2024-03-02'), (42, 'over', -50, 40, '2024-03-03');
SELECT is(shop.entries('one', 'over'), 'earn 100, return -80, return -20', 'more returned than sold: clamped at nothing');
SELECT is((SELECT overcredited FROM shop.doc('i1', '42')), 30::numeric, 'and reported');
SELECT is((SELECT overcredited FROM shop.doc('i1', '41')), 0::numeric, 'where it happened');
SELECT is(shop.qualifying('one', 'over'), 0::numeric, 'the excess qualifies neither way');
UPDATE shop.invoice SET cancelled = true WHERE id = 41;
SELECT is(loyalty.balance('one', 'over'), 50.00, 'the first return is cancelled: the second counts in full');
SELECT is((SELECT overcredited FROM shop.doc('i1', '42')), 0::numeric, 'and is no longer too much');
SELECT is(shop.qualifying('one', 'over'), 50::numeric, '50 qualify');
UPDATE shop.invoice SET cancelled = false WHERE id = 41;
SELECT is(loyalty.balance('one', 'over'), 0.00, 'and cancelled back');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (43, 'over', -1000, 40, '2024-03-04');
SELECT is(loyalty.balance('one', 'over'), 0.00, 'one more moves nothing');
SELECT is((SELECT overcredited FROM shop.doc('i1', '43')), 1000::numeric, 'and is all too much');
UPDATE shop.invoice SET total = 900 WHERE id = 40;
SELECT is(loyalty.balance('one', 'over'), 0.00, 'the sale is corrected to 900, of which 1,130 came back');
SELECT is((SELECT overcredited FROM shop.doc('i1', '43')), 230::numeric, 'with less to report');
DELETE FROM shop.invoice WHERE id = 43;
SELECT is(loyalty.balance('one', 'over'), 770.00, 'without the last return 770 are left');

-- edited returns
INSERT INTO shop.invoice (id, customer, total, at) VALUES (50, 'ed', 100, '2024-03-01');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (51, 'ed', -20, 50, '2024-03-02'), (52, 'ed', -30, 50, '2024-03-03');
SELECT is(loyalty.balance('one', 'ed'), 50.00, 'two returns');
UPDATE shop.invoice SET total = -25 WHERE id = 51;
SELECT is(loyalty.balance('one', 'ed'), 45.00, 'one is changed');
UPDATE shop.invoice SET total = 60 WHERE id = 50;
SELECT is(loyalty.balance('one', 'ed'), 5.00, 'the sale is changed: the returns follow');
UPDATE shop.invoice SET total = 40 WHERE id = 50;
SELECT is(loyalty.balance('one', 'ed'), 0.00, 'below what came back: nothing');
UPDATE shop.invoice SET total = 100 WHERE id = 50;
SELECT is(loyalty.balance('one', 'ed'), 45.00, 'and back');
UPDATE shop.invoice SET return_of = NULL WHERE id = 52;
SELECT is(loyalty.balance('one', 'ed'), 45.00, 'a return whose link is taken away takes the same at this rate');
SELECT is((SELECT string_agg(root_key || ' ' || trim_scale(points), ', ' ORDER BY root_key) FROM shop.doc('i1', '52')), ' -30, 50 0', 'but is of no family');
UPDATE shop.invoice SET return_of = 50 WHERE id = 52;
SELECT is(loyalty.balance('one', 'ed'), 45.00, 'linked again');
DELETE FROM shop.invoice WHERE id IN (51, 52);
SELECT is(loyalty.balance('one', 'ed'), 100.00, 'deleted returns give everything back');

-- a cancelled credit note
INSERT INTO shop.invoice (id, customer, total) VALUES (60, 'can', 100);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (61, 'can', -100, 60);
UPDATE shop.invoice SET cancelled = true WHERE id = 61;
SELECT is(loyalty.balance('one', 'can'), 100.00, 'a cancelled credit note gives everything back');
SELECT is(shop.qualifying('one', 'can'), 100::numeric, 'also what qualifies');
UPDATE shop.invoice SET cancelled = false WHERE id = 61;
SELECT is(loyalty.balance('one', 'can'), 0.00, 'it may come into force again');
SELECT is((SELECT string_agg(e.kind, ' ' ORDER BY e.seq) FROM shop.entry e WHERE member_id = loyalty.member_id('one', 'can')),
	'earn return return return', 'entries of returns are returns');

-- a full refund that is a credit note and a cancellation
INSERT INTO shop.invoice (id, customer, total) VALUES (70, 'twice', 100);
SELECT loyalty.detach('i1') \gset
SELECT shop.attach('i1', 'one', evaluate => 'commit', paid_by_points => 'r.points_paid') \gset
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (71, 'twice', -100, 70);
UPDATE shop.invoice SET cancelled = true WHERE id = 70;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'twice'), 0.00, 'credit note and cancellation in one transaction count once');
SELECT is(shop.qualifying('one', 'twice'), 0::numeric, 'for the tier as well');
UPDATE shop.invoice SET cancelled = false WHERE id = 70;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'twice'), 0.00, 'the sale comes back: the credit note counts');
UPDATE shop.invoice SET cancelled = true WHERE id = 71;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'twice'), 100.00, 'and is cancelled: 100');
UPDATE shop.invoice SET cancelled = false WHERE id = 71;
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET cancelled = true WHERE id = 70;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'twice'), 0.00, 'one transaction after the other they count once too');
-- a sale and its refund that come together
INSERT INTO shop.invoice (id, customer, total) VALUES (72, 'same', 100);
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (73, 'same', -100, 72, '2024-03-09');
SELECT loyalty.settle() \gset
SELECT is(shop.entries('one', 'same'), 'earn 100, return -100', 'a sale is booked before its return, whatever the return''s date says');
INSERT INTO shop.invoice (id, customer, total, cancelled) VALUES (74, 'born', 100, true);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (75, 'born', -100, 74);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'born'), 0.00, 'a refund of a sale that never counted takes nothing');

-- return before its original
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (81, 'bef', -40, 80);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'bef'), 0.00, 'a return whose sale is not known takes nothing: nothing was earned for it');
INSERT INTO shop.invoice (id, customer, total) VALUES (80, 'bef', 100);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'bef'), 60.00, 'its sale appears');
SELECT is(shop.booked('i1', '80') || ' ' || shop.booked('i1', '81'), '100 -40', 'and the return is of its family');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (83, 'bef2', -500, 82);
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (82, 'bef2', 100);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'bef2'), 0.00, 'what was too much is corrected then');
SELECT is((SELECT overcredited FROM shop.doc('i1', '83') WHERE state = 'booked'), 400::numeric, 'and reported');
-- a sale that goes and comes
DELETE FROM shop.invoice WHERE id = 80;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'bef'), 0.00, 'the returns of a deleted sale move nothing');
INSERT INTO shop.invoice (id, customer, total) VALUES (80, 'bef', 100);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'bef'), 60.00, 'it is there again');

-- a return of a return
INSERT INTO shop.invoice (id, customer, total, at) VALUES (90, 'rr', 100, '2024-03-01');
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (91, 'rr', -60, 90, '2024-03-02');
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (92, 'rr', 20, 91, '2024-03-03');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'rr'), 60.00, 'a return of a return gives back');
SELECT is((SELECT root_key FROM shop.doc('i1', '92')), '90', 'in the family of the sale');
SELECT is(shop.qualifying('one', 'rr'), 60::numeric, 'and qualifies');
UPDATE shop.invoice SET total = 60 WHERE id = 92;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'rr'), 100.00, 'all of it');
UPDATE shop.invoice SET total = 500 WHERE id = 92;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'rr'), 100.00, 'but never more than was earned');
UPDATE shop.invoice SET total = 60 WHERE id = 92;
INSERT INTO shop.invoice (id, customer, total, return_of, at) VALUES (93, 'rr', -60, 92, '2024-03-04');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'rr'), 40.00, 'and a return of that takes it again');

-- a customer that changes on a sale with returns
INSERT INTO shop.invoice (id, customer, total) VALUES (100, 'c1', 100);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (101, 'c1', -30, 100);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET customer = 'c2' WHERE id IN (100, 101);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'c1'), 0.00, 'sale and return go to another customer: nothing stays');
SELECT is(loyalty.balance('one', 'c2'), 70.00, 'and all of it arrives');
-- a present that somebody else brings back: the buyer's points were never the bringer's
INSERT INTO shop.invoice (id, customer, total) VALUES (102, 'giver', 100);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (103, 'taker', -100, 102);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('one', 'giver') + loyalty.balance('one', 'taker'), 0.00, 'a return by somebody else takes the points once');
-- a return by a guest of a member's sale
INSERT INTO shop.invoice (id, customer, total) VALUES (104, 'mem', 100);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (105, NULL, -100, 104);
SELECT lives_ok($$SELECT loyalty.settle()$$, 'a guest who returns what a member bought is no error');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and parks nothing');

SELECT is_empty($$SELECT * FROM loyalty.verify('i1') WHERE doc_key::integer >= 20$$, 'verify agrees');
-- the family's bounds, over everything above
SELECT is_empty($$
	SELECT s.doc_key, s.points, sum(r.points) FROM shop.document s
	JOIN shop.document r ON r.root_source_id = s.source_id AND r.root_key = s.doc_key
	WHERE s.kind = 'sale' AND s.state = 'booked' GROUP BY s.source_id, s.doc_key, s.member_id, s.points
	HAVING s.points + sum(r.points) NOT BETWEEN 0 AND s.points
$$, 'no family holds more than it earned or less than nothing');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
