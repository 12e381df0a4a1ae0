-- Segment models: which name each of the 125 cells R x F x M has.  Two models
-- come with the extension; copies of them, and models of one's own, can be edited.

CREATE TABLE loyalty.segment (
	model           text NOT NULL,
	segment         text NOT NULL,
	position        integer NOT NULL,
	shipped         boolean NOT NULL DEFAULT false,
	PRIMARY KEY (model, segment)
);
COMMENT ON TABLE loyalty.segment IS 'names of the segments of a model';
COMMENT ON COLUMN loyalty.segment.model IS 'segment model; grid and codes come with the extension';
COMMENT ON COLUMN loyalty.segment.segment IS 'name of the segment, an identifier';
COMMENT ON COLUMN loyalty.segment.position IS 'order in which segments are listed, the best first';
COMMENT ON COLUMN loyalty.segment.shipped IS 'comes with the extension and is not changed: copy_segment_model() makes a model that can be';

CREATE TABLE loyalty.segment_cell (
	model           text NOT NULL,
	r               smallint NOT NULL CHECK (r BETWEEN 1 AND 5),
	f               smallint NOT NULL CHECK (f BETWEEN 1 AND 5),
	m               smallint NOT NULL CHECK (m BETWEEN 1 AND 5),
	segment         text NOT NULL,
	shipped         boolean NOT NULL DEFAULT false,
	PRIMARY KEY (model, r, f, m)
);
COMMENT ON TABLE loyalty.segment_cell IS 'the segment of each of the 125 cells of a model';
COMMENT ON COLUMN loyalty.segment_cell.model IS 'segment model';
COMMENT ON COLUMN loyalty.segment_cell.r IS 'recency score, 5 for the most recent';
COMMENT ON COLUMN loyalty.segment_cell.f IS 'frequency score, 5 for the most frequent';
COMMENT ON COLUMN loyalty.segment_cell.m IS 'monetary score, 5 for the highest';
COMMENT ON COLUMN loyalty.segment_cell.segment IS 'segment that the cell belongs to';
COMMENT ON COLUMN loyalty.segment_cell.shipped IS 'comes with the extension and is not changed';

CREATE TABLE loyalty.segment_label (
	model           text NOT NULL,
	segment         text NOT NULL,
	language        text NOT NULL,
	label           text NOT NULL,
	shipped         boolean NOT NULL DEFAULT false,
	PRIMARY KEY (model, segment, language)
);
COMMENT ON TABLE loyalty.segment_label IS 'what a segment is called in a language';
COMMENT ON COLUMN loyalty.segment_label.model IS 'segment model';
COMMENT ON COLUMN loyalty.segment_label.segment IS 'segment';
COMMENT ON COLUMN loyalty.segment_label.language IS 'language as an ISO 639-1 code';
COMMENT ON COLUMN loyalty.segment_label.label IS 'what people read';
COMMENT ON COLUMN loyalty.segment_label.shipped IS 'comes with the extension and is not changed';

CREATE FUNCTION loyalty.guard_shipped() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- TG_OP first: OLD is not there for an insert
	IF TG_OP <> 'INSERT' AND OLD.shipped THEN
		RAISE EXCEPTION 'segment model "%" comes with the extension and cannot be changed', OLD.model
			USING ERRCODE = 'LY003', HINT = 'loyalty.copy_segment_model() makes a copy that can be changed.';
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION loyalty.guard_shipped() IS 'trigger: refuses changes of the segment models that come with the extension';

INSERT INTO loyalty.segment (model, segment, position, shipped)
SELECT 'grid', s.segment, s.position, true
FROM (VALUES ('champions', 1), ('loyal', 2), ('potential_loyal', 3), ('new', 4), ('promising', 5),
	('need_attention', 6), ('about_to_sleep', 7), ('at_risk', 8), ('cannot_lose', 9), ('hibernating', 10)) s (segment, position)
UNION ALL
SELECT 'codes', s.segment, s.position, true
FROM (VALUES ('champions', 1), ('loyal', 2), ('potential_loyal', 3), ('new', 4), ('promising', 5),
	('need_attention', 6), ('about_to_sleep', 7), ('at_risk', 8), ('cannot_lose', 9), ('hibernating', 10), ('lost', 11)) s (segment, position);

