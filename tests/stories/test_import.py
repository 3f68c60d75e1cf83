"""A file of order lines is imported through commands: everything in it is accounted for, and twice is once."""

from decimal import Decimal
from pathlib import Path

import pytest

from examples.demo.checking import compare
from examples.demo.importing import Import
from examples.demo.lines import COLUMNS, FileError, Invoice, read_invoices
from examples.demo.report import Report
from examples.orders.main import make_app

pytestmark = pytest.mark.anyio

REAL = Path(__file__).parents[3] / "shared" / "data" / "online_retail" / "lines.csv.gz"

MADE_UP = [
    "1,2026-01-05T09:00:00,A,Teapot,2,23.50,7,France",
    "1,2026-01-05T09:00:00,A,Teapot,1,20.00,7,France",
    "1,2026-01-05T09:00:00,B,,3,0.1,7,France",
    "2,2026-07-01T00:30:00,B,Mug,100001,1.00,8,Japan",  # more than the domain takes; half past midnight is yesterday
    "2,2026-07-01T00:30:00,B,Mug,4,6.95,8,Japan",
    "C3,2026-07-02T10:00:00,A,Teapot,-1,23.50,7,France",
    "4,2026-07-02T11:00:00,C,,5,0,,Norway",  # nothing of this invoice can be sold
    "5,2026-07-02T12:00:00,A,Teapot,1,25.00,,Norway",  # no customer
    "6,2026-07-02T13:00:00,A,Teapot,-9,25.00,7,France",  # negative, and no credit note
]


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "lines.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]), encoding="utf-8")
    return path


async def imported(invoices: list[Invoice], url: str) -> tuple[Report, int]:
    """Import, compare with the file, and return the report and the number of events in the log."""
    app = make_app(url)
    async with app:
        report = await Import(app.commands, invoices, lambda what, count: None).run()
        await app.caught_up(30)
        for comparison in await compare(invoices, app.queries):
            assert comparison.differences == []
            assert comparison.compared > 0
        return report, (await app.status()).head


async def test_every_line_is_accepted_or_refused_with_a_reason(tmp_path: Path) -> None:
    report, _ = await imported(read_invoices(written(tmp_path, MADE_UP[:3] + MADE_UP[4:])), "memory:")
    assert report.is_complete
    assert (report.accepted_lines, report.accepted_amount) == (6, Decimal("96.60"))
    refused = {reason: refusal.lines for reason, refusal in report.refused.items()}
    assert refused == {"unit price: should be greater than 0": 1, "quantity: should be greater than 0": 1}
    assert (report.guest_lines, report.empty_invoices) == (1, 2)
    assert dict(report.done) == {"customers": 3, "products": 3, "deliveries": 2, "orders": 3, "credit notes": 1}


async def test_the_check_notices_what_the_domain_did_not_take(tmp_path: Path) -> None:
    """The comparison goes by the file alone, so a line refused for another reason than the known ones shows."""
    app = make_app("memory:")
    invoices = read_invoices(written(tmp_path, MADE_UP))
    async with app:
        report = await Import(app.commands, invoices, lambda what, count: None).run()
        await app.caught_up(30)
        found = {one.what: len(one.differences) for one in await compare(invoices, app.queries)}
    assert report.is_complete
    assert report.refused["quantity: should be less than or equal to 100000"].first == ["line 5"]
    assert found == {"orders: total": 1, "products: quantity, revenue": 1, "customers: balance": 1, "days: revenue": 1}


async def test_importing_again_changes_nothing(tmp_path: Path) -> None:
    """C1: every command id is made of the file, so a second import is answered as the first."""
    url = f"sqlite:///{tmp_path}/orders.db"
    invoices = read_invoices(written(tmp_path, MADE_UP[:3] + MADE_UP[4:]))
    first, head = await imported(invoices, url)
    second, head_after = await imported(invoices, url)
    assert head_after == head
    assert second.replayed == sum(first.done.values())
    assert sum(second.done.values()) == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(not REAL.exists(), reason="the real order lines are not part of the project")
async def test_real_orders_import_twice_as_once(tmp_path: Path) -> None:
    invoices = read_invoices(REAL)[:60]
    url = f"sqlite:///{tmp_path}/orders.db"
    first, head = await imported(invoices, url)
    assert first.is_complete
    assert (await imported(invoices, url))[1] == head


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["1,2026-01-05T09:00:00,A,Teapot,two,23.50,7,France"], "Line 2 makes no sense"),
        (["1,2026-01-05T09:00:00,A,Teapot,2,NaN,7,France"], "Line 2 makes no sense: 'NaN' is no number below"),
        (["1,2026-01-05T09:00:00,A,Teapot,2,1e999999,7,France"], "is no number below"),
        ([f"1,2026-01-05T09:00:00,A,Teapot,{10**20},1,7,France"], "is no number below"),
        (["1,2026-01-05T09:00:00,A"], "Line 2 makes no sense"),
        ([MADE_UP[0], MADE_UP[5], MADE_UP[1]], "the lines of one invoice are apart"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_as_a_whole(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(FileError, match=says):
        read_invoices(written(tmp_path, lines))


def test_a_file_that_is_not_there_or_has_other_columns_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_invoices(tmp_path / "missing.csv")
    with pytest.raises(FileError, match="has a header and no lines"):
        read_invoices(written(tmp_path, []))
    (tmp_path / "latin.csv").write_text("invoice_no,caf\u00e9", encoding="latin-1")
    with pytest.raises(FileError, match="Save it as UTF-8"):
        read_invoices(tmp_path / "latin.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(FileError, match="has no column invoice_no"):
        read_invoices(tmp_path / "other.csv")
