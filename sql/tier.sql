-- A club by the calendar year: Silver from 1,000, Gold from 3,000 or with ten
-- purchases a year.  A tier is kept to the end of the next year.
CREATE SCHEMA tq_erp;
SET search_path = tq_erp;
SET TimeZone = 'UTC';
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, of integer);
SELECT loyalty.create_program('tq club', 'UTC') > 0 AS created;
SELECT loyalty.set_rule('tq club', 'base', 1, 10) > 0 AS created;
SELECT loyalty.set_tier('tq club', 'Basic', 0) > 0 AS created;
SELECT loyalty.set_tier('tq club', 'Silver', 1000, 1.5, discount => 3) > 0 AS created;
SELECT loyalty.set_tier('tq club', 'Gold', 3000, 2, benefits => '{"lounge": true}', gift_points => 100) > 0 AS created;
SELECT loyalty.set_tier_policy('tq club', time_window => 'calendar_year', retention => 12, demotion => 'one_level');
SELECT loyalty.set_tier_path('tq club', 'Gold', 'documents', 'calendar_year', NULL, 10);
SELECT loyalty.attach('tq invoice', 'tq club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.of') > 0 AS attached;
CREATE VIEW history AS SELECT c.at::date AS day, f.name AS from_tier, t.name AS to_tier, c.reason, c.until
	FROM loyalty.tier_change c JOIN loyalty.member m USING (member_id)
	LEFT JOIN loyalty.tier f ON f.tier_id = c.from_tier LEFT JOIN loyalty.tier t ON t.tier_id = c.to_tier
	WHERE m.program_id = loyalty.program_id('tq club') AND c.superseded_at IS NULL ORDER BY c.n;
-- the second invoice crosses, and earns at the new tier already
INSERT INTO invoice VALUES (1, 'ann', '2020-03-01', 800);
INSERT INTO invoice VALUES (2, 'ann', '2020-05-01', 2500);
SELECT d.doc_key, d.tier_before, t.name AS tier, d.points FROM loyalty.document d LEFT JOIN loyalty.tier t USING (tier_id)
WHERE d.source_id = (SELECT source_id FROM loyalty.source WHERE name = 'tq invoice') ORDER BY d.doc_key;
SELECT * FROM history;
-- Gold through 2021; 1,200 in 2021 are not enough, and one level is lost
INSERT INTO invoice VALUES (3, 'ann', '2021-07-01', 1200);
SELECT loyalty.tier('tq club', 'ann', d) FROM unnest('{2020-04-30, 2020-05-02, 2021-12-31 23:59:59, 2022-01-01, 2023-01-01}'::timestamptz[]) d;
SELECT * FROM history;
-- what is missing, as of then
SELECT purpose, metric, time_window, figure, threshold, missing, due FROM loyalty.tier_progress('tq club', 'ann', '2021-08-01');
SELECT DISTINCT tier, since, until, next_tier, projected_tier FROM loyalty.tier_progress('tq club', 'ann', '2021-08-01');
-- a return takes at once what was reached with it
INSERT INTO invoice VALUES (4, 'ann', '2020-06-01', -2500, 2);
SELECT loyalty.tier('tq club', 'ann', d) FROM unnest('{2020-05-31, 2020-06-02, 2021-07-02}'::timestamptz[]) d;
SELECT * FROM history;
-- staff gives Gold for a while
SELECT loyalty.override_tier('tq club', 'ann', 'Gold', '2030-06-30', 'long waiting', 'case 7', '2030-06-01');
SELECT loyalty.tier('tq club', 'ann', d) FROM unnest('{2030-05-31, 2030-06-30, 2030-07-01}'::timestamptz[]) d;
SELECT * FROM loyalty.check();
