"""What live readers are told: a function of the log, the same for everybody, of each log's beginning the beginning."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.codec import value_to_document
from assets.arbitrage.events import Event, OrderFilled, SessionOpened, TradeProposed
from assets.arbitrage.model import Leg, Purpose
from assets.arbitrage.outbox import Outbox
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.publication import (
    ACTIVE,
    BATCH_NS,
    CLOSED,
    CLOSED_IN_STATE,
    DAILY_METRICS,
    LEG_OUT_EVENTS,
    MONITOR_METRICS,
    MONITOR_TRADES,
    PORTFOLIO_STATE,
    MarketTradeBatches,
    Publication,
    log_name,
    records_between,
)
from resources.bus import START, Batch, CursorAhead, EntryId, KeyValue, StreamRecord
from resources.bus.streams import (
    CONFIRMS,
    MARKET_TRADES,
    SIGNALS,
    Confirmation,
    MarketTrades,
    Signal,
    VenueTrades,
    parse_entry,
)
from resources.documents import Document, dump_document, load_document
from resources.feed import FeedEvent, Quote, Trade, to_units
from resources.store import StoreUnavailable
from tests.arbitrage_parts import DAY, DAY_NS, DAY_START, NEXT_DAY, LogWriter, listing, logs, rich_log

END = EntryId(2**62, 0)


def opened(events: list[Event]) -> SessionOpened:
    first = events[0]
    assert isinstance(first, SessionOpened)
    return first


def publication(events: list[Event]) -> Publication:
    return Publication(opened(events), lambda seq: iter(events[seq + 1 :]))


def batches(events: list[Event], limit: int = 7) -> Iterator[Batch]:
    source, seq = publication(events), -1
    while batch := source.batch_after(seq, limit):
        yield batch
        seq = batch.seq


def published(events: list[Event], limit: int = 7) -> tuple[list[StreamRecord], dict[str, bytes]]:
    """All records, and the keys as they end up in Redis."""
    found: list[StreamRecord] = []
    keys: dict[str, KeyValue] = {}
    for batch in batches(events, limit):
        found += batch.records
        for key, value in batch.keys.items():
            if value is None:
                keys.pop(key, None)
            else:
                keys[key] = value
    return found, {key: kept.value for key, kept in keys.items()}


def state_of(keys: dict[str, bytes]) -> Document:
    return load_document(keys[PORTFOLIO_STATE])


@settings(max_examples=25)
@given(logs(), st.integers(1, 50), st.integers(1, 50), st.data())
def test_a_beginning_of_the_log_gives_a_beginning_of_the_records(
    log: LogWriter, one: int, other: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, len(log.events)))
    whole, _ = published(log.events, one)
    part, keys = published(log.events[:length], other)
    assert part == whole[: len(part)]
    assert all(record.id.number >= length for record in whole[len(part) :])
    again, same_keys = published(log.events[:length], one)
    assert (again, same_keys) == (part, keys)


@settings(max_examples=25)
@given(logs())
def test_records_are_strictly_in_order_and_read_back(log: LogWriter) -> None:
    found, _ = published(log.events)
    for stream in (SIGNALS, CONFIRMS):
        assert all(one.id < two.id for one, two in pairwise(each for each in found if each.stream == stream))
    for record in found:
        assert parse_entry(record.stream, record.fields).time_ms == record.id.milliseconds


@settings(max_examples=25)
@given(logs())
def test_the_keys_are_the_portfolio(log: LogWriter) -> None:
    _, keys = published(log.events)
    state = log.portfolio.state()
    shown = state_of(keys)
    assert shown.pop("seq") == log.portfolio.seq
    assert shown.pop("as_of_ns") == log.portfolio.time_ns
    assert shown.pop("closed_trades_total") == len(state.closed_trades)
    expected = value_to_document(state)
    expected["closed_trades"] = expected["closed_trades"][-CLOSED_IN_STATE:]
    assert shown == load_document(dump_document(expected))
    active = {trade.id for trade in state.active_trades}
    assert {key.removeprefix(ACTIVE) for key in keys if key.startswith(ACTIVE)} == active
    closed = {key.removeprefix(CLOSED): value for key, value in keys.items() if key.startswith(CLOSED)}
    assert closed.keys() == {trade.id for trade in state.closed_trades}
    for trade in (*state.active_trades, *state.closed_trades):
        key = f"{ACTIVE if trade.id in active else CLOSED}{trade.id}"
        assert keys[key] == dump_document(value_to_document(trade)).rstrip()


def test_all_keys_of_the_brief_are_of_one_moment() -> None:
    log = rich_log()
    for batch in batches(log.events, 10):
        seqs = []
        for key in (PORTFOLIO_STATE, DAILY_METRICS, MONITOR_METRICS):
            value = batch.keys[key]
            assert value is not None
            seqs.append(load_document(value.value)["seq"])
        assert seqs == [batch.seq] * 3
    _, keys = published(log.events)
    leg_outs = load_document(b'{"all":' + keys[LEG_OUT_EVENTS] + b"}")["all"]
    assert [each["phase"] for each in leg_outs] == ["entry", "exit"]
    assert all(each["hedge_executed"] for each in leg_outs)
    monitored = load_document(b'{"all":' + keys[MONITOR_TRADES] + b"}")["all"]
    assert monitored == [trade.id for trade in log.portfolio.open_trades]


def test_a_fill_is_confirmed_with_its_price_and_quantity() -> None:
    log = rich_log()
    found, _ = published(log.events)
    fills = [event for event in log.events if isinstance(event, OrderFilled)]
    confirmed = [parse_entry(CONFIRMS, each.fields) for each in found if each.stream == CONFIRMS]
    executed = [each for each in confirmed if isinstance(each, Confirmation) and "filled" in each.status]
    assert [(each.order_id, each.price, each.quantity, each.fee) for each in executed] == [
        (event.order_id, event.price, event.size, event.fee) for event in fills
    ]
    assert {each.status for each in confirmed if isinstance(each, Confirmation)} == {
        "filled",
        "partially_filled",
        "cancelled",
        "refused",
    }


def test_a_proposal_is_a_signal() -> None:
    log = LogWriter()
    trade_id = log.propose()
    (record,), _ = published(log.events)
    signal = parse_entry(SIGNALS, record.fields)
    proposal = log.events[-1]
    assert isinstance(proposal, TradeProposed)
    assert isinstance(signal, Signal)
    assert (signal.signal_id, signal.pair, signal.confidence) == (trade_id, "BTC/USDT", proposal.confidence)
    assert signal.projected_profit_usd == proposal.projected_profit_usd


@settings(max_examples=20)
@given(logs(), st.data())
def test_a_source_goes_on_from_anywhere_and_may_be_asked_again(log: LogWriter, data: st.DataObject) -> None:
    whole, _ = published(log.events)
    source = publication(log.events)
    for _ in range(4):
        seq = data.draw(st.integers(-1, len(log.events) - 1))
        batch = source.batch_after(seq, 10)
        assert batch == source.batch_after(seq, 10)
        expected = [record for record in whole if seq < record.id.number <= seq + 10]
        assert list(batch.records if batch else ()) == expected


def test_a_cursor_beyond_the_log_is_another_logs() -> None:
    log = rich_log()
    source = publication(log.events)
    with pytest.raises(CursorAhead):
        source.batch_after(len(log.events), 10)
    assert source.batch_after(-1, 10) is not None


def test_a_trade_carried_over_midnight_is_active_until_it_closes() -> None:
    first = LogWriter()
    trade_id = first.opened_trade()
    carried = first.portfolio.carried_document("ab")
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=DAY_START + DAY_NS, carried_day=DAY, carried="ab"
    )
    source = Publication(
        opened(second.events), lambda seq: iter(second.events[seq + 1 :]), lambda: Portfolio.from_carried(carried)
    )
    batch = source.batch_after(-1, 10)
    assert batch is not None
    assert batch.keys[f"{ACTIVE}{trade_id}"] is not None
    second.exit(trade_id)
    second.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "1", "101")
    second.trade_leg(trade_id, Leg.SHORT, Purpose.EXIT, "1", "101")
    second.close(trade_id)
    batch = source.batch_after(batch.seq, 100)
    assert batch is not None
    assert batch.keys[f"{ACTIVE}{trade_id}"] is None
    assert batch.keys[f"{CLOSED}{trade_id}"] is not None


def test_the_state_counts_all_that_ever_closed_beside_all_that_were_ever_won() -> None:
    first = LogWriter()
    first.closed_trade()
    first.closed_trade(exit=("100", "101"))
    carried = first.portfolio.carried_document("ab")
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=DAY_START + DAY_NS, carried_day=DAY, carried="ab"
    )
    second.closed_trade()
    source = Publication(
        opened(second.events), lambda seq: iter(second.events[seq + 1 :]), lambda: Portfolio.from_carried(carried)
    )
    batch = source.batch_after(-1, 100)
    assert batch is not None
    written = batch.keys[PORTFOLIO_STATE]
    assert written is not None
    state = load_document(written.value)
    assert (state["closed_trades_total"], state["win_count"], state["loss_count"]) == (3, 2, 1)
    assert len(state["closed_trades"]) == 1  # of this session


def test_a_market_that_the_session_did_not_open_with_is_named_by_its_asset() -> None:
    """A feed whose venues changed within the day: the log goes on, and so do its readers."""
    log = LogWriter()
    log.propose(long_exchange="okx", long_symbol="BTC-USDT-SWAP")
    (record,), _ = published(log.events)
    signal = parse_entry(SIGNALS, record.fields)
    assert isinstance(signal, Signal)
    assert (signal.pair, signal.long_exchange) == ("BTC", "okx")


def test_a_batch_costs_no_more_after_many_trades_than_after_few() -> None:
    """Forty closed trades or three hundred: the next batch takes the same calls, but for a few for longer numbers."""

    def calls_of_a_batch(log: LogWriter) -> int:
        source = publication(log.events)
        source.batch_after(-1, len(log.events) - 1)
        count = 0

        def profile(_frame: object, kind: str, _argument: object) -> None:
            nonlocal count
            count += kind in ("call", "c_call")

        sys.setprofile(profile)
        source.batch_after(len(log.events) - 2, 1)
        sys.setprofile(None)
        return count

    few, many = LogWriter(), LogWriter()
    for log, number in ((few, 2 * CLOSED_IN_STATE), (many, 300)):
        for _ in range(number):
            log.closed_trade()
        log.value()
    assert calls_of_a_batch(many) < calls_of_a_batch(few) + 10


def test_logs_that_begin_differently_have_different_names() -> None:
    one, other = LogWriter(), LogWriter(capital=Decimal(10_000))
    assert log_name(opened(one.events)) == publication(one.events).log != log_name(opened(other.events))


@settings(max_examples=20)
@given(logs(), st.data())
def test_what_a_reader_missed_is_what_lies_between_two_ids(log: LogWriter, data: st.DataObject) -> None:
    whole = [record for record in published(log.events)[0] if record.stream == CONFIRMS]
    ids = [START, *(record.id for record in whole), END]
    after, before = sorted(data.draw(st.tuples(st.sampled_from(ids), st.sampled_from(ids))))
    missed = list(records_between(log.events, Portfolio(), CONFIRMS, after, before))
    assert missed == [record for record in whole if after < record.id < before]


@pytest.mark.parametrize("kept", [1, 5, 10_000])
@pytest.mark.parametrize("before", [0, 1, 30])
def test_an_outbox_gives_every_stored_event_once(kept: int, before: int) -> None:
    events = rich_log().events
    stored = events[:before]
    reads = []

    def read() -> Iterator[Event]:
        reads.append(len(stored))
        return iter(list(stored))

    box = Outbox(read, before - 1, kept)
    seq, seen = -1, []
    for number in range(before, len(events) + 1, 3):
        new = events[number : number + 3]
        for event in box.events_after(seq):
            seen.append(event)
            seq = event.seq
        stored += new
        box.add(new)
    seen += box.events_after(seq)
    assert seen == events
    assert list(box.events_after(9)) == events[10:]
    assert list(box.events_after(len(events))) == []
    assert kept < 10_000 or len(reads) <= 2  # the newest come from memory


def test_a_stored_log_is_read_once_for_all_its_batches() -> None:
    """Else a day of a hundred batches would be read a hundred times."""
    log = LogWriter()
    for _ in range(30):
        log.closed_trade()
    events, taken = log.events, []

    def stored() -> Iterator[Event]:
        for event in events:
            taken.append(event.seq)
            yield event

    box = Outbox(stored, events[-1].seq)
    source, seq = Publication(opened(events), box.events_after), -1
    while batch := source.batch_after(seq, 7):
        seq = batch.seq
    assert seq == events[-1].seq
    assert len(taken) == len(events) > 300
    assert source.batch_after(20, 7) is not None  # but from anywhere when it is asked


def test_a_store_that_fails_within_a_batch_is_read_again() -> None:
    events = rich_log().events
    failures = [9, 30]

    def stored() -> Iterator[Event]:
        for event in events:
            if failures and event.seq == failures[0]:
                failures.pop(0)
                raise StoreUnavailable("away")
            yield event

    box = Outbox(stored, events[-1].seq)
    seen: list[Event] = []
    while len(seen) < len(events):
        with suppress(StoreUnavailable):
            seen += islice(box.events_after(len(seen) - 1), 7)
    assert seen == events
    assert not failures


def test_an_outbox_refuses_a_hole() -> None:
    events = rich_log().events
    box = Outbox(lambda: iter(()), -1)
    box.add(events[:3])
    with pytest.raises(ValueError, match="event 4 was stored after 2"):
        box.add(events[4:5])


LISTINGS = (listing("kraken", symbol="XBT/USD"), listing("binance"))


def trade(ms: int, venue: int, price: str = "100", size: str = "2", buyer: bool = True) -> Trade:
    return Trade(DAY_START + ms * 1_000_000, venue, to_units(Decimal(price)), to_units(Decimal(size)), buyer)


def quote(ms: int) -> Quote:
    return Quote(DAY_START + ms * 1_000_000, 0, 1, 1, 2, 1)


def batched(events: Iterable[FeedEvent]) -> list[StreamRecord]:
    maker = MarketTradeBatches(LISTINGS)
    return [record for event in events for record in maker.on_event(event)]


def test_trades_of_a_quarter_of_a_second_are_one_entry_for_each_listing() -> None:
    events = [
        trade(10, 1, "100", "1"),
        trade(20, 0, "101", "2"),
        trade(30, 1, "99", "3", False),
        quote(249),
        trade(250, 1, "98"),
        quote(600),
    ]
    found = batched(events)
    start = DAY_START // 1_000_000
    assert [(each.stream, each.id) for each in found] == [
        ("kraken:trades:XBT-USD", EntryId(start + 250, 0)),
        (MARKET_TRADES, EntryId(start + 250, 0)),
        ("binance:trades:BTCUSDT", EntryId(start + 250, 0)),
        (MARKET_TRADES, EntryId(start + 250, 1)),
        ("binance:trades:BTCUSDT", EntryId(start + 500, 0)),
        (MARKET_TRADES, EntryId(start + 500, 1)),
    ]
    read = [parse_entry(each.stream, each.fields) for each in found]
    summary = read[3]
    assert isinstance(summary, MarketTrades)
    assert (summary.first, summary.high, summary.low, summary.last) == (100, 100, 99, 99)
    assert (summary.count, summary.volume, summary.buy_volume, summary.notional) == (2, 4, 1, 397)
    batch = read[2]
    assert isinstance(batch, VenueTrades)
    assert [(each.price, each.volume, each.side) for each in batch.trades] == [(100, 1, "buy"), (99, 3, "sell")]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1)), max_size=30), st.data())
def test_when_it_is_looked_changes_no_entry(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    now, events = 0, []
    for wait, venue in steps:
        now += wait
        events.append(trade(now, venue))
    maker = MarketTradeBatches(LISTINGS)
    looked: list[StreamRecord] = []
    for event in events:
        looked += maker.advance(data.draw(st.integers(event.time_ns - BATCH_NS, event.time_ns)))
        looked += maker.on_event(event)
    assert looked == batched(events)
    looked += maker.advance(DAY_START + now * 1_000_000 + BATCH_NS)
    assert sum(int(each.fields["count"]) for each in looked if each.stream == MARKET_TRADES) == len(events)


def test_two_listings_never_share_a_stream() -> None:
    with pytest.raises(ValueError, match="tell apart"):
        MarketTradeBatches((listing("kraken", symbol="BTC/USD"), listing("kraken", symbol="BTC-USD")))
