"""Fast and slow volatility corrections against the differential equations that they expand, and against numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from assets.research.bad_input import BadInput
from assets.research.trading.coefficients import TradingModel, solve, variance_sensitivity
from assets.research.trading.corrections import (
    FastFactor,
    SlowFactor,
    estimate_fast_factor,
    estimate_slow_factor,
    fast_correction,
    fast_speed_up,
    slow_correction,
)

BASE = TradingModel(
    variance=0.2, risk_aversion=5.0, trading_cost=1.0, discount=0.2, signal_decay=1.0, signal_variance=1.0,
    impact_per_trade=0.0, impact_decay=0.0,
)  # fmt: skip
IMPACTED = replace(BASE, impact_per_trade=0.1, impact_decay=0.1)
# The fast factor of the check: a square-root process, so that its noise vanishes at zero variance.
NOISE = 0.4


@pytest.mark.parametrize("model", [BASE, IMPACTED, replace(IMPACTED, impact_per_trade=0.5, trading_cost=0.3)])
def test_the_variance_derivatives_are_those_of_the_solver(model):
    exact, step = variance_sensitivity(solve(model)), 1e-4

    def moved(name: str, size: float) -> float:
        return getattr(solve(replace(model, variance=model.variance + size)), name)

    for name in exact._fields:
        # Fourth-order central difference: error about step^4.
        difference = 8 * (moved(name, step) - moved(name, -step)) - (moved(name, 2 * step) - moved(name, -2 * step))
        assert getattr(exact, name) == pytest.approx(difference / (12 * step), abs=1e-9, rel=1e-9)


def test_slow_correction_has_the_published_numbers():
    factor = SlowFactor(timescale=0.04, volatility=1.0, correlation=-0.5, variance_slope=1.0)
    found = slow_correction(solve(IMPACTED), factor)
    assert found[:3] == pytest.approx((0.280914, -0.236680, 0.203354), abs=0.51e-6)
    assert found.rate == pytest.approx(0.2 * (0.280914 - 0.1 * 0.236680), abs=1e-6)
    assert slow_correction(solve(BASE), factor).on_position == pytest.approx(0.254035, abs=0.51e-6)


def test_slow_correction_solves_its_linear_system():
    model = replace(IMPACTED, trading_cost=0.3, discount=0.5, signal_variance=2.0)
    found, factor = solve(model), SlowFactor(0.1, 0.7, 0.4, 1.3)
    slope, cost = variance_sensitivity(found), model.trading_cost
    coupling = 0.4 * math.sqrt(2.0) * 0.7 * 1.3
    along = np.array([1.0, model.impact_per_trade])
    matrix = np.diag([0.5, 0.5 + model.impact_decay]) - np.outer([found.on_position, found.on_impact], along) / cost
    position, impact = np.linalg.solve(matrix, coupling * np.array([slope.qx, slope.xl]))
    combined = position + model.impact_per_trade * impact
    forecast = (found.on_forecast * combined / cost + coupling * slope.xx) / (0.5 + model.signal_decay)
    expected = (position, impact, forecast, math.sqrt(0.1) * combined / cost)
    assert slow_correction(found, factor) == pytest.approx(expected, rel=1e-12)


def test_slow_correction_vanishes_without_correlation():
    assert slow_correction(solve(IMPACTED), SlowFactor(0.1, 1.0, 0.0, 1.0)) == (0, 0, 0, 0)


# --- fast factor: rho a = gamma y - a^2 / K + L a is solved to the end, on a grid


def generator(levels: np.ndarray, scale: float) -> np.ndarray:
    """Bands of L = (1 / eps) [(mu - y) d/dy + (NOISE^2 y / 2) d^2/dy^2], central; the noise is dropped at the far end,
    where the drift points inwards."""
    width = levels[1] - levels[0]
    drift, spread = (BASE.variance - levels) / scale, NOISE**2 * levels / 2 / scale / width**2
    spread[-1] = 0.0
    central = (drift[1:-1] / 2 / width + spread[1:-1], -drift[1:-1] / 2 / width + spread[1:-1])
    bands = np.zeros((3, levels.size))
    bands[0, 2:], bands[2, :-2] = central
    bands[0, 1], bands[2, -2] = drift[0] / width, -drift[-1] / width
    bands[1] = -(np.append(bands[0, 1:], 0.0) + np.append(0.0, bands[2, :-1]))
    return bands


def plus_diagonal(bands: np.ndarray, diagonal: np.ndarray | float) -> np.ndarray:
    shifted = -bands
    shifted[1] += diagonal
    return shifted


LEVELS = np.linspace(0.0, 1.6, 3201)


def exact_position_coefficient(scale: float) -> np.ndarray:
    """a(y) of V = -a q^2 / 2 + ..., by Newton."""
    bands, found = generator(LEVELS, scale), np.full(LEVELS.size, solve(BASE).qq)
    for _ in range(30):
        matrix = plus_diagonal(bands, BASE.discount + 2 * found / BASE.trading_cost)
        ahead = scipy.linalg.solve_banded((1, 1), matrix, BASE.risk_aversion * LEVELS + found**2 / BASE.trading_cost)
        moved, found = np.abs(ahead - found).max(), ahead
        if moved < 1e-9:
            return found
    raise AssertionError("no convergence")


def expansion(scale: float) -> np.ndarray:
    """The position's coefficient with the fast correction: the speed times K, with no impact."""
    found, factor = solve(BASE), FastFactor(scale, 1.0)
    ups = np.array([fast_speed_up(found, factor, float(level)) for level in LEVELS])
    return BASE.trading_cost * (found.speed + ups)


