"""What the projections of one process have in common, and how it treats them.

Rule: plain data.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from diptych.projections.alone import Alone
from diptych.projections.choosing import OnChange
from diptych.store.protocols import EventStore, ViewStore
from diptych.subscriptions.reading import LogReader, Pace
from diptych.telemetry.observer import QUIET, Observer


class Rules(NamedTuple):
    """How a process treats projections.

    `is_worker`: it works on the asynchronous ones. `exits_when_hung`: a handler that hangs ends the process, as soon as
    it is known on which event, so that whoever watches over the process starts a clean one.
    """

    pace: Pace = Pace()
    on_change: OnChange = "rebuild"
    is_development: bool = False
    is_worker: bool = True
    exits_when_hung: bool = False


class Site(NamedTuple):
    """Where projections are kept and worked on. `worker` is empty where lanes are not leased.

    `start` runs something beside for as long as the engine runs; `look` has the board looked at soon; `has_hung` hears
    of events that hang, and whether they are put aside.
    """

    events: EventStore
    views: ViewStore
    reader: LogReader
    worker: str
    rules: Rules
    alone: Alone
    start: Callable[[Callable[[], Coroutine[Any, Any, None]], str], asyncio.Task[None]]
    look: Callable[[], None]
    has_hung: Callable[[bool], None]
    observer: Observer = QUIET
