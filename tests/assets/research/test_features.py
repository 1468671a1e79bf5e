"""What is known at 00:00 UTC, and what came of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.research.bad_input import BadInput
from assets.research.data.features import (
    FEATURES,
    LOOKBACK_HOURS,
    SIGNATURE_FEATURES,
    WINDOW_HOURS,
    feature_table,
    outcome_table,
)
from assets.research.signatures.path_signature import signature

START = pd.Timestamp("2024-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)


def hours(count, seed=1):
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "timestamp_utc": pd.date_range(START, periods=count, freq="h").as_unit("us"),
            "close": 40_000 * np.exp(np.cumsum(draws.normal(0, 0.006, count))),
            "volume": draws.uniform(100, 300, count),
        }
    )


def settlements(days, rate=1e-4):
    times = pd.date_range(START, periods=3 * days, freq="8h").as_unit("us")
    return pd.DataFrame({"timestamp_utc": times, "funding_rate": rate * np.arange(1, 3 * days + 1)})


def test_the_columns_are_the_fourteen_signature_features_and_the_positioning_of_the_brief():
    table = feature_table(hours(24 * 12), settlements(12))
    assert list(table.columns) == [feature.name for feature in FEATURES]
    assert len(SIGNATURE_FEATURES) == 14
    assert {"funding_delta", "oi_pct_delta", "rr25d_delta", "term_slope_7d_30d_delta"} <= set(table.columns)
    assert table[["oi_pct_delta", "rr25d_delta", "term_slope_7d_30d_delta"]].isna().all(axis=None)


def test_the_first_decision_is_the_first_midnight_with_a_week_of_closes_behind_it():
    table = feature_table(hours(24 * 12))
    assert table.index[0] == START + 8 * DAY
    assert table.index[-1] == START + 12 * DAY
    assert (table.index == table.index.normalize()).all()


def test_features_by_hand():
    bars, funding = hours(24 * 10), settlements(10)
    row = feature_table(bars, funding).iloc[-1]
    closes = np.log(bars["close"].to_numpy())
    assert row["return_1d"] == pytest.approx(closes[-1] - closes[-25])
    assert row["return_7d"] == pytest.approx(closes[-1] - closes[-169])
    assert row["realised_volatility_1d"] == pytest.approx(np.sqrt((np.diff(closes[-25:]) ** 2).sum()))
    assert row["realised_volatility_7d"] == pytest.approx(np.sqrt((np.diff(closes[-169:]) ** 2).sum() / 7))
    volume = bars["volume"].to_numpy()
    assert row["volume_ratio"] == pytest.approx(np.log(7 * volume[-24:].sum() / volume[-168:].sum()))
    assert row["funding_24h"] == pytest.approx(1e-4 * (28 + 29 + 30))
    assert row["funding_delta"] == pytest.approx(1e-4 * 9)


def test_signature_features_are_those_of_the_last_72_closes():
    bars = hours(24 * 10)
    row = feature_table(bars).iloc[-1]
    closes = np.log(bars["close"].to_numpy()[-WINDOW_HOURS:])
    scale = np.sqrt((np.diff(closes) ** 2).sum())
    path = np.column_stack([np.linspace(0, 1, WINDOW_HOURS), closes / scale])
    names = [feature.name for feature in SIGNATURE_FEATURES]
    np.testing.assert_allclose(row[names].to_numpy(dtype=float), signature(path, 3), atol=1e-12)


def test_an_outcome_is_that_of_the_day_after_its_decision():
    bars, funding = hours(24 * 10), settlements(10)
    outcomes = outcome_table(bars, funding)
    closes = np.log(bars["close"].to_numpy())
    assert outcomes.index[-1] == START + 9 * DAY, "the day after the last midnight is not over"
    last = outcomes.iloc[-1]
    assert last["return"] == pytest.approx(closes[-1] - closes[-25])
    assert last["realised_volatility"] == pytest.approx(np.sqrt((np.diff(closes[-25:]) ** 2).sum()))
    assert last["funding"] == pytest.approx(1e-4 * (28 + 29 + 30))


@settings(max_examples=25)
@given(st.integers(LOOKBACK_HOURS + 24, 24 * 20), st.integers(0, 3))
def test_truncating_later_data_changes_no_bit_of_an_earlier_row(cut, seed):
    bars, funding = hours(24 * 20, seed), settlements(20)
    whole = feature_table(bars, funding)
    end = bars["timestamp_utc"].iloc[cut - 1] + pd.Timedelta(hours=1)
    known = funding[funding["timestamp_utc"] < end].reset_index(drop=True)
    early = feature_table(bars.iloc[:cut], known)
    pd.testing.assert_frame_equal(early, whole.loc[: early.index[-1]], check_exact=True)


@settings(max_examples=25)
@given(st.integers(24 * 10, 24 * 20 - 1), st.floats(0.5, 2.0))
def test_nothing_that_happens_later_reaches_an_earlier_row(place, factor):
    bars = hours(24 * 20)
    changed = bars.copy()
    changed.loc[place:, ["close", "volume"]] *= factor
    known = bars["timestamp_utc"].iloc[place]  # the changed bar is known an hour after this
    before = feature_table(bars).loc[:known]
    pd.testing.assert_frame_equal(feature_table(changed).loc[:known], before, check_exact=True)


def test_exogenous_values_are_carried_two_days_and_no_further():
    bars = hours(24 * 16)
    oi = pd.DataFrame(
        {"date_utc": pd.date_range(START, periods=9, freq="D").as_unit("us"), "oi_pct_delta": np.arange(9) / 100}
    )
    table = feature_table(bars, oi_24h=oi)["oi_pct_delta"]
    assert table.loc[START + 9 * DAY] == 0.08, "the row of the day before the decision"
    assert table.loc[START + 11 * DAY] == 0.08
    assert np.isnan(table.loc[START + 12 * DAY])


def test_a_gap_and_a_table_too_short_are_refused_by_name_and_time():
    bars = hours(24 * 12)
    with pytest.raises(BadInput, match="2024-01-05T03:00"):
        feature_table(bars.drop(index=24 * 4 + 3).reset_index(drop=True))
    with pytest.raises(BadInput, match="closes behind it"):
        feature_table(hours(LOOKBACK_HOURS - 1))
    with pytest.raises(BadInput, match="no whole day"):
        outcome_table(hours(24))
