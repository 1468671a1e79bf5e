"""Service levels over the last 72 hours, from recorded samples: what was promised, what was measured, on how much.

A level is judged only on so many samples that a single bad one could not breach it: below that it is neither met nor
breached but undecided, and says so. (The predecessor called every level met until shown otherwise.)
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

from assets.accounting.precision import divided
from assets.telemetry.bad_telemetry import BadTelemetry, instant
from assets.telemetry.percentile import percentile
from resources.documents import to_iso

_NS = Decimal(10**9)
WINDOW_NS = 72 * 3_600 * 10**9
P95 = Fraction(95, 100)


@dataclass(frozen=True, slots=True)
class LatencySample:
    """One record published: from the decision to the acknowledgement of the bus, in nanoseconds."""

    time_ns: int
    latency_ns: int

    def __post_init__(self) -> None:
        instant("time_ns", self.time_ns)
        _not_negative("latency_ns", self.latency_ns)


@dataclass(frozen=True, slots=True)
class LagSample:
    """One record read: how long after its publication a consumer had it, in nanoseconds."""

    time_ns: int
    lag_ns: int

    def __post_init__(self) -> None:
        instant("time_ns", self.time_ns)
        _not_negative("lag_ns", self.lag_ns)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record handed to a consumer's work; the same ``id`` twice is a duplicate."""

    time_ns: int
    id: str

    def __post_init__(self) -> None:
        instant("time_ns", self.time_ns)
        if not self.id:
            raise BadTelemetry("id", "empty")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The service was alive at ``time_ns``."""

    time_ns: int

    def __post_init__(self) -> None:
        instant("time_ns", self.time_ns)


@dataclass(frozen=True, slots=True)
class Targets:
    """What is promised; brief 4's figures, where it has one.

    ``publish_latency_s`` and ``stream_lag_s`` bound 95th percentiles (nearest rank) from above, inclusive; the half
    second is the predecessor's target, the second is the screens' refresh. Duplicates stay strictly below
    ``duplicates``, uptime at or above ``uptime``; both are fractions. ``heartbeat_ns`` is how often the service beats.
    """

    publish_latency_s: Decimal = Decimal("0.5")
    stream_lag_s: Decimal = Decimal(1)
    duplicates: Decimal = Decimal("0.001")
    uptime: Decimal = Decimal("0.995")
    heartbeat_ns: int = 10 * 10**9

    def __post_init__(self) -> None:
        for name in ("duplicates", "uptime"):
            if not 0 < getattr(self, name) < 1:
                raise BadTelemetry(name, f"{getattr(self, name)} promises nothing that could be measured")
        if self.heartbeat_ns <= 0:
            raise BadTelemetry("heartbeat_ns", f"{self.heartbeat_ns} is no interval")


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """One promise. ``value`` and ``target`` in ``unit`` (s, or a fraction of 1), ``rule`` relates them.

    ``met`` is None, and ``reason`` says why, as long as there are fewer than ``needed`` samples; ``value`` is shown
    as soon as there is one, and None without any.
    """

    name: str
    value: Decimal | None
    unit: str
    rule: str
    target: Decimal
    samples: int
    needed: int
    met: bool | None
    reason: str


def service_levels(
    latencies: Iterable[LatencySample],
    lags: Iterable[LagSample],
    deliveries: Iterable[Delivery],
    heartbeats: Iterable[Heartbeat],
    *,
    since_ns: int,
    now_ns: int,
    targets: Targets | None = None,
    window_ns: int = WINDOW_NS,
) -> tuple[ServiceLevel, ...]:
    """The four levels over the window that ends at ``now_ns``; samples outside of it do not count.

    ``since_ns`` is when the service was first meant to run: time before it is neither up nor down. Uptime is the share
    of the time covered by heartbeats: between two that follow within twice their interval it is up throughout, else
    only for one interval after the first. Its samples are the beats that were due. Raises BadTelemetry unless
    since < now.
    """
    promised = Targets() if targets is None else targets
    if not 0 < since_ns < now_ns:
        raise BadTelemetry("since_ns", f"{since_ns} is not before {now_ns}")
    begin = max(since_ns, now_ns - window_ns)
    publishing = [Decimal(each.latency_ns) for each in latencies if begin < each.time_ns <= now_ns]
    lagging = [Decimal(each.lag_ns) for each in lags if begin < each.time_ns <= now_ns]
    delivered = [each.id for each in deliveries if begin < each.time_ns <= now_ns]
    beats = sorted(each.time_ns for each in heartbeats if each.time_ns <= now_ns)
    distinct = len(set(delivered))
    return (
        _at_most("publish_latency_p95", publishing, promised.publish_latency_s),
        _at_most("stream_lag_p95", lagging, promised.stream_lag_s),
        _judged(
            "duplicate_rate",
            divided(Decimal(len(delivered) - distinct), Decimal(len(delivered))) if delivered else None,
            "fraction",
            "<",
            promised.duplicates,
            len(delivered),
            floor(1 / promised.duplicates) + 1,
        ),
        _judged(
            "uptime",
            divided(Decimal(_up_ns(beats, begin, now_ns, promised.heartbeat_ns)), Decimal(now_ns - begin)),
            "fraction",
            ">=",
            promised.uptime,
            (now_ns - begin) // promised.heartbeat_ns,
            ceil(1 / (1 - promised.uptime)),
        ),
    )


def report_csv(levels: Sequence[ServiceLevel], *, now_ns: int, window_ns: int = WINDOW_NS) -> str:
    """The levels as CSV, one row each: values in the unit named; an empty value is undefined, an undecided level says
    ``unknown`` and why."""
    as_of = to_iso(datetime.fromtimestamp(now_ns // 10**9, UTC))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ("as_of", "window_hours", "name", "value", "unit", "rule", "target", "samples", "needed", "met", "reason")
    )
    hours = divided(Decimal(window_ns), 3_600 * _NS)
    for level in levels:
        rows.writerow(
            (
                as_of,
                f"{hours:f}",
                level.name,
                "" if level.value is None else f"{level.value:f}",
                level.unit,
                level.rule,
                f"{level.target:f}",
                level.samples,
                level.needed,
                {True: "yes", False: "no", None: "unknown"}[level.met],
                level.reason,
            )
        )
    return text.getvalue()


def _at_most(name: str, samples_ns: list[Decimal], target_s: Decimal) -> ServiceLevel:
    value = percentile(samples_ns, P95)
    needed = int(1 / (1 - P95))
    seconds = None if value is None else divided(value, _NS)
    return _judged(name, seconds, "s", "<=", target_s, len(samples_ns), needed)


def _judged(
    name: str, value: Decimal | None, unit: str, rule: str, target: Decimal, samples: int, needed: int
) -> ServiceLevel:
    if value is None or samples < needed:
        reason = f"{samples} of the {needed} samples needed"
        return ServiceLevel(name, value, unit, rule, target, samples, needed, None, reason)
    met = {"<=": value <= target, "<": value < target, ">=": value >= target}[rule]
    return ServiceLevel(name, value, unit, rule, target, samples, needed, met, "")


def _up_ns(beats: list[int], begin: int, end: int, interval: int) -> int:
    """How much of [begin, end] the ascending ``beats`` (none later than ``end``) cover, in nanoseconds."""
    up = 0
    if beats and begin < beats[0] <= begin + 2 * interval:
        up += beats[0] - begin
    for beat, following in pairwise([*beats, end]):
        covered = following if following - beat <= 2 * interval else beat + interval
        up += max(0, covered - max(beat, begin))
    return up


def _not_negative(field: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadTelemetry(field, f"{value!r} is no duration")
