"""What the telemetry page states, as data, without a browser, and the poller behind it."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from assets.telemetry.telemetry_log import METRICS
from assets.telemetry.watch import Watch, live_key
from dashboards import telemetry_labels as labels
from dashboards.components.telemetry_board import TelemetryBoard
from dashboards.components.telemetry_metrics import metric_rows
from dashboards.confirmations import Confirmations
from dashboards.pages.telemetry import telemetry
from dashboards.telemetry_snapshot import TelemetryPoller, TelemetrySnapshot, TelemetryView, view_from_document
from resources.bus import BusHealth
from resources.clock import ManualClock
from resources.documents import Document, dump_document, load_document
from resources.store import Blob, StoreUnavailable
from tests.dashboards.trader_folder import HOSTILE, MINUTE, NOW, SECOND, TraderFolder
from tests.memory_store import MemoryStore

FOLDER = TraderFolder(NOW)
KEY = live_key("SIMULATED")
HEALTH = BusHealth(
    connected=True,
    last_seq=4711,
    lag_events=2,
    last_ids={},
    published=9000,
    already_there=0,
    dropped=0,
    refused=0,
    errors=1,
    reconnects=1,
    refills=0,
    replaced=0,
    last_error="ConnectionError",
    failed="",
)


class CountingStore(MemoryStore):
    """Counts its reads and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.failing: Exception | None = None

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        self.reads += 1
        if self.failing is not None:
            raise self.failing
        return super().read(key, tail=tail)


def viewed(**changes: Any) -> TelemetryView:
    return view_from_document(load_document(dump_document(FOLDER.telemetry(**changes))))


def stated(view: TelemetryView | None, **changes: Any) -> dict[str, dict[str, Any]]:
    at = None if view is None else NOW
    snapshot = TelemetrySnapshot("SIMULATED", 1, view=view, written_at=at, seen_at=at)
    shown = telemetry(replace(snapshot, **changes))
    json.dumps(shown, allow_nan=False)
    return shown


def metrics(shown: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for column in shown["records"]["columns"] for record in column for row in record["rows"]}


