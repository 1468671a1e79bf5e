"""Brief 3's correctness properties as judges of a stored log, in the readings of ``reference/trading.md`` 3.5.

Each judge takes a day's events, and the portfolio that waits for the first of them, and returns a sentence for every
violation. They read what happened and nothing of how it was decided. Property 6 (whatever should have been left was
left) cannot be seen in a log, which holds no quotes: computing the day anew from its feed shows it (``log_replays``).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from assets.accounting.book import Book
from assets.accounting.precision import EXACT, ZERO
from assets.arbitrage.codec import rules_from_document
from assets.arbitrage.events import (
    Event,
    FlowPosted,
    Halted,
    LegOut,
    LegOutHedged,
    OrderAccepted,
    OrderFilled,
    OrderSubmitted,
    SessionOpened,
    TradeClosed,
    TradeExiting,
)
from assets.arbitrage.ledger_bridge import LedgerBridge, disagreements, ledger_symbol
from assets.arbitrage.legs import naked_since
from assets.arbitrage.model import ExitReason, Leg, PaperTrade
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import MILLISECOND, Rules

Judge = Callable[[Sequence[Event], Portfolio], list[str]]


def capital_conserved(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Property 1: after every event available + open = starting + flows + realised, exactly, summed up anew here."""
    found, flows = [], portfolio.net_flows
    for event in events:
        portfolio.apply(event)
        if isinstance(event, FlowPosted):
            flows = EXACT.add(flows, event.amount)
        elif event.seq % _SAMPLED and not isinstance(event, TradeClosed):
            continue
        reserved = {trade.id: trade.position_size_usd for trade in portfolio.open_trades}
        with localcontext(EXACT):
            left = portfolio.available + sum(reserved.values(), ZERO)
            right = portfolio.starting_capital + flows + portfolio.realised
        if left != right:
            found.append(f"after event {event.seq}: {left} is available or reserved, {right} is there")
    return found


# The fold itself holds the identity after every event; its terms are summed up anew at each closing and now and then.
_SAMPLED = 50


class _Naked(NamedTuple):
    """A time in which the legs of a trade differed by more than allowed: ``alarmed`` says that the trader halted for it
    by name, and before anything else happened once the time allowed was over."""

    trade_id: str
    lasted_ns: int
    over: bool  # the legs became equal again
    alarmed: bool

    def __str__(self) -> str:
        lasted = f"{self.lasted_ns / MILLISECOND:.3f} ms"
        return (
            f"trade {self.trade_id} {f'was naked for {lasted}' if self.over else f'is naked for {lasted} at the end'}"
        )


class _Spell:
    """A time in which the legs of a trade differ by ``held``, long less short."""

    __slots__ = ("alarmed_ns", "held", "overdue_ns", "since_ns")

    def __init__(self, held: Decimal, since_ns: int) -> None:
        self.held = held
        self.since_ns = since_ns
        self.alarmed_ns: int | None = None
        self.overdue_ns: int | None = None  # the first event after the time allowed

    def ended(self, trade_id: str, now_ns: int, *, over: bool) -> _Naked:
        said = self.alarmed_ns is not None and (self.overdue_ns is None or self.alarmed_ns <= self.overdue_ns)
        return _Naked(trade_id, now_ns - self.since_ns, over, said)


def _too_long_naked(events: Sequence[Event], portfolio: Portfolio) -> Iterator[_Naked]:
    """Every time that a trade's legs differed for longer than the session's rules allow, carried ones from when they
    began to."""
    limit = 0
    spells: dict[str, _Spell] = {}
    orders: dict[str, OrderSubmitted] = {}
    for trade in portfolio.open_trades:
        with localcontext(EXACT):
            held = portfolio.holding(trade.id, Leg.LONG).quantity - portfolio.holding(trade.id, Leg.SHORT).quantity
        since = naked_since(trade)
        if held and since is not None:
            spells[trade.id] = _Spell(held, since)
            if trade.id in portfolio.halted:  # such a halt outlives its day, and is not said again
                spells[trade.id].alarmed_ns = portfolio.time_ns
    for event in events:
        now_ns = event.time_ns
        if isinstance(event, SessionOpened):
            limit = _rules(event).leg_timeout_ns
        for trade_id, spell in spells.items():
            if spell.overdue_ns is None and now_ns > spell.since_ns + limit:
                spell.overdue_ns = now_ns
            if isinstance(event, Halted) and trade_id in event.reason and spell.alarmed_ns is None:
                spell.alarmed_ns = now_ns
        if isinstance(event, OrderSubmitted):
            orders[event.order_id] = event
        elif isinstance(event, OrderFilled) and event.order_id in orders:
            order = orders[event.order_id]
            spell = spells.setdefault(order.trade_id, _Spell(ZERO, now_ns))
            with localcontext(EXACT):
                spell.held += order.side.sign * event.size
            if not spell.held:
                ended = spells.pop(order.trade_id).ended(order.trade_id, now_ns, over=True)
                if ended.lasted_ns > limit:
                    yield ended
    for trade_id, spell in spells.items():
        ended = spell.ended(trade_id, events[-1].time_ns, over=False)
        if ended.lasted_ns > limit:
            yield ended


