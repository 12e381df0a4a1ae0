-- Which documents count: days, companies, currencies, members.
\ir common.psql
SELECT no_plan();

-- days are the programme's: in Kolkata the 10th is from 18:30 UTC to 18:30 UTC
CREATE TABLE shop.t (id integer PRIMARY KEY, customer text, at timestamptz, local timestamp, day date, total numeric DEFAULT 10);
SELECT loyalty.create_program('rule days', 'Asia/Kolkata') \gset
SELECT loyalty.set_rule('rule days', 'base', 1, 1, valid_from => '2024-03-10', valid_to => '2024-03-11') \gset
SELECT loyalty.create_program('prog days', 'Asia/Kolkata', valid_from => '2024-03-10', valid_to => '2024-03-11') \gset
SELECT loyalty.set_rule('prog days', 'base', 1, 1) \gset
SELECT loyalty.attach(p, p, 'shop.t', 'r.id', 'r.customer', 'r.at', amount => 'r.total', evaluate => 'statement', filter => 'r.at IS NOT NULL')
	FROM unnest('{rule days,prog days}'::text[]) p \g /dev/null
INSERT INTO shop.t (id, customer, at) VALUES
	(1, 'before', '2024-03-09 18:29:59.999999+00'),
	(2, 'first', '2024-03-09 18:30:00+00'),
	(3, 'last', '2024-03-11 18:29:59.999999+00'),
	(4, 'after', '2024-03-11 18:30:00+00');
SELECT is(loyalty.balance(p, c), b, format('%s: %s', p, w))
	FROM unnest('{rule days,prog days}'::text[]) p, (VALUES
		('before', 0.00, 'the last microsecond before the first day does not count'),
		('first', 10.00, 'the first of the first day does'),
		('last', 10.00, 'the last of the last day does'),
		('after', 0.00, 'the first after it does not')) v (c, b, w);
SELECT is((SELECT doc_date FROM shop.doc('rule days', '2')),
	'2024-03-10'::date, 'the document''s day is the programme''s');
SELECT is((SELECT occurred_at FROM shop.doc('rule days', '2')),
	'2024-03-09 18:30:00+00'::timestamptz, 'its instant is everybody''s');
-- re-dated
UPDATE shop.t SET at = '2024-03-11 18:30:00+00' WHERE id = 3;
SELECT is(loyalty.balance('prog days', 'last'), 0.00, 'a document that is dated out of the programme gives back');
UPDATE shop.t SET at = '2024-03-11 18:00:00+00' WHERE id = 3;
SELECT is(loyalty.balance('prog days', 'last'), 10.00, 'and dated into it earns');

-- a date, or a timestamp without a zone, is programme time
SELECT loyalty.create_program('far', 'Pacific/Auckland', valid_from => '2024-03-10', valid_to => '2024-03-10') \gset
SELECT loyalty.set_rule('far', 'base', 1, 1) \gset
SELECT loyalty.attach('far date', 'far', 'shop.t', 'r.id', 'r.customer', 'r.day', amount => 'r.total', filter => 'r.day IS NOT NULL', evaluate => 'statement') \gset
SELECT loyalty.attach('far local', 'far', 'shop.t', 'r.id', 'r.customer', 'r.local', amount => 'r.total', filter => 'r.local IS NOT NULL', evaluate => 'statement') \gset
INSERT INTO shop.t (id, customer, day) VALUES (11, 'd09', '2024-03-09'), (12, 'd10', '2024-03-10'), (13, 'd11', '2024-03-11');
SELECT is(array_agg(loyalty.balance('far', c) ORDER BY c), '{0,10,0}'::numeric[], 'a date is that day in the programme''s zone, whatever the session''s')
	FROM unnest('{d09,d10,d11}'::text[]) c;
INSERT INTO shop.t (id, customer, local) VALUES (14, 'l1', '2024-03-09 23:59:59.999999'), (15, 'l2', '2024-03-10 00:00:00'), (16, 'l3', '2024-03-10 23:59:59.999999'), (17, 'l4', '2024-03-11 00:00:00');
SELECT is(array_agg(loyalty.balance('far', c) ORDER BY c), '{0,10,10,0}'::numeric[], 'so is a timestamp without a zone')
	FROM unnest('{l1,l2,l3,l4}'::text[]) c;
