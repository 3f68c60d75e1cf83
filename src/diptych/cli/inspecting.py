"""The process that `diptych check` asks about an app: `python -m diptych.cli.inspecting APP PIPE`."""

import json
import os
import sys

from diptych.cli.discovery import find
from diptych.errors import DiptychError
from diptych.lint.inspecting import told
from diptych.lint.lock import lock_text


def main() -> None:
    """Import the app and write its facts into a pipe."""
    said, pipe, me = sys.argv[1], int(sys.argv[2]), os.getpid()
    try:
        found = find(said)
        facts = {**told(found.app), "file": str(found.target.path), "lock": lock_text(found.target.path)}
    except DiptychError as error:
        print(f"diptych: {error}", file=sys.stderr)
        sys.exit(2)
    if os.getpid() != me:  # the app forked while it was imported, and this is the other one
        os._exit(0)
    with os.fdopen(pipe, "w", encoding="utf-8") as file:
        json.dump(facts, file)


if __name__ == "__main__":
    main()
