-- Upkeep: writes down, batch by batch, what time has made true.  Nobody waits
-- for it: every figure is right without it.

CREATE TABLE loyalty.upkeep_run (
	started_at      timestamptz NOT NULL,
	pid             integer NOT NULL,
	started_by      text NOT NULL,
	as_of           timestamptz NOT NULL,
	step            text,
	last_member     bigint,
	batches         bigint NOT NULL DEFAULT 0,
	done            jsonb NOT NULL DEFAULT '{}',
	failures        integer NOT NULL DEFAULT 0,
	error           text,
	updated_at      timestamptz NOT NULL,
	finished_at     timestamptz,
	PRIMARY KEY (started_at, pid)
) WITH (fillfactor = 50);
COMMENT ON TABLE loyalty.upkeep_run IS 'runs of upkeep() of the last days; the view upkeep_progress says how far each is';
COMMENT ON COLUMN loyalty.upkeep_run.started_at IS 'when the run began';
COMMENT ON COLUMN loyalty.upkeep_run.pid IS 'process that ran it';
COMMENT ON COLUMN loyalty.upkeep_run.started_by IS 'role that started it';
COMMENT ON COLUMN loyalty.upkeep_run.as_of IS 'instant as of which it wrote things down';
COMMENT ON COLUMN loyalty.upkeep_run.step IS 'step it is at, or ended with';
COMMENT ON COLUMN loyalty.upkeep_run.last_member IS 'last member whom that step has handled; NULL: none yet, or all';
COMMENT ON COLUMN loyalty.upkeep_run.batches IS 'batches that are committed';
COMMENT ON COLUMN loyalty.upkeep_run.done IS 'how many things each step has done: {step: number}';
COMMENT ON COLUMN loyalty.upkeep_run.failures IS 'members, or steps, that failed';
COMMENT ON COLUMN loyalty.upkeep_run.error IS 'the first failure';
COMMENT ON COLUMN loyalty.upkeep_run.updated_at IS 'when the last batch was done';
COMMENT ON COLUMN loyalty.upkeep_run.finished_at IS 'when the run ended; NULL: it runs, or was interrupted';

CREATE FUNCTION loyalty.upkeep_steps(OUT step text, OUT routine text, OUT by_member boolean) RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	VALUES
		('settle', 'settle_waiting', false),
		('holds', 'close_holds', true),
		('expiry', 'expire_points', true),
		('tiers', 'review_tiers', true),
		('birthdays', 'mark_birthdays', true),
		('analytics', 'refresh_due', false),
		('warnings', 'warn_members', true),
		('messages', 'prune_messages', true)
$$;
COMMENT ON FUNCTION loyalty.upkeep_steps() IS
'the steps of upkeep() in their order: each is a function of loyalty (as_of, after, batch, OUT last, OUT done) that handles the next members after that number, or (by_member false) a part of what is to be done, until last is NULL';

