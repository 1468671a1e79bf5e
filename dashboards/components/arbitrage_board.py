"""The arbitrage board: seven parts that change at different times, each sent when it changed and only then."""

from typing import ClassVar

import param

from dashboards.components.board import ScriptedBoard, joined

_PARTS = (
    "ages",
    "pills",
    "save",
    "filter",
    "live_board",
    "arbitrage_table",
    "arbitrage_summary",
    "arbitrage_capital",
    "arbitrage_board",
)
_STYLES = (
    "ages",
    "pills",
    "cards",
    "save",
    "filter",
    "live_board",
    "arbitrage_table",
    "arbitrage_summary",
    "arbitrage_capital",
    "arbitrage_board",
)


class ArbitrageBoard(ScriptedBoard):
    """One session's board; ``dashboards.pages.arbitrage`` states what each part shows."""

    head = param.Dict(default={}, doc="Notices, pills, freshness and the summary")
    active = param.Dict(default={}, doc="The table of active trades")
    exits = param.Dict(default={}, doc="The table of recent exits")
    opportunities = param.Dict(default={}, doc="The opportunities as they stand")
    removed = param.Dict(default={}, doc="Those that ended, shown below them")
    leg_outs = param.Dict(default={}, doc="The table of leg-outs")
    capital = param.Dict(default={}, doc="The points of the capital chart")

    _esm: ClassVar[str] = joined(_PARTS, ".js")
    _stylesheets: ClassVar[list[str]] = [joined(_STYLES, ".css")]
