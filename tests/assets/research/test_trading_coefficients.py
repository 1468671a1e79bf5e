"""The value function's coefficients against independent routes to the same numbers: published-scale values, discrete
dynamic programming, the Lyapunov equation of the closed loop, and Monte Carlo."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from assets.research.bad_input import BadInput
from assets.research.trading.coefficients import Coefficients, TradingModel, small_impact, solve, without_impact

BASE = TradingModel(
    variance=0.2, risk_aversion=5.0, trading_cost=1.0, discount=0.2, signal_decay=1.0, signal_variance=1.0,
    impact_per_trade=0.0, impact_decay=0.0,
)  # fmt: skip
IMPACTED = replace(BASE, impact_per_trade=0.1, impact_decay=0.1)
# lambda, beta: Aqq, Aql, All, Aqx, Axl, Axx, A0 to eight decimals, then speed and both aim coefficients to six.
TABLE = {
    (0.0, 0.0): (0.90498756, 0, 0, 0.47506219, 0, 0.10258367, 0.25645919, 0.904988, 0, 0.524938),
    (0.1, 0.1): (0.98734862, -0.08491927, 0.01730109, 0.47843585, -0.03042123, 0.10272691, 0.25681727,
                 0.895841, -0.092862, 0.530668),
    (0.01, 0.01): (0.91391118, -0.00897962, 0.00036622, 0.47530010, -0.00352559, 0.10267121, 0.25667803,
                   0.904001, -0.009929, 0.525735),
    (0.5, 0.1): (1.31237511, -0.09283526, 0.01764530, 0.49214740, -0.03080953, 0.10331070, 0.25827675,
                 0.858793, -0.097826, 0.555131),
}  # fmt: skip


def impacted(impact: float, decay: float) -> TradingModel:
    return replace(BASE, impact_per_trade=impact, impact_decay=decay)


def columns(found: Coefficients) -> tuple[float, ...]:
    return (
        found.qq, found.ql, found.ll, found.qx, found.xl, found.xx, found.constant,
        found.speed, found.aim_per_impact, found.aim_per_forecast,
    )  # fmt: skip


def random_models(count: int) -> list[TradingModel]:
    """Models over many orders of magnitude, impact kept below where the objective stops being concave."""
    rng = np.random.default_rng(7162)
    models = []
    for _ in range(count):
        variance, aversion, cost, discount, decay, innovation = (10 ** rng.uniform(-3, 1, 6)).tolist()
        impact = float(rng.uniform(0, 0.9)) * aversion * variance / discount
        fading = float(10 ** rng.uniform(-3, 2))
        models.append(TradingModel(variance, aversion, cost, discount, decay, innovation, impact, fading))
    return models


@pytest.mark.parametrize("impact", TABLE)
def test_coefficients_are_the_published_ones(impact):
    found, expected = columns(solve(impacted(*impact))), TABLE[impact]
    # Eight and six printed decimals: half a unit of the last one is all that may differ.
    assert np.abs(np.subtract(found[:7], expected[:7])).max() <= 0.51e-8
    assert np.abs(np.subtract(found[7:], expected[7:])).max() <= 0.51e-6


@pytest.mark.parametrize("model", [impacted(*impact) for impact in TABLE] + random_models(60))
def test_the_seven_equations_hold(model):
    found, cost = solve(model), model.trading_cost
    rho, beta, kappa = model.discount, model.impact_decay, model.signal_decay
    cq, cl, cx = found.on_position, found.on_impact, found.on_forecast
    sides = [
        (cq**2 / cost, model.risk_aversion * model.variance, -rho * found.qq),
        ((rho + beta) * found.ql, -beta, cq * cl / cost),
        ((rho + 2 * beta) * found.ll, cl**2 / cost, 0.0),
        ((rho + kappa) * found.qx, 1.0, cq * cx / cost),
        ((rho + beta + kappa) * found.xl, cl * cx / cost, 0.0),
        ((rho + 2 * kappa) * found.xx, cx**2 / cost, 0.0),
        (found.constant, model.signal_variance * found.xx / (2 * rho), 0.0),
    ]
    for left, first, second in sides:
        assert abs(left - first - second) <= 1e-9 * max(abs(left), abs(first), abs(second))


@pytest.mark.parametrize("model", random_models(60))
def test_the_root_is_the_transversal_one(model):
    matrix, _ = closed_loop(model, feedback(solve(model)))
    assert np.linalg.eigvals(matrix).real.max() < model.discount / 2
    assert solve(model).speed > 0


def test_without_impact_the_solver_and_the_closed_form_agree():
    for model in random_models(20):
        bare = replace(model, impact_per_trade=0.0, impact_decay=0.0)
        assert columns(solve(bare)) == pytest.approx(columns(without_impact(model)), rel=1e-12)


def test_units_of_time_and_money_do_not_matter():
    """A day of 24 hours, capital in cents: rates and aims scale, what is done and earned in a day does not."""
    hours, cents = 24.0, 100.0
    daily = solve(IMPACTED)
    # Money m -> 100 m in q; times t -> 24 t. Rewards are invariant: x q dt, K u^2 dt, gamma sigma^2 q^2 dt.
    hourly = solve(
        TradingModel(
            variance=IMPACTED.variance / hours,
            risk_aversion=IMPACTED.risk_aversion / cents**2,
            trading_cost=IMPACTED.trading_cost * hours / cents**2,
            discount=IMPACTED.discount / hours,
            signal_decay=IMPACTED.signal_decay / hours,
            signal_variance=IMPACTED.signal_variance / hours**3 / cents**2,
            impact_per_trade=IMPACTED.impact_per_trade / cents**2,
            impact_decay=IMPACTED.impact_decay / hours,
        )
    )
    assert hourly.speed * hours == pytest.approx(daily.speed, rel=1e-12)
    aim = hourly.aim(0.3 / cents, 0.7 / hours / cents)
    assert aim / cents == pytest.approx(daily.aim(0.3, 0.7), rel=1e-12)
    value = hourly.value(0.4 * cents, 0.3 / cents, 0.7 / hours / cents)
    assert value == pytest.approx(daily.value(0.4, 0.3, 0.7), rel=1e-12)


def test_the_small_impact_form_errs_by_second_order():
    def error(scale: float) -> np.ndarray:
        model = impacted(0.1 * scale, 0.1 * scale)
        return np.subtract(columns(solve(model))[:7], columns(small_impact(model))[:7])

    assert error(1.0)[0] == pytest.approx(-7.7e-3, rel=0.01)
    assert error(0.1)[0] == pytest.approx(-8.1e-5, rel=0.01)
    # A tenth of the impact, a hundredth of the error, in every coefficient (those of third order do better).
    assert (np.abs(error(0.001)) <= np.abs(error(0.01)) / 90 + 1e-13).all()


def test_costless_patient_trading_aims_at_markowitz():
    model = replace(BASE, trading_cost=1e-8, discount=1e-3, signal_decay=0.0)
    assert solve(model).aim_per_forecast == pytest.approx(1 / (model.risk_aversion * model.variance), rel=1e-3)


def test_without_risk_aversion_the_rate_forgets_the_position():
    rate = solve(replace(BASE, risk_aversion=1e-10)).rate(3.0, 0.0, 0.7)
    assert rate == pytest.approx(0.7 / (BASE.trading_cost * (BASE.discount + BASE.signal_decay)), rel=1e-6)


def test_impact_that_is_gone_at_once_does_not_matter():
    found = solve(impacted(0.1, 1e7))
    assert found.speed == pytest.approx(solve(BASE).speed, rel=1e-6)
    assert found.aim_per_forecast == pytest.approx(solve(BASE).aim_per_forecast, rel=1e-6)


def test_discrete_dynamic_programming_reaches_the_same_value():
    """Value iteration of the discretised control problem at two step sizes, extrapolated to zero."""
    coarse, fine = value_iteration(IMPACTED, 0.004), value_iteration(IMPACTED, 0.002)
    found = solve(IMPACTED)
    exact = np.array([[-found.qq, found.ql, found.qx], [found.ql, found.ll, found.xl], [found.qx, found.xl, found.xx]])
    # Second order in the step and the iteration's tail remain.
    assert np.abs(2 * fine - coarse - exact).max() <= 5e-6


def value_iteration(model: TradingModel, dt: float) -> np.ndarray:
    """Fixed point P of V(s) = s'Ps/2 for s = (q, l, x) under an Euler step and a free rate u."""
    keep = math.exp(-model.discount * dt)
    move = np.eye(3) - dt * np.diag([0.0, model.impact_decay, model.signal_decay])
    push = dt * np.array([1.0, model.impact_per_trade, 0.0])
    reward = dt * np.array(
        [[-model.risk_aversion * model.variance, -model.impact_decay, 1.0], [-model.impact_decay, 0, 0], [1.0, 0, 0]]
    )
    cross = dt * np.array([model.impact_per_trade, 0.0, 0.0])
    start = without_impact(model)
    value = np.array([[-start.qq, 0, start.qx], [0, 0, 0], [start.qx, 0, start.xx]])
    for _ in range(int(50 / dt)):
        ahead = value @ move
        gain = cross + keep * push @ ahead
        curvature = model.trading_cost * dt - keep * push @ value @ push
        value = reward + keep * move.T @ ahead + np.outer(gain, gain) / curvature
    return value