CREATE FUNCTION loyalty.check_step(as_of timestamptz, batch integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF batch IS NULL OR batch < 1 THEN
		RAISE EXCEPTION 'batch must be at least 1' USING ERRCODE = '22023', HINT = 'Leave it out for the default.';
	END IF;
	IF as_of IS NULL OR NOT isfinite(as_of) THEN
		RAISE EXCEPTION 'invalid value for as_of: %', coalesce(as_of::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It is the instant as of which things are written down; leave it out for now.';
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.check_step(timestamptz, integer) IS 'raises an error unless a step of upkeep() can be done as of that instant, in such batches';

CREATE FUNCTION loyalty.upkeep_begin(as_of timestamptz, batch integer, steps text[],
	OUT run timestamptz, OUT plan text[])
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_step text;
BEGIN
	IF pg_is_in_recovery() THEN
		RAISE EXCEPTION 'loyalty.upkeep() cannot run on a standby'
			USING ERRCODE = '25006', HINT = 'Run it on the primary.';
	END IF;
	PERFORM loyalty.check_step(as_of, batch);
	plan := (SELECT array_agg(s.step ORDER BY s.position)
		FROM loyalty.upkeep_steps() WITH ORDINALITY s (step, routine, by_member, position));
	IF steps = '{}' THEN
		RAISE EXCEPTION 'a run of upkeep needs a step'
			USING ERRCODE = '22023', HINT = 'Leave steps out for all, or name some: ' || array_to_string(plan, ', ') || '.';
	END IF;
	FOREACH v_step IN ARRAY coalesce(steps, plan) LOOP
		PERFORM loyalty.check_choice('steps', v_step, plan);
	END LOOP;
	plan := (SELECT array_agg(p.step ORDER BY p.position) FROM unnest(plan) WITH ORDINALITY p (step, position)
		WHERE steps IS NULL OR p.step = ANY (steps));
	DELETE FROM loyalty.upkeep_run r WHERE r.updated_at < clock_timestamp() - interval '7 days';
	run := clock_timestamp();
	INSERT INTO loyalty.upkeep_run (started_at, pid, started_by, as_of, updated_at)
		VALUES (run, pg_backend_pid(), session_user, as_of, run);
END
$$;
COMMENT ON FUNCTION loyalty.upkeep_begin(timestamptz, integer, text[]) IS
'internal: begins a run of upkeep(): checks its arguments, and says which steps it consists of';

CREATE FUNCTION loyalty.upkeep_note(run timestamptz, step text, failure text, finished boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE loyalty.upkeep_run r SET step = coalesce($2, r.step), last_member = NULL, updated_at = clock_timestamp(),
		failures = r.failures + CASE WHEN $3 IS NULL THEN 0 ELSE 1 END,
		error = coalesce(r.error, $3), finished_at = CASE WHEN $4 THEN clock_timestamp() END
		WHERE r.started_at = $1 AND r.pid = pg_backend_pid()
$$;
COMMENT ON FUNCTION loyalty.upkeep_note(timestamptz, text, text, boolean) IS
'internal: notes that a run of upkeep() has come to a step, has met a failure, or is over';

CREATE FUNCTION loyalty.upkeep_at(member_id bigint) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_upkeep_at';
COMMENT ON FUNCTION loyalty.upkeep_at(bigint) IS
'internal: a step of upkeep() says whom it handles now, so that he can be left out should it fail; one that locks its members need not say it';

CREATE FUNCTION loyalty.upkeep_member() RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_upkeep_member';
COMMENT ON FUNCTION loyalty.upkeep_member() IS
'internal: the last member whom the step of upkeep() that has just failed has handled, or locked; 0 for none';

CREATE FUNCTION loyalty.upkeep_step(run timestamptz, step text, as_of timestamptz, after bigint, batch integer,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_routine text;
BEGIN
	PERFORM loyalty.upkeep_at(0);
	SELECT s.routine INTO STRICT v_routine FROM loyalty.upkeep_steps() s WHERE s.step = upkeep_step.step;
	EXECUTE format('SELECT s.last, s.done FROM loyalty.%I($1, $2, $3) s', v_routine)
		INTO last, done USING as_of, after, batch;
	UPDATE loyalty.upkeep_run r SET last_member = last, batches = r.batches + 1, updated_at = clock_timestamp(),
		done = CASE WHEN upkeep_step.done > 0 THEN r.done || jsonb_build_object(upkeep_step.step,
			coalesce((r.done ->> upkeep_step.step)::bigint, 0) + upkeep_step.done) ELSE r.done END
		WHERE r.started_at = run AND r.pid = pg_backend_pid();
END
$$;
COMMENT ON FUNCTION loyalty.upkeep_step(timestamptz, text, timestamptz, bigint, integer) IS
'internal: does one batch of a step of upkeep()';

CREATE PROCEDURE loyalty.upkeep(as_of timestamptz DEFAULT NULL, batch integer DEFAULT 1000, steps text[] DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	c_most CONSTANT integer := 20;	-- more members that fail: something else is wrong
	v_as_of timestamptz := coalesce(as_of, pg_catalog.clock_timestamp());
	v_run timestamptz;
	v_plan text[];
	v_step text;
	v_after bigint;
	v_last bigint;
	v_done bigint;
	v_size integer;
	v_bad integer;
	v_all integer := 0;
	v_message text;
	v_state text;
	v_detail text;
	v_error text;
	v_error_state text;
BEGIN
	SELECT b.run, b.plan INTO v_run, v_plan FROM loyalty.upkeep_begin(v_as_of, batch, steps) b;
	FOREACH v_step IN ARRAY v_plan LOOP
		PERFORM loyalty.upkeep_note(v_run, v_step, NULL, false);
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		v_after := 0;
		v_size := batch;
		v_bad := 0;
		WHILE v_after IS NOT NULL LOOP
			v_message := NULL;
			BEGIN
				SELECT s.last, s.done INTO v_last, v_done
					FROM loyalty.upkeep_step(v_run, v_step, v_as_of, v_after, v_size) s;
			EXCEPTION WHEN query_canceled OR others THEN
				GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_state = RETURNED_SQLSTATE,
					v_detail = PG_EXCEPTION_DETAIL;
			END;
			IF v_state = '57014' AND v_message IS NOT NULL THEN
				PERFORM loyalty.upkeep_note(v_run, v_step, v_message, true);
				COMMIT;
				RAISE EXCEPTION '%', v_message USING ERRCODE = v_state;
			END IF;
			IF v_message IS NULL THEN
				v_after := v_last;
				v_size := least(v_size::bigint * 10, batch);
			ELSIF v_size > 1 THEN
				v_size := greatest(v_size / 10, 1);
			ELSE
				-- whatever it is, it is so alone: leave him out, or, if it is
				-- nobody, the step
				v_bad := v_bad + 1;
				v_all := v_all + 1;
				v_message := v_step || ': ' || v_message || coalesce(' (' || nullif(v_detail, '') || ')', '');
				IF v_error IS NULL THEN
					v_error := v_message;
					v_error_state := v_state;
				END IF;
				PERFORM loyalty.upkeep_note(v_run, v_step, v_message, false);
				v_last := loyalty.upkeep_member();
				v_after := CASE WHEN v_last > v_after AND v_bad < c_most THEN v_last END;
			END IF;
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		END LOOP;
	END LOOP;
	PERFORM loyalty.upkeep_note(v_run, NULL, NULL, true);
	COMMIT;
	IF v_error IS NOT NULL THEN
		RAISE EXCEPTION 'upkeep could not do everything, failures: %', v_all
			USING ERRCODE = v_error_state, DETAIL = 'The first one: ' || v_error,
				HINT = 'Everything else is done and committed; loyalty.upkeep_progress shows it. The next run tries again.';
	END IF;
END
$$;
COMMENT ON PROCEDURE loyalty.upkeep(timestamptz, integer, text[]) IS
'writes down what time has made true as of an instant (NULL: now): evaluates documents that wait, closes holds that have expired, and so on; all steps or those named (see upkeep_steps()), in batches of so many members that are committed one by one.  It can be interrupted, late, repeated, and run twice at the same time; a member who fails does not keep the others from being done, and the run ends in an error';

CREATE VIEW loyalty.upkeep_progress WITH (security_invoker = true) AS
	SELECT r.started_at, r.pid, r.started_by, r.as_of,
		CASE WHEN r.finished_at IS NOT NULL THEN CASE WHEN r.failures > 0 THEN 'failed' ELSE 'finished' END
			WHEN a.pid IS NOT NULL THEN 'running' ELSE 'interrupted' END AS state,
		r.step,
		-- numbers of members are hashes, spread evenly
		(CASE WHEN r.finished_at IS NOT NULL THEN 100 WHEN s.by_member THEN 100 * coalesce(r.last_member, 0) / 9007199254740992.0
			END)::numeric(4,1) AS percent,
		r.batches, (SELECT string_agg(d.key || ' ' || d.value, ', ' ORDER BY d.key) FROM jsonb_each_text(r.done) d) AS done,
		r.failures, r.error, r.updated_at, r.finished_at
	FROM loyalty.upkeep_run r
	LEFT JOIN loyalty.upkeep_steps() s ON s.step = r.step
	-- who may not see more than the number of a process sees NULL
	LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = r.pid AND r.finished_at IS NULL
		AND coalesce(a.backend_start <= r.started_at, true) AND coalesce(a.state <> 'idle', true);
COMMENT ON VIEW loyalty.upkeep_progress IS 'runs of upkeep(): how far those are that run, what the last ones did';
COMMENT ON COLUMN loyalty.upkeep_progress.started_at IS 'when the run began';
COMMENT ON COLUMN loyalty.upkeep_progress.pid IS 'process that runs it, as in pg_stat_activity';
COMMENT ON COLUMN loyalty.upkeep_progress.started_by IS 'role that started it';
COMMENT ON COLUMN loyalty.upkeep_progress.as_of IS 'instant as of which it writes things down';
COMMENT ON COLUMN loyalty.upkeep_progress.state IS 'running, finished, failed (finished, but not for all), or interrupted (cancelled, crashed): the next run does the rest';
COMMENT ON COLUMN loyalty.upkeep_progress.step IS 'step it is at, or ended with';
COMMENT ON COLUMN loyalty.upkeep_progress.percent IS 'how much of that step is behind it, by the numbers of members; NULL for a step that does not go by members';
COMMENT ON COLUMN loyalty.upkeep_progress.batches IS 'batches that are committed';
COMMENT ON COLUMN loyalty.upkeep_progress.done IS 'how many things each step has done';
COMMENT ON COLUMN loyalty.upkeep_progress.failures IS 'members, or steps, that failed';
COMMENT ON COLUMN loyalty.upkeep_progress.error IS 'the first failure';
COMMENT ON COLUMN loyalty.upkeep_progress.updated_at IS 'when the last batch was committed';
COMMENT ON COLUMN loyalty.upkeep_progress.finished_at IS 'when the run ended';
