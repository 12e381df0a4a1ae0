-- The books.  Every table that grows carries member_id in its key, no table
-- has a counter of its own, and only the engine writes here.

CREATE FUNCTION loyalty.guard() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_guard';
COMMENT ON FUNCTION loyalty.guard() IS
'trigger: refuses changes of the books that do not come from the engine, even from their owner';

CREATE TABLE loyalty.member (
	member_id       bigint PRIMARY KEY,
	program_id      integer NOT NULL,
	customer        text NOT NULL,
	joined_on       date NOT NULL,
	tier_id         integer,
	balance         numeric(18,2) NOT NULL DEFAULT 0,
	debt            numeric(18,2) NOT NULL DEFAULT 0,
	qualifying      numeric NOT NULL DEFAULT 0,
	carry           numeric[],
	last_seq        bigint NOT NULL DEFAULT 0,
	lots_through    bigint NOT NULL DEFAULT 0,
	held            numeric(18,2) NOT NULL DEFAULT 0,
	merged_into     bigint,
	next_expiry     date,
	expired_through date,
	usable_from     date,
	lapses_on       date,
	tier_since      date,
	tier_until      date,
	tier_review     date,
	tier_at         timestamptz,
	left_at         timestamptz
) WITH (fillfactor = 70);
CREATE INDEX member_tier_review ON loyalty.member (tier_review) WHERE tier_review IS NOT NULL;
COMMENT ON TABLE loyalty.member IS 'a customer in one programme, with the figures that posting keeps';
COMMENT ON COLUMN loyalty.member.member_id IS 'number of the member, derived from programme and customer (below 2^53)';
COMMENT ON COLUMN loyalty.member.program_id IS 'programme';
COMMENT ON COLUMN loyalty.member.customer IS 'the ERP''s customer key, as text';
COMMENT ON COLUMN loyalty.member.joined_on IS 'day of enrolment (programme time)';
COMMENT ON COLUMN loyalty.member.tier_id IS 'tier the member is in; NULL below the first one';
COMMENT ON COLUMN loyalty.member.balance IS 'points as booked: what is left in the lots, less the debt; what has expired and is not written down yet is in it, see member_points';
COMMENT ON COLUMN loyalty.member.debt IS 'points taken back that had been spent; the next earnings repay them';
COMMENT ON COLUMN loyalty.member.qualifying IS 'billed amount that counts for the tier, in the programme''s currency';
COMMENT ON COLUMN loyalty.member.carry IS 'exact fraction of points not booked yet, as {numerator, denominator} (rounding_scope carry)';
COMMENT ON COLUMN loyalty.member.last_seq IS 'seq of the member''s newest entry';
COMMENT ON COLUMN loyalty.member.lots_through IS 'entries up to this seq have their lots in stored_lot; later ones are lots as they were earned';
COMMENT ON COLUMN loyalty.member.held IS 'points reserved by holds that are neither captured nor released, expired ones included';
COMMENT ON COLUMN loyalty.member.merged_into IS 'member who has this one''s points since their customers were merged; NULL for none';
COMMENT ON COLUMN loyalty.member.next_expiry IS 'no open lot expires before this day; NULL: none does';
COMMENT ON COLUMN loyalty.member.expired_through IS 'last day of the latest lot whose expiry is written down; NULL: of none';
COMMENT ON COLUMN loyalty.member.usable_from IS 'day from which all points can be spent; NULL: today';
COMMENT ON COLUMN loyalty.member.lapses_on IS 'last day on which points are valid if there is no further activity; NULL: they do not lapse';
COMMENT ON COLUMN loyalty.member.tier_since IS 'day from which the member is in the tier; NULL where the tier simply follows the qualifying amount';
COMMENT ON COLUMN loyalty.member.tier_until IS 'last day for which the tier is kept, see tier_policy.retention and override_tier(); NULL for no end';
COMMENT ON COLUMN loyalty.member.tier_review IS 'day from which time alone may have changed the tier, so that it is worked out when it is asked for; NULL for none';
COMMENT ON COLUMN loyalty.member.tier_at IS 'instant as of which the tier was written down; NULL where the tier simply follows the qualifying amount';
COMMENT ON COLUMN loyalty.member.left_at IS 'instant from which the customer is another member, because he left a household, whose this one stays (merged_into); NULL for never';

