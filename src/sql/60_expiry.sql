-- Points whose time is over, and what staff can do about it.

CREATE FUNCTION loyalty.expire_points(as_of timestamptz, after bigint DEFAULT 0, batch integer DEFAULT 1000,
	OUT last bigint, OUT done bigint)
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_expire_points';
COMMENT ON FUNCTION loyalty.expire_points(timestamptz, bigint, integer) IS
'a step of upkeep: writes down which points had expired by as_of, which counts already, for up to batch members beyond after; answers the last member (NULL: none was due) and the number of lots';
