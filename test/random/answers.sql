/*
 * What the engine tells must be what it books: explain() of documents that
 * were played, and quote_earn() of random baskets against the oracle.
 *
 * psql variable: seed
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
SET timezone = 'UTC';

SELECT count(*) AS entries FROM loyalty.entry \gset
SELECT setseed((:seed % 100000) / 100000.0) \g /dev/null

-- an explanation ends with what is booked, for each family that a return
-- takes from
SELECT CASE WHEN told = booked THEN 'ok - explain' ELSE 'not ok - explain ' || name || ' ' || doc_key || ': tells '
		|| coalesce(told::text, 'nothing') || ', booked ' || booked END
	FROM (SELECT name, doc_key, booked,
			(SELECT sum(e.points) FROM loyalty.explain(name, doc_key) e WHERE e.calculation = 'booked') AS told
		FROM (SELECT s.name, d.doc_key, sum(d.points) AS booked
			FROM loyalty.document d JOIN loyalty.source s USING (source_id) JOIN loyalty.program p USING (program_id)
				JOIN rnd.world v ON v.w = p.name AND v.oracle = 'exact'
			GROUP BY 1, 2 HAVING bool_and(d.state = 'booked') ORDER BY md5(d.doc_key) LIMIT 300) d) x;

-- baskets; the third basket of ten is empty
CREATE TEMP TABLE basket AS
	SELECT n, w.w, lines, array_agg(CASE WHEN n % 10 = 3 THEN 0 WHEN n % 3 = 0 THEN trunc(random() * 500) ELSE trunc(random() * 50000) / 100 END::numeric) AS amounts,
		CASE WHEN w.paid AND n % 2 = 0 THEN 0.25 ELSE 0 END AS share,
		date '2024-06-30' + n % 2 AS day
	FROM generate_series(1, 30) n, rnd.world w,
		LATERAL (SELECT EXISTS (SELECT FROM rnd.rule r WHERE r.w = w.w AND r.applies_to = 'line') AS lines) k,
		LATERAL generate_series(1, CASE WHEN lines THEN 1 + n % 3 ELSE 1 END) i
	WHERE w.oracle = 'exact' AND w.companies IS NULL
	GROUP BY n, w.w, lines, w.paid;

SELECT CASE WHEN told = due THEN 'ok - quote' ELSE 'not ok - quote_earn in world ' || w || ' for ' || amounts::text || ' of which paid '
		|| paid || ' on ' || day || ': tells ' || coalesce(told::text, 'nothing') || ', due ' || due END
	FROM (SELECT b.*, (rnd.award(w, day, total, paid, amounts, array_fill(true, ARRAY[cardinality(amounts)]), total)).points AS due,
			(SELECT q.points FROM loyalty.quote_earn(w, 'nobody', total,
				CASE WHEN lines THEN (SELECT jsonb_agg(jsonb_build_object('key', i, 'amount', amounts[i])) FROM generate_subscripts(amounts, 1) i) END,
				paid, (day + time '12:00') AT TIME ZONE (SELECT zone FROM rnd.world v WHERE v.w = b.w)) q
				ORDER BY step DESC LIMIT 1) AS told
		FROM (SELECT *, round(total * share, 2) AS paid FROM (SELECT *, (SELECT sum(a) FROM unnest(amounts) a) AS total FROM basket) b) b) x;

SELECT CASE WHEN count(*) = :entries AND NOT EXISTS (SELECT FROM loyalty.member WHERE customer = 'nobody')
	THEN 'ok - nothing was written' ELSE 'not ok - an answer wrote something' END FROM loyalty.entry;
