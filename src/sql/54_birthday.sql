-- Birthdays: one event a member and year, which rules on events reward.

CREATE TABLE loyalty.birthday_policy (
	program_id      integer PRIMARY KEY,
	customers       regclass NOT NULL,
	customer        text NOT NULL,
	birthday        text NOT NULL,
	search_path     text NOT NULL,
	days_before     integer NOT NULL CHECK (days_before BETWEEN 0 AND 180),
	catch_up        integer NOT NULL CHECK (catch_up BETWEEN 0 AND 180),
	done_through    date
);
COMMENT ON TABLE loyalty.birthday_policy IS 'programmes that mark birthdays, and where the ERP has them';
COMMENT ON COLUMN loyalty.birthday_policy.program_id IS 'programme';
COMMENT ON COLUMN loyalty.birthday_policy.customers IS 'table or view of customers; expressions see its row as r';
COMMENT ON COLUMN loyalty.birthday_policy.customer IS 'customer, in the form in which documents name him';
COMMENT ON COLUMN loyalty.birthday_policy.birthday IS 'date of birth';
COMMENT ON COLUMN loyalty.birthday_policy.search_path IS 'schemas in which names in the expressions are looked up';
COMMENT ON COLUMN loyalty.birthday_policy.days_before IS 'so many days before the birthday the event happens';
COMMENT ON COLUMN loyalty.birthday_policy.catch_up IS 'so many days afterwards it is still made up for';
COMMENT ON COLUMN loyalty.birthday_policy.done_through IS 'last day (programme time) whose events are there';

CREATE FUNCTION loyalty.set_birthday(program text, customers regclass, customer text DEFAULT NULL, birthday text DEFAULT NULL,
	days_before integer DEFAULT 0, catch_up integer DEFAULT 7)
RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_set_birthday';
COMMENT ON FUNCTION loyalty.set_birthday(text, regclass, text, text, integer, integer) IS
'marks birthdays: upkeep() records an event birthday for each member, days_before his birthday, once a year; customer and birthday are SQL expressions over r, a row of customers.  What it gives, rules on that event say.  customers NULL: no more';

CREATE FUNCTION loyalty.birthdays_of(program_id integer, days text[], OUT customer text, OUT birthday date)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_birthdays_of';
COMMENT ON FUNCTION loyalty.birthdays_of(integer, text[]) IS
'internal: customers of the ERP who were born on one of these days (MMDD)';

CREATE FUNCTION loyalty.due_birthdays(program_id integer, as_of timestamptz, after bigint, batch integer,
	OUT member_id bigint, OUT program text, OUT customer text, OUT key text, OUT at timestamptz)
RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p record;
	v_today date;
	v_first date;
	v_days text[];
BEGIN
	SELECT g.name, g.time_zone, g.valid_from, g.valid_to, b.days_before, b.catch_up, b.done_through INTO STRICT p
		FROM loyalty.birthday_policy b JOIN loyalty.program g ON g.program_id = b.program_id
		WHERE b.program_id = due_birthdays.program_id;
	v_today := (as_of AT TIME ZONE p.time_zone)::date;
	-- what nobody has looked at yet, and the last days once more: customers
	-- come late, and dates are corrected
	v_first := greatest(least(v_today - p.catch_up, p.done_through + 1), v_today - 365);
	v_days := (SELECT array_agg(DISTINCT to_char(d, 'MMDD')) || '0229'::text
		FROM generate_series((v_first + p.days_before)::timestamp, (v_today + p.days_before)::timestamp, interval '1 day') d);
	RETURN QUERY
		SELECT m.member_id, p.name, c.customer, 'birthday:' || c.year, c.day::timestamp AT TIME ZONE p.time_zone
		FROM (SELECT b.customer, y.year,
				-- who was born on 29 February has his birthday on the 28th in other years
				(b.birthday + make_interval(years => y.year - extract(year FROM b.birthday)::integer))::date - p.days_before AS day
			FROM loyalty.birthdays_of(due_birthdays.program_id, v_days) b
			CROSS JOIN generate_series(extract(year FROM v_first + p.days_before)::integer,
				extract(year FROM v_today + p.days_before)::integer) y (year)
			WHERE y.year > extract(year FROM b.birthday)
			OFFSET 0) c
		-- of customers who were merged, only the one who gave the account his name
		JOIN loyalty.member m ON m.member_id = loyalty.member_id(p.name, c.customer) AND m.customer = c.customer
		WHERE c.day BETWEEN v_first AND v_today AND c.day BETWEEN p.valid_from AND p.valid_to
			AND m.joined_on <= c.day AND m.member_id > due_birthdays.after
			AND NOT EXISTS (SELECT FROM loyalty.event e WHERE e.member_id = m.member_id AND e.event_key = 'birthday:' || c.year)
		ORDER BY m.member_id
		FETCH FIRST batch ROWS WITH TIES;
