"""The capital over the session's day: available, open and equity as few points as a chart can show, extremes kept."""

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from assets.arbitrage.view import CapitalPoint, TraderView
from dashboards import arbitrage_labels as labels
from dashboards import format as text
from dashboards.components.arbitrage_shown import Shown, instant
from dashboards.components.arbitrage_summary import NO_TRADER
from dashboards.components.live_strip import STARTED_BY

_BUCKETS = 288  # of five minutes; each gives one to four points
_DAY_MS = 86_400_000


def capital(view: TraderView | None) -> Shown:
    """``points`` are [ms, available, open, equity or None], ``start`` the day's first instant in ms."""
    shown: Shown = {
        "title": labels.CAPITAL_OVER_THE_DAY,
        "labels": [labels.EQUITY, labels.AVAILABLE, labels.OPEN],
        "points": [],
        "empty": [NO_TRADER, STARTED_BY] if view is None else ["No valuation yet", "One point a minute"],
    }
    if view is None or not view.capital:
        return shown
    points = [
        [
            point.time_ns // 1_000_000,
            _cents(point.available),
            _cents(point.open),
            None if point.equity is None else _cents(point.equity),
        ]
        for point in chosen(view.capital, _BUCKETS)
    ]
    newest = view.capital[-1]
    day = instant(newest.time_ns).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        **shown,
        "points": points,
        "start": round(day.timestamp() * 1000),
        "end": round(day.timestamp() * 1000) + _DAY_MS,
        "capital": _cents(view.starting_capital),
        "summary": f"{labels.EQUITY} {text.money(newest.equity).text}, {labels.AVAILABLE}"
        f" {text.money(newest.available).text}, {labels.OPEN} {text.money(newest.open).text}"
        f" at {instant(newest.time_ns):%H:%M} UTC",
    }


def chosen(points: tuple[CapitalPoint, ...], buckets: int) -> list[CapitalPoint]:
    """Of each stretch of time the first, the last and the extremes of equity and of open capital, in order.

    Where equity is unknown the gap's first and last points are kept, so that it stays a gap.
    """
    if len(points) <= buckets:
        return list(points)
    times = np.array([point.time_ns for point in points], dtype=np.int64)
    equity = np.array([np.nan if point.equity is None else float(point.equity) for point in points])
    opened = np.array([float(point.open) for point in points])
    stretch = (times - times[0]) * buckets // (times[-1] - times[0] + 1)
    kept = {0, len(points) - 1} | _extremes(stretch, opened) | _extremes(stretch, equity)
    changes = np.flatnonzero(np.diff(np.isfinite(equity).astype(np.int8)))
    kept |= {int(each) for at in changes for each in (at, at + 1)}
    return [points[index] for index in sorted(kept)]


def _extremes(stretch: NDArray[np.int64], values: NDArray[np.float64]) -> set[int]:
    """Where each stretch has its least and its greatest known value."""
    known = np.flatnonzero(np.isfinite(values))
    found: set[int] = set()
    for keys in (values[known], -values[known]):
        order = known[np.lexsort((keys, stretch[known]))]
        found.update(order[np.diff(stretch[order], prepend=-1) > 0].tolist())
    return found


def _cents(value: Decimal) -> float:
    return round(float(value), 2)
