"""The backtest metrics of the telemetry page: of the report stored last, with its name and age; damaged ones named."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from assets.telemetry.backtest.report import EquityPoint, Report, report_files, report_key
from assets.telemetry.telemetry_log import BACKTEST, METRICS
from dashboards.backtest_report import NewestReport
from dashboards.pages.telemetry import telemetry
from dashboards.telemetry_snapshot import TelemetryPoller, TelemetrySnapshot
from resources.clock import ManualClock
from resources.documents import dump_document, load_document, sha256_hex
from resources.store import Blob
from tests.dashboards.trader_folder import HOSTILE, NOW, TraderFolder
from tests.memory_store import MemoryStore

NAMES = [metric.name for metric in METRICS if metric.source == BACKTEST]
EARLIER = NOW - timedelta(hours=3)


def files(days: int = 4) -> dict[str, bytes]:
    """A curve without trades, in USDT."""
    begin = datetime(2026, 2, 1, tzinfo=UTC)
    points = tuple(
        EquityPoint(begin + timedelta(hours=n), Decimal("1000.5"), Decimal("1000.5")) for n in range(24 * days)
    )
    return report_files(Report("USDT", "REPLAY", Decimal("1000.5"), points, (), (), {}))


def store_report(store: MemoryStore, name: str, at: datetime, **changes: Any) -> None:
    found = files()
    results = load_document(found["results.json"]) | changes
    for file, data in (found | {"results.json": dump_document(results)}).items():
        store.put(report_key(name, file), data, at)


def shown_by(store: MemoryStore) -> dict[str, Any]:
    poller = TelemetryPoller(store, ManualClock(NOW), "SIMULATED")
    poller.refresh()
    assert poller.snapshot.disconnected == ""
    return card(poller.snapshot)


def card(snapshot: TelemetrySnapshot) -> dict[str, Any]:
    shown = telemetry(snapshot)
    json.dumps(shown, allow_nan=False)
    found = next(
        each for column in shown["records"]["columns"] for each in column if each["title"] == "Backtest result"
    )
    return {**found, "rows": {row["name"]: row for row in found["rows"]}}


def test_without_a_report_the_card_says_what_will_make_one() -> None:
    shown = shown_by(MemoryStore())
    assert {row["reason"] for row in shown["rows"].values()} == {"no backtest stored yet"}
    assert "desk backtest" in shown["hint"]
    assert "desk backtest NAME" in shown["hint_title"]


@pytest.mark.parametrize("trader", [True, False], ids=["with a trader", "without a trader"])
def test_values_are_in_their_units_with_the_report_s_name_currency_and_age(trader: bool) -> None:
    store = MemoryStore()
    if trader:
        TraderFolder(NOW).write(store)
    store_report(
        store, "spring", EARLIER, volatility=Decimal("22.94"), total_signals=50, signal_to_trade_ratio=Decimal("1.16")
    )
    shown = shown_by(store)
    assert list(shown["rows"]) == NAMES
    assert {name: (row["text"], row["unit"]) for name, row in shown["rows"].items()} == {
        "start_value": ("1,000.50", "USDT"),
        "final_equity": ("1,000.50", "USDT"),
        "volatility": ("22.94", "%"),
        "total_signals": ("50", "count"),
        "signal_to_trade_ratio": ("1.16", "ratio"),
    }
    assert shown["hint"] == "spring"
    assert {row["since"] for row in shown["rows"].values()} == {round(EARLIER.timestamp() * 1000)}
    assert {row["stale_after"] for row in shown["rows"].values()} == {None}
    assert len(shown["rows"]["final_equity"]["line"]) == 96
    rest = [row for name, row in shown["rows"].items() if name != "final_equity"]
    assert {(tuple(row["line"]), row["alone"]) for row in rest} == {((), "one value")}
    assert "Exactly 0.2294 fraction" in shown["rows"]["volatility"]["title"]


def test_undefined_is_undefined_and_zero_stays_zero() -> None:
    store = MemoryStore()
    store_report(store, "flat", EARLIER, volatility=None, total_signals=0)
    rows = shown_by(store)["rows"]
    assert (rows["volatility"]["text"], rows["volatility"]["reason"]) == ("—", "two whole days are needed")
    assert (rows["signal_to_trade_ratio"]["text"], rows["signal_to_trade_ratio"]["reason"]) == (
        "—",
        "the backtest has no fill",
    )
    assert (rows["total_signals"]["text"], rows["total_signals"]["reason"]) == ("0", "")


def test_the_report_stored_last_counts_and_is_read_once() -> None:
    store = MemoryStore()
    store_report(store, "zebra", EARLIER)
    reports = NewestReport(store)
    reports.refresh()
    first = reports.report
    reports.refresh()
    assert reports.report is first
    store_report(store, "ant", NOW)
    store.put("reports/results.json", b"not in a folder of its own", EARLIER)
    reports.refresh()
    assert reports.report is not None
    assert (reports.report.name, reports.report.stored_at) == ("ant", NOW)


def signals_over(store: MemoryStore) -> tuple[list[int | None], str]:
    row = shown_by(store)["rows"]["total_signals"]
    return row["line"], row["alone"]


def test_runs_of_the_same_kind_give_the_metrics_a_trend_that_ends_with_the_report_stored_last() -> None:
    store = MemoryStore()
    for day, signals in (("2026-02-09", 30), ("2026-02-10", 10), ("2026-02-11", 20)):
        store_report(store, f"paper_{day}", NOW + timedelta(days=int(day[-2:])), total_signals=signals)
    shown = shown_by(store)
    assert (shown["hint"], shown["rows"]["total_signals"]["text"]) == ("paper_2026-02-11", "20")
    assert signals_over(store) == ([1000, 0, 500], "")
    assert len(shown["rows"]["final_equity"]["line"]) == 96  # its own curve, as before

    store_report(store, "spring", NOW + timedelta(days=12), total_signals=7)
    assert signals_over(store) == ([], "one value")


def runs_of(*names: str, last: str = "") -> list[str]:
    """The names of the runs in the trend of the report stored last: of ``last``, else of the one named first, each
    stored a minute before the one named before it."""
    store = MemoryStore()
    for place, name in enumerate(names):
        store_report(store, name, NOW if name == last else EARLIER - timedelta(minutes=place), total_signals=place)
    reports = NewestReport(store)
    reports.refresh()
    assert reports.report is not None
    assert reports.report.name == (last or names[0])
    return [names[int(place)] for _, place in reports.report.trends["total_signals"] if place is not None]


@pytest.mark.parametrize(
    "names",
    [
        ("paper_paper_2026-02-09", "paper_paper_2026-02-10", "paper_paper_2026-10-01", "paper_paper_2027-01-01"),
        ("week_9", "week_10", "week_111"),
        ("2025-12-29 to 2026-01-04, 2x", "2026-01-05 to 2026-01-11, 2x"),
        ("run8", "run09", "run9", "run10"),
        ("20260209", "20260210"),
    ],
)
def test_the_name_orders_the_runs_whenever_they_were_stored(names: tuple[str, ...]) -> None:
    """Days filled in afterwards, and a store that was copied, have times in any order."""
    assert runs_of(*reversed(names)) == list(names)
    assert runs_of(*names, last=names[-1]) == list(names)
    assert runs_of(*names) == [names[0]], "what came after the report stored last is no run before it"


def test_a_store_whose_files_all_have_one_time_shows_the_last_of_its_days() -> None:
    store = MemoryStore()
    for day in (9, 11, 10):
        store_report(store, f"run_{day}", NOW, total_signals=day)
    assert shown_by(store)["hint"] == "run_11"
    assert signals_over(store) == ([0, 500, 1000], "")


@pytest.mark.parametrize(
    "names",
    [
        ("lev_10x", "lev_2x"),
        ("lev_0.5", "lev_0.25"),
        ("lev_10x_2026-02-10", "lev_2x_2026-02-09"),
        ("paper_okx_2026-02-10", "paper_bybit_2026-02-09"),
        ("week_2026-02-10", "week_9"),
        ("30d_btc", "7d_btc"),
        ("spring", "autumn"),
    ],
)
def test_names_that_differ_in_anything_else_are_no_runs_of_one_kind(names: tuple[str, ...]) -> None:
    """A number inside a name is a parameter: its values are no course of time."""
    assert runs_of(*names) == [names[0]]


def test_a_trend_has_the_last_thirty_runs_and_no_more_are_read() -> None:
    store = Noting()
    for run in range(33):
        store_report(store, f"run_{run}", EARLIER - timedelta(minutes=run) if run < 32 else NOW, total_signals=run)
    reports = NewestReport(store)
    store.asked.clear()
    reports.refresh()
    assert reports.report is not None
    assert [value for _, value in reports.report.trends["total_signals"]] == list(range(3, 33))
    assert len([key for key in store.asked if key.endswith("results.json")]) == 30


def test_a_run_of_another_currency_has_no_part_in_a_trend_and_one_that_cannot_be_read_is_a_gap() -> None:
    store = MemoryStore()
    for run, currency in enumerate(("USDT", "EUR", "USDT", "USDT", "USDT")):
        store_report(store, f"run_{run}", EARLIER + timedelta(minutes=run), currency=currency, total_signals=run)
    store.put(report_key("run_2", "results.json"), b"{", EARLIER + timedelta(minutes=2))
    store_report(store, "run_3", EARLIER + timedelta(minutes=3), total_signals=None)
    assert signals_over(store) == ([0, None, None, 1000], "")
    store.delete(report_key("run_0", "results.json"))
    assert signals_over(store) == ([], "one value")


class Noting(MemoryStore):
    """Notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        self.asked.append(key)
        return super().read(key, tail=tail)


