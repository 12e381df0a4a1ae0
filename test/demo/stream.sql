-- A seeded year of business, in many small transactions.  Nothing in here
-- knows of loyalty: it only does to the ERP's tables what an ERP does.

CREATE SCHEMA demo;

-- what was done how often
CREATE TABLE demo.tally (what text PRIMARY KEY, n bigint NOT NULL);

CREATE PROCEDURE demo.count_it(what text)
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO demo.tally AS t VALUES (what, 1) ON CONFLICT ON CONSTRAINT tally_pkey DO UPDATE SET n = t.n + 1;
END;

-- one to five lines of an invoice
CREATE PROCEDURE demo.add_lines(v_invoice bigint)
LANGUAGE plpgsql AS $$
DECLARE
	v_product integer;
BEGIN
	FOR i IN 1 .. 1 + floor(random() * 5)::integer LOOP
		v_product := 1 + floor(random() * 80);
		INSERT INTO erp.invoice_line (invoice_id, product_id, quantity, unit_price, discount)
			SELECT v_invoice, p.product_id, 1 + floor(random() * random() * 8), p.price,
				CASE WHEN random() < 0.15 THEN 10 ELSE 0 END
			FROM erp.product p WHERE p.product_id = v_product;
	END LOOP;
END
$$;

-- A new invoice.  Systems differ in the order in which they write one.
CREATE PROCEDURE demo.sell(v_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint := nextval(pg_get_serial_sequence('erp.invoice', 'invoice_id'));
	v_way double precision := random();
	-- a few customers buy much, many buy little; some do not say who they are
	v_customer integer := 1 + floor(300 * random() ^ 2);
BEGIN
	IF random() < 0.06 THEN
		v_customer := NULL;
	END IF;
	IF v_way < 0.50 THEN
		INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date) VALUES (v_id, v_customer, v_at);
		CALL demo.add_lines(v_id);
		UPDATE erp.invoice SET status = 'posted' WHERE invoice_id = v_id;
		CALL demo.count_it('sales: draft, lines, then posted');
	ELSIF v_way < 0.70 THEN
		INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date, status) VALUES (v_id, v_customer, v_at, 'posted');
		CALL demo.add_lines(v_id);
		CALL demo.count_it('sales: posted at once, lines later');
	ELSIF v_way < 0.85 THEN
		CALL demo.add_lines(v_id);
		INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date, status) VALUES (v_id, v_customer, v_at, 'posted');
		CALL demo.count_it('sales: lines before the header');
	ELSIF v_way < 0.95 THEN
		-- the till tries, loses its connection to the card reader, and tries again
		BEGIN
			INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date, status) VALUES (v_id, v_customer, v_at, 'posted');
			CALL demo.add_lines(v_id);
			RAISE EXCEPTION 'card reader' USING ERRCODE = 'ZZ001';
		EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
			NULL;
		END;
		INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date, status) VALUES (v_id, v_customer, v_at, 'posted');
		CALL demo.add_lines(v_id);
		CALL demo.count_it('sales: rolled back to a savepoint and done again');
	ELSE
		INSERT INTO erp.invoice (invoice_id, customer_id, invoice_date) VALUES (v_id, v_customer, v_at);
		CALL demo.add_lines(v_id);
		CALL demo.count_it('sales: left as a draft');
	END IF;
END
$$;

-- an invoice or credit note of the last weeks in a given status, or NULL
CREATE FUNCTION demo.recent(v_kind text, v_status text) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	v_last bigint := (SELECT max(invoice_id) FROM erp.invoice);
	v_from bigint := v_last - floor(random() * 400)::bigint;
BEGIN
	RETURN (SELECT i.invoice_id FROM erp.invoice i
		WHERE i.invoice_id BETWEEN v_from AND v_last AND i.kind = v_kind AND i.status = v_status
		ORDER BY i.invoice_id LIMIT 1);
END
$$;

