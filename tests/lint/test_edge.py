"""What routes and upcasters do, in the ways that people write them, and what looks wrong and is right."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids, indented


def route(body: str, verb: str = "post", before: str = "", more: str = "") -> str:
    head = f"@api.{verb}('/orders')\nasync def orders_of(command: Place, commands: Commands{more}) -> None:\n"
    return f"{before}\n\n{head}{indented(body, 4)}"


@pytest.mark.parametrize(
    "code",
    [
        route("await app.events.head()"),
        route("await store.append([])", before="store = app.events"),
        route("(await orders.get(command.id)).place(1)", before="orders = Repository(Order)"),
        route("await save(command)", before="async def save(command):\n    await app.events.append([])"),
    ],
)
def test_a_route_that_goes_to_the_store_is_found(code: str) -> None:
    assert ids(code) == ["DP108"]


@pytest.mark.parametrize(
    "code",
    [
        route("await commands.dispatch(command)"),
        route("await app.commands.dispatch(command)"),
        route("await app.caught_up()"),
        route("events = {}\nevents.get('head')"),
    ],
)
def test_a_route_that_asks_the_bus_is_none(code: str) -> None:
    assert ids(code) == []


@pytest.mark.parametrize("verb", ["get", "head", "options"])
@pytest.mark.parametrize("body", ["await commands.dispatch(command)", "await send(commands, command)"])
def test_a_get_that_dispatches_is_found(body: str, verb: str) -> None:
    before = "async def send(bus: CommandBus, command: Place):\n    await bus.dispatch(command)"
    assert ids(route(body, verb, before)) == ["DP803"]


def test_a_get_that_dispatches_through_a_bus_of_another_module_is_found() -> None:
    caller = (
        "from typing import Annotated\nfrom fastapi import Depends\nfrom diptych import CommandBus\n"
        "from diptych.web import commands_as\n\nMine = Annotated[CommandBus, Depends(commands_as(None))]\n"
    )
    code = "from caller import Mine\n\n\n@api.get('/x')\nasync def x(command: Place, bus: Mine) -> None:\n"
    assert ids(code + "    await bus.dispatch(command)\n", caller=caller) == ["DP803"]


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
def test_other_verbs_may_dispatch(verb: str) -> None:
    assert ids(route("await commands.dispatch(command)", verb)) == []


@pytest.mark.parametrize(("verb", "rules"), [("get", ["DP803"]), ("post", [])])
def test_a_command_that_is_a_route_itself_is_judged_too(verb: str, rules: list[str]) -> None:
    assert ids(f"@api.{verb}('/orders/{{id}}/ship')\nclass Ship(Command):\n    id: UUID\n") == rules


def test_a_query_that_is_a_route_itself_may_be_got() -> None:
    assert ids("@api.get('/orders/{id}')\nclass FindOrder(Query[int]):\n    id: UUID\n") == []


def test_a_get_that_asks_is_none() -> None:
    code = "@api.get('/orders/{id}')\nasync def one(id: UUID, queries: Queries) -> int:\n"
    assert ids(code + "    return await queries.dispatch(GetOrder(id=id))\n") == []


def dependency(body: str, given: str = "Depends(session)") -> str:
    return f"async def session(db: Db = None):\n{indented(body, 4)}\n\nSession = Annotated[object, {given}]\n"


@pytest.mark.parametrize(
    "body",
    [
        "yield db\nawait db.commit()",
        "try:\n    yield db\nfinally:\n    await db.commit()",
        "async with db.begin():\n    yield db",
        "yield db\nawait app.commands.dispatch(Place(id=new_id(), cents=1))",
    ],
)
def test_a_commit_after_the_answer_is_found_and_mended(body: str) -> None:
    code = dependency(body)
    findings = found(code)
    assert [one.rule for one in findings] == ["DP801"]
    text, _ = fixed(SERVICE + code, findings)
    assert 'Depends(session, scope="function")' in text


@pytest.mark.parametrize(
    "code",
    [
        dependency("yield db\nawait db.close()"),
        dependency("await db.commit()\nyield db"),
        dependency("yield db\nawait db.commit()", "Depends(session, scope='function')"),
        dependency("yield db\nawait db.commit()", "other(session)") + "\ndef other(it): ...\n",
    ],
)
def test_a_dependency_that_ends_quietly_is_none(code: str) -> None:
    assert ids(code) == []


@pytest.mark.parametrize("body", ["payload['at'] = time.time()", "payload['id'] = str(new_id())", "read()"])
def test_an_upcaster_that_looks_outside_is_found(body: str) -> None:
    code = "def read():\n    return open('x')\n\n\n@app.upcast('placed', 1)\ndef up(payload: dict) -> dict:\n"
    assert ids(code + indented(f"{body}\nreturn payload", 4)) == ["DP415"]


def test_an_upcaster_of_its_payload_is_none() -> None:
    assert ids("@app.upcast('placed', 1)\ndef up(payload: dict) -> dict:\n    return {**payload, 'at': 0}\n") == []
