"""Parcels, told as given / when / then."""

import pytest

from diptych import App, id_for
from diptych.testing.scenario import Request, Scenario
from examples.warehouse.main import make_api, make_app
from examples.warehouse.parcels import (
    AddressParcel,
    Destination,
    GoodsPacked,
    PackGoods,
    Parcel,
    ParcelAddressed,
    ParcelRow,
)

TEAPOT = id_for("product", "teapot")
LEEDS, CORK = Destination(city="Leeds", country="United Kingdom"), Destination(city="Cork", country="Ireland")


@pytest.fixture
def parcel() -> Scenario[Parcel]:
    """A parcel that nobody has heard of."""
    app: App = make_app("memory:")
    return Scenario(Parcel, app, api=make_api(app))


def test_a_parcel_is_addressed_and_again_only_if_it_goes_elsewhere(parcel: Scenario[Parcel]) -> None:
    parcel.when(AddressParcel(order_id=parcel.id, destination=LEEDS)).then(ParcelAddressed(destination=LEEDS))
    parcel.when(AddressParcel(order_id=parcel.id, destination=LEEDS)).then_nothing()
    parcel.when(AddressParcel(order_id=parcel.id, destination=CORK)).then(ParcelAddressed(destination=CORK))
    parcel.then_row(ParcelRow, parcel.id, city="Cork", country="Ireland", pieces=0)


def test_goods_may_come_before_the_address(parcel: Scenario[Parcel]) -> None:
    packed = GoodsPacked(product_id=TEAPOT, quantity=2)
    parcel.when(PackGoods(order_id=parcel.id, product_id=TEAPOT, quantity=2)).then(packed)
    parcel.when(AddressParcel(order_id=parcel.id, destination=LEEDS)).then(ParcelAddressed(destination=LEEDS))
    parcel.then_row(ParcelRow, parcel.id, city="Leeds", pieces=2)


def test_parcels_are_listed(parcel: Scenario[Parcel]) -> None:
    parcel.given(ParcelAddressed(destination=LEEDS), GoodsPacked(product_id=TEAPOT, quantity=2))
    parcel.when(Request("GET", f"/parcels/{parcel.id}")).then_status(200, city="Leeds", pieces=2)
    parcel.when(Request("GET", "/parcels")).then_status(200)
    assert [row["order_id"] for row in parcel.result.json()["items"]] == [str(parcel.id)]
