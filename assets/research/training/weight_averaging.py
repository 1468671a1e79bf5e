"""Averages of the weights along a training run: EMA and the bias-corrected BEMA of arXiv 2508.00180.

With t the optimiser steps taken, tau ``burn_in``, phi ``frequency`` and s = lag + multiplier (t - tau):

    at t = tau:               theta_0 := ema := theta_t
    every phi steps after it: ema <- ema + beta_s (theta_t - ema),   beta_s = s^-ema_power
                              bema = ema + alpha_s (theta_t - theta_0),   alpha_s = s^-bias_power

Before tau the average is the last iterate. The time is counted from tau; public versions disagree about that. beta and
alpha are cut at 1, and ``ema_power`` = 0 switches the averaging off (beta = 1).

BEMA extrapolates: once training has converged it lies alpha_s times the whole way from theta_0 beyond the optimum. It
helps while training is far from its end (curvature times steps below about one) or with a late ``burn_in``, where
theta_0 is already near; after a start from random weights the paper's ``bias_power`` of 0.2 does harm. Choose among
last iterate, EMA and BEMA by validation.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from assets.research.bad_input import BadInput, Floats, finite


@dataclass(frozen=True, slots=True)
class AveragingConfig:
    """Symbols of the paper: kappa ``ema_power``, eta ``bias_power``, gamma ``multiplier``, rho ``lag``, tau
    ``burn_in`` (steps), phi ``frequency`` (steps between two updates).

    Defaults are the paper's but for ``frequency`` (400 there, made for runs of many thousands of steps).
    ``bias_power`` None leaves the correction out, so that BEMA is the EMA.
    """

    ema_power: float = 0.5
    bias_power: float | None = 0.2
    multiplier: float = 1.0
    lag: float = 10.0
    burn_in: int = 0
    frequency: int = 1

    def __post_init__(self) -> None:
        for name, least in (("ema_power", 0), ("multiplier", 0), ("lag", 0), ("burn_in", 0), ("frequency", 1)):
            if not getattr(self, name) >= least:
                raise BadInput(f"{getattr(self, name)} is not at least {least}", column=name)
        if self.bias_power is not None and not self.bias_power >= 0:
            raise BadInput(f"{self.bias_power} is negative; None leaves the correction out", column="bias_power")
        if self.lag == self.multiplier == 0:
            raise BadInput("lag and multiplier are both 0: no time passes", column="lag")


class Averages(NamedTuple):
    """``start`` is theta_0 (the last iterate before burn-in); the trees are float32 or wider."""

    steps: jax.Array
    start: Any
    ema: Any
    bema: Any


class AveragedState(NamedTuple):
    """State of an optimiser with averages: ``inner`` is exactly what the optimiser alone would have."""

    inner: Any
    averages: Averages


def with_averages(optimiser: optax.GradientTransformation, config: AveragingConfig) -> Any:
    """``optimiser`` with EMA and BEMA of the weights kept beside it; an optax GradientTransformation.

    Its updates are the optimiser's, untouched; they are taken to be added to ``params``, which ``update`` needs. Read
    the averages from ``state.averages``.
    """

    def init(params: Any) -> AveragedState:
        return AveragedState(optimiser.init(params), start_averages(params))

    def update(updates: Any, state: AveragedState, params: Any = None) -> tuple[Any, AveragedState]:
        if params is None:
            raise BadInput("averages of the weights need the weights", column="params")
        updates, inner = optimiser.update(updates, state.inner, params)
        averages = advance_averages(state.averages, optax.apply_updates(params, updates), config)
        return updates, AveragedState(inner, averages)

    return optax.GradientTransformation(init, update)


def start_averages(params: Any) -> Averages:
    """Averages before the first step."""
    wide = _wide(params)
    return Averages(jnp.zeros((), jnp.int32), wide, wide, wide)


def advance_averages(averages: Averages, params: Any, config: AveragingConfig) -> Averages:
    """Averages after one more step has led to ``params``."""
    wide, steps = _wide(params), averages.steps + 1
    since = steps - config.burn_in
    starting = since <= 0
    due = starting | (since % config.frequency == 0)
    # No power of a negative time: before burn-in the result is not used, but NaN would be.
    time = config.lag + config.multiplier * jnp.maximum(since, 1).astype(jnp.float32)
    beta = jnp.minimum(time**-config.ema_power, 1.0)
    alpha = 0.0 if config.bias_power is None else jnp.minimum(time**-config.bias_power, 1.0)

    def at(old: Any, started: Any, running: Any) -> Any:
        return jax.tree.map(lambda o, s, r: jnp.where(starting, s, jnp.where(due, r, o)), old, started, running)

    start = at(averages.start, wide, averages.start)
    ema = at(averages.ema, wide, jax.tree.map(lambda e, w: e + beta * (w - e), averages.ema, wide))
    corrected = jax.tree.map(lambda e, w, s: e + alpha * (w - s), ema, wide, start)
    return Averages(steps, start, ema, at(averages.bema, wide, corrected))


def averages_of(iterates: Any, config: AveragingConfig) -> Averages:
    """Averages at the end of a stored run: ``iterates`` is a tree of (T+1, ...), the start first.

    The same recursion as ``with_averages``, for weights that were kept.
    """
    first = jax.tree.map(lambda leaf: leaf[0], iterates)
    rest = jax.tree.map(lambda leaf: leaf[1:], iterates)
    averages, _ = jax.lax.scan(
        lambda state, params: (advance_averages(state, params, config), None), start_averages(first), rest
    )
    return averages


def double_ema(iterates: jax.Array, config: AveragingConfig) -> jax.Array:
    """DEMA = 2 EMA - EMA(EMA) of (T+1, ...), a comparator: it cancels the EMA's lag without looking at the start."""

    def step(state: tuple[Averages, Averages], params: jax.Array) -> tuple[tuple[Averages, Averages], None]:
        once = advance_averages(state[0], params, config)
        return (once, advance_averages(state[1], once.ema, config)), None

    start = start_averages(iterates[0])
    (once, twice), _ = jax.lax.scan(step, (start, start), iterates[1:])
    result: jax.Array = 2 * once.ema - twice.ema
    return result


def ornstein_uhlenbeck_optimum(iterates: Any, curvature: float) -> Floats:
    """The maximum-likelihood optimum of d theta = A (mu - theta) dt + s dW from theta at t = 0..T, (T+1, ...).

    mu = (1/T) int theta dt + (theta_T - theta_0) / (A T): unbiased, with standard error s / (A sqrt(T)), the least
    there is. BEMA puts alpha I for 1 / (A T) and the EMA for the mean. ``curvature`` is A > 0, per step.
    The integral is the left sum, which makes it exact for gradient descent's theta_{t+1} - theta_t.
    """
    path = finite(iterates, "iterates")
    if path.ndim == 0 or len(path) < 2:
        raise BadInput("a run of at least one step is needed", column="iterates")
    if not curvature > 0:
        raise BadInput(f"{curvature} is not positive", column="curvature")
    steps = len(path) - 1
    optimum: Floats = np.asarray(path[:-1].mean(0) + (path[-1] - path[0]) / (curvature * steps))
    return optimum


def _wide(params: Any) -> Any:
    """In bfloat16 or float16 an average with a small beta would stop moving."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), params)
