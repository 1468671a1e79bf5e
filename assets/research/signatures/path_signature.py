"""Signatures of piecewise-linear paths: all iterated integrals up to an order, as numbers that describe a path's shape.

For a path X in d channels, <I, S> for the word I = (i1, ..., in) is the integral over 0 < u1 < ... < un < T of
dX^i1(u1) ... dX^in(un) (arXiv 2507.23392, section on signatures; Stratonovich for Brownian paths). Channel 0 is time
where there is time. Rows leave out the constant 1 of the empty word; ``words`` names their columns.
"""

from itertools import product
from numbers import Integral
from typing import Any

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.signatures import chen
from assets.research.signatures.tensor_algebra import Word

# Brief 1: fewer than 32 features a signature. The constant is no feature.
_TOO_WIDE = 32


def signature(paths: Any, order: int) -> Floats:
    """Signatures (B, F) of ``paths`` (B, T, d), or (F,) of one path (T, d); F = ``signature_length(d, order)``.

    Coordinate I has the product of the units of its letters' channels. A row does not depend, to the last bit, on the
    rows beside it. Raises BadInput for fewer than two points, no channel, a wrong shape, order < 1, and at the first
    number that is not finite.
    """
    several = _numbers(paths, "paths")
    if several.ndim not in (2, 3):
        raise BadInput(f"{several.ndim} axes, not (time, channel) or (path, time, channel)", column="paths")
    order = at_least(1, order, "order")
    batch = several if several.ndim == 3 else several[np.newaxis]
    _, points, channels = batch.shape
    if points < 2:
        raise BadInput(f"{points} points are no path: two are the least", column="paths")
    if channels < 1:
        raise BadInput("no channel", column="paths")
    lanes = chen.LANES if len(batch) > 1 else chen.ALONE
    signatures: Floats = chen.batch(
        batch, order, signature_length(channels, order), chen.letters_of(channels, order), lanes
    )
    refuse_not_finite(signatures, several, "paths")
    return signatures if several.ndim == 3 else signatures[0]


def signature_length(channels: int, order: int) -> int:
    """d + d^2 + ... + d^order: how many coordinates there are beside the constant."""
    channels, order = at_least(1, channels, "channels"), at_least(1, order, "order")
    return sum(channels**level for level in range(1, order + 1))


def words(channels: int, order: int) -> list[Word]:
    """The words of the coordinates in their order: shorter ones first, then lexicographic."""
    channels, order = at_least(1, channels, "channels"), at_least(1, order, "order")
    return [word for level in range(1, order + 1) for word in product(range(channels), repeat=level)]


def log_signature_length(channels: int, order: int) -> int:
    """How many Lyndon words there are up to ``order``: the dimension of the log-signature (Witt's formula)."""
    channels, order = at_least(1, channels, "channels"), at_least(1, order, "order")
    # Every word is a power of a rotation of one Lyndon word, so d^n = sum over the divisors k of n of k * lyndon[k].
    lyndon: dict[int, int] = {}
    for level in range(1, order + 1):
        lyndon[level] = (channels**level - sum(k * lyndon[k] for k in lyndon if level % k == 0)) // level
    return sum(lyndon.values())


def check_width(channels: int, order: int, log: bool = False) -> None:
    """Raise BadInput where the (log-)signature has 32 features or more (the cap of brief 1; no constant)."""
    width = log_signature_length(channels, order) if log else signature_length(channels, order)
    if width >= _TOO_WIDE:
        kind = "log-signature" if log else "signature"
        raise BadInput(
            f"the {kind} of {channels} channels to order {order} has {width} features, not fewer than {_TOO_WIDE}"
        )


def time_augmented(values: Any, window_normalised: bool) -> Floats:
    """``values`` with time as channel 0: (T,) becomes (T, 2); (..., T, d) becomes (..., T, d + 1).

    Time runs from 0 to 1 over the T points where ``window_normalised``, and else counts points (0, 1, 2, ...), whose
    steps are exact and the same in every window. Raises BadInput for fewer than two points and values not finite.
    """
    array = finite(values, "values")
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim < 2 or array.shape[-2] < 2:
        raise BadInput(f"shape {array.shape} has no two points in time", column="values")
    time = np.arange(array.shape[-2], dtype=np.float64)
    if window_normalised:
        time /= time[-1]
    return np.concatenate([np.broadcast_to(time[:, np.newaxis], (*array.shape[:-1], 1)), array], axis=-1)


def single_path(path: Any, window_points: int) -> Floats:
    """``path`` as (T, d) numbers with room for one window; BadInput otherwise. Whether they are finite shows later."""
    array = _numbers(path, "path")
    if array.ndim != 2 or array.shape[1] < 1:
        raise BadInput(f"shape {array.shape} is not (time, channel)", column="path")
    if len(array) < at_least(2, window_points, "window_points"):
        raise BadInput(f"{len(array)} points do not fill one window of {window_points}", column="path")
    return array


def refuse_not_finite(result: Floats, source: Floats, name: str) -> None:
    """Raise BadInput where ``result`` is not finite, naming the first number of ``source`` that is not.

    One bad point spoils the first level of every signature it is in, so looking at the results, which are fewer, is
    enough.
    """
    if not np.isfinite(result).all():
        finite(source, name)
        raise BadInput("increments this large overflow the signature", column=name)


def at_least(least: int, value: int, name: str) -> int:
    """``value`` as int; BadInput where it is no whole number or less than ``least``."""
    if not isinstance(value, Integral) or value < least:
        raise BadInput(f"{value!r} is not a whole number of at least {least}", column=name)
    return int(value)


def _numbers(values: Any, name: str) -> Floats:
    """As the kernels are compiled for: float64, rows contiguous, writable (a copy is cheaper than a compilation)."""
    try:
        return np.require(values, np.float64, ["C", "W"])
    except (TypeError, ValueError):
        return finite(values, name)
