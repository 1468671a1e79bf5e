"""The backtest engine: only the past is seen, venue and book are paper trading's, nothing is earned from nothing."""

import csv
import io
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.backtest.engine import (
    BacktestEngine,
    BacktestRefused,
    BadSignals,
    Insolvent,
    InsufficientCoverage,
    Signal,
    read_signals,
)
from assets.telemetry.backtest.importer import import_report
from assets.telemetry.backtest.report import MixedCurrencies, Report, report_files, results_document, round_trips
from resources.documents import to_iso
from resources.market import FundingRate
from resources.market.replay import ReplayMarket
from resources.settings import Settings
from resources.venue import Order
from tests.assets.telemetry.backtest.path_market import MINUTE, START, PathMarket, flat, venue
from tests.desk_parts import contract

D = Decimal
LENGTH = 120  # minutes
CAPITAL = 20_000  # more than the drawn signals can lose
END = START + LENGTH * MINUTE
FOLDER = Settings().test_data


def signal(name: str, minutes: float, side: Any = "buy", **changes: Any) -> Signal:
    values = {"symbol": "BTC/USDT", "strategy": "trend", "quantity": D("0.5"), "confidence": D("0.7")} | changes
    return Signal(signal_id=name, time=START + minutes * MINUTE, side=side, **values)


def engine(market: Any, **changes: Any) -> BacktestEngine:
    values = {
        "venue": venue(), "capital": D(CAPITAL), "currency": "USDT", "step": 7 * MINUTE, "least_coverage": D("0.5"),
    } | changes  # fmt: skip
    return BacktestEngine(market, **values)


def run(market: Any, signals: list[Signal], end: datetime = END, **changes: Any) -> Report:
    return engine(market, **changes).run(signals, START, end)


def walk(seed: int) -> list[Decimal | None]:
    """Cents between 50.00 and 200.00, wild enough that everything can happen within two hours."""
    draw, cents = random.Random(seed), 10_000
    path: list[Decimal | None] = []
    for _ in range(LENGTH + 1):
        cents = min(20_000, max(5_000, cents + draw.randint(-700, 700)))
        path.append(D(cents) / 100)
    return path


paths = st.integers(0, 2**32).map(walk)
rates = st.lists(
    st.tuples(st.integers(1, LENGTH), st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.integers(-300, 300)), max_size=4,
    unique_by=lambda rate: rate[:2],
)  # fmt: skip


@st.composite
def markets(draw: st.DrawFn) -> PathMarket:
    found = {"BTCUSDT": draw(paths), "ETHUSDT": draw(paths)}
    return PathMarket(
        found,
        [
            FundingRate(symbol, START + minute * MINUTE, D(rate).scaleb(-5), found[symbol][minute])
            for minute, symbol, rate in draw(rates)
        ],
    )


@st.composite
def signal_lists(draw: st.DrawFn) -> list[Signal]:
    number = draw(st.integers(0, 12))
    return [
        signal(
            f"s{each}",
            draw(st.integers(0, 60 * (LENGTH + 2))) / 60,
            draw(st.sampled_from(["buy", "sell"])),
            symbol=draw(st.sampled_from(["BTC/USDT", "ETH_USDT", "ETHUSDT", "DOGE/USDT"])),
            strategy=draw(st.sampled_from(["trend", "carry"])),
            **draw(
                st.one_of(
                    st.integers(1, 8000).map(lambda thousandths: {"quantity": D(thousandths) / 1000}),
                    st.integers(1, 900).map(lambda usdt: {"quantity": None, "notional": D(usdt)}),
                )
            ),
        )
        for each in range(number)
    ]


