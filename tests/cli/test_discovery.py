"""How the command line finds an app, and what it says when it does not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.cli.discovery import find, parse
from diptych.errors import ConfigurationError

WEB = """
from fastapi import FastAPI
from diptych import App
from diptych.web import install

app = App("memory:")
api = FastAPI()
install(app, api)
"""


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIPTYCH_APP", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith("diptych"):
            del sys.modules[name]


def test_main_py_is_found_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(WEB)
    found = find()
    assert found.import_string == "main:api"
    assert found.app.url == "memory:"


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "hello_there.py").write_text(WEB)
    assert find("shop/hello_there.py").import_string == "hello_there:api"


def test_a_file_in_a_package_is_imported_by_its_dotted_name(tmp_path: Path) -> None:
    package = tmp_path / "src" / "bakery"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text("URL = 'memory:'")
    (package / "serving.py").write_text(WEB + "from bakery.names import URL\n")
    assert find("src/bakery/serving.py").import_string == "bakery.serving:api"


def test_pyproject_names_the_app(tmp_path: Path) -> None:
    (tmp_path / "wired.py").write_text(WEB)
    (tmp_path / "pyproject.toml").write_text('[tool.diptych]\napp = "wired:app"\n')
    assert find().import_string == "wired:api"


def test_the_environment_goes_before_pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chosen.py").write_text(WEB)
    (tmp_path / "pyproject.toml").write_text('[tool.diptych]\napp = "absent:app"\n')
    monkeypatch.setenv("DIPTYCH_APP", "chosen.py")
    assert find().import_string == "chosen:api"


def test_no_app_anywhere_says_where_it_was_looked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"no main\.py or app\.py.*DIPTYCH_APP"):
        find()


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no file nowhere\.py"):
        find("nowhere.py")


def test_a_module_without_an_app_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty_module.py").write_text("x = 1")
    with pytest.raises(ConfigurationError, match="empty_module has no App"):
        find("empty_module")


def test_an_attribute_that_is_no_app_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd_module.py").write_text(WEB + "number = 1\n")
    with pytest.raises(ConfigurationError, match="called number"):
        find("odd_module:number")


def test_two_apps_are_not_guessed_between(tmp_path: Path) -> None:
    (tmp_path / "twins.py").write_text("from diptych import App\nleft = App('memory:')\nright = App('memory:')\n")
    with pytest.raises(ConfigurationError, match="left, right"):
        find("twins.py")
    assert find("twins.py:left").target.attribute == "left"


def test_a_fault_in_the_users_code_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("x = 1\ny = undefined_name\n")
    with pytest.raises(ConfigurationError, match=r"faulty\.py:2: NameError"):
        find("faulty.py")


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "unfinished.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(ConfigurationError, match=r"unfinished\.py:2: SyntaxError"):
        find("unfinished.py")


def test_what_cannot_be_a_module_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no app"):
        parse("no such thing")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("leaving.py", "import sys\nsys.exit(3)\n", r"leaving\.py:2: SystemExit: 3"),
        ("nothing.py", "x = 1\0", r"nothing\.py: SyntaxError"),
        ("json.py", WEB, r"json\.py has the name of another module"),
        ("app.txt", WEB, "no Python file"),
        ("made.py", "from diptych import App\ndef make():\n    return App()\n", "made has no App"),
    ],
)
def test_an_odd_file_is_told_in_a_sentence(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        find(name)


def test_a_function_that_makes_an_app_is_told_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "factory_of_apps.py").write_text("from diptych import App\ndef make():\n    return App()\n")
    with pytest.raises(ConfigurationError, match=r"write `app = make\(\)`"):
        find("factory_of_apps.py:make")


def test_a_folder_is_no_app(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"):
        parse(".")


def test_of_several_apps_the_one_that_is_installed_is_served(tmp_path: Path) -> None:
    more = "\nother = App('memory:')\nleft, right = FastAPI(), FastAPI()\ninstall(other, right)\n"
    (tmp_path / "several.py").write_text(WEB.replace("install(app, api)", "") + more)
    found = find("several.py")
    assert (found.api_name, found.app is vars(sys.modules["several"])["other"]) == ("right", True)
    assert find("several.py:app").api_name == "api"


@pytest.mark.parametrize("url", ["sqlite:///shop.db", "postgresql://ada:secret@localhost/shop", "memory:"])
def test_the_url_of_a_store_is_no_app_and_its_password_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is the URL of a store") as told:
        parse(url)
    assert "secret" not in str(told.value)


def test_the_file_of_a_store_is_told_with_its_url(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    with pytest.raises(ConfigurationError, match=r"no Python file\. .* sqlite:///shop\.db$"):
        parse("shop.db")


@pytest.mark.parametrize(("said", "missing"), [("shop.main:app", "shop"), ("bakery.serving", "bakery.serving")])
def test_a_module_that_is_not_there_is_told_with_where_it_was_looked_for(
    tmp_path: Path, said: str, missing: str
) -> None:
    (tmp_path / "bakery").mkdir()
    (tmp_path / "bakery" / "__init__.py").write_text("")
    with pytest.raises(ConfigurationError, match=f"There is no module {missing} in {tmp_path}"):
        find(said)


def test_a_module_that_the_app_itself_misses_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import nowhere_to_be_found")
    with pytest.raises(ConfigurationError, match=r"app.py:1: ModuleNotFoundError: No module named 'nowhere"):
        find()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"[tool]\ndiptych = 5\n", "diptych is no table"),
        (b"[tool.diptych]\napp = 5\n", "must be a string"),
        (b"[tool.diptych\n", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_pyproject_that_says_nothing_to_understand_is_one_sentence(tmp_path: Path, written: bytes, told: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(written)
    with pytest.raises(ConfigurationError, match=f"^pyproject.toml.* {told}"):
        find()
