"""What `[tool.diptych.check]` in pyproject.toml says.

Rule: a key that is not known is an error with the nearest one that is; the heart of the rules cannot be switched off.
"""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from diptych.errors import ConfigurationError

HEART: Final = frozenset({"DP101", "DP103", "DP201", "DP202"})
_KEYS: Final = ("select", "ignore", "exclude", "baseline", "app")
_LISTS: Final = ("select", "ignore", "exclude")


@dataclass(frozen=True, slots=True)
class Settings:
    """`select` and `ignore` are rules or families (`DP1`); nothing selected is all that are on by default."""

    root: Path
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    baseline: str = "diptych-baseline.toml"
    app: str | None = None


def read_settings(start: Path, known: Collection[str]) -> Settings:
    """Read the settings of the project that a path is in.

    :raises ConfigurationError: they cannot be read, or say what cannot be.
    """
    root = next((each for each in (start, *start.parents) if (each / "pyproject.toml").is_file()), start)
    file = root / "pyproject.toml"
    said = said_in(file)
    found = said.get("check", {})
    _check_keys(found, file)
    select, ignore, exclude = (tuple(found.get(key, ())) for key in _LISTS)
    check_rules((*select, *ignore), ignore, known)
    if select:
        select = (*select, *sorted(HEART))
    baseline = found.get("baseline", "diptych-baseline.toml")
    return Settings(root, select, ignore, exclude, baseline, found.get("app", said.get("app")))


def said_in(file: Path) -> dict[str, Any]:
    """What `[tool.diptych]` says; nothing without the file. :raises ConfigurationError: it cannot be read."""
    try:
        said: Any = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}.") from error
    for key in ("tool", "diptych"):
        said = said.get(key, {})
        if not isinstance(said, dict):
            raise ConfigurationError(f"{file}: {key} is no table. Write [tool.diptych].")
    if not isinstance(said.get("app", ""), str):
        raise ConfigurationError(f'{file}: app in [tool.diptych] must be a string, such as "shop.main:app".')
    return dict(said)


def check_rules(named: Collection[str], ignored: Collection[str], known: Collection[str]) -> None:
    """:raises ConfigurationError: a rule is not known, or may not be ignored everywhere."""
    for one in ignored:
        heart = sorted(each for each in HEART if each.startswith(one))
        if heart:
            raise ConfigurationError(
                f"{', '.join(heart)} cannot be switched off for a whole project: without it, rows and log part. "
                f"Ignore it where it is meant: # diptych: ignore[{heart[0]}] why"
            )
    for one in named:
        if not any(each.startswith(one) for each in known):
            near = get_close_matches(one, known, 1)
            raise ConfigurationError(f"There is no rule {one}.{f' Did you mean {near[0]}?' if near else ''}")


def _check_keys(found: Any, file: Path) -> None:
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file}: [tool.diptych.check] is no table.")
    for key, value in found.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f" Did you mean {near[0]}?" if near else f" There are {', '.join(_KEYS)}."
            raise ConfigurationError(f"{file}: [tool.diptych.check] knows no {key}.{hint}")
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not (is_list if key in _LISTS else isinstance(value, str)):
            wanted = "a list of strings" if key in _LISTS else "a string"
            raise ConfigurationError(f"{file}: {key} in [tool.diptych.check] must be {wanted}.")
