-- Setting up programmes.  Each function checks what it is given before it
-- writes anything, so that a mistake reads as one and leaves nothing behind.

CREATE FUNCTION loyalty.program_id(program text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_id integer;
BEGIN
	SELECT p.program_id INTO v_id FROM loyalty.program p WHERE p.name = program;
	IF v_id IS NULL THEN
		RAISE EXCEPTION 'programme "%" does not exist', program
			USING ERRCODE = 'LY001', HINT = 'loyalty.program lists the programmes.';
	END IF;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.program_id(text) IS 'number of a programme; an error if there is none of that name';

CREATE FUNCTION loyalty.create_program(
	name text,
	time_zone text DEFAULT NULL,
	currency text DEFAULT NULL,
	point_unit numeric DEFAULT 1,
	rounding text DEFAULT 'down',
	rounding_scope text DEFAULT 'document',
	crossing text DEFAULT 'new',
	negative text DEFAULT 'debt',
	enrolment text DEFAULT 'automatic',
	companies text[] DEFAULT NULL,
	valid_from date DEFAULT '-infinity',
	valid_to date DEFAULT 'infinity',
	stacking text DEFAULT 'multiply',
	broken_rule text DEFAULT 'skip')
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_zone text := coalesce(time_zone, current_setting('TimeZone'));
	v_id integer;
BEGIN
	IF name IS NULL OR btrim(name) = '' THEN
		RAISE EXCEPTION 'a programme needs a name'
			USING ERRCODE = '22023', HINT = 'It is what all functions call it.';
	END IF;
	IF EXISTS (SELECT FROM loyalty.program p WHERE p.name = create_program.name) THEN
		RAISE EXCEPTION 'programme "%" exists already', name
			USING ERRCODE = 'LY002', HINT = 'Take another name; loyalty.program lists the programmes.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = v_zone) THEN
		RAISE EXCEPTION 'time zone "%" is not known', v_zone
			USING ERRCODE = '22023', HINT = 'pg_timezone_names lists the time zones.';
	END IF;
	PERFORM loyalty.check_choice('point_unit', trim_scale(point_unit)::text, ARRAY['1', '0.1', '0.01']);
	PERFORM loyalty.check_choice('rounding', rounding, ARRAY['down', 'up', 'half_up', 'half_even']);
	PERFORM loyalty.check_choice('rounding_scope', rounding_scope, ARRAY['document', 'line', 'carry']);
	PERFORM loyalty.check_choice('crossing', crossing, ARRAY['new', 'old']);
	PERFORM loyalty.check_choice('negative', negative, ARRAY['debt', 'write_off']);
	PERFORM loyalty.check_choice('stacking', stacking, ARRAY['multiply', 'max', 'add']);
	PERFORM loyalty.check_choice('broken_rule', broken_rule, ARRAY['skip', 'park']);
	PERFORM loyalty.check_choice('enrolment', enrolment, ARRAY['automatic', 'explicit']);
	PERFORM loyalty.check_period(valid_from, valid_to);
	INSERT INTO loyalty.program (name, time_zone, currency, point_unit, rounding, rounding_scope,
			crossing, negative, enrolment, companies, valid_from, valid_to, stacking, broken_rule)
		VALUES (name, v_zone, currency, point_unit, rounding, rounding_scope,
			crossing, negative, enrolment, companies, valid_from, valid_to, stacking, broken_rule)
		RETURNING program_id INTO v_id;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.create_program(text, text, text, numeric, text, text, text, text, text, text[], date, date, text, text) IS
'creates a programme and returns its number; see the columns of loyalty.program for the settings';

CREATE FUNCTION loyalty.check_choice(setting text, value text, choices text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL OR value <> ALL (choices) THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, coalesce('"' || value || '"', 'NULL')
			USING ERRCODE = '22023', HINT = 'It can be ' || array_to_string(choices, ', ') || '.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_choice(text, text, text[]) IS 'raises an error unless value is one of the choices';

CREATE FUNCTION loyalty.check_period(valid_from date, valid_to date) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF valid_from IS NULL OR valid_to IS NULL OR valid_from > valid_to THEN
		RAISE EXCEPTION 'valid_from % is not before valid_to %', coalesce(valid_from::text, 'NULL'), coalesce(valid_to::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'Both days are inclusive; use -infinity and infinity for an open end.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_period(date, date) IS 'raises an error unless the days are a period';

CREATE FUNCTION loyalty.check_number(setting text, value numeric, above_zero boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL OR value IN ('NaN', 'Infinity') OR value < 0 OR (above_zero AND value = 0) THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, coalesce(value::text, 'NULL')
			USING ERRCODE = '22023',
				HINT = CASE WHEN above_zero THEN 'It must be a number above 0.' ELSE 'It must be a number not below 0.' END;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_number(text, numeric, boolean) IS 'raises an error unless value is a finite number in range';

CREATE FUNCTION loyalty.check_points(setting text, value numeric, above_zero boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.check_number(setting, value, above_zero);
	IF value <> round(value, 2) OR value >= 1e16 THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, value
			USING ERRCODE = '22023', HINT = 'Points have at most two decimals and 16 digits before them.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_points(text, numeric, boolean) IS 'raises an error unless value is a number of points in range';

CREATE FUNCTION loyalty.check_money(setting text, value numeric, above_zero boolean, scale integer DEFAULT 2) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.check_number(setting, value, above_zero);
	IF round(value, scale) >= 10::numeric ^ (18 - scale) THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, value
			USING ERRCODE = '22023', HINT = format('It can have at most %s digits before the decimal point.', 18 - scale);
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_money(text, numeric, boolean, integer) IS 'raises an error unless value is in range, and fits numeric(18,scale) once it is rounded';

CREATE FUNCTION loyalty.check_share(setting text, value numeric) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT value BETWEEN 0 AND 1 THEN
		RAISE EXCEPTION 'invalid value for %: %', setting, value
			USING ERRCODE = '22023', HINT = 'It is a share, 0 to 1.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_share(text, numeric) IS 'raises an error unless value is a share, 0 to 1; NULL is fine';
