"""What `diptych check` does.

Rule: findings go to stdout in the form that was asked for; how many there are is talk.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import unified_diff
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from diptych.cli.output import is_coloured, talk
from diptych.errors import ConfigurationError
from diptych.lint import baseline
from diptych.lint.cache import FOLDER
from diptych.lint.checking import Checked, check
from diptych.lint.facts import Facts
from diptych.lint.files import write_source
from diptych.lint.findings import Finding, Severity
from diptych.lint.fixing import fixed
from diptych.lint.plugins import all_rules
from diptych.lint.registry import Fault, ask
from diptych.lint.report.documents import as_json, gitlab, junit, sarif
from diptych.lint.report.full import full, severity_of
from diptych.lint.report.lines import concise, github
from diptych.lint.rule import AnyRule
from diptych.lint.rules.table import META
from diptych.lint.settings import Settings, check_rules, read_settings
from diptych.lint.sql import is_available

_ROUNDS: Final = 10  # of fixes: those that touch each other wait for the next
_CODES: Final = {"red": "31", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}


class Asked(NamedTuple):
    """What was typed. `fixes` is "", "safe" or "unsafe"; `base` is "", "write" or "prune"."""

    select: Sequence[str]
    ignore: Sequence[str]
    form: str
    fixes: str
    is_diff: bool  # what would be fixed is shown, and nothing done
    base: str


def run(paths: Sequence[Path], asked: Asked, *, app: str | None, is_cached: bool) -> int:
    """Check, and write what was found. Returns the exit code."""
    rules = all_rules()
    settings = _settings(asked.select, asked.ignore, rules)
    if not is_available():
        talk("SQL in strings was not looked at: pip install 'diptych[lint]'.")
    facts = _facts(app or settings.app, Path.cwd() if app else settings.root)
    cache = settings.root / FOLDER / "check.json" if is_cached else None
    look = partial(check, paths or [Path()], rules.values(), settings, facts, cache=cache)
    checked = look()
    if asked.is_diff:
        _differ(checked, is_unsafe=asked.fixes == "unsafe")
    elif asked.fixes:
        checked = _mend(checked, look, settings.root, is_unsafe=asked.fixes == "unsafe")
    file = settings.root / settings.baseline
    known = baseline.read(file)
    sorted_out = baseline.sort_out(checked.findings, known, checked.silent)
    if asked.base == "write":
        return _write(file, known, sorted_out, checked.findings)
    if asked.base == "prune":
        left = Counter(known)
        left.subtract(Counter(sorted_out.stale))
        baseline.write(file, left.elements())
        talk(f"{len(sorted_out.stale)} entries taken out, {left.total()} left.")
    is_told = asked.base != "prune" and not "DP903".startswith(settings.ignore)
    findings = sorted_out.new + (baseline.told(sorted_out.stale, settings.baseline) if is_told else [])
    _show(findings, checked, rules, asked.form)
    _tell(findings, checked, rules, known.total() - len(sorted_out.stale))
    return 1 if any(one.rule != "DP903" for one in findings) else 0


def _settings(select: Sequence[str], ignore: Sequence[str], rules: Mapping[str, AnyRule]) -> Settings:
    known = [*rules, *META]
    found = read_settings(Path.cwd().resolve(), known)
    check_rules([*select, *ignore], ignore, known)
    chosen = tuple(select) or found.select
    return Settings(found.root, chosen, (*found.ignore, *ignore), found.exclude, found.baseline, found.app)


def _facts(app: str | None, folder: Path) -> Facts | None:
    """Ask the app what it is made of, in a process of its own. :raises ConfigurationError: it cannot be asked."""
    if app is None:
        talk("No app was asked how it is wired: name it, --app shop/main.py or [tool.diptych] app.")
        return None
    found = ask([sys.executable, "-m", "diptych.cli.inspecting", app], folder)
    if isinstance(found, Fault):
        raise ConfigurationError(f"{app} cannot be asked how it is wired: {found.sentence}")
    return found


def _differ(checked: Checked, *, is_unsafe: bool) -> None:
    """Show what would be fixed, as a diff."""
    count = 0
    for path, text in checked.texts.items():
        after, done = _fixed(path, checked, is_unsafe=is_unsafe)
        count += len(done)
        sys.stdout.writelines(unified_diff(text.splitlines(True), after.splitlines(True), path, path))
    talk(f"{count} would be fixed.")


def _mend(checked: Checked, look: Callable[[], Checked], root: Path, *, is_unsafe: bool) -> Checked:
    """Carry out fixes until nothing is left to be mended, and return what is found then."""
    count = 0
    for _ in range(_ROUNDS):
        mended = {path: _fixed(path, checked, is_unsafe=is_unsafe) for path in checked.texts}
        done = sum(len(fixes) for _, fixes in mended.values())
        if not done:
            break
        count += done
        for path, (after, fixes) in mended.items():
            if fixes:
                write_source(root / path, after)
        checked = look()
    talk(f"{count} fixed.")
    return checked


def _fixed(path: str, checked: Checked, *, is_unsafe: bool) -> tuple[str, list[Finding]]:
    mine = [one for one in checked.findings if one.place.path == path]
    return fixed(checked.texts[path], mine, is_unsafe=is_unsafe)


def _write(file: Path, known: Counter[baseline.Entry], sorted_out: baseline.Sorted, findings: Sequence[Finding]) -> int:
    """Write a baseline. From one that is there only what is mended is taken: a part of the project keeps the rest."""
    entries = baseline.entries_of(findings)
    if file.exists():
        new = (entries - known).total()
        if new:
            raise ConfigurationError(
                f"{file.name} exists, and a baseline only shrinks: {new} findings are not in it. "
                "Mend them, or ignore them where they are with a reason."
            )
        entries = known - Counter(sorted_out.stale)
    baseline.write(file, entries.elements())
    talk(f"{entries.total()} findings written to {file.name}.")
    return 0


def _show(findings: Sequence[Finding], checked: Checked, rules: Mapping[str, AnyRule], form: str) -> None:
    forms: Mapping[str, Callable[[], str]] = {
        "full": lambda: full(findings, checked.texts, rules, _paint if is_coloured() else _plain),
        "concise": lambda: concise(findings, rules),
        "github": lambda: github(findings, rules),
        "json": lambda: as_json(findings, rules),
        "sarif": lambda: sarif(findings, rules, version("diptych")),
        "gitlab": lambda: gitlab(findings, rules),
        "junit": lambda: junit(findings, len(checked.texts)),
    }
    if text := forms[form]():
        print(text)


def _tell(findings: Sequence[Finding], checked: Checked, rules: Mapping[str, AnyRule], hidden: int) -> None:
    files = "1 file" if len(checked.texts) == 1 else f"{len(checked.texts)} files"
    known = f", {hidden} known from the baseline" if hidden else ""
    if not findings:
        talk(f"{files} checked, nothing found{known}.")
        return
    counts = Counter(severity_of(one, rules) for one in findings)
    parts = [f"{counts[each]} {each}{'s' if counts[each] > 1 else ''}" for each in Severity if counts[each]]
    talk(f"\n{files} checked: {', '.join(parts)}{known}. `diptych rule {findings[0].rule}` tells more.")


def _paint(text: str, style: str) -> str:
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def _plain(text: str, style: str) -> str:
    return text
