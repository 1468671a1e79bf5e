"""Every alarm is made to fire and to be silent; repeats are held back, and counted where everyone sees it."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.alarms import AlarmBook, AlarmLimits, AlarmStatus, Judgement, Readings, judge
from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.service_levels import ServiceLevel

SECOND = 10**9
MINUTE = 60 * SECOND
NOW = 1_763_424_000 * SECOND
LIMITS = AlarmLimits()
UPTIME = ServiceLevel("uptime", Decimal("0.999"), "fraction", ">=", Decimal("0.995"), 3600, 200, True, "")
BREACHED = replace(UPTIME, value=Decimal("0.95"), met=False)
QUIET = Readings(
    now_ns=NOW,
    since_ns=NOW - 60 * MINUTE,
    last_tick_ns=NOW - 10 * SECOND,
    errors_last_minute=0,
    last_heartbeat_ns=NOW - 5 * SECOND,
    levels=(UPTIME,),
    naked_ns=None,
    drawdown_daily=Decimal("-0.01"),
)
ALL = ["no_ticks", "errors", "lost_heartbeat", "service_level:uptime", "naked_position", "drawdown"]


def judged(**changes: object) -> dict[str, Judgement]:
    return {each.name: each for each in judge(replace(QUIET, **changes), LIMITS)}


def test_all_alarms_are_silent_on_a_quiet_day() -> None:
    quiet = judged()
    assert list(quiet) == ALL
    assert [each.firing for each in quiet.values()] == [False] * len(ALL)
    assert AlarmBook().review(QUIET) == ()


@pytest.mark.parametrize(
    ("name", "firing", "silent"),
    [
        ("no_ticks", {"last_tick_ns": NOW - 15 * MINUTE}, {"last_tick_ns": NOW - 15 * MINUTE + 1}),
        (
            "no_ticks",
            {"last_tick_ns": None, "since_ns": NOW - 15 * MINUTE},
            {"last_tick_ns": None, "since_ns": NOW - MINUTE},
        ),
        ("errors", {"errors_last_minute": 11}, {"errors_last_minute": 10}),
        ("lost_heartbeat", {"last_heartbeat_ns": NOW - MINUTE - 1}, {"last_heartbeat_ns": NOW - MINUTE}),
        ("lost_heartbeat", {"last_heartbeat_ns": None}, {"last_heartbeat_ns": None, "since_ns": NOW - SECOND}),
        ("service_level:uptime", {"levels": (BREACHED,)}, {"levels": (replace(UPTIME, value=Decimal("0.995")),)}),
        ("naked_position", {"naked_ns": SECOND // 2 + 1}, {"naked_ns": SECOND // 2}),
        ("drawdown", {"drawdown_daily": Decimal("-0.05")}, {"drawdown_daily": Decimal("-0.0499")}),
    ],
)
def test_each_alarm_fires_at_its_limit_and_is_silent_just_before(
    name: str, firing: dict[str, object], silent: dict[str, object]
) -> None:
    """And it alone: no reading sets off another alarm."""
    fires = judged(**firing)
    assert [each for each in fires if fires[each].firing] == [name]
    assert not any(each.firing for each in judged(**silent).values())
    book = AlarmBook()
    assert [notice.name for notice in book.review(replace(QUIET, **firing))] == [name]
    assert AlarmBook().review(replace(QUIET, **silent)) == ()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("drawdown", {"drawdown_daily": None}),
        ("service_level:uptime", {"levels": (replace(UPTIME, met=None, reason="3 of the 200 samples needed"),)}),
    ],
)
def test_what_cannot_be_judged_neither_fires_nor_looks_silent(name: str, changes: dict[str, object]) -> None:
    found = judged(**changes)
    assert found[name].firing is None
    book = AlarmBook()
    assert book.review(replace(QUIET, **changes)) == ()
    assert {status.name: status.firing for status in book.status()}[name] is None


def test_details_say_the_number_and_the_limit() -> None:
    assert judged(errors_last_minute=42)["errors"].detail == "42 errors in the last minute, 10 are allowed"
    assert judged(naked_ns=SECOND)["naked_position"].detail == "one leg stood alone for 1.000 s"
    assert judged(drawdown_daily=Decimal("-0.07"))["drawdown"].detail == (
        "today's drawdown is -7.00% of the peak, the limit -5.00%"
    )
    assert judged(levels=(BREACHED,))["service_level:uptime"].detail == (
        "uptime is 0.9500, promised is >= 0.995 (fraction)"
    )


def errors(now_ns: int, number: int = 11) -> Readings:
    return replace(
        QUIET, now_ns=now_ns, last_tick_ns=now_ns, last_heartbeat_ns=now_ns, errors_last_minute=number, levels=()
    )


def status_of(book: AlarmBook) -> AlarmStatus:
    return next(status for status in book.status() if status.name == "errors")


def test_repeats_within_ten_minutes_are_held_back_and_the_next_notice_says_how_many() -> None:
    book = AlarmBook()
    first = book.review(errors(NOW))
    assert [(notice.name, notice.suppressed, notice.raised_ns) for notice in first] == [("errors", 0, NOW)]
    for minute in range(1, 10):
        assert book.review(errors(NOW + minute * MINUTE)) == ()
        assert status_of(book).suppressed == minute
    assert book.review(errors(NOW + 10 * MINUTE - 1)) == ()
    (second,) = book.review(errors(NOW + 10 * MINUTE))
    assert second.suppressed == 10
    standing = status_of(book)
    assert (standing.suppressed, standing.suppressed_total, standing.since_ns) == (0, 10, NOW)


def test_an_alarm_that_flaps_is_told_once_and_counted() -> None:
    book = AlarmBook()
    told = [book.review(errors(NOW + second * SECOND, 11 * (second % 2))) for second in range(60)]
    assert sum(map(len, told)) == 1
    assert status_of(book).suppressed_total == 29


def test_an_alarm_that_ended_says_so() -> None:
    book = AlarmBook()
    book.review(errors(NOW))
    book.review(errors(NOW + MINUTE, 0))
    assert (status_of(book).firing, status_of(book).since_ns, status_of(book).last_notice_ns) == (False, None, NOW)


def test_alarms_do_not_share_a_cool_down() -> None:
    book = AlarmBook()
    assert len(book.review(errors(NOW))) == 1
    both = replace(errors(NOW + SECOND), drawdown_daily=Decimal("-0.5"))
    assert [notice.name for notice in book.review(both)] == ["drawdown"]


def test_a_clock_set_back_does_not_silence_an_alarm() -> None:
    book = AlarmBook()
    book.review(errors(NOW))
    assert len(book.review(errors(NOW - 60 * MINUTE))) == 1


@pytest.mark.parametrize(
    ("field", "value"), [("now_ns", 0), ("since_ns", -1), ("naked_ns", -1), ("errors_last_minute", -1)]
)
def test_readings_that_cannot_be_are_refused(field: str, value: int) -> None:
    with pytest.raises(BadTelemetry, match=field):
        replace(QUIET, **{field: value})


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 20 * MINUTE), st.booleans()), max_size=30))
def test_every_firing_is_told_or_counted_and_no_two_notices_are_close(steps: list[tuple[int, bool]]) -> None:
    book, now, fired, told = AlarmBook(), NOW, 0, []
    for wait, fires in steps:
        now += wait
        fired += fires
        told += book.review(errors(now, 11 if fires else 0))
    held = status_of(book).suppressed_total if steps else 0
    assert len(told) + held == fired
    assert sum(notice.suppressed for notice in told) + (status_of(book).suppressed if steps else 0) == held
    times = [notice.raised_ns for notice in told]
    assert all(later - earlier >= LIMITS.cooldown_ns for earlier, later in pairwise(times))
