"""The quant page: brief 1's screen of the daily research decision, from stored documents only."""

import logging
from typing import Any

import panel as pn
import simplejson
from panel.models.esm import DataEvent

from dashboards import quant_labels as labels
from dashboards.components.quant_bias import bias
from dashboards.components.quant_board import QuantBoard
from dashboards.components.quant_execution import execution
from dashboards.components.quant_frame import actions, footer, header_pills
from dashboards.components.quant_gate import freshness, gate
from dashboards.components.quant_performance import performance
from dashboards.components.quant_shown import Decided
from dashboards.components.quant_signatures import signatures
from dashboards.components.quant_stopping import stopping
from dashboards.components.quant_training import learning_rate, noise_robust
from dashboards.components.quant_validation import validation
from dashboards.page import BEAT_MS, Page, PageContext
from dashboards.research_snapshot import ResearchSnapshot, SymbolResearch
from resources.documents import Document
from resources.settings import Settings

NO_DECISION = "No decision yet: the first comes at 00:00 UTC"
UNREADABLE = "The stored decision is not what it should be"

_log = logging.getLogger(__name__)


def quant(snapshot: ResearchSnapshot, settings: Settings) -> dict[str, Any]:
    """Everything the board shows of every symbol, as texts and numbers that survive JSON."""
    return {
        "title": labels.TITLE,
        "notice": _notice(snapshot),
        "source": snapshot.source,
        "actions": actions(settings),
        "symbols": [
            {"name": symbol, "label": symbol.removesuffix(settings.reporting_currency) or symbol}
            for symbol in snapshot.symbols
        ],
        "shown": {symbol: _symbol(snapshot, symbol, research) for symbol, research in snapshot.symbols.items()},
    }


def known_symbol(wanted: str, snapshot: ResearchSnapshot, settings: Settings) -> str:
    """The symbol an address asks for, as ``BTC`` or ``BTCUSDT``; the first one for any other."""
    symbols = list(snapshot.symbols)
    named = {name.upper() for name in (wanted, wanted + settings.reporting_currency)}
    return next((symbol for symbol in symbols if symbol in named), symbols[0])


def _symbol(snapshot: ResearchSnapshot, symbol: str, research: SymbolResearch) -> dict[str, Any]:
    """A symbol's cards. A document whose inside is not what its writer writes is announced and shown as missing."""
    missing = snapshot.no_source or NO_DECISION
    unreadable = list(research.unreadable)
    decided = Decided({}, missing if not unreadable else UNREADABLE)
    if research.decision is not None:
        decided = Decided(research.decision)
    try:
        return _cards(decided, research.summary, snapshot.no_source, unreadable)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        _log.exception("the documents of %s cannot be shown", symbol)
        return _cards(Decided({}, UNREADABLE), None, UNREADABLE, [*unreadable, f"{symbol}: decision or walk-forward"])


def _cards(decided: Decided, summary: Document | None, absence: str, unreadable: list[str]) -> dict[str, Any]:
    return {
        "freshness": freshness(decided),
        "pills": header_pills(decided, unreadable),
        "gate": gate(decided),
        "bias": bias(decided),
        "performance": performance(decided),
        "execution": execution(decided),
        "stopping": stopping(decided),
        "validation": validation(summary, absence),
        "signatures": signatures(decided),
        "noise_robust": noise_robust(decided),
        "learning_rate": learning_rate(decided),
        "footer": footer(decided),
    }


def _notice(snapshot: ResearchSnapshot) -> dict[str, str] | None:
    """The one line above everything else: why what is shown may not be the present."""
    if snapshot.no_source:
        return {"state": "attention", "text": "Research has no source of data", "title": snapshot.no_source}
    if snapshot.disconnected:
        as_of = "nothing was read yet" if snapshot.read_at is None else f"values as of {snapshot.read_at:%H:%M:%S} UTC"
        return {"state": "disconnected", "text": f"Store not answering, {as_of}", "title": snapshot.disconnected}
    if not snapshot.version:
        return {"state": "loading", "text": "Reading the store", "title": ""}
    return None


def exported(snapshot: ResearchSnapshot, symbol: str) -> dict[str, str] | None:
    """The decision shown, as a file for a person to keep; None where there is none."""
    research = snapshot.symbols.get(symbol)
    if research is None or research.decision is None:
        return None
    content = simplejson.dumps(research.decision, indent=2, sort_keys=True, ensure_ascii=False)
    return {"name": f"decision_{symbol}_{research.decision['day']}.json", "content": content}


class QuantPage(Page):
    """Served at ``/quant``."""

    title = "Quant"
    route = "/quant"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._stated: tuple[int, dict[str, Any]] = (-1, {})

    def source(self) -> str | None:
        """Research has a source of its own, which may differ from the desk's market."""
        return self.context.research.snapshot.source

    def body(self) -> pn.viewable.Viewable:
        """One session's board."""
        return _Session(self).board

    def state(self, snapshot: ResearchSnapshot) -> dict[str, Any]:
        """``quant`` of the snapshot, computed once a version for all sessions."""
        version, stated = self._stated
        if version != snapshot.version:
            stated = quant(snapshot, self.context.settings)
            self._stated = (snapshot.version, stated)
        return stated


class _Session:
    """What one open page holds: its board and the version it shows."""

    def __init__(self, page: QuantPage) -> None:
        self._page = page
        snapshot = page.context.research.snapshot
        wanted = page.query().get("symbol", "")
        self.board = QuantBoard(  # type: ignore[no-untyped-call]
            symbol=known_symbol(wanted, snapshot, page.context.settings), sizing_mode="stretch_both"
        )
        self._version = -1
        self._beat = 0
        self._refresh()
        self.board.on_msg(self._asked)
        page.every_second(self._refresh)

    def _refresh(self) -> None:
        snapshot = self._page.context.research.snapshot
        now = self._page.context.now_ms()
        if now - self._beat >= BEAT_MS or now < self._beat:
            self._beat = self.board.beat = now
        if snapshot.version != self._version:
            self._version = snapshot.version
            self.board.quant = self._page.state(snapshot)

    def _asked(self, message: DataEvent) -> None:
        """The browser asks for the document of a symbol, to save it."""
        symbol = message.data.get("export") if isinstance(message.data, dict) else None
        document = exported(self._page.context.research.snapshot, str(symbol))
        if document is not None:
            self.board.send(document)
