"""What live readers are told of the paper trader: stream entries and keys, as a function of its event log.

The same log gives the same entries under the same ids, whoever computes them and however often, and the entries of a
log's beginning are the beginning of the entries of the log. An entry's id is its event's millisecond and ``seq``. Keys
hold the brief's structures as of one event, named in them by ``seq``. Nothing here reads Redis, and nothing that is
published is ever read back: the log in the store is the truth.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import islice
from typing import Final

import simplejson

from assets.accounting.precision import EXACT
from assets.arbitrage.codec import to_line, value_to_document
from assets.arbitrage.events import (
    Event,
    LegOut,
    LegOutHedged,
    OrderCancelled,
    OrderFilled,
    OrderRefused,
    SessionOpened,
    TradeClosed,
    TradeProposed,
)
from assets.arbitrage.metrics import DayTally, portfolio_metrics
from assets.arbitrage.model import OrderSide, Purpose, SimulatedOrder
from assets.arbitrage.portfolio import Portfolio
from resources.bus import Batch, CursorAhead, EntryId, KeyValue, StreamRecord
from resources.bus.streams import (
    CONFIRMS,
    MARKET_TRADES,
    SIGNALS,
    Confirmation,
    MarketTrades,
    Signal,
    VenueTrade,
    VenueTrades,
    shard_of,
    venue_trades,
)
from resources.documents import Document, dump_document, sha256_hex
from resources.feed import FeedEvent, Listing, Trade, from_units

STRATEGY: Final = "dual_leg_arbitrage"

ACTIVE, CLOSED = "strategy:trades:active:", "strategy:trades:closed:"
PORTFOLIO_STATE: Final = "strategy:portfolio:state"
DAILY_METRICS: Final = "strategy:metrics:daily"
LEG_OUT_EVENTS: Final = "strategy:leg_out_events"
MONITOR_TRADES: Final = "strategy:monitor:active_trades"
MONITOR_METRICS: Final = "strategy:monitor:portfolio_metrics"

# Closed trades are written out in the state up to this many, newest last: the state is written with every change, and
# would grow with the day. Each closed trade has a key of its own, and the state tells how many ever closed, as its
# counts of wins and losses do.
CLOSED_IN_STATE = 20
LEG_OUTS_LISTED = 100
CLOSED_KEPT_S = 30 * 86_400  # Redis has a budget; the store keeps every trade

BATCH_NS = 250_000_000  # trades of one listing within a quarter of a second make one entry
_NS_IN_MS = 1_000_000

_UNIT_SIDES = {OrderSide.LONG: "buy", OrderSide.SHORT: "sell"}


def log_name(opened: SessionOpened) -> str:
    """Names a session's log by its first event, which holds its rules, its listings and what it goes on from."""
    return f"{opened.source.lower()}/{opened.day}/{sha256_hex(to_line(opened))[:16]}"


