"""The telemetry page: every metric of brief 4, and whether what was promised is kept."""

from typing import Any

import panel as pn

from dashboards.components.telemetry_board import TelemetryBoard
from dashboards.components.telemetry_metrics import metric_groups
from dashboards.components.telemetry_status import alarms, bus, freshness, notices, pills, rejected, service_levels
from dashboards.page import BEAT_MS, Page, PageContext
from dashboards.telemetry_snapshot import TelemetrySnapshot


def telemetry(snapshot: TelemetrySnapshot) -> dict[str, dict[str, Any]]:
    """Everything the board shows by its parts, as texts and numbers that survive JSON."""
    view = snapshot.view
    return {
        "head": {
            "source": snapshot.source,
            "notices": notices(snapshot),
            "pills": pills(snapshot),
            "freshness": freshness(snapshot),
        },
        "records": {"columns": metric_groups(view)},
        "status": {
            "levels": service_levels(view),
            "alarms": alarms(view),
            "bus": bus(view),
            "rejected": rejected(view),
        },
    }


class TelemetryPage(Page):
    """Served at ``/telemetry``."""

    title = "Telemetry"
    route = "/telemetry"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._stated: tuple[int, dict[str, dict[str, Any]]] = (-1, {})

    def source(self) -> str | None:
        """The trader's feed, which is not the desk's market."""
        return self.context.telemetry.snapshot.source

    def body(self) -> pn.viewable.Viewable:
        """One session's board."""
        return _Session(self).board

    def state(self, snapshot: TelemetrySnapshot) -> dict[str, dict[str, Any]]:
        """``telemetry`` of the snapshot, computed once a version for all sessions; what did not change stays the same
        object."""
        version, stated = self._stated
        if version != snapshot.version:
            new = telemetry(snapshot)
            stated = {name: stated[name] if stated.get(name) == part else part for name, part in new.items()}
            self._stated = (snapshot.version, stated)
        return stated


class _Session:
    """What one open page holds: its board and the version it shows."""

    def __init__(self, page: TelemetryPage) -> None:
        self._page = page
        snapshot = page.context.telemetry.snapshot
        self._version, self._shown = snapshot.version, page.state(snapshot)
        self._beat = page.context.now_ms()
        self.board = TelemetryBoard(  # type: ignore[no-untyped-call]
            **self._shown, beat=self._beat, sizing_mode="stretch_both"
        )
        page.every_second(self._refresh)

    def _refresh(self) -> None:
        snapshot = self._page.context.telemetry.snapshot
        now = self._page.context.now_ms()
        if now - self._beat >= BEAT_MS or now < self._beat:
            self._beat = self.board.beat = now
        if snapshot.version == self._version:
            return
        self._version = snapshot.version
        new = self._page.state(snapshot)
        self.board.param.update(**{name: part for name, part in new.items() if part is not self._shown[name]})
        self._shown = new
