"""How the desk stands, read from the store alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.accounting.ledger import DamagedSnapshot, read_snapshot
from assets.desk.artifacts import EXECUTION, LATEST_EXECUTED, LATEST_PRICES
from assets.desk.desk import Desk
from assets.desk.tick import last_log_line
from assets.desk.value_log import LogRow, parse_log_row
from resources.documents import Document, to_iso
from resources.store import Store
from resources.store.once import find

# Three missed minutes: the ticker is not running.
LIVE_WITHIN = timedelta(minutes=3)


@dataclass(frozen=True)
class DeskStatus:
    """What ``desk status`` says; None and "" where there is nothing to say yet."""

    now: datetime
    newest: LogRow | None
    executed: Document | None
    execution: Document | None
    prices: Document | None
    snapshot_damage: str = ""

    @property
    def live(self) -> bool:
        return self.newest is not None and self.now - self.newest.timestamp <= LIVE_WITHIN

    def document(self) -> Document:
        return {
            "timestamp_utc": to_iso(self.now),
            "live": self.live,
            "log": None if self.newest is None else self.newest.document,
            "latest_executed": self.executed,
            "execution": self.execution,
            "refused_marks": {} if self.prices is None else self.prices["refused"],
            "snapshot_damage": self.snapshot_damage,
        }

    def lines(self) -> list[tuple[str, str]]:
        """Label and text, in the order shown."""
        if self.newest is None:
            lines = [("Portfolio Value", "nothing logged yet: start the ticker with `desk up` or run `desk tick`")]
        else:
            age = int((self.now - self.newest.timestamp).total_seconds())
            stale = self.newest.document.get("stale") or []
            lines = [
                ("Portfolio Value", f"{self.newest.portfolio_value:,}"),
                ("Daily P&L", f"{self.newest.daily_pnl:+,}"),
                ("Total P&L Since Inception", f"{self.newest.total_pnl:+,}"),
                ("logged", f"{age} s ago{'' if self.live else ' - NOT LIVE'}"),
                ("valued at old marks", ", ".join(stale) or "none"),
            ]
        executed = (
            "none yet" if self.executed is None else f"{self.executed['csv_filename']}, {self.executed['status']}"
        )
        lines.append(("last executed signal", executed))
        if self.execution is not None and self.execution["state"] == "executing":
            lines.append(("executing", f"{self.execution['rebalance_id']}, at {self.execution['step']}"))
        if self.snapshot_damage:
            lines.append(("ledger snapshot", f"{self.snapshot_damage}. Replayed from the segments; see `desk verify`"))
        return lines


def desk_status(desk: Desk) -> DeskStatus:
    """Read how the desk stands now."""
    line = last_log_line(desk)
    return DeskStatus(
        now=desk.clock.now(),
        newest=parse_log_row(line) if line else None,
        executed=find(desk.store, LATEST_EXECUTED),
        execution=find(desk.store, EXECUTION),
        prices=find(desk.store, LATEST_PRICES),
        snapshot_damage=_snapshot_damage(desk.store),
    )


def _snapshot_damage(store: Store) -> str:
    """Why the ledger's snapshot cannot be used, "" where it can or there is none."""
    try:
        read_snapshot(store)
    except DamagedSnapshot as damage:
        return str(damage)
    return ""
