-- How points are valued and posted, the months that are closed, and how many
-- points are redeemed in the end.

CREATE TABLE loyalty.revenue_policy (
	program_id      integer NOT NULL,
	valid_from      date NOT NULL,
	standalone_price numeric NOT NULL CHECK (standalone_price > 0 AND standalone_price < 'Infinity'),
	expected_redemption numeric CHECK (expected_redemption BETWEEN 0 AND 1),
	revenue_account text NOT NULL,
	contract_liability_account text NOT NULL,
	provision_account text NOT NULL,
	expense_account text NOT NULL,
	cost_centre     text,
	PRIMARY KEY (program_id, valid_from)
);
COMMENT ON TABLE loyalty.revenue_policy IS 'how points are valued and posted to the general ledger; the row in force at the end of a month is the month''s';
COMMENT ON COLUMN loyalty.revenue_policy.program_id IS 'programme';
COMMENT ON COLUMN loyalty.revenue_policy.valid_from IS 'first day of the first month it is for; -infinity: from the beginning';
COMMENT ON COLUMN loyalty.revenue_policy.standalone_price IS 'money that a point is worth which is redeemed, in the programme''s currency';
COMMENT ON COLUMN loyalty.revenue_policy.expected_redemption IS 'part of the points that is redeemed in the end, 0 to 1; NULL: estimated, see expected_redemption()';
COMMENT ON COLUMN loyalty.revenue_policy.revenue_account IS 'account that the ERP posts members'' sales to';
COMMENT ON COLUMN loyalty.revenue_policy.contract_liability_account IS 'account of deferred revenue: points earned by purchases';
COMMENT ON COLUMN loyalty.revenue_policy.provision_account IS 'account of what points given otherwise will cost';
COMMENT ON COLUMN loyalty.revenue_policy.expense_account IS 'account of the expense for points given otherwise';
COMMENT ON COLUMN loyalty.revenue_policy.cost_centre IS 'cost centre of that expense';

CREATE TABLE loyalty.revenue_period (
	program_id      integer NOT NULL,
	period          date NOT NULL,
	closed_at       timestamptz NOT NULL,
	closed_by       text NOT NULL,
	sales           numeric(18,2) NOT NULL,
	points_issued   numeric(18,2) NOT NULL,
	points_redeemed numeric(18,2) NOT NULL,
	points_expired  numeric(18,2) NOT NULL,
	points_owed     numeric(18,2) NOT NULL,
	points_expected numeric(18,2) NOT NULL,
	expected_share  numeric(9,8) NOT NULL,
	allocated       numeric(18,2) NOT NULL,
	returned        numeric(18,2) NOT NULL,
	released        numeric(18,2) NOT NULL,
	granted         numeric(18,2) NOT NULL,
	used            numeric(18,2) NOT NULL,
	PRIMARY KEY (program_id, period)
);
COMMENT ON TABLE loyalty.revenue_period IS 'months that close_period() has closed: what revenue_state() said then, from the beginning through the month';
COMMENT ON COLUMN loyalty.revenue_period.program_id IS 'programme';
COMMENT ON COLUMN loyalty.revenue_period.period IS 'first day of the month';
COMMENT ON COLUMN loyalty.revenue_period.closed_at IS 'when it was closed';
COMMENT ON COLUMN loyalty.revenue_period.closed_by IS 'role that closed it';
COMMENT ON COLUMN loyalty.revenue_period.sales IS 'sales less returns, in money';
COMMENT ON COLUMN loyalty.revenue_period.points_issued IS 'points earned and given, less what was taken back';
COMMENT ON COLUMN loyalty.revenue_period.points_redeemed IS 'points redeemed, less what was given back';
COMMENT ON COLUMN loyalty.revenue_period.points_expired IS 'points that expired';
COMMENT ON COLUMN loyalty.revenue_period.points_owed IS 'points that lots owe at the end of the month';
COMMENT ON COLUMN loyalty.revenue_period.points_expected IS 'points that are redeemed in the end, those redeemed already among them';
COMMENT ON COLUMN loyalty.revenue_period.expected_share IS 'expected redemption at the end of the month, 0 to 1';
COMMENT ON COLUMN loyalty.revenue_period.allocated IS 'part of the sales that was deferred';
COMMENT ON COLUMN loyalty.revenue_period.returned IS 'part of it that went back because points were taken back';
COMMENT ON COLUMN loyalty.revenue_period.released IS 'part of it that became revenue';
COMMENT ON COLUMN loyalty.revenue_period.granted IS 'expense for points given otherwise';
COMMENT ON COLUMN loyalty.revenue_period.used IS 'part of that expense whose points were redeemed';

CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON loyalty.revenue_period
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard('append-only');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON loyalty.revenue_period
	FOR EACH STATEMENT EXECUTE FUNCTION loyalty.guard('append-only');
ALTER TABLE loyalty.revenue_period ENABLE ALWAYS TRIGGER guard;
ALTER TABLE loyalty.revenue_period ENABLE ALWAYS TRIGGER guard_truncate;

CREATE FUNCTION loyalty.set_revenue_policy(
	program text, standalone_price numeric, expected_redemption numeric DEFAULT NULL,
	revenue_account text DEFAULT 'revenue', contract_liability_account text DEFAULT 'contract liability',
	expense_account text DEFAULT 'loyalty expense', cost_centre text DEFAULT NULL,
	provision_account text DEFAULT NULL, valid_from date DEFAULT '-infinity')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_closed date := (SELECT max(r.period) FROM loyalty.revenue_period r WHERE r.program_id = v_program);
	v_account text;
BEGIN
	PERFORM loyalty.check_number('standalone_price', standalone_price, true);
	IF standalone_price >= 1000000000 OR standalone_price <> round(standalone_price, 6) THEN
		RAISE EXCEPTION 'invalid value for standalone_price: %', standalone_price
			USING ERRCODE = '22023', HINT = 'It must be below 1000000000, with at most six decimals.';
	END IF;
	PERFORM loyalty.check_share('expected_redemption', expected_redemption);
	FOREACH v_account IN ARRAY ARRAY[revenue_account, contract_liability_account, expense_account] LOOP
		IF v_account IS NULL OR btrim(v_account) = '' THEN
			RAISE EXCEPTION 'revenue, contract liability and expense need an account each'
				USING ERRCODE = '22023', HINT = 'Leave one out for its default.';
		END IF;
	END LOOP;
	IF valid_from IS NULL OR valid_from = 'infinity' OR extract(day FROM valid_from) <> 1 AND valid_from > '-infinity' THEN
		RAISE EXCEPTION 'invalid value for valid_from: %', coalesce(valid_from::text, 'NULL')
			USING ERRCODE = '22023', HINT = 'It can be -infinity or the first day of a month.';
	END IF;
	IF valid_from <= v_closed THEN
		RAISE EXCEPTION 'period % of programme "%" is closed', to_char(v_closed, 'YYYY-MM'), program
			USING ERRCODE = 'LY003', HINT = format('Use valid_from => %L or later.', to_char(v_closed + interval '1 month', 'YYYY-MM-DD'));
	END IF;
	INSERT INTO loyalty.revenue_policy AS p (program_id, valid_from, standalone_price, expected_redemption, revenue_account,
			contract_liability_account, provision_account, expense_account, cost_centre)
		VALUES (v_program, valid_from, standalone_price, expected_redemption, revenue_account,
			contract_liability_account, coalesce(provision_account, contract_liability_account), expense_account, cost_centre)
		ON CONFLICT ON CONSTRAINT revenue_policy_pkey DO UPDATE SET standalone_price = excluded.standalone_price,
			expected_redemption = excluded.expected_redemption, revenue_account = excluded.revenue_account,
			contract_liability_account = excluded.contract_liability_account, provision_account = excluded.provision_account,
			expense_account = excluded.expense_account, cost_centre = excluded.cost_centre;