CREATE TABLE loyalty.document (
	source_id       integer NOT NULL,
	doc_key         text COLLATE "C" NOT NULL,
	member_id       bigint NOT NULL,
	root_source_id  integer NOT NULL DEFAULT 0,
	root_key        text COLLATE "C" NOT NULL DEFAULT '',
	state           text NOT NULL CHECK (state IN ('booked', 'withdrawn', 'opening')),
	kind            text NOT NULL CHECK (kind IN ('sale', 'return', 'event')),
	occurred_at     timestamptz NOT NULL,
	doc_date        date NOT NULL,
	company         text,
	channel         text,
	gross           numeric NOT NULL,
	paid            numeric NOT NULL DEFAULT 0,
	lines           jsonb,
	tier_before     numeric,
	tier_id         integer,
	rate            numeric,
	rules           integer[],
	matches         jsonb,
	seen            bigint[],
	priced_at       timestamptz,
	qualifying      numeric NOT NULL DEFAULT 0,
	overcredited    numeric NOT NULL DEFAULT 0,
	points          numeric(18,2) NOT NULL DEFAULT 0,
	written_off     numeric(18,2) NOT NULL DEFAULT 0,
	raw             numeric[],
	last_seq        bigint,
	booked_at       timestamptz NOT NULL,
	usable_from     date,
	growth          numeric(18,2) NOT NULL DEFAULT 0,
	is_opening      boolean,
	PRIMARY KEY (source_id, doc_key, member_id, root_source_id, root_key)
) WITH (fillfactor = 90);
CREATE INDEX document_member ON loyalty.document (member_id, occurred_at);
CREATE INDEX document_root ON loyalty.document (root_source_id, root_key) WHERE root_source_id <> 0;
COMMENT ON TABLE loyalty.document IS
'what was read from a document and what is booked for it; one row per document and family (a ticket that returns goods of two sales has two)';
COMMENT ON COLUMN loyalty.document.source_id IS 'source the document comes from';
COMMENT ON COLUMN loyalty.document.doc_key IS 'key of the document, as text';
COMMENT ON COLUMN loyalty.document.member_id IS 'member whose points it moves';
COMMENT ON COLUMN loyalty.document.root_source_id IS 'source of the sale that is returned; 0 for none; negative: of the line that is returned, while that line is not there';
COMMENT ON COLUMN loyalty.document.root_key IS 'key of the sale that is returned, or of the line; empty for none';
COMMENT ON COLUMN loyalty.document.state IS 'booked, withdrawn (no longer posted, points taken back) or opening (known, earns nothing)';
COMMENT ON COLUMN loyalty.document.kind IS 'sale, return or event';
COMMENT ON COLUMN loyalty.document.occurred_at IS 'instant of the document';
COMMENT ON COLUMN loyalty.document.doc_date IS 'day of the document in the programme''s time zone';
COMMENT ON COLUMN loyalty.document.company IS 'company of the document';
COMMENT ON COLUMN loyalty.document.channel IS 'sales channel of the document';
COMMENT ON COLUMN loyalty.document.gross IS 'billed amount in the programme''s currency, negative for returns';
COMMENT ON COLUMN loyalty.document.paid IS 'part of gross that was paid with points and earns nothing';
COMMENT ON COLUMN loyalty.document.lines IS 'lines as they were read: key, product, category, qty, amount, cost, earns, of';
COMMENT ON COLUMN loyalty.document.tier_before IS 'qualifying amount of the member just before this document';
COMMENT ON COLUMN loyalty.document.tier_id IS 'tier at which the document earned';
COMMENT ON COLUMN loyalty.document.rate IS 'collection factor at which the document earned';
COMMENT ON COLUMN loyalty.document.rules IS 'rule versions (rule_id) that hold for it';
COMMENT ON COLUMN loyalty.document.matches IS 'where a rule holds for some lines only, only while something is true of what is left, beyond its limit, or within caps: {rule, lines (counted from 0), while, cut, allowed and given (points, where caps or a budget limit it: at most, and for what is left)}';
COMMENT ON COLUMN loyalty.document.seen IS 'columns of the ERP''s rows that conditions looked at, and their values, as hashes: if one changes, the document is priced again';
COMMENT ON COLUMN loyalty.document.priced_at IS 'when its rules were chosen';
COMMENT ON COLUMN loyalty.document.qualifying IS 'part of the member''s qualifying amount that comes from this document';
COMMENT ON COLUMN loyalty.document.overcredited IS 'returned amount beyond what was left of the sale; it moves nothing';
COMMENT ON COLUMN loyalty.document.points IS 'points booked for the document, net';
COMMENT ON COLUMN loyalty.document.written_off IS 'points that should have been taken back but were written off';
COMMENT ON COLUMN loyalty.document.raw IS 'exact points before rounding, as {numerator, denominator} (rounding_scope carry)';
COMMENT ON COLUMN loyalty.document.last_seq IS 'newest entry of the document; entry.prev_seq leads to the earlier ones';
COMMENT ON COLUMN loyalty.document.booked_at IS 'when this row was last booked';
COMMENT ON COLUMN loyalty.document.usable_from IS 'day from which its points can be spent; infinity: not known yet; NULL: at once';
COMMENT ON COLUMN loyalty.document.is_opening IS 'true: it was there before the programme began (backfill in mode opening) and never earns, whatever becomes of it';
COMMENT ON COLUMN loyalty.document.growth IS 'growth that rules on growth give for it, for tiers; a return takes back what its goods gave';

