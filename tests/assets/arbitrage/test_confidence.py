"""The score is the sum of parts that are earned, each rounded down and each within its bounds."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.confidence import confidence, confidence_parts
from resources.feed import UNITS, Quote

STALE = 5_000_000_000
TRADE = 10_000 * UNITS * UNITS


def score(long: Quote, short: Quote, delta: Decimal | None, now: int = 0) -> dict[str, int]:
    return dict(confidence_parts(long, short, delta, now, TRADE, STALE))


def quote(bid: str, ask: str, size: str = "1000", time_ns: int = 0) -> Quote:
    units = [int(Decimal(text) * UNITS) for text in (bid, size, ask, size)]
    return Quote(time_ns, 0, *units)


def test_a_wide_spread_with_full_funding_deep_and_fresh_earns_everything() -> None:
    parts = score(quote("99.9", "100"), quote("100.5", "100.6"), Decimal("0.0003"))
    assert parts == {"spread": 50, "funding": 30, "depth": 10, "freshness": 10}


@pytest.mark.parametrize(
    ("short_bid", "points"),
    [("100.2", 20), ("100.209", 20), ("100.21", 21), ("100.4999", 49), ("100.5", 50), ("101", 50), ("99.9", 0)],
)
def test_a_basis_point_of_spread_is_a_point_and_never_rounded_up(short_bid: str, points: int) -> None:
    assert score(quote("99.9", "100"), quote(short_bid, "102"), None)["spread"] == points


@pytest.mark.parametrize(
    ("delta", "points"),
    [("0.0003", 30), ("0.00029999", 29), ("0.0001", 10), ("0.000009", 0), ("0", 0), ("-0.0003", 0), ("0.01", 30)],
)
def test_funding_is_signed_and_capped(delta: str, points: int) -> None:
    assert score(quote("99.9", "100"), quote("100.2", "100.3"), Decimal(delta))["funding"] == points


def test_unknown_funding_earns_nothing() -> None:
    assert score(quote("99.9", "100"), quote("100.2", "100.3"), None)["funding"] == 0


@pytest.mark.parametrize(("size", "points"), [("100", 10), ("99.9", 9), ("50", 5), ("9", 0), ("5000", 10)])
def test_depth_is_the_thinner_side_against_the_trade(size: str, points: int) -> None:
    deep, thin = quote("99.9", "100", "1000"), quote("99.9", "100", size)
    assert score(thin, deep, None)["depth"] == points
    assert score(deep, quote("100", "100.1", size), None)["depth"] == points


@pytest.mark.parametrize(("age", "points"), [(0, 10), (1, 9), (500_000_000, 9), (STALE, 0), (STALE * 2, 0), (-5, 10)])
def test_freshness_falls_with_the_older_quote(age: int, points: int) -> None:
    old, new = quote("99.9", "100"), quote("100.2", "100.3", time_ns=max(age, 0))
    assert score(old, new, None, now=age)["freshness"] == points
    assert score(new, old, None, now=age)["freshness"] == points


@settings(max_examples=60)
@given(
    prices=st.tuples(st.integers(1, 10**15), st.integers(1, 10**15)),
    sizes=st.tuples(st.integers(1, 10**16), st.integers(1, 10**16)),
    delta=st.none() | st.decimals(-1, 1, places=8),
    age=st.integers(0, 10**11),
)
def test_parts_stay_in_their_bounds_and_add_up(
    prices: tuple[int, int], sizes: tuple[int, int], delta: Decimal | None, age: int
) -> None:
    long, short = (
        Quote(0, n, price, size, price + 1, size) for n, (price, size) in enumerate(zip(prices, sizes, strict=True))
    )
    parts = confidence_parts(long, short, delta, age, TRADE, STALE)
    assert [name for name, _ in parts] == ["spread", "funding", "depth", "freshness"]
    assert all(
        0 <= points <= most and type(points) is int for (_, points), most in zip(parts, (50, 30, 10, 10), strict=True)
    )
    assert confidence(parts) == sum(points for _, points in parts) <= 100
