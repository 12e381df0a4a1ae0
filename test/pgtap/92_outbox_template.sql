-- Texts: placeholders, languages, and that what is filled in stays what it is.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'UTC') AS club \gset
SELECT loyalty.set_message('club', 'earned') \gset
SELECT loyalty.enrol('club', 'ann') AS ann, loyalty.enrol('club', '{points} {{x}} $1 \1') AS odd \gset
SELECT points FROM loyalty.adjust('club', 'ann', 12.5, 'x', 'k'), (SELECT loyalty.adjust('club', '{points} {{x}} $1 \1', 7, 'x', 'k')) x \g /dev/null
CREATE FUNCTION shop.text(member_id bigint, language text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', r.used_language, r.subject, r.body) FROM loyalty.render_message($1, 'earned', 'entry:1', $2) r
$$;

-- what comes with the extension: a text for each kind, in two languages, that can be filled in
SELECT is_empty($$
	SELECT k.kind, l.language FROM (SELECT DISTINCT kind FROM loyalty.message_fields()) k, (VALUES ('en'), ('de')) l (language),
		LATERAL loyalty.built_in_template(k.kind, l.language) t
	WHERE t.subject IS NULL OR t.body IS NULL
$$, 'every kind has its texts');
SELECT lives_ok($$
	SELECT loyalty.check_template(k.kind, t.subject), loyalty.check_template(k.kind, t.body)
	FROM (SELECT DISTINCT kind FROM loyalty.message_fields()) k, (VALUES ('en'), ('de')) l (language),
		LATERAL loyalty.built_in_template(k.kind, l.language) t
$$, 'with placeholders that there are');
SELECT is((SELECT count(DISTINCT kind) FROM loyalty.message_fields()), 12::bigint, 'twelve kinds');
SELECT results_eq($$SELECT DISTINCT kind FROM loyalty.message_fields() ORDER BY 1$$,
	$$SELECT unnest(regexp_matches(pg_get_constraintdef(oid), '''([a-z_]+)''', 'g')) FROM pg_constraint
		WHERE conname = 'message_setting_kind_check' ORDER BY 1$$, 'the same everywhere');

-- refused when written
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', 'x', '{tier}')$$, '22023', 'unknown placeholder {tier} for messages of kind "earned"', 'of another kind');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', '{Points}', 'x')$$, '22023', NULL, 'misspelt');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', '{}', 'x')$$, '22023', NULL, 'empty');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', 'x', '{points')$$, '22023', 'unmatched brace in template', 'not closed');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', 'x', 'points}')$$, '22023', 'unmatched brace in template', 'not opened');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', 'x', '{{points}')$$, '22023', 'unmatched brace in template', 'doubled on one side');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'english', 'x', 'x')$$, '22023', NULL, 'no language');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'birthday', 'en', 'x', 'x')$$, '22023', NULL, 'no kind');
SELECT throws_ok($$SELECT loyalty.set_template('club', 'earned', 'en', 'x', NULL)$$, '22004', NULL, 'no body');
SELECT is_empty($$SELECT * FROM loyalty.message_template t JOIN loyalty.program p USING (program_id) WHERE p.name = 'club'$$, 'nothing was written');
SELECT throws_ok($$SELECT loyalty.render_message(1, 'earned', 'entry:1')$$, 'LY001', NULL, 'no such message');

-- languages: what is asked for, the member's, the programme's, English
SELECT is(shop.text(:ann), 'en | You have earned 12.5 points | You have earned 12.5 points on ' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || '. Your balance is 12.5 points.', 'English without more');
SELECT loyalty.set_language('club', NULL, 'de') \g /dev/null
SELECT matches(shop.text(:ann), '^de \| Sie haben 12.5 Punkte gesammelt', 'the programme''s');
SELECT loyalty.set_language('club', 'ann', 'en_GB') \g /dev/null
SELECT matches(shop.text(:ann), '^en \| You have', 'the member''s, without its region');
SELECT matches(shop.text(:ann, 'DE-at'), '^de \| Sie haben', 'what is asked for');
SELECT matches(shop.text(:ann, 'tr'), '^en \| You have', 'what there is not');
SELECT throws_ok(format('SELECT shop.text(%s, ''x'')', :ann), '22023', NULL, 'what is no language');
SELECT loyalty.set_template('club', 'earned', 'en-gb', 'Cheerio', '{customer}: {points}') \g /dev/null
SELECT is(shop.text(:ann), 'en-gb | Cheerio | ann: 12.5', 'the region''s own');
SELECT loyalty.set_template('club', 'earned', 'en', 'Ours', '{program}') \g /dev/null
SELECT is(shop.text(:ann, 'en'), 'en | Ours | club', 'the programme''s own text comes before the built-in one');
SELECT loyalty.set_language('club', 'ann', NULL) \g /dev/null
SELECT matches(shop.text(:ann), '^de \| ', 'the member''s is forgotten');
SELECT loyalty.set_language('club', NULL, NULL) \g /dev/null
SELECT is(shop.text(:ann), 'en | Ours | club', 'and the programme''s');
SELECT loyalty.set_template('club', 'earned', 'en', NULL, NULL) \g /dev/null
SELECT matches(shop.text(:ann), '^en \| You have', 'and its text');
SELECT throws_ok($$SELECT loyalty.set_language('club', 'nobody', 'de')$$, 'LY001', NULL, 'a stranger has no language');
SELECT throws_ok($$SELECT loyalty.set_language('club', 'ann', 'x')$$, '22023', NULL, 'nor anybody this one');

-- filling in
SELECT loyalty.set_template('club', 'earned', 'en', '{{{points}}}', E'a{{b}}c {expires_on}|{points}{points}\n{customer}') \g /dev/null
SELECT is(shop.text(:ann), E'en | {12.5} | a{b}c |12.512.5\nann', 'braces, what is absent, twice');
SELECT is(shop.text(:odd), E'en | {7} | a{b}c |77\n{points} {{x}} $1 \\1', 'what is filled in is not looked at again');
SELECT loyalty.set_template('club', 'earned', 'en', '', 'plain') \g /dev/null
SELECT is(shop.text(:ann), 'en |  | plain', 'an empty subject');

-- a wallet speaks as its programme does
SELECT loyalty.create_wallet('club', 'cash') \g /dev/null
SELECT loyalty.set_message('club/cash', 'earned') \g /dev/null
SELECT loyalty.enrol('club/cash', 'ann') AS purse \gset
SELECT points FROM loyalty.adjust('club/cash', 'ann', 3, 'x', 'k') \g /dev/null
SELECT is(shop.text(:purse), 'en |  | plain', 'its programme''s text');
SELECT loyalty.set_language('club', 'ann', 'de') \g /dev/null
SELECT matches(shop.text(:purse), '^de \| Sie haben 3 Punkte', 'the customer''s language');
SELECT loyalty.set_template('club/cash', 'earned', 'de', 'Ihr Geld', '{program}') \g /dev/null
SELECT is(shop.text(:purse), 'de | Ihr Geld | club/cash', 'or its own text');

SELECT is_empty('SELECT * FROM loyalty.check()', 'loyalty.check() finds nothing');
SELECT * FROM finish();
ROLLBACK;
