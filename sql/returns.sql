-- Returns in every shape.
CREATE SCHEMA re_erp;
SET search_path = re_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date DEFAULT '2024-03-01', total numeric, of integer, void boolean DEFAULT false);
SELECT loyalty.create_program('re club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('re club', 'base', 1, 30) > 0 AS created;
SELECT loyalty.attach('re invoice', 're club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.of', void => 'r.void') > 0 AS attached;
CREATE FUNCTION story(who text) RETURNS TABLE (seq bigint, kind text, points numeric, document text) LANGUAGE sql AS $$
	SELECT e.seq, e.kind, e.points, e.doc_key FROM loyalty.entry e
	WHERE e.member_id = loyalty.member_id('re club', who) ORDER BY e.seq
$$;

-- 100 at 1 per 30; returns of 33, 33, 34
INSERT INTO invoice VALUES (1, 'ann', '2024-03-01', 100);
INSERT INTO invoice VALUES (2, 'ann', '2024-03-02', -33, 1);
SELECT loyalty.balance('re club', 'ann');
INSERT INTO invoice VALUES (3, 'ann', '2024-03-03', -33, 1);
SELECT loyalty.balance('re club', 'ann');
INSERT INTO invoice VALUES (4, 'ann', '2024-03-04', -34, 1);
SELECT loyalty.balance('re club', 'ann');
SELECT step, rule, line, calculation, points FROM loyalty.explain('re invoice', '3');
-- one more is too much, and is reported
INSERT INTO invoice VALUES (5, 'ann', '2024-03-05', -10, 1);
SELECT doc_key, kind, root_key, gross, overcredited, points FROM loyalty.document
WHERE source_id = (SELECT source_id FROM loyalty.source WHERE name = 're invoice') ORDER BY doc_key;
-- the second is cancelled
UPDATE invoice SET void = true WHERE id = 3;
SELECT loyalty.balance('re club', 'ann');
SELECT * FROM story('ann');

-- a credit note and a cancellation in one transaction
INSERT INTO invoice VALUES (10, 'bob', '2024-03-01', 300);
BEGIN;
INSERT INTO invoice VALUES (11, 'bob', '2024-03-02', -300, 10);
UPDATE invoice SET void = true WHERE id = 10;
COMMIT;
SELECT * FROM story('bob');

-- the return comes before its sale
INSERT INTO invoice VALUES (21, 'cid', '2024-03-02', -60, 20);
SELECT loyalty.balance('re club', 'cid');
INSERT INTO invoice VALUES (20, 'cid', '2024-03-01', 300);
SELECT loyalty.balance('re club', 'cid');
SELECT doc_key, root_key, points FROM loyalty.document
WHERE member_id = loyalty.member_id('re club', 'cid') AND state = 'booked' ORDER BY doc_key;

-- a return of a return
INSERT INTO invoice VALUES (30, 'dan', '2024-03-01', 300);
INSERT INTO invoice VALUES (31, 'dan', '2024-03-02', -150, 30);
INSERT INTO invoice VALUES (32, 'dan', '2024-03-03', 60, 31);
SELECT * FROM story('dan');

-- unlinked, and more than there is: a debt that the next earnings repay
INSERT INTO invoice VALUES (40, 'eve', '2024-03-01', 900);
INSERT INTO invoice VALUES (41, 'eve', '2024-03-02', -1500);
INSERT INTO invoice VALUES (42, 'eve', '2024-03-03', 450);
INSERT INTO invoice VALUES (43, 'eve', '2024-03-04', 360);
SELECT balance, debt FROM loyalty.member WHERE member_id = loyalty.member_id('re club', 'eve');
SELECT * FROM story('eve');
SELECT seq, is_open, points, remaining FROM loyalty.lot WHERE member_id = loyalty.member_id('re club', 'eve') ORDER BY seq;
SELECT entry_seq, lot_seq, points FROM loyalty.allocation WHERE member_id = loyalty.member_id('re club', 'eve') ORDER BY entry_seq, lot_seq;
SELECT * FROM loyalty.verify('re invoice');
SELECT * FROM loyalty.check();
