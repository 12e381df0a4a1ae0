-- Points that paid a document: it earns nothing for them, and its returns
-- give them back.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.2) \gset
SELECT shop.attach('inv', 'tab') \gset
SELECT shop.attach_lines('lines', 'tab') \gset
SELECT loyalty.detach('lines') \gset

-- balance 200; a sale of two items at 50 that earned 70 and spent 150 leaves 120
CREATE FUNCTION shop.start(c text, n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.invoice (id, customer, total) VALUES (n, c, 200);
	PERFORM loyalty.settle();
END $$;
CREATE FUNCTION shop.returns(c text, n integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT is(loyalty.balance('tab', c), 120.00, c || ': the sale leaves 120');
	RETURN NEXT is(shop.booked('inv', (n + 1)::text), 70::numeric, c || ': it earned 70');
	INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (n + 2, c, -50, n + 1);
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 160.00, c || ': one item back leaves 160');
	RETURN NEXT is(shop.booked('inv', (n + 2)::text), -35::numeric, c || ': of which the return is -35');
	INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (n + 3, c, -50, n + 1);
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 200.00, c || ': all back is 200 again');
	UPDATE shop.invoice SET cancelled = true WHERE id = n + 2;
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 160.00, c || ': a cancelled return takes the points again');
	UPDATE shop.invoice SET cancelled = true WHERE id = n + 3;
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 120.00, c || ': the other one too');
	UPDATE shop.invoice SET state = 'draft' WHERE id = n + 1;
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 200.00, c || ': a sale that does not count gives back all');
	UPDATE shop.invoice SET state = 'posted' WHERE id = n + 1;
	PERFORM loyalty.settle();
	RETURN NEXT is(loyalty.balance('tab', c), 120.00, c || ': and takes it again');
	RETURN NEXT is_empty('SELECT * FROM loyalty.verify(''inv'')', c || ': verify() agrees');
	RETURN NEXT is_empty('SELECT * FROM loyalty.check()', c || ': check() agrees');
END $$;

-- redemption first
SELECT shop.start('first', 100);
SELECT points FROM loyalty.redeem('tab', 'first', 150, 'k', 'inv', '101', amount => 100) \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'first'), 50.00, 'a redemption for a document that is not there yet');
INSERT INTO shop.invoice (id, customer, total) VALUES (101, 'first', 100);
SELECT loyalty.settle() \gset
SELECT * FROM shop.returns('first', 100);

-- invoice first
SELECT shop.start('second', 200);
INSERT INTO shop.invoice (id, customer, total) VALUES (201, 'second', 100);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'second'), 300.00, 'the invoice earns all until it is paid');
SELECT points FROM loyalty.redeem('tab', 'second', 150, 'k', 'inv', ' 201', amount => 100) \gset
SELECT loyalty.settle() \gset
SELECT * FROM shop.returns('second', 200);

-- both at once, evaluated once
SELECT shop.start('both', 300);
INSERT INTO shop.invoice (id, customer, total) VALUES (301, 'both', 100);
SELECT points FROM loyalty.redeem('tab', 'both', 150, 'k', 'inv', '301', amount => 100) \gset
SELECT loyalty.settle() \gset
SELECT is(shop.entries('tab', 'both'), 'earn 200, redeem -150, earn 70', 'invoice and redemption in one transaction');
SELECT * FROM shop.returns('both', 300);

-- a redemption that comes after returns
SELECT shop.start('late', 400);
INSERT INTO shop.invoice (id, customer, total) VALUES (401, 'late', 100);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (402, 'late', -50, 401);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'late', 150, 'k', 'inv', '401') \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'late'), 160.00, 'a redemption after the return ends as if it had come before');
-- cancelled as a whole, after a part came back
SELECT is(points, 75.00::numeric(18,2), 'cancelling gives what is not back yet') FROM loyalty.cancel_redemption('tab', 'late', 'k');
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'late'), 250.00, 'and the rest of the sale earns in full');
UPDATE shop.invoice SET cancelled = true WHERE id = 402;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'late'), 300.00, 'what was cancelled stays so');

