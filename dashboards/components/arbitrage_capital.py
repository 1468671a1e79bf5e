"""The capital over the session's day: available, open and equity as few points as a chart can show, extremes kept."""

import numpy as np

from assets.arbitrage.view import CapitalPoint, TraderView
from dashboards import arbitrage_labels as labels
from dashboards import format as text
from dashboards.components.arbitrage_shown import Shown, instant
from dashboards.components.arbitrage_summary import NO_TRADER
from dashboards.components.arbitrage_trades import STARTED_BY

_BUCKETS = 288  # of five minutes; each gives one to six points
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
    edges = np.linspace(times[0], times[-1] + 1, buckets + 1).astype(np.int64)
    bounds = np.searchsorted(times, edges)
    kept: set[int] = {0, len(points) - 1}
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if begin == end:
            continue
        kept |= {begin + int(opened[begin:end].argmin()), begin + int(opened[begin:end].argmax())}
        known = np.isfinite(equity[begin:end])
        if known.any():
            kept |= {begin + int(np.nanargmin(equity[begin:end])), begin + int(np.nanargmax(equity[begin:end]))}
    changes = np.flatnonzero(np.diff(np.isfinite(equity).astype(np.int8)))
    kept |= {int(each) for at in changes for each in (at, at + 1)}
    return [points[index] for index in sorted(kept)]


def _cents(value: object) -> float:
    return round(float(str(value)), 2)
