"""The five cards: three with brief 0's immutable labels, then the number of positions and the sizing residual.

A card is ``{id, title, whole, rest, tone, reason, since, delta, spark}``; a missing number carries its reason.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from assets.accounting.precision import divided
from assets.desk.position_table import PositionRow
from dashboards import format as text
from dashboards.components.pills import LOG_STALE_SECONDS, milliseconds
from dashboards.labels import DAILY_PNL, PORTFOLIO_VALUE, TOTAL_PNL
from dashboards.series import Series, Values, sampled
from dashboards.snapshot import Snapshot
from resources.documents import Document, from_iso
from resources.settings import Settings

Card = dict[str, Any]

POSITIONS = "Positions"
RESIDUAL = "Sizing Residual"

NO_ROW = "No row in the log yet: the ticker writes one a minute"
NO_SIGNAL = "Waiting for the first CSV in inbox/"

_SPARK_POINTS = 90
_HERO_WINDOW = timedelta(hours=24)
_RESIDUAL_PARTS = ("rounding", "dropped", "untradable")


def cards(snapshot: Snapshot, rows: list[PositionRow], settings: Settings, now: datetime) -> list[Card]:
    """The cards in order; each is stale when it is older than its own cadence (``stale_after``, seconds)."""
    every_minute = [_portfolio_value(snapshot), _daily_pnl(snapshot, now), _total_pnl(snapshot)]
    every_day = [_positions(snapshot, rows), _residual(snapshot)]
    day = settings.csv_deadline_hours * 3600
    return [
        *(card | {"stale_after": LOG_STALE_SECONDS} for card in every_minute),
        *(card | {"stale_after": day} for card in every_day),
    ]


def _missing(identity: str, title: str, reason: str) -> Card:
    return {"id": identity, "title": title, "whole": text.MISSING, "rest": "", "tone": "missing", "reason": reason}


def _amount(identity: str, title: str, value: Decimal, *, signed: bool, since: datetime) -> Card:
    shown = text.money(value, signed=signed)
    sign = text.sign_of(value) if signed else 0
    return {
        "id": identity,
        "title": title,
        "whole": shown.whole,
        "rest": shown.rest,
        "tone": {1: "gain", 0: "plain", -1: "loss"}[sign],
        "since": milliseconds(since),
    }


def _delta(ratio: Decimal | float | None, note: str) -> dict[str, Any]:
    return {"sign": text.sign_of(ratio), "text": text.percent(ratio), "note": note}


def _since(series: Series, start: int) -> slice:
    return slice(int(np.searchsorted(series.time, start)), len(series))


def _spark(values: Values) -> list[int]:
    return sampled(values, _SPARK_POINTS) if len(values) > 1 else []


def _portfolio_value(snapshot: Snapshot) -> Card:
    row, series = snapshot.row, snapshot.series
    if row is None:
        return _missing("pv", PORTFOLIO_VALUE, NO_ROW)
    card = _amount("pv", PORTFOLIO_VALUE, row.portfolio_value, signed=False, since=row.timestamp)
    day = _since(series, milliseconds(row.timestamp - _HERO_WINDOW))
    value, total = series.value[day], series.total[day]
    if len(value) > 1 and value[0] > 0:
        whole_day = day.start > 0
        span = "24 h" if whole_day else text.duration((int(series.time[-1]) - int(series.time[day.start])) / 1000)
        # The change of total P&L, not of the value: a deposit is not a gain.
        card["delta"] = _delta(float((total[-1] - total[0]) / value[0]), f"last {span}")
    card["spark"] = _spark(value)
    return card


def _daily_pnl(snapshot: Snapshot, now: datetime) -> Card:
    row, baseline, series = snapshot.row, snapshot.baseline, snapshot.series
    if row is None:
        return _missing("daily", DAILY_PNL, NO_ROW)
    card = _amount("daily", DAILY_PNL, row.daily_pnl, signed=True, since=row.timestamp)
    if baseline is None:
        card["delta"] = {"sign": 0, "text": "", "note": "since inception, no baseline yet"}
        card["spark"] = _spark(series.daily)
        return card
    t1 = from_iso(baseline["timestamp_utc"])
    base = Decimal(baseline["portfolio_value"])
    since = text.clock_time(t1, today=now)
    card["delta"] = _delta(divided(row.daily_pnl, base) if base else None, f"since {since.removesuffix(' UTC')}")
    card["spark"] = _spark(series.daily[_since(series, milliseconds(t1))])
    return card


def _total_pnl(snapshot: Snapshot) -> Card:
    row, capital = snapshot.row, snapshot.initial_capital
    if row is None or capital is None:
        return _missing("total", TOTAL_PNL, NO_ROW)
    card = _amount("total", TOTAL_PNL, row.total_pnl, signed=True, since=row.timestamp)
    ratio = divided(row.total_pnl, capital) if capital > 0 else None
    card["delta"] = _delta(ratio, f"on {text.whole_money(capital)}")
    card["spark"] = _spark(snapshot.series.total)
    return card


def _positions(snapshot: Snapshot, rows: list[PositionRow]) -> Card:
    baseline = snapshot.baseline
    if baseline is None:
        return _missing("positions", POSITIONS, NO_SIGNAL)
    long, short = (sum(row.side == side for row in rows) for side in (1, -1))
    return {
        "id": "positions",
        "title": POSITIONS,
        "whole": f"{long + short:,}",
        "rest": "",
        "tone": "plain",
        "since": milliseconds(from_iso(baseline["timestamp_utc"])),
        "delta": {"sign": 0, "text": f"{long} long", "note": f"{short} short"},
        "parts": [["long", long], ["short", short]],
    }


def _residual(snapshot: Snapshot) -> Card:
    detected = snapshot.detected
    if detected is None:
        return _missing("residual", RESIDUAL, NO_SIGNAL)
    shares = residual_shares(detected)
    if shares is None:
        return _missing("residual", RESIDUAL, "pre_execution.json states no residual")
    return {
        "id": "residual",
        "title": RESIDUAL,
        "whole": text.basis_points(sum(shares.values())),
        "rest": "",
        "unit": "bp of pv_pre",
        "tone": "plain",
        "since": milliseconds(from_iso(detected["timestamp_utc"])),
        "parts": [[name, float(share)] for name, share in shares.items()],
        "legend": [[name, text.basis_points(share)] for name, share in shares.items()],
    }


def residual_shares(pre_execution: Document) -> dict[str, Decimal] | None:
    """What sizing left uninvested, as fractions of pv_pre: rounding, dropped and untradable. None when not stated."""
    residual, pv_pre = pre_execution.get("residual"), Decimal(pre_execution.get("pv_pre") or 0)
    if not residual or not pv_pre:
        return None
    return {name: divided(Decimal(residual[name]), pv_pre) for name in _RESIDUAL_PARTS}
