"""What fields of messages hold, in the ways that people annotate them, and what looks wrong and is right."""

import pytest

from diptych.lint.fixing import fixed
from tests.lint.sources import SERVICE, found, ids


def event(field: str, kind: str = "DomainEvent") -> str:
    return f"class Noted({kind}):\n    {field}\n"


@pytest.mark.parametrize(
    "field",
    [
        "tags: list[str]",
        "tags: list[str] | None = None",
        "tags: Annotated[set[str], Field(min_length=1)]",
        "tags: tuple[list[str], ...]",
        "tags: dict[str, int]",
        "tags: Annotated[list[str] | None, Field()] = None",
    ],
)
def test_what_can_change_in_an_event_is_found(field: str) -> None:
    assert ids(event(field)) == ["DP401"]


@pytest.mark.parametrize(
    "field",
    [
        "tags: tuple[str, ...]",
        "tags: frozenset[str]",
        "names: ClassVar[list[str]] = []",
        "_cache: dict[str, int] = {}",
        "at: AwareDatetime",
        "amount: Decimal",
        "price_ratio: float",
        "amount_kg: float",
        "seconds: float",
        "total: float",
    ],
)
def test_what_cannot_is_none(field: str) -> None:
    assert ids(event(field)) == []


def test_a_list_in_a_command_is_none() -> None:
    assert ids(event("tags: list[str]", "Command")) == []


def test_a_list_of_the_project_s_own_is_none() -> None:
    assert ids("class list:\n    pass\n\n\n" + event("tags: list")) == []


@pytest.mark.parametrize(
    ("field", "mended"),
    [
        ("tags: list[str]", "tags: tuple[str, ...]"),
        ("tags: list[str] = []", "tags: tuple[str, ...] = ()"),
        ("tags: set[str] = set()", "tags: frozenset[str] = frozenset()"),
        ("tags: list[str] = Field(default_factory=list)", "tags: tuple[str, ...] = ()"),
        ("tags: set[str] = Field(default_factory=set)", "tags: frozenset[str] = frozenset()"),
        ("tags: list[str] | None", "tags: tuple[str, ...] | None"),
    ],
)
def test_lists_and_sets_become_what_cannot_change(field: str, mended: str) -> None:
    text, _ = fixed(SERVICE + event(field), found(event(field)))
    assert f"    {mended}\n" in text


@pytest.mark.parametrize("field", ["tags: dict[str, int]", "tags: list[str] = make()", "tags: list[str] = ['new']"])
def test_what_is_not_plain_is_not_mended(field: str) -> None:
    assert fixed(SERVICE + event(field), found(event(field)), is_unsafe=True)[1] == []


@pytest.mark.parametrize("kind", ["DomainEvent", "Command"])
@pytest.mark.parametrize("field", ["amount: float", "unit_price: float | None = None", "shipping_cost: float = 0.0"])
def test_money_in_a_float_is_found(field: str, kind: str) -> None:
    assert ids(event(field, kind)) == ["DP403"]


def test_a_total_beside_a_currency_is_money() -> None:
    assert ids(event("total: float\n    currency: str")) == ["DP403"]


def test_money_becomes_decimal_when_that_is_asked_for() -> None:
    code = event("cost: float = 0.5")
    assert fixed(SERVICE + code, found(code))[1] == []
    assert 'cost: Decimal = Decimal("0.5")' in fixed(SERVICE + code, found(code), is_unsafe=True)[0]


@pytest.mark.parametrize(
    "code",
    [
        "class Person(ReadModel):\n    email: Annotated[str, Key]\n",
        "class Person(ReadModel):\n    phone_number: Annotated[str, Key()]\n",
        "def of(command):\n    return id_for('customer', command.email.lower())\n",
        "def of(email):\n    return id_for('customer', f'{email}')\n",
        "from uuid import NAMESPACE_URL, uuid5 as hashed\n\ndef of(ssn):\n    return hashed(NAMESPACE_URL, ssn)\n",
    ],
)
def test_personal_data_in_a_key_is_found(code: str) -> None:
    assert ids(code) == ["DP407"]


@pytest.mark.parametrize(
    "code",
    [
        "class Person(ReadModel):\n    id: Annotated[UUID, Key]\n    email: str\n",
        "def of(command):\n    return id_for('product', command.sku)\n",
        "def of(email):\n    return id_for('email', 'newsletter')\n",
        "def id_for_mail(kind, email):\n    return email\n\ndef of(email):\n    return id_for_mail('x', email)\n",
    ],
)
def test_a_key_that_says_nothing_is_none(code: str) -> None:
    assert ids(code) == []


@pytest.mark.parametrize("kind", ["DomainEvent", "Command", "Query[int]"])
@pytest.mark.parametrize("field", ["at: datetime", "at: datetime | None = None", "at: Annotated[datetime, Field()]"])
def test_a_time_without_a_zone_is_found(field: str, kind: str) -> None:
    assert ids(event(field, kind)) == ["DP409"]


def test_a_time_becomes_aware_with_its_import() -> None:
    code = "from datetime import datetime\nfrom diptych import DomainEvent\n\n\n"
    code += "class Noted(DomainEvent):\n    at: datetime\n"
    text, _ = fixed(code, found("", noted=code), is_unsafe=True)
    assert "at: AwareDatetime" in text
    assert "from pydantic import AwareDatetime" in text


@pytest.mark.parametrize(
    "field", ["data: Any", "data: dict", "data: dict[str, Any]", "data: list[Any]", "data: object"]
)
def test_a_payload_without_schema_is_found(field: str) -> None:
    assert "DP412" in ids(event(field))


def test_any_in_a_class_that_is_no_event_is_none() -> None:
    assert ids("class Settings:\n    data: dict[str, Any]\n    at: datetime\n    amount: float\n") == []
