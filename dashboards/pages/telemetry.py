"""The telemetry page: every metric of brief 4, and whether what was promised is kept."""

from typing import Any

from dashboards.components.live_strip import freshness
from dashboards.components.telemetry_board import TelemetryBoard
from dashboards.components.telemetry_metrics import metric_groups, metric_rows
from dashboards.components.telemetry_status import (
    STALE,
    alarms,
    bus,
    notices,
    pills,
    rejected,
    service_levels,
    stale_after,
)
from dashboards.parts_page import Parts, PartsPage
from dashboards.telemetry_snapshot import TelemetrySnapshot
from resources.documents import Document


def telemetry(snapshot: TelemetrySnapshot) -> dict[str, dict[str, Any]]:
    """Everything the board shows by its parts, as texts and numbers that survive JSON."""
    view = snapshot.view
    return {
        "head": {
            "source": snapshot.source,
            "notices": notices(snapshot),
            "pills": pills(snapshot),
            "freshness": freshness(snapshot, stale_after(view), STALE),
        },
        "records": {"columns": metric_groups(snapshot)},
        "status": {
            "levels": service_levels(view),
            "alarms": alarms(view),
            "bus": bus(view),
            "rejected": rejected(view),
        },
    }


class TelemetryPage(PartsPage[TelemetrySnapshot]):
    """Served at ``/telemetry``."""

    title = "Telemetry"
    route = "/telemetry"
    board = TelemetryBoard

    def snapshot(self) -> TelemetrySnapshot:
        return self.context.telemetry.snapshot

    def parts(self, snapshot: TelemetrySnapshot) -> Parts:
        return telemetry(snapshot)

    def table(self, snapshot: TelemetrySnapshot, name: str) -> dict[str, Document]:
        return metric_rows(snapshot) if name == "metrics" else {}
