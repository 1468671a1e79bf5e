"""The command line: what it says, what it returns, and that nothing it meets ends in a traceback."""

import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejson
from click.testing import CliRunner, Result

from assets.accounting.events import to_document
from assets.desk.export import write_csv
from assets.desk.verify import verify as verified
from pipelines.cli import main
from resources.documents import Document, load_document, sha256_hex
from resources.store.local import LocalStore
from tests.desk_parts import Parts, contract, exchange_info, file_name, market_of, signal_csv

COMMANDS = [
    "up", "demo", "tick", "drop", "flow", "status", "verify", "replay", "export", "decide", "train", "walk-forward",
    "trade", "monitor", "capital", "backtest", "import-report",
]  # fmt: skip
LONG_SHORT = {"BTC_USDT": ("600000", 1), "ETH_USDT": ("-400000", -1)}
GOOD = signal_csv(LONG_SHORT)
BAD = GOOD.replace(b"600000", b"lots").replace(b"-400000,-1", b"-400000,short")
PROJECT = Path(__file__).parents[2]

Desk = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "desk-data"


@pytest.fixture
def desk(store: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Runs ``desk ...`` on a store of its own, with standard output and error apart."""
    for name in [name for name in os.environ if name.startswith("DESK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DESK_STORE", str(store))

    def invoke(*arguments: object, **environment: str) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=dict(environment))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def lived(store: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """A store with one executed rebalance and a few minutes of log. Commands have its clock, whatever the machine's: a
    flow that is dated a week after the fills before it leaves no room for more of that day, and an earlier one none."""
    parts = Parts(market_of({"BTCUSDT": "90000", "ETHUSDT": "3000"}), LocalStore(store))
    monkeypatch.setattr("assets.desk.desk.SystemClock", lambda: parts.clock)
    parts.tick()
    parts.minutes(1)
    parts.execute(LONG_SHORT)
    parts.market.prices["BTCUSDT"] = Decimal("90123.4")
    parts.minutes(3)
    return parts


def csv_file(folder: Path, data: bytes, name: str = "signal_20261119-2355.csv") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def said_once(result: Result) -> str:
    """The one line said on standard error."""
    (line,) = result.stderr.splitlines()
    return line


# --- help and wrong usage ---


def test_help_lists_every_command(desk: Desk) -> None:
    result = desk("--help")
    assert result.exit_code == 0
    assert sorted(main.commands) == sorted(COMMANDS)
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself_without_touching_the_store(
    desk: Desk, store: Path, command: str, option: str
) -> None:
    result = desk(command, option)
    assert result.exit_code == 0
    assert f"Usage: main {command}" in result.stdout
    assert len(result.stdout.splitlines()) > 5
    assert not store.exists()


def test_it_says_which_version_it_is(desk: Desk) -> None:
    assert "0.1.0" in desk("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [["up"], ["demo"], ["tick"], ["drop", "--sample"], ["status"], ["verify"], ["export", "values"]],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DESK_STOER", "x", "unknown settings DESK_STOER"),
        ("DESK_MARKET", "nasdaq", "none of simulated, replay:<folder>, binance"),
        ("DESK_TICK_SECONDS", "0", "greater than 0"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_runs(
    desk: Desk, store: Path, arguments: list[str], name: str, value: str, says: str
) -> None:
    result = desk(*arguments, **{name: value})
    assert result.exit_code == 2
    assert says in result.stderr
    assert not store.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "No such command"),
        (["drop"], "give a FILE, or --sample"),
        (["drop", "missing.csv"], "does not exist"),
        (["drop", __file__], "does not end in .csv"),
        (["drop", __file__, "--sample"], "give a FILE, or --sample"),
        (["flow", "lend", "1"], "is not one of"),
        (["flow", "deposit", "1"], "Missing option '--reason'"),
        (["flow", "deposit", "1e", "--reason", "x"], "not a decimal number"),
        (["flow", "withdraw", "0", "--reason", "x"], "must be above 0"),
        (["export"], "Missing argument"),
        (["export", "everything"], "is not one of"),
        (["export", "values", "--from", "yesterday"], "does not match the format"),
        (["export", "values", "--from", "2026-01-02", "--to", "2026-01-01"], "--to lies before --from"),
        (["export", "values", "--from", "0001-01-01"], "the years 1970 to 2261"),
        (["decide", "--date", "9999-12-31"], "the years 1970 to 2261"),
        (["walk-forward", "--until", "0001-01-01"], "the years 1970 to 2261"),
        (["train", "--date", "0001-01-01"], "the years 1970 to 2261"),
        (["replay", "."], "Missing option"),
        (["demo", "--folder", str(PROJECT)], "is not empty"),
        (["replay", ".", "--signals", ".", "--into", str(PROJECT)], "is not empty"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_wrong_usage_is_explained_with_status_2(desk: Desk, arguments: list[str], says: str) -> None:
    result = desk(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_the_sample_is_for_the_simulated_market_alone(desk: Desk, tmp_path: Path) -> None:
    result = desk("drop", "--sample", DESK_MARKET=f"replay:{_bars(tmp_path)}")
    assert result.exit_code == 2
    assert "the sample belongs to the simulated market alone" in result.stderr


# --- refused and unreachable ---


@pytest.mark.parametrize(
    "arguments", [["up"], ["tick"], ["tick", "--resident"], ["status"], ["verify"], ["export", "fills"]]
)
def test_an_unreachable_store_is_one_line_and_status_3(desk: Desk, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    result = desk(*arguments, DESK_STORE=str(tmp_path / "file" / "store"))
    assert result.exit_code == 3
    assert said_once(result).startswith("desk: cannot open")


@pytest.mark.parametrize("arguments", [["up"], ["tick"], ["status"], ["verify"]])
def test_an_unreachable_market_is_one_line_and_status_3(desk: Desk, tmp_path: Path, arguments: list[str]) -> None:
    result = desk(*arguments, DESK_MARKET=f"replay:{tmp_path / 'nowhere'}")
    assert result.exit_code == 3
    assert said_once(result).startswith("desk: replay: no <SYMBOL>.parquet")


def test_other_capital_than_the_ledger_began_with_is_refused(desk: Desk) -> None:
    assert desk("tick").exit_code == 0
    result = desk("tick", DESK_INITIAL_CAPITAL="5")
    assert result.exit_code == 3
    assert "began with 1000000, settings say 5" in said_once(result)


def test_a_stored_document_that_is_no_json_is_said_in_one_line(desk: Desk, store: Path) -> None:
    desk("tick")
    (store / "latest_prices.json").write_text("{")
    result = desk("status")
    assert result.exit_code == 3
    assert "not JSON" in said_once(result)
    assert desk("verify").exit_code == 1


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def taken_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server.server_port
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.parametrize("name", ["DESK_DAGSTER_PORT", "DESK_DASHBOARD_PORT"])
def test_up_starts_nothing_where_something_answers_already(desk: Desk, taken_port: int, name: str) -> None:
    ports = {"DESK_DAGSTER_PORT": "1", "DESK_DASHBOARD_PORT": "1", name: str(taken_port)}
    result = desk("up", **ports)
    assert result.exit_code == 3
    assert f":{taken_port} is in use already" in said_once(result)
    assert result.stdout == ""


# --- drop ---


def test_drop_puts_the_file_into_the_inbox_byte_for_byte(desk: Desk, store: Path, tmp_path: Path) -> None:
    result = desk("drop", csv_file(tmp_path, GOOD))
    assert result.exit_code == 0
    assert (store / "inbox/signal_20261119-2355.csv").read_bytes() == GOOD
    assert f"becomes signal_20261119-2355-{sha256_hex(GOOD)[:12]}" in result.stdout
    assert "2 rows, S = 1,000,000" in result.stdout


def test_a_bad_file_is_refused_with_a_line_for_each_reason_and_not_dropped(
    desk: Desk, store: Path, tmp_path: Path
) -> None:
    result = desk("drop", csv_file(tmp_path, BAD))
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("signal_20261119-2355.csv: ") for line in lines)
    assert "target_notional" in lines[0]
    assert "target_contracts" in lines[1]
    assert list(store.glob("inbox/*")) == []


def test_force_leaves_its_mark_before_the_file(desk: Desk, store: Path, tmp_path: Path) -> None:
    assert desk("drop", "--force", csv_file(tmp_path, GOOD)).exit_code == 0
    assert (store / f"forced/{sha256_hex(GOOD)}.json").exists()
    assert desk("drop", "--force", csv_file(tmp_path, GOOD)).exit_code == 0


def test_without_force_there_is_no_mark(desk: Desk, store: Path, tmp_path: Path) -> None:
    desk("drop", csv_file(tmp_path, GOOD))
    assert list(store.glob("forced/*")) == []


def test_the_sample_is_labelled_and_dropped_once_a_day(desk: Desk, store: Path) -> None:
    result = desk("drop", "--sample")
    assert result.exit_code == 0
    (file,) = store.glob("inbox/*.csv")
    before = file.read_bytes()
    assert b"SIMULATED" in before
    assert "(SIMULATED)" in result.stdout
    assert desk("drop", "--sample").exit_code == 0
    assert file.read_bytes() == before
    assert len(list(store.glob("inbox/*"))) == 1


@pytest.mark.parametrize("name", ["mine_20991231-2355.csv", "mine.csv"])
def test_a_sample_never_trades_over_a_signal_somebody_dropped(desk: Desk, store: Path, name: str) -> None:
    (store / "inbox").mkdir(parents=True)
    (store / "inbox" / name).write_text("ticker,target_notional,target_contracts\nBTC_USDT,1,1\n")
    result = desk("drop", "--sample")
    assert result.exit_code == 0
    assert f"no sample dropped: {name}" in result.stdout
    assert [file.name for file in store.glob("inbox/*")] == [name]


# --- flow ---


def test_a_flow_moves_portfolio_value_and_no_pnl(desk: Desk, lived: Parts) -> None:
    before = lived.log()[-1]
    deposit = desk("flow", "deposit", "250000.5", "--reason", "second tranche", "--id", "t2")
    assert (deposit.exit_code, deposit.stdout) == (0, "posted: +250,000.5, id t2\n")
    assert desk("flow", "withdraw", "100000", "--reason", "dividend").exit_code == 0
    lived.minutes(1)
    after = lived.log()[-1]
    assert after["net_flows"] == Decimal("150000.5")
    assert after["portfolio_value"] == before["portfolio_value"] + Decimal("150000.5")
    assert (after["daily_pnl"], after["total_pnl"]) == (before["daily_pnl"], before["total_pnl"])
    assert lived.execute({"BTC_USDT": ("1", 1)})["status"] == "executed"
    lived.minutes(1)
    assert verified(lived.desk()).differences == ()


def test_a_flow_repeated_under_its_id_is_posted_once(desk: Desk, lived: Parts) -> None:
    again = ["flow", "deposit", "10", "--reason", "x", "--id", "one"]
    assert desk(*again).stdout.startswith("posted: ")
    assert desk(*again).stdout.startswith("posted before, at ")
    assert lived.desk().ledger().book().flows == 10
    other = desk("flow", "deposit", "11", "--reason", "x", "--id", "one")
    assert other.exit_code == 3
    assert "posted before, as another flow" in said_once(other)
    assert lived.desk().ledger().book().flows == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["withdraw", "1000000000"], "would leave a portfolio value of -"),
        (["deposit", "0.0000001"], "at most 6 decimals"),
    ],
)
def test_a_flow_that_cannot_be_is_refused(desk: Desk, lived: Parts, arguments: list[str], says: str) -> None:
    result = desk("flow", *arguments, "--reason", "x")
    assert result.exit_code == 3
    assert says in said_once(result)
    assert not lived.desk().ledger().book().flows


@pytest.mark.usefixtures("lived")
def test_nothing_can_be_withdrawn_twice_between_two_ticks(desk: Desk) -> None:
    half = ["flow", "withdraw", "600000", "--reason", "x"]
    assert (desk(*half).exit_code, desk(*half).exit_code) == (0, 3)


# --- tick and status ---


def test_tick_logs_a_minute_once(desk: Desk, store: Path) -> None:
    first, second = desk("tick"), desk("tick")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "Portfolio Value 1,000,000" in first.stdout
    rows = [load_document(line) for line in (store / "portfolio_value_log.jsonl").read_bytes().splitlines()]
    minutes = {row["timestamp"][:16] for row in rows}
    assert len(rows) == len(minutes) == (1 if "already_logged" in second.stdout else 2)


def test_tick_that_cannot_value_what_is_held_has_status_1(desk: Desk, store: Path) -> None:
    parts = Parts(market_of({"NOSUCHUSDT": "5"}), LocalStore(store))
    parts.execute({"NOSUCH_USDT": ("1000", 1)}, name="signal_20200101.csv")
    (store / "latest_prices.json").unlink()
    rows = (store / "portfolio_value_log.jsonl").read_bytes()
    parts_are_dated_later_than_the_machine = parts.clock.now() > datetime.now(UTC)
    result = desk("tick")
    if parts_are_dated_later_than_the_machine:
        assert "clock_behind_log" in result.stdout
    else:
        assert result.exit_code == 1
        assert "no valid mark yet for held NOSUCHUSDT" in result.stdout
    assert (store / "portfolio_value_log.jsonl").read_bytes() == rows


def test_status_of_a_desk_without_a_log_has_status_1_and_says_what_to_do(desk: Desk) -> None:
    result = desk("status")
    assert result.exit_code == 1
    assert "nothing logged yet" in result.stdout


def test_status_of_a_ticking_desk_has_status_0(desk: Desk) -> None:
    desk("tick")
    result = desk("status")
    assert result.exit_code == 0
    assert "1,000,000" in result.stdout
    assert "NOT LIVE" not in result.stdout


def test_status_as_json_is_one_object_with_exact_numbers(desk: Desk) -> None:
    desk("tick")
    document = load_document(desk("status", "--json").stdout.encode())
    assert document["live"] is True
    assert document["log"]["portfolio_value"] == Decimal("1000000.000000")
    assert document["latest_executed"] is None


def test_status_of_a_stopped_ticker_says_so(desk: Desk, store: Path) -> None:
    desk("tick")
    log = store / "portfolio_value_log.jsonl"
    row = load_document(log.read_bytes().splitlines()[0])
    past = datetime.fromisoformat(row["timestamp"]) - timedelta(minutes=4)
    log.write_bytes(log.read_bytes().replace(row["timestamp"].encode(), past.isoformat("T", "microseconds").encode()))
    result = desk("status")
    assert result.exit_code == 1
    assert "NOT LIVE" in result.stdout


def test_a_damaged_ledger_snapshot_stops_nothing_and_is_named(desk: Desk, store: Path, lived: Parts) -> None:
    held = lived.held()
    (store / "ledger" / "snapshot.json").write_bytes(b'{"seq":')
    assert lived.held() == held
    assert "ledger/snapshot.json cannot be read" in desk("status").stdout
    assert "cannot be read" in load_document(desk("status", "--json").stdout.encode())["snapshot_damage"]
    verify = desk("verify")
    assert verify.exit_code == 1
    assert "ledger/snapshot.json: " in verify.stdout


def test_the_resident_ticker_logs_and_ends_with_status_0_when_asked_to(store: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
    environment.pop("DAGSTER_HOME", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "tick", "--resident"],
        cwd=PROJECT,
        env=environment | {"DESK_STORE": str(store)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 120
        while not (store / "portfolio_value_log.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Traceback" not in errors


# --- verify ---


def test_verify_counts_what_it_recomputed_and_has_status_0_when_all_is_as_stored(desk: Desk, lived: Parts) -> None:
    result = desk("verify")
    assert result.exit_code == 0
    assert "1 rebalances, 5 log rows, 0 compacted days, 0 arbitrage days, 0 reports recomputed: 0 differences" in (
        result.stdout
    )
    assert lived.store.url


def test_verify_has_status_1_and_names_what_differs(desk: Desk, lived: Parts, store: Path) -> None:
    (file,) = store.glob("rebalances/*/fills.json")
    file.write_bytes(file.read_bytes().replace(b'"BUY"', b'"BUX"', 1))
    result = desk("verify")
    assert result.exit_code == 1
    assert "fills.json: " in result.stdout
    found = load_document(desk("verify", "--json").stdout.encode())
    assert any(difference["key"].endswith("/fills.json") for difference in found["differences"])
    assert found["rebalances"] == len(lived.outcomes())


def test_verify_reads_only(desk: Desk, lived: Parts, store: Path) -> None:
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    desk("verify")
    assert {file: file.read_bytes() for file in store.rglob("*") if file.is_file()} == before
    assert lived.log()


# --- export ---


def _sources(parts: Parts) -> dict[str, list[Document]]:
    (id_,) = parts.outcomes()
    baseline, orders = parts.audit(id_, "baseline.json"), parts.audit(id_, "sized_orders.json")
    return {
        "values": parts.log(),
        "fills": parts.audit(id_, "fills.json")["fills"],
        "orders": [*orders["reductions"], *orders["increases"]],
        "positions": [
            {"symbol": s, "quantity": q, "price": baseline["prices"][s]} for s, q in baseline["positions"].items()
        ],
        "events": [to_document(event) for segment in parts.desk().ledger().segments() for event in segment.events],
    }


@pytest.mark.parametrize("what", ["values", "fills", "orders", "positions", "events"])
def test_what_is_exported_reads_back_exact_to_the_last_digit(desk: Desk, lived: Parts, what: str) -> None:
    wanted = _sources(lived)[what]
    assert wanted
    as_json = simplejson.loads(desk("export", what, "--format", "json").stdout, use_decimal=True)
    as_csv = list(csv.DictReader(io.StringIO(desk("export", what).stdout)))
    assert len(as_json) == len(as_csv) == len(wanted)
    for source, exported, cells in zip(wanted, as_json, as_csv, strict=True):
        for name, value in source.items():
            if name in ("stale", "strategies") and what in ("values", "orders"):
                continue  # shown as words
            if isinstance(value, Decimal):
                assert Decimal(cells[name]) == value
                assert "E" not in cells[name]
                assert exported[name] == value
            elif isinstance(value, dict | list):
                assert simplejson.loads(cells[name], use_decimal=True) == exported[name] == value
            else:
                assert cells[name] == ("" if value is None else str(value))
                assert exported[name] == value


def test_a_number_no_float_can_hold_keeps_all_its_digits() -> None:
    exact = Decimal("123456789012345.000000012345678901234567")
    output = io.StringIO()
    write_csv([{"amount": exact, "shares": {"trend": exact}, "small": Decimal("1E-9"), "none": None}], output)
    (cells,) = csv.DictReader(io.StringIO(output.getvalue()))
    assert cells["amount"] == f"{exact}"
    assert simplejson.loads(cells["shares"], use_decimal=True) == {"trend": exact}
    assert (cells["small"], cells["none"]) == ("0.000000001", "")


@pytest.mark.parametrize("before", ["", "\n", "\t", "\r", "\r\n", " ", "\x00", "\u00a0", "\ufeff", " \n\t"])
def test_a_text_that_a_spreadsheet_would_run_is_inert_wherever_it_stands(before: str) -> None:
    texts = [f"{before}{sign}1+cmd|'/c calc'!A0" for sign in "=+-@＝＋－＠"]
    output = io.StringIO(newline="")
    write_csv([{text: text, "below": -5, "exact": Decimal("-0.5"), "nested": [text]} for text in texts], output)
    names, *rows = csv.reader(io.StringIO(output.getvalue(), newline=""))
    assert [name for name in names if name not in ("below", "exact", "nested")] == [f"'{text}" for text in texts]
    for text, row in zip(texts, rows, strict=True):
        cells = dict(zip(names, row, strict=True))
        assert cells[f"'{text}"] == f"'{text}"
        assert (cells["below"], cells["exact"]) == ("-5", "-0.5"), "a number is no text"
        assert simplejson.loads(cells["nested"]) == [text], "a bracket begins no formula"


def test_a_text_that_nobody_would_run_is_written_as_it_is() -> None:
    texts = ["", " ", "BTC=USDT", "a\n=b", "stale mark: no_mark", "'quoted'", "—"]
    output = io.StringIO(newline="")
    write_csv([{"text": text} for text in texts], output)
    assert [row["text"] for row in csv.DictReader(io.StringIO(output.getvalue(), newline=""))] == texts


def test_export_takes_whole_utc_days_of_a_range(desk: Desk, lived: Parts) -> None:
    day = lived.log()[0]["timestamp"][:10]
    assert len(desk("export", "values", "--from", day, "--to", day).stdout.splitlines()) == 1 + len(lived.log())
    assert desk("export", "values", "--to", "2020-01-01").stdout == ""
    assert desk("export", "values", "--from", "2030-01-01", "--format", "json").stdout == "[]\n"


def test_export_writes_a_file_and_leaves_it_alone_when_refused(desk: Desk, lived: Parts, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    assert desk("export", "fills", "-o", file).exit_code == 0
    written = file.read_text()
    assert written.startswith("rebalance_id,")
    assert desk("export", "fills", "-o", file, DESK_MARKET=f"replay:{tmp_path}").exit_code == 3
    assert file.read_text() == written
    assert lived.outcomes()


# --- replay ---


def _bars(folder: Path, minutes: int = 60) -> Path:
    """An hour of made-up minute bars around midnight, labelled SYNTHETIC by the folder that holds them."""
    bars = folder / "SYNTHETIC"
    (bars / "perp").mkdir(parents=True)
    opened = [datetime(2026, 1, 15, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(minutes)]
    for symbol, price in (("BTCUSDT", 90000.0), ("ETHUSDT", 3000.0)):
        closes = [price + minute for minute in range(minutes)]
        columns = {"close": closes, "volume": [1e6] * minutes}
        table = pa.table({"timestamp_utc": pa.array(opened, pa.timestamp("us", tz="UTC")), **columns})
        pq.write_table(table, bars / "perp" / f"{symbol}.parquet")
    info = simplejson.loads(exchange_info(contract("BTCUSDT"), contract("ETHUSDT"))) | {"serverTime": 1768435200000}
    (bars / "exchangeInfo.json").write_text(simplejson.dumps(info))
    return bars


def _signals(folder: Path, *names: str, data: bytes = GOOD) -> Path:
    signals = folder / "signals"
    signals.mkdir()
    for name in names:
        (signals / name).write_bytes(data)
    return signals


def test_a_replay_executes_the_signal_that_lands_and_verifies_its_store(desk: Desk, tmp_path: Path) -> None:
    signals = _signals(tmp_path, "signal_20260114-2355.csv")
    result = desk("replay", _bars(tmp_path), "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "60 ticks, 1 rebalances" in result.stdout
    assert "0 differences" in result.stdout
    log = (tmp_path / "out/portfolio_value_log.jsonl").read_bytes().splitlines()
    assert len(log) == 60
    assert load_document(log[-1])["source"] == "REPLAY"
    executed = load_document((tmp_path / "out/latest_executed.json").read_bytes())
    assert executed["csv_filename"] == "signal_20260114-2355.csv"
    assert executed["timestamp_utc"].startswith("2026-01-15T00:20")


def test_a_replay_says_which_signals_it_left_out_and_why(desk: Desk, tmp_path: Path) -> None:
    signals = _signals(tmp_path, "undated.csv", "early_20250101.csv", "late_20260301.csv")
    result = desk("replay", _bars(tmp_path), "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "early_20250101.csv: lands at 2025-01-02 00:20, outside the bars, not replayed",
        "late_20260301.csv: lands at 2026-03-02 00:20, outside the bars, not replayed",
        "undated.csv: no date in its name, not replayed",
    ]


def test_a_replay_goes_on_after_a_refused_signal_and_says_so(desk: Desk, tmp_path: Path) -> None:
    signals = _signals(tmp_path, "signal_20260114.csv", data=BAD)
    result = desk("replay", _bars(tmp_path), "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 0
    assert "60 ticks, 0 rebalances" in result.stdout
    assert "quarantined" in result.stderr


def test_a_replay_ends_with_the_last_minute_that_could_be_valued(desk: Desk, tmp_path: Path) -> None:
    bars = _bars(tmp_path)
    signals = _signals(tmp_path, "signal_20260114.csv")
    result = desk("replay", bars, "--signals", signals, "--into", tmp_path / "out", "--days", "1")
    assert result.exit_code == 0
    last = load_document((tmp_path / "out/portfolio_value_log.jsonl").read_bytes().splitlines()[-1])
    assert f"Portfolio Value {last['portfolio_value']:,}" in result.stdout


def test_a_replay_without_exchange_filters_is_refused_in_one_line(desk: Desk, tmp_path: Path) -> None:
    bars = _bars(tmp_path)
    (bars / "exchangeInfo.json").unlink()
    signals = _signals(tmp_path, "signal_20260114.csv")
    result = desk("replay", bars, "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 3
    assert "no USD-M exchange filters" in said_once(result)


def test_a_replay_says_which_funding_is_not_recorded(desk: Desk, tmp_path: Path) -> None:
    """Both symbols are held at 08:00, and one has its settlement."""
    bars = _bars(tmp_path, minutes=8 * 60 + 5)
    (bars / "funding").mkdir()
    (bars / "funding" / "BTCUSDT.csv").write_text("timestamp_utc,funding_rate\n2026-01-15T08:00:00+00:00,0.0001\n")
    signals = _signals(tmp_path, "signal_20260114-2355.csv")
    result = desk("replay", bars, "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert load_document((tmp_path / "out/daily_baseline.json").read_bytes())["positions"].keys() == {
        "BTCUSDT",
        "ETHUSDT",
    }
    assert result.stderr.splitlines() == [
        "funding of ETHUSDT: 1 not booked, from 2026-01-15T08:00 to 2026-01-15T08:00 UTC: not recorded, or without a "
        "usable rate or mark"
    ]


def test_a_replay_says_what_its_ticker_named_long_before_the_end_and_each_reason_once(
    desk: Desk, tmp_path: Path
) -> None:
    """Of ten hours: one symbol has nothing, the other no usable rate, not even at the very end."""
    bars = _bars(tmp_path, minutes=10 * 60)
    (bars / "funding").mkdir()
    (bars / "funding" / "BTCUSDT.csv").write_text(
        "timestamp_utc,funding_rate\n2026-01-15T07:00:00+00:00,0.0001\n2026-01-15T08:00:00+00:00,NaN\n"
        "2026-01-15T10:00:00+00:00,NaN\n"
    )
    signals = _signals(tmp_path, "signal_20260114-2355.csv")
    result = desk("replay", bars, "--signals", signals, "--into", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "funding of BTCUSDT: 2 not booked, from 2026-01-15T08:00 to 2026-01-15T10:00 UTC: without a usable rate "
        "or mark",
        "funding of ETHUSDT: 1 not booked, from 2026-01-15T08:00 to 2026-01-15T08:00 UTC: not recorded, or without a "
        "usable rate or mark",
    ]


def test_the_installed_command_is_this_one() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="desk")
    assert script.load() is main
    assert isinstance(main, click.Group)
    assert file_name(datetime(2026, 1, 2, tzinfo=UTC)).endswith(".csv")
