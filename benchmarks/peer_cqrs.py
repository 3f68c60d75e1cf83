"""The bus of python-cqrs, as its README sets it up."""

from typing import Any

import di
from cqrs import Event, Request, RequestHandler, Response
from cqrs.bootstrap import requests

from benchmarks import shop
from benchmarks.w07_bus import overhead
from benchmarks.workload import Figures, Measure, Scale


class Ask(Request):
    """A question."""


class Told(Response):
    """Its answer."""


class AskHandler(RequestHandler[Ask, Told]):
    """Answers it."""

    @property
    def events(self) -> list[Event]:
        """None."""
        return []

    async def handle(self, request: Ask) -> Told:
        """Do nothing."""
        return Told()


def measure(scale: Scale) -> Measure:
    """Return what measures one `send` over a direct await."""

    def bind(mapper: Any) -> None:
        mapper.bind(Ask, AskHandler)

    mediator = requests.bootstrap(di_container=di.Container(), queries_mapper=bind)
    ask = Ask()

    async def send(_: object) -> object:
        return await mediator.send(ask)

    async def run() -> Figures:
        return {"overhead": await overhead(send, shop.answer, scale.of(100, 3000, 10_000))}

    return run
