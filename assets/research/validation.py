"""Walk-forward folds, what a fold's days amounted to, and whether that is acceptable (brief 1).

Folds stand on an absolute grid: a test window begins on every 30th day since 1970-01-01, whoever counts and whatever
data there is. So a fold keeps its name and its models when history grows, and the live decision of a day uses the
direction, volatility, latent and trading models that validation judges for that day, as long as data and configuration
are the same. Three things may differ. The exit rule: validation fits one a fold by regression, the live desk trains
networks every day. The age: where training was refused, the live desk goes on with older models, and validation has no
fold. And the data: a series that the source had then and has no longer, or the other way round.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite

_EPOCH = date(1970, 1, 1)
DAYS_PER_YEAR = 365

# A ratio of fewer days than this says nothing; the screen shows why instead of a number.
_FEWEST_DAYS = 20
_FEWEST_TRADED_DAYS = 5


@dataclass(frozen=True, slots=True)
class Scheme:
    """Lengths in days. Between training and test lie ``purge_days``, at least as long as a position may be held, so
    that no outcome seen in training reaches into the test."""

    train_days: int = 365
    test_days: int = 30
    purge_days: int = 7

    def __post_init__(self) -> None:
        for name in ("train_days", "test_days", "purge_days"):
            if getattr(self, name) < 1:
                raise BadInput("must be a day at least", column=name)


@dataclass(frozen=True, slots=True, order=True)
class Fold:
    """Decision days: training [train_start, train_end), test [test_start, test_end). Training outcomes end on
    ``train_end`` too, so the last training decision is a day earlier."""

    test_start: date
    test_end: date
    train_start: date
    train_end: date

    @property
    def name(self) -> str:
        return self.test_start.isoformat()


def fold_of(day: date, scheme: Scheme) -> Fold:
    """The fold whose test window holds ``day``."""
    start = day - timedelta(days=(day - _EPOCH).days % scheme.test_days)
    train_end = start - timedelta(days=scheme.purge_days)
    return Fold(
        start, start + timedelta(days=scheme.test_days), train_end - timedelta(days=scheme.train_days), train_end
    )


def folds_between(first: date, last: date, scheme: Scheme) -> list[Fold]:
    """All folds whose training begins on ``first`` or later and whose test ends with ``last`` or earlier, in order.

    ``first`` and ``last`` are the first and last day with features and with a known outcome.
    """
    folds = []
    fold = fold_of(first + timedelta(days=scheme.train_days + scheme.purge_days), scheme)
    while fold.test_end <= last + timedelta(days=1):
        if fold.train_start >= first:
            folds.append(fold)
        fold = fold_of(fold.test_end, scheme)
    return folds


@dataclass(frozen=True, slots=True)
class Performance:
    """What a run of days amounted to. None where there are too few days to say, never a default.

    days: in the run. traded_days: with an exposure or a trade (a day that only closed a position still paid for it).
    hit_rate: share of traded days with a gain after costs.
    payoff: mean gain of winning over mean loss of losing traded days. sharpe: mean over standard deviation of all days'
    returns (n - 1), times sqrt(365). max_drawdown: largest fall of compounded equity from its peak, as a fraction >= 0.
    gate_off: share of days with the gate off. total_return: compounded. costs: sum of fees, slippage and funding paid,
    as a fraction of capital. turnover: sum of absolute changes of exposure. unfunded_days: days with an exposure whose
    funding is unknown, and therefore in none of the numbers above.
    """

    days: int
    traded_days: int
    hit_rate: float | None
    payoff: float | None
    sharpe: float | None
    max_drawdown: float
    gate_off: float
    total_return: float
    costs: float
    turnover: float
    unfunded_days: int


def performance(
    returns: Sequence[float] | Floats,
    exposures: Sequence[float] | Floats,
    gate_on: Sequence[bool],
    costs: Sequence[float] | Floats,
    trades: Sequence[float] | Floats,
    funding_known: Sequence[bool],
) -> Performance:
    """Performance of n consecutive days, one entry a day: net return and costs (fractions of capital), the exposure
    held over the day, whether the gate was on, what was traded (bought and sold together, of either sign), and whether
    the costs hold the day's funding. Raises BadInput on unequal lengths, none, and what is not finite."""
    net, held = finite(returns, "returns"), finite(exposures, "exposures")
    paid, traded = finite(costs, "costs"), finite(trades, "trades")
    lengths = {len(net), len(held), len(gate_on), len(paid), len(traded), len(funding_known)}
    if len(lengths) != 1 or not len(net):
        raise BadInput(f"series of {sorted(lengths)} days", column="returns")
    active = (held != 0) | (traded != 0)
    gains, losses = net[active & (net > 0)], net[active & (net < 0)]
    enough = int(active.sum()) >= _FEWEST_TRADED_DAYS
    return Performance(
        days=len(net),
        traded_days=int(active.sum()),
        hit_rate=len(gains) / int(active.sum()) if enough else None,
        payoff=float(gains.mean() / -losses.mean()) if enough and len(gains) and len(losses) else None,
        sharpe=sharpe(net),
        max_drawdown=max_drawdown(net),
        gate_off=1.0 - sum(gate_on) / len(gate_on),
        total_return=float(np.prod(1.0 + net) - 1.0),
        costs=float(paid.sum()),
        turnover=float(np.abs(traded).sum()),
        unfunded_days=sum(bool(share) and not known for share, known in zip(held, funding_known, strict=True)),
    )


