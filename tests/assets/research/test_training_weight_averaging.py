"""EMA and BEMA: limits, equivariance, closed sums, and what they do to a quadratic with noise."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assets.research.bad_input import BadInput
from assets.research.training.weight_averaging import (
    AveragingConfig,
    averages_of,
    double_ema,
    ornstein_uhlenbeck_optimum,
    start_averages,
    with_averages,
)

PAPER = AveragingConfig()


def walk(steps: int = 50, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps + 1, width)).cumsum(0).astype(np.float32)


def by_hand(path: np.ndarray, config: AveragingConfig) -> tuple[np.ndarray, np.ndarray]:
    """EMA and BEMA in float64 as their definition reads, (1 - beta) ema + beta theta."""
    path = np.asarray(path, float)
    start = ema = bema = path[0]
    for step in range(1, len(path)):
        since = step - config.burn_in
        if since <= 0:
            start = ema = bema = path[step]
        elif since % config.frequency == 0:
            time = config.lag + config.multiplier * since
            beta = min(time**-config.ema_power, 1)
            ema = (1 - beta) * ema + beta * path[step]
            alpha = 0 if config.bias_power is None else min(time**-config.bias_power, 1)
            bema = ema + alpha * (path[step] - start)
    return ema, bema


@pytest.mark.parametrize(
    "config",
    [
        PAPER,
        AveragingConfig(ema_power=0.8, bias_power=0.7, multiplier=2.0, lag=3.0, burn_in=20, frequency=7),
        AveragingConfig(burn_in=80),
        AveragingConfig(lag=0.0, bias_power=1.0),
    ],
)
def test_averages_are_the_definition(config: AveragingConfig) -> None:
    averages = averages_of(jnp.asarray(walk()), config)
    ema, bema = by_hand(walk(), config)
    np.testing.assert_allclose(averages.ema, ema, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(averages.bema, bema, rtol=2e-5, atol=1e-5)


def test_without_correction_bema_is_the_ema_exactly() -> None:
    averages = averages_of(jnp.asarray(walk()), replace(PAPER, bias_power=None))
    np.testing.assert_array_equal(averages.bema, averages.ema)


def test_without_averaging_the_ema_is_the_last_iterate_exactly() -> None:
    averages = averages_of(jnp.asarray(walk()), replace(PAPER, ema_power=0.0, bias_power=None))
    np.testing.assert_array_equal(averages.bema, walk()[-1])


def test_before_burn_in_every_average_is_the_last_iterate() -> None:
    averages = averages_of(jnp.asarray(walk(30)), replace(PAPER, burn_in=30))
    for tree in averages[1:]:
        np.testing.assert_array_equal(tree, walk(30)[-1])


def test_averages_follow_shift_and_scale_of_the_weights() -> None:
    config = replace(PAPER, burn_in=5, frequency=3)
    plain = averages_of(jnp.asarray(walk()), config)
    moved = averages_of(jnp.asarray(-2.0 * walk() + 7.0), config)
    np.testing.assert_allclose(moved.ema, -2.0 * plain.ema + 7.0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moved.bema, -2.0 * plain.bema + 7.0, rtol=1e-4, atol=1e-4)


def test_constant_weights_stay_what_they_are_exactly() -> None:
    constant = jnp.full((40, 3), 0.1)
    averages = averages_of(constant, PAPER)
    np.testing.assert_array_equal(averages.bema, constant[0])
    np.testing.assert_array_equal(double_ema(constant, PAPER), constant[0])


def test_on_a_straight_line_the_lag_of_ema_and_bema_are_their_closed_sums() -> None:
    """theta_t = t v: the EMA is T - sum_t prod_{j=t}^{T} (1 - beta_j) behind, and alpha_T T of it comes back."""
    steps, velocity = 60, np.array([1.0, -0.5])
    times = 10.0 + np.arange(1, steps + 1)
    shrink = 1 - times**-0.5
    lag = sum(np.prod(shrink[first:]) for first in range(steps))
    averages = averages_of(jnp.asarray(np.arange(steps + 1)[:, None] * velocity), PAPER)
    np.testing.assert_allclose(averages.ema, (steps - lag) * velocity, rtol=1e-5)
    np.testing.assert_allclose(averages.bema, (steps - lag + times[-1] ** -0.2 * steps) * velocity, rtol=1e-5)


def test_double_ema_has_less_lag_than_ema_on_a_straight_line() -> None:
    line = jnp.arange(301.0)
    ema = float(averages_of(line, PAPER).ema)
    assert ema < float(double_ema(line, PAPER)) < 300.5


def descended(optimiser: Any, steps: int) -> tuple[Any, Any]:
    params = {"weights": jnp.array([3.0, -2.0]), "offset": jnp.array(1.0)}
    state = optimiser.init(params)
    for _ in range(steps):
        gradient = jax.tree.map(lambda leaf: 2 * leaf - 1, params)
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("inner", [optax.adam(0.1), optax.sgd(0.1, momentum=0.9)], ids=["adam", "sgd"])
def test_averaging_changes_neither_the_weights_nor_the_optimiser(inner: Any) -> None:
    params, state = descended(inner, 5)
    averaged_params, averaged = descended(with_averages(inner, PAPER), 5)
    jax.tree.map(np.testing.assert_array_equal, params, averaged_params)
    jax.tree.map(np.testing.assert_array_equal, state, averaged.inner)


def test_wrapper_and_stored_run_give_the_same_averages() -> None:
    optimiser, path = with_averages(optax.sgd(1.0), PAPER), walk(12)
    params = jnp.asarray(path[0])
    state = optimiser.init(params)
    for target in path[1:]:
        updates, state = optimiser.update(params - target, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(state.averages.bema, averages_of(jnp.asarray(path), PAPER).bema, rtol=1e-5, atol=1e-5)


def test_averages_of_half_precision_weights_are_kept_in_single_precision() -> None:
    """Ten thousand steps at beta of about 0.01: in bfloat16 (2^-8) the average would not move at all."""
    path = (1.0 + 0.1 * np.random.default_rng(1).normal(size=(10_001, 4))).astype(jnp.bfloat16)
    averages = averages_of(jnp.asarray(path), PAPER)
    assert averages.ema.dtype == jnp.float32
    assert start_averages(jnp.zeros(2, jnp.bfloat16)).start.dtype == jnp.float32
    ema, bema = by_hand(np.asarray(path, np.float64), PAPER)
    # Each step rounds by 2^-24 at most, and what it rounds decays at beta >= 0.01: 100 such steps are what is left.
    np.testing.assert_allclose(averages.ema, ema, atol=100 * 2**-24)
    np.testing.assert_allclose(averages.bema, bema, atol=200 * 2**-24)


def ou_runs(curvature: float, steps: int, runs: int, seed: int = 0) -> np.ndarray:
    """Gradient descent on A theta^2 / 2 with noise of 0.05 a step, from 10: (steps+1, runs)."""
    noise = 0.05 * np.random.default_rng(seed).normal(size=(steps, runs))
    path = np.empty((steps + 1, runs))
    path[0] = 10.0
    for step in range(steps):
        path[step + 1] = (1 - curvature) * path[step] + noise[step]
    return path


@pytest.mark.parametrize(
    ("curvature", "steps", "last", "mean", "ema", "bema_02", "bema_05", "bema_1", "likelihood"),
    [
        (0.001, 1000, 3.83, 6.36, 3.94, 2.57, 3.76, 3.94, 1.62),
        (0.003, 1000, 0.84, 3.21, 0.84, 1.99, 0.70, 0.84, 0.54),
        (0.01, 1000, 0.35, 1.00, 0.31, 2.53, 0.45, 0.31, 0.15),
        (0.1, 1000, 0.12, 0.091, 0.056, 2.51, 0.32, 0.057, 0.019),
        (0.01, 10000, 0.36, 0.11, 0.24, 1.63, 0.27, 0.24, 0.054),
    ],
)
def test_errors_on_a_noisy_quadratic_are_the_reference_table(
    curvature: float, steps: int, last: float, mean: float, ema: float, bema_02: float, bema_05: float, bema_1: float,
    likelihood: float,
) -> None:  # fmt: skip
    """Root mean squared errors. The table's own number of runs is unknown; 15 % covers two estimates from 200 runs
    each (standard error 1/sqrt(2 runs) = 5 %, of a difference 7 %, two of them), and the rounding is added."""
    runs = 200
    path = ou_runs(curvature, steps, runs)

    def error(estimate: Any) -> float:
        return float(np.sqrt((np.asarray(estimate) ** 2).mean()))

    def bema(power: float) -> float:
        return error(averages_of(jnp.asarray(path), replace(PAPER, bias_power=power)).bema)

    measured = {
        "last": error(path[-1]),
        "mean": error(path.mean(0)),
        "ema": error(averages_of(jnp.asarray(path), PAPER).ema),
        "bema_02": bema(0.2),
        "bema_05": bema(0.5),
        "bema_1": bema(1.0),
        "likelihood": error(ornstein_uhlenbeck_optimum(path, curvature)),
    }
    expected = {
        "last": last, "mean": mean, "ema": ema, "bema_02": bema_02, "bema_05": bema_05, "bema_1": bema_1,
        "likelihood": likelihood,
    }  # fmt: skip
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, rel=0.15, abs=0.005), (name, measured)


def test_likelihood_optimum_is_unbiased_with_the_least_variance() -> None:
    curvature, steps, runs = 0.02, 400, 2000
    estimate = ornstein_uhlenbeck_optimum(ou_runs(curvature, steps, runs, seed=5), curvature)
    deviation = 0.05 / (curvature * steps**0.5)
    assert abs(estimate.mean()) < 4 * deviation / runs**0.5
    assert estimate.std() == pytest.approx(deviation, rel=4 / (2 * runs) ** 0.5)


def test_bema_overshoots_a_converged_run_by_alpha_of_the_way_it_came() -> None:
    """Why it is chosen by validation and not by default: after convergence it is theta + alpha (theta - theta_0)."""
    path = 10.0 * 0.9 ** np.arange(2001)
    assert float(averages_of(jnp.asarray(path), PAPER).bema) == pytest.approx(-10.0 * 2010**-0.2, rel=1e-3)
    late = replace(PAPER, burn_in=1000)
    assert abs(float(averages_of(jnp.asarray(path), late).bema)) < 1e-6


@pytest.mark.parametrize(
    "settings", [{"ema_power": -1.0}, {"bias_power": -0.2}, {"frequency": 0}, {"lag": 0.0, "multiplier": 0.0}]
)
def test_meaningless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(settings))):
        AveragingConfig(**settings)


def test_weights_are_needed_to_average_them() -> None:
    optimiser = with_averages(optax.sgd(0.1), PAPER)
    with pytest.raises(BadInput, match="params"):
        optimiser.update(jnp.ones(2), optimiser.init(jnp.ones(2)))


@pytest.mark.parametrize(
    ("path", "curvature", "column"),
    [([1.0], 0.1, "iterates"), ([1.0, np.nan], 0.1, "iterates"), ([1.0, 2.0], 0, "curv")],
)
def test_runs_without_an_optimum_are_refused(path: list[float], curvature: float, column: str) -> None:
    with pytest.raises(BadInput, match=column):
        ornstein_uhlenbeck_optimum(path, curvature)
