-- The engine's doors: C functions.  They switch to the owner of the books for
-- their own reads and writes, and to the owner of an ERP table for its mapping.

CREATE FUNCTION loyalty.capture() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_capture';
COMMENT ON FUNCTION loyalty.capture() IS
'trigger on attached tables: remembers which documents a statement touched';

CREATE FUNCTION loyalty.attach(
	source text, program text, header regclass, key text, customer text, doc_date text,
	posted text DEFAULT 'true', amount text DEFAULT NULL, filter text DEFAULT NULL,
	sign text DEFAULT NULL, company text DEFAULT NULL, currency text DEFAULT NULL,
	rate text DEFAULT NULL, paid_by_points text DEFAULT NULL,
	return_of text DEFAULT NULL, return_source text DEFAULT NULL,
	void text DEFAULT NULL, channel text DEFAULT NULL, enrol text DEFAULT NULL,
	birthday text DEFAULT NULL, member_attributes text DEFAULT NULL, usable_from text DEFAULT NULL,
	lines regclass DEFAULT NULL, line_parent text DEFAULT NULL, line_key text DEFAULT NULL,
	line_filter text DEFAULT NULL, line_product text DEFAULT NULL, line_category text DEFAULT NULL,
	line_qty text DEFAULT NULL, line_amount text DEFAULT NULL, line_cost text DEFAULT NULL, line_list_price text DEFAULT NULL,
	line_launched_on text DEFAULT NULL, line_stock text DEFAULT NULL, line_attributes text DEFAULT NULL,
	line_return_of text DEFAULT NULL,
	evaluate text DEFAULT 'commit', on_error text DEFAULT 'park',
	unlinked text DEFAULT 'negative', search_path text DEFAULT NULL)
RETURNS integer
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_attach';
COMMENT ON FUNCTION loyalty.attach(text, text, regclass, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, regclass, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text) IS
'maps an ERP table by SQL expressions and starts capturing its documents; returns source_id';

CREATE FUNCTION loyalty.detach(source text) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_detach';
COMMENT ON FUNCTION loyalty.detach(text) IS
'stops capturing a source; what is booked stays';

CREATE FUNCTION loyalty.check_source(source text, n integer DEFAULT 20,
	OUT check_name text, OUT ok boolean, OUT detail text)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_check_source';
COMMENT ON FUNCTION loyalty.check_source(text, integer) IS
'dry run of a mapping on n recent documents; warns of sequential scans; writes nothing';

CREATE FUNCTION loyalty.status(
	OUT source text, OUT header text, OUT lines text, OUT attached boolean, OUT capturing boolean,
	OUT mapping_ok boolean, OUT queued bigint, OUT parked bigint, OUT problem text)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_status';
COMMENT ON FUNCTION loyalty.status() IS
'state of every source: are its triggers there and enabled, does its mapping compile, what waits';

CREATE FUNCTION loyalty.settle() RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_settle';
COMMENT ON FUNCTION loyalty.settle() IS
'evaluates now what this transaction has touched, and what waits in the queue; returns the number of documents';

CREATE FUNCTION loyalty.retry_parked(source text DEFAULT NULL, max_documents integer DEFAULT 1000) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_retry_parked';
COMMENT ON FUNCTION loyalty.retry_parked(text, integer) IS
'evaluates documents that are queued or parked; returns how many it took';

CREATE FUNCTION loyalty.settle_waiting(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_settle_waiting_batch';
COMMENT ON FUNCTION loyalty.settle_waiting(timestamptz, bigint, integer) IS
'step of upkeep(): evaluates documents that are queued or parked.  Those that wait since before after (microseconds since 1970; 0: now), which it returns as last, so that what fails again is not tried again; NULL: none left.  Documents have dates of their own: as_of does not matter';

CREATE FUNCTION loyalty.reevaluate(source text, VARIADIC keys text[]) RETURNS numeric(18,2)
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_reevaluate';
COMMENT ON FUNCTION loyalty.reevaluate(text, text[]) IS
'prices documents again by today''s rules and facts and books the difference; returns the points booked';

CREATE FUNCTION loyalty.verify(source text,
	OUT doc_key text, OUT customer text, OUT booked numeric(18,2), OUT due numeric(18,2), OUT problem text)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_verify';
COMMENT ON FUNCTION loyalty.verify(text) IS
'documents for which the rules and facts of now give other points than are booked, or other growth, or redeem others (counted below 0), or that cannot be evaluated (booked and due are NULL then); writes nothing';

CREATE FUNCTION loyalty.documents_of(source text,
	OUT doc_key text, OUT occurred_at timestamptz, OUT is_return boolean)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_documents_of';
COMMENT ON FUNCTION loyalty.documents_of(text) IS
'documents of a source that are in scope now, originals before returns, in order of date and key';

CREATE FUNCTION loyalty.book(source text, keys text[], mode text DEFAULT 'earn',
	OUT documents bigint, OUT points numeric(18,2), OUT parked bigint)
RETURNS record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_book';
COMMENT ON FUNCTION loyalty.book(text, text[], text) IS
'evaluates the named documents; mode earn, opening (known, but earning nothing) or dry_run (writes nothing)';

CREATE FUNCTION loyalty.enrol(program text, customer text, joined_on date DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_enrol';
COMMENT ON FUNCTION loyalty.enrol(text, text, date) IS
'makes a customer a member, or finds the member; returns member_id';

CREATE FUNCTION loyalty.member_id(program text, customer text) RETURNS bigint
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_member_id';
COMMENT ON FUNCTION loyalty.member_id(text, text) IS
'number of the member that a customer is in a programme; NULL if none';

CREATE FUNCTION loyalty.balance(program text, customer text, as_of timestamptz DEFAULT NULL) RETURNS numeric(18,2)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_balance';
COMMENT ON FUNCTION loyalty.balance(text, text, timestamptz) IS
'points of a customer now, or by business time as_of; 0 for a customer who is no member';

CREATE FUNCTION loyalty.explain(source text, key text,
	OUT step integer, OUT rule text, OUT line text, OUT calculation text, OUT points numeric)
RETURNS SETOF record
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'loyalty_explain';
COMMENT ON FUNCTION loyalty.explain(text, text) IS
'how the points of a booked document come about, rule by rule; the last row is what is booked';

CREATE FUNCTION loyalty.quote_earn(program text, customer text, amount numeric DEFAULT NULL,
	lines jsonb DEFAULT NULL, paid_by_points numeric DEFAULT NULL, at timestamptz DEFAULT NULL, rules jsonb DEFAULT NULL,
	source text DEFAULT NULL, invoice jsonb DEFAULT NULL,
	OUT step integer, OUT rule text, OUT line text, OUT calculation text, OUT points numeric)
RETURNS SETOF record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'loyalty_quote_earn';
COMMENT ON FUNCTION loyalty.quote_earn(text, text, numeric, jsonb, numeric, timestamptz, jsonb, text, jsonb) IS
'what a basket would earn, rule by rule; lines is an array of {key, product, category, qty, amount, list_price}; rules are proposed ones, see propose_rules(); with source and invoice (a row of its table, as JSON) rules on the invoice''s columns are asked as well; writes nothing';
