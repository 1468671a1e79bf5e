"""The arbitrage page: brief 3's monitor in a browser, and around it what the paper trader sees and decides."""

from typing import Any

from dashboards import arbitrage_labels as labels
from dashboards.components.arbitrage_board import ArbitrageBoard
from dashboards.components.arbitrage_capital import capital
from dashboards.components.arbitrage_export import table_rows
from dashboards.components.arbitrage_opportunities import opportunities, removed
from dashboards.components.arbitrage_pills import STALE, notices, pills
from dashboards.components.arbitrage_summary import summary
from dashboards.components.arbitrage_trades import active, exits, leg_outs
from dashboards.components.live_strip import freshness
from dashboards.parts_page import Parts, PartsPage
from dashboards.trader_snapshot import LATE_SECONDS, STALE_SECONDS, TraderSnapshot
from resources.documents import Document


def arbitrage(snapshot: TraderSnapshot) -> dict[str, dict[str, Any]]:
    """Everything the board shows by its parts, as texts and numbers that survive JSON."""
    view, fresh = snapshot.view, freshness(snapshot, STALE_SECONDS, STALE)
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


class ArbitragePage(PartsPage[TraderSnapshot]):
    """Served at ``/arbitrage``."""

    title = "Arbitrage"
    route = "/arbitrage"
    board = ArbitrageBoard

    def snapshot(self) -> TraderSnapshot:
        return self.context.trader.snapshot

    def parts(self, snapshot: TraderSnapshot) -> Parts:
        return arbitrage(snapshot)

    def table(self, snapshot: TraderSnapshot, name: str) -> dict[str, Document]:
        return {} if snapshot.view is None else table_rows(snapshot.view, name)
