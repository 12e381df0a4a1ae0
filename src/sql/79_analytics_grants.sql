-- Rights on what analytics brings, and what pg_dump saves of it.

CREATE FUNCTION loyalty.grant_analytics() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- views show a caller what the caller may see, so BI needs what is below
	-- them too; none of it says who a member is
	GRANT SELECT ON loyalty.rfm_current, loyalty.rfm_history, loyalty.rfm_migration, loyalty.segment_summary,
		loyalty.product_affinity, loyalty.purchase_cycle_population, loyalty.churn_risk, loyalty.preferences,
		loyalty.price_sensitivity, loyalty.member_group, loyalty.customer_360, loyalty.program_kpi_daily,
		loyalty.program_kpi_monthly, loyalty.cohort_retention, loyalty.points_liability, loyalty.points_expiring,
		loyalty.rule_performance, loyalty.customer_lifetime, loyalty.lifetime_fit, loyalty.date_dim, loyalty.metric_catalog,
		loyalty.sales_by_membership, loyalty.customer_sales, loyalty.campaign_result, loyalty.program_roi TO loyalty_bi;
	GRANT SELECT ON loyalty.analytics_state, loyalty.analytics_detail_state, loyalty.member_day, loyalty.member_summary, loyalty.program_day,
		loyalty.program_points, loyalty.program_cohort, loyalty.member_score, loyalty.rfm_setting, loyalty.rfm_snapshot,
		loyalty.rfm_snapshot_member, loyalty.rfm_move, loyalty.program_cycle, loyalty.product_summary, loyalty.product_pair,
		loyalty.member_preference, loyalty.member_line, loyalty.program_rule, loyalty.rule, loyalty.lot, loyalty.stored_lot,
		loyalty.open_lot, loyalty.member_now, loyalty.expiry_policy,
		loyalty.lifetime_model, loyalty.member_lifetime, loyalty.segment, loyalty.segment_cell, loyalty.segment_label,
		loyalty.non_member_day, loyalty.non_member_month, loyalty.campaign, loyalty.campaign_member, loyalty.campaign_outcome,
		loyalty.campaign_figure, loyalty.program_roi_figure, loyalty.redemption_policy TO loyalty_bi;
	GRANT SELECT (member_id, seq, kind, points, occurred_at, recorded_at, expires_on, usable_from) ON loyalty.entry TO loyalty_bi;
	-- a key that a caller made up may say who
	GRANT SELECT (member_id, points, value, state, captured, created_at, expires_at, closed_at) ON loyalty.hold TO loyalty_bi;
	GRANT EXECUTE ON FUNCTION loyalty.rfm(date, integer, text, text, boolean), loyalty.check_segments(text),
		loyalty.program_roi(text, date, date, text, numeric, numeric), loyalty.campaign_group(text, bigint, numeric) TO loyalty_bi, loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.take_rfm_snapshot(text, date), loyalty.refresh_analytics(text, date, boolean),
		loyalty.refresh_details(text, date, boolean),
		loyalty.refresh_products(text, date, integer, integer, integer),
		loyalty.refresh_lifetime(text, integer, numeric, numeric), loyalty.today(integer), loyalty.program_id(text), loyalty.tier_id(text, text),
		loyalty.check_choice(text, text, text[]), loyalty.export_segment(text, text, text, text, text, numeric, integer, boolean, integer), loyalty.check_analytics(),
		loyalty.refresh_non_members(text, date, date), loyalty.campaign_id(text, text),
		loyalty.create_campaign(text, text, date, date, numeric, text[], numeric, numeric, numeric, text, text, text),
		loyalty.set_campaign(text, text, text[], numeric, numeric, numeric, text, text),
		loyalty.target_campaign(text, text, text[], text, text, text, text, numeric, integer, boolean, timestamptz),
		loyalty.end_campaign(text, text, date), loyalty.export_campaign(text, text, text) TO loyalty_manager;
	GRANT EXECUTE ON FUNCTION loyalty.next_best_product(text, text, text[], integer) TO loyalty_clerk, loyalty_manager;
	REVOKE EXECUTE ON FUNCTION loyalty.guard_shipped() FROM loyalty_admin;
END
$$;
COMMENT ON FUNCTION loyalty.grant_analytics() IS
'grants the roles of create_roles() their rights on what analytics brings; create_roles() calls it';

-- figures that a refresh makes anew need not be saved, and horizon would mean
-- nothing in another cluster; what comes with the extension comes with it again
SELECT pg_catalog.pg_extension_config_dump('loyalty.segment', 'WHERE NOT shipped');
SELECT pg_catalog.pg_extension_config_dump('loyalty.segment_cell', 'WHERE NOT shipped');
SELECT pg_catalog.pg_extension_config_dump('loyalty.segment_label', 'WHERE NOT shipped');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rfm_setting', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rfm_snapshot', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rfm_snapshot_member', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rfm_move', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.analytics_state', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.analytics_detail_state', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_day', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_summary', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_score', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_day', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_points', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_counted', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_cohort', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_cycle', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_rule', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_roi_figure', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.non_member_source', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.non_member_day', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.non_member_month', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.campaign', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.campaign_campaign_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.campaign_member', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.campaign_outcome', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.campaign_figure', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.lifetime_model', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_lifetime', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.product_summary', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.product_pair', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_preference', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_line', 'WHERE false');
