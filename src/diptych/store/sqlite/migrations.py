"""Brings a file to the schema this code knows, by the numbered SQL files in `schema/`.

Rule: a migration that was released is never edited; the next number is added.
"""

from importlib.resources import files

import apsw

from diptych.store.sqlite.connection import DatabaseFile, check_ours


def migrations(of: str) -> list[tuple[int, str]]:
    """Numbers and SQL of all migrations of a kind of file (`events`, `views`), in order."""
    found = [
        (int(entry.name.removeprefix(f"{of}_").removesuffix(".sql")), entry.read_text(encoding="utf-8"))
        for entry in (files("diptych.store.sqlite") / "schema").iterdir()
        if entry.name.startswith(f"{of}_") and entry.name.endswith(".sql")
    ]
    return sorted(found)


def migrate(connection: apsw.Connection, file: DatabaseFile, of: str) -> None:
    """Apply what is missing, each migration in one transaction; call it with the writer's lock held.

    :raises StoreNewerThanCodeError: and nothing is touched.
    """
    if check_ours(connection, file) == file.schema:
        return
    for number, sql in migrations(of):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if check_ours(connection, file) < number:
                connection.execute(sql)
                connection.execute(f"PRAGMA application_id = {file.application_id}")
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
