"""The whole contract of an event store, in one class to subclass."""

from diptych.testing.contracts.events_append import AppendContract
from diptych.testing.contracts.events_beside import BesideContract
from diptych.testing.contracts.events_commands import CommandsContract
from diptych.testing.contracts.events_concurrency import ConcurrencyContract
from diptych.testing.contracts.events_inline import InlineContract
from diptych.testing.contracts.events_lasting import LastingContract
from diptych.testing.contracts.events_limits import LimitsContract, WaitContract
from diptych.testing.contracts.events_read import ReadContract


class EventStoreContract(
    AppendContract,
    ReadContract,
    ConcurrencyContract,
    CommandsContract,
    InlineContract,
    BesideContract,
    LimitsContract,
    WaitContract,
    LastingContract,
):
    """Everything an event store promises. Give it a fixture `storage`: a function that returns your store, not open."""
