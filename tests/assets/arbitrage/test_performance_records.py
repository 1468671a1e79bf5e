"""What telemetry is told of each event: by its docstring's table, exactly, and nothing of the rest."""

import re
from decimal import Decimal

import pytest

from assets.arbitrage import performance
from assets.arbitrage.events import (
    EntryAbandoned,
    Event,
    FlowPosted,
    FundingPaid,
    Halted,
    OrderFilled,
    OrderRefused,
    SessionOpened,
    TradeClosed,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import Leg, OrderType, Purpose
from assets.arbitrage.performance import performance_record, performance_records
from assets.arbitrage.portfolio import Portfolio
from resources.documents import Document
from resources.feed import NANOSECONDS
from tests.arbitrage_parts import DAY, DAY_START, NEXT_DAY, LogWriter, rich_log

D = Decimal


def table() -> dict[str, set[str]]:
    """Kinds and fields as the module promises them."""
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", performance.__doc__ or "", re.MULTILINE)
    promised = {kind: re.sub(r"\([^)]*\)", "", fields) for kind, fields in rows if kind != "kind"}
    return {kind: {name.strip() for name in fields.split(",")} for kind, fields in promised.items()}


def records(log: LogWriter) -> list[Document]:
    return list(performance_records(log.events, Portfolio()))


def of_kind(log: LogWriter, kind: str) -> list[Document]:
    return [record for record in records(log) if record["kind"] == kind]


def test_every_kind_has_the_fields_that_are_promised_and_no_others() -> None:
    seen = {}
    for record in records(rich_log()):
        fields = set(record) - {"kind"}
        assert seen.setdefault(record["kind"], fields) == fields
    assert seen == table()


def test_each_event_that_telemetry_cares_about_makes_one_record_in_order() -> None:
    log = rich_log()
    makes: dict[type[Event], str] = {
        SessionOpened: "opened", FlowPosted: "flow", TradeProposed: "signal", OrderFilled: "fill", Halted: "error",
        FundingPaid: "funding", TradeClosed: "trade", Valued: "point", OrderRefused: "error",
        EntryAbandoned: "entry_abandoned",
    }  # fmt: skip
    expected = [makes[type(event)] for event in log.events if type(event) in makes]
    assert [record["kind"] for record in records(log)] == expected


def test_nothing_is_said_of_the_rest() -> None:
    log = rich_log()
    portfolio, silent = Portfolio(), set()
    for event in log.events:
        portfolio.apply(event)
        if performance_record(event, portfolio) is None:
            silent.add(type(event).__name__)
    assert silent == {
        "EntryRefused", "OrderSubmitted", "OrderAccepted", "OrderCancelled", "LegOut", "LegOutHedged", "TradeOpened",
        "TradeExiting", "EntriesResumed", "InstructionRefused",
    }  # fmt: skip


def test_a_session_says_what_it_began_with_and_where_from() -> None:
    log = LogWriter()
    log.flow("500.5")
    log.opened_trade()
    assert of_kind(log, "opened") == [
        {
            "kind": "opened", "time_ns": DAY_START, "day": DAY, "source": "SIMULATED", "capital": D(20_000),
            "carried_day": "",
        }
    ]  # fmt: skip
    state = log.portfolio.carried_document("e" * 64)
    following = LogWriter(
        Portfolio.from_carried(state), day=NEXT_DAY, start_ns=DAY_START + 86_400 * NANOSECONDS, carried_day=DAY,
        carried="e" * 64,
    )  # fmt: skip
    (opened,) = performance_records(following.events, Portfolio.from_carried(state))
    assert opened["capital"] == log.portfolio.available + log.portfolio.total_open
    assert opened["carried_day"] == DAY


@pytest.mark.parametrize(("leg", "side"), [(Leg.LONG, "buy"), (Leg.SHORT, "sell")])
def test_a_fill_names_its_market_its_side_and_its_signal(leg: Leg, side: str) -> None:
    log = LogWriter()
    trade = log.propose("2")
    order = log.send(trade, leg, size="2", price="100")
    log.fill(order, "0.75", "100", "0.0375")
    assert of_kind(log, "fill") == [
        {
            "kind": "fill", "time_ns": log.now, "order_id": order, "signal_id": trade,
            "exchange": "binance" if leg is Leg.LONG else "bybit", "symbol": "BTCUSDT", "side": side,
            "quantity": D("0.75"), "price": D(100), "fee": D("0.0375"), "slippage_bps": None,
        }
    ]  # fmt: skip


def test_each_execution_of_an_order_is_a_fill_of_its_own_size() -> None:
    log = LogWriter()
    order = log.send(log.propose("2"), Leg.LONG, size="2")
    for size in ("0.5", "0.5", "1"):
        log.fill(order, size)
    assert [fill["quantity"] for fill in of_kind(log, "fill")] == [D("0.5"), D("0.5"), D(1)]


def test_a_closed_trade_is_told_with_what_it_made_and_what_it_paid() -> None:
    log = LogWriter()
    began = log.now
    log.wait(5 * NANOSECONDS)
    closed = log.closed_trade()
    (trade,) = of_kind(log, "trade")
    fees = sum((fill["fee"] for fill in of_kind(log, "fill")), D(0))
    assert trade["pnl_usd"] == closed.actual_profit_usd == D(2) - fees
    assert trade["fees_usd"] == fees > 0
    assert (trade["opened_ns"], trade["closed_ns"]) == (began + 5 * NANOSECONDS, log.now)
    assert trade["slippage_bps"] is None, "no market order, so nothing slipped"
    assert (trade["notional_usd"], trade["confidence"], trade["close_reason"]) == (D(101), 85, "profit_target")


def test_the_notional_is_what_was_filled_and_not_what_was_proposed() -> None:
    """Of the leg that was worth more, as sizes are measured."""
    log = LogWriter()
    trade = log.propose("8", "900")
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "2", "100")
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100.5")
    log.trade_leg(trade, Leg.SHORT, Purpose.ENTRY, "3", "101")
    log.open(trade)
    log.exit(trade)
    log.trade_leg(trade, Leg.LONG, Purpose.EXIT, "3", "101")
    log.trade_leg(trade, Leg.SHORT, Purpose.EXIT, "3", "100")
    log.close(trade)
    (record,) = of_kind(log, "trade")
    assert record["notional_usd"] == 303