-- two redemptions for one document, and thirds
SELECT shop.start('thirds', 500);
SELECT points FROM loyalty.redeem('tab', 'thirds', 5, 'k1', 'inv', '501') \gset
SELECT points FROM loyalty.redeem('tab', 'thirds', 5, 'k2', 'inv', '501') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (501, 'thirds', 30);
SELECT loyalty.settle() \gset
SELECT is(shop.booked('inv', '501'), 28::numeric, 'both leave the basis');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (502, 'thirds', -10, 501);
SELECT loyalty.settle() \gset
SELECT is((SELECT string_agg(r.restored::text, ' ' ORDER BY key) FROM loyalty.redemption r WHERE member_id = loyalty.member_id('tab', 'thirds')), '1.00 1.00', 'a third of 5, rounded down');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (503, 'thirds', -10, 501);
SELECT loyalty.settle() \gset
SELECT is((SELECT string_agg(r.restored::text, ' ' ORDER BY key) FROM loyalty.redemption r WHERE member_id = loyalty.member_id('tab', 'thirds')), '3.00 3.00', 'two thirds');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (504, 'thirds', -15, 501);
SELECT loyalty.settle() \gset
SELECT is((SELECT string_agg(r.restored::text, ' ' ORDER BY key) FROM loyalty.redemption r WHERE member_id = loyalty.member_id('tab', 'thirds')), '5.00 5.00', 'all of it, and never more');
SELECT is(loyalty.balance('tab', 'thirds'), 200.00, 'the balance as before');

-- points that came back and are spent again are owed when the return is cancelled
SELECT shop.start('owes', 600);
SELECT points FROM loyalty.redeem('tab', 'owes', 200, 'k', 'inv', '601') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (601, 'owes', 40);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (602, 'owes', -40, 601);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'owes'), 200.00, 'all came back');
SELECT points FROM loyalty.redeem('tab', 'owes', 180, 'again') \gset
UPDATE shop.invoice SET cancelled = true WHERE id = 602;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'owes'), -180.00, 'spent twice');
SELECT is(loyalty.available('tab', 'owes'), 0.00, 'nothing can be spent');
UPDATE shop.invoice SET cancelled = false WHERE id = 602;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'owes'), 20.00, 'and back');

-- another member pays: points go back to him
SELECT shop.start('husband', 700);
INSERT INTO shop.invoice (id, customer, total) VALUES (701, 'wife', 100);
SELECT points FROM loyalty.redeem('tab', 'husband', 100, 'k', 'inv', '701') \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'wife'), 80.00, 'the buyer earns what was not paid with points');
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (702, 'wife', -100, 701);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'wife'), 0.00, 'a return takes from the buyer');
SELECT is(loyalty.balance('tab', 'husband'), 200.00, 'and gives back to who paid');

-- the customer of a paid sale changes: who paid has paid
SELECT shop.start('old', 800);
SELECT points FROM loyalty.redeem('tab', 'old', 100, 'k', 'inv', '801') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (801, 'old', 100);
SELECT loyalty.settle() \gset
UPDATE shop.invoice SET customer = 'new' WHERE id = 801;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('tab', 'old') || ' ' || loyalty.balance('tab', 'new'), '100.00 80.00', 'points spent stay spent');

-- the lots that points came from get them back, the last one first
SELECT loyalty.balance('tab', 'fifo') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (900, 'fifo', 10);
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (901, 'fifo', 10);
SELECT loyalty.settle() \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (902, 'fifo', 10);
SELECT loyalty.settle() \gset
SELECT points FROM loyalty.redeem('tab', 'fifo', 25, 'k', 'inv', '903') \gset
SELECT is((SELECT string_agg(trim_scale(remaining)::text, ' ' ORDER BY seq) FROM loyalty.lot WHERE member_id = loyalty.member_id('tab', 'fifo')), '0 0 5', 'oldest first');
INSERT INTO shop.invoice (id, customer, total) VALUES (903, 'fifo', 5);
INSERT INTO shop.invoice (id, customer, total, return_of) VALUES (904, 'fifo', -3, 903);
SELECT loyalty.settle() \gset
SELECT is((SELECT string_agg(trim_scale(remaining)::text, ' ' ORDER BY seq) FROM loyalty.lot WHERE member_id = loyalty.member_id('tab', 'fifo') AND points = 10), '0 10 10', 'as if 15 less had been spent');

-- a source without its own say is not asked
SELECT throws_ok($$SELECT loyalty.redeem('tab', 'fifo', 1, 'x', 'inv', 'abc')$$, '22P02', NULL, 'a key must be one of the source''s');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
