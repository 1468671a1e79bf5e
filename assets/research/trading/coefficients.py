"""Optimal trading with linear price impact and quadratic cost: the coefficients of the value function
(arXiv 2507.17162, constant volatility; equations re-derived from its model).

Position q (fraction of capital), dq = u dt; forecast x (return per day), dx = -kappa x dt + sqrt(eta) dW; impact l
(return), dl = (lambda u - beta l) dt; asset return dP = x dt + dl + sigma dW. The trader maximises

    E int_0^inf e^{-rho t} [ q x + q (lambda u - beta l) - (gamma / 2) sigma^2 q^2 - (K / 2) u^2 ] dt,

whose value is the quadratic

    V(q, l, x) = -Aqq q^2 / 2 + All l^2 / 2 + Axx x^2 / 2 + Aql q l + Aqx q x + Axl l x + A0.

With cq = lambda - Aqq + lambda Aql, cl = Aql + lambda All, cx = Aqx + lambda Axl the optimal rate is
u* = (cq q + cl l + cx x) / K = speed (aim - q). The Hamilton-Jacobi-Bellman equation, term by term:

    cq^2 / K = gamma sigma^2 - rho Aqq          (rho + beta) Aql = -beta + cq cl / K
    (rho + 2 beta) All = cl^2 / K               (rho + kappa) Aqx = 1 + cq cx / K
    (rho + beta + kappa) Axl = cl cx / K        (rho + 2 kappa) Axx = cx^2 / K        A0 = eta Axx / (2 rho)

Any unit of time and of money will do as long as it is one; the desk uses days and fractions of capital. Greek letters
here are the paper's: its kappa is the forecast's decay, which is ``signal_decay`` in code.
"""

import math
from dataclasses import dataclass, fields, replace

from assets.research.bad_input import BadInput

# In the scaled problem every unknown is of order one, so one absolute tolerance serves all models.
_CONVERGED = 1e-13
_NEWTON_STEPS = 30
# Below this homotopy step there is no solution to follow: the objective has no finite maximum beyond.
_SMALLEST_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class TradingModel:
    """What the optimal rate depends on. Raises BadInput naming the parameter that cannot be meant.

    variance: sigma^2, of the asset's return per day. risk_aversion: gamma, per unit of capital.
    trading_cost: K, return times days: trading a fraction c evenly over one day costs K c^2 / 2 of capital.
    discount: rho, per day. signal_decay: kappa, per day. signal_variance: eta, variance of the forecast's innovations
    per day (return^2 / day^3). impact_per_trade: lambda, return per fraction of capital traded. impact_decay: beta,
    per day.
    """

    variance: float
    risk_aversion: float
    trading_cost: float
    discount: float
    signal_decay: float
    signal_variance: float
    impact_per_trade: float
    impact_decay: float

    def __post_init__(self) -> None:
        may_vanish = ("signal_decay", "signal_variance", "impact_per_trade", "impact_decay")
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise BadInput(f"{value} is not a finite number", column=field.name)
            if value < 0 or (value == 0 and field.name not in may_vanish):
                bound = "not negative" if field.name in may_vanish else "positive"
                raise BadInput(f"must be {bound}, got {value}", column=field.name)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The value function of ``model`` and the feedback it implies; ``qq`` is the paper's Aqq, and so on."""

    model: TradingModel
    qq: float
    ql: float
    ll: float
    qx: float
    xl: float
    xx: float
    constant: float

    @property
    def on_position(self) -> float:
        """cq: what one unit of position adds to K u*; negative."""
        return self.model.impact_per_trade - self.qq + self.model.impact_per_trade * self.ql

    @property
    def on_impact(self) -> float:
        """cl: what one unit of impact adds to K u*."""
        return self.ql + self.model.impact_per_trade * self.ll

    @property
    def on_forecast(self) -> float:
        """cx: what one unit of forecast adds to K u*."""
        return self.qx + self.model.impact_per_trade * self.xl

    @property
    def speed(self) -> float:
        """Share of the distance to the aim that is traded per day (a rate: 1 closes 63 % in a day)."""
        return -self.on_position / self.model.trading_cost

    @property
    def aim_per_impact(self) -> float:
        return -self.on_impact / self.on_position

    @property
    def aim_per_forecast(self) -> float:
        return -self.on_forecast / self.on_position

    def aim(self, impact: float, forecast: float) -> float:
        """x* of the brief: the position that the rate heads for, as a fraction of capital."""
        return self.aim_per_impact * impact + self.aim_per_forecast * forecast

    def rate(self, position: float, impact: float, forecast: float) -> float:
        """u*, fraction of capital per day."""
        return (
            self.on_position * position + self.on_impact * impact + self.on_forecast * forecast
        ) / self.model.trading_cost

    def value(self, position: float, impact: float, forecast: float) -> float:
        """V: the discounted objective under u* from this state on, in fractions of capital."""
        return (
            (-self.qq * position**2 + self.ll * impact**2 + self.xx * forecast**2) / 2
            + self.ql * position * impact
            + self.qx * position * forecast
            + self.xl * impact * forecast
            + self.constant
        )


