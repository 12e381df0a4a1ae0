/*
 * The oracle against examples that were worked out by hand.  Every example is
 * a run of its own in the ERP's tables, undone afterwards.
 */
\set ON_ERROR_STOP 1
SET client_min_messages = warning;

CREATE FUNCTION rnd.example(title text, run text, statements text, want text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	v_got text;
BEGIN
	BEGIN
		EXECUTE statements;
		PERFORM rnd.load(run), rnd.compute();
		SELECT string_agg(split_part(key, '-', 2) || '=' || trim_scale(points)
				|| CASE WHEN overcredited <> 0 THEN '!' || trim_scale(overcredited) ELSE '' END, ' ' ORDER BY at, key)
			INTO v_got FROM (SELECT key, at, sum(points) AS points, sum(overcredited) AS overcredited FROM rnd.due GROUP BY 1, 2) d;
		RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = 'undo';
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
		NULL;
	END;
	RETURN CASE WHEN v_got = want THEN 'ok - ' ELSE 'not ok - ' END || title
		|| CASE WHEN v_got IS DISTINCT FROM want THEN ': wanted ' || want || ', got ' || coalesce(v_got, 'NULL') ELSE '' END;
END
$$;

SELECT rnd.example('bill 100 at 1 per 30: returns of 33, 33, 34 leave 2, 1, 0', '0x', $$
	INSERT INTO w_a.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_a.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 100);
	INSERT INTO w_a.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1'),
		('0x-R2', '0x-C1', '2024-01-03', '0x-I1'), ('0x-R3', '0x-C1', '2024-01-04', '0x-I1');
	INSERT INTO w_a.crn_line (key, parent, amount) VALUES ('0x-R1.1', '0x-R1', 33), ('0x-R2.1', '0x-R2', 33), ('0x-R3.1', '0x-R3', 34)$$,
	'I1=3 R1=-1 R2=-1 R3=-1');

SELECT rnd.example('returns count in order of date, then key', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 100, NULL),
		('0x-P3', '0x-C1', '2024-01-02', -5, '0x-P1'), ('0x-P2', '0x-C1', '2024-01-02', -10, '0x-P1'), ('0x-P4', '0x-C1', '2024-01-01', -1, '0x-P1')$$,
	'P1=3 P4=0 P2=-1 P3=0');

SELECT rnd.example('over-credited: no family below zero', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 60, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -50, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-03', -50, '0x-P1'), ('0x-P4', '0x-C1', '2024-01-04', -1, '0x-P1')$$,
	'P1=2 P2=-2 P3=0!40 P4=0!1');

SELECT rnd.example('a return of a return gives back', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 90, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -90, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-03', 60, '0x-P2')$$,
	'P1=3 P2=-3 P3=2');

SELECT rnd.example('a reversed return is a return that never was, over-credited or not', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 90, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -90, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-03', -30, '0x-P1'), ('0x-P4', '0x-C1', '2024-01-04', 90, '0x-P2')$$,
	'P1=3 P2=-3 P3=0!30 P4=2');

SELECT rnd.example('and the reversal may be dated before it', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 90, NULL),
		('0x-P2', '0x-C1', '2024-01-03', -60, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-02', 30, '0x-P2')$$,
	'P1=3 P3=0 P2=-1');

SELECT rnd.example('a guest brings back what a member bought; a member what a guest bought', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 90, NULL),
		('0x-P2', NULL, '2024-01-02', -60, '0x-P1'), ('0x-P3', NULL, '2024-01-03', 90, NULL), ('0x-P4', '0x-C1', '2024-01-04', -30, '0x-P3')$$,
	'P1=3 P2=-2');

