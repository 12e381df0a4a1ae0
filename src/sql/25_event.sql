-- Events: what members do besides buying.  An event is a document of the
-- programme's own source of events, which is made when it is first needed.

CREATE TABLE loyalty.event (
	member_id       bigint NOT NULL,
	event_key       text COLLATE "C" NOT NULL,
	program_id      integer NOT NULL,
	kind            text NOT NULL,
	reference       text,
	occurred_at     timestamptz NOT NULL,
	attributes      jsonb NOT NULL DEFAULT '{}',
	state           text NOT NULL DEFAULT 'new'
		CHECK (state IN ('new', 'waiting', 'pending', 'counted', 'rejected', 'revoked')),
	pending         numeric(18,2) NOT NULL DEFAULT 0 CHECK (pending >= 0 AND pending <> 'NaN'),
	other_member_id bigint,
	recorded_at     timestamptz NOT NULL,
	recorded_by     text NOT NULL,
	decided_at      timestamptz,
	decided_by      text,
	PRIMARY KEY (member_id, event_key)
) WITH (fillfactor = 90);
-- one referrer per friend, whoever comes at the same moment
CREATE UNIQUE INDEX event_referral ON loyalty.event (member_id)
	WHERE kind = 'referral' AND state NOT IN ('rejected', 'revoked');
COMMENT ON TABLE loyalty.event IS 'what members did besides buying; what it gave is booked as a document with the key member_id:event_key';
COMMENT ON COLUMN loyalty.event.member_id IS 'member';
COMMENT ON COLUMN loyalty.event.event_key IS 'idempotency key: as given, or kind:reference';
COMMENT ON COLUMN loyalty.event.program_id IS 'programme';
COMMENT ON COLUMN loyalty.event.kind IS 'kind of event: registration, review, visit, referral ...; referrer is the other side of a referral';
COMMENT ON COLUMN loyalty.event.reference IS 'what it is about: a product, a booking; of a referral the customer who referred, of a referrer the friend';
COMMENT ON COLUMN loyalty.event.occurred_at IS 'when it happened';
COMMENT ON COLUMN loyalty.event.attributes IS 'what else rules may know of it';
COMMENT ON COLUMN loyalty.event.state IS 'new (not evaluated yet), waiting (for the friend''s first purchase), pending (for approval), counted, rejected or revoked';
COMMENT ON COLUMN loyalty.event.pending IS 'points it will give once it need not wait any more';
COMMENT ON COLUMN loyalty.event.other_member_id IS 'the other side of a referral';
COMMENT ON COLUMN loyalty.event.recorded_at IS 'when it was recorded';
COMMENT ON COLUMN loyalty.event.recorded_by IS 'role that recorded it';
COMMENT ON COLUMN loyalty.event.decided_at IS 'when it was approved, rejected or revoked; NULL if nobody had to';
COMMENT ON COLUMN loyalty.event.decided_by IS 'role that did so';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.event
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard();
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.event
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard();
ALTER TABLE loyalty.event ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.event ENABLE ALWAYS TRIGGER guard_truncate;

CREATE FUNCTION loyalty.event_source(program_id integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program text := (SELECT p.name FROM loyalty.program p WHERE p.program_id = event_source.program_id);
	v_id integer;
BEGIN
	FOR i IN 1 .. 100 LOOP
		SELECT s.source_id INTO v_id FROM loyalty.source s
			WHERE s.program_id = event_source.program_id AND s.header = 'loyalty.event'::regclass;
		EXIT WHEN FOUND OR v_program IS NULL;
		-- the name may be taken by a source of the ERP's
		INSERT INTO loyalty.source (name, program_id, header, key, customer, doc_date, posted, filter, search_path)
			VALUES (v_program || ' events' || CASE WHEN i > 1 THEN ' ' || i ELSE '' END, program_id, 'loyalty.event'::regclass,
				'r.member_id::text || '':'' || r.event_key',
				'(SELECT m.customer FROM loyalty.member m WHERE m.member_id = r.member_id)', 'r.occurred_at',
				'r.state NOT IN (''rejected'', ''revoked'')', format('r.program_id = %s', program_id), '')
			ON CONFLICT DO NOTHING;
	END LOOP;
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.event_source(integer) IS
'number of the source that a programme''s events are documents of; makes it if there is none';
