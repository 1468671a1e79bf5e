"""What stands beside the metrics: service levels, alarms, the bus, and the feed events that were refused."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from assets.telemetry.alarms import AlarmStatus
from assets.telemetry.service_levels import ServiceLevel
from dashboards import format as text
from dashboards import telemetry_labels as labels
from dashboards.components.live_strip import STARTED_BY, Notice, feed_pill, heard_ms, rejected_pill, store_notices
from dashboards.components.pills import Pill, pill
from dashboards.components.telemetry_metrics import NO_TRADER
from dashboards.telemetry_snapshot import TelemetrySnapshot, TelemetryView

Shown = dict[str, Any]

STALE = "Telemetry has stopped: these are its last numbers"

_RULES = {"<=": "≤", "<": "<", ">=": "≥"}
_STATES = {True: labels.MET, False: labels.NOT_MET, None: labels.UNDECIDED}
_ALARM_STATES = {True: labels.FIRING, False: labels.SILENT, None: labels.UNKNOWN}
_LATE_STEPS, _STALE_STEPS = 3, 6  # of the grid


def notices(snapshot: TelemetrySnapshot) -> list[Notice]:
    """What is wrong, the gravest first; what only ages (``freshness``) the browser adds."""
    return store_notices(snapshot, "The telemetry document", NO_TRADER, empty=snapshot.view is None)


def stale_after(view: TelemetryView | None) -> int | None:
    """After how many seconds without a word telemetry counts as stopped."""
    return None if view is None else _STALE_STEPS * view.grid_seconds


def pills(snapshot: TelemetrySnapshot) -> list[Pill]:
    """Every pill in order."""
    view = snapshot.view
    if view is None:
        return [feed_pill(snapshot), pill("telemetry", "Telemetry", "None yet", "off", NO_TRADER)]
    return [
        feed_pill(snapshot),
        pill(
            "telemetry",
            "Telemetry",
            "",
            "ok",
            f"A metric tick every {view.grid_seconds} s, day {view.day}",
            since=heard_ms(snapshot),
            stale_after=_LATE_STEPS * view.grid_seconds,
            attention_after=stale_after(view),
        ),
        _tick(view),
        _alarms(view),
        _levels(view),
        _bus(view),
        rejected_pill(view.rejected.items()),
    ]


def service_levels(view: TelemetryView | None) -> Shown:
    """Each level: met, not met, or undecided with its reason."""
    return {
        "title": labels.SERVICE_LEVELS,
        "hint": "the last 72 h",
        "rows": [] if view is None else [_level(level) for level in view.levels],
        "empty": [NO_TRADER, STARTED_BY]
        if view is None
        else ["Not judged yet", "Service levels are judged once a minute"],
    }


def alarms(view: TelemetryView | None) -> Shown:
    """Each alarm: firing, silent or unknown, and how often it was held back."""
    rows = () if view is None else view.alarms
    firing = sum(alarm.firing is True for alarm in rows)
    return {
        "title": labels.ALARMS,
        "hint": f"{firing} of {len(rows)} firing" if rows else "",
        "rows": [_alarm(alarm) for alarm in rows],
        "empty": [NO_TRADER, STARTED_BY] if view is None else ["Not judged yet", "Alarms are reviewed with every tick"],
    }


def bus(view: TelemetryView | None) -> Shown:
    """The publisher's health as facts; without Redis, that there is none."""
    shown: Shown = {"title": labels.BUS, "state": "", "facts": [], "empty": [NO_TRADER, STARTED_BY]}
    if view is None:
        return shown
    if view.bus is None:
        return {**shown, "empty": [labels.NO_REDIS, "The store is the truth; streams are for live readers"]}
    health = view.bus
    failed = str(health.get("failed") or "")
    error = str(health.get("last_error") or "")
    return {
        **shown,
        "state": "failed" if failed else "connected" if health.get("connected") else "lost",
        "note": failed or (f"last error {error}" if error else ""),
        "facts": [[words, _whole(health.get(name)), title] for name, words, title in _BUS_FACTS],
    }


def rejected(view: TelemetryView | None) -> Shown:
    """Refused feed events by reason, the most frequent first, and what the tick's error rate is made of."""
    rows = {} if view is None else view.rejected
    return {
        "title": labels.REJECTED,
        "hint": "" if view is None else f"errors: {view.errors:,} of {view.handled:,} records",
        "rows": [
            [reason.replace("_", " "), f"{count:,}"]
            for reason, count in sorted(rows.items(), key=lambda each: (-each[1], each[0]))
        ],
        "empty": [NO_TRADER, STARTED_BY] if view is None else ["None", "Every event of the feed made sense"],
    }


