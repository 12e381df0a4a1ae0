-- Savepoints and exception blocks: what was rolled back never was, and what
-- was not is not forgotten.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('sub', 'UTC') \gset
SELECT loyalty.set_rule('sub', 'base', 1, 1) \gset
SELECT shop.attach('inv', 'sub') \gset

-- rolled back
SAVEPOINT a;
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'rb', 100);
ROLLBACK TO a;
SELECT loyalty.settle() \gset
SELECT is(loyalty.member_id('sub', 'rb'), NULL::bigint, 'rolled back: nobody became a member');
SELECT is(loyalty.settle(), 0::bigint, 'and nothing waits');

-- rolled back and redone
SAVEPOINT a;
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'redo', 100);
ROLLBACK TO a;
INSERT INTO shop.invoice (id, customer, total) VALUES (1, 'redo', 70);
SELECT loyalty.settle() \gset
SELECT is(shop.entries('sub', 'redo'), 'earn 70', 'redone after a rollback: once');
SAVEPOINT a;
UPDATE shop.invoice SET total = 80 WHERE id = 1;
ROLLBACK TO a;
UPDATE shop.invoice SET total = 80 WHERE id = 1;
ROLLBACK TO a;
UPDATE shop.invoice SET total = 81 WHERE id = 1;
SELECT loyalty.settle() \gset
SELECT is(shop.entries('sub', 'redo'), 'earn 70, correction 11', 'twice redone: once');

-- released
SAVEPOINT a;
SAVEPOINT b;
INSERT INTO shop.invoice (id, customer, total) VALUES (2, 'rel', 10);
RELEASE b;
INSERT INTO shop.invoice (id, customer, total) VALUES (3, 'rel', 5);
RELEASE a;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'rel'), 15.00, 'released savepoints keep what they did');
SAVEPOINT a;
SAVEPOINT b;
INSERT INTO shop.invoice (id, customer, total) VALUES (4, 'rel2', 10);
RELEASE b;
ROLLBACK TO a;
INSERT INTO shop.invoice (id, customer, total) VALUES (5, 'rel2', 5);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'rel2'), 5.00, 'a released savepoint in one that is rolled back does not');

-- touched before the savepoint and in it: rolling back the second keeps the first
INSERT INTO shop.invoice (id, customer, total) VALUES (6, 'both', 10);
SAVEPOINT a;
UPDATE shop.invoice SET total = 20 WHERE id = 6;
ROLLBACK TO a;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'both'), 10.00, 'touched before and within: the first stays');

-- settle() in a savepoint that is rolled back
SAVEPOINT a;
INSERT INTO shop.invoice (id, customer, total) VALUES (7, 'set', 100);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'set'), 100.00, 'settled in a savepoint: booked');
ROLLBACK TO a;
SELECT is(loyalty.balance('sub', 'set'), 0.00, 'rolled back: not booked');
SELECT is(loyalty.settle(), 0::bigint, 'and nothing is left to do');
INSERT INTO shop.invoice (id, customer, total) VALUES (7, 'set', 60);
SELECT loyalty.settle() \gset
SELECT is(shop.entries('sub', 'set'), 'earn 60', 'redone: booked once');

-- the same, with a document from before the savepoint: it still has to be done
INSERT INTO shop.invoice (id, customer, total) VALUES (8, 'set2', 100);
SAVEPOINT a;
SELECT is(loyalty.settle(), 1::bigint, 'settled in a savepoint after the write');
ROLLBACK TO a;
SELECT is(loyalty.balance('sub', 'set2'), 0.00, 'the booking is rolled back with it');
SELECT is(loyalty.settle(), 1::bigint, 'the document is not forgotten');
SELECT is(shop.entries('sub', 'set2'), 'earn 100', 'and is booked once');
-- twice over, at different depths
INSERT INTO shop.invoice (id, customer, total) VALUES (9, 'deep', 1);
SAVEPOINT a;
INSERT INTO shop.invoice (id, customer, total) VALUES (10, 'deep', 2);
SAVEPOINT b;
INSERT INTO shop.invoice (id, customer, total) VALUES (11, 'deep', 4);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'deep'), 7.00, 'three levels settled at the deepest');
ROLLBACK TO b;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'deep'), 3.00, 'two of them after one rollback');
ROLLBACK TO a;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'deep'), 1.00, 'one after the other');

