"""The warehouse: a second service, with events and rows of its own. Of the order service it knows the messages only."""

import os

from fastapi import FastAPI

from diptych import App
from diptych.web import install
from examples.warehouse import parcels


def make_app(url: str) -> App:
    """The service over the database at this URL."""
    app = App(url)
    app.include(parcels.module)
    return app


def make_api(app: App) -> FastAPI:
    """Its routes."""
    api = FastAPI(title="Warehouse", description="Hears of orders, and packs parcels.")
    install(app, api)
    api.include_router(parcels.router)
    return api


app = make_app(os.environ.get("WAREHOUSE_DATABASE", "sqlite:///warehouse.db"))
api = make_api(app)
