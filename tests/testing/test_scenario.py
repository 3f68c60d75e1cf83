"""Given / when / then, and what it says when a story ends otherwise."""

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainError, DomainEvent, Repository, new_id, on
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.testing.scenario import Scenario


class Opened(DomainEvent):
    owner: str


class Deposited(DomainEvent):
    cents: int


class Withdrawn(DomainEvent):
    cents: int


class OverdrawnError(DomainError):
    """More than there is."""


class Purse(Aggregate, name="scenario-purse"):
    cents: int = 0

    @classmethod
    def open(cls, id: UUID, owner: str) -> "Purse":
        purse = cls(id)
        purse.record(Opened(owner=owner))
        return purse

    def withdraw(self, cents: int) -> int:
        if cents > self.cents:
            raise OverdrawnError(f"only {self.cents} cents are left")
        self.record(Withdrawn(cents=cents))
        return self.cents

    def deposit(self, cents: int) -> None:
        self.record(Deposited(cents=cents))

    def cheat(self) -> None:
        self.__dict__["cents"] = 1_000

    @on
    def _deposited(self, event: Deposited) -> None:
        self.cents += event.cents

    @on
    def _withdrawn(self, event: Withdrawn) -> None:
        self.cents -= event.cents


class Withdraw(Command[int]):
    purse_id: UUID
    cents: int


class Move(Command):
    source: UUID
    target: UUID
    cents: int


@pytest.fixture
def app() -> App:
    app = App("memory:")

    @app.command_handler
    async def withdraw(command: Withdraw, purses: Repository[Purse]) -> int:
        return (await purses.get(command.purse_id)).withdraw(command.cents)

    @app.command_handler
    async def move(command: Move, purses: Repository[Purse]) -> None:
        (await purses.get(command.target)).deposit(command.cents)
        (await purses.get(command.source)).withdraw(command.cents)

    return app


def test_a_method_of_an_aggregate_records_what_was_expected() -> None:
    scenario = Scenario(Purse).given(Opened(owner="Ada"), Deposited(cents=5))
    scenario.when(lambda purse: purse.withdraw(2)).then(Withdrawn(cents=2))
    assert scenario.result == 3


def test_a_new_aggregate_is_made_by_a_callable_without_parameters() -> None:
    scenario = Scenario(Purse)
    scenario.when(lambda: Purse.open(scenario.id, "Ada")).then(Opened(owner="Ada"))


def test_what_happened_has_happened_for_the_next_step() -> None:
    scenario = Scenario(Purse).given(Deposited(cents=5))
    scenario.when(lambda purse: purse.withdraw(5)).then(Withdrawn)
    scenario.when(lambda purse: purse.withdraw(1)).then_rejected(OverdrawnError, "only 0 cents")


def test_a_command_runs_through_the_handlers_of_the_app(app: App) -> None:
    scenario = Scenario(Purse, app).given(Deposited(cents=5))
    scenario.when(Withdraw(purse_id=scenario.id, cents=2)).then(Withdrawn(cents=2))
    assert scenario.result == 3


def test_commands_follow_each_other_in_one_story(app: App) -> None:
    scenario = Scenario(Purse, app).given(Deposited(cents=5))
    scenario.when(Withdraw(purse_id=scenario.id, cents=5)).then(Withdrawn(cents=5))
    scenario.when(Withdraw(purse_id=scenario.id, cents=1)).then_rejected(OverdrawnError)


def test_another_aggregate_has_a_history_too_and_a_refused_command_stores_nothing(app: App) -> None:
    """L7: all of a command's events, or none."""
    other = new_id()
    scenario = Scenario(Purse, app).given(Deposited(cents=5)).given(other, Opened(owner="Bob"), of=Purse)
    scenario.when(Move(source=scenario.id, target=other, cents=9)).then_rejected(OverdrawnError)
    scenario.when(Move(source=scenario.id, target=other, cents=4)).then(Deposited(cents=4), Withdrawn(cents=4))


@pytest.mark.anyio
async def test_a_scenario_plays_inside_an_async_test(app: App) -> None:
    scenario = Scenario(Purse, app).given(Deposited(cents=5))
    scenario.when(Withdraw(purse_id=scenario.id, cents=2)).then(Withdrawn(cents=2))


def test_other_events_than_expected_are_shown_as_a_difference() -> None:
    scenario = Scenario(Purse).given(Deposited(cents=5)).when(lambda purse: purse.withdraw(2))
    with pytest.raises(AssertionError) as failure:
        scenario.then(Withdrawn(cents=3))
    assert "- cents = 3" in str(failure.value)
    assert "+ cents = 2" in str(failure.value)


