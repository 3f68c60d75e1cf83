"""What a command does between load and commit, in the ways that people write it, and what is allowed."""

import pytest

from diptych.lint.rules.table import BY_ID
from diptych.lint.running import parse, run
from tests.lint.sources import SERVICE, found, indented
from tests.lint.sources import ids as all_ids

HEAD = """\
@app.command_handler
async def place(
    command: Place, orders: Repository[Order], customers: Repository[Customer], web: httpx.AsyncClient
) -> None:
"""


def handling(body: str, before: str = "") -> str:
    return f"{before}\n\n{HEAD}{indented(body, 4)}"


def ids(body: str, before: str = "") -> list[str]:
    return all_ids(handling(body, before))


@pytest.mark.parametrize(
    "body",
    [
        "order = await orders.get(command.id)\nawait web.post('x')",
        "order = await orders.get(command.id)\nasync with httpx.AsyncClient() as client:\n    await client.post('x')",
        "(await orders.get_or_new(command.id)).place(1)\nawait pay()",
        "order = await orders.get_or_none(command.id)\nanswers = [await web.get(url) for url in ('a', 'b')]",
    ],
)
def test_a_call_after_the_load_is_found(body: str) -> None:
    assert ids(body, "async def pay():\n    async with httpx.AsyncClient() as it:\n        await it.post('x')") == [
        "DP505"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "answer = await web.post('x')\norder = await orders.get(command.id)",
        "await web.post('x')",
        "order = await orders.get(command.id)\nweb = {}\nweb.get('x')",
        "order = await orders.get(command.id)\nnames = {}.get('x')",
    ],
)
def test_a_call_before_the_load_or_without_is_none(body: str) -> None:
    assert ids(body) == []


def test_the_load_is_shown_too() -> None:
    (one,) = found(handling("order = await orders.get(command.id)\nawait web.post('x')"))
    assert [note.text for note in one.notes] == ["loaded here"]


def is_of_two(body: str) -> bool:
    """Whether DP107 is found, which is off unless selected."""
    return bool(run(parse({"shop.py": SERVICE + handling(body)})[0], [BY_ID["DP107"]]))


@pytest.mark.parametrize(
    "body",
    [
        "(await orders.get(command.id)).place(1)\n(await customers.get(command.id)).note(1)",
        "one = await orders.get(command.id)\nother = await orders.get(new_id())\none.place(1)\nother.place(2)",
        "one = await orders.get(command.id)\none.record(Placed(cents=1))\n(await customers.get(command.id)).note(1)",
    ],
)
def test_two_changed_aggregates_are_found(body: str) -> None:
    assert is_of_two(body)


@pytest.mark.parametrize(
    "body",
    [
        "order = await orders.get(command.id)\norder.place(1)\norder.place(2)",
        "(await orders.get(command.id)).place(1)\n(await orders.get(command.id)).place(2)",
        "customer = await customers.get(command.id)\n(await orders.get(command.id)).place(customer.version)",
    ],
)
def test_one_changed_aggregate_is_none(body: str) -> None:
    assert not is_of_two(body)