@pytest.mark.parametrize(
    ("scale", "exact", "expanded"),
    [
        (0.1, (0.84126, 0.90374, 0.98651), (0.82999, 0.90499, 1.00499)),
        (0.02, (0.89050, 0.90492, 0.92414), (0.88999, 0.90499, 0.92499)),
        (0.01, (0.89762, 0.90497, 0.91477), (0.89749, 0.90499, 0.91499)),
    ],
)
def test_fast_correction_is_the_first_term_of_the_exact_solution(scale, exact, expanded):
    at = np.searchsorted(LEVELS, (0.05 - 1e-9, 0.2 - 1e-9, 0.4 - 1e-9))
    # Five printed decimals; the exact ones come from a coarser grid than this one.
    assert exact_position_coefficient(scale)[at] == pytest.approx(exact, abs=2e-5)
    assert expansion(scale)[at] == pytest.approx(expanded, abs=0.6e-5)


def test_fast_correction_errs_by_the_square_of_its_scale():
    inside = LEVELS <= 0.5

    def error(scale: float) -> float:
        return float(np.abs(exact_position_coefficient(scale) - expansion(scale))[inside].max())

    assert 3.5 <= error(0.02) / error(0.01) <= 4.1
    assert 3.5 <= error(0.01) / error(0.005) <= 4.1


def test_fast_correction_earns_more_than_leaving_it_out():
    """The cost -a q^2 / 2 of three feedbacks u = -s(y) q under the moving variance: optimal <= corrected < constant."""
    scale = 0.05
    bands = generator(LEVELS, scale)

    def cost_of(speeds: np.ndarray) -> np.ndarray:
        matrix = plus_diagonal(bands, BASE.discount + 2 * speeds)
        right = BASE.risk_aversion * LEVELS + BASE.trading_cost * speeds**2
        return scipy.linalg.solve_banded((1, 1), matrix, right)

    best, constant = exact_position_coefficient(scale), cost_of(np.full(LEVELS.size, solve(BASE).speed))
    corrected = cost_of(expansion(scale) / BASE.trading_cost)
    inside = LEVELS <= 0.6
    assert (corrected - best > -1e-10)[inside].all()
    assert ((corrected - best) < 0.25 * (constant - best))[inside].all()


