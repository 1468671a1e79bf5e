"""The ten steps of one day as functions of what is known: gate, bias, size, risk, exit, settlement."""

import math
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.data.features import FEATURES
from assets.research.decision import (
    MEMORY_DAYS,
    Book,
    Known,
    Position,
    Unfunded,
    decide,
    execution_of,
    feature_row,
    first_book,
    gate_before,
    mark,
)
from assets.research.regime.gate import GateDay
from assets.research.stopping.exits import ExitDecision
from assets.research.trading.coefficients import solve
from assets.research.trading.exposure import Execution, ForecastScale, calibrate_model
from assets.research.trading.impact import advance

START = date(2024, 3, 1)
DAY = timedelta(days=1)
CONFIGURATION = ResearchConfiguration()
COST = (CONFIGURATION.fee_bp + CONFIGURATION.slippage_bp) * 1e-4
LAMBDA = CONFIGURATION.preferences.impact_per_trade
SCALE = ForecastScale(return_per_day=0.001, decay=math.log(2), innovation_variance=1e-7, days=0)
WILD = np.tile([0.02, -0.02], 40)


def execution(impact_per_trade=LAMBDA):
    preferences = replace(CONFIGURATION.preferences, impact_per_trade=impact_per_trade)
    return Execution(solve(calibrate_model(WILD, SCALE, preferences)), SCALE, 1.0, None, None, None)


EXECUTION = execution()
# An impact so strong that its decay alone is worth trading on.
HEAVY = execution(0.01)


@dataclass
class Leaning:
    """Models that lean as told and expect the volatility of the day before."""

    lean: float = 0.0
    execution: Execution = EXECUTION
    usual_funding: float | None = 0.0
    exit_rule: object = None

    def bias(self, features):  # noqa: ARG002
        return self.lean, {"return_1d": self.lean}

    def forecast_volatility(self, features):
        return features["realised_volatility_1d"], {}


@dataclass
class ScriptedRule:
    """An exit rule that stops when told to, and remembers what it was asked."""

    stop: bool = False
    reason: str = "rule"
    asked: list = field(default_factory=list)

    def decide(self, day, state):
        self.asked.append((day, state))
        return ExitDecision(self.stop, self.reason, 0.7, 0.01, 0.02, 0.0, 0.03, 0.0, 0.015, day, 7)


@dataclass
class Market:
    """What each day shows: simple returns since the day before, None for a day without a close, and daily funding."""

    returns: list
    funding: list = field(default_factory=list)
    volatility: float = 0.02

    def __post_init__(self):
        self.log_close, level = {}, math.log(100.0)
        for n, change in enumerate(self.returns):
            level += math.log1p(change or 0.0)
            if change is not None:
                self.log_close[START + n * DAY] = level
        paid = self.funding or [0.0] * len(self.returns)
        self.paid = {START + n * DAY: rate for n, rate in enumerate(paid) if rate is not None}

    def known(self, day, refusal=""):
        closes = {each: close for each, close in self.log_close.items() if each <= day}
        paid = {each: rate for each, rate in self.paid.items() if each < day}
        if day not in closes:
            refusal = refusal or "stale"
        features = {} if refusal else {"realised_volatility_1d": self.volatility}
        return Known(day, features, closes, paid, refusal)


def run(market, leans, probabilities=None, *, models=None, configuration=CONFIGURATION, refusals=None, before=None):
    """The decisions of every day of ``market`` in order."""
    models, book, decisions = models or Leaning(), before or first_book(START), []
    impact = models.execution.coefficients.model.impact_per_trade
    for n, lean in enumerate(leans):
        models.lean = lean
        known = market.known(START + n * DAY, refusals[n] if refusals else "")
        probability = 0.9 if probabilities is None else probabilities[n]
        decision = decide(known, book, models, probability, 500.0, impact, configuration)
        decisions.append(decision)
        book = decision.settlement.book
    return decisions


def exposures(decisions):
    return [decision.settlement.book.exposure for decision in decisions]


def trending(count, change=0.0, **options):
    return Market([change] * count, **options)


