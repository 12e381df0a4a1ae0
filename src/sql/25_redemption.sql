-- What redeeming keeps: the programme's policy, calls and their answers,
-- redemptions, holds.  Written by the engine only, like the other books.

CREATE TABLE loyalty.redemption_policy (
	program_id      integer PRIMARY KEY,
	point_value     numeric NOT NULL CHECK (point_value > 0 AND point_value < 'Infinity'),
	value_scale     integer NOT NULL DEFAULT 2 CHECK (value_scale BETWEEN 0 AND 6),
	redeem_min      numeric(18,2) NOT NULL DEFAULT 0 CHECK (redeem_min >= 0 AND redeem_min < 'Infinity'),
	redeem_max      numeric(18,2) CHECK (redeem_max > 0 AND redeem_max < 'Infinity'),
	redeem_multiple numeric(18,2) CHECK (redeem_multiple > 0 AND redeem_multiple < 'Infinity'),
	min_order       numeric NOT NULL DEFAULT 0 CHECK (min_order >= 0 AND min_order < 'Infinity'),
	max_percent     numeric NOT NULL DEFAULT 100 CHECK (max_percent > 0 AND max_percent <= 100),
	excluded_categories text[],
	limit_points    numeric(18,2) CHECK (limit_points > 0 AND limit_points < 'Infinity'),
	limit_period    text CHECK (limit_period IN ('day', 'week', 'month', 'quarter', 'year')),
	pay_exact_rest  boolean NOT NULL DEFAULT false,
	draw_paid       boolean NOT NULL DEFAULT false,
	restore_grace_days integer NOT NULL DEFAULT 14 CHECK (restore_grace_days BETWEEN 0 AND 3660),
	hold_minutes    integer NOT NULL DEFAULT 30 CHECK (hold_minutes BETWEEN 1 AND 527040),
	clerk_limit     numeric(18,2) NOT NULL DEFAULT 0 CHECK (clerk_limit >= 0 AND clerk_limit < 'Infinity'),
	CHECK ((limit_points IS NULL) = (limit_period IS NULL))
);
COMMENT ON TABLE loyalty.redemption_policy IS 'how points of a programme can be spent; a programme without a row only collects';
COMMENT ON COLUMN loyalty.redemption_policy.program_id IS 'programme';
COMMENT ON COLUMN loyalty.redemption_policy.point_value IS 'money that one point pays, in the programme''s currency';
COMMENT ON COLUMN loyalty.redemption_policy.value_scale IS 'decimals to which the value of a redemption is cut';
COMMENT ON COLUMN loyalty.redemption_policy.redeem_min IS 'fewest points that can be redeemed at once';
COMMENT ON COLUMN loyalty.redemption_policy.redeem_max IS 'most points that can be redeemed at once; NULL for no limit';
COMMENT ON COLUMN loyalty.redemption_policy.redeem_multiple IS 'only whole multiples of so many points can be redeemed; NULL for the programme''s point_unit';
COMMENT ON COLUMN loyalty.redemption_policy.min_order IS 'smallest order amount that can be paid with points';
COMMENT ON COLUMN loyalty.redemption_policy.max_percent IS 'at most this part of the order amount, in percent, can be paid with points';
COMMENT ON COLUMN loyalty.redemption_policy.excluded_categories IS 'line categories that cannot be paid with points';
COMMENT ON COLUMN loyalty.redemption_policy.limit_points IS 'most points a member can redeem per limit_period; NULL for no limit';
COMMENT ON COLUMN loyalty.redemption_policy.limit_period IS 'day, week, month, quarter or year (programme time) that limit_points is for';
COMMENT ON COLUMN loyalty.redemption_policy.pay_exact_rest IS 'whether fractions of points, and no whole multiple, may pay exactly what is left of a bill';
COMMENT ON COLUMN loyalty.redemption_policy.draw_paid IS 'whether the engine itself draws the points that a document''s mapped paid_by_points says were used';
COMMENT ON COLUMN loyalty.redemption_policy.restore_grace_days IS 'days for which points are valid that come back to a lot that has expired meanwhile';
COMMENT ON COLUMN loyalty.redemption_policy.hold_minutes IS 'minutes after which a hold expires if reserve() does not say otherwise';
COMMENT ON COLUMN loyalty.redemption_policy.clerk_limit IS 'most points that a role without loyalty_manager''s rights can adjust at once';

CREATE TABLE loyalty.operation (
	member_id       bigint NOT NULL,
	key             text COLLATE "C" NOT NULL,
	kind            text NOT NULL,
	arguments       jsonb NOT NULL,
	points          numeric(18,2),
	value           numeric,
	balance         numeric(18,2) NOT NULL,
	available       numeric(18,2) NOT NULL,
	other_member_id bigint,
	occurred_at     timestamptz NOT NULL,
	recorded_at     timestamptz NOT NULL,
	recorded_by     text NOT NULL,
	PRIMARY KEY (member_id, key)
);
COMMENT ON TABLE loyalty.operation IS 'calls and their answers: the same key again gets the same answer and moves nothing';
COMMENT ON COLUMN loyalty.operation.member_id IS 'member';
COMMENT ON COLUMN loyalty.operation.key IS 'key that the caller gave, unique within the member';
COMMENT ON COLUMN loyalty.operation.kind IS 'function that was called';
COMMENT ON COLUMN loyalty.operation.arguments IS 'its other arguments, the reason of an adjustment among them';
COMMENT ON COLUMN loyalty.operation.points IS 'answer: points moved, reserved or given';
COMMENT ON COLUMN loyalty.operation.value IS 'answer: what they are worth in money';
COMMENT ON COLUMN loyalty.operation.balance IS 'answer: the member''s balance afterwards';
COMMENT ON COLUMN loyalty.operation.available IS 'answer: what the member could spend afterwards';
COMMENT ON COLUMN loyalty.operation.other_member_id IS 'the other side of a transfer or merge';
COMMENT ON COLUMN loyalty.operation.occurred_at IS 'business time of the call';
COMMENT ON COLUMN loyalty.operation.recorded_at IS 'when it was booked';
COMMENT ON COLUMN loyalty.operation.recorded_by IS 'role that called';

