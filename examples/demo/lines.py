"""Order lines of a CSV file, plain or gzipped, gathered into invoices.

Rule: this file knows the columns; what becomes of an invoice is decided in `importing.py`.
"""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import Final, TextIO, TypeVar, cast
from zoneinfo import ZoneInfo

COLUMNS: Final = (
    "invoice_no", "invoiced_at", "stock_code", "description", "quantity", "unit_price_gbp", "customer_id", "country",
)  # fmt: skip

_MOST: Final = 10_000_000
N = TypeVar("N", int, Decimal)


class FileError(Exception):
    """The file cannot be imported at all; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file. `number` is that of the line in the file, the header being 1."""

    number: int
    invoice: str
    at: datetime
    code: str
    description: str
    quantity: int
    price: Decimal
    customer: str
    country: str

    @property
    def amount(self) -> Decimal:
        """What the line adds to the total of the file."""
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class Invoice:
    """The lines of the file that follow each other and carry the same invoice number."""

    number: str
    lines: tuple[Line, ...]

    @property
    def is_credit_note(self) -> bool:
        """Whether money is given back."""
        return self.number.startswith("C")


def read_invoices(path: Path) -> list[Invoice]:
    """Read a whole file. :raises FileError: it is not there, has other columns, or a line makes no sense."""
    try:
        with _open(path) as file:
            lines = list(_lines(file))
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 ({error.reason}, byte {error.start}). Save it as UTF-8.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise FileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not lines:
        raise FileError(f"{path} has a header and no lines.")
    invoices = [Invoice(number, tuple(group)) for number, group in groupby(lines, lambda line: line.invoice)]
    if len({invoice.number for invoice in invoices}) < len(invoices):
        raise FileError(f"{path}: the lines of one invoice are apart. Sort the file by invoice_no first.")
    return invoices


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _lines(file: TextIO) -> Iterator[Line]:
    rows = csv.DictReader(file)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise FileError(f"The file has no column {', '.join(missing)}. Its header must name: {', '.join(COLUMNS)}.")
    zone = ZoneInfo("Europe/London")
    for row in rows:
        try:
            yield Line(
                rows.line_num,
                row["invoice_no"],
                datetime.fromisoformat(row["invoiced_at"]).replace(tzinfo=zone),
                row["stock_code"],
                row["description"].strip(),
                _number(row["quantity"], int),
                _number(row["unit_price_gbp"], Decimal),
                row["customer_id"],
                row["country"],
            )
        except (ValueError, AttributeError, TypeError) as error:
            raise FileError(f"Line {rows.line_num} makes no sense: {error}. Mend it, or take it out.") from error


def _number(text: str, kind: type[N]) -> N:
    """Read a number. :raises ValueError: it is none, or one that no shop has to do with."""
    try:
        number = kind(text)
        if abs(number) < _MOST:
            return number
    except (ValueError, InvalidOperation):
        pass
    raise ValueError(f"{text[:40]!r} is no number below {_MOST:,}")
