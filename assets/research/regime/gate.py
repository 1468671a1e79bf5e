"""The gate: a probability of RISK-ON a day becomes RISK-ON or GATE-OFF, with inertia after OFF.

The threshold and the inertia are rules of the trading plan, not of the filter's paper (2508.00696).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from assets.research.bad_input import BadInput

GateState = Literal["RISK-ON", "GATE-OFF"]


@dataclass(frozen=True)
class Gate:
    """Open at ``threshold`` or above; after a day OFF only on the ``inertia_days``-th consecutive such day."""

    threshold: float = 0.60
    inertia_days: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise BadInput(f"{self.threshold} is no probability above zero", column="threshold")
        if self.inertia_days < 1:
            raise BadInput(f"{self.inertia_days} days", column="inertia_days")


@dataclass(frozen=True)
class GateDay:
    """One day's verdict.

    ``inertia_count`` counts the consecutive qualifying days up to this one, at most ``inertia_days``; ``reason`` says
    why the gate is off and is empty while it is on. ``probability`` is None where there is none to be had.
    """

    state: GateState
    probability: float | None
    inertia_count: int
    reason: str


def next_day(gate: Gate, before: GateDay | None, probability: float | None, refusal: str = "") -> GateDay:
    """The day after ``before`` (None on the first day ever, which counts as the day after OFF).

    ``refusal`` says why the day's data cannot be used (stale, missing); any refusal, and a probability that is None,
    closes the gate and starts the count anew. Raises BadInput for a probability outside [0, 1].
    """
    if probability is not None and not 0 <= probability <= 1:
        raise BadInput(f"{probability} is no probability", column="probability")
    if refusal or probability is None:
        return GateDay("GATE-OFF", probability, 0, refusal or "no probability")
    if probability < gate.threshold:
        return GateDay("GATE-OFF", probability, 0, f"probability below {gate.threshold:.2f}")
    count = min((before.inertia_count if before else 0) + 1, gate.inertia_days)
    if count < gate.inertia_days:
        return GateDay("GATE-OFF", probability, count, f"day {count} of {gate.inertia_days} after OFF")
    return GateDay("RISK-ON", probability, count, "")


def gate_states(
    probabilities: Sequence[float | None], refusals: Sequence[str], gate: Gate | None = None
) -> list[GateDay]:
    """``next_day`` folded over consecutive days; ``refusals`` holds "" for each day whose data can be used.

    Raises BadInput where the two differ in length or a probability is none.
    """
    if len(probabilities) != len(refusals):
        raise BadInput(f"{len(refusals)} refusals for {len(probabilities)} days", column="refusals")
    rules, days = gate or Gate(), list[GateDay]()
    for at, (probability, refusal) in enumerate(zip(probabilities, refusals, strict=True)):
        try:
            days.append(next_day(rules, days[-1] if days else None, probability, refusal))
        except BadInput as error:
            raise BadInput(error.reason, column=error.column, at=at) from None
    return days
