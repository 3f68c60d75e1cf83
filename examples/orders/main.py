"""The order service: `diptych dev examples/orders/main.py`, or `uvicorn examples.orders.main:api`."""

import os

from fastapi import APIRouter, FastAPI

from diptych import App
from diptych.web import install
from examples.orders import credit_notes, customers, inventory, orders
from examples.orders.reading import figures, order_book

SLICES = (customers, inventory, orders, credit_notes, order_book, figures)


def make_app(url: str) -> App:
    """Put the slices together, over the database at this URL."""
    app = App(url)
    for part in SLICES:
        app.include(part.module)
    return app


def make_api(app: App) -> FastAPI:
    """Put the routes together, in front of an app."""
    api = FastAPI(title="Orders", description="The order service of Diptych's examples.")
    install(app, api)
    routes = APIRouter(prefix="/api/v1")
    for part in SLICES:
        routes.include_router(part.router)
    api.include_router(routes)
    return api


app = make_app(os.environ.get("ORDERS_DATABASE", "sqlite:///orders.db"))
api = make_api(app)
