-- upkeep(): steps, batches, failures.  It commits, so nothing is rolled back
-- here: the database is this test's own.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('tab', 'Europe/Berlin') \gset
SELECT loyalty.set_rule('tab', 'base', 1, 1) \gset
SELECT loyalty.set_redemption('tab', 0.1) \gset
SELECT shop.attach('inv', 'tab', 'queue') \gset
INSERT INTO shop.invoice (id, customer, total) SELECT n, 'c' || n, 100 FROM generate_series(1, 30) n;
COMMIT;

-- the last run in one line
CREATE FUNCTION shop.run() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', state, nullif(done, ''), failures || ' failures', error) FROM loyalty.upkeep_progress ORDER BY started_at DESC LIMIT 1
$$;
CREATE FUNCTION shop.hold(key text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(r.*) FROM (SELECT m.customer FROM loyalty.member m ORDER BY m.member_id OFFSET 0) m,
		loyalty.reserve('tab', m.customer, 1, key, 30, at => '2030-01-01 12:00+00') r
$$;
CREATE FUNCTION shop.open() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM loyalty.hold WHERE state = 'open'$$;

-- what it refuses
SELECT throws_ok('CALL loyalty.upkeep(batch => 0)', '22023', NULL, 'a batch of nobody');
SELECT throws_ok($$CALL loyalty.upkeep(as_of => 'infinity')$$, '22023', NULL, 'as of no instant');
SELECT throws_ok($$CALL loyalty.upkeep(steps => '{holds,dusting}')$$, '22023', 'invalid value for steps: "dusting"', 'a step that is none');
SELECT throws_ok('CALL loyalty.upkeep()', '2D000', NULL, 'a transaction that it cannot commit');
SELECT throws_ok($$SELECT loyalty.close_holds(batch => 0)$$, '22023', NULL, 'the steps look at their arguments as well');
SELECT throws_ok($$SELECT loyalty.close_holds('-infinity')$$, '22023', NULL, 'at each of them');
SELECT is((SELECT count(*) FROM loyalty.upkeep_run), 0::bigint, 'what is refused is no run');

-- the queue
CALL loyalty.upkeep(batch => 7, steps => '{settle}');
SELECT is((SELECT count(*) FROM shop.document), 30::bigint, 'what is queued is booked');
SELECT is(shop.run(), 'finished | settle 30 | 0 failures', 'and the run says so');
SELECT is(started_by = session_user AND percent = 100 AND batches = 5, true, 'in five batches')
	FROM loyalty.upkeep_progress;
CALL loyalty.upkeep();
SELECT is(shop.run(), 'finished | 0 failures', 'once');

-- time travel: a hold is over at 12:30, not before
SELECT is(shop.hold('first'), 30::bigint, 'everybody has a hold');
CALL loyalty.upkeep('2030-01-01 12:29:59.999999+00');
SELECT is(shop.open(), 30::bigint, 'a microsecond before');
CALL loyalty.upkeep('2030-01-01 12:30+00', batch => 4);
SELECT is(shop.open(), 0::bigint, 'at its end');
SELECT is(shop.run(), 'finished | holds 30 | 0 failures', 'they are counted');
SELECT is((SELECT count(*) FROM loyalty.hold WHERE state = 'expired' AND closed_at = '2030-01-01 12:30+00'), 30::bigint, 'with the instant that was asked for');
SELECT is((SELECT sum(held) FROM loyalty.member), 0.00, 'nothing is held');
CALL loyalty.upkeep('2030-01-01 12:30+00');
SELECT is(shop.run(), 'finished | 0 failures', 'again: nothing to do');
SELECT is((SELECT as_of FROM loyalty.upkeep_progress ORDER BY started_at DESC LIMIT 1), '2030-01-01 12:30+00'::timestamptz, 'as of when');

-- a step of one's choice
SELECT shop.hold('second') \gset
CALL loyalty.upkeep('2030-01-02', steps => '{settle}');
SELECT is(shop.open(), 30::bigint, 'the others are left out');
SELECT results_eq($$SELECT last IS NULL, done FROM loyalty.close_holds('2030-01-02', 0, 30)$$, $$VALUES (false, 30::bigint)$$, 'a full batch: there may be more');
SELECT results_eq($$SELECT last, done FROM loyalty.close_holds('2030-01-02', 0, 30)$$, $$VALUES (NULL::bigint, 0::bigint)$$, 'there are not');

-- members who fail
CREATE TABLE shop.bad AS SELECT member_id FROM (SELECT member_id, row_number() OVER (ORDER BY member_id) AS n FROM loyalty.member) m WHERE n IN (9, 10, 30);
CREATE FUNCTION shop.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM shop.bad b WHERE b.member_id = new.member_id) THEN
		RAISE EXCEPTION 'no' USING ERRCODE = 'XX123', DETAIL = 'Not him.';
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER fail BEFORE UPDATE ON loyalty.hold FOR EACH ROW EXECUTE FUNCTION shop.fail();
SELECT shop.hold('third') \gset
\set ON_ERROR_STOP off
CALL loyalty.upkeep('2030-01-02');
\set ON_ERROR_STOP on
SELECT is(:'SQLSTATE'::text, 'XX123', 'a run that could not do everything ends in the error it met');
SELECT is(:'LAST_ERROR_MESSAGE'::text, 'upkeep could not do everything, failures: 3', 'and says how often');
SELECT is(shop.run(), 'failed | holds 27 | 3 failures | holds: no (Not him.)', 'the others are done');
SELECT set_eq($$SELECT member_id FROM loyalty.hold WHERE state = 'open'$$, 'SELECT member_id FROM shop.bad', 'those who fail are left');
DELETE FROM shop.bad;
CALL loyalty.upkeep('2030-01-02');
SELECT is(shop.run(), 'finished | holds 3 | 0 failures', 'until they do not');

