"""The audit of a whole service: its log, where its projections stand, and on request every row of theirs.

Rule: it may run beside the service. Nothing is changed; what cannot be checked is said, and is no finding.
"""

from asyncio import to_thread
from collections.abc import Sequence
from typing import Final, NamedTuple

from diptych.app.application import App
from diptych.app.duty_verifying import verify_duties
from diptych.app.outline import Outline, outline
from diptych.errors import ConfigurationError, DataError, DiptychError, OtherHistoryError, StoreError
from diptych.events.codec import Codec
from diptych.projections.plan import Definition
from diptych.projections.refolding import Refolding
from diptych.store.auditing import Audit, Audited, Tell, judged
from diptych.store.opening import as_made, audit_source, look_at, open_stores, path_of
from diptych.store.outside import AuditSource, MarkFacts
from diptych.store.protocols import EventStore, ViewStore
from diptych.store.seen import Watched
from diptych.store.upgrading import pending

_ANYBODY: Final = (
    "The fence around {table} is missing, off or changed: anybody can write rows there. "
    "Make it anew: diptych projection rebuild {projection}"
)


class Verified(NamedTuple):
    """What a verification found, and sentences for what it could not look at."""

    audited: Audited
    not_checked: Sequence[str]


async def verify(url: str, app: App | None, tell: Tell, *, rows: bool) -> Verified:
    """Audit the service at a URL; without its app only what its store knows by itself.

    :raises ConfigurationError: there is no store. :raises StoreError: it cannot be reached.
    """
    known = None if app is None else outline(app)
    async with audit_source(url) as source:
        audit = Audit(source, tell, None if known is None else _Known(known.codec))
        audited = await audit.run()
        if app is None or known is None:
            why = "whether the code knows the types of all events, and projections: name the app, not a URL."
            return Verified(audited, [why])
        not_checked = [f"what cannot be wired: {problem}" for problem in known.problems]
        if app.views_url is None:
            await _checkpoints(url, known, audit, source)
        elif not rows:
            not_checked.append("projections: their rows are in another database. Verify with --rows.")
    if rows:
        not_checked += await _RowAudit(app, known, audit, tell).run()
        not_checked += await verify_duties(app, audit) if known.duties else []
    return Verified(audit.audited, not_checked)


class _Known:
    """Says whether the code knows a stored name and schema version."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def __call__(self, name: str, schema_version: int) -> str | None:
        try:
            newest = self._codec.newest(name)
        except ConfigurationError as error:
            return str(error)
        if newest is None:
            return "this code has no such event."
        return None if schema_version <= newest else f"this code knows it up to v{newest}."


async def _checkpoints(url: str, known: Outline, audit: Audit, source: AuditSource) -> None:
    """Hold the checkpoints of projections against the log (P2), those whose rows lie in a file of their own."""
    names = [Watched(one.name, one.mode == "inline", frozenset()) for one in known.definitions]
    apart = set[str]() if path_of(url) is None else {one.name for one in names if not one.is_inline}
    try:
        look = await to_thread(look_at, url, names)  # it runs an event loop of its own
    except OtherHistoryError as error:
        audit.find("P2", error.position, str(error))
        return
    for seen in [one for one in look.projections if one.name in apart]:  # the others were among the marks
        kept, audit.read["checkpoints"] = seen.checkpoint, audit.read["checkpoints"] + 1
        mark = MarkFacts(seen.name, kept.position, kept.event_id, await source.event_id(kept.position))
        sentence = judged(mark, (await source.head()).position)
        if sentence is not None:
            audit.find("P2", kept.position, sentence)


class _RowAudit:
    """Folds every projection again and compares it with what is kept (P1)."""

    def __init__(self, app: App, known: Outline, audit: Audit, tell: Tell) -> None:
        self._app, self._known, self._audit, self._tell = app, known, audit, tell

    async def run(self) -> list[str]:
        """Return what could not be compared, and why."""
        try:
            return await self._run()
        except OtherHistoryError as error:
            self._audit.find("P2", error.position, str(error))
            return []
        except DiptychError as error:
            return [f"rows: {error}"]

    async def _run(self) -> list[str]:
        """The stores are opened as the service opens them, for those tables alone that this leaves as they are."""
        app, definitions = self._app, self._known.definitions
        rows_at = app.views_url or app.url
        steps = [*await pending(app.url), *(await pending(app.views_url) if app.views_url else ())]
        old = [step.part for step in steps if step.found != step.known and not (app.views_url and step.part == "views")]
        if old:
            return [f"rows: {', '.join(old)} have an older schema. Bring them up first: diptych db upgrade"]
        made = await as_made(rows_at, [one.tables for one in definitions])
        mine = [one for one in definitions if one.name in made]
        not_checked = [
            f"the rows of {one.name}: there are no tables as this code makes them. Start the service."
            for one in definitions
            if one.name not in made
        ]
        stores = open_stores(app.url, views=app.views_url)
        try:
            await stores.events.open()
            for views, mode in ((stores.events.inline, "inline"), (stores.views, "async")):
                tables = [one.tables for one in mine if one.mode == mode]
                await views.open(tables, store_id=stores.events.store_id)
            for one in mine:
                views = stores.events.inline if one.mode == "inline" else stores.views
                for table in await views.generations.unfenced(one.name):
                    self._audit.find("P1", None, _ANYBODY.format(table=table, projection=one.name))
                not_checked += await self._compare(one, stores.events, views)
        finally:
            await stores.views.close()
            await stores.events.close()
        return not_checked

    async def _compare(self, definition: Definition, events: EventStore, views: ViewStore) -> list[str]:
        again = Refolding(definition, events, views, self._known.codec)
        try:
            async for difference in again.differences(self._tell):
                self._audit.find("P1", again.position, f"At position {again.position} {difference}")
        except (DataError, StoreError) as error:
            return [f"the rows of {definition.name}: {error}"]
        finally:
            await again.close()
        self._audit.read["rows"] += again.rows
        return []
