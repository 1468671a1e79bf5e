"""Leaving a position: exact values where they exist, agreement of both methods, and the limits that always hold.

Seeds are fixed; an estimate is compared within 3.3 of its standard errors.
"""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.stopping.exits import ExitConfig, ExitRule, Method, train_exit_rule
from assets.research.stopping.problems import PositionExit, PositionState

ERRORS = 3.3
MODEL = PositionExit(
    log_vol_mean=float(np.log(0.03)),
    log_vol_persistence=0.9,
    vol_of_log_vol=0.25,
    forecast_mean=0.0,
    forecast_persistence=0.8,
    forecast_noise=0.0015,
    correlation=-0.2,
    risk_aversion=4.0,
    funding=0.0002,
    exit_cost=0.0005,
    hard_stop=0.10,
)
# Constant volatility and no loss limit: the forecast alone decides, and backward induction over it is exact.
PLAIN = replace(MODEL, vol_of_log_vol=0.0, hard_stop=100.0, correlation=0.0)
QUICK = {"paths": 1 << 14, "continuation_paths": 1 << 14, "outer": 96, "inner": 128}
DEEP = ExitConfig("deep", first_steps=200, steps=60, **QUICK)
REGRESSION = ExitConfig("longstaff_schwartz", **QUICK)
METHODS: list[Method] = ["deep", "longstaff_schwartz"]


@pytest.fixture(scope="module")
def rules() -> dict[str, ExitRule]:
    return {config.method: train_exit_rule(MODEL, config, seed=1) for config in (DEEP, REGRESSION)}


@pytest.fixture(scope="module")
def plain() -> dict[str, ExitRule]:
    return {config.method: train_exit_rule(PLAIN, config, seed=1) for config in (DEEP, REGRESSION)}


def exact_value(day: int, forecast: float) -> float:
    """What stopping PLAIN well pays beyond leaving now, by Gauss-Hermite quadrature over the forecast alone."""
    grid = np.linspace(-0.02, 0.02, 4001)
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    charge = PLAIN.risk_aversion / 2 * 0.03**2 + PLAIN.funding
    following = grid[:, None] * PLAIN.forecast_persistence + PLAIN.forecast_noise * points
    value = np.zeros_like(grid)
    for _ in range(PLAIN.dates - day):
        value = np.maximum(0, grid - charge + np.interp(following, grid, value) @ weights)
    return float(np.interp(forecast, grid, value))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("day", "forecast"), [(0, 0.001), (0, 0.004), (3, 0.002), (6, 0.003), (2, -0.002)])
def test_bounds_enclose_the_exact_value(method: Method, day: int, forecast: float, plain: dict[str, ExitRule]):
    decision = plain[method].decide(day, PositionState(0.01, 0.03, forecast))
    exact = decision.stop_value + exact_value(day, forecast)
    assert decision.lower <= exact + ERRORS * decision.lower_error + 1e-9
    assert decision.upper >= exact - ERRORS * decision.upper_error - 1e-9
    # Not only valid but close: a twentieth of a day's volatility at most.
    assert decision.lower >= exact - ERRORS * decision.lower_error - 0.0003
    assert decision.upper <= exact + ERRORS * decision.upper_error + 0.0003


@pytest.mark.parametrize(("drift", "stops"), [(0.004, False), (-0.001, True)])
def test_with_a_certain_forecast_one_holds_to_the_end_or_leaves_at_once(drift: float, stops: bool):
    certain = replace(PLAIN, forecast_mean=drift, forecast_noise=0.0)
    rule = train_exit_rule(certain, REGRESSION, seed=1)
    decision = rule.decide(0, PositionState(0.0, 0.03, drift))
    assert decision.stop is stops
    exact = max(0.0, 7 * (drift - 2 * 0.0009 - 0.0002)) - 0.0005
    assert decision.lower == pytest.approx(exact, abs=ERRORS * decision.lower_error + 1e-7)


