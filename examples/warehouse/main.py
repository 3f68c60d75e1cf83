"""The warehouse: a second service, with events and rows of its own. Of the order service it knows the messages only."""

import os

from fastapi import FastAPI

from diptych import App
from diptych.reactions.source import Source
from diptych.web import install
from examples.warehouse import parcels, receiving


def make_app(url: str, orders: Source | None = None) -> App:
    """Put the service together, over the database at this URL; it hears of orders from that source."""
    app = App(url)
    app.include(parcels.module)
    if orders is not None:
        app.consume(receiving.inbox(orders))
    return app


def make_api(app: App) -> FastAPI:
    """Put its routes in front of it."""
    api = FastAPI(title="Warehouse", description="Hears of orders, and packs parcels.")
    install(app, api)
    api.include_router(parcels.router)
    return api


broker = os.environ.get("WAREHOUSE_NATS")
app = make_app(
    os.environ.get("WAREHOUSE_DATABASE", "sqlite:///warehouse.db"), receiving.nats_at(broker) if broker else None
)
api = make_api(app)
