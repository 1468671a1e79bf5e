"""P(RISK-ON) from a continuous latent model of daily log returns: log variance and drift.

    return_t = scale (m_t + exp(h_t / 2) e_t),   h_t = phi_h h_{t-1} + ...,   m_t = phi_m m_{t-1} + ...,   e ~ N(0, 1)

with independent Gaussian autoregressions around zero. The twisted filter needs a Gaussian transition (2508.00696
section 2.1), so that the regime is a set of latent states and not a state of its own: which set is RiskOnDefinition.
Model, estimator and definition are our own; neither the paper nor the trading plan has them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import ndtri

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.regime.kalman import autoregression_log_likelihood, autoregression_smoothed
from assets.research.regime.orcsmc import AdaptiveConfig, FilterConfig, RollingFilter
from assets.research.regime.state_space import DriftAndVolatility, GaussianTransition, StateSpaceModel

SHORTEST_TRAINING = 120

# Share of the mean square added to squared returns before the logarithm, so that a day without movement is no -infinity
# (Fuller's transform), and mean and variance of ln(z^2 + c) - c / (z^2 + c) for standard normal z and that c, by
# numerical integration: the noise of a day of average volatility.
_OFFSET, _NOISE_MEAN, _NOISE_VARIANCE = 0.005, -1.1818099992658109, 3.7944697216047585
# Where the likelihood of a year of days is nearly flat it must not decide. A half-life of volatility of a week to half
# a year: what fades faster is a fat tail and no regime, what fades slower cannot be told from a level. A standard
# deviation of h of a tenth to one and a half.
_PERSISTENCE = 0.5 ** (1 / 7), 0.5 ** (1 / 180)
_SPREAD = 0.1, 1.5
# Share of a typical day's variance that drift may explain: above a tenth, trends would be plain to everyone.
_DRIFT_SHARE = 1e-4, 0.1


@dataclass(frozen=True)
class LatentModel:
    """Fitted parameters, per day.

    ``scale``: standard deviation of a typical day's log return; ``volatility_persistence`` and ``drift_persistence``:
    phi_h, phi_m; ``volatility_spread``: stationary standard deviation of h (log variance); ``drift_spread``: of m, in
    units of ``scale``; ``days``: returns it was fitted to.
    """

    scale: float
    volatility_persistence: float
    volatility_spread: float
    drift_persistence: float
    drift_spread: float
    days: int

    def state_space(self) -> StateSpaceModel:
        """States (h, m), started from their stationary laws."""
        persistence = np.array([self.volatility_persistence, self.drift_persistence])
        stationary = np.array([self.volatility_spread, self.drift_spread]) ** 2
        return StateSpaceModel(
            GaussianTransition(
                matrix=np.diag(persistence),
                offset=np.zeros(2),
                covariance=np.diag(stationary * (1 - persistence**2)),
                initial_mean=np.zeros(2),
                initial_covariance=np.diag(stationary),
            ),
            DriftAndVolatility(self.scale),
        )


@dataclass(frozen=True)
class RiskOnDefinition:
    """RISK-ON = volatility outside its stressed upper tail, and drift outside its adverse lower tail.

    Tails are those of the fitted stationary laws, so that the definition has no unit and needs no refitting: h below
    its ``calm_share`` quantile, m above its ``adverse_share`` quantile. Without any information the probability is
    ``calm_share * (1 - adverse_share)``, 0.68 by default, above the gate's 0.60: the gate is closed by evidence of
    stress, not by a lack of evidence, which is all one ever has about the drift of a year of days.
    """

    calm_share: float = 0.80
    adverse_share: float = 0.15

    def __post_init__(self) -> None:
        for name in ("calm_share", "adverse_share"):
            if not 0 < getattr(self, name) < 1:
                raise BadInput(f"{getattr(self, name)} is no share between 0 and 1", column=name)

    def contains(self, model: LatentModel, states: Floats) -> npt.NDArray[np.bool_]:
        """Which of the ``states`` (N, 2) = (h, m) are RISK-ON (N,)."""
        calm = states[:, 0] <= model.volatility_spread * ndtri(self.calm_share)
        kind = states[:, 1] >= model.drift_spread * ndtri(self.adverse_share)
        return np.asarray(calm & kind)


@dataclass(frozen=True)
class RiskOnDay:
    """``probability`` of RISK-ON given all returns so far, ``ess`` in particles, ``log_likelihood`` = ln Z so far.

    ``observed`` is False on a day without a return: the state is only predicted, and the gate must be off.
    """

    probability: float
    ess: float
    log_likelihood: float
    observed: bool


@dataclass(frozen=True, eq=False)
class RiskOnPath:
    """``probability``, ``ess``, ``observed`` of each day (n,), and ln Z of all of them."""

    probability: Floats
    ess: Floats
    observed: npt.NDArray[np.bool_]
    log_likelihood: float


class RiskOnFilter:
    """P(RISK-ON) day by day; resumable by ``to_bytes`` and ``from_bytes``."""

    def __init__(
        self,
        model: LatentModel,
        config: FilterConfig | AdaptiveConfig,
        seed: int,
        definition: RiskOnDefinition | None = None,
    ) -> None:
        self._model, self._definition = model, definition or RiskOnDefinition()
        self._filter = RollingFilter(model.state_space(), config, seed)

    def step(self, log_return: float | None) -> RiskOnDay:
        """The day of ``log_return``, None where there is none. Raises BadInput for NaN and infinity."""
        filtered = self._filter.step(log_return)
        on = self._definition.contains(self._model, filtered.particles)
        probability = min(float(filtered.weights[on].sum() / filtered.weights.sum()), 1.0)
        return RiskOnDay(probability, filtered.ess, filtered.log_likelihood, log_return is not None)

    def to_bytes(self) -> bytes:
        return self._filter.to_bytes()

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        model: LatentModel,
        config: FilterConfig | AdaptiveConfig,
        definition: RiskOnDefinition | None = None,
    ) -> Self:
        """The filter whose ``to_bytes`` gave ``content``; model, config and definition must be the same."""
        restored = cls(model, config, 0, definition)
        restored._filter = RollingFilter.from_bytes(content, model.state_space(), config)
        return restored


def filter_risk_on(
    model: LatentModel,
    returns: Sequence[float | None] | Floats,
    config: FilterConfig | AdaptiveConfig,
    seed: int,
    definition: RiskOnDefinition | None = None,
) -> RiskOnPath:
    """Filter consecutive daily log returns (n,), None for a missing one. Raises BadInput for NaN and infinity."""
    online = RiskOnFilter(model, config, seed, definition)
    days = [online.step(value) for value in returns]
    return RiskOnPath(
        np.array([day.probability for day in days]),
        np.array([day.ess for day in days]),
        np.array([day.observed for day in days], dtype=np.bool_),
        days[-1].log_likelihood if days else 0.0,
    )


def fit_latent_model(returns: Any, drift_half_life_days: float = 20.0) -> LatentModel:
    """Quasi-maximum likelihood on consecutive daily log returns (n,), n >= 120.

    Volatility: ln of the squared return, moved off zero by 0.5 % of the mean square, is h plus noise, treated as
    Gaussian with the noise's mean and variance (Harvey, Ruiz and Shephard 1994); level, persistence and spread maximise
    the Kalman likelihood. Drift: given the smoothed volatility, returns over ``scale`` are m plus noise of known
    variance; m's share of the variance maximises the Kalman likelihood within bounds, at a persistence that is assumed,
    not estimated (a year of days cannot tell it): a half-life of ``drift_half_life_days``. On simulated data with a
    drift spread of 0.15 both spreads come out low: volatility by 9 % (6,000 days) to 16 % (365), drift by about 30 %.

    Raises BadInput for fewer returns, for NaN or infinity, and for returns that are all zero.
    """
    values = finite(returns, "returns")
    if values.ndim != 1:
        raise BadInput(f"shape {values.shape} instead of (n,)", column="returns")
    if len(values) < SHORTEST_TRAINING:
        raise BadInput(f"{len(values)} returns, {SHORTEST_TRAINING} are needed", column="returns")
    if drift_half_life_days <= 0:
        raise BadInput(f"{drift_half_life_days} days", column="drift_half_life_days")
    squares = values**2
    offset = _OFFSET * float(squares.mean())
    if offset == 0:
        raise BadInput("all zero", column="returns")
    logs = np.log(squares + offset) - offset / (squares + offset) - _NOISE_MEAN
    level, persistence, spread = _fit_volatility(logs)
    scale = math.exp(level / 2)

    innovation = spread**2 * (1 - persistence**2)
    noise = np.full(len(values), _NOISE_VARIANCE)
    variances = np.exp(autoregression_smoothed(logs, noise, level, persistence, innovation))
    drift_persistence = 0.5 ** (1 / drift_half_life_days)

    def unlikelihood(share: float) -> float:
        return -float(
            autoregression_log_likelihood(
                values / scale, variances, 0.0, drift_persistence, share * (1 - drift_persistence**2)
            )
        )

    share = float(minimize_scalar(unlikelihood, bounds=_DRIFT_SHARE, method="bounded").x)
    return LatentModel(scale, persistence, spread, drift_persistence, math.sqrt(share), len(values))


def _fit_volatility(logs: Floats) -> tuple[float, float, float]:
    """Level, persistence and stationary standard deviation of h that maximise the likelihood within their bounds."""
    noise = np.full(len(logs), _NOISE_VARIANCE)

    def unlikelihood(parameters: Floats) -> float:
        level, persistence, spread = parameters
        return -float(autoregression_log_likelihood(logs, noise, level, persistence, spread**2 * (1 - persistence**2)))

    # The level starts at the mean and cannot leave the data; persistence and spread start in the middle.
    start = np.array([logs.mean(), 0.95, 0.6])
    bounds = [(float(logs.min()), float(logs.max())), _PERSISTENCE, _SPREAD]
    found = minimize(unlikelihood, start, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), float(found[1]), float(found[2])