@settings(max_examples=400)
@given(markets(), signal_lists(), st.integers(0, 17))
def test_what_comes_later_changes_nothing_before_it(market: PathMarket, signals: list[Signal], steps: int) -> None:
    cut = START + steps * 7 * MINUTE
    whole = run(market, signals)
    short = run(market.until(cut), [each for each in signals if each.time <= cut], end=cut)
    assert short.points == tuple(point for point in whole.points if point.time <= cut)
    assert short.trades == tuple(trade for trade in whole.trades if trade.time <= cut)
    assert short.funding == tuple(payment for payment in whole.funding if payment.time <= cut)
    assert short.signals == tuple(record for record in whole.signals if record.time <= cut)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_decision_sees_only_what_was_known_strictly_before_it(side: str) -> None:
    path = flat("100", LENGTH)
    path[10] = D(150)  # known at minute 10 exactly, when the signal comes
    (trade,) = run(PathMarket({"BTCUSDT": path}), [signal("a", 10, side, quantity=None, notional=D(200))]).trades
    assert trade.price == (D(100) if side == "buy" else D("99.99"))
    assert trade.quantity == D(2)
    (later,) = run(PathMarket({"BTCUSDT": path}), [signal("a", 10.01, side, quantity=None, notional=D(200))]).trades
    assert later.price == (D(150) if side == "buy" else D("149.99"))
    assert later.quantity == D("1.333")


@settings(max_examples=400)
@given(markets(), signal_lists())
def test_the_files_alone_add_up_to_the_last_digit(market: PathMarket, signals: list[Signal]) -> None:
    """An oracle in fractions that reads nothing but the written files."""
    machine = engine(market)
    report = machine.run(signals, START, END)
    files = report_files(report)
    results = results_document(report)
    rows = list(csv.DictReader(io.StringIO(files["trades.csv"].decode())))
    cash, held = Fraction(CAPITAL), {"BTC/USDT": Fraction(0), "ETH/USDT": Fraction(0)}
    for row in rows:
        quantity, notional = Fraction(row["qty"]), Fraction(row["qty"]) * Fraction(row["price"])
        if row["side"] == "buy":
            assert (Fraction(row["cost"]), row["proceeds"]) == (notional + Fraction(row["fee"]), "")
            cash -= Fraction(row["cost"])
            held[row["symbol"]] += quantity
        else:
            assert (Fraction(row["proceeds"]), row["cost"]) == (notional - Fraction(row["fee"]), "")
            cash += Fraction(row["proceeds"])
            held[row["symbol"]] -= quantity
    funding = sum((Fraction(payment.amount) for payment in report.funding), Fraction(0))
    marks = market.marks(END)
    worth = sum(q * Fraction(marks[pair.replace("/", "")].price) for pair, q in held.items())
    assert cash + funding + worth == Fraction(results["final_equity"])
    trips = round_trips(report)
    net = sum((trip.net for trip in (*trips.closed, *trips.open)), D(0)) + trips.unattributed
    assert results["final_equity"] == results["start_value"] + net
    assert sum(machine.daily_pnl.values()) == machine.equity - CAPITAL
    assert (machine.equity, machine.cash) == (report.points[-1].equity, report.points[-1].cash)
    assert machine.peak_equity == max(point.equity for point in report.points)
    assert len(report.signals) == len(signals)
    assert [flag.code for flag in import_report(files, END + LENGTH * MINUTE).flags] == (
        ["no_trades"] if not rows else []
    )


@settings(max_examples=40)
@given(signal_lists(), st.integers(0, 20))
def test_where_prices_stand_still_only_costs_are_left(signals: list[Signal], fee_bps: int) -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH), "ETHUSDT": flat("80", LENGTH)})
    report = run(market, signals, venue=venue(str(fee_bps)))
    marks = {"BTC/USDT": D(100), "ETH/USDT": D(80)}
    spread = sum((trade.signed * (trade.price - marks[trade.symbol]) for trade in report.trades), D(0))
    fees = sum((trade.fee for trade in report.trades), D(0))
    assert spread >= 0
    assert report.final_equity == CAPITAL - spread - fees
    assert all(trip.net <= 0 for trip in round_trips(report).closed)


@settings(max_examples=40)
@given(markets(), signal_lists())
def test_running_again_gives_the_same_bytes(market: PathMarket, signals: list[Signal]) -> None:
    machine = engine(market)
    first = report_files(machine.run(signals, START, END))
    assert report_files(machine.run(signals, START, END)) == first
    assert report_files(run(market, signals)) == first


def test_the_fill_is_what_the_paper_venue_gives() -> None:
    market = PathMarket({"BTCUSDT": flat("100.37", LENGTH)})
    (trade,) = run(market, [signal("a", 5.5, "sell", quantity=D("1.234"))]).trades
    before = START + 5.5 * MINUTE - timedelta(microseconds=1)
    order = Order("a", "BTCUSDT", "SELL", D("1.234"), False, D("0.01"), D("100.37"), D("0.001"))
    (execution,) = venue().execute([order], lambda symbol: market.liquidity(symbol, before), trade.time)
    (fill,) = execution.fills
    assert (trade.trade_id, trade.quantity, trade.price, trade.fee) == (
        fill.fill_id, fill.quantity, fill.price, fill.fee,
    )  # fmt: skip


