"""The quant board: all cards of both symbols; which symbol is shown, and what has aged, is the browser's own affair."""

from typing import ClassVar

import param

from dashboards.components.board import ScriptedBoard, joined

_PARTS = ("ages", "pills", "save", "quant_gauges", "quant_cards", "quant_board")


class QuantBoard(ScriptedBoard):
    """One session's board. ``quant`` is what ``dashboards.pages.quant`` states for the current snapshot."""

    quant = param.Dict(default={}, doc="Everything shown, texts and numbers; replaced as a whole when it changes")
    symbol = param.String(default="", doc="The symbol the page was opened with")

    _esm: ClassVar[str] = joined(_PARTS, ".js")
    _stylesheets: ClassVar[list[str]] = [
        joined(("ages", "pills", "cards", "quant_gauges", "quant_cards", "quant_board"), ".css")
    ]
