"""``desk verify`` finds a changed byte in what closed days of paper trading and reports left behind.

Exempt, because nothing stored can vouch for them, are the spans ``EXEMPT`` names; ``desk trade --day`` computes a day
from its feed again.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.arbitrage import trading_day
from assets.arbitrage.assets import arbitrage_assets
from assets.arbitrage.checks import arbitrage_checks
from assets.arbitrage.instructions import Kind, give
from assets.arbitrage.session import Session, day_key, start_of
from assets.arbitrage.trading_day import FOLDS, StoredDay
from assets.arbitrage.verify_days import DaysVerdict, verify_days
from assets.telemetry.backtest.report import write_report
from assets.telemetry.day_report import report_name, report_of
from assets.telemetry.verify_reports import ReportsVerdict, verify_reports
from pipelines.cli import main
from resources.documents import dump_document, load_document
from resources.store.local import LocalStore
from tests.memory_store import MemoryStore
from tests.pipelines.test_verify_tampering import changed
from tests.trading_parts import DAY, NEXT_DAY, THIRD_DAY, ScriptedFeed, desk_of, evenings, traded_through

SEED, SECONDS = 9, 40
NOW = datetime(2026, 4, 1, tzinfo=UTC)
ALL = rb"(?s).*"
EXEMPT = [
    (r".*/closing\.json", rb'"marks":\{[^}]*\}', "marks are the feed's: their form and what they are of is judged"),
    (r"arbitrage/simulated/.*/opportunities\.json", ALL, "the scanner finds them in the feed: see the test below"),
]


def live() -> ScriptedFeed:
    return ScriptedFeed(evenings(SEED, seconds=SECONDS), source="LIVE", repeatable=False)


@lru_cache(maxsize=1)
def stored() -> dict[str, bytes]:
    """Two simulated days and a live one with all that is made of them, a third day under way, and two reports."""
    store = MemoryStore()
    for feed, days in ((ScriptedFeed(evenings(SEED, seconds=SECONDS)), (DAY, NEXT_DAY)), (live(), (DAY,))):
        desk = desk_of(store, feed)
        for day in days:
            traded_through(desk, day)
            one = StoredDay(desk, day)
            one.stored_once("opportunities", trading_day.opportunities)
            for name, make in FOLDS.items():
                one.stored_once(name, make)
    records = load_document(store.read(day_key("simulated", DAY, "performance.json")).data)
    report = report_of(records)
    write_report(store, report_name("SIMULATED", date.fromisoformat(DAY)), report)
    write_report(store, "mine", report)
    under_way = Session(desk_of(store, ScriptedFeed(evenings(SEED, seconds=SECONDS))), THIRD_DAY, start_of(THIRD_DAY))
    under_way.advance_to(under_way.end_ns - 60 * 10**9)
    under_way.flush()
    return store.contents()


def store_of(contents: Mapping[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for key, data in contents.items():
        store.create(key, data)
    return store


def found(contents: Mapping[str, bytes]) -> list[tuple[str, str]]:
    store = store_of(contents)
    return [*verify_days(store).differences, *verify_reports(store, NOW).differences]


def beside(key: str) -> dict[str, bytes]:
    """The stored objects that ``key`` is judged with."""
    source = "live" if key.startswith("arbitrage/live/") else "simulated"
    folders = ("reports/", f"arbitrage/simulated/{DAY}/performance") if "reports/" in key else (f"arbitrage/{source}/",)
    return {other: data for other, data in stored().items() if other.startswith(folders)}


def replaced(key: str, old: bytes, new: bytes) -> dict[str, bytes]:
    assert old in stored()[key]
    return stored() | {key: stored()[key].replace(old, new, 1)}


def places(key: str, data: bytes, count: int = 6) -> list[int]:
    """Evenly spread ones outside what is exempt, the first and the last among them."""
    spans = [each.span() for keys, span, _ in EXEMPT if re.fullmatch(keys, key) for each in re.finditer(span, data)]
    free = [place for place in range(len(data)) if not any(a <= place < b for a, b in spans)]
    return sorted({free[0], free[-1], *free[:: max(1, len(free) // count)]}) if free else []


# A day under way is not judged, a backtest's results are judged below, figure by figure.
JUDGED = [key for key in sorted(stored()) if THIRD_DAY not in key and key != "reports/mine/results.json"]


def test_an_untouched_store_has_no_difference_and_nothing_is_written() -> None:
    store = store_of(stored())
    assert verify_days(store) == DaysVerdict(3, (), ())
    assert verify_reports(store, NOW) == ReportsVerdict(2, ())
    assert store.contents() == stored()


def test_a_store_that_holds_neither_has_none_of_them() -> None:
    assert verify_days(MemoryStore()) == DaysVerdict(0, (), ())
    assert verify_reports(MemoryStore(), NOW) == ReportsVerdict(0, ())


def test_a_day_under_way_is_no_difference_and_no_day() -> None:
    only = {key: data for key, data in stored().items() if THIRD_DAY in key}
    assert only
    assert verify_days(store_of(only)) == DaysVerdict(0, (), ())


@pytest.mark.parametrize("key", JUDGED)
def test_one_changed_byte_is_found(key: str) -> None:
    data = stored()[key]
    unnoticed = [
        data[max(0, place - 30) : place + 10]
        for place in places(key, data)
        if not found(beside(key) | {key: changed(data, place)})
    ]
    assert unnoticed == []


@pytest.mark.parametrize("key", sorted(stored()))
@pytest.mark.parametrize("instead", [b"", b"[]\n", b"{}\n", b"\xff\xfe"], ids=repr)
def test_an_object_replaced_by_anything_does_not_stop_it(key: str, instead: bytes) -> None:
    assert found(beside(key) | {key: instead}) or THIRD_DAY in key


def test_a_profit_changed_in_a_closing_is_named_with_the_right_one() -> None:
    key = day_key("simulated", DAY, "closing.json")
    document = load_document(stored()[key])
    right = document["state"]["realised"]
    document["state"]["realised"] += 1
    document["state"]["available"] += 1  # so that capital is conserved, and the next day can begin with it
    differences = found(stored() | {key: dump_document(document)})
    assert (key, f"state.realised is {right + 1}, recomputed {right}") in differences


def test_a_closing_for_another_log_breaks_the_carry_to_the_next_day() -> None:
    key = day_key("simulated", DAY, "closing.json")
    sha256 = load_document(stored()[key])["state"]["log_sha256"]
    differences = found(replaced(key, sha256.encode(), sha256[::-1].encode()))
    assert any(each == key for each, _ in differences)
    assert any(
        each == day_key("simulated", NEXT_DAY, "log") and "whose stored closing is another one" in what
        for each, what in differences
    )


def test_a_day_traded_after_a_later_one_was_begun_is_named_with_both() -> None:
    store = MemoryStore()
    desk = desk_of(store, ScriptedFeed(evenings(SEED, seconds=SECONDS)))
    for day in (DAY, THIRD_DAY, NEXT_DAY):
        traded_through(desk, day)
    verdict = verify_days(store)
    assert (verdict.days, verdict.differences) == (3, ())
    (sentence,) = verdict.passed_over
    assert sentence.startswith(f"{THIRD_DAY} does not go on from {NEXT_DAY} but from {DAY}: ")
    store.write(next(iter(store.list(day_key("simulated", THIRD_DAY, "log")))).key, b"{")
    verdict = verify_days(store)
    (sentence,) = verdict.passed_over
    assert sentence.startswith("what the next stored day goes on from is not known: ")
    assert {key for key, _ in verdict.differences} == {day_key("simulated", THIRD_DAY, "log")}


@pytest.mark.parametrize("name", ["closing", *FOLDS])
def test_a_closing_that_is_gone_is_missed_by_what_was_made_of_its_day(name: str) -> None:
    key = day_key("live", DAY, f"{name}.json")
    rest = {other: data for other, data in stored().items() if other != key}
    assert [each for each, _ in found(rest)] == ([key] if name == "closing" else [])


def test_an_entry_that_no_opportunity_of_the_scanner_stands_for_is_found() -> None:
    key = day_key("simulated", DAY, "opportunities.json")
    document = load_document(stored()[key])
    assert document["found_by"] == "scanner"
    (first, *_) = found(stored() | {key: dump_document(document | {"rows": []})})
    assert first[0] == key
    assert "none of them stands for trade" in first[1]


def test_a_mark_of_what_is_not_held_is_found() -> None:
    key = day_key("simulated", DAY, "closing.json")
    document = load_document(stored()[key]) | {"marks": {"south:SOLUSDT": 100}}
    assert (key, "marks: south:SOLUSDT is not held") in found(stored() | {key: dump_document(document)})


@pytest.mark.parametrize("name", ["mine", f"paper_simulated_{DAY}"])
@pytest.mark.parametrize("figure", ["final_equity", "start_value", "total_return", "max_drawdown", "total_trades"])
def test_a_figure_changed_in_a_report_is_found(name: str, figure: str) -> None:
    key = f"reports/{name}/results.json"
    document = load_document(stored()[key])
    right = document[figure]
    differences = found(stored() | {key: dump_document(document | {figure: right + 1})})
    assert differences
    if name != "mine":
        assert differences == [(key, f"{figure} is {right + 1}, recomputed {right}")]


def test_a_report_whose_results_are_not_written_yet_is_no_difference_and_no_report() -> None:
    rest = {key: data for key, data in stored().items() if key != "reports/mine/results.json"}
    assert verify_reports(store_of(rest), NOW) == ReportsVerdict(1, ())


# --- told by the commands and by Dagster's check ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """The store in a folder that the settings name; the commands' desk has the scripted feed."""
    for name in [name for name in os.environ if name.startswith("DESK_") or name == "REDIS_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DESK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "160")
    store = LocalStore(tmp_path / "store")
    for key, data in stored().items():
        store.create(key, data)
    desk = desk_of(store, ScriptedFeed(evenings(SEED, seconds=SECONDS)))
    monkeypatch.setattr("assets.arbitrage.arbitrage_desk.open_arbitrage_desk", lambda _settings: desk)
    return store


def more_profit(store: LocalStore, day: str) -> None:
    key = day_key("simulated", day, "closing.json")
    document = load_document(store.read(key).data)
    document["state"]["realised"] += 1
    document["state"]["available"] += 1
    store.write(key, dump_document(document))


def test_verify_says_how_many_days_and_reports_it_recomputed_and_what_differs(folder: LocalStore) -> None:
    result = CliRunner().invoke(main, ["verify"])
    assert result.stdout.splitlines()[-1].endswith("3 arbitrage days, 2 reports recomputed: 0 differences")
    assert result.exit_code == 0
    more_profit(folder, NEXT_DAY)
    result = CliRunner().invoke(main, ["verify"])
    assert result.exit_code == 1
    assert f"{day_key('simulated', NEXT_DAY, 'closing.json')}: state.realised is " in result.stdout
    found = load_document(CliRunner().invoke(main, ["verify", "--json"]).stdout.encode())
    assert (found["arbitrage_days"], found["reports"], len(found["differences"])) == (3, 2, 2)


def test_a_past_day_is_held_against_its_closing(folder: LocalStore) -> None:
    result = CliRunner().invoke(main, ["trade", "--day", NEXT_DAY])
    assert result.exit_code == 0, result.output
    more_profit(folder, NEXT_DAY)
    result = CliRunner().invoke(main, ["trade", "--day", NEXT_DAY])
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "closing_follows" in line]
    assert "state.available is" in line


