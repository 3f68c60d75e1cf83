"""A connection that knows PostgreSQL's own arrays, whose numbers are the same on every server.

Rule: it only spares questions. What it does not know is asked for, as by any connection of asyncpg's.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import asyncpg


def _array(number: int, element: int, name: str) -> Mapping[str, Any]:
    """Describe an array type as asyncpg's own question does."""
    return {
        **dict.fromkeys(
            ("basetype", "basetype_name", "range_subtype", "range_subtype_name", "attrtypoids", "attrnames")
        ),
        "oid": number,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "elemtype": element,
        "elemtype_name": name,
        "elemdelim": ",",
    }


KNOWN_ARRAYS: Final[Mapping[int, Mapping[str, Any]]] = {
    1000: _array(1000, 16, "bool"),
    1001: _array(1001, 17, "bytea"),
    1005: _array(1005, 21, "int2"),
    1007: _array(1007, 23, "int4"),
    1009: _array(1009, 25, "text"),
    1016: _array(1016, 20, "int8"),
    1022: _array(1022, 701, "float8"),
    1182: _array(1182, 1082, "date"),
    1185: _array(1185, 1184, "timestamptz"),
    1231: _array(1231, 1700, "numeric"),
    2951: _array(2951, 2950, "uuid"),
}
_NOTHING_ASKED: Final = SimpleNamespace(name="none")  # in the place of the statement that would have asked


class DirectConnection(asyncpg.Connection):
    """Has the first statement with an array go to the server at once, instead of after four round trips."""

    async def _introspect_types(self, typeoids: Any, timeout: Any) -> Any:
        if KNOWN_ARRAYS.keys() >= set(typeoids):
            return [KNOWN_ARRAYS[number] for number in typeoids], _NOTHING_ASKED
        return await super()._introspect_types(typeoids, timeout)  # type: ignore[misc] # not in the stubs
