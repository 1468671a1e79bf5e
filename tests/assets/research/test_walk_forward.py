"""A fold decided day by day: its sums, what it may see, and that every engine computes the same."""

import itertools
import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from assets.research import walk_forward
from assets.research.archive import dump_value
from assets.research.bad_input import BadInput
from assets.research.decision import decide
from assets.research.models import train_models
from assets.research.stopping.exits import ExitConfig
from assets.research.validation import accept
from assets.research.walk_forward import (
    Computed,
    Refused,
    Tables,
    decisions_of,
    fold_tables,
    judge,
    panel_of,
    plan,
    recent,
    run_fold,
    run_folds,
)
from resources.documents import dump_document
from tests.research_parts import SYMBOL, TINY, ScriptedHistory, hourly, midnight, with_value, without_hours

DAY = timedelta(days=1)
RATE = (TINY.fee_bp + TINY.slippage_bp) * 1e-4
EXITS = ExitConfig("longstaff_schwartz", paths=1024, continuation_paths=64, outer=4, inner=4)


@pytest.fixture(scope="module", autouse=True)
def _quick_exits():
    """Rules from few paths; processes of a pool, which load the module anew, have the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk_forward, "VALIDATION_EXITS", EXITS)
        yield


@pytest.fixture(scope="module")
def tables():
    return ScriptedHistory().tables()


@pytest.fixture(scope="module")
def folds(tables):
    return plan(tables.bars_1h, TINY)


@pytest.fixture(scope="module")
def computed(tables, folds):
    """The last fold with everything between: panel, models, decisions and result."""
    panel = panel_of(SYMBOL, fold_tables(tables, folds[-1]))
    models = train_models(panel.features, panel.outcomes, folds[-1], TINY, EXITS)
    decisions = decisions_of(panel, models, TINY)
    return panel, models, decisions, judge(panel, models, decisions, TINY)


def as_bytes(result):
    return dump_document({"result": dump_value(result)})


def fold_bytes(tables, fold):
    return as_bytes(run_fold(SYMBOL, tables, fold, TINY).result)


def test_the_plan_is_every_fold_that_the_bars_hold_whole(tables, folds):
    first, last = tables.bars_1h["timestamp_utc"].iloc[[0, -1]]
    assert len(folds) >= 4
    for fold in folds:
        assert pd.Timestamp(fold.train_start, tz="UTC") - walk_forward.LOOK_BACK >= first
        assert pd.Timestamp(fold.test_end, tz="UTC") <= last + pd.Timedelta(hours=1)
    assert folds[-1].test_end + 10 * DAY > last.date(), "the next one is not whole yet"
    assert plan(tables.bars_1h.iloc[:0], TINY) == []
    assert plan(tables.bars_1h.iloc[: 24 * 200], TINY) == []


def test_an_hour_less_than_the_last_fold_needs_is_a_fold_less(tables, folds):
    times = tables.bars_1h["timestamp_utc"]
    whole = tables.bars_1h[times < midnight(folds[-1].test_end)]
    assert plan(whole, TINY) == folds
    assert plan(whole.iloc[:-1], TINY) == folds[:-1]


def test_the_fold_traded_so_that_the_sums_below_say_something(computed):
    *_, result = computed
    assert result.performance.traded_days >= 4
    assert {day.exit for day in result.days} >= {"FLAT"}
    assert {day.gate for day in result.days} == {"RISK-ON", "GATE-OFF"}


def test_daily_returns_compound_to_the_books_equity_less_the_closing_cost(computed):
    _, _, decisions, result = computed
    for before, after, day in zip(decisions, decisions[1:], result.days, strict=False):
        grown = after.marked.equity / before.marked.equity
        assert 1 + day.net_return == pytest.approx(grown, rel=1e-12)
    last = decisions[-1].settlement.book
    final = last.equity * (1 + (result.days[-1].net_return + 1) / (1 - result.days[-1].cost) - 1)
    closing = (1 - result.days[-1].cost) / (1 - decisions[-1].settlement.cost)
    product = math.prod(1 + day.net_return for day in result.days)
    assert product == pytest.approx(final * closing, rel=1e-12)
    assert result.performance.total_return == pytest.approx(product - 1, rel=1e-9)


def test_every_day_is_price_times_exposure_less_funding_and_cost_by_hand(computed, tables):
    *_, result = computed
    close = tables.bars_1h.set_index("timestamp_utc")["close"]
    settled = tables.funding_settlements.set_index("timestamp_utc")["funding_rate"]
    held = 0.0
    for day in result.days:
        at = pd.Timestamp(day.day, tz="UTC")
        hour, whole = pd.Timedelta(hours=1), pd.Timedelta(days=1)
        change = close[at + whole - hour] / close[at - hour] - 1
        paid = settled[at : at + whole - hour].sum()
        cost = abs(day.exposure - held) * RATE
        if day is result.days[-1]:
            cost += abs(day.exposure) * RATE
        assert day.closing == (-day.exposure if day is result.days[-1] else 0)
        assert day.asset_return == pytest.approx(change, rel=1e-9)
        assert day.asset_funding == pytest.approx(paid, rel=1e-9)
        assert day.trade == pytest.approx(day.exposure - held, abs=1e-15)
        assert day.cost == pytest.approx(cost, abs=1e-15)
        assert day.net_return == pytest.approx((1 - cost) * (1 + day.exposure * (change - paid)) - 1, abs=1e-12)
        held = day.exposure


def test_a_position_that_is_open_at_the_end_pays_for_its_closing(computed):
    panel, models, decisions, _ = computed
    (last, *_) = [n for n, decision in enumerate(decisions) if decision.settlement.book.exposure]
    day = judge(panel, models, decisions[: last + 1], TINY).days[-1]
    held = decisions[last].settlement.book.exposure
    assert day.exposure == held != 0
    assert day.cost == pytest.approx((abs(day.trade) + abs(held)) * RATE)
    later = judge(panel, models, decisions[: last + 2], TINY).days[last]
    assert later.cost == pytest.approx(abs(day.trade) * RATE), "not yet at the end it is not closed"
    assert later.net_return > day.net_return


def test_performance_is_recomputed_from_the_days(computed):
    *_, result = computed
    net = np.array([day.net_return for day in result.days])
    held = np.array([day.exposure for day in result.days])
    found, equity = result.performance, np.cumprod(1 + net)
    active = (held != 0) | np.array([day.trade != 0 for day in result.days])
    wins, losses = net[active & (net > 0)], net[active & (net < 0)]
    assert found.days == len(result.days) == TINY.scheme.test_days
    enough = active.sum() >= 5
    assert found.traded_days == active.sum()
    assert found.hit_rate == (pytest.approx(len(wins) / active.sum()) if enough else None)
    assert found.payoff == (pytest.approx(wins.mean() / -losses.mean()) if enough and len(losses) else None)
    assert found.sharpe is None, "ten days are too few"
    assert found.max_drawdown == pytest.approx(max(0, *(1 - equity / np.maximum(1, np.maximum.accumulate(equity)))))
    assert found.gate_off == pytest.approx(np.mean([day.gate != "RISK-ON" for day in result.days]))
    assert found.costs == pytest.approx(sum(day.cost + day.funding for day in result.days))
    assert found.turnover == pytest.approx(sum(abs(day.trade) for day in result.days) + abs(result.days[-1].exposure))
    assert found.unfunded_days == 0
    assert result.cost_gaps == ""
    assert result.verdicts == accept(found)
    assert result.accepted == all(verdict.passed for verdict in result.verdicts)


def test_buy_and_hold_is_the_asset_bought_once_and_sold_once(computed):
    *_, result = computed
    growth = math.prod(1 + day.asset_return - day.asset_funding for day in result.days)
    # Each cost is taken before its day's return is earned.
    expected = growth * (1 - RATE) ** 2 - 1
    assert result.buy_and_hold.total_return == pytest.approx(expected, rel=1e-9)
    assert result.buy_and_hold.traded_days == result.buy_and_hold.days
    assert result.buy_and_hold.gate_off == 0


def test_the_trade_that_closes_a_position_at_the_end_counts_as_turnover(computed):
    panel, models, decisions, _ = computed
    # Up to a day after which something is held.
    count = max(n for n, decision in enumerate(decisions) if decision.settlement.book.exposure != 0) + 1
    result = judge(panel, models, decisions[:count], TINY)
    last = result.days[-1]
    assert last.closing == -last.exposure != 0
    trades = [day.trade for day in result.days]
    assert sum(trades) + last.closing == pytest.approx(0, abs=1e-12), "it ends flat"
    assert result.performance.turnover == pytest.approx(sum(map(abs, trades)) + abs(last.exposure))
    assert result.buy_and_hold.turnover == 2


def test_a_fold_without_the_funding_of_a_held_day_is_not_accepted_whatever_it_earned(computed, monkeypatch):
    panel, models, decisions, whole = computed
    monkeypatch.setattr(walk_forward, "accept", lambda _: ())
    assert judge(panel, models, decisions, TINY).accepted, "no criterion, no cost missing"
    held = [day.day for day in whole.days if day.exposure != 0]
    idle = [day.day for day in whole.days if day.exposure == 0]
    for missing, count in ((held[:1], 1), (held[:3] + idle, 3)):
        funding = {day: rate for day, rate in panel.funding.items() if day not in missing}
        found = judge(replace(panel, funding=funding), models, decisions, TINY)
        assert found.performance.unfunded_days == count
        assert found.cost_gaps == f"funding unknown on {count} traded days"
        assert not found.accepted
        assert found.buy_and_hold.unfunded_days == len(missing)
    idle_only = {day: rate for day, rate in panel.funding.items() if day not in idle}
    found = judge(replace(panel, funding=idle_only), models, decisions, TINY)
    assert (found.cost_gaps, found.accepted) == ("", True), "a flat book owes nothing"


def test_the_book_starts_flat_and_each_decision_continues_the_one_before(computed):
    panel, models, decisions, _ = computed
    assert [decision.day for decision in decisions] == [models.fold.test_start + n * DAY for n in range(10)]
    assert decisions[0].marked.equity == 1
    for before, after in itertools.pairwise(decisions):
        assert after.marked.exposure == before.settlement.book.exposure
    again = decide(
        panel.known(decisions[4].day),
        decisions[3].settlement.book,
        models,
        decisions[4].gate.day.probability,
        decisions[4].gate.effective_sample_size,
        TINY.preferences.impact_per_trade,
        TINY,
    )
    assert again == decisions[4]


# --- what a fold may see -------------------------------------------------------------------------------------------


def cut(tables, end):
    """Everything that was known at ``end``."""
    return tables.known_at(end)


def poisoned(tables, end):
    """Everything after ``end`` is another market."""
    other, at = hourly(seed=99), midnight(end)
    bars = tables.bars_1h.copy()
    late = bars["timestamp_utc"] >= at
    bars.loc[late, "close"] = other.loc[late, "close"] * 3
    funding = tables.funding_settlements.copy()
    funding.loc[funding["timestamp_utc"] >= at, "funding_rate"] = 0.05
    rest = [table.copy() for table in (tables.oi_24h, tables.options_moves)]
    for table in rest:
        table.loc[table["date_utc"] >= at, table.columns[1:]] = 77.0
    return Tables(bars, funding, *rest)


@pytest.mark.parametrize("change", [cut, poisoned])
def test_later_data_change_no_bit_of_a_fold(tables, folds, change):
    fold = folds[1]
    assert fold_bytes(change(tables, fold.test_end), fold) == fold_bytes(tables, fold)


def test_earlier_history_changes_no_bit_of_a_fold(tables, computed):
    *_, result = computed
    start = pd.Timestamp(result.fold.train_start, tz="UTC") - walk_forward.LOOK_BACK
    shorter = Tables(
        *(
            table[table.iloc[:, 0] >= start].reset_index(drop=True)
            for table in (tables.bars_1h, tables.funding_settlements, tables.oi_24h, tables.options_moves)
        )
    )
    assert len(shorter.bars_1h) < len(tables.bars_1h)
    assert fold_bytes(shorter, result.fold) == as_bytes(result)


def test_data_after_a_decision_change_no_bit_of_it(tables, computed):
    """The day's probability, bias and trade are those of a history that ends at its 00:00 or goes on otherwise."""
    _, models, decisions, _ = computed
    for index in (2, 6):
        day = decisions[index].day
        for history in (cut(tables, day), poisoned(tables, day)):
            pieces = fold_tables(history, models.fold)
            panel = panel_of(SYMBOL, pieces)
            until = [each for each in decisions if each.day <= day]
            returns = walk_forward.filter_returns(panel.features, models.fold, day, TINY)
            path, book = models.filter(returns, TINY), walk_forward.first_book(models.fold.test_start)
            sizes = zip(path.probability[-len(until) :], path.ess[-len(until) :], strict=True)
            for expected, (probability, size) in zip(until, sizes, strict=True):
                found = decide(
                    panel.known(expected.day), book, models, float(probability), float(size),
                    TINY.preferences.impact_per_trade, TINY,
                )  # fmt: skip
                assert found == expected
                book = found.settlement.book


