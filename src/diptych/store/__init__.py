"""Where events and rows are kept. `open_stores` in `opening.py` is the only place that chooses a backend."""
