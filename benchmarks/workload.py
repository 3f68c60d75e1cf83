"""What a workload is: sides that do the same work, figures they give, and the goal for each figure."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, Literal, Self, get_args

from benchmarks.place import STORES, Place, StoreName

Figures = Mapping[str, float]
Measure = Callable[[], Awaitable[Figures]]

Size = Literal["tiny", "quick", "normal", "full"]
SIZES: Final[tuple[Size, ...]] = get_args(Size)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much work a run does. `tiny` only shows that the scripts work; its figures mean nothing."""

    name: Size

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the scale of this name."""
        return cls(next(size for size in SIZES if size == name))

    def of(self, tiny: int, quick: int, normal: int, full: int | None = None) -> int:
        """Pick the amount for this scale; `full` is `normal` where it is not given."""
        return dict(zip(SIZES, (tiny, quick, normal, full or normal), strict=True))[self.name]

    @property
    def rounds(self) -> int:
        """How many times A B A B."""
        return self.of(1, 3, 7, 9)


Side = Callable[[Place, Scale], AbstractAsyncContextManager[Measure]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach: as a `ratio` to the twin's, or as an `absolute` value; no `limit`: for information.

    The limit may differ by store; `on` one of them, it is a number.
    """

    figure: str
    unit: str
    limit: float | Mapping[StoreName, float] | None = None
    kind: Literal["ratio", "absolute"] = "ratio"
    better: Literal["lower", "higher"] = "lower"

    def on(self, store: StoreName) -> "Goal":
        """The goal on this store."""
        return replace(self, limit=self.limit[store]) if isinstance(self.limit, Mapping) else self

    def attained(self, value: float) -> float:
        """How much of the goal this value is: 1 or more is reached, 0.5 is twice as slow as it should be."""
        if self.limit is None:
            return 1.0
        assert not isinstance(self.limit, Mapping), "which store?"
        if self.better == "higher":
            return value / self.limit
        return self.limit / value if value > 0 else 1.0

    def __str__(self) -> str:
        if self.limit is None:
            return ""
        sign = "<=" if self.better == "lower" else ">="
        return f"{sign} {self.limit:g} x" if self.kind == "ratio" else f"{sign} {self.limit:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of `performance.md`: Diptych, and its twin in the same run, named by `versus`."""

    key: str
    title: str
    goals: tuple[Goal, ...]
    diptych: Side
    twin: Side
    versus: str = "raw"
    stores: tuple[StoreName, ...] = STORES

    def on(self, store: StoreName) -> "Workload":
        """The workload with its goals on this store."""
        return replace(self, goals=tuple(goal.on(store) for goal in self.goals))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure of one workload after all rounds: medians of both sides and of the pairwise ratios."""

    workload: Workload
    goal: Goal
    diptych: tuple[float, ...]
    twin: tuple[float, ...]
    peers: Mapping[str, tuple[float, ...]]

    @property
    def ratio(self) -> float:
        """The median of the pairwise ratios, Diptych to its twin; nan where the twin has no such figure."""
        pairs = [a / b for a, b in zip(self.diptych, self.twin, strict=False) if b]
        return median(pairs) if pairs else float("nan")

    @property
    def attained(self) -> float:
        """How much of its goal this figure reached; 1 or more is all of it."""
        return self.goal.attained(self.ratio if self.goal.kind == "ratio" else median(self.diptych))

    @property
    def verdict(self) -> str:
        """`ok`, `MISS`, or nothing for a figure without a goal."""
        if self.goal.limit is None:
            return ""
        return "ok" if self.attained >= 1 else "MISS"


def percentile(samples: list[float], share: float) -> float:
    """Return the sample below which this share of them lies."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
