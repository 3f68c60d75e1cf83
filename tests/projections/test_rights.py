"""Workers that may not make tables: the four roles of `diptych db grants`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from diptych.projections.definition import define_all
from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.store.postgres.roles import grants, roles_of
from diptych.store.upgrading import upgrade
from tests.postgres import Server
from tests.projections import shop
from tests.projections.harmful import until
from tests.projections.running import FAST, Running, running

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


class SalesAgain(shop.Sales, name="sales", version=2):
    """The next release."""


@asynccontextmanager
async def worker(server: Server, url: str, *projections: type[Projection[Any]], keep: float) -> AsyncIterator[Running]:
    """Run projections as a user who may append and keep rows, over tables of the release before."""
    name = url.rpartition("schema=")[2]
    made = define_all([(shop.Sales, "async"), (shop.Baskets, "async")])
    await upgrade(url, [one.tables for one in made])
    server.query(grants(name, roles_of(name)))
    server.query(f"GRANT {name}_writer TO {name}_projector")
    rules = Rules(FAST.pace._replace(keep=keep))
    try:
        async with running(url.replace("postgres@", f"{name}_projector@", 1), *projections, rules=rules) as shop_:
            yield shop_
    finally:
        server.query(f"DROP SCHEMA {name} CASCADE")
        for role in roles_of(name):
            server.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_projection_that_it_may_not_build_is_frozen_and_holds_up_no_other(
    postgres: Server, postgres_url: str
) -> None:
    """P7: no projection delays another."""
    async with worker(postgres, postgres_url, SalesAgain, shop.Baskets, keep=60) as shop_:
        done = await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
        assert await shop_.engine.progress["baskets"].wait_for(done.position, 5.0)
        sales = shop_.engine.progress["sales"]
        assert sales.state == "frozen"
        assert "`diptych projection rebuild sales` as the owner of the schema" in str(sales.error)


async def test_what_it_may_not_drop_is_said_once_and_left_to_the_owner(
    postgres: Server, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "diptych.projections")
    async with worker(postgres, postgres_url, shop.Sales, shop.Baskets, keep=0):
        name = postgres_url.rpartition("schema=")[2]
        postgres.query(
            f"INSERT INTO {name}.projection_generations SELECT * FROM jsonb_populate_record("
            f'NULL::{name}.projection_generations, (SELECT to_jsonb(g) || \'{{"generation": 9, "is_kept": true, '
            f"\"since\": 0}}' FROM {name}.projection_generations g WHERE projection = 'sales'))"
        )

        def said() -> list[str]:
            return [one.getMessage() for one in caplog.records if "diptych projection drop sales 9" in one.getMessage()]

        await until(lambda: said() != [])
        seen: set[str] = set()

        def has_looked_again() -> bool:
            seen.add(postgres.query(f"SELECT max(alive_until) FROM {name}.workers"))
            return len(seen) > 3

        await until(has_looked_again)
        assert len(said()) == 1
