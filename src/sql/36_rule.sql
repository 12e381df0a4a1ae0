-- Rules as marketing writes them: versions, conditions, categories.

CREATE FUNCTION loyalty.check_rule_condition(program text, condition text, source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_source text;
BEGIN
	-- one that names no column of an invoice is for all sources
	BEGIN
		PERFORM loyalty.check_condition(program, condition, source);
		RETURN;
	EXCEPTION WHEN undefined_column OR undefined_table THEN
		IF source IS NOT NULL THEN
			RAISE;
		END IF;
	END;
	-- or else for those that have it: there must be one
	FOR v_source IN SELECT s.name FROM loyalty.source s JOIN loyalty.program p ON p.program_id = s.program_id
			WHERE p.name = program AND s.attached ORDER BY s.source_id LOOP
		BEGIN
			PERFORM loyalty.check_condition(program, condition, v_source);
			RETURN;
		EXCEPTION WHEN undefined_column OR undefined_table THEN
			NULL;
		END;
	END LOOP;
	-- the last word is the error that points into the condition
	PERFORM loyalty.check_condition(program, condition, v_source);
END
$$;
COMMENT ON FUNCTION loyalty.check_rule_condition(text, text, text) IS
'raises an error unless a condition compiles for a source, or (NULL) for at least one source of the programme';

CREATE FUNCTION loyalty.check_event_rule(event text, kind text, applies_to text, source text,
	limit_count integer, limit_period text, needs_approval boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF btrim(event) = '' OR strpos(event, ':') > 0 THEN
		RAISE EXCEPTION 'invalid value for event: "%"', event
			USING ERRCODE = '22023', HINT = 'It names a kind of event, without a colon.';
	END IF;
	IF kind NOT IN ('bonus', 'multiplier', 'exclusion') THEN
		RAISE EXCEPTION 'a rule of kind % cannot be for events', kind
			USING ERRCODE = '22023', DETAIL = 'An event has no amount.', HINT = 'Use kind bonus, multiplier or exclusion.';
	END IF;
	IF applies_to <> 'document' OR source IS NOT NULL THEN
		RAISE EXCEPTION 'a rule on events has no lines and no source'
			USING ERRCODE = '22023', HINT = 'Leave out what is about lines or sources, or leave out event.';
	END IF;
	IF (limit_count IS NULL) <> (limit_period IS NULL) THEN
		RAISE EXCEPTION 'limit_count and limit_period go together'
			USING ERRCODE = '22023', HINT = 'Once only is limit_count 1, limit_period lifetime.';
	END IF;
	IF limit_count IS NOT NULL THEN
		PERFORM loyalty.check_choice('limit_period', limit_period, ARRAY['day', 'week', 'month', 'year', 'lifetime']);
		PERFORM loyalty.check_number('limit_count', limit_count, true);
	END IF;
	IF kind <> 'bonus' AND (limit_count IS NOT NULL OR needs_approval) THEN
		RAISE EXCEPTION 'limits and approval are for rules of kind bonus'
			USING ERRCODE = '22023', HINT = 'Put them on the rules that give points.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_event_rule(text, text, text, text, integer, text, boolean) IS
'raises an error unless what set_rule() was told of a rule on events goes together';

CREATE FUNCTION loyalty.check_growth_rule(kind text, multiplied boolean, expires text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF kind NOT IN ('amount', 'unit', 'bonus') THEN
		RAISE EXCEPTION 'a rule of kind % gives no growth', kind
			USING ERRCODE = '22023', HINT = 'Growth is for the kinds amount, unit and bonus; multipliers, exclusions and caps are for points.';
	END IF;
	IF multiplied THEN
		RAISE EXCEPTION 'growth is not multiplied'
			USING ERRCODE = '22023', HINT = 'Neither the tier''s rate nor multipliers apply to it: leave out multiplied.';
	END IF;
	IF expires IS NOT NULL THEN
		RAISE EXCEPTION 'growth does not expire'
			USING ERRCODE = '22023', HINT = 'The time_window of the tier policy says how long it counts.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_growth_rule(text, boolean, text) IS
'raises an error unless what set_rule() was told of a rule on growth goes together';

CREATE FUNCTION loyalty.set_rule(
	program text, name text, points numeric DEFAULT NULL, per_amount numeric DEFAULT NULL,
	mode text DEFAULT 'proportional', applies_to text DEFAULT 'document',
	valid_from date DEFAULT '-infinity', valid_to date DEFAULT 'infinity',
	kind text DEFAULT 'amount', factor numeric DEFAULT NULL, condition text DEFAULT NULL,
	source text DEFAULT NULL, multiplied boolean DEFAULT NULL, exclusive_group text DEFAULT NULL,
	priority integer DEFAULT 0, cap_document numeric DEFAULT NULL,
	cap_day numeric DEFAULT NULL, cap_week numeric DEFAULT NULL, cap_month numeric DEFAULT NULL,
	cap_year numeric DEFAULT NULL, cap_lifetime numeric DEFAULT NULL, budget numeric DEFAULT NULL,
	event text DEFAULT NULL, limit_count integer DEFAULT NULL, limit_period text DEFAULT NULL,
	needs_approval boolean DEFAULT false, expires text DEFAULT NULL, growth boolean DEFAULT false)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_version integer;
	v_other text;
	v_cap text;
	v_points numeric;
	v_caps integer := 0;
	v_id integer;
BEGIN
	IF name IS NULL OR btrim(name) = '' THEN
		RAISE EXCEPTION 'a rule needs a name'
			USING ERRCODE = '22023', HINT = 'The name is what explain() shows; the same name again makes a new version.';
	END IF;
	PERFORM loyalty.check_choice('kind', kind, ARRAY['amount', 'unit', 'bonus', 'multiplier', 'exclusion', 'cap']);
	IF kind IN ('amount', 'unit', 'bonus') THEN
		PERFORM loyalty.check_number('points', points, false);
	ELSIF points IS NOT NULL THEN
		RAISE EXCEPTION 'a rule of kind % gives no points of its own', kind
			USING ERRCODE = '22023', HINT = 'Leave out points.';
	END IF;
	IF kind = 'unit' THEN
		per_amount := coalesce(per_amount, 1);
	END IF;
	IF kind IN ('amount', 'unit') THEN
		PERFORM loyalty.check_number('per_amount', per_amount, true);
	ELSIF per_amount IS NOT NULL THEN
		RAISE EXCEPTION 'a rule of kind % is not per amount', kind
			USING ERRCODE = '22023', HINT = 'Leave out per_amount.';
	END IF;
	IF kind = 'multiplier' THEN
		PERFORM loyalty.check_number('factor', factor, false);
	ELSIF factor IS NOT NULL THEN
		RAISE EXCEPTION 'a rule of kind % has no factor', kind
			USING ERRCODE = '22023', HINT = 'A factor is for rules of kind multiplier.';
	END IF;
	PERFORM loyalty.check_choice('mode', mode, ARRAY['proportional', 'step']);
	PERFORM loyalty.check_choice('applies_to', applies_to, ARRAY['document', 'line']);
	PERFORM loyalty.check_period(valid_from, valid_to);
	FOR v_cap, v_points IN VALUES ('cap_document', cap_document), ('cap_day', cap_day), ('cap_week', cap_week),
			('cap_month', cap_month), ('cap_year', cap_year), ('cap_lifetime', cap_lifetime), ('budget', budget) LOOP
		CONTINUE WHEN v_points IS NULL;
		v_caps := v_caps + 1;
		PERFORM loyalty.check_number(v_cap, v_points, false);
		IF v_points >= 1e16 OR v_points <> round(v_points, 2) THEN
			RAISE EXCEPTION 'invalid value for %: %', v_cap, v_points
				USING ERRCODE = '22023', HINT = 'Points have at most 16 digits before the decimal point and 2 behind it.';
		END IF;
		IF kind IN ('multiplier', 'exclusion') THEN
			RAISE EXCEPTION 'a rule of kind % gives no points that could be capped', kind
				USING ERRCODE = '22023', HINT = 'Put ' || v_cap || ' on the rules that give points, or on one of kind cap.';
		END IF;
	END LOOP;
	IF kind = 'cap' AND v_caps = 0 THEN
		RAISE EXCEPTION 'a rule of kind cap needs a cap'
			USING ERRCODE = '22023', HINT = 'Give cap_document, cap_day, cap_week, cap_month, cap_year, cap_lifetime or budget.';
	END IF;
	PERFORM loyalty.check_expiry('expires', expires);
	IF expires IS NOT NULL AND kind NOT IN ('amount', 'unit', 'bonus') THEN
		RAISE EXCEPTION 'a rule of kind % gives no points that could expire', kind
			USING ERRCODE = '22023', HINT = 'Put expires on the rules that give points.';
	END IF;
	IF growth THEN
		PERFORM loyalty.check_growth_rule(kind, multiplied, expires);
	END IF;
	IF priority IS NULL THEN
		RAISE EXCEPTION 'priority cannot be NULL' USING ERRCODE = '22004', HINT = 'Leave it out for 0.';
	END IF;
	IF source IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.source s
			WHERE s.program_id = v_program AND s.name = set_rule.source) THEN
		RAISE EXCEPTION 'programme "%" has no source "%"', program, source
			USING ERRCODE = 'LY001', HINT = 'loyalty.status() lists the sources.';
	END IF;
	IF event IS NULL THEN
		IF limit_count IS NOT NULL OR limit_period IS NOT NULL OR needs_approval THEN
			RAISE EXCEPTION 'limits and approval are for rules on events'
				USING ERRCODE = '22023', HINT = 'Name the kind of event, or leave them out.';
		END IF;
		IF condition IS NOT NULL THEN
			PERFORM loyalty.check_rule_condition(program, condition, source);
		END IF;
	ELSE
		PERFORM loyalty.check_event_rule(event, kind, applies_to, source, limit_count, limit_period, needs_approval);
		PERFORM loyalty.check_condition(program, condition, NULL, true);
		PERFORM loyalty.event_source(v_program);
	END IF;
	-- one writer at a time, so that versions count without gaps
	LOCK TABLE loyalty.rule IN SHARE ROW EXCLUSIVE MODE;
	SELECT coalesce(max(r.version), 0) + 1 INTO v_version
		FROM loyalty.rule r WHERE r.program_id = v_program AND r.name = set_rule.name;
	-- caps, limits and budgets go on counting from version to version
	IF EXISTS (SELECT FROM loyalty.rule r WHERE r.program_id = v_program AND r.name = set_rule.name
			AND r.growth <> coalesce(set_rule.growth, false)) THEN
		RAISE EXCEPTION 'rule "%" has versions that give %', name, CASE WHEN growth THEN 'points' ELSE 'growth' END
			USING ERRCODE = 'LY002', HINT = 'End it, and give the new rule another name.';
	END IF;
	SELECT r.name INTO v_other FROM loyalty.rule r
		WHERE r.program_id = v_program AND r.is_current AND r.name <> set_rule.name
			AND r.event IS NOT DISTINCT FROM set_rule.event
			AND r.exclusive_group = set_rule.exclusive_group AND r.priority = set_rule.priority
			AND r.valid_from <= set_rule.valid_to AND r.valid_to >= set_rule.valid_from
			-- nor has a next version taken over by then
			AND NOT EXISTS (SELECT FROM loyalty.rule n WHERE n.program_id = r.program_id AND n.name = r.name AND n.is_current
				AND n.version > r.version AND n.valid_from <= greatest(r.valid_from, set_rule.valid_from))
		LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'rules "%" and "%" of exclusive group "%" have the same priority', v_other, name, exclusive_group
			USING ERRCODE = 'LY002', DETAIL = 'Both are valid on the same days.',
				HINT = 'Give them different priorities, or days that do not overlap.';
	END IF;
	-- versions that begin earlier stay, for the days before this one
	UPDATE loyalty.rule r SET is_current = false, ended_at = clock_timestamp(), ended_by = session_user
		WHERE r.program_id = v_program AND r.name = set_rule.name AND r.is_current AND r.valid_from >= set_rule.valid_from;
	INSERT INTO loyalty.rule AS r (program_id, name, version, kind, points, per_amount, factor, mode, applies_to,
			multiplied, condition, source, exclusive_group, priority, cap_document, cap_day, cap_week, cap_month,
			cap_year, cap_lifetime, budget, valid_from, valid_to,
			event, limit_count, limit_period, needs_approval, expires, growth)
		VALUES (v_program, name, v_version, kind, points, per_amount, factor, mode, applies_to,
			coalesce(multiplied, kind <> 'bonus' AND growth IS NOT TRUE), condition, source, exclusive_group, priority, cap_document,
			cap_day, cap_week, cap_month, cap_year, cap_lifetime, budget, valid_from, valid_to,
			event, limit_count, limit_period, coalesce(needs_approval, false), expires, coalesce(growth, false))
		RETURNING r.rule_id INTO v_id;
	IF budget IS NOT NULL THEN
		INSERT INTO loyalty.budget (program_id, rule) VALUES (v_program, name) ON CONFLICT DO NOTHING;
	END IF;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.set_rule(text, text, numeric, numeric, text, text, date, date, text, numeric, text, text, boolean, text, integer, numeric, numeric, numeric, numeric, numeric, numeric, numeric, text, integer, text, boolean, text, boolean) IS
'creates a rule, or a new version of it: see the columns of loyalty.rule; documents that are booked keep their version';

CREATE FUNCTION loyalty.end_rule(program text, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE loyalty.rule r SET is_current = false, ended_at = clock_timestamp(), ended_by = session_user
		WHERE r.program_id = loyalty.program_id(program) AND r.name = end_rule.name AND r.is_current;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'programme "%" has no rule "%" in force', program, name
			USING ERRCODE = 'LY001', HINT = 'loyalty.rule lists the rules; is_current says which are in force.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.end_rule(text, text) IS 'takes a rule out of force for documents evaluated from now on';

CREATE FUNCTION loyalty.set_category(program text, category text, parent text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
BEGIN
	IF category IS NULL OR btrim(category) = '' OR btrim(parent) = '' THEN
		RAISE EXCEPTION 'a category needs a name'
			USING ERRCODE = '22023', HINT = 'Name it as lines do; a parent of NULL takes the category out of the tree.';
	END IF;
	IF parent = category THEN
		RAISE EXCEPTION 'category "%" cannot be below itself', category
			USING ERRCODE = '22023', HINT = 'A parent of NULL takes the category out of the tree.';
	END IF;
	-- one writer at a time, or two could close a circle between them
	LOCK TABLE loyalty.category IN SHARE ROW EXCLUSIVE MODE;
	IF parent IS NULL THEN
		DELETE FROM loyalty.category c WHERE c.program_id = v_program AND c.category = set_category.category;
		RETURN;
	END IF;
	IF EXISTS (WITH RECURSIVE above (category) AS (
			SELECT set_category.parent
			UNION SELECT c.parent FROM above a JOIN loyalty.category c
				ON c.program_id = v_program AND c.category = a.category)
			SELECT FROM above a WHERE a.category = set_category.category) THEN
		RAISE EXCEPTION 'category "%" cannot be below "%"', category, parent
			USING ERRCODE = '22023', DETAIL = format('"%s" is itself below "%s".', parent, category),
				HINT = 'A tree of categories has no circles.';
	END IF;
	INSERT INTO loyalty.category AS c (program_id, category, parent) VALUES (v_program, category, parent)
		ON CONFLICT ON CONSTRAINT category_pkey DO UPDATE SET parent = excluded.parent;
END
$$;
COMMENT ON FUNCTION loyalty.set_category(text, text, text) IS
'puts a category below another (NULL: below none); line.categories of a condition has a category and all above it';
