"""Online rolling controlled sequential Monte Carlo (2508.00696 section 2.4), and its offline form.

Two particle systems run side by side. At each observation the learning system takes a bootstrap step and then
``iterations`` times refits the twists of the last ``window`` times backwards and runs forward under them; the
estimation system then runs forward once under the final twists, from where it stood before the window. Its weighted
particles are the filter and its ln Z the likelihood: it never saw the random numbers the twists were learned from, so
the estimate of Z stays unbiased. A step costs O(window * iterations * particles), whatever the time, and memory holds
window + 1 times.
"""

import io
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from assets.research.bad_input import BadInput, Floats
from assets.research.regime.bootstrap import require_particles, summarise
from assets.research.regime.resampling import METHODS, Method
from assets.research.regime.state_space import Evidence, Observed, StateSpaceModel
from assets.research.regime.twisting import (
    learn_twist,
    new_scratch,
    new_systems,
    new_twists,
    prepare_twist,
    propagate,
    set_flat,
    transition_of,
)

# Share of a new measurement in the adaptive variant's averages (authors' setting).
_ADAPTING = 0.1
_TINY = 1e-300


@dataclass(frozen=True)
class FilterConfig:
    """``particles`` N, ``window`` L in observations, ``iterations`` K, ``ess_threshold`` (share of N), resampling.

    Iterations, threshold and resampling are the authors' defaults; a window of 30 suits persistent states (states of
    short memory need 4 to 8).
    """

    particles: int = 1000
    window: int = 30
    iterations: int = 5
    ess_threshold: float = 0.5
    resampling: Method = "residual-multinomial"

    def __post_init__(self) -> None:
        require_particles(self.particles, self.ess_threshold, self.resampling)
        if self.window < 1:
            raise BadInput(f"{self.window} observations", column="window")
        if self.iterations < 0:
            raise BadInput(f"{self.iterations} iterations", column="iterations")


