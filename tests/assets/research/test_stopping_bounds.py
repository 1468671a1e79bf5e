"""Bounds of known values: quadrature, closed forms, and the trap of deciding date 0 with hindsight.

Seeds are fixed; an estimate is compared within 3.3 of its standard errors (one false alarm in a thousand seeds).
"""

import numpy as np
import pytest
from scipy.special import ndtr

from assets.research.bad_input import BadInput, Floats
from assets.research.stopping import deep, longstaff_schwartz
from assets.research.stopping.dual import (
    Bounds,
    Policy,
    Start,
    bounds,
    generator,
    hedged,
    lower_bound,
    normals,
    upper_bound,
)
from assets.research.stopping.problems import FractionalBrownianMotion, MaxCall

ERRORS = 3.3
PUBLISHED = {90: 8.075, 100: 13.902, 110: 21.345}
QUICK = deep.DeepConfig(width=24, paths=1 << 15, batch=2048, first_steps=300, steps=60)


def quadrature(spots: list[float], spacing: float = 0.006) -> Floats:
    """Values of the standard Bermudan max-call on two assets, by backward induction on a grid of log prices.

    Both prices move independently, so an expectation is one matrix of normal weights applied to either axis.
    """
    problem = MaxCall.symmetric(2, 100)
    years, sigma = problem.maturity / problem.dates, problem.volatilities[0]
    logs = np.log(100) + np.arange(-1.9, 2.1, spacing)
    drift, deviation = (problem.rate - problem.dividend - sigma**2 / 2) * years, sigma * np.sqrt(years)
    weights = np.exp(-(((logs[None, :] - logs[:, None] - drift) / deviation) ** 2) / 2)
    weights *= spacing / (deviation * np.sqrt(2 * np.pi))
    payoff = np.maximum(np.exp(np.maximum(logs[:, None], logs[None, :])) - 100, 0)
    value = payoff
    for _ in range(problem.dates):
        value = np.maximum(payoff, np.exp(-problem.rate * years) * weights @ value @ weights.T)
    diagonal = np.diag(value)
    return np.interp(np.log(spots), logs, diagonal)


def european(spot: float) -> float:
    """The call on the dearer of two assets at maturity alone, by integrating the law of the larger price."""
    prices = np.linspace(100, 900, 80_001)
    distance = (np.log(prices / spot) + (0.05 + 0.02) * 3) / (0.2 * np.sqrt(3))
    return float(np.exp(-0.15) * np.trapezoid(1 - ndtr(distance) ** 2, prices))


@pytest.fixture(scope="module")
def truths() -> dict[int, float]:
    return dict(zip(PUBLISHED, quadrature([float(spot) for spot in PUBLISHED]), strict=True))


@pytest.fixture(scope="module")
def networks() -> dict[int, Bounds]:
    return {spot: _bounds(spot, deep.train(MaxCall.symmetric(2, spot), QUICK, seed=1)) for spot in (90, 110)}


@pytest.fixture(scope="module")
def regressions() -> dict[int, Bounds]:
    fitted = {spot: longstaff_schwartz.fit(MaxCall.symmetric(2, spot), paths=1 << 15, seed=1) for spot in PUBLISHED}
    return {spot: _bounds(spot, policy) for spot, policy in fitted.items()}


def _bounds(spot: int, policy: Policy) -> Bounds:
    return bounds(MaxCall.symmetric(2, spot), policy, paths=1 << 16, outer=128, inner=256, seed=2)


def test_the_quadrature_agrees_with_the_published_values(truths: dict[int, float]):
    for spot, published in PUBLISHED.items():
        assert truths[spot] == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("method", ["networks", "regressions"])
def test_bounds_enclose_the_value_and_beat_the_european_option(
    method: str, truths: dict[int, float], request: pytest.FixtureRequest
):
    for spot, bound in request.getfixturevalue(method).items():
        lower, upper = bound
        assert lower.mean - ERRORS * lower.error <= truths[spot] <= upper.mean + ERRORS * upper.error
        assert lower.mean + ERRORS * lower.error > european(spot)
        assert lower.mean - ERRORS * lower.error <= upper.mean + ERRORS * upper.error


@pytest.mark.parametrize("method", ["networks", "regressions"])
def test_the_lower_bound_is_within_half_a_percent(
    method: str, truths: dict[int, float], request: pytest.FixtureRequest
):
    for spot, (lower, _) in request.getfixturevalue(method).items():
        assert lower.mean >= truths[spot] * 0.995 - ERRORS * lower.error


def test_date_zero_is_not_decided_with_hindsight(truths: dict[int, float], networks: dict[int, Bounds]):
    lower = networks[110].lower
    assert lower.mean <= truths[110] + ERRORS * lower.error
    # The trap is there: the better of the payoff and each path's own continuation is worth more than the option.
    problem = MaxCall.symmetric(2, 110)
    policy = longstaff_schwartz.fit(problem, paths=1 << 14, seed=1)
    random, state = generator(3), problem.initial(np.empty((1 << 14, 0), np.float32))
    start, continued = problem.payoff(state, 0), np.full(1 << 14, np.nan)
    for date in range(1, problem.dates + 1):
        state = problem.advance(state, date - 1, normals(random, 1 << 14, 2))
        payoff = problem.payoff(state, date)
        stop = np.isnan(continued) & (date == problem.dates or policy.stops(date, state, payoff))
        continued[stop] = payoff[stop]
    assert np.maximum(start, continued).mean() > truths[110] * 1.05