def test_an_entry_that_was_taken_back_was_worth_what_had_filled() -> None:
    log = LogWriter()
    trade = log.propose("2", "900")
    order = log.send(trade, Leg.SHORT, size="2", price="101")
    log.fill(order, "1.5")
    log.cancel(order)
    log.leg_out(trade, Purpose.ENTRY)
    log.trade_leg(trade, Leg.SHORT, Purpose.UNWIND, "1.5", "102")
    log.hedged(trade, Purpose.ENTRY, "102", "1.5")
    log.close(trade)
    (record,) = of_kind(log, "trade")
    assert record["notional_usd"] == D("151.5")


def test_slippage_of_a_trade_is_weighted_by_what_was_paid() -> None:
    log = LogWriter()
    trade = log.propose("1")
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.leg_out(trade, Purpose.ENTRY)
    log.trade_leg(trade, Leg.LONG, Purpose.UNWIND, "1", "99")
    log.hedged(trade, Purpose.ENTRY, "99", "1")
    log.close(trade)
    (record,) = of_kind(log, "trade")
    assert record["slippage_bps"] == D(2), "the limit fill does not count as slippage of nothing"


def test_a_point_is_worth_what_the_pool_and_what_is_open_are_worth() -> None:
    log = LogWriter()
    log.opened_trade()
    log.value("-1.5")
    log.value(None, ("bybit:BTCUSDT",))
    known, unknown = of_kind(log, "point")
    portfolio = log.portfolio
    assert known["equity"] == portfolio.available + portfolio.total_open - D("1.5")
    assert known["fees"] == portfolio.fees > 0
    assert known["realized"] == portfolio.realised
    assert unknown["equity"] is unknown["unrealized"] is None, "unknown is not zero"


def test_a_refused_order_and_a_halt_are_errors_with_their_reasons() -> None:
    log = LogWriter()
    trade = log.propose()
    log.refuse_order(log.send(trade, Leg.LONG, order_type=OrderType.LIMIT), "stale_quote")
    log.abandon(trade)
    log.halt("it is enough")
    assert [record["reason"] for record in of_kind(log, "error")] == ["stale_quote", "it is enough"]
    assert of_kind(log, "entry_abandoned") == [
        {"kind": "entry_abandoned", "time_ns": log.now, "signal_id": trade, "reason": "timeout"}
    ]


def test_the_amounts_told_add_up_to_what_the_portfolio_realised() -> None:
    """Over whole trades: cash of fills, fees and funding; of what is open, only what was posted."""
    log = LogWriter()
    log.closed_trade()
    log.closed_trade(exit=("99.5", "101.4"))
    cash = D(0)
    for record in records(log):
        if record["kind"] == "fill":
            cash += record["quantity"] * record["price"] * (1 if record["side"] == "sell" else -1) - record["fee"]
    assert cash == log.portfolio.realised
    assert sum(record["pnl_usd"] for record in of_kind(log, "trade")) == log.portfolio.cumulative_pnl
