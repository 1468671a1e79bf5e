"""What settlements pay, and which periods of eight hours have no payment: what is not recorded is no rate of 0."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.book import Book
from assets.accounting.events import Fill, funded_symbol, funding_id
from assets.accounting.funding import DELAY, UNANSWERED, UNUSABLE, Lack, payments, said_unbooked, unbooked
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
    return [f"{symbol} {due:%H:%M}" for due, symbol, _ in unbooked(book, MIDNIGHT, MIDNIGHT + hours * HOUR)]


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


def test_of_a_contract_that_settles_more_often_a_hole_in_eight_hours_is_not_seen_and_eight_hours_without_any_are() -> (
    None
):
    """No interval is guessed: an exchange changes it from one settlement to the next."""
    book = paid(held(bought(50, MIDNIGHT)), *(told(MIDNIGHT + hour * HOUR) for hour in (1, 2, 5, 17)))
    assert missing(book) == ["AUSDT 16:00"]


def test_a_minute_after_a_period_its_settlement_may_still_come_and_is_none_of_the_next() -> None:
    book = paid(held(bought(50, MIDNIGHT - HOUR)), told(MIDNIGHT + DELAY))
    assert [lack.time for lack in unbooked(book, MIDNIGHT - MOMENT, MIDNIGHT + 8 * HOUR)] == [MIDNIGHT + 8 * HOUR]
    later = paid(held(bought(50, MIDNIGHT - HOUR)), told(MIDNIGHT + DELAY + MOMENT))
    assert [lack.time for lack in unbooked(later, MIDNIGHT - MOMENT, MIDNIGHT + 8 * HOUR)] == [MIDNIGHT]


def test_a_period_that_a_settlement_without_a_usable_rate_ends_is_not_missing_besides() -> None:
    book, end = held(bought(50, MIDNIGHT), bought(50, MIDNIGHT, "BUSDT")), MIDNIGHT + 8 * HOUR
    for at in (end, end + MOMENT, end + DELAY):
        assert unbooked(book, MIDNIGHT, end, [told(at, "NaN")]) == unbooked(book, MIDNIGHT, end)[1:]
    for at in (end - MOMENT, end + DELAY + MOMENT):
        assert unbooked(book, MIDNIGHT, end, [told(at, "NaN")]) == unbooked(book, MIDNIGHT, end)


def test_what_the_book_knows_is_not_searched_for_what_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held is asked of all that the book remembers, and in the hour after a settlement each minute."""
    rates = [told(MIDNIGHT + 8 * number * HOUR, symbol=symbol) for number in (1, 2, 3) for symbol in ("AUSDT", "BUSDT")]
    book = paid(held(bought(50, MIDNIGHT), bought(50, MIDNIGHT, "BUSDT")), *rates[:-1])
    asked = []
    monkeypatch.setattr(Book, "held_before", lambda _book, *what: asked.append(what) or Decimal(50))
    payments(book, rates)
    assert asked == [("BUSDT", MIDNIGHT + 24 * HOUR)]
    asked.clear()
    assert missing(book) == ["BUSDT 00:00"]
    assert asked == [("BUSDT", MIDNIGHT + 24 * HOUR)]


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
    named = {lack.time for lack in unbooked(book, MIDNIGHT, MIDNIGHT + 48 * HOUR)}
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


def test_another_reason_is_another_sentence_and_a_silent_market_is_one_of_all_contracts() -> None:
    lacks = [Lack(MIDNIGHT + hour * HOUR, "AUSDT", UNUSABLE) for hour in (3, 4)]
    silent = [Lack(MIDNIGHT + hour * HOUR, symbol, UNANSWERED) for hour in (8, 16) for symbol in ("AUSDT", "BUSDT")]
    assert said_unbooked([*lacks, *silent]) == [
        "funding of 2 contracts: 4 not booked, from 2026-11-20T08:00 to 2026-11-20T16:00 UTC: the market does not "
        "answer which funding was settled; it is asked again each minute",
        "funding of AUSDT: 2 not booked, from 2026-11-20T03:00 to 2026-11-20T04:00 UTC: without a usable rate or mark",
    ]


def test_the_symbol_of_a_payment_is_read_from_its_id_and_of_nothing_else() -> None:
    assert funded_symbol(funding_id("AUSDT", MIDNIGHT)) == "AUSDT"
    assert funded_symbol("baseline:AUSDT") is None
