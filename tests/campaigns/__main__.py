"""The long campaigns: `python -m tests.campaigns NAME`; without a name, it lists them."""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TypeAlias

from diptych.store.protocols import StoreSettings
from tests.campaigns import (
    away,
    brokers,
    corruption,
    crash,
    failover,
    fulfilment,
    outages,
    outside,
    poison,
    power,
    rebuild,
    sagas,
    service,
    torture,
    workload_bank,
    zombies,
)
from tests.campaigns.history import Violation
from tests.campaigns.mutants import session, trying
from tests.campaigns.mutants.trying import Plan
from tests.campaigns.stores import DATABASES, fresh_stores, plain_database, sqlite_database, store_at
from tests.campaigns.workloads import WORKLOADS
from tests.nats_servers import a_cluster
from tests.postgres import Server
from tests.postgres_servers.pair import running_pair


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_crash(options: argparse.Namespace) -> None:
    """Kill, or break disk or network, at every k-th call of each workload, or at a random share of them."""
    if options.database == "sqlite":
        sweep_all(options, None, (crash.KILL, crash.FULL, crash.BROKEN))
        return
    server = Server()
    try:
        sweep_all(options, server, (crash.KILL, crash.CUT))
    finally:
        server.remove()


def sweep_all(options: argparse.Namespace, server: Server | None, actions: tuple[str, ...]) -> None:
    """One sweep for each workload and action, on files or on a server."""
    random = Random(options.seed)
    for workload in [options.workload] if options.workload else WORKLOADS:
        with crash.started(workload, server) as sweep:
            counts = sweep.counts()
            say(f"{workload}: {counts}")
            for action in actions if options.errors else (crash.KILL,):
                began, cycles = time.monotonic(), 0
                for syscall, k in crash.points(counts, random, options.share):
                    seen = sweep.cycle(syscall, k, action)
                    cycles += 1
                    if cycles % 50 == 0:
                        say(f"  {cycles} cycles, {(time.monotonic() - began) / cycles:.2f} s each; last: {seen}")
                say(f"{workload}, {action}: {cycles} cycles, nothing lost, nothing doubled")


def run_power(options: argparse.Namespace) -> None:
    """Cut the power at random steps and judge what is left."""

    def judge(broken: list[Violation]) -> None:
        if broken:
            raise AssertionError("\n".join(f"{each.invariant}: {each.what}" for each in broken))

    with tempfile.TemporaryDirectory() as name:
        steps = power.cut_everywhere(
            Path(name), StoreSettings(wal_limit=64 * 1024), options.images, options.seed, judge
        )
    say(f"{options.images} images of {steps} steps, nothing acknowledged was lost")


def run_torture(options: argparse.Namespace) -> None:
    """Several processes, many clients, for as long as you like; then one process alone."""
    plan = torture.Plan(options.seconds, options.clients)
    with tempfile.TemporaryDirectory() as name, DATABASES[options.database]() as url:
        history = asyncio.run(torture.torture_processes(url, Path(name), options.processes, plan))
        say(torture.assert_true(history))
    with DATABASES[options.database]() as url:
        say(torture.assert_true(asyncio.run(torture.torture(store_at(url), plan))))


def run_torture_process(options: argparse.Namespace) -> None:
    """One of the processes that `torture` starts."""
    plan = torture.Plan(options.seconds, options.clients, readers=0, seed=options.seed)
    asyncio.run(torture.torture_into_file(options.url, options.folder, plan))


def run_outside(options: argparse.Namespace) -> None:
    """Hold the rules of `diptych check` against services that have never heard of Diptych; fetches them."""
    with tempfile.TemporaryDirectory() as name:
        for looked in (outside.look(*each) for each in outside.fetched(Path(name))):
            say(f"{looked.name}: {looked.files} files, {looked.files / looked.seconds:.0f} a second")
            assert looked.findings == [], looked.findings