-- takes back some of the goods, each line naming the line it came from
CREATE PROCEDURE demo.return_lines(v_sale bigint, v_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
BEGIN
	INSERT INTO erp.invoice (kind, customer_id, invoice_date, status)
		SELECT 'credit_note', i.customer_id, v_at, 'posted' FROM erp.invoice i WHERE i.invoice_id = v_sale
		RETURNING invoice_id INTO v_id;
	INSERT INTO erp.invoice_line (invoice_id, product_id, quantity, unit_price, discount, takes_back)
		SELECT v_id, l.product_id, ceil(l.quantity * random()), l.unit_price, l.discount, l.line_id
		FROM erp.invoice_line l WHERE l.invoice_id = v_sale
		ORDER BY l.line_id LIMIT 1 + floor(random() * 3)::integer;
	CALL demo.count_it('returns: line by line');
END
$$;

-- credits part of an invoice's value, or all of it, naming the invoice only
CREATE PROCEDURE demo.return_value(v_sale bigint, v_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_part numeric := (ARRAY[0.1, 0.25, 0.5, 1])[1 + floor(random() * 4)::integer];
BEGIN
	INSERT INTO erp.invoice (kind, customer_id, invoice_date, credits, note)
		SELECT 'credit_note', i.customer_id, v_at, v_sale, 'goodwill' FROM erp.invoice i WHERE i.invoice_id = v_sale
		RETURNING invoice_id INTO v_id;
	INSERT INTO erp.invoice_line (invoice_id, product_id, quantity, unit_price)
		SELECT v_id, min(l.product_id), 1, round(v_part * sum(l.quantity * l.unit_price * (1 - l.discount / 100)), 2)
		FROM erp.invoice_line l WHERE l.invoice_id = v_sale;
	UPDATE erp.invoice SET status = 'posted' WHERE invoice_id = v_id;
	CALL demo.count_it('returns: by value of the invoice');
END
$$;

-- what happens to documents that are there already
CREATE PROCEDURE demo.afterwards(v_at timestamp)
LANGUAGE plpgsql AS $$
DECLARE
	v_id bigint;
	v_what double precision := random();
	v_customer integer := 1 + floor(random() * 300);
BEGIN
	-- not before there is something to change
	IF NOT EXISTS (SELECT FROM erp.invoice WHERE invoice_id > 20) THEN
		RETURN;
	END IF;
	IF v_what < 0.30 THEN
		UPDATE erp.invoice SET is_paid = true WHERE invoice_id = (SELECT demo.recent('invoice', 'posted'));
		CALL demo.count_it('changes: paid, which concerns nobody here');
	ELSIF v_what < 0.42 THEN
		v_id := demo.recent('invoice', 'posted');
		CALL demo.return_lines(v_id, v_at);
		IF random() < 0.3 THEN
			CALL demo.return_lines(v_id, v_at + interval '10 minutes');
		END IF;
	ELSIF v_what < 0.48 THEN
		CALL demo.return_value(demo.recent('invoice', 'posted'), v_at);
	ELSIF v_what < 0.55 THEN
		v_id := demo.recent('invoice', 'posted');
		UPDATE erp.invoice_line SET quantity = quantity + 1
			WHERE line_id = (SELECT max(line_id) FROM erp.invoice_line WHERE invoice_id = v_id);
		CALL demo.count_it('changes: a line of a posted invoice');
	ELSIF v_what < 0.58 THEN
		-- back to draft, corrected, and posted again
		v_id := demo.recent('invoice', 'posted');
		UPDATE erp.invoice SET status = 'draft' WHERE invoice_id = v_id;
		UPDATE erp.invoice_line SET discount = 20 WHERE invoice_id = v_id;
		UPDATE erp.invoice SET status = 'posted' WHERE invoice_id = v_id;
		CALL demo.count_it('changes: taken back to draft and posted again');
	ELSIF v_what < 0.61 THEN
		UPDATE erp.invoice SET status = 'cancelled' WHERE invoice_id = (SELECT demo.recent('invoice', 'posted'));
		CALL demo.count_it('changes: invoice cancelled');
	ELSIF v_what < 0.63 THEN
		UPDATE erp.invoice SET status = 'cancelled' WHERE invoice_id = (SELECT demo.recent('credit_note', 'posted'));
		CALL demo.count_it('changes: credit note cancelled');
	ELSIF v_what < 0.67 THEN
		-- a guest comes back with the receipt
		UPDATE erp.invoice SET customer_id = v_customer
			WHERE invoice_id = (SELECT max(invoice_id) FROM erp.invoice WHERE customer_id IS NULL AND kind = 'invoice');
		CALL demo.count_it('changes: guest''s invoice claimed by a customer');
	ELSIF v_what < 0.68 THEN
		UPDATE erp.invoice SET customer_id = v_customer
			WHERE invoice_id = (SELECT demo.recent('invoice', 'posted'));
		CALL demo.count_it('changes: invoice moved to another customer');
	ELSIF v_what < 0.72 THEN
		UPDATE erp.invoice SET status = 'posted' WHERE invoice_id = (SELECT demo.recent('invoice', 'draft'));
		CALL demo.count_it('changes: old draft posted');
	ELSIF v_what < 0.73 THEN
		DELETE FROM erp.invoice i
			WHERE i.invoice_id = (SELECT demo.recent('invoice', 'draft'))
			AND NOT EXISTS (SELECT FROM erp.invoice c WHERE c.credits = i.invoice_id)
			AND NOT EXISTS (SELECT FROM erp.invoice_line b JOIN erp.invoice_line l ON b.takes_back = l.line_id
				WHERE l.invoice_id = i.invoice_id);
		CALL demo.count_it('changes: draft deleted');
	ELSIF v_what < 0.75 THEN
		-- found in a drawer: it is dated weeks ago
		CALL demo.sell(v_at - interval '40 days');
		CALL demo.count_it('changes: back-dated invoice entered');
	END IF;
END
$$;

CREATE PROCEDURE demo.play(v_invoices integer)
LANGUAGE plpgsql AS $$
DECLARE
	v_start timestamptz := clock_timestamp();
	v_at timestamp := '2024-01-02 09:00';
	v_commits integer := 0;
BEGIN
	PERFORM setseed(0.42);
	FOR i IN 1 .. v_invoices LOOP
		v_at := date_trunc('second', v_at + interval '1 year' / v_invoices * (0.5 + random()));
		CALL demo.sell(v_at);
		-- most transactions are one document, some are a few
		IF random() < 0.8 THEN
			COMMIT;
			v_commits := v_commits + 1;
		END IF;
		IF random() < 0.5 THEN
			CALL demo.afterwards(v_at + interval '5 minutes');
			COMMIT;
			v_commits := v_commits + 1;
		END IF;
		IF i % 500 = 0 THEN
			RAISE NOTICE '% of % invoices, % transactions, % s', i, v_invoices, v_commits,
				round(extract(epoch FROM clock_timestamp() - v_start), 1);
		END IF;
	END LOOP;
	COMMIT;
END
$$;

CALL demo.play(5000);

ANALYZE erp.invoice, erp.invoice_line;

\echo
SELECT what AS "what was done", n AS "times" FROM demo.tally ORDER BY what;
