-- Consumers: fetching, acknowledging, failing, dying, dead letters, retention.
-- Time is a parameter.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC') AS club \gset
SELECT loyalty.set_message('club', 'earned', max_attempts => 3), loyalty.set_message('club', 'reversed', keep_days => 5) \gset
SELECT loyalty.enrol('club', 'c' || n) FROM generate_series(1, 9) n \g /dev/null
-- nine that earn, three of whom lose some again; each a while after the other
DO $$
BEGIN
	FOR n IN 1..9 LOOP
		PERFORM loyalty.adjust('club', 'c' || n, 10 * n, 'x', 'k');
		IF n <= 3 THEN
			PERFORM loyalty.adjust('club', 'c' || n, -n, 'x', 'm');
		END IF;
	END LOOP;
END
$$;
SELECT now() + interval '1 hour' AS t \gset
-- a message by its customer and kind
CREATE FUNCTION shop.key(customer text, kind text, OUT member_id bigint, OUT kind text, OUT cause text) RETURNS record LANGUAGE sql STABLE AS $$
	SELECT m.member_id, m.kind, m.cause FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', $1) AND m.kind = $2
$$;
CREATE FUNCTION shop.ack(consumer text, customer text, kind text DEFAULT 'earned', at timestamptz DEFAULT NULL) RETURNS boolean LANGUAGE sql AS $$
	SELECT loyalty.acknowledge($1, k.member_id, k.kind, k.cause, $4) FROM shop.key($2, $3) k
$$;
CREATE FUNCTION shop.fail(consumer text, customer text, at timestamptz, retry_after interval DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT loyalty.fail_message($1, k.member_id, k.kind, k.cause, 'mail server is down', $4, $3) FROM shop.key($2, 'earned') k
$$;
CREATE FUNCTION shop.fetch(consumer text, n integer, at timestamptz, kinds text[] DEFAULT NULL, visible_for interval DEFAULT '5 minutes')
RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(f.customer || ' ' || (f.payload ->> 'points'), ', ' ORDER BY f.n), '')
	FROM loyalty.fetch_messages($1, $2, $4, $5, $3) WITH ORDINALITY
		f (member_id, kind, cause, program, customer, payload, occurred_at, recorded_at, attempts, n)
$$;
CREATE FUNCTION shop.state(customer text, kind text DEFAULT 'earned') RETURNS text LANGUAGE sql STABLE AS $$
	SELECT concat_ws(' ', m.state, m.attempts, m.consumer, m.last_error) FROM loyalty.message m, shop.key($1, $2) k
	WHERE (m.member_id, m.kind, m.cause) = (k.member_id, k.kind, k.cause)
$$;

-- arguments
SELECT throws_ok($$SELECT loyalty.fetch_messages(NULL)$$, '22004', NULL, 'a consumer has a name');
SELECT throws_ok($$SELECT loyalty.fetch_messages('')$$, '22023', NULL, 'which is not empty');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 0)$$, '22023', NULL, 'n is at least 1');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 10001)$$, '22023', NULL, 'and has an end');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 1, '{birthday}')$$, '22023', NULL, 'kinds exist');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 1, ARRAY[NULL::text])$$, '22023', NULL, 'NULL is none');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 1, NULL, '-1 minute')$$, '22023', NULL, 'visible_for is ahead');
SELECT throws_ok($$SELECT loyalty.fetch_messages('a', 1, NULL, NULL)$$, '22004', NULL, 'and known');
SELECT throws_ok($$SELECT loyalty.acknowledge_all('a', '{1,2}', '{earned}', '{x}')$$, '22023', NULL, 'as many kinds as members');
SELECT throws_ok($$SELECT loyalty.fail_message('a', 1, 'birthday', 'x', 'e')$$, '22023', NULL, 'a kind that exists');
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.program_id = :club AND m.state <> 'new'), 0::bigint, 'no mistake took anything');