@dataclass(frozen=True)
class AdaptiveConfig:
    """Window, iterations and particles follow what the twists still change; the authors' settings are the defaults.

    Per step the relative change of the twists is averaged (weight 0.1 for the newest) for each iteration and for each
    lag. The next step uses the first number of iterations, and the first window, from which on more no longer changes
    less (the rest is Monte-Carlo noise), at most one more than has been tried, within the bounds here; and
    ``budget / (1 + window * (iterations + 1))`` particles, so that every step costs about the same. Never fewer than
    four particles for each of the 1 + 2 d coefficients of the regression: that floor is ours.
    """

    budget: int = 10_000
    largest_window: int = 30
    fewest_iterations: int = 1
    most_iterations: int = 10
    ess_threshold: float = 0.5
    resampling: Method = "residual-multinomial"

    def __post_init__(self) -> None:
        require_particles(self.budget, self.ess_threshold, self.resampling)
        if self.largest_window < 1:
            raise BadInput(f"{self.largest_window} observations", column="largest_window")
        if not 1 <= self.fewest_iterations <= self.most_iterations:
            raise BadInput(f"{self.fewest_iterations} to {self.most_iterations}", column="fewest_iterations")

    def particles(self, window: int, iterations: int, dimension: int) -> int:
        return max(self.budget // (1 + window * (iterations + 1)), 4 * (1 + 2 * dimension))


@dataclass(frozen=True, eq=False)
class Filtered:
    """The filter after one observation.

    ``particles`` (N, d) with normalised ``weights`` (N,); their ``mean`` (d,); ``ess`` = 1 / sum W^2 in particles, of
    the final weights; ``log_likelihood`` = ln Z of all observations so far; ``window`` and ``iterations`` used.
    """

    particles: Floats
    weights: Floats
    mean: Floats
    ess: float
    log_likelihood: float
    window: int
    iterations: int


class _Machine:
    """Two particle systems with their twists, over as many slots as times are held at once; a time's slot is its number
    modulo the slots, and time 0 is the one before the first observation."""

    def __init__(
        self, model: StateSpaceModel, slots: int, particles: int, ess_threshold: float, method: Method, seed: int
    ) -> None:
        size, width = model.dimension, model.observed_dimension
        self._transition, self._potential = transition_of(model.transition), model.potential()
        # Streams of their own: the estimation must not depend on what learning drew.
        streams = np.random.SeedSequence(seed).spawn(2)
        self.learner, self.estimator = np.random.default_rng(streams[0]), np.random.default_rng(streams[1])
        self.slots = slots
        self.learning, self.estimation = new_systems(slots, size, particles), new_systems(slots, size, particles)
        self.twists = new_twists(slots, size)
        self.evidence = Evidence(np.zeros((slots, width)), np.zeros(slots), np.zeros(slots, np.bool_))
        self._scratch = new_scratch(size, particles)
        self._ess_threshold, self._method = ess_threshold, METHODS.index(method)

    def observe(self, time: int, evidence: Evidence, count: int) -> None:
        """Bootstrap step of the learning system to ``time``, whose observation is the only one in ``evidence``."""
        slot = time % self.slots
        for held, new in zip(self.evidence, evidence, strict=True):
            held[slot] = new[0]
        set_flat(slot, time == 1, self._transition, self.twists)
        propagate(
            self.learner, (time - 1) % self.slots, slot, slot, count, self.learning, self.twists, self._potential,
            self.evidence.values[slot], self.evidence.constants[slot], self.evidence.present[slot],
            self._ess_threshold, self._method, self._scratch,
        )  # fmt: skip

    def control(
        self, first: int, last: int, iterations: int, count: int, by_iteration: Floats, by_lag: Floats
    ) -> Filtered:
        """Refit and rerun the times ``first``..``last``; the estimation system's answer at ``last``."""
        _control(
            self.learner, self.estimator, first, last, iterations, count, self._transition, self._potential,
            self.evidence, self.learning, self.estimation, self.twists, self._ess_threshold, self._method,
            self._scratch, by_iteration, by_lag,
        )  # fmt: skip
        slot = last % self.slots
        log_likelihood = float(self.estimation.log_likelihoods[slot])
        if not math.isfinite(log_likelihood):
            raise BadInput("no particle can explain it", column="observations", at=last - 1)
        mean, ess = np.empty(self.learning.states.shape[1]), np.empty(1)
        summarise(slot, self.estimation, self._scratch, mean, ess, 0)
        return Filtered(
            self.estimation.states[slot, :, :count].T.copy(),
            np.exp(self.estimation.log_weights[slot, :count]),
            mean,
            float(ess[0]),
            log_likelihood,
            last - first + 1,
            iterations,
        )


class RollingFilter:
    """One observation at a time, with bounded memory; the same seed and observations give the same numbers.

    ``to_bytes`` and ``from_bytes`` carry the whole state (as .npz, without pickle), so that a filter stopped on one day
    goes on the next as if it had never stopped.
    """

    def __init__(self, model: StateSpaceModel, config: FilterConfig | AdaptiveConfig, seed: int) -> None:
        self._model, self._config, self._time = model, config, 0
        if isinstance(config, FilterConfig):
            self._window, self._iterations, largest = config.window, config.iterations, config.particles
            windows, iterations = config.window, config.iterations
        else:
            self._window, self._iterations = 1, config.fewest_iterations
            windows, iterations = config.largest_window, config.most_iterations
            largest = config.particles(1, config.fewest_iterations, model.dimension)
        self._machine = _Machine(model, windows + 1, largest, config.ess_threshold, config.resampling, seed)
        self._averages = np.full(iterations, np.nan), np.full(windows, np.nan)

    def step(self, observation: Any) -> Filtered:
        """Take one observation: p numbers (a plain number for p = 1), or None for a missing one.

        Raises BadInput for NaN, infinity or another shape, which leaves the filter as it was, and where no particle can
        explain the observation, after which it cannot go on.
        """
        evidence, count, time = self._model.evidence([observation]), self._count(), self._time + 1
        by_iteration, by_lag = np.zeros(self._iterations), np.zeros(min(self._window, time))
        self._machine.observe(time, evidence, count)
        filtered = self._machine.control(time - len(by_lag) + 1, time, self._iterations, count, by_iteration, by_lag)
        self._time = time
        if isinstance(self._config, AdaptiveConfig):
            self._adapt(self._config, by_iteration, by_lag)
        return filtered

    def _count(self) -> int:
        if isinstance(self._config, FilterConfig):
            return self._config.particles
        return self._config.particles(self._window, self._iterations, self._model.dimension)

    def _adapt(self, config: AdaptiveConfig, by_iteration: Floats, by_lag: Floats) -> None:
        for averages, changes in zip(self._averages, (by_iteration, by_lag), strict=True):
            known = averages[: len(changes)]
            known[:] = np.where(np.isnan(known), changes, (1 - _ADAPTING) * known + _ADAPTING * changes)
        iterations = _enough(self._averages[0], len(by_iteration))
        self._iterations = min(max(iterations, config.fewest_iterations), config.most_iterations)
        self._window = min(_enough(self._averages[1], len(by_lag)), config.largest_window)

    def to_bytes(self) -> bytes:
        state = {
            "time": self._time,
            "window": self._window,
            "iterations": self._iterations,
            "generators": [generator.bit_generator.state for generator in self._generators()],
            "config": asdict(self._config),
        }
        written = io.BytesIO()
        np.savez(written, allow_pickle=False, state=np.array(json.dumps(state)), **self._arrays())
        return written.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, model: StateSpaceModel, config: FilterConfig | AdaptiveConfig) -> Self:
        """The filter whose ``to_bytes`` gave ``content``, for the same ``model``; raises BadInput where ``config`` is
        another or the model has another dimension."""
        restored = cls(model, config, seed=0)
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            state = json.loads(str(stored["state"]))
            if state["config"] != asdict(config):
                raise BadInput(f"was saved under {state['config']}", column="config")
            for name, array in restored._arrays().items():
                if stored[name].shape != array.shape:
                    raise BadInput(f"was saved with {name} of shape {stored[name].shape}", column="model")
                array[...] = stored[name]
        restored._time, restored._window = state["time"], state["window"]
        restored._iterations = state["iterations"]
        for generator, kept in zip(restored._generators(), state["generators"], strict=True):
            generator.bit_generator.state = kept
        return restored

    def _generators(self) -> tuple[np.random.Generator, np.random.Generator]:
        return self._machine.learner, self._machine.estimator

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array that outlives a step, by name."""
        machine = self._machine
        groups = {
            "learning": machine.learning._asdict(),
            "estimation": machine.estimation._asdict(),
            "twists": machine.twists._asdict(),
            "evidence": machine.evidence._asdict(),
            "average": dict(zip(("by_iteration", "by_lag"), self._averages, strict=True)),
        }
        return {f"{group}_{name}": array for group, parts in groups.items() for name, array in parts.items()}


def controlled_smc(
    model: StateSpaceModel, observations: Observed, config: FilterConfig, seed: int
) -> tuple[Filtered, Floats]:
    """Offline form: a bootstrap pass over all observations, ``iterations`` refits of all twists, an estimation pass.

    ``config.window`` has no part in it. Returns the filter at the last time and ln Z up to each time (T,).
    """
    evidence = model.evidence(observations)
    length = len(evidence.present)
    if not length:
        raise BadInput("empty", column="observations")
    machine = _Machine(model, length + 1, config.particles, config.ess_threshold, config.resampling, seed)
    for at in range(length):
        machine.observe(at + 1, evidence.at(at), config.particles)
    filtered = machine.control(
        1, length, config.iterations, config.particles, np.zeros(config.iterations), np.zeros(length)
    )
    return filtered, machine.estimation.log_likelihoods[1:].copy()


def _enough(averages: Floats, tried: int) -> int:
    """First number after which the average change stops falling; one more than ``tried`` where it still falls."""
    for number in range(1, min(tried, len(averages))):
        if averages[number] > averages[number - 1]:
            return number + 1
    return tried + 1


@njit(cache=True)
def _control(
    learner: Any,
    estimator: Any,
    first: int,
    last: int,
    iterations: int,
    count: int,
    model: Any,
    potential: Any,
    evidence: Any,
    learning: Any,
    estimation: Any,
    twists: Any,
    ess_threshold: float,
    method: int,
    scratch: Any,
    by_iteration: Any,
    by_lag: Any,
) -> None:
    """Refit and rerun the times ``first``..``last``.

    ``by_iteration`` receives how much each iteration changed the twists on average over the window, ``by_lag`` how much
    the whole step changed those of lag 0, 1, ...
    """
    slots, size, length = evidence.present.shape[0], learning.states.shape[1], last - first + 1
    means, variances, known = np.empty((2, length, size)), np.empty((2, length, size)), np.empty(length, np.bool_)
    for lag in range(length):
        slot = (last - lag) % slots
        means[:, lag], variances[:, lag], known[lag] = twists.means[slot], twists.variances[slot], twists.active[slot]
    for iteration in range(iterations):
        total = 0.0
        for lag in range(length):
            slot = (last - lag) % slots
            learn_twist(slot, (slot + 1) % slots if lag else -1, learning, twists, scratch)
            prepare_twist(slot, last - lag == 1, model, twists, scratch)
            total += _change(means[1, lag], variances[1, lag], known[lag] or iteration > 0, slot, twists)
            means[1, lag], variances[1, lag] = twists.means[slot], twists.variances[slot]
            by_lag[lag] = _change(means[0, lag], variances[0, lag], known[lag], slot, twists)
        by_iteration[iteration] = total / length
        for time in range(first, last + 1):
            slot = time % slots
            propagate(
                learner, (time - 1) % slots, slot, slot, count, learning, twists, potential, evidence.values[slot],
                evidence.constants[slot], evidence.present[slot], ess_threshold, method, scratch,
            )  # fmt: skip
    for time in range(first, last + 1):
        slot = time % slots
        propagate(
            estimator, (time - 1) % slots, slot, slot, count, estimation, twists, potential, evidence.values[slot],
            evidence.constants[slot], evidence.present[slot], ess_threshold, method, scratch,
        )  # fmt: skip


@njit(cache=True)
def _change(mean: Any, variance: Any, known: bool, slot: int, twists: Any) -> float:
    """Average of |new - old| / (|new| + |old|) over the twist's numbers, 1 where there was no twist before."""
    if not known:
        return 1.0
    total: float = 0.0
    for i in range(mean.shape[0]):
        new = twists.means[slot, i]
        total += abs(new - mean[i]) / max(abs(new) + abs(mean[i]), _TINY)
        new = twists.variances[slot, i]
        total += abs(new - variance[i]) / (new + variance[i])
    return float(total / (2 * mean.shape[0]))
