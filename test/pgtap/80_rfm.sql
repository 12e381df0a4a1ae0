-- RFM: figures and scores by hand, methods, populations, time, segments.
\ir common.psql
SELECT no_plan();

SELECT loyalty.create_program('club', 'Europe/Berlin') \gset
SELECT loyalty.set_rule('club', 'base', 1, 10) \gset
SELECT shop.attach('club', 'club', evaluate => 'statement') \gset

INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES
	(1, 'a', '2024-01-01 12:00+01', 100, NULL),
	(2, 'b', '2024-01-02 12:00+01', 100, NULL),
	(3, 'b', '2024-02-01 12:00+01', 50, NULL),
	(4, 'c', '2024-03-01 12:00+01', 300, NULL),
	(5, 'd', '2024-03-01 12:00+01', 200, NULL),
	(6, 'e', '2024-01-20 12:00+01', 10, NULL),
	(7, 'e', '2024-01-20 18:00+01', 20, NULL),
	(8, 'e', '2024-02-01 12:00+01', 30, NULL);
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES
	(9, 'c', '2024-03-05 12:00+01', -300, 4),
	(10, 'd', '2024-03-09 12:00+01', -50, 5),
	(11, 'f', '2024-02-15 12:00+01', -20, NULL),
	(12, NULL, '2024-02-15 12:00+01', 20, NULL);
SELECT loyalty.enrol('club', 'g', '2024-02-20') \gset
SELECT loyalty.enrol('club', 'h', '2024-03-11') \gset

CREATE FUNCTION shop.rfm(as_of date, window_days integer DEFAULT NULL, method text DEFAULT NULL, program text DEFAULT 'club') RETURNS text
LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s%s', m.customer, CASE x.population WHEN 'scored' THEN concat(x.r, x.f, x.m) ELSE x.population END,
			CASE WHEN x.population = 'scored' THEN format(' %s/%s/%s', x.recency_days, x.frequency, x.monetary) END), ', ' ORDER BY m.customer)
	FROM loyalty.rfm($1, $2, $3, $4) x JOIN loyalty.member m USING (member_id)
$$;

-- n = 4: 1 + 5 * (rank - 1) / 4 is 1, 2, 3, 4
SELECT is(shop.rfm('2024-03-10'),
	'a 112 69/1/100.00, b 233 38/2/150.00, c returns_only, d 413 9/1/150.00, e 241 38/3/60.00, f returns_only, g prospect',
	'scores by rank: ties share the lower one; a return nets M and refreshes nothing; what was returned altogether does not count');
SELECT is(shop.rfm('2024-03-10', method => 'ntile'),
	'a 112 69/1/100.00, b 233 38/2/150.00, c returns_only, d 424 9/1/150.00, e 341 38/3/60.00, f returns_only, g prospect',
	'ntile breaks ties by the customer''s key');
-- R: days 69, 38, 9 (range 60), F: 1, 2, 3 (range 2), M: 60, 100, 150 (range 90)
SELECT is(shop.rfm('2024-03-10', method => 'cut'),
	'a 113 69/1/100.00, b 335 38/2/150.00, c returns_only, d 515 9/1/150.00, e 351 38/3/60.00, f returns_only, g prospect',
	'cut takes fifths of the range');
SELECT throws_ok($$SELECT * FROM loyalty.rfm('2024-03-10', method => 'fixed', program => 'club')$$, 'LY001', NULL, 'fixed needs bounds');
SELECT loyalty.set_rfm('club', 'fixed', recency_bounds => '{9,37,38,68}', frequency_bounds => '{2,3,4,5}', monetary_bounds => '{60.01,100,149.99,1000}') \gset
SELECT is(shop.rfm('2024-03-10'),
	'a 113 69/1/100.00, b 324 38/2/150.00, c returns_only, d 514 9/1/150.00, e 331 38/3/60.00, f returns_only, g prospect',
	'fixed bounds: at most so many days, at least so many sales and so much money');