-- oldest first, each once
SELECT is(shop.fetch('a', 3, :'t'), 'c1 10, c1 1, c2 20', 'the oldest');
SELECT is(shop.fetch('b', 2, :'t'), 'c2 2, c3 30', 'another consumer gets the next');
SELECT is(shop.fetch('a', 1, :'t', '{reversed}'), 'c3 3', 'of a kind');
SELECT is(shop.fetch('a', 1, :'t', '{reversed}'), '', 'there is no other');
SELECT is(shop.fetch('a', 2, :'t', '{reversed,earned,earned}'), 'c4 40, c5 50', 'of two kinds');
SELECT is(shop.fetch('b', 1, :'t', '{}'), '', 'of none');
SELECT is(shop.fetch('a', 1, now() - interval '1 day'), '', 'nothing before it was written');
SELECT results_eq($$SELECT member_id, kind, cause, program, customer, (payload ->> 'balance')::numeric, occurred_at, attempts
		FROM loyalty.fetch_messages('a', 1, at => now() + interval '1 hour')$$,
	$$SELECT m.member_id, 'earned', 'entry:1', 'club', 'c6', 60::numeric, m.occurred_at, 1
		FROM loyalty.message m WHERE m.member_id = loyalty.member_id('club', 'c6')$$, 'with all that is known of it');

-- acknowledging
SELECT is(shop.ack('a', 'c1'), true, 'done');
SELECT is(shop.ack('a', 'c1'), true, 'the same again');
SELECT is(shop.ack('b', 'c1', 'reversed'), false, 'not what another one has');
SELECT is(shop.ack('a', 'c9'), false, 'nor what nobody has');
SELECT is(loyalty.acknowledge('a', -1, 'earned', 'x'), false, 'nor what is not there');
SELECT is(shop.state('c1'), 'done 1 a', 'it is done');
SELECT is(shop.state('c1', 'reversed'), 'fetched 1 a', 'the other is not');
SELECT is(loyalty.acknowledge_all('b', array_agg(k.member_id), array_agg(k.kind), array_agg(k.cause)), 2::bigint, 'several at once, as far as they are his')
	FROM (VALUES ('c2', 'reversed'), ('c3', 'earned'), ('c3', 'earned'), ('c4', 'earned')) v (customer, kind), LATERAL shop.key(v.customer, v.kind) k;
SELECT is(loyalty.acknowledge_all('b', '{}', '{}', '{}'), 0::bigint, 'none at all');
SELECT is(shop.fetch('a', 100, :'t'), 'c7 70, c8 80, c9 90', 'what is done does not come back');

-- failing: again after a while, which grows; dead after three attempts
SELECT is(shop.fail('b', 'c7', :'t'), NULL, 'only who has it can fail');
SELECT is(shop.fail('a', 'c7', :'t'), 'new', 'failed');
SELECT is(shop.fail('a', 'c7', :'t'), NULL, 'once');
SELECT is(shop.state('c7'), 'new 1 a mail server is down', 'with its error');
SELECT is(shop.fetch('b', 9, :'t'::timestamptz + interval '59 seconds'), '', 'not yet');
SELECT is(shop.fetch('b', 9, :'t'::timestamptz + interval '60 seconds'), 'c7 70', 'after a minute');
SELECT is(shop.ack('a', 'c7'), false, 'it is the other''s now');
SELECT is(shop.fail('b', 'c7', :'t'::timestamptz + interval '61 seconds'), 'new', 'failed again');
SELECT is((SELECT visible_at FROM loyalty.message m, shop.key('c7', 'earned') k WHERE m.member_id = k.member_id), :'t'::timestamptz + interval '181 seconds', 'after two minutes');
SELECT is(shop.fetch('b', 1, :'t'::timestamptz + interval '181 seconds'), 'c7 70', 'the third time');
SELECT is(shop.fail('b', 'c7', :'t'::timestamptz + interval '182 seconds'), 'dead', 'is the last');
SELECT is((SELECT kind || ' ' || cause || ' ' || attempts || ' ' || last_error FROM loyalty.dead_message WHERE program = 'club'), 'earned entry:1 3 mail server is down', 'a dead letter');
SELECT is(shop.fail('a', 'c8', :'t', '3 hours'), 'new', 'with a time of the consumer''s own');
SELECT is((SELECT visible_at FROM loyalty.message m, shop.key('c8', 'earned') k WHERE m.member_id = k.member_id), :'t'::timestamptz + interval '3 hours', 'which is kept');
SELECT throws_ok($$SELECT shop.fail('a', 'c9', now(), '-1 hour')$$, '22023', NULL, 'if it is ahead');

