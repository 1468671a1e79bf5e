import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dashboards.series import (
    EMPTY,
    MINUTE_MS,
    Series,
    decimated,
    drawdown,
    gaps_after,
    missing_minutes,
    nice_ticks,
    of_rows,
    sampled,
    window,
)

ALL = (-1.0, 1e15)

values = hnp.arrays(np.float64, st.integers(1, 3000), elements=st.floats(-1e12, 1e12))


def series(minutes: list[int], value: list[float] | None = None) -> Series:
    time = np.array(minutes, np.int64) * MINUTE_MS
    amounts = np.array(value if value is not None else minutes, float)
    return Series(time, amounts, amounts * 0, amounts - 100)


@given(values, st.integers(2, 60), st.data())
def test_decimation_keeps_first_last_and_exact_extremes_of_any_window(
    value: np.ndarray, buckets: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(value) - 1))
    stop = data.draw(st.integers(start + 1, len(value)))
    other = np.roll(value, 1)
    kept = decimated((value, other), start, stop, buckets)
    assert kept[0] == start
    assert kept[-1] == stop - 1
    assert len(kept) <= 4 * buckets + 4 + 2
    assert np.all(np.diff(kept) > 0)
    for column in (value, other):
        assert column[kept].min() == column[start:stop].min()
        assert column[kept].max() == column[start:stop].max()


def test_a_missing_minute_breaks_the_line_and_is_marked() -> None:
    rows = series([0, 1, 2, 5, 6])
    seen = window(rows, rows.value * 0, 0, 10 * MINUTE_MS, ALL, 100)
    assert np.isnan(seen.value).tolist() == [False, False, False, True, False, False]
    assert np.isnan(seen.drawdown).sum() == 1
    assert (seen.gaps // MINUTE_MS).tolist() == [[2, 5]]
    assert 2 * MINUTE_MS < seen.time[3] < 5 * MINUTE_MS


def test_rows_late_within_their_minute_are_no_gap() -> None:
    time = np.array([0, MINUTE_MS + 59_000, 2 * MINUTE_MS + 1], np.int64)
    assert not len(gaps_after(time))


@settings(max_examples=60)
@given(st.sets(st.integers(0, 20_000), max_size=40), st.integers(0, 59_999))
def test_every_gap_of_a_long_series_is_found(missing: set[int], late: int) -> None:
    minutes = np.setdiff1d(np.arange(20_000), list(missing))
    time = minutes * MINUTE_MS + np.where(minutes % 3, 0, late)
    assert gaps_after(time).tolist() == np.flatnonzero(np.diff(minutes) > 1).tolist()


@settings(max_examples=60)
@given(st.sets(st.integers(0, 2000), min_size=2, max_size=600), st.integers(5, 40))
def test_every_gap_is_broken_however_much_is_decimated(minutes: set[int], buckets: int) -> None:
    rows = series(sorted(minutes))
    seen = window(rows, rows.value * 0, -1, 3000 * MINUTE_MS, ALL, buckets)
    gaps = gaps_after(rows.time)
    assert len(seen.gaps) == np.isnan(seen.value).sum() == min(len(gaps), 200)
    for left, right in seen.gaps:
        inside = (seen.time > left) & (seen.time < right)
        assert np.isnan(seen.value[inside]).all()
        assert inside.any()
    assert np.all(np.diff(seen.time) > 0)


def test_many_gaps_show_the_longest() -> None:
    minutes, at = [], 0
    for length in range(1, 301):
        minutes.append(at)
        at += 1 + length
    seen = window(series(minutes), np.zeros(300), 0, at * MINUTE_MS, ALL, 50)
    assert len(seen.gaps) == 200
    assert (np.diff(seen.gaps).min() // MINUTE_MS) > 100


def test_a_window_reaches_one_row_past_each_edge_so_that_the_line_leaves_the_frame() -> None:
    rows = series(list(range(10)))
    seen = window(rows, rows.value * 0, 3.5 * MINUTE_MS, 6.5 * MINUTE_MS, ALL, 100)
    assert (seen.time // MINUTE_MS).tolist() == [3, 4, 5, 6, 7]
    empty = window(EMPTY, EMPTY.value, 0, 1, ALL, 10)
    assert len(empty.time) == 0


def test_extremes_are_those_in_sight_only() -> None:
    rows = series(list(range(10)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    seen = window(rows, -rows.value, 0, 9 * MINUTE_MS, (4 * MINUTE_MS, 5 * MINUTE_MS), 100)
    assert len(seen.time) == 10
    assert (seen.low, seen.high, seen.deepest) == (3, 6, -6)


def test_missing_minutes_are_counted_from_an_instant_on() -> None:
    time = series([0, 1, 5, 6, 10]).time
    assert missing_minutes(time, 0) == 6
    assert missing_minutes(time, 5 * MINUTE_MS) == 3
    assert missing_minutes(time, 11 * MINUTE_MS) == 0
    assert missing_minutes(EMPTY.time, 0) == 0


def test_merging_lets_the_later_row_of_a_minute_win() -> None:
    both = series([0, 1, 2], [1, 2, 3]).merged(series([2, 3], [30, 40]))
    assert both.value.tolist() == [1, 2, 30, 40]
    assert EMPTY.merged(both) is both
    assert both.merged(EMPTY) is both


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-1e6, 1e6)), max_size=80))
def test_rows_in_any_order_become_one_row_a_minute(rows: list[tuple[int, float]]) -> None:
    expected = dict(rows)
    amounts = np.array([value for _, value in rows], float)
    made = of_rows(np.array([m for m, _ in rows], np.int64) * MINUTE_MS, amounts, amounts, amounts)
    assert (made.time // MINUTE_MS).tolist() == sorted(expected)
    assert made.value.tolist() == [expected[m] for m in sorted(expected)]


def test_drawdown_starts_at_the_capital_and_ignores_flows() -> None:
    total = np.array([-10.0, 20.0, 8.0, 20.0])
    assert drawdown(total, 100.0) == pytest.approx([-0.1, 0.0, 108 / 120 - 1, 0.0])


@given(hnp.arrays(np.float64, st.integers(1, 500), elements=st.floats(-9e5, 1e6)))
def test_drawdown_is_never_positive(total: np.ndarray) -> None:
    deep = drawdown(total, 1e6)
    assert np.all(deep <= 0)
    assert deep[int(np.argmax(total))] == 0 or total.max() < 0


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9), st.integers(2, 8))
def test_ticks_lie_inside_at_even_steps(low: float, span: float, wanted: int) -> None:
    ticks = nice_ticks(low, low + span, wanted)
    assert len(ticks) <= wanted + 2
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_ticks_are_round() -> None:
    assert nice_ticks(978_000, 1_006_000, 4) == [980_000, 990_000, 1_000_000]
    assert nice_ticks(-0.021, 0, 3) == [-0.02, -0.01, 0]


def test_a_sparkline_spans_its_height_and_keeps_both_ends() -> None:
    shown = sampled(np.linspace(5, 10, 1000), 90)
    assert len(shown) == 90
    assert (shown[0], shown[-1]) == (0, 100)
    assert sampled(np.full(10, 3.0), 90) == [50] * 10
    assert sampled(EMPTY.value, 90) == []