SELECT loyalty.set_rfm('club') \gset

-- the window
SELECT is(shop.rfm('2024-03-10', 38),
	'a lapsed, b lapsed, c returns_only, d 111 9/1/150.00, e lapsed, f returns_only, g prospect', 'the 38 days before do not reach back to 1 February');
SELECT matches(shop.rfm('2024-03-10', 39), 'b [0-9]{3} 38/1/50.00.*e [0-9]{3} 38/1/30.00', '39 days do');
-- time: nothing dated later is seen, neither sales nor returns
SELECT is(shop.rfm('2024-03-04'),
	'a 112 63/1/100.00, b 243 32/2/150.00, c 415 3/1/300.00, d 414 3/1/200.00, e 251 32/3/60.00, f returns_only, g prospect',
	'as of 4 March the returns of 5 and 9 March have not happened');
SELECT is(shop.rfm('2024-01-01'), 'a 111 0/1/100.00', 'on the first day there is one member, scored among one');
SELECT is(shop.rfm('2023-12-31'), NULL, 'and nobody before it');
-- an instant belongs to the programme's day
INSERT INTO shop.invoice (id, customer, at, total) VALUES (13, 'a', '2024-03-09 23:30+00', 5);
SELECT matches(shop.rfm('2024-03-10'), '^a [0-9]{3} 0/2/105.00', '23:30 UTC is the next day in Berlin');
SELECT matches(shop.rfm('2024-03-09'), '^a [0-9]{3} 68/1/100.00', 'and not yet on the day before');
DELETE FROM shop.invoice WHERE id = 13;
SELECT matches(shop.rfm('2024-03-10'), '^a [0-9]{3} 69/1/100.00', 'a document that was deleted is gone');

-- wrong arguments
SELECT throws_ok($$SELECT * FROM loyalty.rfm(method => 'quintile')$$, '22023', NULL, 'an unknown method is refused');
SELECT throws_ok($$SELECT * FROM loyalty.rfm(window_days => 0)$$, '22023', NULL, 'a window of no days is refused');
SELECT throws_ok($$SELECT * FROM loyalty.rfm(as_of => 'infinity')$$, '22023', NULL, 'an infinite day is refused');
SELECT throws_ok($$SELECT * FROM loyalty.rfm(program => 'nope')$$, 'LY001', NULL, 'an unknown programme is refused');
SELECT throws_ok($$SELECT loyalty.set_rfm('club', model => 'nope')$$, 'LY001', NULL, 'an unknown model is refused');
SELECT throws_ok($$SELECT loyalty.set_rfm('club', 'fixed')$$, '22023', NULL, 'fixed without bounds is refused');
SELECT throws_ok($$SELECT loyalty.set_rfm('club', recency_bounds => '{1,2,3}')$$, '22023', NULL, 'three bounds are refused');
SELECT throws_ok($$SELECT loyalty.set_rfm('club', monetary_bounds => '{1,2,3,NaN}')$$, '22023', NULL, 'NaN is refused');
SELECT throws_ok($$SELECT loyalty.set_rfm('club', frequency_bounds => '{1,2,2,3}')$$, '22023', NULL, 'bounds that do not ascend are refused');

-- metamorphic: each change below must leave every score alone
CREATE FUNCTION shop.scores(program text) RETURNS text
LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s', m.customer, x.population, concat(x.r, x.f, x.m)), ', ' ORDER BY m.customer, y.method)
	FROM unnest('{rank,ntile,cut}'::text[]) y (method), loyalty.rfm('2024-03-10', method => y.method, program => $1) x
		JOIN loyalty.member m USING (member_id)