def test_a_mark_that_the_feed_does_not_give_again_is_found_by_the_day_alone(folder: LocalStore) -> None:
    key = day_key("simulated", NEXT_DAY, "closing.json")
    document = load_document(folder.read(key).data)
    assert document["marks"]["south:SOLUSDT"]
    document["marks"]["south:SOLUSDT"] += 1
    folder.write(key, dump_document(document))
    result = CliRunner().invoke(main, ["trade", "--day", NEXT_DAY])
    assert result.exit_code == 1
    assert "the closing's marks.south:SOLUSDT is" in result.stdout


def test_dagsters_check_of_the_capital_sees_a_closing_that_the_log_does_not_leave(
    folder: LocalStore, instance: dg.DagsterInstance
) -> None:
    more_profit(folder, NEXT_DAY)
    (check,) = [each for each in arbitrage_checks if {spec.name for spec in each.check_specs} == {"capital_conserved"}]
    result = dg.materialize(
        [*arbitrage_assets, check],
        instance=instance,
        partition_key=NEXT_DAY,
        resources={"arbitrage": desk_of(folder, ScriptedFeed(evenings(SEED, seconds=SECONDS)))},
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "state.realised is" in (evaluation.description or "")


def test_a_day_that_went_on_after_a_kill_is_recomputed_and_a_changed_instruction_of_it_found() -> None:
    store = MemoryStore()
    desk = desk_of(store, live())
    give(store, "LIVE", Kind.DEPOSIT, Decimal(500), "a test", 1)
    first = Session(desk, DAY, start_of(DAY))
    first.advance_to(first.end_ns - 100 * 10**9)
    first.take_instructions()
    first.flush()
    traded_through(desk)
    assert verify_days(store) == DaysVerdict(1, (), ())
    (key,) = [key for key in store.contents() if "/instructions/" in key]
    store.write(key, store.read(key).data.replace(b"500", b"600"))
    ((where, what),) = verify_days(store).differences
    assert where == day_key("live", DAY, "log")
    assert "instruction 1 was taken as" in what
