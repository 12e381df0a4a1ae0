-- Customers who are no members: what they bought, per day.  The books keep
-- nothing of them, so posting costs nothing; where it is wanted, a refresh
-- reads the ERP's documents through the mapping and keeps sums under the number
-- the customer would have as a member, not under his key.

CREATE TABLE loyalty.non_member_source (
	source_id       integer PRIMARY KEY,
	reread_days     integer NOT NULL CHECK (reread_days > 0),
	as_of           date NOT NULL DEFAULT '-infinity',
	refreshed_at    timestamptz
);
COMMENT ON TABLE loyalty.non_member_source IS 'sources whose documents of customers who are no members are read, see set_non_members()';
COMMENT ON COLUMN loyalty.non_member_source.source_id IS 'source';
COMMENT ON COLUMN loyalty.non_member_source.reread_days IS 'how many days up to the last as_of are read again, because documents may have been changed meanwhile';
COMMENT ON COLUMN loyalty.non_member_source.as_of IS 'last day (programme time) that has been read';
COMMENT ON COLUMN loyalty.non_member_source.refreshed_at IS 'when it was read';

CREATE TABLE loyalty.non_member_day (
	member_id       bigint NOT NULL,
	source_id       integer NOT NULL,
	day             date NOT NULL,
	program_id      integer NOT NULL,
	sales           integer NOT NULL,
	reversed        integer NOT NULL,
	returns         integer NOT NULL,
	gross           numeric NOT NULL,
	returned        numeric NOT NULL,
	PRIMARY KEY (member_id, source_id, day)
);
COMMENT ON TABLE loyalty.non_member_day IS 'what customers who were no members on a day bought and returned on it: those who never joined, and members before they joined';
COMMENT ON COLUMN loyalty.non_member_day.member_id IS 'number that the customer has, or would have, as a member; 0 for guests';
COMMENT ON COLUMN loyalty.non_member_day.source_id IS 'source of the documents';
COMMENT ON COLUMN loyalty.non_member_day.day IS 'day of the documents (programme time)';
COMMENT ON COLUMN loyalty.non_member_day.program_id IS 'programme of the source';
COMMENT ON COLUMN loyalty.non_member_day.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.non_member_day.reversed IS 'sales that were, by linked returns that were read with them';
COMMENT ON COLUMN loyalty.non_member_day.returns IS 'returns';
COMMENT ON COLUMN loyalty.non_member_day.gross IS 'amount of all sales, in the programme''s currency';
COMMENT ON COLUMN loyalty.non_member_day.returned IS 'amount of all returns, positive';

CREATE TABLE loyalty.non_member_month (
	program_id      integer NOT NULL,
	month           date NOT NULL,
	is_guest        boolean NOT NULL,
	customers       bigint NOT NULL,
	sales           bigint NOT NULL,
	reversed        bigint NOT NULL,
	returns         bigint NOT NULL,
	gross           numeric NOT NULL,
	returned        numeric NOT NULL,
	PRIMARY KEY (program_id, month, is_guest)
);
COMMENT ON TABLE loyalty.non_member_month IS 'sums of non_member_day per programme and month';
COMMENT ON COLUMN loyalty.non_member_month.program_id IS 'programme';
COMMENT ON COLUMN loyalty.non_member_month.month IS 'first day of the month (programme time)';
COMMENT ON COLUMN loyalty.non_member_month.is_guest IS 'whether the customer is unknown';
COMMENT ON COLUMN loyalty.non_member_month.customers IS 'customers with a sale that was not returned altogether; 0 for guests';
COMMENT ON COLUMN loyalty.non_member_month.sales IS 'sales that were not returned altogether';
COMMENT ON COLUMN loyalty.non_member_month.reversed IS 'sales that were';
COMMENT ON COLUMN loyalty.non_member_month.returns IS 'returns';
COMMENT ON COLUMN loyalty.non_member_month.gross IS 'amount of all sales';
COMMENT ON COLUMN loyalty.non_member_month.returned IS 'amount of all returns, positive';

CREATE FUNCTION loyalty.set_non_members(source text, reread_days integer DEFAULT 35) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	v_source loyalty.source;
	v_events integer;
