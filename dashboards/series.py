"""The portfolio-value series and how much of it a screen needs: merging, gaps, drawdown, decimation.

Times are int64 milliseconds since the epoch, UTC; the grain is one row a minute, so two rows further apart
than one minute have a gap between them.
"""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Values = NDArray[np.float64]

MINUTE_MS = 60_000

# A screen column cannot show two gaps, and each costs two rows: beyond this the longest ones are shown.
_MOST_GAPS = 200
_GAP_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Series:
    """Rows in time order, one a minute at most; all arrays of one length. Amounts in the reporting currency."""

    time: Times
    value: Values
    daily: Values
    total: Values

    def __len__(self) -> int:
        return len(self.time)

    def merged(self, later: "Series") -> "Series":
        """Both together; where a minute is in both, ``later`` wins."""
        if not len(self) or not len(later):
            return later if not len(self) else self
        disjoint = self.time[-1] // MINUTE_MS < later.time[0] // MINUTE_MS
        columns = [np.concatenate(pair) for pair in zip(self.columns(), later.columns(), strict=True)]
        return Series(*columns) if disjoint else of_rows(*columns)

    def columns(self) -> tuple[Times, Values, Values, Values]:
        return self.time, self.value, self.daily, self.total


EMPTY = Series(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))


def of_rows(time: Times, value: Values, daily: Values, total: Values) -> Series:
    """A Series from rows in any order with repeated minutes: sorted, the last row given for a minute wins."""
    minute = time // MINUTE_MS
    order = np.argsort(minute, kind="stable")
    sorted_minute = minute[order]
    last = np.append(sorted_minute[1:] != sorted_minute[:-1], True) if len(order) else np.empty(0, bool)
    keep = order[last]
    return Series(time[keep], value[keep], daily[keep], total[keep])


def gaps_after(time: Times) -> NDArray[np.intp]:
    """Indices i for which at least one whole minute is missing between row i and row i + 1.

    Only blocks that span more minutes than they have rows are looked into, which is a hundredth of the work.
    """
    if len(time) < 2:
        return np.empty(0, np.intp)
    edges = np.append(np.arange(0, len(time) - 1, _GAP_BLOCK), len(time) - 1)
    holed = np.flatnonzero(np.diff(time[edges] // MINUTE_MS) != np.diff(edges))
    blocks = (slice(edges[block], edges[block + 1] + 1) for block in holed)
    found = [block.start + np.flatnonzero(np.diff(time[block] // MINUTE_MS) > 1) for block in blocks]
    return np.concatenate([np.empty(0, np.intp), *found])


def missing_minutes(time: Times, since: int) -> int:
    """How many minutes from ``since`` (ms) to the last row have no row; minutes before the first row do not count."""
    recent = time[np.searchsorted(time, since) :]
    if not len(recent):
        return 0
    first, last = recent[0] // MINUTE_MS, recent[-1] // MINUTE_MS
    return int(last - first + 1 - len(recent))


def drawdown(total: Values, initial_capital: float) -> Values:
    """Fraction below the highest value so far, <= 0, of capital plus total P&L; the capital itself is the first peak.

    Total P&L leaves deposits and withdrawals out, so moving money in or out is neither a gain nor a drawdown.
    """
    value = initial_capital + total
    peak = np.maximum.accumulate(np.maximum(value, initial_capital))
    return value / peak - 1.0


def decimated(columns: tuple[Values, ...], start: int, stop: int, buckets: int) -> NDArray[np.intp]:
    """Indices in [start, stop) that draw like all of them: first, last and each column's extremes per bucket.

    At most 2 + 2 * buckets * len(columns) indices, sorted; all of them when there are fewer.
    """
    count = stop - start
    if count <= 2 * buckets * len(columns) + 2:
        return np.arange(start, stop)
    width = -(-count // buckets)
    whole = count // width
    tail = start + whole * width
    kept = [np.array([start, stop - 1])]
    firsts = start + np.arange(whole) * width
    for column in columns:
        grid = column[start:tail].reshape(whole, width)
        kept += [firsts + grid.argmin(axis=1), firsts + grid.argmax(axis=1)]
        if tail < stop:
            rest = column[tail:stop]
            kept.append(np.array([tail + rest.argmin(), tail + rest.argmax()]))
    return np.unique(np.concatenate(kept))


@dataclass(frozen=True, slots=True)
class Window:
    """What is drawn of a time range: rows with a NaN row inside each gap, the two ends of each gap, the lowest and
    highest value and the deepest drawdown."""

    time: Values
    value: Values
    drawdown: Values
    gaps: Times  # shape (n, 2): last minute before, first minute after
    low: float
    high: float
    deepest: float


def window(
    series: Series, depth: Values, start: float, end: float, judged: tuple[float, float], buckets: int
) -> Window:
    """The rows of ``series`` with start <= time <= end (ms), plus one either side, decimated and split at gaps.

    The extremes stated are those within ``judged`` (first and last ms of what is in sight).
    """
    time = series.time
    first, stop = _span(time, start, end)
    gaps = first + gaps_after(time[first:stop])
    if len(gaps) > _MOST_GAPS:
        length = time[gaps + 1] - time[gaps]
        gaps = np.sort(gaps[np.argsort(length)[-_MOST_GAPS:]])
    kept = decimated((series.value, depth), first, stop, buckets)
    if len(gaps):
        kept = np.union1d(kept, np.concatenate([gaps, gaps + 1]))
    breaks = np.searchsorted(kept, gaps, side="right")
    middle = (time[gaps] + time[gaps + 1]) / 2
    value, deep = series.value[kept], depth[kept]
    left, right = _span(time, *judged)
    sight = slice(max(first, left), min(stop, right))
    return Window(
        time=np.insert(time[kept].astype(np.float64), breaks, middle),
        value=np.insert(value, breaks, np.nan),
        drawdown=np.insert(deep, breaks, np.nan),
        gaps=np.stack([time[gaps], time[gaps + 1]], axis=1),
        low=float(series.value[sight].min()) if len(kept) else 0.0,
        high=float(series.value[sight].max()) if len(kept) else 0.0,
        deepest=float(depth[sight].min()) if len(kept) else 0.0,
    )


def _span(time: Times, start: float, end: float) -> tuple[int, int]:
    """First and stop index of the rows with start <= time <= end, plus one either side.

    The bounds are made whole numbers: searching for a float would copy all of ``time`` to floats first.
    """
    first, stop = np.searchsorted(time, ceil(start)), np.searchsorted(time, floor(end), side="right")
    return max(0, int(first) - 1), min(len(time), int(stop) + 1)


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) inside [low, high], about ``wanted`` of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / max(wanted, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(float(m * power) for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [index * step for index in range(first, last + 1)]


def sampled(values: Values, points: int) -> list[int]:
    """A sparkline: at most ``points`` values at even steps, first and last kept, scaled to 0..100 (50 when flat)."""
    if not len(values):
        return []
    picked = values[np.unique(np.linspace(0, len(values) - 1, points).round().astype(np.intp))]
    low, high = float(picked.min()), float(picked.max())
    if high <= low:
        return [50] * len(picked)
    return [round(float(v - low) / (high - low) * 100) for v in picked]
