-- A campaign from its plan to its result.  The shop sells to members and to
-- others; half a year's figures are small enough to be followed by hand.
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE TABLE cg_sale (id integer PRIMARY KEY, customer text, day date, total numeric, return_of integer);
SELECT loyalty.create_program('cg club', 'UTC', 'EUR', enrolment => 'explicit') > 0 AS ok;
SELECT loyalty.set_rule('cg club', 'base', 1, 10) > 0 AS ok;
SELECT loyalty.set_rule('cg club', 'triple', kind => 'multiplier', factor => 3, valid_from => '2024-06-01', valid_to => '2024-06-30') > 0 AS ok;
SELECT loyalty.set_redemption('cg club', 0.1);
SELECT loyalty.attach('cg', 'cg club', 'cg_sale', 'r.id', 'r.customer', 'r.day', amount => 'r.total', return_of => 'r.return_of', evaluate => 'statement') > 0 AS ok;
SELECT count(loyalty.enrol('cg club', 'm' || i, '2024-01-01')) FROM generate_series(1, 40) i;
-- the figures of customers who are no members are read at every refresh
SELECT loyalty.set_non_members('cg');

-- the plan: a quarter is held out; what decides is published with the seed
SELECT loyalty.create_campaign('cg club', 'summer', '2024-06-01', '2024-06-30', holdout_percent => 25, rules => '{triple}',
	cost => 30, contact_cost => 0.5, margin => 0.4, goal => 'more in June', seed => 'summer 2024') > 0 AS ok;
SELECT t.targeted + t.control AS chosen, t.known, t.control BETWEEN 3 AND 18 AS about_a_quarter
FROM loyalty.target_campaign('cg club', 'summer', everybody => true, at => '2024-05-20') t;
-- again: nobody is added, nobody moves
SELECT * FROM loyalty.target_campaign('cg club', 'summer', everybody => true, at => '2024-05-21');
SELECT count(*) AS differ FROM loyalty.campaign_member m JOIN loyalty.campaign c USING (campaign_id)
WHERE c.name = 'summer' AND m.assigned <> loyalty.campaign_group(c.seed, m.member_id, c.holdout_percent);

-- June: everybody in the target group buys for 100, and one of it has it all taken back; everybody held out buys for 50
INSERT INTO cg_sale SELECT row_number() OVER (ORDER BY e.customer), e.customer, '2024-06-10', CASE e.group_name WHEN 'target' THEN 100 ELSE 50 END
FROM loyalty.export_campaign('cg club', 'summer', NULL) e;
INSERT INTO cg_sale SELECT 100, s.customer, '2024-07-02', -100, s.id FROM cg_sale s WHERE s.total = 100 ORDER BY s.id LIMIT 1;
-- so do others, before and in June
INSERT INTO cg_sale SELECT 200 + i, 'n' || i, '2024-05-10', 20 FROM generate_series(1, 10) i;
INSERT INTO cg_sale SELECT 300 + i, 'n' || i, '2024-06-10', 30 FROM generate_series(1, 10) i;
SELECT loyalty.refresh_analytics('cg club', '2024-07-31');
SELECT loyalty.refresh_details('cg club', '2024-07-31');

-- the result, with the numbers of both groups divided out: n is what they are
SELECT design, is_final, target_members - target_buyers AS lost, control_members - control_buyers AS control_lost,
	round(target_net_amount / (target_members - 1), 2) AS net_per_buyer, control_net_amount_per_member,
	round(rule_points / (target_members - 1), 2) AS points_per_buyer, round(control_rule_points / control_members, 2) AS control_points,
	points_cost = rule_points / 10 AS cost_of_points, campaign_cost - 0.5 * target_members AS fixed_cost,
	round(incremental_net_amount / target_members, 2) = net_amount_uplift AS per_member, roi = round((incremental_margin - total_cost) / total_cost, 4) AS return_on_cost
FROM loyalty.campaign_result WHERE campaign = 'summer';
-- the rules were in force for all: the control group's points say so.  Its members were not told.

SELECT month, is_member, is_guest, customers, sales, net_amount, net_share FROM loyalty.sales_by_membership WHERE program = 'cg club' AND NOT is_member ORDER BY month;
SELECT comparison, design, members, others, other_mean, is_small FROM loyalty.program_roi('cg club', '2024-06-01', '2024-06-30') ORDER BY 1;

-- the figures follow from the documents, and a change of them is seen
SELECT * FROM loyalty.check();
UPDATE loyalty.campaign_outcome o SET sales = o.sales + 1 FROM loyalty.campaign c WHERE c.campaign_id = o.campaign_id AND c.name = 'summer' AND o.gross = 50;
SELECT DISTINCT problem FROM loyalty.check() ORDER BY 1;
SELECT loyalty.refresh_analytics('cg club', '2024-07-31', rebuild => true);
SELECT * FROM loyalty.check();
-- one document is changed: only its customer is read again
UPDATE cg_sale SET total = 70 WHERE id = (SELECT min(id) FROM cg_sale WHERE total = 50);
SELECT loyalty.refresh_analytics('cg club', '2024-07-31');
SELECT control_net_amount - 50 * control_members AS more FROM loyalty.campaign_result WHERE campaign = 'summer';
SELECT * FROM loyalty.check();
SELECT loyalty.detach('cg');
DROP TABLE cg_sale;
