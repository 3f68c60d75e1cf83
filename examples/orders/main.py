"""The order service: `diptych dev examples/orders/main.py`, or `uvicorn examples.orders.main:api`."""

import os
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI

from diptych import App
from diptych.reactions.publisher import Publisher
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
    publishing,
    receipts,
)
from examples.orders.provider import PaymentProvider, provider_at
from examples.orders.reading import figures, order_book

SLICES = (customers, inventory, orders, credit_notes, checkout, payments, order_book, figures)
CARRYING = (fulfilment, charging, receipts)


def make_app(
    url: str,
    provider: Any = None,
    broker: Publisher | None = None,
    mailer: type[receipts.Mailer] = receipts.ConsoleMailer,
) -> App:
    """Put the slices together, over the database at this URL.

    With a provider, orders that were checked out are carried on; with a broker, other services are told of orders.
    """
    app = App(url)
    for part in SLICES:
        app.include(part.module)
    if provider is not None:
        for part in CARRYING:
            app.include(part.module)
        app.provide(PaymentProvider, provider)
        app.provide(receipts.Mailer, mailer)
    if broker is not None:
        app.publish(publishing.messages, broker)
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


def app_of(environment: Mapping[str, str]) -> App:
    """Put the app together as the environment says."""
    database = environment.get("ORDERS_DATABASE", "sqlite:///orders.db")
    provider, broker = environment.get("ORDERS_PROVIDER"), environment.get("ORDERS_NATS")
    takes_money = provider_at(provider) if provider else None
    return make_app(database, takes_money, publishing.broker_at(broker) if broker else None)


app = app_of(os.environ)
api = make_api(app)
