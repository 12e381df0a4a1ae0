-- Who buys, how lately, how often, for how much: scores, segments, snapshots.
CREATE SCHEMA rf_erp;
SET search_path = rf_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, at timestamptz, total numeric, refund_of integer);
SELECT loyalty.create_program('rf club', 'Europe/Madrid', 'EUR') > 0 AS created;
SELECT loyalty.set_rule('rf club', 'base', 1, 10) > 0 AS created;
SELECT loyalty.attach('rf invoice', 'rf club', 'invoice', 'r.id', 'r.customer', 'r.at', amount => 'r.total',
	return_of => 'r.refund_of') > 0 AS attached;
INSERT INTO invoice VALUES
	(1, 'ana', '2024-01-10 10:00+01', 100), (2, 'ana', '2024-02-10 10:00+01', 120), (3, 'ana', '2024-03-10 10:00+01', 140),
	(4, 'ben', '2024-01-15 10:00+01', 500), (5, 'ben', '2024-01-20 10:00+01', 300),
	(6, 'cleo', '2024-03-01 10:00+01', 20), (7, 'dan', '2024-02-20 10:00+01', 60),
	(8, 'eva', '2024-03-05 10:00+01', 900), (9, 'eva', '2024-03-09 10:00+01', 50);
-- all of the 900 comes back, in two parts
INSERT INTO invoice VALUES (10, 'eva', '2024-03-12 10:00+01', -600, 8), (11, 'eva', '2024-03-13 10:00+01', -300, 8);
SELECT loyalty.enrol('rf club', 'finn', '2024-03-01') > 0 AS enrolled;
SELECT customer, population, recency_days, frequency, monetary, r, f, m, segment
FROM loyalty.rfm('2024-03-15', program => 'rf club') JOIN loyalty.member USING (member_id) ORDER BY customer;
-- the day before the second part came back the sale still counted
SELECT customer, recency_days, frequency, monetary, r, f, m
FROM loyalty.rfm('2024-03-12', program => 'rf club') JOIN loyalty.member USING (member_id) WHERE customer = 'eva';
SELECT customer, population, frequency, monetary, r, f, m
FROM loyalty.rfm('2024-03-15', 30, 'ntile', 'rf club') JOIN loyalty.member USING (member_id) ORDER BY customer;

-- kept figures, for dashboards
SELECT loyalty.refresh_analytics('rf club', '2024-03-15');
SELECT segment, segment_label, members, member_share, net_amount, avg_recency_days, avg_frequency, avg_monetary
FROM loyalty.segment_summary WHERE program = 'rf club' ORDER BY position, segment;
-- only what has changed is read again
INSERT INTO invoice VALUES (12, 'dan', '2024-03-14 10:00+01', 70);
SELECT count(*) FROM loyalty.check() WHERE problem ~ 'member_day';
SELECT loyalty.refresh_analytics('rf club', '2024-03-15') BETWEEN 1 AND 5 AS read_again;
SELECT customer, recency_days, frequency, monetary FROM loyalty.rfm_current JOIN loyalty.member USING (member_id)
WHERE customer = 'dan' AND program = 'rf club';
UPDATE invoice SET customer = 'cleo' WHERE id IN (7, 12);
SELECT loyalty.refresh_analytics('rf club', '2024-03-15') BETWEEN 2 AND 5 AS read_again;
SELECT customer, population, recency_days, frequency, monetary FROM loyalty.rfm_current JOIN loyalty.member USING (member_id)
WHERE customer IN ('cleo', 'dan') AND program = 'rf club' ORDER BY customer;
SELECT * FROM loyalty.check();

-- snapshots, and who moved
SELECT loyalty.take_rfm_snapshot('rf club', '2024-02-01'), loyalty.take_rfm_snapshot('rf club', '2024-03-15');
SELECT from_as_of, to_as_of, from_segment, to_segment, members, from_share
FROM loyalty.rfm_migration WHERE program = 'rf club' ORDER BY from_segment, to_segment;

-- a segment model of one's own
SELECT loyalty.copy_segment_model('grid', 'rf mine');
SELECT loyalty.set_segment('rf mine', 'vip', '..[45]', 'Big spenders');
SELECT * FROM loyalty.check_segments('rf mine');
SELECT loyalty.set_rfm('rf club', model => 'rf mine');
SELECT loyalty.refresh_analytics('rf club', '2024-03-15') >= 0 AS refreshed;
SELECT customer, rfm_code, segment, segment_label FROM loyalty.rfm_current JOIN loyalty.member USING (member_id)
WHERE program = 'rf club' AND segment = 'vip';
UPDATE loyalty.segment SET position = 1 WHERE model = 'grid';

-- a figure that somebody has touched is found, and made right again
UPDATE loyalty.member_day SET gross = gross + 1 WHERE member_id = loyalty.member_id('rf club', 'ana') AND day = '2024-01-10';
DO $$ DECLARE i integer; BEGIN
	-- whatever else runs in this cluster, the figures are older than the check
	FOR i IN 1 .. 100 LOOP
		EXIT WHEN EXISTS (SELECT FROM loyalty.check() WHERE problem ~ 'member_day');
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
SELECT problem, count(*) FROM loyalty.check() GROUP BY problem ORDER BY problem COLLATE "C";
SELECT loyalty.refresh_analytics('rf club', '2024-03-15', rebuild => true);
SELECT * FROM loyalty.check();
