-- pg_dump saves the books with the database: every table, every sequence.

SELECT pg_catalog.pg_extension_config_dump('loyalty.program', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_program_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.tier', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.tier_tier_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rule', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.rule_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.category', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.source', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.source_source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.document', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.entry', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.budget', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.stored_lot', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.allocation', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.pending', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.event', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.redemption_policy', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.operation', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.redemption', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.hold', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.reward', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.reward_reward_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.reward_use', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.voucher', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.voucher_use', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.expiry_policy', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.lot_change', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.message_setting', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.message', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.message_template', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.program_language', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.member_language', '');
SELECT pg_catalog.pg_extension_config_dump('loyalty.birthday_policy', '');
-- what ran here says nothing of another database
SELECT pg_catalog.pg_extension_config_dump('loyalty.upkeep_run', 'WHERE false');
