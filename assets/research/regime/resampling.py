"""Resampling of weighted particles: systematic and residual-multinomial (2508.00696 section 2.2, authors' default).

Both are unbiased: a particle of normalised weight W gets ``count * W`` copies on average. The kernels take a numpy
``Generator``, whose stream is the same inside a compiled kernel and outside, so that a run can be repeated by hand.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from assets.research.bad_input import BadInput, finite

Method = Literal["residual-multinomial", "systematic"]
METHODS: tuple[Method, ...] = ("residual-multinomial", "systematic")


def resample(
    weights: Any, count: int, generator: np.random.Generator, method: Method = "residual-multinomial"
) -> npt.NDArray[np.int64]:
    """Indices (count,) of the particles that survive, for ``weights`` (n,) that sum to one (they are normalised here).

    Raises BadInput for weights that are negative, not finite or all zero, and for a count below one.
    """
    values = finite(weights, "weights")
    if values.ndim != 1 or not values.size:
        raise BadInput(f"one weight a particle is needed, got shape {values.shape}", column="weights")
    if (values < 0).any():
        raise BadInput("negative", column="weights", at=int(np.argmax(values < 0)))
    if values.sum() <= 0:
        raise BadInput("every weight is zero", column="weights")
    if count < 1:
        raise BadInput(f"{count} particles cannot be drawn", column="count")
    ancestors = np.empty(count, np.int64)
    draw_ancestors(
        generator,
        values / values.sum(),
        values.size,
        count,
        METHODS.index(method),
        ancestors,
        np.empty(count + 1),
    )
    return ancestors


@njit(cache=True)
def draw_ancestors(
    generator: Any, weights: Any, size: int, count: int, method: int, ancestors: Any, spacings: Any
) -> None:
    """Write ``count`` ancestors of the first ``size`` normalised ``weights``; ``method`` is an index of METHODS."""
    if method == 0:
        _residual_multinomial(generator, weights, size, count, ancestors, spacings)
    else:
        _systematic(generator, weights, size, count, ancestors)


@njit(cache=True)
def _residual_multinomial(generator: Any, weights: Any, size: int, count: int, ancestors: Any, spacings: Any) -> None:
    """floor(count * W) copies of each particle, the rest multinomial in what the floors left over.

    The multinomial part walks once through sorted uniforms, made as partial sums of exponentials over their total.
    """
    kept = 0
    for particle in range(size):
        for _ in range(int(count * weights[particle])):
            # Rounding can lift the floors of exact multiples by one in all: never write past the end.
            if kept < count:
                ancestors[kept] = particle
                kept += 1
    missing = count - kept
    if missing == 0:
        return
    total = 0.0
    for index in range(missing + 1):
        total += generator.standard_exponential()
        spacings[index] = total
    left_over = 0.0
    for particle in range(size):
        share = count * weights[particle]
        left_over += share - int(share)
    particle, reached = 0, count * weights[0] - int(count * weights[0])
    for index in range(missing):
        level = spacings[index] / total * left_over
        while reached < level and particle < size - 1:
            particle += 1
            share = count * weights[particle]
            reached += share - int(share)
        ancestors[kept + index] = particle


@njit(cache=True)
def _systematic(generator: Any, weights: Any, size: int, count: int, ancestors: Any) -> None:
    """One uniform shifts an even comb over the cumulated weights."""
    offset = generator.random()
    particle, reached = 0, weights[0] * count
    for index in range(count):
        while reached < index + offset and particle < size - 1:
            particle += 1
            reached += weights[particle] * count
        ancestors[index] = particle
