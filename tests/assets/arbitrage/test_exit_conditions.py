"""When a trade is left: every condition at its bound, their priority, and the sides they are measured on."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.exits import ExitWatch, Holding, exit_conditions, exit_watch
from assets.arbitrage.funding import funding_payment
from assets.arbitrage.model import ExitReason, Leg
from assets.arbitrage.rules import Rules
from resources.feed import UNITS, from_units
from tests.assets.arbitrage.trader_parts import units

D = Decimal
RULES = Rules()
LOSS, TARGET, FUNDING = ExitReason.LOSS_LIMIT, ExitReason.PROFIT_TARGET, ExitReason.FUNDING_CONVERGENCE


def watch_of(projected: str = "10", entry: str = "-2", charges: str = "0", fee: str = "0") -> ExitWatch:
    """Ten units bought at 100 and sold at 101: closing both legs at one price P yields 10."""
    spent = units(100) * units(10) - units(101) * units(10)
    return exit_watch(Holding(units(10), units(10), spent, D(charges), D(fee), D(fee)), D(projected), D(entry), RULES)


@pytest.mark.parametrize(
    ("long_bid", "short_ask", "delta", "expected"),
    [
        # unrealised = 10 + 10 x (long bid - short ask); the target is 9, the limit -2 - 3 = -5
        ("100.5", "100.5", "0.001", (TARGET,)),
        ("100.4", "100.5", "0.001", (TARGET,)),  # exactly 9
        ("100.3999", "100.5", "0.001", ()),
        ("99", "100.5", "0.001", (LOSS,)),  # exactly -5
        ("99.0001", "100.5", "0.001", ()),
        ("100", "100.5", "0.00005", ()),  # not below the floor
        ("100", "100.5", "0.0000499", (FUNDING,)),
        ("100", "100.5", "-0.0003", (FUNDING,)),  # signed
        ("100", "100.5", "0.005", ()),  # 0.5 %, which "0.005 %" must not be
        ("100", "100.5", None, ()),  # unknown
        ("90", "100.5", "0", (LOSS, FUNDING)),  # the first acts
        ("101", "100.5", "0", (TARGET, FUNDING)),
    ],
)
def test_conditions_at_their_bounds(
    long_bid: str, short_ask: str, delta: str | None, expected: tuple[ExitReason, ...]
) -> None:
    conditions = exit_conditions(
        watch_of(), units(long_bid), units(short_ask), None if delta is None else D(delta), RULES
    )
    assert conditions == expected


def test_the_loss_limit_measures_from_what_the_entry_cost() -> None:
    """Fees of 8 and crossing of 2 are known at entry: an unrealised -10 is no loss yet, -13 is."""
    watch = watch_of(entry="-10", charges="20")
    assert exit_conditions(watch, units("100.5"), units("100.5"), None, RULES) == ()
    assert exit_conditions(watch, units("100.2"), units("100.5"), None, RULES) == (LOSS,)


def test_fees_still_to_pay_and_funding_count() -> None:
    assert watch_of(fee="0.0005").unrealized(units(100), units(100)) == 10 - 1
    assert watch_of(charges="-3").unrealized(units(100), units(100)) == 13


@pytest.mark.parametrize("projected", ["0", "-1"])
def test_a_trade_that_promises_nothing_cannot_be_watched(projected: str) -> None:
    with pytest.raises(ValueError, match="neither target nor limit"):
        watch_of(projected=projected)


@given(
    long_bid=st.integers(90 * UNITS, 110 * UNITS),
    short_ask=st.integers(90 * UNITS, 110 * UNITS),
    projected=st.decimals("0.00000001", 100, places=8),
    entry=st.decimals(-50, 50, places=8),
    charges=st.decimals(-50, 50, places=8),
    fee=st.sampled_from([D(0), D("0.0005"), D("0.00022")]),
)
@settings(max_examples=200)
def test_integers_decide_as_exact_decimals_do(
    long_bid: int, short_ask: int, projected: Decimal, entry: Decimal, charges: Decimal, fee: Decimal
) -> None:
    watch = watch_of(str(projected), str(entry), str(charges), str(fee))
    bid, ask = from_units(long_bid), from_units(short_ask)
    unrealized = 10 * (bid - 100 + 101 - ask) - 10 * fee * (bid + ask) - charges
    expected = []
    if unrealized - entry <= D("-0.3") * projected:
        expected.append(LOSS)
    if unrealized >= D("0.9") * projected:
        expected.append(TARGET)
    assert exit_conditions(watch, long_bid, short_ask, None, RULES) == tuple(expected)
    assert abs(watch.unrealized(long_bid, short_ask) - unrealized) <= D("0.000000005")


@pytest.mark.parametrize(
    ("leg", "rate", "amount"),
    [
        (Leg.LONG, "0.0001", "-0.1"),  # longs pay a positive rate
        (Leg.SHORT, "0.0001", "0.1"),
        (Leg.LONG, "-0.0002", "0.2"),
        (Leg.SHORT, "-0.0002", "-0.2"),
        (Leg.SHORT, "0.00000000333", "0.00000333"),
    ],
)
def test_funding_is_signed_and_posted_once(leg: Leg, rate: str, amount: str) -> None:
    assert funding_payment(leg, units(10), units(100), D(rate)) == D(amount)


@pytest.mark.parametrize(("quantity", "mark", "rate"), [(-1, 1, "0"), (1, 0, "0"), (1, 1, "NaN"), (1, 1, "Infinity")])
def test_impossible_funding_is_refused(quantity: int, mark: int, rate: str) -> None:
    with pytest.raises(ValueError, match="no funding"):
        funding_payment(Leg.LONG, quantity, mark, D(rate))
