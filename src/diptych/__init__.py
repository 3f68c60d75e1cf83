"""Diptych: commands change one side, queries read the other, events are the hinge.

The names below are the library; FastAPI is in `diptych.web`, the test kit in `diptych.testing`. A name is imported when
it is first asked for, so that whoever needs little (`diptych --help`, the pytest plugin) loads little.
"""

from importlib import import_module as _import_module

_HOMES = {
    "Aggregate": "diptych.write.aggregate",
    "AggregateNotFoundError": "diptych.errors",
    "Answer": "diptych.read.bus",
    "App": "diptych.app.application",
    "Clock": "diptych.clock",
    "Command": "diptych.messages",
    "CommandBus": "diptych.write.bus",
    "CommandHandler": "diptych.write.bus",
    "ConfigurationError": "diptych.errors",
    "ConflictError": "diptych.errors",
    "Db": "diptych.store.batches",
    "DiptychError": "diptych.errors",
    "DomainError": "diptych.errors",
    "DomainEvent": "diptych.messages",
    "FixedClock": "diptych.clock",
    "IdempotencyKey": "diptych.messages",
    "Index": "diptych.read.models",
    "Key": "diptych.read.models",
    "Metadata": "diptych.messages",
    "Module": "diptych.app.module",
    "NotFoundError": "diptych.errors",
    "Page": "diptych.read.pages",
    "Projection": "diptych.projections.projection",
    "Query": "diptych.messages",
    "QueryBus": "diptych.read.bus",
    "QueryHandler": "diptych.read.bus",
    "ReadModel": "diptych.read.models",
    "ReadModels": "diptych.read.read_models",
    "Receipt": "diptych.messages",
    "Rejected": "diptych.sagas.saga",
    "Repository": "diptych.write.repository",
    "Saga": "diptych.sagas.saga",
    "StaleReadError": "diptych.errors",
    "Steps": "diptych.sagas.steps",
    "Timeout": "diptych.sagas.saga",
    "UnknownOutcomeError": "diptych.errors",
    "WrongExpectedVersionError": "diptych.errors",
    "given": "diptych.read.read_models",
    "id_for": "diptych.clock",
    "new_id": "diptych.clock",
    "on": "diptych.handlers",
    "step": "diptych.sagas.steps",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import what was asked for, and have it here from now on."""
    found: object
    if name == "__version__":
        found = _import_module("importlib.metadata").version(__name__)
    elif name in _HOMES:
        found = getattr(_import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
