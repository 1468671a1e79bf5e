"""What holds of every valid log, however its market, fills, leg-outs and interruptions fell (trading.md 3.5, 3.9)."""

import sys
from decimal import Decimal, localcontext

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.accounting.precision import EXACT, ZERO
from assets.arbitrage.codec import from_document, to_line
from assets.arbitrage.events import EntryAbandoned, LegOut, OrderFilled, TradeProposed
from assets.arbitrage.model import Leg, OrderStatus, Purpose, TradeStatus
from assets.arbitrage.portfolio import Portfolio
from resources.documents import dump_document, load_document
from tests.arbitrage_parts import C0, DAY, DAY_NS, DAY_START, NEXT_DAY, LogWriter, folded, logs, with_seq, without


@settings(max_examples=60)
@given(logs())
def test_capital_is_conserved_after_every_event(log: LogWriter) -> None:
    """A13, with each side added up here from the log itself: sizes of what is open, flows, fees, funding, flat legs."""
    portfolio = Portfolio()
    for event in log.events:
        portfolio.apply(event)
        state = portfolio.state()
        with localcontext(EXACT):
            open_sizes = sum((trade.position_size_usd for trade in state.active_trades), ZERO)
            posted = ZERO
            for trade in (*state.active_trades, *state.closed_trades):
                posted += trade.funding_usd
                for leg in Leg:
                    orders = [order for order in trade.orders.values() if order.leg is leg]
                    posted -= sum((order.fee for order in orders), ZERO)
                    held = sum((order.filled_size * order.side.sign for order in orders), ZERO)
                    if not held:
                        posted -= sum((order.filled_notional * order.side.sign for order in orders), ZERO)
            assert state.realised == posted
            assert state.total_open_positions == open_sizes
            assert state.available_capital + open_sizes == C0 + state.net_flows + posted


@settings(max_examples=60)
@given(logs())
def test_cumulative_pnl_reads_both_ways(log: LogWriter) -> None:
    """Property 5: the sum of actual profits, and the sum of gross profits less every leg-out's loss, once."""
    state = log.portfolio.state()
    with localcontext(EXACT):
        actual = sum((trade.actual_profit_usd or ZERO for trade in state.closed_trades), ZERO)
        gross = sum((trade.gross_profit_usd or ZERO for trade in state.closed_trades), ZERO)
        costs = sum((trade.leg_out_cost_usd for trade in state.closed_trades), ZERO)
        assert state.cumulative_pnl == actual == gross - state.leg_out_total_loss
        assert state.leg_out_total_loss == costs
        for trade in state.closed_trades:
            cash = sum((order.filled_notional * -order.side.sign - order.fee for order in trade.orders.values()), ZERO)
            assert trade.actual_profit_usd == cash + trade.funding_usd
    counts = (state.win_count, state.loss_count, state.break_even_count)
    assert sum(counts) == len(state.closed_trades)
    assert state.win_count == sum((trade.actual_profit_usd or ZERO) > 0 for trade in state.closed_trades)


@settings(max_examples=40)
@given(logs())
def test_every_leg_out_is_counted_once_and_kept_with_its_trade(log: LogWriter) -> None:
    logged = [event for event in log.events if isinstance(event, LegOut)]
    state = log.portfolio.state()
    kept = [
        leg_out
        for trade in (*state.active_trades, *state.closed_trades)
        for leg_out in (trade.leg_out_event, trade.exit_leg_out_event)
        if leg_out is not None
    ]
    assert state.leg_out_count == len(logged) == len(kept)


@settings(max_examples=40)
@given(logs())
def test_no_order_and_no_trade_is_lost(log: LogWriter) -> None:
    state = log.portfolio.state()
    abandoned = {event.trade_id for event in log.events if isinstance(event, EntryAbandoned)}
    proposed = [event.trade_id for event in log.events if isinstance(event, TradeProposed)]
    shown = [trade.id for trade in (*state.active_trades, *state.closed_trades)]
    assert sorted(shown) == sorted(set(proposed) - abandoned)
    filled: dict[str, Decimal] = {}
    for event in log.events:
        if isinstance(event, OrderFilled):
            filled[event.order_id] = EXACT.add(filled.get(event.order_id, ZERO), event.size)
    for order_id, size in filled.items():
        order = log.portfolio.order(order_id)
        assert order.filled_size == size <= order.size
        assert (order.status is OrderStatus.FILLED) == (size == order.size)


