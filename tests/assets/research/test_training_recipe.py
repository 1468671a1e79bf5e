"""Learning-rate recipes: the brief's schedule point by point, what a step does, and a toy of spurious correlation."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assets.research.bad_input import BadInput
from assets.research.training.recipe import BRIEF_TARGETS, ConstantRate, LargeRate, gradient_descent, judged, rate_grid
from tests.benchmarks.bench_training import spurious_run


def test_rates_warm_up_in_a_straight_line_and_cool_along_half_a_cosine() -> None:
    rates = LargeRate().rates(601, 20)
    assert rates[0] == pytest.approx(0.01)
    assert rates[50] == pytest.approx(0.155)
    assert rates[100] == rates.max() == pytest.approx(0.3)
    assert rates[350] == pytest.approx((0.3 + 1e-5) / 2)
    assert rates[-1] == pytest.approx(1e-5)
    assert (np.diff(rates[:101]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()


def test_run_shorter_than_the_warm_up_ends_warming_up() -> None:
    assert LargeRate().rates(10, 20)[-1] == pytest.approx(0.01 + 0.29 * 9 / 100)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert LargeRate(warmup_epochs=0).rates(5, 1)[0] == pytest.approx(0.3)


def test_grid_of_constant_rates_is_even_in_the_logarithm() -> None:
    rates = [recipe.rate for recipe in rate_grid(0.01, 1.0, 3)]
    assert rates == pytest.approx([0.01, 0.1, 1.0])
    assert (ConstantRate(0.1).rates(4, 1) == 0.1).all()


def step(gradient: list[float], **settings: Any) -> np.ndarray:
    optimiser = gradient_descent(jnp.array([0.5]), **settings)
    params = jnp.array([1.0, 1.0])
    updates, _ = optimiser.update(jnp.array(gradient), optimiser.init(params), params)
    return np.asarray(optax.apply_updates(params, updates))


def test_clipping_caps_the_step_at_the_rate_and_leaves_the_decay_whole() -> None:
    np.testing.assert_allclose(step([3.0, 4.0], clip_norm=1.0, weight_decay=0.0), [0.7, 0.6], rtol=1e-6)
    np.testing.assert_allclose(step([3.0, 4.0], clip_norm=1.0, weight_decay=0.2), [0.6, 0.5], rtol=1e-6)
    np.testing.assert_allclose(step([3.0, 4.0], clip_norm=None, weight_decay=0.0), [-0.5, -1.0], rtol=1e-6)


def test_metrics_are_laid_beside_the_briefs_targets_and_undefined_ones_stay_undefined() -> None:
    values = {"activation_sparsity": 0.4, "confidence": 0.6, "class_separation": 0.9, "kept_at_half": None}
    met = {row.metric: row.met for row in judged(values)}
    assert met == {"activation_sparsity": True, "confidence": False, "class_separation": False, "kept_at_half": None}
    assert len(judged(values)) == len(BRIEF_TARGETS)
    assert "at most 1" in next(row.remark for row in judged(values) if row.metric == "class_separation")


@pytest.mark.parametrize(
    ("recipe", "settings", "column"),
    [
        (LargeRate, {"peak_rate": 0.0}, "peak_rate"),
        (LargeRate, {"clip_norm": -1.0}, "clip_norm"),
        (LargeRate, {"weight_decay": float("nan")}, "weight_decay"),
        (LargeRate, {"warmup_epochs": -1.0}, "warmup_epochs"),
        (ConstantRate, {"rate": float("inf")}, "rate"),
    ],
)
def test_meaningless_settings_are_refused(recipe: Any, settings: dict[str, float], column: str) -> None:
    with pytest.raises(BadInput, match=column):
        recipe(**settings)


def test_network_leans_on_a_spurious_feature_that_is_easier_than_the_core_ones() -> None:
    """The premise of the rate comparison, true at any sensible rate: right where the spurious feature agrees, far less
    so where it does not. How that changes with the rate is a figure of the benchmark, not a promise."""
    runs = spurious_run(ConstantRate(0.1), seeds=4)
    assert runs["train_accuracy"].min() > 0.9
    assert (runs["biased_accuracy"] > runs["unbiased_accuracy"] + 0.05).all()
    assert (runs["worst_group_accuracy"] < runs["unbiased_accuracy"]).all()
