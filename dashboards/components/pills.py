"""Status pills: one fact each, with the thresholds at which the browser calls it stale or in need of attention.

A pill is ``{key, label, text, state, title}``. ``state`` is ``ok``, ``busy``, ``stale``, ``attention`` or ``off``.
With ``since`` (ms) the browser counts its age and raises the state from ``stale_after`` and ``attention_after``
(seconds) on; an empty ``text`` then shows the age itself. ``marks`` are [symbol, ms] pairs counted one by one.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from dashboards import format as text
from dashboards.series import MINUTE_MS, gaps_after, missing_minutes
from dashboards.snapshot import Snapshot
from resources.documents import Document, from_iso
from resources.settings import Settings

Pill = dict[str, Any]

# The log keeps one row a minute: two missed rows are stale, ten need somebody.
LOG_STALE_SECONDS = 2 * 60
_LOG_ATTENTION_SECONDS = 10 * 60

_GAP_WINDOW = timedelta(hours=24)
_RECENT_GAP = timedelta(hours=1)


def status_pills(snapshot: Snapshot, settings: Settings, now: datetime) -> list[Pill]:
    """Every pill of the strip, in order."""
    return [
        _market(snapshot),
        _data(snapshot),
        _executor(snapshot, settings),
        _baseline(snapshot, settings, now),
        _signal(snapshot),
        _prices(snapshot, settings),
        _logger(snapshot),
        *_unreadable(snapshot),
        _dagster(snapshot, settings),
    ]


def milliseconds(instant: datetime) -> int:
    """The instant as the browser counts time."""
    return round(instant.timestamp() * 1000)


def market_source(snapshot: Snapshot) -> str | None:
    """Which market the shown numbers come from, as the stored row says; None while nothing was ever valued."""
    for document in (None if snapshot.row is None else snapshot.row.document, snapshot.prices):
        if document is not None and document.get("source"):
            return str(document["source"]).upper()
    return None


def run_url(snapshot: Snapshot, settings: Settings) -> str | None:
    """The Dagster run of the newest rebalance; None when no run is recorded for it."""
    execution = snapshot.execution
    if execution is None or not execution.get("run_id") or execution.get("rebalance_id") != snapshot.rebalance_id:
        return None
    return f"{settings.dagster_address}/runs/{execution['run_id']}"


def pill(key: str, label: str, shown: str, state: str, title: str, **more: Any) -> Pill:
    """A pill that shows ``shown``; ``more`` are its thresholds, as the module says."""
    return {"key": key, "label": label, "text": shown, "state": state, "title": title, **more}


def _market(snapshot: Snapshot) -> Pill:
    source = market_source(snapshot)
    if source is None:
        return pill("market", "Market", "None yet", "off", "No tick has valued the portfolio yet")
    if source == "SIMULATED":
        return pill("market", "Market", source, "ok", "Prices are drawn by a simulation, not by any market")
    return pill("market", "Market", source, "ok", f"Prices come from {source}")


def _data(snapshot: Snapshot) -> Pill:
    row = snapshot.row
    if row is None:
        return pill("data", "Data", "None yet", "off", "portfolio_value_log.jsonl has no row yet")
    return pill(
        "data",
        "Data",
        "",
        "ok",
        f"Newest row of portfolio_value_log.jsonl, seq {row.seq}",
        since=milliseconds(row.timestamp),
        stale_after=LOG_STALE_SECONDS,
        attention_after=_LOG_ATTENTION_SECONDS,
    )


def _executor(snapshot: Snapshot, settings: Settings) -> Pill:
    execution = snapshot.execution
    if execution is None:
        return pill("executor", "Executor", "Idle", "off", "Nothing was ever executed: execution.json is not there yet")
    if execution.get("state") != "executing":
        return pill("executor", "Executor", "Idle", "ok", f"Last rebalance {execution.get('rebalance_id', '')}")
    step = str(execution.get("step") or "executing")
    started = from_iso(execution["started_utc"])
    return pill(
        "executor",
        "Executor",
        step.replace("_", " ").capitalize(),
        "busy",
        f"Executing {execution.get('rebalance_id', '')}, step {step}",
        since=milliseconds(started),
        attention_after=settings.max_rebalance_minutes * 60,
    )


def _baseline(snapshot: Snapshot, settings: Settings, now: datetime) -> Pill:
    baseline = snapshot.baseline
    if baseline is None:
        return pill("baseline", "Baseline", "None yet", "off", "daily_baseline.json appears after the first execution")
    t1 = from_iso(baseline["timestamp_utc"])
    partial = baseline.get("status") == "partial"
    return pill(
        "baseline",
        "Baseline",
        f"t1 {text.clock_time(t1, today=now)}",
        "stale" if partial else "ok",
        "Some orders stayed unfilled" if partial else f"Prices and positions at t1, {t1:%Y-%m-%d %H:%M:%S} UTC",
        since=milliseconds(t1),
        attention_after=settings.csv_deadline_hours * 3600,
    )


def _signal(snapshot: Snapshot) -> Pill:
    refused = snapshot.unanswered_refusal
    if refused is not None:
        title = f"{refused['csv_filename']} was not executed\n{refused['reason']}"
        return pill("csv", "CSV", str(refused["status"]).capitalize(), "attention", title)
    document = snapshot.executed or snapshot.baseline
    if document is None or not document.get("csv_sha256"):
        return pill("csv", "CSV", "None yet", "off", "Waiting for the first CSV in inbox/")
    sha = str(document["csv_sha256"])
    title = f"{document.get('csv_filename', '')}\nsha256 {sha}"
    return pill("csv", "CSV", f"sha {text.short_hash(sha)}", "ok", title)


def _prices(snapshot: Snapshot, settings: Settings) -> Pill:
    if snapshot.prices is None:
        return pill("prices", "Prices", "None yet", "off", "latest_prices.json is not there yet")
    refused: dict[str, str] = snapshot.prices.get("refused", {})
    symbols = _shown_symbols(snapshot)
    reasons = ", ".join(f"{symbol} {refused[symbol]}" for symbol in symbols if symbol in refused)
    return pill(
        "prices",
        "Prices",
        "",
        "ok",
        f"Refused now: {reasons}" if reasons else "Every shown symbol has a valid mark",
        marks=_mark_times(snapshot.prices, symbols),
        refused=[symbol for symbol in symbols if symbol in refused],
        stale_after=settings.stale_mark_seconds,
    )


def _shown_symbols(snapshot: Snapshot) -> list[str]:
    """Held symbols, or every priced one while nothing is held."""
    if snapshot.baseline is not None and snapshot.baseline.get("positions"):
        return sorted(snapshot.baseline["positions"])
    return [] if snapshot.prices is None else sorted(snapshot.prices.get("prices", {}))


def _mark_times(prices: Document, symbols: Iterable[str]) -> list[list[Any]]:
    as_of = prices.get("as_of", {})
    return [[s, milliseconds(from_iso(as_of[s])) if s in as_of else 0] for s in symbols]


def _logger(snapshot: Snapshot) -> Pill:
    time = snapshot.series.time
    if not len(time):
        return pill("logger", "Logger", "None yet", "off", "The ticker writes one row a minute")
    since = int(time[-1]) - round(_GAP_WINDOW.total_seconds() * 1000)
    missing = missing_minutes(time, since)
    if not missing:
        return pill("logger", "Logger", "No gap", "ok", "A row for every minute of the last 24 h")
    gaps = gaps_after(time[np.searchsorted(time, since) :]) + int(np.searchsorted(time, since))
    start, end = int(time[gaps[-1]]), int(time[gaps[-1] + 1])
    recent = int(time[-1]) - end <= _RECENT_GAP.total_seconds() * 1000
    latest = (end - start) // MINUTE_MS
    when = " to ".join(f"{np.datetime64(edge, 'm')}Z".replace("T", " ") for edge in (start, end))
    return pill(
        "logger",
        "Logger",
        f"Gap {missing} min",
        "attention" if recent else "stale",
        f"{missing} minutes without a row in the last 24 h; the latest gap spans {latest} min, {when}",
    )


def _unreadable(snapshot: Snapshot) -> list[Pill]:
    """Present only when a stored object is not what it should be: its numbers are then shown as missing."""
    keys = snapshot.unreadable
    if not keys:
        return []
    return [pill("unreadable", "Store", f"{len(keys)} unreadable", "attention", "\n".join(keys))]


def _dagster(snapshot: Snapshot, settings: Settings) -> Pill:
    url = run_url(snapshot, settings) or settings.dagster_address
    return pill("dagster", "Dagster", "Open", "link", f"Opens {url}", href=url)