def feedback(found: Coefficients) -> np.ndarray:
    return np.array([found.on_position, found.on_impact, found.on_forecast]) / found.model.trading_cost


def closed_loop(model: TradingModel, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drift of (q, l, x) and the running reward's matrix R (reward = s'Rs/2) under u = gains . s."""
    drift = np.array([gains, model.impact_per_trade * gains, np.zeros(3)])
    drift -= np.diag([0.0, model.impact_decay, model.signal_decay])
    position, impact, forecast = np.eye(3)
    moved = forecast + model.impact_per_trade * gains - model.impact_decay * impact
    reward = np.outer(position, moved) + np.outer(moved, position) - model.trading_cost * np.outer(gains, gains)
    return drift, reward - model.risk_aversion * model.variance * np.outer(position, position)


def policy_value(model: TradingModel, gains: np.ndarray, state: np.ndarray) -> float:
    """The discounted objective of any linear feedback, exactly: its Lyapunov equation."""
    drift, reward = closed_loop(model, gains)
    shifted = drift - model.discount / 2 * np.eye(3)
    matrix = scipy.linalg.solve_continuous_lyapunov(shifted.T, -reward)
    return float(state @ matrix @ state / 2 + model.signal_variance * matrix[2, 2] / (2 * model.discount))


STATE = np.array([0.8, -0.3, 0.9])


@pytest.mark.parametrize("impact", TABLE)
def test_the_value_is_what_the_feedback_earns(impact):
    model = impacted(*impact)
    found = solve(model)
    assert found.value(*STATE) == pytest.approx(policy_value(model, feedback(found), STATE), rel=1e-9)
    assert found.rate(*STATE) == pytest.approx(found.speed * (found.aim(*STATE[1:]) - STATE[0]), rel=1e-12)


@pytest.mark.parametrize("impact", TABLE)
def test_any_other_linear_feedback_earns_less(impact):
    model = impacted(*impact)
    gains, best = feedback(solve(model)), solve(model).value(*STATE)
    rng = np.random.default_rng(1)
    directions = [*np.eye(3), *-np.eye(3), *rng.normal(size=(20, 3))]
    for direction in directions:
        small, large = (best - policy_value(model, gains + size * direction, STATE) for size in (1e-3, 1e-1))
        assert small > 0
        assert large > 100 * small


def test_monte_carlo_of_the_objective_agrees_with_the_value():
    """3,000 paths over 40 units of time (e^{-8} of the value is beyond) at dt = 0.02; four standard errors, and the
    same noise for a perturbed feedback, which must earn significantly less."""
    found = solve(IMPACTED)
    gains = feedback(found)
    best = simulate(IMPACTED, gains)
    error = best.std() / math.sqrt(best.size)
    tail = math.exp(-IMPACTED.discount * 40) * found.constant
    assert abs(best.mean() + tail - found.value(*STATE)) <= 4 * error
    assert error < 0.02

    lost = best - simulate(IMPACTED, gains * np.array([1.5, 1.0, 0.7]))
    assert lost.mean() > 4 * lost.std() / math.sqrt(lost.size)


def simulate(model: TradingModel, gains: np.ndarray) -> np.ndarray:
    """Discounted objective of each path: exact forecast steps, midpoint position and impact, trapezoid in time."""
    rng, paths, dt = np.random.default_rng(162), 3000, 0.02
    fade = math.exp(-model.signal_decay * dt)
    shock = math.sqrt(model.signal_variance * (1 - fade**2) / (2 * model.signal_decay))
    position, impact, forecast = (np.full(paths, value) for value in STATE)
    total, before = np.zeros(paths), None
    for step in range(int(40 / dt) + 1):
        rate = gains[0] * position + gains[1] * impact + gains[2] * forecast
        reward = math.exp(-model.discount * step * dt) * (
            position * (forecast + model.impact_per_trade * rate - model.impact_decay * impact)
            - model.risk_aversion * model.variance * position**2 / 2
            - model.trading_cost * rate**2 / 2
        )
        if before is not None:
            total += dt * (before + reward) / 2
        before = reward
        ahead = fade * forecast + shock * rng.standard_normal(paths)
        middle = (
            gains[0] * (position + dt / 2 * rate)
            + gains[1] * (impact + dt / 2 * (model.impact_per_trade * rate - model.impact_decay * impact))
            + gains[2] * (forecast + ahead) / 2
        )
        mean_impact = impact + dt / 2 * (model.impact_per_trade * rate - model.impact_decay * impact)
        position = position + dt * middle
        impact = impact + dt * (model.impact_per_trade * middle - model.impact_decay * mean_impact)
        forecast = ahead
    return total


def test_impact_that_would_pay_for_itself_is_refused():
    # With impact that never fades, lambda rho = gamma sigma^2 is where pushing the price becomes free.
    assert solve(impacted(4.99, 0.0)).speed > 0
    with pytest.raises(BadInput, match="pushing the price") as refused:
        solve(impacted(5.01, 0.0))
    assert refused.value.column == "impact_per_trade"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("variance", 0.0), ("variance", math.nan), ("risk_aversion", -1.0), ("trading_cost", 0.0), ("discount", 0.0),
        ("signal_decay", -0.1), ("signal_variance", math.inf), ("impact_per_trade", -0.1), ("impact_decay", math.nan),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_meant_is_refused(name, value):
    with pytest.raises(BadInput) as refused:
        replace(BASE, **{name: value})
    assert refused.value.column == name
