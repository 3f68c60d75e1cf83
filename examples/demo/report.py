"""What became of a file: counted while it is imported, told at the end."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from examples.demo.lines import Line


@dataclass(slots=True)
class Refusal:
    """All lines refused for one reason."""

    lines: int = 0
    amount: Decimal = Decimal(0)
    first: list[str] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Count a line, and remember the first few."""
        self.lines += 1
        self.amount += line.amount
        if len(self.first) < 3:
            self.first.append(f"line {line.number}")


@dataclass(slots=True)
class Report:
    """Counts of one import. `replayed` are commands that had taken effect in an earlier import."""

    file_lines: int = 0
    file_amount: Decimal = Decimal(0)
    accepted_lines: int = 0
    accepted_amount: Decimal = Decimal(0)
    guest_lines: int = 0
    empty_invoices: int = 0
    refused: dict[str, Refusal] = field(default_factory=lambda: defaultdict(Refusal))
    done: Counter[str] = field(default_factory=Counter)
    replayed: int = 0

    def accept(self, lines: Sequence[Line]) -> None:
        """Count lines that became part of an order or a credit note."""
        self.accepted_lines += len(lines)
        self.accepted_amount += sum((line.amount for line in lines), Decimal(0))
        self.guest_lines += sum(not line.customer for line in lines)

    @property
    def refused_lines(self) -> int:
        """Lines that the domain refused, for whatever reason."""
        return sum(refusal.lines for refusal in self.refused.values())

    @property
    def refused_amount(self) -> Decimal:
        """What the refused lines would have added to the total."""
        return sum((refusal.amount for refusal in self.refused.values()), Decimal(0))

    @property
    def is_complete(self) -> bool:
        """Whether every line of the file was either accepted or refused, and the money adds up."""
        lines = self.accepted_lines + self.refused_lines
        return lines == self.file_lines and self.accepted_amount + self.refused_amount == self.file_amount
