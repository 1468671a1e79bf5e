"""Losses under label noise: closed forms, the symmetric sum, and where the minimiser of the noisy risk flips."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from assets.research.bad_input import BadInput
from assets.research.training import losses

BOTH = jnp.array([0, 1])


def two_class_logits(p: Any) -> jax.Array:
    """Logits (n, 2) with p_0 = p."""
    p = jnp.asarray(p)
    return jnp.stack([jnp.log(p), jnp.log1p(-p)], -1)


def noisy_risk_minimiser(loss: Callable[[jax.Array, jax.Array], jax.Array], noise_rate: float) -> float:
    """Where on a grid of p(clean) in (0, 1) the expected loss is least when the label is wrong at ``noise_rate``."""
    grid = np.linspace(0.0005, 0.9995, 1999)
    logits = two_class_logits(grid)
    clean = loss(logits, jnp.zeros(len(grid), int))
    wrong = loss(logits, jnp.ones(len(grid), int))
    return float(grid[int(jnp.argmin((1 - noise_rate) * clean + noise_rate * wrong))])


@pytest.mark.parametrize("asymmetry", [1.0, 2.5, 30.0])
def test_two_class_amse_is_the_closed_parabola(asymmetry: float) -> None:
    p = np.linspace(0.01, 0.99, 50)
    got = losses.asymmetric_squared_error(two_class_logits(p), jnp.zeros(50, int), asymmetry)
    np.testing.assert_allclose(got, p**2 - (asymmetry + 1) * p + (asymmetry**2 + 1) / 2, rtol=1e-5, atol=1e-6)


def test_many_class_amse_is_the_squared_distance_to_the_scaled_label() -> None:
    logits = jax.random.normal(jax.random.key(0), (20, 5))
    labels = jnp.arange(20) % 5
    p = np.asarray(jax.nn.softmax(logits), float)
    expected = [
        ((30 - row[label]) ** 2 + (row**2).sum() - row[label] ** 2) / 5 for row, label in zip(p, labels, strict=True)
    ]
    np.testing.assert_allclose(losses.asymmetric_squared_error(logits, labels, 30.0), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.normalised_cross_entropy, losses.normalised_focal])
@pytest.mark.parametrize("classes", [2, 10])
def test_normalised_losses_sum_to_one_over_the_labels(loss: Callable[..., jax.Array], classes: int) -> None:
    logits = 5 * jax.random.normal(jax.random.key(1), (30, classes))
    total = sum(loss(logits, jnp.full(30, label)) for label in range(classes))
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)


def test_normalised_focal_without_focusing_is_normalised_cross_entropy() -> None:
    logits, labels = jax.random.normal(jax.random.key(2), (8, 3)), jnp.arange(8) % 3
    np.testing.assert_allclose(
        losses.normalised_focal(logits, labels, 0.0), losses.normalised_cross_entropy(logits, labels), rtol=1e-6
    )


def test_focal_weights_are_constants_to_the_gradient() -> None:
    logits, label = jnp.array([0.7, -0.4, 0.1]), jnp.array(1)
    frozen = (1 - jax.nn.softmax(logits)) ** losses.FOCUSING

    def with_frozen_weights(x: jax.Array) -> jax.Array:
        cost = -frozen * jax.nn.log_softmax(x)
        return cost[1] / cost.sum()

    got = jax.grad(lambda x: losses.normalised_focal(x, label))(logits)
    np.testing.assert_allclose(got, jax.grad(with_frozen_weights)(logits), rtol=1e-5)


def test_two_class_amse_gradient_is_its_closed_form() -> None:
    def of_score(score: jax.Array) -> jax.Array:
        return losses.asymmetric_squared_error(jnp.stack([score, jnp.zeros_like(score)]), jnp.array(0), 30.0)

    scores = jnp.linspace(-3, 3, 13)
    p = jax.nn.sigmoid(scores)
    np.testing.assert_allclose(jax.vmap(jax.grad(of_score))(scores), -(31 - 2 * p) * p * (1 - p), rtol=1e-5)


@pytest.mark.parametrize("name", ["jal-ce", "cross-entropy-nontarget-power"])
def test_gradients_are_the_finite_differences(name: losses.LossName) -> None:
    with jax.enable_x64(True):
        logits, labels = jax.random.normal(jax.random.key(3), (4, 3)), jnp.array([0, 1, 2, 1])

        def total(flat: jax.Array) -> jax.Array:
            return losses.loss_named(name, flat.reshape(4, 3), labels, 2.5, 0.5, 2.0).sum()

        steps = 1e-6 * jnp.eye(12)
        values = jax.jit(jax.vmap(total))(logits.ravel() + jnp.concatenate([steps, -steps]))
        np.testing.assert_allclose(
            jax.jit(jax.grad(total))(logits.ravel()), (values[:12] - values[12:]) / 2e-6, rtol=1e-5
        )


@pytest.mark.parametrize("name", ["jal-ce", "jal-fl"])
def test_losses_and_gradients_stay_finite_at_saturated_logits(name: losses.LossName) -> None:
    logits = jnp.array([[80.0, -80.0], [-80.0, 80.0]])
    for labels in (jnp.array([0, 0]), jnp.array([1, 1])):
        value, gradient = jax.value_and_grad(lambda x, y=labels: losses.loss_named(name, x, y, 5.0).sum())(logits)
        assert jnp.isfinite(value)
        assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("noise_rate", "classes", "threshold"),
    [(0.0, 2, 1.0), (0.15, 2, 1 / 0.7), (0.3, 2, 2.5), (0.4, 2, 5.0), (0.8, 10, 9.0)],
)
def test_threshold_is_the_theorems(noise_rate: float, classes: int, threshold: float) -> None:
    assert losses.asymmetry_threshold(noise_rate, classes) == pytest.approx(threshold, rel=1e-12)


@pytest.mark.parametrize("noise_rate", [0.15, 0.3, 0.4])
def test_minimiser_of_the_noisy_risk_becomes_the_clean_label_at_the_threshold(noise_rate: float) -> None:
    """Below the threshold the minimiser is inside, ((1-2 eta) a + 1) / 2; from it on it is the clean label's corner."""
    threshold = losses.asymmetry_threshold(noise_rate)

    def minimiser(asymmetry: float) -> float:
        with jax.enable_x64(True):
            return noisy_risk_minimiser(lambda x, y: losses.asymmetric_squared_error(x, y, asymmetry), noise_rate)

    below = 0.99 * threshold
    assert minimiser(below) == pytest.approx(((1 - 2 * noise_rate) * below + 1) / 2, abs=5e-4)
    assert minimiser(below) < 0.996
    assert minimiser(threshold) == 0.9995  # the grid's last point
    assert minimiser(1.01 * threshold) == 0.9995