def run_mutants(options: argparse.Namespace) -> None:
    """Change the code in small ways, one at a time, and see whether a test on the memory store or SQLite notices."""
    with tempfile.TemporaryDirectory(prefix="diptych-mutants-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(trying.choose(options.count, Random(options.seed)), folder, options.jobs, options.longest)
        session.try_planned(plan, say)
        found = trying.written(plan)
    share, table = trying.score(found)
    say(table)
    if share < options.least:
        raise SystemExit(f"{share:.1%} were noticed, less than {options.least:.0%}.")


def run_compete(options: argparse.Namespace) -> None:
    """One of two processes that run the same app on the same files."""
    asyncio.run(workload_bank.compete(options.url, options.folder, options.seed, options.commands))


def run_corruption(options: argparse.Namespace) -> None:
    """Damage files in every way, again and again."""
    random = Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        one, other = corruption.Original(Path(name) / "one", 1), corruption.Original(Path(name) / "other", 2)
        for damage in corruption.DAMAGES:
            verdicts = [corruption.damaged(one, other, damage, random) for _ in range(options.times)]
            noticed = sum(verdict.error is not None for verdict in verdicts)
            say(f"{damage.__name__}: {options.times} times, {noticed} noticed, never a wrong event")


def run_service(options: argparse.Namespace) -> None:
    """Kill the whole order service under load, again and again."""
    with tempfile.TemporaryDirectory() as name, DATABASES[options.database]() as url:
        killing = service.kill_under_load(url, Path(name) / "log", options.rounds, Random(options.seed))
        shoppers = asyncio.run(killing)
    say(f"{options.rounds} kills, {len(shoppers.orders)} orders, {shoppers.repeated} repeats; all there, once")


def run_rebuild(options: argparse.Namespace) -> None:
    """Rebuild projections of a service under load, kill the rebuild at random, start it again, compare every row."""
    random, done, kills = Random(options.seed), 0, 0
    for rounds in rebuild.stores_for(options.rounds):
        with sqlite_database() if options.database == "sqlite" else plain_database() as url:
            outcomes = asyncio.run(rebuild.rebuild_under_load(url, rounds, random, tell=say))
        done, kills = done + len(outcomes), kills + sum(each.kills for each in outcomes)
        say(f"{done} rebuilds, killed {kills} times; every row right, no query failed, no effect")


def run_failover(options: argparse.Namespace) -> None:
    """Kill the primary of a synchronous pair under load and promote the standby, again and again."""
    random, often = Random(options.seed), options.cut_off_every
    with running_pair() as pair:
        say(asyncio.run(failover.banking_over_fail_overs(pair, options.rounds, random, cut_off_every=often)))
    elsewhere = Server(is_durable=True)
    try:
        with running_pair() as pair:
            views = elsewhere.url()
            banking = failover.banking_over_fail_overs(pair, options.rounds, random, views=views, cut_off_every=often)
            say(f"rows on another server: {asyncio.run(banking)}")
    finally:
        elsewhere.remove()
    with running_pair() as pair, tempfile.TemporaryDirectory() as name:
        shopping = service.fail_over_under_load(pair, Path(name) / "log", options.rounds, random)
        say(f"the order service: {len(asyncio.run(shopping).orders)} orders, all there, once")
    with running_pair() as pair:
        plan = torture.Plan(1.0, clients=16, seed=options.seed, outages=True)
        say(asyncio.run(failover.torture_over_fail_overs(pair, options.rounds, plan)))


def run_outages(options: argparse.Namespace) -> None:
    """Restart, kill and pause the server, and cut, stall and refuse connections, in a random order."""
    random = Random(options.seed)
    server = Server(is_durable=True)
    try:
        names = [random.choice(list(outages.OUTAGES)) for _ in range(options.rounds)]
        say(asyncio.run(outages.banking_through(server, "diptych", names, random)))
    finally:
        server.remove()


def run_brokers(options: argparse.Namespace) -> None:
    """Publish to three NATS servers, and kill the one that leads, again and again."""
    with a_cluster() as cluster:
        found = asyncio.run(brokers.publish_under_kills(cluster, options.rounds, Random(options.seed), say))
    say(
        f"{found.kills} leaders killed, {found.messages} messages confirmed and {found.copies} copies there, "
        f"{found.failed} batches sent again; nothing lost, of each key in order"
    )


def run_away(options: argparse.Namespace) -> None:
    """Take three NATS servers away for a while, with commands going on, and see that memory is flat meanwhile."""
    with DATABASES[options.database]() as url, a_cluster() as cluster:
        found = asyncio.run(away.endure(url, cluster, options.seconds, say))
    assert found.end <= 1.1 * found.warm, f"memory grew from {found.warm:.0f} to {found.end:.0f} MB"
    assert found.caught_up <= 1.3 * found.warm, f"catching up took {found.caught_up:.0f} MB, {found.warm:.0f} before"
    say(
        f"{found.commands:,} commands, all told once and in order; away for {options.seconds:.0f} s with "
        f"{found.away / found.before:.2f} of the commands a second before, "
        f"memory {found.warm:.0f} MB, {found.end:.0f} at the end, {found.caught_up:.0f} caught up"
    )


def run_sagas(options: argparse.Namespace) -> None:
    """Kill and stop workers that carry orders, and see that each order goes one way, and only once."""
    with DATABASES[options.database]() as url:
        say(str(asyncio.run(sagas.fulfil_under_kills(url, options.rounds, Random(options.seed)))))


def run_zombies(options: argparse.Namespace) -> None:
    """Stop workers of projections past their lease, wake them up, and see that nothing late takes effect."""
    moments: list[zombies.Moment] = ["any", "before", "inside"]
    with DATABASES[options.database]() as url:
        patient = f"{url}{'&' if '?' in url else '?'}lock_timeout=2"
        stopping = zombies.stop_and_wake(patient, islice(cycle(moments), options.rounds), Random(options.seed))
        say(str(asyncio.run(stopping)))


def run_takeover(options: argparse.Namespace) -> None:
    """Kill workers of projections, and measure how long it takes until others have their lanes and have caught up."""
    for is_elsewhere in (False, True):
        with DATABASES[options.database]() as url:
            killing = zombies.kill_and_take_over(
                url, options.rounds, Random(options.seed), options.lease, is_elsewhere=is_elsewhere
            )
            where = "as of another machine" if is_elsewhere else "on one machine"
            say(f"{where}, lease {options.lease:g} s: {asyncio.run(killing)}")


def run_poison(options: argparse.Namespace) -> None:
    """Have one of so many events raise, hang or end the process, at every position, in a projection of either kind."""
    random = Random(options.seed)
    positions = [k for k in range(1, poison.EVENTS + 1) if random.random() < options.share]
    with fresh_stores(options.database) as fresh:
        for number, case in enumerate(poison.cases(random, positions), 1):
            if number <= options.after:
                continue
            with fresh() as url, tempfile.TemporaryDirectory() as name:
                asyncio.run(poison.poison(url, Path(name), case, random))
            if number % 50 == 0:
                say(f"  {number} cases; last: {case}")
    say(f"poison at {len(positions)} positions, 12 ways each: all told, mended or left out; nothing else was touched")


def run_fulfilment(options: argparse.Namespace) -> None:
    """Have orders paid in advance and shipped, by a provider that is not well and workers that are killed."""
    with DATABASES[options.database]() as url:
        plan = fulfilment.Plan(options.orders, every=options.every, seed=options.seed)
        say(asyncio.run(fulfilment.fulfil(url, plan, say=say)))


Jobs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def job(jobs: Jobs, name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    """Add one campaign to the command line."""
    added = jobs.add_parser(name, help=run.__doc__)
    added.set_defaults(run=run)
    added.add_argument("--seed", type=int, default=1)
    return added


def add_those_of_projections(jobs: Jobs) -> None:
    """Add the campaigns against workers of projections."""
    for name, run, rounds in (
        ("rebuild", run_rebuild, 500),
        ("zombies", run_zombies, 50),
        ("sagas", run_sagas, 200),
        ("takeover", run_takeover, 20),
    ):
        working = job(jobs, name, run)
        working.add_argument("--rounds", type=int, default=rounds)
        working.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    working.add_argument("--lease", type=float, default=5.0, help="in seconds")
    fulfilling = job(jobs, "fulfilment", run_fulfilment)
    fulfilling.add_argument("--orders", type=int, default=5000)
    fulfilling.add_argument("--every", type=int, default=150, help="events from one kill to the next, on average")
    fulfilling.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    job(jobs, "outside", run_outside)
    job(jobs, "brokers", run_brokers).add_argument("--rounds", type=int, default=50)
    leaving = job(jobs, "away", run_away)
    leaving.add_argument("--seconds", type=float, default=180.0, help="that the broker is away")
    leaving.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    changing = job(jobs, "mutants", run_mutants)
    changing.add_argument("--count", type=int, default=500)
    changing.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    changing.add_argument(
        "--folder", type=Path, help="keeps what was learned and the verdicts; the next run goes on there"
    )
    changing.add_argument("--longest", type=float, default=60.0, help="seconds of tests for one change")
    changing.add_argument("--least", type=float, default=0.85, help="the share that must be noticed")
    poisoning = job(jobs, "poison", run_poison)
    poisoning.add_argument("--share", type=float, default=1.0, help="of all positions; 1.0 is every one")
    poisoning.add_argument("--after", type=int, default=0, help="of the cases of this seed, those that were tried")
    poisoning.add_argument("--database", choices=sorted(DATABASES), default="sqlite")


def main() -> None:
    """Read the command line and run one campaign; a broken invariant ends it with a traceback that names it."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    jobs = parser.add_subparsers(required=True)
    add_those_of_projections(jobs)
    crashing = job(jobs, "crash", run_crash)
    crashing.add_argument("--workload", choices=sorted(WORKLOADS))
    crashing.add_argument("--share", type=float, default=1.0, help="of all points; 1.0 is every one")
    crashing.add_argument("--errors", action="store_true", help="also failing calls at every point")
    crashing.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    job(jobs, "power", run_power).add_argument("--images", type=int, default=20_000)
    competing = job(jobs, "compete", run_compete)
    competing.add_argument("url")
    competing.add_argument("folder", type=Path)
    competing.add_argument("--commands", type=int, default=1000)
    job(jobs, "corruption", run_corruption).add_argument("--times", type=int, default=1000)
    serving = job(jobs, "service", run_service)
    serving.add_argument("--rounds", type=int, default=100)
    serving.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
    failing = job(jobs, "failover", run_failover)
    failing.add_argument("--rounds", type=int, default=200)
    failing.add_argument("--cut-off-every", type=int, default=3, help="1: every standby is cut off before")
    job(jobs, "outages", run_outages).add_argument("--rounds", type=int, default=200)
    for name, run in (("torture", run_torture), ("torture-process", run_torture_process)):
        torturing = job(jobs, name, run)
        torturing.add_argument("--seconds", type=float, default=300)
        torturing.add_argument("--clients", type=int, default=32)
        if name == "torture":
            torturing.add_argument("--processes", type=int, default=4)
            torturing.add_argument("--database", choices=sorted(DATABASES), default="sqlite")
        else:
            torturing.add_argument("url")
            torturing.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