def sharpe(returns: Floats) -> float | None:
    """sqrt(365) * mean / standard deviation (n - 1) of daily returns; None for fewer than 20 days or no variation."""
    if len(returns) < _FEWEST_DAYS:
        return None
    deviation = float(np.std(returns, ddof=1))
    # Returns that differ by rounding alone do not vary.
    if deviation <= 1e-12 * max(1.0, float(np.abs(returns).max())):
        return None
    return math.sqrt(DAYS_PER_YEAR) * float(np.mean(returns)) / deviation


def max_drawdown(returns: Floats) -> float:
    """max over t of 1 - equity_t / peak_t with equity_0 = 1 counted as a peak: a fraction >= 0."""
    equity = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return float(np.max(1.0 - equity / np.maximum.accumulate(equity)))


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the acceptance: ``measure`` of a Performance against ``limit``.

    ``relation`` is what ``measure`` must be to ``limit``. With ``alternative``, meeting (``alternative_limit`` and the
    other measure beyond its limit) is enough as well.
    """

    name: Literal["hit_rate", "sharpe", "max_drawdown", "gate_off"]
    relation: Literal[">=", "<="]
    limit: float
    alternative_limit: float | None = None
    payoff_above: float | None = None


# Brief 1, per 30-day slice, costs included.
ACCEPTANCE: tuple[Criterion, ...] = (
    Criterion("hit_rate", ">=", 0.56, alternative_limit=0.54, payoff_above=1.2),
    Criterion("sharpe", ">=", 1.0),
    Criterion("max_drawdown", "<=", 0.15),
    Criterion("gate_off", "<=", 0.60),
)

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A criterion applied: ``value`` (None: undefined, which does not pass) and why."""

    name: str
    value: float | None
    relation: str
    limit: float
    passed: bool
    reason: str


def accept(result: Performance, criteria: Sequence[Criterion] = ACCEPTANCE) -> tuple[Verdict, ...]:
    """Each criterion's verdict; a slice is accepted when all of them pass."""
    return tuple(_verdict(result, criterion) for criterion in criteria)


def _verdict(result: Performance, criterion: Criterion) -> Verdict:
    value: float | None = getattr(result, criterion.name)

    def verdict(passed: bool, reason: str) -> Verdict:
        return Verdict(criterion.name, value, criterion.relation, criterion.limit, passed, reason)

    if value is None:
        return verdict(False, f"undefined: {result.traded_days} traded of {result.days} days")
    holds = _HOLDS[criterion.relation]
    if holds(value, criterion.limit):
        return verdict(True, f"{value:.4g} {criterion.relation} {criterion.limit:g}")
    if criterion.alternative_limit is not None and criterion.payoff_above is not None:
        payoff = result.payoff
        if holds(value, criterion.alternative_limit) and payoff is not None and payoff > criterion.payoff_above:
            return verdict(True, f"{value:.4g} with payoff {payoff:.4g} > {criterion.payoff_above:g}")
    return verdict(False, f"{value:.4g} is not {criterion.relation} {criterion.limit:g}")