$$;
SELECT shop.scores('club') AS before \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (20, 'a', '2024-03-08', 77);
SELECT isnt(shop.scores('club'), :'before', 'another sale moves scores');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (21, 'a', '2024-03-08', -70, 20);
SELECT isnt(shop.scores('club'), :'before', 'also if most of it is returned');
INSERT INTO shop.invoice (id, customer, at, total, return_of) VALUES (22, 'a', '2024-03-08', -7, 20);
SELECT is(shop.scores('club'), :'before', 'a sale with its full return changes nothing');
DELETE FROM shop.invoice WHERE id >= 20;
SELECT is(shop.scores('club'), :'before', 'nor does their removal');
UPDATE shop.invoice SET total = total * 7;
SELECT is(shop.scores('club'), :'before', 'all amounts times seven change nothing');
UPDATE shop.invoice SET total = total / 7;
SELECT loyalty.create_program('shuffled', 'Europe/Berlin') \gset
SELECT shop.attach('shuffled', 'shuffled') \gset
SELECT loyalty.book('shuffled', (SELECT array_agg(i.id::text ORDER BY md5(i.id::text)) FROM shop.invoice i)) \gset
SELECT loyalty.enrol('shuffled', 'g', '2024-02-20') \gset
SELECT is(shop.scores('shuffled'), :'before', 'the order of booking changes nothing, and a programme that earns nothing is scored as well');
-- two customers become one
UPDATE shop.invoice SET customer = 'e' WHERE customer = 'b';
SELECT matches(shop.rfm('2024-03-10'), 'b prospect.*e [0-9]{3} 38/5/210.00', 'a customer merged into another has his purchases');
UPDATE shop.invoice SET customer = 'b' WHERE id IN (2, 3);
SELECT is(shop.scores('club'), :'before', 'and back');

-- what is kept is what the documents give
SELECT cmp_ok(loyalty.refresh_analytics('club', '2024-03-10'), '>=', 6::bigint, 'a refresh reads the members');
CREATE FUNCTION shop.kept() RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN NEXT set_eq($q$SELECT c.member_id, c.population, c.last_sale_on, c.recency_days, c.frequency, c.monetary, c.r, c.f, c.m, c.segment
			FROM loyalty.rfm_current c WHERE c.program = 'club'$q$,
		$q$SELECT x.member_id, x.population, x.last_sale_on, x.recency_days, x.frequency, x.monetary, x.r, x.f, x.m, x.segment
			FROM (SELECT DISTINCT c.as_of FROM loyalty.rfm_current c WHERE c.program = 'club') a, loyalty.rfm(a.as_of, program => 'club') x$q$,
		'rfm_current is rfm() of its day');
END
$$;
SELECT shop.kept();
SELECT is((SELECT string_agg(format('%s %s %s', segment, members, net_amount), ', ' ORDER BY position, segment) FROM loyalty.segment_summary WHERE program = 'club'),
	'promising 1 150.00, at_risk 2 210.00, hibernating 1 100.00, prospect 1 0.00, returns_only 2 -20.00', 'segment_summary');
SELECT loyalty.set_rfm('club', window_days => 40) \gset
SELECT loyalty.refresh_analytics('club', '2024-03-10') \gset
SELECT shop.kept();
SELECT loyalty.refresh_analytics('club', '2024-03-04') \gset
SELECT shop.kept();
SELECT loyalty.set_rfm('club') \gset
INSERT INTO shop.invoice (id, customer, at, total) VALUES (30, 'g', '2024-03-12', 1000), (31, 'a', '2024-03-11', 3);
SELECT loyalty.refresh_analytics('club', '2024-03-11') \gset
SELECT shop.kept();
SELECT is((SELECT population FROM loyalty.rfm_current c WHERE c.member_id = loyalty.member_id('club', 'g')), 'prospect',
	'a document of tomorrow waits until then');
SELECT loyalty.refresh_analytics('club', '2024-03-12') \gset
SELECT shop.kept();
SELECT is((SELECT population FROM loyalty.rfm_current c WHERE c.member_id = loyalty.member_id('club', 'g')), 'scored', 'and counts then');
DELETE FROM shop.invoice WHERE id >= 30;
SELECT loyalty.refresh_analytics('club', '2024-03-12') \gset
SELECT shop.kept();