SELECT is((SELECT occurred_at FROM shop.doc('far local', '15')), '2024-03-10 00:00:00 Pacific/Auckland'::timestamptz, 'its instant is the programme''s');
-- the day the clocks change has 23 hours
SELECT loyalty.create_program('dst', 'Europe/Brussels') \gset
SELECT loyalty.set_rule('dst', 'base', 1, 1, valid_from => '2024-03-31', valid_to => '2024-03-31') \gset
SELECT loyalty.attach('dst', 'dst', 'shop.t', 'r.id', 'r.customer', 'r.at', amount => 'r.total', filter => 'r.at IS NOT NULL', evaluate => 'statement') \gset
INSERT INTO shop.t (id, customer, at) VALUES (21, 's1', '2024-03-30 22:59:59+00'), (22, 's2', '2024-03-30 23:00:00+00'), (23, 's3', '2024-03-31 21:59:59+00'), (24, 's4', '2024-03-31 22:00:00+00');
SELECT is(array_agg(loyalty.balance('dst', c) ORDER BY c), '{0,10,10,0}'::numeric[], 'a day of 23 hours is one')
	FROM unnest('{s1,s2,s3,s4}'::text[]) c;
-- a rule that follows another
SELECT loyalty.create_program('season', 'UTC') \gset
SELECT loyalty.set_rule('season', 'winter', 1, 1, valid_to => '2024-03-20') \gset
SELECT loyalty.set_rule('season', 'summer', 2, 1, valid_from => '2024-03-21') \gset
SELECT loyalty.attach('season', 'season', 'shop.t', 'r.id', 'r.customer', 'r.day', amount => 'r.total', filter => 'r.day IS NOT NULL', evaluate => 'statement') \gset
INSERT INTO shop.t (id, customer, day) VALUES (31, 'sea1', '2024-03-20'), (32, 'sea2', '2024-03-21');
SELECT is(loyalty.balance('season', 'sea1'), 10.00, 'the last day of one rule');
SELECT is(loyalty.balance('season', 'sea2'), 20.00, 'the first day of the next');

-- companies
SELECT loyalty.create_program('comp', 'UTC', companies => '{A,B}') \gset
SELECT loyalty.set_rule('comp', 'base', 1, 1) \gset
SELECT shop.attach('comp', 'comp', company => 'r.company', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, company) VALUES (1, 'ca', 10, 'A'), (2, 'cb', 20, 'B'), (3, 'cc', 30, 'C');
SELECT is(array_agg(loyalty.balance('comp', c) ORDER BY c), '{10,20,0}'::numeric[], 'only the programme''s companies count')
	FROM unnest('{ca,cb,cc}'::text[]) c;
SELECT is(loyalty.member_id('comp', 'cc'), NULL::bigint, 'a document of another company makes nobody a member');
UPDATE shop.invoice SET company = 'C' WHERE id = 1;
SELECT is(loyalty.balance('comp', 'ca'), 0.00, 'a document that goes to another company gives back');
UPDATE shop.invoice SET company = 'B' WHERE id IN (1, 3);
SELECT is(loyalty.balance('comp', 'ca') + loyalty.balance('comp', 'cc'), 40.00, 'and one that comes to ours earns');
SELECT is((SELECT company FROM shop.doc('comp', '3')), 'B', 'the company is kept');
SELECT is_empty($$SELECT * FROM loyalty.verify('comp')$$, 'verify agrees');
SELECT loyalty.detach('comp') \gset

