"""The telemetry board: head, metrics and status, each sent when it changed and only then."""

from typing import ClassVar

import param

from dashboards.components.board import ScriptedBoard, joined

_PARTS = (
    "ages",
    "pills",
    "save",
    "live_board",
    "quant_gauges",
    "telemetry_metrics",
    "telemetry_status",
    "telemetry_board",
)
_STYLES = (
    "ages",
    "pills",
    "cards",
    "save",
    "live_board",
    "quant_gauges",
    "telemetry_metrics",
    "telemetry_status",
    "telemetry_board",
)


class TelemetryBoard(ScriptedBoard):
    """One session's board; ``dashboards.pages.telemetry`` states what each part shows."""

    head = param.Dict(default={}, doc="Notices, pills and freshness")
    records = param.Dict(default={}, doc="The metrics by record, in the columns of the page")
    status = param.Dict(default={}, doc="Service levels, alarms, the bus and refused feed events")

    _esm: ClassVar[str] = joined(_PARTS, ".js")
    _stylesheets: ClassVar[list[str]] = [joined(_STYLES, ".css")]
