-- What time does counts by itself; upkeep writes it down.
CREATE SCHEMA up_shop;
SET search_path = up_shop;
CREATE TABLE customer (code text PRIMARY KEY, name text, born date);
INSERT INTO customer VALUES ('7', 'Ann', '1984-03-15'), ('8', 'Bob', '1992-02-29'), ('9', 'Cid', NULL);
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric);
SELECT loyalty.create_program('up club', 'Europe/Berlin') > 0 AS created;
SELECT loyalty.set_rule('up club', 'base', 1, 1) > 0 AS created;
SELECT loyalty.set_redemption('up club', 0.1, hold_minutes => 30);
-- documents that nobody waits for are evaluated by upkeep
SELECT loyalty.attach('up invoice', 'up club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', evaluate => 'queue') > 0 AS attached;
INSERT INTO invoice VALUES (1, '7', '2026-01-05', 100), (2, '8', '2026-01-05', 100), (3, '9', '2026-01-05', 100);
SELECT loyalty.balance('up club', '7');
-- (what other stories have left parked is tried as well)
SET client_min_messages = error;
CALL loyalty.upkeep();
RESET client_min_messages;
SELECT loyalty.balance('up club', '7');
-- a hold is over after half an hour, whether or not that has been noted
SELECT * FROM loyalty.reserve('up club', '7', 60, 'basket 1', at => '2026-03-01 12:00+01');
SELECT loyalty.available('up club', '7', '2026-03-01 12:29+01') AS before, loyalty.available('up club', '7', '2026-03-01 12:30+01') AS after;
SELECT state FROM loyalty.hold WHERE key = 'basket 1';
CALL loyalty.upkeep('2026-03-01 12:30+01', steps => '{holds}');
SELECT state, closed_at = '2026-03-01 12:30+01' AS at_its_end FROM loyalty.hold WHERE key = 'basket 1';
SELECT loyalty.available('up club', '7', '2026-03-01 12:30+01') AS after;
-- birthdays are in the ERP's table of customers; what they give is a rule's affair
SELECT loyalty.set_birthday('up club', 'customer', customer => 'r.code', birthday => 'r.born', days_before => 7);
SELECT loyalty.set_rule('up club', 'happy birthday', 50, kind => 'bonus', event => 'birthday') > 0 AS created;
CALL loyalty.upkeep('2026-02-20 23:59+01', steps => '{birthdays}');
CALL loyalty.upkeep('2026-02-21 00:00+01', steps => '{birthdays}');
SELECT c.code, e.event_key, e.occurred_at AT TIME ZONE 'Europe/Berlin' AS at, e.points FROM customer c, loyalty.events('up club', c.code) e ORDER BY at;
-- late, and again
CALL loyalty.upkeep('2026-03-20', steps => '{birthdays}');
CALL loyalty.upkeep('2026-03-20', steps => '{birthdays}');
SELECT c.code, e.event_key, e.occurred_at AT TIME ZONE 'Europe/Berlin' AS at, e.points FROM customer c, loyalty.events('up club', c.code) e ORDER BY at;
SELECT loyalty.balance('up club', '7'), loyalty.balance('up club', '8'), loyalty.balance('up club', '9');
-- what the runs have done
SELECT state, percent, done, failures FROM loyalty.upkeep_progress WHERE done <> '' ORDER BY started_at DESC LIMIT 3;
-- one step, in small batches; mistakes
\set VERBOSITY terse
CALL loyalty.upkeep(batch => 2, steps => '{holds}');
CALL loyalty.upkeep(batch => 0);
CALL loyalty.upkeep(steps => '{hold}');
SELECT loyalty.set_birthday('up club', 'customer', 'r.code', 'r.name');
\set VERBOSITY default
SELECT loyalty.set_birthday('up club', NULL);
SELECT * FROM loyalty.check();
SELECT loyalty.detach('up invoice');
SET client_min_messages = warning;
DROP SCHEMA up_shop CASCADE;
