"""A day's decision over the store: ten documents that can be made again, whatever the day's data were like."""

import json
import math
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from assets.research import archive, model_store, pipeline
from assets.research import replay as leakage
from assets.research.bad_input import BadInput
from assets.research.data import contracts
from assets.research.model_store import trained, trained_exit_rule
from assets.research.models import Models
from assets.research.pipeline import previous_day, run_step
from assets.research.publication import decide_day, publish
from assets.research.replay import bound_violations, leaked_features, replay
from assets.research.sources import pull_source, slippage_log
from assets.research.steps import SOURCES, STEPS
from assets.research.validation import fold_of
from resources.clock import ManualClock
from resources.documents import dump_document, sha256_hex
from resources.history import open_history
from resources.market import MarketError
from resources.settings import Settings
from resources.store import NotFound
from resources.store.local import LocalStore
from tests.desk_parts import START, D, Parts, market_of
from tests.faults.distant_store import DistantStore, threads_left
from tests.memory_store import MemoryStore
from tests.research_parts import (
    SYMBOL,
    TINY,
    TODAY,
    ScriptedHistory,
    hourly,
    interest,
    midnight,
    research_on,
    settlements,
    surface,
    with_value,
    without_hours,
)

DAY = timedelta(days=1)
FOLD = fold_of(TODAY, TINY.scheme)


@pytest.fixture(scope="module")
def trained_store():
    """A store with the fold's models and nothing else."""
    store = MemoryStore()
    trained(research_on(TODAY, store), SYMBOL, TODAY)
    return store


@pytest.fixture
def store(trained_store):
    return trained_store.copy()


@pytest.fixture(scope="module")
def decided_store(trained_store):
    """Three days decided in a row, the last of them holding a position."""
    store = trained_store.copy()
    for n in range(3):
        decide_day(research_on(TODAY + n * DAY, store), SYMBOL, TODAY + n * DAY)
    return store


@pytest.fixture
def decided(decided_store):
    return decided_store.copy()


LAST = TODAY + 2 * DAY


def results(store, day, history=None):
    steps = decide_day(research_on(day, store, history), SYMBOL, day)
    return {name: document["result"] for name, document in steps.items()}


def rule_key(store, day):
    research = research_on(day, store)
    return model_store.exit_rule_key(research, SYMBOL, day, trained(research, SYMBOL, day)[1])


def book_of(results):
    return results["position_management"]["settlement"]["book"]


def differing(store, day, history=None):
    return {each.step for each in replay(research_on(day, store, history), SYMBOL, day) if each.differences}


# --- a good day ----------------------------------------------------------------------------------------------------


def test_a_day_is_ten_documents_each_naming_what_it_was_made_from(decided):
    keys = [key for key in decided.contents() if f"/decisions/{LAST}/" in key]
    assert {key.rpartition("/")[2].removesuffix(".json") for key in keys} == set(STEPS)
    for step in STEPS:
        document = archive.read_document(decided, archive.step_key("SIMULATED", SYMBOL, LAST, step))
        assert (document["step"], document["day"], document["source"]) == (step, LAST.isoformat(), "SIMULATED")
        assert document["configuration"] == TINY.fingerprint
        assert document["inputs"], step
        for name, sha256 in document["inputs"].items():
            if name.startswith("sources/"):
                key = archive.source_key("SIMULATED", SYMBOL, LAST, name.removeprefix("sources/"))
            elif name == "exit_rule":
                key = rule_key(decided, LAST)
            else:
                key = archive.step_key("SIMULATED", SYMBOL, LAST, name)
            assert sha256_hex(decided.read(key).data) == sha256, (step, name)


def test_the_days_traded_so_that_the_tests_say_something(decided):
    found = results(decided, LAST)
    assert found["data_pull"]["refusal"] == ""
    assert found["regime_gate"]["day"]["state"] == "RISK-ON"
    assert abs(found["bias_computation"]["value"]) > 0.2
    assert book_of(found)["exposure"] != 0
    assert bound_violations(research_on(LAST, decided), SYMBOL, LAST) == []


def test_a_replay_finds_nothing_needs_no_history_and_writes_nothing(decided):
    silent = ScriptedHistory(failing={"bars", "funding", "oi", "options"})
    before = decided.contents()
    for n in range(3):
        assert differing(decided, TODAY + n * DAY, silent) == set()
    assert decided.contents() == before


