"""What the quant cards are made of: a decision document that may lack anything, and facts that say so.

A fact is ``{label, text, title}`` with optional ``note`` (beside the text), ``reason`` (why there is no value; the text
is then the placeholder) and ``tone``. A figure that is not stored is never replaced: zero stays zero, missing is shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from dashboards import format as text
from dashboards.components.pills import milliseconds
from resources.documents import Document, from_iso

Shown = dict[str, Any]

# Lines are drawn on this many levels, more than a card has pixels.
_LEVELS = 1000


@dataclass(frozen=True, slots=True)
class Decided:
    """The newest decision of a symbol as stored; empty with ``absence`` saying why there is none."""

    document: Document
    absence: str = ""

    def step(self, name: str) -> Document:
        """The step's result, empty where the document has none."""
        result: Document | None = self.document.get("steps", {}).get(name)
        return {} if result is None else result

    def why(self, name: str) -> str:
        """Why a value of this step is not there, where the step itself does not say."""
        return self.absence or ("" if self.step(name) else f"the decision has no step {name}")

    @property
    def published(self) -> int | None:
        """When it was stored, in ms."""
        return None if self.absence else moment(self.document.get("published_utc"))

    @property
    def span(self) -> list[str]:
        """The first and the last day of the history, ISO; empty without one."""
        days = [row["day"] for row in self.document.get("history", ())]
        return [min(days), max(days)] if days else []

    def history(self, name: str) -> list[Any]:
        """One column of the past, a value for every day from the oldest to the newest; None where none was decided."""
        rows = {date.fromisoformat(row["day"]): row.get(name) for row in self.document.get("history", ())}
        if not rows:
            return []
        first = min(rows)
        return [rows.get(first + timedelta(days=n)) for n in range((max(rows) - first).days + 1)]


def moment(stamp: str | None) -> int | None:
    """An instant of a document as the browser counts time."""
    return None if not stamp else milliseconds(from_iso(stamp))


def day_name(stamp: str | None) -> str:
    """``20 Nov 2026`` of an ISO day; the placeholder without one."""
    return text.MISSING if not stamp else f"{datetime.fromisoformat(stamp):%d %b %Y}"


def fact(label: str, shown: str | None, title: str, *, reason: str = "", note: str = "", tone: str = "") -> Shown:
    """A labelled value; without one (None or the placeholder) the reason is part of it."""
    if shown is None or shown == text.MISSING:
        return {"label": label, "text": text.MISSING, "title": title, "reason": reason or "not stored"}
    return {"label": label, "text": shown, "title": title, "note": note, "tone": tone}


def gauge(
    label: str,
    value: float | None,
    shown: str,
    title: str,
    *,
    mark: float | None = None,
    note: str = "",
    reason: str = "",
) -> Shown:
    """A radial gauge from 0 to 1; ``value`` is cut to that for the drawing only, ``mark`` is a threshold on the arc."""
    figure = {"label": label, "title": title, "note": note, "mark": mark}
    if value is None:
        return {**figure, "value": None, "text": text.MISSING, "reason": reason or "not stored"}
    return {**figure, "value": min(max(value, 0.0), 1.0), "text": shown, "reason": ""}


def line(values: Iterable[float | None], low: float | None = None, high: float | None = None) -> list[int | None]:
    """Values as levels 0 to 1000 between ``low`` and ``high`` (their own extremes unless given); gaps stay gaps.

    Empty for fewer than two values: one point is no line.
    """
    column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = np.isfinite(column)
    if int(known.sum()) < 2:
        return []
    least = float(column[known].min()) if low is None else low
    most = float(column[known].max()) if high is None else high
    span = most - least
    if not span > 0 or not np.isfinite(span):
        return [_LEVELS // 2 if there else None for there in known]
    levels = np.clip((column - least) / span, 0.0, 1.0) * _LEVELS
    return [round(float(level)) if there else None for level, there in zip(levels, known, strict=True)]
