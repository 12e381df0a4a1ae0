-- Who may fetch messages, and who may read, write and settle them.
\ir common.psql
SELECT no_plan();

SELECT count(*) FROM loyalty.create_roles() \gset
SELECT loyalty.create_program('club', 'UTC') \gset
SELECT loyalty.set_message('club', 'earned', max_attempts => 1) \gset
SELECT loyalty.enrol('club', 'ann') AS ann \gset
SELECT points FROM loyalty.adjust('club', 'ann', 1, 'x', 'a'), loyalty.adjust('club', 'ann', 2, 'x', 'b') b (p), loyalty.adjust('club', 'ann', 3, 'x', 'c') c (p) \g /dev/null
CREATE FUNCTION shop.as_role(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_result text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	BEGIN
		EXECUTE command INTO v_result;
	EXCEPTION WHEN OTHERS THEN
		v_result := SQLSTATE;
	END;
	RESET ROLE;
	RETURN v_result;
END $$;
SELECT is(shop.as_role(t.role, t.command), t.expected, t.role || ': ' || t.command) FROM (VALUES
	(1, 'loyalty_messenger', $$SELECT count(*) FROM loyalty.fetch_messages('m', 2, at => now() + interval '1 minute')$$, '2'),
	(2, 'loyalty_messenger', format($$SELECT loyalty.acknowledge('m', %s, 'earned', 'entry:1')$$, :ann), 'true'),
	(3, 'loyalty_messenger', format($$SELECT loyalty.acknowledge_all('m', ARRAY[%s], '{earned}', '{entry:1}')$$, :ann), '1'),
	(4, 'loyalty_messenger', format($$SELECT (loyalty.render_message(%s, 'earned', 'entry:1')).subject$$, :ann), 'You have earned 1 points'),
	(5, 'loyalty_messenger', format($$SELECT loyalty.fail_message('m', %s, 'earned', 'entry:2', 'x')$$, :ann), 'dead'),
	(6, 'loyalty_messenger', $$SELECT count(*) FROM loyalty.message$$, '42501'),
	(7, 'loyalty_messenger', $$SELECT count(*) FROM loyalty.member$$, '42501'),
	(8, 'loyalty_messenger', $$SELECT count(*) FROM loyalty.dead_message$$, '42501'),
	(9, 'loyalty_messenger', $$SELECT loyalty.retry_dead('club')$$, '42501'),
	(10, 'loyalty_messenger', $$SELECT loyalty.set_message('club', 'earned', false)$$, '42501'),
	(11, 'loyalty_messenger', $$SELECT loyalty.balance('club', 'ann')$$, '42501'),
	(12, 'loyalty_clerk', $$SELECT count(*) FROM loyalty.fetch_messages('c')$$, '42501'),
	(13, 'loyalty_bi', $$SELECT count(*) FROM loyalty.message$$, '42501'),
	(14, 'loyalty_erp', $$SELECT count(*) FROM loyalty.fetch_messages('e')$$, '42501'),
	(15, 'loyalty_clerk', $$SELECT loyalty.set_language('club', 'ann', 'de')$$, ''),
	(16, 'loyalty_manager', $$SELECT count(*) FROM loyalty.dead_message WHERE program = 'club'$$, '1'),
	(17, 'loyalty_manager', $$SELECT loyalty.retry_dead('club')$$, '1'),
	(18, 'loyalty_manager', $$SELECT loyalty.set_template('club', 'earned', 'en', 'x', 'y')$$, '42501'),
	(19, 'loyalty_admin', $$SELECT loyalty.set_template('club', 'earned', 'en', 'x', 'y')$$, ''),
	(20, 'loyalty_admin', $$SELECT loyalty.warn_members()$$, '(,0)'),
	(21, 'loyalty_admin', format($$SELECT loyalty.tell(%s, 'earned', 'x', '{}')$$, :ann), '42501'),
	(22, 'loyalty_admin', $$SELECT loyalty.close_dead('club', NULL, NULL, 'done')$$, '42501'),
	(23, 'loyalty_admin', format($$INSERT INTO loyalty.message SELECT %s$$, :ann), '42501')) t (n, role, command, expected)
ORDER BY t.n;

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
