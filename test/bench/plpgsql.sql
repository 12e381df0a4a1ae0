-- The same logic as an ordinary PL/pgSQL row trigger: an invoice earns when it
-- is posted, and the difference is booked when it is edited or taken back.
CREATE FUNCTION earn() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
	v_member member;
	v_booked numeric;
	v_rate numeric;
	v_old_gross numeric := 0;
	v_gross numeric := 0;
	v_due numeric := 0;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		IF (NEW.customer_id, NEW.state, NEW.amount, NEW.paid_by_points, NEW.invoice_date)
			IS NOT DISTINCT FROM (OLD.customer_id, OLD.state, OLD.amount, OLD.paid_by_points, OLD.invoice_date) THEN
			RETURN NULL;
		END IF;
		IF NEW.customer_id <> OLD.customer_id THEN
			RAISE EXCEPTION 'an invoice does not change hands here';
		END IF;
		IF OLD.state = 'posted' THEN
			v_old_gross := OLD.amount;
		END IF;
	END IF;
	IF NEW.state = 'posted' THEN
		v_gross := NEW.amount;
	END IF;

	SELECT * INTO v_member FROM member WHERE customer_id = NEW.customer_id FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO member (customer_id) VALUES (NEW.customer_id) RETURNING * INTO v_member;
	END IF;

	-- an invoice keeps the rate at which it was booked first
	SELECT sum(points), min(rate) INTO v_booked, v_rate FROM entry WHERE invoice_id = NEW.invoice_id;
	v_booked := coalesce(v_booked, 0);
	IF v_rate IS NULL THEN
		SELECT rate INTO v_rate FROM tier
			WHERE threshold <= v_member.qualifying + v_gross ORDER BY threshold DESC LIMIT 1;
	END IF;
	IF NEW.state = 'posted' THEN
		v_due := floor((NEW.amount - NEW.paid_by_points) * v_rate / 300);
	END IF;

	IF v_due <> v_booked OR v_gross <> v_old_gross THEN
		UPDATE member SET
				balance = balance + v_due - v_booked,
				qualifying = qualifying + v_gross - v_old_gross,
				last_seq = last_seq + CASE WHEN v_due <> v_booked THEN 1 ELSE 0 END
			WHERE customer_id = NEW.customer_id
			RETURNING * INTO v_member;
	END IF;
	IF v_due <> v_booked THEN
		INSERT INTO entry (customer_id, seq, kind, points, rate, occurred_at, invoice_id)
			VALUES (NEW.customer_id, v_member.last_seq, CASE WHEN v_booked = 0 THEN 'earn' ELSE 'correction' END,
				v_due - v_booked, v_rate, NEW.invoice_date, NEW.invoice_id);
		INSERT INTO lot (customer_id, expires_on, seq, points, remaining)
			VALUES (NEW.customer_id, 'infinity', v_member.last_seq, v_due - v_booked, v_due - v_booked);
	END IF;
	RETURN NULL;
END
$$;

CREATE TRIGGER earn AFTER INSERT OR UPDATE ON invoice
	FOR EACH ROW EXECUTE FUNCTION earn();
