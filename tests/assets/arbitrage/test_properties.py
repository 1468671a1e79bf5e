"""The judges of a stored log: a real one passes, and one that is damaged in the smallest way that matters does not."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

import pytest

from assets.arbitrage.events import (
    EntryRefused,
    Event,
    FundingPaid,
    Halted,
    LegOut,
    LegOutHedged,
    OrderAccepted,
    OrderFilled,
    SessionOpened,
    TradeClosed,
    TradeExiting,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import Leg, Purpose
from assets.arbitrage.portfolio import LogError, Portfolio
from assets.arbitrage.properties import (
    PROPERTIES,
    Judge,
    capital_conserved,
    exits_have_reasons,
    ledger_agrees,
    leg_outs_logged,
    naked_legs_alarmed,
    no_naked_leg,
    pnl_accurate,
    queue_fills_accurate,
    slippage_realistic,
)
from assets.arbitrage.rules import MILLISECOND
from assets.arbitrage.session import stored_events
from resources.feed import NANOSECONDS
from tests.arbitrage_parts import DAY_NS, NEXT_DAY, LogWriter, rich_log, with_seq
from tests.memory_store import MemoryStore
from tests.trading_parts import DAY, ScriptedFeed, desk_of, evenings, traded_through

D = Decimal
LEAST = D("0.00000001")  # money is posted to eight decimals

Damage = Callable[[list[Event]], Iterable[Event]]


@lru_cache
def real_log(seed: int = 9) -> tuple[Event, ...]:
    store = MemoryStore()
    traded_through(desk_of(store, ScriptedFeed(evenings(seed))))
    return tuple(stored_events(store, "SIMULATED", DAY))


def says(judge: Judge, events: Iterable[Event], before: Portfolio | None = None) -> list[str]:
    """What a judge says; a log that cannot even be folded has failed every judge that folds it."""
    try:
        return judge(list(events), before or Portfolio())
    except LogError as error:
        return [f"LogError: {error}"]


def changed(events: Sequence[Event], find: Callable[[Event], bool], number: int = 0, **changes: object) -> list[Event]:
    """The log with one event changed: the ``number``-th that ``find`` finds."""
    place = [index for index, event in enumerate(events) if find(event)][number]
    event = replace(events[place], **changes)
    return [*events[:place], event, *events[place + 1 :]]


def is_a(kind: type[Event], **having: object) -> Callable[[Event], bool]:
    return lambda event: (
        isinstance(event, kind) and all(getattr(event, name) == value for name, value in having.items())
    )


def without_one(events: Sequence[Event], find: Callable[[Event], bool], number: int = 0) -> list[Event]:
    """The log as if one event had never happened, numbered without a hole."""
    place = [index for index, event in enumerate(events) if find(event)][number]
    return list(with_seq([*events[:place], *events[place + 1 :]], 0))


def market_fill(event: Event) -> bool:
    return isinstance(event, OrderFilled) and event.slippage_bps is not None


def queue_fill(event: Event) -> bool:
    return isinstance(event, OrderFilled) and event.cumulative_volume is not None


# --- what is right passes ---


@pytest.mark.parametrize("judge", PROPERTIES, ids=lambda judge: judge.__name__)
@pytest.mark.parametrize("seed", [7, 9, 10])
def test_a_real_log_passes(judge: Judge, seed: int) -> None:
    assert judge(real_log(seed), Portfolio()) == []


def test_the_real_log_gives_every_judge_something_to_look_at() -> None:
    events = real_log()
    wanted = (Valued, LegOut, LegOutHedged, TradeExiting, TradeClosed, OrderAccepted, FundingPaid, TradeProposed)
    found = [kind for kind in wanted if any(isinstance(event, kind) for event in (*events, *real_log(7), *funded()))]
    assert found == list(wanted)
    assert any(map(market_fill, events))
    assert any(map(queue_fill, events))


@lru_cache
def funded() -> tuple[Event, ...]:
    log = LogWriter()
    trade = log.opened_trade("2")
    log.wait(3600 * NANOSECONDS)
    log.fund(trade, Leg.LONG)
    log.fund(trade, Leg.SHORT, "0.0003")
    log.value("0.25")
    return tuple(log.events)


@pytest.mark.parametrize("judge", [capital_conserved, pnl_accurate, ledger_agrees], ids=lambda judge: judge.__name__)
def test_funding_is_counted(judge: Judge) -> None:
    assert judge(funded(), Portfolio()) == []
    assert says(judge, changed(funded(), is_a(FundingPaid), amount=D("0.01")))


def test_a_log_of_every_word_conserves_capital_and_agrees_with_the_ledger() -> None:
    events = rich_log().events
    for judge in (capital_conserved, pnl_accurate, ledger_agrees, leg_outs_logged, slippage_realistic):
        assert judge(events, Portfolio()) == [], judge.__name__


# --- what is damaged does not ---


def _first_hedge_delayed(by_ns: int) -> Damage:
    """The market fills that end the first naked leg, and everything after them, happen later."""

    def damage(events: list[Event]) -> Iterable[Event]:
        place = next(index for index, event in enumerate(events) if isinstance(event, LegOutHedged))
        place = max(index for index, event in enumerate(events[:place]) if isinstance(event, OrderFilled))
        return [*events[:place], *(replace(event, time_ns=event.time_ns + by_ns) for event in events[place:])]

    return damage


def _bigger_fill(events: list[Event]) -> Iterable[Event]:
    return changed(events, is_a(OrderFilled), size=_first_fill(events).size + D("0.01"))


def _until(events: Sequence[Event], find: Callable[[Event], bool]) -> list[Event]:
    """The log up to and with the first event that ``find`` finds."""
    return list(events[: next(index for index, event in enumerate(events) if find(event)) + 1])


def _never_hedged(events: list[Event]) -> Iterable[Event]:
    begun = _until(events, is_a(LegOut))
    return [*begun, EntryRefused(len(begun), begun[-1].time_ns + NANOSECONDS, "SOL", "north", "south", 80, "no_depth")]


DAMAGES: dict[str, tuple[Judge, Damage, str]] = {
    "a hedge comes half a second later": (no_naked_leg, _first_hedge_delayed(500 * MILLISECOND), r"naked for \d+"),
    "a hedge never comes": (no_naked_leg, _never_hedged, r"is naked for \d+.* at the end"),
    "a fill one trade too early": (
        queue_fills_accurate,
        lambda events: changed(events, queue_fill, cumulative_volume=D("0.0001")),
        "traded of",
    ),
    "a fill before anything traded": (
        queue_fills_accurate,
        lambda events: changed(events, queue_fill, cumulative_volume=D(0)),
        "filled at 0 traded",
    ),
    "a queue that was never joined": (
        queue_fills_accurate,
        lambda events: _without_the_acceptance(events),
        "never accepted it",
    ),
    "six basis points": (
        slippage_realistic,
        lambda events: changed(events, market_fill, slippage_bps=D(6)),
        "paid 6 bps",
    ),
    "less than two": (
        slippage_realistic,
        lambda events: changed(events, market_fill, slippage_bps=D("1.99")),
        r"paid 1.99 bps",
    ),
    "better than the book": (
        slippage_realistic,
        lambda events: changed(events, market_fill, slippage_bps=D(4), walked_bps=D("4.5"), slippage_capped=False),
        "where its book asked for 4.5",
    ),
    "a reason that does not hold": (
        exits_have_reasons,
        lambda events: changed(
            _until(events, is_a(TradeExiting)),
            is_a(TradeExiting, reason="profit_target"),
            reason="loss_limit",
            conditions=("loss_limit", "profit_target"),
        ),
        "loss_limit is named and does not hold",
    ),
    "a condition left out": (
        exits_have_reasons,
        lambda events: changed(events, is_a(TradeExiting, reason="profit_target"), unrealized_pnl=D(-1000)),
        "loss_limit holds and is not named",
    ),
    "a leg-out that nobody logged": (leg_outs_logged, lambda events: without_one(events, is_a(LegOut)), "leg-out"),
    "a leg-out logged twice": (
        leg_outs_logged,
        lambda events: with_seq(
            [copy for event in events for copy in ([event] * (2 if isinstance(event, LegOut) else 1))], 0
        ),
        "logged already",
    ),
    "a profit that is 1e-8 too high": (
        pnl_accurate,
        lambda events: changed(events, is_a(TradeClosed), actual_profit_usd=_closing(events).actual_profit_usd + LEAST),
        "profit",
    ),
    "a leg-out cost counted twice": (
        pnl_accurate,
        lambda events: changed(
            events,
            lambda event: isinstance(event, TradeClosed) and bool(event.leg_out_cost_usd),
            gross_profit_usd=D(0),
        ),
        "gross",
    ),
    "a fill one step bigger": (ledger_agrees, _bigger_fill, "leaves -0.01"),
    "a bigger fill conserves no capital": (capital_conserved, _bigger_fill, "leaves -0.01"),
    "a price one tick better": (
        ledger_agrees,
        lambda events: changed(events, is_a(OrderFilled), price=_first_fill(events).price - D("0.01")),
        "folded",
    ),
    "a fee of nothing": (
        capital_conserved,
        lambda events: changed(events, is_a(OrderFilled), fee=D(0)),
        "folded",
    ),
    "capital from nowhere": (
        capital_conserved,
        lambda events: changed(events, is_a(Valued), available_capital=D(20_001)),
        "20001",
    ),
}


def _closing(events: Sequence[Event]) -> TradeClosed:
    return next(event for event in events if isinstance(event, TradeClosed))


def _first_fill(events: Sequence[Event]) -> OrderFilled:
    return next(event for event in events if isinstance(event, OrderFilled))


def _without_the_acceptance(events: list[Event]) -> list[Event]:
    filled = next(event for event in events if queue_fill(event))
    assert isinstance(filled, OrderFilled)
    return without_one(events, is_a(OrderAccepted, order_id=filled.order_id))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_log_damaged_in_its_own_way_fails(name: str) -> None:
    judge, damage, sentence = DAMAGES[name]
    found = says(judge, damage(list(real_log())))
    assert found, "the damage went unseen"
    assert re.search(sentence, found[0]), found[0]


def test_every_judge_has_been_seen_to_fail() -> None:
    assert {judge for judge, _, _ in DAMAGES.values()} == set(PROPERTIES)


def test_a_lesser_reason_than_the_first_that_holds_is_found() -> None:
    log = LogWriter()
    trade = log.opened_trade()
    log.write(
        TradeExiting,
        trade_id=trade,
        reason="funding_convergence",
        conditions=("funding_convergence", "profit_target"),
        unrealized_pnl=D(10),
        spread_bps=D(3),
        funding_delta=D("0.00001"),
    )
    (found,) = exits_have_reasons(log.events, Portfolio())
    assert "exits for 'funding_convergence'" in found


@pytest.mark.parametrize(
    ("unrealized", "holds"),
    [("0.45", ("profit_target",)), ("0.44999999", ()), ("-0.45", ("loss_limit",)), ("-0.44999999", ())],
)
def test_the_bounds_of_the_exit_conditions_are_inclusive_to_the_last_digit(
    unrealized: str, holds: tuple[str, ...]
) -> None:
    """Projected 0.5, entered at -0.3: the target is 0.45, the limit -0.45."""
    named = holds or ("funding_convergence",)
    log = LogWriter()
    trade = log.opened_trade()
    log.write(
        TradeExiting,
        trade_id=trade,
        reason=named[0],
        conditions=named,
        unrealized_pnl=D(unrealized),
        spread_bps=D(3),
        funding_delta=D("0.00005") if holds else D("0.00004999"),
    )
    assert exits_have_reasons(log.events, Portfolio()) == []


@pytest.mark.parametrize(
    ("unrealized", "named"),
    [("0.16875", "profit_target"), ("0.16874999", None), ("-0.35625", "loss_limit"), ("-0.35624999", None)],
)
def test_the_bounds_of_a_trade_opened_in_part_are_those_of_what_was_filled(unrealized: str, named: str | None) -> None:
    """Three eighths of a projected 0.5, entered at -0.3: the target is 0.16875, the limit -0.35625."""
    log = LogWriter()
    trade = log.propose("8")
    for leg in Leg:
        log.trade_leg(trade, leg, Purpose.ENTRY, "3", "100")
    log.open(trade)
    reason = named or "funding_convergence"
    log.write(
        TradeExiting,
        trade_id=trade,
        reason=reason,
        conditions=(reason,),
        unrealized_pnl=D(unrealized),
        spread_bps=D(3),
        funding_delta=D("0.00005") if named else D("0.00004999"),
    )
    assert exits_have_reasons(log.events, Portfolio()) == []


def test_a_naked_leg_is_excused_by_the_alarm_only() -> None:
    log = LogWriter()
    trade = log.propose()
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND)
    quiet = list(log.events)
    log.halt(f"naked position (trade {trade})")
    log.leg_out(trade, Purpose.ENTRY)
    log.wait(1)
    log.trade_leg(trade, Leg.LONG, Purpose.UNWIND, "1", "99")
    assert no_naked_leg(log.events, Portfolio()) == []
    assert naked_legs_alarmed(log.events, Portfolio()) == [f"trade {trade} was naked for 500.000 ms, alarmed"]
    silent = [event for event in log.events if not isinstance(event, Halted)]
    assert no_naked_leg(list(with_seq(silent, 0)), Portfolio()) == [f"trade {trade} was naked for 500.000 ms"]
    assert naked_legs_alarmed(list(with_seq(silent, 0)), Portfolio()) == []
    for judge in (no_naked_leg, naked_legs_alarmed):
        assert judge(quiet, Portfolio()) == []


def test_an_alarm_excuses_the_trade_it_names_and_no_other() -> None:
    log = LogWriter()
    named, other = log.propose(), log.propose()
    for trade in (named, other):
        log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND)
    log.halt(f"naked position (trade {named})")
    log.wait(1)
    log.value(None, ("bybit:BTCUSDT",))
    assert no_naked_leg(log.events, Portfolio()) == [f"trade {other} is naked for 500.000 ms at the end"]
    assert naked_legs_alarmed(log.events, Portfolio()) == [f"trade {named} is naked for 500.000 ms at the end, alarmed"]


def test_an_alarm_excuses_nothing_once_the_legs_were_equal() -> None:
    log = LogWriter()
    trade = log.propose("2")
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND)
    log.halt(f"naked position (trade {trade})")
    log.wait(1)
    log.trade_leg(trade, Leg.SHORT, Purpose.ENTRY, "1", "101")
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND + 1)
    log.trade_leg(trade, Leg.SHORT, Purpose.ENTRY, "1", "101")
    assert no_naked_leg(log.events, Portfolio()) == [f"trade {trade} was naked for 500.000 ms"]
    assert len(naked_legs_alarmed(log.events, Portfolio())) == 1


def test_an_alarm_that_comes_after_something_else_is_late() -> None:
    log = LogWriter()
    trade = log.propose()
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND + 1)
    log.value(None, ("bybit:BTCUSDT",))
    at_once = list(log.events)
    log.wait(1)
    log.halt(f"naked position (trade {trade})")
    assert no_naked_leg(log.events, Portfolio())
    assert naked_legs_alarmed(log.events, Portfolio()) == []
    halted = replace(log.events[-1], time_ns=at_once[-1].time_ns)  # of the same instant, as after a restart
    assert no_naked_leg([*at_once, halted], Portfolio()) == []


def test_half_a_second_exactly_is_in_time() -> None:
    log = LogWriter()
    trade = log.propose()
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.wait(500 * MILLISECOND)
    log.trade_leg(trade, Leg.SHORT, Purpose.ENTRY, "1", "101")
    assert no_naked_leg(log.events, Portfolio()) == []


def _carried(log: LogWriter) -> LogWriter:
    """The next day's log after ``log``."""
    state = log.portfolio.carried_document("f" * 64)
    start = log.now - log.now % (86_400 * NANOSECONDS) + 86_400 * NANOSECONDS
    return LogWriter(Portfolio.from_carried(state), day=NEXT_DAY, start_ns=start, carried_day=log.day, carried="f" * 64)


