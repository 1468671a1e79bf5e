"""Alarms: what is wrong now, said once, and how often it was said already.

``judge`` is a pure function of readings: an alarm fires, is silent, or cannot be judged for want of a reading, which
is shown as such. ``AlarmBook`` keeps a notice from being repeated within ten minutes and counts what it held back.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from assets.telemetry.bad_telemetry import BadTelemetry, instant
from assets.telemetry.service_levels import ServiceLevel

_SECOND = 10**9
_MINUTE = 60 * _SECOND

NO_TICKS, ERRORS, HEARTBEAT, NAKED, DRAWDOWN = "no_ticks", "errors", "lost_heartbeat", "naked_position", "drawdown"
SERVICE_LEVEL = "service_level"  # one alarm for each: service_level:<name>


@dataclass(frozen=True, slots=True)
class AlarmLimits:
    """When alarms fire. Silence, error rate and cool-down are brief 4's predecessor's; the heartbeat is six beats of
    ten seconds, 500 ms is brief 3's limit for one leg alone, and the drawdown (a fraction, positive) is our own."""

    no_ticks_ns: int = 15 * _MINUTE  # as long fires
    errors_a_minute: int = 10  # more fires
    heartbeat_ns: int = _MINUTE  # longer fires
    naked_ns: int = _SECOND // 2  # longer fires: filled at exactly 500 ms is in time
    drawdown_daily: Decimal = Decimal("0.05")  # as deep fires
    cooldown_ns: int = 10 * _MINUTE


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known at ``now_ns``; None means that it never happened (``since_ns``, when watching began, then counts)
    or is unknown.

    ``errors_last_minute`` counts the 60 s before now; ``naked_ns`` is the longest time that one leg stood without its
    other since the last review, one that still does included (looking only at what stands now would miss what came and
    went in between), None when none did; ``drawdown_daily`` is a fraction in [-1, 0], None while it is unknown.
    """

    now_ns: int
    since_ns: int
    last_tick_ns: int | None
    errors_last_minute: int
    last_heartbeat_ns: int | None
    levels: tuple[ServiceLevel, ...]
    naked_ns: int | None
    drawdown_daily: Decimal | None

    def __post_init__(self) -> None:
        instant("now_ns", self.now_ns)
        instant("since_ns", self.since_ns)
        for name in ("naked_ns", "errors_last_minute"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise BadTelemetry(name, f"{value} is negative")


@dataclass(frozen=True, slots=True)
class Judgement:
    """``firing`` is None when a reading is missing; ``detail`` is a sentence for people either way."""

    name: str
    firing: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An alarm to be told. ``suppressed`` is how many times it fired unsaid since it was last told."""

    name: str
    detail: str
    raised_ns: int
    suppressed: int


@dataclass(frozen=True, slots=True)
class AlarmStatus:
    """One alarm as it stands, for screens. ``since_ns`` is when it began to fire, None while it does not;
    ``suppressed`` counts the repeats held back since the last notice, ``suppressed_total`` all of them."""

    name: str
    firing: bool | None
    detail: str
    since_ns: int | None
    last_notice_ns: int | None
    suppressed: int
    suppressed_total: int


def judge(readings: Readings, limits: AlarmLimits) -> tuple[Judgement, ...]:
    """Every alarm, firing or not, always in the same order."""
    now = readings.now_ns
    silent = now - (readings.since_ns if readings.last_tick_ns is None else readings.last_tick_ns)
    unheard = now - (readings.since_ns if readings.last_heartbeat_ns is None else readings.last_heartbeat_ns)
    naked = readings.naked_ns
    return (
        Judgement(NO_TICKS, silent >= limits.no_ticks_ns, f"the last metric tick is {_seconds(silent)} old"),
        Judgement(
            ERRORS,
            readings.errors_last_minute > limits.errors_a_minute,
            f"{readings.errors_last_minute} errors in the last minute, {limits.errors_a_minute} are allowed",
        ),
        Judgement(HEARTBEAT, unheard > limits.heartbeat_ns, f"the last heartbeat is {_seconds(unheard)} old"),
        *(_breach(level) for level in readings.levels),
        Judgement(
            NAKED,
            naked is not None and naked > limits.naked_ns,
            "no leg stood alone" if naked is None else f"one leg stood alone for {_seconds(naked)}",
        ),
        _drawdown(readings.drawdown_daily, limits.drawdown_daily),
    )


def _breach(level: ServiceLevel) -> Judgement:
    name = f"{SERVICE_LEVEL}:{level.name}"
    if level.met is None:
        return Judgement(name, None, f"{level.name} is undecided: {level.reason}")
    stands = f"{level.name} is {level.value:.4f}, promised is {level.rule} {level.target:f} ({level.unit})"
    return Judgement(name, not level.met, stands)


def _drawdown(drawdown: Decimal | None, limit: Decimal) -> Judgement:
    if drawdown is None:
        return Judgement(DRAWDOWN, None, "today's drawdown is unknown")
    stands = f"today's drawdown is {drawdown:.2%} of the peak, the limit {-limit:.2%}"
    return Judgement(DRAWDOWN, -drawdown >= limit, stands)


def _seconds(duration_ns: int) -> str:
    return f"{Decimal(duration_ns).scaleb(-9):.3f} s"


@dataclass(slots=True)
class _Kept:
    judgement: Judgement
    since_ns: int | None = None
    last_notice_ns: int | None = None
    suppressed: int = 0
    suppressed_total: int = 0


@dataclass(slots=True)
class AlarmBook:
    """Remembers what was told. The memory is the process's: after a restart what still fires is told again."""

    limits: AlarmLimits = field(default_factory=AlarmLimits)
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def review(self, readings: Readings) -> tuple[Notice, ...]:
        """The notices due: of each firing alarm one, unless it was told less than the cool-down ago. An alarm that
        stopped and fires again within the cool-down is held back and counted too."""
        judged = judge(readings, self.limits)
        return tuple(notice for each in judged if (notice := self._reviewed(each, readings.now_ns)) is not None)

    def status(self) -> tuple[AlarmStatus, ...]:
        """Every alarm reviewed so far; one whose reading no longer comes stays as it last stood."""
        return tuple(
            AlarmStatus(
                name,
                kept.judgement.firing,
                kept.judgement.detail,
                kept.since_ns,
                kept.last_notice_ns,
                kept.suppressed,
                kept.suppressed_total,
            )
            for name, kept in self._kept.items()
        )

    def _reviewed(self, judgement: Judgement, now_ns: int) -> Notice | None:
        kept = self._kept.setdefault(judgement.name, _Kept(judgement))
        kept.judgement = judgement
        if not judgement.firing:
            kept.since_ns = None
            return None
        kept.since_ns = now_ns if kept.since_ns is None else kept.since_ns
        # A clock set back must not silence an alarm for as long as it was set back.
        if kept.last_notice_ns is not None and 0 <= now_ns - kept.last_notice_ns < self.limits.cooldown_ns:
            kept.suppressed += 1
            kept.suppressed_total += 1
            return None
        notice = Notice(judgement.name, judgement.detail, now_ns, kept.suppressed)
        kept.last_notice_ns, kept.suppressed = now_ns, 0
        return notice
