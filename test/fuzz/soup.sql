-- What is thrown at the compiler, and what it may answer.
SET client_min_messages = warning;
CREATE EXTENSION loyalty;
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('draft', 'posted', 'paid');
CREATE DOMAIN shop.money_amount AS numeric(12,2);
CREATE TABLE shop.invoice (id integer PRIMARY KEY, customer text, day date, delivered timestamptz,
	local timestamp, paid shop.money_amount, state shop.state, note varchar(40), flags text[], extra jsonb, place point);
CREATE TABLE shop.line (id integer PRIMARY KEY, invoice integer, amount numeric, brand text, ratio float8, big bigint);
CREATE FUNCTION shop.evil(numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE EXCEPTION 'evil was called' USING ERRCODE = 'XX001';
END $$;
CREATE FUNCTION shop.evil(numeric, numeric) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE EXCEPTION 'evil was called' USING ERRCODE = 'XX001';
END $$;
CREATE OPERATOR shop.> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = shop.evil);
SELECT loyalty.create_program('fuzz', 'Europe/Madrid') \g /dev/null
SELECT loyalty.attach('shop', 'fuzz', 'shop.invoice', 'r.id', 'r.customer', 'r.day', lines => 'shop.line',
	line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.amount') \g /dev/null

CREATE FUNCTION shop.pick(words text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$SELECT words[1 + floor(random() * cardinality(words))::int]$$;

-- words in any order
CREATE FUNCTION shop.soup() RETURNS text LANGUAGE plpgsql VOLATILE AS $soup$
DECLARE
	v_words text[] := ARRAY['invoice', '.', 'line', 'document', 'member', 'event', 'paid', 'category', 'qty', 'date',
		'tier', 'invoice.paid', 'line.category', 'line.qty', 'document.date', 'member.attributes', 'invoice.state',
		'line.categories', 'document.occurred_at', '(', ')', '(', ')', '[', ']', ',', ';', ':', '::', ':=', '=>', '=',
		'<', '>', '<=', '<>', '!=', '+', '-', '*', '/', '%', '^', '|', '||', '&&', '@>', '->', '->>', '#>>', '?', '~', '~*',
		'!~~', '@@', '@?', 'AND', 'OR', 'NOT', 'IS', 'NULL', 'TRUE', 'FALSE', 'UNKNOWN', 'DISTINCT', 'FROM', 'IN', 'BETWEEN',
		'SYMMETRIC', 'LIKE', 'ILIKE', 'SIMILAR', 'TO', 'ESCAPE', 'CASE', 'WHEN', 'THEN', 'ELSE', 'END', 'ANY', 'ALL', 'SOME',
		'ARRAY', 'ROW', 'CAST', 'AS', 'COALESCE', 'NULLIF', 'GREATEST', 'LEAST', 'SELECT', 'WHERE', 'EXISTS', 'OVER',
		'WITH', 'VALUES', 'TABLE', 'UNION', 'LIMIT', 'ORDER', 'BY', 'INTERVAL', 'DATE', 'TIMESTAMP', 'AT', 'TIME', 'ZONE',
		'COLLATE', '"C"', '"x"', 'OPERATOR', 'shop.', 'pg_catalog.', 'shop.>', 'shop.evil', 'shop.state', 'shop.money_amount',
		'extract', 'year', 'substring', 'trim', 'position', 'overlay', 'lower', 'round', 'repeat', 'pg_sleep', 'now()',
		'current_date', 'current_user', 'random()', 'generate_series(1,3)', 'sum', 'count(*)', 'XMLPARSE', 'DEFAULT',
		'0', '1', '-1', '1.5', '1e400', '1e131071', '.5', '9223372036854775808', '''a''', '''''', '''2026-01-01''', '''today''',
		'''{a,b}''', '''{"a":1}''', '''paid''', 'E''\x41''', 'U&''\0041''', 'B''01''', 'X''ff''', '$1', '$$x$$', '--', '/*', '*/',
		'int', 'numeric', 'text', 'text[]', 'jsonb', 'xml', 'regclass', 'bool', 'char(9)', 'varchar(3)', E'\n', E'\u00e9'];
	v_text text := '';
BEGIN
	FOR i IN 1 .. 1 + floor(random() * 14)::int LOOP
		v_text := v_text || shop.pick(v_words) || shop.pick(ARRAY[' ', ' ', ' ', '']);
	END LOOP;
	RETURN v_text;
END $soup$;

-- sentences of the right kind
CREATE FUNCTION shop.say(kind text, depth integer) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	d integer := depth - 1;
	v_leaf boolean := depth <= 0 OR random() < 0.2;
BEGIN
	CASE kind
		WHEN 'bool' THEN
			IF v_leaf THEN
				RETURN shop.pick(ARRAY['document.is_return', 'true', 'line.category IS NULL', 'line.qty > 1', 'member.tier = ''Gold''',
					'member.attributes ? ''vip''', 'invoice.state = ''paid''', 'invoice.flags @> ''{a}''', '''x'' = ANY (line.categories)']);
			END IF;
			RETURN CASE floor(random() * 14)::int
				WHEN 0 THEN shop.say('bool', d) || ' AND ' || shop.say('bool', d)
				WHEN 1 THEN '(' || shop.say('bool', d) || ' OR ' || shop.say('bool', d) || ')'
				WHEN 2 THEN 'NOT ' || shop.say('bool', d)
				WHEN 3 THEN shop.say('num', d) || ' BETWEEN ' || shop.say('num', d) || ' AND ' || shop.say('num', d)
				WHEN 4 THEN shop.say('text', d) || shop.pick(ARRAY[' LIKE ', ' NOT LIKE ', ' ILIKE ']) || shop.pick(ARRAY['''a%''', '''%b_''', '''''', shop.say('text', d)])
				WHEN 5 THEN shop.say('text', d) || ' IN (' || shop.say('text', d) || ', ' || shop.say('text', d) || ')'
				WHEN 6 THEN shop.say('date', d) || shop.pick(ARRAY[' = ', ' < ', ' >= ']) || shop.say('date', d)
				WHEN 7 THEN shop.say('text', d) || shop.pick(ARRAY[' = ', ' <> ', ' < ', ' IS DISTINCT FROM ']) || shop.say('text', d)
				WHEN 8 THEN 'CASE WHEN ' || shop.say('bool', d) || ' THEN ' || shop.say('bool', d) || ' ELSE ' || shop.say('bool', d) || ' END'
				WHEN 9 THEN '(' || shop.say('bool', d) || ')' || shop.pick(ARRAY[' IS TRUE', ' IS NOT FALSE', ' IS UNKNOWN', ' IS NULL'])
				WHEN 10 THEN 'member.attributes ' || shop.pick(ARRAY['@>', '<@', '=']) || shop.pick(ARRAY[' ''{"a": [1]}''', ' ''null''', ' line.attributes'])
				ELSE shop.say('num', d) || shop.pick(ARRAY[' = ', ' <> ', ' > ', ' <= ']) || shop.say('num', d)
			END;
		WHEN 'num' THEN
			IF v_leaf THEN
				RETURN shop.pick(ARRAY['line.qty', 'line.amount', 'invoice.paid', 'document.hour', 'member.purchase_count', 'line.ratio', 'line.big',
					'member.cycle_days', '0', '1', '2.50', '-7', '1e10', '100000000000', '''3''']);
			END IF;
			RETURN CASE floor(random() * 10)::int
				WHEN 0 THEN 'round(' || shop.say('num', d) || ', 2)'
				WHEN 1 THEN 'COALESCE(' || shop.say('num', d) || ', ' || shop.say('num', d) || ')'
				WHEN 2 THEN 'NULLIF(' || shop.say('num', d) || ', 0)'
				WHEN 3 THEN 'length(' || shop.say('text', d) || ')'
				WHEN 4 THEN 'extract(' || shop.pick(ARRAY['year', 'month', 'dow', 'epoch', 'nonsense']) || ' FROM ' || shop.say('date', d) || ')'
				WHEN 5 THEN '(' || shop.say('date', d) || ' - ' || shop.say('date', d) || ')'
				WHEN 6 THEN '(' || shop.say('text', d) || ')::' || shop.pick(ARRAY['int', 'numeric', 'int2', 'float8', 'bigint', 'numeric(4,1)'])
				WHEN 7 THEN shop.pick(ARRAY['abs', 'floor', 'ceil', 'sign', 'trunc', 'sqrt', 'exp']) || '(' || shop.say('num', d) || ')'
				ELSE '(' || shop.say('num', d) || shop.pick(ARRAY[' + ', ' - ', ' * ', ' / ', ' % ']) || shop.say('num', d) || ')'
			END;
		WHEN 'text' THEN
			IF v_leaf THEN
				RETURN shop.pick(ARRAY['line.category', 'line.product', 'invoice.note', 'line.brand', 'member.tier', 'line.categories[1]',
					'''a''', '''''', '''12''', '''now''', 'invoice.state::text', 'member.attributes ->> ''x''']);
			END IF;
			RETURN CASE floor(random() * 7)::int
				WHEN 0 THEN shop.pick(ARRAY['lower', 'upper', 'btrim', 'reverse', 'md5', 'initcap']) || '(' || shop.say('text', d) || ')'
				WHEN 1 THEN 'left(' || shop.say('text', d) || ', ' || shop.pick(ARRAY['1', '0', '-2', '2000000000']) || ')'
				WHEN 2 THEN 'substring(' || shop.say('text', d) || ' FROM ' || shop.pick(ARRAY['1', '-3', '2147483647']) || ' FOR ' || shop.pick(ARRAY['2', '-1', '2147483647']) || ')'
				WHEN 3 THEN '(' || shop.say('text', d) || ' || ' || shop.say('text', d) || ')'
				WHEN 4 THEN '(' || shop.say('num', d) || ')::text'
				WHEN 5 THEN '(' || shop.say('text', d) || ')::' || shop.pick(ARRAY['varchar(2)', 'char(5)', 'char(100000)', 'text COLLATE "C"'])
				ELSE 'CASE ' || shop.say('text', d) || ' WHEN ' || shop.say('text', d) || ' THEN ' || shop.say('text', d) || ' END'
			END;
		ELSE
			RETURN shop.pick(ARRAY['document.date', 'invoice.day', 'member.birthday', 'line.launched_on', '''2026-02-28''::date', 'date ''2024-02-29''',
				'''infinity''::date', '''today''::date', '(document.date + 3)', 'make_date(2026, 2, ' || (20 + floor(random() * 15)::int) || ')',
				'(invoice.delivered AT TIME ZONE ''Asia/Tokyo'')::date', 'invoice.local::date', 'invoice.delivered::date', '''2026-02-30''::date']);
	END CASE;
END $$;

-- a sentence in which a few characters have changed
CREATE FUNCTION shop.spoil(text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	v_text text := $1;
	v_at integer;
BEGIN
	FOR i IN 1 .. 1 + floor(random() * 3)::int LOOP
		v_at := 1 + floor(random() * length(v_text))::int;
		v_text := overlay(v_text PLACING shop.pick(ARRAY['', '', ' ', '''', '(', ')', '.', ',', '$', ':', '"', '\', ';', '*', '-', '%', E'\t', '1', 'x'])
			FROM v_at FOR shop.pick(ARRAY['0', '1', '1', '2', '5'])::int);
	END LOOP;
	RETURN v_text;
END $$;

-- much of the same
CREATE FUNCTION shop.heap() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	n integer := (10 ^ (random() * 3.3))::int;
BEGIN
	RETURN CASE floor(random() * 14)::int
		WHEN 0 THEN repeat('(', n) || 'true' || repeat(')', n)
		WHEN 1 THEN repeat('NOT ', n) || 'true'
		WHEN 2 THEN 'line.qty > 1' || repeat(' AND line.qty > 1', n)
		WHEN 3 THEN '1' || repeat('+line.qty', n) || ' > 0'
		WHEN 4 THEN 'line.qty' || repeat('*line.qty', n) || ' > 0'
		WHEN 5 THEN repeat('- ', n) || 'line.qty > 0'
		WHEN 6 THEN 'line.qty IN (1' || repeat(',1', n) || ')'
		WHEN 7 THEN '''' || repeat('a', n) || ''' LIKE ''' || repeat('%a', n) || 'b'''
		WHEN 8 THEN 'line.product LIKE ''' || repeat('%a', n) || 'b'''
		WHEN 9 THEN repeat('CASE WHEN true THEN ', n) || 'true' || repeat(' END', n)
		WHEN 10 THEN '''' || repeat('[', n) || repeat(']', n) || '''::jsonb = line.attributes'
		WHEN 11 THEN repeat('lower(', n) || 'line.product' || repeat(')', n) || ' = ''a'''
		WHEN 12 THEN 'line.product' || repeat('||line.product', n) || ' = ''a'''
		ELSE '1e' || n || repeat('*1e' || n, floor(random() * 40)::int) || ' > line.qty'
	END;
END $$;

-- Judge one input: a value in normal form, which means the same when checked
-- again, or an error that is the input's.  What is cancelled is not caught.
CREATE FUNCTION shop.judge(input text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	v_normal text;
	v_again text;
	v_state text;
	v_path text := current_setting('search_path');
BEGIN
	BEGIN
		v_normal := loyalty.check_condition('fuzz', input, 'shop');
	EXCEPTION WHEN others THEN
		GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE;
		IF substr(v_state, 1, 2) NOT IN ('0A', '22', '3F', '42', '54') THEN
			RETURN format('not ok - %s: %s: %s', v_state, sqlerrm, to_json(input));
		END IF;
	END;
	IF current_setting('search_path') <> v_path THEN
		RETURN format('not ok - it left search_path %s: %s', current_setting('search_path'), to_json(input));
	END IF;
	IF v_state IS NULL THEN
		IF v_normal ~ 'shop\.(evil|>)|today|repeat|random|now\(' THEN
			RETURN format('not ok - it let %s through: %s', v_normal, to_json(input));
		END IF;
		BEGIN
			v_again := loyalty.check_condition('fuzz', v_normal, 'shop');
		EXCEPTION WHEN program_limit_exceeded OR statement_too_complex THEN
			v_again := v_normal;	-- it has grown
		WHEN others THEN
			RETURN format('not ok - %s is refused: %s: %s', v_normal, sqlerrm, to_json(input));
		END;
		-- a BETWEEN within an AND loses its brackets the second time
		IF translate(v_again, '()', '') <> translate(v_normal, '()', '') THEN
			RETURN format('not ok - %s becomes %s: %s', v_normal, v_again, to_json(input));
		END IF;
	END IF;
	INSERT INTO shop.verdict VALUES (coalesce(v_state, 'value'));
	RETURN 'ok - ' || coalesce(v_state, 'value');
END $$;
CREATE TABLE shop.verdict (answer text);
