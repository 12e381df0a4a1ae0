-- Real transactions: what is committed earns, what is rolled back does not.
CREATE SCHEMA ca_erp;
SET search_path = ca_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, state text DEFAULT 'posted', total numeric, note text);
SELECT loyalty.create_program('ca club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('ca club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.attach('ca invoice', 'ca club', 'invoice', 'r.id', 'r.customer', '''2024-03-10''::date', posted => 'r.state <> ''draft''', amount => 'r.total') > 0 AS attached;
CREATE FUNCTION story(who text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(e.kind || ' ' || e.points, ', ' ORDER BY e.seq), 'no entry') FROM loyalty.entry e
	WHERE e.member_id = loyalty.member_id('ca club', who)
$$;

-- at the end of the transaction, not before
BEGIN;
INSERT INTO invoice VALUES (1, 'ann', DEFAULT, 10);
SELECT story('ann');
UPDATE invoice SET total = 20 WHERE id = 1;
COMMIT;
SELECT story('ann');
-- unless asked
BEGIN;
UPDATE invoice SET total = 25 WHERE id = 1;
SELECT loyalty.settle();
SELECT story('ann');
COMMIT;
SELECT story('ann');
-- rolled back
BEGIN;
UPDATE invoice SET total = 1000 WHERE id = 1;
INSERT INTO invoice VALUES (2, 'bob', DEFAULT, 10);
SELECT loyalty.settle();
SELECT story('bob');
ROLLBACK;
SELECT story('ann'), story('bob');
BEGIN;
INSERT INTO invoice VALUES (2, 'bob', DEFAULT, 10);
ROLLBACK;
SELECT story('bob');
-- a failed transaction
BEGIN;
INSERT INTO invoice VALUES (2, 'bob', DEFAULT, 10);
SELECT 1 / 0;
COMMIT;
SELECT story('bob');
-- savepoints
BEGIN;
INSERT INTO invoice VALUES (2, 'bob', DEFAULT, 10);
SAVEPOINT a;
UPDATE invoice SET total = 99 WHERE id = 2;
INSERT INTO invoice VALUES (3, 'bob', DEFAULT, 1000);
ROLLBACK TO a;
INSERT INTO invoice VALUES (3, 'bob', DEFAULT, 5);
COMMIT;
SELECT story('bob');
BEGIN;
INSERT INTO invoice VALUES (4, 'cid', DEFAULT, 10);
SAVEPOINT a;
SELECT loyalty.settle();
ROLLBACK TO a;
COMMIT;
SELECT story('cid');
-- posted, paid, back to draft, edited, posted
UPDATE invoice SET state = 'paid' WHERE id = 4;
UPDATE invoice SET note = 'x' WHERE id = 4;
SELECT story('cid');
BEGIN;
UPDATE invoice SET state = 'draft' WHERE id = 4;
UPDATE invoice SET total = 12 WHERE id = 4;
UPDATE invoice SET state = 'posted' WHERE id = 4;
COMMIT;
SELECT story('cid');
DELETE FROM invoice WHERE id = 4;
SELECT story('cid');
-- a procedure that commits on the way
CREATE PROCEDURE load(n integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		INSERT INTO ca_erp.invoice VALUES (100 + i, 'dan', DEFAULT, i);
		IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
	END LOOP;
END
$$;
CALL load(4);
SELECT story('dan');
-- COPY
COPY invoice (id, customer, total) FROM stdin;
200	eve	10
201	eve	20
\.
SELECT story('eve');
-- replica mode is not seen, but found
SET session_replication_role = replica;
INSERT INTO invoice VALUES (210, 'fay', DEFAULT, 10);
DELETE FROM invoice WHERE id = 201;
RESET session_replication_role;
SELECT story('fay');
SELECT doc_key, customer, booked, due FROM loyalty.verify('ca invoice') ORDER BY doc_key;
SELECT loyalty.reevaluate('ca invoice', '201', '210');
SELECT story('fay'), story('eve');
SELECT * FROM loyalty.verify('ca invoice');

-- at the end of each statement
CREATE TABLE ticket (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('ca ticket', 'ca club', 'ticket', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') > 0 AS attached;
BEGIN;
INSERT INTO ticket VALUES (1, 'gil', 10), (2, 'gil', 5);
SELECT story('gil');
ROLLBACK;
SELECT story('gil');

-- later
CREATE TABLE web_order (id integer PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('ca web', 'ca club', 'web_order', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'queue') > 0 AS attached;
INSERT INTO web_order VALUES (1, 'hal', 10);
INSERT INTO web_order VALUES (2, 'hal', 20);
UPDATE web_order SET total = 11 WHERE id = 1;
SELECT story('hal');
SELECT queued > 0 AS waits, parked FROM loyalty.status() WHERE source = 'ca web';
CALL loyalty.upkeep();
SELECT story('hal');
SELECT queued > 0 AS waits, parked FROM loyalty.status() WHERE source = 'ca web';
INSERT INTO web_order VALUES (3, 'hal', 5);
SELECT loyalty.settle();
SELECT story('hal');
INSERT INTO web_order VALUES (4, 'hal', 6);
SELECT loyalty.retry_parked('ca web');
SELECT story('hal');
BEGIN;
INSERT INTO web_order VALUES (5, 'hal', 1000);
ROLLBACK;
CALL loyalty.upkeep();
SELECT story('hal');
SELECT * FROM loyalty.check();
