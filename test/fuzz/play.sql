-- Every input is a statement of its own, under a time limit.
SET statement_timeout = '5s';
SELECT setseed((:seed % 1000000) / 1000000.0) \g /dev/null
CREATE TEMP TABLE input AS
	SELECT shop.soup() AS text FROM generate_series(1, :inputs)
	UNION ALL SELECT shop.say('bool', 4) FROM generate_series(1, :inputs)
	UNION ALL SELECT shop.spoil(shop.say('bool', 3)) FROM generate_series(1, :inputs)
	UNION ALL SELECT shop.heap() FROM generate_series(1, :inputs);
SELECT format('SELECT shop.judge(%L)', text) FROM input
\gexec

-- the soup must reach both answers, and often
SELECT CASE WHEN count(*) FILTER (WHERE answer = 'value') > :inputs / 2 THEN 'ok' ELSE 'not ok' END
	|| ' - ' || count(*) FILTER (WHERE answer = 'value') || ' inputs were conditions' FROM shop.verdict;
SELECT CASE WHEN count(DISTINCT answer) >= 10 THEN 'ok' ELSE 'not ok' END
	|| ' - ' || count(DISTINCT answer) || ' different answers' FROM shop.verdict;
SELECT string_agg(answer || ' ' || n, ', ' ORDER BY n DESC) FROM (SELECT answer, count(*) AS n FROM shop.verdict GROUP BY 1) v;

-- memory: what a backend keeps does not grow with the number of compilations
CREATE TEMP TABLE kept AS SELECT sum(total_bytes) AS bytes FROM pg_backend_memory_contexts;
SELECT count(loyalty.check_condition('fuzz', 'line.qty > ' || i || ' AND invoice.state = ''paid''', 'shop')) FROM generate_series(1, 5000) i \g /dev/null
SELECT count(shop.judge('line.qty > ' || i || ' AND today')) FROM generate_series(1, 2000) i \g /dev/null
SELECT CASE WHEN sum(m.total_bytes) - (SELECT k.bytes FROM kept k) < 200000 THEN 'ok' ELSE 'not ok' END
	|| ' - the backend grew by ' || sum(m.total_bytes) - (SELECT k.bytes FROM kept k) || ' bytes' FROM pg_backend_memory_contexts m;
