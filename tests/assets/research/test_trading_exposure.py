"""From bias to exposure: units, the exact step, cap, half step, and a calibration that asks for sane exposures."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

from assets.research.bad_input import BadInput
from assets.research.trading.coefficients import TradingModel, solve
from assets.research.trading.corrections import (
    FastFactor,
    SlowFactor,
    estimate_fast_factor,
    fast_correction,
    slow_correction,
)
from assets.research.trading.exposure import (
    HALF_STEP_RATIO,
    Execution,
    ForecastScale,
    Preferences,
    calibrate_model,
    estimate_scale,
    forecast_of,
    half_added,
    is_turbulent,
    plan_step,
    stance,
)
from resources.settings import Settings

DAILY_VARIANCE = 0.025**2
SCALE = ForecastScale(return_per_day=0.001, decay=0.2, innovation_variance=1e-7, days=300)
PREFERENCES = Preferences(
    full_return=0.001, full_exposure=1.0, unit_trade_cost=0.0005, impact_per_trade=5e-4, impact_decay=1.0,
    discount=0.001,
)  # fmt: skip
MODEL = TradingModel(
    variance=DAILY_VARIANCE, risk_aversion=1.3, trading_cost=0.001, discount=0.001, signal_decay=0.2,
    signal_variance=1e-7, impact_per_trade=2e-5, impact_decay=1.0,
)  # fmt: skip
STATE = {"position": 0.2, "impact": 0.0, "bias": 0.8, "variance": DAILY_VARIANCE}


def execution(model: TradingModel = MODEL, **changes) -> Execution:
    plain = Execution(solve(model), SCALE, cap=1.5, fast=None, slow=None, half_step_ratio=None)
    return replace(plain, **changes)


def returns(days: int = 400, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.025, days)


@pytest.mark.parametrize(
    ("bias", "side"),
    [
        (1, "LONG"),
        (0.2, "LONG"),
        (0.1999, "NEUTRAL"),
        (0, "NEUTRAL"),
        (-0.1999, "NEUTRAL"),
        (-0.2, "SHORT"),
        (-1, "SHORT"),
    ],
)
def test_a_bias_below_the_threshold_forecasts_nothing(bias, side):
    assert stance(bias) == side
    assert forecast_of(bias, SCALE) == (0 if side == "NEUTRAL" else bias * 0.001)


@pytest.mark.parametrize("bias", [1.01, -1.01, math.nan])
def test_a_bias_beyond_one_is_refused(bias):
    with pytest.raises(BadInput) as refused:
        stance(bias)
    assert refused.value.column == "bias"


def test_a_step_closes_its_share_of_the_distance():
    plan = execution(replace(MODEL, impact_per_trade=0.0, impact_decay=0.0))
    found = plan_step(plan, **STATE)
    speed, aim = plan.coefficients.speed, plan.coefficients.aim(0.0, 0.0008)
    assert (found.target, found.speed) == (pytest.approx(aim), speed)
    assert found.planned == pytest.approx(aim + (0.2 - aim) * math.exp(-speed))
    assert found.rate == pytest.approx(found.planned - 0.2)
    assert (found.stance, found.forecast) == ("LONG", pytest.approx(0.0008))
    assert (found.fast_correction, found.slow_correction, found.half_step) == (0, 0, False)


def test_short_steps_lead_along_the_continuous_closed_loop():
    """Against the matrix exponential of (q, l) with the forecast held: the error shrinks with the step."""
    plan = execution(replace(MODEL, impact_per_trade=5e-4))
    model, found = plan.coefficients.model, plan.coefficients
    gains = np.array([found.on_position, found.on_impact, found.on_forecast * 0.0008]) / model.trading_cost
    flow = np.array([gains, model.impact_per_trade * gains - [0, model.impact_decay, 0], np.zeros(3)])
    exact = (scipy.linalg.expm(flow) @ [0.2, 1e-3, 1.0])[:2]

    def error(steps: int) -> np.ndarray:
        position, impact = 0.2, 1e-3
        for _ in range(steps):
            step = plan_step(plan, **STATE | {"position": position, "impact": impact}, days=1 / steps)
            position, impact = step.planned, step.impact_after
        return np.abs([position, impact] - exact)

    assert (error(400) < error(200) * 0.6).all()
    assert (error(400) < [1e-3, 1e-6]).all()


def test_mirrored_states_make_mirrored_plans():
    plan = execution(fast=FastFactor(0.3, 1.0), half_step_ratio=HALF_STEP_RATIO)
    state = STATE | {"impact": 1e-4, "variance": 2 * DAILY_VARIANCE}
    found = plan_step(plan, **state)
    mirrored = plan_step(plan, **state | {"position": -0.2, "impact": -1e-4, "bias": -0.8})
    for name in ("target", "planned", "rate", "impact_after", "fast_correction", "forecast"):
        assert getattr(mirrored, name) == pytest.approx(-getattr(found, name))
    assert mirrored.speed == found.speed


def test_a_neutral_bias_leaves_the_position_gradually():
    found = plan_step(execution(), **STATE | {"bias": 0.1})
    assert found.target == 0
    assert 0 < found.planned < 0.2


def test_the_cap_holds_for_aim_and_exposure():
    plan = execution(cap=0.5)
    assert plan_step(plan, **STATE | {"bias": 1.0}).target == 0.5
    assert plan_step(plan, **STATE | {"bias": 1.0}, days=100.0).planned == pytest.approx(0.5)
    assert plan_step(plan, **STATE | {"position": 0.9, "bias": 1.0}).planned == 0.5
    assert plan_step(plan, **STATE | {"position": -0.9, "bias": -1.0}).planned == -0.5


def test_high_variance_trades_faster_towards_a_smaller_aim():
    plan = execution(fast=FastFactor(0.3, 1.0))
    calm, wild = plan_step(plan, **STATE), plan_step(plan, **STATE | {"variance": 3 * DAILY_VARIANCE})
    assert calm.fast_correction == 0
    assert wild.speed > calm.speed
    assert 0 < wild.target < calm.target
    assert wild.fast_correction == fast_correction(plan.coefficients, FastFactor(0.3, 1.0), 3 * DAILY_VARIANCE, 0.2)


def test_the_slow_correction_shifts_the_aim_and_not_the_speed():
    plain = execution()
    factor = SlowFactor(1.0, 1e-4, -0.5, 1.0)
    shifted = execution(slow=factor)
    before, after = plan_step(plain, **STATE), plan_step(shifted, **STATE)
    assert after.speed == before.speed
    assert after.slow_correction == slow_correction(plain.coefficients, factor).rate != 0
    assert after.target - before.target == pytest.approx(after.slow_correction / after.speed)


def test_impact_pushes_the_aim_away_from_it():
    with_impact = plan_step(execution(), **STATE | {"impact": 1e-3})
    assert with_impact.target < plan_step(execution(), **STATE).target


def test_the_half_step_halves_what_is_added_in_turbulence_and_is_off_unless_asked_for():
    turbulent = STATE | {"variance": 1.21**2 * DAILY_VARIANCE}
    plain, overlaid = execution(), execution(half_step_ratio=HALF_STEP_RATIO)
    full, half = plan_step(plain, **turbulent), plan_step(overlaid, **turbulent)
    assert (full.half_step, half.half_step) == (False, True)
    assert half.planned - 0.2 == pytest.approx((full.planned - 0.2) / 2)
    assert half.rate == pytest.approx(full.rate / 2)
    assert half.impact_after == pytest.approx(full.impact_after / 2)
    calm = STATE | {"variance": 1.19**2 * DAILY_VARIANCE}
    assert plan_step(overlaid, **calm) == plan_step(plain, **calm)


def test_turbulence_compares_volatility_with_volatility():
    # A variance 1.3 times the long-run one is a volatility 1.14 times: no turbulence.
    assert not is_turbulent(1.3 * DAILY_VARIANCE, DAILY_VARIANCE)
    assert is_turbulent(1.5 * DAILY_VARIANCE, DAILY_VARIANCE)


@pytest.mark.parametrize(
    ("position", "planned", "expected"),
    [(0.2, 0.6, 0.4), (0.6, 0.2, 0.2), (-0.2, -0.6, -0.4), (0.2, -0.6, -0.3), (0.0, 0.5, 0.25), (0.5, 0.0, 0.0)],
)
def test_the_half_step_never_slows_a_reduction(position, planned, expected):
    assert half_added(position, planned) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "column"),
    [({"position": math.nan}, "position"), ({"impact": math.inf}, "impact"), ({"variance": -1.0}, "variance"),
     ({"bias": 2.0}, "bias"), ({"days": 0.0}, "days")],
)  # fmt: skip
def test_a_state_that_cannot_be_meant_is_refused(change, column):
    with pytest.raises(BadInput) as refused:
        plan_step(execution(), **STATE | change)
    assert refused.value.column == column


def test_full_bias_in_calm_markets_aims_at_the_full_exposure():
    bare = replace(PREFERENCES, impact_per_trade=0.0)
    for exposure in (0.5, 1.0, 2.0):
        model = calibrate_model(returns(), SCALE, replace(bare, full_exposure=exposure))
        assert solve(model).aim(0.0, 0.001) == pytest.approx(exposure, rel=1e-12)
        assert model.trading_cost == 0.001
        assert model.variance == returns().var()
    # Impact of 5 bp for the whole capital takes a few per cent off.
    impacted = calibrate_model(returns(), SCALE, PREFERENCES)
    assert 0.95 < solve(impacted).aim(0.0, 0.001) < 1.0


def test_the_calibrated_speed_is_one_a_daily_desk_can_trade():
    assert 0.2 < solve(calibrate_model(returns(), SCALE, PREFERENCES)).speed < 3


def test_a_bias_that_turned_out_weaker_is_held_smaller():
    weak = replace(SCALE, return_per_day=0.0005)
    found = solve(calibrate_model(returns(), weak, PREFERENCES))
    assert found.aim(0.0, forecast_of(1.0, weak)) == pytest.approx(0.5, rel=0.05)


def past(days: int, worth: float, lasting: float = 0.8, noise: float = 0.025):
    rng = np.random.default_rng(11)
    biases = np.zeros(days)
    for day in range(1, days):
        biases[day] = lasting * biases[day - 1] + 0.2 * rng.normal()
    biases = np.clip(biases, -1, 1)
    return biases, worth * biases + noise * rng.normal(size=days)


def test_the_worth_of_a_bias_is_found():
    biases, following = past(20_000, 0.004)
    found = estimate_scale(biases, following, full_return=0.001, prior_days=0)
    # Standard error of the slope: noise / sqrt(sum of squared biases).
    error = 0.025 / math.sqrt(float(biases @ biases))
    assert abs(found.return_per_day - 0.004) <= 4 * error
    assert found.decay == pytest.approx(-math.log(0.8), rel=0.1)
    variance = found.return_per_day**2 * biases.var()
    assert found.innovation_variance == pytest.approx(2 * found.decay * variance)
    assert found.days == 20_000


def test_the_prior_counts_as_that_many_days_at_full_bias():
    biases, following = past(100, 0.01)
    found = estimate_scale(biases, following, full_return=0.001, prior_days=90)
    seen, returned = np.append(biases, np.ones(90)), np.append(following, np.full(90, 0.001))
    assert found.return_per_day == pytest.approx(float(seen @ returned) / float(seen @ seen), rel=1e-12)


@pytest.mark.parametrize("days", [60, 2000])
def test_hardly_any_bias_says_hardly_anything_however_long_it_lasts(days):
    """A line through the origin alone would make 10 a day of it: a return of 1 % at a bias of 0.001."""
    found = estimate_scale(np.full(days, 1e-3), np.full(days, 0.01), full_return=0.001, prior_days=90)
    assert found.return_per_day == pytest.approx(0.001, rel=days * 1e-3 * 0.01 / (90 * 0.001) + 1e-6)
    against = estimate_scale(np.full(days, 1e-3), np.full(days, -0.01), full_return=0.001, prior_days=90)
    assert 0 < against.return_per_day < 0.001


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("strength", [0.01, 0.3])
def test_returns_that_a_bias_says_nothing_about_leave_the_scale_near_the_promise(seed, strength):
    draw = np.random.default_rng(seed)
    biases, following = np.clip(draw.normal(0, strength, 90), -1, 1), draw.normal(0, 0.025, 90)
    found = estimate_scale(biases, following, full_return=0.001, prior_days=90)
    # sum b r has a standard error of noise * sqrt(sum b^2); the promise itself shrinks towards the truth, which is 0.
    weighed = float(biases @ biases)
    centre, error = 90 * 0.001 / (weighed + 90), 0.025 * math.sqrt(weighed) / (weighed + 90)
    assert max(centre - 4 * error, 0) <= found.return_per_day <= centre + 4 * error


def test_strong_evidence_moves_the_scale_to_the_truth():
    draw = np.random.default_rng(3)
    biases = draw.choice([-1.0, 1.0], 9000)
    following = 0.004 * biases + draw.normal(0, 0.01, 9000)
    found = estimate_scale(biases, following, full_return=0.001, prior_days=90)
    # 4 standard errors of the slope, and the 1 % that the prior still counts for.
    assert abs(found.return_per_day - 0.004) <= 4 * 0.01 / math.sqrt(9000) + 0.003 * 90 / 9090


def test_a_bias_that_was_wrong_is_worth_nothing():
    biases, following = past(400, -0.05, noise=1e-3)
    found = estimate_scale(biases, following, full_return=0.001, prior_days=100)
    assert (found.return_per_day, found.innovation_variance) == (0, 0)
    plan = execution(solve_model := calibrate_model(returns(), found, PREFERENCES), scale=found)
    assert solve_model.signal_variance == 0
    assert plan_step(plan, **STATE | {"bias": 1.0}).target == 0


@pytest.mark.parametrize(
    ("series", "half_life"), [(np.full(100, 0.5), 90), (np.where(np.arange(100) % 2, 0.5, -0.5), 0.25)]
)
def test_decay_stays_within_what_a_daily_desk_can_tell(series, half_life):
    found = estimate_scale(series, np.zeros(100), full_return=0.001, prior_days=100)
    assert found.decay == pytest.approx(math.log(2) / half_life)


@pytest.mark.parametrize(
    ("call", "column"),
    [
        (lambda: estimate_scale(np.full(59, 0.1), np.zeros(59), full_return=0.001, prior_days=9), "biases"),
        (lambda: estimate_scale(np.full(60, 0.1), np.zeros(61), full_return=0.001, prior_days=9), "next_returns"),
        (lambda: estimate_scale(np.full(60, 1.1), np.zeros(60), full_return=0.001, prior_days=9), "biases"),
        (lambda: estimate_scale(np.zeros(60), np.zeros(60), full_return=0.001, prior_days=9), "biases"),
        (lambda: calibrate_model(np.zeros(60), SCALE, PREFERENCES), "daily_returns"),
        (lambda: calibrate_model(np.array([0.1] * 60 + [math.nan]), SCALE, PREFERENCES), "daily_returns"),
        (lambda: replace(PREFERENCES, full_exposure=0.0), "full_exposure"),
        (lambda: execution(cap=0.0), "cap"),
        (lambda: execution(fast=FastFactor(2.0, 1.0)), "timescale"),
    ],
)
def test_histories_and_preferences_that_cannot_be_meant_are_refused(call, column):
    with pytest.raises(BadInput) as refused:
        call()
    assert refused.value.column == column


BARS = Settings().test_data / "bars_1h" / "perp"


@pytest.mark.real_data
@pytest.mark.skipif(not BARS.is_dir(), reason=f"no recorded hourly bars in {BARS}")
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_recorded_markets_give_exposures_of_order_one(symbol):
    """Every year of recorded bars: full bias in calm markets aims near the full exposure, turbulence aims lower."""
    closes = pd.read_parquet(BARS / f"{symbol}.parquet").set_index("timestamp_utc")["close"]
    hourly = np.log(closes).diff().dropna()
    for year in range(2020, 2025):
        within = hourly[hourly.index.year == year]
        realised = (within**2).resample("1D").sum().to_numpy()
        daily = within.resample("1D").sum().to_numpy()
        model = calibrate_model(daily, SCALE, PREFERENCES)
        found = solve(model)
        plan = execution(model, fast=estimate_fast_factor(realised, found))
        assert found.aim(0.0, 0.001) == pytest.approx(1.0, rel=0.05)
        assert 0.2 < found.speed < 3
        assert 0.05 < model.risk_aversion < 10
        aims = [
            plan_step(plan, position=0.5, impact=0.0, bias=1.0, variance=variance).target
            for variance in np.quantile(realised, (0.05, 0.5, 0.99))
        ]
        assert aims == sorted(aims, reverse=True)
        assert 0.05 < aims[-1] < 0.9
