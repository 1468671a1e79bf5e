"""Learning-rate recipes: the brief's large rate with warm-up and cosine, and a constant rate to lay a grid over.

arXiv 2507.17748 is empirical and gives no recipe; it compares constant rates up to the edge of divergence. Every number
of ``LargeRate`` and of ``BRIEF_TARGETS`` is the brief's own. A rate of 0.3 makes sense for plain gradient descent only,
and clipping the gradient's norm caps the step at the rate, which holds back the very effect the paper reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from assets.research.bad_input import BadInput, Floats


@dataclass(frozen=True, slots=True)
class LargeRate:
    """Straight up from ``start_rate`` to ``peak_rate`` in ``warmup_epochs``, then half a cosine to ``end_rate``."""

    peak_rate: float = 0.3
    start_rate: float = 0.01
    end_rate: float = 1e-5
    warmup_epochs: float = 5.0
    clip_norm: float | None = 1.0
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        _positive(peak_rate=self.peak_rate, start_rate=self.start_rate, end_rate=self.end_rate)
        _settings(self.clip_norm, self.weight_decay)
        if not self.warmup_epochs >= 0:
            raise BadInput(f"{self.warmup_epochs} is negative", column="warmup_epochs")

    def rates(self, steps: int, steps_per_epoch: float) -> Floats:
        """The rate of each of ``steps`` steps. Where the run ends before the warm-up does, it ends warming up."""
        at = np.arange(steps, dtype=np.float64)
        warm = self.warmup_epochs * steps_per_epoch
        rising = self.start_rate + (self.peak_rate - self.start_rate) * at / max(warm, 1e-300)
        cooled = np.clip((at - warm) / max(steps - 1 - warm, 1.0), 0.0, 1.0)
        falling = self.end_rate + (self.peak_rate - self.end_rate) * (1 + np.cos(np.pi * cooled)) / 2
        rates: Floats = np.where(at < warm, rising, falling)
        return rates


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """One rate throughout, nothing clipped unless asked for: the knob of the paper's comparison."""

    rate: float
    clip_norm: float | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _positive(rate=self.rate)
        _settings(self.clip_norm, self.weight_decay)

    def rates(self, steps: int, steps_per_epoch: float) -> Floats:  # noqa: ARG002 - one signature for both recipes
        """The rate of each of ``steps`` steps."""
        return np.full(steps, self.rate)


Recipe = LargeRate | ConstantRate


class Target(NamedTuple):
    """What the brief expects of a metric, at least."""

    metric: str
    least: float
    remark: str = ""


BRIEF_TARGETS = (
    Target("activation_sparsity", 0.30),
    Target("confidence", 0.85),
    Target("class_separation", 2.0, "cannot be met: R^2 is at most 1"),
    Target("kept_at_half", 0.95, "share of the accuracy left with half of the weights; 0.95 for 'enabled' is our own"),
)


class Judged(NamedTuple):
    """A metric beside its target; ``value`` and ``met`` are None where the metric is undefined."""

    metric: str
    value: float | None
    least: float
    met: bool | None
    remark: str


def judged(metrics: Mapping[str, float | None]) -> tuple[Judged, ...]:
    """``metrics`` beside the brief's targets, as a report; nothing is steered by it."""
    return tuple(
        Judged(target.metric, value, target.least, None if value is None else value >= target.least, target.remark)
        for target in BRIEF_TARGETS
        for value in (metrics[target.metric],)
    )


def rate_grid(lowest: float, highest: float, count: int) -> tuple[ConstantRate, ...]:
    """``count`` constant rates, evenly spaced in the logarithm from ``lowest`` to ``highest``."""
    _positive(lowest=lowest, highest=highest)
    if count < 2 or lowest >= highest:
        raise BadInput(f"{count} rates from {lowest} to {highest} are no grid", column="count")
    return tuple(ConstantRate(float(rate)) for rate in np.geomspace(lowest, highest, count))


def gradient_descent(
    rates: Any, clip_norm: float | None, weight_decay: float | jax.Array
) -> optax.GradientTransformation:
    """Plain gradient descent at ``rates`` (steps,), an array that a compiled loop may get as an argument.

    The gradient is clipped before the decay ``weight_decay * weights`` is added, so the clipping does not weaken it.
    """
    return optax.chain(
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(lambda step: rates[step]),
    )


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise BadInput(f"{value} is not a positive number", column=name)


def _settings(clip_norm: float | None, weight_decay: float) -> None:
    if clip_norm is not None:
        _positive(clip_norm=clip_norm)
    if not 0 <= weight_decay < float("inf"):
        raise BadInput(f"{weight_decay} is not a number of at least 0", column="weight_decay")
