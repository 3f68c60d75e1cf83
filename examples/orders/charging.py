"""What has money taken and given back: two reactions that ask the payment provider, and note what it says.

The provider is asked until it has answered. To give up earlier would be to keep money that nobody knows of.
"""

from typing import Final

from diptych import CommandBus, IdempotencyKey, Metadata, Module
from examples.orders.payments import DeclinePayment, PaymentRequested, RecordPayment, RecordRefund, RefundRequested
from examples.orders.provider import Charged, PaymentProvider

ATTEMPTS: Final = 100  # from half a second to five minutes apart: most of a working day; then an operator acts

module = Module("charging")


@module.reaction(attempts=ATTEMPTS)
async def charge(
    event: PaymentRequested, meta: Metadata, key: IdempotencyKey, provider: PaymentProvider, commands: CommandBus
) -> None:
    """Have the provider take the money, and note what it says."""
    payment_id = meta.stream.id
    outcome = await provider.charge(payment_id, event.amount, key)
    if isinstance(outcome, Charged):
        await commands.dispatch(RecordPayment(payment_id=payment_id, reference=outcome.reference), command_id=key.id)
    else:
        await commands.dispatch(DeclinePayment(payment_id=payment_id, reason=outcome.reason), command_id=key.id)


@module.reaction(attempts=ATTEMPTS)
async def give_back(
    event: RefundRequested, meta: Metadata, key: IdempotencyKey, provider: PaymentProvider, commands: CommandBus
) -> None:
    """Have the provider give the money back, and note that it did."""
    await provider.refund(event.reference, key)
    await commands.dispatch(RecordRefund(payment_id=meta.stream.id), command_id=key.id)