BEGIN
	SELECT s.* INTO v_source FROM loyalty.source s WHERE s.name = source;
	IF v_source.source_id IS NULL THEN
		RAISE EXCEPTION 'source "%" does not exist', source
			USING ERRCODE = 'LY001', HINT = 'loyalty.status() lists the sources.';
	END IF;
	IF v_source.header = 'loyalty.event'::regclass THEN
		RAISE EXCEPTION 'source "%" has events, which are always a member''s', source
			USING ERRCODE = '22023', HINT = 'Name a source of documents; loyalty.status() lists the sources.';
	END IF;
	IF reread_days NOT BETWEEN 1 AND 36600 THEN
		RAISE EXCEPTION 'invalid value for reread_days: %', reread_days USING ERRCODE = '22023',
			HINT = 'It can be 1 to 36600, or NULL: the source''s documents of customers who are no members are not read.';
	END IF;
	IF reread_days IS NULL THEN
		DELETE FROM loyalty.non_member_source t WHERE t.source_id = v_source.source_id;
		DELETE FROM loyalty.non_member_day t WHERE t.source_id = v_source.source_id;
		PERFORM loyalty.count_non_members(v_source.program_id);
	ELSE
		INSERT INTO loyalty.non_member_source AS t (source_id, reread_days) VALUES (v_source.source_id, reread_days)
			ON CONFLICT ON CONSTRAINT non_member_source_pkey DO UPDATE SET reread_days = excluded.reread_days;
	END IF;
END
$$;
COMMENT ON FUNCTION loyalty.set_non_members(text, integer) IS
'says that refresh_details() also reads a source''s documents of customers who are no members, and how many of the last days again each time (as long as documents are still changed and goods come back); NULL: not at all, which is the default, and what was kept is removed';

CREATE FUNCTION loyalty.non_member_documents(source text, since date, until date,
	OUT doc_key text, OUT member_id bigint, OUT day date, OUT is_return boolean, OUT gross numeric, OUT root_key text)
RETURNS SETOF record
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'loyalty_non_member_documents';
COMMENT ON FUNCTION loyalty.non_member_documents(text, date, date) IS
'internal: documents of these days that are nobody''s in the books, read through the mapping as the owner of the ERP''s table; member_id is the number the customer would have, 0 for a guest; root_key the sale that is returned';

