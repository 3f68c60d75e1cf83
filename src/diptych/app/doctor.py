"""Looks at everything that a service stands on, and says of each thing whether it is as it should be.

Rule: a check that fails, or cannot be made, keeps no other from being made. Nothing is started or changed.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from importlib import metadata
from re import match, split
from typing import Final

from diptych.app.application import App
from diptych.app.left_behind import left_behind
from diptych.app.outline import Outline, outline
from diptych.errors import ConfigurationError, DiptychError
from diptych.store.health import Check, judge, unknown
from diptych.store.opening import log_from_outside, open_stores, store_health
from diptych.store.outside import KindCount

_PLURAL: Final = {"saga": "sagas", "reaction": "reactions", "publication": "publications", "inbox": "inboxes"}
_OLDEST_PYTHON: Final = (3, 11)
_NEWEST_EVENTS: Final = 100_000
_WANTED: Final = frozenset({"pydantic", "apsw", "typing-extensions", "asyncpg", "fastapi", "uvicorn", "typer", "rich"})


async def examine(app: App) -> AsyncIterator[Check]:
    """Make every check, one after the other."""
    for check in _environment():
        yield check
    yield judge("mode", True, app.mode, "")
    known = outline(app)
    yield _wiring(known)
    try:
        open_stores(app.url, views=app.views_url)
    except ConfigurationError as error:
        yield judge("store", False, str(error), "correct the URL")
        return
    for url in filter(None, (app.url, app.views_url)):
        async for check in store_health(url):
            yield check
    for check in await _log(app, known):
        yield check
    yield await _left_behind(app, known)


def _environment() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield judge("Python", sys.version_info[:2] >= _OLDEST_PYTHON, version, "use Python 3.11 or newer")
    try:
        requires = metadata.requires("diptych") or []
        yield judge("diptych", True, metadata.version("diptych"), "")
    except metadata.PackageNotFoundError:
        yield unknown("diptych", "it is not installed, so that its requirements are not known")
        return
    for requirement in requires:
        found = match(r"([A-Za-z0-9-]+)(?:\[.*\])?>=([0-9.]+)", requirement)
        if found is not None and found[1].lower() in _WANTED:
            yield from _package(found[1], found[2], is_extra="extra ==" in requirement)


def _package(name: str, wanted: str, *, is_extra: bool) -> Iterator[Check]:
    """Compare a package with what is required; an extra that is not installed is not used."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if not is_extra:
            yield judge(name, False, "it is not installed", f"pip install '{name}>={wanted}'")
        return
    yield judge(name, _numbers(version) >= _numbers(wanted), version, f"pip install '{name}>={wanted}'")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: enough to compare releases."""
    found: list[int] = []
    for part in split(r"[.+-]", version):
        if not part.isdecimal():
            break
        found.append(int(part))
    return tuple(found)


def _wiring(known: Outline) -> Check:
    parts = f"{len(known.aggregates)} aggregates, {len(known.definitions)} projections"
    kinds = Counter(duty.kind for duty in known.duties)
    parts += "".join(f", {count} {_PLURAL[kind]}" for kind, count in sorted(kinds.items()))
    return judge("wiring", not known.problems, "; ".join(known.problems) or parts, "diptych describe lists all of it")


async def _log(app: App, known: Outline) -> list[Check]:
    """Look for events that this code cannot read among the newest ones (I2)."""
    names = ("event types", "schema versions")
    try:
        async with log_from_outside(app.url) as log:
            head = (await log.head()).position
            kinds = await log.kinds(after=max(head - _NEWEST_EVENTS, 0))
    except DiptychError as error:
        return [unknown(name, error) for name in names]
    newest = {kind.type: known.codec.newest(kind.type) for kind in kinds}
    strange = [kind for kind in kinds if newest[kind.type] is None]
    newer = [kind for kind in kinds if (known_up_to := newest[kind.type]) and kind.schema_version > known_up_to]
    fix = "deploy the code that knows them: every projection stops at the first one"
    among = f"all known among the newest {min(head, _NEWEST_EVENTS):,} events"
    return [
        judge(name, not found, _named(found) or among, fix) for name, found in zip(names, (strange, newer), strict=True)
    ]


async def _left_behind(app: App, known: Outline) -> Check:
    """Look for what is owed under names that no code has: nobody does it, and nobody is told."""
    name = "sagas and reactions"
    if known.problems:
        return unknown(name, "which there are is known once they are wired")
    try:
        found = await left_behind(app, known)
    except DiptychError as error:
        return unknown(name, error)
    owing = [one for one in found if one.owes]
    gone = ", ".join(map(str, owing or found))
    detail = f"in no code, and no living worker has it: {gone}" if owing else "nothing is owed that no code does"
    detail += f"; without code: {gone}" if found and not owing else ""
    fix = "register it again under that name (name=): it goes on where it stood, and takes what came meanwhile"
    return judge(name, not owing, detail, fix)


def _named(kinds: list[KindCount]) -> str:
    return ", ".join(f"{kind.type} v{kind.schema_version} ({kind.events:,}, the last at {kind.last})" for kind in kinds)
