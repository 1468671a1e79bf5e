"""Span versus rows: what is missing, repeated or out of order is counted, exactly."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.backtest.coverage import check_coverage, market_coverage
from tests.assets.telemetry.backtest.path_market import MINUTE, PathMarket, flat
from tests.assets.telemetry.backtest.path_market import START as PATH_START

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)


def hours(*numbers: int) -> list[datetime]:
    return [START + number * HOUR for number in numbers]


@pytest.mark.parametrize(
    ("rows", "interval", "claimed", "expected"),
    [
        (684, HOUR, YEAR, 8760),
        (240, 5 * MINUTE, timedelta(days=30), 8640),
        (722, MINUTE, timedelta(days=180), 259_200),
    ],
)
def test_data_shorter_than_their_name(rows: int, interval: timedelta, claimed: timedelta, expected: int) -> None:
    """The three files of the predecessor, each cut at the exchange's limit of candles."""
    (flag,) = check_coverage("bars", [START + n * interval for n in range(rows)], interval, claimed=claimed).flags
    assert flag.code == "short_of_claim"
    assert (flag.numbers["rows"], flag.numbers["expected"]) == (rows, expected)
    assert flag.numbers["claimed_days"] == claimed.days


def test_a_whole_year_is_a_year() -> None:
    coverage = check_coverage("bars", hours(*range(8760)), HOUR, claimed=YEAR, now=START + YEAR)
    assert (coverage.flags, coverage.share, coverage.expected) == ((), 1, 8760)


@settings(max_examples=100)
@given(st.sets(st.integers(0, 60), min_size=1), st.lists(st.integers(0, 60)), st.randoms(use_true_random=False))
def test_every_row_is_present_repeated_or_missing(there: set[int], again: list[int], draw: object) -> None:
    rows = [*sorted(there), *(number for number in again if number in there)]
    draw.shuffle(rows)  # type: ignore[attr-defined]
    coverage = check_coverage("bars", hours(*rows), HOUR, start=START, end=START + 60 * HOUR)
    assert coverage.present == len(there)
    assert sum(gap.missing for gap in coverage.gaps) == 61 - len(there)
    assert coverage.repeated == len(rows) - len(there)
    missing = {
        START + number * HOUR
        for gap in coverage.gaps
        for number in range(61)
        if gap.first <= START + number * HOUR <= gap.last
    }
    assert missing == set(hours(*range(61))) - set(hours(*there))
    assert coverage.backwards == sum(b < a for a, b in itertools.pairwise(rows))


def test_each_fault_has_its_flag_and_numbers() -> None:
    stamps = [*hours(0, 1, 1, 4), START + 90 * MINUTE, datetime(2025, 1, 1, 9)]  # noqa: DTZ001
    coverage = check_coverage("bars", stamps, HOUR, now=START + 3 * HOUR)
    assert {flag.code: dict(flag.numbers) for flag in coverage.flags} == {
        "naive_time": {"rows": 1},
        "missing_rows": {"missing": 2, "expected": 5, "ranges": 1},
        "duplicate_times": {"rows": 1},
        "time_backwards": {"rows": 1},
        "off_grid": {"rows": 1, "interval_seconds": 3600},
        "future_time": {
            "rows": 1, "last": "2025-01-01T04:00:00+00:00", "now": "2025-01-01T03:00:00+00:00",
        },
    }  # fmt: skip
    assert coverage.rows == 6
    assert coverage.document()["named_gaps"] == [
        {"first": "2025-01-01T02:00:00.000000+00:00", "last": "2025-01-01T03:00:00.000000+00:00", "missing": 2}
    ]


def test_nothing_covers_nothing() -> None:
    coverage = check_coverage("bars", [], HOUR)
    assert [flag.code for flag in coverage.flags] == ["no_rows"]
    assert coverage.share == 0
    within = check_coverage("bars", [], HOUR, start=START, end=START + HOUR)
    assert (within.expected, within.present, within.gaps[0].missing) == (2, 0, 2)
    with pytest.raises(ValueError, match="interval"):
        check_coverage("bars", [], timedelta(0))


def test_a_market_is_asked_at_every_bar() -> None:
    path = flat("100", 10)
    path[3:6] = [None] * 3
    market = PathMarket({"BTCUSDT": path, "ETHUSDT": flat("5", 10)})
    whole = PATH_START, PATH_START + 10 * MINUTE
    spans = {"ETHUSDT": (PATH_START + 2 * MINUTE, PATH_START + 4 * MINUTE), "BTCUSDT": whole, "NOPE": whole}
    found = market_coverage(market, spans, MINUTE)
    assert {symbol: coverage.present for symbol, coverage in found.items()} == {"BTCUSDT": 8, "ETHUSDT": 3, "NOPE": 0}
    assert {symbol: (coverage.start, coverage.end) for symbol, coverage in found.items()} == spans
    (gap,) = found["BTCUSDT"].gaps
    assert (gap.first, gap.last, gap.missing) == (PATH_START + 3 * MINUTE, PATH_START + 5 * MINUTE, 3)
