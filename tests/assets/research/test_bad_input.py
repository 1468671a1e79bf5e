"""A refusal names the column and the time."""

from datetime import UTC, datetime

import numpy as np
import pytest

from assets.research.bad_input import BadInput, finite

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_a_refusal_names_column_and_time():
    error = BadInput("gap of 3 hours", column="close", at=NOON)
    assert str(error) == "column close at 2024-01-01T12:00:00+00:00: gap of 3 hours"
    assert (error.column, error.at, error.reason) == ("close", NOON, "gap of 3 hours")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(value):
    values = np.zeros((4, 2))
    values[2, 1] = value
    with pytest.raises(BadInput) as caught:
        finite(values, "features", columns=["close", "volume"], times=[NOON.replace(hour=h) for h in range(4)])
    assert caught.value.column == "volume"
    assert caught.value.at == NOON.replace(hour=2)


def test_without_times_the_index_is_named():
    with pytest.raises(BadInput) as caught:
        finite([1.0, np.nan], "returns")
    assert (caught.value.column, caught.value.at) == ("returns", 1)


def test_what_is_no_number_is_refused():
    with pytest.raises(BadInput, match="not numeric"):
        finite(["a"], "close")


def test_finite_values_pass_unchanged_as_float64():
    values = finite([[1, 2], [3, 4]], "x")
    assert values.dtype == np.float64
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_single_number_that_is_not_finite_has_no_index():
    with pytest.raises(BadInput) as caught:
        finite(np.nan, "strike")
    assert (caught.value.column, caught.value.at) == ("strike", None)