def test_jal_finds_the_clean_label_where_the_briefs_variant_fits_the_noise() -> None:
    with jax.enable_x64(True):
        assert noisy_risk_minimiser(lambda x, y: losses.nontarget_power_error(x, y, 3.0), 0.3) == pytest.approx(
            1 / (1 + (0.3 / 0.7) ** 0.5), abs=5e-4
        )  # 0.604
        assert 0.6 < noisy_risk_minimiser(losses.cross_entropy_nontarget_power, 0.3) < 0.71
        for jal in (losses.jal_cross_entropy, losses.jal_focal):
            assert noisy_risk_minimiser(lambda x, y, jal=jal: jal(x, y, 2.5), 0.3) == 0.9995


@pytest.mark.parametrize("noise_rate", [-0.1, 0.5, float("nan")])
def test_noise_that_hides_the_clean_label_is_refused(noise_rate: float) -> None:
    with pytest.raises(BadInput, match="noise_rate"):
        losses.asymmetry_threshold(noise_rate)


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(BadInput, match="column loss"):
        losses.loss_named("hinge", jnp.zeros((1, 2)), jnp.zeros(1, int), 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise_rate", [0.3, 0.4])
def test_network_trained_on_flipped_labels_is_right_more_often_with_jal_than_with_cross_entropy(
    noise_rate: float,
) -> None:
    """A network large enough to memorise 300 flipped labels, scored on 2,000 clean ones, eight data sets.

    Compared pairwise: the mean gain must exceed two of its standard errors.
    """
    rng = np.random.default_rng(4)
    x, fresh = rng.normal(size=(8, 300, 10)), rng.normal(size=(8, 2000, 10))
    truth = rng.normal(size=(8, 10, 1))
    labels = (x @ truth > 0)[..., 0] ^ (rng.random((8, 300)) < noise_rate)
    start = (
        rng.normal(size=(8, 10, 32)) * (2 / 10) ** 0.5,
        np.zeros((8, 1, 32)),
        rng.normal(size=(8, 32, 2)) * (1 / 32) ** 0.5,
    )
    asymmetry, optimiser = losses.asymmetry_threshold(noise_rate), optax.adam(2e-2)

    def logits(weights: Any, inputs: Any) -> Any:
        return jax.nn.relu(inputs @ weights[0] + weights[1]) @ weights[2]

    def accuracy(name: losses.LossName) -> np.ndarray:
        @jax.jit
        def trained(weights: Any, inputs: jax.Array, targets: jax.Array) -> Any:
            def step(carry: Any, _: None) -> tuple[Any, None]:
                weights, state = carry
                # The sum over data sets: each has weights of its own, and so a gradient of its own.
                gradient = jax.grad(
                    lambda w: losses.loss_named(name, logits(w, inputs), targets, asymmetry).mean(1).sum()
                )(weights)
                updates, state = optimiser.update(gradient, state)
                return (optax.apply_updates(weights, updates), state), None

            return jax.lax.scan(step, (weights, optimiser.init(weights)), None, length=250)[0][0]

        weights = jax.tree.map(jnp.float32, start)
        scores = logits(trained(weights, jnp.float32(x), labels.astype(np.int32)), fresh)
        return ((scores[..., 1] > scores[..., 0]) == (fresh @ truth > 0)[..., 0]).mean(1)

    gain = np.asarray(accuracy("jal-ce") - accuracy("cross-entropy"))
    assert gain.mean() > 2 * gain.std(ddof=1) / len(gain) ** 0.5, gain