def solve(model: TradingModel) -> Coefficients:
    """The coefficients by Newton's method, continued in (lambda, beta) from the closed form without impact.

    Aqq, Aql and All form a system of their own; in units in which K = 1 and the impact-free speed is 1 it depends on
    three numbers. The forecast's coefficients follow linearly. Only the root whose closed loop grows slower than
    e^{rho t / 2} is a value function (transversality); it is unique, and has speed > 0.

    Raises BadInput where there is none: impact so strong against risk (about lambda rho > gamma sigma^2) that moving
    the price pays for itself.
    """
    cost, base = model.trading_cost, _speed_without_impact(model)
    impact, decay, discount = model.impact_per_trade / (cost * base), model.impact_decay / base, model.discount / base
    root, reached, step = (1.0, 0.0, 0.0), 0.0, 1.0
    while reached < 1:
        ahead = min(reached + step, 1.0)
        found = _newton(root, impact * ahead, decay * ahead, discount)
        if found is not None:
            root, reached = found, ahead
        else:
            step /= 4
            if step < _SMALLEST_STEP:
                raise BadInput("no finite optimum: moving the price pays for itself", column="impact_per_trade")
    return _with_forecast(model, cost * base * root[0], root[1], root[2] / (cost * base))


def without_impact(model: TradingModel) -> Coefficients:
    """The closed form for lambda = beta = 0, whatever impact ``model`` has: the Garleanu-Pedersen rule."""
    model = replace(model, impact_per_trade=0.0, impact_decay=0.0)
    return _with_forecast(model, model.trading_cost * _speed_without_impact(model), 0.0, 0.0)


def small_impact(model: TradingModel) -> Coefficients:
    """The coefficients to first order in (lambda, beta): the brief's small-impact form, error of second order.

    The paper scales lambda and beta by one small parameter and stops after the linear term; here they are taken as
    they are. All vanishes at this order.
    """
    start = without_impact(model)
    cost, discount = model.trading_cost, model.discount
    impact, decay = model.impact_per_trade, model.impact_decay
    qq = 2 * impact * start.qq / (2 * start.qq + discount * cost)
    ql = -decay * cost / (discount * cost + start.qq)
    qx = (impact - qq) * start.qx**2 / cost
    xl = ql * start.qx / (cost * (discount + model.signal_decay))
    xx = 2 * start.qx * qx / (cost * (discount + 2 * model.signal_decay))
    constant = model.signal_variance * xx / (2 * discount)
    return Coefficients(
        model, start.qq + qq, ql, 0.0, start.qx + qx, xl, start.xx + xx, start.constant + constant
    )  # fmt: skip


