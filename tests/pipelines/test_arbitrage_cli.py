"""``desk trade`` and ``desk monitor`` from the outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.session import Session, closing_of, day_key, start_of, stored_events
from assets.arbitrage.view import live_document, live_key
from pipelines.arbitrage_cli import monitor, trade
from pipelines.cli import main, verify
from pipelines.terminal import FAILED, REFUSED
from resources.clock import ManualClock
from resources.documents import dump_document, load_document
from resources.store.local import LocalStore
from tests.trading_parts import DAY, NEXT_DAY, ScriptedFeed, at, desk_of, evenings, stored_log, traded_through

SEED = 9
PROJECT = Path(__file__).parents[2]
WRONG_USAGE = 2


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    for name in [name for name in os.environ if name.startswith("DESK_") or name == "REDIS_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DESK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "160")
    return LocalStore(tmp_path / "store")


@pytest.fixture
def scripted(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the command open a scripted desk on the store."""

    def use(feed: ScriptedFeed | None = None, now: datetime | None = None) -> None:
        desk: ArbitrageDesk = desk_of(store, feed or ScriptedFeed(evenings(SEED)), now=now)
        monkeypatch.setattr("assets.arbitrage.arbitrage_desk.open_arbitrage_desk", lambda _settings: desk)

    return use


def run(command: click.Command, *arguments: str) -> Result:
    # By way of the whole command line: a command that was called on its own keeps no ``-h`` for other tests.
    result = CliRunner().invoke(main, [str(command.name), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# --- a past day ---


def test_a_past_day_is_traded_judged_and_computed_anew(store: LocalStore, scripted: Callable[..., None]) -> None:
    scripted()
    result = run(trade, "--day", DAY)
    assert result.exit_code == 0, result.output
    assert closing_of(store, "SIMULATED", DAY) is not None
    lines = result.stdout.splitlines()
    for name in ("capital_conserved", "no_naked_leg", "exits_have_reasons", "ledger_agrees", "log_replays"):
        assert any(name in line and "holds" in line for line in lines), name
    events = len(list(stored_events(store, "SIMULATED", DAY)))
    assert any("events in the log" in line and f"{events:,}" in line for line in lines)
    assert f"SIMULATED {DAY}" in result.stdout
    for label in ("Profit of the day", "fees / funding", "leg-outs and what they cost"):
        assert next(line for line in lines if label in line).rstrip().endswith(" USD"), label


def test_asked_again_it_says_the_same_of_the_same_log(store: LocalStore, scripted: Callable[..., None]) -> None:
    scripted()
    first = run(trade, "--day", DAY)
    log = stored_log(store)
    second = run(trade, "--day", DAY)
    assert second.stdout == first.stdout
    assert stored_log(store) == log


def test_a_log_that_does_not_come_out_again_is_status_one(store: LocalStore, scripted: Callable[..., None]) -> None:
    traded_through(desk_of(store, ScriptedFeed(evenings(SEED))))
    scripted(ScriptedFeed(evenings(SEED + 2)))
    result = run(trade, "--day", DAY)
    assert result.exit_code == FAILED
    assert "comes out otherwise; another DESK_SEED" in " ".join(result.stdout.split())


def test_a_day_that_the_next_one_was_begun_without_is_told_of_and_right_by_itself(
    store: LocalStore, scripted: Callable[..., None]
) -> None:
    scripted()
    assert run(trade, "--day", NEXT_DAY).stderr == ""
    result = run(trade, "--day", DAY)
    assert result.exit_code == 0, result.output
    assert closing_of(store, "SIMULATED", DAY) is not None
    assert result.stderr.startswith(f"{NEXT_DAY} does not go on from {DAY} but from its starting capital")
    told = run(verify)
    assert (told.exit_code, told.stderr) == (0, result.stderr)
    assert "2 arbitrage days, 0 reports recomputed: 0 differences" in told.stdout
    assert load_document(run(verify, "--json").stdout.encode())["passed_over"] == [result.stderr.rstrip("\n")]
    store.write(next(iter(store.list(day_key("SIMULATED", NEXT_DAY, "log")))).key, b"{")
    again = run(trade, "--day", DAY)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert again.stderr.startswith("what the next stored day goes on from is not known: ")


def test_a_live_day_is_judged_without_computing_it_anew(store: LocalStore, scripted: Callable[..., None]) -> None:
    feed = ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False)
    Session(desk_of(store, feed), DAY, start_of(DAY)).close()
    scripted(feed)
    result = run(trade, "--day", DAY)
    assert result.exit_code == 0, result.output
    assert "log_replays" not in result.stdout


@pytest.mark.parametrize(
    ("feed", "now", "sentence"),
    [
        (ScriptedFeed(evenings(SEED)), at(DAY, 3600), f"desk: {DAY} is not over: its trader closes it at 00:00 UTC"),
        (
            ScriptedFeed(evenings(SEED), source="RECORDED", recorded=(NEXT_DAY,)),
            None,
            f"desk: nothing is recorded of {DAY}; recorded are {NEXT_DAY}",
        ),
        (
            ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False),
            None,
            f"desk: nobody traded {DAY}, and the past of a live feed cannot be asked for",
        ),
    ],
    ids=["not over", "not recorded", "live"],
)
def test_a_day_that_cannot_be_traded_is_one_line_and_status_three(
    store: LocalStore, scripted: Callable[..., None], feed: ScriptedFeed, now: datetime | None, sentence: str
) -> None:
    scripted(feed, now)
    result = run(trade, "--day", DAY)
    assert result.exit_code == REFUSED
    assert result.stderr.splitlines() == [sentence]
    assert result.stdout == ""
    assert not list(store.list("arbitrage/"))