def test_nothing_recorded_is_told_with_where_to_look() -> None:
    scenario = Scenario(Purse).when(lambda purse: None)
    scenario.then_nothing()
    with pytest.raises(AssertionError, match=r"Nothing was recorded\. Does the method call self\.record"):
        scenario.then(Opened)


def test_an_unexpected_refusal_is_told_with_its_sentence() -> None:
    scenario = Scenario(Purse).when(lambda purse: purse.withdraw(2))
    with pytest.raises(AssertionError, match="OverdrawnError: only 0 cents are left"):
        scenario.then(Withdrawn(cents=2))


def test_an_expected_refusal_that_does_not_come_is_told() -> None:
    scenario = Scenario(Purse).given(Deposited(cents=5)).when(lambda purse: purse.withdraw(2))
    with pytest.raises(AssertionError, match="not refused with OverdrawnError"):
        scenario.then_rejected(OverdrawnError)


def test_another_refusal_than_expected_is_told() -> None:
    scenario = Scenario(Purse).when(lambda purse: purse.withdraw(2))
    with pytest.raises(AssertionError, match=r"- OverdrawnError: \.\.\.twelve"):
        scenario.then_rejected(OverdrawnError, "twelve")
    with pytest.raises(AssertionError, match="- KeyError"):
        scenario.then_rejected(KeyError)


def test_state_changed_outside_on_is_found() -> None:
    with pytest.raises(ProgrammingError, match="cents changed outside @on"):
        Scenario(Purse).when(lambda purse: purse.cheat())


def test_then_before_when_is_refused() -> None:
    with pytest.raises(ProgrammingError, match="Nothing has happened yet"):
        Scenario(Purse).then()


def test_a_command_without_an_app_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Scenario\(Purse, app\)"):
        Scenario(Purse).when(Withdraw(purse_id=new_id(), cents=1))


def test_an_app_on_disk_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="plays in memory"):
        Scenario(Purse, App("sqlite:///shop.db"))


def test_an_app_on_disk_is_played_by_one_in_memory_that_includes_it() -> None:
    shop, memory = App("sqlite:///shop.db"), App("memory:")

    @shop.command_handler
    async def withdraw(command: Withdraw, purses: Repository[Purse]) -> int:
        return (await purses.get(command.purse_id)).withdraw(command.cents)

    memory.include(shop)
    scenario = Scenario(Purse, memory).given(Deposited(cents=2))
    scenario.when(Withdraw(purse_id=scenario.id, cents=1)).then(Withdrawn)


def test_a_class_beside_an_event_hides_no_field_of_it() -> None:
    scenario = Scenario(Purse).when(lambda purse: [purse.deposit(1), purse.deposit(2)])
    with pytest.raises(AssertionError) as failure:
        scenario.then(Deposited, Deposited(cents=3))
    assert "- cents = 3" in str(failure.value)
    assert "+ cents = 2" in str(failure.value)


async def _later(purse: Purse) -> None:
    purse.deposit(1)


def test_a_method_that_would_have_to_be_awaited_is_refused_not_ignored() -> None:
    with pytest.raises(ProgrammingError, match="awaits nothing"):
        Scenario(Purse).when(_later)


MISTAKES: dict[str, Callable[[], object]] = {
    "is no aggregate": lambda: Scenario(cast(Any, Withdrawn)),
    "given\\(\\) takes events": lambda: Scenario(Purse).given(cast(Any, [Deposited(cents=1)])),
    "given\\(\\) takes events, one": lambda: Scenario(Purse).given(cast(Any, Deposited)),
    "when\\(\\) takes a command": lambda: Scenario(Purse).when(cast(Any, Deposited(cents=1))),
    "then\\(\\) takes events": lambda: Scenario(Purse).when(lambda purse: None).then(cast(Any, [Deposited(cents=1)])),
    "then_rejected\\(\\) takes": lambda: (
        Scenario(Purse).when(lambda purse: None).then_rejected(cast(Any, "only 0 cents"))
    ),
}


@pytest.mark.parametrize(("told", "mistake"), MISTAKES.items())
def test_wrong_use_is_told_in_a_sentence(told: str, mistake: Callable[[], object]) -> None:
    with pytest.raises(ProgrammingError, match=told):
        mistake()


@pytest.mark.anyio
async def test_an_app_that_runs_is_refused_for_its_log_is_not_the_storys_own(app: App) -> None:
    async with app:
        with pytest.raises(ProgrammingError, match="running already"):
            Scenario(Purse, app).when(Withdraw(purse_id=new_id(), cents=1))