def test_a_second_run_changes_nothing(decided):
    before = decided.contents()
    for n in range(3):
        decide_day(research_on(TODAY + n * DAY, decided), SYMBOL, TODAY + n * DAY)
    assert decided.contents() == before


def test_each_day_continues_the_book_of_the_day_before(decided):
    for n in (1, 2):
        day = TODAY + n * DAY
        before, after = results(decided, day - DAY), results(decided, day)
        marked = after["feature_extraction"]["marked"]
        assert after["data_pull"]["previous"] == (day - DAY).isoformat()
        assert marked["exposure"] == book_of(before)["exposure"]
        expected = book_of(before)["equity"] * (1 + marked["day_return"])
        assert marked["equity"] == pytest.approx(expected, rel=1e-14)


def test_the_decision_of_the_pipeline_is_that_of_the_pure_fold(decided):
    """Steps loaded from JSON one by one come to the digits of ``decide`` in one go."""
    from assets.research.decision import decide

    research = research_on(LAST, decided)
    chain = pipeline.chain_of(research, SYMBOL, LAST)
    extraction, _ = pipeline.extraction_of(research, SYMBOL, LAST)
    models = replace(trained(research, SYMBOL, LAST)[0], exit_rule=trained_exit_rule(research, SYMBOL, LAST))
    path = models.filter(np.array(extraction.filter_returns), TINY)
    whole = decide(
        extraction.known, chain.book, models, float(path.probability[-1]), float(path.ess[-1]),
        chain.impact_per_trade, TINY,
    )  # fmt: skip
    found = results(decided, LAST)
    assert found["position_management"]["settlement"] == archive.dump_value(whole.settlement)
    assert found["position_management"]["exit"] == archive.dump_value(whole.exit)
    assert found["execution_rate"] == archive.dump_value(whole.execution)
    assert found["risk_checks"] == json.loads(json.dumps(archive.dump_value(whole.risk)))


def test_the_days_exit_rule_belongs_to_the_day(decided):
    rules = {trained_exit_rule(research_on(LAST, decided), SYMBOL, TODAY + n * DAY).seed for n in range(3)}
    assert len(rules) == 3


# --- what may not be seen ------------------------------------------------------------------------------------------


def test_a_history_with_another_future_gives_the_identical_decision():
    """Models included: they are trained anew from the poisoned history."""
    other, at = hourly(seed=99), midnight(TODAY)
    poison = ScriptedHistory()
    late = poison.bars["timestamp_utc"] >= at
    poison.bars.loc[late, "close"] = other.loc[late, "close"] * 5
    poison.settled.loc[poison.settled["timestamp_utc"] >= at, "funding_rate"] = 0.07
    poison.levels.loc[poison.levels["date_utc"] >= at, "oi_usd"] = 1.0
    poison.options.loc[poison.options["date_utc"] >= at, "rr25d"] = 50.0
    stores = MemoryStore(), MemoryStore()
    for store, history in zip(stores, (ScriptedHistory(), poison), strict=True):
        decide_day(research_on(TODAY, store, history), SYMBOL, TODAY)
    assert stores[0].contents() == stores[1].contents()
    assert all(end <= at for _, _, end in poison.calls)


def test_training_asks_for_nothing_after_its_window():
    history = ScriptedHistory()
    trained(research_on(TODAY, MemoryStore(), history), SYMBOL, TODAY)
    assert {end for _, _, end in history.calls} == {midnight(FOLD.train_end)}


def test_features_do_not_leak_and_a_leak_would_be_found(decided, monkeypatch):
    research = research_on(LAST, decided)
    assert leaked_features(research, SYMBOL, LAST) == []
    honest = leakage.panel_of

    def peeking(symbol, tables):
        panel = honest(symbol, tables)
        panel.features["return_7d"] += panel.features["return_1d"].iloc[-1]
        return panel

    monkeypatch.setattr(leakage, "panel_of", peeking)
    assert {leak.split(" of ")[0] for leak in leaked_features(research, SYMBOL, LAST)} == {"return_7d"}


# --- tampering -----------------------------------------------------------------------------------------------------


def rewritten(store, step, change, day=LAST):
    key = archive.step_key("SIMULATED", SYMBOL, day, step)
    document = json.loads(store.read(key).data)
    change(document["result"])
    store.write(key, dump_document(document))


