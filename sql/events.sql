-- Events: what members do besides buying, and what rules give for it.
\set SHOW_CONTEXT never
CREATE SCHEMA ev_erp;
SET search_path = ev_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, amount numeric, posted boolean DEFAULT true, return_of integer);
SELECT loyalty.create_program('ev club', 'Europe/Madrid') > 0 AS created;
SELECT loyalty.set_tier('ev club', 'Basic', 0, 1) > 0 AS basic, loyalty.set_tier('ev club', 'Gold', 1000, 2) > 0 AS gold;
SELECT loyalty.attach('ev shop', 'ev club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.amount',
	posted => 'r.posted', return_of => 'r.return_of') > 0 AS attached;
SELECT loyalty.set_rule('ev club', 'base', points => 1, per_amount => 10) > 0 AS base;

-- rules on events: a bonus, more for some, less often
SELECT loyalty.set_rule('ev club', 'welcome', kind => 'bonus', points => 100, event => 'registration') > 0 AS welcome,
	loyalty.set_rule('ev club', 'review', kind => 'bonus', points => 20, event => 'review', limit_count => 2, limit_period => 'day',
		condition => 'length(event.attributes ->> ''text'') >= 10') > 0 AS review,
	loyalty.set_rule('ev club', 'gold review', kind => 'bonus', points => 5, event => 'review', condition => 'member.tier = ''Gold''') > 0 AS gold,
	loyalty.set_rule('ev club', 'third visit', kind => 'bonus', points => 7, event => 'visit', condition => 'event.count % 3 = 2') > 0 AS visit,
	loyalty.set_rule('ev club', 'share', kind => 'bonus', points => 10, event => 'social share', needs_approval => true,
		limit_count => 1, limit_period => 'month') > 0 AS share;

-- registration makes a member; the same again changes nothing
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'registration', at => '2026-03-01 09:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'registration', at => '2026-03-01 09:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'registration');
-- the same key stands for the same event
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'registration', at => '2026-03-02 09:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'survey', key => 'registration');