-- exception blocks
DO $$
BEGIN
	BEGIN
		INSERT INTO shop.invoice (id, customer, total) VALUES (20, 'exc', 100);
		RAISE EXCEPTION 'no';
	EXCEPTION WHEN OTHERS THEN
		INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'exc', 5);
	END;
	BEGIN
		INSERT INTO shop.invoice (id, customer, total) VALUES (22, 'exc', 7);
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
END
$$;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'exc'), 12.00, 'PL/pgSQL: what its exception block undid does not count, the rest does');
DO $$
BEGIN
	FOR i IN 1..50 LOOP
		BEGIN
			INSERT INTO shop.invoice (id, customer, total) VALUES (100 + i, 'loop', 1);
			PERFORM loyalty.settle();
			IF i % 2 = 0 THEN
				PERFORM 1 / 0;
			END IF;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END
$$;
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'loop'), 25.00, 'settle() in fifty blocks, half of them undone');
-- an error in a statement that had been captured already
DO $$
BEGIN
	INSERT INTO shop.invoice (id, customer, total) SELECT 200 + i % 5, 'dup', 1 FROM generate_series(1, 9) i;
EXCEPTION WHEN unique_violation THEN NULL;
END
$$;
INSERT INTO shop.invoice (id, customer, total) VALUES (201, 'dup', 3);
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'dup'), 3.00, 'a statement that failed half-way does not count');

-- many levels, each a transaction id of its own
DO $$
BEGIN
	FOR i IN 1..300 LOOP
		BEGIN
			INSERT INTO shop.invoice (id, customer, total) VALUES (1000 + i, 'wide', 1);
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
END
$$;
SELECT is(loyalty.settle(), 300::bigint, 'three hundred blocks');
SELECT is(loyalty.balance('sub', 'wide'), 300.00, 'each with its point');
CREATE FUNCTION shop.dive(depth integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		INSERT INTO shop.invoice (id, customer, total) VALUES (2000 + depth, 'dive', 1);
		IF depth > 1 THEN
			PERFORM shop.dive(depth - 1);
		END IF;
		IF depth % 10 = 0 THEN
			RAISE EXCEPTION 'up' USING ERRCODE = 'XX998';
		END IF;
	EXCEPTION WHEN SQLSTATE 'XX998' THEN NULL;
	END;
END
$$;
SELECT shop.dive(105) \gset
SELECT loyalty.settle() \gset
SELECT is(loyalty.balance('sub', 'dive'), 5.00, 'nested a hundred deep: what is above the last error stays');

-- the same in statement mode
SELECT loyalty.detach('inv') \gset
SELECT shop.attach('inv now', 'sub', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (5000, 'now', 10);
SAVEPOINT a;
UPDATE shop.invoice SET total = 20 WHERE id = 5000;
SELECT is(loyalty.balance('sub', 'now'), 20.00, 'statement mode: booked at once');
ROLLBACK TO a;
SELECT is(loyalty.balance('sub', 'now'), 10.00, 'and undone with the savepoint');
UPDATE shop.invoice SET total = 30 WHERE id = 5000;
SELECT is(shop.entries('sub', 'now'), 'earn 10, correction 20', 'redone: once');

-- a rule that is changed and rolled back leaves no trace in what is cached
SAVEPOINT a;
SELECT loyalty.set_rule('sub', 'base', 5, 1) \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (5001, 'rule', 10);
SELECT is(loyalty.balance('sub', 'rule'), 50.00, 'a new rule counts at once');
ROLLBACK TO a;
INSERT INTO shop.invoice (id, customer, total) VALUES (5001, 'rule', 10);
SELECT is(loyalty.balance('sub', 'rule'), 10.00, 'and no longer when it is rolled back');
-- so for a mapping
SAVEPOINT a;
SELECT loyalty.detach('inv now') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (5002, 'map', 10);
SELECT is(loyalty.balance('sub', 'map'), 0.00, 'a detached source earns nothing');
ROLLBACK TO a;
INSERT INTO shop.invoice (id, customer, total) VALUES (5002, 'map', 10);
SELECT is(loyalty.balance('sub', 'map'), 10.00, 'and again after the rollback');

SELECT is_empty($$SELECT * FROM loyalty.verify('inv now') WHERE problem IS NULL OR doc_key::integer >= 5000$$, 'verify finds nothing');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
