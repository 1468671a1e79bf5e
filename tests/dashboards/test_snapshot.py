import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from assets.desk.artifacts import DAILY_BASELINE, EXECUTION, LATEST_PRICES, PORTFOLIO_VALUE_LOG, VALUE_HISTORY
from assets.desk.position_table import position_rows
from dashboards.series import MINUTE_MS, gaps_after
from dashboards.snapshot import Poller, Snapshot
from resources.clock import ManualClock
from resources.documents import load_document
from resources.store import Blob, Store, StoreUnavailable, open_store
from tests.dashboards.desk_folder import MINUTE, DeskFolder

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)


class CountingStore:
    """Counts reads by key and can be told to fail; everything else goes to the folder."""

    def __init__(self, root: Path) -> None:
        self._inner: Store = open_store(str(root))
        self.url = self._inner.url
        self.reads: Counter[str] = Counter()
        self.lists = 0
        self.failing = ""

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        if self.failing:
            raise StoreUnavailable(self.failing)
        self.reads[key] += 1
        return self._inner.read(key, tail=tail)

    def list(self, prefix: str, *, after: str = ""):  # type: ignore[no-untyped-def]
        self.lists += 1
        return self._inner.list(prefix, after=after)

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self._inner, name)

    def count(self) -> int:
        return sum(self.reads.values())


@pytest.fixture
def folder(tmp_path: Path) -> DeskFolder:
    return DeskFolder(tmp_path, NOW, minutes=3 * 1440).build()


def polled(root: Path) -> tuple[Poller, CountingStore]:
    store = CountingStore(root)
    poller = Poller(store, ManualClock(NOW))
    for _ in range(4):
        poller.refresh()
    return poller, store


def test_an_empty_store_is_a_state_not_an_error(tmp_path: Path) -> None:
    snapshot = polled(tmp_path)[0].snapshot
    assert snapshot.row is None
    assert not snapshot.disconnected
    assert snapshot.history_loaded
    assert not snapshot.unreadable


def test_the_first_refresh_shows_the_tail_and_the_second_the_whole_history(folder: DeskFolder) -> None:
    poller = Poller(CountingStore(folder.root), ManualClock(NOW))
    poller.refresh()
    first = poller.snapshot
    assert first.row is not None
    assert 0 < len(first.series) < 1440
    assert not first.history_loaded
    poller.refresh()
    assert len(poller.snapshot.series) == 3 * 1440
    assert not len(gaps_after(poller.snapshot.series.time))
    assert poller.snapshot.series.value[-1] == float(poller.snapshot.row.portfolio_value)


def test_a_steady_refresh_is_exactly_one_read_alternating(folder: DeskFolder) -> None:
    poller, store = polled(folder.root)
    before, version = store.count(), poller.snapshot.version
    store.reads.clear()
    for _ in range(20):
        poller.refresh()
    assert store.count() == 20
    assert store.reads == {PORTFOLIO_VALUE_LOG: 10, EXECUTION: 10}
    assert before
    assert poller.snapshot.version == version


def test_a_new_row_brings_the_documents_with_it(folder: DeskFolder) -> None:
    poller, _ = polled(folder.root)
    old = poller.snapshot
    folder.prices["BTCUSDT"] += 100
    folder.put_prices(NOW + MINUTE)
    folder.append(NOW + MINUTE, 12.5)
    poller.refresh()
    poller.refresh()
    new = poller.snapshot
    assert new.version > old.version
    assert len(new.series) == len(old.series) + 1
    assert new.prices != old.prices
    assert len(old.series) == 3 * 1440, "a published snapshot never changes"


def test_a_changed_execution_is_seen_without_a_new_row(folder: DeskFolder) -> None:
    poller, _ = polled(folder.root)
    execution = load_document((folder.root / EXECUTION).read_bytes())
    folder.put(EXECUTION, execution | {"state": "executing", "step": "fills"})
    poller.refresh()
    poller.refresh()
    assert poller.snapshot.execution["step"] == "fills"


def test_a_torn_last_line_waits_until_it_is_whole(folder: DeskFolder) -> None:
    poller, _ = polled(folder.root)
    log = folder.root / PORTFOLIO_VALUE_LOG
    row = folder.append(NOW + MINUTE, 1.0)
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    count = len(poller.snapshot.series)
    poller.refresh()
    poller.refresh()
    assert len(poller.snapshot.series) == count
    log.write_bytes(whole)
    poller.refresh()
    poller.refresh()
    assert len(poller.snapshot.series) == count + 1
    assert float(poller.snapshot.row.portfolio_value) == row["portfolio_value"]


def test_foreign_lines_are_passed_over_and_the_last_row_of_a_minute_wins(folder: DeskFolder) -> None:
    poller, _ = polled(folder.root)
    count = len(poller.snapshot.series)
    folder.append(NOW + MINUTE, 5.0)
    log = folder.root / PORTFOLIO_VALUE_LOG
    lines = log.read_bytes().splitlines(keepends=True)
    foreign = [b"not json\n", b'{"timestamp": "2026-03-02T09:31:00+00:00"}\n', b"[]\n"]
    log.write_bytes(b"".join([*lines[:-1], *foreign, lines[-1]]))
    folder.append(NOW + MINUTE + timedelta(seconds=3), 7.0)
    poller.refresh()
    poller.refresh()
    assert len(poller.snapshot.series) == count + 1
    assert poller.snapshot.series.value[-1] == float(poller.snapshot.row.portfolio_value)


