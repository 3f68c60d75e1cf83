"""What a reaction does without its key, in the ways that people write it, and what looks like it and is allowed."""

import pytest

from tests.lint.sources import ids, indented


def reaction(body: str, more: str = "", before: str = "", mark: str = "@app.reaction") -> str:
    return (
        f"from diptych import IdempotencyKey\n{before}\n\n{mark}\n"
        f"async def told(event: Placed, meta: Metadata{more}) -> None:\n{indented(body, 4)}"
    )


@pytest.mark.parametrize(
    "code",
    [
        reaction("await httpx.AsyncClient().post('x')"),
        reaction("await mail.post('x')", ", mail: httpx.AsyncClient"),
        reaction("await mail.post('x')", ", mail: httpx.AsyncClient", mark='@app.reaction(key="cents")'),
        reaction("await tell()", before="async def tell():\n    await httpx.AsyncClient().post('x')\n"),
        reaction(
            "await mailer.send()",
            ", mailer: Mailer",
            "class Mailer:\n    async def send(self):\n        await httpx.AsyncClient().post('x')\n",
        ),
        reaction("await commands.dispatch(Place(id=meta.stream.id, cents=1))", ", commands: CommandBus"),
        reaction("await app.commands.dispatch(Place(id=meta.stream.id, cents=1))", ", key: IdempotencyKey"),
    ],
)
def test_what_happens_twice_without_a_key_is_found(code: str) -> None:
    assert ids(code) == ["DP507"]


@pytest.mark.parametrize(
    "code",
    [
        reaction("await mail.post('x', headers={'key': key})", ", key: IdempotencyKey, mail: httpx.AsyncClient"),
        reaction("await mail.post('x', headers={'key': key})", ", *, key: IdempotencyKey, mail: httpx.AsyncClient"),
        reaction(
            "await commands.dispatch(Place(id=meta.stream.id, cents=1), command_id=key.id)",
            ", commands: CommandBus, key: IdempotencyKey",
        ),
        reaction("await commands.dispatch(Place(id=meta.stream.id, cents=1), **how(event))", ", commands: CommandBus"),
        reaction("log = event.cents"),
        "async def told(event: Placed) -> None:\n    await httpx.AsyncClient().post('x')\n",
    ],
)
def test_what_has_its_key_or_does_nothing_outside_is_not_found(code: str) -> None:
    assert ids(code) == []
