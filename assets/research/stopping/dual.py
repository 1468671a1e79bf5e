"""What a stopping rule is worth, and how much better any rule could do (arXiv 1804.05394, section 3).

Lower bound: the mean payoff of the rule on paths it was not made from. Upper bound: Rogers and Haugh-Kogan's dual,

    U = E max_n (g(n, X_n) - m_n),   m_n - m_{n-1} = f_n g(n, X_n) + (1 - f_n) C_n - C_{n-1},

for any martingale m; here the one of the rule, with C_n = E[g(tau_{n+1}) | X_n] a mean over ``inner`` continuation
paths from each point of each of ``outer`` paths. Noise in C_n can only raise U.

Both means lose noise, not expectation, to hedge gains (mean zero, see problems): the multiple taken of them is fitted
on one half of the paths and applied to the other, so that no path chooses its own. The paper does without and
simulates more; the estimators have the same expectation.
"""

from typing import NamedTuple, Protocol

import numpy as np

from assets.research.bad_input import BadInput, Floats
from assets.research.stopping.problems import Mask, States, StoppingProblem

_ROWS = 1 << 16
"""Paths simulated side by side: enough to fill the vector units, few enough to stay in the cache."""


class Policy(Protocol):
    """A stopping rule: (count,) whether to stop at ``date`` < N."""

    def stops(self, date: int, state: States, payoff: Floats) -> Mask: ...


class Start(NamedTuple):
    """Where paths begin: a date and one state row (1, columns)."""

    date: int
    state: States


class Estimate(NamedTuple):
    """A Monte-Carlo mean and its standard error, in the payoff's unit."""

    mean: float
    error: float


class Bounds(NamedTuple):
    """Lower and upper bound of the value of stopping well."""

    lower: Estimate
    upper: Estimate

    @property
    def point(self) -> float:
        """The middle of the bounds (paper 3.3)."""
        return (self.lower.mean + self.upper.mean) / 2

    def interval(self, quantile: float = 1.96) -> tuple[float, float]:
        """Asymptotic confidence interval of the value; 1.96 is the paper's 95 %."""
        return self.lower.mean - quantile * self.lower.error, self.upper.mean + quantile * self.upper.error


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Random numbers of one purpose: streams of different names never overlap, whatever the seed."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=stream)))


def normals(random: np.random.Generator, rows: int, columns: int) -> States:
    return random.standard_normal((rows, columns), np.float32)


def bounds(
    problem: StoppingProblem,
    policy: Policy,
    *,
    paths: int,
    outer: int,
    inner: int,
    seed: int,
    start: Start | None = None,
) -> Bounds:
    """Both bounds from ``start`` (default: the problem's own, where all paths start alike)."""
    return Bounds(
        lower_bound(problem, policy, paths=paths, seed=seed, start=start),
        upper_bound(problem, policy, outer=outer, inner=inner, seed=seed, start=start),
    )


def lower_bound(
    problem: StoppingProblem, policy: Policy, *, paths: int, seed: int, start: Start | None = None
) -> Estimate:
    """E g(tau): the mean payoff of ``policy`` on ``paths`` fresh paths."""
    date, state = _start(problem, start)
    payoff = problem.payoff(state, date)
    if date == problem.dates or policy.stops(date, state, payoff)[0]:
        return Estimate(float(payoff[0]), 0.0)
    return continuation(problem, policy, paths=paths, seed=seed, start=Start(date, state))


def continuation(problem: StoppingProblem, policy: Policy, *, paths: int, seed: int, start: Start) -> Estimate:
    """C at ``start``: the mean payoff of not stopping there and following ``policy`` from the next date on."""
    _enough(paths, 4, "paths")
    if start.date >= problem.dates:
        raise BadInput("nothing follows the last date", column="start", at=start.date)
    random = generator(seed, 1, start.date)
    values, gains = [], []
    for rows in _chunks(paths):
        value, gain = _continued(problem, policy, start.date, np.repeat(start.state, rows, axis=0), random)
        values.append(value)
        gains.append(gain)
    left = hedged(np.concatenate(values)[None], np.concatenate(gains)[None])[0]
    return Estimate(float(left.mean()), float(left.std(ddof=1) / np.sqrt(paths)))


