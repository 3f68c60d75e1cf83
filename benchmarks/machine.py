"""On what the figures were taken: machine, versions, disk and durability settings, so that they can be judged later."""

import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks.place import Database

_PACKAGES = (
    "diptych",
    "apsw",
    "asyncpg",
    "pydantic",
    "msgspec",
    "fastapi",
    "starlette",
    "uvicorn",
    "eventsourcing",
    "python-cqrs",
)
_NOT_A_DISK = {"tmpfs", "ramfs", "overlay-tmpfs"}


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder is on, as the kernel names it; `unknown` outside Linux."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    inside = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(inside, key=lambda mount: len(mount[0]))[1] if inside else "unknown"


def disk_folder(chosen: Path | None = None) -> Path:
    """Return a folder for temporary databases that is on a disk: a sync to memory would prove nothing."""
    candidates = [chosen] if chosen else [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    for folder in candidates:
        if folder.is_dir() and filesystem(folder) not in _NOT_A_DISK:
            return folder
    tried = ", ".join(f"{folder} ({filesystem(folder)})" for folder in candidates)
    raise SystemExit(f"No folder on a disk for the databases, tried {tried}. Name one with --folder.")


def sync_milliseconds(folder: Path, times: int = 30) -> float:
    """Return the median time of writing and syncing one page: what a commit costs at the very least."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for number in range(times):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), b"\1" * 4096, number * 4096)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken) * 1000


def describe(folder: Path, database: Database) -> dict[str, object]:
    """Return all of it, for the JSON file."""
    facts = database.facts()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": platform.platform(),
            "load": [round(load, 2) for load in os.getloadavg()],
        },
        "disk": {"filesystem": filesystem(folder), "sync_ms": round(sync_milliseconds(folder), 3)},
        "versions": {
            "python": platform.python_version(),
            **facts["versions"],
            **{package: found for package in _PACKAGES if (found := _version(package))},
        },
        "durability": facts["durability"],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
