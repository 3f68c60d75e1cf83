"""I1: what an append may be, at each bound: what fits is taken, one more is refused with a sentence."""

import pytest

from diptych.errors import InvalidInputError, ProgrammingError
from diptych.events.recorded import ROW_SEPARATOR, SEPARATOR
from diptych.store.limits import check_append, check_name
from diptych.store.protocols import Append, CommandKey, CommandRecord, StoreLimits, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.testing.contracts.events_samples import event, key, stream, to

LIMITS = StoreLimits(event_bytes=2000, events_per_append=3)


@pytest.mark.parametrize("name", ["a", "x" * 200, "é" * 200, "with space", "a/b", "\U0001f600"])
def test_a_name_may_be_one(name: str) -> None:
    check_name(name)
    check_append(to(stream()._replace(category=name, tenant=name), event(type=name)), LIMITS)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "a\nb", "\x1f", "half \ud800"])
def test_a_name_that_may_not_be_one_is_refused_wherever_it_stands(name: str) -> None:
    command = CommandRecord(key(), b"", "null")
    appends = [
        to(stream()._replace(category=name), event()),
        to(stream(), event(type=name)),
        to(stream(), event())._replace(command=command._replace(key=key(type=name))),
    ]
    if name:  # no tenant is none
        appends.append(to(stream()._replace(tenant=name), event()))
        appends.append(to(stream(), event())._replace(command=command._replace(key=key(tenant=name))))
    for append in appends:
        with pytest.raises(InvalidInputError, match="cannot be a name in the store"):
            check_append(append, LIMITS)


def test_an_append_has_so_many_events_and_no_more() -> None:
    first, second = stream(), stream()
    for counts in ((3, 0), (0, 3), (1, 2)):
        writes = [
            StreamWrite(name, ANY, [event()] * count) for name, count in zip((first, second), counts, strict=True)
        ]
        check_append(Append(writes), LIMITS)
        with pytest.raises(InvalidInputError, match="An append of 4 events is over the limit of 3"):
            check_append(Append([*writes, StreamWrite(stream(), ANY, [event()])]), LIMITS)


def test_a_stream_is_named_once() -> None:
    name: StreamName = stream()
    with pytest.raises(ProgrammingError, match="names a stream twice"):
        check_append(Append([StreamWrite(name, ANY, [event()]), StreamWrite(name, ANY, [])]), LIMITS)
    check_append(Append([StreamWrite(name, ANY, [event()])]), LIMITS)
    check_append(Append([]), LIMITS)


@pytest.mark.parametrize("size", [15, 17, 0])
def test_an_id_has_sixteen_bytes(size: int) -> None:
    with pytest.raises(ProgrammingError, match="an id of 16 bytes"):
        check_append(to(stream(), event()._replace(event_id=bytes(size))), LIMITS)


@pytest.mark.parametrize(
    ("schema", "format", "is_fine"),
    [
        (1, 0, True),
        (2**31, 2**31, True),
        (0, 0, False),
        (-1, 0, False),
        (1, -1, False),
        (2**31 + 1, 0, False),
        (1, 2**31 + 1, False),
    ],
)
def test_a_schema_version_begins_with_one_and_a_format_with_none(schema: int, format: int, is_fine: bool) -> None:
    append = to(stream(), event()._replace(schema_version=schema, format=format))
    if is_fine:
        check_append(append, LIMITS)
    else:
        with pytest.raises(ProgrammingError, match="a schema version from 1 and a format from 0"):
            check_append(append, LIMITS)


def texts(text: str) -> list[Append]:
    """Appends with a text wherever one may be."""
    record = CommandRecord(CommandKey("", "", "Ring", key().command_id), b"", "null")
    return [
        to(stream(), event()._replace(payload=text)),
        to(stream(), event())._replace(metadata=text),
        to(stream(), event())._replace(command=record._replace(result=text)),
    ]


@pytest.mark.parametrize("text", ["x" * 2000, "é" * 1000, "\U0001f600" * 500, "a\nb", r"\\u0000", r"\u0001", "\\u00e9"])
def test_a_text_may_be_as_long_as_the_limit_in_bytes(text: str) -> None:
    for append in texts(text):
        check_append(append, LIMITS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * 2001, "over the limit of 2,000 bytes"),
        ("é" * 1001, "over the limit of 2,000 bytes"),
        ("\U0001f600" * 501, "over the limit of 2,000 bytes"),
        ("a\0b", "a NUL or another control character"),
        (f"a{SEPARATOR}b", "a NUL or another control character"),
        (f"a{ROW_SEPARATOR}b", "a NUL or another control character"),
        (r"\u0000", "a NUL or another control character"),
        (r"a\\\u0000", "a NUL or another control character"),
        ("half \ud800", "half of a surrogate pair"),
    ],
)
def test_a_text_that_no_store_keeps_is_refused_wherever_it_stands(text: str, why: str) -> None:
    for append in texts(text):
        with pytest.raises(InvalidInputError, match=why):
            check_append(append, LIMITS)


@pytest.mark.parametrize(("length", "is_fine"), [(1000, True), (1001, False)])
def test_a_users_id_has_a_limit_of_its_own(length: int, is_fine: bool) -> None:
    append = to(stream(), event())._replace(command=CommandRecord(key(user="u" * length), b"", "null"))
    if is_fine:
        check_append(append, LIMITS)
    else:
        with pytest.raises(
            InvalidInputError, match="the user's id: 1,001 characters are over the limit of 1,000 bytes"
        ):
            check_append(append, LIMITS)
