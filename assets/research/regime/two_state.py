"""Exact filter of a two-state hidden Markov chain: the forward recursion, four multiplications a step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite


@dataclass(frozen=True)
class TwoStateChain:
    """P(on) of the first state, P(on | on before) and P(on | off before)."""

    initial_on: float
    stay_on: float
    turn_on: float

    def __post_init__(self) -> None:
        for name in ("initial_on", "stay_on", "turn_on"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{getattr(self, name)} is no probability", column=name)


def forward_filter(chain: TwoStateChain, log_densities: Any) -> tuple[Floats, float]:
    """P(on at t | y_1:t) (T,) and ln Z, for ``log_densities`` (T, 2) = ln g(y_t | off), ln g(y_t | on).

    Raises BadInput for another shape and for what is not finite.
    """
    densities = finite(log_densities, "log_densities")
    if densities.ndim != 2 or densities.shape[1] != 2:
        raise BadInput(f"shape {densities.shape} instead of (T, 2)", column="log_densities")
    probabilities = np.empty(len(densities))
    log_likelihood, on = 0.0, chain.initial_on
    for t, (log_off, log_on) in enumerate(densities.tolist()):
        if t:
            on = chain.turn_on + (chain.stay_on - chain.turn_on) * on
        peak = max(log_off, log_on)
        joint_on, joint_off = on * math.exp(log_on - peak), (1 - on) * math.exp(log_off - peak)
        total = joint_on + joint_off
        if total == 0:
            raise BadInput("impossible under the chain", column="log_densities", at=t)
        log_likelihood += peak + math.log(total)
        on = probabilities[t] = joint_on / total
    return probabilities, log_likelihood