CREATE TABLE loyalty.entry (
	member_id       bigint NOT NULL,
	seq             bigint NOT NULL,
	kind            text NOT NULL CHECK (kind IN ('earn', 'return', 'event', 'correction', 'redeem', 'redeem_cancel', 'adjust', 'transfer', 'expire')),
	points          numeric(18,2) NOT NULL CHECK (points <> 'NaN'),
	occurred_at     timestamptz NOT NULL,
	recorded_at     timestamptz NOT NULL,
	expires_on      date,
	source_id       integer,
	doc_key         text COLLATE "C",
	prev_seq        bigint,
	key             text COLLATE "C",
	usable_from     date,
	PRIMARY KEY (member_id, seq)
);
COMMENT ON TABLE loyalty.entry IS 'the ledger: immutable movements of points';
COMMENT ON COLUMN loyalty.entry.member_id IS 'member';
COMMENT ON COLUMN loyalty.entry.seq IS 'number of the entry within the member, without gaps';
COMMENT ON COLUMN loyalty.entry.kind IS 'earn, return, event, correction (of an earlier booking), redeem, redeem_cancel (points given back), adjust, transfer or expire (written down by upkeep; above 0 where something else concerns the points after all)';
COMMENT ON COLUMN loyalty.entry.points IS 'points, positive for the member''s benefit';
COMMENT ON COLUMN loyalty.entry.occurred_at IS 'business time: the instant of the document';
COMMENT ON COLUMN loyalty.entry.recorded_at IS 'system time: when the entry was written';
COMMENT ON COLUMN loyalty.entry.expires_on IS 'last day of the lot that the entry made, as it was then; NULL if it made none';
COMMENT ON COLUMN loyalty.entry.source_id IS 'source of the document that caused the entry, or that was paid with the points';
COMMENT ON COLUMN loyalty.entry.doc_key IS 'key of the document that caused the entry, or that was paid with the points';
COMMENT ON COLUMN loyalty.entry.prev_seq IS 'previous entry of the same document row, or of the same redemption';
COMMENT ON COLUMN loyalty.entry.key IS 'key of the call (redeem, adjust, transfer ...) that caused the entry; NULL for documents';
COMMENT ON COLUMN loyalty.entry.usable_from IS 'day from which the points of its lot can be spent, as it was then; NULL: at once';

