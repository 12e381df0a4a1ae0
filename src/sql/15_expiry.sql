-- How long points last, and from when they can be spent.

CREATE TABLE loyalty.expiry_policy (
	program_id      integer PRIMARY KEY,
	expires         text NOT NULL DEFAULT 'never' CHECK (loyalty.expires_on(expires, '2000-01-01') IS NOT NULL),
	lapse_after     text CHECK (lapse_after IS NULL OR loyalty.expires_on(lapse_after, '2000-01-01') IS NOT NULL),
	lapse_activities text[] NOT NULL DEFAULT '{earn,event,redeem}'
		CHECK (lapse_activities <@ '{earn,event,redeem,adjust,transfer}'),
	usable_after    integer NOT NULL DEFAULT 0 CHECK (usable_after BETWEEN 0 AND 3660),
	points_until    date NOT NULL DEFAULT 'infinity'
);
COMMENT ON TABLE loyalty.expiry_policy IS 'how long points of a programme last; without a row they never expire and can be spent at once';
COMMENT ON COLUMN loyalty.expiry_policy.program_id IS 'programme';
COMMENT ON COLUMN loyalty.expiry_policy.expires IS 'when points expire: never, 12 months, 90 days, 2 years, end of month (quarter, year) + n, every MM-DD + n years; tiers and rules may say otherwise';
COMMENT ON COLUMN loyalty.expiry_policy.lapse_after IS 'all points of a member lapse so long (12 months, 90 days) after his last activity; NULL: never';
COMMENT ON COLUMN loyalty.expiry_policy.lapse_activities IS 'kinds of entries that count as activity: earn, event, redeem, adjust, transfer';
COMMENT ON COLUMN loyalty.expiry_policy.usable_after IS 'days after a sale until its points can be spent (return window)';
COMMENT ON COLUMN loyalty.expiry_policy.points_until IS 'last day on which any points of the programme are valid; infinity: it goes on';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON loyalty.expiry_policy
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.config_changed();
ALTER TABLE loyalty.expiry_policy ENABLE ALWAYS TRIGGER config_changed;