# --- gate and bias -------------------------------------------------------------------------------------------------


def test_the_first_day_ever_waits_for_the_second_day_of_calm():
    decisions = run(trending(4), [1.0] * 4)
    assert [decision.gate.day.state for decision in decisions] == ["GATE-OFF", "RISK-ON", "RISK-ON", "RISK-ON"]
    assert decisions[0].bias.value is None
    assert decisions[0].bias.reason == "gate off: day 1 of 2 after OFF"
    assert exposures(decisions)[0] == 0
    assert 0 < exposures(decisions)[1] < exposures(decisions)[2] <= 1


def test_an_off_day_asks_no_classifier_and_takes_exposure_down():
    decisions = run(trending(6), [1.0] * 6, [0.9, 0.9, 0.9, 0.59, 0.9, 0.9])
    held = exposures(decisions)
    assert decisions[3].bias.value is None
    assert decisions[3].bias.attributions == {}
    assert decisions[3].sizing.forecast == 0
    assert 0 <= held[3] < held[2]
    assert held[4] <= held[3], "the first calm day after OFF is off too"
    assert decisions[5].bias.value == 1.0


def test_impact_moves_the_aim_of_a_flat_book_but_a_closed_gate_opens_nothing():
    before = replace(first_book(START), impact=0.02)
    (decision,) = run(trending(1), [0.0], [0.1], models=Leaning(execution=HEAVY), before=before)
    assert abs(decision.sizing.target) > 0.02, "the paper's aim would be worth holding"
    assert decision.settlement.book.exposure == 0
    assert decision.settlement.trade == 0


@st.composite
def histories(draw, missing=True):
    count = draw(st.integers(2, 25))
    move = st.floats(-0.08, 0.08)
    returns = draw(st.lists(move | st.none() if missing else move, min_size=count - 1, max_size=count - 1))
    funding = draw(st.lists(st.floats(-0.003, 0.003), min_size=count, max_size=count))
    leans = draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count))
    probabilities = draw(st.lists(st.floats(0.3, 1.0), min_size=count, max_size=count))
    return Market([0.0, *returns], funding), leans, probabilities


@settings(max_examples=150)
@given(histories(), st.sampled_from([EXECUTION, HEAVY]))
def test_behind_a_closed_gate_exposure_only_falls_and_never_crosses_zero(history, trading):
    held = 0.0
    for decision in run(*history, models=Leaning(execution=trading)):
        now = decision.settlement.book.exposure
        if decision.gate.day.state == "GATE-OFF":
            assert decision.bias.value is None
            assert abs(now) <= abs(held)
            assert now * held >= 0
        held = now


@settings(max_examples=100)
@given(histories())
def test_nothing_is_held_beyond_the_cap_or_below_the_smallest_or_for_longer_than_a_week(history):
    market, leans, probabilities = history
    for decision in run(market, leans, probabilities):
        book = decision.settlement.book
        assert abs(book.exposure) <= CONFIGURATION.exposure_cap
        assert (book.position is None) == (book.exposure == 0)
        if decision.day in market.log_close:
            assert book.exposure == 0 or abs(book.exposure) >= CONFIGURATION.smallest_exposure
            assert book.position is None or (book.day - book.position.opened).days < CONFIGURATION.max_holding_days


def test_inertia_counts_days_in_a_row_only():
    on = GateDay("RISK-ON", 0.9, 2, "")
    book = replace(first_book(START), gate=on)
    assert gate_before(book, START + DAY) is on
    assert gate_before(book, START + 2 * DAY) is None
    after_a_gap = decide(trending(9).known(START + 2 * DAY), book, Leaning(1.0), 0.9, 1.0, LAMBDA, CONFIGURATION)
    assert after_a_gap.gate.day.reason == "day 1 of 2 after OFF"


# --- money ---------------------------------------------------------------------------------------------------------


