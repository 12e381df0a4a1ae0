-- Repair and bulk work: procedures that commit per batch.

CREATE PROCEDURE loyalty.backfill(source text, mode text DEFAULT 'earn', batch integer DEFAULT 5000,
	INOUT documents bigint DEFAULT 0, INOUT points numeric DEFAULT 0, INOUT parked bigint DEFAULT 0)
LANGUAGE plpgsql
AS $$
DECLARE
	v_keys text[];
	v_total bigint;
	v_from bigint := 1;
	v_part record;
BEGIN
	PERFORM loyalty.check_choice('mode', mode, ARRAY['earn', 'opening', 'dry_run']);
	IF batch IS NULL OR batch < 1 THEN
		RAISE EXCEPTION 'batch must be at least 1' USING ERRCODE = '22023', HINT = 'Leave it out for the default.';
	END IF;
	documents := 0; points := 0; parked := 0;
	SELECT pg_catalog.array_agg(d.doc_key)
		INTO v_keys FROM loyalty.documents_of(source) d;
	v_total := coalesce(pg_catalog.array_length(v_keys, 1), 0);
	IF mode = 'dry_run' THEN
		-- a batch that is undone cannot be seen by the next one
		batch := greatest(v_total, 1)::integer;
	ELSE
		-- where nothing can be committed, nothing is begun
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
	END IF;
	WHILE v_from <= v_total LOOP
		SELECT * INTO v_part FROM loyalty.book(source, v_keys[v_from : v_from + batch - 1], mode);
		documents := documents + v_part.documents;
		points := points + v_part.points;
		parked := parked + v_part.parked;
		v_from := v_from + batch;
		IF mode <> 'dry_run' THEN
			COMMIT;
			SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		END IF;
		RAISE NOTICE 'loyalty: backfill of "%": % of % documents',
			source, least(v_from - 1, v_total), v_total;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE loyalty.backfill(text, text, integer, bigint, numeric, bigint) IS
'books the documents that are there already, batch by batch, originals before returns, while live traffic goes on; modes earn, opening, dry_run';