END
$$;
COMMENT ON FUNCTION loyalty.set_revenue_policy(text, numeric, numeric, text, text, text, text, text, date) IS
'sets how points of a programme are valued and posted, for months from valid_from on (-infinity: all that no later row is for); a month that is closed keeps its figures; see the columns of loyalty.revenue_policy';

CREATE FUNCTION loyalty.months_between(month date, later date) RETURNS integer
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT ((pg_catalog.date_part('year', $2) - pg_catalog.date_part('year', $1)) * 12
		+ pg_catalog.date_part('month', $2) - pg_catalog.date_part('month', $1))::integer;
END;
COMMENT ON FUNCTION loyalty.months_between(date, date) IS 'months from the month of one day to that of another';

-- Of the points that are there at an age, a part is redeemed, a part expires
-- and the rest grows a month older: what all vintages did at that age, summed,
-- says how large the parts are.  Points older than any vintage has been yet go
-- on as in the last twelve months of age.  So the estimate needs a year of
-- history, it never counts on breakage that has not been seen, and it is 1
-- until then.
CREATE FUNCTION loyalty.redemption_share(held numeric[], redeemed numeric[], expired numeric[]) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_left numeric := 1;		-- part that has neither been redeemed nor expired
	v_share numeric := 0;
	v_redeemed numeric;
	v_expired numeric;
	v_last_held numeric := 0;
	v_last_redeemed numeric := 0;
	v_last_expired numeric := 0;
	v_ages integer := coalesce(cardinality(held), 0);
BEGIN
	IF v_ages < 12 OR held[1] <= 0 THEN
		RETURN 1;
	END IF;
	-- nothing is ever that old: that tells nothing
	WHILE held[v_ages] <= 0 LOOP
		v_ages := v_ages - 1;
	END LOOP;
	FOR i IN 1 .. v_ages LOOP
		v_redeemed := CASE WHEN held[i] > 0 THEN least(greatest(redeemed[i] / held[i], 0), 1) ELSE 0 END;
		v_expired := CASE WHEN held[i] > 0 THEN least(greatest(expired[i] / held[i], 0), 1 - v_redeemed) ELSE 0 END;
		v_share := v_share + v_left * v_redeemed;
		v_left := v_left * (1 - v_redeemed - v_expired);
		IF i > v_ages - 12 THEN
			v_last_held := v_last_held + greatest(held[i], 0);
			v_last_redeemed := v_last_redeemed + greatest(redeemed[i], 0);
			v_last_expired := v_last_expired + greatest(expired[i], 0);
		END IF;
	END LOOP;
	IF v_last_redeemed > 0 THEN
		v_share := v_share + v_left * v_last_redeemed / (v_last_redeemed + v_last_expired);
	END IF;
	RETURN round(least(v_share, 1), 8);
END
$$;
COMMENT ON FUNCTION loyalty.redemption_share(numeric[], numeric[], numeric[]) IS
'part of points that is redeemed in the end, given for every age in months what was held, redeemed and expired at it; 1 with less than 12 ages';

CREATE FUNCTION loyalty.open_month(program_id integer, as_of timestamptz) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT date_trunc('month', ($2 + interval '1 microsecond') AT TIME ZONE p.time_zone)::date FROM loyalty.program p WHERE p.program_id = $1
$$;
COMMENT ON FUNCTION loyalty.open_month(integer, timestamptz) IS 'internal: the first month of a programme that is not over at an instant';

