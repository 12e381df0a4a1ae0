-- Points whose time is over, and what staff can do about it.

CREATE FUNCTION loyalty.expire_points(as_of timestamptz DEFAULT NULL, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	program text DEFAULT NULL, OUT last bigint, OUT done bigint)
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_expire_points';
COMMENT ON FUNCTION loyalty.expire_points(timestamptz, bigint, integer, text) IS
'a step of upkeep: writes down which points had expired by as_of, which counts already, for up to batch members (of a programme, or all) beyond after; answers the last member (NULL: none was due) and the number of lots';

CREATE FUNCTION loyalty.extend_points(program text, customer text, until date, reason text, key text,
	expiring_by date DEFAULT NULL, at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_extend_points';
COMMENT ON FUNCTION loyalty.extend_points(text, text, date, text, text, date, timestamptz) IS
'lets points that are valid now, and would expire earlier (expiring_by: by that day only), be valid through until; what lapses without activity as well';

CREATE FUNCTION loyalty.reinstate_points(program text, customer text, since date, until date, reason text, key text,
	at timestamptz DEFAULT NULL,
	OUT points numeric(18,2), OUT value numeric, OUT balance numeric(18,2), OUT available numeric(18,2))
RETURNS record
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_reinstate_points';
COMMENT ON FUNCTION loyalty.reinstate_points(text, text, date, date, text, text, timestamptz) IS
'gives anew, valid through until, the points whose last day was since or later and that have expired; each of them once';
