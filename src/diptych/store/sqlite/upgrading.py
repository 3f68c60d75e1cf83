"""What the two files of a service are at, and the SQL that makes them.

Rule: nothing is changed here; opening a file migrates it.
"""

from pathlib import Path

from diptych.store.sqlite.connection import DatabaseFile, check_ours, open_reader
from diptych.store.sqlite.events import EVENTS_APPLICATION_ID, EVENTS_SCHEMA
from diptych.store.sqlite.migrations import migrations
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID, VIEWS_SCHEMA

_FILES = {"events": (EVENTS_APPLICATION_ID, EVENTS_SCHEMA), "views": (VIEWS_APPLICATION_ID, VIEWS_SCHEMA)}


def versions(events: str, views: str) -> dict[str, int]:
    """The schema of each file; 0 if it is not there."""
    return {
        part: _version(DatabaseFile(path, *_FILES[part])) for part, path in zip(_FILES, (events, views), strict=True)
    }


def newest(part: str) -> int:
    """The newest schema of a part that this code knows."""
    return _FILES[part][1]


def script() -> str:
    """Return all migrations of both files."""
    pieces = []
    for part, (application_id, _) in _FILES.items():
        for number, sql in migrations(part):
            marks = f"PRAGMA application_id = {application_id};\nPRAGMA user_version = {number};"
            pieces.append(f"-- {part}_{number:04d}.sql, in the file of {part}\n{sql.strip()}\n{marks}")
    return "\n\n".join(pieces) + "\n"


def _version(file: DatabaseFile) -> int:
    if not Path(file.path).exists():
        return 0
    connection = open_reader(file)
    try:
        return check_ours(connection, file)
    finally:
        connection.close()
