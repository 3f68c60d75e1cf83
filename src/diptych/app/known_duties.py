"""The sagas, reactions, publications and inboxes of an app, read from what it declares.

Rule: nothing is made, opened or started here, and a fault is collected with all others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from diptych.app.module import Module
from diptych.errors import ConfigurationError, DiptychError, NotFoundError
from diptych.events.recorded import RecordedEvent
from diptych.handlers import where
from diptych.messages import DomainEvent
from diptych.projections.plan import Definition
from diptych.reactions.inbox import Inbox
from diptych.reactions.publication import Published
from diptych.reactions.reaction import Declared, read_reaction
from diptych.sagas.plan import Plan, plan_of
from diptych.sagas.row import saga_table
from diptych.sagas.saga import Saga
from diptych.sagas.steps import steps_of
from diptych.store.batches import ProjectionTables
from diptych.store.tables import Table
from diptych.subscriptions.duty import LANES, kept_by
from diptych.subscriptions.tasks import tasks_table

DutyKind = Literal["saga", "reaction", "publication", "inbox"]

REACTIONS: Final[tuple[DutyKind, ...]] = ("reaction", "publication", "inbox")
"""What `diptych reaction` is about."""


class KnownDuty(NamedTuple):
    """One of them. `sagas` is the table of a saga's rows; `key_of` says under which key it
    takes an event, None if it does not; `detail` says what it takes, for people."""

    kind: DutyKind
    name: str
    kept: ProjectionTables
    tasks: Table
    sagas: Table | None
    events: tuple[type[DomainEvent], ...]
    key_of: Callable[[RecordedEvent], str | None]
    detail: str
    where: str

    @property
    def verb(self) -> str:
        """The command line that is about it: `diptych saga`, or `diptych reaction` for all others."""
        return "diptych saga" if self.kind == "saga" else "diptych reaction"


def known_duties(modules: Sequence[Module], problems: list[str]) -> tuple[KnownDuty, ...]:
    """Read them; what is wrong with one is added to `problems`."""
    found: list[KnownDuty] = []
    for read in _readers(modules):
        try:
            found.append(read())
        except ConfigurationError as error:
            problems.extend(error.problems)
        except (DiptychError, TypeError, NameError, ValueError) as error:
            problems.append(str(error))
    return tuple(found)


def duty_named(duties: Sequence[KnownDuty], kinds: Sequence[DutyKind], name: str) -> KnownDuty:
    """Return the one of this name. :raises NotFoundError: there is none; says which there are."""
    mine = [one for one in duties if one.kind in kinds]
    for one in mine:
        if one.name == name:
            return one
    other = next((one for one in duties if one.name == name), None)
    what = "saga" if "saga" in kinds else "reaction"
    if other is not None:
        raise NotFoundError(f"{name} is a {other.kind}. Type: {other.verb} show {name}")
    raise no_such(what, name, [one.name for one in mine])


def no_such(what: str, name: str, names: Iterable[str]) -> NotFoundError:
    """Return what to raise where an app has nothing of a name; it says which there are."""
    listed = ", ".join(names)
    rest = f"There are: {listed}." if listed else "The app has none."
    return NotFoundError(f"There is no {what} {name}. {rest}")


def namesakes(duties: Iterable[tuple[str, ProjectionTables]], definitions: Iterable[Definition]) -> list[str]:
    """Say which have a name that another has: each would take the other's rows for its own."""
    problems: list[str] = []
    taken = {table.name: one.where for one in definitions for table in one.tables.tables}
    projections, seen = {one.name: one.where for one in definitions}, set[str]()
    for name, kept in duties:
        tables = [table.name for table in kept.tables]
        if name in projections:
            problems.append(f"{name}: a projection has this name, too ({projections[name]}); give one another name")
        elif not seen.isdisjoint(tables):
            problems.append(f"{name}: two sagas or reactions have this name; give one another name=")
        problems += [
            f"{name}: a read model has its table {table}, too ({taken[table]}); give one another name"
            for table in tables
            if table in taken
        ]
        seen.update(tables)
    return problems


def _readers(modules: Sequence[Module]) -> Iterator[Callable[[], KnownDuty]]:
    for saga in dict.fromkeys(saga for module in modules for saga in module.sagas):
        yield partial(_saga, saga)
    for module in modules:
        for declared in module.reactions:
            yield partial(_reaction, declared)
        for published in module.published:
            yield partial(_publication, published)
        for inbox in module.inboxes:
            yield partial(_inbox, inbox)


def _saga(saga: type[Saga]) -> KnownDuty:
    plan = plan_of(saga)
    tasks, sagas = tasks_table(plan.name), saga_table(plan.name)
    starts = [event.event_name for event, way in plan.events.items() if way.starts]
    rest = [event.event_name for event, way in plan.events.items() if not way.starts]
    parts = [f"begins with {_listed(starts)}"]
    parts += [f"takes {_listed(rest)}"] if rest else []
    parts += [f"timeouts {_listed(plan.timeouts)}"] if plan.timeouts else []
    parts += [f"rejections of {_listed(command.__name__ for command in plan.rejections)}"] if plan.rejections else []
    steps = steps_of(saga)
    parts += [f"steps {_listed(steps)}"] if steps else []
    kept = kept_by(plan.name, sagas, tasks)
    return KnownDuty(
        "saga", plan.name, kept, tasks, sagas, tuple(plan.events), _keys(plan), "; ".join(parts), where(saga)
    )


def _reaction(declared: Declared) -> KnownDuty:
    reaction = read_reaction(declared)
    detail = f"{_names(reaction.events)} (from the {declared.begins}, {declared.attempts} attempts)"
    return _plain("reaction", declared.name, reaction.events, detail, where(declared.function))._replace(
        key_of=reaction.order
    )


def _publication(published: Published) -> KnownDuty:
    publication = published.publication
    events = tuple(publication.read())
    told = sorted({kind.message_type() for mapped in publication.read().values() for kind in mapped.makes})
    detail = f"{_names(events)} -> {_listed(told)} ({type(published.publisher).__name__})"
    first = next(iter(publication.read().values()))
    return _plain("publication", publication.name, events, detail, where(first.function))


def _inbox(inbox: Inbox) -> KnownDuty:
    accepted = inbox.read()
    detail = f"{_listed(sorted(accepted))} ({type(inbox.source).__name__})"
    return _plain("inbox", inbox.name, (), detail, where(next(iter(accepted.values())).function), lanes=1)


def _plain(
    kind: DutyKind, name: str, events: tuple[type[DomainEvent], ...], detail: str, place: str, *, lanes: int = LANES
) -> KnownDuty:
    tasks = tasks_table(name)
    kept = kept_by(name, tasks, lanes=lanes)
    return KnownDuty(kind, name, kept, tasks, None, events, _by_stream, detail, place)


def _by_stream(recorded: RecordedEvent) -> str:
    return str(recorded.row.stream.id)


def _keys(plan: Plan) -> Callable[[RecordedEvent], str | None]:
    def key_of(recorded: RecordedEvent) -> str | None:
        way = plan.events[type(recorded.event)]
        return None if way.key_of is None else way.key_of(recorded)

    return key_of


def _names(events: Sequence[type[DomainEvent]]) -> str:
    return _listed(event.event_name for event in events)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
