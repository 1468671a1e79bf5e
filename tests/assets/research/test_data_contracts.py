"""The data contracts: every kind of broken feed is found and named, and nothing later changes anything earlier."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.data.contracts import (
    BARS_1H,
    CONTRACTS,
    DAILY_CLOSE,
    FUNDING_24H,
    FUNDING_SETTLEMENTS,
    OI_24H,
    OPEN_INTEREST,
    OPTION_LEVELS,
    OPTIONS_MOVES,
    SLIPPAGE_LOG,
    Contract,
    check,
    check_form,
    check_freshness,
    check_gaps,
    daily_close,
    daily_funding,
    forward_filled,
    funding_24h,
    known_at,
    oi_24h,
    options_moves,
    require,
)
from resources.settings import Settings

MIDNIGHT = datetime(2024, 3, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FOLDER = Settings().test_data
real_data = pytest.mark.skipif(not (FOLDER / "bars_1h").is_dir(), reason=f"no recorded hourly bars in {FOLDER}")

REGULAR = [BARS_1H, DAILY_CLOSE, FUNDING_24H, OI_24H, OPTIONS_MOVES, OPEN_INTEREST, OPTION_LEVELS]
EVERY = [*REGULAR, FUNDING_SETTLEMENTS, SLIPPAGE_LOG]


def named(contract: Contract) -> str:
    return contract.name


def good(contract: Contract, rows: int = 72, end: datetime = MIDNIGHT) -> pd.DataFrame:
    """A faultless table whose last row became known at ``end``."""
    if contract is FUNDING_SETTLEMENTS:
        stamps = [end - 8 * HOUR * back for back in range(rows, 0, -1)]
    else:
        stamps = [end - contract.grid * back for back in range(rows, 0, -1)]
    table: dict[str, object] = {contract.time: pd.DatetimeIndex(stamps).as_unit("us")}
    for column in contract.columns[1:]:
        table[column] = 100.0 + np.arange(rows)
    if contract is SLIPPAGE_LOG:
        table |= {"symbol": "BTCUSDT", "side": ["BUY", "SELL"] * (rows // 2)}
    return pd.DataFrame(table)


def rules(frame: pd.DataFrame, contract: Contract, at: datetime | None = MIDNIGHT) -> list[str]:
    return [finding.rule for finding in check(frame, contract, at)]


def hours(count: int, *, start: datetime = MIDNIGHT) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq="h", unit="us")


def settled(stamps: list[datetime], rate: float = 0.0001) -> pd.DataFrame:
    return pd.DataFrame({"timestamp_utc": pd.DatetimeIndex(stamps).as_unit("us"), "funding_rate": rate})


def every(interval: int, days: int = 3, start: datetime = MIDNIGHT) -> list[datetime]:
    return [start + HOUR * hour for hour in range(0, 24 * days, interval)]


# ------------------------------------------------------------------------------------------------ the six schemas


def test_the_contracts_are_those_of_the_brief() -> None:
    assert {name: contract.columns for name, contract in CONTRACTS.items()} == {
        "bars_1h": ("timestamp_utc", "close", "volume"),
        "daily_close": ("date_utc", "close"),
        "funding_24h": ("date_utc", "funding_delta"),
        "oi_24h": ("date_utc", "oi_pct_delta"),
        "options_moves": ("date_utc", "rr25d_delta", "term_slope_7d_30d_delta"),
        "slippage_log": ("date_utc", "symbol", "side", "size", "est_impact_bp"),
    }


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_a_faultless_table_has_no_findings_at_the_midnight_after_it(contract: Contract) -> None:
    frame = good(contract)
    assert check(frame, contract, MIDNIGHT) == []
    assert require(frame, contract, MIDNIGHT) is frame


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_resolution_of_stamps_does_not_matter(unit: str) -> None:
    frame = good(BARS_1H)
    frame["timestamp_utc"] = frame["timestamp_utc"].dt.as_unit(unit)
    assert rules(frame, BARS_1H) == []


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_columns_are_exact_and_in_order(contract: Contract) -> None:
    frame = good(contract)
    for broken in (frame.iloc[:, ::-1], frame.iloc[:, :-1], frame.assign(extra=1.0)):
        (finding,) = check(broken, contract)
        assert finding.rule == "columns"
        assert contract.columns[-1] in str(finding)


# ---------------------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_naive_stamps_are_refused(contract: Contract) -> None:
    frame = good(contract)
    frame[contract.time] = frame[contract.time].dt.tz_localize(None)
    assert rules(frame, contract) == ["naive"]
    with pytest.raises(BadInput, match=f"column {contract.time}: .*no time zone"):
        require(frame, contract)
    with pytest.raises(BadInput, match="no time zone"):
        known_at(frame, MIDNIGHT)


@pytest.mark.parametrize("zone", ["Europe/Paris", "Europe/London", "UTC+01:00"])
def test_stamps_of_another_zone_are_refused_even_where_it_agrees_with_utc_today(zone: str) -> None:
    frame = good(BARS_1H)
    frame["timestamp_utc"] = frame["timestamp_utc"].dt.tz_convert(zone)
    assert rules(frame, BARS_1H) == ["utc"]


def test_stamps_and_values_of_another_type_are_refused() -> None:
    frame = good(BARS_1H)
    assert rules(frame.assign(timestamp_utc=frame["timestamp_utc"].astype(str)), BARS_1H) == ["type"]
    assert rules(frame.assign(timestamp_utc=np.arange(72)), BARS_1H) == ["type"]
    assert rules(frame.assign(close=frame["close"].astype(str)), BARS_1H) == ["type"]
    assert rules(frame.assign(close=True), BARS_1H) == ["type"]


@pytest.mark.parametrize("contract", [*REGULAR, FUNDING_SETTLEMENTS], ids=named)
def test_a_stamp_that_goes_backwards_is_named(contract: Contract) -> None:
    frame = good(contract)
    order = list(range(len(frame)))
    order[40], order[41] = order[41], order[40]
    (finding,) = check(frame.iloc[order].reset_index(drop=True), contract, MIDNIGHT)
    assert finding.rule == "order"
    assert finding.at == frame[contract.time][40].to_pydatetime()


def test_a_log_may_have_many_rows_a_day_but_not_backwards() -> None:
    frame = good(SLIPPAGE_LOG)
    twice = pd.concat([frame, frame.tail(1)], ignore_index=True)
    assert rules(twice, SLIPPAGE_LOG) == []
    assert rules(frame.iloc[::-1].reset_index(drop=True), SLIPPAGE_LOG) == ["order"]


@pytest.mark.parametrize("contract", [*REGULAR, FUNDING_SETTLEMENTS], ids=named)
def test_a_stamp_twice_is_named(contract: Contract) -> None:
    frame = good(contract)
    (finding,) = check(frame.iloc[[*range(41), *range(40, 72)]].reset_index(drop=True), contract, MIDNIGHT)
    assert finding.rule == "duplicate"
    assert finding.at == frame[contract.time][40].to_pydatetime()


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_a_stamp_off_the_grid_is_named(contract: Contract) -> None:
    frame = good(contract)
    frame.loc[40, contract.time] += timedelta(minutes=7)
    assert "grid" in rules(frame, contract)


def test_a_settlement_may_be_stamped_moments_late() -> None:
    frame = settled([stamp + timedelta(milliseconds=7) for stamp in every(8)])
    assert rules(frame, FUNDING_SETTLEMENTS, MIDNIGHT + 3 * DAY) == []


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_a_row_without_a_stamp_is_named_by_its_index(contract: Contract) -> None:
    frame = good(contract)
    frame.loc[40, contract.time] = pd.NaT
    finding = check_form(frame, contract)[0]
    assert (finding.rule, finding.at) == ("missing", 40)


# -------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("contract", EVERY, ids=named)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_named_with_column_and_time(contract: Contract, value: float) -> None:
    frame = good(contract)
    column = contract.columns[-1]
    frame.loc[40, column] = value
    (finding,) = check(frame, contract, MIDNIGHT)
    assert (finding.rule, finding.column) == ("missing", column)
    assert finding.at == frame[contract.time][40].to_pydatetime()
    with pytest.raises(BadInput) as caught:
        require(frame, contract)
    assert (caught.value.column, caught.value.at) == (column, finding.at)


@pytest.mark.parametrize("price", [0.0, -1.0])
@pytest.mark.parametrize("contract", [BARS_1H, DAILY_CLOSE], ids=named)
def test_a_price_that_is_not_positive_is_named(contract: Contract, price: float) -> None:
    frame = good(contract)
    frame.loc[40, "close"] = price
    (finding,) = check(frame, contract, MIDNIGHT)
    assert (finding.rule, finding.column) == ("range", "close")


def test_volume_may_be_zero_but_not_negative() -> None:
    frame = good(BARS_1H)
    frame.loc[40, "volume"] = 0.0
    assert rules(frame, BARS_1H) == []
    frame.loc[40, "volume"] = -0.5
    assert rules(frame, BARS_1H) == ["range"]


def test_volume_is_missing_throughout_or_not_at_all() -> None:
    frame = good(BARS_1H)
    assert rules(frame.assign(volume=np.nan), BARS_1H) == []  # a source without volumes
    frame.loc[40, "volume"] = np.nan
    assert rules(frame, BARS_1H) == ["missing"]


@pytest.mark.parametrize(
    ("column", "value"), [("side", "LONG"), ("side", None), ("symbol", " "), ("size", 0.0), ("size", -1.0)]
)
def test_a_slippage_row_needs_a_symbol_a_side_and_a_size(column: str, value: object) -> None:
    frame = good(SLIPPAGE_LOG)
    frame.loc[40, column] = value
    (finding,) = check(frame, SLIPPAGE_LOG, MIDNIGHT)
    assert (finding.rule, finding.column) == ("range", column)


def test_every_fault_of_a_table_is_listed_and_the_first_is_raised() -> None:
    frame = good(BARS_1H).drop(index=[10, 11, 12]).reset_index(drop=True)
    frame.loc[40, "close"] = np.nan
    frame.loc[50, "volume"] = -1.0
    assert rules(frame, BARS_1H) == ["missing", "range", "gap"]
    with pytest.raises(BadInput, match=r"column close at 2024-03-08T19:00:00\+00:00: .*2 more findings"):
        require(frame, BARS_1H)


# ---------------------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize("contract", REGULAR, ids=named)
def test_a_gap_is_named_by_its_first_and_last_missing_stamp(contract: Contract) -> None:
    frame = good(contract)
    gone = frame[contract.time][30:33]
    (finding,) = check(frame.drop(index=range(30, 33)).reset_index(drop=True), contract, MIDNIGHT)
    assert finding.rule == "gap"
    assert (finding.at, finding.until) == (gone.iloc[0].to_pydatetime(), gone.iloc[-1].to_pydatetime())
    assert "3 rows missing" in str(finding)


def test_every_gap_has_its_own_finding() -> None:
    frame = good(BARS_1H).drop(index=[5, 20, 21, 60])
    assert [finding.rule for finding in check_gaps(frame, BARS_1H)] == ["gap"] * 3


def test_two_settlements_further_apart_than_the_two_before_are_a_gap() -> None:
    stamps = every(4)
    gone = stamps.pop(7)
    (finding,) = check_gaps(settled(stamps), FUNDING_SETTLEMENTS)
    assert (finding.at, finding.until) == (gone - 4 * HOUR, gone + 4 * HOUR)


def test_a_long_gap_does_not_become_the_usual_interval() -> None:
    stamps = [MIDNIGHT + hour * HOUR for hour in (0, 4, 8, 20, 28, 36)]
    findings = check_gaps(settled(stamps), FUNDING_SETTLEMENTS)
    # After twelve hours of nothing eight are still too long; then eight is what there is.
    assert [finding.at for finding in findings] == [MIDNIGHT + 8 * HOUR, MIDNIGHT + 20 * HOUR]


def test_an_interval_that_gets_shorter_is_no_gap() -> None:
    stamps = [*every(8, 1), *every(4, 1, MIDNIGHT + DAY), *every(1, 1, MIDNIGHT + 2 * DAY)]
    assert check_gaps(settled(stamps), FUNDING_SETTLEMENTS) == []


# ----------------------------------------------------------------------------------------- late, stale and future


@pytest.mark.parametrize("contract", REGULAR, ids=named)
def test_rows_that_are_due_are_late_and_named(contract: Contract) -> None:
    frame = good(contract)
    findings = check_freshness(frame, contract, MIDNIGHT + 2 * contract.grid)
    assert findings[0].rule == "late"
    assert "2 rows missing" in str(findings[0])


def test_data_is_stale_from_twenty_six_hours_on() -> None:
    frame = good(BARS_1H)
    just_before = MIDNIGHT + 26 * HOUR - timedelta(microseconds=1)
    assert rules(frame, BARS_1H, just_before) == ["late"]
    assert rules(frame, BARS_1H, MIDNIGHT + 26 * HOUR) == ["late", "stale"]
    daily = good(DAILY_CLOSE)
    assert rules(daily, DAILY_CLOSE, MIDNIGHT + 23 * HOUR) == []
    assert rules(daily, DAILY_CLOSE, MIDNIGHT + 25 * HOUR) == ["late"]
    assert rules(daily, DAILY_CLOSE, MIDNIGHT + 26 * HOUR) == ["late", "stale"]


def test_settlements_are_late_when_their_own_interval_has_passed() -> None:
    frame = settled(every(4, 3))  # the last at 20:00
    assert rules(frame, FUNDING_SETTLEMENTS, MIDNIGHT + 3 * DAY) == []
    assert rules(frame, FUNDING_SETTLEMENTS, MIDNIGHT + 3 * DAY + HOUR) == ["late"]
    assert rules(frame, FUNDING_SETTLEMENTS, MIDNIGHT + 4 * DAY) == ["late", "stale"]


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_rows_of_the_future_are_named(contract: Contract) -> None:
    frame = good(contract)
    early = MIDNIGHT - (9 * HOUR if contract is FUNDING_SETTLEMENTS else timedelta(microseconds=1))
    (finding,) = check(frame, contract, early)
    assert (finding.rule, finding.at) == ("future", frame[contract.time].iloc[-1].to_pydatetime())
    assert "1 row not known" in str(finding)


@pytest.mark.parametrize("contract", EVERY, ids=named)
def test_an_empty_table_is_named_unless_it_is_a_log(contract: Contract) -> None:
    empty = good(contract).head(0)
    assert rules(empty, contract) == ([] if contract is SLIPPAGE_LOG else ["empty"])


@pytest.mark.parametrize(
    "instant", [MIDNIGHT.replace(tzinfo=None), datetime.fromisoformat("2024-03-10T00:00:00+01:00")]
)
def test_a_decision_time_has_to_be_utc(instant: datetime) -> None:
    for question in (lambda: check(good(BARS_1H), BARS_1H, instant), lambda: known_at(good(BARS_1H), instant)):
        with pytest.raises(BadInput, match="decision_time"):
            question()


# ------------------------------------------------------------------------------------------------ what was known


def test_a_bar_is_known_an_hour_after_its_stamp() -> None:
    frame = good(BARS_1H)
    assert len(known_at(frame, MIDNIGHT)) == 72
    assert len(known_at(frame, MIDNIGHT - timedelta(microseconds=1))) == 71


def test_a_day_is_known_when_it_is_over() -> None:
    for contract in (DAILY_CLOSE, FUNDING_24H, OI_24H, OPTIONS_MOVES, OPEN_INTEREST, SLIPPAGE_LOG):
        frame = good(contract)
        assert len(known_at(frame, MIDNIGHT)) == 72
        assert len(known_at(frame, MIDNIGHT - timedelta(seconds=1))) == 71


def test_a_settlement_of_the_decisions_instant_is_not_known_yet() -> None:
    frame = settled([*every(8, 1), MIDNIGHT + DAY])
    assert len(known_at(frame, MIDNIGHT + DAY)) == 3


def test_rows_of_no_contract_are_refused() -> None:
    with pytest.raises(BadInput, match="no contract"):
        known_at(good(BARS_1H).rename(columns={"close": "price"}), MIDNIGHT)


# ------------------------------------------------------------------------------------------------------ builders


def test_the_daily_close_is_the_last_bars_of_whole_days() -> None:
    bars = pd.DataFrame({"timestamp_utc": hours(80, start=MIDNIGHT - 3 * HOUR), "close": np.arange(80.0) + 1})
    closes = daily_close(bars.assign(volume=0.0))
    assert closes["date_utc"].tolist() == [MIDNIGHT, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY]
    assert closes["close"].tolist() == [27.0, 51.0, 75.0]
    holed = daily_close(bars.assign(volume=0.0).drop(index=30).reset_index(drop=True))
    assert holed["close"].tolist() == [27.0, 75.0]
    assert [finding.rule for finding in check_gaps(holed, DAILY_CLOSE)] == ["gap"]


@pytest.mark.parametrize("interval", [1, 2, 4, 8])
def test_funding_is_the_sum_of_what_settled(interval: int) -> None:
    stamps = every(interval, 3)
    rates = np.arange(1.0, len(stamps) + 1)
    frame = settled(stamps).assign(funding_rate=rates)
    a_day = 24 // interval
    days = daily_funding(frame)
    assert days["date_utc"].tolist() == [MIDNIGHT + day * DAY for day in range(3)]
    assert days["funding"].tolist() == [rates[day * a_day : (day + 1) * a_day].sum() for day in range(3)]
    assert funding_24h(frame)["funding_delta"].tolist() == [a_day**2] * 2


def test_a_day_whose_interval_changes_sums_every_settlement() -> None:
    day = [*every(8, 1), *(MIDNIGHT + DAY + HOUR * hour for hour in (0, 4, 8, *range(9, 24)))]
    frame = settled(day, rate=0.5)
    assert daily_funding(frame)["funding"].tolist() == [1.5, 9.0]


@pytest.mark.parametrize("interval", [1, 4, 8])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_day_with_a_missing_settlement_has_no_funding(interval: int, place: str) -> None:
    stamps = every(interval, 4)
    a_day = 24 // interval
    gone = {"first": 0, "middle": a_day // 2, "last": a_day - 1}[place] + 2 * a_day
    frame = settled([stamp for at, stamp in enumerate(stamps) if at != gone])
    assert daily_funding(frame)["date_utc"].tolist() == [MIDNIGHT + day * DAY for day in (0, 1, 3)]
    assert funding_24h(frame)["date_utc"].tolist() == [MIDNIGHT + DAY]


def test_a_day_that_is_not_over_is_not_known_though_its_settlements_may_reach_midnight() -> None:
    evening = MIDNIGHT + DAY + 20 * HOUR
    days = funding_24h(known_at(settled(every(8)), evening))
    assert days["date_utc"].tolist() == [MIDNIGHT + DAY]  # 16:00 and 8 h; but at 21:00 an hour may follow
    assert rules(days, FUNDING_24H, evening) == ["future"]
    assert len(known_at(days, evening)) == 0


def test_a_stamp_milliseconds_after_midnight_is_of_the_new_day_as_its_rounded_copy() -> None:
    exact, late = every(8), [stamp + timedelta(milliseconds=3) for stamp in every(8)]
    pd.testing.assert_frame_equal(daily_funding(settled(exact)), daily_funding(settled(late)))


def test_open_interest_changes_by_a_fraction_of_the_day_before() -> None:
    frame = pd.DataFrame({"date_utc": hours(5)[:0].append(pd.date_range(MIDNIGHT, periods=5, unit="us"))})
    frame["oi_usd"] = [100.0, 110.0, 99.0, 50.0, 75.0]
    changes = oi_24h(frame)
    assert changes["oi_pct_delta"].to_numpy() == pytest.approx([0.1, -0.1, 50 / 99 - 1, 0.5])
    holed = oi_24h(frame.drop(index=2).reset_index(drop=True))
    assert holed["date_utc"].tolist() == [MIDNIGHT + DAY, MIDNIGHT + 4 * DAY]


def test_an_option_move_needs_the_day_before() -> None:
    levels = good(OPTION_LEVELS, rows=4)
    assert len(options_moves(levels.head(1))) == 0
    moves = options_moves(levels.drop(index=1).reset_index(drop=True))
    assert moves["date_utc"].tolist() == [levels["date_utc"][3]]
    assert moves.iloc[0, 1:].tolist() == [1.0, 1.0]
    assert check_form(moves, OPTIONS_MOVES) == []


@pytest.mark.parametrize(
    ("build", "contract"),
    [
        (daily_close, BARS_1H),
        (funding_24h, FUNDING_SETTLEMENTS),
        (oi_24h, OPEN_INTEREST),
        (options_moves, OPTION_LEVELS),
    ],
    ids=["daily_close", "funding_24h", "oi_24h", "options_moves"],
)
def test_builders_refuse_broken_input_and_keep_the_type_of_empty_input(
    build: Callable[[pd.DataFrame], pd.DataFrame], contract: Contract
) -> None:
    frame = good(contract)
    for broken in (
        frame.iloc[::-1],
        frame.assign(**{contract.time: frame[contract.time].dt.tz_localize(None)}),
        frame.iloc[[0, 0, 1]],
        frame.assign(**{contract.columns[1]: np.nan}),
    ):
        with pytest.raises(BadInput, match=contract.name):
            build(broken.reset_index(drop=True))
    built = build(frame.head(0))
    assert len(built) == 0
    assert check_form(built, {c.columns: c for c in CONTRACTS.values()}[tuple(built.columns)]) == []


# -------------------------------------------------------------------------------------------------- forward fill


def test_exogenous_values_are_carried_forward_and_the_days_counted() -> None:
    frame = good(OPTIONS_MOVES, rows=6).drop(index=[1, 2, 3]).reset_index(drop=True)
    filled = forward_filled(frame, 2, until=MIDNIGHT)
    assert filled["date_utc"].tolist() == [MIDNIGHT + day * DAY for day in range(-6, 1)]
    assert filled["rr25d_delta"].tolist()[:3] == [100.0, 100.0, 100.0]
    assert filled["rr25d_delta_filled_days"].tolist() == [0, 1, 2, pd.NA, 0, 0, 1]
    assert np.isnan(filled["rr25d_delta"][3])
    assert filled["term_slope_7d_30d_delta"].tolist()[-1] == 105.0
    assert len(forward_filled(frame, 0)) == 6


def test_prices_and_returns_are_never_carried_forward() -> None:
    closes = good(DAILY_CLOSE)
    for frame in (closes, closes.rename(columns={"close": "return"}), good(FUNDING_24H).assign(close=1.0)):
        with pytest.raises(BadInput, match="may be carried forward"):
            forward_filled(frame, 3)


def test_carrying_forward_refuses_broken_tables_and_limits() -> None:
    frame = good(FUNDING_24H)
    for broken, limit, until in (
        (frame.iloc[::-1].reset_index(drop=True), 1, None),
        (frame.assign(funding_delta=np.nan), 1, None),
        (frame.head(0), 1, None),
        (frame, -1, None),
        (frame, 1, MIDNIGHT - 9 * DAY),
        (frame, 1, MIDNIGHT.replace(tzinfo=None)),
    ):
        with pytest.raises(BadInput):
            forward_filled(broken, limit, until=until)


# ------------------------------------------------------------------------------------- the leakage guard, property

holes = st.sets(st.integers(0, 24 * 5 - 1), max_size=4)
# Most cuts are the midnights decisions are made at, some lie anywhere.
cuts = st.one_of(
    st.integers(1, 6).map(lambda day: MIDNIGHT + day * DAY),
    st.integers(-5, 24 * 6 * 60).map(lambda minutes: MIDNIGHT + timedelta(minutes=minutes)),
)
# Intervals of the exchange in runs, so that they change within days and most days are whole.
schedules = st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 16)), min_size=4, max_size=12)


def unchanged_by_the_future(
    build: Callable[[pd.DataFrame], pd.DataFrame], raw: pd.DataFrame, decision_time: datetime
) -> None:
    """What was known at the decision is the same, computed from what was known or from everything.

    At a midnight the builder alone sees to that; within a day it may take a day for whole that is not over.
    """
    then = build(known_at(raw, decision_time))
    if pd.Timestamp(decision_time).floor("D") != decision_time:
        then = known_at(then, decision_time)
    pd.testing.assert_frame_equal(then, known_at(build(raw), decision_time))


@given(holes, cuts, st.randoms(use_true_random=False))
def test_later_bars_change_no_earlier_close(gone: set[int], cut: datetime, draw) -> None:  # type: ignore[no-untyped-def]
    bars = pd.DataFrame({"timestamp_utc": hours(24 * 5), "close": [draw.uniform(1, 9) for _ in range(24 * 5)]})
    bars = bars.assign(volume=1.0).drop(index=list(gone)).reset_index(drop=True)
    unchanged_by_the_future(daily_close, bars, cut)


@given(schedules, holes, cuts, st.integers(0, 900), st.randoms(use_true_random=False))
# A day whose last interval is longer than the one that follows it on the next day.
@example([(4, 1), (8, 2), (4, 8)], set(), MIDNIGHT + DAY, 0, Random(1))
def test_later_settlements_change_no_earlier_funding(  # type: ignore[no-untyped-def]
    runs: list[tuple[int, int]], gone: set[int], cut: datetime, late: int, draw
) -> None:
    steps = [interval for interval, length in runs for _ in range(length)]
    offsets = [0, *np.cumsum(steps).tolist()]
    stamps = [MIDNIGHT + hour * HOUR + timedelta(milliseconds=late) for hour in offsets if hour not in gone]
    frame = settled(stamps).assign(funding_rate=[draw.uniform(-0.02, 0.02) for _ in stamps])
    unchanged_by_the_future(daily_funding_as_contract, frame, cut)
    unchanged_by_the_future(funding_24h, frame, cut)


def daily_funding_as_contract(settlements: pd.DataFrame) -> pd.DataFrame:
    return daily_funding(settlements).rename(columns={"funding": "funding_delta"})


@given(st.sets(st.integers(0, 8)), cuts, st.randoms(use_true_random=False))
def test_later_levels_change_no_earlier_move(gone: set[int], cut: datetime, draw) -> None:  # type: ignore[no-untyped-def]
    days = pd.date_range(MIDNIGHT, periods=9, unit="us").delete(sorted(gone))
    draws = [draw.uniform(1, 9) for _ in days]
    unchanged_by_the_future(oi_24h, pd.DataFrame({"date_utc": days, "oi_usd": draws}), cut)
    levels = pd.DataFrame({"date_utc": days, "rr25d": draws, "term_slope_7d_30d": draws[::-1]})
    unchanged_by_the_future(options_moves, levels, cut)


@given(st.sets(st.integers(1, 8)), st.integers(0, 4), st.integers(1, 9))
def test_later_rows_change_nothing_that_was_carried_forward(gone: set[int], limit: int, day: int) -> None:
    days = pd.date_range(MIDNIGHT, periods=9, unit="us").delete(sorted(gone))
    frame = pd.DataFrame({"date_utc": days, "funding_delta": np.arange(len(days)) + 1.0})
    decision, last = MIDNIGHT + day * DAY, MIDNIGHT + (day - 1) * DAY
    then = forward_filled(known_at(frame, decision), limit, until=last)
    now = forward_filled(frame, limit, until=MIDNIGHT + 9 * DAY)
    pd.testing.assert_frame_equal(then, now[now["date_utc"] <= last].reset_index(drop=True))


@given(holes.filter(bool))
def test_exactly_the_missing_hours_are_named(gone: set[int]) -> None:
    stamps = hours(24 * 5 + 2, start=MIDNIGHT - HOUR)  # a bar on either side that is always there
    frame = pd.DataFrame({"timestamp_utc": stamps, "close": 1.0, "volume": 1.0})
    frame = frame.drop(index=[hour + 1 for hour in gone]).reset_index(drop=True)
    named_hours: list[datetime] = []
    for finding in check_gaps(frame, BARS_1H):
        named_hours += pd.date_range(finding.at, finding.until, freq="h").to_pydatetime().tolist()
    assert named_hours == [MIDNIGHT + hour * HOUR for hour in sorted(gone)]


# ------------------------------------------------------------------------------------------------- recorded data


def recorded_bars(kind: str, symbol: str) -> pd.DataFrame:
    return pd.read_parquet(FOLDER / "bars_1h" / kind / f"{symbol}.parquet")[["timestamp_utc", "close", "volume"]]


def recorded_settlements(file: str) -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "funding_oi" / file)
    return frame.assign(timestamp_utc=pd.to_datetime(frame["timestamp_utc"], utc=True))


@real_data
@pytest.mark.real_data
def test_the_recorded_outages_of_the_spot_exchange_are_found() -> None:
    findings = check(recorded_bars("spot", "BTCUSDT"), BARS_1H)
    assert {finding.rule for finding in findings} == {"gap"}
    spans = [(finding.at, finding.until) for finding in findings]
    assert len(spans) == 27
    lengths = [int((until - at) / HOUR) + 1 for at, until in spans]
    assert sum(lengths) == 122
    assert max(lengths) == 33
    assert spans[lengths.index(33)][0].date().isoformat() == "2018-02-08"
    assert spans[-1] == (datetime(2023, 3, 24, 13, tzinfo=UTC), datetime(2023, 3, 24, 13, tzinfo=UTC))


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "XRPUSDT", "ADAUSDT"])
def test_the_recorded_perpetuals_have_no_fault(symbol: str) -> None:
    assert check(recorded_bars("perp", symbol), BARS_1H, datetime(2025, 1, 1, tzinfo=UTC)) == []


@real_data
@pytest.mark.real_data
def test_recorded_daily_closes_are_reproduced_and_broken_days_left_out() -> None:
    recorded = pd.read_csv(FOLDER / "funding_oi" / "daily_close" / "BTCUSDT.csv", parse_dates=["date_utc"])
    whole = recorded[recorded["bars"] == 24]
    assert len(recorded) - len(whole) == 28
    closes = daily_close(recorded_bars("spot", "BTCUSDT"))
    assert closes["date_utc"].dt.tz_localize(None).tolist() == whole["date_utc"].tolist()
    assert closes["close"].tolist() == whole["close"].tolist()


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    "file", [f"funding/{coin}USDT.csv" for coin in ("BTC", "ETH", "XRP", "ADA")] + ["funding_2025/ENAUSDT.csv"]
)
def test_recorded_settlements_have_no_fault(file: str) -> None:
    frame = recorded_settlements(file)
    assert check(frame, FUNDING_SETTLEMENTS) == []
    days = daily_funding(frame)
    assert [str(finding) for finding in check_gaps(funding_24h(frame), FUNDING_24H)] == []
    by_day = frame.groupby(frame["timestamp_utc"].dt.floor("D"))["funding_rate"].agg(["sum", "size"])
    full = by_day[by_day["size"] == (6 if "ENA" in file else 3)]
    assert days["funding"].to_numpy() == pytest.approx(full["sum"].to_numpy(), abs=1e-15)


@real_data
@pytest.mark.real_data
def test_layers_funding_is_summed_across_its_change_from_four_hours_to_one() -> None:
    frame = recorded_settlements("funding_2025/LAYERUSDT.csv")
    assert check(frame, FUNDING_SETTLEMENTS) == []
    days = daily_funding(frame).set_index("date_utc")["funding"]
    changing, hourly = pd.Timestamp("2025-05-06", tz="UTC"), pd.Timestamp("2025-05-07", tz="UTC")
    stamps = frame["timestamp_utc"].dt.floor("D")
    assert (stamps == changing).sum() == 18  # 00, 04, 08, then every hour
    assert (stamps == hourly).sum() == 24
    for day in (changing, hourly):
        rates = frame.loc[stamps == day, "funding_rate"]
        assert days[day] == pytest.approx(rates.sum(), abs=1e-15)
        assert abs(days[day] - 3 * rates.iloc[-1]) > 1e-3  # the usual mistake is far off


@real_data
@pytest.mark.real_data
def test_recorded_open_interest_has_a_change_for_every_day_but_the_first() -> None:
    (file,) = (FOLDER / "funding_oi").glob("open_interest_btc_daily*.csv")
    frame = pd.read_csv(file)[["date_utc", "oi_usd"]]
    frame["date_utc"] = pd.to_datetime(frame["date_utc"], utc=True)
    assert check(frame, OPEN_INTEREST) == []
    changes = oi_24h(frame)
    assert check(changes, OI_24H) == []
    assert len(changes) == 502
    assert changes["oi_pct_delta"][0] == pytest.approx(141253181.0 / 120714269.0 - 1)
