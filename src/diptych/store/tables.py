"""What a read model's table looks like, as plain data that every backend understands."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
PLACED: Final = re.compile(r"[a-z][a-z0-9_]{0,47}__g\d{1,12}")


class Kind(Enum):
    """How the values of a column are kept. Each sorts and compares in the database as it does in Python."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"  # SQLite: integer, scaled by 10 ** scale; PostgreSQL: numeric
    DATETIME = "datetime"  # SQLite: integer, microseconds since 1970 in UTC
    DATE = "date"  # SQLite: text, ISO 8601
    UUID = "uuid"  # SQLite: text, 36 characters
    JSON = "json"  # nested models and lists


class Column(NamedTuple):
    """One column. `to_python` makes the field's value (an Enum member, say) of the plain one; None: as it is.

    For JSON, `to_python` gets the JSON text and `to_plain` makes it.
    """

    name: str
    kind: Kind
    is_nullable: bool = False
    scale: int = 6
    to_plain: Callable[[Any], Any] | None = None
    to_python: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A read model's table. `build` makes a row object of a mapping of column names to Python values."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]
    build: Callable[[Mapping[str, Any]], Any]

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and other.fingerprint == self.fingerprint

    def column(self, name: str) -> Column:
        """The column of this name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def fingerprint(self) -> str:
        """Changes when and only when the table's shape does."""
        columns = ",".join(f"{c.name}:{c.kind.value}:{c.is_nullable}:{c.scale}" for c in self.columns)
        return f"{self.name}({columns};{self.key};{self.indexes})"


class Bound(NamedTuple):
    """A parameter of a statement whose column is known, so that the backend keeps it exactly as that column does."""

    column: Column
    value: Any


def snake_case(name: str) -> str:
    """Return a class's name as a table's."""
    return _WORD.sub("_", name).lower()


def check_identifier(name: str, what: str) -> str:
    """Return the name if it may be one of a table, column or projection (I3), else raise ValueError."""
    if not IDENTIFIER.fullmatch(name) or PLACED.fullmatch(name):
        raise ValueError(f"{what} {name!r}: use lower-case letters, digits and _, at most 48, starting with a letter.")

    return name


def plain_name(name: str) -> str:
    """Return the plain name of a generation's table, `order_summary` of `order_summary__g7`; another name as it is."""
    return name[: name.rindex("__g")] if PLACED.fullmatch(name) else name


def fingerprint(tables: Sequence[Table]) -> str:
    """Changes when the shape of any of these tables does."""
    return "\n".join(sorted(table.fingerprint for table in tables))