CREATE TABLE loyalty.budget (
	program_id      integer NOT NULL,
	rule            text NOT NULL,
	used            numeric(18,2) NOT NULL DEFAULT 0,
	PRIMARY KEY (program_id, rule)
) WITH (fillfactor = 50);
COMMENT ON TABLE loyalty.budget IS 'what rules with a budget have given so far';
COMMENT ON COLUMN loyalty.budget.program_id IS 'programme';
COMMENT ON COLUMN loyalty.budget.rule IS 'name of the rule, in all its versions';
COMMENT ON COLUMN loyalty.budget.used IS 'points given by it for what is left of documents that count';

-- Most lots are only looked at when points are spent, taken back or expire, so
-- they are written then, or some dozens at a time: until that moment an entry
-- that earned points is its own lot.  loyalty.lot is what everybody reads.
CREATE TABLE loyalty.stored_lot (
	member_id       bigint NOT NULL,
	is_open         boolean NOT NULL,
	expires_on      date NOT NULL,
	seq             bigint NOT NULL,
	points          numeric(18,2) NOT NULL,
	remaining       numeric(18,2) NOT NULL,
	usable_from     date,
	expired         numeric(18,2) NOT NULL DEFAULT 0,
	PRIMARY KEY (member_id, is_open, expires_on, seq)
) WITH (fillfactor = 80);
COMMENT ON TABLE loyalty.stored_lot IS 'lots of the entries up to member.lots_through; read the view lot, which has all of them';
COMMENT ON COLUMN loyalty.stored_lot.member_id IS 'member';
COMMENT ON COLUMN loyalty.stored_lot.is_open IS 'whether anything remains';
COMMENT ON COLUMN loyalty.stored_lot.expires_on IS 'last day (programme time) on which the points are valid; infinity for never';
COMMENT ON COLUMN loyalty.stored_lot.seq IS 'entry that made the lot';
COMMENT ON COLUMN loyalty.stored_lot.points IS 'points the lot was made with';
COMMENT ON COLUMN loyalty.stored_lot.remaining IS 'points that are left';
COMMENT ON COLUMN loyalty.stored_lot.usable_from IS 'day from which they can be spent; infinity: not known yet; NULL: at once';
COMMENT ON COLUMN loyalty.stored_lot.expired IS 'points that were left when it expired, written down by upkeep';

CREATE VIEW loyalty.lot WITH (security_invoker = true) AS
	SELECT l.member_id, l.is_open, l.expires_on, l.seq, l.points, l.remaining, l.usable_from, l.expired
	FROM loyalty.stored_lot l
	UNION ALL
	SELECT e.member_id, true, e.expires_on, e.seq, e.points, e.points, e.usable_from, 0::numeric(18,2)
	FROM loyalty.member m
	JOIN loyalty.entry e ON e.member_id = m.member_id AND e.seq > m.lots_through
	WHERE m.last_seq > m.lots_through AND e.expires_on IS NOT NULL;
COMMENT ON VIEW loyalty.lot IS 'points that were earned together and expire together; a negative lot is a debt';
COMMENT ON COLUMN loyalty.lot.member_id IS 'member';
COMMENT ON COLUMN loyalty.lot.is_open IS 'whether anything remains';
COMMENT ON COLUMN loyalty.lot.expires_on IS 'last day (programme time) on which the points are valid; infinity for never';
COMMENT ON COLUMN loyalty.lot.seq IS 'entry that made the lot';
COMMENT ON COLUMN loyalty.lot.points IS 'points the lot was made with';
COMMENT ON COLUMN loyalty.lot.remaining IS 'points that are left';
COMMENT ON COLUMN loyalty.lot.usable_from IS 'day from which they can be spent; infinity: not known yet; NULL: at once';
COMMENT ON COLUMN loyalty.lot.expired IS 'points that were left when it expired, written down by upkeep';

