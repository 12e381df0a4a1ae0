-- Who may do what.  Nothing is for everybody; roles are made on request, since
-- they belong to the cluster and not to this database.

CREATE FUNCTION loyalty.create_roles() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_role text;
	v_views text[] := ARRAY['member_balance', 'document_line', 'tier_ladder', 'parked'];
	v_name text;
BEGIN
	FOREACH v_role IN ARRAY ARRAY['loyalty_admin', 'loyalty_manager', 'loyalty_clerk', 'loyalty_bi', 'loyalty_erp'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = v_role) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
			RETURN NEXT v_role;
		END IF;
		EXECUTE format('GRANT USAGE ON SCHEMA loyalty TO %I', v_role);
	END LOOP;
	GRANT SELECT ON ALL TABLES IN SCHEMA loyalty TO loyalty_admin, loyalty_manager;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA loyalty TO loyalty_admin;
	REVOKE EXECUTE ON FUNCTION loyalty.guard(), loyalty.config_changed() FROM loyalty_admin;
	GRANT EXECUTE ON FUNCTION loyalty.settle(), loyalty.retry_parked(text, integer), loyalty.status(),
		loyalty.reevaluate(text, text[]), loyalty.verify(text), loyalty.check(),
		loyalty.enrol(text, text, date) TO loyalty_manager;
	GRANT EXECUTE ON PROCEDURE loyalty.upkeep(integer) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.balance(text, text, timestamptz), loyalty.member_id(text, text),
		loyalty.statement(text, text, timestamptz, timestamptz), loyalty.explain(text, text),
		loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz, jsonb), loyalty.settle()
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.available(text, text, timestamptz), loyalty.points(text, text, timestamptz),
		loyalty.quote_redemption(text, text, numeric, jsonb, timestamptz),
		loyalty.redeem(text, text, numeric, text, text, text, numeric, jsonb, timestamptz),
		loyalty.cancel_redemption(text, text, text, timestamptz),
		loyalty.reserve(text, text, numeric, text, integer, numeric, jsonb, timestamptz),
		loyalty.capture_hold(text, text, text, numeric, text, text, timestamptz),
		loyalty.release_hold(text, text, text, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.adjust(text, text, numeric, text, text, date, timestamptz),
		loyalty.transfer(text, text, text, numeric, text, timestamptz) TO loyalty_manager, loyalty_clerk;
	GRANT EXECUTE ON FUNCTION loyalty.merge_customers(text, text, text, timestamptz), loyalty.close_holds(integer)
		TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.rewards_available(text, text, timestamptz),
		loyalty.redeem_reward(text, text, text, text, integer, text, text, timestamptz),
		loyalty.cancel_reward(text, text, text, timestamptz),
		loyalty.voucher_code(text),
		loyalty.show_code(text),
		loyalty.redeem_voucher(text, text, numeric, text, text, text, timestamptz),
		loyalty.reserve_voucher(text, text, numeric, text, text, integer, timestamptz),
		loyalty.capture_voucher(text, text, text, text, timestamptz),
		loyalty.release_voucher(text, text, text, timestamptz),
		loyalty.vouchers(text, text, integer, timestamptz),
		loyalty.answer_points(text, text, timestamptz),
		loyalty.answer_rewards(text, text, timestamptz),
		loyalty.answer_expiry(text, text, timestamptz),
		loyalty.answer_program(text),
		loyalty.answer(text, text, text, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.draw_winners(text, text, text, integer, timestamptz, timestamptz),
		loyalty.issue_voucher(text, text, text, numeric, text, integer, integer, numeric, boolean, text, timestamptz)
		TO loyalty_manager;
	-- parts of others: they check nothing themselves
	REVOKE EXECUTE ON FUNCTION loyalty.draw_reward(text, text, numeric, text, text, integer, numeric, text, text, timestamptz),
		loyalty.cancel_reward_points(text, text, text, timestamptz) FROM loyalty_admin;
	-- BI reads figures, not who they are of
	GRANT SELECT ON loyalty.tier_ladder, loyalty.program, loyalty.tier TO loyalty_bi;
	GRANT SELECT (member_id, program_id, joined_on, tier_id, balance, debt, qualifying) ON loyalty.member TO loyalty_bi;
	PERFORM loyalty.grant_analytics();
END
$$;
COMMENT ON FUNCTION loyalty.create_roles() IS
'creates loyalty_admin, loyalty_manager, loyalty_clerk, loyalty_bi and loyalty_erp where they do not exist, and grants them their rights; returns the roles it created';

REVOKE ALL ON ALL ROUTINES IN SCHEMA loyalty FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA loyalty FROM PUBLIC;

-- what the installing role, not the bootstrap superuser, owns
ALTER TABLE loyalty.program OWNER TO @extowner@;
ALTER TABLE loyalty.tier OWNER TO @extowner@;
ALTER TABLE loyalty.rule OWNER TO @extowner@;
ALTER TABLE loyalty.category OWNER TO @extowner@;
ALTER TABLE loyalty.source OWNER TO @extowner@;
ALTER TABLE loyalty.member OWNER TO @extowner@;
ALTER TABLE loyalty.document OWNER TO @extowner@;
ALTER TABLE loyalty.entry OWNER TO @extowner@;
ALTER TABLE loyalty.budget OWNER TO @extowner@;
ALTER TABLE loyalty.stored_lot OWNER TO @extowner@;
ALTER VIEW loyalty.lot OWNER TO @extowner@;
ALTER TABLE loyalty.allocation OWNER TO @extowner@;
ALTER TABLE loyalty.pending OWNER TO @extowner@;
ALTER TABLE loyalty.redemption_policy OWNER TO @extowner@;
ALTER TABLE loyalty.operation OWNER TO @extowner@;
ALTER TABLE loyalty.redemption OWNER TO @extowner@;
ALTER TABLE loyalty.hold OWNER TO @extowner@;
ALTER TABLE loyalty.reward OWNER TO @extowner@;
ALTER TABLE loyalty.reward_use OWNER TO @extowner@;
ALTER TABLE loyalty.voucher OWNER TO @extowner@;
ALTER TABLE loyalty.voucher_use OWNER TO @extowner@;
ALTER VIEW loyalty.member_balance OWNER TO @extowner@;
ALTER VIEW loyalty.member_points OWNER TO @extowner@;
ALTER VIEW loyalty.redemption_list OWNER TO @extowner@;
ALTER VIEW loyalty.document_line OWNER TO @extowner@;
ALTER VIEW loyalty.tier_ladder OWNER TO @extowner@;
ALTER VIEW loyalty.parked OWNER TO @extowner@;
ALTER FUNCTION loyalty.config_changed() OWNER TO @extowner@;
ALTER FUNCTION loyalty.guard() OWNER TO @extowner@;
ALTER FUNCTION loyalty.program_id(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.create_program(text, text, text, numeric, text, text, text, text, text, text[], date, date, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_choice(text, text, text[]) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_period(date, date) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_number(text, numeric, boolean) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_tier(text, text, numeric, numeric) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_rule(text, text, numeric, numeric, text, text, date, date, text, numeric, text, text, boolean, text, integer, numeric, numeric, numeric, numeric, numeric, numeric, numeric) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_rule_condition(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_category(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.propose_rules(text, jsonb) OWNER TO @extowner@;
ALTER FUNCTION loyalty.replay(text, date, date, jsonb) OWNER TO @extowner@;
ALTER FUNCTION loyalty.replay_summary(text, date, date, jsonb) OWNER TO @extowner@;
ALTER FUNCTION loyalty.end_rule(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_condition(text, text, text, boolean) OWNER TO @extowner@;
ALTER FUNCTION loyalty.condition_columns(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.capture() OWNER TO @extowner@;
ALTER FUNCTION loyalty.attach(text, text, regclass, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, regclass, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.detach(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_source(text, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.status() OWNER TO @extowner@;
ALTER FUNCTION loyalty.settle() OWNER TO @extowner@;
ALTER FUNCTION loyalty.retry_parked(text, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.reevaluate(text, text[]) OWNER TO @extowner@;
ALTER FUNCTION loyalty.verify(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.documents_of(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.book(text, text[], text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.enrol(text, text, date) OWNER TO @extowner@;
ALTER FUNCTION loyalty.apply_tiers(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.member_id(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.balance(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.explain(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz, jsonb) OWNER TO @extowner@;
ALTER PROCEDURE loyalty.backfill(text, text, integer, bigint, numeric, bigint) OWNER TO @extowner@;
ALTER PROCEDURE loyalty.upkeep(integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check() OWNER TO @extowner@;
ALTER FUNCTION loyalty.statement(text, text, timestamptz, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_redemption(text, numeric, numeric, numeric, numeric, numeric, numeric, text[], numeric, text, boolean, boolean, integer, integer, numeric, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_range(text, integer, integer, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.available(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.points(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.quote_redemption(text, text, numeric, jsonb, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.redeem(text, text, numeric, text, text, text, numeric, jsonb, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.cancel_redemption(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.reserve(text, text, numeric, text, integer, numeric, jsonb, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.capture_hold(text, text, text, numeric, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.release_hold(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.close_holds(integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.adjust(text, text, numeric, text, text, date, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.transfer(text, text, text, numeric, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.merge_customers(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.lock_account(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.draw_reward(text, text, numeric, text, text, integer, numeric, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.cancel_reward_points(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_reward(text, text, text, numeric, numeric, text[], text[], text, integer, numeric, date, date, text, integer, text, integer, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.reward_limits(integer, bigint, timestamptz, numeric) OWNER TO @extowner@;
ALTER FUNCTION loyalty.rewards_available(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.redeem_reward(text, text, text, text, integer, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.customer_number(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.cancel_reward(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.draw_winners(text, text, text, integer, timestamptz, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.new_code() OWNER TO @extowner@;
ALTER FUNCTION loyalty.voucher_code(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.show_code(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.write_voucher(bigint, integer, text, text, numeric, integer, numeric, integer, boolean, text, timestamptz, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.issue_voucher(text, text, text, numeric, text, integer, integer, numeric, boolean, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.use_voucher(text, text, numeric, text, text, text, integer, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.redeem_voucher(text, text, numeric, text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.reserve_voucher(text, text, numeric, text, text, integer, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.close_voucher(text, text, text, boolean, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.capture_voucher(text, text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.release_voucher(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.vouchers(text, text, integer, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.answer_points(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.answer_rewards(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.answer_expiry(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.answer_program(text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.answer(text, text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.create_roles() OWNER TO @extowner@;
