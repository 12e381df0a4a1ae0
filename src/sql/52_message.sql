-- The outbox: settings, writing messages from SQL, and the consumers' calls.
-- The calls are in C because only the engine changes messages.

CREATE FUNCTION loyalty.message_fields(OUT kind text, OUT field text, OUT meaning text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.kind, f.field, f.meaning
	FROM (VALUES
		('earned', ARRAY['points', 'points that were given', 'balance', 'balance after it', 'date', 'day of the document (programme time)',
			'reason', 'kind of the entry: earn, event, correction, return (taken back less) or adjust',
			'source', 'source of the document', 'document', 'key of the document',
			'expires_on', 'last day on which they are valid, of the first that expire; absent if they do not expire',
			'usable_from', 'day from which all of them can be spent; absent: at once', 'last_entry', 'last entry of several']),
		('reversed', ARRAY['points', 'points that were taken back, positive', 'balance', 'balance after it', 'date', 'day of the document (programme time)',
			'reason', 'kind of the entry: return, correction or adjust', 'source', 'source of the document', 'document', 'key of the document', 'last_entry', 'last entry of several']),
		('expiring', ARRAY['points', 'points that expire', 'expires_on', 'last day on which they are valid', 'days_left', 'days until then; 0 is today']),
		('expired', ARRAY['points', 'points that expired', 'balance', 'balance once all was written down', 'date', 'first day without them (programme time)', 'reason', 'expire']),
		('tier_up', ARRAY['tier', 'tier the member is in now', 'from_tier', 'tier he was in; absent for none', 'qualifying', 'his qualifying amount', 'date', 'day (programme time)']),
		('tier_down', ARRAY['tier', 'tier the member is in now; absent for none', 'from_tier', 'tier he was in', 'qualifying', 'his qualifying amount', 'date', 'day (programme time)']),
		('tier_at_risk', ARRAY['tier', 'tier the member is in', 'tier_until', 'last day on which it is sure', 'days_left', 'days until then', 'missing', 'what is missing to keep it']),
		('voucher_issued', ARRAY['code', 'code of the voucher, as people read it', 'voucher_kind', 'value, percent or reward', 'value', 'money or percent', 'reward', 'reward it stands for', 'valid_to', 'last day on which it can be used']),
		('voucher_ending', ARRAY['code', 'code of the voucher, as people read it', 'voucher_kind', 'value, percent or reward', 'value', 'percent, or money that is left', 'reward', 'reward it stands for', 'valid_to', 'last day on which it can be used', 'days_left', 'days until then; 0 is today']),
		('hold_released', ARRAY['points', 'points that were reserved and are free again', 'value', 'money they would have paid', 'reason', 'released or expired', 'key', 'key of the hold']),
		('inactive', ARRAY['last_purchase', 'day of the last purchase', 'days_since', 'days since then', 'cycle_days', 'days from purchase to purchase, as this member is used to']),
		('milestone', ARRAY['milestone', 'balance that was reached', 'balance', 'balance after it', 'date', 'day of the document (programme time)',
			'last_entry', 'last entry of several'])
	) v (kind, fields)
	CROSS JOIN LATERAL (SELECT v.fields[2 * n - 1] AS field, v.fields[2 * n] AS meaning
		FROM generate_series(1, cardinality(v.fields) / 2) n) f
$$;
COMMENT ON FUNCTION loyalty.message_fields() IS 'kinds of messages, and the fields that the payload of each has';

CREATE FUNCTION loyalty.check_message_kind(kind text) RETURNS void
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.check_choice('kind', $1, (SELECT array_agg(DISTINCT f.kind ORDER BY f.kind) FROM loyalty.message_fields() f))
$$;
COMMENT ON FUNCTION loyalty.check_message_kind(text) IS 'raises an error unless there are messages of that kind';

CREATE FUNCTION loyalty.set_message(program text, kind text, enabled boolean DEFAULT true,
	lead_days integer[] DEFAULT NULL, cycles numeric DEFAULT NULL, notify boolean DEFAULT true,
	max_attempts integer DEFAULT 5, keep_days integer DEFAULT 30)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_lead integer[];
	v_cycles numeric;
BEGIN
	PERFORM loyalty.check_message_kind(kind);
	IF enabled IS NULL OR notify IS NULL THEN
		RAISE EXCEPTION '% cannot be NULL', CASE WHEN enabled IS NULL THEN 'enabled' ELSE 'notify' END
			USING ERRCODE = '22004', HINT = 'It is true or false.';
	END IF;
	PERFORM loyalty.check_range('max_attempts', max_attempts, 1, 1000);
	PERFORM loyalty.check_range('keep_days', keep_days, 0, 36600);
	IF kind IN ('expiring', 'voucher_ending', 'tier_at_risk') THEN
		v_lead := coalesce(lead_days, CASE kind WHEN 'voucher_ending' THEN ARRAY[10] ELSE ARRAY[30, 7] END);
		IF cardinality(v_lead) = 0 OR cardinality(v_lead) > 20 THEN
			RAISE EXCEPTION 'lead_days must have 1 to 20 numbers of days'
				USING ERRCODE = '22023', HINT = 'Each of them gives one message; leave lead_days out for the default.';
		END IF;
		PERFORM loyalty.check_range('lead_days', d, 0, 36600) FROM unnest(v_lead) d;
		v_lead := ARRAY(SELECT DISTINCT d FROM unnest(v_lead) d ORDER BY d DESC);
	ELSIF lead_days IS NOT NULL THEN
		RAISE EXCEPTION 'messages of kind "%" have no lead_days', kind USING ERRCODE = '22023',
			HINT = 'They are for expiring, voucher_ending and tier_at_risk.';
	END IF;
	IF kind = 'inactive' THEN
		v_cycles := coalesce(cycles, 1.5);
		PERFORM loyalty.check_number('cycles', v_cycles, true);
	ELSIF cycles IS NOT NULL THEN
		RAISE EXCEPTION 'messages of kind "%" have no cycles', kind USING ERRCODE = '22023', HINT = 'They are for inactive.';
	END IF;
	IF kind = 'milestone' AND enabled AND NOT EXISTS (SELECT FROM loyalty.message_setting s
			WHERE s.program_id = v_program AND s.kind = 'milestone' AND cardinality(s.milestones) > 0) THEN
		RAISE EXCEPTION 'programme "%" has no milestones', program
			USING ERRCODE = 'LY003', HINT = 'loyalty.set_milestones() sets them, and switches their messages on.';
	END IF;
	INSERT INTO loyalty.message_setting AS s (program_id, kind, is_enabled, lead_days, cycles, notify, max_attempts, keep_days)
		VALUES (v_program, kind, enabled, v_lead, v_cycles, notify, max_attempts, keep_days)
		ON CONFLICT ON CONSTRAINT message_setting_pkey DO UPDATE SET is_enabled = excluded.is_enabled,
			lead_days = excluded.lead_days, cycles = excluded.cycles, notify = excluded.notify,
			max_attempts = excluded.max_attempts, keep_days = excluded.keep_days;
END
$$;
COMMENT ON FUNCTION loyalty.set_message(text, text, boolean, integer[], numeric, boolean, integer, integer) IS
'switches a kind of message on or off; see the columns of loyalty.message_setting for the settings';

CREATE FUNCTION loyalty.set_milestones(program text, points numeric[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_points numeric[] := ARRAY(SELECT DISTINCT p FROM unnest(points) p ORDER BY p);
BEGIN
	IF cardinality(v_points) > 1000 THEN
		RAISE EXCEPTION 'there can be at most 1000 milestones' USING ERRCODE = '22023', HINT = 'Leave some out.';
	END IF;
	PERFORM loyalty.check_points('points', p, true) FROM unnest(v_points) p;
	INSERT INTO loyalty.message_setting AS s (program_id, kind, is_enabled, milestones)
		VALUES (v_program, 'milestone', cardinality(v_points) > 0, v_points)
		ON CONFLICT ON CONSTRAINT message_setting_pkey
		DO UPDATE SET is_enabled = excluded.is_enabled, milestones = excluded.milestones;
END
$$;
COMMENT ON FUNCTION loyalty.set_milestones(text, numeric[]) IS
'balances whose crossing upwards gives a message each time it happens (kind milestone), only the highest where one entry passes several; none or NULL: no such messages';

CREATE FUNCTION loyalty.tells(program_id integer, kind text) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_tells_kind';
COMMENT ON FUNCTION loyalty.tells(integer, text) IS 'internal: whether a programme has switched a kind of message on';

CREATE FUNCTION loyalty.tell(member_id bigint, kind text, cause text, payload jsonb, at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_tell_sql';
COMMENT ON FUNCTION loyalty.tell(bigint, text, text, jsonb, timestamptz) IS
'internal: writes a message unless its kind is off or its cause was told before; returns whether it did';

CREATE FUNCTION loyalty.fetch_messages(consumer text, n integer DEFAULT 100, kinds text[] DEFAULT NULL,
	visible_for interval DEFAULT '5 minutes', at timestamptz DEFAULT NULL,
	OUT member_id bigint, OUT kind text, OUT cause text, OUT program text, OUT customer text,
	OUT payload jsonb, OUT occurred_at timestamptz, OUT recorded_at timestamptz, OUT attempts integer)
RETURNS SETOF record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_fetch_messages';
COMMENT ON FUNCTION loyalty.fetch_messages(text, integer, text[], interval, timestamptz) IS
'takes up to n messages that wait, oldest first, of all kinds or some; each goes to one consumer only, until it is acknowledged, or visible_for has passed, or it has failed';

CREATE FUNCTION loyalty.acknowledge_all(consumer text, member_ids bigint[], kinds text[], causes text[], at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_acknowledge_all';
CREATE FUNCTION loyalty.acknowledge(consumer text, member_id bigint, kind text, cause text, at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.acknowledge_all($1, ARRAY[$2], ARRAY[$3], ARRAY[$4], $5) = 1
$$;

COMMENT ON FUNCTION loyalty.acknowledge_all(text, bigint[], text[], text[], timestamptz) IS
'messages that this consumer fetched are done; returns how many of them are, so that a repeated call gives the same answer';
COMMENT ON FUNCTION loyalty.acknowledge(text, bigint, text, text, timestamptz) IS
'a message that this consumer fetched is done; false if it is not his (any more)';

CREATE FUNCTION loyalty.fail_message(consumer text, member_id bigint, kind text, cause text, error text,
	retry_after interval DEFAULT NULL, at timestamptz DEFAULT NULL)
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_fail_message';
COMMENT ON FUNCTION loyalty.fail_message(text, bigint, text, text, text, interval, timestamptz) IS
'a message that this consumer fetched could not be delivered: it is tried again after retry_after (by default one minute, doubled with each attempt, a day at most), or is dead after max_attempts; returns its state, NULL if it is not his (any more)';

CREATE FUNCTION loyalty.close_dead(program text, kind text, cause text, state text) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_close_dead';
COMMENT ON FUNCTION loyalty.close_dead(text, text, text, text) IS 'internal: gives dead messages another state, new or done';

CREATE FUNCTION loyalty.retry_dead(program text, kind text DEFAULT NULL, cause text DEFAULT NULL) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.close_dead($1, $2, $3, 'new')
$$;
COMMENT ON FUNCTION loyalty.retry_dead(text, text, text) IS
'dead messages of a programme, of a kind or a cause, are new again; returns how many';

CREATE FUNCTION loyalty.discard_dead(program text, kind text DEFAULT NULL, cause text DEFAULT NULL) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.close_dead($1, $2, $3, 'done')
$$;
COMMENT ON FUNCTION loyalty.discard_dead(text, text, text) IS
'dead messages of a programme, of a kind or a cause, need not be delivered any more; returns how many';

CREATE FUNCTION loyalty.prune_messages(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_prune_messages';
COMMENT ON FUNCTION loyalty.prune_messages(timestamptz, bigint, integer) IS
'upkeep: deletes messages that were done longer ago than their kind''s keep_days, of up to batch members with a number above after; last is the last of these, NULL if there are no more';

CREATE VIEW loyalty.dead_message WITH (security_invoker = true) AS
	SELECT p.name AS program, m.member_id, m.kind, m.cause, m.occurred_at, m.attempts, m.consumer, m.closed_at AS died_at, m.last_error
	FROM loyalty.message m
	JOIN loyalty.program p ON p.program_id = m.program_id
	WHERE m.state = 'dead';
COMMENT ON VIEW loyalty.dead_message IS 'messages that were given up; retry_dead() tries them again, discard_dead() lets them go';
COMMENT ON COLUMN loyalty.dead_message.program IS 'programme';
COMMENT ON COLUMN loyalty.dead_message.member_id IS 'member';
COMMENT ON COLUMN loyalty.dead_message.kind IS 'kind of message';
COMMENT ON COLUMN loyalty.dead_message.cause IS 'what happened';
COMMENT ON COLUMN loyalty.dead_message.occurred_at IS 'business time of the cause';
COMMENT ON COLUMN loyalty.dead_message.attempts IS 'how often it was fetched';
COMMENT ON COLUMN loyalty.dead_message.consumer IS 'who fetched it last';
COMMENT ON COLUMN loyalty.dead_message.died_at IS 'when it was given up';
COMMENT ON COLUMN loyalty.dead_message.last_error IS 'why the last delivery failed';
