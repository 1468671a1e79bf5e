"""Chen's identity, compiled: the truncated signatures of many paths grow by one straight piece at a time.

A truncated signature is kept without its constant 1, level by level, words of a level in lexicographic order. ``wide``
signatures are kept at once, one to a lane: coordinate ``c`` of lane ``l`` is ``state[c * wide + l]``, so that the
innermost loops run over neighbouring numbers and compile to vector instructions.

With h the increment of a straight piece, the signature of that piece is exp(h), and level n of ``S (x) exp(h)`` is, by
Horner's rule, ``S_n + (S_{n-1} + (S_{n-2} + ... h/n) (x) h/2) (x) h``: about sum_k d^k multiplications and additions a
step. ``exp(h) (x) S`` mirrors it. (Chen's identity is textbook; arXiv 2507.23392 is what it serves here.)

Two things are said to the compiler through the lengths of tuples, because the length of a tuple belongs to its type and
an integer does not: ``lanes`` has one entry a lane; ``letters`` one entry a channel at order 3, where the loops over
words are unrolled, and none where channels and order are free. (The free form itself takes the number of lanes as an
integer: a short loop of known length would be unrolled into scalars before the vectoriser sees it.) Both ways do the
same operations in the same order and no reassociation or fused multiply-add is allowed, so a signature is the same to
the last bit whether it is computed alone or beside others, and however wide the vector unit is; and a stream gives the
very numbers of the rolling windows.

All compiled code of signatures is in this one file: a stored compilation is renewed when its own file changes, not
when that of a function it calls does.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from assets.research.bad_input import Floats

# Measured: 8 are slower, 32 no faster. The vector units are full and the working set of a step stays in cache.
LANES = (0.0,) * 16
ALONE = (0.0,)
# Measured: unrolling order 3 halves the time of a batch of three channels and costs half as much again at four.
_UNROLLED_CHANNELS = (2, 3)

# What ``push_point`` answers.
NOT_FINITE, INCOMPLETE, COMPLETE, OVERFLOWN = range(4)

_Lengths = tuple[float, ...]

# Array indices are unsigned: a signed one might count from the end, and asking stops the vectoriser.
_u = np.uint64


def letters_of(channels: int, order: int) -> _Lengths:
    """The ``letters`` argument of the kernels: whether there is an unrolled form."""
    return (0.0,) * channels if order == 3 and channels in _UNROLLED_CHANNELS else ()


@njit(cache=True, error_model="numpy")
def _append_right_any(
    state: Floats, increment: Floats, scratch: Floats, channels: int, order: int, wide: np.uint64
) -> None:
    """``append_right`` for any channels and order."""
    d = _u(channels)
    for level in range(order, 1, -1):  # from the top, since a level needs the lower ones as they were
        carried, grown, scaled = scratch[0], scratch[1], scratch[2]
        for row in range(d * wide):
            carried[row] = increment[row] * (1 / level)
        size, start = d, _u(0)
        for lower in range(1, level - 1):
            share = 1 / (level - lower)
            for row in range(d * wide):
                scaled[row] = increment[row] * share
            for row in range(size * wide):
                carried[row] += state[start * wide + row]
            for i in range(size):
                for j in range(d):
                    for lane in range(wide):
                        grown[(i * d + j) * wide + lane] = carried[i * wide + lane] * scaled[j * wide + lane]
            carried, grown = grown, carried
            start += size
            size *= d
        end = start + size
        for row in range(size * wide):
            carried[row] += state[start * wide + row]
        for i in range(size):
            for j in range(d):
                for lane in range(wide):
                    state[(end + i * d + j) * wide + lane] += carried[i * wide + lane] * increment[j * wide + lane]
    for row in range(d * wide):
        state[row] += increment[row]


@njit(cache=True, error_model="numpy")
def append_right(
    state: Floats, increment: Floats, scratch: Floats, channels: int, order: int, letters: _Lengths, lanes: _Lengths
) -> None:
    """``state`` becomes ``state (x) exp(increment)``: the path goes on by one straight piece."""
    wide = _u(len(lanes))
    if len(letters) > 0:
        d = _u(len(letters))
        two, three = d * wide, (d + d * d) * wide
        for lane in range(wide):
            for i in range(d):
                for j in range(d):
                    carried = (increment[i * wide + lane] * (1 / 3) + state[i * wide + lane]) * (
                        increment[j * wide + lane] * (1 / 2)
                    ) + state[two + (i * d + j) * wide + lane]
                    for k in range(d):
                        state[three + ((i * d + j) * d + k) * wide + lane] += carried * increment[k * wide + lane]
            for i in range(d):
                for j in range(d):
                    state[two + (i * d + j) * wide + lane] += (
                        increment[i * wide + lane] * (1 / 2) + state[i * wide + lane]
                    ) * increment[j * wide + lane]
            for i in range(d):
                state[i * wide + lane] += increment[i * wide + lane]
    else:
        _append_right_any(state, increment, scratch, channels, order, wide)


@njit(cache=True, error_model="numpy")
def _append_left_any(
    source: Floats, increment: Floats, target: Floats, scratch: Floats, channels: int, order: int, wide: np.uint64
) -> None:
    """``append_left`` for any channels and order."""
    d = _u(channels)
    for level in range(order, 1, -1):
        carried, grown, scaled = scratch[0], scratch[1], scratch[2]
        for row in range(d * wide):
            carried[row] = increment[row] * (1 / level)
        size, start = d, _u(0)
        for lower in range(1, level - 1):
            share = 1 / (level - lower)
            for row in range(d * wide):
                scaled[row] = increment[row] * share
            for row in range(size * wide):
                carried[row] += source[start * wide + row]
            for j in range(d):
                for i in range(size):
                    for lane in range(wide):
                        grown[(j * size + i) * wide + lane] = carried[i * wide + lane] * scaled[j * wide + lane]
            carried, grown = grown, carried
            start += size
            size *= d
        end = start + size
        for row in range(size * wide):
            carried[row] += source[start * wide + row]
        for j in range(d):
            for i in range(size):
                for lane in range(wide):
                    at = (end + j * size + i) * wide + lane
                    target[at] = source[at] + carried[i * wide + lane] * increment[j * wide + lane]
    for row in range(d * wide):
        target[row] = source[row] + increment[row]


@njit(cache=True, error_model="numpy")
def append_left(
    source: Floats,
    increment: Floats,
    target: Floats,
    scratch: Floats,
    channels: int,
    order: int,
    letters: _Lengths,
    lanes: _Lengths,
) -> None:
    """``target`` becomes ``exp(increment) (x) source``: the path begins one straight piece earlier."""
    wide = _u(len(lanes))
    if len(letters) > 0:
        d = _u(len(letters))
        two, three = d * wide, (d + d * d) * wide
        for lane in range(wide):
            for j in range(d):
                for k in range(d):
                    carried = (increment[k * wide + lane] * (1 / 3) + source[k * wide + lane]) * (
                        increment[j * wide + lane] * (1 / 2)
                    ) + source[two + (j * d + k) * wide + lane]
                    for i in range(d):
                        at = three + ((i * d + j) * d + k) * wide + lane
                        target[at] = source[at] + carried * increment[i * wide + lane]
            for j in range(d):
                for k in range(d):
                    at = two + (j * d + k) * wide + lane
                    target[at] = (
                        source[at]
                        + (increment[k * wide + lane] * (1 / 2) + source[k * wide + lane]) * increment[j * wide + lane]
                    )
            for k in range(d):
                target[k * wide + lane] = source[k * wide + lane] + increment[k * wide + lane]
    else:
        _append_left_any(source, increment, target, scratch, channels, order, wide)


@njit(cache=True, error_model="numpy")
def _join_any(left: Floats, right: Floats, target: Floats, channels: int, order: int, wide: np.uint64) -> None:
    """``join`` for any channels and order."""
    d = _u(channels)
    size, start = d, _u(0)
    for level in range(1, order + 1):
        for row in range(size * wide):
            target[start * wide + row] = left[start * wide + row] + right[start * wide + row]
        head, head_start = d, _u(0)
        tail, tail_start = size // d, start - size // d
        for _ in range(1, level):
            for i in range(head):
                for j in range(tail):
                    for lane in range(wide):
                        target[(start + i * tail + j) * wide + lane] += (
                            left[(head_start + i) * wide + lane] * right[(tail_start + j) * wide + lane]
                        )
            head_start += head
            head *= d
            tail //= d
            tail_start -= tail
        start += size
        size *= d


@njit(cache=True, error_model="numpy")
def join(
    left: Floats, right: Floats, target: Floats, channels: int, order: int, letters: _Lengths, lanes: _Lengths
) -> None:
    """``target`` becomes ``left (x) right``: the signature of one path followed by another."""
    wide = _u(len(lanes))
    if len(letters) > 0:
        d = _u(len(letters))
        two, three = d * wide, (d + d * d) * wide
        for lane in range(wide):
            for i in range(d):
                target[i * wide + lane] = left[i * wide + lane] + right[i * wide + lane]
                for j in range(d):
                    at = two + (i * d + j) * wide + lane
                    target[at] = left[at] + right[at] + left[i * wide + lane] * right[j * wide + lane]
                    for k in range(d):
                        at = three + ((i * d + j) * d + k) * wide + lane
                        target[at] = (
                            left[at]
                            + right[at]
                            + left[i * wide + lane] * right[two + (j * d + k) * wide + lane]
                            + left[two + (i * d + j) * wide + lane] * right[k * wide + lane]
                        )
    else:
        _join_any(left, right, target, channels, order, wide)


@njit(cache=True, error_model="numpy")
def batch(paths: Floats, order: int, length: int, letters: _Lengths, lanes: _Lengths) -> Floats:
    """Signatures (B, length) of ``paths`` (B, T, d), as many paths at a time as there are lanes."""
    count, points, channels = paths.shape
    d = _u(len(letters)) if len(letters) > 0 else _u(channels)
    wide = _u(len(lanes))
    signatures = np.empty((count, length))
    state, scratch = np.empty(_u(length) * wide), np.empty((3, _u(length) * wide))
    increment, before = np.empty(d * wide), np.empty(d * wide)
    for first in range(0, count, len(lanes)):
        used = _u(min(len(lanes), count - first))
        state[:] = 0.0
        increment[:] = 0.0  # lanes without a path stand still
        for lane in range(used):
            for j in range(d):
                before[j * wide + lane] = paths[_u(first) + lane, _u(0), j]
        for t in range(_u(1), _u(points)):
            for lane in range(used):
                for j in range(d):
                    value = paths[_u(first) + lane, t, j]
                    increment[j * wide + lane] = value - before[j * wide + lane]
                    before[j * wide + lane] = value
            append_right(state, increment, scratch, channels, order, letters, lanes)
        for lane in range(used):
            for c in range(_u(length)):
                signatures[_u(first) + lane, c] = state[c * wide + lane]
    return signatures


@njit(cache=True, error_model="numpy")
def _block_increments(path: Floats, block: int, offset: int, pieces: int, increment: Floats, lanes: _Lengths) -> None:
    """Piece ``offset`` of as many blocks of ``pieces`` as there are lanes, from ``block`` on; 0 behind the end."""
    wide = _u(len(lanes))
    points, channels = path.shape
    for lane in range(len(lanes)):
        at = (block + lane) * pieces + offset
        for j in range(_u(channels)):
            increment[j * wide + _u(lane)] = path[_u(at + 1), j] - path[_u(at), j] if at + 1 < points else 0.0


@njit(cache=True, error_model="numpy")
def rolling(path: Floats, pieces: int, order: int, length: int, letters: _Lengths, lanes: _Lengths) -> Floats:
    """Signatures of all windows of ``pieces`` increments of ``path`` (T, d), one row a window.

    Block-Chen: the increments are cut into blocks of ``pieces``. A window that begins ``offset`` pieces into a block is
    the rest of that block followed by the first ``offset`` pieces of the next, so two appends and one product make it,
    whatever the length of the window; nothing is divided out and so nothing drifts. One lane holds one block and the
    next. Takes (pieces + 1) * length * lanes numbers of memory.
    """
    points, channels = path.shape
    windows = points - pieces
    wide = _u(len(lanes))
    rows = _u(length) * wide
    signatures = np.empty((windows, length))
    suffixes = np.zeros((pieces + 1, rows))  # the last one is that of no path at all
    prefix, whole, scratch = np.empty(rows), np.empty(rows), np.empty((3, rows))
    increment = np.empty(_u(channels) * wide)
    for block in range(0, (windows + pieces - 1) // pieces, len(lanes)):
        for offset in range(pieces - 1, -1, -1):
            _block_increments(path, block, offset, pieces, increment, lanes)
            append_left(suffixes[offset + 1], increment, suffixes[offset], scratch, channels, order, letters, lanes)
        prefix[:] = 0.0
        for offset in range(pieces):
            join(suffixes[offset], prefix, whole, channels, order, letters, lanes)
            for lane in range(len(lanes)):
                window = (block + lane) * pieces + offset
                if window < windows:
                    for c in range(_u(length)):
                        signatures[_u(window), c] = whole[c * wide + _u(lane)]
            _block_increments(path, block + 1, offset, pieces, increment, lanes)
            append_right(prefix, increment, scratch, channels, order, letters, lanes)
    return signatures


@njit(cache=True, error_model="numpy")
def push_point(
    point: Floats,
    before: Floats,
    counts: npt.NDArray[np.int64],
    increments: Floats,
    suffixes: Floats,
    parts: Floats,
    whole: Floats,
    order: int,
    letters: _Lengths,
) -> int:
    """One more point of a path whose last window's signature is kept: the queue of two stacks.

    ``counts`` = (1 once a point was seen, pieces in the open block, 1 once a block was closed); ``increments``
    (pieces, d) of the open block; ``suffixes`` (pieces + 1, length) of the closed one; ``parts`` the prefix of the open
    block and three rows of scratch; ``whole`` receives the window's signature where the answer is COMPLETE. A point
    that is NOT_FINITE changes nothing; one too far from the last makes those windows OVERFLOWN that it is in. These are
    the blocks, and so the numbers, of ``rolling``.
    """
    pieces, channels = increments.shape
    for j in range(channels):
        if not math.isfinite(point[j]):
            return NOT_FINITE
    if counts[0] == 0:
        counts[0] = 1
        before[:] = point
        return INCOMPLETE
    prefix, scratch = parts[0], parts[1:]
    at = counts[1]
    for j in range(channels):
        increments[at, j] = point[j] - before[j]
        before[j] = point[j]
    if at + 1 < pieces:
        counts[1] = at + 1
        append_right(prefix, increments[at], scratch, channels, order, letters, ALONE)
    else:
        counts[1], counts[2] = 0, 1
        prefix[:] = 0.0
        for offset in range(pieces - 1, -1, -1):
            append_left(
                suffixes[offset + 1], increments[offset], suffixes[offset], scratch, channels, order, letters, ALONE
            )
    if counts[2] == 0:
        return INCOMPLETE
    join(suffixes[counts[1]], prefix, whole, channels, order, letters, ALONE)
    for c in range(len(whole)):
        if not math.isfinite(whole[c]):
            return OVERFLOWN
    return COMPLETE


@njit(cache=True, error_model="numpy")
def logarithms(signatures: Floats, channels: int, order: int, places: npt.NDArray[np.int64], lanes: int) -> Floats:
    """Columns ``places`` of the tensor logarithms of ``signatures`` (n, length).

    log(1 + x) = x/1 - x (x/2 - x (x/3 - ...)), from the inside; a product with k factors left to come is needed only up
    to level order - k.
    """
    count, length = signatures.shape
    d, wide = _u(channels), _u(lanes)
    found = np.empty((count, len(places)))
    element, series, grown = np.zeros(_u(length) * wide), np.empty(_u(length) * wide), np.empty(_u(length) * wide)
    for first in range(0, count, lanes):
        used = _u(min(lanes, count - first))
        for lane in range(used):
            for c in range(_u(length)):
                element[c * wide + lane] = signatures[_u(first) + lane, c]
        for factor in range(order, 0, -1):
            size, start = d, _u(0)
            for level in range(1, order - factor + 2):
                for row in range(start * wide, (start + size) * wide):
                    grown[row] = element[row] * (1 / factor)
                head, head_start = d, _u(0)
                tail, tail_start = size // d, start - size // d
                for _ in range(1, level):
                    for i in range(head):
                        for j in range(tail):
                            for lane in range(wide):
                                grown[(start + i * tail + j) * wide + lane] -= (
                                    element[(head_start + i) * wide + lane] * series[(tail_start + j) * wide + lane]
                                )
                    head_start += head
                    head *= d
                    tail //= d
                    tail_start -= tail
                start += size
                size *= d
            series, grown = grown, series
        for lane in range(used):
            for column in range(_u(len(places))):
                found[_u(first) + lane, column] = series[_u(places[column]) * wide + lane]
    return found
