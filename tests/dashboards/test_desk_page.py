"""What the desk page states, as data, without a browser."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from assets.desk.artifacts import EXECUTION, LATEST_PRICES, LATEST_REFUSED, PRE_EXECUTION
from assets.desk.position_table import position_rows
from dashboards.components.board import Board
from dashboards.components.chart import DEFAULT_RANGE, PortfolioChart, known_range, range_of
from dashboards.pages.desk import desk, exported
from dashboards.snapshot import Poller, Snapshot
from resources.clock import ManualClock
from resources.documents import load_document
from resources.settings import Settings
from resources.store import open_store
from tests.dashboards.desk_folder import DeskFolder

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
SETTINGS = Settings(auth="off")
DAY_MS = 86_400_000


def read(root: Path) -> Snapshot:
    poller = Poller(open_store(str(root)), ManualClock(NOW))
    for _ in range(3):
        poller.refresh()
    return poller.snapshot


def stated(root: Path) -> dict[str, Any]:
    shown = desk(read(root), SETTINGS, NOW)
    json.dumps(shown, allow_nan=False)
    return shown


def pill(shown: dict[str, Any], key: str) -> dict[str, Any]:
    return next(pill for pill in shown["pills"] if pill["key"] == key)


def test_empty_store_says_what_is_missing_and_what_will_fill_it(tmp_path: Path) -> None:
    shown = stated(tmp_path)
    assert shown["positions"]["reason"] == "Waiting for the first CSV in inbox/"
    assert shown["exposure"]["reason"] == shown["rebalance"]["reason"] == shown["positions"]["reason"]
    assert shown["chart"]["reason"]
    assert shown["source"] is None
    assert {p["state"] for p in shown["pills"]} == {"off", "link"}


@pytest.mark.parametrize(
    "make", [{}, {"minutes": 1}, {"symbols": 200}, {"scale": 1e6}, {"scale": 1e-6, "volatility": 0.05}]
)
def test_every_kind_of_book_can_be_stated(tmp_path: Path, make: dict[str, Any]) -> None:
    DeskFolder(tmp_path, NOW, **make).build()
    shown = stated(tmp_path)
    assert shown["source"] == "SIMULATED"
    assert pill(shown, "market")["text"] == "SIMULATED"
    assert len(shown["positions"]["rows"]) == make.get("symbols", 14)
    assert shown["rebalance"]["identity"]["exact"]


def test_percentages_name_their_base(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW).build()
    daily, total = stated(tmp_path)["cards"][1:3]
    assert daily["delta"]["note"].startswith("since ")
    assert total["delta"]["note"] == "on 1,000,000"


def test_a_gap_is_counted_and_shouts_only_while_it_is_recent(tmp_path: Path) -> None:
    DeskFolder(tmp_path / "new", NOW, missing=frozenset(range(10, 17))).build()
    DeskFolder(tmp_path / "old", NOW, missing=frozenset(range(300, 307))).build()
    DeskFolder(tmp_path / "none", NOW).build()
    states = {name: pill(stated(tmp_path / name), "logger") for name in ("new", "old", "none")}
    assert (states["new"]["text"], states["new"]["state"]) == ("Gap 7 min", "attention")
    assert (states["old"]["text"], states["old"]["state"]) == ("Gap 7 min", "stale")
    assert (states["none"]["text"], states["none"]["state"]) == ("No gap", "ok")


def test_executing_shows_its_step_and_links_its_run(tmp_path: Path) -> None:
    folder = DeskFolder(tmp_path, NOW).build()
    execution = load_document((tmp_path / EXECUTION).read_bytes())
    folder.put(EXECUTION, execution | {"state": "executing", "step": "sized_orders"})
    shown = stated(tmp_path)
    assert (pill(shown, "executor")["text"], pill(shown, "executor")["state"]) == ("Sized orders", "busy")
    assert shown["rebalance"]["run"] == f"http://127.0.0.1:3000/runs/{execution['run_id']}"
    folder.put(EXECUTION, execution | {"run_id": None})
    assert stated(tmp_path)["rebalance"]["run"] is None


def test_a_refused_mark_is_named_in_the_pill_and_the_row(tmp_path: Path) -> None:
    folder = DeskFolder(tmp_path, NOW).build()
    prices = load_document((tmp_path / LATEST_PRICES).read_bytes())
    folder.put(LATEST_PRICES, prices | {"refused": {"ETHUSDT": "stale_mark"}})
    shown = stated(tmp_path)
    assert pill(shown, "prices")["refused"] == ["ETHUSDT"]
    row = next(row for row in shown["positions"]["rows"] if row["cells"][0] == "ETHUSDT")
    assert row["stale"]
    assert "stale_mark" in row["note"]


def test_a_broken_sizing_identity_is_not_called_exact(tmp_path: Path) -> None:
    folder = DeskFolder(tmp_path, NOW).build()
    detected = load_document((tmp_path / PRE_EXECUTION).read_bytes())
    folder.put(PRE_EXECUTION, detected | {"pv_pre": detected["pv_pre"] + 1})
    identity = stated(tmp_path)["rebalance"]["identity"]
    assert not identity["exact"]
    assert identity["difference"] == "+1.00"


def test_dropped_rows_carry_their_reason(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW).build()
    assert stated(tmp_path)["rebalance"]["dropped"][0][:2] == ["XRPUSDT", "below min notional"]


def test_a_refused_signal_shouts_until_another_is_executed(tmp_path: Path) -> None:
    folder = DeskFolder(tmp_path, NOW)
    folder.build()
    refusal = {
        "rebalance_id": "late_20260302-0123456789ab",
        "csv_filename": "late_20260302.csv",
        "status": "quarantined",
        "reason": "row 3, target_notional: the field is blank",
    }
    executed = load_document((tmp_path / "latest_executed.json").read_bytes())["timestamp_utc"]
    folder.put(LATEST_REFUSED, refusal | {"timestamp_utc": "2026-03-02T09:30:00.000000+00:00"})
    shown = stated(tmp_path)
    assert (pill(shown, "csv")["text"], pill(shown, "csv")["state"]) == ("Quarantined", "attention")
    assert "the field is blank" in pill(shown, "csv")["title"]
    assert shown["rebalance"]["warnings"][0].startswith("late_20260302.csv quarantined: row 3")
    folder.put(LATEST_REFUSED, refusal | {"timestamp_utc": executed})
    shown = stated(tmp_path)
    assert pill(shown, "csv")["state"] == "ok"
    assert shown["rebalance"]["warnings"] == []


def test_a_disconnected_store_is_announced(tmp_path: Path) -> None:
    snapshot = read(tmp_path)
    lost = Snapshot(version=3, disconnected="no answer", read_at=NOW, row=snapshot.row)
    notice = desk(lost, SETTINGS, NOW)["notice"]
    assert notice["state"] == "disconnected"
    assert "09:30:12 UTC" in notice["text"]
    assert desk(Snapshot(), SETTINGS, NOW)["notice"]["state"] == "loading"


@pytest.mark.parametrize("bad", ["", "2M", "5-4", "abc-def", "1700000000000-1600000000000", "<script>"])
def test_an_unknown_range_falls_back(bad: str) -> None:
    assert known_range(bad) == DEFAULT_RANGE


def test_ranges_end_at_the_newest_row_and_never_start_before_the_first() -> None:
    last = round(NOW.timestamp() * 1000)
    first = last - 400 * DAY_MS
    assert range_of("1W", first, last) == (last - 7 * DAY_MS, last)
    assert range_of("All", first, last) == (first, last)
    assert range_of("YTD", first, last)[0] == round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert range_of("6M", last - DAY_MS, last)[0] == last - DAY_MS
    start, end = range_of("1D", last, last)
    assert start < last < end
    custom = f"{first}-{last}"
    assert known_range(custom) == custom
    assert range_of(custom, first, last) == (first, last)


def test_the_chart_draws_a_thousand_points_of_a_year_and_follows_new_rows(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW, minutes=90 * 1440).build()
    snapshot = read(tmp_path)
    chart = PortfolioChart("All", [].append)
    chart.show(snapshot.series, snapshot.depth, 1e6)
    line = chart.figure.select_one({"name": "line"}).data_source.data
    points = len(line["time"])
    assert 500 < points < 2000
    assert chart.figure.x_range.end >= snapshot.series.time[-1]
    assert line["value"].min() == snapshot.series.value.min()
    assert line["value"].max() == snapshot.series.value.max()


def test_a_gesture_names_its_range_and_double_tap_returns(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW).build()
    snapshot = read(tmp_path)
    named: list[str] = []
    chart = PortfolioChart("1D", named.append)
    chart.show(snapshot.series, snapshot.depth, None)
    end = int(snapshot.series.time[-1])
    event = type("Event", (), {"x0": end - 3_600_000.0, "x1": float(end)})()
    chart._zoomed(event)
    assert named == [f"{end - 3_600_000}-{end}"]
    assert len(chart.figure.select_one({"name": "line"}).data_source.data["time"]) < 100
    chart._reset(None)
    assert named[-1] == chart.range_name == "1D"


def test_the_board_joins_its_parts_into_one_module() -> None:
    assert Board._esm.count("export function render") == 1
    assert Board._esm.count("import ") == 0


def test_old_rows_are_old_news(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW - timedelta(hours=2)).build()
    data = pill(stated(tmp_path), "data")
    assert data["since"] == round((NOW - timedelta(hours=2)).timestamp() * 1000)
    assert (data["stale_after"], data["attention_after"]) == (120, 600)


def test_the_saved_positions_are_the_stored_numbers_to_the_last_digit(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW).build()
    snapshot = read(tmp_path)
    rows = position_rows(
        snapshot.baseline, snapshot.prices, snapshot.in_force, snapshot.row and snapshot.row.portfolio_value
    )
    wanted = [row.symbol for row in rows[3:0:-1]]
    file = exported(snapshot, {"export": "positions", "ids": [*wanted, "GONE"]}, NOW)
    assert file is not None
    assert file["name"] == "desk_positions_20260302T093012Z.csv"
    saved = list(csv.DictReader(io.StringIO(file["content"])))
    assert [each["symbol"] for each in saved] == wanted
    for each, row in zip(saved, rows[3:0:-1], strict=True):
        assert Decimal(each["quantity"]) == row.quantity
        assert (row.mark, row.pnl, row.weight) == tuple(Decimal(each[name]) for name in ("mark", "pnl", "weight"))
        assert row.pnl == row.quantity * (Decimal(each["mark"]) - Decimal(each["baseline"]))
    whole = exported(snapshot, {"export": "positions"}, NOW)
    assert whole is not None
    assert whole["content"].count("\r\n") == len(rows) + 1
    for asked in (None, "positions", {"export": "secrets"}, {"export": "positions", "ids": []}):
        assert exported(snapshot, asked, NOW) is None
