"""The bus of python-cqrs, without the logging middleware that its own set-up adds."""

import di
from cqrs import DIContainer, Event, Request, RequestHandler, RequestMap, RequestMediator, Response

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

    requests, container = RequestMap(), DIContainer()
    requests.bind(Ask, AskHandler)
    container.attach_external_container(di.Container())
    mediator = RequestMediator(request_map=requests, container=container)
    ask = Ask()

    async def send(_: object) -> object:
        return await mediator.send(ask)

    async def run() -> Figures:
        return {"overhead": await overhead(send, shop.answer, scale.of(100, 3000, 10_000))}

    return run
