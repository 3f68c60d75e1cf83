"""The front door as type checkers and editors see it: the same names as in `__init__.py`, which opens it."""

from diptych.app.application import App
from diptych.app.module import Module
from diptych.clock import Clock, FixedClock, id_for, new_id
from diptych.errors import (
    AggregateNotFoundError,
    ConfigurationError,
    ConflictError,
    DiptychError,
    DomainError,
    NotFoundError,
    StaleReadError,
    UnknownOutcomeError,
    WrongExpectedVersionError,
)
from diptych.handlers import on
from diptych.messages import Command, DomainEvent, IdempotencyKey, Metadata, Query, Receipt
from diptych.projections.projection import Projection
from diptych.read.bus import Answer, QueryBus, QueryHandler
from diptych.read.models import Index, Key, ReadModel
from diptych.read.pages import Page
from diptych.read.read_models import ReadModels, given
from diptych.sagas.saga import Rejected, Saga, Timeout
from diptych.sagas.steps import Steps, step
from diptych.store.batches import Db
from diptych.write.aggregate import Aggregate
from diptych.write.bus import CommandBus, CommandHandler
from diptych.write.repository import Repository

__version__: str

__all__ = [
    "Aggregate",
    "AggregateNotFoundError",
    "Answer",
    "App",
    "Clock",
    "Command",
    "CommandBus",
    "CommandHandler",
    "ConfigurationError",
    "ConflictError",
    "Db",
    "DiptychError",
    "DomainError",
    "DomainEvent",
    "FixedClock",
    "IdempotencyKey",
    "Index",
    "Key",
    "Metadata",
    "Module",
    "NotFoundError",
    "Page",
    "Projection",
    "Query",
    "QueryBus",
    "QueryHandler",
    "ReadModel",
    "ReadModels",
    "Receipt",
    "Rejected",
    "Repository",
    "Saga",
    "StaleReadError",
    "Steps",
    "Timeout",
    "UnknownOutcomeError",
    "WrongExpectedVersionError",
    "given",
    "id_for",
    "new_id",
    "on",
    "step",
]
