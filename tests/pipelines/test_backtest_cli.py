"""``desk backtest`` and ``desk import-report`` from the outside."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipelines.backtest_cli import backtest, import_report
from pipelines.cli import main
from resources.documents import load_document
from tests.desk_parts import contract

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTES = 3 * 1440
SIGNALS = (
    "timestamp,pair,side,strategy,confidence,qty,notional\n"
    "2026-03-01T05:00:00Z,BTC/USDT,LONG,trend,0.8,,5000\n"
    "2026-03-02T05:00:30Z,BTC/USDT,SHORT,trend,0.7,20,\n"
    "2026-03-02T06:00:00Z,DOGE/USDT,buy,trend,0.7,20,\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bars = tmp_path / "bars"
    bars.mkdir()
    closes = [100 + (n * 7919) % 400 / 100 + n / 1000 for n in range(MINUTES)]
    opened = pa.array([START + timedelta(minutes=n) for n in range(MINUTES)], pa.timestamp("ms", tz="UTC"))
    table = pa.table({"timestamp_utc": opened, "close": closes, "volume": [1000.0] * MINUTES})
    pq.write_table(table, bars / "BTCUSDT.parquet")
    server_time = int(START.timestamp() * 1000)
    (bars / "exchangeInfo.json").write_text(json.dumps({"serverTime": server_time, "symbols": [contract("BTCUSDT")]}))
    (tmp_path / "signals.csv").write_text(SIGNALS)
    monkeypatch.setenv("DESK_STORE", str(tmp_path / "store"))
    return tmp_path


def desk(command: click.Command, *arguments: str | Path) -> Result:
    # By way of the whole command line: a command that was called on its own keeps no ``-h`` for other tests.
    return CliRunner().invoke(main, [str(argument) for argument in (command.name, *arguments)])


def run(folder: Path, name: str = "first", *more: str) -> Result:
    return desk(backtest, name, "--signals", folder / "signals.csv", "--bars", folder / "bars", *more)


def test_a_backtest_is_stored_shown_and_imports_without_a_flag(folder: Path) -> None:
    result = run(folder, "first", "--capital", "10000")
    assert result.exit_code == 0, result.output
    assert "final equity" in result.output
    assert "signal 3 DOGE/USDT: refused, unknown_symbol" in result.output
    report = folder / "store" / "reports" / "first"
    results = load_document((report / "results.json").read_bytes())
    assert (results["start_value"], results["total_trades"], results["total_signals"]) == (10_000, 2, 3)
    assert results["source"] == "REPLAY"
    imported = desk(import_report, report)
    assert imported.exit_code == 0, imported.output
    assert imported.output.splitlines()[-1] == "0 flags"
    assert "trades.csv: 2 rows in, 2 accepted, 0 flagged" in imported.output


def test_a_name_is_not_used_for_two_backtests(folder: Path) -> None:
    assert run(folder).exit_code == 0
    assert run(folder).exit_code == 0
    other = run(folder, "first", "--capital", "5000")
    assert (other.exit_code, "holds another report" in other.output) == (3, True)


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (SIGNALS.replace("DOGE/USDT", "BTC/EUR"), "BTC/EUR (EUR)"),
        (SIGNALS.replace("30Z", "30"), "row 2 of the signals"),
        ("nothing\n", "the signals lack timestamp"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_stores_nothing(folder: Path, signals: str, message: str) -> None:
    (folder / "signals.csv").write_text(signals)
    result = run(folder)
    assert result.exit_code == 3
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not (folder / "store" / "reports").exists()


def test_a_part_of_the_recording_is_run(folder: Path) -> None:
    early = "2026-03-01T0{}:00:00Z,BTC/USDT,{},trend,0.8,20,\n"
    rows = SIGNALS.splitlines(keepends=True)
    (folder / "signals.csv").write_text("".join([rows[0], early.format(5, "buy"), early.format(6, "sell"), *rows[2:]]))
    result = run(folder, "part", "--from", "2026-03-02", "--to", "2026-03-02T13:00:00+01:00")
    assert result.exit_code == 0, result.output
    assert "signal 1 BTC/USDT: refused, outside_period" in result.output
    results = load_document((folder / "store" / "reports" / "part" / "results.json").read_bytes())
    period = {"start": "2026-03-02T00:00:00.000000+00:00", "end": "2026-03-02T12:00:00.000000+00:00"}
    assert results["period"] == period
    assert results["coverage"]["BTC/USDT"]["start"] == "2026-03-02T05:00:00.000000+00:00"
    assert results["coverage"]["BTC/USDT"]["end"] == period["end"]
    assert desk(import_report, folder / "store" / "reports" / "part").exit_code == 0


def test_a_period_that_begins_within_a_position_is_refused_with_the_signal_that_opened_it(folder: Path) -> None:
    result = run(folder, "part", "--from", "2026-03-02")
    assert result.exit_code == 3
    assert "BTC/USDT may be held at 2026-03-02 00:00:00+00:00" in result.output
    assert "signal '1' of 2026-03-01 05:00:00+00:00" in result.output
    assert result.output.count("\n") == 1
    assert not (folder / "store" / "reports").exists()


@pytest.mark.parametrize("minutes", [MINUTES, MINUTES - 30])
def test_a_day_that_is_recorded_in_part_begins_and_ends_where_the_recording_does(folder: Path, minutes: int) -> None:
    bars = folder / "bars" / "BTCUSDT.parquet"
    pq.write_table(pq.read_table(bars).slice(0, minutes), bars)
    result = run(folder, "whole", "--from", "2026-03-01", "--to", "2026-03-04")
    assert result.exit_code == 0, result.output
    stored = folder / "store" / "reports" / "whole" / "results.json"
    period = load_document(stored.read_bytes())["period"]
    assert run(folder, "default").exit_code == 0
    assert load_document(Path(str(stored).replace("whole", "default")).read_bytes())["period"] == period
    for option, when in (
        ("--from", "2026-02-28"), ("--from", "2026-03-01T00:00Z"), ("--from", "2026-03-04T00:01Z"),
        ("--to", "2026-03-05"), ("--to", "2026-03-01"), ("--to", "2026-03-04T00:01Z"),
    ):  # fmt: skip
        refused = run(folder, "other", option, when)
        assert (refused.exit_code, "is no part of what is recorded" in refused.output) == (3, True), (option, when)


def test_a_symbol_recorded_for_its_own_span_only_is_run_and_its_gap_told(folder: Path) -> None:
    table = pq.read_table(folder / "bars" / "BTCUSDT.parquet").slice(1440 + 240, 120)  # from 04:00 of the second day
    holey = pa.concat_tables([table.slice(0, 90), table.slice(92)])
    pq.write_table(holey, folder / "bars" / "ETHUSDT.parquet")
    contracts = [contract("BTCUSDT"), contract("ETHUSDT")]
    server_time = int(START.timestamp() * 1000)
    (folder / "bars" / "exchangeInfo.json").write_text(json.dumps({"serverTime": server_time, "symbols": contracts}))
    row = "2026-03-02T0{}:00Z,ETH/USDT,{},trend,0.8,10,\n"
    (folder / "signals.csv").write_text(SIGNALS + row.format("4:30", "buy") + row.format("5:50", "sell"))
    result = run(folder)
    assert result.exit_code == 0, result.output
    told = "ETH/USDT lacks 2 of 82 bars from 2026-03-02T04:29 to 2026-03-02T05:50 UTC, gaps: 1"
    assert told in result.output.splitlines()
    (folder / "signals.csv").write_text(SIGNALS + row.format("4:30", "buy"))
    refused = run(folder, "second")
    assert refused.exit_code == 3
    assert "ETHUSDT: 90 of 2612 bars" in refused.output


DUE = [START + timedelta(hours=hours) for hours in range(8, 73, 8)]  # the first one is held from 05:00 on


def record_funding(folder: Path, times: list[datetime], rate: str = "0.0001") -> None:
    (folder / "bars" / "funding").mkdir(exist_ok=True)
    rows = "".join(f"{time.isoformat()},{rate}\n" for time in times)
    (folder / "bars" / "funding" / "BTCUSDT.csv").write_text("timestamp_utc,funding_rate\n" + rows)


def test_funding_that_is_not_recorded_is_not_said_to_be_nothing(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0, result.output
    (row,) = (line for line in result.stdout.splitlines() if "fees / funding" in line)
    assert row.rstrip().endswith("USDT / not recorded: BTC/USDT")
    told = f"funding of BTC/USDT: {len(DUE)} not recorded, from 2026-03-01T08:00 to 2026-03-04T00:00 UTC"
    assert told in result.stderr.splitlines()
    results = load_document((folder / "store" / "reports" / "first" / "results.json").read_bytes())
    assert results["funding_not_recorded"] == {
        "BTC/USDT": {
            "settlements": len(DUE),
            "first": "2026-03-01T08:00:00.000000+00:00",
            "last": "2026-03-04T00:00:00.000000+00:00",
        }
    }
    assert desk(import_report, folder / "store" / "reports" / "first").exit_code == 0


def test_funding_recorded_for_a_part_of_the_period_is_booked_and_the_rest_named(folder: Path) -> None:
    record_funding(folder, DUE[:4])
    result = run(folder)
    assert result.exit_code == 0, result.output
    (row,) = (line for line in result.stdout.splitlines() if "fees / funding" in line)
    assert row.rstrip().endswith(" USDT; not recorded: BTC/USDT")
    told = f"funding of BTC/USDT: {len(DUE) - 4} not recorded, from 2026-03-02T16:00 to 2026-03-04T00:00 UTC"
    assert told in result.stderr.splitlines()


def test_funding_that_is_all_recorded_has_nothing_said_of_it(folder: Path) -> None:
    """Not even in the report: one stored by an earlier version is the same, byte for byte."""
    record_funding(folder, DUE)
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert "funding of" not in result.stderr
    assert "not recorded" not in result.stdout
    results = load_document((folder / "store" / "reports" / "first" / "results.json").read_bytes())
    assert "funding_not_recorded" not in results


def test_funding_without_a_usable_rate_is_told_where_it_is_not_booked(folder: Path) -> None:
    record_funding(folder, DUE, "NaN")
    result = run(folder)
    assert result.exit_code == 0, result.output
    (row,) = (line for line in result.stdout.splitlines() if "fees / funding" in line)
    assert row.rstrip().endswith("USDT / not booked: BTC/USDT")
    told = f"funding of BTC/USDT: {len(DUE)} not booked, without a usable rate or mark"
    assert told in result.stderr.splitlines()


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    "when",
    ["0001-01-01", "9999-12-31", "1969-12-31T23:59Z", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00+05:00"],
)
def test_a_time_that_nobody_can_count_to_is_wrong_usage(folder: Path, option: str, when: str) -> None:
    result = run(folder, "far", option, when)
    assert (result.exit_code, "the years 1970 to 2261" in result.output) == (2, True), result.output


def test_a_period_that_ends_before_it_begins_is_said_to(folder: Path) -> None:
    result = run(folder, "first", "--from", "2026-03-03", "--to", "2026-03-02T05:00Z")
    assert result.exit_code == 3
    assert result.output == "desk: --from 2026-03-03 lies after --to 2026-03-02 05:00:00+00:00\n"


def test_wrong_usage_is_said_so(folder: Path) -> None:
    assert run(folder, "first", "--capital", "0").exit_code == 2
    assert run(folder, "first", "--capital", "much").exit_code == 2
    assert run(folder, "first", "--from", "spring").exit_code == 2
    assert run(folder, "first", "--to", "2026-03-02T05:00").exit_code == 2
    assert run(folder, "first", "--from", "2026-02-28").exit_code == 3
    assert run(folder, "first", "--to", "2026-03-05").exit_code == 3
    assert run(folder, "first", "--from", "2026-03-03", "--to", "2026-03-02").exit_code == 3
    assert run(folder, "a/b").exit_code == 3
    assert desk(import_report, folder / "bars").exit_code == 2


def test_a_report_that_cannot_be_true_is_status_1(folder: Path) -> None:
    report = folder / "foreign"
    report.mkdir()
    (report / "results.json").write_text('{"total_return": 249.43, "final_equity": 10221.02, "start_value": 10000.0}')
    result = desk(import_report, report)
    assert result.exit_code == 1
    line = "results.json return_vs_final_equity total_return=249.43 implied=2.210200 final_equity=10221.02"
    assert line in result.output.splitlines()
    document = load_document(desk(import_report, report, "--json").output.encode())
    assert "return_vs_final_equity" in [flag["code"] for flag in document["flags"]]
