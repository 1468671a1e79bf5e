"""Walk-forward over the store: resumable, the same from every engine, and a summary that adds up."""

import math
from datetime import date, timedelta

import pytest

from assets.research import archive, validation_runs, walk_forward
from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.stopping.exits import ExitConfig
from assets.research.validation_runs import (
    available_folds,
    fold_features,
    fold_named,
    fold_report,
    reported_folds,
    run,
    summarise,
)
from assets.research.walk_forward import FoldResult, Refused, run_fold
from resources.history import open_history
from resources.market import MarketError
from resources.settings import Settings
from tests.memory_store import MemoryStore
from tests.research_parts import SYMBOL, TINY, TODAY, ScriptedHistory, hourly, midnight, research_on, without_hours

DAY = timedelta(days=1)
LAST = TODAY + 29 * DAY


@pytest.fixture(scope="module", autouse=True)
def _folds_are_computed_here():
    """Without processes; the pool itself is tested beside the folds and in the jobs."""
    pools = []

    def here(symbol, pieces, configuration, workers):  # noqa: ARG001
        pools.append(0)
        for piece in list(pieces):
            if isinstance(piece, Refused):
                yield piece
                continue
            pools[-1] += 1
            try:
                yield run_fold(symbol, piece[1], piece[0], configuration)
            except BadInput as error:
                yield Refused(piece[0], str(error))

    with pytest.MonkeyPatch.context() as patch:
        few = ExitConfig("longstaff_schwartz", paths=1024, continuation_paths=64, outer=4, inner=4)
        patch.setattr(walk_forward, "VALIDATION_EXITS", few)
        patch.setattr(validation_runs, "run_folds", here)
        yield pools


@pytest.fixture
def computed(_folds_are_computed_here):
    """How many folds each pool has computed since the test began."""
    _folds_are_computed_here.clear()
    return _folds_are_computed_here


@pytest.fixture(scope="module")
def history():
    return ScriptedHistory()


@pytest.fixture(scope="module")
def folds(history):
    return available_folds(research_on(LAST, MemoryStore(), history), SYMBOL, LAST)


@pytest.fixture(scope="module")
def run_once(history, folds):
    store = MemoryStore()
    reports = list(run(research_on(LAST, store, history), SYMBOL, folds, 1))
    return store, reports


def test_a_run_stores_features_tables_and_a_report_of_every_fold(run_once, folds):
    store, reports = run_once
    assert [report["result"]["fold"]["test_start"] for report in reports] == [fold.name for fold in folds]
    for fold, report in zip(folds, reports, strict=True):
        prefix = f"research/simulated/{SYMBOL}/walk_forward/{TINY.fingerprint}/{fold.name}/"
        names = {key.removeprefix(prefix) for key in store.contents() if key.startswith(prefix)}
        assert names == {"features.json", "features.parquet", "report.json"}
        features = archive.read_document(store, prefix + "features.json")
        assert archive.verified(store, prefix + "features.parquet", features["features"])
        assert set(features["inputs"]) == {"bars_1h", "funding_settlements", "oi_24h", "options_moves"}
        assert archive.load_value(FoldResult, report["result"]).fold == fold


def test_a_second_run_computes_nothing_and_changes_nothing(run_once, folds, computed):
    store, reports = run_once
    before = store.contents()
    silent = ScriptedHistory(failing={"bars", "funding", "oi", "options"})
    assert list(run(research_on(LAST, store, silent), SYMBOL, folds, 2)) == reports
    assert computed == []
    assert store.contents() == before


def test_a_run_computes_only_the_folds_without_a_report(run_once, history, folds, computed):
    whole, reports = run_once
    store = whole.copy()
    for fold in (folds[0], folds[2]):
        store.delete(archive.fold_key("SIMULATED", SYMBOL, TINY.fingerprint, fold.name, "report.json"))
    assert list(run(research_on(LAST, store, history), SYMBOL, folds, 2)) == reports
    assert computed == [2]
    assert store.contents() == whole.contents()


def test_folds_computed_one_by_one_are_the_objects_of_the_whole_run(run_once, history, folds):
    """What partitions do, each step in a process of its own and in any order."""
    store = MemoryStore()
    for fold in reversed(folds):
        fold_features(research_on(LAST, store, history), SYMBOL, fold)
    for fold in folds[2:] + folds[:2]:
        fold_report(research_on(LAST, store, history), SYMBOL, fold)
    assert store.contents() == run_once[0].contents()


def test_a_report_that_another_process_stores_meanwhile_shifts_no_other(run_once, history, folds, monkeypatch):
    """The middle fold's report appears while the pool is at work: each place still has its own fold."""
    whole, reports = run_once
    store = MemoryStore()
    key = archive.fold_key("SIMULATED", SYMBOL, TINY.fingerprint, folds[1].name, "report.json")
    here = validation_runs.run_folds

    def raced(*arguments):
        for n, result in enumerate(here(*arguments)):
            if n == 0:
                store.create(key, whole.read(key).data)
            yield result

    monkeypatch.setattr(validation_runs, "run_folds", raced)
    assert list(run(research_on(LAST, store, history), SYMBOL, folds, 2)) == reports
    assert store.contents() == whole.contents()


