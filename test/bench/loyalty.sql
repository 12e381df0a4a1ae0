-- The extension, attached to the same table.
CREATE EXTENSION loyalty;
SELECT loyalty.create_program('bench', time_zone => 'UTC', currency => 'EUR');
SELECT loyalty.set_tier('bench', 'Basic', 0, 1);
SELECT loyalty.set_tier('bench', 'Silver', 20000, 1.25);
SELECT loyalty.set_tier('bench', 'Gold', 60000, 1.5);
SELECT loyalty.set_rule('bench', 'base', points => 1, per_amount => 300);
SELECT loyalty.attach('invoice', 'bench', 'invoice',
	key => 'r.invoice_id', customer => 'r.customer_id', doc_date => 'r.invoice_date',
	posted => $$r.state = 'posted'$$, amount => 'r.amount', paid_by_points => 'r.paid_by_points',
	currency => 'r.currency');
SELECT count(loyalty.enrol('bench', n::text)) FROM generate_series(1, :members) n;
