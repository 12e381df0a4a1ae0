-- loyalty: install script, glued together from src/sql/*.sql by the Makefile
\echo Use "CREATE EXTENSION loyalty" to load this file. \quit

-- every name below is qualified; nothing may be found elsewhere by accident
SET LOCAL search_path TO pg_catalog, pg_temp;
