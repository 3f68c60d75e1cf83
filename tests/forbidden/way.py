"""One way of doing something forbidden, as data: what a user writes, and what becomes of it."""

from enum import Enum
from typing import NamedTuple

HEADER = '''\
"""A module of the shop."""

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated
from uuid import UUID

import asyncpg

from diptych import DomainEvent, Key, Metadata, Module, Projection, ReadModel, ReadModels, Repository, on
from diptych.store.batches import Db
from tests.forbidden.shop import Arrived, Correct, CountAll, Shelf, StockRow, Tally

way = Module("way")

'''
BOTH = ("sqlite", "postgres")


class Thing(Enum):
    """What is forbidden."""

    READS_THE_LOG = "A query handler reads the write model"
    WRITES_ROWS = "Somebody else than its projection writes a read model"
    COUNTS_TWICE = "A projection's SQL is not idempotent, or escapes its transaction"


class Way(NamedTuple):
    """`said` is in the error, with the rule where the error names one. Without `said` run time does not refuse it.

    `starts`: the way is refused at the start of the app, before any message. `note` is for people.
    """

    thing: Thing
    name: str
    source: str
    said: str | None
    rule: str | None = None
    stores: tuple[str, ...] = BOTH
    starts: bool = False
    note: str = ""

    @property
    def module(self) -> str:
        """The whole module that a user would write."""
        return HEADER + self.source

    @property
    def id(self) -> str:
        """A name for the test of it."""
        return f"{self.thing.name.lower()}: {self.name} ({'|'.join(self.stores)})"

    @property
    def told(self) -> str:
        """What the table in the docs says of it."""
        if self.said is None:
            return f"no: {self.note}"
        refused = "refused at the start" if self.starts else "refused"
        named = f"{refused}, {self.rule}" if self.rule else refused
        return f"{named}; {self.note}" if self.note else named
