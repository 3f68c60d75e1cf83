"""What was found before, by what it was found in: a file's own text, those that it imports, and the rules themselves.

Rule: it is only ever faster. One that cannot be read is begun anew, one that cannot be written is none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from diptych.lint.findings import Edit, Finding, Fix, Note, Place
from diptych.lint.rule import AnyRule, RegistryRule, Rule

FOLDER: Final = ".diptych_cache"
_FORM: Final = 1


class Cache:
    """Findings by key."""

    def __init__(self, file: Path | None, rules: Iterable[AnyRule]) -> None:
        """Without a file nothing is kept."""
        self._file, self._rules = file, _of_rules(rules)
        self._known = _read(file)
        self._used: dict[str, Any] = {}

    @property
    def is_kept(self) -> bool:
        """Whether there is any use in a key."""
        return self._file is not None

    def findings(self, key: str) -> list[Finding] | None:
        """Return what was found under a key."""
        found = self._known.get(key)
        if found is None:
            return None
        with suppress(TypeError, KeyError, IndexError, ValueError):
            findings = [_finding(each) for each in found]
            self._used[key] = found
            return findings
        return None

    def keep(self, key: str, findings: Sequence[Finding]) -> None:
        """Note what was found under a key."""
        self._used[key] = [_plain(each) for each in findings]

    def key(self, *parts: str) -> str:
        """Return the key of some texts under these rules."""
        return _hash(self._rules, *parts)

    def write(self) -> None:
        """Keep what was used or found in this run, and forget the rest."""
        if self._file is None or self._used == self._known:
            return
        with suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            (self._file.parent / ".gitignore").write_text("*\n")
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps({"form": _FORM, "known": self._used}, separators=(",", ":")), "utf-8")
            part.replace(self._file)


def closures(imported: Mapping[str, Iterable[str]], names: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Return the files that each file imports and those import, itself too, as far as they are in the project.

    `imported` are dotted names by file, `names` the files by the dotted names that they answer to.
    """
    direct = {path: {at for each in dotted if (at := _file_of(each, names))} for path, dotted in imported.items()}
    found: dict[str, frozenset[str]] = {}
    for path in imported:
        seen, waiting = {path}, [path]
        while waiting:
            new = direct[waiting.pop()] - seen
            for each in new:
                if each in found:
                    seen |= found[each]  # all of it at once: in a large circle everything leads to everything
                else:
                    seen.add(each)
                    waiting.append(each)
        found[path] = frozenset(seen)
    return found


def _file_of(dotted: str, names: Mapping[str, str]) -> str | None:
    while dotted:
        if dotted in names:
            return names[dotted]
        dotted = dotted.rpartition(".")[0]
    return None


def _of_rules(rules: Iterable[AnyRule]) -> str:
    """A hash of the rules: of their own files, and of this folder."""
    found = [rule.id for rule in rules]
    files = {Path(__file__).parent}
    for rule in rules:
        check = rule.check if isinstance(rule, Rule) else getattr(rule, "check_all", getattr(rule, "check_facts", None))
        code = getattr(check, "__code__", None)
        if code is not None and not isinstance(rule, RegistryRule):
            files.add(Path(code.co_filename))
    texts = []
    for file in sorted(files):
        for each in sorted(file.rglob("*.py")) if file.is_dir() else [file]:
            if "cases" not in each.parts:
                with suppress(OSError):
                    texts.append(each.read_text("utf-8", errors="replace"))
    return _hash(*found, *texts)


def _hash(*texts: str) -> str:
    made = sha256()
    for text in texts:
        made.update(text.encode(errors="surrogatepass"))
        made.update(b"\0")
    return made.hexdigest()[:32]


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    known = said.get("known") if isinstance(said, dict) and said.get("form") == _FORM else None
    return known if isinstance(known, dict) else {}


def _plain(one: Finding) -> Any:
    return json.loads(json.dumps(one))


def _finding(said: Any) -> Finding:
    rule, place, message, hint, name, label, notes, fix = said
    return Finding(
        rule, Place(*place), message, hint, name, label, tuple(map(_note, notes)), _fix(fix) if fix else None
    )


def _note(said: Any) -> Note:
    return Note(Place(*said[0]), said[1])


def _fix(said: Any) -> Fix:
    title, edits, is_safe, imports = said
    made = tuple(Edit(Place(*place), text) for place, text in edits)
    return Fix(title, made, is_safe, tuple((module, name) for module, name in imports))
