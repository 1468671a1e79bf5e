"""The desk page: what brief 0 asks to see, from stored objects only."""

from datetime import datetime
from typing import Any

import panel as pn
import param
from panel.models.esm import DataEvent

from assets.desk.position_table import PositionRow, position_rows
from dashboards.components.board import Board
from dashboards.components.cards import NO_ROW, cards
from dashboards.components.chart import RANGES, PortfolioChart, known_range
from dashboards.components.exposure import exposure
from dashboards.components.pills import market_source, status_pills
from dashboards.components.positions import positions, saved
from dashboards.components.rebalance import rebalance
from dashboards.components.table_file import chosen, table_file
from dashboards.page import BEAT_MS, Page, PageContext
from dashboards.series import Series
from dashboards.snapshot import Snapshot
from resources.settings import Settings


def desk(snapshot: Snapshot, settings: Settings, now: datetime) -> dict[str, Any]:
    """Everything the board shows, as texts and numbers that survive JSON."""
    row = snapshot.row
    rows = _rows(snapshot)
    return {
        "notice": _notice(snapshot),
        "source": market_source(snapshot),
        "pills": status_pills(snapshot, settings, now),
        "cards": cards(snapshot, rows, settings, now),
        "ranges": list(RANGES),
        "chart": {"reason": NO_ROW if row is None else "", "loading": not snapshot.history_loaded},
        "exposure": exposure(snapshot, rows),
        "positions": positions(snapshot, rows),
        "rebalance": rebalance(snapshot, settings, now),
    }


def exported(snapshot: Snapshot, asked: object, now: datetime) -> dict[str, str] | None:
    """The file a browser asks for (``table_file``); None where it asks for nothing that is there."""
    if not isinstance(asked, dict) or asked.get("export") != "positions":
        return None
    return table_file("desk", "positions", chosen(saved(_rows(snapshot)), asked.get("ids")), now)


def _rows(snapshot: Snapshot) -> list[PositionRow]:
    value = None if snapshot.row is None else snapshot.row.portfolio_value
    return position_rows(snapshot.baseline, snapshot.prices, snapshot.in_force, value)


def _notice(snapshot: Snapshot) -> dict[str, str] | None:
    """The one line above everything else: why what is shown may not be the present."""
    if snapshot.disconnected:
        as_of = "nothing was read yet" if snapshot.read_at is None else f"values as of {snapshot.read_at:%H:%M:%S} UTC"
        return {"state": "disconnected", "text": f"Store not answering, {as_of}", "title": snapshot.disconnected}
    if not snapshot.version:
        return {"state": "loading", "text": "Reading the store", "title": ""}
    return None


class DeskPage(Page):
    """Served at ``/``."""

    title = "Desk"
    route = "/"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._stated: tuple[int, dict[str, Any]] = (-1, {})

    def body(self) -> pn.viewable.Viewable:
        """One session's board."""
        return _Session(self).board

    def state(self, snapshot: Snapshot) -> dict[str, Any]:
        """``desk`` of the snapshot, computed once a version for all sessions."""
        version, stated = self._stated
        if version != snapshot.version:
            stated = desk(snapshot, self.context.settings, self.context.clock.now())
            self._stated = (snapshot.version, stated)
        return stated


class _Session:
    """What one open page holds: its board, its chart and the version they show."""

    def __init__(self, page: DeskPage) -> None:
        self._page = page
        wanted = page.query()
        range_name = known_range(wanted.get("range", ""))
        self._chart = PortfolioChart(range_name, self._zoomed)
        self.board = Board(  # type: ignore[no-untyped-call]
            chart=pn.pane.Bokeh(self._chart.figure, sizing_mode="stretch_both"),  # type: ignore[no-untyped-call]
            range=range_name,
            view={name: wanted.get(name, "") for name in ("sort", "filter")},
            sizing_mode="stretch_both",
        )
        self._version = -1
        self._drawn: Series | None = None
        self._beat = 0
        self._refresh()
        self.board.param.watch(self._selected, "range")
        self.board.on_msg(self._asked)
        page.every_second(self._refresh)

    def _refresh(self) -> None:
        snapshot = self._page.context.poller.snapshot
        now = self._page.context.now_ms()
        if now - self._beat >= BEAT_MS or now < self._beat:
            self._beat = self.board.beat = now
        if snapshot.version == self._version:
            return
        self._version = snapshot.version
        self.board.desk = self._page.state(snapshot)
        if snapshot.series is not self._drawn:
            self._drawn = snapshot.series
            capital = snapshot.initial_capital
            self._chart.show(snapshot.series, snapshot.depth, None if capital is None else float(capital))

    def _selected(self, event: param.parameterized.Event) -> None:
        if event.new != self._chart.range_name:
            with pn.io.hold():
                self._chart.select(known_range(event.new))

    def _asked(self, message: DataEvent) -> None:
        context = self._page.context
        file = exported(context.poller.snapshot, message.data, context.clock.now())
        if file is not None:
            self.board.send(file)

    def _zoomed(self, range_name: str) -> None:
        self.board.range = range_name