@settings(max_examples=40)
@given(logs())
def test_an_active_trade_is_level_and_a_flat_one_is_closed(log: LogWriter) -> None:
    portfolio = Portfolio()
    for event in log.events:
        portfolio.apply(event)
        for trade in portfolio.open_trades:
            long, short = (portfolio.holding(trade.id, leg).quantity for leg in Leg)
            assert min(long, short) >= 0
            assert max(long, short) <= trade.quantity
            if trade.status is TradeStatus.ACTIVE:
                assert long == short == trade.quantity
            else:
                assert trade.status in (TradeStatus.PENDING, TradeStatus.EXITING)


@settings(max_examples=40)
@given(logs())
def test_what_it_would_yield_is_what_it_yields(log: LogWriter) -> None:
    """Price P&L at a price is the price P&L that closing at that price posts, at any point of a trade's life."""
    portfolio, price = log.portfolio, Decimal("99.5")
    for trade in portfolio.open_trades:
        if trade.status is TradeStatus.PENDING:
            continue
        if trade.status is TradeStatus.ACTIVE:
            log.exit(trade.id)
        expected = portfolio.price_pnl_at(trade.id, price, price)
        before = EXACT.subtract(trade.funding_usd, trade.fees_usd)
        for leg in Leg:
            held = portfolio.holding(trade.id, leg).quantity
            if held:
                order = log.send(trade.id, leg, Purpose.EXIT, held, price)
                log.fill(order, fee="0")
        assert log.close(trade.id).actual_profit_usd == EXACT.add(expected, before)


@settings(max_examples=60)
@given(logs(), st.data())
def test_killed_anywhere_the_log_gives_the_same_state(log: LogWriter, data: st.DataObject) -> None:
    """A11: what was stored before the kill, read back, and the rest make what the whole log makes."""
    cut = data.draw(st.integers(0, len(log.events)))
    stored = b"".join(map(to_line, log.events[:cut])).splitlines()
    resumed = folded([from_document(load_document(line)) for line in stored])
    for event in log.events[cut:]:
        resumed.apply(event)
    assert resumed.state() == log.portfolio.state()
    assert dump_document(resumed.carried_document("")) == dump_document(log.portfolio.carried_document(""))


@settings(max_examples=60)
@given(logs(), st.data())
def test_a_session_may_end_anywhere_and_the_next_goes_on(log: LogWriter, data: st.DataObject) -> None:
    """fold(beginning), carried as bytes, and fold(rest) as the next session = fold(all), but for the trades closed."""
    cut = data.draw(st.integers(1, len(log.events)))
    first = folded(log.events[:cut])
    carried = dump_document(first.carried_document("c" * 64))
    second = LogWriter(
        Portfolio.from_carried(load_document(carried)),
        day=NEXT_DAY,
        start_ns=DAY_START + DAY_NS,
        carried_day=DAY,
        carried="c" * 64,
    ).portfolio
    # The rest kept the first day's times, and goes on within a halt that may have ended with the day.
    second.time_ns, second.halted = first.time_ns, first.halted
    for event in with_seq(log.events[cut:], 1):
        second.apply(event)
    whole, parts = log.portfolio.carried_document("")["trades"], second.carried_document("")["trades"]
    # A proposal carries its number in its session's log, which is another one here.
    assert [without(trade, "proposal") for trade in whole] == [without(trade, "proposal") for trade in parts]
    at_once, in_two = log.portfolio.state(), second.state()
    assert in_two.active_trades == at_once.active_trades
    assert in_two.closed_trades == at_once.closed_trades[len(first.closed_trades) :]
    for name in set(at_once.__slots__) - {"active_trades", "closed_trades"}:
        assert getattr(in_two, name) == getattr(at_once, name), name


@settings(max_examples=30)
@given(logs(), st.integers(-10_000, 10_000).filter(bool))
def test_a_flow_moves_capital_and_never_profit(log: LogWriter, cents: int) -> None:
    """A9."""
    before = log.portfolio.state()
    amount = Decimal(cents).scaleb(-2)
    assume(before.available_capital + amount >= 0)
    log.flow(str(amount))
    after = log.portfolio.state()
    assert EXACT.subtract(after.available_capital, before.available_capital) == amount
    assert (after.cumulative_pnl, after.realised) == (before.cumulative_pnl, before.realised)
    assert after.total_open_positions == before.total_open_positions


def test_the_cost_of_an_event_does_not_grow_with_the_closed_trades() -> None:
    """The fold keeps running totals: the same calls are made for the thousandth trade as for the tenth."""
    log = LogWriter()

    def calls_of_one_trade() -> int:
        count = 0

        def profile(_frame: object, kind: str, _argument: object) -> None:
            nonlocal count
            count += kind in ("call", "c_call")

        sys.setprofile(profile)
        log.closed_trade()
        sys.setprofile(None)
        return count

    early = [calls_of_one_trade() for _ in range(10)][-1]
    for _ in range(300):
        log.closed_trade()
    assert calls_of_one_trade() == early