def test_both_methods_value_positions_alike(rules: dict[str, ExitRule]):
    for day, position in [
        (0, PositionState(0.0, 0.03, 0.003)),
        (3, PositionState(0.02, 0.02, 0.001)),
        (4, PositionState(-0.04, 0.04, 0.004)),
    ]:
        ours, theirs = (rules[method].decide(day, position) for method in METHODS)
        error = np.hypot(ours.lower_error, theirs.lower_error)
        assert ours.lower == pytest.approx(theirs.lower, abs=ERRORS * error + 0.0003)
        for decision in (ours, theirs):
            spread = ERRORS * np.hypot(decision.lower_error, decision.upper_error)
            assert decision.lower <= decision.upper + spread


def test_both_methods_mostly_decide_alike(rules: dict[str, ExitRule]):
    random = np.random.default_rng(7)
    count = 4000
    for date in (1, 3, 6):
        state = np.column_stack(
            [
                random.normal(0, 0.03, count),
                np.zeros(count),
                np.zeros(count),
                MODEL.log_vol_mean + random.normal(0, 0.5, count),
                random.normal(0, 0.0025, count),
            ]
        ).astype(np.float32)
        payoff = MODEL.payoff(state, date)
        ours, theirs = (rules[method].policy.stops(date, state, payoff) for method in METHODS)
        assert 0.1 < ours.mean() < 0.9
        assert (ours == theirs).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_clear_case_is_decided_clearly(method: Method, rules: dict[str, ExitRule]):
    kept = rules[method].decide(1, PositionState(0.01, 0.02, 0.006))
    left = rules[method].decide(1, PositionState(0.01, 0.05, -0.006))
    assert (kept.stop, left.stop) == (False, True)
    assert kept.confidence > 0.9
    assert left.confidence > 0.9
    assert kept.lower == kept.continuation
    assert left.lower == left.stop_value
    assert (kept.reason, kept.day, kept.days_max) == ("rule", 1, 7)


@pytest.mark.parametrize("method", METHODS)
def test_confidence_is_between_nought_and_one(method: Method, rules: dict[str, ExitRule]):
    seen = [
        rules[method].decide(6, PositionState(0.0, 0.03, forecast)).confidence
        for forecast in np.linspace(-0.003, 0.006, 7)
    ]
    assert all(0 <= confidence <= 1 for confidence in seen)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("day", [7, 8])
def test_the_last_day_always_stops(method: Method, day: int, rules: dict[str, ExitRule]):
    decision = rules[method].decide(day, PositionState(0.05, 0.02, 0.01))
    assert (decision.stop, decision.reason, decision.confidence) == (True, "day_limit", 1.0)
    assert decision.continuation is None
    assert decision.lower == decision.upper == decision.stop_value


@pytest.mark.parametrize("method", METHODS)
def test_the_hard_stop_always_stops(method: Method, rules: dict[str, ExitRule]):
    decision = rules[method].decide(2, PositionState(-0.12, 0.02, 0.01))
    assert (decision.stop, decision.reason, decision.continuation) == (True, "hard_stop", None)


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_rule_decides_the_same(method: Method, rules: dict[str, ExitRule]):
    content = rules[method].to_bytes()
    restored = ExitRule.from_bytes(content)
    position = PositionState(0.01, 0.03, 0.002)
    assert restored.decide(3, position) == rules[method].decide(3, position)
    assert restored.to_bytes() == content


def test_a_stored_rule_decides_without_the_training_library(rules: dict[str, ExitRule]):
    code = (
        "import sys; from assets.research.stopping.exits import ExitRule, PositionState;"
        "ExitRule.from_bytes(sys.stdin.buffer.read()).decide(6, PositionState(0.01, 0.03, 0.002));"
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], input=rules["deep"].to_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_training_of_a_rule_can_be_resumed():
    checkpoints: list[bytes] = []
    config = replace(DEEP, paths=512, batch=128, first_steps=5, steps=5)
    whole = train_exit_rule(MODEL, config, seed=1, on_checkpoint=checkpoints.append)
    assert len(checkpoints) == 7
    assert train_exit_rule(MODEL, config, seed=1, checkpoint=checkpoints[3]).to_bytes() == whole.to_bytes()


def test_bad_input_is_refused_by_name(rules: dict[str, ExitRule]):
    position = PositionState(0.0, 0.03, 0.0)
    for day in (-1, 1.5):
        with pytest.raises(BadInput, match="day"):
            rules["deep"].decide(day, position)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="method"):
        ExitConfig("guess")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="checkpoint"):
        ExitRule.from_bytes(b"no rule")
