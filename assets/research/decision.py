"""The decision of one symbol at 00:00 UTC of one day: the ten steps of brief 1 as pure functions of what is known.

Each step takes the results of the steps before it and returns a value that says everything it found, so that a stored
step can be recomputed and compared. ``decide`` runs them in order; validation folds it over the days of a fold, the
live pipeline calls the steps one by one. Exposures are fractions of capital, returns and costs too; days are UTC.

The book that carries over from day to day is a paper book of its own. It takes the exposure that the day's step plans
for its END at once, at the 00:00 close, which is the very close the features end with, for fee and slippage. That is an
idealisation and it flatters entries: a desk would get there over the day, at prices it does not know yet. Funding is
paid on what was held, as soon as it is known.

A closed gate asks for no direction and never adds, but does not close at once: the position decays towards the aim of
no forecast at the paper's rate. Only exit rule, cap and risk rails end a position in one trade.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

import numpy as np

from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.data.features import FEATURES
from assets.research.models import Models
from assets.research.regime.gate import GateDay, next_day
from assets.research.stopping.problems import PositionState
from assets.research.trading.coefficients import solve
from assets.research.trading.corrections import longest_timescale
from assets.research.trading.exposure import BIAS_THRESHOLD, Execution, Stance, Step, forecast_of, plan_step, stance
from assets.research.trading.impact import advance
from assets.research.trading.risk import Limits, Observed, RiskReport, permitted, review

_BASIS_POINT = 1e-4
# A decision looks this many days back for the book it continues, for closes to mark it by and for funding still owed;
# what was left open for longer is not taken up again.
MEMORY_DAYS = 60


@dataclass(frozen=True, slots=True)
class Known:
    """What the market shows at 00:00 UTC of ``day``.

    ``features`` by name (a missing optional one is None); empty with ``refusal`` saying why where the data cannot be
    used (stale, a gap, no bars). ``log_close`` and ``funding`` (fraction of notional settled in that UTC day) by day:
    the close at 00:00 of a day, and funding of days that are over.
    """

    day: date
    features: Mapping[str, float | None]
    log_close: Mapping[date, float]
    funding: Mapping[date, float]
    refusal: str = ""

    def return_since(self, day: date) -> float | None:
        """Simple return of the asset from 00:00 of ``day`` to 00:00 of this day; None where a close is missing."""
        if day not in self.log_close or self.day not in self.log_close:
            return None
        return math.expm1(self.log_close[self.day] - self.log_close[day])


@dataclass(frozen=True, slots=True)
class Position:
    """An open position: the day it was opened, its P&L since then as a share of capital (funding included, costs of
    trading not), and the asset's return in its favour since then."""

    opened: date
    earned: float
    unrealised_return: float


@dataclass(frozen=True, slots=True)
class Unfunded:
    """A day over which ``exposure`` was held and whose funding is not booked, because it is not known yet."""

    day: date
    exposure: float