def system_jacobian(
    on_position: float, on_impact: float, impact: float, decay: float, discount: float
) -> tuple[tuple[float, float, float], ...]:
    """Derivatives of the three equations of (Aqq, Aql, All) by these unknowns, for K = 1.

    The equations read cq^2 + rho Aqq - gamma sigma^2, (rho + beta) Aql + beta - cq cl and (rho + 2 beta) All - cl^2.
    """
    return (
        (discount - 2 * on_position, 2 * impact * on_position, 0.0),
        (on_impact, discount + decay - impact * on_impact - on_position, -impact * on_position),
        (0.0, -2 * on_impact, discount + 2 * decay - 2 * impact * on_impact),
    )


def _speed_without_impact(model: TradingModel) -> float:
    """The positive root s of s^2 + rho s = gamma sigma^2 / K, written so that a large rho cancels nothing."""
    urgency = model.risk_aversion * model.variance / model.trading_cost
    return 2 * urgency / (math.sqrt(model.discount**2 + 4 * urgency) + model.discount)


def _newton(
    start: tuple[float, float, float], impact: float, decay: float, discount: float
) -> tuple[float, float, float] | None:
    """The scaled root near ``start``, or None: not reached, or not the one that keeps the objective finite."""
    qq, ql, ll = start
    for _ in range(_NEWTON_STEPS):
        on_position, on_impact = impact - qq + impact * ql, ql + impact * ll
        moved = _solved(
            system_jacobian(on_position, on_impact, impact, decay, discount),
            on_position**2 + discount * qq - (1 + discount),
            (discount + decay) * ql + decay - on_position * on_impact,
            (discount + 2 * decay) * ll - on_impact**2,
        )
        if moved is None:
            return None
        qq, ql, ll = qq - moved[0], ql - moved[1], ll - moved[2]
        if max(abs(moved[0]), abs(moved[1]), abs(moved[2])) < _CONVERGED * (1 + abs(qq) + abs(ql) + abs(ll)):
            stable = _is_transversal(impact - qq + impact * ql, ql + impact * ll, impact, decay, discount)
            return (qq, ql, ll) if stable else None
    return None


def _is_transversal(on_position: float, on_impact: float, impact: float, decay: float, discount: float) -> bool:
    """Whether position and impact grow slower than e^{rho t / 2}: both eigenvalues of the closed loop, less rho / 2,
    lie left of zero."""
    first, last = on_position - discount / 2, impact * on_impact - decay - discount / 2
    return on_position < 0 and first + last < 0 and first * last > impact * on_position * on_impact


def _solved(
    matrix: tuple[tuple[float, float, float], ...], first: float, second: float, third: float
) -> tuple[float, float, float] | None:
    """The 3x3 system by Cramer's rule (three unknowns of order one; a library call would cost more than the rest)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if determinant == 0 or not math.isfinite(determinant):
        return None
    return (
        (first * (e * i - f * h) - b * (second * i - f * third) + c * (second * h - e * third)) / determinant,
        (a * (second * i - f * third) - first * (d * i - f * g) + c * (d * third - second * g)) / determinant,
        (a * (e * third - second * h) - b * (d * third - second * g) + first * (d * h - e * g)) / determinant,
    )


def _with_forecast(model: TradingModel, qq: float, ql: float, ll: float) -> Coefficients:
    """The coefficients of the forecast that belong to those of position and impact: linear in cx."""
    impact, cost = model.impact_per_trade, model.trading_cost
    on_position, on_impact = impact - qq + impact * ql, ql + impact * ll
    position_decay = model.discount + model.signal_decay
    impact_decay = position_decay + model.impact_decay
    on_forecast = (1 / position_decay) / (
        1 - on_position / (cost * position_decay) - impact * on_impact / (cost * impact_decay)
    )
    qx = (1 + on_position * on_forecast / cost) / position_decay
    xl = on_impact * on_forecast / (cost * impact_decay)
    xx = on_forecast**2 / (cost * (model.discount + 2 * model.signal_decay))
    return Coefficients(model, qq, ql, ll, qx, xl, xx, model.signal_variance * xx / (2 * model.discount))
