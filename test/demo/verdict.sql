-- The end of both demonstrations: what was compared, the state of the sources,
-- and the proof of the books.  Fails unless everything agrees.

INSERT INTO comparison
SELECT 'documents that wait or are parked', '0', (SELECT count(*)::text FROM loyalty.pending)
UNION ALL
SELECT 'documents that verify() would book otherwise', '0',
	(SELECT count(*)::text FROM loyalty.source s, loyalty.verify(s.name));

\echo '== status()'
SELECT * FROM loyalty.status();

\echo '== Comparisons'
SELECT what, wanted, booked, CASE WHEN wanted = booked THEN 'agrees' ELSE 'DIFFERS' END AS verdict
FROM comparison;

\echo '== check(): violations'
SELECT * FROM loyalty.check();

DO $$
DECLARE
	v_violations bigint := (SELECT count(*) FROM loyalty.check());
	v_differences bigint := (SELECT count(*) FROM comparison WHERE wanted IS DISTINCT FROM booked);
BEGIN
	IF v_violations > 0 OR v_differences > 0 THEN
		RAISE EXCEPTION 'check() found % violations, % comparisons differ', v_violations, v_differences;
	END IF;
END
$$;