def test_what_is_known_on_a_day_holds_nothing_later(computed):
    panel, _, decisions, _ = computed
    for decision in decisions:
        known = panel.known(decision.day)
        assert max(known.log_close) == decision.day
        assert max(known.funding) == decision.day - DAY
        assert len(known.log_close) == walk_forward.MEMORY_DAYS + 1


def test_closes_and_funding_reach_back_as_far_as_a_book_may_be_left_unmarked():
    series = {date(2024, 1, 1) + n * DAY: float(n) for n in range(200) if n != 150}
    found = recent(series, date(2024, 1, 1) + 170 * DAY)
    assert min(found) == date(2024, 1, 1) + (170 - walk_forward.MEMORY_DAYS) * DAY
    assert len(found) == walk_forward.MEMORY_DAYS


# --- folds that cannot be computed ---------------------------------------------------------------------------------


def test_a_hole_in_the_test_window_refuses_the_fold_and_one_in_training_costs_it_its_days(tables, folds):
    at = midnight(folds[0].test_start + 3 * DAY)
    holed = replace(tables, bars_1h=without_hours(tables.bars_1h, at, 2))
    with pytest.raises(BadInput, match=f"{at + DAY:%Y-%m-%d}"):
        run_fold(SYMBOL, holed, folds[0], TINY)
    early = without_hours(tables.bars_1h, midnight(folds[0].train_start), 2)
    short = panel_of(SYMBOL, replace(tables, bars_1h=early))
    whole = panel_of(SYMBOL, tables)
    assert len(short.features) < len(whole.features)
    pd.testing.assert_frame_equal(short.features, whole.features.loc[short.features.index], rtol=0, atol=1e-9)
    assert len(run_fold(SYMBOL, replace(tables, bars_1h=early), folds[0], TINY).result.days) == 10
    nan = Tables(with_value(tables.bars_1h, at, "close", math.nan))
    with pytest.raises(BadInput, match="close"):
        run_fold(SYMBOL, nan, folds[0], TINY)


