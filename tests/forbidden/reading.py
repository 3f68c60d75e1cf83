"""Ways for a query handler to read the write model."""

from functools import partial

from tests.forbidden.way import Thing, Way

reads = partial(Way, Thing.READS_THE_LOG)
NOT_READABLE = "The read side may not read events"

READING = (
    reads(
        "ORM-like call",
        """
class Events(ReadModel):
    position: Annotated[int, Key]
    payload: str


@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    return 0 if await read.get(Events, 1) is None else 1
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "raw SQL",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    (count,) = await read.sql(int, "SELECT count(*) AS n FROM events WHERE position > 0")
    return count
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "f-string",
        """
LOG = "ev" + "ents"


@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    (count,) = await read.sql(int, f"SELECT count(*) AS n FROM {LOG}")
    return count
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "common table expression",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    sql = "WITH all_of_it AS (SELECT position FROM events) SELECT count(*) AS n FROM stock_row, all_of_it"
    (count,) = await read.sql(int, sql)
    return count
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "through a function of one's own",
        """
async def how_many(source: ReadModels, table: str) -> int:
    (count,) = await source.sql(int, "SELECT count(*) AS n FROM " + table)
    return count


@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    return await how_many(read, "events")
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "through the repository it asks for",
        """
@way.query_handler
async def count_all(query: CountAll, shelves: Repository[Shelf]) -> int:
    return (await shelves.get(query.shelf_id)).quantity
""",
        "a query handler may not ask for",
        "DP101",
        starts=True,
    ),
    reads(
        "through a repository it makes",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    return (await Repository(Shelf).get(query.shelf_id)).quantity
""",
        "A repository works inside a command handler only",
        "DP101",
    ),
    reads(
        "through another thread",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    loop = asyncio.get_running_loop()
    asked = read.sql(int, "SELECT count(*) AS n FROM events")
    (count,) = await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(asked, loop).result())
    return count
""",
        NOT_READABLE,
        "DP101",
    ),
    reads(
        "ATTACH",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "ATTACH 'shop.db' AS log")
    (count,) = await read.sql(int, "SELECT count(*) AS n FROM log.events")
    return count
""",
        "The read side may only SELECT, not ATTACH",
        "DP102",
    ),
    reads(
        "stored procedure",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    (count,) = await read.sql(int, "SELECT log_size() AS n")
    return count
""",
        "The read side may not read log_size()",
        "DP101",
        ("postgres",),
    ),
    reads(
        "stored procedure",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    (count,) = await read.sql(int, "SELECT log_size() AS n")
    return count
""",
        "no such function: log_size",
        None,
        ("sqlite",),
        note="SQLite has none, and our connections have no functions of yours",
    ),
    reads(
        "second connection",
        """
@way.query_handler
async def count_all(query: CountAll) -> int:
    own = sqlite3.connect(os.environ["SHOP_LOG"])
    try:
        (count,) = own.execute("SELECT count(*) FROM events").fetchone()
        return count
    finally:
        own.close()
""",
        None,
        None,
        ("sqlite",),
        note="who may read the file reads it; in development it is reported as a blocking call, DP501",
    ),
    reads(
        "second connection",
        """
@way.query_handler
async def count_all(query: CountAll) -> int:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        return await own.fetchval(f"SELECT count(*) FROM {os.environ['SHOP_SCHEMA']}.events")
    finally:
        await own.close()
""",
        None,
        None,
        ("postgres",),
        note="only a login of its own without that right (`diptych db grants`) refuses it",
    ),
)
