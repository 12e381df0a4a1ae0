-- Who may spend, adjust and merge.
\ir common.psql
SELECT no_plan();

SELECT count(*) FROM loyalty.create_roles() \gset
SELECT loyalty.create_program('tab', 'UTC') \gset
SELECT loyalty.set_redemption('tab', 1, clerk_limit => 20) \gset
SELECT loyalty.enrol('tab', 'ann') AS ann, loyalty.enrol('tab', 'bob') AS bob \gset
SELECT loyalty.set_reward('tab', 'mug', 'product', 5) > 0 AS ok \gset
CREATE FUNCTION shop.state(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
GRANT USAGE ON SCHEMA shop TO loyalty_admin, loyalty_clerk, loyalty_manager, loyalty_bi, loyalty_erp;

CREATE TEMP TABLE tried (n integer GENERATED ALWAYS AS IDENTITY, role text, command text, expected text);
INSERT INTO tried (role, command, expected) VALUES
	('loyalty_clerk', $$SELECT loyalty.adjust('tab', 'ann', 20, 'x', 'k1')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.adjust('tab', 'ann', 20.01, 'x', 'k2')$$, 'LY011'),
	('loyalty_clerk', $$SELECT loyalty.adjust('tab', 'ann', -20, 'x', 'k3')$$, 'ok'),
	('loyalty_manager', $$SELECT loyalty.adjust('tab', 'ann', 5000, 'x', 'k4')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.adjust('tab', 'ann', -21, 'x', 'k5')$$, 'LY011'),
	('loyalty_erp', $$SELECT loyalty.adjust('tab', 'ann', 1, 'x', 'k6')$$, '42501'),
	('loyalty_bi', $$SELECT loyalty.redeem('tab', 'ann', 1, 'k7')$$, '42501'),
	('loyalty_erp', $$SELECT loyalty.redeem('tab', 'ann', 1, 'k8')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.redeem_reward('tab', 'ann', 'mug', 'k9')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.draw_reward('tab', 'ann', 1, 'k10', 'mug', 1, 0, NULL, NULL, NULL)$$, '42501'),
	('loyalty_manager', $$SELECT loyalty.cancel_reward_points('tab', 'ann', 'k9', NULL)$$, '42501'),
	('loyalty_clerk', $$SELECT loyalty.set_redemption('tab', 1, clerk_limit => 1000)$$, '42501'),
	('loyalty_clerk', $$SELECT loyalty.merge_customers('tab', 'bob', 'ann')$$, '42501'),
	('loyalty_clerk', $$SELECT loyalty.issue_voucher('tab', 'ann', 'value', 5, 'v')$$, '42501'),
	('loyalty_manager', $$SELECT loyalty.issue_voucher('tab', 'ann', 'value', 5, 'v')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.write_voucher(0, 1, 'x', 'value', 5, 1, 0, NULL, true, 'staff', now(), 1)$$, '42501'),
	('loyalty_clerk', $$SELECT * FROM loyalty.voucher$$, '42501'),
	('loyalty_clerk', $$INSERT INTO loyalty.redemption SELECT * FROM loyalty.redemption$$, '42501'),
	('loyalty_clerk', $$SELECT loyalty.answer('tab', 'ann', 'rewards')$$, 'ok'),
	('loyalty_manager', $$SELECT loyalty.transfer('tab', 'ann', 'bob', 7, 'k11')$$, 'ok'),
	('loyalty_manager', $$SELECT loyalty.merge_customers('tab', 'bob', 'ann')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.leave_household('tab', 'bob', 'k12')$$, '42501'),
	('loyalty_manager', $$SELECT loyalty.leave_household('tab', 'bob', 'k12')$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.quote_reward('tab', 'mug', 10)$$, 'ok'),
	('loyalty_clerk', $$SELECT loyalty.may_wait()$$, '42501'),
	('loyalty_admin', $$SELECT loyalty.may_wait()$$, '42501'),
	('loyalty_admin', $$SELECT loyalty.fill_days(1, '2024-01-01')$$, '42501'),
	('loyalty_bi', $$SELECT left_at FROM loyalty.member$$, 'ok');
CREATE FUNCTION shop.try_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t record;
	v_got text;
BEGIN
	FOR t IN SELECT * FROM tried ORDER BY n LOOP
		EXECUTE format('SET LOCAL ROLE %I', t.role);
		v_got := shop.state(t.command);
		RESET ROLE;
		RETURN NEXT is(v_got, t.expected, t.role || ': ' || t.command);
	END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION shop.state(text) TO PUBLIC;
SELECT * FROM shop.try_all();
SELECT is((SELECT string_agg(recorded_by, ' ' ORDER BY key) FROM loyalty.operation WHERE member_id = loyalty.member_id('tab', 'ann') AND key IN ('k1', 'k4', 'k9')),
	'loyalty_clerk loyalty_manager loyalty_clerk', 'who called is recorded');
SELECT is(loyalty.balance('tab', 'ann'), 4994.00, 'what was allowed was done');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
