-- Several types of points in one programme.  A wallet has rules, lots and a
-- balance of its own, so it is a programme of its own, which the documents of
-- the other one's sources count for as well.

CREATE FUNCTION loyalty.create_wallet(program text, wallet text, point_unit numeric DEFAULT NULL, rounding text DEFAULT NULL,
	rounding_scope text DEFAULT NULL, negative text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_parent loyalty.program;
	v_name text := program || '/' || wallet;
	v_id integer;
	v_tier text;
BEGIN
	SELECT p.* INTO v_parent FROM loyalty.program p WHERE p.program_id = loyalty.program_id(program);
	IF wallet IS NULL OR btrim(wallet) = '' OR strpos(wallet, '/') > 0 THEN
		RAISE EXCEPTION 'invalid name of a wallet: %', coalesce('"' || wallet || '"', 'NULL')
			USING ERRCODE = '22023', HINT = 'It has at least one character, and no slash.';
	END IF;
	IF v_parent.wallet_of IS NOT NULL THEN
		RAISE EXCEPTION 'programme "%" is itself a wallet', program
			USING ERRCODE = 'LY003', HINT = 'Make the wallet in the programme it belongs to.';
	END IF;
	v_id := loyalty.create_program(v_name, v_parent.time_zone, v_parent.currency, coalesce(point_unit, v_parent.point_unit),
		coalesce(rounding, v_parent.rounding), coalesce(rounding_scope, v_parent.rounding_scope), v_parent.crossing,
		coalesce(negative, v_parent.negative), v_parent.enrolment, v_parent.companies, v_parent.valid_from, v_parent.valid_to,
		v_parent.stacking, v_parent.broken_rule);
	PERFORM loyalty.mark_wallet(v_name, program);
	PERFORM loyalty.attach_wallets(program);
	RETURN v_id;
END
$$;
COMMENT ON FUNCTION loyalty.create_wallet(text, text, numeric, text, text, text) IS
'makes another type of points in a programme: a programme named program/wallet with rules and balances of its own, for which the documents of the programme''s sources count as well; NULL: as in the programme.  Only who may attach those tables may call it';

CREATE FUNCTION loyalty.mark_wallet(wallet text, program text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE loyalty.program p SET wallet_of = loyalty.program_id($2) WHERE p.program_id = loyalty.program_id($1)
$$;
COMMENT ON FUNCTION loyalty.mark_wallet(text, text) IS 'notes that a programme is a wallet of another one; part of create_wallet()';

CREATE FUNCTION loyalty.attach_wallets(program text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_done bigint := 0;
	v_source record;
BEGIN
	FOR v_source IN
		SELECT w.name AS wallet, s.* FROM loyalty.program w
			JOIN loyalty.source s ON s.program_id = w.wallet_of AND s.attached AND s.header <> 'loyalty.event'::regclass
			WHERE w.wallet_of = loyalty.program_id(program)
				AND NOT EXISTS (SELECT FROM loyalty.source x WHERE x.program_id = w.program_id AND x.attached
					AND x.name = s.name || substr(w.name, length(program) + 1))
			ORDER BY w.program_id, s.source_id LOOP
		PERFORM loyalty.attach(
			source => v_source.name || substr(v_source.wallet, length(program) + 1), program => v_source.wallet, header => v_source.header,
			key => v_source.key, customer => v_source.customer, doc_date => v_source.doc_date, posted => v_source.posted,
			amount => v_source.amount, filter => v_source.filter, sign => v_source.sign, company => v_source.company,
			currency => v_source.currency, rate => v_source.rate, paid_by_points => v_source.paid_by_points,
			return_of => v_source.return_of,
			return_source => v_source.return_source || substr(v_source.wallet, length(program) + 1),
			void => v_source.void, channel => v_source.channel, enrol => v_source.enrol, birthday => v_source.birthday,
			member_attributes => v_source.member_attributes, usable_from => v_source.usable_from, lines => v_source.lines,
			line_parent => v_source.line_parent, line_key => v_source.line_key, line_filter => v_source.line_filter,
			line_product => v_source.line_product, line_category => v_source.line_category, line_qty => v_source.line_qty,
			line_amount => v_source.line_amount, line_cost => v_source.line_cost, line_list_price => v_source.line_list_price,
			line_launched_on => v_source.line_launched_on, line_stock => v_source.line_stock, line_attributes => v_source.line_attributes,
			line_return_of => v_source.line_return_of, evaluate => v_source.evaluate, on_error => v_source.on_error,
			unlinked => v_source.unlinked, search_path => v_source.search_path);
		v_done := v_done + 1;
	END LOOP;
	RETURN v_done;
END
$$;
COMMENT ON FUNCTION loyalty.attach_wallets(text) IS
'attaches the sources of a programme for those of its wallets that do not have them yet; returns the number of sources it made';

CREATE FUNCTION loyalty.wallets(program text, customer text, at timestamptz DEFAULT NULL,
	OUT wallet text, OUT balance numeric(18,2), OUT pending numeric(18,2), OUT held numeric(18,2), OUT available numeric(18,2))
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT w.name, p.balance, p.pending, p.held, p.available
	FROM loyalty.program w
	CROSS JOIN LATERAL loyalty.points(w.name, $2, $3) p
	WHERE loyalty.program_id($1) IN (w.program_id, w.wallet_of)
	ORDER BY w.wallet_of NULLS FIRST, w.program_id
$$;
COMMENT ON FUNCTION loyalty.wallets(text, text, timestamptz) IS
'the points of a customer by type: those of the programme itself, then those of its wallets';
