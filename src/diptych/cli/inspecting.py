"""`python -m diptych.cli.inspecting PIPE [APP]`: imports an app, and writes its facts as one line of JSON to a pipe.

Run by `lint/registry.py`, in a process of its own. Rule: nothing is started, opened or made; what the app prints goes
where its output goes, and never into the pipe.
"""

import os
import sys
from pathlib import Path

from diptych.cli.discovery import find
from diptych.errors import ConfigurationError
from diptych.lint.facts import Facts, Fault
from diptych.lint.looking import Looking
from diptych.lint.registry import to_line


def main() -> None:
    """Import, look, tell, and end at once: what the app left running does not matter."""
    pipe, said, me = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None, os.getpid()
    os.set_inheritable(pipe, False)
    told = to_line(_look(said))
    if os.getpid() == me:  # else the app forked while it was imported, and this is the other one
        with os.fdopen(pipe, "wb") as out:
            out.write(told)
    os._exit(0)


def _look(said: str | None) -> Facts | Fault:
    try:
        found = find(said)
        module = found.target.load()
        name = next((name for name, value in vars(module).items() if value is found.app), found.api_name or "app")
        return Looking(found.app, Path.cwd().resolve()).facts(module, name, found.api)
    except ConfigurationError as error:
        message = " ".join(error.problems)
        return Fault(message, is_absent=said is None and message.startswith("No app found"))


if __name__ == "__main__":
    main()