def test_date_zero_stops_where_waiting_is_worth_less():
    problem = MaxCall(300, (0.2,), 100, 0.05, 0.10, 3, 9)
    policy = longstaff_schwartz.fit(problem, paths=1 << 12, seed=1)
    assert policy.stop_at_start is True
    assert lower_bound(problem, policy, paths=100, seed=1) == (pytest.approx(200, rel=1e-6), 0.0)


def test_networks_find_the_value_of_a_straight_line():
    # H = 1: one look tells the slope Z; keep a rising line to the end, leave a falling one at the first date.
    problem = FractionalBrownianMotion(1.0, 100)
    config = deep.DeepConfig(width=8, paths=2048, batch=512, first_steps=100, steps=5)
    policy = deep.train(problem, config, seed=1)
    lower = lower_bound(problem, policy, paths=1 << 14, seed=2)
    exact = 0.99 / np.sqrt(2 * np.pi)
    assert exact == pytest.approx(0.394953, abs=1e-6)
    assert lower.mean == pytest.approx(exact, abs=ERRORS * lower.error + 0.002)


def test_a_martingale_is_worth_nothing_however_it_is_stopped():
    problem = FractionalBrownianMotion(0.5, 12)
    policy = longstaff_schwartz.fit(problem, paths=1 << 13, seed=1)
    bound = bounds(problem, policy, paths=1 << 15, outer=128, inner=256, seed=2)
    assert bound.lower.mean == pytest.approx(0, abs=ERRORS * bound.lower.error)
    # Each of twelve inner means is off by about 1/sqrt(256) at most, which can only raise the upper bound.
    assert -ERRORS * bound.upper.error <= bound.upper.mean <= 0.2


def test_unlike_assets_are_valued_as_published():
    problem = MaxCall.asymmetric(2, 100)
    policy = longstaff_schwartz.fit(problem, paths=1 << 15, seed=1)
    lower, upper = bounds(problem, policy, paths=1 << 16, outer=128, inner=256, seed=2)
    assert lower.mean - ERRORS * lower.error <= 19.8075 <= upper.mean + ERRORS * upper.error
    assert lower.mean >= 19.8075 * 0.995 - ERRORS * lower.error


@pytest.mark.parametrize(("hurst", "published"), [(0.1, 1.049), (0.7, 0.207)])
def test_fractional_paths_are_worth_at_most_and_nearly_what_was_published(hurst: float, published: float):
    problem = FractionalBrownianMotion(hurst, 100)
    lower = lower_bound(problem, longstaff_schwartz.fit(problem, paths=1 << 13, seed=1), paths=1 << 14, seed=2)
    assert published - 0.03 - ERRORS * lower.error <= lower.mean <= published + ERRORS * lower.error


def test_hedging_keeps_the_mean_and_takes_noise_away():
    random = np.random.default_rng(5)
    gains = random.standard_normal((400, 64, 2))
    values = 3 + gains @ np.array([2.0, -1.0]) + 0.1 * random.standard_normal((400, 64))
    means = hedged(values, gains).mean(axis=1)
    assert means.mean() == pytest.approx(3, abs=ERRORS * means.std() / 20)
    assert means.std() < 0.05 * values.mean(axis=1).std()


def test_hedging_with_gains_that_never_move_changes_nothing():
    values = np.random.default_rng(6).standard_normal((3, 10))
    np.testing.assert_allclose(hedged(values, np.zeros((3, 10, 2))), values)


def test_the_interval_widens_the_bounds_by_their_errors():
    problem, policy = MaxCall.symmetric(2, 90), longstaff_schwartz.fit(MaxCall.symmetric(2, 90), paths=2000, seed=1)
    bound = bounds(problem, policy, paths=2000, outer=8, inner=16, seed=2)
    low, high = bound.interval()
    assert low == pytest.approx(bound.lower.mean - 1.96 * bound.lower.error)
    assert high == pytest.approx(bound.upper.mean + 1.96 * bound.upper.error)
    assert bound.point == pytest.approx((bound.lower.mean + bound.upper.mean) / 2)
    assert bound == bounds(problem, policy, paths=2000, outer=8, inner=16, seed=2)


def test_too_few_paths_and_strange_starts_are_refused():
    problem = MaxCall.symmetric(2, 90)
    with pytest.raises(BadInput, match="paths"):
        longstaff_schwartz.fit(problem, paths=10, seed=1)
    policy = longstaff_schwartz.fit(problem, paths=1000, seed=1)
    with pytest.raises(BadInput, match="paths"):
        lower_bound(problem, policy, paths=3, seed=1)
    with pytest.raises(BadInput, match="inner"):
        upper_bound(problem, policy, outer=8, inner=2, seed=1)
    with pytest.raises(BadInput, match="start"):
        lower_bound(problem, policy, paths=100, seed=1, start=Start(10, np.zeros((1, 2), np.float32)))
