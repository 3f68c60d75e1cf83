"""The order service: `diptych dev examples/orders/main.py`, or `uvicorn examples.orders.main:api`."""

import os
from typing import Any

from fastapi import APIRouter, FastAPI

from diptych import App
from diptych.web import install
from examples.orders import (
    charging,
    checkout,
    credit_notes,
    customers,
    fulfilment,
    inventory,
    orders,
    payments,
    receipts,
)
from examples.orders.provider import PaymentProvider, provider_at
from examples.orders.reading import figures, order_book

SLICES = (customers, inventory, orders, credit_notes, checkout, payments, order_book, figures)
CARRYING = (fulfilment, charging, receipts)


def make_app(url: str, provider: Any = None) -> App:
    """Put the slices together, over the database at this URL; with a provider, checked-out orders are carried on."""
    app = App(url)
    for part in SLICES:
        app.include(part.module)
    if provider is not None:
        for part in CARRYING:
            app.include(part.module)
        app.provide(PaymentProvider, provider)
        app.provide(receipts.Mailer, receipts.ConsoleMailer)
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


takes_money = os.environ.get(
    "ORDERS_PROVIDER"
)  # the URL of a payment provider; without one, what is checked out waits for it
app = make_app(
    os.environ.get("ORDERS_DATABASE", "sqlite:///orders.db"), provider_at(takes_money) if takes_money else None
)
api = make_api(app)
