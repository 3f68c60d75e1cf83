"""Brings the stores of a service to what this code knows, and says what it did.

Rule: an upgrade does what the next start of the service would do; it is for those who may not, or want to see it first.
"""

from collections.abc import Sequence
from typing import NamedTuple

from diptych.errors import ConfigurationError
from diptych.store.batches import ProjectionTables
from diptych.store.opening import open_stores, path_of, shown, views_path
from diptych.store.protocols import ViewStore
from diptych.store.tables import check_identifier


class Step(NamedTuple):
    """A part of a store, the schema it has, and the newest that this code knows."""

    part: str
    found: int
    known: int


class Upgraded(NamedTuple):
    """What an upgrade did. `anew` are projections that the service builds from the first event on."""

    steps: Sequence[Step]
    anew: Sequence[str]


async def pending(url: str) -> list[Step]:
    """Return where each part is now. :raises ConfigurationError: nothing is kept. :raises StoreError:"""
    if url.startswith(("postgresql://", "postgres://")):
        stores = open_stores(url)  # says what is wrong with the URL, or that the driver is missing
        del stores
        from diptych.store.postgres import upgrading as server
        from diptych.store.postgres.connection import database_of

        found = await server.versions(database_of(url)[0])
        return [Step(part, version, server.newest(part)) for part, version in found.items()]
    path = path_of(url)
    if path is None:
        raise ConfigurationError(f"{shown(url)} keeps nothing: there is nothing to upgrade.")
    from diptych.store.sqlite import upgrading as files

    found = files.versions(path, views_path(path))
    return [Step(part, version, files.newest(part)) for part, version in found.items()]


async def upgrade(
    url: str, asynchronous: Sequence[ProjectionTables] = (), inline: Sequence[ProjectionTables] = ()
) -> Upgraded:
    """Apply what is missing, under the lock of the store, and make the tables of these projections."""
    steps = await pending(url)
    stores = open_stores(url)
    try:
        await stores.events.open()
        await stores.events.inline.open(inline, store_id=stores.events.store_id)
        await stores.views.open(asynchronous, store_id=stores.events.store_id)
        head = (await stores.events.head()).position
        places = [(stores.events.inline, each) for each in inline] + [(stores.views, each) for each in asynchronous]
        anew = [each.name for views, each in places if head and not await _is_kept(views, each)]
    finally:
        await stores.views.close()
        await stores.events.close()
    return Upgraded(steps, anew)


async def _is_kept(views: ViewStore, projection: ProjectionTables) -> bool:
    """Whether rows that fit the code are there; else they are yet to be built."""
    live = [one for one in await views.generations.all(projection.name) if one.state == "live"]
    begun = [place.position for place in await views.places(projection.name)]
    return any(one.fits(projection) for one in live) and min(begun, default=0) > 0


def script(url: str | None, schema: str | None) -> str:
    """Return the SQL that makes a store from nothing; without a URL, on PostgreSQL. Nothing is connected."""
    if url is not None and path_of(url) is not None:
        if schema is not None:
            raise ConfigurationError("A file has no schemas. Leave out --schema.")
        from diptych.store.sqlite.upgrading import script as of_files

        return of_files()
    return _of_server(url, schema)


def _of_server(url: str | None, schema: str | None) -> str:
    address = url or "postgresql:///"
    if address == "memory:":
        raise ConfigurationError("memory: keeps nothing, in no schema.")
    place = f"{address}{'&' if '?' in address else '?'}schema={schema}" if schema else address
    open_stores(place)
    from diptych.store.postgres.connection import database_of
    from diptych.store.postgres.upgrading import script as of_schema

    return of_schema(database_of(place)[0].schema)


def roles_script(schema: str, **named: str | None) -> str:
    """Return the SQL that makes the roles of a schema; see `postgres/roles.py`. :raises ConfigurationError:"""
    from diptych.store.postgres.roles import grants, roles_of

    try:
        check_identifier(schema, "schema")
        return grants(schema, roles_of(schema, **named))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
