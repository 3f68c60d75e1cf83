"""Which database, opening a connection to it, and saying in our own errors what PostgreSQL says in its.

Rule: no other file opens a connection, and whoever talks to PostgreSQL passes its errors through `translate`.
"""

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg

from diptych.errors import (
    AccessDeniedError,
    ConfigurationError,
    DiptychError,
    InvalidInputError,
    ProgrammingError,
    StoreCorruptedError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from diptych.store.postgres.direct import DirectConnection
from diptych.store.postgres.pooled import connect_pooled
from diptych.store.tables import check_identifier

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises; a connection that is lost is an OSError, and so is a TimeoutError."""

DEFAULT_SCHEMA: Final = "diptych"
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
_EXAMPLE: Final = "Use postgresql://user:password@host:5432/database?schema=diptych"
_DRIVERS_OWN: Final = re.compile(
    "host|port|user|password|passfile|dbname|service|ssl[a-z_]+|target_session_attrs|krbsrvname|gsslib|application_name"
)
_OURS: Final = ("schema", "pgbouncer")
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
_ALWAYS: Final = {"jit_above_cost": "-1", "TimeZone": "UTC", "statement_timeout": "0"}


@dataclass(frozen=True, slots=True)
class Database:
    """Which database, and which schema in it. `dsn` is what asyncpg takes, with the password: never show it.

    `is_pooled`: PgBouncer is in front of it and gives each transaction another session, see `PooledConnection`.
    """

    dsn: str
    schema: str = DEFAULT_SCHEMA
    is_pooled: bool = False

    def __str__(self) -> str:
        """Name the place in errors."""
        place = urlsplit(self.dsn)
        query = dict(parse_qsl(place.query))
        host = unquote(place.netloc.rpartition("@")[2]) or query.get("host", "")
        return f"postgresql://{host}/{unquote(place.path.lstrip('/'))}, schema {self.schema}"

    def __repr__(self) -> str:
        """Keep the password out of tracebacks."""
        return f"<Database {self}>"


def database_of(url: str) -> tuple[Database, str]:
    """Return the database that a URL names, and those of its options that are for the store.

    Hosts may be several, `postgresql://one:5432,two:5432/shop`: the one that takes writes is used.
    :raises ConfigurationError: it names none; the message has no password.
    """
    place, _, query = url.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    schema, pooled = dict(options).get("schema", DEFAULT_SCHEMA), dict(options).get("pgbouncer", "false")
    drivers = [(name, value) for name, value in options if _DRIVERS_OWN.fullmatch(name)]
    others = [(name, value) for name, value in options if not _DRIVERS_OWN.fullmatch(name) and name not in _OURS]
    scheme, separator, rest = place.partition("://")
    if not separator or scheme not in ("postgresql", "postgres") or "\0" in unquote(place):
        raise ConfigurationError(f"This is no URL of a PostgreSQL database. {_EXAMPLE}.")
    try:
        check_identifier(schema, "schema")
        if schema.startswith("pg_"):
            raise ValueError(f"schema {schema!r}: names that start with pg_ belong to PostgreSQL.")
        if pooled not in ("true", "false"):
            raise ValueError(f"pgbouncer={pooled!r}: it is true or false.")
    except ValueError as error:
        raise ConfigurationError(f"{error} {_EXAMPLE}.") from error
    dsn = f"postgresql://{rest}" + (f"?{urlencode(drivers, quote_via=quote)}" if drivers else "")
    return Database(dsn, schema, pooled == "true"), urlencode(others)


async def open_connection(
    database: Database,
    settings: Mapping[str, str],
    *,
    writes: bool = True,
    answers_within: float | None = ANSWER_SECONDS,
) -> Connection:
    """Connect, with these settings for the session. `writes` asks for the primary where there are several hosts.

    Behind PgBouncer the settings are those of each transaction.

    A peer that is gone without a word is noticed after half a minute, not after the hours of TCP's defaults. One that
    is there and answers no statement within so many seconds is a TimeoutError: terminate the connection then.
    :raises StoreUnavailableError: :raises ConfigurationError: the URL is no good, or the password is not.
    """
    named = dict(parse_qsl(urlsplit(database.dsn).query))
    chosen: dict[str, Any] = (
        {} if "target_session_attrs" in named or not writes else {"target_session_attrs": "primary"}
    )
    chosen |= {"timeout": CONNECT_SECONDS, "command_timeout": answers_within}
    settings = {**_ALWAYS, "application_name": named.get("application_name", "diptych"), **settings}
    try:
        connection: Connection
        if database.is_pooled:
            chosen["server_settings"] = {"application_name": settings.pop("application_name")}  # it takes no others
            connection = await connect_pooled(database.dsn, settings, **chosen)
        else:
            chosen |= {"connection_class": DirectConnection, "server_settings": settings}
            connection = await asyncpg.connect(database.dsn, **chosen)
    except (*DRIVER_ERRORS, ValueError) as error:
        raise translate(error, database) from error
    _keep_alive(connection)
    return connection


@contextmanager
def warnings_of(connection: Connection) -> Iterator[list[str]]:
    """Collect what the server warns of in the block: at a commit, that it gave up waiting for its standby."""
    warnings: list[str] = []

    def heard(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if getattr(message, "severity_en", None) == "WARNING":
            warnings.append(str(message))

    connection.add_log_listener(heard)
    try:
        yield warnings
    finally:
        connection.remove_log_listener(heard)


def _keep_alive(connection: Connection) -> None:
    transport = getattr(connection, "_transport", None)
    end = transport.get_extra_info("socket") if transport is not None else None
    if end is None or end.family not in (socket.AF_INET, socket.AF_INET6):
        return
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def translate(error: BaseException, database: Database) -> DiptychError:
    """Return our error for one of asyncpg's or of the operating system, as a sentence that names the database."""
    if isinstance(error, DiptychError):
        return error
    state = getattr(error, "sqlstate", None)
    if "unsupported startup parameter" in str(error):
        return ConfigurationError(f"{database} is behind PgBouncer ({error}). Add pgbouncer=true to the URL.")
    if isinstance(state, str):
        for length in (5, 2):
            make = _BY_STATE.get(state[:length])
            if make is not None:
                return make(error, database)
        return ProgrammingError(f"{database}: PostgreSQL refused the statement: {error} ({state})")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return _read_only(error, database)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigurationError(f"{database}: {error}. {_EXAMPLE}.")
    if isinstance(error, asyncpg.DataError):
        return InvalidInputError(f"{database}: a value does not fit ({error}). Send another.")
    if isinstance(error, asyncpg.InterfaceError) and "closed" not in str(error):
        return ProgrammingError(f"{database}: the connection was used wrongly: {error}")
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return ConfigurationError(f"{database}: {error}. {_EXAMPLE}.")
    return _unavailable(error, database)


def _unavailable(error: BaseException, database: Database) -> StoreUnavailableError:
    why = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    return StoreUnavailableError(f"{database} cannot be reached ({why}). Nothing was stored; try again.")


def _busy(error: BaseException, database: Database) -> StoreUnavailableError:
    return StoreUnavailableError(f"{database} is locked by another session ({error}). Nothing was stored; try again.")


def _stopped(error: BaseException, database: Database) -> StoreUnavailableError:
    return StoreUnavailableError(f"{database}: the statement was stopped ({error}). Nothing was stored; try again.")


def _full(error: BaseException, database: Database) -> StoreFullError:
    return StoreFullError(f"{database}: no space left ({error}). Nothing was stored; free some space and try again.")


def _read_only(error: BaseException, database: Database) -> StoreReadOnlyError:
    return StoreReadOnlyError(f"{database} cannot be written ({error}). Is it a standby? Name the primary in the URL.")


def _corrupted(error: BaseException, database: Database) -> StoreCorruptedError:
    return StoreCorruptedError(f"{database} is damaged ({error}). Restore it from a backup.")


def _denied(error: BaseException, database: Database) -> AccessDeniedError:
    return AccessDeniedError(f"{database}: this user may not do that ({error}). Grant it, or use another user.")


def _login(error: BaseException, database: Database) -> ConfigurationError:
    return ConfigurationError(f"{database}: {error}. Check the user, the password and the database in the URL.")


def _invalid(error: BaseException, database: Database) -> InvalidInputError:
    return InvalidInputError(f"{database}: a value cannot be stored ({error}). Send another.")


_BY_STATE: Final[Mapping[str, Callable[[BaseException, Database], DiptychError]]] = {
    "08": _unavailable,  # connection exceptions
    "22": _invalid,  # data exceptions
    "25006": _read_only,
    "28": _login,
    "25P03": _stopped,  # idle_in_transaction_session_timeout
    "3D": _login,  # no such database
    "40": _busy,  # serialization failures and deadlocks
    "42501": _denied,
    "53": _unavailable,  # no memory, too many connections
    "53100": _full,
    "54": _invalid,  # a limit of the server's
    "55P03": _busy,  # lock_timeout
    "57": _unavailable,  # the server is stopping or starting
    "57014": _stopped,
    "58": _unavailable,  # the server's disk
    "XX001": _corrupted,
    "XX002": _corrupted,
}