def test_funding_is_paid_by_who_held_before_the_settlement() -> None:
    noon = START + 60 * MINUTE
    market = PathMarket(
        {"BTCUSDT": flat("100", LENGTH)},
        [FundingRate("BTCUSDT", noon, D("0.001"), D(110)), FundingRate("BTCUSDT", noon + MINUTE, D("0.001"), None)],
    )
    held = run(market, [signal("a", 30, "sell", quantity=D(2))])
    assert [payment.amount for payment in held.funding] == [D("0.22")]  # a short receives 2 * 110 * 0.001
    assert held.funding_not_booked == ((noon + MINUTE, "BTC/USDT"),)
    assert results_document(held)["funding_not_booked"][0]["symbol"] == "BTC/USDT"
    at_the_instant = run(market, [signal("a", 60, "sell", quantity=D(2))])
    assert at_the_instant.funding == ()
    closed_then = run(market, [signal("a", 30, quantity=D(2)), signal("b", 60, "sell", quantity=D(2))])
    assert [payment.amount for payment in closed_then.funding] == [D("-0.22")]


HOUR = 60 * MINUTE


@pytest.mark.parametrize(
    ("settled", "missing"),
    [
        ([8, 16], []),
        ([4, 8, 12, 16], []),
        ([6, 12], []),  # not at the usual hours: within each period all the same
        ([8 + 0.001 / 3600, 16 + 5 / 3600], []),  # published a moment later
        ([1, 2, 3, 8, 10], []),  # of a contract that settles more often a hole is not seen
        ([8], [16]),
        ([0, 16], [8]),
        ([], [8, 16]),
    ],
)
def test_eight_hours_in_which_no_settlement_is_recorded_of_what_is_held_at_their_end_are_named(
    settled: list[float], missing: list[int]
) -> None:
    paths = {"BTCUSDT": flat("100", 17 * 60), "ETHUSDT": flat("80", 17 * 60)}
    market = PathMarket(paths, [FundingRate("BTCUSDT", START + at * HOUR, D("0.001"), D(100)) for at in settled])
    held = [signal("a", 30), signal("b", 16 * 60, "sell")]  # what is sold at the settlement was held before it
    not_held = [signal("c", 9 * 60, symbol="ETH/USDT"), signal("d", 10 * 60, "sell", symbol="ETH/USDT")]
    report = run(market, [*held, *not_held], START + 17 * HOUR, step=HOUR)
    assert report.funding_not_recorded == tuple((START + at * HOUR, "BTC/USDT") for at in missing)
    assert ("funding_not_recorded" in results_document(report)) == bool(missing)


def test_euros_and_dollars_are_not_added_up() -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH)})
    with pytest.raises(MixedCurrencies, match=r"BTC/EUR \(EUR\)"):
        run(market, [signal("a", 5), signal("b", 6, symbol="BTC/EUR")])
    with pytest.raises(MixedCurrencies, match="BTC/USD"):
        run(market, [signal("a", 5, symbol="BTC/USD")])
    usdc = contract("BTCUSDC") | {"baseAsset": "BTC", "quoteAsset": "USDC"}
    two = PathMarket({"BTCUSDC": flat("100", LENGTH)}, contracts={"BTCUSDC": usdc})
    with pytest.raises(MixedCurrencies, match="BTCUSDC"):
        run(two, [signal("a", 5, symbol="BTCUSDC")])


