"""The signature of the last window, kept up to date one point at a time."""

from typing import Any

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.signatures import chen
from assets.research.signatures.path_signature import at_least, signature_length


class SignatureStream:
    """The signature of the last ``window_points`` points of a path in ``channels``, to ``order``.

    A queue of two stacks: amortised three products a point, whatever the window. What it gives is, bit for bit, the row
    that ``rolling_signature`` gives for the same window of the same path from its first point on. Constructing compiles
    (or loads) the kernel, so that no point waits for it.
    """

    def __init__(self, channels: int, window_points: int, order: int) -> None:
        pieces = at_least(2, window_points, "window_points") - 1
        self._channels, self._order = at_least(1, channels, "channels"), at_least(1, order, "order")
        self._length = signature_length(channels, order)
        self._letters = chen.letters_of(channels, order)
        self._before = np.zeros(channels)
        self._counts = np.zeros(3, dtype=np.int64)
        self._increments = np.zeros((pieces, channels))
        self._suffixes = np.zeros((pieces + 1, self._length))
        self._parts = np.zeros((4, self._length))
        self.push(np.zeros(channels))
        self._counts[:] = 0

    def push(self, point: Any) -> Floats | None:
        """The window's signature (F,) with ``point`` (d,) as its last; None until there are enough points.

        Raises BadInput for a wrong shape or a number that is not finite, and then forgets the point: the next one
        follows the last good one. Raises it too for windows with an increment so large that the signature overflows.
        """
        try:
            values = np.require(point, np.float64, ["C", "W"])
        except (TypeError, ValueError):
            values = finite(point, "point")
        if values.shape != (self._channels,):
            raise BadInput(f"shape {values.shape}, not ({self._channels},)", column="point")
        whole = np.empty(self._length)
        answer = chen.push_point(
            values, self._before, self._counts, self._increments, self._suffixes, self._parts, whole,
            self._order, self._letters,
        )  # fmt: skip
        if answer == chen.COMPLETE:
            return whole
        if answer == chen.NOT_FINITE:
            finite(values, "point")
        if answer == chen.OVERFLOWN:
            raise BadInput("increments this large overflow the signature", column="point")
        return None
