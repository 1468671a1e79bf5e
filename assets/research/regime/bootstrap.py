"""Bootstrap particle filters: for models with a Gaussian transition, and for a two-state chain.

Particles move by the model alone and are weighted by what is observed; resampling happens at the start of a step,
where the effective sample size has fallen below ``ess_threshold`` times the number of particles. The same kernels
carry the controlled filter (``orcsmc``), so that comparing these with exact filters tests those.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.regime.resampling import METHODS, Method, draw_ancestors
from assets.research.regime.state_space import Observed, StateSpaceModel
from assets.research.regime.twisting import (
    new_scratch,
    new_systems,
    new_twists,
    propagate,
    set_flat,
    total_and_squares,
    transition_of,
    weigh,
)
from assets.research.regime.two_state import TwoStateChain


@dataclass(frozen=True)
class BootstrapConfig:
    """``particles`` N, ``ess_threshold`` as a share of N (0 never resamples, 1 nearly always), resampling method."""

    particles: int = 1000
    ess_threshold: float = 0.5
    resampling: Method = "systematic"

    def __post_init__(self) -> None:
        require_particles(self.particles, self.ess_threshold, self.resampling)


@dataclass(frozen=True, eq=False)
class BootstrapPath:
    """Filter means (T, d), effective sample sizes after weighting (T,) and ln Z up to each time (T,).

    The last time's ``particles`` (N, d) and normalised ``weights`` (N,) are kept.
    """

    means: Floats
    ess: Floats
    log_likelihoods: Floats
    particles: Floats
    weights: Floats


def bootstrap_filter(
    model: StateSpaceModel, observations: Observed, config: BootstrapConfig, seed: int | np.random.SeedSequence
) -> BootstrapPath:
    """Filter ``observations`` (T rows, None for a missing one); the same ``seed`` gives the same path."""
    evidence = model.evidence(observations)
    length, size = len(evidence.present), model.dimension
    means, ess, log_likelihoods = np.empty((length, size)), np.empty(length), np.empty(length)
    systems = new_systems(2, size, config.particles)
    _filter(
        np.random.default_rng(seed),
        transition_of(model.transition),
        model.potential(),
        evidence,
        config.particles,
        config.ess_threshold,
        METHODS.index(config.resampling),
        systems,
        new_twists(2, size),
        new_scratch(size, config.particles),
        means,
        ess,
        log_likelihoods,
    )
    last = length % 2
    return BootstrapPath(means, ess, log_likelihoods, systems.states[last].T.copy(), np.exp(systems.log_weights[last]))


def bootstrap_two_state(
    chain: TwoStateChain, log_densities: Any, config: BootstrapConfig, seed: int | np.random.SeedSequence
) -> tuple[Floats, float]:
    """P(state 1 | y_1:t) (T,) and ln Z of ``config.particles`` particles that jump between the two states.

    ``log_densities`` (T, 2) is ln g(y_t | state). There is an exact answer to this (``two_state.forward_filter``);
    the particles exist to test resampling and weighting against it.
    """
    densities = finite(log_densities, "log_densities")
    if densities.ndim != 2 or densities.shape[1] != 2:
        raise BadInput(f"shape {densities.shape} instead of (T, 2)", column="log_densities")
    probabilities = np.empty(len(densities))
    log_likelihood = _filter_two_state(
        np.random.default_rng(seed),
        np.array([chain.initial_on, chain.turn_on, chain.stay_on]),
        densities,
        config.particles,
        config.ess_threshold,
        METHODS.index(config.resampling),
        probabilities,
    )
    return probabilities, float(log_likelihood)


def require_particles(particles: int, ess_threshold: float, resampling: Method) -> None:
    if particles < 1:
        raise BadInput(f"{particles} particles", column="particles")
    if not 0 <= ess_threshold <= 1:
        raise BadInput(f"{ess_threshold} is no share of the particles", column="ess_threshold")
    if resampling not in METHODS:
        raise BadInput(f"{resampling!r} is none of {', '.join(METHODS)}", column="resampling")


@njit(cache=True)
def _filter(
    generator: Any,
    model: Any,
    potential: Any,
    evidence: Any,
    count: int,
    ess_threshold: float,
    method: int,
    systems: Any,
    twists: Any,
    scratch: Any,
    means: Any,
    ess: Any,
    log_likelihoods: Any,
) -> None:
    set_flat(0, False, model, twists)
    set_flat(1, True, model, twists)
    for t in range(evidence.values.shape[0]):
        slot = (t + 1) % 2
        propagate(
            generator, 1 - slot, slot, int(t == 0), count, systems, twists, potential, evidence.values[t],
            evidence.constants[t], evidence.present[t], ess_threshold, method, scratch,
        )  # fmt: skip
        log_likelihoods[t] = systems.log_likelihoods[slot]
        summarise(slot, systems, scratch, means[t], ess, t)


@njit(cache=True)
def summarise(slot: int, systems: Any, scratch: Any, mean: Any, ess: Any, at: int) -> None:
    """Weighted mean of the slot's particles into ``mean`` (d,) and the effective sample size into ``ess[at]``.

    ``propagate`` has left the slot's unnormalised weights in the scratch.
    """
    weights, count = scratch.weights, systems.counts[slot]
    total, squares = total_and_squares(weights, count)
    ess[at] = total * total / squares
    for i in range(mean.shape[0]):
        moment = 0.0
        for n in range(count):
            moment += weights[n] * systems.states[slot, i, n]
        mean[i] = moment / total


@njit(cache=True)
def _filter_two_state(
    generator: Any,
    chances: Any,
    log_densities: Any,
    count: int,
    ess_threshold: float,
    method: int,
    probabilities: Any,
) -> float:
    """``chances``: P(on) at first, P(on | off), P(on | on)."""
    on = np.zeros(count, np.bool_)
    moved = np.empty(count, np.bool_)
    log_weights = np.full(count, -math.log(count))
    weights, ancestors, spacings = np.empty(count), np.empty(count, np.int64), np.empty(count + 1)
    log_likelihood = 0.0
    for t in range(log_densities.shape[0]):
        _, ess = weigh(log_weights, count, weights)
        if ess < ess_threshold * count:
            weights /= weights.sum()
            draw_ancestors(generator, weights, count, count, method, ancestors, spacings)
            moved[:] = on[ancestors]
            on[:] = moved
            log_weights[:] = -math.log(count)
        for n in range(count):
            chance = chances[0] if t == 0 else chances[2] if on[n] else chances[1]
            on[n] = generator.random() < chance
            log_weights[n] += log_densities[t, 1] if on[n] else log_densities[t, 0]
        evidence, _ = weigh(log_weights, count, weights)
        log_likelihood += evidence
        log_weights -= evidence
        probabilities[t] = weights[on].sum() / weights.sum()
    return log_likelihood
