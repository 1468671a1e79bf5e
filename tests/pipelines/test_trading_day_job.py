"""A trading day as Dagster runs it: the day's assets and their checks, and what they say when something is wrong."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import dagster as dg
import pytest

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.assets import arbitrage_assets
from assets.arbitrage.checks import arbitrage_checks
from assets.arbitrage.codec import from_document, to_line
from assets.arbitrage.events import Event, OrderFilled, TradeClosed
from assets.arbitrage.instructions import Kind, give
from assets.arbitrage.journal import Journal
from assets.arbitrage.session import Session, closing_of, day_key, start_of, stored_events
from assets.days import trading_days
from assets.telemetry.telemetry_desk import TelemetryDesk
from pipelines.definitions import build
from pipelines.schedules import trading_day_after_midnight
from resources.documents import Document, dump_document, load_document
from resources.feed import NANOSECONDS
from resources.store import Store
from tests.memory_store import MemoryStore
from tests.trading_parts import DAY, EVENING, NEXT_DAY, ScriptedFeed, at, desk_of, evenings, traded_through

SEED = 9
CHECKS = {check.name for definition in arbitrage_checks for check in definition.check_specs}


def feed(seed: int = SEED) -> ScriptedFeed:
    return ScriptedFeed(evenings(seed))


def live_feed() -> ScriptedFeed:
    return ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False)


def materialised(
    instance: dg.DagsterInstance, desk: ArbitrageDesk, day: str = DAY, *, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    """The four assets with their checks."""
    return dg.materialize(
        [*arbitrage_assets, *arbitrage_checks],
        instance=instance,
        partition_key=day,
        resources={"arbitrage": desk},
        raise_on_error=raise_on_error,
    )


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def said(result: dg.ExecuteInProcessResult, check: str) -> str:
    (text,) = [each.description or "" for each in result.get_asset_check_evaluations() if each.check_name == check]
    return text


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the first failed step said."""
    (event, *_) = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert error is not None
    user = event.step_failure_data.user_failure_data
    assert user is not None, f"not a plain failure: {error.to_string()}"
    return user.description or ""


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and event.asset_key.to_user_string() == asset
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


# --- a good day ---


