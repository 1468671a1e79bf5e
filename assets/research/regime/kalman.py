"""Kalman filter, Rauch-Tung-Striebel smoother and log-likelihood of linear Gaussian models.

The general filter is the oracle of the particle filters; the scalar one, compiled, serves the estimation of the
latent model, which evaluates it some hundred times.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from assets.research.bad_input import BadInput, Floats
from assets.research.regime.state_space import LinearGaussian, Observed, StateSpaceModel


@dataclass(frozen=True, eq=False)
class KalmanPath:
    """Means (T, d) and covariances (T, d, d) of x_t given y_1:t-1 and given y_1:t; ln Z up to each time (T,)."""

    predicted_means: Floats
    predicted_covariances: Floats
    means: Floats
    covariances: Floats
    log_likelihoods: Floats


def kalman_filter(model: StateSpaceModel, observations: Observed) -> KalmanPath:
    """Exact filter; None in ``observations`` is a missing one. Raises BadInput where y is not linear in x."""
    if not isinstance(model.observation, LinearGaussian):
        raise BadInput("the Kalman filter needs a linear observation", column="observation")
    law, evidence = model.transition, model.evidence(observations)
    # Whitened: y = seen x + N(0, I), and the constant of ln g is what the whitening costs.
    seen, size, identity = model.potential().matrix, model.dimension, np.eye(model.observed_dimension)
    length = len(evidence.present)
    path = KalmanPath(
        np.empty((length, size)),
        np.empty((length, size, size)),
        np.empty((length, size)),
        np.empty((length, size, size)),
        np.empty(length),
    )
    mean, covariance, log_likelihood = law.initial_mean, law.initial_covariance, 0.0
    for t in range(length):
        if t:
            mean = law.matrix @ mean + law.offset
            covariance = law.matrix @ covariance @ law.matrix.T + law.covariance
        path.predicted_means[t], path.predicted_covariances[t] = mean, covariance
        if evidence.present[t]:
            root = np.linalg.cholesky(seen @ covariance @ seen.T + identity)
            surprise = np.linalg.solve(root, evidence.values[t] - seen @ mean)
            reach = np.linalg.solve(root, seen @ covariance)
            mean = mean + reach.T @ surprise
            covariance = covariance - reach.T @ reach
            log_likelihood += float(evidence.constants[t] - np.log(np.diag(root)).sum() - 0.5 * surprise @ surprise)
        path.means[t], path.covariances[t], path.log_likelihoods[t] = mean, covariance, log_likelihood
    return path


def rts_smoother(model: StateSpaceModel, path: KalmanPath) -> tuple[Floats, Floats]:
    """Means (T, d) and covariances (T, d, d) of x_t given all observations."""
    means, covariances = path.means.copy(), path.covariances.copy()
    for t in range(len(means) - 2, -1, -1):
        ahead = path.predicted_covariances[t + 1]
        gain = np.linalg.solve(ahead, model.transition.matrix @ path.covariances[t]).T
        means[t] += gain @ (means[t + 1] - path.predicted_means[t + 1])
        covariances[t] += gain @ (covariances[t + 1] - ahead) @ gain.T
    return means, covariances


@njit(cache=True)
def autoregression_log_likelihood(
    values: Any, noise: Any, level: float, persistence: float, innovation: float
) -> float:
    """ln Z of values_t = level + x_t + N(0, noise_t), x a stationary AR(1); ``noise``, ``innovation`` are variances."""
    mean, variance, total = 0.0, innovation / (1.0 - persistence * persistence), 0.0
    for t in range(values.shape[0]):
        spread = variance + noise[t]
        surprise = values[t] - level - mean
        total -= 0.5 * (math.log(2.0 * math.pi * spread) + surprise * surprise / spread)
        gain = variance / spread
        mean = persistence * (mean + gain * surprise)
        variance = persistence * persistence * (1.0 - gain) * variance + innovation
    return total


@njit(cache=True)
def autoregression_smoothed(values: Any, noise: Any, level: float, persistence: float, innovation: float) -> Any:
    """Smoothed means (T,) of x in the model of ``autoregression_log_likelihood``."""
    length = values.shape[0]
    means, variances = np.empty(length), np.empty(length)
    mean, variance = 0.0, innovation / (1.0 - persistence * persistence)
    for t in range(length):
        gain = variance / (variance + noise[t])
        means[t], variances[t] = mean + gain * (values[t] - level - mean), (1.0 - gain) * variance
        mean, variance = persistence * means[t], persistence * persistence * variances[t] + innovation
    for t in range(length - 2, -1, -1):
        ahead = persistence * persistence * variances[t] + innovation
        means[t] += persistence * variances[t] / ahead * (means[t + 1] - persistence * means[t])
    return means