def test_a_refused_signal_stays_with_its_reason() -> None:
    path = flat("100", LENGTH)
    path[40:60] = [None] * 20
    small = contract("ETHUSDT", min_notional="50", max_qty="4")
    market = PathMarket({"BTCUSDT": path, "ETHUSDT": flat("100", LENGTH)}, contracts={"ETHUSDT": small})
    report = run(
        market,
        [
            signal("unknown", 5, symbol="DOGE/USDT"),
            signal("stale", 50),
            signal("tiny", 5, quantity=D("0.0001")),
            signal("cheap", 5, symbol="ETH/USDT", quantity=D("0.4")),
            signal("large", 5, symbol="ETH/USDT", quantity=D(5)),
            signal("rich", 5, quantity=D("10.1")),
            signal("late", LENGTH + 1),
            signal("good", 5, quantity=D("9.9")),
            signal("no room left", 5, symbol="ETH/USDT", quantity=D(1)),
            signal("out again", 6, "sell", quantity=D("9.9")),
        ],
        capital=D(1000),
    )
    assert {record.signal_id: record.reason for record in report.signals} == {
        "unknown": "unknown_symbol", "stale": "stale_mark", "tiny": "below_min_qty", "cheap": "below_min_notional",
        "large": "above_max_qty", "rich": "insufficient_equity", "late": "outside_period", "good": "",
        "no room left": "insufficient_equity", "out again": "",
    }  # fmt: skip
    assert [record.status for record in report.signals].count("filled") == 2
    assert results_document(report)["total_signals"] == 10


def test_a_held_symbol_without_a_fresh_mark_is_counted() -> None:
    path = flat("100", LENGTH)
    path[40:60] = [None] * 20
    report = run(PathMarket({"BTCUSDT": path}), [signal("a", 5)], step=10 * MINUTE)
    assert report.stale_points == 1  # minute 50 only: at 40 the mark of 39 is young enough, at 60 there is a new one
    assert report.coverage["BTC/USDT"]["present"] == LENGTH + 1 - 4 - 20


def test_the_brief_s_fields_at_the_end() -> None:
    path = flat("100", LENGTH)
    path[60:] = [D(90)] * (LENGTH + 1 - 60)
    path[100:] = [D(120)] * (LENGTH + 1 - 100)
    machine = engine(PathMarket({"BTCUSDT": path}), venue=venue("0"), step=10 * MINUTE, capital=D(1000))
    assert (machine.equity, machine.cash, machine.equity_curve) == (D(1000), D(1000), [])
    machine.run([signal("a", 5, quantity=D(4))], START, END)
    assert (machine.cash, machine.equity, machine.unrealized_pnl) == (D(600), D(1080), D(80))
    assert machine.peak_equity == D(1080)
    assert machine.max_drawdown == D("-0.04")
    assert machine.daily_pnl == {START.date(): D(80)}
    assert len(machine.equity_curve) == 13


def test_nothing_goes_on_from_ruin() -> None:
    path = flat("100", LENGTH)
    path[60:] = [D(250)] * (LENGTH + 1 - 60)
    with pytest.raises(Insolvent, match="equity is -35"):
        run(PathMarket({"BTCUSDT": path}), [signal("a", 5, "sell", quantity=D(9))], capital=D(1000))


def test_days_end_before_midnight() -> None:
    days = 3 * 24 * 60
    path: list[Decimal | None] = [D(100 + minute // 1440) for minute in range(days + 1)]
    machine = engine(PathMarket({"BTCUSDT": path}), venue=venue("0"), step=timedelta(hours=4))
    machine.run([signal("a", 5, quantity=D(1))], START, START + timedelta(days=3))
    assert [day.day for day in machine.daily_pnl] == [1, 2, 3, 4]
    assert list(machine.daily_pnl.values()) == [D(0), D(1), D(1), D(1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": START.replace(tzinfo=None)}, "not UTC"),
        ({"time": START.astimezone(timezone(timedelta(hours=2)))}, "not UTC"),
        ({"side": "hold"}, "neither buy nor sell"),
        ({"notional": D(5)}, "exactly one"),
        ({"quantity": None}, "exactly one"),
        ({"quantity": D(0)}, "not above 0"),
        ({"quantity": D("NaN")}, "not above 0"),
        ({"confidence": D("1.01")}, "within 0 to 1"),
        ({"signal_id": ""}, "empty or was used"),
        ({"signal_id": "other"}, "empty or was used"),
    ],
)
def test_a_signal_that_cannot_be_meant_stops_the_backtest(changes: dict[str, Any], message: str) -> None:
    values = {
        "signal_id": "a", "time": START + MINUTE, "symbol": "BTC/USDT", "side": "buy", "strategy": "trend",
        "quantity": D(1),
    } | changes  # fmt: skip
    with pytest.raises(BadSignals, match=message):
        run(PathMarket({"BTCUSDT": flat("100", LENGTH)}), [signal("other", 1), Signal(**values)])


def test_too_few_data_are_no_backtest() -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH)})
    with pytest.raises(InsufficientCoverage, match="BTCUSDT: 117 of 478 bars") as refused:
        run(PathMarket({"BTCUSDT": flat("100", LENGTH)}).until(END), [signal("a", 5)], end=START + 481 * MINUTE)
    assert refused.value.coverage["BTCUSDT"].gaps[0].first == END + MINUTE
    with pytest.raises(BacktestRefused, match="forward"):
        engine(market).run([], END, START)
    with pytest.raises(BacktestRefused, match="UTC"):
        engine(market).run([], START.replace(tzinfo=None), END)


