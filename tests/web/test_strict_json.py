"""I1: what parsers disagree on, or no store can keep, is refused before anybody reads it."""

import json

import pytest

from diptych.web.strict_json import NotStrictJsonError, check_json


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'"text"',
        b" null ",
        b'{"a": 1, "b": {"a": 2}, "c": [{"a": 3}, {"a": 4}]}',
        b'{"n": -9223372036854775808, "m": 9223372036854775807, "f": 1.5e300, "z": -0.0}',
        '{"ümlaut": "日本 👩"}'.encode(),
        b'{"a": "\\ud83d\\udc69", "b": "\\\\u0000"}',
        b'{"a": "NaN", "b": "Infinity"}',
        b"[" * 32 + b"]" * 32,
        b'{"a": "' + b"[" * 500 + b'"}',
    ],
)
def test_json_that_every_reader_understands_alike_passes(body: bytes) -> None:
    check_json(body, 32)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 33 + b"]" * 33, "32 levels"),
        (b"[" * 1000 + b"]" * 1000, "32 levels"),
        (b'{"a":' * 100_000, "32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "32 levels"),
        (b'{"user": 1, "user": 2}', '"user" twice'),
        (b'{"a": [{"x": 1, "\\u0078": 2}]}', '"x" twice'),
        (b"NaN", "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b"1" * 100_000, "64 bits"),
        (b"9223372036854775808", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"1e999", "floating point"),
        (b'{"a": "x\\u0000"}', "NUL"),
        (b'{"x\\u0000": 1}', "NUL"),
        (b'"\\ud800"', "\\ud800"),
        (b'[{"\\udfff": 1}]', "\\udfff"),
        (b'"\\udc69\\ud83d"', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (json.dumps({"a": 1}).encode("utf-16"), "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'"a\x00b"', "control character"),
        (b'{"a": 1} {}', "Extra data"),
        (b"{'a': 1}", "not JSON"),
        (b"{", "not JSON"),
    ],
)
def test_what_is_refused_is_named(body: bytes, says: str) -> None:
    with pytest.raises(NotStrictJsonError, match="(?i)" + says.replace("\\", "\\\\")):
        check_json(body, 32)


def test_what_is_said_of_a_long_key_is_short() -> None:
    key = '"' + "k" * 100_000 + '"'
    with pytest.raises(NotStrictJsonError) as refused:
        check_json(f"{{{key}: 1, {key}: 2}}".encode(), 32)
    assert len(str(refused.value)) < 200