def _before(log: LogWriter) -> Portfolio:
    return Portfolio.from_carried(log.portfolio.carried_document("f" * 64))


def _left_naked(*, halted: bool) -> LogWriter:
    """300 ms before midnight a leg is filled."""
    log = LogWriter()
    log.wait(DAY_NS - 300 * MILLISECOND)
    trade = log.propose()
    log.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.leg_out(trade, Purpose.ENTRY)
    if halted:
        log.halt(f"naked position (trade {trade})")
    return log


def _unwound(log: LogWriter, after_ns: int) -> None:
    (trade,) = log.portfolio.open_trades
    log.wait(after_ns)
    log.trade_leg(trade.id, Leg.LONG, Purpose.UNWIND, "1", "99.98")
    log.hedged(trade.id, Purpose.ENTRY, "99.98", "0.02")
    log.close(trade.id)


def test_the_clock_of_a_naked_leg_does_not_stop_at_midnight() -> None:
    yesterday = _left_naked(halted=False)
    assert no_naked_leg(yesterday.events, Portfolio()) == []
    in_time, late, alarmed = (_carried(yesterday) for _ in range(3))
    _unwound(in_time, 200 * MILLISECOND)
    _unwound(late, 200 * MILLISECOND + 1)
    alarmed.wait(200 * MILLISECOND)
    alarmed.halt(f"naked position (trade {alarmed.portfolio.open_trades[0].id})")
    _unwound(alarmed, 1)
    assert no_naked_leg(in_time.events, _before(yesterday)) == []
    (found,) = no_naked_leg(late.events, _before(yesterday))
    assert "was naked for 500.000 ms" in found
    assert no_naked_leg(alarmed.events, _before(yesterday)) == []
    assert naked_legs_alarmed(alarmed.events, _before(yesterday)) == [f"{found}, alarmed"]