@dataclass(frozen=True, slots=True)
class Book:
    """What is held from 00:00 of ``day`` on, and what later decisions need to know.

    ``marked`` is the last 00:00 at which there was a price or nothing was held; P&L is known up to there. ``equity`` is
    1 at the first decision and compounds. ``impact`` is the impact state (return) that the trade of ``day`` leaves for
    the next 00:00. ``unfunded``: days already marked whose funding is still owed, in order.
    """

    day: date
    marked: date
    exposure: float
    position: Position | None
    equity: float
    impact: float
    gate: GateDay | None
    risk: RiskReport | None
    unfunded: tuple[Unfunded, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """The book's holding period since its last mark, closed at 00:00 of ``through``.

    day_return: P&L of the period as a share of the capital at its start, None where a price is missing (the position
    is then carried unmarked until there is one, and says so). funding_paid: what was booked, of earlier days too
    where it became known late, and part of day_return; None where nothing of what is owed is known. unfunded: the days
    that stay owed.
    """

    through: date
    exposure: float
    position: Position | None
    equity: float
    impact: float
    asset_return: float | None
    funding_paid: float | None
    day_return: float | None
    reason: str
    unfunded: tuple[Unfunded, ...] = ()


@dataclass(frozen=True, slots=True)
class Volatility:
    """Volatility of the coming day's return, per day: the forecast from signatures and what moved it; the realised one
    of the last 24 hours beside it."""

    forecast: float | None
    realised: float | None
    long_run: float
    attributions: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class GateStep:
    """The regime gate of the day. ``effective_sample_size`` of ``particles``; None where the filter had nothing."""

    day: GateDay
    threshold: float
    inertia_days: int
    effective_sample_size: float | None
    particles: int
    learning_steps: int
    window: int


@dataclass(frozen=True, slots=True)
class BiasStep:
    """``value`` in [-1, 1]; None while the gate is off. ``attributions``: each feature's part of it."""

    value: float | None
    stance: Stance
    threshold: float
    attributions: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class SizingStep:
    """forecast: return per day. aim_per_forecast and aim_per_impact: the paper's coefficients. target: x*, capped."""

    forecast: float
    aim_per_forecast: float
    aim_per_impact: float
    target: float


@dataclass(frozen=True, slots=True)
class ImpactStep:
    """The impact state at the decision and after the planned step, in basis points of price."""

    now_bp: float
    after_bp: float
    impact_per_trade: float
    impact_decay: float


@dataclass(frozen=True, slots=True)
class ExitStep:
    """Whether to leave the open position. ``decision`` is FLAT without one. ``day`` of ``days_max``; bounds, value of
    going on and of leaving now as fractions of the notional at entry, from the exit rule's own simulation."""

    decision: Literal["FLAT", "HOLD", "STOP"]
    day: int
    days_max: int
    confidence: float | None
    lower: float | None
    upper: float | None
    continuation: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """The trade of the day and what it costs: ``trade`` = exposure - exposure before; ``cost`` of it (fee and
    slippage) as a share of capital; ``book`` holds from now on."""

    trade: float
    cost: float
    reason: str
    book: Book


@dataclass(frozen=True, slots=True)
class Decision:
    """All steps of one day in order."""

    day: date
    marked: Marked
    volatility: Volatility
    gate: GateStep
    bias: BiasStep
    sizing: SizingStep
    execution: Step
    impact: ImpactStep
    risk: RiskReport
    exit: ExitStep
    settlement: Settlement


def first_book(day: date) -> Book:
    """Nothing held, nothing known: what the first decision ever starts from."""
    return Book(day, day, 0.0, None, 1.0, 0.0, None, None)


def mark(before: Book, known: Known) -> Marked:
    """Close the holding period that ends with this decision.

    Every day of it owes funding on what was held over it, and pays on the first mark at which its sum is known, as a
    share of the capital there is then. A day that is still unknown after ``MEMORY_DAYS`` is written off. ``reason``
    says what is owed, came late or was written off. Raises BadInput when the book is not of an earlier day (the first
    book may be of the same day).
    """
    if before.day > known.day:
        raise BadInput(f"the book is of {before.day}", column="day")
    held, since, position = before.exposure, before.marked, before.position
    asset = known.return_since(since)
    if asset is None and held != 0:
        reason = f"no close at 00:00 of {since if known.day in known.log_close else known.day}"
        return Marked(since, held, position, before.equity, before.impact, None, None, None, reason, before.unfunded)
    days = (since + timedelta(days=n) for n in range((known.day - since).days))
    owed = [*before.unfunded, *(Unfunded(day, held) for day in days if held != 0)]
    booked = {each.day: each.exposure * known.funding[each.day] for each in owed if each.day in known.funding}
    paid = sum(booked.values(), 0.0)
    # Nothing held earns nothing at any price; a close that never comes must not keep the book from going on.
    gained = 0.0 if asset is None else held * asset
    earned = gained - paid
    if position is not None and asset is not None:
        favour = (1 + position.unrealised_return) * (1 + math.copysign(1.0, held) * asset) - 1
        # What comes late of a position before this one is none of its doing.
        own = sum((each for day, each in booked.items() if day >= position.opened), 0.0)
        position = replace(position, earned=position.earned + gained - own, unrealised_return=favour)
    unknown = [each for each in owed if each.day not in booked]
    unfunded = tuple(each for each in unknown if (known.day - each.day).days <= MEMORY_DAYS)
    said = {
        "funding unknown since": [each.day for each in unfunded],
        "funding booked late since": [day for day in booked if day < since],
        "funding written off since": [each.day for each in unknown if each not in unfunded],
    }
    return Marked(
        known.day,
        held,
        position,
        before.equity * (1 + earned),
        before.impact,
        asset,
        None if owed and not booked else paid,
        earned,
        "; ".join(f"{what} {_days_named(which)}" for what, which in said.items() if which),
        unfunded,
    )


def _days_named(days: Sequence[date]) -> str:
    return f"{days[0]}" if len(days) == 1 else f"{days[0]}, {len(days)} days"


def volatility_step(known: Known, models: Models) -> Volatility:
    """The forecast of the signature regression (``models.volatility``); without features the reason instead."""
    long_run = math.sqrt(models.execution.coefficients.model.variance)
    if known.refusal:
        return Volatility(None, None, long_run, {}, known.refusal)
    forecast, attributions = models.forecast_volatility(known.features)
    return Volatility(forecast, known.features["realised_volatility_1d"], long_run, attributions, "")


def gate_step(
    before: GateDay | None,
    probability: float | None,
    effective_sample_size: float | None,
    refusal: str,
    configuration: ResearchConfiguration,
) -> GateStep:
    """P(RISK-ON) of the filter through threshold and inertia; refused data close the gate."""
    particles = configuration.filter
    return GateStep(
        next_day(configuration.gate, before, None if refusal else probability, refusal),
        configuration.gate.threshold,
        configuration.gate.inertia_days,
        None if refusal else effective_sample_size,
        particles.particles,
        particles.iterations,
        particles.window,
    )


def gate_before(before: Book, day: date) -> GateDay | None:
    """The gate of the day before ``day``, which inertia counts from; None when that day has no decision, which like any
    missing day counts as OFF."""
    return before.gate if before.day == day - timedelta(days=1) else None


def bias_step(known: Known, gate: GateStep, models: Models) -> BiasStep:
    """The direction classifier's bias, computed only while the gate is on (brief 1, step 4)."""
    if gate.day.state != "RISK-ON":
        return BiasStep(None, "NEUTRAL", BIAS_THRESHOLD, {}, f"gate off: {gate.day.reason}")
    value, attributions = models.bias(known.features)
    return BiasStep(value, stance(value), BIAS_THRESHOLD, attributions, "")


def execution_of(models: Models, impact_per_trade: float) -> Execution:
    """The models' execution with the impact parameter in force, which the weekly recalibration may have moved."""
    execution = models.execution
    model = execution.coefficients.model
    if model.impact_per_trade == impact_per_trade:
        return execution
    coefficients, fast = solve(replace(model, impact_per_trade=impact_per_trade)), execution.fast
    if fast is not None:
        longest = longest_timescale(coefficients) * fast.mean_reversion
        fast = replace(fast, timescale=min(fast.timescale, longest))
    return replace(execution, coefficients=coefficients, fast=fast)


def sizing_step(marked: Marked, bias: BiasStep, volatility: Volatility, execution: Execution) -> SizingStep:
    """x*: the corrected aim for the day's bias and impact, capped."""
    step = execution_step(marked, bias, volatility, execution)
    coefficients = execution.coefficients
    return SizingStep(
        forecast_of(bias.value or 0.0, execution.scale),
        coefficients.aim_per_forecast,
        coefficients.aim_per_impact,
        step.target,
    )


def execution_step(marked: Marked, bias: BiasStep, volatility: Volatility, execution: Execution) -> Step:
    """The day's step toward the target. Without a volatility forecast the long-run one stands in: the gate is off then
    and the step only reduces."""
    sigma = volatility.long_run if volatility.forecast is None else volatility.forecast
    return plan_step(
        execution, position=marked.exposure, impact=marked.impact, bias=bias.value or 0.0, variance=sigma**2
    )


def impact_step(marked: Marked, step: Step, execution: Execution) -> ImpactStep:
    model = execution.coefficients.model
    return ImpactStep(
        marked.impact / _BASIS_POINT, step.impact_after / _BASIS_POINT, model.impact_per_trade, model.impact_decay
    )


def risk_step(
    before: RiskReport | None, known: Known, marked: Marked, volatility: Volatility, models: Models, limits: Limits
) -> RiskReport:
    """The four guards on what the book and the market did up to the decision."""
    position = marked.position
    yesterday = known.day - timedelta(days=1)
    observed = Observed(
        position_return=None if marked.day_return is None else 0.0 if position is None else position.earned,
        day_return=marked.day_return,
        funding=known.funding.get(yesterday),
        usual_funding=models.usual_funding,
        volatility=volatility.realised,
        long_run_volatility=volatility.long_run,
    )
    return review(observed, limits, day=known.day, previous=before)


def exit_step(
    known: Known,
    marked: Marked,
    volatility: Volatility,
    bias: BiasStep,
    models: Models,
    configuration: ResearchConfiguration,
) -> ExitStep:
    """Stop or hold the open position: always out after ``max_holding_days``, else as the exit rule says."""
    cap, position = configuration.max_holding_days, marked.position
    if position is None:
        return ExitStep("FLAT", 0, cap, None, None, None, None, "no open position")
    day = (known.day - position.opened).days
    if day >= cap:
        return ExitStep("STOP", day, cap, 1.0, None, None, None, f"held for {cap} days, the cap")
    if models.exit_rule is None:
        return ExitStep("HOLD", day, cap, None, None, None, None, "no exit rule in force; the cap alone applies")
    if volatility.forecast is None or marked.day_return is None:
        return ExitStep("HOLD", day, cap, None, None, None, None, volatility.reason or marked.reason)
    side = math.copysign(1.0, marked.exposure)
    forecast = side * forecast_of(bias.value or 0.0, models.execution.scale)
    state = PositionState(position.unrealised_return, volatility.forecast, forecast)
    found = models.exit_rule.decide(day, state)
    reason = {"rule": "", "hard_stop": "position stop", "day_limit": "the cap"}[found.reason]
    return ExitStep(
        "STOP" if found.stop else "HOLD",
        day,
        cap,
        found.confidence,
        found.lower,
        found.upper,
        found.continuation,
        reason,
    )


def settle(
    known: Known,
    marked: Marked,
    gate: GateStep,
    step: Step,
    risk: RiskReport,
    leave: ExitStep,
    execution: Execution,
    configuration: ResearchConfiguration,
) -> Settlement:
    """What is held from now on: the planned exposure as far as the rails permit, nothing after a STOP, and nothing
    below the smallest exposure worth holding. A new position opens, and an old one ends, by the sign of exposure.

    The whole trade is done at once at the 00:00 close of the day, for fee and slippage: an idealisation that flatters
    entries (see the module). Behind a closed gate the position only shrinks, at the planned step's pace.
    """
    if known.day not in known.log_close:
        book = Book(
            known.day,
            marked.through,
            marked.exposure,
            marked.position,
            marked.equity,
            marked.impact,
            gate.day,
            risk,
            marked.unfunded,
        )
        return Settlement(0.0, 0.0, f"no price to trade at: {known.refusal or marked.reason}", book)
    wanted = permitted(risk.state, marked.exposure, step.planned)
    reason = "planned step" if wanted == step.planned else f"risk {risk.state}: {risk.reason}"
    if gate.day.state != "RISK-ON" and wanted != (reduced := permitted("REDUCING", marked.exposure, wanted)):
        # Impact alone moves the aim away from zero; behind a closed gate that must open nothing.
        wanted, reason = reduced, f"gate off: {gate.day.reason}"
    if leave.decision == "STOP":
        wanted, reason = 0.0, leave.reason or "exit rule"
    if abs(wanted) < configuration.smallest_exposure and wanted != 0.0:
        wanted, reason = 0.0, "below the smallest exposure"
    trade = wanted - marked.exposure
    cost = abs(trade) * (configuration.fee_bp + configuration.slippage_bp) * _BASIS_POINT
    position = marked.position
    if wanted == 0.0:
        position = None
    elif position is None or wanted * marked.exposure <= 0:
        position = Position(known.day, 0.0, 0.0)
    model = execution.coefficients.model
    impact = advance(
        marked.impact, trade, 1.0, impact_per_trade=model.impact_per_trade, impact_decay=model.impact_decay
    )
    equity = marked.equity * (1 - cost)
    book = Book(known.day, marked.through, wanted, position, equity, impact, gate.day, risk, marked.unfunded)
    return Settlement(trade, cost, reason, book)


def decide(
    known: Known,
    before: Book,
    models: Models,
    probability: float | None,
    effective_sample_size: float | None,
    impact_per_trade: float,
    configuration: ResearchConfiguration,
) -> Decision:
    """All steps of the day. ``probability`` and ``effective_sample_size`` come from the filter, which runs over the
    days up to this one; ``impact_per_trade`` from the last recalibration."""
    execution = execution_of(models, impact_per_trade)
    marked = mark(before, known)
    volatility = volatility_step(known, models)
    gate = gate_step(gate_before(before, known.day), probability, effective_sample_size, known.refusal, configuration)
    bias = bias_step(known, gate, models)
    sizing = sizing_step(marked, bias, volatility, execution)
    step = execution_step(marked, bias, volatility, execution)
    impact = impact_step(marked, step, execution)
    risk = risk_step(before.risk, known, marked, volatility, models, configuration.limits)
    leave = exit_step(known, marked, volatility, bias, models, configuration)
    settlement = settle(known, marked, gate, step, risk, leave, execution, configuration)
    return Decision(known.day, marked, volatility, gate, bias, sizing, step, impact, risk, leave, settlement)


def feature_row(values: Mapping[str, float]) -> dict[str, float | None]:
    """Features by name as a document keeps them: what is not a number is None."""
    return {
        feature.name: None if not np.isfinite(values[feature.name]) else float(values[feature.name])
        for feature in FEATURES
    }
