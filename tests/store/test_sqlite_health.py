"""What `diptych doctor` says of files, the disk and the library, at each bound."""

import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import apsw
import pytest

from diptych.store.health import Check
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite import health
from diptych.store.sqlite.health import checks

Usage = namedtuple("Usage", "total used free")


def looked(folder: Path, settings: StoreSettings = StoreSettings()) -> dict[str, Check]:  # noqa: B008 - a constant
    """Every check of the files in a folder, by name."""
    return {each.name: each for each in checks(str(folder / "shop.db"), str(folder / "shop.views.db"), settings)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files that nobody wrote to yet."""
    for name in ("shop.db", "shop.views.db"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_all_is_well_where_all_is_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TOO_FAST", 0.0)
    monkeypatch.setattr(health, "_SLOW", 1000.0)
    found = looked(folder)
    assert {name for name, each in found.items() if each.result.name != "OK"} == set()
    assert "the median of 7" in found["sync time"].detail
    assert found["synchronous"].detail == "full: every commit waits for the disk"
    chosen = looked(folder, StoreSettings(synchronous="normal"))["synchronous"]
    assert chosen.detail == "normal: a power cut may lose the last commits, as the URL has chosen"


def test_a_folder_that_is_not_there_is_named_and_nothing_of_it_is_tried(tmp_path: Path) -> None:
    found = looked(tmp_path / "gone")
    assert (found["folder"].result.name, found["folder"].fix) == ("KO", f"mkdir -p {tmp_path / 'gone'}")
    assert {"disk space", "sync time", "events permissions"}.isdisjoint(found)
    assert found["events file"].result.name == found["views file"].result.name == "UNKNOWN"


def test_a_file_that_cannot_be_written_is_told_with_its_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    for path, denied in ((folder / "shop.db", os.W_OK), (folder, os.X_OK)):

        def refuse(what: Any, mode: int, path: Path = path, denied: int = denied) -> bool:
            return access(what, mode) and not (str(what) == str(path) and mode & denied)

        monkeypatch.setattr(os, "access", refuse)
        told = looked(folder)["events permissions"]
        assert (told.result.name, told.fix) == ("KO", f"chown it to {os.getuid()}")
        assert f"user {os.getuid()} cannot write it or its folder" in told.detail


@pytest.mark.parametrize(
    ("mode", "is_fine"), [(0o600, True), (0o660, True), (0o664, True), (0o602, False), (0o666, False)]
)
def test_a_file_that_everybody_may_write_is_told(folder: Path, mode: int, is_fine: bool) -> None:
    (folder / "shop.db").chmod(mode)
    told = looked(folder)["events permissions"]
    assert told.result.name == ("OK" if is_fine else "KO")
    assert ("everybody may write it" in told.detail) is not is_fine


@pytest.mark.parametrize(("free", "is_fine"), [(256 * 1024 * 1024, True), (256 * 1024 * 1024 - 1, False)])
def test_some_space_has_to_be_left(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_fine: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free))
    told = looked(folder)["disk space"]
    assert (told.result.name, told.detail) == ("OK" if is_fine else "KO", f"268.4 MB free in {folder}")


@pytest.mark.parametrize(("size", "is_fine"), [(2000, True), (2001, False), (0, True)])
def test_a_log_beside_the_file_is_cleared_now_and_then(folder: Path, size: int, is_fine: bool) -> None:
    (folder / "shop.db-wal").write_bytes(bytes(size))
    settings = StoreSettings(wal_limit=1000)
    assert looked(folder, settings)["events WAL"].result.name == ("OK" if is_fine else "KO")


def test_a_sync_that_is_slow_or_none_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for too_fast, slow, result, why in (
        (0.0, -1.0, "KO", "the median of 7"),
        (1000.0, 1000.0, "UNKNOWN", "no disk is that fast"),
    ):
        monkeypatch.setattr(health, "_TOO_FAST", too_fast)
        monkeypatch.setattr(health, "_SLOW", slow)
        told = looked(folder)["sync time"]
        assert (told.result.name, why in told.detail) == (result, True)

    def full(**_: Any) -> Any:
        raise OSError("no space left")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    told = looked(folder)["sync time"]
    assert (told.result.name, "no space left" in told.detail) == ("UNKNOWN", True)
    assert {path.name for path in folder.iterdir()} == {"shop.db", "shop.views.db"}


@pytest.mark.parametrize(
    ("version", "is_fine"), [("3.51.3", True), ("3.52.0", True), ("3.51.2", False), ("3.9.9", False)]
)
def test_a_library_that_could_damage_a_file_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_fine: bool
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    told = looked(folder)["SQLite"]
    assert (told.result.name, told.detail) == ("OK" if is_fine else "KO", version)


@pytest.mark.parametrize(
    ("options", "result", "detail"),
    [
        (("THREADSAFE=1", "ENABLE_FTS5"), "OK", "THREADSAFE=1, 2 options"),
        (("ENABLE_FTS5",), "OK", "THREADSAFE unknown, 1 options"),
        (("THREADSAFE=0", "OMIT_WAL"), "KO", "built with OMIT_WAL, THREADSAFE=0"),
    ],
)
def test_a_library_that_was_built_without_what_is_needed_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], result: str, detail: str
) -> None:
    monkeypatch.setattr(apsw, "compile_options", options)
    told = looked(folder)["SQLite options"]
    assert (told.result.name, told.detail) == (result, detail)
