"""Longstaff and Schwartz's regression, the cheap peer of the networks (Review of Financial Studies 14, 2001).

At each date what continuing pays more than stopping is regressed on features of the state where stopping is open (the
``regressors`` of the problem: for the max-call order statistics and the payoff); one stops where the regression's value
is not positive. The difference, because what both have in common, such as past charges, must not move a decision.
Date 0 and the bounds as for the networks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from assets.research.bad_input import Floats
from assets.research.stopping.networks import ROUNDING, packed, unpacked
from assets.research.stopping.problems import Mask, States, StoppingProblem
from assets.research.stopping.training_paths import TrainingPaths


class Regression(NamedTuple):
    """Of one date: regressor means and deviations (R,), coefficients (R + 1,) with the constant first, and their
    covariance (R + 1, R + 1)."""

    means: Floats
    deviations: Floats
    coefficients: Floats
    covariance: Floats

    def design(self, regressors: Floats) -> Floats:
        return np.column_stack([np.ones(len(regressors)), (regressors - self.means) / self.deviations])


@dataclass(frozen=True)
class RegressionPolicy:
    """Decisions by regression; None where one always continues. ``stop_at_start`` as in NetworkPolicy."""

    problem: StoppingProblem
    regressions: tuple[Regression | None, ...]
    stop_at_start: bool | None

    def stops(self, date: int, state: States, payoff: Floats) -> Mask:
        """(count,) the decisions at ``date`` < N."""
        if date == 0 and self.stop_at_start is not None:
            return np.full(len(state), self.stop_at_start)
        return self._margins(date, state, payoff)[0] >= 0

    def probability(self, date: int, state: States, payoff: Floats) -> Floats:
        """(count,) how likely stopping is right, if the regression's form is: the normal probability of a value
        that is not positive, given the error of its coefficients."""
        if date == 0 and self.stop_at_start is not None:
            return np.full(len(state), float(self.stop_at_start))
        margin, error = self._margins(date, state, payoff)
        return np.asarray(ndtr(margin / error))

    def _margins(self, date: int, state: States, payoff: Floats) -> tuple[Floats, Floats]:
        """(count,) what stopping pays more, and its standard error; -inf and 1 where not open."""
        regression, open_to_stop = self.regressions[date], self.problem.open_to_stop(state, date, payoff)
        margin, error = np.full(len(state), -np.inf), np.ones(len(state))
        if regression is not None and open_to_stop.any():
            paid = payoff[open_to_stop]
            design = regression.design(self.problem.regressors(state[open_to_stop], date, paid))
            margin[open_to_stop] = -(design @ regression.coefficients)
            variance = np.einsum("ij,ij->i", design @ regression.covariance, design)
            error[open_to_stop] = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
        return margin, error

    def to_bytes(self) -> bytes:
        """An .npz without pickle, readable for ``from_bytes`` with the same problem."""
        start = np.array(-1 if self.stop_at_start is None else int(self.stop_at_start))
        arrays = {
            f"{date}.{name}": array
            for date, regression in enumerate(self.regressions)
            if regression is not None
            for name, array in regression._asdict().items()
        }
        return packed("regressions", self.problem.document(), {"start": start, **arrays})

    @classmethod
    def from_bytes(cls, problem: StoppingProblem, content: bytes) -> "RegressionPolicy":
        """Raises BadInput where the content is damaged, of another version, or of another problem."""
        arrays = unpacked("regressions", problem.document(), content)
        regressions = tuple(
            Regression(*(arrays[f"{date}.{name}"] for name in Regression._fields))
            if f"{date}.means" in arrays
            else None
            for date in range(problem.dates)
        )
        start = int(arrays["start"])
        return cls(problem, regressions, None if start < 0 else bool(start))


def fit(problem: StoppingProblem, *, paths: int, seed: int) -> RegressionPolicy:
    """The decisions for ``problem`` from ``paths`` simulated paths."""
    simulated = TrainingPaths(problem, paths, seed)
    regressions: list[Regression | None] = [None] * problem.dates
    first = 0 if problem.initial_noise else 1
    for date in range(problem.dates - 1, first - 1, -1):
        simulated.step_back()
        regressions[date] = _regress(simulated)
        simulated.settle(RegressionPolicy(problem, tuple(regressions), None))
    if first == 0:
        return RegressionPolicy(problem, tuple(regressions), None)
    simulated.step_back()
    stop = bool(simulated.payoff[0] >= simulated.continued().mean())
    return RegressionPolicy(problem, tuple(regressions), stop)


def _regress(simulated: TrainingPaths) -> Regression | None:
    """The regression at the date of ``simulated``; None where fewer paths are open than it has unknowns."""
    problem, date, state, payoff = simulated.problem, simulated.date, simulated.state, simulated.payoff
    is_open = problem.open_to_stop(state, date, payoff)
    if not is_open.any():
        return None
    regressors = problem.regressors(state[is_open], date, payoff[is_open])
    count, unknowns = len(regressors), regressors.shape[1] + 1
    if count <= unknowns:
        return None
    deviations = regressors.std(axis=0)
    deviations = np.where(deviations > ROUNDING, deviations, 1)
    blank = Regression(regressors.mean(axis=0), deviations, np.empty(0), np.empty(0))
    design, target = blank.design(regressors), (simulated.continued() - payoff)[is_open]
    # Powers of neighbouring prices are all but collinear: what the sample cannot tell apart gets no weight.
    inverse = np.linalg.pinv(design.T @ design, rcond=1e-12, hermitian=True)
    coefficients = inverse @ (design.T @ target)
    variance = np.square(target - design @ coefficients).sum() / (count - unknowns)
    return blank._replace(coefficients=coefficients, covariance=inverse * variance)