def test_a_test_window_without_its_last_close_is_refused(tables, folds):
    short = tables.known_at(folds[0].test_end - DAY)
    with pytest.raises(BadInput):
        run_fold(SYMBOL, short, folds[0], TINY)


# --- engines -------------------------------------------------------------------------------------------------------


def test_any_number_of_processes_computes_the_same_bytes_in_the_same_order(tables, folds):
    """A fold with a hole is refused in its place, and so is a piece that never was one."""
    at = midnight(folds[0].test_start + 3 * DAY)
    holed = Tables(without_hours(tables.bars_1h, at, 1), tables.funding_settlements)
    pieces = [(folds[0], holed), (folds[-2], tables), Refused(folds[1], "not there"), (folds[-1], tables)]
    one, two = (list(run_folds(SYMBOL, iter(pieces), TINY, workers)) for workers in (1, 2))
    assert [type(each) for each in one] == [Refused, Computed, Refused, Computed]
    assert one[0] == two[0]
    assert f"{at + DAY:%Y-%m-%d}" in one[0].reason
    assert one[2] == two[2] == Refused(folds[1], "not there")
    for fold, alone, beside in zip((folds[-2], folds[-1]), one[1::2], two[1::2], strict=True):
        assert alone.result.fold == beside.result.fold == fold
        assert as_bytes(alone.result) == as_bytes(beside.result)
        assert alone.features.equals(beside.features)
        assert alone.features.equals(panel_of(SYMBOL, fold_tables(tables, fold)).features), "in this process too"