@pytest.mark.parametrize("model", [BASE, IMPACTED])
def test_high_variance_trades_faster_out_of_what_is_held(model):
    found, factor = solve(model), FastFactor(0.1, 2.0)
    assert fast_correction(found, factor, 0.4, 0.7) == pytest.approx(-0.1 * 5.0 * 0.2 * 0.7 / 2.0)
    assert fast_correction(found, factor, 0.1, 0.7) == pytest.approx(0.1 * 5.0 * 0.1 * 0.7 / 2.0)
    assert fast_correction(found, factor, model.variance, 0.7) == 0


def test_a_factor_that_is_not_fast_is_refused():
    with pytest.raises(BadInput, match="fast enough"):
        fast_speed_up(solve(BASE), FastFactor(0.91, 1.0), 0.2)
    assert fast_speed_up(solve(BASE), FastFactor(0.90, 1.0), 0.0) > -solve(BASE).speed


@pytest.mark.parametrize(
    ("build", "column"),
    [
        (lambda: FastFactor(-0.1, 1.0), "timescale"),
        (lambda: FastFactor(0.1, 0.0), "mean_reversion"),
        (lambda: FastFactor(math.nan, 1.0), "timescale"),
        (lambda: SlowFactor(0.1, 1.0, 1.1, 1.0), "correlation"),
        (lambda: SlowFactor(0.1, 1.0, 0.0, math.inf), "variance_slope"),
        (lambda: SlowFactor(-0.1, 1.0, 0.0, 1.0), "timescale"),
        (lambda: fast_speed_up(solve(BASE), FastFactor(0.1, 1.0), -0.1), "variance"),
        (lambda: estimate_fast_factor(np.full(59, 0.1), solve(BASE)), "daily_variances"),
        (lambda: estimate_fast_factor(np.array([0.1] * 70 + [-0.1]), solve(BASE)), "daily_variances"),
        (lambda: estimate_slow_factor(np.ones(60), np.ones(61)), "forecasts"),
    ],
)
def test_factors_and_series_that_cannot_be_meant_are_refused(build, column):
    with pytest.raises(BadInput) as refused:
        build()
    assert refused.value.column == column


def test_the_fast_timescale_is_found_through_the_noise_of_single_days():
    """20,000 days of an autoregression with coefficient 0.4 a day, each seen with an error as large as itself."""
    rng, days, lasting = np.random.default_rng(5), 20_000, 0.4
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = lasting * level[day - 1] + rng.normal()
    seen = 20 + level + rng.normal(size=days) * level.std()
    slow_model = solve(replace(BASE, variance=20.0, risk_aversion=1e-4, discount=1e-3))
    found = estimate_fast_factor(seen, slow_model)
    # Standard error of the ratio, in units of the level's variance: sqrt(2^2 / n) over its autocorrelation.
    error = 2 / math.sqrt(days) / lasting
    assert abs(math.exp(-1 / found.timescale) - lasting) <= 4 * error


def test_a_variance_that_lingers_takes_at_most_half_of_the_speed():
    lingering = 1 + np.sin(np.arange(400) / 60)
    found = solve(BASE)
    assert fast_speed_up(found, estimate_fast_factor(lingering, found), 0.0) == pytest.approx(-found.speed / 2)
    noise = np.where(np.arange(100) % 2, 0.1, 0.2)
    assert estimate_fast_factor(noise, found).timescale == 0


def test_the_slow_factor_is_what_the_series_move_by():
    rng = np.random.default_rng(3)
    moves, other = rng.normal(size=(2, 5000))
    variances = 100 + 0.01 * np.cumsum(moves)
    forecasts = np.cumsum(-0.6 * moves + 0.8 * other)
    found = estimate_slow_factor(variances, forecasts)
    assert found.volatility == pytest.approx(0.01, rel=0.05)
    # Standard error of a correlation: (1 - r^2) / sqrt(n) = 0.009.
    assert abs(found.correlation + 0.6) <= 0.036
    assert estimate_slow_factor(variances, np.zeros(5000)).correlation == 0