def upper_bound(
    problem: StoppingProblem, policy: Policy, *, outer: int, inner: int, seed: int, start: Start | None = None
) -> Estimate:
    """The dual bound of ``policy``'s martingale: ``outer`` paths, ``inner`` continuations from each of their points."""
    _enough(outer, 2, "outer")
    _enough(inner, 4, "inner")
    begun, first = _start(problem, start)
    random = generator(seed, 2, begun)
    state = np.repeat(first, outer, axis=0)
    martingale, best, before = np.zeros(outer), np.full(outer, -np.inf), np.zeros(outer)
    for date in range(begun, problem.dates + 1):
        payoff = problem.payoff(state, date)
        last = date == problem.dates
        stop = np.ones(outer, bool) if last else policy.stops(date, state, payoff)
        after = payoff if last else _nested(problem, policy, date, state, inner, generator(seed, 3, date))
        if date > begun:
            martingale += np.where(stop, payoff, after) - before
        best = np.maximum(best, payoff - martingale)
        before = after
        if not last:
            state = problem.advance(state, date, normals(random, outer, problem.noise))
    return Estimate(float(best.mean()), float(best.std(ddof=1) / np.sqrt(outer)))


def hedged(values: Floats, gains: Floats) -> Floats:
    """``values`` (..., paths) less the multiple of ``gains`` (..., paths, M) that leaves the least variance.

    The multiple for the one half of the paths is fitted on the other, which keeps each mean's expectation.
    """
    if not gains.shape[-1]:
        return values
    half = values.shape[-1] // 2
    first, second = (slice(None, half), slice(half, None))
    left = np.empty_like(values)
    for fitted, applied in ((first, second), (second, first)):
        sample = gains[..., fitted, :]
        sample = sample - sample.mean(axis=-2, keepdims=True)
        target = values[..., fitted] - values[..., fitted].mean(axis=-1, keepdims=True)
        square = np.swapaxes(sample, -1, -2) @ sample
        # A gain that never moved (or moves as another does) gets no weight instead of an infinite one.
        diagonal = np.arange(square.shape[-1])
        square[..., diagonal, diagonal] *= 1 + 1e-9
        square[..., diagonal, diagonal] += 1e-12 + 1e-9 * square[..., diagonal, diagonal].max(axis=-1, keepdims=True)
        multiple = np.linalg.solve(square, np.swapaxes(sample, -1, -2) @ target[..., None])
        left[..., applied] = values[..., applied] - (gains[..., applied, :] @ multiple)[..., 0]
    return left


def _nested(
    problem: StoppingProblem, policy: Policy, date: int, state: States, inner: int, random: np.random.Generator
) -> Floats:
    """(outer,) C at each of the states."""
    means: list[Floats] = []
    together = max(1, _ROWS // inner)
    for begin in range(0, len(state), together):
        points = state[begin : begin + together]
        value, gain = _continued(problem, policy, date, np.repeat(points, inner, axis=0), random)
        shape = len(points), inner
        means.append(hedged(value.reshape(shape), gain.reshape(*shape, -1)).mean(axis=1))
    return np.concatenate(means)


def _continued(
    problem: StoppingProblem, policy: Policy, date: int, state: States, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """(rows,) payoffs of following ``policy`` from the date after ``date`` on, and hedge gains (rows, M) until then.

    Paths that stopped are not simulated any further.
    """
    begun, now = state, problem.hedge_prices(state, date)
    value, later = np.empty(len(state)), np.empty_like(now)
    going = np.arange(len(state))
    for following in range(date + 1, problem.dates + 1):
        state = problem.advance(state, following - 1, normals(random, len(going), problem.noise))
        payoff = problem.payoff(state, following)
        last = following == problem.dates
        stop = np.ones(len(going), bool) if last else policy.stops(following, state, payoff)
        ended = going[stop]
        value[ended] = payoff[stop]
        later[ended] = problem.hedge_prices(state[stop], following)
        going, state = going[~stop], state[~stop]
        if not len(going):
            break
    return value, problem.hedge_gains(begun, now, later)


def _start(problem: StoppingProblem, start: Start | None) -> Start:
    if start is not None:
        if not 0 <= start.date <= problem.dates:
            raise BadInput(f"not between 0 and {problem.dates}", column="start", at=start.date)
        return start
    if problem.initial_noise:
        raise BadInput("paths of this problem do not start alike: a start is needed", column="start")
    return Start(0, problem.initial(np.empty((1, 0), np.float32)))


def _chunks(paths: int) -> list[int]:
    return [min(_ROWS, paths - begin) for begin in range(0, paths, _ROWS)]


def _enough(count: int, least: int, name: str) -> None:
    if count < least:
        raise BadInput(f"{count} is too few, at least {least} are needed", column=name)
