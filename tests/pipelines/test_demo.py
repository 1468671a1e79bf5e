"""``desk demo``: one whole compressed day that holds, and says so when it does not."""

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assets.accounting.pnl import Valuation
from assets.desk import tick
from assets.desk.value_log import MarksRow, log_row
from pipelines import demo as demo_day
from pipelines.cli import main
from resources.documents import Document, load_document


@pytest.fixture
def run_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    for name in [name for name in os.environ if name.startswith("DESK_")]:
        monkeypatch.delenv(name)
    return CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "day")], catch_exceptions=False)


def test_the_day_holds_and_has_status_0(run_demo: Result, tmp_path: Path) -> None:
    assert run_demo.exit_code == 0, run_demo.output
    assert "SIMULATED day" in run_demo.stdout
    assert re.search(r"minute ticks \(missed\)\D+1440 \(0\)", run_demo.stdout)
    flipped, dropped = re.findall(r"(\d+) / (\d+)", run_demo.stdout)[0]
    assert int(flipped) > 0
    assert int(dropped) > 0
    assert len(re.findall(r"rebalance monitor_signal_DF_\S+ +│ executed", run_demo.stdout)) == 2
    log = (tmp_path / "day/portfolio_value_log.jsonl").read_bytes().splitlines()
    assert len(log) == 1442
    assert load_document(log[-1])["source"] == "SIMULATED"
    assert (tmp_path / "day/history/portfolio_value/date=2026-01-15.parquet").exists()


def test_a_broken_identity_is_named_with_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of the day states a total that is one off: nobody would see it in the browser, the demo does."""

    def once_wrong(marks: MarksRow, value: Valuation, *, seq: int, rebalance_id: str | None, source: str) -> Document:
        row = log_row(marks, value, seq=seq, rebalance_id=rebalance_id, source=source)
        return row | {"total_pnl": row["total_pnl"] + (seq == 7)}

    monkeypatch.setattr(tick, "log_row", once_wrong)
    monkeypatch.setattr(demo_day, "MINUTES", 20)
    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "day")], catch_exceptions=False)
    assert result.exit_code == 1
    assert "portfolio_value_log.jsonl: log_identities: " in result.stderr
    assert "Traceback" not in result.stderr
