"""Signatures of paths against everything that is known about them exactly."""

from itertools import product
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assets.research.bad_input import BadInput, Floats
from assets.research.signatures import tensor_algebra
from assets.research.signatures.path_signature import (
    check_width,
    log_signature_length,
    signature,
    signature_length,
    time_augmented,
    words,
)
from assets.research.signatures.tensor_algebra import multiply, shuffle

ORDERS = st.integers(1, 5)
STEPS = st.floats(-1, 1, width=32)


@st.composite
def paths(draw: st.DrawFn, channels: st.SearchStrategy[int] | None = None) -> Floats:
    d = draw(channels or st.integers(1, 4))
    return draw(arrays(np.float64, (draw(st.integers(2, 9)), d), elements=STEPS))


def with_constant(rows: Floats) -> Floats:
    return np.concatenate([np.ones((*rows.shape[:-1], 1)), rows], axis=-1)


def largest(path: Floats, order: int) -> float:
    """The factorial bound: no coordinate of level k exceeds V^k / k!, V the sum of the absolute increments."""
    variation = np.abs(np.diff(path, axis=0)).sum()
    return max(1.0, *(variation**k / factorial(k) for k in range(1, order + 1)))


def assert_same(got: Floats, expected: Floats, path: Floats, order: int) -> None:
    """Equal to 1e-14 of what a coordinate may reach."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14 * largest(path, order))


@given(paths(), ORDERS)
def test_the_signature_is_the_product_of_the_exponentials_of_its_pieces(path: Floats, order: int):
    d = path.shape[1]
    expected = tensor_algebra.unit(d, order)
    for increment in np.diff(path, axis=0):
        piece = np.zeros_like(expected)
        piece[1 : d + 1] = increment
        expected = multiply(expected, tensor_algebra.exp(piece, d, order), d, order)
    assert_same(with_constant(signature(path, order)), expected, path, order)


@given(paths(), ORDERS, st.data())
def test_chen_one_path_after_another_is_the_product_of_their_signatures(path: Floats, order: int, data: st.DataObject):
    if len(path) < 3:
        path = np.concatenate([path, path + 0.25])
    cut = data.draw(st.integers(1, len(path) - 2))
    parts = [with_constant(signature(part, order)) for part in (path[: cut + 1], path[cut:])]
    joined = multiply(parts[0], parts[1], path.shape[1], order)
    assert_same(joined, with_constant(signature(path, order)), path, order)


@given(arrays(np.float64, st.integers(1, 4), elements=STEPS), ORDERS, st.integers(1, 5))
def test_a_line_has_the_tensor_exponential_of_its_increment(increment: Floats, order: int, pieces: int):
    line = np.linspace(0, 1, pieces + 1)[:, np.newaxis] * increment + 0.5
    expected = [np.prod([increment[i] for i in word]) / factorial(len(word)) for word in words(len(increment), order)]
    assert_same(signature(line, order), np.array(expected), line, order)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_parabola_has_its_iterated_integrals(order: int):
    """(t, t^2): integrating powers, letter i adds p = 1 or 2 to the exponent and divides its own p by the sum so far.

    A parabola cut into n chords is off by O(1/n^2), so two sizes of n extrapolate to O(1/n^4).
    """
    expected = []
    for word in words(2, order):
        exponents = np.cumsum([letter + 1 for letter in word])
        expected.append(np.prod([(letter + 1) / total for letter, total in zip(word, exponents, strict=True)]))
    coarse, fine = (signature(np.stack([t, t**2], 1), order) for t in (np.linspace(0, 1, n) for n in (201, 401)))
    np.testing.assert_allclose(fine + (fine - coarse) / 3, expected, rtol=0, atol=1e-9)
    assert np.abs(fine - expected).max() < 1e-5


@given(paths(), ORDERS)
def test_the_path_run_backwards_has_the_inverse(path: Floats, order: int):
    d = path.shape[1]
    there, back = (with_constant(signature(each, order)) for each in (path, path[::-1]))
    both_ways = np.concatenate([path, path[::-1]])
    assert_same(multiply(there, back, d, order), tensor_algebra.unit(d, order), both_ways, order)
    assert_same(back, tensor_algebra.inverse(there, d, order), both_ways, order)


@given(paths(), ORDERS)
def test_the_antipode_reverses_words_and_signs_odd_ones(path: Floats, order: int):
    columns = words(path.shape[1], order)
    place = {word: k for k, word in enumerate(columns)}
    there, back = signature(path, order), signature(path[::-1], order)
    antipode = np.array([(-1) ** len(word) * there[place[word[::-1]]] for word in columns])
    assert_same(back, antipode, path, order)


@pytest.mark.parametrize(("channels", "order"), [(1, 6), (2, 6), (3, 4), (4, 3)])
def test_products_of_coordinates_are_sums_over_shuffles(channels: int, order: int):
    """All pairs of words with |I| + |J| <= order."""
    path = np.random.default_rng(channels).uniform(-0.3, 0.3, (12, channels))
    columns = words(channels, order)
    found = dict(zip(columns, signature(path, order), strict=True))
    pairs = 0
    for first, second in product(columns, columns):
        if len(first) + len(second) <= order:
            pairs += 1
            total = sum(times * found[word] for word, times in shuffle(first, second).items())
            assert abs(found[first] * found[second] - total) <= 1e-14 * largest(path, order) * 10
    assert pairs == sum(channels**n * (n - 1) for n in range(2, order + 1))


def test_the_shuffles_of_time_and_price_as_one_writes_them_down():
    path = time_augmented(np.random.default_rng(1).normal(size=50).cumsum() / 7, window_normalised=True)
    found = dict(zip(words(2, 3), signature(path, 3), strict=True))
    assert found[0, 1] + found[1, 0] == pytest.approx(found[0,] * found[1,], abs=1e-14)
    assert found[1, 1] == pytest.approx(found[1,] ** 2 / 2, abs=1e-14)
    assert found[1, 1, 1] == pytest.approx(found[1,] ** 3 / 6, abs=1e-14)
    assert [found[0,], found[0, 0], found[0, 0, 0]] == pytest.approx([1, 1 / 2, 1 / 6], abs=1e-14)


@given(st.integers(2, 200), st.integers(1, 6))
def test_words_of_time_alone_are_powers_over_factorials(points: int, order: int):
    values = np.random.default_rng(points).normal(size=points)
    found = dict(zip(words(2, order), signature(time_augmented(values, window_normalised=False), order), strict=True))
    for k in range(1, order + 1):
        assert found[(0,) * k] == pytest.approx((points - 1) ** k / factorial(k), rel=1e-13)


@given(paths(), ORDERS)
def test_levels_stay_within_the_factorial_bound(path: Floats, order: int):
    variation = np.abs(np.diff(path, axis=0)).sum()
    found = with_constant(signature(path, order))
    for k, level in enumerate(tensor_algebra.level_slices(path.shape[1], order)):
        assert np.abs(found[level]).sum() <= variation**k / factorial(k) * (1 + 1e-13)


@given(paths(), ORDERS, st.data())
def test_without_time_only_the_route_counts(path: Floats, order: int, data: st.DataObject):
    """Waiting at a point and halting on a straight piece change nothing; nor does a shift of the origin."""
    at = data.draw(st.integers(0, len(path) - 2))
    waiting = np.insert(path, at, path[at], axis=0)
    np.testing.assert_array_equal(signature(waiting, order), signature(path, order))
    halting = np.insert(path, at + 1, path[at] + 0.25 * (path[at + 1] - path[at]), axis=0)
    assert_same(signature(halting, order), signature(path, order), path, order)
    assert_same(signature(path + 2.0, order), signature(path, order), path, order)


def test_with_time_the_speed_counts():
    early, late = (time_augmented(values, window_normalised=True) for values in ([0.0, 1, 1, 1], [0.0, 0, 0, 1]))
    found = [dict(zip(words(2, 2), signature(path, 2), strict=True)) for path in (early, late)]
    assert found[0][1,] == found[1][1,]
    # The integral of t dX: the jump is spread over the first third and over the last.
    assert [each[0, 1] for each in found] == pytest.approx([1 / 6, 5 / 6])


def one_step_expectation(steps: int, order: int) -> Floats:
    """E exp(h) for h = (1/steps, N(0, 1/steps)): the Gaussian moments over factorials, exactly."""
    expected = [1.0]
    for word in words(2, order):
        ones = sum(word)
        moment = 0 if ones % 2 else factorial(ones) / (2 ** (ones // 2) * factorial(ones // 2))
        expected.append(moment * steps ** (-ones / 2 - (len(word) - ones)) / factorial(len(word)))
    return np.array(expected)


def brownian_expectation(order: int) -> Floats:
    """exp(e_0 + e_11 / 2): the expected Stratonovich signature of (t, W) at time 1 (Fawcett)."""
    generator = np.zeros(1 + signature_length(2, order))
    generator[1 + words(2, order).index((0,))] = 1.0
    generator[1 + words(2, order).index((1, 1))] = 0.5
    return tensor_algebra.exp(generator, 2, order)


def test_brownian_motion_cut_ever_finer_has_the_expected_stratonovich_signature():
    found = dict(zip(words(2, 4), brownian_expectation(4)[1:], strict=True))
    named = {(0,): 1, (0, 0): 1 / 2, (1, 1): 1 / 2, (0, 0, 0): 1 / 6, (0, 1, 1): 1 / 4, (1, 1, 0): 1 / 4,
             (1, 0, 1): 0, (1, 1, 1, 1): 1 / 8}  # fmt: skip
    assert {word: found[word] for word in named} == pytest.approx(named, abs=1e-15)
    errors = []
    for doublings in (6, 8, 10):
        expected = one_step_expectation(2**doublings, 4)
        for _ in range(doublings):
            expected = multiply(expected, expected, 2, 4)
        errors.append(np.abs(expected - brownian_expectation(4)).max())
    assert errors[0] < 0.01
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.1)  # first order in the step


def test_the_mean_signature_of_simulated_brownian_paths_is_the_expected_one():
    """Within five standard errors of the exact expectation at this step size, and of the limit plus the step's bias."""
    paths_drawn, doublings = 40_000, 6
    steps = 2**doublings
    increments = np.random.default_rng(7).normal(scale=steps**-0.5, size=(paths_drawn, steps))
    values = np.concatenate([np.zeros((paths_drawn, 1)), increments.cumsum(axis=1)], axis=1)
    found = signature(time_augmented(values[..., np.newaxis], window_normalised=True), 3)
    expected = one_step_expectation(steps, 3)
    for _ in range(doublings):
        expected = multiply(expected, expected, 2, 3)
    error = found.std(axis=0) / paths_drawn**0.5
    assert (np.abs(found.mean(axis=0) - expected[1:]) <= 5 * error + 1e-12).all()
    bias = np.abs(expected - brownian_expectation(3))[1:]
    assert (np.abs(found.mean(axis=0) - brownian_expectation(3)[1:]) <= 5 * error + bias + 1e-12).all()


