import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.regime.gate import Gate, gate_states, next_day

ON, OFF = "RISK-ON", "GATE-OFF"
HIGH, LOW = 0.75, 0.4


@pytest.mark.parametrize(
    ("probabilities", "states", "counts"),
    [
        pytest.param([HIGH], [OFF], [1], id="the first day ever follows OFF"),
        pytest.param([HIGH, HIGH, HIGH], [OFF, ON, ON], [1, 2, 2], id="two days open it"),
        pytest.param([0.60, 0.60], [OFF, ON], [1, 2], id="the threshold itself qualifies"),
        pytest.param([HIGH, 0.5999, HIGH, HIGH], [OFF, OFF, OFF, ON], [1, 0, 1, 2], id="an interrupted count restarts"),
        pytest.param([HIGH, HIGH, LOW, HIGH, HIGH], [OFF, ON, OFF, OFF, ON], [1, 2, 0, 1, 2], id="one day closes it"),
        pytest.param([HIGH, HIGH, None, HIGH, HIGH], [OFF, ON, OFF, OFF, ON], [1, 2, 0, 1, 2], id="no probability"),
        pytest.param([LOW, LOW], [OFF, OFF], [0, 0], id="never high"),
    ],
)
def test_states_and_inertia_counts(probabilities, states, counts):
    days = gate_states(probabilities, [""] * len(probabilities))
    assert [day.state for day in days] == states
    assert [day.inertia_count for day in days] == counts
    assert [day.probability for day in days] == probabilities


def test_each_day_off_says_why():
    days = gate_states([HIGH, LOW, None, HIGH, HIGH, HIGH], ["", "", "", "", "bars are 30 h old", ""])
    assert [day.reason for day in days] == [
        "day 1 of 2 after OFF",
        "probability below 0.60",
        "no probability",
        "day 1 of 2 after OFF",
        "bars are 30 h old",
        "day 1 of 2 after OFF",
    ]
    assert days[4].probability == HIGH
    assert gate_states([HIGH, HIGH], ["", ""])[-1].reason == ""


def test_threshold_and_inertia_are_configuration():
    days = gate_states([0.7, 0.85, 0.85, 0.85], [""] * 4, Gate(threshold=0.8, inertia_days=3))
    assert [day.state for day in days] == [OFF, OFF, OFF, ON]
    assert [day.state for day in gate_states([0.7, 0.5], ["", ""], Gate(inertia_days=1))] == [ON, OFF]


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.sampled_from(["", "", "", "stale", "missing"])),
        max_size=60,
    )
)
def test_inertia_and_missing_data_hold_for_any_series(rows):
    probabilities, refusals = [p for p, _ in rows], [r for _, r in rows]
    days = gate_states(probabilities, refusals)
    qualifies = [p is not None and p >= 0.60 and not r for p, r in rows]
    for at, day in enumerate(days):
        if day.state == ON:
            assert qualifies[at]
            if at == 0 or days[at - 1].state == OFF:
                assert at > 0
                assert qualifies[at - 1]
        if probabilities[at] is None or refusals[at]:
            assert (day.state, day.inertia_count) == (OFF, 0)
        assert (day.reason == "") == (day.state == ON)
    # The fold is the day-by-day rule, and no day depends on a later one.
    assert gate_states(probabilities[:7], refusals[:7]) == days[:7]
    before = None
    for at, day in enumerate(days):
        before = next_day(Gate(), before, probabilities[at], refusals[at])
        assert before == day


@pytest.mark.parametrize("probability", [-0.1, 1.2, float("nan")])
def test_what_is_no_probability_is_refused_by_day(probability):
    with pytest.raises(BadInput, match="column probability at index 1"):
        gate_states([HIGH, probability], ["", ""])


def test_rules_and_series_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="column refusals"):
        gate_states([HIGH], [])
    with pytest.raises(BadInput, match="column threshold"):
        Gate(threshold=0)
    with pytest.raises(BadInput, match="column inertia_days"):
        Gate(inertia_days=0)
