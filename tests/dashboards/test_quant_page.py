"""The quant page's state, the poller behind it, and what happens to documents that are not what they should be."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.research import archive
from dashboards.components.quant_board import QuantBoard
from dashboards.pages.quant import NO_DECISION, UNREADABLE, exported, known_symbol, quant
from dashboards.research_snapshot import ResearchPoller, ResearchSnapshot
from resources.clock import ManualClock
from resources.settings import Settings
from resources.store import Blob, StoreUnavailable
from tests.dashboards.quant_folder import QuantFolder
from tests.memory_store import MemoryStore

TODAY = date(2026, 3, 2)
CLOCK = ManualClock(datetime(2026, 3, 2, 9, 30, tzinfo=UTC))
SETTINGS = Settings(auth="off")
LATEST = archive.latest_key("SIMULATED", "BTCUSDT")


class CountingStore(MemoryStore):
    """Counts its reads and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.down = False

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        self.reads += 1
        if self.down:
            raise StoreUnavailable("no answer")
        return super().read(key, tail=tail)


def poller_of(store: MemoryStore, settings: Settings = SETTINGS) -> ResearchPoller:
    return ResearchPoller(store, CLOCK, settings)


def refreshed(store: MemoryStore) -> ResearchSnapshot:
    poller = poller_of(store)
    poller.refresh()
    return poller.snapshot


def filled() -> CountingStore:
    store = CountingStore()
    QuantFolder(TODAY).write(store)
    return store


def test_a_symbol_without_documents_is_shown_with_the_reason_and_no_default() -> None:
    shown = quant(refreshed(filled()), SETTINGS)
    assert [symbol["label"] for symbol in shown["symbols"]] == ["BTC", "ETH"]
    assert shown["source"] == "SIMULATED"
    assert shown["notice"] is None
    assert shown["shown"]["BTCUSDT"]["gate"]["state"] == "RISK-ON"
    assert shown["shown"]["ETHUSDT"]["gate"]["state"] is None
    assert shown["shown"]["ETHUSDT"]["gate"]["reason"] == NO_DECISION


def test_the_state_survives_json_and_is_small() -> None:
    store = filled()
    QuantFolder(TODAY, symbol="ETHUSDT", scale=1e12).write(store)
    assert len(json.dumps(quant(refreshed(store), SETTINGS), allow_nan=False)) < 60_000


def test_a_refresh_reads_one_document_in_turn_and_publishes_changes_only() -> None:
    store = filled()
    poller = poller_of(store)
    poller.refresh()
    assert store.reads == 4
    version = poller.snapshot.version
    for _ in range(4):
        poller.refresh()
    assert store.reads == 8
    assert poller.snapshot.version == version
    QuantFolder(TODAY, probability=0.2).write(store)
    for _ in range(4):
        poller.refresh()
    assert poller.snapshot.version == version + 1
    assert quant(poller.snapshot, SETTINGS)["shown"]["BTCUSDT"]["gate"]["state"] == "GATE-OFF"


def test_a_store_that_stops_answering_keeps_the_numbers_and_is_announced() -> None:
    store = filled()
    poller = poller_of(store)
    poller.refresh()
    store.down = True
    poller.refresh()
    shown = quant(poller.snapshot, SETTINGS)
    assert shown["notice"]["state"] == "disconnected"
    assert "09:30:00 UTC" in shown["notice"]["text"]
    assert shown["shown"]["BTCUSDT"]["gate"]["state"] == "RISK-ON"
    store.down = False
    poller.refresh()
    assert quant(poller.snapshot, SETTINGS)["notice"] is None


@pytest.mark.parametrize("content", [b"not json", b"[1, 2]", b'{"symbol": "BTCUSDT"}', b"\xff\xfe"])
def test_bytes_that_are_no_decision_are_named_and_nothing_is_shown_for_them(content: bytes) -> None:
    store = filled()
    store.write(LATEST, content)
    shown = quant(refreshed(store), SETTINGS)["shown"]["BTCUSDT"]
    assert shown["gate"]["reason"] == UNREADABLE
    pill = next(pill for pill in shown["pills"] if pill["key"] == "unreadable")
    assert LATEST in pill["title"]


def _gate_is_text(document: dict[str, Any]) -> None:
    document["steps"]["regime_gate"] = "RISK-ON"


def _history_without_days(document: dict[str, Any]) -> None:
    document["history"] = [{"probability": 0.5}]


def _probability_is_text(document: dict[str, Any]) -> None:
    document["steps"]["regime_gate"]["day"]["probability"] = "high"


@pytest.mark.parametrize("damage", [_gate_is_text, _history_without_days, _probability_is_text])
def test_a_decision_damaged_inside_is_announced_and_the_page_still_stands(
    damage: Callable[[dict[str, Any]], None],
) -> None:
    store = filled()
    document = QuantFolder(TODAY).decision()
    damage(document)
    store.write(LATEST, json.dumps(document).encode())
    shown = quant(refreshed(store), SETTINGS)["shown"]["BTCUSDT"]
    assert shown["gate"]["state"] is None
    assert shown["gate"]["reason"] == UNREADABLE
    assert any(pill["key"] == "unreadable" for pill in shown["pills"])


def test_settings_that_lead_to_no_source_are_announced(tmp_path: Path) -> None:
    poller = poller_of(filled(), Settings(auth="off", market=f"replay:{tmp_path}"))
    poller.refresh()
    shown = quant(poller.snapshot, SETTINGS)
    assert shown["source"] is None
    assert shown["notice"]["text"] == "Research has no source of data"
    assert "DESK_HISTORY" in shown["shown"]["BTCUSDT"]["gate"]["reason"]


def test_a_recorded_source_never_shows_simulated_documents(tmp_path: Path) -> None:
    poller = poller_of(filled(), Settings(auth="off", history=f"recorded:{tmp_path}"))
    poller.refresh()
    shown = quant(poller.snapshot, SETTINGS)
    assert shown["source"] == "RECORDED"
    assert shown["shown"]["BTCUSDT"]["gate"]["state"] is None


@pytest.mark.parametrize(
    ("wanted", "symbol"),
    [("ETH", "ETHUSDT"), ("eth", "ETHUSDT"), ("ETHUSDT", "ETHUSDT"), ("", "BTCUSDT"), ("<script>", "BTCUSDT")],
)
def test_the_address_names_a_symbol_or_the_first_is_taken(wanted: str, symbol: str) -> None:
    assert known_symbol(wanted, refreshed(CountingStore()), SETTINGS) == symbol


def test_the_export_is_the_stored_decision() -> None:
    snapshot = refreshed(filled())
    document = exported(snapshot, "BTCUSDT")
    assert document is not None
    assert document["name"] == "decision_BTCUSDT_2026-03-02.json"
    assert json.loads(document["content"]) == QuantFolder(TODAY).decision()
    assert exported(snapshot, "ETHUSDT") is None
    assert exported(snapshot, "../secret") is None


def test_the_board_joins_its_parts_into_one_module() -> None:
    assert QuantBoard._esm.count("export function render") == 1
    assert QuantBoard._esm.count("import ") == 0