CREATE FUNCTION loyalty.count_non_members(program_id integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := program_id;
BEGIN
	DELETE FROM loyalty.non_member_month t WHERE t.program_id = v_program;
	INSERT INTO loyalty.non_member_month (program_id, month, is_guest, customers, sales, reversed, returns, gross, returned)
	SELECT v_program, x.month, x.member_id = 0, count(*) FILTER (WHERE x.member_id <> 0 AND x.sales > 0),
		sum(x.sales), sum(x.reversed), sum(x.returns), sum(x.gross), sum(x.returned)
	FROM (SELECT d.member_id, date_trunc('month', d.day)::date AS month, sum(d.sales) AS sales, sum(d.reversed) AS reversed,
				sum(d.returns) AS returns, sum(d.gross) AS gross, sum(d.returned) AS returned
			FROM loyalty.non_member_day d WHERE d.program_id = v_program GROUP BY 1, 2) x
	GROUP BY x.month, x.member_id = 0;
END
$$;
COMMENT ON FUNCTION loyalty.count_non_members(integer) IS 'makes the months of non_member_month anew from non_member_day';

CREATE FUNCTION loyalty.refresh_non_members(source text DEFAULT NULL, since date DEFAULT NULL, as_of date DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_name text := source;
	v_since date := since;
	v_as_of date := as_of;
	v_from date;
	v_until date;
	v_source record;
	v_state loyalty.non_member_source;
	v_count bigint;
	v_total bigint := 0;
BEGIN
	IF v_name IS NOT NULL AND NOT EXISTS (SELECT FROM loyalty.non_member_source t JOIN loyalty.source s USING (source_id)
			WHERE s.name = v_name) THEN
		RAISE EXCEPTION 'documents of customers who are no members are not read from source "%"', v_name
			USING ERRCODE = 'LY003', HINT = 'loyalty.set_non_members() says that they are.';
	END IF;
	IF NOT isfinite(v_as_of) THEN
		RAISE EXCEPTION 'as_of must be finite' USING ERRCODE = '22023', HINT = 'It is a day; leave it out for today.';
	END IF;
	FOR v_source IN
		SELECT s.source_id, s.program_id, s.name FROM loyalty.non_member_source t JOIN loyalty.source s USING (source_id)
		WHERE s.attached AND (v_name IS NULL OR s.name = v_name) ORDER BY s.source_id
	LOOP
		SELECT * INTO v_state FROM loyalty.non_member_source t WHERE t.source_id = v_source.source_id FOR UPDATE;
		CONTINUE WHEN v_state.source_id IS NULL;
		v_until := coalesce(v_as_of, loyalty.today(v_source.program_id));
		v_from := coalesce(v_since, least(v_state.as_of, v_until) - v_state.reread_days + 1);
		DELETE FROM loyalty.non_member_day t WHERE t.source_id = v_source.source_id AND (t.day >= v_from OR t.day > v_until);
		WITH doc AS MATERIALIZED (
			SELECT * FROM loyalty.non_member_documents(v_source.name, v_from, v_until)
		), back AS (
			SELECT x.root_key, x.member_id, sum(x.gross) AS returned
			FROM doc x WHERE x.is_return AND x.root_key IS NOT NULL GROUP BY 1, 2
		)
		-- the same as sale_days() says of members
		INSERT INTO loyalty.non_member_day (member_id, source_id, day, program_id, sales, reversed, returns, gross, returned)
		SELECT d.member_id, v_source.source_id, d.day, v_source.program_id,
			count(*) FILTER (WHERE NOT d.is_return AND (b.returned IS NULL OR d.gross <= 0 OR d.gross + b.returned > 0)),
			count(*) FILTER (WHERE NOT d.is_return AND d.gross > 0 AND d.gross + b.returned <= 0),
			count(*) FILTER (WHERE d.is_return),
			coalesce(sum(d.gross) FILTER (WHERE NOT d.is_return), 0), coalesce(-sum(d.gross) FILTER (WHERE d.is_return), 0)
		FROM doc d
		LEFT JOIN back b ON b.root_key = d.doc_key AND b.member_id = d.member_id AND NOT d.is_return
		GROUP BY d.member_id, d.day;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		-- whose documents the books have by now
		DELETE FROM loyalty.non_member_day t USING loyalty.member m
		WHERE t.source_id = v_source.source_id AND m.member_id = t.member_id AND t.day >= m.joined_on;
		v_total := v_total + v_count;
		UPDATE loyalty.non_member_source t SET as_of = v_until, refreshed_at = clock_timestamp()
			WHERE t.source_id = v_source.source_id;
		PERFORM loyalty.count_non_members(v_source.program_id);
	END LOOP;
	RETURN v_total;
END
$$;
COMMENT ON FUNCTION loyalty.refresh_non_members(text, date, date) IS
'reads the documents of customers who are no members, of a source or all for which set_non_members() was called, from the ERP''s table: those dated since a day (default: the last reread_days before the last as_of, the first time all) up to as_of (programme time, default today); returns how many days of customers it wrote.  A sale that comes back altogether later than reread_days goes on counting as a sale; its return counts in the money';

CREATE VIEW loyalty.sales_by_membership WITH (security_invoker = true) AS
	SELECT p.name AS program, x.month, x.is_member, x.is_guest,
		sum(x.customers)::bigint AS customers, sum(x.sales)::bigint AS sales, sum(x.returns)::bigint AS returns,
		sum(x.gross)::numeric(18,2) AS gross_amount, sum(x.returned)::numeric(18,2) AS returned_amount,
		(sum(x.gross) - sum(x.returned))::numeric(18,2) AS net_amount,
		round(sum(x.gross) / nullif(sum(x.sales), 0), 2)::numeric(18,2) AS avg_sale_amount,
		round((sum(x.gross) - sum(x.returned)) / nullif(sum(x.customers), 0), 2)::numeric(18,2) AS net_amount_per_customer,
		round((sum(x.gross) - sum(x.returned)) / nullif(sum(sum(x.gross) - sum(x.returned)) OVER w, 0), 4)::numeric(18,4) AS net_share
	FROM (SELECT d.program_id, date_trunc('month', d.day)::date AS month, true AS is_member, false AS is_guest,
				0 AS customers, d.sales + d.reversed AS sales, d.returns, d.gross, d.returned
			FROM loyalty.program_day d
			UNION ALL
			SELECT c.program_id, c.month, true, false, c.members, 0, 0, 0, 0 FROM loyalty.program_cohort c
			UNION ALL
			SELECT n.program_id, n.month, false, n.is_guest, n.customers, n.sales + n.reversed, n.returns, n.gross, n.returned
			FROM loyalty.non_member_month n) x
	JOIN loyalty.program p ON p.program_id = x.program_id
	GROUP BY p.name, x.month, x.is_member, x.is_guest
	WINDOW w AS (PARTITION BY p.name, x.month);
COMMENT ON VIEW loyalty.sales_by_membership IS 'one row per programme, month and kind of customer: members, customers who are no members (or were none yet), guests; the latter two where set_non_members() has them read';
COMMENT ON COLUMN loyalty.sales_by_membership.program IS 'programme';
COMMENT ON COLUMN loyalty.sales_by_membership.month IS 'first day of the month (programme time)';
COMMENT ON COLUMN loyalty.sales_by_membership.is_member IS 'whether the customers were members';
COMMENT ON COLUMN loyalty.sales_by_membership.is_guest IS 'whether the documents have no customer';
COMMENT ON COLUMN loyalty.sales_by_membership.customers IS 'customers with a sale that was not returned altogether: the denominator of net_amount_per_customer; 0 for guests';
COMMENT ON COLUMN loyalty.sales_by_membership.sales IS 'sales, also those that were returned later: the denominator of avg_sale_amount';
COMMENT ON COLUMN loyalty.sales_by_membership.returns IS 'returns';
COMMENT ON COLUMN loyalty.sales_by_membership.gross_amount IS 'amount of the sales';
COMMENT ON COLUMN loyalty.sales_by_membership.returned_amount IS 'amount of the returns, positive';
COMMENT ON COLUMN loyalty.sales_by_membership.net_amount IS 'gross_amount - returned_amount';
COMMENT ON COLUMN loyalty.sales_by_membership.avg_sale_amount IS 'gross_amount / sales';
COMMENT ON COLUMN loyalty.sales_by_membership.net_amount_per_customer IS 'net_amount / customers; NULL for guests, who cannot be counted';
COMMENT ON COLUMN loyalty.sales_by_membership.net_share IS 'net_amount / that of all kinds of customers in the month';

CREATE VIEW loyalty.customer_sales WITH (security_invoker = true) AS
	SELECT p.name AS program, x.member_id, x.is_member, x.first_sale_on, x.last_sale_on,
		(x.sales + x.reversed)::bigint AS sales, x.reversed::bigint AS reversed_sales, x.returns::bigint AS returns,
		x.gross::numeric(18,2) AS gross_amount, x.returned::numeric(18,2) AS returned_amount, (x.gross - x.returned)::numeric(18,2) AS net_amount
	FROM (SELECT s.program_id, s.member_id, true AS is_member, s.first_sale_on, s.last_sale_on, s.sales, s.reversed, s.returns, s.gross, s.returned
			FROM loyalty.member_summary s
			UNION ALL
			SELECT d.program_id, d.member_id, false, min(d.day) FILTER (WHERE d.sales > 0), max(d.day) FILTER (WHERE d.sales > 0),
				sum(d.sales), sum(d.reversed), sum(d.returns), sum(d.gross), sum(d.returned)
			FROM loyalty.non_member_day d WHERE d.member_id <> 0
			GROUP BY d.program_id, d.member_id) x
	JOIN loyalty.program p ON p.program_id = x.program_id;
COMMENT ON VIEW loyalty.customer_sales IS 'one row per customer with documents, member or not, where set_non_members() has the latter read; a member who bought before he joined has two rows';
COMMENT ON COLUMN loyalty.customer_sales.program IS 'programme';
COMMENT ON COLUMN loyalty.customer_sales.member_id IS 'number of the member, or the number that the customer would have as one';
COMMENT ON COLUMN loyalty.customer_sales.is_member IS 'whether he was a member when he bought this';
COMMENT ON COLUMN loyalty.customer_sales.first_sale_on IS 'day of the first sale that was not returned altogether';
COMMENT ON COLUMN loyalty.customer_sales.last_sale_on IS 'day of the last one';
COMMENT ON COLUMN loyalty.customer_sales.sales IS 'sales, also those that were returned later';
COMMENT ON COLUMN loyalty.customer_sales.reversed_sales IS 'those of them that were returned altogether';
COMMENT ON COLUMN loyalty.customer_sales.returns IS 'returns';
COMMENT ON COLUMN loyalty.customer_sales.gross_amount IS 'amount of the sales';
COMMENT ON COLUMN loyalty.customer_sales.returned_amount IS 'amount of the returns, positive';
COMMENT ON COLUMN loyalty.customer_sales.net_amount IS 'gross_amount - returned_amount';
