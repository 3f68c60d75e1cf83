"""What a store says of its own health, on any backend: each check passed, failed with what mends it, or not made.

Rule: a check that cannot be made is no failure; it says why it could not.
"""

from enum import Enum
from typing import NamedTuple


class Result(Enum):
    """How a check ended."""

    OK = "OK"
    KO = "KO"
    UNKNOWN = "could not check"


class Check(NamedTuple):
    """One thing that was looked at. `fix` is what to do about a KO: a command to type where there is one."""

    name: str
    result: Result
    detail: str
    fix: str = ""


def judge(name: str, is_well: bool, detail: str, fix: str) -> Check:
    """Make a check that passed or failed."""
    return Check(name, Result.OK, detail) if is_well else Check(name, Result.KO, detail, fix)


def unknown(name: str, why: object) -> Check:
    """Make a check that could not be made."""
    return Check(name, Result.UNKNOWN, str(why))
