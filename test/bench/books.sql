-- The books of somebody who does without the extension: what the extension
-- writes for an invoice, less its row of facts; no more indexes than needed to
-- find a member's entries, an invoice's entry and a member's lots.
CREATE TABLE tier (
	threshold       numeric PRIMARY KEY,
	name            text NOT NULL,
	rate            numeric NOT NULL
);
INSERT INTO tier VALUES (0, 'Basic', 1), (20000, 'Silver', 1.25), (60000, 'Gold', 1.5);

CREATE TABLE member (
	customer_id     bigint PRIMARY KEY,
	balance         numeric(18,2) NOT NULL DEFAULT 0,
	qualifying      numeric NOT NULL DEFAULT 0,
	last_seq        bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE entry (
	customer_id     bigint NOT NULL,
	seq             bigint NOT NULL,
	kind            text NOT NULL,
	points          numeric(18,2) NOT NULL,
	rate            numeric NOT NULL,
	occurred_at     timestamptz NOT NULL,
	recorded_at     timestamptz NOT NULL DEFAULT now(),
	invoice_id      bigint NOT NULL,
	PRIMARY KEY (customer_id, seq)
);
CREATE INDEX entry_invoice ON entry (invoice_id);

CREATE TABLE lot (
	customer_id     bigint NOT NULL,
	expires_on      date NOT NULL,
	seq             bigint NOT NULL,
	points          numeric(18,2) NOT NULL,
	remaining       numeric(18,2) NOT NULL,
	PRIMARY KEY (customer_id, expires_on, seq)
) WITH (fillfactor = 80);

INSERT INTO member (customer_id) SELECT generate_series(1, :members);