@given(st.integers(1, 4), ORDERS, st.integers(1, 40))
def test_a_row_is_the_same_to_the_bit_whatever_stands_beside_it(channels: int, order: int, count: int):
    batch = np.random.default_rng(count).normal(size=(count, 7, channels))
    together = signature(batch, order)
    assert together.shape == (count, signature_length(channels, order))
    for path, row in zip(batch, together, strict=True):
        np.testing.assert_array_equal(signature(path, order), row)


def test_the_unrolled_order_three_is_the_general_one_to_the_bit():
    for channels in (1, 2, 3):
        path = np.random.default_rng(channels).normal(size=(30, channels))
        np.testing.assert_array_equal(
            signature(path, 3), signature(path, 4)[: signature_length(channels, 3)], strict=True
        )


def test_any_array_of_numbers_will_do():
    path = np.random.default_rng(2).normal(size=(9, 2))
    frozen = path.copy()
    frozen.flags.writeable = False
    for same in (path.tolist(), np.asfortranarray(path), frozen, np.repeat(path, 2, axis=0)[::2]):
        np.testing.assert_array_equal(signature(same, 3), signature(path, 3))
    whole = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(signature(whole, 2), signature(whole.astype(float), 2))


def test_no_path_at_all_gives_no_row():
    assert signature(np.empty((0, 5, 2)), 3).shape == (0, 14)