END
$$;
COMMENT ON FUNCTION loyalty.due_birthdays(integer, timestamptz, bigint, integer) IS
'internal: the next members of a programme whose birthday event is due and not there';

CREATE FUNCTION loyalty.mark_birthdays(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_as_of timestamptz := coalesce(as_of, clock_timestamp());
	v_after bigint := coalesce(after, 0);
	v_batch integer := coalesce(batch, 1000);
	v_due jsonb := '[]';
	v_looked integer[] := '{}';
	v_seen integer := 0;
	v_problem text;
	v_state text;
	p record;
	r record;
BEGIN
	PERFORM loyalty.check_step(v_as_of, v_batch);
	done := 0;
	FOR p IN SELECT b.program_id, g.name FROM loyalty.birthday_policy b JOIN loyalty.program g USING (program_id)
			WHERE coalesce(b.done_through < (v_as_of AT TIME ZONE g.time_zone)::date, true) ORDER BY 1 LOOP
		BEGIN
			v_due := v_due || (SELECT coalesce(jsonb_agg(d), '[]')
				FROM loyalty.due_birthdays(p.program_id, v_as_of, v_after, v_batch) d);
			v_looked := v_looked || p.program_id;
		EXCEPTION WHEN others THEN
			-- the others first
			v_problem := format('birthdays of programme "%s": %s', p.name, SQLERRM);
			v_state := SQLSTATE;
		END;
	END LOOP;
	FOR r IN SELECT * FROM (
			SELECT d.* FROM jsonb_to_recordset(v_due) d (member_id bigint, program text, customer text, key text, at timestamptz)
			ORDER BY d.member_id FETCH FIRST v_batch ROWS WITH TIES) d
			ORDER BY d.member_id, d.at LOOP
		PERFORM loyalty.upkeep_at(r.member_id);
		last := r.member_id;
		v_seen := v_seen + 1;
		-- somebody may have merged him, or been at it; a statement that begins
		-- under the lock sees it
		CONTINUE WHEN loyalty.lock_account(r.program, r.customer) <> r.member_id;
		CONTINUE WHEN EXISTS (SELECT FROM loyalty.event e WHERE e.member_id = r.member_id AND e.event_key = r.key);
		PERFORM loyalty.record_event(r.program, r.customer, 'birthday', at => r.at, key => r.key);
		done := done + 1;
	END LOOP;
	IF v_problem IS NOT NULL AND v_seen = 0 THEN
		RAISE EXCEPTION '%', v_problem
			USING ERRCODE = v_state, HINT = 'loyalty.set_birthday() says where birthdays are.';
	END IF;
	IF v_problem IS NULL AND v_seen < v_batch THEN
		last := NULL;
		-- nobody is left, nor was anybody left out
		UPDATE loyalty.birthday_policy b SET done_through = (v_as_of AT TIME ZONE g.time_zone)::date
			FROM loyalty.program g
			WHERE g.program_id = b.program_id AND b.program_id = ANY (v_looked)
				AND coalesce(b.done_through < (v_as_of AT TIME ZONE g.time_zone)::date, true)
				AND (v_after = 0 OR NOT EXISTS (SELECT FROM loyalty.due_birthdays(b.program_id, v_as_of, 0, 1)));
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.mark_birthdays(timestamptz, bigint, integer) IS
'step of upkeep(): records events birthday of members after that number; returns the last member (NULL: none left) and the number of events';
