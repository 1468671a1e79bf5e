"""Log-signatures: Lie elements, told by their Lyndon words, with the signature as their exponential."""

from itertools import product
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput, Floats
from assets.research.signatures import tensor_algebra
from assets.research.signatures.log_signature import log_signature, lyndon_words, rolling_log_signature
from assets.research.signatures.path_signature import log_signature_length, signature, words
from assets.research.signatures.tensor_algebra import Word, multiply

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


def walk(points: int, channels: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(scale=0.2, size=(points, channels)).cumsum(axis=0)


def tensor_log_signature(path: Floats, order: int) -> Floats:
    return tensor_algebra.log(np.concatenate([[1.0], signature(path, order)]), path.shape[1], order)


def letter(number: int, channels: int, order: int) -> Floats:
    element = np.zeros(len(tensor_algebra.unit(channels, order)))
    element[1 + number] = 1.0
    return element


def bracket(left: Floats, right: Floats, channels: int, order: int) -> Floats:
    return multiply(left, right, channels, order) - multiply(right, left, channels, order)


def bracketed(word: Word, channels: int, order: int) -> Floats:
    """A Lyndon word's bracket: of its longest proper Lyndon suffix and what stands before it."""
    if len(word) == 1:
        return letter(word[0], channels, order)
    cut = next(k for k in range(1, len(word)) if word[k:] in set(lyndon_words(channels, order)))
    return bracket(bracketed(word[:cut], channels, order), bracketed(word[cut:], channels, order), channels, order)


@given(SHAPES, st.integers(2, 40))
def test_its_exponential_is_the_signature(shape: tuple[int, int], points: int):
    path = walk(points, shape[0], points)
    found = tensor_algebra.exp(tensor_log_signature(path, shape[1]), *shape)
    variation = np.abs(np.diff(path, axis=0)).sum()
    largest = max(1.0, *(variation**k / factorial(k) for k in range(1, shape[1] + 1)))
    np.testing.assert_allclose(found[1:], signature(path, shape[1]), rtol=0, atol=1e-14 * largest)


@given(SHAPES, st.integers(2, 40))
def test_coordinates_are_the_tensor_logarithm_on_lyndon_words(shape: tuple[int, int], points: int):
    path = walk(points, shape[0], points)
    logarithm = dict(zip(words(*shape), tensor_log_signature(path, shape[1])[1:], strict=True))
    expected = [logarithm[word] for word in lyndon_words(*shape)]
    variation = np.abs(np.diff(path, axis=0)).sum()
    np.testing.assert_allclose(
        log_signature(path, shape[1]), expected, rtol=0, atol=1e-14 * max(1.0, variation ** shape[1])
    )


@pytest.mark.parametrize(("channels", "order"), [(2, 5), (3, 4), (4, 3)])
def test_it_is_a_lie_element(channels: int, order: int):
    """Bracketing the letters of a Lie element of level n from the left multiplies it by n (Dynkin, Specht, Wever)."""
    path = walk(30, channels, 3)
    logarithm = tensor_log_signature(path, order)
    total = np.zeros_like(logarithm)
    for word, coefficient in zip(words(channels, order), logarithm[1:], strict=True):
        nested = letter(word[0], channels, order)
        for number in word[1:]:
            nested = bracket(nested, letter(number, channels, order), channels, order)
        total += coefficient / len(word) * nested
    np.testing.assert_allclose(total, logarithm, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("channels", "order"), [(2, 5), (3, 3), (4, 3)])
def test_lyndon_coordinates_tell_the_whole_logarithm(channels: int, order: int):
    path = walk(30, channels, 4)
    names = lyndon_words(channels, order)
    columns = words(channels, order)
    basis = np.stack([bracketed(word, channels, order)[1:] for word in names])
    on_names = basis[:, [columns.index(word) for word in names]]
    np.testing.assert_array_equal(np.diag(on_names), 1)
    assert np.linalg.det(on_names) == pytest.approx(1)  # triangular
    weights = np.linalg.solve(on_names.T, log_signature(path, order))
    np.testing.assert_allclose(weights @ basis, tensor_log_signature(path, order)[1:], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("channels", "dimensions"), [(1, [1, 1, 1]), (2, [2, 3, 5, 8, 14, 23]), (3, [3, 6, 14, 32]), (4, [4, 10, 30])]
)
def test_dimensions_are_witts(channels: int, dimensions: list[int]):
    for order, dimension in enumerate(dimensions, start=1):
        assert len(lyndon_words(channels, order)) == dimension == log_signature_length(channels, order)


def test_lyndon_words_in_order():
    assert lyndon_words(2, 4) == [(0,), (1,), (0, 1), (0, 0, 1), (0, 1, 1), (0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 1, 1)]
    # The definition said otherwise: smaller than each of its proper suffixes.
    for word in product(range(3), repeat=4):
        assert (word in lyndon_words(3, 4)) == all(word < word[k:] for k in range(1, 4))


def test_a_line_has_its_increment_and_nothing_else():
    line = np.linspace(0, 1, 9)[:, np.newaxis] * [0.5, -2.0, 3.0]
    np.testing.assert_allclose(log_signature(line, 3), [0.5, -2, 3] + [0] * 11, rtol=0, atol=1e-13)


def test_the_second_level_is_the_area_between_path_and_chord():
    square = np.array([[0.0, 0], [2, 0], [2, 3], [0, 3], [0, 0]])
    np.testing.assert_allclose(log_signature(square, 2), [0, 0, 6], rtol=0, atol=1e-14)
    np.testing.assert_allclose(log_signature(square[::-1], 2), [0, 0, -6], rtol=0, atol=1e-14)


@given(SHAPES, st.integers(2, 9), st.integers(0, 40))
def test_rolling_is_each_window_alone_and_batches_are_rows(shape: tuple[int, int], window_points: int, more: int):
    path = walk(window_points + more, shape[0], more)
    windows = np.stack([path[start : start + window_points] for start in range(more + 1)])
    together = log_signature(windows, shape[1])
    assert together.shape == (more + 1, log_signature_length(*shape))
    np.testing.assert_array_equal(together[-1], log_signature(windows[-1], shape[1]))
    np.testing.assert_allclose(rolling_log_signature(path, window_points, shape[1]), together, rtol=0, atol=1e-12)


def test_bad_paths_are_refused():
    with pytest.raises(BadInput, match=r"column paths\[1\] at index 2"):
        log_signature([[0.0, 1], [1, 2], [2, np.nan]], 3)
    with pytest.raises(BadInput, match="do not fill one window"):
        rolling_log_signature(np.ones((3, 2)), 4, 3)
