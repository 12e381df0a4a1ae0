-- The programme, its ladder and its rules, and the mapping of the ERP's tables.

SELECT loyalty.create_program('Club', time_zone => 'Europe/Berlin', currency => 'EUR') \g /dev/null

SELECT loyalty.set_tier('Club', 'Bronze', 0, 1),
	loyalty.set_tier('Club', 'Silver', 2000, 1.25),
	loyalty.set_tier('Club', 'Gold', 6000, 1.5) \g /dev/null

-- points can be spent two weeks after the sale; a rule below gives some that do not last
SELECT loyalty.set_redemption('Club', point_value => 0.05, redeem_min => 20),
	loyalty.set_expiry('Club', 'never', usable_after => 14) \g /dev/null

-- who reaches a tier is told
SELECT loyalty.set_message('Club', 'tier_up') \g /dev/null

-- 1 point for every 10 that was billed, in proportion; 5 more for each full 100
SELECT loyalty.set_rule('Club', 'a point per 10', points => 1, per_amount => 10),
	loyalty.set_rule('Club', 'five per full 100', points => 5, per_amount => 100, mode => 'step') \g /dev/null

SELECT loyalty.attach('invoices', 'Club', 'erp.invoice',
	key             => 'r.invoice_id',
	customer        => 'r.customer_id',
	doc_date        => 'r.invoice_date',
	posted          => $$r.status = 'posted'$$,
	void            => $$r.status = 'cancelled'$$,
	sign            => $$CASE r.kind WHEN 'credit_note' THEN -1 ELSE 1 END$$,
	return_of       => 'r.credits',
	lines           => 'erp.invoice_line',
	line_parent     => 'l.invoice_id',
	line_key        => 'l.line_id',
	line_product    => 'l.product_id',
	line_category   => '(SELECT p.category FROM erp.product p WHERE p.product_id = l.product_id)',
	line_qty        => 'l.quantity',
	line_amount     => 'round(l.quantity * l.unit_price * (1 - l.discount / 100), 2)',
	line_return_of  => 'l.takes_back') \g /dev/null

-- what marketing thought of: conditions over the invoice, its lines, and what the member bought before
SELECT loyalty.set_rule('Club', 'double on books', kind => 'multiplier', factor => 2, condition => $$line.category = 'books'$$),
	loyalty.set_rule('Club', 'nothing on clearance', kind => 'exclusion', condition => 'line.discount >= 20'),
	loyalty.set_rule('Club', 'welcome', kind => 'bonus', points => 50, condition => 'member.purchase_count = 0'),
	loyalty.set_rule('Club', 'every tenth purchase', kind => 'bonus', points => 100, condition => 'member.purchase_count % 10 = 9'),
	loyalty.set_rule('Club', 'big basket', kind => 'bonus', points => 30, condition => 'document.amount >= 400',
		cap_month => 60, expires => '90 days') \g /dev/null

DO $$ BEGIN RAISE NOTICE 'programme "Club": 3 tiers, 7 rules; erp.invoice and erp.invoice_line attached'; END $$;
