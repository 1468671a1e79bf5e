"""Rolling signatures are those of each window taken alone, and know nothing of later points."""

from math import factorial

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput, Floats
from assets.research.signatures.path_signature import signature, time_augmented, words
from assets.research.signatures.rolling import rolling_signature, window_features, window_scales
from resources.settings import Settings

BARS = Settings().test_data / "bars_1h" / "spot" / "BTCUSDT.parquet"


def walk(points: int, channels: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(scale=0.1, size=(points, channels)).cumsum(axis=0)


def each_window(path: Floats, window_points: int) -> Floats:
    return np.stack([path[start : start + window_points] for start in range(len(path) - window_points + 1)])


def largest(windows: Floats, order: int) -> float:
    """What a coordinate of any window may reach: V^k / k!, V the sum of the absolute increments."""
    variation = np.abs(np.diff(windows, axis=1)).sum(axis=(1, 2)).max()
    return max(1.0, *(variation**k / factorial(k) for k in range(1, order + 1)))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 12), st.integers(0, 90))
def test_every_window_is_the_signature_of_its_points(channels: int, order: int, window_points: int, more: int):
    path = walk(window_points + more, channels, more)
    windows = each_window(path, window_points)
    found = rolling_signature(path, window_points, order)
    assert found.shape == (more + 1, sum(channels**k for k in range(1, order + 1)))
    np.testing.assert_allclose(found, signature(windows, order), rtol=0, atol=1e-14 * largest(windows, order))


def test_a_year_of_hours_in_three_channels_is_exact_to_1e_12():
    path = walk(8760, 3)
    direct = signature(each_window(path, 72), 3)
    assert np.abs(direct).max() > 1  # or the absolute bound would say little
    assert np.abs(rolling_signature(path, 72, 3) - direct).max() <= 1e-12


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 9), st.integers(0, 60), st.integers(0, 60))
def test_later_points_change_no_earlier_row_by_a_single_bit(
    channels: int, order: int, window_points: int, more: int, later: int
):
    path = walk(window_points + more + later, channels, later)
    known = path[: window_points + more]
    np.testing.assert_array_equal(
        rolling_signature(path, window_points, order)[: more + 1], rolling_signature(known, window_points, order)
    )
    np.testing.assert_array_equal(
        window_features(path[:, 0], window_points, min(order, 4))[: more + 1],
        window_features(known[:, 0], window_points, min(order, 4)),
    )


@pytest.mark.parametrize("window_points", [72, 300])
def test_features_of_long_windows_know_nothing_of_later_points_either(window_points: int):
    prices = walk(1_000, 1)[:, 0]
    whole = window_features(prices, window_points)
    for known in (window_points, window_points + 1, 2 * window_points, 999):
        rows = window_features(prices[:known], window_points)
        np.testing.assert_array_equal(rows, whole[: len(rows)])


def scaled_window(prices: Floats) -> Floats:
    """The path of one window as the features define it, demeaned as well."""
    scale = np.sqrt((np.diff(prices) ** 2).sum())
    return time_augmented((prices - prices.mean()) / scale, window_normalised=True)


@given(st.integers(1, 4), st.integers(2, 80), st.integers(0, 100), st.sampled_from([1e-6, 1e-2, 1.0, 1e3]))
def test_features_are_signatures_of_each_window_in_its_own_units(
    order: int, window_points: int, more: int, typical: float
):
    prices = 11 + typical * walk(window_points + more, 1, more)[:, 0]
    windows = np.stack([scaled_window(window[:, 0]) for window in each_window(prices[:, np.newaxis], window_points)])
    # 11 + 1e-6 keeps ten digits of an increment, and demeaning first rounds them anew.
    tolerance = 1e-12 * max(1.0, 1e-2 / typical) * largest(windows, order)
    found = window_features(prices, window_points, order)
    np.testing.assert_allclose(found, signature(windows, order), rtol=0, atol=tolerance)


def test_features_have_no_unit_but_give_the_level_back():
    prices = walk(300, 1)[:, 0]
    found = window_features(prices, 72)
    assert found.shape == (229, 14)
    np.testing.assert_allclose(window_features(0.01 * prices + 4, 72), found, rtol=0, atol=1e-11)
    ones = np.array([sum(word) for word in words(2, 3)])
    raw = rolling_signature(time_augmented(prices / 1, False) / [71, 1], 72, 3)
    np.testing.assert_allclose(found * window_scales(prices, 72)[:, np.newaxis] ** ones, raw, rtol=0, atol=1e-12)


