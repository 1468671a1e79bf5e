"""The stored report: the brief's columns and names, exact identities, one set of bytes a name."""

import csv
import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.accounting.precision import EXACT
from assets.telemetry.backtest.report import (
    CapitalFlow,
    EquityPoint,
    FundingPayment,
    Holding,
    MixedCurrencies,
    Report,
    ReportContradiction,
    ReportError,
    ReportExists,
    SignalRecord,
    Trade,
    daily_returns,
    report_files,
    results_document,
    return_and_drawdown,
    round_trips,
    volatility_and_sharpe,
    write_report,
)
from resources.documents import load_document, sha256_hex
from resources.settings import Settings
from resources.store import StoreUnavailable
from tests.memory_store import MemoryStore

D = Decimal
START = datetime(2025, 5, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ORACLES = Settings().test_data / "perf_oracles" / "empyrical_expected.json"


def trade(name: str, hours: float, side: Any, quantity: str, price: str, **changes: Any) -> Trade:
    values = {"symbol": "BTC/USD", "fee": D(0), "strategy": "trend", "currency": "USD"} | changes
    return Trade(trade_id=name, time=START + hours * HOUR, side=side, quantity=D(quantity), price=D(price), **values)


def report(trades: list[Trade], equities: list[str], **changes: Any) -> Report:
    """A report with one point an hour, whose cash is not looked at."""
    points = tuple(EquityPoint(START + n * HOUR, D(equity), D(equity)) for n, equity in enumerate(equities))
    values = {"currency": "USD", "source": "SCRIPTED", "start_value": D(1000), "signals": (), "prices": {}} | changes
    return Report(points=points, trades=tuple(trades), **values)


def closed(*trades: Trade, start: str = "1000", **changes: Any) -> Report:
    """A report of trades that leave nothing held; the last equity is what they earned."""
    with localcontext(EXACT):
        final = D(start) + sum((each.paid for each in trades), D(0))
        final += sum((payment.amount for payment in changes.get("funding", ())), D(0))
    return report(list(trades), [start, str(final)], start_value=D(start), **changes)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_the_brief_s_own_rows_have_the_brief_s_amounts() -> None:
    bought = trade("1", 0, "buy", "0.0055268541719740594", "108560.85239999999", fee=D("1.5599999999999998"))
    sold = trade("2", 1, "sell", "0.0055268541719740594", "107013.17970000001", fee=D("1.5377602205710024"))
    files = report_files(closed(bought, sold, start="10000"))
    assert files["trades.csv"].splitlines()[0] == b"symbol,side,qty,price,fee,strategy,cost,proceeds"
    assert files["equity_curve.csv"].splitlines()[:2] == [
        b"datetime,equity,cash", b"2025-05-24 12:00:00+00:00,10000,10000",
    ]  # fmt: skip
    buy, sell = rows(files["trades.csv"])
    assert (round(float(buy["cost"]), 10), buy["proceeds"]) == (601.56, "")
    assert (sell["cost"], round(float(sell["proceeds"]), 10)) == ("", 589.9084784606)
    # The traps' own figure: 589.91 - 601.56 = -11.65.
    assert round(D(sell["proceeds"]) - D(buy["cost"]), 2) == D("-11.65")


def test_results_have_the_brief_s_names_first_and_say_what_they_mean() -> None:
    document = results_document(closed(trade("1", 0, "buy", "1", "100"), trade("2", 1, "sell", "1", "103.90")))
    assert list(document)[:10] == [
        "total_return", "sharpe_ratio", "max_drawdown", "final_equity", "start_value", "volatility", "total_trades",
        "total_signals", "signal_to_trade_ratio", "win_rate",
    ]  # fmt: skip
    assert document["total_return"] == D("0.39")  # per cent
    assert (document["final_equity"], document["max_drawdown"]) == (D("1003.90"), 0)
    assert (document["total_trades"], document["win_rate"]) == (2, 100)
    assert "fills" in document["definitions"]["total_trades"]
    assert document["period"] == {
        "start": "2025-05-24T12:00:00.000000+00:00", "end": "2025-05-24T13:00:00.000000+00:00",
    }  # fmt: skip
    assert (document["currency"], document["annualisation"]["days_per_year"]) == ("USD", 365)


def test_what_is_undefined_is_null() -> None:
    document = json.loads(report_files(report([], ["1000"]))["results.json"])
    undefined = {name for name, value in document.items() if value is None}
    assert undefined == {"sharpe_ratio", "volatility", "signal_to_trade_ratio", "win_rate"}
    assert document["total_return"] == 0


amounts = st.integers(1, 10**9).map(lambda units: D(units).scaleb(-6))
ledgers = st.lists(
    st.tuples(
        st.sampled_from(["BTC/USD", "ETH/USD"]), st.sampled_from(["buy", "sell"]), amounts, amounts,
        st.integers(0, 10**8).map(lambda units: D(units).scaleb(-8)), st.sampled_from(["trend", "carry"]),
        st.sampled_from(["", "pair-1"]),
    ),
    max_size=12,
)  # fmt: skip
payments = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["BTC/USD", "ETH/USD"]), st.integers(-999, 999)))