def without(path: list[Decimal | None], *minutes: int) -> list[Decimal | None]:
    """The path with no new mark at these minutes."""
    return [None if number in minutes else price for number, price in enumerate(path)]


IN_AND_OUT = [("buy", 70.5), ("sell", 90.5)]  # needs minutes 70 to 91


@pytest.mark.parametrize(
    ("eth", "orders", "needed", "gaps"),
    [
        # Recorded later than the run begins: judged from its first signal on.
        (without(flat("80", LENGTH), *range(60)), IN_AND_OUT, (70, 91, 22), []),
        (without(flat("80", LENGTH), *range(69), 70), IN_AND_OUT, (70, 91, 21), [(70, 70, 1)]),
        # Held to the end: to the end of the run.
        (without(flat("80", LENGTH), *range(60)), IN_AND_OUT[:1], (70, 120, 51), []),
        (without(flat("80", LENGTH), 118, 119), IN_AND_OUT[:1], (70, 120, 49), [(118, 119, 2)]),
        # Not held any more, and nothing of it since.
        (without(flat("80", LENGTH), *range(92, LENGTH + 1)), IN_AND_OUT, (70, 91, 22), []),
        # A gap outside is nobody's, one inside is counted to the bar.
        (without(flat("80", LENGTH), *range(20, 60), *range(100, 121)), IN_AND_OUT, (70, 91, 22), []),
        (without(flat("80", LENGTH), 75), IN_AND_OUT, (70, 91, 21), [(75, 75, 1)]),
        # A signal that is refused needs its bars as well: the report says what it was refused on.
        (flat("80", LENGTH), [("buy", 0.0)], (0, 0, 1), []),
        # At a bar's very instant what was known before it is needed.
        (flat("80", LENGTH), [("buy", 70.0), ("sell", 90.0)], (69, 90, 22), []),
    ],
)
def test_a_symbol_is_needed_from_its_first_signal_to_where_its_position_ends(
    eth: list[Decimal | None], orders: list[tuple[str, float]], needed: tuple[int, int, int], gaps: list[Any]
) -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH), "ETHUSDT": eth})
    signals = [signal(f"e{number}", at, side, symbol="ETH/USDT") for number, (side, at) in enumerate(orders)]
    report = run(market, [signal("b", 5), *signals], least_coverage=D("0.95"))
    found = report.coverage["ETH/USDT"]
    first, last, present = needed
    assert (found["start"], found["end"]) == (to_iso(START + first * MINUTE), to_iso(START + last * MINUTE))
    assert (found["expected"], found["present"]) == (last - first + 1, present)
    assert found["named_gaps"] == [
        {"first": to_iso(START + a * MINUTE), "last": to_iso(START + b * MINUTE), "missing": n} for a, b, n in gaps
    ]
    assert report.coverage["BTC/USDT"]["present"] == LENGTH + 1 - 4


@pytest.mark.parametrize(
    ("eth", "orders", "message"),
    [
        (without(flat("80", LENGTH), *range(60)), [("buy", 30.5), ("buy", 70.5)], "ETHUSDT: 61 of 91 bars"),
        (without(flat("80", LENGTH), *range(60)), [("buy", 30.5)], "ETHUSDT: 0 of 2 bars"),
        (without(flat("80", LENGTH), 75, 80), IN_AND_OUT, "ETHUSDT: 20 of 22 bars"),
        (without(flat("80", LENGTH), *range(100, 121)), IN_AND_OUT[:1], "ETHUSDT: 30 of 51 bars"),
        ([None] * (LENGTH + 1), IN_AND_OUT, "ETHUSDT: 0 of 22 bars"),
    ],
)
def test_where_a_run_lacks_what_it_needs_it_is_refused(
    eth: list[Decimal | None], orders: list[tuple[str, float]], message: str
) -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH), "ETHUSDT": eth})
    signals = [signal(f"e{number}", at, side, symbol="ETH/USDT") for number, (side, at) in enumerate(orders)]
    with pytest.raises(InsufficientCoverage, match=f"{message} of 0:01:00 that are needed from ") as refused:
        run(market, [signal("b", 5), *signals], least_coverage=D("0.95"))
    assert refused.value.coverage["BTCUSDT"].share == 1