CHANGES = {
    "data_pull": lambda result: result["states"]["bars_1h"].update(rows=1),
    "feature_extraction": lambda result: result["known"]["features"].update(return_1d=0.01),
    "regime_gate": lambda result: result["day"].update(probability=0.99),
    "bias_computation": lambda result: result.update(value=0.99),
    "target_sizing": lambda result: result.update(target=0.123),
    "execution_rate": lambda result: result.update(planned=0.5),
    "impact_tracking": lambda result: result.update(now_bp=99.0),
    "risk_checks": lambda result: result.update(state="REDUCING"),
    "position_management": lambda result: result["settlement"]["book"].update(equity=2.0),
    "weekly_calibration": lambda result: result["result"].update(new=0.1),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_changed_number_of_any_step_is_found_in_it_and_below_it(decided, step):
    rewritten(decided, step, CHANGES[step])
    found = differing(decided, LAST)
    assert step in found
    readers = {
        name
        for name in STEPS
        if step in archive.read_document(decided, archive.step_key("SIMULATED", SYMBOL, LAST, name))["inputs"]
    }
    assert readers <= found, "each names the sha256 of what it was made from"


def test_a_value_that_no_step_could_have_written_is_a_difference_and_no_crash(decided):
    rewritten(decided, "bias_computation", lambda result: result.update(value=-1.01))
    rewritten(decided, "risk_checks", lambda result: result.update(state="SLEEPING"))
    assert {"bias_computation", "target_sizing", "risk_checks", "position_management"} <= differing(decided, LAST)


def test_a_changed_number_of_yesterday_is_found_today(decided):
    rewritten(decided, "position_management", CHANGES["position_management"], LAST - DAY)
    assert "feature_extraction" in differing(decided, LAST)


def flipped(store, key, at=None):
    data = store.read(key).data
    at = len(data) // 2 if at is None else at
    store.write(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("what", ["direction.npz", "models.json", "bars_1h", "funding_settlements"])
def test_a_flipped_byte_of_a_table_or_a_model_is_tampering(decided, what):
    pulled = archive.read_document(decided, archive.step_key("SIMULATED", SYMBOL, LAST, "data_pull"))["result"]
    if what in pulled["tables"]:
        key = archive.table_key("SIMULATED", SYMBOL, pulled["tables"][what])
    else:
        (key,) = (key for key in decided.contents() if key.endswith(f"/{what}"))
    flipped(decided, key)
    with pytest.raises(archive.TamperedObject, match=key):
        replay(research_on(LAST, decided), SYMBOL, LAST)


def test_a_manifest_that_changed_after_the_decision_is_tampering(decided):
    (key,) = (key for key in decided.contents() if key.endswith("/manifest.json"))
    manifest = json.loads(decided.read(key).data)
    decided.write(key, dump_document(manifest | {"seed": 1}))
    with pytest.raises(archive.TamperedObject, match="manifest"):
        replay(research_on(LAST, decided), SYMBOL, LAST)


def test_a_decision_is_finished_and_replayed_under_the_configuration_it_was_begun_under(decided):
    chosen_since = replace(research_on(LAST, decided), configuration=replace(TINY, exposure_cap=0.001))
    assert all(not each.differences for each in replay(chosen_since, SYMBOL, LAST))
    before = decided.contents()
    decided.delete(archive.step_key("SIMULATED", SYMBOL, LAST, "position_management"))
    decided.delete(archive.step_key("SIMULATED", SYMBOL, LAST, "weekly_calibration"))
    decide_day(chosen_since, SYMBOL, LAST)
    published = archive.latest_key("SIMULATED", SYMBOL)
    assert {key: data for key, data in decided.contents().items() if key != published} == {
        key: data for key, data in before.items() if key != published
    }
    assert archive.read_document(decided, published)["configuration"] == TINY.fingerprint


def test_a_configuration_that_changed_in_the_store_is_refused(decided):
    key = archive.configuration_key("SIMULATED", SYMBOL, TINY.fingerprint)
    decided.write(key, dump_document(archive.read_document(decided, key) | {"seed": 8}))
    with pytest.raises(BadInput, match="does not make"):
        replay(replace(research_on(LAST, decided), configuration=replace(TINY, seed=9)), SYMBOL, LAST)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_flipped_byte_of_the_exit_rule_is_found(decided, share):
    key = rule_key(decided, LAST)
    flipped(decided, key, int(len(decided.read(key).data) * share))
    assert "position_management" in differing(decided, LAST)


def test_a_source_document_that_changed_is_found(decided):
    key = archive.source_key("SIMULATED", SYMBOL, LAST, "bars_1h")
    document = json.loads(decided.read(key).data)
    decided.write(key, dump_document(document | {"absence": "x"}))
    assert "data_pull" in differing(decided, LAST)


def test_a_decision_that_is_not_there_cannot_be_replayed(decided):
    with pytest.raises(NotFound):
        replay(research_on(LAST + DAY, decided), SYMBOL, LAST + DAY)


# --- the chain of days ---------------------------------------------------------------------------------------------


def test_a_day_without_a_decision_is_marked_over_and_starts_the_inertia_anew(decided):
    after = LAST + 2 * DAY
    before, found = results(decided, LAST), results(decided, after)
    assert found["data_pull"]["previous"] == LAST.isoformat()
    closes = {
        date.fromisoformat(day): value for day, value in found["feature_extraction"]["known"]["log_close"].items()
    }
    marked = found["feature_extraction"]["marked"]
    held = book_of(before)["exposure"]
    assert marked["asset_return"] == pytest.approx(math.expm1(closes[after] - closes[LAST]))
    assert marked["day_return"] == pytest.approx(held * marked["asset_return"] - marked["funding_paid"])
    assert found["regime_gate"]["day"]["state"] == "GATE-OFF"
    assert differing(decided, after) == set()


def test_a_decision_made_late_for_an_earlier_day_disturbs_no_later_one(decided):
    earlier = TODAY - 2 * DAY
    assert results(decided, earlier)["data_pull"]["previous"] is None
    assert results(decided, TODAY - DAY)["data_pull"]["previous"] == earlier.isoformat()
    for n in range(3):
        assert differing(decided, TODAY + n * DAY) == set(), "what it continued then it continues still"
    assert results(decided, TODAY)["data_pull"]["previous"] is None


def test_only_whole_decisions_are_continued(decided):
    decided.delete(archive.step_key("SIMULATED", SYMBOL, LAST, STEPS[-1]))
    assert previous_day(research_on(LAST + DAY, decided), SYMBOL, LAST + DAY) == LAST - DAY


def test_publishing_never_goes_back(decided):
    key = archive.latest_key("SIMULATED", SYMBOL)
    newest = decided.read(key).data
    assert json.loads(newest)["day"] == LAST.isoformat()
    assert publish(research_on(TODAY, decided), SYMBOL, TODAY)["day"] == LAST.isoformat()
    assert decided.read(key).data == newest


def test_what_is_published_is_the_stored_steps_and_the_days_before(decided):
    shown = archive.read_document(decided, archive.latest_key("SIMULATED", SYMBOL))
    assert shown["steps"] == results(decided, LAST)
    assert shown["next_run_utc"] == "2024-10-30T00:00:00.000000+00:00"
    assert [row["day"] for row in shown["history"]] == [(TODAY + n * DAY).isoformat() for n in range(3)]
    assert shown["history"][-1]["equity"] == book_of(results(decided, LAST))["equity"]


def test_what_is_published_is_the_same_from_a_store_far_away(decided):
    shown = archive.read_document(decided, archive.latest_key("SIMULATED", SYMBOL))
    far = DistantStore(decided)
    assert publish(research_on(LAST, far), SYMBOL, LAST) == shown
    assert threads_left() == []


def test_a_position_left_unmarked_for_longer_than_its_memory_is_not_taken_up_again(decided, monkeypatch):
    monkeypatch.setattr(pipeline, "MEMORY_DAYS", 3)
    rewritten(decided, "position_management", lambda r: r["settlement"]["book"].update(marked="2024-10-20"))
    equity = book_of(results(decided, LAST))["equity"]
    marked = results(decided, LAST + DAY)["feature_extraction"]["marked"]
    assert (marked["exposure"], marked["position"], marked["equity"]) == (0.0, None, equity)


# --- what the data may be like -------------------------------------------------------------------------------------


def held_before(store):
    return book_of(results(store, LAST))["exposure"]


NEXT = LAST + DAY


def after_a_bad_day(store, history):
    """The decision of the day after the three good ones, on ``history``."""
    held = held_before(store)
    found = results(store, NEXT, history)
    assert found["regime_gate"]["day"]["state"] == "GATE-OFF"
    assert found["bias_computation"]["value"] is None
    assert found["feature_extraction"]["known"]["features"] == {}
    assert differing(store, NEXT, history) == set()
    assert bound_violations(research_on(NEXT, store), SYMBOL, NEXT) == []
    return held, found


def assert_carried(held, found):
    settlement = found["position_management"]["settlement"]
    assert (settlement["trade"], settlement["cost"]) == (0.0, 0.0)
    assert settlement["book"]["exposure"] == held
    assert found["feature_extraction"]["marked"]["day_return"] is None
    assert found["risk_checks"]["state"] == "REDUCING"


def test_bars_that_stopped_thirty_hours_ago_refuse_the_day_and_are_made_up_for_later(decided):
    bars = hourly()
    stopped = bars[bars["timestamp_utc"] < midnight(NEXT) - timedelta(hours=31)]
    held, found = after_a_bad_day(decided, ScriptedHistory(stopped.reset_index(drop=True)))
    assert_carried(held, found)
    assert {finding["rule"] for finding in found["data_pull"]["states"]["bars_1h"]["findings"]} == {"late", "stale"}
    later = results(decided, NEXT + DAY)
    marked = later["feature_extraction"]["marked"]
    closes = later["feature_extraction"]["known"]["log_close"]
    asset = math.expm1(closes[(NEXT + DAY).isoformat()] - closes[LAST.isoformat()])
    assert marked["asset_return"] == pytest.approx(asset)
    assert marked["day_return"] == pytest.approx(held * asset - marked["funding_paid"])
    assert marked["equity"] == pytest.approx(book_of(found)["equity"] * (1 + marked["day_return"]))


@pytest.mark.parametrize(("hours_ago", "count"), [(3, 1), (20, 5)])
def test_a_gap_of_the_last_day_leaves_no_close_to_trade_at(decided, hours_ago, count):
    bars = without_hours(hourly(), midnight(NEXT) - timedelta(hours=hours_ago), count)
    held, found = after_a_bad_day(decided, ScriptedHistory(bars))
    assert_carried(held, found)
    assert "gap" in {finding["rule"] for finding in found["data_pull"]["states"]["bars_1h"]["findings"]}


def test_a_gap_before_the_features_begin_is_a_day_the_filter_does_not_see(decided):
    """The gate stays open: only what a decision looks at may close it. The finding is on record."""
    bars = without_hours(hourly(), midnight(NEXT) - timedelta(days=15, hours=5), 2)
    found = results(decided, NEXT, ScriptedHistory(bars))
    assert found["data_pull"]["refusal"] == ""
    assert "gap" in {finding["rule"] for finding in found["data_pull"]["states"]["bars_1h"]["findings"]}
    seen = found["feature_extraction"]["filter_returns"]
    # No features in the week after the gap, which would look back across it.
    assert [value is None for value in seen][-17:] == [False] + [True] * 7 + [False] * 9
    assert found["regime_gate"]["day"]["probability"] is not None
    assert differing(decided, NEXT, ScriptedHistory(bars)) == set()


def test_a_gap_of_this_week_refuses_the_features_but_marks_and_shrinks_what_is_held(decided):
    bars = without_hours(hourly(), midnight(NEXT) - timedelta(days=5, hours=5), 2)
    held, found = after_a_bad_day(decided, ScriptedHistory(bars))
    marked, settlement = found["feature_extraction"]["marked"], found["position_management"]["settlement"]
    assert marked["through"] == NEXT.isoformat()
    assert marked["day_return"] is not None
    assert 0 <= abs(settlement["book"]["exposure"]) < abs(held)
    assert settlement["book"]["exposure"] * held >= 0


def test_a_position_does_not_outlive_its_cap_behind_a_gap(decided):
    bars = without_hours(hourly(), midnight(LAST) - timedelta(days=30), 2)
    history, day = ScriptedHistory(bars), NEXT
    while held := book_of(results(decided, day - DAY))["position"]:
        assert (day - date.fromisoformat(held["opened"])).days <= TINY.max_holding_days
        results(decided, day, history)
        day += DAY


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda bars, at: with_value(bars, at, "close", math.nan), "missing"),
        (lambda bars, at: with_value(bars, at, "close", -1.0), "range"),
        (lambda bars, at: pd.concat([bars, bars[bars["timestamp_utc"] == at]], ignore_index=True), "order"),
        (lambda bars, at: bars[bars["timestamp_utc"] <= at - timedelta(days=400)], "empty"),
        (lambda bars, at: bars.assign(timestamp_utc=bars["timestamp_utc"] + timedelta(minutes=5)), "grid"),  # noqa: ARG005
        (lambda bars, at: bars.assign(close=bars["close"].astype(str)), "type"),  # noqa: ARG005
        (lambda bars, at: bars.rename(columns={"close": "last"}), "columns"),  # noqa: ARG005
    ],
    ids=["NaN", "negative", "twice", "none at all", "off the hour", "text", "other columns"],
)  # fmt: skip
def test_bars_that_break_their_contract_refuse_the_day_and_trade_nothing(decided, spoil, rule):
    bars = spoil(hourly(), midnight(NEXT) - timedelta(hours=40))
    if "timestamp_utc" in bars:
        bars = bars[bars["timestamp_utc"] < midnight(NEXT)].reset_index(drop=True)
    held, found = after_a_bad_day(decided, ScriptedHistory(bars))
    assert_carried(held, found)
    states = found["data_pull"]["states"]
    assert rule in {finding["rule"] for finding in states["bars_1h"]["findings"]}
    assert not states["bars_1h"]["used"]
    assert not states["daily_close"]["used"]
    assert states["daily_close"]["rows"] == 0