@settings(max_examples=150)
@given(ledgers, payments, st.lists(st.tuples(st.integers(0, 12), st.integers(-99, 999)), max_size=3), st.data())
def test_round_trips_and_files_both_add_up_to_final_equity(
    ledger: list[Any], paid: list[Any], flowed: list[Any], data: st.DataObject
) -> None:
    opening = data.draw(
        st.lists(st.builds(Holding, st.just("BTC/USD"), amounts, amounts, st.just("trend")), max_size=2)
    )
    trades = [
        trade(str(n), n, side, str(quantity), str(price), symbol=symbol, fee=fee, strategy=strategy, group=group)
        for n, (symbol, side, quantity, price, fee, strategy, group) in enumerate(ledger)
    ]
    prices = {"BTC/USD": data.draw(amounts), "ETH/USD": data.draw(amounts)}
    funding = tuple(FundingPayment(START + n * HOUR, symbol, D(a).scaleb(-8)) for n, symbol, a in paid)
    flows = tuple(CapitalFlow(START + n * HOUR, D(a)) for n, a in flowed)
    held = sum((each.quantity * (prices[each.symbol] - each.price) for each in opening), D(0))
    held += sum((each.signed * prices[each.symbol] + each.paid for each in trades), D(0))
    final = 10**10 + held + sum((p.amount for p in funding), D(0)) + sum((f.amount for f in flows), D(0))
    made = report(
        trades, ["10000000000", str(final)], start_value=D(10) ** 10, prices=prices, funding=funding, flows=flows,
        opening=tuple(opening),
    )  # fmt: skip
    trips = round_trips(made)
    net = sum((trip.net for trip in (*trips.closed, *trips.open)), D(0)) + trips.unattributed
    assert made.final_equity == made.start_value + net + made.net_flows
    written = report_files(made)
    results = load_document(written["results.json"])
    cash = sum((D(row["proceeds"] or 0) - D(row["cost"] or 0) for row in rows(written["trades.csv"])), D(0))
    gained = cash + results["held_value"] - results["opening_value"] + results["funding"] + results["net_flows"]
    assert results["final_equity"] - results["start_value"] == gained
    assert results["round_trips"]["closed_net_pnl"] == sum((trip.net for trip in trips.closed), D(0))
    assert sum(trip.trades for trip in (*trips.closed, *trips.open)) >= len(trades)


