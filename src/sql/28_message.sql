-- The outbox: what members should hear of.  A message is written in the
-- transaction of its cause, one per cause, and only for kinds that the
-- programme has switched on.

CREATE TABLE loyalty.message_setting (
	program_id      integer NOT NULL,
	kind            text NOT NULL CHECK (kind IN ('earned', 'reversed', 'expiring', 'expired', 'tier_up', 'tier_down',
		'tier_at_risk', 'voucher_issued', 'voucher_ending', 'hold_released', 'inactive', 'milestone')),
	is_enabled      boolean NOT NULL,
	lead_days       integer[],
	cycles          numeric CHECK (cycles > 0 AND cycles < 'Infinity'),
	milestones      numeric(18,2)[],
	notify          boolean NOT NULL DEFAULT true,
	max_attempts    integer NOT NULL DEFAULT 5 CHECK (max_attempts > 0),
	keep_days       integer NOT NULL DEFAULT 30 CHECK (keep_days >= 0),
	PRIMARY KEY (program_id, kind)
);
COMMENT ON TABLE loyalty.message_setting IS 'kinds of messages that a programme has switched on or off; without a row a kind is off';
COMMENT ON COLUMN loyalty.message_setting.program_id IS 'programme';
COMMENT ON COLUMN loyalty.message_setting.kind IS 'earned, reversed, expiring, expired, tier_up, tier_down, tier_at_risk, voucher_issued, voucher_ending, hold_released, inactive or milestone';
COMMENT ON COLUMN loyalty.message_setting.is_enabled IS 'whether such messages are written';
COMMENT ON COLUMN loyalty.message_setting.lead_days IS 'expiring, voucher_ending, tier_at_risk: how many days before, one message each';
COMMENT ON COLUMN loyalty.message_setting.cycles IS 'inactive: after how many of the member''s own purchase cycles without a purchase';
COMMENT ON COLUMN loyalty.message_setting.milestones IS 'milestone: balances whose crossing is told, ascending';
COMMENT ON COLUMN loyalty.message_setting.notify IS 'whether a commit that wrote such a message sends NOTIFY loyalty_message';
COMMENT ON COLUMN loyalty.message_setting.max_attempts IS 'deliveries of a message before it is dead';
COMMENT ON COLUMN loyalty.message_setting.keep_days IS 'days for which a message that was delivered is kept';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON loyalty.message_setting
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.config_changed();
ALTER TABLE loyalty.message_setting ENABLE ALWAYS TRIGGER config_changed;

CREATE TABLE loyalty.message (
	member_id       bigint NOT NULL,
	kind            text NOT NULL,
	cause           text COLLATE "C" NOT NULL,
	program_id      integer NOT NULL,
	payload         jsonb NOT NULL,
	occurred_at     timestamptz NOT NULL,
	recorded_at     timestamptz NOT NULL,
	state           text NOT NULL CHECK (state IN ('new', 'fetched', 'done', 'dead')),
	visible_at      timestamptz NOT NULL,
	attempts        integer NOT NULL,
	consumer        text,
	fetched_at      timestamptz,
	closed_at       timestamptz,
	last_error      text,
	PRIMARY KEY (member_id, kind, cause)
) WITH (fillfactor = 70);
-- what waits, and nothing else, in the order in which it is fetched
CREATE INDEX message_waiting ON loyalty.message (visible_at) WHERE state IN ('new', 'fetched');
CREATE INDEX message_waiting_kind ON loyalty.message (kind, visible_at) WHERE state IN ('new', 'fetched');
CREATE INDEX message_dead ON loyalty.message (program_id, kind) WHERE state = 'dead';
COMMENT ON TABLE loyalty.message IS
'the outbox: one row per thing that a member should hear of; written in the transaction of its cause, fetched by fetch_messages()';
COMMENT ON COLUMN loyalty.message.member_id IS 'member';
COMMENT ON COLUMN loyalty.message.kind IS 'what it is about, see message_setting.kind; message_fields() describes the payload of each';
COMMENT ON COLUMN loyalty.message.cause IS 'what happened, in a form that makes it one per cause: entry:17, tier:..., lot:2027-03-31:30 (last day and lead days), voucher:key, voucher:key:10, hold:key, inactive:2026-05-01 (day of the last purchase)';
COMMENT ON COLUMN loyalty.message.program_id IS 'programme';
COMMENT ON COLUMN loyalty.message.payload IS 'figures of the message; nothing that says who the member is';
COMMENT ON COLUMN loyalty.message.occurred_at IS 'business time of the cause';
COMMENT ON COLUMN loyalty.message.recorded_at IS 'when the message was written';
COMMENT ON COLUMN loyalty.message.state IS 'new, fetched (by a consumer who has not answered yet), done or dead (given up)';
COMMENT ON COLUMN loyalty.message.visible_at IS 'instant from which it can be fetched (again)';
COMMENT ON COLUMN loyalty.message.attempts IS 'how often it was fetched';
COMMENT ON COLUMN loyalty.message.consumer IS 'who fetched it last';
COMMENT ON COLUMN loyalty.message.fetched_at IS 'when that was';
COMMENT ON COLUMN loyalty.message.closed_at IS 'when it was done or dead';
COMMENT ON COLUMN loyalty.message.last_error IS 'why the last delivery failed';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.message
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.message
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
ALTER TABLE loyalty.message ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.message ENABLE ALWAYS TRIGGER guard_truncate;

CREATE TABLE loyalty.message_template (
	program_id      integer NOT NULL,
	kind            text NOT NULL,
	language        text NOT NULL,
	subject         text NOT NULL,
	body            text NOT NULL,
	PRIMARY KEY (program_id, kind, language)
);
COMMENT ON TABLE loyalty.message_template IS 'texts of a programme''s messages; where there is none the built-in one is used, see built_in_template()';
COMMENT ON COLUMN loyalty.message_template.program_id IS 'programme';
COMMENT ON COLUMN loyalty.message_template.kind IS 'kind of message';
COMMENT ON COLUMN loyalty.message_template.language IS 'language, such as de or de-at';
COMMENT ON COLUMN loyalty.message_template.subject IS 'subject, with placeholders in braces';
COMMENT ON COLUMN loyalty.message_template.body IS 'text, with placeholders in braces';

CREATE TABLE loyalty.program_language (
	program_id      integer PRIMARY KEY,
	language        text NOT NULL
);
COMMENT ON TABLE loyalty.program_language IS 'language of members who have none of their own; English without a row';
COMMENT ON COLUMN loyalty.program_language.program_id IS 'programme';
COMMENT ON COLUMN loyalty.program_language.language IS 'language, such as de or de-at';

CREATE TABLE loyalty.member_language (
	member_id       bigint PRIMARY KEY,
	language        text NOT NULL
);
COMMENT ON TABLE loyalty.member_language IS 'languages of members';
COMMENT ON COLUMN loyalty.member_language.member_id IS 'member';
COMMENT ON COLUMN loyalty.member_language.language IS 'language, such as de or de-at';