@pytest.mark.parametrize(
    "history",
    [
        lambda: ScriptedHistory(settled=settlements().iloc[:0]),
        lambda: ScriptedHistory(levels=None),
        lambda: ScriptedHistory(options=None),
        lambda: ScriptedHistory(settled=settlements().iloc[:0], levels=None, options=None),
        lambda: ScriptedHistory(bars=hourly().assign(volume=math.nan)),
    ],
    ids=["no funding", "no open interest", "no options", "none of them", "no volume"],
)
def test_without_an_optional_series_the_day_is_decided(store, history):
    found = results(store, TODAY, history())
    assert found["data_pull"]["refusal"] == ""
    assert found["regime_gate"]["day"]["probability"] is not None
    absent = {name: state for name, state in found["data_pull"]["states"].items() if not state["rows"]}
    assert all(state["absence"] for state in absent.values())
    assert differing(store, TODAY) == set()


def bad_funding():
    return with_value(settlements(), midnight(TODAY - 20 * DAY), "funding_rate", math.nan)


def bad_interest():
    return with_value(interest(), midnight(TODAY - 20 * DAY), "oi_usd", 0.0)


def bad_surface():
    return with_value(surface(), midnight(TODAY - 20 * DAY), "rr25d", math.inf)


@pytest.mark.parametrize(
    ("table", "history", "column"),
    [
        ("funding_24h", lambda: ScriptedHistory(settled=bad_funding()), "funding_24h"),
        ("oi_24h", lambda: ScriptedHistory(levels=bad_interest()), "oi_pct_delta"),
        ("options_moves", lambda: ScriptedHistory(options=bad_surface()), "rr25d_delta"),
    ],
)
def test_an_optional_series_that_breaks_its_contract_is_left_out_and_named(store, table, history, column):
    found = results(store, TODAY, history())
    state = found["data_pull"]["states"][table]
    assert found["data_pull"]["refusal"] == ""
    assert not state["used"]
    assert state["findings"]
    assert found["feature_extraction"]["known"]["features"][column] is None


