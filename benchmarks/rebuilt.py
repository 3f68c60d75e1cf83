"""The app whose projection `rebuild` builds again, as the command line finds it: over the store in BENCH_URL."""

import os

from benchmarks import shop

app = shop.shop(os.environ.get("BENCH_URL", "memory:"))
