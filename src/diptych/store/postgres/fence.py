"""Keeps other sessions from writing rows, the owner's too: a trigger that asks for a setting of ours (DP103).

Rule: this keeps out mistakes, not somebody who makes that setting or drops the trigger; `db verify --rows` finds what
they did.
"""

from collections.abc import Mapping
from typing import Final

from diptych.store.postgres.migrations import in_schema
from diptych.store.refusals import ROWS_ARE_THEIR_PROJECTIONS
from diptych.store.rows import quoted

LET_IN: Final[Mapping[str, str]] = {"diptych_rows.writer": "projection"}
"""The settings of a session that writes rows."""

_REFUSE: Final = f"""
CREATE OR REPLACE FUNCTION diptych.refuse_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{ROWS_ARE_THEIR_PROJECTIONS}' USING ERRCODE = 'insufficient_privilege';
END $$
"""
_TRIGGER: Final = """
CREATE TRIGGER rows_are_their_projections BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON diptych.{table}
    FOR EACH STATEMENT WHEN (current_setting('diptych_rows.writer', true) IS DISTINCT FROM 'projection')
    EXECUTE FUNCTION diptych.refuse_rows()
"""
UNFENCED: Final = """
SELECT name FROM unnest($2::text[]) AS name WHERE NOT EXISTS (
    SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass(quote_ident($1) || '.' || quote_ident(name))
    AND t.tgname = 'rows_are_their_projections' AND t.tgenabled IN ('O', 'A')
    AND p.oid = to_regproc(quote_ident($1) || '.refuse_rows') AND p.prosrc LIKE '%RAISE EXCEPTION%')
"""
"""Those of some tables of a schema that it is not around."""


def fence(table: str, schema: str) -> list[str]:
    """Return the statements that put it around a table of rows."""
    return [in_schema(text, schema) for text in (_REFUSE, _TRIGGER.format(table=quoted(table)))]
