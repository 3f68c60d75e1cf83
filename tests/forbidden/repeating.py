"""Ways for a projection's own SQL to do something else the second time, or to leave its transaction."""

from functools import partial

from tests.forbidden.way import Thing, Way

repeats = partial(Way, Thing.COUNTS_TWICE)
CONFLICT = "INSERT needs ON CONFLICT"
AWAITS = "handle may await nothing but its db"


def handling(body: str, before: str = "") -> str:
    """A projection whose `handle` does this."""
    lines = "".join(f"        {line}\n" for line in body.strip().splitlines())
    return (
        f"{before}\nclass Tallies(Projection[Tally]):\n"
        f"    async def handle(self, event: Arrived, db: Db, meta: Metadata) -> None:\n"
        f"{lines}\n\nway.project(Tallies)\n"
    )


REPEATING = (
    repeats(
        "ORM-like call",
        handling("await db.insert(Tally(id=meta.stream.id, quantity=event.quantity))"),
        "has no attribute 'insert'",
        note="there is no such call",
    ),
    repeats(
        "raw SQL",
        handling('await db.execute("INSERT INTO tally (id, quantity) VALUES (:id, 1)", id=meta.stream.id)'),
        CONFLICT,
        "DP201",
    ),
    repeats(
        "raw SQL that replaces",
        handling('await db.execute("INSERT OR REPLACE INTO tally VALUES (:id, 1)", id=meta.stream.id)'),
        CONFLICT,
        "DP201",
    ),
    repeats(
        "f-string",
        handling(
            'await db.execute(f"INSERT INTO {TABLE} VALUES (:id, 1)", id=meta.stream.id)', '\nTABLE = "tally"\n\n'
        ),
        CONFLICT,
        "DP201",
    ),
    repeats(
        "common table expression",
        handling(
            'sql = "WITH it AS (SELECT :id AS id) INSERT INTO tally SELECT id, 1 FROM it"\n'
            "await db.execute(sql, id=meta.stream.id)"
        ),
        CONFLICT,
        "DP201",
    ),
    repeats(
        "through a function of one's own",
        handling(
            "await add(db, meta.stream.id)",
            """
async def add(db: Db, id: UUID) -> None:
    await db.execute("INSERT INTO tally VALUES (:id, 1)", id=id)

""",
        ),
        CONFLICT,
        "DP201",
    ),
    repeats(
        "through the repository",
        handling("shelf = await Repository(Shelf).get(meta.stream.id)\nshelf.record(Arrived(quantity=1))"),
        "A repository works inside a command handler only",
        "DP101",
    ),
    repeats(
        "through another thread",
        handling("await asyncio.to_thread(print, event)"),
        AWAITS,
        "DP203",
        ("postgres",),
    ),
    repeats(
        "through another thread",
        handling("await asyncio.to_thread(print, event)"),
        "no running event loop",
        None,
        ("sqlite",),
        note="there is no event loop where it runs",
    ),
    repeats(
        "ATTACH",
        handling("""await db.execute("ATTACH 'other.db' AS other")"""),
        "its SQL may only SELECT, INSERT, UPDATE and DELETE",
        "DP103",
    ),
    repeats(
        "a COMMIT of one's own",
        handling('await db.execute("COMMIT")'),
        "its SQL may only SELECT, INSERT, UPDATE and DELETE",
        "DP103",
    ),
    repeats(
        "stored procedure",
        handling('await db.rows("SELECT zero_stock()")'),
        "zero_stock(), which is not one of its tables (tally)",
        "DP109",
        ("postgres",),
    ),
    repeats(
        "stored procedure",
        handling('await db.rows("SELECT zero_stock()")'),
        "no such function: zero_stock",
        None,
        ("sqlite",),
        note="SQLite has none",
    ),
    repeats(
        "second connection",
        handling(
            """
own = sqlite3.connect(os.environ["SHOP_ROWS"])
try:
    own.execute(f"UPDATE {os.environ['SHOP_TABLE']} SET quantity = quantity + 1")
finally:
    own.close()
"""
        ),
        "a read model is written by its projection alone",
        "DP103",
        ("sqlite",),
    ),
    repeats(
        "second connection",
        handling(
            "with ThreadPoolExecutor(1) as threads:\n    threads.submit(asyncio.run, add()).result()",
            """
async def add() -> None:
    own = await asyncpg.connect(os.environ["SHOP_LOG"])
    try:
        await own.execute(f"UPDATE {os.environ['SHOP_SCHEMA']}.stock_row SET quantity = quantity + 1")
    finally:
        await own.close()

""",
        ),
        "a read model is written by its projection alone",
        "DP103",
        ("postgres",),
    ),
    repeats(
        "a clock",
        handling("await db.execute(\"UPDATE tally SET quantity = 1 WHERE date('now') > '2020'\")"),
        "another answer the next time",
        "DP206",
    ),
    repeats(
        "relative update",
        handling('await db.execute("UPDATE tally SET quantity = quantity + 1 WHERE id = :id", id=meta.stream.id)'),
        None,
        None,
        note="it takes effect once all the same, for rows and checkpoint commit together",
    ),
)