def test_who_asks_for_nothing_is_not_refused() -> None:
    """Neither a symbol that no signal names nor one whose signals lie outside of the run has to be recorded."""
    market = PathMarket({"BTCUSDT": flat("100", LENGTH), "ETHUSDT": [None] * (LENGTH + 1)})
    report = run(market, [signal("b", 5), signal("late", LENGTH + 1, symbol="ETH/USDT")], least_coverage=D(1))
    assert list(report.coverage) == ["BTC/USDT"]
    assert [record.reason for record in report.signals] == ["", "outside_period"]
    assert run(market, [], least_coverage=D(1)).coverage == {}


EARLIER = {"quantity": D("0.5003")}  # less than a step above half a contract
NOTIONAL: dict[str, Any] = {"quantity": None, "notional": D(50)}


@pytest.mark.parametrize(
    "before",
    [
        [signal("in", -5)],
        [signal("in", -5, "sell")],
        [signal("in", -5), signal("part", -4, "sell", quantity=D("0.3"))],
        [signal("part", -4, "sell", quantity=D("0.3")), signal("in", -5)],  # a file need not be sorted
        [signal("old", -9), signal("flat", -8, "sell"), signal("in", -5), signal("more", -4)],
        [signal("in", -9), signal("turned", -5, "sell", quantity=D(1))],
        [signal("in", -5, symbol="BTCUSDT")],  # another spelling
        [signal("in", -5, **NOTIONAL), signal("out", -4, "sell", **NOTIONAL)],  # nobody knows how much that leaves
        [signal("in", -5), signal("out", -4, "sell", **NOTIONAL)],
    ],
)
def test_a_signal_of_a_position_from_before_the_period_is_not_taken_for_an_opening(before: list[Signal]) -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH)})
    machine = engine(market)
    with pytest.raises(BacktestRefused, match=f"{before[0].symbol} .* signal 'in' of 2"):
        machine.run([*before, signal("exit", 5, "sell")], START, END)
    # Without a signal in the period nothing is traded, so nothing is mistaken for anything.
    assert run(market, before).trades == ()


@pytest.mark.parametrize(
    "before",
    [
        [signal("in", -5), signal("out", -4, "sell")],
        [signal("in", -5, **EARLIER), signal("out", -4, "sell")],
        [signal("dust", -5, quantity=D("0.0001"))],
        [signal("other", -5, symbol="ETH/USDT")],
        [signal("unknown", -5, symbol="DOGE/USDT")],
    ],
)
def test_a_symbol_that_is_flat_when_the_period_begins_is_traded(before: list[Signal]) -> None:
    market = PathMarket({"BTCUSDT": flat("100", LENGTH), "ETHUSDT": flat("100", LENGTH)})
    report = run(market, [*before, signal("in now", 5), signal("out now", 6, "sell")])
    assert [record.reason for record in report.signals] == [*["outside_period"] * len(before), "", ""]
    assert results_document(report)["round_trips"]["open"] == 0


