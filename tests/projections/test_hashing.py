"""The hash of a projection's code changes with what its methods do, and with nothing else."""

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

from diptych import DomainEvent, Key, Projection, ReadModel, on
from diptych.projections.hashing import hash_of


class Hashed(DomainEvent):
    word: str


class HashedRow(ReadModel):
    word: Annotated[str, Key]
    count: int


def projection(body: Callable[[Any, HashedRow | None, Hashed], HashedRow]) -> type[Projection[HashedRow]]:
    class Counts(Projection[HashedRow]):
        counted = on(key="word")(body)

    return Counts


def one(self: Any, row: HashedRow | None, event: Hashed) -> HashedRow:
    """Count."""
    known = {"a", "b", "c"}
    return HashedRow(word=event.word, count=(row.count if row else 0) + (event.word in known))


def same(self: Any, row: HashedRow | None, event: Hashed) -> HashedRow:
    """Count, said in other words and on other lines."""

    known = {"a", "b", "c"}

    return HashedRow(word=event.word, count=(row.count if row else 0) + (event.word in known))


def other(self: Any, row: HashedRow | None, event: Hashed) -> HashedRow:
    """Count."""
    known = {"a", "b", "d"}
    return HashedRow(word=event.word, count=(row.count if row else 0) + (event.word in known))


def test_lines_and_docstrings_are_not_part_of_it() -> None:
    assert hash_of(projection(one)) == hash_of(projection(same))


def test_constants_are_part_of_it() -> None:
    assert hash_of(projection(one)) != hash_of(projection(other))


def test_what_a_method_calls_in_its_class_is_part_of_it() -> None:
    class First(Projection[HashedRow]):
        def helper(self) -> int:
            return 1

        @property
        def step(self) -> int:
            return self.helper()

    class Second(First):
        def helper(self) -> int:
            return 2

    assert hash_of(First) != hash_of(Second)


def test_it_says_which_python_it_is_of() -> None:
    assert hash_of(projection(one)).startswith(f"{sys.version_info.major}.{sys.version_info.minor}:")


def test_it_is_the_same_in_every_process() -> None:
    """Sets are in another order in each."""
    script = (
        "from tests.projections.test_hashing import hash_of, one, projection; print(hash_of(projection(one)), end='')"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**_environment(), **seed}
        ).stdout
        for seed in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert found == {hash_of(projection(one))}


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}