-- figures of days and cohorts
SELECT is((SELECT string_agg(format('%s %s %s %s %s %s', to_char(d.day, 'MM-DD'), d.sales, d.reversed, d.returns, d.gross - d.returned, d.new_buyers), ', ' ORDER BY d.day)
	FROM loyalty.program_day d WHERE d.program_id = loyalty.program_id('club') AND d.day >= '2024-02-01'),
	'02-01 2 0 0 80 0, 02-15 0 0 1 -20 0, 03-01 1 1 0 500 1, 03-05 0 0 1 -300 0, 03-09 0 0 1 -50 0',
	'program_day');
SELECT is((SELECT sum(d.gross - d.returned) FROM loyalty.program_day d WHERE d.program_id = loyalty.program_id('club')),
	(SELECT sum(i.total) FROM shop.invoice i WHERE i.customer IS NOT NULL), 'the days add up to the invoices');
SELECT results_eq($$SELECT to_char(cohort, 'MM') || to_char(month, ' MM'), members, sales, net FROM loyalty.program_cohort
		WHERE program_id = loyalty.program_id('club') ORDER BY cohort, month$$,
	$$VALUES ('01 01', 3::bigint, 4::bigint, 230::numeric), ('01 02', 2, 2, 80), ('03 03', 1, 1, 150)$$, 'cohorts by the month of the first sale');
SELECT is((SELECT sum(points) FROM loyalty.program_points WHERE program_id = loyalty.program_id('club')),
	(SELECT sum(balance) FROM shop.member WHERE program_id = loyalty.program_id('club')), 'the points of all days add up to the balances');

-- snapshots
SELECT is(loyalty.take_rfm_snapshot('club', '2024-01-31'), 3::bigint, 'a snapshot of three members');
SELECT is(loyalty.take_rfm_snapshot('club', '2024-03-10'), 7::bigint, 'and one of seven');
SELECT is(loyalty.take_rfm_snapshot('club', '2024-03-10'), 7::bigint, 'the same day again');
SELECT is((SELECT count(*) FROM loyalty.rfm_history WHERE program = 'club'), 10::bigint, 'replaces it');
SELECT set_eq($$SELECT h.member_id, h.population, h.recency_days, h.frequency, h.monetary, h.r, h.f, h.m, h.segment
		FROM loyalty.rfm_history h WHERE h.program = 'club' AND h.as_of = '2024-03-10'$$,
	$$SELECT x.member_id, x.population, x.recency_days, x.frequency, x.monetary, x.r, x.f, x.m, x.segment
		FROM loyalty.rfm('2024-03-10', program => 'club') x$$, 'a snapshot keeps what rfm() says');
SELECT is((SELECT sum(members) FROM loyalty.rfm_migration WHERE program = 'club'), 7::numeric, 'each member moves once');
SELECT is((SELECT sum(members) FROM loyalty.rfm_migration WHERE program = 'club' AND from_segment = 'new_member'), 4::numeric, 'four of them came');
SELECT is(loyalty.take_rfm_snapshot('club', '2024-02-10'), 3::bigint, 'a snapshot between two others');
SELECT results_eq($$SELECT DISTINCT (m.to_as_of - m.from_as_of)::integer, sum(m.members) OVER (PARTITION BY m.to_as_of) FROM loyalty.rfm_migration m WHERE m.program = 'club' ORDER BY 1$$,
	$$VALUES (10, 3::numeric), (29, 7)$$, 'splits the move between them');
SELECT is((SELECT sum(from_share) FROM loyalty.rfm_migration WHERE program = 'club' AND to_as_of = '2024-03-10' AND from_segment <> 'new_member'),
	(SELECT count(DISTINCT from_segment) FROM loyalty.rfm_migration WHERE program = 'club' AND to_as_of = '2024-03-10' AND from_segment <> 'new_member')::numeric,
	'the shares of each segment add up to 1');

