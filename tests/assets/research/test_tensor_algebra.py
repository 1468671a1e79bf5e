"""The truncated tensor algebra: it is an algebra, exp and log are inverse, and the shuffle product counts right."""

from itertools import combinations, product
from math import comb, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput, Floats
from assets.research.signatures.tensor_algebra import (
    Word,
    exp,
    inverse,
    level_slices,
    log,
    multiply,
    shuffle,
    unit,
)

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5))
SEEDS = st.integers(0, 2**32 - 1)


def element(channels: int, order: int, seed: int, constant: float, *leading: int) -> Floats:
    numbers = np.random.default_rng(seed).uniform(-0.5, 0.5, (*leading, len(unit(channels, order))))
    numbers[..., 0] = constant
    return numbers


@given(SHAPES, SEEDS)
def test_the_product_is_associative_and_has_a_unit(shape: tuple[int, int], seed: int):
    a, b, c = (element(*shape, seed + k, 0.7) for k in range(3))
    left, right = multiply(multiply(a, b, *shape), c, *shape), multiply(a, multiply(b, c, *shape), *shape)
    np.testing.assert_allclose(left, right, rtol=0, atol=1e-14 * np.abs(left).max() * 10)
    np.testing.assert_array_equal(multiply(unit(*shape), a, *shape), a)
    np.testing.assert_array_equal(multiply(a, unit(*shape), *shape), a)


def test_words_multiply_by_being_written_one_after_the_other():
    channels, order = 3, 4
    words = [word for n in range(order + 1) for word in product(range(channels), repeat=n)]
    place = {word: k for k, word in enumerate(words)}
    basis = np.eye(len(words))
    for first, second in product(words, words):
        if len(first) + len(second) <= order:
            got = multiply(basis[place[first]], basis[place[second]], channels, order)
            np.testing.assert_array_equal(got, basis[place[first + second]])


@given(SHAPES, SEEDS)
def test_exp_and_log_undo_each_other(shape: tuple[int, int], seed: int):
    x = element(*shape, seed, 0.0)
    np.testing.assert_allclose(log(exp(x, *shape), *shape), x, rtol=0, atol=1e-13)
    y = element(*shape, seed, 1.0)
    np.testing.assert_allclose(exp(log(y, *shape), *shape), y, rtol=0, atol=1e-13)


@given(SHAPES, SEEDS, st.sampled_from([1.0, -2.0, 0.5]))
def test_an_inverse_is_one_on_both_sides(shape: tuple[int, int], seed: int, constant: float):
    x = element(*shape, seed, constant)
    for one in (multiply(x, inverse(x, *shape), *shape), multiply(inverse(x, *shape), x, *shape)):
        np.testing.assert_allclose(one, unit(*shape), rtol=0, atol=1e-11 * np.abs(inverse(x, *shape)).max())


def test_the_exponential_of_a_letter_has_one_over_k_factorial():
    x = np.zeros(len(unit(2, 5)))
    x[1] = 1.0
    powers = [exp(x, 2, 5)[level.start] for level in level_slices(2, 5)]
    np.testing.assert_allclose(powers, [1 / factorial(k) for k in range(6)], rtol=1e-15)


def test_tables_are_rows_computed_alone():
    x = element(2, 4, 1, 1.0, 3, 5)
    logarithms, inverses = log(x, 2, 4), inverse(x, 2, 4)
    exponentials = exp(logarithms, 2, 4)
    for at in product(range(3), range(5)):
        np.testing.assert_array_equal(logarithms[at], log(x[at], 2, 4))
        np.testing.assert_array_equal(inverses[at], inverse(x[at], 2, 4))
        np.testing.assert_array_equal(exponentials[at], exp(logarithms[at], 2, 4))


WORDS = st.lists(st.integers(0, 2), max_size=4).map(tuple)


@given(WORDS, WORDS)
def test_a_shuffle_is_every_choice_of_places_for_the_first_word(first: Word, second: Word):
    length = len(first) + len(second)
    expected: dict[Word, int] = {}
    for places in combinations(range(length), len(first)):
        letters, others = iter(first), iter(second)
        word = tuple(next(letters) if k in places else next(others) for k in range(length))
        expected[word] = expected.get(word, 0) + 1
    assert shuffle(first, second) == expected == shuffle(second, first)
    assert shuffle(first, second).total() == comb(length, len(first))


def test_a_shuffle_given_away_may_be_changed():
    shuffle((0,), (1,))[(0, 1)] = 99
    assert shuffle((0,), (1,)) == {(0, 1): 1, (1, 0): 1}


@pytest.mark.parametrize(
    ("compute", "what"),
    [
        (lambda: log(np.array([2.0, 1.0, 1.0]), 2, 1), "constant 1"),
        (lambda: exp(np.array([1.0, 1.0, 1.0]), 2, 1), "constant 0"),
        (lambda: inverse(np.array([0.0, 1.0, 1.0]), 2, 1), "no inverse"),
        (lambda: multiply(np.ones(3), np.ones(4), 2, 1), "column right"),
        (lambda: multiply(np.ones(2), np.ones(3), 2, 1), "column left"),
        (lambda: log(np.ones(5), 2, 1), "5 coefficients, not the 3"),
    ],
)
def test_what_has_no_answer_is_refused(compute, what: str):
    with pytest.raises(BadInput, match=what):
        compute()