@pytest.mark.parametrize(
    ("missing", "rules", "known"),
    [({5}, {"gap"}, True), ({2}, {"late", "stale"}, True), ({1, 2, 3, 4}, {"late", "stale"}, False)],
)
def test_an_optional_series_with_a_gap_is_carried_for_two_days(store, missing, rules, known):
    levels = interest()
    levels = levels[~levels["date_utc"].isin([midnight(TODAY - back * DAY) for back in missing])]
    found = results(store, TODAY, ScriptedHistory(levels=levels.reset_index(drop=True)))
    state = found["data_pull"]["states"]["oi_24h"]
    assert state["used"]
    assert {finding["rule"] for finding in state["findings"]} == rules
    assert (found["feature_extraction"]["known"]["features"]["oi_pct_delta"] is not None) is known


@pytest.mark.parametrize("name", ["bars", "funding"])
def test_a_source_that_does_not_answer_leaves_nothing_behind_and_is_asked_again(store, name):
    before = store.contents()
    with pytest.raises(MarketError, match="does not answer"):
        results(store, TODAY, ScriptedHistory(failing={name}))
    left = {key for key in store.contents() if key not in before}
    assert not any("/decisions/" in key for key in left)
    assert results(store, TODAY)["data_pull"]["refusal"] == ""
    clean = decided_from(store_of_models=before)
    assert store.contents() == clean


