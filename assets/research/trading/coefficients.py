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
from typing import NamedTuple

from assets.research.bad_input import BadInput

# Newton's steps on one increasing function; bisection alone would be through after as many.
_STEPS = 100
_CONVERGED = 1e-15


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


class VarianceSensitivity(NamedTuple):
    """Derivatives of the coefficients by the variance sigma^2."""

    qq: float
    ql: float
    ll: float
    qx: float
    xl: float
    xx: float


def solve(model: TradingModel) -> Coefficients:
    """The coefficients with positive speed, for which V is the value function (transversality).

    The first three equations reduce to one. With s = -cq / K the speed and c = -cl, the second and third give

        lambda (rho + beta) / (K (rho + 2 beta)) c^2 + (rho + beta + s) c = beta,
        1 + Aql = (rho + s c) / (rho + beta),

    and the first becomes s^2 + rho s + lambda rho (rho + s c(s)) / (K (rho + beta)) = gamma sigma^2 / K. Its left side
    increases with s, so there is one positive root or none; it lies below the speed without impact, where Newton's
    method starts. Nothing needs to be continued in lambda and beta. The forecast's coefficients follow linearly.

    Raises BadInput where there is none, lambda rho^2 / (rho + beta) >= gamma sigma^2: lasting impact so strong against
    risk that pushing the price pays for the position.
    """
    cost, rho, lasting = model.trading_cost, model.discount, model.discount + model.impact_decay
    if model.impact_per_trade * rho**2 / lasting >= model.risk_aversion * model.variance:
        raise BadInput("pushing the price would pay for the position's risk", column="impact_per_trade")
    speed = _speed(model)
    against, _ = _against_impact(model, speed)
    return _with_forecast(
        model,
        cost * speed + model.impact_per_trade * (rho + speed * against) / lasting,
        (speed * against - model.impact_decay) / lasting,
        against**2 / (cost * (lasting + model.impact_decay)),
    )


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


def variance_sensitivity(coefficients: Coefficients) -> VarianceSensitivity:
    """How the coefficients move with the variance, by differentiating the equations of ``solve``."""
    model, speed = coefficients.model, coefficients.speed
    cost, impact, lasting = model.trading_cost, model.impact_per_trade, model.discount + model.impact_decay
    against, per_speed = _against_impact(model, speed)
    faster = model.risk_aversion / (cost * _slope(model, speed, against, per_speed))
    ql = (against + speed * per_speed) * faster / lasting
    ll = 2 * against * per_speed * faster / (cost * (lasting + model.impact_decay))
    of_position, of_impact = -cost * faster, -per_speed * faster

    position_decay = cost * (model.discount + model.signal_decay)
    impact_decay = cost * (lasting + model.signal_decay)
    on_position, on_impact, on_forecast = coefficients.on_position, coefficients.on_impact, coefficients.on_forecast
    of_forecast = (on_forecast * (of_position / position_decay + impact * of_impact / impact_decay)) / (
        1 - on_position / position_decay - impact * on_impact / impact_decay
    )
    return VarianceSensitivity(
        cost * faster + impact * ql,
        ql,
        ll,
        (of_position * on_forecast + on_position * of_forecast) / position_decay,
        (of_impact * on_forecast + on_impact * of_forecast) / impact_decay,
        2 * on_forecast * of_forecast / (cost * (model.discount + 2 * model.signal_decay)),
    )


def _speed_without_impact(model: TradingModel) -> float:
    """The positive root s of s^2 + rho s = gamma sigma^2 / K, written so that a large rho cancels nothing."""
    urgency = model.risk_aversion * model.variance / model.trading_cost
    return 2 * urgency / (math.sqrt(model.discount**2 + 4 * urgency) + model.discount)


def _speed(model: TradingModel) -> float:
    """The root of the increasing function in ``solve``: Newton's steps, halving the bracket where one leaves it."""
    urgency = model.risk_aversion * model.variance / model.trading_cost
    weight = model.impact_per_trade * model.discount / (model.trading_cost * (model.discount + model.impact_decay))
    speed = highest = _speed_without_impact(model)
    lowest = 0.0
    for _ in range(_STEPS):
        against, per_speed = _against_impact(model, speed)
        excess = speed**2 + model.discount * speed + weight * (model.discount + speed * against) - urgency
        lowest, highest = (lowest, speed) if excess > 0 else (speed, highest)
        ahead = speed - excess / _slope(model, speed, against, per_speed)
        if not lowest <= ahead <= highest:
            ahead = (lowest + highest) / 2
        moved, speed = abs(ahead - speed), ahead
        if moved <= _CONVERGED * speed:
            break
    return speed


def _against_impact(model: TradingModel, speed: float) -> tuple[float, float]:
    """c = -cl and dc/ds at ``speed``, from the quadratic in ``solve``; c >= 0: impact that will fade is sold."""
    lasting = model.discount + model.impact_decay
    bent = model.impact_per_trade * lasting / (model.trading_cost * (lasting + model.impact_decay))
    linear = lasting + speed
    spread = math.sqrt(linear**2 + 4 * bent * model.impact_decay)
    against = 2 * model.impact_decay / (linear + spread)
    return against, -against / spread


def _slope(model: TradingModel, speed: float, against: float, per_speed: float) -> float:
    """Derivative by the speed of the increasing function in ``solve``."""
    weight = model.impact_per_trade * model.discount / (model.trading_cost * (model.discount + model.impact_decay))
    return 2 * speed + model.discount + weight * (against + speed * per_speed)


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
