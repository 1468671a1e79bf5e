"""Coefficients of optimal trading: how far from the published rows, and how long one model takes.

No library solves this model; the peer is the same value by discrete dynamic programming, the route open to everyone.
Times are CPU time, best of five.
"""

import math
import time

import numpy as np

from assets.research.trading.coefficients import Coefficients, TradingModel, solve
from assets.research.trading.exposure import Execution, ForecastScale, plan_step
from tests.benchmarks.figure import Figure

# lambda, beta: Aqq, Aql, All, Aqx, Axl, Axx, A0, speed, aim per impact, aim per forecast; K = 1, gamma = 5, rho = 0.2,
# kappa = eta = 1, sigma^2 = 0.2.
ROWS = {
    (0.0, 0.0): (0.90498756, 0, 0, 0.47506219, 0, 0.10258367, 0.25645919, 0.904988, 0, 0.524938),
    (0.1, 0.1): (0.98734862, -0.08491927, 0.01730109, 0.47843585, -0.03042123, 0.10272691, 0.25681727,
                 0.895841, -0.092862, 0.530668),
    (0.01, 0.01): (0.91391118, -0.00897962, 0.00036622, 0.47530010, -0.00352559, 0.10267121, 0.25667803,
                   0.904001, -0.009929, 0.525735),
    (0.5, 0.1): (1.31237511, -0.09283526, 0.01764530, 0.49214740, -0.03080953, 0.10331070, 0.25827675,
                 0.858793, -0.097826, 0.555131),
}  # fmt: skip


def measure(fast: bool = False) -> list[Figure]:
    count = 500 if fast else 5_000
    worst = max(np.abs(np.subtract(_columns(solve(_model(*key))), row)).max() for key, row in ROWS.items())
    models = [_model(*key) for key in ROWS] * (count // len(ROWS))
    solving = _seconds(lambda: [solve(model) for model in models]) / len(models)

    began = time.process_time()
    iterated = _value_iteration(_model(0.1, 0.1), 0.004)
    iterating = time.process_time() - began
    off = abs(iterated - ROWS[0.1, 0.1][0])

    scale = ForecastScale(0.001, 0.2, 1e-7, 300)
    plan = Execution(solve(_model(0.1, 0.1)), scale, cap=1.0, fast=None, slow=None, half_step_ratio=None)
    planning = _seconds(
        lambda: [plan_step(plan, position=0.2, impact=0.01, bias=0.6, variance=0.2) for _ in range(count)]
    )
    return [
        Figure(
            "optimal trading: 4 rows of 10 coefficients, largest error",
            f"{worst:.8f}",
            "<= 0.000001",
            f"value iteration, dt 0.004: {off:.4f} in Aqq",
        ),
        Figure(
            "optimal trading: solving one model",
            f"{solving * 1e6:.1f} us",
            "",
            f"value iteration {iterating * 1e3:.0f} ms",
        ),
        Figure("optimal trading: planning one day", f"{planning / count * 1e6:.1f} us", ""),
    ]


def _model(impact: float, decay: float) -> TradingModel:
    return TradingModel(
        variance=0.2, risk_aversion=5.0, trading_cost=1.0, discount=0.2, signal_decay=1.0, signal_variance=1.0,
        impact_per_trade=impact, impact_decay=decay,
    )  # fmt: skip


def _columns(found: Coefficients) -> tuple[float, ...]:
    return (
        found.qq, found.ql, found.ll, found.qx, found.xl, found.xx, found.constant,
        found.speed, found.aim_per_impact, found.aim_per_forecast,
    )  # fmt: skip


def _seconds(work) -> float:
    took = []
    for _ in range(5):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def _value_iteration(model: TradingModel, dt: float) -> float:
    """Aqq from the discretised problem, iterated from nothing until a step changes no digit that is compared."""
    keep = math.exp(-model.discount * dt)
    move = np.eye(3) - dt * np.diag([0.0, model.impact_decay, model.signal_decay])
    push = dt * np.array([1.0, model.impact_per_trade, 0.0])
    urgency, decay = model.risk_aversion * model.variance, model.impact_decay
    reward = dt * np.array([[-urgency, -decay, 1.0], [-decay, 0.0, 0.0], [1.0, 0.0, 0.0]])
    cross = dt * np.array([model.impact_per_trade, 0.0, 0.0])
    value = np.zeros((3, 3))
    for _ in range(int(50 / dt)):
        ahead = value @ move
        gain = cross + keep * push @ ahead
        value = (
            reward
            + keep * move.T @ ahead
            + np.outer(gain, gain) / (model.trading_cost * dt - keep * push @ value @ push)
        )
    return float(-value[0, 0])