INSERT INTO loyalty.segment_cell (model, r, f, m, segment, shipped)
SELECT 'grid', r, f, m, CASE
		WHEN r = 5 AND f >= 4 THEN 'champions'
		WHEN r >= 3 AND f >= 4 THEN 'loyal'
		WHEN r >= 4 AND f >= 2 THEN 'potential_loyal'
		WHEN r = 5 THEN 'new'
		WHEN r = 4 THEN 'promising'
		WHEN r = 3 AND f = 3 THEN 'need_attention'
		WHEN r = 3 THEN 'about_to_sleep'
		WHEN f = 5 THEN 'cannot_lose'
		WHEN f >= 3 THEN 'at_risk'
		ELSE 'hibernating' END, true
FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m;

INSERT INTO loyalty.segment_cell (model, r, f, m, segment, shipped)
SELECT 'codes', substr(c.code, 1, 1)::smallint, substr(c.code, 2, 1)::smallint, substr(c.code, 3, 1)::smallint, s.segment, true
FROM (VALUES
	('champions', '555 554 544 545 454 455 445'),
	('loyal', '543 444 435 355 354 345 344 335'),
	('potential_loyal', '553 551 552 541 542 533 532 531 452 451 442 441 431 453 433 432 423 353 352 351 342 341 333 323'),
	('new', '512 511 422 421 412 411 311'),
	('promising', '525 524 523 522 521 515 514 513 425 424 413 414 415 315 314 313'),
	('need_attention', '535 534 443 434 343 334 325 324'),
	('about_to_sleep', '331 321 312 221 213 231 241 251'),
	('at_risk', '255 254 245 244 253 252 243 242 235 234 225 224 153 152 145 143 142 135 134 133 125 124'),
	('cannot_lose', '155 154 144 214 215 115 114 113'),
	('hibernating', '332 322 233 232 223 222 132 123 122 212 211'),
	('lost', '111 112 121 131 141 151')) s (segment, codes),
	regexp_split_to_table(s.codes, ' ') c (code);

INSERT INTO loyalty.segment_label (model, segment, language, label, shipped)
SELECT s.model, s.segment, l.language, l.label, true
FROM (VALUES
	('champions', 'en', 'Champions'), ('champions', 'de', 'Spitzenkunden'), ('champions', 'fr', 'Champions'), ('champions', 'es', 'Campeones'),
	('loyal', 'en', 'Loyal customers'), ('loyal', 'de', 'Treue Kunden'), ('loyal', 'fr', 'Clients fidèles'), ('loyal', 'es', 'Clientes fieles'),
	('potential_loyal', 'en', 'Potential loyalists'), ('potential_loyal', 'de', 'Künftige Stammkunden'), ('potential_loyal', 'fr', 'Fidèles potentiels'), ('potential_loyal', 'es', 'Fieles potenciales'),
	('new', 'en', 'New customers'), ('new', 'de', 'Neukunden'), ('new', 'fr', 'Nouveaux clients'), ('new', 'es', 'Clientes nuevos'),
	('promising', 'en', 'Promising'), ('promising', 'de', 'Vielversprechende'), ('promising', 'fr', 'Prometteurs'), ('promising', 'es', 'Prometedores'),
	('need_attention', 'en', 'Need attention'), ('need_attention', 'de', 'Brauchen Aufmerksamkeit'), ('need_attention', 'fr', 'À surveiller'), ('need_attention', 'es', 'Necesitan atención'),
	('about_to_sleep', 'en', 'About to sleep'), ('about_to_sleep', 'de', 'Bald inaktiv'), ('about_to_sleep', 'fr', 'Bientôt inactifs'), ('about_to_sleep', 'es', 'A punto de dormirse'),
	('at_risk', 'en', 'At risk'), ('at_risk', 'de', 'Gefährdete'), ('at_risk', 'fr', 'À risque'), ('at_risk', 'es', 'En riesgo'),
	('cannot_lose', 'en', 'Cannot lose them'), ('cannot_lose', 'de', 'Nicht verlieren'), ('cannot_lose', 'fr', 'À ne pas perdre'), ('cannot_lose', 'es', 'No perderlos'),
	('hibernating', 'en', 'Hibernating'), ('hibernating', 'de', 'Im Winterschlaf'), ('hibernating', 'fr', 'En hibernation'), ('hibernating', 'es', 'Hibernando'),
	('lost', 'en', 'Lost'), ('lost', 'de', 'Verlorene'), ('lost', 'fr', 'Perdus'), ('lost', 'es', 'Perdidos')) l (segment, language, label)
