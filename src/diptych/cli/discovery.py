"""Finds the user's App, and the FastAPI object it is installed in.

Looked for in this order, the most explicit first: what was said on the command line, DIPTYCH_APP, `[tool.diptych] app`
in pyproject.toml, main.py, app.py. Rule: nothing is started here; the module is imported and looked at.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from diptych.app.application import App
from diptych.errors import ConfigurationError
from diptych.lint.settings import said_in
from diptych.store.opening import shown


@dataclass(frozen=True, slots=True)
class Target:
    """Where the app is: a module, the folder to import it from, and perhaps the name of an attribute."""

    module: str
    folder: Path
    attribute: str | None = None
    file: Path | None = None

    @property
    def spelt(self) -> str:
        """What to say on a command line of another process, to mean the same."""
        place = self.module if self.file is None else str(self.file)
        return f"{place}:{self.attribute}" if self.attribute else place

    @property
    def path(self) -> Path:
        """The file of the module, once it is loaded."""
        return self.file or Path(self.load().__file__ or self.folder / self.module).resolve()

    def load(self) -> ModuleType:
        """Import the module. :raises ConfigurationError: it cannot be; the sentence names the user's own line."""
        for folder in (str(Path.cwd()), str(self.folder)):
            if folder in sys.path:
                sys.path.remove(folder)
            sys.path.insert(0, folder)
        try:
            module = importlib.import_module(self.module)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and f"{self.module}.".startswith(f"{error.name}."):
                raise ConfigurationError(
                    f"There is no module {error.name} in {self.folder}, and none is installed. "
                    "Name a file (shop/main.py), or go to the folder that the package is in."
                ) from error
            raise ConfigurationError(f"{_place(error, self)}: {type(error).__name__}: {_told(error)}") from error
        found = getattr(module, "__file__", None)
        if self.file is not None and (found is None or Path(found).resolve() != self.file):
            raise ConfigurationError(f"{_short(self.file)} has the name of another module ({found}). Rename the file.")
        return module


@dataclass(frozen=True, slots=True)
class Found:
    """What a module holds. `api` is the FastAPI object, with the name it has there, if there is one."""

    target: Target
    app: App
    api: Any | None = None
    api_name: str | None = None

    @property
    def import_string(self) -> str:
        """The way uvicorn names the FastAPI object."""
        return f"{self.target.module}:{self.api_name}"


def find(said: str | None = None) -> Found:
    """Find and import the app. :raises ConfigurationError: there is none; the sentence says where was looked."""
    return look(parse(said) if said else _configured())


def look(target: Target) -> Found:
    """Import a module and say what it holds. Of several FastAPI objects, those count in which the App is installed."""
    module = target.load()
    apps = _instances(module, lambda value: isinstance(value, App))
    apis = _instances(module, _is_fastapi)
    named = getattr(module, target.attribute, None) if target.attribute else None
    if target.attribute and not (isinstance(named, App) or _is_fastapi(named)):
        hint = f" It is a function: write `app = {target.attribute}()` there." if callable(named) else ""
        raise ConfigurationError(f"{target.module} has no App and no FastAPI object called {target.attribute}.{hint}")
    if isinstance(named, App):
        apis = {name: api for name, api in apis.items() if _app_in(api) in (None, named)}
    serving = {name: api for name, api in apis.items() if _app_in(api) is not None} or apis
    api_name = None
    if _is_fastapi(named):
        api_name = target.attribute
    elif serving:
        chosen = _choose(target, "FastAPI", serving, ("api", "app"))
        api_name = next(name for name, value in serving.items() if value is chosen)
    api = apis.get(api_name or "")
    app = named if isinstance(named, App) else _app_in(api) or _choose(target, "App", apps, ("app",))
    return Found(target, app, api, api_name)


def parse(said: str) -> Target:
    """Read `path/to/file.py`, `path/to/file.py:name`, `package.module` or `package.module:name`."""
    if "://" in said or said == "memory:":
        raise ConfigurationError(f"{shown(said)} is the URL of a store. Name the app that uses it: shop/main.py")
    place, _, attribute = said.partition(":")
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise ConfigurationError(f"There is no file {place}. Name one that holds your App: diptych dev app.py")
        return _of_file(path.resolve(), attribute or None)
    if path.is_file() or (path.is_dir() and not (path / "__init__.py").is_file()):
        what = "folder" if path.is_dir() else "file, but no Python file"
        hint = f", or a store by its URL where one may be named: sqlite:///{place}" if path.suffix == ".db" else ""
        raise ConfigurationError(f"{place} is a {what}. Name the Python file that holds your App: shop/main.py{hint}")
    if not all(part.isidentifier() for part in place.split(".")):
        raise ConfigurationError(f"{said} names no app. Write a file (shop/main.py) or a module (shop.main:app).")
    return Target(place, Path.cwd(), attribute or None)


def _configured() -> Target:
    if said := os.environ.get("DIPTYCH_APP"):
        return parse(said)
    if said := said_in(Path("pyproject.toml")).get("app"):
        return parse(said)
    for name in ("main.py", "app.py"):
        if Path(name).is_file():
            return parse(name)
    raise ConfigurationError(
        "No app found: there is no main.py or app.py here, no app in [tool.diptych] of pyproject.toml, "
        "and no DIPTYCH_APP. Name it: diptych dev shop/main.py, or --app shop/main.py"
    )


def _of_file(path: Path, attribute: str | None) -> Target:
    """A file inside packages is imported by its dotted name, from the folder above the outermost package."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return Target(".".join(parts), folder, attribute, path)


def _instances(module: ModuleType, wanted: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and wanted(value)}


def _is_fastapi(value: object) -> bool:
    return any(cls.__module__ == "fastapi.applications" for cls in type(value).__mro__)


def _app_in(api: Any) -> App | None:
    """The App that `install` put into a FastAPI object."""
    if api is None:
        return None
    from diptych.web.install import installed

    return installed(api)


def _choose(target: Target, what: str, found: dict[str, Any], preferred: Sequence[str]) -> Any:
    different = {id(value): value for value in found.values()}
    for name in preferred:
        if name in found:
            return found[name]
    if len(different) == 1:
        return next(iter(different.values()))
    names = ", ".join(found)
    if found:
        raise ConfigurationError(
            f"{target.module} has several {what} objects: {names}. Say which: {target.module}:{next(iter(found))}"
        )
    raise ConfigurationError(
        f"{target.module} has no {what} object. Write `app = App(...)` there, or name the module that has one."
    )


def _place(error: BaseException, target: Target) -> str:
    """The innermost line of the user's own code that an error came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(Path(error.filename))}:{error.lineno}"
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(target.folder))
    ]
    return (
        f"{_short(Path(own[-1].filename))}:{own[-1].lineno}"
        if own
        else _short(target.file or target.folder / target.module)
    )


def _told(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
