"""What settlements pay, and which periods of eight hours have no payment: what is not recorded is no rate of 0."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.book import Book
from assets.accounting.events import Fill, funded_symbol, funding_id
from assets.accounting.funding import payments, said_unbooked, unbooked
from resources.market import FundingRate

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=3)  # settlements are stamped a few of them late


def bought(quantity: int, at: datetime, symbol: str = "AUSDT") -> Fill:
    return Fill(
        f"{symbol}:{at}", at, symbol, Decimal(quantity), Decimal(100), Decimal(0), "o", "r", {"trend": Decimal(1)}
    )


def held(*fills: Fill) -> Book:
    book = Book(Decimal(1_000_000))
    book.apply_all(fills)
    return book


def told(at: datetime, rate: str = "0.0001", mark: str | None = "100", symbol: str = "AUSDT") -> FundingRate:
    return FundingRate(symbol, at, Decimal(rate), None if mark is None else Decimal(mark))


def paid(book: Book, *rates: FundingRate) -> Book:
    book.apply_all(payments(book, rates)[0])
    return book


def missing(book: Book, hours: int = 24) -> list[str]:
    return [f"{symbol} {due:%H:%M}" for due, symbol in unbooked(book, MIDNIGHT, MIDNIGHT + hours * HOUR)]


def test_longs_pay_and_shorts_receive_a_positive_rate_on_what_was_held_before_it() -> None:
    at = MIDNIGHT + 8 * HOUR
    book = held(bought(50, MIDNIGHT), bought(-30, MIDNIGHT, "BUSDT"), bought(1_000, at))
    events, unusable = payments(book, [told(at), told(at, symbol="BUSDT"), told(at, symbol="CUSDT")])
    assert [(event.symbol, event.quantity, event.amount) for event in events] == [
        ("AUSDT", 50, Decimal("-0.5")),
        ("BUSDT", -30, Decimal("0.3")),
    ]
    assert unusable == []


@pytest.mark.parametrize(("rate", "mark"), [("0.0001", None), ("NaN", "100"), ("0.0001", "NaN"), ("Infinity", "100")])
def test_what_nothing_can_be_booked_of_is_named_and_not_0(rate: str, mark: str | None) -> None:
    book, unlike = held(bought(50, MIDNIGHT)), told(MIDNIGHT + 8 * HOUR, rate, mark)
    assert payments(book, [unlike]) == ([], [unlike])
    assert missing(paid(book, unlike), 8) == ["AUSDT 08:00"]


def test_a_payment_that_the_book_knows_is_not_made_again() -> None:
    book = paid(held(bought(50, MIDNIGHT)), told(MIDNIGHT + 8 * HOUR))
    assert payments(book, [told(MIDNIGHT + 8 * HOUR)]) == ([], [])


def test_each_period_without_a_payment_is_missing_and_a_rate_of_0_is_one() -> None:
    book = held(bought(50, MIDNIGHT), bought(-30, MIDNIGHT, "BUSDT"))
    assert missing(book) == [f"{symbol} {due}" for due in ("08:00", "16:00", "00:00") for symbol in ("AUSDT", "BUSDT")]
    assert missing(paid(book, told(MIDNIGHT + 8 * HOUR, "0"))) == [
        "BUSDT 08:00", "AUSDT 16:00", "BUSDT 16:00", "AUSDT 00:00", "BUSDT 00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("every", [1, 2, 4, 8])
@pytest.mark.parametrize("late", [timedelta(0), MOMENT, timedelta(seconds=59)])
def test_a_contract_that_settles_more_often_and_a_moment_late_misses_nothing(every: int, late: timedelta) -> None:
    book = held(bought(50, MIDNIGHT + 5 * HOUR))
    assert missing(paid(book, *(told(MIDNIGHT + hour * HOUR + late) for hour in range(0, 25, every)))) == []


def test_nothing_is_due_on_what_was_not_held_at_the_end_of_a_period() -> None:
    at = MIDNIGHT + 8 * HOUR
    assert missing(held(bought(50, MIDNIGHT), bought(-50, at - MOMENT))) == []
    assert missing(held(bought(50, at))) == ["AUSDT 16:00", "AUSDT 00:00"]
    assert missing(held(bought(50, MIDNIGHT)), 7) == []
    assert missing(Book(Decimal(1))) == []


@given(
    st.lists(st.tuples(st.integers(0, 47), st.integers(-3, 3).filter(bool)), max_size=8),
    st.sets(st.integers(1, 6)),
)
def test_of_every_period_a_payment_is_booked_or_its_lack_is_named(
    trades: list[tuple[int, int]], recorded: set[int]
) -> None:
    """Held at the end of a period: one of the two, never both and never neither."""
    fills = [bought(quantity, MIDNIGHT + hour * HOUR + MOMENT * n) for n, (hour, quantity) in enumerate(sorted(trades))]
    book = paid(held(*fills), *(told(MIDNIGHT + 8 * number * HOUR) for number in sorted(recorded)))
    booked = set(book.settlements().get("AUSDT", []))
    named = {due for due, _ in unbooked(book, MIDNIGHT, MIDNIGHT + 48 * HOUR)}
    for number in range(1, 7):
        due = MIDNIGHT + 8 * number * HOUR
        owed = sum(fill.quantity for fill in fills if fill.time < due) != 0
        assert (due in booked, due in named) == (owed and number in recorded, owed and number not in recorded)


def test_what_is_missing_is_said_once_for_each_symbol() -> None:
    book = held(bought(50, MIDNIGHT), bought(-30, MIDNIGHT + 9 * HOUR, "BUSDT"))
    assert said_unbooked(unbooked(book, MIDNIGHT, MIDNIGHT + 24 * HOUR)) == [
        "funding of AUSDT: 3 not booked, from 2026-11-20T08:00 to 2026-11-21T00:00 UTC: not recorded, or without a "
        "usable rate or mark",
        "funding of BUSDT: 2 not booked, from 2026-11-20T16:00 to 2026-11-21T00:00 UTC: not recorded, or without a "
        "usable rate or mark",
    ]


def test_the_symbol_of_a_payment_is_read_from_its_id_and_of_nothing_else() -> None:
    assert funded_symbol(funding_id("AUSDT", MIDNIGHT)) == "AUSDT"
    assert funded_symbol("baseline:AUSDT") is None