def test_a_fold_with_a_hole_is_refused_in_its_place_and_the_others_are_not(folds):
    # In the first fold's test window, which the second one still trains on: one day less of many.
    at = midnight(folds[0].test_start + DAY)
    research = research_on(LAST, MemoryStore(), ScriptedHistory(without_hours(hourly(), at, 1)))
    reports = list(run(research, SYMBOL, folds, 1))
    assert ["refused" in report for report in reports] == [True] + [False] * (len(folds) - 1)
    assert f"{at + DAY:%Y-%m-%d}" in reports[0]["refused"]["reason"]
    assert reported_folds(research, SYMBOL) == folds[1:]
    with pytest.raises(BadInput, match=f"{at + DAY:%Y-%m-%d}"):
        fold_report(research, SYMBOL, folds[0])
    summary = summarise(research, SYMBOL)
    assert summary["accepted_folds"] <= len(folds) - 1
    assert [refused["fold"]["test_start"] for refused in summary["refused"]] == [folds[0].name]


def test_a_source_that_does_not_answer_stops_the_run_and_keeps_what_there_is(run_once, folds):
    store = run_once[0].copy()
    store.delete(archive.fold_key("SIMULATED", SYMBOL, TINY.fingerprint, folds[0].name, "features.json"))
    store.delete(archive.fold_key("SIMULATED", SYMBOL, TINY.fingerprint, folds[0].name, "report.json"))
    before = store.contents()
    with pytest.raises(MarketError, match="does not answer"):
        list(run(research_on(LAST, store, ScriptedHistory(failing={"bars"})), SYMBOL, folds, 1))
    assert store.contents() == before


def test_later_history_changes_no_stored_fold(run_once, folds):
    """Computed when the first fold had just become whole, it is the object that a run a month later writes."""
    early = folds[0].test_end
    times = hourly()["timestamp_utc"]
    then = ScriptedHistory(hourly()[times < midnight(early)].reset_index(drop=True))
    store = MemoryStore()
    research = research_on(early, store, then)
    assert available_folds(research, SYMBOL, early) == folds[:1]
    list(run(research, SYMBOL, folds[:1], 1))
    assert store.contents().items() <= run_once[0].contents().items()


def test_the_summary_is_every_folds_verdict_and_the_sum_of_their_days(run_once, folds):
    store = run_once[0].copy()
    found = summarise(research_on(LAST, store), SYMBOL)
    results = [archive.load_value(FoldResult, report["result"]) for report in run_once[1]]
    days = [day for result in results for day in result.days]
    assert [fold["fold"]["test_start"] for fold in found["folds"]] == [fold.name for fold in folds]
    assert found["accepted_folds"] == sum(result.accepted for result in results)
    assert found["overall"]["days"] == len(days) == 10 * len(folds)
    assert found["overall"]["total_return"] == pytest.approx(math.prod(1 + day.net_return for day in days) - 1)
    assert found["overall"]["turnover"] == pytest.approx(sum(abs(day.trade) + abs(day.closing) for day in days))
    growth = math.prod(1 + day.asset_return - day.asset_funding for day in days)
    assert found["buy_and_hold"]["total_return"] == pytest.approx(growth * (1 - 0.0007) ** 2 - 1)
    assert (found["purge_days"], found["cost_bp"]) == (7, 7.0)
    assert archive.read_document(store, archive.summary_key("SIMULATED", SYMBOL)) == found


def test_a_summary_of_nothing_is_refused():
    with pytest.raises(BadInput, match="no fold has a report yet"):
        summarise(research_on(LAST, MemoryStore()), SYMBOL)


def test_another_configuration_has_folds_of_its_own(run_once, folds):
    store = run_once[0]
    other = ResearchConfiguration(scheme=TINY.scheme)
    assert reported_folds(research_on(LAST, store), SYMBOL) == folds
    assert reported_folds(research_on(LAST, store, configuration=other), SYMBOL) == []


def test_a_partition_names_the_first_day_of_a_test_window(folds):
    research = research_on(LAST, MemoryStore())
    assert fold_named(folds[1].name, research) == folds[1]
    wrong = (folds[1].test_start + DAY).isoformat()
    with pytest.raises(BadInput, match=f"begins on {folds[1].name}"):
        fold_named(wrong, research)


def test_history_goes_back_as_far_as_the_setting_says(history, folds):
    assert available_folds(research_on(LAST, MemoryStore(), history, research_history_days=440), SYMBOL, LAST) == folds
    history.calls.clear()
    available_folds(research_on(LAST, MemoryStore(), history, research_history_days=450), SYMBOL, LAST)
    assert history.calls == [("bars", midnight(LAST - 450 * DAY), midnight(LAST))]


RECORDED = Settings().test_data


@pytest.mark.real_data
@pytest.mark.skipif(not (RECORDED / "bars_1h").is_dir(), reason=f"no recorded market data in {RECORDED}")
def test_a_recorded_month_is_judged_and_judged_the_same_again():
    from dataclasses import replace

    configuration, day = ResearchConfiguration(), date(2024, 4, 1)
    research = replace(
        research_on(day, MemoryStore(), configuration=configuration),
        history=open_history(Settings(history=f"recorded:{RECORDED}")),
    )
    fold = available_folds(research, SYMBOL, day)[-1]
    report = fold_report(research, SYMBOL, fold)
    result = archive.load_value(FoldResult, report["result"])
    assert len(result.days) == 30
    assert math.prod(1 + day.net_return for day in result.days) == pytest.approx(1 + result.performance.total_return)
    assert all(abs(day.exposure) <= configuration.exposure_cap for day in result.days)
    again = fold_report(replace(research, store=MemoryStore()), SYMBOL, fold)
    assert again == report