def test_a_damaged_log_is_one_line_that_names_the_segment(store: LocalStore, scripted: Callable[..., None]) -> None:
    traded_through(desk_of(store, ScriptedFeed(evenings(SEED))))
    key = f"{day_key('simulated', DAY, 'log')}/00000000.jsonl"
    store.write(key, store.read(key).data + b"{}\n")
    scripted()
    result = run(trade, "--day", DAY)
    assert result.exit_code == REFUSED
    assert result.stderr.startswith(f"desk: {key} is damaged")
    assert len(result.stderr.splitlines()) == 1


def test_a_recording_that_is_not_there_is_refused(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_FEED", "recorded:/no/such/folder")
    result = run(trade, "--day", "2024-08-08")
    assert result.exit_code == REFUSED
    assert "/no/such/folder" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(store.list("arbitrage/"))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--resident", "--day", DAY),
        ("--day", "yesterday"),
        ("--day", "2026-02-30"),
        ("--day", "0001-01-01"),
        ("--day", "1969-12-31"),
        ("--day", "9999-12-31"),
    ],
    ids=str,
)
def test_it_wants_a_day_or_to_be_resident_and_not_both(store: LocalStore, arguments: tuple[str, ...]) -> None:
    result = run(trade, *arguments)
    assert result.exit_code == WRONG_USAGE
    assert "Usage" in result.stderr
    assert not list(store.list(""))


# --- the resident trader ---


def test_the_resident_trader_ends_when_it_is_told_to(store: LocalStore) -> None:
    """The simulated venues on the machine's clock, as `desk up` starts it; told while it catches up with the day."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "trade", "--resident"],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        env=os.environ | {"DESK_SEED": "3"},
    )
    try:
        until = time.monotonic() + 120
        while not list(store.list("arbitrage/simulated/")) and process.poll() is None:
            assert time.monotonic() < until, "it did nothing"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said.decode()
    assert b"Traceback" not in said
    today = datetime.now(UTC).date()
    assert any(stored_log(store, day.isoformat()) for day in (today, today - timedelta(days=1)))


# --- the monitor ---


def test_once_without_a_trader_it_says_so_with_status_one(store: LocalStore) -> None:
    result = run(monitor, "--once")
    assert result.exit_code == FAILED
    assert "SIMULATED" in result.stdout
    assert "desk up" in result.stdout or "No data" in result.stdout or "trader" in result.stdout.lower()
    assert not list(store.list("")), "looking stores nothing"


def _shown(store: LocalStore, monkeypatch: pytest.MonkeyPatch, age: timedelta) -> None:
    """A trader's numbers, and the monitor's clock ``age`` after they were written: a slow machine makes none stale."""
    session = traded_through(desk_of(store, ScriptedFeed(evenings(SEED))))
    written_at = at(NEXT_DAY)
    store.write(live_key("SIMULATED"), dump_document(live_document(session.view(), written_at)))
    monkeypatch.setattr("resources.clock.SystemClock", lambda: ManualClock(written_at + age))


def test_once_it_prints_the_panels_of_what_the_trader_wrote(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _shown(store, monkeypatch, timedelta(seconds=1))
    result = run(monitor, "--once")
    assert result.exit_code == 0, result.output
    assert "SIMULATED" in result.stdout
    assert "SOL" in result.stdout


def test_once_what_is_stale_is_printed_and_is_status_one(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _shown(store, monkeypatch, timedelta(minutes=2))
    result = run(monitor, "--once")
    assert result.exit_code == FAILED
    assert "SOL" in result.stdout


def test_without_a_terminal_the_monitor_names_the_way_that_works(store: LocalStore) -> None:
    result = run(monitor)
    assert result.exit_code == WRONG_USAGE
    assert "desk monitor --once" in result.stderr
    assert not list(store.list(""))
