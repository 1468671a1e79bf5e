"""The arbitrage page: brief 3's monitor in a browser, and around it what the paper trader sees and decides."""

from typing import Any

import panel as pn

from dashboards import arbitrage_labels as labels
from dashboards.components.arbitrage_board import ArbitrageBoard
from dashboards.components.arbitrage_capital import capital
from dashboards.components.arbitrage_opportunities import opportunities, removed
from dashboards.components.arbitrage_pills import freshness, notices, pills
from dashboards.components.arbitrage_summary import summary
from dashboards.components.arbitrage_trades import active, exits, leg_outs
from dashboards.page import BEAT_MS, Page, PageContext
from dashboards.trader_snapshot import LATE_SECONDS, TraderSnapshot


def arbitrage(snapshot: TraderSnapshot) -> dict[str, dict[str, Any]]:
    """Everything the board shows by its parts, as texts and numbers that survive JSON."""
    view, fresh = snapshot.view, freshness(snapshot)
    return {
        "head": {
            "source": snapshot.source,
            "notices": notices(snapshot),
            "pills": pills(snapshot),
            "freshness": fresh,
            "summary": {
                "title": labels.PORTFOLIO_SUMMARY,
                "figures": summary(view),
                "since": fresh["since"],
                "stale_after": LATE_SECONDS,
            },
        },
        "active": active(view),
        "exits": exits(view),
        "opportunities": opportunities(view),
        "removed": removed(view),
        "leg_outs": leg_outs(view),
        "capital": capital(view),
    }


class ArbitragePage(Page):
    """Served at ``/arbitrage``."""

    title = "Arbitrage"
    route = "/arbitrage"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._stated: tuple[int, dict[str, dict[str, Any]]] = (-1, {})

    def source(self) -> str | None:
        """The trader's feed, which is not the desk's market."""
        return self.context.trader.snapshot.source

    def body(self) -> pn.viewable.Viewable:
        """One session's board."""
        return _Session(self).board

    def state(self, snapshot: TraderSnapshot) -> dict[str, dict[str, Any]]:
        """``arbitrage`` of the snapshot, computed once a version for all sessions; what did not change stays the same
        object."""
        version, stated = self._stated
        if version != snapshot.version:
            new = arbitrage(snapshot)
            stated = {name: stated[name] if stated.get(name) == part else part for name, part in new.items()}
            self._stated = (snapshot.version, stated)
        return stated


class _Session:
    """What one open page holds: its board and the version it shows."""

    def __init__(self, page: ArbitragePage) -> None:
        self._page = page
        self._version = page.context.trader.snapshot.version
        self._shown = page.state(page.context.trader.snapshot)
        self._beat = page.context.now_ms()
        self.board = ArbitrageBoard(  # type: ignore[no-untyped-call]
            **self._shown, beat=self._beat, sizing_mode="stretch_both"
        )
        page.every_second(self._refresh)

    def _refresh(self) -> None:
        snapshot = self._page.context.trader.snapshot
        now = self._page.context.now_ms()
        if now - self._beat >= BEAT_MS or now < self._beat:
            self._beat = self.board.beat = now
        if snapshot.version == self._version:
            return
        self._version = snapshot.version
        new = self._page.state(snapshot)
        self.board.param.update(**{name: part for name, part in new.items() if part is not self._shown[name]})
        self._shown = new
