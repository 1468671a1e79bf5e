"""Boards: everything a page shows in one Bokeh root, because each further root costs a page view 13 ms."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param
from bokeh.document import Document
from panel.viewable import Child

_HERE = Path(__file__).parent

# The parts of the desk board's script, joined in this order into the one module that Panel loads.
_PARTS = ("ages", "pills", "save", "filter", "cards", "ranges", "exposure", "positions", "rebalance", "board")


def joined(parts: tuple[str, ...], suffix: str) -> str:
    """The files ``<part><suffix>`` of this folder as one text."""
    return "\n".join((_HERE / f"{part}{suffix}").read_text(encoding="utf-8") for part in parts)


class ScriptedBoard(pn.custom.JSComponent):
    """What every board has: the sign of life, and a script (``_esm``) that runs as it is."""

    beat = param.Integer(default=0, doc="The server's clock in ms, sent every two seconds: the page's sign of life")

    __abstract = True

    def send(self, message: dict[str, Any]) -> None:
        """Hand the browser of this session a message, once."""
        self._send_msg(message)

    def _get_properties(self, doc: Document | None) -> dict[str, Any]:
        # Named as a bundle the script runs as it is; else the browser first translates it from TypeScript and JSX.
        return {**super()._get_properties(doc), "bundle": _version(str(self._esm))}


@cache
def _version(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()


class Board(ScriptedBoard):
    """One session's board. ``desk`` is what ``dashboards.pages.desk`` states for the current snapshot."""

    desk = param.Dict(default={}, doc="Everything shown, texts and numbers; replaced as a whole when it changes")
    range = param.String(default="", doc="Range of the chart: a button's name or <start ms>-<end ms>")
    view = param.Dict(default={}, doc="Sort column, direction and filter the page was opened with")
    chart = Child(doc="The chart's pane")

    _esm: ClassVar[str] = joined(_PARTS, ".js")
    _stylesheets: ClassVar[list[str]] = [joined(_PARTS, ".css")]