def pill(shown: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(pill for pill in shown["head"]["pills"] if pill["key"] == key)
    return found


def said(shown: dict[str, dict[str, Any]]) -> list[str]:
    return [notice["text"] for notice in shown["head"]["notices"]]


# Metrics


@pytest.mark.parametrize("view", [None, viewed()], ids=["nothing", "a day"])
def test_every_metric_of_brief_4_is_there_under_its_own_name_in_its_record(view: TelemetryView | None) -> None:
    shown = stated(view)
    assert sorted(metrics(shown)) == sorted(metric.name for metric in METRICS) == sorted(labels.IMMUTABLE)
    for column in shown["records"]["columns"]:
        for record in column:
            source = record["title"][0].lower() + record["title"][1:]
            assert [row["name"] for row in record["rows"]] == [each.name for each in METRICS if each.source == source]


def test_a_value_is_in_its_unit_and_a_fraction_in_per_cent() -> None:
    shown = metrics(stated(viewed()))
    assert [(shown[name]["text"], shown[name]["unit"]) for name in ("pnl_usd", "fees", "slippage_bps_p50")] == [
        ("+12.50", "USD"),
        ("12.50", "USD"),
        ("12.50", "bps"),
    ]
    assert (shown["win_rate"]["text"], shown["win_rate"]["unit"]) == ("65.00", "%")
    assert (shown["max_drawdown"]["text"], shown["max_drawdown"]["sign"]) == ("−2.10", -1)
    assert "Exactly -0.021 fraction" in shown["max_drawdown"]["title"]
    assert (shown["total_trades"]["text"], shown["total_trades"]["unit"]) == ("27", "count")
    assert (shown["timestamp"]["text"], shown["timestamp"]["unit"]) == ("16:30:12", "UTC")
    assert (shown["strategy"]["text"], shown["confidence"]["text"]) == ("dual_leg_arbitrage", "71")
    assert (shown["hold_time_seconds"]["text"], shown["hold_time_seconds"]["unit"]) == ("55.11", "s")


def test_an_undefined_metric_is_the_placeholder_with_its_reason_and_zero_stays_zero() -> None:
    zero = FOLDER.telemetry()["values"] | {"realized": Decimal(0), "total_trades": 0}
    shown = metrics(stated(viewed(values=zero)))
    for name, reason in (
        ("sharpe_ratio", "two whole days are needed"),
        ("latency_ms_p95", labels.NO_REDIS),
        ("ms", labels.NO_REDIS),
        ("slippage_bps", "the trade had no market fill"),
        ("final_equity", "no backtest stored yet"),
        ("execution_time_ms", "no order confirmed yet today"),
    ):
        assert (shown[name]["text"], shown[name]["reason"]) == ("—", reason)
        assert reason in shown[name]["title"]
        assert shown[name]["since"] is None
    assert (shown["realized"]["text"], shown["realized"]["sign"], shown["realized"]["reason"]) == ("0.00", 0, "")
    assert shown["total_trades"]["text"] == "0"


def test_without_a_tick_what_only_a_tick_knows_says_why() -> None:
    values = FOLDER.telemetry()["values"] | {each.name: None for each in METRICS if each.source == "metric tick"}
    shown = stated(viewed(tick=None, values=values))
    assert metrics(shown)["realized"]["reason"] == "no tick now: P&L is unknown"
    assert (pill(shown, "tick")["text"], pill(shown, "tick")["state"]) == ("none now", "stale")
    assert metrics(shown)["pnl_usd"]["text"] == "+12.50"


def test_a_metric_s_age_is_that_of_its_newest_measurement() -> None:
    points = [[FOLDER.now_ns - 90 * SECOND, Decimal(1)], [FOLDER.now_ns - 40 * SECOND, Decimal(2)]]
    series = {"equity": {"points": points, "changed_ns": FOLDER.now_ns - 40 * SECOND}}
    shown = metrics(stated(viewed(series=series)))
    assert shown["equity"]["since"] == FOLDER.now_ns // 10**6 - 40_000
    assert shown["equity"]["stale_after"] == 150
    assert "Unchanged since 2026-03-02 16:29:32 UTC" in shown["equity"]["title"]
    assert shown["cash"]["since"] == FOLDER.now_ns // 10**6
    assert shown["fees_usd"]["since"] == (FOLDER.now_ns - 5 * MINUTE) // 10**6
    assert shown["fees_usd"]["stale_after"] is None


def test_a_trend_is_drawn_between_its_own_extremes_with_gaps_where_nothing_was_known() -> None:
    values = [Decimal(3), None, Decimal(5), Decimal(4)]
    series = {"equity": {"points": [[n, value] for n, value in enumerate(values)], "changed_ns": 3}}
    assert metrics(stated(viewed(series=series)))["equity"]["line"] == [0, None, 1000, 500]
    assert metrics(stated(viewed(series={})))["equity"]["line"] == []


def test_every_metric_is_saved_exact_in_its_own_unit_with_its_instant_or_its_reason() -> None:
    points = [[FOLDER.now_ns - 40 * SECOND, Decimal("-0.0211234567890123456789")]]
    series = {"max_drawdown": {"points": points, "changed_ns": FOLDER.now_ns - MINUTE}}
    values = FOLDER.telemetry()["values"] | {"max_drawdown": points[0][1]}
    view = viewed(series=series, values=values)
    rows = metric_rows(TelemetrySnapshot("SIMULATED", 1, view=view, written_at=NOW, seen_at=NOW))
    assert list(rows) == list(labels.IMMUTABLE)
    drawdown = rows["max_drawdown"]
    assert (drawdown["value"], drawdown["unit"], drawdown["undefined_because"]) == (points[0][1], "fraction", "")
    assert drawdown["measured_utc"] == "2026-03-02T16:29:32.000000000+00:00"
    assert drawdown["unchanged_since_utc"] == "2026-03-02T16:29:12.000000000+00:00"
    sharpe = rows["sharpe_ratio"]
    assert (sharpe["value"], sharpe["measured_utc"]) == (None, None)
    assert sharpe["undefined_because"] == "two whole days are needed"
    assert (rows["strategy"]["value"], rows["strategy"]["unit"]) == ("dual_leg_arbitrage", "text")


def test_execution_time_is_that_of_the_newest_confirmation_with_its_trend() -> None:
    points = ((FOLDER.now_ns - MINUTE, Decimal(450)), (FOLDER.now_ns - SECOND, Decimal("20.000001")))
    shown = metrics(stated(viewed(), confirmations=Confirmations(points, "")))["execution_time_ms"]
    assert (shown["text"], shown["unit"], shown["line"]) == ("20.00", "ms", [1000, 0])
    assert shown["since"] == (FOLDER.now_ns - SECOND) // 10**6
    assert "Exactly 20.000001 ms" in shown["title"]
    unknown = stated(viewed(), confirmations=Confirmations((*points, (FOLDER.now_ns, None)), ""))
    assert metrics(unknown)["execution_time_ms"]["reason"] == "its order was sent on another day"
    damaged = stated(viewed(), confirmations=Confirmations((), "damaged: 7.jsonl"))
    assert metrics(damaged)["execution_time_ms"]["reason"] == "damaged: 7.jsonl"


# Beside the metrics


def test_each_service_level_is_met_not_met_or_undecided_with_its_reason() -> None:
    shown = stated(viewed())
    rows = shown["status"]["levels"]["rows"]
    assert [(row["name"], row["text"], row["target"], row["samples"], row["state"]) for row in rows] == [
        ("publish_latency_p95", "0.0120 s", "≤ 0.500 s", "640 samples", "met"),
        ("stream_lag_p95", "1.80 s", "≤ 1.00 s", "640 samples", "not met"),
        ("uptime", "—", "≥ 99.50%", "3 samples", "undecided"),
    ]
    assert rows[2]["reason"] == "3 of the 200 samples needed"
    assert (pill(shown, "levels")["text"], pill(shown, "levels")["state"]) == (
        "1 not met, 1 met, 1 undecided",
        "attention",
    )


def test_each_alarm_is_firing_silent_or_unknown_and_what_was_held_back_is_counted() -> None:
    shown = stated(viewed())
    rows = shown["status"]["alarms"]["rows"]
    assert [(row["name"], row["state"], row["suppressed"]) for row in rows] == [
        ("no_ticks", "silent", ""),
        ("drawdown", "firing", "5 held back"),
        ("uptime", "unknown", ""),
    ]
    assert rows[1]["since"] == (FOLDER.now_ns - 2 * MINUTE) // 10**6
    assert "2 repeats held back since the last notice, 5 in all" in rows[1]["title"]
    assert (pill(shown, "alarms")["text"], pill(shown, "alarms")["state"]) == ("1 firing", "attention")
    quiet = stated(viewed(alarms=FOLDER.telemetry()["alarms"][::2]))
    assert (pill(quiet, "alarms")["text"], pill(quiet, "alarms")["state"]) == ("1 silent, 1 unknown", "ok")


def test_without_redis_the_bus_says_so_and_with_it_how_it_fares() -> None:
    without = stated(viewed())
    assert without["status"]["bus"]["empty"][0] == "no Redis: REDIS_URL is not set"
    assert pill(without, "bus")["state"] == "off"
    fields = {name: getattr(HEALTH, name) for name in HEALTH.__slots__}
    connected = stated(viewed(bus=fields))
    assert connected["status"]["bus"]["state"] == "connected"
    assert ["lag", "2"] in [fact[:2] for fact in connected["status"]["bus"]["facts"]]
    assert pill(connected, "bus")["state"] == "ok"
    lost = stated(viewed(bus=fields | {"connected": False}))
    assert (pill(lost, "bus")["text"], pill(lost, "bus")["state"]) == ("lost", "attention")
    assert stated(viewed(bus=fields | {"failed": "BusError: no"}))["status"]["bus"]["state"] == "failed"


def test_rejected_feed_events_are_listed_by_reason_the_most_frequent_first() -> None:
    shown = stated(viewed())["status"]["rejected"]
    assert shown["rows"] == [["out of order", "12"], ["crossed book", "3"]]
    assert shown["hint"] == "errors: 1 of 1,168 records"
    assert stated(viewed(rejected={}))["status"]["rejected"]["empty"][0] == "None"


def test_an_empty_store_says_what_is_missing_and_what_will_fill_it() -> None:
    shown = stated(None)
    assert said(shown) == ["No trader has written telemetry to this store yet"]
    assert all(row["text"] == "—" and row["reason"] for row in metrics(shown).values())
    assert all(part["empty"] for part in shown["status"].values())
    assert telemetry(TelemetrySnapshot("SIMULATED"))["head"]["notices"][0]["state"] == "loading"


def test_a_lost_store_and_an_unreadable_document_are_announced_and_the_numbers_stay() -> None:
    shown = stated(viewed(), disconnected="no route", unreadable="live.json: levels")
    assert [notice["state"] for notice in shown["head"]["notices"]] == ["disconnected", "attention"]
    assert metrics(shown)["pnl_usd"]["text"] == "+12.50"


def test_telemetry_is_late_and_stale_by_its_own_grid() -> None:
    shown = stated(viewed(grid_seconds=60), seen_at=NOW + timedelta(hours=1))
    assert shown["head"]["freshness"]["stale_after"] == 360
    assert shown["head"]["freshness"]["since"] == FOLDER.now_ns // 10**6
    assert pill(shown, "telemetry")["stale_after"] == 180


def test_texts_are_handed_over_as_they_are_for_the_browser_to_put_in_as_text() -> None:
    trade = FOLDER.telemetry()["last_trade"] | {"close_reason": HOSTILE, "strategy": HOSTILE}
    alarm = FOLDER.telemetry()["alarms"][0] | {"name": HOSTILE, "detail": HOSTILE}
    shown = stated(viewed(last_trade=trade, alarms=[alarm], rejected={HOSTILE: 1}))
    assert metrics(shown)["close_reason"]["text"] == HOSTILE
    assert shown["status"]["alarms"]["rows"][0]["detail"] == HOSTILE
    assert shown["status"]["rejected"]["rows"][0][0] == HOSTILE


def test_the_board_joins_its_parts_into_one_module_that_puts_no_data_into_markup() -> None:
    assert TelemetryBoard._esm.count("export function render") == 1
    assert TelemetryBoard._esm.count("import ") == 0
    # One place makes markup, of drawings only; what is shown on this page is drawn from numbers.
    assert TelemetryBoard._esm.count("innerHTML") == 1
    assert len(json.dumps(stated(viewed()))) < 60_000


# The poller


def test_what_the_watch_writes_is_what_the_page_reads() -> None:
    store = MemoryStore()
    watch = Watch(store, "SIMULATED", 10, FOLDER.now_ns - 3600 * SECOND)
    opened = {"kind": "opened", "time_ns": FOLDER.now_ns - 3600 * SECOND, "day": "2026-03-02", "source": "SIMULATED"}
    watch.take(opened | {"capital": Decimal(20_000), "carried_day": ""})
    for minute in range(3):
        watch.take(
            {
                "kind": "point",
                "time_ns": FOLDER.now_ns - (3 - minute) * 20 * SECOND,
                "equity": Decimal(20_100) + minute,
                "cash": Decimal(20_100),
                "realized": Decimal(100),
                "unrealized": Decimal(minute),
                "fees": Decimal(7),
            }
        )
    watch.beat(FOLDER.now_ns, {"zero_price": 2}, HEALTH, (), naked_ns=None)
    poller = TelemetryPoller(store, ManualClock(NOW), "SIMULATED")
    poller.refresh()
    assert (poller.snapshot.unreadable, poller.snapshot.disconnected) == ("", "")
    shown = telemetry(poller.snapshot)
    assert metrics(shown)["equity"]["text"] == "20,102.00"
    assert metrics(shown)["fees"]["text"] == "7.00"
    assert shown["status"]["bus"]["state"] == "connected"
    assert shown["status"]["rejected"]["rows"] == [["zero price", "2"]]
    assert len(shown["status"]["alarms"]["rows"]) >= 5
    assert len(shown["status"]["levels"]["rows"]) == 4


def test_the_newest_document_is_read_once_and_only_when_it_changed() -> None:
    store, clock = CountingStore(), ManualClock(NOW)
    poller = TelemetryPoller(store, clock, "SIMULATED")
    poller.refresh()
    assert (poller.snapshot.version, poller.snapshot.view) == (1, None)
    FOLDER.write(store)
    poller.refresh()
    first = poller.snapshot
    assert (first.version, first.seen_at) == (2, NOW)
    clock.sleep(1)
    poller.refresh()
    assert poller.snapshot is first
    assert store.reads == 3


@pytest.mark.parametrize("error", [StoreUnavailable("no route to it"), RuntimeError("no route to it")])
def test_a_store_that_fails_leaves_the_last_view_and_says_why(error: Exception) -> None:
    store = CountingStore()
    FOLDER.write(store)
    poller = TelemetryPoller(store, ManualClock(NOW), "SIMULATED")
    poller.refresh()
    view = poller.snapshot.view
    store.failing = error
    poller.refresh()
    assert (poller.snapshot.view, poller.snapshot.disconnected) == (view, "no route to it")
    store.failing = None
    poller.refresh()
    assert (poller.snapshot.view, poller.snapshot.disconnected) == (view, "")


BROKEN: dict[str, Document] = {
    "no values": {"values": 3},
    "a text as value": {"values": {"pnl_usd": "12"}},
    "a truth as value": {"values": {"pnl_usd": True}},
    "a level without its target": {"levels": [{"name": "uptime"}]},
    "an alarm that is neither": {"alarms": [FOLDER.telemetry()["alarms"][0] | {"firing": "no"}]},
    "a series without points": {"series": {"equity": {}}},
    "a point of one": {"series": {"equity": {"points": [[1]], "changed_ns": None}}},
    "a count that is none": {"rejected": {"zero_price": "many"}},
    "no instant": {"as_of": 3},
    "an instant without zone": {"as_of": "2026-03-02T16:30:12"},
    "a trade that is none": {"last_trade": [1]},
    "a trade that was not closed": {"last_trade": {"strategy": "x"}},
    "a trade whose fees are words": {"last_trade": FOLDER.telemetry()["last_trade"] | {"fees_usd": "1"}},
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_document_that_is_none_is_named_and_its_repair_is_seen(damage: str) -> None:
    store = CountingStore()
    FOLDER.write(store)
    poller = TelemetryPoller(store, ManualClock(NOW), "SIMULATED")
    poller.refresh()
    view = poller.snapshot.view
    store.write(KEY, dump_document(FOLDER.telemetry(**BROKEN[damage])))
    poller.refresh()
    assert poller.snapshot.unreadable.startswith(KEY)
    assert poller.snapshot.view == view
    FOLDER.write(store)
    poller.refresh()
    assert (poller.snapshot.unreadable, poller.snapshot.disconnected) == ("", "")
