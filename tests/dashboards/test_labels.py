from datetime import UTC, datetime
from pathlib import Path

from dashboards import labels
from dashboards.components.cards import cards
from dashboards.snapshot import Poller, Snapshot
from resources.clock import ManualClock
from resources.settings import Settings
from resources.store import open_store
from tests.dashboards.desk_folder import DeskFolder

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
SETTINGS = Settings(auth="off")


def test_brief_0_labels_never_change() -> None:
    assert labels.IMMUTABLE == ("Portfolio Value", "Daily P&L", "Total P&L Since Inception")


def test_the_first_three_cards_carry_them_in_order_with_and_without_data(tmp_path: Path) -> None:
    poller = Poller(open_store(str(tmp_path)), ManualClock(NOW))
    DeskFolder(tmp_path, NOW, minutes=200).build()
    poller.refresh()
    for snapshot in (Snapshot(), poller.snapshot):
        shown = cards(snapshot, [], SETTINGS, NOW)
        assert tuple(card["title"] for card in shown[:3]) == labels.IMMUTABLE


def test_a_missing_number_is_shown_as_missing_with_its_reason() -> None:
    for card in cards(Snapshot(), [], SETTINGS, NOW):
        assert card["whole"] == "—"
        assert card["reason"]
