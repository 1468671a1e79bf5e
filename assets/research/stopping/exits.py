"""The daily decision to leave or keep a position, and what it is worth (brief 1, step 9).

A rule is trained for one fitted model (``PositionExit``) and asked once a day. Networks and regression answer through
the same interface. The paper gives its networks assets + 40 units; 16, as the brief has it, are enough for the four
features here.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from assets.research.bad_input import BadInput
from assets.research.stopping import longstaff_schwartz
from assets.research.stopping.dual import Start, continuation, upper_bound
from assets.research.stopping.longstaff_schwartz import RegressionPolicy
from assets.research.stopping.networks import NetworkPolicy, packed, unpacked
from assets.research.stopping.problems import PositionExit, PositionState

Method = Literal["deep", "longstaff_schwartz"]


@dataclass(frozen=True)
class ExitConfig:
    """How an exit rule is made and how closely its decisions are valued.

    width, batch, first_steps, steps, learning_rate: of the networks (see DeepConfig); paths: simulated for the training
    of either method; continuation_paths: behind the continuation value and lower bound of a decision; outer, inner:
    paths of its upper bound.
    """

    method: Method = "deep"
    width: int = 16
    paths: int = 1 << 15
    batch: int = 2048
    first_steps: int = 400
    steps: int = 150
    learning_rate: float = 0.01
    continuation_paths: int = 1 << 15
    outer: int = 128
    inner: int = 256

    def __post_init__(self) -> None:
        if self.method not in ("deep", "longstaff_schwartz"):
            raise BadInput(f"{self.method!r} is neither deep nor longstaff_schwartz", column="method")


@dataclass(frozen=True)
class ExitDecision:
    """Whether to leave on ``day`` of at most ``days_max``, and why.

    - ``reason``: "day_limit" (the cap always ends it), "hard_stop" (at or below the loss limit) or "rule"
    - ``confidence``: |2F - 1| of the rule's stopping probability F: 0 undecided, 1 certain; 1 for the two limits. For
      networks F is the soft decision, which is trained to pay and not to be calibrated.
    - ``stop_value``: what leaving now pays; ``continuation``: the mean payoff of keeping the position today and
      following the rule from tomorrow, None where nothing follows; ``lower``: the value of the rule's decision (one
      of these two); ``upper``: the dual bound on what any rule could get. All in fractions of the entry notional, from
      entry on, without the charges of past days (see PositionExit.state), and under the fitted model, not the market.
    - ``lower_error``, ``upper_error``: their standard errors; 0 where the value is certain.
    """

    stop: bool
    reason: Literal["rule", "hard_stop", "day_limit"]
    confidence: float
    stop_value: float
    lower: float
    lower_error: float
    upper: float
    upper_error: float
    continuation: float | None
    day: int
    days_max: int


@dataclass(frozen=True)
class ExitRule:
    """A trained rule with the model it was trained for. ``seed`` also drives the paths behind ``decide``'s values."""

    problem: PositionExit
    config: ExitConfig
    seed: int
    policy: NetworkPolicy | RegressionPolicy

    def decide(self, day: int, position: PositionState) -> ExitDecision:
        """The decision on ``day`` (whole days since entry, from 0); the same for the same rule and arguments.

        On and after the last day it is to leave. Raises BadInput for a day that is no whole number or negative.
        """
        if not isinstance(day, int | np.integer) or day < 0:
            raise BadInput(f"{day!r} is not a whole number of days from 0 on", column="day")
        problem, config = self.problem, self.config
        date = min(int(day), problem.dates)
        state = problem.state(position)
        payoff = problem.payoff(state, date)
        paid = float(payoff[0])
        limit: Literal["hard_stop", "day_limit"] | None = None
        if problem.closed(state)[0]:
            limit = "hard_stop"
        elif date == problem.dates:
            limit = "day_limit"
        if limit is not None:
            return ExitDecision(True, limit, 1.0, paid, paid, 0.0, paid, 0.0, None, int(day), problem.dates)
        start = Start(date, state)
        stop = bool(self.policy.stops(date, state, payoff)[0])
        probability = float(self.policy.probability(date, state, payoff)[0])
        kept = continuation(problem, self.policy, paths=config.continuation_paths, seed=self.seed, start=start)
        upper = upper_bound(problem, self.policy, outer=config.outer, inner=config.inner, seed=self.seed, start=start)
        return ExitDecision(
            stop=stop,
            reason="rule",
            confidence=abs(2 * probability - 1),
            stop_value=paid,
            lower=paid if stop else kept.mean,
            lower_error=0.0 if stop else kept.error,
            upper=upper.mean,
            upper_error=upper.error,
            continuation=kept.mean,
            day=int(day),
            days_max=problem.dates,
        )

    def to_bytes(self) -> bytes:
        """The whole rule as .npz without pickle; the same rule gives the same bytes."""
        about = {"problem": asdict(self.problem), "config": asdict(self.config), "seed": self.seed}
        arrays = {
            "about": np.array(json.dumps(about, sort_keys=True)),
            "policy": np.frombuffer(self.policy.to_bytes(), np.uint8),
        }
        return packed("exit rule", {}, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> "ExitRule":
        """Raises BadInput where the content is damaged, of another version, or no exit rule."""
        arrays = unpacked("exit rule", {}, content)
        about = json.loads(str(arrays["about"]))
        problem, config = PositionExit(**about["problem"]), ExitConfig(**about["config"])
        kind = NetworkPolicy if config.method == "deep" else RegressionPolicy
        return cls(problem, config, about["seed"], kind.from_bytes(problem, arrays["policy"].tobytes()))


def train_exit_rule(
    problem: PositionExit,
    config: ExitConfig,
    *,
    seed: int,
    device: Literal["cpu", "gpu"] = "cpu",
    checkpoint: bytes | None = None,
    on_checkpoint: Callable[[bytes], None] | None = None,
) -> ExitRule:
    """The rule for ``problem``. ``device`` and the checkpoints are those of deep.train; the regression is done in a
    second on the CPU and has none."""
    policy: NetworkPolicy | RegressionPolicy
    if config.method == "longstaff_schwartz":
        policy = longstaff_schwartz.fit(problem, paths=config.paths, seed=seed)
    else:
        from assets.research.stopping import deep  # the training library is loaded for training alone

        settings = deep.DeepConfig(
            config.width, config.paths, config.batch, config.first_steps, config.steps, config.learning_rate
        )
        policy = deep.train(
            problem, settings, seed=seed, device=device, checkpoint=checkpoint, on_checkpoint=on_checkpoint
        )
    return ExitRule(problem, config, seed, policy)
