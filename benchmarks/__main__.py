"""`python -m benchmarks`: run workloads and print the table."""

import argparse
import asyncio
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import machine, report
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
    "growth",
    "start",
)


def workloads() -> list[Workload]:
    """Every workload, in the order of `performance.md`."""
    return [workload for module in MODULES for workload in import_module(f"benchmarks.{module}").WORKLOADS]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Diptych beside the raw driver.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="scale", action="store_const", const="quick", help="under two minutes; for CI")
    size.add_argument("--full", dest="scale", action="store_const", const="full", help="growth to 10 million events")
    size.add_argument("--tiny", dest="scale", action="store_const", const="tiny", help="only shows that it works")
    parser.add_argument("--peers", action="store_true", help="also run the peers that are installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every figure")
    parser.add_argument("--folder", type=Path, help="where to put the databases; must be on a disk")
    parser.add_argument("keys", nargs="*", metavar="W1", help="run only these")
    parser.set_defaults(scale="normal")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run, print, write; 0 when every goal is reached."""
    chosen = arguments(given)
    known = workloads()
    wanted = {key.lower() for key in chosen.keys} or {workload.key.lower() for workload in known}
    unknown = wanted - {workload.key.lower() for workload in known}
    if unknown:
        print(
            f"No workload {', '.join(sorted(unknown))}. There are {', '.join(w.key for w in known)}.", file=sys.stderr
        )
        return 2
    scale, folder = Scale(chosen.scale), machine.disk_folder(chosen.folder)
    facts = machine.describe(folder)
    print(f"databases in {folder} ({facts['disk']}); {facts['durability']}", file=sys.stderr)
    chosen_workloads = [workload for workload in known if workload.key.lower() in wanted]
    outcomes = asyncio.run(
        run_all(
            chosen_workloads, scale, folder, with_peers=chosen.peers, tell=lambda line: print(line, file=sys.stderr)
        )
    )
    report.show(outcomes, sys.stdout)
    if chosen.json:
        report.write(chosen.json, outcomes, scale, facts)
    return report.exit_code(outcomes, scale)


if __name__ == "__main__":
    sys.exit(main())
