-- Texts for messages: templates with placeholders, in the member's language.

CREATE FUNCTION loyalty.built_in_template(kind text, language text, OUT subject text, OUT body text)
RETURNS record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.subject, t.body FROM (VALUES
		('earned', 'en', 'You have earned {points} points', 'You have earned {points} points on {date}. Your balance is {balance} points.'),
		('reversed', 'en', '{points} points were taken back', 'The {points} points of a purchase that was returned or changed were taken back. Your balance is {balance} points.'),
		('expiring', 'en', '{points} of your points expire soon', '{points} of your points can be used until {expires_on}, which is in {days_left} days.'),
		('expired', 'en', '{points} of your points have expired', '{points} of your points have expired on {date}. Your balance is {balance} points.'),
		('tier_up', 'en', 'You are {tier} now', 'You have reached the tier {tier}.'),
		('tier_down', 'en', 'Your tier has changed', 'You are not in the tier {from_tier} any more.'),
		('tier_at_risk', 'en', 'Your tier {tier} ends soon', 'Your tier {tier} ends on {tier_until}. To keep it, {missing} more are needed.'),
		('voucher_issued', 'en', 'A voucher for you', 'Your voucher {code} can be used until {valid_to}.'),
		('voucher_ending', 'en', 'Your voucher ends soon', 'Your voucher {code} can be used until {valid_to}, which is in {days_left} days.'),
		('hold_released', 'en', '{points} points are free again', '{points} points that were reserved for an order can be used again.'),
		('inactive', 'en', 'We miss you', 'Your last purchase was on {last_purchase}. We are looking forward to seeing you again.'),
		('milestone', 'en', 'You have reached {milestone} points', 'You have reached {milestone} points. Your balance is {balance} points.'),
		('earned', 'de', 'Sie haben {points} Punkte gesammelt', 'Sie haben am {date} {points} Punkte gesammelt. Ihr Guthaben beträgt {balance} Punkte.'),
		('reversed', 'de', '{points} Punkte wurden zurückgebucht', 'Für einen Einkauf, der zurückgegeben oder geändert wurde, wurden {points} Punkte zurückgebucht. Ihr Guthaben beträgt {balance} Punkte.'),
		('expiring', 'de', '{points} Ihrer Punkte verfallen bald', '{points} Ihrer Punkte können Sie noch bis zum {expires_on} einlösen, also noch {days_left} Tage.'),
		('expired', 'de', '{points} Ihrer Punkte sind verfallen', '{points} Ihrer Punkte sind am {date} verfallen. Ihr Guthaben beträgt {balance} Punkte.'),
		('tier_up', 'de', 'Sie sind jetzt {tier}', 'Sie haben die Stufe {tier} erreicht.'),
		('tier_down', 'de', 'Ihre Stufe hat sich geändert', 'Sie sind nicht mehr in der Stufe {from_tier}.'),
		('tier_at_risk', 'de', 'Ihre Stufe {tier} endet bald', 'Ihre Stufe {tier} endet am {tier_until}. Um sie zu behalten, fehlen noch {missing}.'),
		('voucher_issued', 'de', 'Ein Gutschein für Sie', 'Ihren Gutschein {code} können Sie bis zum {valid_to} einlösen.'),
		('voucher_ending', 'de', 'Ihr Gutschein endet bald', 'Ihren Gutschein {code} können Sie noch bis zum {valid_to} einlösen, also noch {days_left} Tage.'),
		('hold_released', 'de', '{points} Punkte sind wieder frei', '{points} Punkte, die für eine Bestellung reserviert waren, können Sie wieder einlösen.'),
		('inactive', 'de', 'Wir vermissen Sie', 'Ihr letzter Einkauf war am {last_purchase}. Wir freuen uns auf Ihren nächsten Besuch.'),
		('milestone', 'de', 'Sie haben {milestone} Punkte erreicht', 'Sie haben {milestone} Punkte erreicht. Ihr Guthaben beträgt {balance} Punkte.')
	) t (kind, language, subject, body)
	WHERE t.kind = $1 AND t.language = $2
$$;
COMMENT ON FUNCTION loyalty.built_in_template(text, text) IS
'the text that comes with the extension for a kind of message, in English (en) or German (de)';