SELECT rnd.example('by value and by line: nothing remains when all the money is back', '0x', $$
	INSERT INTO w_e.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_e.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 30), ('0x-I1.2', '0x-I1', 15);
	INSERT INTO w_e.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1'), ('0x-R2', '0x-C1', '2024-01-03', '0x-I1');
	INSERT INTO w_e.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 15, NULL), ('0x-R2.1', '0x-R2', 30, '0x-I1.1')$$,
	-- 10 + 5; 20 and 10 remain: 7 + 3; then nothing
	'I1=15 R1=-5 R2=-10');

SELECT rnd.example('a discount line stays behind: not below zero', '0x', $$
	INSERT INTO w_b.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_b.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 71), ('0x-I1.9', '0x-I1', -1);
	INSERT INTO w_b.crn (key, customer, at, of_inv, total) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1', 71);
	INSERT INTO w_b.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 71, '0x-I1.1')$$,
	'I1=10 R1=-10');

SELECT rnd.example('returns of a cancelled sale move nothing', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no, void) VALUES ('0x-P1', '0x-C1', '2024-01-01', 90, NULL, true),
		('0x-P2', '0x-C1', '2024-01-02', -90, '0x-P1', false), ('0x-P3', '0x-C1', '2024-01-03', 31, NULL, false)$$,
	'P3=1');

SELECT rnd.example('a return without an original, and one that links to nothing', '0x', $$
	INSERT INTO w_a.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', -59.99, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -60, '0x-nowhere')$$,
	'P1=-1');

SELECT rnd.example('paid with points: 100, of which 30, earns for 70; half of it back', '0x', $$
	INSERT INTO w_c.pos (no, customer, day, total, paid, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 100, 30, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -50, NULL, '0x-P1')$$,
	-- 3 per 7; 1.25 per full 100 is not reached by 70
	'P1=30 P2=-15');

SELECT rnd.example('steps: what remains reaches one step less', '0x', $$
	INSERT INTO w_c.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 210, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -7, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-03', -7, '0x-P1')$$,
	'P1=92.5 P2=-3 P3=-4.25');

SELECT rnd.example('foreign currency', '0x', $$
	INSERT INTO w_c.pos (no, customer, day, total, fx) VALUES ('0x-P1', '0x-C1', '2024-01-01', 11.2, 1.25)$$,
	'P1=6');

SELECT rnd.example('rounding up; 0 stays 0', '0x', $$
	INSERT INTO w_b.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-01-01', 7.01, NULL),
		('0x-P2', '0x-C1', '2024-01-02', -0.01, '0x-P1'), ('0x-P3', '0x-C1', '2024-01-03', -7, '0x-P1'), ('0x-P4', '0x-C1', '2024-01-04', -0.01, NULL)$$,
	'P1=1.1 P2=-0.1 P3=-1 P4=-0.1');

SELECT rnd.example('half to even: 0.5, 1.5, 2.5 of a point', '0x', $$
	INSERT INTO w_i.pos (no, customer, day, total) VALUES ('0x-P1', '0x-C1', '2024-01-01', 1),
		('0x-P2', '0x-C1', '2024-01-02', 3), ('0x-P3', '0x-C1', '2024-01-03', 5), ('0x-P4', '0x-C1', '2024-01-04', 5.01)$$,
	'P1=0 P2=2 P3=2 P4=3');

SELECT rnd.example('half to even at a hundredth, with a rate of 1.25', '0x', $$
	INSERT INTO w_d.pos (no, customer, day, total) VALUES ('0x-P1', '0x-C1', '2024-01-01', 0.0333),
		('0x-P2', '0x-C1', '2024-01-02', 9.99)$$,
	-- 0.00625 and 1.875
	'P1=0.01 P2=1.88');

SELECT rnd.example('companies outside the programme', '0x', $$
	INSERT INTO w_i.pos (no, customer, day, total, company) VALUES ('0x-P1', '0x-C1', '2024-01-01', 10, 'north'), ('0x-P2', '0x-C1', '2024-01-02', 10, 'east')$$,
	'P1=5');

