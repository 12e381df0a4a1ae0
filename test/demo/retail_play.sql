-- Plays the file in, month by month, each month one transaction of the ERP:
-- the triggers capture it and the commit books it.

ANALYZE retail.staging;

CREATE PROCEDURE retail.play()
LANGUAGE plpgsql AS $$
DECLARE
	v_month date;
	v_start timestamptz := clock_timestamp();
	v_from timestamptz;
	v_written timestamptz;
	v_invoices bigint;
	v_lines bigint;
BEGIN
	FOR v_month IN SELECT DISTINCT date_trunc('month', invoice_date)::date FROM retail.staging ORDER BY 1 LOOP
		v_from := clock_timestamp();
		-- a few invoices span two minutes
		INSERT INTO retail.invoice
			SELECT invoice_no, min(customer_id), min(invoice_date), min(country)
			FROM retail.staging
			GROUP BY invoice_no
			HAVING min(invoice_date) >= v_month AND min(invoice_date) < v_month + interval '1 month';
		GET DIAGNOSTICS v_invoices = ROW_COUNT;
		INSERT INTO retail.invoice_line
			SELECT s.line_no, s.invoice_no, s.stock_code, s.description, s.quantity, s.unit_price
			FROM retail.staging s JOIN retail.invoice i USING (invoice_no)
			WHERE i.invoice_date >= v_month AND i.invoice_date < v_month + interval '1 month'
			ORDER BY s.line_no;
		GET DIAGNOSTICS v_lines = ROW_COUNT;
		v_written := clock_timestamp();
		COMMIT;
		RAISE NOTICE '%: % invoices, % lines written in % s, committed in % s', to_char(v_month, 'YYYY-MM'),
			lpad(v_invoices::text, 5), lpad(v_lines::text, 6),
			to_char(extract(epoch FROM v_written - v_from), 'FM990.0'),
			to_char(extract(epoch FROM clock_timestamp() - v_written), 'FM990.0');
	END LOOP;
	RAISE NOTICE 'all of it in % s', to_char(extract(epoch FROM clock_timestamp() - v_start), 'FM9990.0');
END
$$;

CALL retail.play();

ANALYZE retail.invoice, retail.invoice_line;