def test_a_trader_that_halted_yesterday_needs_not_say_so_again() -> None:
    yesterday = _left_naked(halted=True)
    today = _carried(yesterday)
    _unwound(today, 10 * NANOSECONDS)
    assert no_naked_leg(today.events, _before(yesterday)) == []
    assert len(naked_legs_alarmed(today.events, _before(yesterday))) == 1


def test_a_halt_of_yesterday_that_is_over_excuses_nothing_today() -> None:
    yesterday = _left_naked(halted=True)
    _unwound(yesterday, 10 * NANOSECONDS)
    today = _carried(yesterday)
    trade = today.propose()
    today.trade_leg(trade, Leg.LONG, Purpose.ENTRY, "1", "100")
    today.leg_out(trade, Purpose.ENTRY)
    _unwound(today, 10 * NANOSECONDS)
    assert no_naked_leg(today.events, _before(yesterday)) == [f"trade {trade} was naked for 10000.000 ms"]


@pytest.mark.parametrize("judge", PROPERTIES, ids=lambda judge: judge.__name__)
def test_a_day_that_goes_on_from_another_is_judged_by_itself(judge: Judge) -> None:
    """Open trades, a leg-out logged before, totals and the ledger's positions are taken from what was carried."""
    yesterday = _left_naked(halted=False)
    yesterday.opened_trade("0.5")
    yesterday.closed_trade()
    today = _carried(yesterday)
    _, left = today.portfolio.open_trades
    trade = today.portfolio.open_trades[0]
    today.trade_leg(trade.id, Leg.LONG, Purpose.UNWIND, "1", "99.98")
    today.hedged(trade.id, Purpose.ENTRY, "99.98", "0.02")
    today.close(trade.id)
    today.fund(left.id, Leg.SHORT)
    today.value("0.1")
    assert judge(today.events, _before(yesterday)) == []


def test_a_wrong_carried_state_is_no_start() -> None:
    with pytest.raises(LogError):
        capital_conserved(_carried(_left_naked(halted=False)).events, Portfolio())


def test_the_rules_of_the_session_judge_it_and_not_those_of_the_program() -> None:
    """A log traded under a cap of 3 bps that pays 4 has broken its own rules."""
    events = list(real_log())
    opened = events[0]
    assert isinstance(opened, SessionOpened)
    capped = replace(opened, rules={**opened.rules, "slippage_cap_bps": D(3)})
    paid = changed([capped, *events[1:]], market_fill, slippage_bps=D(4), walked_bps=None)
    assert any("paid 4 bps" in sentence for sentence in slippage_realistic(paid, Portfolio()))
