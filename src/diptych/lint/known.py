"""What other libraries' calls do: reach out of the process, hold up the event loop, or answer differently each time.

Rule: data, and the three questions asked of it. What is not listed is not known, and no finding.
"""

from collections.abc import Mapping
from typing import Final

_HTTP = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "send"})
_SQL = frozenset({"execute", "executemany", "executescript", "commit", "fetch", "fetchrow", "fetchval", "copy_from"})
_ORM = frozenset({"execute", "scalar", "scalars", "commit", "flush", "get", "refresh", "merge"})
_MAIL = frozenset({"send_message", "sendmail", "login", "connect", "quit"})
_SOCKET = frozenset({"connect", "send", "sendall", "sendto", "recv", "recvfrom", "accept", "bind", "listen"})
_RUN = frozenset({"run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"})
_CACHE = frozenset({"get", "set", "setex", "delete", "incr", "publish", "lpush", "rpush", "hset", "hget", "xadd"})

BLOCKING_NETWORK: Final[Mapping[str, frozenset[str]]] = {
    "httpx": _HTTP,
    "httpx.Client": _HTTP,
    "requests": _HTTP,
    "requests.Session": _HTTP,
    "requests.session": _HTTP,
    "urllib.request": frozenset({"urlopen", "urlretrieve"}),
    "urllib3": frozenset({"request"}),
    "urllib3.PoolManager": frozenset({"request", "urlopen"}),
    "http.client.HTTPConnection": frozenset({"connect", "request", "getresponse"}),
    "http.client.HTTPSConnection": frozenset({"connect", "request", "getresponse"}),
    "smtplib": frozenset({"SMTP", "SMTP_SSL"}),
    "smtplib.SMTP": _MAIL,
    "smtplib.SMTP_SSL": _MAIL,
    "socket": frozenset({"create_connection", "getaddrinfo", "gethostbyname"}),
    "socket.socket": _SOCKET,
    "redis.Redis": _CACHE,
    "psycopg": frozenset({"connect"}),
    "psycopg.connect": _SQL,
    "psycopg2": frozenset({"connect"}),
    "psycopg2.connect": _SQL,
    "sqlalchemy.orm.Session": _ORM,
}
ASYNC_NETWORK: Final[Mapping[str, frozenset[str]]] = {
    "httpx.AsyncClient": _HTTP,
    "aiohttp": frozenset({"request"}),
    "aiohttp.ClientSession": _HTTP | {"ws_connect"},
    "aiosmtplib": frozenset({"send"}),
    "aiosmtplib.SMTP": _MAIL,
    "asyncio": frozenset({"open_connection", "open_unix_connection"}),
    "redis.asyncio.Redis": _CACHE,
    "asyncpg": frozenset({"connect", "create_pool"}),
    "asyncpg.connect": _SQL,
    "asyncpg.Connection": _SQL,
    "asyncpg.Pool": _SQL,
    "psycopg.AsyncConnection": _SQL | {"connect"},
    "psycopg.AsyncConnection.connect": _SQL,
    "sqlalchemy.ext.asyncio.AsyncSession": _ORM,
    "aiokafka.AIOKafkaProducer": frozenset({"send", "send_and_wait"}),
}
BLOCKING_LOCAL: Final[Mapping[str, frozenset[str]]] = {  # no files: a local file is there before others would have run
    "subprocess": _RUN,
    "os": frozenset({"system"}),
    "builtins": frozenset({"input"}),
}
OTHER_IO: Final[Mapping[str, frozenset[str]]] = {
    "builtins": frozenset({"open", "input"}),
    "aiofiles": frozenset({"open"}),
    "aiosqlite": frozenset({"connect"}),
    "asyncio": frozenset({"create_subprocess_exec", "create_subprocess_shell"}),
    "io": frozenset({"open"}),
    "os": frozenset({
        "system", "popen", "open", "remove", "unlink", "rename", "replace", "mkdir", "makedirs", "rmdir", "listdir",
        "scandir", "write",
    }),
    "pathlib.Path": frozenset({
        "open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "touch", "unlink", "rename", "replace",
        "rmdir", "iterdir", "exists", "glob",
    }),
    "shutil": frozenset({"copy", "copy2", "copyfile", "copytree", "move", "rmtree"}),
    "sqlite3": frozenset({"connect"}),
    "sqlite3.connect": _SQL,
    "subprocess": _RUN | {"Popen"},
    "tempfile": frozenset({"mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"}),
}  # fmt: skip
CLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "datetime.datetime": frozenset({"now", "utcnow", "today"}),
    "datetime.date": frozenset({"today"}),
    "time": frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}),
}
RANDOM: Final[Mapping[str, frozenset[str]]] = {  # of the module; an object of `random.Random(seed)` is not random
    "random": frozenset({
        "random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform", "gauss", "betavariate",
        "normalvariate", "triangular", "randbytes", "getrandbits", "expovariate",
    }),
    "secrets": frozenset({"token_bytes", "token_hex", "token_urlsafe", "choice", "randbelow", "randbits"}),
    "uuid": frozenset({"uuid1", "uuid4", "uuid6", "uuid7", "uuid8"}),
    "os": frozenset({"urandom"}),
}  # fmt: skip

_NOW: Final = ("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today")


def is_io(dotted: str) -> bool:
    """Whether a call reaches out of the process: the network, a database, files, other programs."""
    return _is_in(dotted, BLOCKING_NETWORK, ASYNC_NETWORK, BLOCKING_LOCAL, OTHER_IO)


def is_network(dotted: str) -> bool:
    """Whether a call waits for another machine, or for a server on this one."""
    return _is_in(dotted, BLOCKING_NETWORK, ASYNC_NETWORK)


def is_blocking(dotted: str) -> bool:
    """Whether a call holds up the event loop for longer than it may."""
    return dotted == "time.sleep" or _is_in(dotted, BLOCKING_NETWORK, BLOCKING_LOCAL)


def is_changing(dotted: str) -> bool:
    """Whether a call answers differently each time: clocks, chance, new ids."""
    return is_new_id(dotted) or _is_in(dotted, CLOCKS, RANDOM)


def is_new_id(dotted: str) -> bool:
    """Whether it is our own maker of ids, which is meant for handlers."""
    return dotted in ("diptych.new_id", "diptych.clock.new_id")


def is_now(dotted: str) -> bool:
    """Whether a call gives the present moment as a datetime."""
    return dotted in _NOW


def spoken(dotted: str) -> str:
    """Return a call's name as people say it: `open`, and `datetime.now`."""
    for prefix in ("builtins.", "diptych.clock.", "diptych."):
        if dotted.startswith(prefix):
            return dotted.removeprefix(prefix)
    return dotted.removeprefix("datetime.") if dotted.startswith("datetime.date") else dotted


def short(dotted: str) -> str:
    """Return the last two names of a dotted one: `Repository.get`."""
    return ".".join(dotted.split(".")[-2:])


def _is_in(dotted: str, *tables: Mapping[str, frozenset[str]]) -> bool:
    owner, _, name = dotted.rpartition(".")
    return any(name in table.get(owner, ()) for table in tables)
