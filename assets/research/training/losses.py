"""Losses that tolerate wrong labels: the Joint Asymmetric Loss of arXiv 2507.17692, and the brief's other reading.

Throughout ``logits`` is (..., K), ``labels`` the integer classes (...,), p = softmax(logits), and every loss comes per
sample (...,), so that the caller weights and averages.

A label is wrong at the rate eta: the clean class with probability 1 - eta, each of the K - 1 others with eta / (K - 1).
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from assets.research.bad_input import BadInput

LossName = Literal["jal-ce", "jal-fl", "cross-entropy", "cross-entropy-nontarget-power"]

FOCUSING = 0.5  # the paper's exponent of the focal weights
BRIEF_POWER, BRIEF_ACTIVE_WEIGHT, BRIEF_PASSIVE_WEIGHT = 3.0, 0.7, 0.3


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log p_y, the loss to compare with; nothing protects it from wrong labels."""
    return -_at(jax.nn.log_softmax(logits), labels)


def normalised_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """NCE = (-log p_y) / (-sum_k log p_k). Over all K labels it sums to 1, whatever the logits: a symmetric loss."""
    cost = -jax.nn.log_softmax(logits)
    return _at(cost, labels) / cost.sum(-1)


def normalised_focal(logits: jax.Array, labels: jax.Array, focusing: float = FOCUSING) -> jax.Array:
    """NFL = (1-p_y)^g (-log p_y) / sum_k (1-p_k)^g (-log p_k).

    The weights (1-p)^g are constants to the gradient, as in the paper's own implementation.
    """
    log_p = jax.nn.log_softmax(logits)
    # 1 - p as a sum of the other probabilities would be exact near 0; there the weight multiplies a log p near 0.
    weights = jax.lax.stop_gradient(jnp.maximum(-jnp.expm1(log_p), 0.0) ** focusing)
    cost = -weights * log_p
    return _at(cost, labels) / cost.sum(-1)


def asymmetric_squared_error(logits: jax.Array, labels: jax.Array, asymmetry: float | jax.Array) -> jax.Array:
    """AMSE = ||a e_y - p||^2 / K with the asymmetry a >= 1; a = 1 is the mean squared error.

    Noise-tolerant when a reaches ``asymmetry_threshold``. Its gradient grows with a: match the clipping to it.
    """
    target = asymmetry * jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return ((target - jax.nn.softmax(logits)) ** 2).mean(-1)


def jal_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    asymmetry: float | jax.Array,
    active_weight: float = 1.0,
    passive_weight: float = 1.0,
) -> jax.Array:
    """JAL-CE = active_weight NCE + passive_weight AMSE (the paper's alpha and beta, both 1 on CIFAR-10)."""
    active = normalised_cross_entropy(logits, labels)
    return active_weight * active + passive_weight * asymmetric_squared_error(logits, labels, asymmetry)


def jal_focal(
    logits: jax.Array,
    labels: jax.Array,
    asymmetry: float | jax.Array,
    active_weight: float = 1.0,
    passive_weight: float = 1.0,
) -> jax.Array:
    """JAL-FL = active_weight NFL + passive_weight AMSE."""
    active = normalised_focal(logits, labels)
    return active_weight * active + passive_weight * asymmetric_squared_error(logits, labels, asymmetry)


def nontarget_power_error(logits: jax.Array, labels: jax.Array, power: float = BRIEF_POWER) -> jax.Array:
    """sum_{k != y} p_k^q, what the brief calls the passive term. Not the paper's, and not noise-tolerant for q > 1.

    With two classes and noise eta its risk is least inside, at p = 1 / (1 + (eta / (1-eta))^(1/(q-1))): it fits the
    noise level instead of the clean label.
    """
    others = 1.0 - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return (others * jax.nn.softmax(logits) ** power).sum(-1)


def cross_entropy_nontarget_power(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The brief's combination: 0.7 cross-entropy + 0.3 sum_{k != y} p_k^3. Without any guarantee under label noise."""
    active = cross_entropy(logits, labels)
    return BRIEF_ACTIVE_WEIGHT * active + BRIEF_PASSIVE_WEIGHT * nontarget_power_error(logits, labels)


def loss_named(
    name: LossName,
    logits: jax.Array,
    labels: jax.Array,
    asymmetry: float | jax.Array,
    active_weight: float = 1.0,
    passive_weight: float = 1.0,
) -> jax.Array:
    """The loss called ``name``; asymmetry and weights reach the two JAL losses only. BadInput at another name."""
    match name:
        case "jal-ce":
            return jal_cross_entropy(logits, labels, asymmetry, active_weight, passive_weight)
        case "jal-fl":
            return jal_focal(logits, labels, asymmetry, active_weight, passive_weight)
        case "cross-entropy":
            return cross_entropy(logits, labels)
        case "cross-entropy-nontarget-power":
            return cross_entropy_nontarget_power(logits, labels)
    raise BadInput(f"{name!r} is none of {', '.join(get_args(LossName))}", column="loss")


def asymmetry_threshold(noise_rate: float, classes: int = 2) -> float:
    """The least asymmetry a at which AMSE is asymmetric, so that its noisy risk still prefers the clean class.

    The theorem's condition w_clean / w_other >= (a + K - 1) / (a - 1) for noise spread evenly over the others; with
    two classes a >= 1 / (1 - 2 eta). BadInput unless 0 <= eta < (K - 1) / K: beyond, the clean class is not the most
    frequent one and no loss can find it.
    """
    if classes < 2:
        raise BadInput(f"{classes} classes, at least 2 are needed", column="classes")
    if not 0.0 <= noise_rate < (classes - 1) / classes:
        raise BadInput(f"{noise_rate} is outside [0, {(classes - 1) / classes:.4g})", column="noise_rate")
    clean, other = 1.0 - noise_rate, noise_rate / (classes - 1)
    return (clean + (classes - 1) * other) / (clean - other)


def _at(values: jax.Array, labels: jax.Array) -> jax.Array:
    # A product, not an index: the gradient of an index is a scatter, many times slower on a CPU.
    return (values * jax.nn.one_hot(labels, values.shape[-1], dtype=values.dtype)).sum(-1)
