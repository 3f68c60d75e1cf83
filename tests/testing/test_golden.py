"""Golden files of stored events: what changed is told, and what is in logs is still read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import App, DomainEvent
from diptych.testing.golden import Golden


@pytest.fixture
def golden(tmp_path: Path) -> Callable[..., None]:
    """Check samples against files, which is what a test does; `update=True` is the option."""

    def check(*samples: DomainEvent, app: App | None = None, update: bool = False) -> None:
        Golden(tmp_path / "golden", is_updated=update)(*samples, app=app)

    return check


def first() -> DomainEvent:
    """An event as it was when it was first shipped."""

    class Ordered(DomainEvent, name="golden.ordered"):
        product: str
        amount: int

    return Ordered(product="mug", amount=2)


def second() -> DomainEvent:
    """The event as somebody changed it, without saying so."""

    class Ordered(DomainEvent, name="golden.ordered"):
        product: str
        quantity: int

    return Ordered(product="mug", quantity=2)


def third() -> DomainEvent:
    """The event as it was changed in an orderly way."""

    class Ordered(DomainEvent, name="golden.ordered", version=2):
        product: str
        quantity: int

    return Ordered(product="mug", quantity=2)


def app_with_step() -> App:
    """An app that reads the first form."""
    app = App("memory:")

    @app.upcast("golden.ordered", 1)
    def to_quantity(payload: dict[str, Any]) -> dict[str, Any]:
        return {"product": payload["product"], "quantity": payload["amount"]}

    return app


def test_an_event_without_a_file_is_told_and_gets_one_when_asked_for(
    golden: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(
        AssertionError, match=r"No golden file for golden\.ordered v1\. Type `pytest --diptych-golden-up"
    ):
        golden(first())
    golden(first(), update=True)
    golden(first())
    kept = json.loads((tmp_path / "golden" / "golden.ordered.v1.json").read_text())
    assert kept == {"type": "golden.ordered", "schema_version": 1, "payload": {"product": "mug", "amount": 2}}


def test_another_form_under_the_same_version_is_told_field_by_field(golden: Callable[..., None]) -> None:
    golden(first(), update=True)
    with pytest.raises(AssertionError) as failure:
        golden(second())
    told = str(failure.value)
    assert "golden.ordered v1 is stored in another form than before" in told
    assert "  - amount = 2\n  + quantity = 2" in told
    assert "@app.upcast(name, from_version)" in told


def test_a_new_version_reads_the_old_file_through_its_upcaster(golden: Callable[..., None]) -> None:
    golden(first(), update=True)
    golden(third(), app=app_with_step(), update=True)
    golden(third(), app=app_with_step())


def test_an_old_file_that_nothing_reads_any_more_is_told_although_files_are_updated(
    golden: Callable[..., None],
) -> None:
    golden(first(), update=True)
    with pytest.raises(AssertionError) as failure:
        golden(third(), update=True)
    assert "golden.ordered v1 can no longer be read: no upcaster leads to v2" in str(failure.value)
    assert '@app.upcast("golden.ordered", 1)' in str(failure.value)


def test_a_file_of_an_event_that_has_gone_is_told(golden: Callable[..., None], tmp_path: Path) -> None:
    golden(first(), update=True)
    path = tmp_path / "golden" / "golden.ordered.v1.json"
    path.write_text(path.read_text().replace("golden.ordered", "golden.gone"))
    with pytest.raises(
        AssertionError, match=r"golden\.gone v1 can no longer be read: no class is stored under this name"
    ):
        golden()


def test_a_sample_with_other_values_is_not_taken_for_another_form(golden: Callable[..., None]) -> None:
    golden(first(), update=True)
    with pytest.raises(AssertionError, match="has other values than its sample had before"):
        golden(first().model_copy(update={"amount": 3}))


class Sampled(DomainEvent, name="golden.sampled"):
    """One of two events of this module."""


class Forgotten(DomainEvent, name="golden.forgotten"):
    """The other."""


def test_an_event_defined_beside_the_samples_needs_one_too(golden: Callable[..., None]) -> None:
    golden(Sampled(), Forgotten(), update=True)
    golden(Sampled(), Forgotten())
    with pytest.raises(AssertionError, match=r"test_golden\.Forgotten has no sample"):
        golden(Sampled())
