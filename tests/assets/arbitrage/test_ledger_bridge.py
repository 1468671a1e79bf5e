"""The same log through the desk's other ledger gives the same money: an independent implementation agrees."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings

from assets.accounting.book import Book
from assets.accounting.events import Fill, Flow, Funding
from assets.arbitrage.ledger_bridge import BridgeError, LedgerBridge, book_of, disagreements, ledger_events
from assets.arbitrage.model import Leg, Purpose
from assets.arbitrage.portfolio import Portfolio
from tests.arbitrage_parts import C0, DAY, DAY_NS, DAY_START, NEXT_DAY, LogWriter, folded, logs, rich_log

D = Decimal


@settings(max_examples=60)
@given(logs())
def test_the_two_ledgers_agree_after_every_event(log: LogWriter) -> None:
    portfolio, bridge, book = Portfolio(), LedgerBridge(), Book(C0)
    for event in log.events:
        portfolio.apply(event)
        translated = bridge.translate(event)
        book.apply_all([] if translated is None else [translated])
        assert disagreements(book, portfolio) == []


def test_with_nothing_open_cash_is_capital_and_all_that_was_realised() -> None:
    log = LogWriter()
    log.flow("12.5")
    log.closed_trade()
    log.closed_trade(exit=("99", "103"))
    book, portfolio = book_of(log.events, C0), log.portfolio
    assert book.held() == {}
    assert book.cash == C0 + D("12.5") + portfolio.realised == portfolio.available
    assert book.realised - book.fees + book.funding == portfolio.cumulative_pnl


def test_a_log_of_two_days_agrees_too() -> None:
    first = rich_log()
    carried = first.portfolio.carried_document("a" * 64)
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=DAY_START + DAY_NS, carried_day=DAY, carried="a" * 64
    )
    active, pending = second.portfolio.open_trades
    second.exit(active.id)
    for leg in Leg:
        second.trade_leg(active.id, leg, Purpose.EXIT, "0.5", "100")
    second.close(active.id)
    second.abandon(pending.id)
    book = book_of(first.events, C0)
    orders = [order for trade in first.portfolio.open_trades for order in trade.orders.values()]
    book.apply_all(ledger_events(second.events, orders))
    assert disagreements(book, second.portfolio) == []
    assert book.held() == {}
    assert book.cash == second.portfolio.available


def test_an_order_carried_overnight_is_filled_on_the_next_day() -> None:
    first = LogWriter()
    trade_id = first.propose()
    order = first.send(trade_id, Leg.SHORT)
    second = LogWriter(
        Portfolio.from_carried(first.portfolio.carried_document("a" * 64)),
        day=NEXT_DAY,
        start_ns=DAY_START + DAY_NS,
        carried_day=DAY,
        carried="a" * 64,
    )
    second.fill(order)
    (fill,) = ledger_events(second.events, [first.portfolio.order(order)])
    assert isinstance(fill, Fill)
    assert (fill.event_id, fill.symbol, fill.quantity) == (f"{NEXT_DAY}:1", "bybit:BTCUSDT", D(-1))
    with pytest.raises(BridgeError, match="event 1 fills the unknown order"):
        ledger_events(second.events)


def test_events_are_told_in_the_ledgers_words() -> None:
    log = LogWriter()
    log.flow("3")
    trade_id = log.propose()
    log.wait(1_500)
    log.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "0.5", "100")
    log.trade_leg(trade_id, Leg.SHORT, Purpose.ENTRY, "0.5", "101")
    log.open(trade_id)
    log.wait(1)
    log.fund(trade_id, Leg.SHORT, "0.0002", "100")
    flow, bought, sold, funding = ledger_events(log.events)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert flow == Flow(f"{DAY}:1", start, D(3), "moved")
    moment = start.replace(microsecond=1)
    order_id = next(iter(log.portfolio.trade(trade_id).orders))
    assert bought == Fill(f"{DAY}:4", moment, "binance:BTCUSDT", D("0.5"), D(100), D("0.025"), order_id, trade_id)
    assert isinstance(sold, Fill)
    assert (sold.symbol, sold.quantity) == ("bybit:BTCUSDT", D("-0.5"))
    assert funding == Funding(f"{DAY}:8", moment, "bybit:BTCUSDT", D("-0.5"), D(100), D("0.0002"), D("0.01"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda book: setattr(book, "cash", book.cash + 1), ["cash"]),
        (lambda book: setattr(book, "fees", book.fees + 1), ["fees"]),
        (lambda book: book.positions.pop("bybit:BTCUSDT"), ["positions"]),
    ],
)
def test_a_difference_is_put_in_words(change: Callable[[Book], object], words: list[str]) -> None:
    log = rich_log()
    book = book_of(log.events, C0)
    assert disagreements(book, folded(log.events)) == []
    change(book)
    assert [line.split(":")[0] for line in disagreements(book, log.portfolio)] == words
