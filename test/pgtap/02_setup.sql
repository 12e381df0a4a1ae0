-- Programmes, tiers and rules: what is taken, what is refused.
\ir common.psql
SELECT no_plan();

SELECT lives_ok($$SELECT loyalty.create_program('setup', 'Europe/Brussels', 'EUR')$$, 'a programme is created');
SELECT results_eq(
	$$SELECT time_zone, currency, point_unit, rounding, rounding_scope, crossing, negative, enrolment, companies
		FROM loyalty.program WHERE name = 'setup'$$,
	$$VALUES ('Europe/Brussels', 'EUR', 1.00::numeric(3,2), 'down', 'document', 'new', 'debt', 'automatic', NULL::text[])$$,
	'with the defaults');
SELECT lives_ok($$SELECT loyalty.create_program('session zone')$$, 'the zone may be left out');
SELECT is((SELECT time_zone FROM loyalty.program WHERE name = 'session zone'), 'America/St_Johns', 'it is the session''s then, and is kept');

SELECT throws_ok($$SELECT loyalty.create_program('setup', 'UTC')$$, 'LY002', NULL, 'a second programme of the name is refused');
SELECT throws_ok($$SELECT loyalty.create_program('')$$, '22023', NULL, 'a programme without a name is refused');
SELECT throws_ok($$SELECT loyalty.create_program(NULL)$$, '22023', NULL, 'and NULL for a name');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'Mars/Olympus')$$, '22023', NULL, 'an unknown zone is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', point_unit => 0.5)$$, '22023', NULL, 'a point unit of 0.5 is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', point_unit => NULL)$$, '22023', NULL, 'and NULL');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', rounding => 'ceiling')$$, '22023', NULL, 'an unknown rounding is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', rounding_scope => 'member')$$, '22023', NULL, 'an unknown rounding_scope is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', crossing => 'both')$$, '22023', NULL, 'an unknown crossing is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', negative => 'allow')$$, '22023', NULL, 'an unknown negative is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', enrolment => 'maybe')$$, '22023', NULL, 'an unknown enrolment is refused');
SELECT throws_ok($$SELECT loyalty.create_program('p', 'UTC', valid_from => '2024-02-01', valid_to => '2024-01-31')$$, '22023', NULL,
	'a period that ends before it begins is refused');
SELECT lives_ok($$SELECT loyalty.create_program('one day', 'UTC', valid_from => '2024-02-01', valid_to => '2024-02-01')$$,
	'a period of one day is one');
SELECT is_empty($$SELECT FROM loyalty.program WHERE name = 'p'$$, 'what was refused left nothing behind');
SELECT lives_ok($$SELECT loyalty.create_program('unit ' || u, 'UTC', point_unit => u) FROM unnest('{1,0.10,0.01,1.0}'::numeric[]) u$$,
	'1, 0.1 and 0.01 are taken however they are written');

SELECT lives_ok($$SELECT loyalty.set_tier('setup', 'Silver', 2000, 1.25)$$, 'a tier is created');
SELECT lives_ok($$SELECT loyalty.set_tier('setup', 'Silver', 2500, 1.5)$$, 'and changed');
SELECT results_eq($$SELECT t.threshold, t.rate FROM loyalty.tier t JOIN loyalty.program p USING (program_id) WHERE p.name = 'setup'$$,
	$$VALUES (2500::numeric, 1.5)$$, 'it is one tier still');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', 'Gold', 2500, 2)$$, 'LY002', NULL, 'two tiers cannot begin at one threshold');
SELECT throws_ok($$SELECT loyalty.set_tier('nowhere', 'Gold', 2500, 2)$$, 'LY001', NULL, 'a tier of an unknown programme is refused');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', 'Gold', -1, 2)$$, '22023', NULL, 'a negative threshold is refused');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', 'Gold', 'NaN', 2)$$, '22023', NULL, 'a threshold of NaN is refused');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', 'Gold', 6000, 'Infinity')$$, '22023', NULL, 'an infinite rate is refused');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', 'Gold', 6000, -0.1)$$, '22023', NULL, 'a negative rate is refused');
SELECT throws_ok($$SELECT loyalty.set_tier('setup', ' ', 6000, 1)$$, '22023', NULL, 'a tier without a name is refused');
SELECT lives_ok($$SELECT loyalty.set_tier('setup', 'Base', 0, 0)$$, 'a threshold and a rate of 0 are taken');

