-- Conditions: what marketing can write, and whether it is right.

CREATE FUNCTION loyalty.check_condition(program text, condition text, source text DEFAULT NULL, event boolean DEFAULT false)
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_check_condition';
COMMENT ON FUNCTION loyalty.check_condition(text, text, text, boolean) IS
'checks the condition of a rule, for documents of one source, of every source (no columns of invoice), or for events; returns it as PostgreSQL writes it';

CREATE FUNCTION loyalty.condition_columns(source text DEFAULT NULL)
RETURNS TABLE (space text, column_name text, data_type text, meaning text)
LANGUAGE c AS 'MODULE_PATHNAME', 'loyalty_condition_columns';
COMMENT ON FUNCTION loyalty.condition_columns(text) IS
'lists what conditions can name: the columns of line, document, member and event, and with a source those of its tables as well, with their comments';
