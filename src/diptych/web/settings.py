"""The limits of the web front, in one frozen object."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What an operator may choose of the HTTP front. Sizes are in bytes, times in seconds."""

    body_limit: int = 1_048_576  # of every request body; more is answered with 413
    json_depth: int = 32  # how deeply arrays and objects may be nested
    fresh_within: float = 1.0  # how long a request with Diptych-After waits before it is answered as it is
    lag_limit: float = 30.0  # a projection further behind than this makes /health/ready fail
    health_path: str = "/health"
    metrics_path: str | None = "/metrics"  # for Prometheus, if its client is installed; None: nowhere
