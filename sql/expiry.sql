-- Points do not last for ever: days, lapses, return windows.
CREATE TABLE ex_invoice (no integer PRIMARY KEY, customer text, at timestamptz, total numeric, paid_on date, returns integer);
SELECT loyalty.create_program('ex club', 'Europe/Berlin') > 0 AS created;
SELECT loyalty.set_rule('ex club', 'base', 1, 1) > 0 AS rule;
SELECT loyalty.set_rule('ex club', 'summer', kind => 'bonus', points => 50, condition => 'document.month IN (6, 7, 8)', expires => '30 days') > 0 AS rule;
SELECT loyalty.set_redemption('ex club', 0.01);
SELECT loyalty.set_expiry('ex club', 'end of month + 2', usable_after => 14);
SELECT loyalty.attach('ex', 'ex club', 'ex_invoice', key => 'r.no', customer => 'r.customer', doc_date => 'r.at', amount => 'r.total',
	return_of => 'r.returns', usable_from => 'r.paid_on') > 0 AS attached;
INSERT INTO ex_invoice VALUES (1, 'ann', '2024-06-10 12:00+02', 100, '2024-06-10'), (2, 'ann', '2024-09-01 12:00+02', 40, NULL);
SELECT kind, points, expires_on, usable_from FROM loyalty.entry WHERE member_id = loyalty.member_id('ex club', 'ann') ORDER BY seq;

-- what can be spent, day by day, and no job has run
SELECT d.day, p.* FROM (VALUES ('2024-06-23 12:00+02'::timestamptz), ('2024-06-24 12:00+02'), ('2024-07-10 23:59:59+02'), ('2024-07-11 00:00+02'),
	('2024-08-31 23:59:59+02'), ('2024-09-01 00:00+02')) d (day) CROSS JOIN loyalty.points('ex club', 'ann', d.day) p ORDER BY 1;
SELECT loyalty.answer('ex club', 'ann', 'expiry', '2024-06-30');

-- upkeep writes down what is true, and changes nothing
SELECT done FROM loyalty.expire_points('2024-07-11 00:00+02');
SELECT loyalty.balance('ex club', 'ann', '2024-07-10 23:59:59+02') AS before, loyalty.balance('ex club', 'ann', '2024-07-11 00:00+02') AS after;
SELECT kind, points, occurred_at FROM loyalty.entry WHERE member_id = loyalty.member_id('ex club', 'ann') AND kind = 'expire';
SELECT loyalty.answer('ex club', 'ann', 'expiry', '2024-06-30');

-- the second bill is paid, and then returned
UPDATE ex_invoice SET paid_on = '2024-09-20' WHERE no = 2;
SELECT pending, available FROM loyalty.points('ex club', 'ann', '2024-09-19 12:00+02');
SELECT pending, available FROM loyalty.points('ex club', 'ann', '2024-09-20 12:00+02');
INSERT INTO ex_invoice VALUES (3, 'ann', '2024-09-21 12:00+02', -40, '2024-09-21', 2);
SELECT loyalty.balance('ex club', 'ann', '2024-09-22');

-- staff makes up for what expired
SELECT points, balance FROM loyalty.reinstate_points('ex club', 'ann', '2024-07-01', '2024-12-31', 'was ill', 'again', '2024-09-22');
SELECT loyalty.reinstate_points('ex club', 'ann', '2024-07-01', '2024-12-31', 'was ill', 'and again', '2024-09-22');

-- mistakes
SELECT loyalty.set_expiry('ex club', 'sometime soon');
SELECT loyalty.set_expiry('ex club', '1 year', lapse_after => 'end of year');
SELECT loyalty.extend_points('ex club', 'ann', '2024-01-01', 'x', 'x', at => '2024-09-22');
SELECT * FROM loyalty.check();