@pytest.mark.parametrize("off", ["0.00000001", "-0.00000001", "100"])
def test_a_curve_that_the_fills_do_not_give_is_no_report(off: str) -> None:
    trades = [trade("1", 0, "buy", "1", "100"), trade("2", 1, "sell", "1", "110")]
    with pytest.raises(ReportContradiction, match="fills and funding leave 1010"):
        report(trades, ["1000", str(1010 + D(off))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": ()}, "0 equity points"),
        ({"start_value": D(0)}, "start value 0"),
        ({"points": (EquityPoint(START, D(1000), D(1000)),) * 2}, "ascending"),
        ({"trades": (trade("1", 0, "buy", "0", "100"),)}, "quantity 0"),
        ({"trades": (trade("1", 0, "buy", "1", "0.00"),)}, r"price 0\.00"),
        ({"trades": (trade("1", 0, "buy", "1", "1", fee=D(-1)),)}, "fee -1"),
        ({"trades": (trade("1", 0, "buy", "1", "1"),) * 2}, "ids repeat"),
        ({"trades": (trade("1", 0, "buy", "1", "1"),)}, "no closing price for BTC/USD"),
    ],
)
def test_impossible_values_are_no_report(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportContradiction, match=message):
        replace(report([], ["1000"]), **changes)


def test_one_quote_currency_a_report() -> None:
    euros = trade("1", 0, "buy", "1", "100", symbol="BTC/EUR", currency="EUR")
    with pytest.raises(MixedCurrencies, match="cannot add up EUR"):
        closed(euros, trade("2", 1, "sell", "1", "110", symbol="BTC/EUR", currency="EUR"))


def test_partial_exits_are_one_round_trip() -> None:
    trips = round_trips(
        closed(
            trade("1", 0, "buy", "1", "100", fee=D(1)),
            trade("2", 1, "sell", "0.5", "110"),
            trade("3", 2, "sell", "0.5", "91", fee=D("0.2")),
        )
    )
    (trip,) = trips.closed
    assert (trip.net, trip.trades, trips.open) == (D("-0.7"), 3, ())
    assert (trip.opened, trip.closed) == (START, START + 2 * HOUR)


def test_a_fill_through_zero_ends_one_trip_and_begins_another() -> None:
    trips = round_trips(
        closed(
            trade("1", 0, "buy", "1", "100"),
            trade("2", 1, "sell", "3", "110", fee=D(3)),
            trade("3", 2, "buy", "2", "120", fee=D(1)),
        )
    )
    assert [trip.net for trip in trips.closed] == [D(9), D(-23)]


def test_the_legs_of_a_group_are_won_or_lost_together() -> None:
    legs = [
        trade("1", 0, "buy", "1", "100", group="t1"),
        trade("2", 0, "sell", "1", "101", group="t1", symbol="BTC/USD perp"),
        trade("3", 1, "sell", "1", "90", group="t1"),
        trade("4", 1, "buy", "1", "90.5", group="t1", symbol="BTC/USD perp"),
    ]
    document = results_document(closed(*legs))
    assert document["round_trips"]["closed"] == 1
    assert (document["round_trips"]["closed_net_pnl"], document["win_rate"]) == (D("0.5"), 100)
    alone = results_document(closed(*(replace(leg, group="") for leg in legs)))
    assert (alone["round_trips"]["closed"], alone["win_rate"]) == (2, 50)


def test_seven_of_twenty_five_round_trips_are_28_per_cent_of_51_fills() -> None:
    trades = [
        trade(f"{n}{side}", n, side, "1", "100" if side == "buy" else ("101" if n < 7 else "99"))
        for n in range(25)
        for side in ("buy", "sell")
    ]
    last = trade("open", 30, "buy", "1", "100")
    final = 1000 + sum((each.paid for each in trades), D(0))
    document = results_document(report([*trades, last], ["1000", str(final)], prices={"BTC/USD": D(100)}))
    assert (document["total_trades"], document["win_rate"]) == (51, D(28))
    assert document["round_trips"]["open"] == 1


def test_two_strategies_that_cancel_each_other_are_both_open() -> None:
    trades = [trade("1", 0, "buy", "1", "100"), trade("2", 0, "sell", "1", "104", strategy="carry")]
    with pytest.raises(ReportContradiction, match="no closing price for BTC/USD"):
        report(trades, ["1000", "1004"])
    made = report(trades, ["1000", "1004"], prices={"BTC/USD": D(103)})
    assert {trip.strategy: trip.net for trip in round_trips(made).open} == {"trend": D(3), "carry": D(1)}
    assert (made.held, made.held_value) == ({}, 0)