def equity_by_hand(market, decisions):
    """Cash in fractions of capital, from prices, funding and what was held: nothing of the module's arithmetic."""
    equity, held, since = 1.0, 0.0, None
    for decision in decisions:
        day = decision.day
        if day not in market.log_close:
            continue
        if since is not None:
            days = [since + n * DAY for n in range((day - since).days)]
            growth = math.exp(market.log_close[day]) / math.exp(market.log_close[since])
            equity *= 1 + held * (growth - 1) - held * sum(market.paid[each] for each in days)
        after = decision.settlement.book.exposure
        equity *= 1 - abs(after - held) * COST
        held, since = after, day
    return equity


@settings(max_examples=150)
@given(histories())
def test_equity_is_every_return_funding_and_cost_whatever_days_are_missing(history):
    market, leans, probabilities = history
    decisions = run(market, leans, probabilities)
    book = decisions[-1].settlement.book
    assert book.equity == pytest.approx(equity_by_hand(market, decisions), rel=1e-12)


@settings(max_examples=100)
@given(histories(missing=False))
def test_the_mirrored_market_gives_mirrored_exposures_and_the_same_money(history):
    market, leans, probabilities = history
    mirrored = Market([-change for change in market.returns], [-rate for rate in market.funding])
    decisions = run(market, leans, probabilities)
    others = run(mirrored, [-lean for lean in leans], probabilities)
    assert exposures(others) == pytest.approx([-held for held in exposures(decisions)], abs=1e-9)
    assert others[-1].settlement.book.equity == pytest.approx(decisions[-1].settlement.book.equity, rel=1e-9)
    assert [each.settlement.book.impact for each in others] == pytest.approx(
        [-each.settlement.book.impact for each in decisions], abs=1e-12
    )


def test_a_long_position_pays_positive_funding_and_a_short_one_receives_it():
    for lean, sign in ((1.0, 1), (-1.0, -1)):
        decisions = run(trending(3, funding=[0.001] * 3), [lean] * 3)
        held = exposures(decisions)[1]
        assert math.copysign(1, held) == sign
        assert decisions[2].marked.funding_paid == pytest.approx(held * 0.001)
        assert decisions[2].marked.day_return == pytest.approx(-held * 0.001)


def test_a_trade_costs_fee_and_slippage_of_what_changes_hands():
    configuration = replace(CONFIGURATION, fee_bp=30.0, slippage_bp=10.0)
    decisions = run(trending(3), [1.0, 1.0, 0.0], configuration=configuration)
    first, second = decisions[1].settlement, decisions[2].settlement
    assert first.trade == first.book.exposure
    assert first.cost == pytest.approx(first.trade * 0.004)
    assert second.trade < 0
    assert second.cost == pytest.approx(-second.trade * 0.004)
    assert second.book.equity == pytest.approx((1 - first.cost) * (1 - second.cost))


def test_unknown_funding_is_left_out_and_said():
    decisions = run(trending(3, change=0.01, funding=[0.0, None, 0.0]), [1.0] * 3)
    marked = decisions[2].marked
    assert marked.funding_paid is None
    assert marked.day_return == pytest.approx(exposures(decisions)[1] * 0.01)
    assert "funding unknown since 2024-03-02" in marked.reason
    assert marked.unfunded == decisions[2].settlement.book.unfunded == (Unfunded(START + DAY, exposures(decisions)[1]),)


def funded_late(lean, rates, known_from, moves=None):
    """Decisions of a market in which day n's funding is known at 00:00 of START + known_from[n] (None: never)."""
    market = Market(moves or [0.0] * len(rates), rates)
    book, decisions = first_book(START), []
    for n in range(len(rates)):
        known = market.known(START + n * DAY)
        published = {START + d * DAY for d, at in enumerate(known_from) if at is not None and at <= n}
        known = replace(known, funding={day: rate for day, rate in known.funding.items() if day in published})
        decisions.append(decide(known, book, Leaning(lean), 0.9, 500.0, LAMBDA, CONFIGURATION))
        book = decisions[-1].settlement.book
    return decisions