def no_naked_leg(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Property 2: legs of a trade are unequal for 500 ms at most. Where they were for longer and the trader halted for
    that trade in time, ``naked_legs_alarmed`` says so instead: an alarm excuses its own trade, and only until its legs
    are equal again."""
    return [str(naked) for naked in _too_long_naked(events, portfolio) if not naked.alarmed]


def naked_legs_alarmed(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Legs that were unequal for more than 500 ms although the trader saw it and halted: no property of the brief, and
    nothing to be proud of."""
    return [f"{naked}, alarmed" for naked in _too_long_naked(events, portfolio) if naked.alarmed]


def queue_fills_accurate(events: Sequence[Event], _portfolio: Portfolio) -> list[str]:
    """Property 3: a resting order fills once the threshold of the depth ahead has traded, and something has."""
    found, depth = [], dict[str, tuple[Decimal, Decimal]]()
    for event in events:
        if isinstance(event, OrderAccepted):
            depth[event.order_id] = event.resting_depth, event.fill_threshold
        elif isinstance(event, OrderFilled) and event.cumulative_volume is not None:
            if event.order_id not in depth:  # what rested at midnight was cancelled: it is of no earlier session
                found.append(f"order {event.order_id} filled in a queue that never accepted it")
                continue
            resting, threshold = depth[event.order_id]
            with localcontext(EXACT):
                needed = resting * threshold
            if event.cumulative_volume <= 0 or event.cumulative_volume < needed:
                found.append(f"order {event.order_id} filled at {event.cumulative_volume} traded of {needed} needed")
    return found


def slippage_realistic(events: Sequence[Event], _portfolio: Portfolio) -> list[str]:
    """Property 4: market fills pay between the floor and the cap, and never less than the displayed book asks for
    without the fill being marked as capped."""
    found: list[str] = []
    rules = Rules()
    for event in events:
        if isinstance(event, SessionOpened):
            rules = _rules(event)
        elif isinstance(event, OrderFilled) and event.slippage_bps is not None:
            paid, walked = event.slippage_bps, event.walked_bps
            if not rules.slippage_floor_bps <= paid <= rules.slippage_cap_bps:
                found.append(f"order {event.order_id} paid {paid} bps")
            elif walked is not None and walked > paid and not event.slippage_capped:
                found.append(f"order {event.order_id} paid {paid} bps where its book asked for {walked}")
    return found


def pnl_accurate(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Property 5: cumulative P&L is the sum of what trades really made, which contains what leg-outs cost once."""
    start, gross, cost = portfolio.cumulative_pnl, portfolio.gross_profit, portfolio.leg_out_total_loss
    actual = ZERO
    with localcontext(EXACT):
        for event in events:
            portfolio.apply(event)
            if isinstance(event, TradeClosed):
                actual += event.actual_profit_usd
                gross += event.gross_profit_usd
                cost += event.leg_out_cost_usd
        found = []
        if portfolio.cumulative_pnl != start + actual:
            found.append(f"cumulative P&L is {portfolio.cumulative_pnl}, trades made {start + actual}")
        if portfolio.cumulative_pnl != gross - cost:
            found.append(f"cumulative P&L is {portfolio.cumulative_pnl}, gross less leg-outs is {gross - cost}")
    return found


def exits_have_reasons(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Property 6, as far as a log shows it: the conditions named hold for the numbers beside them, and the reason is
    the first of them by priority."""
    found: list[str] = []
    rules = Rules()
    for event in events:
        portfolio.apply(event)
        if isinstance(event, SessionOpened):
            rules = _rules(event)
        elif isinstance(event, TradeExiting):
            found += _exit_violations(event, portfolio.trade(event.trade_id), rules)
    return found


def _exit_violations(event: TradeExiting, trade: PaperTrade, rules: Rules) -> Iterator[str]:
    entry = trade.entry_unrealized_usd
    if entry is None:
        yield f"trade {trade.id} exits before it was open"
        return
    projected = trade.projected_profit_usd
    moved = EXACT.subtract(event.unrealized_pnl, entry)
    delta = event.funding_delta
    holds = {
        ExitReason.LOSS_LIMIT: moved <= -rules.loss_limit * projected,
        ExitReason.PROFIT_TARGET: event.unrealized_pnl >= rules.profit_target * projected,
        ExitReason.FUNDING_CONVERGENCE: delta is not None and delta < rules.funding_floor,
    }
    priorities = [reason.value for reason in ExitReason]
    if not event.conditions or event.reason != min(event.conditions, key=priorities.index):
        yield f"trade {trade.id} exits for {event.reason!r} of {', '.join(event.conditions) or 'no condition'}"
    for reason, held in holds.items():
        if (reason.value in event.conditions) != held:
            what = "holds and is not named" if held else "is named and does not hold"
            yield f"trade {trade.id}: {reason.value} {what}"


def leg_outs_logged(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """Property 7: every leg-out is logged once in its phase, before its hedge, and counted once."""
    before = portfolio.leg_out_count
    logged, hedged, found = Counter[tuple[str, str]](), Counter[tuple[str, str]](), []
    for trade in portfolio.open_trades:
        for leg_out in (trade.leg_out_event, trade.exit_leg_out_event):
            if leg_out is not None:
                logged[trade.id, leg_out.phase.value] = 1
    carried = sum(logged.values())
    for event in events:
        portfolio.apply(event)
        if isinstance(event, LegOut):
            logged[event.trade_id, event.phase.value] += 1
        elif isinstance(event, LegOutHedged):
            hedged[event.trade_id, event.phase.value] += 1
            if not logged[event.trade_id, event.phase.value]:
                found.append(f"trade {event.trade_id}: hedged in {event.phase.value} before the leg-out was logged")
    found += [
        f"trade {trade}: logged {count} times in {phase}" for (trade, phase), count in logged.items() if count > 1
    ]
    found += [
        f"trade {trade}: hedged {count} times in {phase}" for (trade, phase), count in hedged.items() if count > 1
    ]
    counted = portfolio.leg_out_count - before
    if counted != sum(logged.values()) - carried:
        found.append(f"{sum(logged.values()) - carried} leg-outs logged, {counted} counted")
    return found


def ledger_agrees(events: Sequence[Event], portfolio: Portfolio) -> list[str]:
    """The desk's own ledger, given the same fills, funding and flows, moves by the same cash and quantities as the
    portfolio does over the session."""
    bridge = LedgerBridge(order for trade in portfolio.open_trades for order in trade.orders.values())
    portfolio.apply(events[0])
    book = _carried_book(portfolio)
    for event in events[1:]:
        portfolio.apply(event)
        translated = bridge.translate(event)
        if translated is not None:
            book.apply_all([translated])
    return disagreements(book, portfolio)


def _carried_book(portfolio: Portfolio) -> Book:
    """What the ledger would hold where the session begins. Lots carry the newest entry price: nothing here asks what a
    position cost."""
    held: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    book = Book(portfolio.starting_capital)
    with localcontext(EXACT):
        book.cash += portfolio.net_flows + portfolio.realised
        for trade in portfolio.open_trades:
            for leg, symbol, price in (
                (Leg.LONG, ledger_symbol(trade.long_exchange, trade.long_symbol), trade.entry_long_price),
                (Leg.SHORT, ledger_symbol(trade.short_exchange, trade.short_symbol), trade.entry_short_price),
            ):
                holding = portfolio.holding(trade.id, leg)
                if holding.quantity and price is not None:
                    book.cash += holding.cash
                    held[symbol] = held.get(symbol, ZERO) + holding.quantity * leg.opening_side.sign
                    prices[symbol] = price
    book.fees, book.funding, book.flows = portfolio.fees, portfolio.funding, portfolio.net_flows
    document = book.to_document()
    document["lots"] = {symbol: [[quantity, prices[symbol]]] for symbol, quantity in held.items() if quantity}
    return Book.from_document(document)


PROPERTIES: tuple[Judge, ...] = (
    capital_conserved,
    no_naked_leg,
    queue_fills_accurate,
    slippage_realistic,
    pnl_accurate,
    exits_have_reasons,
    leg_outs_logged,
    ledger_agrees,
)


def _rules(event: SessionOpened) -> Rules:
    return rules_from_document(event.rules)
