"""Folds, performance and acceptance."""

import itertools
import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.validation import (
    ACCEPTANCE,
    Performance,
    Scheme,
    accept,
    fold_of,
    folds_between,
    max_drawdown,
    performance,
    sharpe,
)

SCHEME = Scheme()
days = st.dates(date(2015, 1, 1), date(2035, 1, 1))


@given(days)
def test_a_fold_holds_its_day_and_trains_a_year_purged_by_a_week(day):
    fold = fold_of(day, SCHEME)
    assert fold.test_start <= day < fold.test_end
    assert fold.test_end - fold.test_start == timedelta(days=30)
    assert fold.train_end - fold.train_start == timedelta(days=365)
    assert fold.test_start - fold.train_end == timedelta(days=7)


@given(days)
def test_every_day_of_a_test_window_has_the_same_fold(day):
    fold = fold_of(day, SCHEME)
    assert fold_of(fold.test_start, SCHEME) == fold
    assert fold_of(fold.test_end - timedelta(days=1), SCHEME) == fold
    assert fold_of(fold.test_end, SCHEME) != fold


@given(days, st.integers(300, 1000), st.integers(1, 200))
def test_more_history_adds_folds_and_changes_none(first, length, more):
    last = first + timedelta(days=length)
    folds = folds_between(first, last, SCHEME)
    assert folds_between(first, last + timedelta(days=more), SCHEME)[: len(folds)] == folds
    assert all(a.test_end == b.test_start for a, b in itertools.pairwise(folds))
    assert all(fold.train_start >= first and fold.test_end - timedelta(days=1) <= last for fold in folds)


def test_a_year_a_week_and_a_month_are_one_fold_when_they_lie_on_the_grid():
    fold = fold_of(date(2024, 1, 1), SCHEME)
    assert folds_between(fold.train_start, fold.test_end - timedelta(days=1), SCHEME) == [fold]
    assert folds_between(fold.train_start + timedelta(days=1), fold.test_end - timedelta(days=1), SCHEME) == []
    assert folds_between(fold.train_start, fold.test_end - timedelta(days=2), SCHEME) == []


def flat(count):
    return [0.0] * count


def test_performance_of_a_tiny_run_by_hand():
    returns = [0.02, -0.01, -0.003, 0.01, 0.03, -0.02, 0.0]
    held = [1.0, 1.0, 0.0, 0.5, 1.0, -1.0, 0.0]
    traded, gate = [1.0, 0, -1, 0.5, 0.5, -2, 0.0], [True, True, False, True, True, True, True]
    got = performance(returns, held, gate, [0.001] * 7, traded, [True, False, False, True, True, True, False])
    # The third day holds nothing but pays for leaving: a losing traded day. The last neither holds nor trades.
    assert (got.days, got.traded_days) == (7, 6)
    assert got.hit_rate == pytest.approx(3 / 6)
    assert got.payoff == pytest.approx((0.06 / 3) / (0.033 / 3))
    assert got.sharpe is None, "seven days say nothing"
    assert got.gate_off == pytest.approx(1 / 7)
    assert got.total_return == pytest.approx(1.02 * 0.99 * 0.997 * 1.01 * 1.03 * 0.98 - 1)
    assert (got.costs, got.turnover) == (pytest.approx(0.007), pytest.approx(5.0))
    assert got.unfunded_days == 1, "funding is owed only on what is held"


def test_sharpe_is_annualised_by_365_and_undefined_where_nothing_varies():
    returns = np.array([0.01, -0.005] * 15)
    assert sharpe(returns) == pytest.approx(math.sqrt(365) * returns.mean() / returns.std(ddof=1))
    assert sharpe(np.full(30, 0.01)) is None
    assert sharpe(np.zeros(30)) is None
    assert sharpe(returns[:19]) is None


@pytest.mark.parametrize(
    ("returns", "fall"), [([-0.1], 0.1), ([0.1, 0.1], 0.0), ([0.5, -0.5, 0.2], 0.5), ([-0.1, 0.5, -0.2, -0.5], 0.6)]
)
def test_drawdown_is_a_fraction_of_the_peak_and_the_start_is_a_peak(returns, fall):
    assert max_drawdown(np.array(returns)) == pytest.approx(fall)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
def test_drawdown_lies_between_zero_and_one_and_covers_the_final_loss(returns):
    fall = max_drawdown(np.array(returns))
    assert 0 <= fall <= 1
    assert fall >= 1 - np.prod(1 + np.array(returns)) - 1e-12


def result(**changes):
    sound = {
        "days": 30, "traded_days": 20, "hit_rate": 0.6, "payoff": 1.0, "sharpe": 1.5, "max_drawdown": 0.1,
        "gate_off": 0.3, "total_return": 0.02, "costs": 0.001, "turnover": 3.0, "unfunded_days": 0,
    }  # fmt: skip
    return Performance(**(sound | changes))


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({}, set()),
        ({"hit_rate": 0.56, "sharpe": 1.0, "max_drawdown": 0.15, "gate_off": 0.60}, set()),
        ({"hit_rate": 0.559}, {"hit_rate"}),
        ({"hit_rate": 0.54, "payoff": 1.21}, set()),
        ({"hit_rate": 0.54, "payoff": 1.2}, {"hit_rate"}),
        ({"hit_rate": 0.539, "payoff": 5.0}, {"hit_rate"}),
        ({"hit_rate": 0.55, "payoff": None}, {"hit_rate"}),
        ({"hit_rate": None, "payoff": None}, {"hit_rate"}),
        ({"sharpe": 0.99}, {"sharpe"}),
        ({"sharpe": None}, {"sharpe"}),
        ({"max_drawdown": 0.151}, {"max_drawdown"}),
        ({"gate_off": 0.61}, {"gate_off"}),
    ],
)
def test_acceptance_is_the_briefs(changes, failing):
    verdicts = accept(result(**changes))
    assert {verdict.name for verdict in verdicts if not verdict.passed} == failing
    assert [verdict.name for verdict in verdicts] == [criterion.name for criterion in ACCEPTANCE]


def test_an_undefined_measure_fails_and_says_how_little_there_was():
    (hit, *_) = accept(result(hit_rate=None, traded_days=2))
    assert (hit.passed, hit.value) == (False, None)
    assert "2 traded of 30 days" in hit.reason


def test_series_of_different_lengths_and_holes_are_refused():
    with pytest.raises(BadInput):
        performance([0.1], [1.0, 1.0], [True], [0.0], [0.0], [True])
    with pytest.raises(BadInput, match="returns at index 1"):
        performance([0.1, math.nan], flat(2), [True] * 2, flat(2), flat(2), [True] * 2)
    with pytest.raises(BadInput):
        performance([0.1], [1.0], [True], [0.0], [0.0], [])
    with pytest.raises(BadInput):
        performance([], [], [], [], [], [])