-- too many of them, and a step that fails whoever comes
INSERT INTO shop.bad SELECT member_id FROM loyalty.member;
SELECT shop.hold('fourth') \gset
INSERT INTO shop.invoice (id, customer, total) VALUES (100, 'c1', 10);
\set ON_ERROR_STOP off
CALL loyalty.upkeep('2030-01-02');
\set ON_ERROR_STOP on
SELECT is(shop.run(), 'failed | settle 1 | 20 failures | holds: no (Not him.)', 'after twenty a step is given up, the other steps are not');
DROP TRIGGER fail ON loyalty.hold;
ALTER FUNCTION loyalty.close_holds RENAME TO gone;
INSERT INTO shop.invoice (id, customer, total) VALUES (101, 'c1', 10);
\set ON_ERROR_STOP off
CALL loyalty.upkeep('2030-01-02');
\set ON_ERROR_STOP on
SELECT matches(shop.run(), '^failed \| settle 1 \| 1 failures \| holds: function .* does not exist$', 'a step that fails for all fails once');
ALTER FUNCTION loyalty.gone RENAME TO close_holds;
CALL loyalty.upkeep('2030-01-02');
SELECT is(shop.run(), 'finished | holds 30 | 0 failures', 'and works again');

-- what cannot be booked is tried once a run, and keeps nobody
SELECT loyalty.attach('odd', 'tab', 'shop.line', 'r.id', 'r.product', '''2024-03-10''::date', amount => 'r.amount / r.qty', evaluate => 'queue', on_error => 'raise') \gset
INSERT INTO shop.line (id, product, qty, amount) SELECT n, 'c' || n, n % 3, 10 FROM generate_series(1, 6) n;
SET client_min_messages = error;
CALL loyalty.upkeep(batch => 1);
SELECT is((SELECT string_agg(doc_key || ' ' || attempts, ', ' ORDER BY doc_key) FROM loyalty.parked WHERE source = 'odd'), '3 1, 6 1',
	'in the queue nobody is there whom an error could be raised to');
CALL loyalty.upkeep(batch => 1);
SELECT is((SELECT string_agg(doc_key || ' ' || attempts, ', ' ORDER BY doc_key) FROM loyalty.parked WHERE source = 'odd'), '3 2, 6 2', 'once a run');
SELECT is(shop.run(), 'finished | settle 2 | 0 failures', 'a document that stays parked is no failure of the run');
RESET client_min_messages;
UPDATE shop.line SET qty = 1;
CALL loyalty.upkeep();
SELECT is_empty('SELECT * FROM loyalty.pending', 'corrected, they are booked');

-- whatever isolation the session prefers, locks come before what is read
SET default_transaction_isolation = serializable;
INSERT INTO shop.invoice (id, customer, total) VALUES (102, 'c1', 10);
CALL loyalty.upkeep();
SELECT is(shop.run(), 'finished | settle 1 | 0 failures', 'a session that is serializable');
RESET default_transaction_isolation;

SELECT throws_ok($$CALL loyalty.upkeep(steps => '{}')$$, '22023', 'a run of upkeep needs a step', 'no steps are no run');

-- runs are forgotten
SELECT isnt((SELECT count(*) FROM loyalty.upkeep_run), 1::bigint, 'runs are kept');
UPDATE loyalty.upkeep_run SET updated_at = now() - interval '8 days';
CALL loyalty.upkeep();
SELECT is((SELECT count(*) FROM loyalty.upkeep_run), 1::bigint, 'for a week');
INSERT INTO loyalty.upkeep_run (started_at, pid, started_by, as_of, updated_at) VALUES ('2020-01-01', 0, 'x', '2020-01-01', now());
SELECT is(state || coalesce(' ' || percent, ''), 'interrupted', 'one whose process is gone was interrupted') FROM loyalty.upkeep_progress WHERE pid = 0;
UPDATE loyalty.upkeep_run SET pid = pg_backend_pid(), started_at = now(), step = 'holds', last_member = 2251799813685248 WHERE pid = 0;
SELECT is(state || ' ' || percent, 'running 25.0', 'one whose process is there runs, and how far it is the number of the member says')
	FROM loyalty.upkeep_progress WHERE finished_at IS NULL;

-- figures of analytics: only of programmes for which they were wanted, once a day of their time
CREATE FUNCTION shop.figures() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', (SELECT a.as_of FROM loyalty.analytics_state a JOIN loyalty.program p USING (program_id) WHERE p.name = 'tab'),
		(SELECT a.as_of FROM loyalty.analytics_detail_state a JOIN loyalty.program p USING (program_id) WHERE p.name = 'tab'))
$$;
SELECT is(shop.figures(), '', 'nobody has asked for figures: upkeep keeps none');
SELECT loyalty.refresh_analytics('tab', '2031-05-01') \g /dev/null
CALL loyalty.upkeep('2031-05-01 21:59+00');
SELECT is(shop.run(), 'finished | 0 failures', 'of the same day in Berlin: nothing to do');
CALL loyalty.upkeep('2031-05-01 22:00+00');
SELECT is(shop.run(), 'finished | analytics 1 | 0 failures', 'a new day has begun');
SELECT is(shop.figures(), '2031-05-02', 'the figures are of that day, details were not wanted');
SELECT loyalty.refresh_details('tab', '2031-05-02') \g /dev/null
CALL loyalty.upkeep('2031-05-01 12:00+00');
SELECT is(shop.run(), 'finished | 0 failures', 'a late run does not take them back');
CALL loyalty.upkeep('2031-05-03 12:00+00', steps => '{analytics}');
SELECT is(shop.figures(), '2031-05-03 2031-05-03', 'both are refreshed');
SELECT is_empty('SELECT * FROM loyalty.check_analytics()', 'and right');

-- rights
SELECT count(*) FROM loyalty.create_roles() \gset
CREATE ROLE tap_manager IN ROLE loyalty_manager;
CREATE ROLE tap_clerk IN ROLE loyalty_clerk;
SET ROLE tap_manager;
CALL loyalty.upkeep();
SELECT is((SELECT state FROM loyalty.upkeep_progress WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1), 'finished', 'a manager may');
SET ROLE tap_clerk;
SELECT throws_ok('CALL loyalty.upkeep()', '42501', NULL, 'a clerk may not');
RESET ROLE;
DROP ROLE tap_manager, tap_clerk;

SELECT shop.clean();
SELECT * FROM finish();