-- currencies
SET LOCAL client_min_messages = error;
SELECT loyalty.create_program('cur', 'UTC', 'EUR') \gset
SELECT loyalty.set_rule('cur', 'base', 1, 1) \gset
SELECT loyalty.set_tier('cur', 'Silver', 100) \gset
SELECT shop.attach('cur', 'cur', currency => 'r.currency', rate => 'r.rate', paid_by_points => 'r.points_paid', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, currency, rate) VALUES (11, 'eur', 100, 'EUR', NULL), (12, 'usd', 100, 'USD', 0.9), (13, 'jpy', 10000, 'JPY', 0.0061);
SELECT is(loyalty.balance('cur', 'eur'), 100.00, 'the programme''s currency needs no rate');
SELECT is(loyalty.balance('cur', 'usd'), 90.00, 'another one is converted');
SELECT is(loyalty.balance('cur', 'jpy'), 61.00, 'exactly');
SELECT is(shop.tier('cur', 'eur'), 'Silver', '100 EUR are 100');
SELECT is(shop.tier('cur', 'usd'), NULL, '100 USD are not');
SELECT is(shop.qualifying('cur', 'usd'), 90::numeric, 'they qualify with 90');
SELECT is((SELECT gross FROM shop.doc('cur', '12')), 90::numeric, 'as the gross amount is kept');
INSERT INTO shop.invoice (id, customer, total, currency, rate, points_paid) VALUES (14, 'paid', 100, 'USD', 0.5, 20);
SELECT is(loyalty.balance('cur', 'paid'), 40.00, 'the part paid with points is converted as well');
INSERT INTO shop.invoice (id, customer, total, currency, rate) VALUES (15, 'norate', 100, 'CHF', NULL);
SELECT is(loyalty.balance('cur', 'norate'), 0.00, 'without a rate nothing is booked');
SELECT results_eq($$SELECT doc_key COLLATE "default", reason FROM shop.pending$$, $$VALUES ('15', 'parked')$$, 'the document is parked');
SELECT isnt_empty($$SELECT FROM shop.pending WHERE message ~ 'CHF'$$, 'for want of a rate for its currency');
UPDATE shop.invoice SET rate = 1.05 WHERE id = 15;
SELECT is(loyalty.balance('cur', 'norate'), 105.00, 'the rate comes: it is booked');
SELECT is_empty($$SELECT FROM shop.pending$$, 'and waits no longer');
UPDATE shop.invoice SET rate = 0.91 WHERE id = 12;
SELECT is(loyalty.balance('cur', 'usd'), 91.00, 'a corrected rate corrects the points');
SELECT loyalty.detach('cur') \gset
SELECT shop.attach('cur2', 'cur', currency => 'r.currency', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total, currency) VALUES (16, 'nomap', 100, 'USD'), (17, 'nomap', 5, 'EUR');
SELECT is(loyalty.balance('cur', 'nomap'), 5.00, 'without a mapped rate other currencies are not taken for the programme''s');
SELECT set_eq($$SELECT doc_key FROM shop.pending$$, '{16}'::text[], 'but parked');
DELETE FROM shop.invoice WHERE id = 16;
SELECT loyalty.detach('cur2') \gset

-- enrolment: explicit
SELECT loyalty.create_program('expl', 'UTC', enrolment => 'explicit') \gset
SELECT loyalty.set_rule('expl', 'base', 1, 1) \gset
SELECT shop.attach('expl', 'expl', evaluate => 'statement') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (21, 'exp', 100);
SELECT is(loyalty.member_id('expl', 'exp'), NULL::bigint, 'explicit: a document makes nobody a member');
SELECT is(loyalty.balance('expl', 'exp'), 0.00, 'and earns nothing');
SELECT is_empty($$SELECT FROM shop.pending$$, 'nor does it wait');
SELECT loyalty.enrol('expl', 'exp', '2024-01-01') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (22, 'exp', 50);
SELECT is(shop.booked('expl', '22'), 50::numeric, 'once enrolled, documents earn');
SELECT loyalty.detach('expl') \gset

-- enrolment: automatic, by a condition on the document
SELECT loyalty.create_program('cond', 'UTC') \gset
SELECT loyalty.set_rule('cond', 'base', 1, 1) \gset
CREATE TABLE shop.customer (code text PRIMARY KEY, wants boolean);
INSERT INTO shop.customer VALUES ('yes', true), ('no', false), ('unsure', NULL);
SELECT shop.attach('cond', 'cond', evaluate => 'statement',
	enrol => 'r.total >= 100 AND (SELECT c.wants FROM shop.customer c WHERE c.code = r.customer)') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (31, 'yes', 99), (32, 'no', 100), (33, 'unsure', 100);
SELECT is_empty($$SELECT customer FROM shop.member m JOIN loyalty.program p USING (program_id) WHERE p.name = 'cond'$$, 'the condition is not met: no member');
INSERT INTO shop.invoice (id, customer, total) VALUES (34, 'yes', 100);
SELECT is(shop.booked('cond', '34'), 100::numeric, 'the document that meets it earns');
INSERT INTO shop.invoice (id, customer, total) VALUES (35, 'yes', 5);
SELECT is(shop.booked('cond', '35'), 5::numeric, 'and so does every later one of the member');
SELECT is((SELECT joined_on FROM shop.member m JOIN loyalty.program p USING (program_id) WHERE p.name = 'cond'), '2024-03-10'::date, 'who joined on the day of the document');
UPDATE shop.customer SET wants = true WHERE code = 'no';
UPDATE shop.invoice SET total = 101 WHERE id = 32;
SELECT is(loyalty.balance('cond', 'no'), 101.00, 'a document that meets it later makes its customer a member then');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
