"""State-space models with a Gaussian transition, as the Kalman and particle filters of this room take them.

    x_1 ~ N(initial_mean, initial_covariance),  x_t = matrix x_{t-1} + offset + N(0, covariance),  y_t ~ g(. | x_t)

A twisted particle filter (2508.00696 section 2.1) needs f(psi) in closed form, hence the Gaussian transition; the
observation density g is free. An observation that is missing (None) carries no information: g = 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import gammaln

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.regime.exponential import exponential

_LOG_TWO_PI = math.log(2 * math.pi)
_LINEAR, _VOLATILITY, _DRIFT_AND_VOLATILITY, _BINOMIAL = range(4)


@dataclass(frozen=True, eq=False)
class GaussianTransition:
    """Matrices of x_1 ~ N(initial_mean, initial_covariance), x_t = matrix x_{t-1} + offset + N(0, covariance).

    Shapes (d, d), (d,), (d, d), (d,), (d, d). Raises BadInput for other shapes, for what is not finite and for a
    covariance that is not symmetric positive definite.
    """

    matrix: Floats
    offset: Floats
    covariance: Floats
    initial_mean: Floats
    initial_covariance: Floats

    def __post_init__(self) -> None:
        size = np.shape(self.matrix)[0] if np.ndim(self.matrix) else 0
        for name in ("matrix", "covariance", "initial_covariance"):
            _frozen(self, name, (size, size))
        for name in ("offset", "initial_mean"):
            _frozen(self, name, (size,))
        for name in ("covariance", "initial_covariance"):
            lower_root(getattr(self, name), name)

    @property
    def dimension(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """y (p,) = matrix x + N(0, covariance); ``matrix`` (p, d), ``covariance`` (p, p)."""

    matrix: Floats
    covariance: Floats

    def __post_init__(self) -> None:
        rows, columns = np.shape(self.matrix) if np.ndim(self.matrix) == 2 else (0, 0)
        _frozen(self, "matrix", (rows, columns))
        _frozen(self, "covariance", (rows, rows))
        lower_root(self.covariance, "covariance")


@dataclass(frozen=True)
class StochasticVolatility:
    """y_i = scale * exp(x_i / 2) * N(0, 1) in each coordinate; x is log variance around 2 ln ``scale``."""

    scale: float

    def __post_init__(self) -> None:
        _require_positive(self.scale, "scale")


@dataclass(frozen=True)
class DriftAndVolatility:
    """y = scale * (x_2 + exp(x_1 / 2) * N(0, 1)): x_1 log variance, x_2 drift in units of ``scale`` (d = 2)."""

    scale: float

    def __post_init__(self) -> None:
        _require_positive(self.scale, "scale")


@dataclass(frozen=True)
class BinomialCounts:
    """y_i ~ Binomial(trials, 1 / (1 + exp(-x_i))) in each coordinate."""

    trials: int

    def __post_init__(self) -> None:
        _require_positive(self.trials, "trials")


Observation = LinearGaussian | StochasticVolatility | DriftAndVolatility | BinomialCounts
Observed = Sequence[Any] | npt.NDArray[Any]


class Potential(NamedTuple):
    """ln g as the kernels compute it: which family, and its matrix (one row of zeros where the family has none)."""

    family: int
    matrix: Floats


class Evidence(NamedTuple):
    """Observations as the kernels take them: transformed values (T, p), constant of ln g (T,), present or not (T,)."""

    values: Floats
    constants: Floats
    present: npt.NDArray[np.bool_]

    def at(self, index: int) -> "Evidence":
        """One time alone."""
        part = slice(index, index + 1)
        return Evidence(self.values[part], self.constants[part], self.present[part])


@dataclass(frozen=True, eq=False)
class StateSpaceModel:
    """A transition with an observation density that fits it; raises BadInput where the dimensions disagree."""

    transition: GaussianTransition
    observation: Observation

    def __post_init__(self) -> None:
        dimension = self.transition.dimension
        if isinstance(self.observation, LinearGaussian) and self.observation.matrix.shape[1] != dimension:
            raise BadInput(f"{self.observation.matrix.shape} for {dimension} states", column="matrix")
        if isinstance(self.observation, DriftAndVolatility) and dimension != 2:
            raise BadInput(f"log variance and drift are two states, not {dimension}", column="transition")

    @property
    def dimension(self) -> int:
        return self.transition.dimension

    @property
    def observed_dimension(self) -> int:
        if isinstance(self.observation, LinearGaussian):
            return len(self.observation.matrix)
        return 1 if isinstance(self.observation, DriftAndVolatility) else self.dimension

    def potential(self) -> Potential:
        match self.observation:
            case LinearGaussian(matrix, covariance):
                whitened = np.linalg.solve(lower_root(covariance, "covariance"), matrix)
                return Potential(_LINEAR, whitened.astype(np.float64, copy=False))
            case StochasticVolatility():
                return Potential(_VOLATILITY, np.zeros((1, 1)))
            case DriftAndVolatility():
                return Potential(_DRIFT_AND_VOLATILITY, np.zeros((1, 1)))
            case BinomialCounts(trials):
                return Potential(_BINOMIAL, np.full((1, 1), float(trials)))

    def evidence(self, observations: Observed) -> Evidence:
        """``observations``: T rows of p numbers (plain numbers for p = 1), None for a missing one.

        Raises BadInput for another shape, for NaN or infinity, and for counts that are none.
        """
        size = self.observed_dimension
        present = np.array([row is not None for row in observations], dtype=np.bool_)
        rows = np.zeros((len(present), size))
        if present.all():
            rows[:] = _rows(observations, len(present), size)
        else:
            for at, row in enumerate(observations):
                if row is not None:
                    rows[at] = _rows(row, 1, size, at)
        values, constants = self._transformed(rows, present)
        return Evidence(values, constants, present)

    def _transformed(self, rows: Floats, present: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        size = rows.shape[1]
        match self.observation:
            case LinearGaussian(_, covariance):
                root = lower_root(covariance, "covariance")
                constant = -0.5 * size * _LOG_TWO_PI - float(np.log(np.diag(root)).sum())
                return np.ascontiguousarray(np.linalg.solve(root, rows.T).T), np.full(len(rows), constant)
            case StochasticVolatility(scale) | DriftAndVolatility(scale):
                constant = -size * (0.5 * _LOG_TWO_PI + math.log(scale))
                return rows / scale, np.full(len(rows), constant)
            case BinomialCounts(trials):
                bad = ((rows < 0) | (rows > trials) | (rows != np.floor(rows))).any(axis=1) & present
                if bad.any():
                    raise BadInput(f"no count of 0..{trials}", column="observations", at=int(np.argmax(bad)))
                ways = gammaln(trials + 1) - gammaln(rows + 1) - gammaln(trials - rows + 1)
                return rows, ways.sum(axis=1)


def lower_root(covariance: Floats, name: str) -> Floats:
    """Lower Cholesky factor; raises BadInput where ``covariance`` is not symmetric positive definite."""
    if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=1e-12):
        raise BadInput("not symmetric", column=name)
    try:
        return np.linalg.cholesky(covariance).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        raise BadInput("not positive definite", column=name) from None


@njit(cache=True)
def log_potential(
    family: int, matrix: Any, values: Any, constant: float, states: Any, count: int, row: Any, out: Any
) -> None:
    """ln g(y | x) of the first ``count`` columns of ``states`` (d, N) into ``out``; ``row`` (N,) is scratch."""
    for n in range(count):
        out[n] = constant
    if family == _LINEAR:
        for i in range(matrix.shape[0]):
            for n in range(count):
                row[n] = values[i]
            for j in range(matrix.shape[1]):
                if matrix[i, j] != 0.0:
                    for n in range(count):
                        row[n] -= matrix[i, j] * states[j, n]
            for n in range(count):
                out[n] -= 0.5 * row[n] * row[n]
    elif family == _VOLATILITY:
        for i in range(states.shape[0]):
            square = values[i] * values[i]
            for n in range(count):
                out[n] -= 0.5 * (states[i, n] + square * exponential(-states[i, n]))
    elif family == _DRIFT_AND_VOLATILITY:
        for n in range(count):
            surprise = values[0] - states[1, n]
            out[n] -= 0.5 * (states[0, n] + surprise * surprise * exponential(-states[0, n]))
    else:
        trials = matrix[0, 0]
        for i in range(states.shape[0]):
            for n in range(count):
                x = states[i, n]
                out[n] += values[i] * x - trials * (max(x, 0.0) + math.log1p(math.exp(-abs(x))))


def _rows(values: Any, count: int, size: int, at: int | None = None) -> Floats:
    rows = finite(values, "observations")
    if rows.size != count * size:
        raise BadInput(f"shape {rows.shape} where {size} a time are expected", column="observations", at=at)
    return rows.reshape(count, size)


def _frozen(model: Any, name: str, shape: tuple[int, ...]) -> None:
    """Replace the field by a read-only float64 copy of the shape it must have."""
    array = np.array(finite(getattr(model, name), name))
    if array.shape != shape or not array.size:
        raise BadInput(f"shape {array.shape} instead of {shape}", column=name)
    array.setflags(write=False)
    object.__setattr__(model, name, array)


def _require_positive(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"{value} is not positive", column=name)
