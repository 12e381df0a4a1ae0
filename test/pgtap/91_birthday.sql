-- Birthdays: an event a member and year, whenever and however often upkeep runs.
\ir common.psql
SELECT no_plan();

CREATE TABLE shop.customer (country text, no integer, born date, name text);
SELECT loyalty.create_program('cake', 'Pacific/Auckland') \gset
SELECT loyalty.set_rule('cake', 'birthday', 50, kind => 'bonus', event => 'birthday') \gset
-- how many events each has had, and when they happened
CREATE FUNCTION shop.cakes(customer text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(to_char(e.occurred_at AT TIME ZONE 'Pacific/Auckland', 'YYYY-MM-DD HH24:MI') || ' ' || trim_scale(e.points), ', ' ORDER BY e.occurred_at), '')
	FROM loyalty.events('cake', customer) e WHERE e.kind = 'birthday'
$$;
-- one step, as upkeep() does it
CREATE FUNCTION shop.mark(as_of timestamptz, batch integer DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v_last bigint := 0;
	v_done bigint;
	v_all bigint := 0;
BEGIN
	WHILE v_last IS NOT NULL LOOP
		SELECT m.last, m.done INTO v_last, v_done FROM loyalty.mark_birthdays(as_of, v_last, batch) m;
		v_all := v_all + v_done;
	END LOOP;
	RETURN v_all;
END $$;

SELECT is(shop.mark('2024-01-01'), 0::bigint, 'no programme, no birthday');

-- what set_birthday() refuses
SELECT throws_ok($$SELECT loyalty.set_birthday('pie', 'shop.customer', 'r.no', 'r.born')$$, 'LY001', NULL, 'no such programme');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no')$$, '22004', NULL, 'no birthday');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.name')$$, '42804', NULL, 'a birthday that is no date');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.number', 'r.born')$$, '42703', NULL, 'a column that is not there');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', '1) FROM shop.customer --', 'r.born')$$, '42601', NULL, 'more than an expression');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.born', -1)$$, '22023', NULL, 'days after it');
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.born', catch_up => 181)$$, '22023', NULL, 'half a year late');
CREATE SEQUENCE shop.seq;
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.seq', 'r.no', 'r.born')$$, '42809', NULL, 'no table');
CREATE ROLE tap_stranger;
GRANT USAGE ON SCHEMA shop, loyalty TO tap_stranger;
GRANT SELECT ON shop.customer TO tap_stranger;
GRANT EXECUTE ON FUNCTION loyalty.set_birthday TO tap_stranger;
SET LOCAL ROLE tap_stranger;
SELECT throws_ok($$SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.born')$$, '42501', NULL, 'a table of somebody else');
RESET ROLE;
SELECT is_empty('SELECT * FROM loyalty.birthday_policy', 'nothing is set by all that');

INSERT INTO shop.customer (no, born) VALUES (1, '1980-03-15'), (2, '2000-02-29'), (3, '1990-12-31'), (4, '1990-03-15'), (5, NULL), (6, '1999-01-02'), (7, 'infinity');
SELECT loyalty.enrol('cake', n::text, '2023-01-01') FROM unnest('{1,2,3,5,6,7}'::integer[]) n \g /dev/null
SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.born') \g /dev/null

-- the day begins and ends in the programme's zone, 13 hours before UTC's
SELECT is(shop.mark('2024-03-14 10:59:59+00'), 0::bigint, 'the evening before');
SELECT is(shop.mark('2024-03-14 11:00:00+00'), 1::bigint, 'midnight');
SELECT is(shop.cakes('1'), '2024-03-15 00:00 50', 'the event of the day, and what rules give for it');
SELECT is(loyalty.balance('cake', '1'), 50.00, 'is booked');
SELECT is(shop.mark('2024-03-14 11:00:00+00'), 0::bigint, 'once');
SELECT is(shop.mark('2024-03-15 10:00:00+00'), 0::bigint, 'later that day');
SELECT is(shop.mark('2024-03-16'), 0::bigint, 'the day after');

-- a year without a run: nobody is forgotten, nobody is late by more
SELECT is(shop.mark('2025-03-14'), 3::bigint, 'the others have had theirs in between');
SELECT is(shop.cakes('1'), '2024-03-15 00:00 50', 'this one is due tomorrow');
SELECT is(shop.cakes('2'), '2025-02-28 00:00 50', 'who was born on 29 February has it on the 28th');
SELECT is(shop.cakes('3'), '2024-12-31 00:00 50', 'on the last day of the year');
SELECT is(shop.cakes('6'), '2025-01-02 00:00 50', 'and at its beginning');
SELECT is(loyalty.member_id('cake', '4'), NULL, 'who is no member is not made one');
SELECT is(shop.mark('2028-03-01'), 4::bigint, 'three years without one: the last birthday of each');
SELECT is(shop.cakes('2'), '2025-02-28 00:00 50, 2028-02-29 00:00 50', 'in a leap year on the day itself');

-- customers come late, and birthdays are corrected
SELECT loyalty.enrol('cake', '4', '2028-03-12') \g /dev/null
SELECT is(shop.mark('2028-03-18'), 2::bigint, 'both of 15 March');
SELECT loyalty.enrol('cake', '8', '2028-03-12') \g /dev/null
INSERT INTO shop.customer (no, born) VALUES (8, '1970-03-14'), (9, '1970-03-14');
SELECT is(shop.mark('2028-03-18'), 0::bigint, 'that day has been done');
SELECT is(shop.mark('2028-03-19'), 1::bigint, 'who comes late is found the next day');
SELECT is(shop.cakes('8'), '2028-03-14 00:00 50', 'and has it on his day');
UPDATE shop.customer SET born = '1980-03-20' WHERE no = 1;
SELECT is(shop.mark('2028-03-21'), 0::bigint, 'a birthday is had once a year, whatever becomes of it');
SELECT loyalty.enrol('cake', '9', '2028-03-15') \g /dev/null
SELECT is(shop.mark('2028-03-22'), 0::bigint, 'who became a member after it has none this year');

-- days before it: over the turn of the year it counts for the birthday's
SELECT loyalty.set_birthday('cake', 'shop.customer', 'r.no', 'r.born', days_before => 7) \g /dev/null
SELECT is(shop.mark('2028-12-26'), 2::bigint, 'a week before');
SELECT is(shop.cakes('3'), '2024-12-31 00:00 50, 2027-12-31 00:00 50, 2028-12-24 00:00 50', 'the last day of the year');
SELECT is(shop.cakes('6'), '2025-01-02 00:00 50, 2028-01-02 00:00 50, 2028-12-26 00:00 50', 'and 2 January, in the old year');
SELECT is(shop.mark('2029-01-02'), 0::bigint, 'on the day itself he has had it');

-- batches, and a key of several columns by a view of one's own
SELECT loyalty.create_program('pie', 'UTC') \gset
SELECT loyalty.set_rule('pie', 'birthday', 5, kind => 'bonus', event => 'birthday') \gset
INSERT INTO shop.customer SELECT 'AT', n, '1970-06-01', 'n' || n FROM generate_series(101, 150) n;
SELECT count(loyalty.enrol('pie', '(AT,' || n || ')', '2023-01-01')) FROM generate_series(101, 150) n \gset
CREATE VIEW shop.austrian AS SELECT * FROM shop.customer WHERE country = 'AT';
SELECT loyalty.set_birthday('pie', 'shop.austrian', '(r.country, r.no)', '(SELECT c.born FROM shop.customer c WHERE c.no = r.no)') \g /dev/null
SELECT is(shop.mark('2028-06-03', 7), 50::bigint, 'batch by batch everybody has his');
SELECT is((SELECT count(*) FROM shop.document d JOIN loyalty.member m USING (member_id) WHERE m.program_id = loyalty.program_id('pie') AND d.points = 5), 50::bigint, 'once');
SELECT is(shop.mark('2028-06-03', 7), 0::bigint, 'and it is done');

-- two customers who are one member have one birthday
SELECT loyalty.enrol('pie', c, '2023-01-01') FROM unnest('{"(AT,201)","(AT,202)"}'::text[]) c \g /dev/null
INSERT INTO shop.customer VALUES ('AT', 201, '1970-07-01'), ('AT', 202, '1970-07-02');
SELECT points FROM loyalty.merge_customers('pie', '(AT,202)', '(AT,201)', '2028-06-04') \gset
SELECT is(shop.mark('2028-07-05'), 1::bigint, 'the one whose account it is');

-- a table that cannot be read keeps its own programme only
SELECT loyalty.set_birthday('pie', 'shop.austrian', '(r.country, r.no)', 'r.born') \g /dev/null
ALTER TABLE shop.customer RENAME no TO number;
INSERT INTO shop.customer VALUES ('AT', 203, '1970-08-01');
SELECT loyalty.enrol('pie', '(AT,203)', '2023-01-01') \g /dev/null
SELECT is(done, 1::bigint, 'the other programme goes first') FROM loyalty.mark_birthdays('2029-08-02');
SELECT throws_like($$SELECT shop.mark('2029-08-02')$$, 'birthdays of programme "cake": column r.no does not exist', 'then the error names the one');
SELECT is(shop.cakes('1'), '2024-03-15 00:00 50, 2027-03-15 00:00 50, 2028-03-15 00:00 50', 'what he has had he has');

-- nothing is marked where nothing is set, or the programme has ended
SELECT loyalty.set_birthday('cake', NULL) \g /dev/null
UPDATE loyalty.program SET valid_to = '2028-12-31' WHERE name = 'pie';
SELECT is(shop.mark('2029-06-05'), 0::bigint, 'after its end');

-- customers who are known by name and birthday, from whatever session
CREATE TABLE shop.person (name text, born date);
INSERT INTO shop.person VALUES ('Ann', '1990-02-01'), ('Bob', '1990-01-02'), ('Eve', NULL);
SELECT loyalty.create_program('named', 'UTC') AS named \gset
SELECT loyalty.set_birthday('named', 'shop.person', '(r.name, r.born)', 'r.born') \g /dev/null
SELECT results_eq(format($$SELECT customer, birthday FROM loyalty.birthdays_of(%s, '{0201,0102}') ORDER BY customer$$, :named),
	$$VALUES ('(Ann,1990-02-01)', date '1990-02-01'), ('(Bob,1990-01-02)', date '1990-01-02')$$, 'a birthday may be a part of the customer''s key');

SELECT throws_ok(format('SELECT loyalty.mark_birthdays(%s)', a), '22023', NULL, 'refused: ' || a)
	FROM unnest(ARRAY[$$'infinity'$$, $$'-infinity'$$, 'batch => 0']) a;
SELECT is(done, 0::bigint, 'NULL is the default') FROM loyalty.mark_birthdays('2029-06-05', NULL, NULL);

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