_BUS_FACTS = (
    ("last_seq", "last event", "Newest event of the log that Redis holds"),
    ("lag_events", "lag", "Events announced that Redis does not hold yet"),
    ("published", "published", "Entries published since the publisher began"),
    ("already_there", "already there", "Entries that a refill found in place"),
    ("errors", "errors", "Failed attempts"),
    ("refused", "refused", "Entries that Redis held a later id than"),
    ("dropped", "dropped", "Entries outside of the log that gave way while Redis was away"),
    ("reconnects", "reconnects", "How often the connection came back"),
    ("refills", "refills", "How often streams were filled again"),
    ("replaced", "replaced", "Streams filled again because another log had written them"),
)


def _level(level: ServiceLevel) -> Shown:
    rule = f"{_RULES.get(level.rule, level.rule)} {_amount(level.target, level.unit)}"
    samples = f"{level.samples:,} samples"
    return {
        "name": level.name,
        "text": _amount(level.value, level.unit),
        "target": rule,
        "samples": samples,
        "met": level.met,
        "state": _STATES[level.met],
        "reason": level.reason,
        "title": f"{level.name} {_amount(level.value, level.unit)}, promised {rule}\n{samples}, {level.needed:,} needed"
        + (f"\n{level.reason}" if level.reason else ""),
    }


def _alarm(alarm: AlarmStatus) -> Shown:
    told = "" if alarm.last_notice_ns is None else f"\nLast told {_instant(alarm.last_notice_ns)}"
    name = alarm.name.removeprefix("service_level:")
    return {
        "name": name,
        "state": _ALARM_STATES[alarm.firing],
        "detail": alarm.detail.removeprefix(f"{name} is "),
        "suppressed": f"{alarm.suppressed_total:,} held back" if alarm.suppressed_total else "",
        "since": None if alarm.since_ns is None else alarm.since_ns // 1_000_000,
        "title": f"{alarm.name}: {alarm.detail}{told}\n"
        f"{alarm.suppressed:,} repeats held back since the last notice, {alarm.suppressed_total:,} in all",
    }


def _amount(value: Decimal | None, unit: str) -> str:
    if value is None:
        return text.MISSING
    if unit == "fraction":
        return text.percent(value, signed=False, decimals=2)
    return f"{text.number(value)} {unit}"


def _whole(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else text.MISSING


def _instant(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _tick(view: TelemetryView) -> Pill:
    if view.has_tick:
        return pill("tick", "Tick", "made", "ok", "metrics.tick of the newest instant of the grid")
    return pill("tick", "Tick", "none now", "stale", "P&L is unknown or older than two valuations")


def _alarms(view: TelemetryView) -> Pill:
    firing = [alarm.name for alarm in view.alarms if alarm.firing]
    unknown = sum(alarm.firing is None for alarm in view.alarms)
    if firing:
        return pill("alarms", "Alarms", f"{len(firing)} firing", "attention", "\n".join(firing))
    if not view.alarms:
        return pill("alarms", "Alarms", "None yet", "off", "Alarms are reviewed with every tick")
    rest = f", {unknown} unknown" if unknown else ""
    return pill("alarms", "Alarms", f"{len(view.alarms) - unknown} silent{rest}", "ok", "No alarm is firing")


def _levels(view: TelemetryView) -> Pill:
    if not view.levels:
        return pill("levels", "Levels", "None yet", "off", "Service levels are judged once a minute")
    counts = {met: sum(level.met is met for level in view.levels) for met in (False, True, None)}
    shown = ", ".join(f"{count} {_STATES[met]}" for met, count in counts.items() if count)
    state = "attention" if counts[False] else "ok" if counts[True] else "off"
    return pill(
        "levels", "Levels", shown, state, "\n".join(f"{each.name}: {_STATES[each.met]}" for each in view.levels)
    )


def _bus(view: TelemetryView) -> Pill:
    if view.bus is None:
        return pill("bus", "Redis", "none", "off", labels.NO_REDIS)
    if view.bus.get("failed"):
        return pill("bus", "Redis", "given up", "attention", str(view.bus["failed"]))
    if not view.bus.get("connected"):
        return pill("bus", "Redis", "lost", "attention", str(view.bus.get("last_error") or "not connected"))
    return pill("bus", "Redis", "connected", "ok", "Live readers get what is stored")