def test_funding_is_shared_by_who_held_the_symbol() -> None:
    made = closed(
        trade("1", 0, "buy", "3", "100"),
        trade("2", 0, "sell", "1", "100", strategy="carry"),
        trade("3", 2, "sell", "3", "100"),
        trade("4", 2, "buy", "1", "100", strategy="carry"),
        funding=(
            FundingPayment(START + HOUR, "BTC/USD", D("-0.2")),
            FundingPayment(START + 3 * HOUR, "BTC/USD", D("0.05")),
        ),
    )
    trips = round_trips(made)
    assert {trip.strategy: trip.net for trip in trips.closed} == {"trend": D("-0.3"), "carry": D("0.1")}
    assert trips.unattributed == D("0.05")


def test_a_deposit_is_no_return() -> None:
    quiet = closed(trade("1", 0, "buy", "1", "100"), trade("2", 0.5, "sell", "1", "110"))
    points = (*quiet.points, EquityPoint(START + 2 * HOUR, quiet.final_equity + 500, D(0)))
    paid_in = replace(quiet, points=points, flows=(CapitalFlow(START + 1.5 * HOUR, D(500)),))
    before, after = results_document(quiet), results_document(paid_in)
    for name in ("total_return", "max_drawdown", "win_rate"):
        assert before[name] == after[name], name
    assert after["final_equity"] == before["final_equity"] + 500


def test_daily_returns_take_the_last_value_before_midnight() -> None:
    midnight = datetime(2025, 5, 25, tzinfo=UTC)
    points = [
        EquityPoint(time, D(equity), D(0))
        for time, equity in (
            (START, 1000), (midnight - HOUR, 1100), (midnight, 5000), (midnight + 23 * HOUR, 550),
            (midnight + 25 * HOUR, 9),
        )
    ]  # fmt: skip
    found = daily_returns(D(1000), points, ())
    assert (found.returns, found.carried, found.breaks) == ((D("0.1"), D("-0.5")), 0, 0)
    with_flow = daily_returns(D(1000), points, [CapitalFlow(midnight + HOUR, D(-1000))])
    assert with_flow.returns == (D("0.1"), D("4.5"))


def test_a_day_may_be_carried_and_a_longer_hole_breaks_the_series() -> None:
    def points(*days: int) -> list[EquityPoint]:
        return [EquityPoint(START + timedelta(days=day), D(1000 + 100 * day), D(0)) for day in days]

    carried = daily_returns(D(1000), points(0, 2, 3), ())
    assert (carried.returns, carried.carried, carried.breaks) == ((D(0), D(0), D("0.2")), 1, 0)
    broken = daily_returns(D(1000), points(0, 3, 4, 5), ())
    assert (len(broken.returns), broken.carried, broken.breaks) == (2, 0, 1)


def test_a_drawdown_starts_from_the_starting_value() -> None:
    points = [EquityPoint(START, D(900), D(0)), EquityPoint(START + HOUR, D(990), D(0))]
    assert return_and_drawdown(D(1000), points, ()) == (D("-0.01"), D("-0.1"))
    all_gone = return_and_drawdown(D(1000), points, [CapitalFlow(START, D(-1000))])
    assert all_gone == (None, None)


@settings(max_examples=100)
@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=30))
def test_drawdown_and_return_cannot_contradict_each_other(equities: list[int]) -> None:
    points = [EquityPoint(START + n * HOUR, D(equity), D(0)) for n, equity in enumerate(equities)]
    total, drawdown = return_and_drawdown(D(1000), points, ())
    assert total is not None
    assert drawdown is not None
    assert -1 <= drawdown <= min(0, total) + D("1e-50")
    assert math.isclose(total, equities[-1] / 1000 - 1, abs_tol=1e-12)
    peak, lowest = 1000, 0.0
    for equity in equities:
        peak = max(peak, equity)
        lowest = min(lowest, equity / peak - 1)
    assert math.isclose(drawdown, lowest, abs_tol=1e-12)


