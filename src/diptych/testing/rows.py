"""The rows that projections make of a story, and how they differ from what was expected.

Rule: rows come from `delivering.py` alone, which checks them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from diptych.errors import ProgrammingError
from diptych.events.codec import Codec
from diptych.handlers import where
from diptych.projections.projection import Projection
from diptych.read.models import ReadModel, table_of
from diptych.subscriptions.failures import EventFailure
from diptych.testing.delivering import Kind, Log, defined, deliver
from diptych.testing.differences import data, fields, named
from diptych.testing.playing import Stage
from diptych.testing.story import Story
from diptych.testing.values import short

__tracebackhide__ = True  # pytest shows the line of the test, not ours

_MOST = 5  # rows that are shown when the one that is looked for is not there


class Tables:
    """The rows of some projections, by table; of one that failed, why."""

    def __init__(self, kinds: Iterable[Kind], log: Log) -> None:
        self._rows: dict[str, Mapping[Any, Any]] = {}
        self._failed: dict[str, str] = {}
        for kind in kinds:
            try:
                self._rows.update(deliver(kind, log))
            except EventFailure as failure:
                told = (
                    f"{where(kind)}: event {failure.position} of the story cannot be taken: {failure.cause}\n\n"
                    "Hint:   A projection needs what came before, too: give it, other streams' events first."
                )
                self._failed.update({table.name: told for table in defined(kind).tables.tables})

    def row_as_told(self, model: type[ReadModel], key: Any, wanted: Mapping[str, Any]) -> str:
        """Return how the row with this key differs from these fields, empty if it does not."""
        unknown = [name for name in wanted if name not in model.model_fields]
        if unknown:
            raise ProgrammingError(
                f"{model.__name__} has no field {unknown[0]}. It has {', '.join(model.model_fields)}."
            )
        if told := self._failed.get(table_of(model).name):
            return told
        row = self._rows_of(model).get(_key(key))
        if row is None:
            return f"There is no {model.__name__} with key {short(key)}.{self._others(model)}"
        found = data(row)
        lines = fields(wanted, found)
        if not lines:
            return ""
        rest = named({name: value for name, value in found.items() if name not in wanted})
        text = [f"{model.__name__} {short(key)} has other values (- expected, + in the row):", "", *lines]
        return "\n".join([*text, "", "The rest of the row:", *rest] if rest else text)

    def no_row_as_told(self, model: type[ReadModel], key: Any) -> str:
        """Return what is wrong if there is a row with this key, empty if there is none."""
        if told := self._failed.get(table_of(model).name):
            return told
        row = self._rows_of(model).get(_key(key))
        return "" if row is None else "\n".join([f"There is a {model.__name__} {short(key)}:", *named(data(row))])

    def _rows_of(self, model: type[ReadModel]) -> Mapping[Any, Any]:
        rows = self._rows.get(table_of(model).name)
        if rows is None:
            raise ProgrammingError(f"No projection here keeps {model.__name__}. Have the app project one that does.")
        return rows

    def _others(self, model: type[ReadModel]) -> str:
        rows = list(self._rows_of(model).values())
        if not rows:
            return " There is no row at all: does a method of the projection take these events?"
        shown = "\n".join(f"    {short(row)}" for row in rows[:_MOST])
        return f" Of {len(rows)} there are:\n{shown}"


def of_app(stage: Stage, story: Story) -> Tables:
    """Return the rows of all projections of an app."""
    if stage.codec is None:
        stage.play(story, None)
    assert stage.codec is not None
    kinds = dict.fromkeys(kind for module in stage.app.everything() for kind in module.projected)
    return Tables(kinds, Log(stage.codec, story.rows(stage.codec)))


def of_projection(kind: type[Projection[Any]], story: Story) -> Tables:
    """Return the rows of one projection."""
    codec = Codec()
    for event in defined(kind).events:
        codec.register(event)
    return Tables([kind], Log(codec, story.rows(codec)))


def _key(key: Any) -> tuple[Any, ...]:
    return key if type(key) is tuple else (key,)