-- one review of a product counts once, two products a day, and only if somebody took the trouble
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P1', '2026-03-01 10:00+01', '{"text": "very good indeed"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P1', '2026-03-01 10:00+01', '{"text": "very good indeed"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P1', '2026-03-01 18:00+01', '{"text": "very good, still"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P2', '2026-03-01 11:00+01', '{"text": "ok"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P3', '2026-03-01 12:00+01', '{"text": "rather useful"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P4', '2026-03-01 23:59+01', '{"text": "rather useless"}');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P5', '2026-03-02 00:00+01', '{"text": "another day here"}');
SELECT rule, calculation, trim_scale(points) AS points FROM loyalty.explain_event('ev club', 'Ana', 'review:P4');
-- one that is taken back leaves its place to the next, and one that comes late takes its own
SELECT * FROM loyalty.revoke_event('ev club', 'Ana', 'review:P1');
SELECT * FROM loyalty.revoke_event('ev club', 'Ana', 'review:P1');
SELECT event_key, state, points FROM loyalty.events('ev club', 'Ana') WHERE kind = 'review';
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P0', '2026-03-01 08:00+01', '{"text": "written offline"}');
SELECT event_key, state, points FROM loyalty.events('ev club', 'Ana') WHERE kind = 'review';
-- a new version of the rule goes on counting; what is booked stays
SELECT loyalty.set_rule('ev club', 'review', kind => 'bonus', points => 50, event => 'review', limit_count => 2, limit_period => 'day') > 0 AS changed;
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P6', '2026-03-01 20:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', 'P7', '2026-03-02 20:00+01');
SELECT * FROM loyalty.check();

-- the tier counts; an event does not count for it, nor as a purchase
INSERT INTO invoice VALUES (1, 'Bob', '2026-03-01', 1000);
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'review', 'P1', '2026-03-03 10:00+01');
SELECT customer, tier, trim_scale(balance) AS balance, qualifying FROM loyalty.member_balance WHERE program = 'ev club' ORDER BY customer;

-- every third visit; when one is taken back, the third is another one
SELECT key, x.points FROM unnest('{a,b,c,d,e,f}'::text[]) WITH ORDINALITY u (key, n),
	loyalty.record_event('ev club', 'Bob', 'visit', key => 'visit ' || u.key, at => '2026-03-01 00:00+01'::timestamptz + u.n * interval '1 day') x;
SELECT state FROM loyalty.revoke_event('ev club', 'Bob', 'visit b');
SELECT event_key, state, points FROM loyalty.events('ev club', 'Bob') WHERE kind = 'visit';

-- approval: points wait, apart from the balance, until somebody decides
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'social share', 'post 1', '2026-03-05 10:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'social share', 'post 2', '2026-03-06 10:00+01');
SELECT rule, calculation, trim_scale(points) AS points FROM loyalty.explain_event('ev club', 'Bob', 'social share:post 1');
SELECT loyalty.balance('ev club', 'Bob');
SELECT * FROM loyalty.reject_event('ev club', 'Bob', 'social share:post 1');
SELECT * FROM loyalty.approve_event('ev club', 'Bob', 'social share:post 1');
SELECT * FROM loyalty.revoke_event('ev club', 'Bob', 'social share:post 1');
SELECT event_key, state, points, pending FROM loyalty.events('ev club', 'Bob') WHERE kind = 'social share';
SELECT * FROM loyalty.approve_event('ev club', 'Bob', 'social share:post 2');
SELECT * FROM loyalty.approve_event('ev club', 'Bob', 'social share:post 2');
SELECT * FROM loyalty.reject_event('ev club', 'Bob', 'social share:post 2');
SELECT * FROM loyalty.revoke_event('ev club', 'Bob', 'social share:post 2');
SELECT seq, occurred_at, kind, source, split_part(doc_key, ':', 2) AS event, points, balance FROM loyalty.statement('ev club', 'Bob');

-- referral: both sides have it once the friend has bought
SELECT loyalty.set_rule('ev club', 'friend', kind => 'bonus', points => 30, event => 'referral') > 0 AS friend,
	loyalty.set_rule('ev club', 'referrer', kind => 'bonus', points => 40, event => 'referrer') > 0 AS referrer;
SELECT * FROM loyalty.record_event('ev club', 'Cid', 'referral', 'Ana', '2026-03-10 10:00+01');
CREATE VIEW sides AS SELECT c AS customer, x.kind, x.reference, x.state, x.points, x.pending
	FROM unnest('{Ana,Cid}'::text[]) c, loyalty.events('ev club', c) x WHERE x.kind IN ('referral', 'referrer') ORDER BY 1;
TABLE sides;
INSERT INTO invoice VALUES (10, 'Cid', '2026-03-11', 50);
TABLE sides;
-- in part is not in full; the second purchase holds it when the first has gone
INSERT INTO invoice VALUES (11, 'Cid', '2026-03-12', -20, true, 10), (12, 'Cid', '2026-03-13', 5, true, NULL);
TABLE sides;
INSERT INTO invoice VALUES (13, 'Cid', '2026-03-14', -30, true, 10);
TABLE sides;
UPDATE invoice SET posted = false WHERE id = 12;
TABLE sides;
UPDATE invoice SET posted = true WHERE id = 12;
UPDATE invoice SET customer = 'Dan' WHERE id = 12;
TABLE sides;
UPDATE invoice SET customer = 'Cid' WHERE id = 12;
TABLE sides;
SELECT state, points FROM loyalty.revoke_event('ev club', 'Cid', 'referral:Ana');
TABLE sides;
-- now somebody else may have done it
SELECT * FROM loyalty.record_event('ev club', 'Cid', 'referral', 'Bob', '2026-03-15 10:00+01');
-- nobody twice, nobody himself, nobody by one whom he has referred, nobody by a stranger
SELECT * FROM loyalty.record_event('ev club', 'Cid', 'referral', 'Ana', '2026-03-15 10:00+01', key => 'another');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'referral', 'Ana');
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'referral', 'Cid');
SELECT state FROM loyalty.record_event('ev club', 'Eva', 'referral', 'Cid', '2026-03-16 10:00+01');
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'referral', 'Eva');
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'referral', 'Nobody');
SELECT * FROM loyalty.record_event('ev club', 'Bob', 'referral');

