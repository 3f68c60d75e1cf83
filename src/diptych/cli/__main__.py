"""`python -m diptych.cli`: the same as `diptych`."""

from diptych.cli.main import main

if __name__ == "__main__":
    main()
