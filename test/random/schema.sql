/*
 * The worlds in which random histories are played.
 *
 * A world is one programme and three ERP tables that feed it:
 *
 *	inv	invoices with lines, keyed by text
 *	crn	credit notes, a second source, amounts stored positive; linked to
 *		an invoice by document (of_inv), by line (of_line), or not at all
 *	pos	tickets without lines; a negative total is a return, of_no links
 *		it to a ticket (and a positive one to the return it gives back)
 *
 * The worlds differ in what they round and how, in their rules and in the
 * time of evaluation.  Their ladder is flat (one rate for all), so the points
 * of a document depend on the final state of the ERP's tables alone and not
 * on the way that led there; tiers.sql is for the rest.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

CREATE SCHEMA rnd;

CREATE TABLE rnd.world (
	w			text PRIMARY KEY,
	unit		numeric NOT NULL DEFAULT 1,
	rounding	text NOT NULL DEFAULT 'down',
	scope		text NOT NULL DEFAULT 'document',
	evaluate	text NOT NULL DEFAULT 'commit',
	unlinked	text NOT NULL DEFAULT 'negative',
	negative	text NOT NULL DEFAULT 'debt',
	zone		text NOT NULL DEFAULT 'UTC',
	tier_rate	numeric NOT NULL DEFAULT 1,
	companies	text[],
	inv_amount	boolean NOT NULL DEFAULT false,	-- is inv.amount mapped?
	crn_amount	boolean NOT NULL DEFAULT false,	-- is crn.total mapped?
	-- what the generator may use here
	pos			boolean NOT NULL DEFAULT false,	-- tickets
	unl			boolean NOT NULL DEFAULT false,	-- returns without an original
	disc		boolean NOT NULL DEFAULT false,	-- discount lines
	earns		boolean NOT NULL DEFAULT false,	-- lines that do not earn
	paid		boolean NOT NULL DEFAULT false,	-- payment with points
	fx			boolean NOT NULL DEFAULT false,	-- other currencies
	-- exact: the oracle knows every document's points; carry: it knows the
	-- balance to less than a unit; path: points depend on the order of events
	-- by design, so only the engine's own proofs are asked for
	oracle		text NOT NULL DEFAULT 'exact' CHECK (oracle IN ('exact', 'carry', 'path'))
);

INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, paid) VALUES
	('a', 1, 'down', 'document', 'commit', true, true, true);
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, disc, inv_amount, crn_amount) VALUES
	('b', 0.1, 'up', 'document', 'commit', true, true, true, true, true);
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, paid, fx) VALUES
	('c', 0.01, 'half_up', 'document', 'statement', true, true, true, true);
-- a rate other than 1 is lost while the qualifying amount is below the first
-- threshold, which a return without an original can bring about: none here
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, paid, tier_rate) VALUES
	('d', 0.01, 'half_even', 'document', 'queue', true, true, 1.25);
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, unl, paid) VALUES
	('e', 1, 'half_up', 'line', 'commit', true, true);
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, unl, earns, zone) VALUES
	('f', 0.1, 'down', 'line', 'statement', true, true, 'Asia/Tokyo');
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, unl, inv_amount) VALUES
	('g', 1, 'half_even', 'line', 'queue', true, true);
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, unlinked, zone) VALUES
	('h', 1, 'up', 'document', 'commit', true, true, 'ignore', 'America/New_York');
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, disc, earns, companies) VALUES
	('i', 1, 'half_even', 'document', 'commit', true, true, true, true, '{north,south}');
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, unl, paid, crn_amount, zone) VALUES
	('j', 0.1, 'half_up', 'document', 'statement', true, true, true, 'Asia/Tokyo');
INSERT INTO rnd.world (w, unit, rounding, scope, evaluate, pos, unl, paid, oracle) VALUES
	('k', 1, 'down', 'carry', 'commit', true, true, true, 'carry');
INSERT INTO rnd.world (w, unit, rounding, negative, evaluate, pos, unl, oracle) VALUES
	('l', 0.1, 'down', 'write_off', 'commit', true, true, 'path');
INSERT INTO rnd.world (w, unit, rounding, unlinked, evaluate, pos, unl, oracle) VALUES
	('m', 1, 'half_up', 'clamp', 'statement', true, true, 'path');

CREATE TABLE rnd.rule (
	w			text NOT NULL REFERENCES rnd.world,
	name		text NOT NULL,
	points		numeric NOT NULL,
	per			numeric NOT NULL,
	mode		text NOT NULL DEFAULT 'proportional',
	applies_to	text NOT NULL DEFAULT 'document',
	valid_from	date NOT NULL DEFAULT '-infinity',
	valid_to	date NOT NULL DEFAULT 'infinity',
	PRIMARY KEY (w, name)
);

INSERT INTO rnd.rule (w, name, points, per, mode, applies_to, valid_from, valid_to) VALUES
	('a', 'base', 1, 30, 'proportional', 'document', '-infinity', 'infinity'),
	('b', 'base', 1, 7, 'proportional', 'document', '-infinity', 'infinity'),
	('c', 'base', 3, 7, 'proportional', 'document', '-infinity', 'infinity'),
	('c', 'hundreds', 1.25, 100, 'step', 'document', '-infinity', 'infinity'),
	('d', 'base', 1.5, 9.99, 'proportional', 'document', '-infinity', 'infinity'),
	('e', 'base', 1, 3, 'proportional', 'line', '-infinity', 'infinity'),
	('e', 'fifties', 5, 50, 'step', 'line', '-infinity', 'infinity'),
	('f', 'base', 1, 9, 'proportional', 'line', '-infinity', 'infinity'),
	('g', 'base', 1, 2, 'proportional', 'line', '-infinity', 'infinity'),
	('h', 'base', 1, 40, 'proportional', 'document', '-infinity', 'infinity'),
	('h', 'spring', 10, 25, 'step', 'document', '-infinity', '2024-06-30'),
	('h', 'summer', 1, 10, 'proportional', 'document', '2024-07-01', 'infinity'),
	('i', 'base', 1, 2, 'proportional', 'document', '-infinity', 'infinity'),
	('j', 'lines', 1, 9, 'proportional', 'line', '-infinity', 'infinity'),
	('j', 'document', 2, 15, 'step', 'document', '-infinity', 'infinity'),
	('k', 'base', 1, 30, 'proportional', 'document', '-infinity', 'infinity'),
	('l', 'base', 1, 3, 'proportional', 'document', '-infinity', 'infinity'),
	('m', 'base', 1, 8, 'proportional', 'document', '-infinity', 'infinity');

-- history and variant that a key or a customer belongs to: "12b-I03" is 12b
CREATE FUNCTION rnd.run(key text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT split_part(key, '-', 1) $$;

DO $setup$
DECLARE
	v rnd.world;
	v_docs text;
	v_lines text;
	r rnd.rule;
BEGIN
	FOR v IN SELECT * FROM rnd.world ORDER BY w LOOP
		EXECUTE replace($ddl$
			CREATE SCHEMA @;
			CREATE TABLE @.inv (key text PRIMARY KEY, customer text, at timestamptz, posted boolean,
				void boolean NOT NULL DEFAULT false, kind text NOT NULL DEFAULT 'out',
				amount numeric, paid numeric, memo text);
			CREATE TABLE @.inv_line (key text PRIMARY KEY, parent text, amount numeric,
				earns boolean NOT NULL DEFAULT true, memo text);
			CREATE TABLE @.crn (key text PRIMARY KEY, customer text, at timestamp,
				state text NOT NULL DEFAULT 'posted', of_inv text, total numeric, memo text);
			CREATE TABLE @.crn_line (key text PRIMARY KEY, parent text, amount numeric, of_line text);
			CREATE TABLE @.pos (no text PRIMARY KEY, customer text, day date, total numeric,
				paid numeric, fx numeric NOT NULL DEFAULT 1, company text NOT NULL DEFAULT 'north',
				void boolean NOT NULL DEFAULT false, of_no text, memo text);
			CREATE INDEX ON @.inv_line (parent);
			CREATE INDEX ON @.crn_line (parent);
			CREATE INDEX ON @.crn_line (of_line);
			CREATE INDEX ON @.crn (of_inv);
			CREATE INDEX ON @.pos (of_no);
			-- the oracle looks at one run at a time
			CREATE INDEX ON @.inv (rnd.run(key));
			CREATE INDEX ON @.inv_line (rnd.run(key));
			CREATE INDEX ON @.crn (rnd.run(key));
			CREATE INDEX ON @.crn_line (rnd.run(key));
			CREATE INDEX ON @.pos (rnd.run(no));
			$ddl$, '@', 'w_' || v.w);

		PERFORM loyalty.create_program(v.w, time_zone => v.zone, point_unit => v.unit,
			rounding => v.rounding, rounding_scope => v.scope, negative => v.negative,
			companies => v.companies);
		IF v.tier_rate <> 1 THEN
			PERFORM loyalty.set_tier(v.w, 'all', 0, v.tier_rate);
		END IF;
		FOR r IN SELECT * FROM rnd.rule WHERE w = v.w ORDER BY name LOOP
			PERFORM loyalty.set_rule(r.w, r.name, r.points, r.per, r.mode, r.applies_to, r.valid_from, r.valid_to);
		END LOOP;
		PERFORM loyalty.attach(v.w || '_inv', v.w, format('w_%s.inv', v.w)::regclass,
			key => 'r.key', customer => 'r.customer', doc_date => 'r.at', posted => 'r.posted',
			filter => 'r.kind = ''out''', void => 'r.void', paid_by_points => 'r.paid', company => '''north''',
			amount => CASE WHEN v.inv_amount THEN 'r.amount' END,
			lines => format('w_%s.inv_line', v.w)::regclass, line_parent => 'l.parent',
			line_key => 'l.key', line_amount => 'l.amount', line_filter => 'l.earns',
			evaluate => v.evaluate, unlinked => v.unlinked);
		PERFORM loyalty.attach(v.w || '_crn', v.w, format('w_%s.crn', v.w)::regclass,
			key => 'r.key', customer => 'r.customer', doc_date => 'r.at', posted => 'r.state = ''posted''',
			sign => '-1', company => '''north''', amount => CASE WHEN v.crn_amount THEN 'r.total' END,
			return_of => 'r.of_inv', return_source => v.w || '_inv',
			lines => format('w_%s.crn_line', v.w)::regclass, line_parent => 'l.parent',
			line_key => 'l.key', line_amount => 'l.amount', line_return_of => 'l.of_line',
			evaluate => v.evaluate, unlinked => v.unlinked);
		IF v.pos THEN
			PERFORM loyalty.attach(v.w || '_pos', v.w, format('w_%s.pos', v.w)::regclass,
				key => 'r.no', customer => 'r.customer', doc_date => 'r.day', amount => 'r.total',
				paid_by_points => 'r.paid', void => 'r.void', return_of => 'r.of_no',
				company => 'r.company', rate => 'r.fx',
				evaluate => v.evaluate, unlinked => v.unlinked);
		END IF;

		-- what the oracle reads: the ERP's tables of all worlds, and nothing else
		v_docs := concat_ws(' UNION ALL ', v_docs, replace(format($q$
			SELECT %1$L AS w, 'inv' AS src, key, customer, at AS at, (at AT TIME ZONE %2$L)::date AS day,
				(posted AND NOT void AND kind = 'out') IS TRUE AS counts,
				NULL::text AS of_key, 1::numeric AS fx, 1::numeric AS sign, amount AS total, coalesce(paid, 0) AS paid
			FROM @.inv
			UNION ALL
			SELECT %1$L, 'crn', key, customer, at AT TIME ZONE %2$L, at::date,
				(state = 'posted') IS TRUE, of_inv, 1, -1, total, 0
			FROM @.crn
			UNION ALL
			SELECT %1$L, 'pos', no, customer, day::timestamp AT TIME ZONE %2$L, day,
				NOT void AND (%3$L::text[] IS NULL OR company = ANY (%3$L::text[])),
				of_no, fx, 1, total, coalesce(paid, 0)
			FROM @.pos$q$, v.w, v.zone, v.companies), '@', 'w_' || v.w));
		v_lines := concat_ws(' UNION ALL ', v_lines, replace(format($q$
			SELECT %1$L AS w, 'inv' AS src, key, parent, amount, earns, NULL::text AS of_line FROM @.inv_line
			UNION ALL
			SELECT %1$L, 'crn', key, parent, -amount, true, of_line FROM @.crn_line$q$, v.w), '@', 'w_' || v.w));
	END LOOP;
	EXECUTE 'CREATE VIEW rnd.erp_doc AS ' || v_docs;
	EXECUTE 'CREATE VIEW rnd.erp_line AS ' || v_lines;
END
$setup$;
