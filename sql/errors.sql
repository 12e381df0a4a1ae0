-- Mistakes in a mapping are refused at attach(), and the message points at them.
CREATE SCHEMA er_erp;
SET search_path = er_erp;
CREATE TABLE invoice (id integer PRIMARY KEY, customer text, day date, total numeric, paid boolean);
CREATE TABLE line (id integer PRIMARY KEY, invoice integer, amount numeric);
SELECT loyalty.create_program('er club', 'UTC') > 0 AS created;

-- the position is that within the expression
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total - r.discount');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'coalesce(r.total, 0) * rat(r.customer)');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'x.total');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total + + * 2');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total +');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => '(SELECT sum(l.amount) FROM lines l WHERE l.invoice = r.id)');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total + r.paid');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.customer || ''x''');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', posted => 'r.total', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.paid', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.nr', 'r.customer', 'r.day', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => '100 * sum(r.total)');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'rank() OVER ()');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'generate_series(1, 2)');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total, 1');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total; SELECT 1');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total FROM line');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => '$1');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => '');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id', line_amount => 'l.amount * l.qty');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'l.amount',
	lines => 'line', line_parent => 'l.invoice', line_key => 'l.id');

-- arguments
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day');
SELECT loyalty.attach('er', 'no club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'nowhere', 'r.id', 'r.customer', 'r.day', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', NULL, 'r.id', 'r.customer', 'r.day', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'invoice', NULL, 'r.customer', 'r.day', amount => 'r.total');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', lines => 'line');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', line_amount => 'l.amount');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', evaluate => 'later');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', on_error => 'shrug');
SELECT loyalty.attach('er', 'er club', 'invoice', 'r.id', 'r.customer', 'r.day', amount => 'r.total', unlinked => 'guess');
CREATE VIEW invoices AS SELECT * FROM invoice;
SELECT loyalty.attach('er', 'er club', 'invoices', 'r.id', 'r.customer', 'r.day', amount => 'r.total');
SELECT count(*) FROM loyalty.source WHERE name = 'er';
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('invoice'::regclass, 'line'::regclass);

-- the other functions; where in them an error is raised is their own business
\set SHOW_CONTEXT never
SELECT loyalty.create_program('er club', 'UTC');
SELECT loyalty.create_program('er other', 'Europe/Atlantis');
SELECT loyalty.create_program('er other', 'UTC', point_unit => 0.25);
SELECT loyalty.create_program('er other', 'UTC', rounding => 'sideways');
SELECT loyalty.create_program('er other', 'UTC', valid_from => '2024-12-31', valid_to => '2024-01-01');
SELECT loyalty.set_rule('no club', 'base', 1, 1);
SELECT loyalty.set_rule('er club', 'base', 1, 0);
SELECT loyalty.set_rule('er club', 'base', 'NaN', 1);
SELECT loyalty.end_rule('er club', 'base');
SELECT loyalty.set_tier('er club', 'Silver', -1);
SELECT loyalty.detach('nowhere');
SELECT * FROM loyalty.check_source('nowhere');
SELECT * FROM loyalty.verify('nowhere');
SELECT loyalty.reevaluate('nowhere', '1');
SELECT loyalty.retry_parked('nowhere');
CALL loyalty.backfill('nowhere');
SELECT loyalty.balance('no club', 'ann');
SELECT * FROM loyalty.explain('nowhere', '1');
SELECT * FROM loyalty.quote_earn('no club', 'ann', 1);
SELECT * FROM loyalty.quote_earn('er club', 'ann', 'NaN');
SELECT loyalty.enrol('er club', NULL);
-- a trigger function is none that one calls
SELECT loyalty.capture();
SELECT loyalty.guard();
CREATE TABLE mine (id integer);
CREATE TRIGGER points AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION loyalty.capture();
INSERT INTO mine VALUES (1);
DROP TABLE mine;
SELECT * FROM loyalty.check();
