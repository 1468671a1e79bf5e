"""The simulated problems follow their laws, and pay what they say. Bounds are 4.5 standard errors, seeds are fixed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.stopping.dual import generator, normals
from assets.research.stopping.problems import (
    FractionalBrownianMotion,
    MaxCall,
    PositionExit,
    PositionState,
    States,
    StoppingProblem,
)

EXIT = PositionExit(
    log_vol_mean=float(np.log(0.03)),
    log_vol_persistence=0.9,
    vol_of_log_vol=0.25,
    forecast_mean=0.0005,
    forecast_persistence=0.8,
    forecast_noise=0.0015,
    correlation=-0.4,
    risk_aversion=4.0,
    funding=0.0002,
    exit_cost=0.0005,
    hard_stop=0.10,
)


def paths(problem: StoppingProblem, count: int, seed: int = 1) -> list[States]:
    random = generator(seed, 9)
    states = [problem.initial(normals(random, count, problem.initial_noise))]
    for date in range(problem.dates):
        states.append(problem.advance(states[-1], date, normals(random, count, problem.noise)))
    return states


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.8, 1.0])
def test_fractional_brownian_paths_have_their_exact_covariance(hurst: float):
    count, dates = 40_000, 8
    path = paths(FractionalBrownianMotion(hurst, dates), count)[-1].astype(np.float64)
    times = np.arange(1, dates + 1) / dates
    early, late = times[:, None], times[None, :]
    exact = (early ** (2 * hurst) + late ** (2 * hurst) - np.abs(early - late) ** (2 * hurst)) / 2
    # Var(x y) = var(x) var(y) + cov(x, y)^2 for centred normals.
    error = np.sqrt((np.outer(np.diag(exact), np.diag(exact)) + exact**2) / count)
    assert (np.abs(path.T @ path / count - exact) <= 4.5 * error).all()


def test_at_hurst_one_a_path_is_a_straight_line():
    path = paths(FractionalBrownianMotion(1.0, 100), 10)[-1]
    np.testing.assert_allclose(path, path[:, :1] * np.arange(1, 101), rtol=1e-4, atol=1e-6)


def test_max_call_pays_the_discounted_excess_of_the_dearest_asset():
    problem = MaxCall.symmetric(3, 90)
    state = np.log(np.array([[90, 130, 95], [80, 70, 99]], np.float32))
    np.testing.assert_allclose(problem.payoff(state, 3), [30 * np.exp(-0.05), 0], rtol=1e-5)
    assert problem.open_to_stop(state, 3, problem.payoff(state, 3)).tolist() == [True, False]


def test_interchangeable_assets_are_seen_in_falling_order_and_others_in_their_places_too():
    state = np.log(np.array([[90, 130, 95]], np.float32))
    payoff = np.array([30.0])
    alike = MaxCall.symmetric(3, 90).features(state, 3, payoff)
    np.testing.assert_allclose(np.exp(alike[0, :3]), [1.3, 0.95, 0.9], rtol=1e-5)
    unlike = MaxCall.asymmetric(3, 90).features(state, 3, payoff)
    np.testing.assert_allclose(np.exp(unlike[0, :6]), [0.9, 1.3, 0.95, 1.3, 0.95, 0.9], rtol=1e-5)
    assert alike[0, -1] == unlike[0, -1] == 30


def test_volatilities_of_unlike_assets_are_the_published_ones():
    np.testing.assert_allclose(MaxCall.asymmetric(5, 90).volatilities, [0.08, 0.16, 0.24, 0.32, 0.40])
    np.testing.assert_allclose(MaxCall.asymmetric(10, 90).volatilities, 0.1 + np.arange(1, 11) / 20)


@pytest.mark.parametrize("problem", [MaxCall.symmetric(3, 100), MaxCall.asymmetric(3, 100), EXIT], ids=repr)
def test_hedges_gain_nothing_on_average_whatever_the_state(problem: StoppingProblem):
    states = paths(problem, 40_000)
    for begun, ended in ((0, problem.dates), (3, 5)):
        now, later = problem.hedge_prices(states[begun], begun), problem.hedge_prices(states[ended], ended)
        gains = problem.hedge_gains(states[begun], now, later)
        # Also where the first asset (the marked return) stands high: an ordering must not look ahead.
        for chosen in (slice(None), states[begun][:, 0] > np.median(states[begun][:, 0])):
            sample = gains[chosen]
            if len(sample):
                assert (np.abs(sample.mean(0)) <= 4.5 * sample.std(0) / np.sqrt(len(sample)) + 1e-12).all()


def test_a_position_pays_its_return_less_what_carrying_and_leaving_cost():
    calm = replace(EXIT, vol_of_log_vol=0.0, forecast_noise=0.0)
    state = calm.state(PositionState(0.01, 0.03, 0.002))
    moved = calm.advance(state, 0, np.array([[2, 0, 0]], np.float32))
    # 1 % so far, 0.2 % foreseen, 2 x 3 % by chance; half of 4 x 3 %^2 and 2 bp for the day; 5 bp to leave.
    assert calm.payoff(moved, 1)[0] == pytest.approx(0.01 + 0.002 + 0.06 - 2 * 0.0009 - 0.0002 - 0.0005, abs=1e-7)
    assert moved[0, 4] == pytest.approx(0.0005 + 0.8 * 0.0015, abs=1e-8)


def test_leaving_costs_more_when_the_market_moves_more():
    calm, wild = (EXIT.payoff(EXIT.state(PositionState(0.0, vol, 0.0)), 0)[0] for vol in (0.03, 0.06))
    assert (calm, wild) == (pytest.approx(-0.0005), pytest.approx(-0.0010))


def test_a_position_at_its_hard_stop_is_closed_and_moves_no_more():
    state = EXIT.state(PositionState(-0.1, 0.03, 0.01))
    assert EXIT.closed(state).all()
    assert not EXIT.open_to_stop(state, 3, EXIT.payoff(state, 3)).any()
    np.testing.assert_array_equal(EXIT.advance(state, 3, np.ones((1, 3), np.float32)), state)


def test_positions_trained_on_come_from_the_stationary_law():
    count = 40_000
    states = paths(EXIT, count)
    deviations = 0.25 / np.sqrt(1 - 0.81), 0.0015 / np.sqrt(1 - 0.64)
    for state in (states[0], EXIT.advance(states[0], 0, normals(generator(2), count, 3))):
        for column, deviation in zip((3, 4), deviations, strict=True):
            assert state[:, column].std() == pytest.approx(deviation, rel=4.5 / np.sqrt(2 * count))
        shift = np.abs(state[:, 3].mean() - EXIT.log_vol_mean)
        assert shift <= 4.5 * deviations[0] / np.sqrt(count)


def test_return_and_volatility_move_together_as_their_correlation_says():
    count = 40_000
    state = np.repeat(EXIT.state(PositionState(0.0, 0.03, 0.0)), count, axis=0)
    moved = EXIT.advance(state, 0, normals(generator(3), count, 3))
    error = (1 - 0.4**2) / np.sqrt(count)
    assert np.corrcoef(moved[:, 0], moved[:, 3])[0, 1] == pytest.approx(-0.4, abs=4.5 * error)


@pytest.mark.parametrize(
    ("make", "column"),
    [
        (lambda: MaxCall.symmetric(2, float("nan")), "spot"),
        (lambda: MaxCall.symmetric(2, -1.0), "spot"),
        (lambda: MaxCall.symmetric(0, 100.0), "volatilities"),
        (lambda: MaxCall.asymmetric(1, 100.0), "assets"),
        (lambda: MaxCall(100, (0.2, 0.0), 100, 0.05, 0.1, 3, 9), "volatilities"),
        (lambda: MaxCall(100, (0.2,), 100, 0.05, 0.1, 3, 0), "dates"),
        (lambda: FractionalBrownianMotion(0.0, 10), "hurst"),
        (lambda: FractionalBrownianMotion(1.1, 10), "hurst"),
        (lambda: replace(EXIT, log_vol_persistence=1.0), "log_vol_persistence"),
        (lambda: replace(EXIT, forecast_noise=-0.1), "forecast_noise"),
        (lambda: replace(EXIT, correlation=-1.5), "correlation"),
        (lambda: replace(EXIT, hard_stop=0.0), "hard_stop"),
        (lambda: replace(EXIT, funding=float("inf")), "funding"),
        (lambda: PositionState(0.0, 0.0, 0.0), "daily_volatility"),
        (lambda: PositionState(float("nan"), 0.03, 0.0), "unrealised_return"),
    ],
)
def test_bad_parameters_are_refused_by_name(make: Callable[[], Any], column: str):
    with pytest.raises(BadInput) as caught:
        make()
    assert caught.value.column == column