-- segment models
SELECT is_empty('SELECT * FROM loyalty.check_segments()', 'the models that are shipped cover all 125 cells');
SELECT results_eq($$SELECT model, count(*) FROM loyalty.segment WHERE shipped GROUP BY model ORDER BY model$$,
	$$VALUES ('codes', 11::bigint), ('grid', 10)$$, 'with eleven and ten names');
SELECT is((SELECT string_agg(segment, ' ' ORDER BY r DESC, f DESC) FROM loyalty.segment_cell WHERE model = 'grid' AND m = 3 AND r IN (5, 3)),
	'champions champions potential_loyal potential_loyal new loyal loyal need_attention about_to_sleep about_to_sleep', 'rows 5 and 3 of the grid');
SELECT is_empty($$SELECT s.model, s.segment, l.language FROM loyalty.segment s CROSS JOIN unnest('{en,de,fr,es}'::text[]) l (language)
	WHERE s.shipped AND NOT EXISTS (SELECT FROM loyalty.segment_label x WHERE (x.model, x.segment, x.language) = (s.model, s.segment, l.language))$$,
	'every segment has a label in four languages');
SELECT throws_ok($$UPDATE loyalty.segment_cell SET segment = 'loyal' WHERE model = 'grid'$$, 'LY003', NULL, 'a shipped model cannot be changed');
SELECT throws_ok($$DELETE FROM loyalty.segment WHERE model = 'codes'$$, 'LY003', NULL, 'nor deleted');
SELECT throws_ok($$SELECT loyalty.set_segment('grid', 'vip', '555')$$, 'LY003', NULL, 'nor by set_segment()');
SELECT loyalty.copy_segment_model('grid', 'mine') \gset
SELECT throws_ok($$SELECT loyalty.copy_segment_model('grid', 'mine')$$, 'LY002', NULL, 'a copy needs a new name');
SELECT throws_ok($$SELECT loyalty.copy_segment_model('nope', 'other')$$, 'LY001', NULL, 'and an original');
SELECT is(loyalty.set_segment('mine', 'best', '4[1-3].', 'Die Besten', 'de', 0), 15, 'fifteen cells get another segment');
SELECT is_empty($$SELECT * FROM loyalty.check_segments('mine') c WHERE c.problem = 'cell has no segment'$$, 'all cells are still covered');
SELECT throws_ok($$SELECT loyalty.set_segment('mine', 'best', '6..')$$, '22023', NULL, 'codes that match no cell are refused');
DELETE FROM loyalty.segment_cell WHERE model = 'mine' AND r = 1 AND f = 1;
SELECT is((SELECT count(*) FROM loyalty.check_segments('mine') c WHERE c.problem = 'cell has no segment'), 5::bigint, 'a cell that is missing is found');
UPDATE loyalty.segment_cell SET segment = 'ghost' WHERE model = 'mine' AND r = 5 AND f = 5 AND m = 5;
SELECT is((SELECT string_agg(c.problem || ': ' || c.detail, ', ') FROM loyalty.check_segments('mine') c WHERE c.problem LIKE '%does not have'),
	'cell has a segment that the model does not have: 555 ghost', 'so is a segment that does not exist');
SELECT is((SELECT count(*) FROM loyalty.check_segments('nope')), 125::bigint, 'a model that does not exist covers nothing');
SELECT loyalty.set_rfm('club', model => 'mine', language => 'de') \gset
SELECT loyalty.refresh_analytics('club', '2024-03-10') \gset
SELECT is((SELECT segment || ' ' || segment_label FROM loyalty.rfm_current WHERE member_id = loyalty.member_id('club', 'd')),
	'best Die Besten', 'the programme''s own model and language');
