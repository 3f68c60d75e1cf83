from datetime import UTC, datetime
from typing import Any

from diptych import App

app = App("sqlite:///shop.db")


@app.upcast("order.placed", 1)
def add_channel(payload: dict[str, Any]) -> dict[str, Any]:
    return {**payload, "channel": "web", "known_since": datetime.now(UTC).isoformat()}