@pytest.mark.parametrize("lean", [1.0, -1.0])
def test_funding_that_is_known_a_day_late_is_booked_a_day_late_on_what_was_held_then(lean):
    rates = [0.0, 0.001, 0.002, 0.0, 0.0]
    decisions = funded_late(lean, rates, [1, 3, 3, 4, 5])
    held = exposures(decisions)
    assert held[1] != held[2]
    waiting, paying = decisions[2], decisions[3]
    assert (waiting.marked.funding_paid, waiting.marked.day_return) == (None, 0)
    assert waiting.marked.reason == "funding unknown since 2024-03-02"
    expected = held[1] * 0.001 + held[2] * 0.002
    assert math.copysign(1, expected) == lean
    assert paying.marked.funding_paid == pytest.approx(expected, rel=1e-12)
    assert paying.marked.day_return == pytest.approx(-expected, rel=1e-12)
    assert paying.settlement.book.position.earned == pytest.approx(-expected, rel=1e-12)
    assert paying.marked.unfunded == paying.settlement.book.unfunded == ()
    assert paying.marked.reason == "funding booked late since 2024-03-02"
    assert decisions[4].marked.funding_paid == 0, "once only"
    assert decisions[4].marked.reason == ""


@pytest.mark.parametrize("lean", [1.0, -1.0])
def test_several_late_days_are_each_paid_on_their_own_exposure_in_any_order(lean):
    rates = [0.0, 0.001, 0.002, -0.003, 0.004, 0.0, 0.0]
    decisions = funded_late(lean, rates, [1, 6, 5, None, 5, 6, 7])
    held = exposures(decisions)
    assert len({round(each, 9) for each in held[1:5]}) == 4
    owed = [Unfunded(START + n * DAY, held[n]) for n in range(7)]
    assert decisions[4].marked.unfunded == tuple(owed[1:4])
    assert decisions[4].marked.reason == "funding unknown since 2024-03-02, 3 days"
    assert decisions[5].marked.funding_paid == pytest.approx(held[2] * 0.002 + held[4] * 0.004)
    assert decisions[5].marked.unfunded == (owed[1], owed[3])
    said = "funding unknown since 2024-03-02, 2 days; funding booked late since 2024-03-03"
    assert decisions[5].marked.reason == said
    assert decisions[6].marked.funding_paid == pytest.approx(held[1] * 0.001)
    assert decisions[6].settlement.book.unfunded == (owed[3],)
    assert "funding unknown since 2024-03-04" in decisions[6].marked.reason


def test_funding_that_is_never_known_stays_owed_and_is_written_off_when_it_cannot_come_any_more():
    book = Book(START, START, 0.5, Position(START, 0.0, 0.0), 1.0, 0.0, None, None)
    held = trending(3, funding=[None] * 3)
    marked = mark(book, held.known(START + DAY))
    assert marked.unfunded == (Unfunded(START, 0.5),)
    idle = Book(START + DAY, START + DAY, 0.0, None, 1.0, 0.0, None, None, marked.unfunded)
    for days in (2, MEMORY_DAYS):
        kept = mark(idle, Known(START + days * DAY, {}, {}, {}))
        assert (kept.unfunded, kept.funding_paid, kept.equity) == (idle.unfunded, None, 1.0)
        assert kept.reason == "funding unknown since 2024-03-01"
    gone = mark(idle, Known(START + (MEMORY_DAYS + 1) * DAY, {}, {}, {}))
    assert (gone.unfunded, gone.equity) == ((), 1.0)
    assert gone.reason == "funding written off since 2024-03-01"


def test_a_flat_book_owes_no_funding_and_pays_what_an_earlier_position_left():
    flat = mark(first_book(START), Known(START + 2 * DAY, {}, {START: 1.0, START + 2 * DAY: 1.1}, {}))
    assert (flat.unfunded, flat.funding_paid, flat.reason) == ((), 0, "")
    owing = replace(first_book(START), unfunded=(Unfunded(START - DAY, 0.5),))
    for closes in ({}, {START: 1.0, START + DAY: 1.1}):
        paid = mark(owing, Known(START + DAY, {}, closes, {START - DAY: 0.01}))
        assert (paid.day_return, paid.equity, paid.unfunded) == (-0.005, 0.995, ())


