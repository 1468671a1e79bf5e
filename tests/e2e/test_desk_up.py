"""``desk up`` as a person has it: three real processes, a signal executed, Ctrl-C, and a second start."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from resources.documents import Document, load_document
from tests.free_port import free_port

PROC = Path("/proc")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not PROC.is_dir(), reason="finds its processes in /proc"),
]

Found = TypeVar("Found")


class Up:
    """One ``desk up`` after another on the same store and Dagster home."""

    def __init__(self, folder: Path) -> None:
        self.store, self.home, self.log = folder / "store", folder / "dagster", folder / "up.log"
        self.dagster_port, dashboard_port = free_port(), free_port()
        self.dashboard = f"http://127.0.0.1:{dashboard_port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DESK_", "DAGSTER_"))},
            "DESK_STORE": str(self.store),
            "DAGSTER_HOME": str(self.home),
            "DESK_DAGSTER_PORT": str(self.dagster_port),
            "DESK_DASHBOARD_PORT": str(dashboard_port),
            "DESK_AUTH": "off",
            "DESK_SENSOR_SECONDS": "2",
            "DESK_TICK_SECONDS": "5",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "desk"), "up"],
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=240)  # four services, each asked three times

    def processes(self) -> dict[int, str]:
        """Command line by pid of everything that was started for this store, however deep."""
        mark, found = f"DESK_STORE={self.store}".encode(), {}
        for folder in PROC.iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:  # a dead process that waits for its parent has none
                        found[int(folder.name)] = command
        return found

    def ticker(self) -> int | None:
        return next((pid for pid, command in self.processes().items() if "tick --resident" in command), None)

    def document(self, key: str) -> Document | None:
        try:
            return load_document((self.store / key).read_bytes())
        except FileNotFoundError:
            return None

    def rows(self) -> list[Document]:
        """The whole rows of the log."""
        try:
            data = (self.store / "portfolio_value_log.jsonl").read_bytes()
        except FileNotFoundError:
            return []
        return [load_document(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def executed(self) -> set[str]:
        return {file.parent.name for file in self.store.glob("rebalances/*/baseline.json")}

    def ask_dagster(self, query: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dagster_port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[tuple[str, str, str]]:
        """(job, partition, status) of every run, newest first."""
        query = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"
        runs = self.ask_dagster(query)["runsOrError"]["results"]
        tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in runs]
        partitions = [tag.get("dagster/partition", "") for tag in tags]
        return [(run["jobName"], of, run["status"]) for run, of in zip(runs, partitions, strict=True)]

    def checks(self) -> dict[str, str]:
        """Status of the latest execution of every asset check that ran."""
        nodes = self.ask_dagster(
            "{ assetNodes { assetChecksOrError { ... on AssetChecks { checks { name"
            " executionForLatestMaterialization { status } } } } } }"
        )["assetNodes"]
        checks = [check for node in nodes for check in node["assetChecksOrError"].get("checks", [])]
        ran = {check["name"]: check["executionForLatestMaterialization"] for check in checks}
        return {name: execution["status"] for name, execution in ran.items() if execution is not None}

    def stop_everything(self) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def printed(self) -> str:
        services = self.home / "services"
        files = [self.log, *(sorted(services.iterdir()) if services.is_dir() else [])]
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


def until(look: Callable[[], Found | None], seconds: float, up: Up, what: str) -> Found:
    """What ``look`` finds within ``seconds``; else the test fails with what the processes printed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        if up.process is not None and up.process.poll() is not None:
            break
        threading.Event().wait(0.2)
    pytest.fail(f"{what} did not come\n{up.printed()}")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path)
    try:
        yield started
    finally:
        started.stop_everything()


def test_desk_up_executes_a_signal_survives_a_kill_stops_whole_and_goes_on(up: Up) -> None:
    up.start()
    executed = until(lambda: up.document("latest_executed.json"), 300, up, "latest_executed.json")
    rebalance_id = executed["rebalance_id"]
    assert executed["status"] == "complete"

    # What Dagster says of it: one successful run of that partition, every check passed.
    def succeeded() -> list[tuple[str, str, str]] | None:
        with suppress(OSError):  # its pages may be up later than what executes
            runs = up.runs()
            return runs if ("rebalance", rebalance_id, "SUCCESS") in runs else None
        return None

    runs = until(succeeded, 180, up, "the successful run")
    assert [run for run in runs if run[0] == "rebalance"] == [("rebalance", rebalance_id, "SUCCESS")]
    checks = up.checks()
    wanted = {"gross_identity", "orders_respect_filters", "fills_match_orders", "value_continuous_at_t1"}
    assert wanted <= checks.keys()
    assert {name for name in wanted if checks[name] != "SUCCEEDED"} == set()

    # A killed ticker is started again, and the dashboard answers all the while.
    first = until(up.ticker, 120, up, "the ticker")
    os.kill(first, signal.SIGKILL)
    second = until(lambda: (pid := up.ticker()) and pid != first and pid, 120, up, "the ticker's second life")
    with urllib.request.urlopen(f"{up.dashboard}/healthz", timeout=60) as answer:
        assert answer.status == 200
    logged = until(
        lambda: [row for row in up.rows() if row["rebalance_id"] == rebalance_id], 180, up, "a row on the new baseline"
    )
    assert logged[0]["source"] == "SIMULATED"
    assert up.ticker() == second

    # Ctrl-C: every process group is gone, with status 0.
    groups = up.processes()
    assert len(groups) >= 5
    assert up.interrupt() == 0, up.printed()
    assert up.processes() == {}
    before, contents = up.rows(), up.executed()
    assert contents == {rebalance_id}

    # The second start goes on: the same content under another name is seen and not executed, the log has its next row.
    (sample,) = (up.store / "inbox").glob("*.csv")
    shutil.copyfile(sample, sample.with_name("copy_of_" + sample.name))
    up.start()
    until(lambda: _landed(up) == f"inbox/copy_of_{sample.name}", 300, up, "the sensor's look at the copy")
    rows = until(lambda: (rows := up.rows()) and len(rows) > len(before) and rows, 180, up, "the next row")
    assert rows[: len(before)] == before
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert rows[len(before)]["rebalance_id"] == rebalance_id
    assert up.executed() == contents
    assert [run for run in up.runs() if run[0] == "rebalance"] == [("rebalance", rebalance_id, "SUCCESS")]
    assert up.interrupt() == 0, up.printed()
    assert up.processes() == {}


def _landed(up: Up) -> str | None:
    """The file that the sensor reported last."""
    query = (
        '{ assetOrError(assetKey: {path: ["signal_inbox"]}) { ... on Asset { assetMaterializations(limit: 1)'
        " { metadataEntries { label ... on TextMetadataEntry { text } } } } } }"
    )
    with suppress(OSError):  # not up yet
        (landed,) = up.ask_dagster(query)["assetOrError"]["assetMaterializations"]
        return next((entry["text"] for entry in landed["metadataEntries"] if entry["label"] == "file"), None)
    return None
