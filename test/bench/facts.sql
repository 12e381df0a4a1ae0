-- The books of somebody who must also find again what an invoice has earned
-- and why, to take it back: a row of facts for each invoice, as the extension
-- keeps it.  With it the same rows and indexes are written; the entry is its
-- own lot, as it is there.
DROP INDEX entry_invoice;
DROP TABLE lot;
CREATE TABLE document (
	invoice_id      bigint PRIMARY KEY,
	customer_id     bigint NOT NULL,
	state           text NOT NULL,
	kind            text NOT NULL,
	occurred_at     timestamptz NOT NULL,
	doc_date        date NOT NULL,
	gross           numeric NOT NULL,
	paid            numeric NOT NULL,
	tier_before     numeric,
	rate            numeric,
	rules           integer[],
	priced_at       timestamptz,
	qualifying      numeric NOT NULL,
	overcredited    numeric NOT NULL DEFAULT 0,
	points          numeric(18,2) NOT NULL,
	written_off     numeric(18,2) NOT NULL DEFAULT 0,
	last_seq        bigint,
	booked_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX document_customer ON document (customer_id, occurred_at);