@pytest.mark.real_data
@pytest.mark.skipif(not Path(ORACLES).is_file(), reason=f"no {ORACLES}")
def test_ratios_agree_with_published_ones() -> None:
    """empyrical's published figures, annualised there with other days a year."""
    published = json.loads(Path(ORACLES).read_text())
    seen = 0
    for check in published["checks"]:
        values = [D(repr(value)) for value in published["series"][check["series"]] if value is not None]
        days = check["params"].get("periods", 252)
        volatility, sharpe = volatility_and_sharpe(values)
        scale = math.sqrt(365 / days)
        if check["metric"] == "annual_volatility":
            assert math.isclose(volatility or 0, check["expected"] * scale, rel_tol=1e-9)
        elif check["metric"] == "sharpe" and check["params"].get("rf") == 0:
            assert math.isclose(sharpe or 0, check["expected"] * scale, rel_tol=1e-9)
        elif check["metric"] == "max_drawdown":
            equity, points = D(1), []
            for number, value in enumerate(values):
                equity *= 1 + value
                points.append(EquityPoint(START + number * HOUR, equity, D(0)))
            assert math.isclose(return_and_drawdown(D(1), points, ())[1] or 0, check["expected"], abs_tol=1e-7)
        else:
            continue
        seen += 1
    assert seen >= 8


def test_flat_or_single_returns_have_no_ratio() -> None:
    assert volatility_and_sharpe([D("0.01")]) == (None, None)
    assert volatility_and_sharpe([D("0.01")] * 5) == (D(0), None)


def some_report(price: str = "110") -> Report:
    signal = SignalRecord("s1", START, "BTC/USD", "buy", "trend", D("0.7"), D(1), None, "filled")
    return closed(trade("1", 0, "buy", "1", "100"), trade("2", 1, "sell", "1", price), signals=(signal,))


def test_a_report_is_written_once() -> None:
    store = MemoryStore()
    results = write_report(store, "first", some_report())
    stored = store.contents()
    assert sorted(stored) == [
        f"reports/first/{file}" for file in ("equity_curve.csv", "results.json", "signals.csv", "trades.csv")
    ]
    document = load_document(stored["reports/first/results.json"])
    assert {name: document[name] for name in results} == results
    assert document["sha256"] == {
        name: sha256_hex(stored[f"reports/first/{name}"]) for name in ("equity_curve.csv", "signals.csv", "trades.csv")
    }
    assert stored["reports/first/signals.csv"].splitlines() == [
        b"signal_id,timestamp,pair,side,strategy,confidence,qty,notional,status,reason",
        b"s1,2025-05-24 12:00:00+00:00,BTC/USD,buy,trend,0.7,1,,filled,",
    ]
    assert write_report(store, "first", some_report()) == results
    with pytest.raises(ReportExists, match="reports/first/"):
        write_report(store, "first", some_report("111"))
    assert store.contents() == stored


class StoppingStore(MemoryStore):
    """Gives up after ``left`` creations."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def create(self, key: str, data: bytes) -> str:
        if not self.left:
            raise StoreUnavailable("stopped")
        self.left -= 1
        return super().create(key, data)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_report_killed_half_way_has_no_results_and_is_finished_later(left: int) -> None:
    store = StoppingStore(left)
    with pytest.raises(StoreUnavailable):
        write_report(store, "half", some_report())
    assert "reports/half/results.json" not in store.contents()
    store.left = 9
    write_report(store, "half", some_report())
    whole = MemoryStore()
    write_report(whole, "half", some_report())
    assert store.contents() == whole.contents()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", " a", "a\n", "../../ledger", "a" * 256])
def test_a_name_is_one_folder(name: str) -> None:
    store = MemoryStore()
    with pytest.raises(ReportError, match="no name for a report"):
        write_report(store, name, some_report())
    assert store.contents() == {}