CREATE FUNCTION loyalty.template_parts(template text, OUT n bigint, OUT before text, OUT token text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.n, p.m[1], coalesce(p.m[2], '')
	FROM regexp_matches($1, '([^{}]*)(\{\{|\}\}|\{[^{}]*\}|[{}])?', 'g') WITH ORDINALITY p (m, n)
$$;
COMMENT ON FUNCTION loyalty.template_parts(text) IS
'internal: a template in pieces, each some text and then a placeholder, a doubled brace, or nothing';

CREATE FUNCTION loyalty.fill_template(template text, fields jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(p.before || CASE p.token WHEN '' THEN '' WHEN '{{' THEN '{' WHEN '}}' THEN '}'
		ELSE coalesce($2 ->> btrim(p.token, '{}'), '') END, '' ORDER BY p.n)
	FROM loyalty.template_parts($1) p
$$;
COMMENT ON FUNCTION loyalty.fill_template(text, jsonb) IS
'internal: a template with its placeholders filled in, in one pass: what is filled in is not looked at again';

CREATE FUNCTION loyalty.check_template(kind text, template text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_allowed text[] := ARRAY['customer', 'program'] || ARRAY(SELECT f.field FROM loyalty.message_fields() f
		WHERE f.kind = check_template.kind ORDER BY f.field);
	v_token text;
BEGIN
	FOR v_token IN SELECT p.token FROM loyalty.template_parts(template) p WHERE p.token NOT IN ('', '{{', '}}') ORDER BY p.n LOOP
		IF v_token IN ('{', '}') THEN
			RAISE EXCEPTION 'unmatched brace in template' USING ERRCODE = '22023',
				DETAIL = template, HINT = 'A brace that is no placeholder is written twice.';
		ELSIF btrim(v_token, '{}') <> ALL (v_allowed) THEN
			RAISE EXCEPTION 'unknown placeholder % for messages of kind "%"', v_token, kind USING ERRCODE = '22023',
				HINT = 'There are: ' || array_to_string(v_allowed, ', ') || '.';
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION loyalty.check_template(text, text) IS 'raises an error unless a template can be filled in for messages of that kind';

CREATE FUNCTION loyalty.check_language(language text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_language text := lower(replace(language, '_', '-'));
BEGIN
	IF v_language IS NULL OR v_language !~ '^[a-z]{2,3}(-[a-z0-9]{2,8})*$' THEN
		RAISE EXCEPTION 'invalid language: %', coalesce('"' || language || '"', 'NULL')
			USING ERRCODE = '22023', HINT = 'A language is a code such as de, or de-at for a region.';
	END IF;
	RETURN v_language;
END
$$;
COMMENT ON FUNCTION loyalty.check_language(text) IS 'a language''s code as it is stored; raises an error if it is none';

CREATE FUNCTION loyalty.set_template(program text, kind text, language text, subject text, body text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_language text := loyalty.check_language(language);
BEGIN
	PERFORM loyalty.check_message_kind(kind);
	IF subject IS NULL AND body IS NULL THEN
		DELETE FROM loyalty.message_template t
			WHERE t.program_id = v_program AND t.kind = set_template.kind AND t.language = v_language;
		RETURN;
	END IF;
	IF subject IS NULL OR body IS NULL THEN
		RAISE EXCEPTION 'a template needs a subject and a body' USING ERRCODE = '22004',
			HINT = 'With neither of them the programme''s template is removed.';
	END IF;
	PERFORM loyalty.check_template(kind, subject), loyalty.check_template(kind, body);
	INSERT INTO loyalty.message_template AS t (program_id, kind, language, subject, body)
		VALUES (v_program, kind, v_language, subject, body)
		ON CONFLICT ON CONSTRAINT message_template_pkey DO UPDATE SET subject = excluded.subject, body = excluded.body;
END
$$;
COMMENT ON FUNCTION loyalty.set_template(text, text, text, text, text) IS
'the text of a kind of message in a language; {points} and the like stand for the payload''s fields (see message_fields()), {customer} and {program} for their names, {{ and }} for braces; without subject and body the built-in text is used again';

CREATE FUNCTION loyalty.set_language(program text, customer text, language text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	v_program integer := loyalty.program_id(program);
	v_language text := CASE WHEN language IS NOT NULL THEN loyalty.check_language(language) END;
	v_member bigint;
BEGIN
	IF customer IS NULL THEN
		DELETE FROM loyalty.program_language l WHERE l.program_id = v_program AND v_language IS NULL;
		INSERT INTO loyalty.program_language AS l (program_id, language)
			SELECT v_program, v_language WHERE v_language IS NOT NULL
			ON CONFLICT ON CONSTRAINT program_language_pkey DO UPDATE SET language = excluded.language;
		RETURN;
	END IF;
	v_member := loyalty.member_id(program, customer);
	IF v_member IS NULL THEN
		RAISE EXCEPTION 'customer "%" is no member of programme "%"', customer, program
			USING ERRCODE = 'LY001', HINT = 'loyalty.enrol() makes members.';
	END IF;
	DELETE FROM loyalty.member_language l WHERE l.member_id = v_member AND v_language IS NULL;
	INSERT INTO loyalty.member_language AS l (member_id, language)
		SELECT v_member, v_language WHERE v_language IS NOT NULL
		ON CONFLICT ON CONSTRAINT member_language_pkey DO UPDATE SET language = excluded.language;
END
$$;
COMMENT ON FUNCTION loyalty.set_language(text, text, text) IS
'language in which a customer is told, or (customer NULL) all who have none of their own; NULL: none';

CREATE FUNCTION loyalty.render_message(member_id bigint, kind text, cause text, language text DEFAULT NULL,
	OUT subject text, OUT body text, OUT used_language text)
RETURNS record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	m loyalty.message;
	v_customer text;
	v_program text;
	v_parent integer;
	v_parent_name text;
	v_choices text[];
	v_fields jsonb;
BEGIN
	SELECT x.* INTO m FROM loyalty.message x
		WHERE x.member_id = render_message.member_id AND x.kind = render_message.kind AND x.cause = render_message.cause;
	IF m.member_id IS NULL THEN
		RAISE EXCEPTION 'there is no message "%", "%" of member %', kind, cause, member_id
			USING ERRCODE = 'LY001', HINT = 'Give what fetch_messages() returned.';
	END IF;
	SELECT c.customer, p.name, p.wallet_of, w.name INTO STRICT v_customer, v_program, v_parent, v_parent_name
		FROM loyalty.program p
		LEFT JOIN loyalty.member c ON c.member_id = m.member_id
		LEFT JOIN loyalty.program w ON w.program_id = p.wallet_of
		WHERE p.program_id = m.program_id;
	v_choices := ARRAY[CASE WHEN render_message.language IS NOT NULL THEN loyalty.check_language(render_message.language) END,
		(SELECT l.language FROM loyalty.member_language l WHERE l.member_id = m.member_id),
		(SELECT l.language FROM loyalty.member_language l WHERE l.member_id = loyalty.member_id(v_parent_name, v_customer)),
		(SELECT l.language FROM loyalty.program_language l WHERE l.program_id = m.program_id),
		(SELECT l.language FROM loyalty.program_language l WHERE l.program_id = v_parent), 'en'];
	-- each language before its region's parent, and the programme's own text before the built-in one
	SELECT t.subject, t.body, l.language INTO subject, body, used_language
		FROM unnest(v_choices) WITH ORDINALITY c (language, n)
		CROSS JOIN LATERAL (VALUES (c.language, 1), (split_part(c.language, '-', 1), 2)) l (language, part)
		CROSS JOIN LATERAL (
			SELECT t.subject, t.body, CASE WHEN t.program_id = m.program_id THEN 1 ELSE 2 END AS rank FROM loyalty.message_template t
				WHERE t.program_id IN (m.program_id, v_parent) AND t.kind = m.kind AND t.language = l.language
			UNION ALL
			SELECT b.subject, b.body, 3 FROM loyalty.built_in_template(m.kind, l.language) b WHERE b.body IS NOT NULL) t
		ORDER BY c.n, l.part, t.rank LIMIT 1;
	v_fields := m.payload || jsonb_build_object('customer', v_customer, 'program', v_program);
	subject := loyalty.fill_template(subject, v_fields);
	body := loyalty.fill_template(body, v_fields);
END
$$;
COMMENT ON FUNCTION loyalty.render_message(bigint, text, text, text) IS
'a message as text: in the given language, else the member''s, else the programme''s, else English; of each first the programme''s own template, then the built-in one; a wallet has the languages and texts of its programme where it has none';
