"""``desk up``: Dagster, the resident ticker and trader and the dashboard as one thing that starts and stops.

Each is a process of its own: the portfolio value goes on while Dagster restarts, and a page that hangs stops nobody.
What a service prints goes to a file of its own under ``$DAGSTER_HOME/services``.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from resources.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent

# Starting again at once would only fail at once; giving up says so instead of blinking for ever.
_RESTART_DELAY_SECONDS = 2.0
_MAX_RESTARTS = 5
# A service that ran this long was healthy: what happens then is a new trouble, not the old one.
_HEALTHY_SECONDS = 600.0
_STOP_SECONDS = 20.0


@dataclass
class Service:
    """One process of the desk; ``restarts`` counts unexpected ends."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    due: float = 0.0
    started: float = 0.0

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the services in order.
            self.process = subprocess.Popen(
                self.command, cwd=PROJECT, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Ask the whole process group to end, then insist."""
        if self.process is None:
            return
        for sign, patience in ((signal.SIGINT, _STOP_SECONDS), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            _signal_group(self.process.pid, sign)
            if _wait_for_group(self.process, patience):
                return


def _signal_group(group: int, sign: signal.Signals) -> None:
    try:
        os.killpg(group, sign)
    except ProcessLookupError:
        return


def _wait_for_group(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """True once the leader and everything it started in its group are gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def dagster_home() -> Path:
    """``DAGSTER_HOME``, by default ``.dagster`` beside this project, made ready with the project's dagster.yaml."""
    home = Path(os.environ.get("DAGSTER_HOME") or PROJECT / ".dagster").resolve()
    (home / "services").mkdir(parents=True, exist_ok=True)
    if not os.environ.get("DAGSTER_HOME") or not (home / "dagster.yaml").exists():
        # A home that somebody else set up keeps its own settings.
        shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
    _create_databases(home)
    return home


def _create_databases(home: Path) -> None:
    """Create the instance's databases before two processes try to do so at once."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
        instance.get_dynamic_partitions("rebalance")
        instance.all_instigator_state()


def services(settings: Settings, home: Path) -> list[Service]:
    """The four services, in starting order; ``home`` is the Dagster instance they share."""
    environment = dict(os.environ) | {"DAGSTER_HOME": str(home)}
    scripts = Path(sys.executable).parent
    dagster = [
        str(scripts / "dagster"), "dev", "-w", str(PROJECT / "workspace.yaml"),
        "-h", settings.dagster_host, "-p", str(settings.dagster_port),
    ]  # fmt: skip
    commands = {
        "ticker": [str(scripts / "desk"), "tick", "--resident"],
        "trader": [str(scripts / "desk"), "trade", "--resident"],
        "dashboard": [sys.executable, "-m", "dashboards"],
        "dagster": dagster,
    }
    return [
        Service(name, command, environment, home / "services" / f"{name}.log") for name, command in commands.items()
    ]


def answers(url: str) -> bool:
    """Whether something at ``url`` answers at all (a redirect to a login is an answer)."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (urllib.error.URLError, OSError):
        return False


class Supervisor:
    """Keeps the services running until told to stop."""

    def __init__(self, parts: list[Service], say: Callable[[str], None]) -> None:
        self._parts = parts
        self._say = say
        self._stopping = False

    def stop_on_signals(self) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, self._on_signal)

    def _on_signal(self, _sign: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def start(self) -> None:
        for part in self._parts:
            part.start()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Supervise until ``ready``; false when stopped or when it takes longer than ``seconds``."""
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            if ready():
                return True
            if not self._look():
                return False
            time.sleep(0.2)
        return False

    def run(self) -> int:
        """Supervise until a signal comes; the exit status."""
        while not self._stopping:
            if not self._look():
                return 1
            time.sleep(0.5)
        return 0

    def _look(self) -> bool:
        """Restart what ended unexpectedly; false when one of the services will not stay up."""
        for part in self._parts:
            if part.due and time.monotonic() >= part.due:
                part.due = 0.0
                part.start()
            elif not part.due and part.ended():
                if time.monotonic() - part.started > _HEALTHY_SECONDS:
                    part.restarts = 0
                part.restarts += 1
                if part.restarts > _MAX_RESTARTS:
                    self._say(f"{part.name} keeps ending; see {part.log}")
                    return False
                self._say(f"{part.name} ended; starting it again (log: {part.log})")
                part.due = time.monotonic() + _RESTART_DELAY_SECONDS
        return True

    def stop(self) -> None:
        """Stop in reverse order: no new rebalance first, the last portfolio value last."""
        for part in reversed(self._parts):
            part.stop()
