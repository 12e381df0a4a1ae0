-- Who may do what.  Nothing is for everybody; roles are made on request, since
-- they belong to the cluster and not to this database.

CREATE FUNCTION loyalty.create_roles() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_role text;
BEGIN
	FOREACH v_role IN ARRAY ARRAY['loyalty_admin', 'loyalty_manager', 'loyalty_clerk', 'loyalty_bi', 'loyalty_erp', 'loyalty_messenger'] LOOP
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
		loyalty.enrol(text, text, date), loyalty.approve_event(text, text, text),
		loyalty.reject_event(text, text, text), loyalty.revoke_event(text, text, text) TO loyalty_manager;
	GRANT EXECUTE ON PROCEDURE loyalty.upkeep(timestamptz, integer, text[]) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.upkeep_begin(timestamptz, integer, text[]), loyalty.upkeep_steps(),
		loyalty.upkeep_step(timestamptz, text, timestamptz, bigint, integer),
		loyalty.upkeep_note(timestamptz, text, text, boolean), loyalty.upkeep_member() TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.balance(text, text, timestamptz), loyalty.member_id(text, text),
		loyalty.statement(text, text, timestamptz, timestamptz), loyalty.explain(text, text),
		loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz, jsonb, text, jsonb), loyalty.settle(),
		loyalty.record_event(text, text, text, text, timestamptz, jsonb, text), loyalty.events(text, text),
		loyalty.explain_event(text, text, text), loyalty.stamp_card(text, text), loyalty.wallets(text, text, timestamptz),
		loyalty.period_statement(text, text, timestamptz, timestamptz), loyalty.statement_lots(text, text, timestamptz, timestamptz),
		loyalty.statement_text(text, text, timestamptz, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.expires_on(text, date), loyalty.available(text, text, timestamptz), loyalty.points(text, text, timestamptz),
		loyalty.quote_redemption(text, text, numeric, jsonb, timestamptz),
		loyalty.redeem(text, text, numeric, text, text, text, numeric, jsonb, timestamptz),
		loyalty.cancel_redemption(text, text, text, timestamptz),
		loyalty.reserve(text, text, numeric, text, integer, numeric, jsonb, timestamptz),
		loyalty.capture_hold(text, text, text, numeric, text, text, timestamptz),
		loyalty.release_hold(text, text, text, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.adjust(text, text, numeric, text, text, date, timestamptz),
		loyalty.extend_points(text, text, date, text, text, date, timestamptz),
		loyalty.reinstate_points(text, text, date, date, text, text, timestamptz),
		loyalty.transfer(text, text, text, numeric, text, timestamptz) TO loyalty_manager, loyalty_clerk;
	GRANT EXECUTE ON FUNCTION loyalty.merge_customers(text, text, text, timestamptz), loyalty.leave_household(text, text, text, timestamptz)
		TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.rewards_available(text, text, timestamptz),
		loyalty.redeem_reward(text, text, text, text, integer, text, text, timestamptz),
		loyalty.cancel_reward(text, text, text, timestamptz),
		loyalty.voucher_code(text),
		loyalty.show_code(text),
		loyalty.quote_reward(text, text, numeric, jsonb, integer),
		loyalty.redeem_voucher(text, text, numeric, text, text, text, timestamptz, jsonb),
		loyalty.reserve_voucher(text, text, numeric, text, text, integer, timestamptz, jsonb),
		loyalty.capture_voucher(text, text, text, text, timestamptz),
		loyalty.release_voucher(text, text, text, timestamptz),
		loyalty.vouchers(text, text, integer, timestamptz),
		loyalty.answer_points(text, text, timestamptz),
		loyalty.answer_rewards(text, text, timestamptz),
		loyalty.answer_expiry(text, text, timestamptz),
		loyalty.answer_program(text),
		loyalty.answer(text, text, text, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.tier(text, text, timestamptz), loyalty.tier_progress(text, text, timestamptz)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
	GRANT EXECUTE ON FUNCTION loyalty.override_tier(text, text, text, date, text, text, timestamptz),
		loyalty.end_override(text, text, text, timestamptz), loyalty.review_tiers(timestamptz, bigint, integer),
		loyalty.record_growth(text, text, numeric, text, text, timestamptz) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.tier_id_now(bigint, integer, date, timestamptz), loyalty.tier_is_known(date, timestamptz),
		loyalty.standing(bigint, timestamptz, boolean) TO loyalty_manager, loyalty_bi;
	GRANT EXECUTE ON FUNCTION loyalty.draw_winners(text, text, text, integer, timestamptz, timestamptz),
		loyalty.issue_voucher(text, text, text, numeric, text, integer, integer, numeric, boolean, text, timestamptz)
		TO loyalty_manager;
	-- a messenger has the messages it fetched, and no table
	GRANT EXECUTE ON FUNCTION loyalty.fetch_messages(text, integer, text[], interval, timestamptz),
		loyalty.acknowledge(text, bigint, text, text, timestamptz),
		loyalty.acknowledge_all(text, bigint[], text[], text[], timestamptz),
		loyalty.fail_message(text, bigint, text, text, text, interval, timestamptz),
		loyalty.render_message(bigint, text, text, text), loyalty.message_fields() TO loyalty_messenger;
	GRANT EXECUTE ON FUNCTION loyalty.message_fields(), loyalty.retry_dead(text, text, text),
		loyalty.discard_dead(text, text, text), loyalty.render_message(bigint, text, text, text),
		loyalty.set_language(text, text, text), loyalty.check_messages() TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.set_language(text, text, text) TO loyalty_clerk, loyalty_erp;
	REVOKE EXECUTE ON FUNCTION loyalty.tell(bigint, text, text, jsonb, timestamptz), loyalty.announce(integer, text), loyalty.close_dead(text, text, text, text) FROM loyalty_admin;
	-- parts of others: they check nothing themselves
	REVOKE EXECUTE ON FUNCTION loyalty.write_tier(bigint), loyalty.end_tier_override(bigint, text, timestamptz)
		FROM loyalty_admin;
	REVOKE EXECUTE ON FUNCTION loyalty.fill_days(integer, date), loyalty.may_wait(), loyalty.draw_reward(text, text, numeric, text, text, integer, numeric, text, text, timestamptz),
		loyalty.cancel_reward_points(text, text, text, timestamptz),
		loyalty.unmet_rewards(text, text, timestamptz, integer), loyalty.birthdays_of(integer, text[]),
		loyalty.due_birthdays(integer, timestamptz, bigint, integer) FROM loyalty_admin;
	GRANT EXECUTE ON FUNCTION loyalty.close_period(text, date, timestamptz), loyalty.check_liability(text, timestamptz),
		loyalty.check_revenue(text, date) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.liability(text, timestamptz), loyalty.deferred_revenue(text, date, date),
		loyalty.journal(text, date, date), loyalty.revenue_allocation(numeric, numeric),
		loyalty.redemption_curve(text, timestamptz), loyalty.expected_redemption(text, timestamptz),
		loyalty.expiring_points(text, integer, timestamptz)
		TO loyalty_manager, loyalty_bi;
	-- BI reads figures, not who they are of
	GRANT SELECT ON loyalty.tier_ladder, loyalty.expiry_policy, loyalty.program, loyalty.tier, loyalty.upkeep_run,
		loyalty.upkeep_progress TO loyalty_bi;
	GRANT EXECUTE ON FUNCTION loyalty.upkeep_steps() TO loyalty_bi;
	GRANT SELECT (member_id, program_id, joined_on, tier_id, balance, debt, qualifying, last_seq, lots_through, held, merged_into,
		next_expiry, expired_through, usable_from, lapses_on, tier_since, tier_until, tier_review, tier_at, left_at) ON loyalty.member TO loyalty_bi;
	GRANT SELECT ON loyalty.lot_draw, loyalty.lot_movement, loyalty.allocation TO loyalty_bi;
	GRANT SELECT (member_id, lot_seq, n, kind, expires_on, points, changed_at) ON loyalty.lot_change TO loyalty_bi;
	PERFORM loyalty.grant_analytics();
END
$$;
COMMENT ON FUNCTION loyalty.create_roles() IS
'creates loyalty_admin, loyalty_manager, loyalty_clerk, loyalty_bi, loyalty_erp and loyalty_messenger where they do not exist, and grants them their rights; returns the roles it created';

REVOKE ALL ON ALL ROUTINES IN SCHEMA loyalty FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA loyalty FROM PUBLIC;

-- what the installing role, not the bootstrap superuser, owns
DO $$
DECLARE
	v_owner name := (SELECT r.rolname FROM pg_extension e JOIN pg_roles r ON r.oid = e.extowner WHERE e.extname = 'loyalty');
	v_object text;
BEGIN
	FOR v_object IN
		SELECT format('%s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
		FROM pg_class c WHERE c.relnamespace = 'loyalty'::regnamespace AND c.relkind IN ('r', 'v')
		UNION ALL
		SELECT format('ROUTINE %s', p.oid::regprocedure) FROM pg_proc p WHERE p.pronamespace = 'loyalty'::regnamespace
	LOOP
		EXECUTE format('ALTER %s OWNER TO %I', v_object, v_owner);
	END LOOP;
END
$$;
