-- The standing of members: how it changed, what staff overrides of it, and the
-- growth values that qualify.  Programmes whose tiers simply follow the
-- lifetime amount only use the history.

CREATE TABLE loyalty.tier_change (
	member_id       bigint NOT NULL,
	n               integer NOT NULL,
	at              timestamptz NOT NULL,
	from_tier       integer,
	to_tier         integer,
	reason          text NOT NULL CHECK (reason IN ('reached', 'return', 'review', 'override', 'settings')),
	until           date,
	recorded_at     timestamptz NOT NULL,
	superseded_at   timestamptz,
	PRIMARY KEY (member_id, n)
);
COMMENT ON TABLE loyalty.tier_change IS
'history of tiers: every change and renewal.  If a document changes the past, rows that do not hold any more are superseded and new ones follow';
COMMENT ON COLUMN loyalty.tier_change.member_id IS 'member';
COMMENT ON COLUMN loyalty.tier_change.n IS 'number of the row within the member';
COMMENT ON COLUMN loyalty.tier_change.at IS 'business time of the change';
COMMENT ON COLUMN loyalty.tier_change.from_tier IS 'tier before; NULL below the first one';
COMMENT ON COLUMN loyalty.tier_change.to_tier IS 'tier after, the same if it was renewed; NULL below the first one';
COMMENT ON COLUMN loyalty.tier_change.reason IS 'reached, return (or a correction), review (time passed), override (begun or ended), settings (of the programme changed)';
COMMENT ON COLUMN loyalty.tier_change.until IS 'last day for which the tier is kept from then on; NULL for no end';
COMMENT ON COLUMN loyalty.tier_change.recorded_at IS 'when the row was written';
COMMENT ON COLUMN loyalty.tier_change.superseded_at IS 'when it was found not to hold; NULL: it holds';

CREATE TABLE loyalty.tier_override (
	member_id       bigint NOT NULL,
	key             text COLLATE "C" NOT NULL,
	tier_id         integer NOT NULL,
	starts_at       timestamptz NOT NULL,
	until           date NOT NULL,
	reason          text NOT NULL,
	ended_at        timestamptz,
	recorded_at     timestamptz NOT NULL,
	recorded_by     text NOT NULL,
	PRIMARY KEY (member_id, key)
);
COMMENT ON TABLE loyalty.tier_override IS 'tiers given by staff: at least this tier until that day, then what is earned';
COMMENT ON COLUMN loyalty.tier_override.member_id IS 'member';
COMMENT ON COLUMN loyalty.tier_override.key IS 'key of the override, unique within the member';
COMMENT ON COLUMN loyalty.tier_override.tier_id IS 'tier the member has at least';
COMMENT ON COLUMN loyalty.tier_override.starts_at IS 'instant from which';
COMMENT ON COLUMN loyalty.tier_override.until IS 'last day (programme time) on which';
COMMENT ON COLUMN loyalty.tier_override.reason IS 'why';
COMMENT ON COLUMN loyalty.tier_override.ended_at IS 'instant at which end_override() ended it; NULL if it did not';
COMMENT ON COLUMN loyalty.tier_override.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN loyalty.tier_override.recorded_by IS 'role that did so';

CREATE TABLE loyalty.growth (
	member_id       bigint NOT NULL,
	key             text COLLATE "C" NOT NULL,
	value           numeric NOT NULL CHECK (value NOT IN ('NaN', 'Infinity', '-Infinity')),
	occurred_at     timestamptz NOT NULL,
	reason          text,
	recorded_at     timestamptz NOT NULL,
	recorded_by     text NOT NULL,
	PRIMARY KEY (member_id, key)
);
COMMENT ON TABLE loyalty.growth IS 'growth values of members that record_growth() gave, for tiers whose metric is growth; what rules give is in loyalty.document';
COMMENT ON COLUMN loyalty.growth.member_id IS 'member';
COMMENT ON COLUMN loyalty.growth.key IS 'key that the caller gave, unique within the member';
COMMENT ON COLUMN loyalty.growth.value IS 'growth; below 0 to correct an earlier one';
COMMENT ON COLUMN loyalty.growth.occurred_at IS 'business time';
COMMENT ON COLUMN loyalty.growth.reason IS 'what it was given for';
COMMENT ON COLUMN loyalty.growth.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN loyalty.growth.recorded_by IS 'role that did so';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.tier_change
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.tier_change
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.tier_override
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.tier_override
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.growth
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.growth
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
ALTER TABLE loyalty.tier_change ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.tier_change ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.tier_override ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.tier_override ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.growth ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.growth ENABLE ALWAYS TRIGGER guard_truncate;
