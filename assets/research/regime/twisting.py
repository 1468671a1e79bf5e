"""The twisted auxiliary particle filter step and the learning of its twist (2508.00696 sections 2.2 and 2.3).

A twist psi(x) = N(x; mean, diag(variance)) tilts transition and weights towards what is observed later, without
changing what is estimated. The kernels work on particles as (d, N), a row a coordinate, so that each inner loop runs
over contiguous particles and vectorises. None of them lets the compiler reorder or fuse float operations: a process
that compiles a kernel and one that finds it compiled would then differ in the last digit, and so would a replay.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from assets.research.bad_input import Floats
from assets.research.regime.exponential import exponential
from assets.research.regime.resampling import draw_ancestors
from assets.research.regime.state_space import GaussianTransition, log_potential, lower_root

_LOG_TWO_PI = math.log(2 * math.pi)
# Bounds of the twist's variance 1 / (2 curvature); states are expected to have a scale of about one.
_SMALLEST_VARIANCE, _SMALLEST_CURVATURE = 1e-6, 1e-10
# Added to the diagonal of the correlation-like normal matrix.
_RIDGE = 1e-8


class Transition(NamedTuple):
    """GaussianTransition as the kernels take it, with the lower roots of its two covariances."""

    matrix: Floats
    offset: Floats
    covariance: Floats
    root: Floats
    initial_mean: Floats
    initial_covariance: Floats
    initial_root: Floats


class Systems(NamedTuple):
    """Weighted particles of several times: a slot each, of which the first ``counts[slot]`` columns are in use.

    ``states`` (slots, d, N), ``log_weights`` normalised (slots, N), ``potentials`` ln g of each particle (slots, N),
    ``log_likelihoods`` ln Z up to and including the slot's time (slots,).
    """

    states: Floats
    log_weights: Floats
    potentials: Floats
    log_likelihoods: Floats
    counts: npt.NDArray[np.int64]


class Twists(NamedTuple):
    """Twists of several times and all that is precomputed of each for one transition; a slot each.

    The twisted kernel is N(gain x + shift, root root'), and ln f(psi)(x) = log_scale - |whitener x + centre|^2 / 2.
    """

    means: Floats
    variances: Floats
    log_norms: Floats
    gains: Floats
    shifts: Floats
    roots: Floats
    whiteners: Floats
    centres: Floats
    log_scales: Floats
    active: npt.NDArray[np.bool_]


class Scratch(NamedTuple):
    """Working memory of the kernels for N particles of dimension d."""

    log_weights: Floats
    weights: Floats
    row: Floats
    targets: Floats
    gathered: Floats
    noise: Floats
    ancestors: npt.NDArray[np.int64]
    spacings: Floats
    features: Floats
    normal: Floats
    moments: Floats
    matrices: Floats


def transition_of(transition: GaussianTransition) -> Transition:
    return Transition(
        np.array(transition.matrix),
        np.array(transition.offset),
        np.array(transition.covariance),
        lower_root(transition.covariance, "covariance"),
        np.array(transition.initial_mean),
        np.array(transition.initial_covariance),
        lower_root(transition.initial_covariance, "initial_covariance"),
    )


def new_systems(slots: int, dimension: int, particles: int) -> Systems:
    """Every slot as the state before the first observation: equal weights, ln Z = 0."""
    return Systems(
        np.zeros((slots, dimension, particles)),
        np.full((slots, particles), -math.log(particles)),
        np.zeros((slots, particles)),
        np.zeros(slots),
        np.full(slots, particles),
    )


def new_twists(slots: int, dimension: int) -> Twists:
    square = (slots, dimension, dimension)
    return Twists(
        np.zeros((slots, dimension)),
        np.ones((slots, dimension)),
        np.zeros(slots),
        np.zeros(square),
        np.zeros((slots, dimension)),
        np.zeros(square),
        np.zeros(square),
        np.zeros((slots, dimension)),
        np.zeros(slots),
        np.zeros(slots, np.bool_),
    )


def new_scratch(dimension: int, particles: int) -> Scratch:
    return Scratch(
        np.zeros(particles),
        np.zeros(particles),
        np.zeros(particles),
        np.zeros(particles),
        np.zeros((dimension, particles)),
        np.zeros((dimension, particles)),
        np.zeros(particles, np.int64),
        np.zeros(particles + 1),
        np.zeros((2 * dimension, particles)),
        np.zeros((2 * dimension, 2 * dimension)),
        np.zeros(2 * dimension),
        np.zeros((3, dimension, dimension)),
    )


@njit(cache=True)
def _peak(values: Any, count: int) -> float:
    """Largest of the first ``count`` values, in four chains that do not wait for each other."""
    a = b = c = d = values[0]
    even = count - count % 4
    for n in range(0, even, 4):
        a = values[n] if values[n] > a else a
        b = values[n + 1] if values[n + 1] > b else b
        c = values[n + 2] if values[n + 2] > c else c
        d = values[n + 3] if values[n + 3] > d else d
    for n in range(even, count):
        a = values[n] if values[n] > a else a
    return max(max(a, b), max(c, d))  # type: ignore[no-any-return]


@njit(cache=True)
def total_and_squares(values: Any, count: int) -> tuple[float, float]:
    """Sums of the first ``count`` values and of their squares, in four chains as in ``_peak``."""
    a = b = c = d = 0.0
    aa = bb = cc = dd = 0.0
    even = count - count % 4
    for n in range(0, even, 4):
        a += values[n]
        b += values[n + 1]
        c += values[n + 2]
        d += values[n + 3]
        aa += values[n] * values[n]
        bb += values[n + 1] * values[n + 1]
        cc += values[n + 2] * values[n + 2]
        dd += values[n + 3] * values[n + 3]
    for n in range(even, count):
        a += values[n]
        aa += values[n] * values[n]
    return (a + b) + (c + d), (aa + bb) + (cc + dd)


@njit(cache=True)
def weigh(log_weights: Any, count: int, weights: Any) -> tuple[float, float]:
    """ln of the summed exponentials, and the effective sample size 1 / sum W^2; unnormalised weights in ``weights``."""
    peak = _peak(log_weights, count)
    for n in range(count):
        weights[n] = exponential(log_weights[n] - peak)
    total, squares = total_and_squares(weights, count)
    return peak + math.log(total), total * total / squares


@njit(cache=True)
def _factor(matrix: Any, size: int, root: Any) -> bool:
    """Lower Cholesky factor of ``matrix`` into ``root`` (zeros above); False where it is not positive definite."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                root[i, i] = math.sqrt(total)
            else:
                root[i, j] = total / root[j, j]
        for j in range(i + 1, size):
            root[i, j] = 0.0
    return True


@njit(cache=True)
def set_flat(slot: int, first: bool, model: Any, twists: Any) -> None:
    """psi = 1: the untwisted kernel; ``first`` for the initial distribution."""
    twists.active[slot] = False
    twists.log_norms[slot] = 0.0
    twists.log_scales[slot] = 0.0
    twists.whiteners[slot] = 0.0
    twists.centres[slot] = 0.0
    if first:
        twists.gains[slot] = 0.0
        twists.shifts[slot] = model.initial_mean
        twists.roots[slot] = model.initial_root
    else:
        twists.gains[slot] = model.matrix
        twists.shifts[slot] = model.offset
        twists.roots[slot] = model.root


@njit(cache=True)
def prepare_twist(slot: int, first: bool, model: Any, twists: Any, scratch: Any) -> None:
    """Twisted kernel and f(psi) of the slot's mean and variance (section 2.2, steps 1 and 3).

    With V = covariance + diag(variance) and K = covariance V^-1, the kernel's mean is (I - K)(A x + b) + K mean and
    its covariance (I - K) covariance: the same as the precision form, without inverting a flat twist.
    """
    mean, variance = twists.means[slot], twists.variances[slot]
    size = mean.shape[0]
    covariance = model.initial_covariance if first else model.covariance
    drift = model.initial_mean if first else model.offset
    total, root, solved = scratch.matrices[0], scratch.matrices[1], scratch.matrices[2]
    twists.active[slot] = True

    log_norm, log_scale = -0.5 * size * _LOG_TWO_PI, -0.5 * size * _LOG_TWO_PI
    for i in range(size):
        for j in range(size):
            total[i, j] = covariance[i, j]
        total[i, i] += variance[i]
    _factor(total, size, root)
    for i in range(size):
        log_norm -= 0.5 * math.log(variance[i])
        log_scale -= math.log(root[i, i])
    twists.log_norms[slot], twists.log_scales[slot] = log_norm, log_scale

    # whitener = root^-1 A, centre = root^-1 (b - mean), solved = root^-1 covariance, all by forward substitution.
    whitener, centre = twists.whiteners[slot], twists.centres[slot]
    for i in range(size):
        centre[i] = drift[i] - mean[i]
        for j in range(size):
            whitener[i, j] = 0.0 if first else model.matrix[i, j]
            solved[i, j] = covariance[i, j]
        for k in range(i):
            factor = root[i, k]
            if factor != 0.0:
                centre[i] -= factor * centre[k]
                for j in range(size):
                    whitener[i, j] -= factor * whitener[k, j]
                    solved[i, j] -= factor * solved[k, j]
        centre[i] /= root[i, i]
        for j in range(size):
            whitener[i, j] /= root[i, i]
            solved[i, j] /= root[i, i]

    # K (A x + b - mean) = solved' (whitener x + centre), and the covariance loses solved' solved.
    gain, shift = twists.gains[slot], twists.shifts[slot]
    for i in range(size):
        shift[i] = drift[i]
        for j in range(size):
            gain[i, j] = 0.0 if first else model.matrix[i, j]
            total[i, j] = covariance[i, j]
    for k in range(size):
        for i in range(size):
            factor = solved[k, i]
            if factor != 0.0:
                shift[i] -= factor * centre[k]
                for j in range(size):
                    gain[i, j] -= factor * whitener[k, j]
                    total[i, j] -= factor * solved[k, j]
    if not _factor(total, size, twists.roots[slot]):
        # Rounding took the last of a variance far below the transition's: what is left is the twist's own.
        twists.roots[slot] = 0.0
        for i in range(size):
            twists.roots[slot, i, i] = math.sqrt(min(variance[i], covariance[i, i]))


@njit(cache=True)
def _add_predictive(slot: int, twists: Any, states: Any, count: int, row: Any, out: Any) -> None:
    """Add ln f(psi)(x) of the slot's twist to ``out`` for the first ``count`` columns of ``states``."""
    scale = twists.log_scales[slot]
    for n in range(count):
        out[n] += scale
    for i in range(states.shape[0]):
        centre = twists.centres[slot, i]
        for n in range(count):
            row[n] = centre
        for j in range(states.shape[0]):
            factor = twists.whiteners[slot, i, j]
            if factor != 0.0:
                for n in range(count):
                    row[n] += factor * states[j, n]
        for n in range(count):
            out[n] -= 0.5 * row[n] * row[n]


@njit(cache=True)
def propagate(
    generator: Any,
    before: int,
    slot: int,
    twist: int,
    count: int,
    systems: Any,
    twists: Any,
    potential: Any,
    values: Any,
    constant: float,
    present: bool,
    ess_threshold: float,
    method: int,
    scratch: Any,
) -> None:
    """One psi-APF step: the system in slot ``before`` becomes ``count`` particles in ``slot`` (section 2.2).

    Resamples where the effective sample size falls below ``ess_threshold`` times the number of particles, and where
    that number changes. Draws, in this order: what resampling draws, then d rows of ``count`` standard normals.
    """
    size = systems.states.shape[1]
    old = systems.counts[before]
    log_weights, ancestors = scratch.log_weights, scratch.ancestors
    for n in range(old):
        log_weights[n] = systems.log_weights[before, n]
    twisted = twists.active[twist]
    if twisted:
        _add_predictive(twist, twists, systems.states[before], old, scratch.row, log_weights)
    total, ess = weigh(log_weights, old, scratch.weights)

    source = systems.states[before]
    if ess < ess_threshold * old or count != old:
        scale = math.exp(_peak(log_weights, old) - total)
        for n in range(old):
            scratch.weights[n] *= scale
        draw_ancestors(generator, scratch.weights, old, count, method, ancestors, scratch.spacings)
        for i in range(size):
            for n in range(count):
                scratch.gathered[i, n] = source[i, ancestors[n]]
        source = scratch.gathered
        log_weights[:count] = -math.log(count)
    else:
        for n in range(count):
            log_weights[n] -= total

    states = systems.states[slot]
    for i in range(size):
        for n in range(count):
            scratch.noise[i, n] = generator.standard_normal()
    # ``slot`` may never be ``before``: rows are written while others are still read.
    for i in range(size):
        shift = twists.shifts[twist, i]
        for n in range(count):
            states[i, n] = shift
        for j in range(size):
            gain = twists.gains[twist, i, j]
            if gain != 0.0:
                for n in range(count):
                    states[i, n] += gain * source[j, n]
        for j in range(i + 1):
            root = twists.roots[twist, i, j]
            if root != 0.0:
                for n in range(count):
                    states[i, n] += root * scratch.noise[j, n]

    potentials = systems.potentials[slot]
    if present:
        log_potential(potential.family, potential.matrix, values, constant, states, count, scratch.row, potentials)
    else:
        for n in range(count):
            potentials[n] = 0.0
    norm = twists.log_norms[twist]
    weighted = systems.log_weights[slot]
    for n in range(count):
        weighted[n] = log_weights[n] + potentials[n] - norm
    if twisted:
        for i in range(size):
            centre, precision = twists.means[twist, i], 0.5 / twists.variances[twist, i]
            for n in range(count):
                weighted[n] += precision * (states[i, n] - centre) * (states[i, n] - centre)
    evidence, _ = weigh(weighted, count, scratch.weights)
    for n in range(count):
        weighted[n] -= evidence
    systems.log_likelihoods[slot] = systems.log_likelihoods[before] + total + evidence
    systems.counts[slot] = count


@njit(cache=True)
def _mean(values: Any, count: int) -> float:
    total = 0.0
    for n in range(count):
        total += values[n]
    return total / count


@njit(cache=True)
def _product(a: Any, b: Any, count: int) -> float:
    total = 0.0
    for n in range(count):
        total += a[n] * b[n]
    return total


@njit(cache=True)
def _line_moments(x: Any, y: Any, count: int, mean: float) -> tuple[float, float, float, float, float]:
    """Averages of z^2, z^3, z^4, z y and z^2 y for z = x - ``mean``."""
    second, third, fourth, first_y, second_y = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(count):
        z = x[n] - mean
        square = z * z
        second += square
        third += square * z
        fourth += square * square
        first_y += z * y[n]
        second_y += square * y[n]
    return second / count, third / count, fourth / count, first_y / count, second_y / count


@njit(cache=True)
def learn_twist(slot: int, following: int, systems: Any, twists: Any, scratch: Any) -> None:
    """Least squares, unweighted, of ln g(x) + ln f(psi_next)(x) on (1, x_i, x_i^2) over the slot's particles (2.3).

    ``following`` is the twist's slot of the next time, negative at the window's end. The maximum of the parabola in
    each coordinate becomes the twist's mean and half the inverse curvature its variance. A parabola that opens upwards
    or is almost flat, and a fit that fails, gets the smallest curvature (a variance of 5e9) around the particles' mean.
    Writes means and variances alone.
    """
    count, size = systems.counts[slot], systems.states.shape[1]
    targets = scratch.targets
    for n in range(count):
        targets[n] = systems.potentials[slot, n]
    if following >= 0:
        _add_predictive(following, twists, systems.states[slot], count, scratch.row, targets)
    level = _mean(targets, count)
    for n in range(count):
        targets[n] -= level
    if size == 1:
        _fit_line(slot, systems.states[slot, 0], targets, count, twists)
    else:
        _fit(slot, systems.states[slot], targets, count, twists, scratch)


@njit(cache=True)
def _fit_line(slot: int, x: Any, y: Any, count: int, twists: Any) -> None:
    """One coordinate in closed form: the two normal equations of standardised z and z^2 - 1."""
    mean = _mean(x, count)
    variance, third, fourth, first_y, second_y = _line_moments(x, y, count, mean)
    deviation = math.sqrt(variance)
    if not deviation > 0.0:
        _set_parabola(slot, 0, mean, 1.0, 0.0, 0.0, twists)
        return
    skew, spread = third / (variance * deviation), fourth / (variance * variance) - 1.0 + _RIDGE
    linear_y, square_y = first_y / deviation, second_y / variance
    determinant = (1.0 + _RIDGE) * spread - skew * skew
    if not determinant > _RIDGE * _RIDGE:
        _set_parabola(slot, 0, mean, deviation, 0.0, 0.0, twists)
        return
    linear = (linear_y * spread - skew * square_y) / determinant
    square = ((1.0 + _RIDGE) * square_y - skew * linear_y) / determinant
    _set_parabola(slot, 0, mean, deviation, linear, square, twists)


@njit(cache=True)
def _fit(slot: int, states: Any, y: Any, count: int, twists: Any, scratch: Any) -> None:
    """All coordinates at once, each standardised; the intercept is gone because everything is centred."""
    size = states.shape[0]
    features, normal, moments = scratch.features, scratch.normal, scratch.moments
    for i in range(size):
        mean = _mean(states[i], count)
        for n in range(count):
            features[i, n] = states[i, n] - mean
        deviation = math.sqrt(_product(features[i], features[i], count) / count)
        scratch.matrices[0, 0, i], scratch.matrices[1, 0, i] = mean, deviation
        scale = 1.0 / deviation if deviation > 0.0 else 0.0
        for n in range(count):
            features[i, n] *= scale
            features[size + i, n] = features[i, n] * features[i, n] - 1.0
    width = 2 * size
    for a in range(width):
        moments[a] = _product(features[a], y, count) / count
        for b in range(a + 1):
            normal[a, b] = _product(features[a], features[b], count) / count
        normal[a, a] += _RIDGE
    if _factor(normal, width, normal):
        for a in range(width):
            for b in range(a):
                moments[a] -= normal[a, b] * moments[b]
            moments[a] /= normal[a, a]
        for a in range(width - 1, -1, -1):
            for b in range(a + 1, width):
                moments[a] -= normal[b, a] * moments[b]
            moments[a] /= normal[a, a]
    else:
        moments[:] = 0.0
    for i in range(size):
        mean, deviation = scratch.matrices[0, 0, i], scratch.matrices[1, 0, i]
        if deviation > 0.0:
            _set_parabola(slot, i, mean, deviation, moments[i], moments[size + i], twists)
        else:
            _set_parabola(slot, i, mean, 1.0, 0.0, 0.0, twists)


@njit(cache=True)
def _set_parabola(slot: int, i: int, mean: float, deviation: float, linear: float, square: float, twists: Any) -> None:
    """Twist of one coordinate from its parabola linear z + square z^2, z = (x - mean) / deviation."""
    curvature = -square / (deviation * deviation)
    if not curvature > _SMALLEST_CURVATURE:
        twists.means[slot, i] = mean
        twists.variances[slot, i] = 0.5 / _SMALLEST_CURVATURE
        return
    twists.means[slot, i] = mean - 0.5 * deviation * linear / square
    twists.variances[slot, i] = max(0.5 / curvature, _SMALLEST_VARIANCE)
