"""Payloads of the streams: what is written is read back, the brief's samples are read, and nothing else is."""

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.bus import EntryId
from resources.bus.streams import (
    CONFIRMS,
    END_TO_END,
    MARKET_TRADES,
    SIGNALS,
    TICKS,
    Confirmation,
    EndToEnd,
    MalformedEntry,
    MarketTrades,
    OutOfOrder,
    Record,
    Signal,
    Tick,
    VenueTrade,
    VenueTrades,
    ZeroFill,
    length_of,
    parse_entry,
    tick_record,
    venue_trades,
)
from resources.documents import Document

BRIEF_TICK: Document = {
    "type": "metrics.tick",
    "pnl": {"fees": Decimal("12.75"), "realized": Decimal("150.25"), "unrealized": Decimal("-45.5")},
    "slippage_bps_p50": Decimal("2.5"),
    "latency_ms_p95": Decimal("45.2"),
    "win_rate_1h": Decimal("0.65"),
    "drawdown_daily": Decimal("-2.1"),
    "errors_rate": Decimal("0.001"),
    "timestamp": Decimal("1703123456.789"),
}
BRIEF_CONFIRM = {
    "order_id": "paper_1703123456789",
    "symbol": "BTC/USD",
    "side": "buy",
    "strategy": "trend_following",
    "status": "filled",
    "price": "0.00",
    "quantity": "0.00",
    "timestamp": "1703123456789",
    "paper_mode": "true",
    "execution_time_ms": "1.0",
}
BRIEF_LATENCY = {
    "ts": "1703123456789",
    "ms": "45",
    "agent": "signal_processor",
    "stream": "signals:paper",
    "hash": "a1b2c3d4",
}
BRIEF_TRADES = {
    "channel": "trade",
    "pair": "BTC/USD",
    "trades": '[{"price":"50000.0","volume":"0.001","time":"1703123456.789","side":"buy","orderType":"market"}]',
    "timestamp": "1703123456.789",
    "shard": "BTC-USD",
    "batch_size": "1",
    "redis_optimized": "true",
}
FILLED = BRIEF_CONFIRM | {"price": "50000.0", "quantity": "0.001"}
KRAKEN = "kraken:trades:BTC-USD"

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    str.strip
)
numbers = st.decimals(0, 10**12, places=8, allow_nan=False, allow_infinity=False)
signed = st.decimals(-(10**12), 10**12, places=10, allow_nan=False, allow_infinity=False)
positive = st.integers(1, 10**18).map(lambda units: Decimal(units).scaleb(-10))
times = st.integers(1_230_940_800_000, 4_102_444_799_999)
undefined = st.none() | signed

