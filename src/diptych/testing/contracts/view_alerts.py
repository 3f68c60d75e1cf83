"""What every view store keeps of alerts: each raised once, updated while it lasts, resolved once.

Rule: however many processes see the same, there is one record, and one of them is told that it made it.
"""

import asyncio
from collections.abc import Callable

from diptych.store.alerts import Firing
from diptych.store.protocols import ViewStore
from diptych.testing.contracts.view_leases import ViewLeasesContract
from diptych.testing.contracts.view_rows import SHOP, STORE, TALLIES

LATE = Firing("tallies", "lag", "tallies is 7 s behind", 7.0)
LATER = LATE._replace(message="tallies is 9 s behind", value=9.0)
BOTH = ("shop", "tallies")


class ViewAlertsContract(ViewLeasesContract):
    """Records of what is wrong."""

    async def test_an_alert_is_raised_updated_and_resolved(self, views: ViewStore) -> None:
        (raised,) = await views.alerts.reconcile([LATE], BOTH, update_after=0)
        assert (raised.change, raised.alert.message, raised.alert.value) == ("raised", LATE.message, 7.0)
        assert raised.alert.raised_at == raised.alert.updated_at > 1_700_000_000_000_000
        assert list(await views.alerts.reconcile([LATE], BOTH, update_after=0)) == []
        (updated,) = await views.alerts.reconcile([LATER], BOTH, update_after=0)
        assert (updated.change, updated.alert.id, updated.alert.value) == ("updated", raised.alert.id, 9.0)
        assert list(await views.alerts.recent(is_open=True)) == [updated.alert]
        (resolved,) = await views.alerts.reconcile([], BOTH, update_after=0)
        assert (resolved.change, resolved.alert.id) == ("resolved", raised.alert.id)
        assert (resolved.alert.resolved_at or 0) >= raised.alert.raised_at
        assert list(await views.alerts.recent(is_open=True)) == []
        assert list(await views.alerts.recent("tallies")) == [resolved.alert]
        assert list(await views.alerts.recent("shop")) == []

    async def test_what_comes_back_is_another_alert(self, views: ViewStore) -> None:
        for firing in ([LATE], [], [LATE]):
            await views.alerts.reconcile(firing, BOTH, update_after=0)
        assert [one.resolved_at is None for one in await views.alerts.recent()] == [True, False]

    async def test_updates_are_rare(self, views: ViewStore) -> None:
        """A lag that grows is no news every second."""
        await views.alerts.reconcile([LATE], BOTH, update_after=60)
        assert list(await views.alerts.reconcile([LATER], BOTH, update_after=60)) == []

    async def test_alerts_of_others_are_left_alone(self, views: ViewStore) -> None:
        stopped = Firing("shop", "stopped", "shop stopped at position 3")
        await views.alerts.reconcile([LATE, stopped], BOTH, update_after=0)
        (resolved,) = await views.alerts.reconcile([], ["tallies"], update_after=0)
        assert resolved.alert.projection == "tallies"
        assert [one.projection for one in await views.alerts.recent(is_open=True)] == ["shop"]

    async def test_many_processes_raise_and_resolve_once(self, storage: Callable[[], ViewStore]) -> None:
        stores = [storage() for _ in range(4)]
        for store in stores:
            await store.open([SHOP, TALLIES], store_id=STORE)
        for firing, change in (([LATE], "raised"), ([], "resolved")):
            told = await asyncio.gather(*(s.alerts.reconcile(firing, BOTH, update_after=0) for s in stores))
            assert [each.change for changes in told for each in changes] == [change]
        for store in stores:
            await store.close()
