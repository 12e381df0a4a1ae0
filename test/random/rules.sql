/*
 * The worlds in which random histories with rules are played, see rules.pl.
 *
 * A world is one programme and one pair of ERP tables:
 *
 *	doc		sales and returns; of names the sale that is returned
 *	line	their lines; of_line names the line that is returned, or the return
 *			is by value
 *
 * Conditions are SQL, and so the oracle evaluates the very same text, over
 * rows that it has worked out by itself.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

CREATE SCHEMA rul;

CREATE TABLE rul.world (
	w			text PRIMARY KEY,
	stacking	text NOT NULL,
	unit		numeric NOT NULL DEFAULT 1,
	rounding	text NOT NULL DEFAULT 'down',
	scope		text NOT NULL DEFAULT 'document',
	evaluate	text NOT NULL DEFAULT 'commit',
	zone		text NOT NULL DEFAULT 'UTC',
	tier_rate	numeric NOT NULL DEFAULT 1,
	-- exact: every sale's points; carry: the balance to less than a unit;
	-- budget: first come, first served, so only the engine's own proofs
	oracle		text NOT NULL DEFAULT 'exact'
);
INSERT INTO rul.world VALUES
	('m', 'multiply', 1, 'down', 'document', 'commit', 'UTC', 1, 'exact'),
	('x', 'max', 0.01, 'half_up', 'document', 'statement', 'Asia/Kolkata', 1.25, 'exact'),
	('p', 'add', 0.1, 'up', 'line', 'commit', 'America/New_York', 1, 'exact'),
	('h', 'multiply', 1, 'half_even', 'document', 'queue', 'UTC', 1.5, 'exact'),
	('c', 'multiply', 0.01, 'down', 'document', 'commit', 'Europe/Berlin', 1, 'exact'),
	('r', 'multiply', 1, 'up', 'line', 'commit', 'UTC', 1, 'exact'),
	('k', 'multiply', 1, 'down', 'carry', 'commit', 'UTC', 1, 'carry'),
	('b', 'multiply', 1, 'down', 'document', 'commit', 'UTC', 1, 'budget');

CREATE TABLE rul.rule (
	w text, name text, kind text, points numeric, per numeric, factor numeric, mode text DEFAULT 'proportional',
	applies_to text DEFAULT 'document', multiplied boolean, condition text, grp text, priority integer DEFAULT 0,
	cap_document numeric, cap_day numeric, cap_week numeric, cap_month numeric, cap_year numeric, cap_lifetime numeric, budget numeric,
	PRIMARY KEY (w, name)
);

-- everybody's
INSERT INTO rul.rule (w, name, kind, points, per) SELECT w, 'base', 'amount', 1, 10 FROM rul.world;
INSERT INTO rul.rule (w, name, kind, condition) SELECT w, 'gift', 'exclusion', 'line.category = ''X''' FROM rul.world;

-- m: lines, thresholds and factors
INSERT INTO rul.rule (w, name, kind, points, per, factor, mode, applies_to, multiplied, condition, grp, priority) VALUES
	('m', 'steps', 'amount', 3, 50, NULL, 'step', 'line', NULL, 'line.category = ''B''', NULL, 0),
	('m', 'units', 'unit', 2, 1, NULL, 'proportional', 'document', false, 'line.category IN (''B'', ''C'')', NULL, 0),
	('m', 'pairs', 'unit', 5, 2, NULL, 'step', 'document', NULL, 'line.category = ''C''', NULL, 0),
	('m', 'double', 'multiplier', NULL, NULL, 2, 'proportional', 'document', NULL, 'line.category = ''B''', NULL, 0),
	('m', 'web', 'multiplier', NULL, NULL, 1.5, 'proportional', 'document', NULL, 'invoice.channel = ''web''', NULL, 0),
	('m', 'big', 'bonus', 50, NULL, NULL, 'proportional', 'document', NULL, 'document.amount >= 500', NULL, 0),
	('m', 'dear', 'bonus', 7, NULL, NULL, 'proportional', 'line', true, 'line.amount >= 100', NULL, 0),
	('m', 'rung 2', 'bonus', 30, NULL, NULL, 'proportional', 'document', NULL, 'document.amount >= 300', 'ladder', 2),
	('m', 'rung 1', 'bonus', 10, NULL, NULL, 'proportional', 'document', NULL, 'document.amount >= 100', 'ladder', 1),
	('m', 'many', 'multiplier', NULL, NULL, 3, 'proportional', 'document', NULL, 'line.qty >= 4', 'qty', 2),
	('m', 'some', 'multiplier', NULL, NULL, 2, 'proportional', 'document', NULL, 'line.qty >= 2', 'qty', 1);
-- x and p: other ways to stack and to round
INSERT INTO rul.rule (w, name, kind, points, per, factor, mode, applies_to, multiplied, condition)
	SELECT w, r.* FROM (VALUES ('x'), ('p')) v (w), LATERAL (VALUES
		('steps', 'amount', 3, 40, NULL, 'step', 'document', NULL::boolean, 'line.category IN (''B'', ''C'')'),
		('units', 'unit', 1.25, 1, NULL, 'proportional', 'line', NULL, 'line.category = ''B'''),
		('double', 'multiplier', NULL, NULL, 2, 'proportional', 'document', NULL, 'line.category = ''B'''),
		('half', 'multiplier', NULL, NULL, 0.5, 'proportional', 'document', NULL, 'document.amount < 50'),
		('early', 'multiplier', NULL, NULL, 1.5, 'proportional', 'document', NULL, 'document.hour < 12 OR document.weekday = 7'),
		('dear', 'bonus', 7.77, NULL, NULL, 'proportional', 'line', NULL, 'line.amount > 100'),
		('first', 'bonus', 100, NULL, NULL, 'proportional', 'document', true, 'member.purchase_count = 0'),
		('regular', 'multiplier', NULL, NULL, 1.2, 'proportional', 'document', NULL, 'member.month_count >= 1 AND line.category <> ''C''')) r;
-- h: what was bought before, also in exclusive groups
INSERT INTO rul.rule (w, name, kind, points, factor, condition, grp, priority) VALUES
	('h', 'first', 'bonus', 100, NULL, 'member.purchase_count = 0', 'greeting', 2),
	('h', 'every', 'bonus', 3, NULL, NULL, 'greeting', 1),
	('h', 'third', 'bonus', 33, NULL, '(member.purchase_count + 1) % 3 = 0', NULL, 0),
	('h', 'year', 'bonus', 200, NULL, 'member.year_amount < 500 AND member.year_amount + document.amount >= 500', NULL, 0),
	('h', 'ever', 'bonus', 11, NULL, 'member.lifetime_amount > 700', NULL, 0),
	('h', 'back', 'bonus', 40, NULL, 'member.days_since_last_purchase >= 30', NULL, 0),
	('h', 'cycle', 'bonus', 5, NULL, 'member.days_since_last_purchase <= member.cycle_days', NULL, 0),
	('h', 'month', 'multiplier', NULL, 2, 'line.amount > 10 AND (member.month_amount >= 200 OR member.year_count >= 4)', 'factor', 2),
	('h', 'from', 'multiplier', NULL, 1.1, 'document.date - member.first_purchase_on > 20 AND member.last_purchase_on < document.date', 'factor', 3),
	('h', 'lines', 'multiplier', NULL, 1.5, 'line.category = ''B''', 'factor', 1);
-- c: caps
UPDATE rul.rule SET cap_document = 25 WHERE w = 'c' AND name = 'base';
INSERT INTO rul.rule (w, name, kind, points, per, factor, condition, cap_document, cap_day, cap_week, cap_month, cap_year, cap_lifetime) VALUES
	('c', 'day', 'amount', 1, 5, NULL, 'line.category = ''B''', NULL, 15, NULL, NULL, NULL, NULL),
	('c', 'week', 'unit', 3, 1, NULL, 'line.category = ''C''', NULL, NULL, 10, 17.5, NULL, NULL),
	('c', 'year', 'bonus', 20, NULL, NULL, 'document.amount >= 50', NULL, NULL, NULL, NULL, 50, 70),
	('c', 'double', 'multiplier', NULL, NULL, 2, 'invoice.channel = ''web''', NULL, NULL, NULL, NULL, NULL, NULL),
	('c', 'all', 'cap', NULL, NULL, NULL, NULL, 60, 75, NULL, 150, NULL, NULL);
-- r: the same caps of whole units, of which what lines have no unit of is a part
INSERT INTO rul.rule (w, name, kind, points, per, factor, condition, cap_document, cap_day, cap_week, cap_month, cap_year, cap_lifetime)
	SELECT 'r', name, kind, points, per, factor, condition, cap_document, cap_day, cap_week, cap_month, cap_year, cap_lifetime
	FROM rul.rule WHERE w = 'c' AND name IN ('day', 'week', 'year', 'double', 'all');
-- k: carried remainders
INSERT INTO rul.rule (w, name, kind, points, factor, condition) VALUES
	('k', 'double', 'multiplier', NULL, 2, 'line.category = ''B'''),
	('k', 'first', 'bonus', 10.5, NULL, 'member.purchase_count = 0'),
	('k', 'big', 'bonus', 50, NULL, 'document.amount >= 300');
-- b: budgets
INSERT INTO rul.rule (w, name, kind, points, per, condition, cap_month, budget) VALUES
	('b', 'launch', 'bonus', 25, NULL, 'document.amount > 20', NULL, 3000),
	('b', 'extra', 'amount', 1, 3, 'line.category = ''B''', 60, 1500);

CREATE FUNCTION rul.set_up(w rul.world) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE SCHEMA u_%s', w.w);
	EXECUTE format('CREATE TABLE u_%s.doc (key text PRIMARY KEY, customer text, at timestamptz NOT NULL, posted boolean NOT NULL,
		void boolean NOT NULL DEFAULT false, channel text, of text, memo text)', w.w);
	EXECUTE format('CREATE TABLE u_%s.line (key text PRIMARY KEY, parent text, category text, qty numeric, amount numeric NOT NULL, of_line text)', w.w);
	EXECUTE format('CREATE INDEX ON u_%s.line (parent)', w.w);
	EXECUTE format('CREATE INDEX ON u_%s.doc (of)', w.w);
	PERFORM loyalty.create_program('u_' || w.w, w.zone, point_unit => w.unit, rounding => w.rounding, rounding_scope => w.scope, stacking => w.stacking);
	PERFORM loyalty.set_tier('u_' || w.w, 'All', 0, w.tier_rate);
	PERFORM loyalty.attach('u_' || w.w, 'u_' || w.w, format('u_%s.doc', w.w)::regclass, key => 'r.key', customer => 'r.customer', doc_date => 'r.at',
		posted => 'r.posted', void => 'r.void', channel => 'r.channel', return_of => 'r.of',
		lines => format('u_%s.line', w.w)::regclass, line_parent => 'l.parent', line_key => 'l.key', line_category => 'l.category',
		line_qty => 'l.qty', line_amount => 'l.amount', line_return_of => 'l.of_line', evaluate => w.evaluate);
	PERFORM loyalty.set_rule('u_' || r.w, r.name, r.points, r.per, r.mode, r.applies_to, kind => r.kind, factor => r.factor, condition => r.condition,
			multiplied => r.multiplied, exclusive_group => r.grp, priority => r.priority, cap_document => r.cap_document, cap_day => r.cap_day,
			cap_week => r.cap_week, cap_month => r.cap_month, cap_year => r.cap_year, cap_lifetime => r.cap_lifetime, budget => r.budget)
		FROM rul.rule r WHERE r.w = (set_up.w).w ORDER BY r.name;
END $$;
SELECT rul.set_up(v) FROM rul.world v ORDER BY v.w \g /dev/null