confirmations = st.builds(
    Confirmation,
    words,
    words,
    st.sampled_from(("buy", "sell")),
    words,
    st.sampled_from(("filled", "partially_filled", "cancelled", "refused", "rejected", "pending", "accepted")),
    positive,
    positive,
    times,
    st.booleans(),
    numbers,
    st.none() | words,
    st.none() | words,
    st.none() | numbers,
    st.none() | words,
)
signals = st.builds(
    Signal,
    *(words, times, words, st.just("long_short"), words, st.integers(0, 100), words, words, numbers, words, words),
    *(numbers, numbers, numbers, signed, signed, signed, signed, signed, st.sampled_from(("long", "short"))),
)
samples = st.builds(EndToEnd, times, numbers, words, words, st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
market_trades = st.builds(
    lambda exchange, symbol, pair, time_ms, count, prices, volume, part, notional: MarketTrades(
        exchange, symbol, pair, time_ms, count, prices[0], max(prices), min(prices), prices[-1], volume, part * volume,
        notional,
    ),
    *(words, words, words, times, st.integers(1, 10**6), st.lists(positive, min_size=1, max_size=4), positive),
    *(st.sampled_from((Decimal(0), Decimal("0.5"), Decimal(1))), positive),
)  # fmt: skip
batches = st.builds(
    lambda pair, shard, trades: VenueTrades(pair, shard, tuple(sorted(trades, key=lambda trade: trade.time_ms))),
    words,
    words,
    st.lists(
        st.builds(VenueTrade, positive, positive, times, st.sampled_from(("buy", "sell")), st.none() | words),
        min_size=1,
        max_size=5,
    ),
)
ticks = st.builds(
    lambda fees, realized, unrealized, five, milliseconds: Tick(
        {
            "type": "metrics.tick",
            "pnl": {"fees": fees, "realized": realized, "unrealized": unrealized},
            **dict(zip(list(BRIEF_TICK)[2:7], five, strict=True)),
            "timestamp": Decimal(milliseconds).scaleb(-3),
        }
    ),
    *(signed, signed, undefined, st.tuples(*[undefined] * 5), times),
)
PAYLOADS = {
    CONFIRMS: confirmations,
    SIGNALS: signals,
    END_TO_END: samples,
    MARKET_TRADES: market_trades,
    KRAKEN: batches,
    TICKS: ticks,
}


@pytest.mark.parametrize("stream", PAYLOADS)
def test_what_is_written_is_read_back(stream: str) -> None:
    @settings(max_examples=40)
    @given(PAYLOADS[stream])
    def round_trip(record: Record) -> None:
        fields = record.to_fields()
        assert all(isinstance(each, str) for pair in fields.items() for each in pair)
        again = parse_entry(stream, fields)
        assert again == record
        assert again.to_fields() == fields

    round_trip()


@pytest.mark.parametrize(
    ("stream", "fields"), [(CONFIRMS, FILLED), (END_TO_END, BRIEF_LATENCY), (KRAKEN, BRIEF_TRADES)]
)
def test_the_samples_of_the_brief_are_read_and_written_as_they_are(stream: str, fields: Mapping[str, str]) -> None:
    record = parse_entry(stream, fields)
    assert record.time_ms == 1703123456789
    assert record.to_fields() == fields


def test_the_tick_of_the_brief_is_its_nested_json_again() -> None:
    record = tick_record(BRIEF_TICK)
    assert record.id == EntryId(1703123456789, 0)
    assert record.fields["win_rate_1h"] == "0.65"
    assert record.fields["pnl"] == '{"fees":12.75,"realized":150.25,"unrealized":-45.5}'
    assert Tick.from_fields(record.fields).document == BRIEF_TICK


def test_what_is_undefined_stays_undefined() -> None:
    record = tick_record(BRIEF_TICK | {"win_rate_1h": None})
    assert record.fields["win_rate_1h"] == "null"
    assert Tick.from_fields(record.fields).document["win_rate_1h"] is None


@pytest.mark.parametrize("status", ["filled", "partially_filled"])
@pytest.mark.parametrize("zero", [{"price": "0.00"}, {"quantity": "0"}, {"price": "-1"}, {"quantity": "-0.5"}])
def test_a_fill_of_nothing_is_refused(status: str, zero: Mapping[str, str]) -> None:
    with pytest.raises(ZeroFill):
        parse_entry(CONFIRMS, FILLED | {"status": status} | zero)


def test_the_confirmation_of_the_brief_is_a_fill_of_nothing() -> None:
    with pytest.raises(ZeroFill, match="price"):
        parse_entry(CONFIRMS, BRIEF_CONFIRM)


def test_a_cancelled_order_may_have_nothing_left() -> None:
    assert parse_entry(CONFIRMS, BRIEF_CONFIRM | {"status": "cancelled"}).time_ms == 1703123456789


@pytest.mark.parametrize(
    ("stream", "fields", "field"),
    [
        (CONFIRMS, FILLED | {"price": "NaN"}, "price"),
        (CONFIRMS, FILLED | {"price": "1_000"}, "price"),
        (CONFIRMS, FILLED | {"price": "٣"}, "price"),
        (CONFIRMS, FILLED | {"price": " 1"}, "price"),
        (CONFIRMS, FILLED | {"price": ""}, "price"),
        (CONFIRMS, FILLED | {"price": "1e999999999"}, "price"),
        (CONFIRMS, FILLED | {"quantity": 1}, "quantity"),
        (CONFIRMS, FILLED | {"paper_mode": "True"}, "paper_mode"),
        (CONFIRMS, FILLED | {"paper_mode": True}, "paper_mode"),
        (CONFIRMS, FILLED | {"side": "long"}, "side"),
        (CONFIRMS, FILLED | {"status": "done"}, "status"),
        (CONFIRMS, FILLED | {"order_id": " "}, "order_id"),
        (CONFIRMS, FILLED | {"timestamp": "1703123456"}, "timestamp"),
        (CONFIRMS, FILLED | {"timestamp": "1703123456.789"}, "timestamp"),
        (CONFIRMS, FILLED | {"timestamp": "-1"}, "timestamp"),
        (CONFIRMS, FILLED | {"execution_time_ms": "-1"}, "execution_time_ms"),
        (CONFIRMS, FILLED | {"colour": "red"}, "colour"),
        (CONFIRMS, {name: text for name, text in FILLED.items() if name != "symbol"}, "symbol"),
        (CONFIRMS, {}, "status"),
        (END_TO_END, BRIEF_LATENCY | {"hash": "A1B2C3D4"}, "hash"),
        (END_TO_END, BRIEF_LATENCY | {"hash": "a1b2c3d4e5"}, "hash"),
        (END_TO_END, BRIEF_LATENCY | {"ms": "-45"}, "ms"),
        (KRAKEN, BRIEF_TRADES | {"batch_size": "2"}, "batch_size"),
        (KRAKEN, BRIEF_TRADES | {"trades": "[]"}, "trades"),
        (KRAKEN, BRIEF_TRADES | {"trades": "[1]"}, "trades"),
        (KRAKEN, BRIEF_TRADES | {"trades": "{"}, "trades"),
        (KRAKEN, BRIEF_TRADES | {"trades": "[" * 100_000}, "trades"),
        (KRAKEN, BRIEF_TRADES | {"timestamp": "1703123457.000"}, "timestamp"),
        (KRAKEN, BRIEF_TRADES | {"timestamp": "1703123456.78900000000000000000000000000001"}, "timestamp"),
        (KRAKEN, BRIEF_TRADES | {"timestamp": "1703123456789"}, "timestamp"),
        (TICKS, {"type": "metrics.tick"}, "pnl"),
        (TICKS, {"type": "metrics.tock"}, "type"),
        (TICKS, tick_record(BRIEF_TICK).fields | {"win_rate_1h": '"0.65"'}, "win_rate_1h"),  # type: ignore[operator]
        (TICKS, tick_record(BRIEF_TICK).fields | {"win_rate_1h": "true"}, "win_rate_1h"),  # type: ignore[operator]
        (TICKS, tick_record(BRIEF_TICK).fields | {"win_rate_1h": "NaN"}, "win_rate_1h"),  # type: ignore[operator]
        (TICKS, tick_record(BRIEF_TICK).fields | {"win_rate_1h": '1,"x":2'}, "win_rate_1h"),  # type: ignore[operator]
        (TICKS, tick_record(BRIEF_TICK).fields | {"pnl": '{"fees":1}'}, "realized"),  # type: ignore[operator]
        (TICKS, tick_record(BRIEF_TICK).fields | {"timestamp": "null"}, "timestamp"),  # type: ignore[operator]
        ("nobody:knows", FILLED, ""),
    ],
)
def test_what_cannot_be_read_exactly_names_its_field(stream: str, fields: Mapping[str, str], field: str) -> None:
    with pytest.raises(MalformedEntry) as caught:
        parse_entry(stream, fields)
    assert caught.value.field == field


def test_trades_that_run_backwards_are_out_of_order() -> None:
    one = BRIEF_TRADES["trades"][1:-1]
    earlier = one.replace(".789", ".788")
    with pytest.raises(OutOfOrder):
        parse_entry(KRAKEN, BRIEF_TRADES | {"trades": f"[{one},{earlier}]", "batch_size": "2"})


@given(st.dictionaries(st.sampled_from([*FILLED, "x"]), st.text(max_size=12) | st.sampled_from(list(FILLED.values()))))
def test_any_fields_are_a_record_or_malformed(fields: dict[str, str]) -> None:
    for stream in PAYLOADS:
        with suppress(MalformedEntry):  # any other error escapes
            assert parse_entry(stream, fields).to_fields()


def test_every_stream_is_bounded() -> None:
    assert all(0 < length_of(stream) <= 20_000 for stream in (*PAYLOADS, "binance:trades:BTCUSDT"))


def test_a_stream_of_trades_is_named_by_venue_and_symbol() -> None:
    assert venue_trades("Kraken", "BTC/USD") == KRAKEN
    with pytest.raises(ValueError, match="no name"):
        venue_trades("bourse de paris", "BTC")


@given(st.integers(0, 2**40), st.integers(0, 2**64 - 2))
def test_ids_are_ordered_as_redis_orders_them(milliseconds: int, number: int) -> None:
    each = EntryId(milliseconds, number)
    assert EntryId.parse(str(each)) == each
    assert each.after.before == each < each.after < EntryId(milliseconds + 1, 0)


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-x", "a-1", "1-1-1", "1--1", "٣-1"])
def test_other_texts_are_no_ids(text: str) -> None:
    with pytest.raises(ValueError, match="no entry id"):
        EntryId.parse(text)