def test_late_funding_of_an_earlier_position_is_the_books_loss_and_not_the_new_positions():
    late = (Unfunded(START - 2 * DAY, 0.4), Unfunded(START, -0.5))
    book = Book(START + DAY, START + DAY, -0.5, Position(START, 0.0, 0.0), 1.0, 0.0, None, None, late)
    closes = {START + DAY: 1.0, START + 2 * DAY: 1.0}
    paid = dict.fromkeys([START - 2 * DAY, START, START + DAY], 0.01)
    marked = mark(book, Known(START + 2 * DAY, {}, closes, paid))
    assert marked.day_return == pytest.approx(-0.004 + 0.005 + 0.005)
    assert marked.position.earned == pytest.approx(0.005 + 0.005)


def test_funding_owed_waits_where_there_is_no_price_to_mark_by():
    owing = (Unfunded(START - DAY, 0.5),)
    book = Book(START, START, 0.5, Position(START - DAY, 0.0, 0.0), 1.0, 0.0, None, None, owing)
    blind = mark(book, Known(START + DAY, {}, {START: 1.0}, {START - DAY: 0.01, START: 0.02}))
    assert (blind.day_return, blind.funding_paid, blind.unfunded) == (None, None, owing)
    closes = {START: 1.0, START + 2 * DAY: 1.0}
    funding = {START - DAY: 0.01, START: 0.02, START + DAY: 0.03}
    seen = mark(book, Known(START + 2 * DAY, {}, closes, funding))
    assert seen.funding_paid == pytest.approx(0.5 * (0.01 + 0.02 + 0.03))


@settings(max_examples=100)
@given(histories(missing=False), st.data())
def test_whenever_funding_becomes_known_a_book_pays_each_held_day_exactly_once(history, data):
    market, leans, probabilities = history
    count = len(leans)
    delay = data.draw(st.lists(st.integers(0, 4) | st.none(), min_size=count, max_size=count))
    book, paid = first_book(START), []
    held = []
    for n, lean in enumerate(leans):
        known = market.known(START + n * DAY)
        seen = {
            day: rate
            for day, rate in known.funding.items()
            if (late := delay[(day - START).days]) is not None and (day - START).days + 1 + late <= n
        }
        decision = decide(
            replace(known, funding=seen), book, Leaning(lean), probabilities[n], 1.0, LAMBDA, CONFIGURATION
        )
        paid.append(decision.marked.funding_paid or 0.0)
        book = decision.settlement.book
        held.append(book.exposure)
    owed = {each.day: each.exposure for each in book.unfunded}
    days = [START + n * DAY for n in range(count - 1)]
    due = sum(share * market.paid[day] for day, share in zip(days, held, strict=False) if day not in owed)
    assert sum(paid) == pytest.approx(due, abs=1e-12)
    unknown = {day: share for n, (day, share) in enumerate(zip(days, held, strict=False))
               if share != 0 and (delay[n] is None or n + 1 + delay[n] > count - 1)}  # fmt: skip
    assert owed == unknown


# --- days without data ---------------------------------------------------------------------------------------------


def test_without_a_price_nothing_is_traded_and_the_period_is_marked_in_full_later():
    market = Market([0.0, 0.0, None, None, 0.10], [0.0, 0.001, 0.002, 0.003, 0.0])
    decisions = run(market, [1.0] * 5)
    held = exposures(decisions)[1]
    for blind in decisions[2:4]:
        assert (blind.gate.day.state, blind.gate.day.reason) == ("GATE-OFF", "stale")
        assert (blind.settlement.trade, blind.settlement.cost) == (0.0, 0.0)
        assert blind.settlement.book.exposure == held
        assert blind.settlement.book.marked == START + DAY
        assert blind.marked.day_return is None
        assert blind.risk.state == "REDUCING"
    after = decisions[4].marked
    assert after.through == START + 4 * DAY
    assert after.asset_return == pytest.approx(0.10)
    assert after.day_return == pytest.approx(held * 0.10 - held * 0.006)
    assert decisions[4].settlement.book.equity == pytest.approx(equity_by_hand(market, decisions))


