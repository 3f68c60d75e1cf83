"""Loads aggregates and takes in new ones, for the command being handled."""

from typing import Generic, TypeVar, cast
from uuid import UUID

from diptych.errors import AggregateNotFoundError
from diptych.write.aggregate import Aggregate
from diptych.write.unit_of_work import current

A = TypeVar("A", bound=Aggregate)


class Repository(Generic[A]):
    """Ask for it as a parameter: `orders: Repository[Order]`. A stateless handle, valid inside a command.

    What its aggregates record is stored when the handler returns: everything of the command, or nothing. Loading the
    same id twice in one command gives the same object.
    """

    def __init__(self, aggregate: type[A]) -> None:
        self._aggregate = aggregate

    async def get(self, id: UUID) -> A:
        """Return the aggregate with this id. :raises AggregateNotFoundError: nothing was ever recorded under it."""
        found = await current().load(self._aggregate, id)
        if found is None:
            raise AggregateNotFoundError(self._aggregate.__name__, id)
        return cast(A, found)

    async def get_or_none(self, id: UUID) -> A | None:
        """Return the aggregate with this id, or None."""
        return cast(A | None, await current().load(self._aggregate, id))

    async def get_or_new(self, id: UUID) -> A:
        """Return the aggregate with this id, or a new one that is already taken in."""
        found = await self.get_or_none(id)
        if found is None:
            found = self._aggregate(id)
            current().add(found)
        return found

    def add(self, aggregate: A) -> None:
        """Take in a new aggregate.

        :raises ConflictError: this command has loaded one with the same id; or, at commit, somebody else stored one.
        """
        current().add(aggregate)
