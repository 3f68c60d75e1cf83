from decimal import Decimal
from uuid import UUID

from diptych import Command


class PayOrder(Command):
    order_id: UUID
    amount: Decimal
