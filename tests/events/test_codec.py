"""Events to text and back, and what is refused on the way."""

import sys
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field
from pydantic.alias_generators import to_camel

from diptych.errors import (
    ConfigurationError,
    DecodeError,
    InvalidInputError,
    ProgrammingError,
    UnknownEventTypeError,
    UpcastError,
)
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent, checksum, is_intact, text_of
from diptych.events.rows import end_of, unpack
from diptych.events.upcasting import Upcasters
from diptych.messages import DomainEvent


class Paid(DomainEvent, name="codec.paid", version=3):
    amount: Decimal
    note: str = ""


class Other(DomainEvent, name="codec.other"):
    text: str


def row(name: str, payload: str, schema_version: int = 1, **changes: Any) -> StoredEvent:
    stream = "018f0000-0000-7000-8000-000000000001"
    made = (7, "", "Bill", stream, 2, b"\1" * 16, name, schema_version, 0, payload, "{}", 1_700_000_000_000_000, 0)
    return StoredEvent(*made)._replace(**changes)


def test_an_event_survives_being_written_down() -> None:
    codec = Codec()
    event = Paid(amount=Decimal("10.50"), note="tea \N{HOT BEVERAGE}")
    new = codec.encode(event)
    assert (new.type, new.schema_version, new.payload) == ("codec.paid", 3, '{"amount":"10.50","note":"tea ☕"}')
    assert codec.decode(row(new.type, new.payload, 3)) == event


