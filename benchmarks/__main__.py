"""`python -m benchmarks`: run workloads and print the table."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from benchmarks import machine, report
from benchmarks.place import STORES, Database, StoreName
from benchmarks.runner import run_all
from benchmarks.workload import Scale, Workload

MODULES = (
    "w01_append",
    "w02_group",
    "w03_command",
    "w04_catch_up",
    "w05_load",
    "w06_visible",
    "w07_bus",
    "w08_post",
    "w09_get",
    "w10_rebuild",
    "w11_saga",
    "w12_publish",
    "rebuild",
    "growth",
    "start",
)

_ASKED_FOR = frozenset({"rebuild"})  # minutes by itself: only when it is named


def workloads(store: StoreName = "sqlite") -> list[Workload]:
    """Every workload that a store has, in the order of `performance.md`."""
    found = [workload for module in MODULES for workload in import_module(f"benchmarks.{module}").WORKLOADS]
    return [workload.on(store) for workload in found if store in workload.stores]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Diptych beside the raw driver.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="scale", action="store_const", const="quick", help="under two minutes; for CI")
    size.add_argument("--full", dest="scale", action="store_const", const="full", help="growth to 10 million events")
    size.add_argument("--tiny", dest="scale", action="store_const", const="tiny", help="only shows that it works")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="what to run on")
    parser.add_argument("--peers", action="store_true", help="also run the peers that are installed; on SQLite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every figure")
    parser.add_argument("--folder", type=Path, help="where to put the databases; must be on a disk")
    parser.add_argument("keys", nargs="*", metavar="W1", help="run only these; rebuild only runs when it is named")
    parser.set_defaults(scale="normal")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run, print, write; 0 when every goal is reached."""
    chosen = arguments(given)
    if chosen.peers and chosen.store != "sqlite":
        print("The peers run on SQLite. Leave out --peers, or --store.", file=sys.stderr)
        return 2
    known = workloads(chosen.store)
    wanted = {key.lower() for key in chosen.keys} or {workload.key.lower() for workload in known} - _ASKED_FOR
    unknown = wanted - {workload.key.lower() for workload in known}
    if unknown:
        print(
            f"No workload {', '.join(sorted(unknown))}. There are {', '.join(w.key for w in known)}.", file=sys.stderr
        )
        return 2
    scale, folder = Scale(chosen.scale), machine.disk_folder(chosen.folder)
    with _database(chosen.store, folder) as database:
        facts = machine.describe(folder, database)
        say(f"databases in {folder} ({facts['disk']}); {facts['durability']}")
        chosen_workloads = [workload for workload in known if workload.key.lower() in wanted]
        outcomes = asyncio.run(run_all(chosen_workloads, scale, database, with_peers=chosen.peers, tell=say))
    report.show(outcomes, sys.stdout)
    if chosen.json:
        report.write(chosen.json, outcomes, scale, facts)
    return report.exit_code(outcomes, scale)


def say(line: str) -> None:
    """Tell how it goes on."""
    print(line, file=sys.stderr)


@contextmanager
def _database(store: StoreName, folder: Path) -> Iterator[Database]:
    """A place for all the data: this folder, or a server whose data are in it."""
    if store == "sqlite":
        from benchmarks.sqlite.place import SqliteDatabase

        yield SqliteDatabase(folder)
        return
    from benchmarks.postgres.place import SETTINGS, PostgresDatabase
    from diptych.testing.postgres import PostgresServer

    server = PostgresServer(is_durable=True, settings=SETTINGS, parent=folder)
    try:
        yield PostgresDatabase(server)
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main())
