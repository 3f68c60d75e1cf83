"""`python -m diptych`: the same as `diptych`."""

from diptych.cli.__main__ import main

if __name__ == "__main__":
    main()
