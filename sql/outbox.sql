-- The outbox: what happens to a member becomes a message in the same
-- transaction, which a consumer fetches, renders and acknowledges.
\set SHOW_CONTEXT never
CREATE SCHEMA ob_erp;
SET search_path = ob_erp;
SET DateStyle = ISO;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, refund_of integer);
SELECT loyalty.create_program('ob club', 'Europe/Vienna') > 0 AS created;
SELECT loyalty.set_rule('ob club', 'base', points => 1, per_amount => 10) > 0 AS rule;
SELECT loyalty.set_tier('ob club', 'Silver', 1000) > 0 AS tier;
SELECT loyalty.attach('ob invoice', 'ob club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total',
	return_of => 'r.refund_of') > 0 AS attached;
CREATE VIEW box AS
	SELECT c.customer, m.kind, m.cause, m.payload FROM loyalty.message m
	JOIN loyalty.member c USING (member_id) JOIN loyalty.program p ON p.program_id = m.program_id
	WHERE p.name = 'ob club' ORDER BY c.customer, m.occurred_at, m.kind, m.cause;

-- nothing is told before it is switched on
INSERT INTO invoice VALUES (1, 'Ana', '2026-03-01', 300);
SELECT * FROM box;
SELECT loyalty.set_message('ob club', 'earned'), loyalty.set_message('ob club', 'reversed');
SELECT loyalty.set_message('ob club', 'tier_up'), loyalty.set_message('ob club', 'tier_down');
SELECT loyalty.set_milestones('ob club', ARRAY[50, 100]);

-- a sale and its refund: one message each, and none for writing the same again
INSERT INTO invoice VALUES (2, 'Ana', '2026-03-02', 150);
UPDATE invoice SET total = 150 WHERE id = 2;
INSERT INTO invoice VALUES (3, 'Ana', '2026-03-03', -50, 2);
SELECT customer, kind, cause, payload - ARRAY['date', 'source'] AS payload FROM box;
-- what is rolled back was never told
BEGIN;
SAVEPOINT s;
INSERT INTO invoice VALUES (4, 'Ana', '2026-03-04', 5000);
SELECT loyalty.settle();
SELECT count(*) FROM box;
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM box;
-- milestones: 50 and 100 are passed in one step, the higher is told; and the tier
INSERT INTO invoice VALUES (5, 'Ana', '2026-03-05', 800);
SELECT kind, payload ->> 'milestone' AS milestone, payload ->> 'tier' AS tier, payload ->> 'balance' AS balance
FROM box WHERE kind IN ('milestone', 'tier_up');
-- downwards nothing is, and again when it is passed again
INSERT INTO invoice VALUES (6, 'Ana', '2026-03-06', -400, 5);
INSERT INTO invoice VALUES (7, 'Ana', '2026-03-07', 150), (8, 'Ana', '2026-03-08', 200), (9, 'Ana', '2026-03-09', 10);
SELECT kind, cause, payload ->> 'milestone' AS milestone FROM box WHERE kind = 'milestone';
SELECT kind, payload ->> 'from_tier' AS from_tier FROM box WHERE kind = 'tier_down';

-- a consumer takes messages, and says what became of them
SELECT kind, customer, payload ->> 'points' AS points, attempts FROM loyalty.fetch_messages('mailer', 2, kinds => ARRAY['earned']);
SELECT kind, payload ->> 'points' AS points FROM loyalty.fetch_messages('another', 100, kinds => ARRAY['earned', 'reversed'])
ORDER BY occurred_at;
SELECT loyalty.acknowledge('mailer', member_id, kind, cause) FROM loyalty.message WHERE consumer = 'mailer' AND cause = 'entry:2';
SELECT loyalty.acknowledge('mailer', member_id, kind, cause) FROM loyalty.message WHERE consumer = 'another' AND cause = 'entry:3';
SELECT loyalty.fail_message('mailer', member_id, kind, cause, 'no address') FROM loyalty.message
WHERE consumer = 'mailer' AND state = 'fetched';
SELECT state, attempts, consumer, last_error, count(*) FROM loyalty.message GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;

-- text, in the member's language
SELECT r.* FROM loyalty.message m, loyalty.render_message(m.member_id, m.kind, m.cause) r WHERE m.cause = 'entry:2';
SELECT loyalty.set_language('ob club', 'Ana', 'de_AT');
SELECT r.* FROM loyalty.message m, loyalty.render_message(m.member_id, m.kind, m.cause) r WHERE m.cause = 'entry:2';
SELECT loyalty.set_template('ob club', 'earned', 'tr', '{points} puan', 'Sayın {customer}, {{{points}}} puan kazandınız.');
SELECT r.* FROM loyalty.message m, loyalty.render_message(m.member_id, m.kind, m.cause, 'tr') r WHERE m.cause = 'entry:2';
SELECT loyalty.set_template('ob club', 'earned', 'tr', 'puan', '{points} {tier}');
SELECT loyalty.set_template('ob club', 'earned', 'tr', 'puan', '{points');

-- vouchers and holds
SELECT loyalty.set_message('ob club', 'voucher_issued'), loyalty.set_message('ob club', 'hold_released');
SELECT loyalty.set_redemption('ob club', 0.1);
SELECT length(loyalty.issue_voucher('ob club', 'Ana', 'value', 5, 'gift', days => 10, at => '2026-03-10 12:00+01')) AS code;
SELECT points FROM loyalty.reserve('ob club', 'Ana', 20, 'basket');
SELECT points FROM loyalty.release_hold('ob club', 'Ana', 'basket');
SELECT kind, cause, payload - 'code' AS payload FROM box WHERE kind IN ('voucher_issued', 'hold_released');

-- warnings are written by upkeep: points that expire, with the nearest lead time only
SELECT loyalty.set_message('ob club', 'expiring', lead_days => ARRAY[30, 7]), loyalty.set_message('ob club', 'voucher_ending', lead_days => ARRAY[5]);
SELECT points FROM loyalty.adjust('ob club', 'Ana', 10, 'gift', 'gift', expires_on => '2026-05-31', at => '2026-03-10 12:00+01');
SELECT done FROM loyalty.warn_members('2026-03-12 12:00+01');
SELECT done FROM loyalty.warn_members('2026-03-17 12:00+01');
SELECT done FROM loyalty.warn_members('2026-05-05 12:00+02');
SELECT done FROM loyalty.warn_members('2026-05-06 12:00+02');
SELECT done FROM loyalty.warn_members('2026-05-29 12:00+02');
SELECT done FROM loyalty.warn_members('2026-06-01 00:00+02');
SELECT kind, replace(cause, 'gift', 'key') AS cause, payload - 'code' AS payload FROM box WHERE kind IN ('expiring', 'voucher_ending');

-- what was delivered is kept for a while
SELECT done FROM loyalty.prune_messages(now() + interval '29 days');
SELECT done FROM loyalty.prune_messages(now() + interval '31 days');
SELECT count(*) FROM loyalty.message WHERE state = 'done';
UPDATE loyalty.message SET state = 'done';
SELECT * FROM loyalty.check();
RESET search_path;
RESET DateStyle;
DROP SCHEMA ob_erp CASCADE;
