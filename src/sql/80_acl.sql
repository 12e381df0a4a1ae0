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
		loyalty.enrol(text, text, date), loyalty.approve_event(text, text, text),
		loyalty.reject_event(text, text, text), loyalty.revoke_event(text, text, text) TO loyalty_manager;
	GRANT EXECUTE ON PROCEDURE loyalty.upkeep(integer) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.balance(text, text, timestamptz), loyalty.member_id(text, text),
		loyalty.statement(text, text, timestamptz, timestamptz), loyalty.explain(text, text),
		loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz), loyalty.settle(),
		loyalty.record_event(text, text, text, text, timestamptz, jsonb, text), loyalty.events(text, text),
		loyalty.explain_event(text, text, text), loyalty.stamp_card(text, text)
		TO loyalty_manager, loyalty_clerk, loyalty_erp;
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
ALTER TABLE loyalty.event OWNER TO @extowner@;
ALTER VIEW loyalty.member_balance OWNER TO @extowner@;
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
ALTER FUNCTION loyalty.set_rule(text, text, numeric, numeric, text, text, date, date, text, numeric, text, text, boolean, text, integer, numeric, numeric, numeric, numeric, numeric, numeric, numeric, text, integer, text, boolean) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check_rule_condition(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_category(text, text, text) OWNER TO @extowner@;
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
ALTER FUNCTION loyalty.check_event_rule(text, text, text, text, integer, text, boolean) OWNER TO @extowner@;
ALTER FUNCTION loyalty.event_source(integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.record_event(text, text, text, text, timestamptz, jsonb, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.approve_event(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.reject_event(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.revoke_event(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.events(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.explain_event(text, text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.set_stamp_card(text, integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.stamp_card(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.member_id(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.balance(text, text, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.explain(text, text) OWNER TO @extowner@;
ALTER FUNCTION loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz) OWNER TO @extowner@;
ALTER PROCEDURE loyalty.backfill(text, text, integer, bigint, numeric, bigint) OWNER TO @extowner@;
ALTER PROCEDURE loyalty.upkeep(integer) OWNER TO @extowner@;
ALTER FUNCTION loyalty.check() OWNER TO @extowner@;
ALTER FUNCTION loyalty.statement(text, text, timestamptz, timestamptz) OWNER TO @extowner@;
ALTER FUNCTION loyalty.create_roles() OWNER TO @extowner@;
