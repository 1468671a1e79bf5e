"""Models, simulated data and brute-force answers for the tests of the regime filters."""

import math

import numpy as np
import numpy.typing as npt

from assets.research.bad_input import Floats
from assets.research.regime.state_space import (
    GaussianTransition,
    LinearGaussian,
    StateSpaceModel,
    StochasticVolatility,
)
from assets.research.regime.two_state import TwoStateChain

PHI, SIGMA, BETA = 0.986, 0.13, 0.69


def linear_gaussian(dimension: int, *, diagonal: bool = False) -> StateSpaceModel:
    """The paper's example: A_ij = 0.415^(|i - j| + 1), or 0.415 I; all covariances are I."""
    lags = np.abs(np.subtract.outer(np.arange(dimension), np.arange(dimension)))
    identity = np.eye(dimension)
    matrix = 0.415 * identity if diagonal else 0.415 ** (lags + 1.0)
    return StateSpaceModel(
        GaussianTransition(matrix, np.zeros(dimension), identity, np.zeros(dimension), identity),
        LinearGaussian(identity, identity),
    )


def stochastic_volatility() -> StateSpaceModel:
    """The paper's stochastic volatility, started from its stationary law."""
    stationary = SIGMA**2 / (1 - PHI**2)
    return StateSpaceModel(
        autoregression(PHI, SIGMA**2, stationary),
        StochasticVolatility(BETA),
    )


def autoregression(persistence: float, innovation: float, initial: float) -> GaussianTransition:
    return GaussianTransition(
        np.array([[persistence]]), np.zeros(1), np.array([[innovation]]), np.zeros(1), np.array([[initial]])
    )


def latent_path(transition: GaussianTransition, length: int, generator: np.random.Generator) -> Floats:
    """States (T, d) drawn from the model."""
    state = generator.multivariate_normal(transition.initial_mean, transition.initial_covariance)
    path = [state]
    for _ in range(length - 1):
        noise = generator.multivariate_normal(np.zeros(len(state)), transition.covariance)
        state = transition.matrix @ state + transition.offset + noise
        path.append(state)
    return np.array(path)


def linear_data(model: StateSpaceModel, length: int, seed: int) -> Floats:
    """Observations (T, d) of a ``linear_gaussian`` model."""
    generator = np.random.default_rng(seed)
    return latent_path(model.transition, length, generator) + generator.normal(size=(length, model.dimension))


def volatility_data(length: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    states = latent_path(stochastic_volatility().transition, length, generator)[:, 0]
    return BETA * np.exp(states / 2) * generator.normal(size=length)


def grid_filter(initial: Floats, transition: Floats, log_densities: Floats) -> tuple[Floats, float]:
    """Filter probabilities (T, points) on a grid of states, and ln Z.

    ``initial`` (points,) and ``transition`` (from, to) are probabilities of the points, ``log_densities`` (T, points).
    """
    belief, log_likelihood, path = initial / initial.sum(), 0.0, []
    for t, logs in enumerate(log_densities):
        if t:
            belief = belief @ transition
        peak = logs.max()
        belief = belief * np.exp(logs - peak)
        log_likelihood += peak + math.log(belief.sum())
        belief = belief / belief.sum()
        path.append(belief)
    return np.array(path), log_likelihood


def normal_steps(grid: Floats, persistence: float, innovation: float) -> Floats:
    """Transition probabilities (from, to) of an AR(1) between the points of an even grid."""
    density = np.exp(-0.5 * (grid[None, :] - persistence * grid[:, None]) ** 2 / innovation)
    return density / density.sum(axis=1, keepdims=True)


def two_regimes(
    chain: TwoStateChain, length: int, mean_on: float, seed: int
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """States of the chain (True = on), y = +-mean_on + N(0, 1), and ln g (T, 2) of each y under off and on."""
    generator = np.random.default_rng(seed)
    on = np.empty(length, np.bool_)
    chance = chain.initial_on
    for t in range(length):
        on[t] = generator.random() < chance
        chance = chain.stay_on if on[t] else chain.turn_on
    values = np.where(on, mean_on, -mean_on) + generator.normal(size=length)
    logs = -0.5 * math.log(2 * math.pi) - 0.5 * (values[:, None] - np.array([-mean_on, mean_on])) ** 2
    return on, values, logs
