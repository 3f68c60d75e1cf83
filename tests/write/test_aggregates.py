"""What an aggregate does on its own: record, fold, and refuse to be changed otherwise."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych.clock import new_id
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.handlers import on
from diptych.messages import DomainEvent
from diptych.write import guard
from diptych.write.aggregate import Aggregate, appliers, pending, replay


class BasketOpened(DomainEvent):
    owner: str


class ThingAdded(DomainEvent):
    thing: str


class Noted(DomainEvent):
    text: str


class Basket(Aggregate):
    owner: str = ""
    things: list[str] = []

    def open(self, owner: str) -> None:
        self.record(BasketOpened(owner=owner))

    def add(self, thing: str) -> None:
        self.record(ThingAdded(thing=thing))

    @on
    def _opened(self, event: BasketOpened) -> None:
        self.owner = event.owner

    @on
    def _added(self, event: ThingAdded) -> None:
        self.things.append(event.thing)


@pytest.fixture
def guarded() -> Iterator[None]:
    guard.install(lambda: False, lambda aggregate: None)
    yield
    guard.uninstall()


def test_recording_changes_state_at_once_and_keeps_the_event() -> None:
    basket = Basket(new_id())
    basket.open("ada")
    basket.add("tea")
    assert (basket.owner, basket.things) == ("ada", ["tea"])
    assert pending(basket) == [BasketOpened(owner="ada"), ThingAdded(thing="tea")]
    assert basket.version == 0


def test_replay_gives_the_same_state_and_the_version() -> None:
    basket = Basket(new_id())
    replay(basket, [BasketOpened(owner="ada"), ThingAdded(thing="tea"), Noted(text="no @on for it")])
    assert (basket.owner, basket.things, basket.version) == ("ada", ["tea"], 3)
    assert pending(basket) == []


def test_mutable_defaults_are_not_shared() -> None:
    first, second = Basket(new_id()), Basket(new_id())
    first.add("tea")
    assert second.things == []
    assert Basket.things == []


def test_an_event_without_an_on_method_is_recorded() -> None:
    basket = Basket(new_id())
    basket.record(Noted(text="x"))
    assert pending(basket) == [Noted(text="x")]


@pytest.mark.parametrize("name", ["id", "version", "record"])
def test_reserved_names_are_refused_at_class_creation(name: str) -> None:
    with pytest.raises(TypeError, match=f"Wrong.{name}: this name is reserved"):
        type("Wrong", (Aggregate,), {"__annotations__": {name: int}})


def test_an_own_init_is_refused() -> None:
    with pytest.raises(TypeError, match="write a classmethod"):
        type("Wrong", (Aggregate,), {"__init__": lambda self: None})


def test_two_on_methods_for_one_event_are_a_fault() -> None:
    class Twice(Aggregate):
        @on
        def _one(self, event: Noted) -> None: ...

        @on
        def _two(self, event: Noted) -> None: ...

    with pytest.raises(ConfigurationError, match="Noted has an @on method already"):
        appliers(Twice)


def test_one_on_method_may_take_several_kinds_of_event() -> None:
    class Diary(Aggregate):
        last: str = ""

        @on
        def _written(self, event: Noted | ThingAdded) -> None:
            self.last = event.text if isinstance(event, Noted) else event.thing

    diary = Diary(new_id())
    replay(diary, [Noted(text="rain"), ThingAdded(thing="tea")])
    assert diary.last == "tea"


@pytest.mark.parametrize("second", [Noted, Noted | ThingAdded])
def test_two_on_methods_for_one_of_several_events_are_a_fault(second: Any) -> None:
    class Twice(Aggregate):
        @on
        def _one(self, event: Noted | BasketOpened) -> None: ...

        @on
        def _two(self, event: second) -> None: ...

    with pytest.raises(ConfigurationError, match="_two: Noted has an @on method already"):
        appliers(Twice)


@pytest.mark.parametrize("taken", [Noted | None, Noted | int, DomainEvent])
def test_an_on_method_for_anything_but_events_is_a_fault(taken: Any) -> None:
    class Wrong(Aggregate):
        @on
        def _one(self, event: taken) -> None: ...

    with pytest.raises(ConfigurationError, match="write def _one"):
        appliers(Wrong)


def test_an_on_method_without_an_event_is_a_fault() -> None:
    class Wrong(Aggregate):
        @on
        def _one(self, event: Annotated[int, "no event"]) -> None: ...

    with pytest.raises(ConfigurationError, match="write def _one"):
        appliers(Wrong)


def test_an_override_replaces_the_on_method_of_its_parent() -> None:
    class Loud(Basket):
        @on
        def _opened(self, event: BasketOpened) -> None:
            self.owner = event.owner.upper()

    basket = Loud(new_id())
    basket.open("ada")
    assert basket.owner == "ADA"


@pytest.mark.usefixtures("guarded")
def test_setting_state_outside_on_raises_in_development() -> None:
    basket = Basket(new_id())
    with pytest.raises(ProgrammingError, match=r"Basket.owner is set outside @on"):
        basket.owner = "eve"
    basket.open("ada")
    assert basket.owner == "ada"


@pytest.mark.usefixtures("guarded")
def test_state_changed_in_place_is_found_at_commit() -> None:
    basket = Basket(new_id())
    before = guard.snapshot(basket)
    basket.add("tea")
    guard.check(basket, before)
    basket.things.append("stolen")
    with pytest.raises(ProgrammingError, match="things changed outside @on"):
        guard.check(basket, before)


def test_streams_are_named_by_the_class_unless_it_says_otherwise() -> None:
    class Renamed(Aggregate, name="order"): ...

    assert (Basket.aggregate_name, Renamed.aggregate_name) == ("Basket", "order")


def test_local_event_classes_resolve_from_the_decorators_frame() -> None:
    class Local(DomainEvent):
        n: int

    class Counter(Aggregate):
        total: int = 0

        @on
        def _counted(self, event: "Local") -> None:
            self.total += event.n

    counter: Any = Counter(UUID(int=1))
    counter.record(Local(n=3))
    assert counter.total == 3


def test_an_async_on_method_is_a_fault() -> None:
    """It would never run: what it returns is awaited by nobody."""

    class Sleepy(Aggregate):
        @on
        async def _opened(self, event: BasketOpened) -> None: ...

    with pytest.raises(ConfigurationError, match="plain method"):
        Sleepy(new_id()).record(BasketOpened(owner="Ada"))


def test_an_on_method_for_every_event_is_a_fault() -> None:
    """Events are found by their class: this one would never be called."""

    class Greedy(Aggregate):
        @on
        def _any(self, event: DomainEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="YourEvent"):
        Greedy(new_id()).record(BasketOpened(owner="Ada"))


def test_an_annotation_that_names_nothing_is_a_fault_with_its_line() -> None:
    class Lost(Aggregate):
        @on
        def _lost(self, event: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"test_aggregates.py:\d+ .*_lost: name 'Nowhere' is not defined"):
        Lost(new_id()).record(BasketOpened(owner="Ada"))


def test_state_without_an_annotation_that_all_would_share_is_refused() -> None:
    with pytest.raises(TypeError, match="all aggregates would share it"):
        type("Leaky", (Aggregate,), {"lines": []})


def test_a_default_may_become_immutable_in_a_subclass() -> None:
    class Wide(Aggregate):
        lines: Sequence[str] = []

    class Narrow(Wide):
        lines: Sequence[str] = ()

    assert Narrow(new_id()).lines == ()
