"""Where `diptych` starts, and `python -m diptych.cli`.

Rule: nothing is imported before somebody waits for Ctrl-C, for most of a start is imports.
"""

import sys


def main() -> None:
    """Run the command line; interrupted, it ends without a word."""
    try:
        from diptych.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