def decided_from(store_of_models):
    store = MemoryStore()
    for key, data in store_of_models.items():
        store.write(key, data)
    results(store, TODAY)
    return store.contents()


def test_a_bar_that_is_late_at_midnight_is_waited_for_and_ten_minutes_later_no_more(store):
    bars = hourly()
    late = ScriptedHistory(bars[bars["timestamp_utc"] < midnight(TODAY) - timedelta(hours=1)].reset_index(drop=True))
    early = ManualClock(midnight(TODAY) + timedelta(minutes=9, seconds=59))
    with pytest.raises(MarketError, match="not complete yet"):
        pull_source(research_on(TODAY, store, late, early), SYMBOL, TODAY, "bars_1h")
    early.sleep(1)
    document = pull_source(research_on(TODAY, store, late, early), SYMBOL, TODAY, "bars_1h")
    assert [finding["rule"] for finding in document["findings"]] == ["late"]


def test_models_of_the_fold_before_serve_where_training_has_holes_and_replay_keeps_them(trained_store):
    store, first = trained_store.copy(), FOLD.test_end
    # Of the new window only: more than a tenth of its days are gone.
    holed = ScriptedHistory(without_hours(hourly(), midnight(FOLD.train_end - 30 * DAY), 24 * 30))
    found = results(store, first, holed)
    assert found["data_pull"]["model_fold"]["test_start"] == FOLD.name
    # Repaired since then: new models can be trained, but this decision was made with the old ones.
    assert differing(store, first) == set()
    assert not [key for key in store.contents() if f"/models/{first}" in key]
    with pytest.raises(BadInput):
        trained(research_on(first, MemoryStore(), holed), SYMBOL, first)


