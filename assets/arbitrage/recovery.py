"""A trade taken up from the log by a process that did not see it begin."""

from collections.abc import Sequence
from fractions import Fraction

from assets.accounting.precision import EXACT
from assets.arbitrage.model import Leg, PaperTrade, Purpose, SimulatedOrder, TradeStatus
from assets.arbitrage.open_trade import SQUARED, OpenLeg, OpenTrade, Pair, Stage
from resources.feed import Listing, to_units


def restored(
    value: PaperTrade, listings: Sequence[Listing], long_index: int, short_index: int, pair: Pair
) -> OpenTrade:
    """The open trade that ``value`` tells of, its working orders being gone. The indices are of its two ``listings``.

    A trade that was being entered or left no longer is: what it holds has to be settled, at the market where it was
    being left. Raises ValueError for one that is closed.
    """
    long = OpenLeg(Leg.LONG, long_index, listings[long_index], 0)
    short = OpenLeg(Leg.SHORT, short_index, listings[short_index], 0)
    trade = OpenTrade(value.id, value.symbol, long, short, pair)
    trade.projected = value.projected_profit_usd
    trade.orders = len(value.orders)
    trade.fees, trade.funding, trade.leg_out_cost = value.fees_usd, value.funding_usd, value.leg_out_cost_usd
    for leg_out in (value.leg_out_event, value.exit_leg_out_event):
        if leg_out is not None:
            trade.leg_outs[leg_out.phase] = leg_out.hedge_executed
    trade.stage = Stage.ENTRY_SETTLE if value.status is TradeStatus.PENDING else Stage.EXIT_SETTLE
    for order in value.orders.values():
        if order.purpose is Purpose.ENTRY:
            trade.legs[order.leg].plan = to_units(order.price)
    # A leg that was never ordered was planned at the other's price and the spread.
    spread = 1 + Fraction(value.entry_spread_bps) / 10_000
    long.plan = long.plan or round(short.plan / spread)
    short.plan = short.plan or round(long.plan * spread)
    for order in value.orders.values():
        _restore_order(trade, trade.legs[order.leg], order)
    if value.status is TradeStatus.PENDING:
        trade.reason = "restart"
        return trade
    if value.entry_unrealized_usd is None or value.status is TradeStatus.CLOSED:
        raise ValueError(f"trade {value.id} is {value.status} and cannot be taken up")
    trade.unrealized = value.entry_unrealized_usd
    if value.status is TradeStatus.ACTIVE:
        trade.stage = Stage.ACTIVE
    else:
        trade.urgent, trade.reason = True, value.exit_reason or ""
    return trade


def _restore_order(trade: OpenTrade, leg: OpenLeg, order: SimulatedOrder) -> None:
    """What an order planned and filled, and what it lost if it belongs to a hedge that is not finished."""
    if order.purpose is Purpose.EXIT:
        leg.plan = to_units(order.price)
    if order.filled_at is None:
        return
    size, notional = to_units(order.filled_size), int(order.filled_notional.scaleb(SQUARED, context=EXACT))
    opening = order.side is leg.leg.opening_side
    # Hedges of the entry open or unwind, those of the exit close: what is of the other phase was counted then.
    of_phase = order.purpose is Purpose.UNWIND or (order.purpose is Purpose.HEDGE and opening)
    if not trade.entering:
        of_phase = order.purpose is Purpose.HEDGE and not opening
    if of_phase and trade.hedging:
        trade.count_hedge(leg, order.side, size, notional, order.fee)
    leg.held += size if opening else -size
    leg.cash += order.side.sign * notional
    leg.opened += size if opening else 0
    leg.paid += notional if opening else 0
    if not leg.held:
        leg.realised, leg.cash = leg.realised + leg.cash, 0
