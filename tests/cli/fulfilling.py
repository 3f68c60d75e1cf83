"""The shop with its saga and a reaction, either of which can be poisoned, for the command line."""

from typing import Final

from diptych import App, Metadata, on
from tests.sagas import shop
from tests.sagas.shop import OrderPaid, OrderPlaced, shop_app

FULFILLING: Final = """
from tests.cli.fulfilling import service

app = service("{url}")
"""

poisoned: set[str] = set()


class Fulfilment(shop.Fulfilment):
    """Cannot take a payment while that is poisoned."""

    @on
    def paid(self, event: OrderPaid) -> None:
        """Ship, or fail."""
        if "paid" in poisoned:
            raise ValueError("poison")
        shop.Fulfilment.paid(self, event)


def service(url: str) -> App:
    """The shop."""
    app = shop_app(url, saga=Fulfilment)

    @app.reaction(attempts=1)
    async def send_receipt(event: OrderPlaced, meta: Metadata) -> None:
        if "receipt" in poisoned:
            raise ValueError(f"poison in {meta.stream.id}")

    return app
