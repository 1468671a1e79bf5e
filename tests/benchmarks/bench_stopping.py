"""Bermudan max-calls against published values: how far off, how fast, and the regression beside the networks.

The networks' quick setting: 65,536 paths, 600 steps for the last date and 150 for each before it. Both methods are
valued by the same code on the same numbers of fresh paths. Times are wall-clock and hold for a quiet machine only.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from assets.research.stopping import deep, longstaff_schwartz
from assets.research.stopping.dual import Bounds, Policy, bounds, lower_bound
from assets.research.stopping.exits import ExitConfig, train_exit_rule
from assets.research.stopping.problems import MaxCall, PositionExit, PositionState
from tests.benchmarks.figure import Figure

# Assets and spot to value: our quadrature for 2 assets, published lattices for 3, the paper's point estimates beyond.
REFERENCES = {
    (2, 90): 8.0728, (2, 100): 13.9018, (2, 110): 21.3438,
    (3, 90): 11.290, (3, 100): 18.690, (3, 110): 27.580,
    (5, 90): 16.644, (5, 100): 26.159, (5, 110): 36.772,
    (10, 90): 26.240, (10, 100): 38.337, (10, 110): 50.886,
}  # fmt: skip
# Later and closer work puts ten assets up to this much above the paper's points.
TOO_LOW = {10: 1.006}
SHORT = [(2, 110), (5, 100)]
SEED = 1
REACH = 0.003

NETWORK_LADDER = [(1 << 13, 100, 20), (1 << 14, 200, 50), (1 << 15, 300, 80), (1 << 16, 600, 150), (1 << 17, 900, 300)]
REGRESSION_LADDER = [1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17]


class Answer(NamedTuple):
    assets: int
    reference: float
    bounds: Bounds
    training: float
    valuing: float

    @property
    def off(self) -> float:
        """Deviation of the farther of the two bounds from the reference, relative."""
        return max(abs(bound.mean / self.reference - 1) for bound in self.bounds)

    @property
    def contradicts(self) -> bool:
        """The lower bound is above the value beyond chance, or the 95 % interval is beside it."""
        low, high = self.bounds.interval()
        lower, ceiling = self.bounds.lower, self.reference * TOO_LOW.get(self.assets, 1)
        return lower.mean - 2.58 * lower.error > ceiling or low > ceiling or high < self.reference

    def __str__(self) -> str:
        lower, upper = self.bounds
        return (
            f"{self.off:.2%} off: L {lower.mean:.3f} ± {lower.error:.3f}, U {upper.mean:.3f} ± {upper.error:.3f}"
            f" ({self.training:.1f} + {self.valuing:.1f} s)"
        ).replace("%", " %")


def measure(fast: bool = False) -> list[Figure]:
    cases = SHORT if fast else list(REFERENCES)
    ours = {case: _answer(case, _networks(case[0]), fast) for case in cases}
    theirs = {case: _answer(case, _regression, fast) for case in cases if fast or case[0] == 5}
    figures = [
        Figure(
            f"Bermudan max-call, {assets} assets, spot {spot}, value {REFERENCES[assets, spot]}",
            str(answer),
            "<= 0.3 %",
            f"regression {theirs[assets, spot]}" if (assets, spot) in theirs else "",
        )
        for (assets, spot), answer in ours.items()
    ]
    wrong, peers_wrong = (sum(answer.contradicts for answer in each.values()) for each in (ours, theirs))
    figures.append(
        Figure(
            "max-calls whose lower bound exceeds, or 95 % interval misses, the value",
            f"{wrong} of {len(ours)}",
            "0",
            f"regression {peers_wrong} of {len(theirs)}",
        )
    )
    figures.append(_time_to_reach(repeats=1 if fast else 3))
    figures += _exits()
    return figures


def _networks(assets: int) -> Callable[[MaxCall], Policy]:
    return lambda problem: deep.train(problem, deep.DeepConfig(width=assets + 40), seed=SEED)


def _regression(problem: MaxCall) -> Policy:
    return longstaff_schwartz.fit(problem, paths=1 << 16, seed=SEED)


def _answer(case: tuple[int, int], learn: Callable[[MaxCall], Policy], fast: bool) -> Answer:
    problem = MaxCall.symmetric(*case)
    began = time.perf_counter()
    policy = learn(problem)
    learnt = time.perf_counter()
    outer = 128 if fast else 512
    bound = bounds(problem, policy, paths=1 << (17 if fast else 18), outer=outer, inner=512, seed=SEED + 1)
    return Answer(case[0], REFERENCES[case], bound, learnt - began, time.perf_counter() - learnt)


def _time_to_reach(repeats: int) -> Figure:
    """From nothing, compilation included, to a lower bound that with its 95 % error is within 0.3 % of the value."""
    networks = deep.DeepConfig(width=45)
    settings = [replace(networks, paths=p, first_steps=f, steps=s) for p, f, s in NETWORK_LADDER]
    ours = _first_to_reach(
        [lambda problem, chosen=each: deep.train(problem, chosen, seed=SEED) for each in settings], repeats
    )
    theirs = _first_to_reach(
        [lambda problem, chosen=each: longstaff_schwartz.fit(problem, paths=chosen, seed=SEED)
         for each in REGRESSION_LADDER],
        repeats,
    )  # fmt: skip
    return Figure("5 assets, spot 100: from nothing to a lower bound within 0.3 %", ours, "", f"regression {theirs}")


def _first_to_reach(ladder: list[Callable[[MaxCall], Policy]], repeats: int) -> str:
    problem, least = MaxCall.symmetric(5, 100), REFERENCES[5, 100] * (1 - REACH)
    for step, learn in enumerate(ladder):
        took = []
        for _ in range(repeats):
            jax.clear_caches()
            began = time.perf_counter()
            lower = lower_bound(problem, learn(problem), paths=1 << 17, seed=SEED + 1)
            took.append(time.perf_counter() - began)
        if lower.mean - 1.96 * lower.error >= least:
            return f"{min(took):.1f} s (median {np.median(took):.1f} s, setting {step + 1} of {len(ladder)})"
    return "never reached"


def _exits() -> list[Figure]:
    """The daily rule at its default setting, on a model of about bitcoin's volatility."""
    model = PositionExit(
        log_vol_mean=float(np.log(0.03)), log_vol_persistence=0.9, vol_of_log_vol=0.25, forecast_mean=0.0,
        forecast_persistence=0.8, forecast_noise=0.0015, correlation=-0.2, risk_aversion=4.0, funding=0.0002,
        exit_cost=0.0005, hard_stop=0.10,
    )  # fmt: skip
    training, deciding = [], []
    for config in (ExitConfig("deep"), ExitConfig("longstaff_schwartz")):
        began = time.perf_counter()
        rule = train_exit_rule(model, config, seed=SEED)
        training.append(f"{time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        decision = rule.decide(1, PositionState(0.0, 0.03, 0.002))
        deciding.append(
            f"{time.perf_counter() - began:.1f} s (L {decision.lower:.5f} ± {decision.lower_error:.5f},"
            f" U {decision.upper:.5f} ± {decision.upper_error:.5f})"
        )
    return [
        Figure("exit rule for 7 days, training", training[0], "", f"regression {training[1]}"),
        Figure("one exit decision with both bounds, day 1", deciding[0], "", f"regression {deciding[1]}"),
    ]
