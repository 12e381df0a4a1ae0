-- Online Retail as an ERP might hold it: an invoice header and its lines.
-- Returns are invoices of their own (numbers starting with C) with negative
-- quantities and no link to the sale; numbers starting with A are bad-debt
-- bookings and no business of a loyalty programme.

CREATE SCHEMA retail;

CREATE TABLE retail.invoice (
	invoice_no      text PRIMARY KEY,
	customer_id     integer,
	invoice_date    timestamp NOT NULL,
	country         text
);

CREATE TABLE retail.invoice_line (
	line_no         integer PRIMARY KEY,
	invoice_no      text NOT NULL REFERENCES retail.invoice,
	stock_code      text,
	description     text,
	quantity        integer NOT NULL,
	unit_price      numeric NOT NULL
);
CREATE INDEX ON retail.invoice_line (invoice_no);

-- the file as it is, column by column
CREATE UNLOGGED TABLE retail.staging (
	line_no         integer,
	invoice_no      text,
	stock_code      text,
	description     text,
	quantity        integer,
	invoice_date    timestamp,
	unit_price      numeric,
	customer_id     integer,
	country         text
);

SELECT loyalty.create_program('Retail', time_zone => 'Europe/London', currency => 'GBP') \g /dev/null

SELECT loyalty.set_tier('Retail', 'Bronze', 0, 1),
	loyalty.set_tier('Retail', 'Silver', 1000, 1.25),
	loyalty.set_tier('Retail', 'Gold', 5000, 1.5) \g /dev/null

SELECT loyalty.set_rule('Retail', 'a point per pound', points => 1, per_amount => 1) \g /dev/null

SELECT loyalty.attach('online', 'Retail', 'retail.invoice',
	key             => 'r.invoice_no',
	customer        => 'r.customer_id',
	doc_date        => 'r.invoice_date',
	filter          => $$left(r.invoice_no, 1) <> 'A'$$,
	lines           => 'retail.invoice_line',
	line_parent     => 'l.invoice_no',
	line_key        => 'l.line_no',
	line_product    => 'l.stock_code',
	line_qty        => 'l.quantity',
	line_amount     => 'l.quantity * l.unit_price') \g /dev/null

DO $$ BEGIN RAISE NOTICE 'programme "Retail": 3 tiers, 1 rule; retail.invoice and retail.invoice_line attached'; END $$;