def test_refused_features_with_a_price_close_the_gate_and_still_let_the_position_shrink():
    decisions = run(trending(4, 0.01), [1.0] * 4, refusals=["", "", "", "a gap three weeks ago"])
    last, held = decisions[3], exposures(decisions)
    assert last.gate.day.reason == "a gap three weeks ago"
    assert last.marked.day_return == pytest.approx(held[2] * 0.01)
    assert 0 <= held[3] < held[2]
    assert last.volatility.forecast is None
    assert last.risk.state == "REDUCING"


def test_a_position_is_left_on_the_day_of_the_cap_even_where_features_are_refused():
    decisions = run(trending(9), [1.0] * 9, refusals=[""] * 8 + ["a gap"])
    opened = START + DAY
    assert decisions[8].exit.decision == "STOP"
    assert decisions[8].day - opened == CONFIGURATION.max_holding_days * DAY
    assert exposures(decisions)[8] == 0


def test_a_flat_book_whose_close_never_comes_goes_on():
    market = Market([None, 0.01, 0.01, 0.01])
    decisions = run(market, [1.0] * 4)
    assert decisions[1].marked.day_return == 0
    assert decisions[1].risk.state == "ACTIVE", "it would be REDUCING for ever"
    assert exposures(decisions)[2] > 0
    assert decisions[3].marked.day_return == pytest.approx(exposures(decisions)[2] * 0.01)


def test_a_book_of_a_later_day_is_refused():
    with pytest.raises(BadInput, match="the book is of 2024-03-03"):
        mark(first_book(START + 2 * DAY), trending(3).known(START + DAY))


# --- risk and exits ------------------------------------------------------------------------------------------------


def test_a_hard_stop_halts_closes_and_ends_by_itself():
    market = Market([0.0, 0.0, 0.0, -0.12, 0.0, 0.0, 0.0, 0.0])
    decisions = run(market, [1.0] * 8)
    states, held = [decision.risk.state for decision in decisions], exposures(decisions)
    assert held[2] * 0.12 > CONFIGURATION.limits.hard_stop
    assert states == ["ACTIVE"] * 3 + ["HALTED"] * 3 + ["ACTIVE"] * 2
    assert held[3:6] == [0, 0, 0]
    assert held[6] > 0
    assert "HALTED" in decisions[3].settlement.reason


def test_a_bad_day_stops_additions_and_no_flip_passes_a_reducing_day():
    market = Market([0.0, 0.0, 0.0, -0.055, 0.0])
    decisions = run(market, [0.9, 0.9, 0.9, 0.9, 0.9])
    held = exposures(decisions)
    loss = -decisions[3].marked.day_return
    assert CONFIGURATION.limits.daily_loss <= loss < CONFIGURATION.limits.hard_stop
    assert decisions[3].risk.state == "REDUCING"
    assert held[3] == held[2], "it would have grown"
    flipped = run(market, [0.9, 0.9, 0.9, -0.9, -0.9])
    assert exposures(flipped)[3] == 0
    assert exposures(flipped)[4] < 0


def test_a_flip_opens_a_new_position_with_nothing_earned_yet():
    decisions = run(trending(5, 0.01), [1.0, 1.0, 1.0, -1.0, -1.0])
    books = [decision.settlement.book for decision in decisions]
    assert books[2].position.opened == START + DAY
    assert books[2].position.earned == pytest.approx(books[1].exposure * 0.01)
    assert books[2].position.unrealised_return == pytest.approx(0.01)
    assert books[3].exposure < 0
    assert books[3].position == Position(START + 3 * DAY, 0.0, 0.0)
    assert books[4].position.unrealised_return == pytest.approx(-0.01)


def test_the_cap_ends_a_position_on_its_seventh_day_and_the_next_day_may_open_another():
    decisions = run(trending(11), [1.0] * 11)
    held = exposures(decisions)
    assert [decision.exit.day for decision in decisions[1:9]] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [decision.exit.decision for decision in decisions] == ["FLAT"] * 2 + ["HOLD"] * 6 + ["STOP", "FLAT", "HOLD"]
    assert held[8] == 0
    assert all(held[n] > 0 for n in (1, 2, 3, 4, 5, 6, 7, 9, 10))
    assert decisions[8].settlement.reason == "held for 7 days, the cap"