-- what is refused
SELECT * FROM loyalty.record_event('nowhere', 'Ana', 'review');
SELECT * FROM loyalty.record_event('ev club', NULL, 'review');
SELECT * FROM loyalty.record_event('ev club', 'Ana', '');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'a:b');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'referrer', 'Bob');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', key => 'referrer:1:x');
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', repeat('x', 600));
SELECT * FROM loyalty.record_event('ev club', 'Ana', 'review', at => 'infinity');
SELECT * FROM loyalty.approve_event('ev club', 'Ana', 'review:P9');
SELECT * FROM loyalty.approve_event('ev club', 'Nobody', 'review:P9');
SELECT loyalty.set_rule('ev club', 'x', kind => 'amount', points => 1, per_amount => 1, event => 'review');
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, event => 'a:b');
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, limit_count => 1, limit_period => 'day');
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, event => 'review', limit_count => 1);
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, event => 'review', limit_count => 1, limit_period => 'hour');
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, event => 'review', limit_count => 0, limit_period => 'day');
SELECT loyalty.set_rule('ev club', 'x', kind => 'bonus', points => 1, event => 'review', condition => 'document.amount > 1');
SELECT loyalty.set_rule('ev club', 'x', kind => 'multiplier', factor => 2, event => 'review', needs_approval => true);
UPDATE loyalty.event SET state = 'counted';
SELECT loyalty.detach('ev club events');

-- a multiplier and an exclusion are for events as well
SELECT loyalty.set_rule('ev club', 'survey', kind => 'bonus', points => 10, event => 'survey', multiplied => true) > 0 AS survey,
	loyalty.set_rule('ev club', 'sunday', kind => 'multiplier', factor => 3, event => 'survey', condition => 'event.weekday = 7') > 0 AS sunday,
	loyalty.set_rule('ev club', 'staff', kind => 'exclusion', event => 'survey', condition => 'event.attributes @> ''{"staff": true}''') > 0 AS staff;
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'survey', '1', '2026-03-14 10:00+01');
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'survey', '2', '2026-03-15 10:00+01');
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'survey', '3', '2026-03-15 11:00+01', '{"staff": true}');

-- caps and budgets hold for events, and history is known
SELECT loyalty.set_rule('ev club', 'booking', kind => 'bonus', points => 30, event => 'booking', cap_month => 50, budget => 100) > 0 AS booking,
	loyalty.set_rule('ev club', 'regular', kind => 'bonus', points => 1, event => 'booking', condition => 'member.purchase_count >= 1') > 0 AS regular;
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'booking', '1', '2026-04-01 10:00+02');
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'booking', '2', '2026-04-02 10:00+02');
SELECT points FROM loyalty.record_event('ev club', 'Dan', 'booking', '3', '2026-04-03 10:00+02');
SELECT points FROM loyalty.record_event('ev club', 'Bob', 'booking', '1', '2026-04-03 10:00+02');
SELECT points FROM loyalty.record_event('ev club', 'Ana', 'booking', '1', '2026-04-03 10:00+02');
SELECT rule, calculation, trim_scale(points) AS points FROM loyalty.explain_event('ev club', 'Ana', 'booking:1');
SELECT state FROM loyalty.revoke_event('ev club', 'Dan', 'booking:1');
SELECT event_key, state, points FROM loyalty.events('ev club', 'Dan') WHERE kind = 'booking';
SELECT used FROM loyalty.budget WHERE rule = 'booking';
-- somebody's purchase of an earlier day makes him a regular
INSERT INTO invoice VALUES (20, 'Dan', '2026-04-02', 100);
SELECT event_key, state, points FROM loyalty.events('ev club', 'Dan') WHERE kind = 'booking';

-- a programme that enrols nobody by itself
SELECT loyalty.create_program('ev closed', 'UTC', enrolment => 'explicit') > 0 AS created;
SELECT * FROM loyalty.record_event('ev closed', 'Ana', 'review', 'P1');
SELECT loyalty.enrol('ev closed', 'Ana', '2026-03-01') > 0 AS enrolled;
SELECT * FROM loyalty.record_event('ev closed', 'Ana', 'review', 'P1', '2026-02-28');
SELECT * FROM loyalty.record_event('ev closed', 'Ana', 'review', 'P1', '2026-03-01');

-- the rules of now: only what was priced by the old version of review differs
SELECT split_part(doc_key, ':', 3) AS event, customer, booked, due, problem FROM loyalty.verify('ev club events') ORDER BY 1, 2;
SELECT loyalty.reevaluate('ev club events', VARIADIC array_agg(doc_key ORDER BY doc_key)) FROM loyalty.verify('ev club events');
SELECT loyalty.settle() >= 0 AS settled;
SELECT * FROM loyalty.verify('ev club events');
SELECT source, header, capturing, mapping_ok, parked, problem FROM loyalty.status() WHERE source LIKE 'ev %' ORDER BY source;
SELECT * FROM loyalty.check();
RESET search_path;
DROP SCHEMA ev_erp CASCADE;