JOIN loyalty.segment s ON s.segment = l.segment;

CREATE TRIGGER guard_shipped BEFORE UPDATE OR DELETE ON loyalty.segment
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard_shipped();
CREATE TRIGGER guard_shipped BEFORE UPDATE OR DELETE ON loyalty.segment_cell
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard_shipped();
CREATE TRIGGER guard_shipped BEFORE UPDATE OR DELETE ON loyalty.segment_label
	FOR EACH ROW EXECUTE FUNCTION loyalty.guard_shipped();
ALTER TABLE loyalty.segment ENABLE ALWAYS TRIGGER guard_shipped;
ALTER TABLE loyalty.segment_cell ENABLE ALWAYS TRIGGER guard_shipped;
ALTER TABLE loyalty.segment_label ENABLE ALWAYS TRIGGER guard_shipped;

CREATE FUNCTION loyalty.copy_segment_model(model text, new_model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM loyalty.segment_model(model);
	IF new_model IS NULL OR btrim(new_model) = '' THEN
		RAISE EXCEPTION 'a segment model needs a name' USING ERRCODE = '22023', HINT = 'It is what set_rfm() calls it.';
	END IF;
	IF EXISTS (SELECT FROM loyalty.segment s WHERE s.model = new_model) THEN
		RAISE EXCEPTION 'segment model "%" exists already', new_model
			USING ERRCODE = 'LY002', HINT = 'Take another name; loyalty.segment lists the models.';
	END IF;
	INSERT INTO loyalty.segment (model, segment, position)
		SELECT new_model, s.segment, s.position FROM loyalty.segment s WHERE s.model = copy_segment_model.model;
	INSERT INTO loyalty.segment_cell (model, r, f, m, segment)
		SELECT new_model, c.r, c.f, c.m, c.segment FROM loyalty.segment_cell c WHERE c.model = copy_segment_model.model;
	INSERT INTO loyalty.segment_label (model, segment, language, label)
		SELECT new_model, l.segment, l.language, l.label FROM loyalty.segment_label l WHERE l.model = copy_segment_model.model;
END
$$;
COMMENT ON FUNCTION loyalty.copy_segment_model(text, text) IS
'makes a copy of a segment model under a new name; a copy can be edited';

CREATE FUNCTION loyalty.segment_model(model text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF model IS NULL OR NOT EXISTS (SELECT FROM loyalty.segment s WHERE s.model = segment_model.model) THEN
		RAISE EXCEPTION 'segment model % does not exist', coalesce('"' || model || '"', 'NULL')
			USING ERRCODE = 'LY001', HINT = 'loyalty.segment lists the models; grid and codes come with the extension.';
	END IF;
	RETURN model;
END
$$;
COMMENT ON FUNCTION loyalty.segment_model(text) IS 'the name of a segment model; an error if there is none of that name';

CREATE FUNCTION loyalty.set_segment(model text, segment text, codes text DEFAULT NULL,
	label text DEFAULT NULL, language text DEFAULT 'en', "position" integer DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_cells integer := 0;
BEGIN
	IF model IS NULL OR btrim(model) = '' OR segment IS NULL OR btrim(segment) = '' THEN
		RAISE EXCEPTION 'a segment needs a model and a name' USING ERRCODE = '22023', HINT = 'Both are texts of your own.';
	END IF;
	IF EXISTS (SELECT FROM loyalty.segment s WHERE s.model = set_segment.model AND s.shipped) THEN
		RAISE EXCEPTION 'segment model "%" comes with the extension and cannot be changed', model
			USING ERRCODE = 'LY003', HINT = 'loyalty.copy_segment_model() makes a copy that can be changed.';
	END IF;
	INSERT INTO loyalty.segment AS s (model, segment, position)
		VALUES (model, segment, coalesce(set_segment."position",
			(SELECT coalesce(max(o.position), 0) + 1 FROM loyalty.segment o WHERE o.model = set_segment.model)))
		ON CONFLICT ON CONSTRAINT segment_pkey DO UPDATE SET position = coalesce(set_segment."position", s.position);
	IF label IS NOT NULL THEN
		INSERT INTO loyalty.segment_label (model, segment, language, label)
			VALUES (model, segment, language, label)
			ON CONFLICT ON CONSTRAINT segment_label_pkey DO UPDATE SET label = excluded.label;
	END IF;
	IF codes IS NOT NULL THEN
		INSERT INTO loyalty.segment_cell (model, r, f, m, segment)
			SELECT set_segment.model, x.r, x.f, x.m, set_segment.segment
			FROM (SELECT r, f, m FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m) x
			WHERE concat(x.r, x.f, x.m) ~ ('^(?:' || codes || ')$')
			ON CONFLICT ON CONSTRAINT segment_cell_pkey DO UPDATE SET segment = excluded.segment;
		GET DIAGNOSTICS v_cells = ROW_COUNT;
		IF v_cells = 0 THEN
			RAISE EXCEPTION 'no cell matches "%"', codes USING ERRCODE = '22023',
				HINT = 'A cell is written as its three scores, such as 555; 5[45]. are the ten cells of R 5 and F 4 or 5.';
		END IF;
	END IF;
	RETURN v_cells;
END
$$;
COMMENT ON FUNCTION loyalty.set_segment(text, text, text, text, text, integer) IS
'adds or changes a segment of a model: its label in a language, and the cells it covers, as a regular expression over the three scores (5[45]. or 555|554); returns how many cells it was given';

CREATE FUNCTION loyalty.drop_segment_model(model text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program text;
BEGIN
	PERFORM loyalty.segment_model(model);
	SELECT p.name INTO v_program FROM loyalty.rfm_setting s JOIN loyalty.program p ON p.program_id = s.program_id
		WHERE s.model = drop_segment_model.model LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'segment model "%" is used by programme "%"', model, v_program
			USING ERRCODE = 'LY003', HINT = 'loyalty.set_rfm() gives the programme another one.';
	END IF;
	-- the shipped ones are guarded by their trigger
	DELETE FROM loyalty.segment s WHERE s.model = drop_segment_model.model;
	DELETE FROM loyalty.segment_cell s WHERE s.model = drop_segment_model.model;
	DELETE FROM loyalty.segment_label s WHERE s.model = drop_segment_model.model;
END
$$;
COMMENT ON FUNCTION loyalty.drop_segment_model(text) IS 'removes a segment model that no programme uses';

CREATE FUNCTION loyalty.check_segments(model text DEFAULT NULL,
	OUT model_name text, OUT problem text, OUT detail text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT n.model, 'cell has no segment', concat(x.r, x.f, x.m)
	FROM (SELECT DISTINCT s.model FROM loyalty.segment s WHERE $1 IS NULL OR s.model = $1
			UNION SELECT $1 WHERE $1 IS NOT NULL) n
	CROSS JOIN (SELECT r, f, m FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m) x
	WHERE NOT EXISTS (SELECT FROM loyalty.segment_cell c
		WHERE c.model = n.model AND c.r = x.r AND c.f = x.f AND c.m = x.m)
	UNION ALL
	SELECT c.model, 'cell has a segment that the model does not have', concat(c.r, c.f, c.m, ' ', c.segment)
	FROM loyalty.segment_cell c
	WHERE ($1 IS NULL OR c.model = $1)
		AND NOT EXISTS (SELECT FROM loyalty.segment s WHERE s.model = c.model AND s.segment = c.segment)
	UNION ALL
	SELECT s.model, 'segment has no cell', s.segment
	FROM loyalty.segment s
	WHERE ($1 IS NULL OR s.model = $1)
		AND NOT EXISTS (SELECT FROM loyalty.segment_cell c WHERE c.model = s.model AND c.segment = s.segment)
	ORDER BY 1, 2, 3
$$;
COMMENT ON FUNCTION loyalty.check_segments(text) IS
'what is wrong with a segment model (or all): cells without a segment, unknown segments, segments without a cell; no rows: every one of the 125 cells is covered';
