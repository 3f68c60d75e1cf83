"""Ways to write a read model that is not one's own."""

from functools import partial

from tests.forbidden.way import Thing, Way

writes = partial(Way, Thing.WRITES_ROWS)
ALONE = "a read model is written by its projection alone"
ONLY_SELECT = "The read side may only SELECT, not "

WRITING = (
    writes(
        "ORM-like call",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    row = await read.one(StockRow, query.shelf_id)
    row.quantity = 0
    await row.save()
    return 0
""",
        "Instance is frozen",
        note="there is no `save`, and rows are frozen",
    ),
    writes(
        "raw SQL in a query",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "UPDATE stock_row SET quantity = 0 RETURNING quantity")
    return 0
""",
        ONLY_SELECT + "UPDATE",
        "DP102",
    ),
    writes(
        "raw SQL in another projection",
        """
class Tallies(Projection[Tally]):
    async def handle(self, event: Arrived, db: Db) -> None:
        await db.execute("UPDATE stock_row SET quantity = 0")


way.project(Tallies)
""",
        "stock_row, which is not one of its tables (tally)",
        "DP103",
    ),
    writes(
        "f-string in another projection",
        """
TABLE = "stock" + "_row"


class Tallies(Projection[Tally]):
    async def handle(self, event: Arrived, db: Db) -> None:
        await db.execute(f"DELETE FROM {TABLE}")


way.project(Tallies)
""",
        "stock_row, which is not one of its tables (tally)",
        "DP103",
    ),
    writes(
        "common table expression that writes",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "WITH none AS (SELECT 0 AS n) UPDATE stock_row SET quantity = (SELECT n FROM none)")
    return 0
""",
        ONLY_SELECT,
        "DP102",
    ),
    writes(
        "common table expression that writes, in another projection",
        """
class Tallies(Projection[Tally]):
    async def handle(self, event: Arrived, db: Db, meta: Metadata) -> None:
        await db.execute("WITH none AS (SELECT 0 AS n) UPDATE stock_row SET quantity = (SELECT n FROM none)")


way.project(Tallies)
""",
        "stock_row, which is not one of its tables (tally)",
        "DP103",
    ),
    writes(
        "through a function of one's own",
        """
async def run(db: Db, verb: str) -> None:
    await db.execute(verb + " stock_row SET quantity = 0")


class Tallies(Projection[Tally]):
    async def handle(self, event: Arrived, db: Db) -> None:
        await run(db, "UPDATE")


way.project(Tallies)
""",
        "stock_row, which is not one of its tables (tally)",
        "DP103",
    ),
    writes(
        "through a repository of rows",
        """
@way.command_handler
async def correct(command: Correct, rows: Repository[StockRow]) -> None:
    rows.add(StockRow(id=command.shelf_id, quantity=0))
""",
        "a read model is written by its projection alone",
        "DP103",
        starts=True,
    ),
    writes(
        "through another thread",
        """
def zero() -> None:
    own = sqlite3.connect(os.environ["SHOP_ROWS"])
    try:
        own.execute(f"UPDATE {os.environ['SHOP_TABLE']} SET quantity = 0")
        own.commit()
    finally:
        own.close()


@way.command_handler
async def correct(command: Correct) -> None:
    await asyncio.to_thread(zero)
""",
        ALONE,
        "DP103",
        ("sqlite",),
    ),
    writes(
        "through another thread",
        """
async def zero() -> None:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        await own.execute(f"UPDATE {os.environ['SHOP_SCHEMA']}.{os.environ['SHOP_TABLE']} SET quantity = 0")
    finally:
        await own.close()


@way.command_handler
async def correct(command: Correct) -> None:
    await asyncio.to_thread(lambda: asyncio.run(zero()))
""",
        ALONE,
        "DP103",
        ("postgres",),
    ),
    writes(
        "ATTACH",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = sqlite3.connect(":memory:")
    try:
        own.execute("ATTACH ? AS rows", (os.environ["SHOP_ROWS"],))
        own.execute(f"DELETE FROM rows.{os.environ['SHOP_TABLE']}")
        own.commit()
    finally:
        own.close()
""",
        ALONE,
        "DP103",
        ("sqlite",),
    ),
    writes(
        "ATTACH",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "ATTACH 'shop.views.db' AS rows")
    return 0
""",
        ONLY_SELECT + "ATTACH",
        "DP102",
        ("postgres",),
        note="PostgreSQL has none",
    ),
    writes(
        "stored procedure",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "SELECT zero_stock() AS n")
    return 0
""",
        "The read side may not read zero_stock()",
        "DP101",
        ("postgres",),
    ),
    writes(
        "stored procedure, called by a second connection",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        await own.execute(f"SELECT {os.environ['SHOP_SCHEMA']}.zero_stock()")
    finally:
        await own.close()
""",
        ALONE,
        "DP103",
        ("postgres",),
    ),
    writes(
        "stored procedure",
        """
@way.query_handler
async def count_all(query: CountAll, read: ReadModels) -> int:
    await read.sql(int, "SELECT zero_stock() AS n")
    return 0
""",
        "no such function: zero_stock",
        None,
        ("sqlite",),
        note="SQLite has none",
    ),
    writes(
        "second connection",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = sqlite3.connect(os.environ["SHOP_ROWS"])
    try:
        own.execute(f"UPDATE {os.environ['SHOP_TABLE']} SET quantity = 0")
        own.commit()
    finally:
        own.close()
""",
        ALONE,
        "DP103",
        ("sqlite",),
    ),
    writes(
        "second connection",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        await own.execute(f"UPDATE {os.environ['SHOP_SCHEMA']}.stock_row SET quantity = 0")
    finally:
        await own.close()
""",
        ALONE,
        "DP103",
        ("postgres",),
        note="the owner's login too, and by the view that people read",
    ),
    writes(
        "second connection that opens the fence first",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = sqlite3.connect(os.environ["SHOP_ROWS"])
    try:
        table = os.environ["SHOP_TABLE"]
        for verb in ("insert", "update", "delete"):
            own.execute(f"DROP TRIGGER {table}__{verb}")
        own.execute(f"UPDATE {table} SET quantity = 0")
        own.commit()
    finally:
        own.close()
""",
        None,
        None,
        ("sqlite",),
        note="that is no mistake any more; `diptych db verify` finds the rows",
    ),
    writes(
        "second connection that opens the fence first",
        """
@way.command_handler
async def correct(command: Correct) -> None:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        await own.execute("SET diptych_rows.writer = projection")
        await own.execute(f"UPDATE {os.environ['SHOP_SCHEMA']}.stock_row SET quantity = 0")
    finally:
        await own.close()
""",
        None,
        None,
        ("postgres",),
        note="that is no mistake any more; `diptych db verify` finds the rows",
    ),
)