-- From rows of point_flow(), column by column; month is the first that is not over.
CREATE FUNCTION loyalty.flow_curve(vintages date[], months date[], issued numeric[], redeemed numeric[], expired numeric[], month date)
RETURNS TABLE (age integer, vintages bigint, held numeric, redeemed numeric, expired numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
AS $$
	WITH flow AS MATERIALIZED (
		SELECT f.vintage, greatest(loyalty.months_between(f.vintage, f.month), 0) AS age,
			sum(f.issued) AS issued, sum(f.redeemed) AS redeemed, sum(f.expired) AS expired
		FROM unnest($1, $2, $3, $4, $5) f (vintage, month, issued, redeemed, expired)
		WHERE f.vintage < $6
		GROUP BY 1, 2
	), cell AS (
		SELECT v.vintage, k.age, coalesce(f.issued, 0) AS issued, coalesce(f.redeemed, 0) AS redeemed,
			coalesce(f.expired, 0) AS expired
		FROM (SELECT DISTINCT f.vintage FROM flow f) v
		CROSS JOIN LATERAL generate_series(0, loyalty.months_between(v.vintage, $6) - 1) k (age)
		LEFT JOIN flow f ON f.vintage = v.vintage AND f.age = k.age
	)
	SELECT c.age, count(*), round(sum(c.held), 2), round(sum(c.redeemed), 2), round(sum(c.expired), 2)
	FROM (SELECT g.age, g.redeemed, g.expired, g.redeemed + g.expired
				+ sum(g.issued - g.redeemed - g.expired) OVER (PARTITION BY g.vintage ORDER BY g.age) AS held
			FROM cell g) c
	GROUP BY c.age
$$;
COMMENT ON FUNCTION loyalty.flow_curve(date[], date[], numeric[], numeric[], numeric[], date) IS
'internal: the redemption curve of vintages before a month, from what was issued, redeemed and expired of them month by month';

CREATE FUNCTION loyalty.redemption_curve(program text, as_of timestamptz DEFAULT NULL,
	OUT age integer, OUT vintages bigint, OUT held numeric(18,2), OUT redeemed numeric(18,2), OUT expired numeric(18,2),
	OUT redeemed_share numeric(9,8), OUT expired_share numeric(9,8))
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	v_program integer := loyalty.program_id(program);
	v_as_of timestamptz := coalesce(as_of, now());
BEGIN
	RETURN QUERY
	SELECT a.age, a.vintages, a.held::numeric(18,2), a.redeemed::numeric(18,2), a.expired::numeric(18,2),
		round(least(greatest(a.redeemed / nullif(greatest(a.held, 0), 0), 0), 1), 8)::numeric(9,8),
		round(least(greatest(a.expired / nullif(greatest(a.held, 0), 0), 0), 1), 8)::numeric(9,8)
	FROM (SELECT array_agg(f.vintage) AS vintages, array_agg(f.month) AS months, array_agg(f.issued) AS issued,
				array_agg(f.redeemed) AS redeemed, array_agg(f.expired) AS expired
			FROM loyalty.point_flow(v_program, v_as_of) f WHERE f.class <> 'debt') f
	CROSS JOIN LATERAL loyalty.flow_curve(f.vintages, f.months, f.issued, f.redeemed, f.expired,
		loyalty.open_month(v_program, v_as_of)) a
	ORDER BY a.age;
END
$$;
COMMENT ON FUNCTION loyalty.redemption_curve(text, timestamptz) IS
'what members did with points by their age in whole months that were over at as_of: held (at the beginning, or issued then), redeemed and expired, of all vintages that have been that old';

CREATE FUNCTION loyalty.expected_redemption(program text, as_of timestamptz DEFAULT NULL) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT loyalty.redemption_share(array_agg(c.held ORDER BY c.age), array_agg(c.redeemed ORDER BY c.age), array_agg(c.expired ORDER BY c.age))
	FROM loyalty.redemption_curve($1, $2) c
$$;
COMMENT ON FUNCTION loyalty.expected_redemption(text, timestamptz) IS
'estimated part of points that is redeemed in the end, 0 to 1: the redemption curve, carried on beyond its end as in its last twelve months; 1 with less than 12 months of history';
