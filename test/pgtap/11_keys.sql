-- Keys of every type: insert, change, return by key, rename, delete.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('keys', 'UTC') \gset
SELECT loyalty.set_rule('keys', 'base', 1, 1) \gset

CREATE FUNCTION shop.key_story(name text, type text, k1 text, k2 text, k3 text, text1 text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	tab text := format('shop.%I', 'k_' || name);
	prg text := 'keys';
BEGIN
	EXECUTE format('CREATE TABLE %s (k %s PRIMARY KEY, customer text, at timestamptz DEFAULT ''2024-03-10 12:00+00'', total numeric, of %s)', tab, type, type);
	EXECUTE format('CREATE TABLE %s_line (id serial PRIMARY KEY, k %s, amount numeric)', tab, type);
	EXECUTE format('SELECT loyalty.attach(%L, %L, %L, ''r.k'', ''r.customer'', ''r.at'', amount => ''r.total'', return_of => ''r.of'',
		evaluate => ''statement'')', 'k_' || name, prg, tab);
	EXECUTE format('INSERT INTO %s (k, customer, total) VALUES (%L, %L, 100)', tab, k1, name);
	RETURN NEXT is(loyalty.balance(prg, name), 100.00, name || ': a document earns');
	RETURN NEXT is((SELECT d.doc_key FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'k_' || key_story.name),
		text1, name || ': its key as text');
	EXECUTE format('UPDATE %s SET total = 90 WHERE k = %L', tab, k1);
	RETURN NEXT is(loyalty.balance(prg, name), 90.00, name || ': a change finds it');
	EXECUTE format('INSERT INTO %s (k, customer, total, of) VALUES (%L, %L, -30, %L)', tab, k2, name, k1);
	RETURN NEXT is(loyalty.balance(prg, name), 60.00, name || ': a return finds it');
	RETURN NEXT is((SELECT d.root_key FROM shop.document d JOIN loyalty.source s USING (source_id)
		WHERE s.name = 'k_' || key_story.name AND d.kind = 'return'), text1, name || ': the family is the sale''s');
	RETURN NEXT is((SELECT e.points FROM loyalty.explain('k_' || name, text1) e ORDER BY e.step DESC LIMIT 1), 90::numeric,
		name || ': explain() takes the key as text');
	RETURN NEXT is(loyalty.reevaluate('k_' || name, text1), 0.00, name || ': so does reevaluate()');
	EXECUTE format('DELETE FROM %s WHERE k = %L', tab, k2);
	RETURN NEXT is(loyalty.balance(prg, name), 90.00, name || ': a deleted return gives back');
	EXECUTE format('UPDATE %s SET k = %L WHERE k = %L', tab, k3, k1);
	RETURN NEXT is(loyalty.balance(prg, name), 90.00, name || ': a renamed document keeps its points');
	EXECUTE format('UPDATE %s SET total = 95 WHERE k = %L', tab, k3);
	RETURN NEXT is(loyalty.balance(prg, name), 95.00, name || ': and is known by its new key');
	RETURN NEXT is_empty(format('SELECT * FROM loyalty.verify(%L)', 'k_' || name), name || ': verify finds nothing');
	EXECUTE format('DELETE FROM %s WHERE k = %L', tab, k3);
	RETURN NEXT is(loyalty.balance(prg, name), 0.00, name || ': a deleted document gives its points back');

	-- the same key in lines
	EXECUTE format('SELECT loyalty.detach(%L)', 'k_' || name);
	EXECUTE format('SELECT loyalty.attach(%L, %L, %L, ''r.k'', ''r.customer'', ''r.at'', lines => %L, line_parent => ''l.k'',
		line_key => ''l.id'', line_amount => ''l.amount'', evaluate => ''statement'')', 'kl_' || name, prg, tab, tab || '_line');
	EXECUTE format('INSERT INTO %s (k, customer) VALUES (%L, %L)', tab, k1, name || ' lined');
	EXECUTE format('INSERT INTO %s_line (k, amount) VALUES (%L, 30), (%L, 12)', tab, k1, k1);
	RETURN NEXT is(loyalty.balance(prg, name || ' lined'), 42.00, name || ': lines find their document');
	EXECUTE format('DELETE FROM %s_line WHERE amount = 12', tab);
	RETURN NEXT is(loyalty.balance(prg, name || ' lined'), 30.00, name || ': a deleted line as well');
END
$$;

SELECT shop.key_story('smallint', 'smallint', '-1', '2', '3', '-1');
SELECT shop.key_story('int', 'integer', '17', '18', '19', '17');
SELECT shop.key_story('bigint', 'bigint', '9223372036854775807', '-9223372036854775808', '0', '9223372036854775807');
SELECT shop.key_story('numeric', 'numeric', '17.500', '17.5001', '99999999999999999999999999999999999999', '17.5');
SELECT shop.key_story('uuid', 'uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12',
	'00000000-0000-0000-0000-000000000000', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT shop.key_story('date', 'date', '2024-03-05', '0044-03-15 BC', 'infinity', '2024-03-05');
SELECT shop.key_story('timestamp', 'timestamp', '2024-03-05 23:59:59.5', '2024-03-06', '-infinity', '2024-03-05 23:59:59.5');
SELECT shop.key_story('text', 'text', 'SINV-2024/00001', 'it''s "b\ack" — ünïcode, {x}', ' ', 'SINV-2024/00001');
SELECT shop.key_story('varchar', 'varchar(20)', 'a', 'b', 'A', 'a');

-- 1.0 and 1.00 are one numeric key
CREATE TABLE shop.scaled (k numeric PRIMARY KEY, customer text, total numeric);
SELECT loyalty.attach('scaled', 'keys', 'shop.scaled', 'r.k', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
INSERT INTO shop.scaled VALUES (1.0, 'scaled', 5);
UPDATE shop.scaled SET k = 1.00;
SELECT is(shop.entries('keys', 'scaled'), 'earn 5', 'writing a numeric key with more zeros moves nothing');
SELECT is((SELECT count(*) FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'scaled'), 1::bigint, 'and is the same document');

-- composite: a company and a number
CREATE TABLE shop.pair (company text, no integer, customer text, at timestamptz DEFAULT '2024-03-10 12:00+00', total numeric, of_no integer, PRIMARY KEY (company, no));
CREATE TABLE shop.pair_line (company text, no integer, pos integer, amount numeric, PRIMARY KEY (company, no, pos));
SELECT lives_ok($$SELECT loyalty.attach('pair', 'keys', 'shop.pair', '(r.company, r.no)', 'r.customer', 'r.at', amount => 'r.total',
	return_of => 'CASE WHEN r.of_no IS NOT NULL THEN (r.company, r.of_no) END', evaluate => 'statement')$$, 'a composite key is taken');
INSERT INTO shop.pair (company, no, customer, total) VALUES ('ACME', 17, 'pat', 100), ('ACME, Inc', 17, 'pat', 10);
SELECT is(loyalty.balance('keys', 'pat'), 110.00, 'composite: two companies may have the same number');
SELECT set_eq($$SELECT d.doc_key FROM shop.document d JOIN loyalty.source s USING (source_id) WHERE s.name = 'pair'$$,
	$$VALUES ('(ACME,17)'), ('("ACME, Inc",17)')$$, 'composite: the key is the record''s text');
INSERT INTO shop.pair (company, no, customer, total, of_no) VALUES ('ACME', 18, 'pat', -40, 17);
SELECT is(loyalty.balance('keys', 'pat'), 70.00, 'composite: a return finds its sale');
SELECT is((SELECT root_key FROM shop.document WHERE doc_key = '(ACME,18)'), '(ACME,17)', 'composite: by its key');
UPDATE shop.pair SET no = 117 WHERE company = 'ACME, Inc';
SELECT is(loyalty.balance('keys', 'pat'), 70.00, 'composite: half of a key may change');
SELECT is(loyalty.reevaluate('pair', '(ACME,17)', '("ACME, Inc",117)'), 0.00, 'composite: reevaluate() takes the text');
DELETE FROM shop.pair WHERE no = 18;
SELECT is(loyalty.balance('keys', 'pat'), 110.00, 'composite: a deleted return gives back');
SELECT is_empty($$SELECT * FROM loyalty.verify('pair')$$, 'composite: verify finds nothing');

SELECT lives_ok($$SELECT loyalty.attach('pair lines', 'keys', 'shop.pair', '(r.company, r.no)', 'r.customer || '' lined''', 'r.at',
	lines => 'shop.pair_line', line_parent => '(l.company, l.no)', line_key => '(l.company, l.no, l.pos)', line_amount => 'l.amount',
	evaluate => 'statement')$$, 'composite keys of lines are taken');
INSERT INTO shop.pair_line VALUES ('ACME', 17, 1, 30), ('ACME', 17, 2, 12), ('ACME, Inc', 117, 1, 3);
SELECT is(loyalty.balance('keys', 'pat lined'), 45.00, 'composite: lines find their documents');
UPDATE shop.pair_line SET company = 'ACME, Inc', no = 117, pos = 2 WHERE company = 'ACME' AND pos = 2;
SELECT is(shop.booked('pair lines', '(ACME,17)'), 30::numeric, 'composite: a line that moves leaves one document');
SELECT is(shop.booked('pair lines', '("ACME, Inc",117)'), 15::numeric, 'composite: and comes to the other');

-- key types of customers: the member is the same however the key is typed
CREATE TABLE shop.cust_int (id integer PRIMARY KEY, customer integer, total numeric);
CREATE TABLE shop.cust_num (id integer PRIMARY KEY, customer numeric, total numeric);
CREATE TABLE shop.cust_uuid (id integer PRIMARY KEY, customer uuid, total numeric);
SELECT loyalty.attach('cust_' || t, 'keys', ('shop.cust_' || t)::regclass, 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement')
	AS source FROM unnest('{int,num,uuid}'::text[]) t \g /dev/null
INSERT INTO shop.cust_int VALUES (1, 4711, 10);
INSERT INTO shop.cust_num VALUES (1, 4711.00, 20);
INSERT INTO shop.cust_uuid VALUES (1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 30);
SELECT is(loyalty.balance('keys', '4711'), 30.00, 'an integer and a numeric customer are one member');
SELECT is(loyalty.balance('keys', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), 30.00, 'a customer may be a uuid');

-- a NULL key is no document
CREATE TABLE shop.nullkey (k integer, customer text, total numeric);
SELECT loyalty.attach('nullkey', 'keys', 'shop.nullkey', 'r.k', 'r.customer', '''2024-03-10''::date', amount => 'r.total', evaluate => 'statement') \gset
SELECT lives_ok($$INSERT INTO shop.nullkey VALUES (NULL, 'nul', 5)$$, 'a row without a key is the ERP''s business');
SELECT is(loyalty.balance('keys', 'nul'), 0.00, 'and earns nothing');
UPDATE shop.nullkey SET k = 1;
SELECT is(loyalty.balance('keys', 'nul'), 5.00, 'until it has one');

-- nor is a composite key with a part that is NULL; a link or customer like that is none
CREATE TABLE shop.nullpair (company text, no integer, of_no integer, customer integer, total numeric);
SELECT loyalty.attach('nullpair', 'keys', 'shop.nullpair', '(r.company, r.no)', '(r.company, r.customer)', '''2024-03-10''::date',
	amount => 'r.total', return_of => '(r.company, r.of_no)', evaluate => 'statement') \gset
INSERT INTO shop.nullpair VALUES ('acme', NULL, NULL, 1, 5), ('acme', NULL, NULL, 1, 6), ('acme', 1, NULL, NULL, 7);
SELECT is((SELECT count(*) FROM shop.doc('nullpair', '(acme,1)')), 0::bigint, 'a guest of a company is a guest');
SELECT is((SELECT count(*) FROM shop.document WHERE doc_key LIKE '(acme%'), 0::bigint, 'what has no number yet is no document');
UPDATE shop.nullpair SET no = 2 WHERE total = 5;
UPDATE shop.nullpair SET no = 3, of_no = 2, total = -2 WHERE total = 6;
SELECT is(loyalty.balance('keys', '(acme,1)'), 3.00, 'numbered, one is a sale and the other returns goods of it');
SELECT is_empty($$SELECT * FROM loyalty.verify('nullpair')$$, 'verify() finds the same');

-- char(n), alone and as a part of a key, whichever way the document is read
CREATE TABLE shop.padded (no char(8) PRIMARY KEY, customer char(6), total numeric, of char(8));
SELECT loyalty.attach('padded', 'keys', 'shop.padded', 'r.no', 'r.customer', '''2024-03-10''::date', amount => 'r.total',
	return_of => 'r.of', evaluate => 'statement') \gset
INSERT INTO shop.padded VALUES ('A-1', 'pad', 30, NULL), ('A-2', 'pad', 20, NULL), ('A-3', 'pad', -5, 'A-1');
SELECT is(loyalty.balance('keys', 'pad'), 45.00, 'a key of type char(8)');
SELECT is_empty($$SELECT * FROM loyalty.verify('padded')$$, 'which verify() finds again');
SELECT is(loyalty.reevaluate('padded', 'A-1', 'A-2     '), 0.00, 'and reevaluate(), with its blanks or without them');
SELECT is((SELECT count(*) FROM shop.document WHERE doc_key LIKE 'A-%'), 3::bigint, 'each is one document');
CREATE TABLE shop.padded_pair (company char(4), no integer, customer text, PRIMARY KEY (company, no));
CREATE TABLE shop.padded_line (company char(4), no integer, pos integer, amount numeric);
SELECT loyalty.attach('padded pair', 'keys', 'shop.padded_pair', '(r.company, r.no)', 'r.customer', '''2024-03-10''::date',
	lines => 'shop.padded_line', line_parent => '(l.company, l.no)', line_key => '(l.company, l.no, l.pos)',
	line_amount => 'l.amount', evaluate => 'statement') \gset
INSERT INTO shop.padded_pair VALUES ('ACME', 1, 'pair'), ('AC', 1, 'pair2');
INSERT INTO shop.padded_line VALUES ('ACME', 1, 1, 7), ('ACME', 1, 2, 8), ('AC', 1, 1, 3);
SELECT is(loyalty.balance('keys', 'pair'), 15.00, 'lines are found by a key of which char(4) is a part');
SELECT is(loyalty.balance('keys', 'pair2'), 3.00, 'and not those of a shorter one');
SELECT is_empty($$SELECT * FROM loyalty.verify('padded pair')$$, 'verify() agrees');

-- what tills number: store, day and ticket; the text of a key is ISO 8601, whoever reads or writes it
CREATE TABLE shop.till (store text, day date, no integer, customer text, of_day date, of_no integer, PRIMARY KEY (store, day, no));
CREATE TABLE shop.till_line (store text, day date, no integer, pos integer, amount numeric, PRIMARY KEY (store, day, no, pos));
SELECT loyalty.attach('till', 'keys', 'shop.till', '(r.store, r.day, r.no)', 'r.customer', 'r.day', return_of => '(r.store, r.of_day, r.of_no)',
	lines => 'shop.till_line', line_parent => '(l.store, l.day, l.no)', line_key => '(l.store, l.day, l.no, l.pos)',
	line_amount => 'l.amount', evaluate => 'statement') \gset
INSERT INTO shop.till VALUES ('S1', '2024-03-05', 7, 'till'), ('S1', '2024-05-03', 7, 'till2');
INSERT INTO shop.till_line VALUES ('S1', '2024-03-05', 7, 1, 40), ('S1', '2024-03-05', 7, 2, 2), ('S1', '2024-05-03', 7, 1, 5);
SELECT is(loyalty.balance('keys', 'till'), 42.00, 'a key of store, day and number');
SELECT is(loyalty.balance('keys', 'till2'), 5.00, 'the fifth of March is not the third of May');
SELECT is((SELECT string_agg(doc_key, ' ' ORDER BY doc_key) FROM shop.document WHERE doc_key LIKE '(S1%'), '(S1,2024-03-05,7) (S1,2024-05-03,7)',
	'its text has the day as ISO 8601 writes it');
SET LOCAL DateStyle = 'German, MDY';
INSERT INTO shop.till VALUES ('S1', '2024-03-08', 1, 'till', '2024-03-05', 7);
INSERT INTO shop.till_line VALUES ('S1', '2024-03-08', 1, 1, -12);
UPDATE shop.till_line SET amount = 3 WHERE pos = 2;
SELECT is(loyalty.balance('keys', 'till'), 31.00, 'a return finds it, and a line that is changed, in a session with another DateStyle');
SELECT is(loyalty.reevaluate('till', '(S1,2024-03-05,7)'), 0.00, 'reevaluate() takes the key as it is written');
SELECT is(loyalty.reevaluate('till', '(S1,2024-3-5,07)'), 0.00, 'or as the types of its columns read it');
SELECT is_empty($$SELECT * FROM loyalty.verify('till')$$, 'verify() agrees');
-- a day and the instant at which it begins are one in SQL, but two texts
CREATE TABLE shop.till_log (store text, at timestamp, no integer, pos integer, amount numeric);
CREATE TABLE shop.till_return (id integer PRIMARY KEY, customer text, store text, at timestamp, no integer, total numeric);
CREATE FUNCTION shop.till_with(line_day text) RETURNS integer LANGUAGE sql AS $$
	SELECT loyalty.attach('till with log', 'keys', 'shop.till', '(r.store, r.day, r.no)', 'r.customer', 'r.day', lines => 'shop.till_log',
		line_parent => format('(l.store, %s, l.no)', line_day), line_key => '(l.store, l.at, l.no, l.pos)', line_amount => 'l.amount')
$$;
CREATE FUNCTION shop.till_return_with(day text) RETURNS integer LANGUAGE sql AS $$
	SELECT loyalty.attach('till return', 'keys', 'shop.till_return', 'r.id', 'r.customer', '''2024-03-10''::date', amount => 'r.total',
		return_of => format('(r.store, %s, r.no)', day), return_source => 'till', evaluate => 'statement')
$$;
SELECT throws_like($$SELECT shop.till_with('l.at')$$, 'expression "line_parent" is timestamp without time zone, but "key" is date',
	'lines that would never be found are refused');
SELECT lives_ok($$SELECT shop.till_with('l.at::date')$$, 'unless the mapping says the day');
SELECT loyalty.detach('till with log') \gset
SELECT throws_like($$SELECT shop.till_return_with('r.at')$$, 'expression "return_of" is timestamp without time zone, but "key" of source "till" is date',
	'and so is a link');
SELECT shop.till_return_with('r.at::date') \gset
INSERT INTO shop.till_return VALUES (1, 'till', 'S1', '2024-03-05', 7, -10);
SELECT is(loyalty.balance('keys', 'till'), 21.00, 'which leads to the sale, where it is a day');
-- a customer whose key has a day in it
CREATE TABLE shop.holder (id integer PRIMARY KEY, name text, born date, total numeric);
SELECT loyalty.attach('holder', 'keys', 'shop.holder', 'r.id', '(r.name, r.born)', '''2024-03-10''::date', amount => 'r.total',
	evaluate => 'statement') \gset
INSERT INTO shop.holder VALUES (1, 'Ann', '1990-02-01', 9), (2, 'Bob', 'infinity', 4);
SELECT results_eq($$SELECT customer, balance FROM shop.member WHERE customer IN ('(Ann,1990-02-01)', '(Bob,infinity)') ORDER BY 1$$,
	$$VALUES ('(Ann,1990-02-01)', 9.00::numeric(18,2)), ('(Bob,infinity)', 4.00)$$, 'a customer is known by name and birthday');
SET LOCAL DateStyle = 'SQL, DMY';
UPDATE shop.holder SET total = 10 WHERE id = 1;
SELECT is(loyalty.balance('keys', '(Ann,1990-02-01)'), 10.00, 'in every session');
SELECT is_empty($$SELECT * FROM loyalty.verify('holder')$$, 'and by verify()');
-- an instant with a time zone has no text of its own
CREATE TABLE shop.zoned (k timestamptz PRIMARY KEY, customer text, total numeric);
SELECT throws_like($$SELECT loyalty.attach('zoned', 'keys', 'shop.zoned', 'r.k', 'r.customer', 'r.k', amount => 'r.total')$$,
	'expression "key" must be made of columns of its own row%', 'a timestamp with time zone is refused');
SELECT lives_ok($$SELECT loyalty.attach('zoned', 'keys', 'shop.zoned', $k$r.k AT TIME ZONE 'UTC'$k$, 'r.customer', 'r.k', amount => 'r.total',
	evaluate => 'statement')$$, 'unless the mapping says which');
INSERT INTO shop.zoned VALUES ('2024-03-31 01:30+01', 'zoned', 6);
SELECT is((SELECT doc_key FROM shop.document WHERE member_id = loyalty.member_id('keys', 'zoned')), '2024-03-31 00:30:00', 'then it is that time');
-- a domain may check by any code, which the trigger on the rows must not run: it could write to the table itself
CREATE DOMAIN shop.number AS integer CHECK (VALUE > 0);
CREATE TABLE shop.ticket (k shop.number PRIMARY KEY, customer text, total numeric);
SELECT throws_like($$SELECT loyalty.attach('ticket', 'keys', 'shop.ticket', '(r.k + 1)::shop.number', 'r.customer', '''2024-03-10''::date',
	amount => 'r.total')$$, 'expression "key" must be made of columns of its own row%', 'a conversion to a domain is refused');
SELECT lives_ok($$SELECT loyalty.attach('ticket', 'keys', 'shop.ticket', 'r.k', 'r.customer', '''2024-03-10''::date', amount => 'r.total',
	evaluate => 'statement')$$, 'a column of one is not');
INSERT INTO shop.ticket VALUES (1, 'ticket', 8);
UPDATE shop.ticket SET k = 2;
SELECT is(loyalty.balance('keys', 'ticket'), 8.00, 'and its documents follow their key');
-- nor what compares values of a type that somebody has made
CREATE TYPE shop.two AS (a integer, b integer);
CREATE TABLE shop.paired (k shop.two PRIMARY KEY, l shop.two, customer text, total numeric);
SELECT throws_like($$SELECT loyalty.attach('paired', 'keys', 'shop.paired', '(greatest(r.k, r.l)).a', 'r.customer', '''2024-03-10''::date',
	amount => 'r.total')$$, 'expression "key" must be made of columns of its own row%', 'a comparison by code of others is refused');

SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
