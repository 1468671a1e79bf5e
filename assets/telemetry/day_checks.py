"""Judges of what telemetry stored of a day: it is read again and computed again. No judge believes what it judges."""

from bisect import bisect_right
from datetime import date

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.day_record import STATE_NS, Standing, day_key, day_of, recomputed, tick_lines
from assets.telemetry.day_report import Verdict
from assets.telemetry.metric_tick import MetricTick, check_tick, parse_tick
from assets.telemetry.telemetry_log import grid_instant, read_ticks, ticks_key
from resources.documents import Document, load_document
from resources.store import NotFound, Store
from resources.store.once import find

_MS_NS = 10**6


def schema_failures(store: Store, source: str, day: date, grid_seconds: int) -> Verdict:
    """Every stored tick of the day by the published schema, its day and its place in time."""
    mine, made = _ticks(store, day_key(source, day, "recomputed.jsonl"), day)
    theirs, resident = _ticks(store, ticks_key(source.lower(), day), day)
    failures = [*mine, *theirs]
    if not made:
        failures.insert(0, f"no tick of {day} is stored")
    instants = [grid_instant(tick.time_ms, grid_seconds) for tick in resident]
    if len(set(instants)) < len(instants):
        failures.append(f"{len(instants) - len(set(instants))} instants of the grid have more than one resident tick")
    return Verdict(tuple(failures), {"recomputed ticks": len(made), "resident ticks": len(resident)})


def _ticks(store: Store, key: str, day: date) -> tuple[list[str], list[MetricTick]]:
    """What is wrong with the stored lines, and the ticks among them."""
    try:
        data = store.read(key).data
    except NotFound:
        return [], []
    failures: list[str] = []
    ticks: list[MetricTick] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        where = f"{key}:{number}"
        try:
            document = load_document(line)
            check_tick(document)
            tick = parse_tick(document)
        except BadTelemetry as error:
            failures.append(f"{where} {error}")
            continue
        except ValueError:
            failures.append(f"{where} is not JSON")
            continue
        if day_of(tick.time_ms * _MS_NS) != day:
            failures.append(f"{where} is of another day")
        if ticks and tick.time_ms <= ticks[-1].time_ms:
            failures.append(f"{where} is not later than the tick before it")
        ticks.append(tick)
    return failures, ticks


def log_differences(store: Store, source: str, day: date, document: Document) -> Verdict:
    """Whether the stored ticks are those of the day's records.

    A resident tick has the P&L of the newest valuation, or of the one before where the trader had not come to the
    newest yet: it makes no tick of one older than two minutes.
    """
    found = recomputed(store, source, document)
    failures: list[str] = []
    try:
        stored = store.read(day_key(source, day, "recomputed.jsonl")).data
    except NotFound:
        failures.append(f"the ticks of {day} are not stored")
    else:
        if stored != tick_lines(found.ticks):
            failures.append(f"the stored ticks of {day} are not those that its records give")
    resident = read_ticks(store, source.lower(), day).ticks
    times = [standing.time_ns for standing in found.standings]
    behind = 0
    for tick in resident:
        time_ns = (tick.time_ms + 1) * _MS_NS - 1  # a tick's time is cut to milliseconds
        newest = bisect_right(times, time_ns)
        recent = [each for each in found.standings[:newest] if time_ns - each.time_ns <= STATE_NS + _MS_NS]
        if recent and _same(tick, recent[-1]):
            continue
        if any(_same(tick, each) for each in recent):
            behind += 1
            continue
        due = f"{recent[-1].fees:f} and {recent[-1].realized:f}" if recent else "unknown"
        failures.append(
            f"the tick of {tick.time_ms} ms has fees {tick.fees:f} and realized {tick.realized:f}, in the log {due}"
        )
    compared = {"ticks recomputed": len(found.ticks), "resident ticks compared": len(resident)}
    return Verdict(tuple(failures), compared | {"of them one valuation behind": behind})


def _same(tick: MetricTick, standing: Standing) -> bool:
    return (tick.fees, tick.realized, tick.unrealized) == (standing.fees, standing.realized, standing.unrealized)


def unmet_levels(store: Store, source: str, day: date) -> Verdict:
    """Stored levels that are breached; where none is decided, all of them with the reason. An undecided one beside
    decided ones is counted and does not fail: without Redis three of the four never are, and a warning that is always
    there is read by nobody."""
    document = find(store, day_key(source, day, "service_levels.json"))
    if document is None:
        return Verdict((f"the service levels of {day} are not stored",), {"levels": 0})
    levels = document["levels"]
    breached = [
        f"breached: {level['name']} is {level['value']} {level['unit']}, promised {level['rule']} {level['target']}"
        for level in levels
        if level["met"] is False
    ]
    undecided = [f"undecided: {level['name']}, {level['reason']}" for level in levels if level["met"] is None]
    met = len(levels) - len(breached) - len(undecided)
    decided = len(undecided) < len(levels)
    return Verdict(
        tuple(breached if decided else undecided), {"met": met, "breached": len(breached), "undecided": len(undecided)}
    )
