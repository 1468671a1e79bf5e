"""The truncated tensor algebra: where signatures multiply, and have logarithms and inverses.

An element over ``channels`` letters up to ``order`` is a row of 1 + d + d^2 + ... + d^order numbers: the constant, then
level by level the coefficients of the words in lexicographic order. Functions work on the last axis; leading axes
broadcast. Written for clarity and for whole tables at once; the step-by-step kernels are in ``chen``.

Source: free tensor algebra as used by arXiv 2507.23392; the operations are textbook (Chen, Reutenauer).
"""

from collections import Counter
from functools import cache

import numpy as np

from assets.research.bad_input import BadInput, Floats

Word = tuple[int, ...]


def multiply(left: Floats, right: Floats, channels: int, order: int) -> Floats:
    """The truncated tensor product: level n is the sum over k of left_k (x) right_{n-k}."""
    _right_length("left", left, channels, order)
    _right_length("right", right, channels, order)
    shape = np.broadcast_shapes(left.shape, right.shape)
    levels = level_slices(channels, order)
    product = np.zeros(shape)
    for level, target in enumerate(levels):
        for head, tail in zip(levels[: level + 1], reversed(levels[: level + 1]), strict=True):
            outer = left[..., head, np.newaxis] * right[..., np.newaxis, tail]
            product[..., target] += outer.reshape(*outer.shape[:-2], -1)
    return product


def exp(element: Floats, channels: int, order: int) -> Floats:
    """exp(x) = sum over k of x^k / k!. Raises BadInput unless the constant of x is 0, where the sum is finite."""
    _constant_is(0.0, "exp", element, channels, order)
    result = unit(channels, order)
    for k in range(order, 0, -1):
        result = unit(channels, order) + multiply(element / k, result, channels, order)
    return np.broadcast_to(result, element.shape).copy()


def log(element: Floats, channels: int, order: int) -> Floats:
    """log(1 + x) = sum over k of (-1)^(k+1) x^k / k. Raises BadInput unless the constant is 1."""
    _constant_is(1.0, "log", element, channels, order)
    one = unit(channels, order)
    rest = element - one
    series = np.zeros_like(rest)
    for k in range(order, 0, -1):
        series = multiply(rest, one / k - series, channels, order)
    return series


def inverse(element: Floats, channels: int, order: int) -> Floats:
    """The y with x (x) y = y (x) x = 1. Raises BadInput where the constant is 0, which has none."""
    _right_length("element", element, channels, order)
    constant = element[..., :1]
    if (constant == 0).any():
        raise BadInput("an element with constant 0 has no inverse", column="element")
    one = unit(channels, order)
    rest = element / constant - one
    result = np.broadcast_to(one, element.shape)
    for _ in range(order):
        result = one - multiply(rest, result, channels, order)
    return result / constant


def unit(channels: int, order: int) -> Floats:
    """The element 1."""
    one = np.zeros(level_slices(channels, order)[-1].stop)
    one[0] = 1.0
    return one


def level_slices(channels: int, order: int) -> list[slice]:
    """Where each level, the constant's first, lies in an element."""
    ends = np.cumsum([channels**level for level in range(order + 1)]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def shuffle(first: Word, second: Word) -> Counter[Word]:
    """The shuffle product: every interleaving of two words that keeps both in order, with its multiplicity.

    On signatures <first, S> <second, S> = <first shuffle second, S>.
    """
    return Counter(dict(_shuffle(first, second)))


@cache
def _shuffle(first: Word, second: Word) -> tuple[tuple[Word, int], ...]:
    if not first or not second:
        return ((first + second, 1),)
    total: Counter[Word] = Counter()
    for rest, last in (((first[:-1], second), first[-1]), ((first, second[:-1]), second[-1])):
        for word, times in _shuffle(*rest):
            total[(*word, last)] += times
    return tuple(total.items())


def _right_length(name: str, element: Floats, channels: int, order: int) -> None:
    expected = level_slices(channels, order)[-1].stop
    if element.shape[-1] != expected:
        raise BadInput(
            f"{element.shape[-1]} coefficients, not the {expected} of {channels} channels to order {order}", column=name
        )


def _constant_is(constant: float, operation: str, element: Floats, channels: int, order: int) -> None:
    _right_length("element", element, channels, order)
    if (element[..., 0] != constant).any():
        raise BadInput(f"{operation} needs the constant {constant:g}", column="element")
