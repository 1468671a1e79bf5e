"""What viewers are told of the trader: its newest view, and never an old one as if it were new."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Scanner
from assets.arbitrage.view import TraderView, build_view, live_document, live_key
from dashboards.trader_snapshot import LATE_SECONDS, STALE_SECONDS, TraderPoller
from resources.clock import ManualClock
from resources.documents import dump_document
from resources.store import Blob, Store, StoreUnavailable, open_store
from tests.arbitrage_parts import LISTINGS, rich_log

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
KEY = live_key("SIMULATED")


class FailingStore:
    """A store that can be told to fail and counts its reads."""

    def __init__(self, root: Path) -> None:
        self._inner: Store = open_store(str(root))
        self.failing: Exception | None = None
        self.reads = 0

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        self.reads += 1
        if self.failing is not None:
            raise self.failing
        return self._inner.read(key, tail=tail)

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self._inner, name)


@pytest.fixture
def store(tmp_path: Path) -> FailingStore:
    return FailingStore(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def poller(store: FailingStore, clock: ManualClock) -> TraderPoller:
    return TraderPoller(store, clock, "SIMULATED")  # type: ignore[arg-type]


def a_view() -> TraderView:
    log = rich_log()
    return build_view(log.portfolio, Scanner(LISTINGS, Rules()), (), log.now)


def write(
    store: FailingStore, view: TraderView, at: datetime = NOW, change: Mapping[str, object] | None = None
) -> None:
    store.write(KEY, dump_document(live_document(view, at) | dict(change or {})))


def test_an_empty_store_is_a_state_not_an_error(poller: TraderPoller) -> None:
    assert (poller.snapshot.version, poller.snapshot.view) == (0, None)
    poller.refresh()
    snapshot = poller.snapshot
    assert (snapshot.version, snapshot.view, snapshot.disconnected, snapshot.unreadable) == (1, None, "", "")
    assert snapshot.age_seconds(NOW) is None
    assert snapshot.is_stale(NOW)
    poller.refresh()
    assert poller.snapshot is snapshot


def test_the_newest_view_is_shown_and_read_anew_only_when_it_changed(store: FailingStore, poller: TraderPoller) -> None:
    view = a_view()
    write(store, view)
    poller.refresh()
    first = poller.snapshot
    assert (first.view, first.written_at, first.seen_at) == (view, NOW, NOW)
    poller.refresh()
    assert poller.snapshot is first
    write(store, replace(view, seq=view.seq + 1), NOW + timedelta(seconds=1))
    poller.refresh()
    assert poller.snapshot.view is not None
    assert (poller.snapshot.view.seq, poller.snapshot.version) == (view.seq + 1, first.version + 1)


def test_a_trader_that_stops_grows_old_whatever_its_clock_said(
    store: FailingStore, poller: TraderPoller, clock: ManualClock
) -> None:
    for skew in (timedelta(0), timedelta(hours=1), timedelta(seconds=-1)):
        write(store, a_view(), clock.now() + skew)
        poller.refresh()
        assert not poller.snapshot.is_stale(clock.now())
        clock.sleep(STALE_SECONDS)
        poller.refresh()
        assert (poller.snapshot.age_seconds(clock.now()) or 0) >= STALE_SECONDS > LATE_SECONDS
        clock.sleep(0.001)
        assert poller.snapshot.is_stale(clock.now())


def test_a_view_that_was_old_when_it_was_first_seen_is_old(store: FailingStore, poller: TraderPoller) -> None:
    write(store, a_view(), NOW - timedelta(hours=2))
    poller.refresh()
    assert poller.snapshot.age_seconds(NOW) == 7200
    assert poller.snapshot.is_stale(NOW)


@pytest.mark.parametrize("error", [StoreUnavailable("no route to it"), RuntimeError("no route to it")])
def test_a_store_that_fails_leaves_the_last_view_and_says_why(
    store: FailingStore, poller: TraderPoller, error: Exception
) -> None:
    write(store, a_view())
    poller.refresh()
    view = poller.snapshot.view
    store.failing = error
    poller.refresh()
    assert (poller.snapshot.view, poller.snapshot.disconnected) == (view, "no route to it")
    store.failing = None
    poller.refresh()
    assert (poller.snapshot.view, poller.snapshot.disconnected) == (view, "")


def test_a_document_that_is_none_is_named_and_its_repair_is_seen(store: FailingStore, poller: TraderPoller) -> None:
    view = a_view()
    write(store, view)
    poller.refresh()
    for broken in (b"{", b"[]", dump_document({"view": 3}), dump_document(live_document(view, NOW) | {"view": {}})):
        store.write(KEY, broken)
        poller.refresh()
        assert poller.snapshot.unreadable.startswith(KEY)
        assert poller.snapshot.view == view
    write(store, view)
    poller.refresh()
    assert poller.snapshot.unreadable == ""


def test_a_view_that_was_removed_is_no_longer_shown(store: FailingStore, poller: TraderPoller, tmp_path: Path) -> None:
    write(store, a_view())
    poller.refresh()
    (tmp_path / KEY).unlink()
    poller.refresh()
    assert (poller.snapshot.view, poller.snapshot.written_at) == (None, None)


def test_each_source_has_its_own_view(store: FailingStore, clock: ManualClock) -> None:
    write(store, a_view())
    recorded = TraderPoller(store, clock, "RECORDED")  # type: ignore[arg-type]
    recorded.refresh()
    assert recorded.snapshot.view is None
