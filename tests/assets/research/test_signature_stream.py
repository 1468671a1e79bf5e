"""A stream gives after each point what the rolling signature gives for the same window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.signatures.rolling import rolling_signature
from assets.research.signatures.stream import SignatureStream


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 9), st.integers(0, 40))
def test_each_step_is_the_rolling_row_to_the_bit(channels: int, order: int, window_points: int, more: int):
    path = np.random.default_rng(more).normal(scale=0.1, size=(window_points + more, channels)).cumsum(axis=0)
    stream = SignatureStream(channels, window_points, order)
    steps = [stream.push(point) for point in path]
    assert all(step is None for step in steps[: window_points - 1])
    np.testing.assert_array_equal(np.stack(steps[window_points - 1 :]), rolling_signature(path, window_points, order))


def test_a_long_stream_never_drifts():
    path = np.random.default_rng(0).normal(scale=0.1, size=(20_000, 3)).cumsum(axis=0)
    stream = SignatureStream(3, 72, 3)
    last = [stream.push(point) for point in path][-1]
    assert last is not None
    np.testing.assert_allclose(last, rolling_signature(path[-72:], 72, 3)[0], rtol=0, atol=1e-13)


def test_what_was_given_is_never_written_again():
    stream = SignatureStream(2, 2, 2)
    stream.push([0.0, 0.0])
    first = stream.push([1.0, 2.0])
    assert first is not None
    kept = first.copy()
    stream.push([3.0, 5.0])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("point", "column", "at"),
    [
        ([1.0, np.nan], "point", 1),
        ([np.inf, 0.0], "point", 0),
        ([1.0], "point", None),
        ([[1.0, 2.0]], "point", None),
        (["a", "b"], "point", None),
    ],
)
def test_a_bad_point_is_refused_and_forgotten(point, column: str, at: int | None):
    path = np.random.default_rng(0).normal(size=(30, 2))
    clean, disturbed = SignatureStream(2, 5, 3), SignatureStream(2, 5, 3)
    for good in path:
        with pytest.raises(BadInput) as refusal:
            disturbed.push(point)
        assert (refusal.value.column, refusal.value.at) == (column, at)
        np.testing.assert_equal(disturbed.push(good), clean.push(good))


def test_windows_that_overflow_are_refused_and_later_ones_are_as_if_nothing_had_been():
    path = np.random.default_rng(0).normal(size=(30, 2))
    path[11, 1] = 1e200
    stream = SignatureStream(2, 5, 3)
    for last, point in enumerate(path):
        if 11 <= last <= 15:
            with pytest.raises(BadInput, match="increments this large overflow"):
                stream.push(point)
        elif (found := stream.push(point)) is not None:
            window = path[last - 4 : last + 1]
            np.testing.assert_allclose(found, rolling_signature(window, 5, 3)[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "column"),
    [((0, 5, 3), "channels"), ((2, 1, 3), "window_points"), ((2, 5, 0), "order"), ((2, 5.5, 3), "window_points")],
)
def test_a_stream_of_nothing_is_refused(arguments: tuple[int, int, int], column: str):
    with pytest.raises(BadInput) as refusal:
        SignatureStream(*arguments)
    assert refusal.value.column == column