def test_signals_are_read_from_a_file() -> None:
    text = (
        "signal_id,timestamp,pair,side,strategy,confidence,qty,notional\n"
        "x1,2026-03-01T01:00:00+01:00,BTC/USDT,LONG,trend,0.75,0.5,\n"
        ",2026-03-01 00:05:00+00:00,ETH/USDT,sell,carry,,,250.5\n"
    )
    assert read_signals(text.encode()) == [
        Signal("x1", START, "BTC/USDT", "buy", "trend", D("0.5"), None, D("0.75")),
        Signal("2", START + 5 * MINUTE, "ETH/USDT", "sell", "carry", None, D("250.5"), None),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2026-03-01T00:00:00,BTC/USDT,buy,trend,1", "row 1.*no offset"),
        ("yesterday,BTC/USDT,buy,trend,1", "row 1"),
        ("2026-03-01T00:00:00Z,BTC/USDT,hold,trend,1", "row 1.*hold"),
        ("2026-03-01T00:00:00Z,BTC/USDT,buy,trend,nan", "row 1.*finite"),
        ("2026-03-01T00:00:00Z,BTC/USDT,buy,trend,1,2", "row 1.*more cells"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(row: str, message: str) -> None:
    with pytest.raises(BadSignals, match=message):
        read_signals(f"timestamp,pair,side,strategy,qty\n{row}\n".encode())


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(BadSignals, match="lack timestamp, pair"):
        read_signals(b"symbol,side,strategy\n")
    with pytest.raises(BadSignals, match="no CSV"):
        read_signals(b"\xff\xfe")


@pytest.mark.real_data
@pytest.mark.skipif(not Path(FOLDER / "bars_1h" / "perp").is_dir(), reason=f"no recorded hourly bars in {FOLDER}")
def test_hourly_bars_are_not_taken_for_minutes() -> None:
    """A replayed bar's close is known after a minute: hourly bars would show the next 59 minutes in advance."""
    start = datetime.fromisoformat("2024-01-01T00:00:00+00:00")
    machine = BacktestEngine(ReplayMarket(FOLDER / "bars_1h"), venue(), capital=D(10_000), currency="USDT")
    buy = Signal("a", start + 1.5 * MINUTE, "BTC/USDT", "buy", "trend", D("0.1"))
    with pytest.raises(InsufficientCoverage, match="BTCUSDT: 24 of 1440 bars"):
        machine.run([buy], start, start + timedelta(days=1))
    out = replace(buy, signal_id="b", side="sell", time=buy.time + timedelta(seconds=5))
    with pytest.raises(InsufficientCoverage, match="BTCUSDT: 1 of 2 bars"):
        machine.run([buy, out], start, start + timedelta(days=1))


@pytest.mark.real_data
@pytest.mark.skipif(not Path(FOLDER / "bars_1m" / "perp").is_dir(), reason=f"no recorded minute bars in {FOLDER}")
def test_a_symbol_recorded_from_the_sixth_day_on_is_traded_from_then_on() -> None:
    """ADA of the recorded month begins on 2025-05-09 at 18:18, the others on 2025-05-04."""
    market = ReplayMarket(FOLDER / "bars_1m")
    machine = BacktestEngine(market, venue(), capital=D(10_000), currency="USDT")
    first = datetime.fromisoformat("2025-05-09T18:19:30+00:00")
    buy = Signal("a", first, "ADA/USDT", "buy", "trend", None, D(1000))
    end = first + timedelta(days=1)
    report = machine.run([buy], market.start, end)
    assert report.coverage["ADA/USDT"]["present"] == report.coverage["ADA/USDT"]["expected"] == 1441
    assert report.points[0].time == market.start
    with pytest.raises(InsufficientCoverage, match="ADAUSDT: 0 of 2 bars"):
        machine.run([replace(buy, time=first - timedelta(days=1))], market.start, end)


@pytest.mark.real_data
@pytest.mark.skipif(not Path(FOLDER / "bars_1m" / "perp").is_dir(), reason=f"no recorded minute bars in {FOLDER}")
def test_thirty_recorded_days_import_without_a_flag() -> None:
    market = ReplayMarket(FOLDER / "bars_1m")
    signals = [
        Signal(
            f"s{each}", market.start + timedelta(hours=each, seconds=30), ("BTC/USDT", "XRP/USDT")[each % 2],
            ("buy", "sell")[each // 3 % 2], ("trend", "carry")[each % 5 // 3], None, D(700 + 13 * each),
        )
        for each in range(1, 700, 7)
    ]  # fmt: skip
    machine = BacktestEngine(market, venue(), capital=D(100_000), currency="USDT")
    report = machine.run(signals, market.start, market.end)
    results = results_document(report)
    assert results["total_trades"] >= 90
    assert results["funding"] != 0
    assert results["annualisation"]["daily_returns"] == 30
    assert sum(machine.daily_pnl.values()) == results["final_equity"] - 100_000
    assert import_report(report_files(report), market.end).flags == ()