CREATE TABLE loyalty.redemption (
	member_id       bigint NOT NULL,
	key             text COLLATE "C" NOT NULL,
	kind            text NOT NULL CHECK (kind IN ('points', 'reward', 'paid')),
	points          numeric(18,2) NOT NULL CHECK (points >= 0 AND points < 'Infinity'),
	value           numeric NOT NULL,
	restored        numeric(18,2) NOT NULL DEFAULT 0,
	written_off     numeric(18,2) NOT NULL DEFAULT 0,
	is_cancelled    boolean NOT NULL DEFAULT false,
	source_id       integer,
	doc_key         text COLLATE "C",
	occurred_at     timestamptz NOT NULL,
	last_seq        bigint,
	recorded_at     timestamptz NOT NULL,
	PRIMARY KEY (member_id, key)
) WITH (fillfactor = 90);
CREATE INDEX redemption_document ON loyalty.redemption (source_id, doc_key) WHERE source_id IS NOT NULL;
CREATE INDEX redemption_time ON loyalty.redemption (member_id, occurred_at);
COMMENT ON TABLE loyalty.redemption IS 'points that were spent, and how much of them has come back';
COMMENT ON COLUMN loyalty.redemption.member_id IS 'member';
COMMENT ON COLUMN loyalty.redemption.key IS 'key that the caller gave; for kind paid one that the engine made from the document';
COMMENT ON COLUMN loyalty.redemption.kind IS 'points (as money), reward, or paid (drawn by the engine for a document''s paid_by_points)';
COMMENT ON COLUMN loyalty.redemption.points IS 'points that were to be spent';
COMMENT ON COLUMN loyalty.redemption.value IS 'money they pay, in the programme''s currency; 0 for a reward that is none';
COMMENT ON COLUMN loyalty.redemption.restored IS 'points that came back, by returns of the goods or because it was cancelled';
COMMENT ON COLUMN loyalty.redemption.written_off IS 'points that were not there and were not owed either (kind paid, negative write_off)';
COMMENT ON COLUMN loyalty.redemption.is_cancelled IS 'whether it was cancelled as a whole';
COMMENT ON COLUMN loyalty.redemption.source_id IS 'source of the document that was paid';
COMMENT ON COLUMN loyalty.redemption.doc_key IS 'key of the document that was paid';
COMMENT ON COLUMN loyalty.redemption.occurred_at IS 'business time';
COMMENT ON COLUMN loyalty.redemption.last_seq IS 'newest entry of the redemption; entry.prev_seq leads to the earlier ones';
COMMENT ON COLUMN loyalty.redemption.recorded_at IS 'when this row was last booked';

CREATE TABLE loyalty.hold (
	member_id       bigint NOT NULL,
	key             text COLLATE "C" NOT NULL,
	points          numeric(18,2) NOT NULL CHECK (points > 0 AND points < 'Infinity'),
	value           numeric NOT NULL,
	state           text NOT NULL CHECK (state IN ('open', 'captured', 'released', 'expired')),
	captured        numeric(18,2) NOT NULL DEFAULT 0,
	created_at      timestamptz NOT NULL,
	expires_at      timestamptz NOT NULL,
	closed_at       timestamptz,
	PRIMARY KEY (member_id, key)
) WITH (fillfactor = 80);
CREATE INDEX hold_open ON loyalty.hold (member_id) WHERE state = 'open';
COMMENT ON TABLE loyalty.hold IS 'points reserved for an open basket; an open hold counts until it expires, whether or not anybody has noted that';
COMMENT ON COLUMN loyalty.hold.member_id IS 'member';
COMMENT ON COLUMN loyalty.hold.key IS 'key that the caller gave';
COMMENT ON COLUMN loyalty.hold.points IS 'points reserved';
COMMENT ON COLUMN loyalty.hold.value IS 'money they would pay';
COMMENT ON COLUMN loyalty.hold.state IS 'open, captured, released or expired; an open one whose expires_at has passed counts as expired';
COMMENT ON COLUMN loyalty.hold.captured IS 'points that were redeemed by capturing it';
COMMENT ON COLUMN loyalty.hold.created_at IS 'business time of the reservation';
COMMENT ON COLUMN loyalty.hold.expires_at IS 'instant from which it does not count any more';
COMMENT ON COLUMN loyalty.hold.closed_at IS 'business time at which it was captured, released or found expired';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON loyalty.redemption_policy
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.config_changed();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.operation
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.operation
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.redemption
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.redemption
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.hold
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.hold
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
ALTER TABLE loyalty.redemption_policy ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE loyalty.operation ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.operation ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.redemption ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.redemption ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.hold ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.hold ENABLE ALWAYS TRIGGER guard_truncate;