CREATE TABLE loyalty.lot_change (
	member_id       bigint NOT NULL,
	lot_seq         bigint NOT NULL,
	n               integer NOT NULL,
	kind            text NOT NULL CHECK (kind IN ('extend', 'lapse', 'revive', 'reinstate')),
	expires_on      date NOT NULL,
	points          numeric(18,2) NOT NULL DEFAULT 0,
	key             text COLLATE "C",
	changed_at      timestamptz NOT NULL,
	PRIMARY KEY (member_id, lot_seq, n)
);
COMMENT ON TABLE loyalty.lot_change IS 'lots whose day of expiry was changed after they were made';
COMMENT ON COLUMN loyalty.lot_change.member_id IS 'member';
COMMENT ON COLUMN loyalty.lot_change.lot_seq IS 'lot';
COMMENT ON COLUMN loyalty.lot_change.n IS 'number of the change, from 1';
COMMENT ON COLUMN loyalty.lot_change.kind IS 'extend (by staff, or with a tier), lapse (no activity, or the programme ended), revive (there was some after all) or reinstate (its points were given anew)';
COMMENT ON COLUMN loyalty.lot_change.expires_on IS 'last day on which the points are valid since then';
COMMENT ON COLUMN loyalty.lot_change.points IS 'reinstate: points that were given anew in another lot';
COMMENT ON COLUMN loyalty.lot_change.key IS 'key of the call; tier:name where a tier extended points; NULL for lapse and revive';
COMMENT ON COLUMN loyalty.lot_change.changed_at IS 'when it was changed';

CREATE TABLE loyalty.allocation (
	member_id       bigint NOT NULL,
	entry_seq       bigint NOT NULL,
	lot_seq         bigint NOT NULL,
	points          numeric(18,2) NOT NULL,
	PRIMARY KEY (member_id, entry_seq, lot_seq)
);
COMMENT ON TABLE loyalty.allocation IS
'which lots an entry drew from or gave back to; an entry''s points are the lot it made plus its allocations';
COMMENT ON COLUMN loyalty.allocation.member_id IS 'member';
COMMENT ON COLUMN loyalty.allocation.entry_seq IS 'entry that moved the points';
COMMENT ON COLUMN loyalty.allocation.lot_seq IS 'lot that was changed';
COMMENT ON COLUMN loyalty.allocation.points IS 'change of the lot''s remaining points';

CREATE TABLE loyalty.pending (
	member_id       bigint NOT NULL DEFAULT 0,
	source_id       integer NOT NULL,
	doc_key         text COLLATE "C" NOT NULL,
	reason          text NOT NULL CHECK (reason IN ('queue', 'parked')),
	sqlstate        text,
	message         text,
	attempts        integer NOT NULL DEFAULT 0,
	recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX pending_document ON loyalty.pending (source_id, doc_key);
CREATE INDEX pending_member ON loyalty.pending (member_id);
ALTER TABLE loyalty.pending REPLICA IDENTITY FULL;
COMMENT ON TABLE loyalty.pending IS 'documents that wait for evaluation: queued by choice, or parked by an error';
COMMENT ON COLUMN loyalty.pending.member_id IS 'member the document was for, 0 if not known';
COMMENT ON COLUMN loyalty.pending.source_id IS 'source of the document';
COMMENT ON COLUMN loyalty.pending.doc_key IS 'key of the document';
COMMENT ON COLUMN loyalty.pending.reason IS 'queue or parked';
COMMENT ON COLUMN loyalty.pending.sqlstate IS 'SQLSTATE of the error that parked the document';
COMMENT ON COLUMN loyalty.pending.message IS 'message of the error that parked the document';
COMMENT ON COLUMN loyalty.pending.attempts IS 'how many evaluations have failed';
COMMENT ON COLUMN loyalty.pending.recorded_at IS 'when the row was written';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.member
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.member
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.document
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.document
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.entry
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.entry
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.budget
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.budget
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.stored_lot
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.stored_lot
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.allocation
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.allocation
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.lot_change
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.lot_change
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');

-- replica mode must not open a back door
ALTER TABLE loyalty.member ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.member ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.document ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.document ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.entry ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.entry ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.budget ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.budget ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.stored_lot ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.stored_lot ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.allocation ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.allocation ENABLE ALWAYS TRIGGER guard_truncate;
ALTER TABLE loyalty.lot_change ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.lot_change ENABLE ALWAYS TRIGGER guard_truncate;