def spoiled(shape: tuple[int, ...], at: tuple[int, ...], value: float) -> Floats:
    values = np.ones(shape)
    values[at] = value
    return values


@pytest.mark.parametrize(
    ("path", "order", "column", "at"),
    [
        (spoiled((9, 2), (4, 1), np.nan), 3, "paths[1]", 4),
        (spoiled((9, 2), (0, 0), np.inf), 3, "paths[0]", 0),
        (spoiled((5, 9, 3), (2, 8, 2), -np.inf), 3, "paths[2]", 8),
        (spoiled((5, 9, 3), (2, 8, 2), np.nan), 1, "paths[2]", 8),
        (spoiled((9, 2), (4, 1), 1e200), 3, "paths", None),
        (np.ones((1, 2)), 3, "paths", None),
        (np.ones((9, 0)), 3, "paths", None),
        (np.ones(9), 3, "paths", None),
        (np.ones((2, 2, 2, 2)), 3, "paths", None),
        (np.ones((9, 2)), 0, "order", None),
        (np.ones((9, 2)), 2.5, "order", None),
        ([["a", "b"], ["c", "d"]], 3, "paths", None),
        ([[1.0, 2.0], [1.0]], 3, "paths", None),
    ],
)
def test_bad_paths_are_refused_by_name_and_place(path, order, column: str, at: int | None):
    with pytest.raises(BadInput) as refusal:
        signature(path, order)
    assert (refusal.value.column, refusal.value.at) == (column, at)