-- a consumer that dies: visible again, dead after three
SELECT is(shop.fetch('c', 100, :'t'::timestamptz + interval '5 minutes'), 'c1 1, c2 20, c3 3, c4 40, c5 50, c6 60, c9 90', 'what a had and never acknowledged');
SELECT is(shop.ack('a', 'c9'), false, 'a comes too late');
SELECT is(shop.state('c9'), 'fetched 2 c', 'c has it');
SELECT is(shop.ack('c', x.customer, x.kind), true, 'c is done with ' || x.customer) FROM (VALUES ('c1', 'reversed'), ('c2', 'earned'), ('c3', 'reversed'),
	('c4', 'earned'), ('c5', 'earned'), ('c6', 'earned')) x (customer, kind);
SELECT is(shop.fetch('c', 100, :'t'::timestamptz + interval '10 minutes'), 'c9 90', 'the third time');
SELECT is(shop.fetch('c', 100, :'t'::timestamptz + interval '14 minutes 59 seconds'), '', 'as long as visible_for');
SELECT is(shop.fetch('c', 100, :'t'::timestamptz + interval '15 minutes'), '', 'there is no fourth');
SELECT is(shop.state('c9'), 'dead 3 c fetched 3 times and never acknowledged', 'it is dead');
SELECT is((SELECT count(*) FROM loyalty.dead_message WHERE program = 'club'), 2::bigint, 'two dead letters');

-- dead letters
SELECT is(loyalty.retry_dead('club', 'reversed'), 0::bigint, 'none of that kind');
SELECT throws_ok($$SELECT loyalty.retry_dead('nowhere')$$, 'LY001', NULL, 'no such programme');
SELECT throws_ok($$SELECT loyalty.retry_dead('club', 'birthday')$$, '22023', NULL, 'no such kind');
SELECT is(loyalty.retry_dead('club'), 2::bigint, 'tried again');
SELECT is(shop.fetch('a', 100, now() + interval '1 minute', '{earned}'), 'c7 70, c9 90', 'as if new') FROM (SELECT 1) x;
SELECT is(shop.state('c7'), 'fetched 1 a mail server is down', 'with all attempts left');
SELECT is(shop.ack('a', 'c7'), true, 'and done');
SELECT shop.fail('a', 'c9', :'t'), shop.fetch('a', 1, :'t'::timestamptz + interval '1 minute'), shop.fail('a', 'c9', :'t'),
	shop.fetch('a', 1, :'t'::timestamptz + interval '1 day', '{earned}', '1 year') \g /dev/null
SELECT loyalty.discard_dead('club') \g /dev/null
SELECT is((SELECT count(*) FROM loyalty.dead_message WHERE program = 'club'), 0::bigint, 'or let go');

-- retention: by kind, in batches
SELECT count(*) AS done FROM loyalty.message m WHERE m.program_id = :club AND m.state = 'done' \gset
SELECT is((SELECT done FROM loyalty.prune_messages(now() + interval '4 days')), 0::bigint, 'nothing is old');
SELECT is((SELECT last FROM loyalty.prune_messages(now() + interval '4 days')), NULL, 'nobody is left');
SELECT is((SELECT done FROM loyalty.prune_messages(now() + interval '6 days')), 3::bigint, 'those that are kept for five days');
SELECT is((SELECT count(*) FROM loyalty.message m WHERE m.program_id = :club AND m.kind = 'reversed'), 0::bigint, 'they are gone');
CREATE FUNCTION shop.prune(as_of timestamptz, batch integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	v_after bigint := 0;
	v_result text := '';
BEGIN
	LOOP
		r := loyalty.prune_messages(as_of, v_after, batch);
		EXIT WHEN r.last IS NULL;
		ASSERT r.last > v_after;
		v_after := r.last;
		v_result := v_result || r.done || ' ';
	END LOOP;
	RETURN v_result;
END
$$;
SELECT is(shop.prune(now() + interval '32 days', 2), '2 2 2 1 ', 'two members at a time');
SELECT is((SELECT string_agg(c.customer || ' ' || m.state, ', ' ORDER BY c.customer) FROM loyalty.message m JOIN loyalty.member c USING (member_id)
	WHERE m.program_id = :club), 'c8 new, c9 fetched', 'what is not done stays');
SELECT throws_ok($$SELECT loyalty.prune_messages(now(), 0, 0)$$, '22023', NULL, 'a batch has members');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
