"""Rows of read models in SQLite: their tables, and one compiled codec for each with its statements.

Rule: the only file that knows which of SQLite's types keeps a `Kind`.
"""

from collections.abc import Sequence
from typing import Final

from diptych.store.rows import RowCodec, quoted
from diptych.store.tables import Column, Kind, Table
from diptych.store.values import PLAIN

_TYPES: Final = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.REAL: "REAL",
    Kind.BOOLEAN: "INTEGER",
    Kind.DECIMAL: "INTEGER",
    Kind.DATETIME: "INTEGER",
    Kind.DATE: "TEXT",
    Kind.UUID: "TEXT",
    Kind.JSON: "TEXT",
}


def schema(table: Table) -> list[str]:
    """Return the statements that make the table, keep others from writing its rows, and make its indexes."""
    columns = [_definition(table, column) for column in table.columns]
    key = ", ".join(map(quoted, table.key))
    single = table.column(table.key[0])
    is_rowid = len(table.key) == 1 and _TYPES[single.kind] == "INTEGER"
    has_large_rows = any(column.kind is Kind.JSON for column in table.columns)
    options = "STRICT" if is_rowid or has_large_rows else "STRICT, WITHOUT ROWID"
    statements = [f"CREATE TABLE {quoted(table.name)} ({', '.join(columns)}, PRIMARY KEY ({key})) {options}"]
    for number, index in enumerate(table.indexes, 1):
        names = ", ".join(map(quoted, index))
        statements.append(f'CREATE INDEX "{table.name}__i{number}" ON {quoted(table.name)} ({names})')
    return statements


def _definition(table: Table, column: Column) -> str:
    text = f"{quoted(column.name)} {_TYPES[column.kind]}"
    if not column.is_nullable:
        text += " NOT NULL"
    if column.kind is Kind.BOOLEAN:
        text += f" CHECK ({quoted(column.name)} IN (0, 1))"
    return text


class SqliteRowCodec(RowCodec):
    """The codec of one table with its statements, made once."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, PLAIN)
        self._insert, self._update, self.delete, self.select = _statements(table)
        self.get = f"{self.select} WHERE " + _equals(table.key)

    def upsert(self, rows: int) -> str:
        """Return the statement that writes so many rows."""
        row = f"({', '.join('?' * len(self.names))})"
        return self._insert + ", ".join([row] * rows) + self._update


def _statements(table: Table) -> tuple[str, str, str, str]:
    name, key = quoted(table.name), ", ".join(map(quoted, table.key))
    columns = ", ".join(quoted(column.name) for column in table.columns)
    rest = [quoted(column.name) for column in table.columns if column.name not in table.key]
    change = "UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in rest) if rest else "NOTHING"
    insert, update = f"INSERT INTO {name} ({columns}) VALUES ", f" ON CONFLICT ({key}) DO {change}"  # noqa: S608
    delete = f"DELETE FROM {name} WHERE " + _equals(table.key)  # noqa: S608
    return insert, update, delete, f"SELECT {columns} FROM {name}"  # noqa: S608


def _equals(names: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(each)} = ?" for each in names)


_codecs: dict[int, SqliteRowCodec] = {}


def codec_of(table: Table) -> SqliteRowCodec:
    """Return the table's codec, made on first use."""
    codec = _codecs.get(id(table))
    if codec is None:
        codec = _codecs[id(table)] = SqliteRowCodec(table)  # keeps the table, so that its id stays its own
    return codec