def entry_id(event: Event) -> EntryId:
    """Where an event's entries stand in their streams; one event has at most one entry in each."""
    return EntryId(event.time_ns // _NS_IN_MS, event.seq)


def records(event: Event, portfolio: Portfolio, quotes: Mapping[tuple[str, str], str]) -> list[StreamRecord]:
    """The entries that ``event`` adds. ``portfolio`` has folded it; ``quotes`` gives the quote currency of (exchange,
    symbol), where it is not known a signal's pair is the asset alone."""
    match event:
        case TradeProposed():
            return [StreamRecord(SIGNALS, entry_id(event), _signal(event, quotes).to_fields())]
        case OrderFilled():
            order = portfolio.order(event.order_id)
            status = "filled" if not event.remaining else "partially_filled"
            fields = _confirmation(order, event, status, event.price, event.size, event.fee, None)
        case OrderCancelled():
            order = portfolio.order(event.order_id)
            with localcontext(EXACT):
                left = order.size - order.filled_size
            fields = _confirmation(order, event, "cancelled", order.price, left, None, event.reason)
        case OrderRefused():
            order = portfolio.order(event.order_id)
            fields = _confirmation(order, event, "refused", order.price, order.size, None, event.reason)
        case _:
            return []
    return [StreamRecord(CONFIRMS, entry_id(event), fields.to_fields())]


def _signal(event: TradeProposed, quotes: Mapping[tuple[str, str], str]) -> Signal:
    # A feed whose venues changed within the day trades listings that the log did not begin with.
    quote = quotes.get((event.long_exchange, event.long_symbol))
    return Signal(
        signal_id=event.trade_id,
        time_ms=event.time_ns // _NS_IN_MS,
        pair=event.asset if quote is None else f"{event.asset}/{quote}",
        side="long_short",
        strategy=STRATEGY,
        confidence=event.confidence,
        long_exchange=event.long_exchange,
        long_symbol=event.long_symbol,
        long_price=event.long_price,
        short_exchange=event.short_exchange,
        short_symbol=event.short_symbol,
        short_price=event.short_price,
        quantity=event.quantity,
        size_usd=event.position_size_usd,
        spread_bps=event.spread_bps,
        fees_bps=event.fees_bps,
        funding_cost_bps=event.funding_cost_bps,
        funding_delta=event.funding_delta,
        projected_profit_usd=event.projected_profit_usd,
        harder_leg=event.harder_leg.value,
    )


def _confirmation(
    order: SimulatedOrder,
    event: Event,
    status: str,
    price: Decimal,
    quantity: Decimal,
    fee: Decimal | None,
    reason: str | None,
) -> Confirmation:
    return Confirmation(
        order_id=order.id,
        symbol=order.symbol,
        side=_UNIT_SIDES[order.side],
        strategy=STRATEGY,
        status=status,
        price=price,
        quantity=quantity,
        time_ms=event.time_ns // _NS_IN_MS,
        paper_mode=True,
        execution_time_ms=EXACT.scaleb(Decimal(event.time_ns - order.created_at), -6),
        exchange=order.exchange,
        trade_id=order.trade_id,
        fee=fee,
        reason=reason or None,
    )


class Publication:
    """One session's log as batches for the bus (``resources.bus.BatchSource``). Used by the bus's thread alone."""

    owned_prefixes = (ACTIVE,)

    def __init__(
        self,
        opened: SessionOpened,
        events_after: Callable[[int], Iterable[Event]],
        begin: Callable[[], Portfolio] = Portfolio,
    ) -> None:
        """``events_after(seq)`` gives the stored events after ``seq``; ``begin`` a portfolio that waits for ``opened``,
        the carried one where the session goes on from another."""
        self.log = log_name(opened)
        self._events_after = events_after
        self._begin = begin
        self._projection = _Projection(begin())
        self._latest: tuple[int, Batch] | None = None  # where it was asked from, and the answer

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        """See ``BatchSource``."""
        if self._latest is not None and self._latest[0] == seq:
            return self._latest[1]
        if self._projection.seq != seq:
            self._rebuild(seq)
        found: list[StreamRecord] = []
        count = 0
        for event in islice(self._events_after(seq), limit):
            found += self._projection.apply(event)
            count += 1
        if not count:
            return None
        batch = Batch(self._projection.seq, tuple(found), self._projection.keys(), dict(self._projection.last_ids))
        self._latest = seq, batch
        return batch

    def _rebuild(self, seq: int) -> None:
        self._latest = None
        self._projection = _Projection(self._begin())
        if seq >= 0:
            for event in islice(self._events_after(-1), seq + 1):
                self._projection.apply(event)
            self._projection.changed.clear()
        if self._projection.seq != seq:
            raise CursorAhead(f"the log ends with event {self._projection.seq}, not {seq}")


def records_between(
    events: Iterable[Event], portfolio: Portfolio, stream: str, after: EntryId, before: EntryId
) -> Iterator[StreamRecord]:
    """The log's entries of ``stream`` strictly between two ids: what a reader missed. ``portfolio`` waits for the log's
    first event."""
    projection = _Projection(portfolio)
    for event in events:
        if entry_id(event) >= before:
            return
        for record in projection.apply(event):
            if record.stream == stream and record.id > after:
                yield record


class _Projection:
    """The fold of the log that knows which keys changed."""

    def __init__(self, portfolio: Portfolio) -> None:
        self._portfolio = portfolio
        self._tally = DayTally(portfolio)
        self._quotes: dict[tuple[str, str], str] = {}
        self._written: dict[str, bytes] = {}  # trades as JSON: closed ones for good, open ones until they change
        self._leg_outs: dict[tuple[str, str], Document] = {}
        self._closed_ids: set[str] = set()
        self.changed: set[str] = set()  # ids of trades
        self.last_ids: dict[str, EntryId] = {}

    @property
    def seq(self) -> int:
        return self._portfolio.seq

    def apply(self, event: Event) -> list[StreamRecord]:
        self._tally.apply(event)
        if isinstance(event, SessionOpened):
            for listing in event.listings:
                self._quotes[str(listing["venue"]), str(listing["symbol"])] = str(listing["quote"])
            self.changed.update(trade.id for trade in self._portfolio.open_trades)
        trade_id = self._trade_of(event)
        if trade_id is not None:
            self.changed.add(trade_id)
            self._written.pop(trade_id, None)
            self._note_leg_outs(event, trade_id)
        found = records(event, self._portfolio, self._quotes)
        for record in found:
            self.last_ids[record.stream] = record.id
        return found

    def keys(self) -> dict[str, KeyValue | None]:
        """What the keys shall hold now; afterwards nothing counts as changed."""
        portfolio = self._portfolio
        open_trades = {trade.id: trade for trade in portfolio.open_trades}
        keys: dict[str, KeyValue | None] = {}
        for trade_id in sorted(self.changed):
            # Neither open nor closed is a trade whose entry was abandoned.
            is_open = trade_id in open_trades
            keys[f"{ACTIVE}{trade_id}"] = KeyValue(self._trade_json(trade_id)) if is_open else None
            if trade_id in self._closed_ids:
                keys[f"{CLOSED}{trade_id}"] = KeyValue(self._trade_json(trade_id), CLOSED_KEPT_S)
        self.changed.clear()
        state = portfolio.state()
        as_of: Document = {"seq": portfolio.seq, "as_of_ns": portfolio.time_ns}
        valued = portfolio.last_valued
        metrics = portfolio_metrics(state, portfolio.time_ns, None if valued is None else valued.unrealized)
        keys[PORTFOLIO_STATE] = KeyValue(self._state_json(list(open_trades), as_of))
        keys[DAILY_METRICS] = KeyValue(dump_document(value_to_document(self._tally.metrics()) | as_of))
        keys[LEG_OUT_EVENTS] = KeyValue(_list_json(list(self._leg_outs.values())[-LEG_OUTS_LISTED:]))
        keys[MONITOR_TRADES] = KeyValue(_list_json(list(open_trades)))
        keys[MONITOR_METRICS] = KeyValue(dump_document(value_to_document(metrics) | as_of))
        shown = {*open_trades, *(trade.id for trade in state.closed_trades[-CLOSED_IN_STATE:])}
        self._written = {trade_id: text for trade_id, text in self._written.items() if trade_id in shown}
        return keys

    def _trade_of(self, event: Event) -> str | None:
        if isinstance(event, TradeClosed):
            self._closed_ids.add(event.trade_id)
        trade_id: str | None = getattr(event, "trade_id", None)
        order_id = getattr(event, "order_id", None)
        return trade_id if order_id is None else self._portfolio.order(order_id).trade_id

    def _note_leg_outs(self, event: Event, trade_id: str) -> None:
        if not isinstance(event, LegOut | LegOutHedged):
            return
        trade = self._portfolio.trade(trade_id)
        leg_out = trade.leg_out_event if event.phase is Purpose.ENTRY else trade.exit_leg_out_event
        assert leg_out is not None  # the portfolio has just folded it
        document = {"trade_id": trade_id, "symbol": trade.symbol} | value_to_document(leg_out)
        self._leg_outs[trade_id, event.phase.value] = document

    def _trade_json(self, trade_id: str) -> bytes:
        written = self._written.get(trade_id)
        if written is None:
            written = dump_document(value_to_document(self._portfolio.trade(trade_id))).rstrip()
            self._written[trade_id] = written
        return written

    def _state_json(self, open_ids: Sequence[str], as_of: Document) -> bytes:
        """The brief's PortfolioState; trades are put in as they were written, not written out each time."""
        state = self._portfolio.state()
        newest = state.closed_trades[-CLOSED_IN_STATE:]
        rest = value_to_document(replace(state, active_trades=(), closed_trades=()))
        text = dump_document(rest | as_of | {"closed_trades_total": self._portfolio.closed_count})
        for name, ids in (("active_trades", open_ids), ("closed_trades", [trade.id for trade in newest])):
            empty = f'"{name}":[]'.encode()
            text = text.replace(empty, empty[:-1] + b",".join(map(self._trade_json, ids)) + b"]", 1)
        return text


def _list_json(values: Sequence[object]) -> bytes:
    return simplejson.dumps(values, use_decimal=True, separators=(",", ":"), namedtuple_as_object=False).encode()


class MarketTradeBatches:
    """Public trades of a feed as entries: of each listing one for every quarter of a second in which it traded.

    A batch ends with its quarter of the feed's clock, so that a replay gives the same entries under the same ids. They
    are in no log: what was published before the publisher began is not published again.
    """

    def __init__(self, listings: Sequence[Listing]) -> None:
        """Raises ValueError when two listings would write the same stream."""
        self._listings = tuple(listings)
        self._streams = [venue_trades(listing.venue, listing.symbol) for listing in listings]
        if len(set(self._streams)) < len(self._streams):
            raise ValueError("two listings of one venue have symbols that a stream's name cannot tell apart")
        self._trades: dict[int, list[Trade]] = {}
        self._ends = 0  # of the present quarter

    def on_event(self, event: FeedEvent) -> list[StreamRecord]:
        """The entries that are complete now that ``event`` is here."""
        found = self.advance(event.time_ns)
        if isinstance(event, Trade):
            if not self._trades:
                self._ends = (event.time_ns // BATCH_NS + 1) * BATCH_NS
            self._trades.setdefault(event.listing, []).append(event)
        return found

    def advance(self, now_ns: int) -> list[StreamRecord]:
        """The entries that are complete at ``now_ns``."""
        if not self._trades or now_ns < self._ends:
            return []
        milliseconds = self._ends // _NS_IN_MS
        found = []
        for number, trades in sorted(self._trades.items()):
            listing, pair = self._listings[number], _pair(self._listings[number])
            batch = VenueTrades(pair, shard_of(listing.symbol), tuple(map(_venue_trade, trades)))
            found.append(StreamRecord(self._streams[number], EntryId(milliseconds, 0), batch.to_fields()))
            summary = _summary(listing, pair, milliseconds, trades)
            # All listings write one stream: the index keeps their ids apart, and in order.
            found.append(StreamRecord(MARKET_TRADES, EntryId(milliseconds, number), summary.to_fields()))
        self._trades = {}
        return found


def _pair(listing: Listing) -> str:
    return f"{listing.asset}/{listing.quote}"


def _side(trade: Trade) -> str:
    return "buy" if trade.buyer_is_aggressor else "sell"


def _venue_trade(trade: Trade) -> VenueTrade:
    # No feed of ours tells whether the aggressor's order was a limit or a market one.
    return VenueTrade(from_units(trade.price), from_units(trade.size), trade.time_ns // _NS_IN_MS, _side(trade), None)


def _summary(listing: Listing, pair: str, end_ms: int, trades: Sequence[Trade]) -> MarketTrades:
    prices = [trade.price for trade in trades]
    with localcontext(EXACT):
        notional = sum((from_units(trade.price) * from_units(trade.size) for trade in trades), Decimal(0))
    return MarketTrades(
        exchange=listing.venue,
        symbol=listing.symbol,
        pair=pair,
        time_ms=end_ms,
        count=len(trades),
        first=from_units(prices[0]),
        high=from_units(max(prices)),
        low=from_units(min(prices)),
        last=from_units(prices[-1]),
        volume=from_units(sum(trade.size for trade in trades)),
        buy_volume=from_units(sum(trade.size for trade in trades if trade.buyer_is_aggressor)),
        notional=notional,
    )