def test_the_exit_rule_is_asked_about_the_position_from_its_own_side():
    for lean in (1.0, -1.0):
        rule = ScriptedRule()
        models = Leaning(exit_rule=rule)
        decisions = run(Market([0.0, 0.0, lean * 0.03]), [lean] * 3, models=models)
        ((day, state),) = rule.asked
        assert day == 1
        assert state.unrealised_return == pytest.approx(0.03)
        assert state.forecast == pytest.approx(SCALE.return_per_day)
        assert state.daily_volatility == 0.02
        found = decisions[2].exit
        assert (found.decision, found.confidence, found.lower, found.upper) == ("HOLD", 0.7, 0.02, 0.03)


@pytest.mark.parametrize(("reason", "said"), [("rule", "exit rule"), ("hard_stop", "position stop")])
def test_a_rule_that_stops_closes_the_position_whatever_the_bias(reason, said):
    decisions = run(trending(3), [1.0] * 3, models=Leaning(exit_rule=ScriptedRule(True, reason)))
    assert decisions[2].exit.decision == "STOP"
    assert (exposures(decisions)[2], decisions[2].settlement.reason) == (0, said)
    assert decisions[2].settlement.book.position is None


def test_the_rule_is_not_asked_where_there_is_no_volatility_or_no_position():
    rule = ScriptedRule()
    run(trending(2), [0.0] * 2, models=Leaning(exit_rule=rule))
    decisions = run(trending(3), [1.0] * 3, models=Leaning(exit_rule=rule), refusals=["", "", "a gap"])
    assert rule.asked == []
    assert (decisions[2].exit.decision, decisions[2].exit.reason) == ("HOLD", "a gap")


def test_less_than_the_smallest_exposure_is_not_held():
    position = Position(START - DAY, 0.0, 0.0)
    before = Book(START - DAY, START - DAY, 0.012, position, 1.0, 0.0, None, None)
    market = trending(1)
    market.log_close[START - DAY] = market.log_close[START]
    (decision,) = run(market, [0.0], [0.1], before=before)
    assert 0 < decision.execution.planned < CONFIGURATION.smallest_exposure
    assert (decision.settlement.book.exposure, decision.settlement.reason) == (0, "below the smallest exposure")


def test_impact_follows_what_was_traded_not_what_was_planned():
    decisions = run(trending(3), [1.0] * 3, models=Leaning(exit_rule=ScriptedRule(True)))
    model, last = EXECUTION.coefficients.model, decisions[2]
    expected = advance(
        decisions[1].settlement.book.impact,
        -exposures(decisions)[1],
        1.0,
        impact_per_trade=model.impact_per_trade,
        impact_decay=model.impact_decay,
    )
    assert last.settlement.book.impact == pytest.approx(expected)
    assert last.impact.after_bp == pytest.approx(last.execution.impact_after * 1e4)
    assert last.impact.now_bp == pytest.approx(decisions[1].settlement.book.impact * 1e4)


def test_a_recalibrated_impact_changes_the_coefficients_and_the_old_one_changes_nothing():
    models = Leaning()
    assert execution_of(models, LAMBDA) is models.execution
    stronger = execution_of(models, 4 * LAMBDA)
    assert stronger.coefficients.model.impact_per_trade == 4 * LAMBDA
    assert stronger.coefficients.aim_per_impact != models.execution.coefficients.aim_per_impact
    assert stronger.scale == models.execution.scale


def test_the_same_day_decided_twice_is_the_same_decision():
    assert run(trending(5, 0.01), [0.5] * 5) == run(trending(5, 0.01), [0.5] * 5)


def test_features_that_are_no_numbers_are_kept_as_none():
    values = dict.fromkeys((feature.name for feature in FEATURES), 0.5)
    row = feature_row(values | {"funding_24h": math.nan, "oi_pct_delta": math.inf})
    assert (row["funding_24h"], row["oi_pct_delta"], row["return_1d"]) == (None, None, 0.5)
