"""The impact state over a step, and lambda from a slippage log."""

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest
import scipy.integrate

from assets.research.bad_input import BadInput
from assets.research.trading.impact import RecalibrationRule, advance, recalibrate

RULE = RecalibrationRule()
TODAY = date(2024, 3, 29)


@pytest.mark.parametrize("decay", [0.0, 1e-12, 0.1, 3.0, 400.0])
def test_impact_follows_its_equation_exactly(decay):
    def slope(_time: float, impact: np.ndarray) -> np.ndarray:
        return 0.4 * 0.7 - decay * impact

    exact = scipy.integrate.solve_ivp(slope, (0, 1.5), [0.2], method="Radau", rtol=1e-11, atol=1e-13).y[0, -1]
    assert advance(0.2, 0.7, 1.5, impact_per_trade=0.4, impact_decay=decay) == pytest.approx(exact, abs=1e-9)


def test_two_half_steps_are_one_step():
    sizes = {"impact_per_trade": 0.4, "impact_decay": 1.7}
    half = advance(advance(0.2, 0.7, 0.5, **sizes), 0.7, 0.5, **sizes)
    assert half == pytest.approx(advance(0.2, 0.7, 1.0, **sizes), rel=1e-14)
    assert advance(0.2, 0.7, 0.0, **sizes) == 0.2


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"days": -1.0}, "days"),
        ({"impact_per_trade": -0.1}, "impact_per_trade"),
        ({"impact_decay": -0.1}, "impact_decay"),
        ({"rate": math.nan}, "impact"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused(change, column):
    step = {"impact": 0.2, "rate": 0.7, "days": 1.0, "impact_per_trade": 0.4, "impact_decay": 0.1} | change
    with pytest.raises(BadInput) as refused:
        advance(step.pop("impact"), step.pop("rate"), step.pop("days"), **step)
    assert refused.value.column == column


def log(impacts_bp, sizes, *, symbol="BTCUSDT", last="2024-03-28") -> pd.DataFrame:
    """One row a day, the last on ``last``."""
    days = pd.date_range(end=last, periods=len(sizes), freq="D", tz="UTC")
    return pd.DataFrame(
        {
            "date_utc": days,
            "symbol": symbol,
            "side": ["BUY", "SELL"] * (len(sizes) // 2) + ["BUY"] * (len(sizes) % 2),
            "size": np.asarray(sizes, dtype=float),
            "est_impact_bp": np.asarray(impacts_bp, dtype=float),
        }
    )


def ask(impact, slippage, *, last=None, rule=RULE, as_of=TODAY, capital=1_000_000.0):
    return recalibrate(impact, slippage, symbol="BTCUSDT", capital=capital, as_of=as_of, last=last, rule=rule)


SIZES = 1e5 * (1 + np.arange(20) % 5)


def test_lambda_is_found_and_shrunk():
    """Trades of 10 % of capital move the price by 0.7 bp: lambda is 7e-4, and 20 rows count as much as the old 5e-4."""
    found = ask(5e-4, log(SIZES / 1e5 * 0.7, SIZES))
    assert found.estimate == pytest.approx(7e-4)
    assert (found.old, found.new) == (5e-4, pytest.approx(6e-4))
    assert (found.rows_used, found.calibrated) == (20, TODAY)
    assert "20 rows" in found.reason


def test_a_third_of_wild_rows_does_not_move_it_far():
    rng = np.random.default_rng(4)
    impacts = SIZES / 1e5 * 0.7 * (1 + 0.05 * rng.normal(size=20))
    impacts[::3] = 500.0
    assert ask(5e-4, log(impacts, SIZES)).estimate == pytest.approx(7e-4, rel=0.1)


def test_the_estimate_has_the_least_absolute_error():
    rng = np.random.default_rng(8)
    for rows in (10, 11, 27):
        sizes, impacts = rng.uniform(1e4, 4e5, rows), rng.normal(5, 10, rows)
        found = ask(5e-4, log(impacts, sizes)).estimate

        def error(slope: float, sizes=sizes, impacts=impacts) -> float:
            return float(np.abs(impacts * 1e-4 - slope * sizes / 1e6).sum())

        candidates = np.append(impacts * 1e-4 / (sizes / 1e6), np.linspace(-0.1, 0.1, 999))
        assert error(found) <= min(map(error, candidates)) + 1e-12


@pytest.mark.parametrize(("impact_bp", "factor"), [(1000.0, 2.0), (-1000.0, 0.5)])
def test_one_recalibration_moves_lambda_by_a_factor_of_two_at_most(impact_bp, factor):
    found = ask(5e-4, log(np.full(20, impact_bp), SIZES))
    assert found.new == 5e-4 * factor
    assert "bounded" in found.reason


def test_too_few_rows_change_nothing():
    found = ask(5e-4, log(SIZES[:9] / 1e5, SIZES[:9]))
    assert (found.new, found.rows_used, found.estimate, found.calibrated) == (5e-4, 9, None, None)
    assert found.reason == "9 rows in 28 days, 10 needed"
    assert ask(5e-4, log([], [])).reason == "0 rows in 28 days, 10 needed"


def test_before_a_week_is_over_nothing_changes():
    slippage = log(SIZES / 1e5, SIZES)
    early = ask(5e-4, slippage, last=date(2024, 3, 23))
    assert (early.new, early.calibrated, early.reason) == (5e-4, date(2024, 3, 23), "next due 2024-03-30")
    assert ask(5e-4, slippage, last=date(2024, 3, 22)).new != 5e-4


def test_impact_that_is_not_modelled_stays_so():
    assert ask(0.0, log(SIZES / 1e5, SIZES)).reason == "impact is not modelled"


def test_the_decision_day_other_symbols_and_old_rows_do_not_count():
    slippage = log(SIZES / 1e5 * 0.7, SIZES)
    expected = ask(5e-4, slippage)
    later = log([900.0] * 5, [1e6] * 5, last="2024-04-02")
    foreign = log([900.0] * 20, SIZES, symbol="ETHUSDT")
    old = log([900.0] * 20, SIZES, last="2024-02-29")
    everything = pd.concat([old, slippage, foreign, later]).sort_values("date_utc", kind="stable", ignore_index=True)
    assert ask(5e-4, everything) == expected


@pytest.mark.parametrize(
    ("column", "value"), [("size", 0.0), ("size", math.nan), ("est_impact_bp", math.inf), ("side", "LONG")]
)
def test_rows_that_break_the_contract_are_refused(column, value):
    slippage = log(SIZES / 1e5, SIZES)
    slippage.loc[3, column] = value
    with pytest.raises(BadInput) as refused:
        ask(5e-4, slippage)
    assert refused.value.column == column


@pytest.mark.parametrize(("impact", "capital", "column"), [(-1e-4, 1.0, "impact_per_trade"), (1e-4, 0.0, "capital")])
def test_scales_that_cannot_be_meant_are_refused(impact, capital, column):
    with pytest.raises(BadInput) as refused:
        ask(impact, log(SIZES / 1e5, SIZES), capital=capital)
    assert refused.value.column == column