class Street(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    street_name: str
    house: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        return f"{self.street_name} {self.house}"


class Moved(DomainEvent, name="codec.moved"):
    model_config = ConfigDict(serialize_by_alias=True)

    to_street: Street
    moved_by: str = Field(alias="movedBy")


def test_aliases_and_computed_fields_of_the_web_play_no_part_in_what_is_stored_l1() -> None:
    """Else an event would be acknowledged that can never be read again, and its stream with it."""
    codec = Codec()
    event = Moved(to_street=Street.model_validate({"streetName": "Rue Morgue", "house": 1}), movedBy="ape")
    new = codec.encode(event)
    assert new.payload == '{"to_street":{"street_name":"Rue Morgue","house":1},"moved_by":"ape"}'
    assert codec.decode(row(new.type, new.payload)) == event
    codec.verify(event, new)


class Secret(DomainEvent, name="codec.secret"):
    password: SecretStr


class Hidden(DomainEvent, name="codec.hidden"):
    note: str = Field(exclude=True)


@pytest.mark.parametrize("event", [Secret(password=SecretStr("tiger")), Hidden(note="gone")])
def test_an_event_that_loses_something_when_written_down_is_found_in_development(event: DomainEvent) -> None:
    codec = Codec()
    with pytest.raises(ProgrammingError, match="comes back"):
        codec.verify(event, codec.encode(event))


def test_an_unknown_name_is_refused_and_nothing_is_imported_i2() -> None:
    before = set(sys.modules)
    for name in ("os:system", "builtins.eval", "antigravity", "this", "__import__('this')"):
        with pytest.raises(UnknownEventTypeError, match="Position 7"):
            Codec().decode(row(name, "{}"))
    assert set(sys.modules) == before


@pytest.mark.parametrize("version", [0, -1, 2**31, "2", True])
def test_a_schema_version_that_cannot_be_stored_is_refused_at_class_creation(version: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        type("Bad", (DomainEvent,), {}, version=version)


def test_a_newer_schema_version_is_unknown() -> None:
    with pytest.raises(UnknownEventTypeError):
        Codec().decode(row("codec.paid", '{"amount":"1"}', 4))


def test_another_format_is_unknown() -> None:
    with pytest.raises(UnknownEventTypeError):
        Codec().decode(row("codec.other", '{"text":"x"}', format=9))


@pytest.mark.parametrize("payload", ["", "[]", "{", '{"text": 5}', '{"text":"x","more":1}', "null"])
def test_a_payload_that_does_not_fit_names_its_position(payload: str) -> None:
    with pytest.raises(DecodeError) as caught:
        Codec().decode(row("codec.other", payload))
    assert (caught.value.position, caught.value.event_type) == (7, "codec.other")


def test_of_many_events_the_first_that_does_not_fit_is_named() -> None:
    good, bad = row("codec.other", '{"text":"a"}', position=1), row("codec.other", "{}", position=2)
    events = Codec().decode_each([good, bad, row("codec.other", "{}", position=3)])
    assert next(events) == Other(text="a")
    with pytest.raises(DecodeError) as caught:
        next(events)
    assert caught.value.position == 2
    with pytest.raises(UnknownEventTypeError):
        list(Codec().decode_each([good, row("codec.never_defined", "{}")]))


def test_rows_know_where_they_end_without_being_made() -> None:
    rows = [row("codec.other", "{}"), row("codec.other", "{}", position=8, event_id=b"\2" * 16)]
    packed = "\x1e".join(map(text_of, rows)).encode()
    unpacked = unpack(packed, ", ".join(str(checksum(each)) for each in rows))
    assert end_of(unpacked) == end_of(rows) == (8, b"\2" * 16)


def test_nul_and_lone_surrogates_are_refused_i1() -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInputError):
            Codec().encode(Other(text=text))
    assert Codec().encode(Other(text="\\u0000")).payload == '{"text":"\\\\u0000"}'


def test_old_payloads_are_brought_up_step_by_step() -> None:
    steps = Upcasters()
    steps.add("codec.paid", 1, lambda old: {"amount": str(old["cents"] / 100)})
    steps.add("codec.paid", 2, lambda old: {**old, "note": "was v2"})
    assert Codec(steps).decode(row("codec.paid", '{"cents": 150}', 1)) == Paid(amount=Decimal("1.5"), note="was v2")


def test_a_missing_or_failing_upcaster_says_which() -> None:
    steps = Upcasters()
    steps.add("codec.paid", 1, lambda old: {"amount": old["gone"]})
    with pytest.raises(UpcastError, match="no upcaster leads to v3"):
        Codec(steps).decode(row("codec.paid", "{}", 2))
    with pytest.raises(UpcastError, match="KeyError"):
        Codec(steps).decode(row("codec.paid", "{}", 1))
    with pytest.raises(UpcastError, match="delete one"):
        steps.add("codec.paid", 1, dict)


def test_two_classes_with_one_stored_name_are_refused_when_an_app_uses_both() -> None:
    class Twin(DomainEvent, name="codec.other"):
        text: str

    codec = Codec()
    codec.register(Other)
    with pytest.raises(ConfigurationError, match=r"both stored as codec\.other"):
        codec.register(Twin)
    assert Codec().decode(row("codec.other", '{"text":"x"}')) == Other(text="x")


def test_metadata_is_unpacked_when_looked_at() -> None:
    text = '{"command":"018f0000-0000-7000-8000-0000000000aa","user":"ada"}'
    meta = Codec().recorded(row("codec.other", '{"text":"x"}', metadata=text)).metadata
    assert (meta.user_id, meta.position, meta.stream.category, meta.correlation_id) == (
        "ada",
        7,
        "Bill",
        meta.command_id,
    )
    assert meta.command_id == UUID("018f0000-0000-7000-8000-0000000000aa")
    with pytest.raises(AttributeError):
        meta.nothing  # type: ignore[attr-defined]  # noqa: B018


@given(st.integers(0, 11), st.binary(min_size=1, max_size=3))
def test_the_checksum_covers_every_column_x4(field: int, noise: bytes) -> None:
    good = row("codec.other", '{"text":"x"}')
    good = good._replace(checksum=checksum(good))
    assert is_intact(good)
    old: Any = good[field]
    new = old + 1 if isinstance(old, int) else old + (noise if isinstance(old, bytes) else noise.hex())
    changed: tuple[Any, ...] = (*good[:field], new, *good[field + 1 :])
    assert not is_intact(StoredEvent._make(changed))