def test_columns_are_named_in_order():
    assert words(2, 2) == [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    for channels, order in product(range(1, 5), range(1, 5)):
        assert len(words(channels, order)) == signature_length(channels, order)


@pytest.mark.parametrize(
    ("channels", "order", "log", "features"),
    [
        (2, 3, False, 14), (2, 4, False, 30), (3, 2, False, 12), (4, 2, False, 20), (5, 2, False, 30),
        (31, 1, False, 31), (3, 3, True, 14), (4, 3, True, 30), (2, 6, True, 23), (1, 31, False, 31), (1, 99, True, 1),
    ],
)  # fmt: skip
def test_fewer_than_32_features_pass(channels: int, order: int, log: bool, features: int):
    check_width(channels, order, log)
    assert features == (log_signature_length if log else signature_length)(channels, order)


@pytest.mark.parametrize(
    ("channels", "order", "log", "features"),
    [(3, 3, False, 39), (2, 5, False, 62), (32, 1, False, 32), (1, 32, False, 32), (3, 4, True, 32), (6, 2, False, 42)],
)
def test_32_features_and_more_are_refused(channels: int, order: int, log: bool, features: int):
    with pytest.raises(BadInput, match=f"{channels} channels to order {order} has {features} features"):
        check_width(channels, order, log)


def test_time_is_the_first_channel():
    np.testing.assert_array_equal(time_augmented([5.0, 7, 6], True), [[0, 5], [0.5, 7], [1, 6]])
    np.testing.assert_array_equal(time_augmented([5.0, 7, 6], False), [[0, 5], [1, 7], [2, 6]])
    many = time_augmented(np.ones((4, 5, 2)), True)
    assert many.shape == (4, 5, 3)
    np.testing.assert_array_equal(many[2, :, 0], np.linspace(0, 1, 5))


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], 3.0, np.ones((1, 2))])
def test_time_is_not_added_to_what_is_no_path(values):
    with pytest.raises(BadInput, match="column values"):
        time_augmented(values, True)
