"""Names of streams, what a writer may expect of one, and places in the log as opaque tokens."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64Error
from typing import Final, NamedTuple
from uuid import UUID, SafeUUID
from zlib import crc32

from diptych.errors import InvalidInputError

SLICES: Final = 1024


def uuid_text(value: UUID) -> str:
    """Return `str(value)`, in two thirds of the time: every row and every stream is asked for it."""
    digits = value.int.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_new_uuid: Final = UUID.__new__
_put_int, _put_is_safe = [vars(UUID)[name].__set__ for name in ("int", "is_safe")]
_UNKNOWN: Final = SafeUUID.unknown  # looked up once: each look at a member of an Enum runs Python code


def uuid_of(text: str) -> UUID:
    """Return `UUID(text)` of a text that `uuid_text` made, in a third of the time."""
    result = _new_uuid(UUID)
    _put_int(result, int(text.replace("-", ""), 16))
    _put_is_safe(result, _UNKNOWN)
    return result


def slice_of(stream_id: str) -> int:
    """Return the slice (0..1023) of all streams with this id: its CRC-32 modulo 1024.

    Streams of two categories may share an id, and then an isolated projection keeps one row for both: they are worked
    on together.
    """
    return crc32(stream_id.encode()) % SLICES


class StreamName(NamedTuple):
    """Which stream: `category` is the aggregate's name, `id` its UUID; `tenant` is empty unless you have tenants."""

    tenant: str
    category: str
    id: UUID

    def __str__(self) -> str:
        tenant = f"{self.tenant}/" if self.tenant else ""
        return f"{tenant}{self.category}-{self.id}"

    @property
    def slice(self) -> int:
        """The slice (0..1023) of this stream: see `slice_of`."""
        return slice_of(uuid_text(self.id))


class Expectation:
    """What a writer believes of a stream when it is not a version number."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NO_STREAM: Final = Expectation("NO_STREAM")
STREAM_EXISTS: Final = Expectation("STREAM_EXISTS")
ANY: Final = Expectation("ANY")

Expected = int | Expectation


def is_met(expected: Expected, actual: int) -> bool:
    """Whether a stream at version `actual` (0: it does not exist) is what the writer expected."""
    if expected is ANY:
        return True
    if expected is NO_STREAM:
        return actual == 0
    if expected is STREAM_EXISTS:
        return actual > 0
    return expected == actual


_TOKEN: Final = struct.Struct(">BBQ8s")  # format, shard, position, the random half of the event id
_TOKEN_LENGTH: Final = 24  # four letters for three bytes, and nothing left over


def token(position: int, event_id: bytes) -> str:
    """Make an opaque string of a place in the log; it carries the event there, so that another history can be told."""
    return urlsafe_b64encode(_TOKEN.pack(1, 0, position, event_id[8:])).decode()


def read_token(text: str) -> tuple[int, bytes]:
    """Return the position and the last 8 bytes of the event id there. :raises InvalidInputError: it is none of ours."""
    try:
        # Decoding passes over what is no base64: what is longer is no token with something beside it.
        whole = text.encode("ascii") if len(text) == _TOKEN_LENGTH else b""
        form, shard, position, event = _TOKEN.unpack(urlsafe_b64decode(whole))
    except (NotBase64Error, ValueError, UnicodeError, struct.error):
        form, shard, position, event = 0, 0, 0, b""
    if (form, shard) != (1, 0) or position >= 2**63:
        raise InvalidInputError(f"{text[:40]!r} is not a position of this service. Send back one you were given.")
    return position, event