# --- two processes at once -----------------------------------------------------------------------------------------


class Racing(MemoryStore):
    """Right before a key's first ``create`` another process creates it."""

    def __init__(self, inner, racer):
        super().__init__()
        self._objects, self._racer, self._done = inner._objects, racer, set()

    def create(self, key, data):
        if key not in self._done and key not in self._objects:
            self._done.add(key)
            super().create(key, self._racer(key, data))
        return super().create(key, data)


def test_two_processes_that_decide_at_once_agree(store, decided_store):
    results(Racing(store, lambda _, data: data), TODAY)
    alone = MemoryStore()
    alone._objects = dict(store._objects)
    assert differing(alone, TODAY) == set()
    for step in STEPS:
        key = archive.step_key("SIMULATED", SYMBOL, TODAY, step)
        assert store.read(key).data == decided_store.read(key).data


def test_the_loser_of_a_race_goes_on_with_what_the_winner_stored(store):
    """The winner pulled at another minute: its document differs, and decides."""

    def winner(key, data):
        if key == archive.source_key("SIMULATED", SYMBOL, TODAY, "bars_1h"):
            return dump_document(json.loads(data) | {"pulled_utc": "2024-10-27T00:00:01.000000+00:00"})
        return data

    document = pull_source(research_on(TODAY, Racing(store, winner)), SYMBOL, TODAY, "bars_1h")
    assert document["pulled_utc"] == "2024-10-27T00:00:01.000000+00:00"
    results(store, TODAY)
    assert differing(store, TODAY) == set()


def test_two_machines_that_train_one_fold_to_other_last_bits_leave_whole_models(monkeypatch):
    """The second writes its parts after the first wrote its own and before the first's manifest."""
    store, honest = MemoryStore(), model_store.train_models

    def elsewhere(*arguments):
        models = honest(*arguments)
        return replace(models, usual_funding=models.usual_funding * (1 + 1e-15))

    class Between(MemoryStore):
        raced = False

        def create(self, key, data):
            if key.endswith("/manifest.json") and not self.raced:
                self.raced = True
                with monkeypatch.context() as patch:
                    patch.setattr(model_store, "train_models", elsewhere)
                    trained(research_on(TODAY, store), SYMBOL, TODAY)
            return super().create(key, data)

    between = Between()
    between._objects = store._objects
    models, manifest = trained(research_on(TODAY, between), SYMBOL, TODAY)
    assert isinstance(models, Models)
    assert trained(research_on(TODAY, store), SYMBOL, TODAY)[1] == manifest


# --- steps and slippage --------------------------------------------------------------------------------------------