SELECT lives_ok($$SELECT loyalty.set_rule('setup', 'base', 1, 300)$$, 'a rule is created');
SELECT lives_ok($$SELECT loyalty.set_rule('setup', 'base', 1, 200, 'step')$$, 'and changed');
SELECT results_eq($$SELECT r.version, r.per_amount, r.mode, r.is_current FROM loyalty.rule r JOIN loyalty.program p USING (program_id)
		WHERE p.name = 'setup' ORDER BY r.version$$,
	$$VALUES (1, 300::numeric, 'proportional', false), (2, 200, 'step', true)$$, 'a change is a new version, the old one is kept');
SELECT throws_ok($$SELECT loyalty.set_rule('nowhere', 'base', 1, 300)$$, 'LY001', NULL, 'a rule of an unknown programme is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 1, 0)$$, '22023', NULL, 'a per_amount of 0 is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 1, -5)$$, '22023', NULL, 'a negative per_amount is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 'NaN', 1)$$, '22023', NULL, 'NaN points are refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 'Infinity', 1)$$, '22023', NULL, 'infinite points are refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', -1, 1)$$, '22023', NULL, 'negative points are refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 1, 1, 'stairs')$$, '22023', NULL, 'an unknown mode is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 1, 1, applies_to => 'page')$$, '22023', NULL, 'an unknown applies_to is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', 'bad', 1, 1, valid_from => '2024-01-02', valid_to => '2024-01-01')$$, '22023', NULL,
	'a period that ends before it begins is refused');
SELECT throws_ok($$SELECT loyalty.set_rule('setup', NULL, 1, 1)$$, '22023', NULL, 'a rule without a name is refused');
SELECT lives_ok($$SELECT loyalty.end_rule('setup', 'base')$$, 'a rule is ended');
SELECT throws_ok($$SELECT loyalty.end_rule('setup', 'base')$$, 'LY001', NULL, 'once');
SELECT throws_ok($$SELECT loyalty.end_rule('setup', 'none')$$, 'LY001', NULL, 'a rule that never was cannot be ended');
SELECT lives_ok($$SELECT loyalty.set_rule('setup', 'base', 1, 100)$$, 'an ended rule can come back');
SELECT results_eq($$SELECT r.version FROM loyalty.rule r JOIN loyalty.program p USING (program_id)
		WHERE p.name = 'setup' AND r.is_current$$, $$VALUES (3)$$, 'as its next version');

-- enrolment and lookups
SELECT is(loyalty.member_id('setup', 'nobody'), NULL::bigint, 'a stranger has no member_id');
SELECT is(loyalty.balance('setup', 'nobody'), 0.00, 'and a balance of 0');
SELECT throws_ok($$SELECT loyalty.member_id('nowhere', 'nobody')$$, 'LY001', NULL, 'member_id() of an unknown programme is an error');
SELECT throws_ok($$SELECT loyalty.balance('nowhere', 'nobody')$$, 'LY001', NULL, 'balance() of an unknown programme is an error');
SELECT lives_ok($$SELECT loyalty.enrol('setup', 'ann', '2024-01-05')$$, 'a customer enrols');
SELECT is(loyalty.enrol('setup', 'ann', '2024-02-05'), loyalty.member_id('setup', 'ann'), 'enrolling again finds the member');
SELECT is((SELECT joined_on FROM shop.member WHERE member_id = loyalty.member_id('setup', 'ann')), '2024-01-05'::date,
	'the day of joining stays');
SELECT isnt(loyalty.enrol('session zone', 'ann'), loyalty.member_id('setup', 'ann'), 'another programme, another member');
SELECT cmp_ok(loyalty.member_id('setup', 'ann'), '<', 9007199254740992, 'a member_id fits a JSON number');
SELECT cmp_ok(loyalty.member_id('setup', 'ann'), '>', 0::bigint, 'and is positive');
SELECT throws_ok($$SELECT loyalty.enrol('nowhere', 'ann')$$, 'LY001', NULL, 'enrolling in an unknown programme is an error');
SELECT throws_ok($$SELECT loyalty.enrol('setup', NULL)$$, '22004', NULL, 'nobody cannot enrol');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