def test_a_day_is_materialised_with_every_check_passed(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    result = materialised(instance, desk_of(store, feed()))
    assert result.success
    assert verdicts(result) == dict.fromkeys(CHECKS, True)
    names = ("opportunities", "trades", "portfolio", "performance", "metrics")
    assert {key for key in store.contents() if key.endswith(".json")} == {
        day_key("simulated", DAY, f"{name}.json") for name in (*names, "closing")
    }


def test_a_second_run_changes_nothing_and_says_the_same(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    first = materialised(instance, desk_of(store, feed()))
    before = store.contents()
    second = materialised(instance, desk_of(store, feed()))
    assert store.contents() == before
    assert verdicts(second) == verdicts(first)
    for asset in ("opportunities", "paper_trades", "arbitrage_portfolio", "daily_metrics"):
        assert metadata_of(second, asset) == metadata_of(first, asset)


def test_a_run_says_what_the_day_came_to(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    result = materialised(instance, desk_of(store, feed()))
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    trades = metadata_of(result, "paper_trades")
    events = list(stored_events(store, "SIMULATED", DAY))
    assert trades["events"] == len(events)
    assert trades["dagster/row_count"] == sum(isinstance(event, TradeClosed) for event in events)
    assert trades["log_sha256"] == closing["state"]["log_sha256"]
    portfolio = metadata_of(result, "arbitrage_portfolio")
    assert Decimal(str(portfolio["cumulative_pnl"])) == pytest.approx(closing["state"]["cumulative_pnl"])
    for asset in ("opportunities", "paper_trades", "arbitrage_portfolio", "daily_metrics"):
        assert metadata_of(result, asset)["source"] == "SIMULATED"


def test_a_day_the_resident_trader_closed_is_read_and_not_traded_again(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    before = store.contents()
    materialised(instance, desk_of(store, feed()))
    assert {key: data for key, data in store.contents().items() if key in before} == before


def test_the_job_makes_the_whole_day_with_its_ticks_its_levels_and_its_report(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    desk = desk_of(store, feed())
    telemetry = TelemetryDesk(desk.settings, store, desk.clock, "SIMULATED")

    def run(day: str) -> dg.ExecuteInProcessResult:
        definitions = build({"desk": None, "research": None, "arbitrage": desk, "telemetry": telemetry})
        return definitions.resolve_job_def("trading_day").execute_in_process(instance=instance, partition_key=day)

    for day in (DAY, NEXT_DAY):
        result = run(day)
        assert result.success
        # Nobody watched this day while it passed, and its market was open for two minutes only: both are said.
        assert {name for name, passed in verdicts(result).items() if not passed} == {"levels_met", "results_plausible"}
        assert "undecided: uptime" in said(result, "levels_met")
        assert "missing_rows" in said(result, "results_plausible")
        assert CHECKS | {"ticks_follow_schema", "report_identities"} <= set(verdicts(result))
    before = store.contents()
    run(NEXT_DAY)
    assert store.contents() == before


def test_a_day_with_instructions_in_it_keeps_every_check_and_its_report_tells_capital_from_profit(
    instance: dg.DagsterInstance,
) -> None:
    """A deposit, a withdrawal and two that are refused, while it trades; computed anew with them, byte for byte."""
    store = MemoryStore()
    desk = desk_of(store, feed())
    session = Session(desk, DAY, start_of(DAY))
    for second, kind, amount in ((50, Kind.DEPOSIT, 9000), (70, Kind.WITHDRAW, 10**9), (90, Kind.WITHDRAW, 4000)):
        session.advance_to(start_of(DAY) + EVENING + second * NANOSECONDS)
        give(store, "SIMULATED", kind, Decimal(amount), "", 1)
        give(store, "SIMULATED", Kind.RESUME, None, "", 1)
        session.take_instructions()
    session.close()
    assert (session.portfolio.taken, session.portfolio.net_flows) == (6, 5000)
    telemetry = TelemetryDesk(desk.settings, store, desk.clock, "SIMULATED")
    definitions = build({"desk": None, "research": None, "arbitrage": desk, "telemetry": telemetry})
    result = definitions.resolve_job_def("trading_day").execute_in_process(instance=instance, partition_key=DAY)
    assert result.success
    # As of a day without any: nobody watched it, and its market was open for two minutes.
    assert {name for name, passed in verdicts(result).items() if not passed} == {"levels_met", "results_plausible"}
    (report,) = [key for key in store.contents() if key.endswith("results.json")]
    results = load_document(store.read(report).data)
    assert results["net_flows"] == 5000
    assert not session.portfolio.open_trades
    assert results["final_equity"] == results["start_value"] + 5000 + session.portfolio.realised
    assert metadata_of(result, "arbitrage_portfolio")["net_flows"] == 5000


# --- a bad one ---


def rewritten(store: MemoryStore, change: Callable[[list[Event]], list[Event]]) -> None:
    """The day's log rewritten by somebody who can make a whole chain of segments, and its closing with it."""
    events = change(list(stored_events(store, "SIMULATED", DAY)))
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    folder = day_key("simulated", DAY, "log")
    for entry in list(store.list(folder)):
        store.delete(entry.key)
    journal = Journal.open(store, folder)
    journal.append(events)
    state = closing["state"] | {"log_sha256": journal.sha256()}
    store.write(day_key("simulated", DAY, "closing.json"), dump_document(closing | {"state": state}))


def _first(
    kind: type[Event], having: Callable[[Document], bool], **changes: object
) -> Callable[[list[Event]], list[Event]]:
    def change(events: list[Event]) -> list[Event]:
        for index, event in enumerate(events):
            document = load_document(to_line(event))
            if isinstance(event, kind) and having(document):
                return [*events[:index], from_document(document | changes), *events[index + 1 :]]
        raise AssertionError("nothing to change")

    return change


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (
            _first(OrderFilled, lambda d: d["slippage_bps"] is not None, slippage_bps=6),
            {"slippage_realistic", "log_replays"},
        ),
        (
            _first(OrderFilled, lambda d: d["cumulative_volume"] is not None, cumulative_volume=Decimal("0.0001")),
            {"queue_fills_accurate", "log_replays"},
        ),
        (
            _first(TradeClosed, lambda _d: True, actual_profit_usd=Decimal(1000)),
            {
                "capital_conserved",
                "pnl_accurate",
                "exits_have_reasons",
                "leg_outs_logged",
                "ledger_agrees",
                "log_replays",
            },
        ),
    ],
    ids=["slippage", "queue", "profit"],
)
def test_a_rewritten_log_fails_the_checks_it_breaks_and_no_others(
    instance: dg.DagsterInstance, change: Callable[[list[Event]], list[Event]], failing: set[str]
) -> None:
    """Its documents were made before. The checks speak: a log that cannot be folded fails its properties with the
    reason, not with a traceback."""
    store = MemoryStore()
    materialised(instance, desk_of(store, feed()))
    rewritten(store, change)
    result = materialised(instance, desk_of(store, feed()))
    assert {name for name, passed in verdicts(result).items() if not passed} == failing
    for name in failing:
        assert said(result, name)


def test_a_log_that_cannot_have_happened_makes_no_documents(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    rewritten(store, _first(TradeClosed, lambda _d: True, actual_profit_usd=Decimal(1000)))
    result = materialised(instance, desk_of(store, feed()), raise_on_error=False)
    assert failure(result).startswith("LogError: event ")
    assert day_key("simulated", DAY, "trades.json") not in store.contents()


def test_another_feed_than_the_one_that_was_traded_is_found_out(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    result = materialised(instance, desk_of(store, feed(SEED + 2)))
    failed = {name for name, passed in verdicts(result).items() if not passed}
    assert failed == {"log_replays", "signals_were_opportunities"}
    assert "comes out otherwise" in said(result, "log_replays")


def test_of_a_live_day_it_is_said_that_it_cannot_be_computed_anew(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    desk = desk_of(store, live_feed())
    Session(desk, DAY, start_of(DAY)).close()
    result = materialised(instance, desk)
    (check,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert check.check_name == "log_replays"
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "cannot be asked" in (check.description or "")


@pytest.mark.parametrize(
    ("desk", "sentence"),
    [
        (lambda store: desk_of(store, feed(), now=at(DAY, 80_000)), f"NotOver: {DAY} is not over"),
        (lambda store: desk_of(store, live_feed()), f"NotOver: nobody traded {DAY}"),
        (
            lambda store: desk_of(store, ScriptedFeed(evenings(), source="RECORDED", recorded=(NEXT_DAY,))),
            f"NotOver: nothing is recorded of {DAY}; recorded are {NEXT_DAY}",
        ),
    ],
    ids=["not over", "live", "not recorded"],
)
def test_what_cannot_be_made_is_a_plain_failure_that_stores_nothing(
    instance: dg.DagsterInstance, desk: Callable[[Store], ArbitrageDesk], sentence: str
) -> None:
    store = MemoryStore()
    result = materialised(instance, desk(store), raise_on_error=False)
    assert not result.success
    assert failure(result).startswith(sentence)
    assert store.contents() == {}


def test_a_damaged_log_is_a_plain_failure_that_names_the_segment(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    key = f"{day_key('simulated', DAY, 'log')}/00000000.jsonl"
    store.write(key, store.read(key).data.replace(b'"price":', b'"price": ', 1))
    result = materialised(instance, desk_of(store, feed()), raise_on_error=False)
    assert failure(result).startswith(f"JournalError: {key} is damaged")


def test_a_day_that_goes_on_from_a_closing_that_was_changed_is_a_plain_failure(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    for day in (DAY, NEXT_DAY):
        traded_through(desk_of(store, feed()), day)
    key = day_key("simulated", DAY, "closing.json")
    closing = load_document(store.read(key).data)
    store.write(key, dump_document(closing | {"state": closing["state"] | {"log_sha256": "0" * 64}}))
    result = materialised(instance, desk_of(store, feed()), NEXT_DAY, raise_on_error=False)
    assert f"goes on from {DAY}" in failure(result)


def test_a_day_traded_after_a_later_one_was_begun_is_a_warning_of_that_check_alone(
    instance: dg.DagsterInstance,
) -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()), NEXT_DAY)
    result = materialised(instance, desk_of(store, feed()), DAY)
    assert {name for name, passed in verdicts(result).items() if not passed} == {"next_day_goes_on"}
    assert said(result, "next_day_goes_on").startswith(f"{NEXT_DAY} does not go on from {DAY}")
    (check,) = [each for each in result.get_asset_check_evaluations() if each.check_name == "next_day_goes_on"]
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert verdicts(materialised(instance, desk_of(store, feed()), NEXT_DAY)) == dict.fromkeys(CHECKS, True)


def test_a_next_day_whose_log_is_damaged_is_named_and_this_one_judged(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    for day in (DAY, NEXT_DAY):
        traded_through(desk_of(store, feed()), day)
    key = f"{day_key('simulated', NEXT_DAY, 'log')}/00000000.jsonl"
    store.write(key, store.read(key).data[:-1])
    result = materialised(instance, desk_of(store, feed()), DAY)
    assert {name for name, passed in verdicts(result).items() if not passed} == {"next_day_goes_on"}
    assert f"is not known: {key} is damaged" in said(result, "next_day_goes_on")


# --- when ---


@pytest.mark.parametrize("day", [date(2024, 2, 29), date(2025, 12, 31), date(2026, 10, 25)])
def test_ten_minutes_after_midnight_the_day_that_ended_is_asked_for(day: date) -> None:
    tick = datetime(day.year, day.month, day.day, 0, 10, tzinfo=UTC) + timedelta(days=1)
    with dg.build_schedule_context(scheduled_execution_time=tick) as context:
        request = trading_day_after_midnight(context)
    assert (request.partition_key, request.run_key) == (day.isoformat(), day.isoformat())  # type: ignore[union-attr]
    assert day.isoformat() == trading_days.get_partition_keys(tick)[-1], "its partition has just come to be"
    assert trading_day_after_midnight.execution_timezone == "UTC"
    assert trading_day_after_midnight.job_name == "trading_day"
