"""The rails: each guard fires and stays silent, and what the states allow."""

import math
from dataclasses import replace
from datetime import date, timedelta

import pytest

from assets.research.bad_input import BadInput
from assets.research.trading.risk import Limits, Observed, permitted, review

LIMITS = Limits()
TODAY = date(2024, 3, 29)
CALM = Observed(
    position_return=0.01, day_return=-0.005, funding=0.0004, usual_funding=0.0003, volatility=0.026,
    long_run_volatility=0.025,
)  # fmt: skip


def after(observed: Observed, day: date = TODAY, previous=None):
    return review(observed, LIMITS, day=day, previous=previous)


def guard(report, name):
    return next(guard for guard in report.guards if guard.name == name)


def test_a_calm_day_is_active():
    report = after(CALM)
    assert (report.state, report.reason, report.halted_on) == ("ACTIVE", "no guard fires", None)
    assert [guard.name for guard in report.guards] == ["hard_stop", "daily_loss", "funding_drift", "volatility_drift"]
    assert not any(guard.active for guard in report.guards)


def funding(now: float, usual: float) -> dict[str, float]:
    return {"funding": now, "usual_funding": usual}


CASES = [
    ("hard_stop", {"position_return": -0.05}, {"position_return": -0.0499}, "HALTED", 0.05),
    ("daily_loss", {"day_return": -0.03}, {"day_return": -0.0299}, "REDUCING", 0.03),
    ("funding_drift", funding(0.003, 0.0005), funding(0.0024, 0.0005), "REDUCING", 0.0025),
    ("funding_drift", funding(-0.0021, 0.0), funding(-0.0019, 0.0), "REDUCING", 0.0021),
    ("volatility_drift", {"volatility": 0.05}, {"volatility": 0.0499}, "REDUCING", 2.0),
]


@pytest.mark.parametrize(("name", "fires", "silent", "state", "value"), CASES)
def test_each_guard_fires_at_its_limit_and_not_below(name, fires, silent, state, value):
    report = after(replace(CALM, **fires))
    assert report.state == state
    assert guard(report, name).active
    assert guard(report, name).value == pytest.approx(value)
    assert [other.name for other in report.guards if other.active] == [name]
    quiet = after(replace(CALM, **silent))
    assert quiet.state == "ACTIVE"
    assert not guard(quiet, name).active


def test_gains_fire_nothing():
    report = after(replace(CALM, position_return=0.5, day_return=0.5, volatility=0.0))
    assert report.state == "ACTIVE"
    assert guard(report, "hard_stop").value == 0


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ("position_return", "hard_stop"),
        ("day_return", "daily_loss"),
        ("volatility", "volatility_drift"),
        ("long_run_volatility", "volatility_drift"),
    ],
)
def test_without_prices_the_desk_may_only_reduce(missing, name):
    report = after(replace(CALM, **{missing: None}))
    assert report.state == "REDUCING"
    assert report.reason == f"no data for {name}"
    blind = guard(report, name)
    assert (blind.value, blind.active, blind.reason) == (None, False, "no data")


@pytest.mark.parametrize("missing", ["funding", "usual_funding"])
def test_without_funding_the_guard_is_blind_and_says_so(missing):
    report = after(replace(CALM, **{missing: None}))
    assert report.state == "ACTIVE"
    assert guard(report, "funding_drift").reason == "no data"


def test_several_reasons_are_all_told():
    report = after(replace(CALM, day_return=-0.04, volatility=None))
    assert report.reason == "the day lost 4.00% of capital; no data for volatility_drift"


def test_a_halt_lasts_its_days_and_ends_by_itself():
    report = after(replace(CALM, position_return=-0.07))
    flat = replace(CALM, position_return=0.0)
    states = []
    for days in range(1, 5):
        report = after(flat, TODAY + timedelta(days=days), report)
        states.append((report.state, report.halted_on))
    assert states == [("HALTED", TODAY), ("HALTED", TODAY), ("ACTIVE", None), ("ACTIVE", None)]


def test_a_stop_that_fires_again_begins_a_new_halt():
    report = after(replace(CALM, position_return=-0.07))
    report = after(replace(CALM, position_return=-0.08), TODAY + timedelta(days=2), report)
    report = after(CALM, TODAY + timedelta(days=4), report)
    assert (report.state, report.halted_on) == ("HALTED", TODAY + timedelta(days=2))
    assert after(CALM, TODAY + timedelta(days=5), report).state == "ACTIVE"


def test_a_halt_outlasts_missing_prices_and_is_followed_by_reducing_while_they_are():
    blind = replace(CALM, position_return=None)
    report = after(replace(CALM, position_return=-0.07))
    report = after(blind, TODAY + timedelta(days=1), report)
    assert report.state == "HALTED"
    assert after(blind, TODAY + timedelta(days=3), report).state == "REDUCING"


def test_reducing_ends_with_its_reason():
    report = after(replace(CALM, day_return=-0.04))
    assert after(CALM, TODAY + timedelta(days=1), report).state == "ACTIVE"


@pytest.mark.parametrize(
    ("state", "position", "target", "allowed"),
    [
        ("ACTIVE", 0.2, -0.9, -0.9),
        ("REDUCING", 0.5, 0.8, 0.5),
        ("REDUCING", 0.5, 0.3, 0.3),
        ("REDUCING", 0.5, -0.3, 0.0),
        ("REDUCING", -0.5, -0.8, -0.5),
        ("REDUCING", -0.5, -0.1, -0.1),
        ("REDUCING", 0.0, 0.4, 0.0),
        ("HALTED", 0.5, 0.8, 0.0),
    ],
)
def test_what_a_state_allows(state, position, target, allowed):
    assert permitted(state, position, target) == allowed


@pytest.mark.parametrize(
    ("build", "column"),
    [
        (lambda: replace(CALM, day_return=math.nan), "day_return"),
        (lambda: replace(CALM, volatility=-0.1), "volatility"),
        (lambda: replace(CALM, long_run_volatility=0.0), "long_run_volatility"),
        (lambda: Limits(hard_stop=0.0), "hard_stop"),
        (lambda: after(CALM, TODAY - timedelta(days=1), after(CALM)), "day"),
    ],
)
def test_what_cannot_be_meant_is_refused(build, column):
    with pytest.raises(BadInput) as refused:
        build()
    assert refused.value.column == column
