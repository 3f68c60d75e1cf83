"""A small order service for tests of rules, and what is found in it once a piece of code is added."""

from diptych.lint.findings import Finding
from diptych.lint.rules.table import ON
from diptych.lint.running import parse, run

SERVICE = """\
import asyncio
import contextlib
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import httpx
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, Field

from diptych import (
    Aggregate, App, Clock, Command, CommandBus, Db, DomainEvent, Key, Metadata, Projection, Query, QueryBus, ReadModel,
    ReadModels, Repository, id_for, new_id, on
)
from diptych.web import Commands, Queries

app, api = App("sqlite:///shop.db"), APIRouter()


class Placed(DomainEvent):
    cents: int


class Place(Command):
    id: UUID
    cents: int


class GetOrder(Query[int]):
    id: UUID


class Order(Aggregate):
    cents: int = 0

    def place(self, cents: int) -> None:
        self.record(Placed(cents=cents))


class Customer(Aggregate):
    def note(self, cents: int) -> None:
        self.record(Placed(cents=cents))


class Summary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


"""


def found(code: str, **others: str) -> list[Finding]:
    """What is found in the service with this code at its end, and in other modules."""
    project, faults = parse({"shop.py": SERVICE + code, **{f"{name}.py": text for name, text in others.items()}})
    assert faults == []
    return run(project, ON)


def ids(code: str, **others: str) -> list[str]:
    """The rules broken there."""
    return [finding.rule for finding in found(code, **others)]


def indented(code: str, by: int = 8) -> str:
    """The code, further in."""
    return "".join(f"{' ' * by}{line}\n" for line in code.splitlines())