SELECT throws_ok($$SELECT loyalty.drop_segment_model('mine')$$, 'LY003', NULL, 'a model in use stays');
SELECT throws_ok($$SELECT loyalty.drop_segment_model('grid')$$, 'LY003', NULL, 'a shipped one as well');
SELECT loyalty.set_rfm('club') \gset
SELECT loyalty.drop_segment_model('mine') \gset
SELECT throws_ok($$SELECT loyalty.drop_segment_model('mine')$$, 'LY001', NULL, 'one that is not used goes');
SELECT is((SELECT count(*) FROM loyalty.segment_cell WHERE model = 'mine'), 0::bigint, 'with its cells');

-- all members at once (in C) and some of them at a time (in SQL) give the same figures, also over many thousands of documents
TRUNCATE shop.invoice;
SELECT loyalty.create_program('many', 'Europe/Berlin') \gset
SELECT shop.attach('many', 'many') \gset
INSERT INTO shop.invoice (id, customer, at, total) SELECT i, 'c' || i * i % 331, '2022-12-01 12:00+00'::timestamptz + i * 47 % 500 * interval '1 day', (i % 97)::numeric / 8 - 1
	FROM generate_series(1, 10000) i;
INSERT INTO shop.invoice (id, customer, at, total, return_of) SELECT 20000 + i, s.customer, s.at + i % 40 * interval '1 day', CASE i % 3 WHEN 0 THEN -s.total ELSE -s.total / 3 END,
		CASE WHEN i % 5 > 0 THEN s.id END
	FROM generate_series(1, 1500) i JOIN shop.invoice s ON s.id = i * 6 WHERE s.total > 0;
-- who has returned only, or first, or bought for nothing
INSERT INTO shop.invoice (id, customer, at, total) VALUES (30001, 'r', '2023-01-05', -10), (30002, 's', '2023-01-05', -10), (30003, 's', '2023-03-05', 10), (30004, 'z', '2023-02-01', 0);
SELECT loyalty.settle() \gset
SELECT loyalty.refresh_analytics('many', '2024-06-30') \gset
CREATE TABLE shop.at_once AS SELECT 'day' AS what, d::text AS row FROM loyalty.member_day d WHERE d.program_id = loyalty.program_id('many')
	UNION ALL SELECT 'member', d::text FROM loyalty.member_summary d WHERE d.program_id = loyalty.program_id('many');
SELECT cmp_ok((SELECT count(*) FROM shop.at_once WHERE what = 'day'), '>', 8500::bigint, 'more days than are written at a time');
SELECT is((SELECT sum(d.gross - d.returned) FROM loyalty.program_day d WHERE d.program_id = loyalty.program_id('many')), (SELECT sum(total) FROM shop.invoice), 'their sum');
SELECT is_empty($$SELECT * FROM loyalty.check_analytics()$$, 'all sums are those of the documents');
-- these functions read again whom they are told
SELECT loyalty.refresh_members(loyalty.program_id('many'), '2024-06-30', (SELECT array_agg(m.member_id) FROM shop.member m WHERE m.program_id = loyalty.program_id('many') AND m.member_id % 2 = 0)) \gset
SELECT loyalty.refresh_members(loyalty.program_id('many'), '2024-06-30', (SELECT array_agg(m.member_id) FROM shop.member m WHERE m.program_id = loyalty.program_id('many') AND m.member_id % 2 = 1)) \gset
SELECT set_eq($$SELECT what, "row" FROM shop.at_once$$, $$SELECT 'day', d::text FROM loyalty.member_day d WHERE d.program_id = loyalty.program_id('many')
	UNION ALL SELECT 'member', d::text FROM loyalty.member_summary d WHERE d.program_id = loyalty.program_id('many')$$, 'members one half after the other: the same rows');

SELECT is_empty('SELECT * FROM loyalty.check_analytics()', 'check_analytics() finds nothing');
SELECT shop.clean();
SELECT * FROM finish();
ROLLBACK;