def test_features_of_time_alone_are_constants_and_the_first_is_the_return_in_volatilities():
    prices = walk(100, 1)[:, 0]
    found = dict(zip(words(2, 3), window_features(prices, 24).T, strict=True))
    for k in (1, 2, 3):
        np.testing.assert_allclose(found[(0,) * k], 1 / factorial(k), rtol=1e-14)
    returns = np.array([prices[i + 23] - prices[i] for i in range(77)])
    volatility = np.array([np.sqrt((np.diff(prices[i : i + 24]) ** 2).sum()) for i in range(77)])
    np.testing.assert_allclose(found[1,], returns / volatility, rtol=0, atol=1e-13)


def test_a_price_that_stood_still_has_zero_in_every_word_with_a_price():
    prices = np.concatenate([np.full(10, 3.0), 3 + walk(10, 1)[:, 0], np.full(10, 5.0)])
    found = window_features(prices, 5)
    assert np.isfinite(found).all()
    with_price = np.array([sum(word) > 0 for word in words(2, 3)])
    still = np.array([len(set(prices[i : i + 5])) == 1 for i in range(26)])
    assert still.sum() == 12
    assert not found[np.ix_(still, with_price)].any()
    assert found[np.ix_(~still, with_price)].any(axis=1).all()


@pytest.mark.parametrize(
    ("path", "window_points", "order", "column", "at"),
    [
        (np.where(np.arange(20).reshape(10, 2) == 13, np.nan, 1.0), 3, 2, "path[1]", 6),
        (np.where(np.arange(20).reshape(10, 2) == 0, np.inf, 1.0), 3, 2, "path[0]", 0),
        (np.where(np.arange(20).reshape(10, 2) == 19, np.nan, 1.0), 10, 2, "path[1]", 9),
        (np.ones((10, 2)), 11, 2, "path", None),
        (np.ones((0, 2)), 3, 2, "path", None),
        (np.ones(10), 3, 2, "path", None),
        (np.ones((3, 10, 2)), 3, 2, "path", None),
        (np.ones((10, 0)), 3, 2, "path", None),
        (np.ones((10, 2)), 1, 2, "window_points", None),
        (np.ones((10, 2)), 3.0, 2, "window_points", None),
        (np.ones((10, 2)), 3, 0, "order", None),
    ],
)
def test_bad_paths_are_refused_by_name_and_place(path, window_points, order, column: str, at: int | None):
    with pytest.raises(BadInput) as refusal:
        rolling_signature(path, window_points, order)
    assert (refusal.value.column, refusal.value.at) == (column, at)


@pytest.mark.parametrize(
    ("prices", "window_points", "order", "column", "at"),
    [
        ([1.0, 2.0, np.nan, 4.0], 3, 3, "log_prices", 2),
        ([1.0, 2.0], 3, 3, "log_prices", None),
        (np.ones((5, 2)), 3, 3, "log_prices", None),
        ([1.0, 2.0, 4.0], 1, 3, "window_points", None),
        ([1.0, 2.0, 4.0], 3, 5, None, None),  # 62 features
    ],
)
def test_features_refuse_bad_prices_and_too_many_features(prices, window_points, order, column, at):
    with pytest.raises(BadInput) as refusal:
        window_features(prices, window_points, order)
    assert (refusal.value.column, refusal.value.at) == (column, at)


@pytest.mark.real_data
@pytest.mark.skipif(not BARS.is_file(), reason=f"no recorded hourly bars in {BARS}")
def test_five_recorded_years_of_hours_roll_as_each_window_alone():
    closes = pyarrow.parquet.read_table(BARS)["close"].to_numpy()[-43_800:]
    prices = np.log(closes)
    found = window_features(prices, 72)
    assert found.shape == (len(prices) - 71, 14)
    sample = np.random.default_rng(0).choice(len(found), 500, replace=False)
    windows = np.stack([scaled_window(prices[start : start + 72]) for start in sample])
    np.testing.assert_allclose(found[sample], signature(windows, 3), rtol=0, atol=1e-12)