SELECT rnd.example('rounded line by line; one line comes back', '0x', $$
	INSERT INTO w_e.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_e.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 5), ('0x-I1.2', '0x-I1', 5), ('0x-I1.3', '0x-I1', 100);
	INSERT INTO w_e.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1'), ('0x-R2', '0x-C1', '2024-01-03', '0x-I1');
	INSERT INTO w_e.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 5, '0x-I1.1'), ('0x-R2.1', '0x-R2', 1, '0x-I1.3')$$,
	-- 1.67 + 1.67 + (33.33 + 10); the third line at 99: 33 + 5
	'I1=47 R1=-2 R2=-5');

SELECT rnd.example('one line over-credited does not touch the others', '0x', $$
	INSERT INTO w_e.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_e.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 30), ('0x-I1.2', '0x-I1', 30);
	INSERT INTO w_e.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1');
	INSERT INTO w_e.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 45, '0x-I1.1')$$,
	'I1=20 R1=-10!15');

SELECT rnd.example('by value out of a sale with lines: every line gives its part', '0x', $$
	INSERT INTO w_e.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_e.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 60), ('0x-I1.2', '0x-I1', 30);
	INSERT INTO w_e.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1');
	INSERT INTO w_e.crn_line (key, parent, amount) VALUES ('0x-R1.1', '0x-R1', 30)$$,
	-- 20 + 5 + 10, then 40 and 20 remain: 13.33 and 6.67
	'I1=35 R1=-15');

SELECT rnd.example('one credit note for two sales', '0x', $$
	INSERT INTO w_e.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true), ('0x-I2', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_e.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 30), ('0x-I2.1', '0x-I2', 30);
	INSERT INTO w_e.crn (key, customer, at) VALUES ('0x-R1', '0x-C1', '2024-01-02');
	INSERT INTO w_e.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 15, '0x-I1.1'), ('0x-R1.2', '0x-R1', 30, '0x-I2.1'), ('0x-R1.3', '0x-R1', 3, NULL)$$,
	'I1=10 I2=10 R1=-16');

SELECT rnd.example('a line that does not earn', '0x', $$
	INSERT INTO w_f.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-01-01 12:00+00', true);
	INSERT INTO w_f.inv_line (key, parent, amount, earns) VALUES ('0x-I1.1', '0x-I1', 9, true), ('0x-I1.2', '0x-I1', 9, false);
	INSERT INTO w_f.crn (key, customer, at, of_inv) VALUES ('0x-R1', '0x-C1', '2024-01-02', '0x-I1'), ('0x-R2', '0x-C1', '2024-01-03', '0x-I1');
	INSERT INTO w_f.crn_line (key, parent, amount, of_line) VALUES ('0x-R1.1', '0x-R1', 9, '0x-I1.2'), ('0x-R2.1', '0x-R2', 4.5, NULL)$$,
	'I1=1 R1=0 R2=-0.5');

SELECT rnd.example('the day of a document is the programme''s', '0x', $$
	INSERT INTO w_h.inv (key, customer, at, posted) VALUES ('0x-I1', '0x-C1', '2024-07-01 03:59+00', true), ('0x-I2', '0x-C1', '2024-07-01 04:00+00', true);
	INSERT INTO w_h.inv_line (key, parent, amount) VALUES ('0x-I1.1', '0x-I1', 40), ('0x-I2.1', '0x-I2', 40)$$,
	'I1=11 I2=5');

SELECT rnd.example('returns by the sale''s rules, without an original by those of their day; ignored here', '0x', $$
	INSERT INTO w_h.pos (no, customer, day, total, of_no) VALUES ('0x-P1', '0x-C1', '2024-06-30', 40, NULL),
		('0x-P2', '0x-C1', '2024-07-01', -15.01, '0x-P1'), ('0x-P3', '0x-C1', '2024-07-02', -40, NULL)$$,
	'P1=11 P2=-10 P3=0');