def test_a_step_cannot_run_before_the_one_it_stands_on(store):
    for step in STEPS[1:]:
        with pytest.raises(NotFound):
            run_step(research_on(TODAY, store), SYMBOL, TODAY, step)


def test_every_source_has_a_document_even_where_it_has_no_table(decided):
    for name in SOURCES:
        document = archive.read_document(decided, archive.source_key("SIMULATED", SYMBOL, LAST, name))
        assert document["tables"] or document["absence"]
    slippage = archive.read_document(decided, archive.source_key("SIMULATED", SYMBOL, LAST, "slippage_log"))
    assert slippage["absence"] == "the desk has not traded this symbol yet"


def traded_desk(folder, spread="90"):
    parts = Parts(market_of({"BTCUSDT": "90000", "ETHUSDT": "3000"}), LocalStore(folder))
    parts.market.spread = D(spread)
    parts.tick()
    parts.execute({"BTC_USDT": ("600000", 1), "ETH_USDT": ("-300000", -1)})
    return parts


def test_the_slippage_log_is_the_desks_fills_against_their_marks(tmp_path):
    parts = traded_desk(tmp_path)
    end = midnight((START + DAY).date())
    bought = slippage_log(parts.store, "BTCUSDT", end)
    sold = slippage_log(parts.store, "ETHUSDT", end)
    fills = [
        fill
        for entry in parts.store.list("rebalances/")
        if entry.key.endswith("/fills.json")
        for fill in parts.document(entry.key)["fills"]
    ]
    assert set(bought["side"]) == {"BUY"}
    assert set(sold["side"]) == {"SELL"}
    for table, symbol, mark in ((bought, "BTCUSDT", 90_000), (sold, "ETHUSDT", 3_000)):
        own = [fill for fill in fills if fill["symbol"] == symbol]
        prices = [float(fill["price"]) for fill in own]
        assert len(table) == len(own) >= 1
        assert table["size"].sum() == pytest.approx(
            sum(abs(float(fill["quantity"])) * price for fill, price in zip(own, prices, strict=True))
        )
        assert (table["est_impact_bp"] > 0).all(), "a spread is paid on either side"
        assert list(table["est_impact_bp"]) == pytest.approx([abs(price / mark - 1) * 1e4 for price in prices])
        assert list(table["date_utc"]) == [pd.Timestamp(START.date(), tz="UTC")] * len(own)
    assert contracts.check(bought, contracts.SLIPPAGE_LOG, end) == []


def test_a_fill_counts_from_the_midnight_after_it(tmp_path):
    parts = traded_desk(tmp_path)
    assert slippage_log(parts.store, "BTCUSDT", midnight(START.date())).empty
    assert slippage_log(parts.store, "BTCUSDT", START).empty
    assert slippage_log(parts.store, "SOLUSDT", midnight((START + DAY).date())).empty
    assert not slippage_log(parts.store, "BTCUSDT", midnight((START + DAY).date())).empty


def test_a_fill_better_than_its_mark_has_negative_impact(tmp_path):
    parts = traded_desk(tmp_path, spread="-45")
    table = slippage_log(parts.store, "BTCUSDT", midnight((START + DAY).date()))
    assert (table["est_impact_bp"] < 0).all()


# --- recorded bitcoin ----------------------------------------------------------------------------------------------

RECORDED = Settings().test_data


@pytest.mark.real_data
@pytest.mark.skipif(not (RECORDED / "bars_1h").is_dir(), reason=f"no recorded market data in {RECORDED}")
def test_a_recorded_day_is_decided_and_replayed_exactly():
    from assets.research.configuration import ResearchConfiguration

    day = date(2024, 3, 14)
    # The desk's own configuration but for the networks of the exit rule, whose training takes most of a minute.
    configuration = ResearchConfiguration(exits=TINY.exits)
    history = open_history(Settings(history=f"recorded:{RECORDED}"))
    store = MemoryStore()
    research = replace(research_on(day, store, configuration=configuration), history=history)
    found = {name: document["result"] for name, document in decide_day(research, SYMBOL, day).items()}
    assert found["data_pull"]["refusal"] == ""
    assert 0 <= found["regime_gate"]["day"]["probability"] <= 1
    assert datetime.fromisoformat(found["data_pull"]["as_of"]) == midnight(day) - timedelta(hours=1)
    assert [each for each in replay(research, SYMBOL, day) if each.differences] == []
    assert leaked_features(research, SYMBOL, day) == []
    assert bound_violations(research, SYMBOL, day) == []
