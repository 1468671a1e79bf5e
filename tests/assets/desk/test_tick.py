"""The tick: one row a minute whoever writes, valued at valid marks only, recomputable from stored artifacts."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.accounting.events import Flow
from assets.accounting.funding import NOT_TOLD, UNANSWERED, UNUSABLE
from assets.accounting.ledger import Ledger
from assets.accounting.pnl import valuation
from assets.desk.artifacts import EXECUTION
from assets.desk.invariants import base_constant_between_baselines, log_identities, minutes_strictly_rise
from assets.desk.tick import Ticker, last_log_line
from assets.desk.value_log import MarksRow, log_row, marks_key, minute_of, parse_log_row
from assets.desk.verify import verify
from resources.clock import ManualClock
from resources.documents import Document, dump_document, dump_line, from_iso, load_document, to_iso
from resources.market import FundingRate, MarketError
from resources.store import StoreUnavailable
from tests.desk_parts import DAY, MINUTE, START, D, Parts, market_of
from tests.faults.interrupted_store import InterruptedStore
from tests.memory_store import MemoryStore

LOG = "portfolio_value_log.jsonl"


def invested(**settings: object) -> Parts:
    """A long 5 000 A at 100 and short 50 000 B at 10, no fees, bought at 00:20 on the first day."""
    parts = Parts(market_of({"AUSDT": "100", "BUSDT": "10"}), MemoryStore(), **{"fee_bps": D(0)} | settings)
    parts.tick()
    parts.clock.sleep(60)
    parts.execute({"A_USDT": ("1", 1), "B_USDT": ("-1", -1)})
    parts.market.spread = D(0)
    return parts


def value_gained(row: Document | None) -> Decimal:
    assert row is not None
    return row["total_pnl"] - BOUGHT


BOUGHT = D("-500")  # selling 50 000 B one tick of 0.01 below the mark


def test_a_tick_writes_prices_marks_and_one_row() -> None:
    parts = invested()
    parts.market.prices["AUSDT"] = D(103)
    (result,) = parts.minutes(1)
    assert result.status == "logged"
    assert value_gained(result.row) == 15000
    assert parts.log()[-1] == load_document(dump_line(result.row or {}))
    latest = parts.document("latest_prices.json")
    assert latest["prices"] == {"AUSDT": 103, "BUSDT": 10}
    assert from_iso(latest["timestamp_utc"]) == parts.clock.now()


def test_a_second_tick_of_the_minute_refreshes_prices_and_writes_no_row() -> None:
    parts = invested()
    parts.minutes(1)
    rows = len(parts.log())
    parts.clock.sleep(1)
    parts.market.prices["AUSDT"] = D(104)
    result = parts.tick()
    assert (result.status, result.row) == ("already_logged", None)
    assert len(parts.log()) == rows
    assert parts.document("latest_prices.json")["prices"]["AUSDT"] == 104


def _interleaved_tickers(offset_seconds: float) -> None:
    parts = invested()
    parts.clock.sleep(60)
    parts.market.prices["AUSDT"] = D(101)
    parts.market.rates = [FundingRate("AUSDT", parts.clock.now() - timedelta(seconds=30), D("0.001"), D(100))]
    assert isinstance(parts.store, MemoryStore)
    started = parts.store.copy()
    counted = InterruptedStore(parts.store, 0, lambda: None)
    Ticker(parts.desk(counted)).tick()
    assert counted.operations > 8
    for at in range(1, counted.operations + 1):
        parts.store = started.copy()
        other = Ticker(parts.desk())
        now = parts.clock.now()

        def meanwhile(other: Ticker = other, now: object = now) -> None:
            parts.clock.sleep(offset_seconds)
            parts.market.prices["AUSDT"] = D(101) + (1 if offset_seconds else 0)
            other.tick()
            parts.clock.move_to(now)  # type: ignore[arg-type]
            parts.market.prices["AUSDT"] = D(101)

        Ticker(parts.desk(InterruptedStore(parts.store, at, meanwhile))).tick()
        rows = [parse_log_row(dump_line(row)) for row in parts.log()]
        assert minutes_strictly_rise(rows).passed, at
        assert len(rows) == 2, at
        assert len([e for s in parts.desk().ledger().segments() for e in s.events if "funding" in e.event_id]) == 1
        assert verify(parts.desk()).differences == (), at


@pytest.mark.parametrize("offset", [0, 7])
def test_two_tickers_interleaved_at_every_store_call_write_one_row_a_minute(offset: float) -> None:
    """The second ticks whole, a few seconds later and at another price, before any operation of the first."""
    _interleaved_tickers(offset)


@pytest.mark.parametrize(
    ("price", "age_seconds", "reason"),
    [("101", 121, "stale_mark"), ("0", 0, "not_positive"), ("-3", 0, "not_positive"), ("NaN", 0, "not_finite"),
     ("Infinity", 0, "not_finite"), ("999", -6, "future_mark")],
)  # fmt: skip
def test_a_refused_mark_values_at_the_last_valid_one_and_is_named(price: str, age_seconds: int, reason: str) -> None:
    parts = invested()
    parts.market.prices["AUSDT"] = D(102)
    parts.minutes(1)
    parts.clock.sleep(60)
    parts.market.prices["AUSDT"] = D(price)
    parts.market.as_of["AUSDT"] = parts.clock.now() - timedelta(seconds=age_seconds)
    result = parts.tick()
    assert result.status == "logged"
    assert result.refused == {"AUSDT": reason}
    assert value_gained(result.row) == 10_000, "at 102, the last valid mark"
    assert result.row is not None
    assert result.row["stale"] == ["AUSDT"]
    latest = parts.document("latest_prices.json")
    assert (latest["prices"]["AUSDT"], latest["refused"]) == (102, {"AUSDT": reason})
    assert verify(parts.desk()).differences == ()


def test_a_symbol_that_vanished_is_stale_with_the_reason_no_price() -> None:
    parts = invested()
    parts.minutes(1)
    del parts.market.prices["BUSDT"]
    (result,) = parts.minutes(1)
    assert result.refused == {"BUSDT": "no_price"}
    assert result.row is not None
    assert result.row["stale"] == ["BUSDT"]


def test_without_any_mark_of_a_held_symbol_there_is_no_row_and_a_reason() -> None:
    """Missing stays missing: a gap in the log, never a made-up value."""
    parts = invested()
    assert isinstance(parts.store, MemoryStore)
    parts.store.delete("latest_prices.json")
    parts.ticker = None
    rows = len(parts.log())
    del parts.market.prices["BUSDT"]
    (result,) = parts.minutes(1)
    assert (result.status, result.row, result.valuation) == ("no_value", None, None)
    assert result.reason == "no valid mark yet for held BUSDT"
    assert len(parts.log()) == rows
    parts.market.prices["BUSDT"] = D(10)
    assert parts.minutes(1)[0].status == "logged"


def test_a_ticker_that_never_saw_a_mark_uses_the_one_another_ticker_stored() -> None:
    parts = invested()
    assert isinstance(parts.store, MemoryStore)
    latest = parts.store.read("latest_prices.json").data
    parts.store.delete("latest_prices.json")
    blind = Ticker(parts.desk())
    parts.store.write("latest_prices.json", latest)
    del parts.market.prices["BUSDT"]
    parts.clock.sleep(60)
    assert blind.tick().status == "logged"
    assert parts.document("latest_prices.json")["prices"]["BUSDT"] == 10


def test_a_restarted_ticker_remembers_the_last_valid_marks() -> None:
    parts = invested()
    parts.market.prices["AUSDT"] = D(102)
    parts.minutes(1)
    parts.ticker = None
    parts.market.prices["AUSDT"] = D(0)
    assert value_gained(parts.minutes(1)[0].row) == 10_000


@pytest.mark.parametrize("back", [timedelta(minutes=1), timedelta(minutes=7), timedelta(hours=3), timedelta(days=2)])
def test_a_clock_behind_the_log_writes_nothing_at_all(back: timedelta) -> None:
    """Also into hours and gaps that have no marks yet; when the clock is right again the log goes on."""
    parts = invested()
    parts.minutes(3)
    parts.clock.sleep(3600 * 4)
    parts.tick()
    assert isinstance(parts.store, MemoryStore)
    before = parts.store.contents()
    right = parts.clock.now()
    parts.clock.move_to(right - back)
    result = parts.tick()
    assert (result.status, result.row) == ("clock_behind_log", None)
    assert parts.store.contents() == before
    assert Ticker(parts.desk()).tick().status == "clock_behind_log"
    parts.clock.move_to(right + MINUTE)
    assert parts.tick().status == "logged"
    assert verify(parts.desk()).differences == ()


def test_a_gap_after_downtime_is_not_filled() -> None:
    parts = invested()
    parts.minutes(2)
    before = [minute_of(from_iso(row["timestamp"])) for row in parts.log()]
    parts.clock.sleep(3600)
    parts.ticker = None
    parts.tick()
    after = [minute_of(from_iso(row["timestamp"])) for row in parts.log()]
    assert after[:-1] == before
    assert after[-1] - before[-1] == timedelta(hours=1)
    assert [row["seq"] for row in parts.log()] == list(range(len(after)))


# --- funding ----------------------------------------------------------------------------------------------------------


def test_funding_charges_what_was_held_strictly_before_the_settlement_once() -> None:
    """Positive rate: longs pay, shorts receive. -5 000 * 100 * 0.0001 = -50 and 50 000 * 10 * 0.0002 = +100."""
    parts = invested()
    at = parts.clock.now() + timedelta(seconds=30)
    parts.market.rates = [FundingRate("AUSDT", at, D("0.0001"), D(100)), FundingRate("BUSDT", at, D("0.0002"), D(10))]
    results = parts.minutes(3)
    assert [result.funding_posted for result in results] == [2, 0, 0]
    assert value_gained(results[-1].row) == -50 + 100
    parts.ticker = None
    assert parts.minutes(1)[0].funding_posted == 0
    assert parts.desk().ledger().book().funding == 50


def test_funding_waits_for_fills_a_rebalance_under_way_may_still_date_before_it() -> None:
    parts = invested()
    at = parts.clock.now() + timedelta(seconds=30)
    parts.market.rates = [FundingRate("AUSDT", at, D("0.0001"), D(100))]
    idle = parts.store.read(EXECUTION).data
    lock = load_document(idle) | {"state": "executing", "started_utc": to_iso(parts.clock.now())}
    parts.store.write(EXECUTION, dump_document(lock))
    assert [result.funding_posted for result in parts.minutes(2)] == [0, 0]
    parts.store.write(EXECUTION, idle)
    assert [result.funding_posted for result in parts.minutes(2)] == [1, 0]


def test_a_market_that_does_not_answer_for_funding_costs_no_minute() -> None:
    parts = invested()
    parts.market.rates = [FundingRate("AUSDT", parts.clock.now() + timedelta(seconds=30), D("0.0001"), D(100))]
    answering, parts.market.funding = parts.market.funding, _silent  # type: ignore[method-assign]
    assert [(result.status, result.funding_posted) for result in parts.minutes(2)] == [("logged", 0)] * 2
    parts.market.funding = answering  # type: ignore[method-assign]
    assert parts.minutes(1)[0].funding_posted == 1


def _silent(*_: object) -> list[FundingRate]:
    raise MarketError("fundingRate did not answer")


def test_after_days_down_funding_uses_the_quantities_of_each_settlement() -> None:
    """The ticker was down from before the first settlement until after positions changed."""
    parts = invested()
    first = parts.clock.now() + timedelta(hours=8)
    parts.clock.move_to(START + DAY)
    parts.execute({"A_USDT": ("1", -1)})
    second, third = parts.clock.now() + timedelta(hours=8), parts.clock.now() + timedelta(hours=16)
    parts.market.rates = [FundingRate("AUSDT", at, D("0.0001"), D(100)) for at in (first, second, third)]
    parts.market.rates += [FundingRate("BUSDT", first, D("0.0001"), D(10))]
    parts.clock.move_to(START + 3 * DAY)
    parts.ticker = None
    assert parts.tick().funding_posted == 4
    amounts = [
        (e.symbol, e.quantity, e.amount)  # type: ignore[union-attr]
        for segment in parts.desk().ledger().segments()
        for e in segment.events
        if e.event_id.startswith("funding")
    ]
    short = parts.held()["AUSDT"]
    assert short < 0
    assert sorted(amounts) == sorted(
        [("AUSDT", D(5000), D(-50)), ("BUSDT", D(-50000), D(50))] + [("AUSDT", short, -short * 100 / 10000)] * 2
    )
    assert verify(parts.desk()).differences == ()


def test_late_published_and_unordered_funding_is_posted_once_each() -> None:
    parts = invested()
    now = parts.clock.now()
    rates = [FundingRate("AUSDT", now + timedelta(seconds=s), D("0.0001"), D(100)) for s in (10, 70, 130)]
    posted = []
    for visible in ([], [rates[1]], [rates[2], rates[1]], rates, rates):
        parts.market.rates = visible
        posted += [result.funding_posted for result in parts.minutes(2)]
    assert sum(posted) == 3
    assert parts.desk().ledger().book().funding == -150


@pytest.mark.parametrize("mark", [None, D("NaN"), D("Infinity")])
def test_a_settlement_without_a_mark_posts_nothing_until_it_has_one(mark: Decimal | None) -> None:
    parts = invested()
    at = parts.clock.now() + timedelta(seconds=5)
    parts.market.rates = [FundingRate("AUSDT", at, D("0.0001"), mark), FundingRate("BUSDT", at, D("NaN"), D(10))]
    assert parts.minutes(1)[0].funding_posted == 0
    parts.market.rates = [FundingRate("AUSDT", at, D("0.0001"), D(100))]
    assert parts.minutes(1)[0].funding_posted == 1


def test_a_clock_that_jumped_ahead_and_back_loses_no_settlement() -> None:
    """One tick with a clock a day ahead must not make the settlements of that day pass unseen."""
    parts = invested()
    parts.minutes(1)
    settlement = parts.clock.now() + timedelta(hours=8)
    right = parts.clock.now()
    parts.clock.move_to(right + DAY)
    parts.tick()
    parts.clock.move_to(right + timedelta(hours=9))
    parts.market.rates = [FundingRate("AUSDT", settlement, D("0.0001"), D(100))]
    parts.tick()
    parts.clock.move_to(right + DAY + MINUTE)
    parts.tick()
    assert parts.desk().ledger().book().funding == -50


def test_what_a_clock_that_jumped_ahead_judged_is_judged_again() -> None:
    parts = invested()
    parts.minutes(1)
    right = parts.clock.now()
    assert ticked_at(parts, right + DAY) == [f"{symbol} {due}" for due in DUE for symbol in ("AUSDT", "BUSDT")]
    parts.market.rates = settled_at(EIGHT)
    assert ticked_at(parts, right + timedelta(hours=10)) == []
    assert ticked_at(parts, right + DAY + MINUTE) == [
        f"{symbol} {due}" for due in DUE[1:] for symbol in ("AUSDT", "BUSDT")
    ]


def test_what_a_clock_that_jumped_ahead_said_of_a_silent_market_is_said_again() -> None:
    parts = invested()
    parts.minutes(1)
    right = parts.clock.now()
    parts.market.funding = _silent  # type: ignore[method-assign]
    named = ticked_at(parts, right + DAY, UNANSWERED)
    assert len(named) == 2 * len(DUE)
    assert ticked_at(parts, right + timedelta(hours=10)) == []
    assert ticked_at(parts, right + DAY + MINUTE, UNANSWERED) == named


def settled_at(at: datetime) -> list[FundingRate]:
    return [FundingRate("AUSDT", at, D("0.0001"), D(100)), FundingRate("BUSDT", at, D(0), D(10))]


def ticked_at(parts: Parts, at: datetime, why: str = NOT_TOLD) -> list[str]:
    parts.clock.move_to(at)
    lacks = parts.tick().funding_unbooked
    assert {lack.why for lack in lacks} <= {why}
    return [f"{lack.symbol} {lack.time:%d %H:%M}" for lack in lacks]


DUE = ("20 08:00", "20 16:00")
EIGHT, MIDNIGHT = START.replace(hour=8, minute=0, second=0), START.replace(hour=0, minute=0, second=0) + DAY


def test_eight_hours_of_which_nobody_told_a_settlement_are_named_once_when_it_is_no_longer_looked_for() -> None:
    parts = invested()
    assert ticked_at(parts, EIGHT + timedelta(minutes=59)) == []
    assert ticked_at(parts, EIGHT + timedelta(minutes=61)) == ["AUSDT 20 08:00", "BUSDT 20 08:00"]
    assert ticked_at(parts, EIGHT + timedelta(minutes=62)) == []
    parts.ticker = None
    assert ticked_at(parts, EIGHT + timedelta(minutes=63)) == ["AUSDT 20 08:00", "BUSDT 20 08:00"]
    assert parts.desk().ledger().book().funding == 0
    assert verify(parts.desk()).differences == ()


def test_a_settlement_that_is_told_late_or_with_a_rate_of_0_is_not_missing() -> None:
    parts = invested()
    assert ticked_at(parts, EIGHT + timedelta(minutes=50)) == []
    parts.market.rates = settled_at(EIGHT)
    assert ticked_at(parts, EIGHT + timedelta(minutes=51)) == []
    assert ticked_at(parts, EIGHT + timedelta(minutes=61)) == []
    assert parts.desk().ledger().book().funding == -50


def test_after_days_down_only_what_nobody_told_is_missing() -> None:
    parts = invested()
    parts.market.rates = settled_at(EIGHT) + settled_at(MIDNIGHT)
    parts.ticker = None
    assert ticked_at(parts, MIDNIGHT + timedelta(hours=2)) == ["AUSDT 20 16:00", "BUSDT 20 16:00"]


def test_of_a_silent_market_it_is_said_that_it_is_and_what_is_missing_when_it_answers() -> None:
    parts = invested()
    parts.market.rates = settled_at(EIGHT)[:1]
    answering, parts.market.funding = parts.market.funding, _silent  # type: ignore[method-assign]
    assert ticked_at(parts, EIGHT + timedelta(minutes=59), UNANSWERED) == []
    assert ticked_at(parts, EIGHT + timedelta(minutes=61), UNANSWERED) == ["AUSDT 20 08:00", "BUSDT 20 08:00"]
    assert ticked_at(parts, EIGHT + timedelta(minutes=62), UNANSWERED) == []
    assert ticked_at(parts, EIGHT + timedelta(hours=8, minutes=61), UNANSWERED) == ["AUSDT 20 16:00", "BUSDT 20 16:00"]
    parts.market.rates += settled_at(EIGHT + timedelta(hours=8))
    parts.market.funding = answering  # type: ignore[method-assign]
    assert ticked_at(parts, EIGHT + timedelta(hours=8, minutes=62)) == ["BUSDT 20 08:00"]
    assert ticked_at(parts, EIGHT + timedelta(hours=8, minutes=63)) == []
    assert parts.desk().ledger().book().funding == -100


def test_of_a_market_that_is_silent_for_longer_than_the_book_remembers_it_is_asked_as_far_as_that() -> None:
    parts = invested()
    parts.tick()
    answering, parts.market.funding = parts.market.funding, _silent  # type: ignore[method-assign]
    parts.clock.move_to(MIDNIGHT + timedelta(days=10))
    assert parts.tick().status == "logged"
    parts.market.funding = answering  # type: ignore[method-assign]
    parts.market.rates = settled_at(EIGHT) + settled_at(MIDNIGHT + timedelta(days=10))
    parts.clock.sleep(60)
    assert parts.tick().funding_posted == 2, "the first is older than what could be told from a repeat"


@pytest.mark.parametrize("late", [timedelta(0), timedelta(milliseconds=3), timedelta(seconds=40)])
def test_a_settlement_told_without_a_usable_rate_is_named_once_and_its_period_not_besides(late: timedelta) -> None:
    """Whatever minute and second the ticks fall on; another settlement of the period is booked, or none is."""
    parts = invested()
    parts.market.rates = [
        FundingRate("AUSDT", EIGHT - timedelta(hours=1), D("0.0001"), D(100)),
        FundingRate("AUSDT", EIGHT + late, D("NaN"), D(100)),
        FundingRate("BUSDT", EIGHT + late, D("0.0001"), None),
        FundingRate("CUSDT", EIGHT + late, D("NaN"), None),
    ]
    named = []
    for seconds in range(0, 5 * 60, 20):
        named += ticked_at(parts, EIGHT + timedelta(minutes=58, seconds=seconds), UNUSABLE)
    assert sorted(named) == ["AUSDT 20 08:00", "BUSDT 20 08:00"]
    assert parts.desk().ledger().book().funding == -50
    parts.ticker = None
    assert sorted(ticked_at(parts, EIGHT + timedelta(hours=2), UNUSABLE)) == named


def test_a_settlement_that_gets_its_mark_late_is_not_missing() -> None:
    parts = invested()
    parts.market.rates = [FundingRate("AUSDT", EIGHT, D("0.0001"), None), settled_at(EIGHT)[1]]
    assert ticked_at(parts, EIGHT + timedelta(minutes=59)) == []
    parts.market.rates = settled_at(EIGHT)
    assert ticked_at(parts, EIGHT + timedelta(minutes=60)) == []
    assert ticked_at(parts, EIGHT + timedelta(minutes=61)) == []
    assert parts.desk().ledger().book().funding == -50


def test_at_the_end_of_a_recording_what_is_still_looked_for_is_missing_too_but_what_a_moment_later_may_be_told() -> (
    None
):
    parts = invested()
    parts.market.rates = [FundingRate("BUSDT", EIGHT, D("NaN"), D(10))]
    for seconds, missing in ((0, ["BUSDT"]), (59, ["BUSDT"]), (60, ["AUSDT", "BUSDT"]), (3600, [])):
        parts.clock.move_to(EIGHT + timedelta(seconds=seconds))
        named = parts.tick().funding_unbooked
        assert [lack.symbol for lack in named] == ([] if missing else ["AUSDT", "BUSDT"]), "either now or yet"
        assert parts.ticker is not None
        assert [lack.symbol for lack in parts.ticker.unbooked_yet()] == missing


def test_what_a_tick_found_that_then_failed_the_next_one_of_the_same_ticker_books_and_names() -> None:
    """At whichever operation the store fails."""
    parts = invested()
    assert isinstance(parts.store, MemoryStore)
    started = parts.store.copy()

    def ticked(fails_at: int) -> tuple[Ticker, InterruptedStore]:
        parts.store, parts.market.rates = started.copy(), []
        parts.clock = ManualClock(EIGHT + timedelta(minutes=30))
        store = InterruptedStore(parts.store, fails_at, _refuse)
        ticker = Ticker(parts.desk(store))
        assert ticker.tick().funding_unbooked == ()
        parts.market.rates = settled_at(EIGHT)[:1]
        parts.clock.sleep(31 * 60)
        return ticker, store

    ticker, store = ticked(0)
    before = store.operations
    assert [lack.symbol for lack in ticker.tick().funding_unbooked] == ["BUSDT"]
    assert store.operations > before + 5
    for fails_at in range(before + 1, store.operations + 1):
        ticker, _ = ticked(fails_at)
        with pytest.raises(StoreUnavailable):
            ticker.tick()
        parts.clock.sleep(60)
        assert [(lack.symbol, lack.time) for lack in ticker.tick().funding_unbooked] == [("BUSDT", EIGHT)]
        assert parts.desk().ledger().book().funding == -50


def _refuse() -> None:
    raise StoreUnavailable("no space left on device")


def test_what_waits_for_a_rebalance_is_not_missing() -> None:
    parts = invested()
    parts.market.rates = settled_at(EIGHT)
    idle = parts.store.read(EXECUTION).data
    lock = load_document(idle) | {"state": "executing", "started_utc": to_iso(EIGHT - timedelta(minutes=5))}
    parts.store.write(EXECUTION, dump_document(lock))
    assert ticked_at(parts, EIGHT + timedelta(minutes=70)) == []
    parts.store.write(EXECUTION, idle)
    assert ticked_at(parts, EIGHT + timedelta(minutes=71)) == []
    assert parts.desk().ledger().book().funding == -50


# --- every row --------------------------------------------------------------------------------------------------------

minute_moves = st.lists(
    st.tuples(
        st.integers(-400, 400), st.integers(-400, 400), st.sampled_from(["", "funding", "flow", "day", "restart"])
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(minute_moves)
def test_every_row_keeps_the_identities_and_is_recomputable(moves: list[tuple[int, int, str]]) -> None:
    """A4-A6 and A9 on each stored row; each row again from its marks row and the ledger up to its segment."""
    parts = invested()
    for number, (a, b, event) in enumerate(moves):
        parts.market.prices = {"AUSDT": D(100) + D(a).scaleb(-1), "BUSDT": D(50) + D(b).scaleb(-1)}
        if event == "funding":
            at = parts.clock.now() + timedelta(seconds=20)
            parts.market.rates.append(FundingRate("AUSDT", at, D(a).scaleb(-6), D(100)))
        elif event == "flow":
            amount = D(b or 1).scaleb(2)
            parts.desk().ledger().post([Flow(f"flow:{number}", parts.clock.now(), amount, "")])
        elif event == "restart":
            parts.ticker = None
        elif event == "day" and parts.tick().valuation is not None:
            parts.clock.move_to(parts.clock.now() + DAY)
            parts.tick()
            if parts.log()[-1]["portfolio_value"] > 1000:
                parts.clock.sleep(60)
                parts.execute({"A_USDT": (str(100 + number), 1), "B_USDT": ("-7", -1)})
        parts.minutes(1)
    rows = [parse_log_row(dump_line(row)) for row in parts.log()]
    for finding in (
        log_identities(rows, D(1_000_000)),
        base_constant_between_baselines(rows),
        minutes_strictly_rise(rows),
    ):
        assert finding.passed, finding.detail
    ledger = Ledger(parts.store, D(1_000_000))
    for row in rows:
        key = marks_key(minute_of(row.timestamp))
        (marks,) = (
            marks
            for marks in map(MarksRow.parse, parts.store.read(key).data.splitlines())
            if marks.timestamp == row.timestamp
        )
        book = ledger.book_at(row.document["ledger_seq"])
        rebuilt = log_row(
            marks, valuation(book, marks.prices), seq=row.seq,
            rebalance_id=None if book.baseline is None else book.baseline.rebalance_id, source="SCRIPTED",
        )  # fmt: skip
        assert load_document(dump_line(rebuilt)) == row.document
    assert verify(parts.desk()).differences == ()


def test_a_deposit_moves_the_value_and_no_gain() -> None:
    parts = invested()
    before = parts.minutes(1)[0].row
    parts.desk().ledger().post([Flow("in", parts.clock.now(), D("250000.5"), "")])
    after = parts.minutes(1)[0].row
    assert before is not None
    assert after is not None
    assert after["portfolio_value"] - before["portfolio_value"] == D("250000.5")
    for name in ("daily_pnl", "total_pnl", "base_cumulative"):
        assert after[name] == before[name]


def test_rows_of_brief_0s_first_logger_are_continued() -> None:
    """Without base_cumulative and seq; and a line that is no row stops nothing."""
    parts = Parts(market_of({"AUSDT": "100"}), MemoryStore())
    value = b'"portfolio_value":1008386.64,"daily_pnl":8386.64,"total_pnl":8386.64}'
    old = b'{"timestamp":"2025-09-21T00:20:00.000000+00:00",' + value
    parts.store.append(LOG, old)
    row = parts.tick().row
    assert row is not None
    assert row["seq"] == 1
    assert parse_log_row(old).base_cumulative == 0
    parts.store.append(LOG, b"what is this")
    parts.clock.sleep(60)
    assert parts.tick().status == "logged"
    assert last_log_line(parts.desk()).startswith(b'{"timestamp":"2026-11-20T00:21:03')


def test_the_first_four_fields_are_brief_0s_in_its_order() -> None:
    parts = invested()
    parts.minutes(1)
    line = parts.store.read(LOG).data.splitlines()[-1]
    assert list(load_document(line))[:4] == ["timestamp", "portfolio_value", "daily_pnl", "total_pnl"]


def test_no_log_yet_has_no_last_line() -> None:
    assert last_log_line(Parts(market_of({"AUSDT": "1"}), MemoryStore()).desk()) == b""