def test_a_run_is_read_once_and_the_next_one_joins_the_trend() -> None:
    store = Noting()
    store_report(store, "run_1", EARLIER, total_signals=1)
    reports = NewestReport(store)
    reports.refresh()
    store.asked.clear()
    store_report(store, "run_2", NOW, total_signals=2)
    reports.refresh()
    assert sorted(store.asked) == ["reports/run_2/equity_curve.csv", "reports/run_2/results.json"]
    assert reports.report is not None
    assert [value for _, value in reports.report.trends["total_signals"]] == [1, 2]


DAMAGE: dict[str, bytes] = {
    "no json": b"{",
    "a list": b"[]",
    "nothing": b"",
    "no currency": dump_document(dict.fromkeys(NAMES, 1)),
    "a text as number": dump_document(load_document(files()["results.json"]) | {"volatility": "much"}),
    "a truth as number": dump_document(load_document(files()["results.json"]) | {"total_signals": True}),
    "a field missing": dump_document({"currency": "USDT", "start_value": 1}),
    "another curve": dump_document(load_document(files()["results.json"]) | {"sha256": {"equity_curve.csv": "0"}}),
    "no hashes": dump_document(load_document(files()["results.json"]) | {"sha256": 3}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_report_is_named_and_its_repair_is_seen(damage: str) -> None:
    store = MemoryStore()
    store_report(store, "good", EARLIER)
    key = report_key("bad", "results.json")
    for file, data in files().items():
        store.put(report_key("bad", file), data, NOW)
    store.put(key, DAMAGE[damage], NOW)
    shown = shown_by(store)
    assert shown["hint"] == "bad"
    assert shown["hint_title"].startswith("reports/bad/")
    assert {(row["text"], row["reason"]) for row in shown["rows"].values()} == {("—", "the report is damaged")}
    store.put(key, files()["results.json"], NOW)
    assert shown_by(store)["rows"]["start_value"]["text"] == "1,000.50"


def test_a_report_that_lost_its_curve_is_damaged_and_a_hostile_name_stays_a_text() -> None:
    store = MemoryStore()
    store_report(store, HOSTILE.replace("/", ""), EARLIER)
    assert shown_by(store)["hint"] == HOSTILE.replace("/", "")
    store_report(store, "cut", NOW)
    store.delete(report_key("cut", "equity_curve.csv"))
    assert "equity_curve.csv" in shown_by(store)["hint_title"]


@pytest.mark.parametrize(
    "curve", [b"time,value\n1,2\n", b"datetime,equity,cash\n2026-02-01\n", b"datetime,equity,cash\nx,y,z\n"]
)
def test_a_curve_of_another_kind_damages_the_report_whatever_its_hash_says(curve: bytes) -> None:
    store = MemoryStore()
    store_report(store, "foreign", NOW, sha256={"equity_curve.csv": sha256_hex(curve)})
    store.put(report_key("foreign", "equity_curve.csv"), curve, NOW)
    shown = shown_by(store)
    assert shown["hint_title"].startswith("reports/foreign/equity_curve.csv: ")
    assert shown["rows"]["start_value"]["reason"] == "the report is damaged"
