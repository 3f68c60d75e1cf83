"""Which files are checked.

Rule: what is named is checked, whatever is excluded; what is found below a folder is not, if it is hidden or excluded.
"""

import io
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from os import walk
from pathlib import Path
from shutil import copymode
from tokenize import detect_encoding
from typing import Final

from diptych.errors import ConfigurationError

_NEVER: Final = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "env"})


def find_files(paths: Sequence[Path], root: Path, exclude: Sequence[str]) -> dict[str, Path]:
    """Return the Python files of these paths, by the path under which they are told of.

    :raises ConfigurationError: one of the paths is not there.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            for file in _below(path, root, exclude):
                found[shown(file, root)] = file
        elif path.is_file():
            found[shown(path, root)] = path
        else:
            raise ConfigurationError(f"There is no {path}. Give files or folders to check.")
    return dict(sorted(found.items()))


def shown(path: Path, root: Path) -> str:
    """Return a path from the project's root, or as it is where it lies elsewhere."""
    absolute = path.resolve()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.as_posix()


def read_source(path: Path) -> str:
    """Return a file's text, its lines ended by LF.

    :raises SyntaxError: it names an encoding that there is not.
    :raises UnicodeDecodeError: it is not written in the encoding that it names, or in UTF-8 if it names none.
    """
    data = path.read_bytes()
    return data.decode(_encoding(data)).replace("\r\n", "\n")


def write_source(path: Path, text: str) -> None:
    """Put a text in a file's place, whole or not at all; its encoding, ends of lines and mode stay."""
    file = path.resolve()
    before = file.read_bytes()
    if before.count(b"\r\n") * 2 > before.count(b"\n"):
        text = text.replace("\n", "\r\n")
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(text.encode(_encoding(before)))
    copymode(file, part)
    part.replace(file)


def _encoding(data: bytes) -> str:
    return detect_encoding(io.BytesIO(data).readline)[0]


def _below(folder: Path, root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    for at, folders, files in walk(folder):
        here = Path(at)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _NEVER and not _is_environment(here / name)
        )
        for name in sorted(files):
            path = here / name
            if name.endswith(".py") and not _is_excluded(shown(path, root), exclude):
                yield path


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()


def _is_excluded(path: str, exclude: Sequence[str]) -> bool:
    return any(fnmatch(path, each) or fnmatch(path, f"{each.rstrip('/')}/*") for each in exclude)
