"""The decision of a day as a whole: all its steps, and what the screen shows of them."""

from datetime import date, timedelta
from functools import partial
from typing import Any

from assets.research import archive
from assets.research.decision import (
    BiasStep,
    GateStep,
    SizingStep,
)
from assets.research.model_store import model_version, trained
from assets.research.pipeline import Extraction, Management, as_begun, result_of, run_step
from assets.research.research_desk import Research, midnight
from assets.research.steps import STEPS
from resources.documents import Document, to_iso
from resources.store import NotFound
from resources.store.reading import read_ahead

_HISTORY_DAYS = 90
_CHARTED: dict[str, Any] = {
    "feature_extraction": Extraction,
    "regime_gate": GateStep,
    "bias_computation": BiasStep,
    "target_sizing": SizingStep,
    "position_management": Management,
}


def decide_day(research: Research, symbol: str, day: date) -> dict[str, Document]:
    """All steps of a day by name, computed where the store has none, and the decision published."""
    steps = {step: run_step(research, symbol, day, step) for step in STEPS}
    publish(research, symbol, day)
    return steps


def publish(research: Research, symbol: str, day: date) -> Document:
    """What the screen shows of the decision of ``day``, written over the last; an older decision never replaces a
    newer one."""
    research = as_begun(research, symbol, day)
    _, manifest = trained(research, symbol, day)
    document = {
        "symbol": symbol,
        "day": day.isoformat(),
        "source": research.source,
        "published_utc": to_iso(research.clock.now()),
        "next_run_utc": to_iso(midnight(day + timedelta(days=1))),
        "configuration": research.configuration.fingerprint,
        "model_version": model_version(manifest),
        "steps": {step: result_of(research, symbol, day, step)[0] for step in STEPS},
        "training": manifest["direction_report"],
        "latent": manifest["latent"],
        "history": _history(research, symbol, day),
    }
    return archive.published(
        research.store,
        archive.latest_key(research.source, symbol),
        lambda shown: None if shown is not None and shown["day"] > day.isoformat() else document,
    )


def _charted(research: Research, symbol: str, day: date) -> list[Document] | None:
    """What the steps of ``_CHARTED`` stored; None for a day without a whole decision."""
    try:
        return [result_of(research, symbol, day, step)[0] for step in _CHARTED]
    except NotFound:
        return None


def _history(research: Research, symbol: str, last: date) -> list[Document]:
    """One row a day for the sparklines, oldest first, from the stored steps of the last ``_HISTORY_DAYS`` days."""
    rows = []
    days = [last - timedelta(days=back) for back in range(_HISTORY_DAYS - 1, -1, -1)]
    for day, stored in zip(days, read_ahead(research.store, partial(_charted, research, symbol), days), strict=True):
        if stored is None:
            continue
        extraction, gate, bias, sizing, management = map(archive.load_value, _CHARTED.values(), stored)
        rows.append(
            {
                "day": day.isoformat(),
                "probability": gate.day.probability,
                "gate": gate.day.state,
                "bias": bias.value,
                "target": sizing.target,
                "exposure": management.settlement.book.exposure,
                "equity": management.settlement.book.equity,
                # Of the holding period that ended with this decision, and the cost of its own trade.
                "net_return": None
                if extraction.marked.day_return is None
                else extraction.marked.day_return - management.settlement.cost,
            }
        )
    return rows