def test_days_that_are_not_compacted_yet_come_from_further_back_in_the_log(tmp_path: Path) -> None:
    folder = DeskFolder(tmp_path, NOW, minutes=4 * 1440).build()
    newest = sorted((tmp_path / VALUE_HISTORY).glob("*.parquet"))[-1]
    day = newest.stem.removeprefix("date=")
    complete = len(polled(tmp_path)[0].snapshot.series)
    # The log still holds that day: the folder is built again without compaction, then older days are compacted only.
    log = DeskFolder(tmp_path, NOW, minutes=4 * 1440, compacted=False).build()
    assert log.root == folder.root
    newest.unlink()
    store = CountingStore(tmp_path)
    poller = Poller(store, ManualClock(NOW))
    for _ in range(3):
        poller.refresh()
    assert day
    assert len(poller.snapshot.series) == complete == 4 * 1440
    assert not len(gaps_after(poller.snapshot.series.time))


def test_history_is_looked_for_once_and_again_when_the_day_changes(folder: DeskFolder) -> None:
    poller, store = polled(folder.root)
    assert store.lists == 1
    folder.append(NOW + MINUTE)
    for _ in range(4):
        poller.refresh()
    assert store.lists == 1
    folder.append(NOW + timedelta(days=1))
    for _ in range(4):
        poller.refresh()
    assert store.lists == 2
    assert len(gaps_after(poller.snapshot.series.time)) == 1


def test_a_silent_store_keeps_the_numbers_and_says_since_when_and_why(folder: DeskFolder) -> None:
    poller, store = polled(folder.root)
    good = poller.snapshot
    store.failing = "the bucket does not answer"
    for _ in range(5):
        poller.refresh()
    lost = poller.snapshot
    assert lost.disconnected == "the bucket does not answer"
    assert lost.row is good.row
    assert lost.version == good.version + 1
    folder.append(NOW + MINUTE, 3.0)
    store.failing = ""
    poller.refresh()
    poller.refresh()
    assert not poller.snapshot.disconnected
    assert len(poller.snapshot.series) == len(good.series) + 1


def test_a_log_that_vanishes_is_not_a_quiet_day(folder: DeskFolder) -> None:
    poller, _ = polled(folder.root)
    (folder.root / PORTFOLIO_VALUE_LOG).unlink()
    for _ in range(2):
        poller.refresh()
    assert PORTFOLIO_VALUE_LOG in poller.snapshot.disconnected
    assert poller.snapshot.row is not None


def test_a_store_that_answers_only_later_is_shown_then(folder: DeskFolder) -> None:
    store = CountingStore(folder.root)
    store.failing = "not yet"
    poller = Poller(store, ManualClock(NOW))
    poller.refresh()
    assert poller.snapshot.disconnected
    store.failing = ""
    for _ in range(3):
        poller.refresh()
    assert len(poller.snapshot.series) == 3 * 1440


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"timestamp_utc": "x"}', b"\xff"])
def test_an_unreadable_object_is_named_and_its_numbers_go_missing(folder: DeskFolder, content: bytes) -> None:
    (folder.root / DAILY_BASELINE).write_bytes(content)
    (folder.root / LATEST_PRICES).unlink()
    snapshot = polled(folder.root)[0].snapshot
    assert snapshot.unreadable == (DAILY_BASELINE,)
    assert snapshot.baseline is None
    assert snapshot.prices is None
    assert snapshot.row is not None


def test_the_built_folder_satisfies_the_identities_it_stands_for(folder: DeskFolder) -> None:
    snapshot = polled(folder.root)[0].snapshot
    rows = position_rows(snapshot.baseline, snapshot.prices, snapshot.in_force, snapshot.row.portfolio_value)
    assert abs(sum(row.pnl for row in rows) - snapshot.row.daily_pnl) < 1
    residual = snapshot.detected["residual"]
    assert sum(residual.values()) == snapshot.detected["pv_pre"]
    assert snapshot.initial_capital == 1_000_000


def test_capital_comes_from_the_row(tmp_path: Path) -> None:
    DeskFolder(tmp_path, NOW, minutes=5, scale=0.02).build()
    log = tmp_path / PORTFOLIO_VALUE_LOG
    row = json.loads(log.read_bytes().splitlines()[-1])
    row |= {"portfolio_value": row["portfolio_value"] + 5_000, "net_flows": 5_000}
    log.write_bytes(json.dumps(row).encode() + b"\n")
    snapshot = polled(tmp_path)[0].snapshot
    assert snapshot.initial_capital == 20_000
    assert Snapshot().initial_capital is None


def test_time_is_kept_in_milliseconds(folder: DeskFolder) -> None:
    snapshot = polled(folder.root)[0].snapshot
    assert snapshot.series.time.dtype == np.int64
    assert int(snapshot.series.time[-1]) == round(NOW.timestamp() * 1000)
    assert int(np.diff(snapshot.series.time[-3:]).max()) <= 2 * MINUTE_MS
