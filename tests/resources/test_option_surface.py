"""Skew and slope of an option book: known volatilities come back, a recorded book agrees with its reference."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research.data.contracts import OPTION_LEVELS, check_form
from resources.history.option_surface import (
    SMILE_COLUMNS,
    at_the_money,
    black_76,
    implied_volatility,
    option_levels,
    risk_reversal,
    smiles,
)
from resources.history.recorded import read_option_book
from resources.settings import Settings

NOW = datetime(2024, 3, 10, 11, tzinfo=UTC)
FOLDER = Settings().test_data / "options"


def book(volatilities: dict[float, float], slope: float = 0.0) -> pd.DataFrame:
    """Calls and puts at 41 strikes for each maturity (days: volatility at the forward, which falls with the strike)."""
    rows = []
    for days, volatility in volatilities.items():
        strikes = 2000 * np.exp(np.linspace(-1, 1, 41))
        for kind in "CP":
            for strike in strikes:
                smile = volatility - slope * np.log(strike / 2000)
                price = one(black_76, 2000.0, strike, days / 365, smile, kind == "C")
                rows.append((pd.Timestamp(NOW) + timedelta(days=days), strike, kind, 2000.0, price))
    return pd.DataFrame(rows, columns=["expiry_utc", "strike", "kind", "forward", "price"])


def one(function, *values: float) -> float:  # type: ignore[no-untyped-def]
    return float(function(*(np.array([value]) for value in values))[0])


def test_black_76_has_the_published_value_and_parity() -> None:
    # Hull, Options, Futures and Other Derivatives, chapter "Futures options": put on a futures of 20, strike 20,
    # four months, volatility 25 %, rate 9 %: 1.12, discounted.
    assert one(black_76, 20.0, 20.0, 4 / 12, 0.25, False) * np.exp(-0.09 * 4 / 12) == pytest.approx(1.12, abs=0.005)
    call, put = (one(black_76, 2000.0, 2300.0, 0.3, 0.8, side) for side in (True, False))
    assert call - put == pytest.approx(2000 - 2300, abs=1e-9)


@given(st.floats(0.05, 3.0), st.floats(1 / 365, 1.5), st.floats(-2.0, 2.0), st.booleans())
def test_the_volatility_of_a_price_comes_back(volatility: float, years: float, distance: float, call: bool) -> None:
    strike = 2000 * np.exp((abs(distance) if call else -abs(distance)) * volatility * np.sqrt(years))
    price = one(black_76, 2000.0, strike, years, volatility, call)
    assert one(implied_volatility, price, 2000.0, strike, years, call) == pytest.approx(volatility, rel=1e-9)


@pytest.mark.parametrize("price", [0.0, -1.0, 2000.0, 3000.0])
def test_a_price_that_no_volatility_explains_has_none(price: float) -> None:
    assert np.isnan(one(implied_volatility, price, 2000.0, 2100.0, 0.1, True))


def test_a_flat_surface_has_no_skew_and_no_slope() -> None:
    levels = option_levels(book({3: 0.6, 20: 0.6, 60: 0.6}), NOW)
    assert check_form(levels, OPTION_LEVELS) == []
    assert levels["date_utc"][0] == NOW.replace(hour=0)
    assert levels.iloc[0, 1:].to_numpy(dtype=float) == pytest.approx([0.0, 0.0], abs=1e-6)


def test_total_variance_is_linear_between_expiries() -> None:
    table = smiles(book({5: 0.9, 15: 0.7, 45: 0.5}), NOW)
    assert tuple(table.columns) == SMILE_COLUMNS
    assert table["atm_iv"].to_numpy() == pytest.approx([90, 70, 50], abs=1e-6)
    week = np.sqrt((0.81 * 5 + (0.49 * 15 - 0.81 * 5) * 0.2) / 7)
    month = np.sqrt((0.49 * 15 + (0.25 * 45 - 0.49 * 15) * 0.5) / 30)
    assert at_the_money(table, 7) == pytest.approx(100 * week, abs=1e-6)
    assert option_levels(book({5: 0.9, 15: 0.7, 45: 0.5}), NOW)["term_slope_7d_30d"][0] == pytest.approx(
        100 * (week - month), abs=1e-6
    )


def test_dearer_puts_are_a_negative_risk_reversal() -> None:
    flat, steep = (smiles(book({20: 0.6, 60: 0.6}, slope), NOW) for slope in (0.0, 0.2))
    assert flat["rr25"].to_numpy() == pytest.approx([0, 0], abs=1e-6)
    assert (steep["rr25"] < -2).all()
    assert (steep["iv_25p"] > steep["atm_iv"]).all()


def test_nothing_is_extrapolated() -> None:
    surface = book({20: 0.6, 60: 0.6})
    calls_only = smiles(surface[surface["kind"] == "C"].reset_index(drop=True), NOW)
    assert calls_only[["iv_25p", "rr25"]].isna().all(axis=None)
    assert calls_only["iv_25c"].notna().all()
    with pytest.raises(ValueError, match="both sides of 7 days"):
        option_levels(surface, NOW)
    with pytest.raises(ValueError, match="column atm_iv: no expiries on both sides of 30 days"):
        option_levels(book({3: 0.6, 20: 0.6}), NOW)


def test_expired_options_are_left_out() -> None:
    assert len(smiles(book({3: 0.6, 20: 0.6}), NOW + timedelta(days=4))) == 1
    assert len(smiles(book({3: 0.6}), NOW + timedelta(days=4))) == 0


@pytest.mark.parametrize(
    ("column", "value"), [("price", np.nan), ("price", -1.0), ("strike", 0.0), ("forward", -5.0), ("kind", "X")]
)
def test_a_broken_book_is_refused_naming_the_column(column: str, value: object) -> None:
    surface = book({3: 0.6, 20: 0.6, 60: 0.6})
    surface.loc[7, column] = value
    with pytest.raises(ValueError, match=f"column {column}"):
        smiles(surface, NOW)


def test_a_book_without_utc_or_with_other_columns_is_refused() -> None:
    surface = book({20: 0.6})
    with pytest.raises(ValueError, match="expiry_utc"):
        smiles(surface.assign(expiry_utc=surface["expiry_utc"].dt.tz_localize(None)), NOW)
    with pytest.raises(ValueError, match="as_of"):
        smiles(surface, NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="columns"):
        smiles(surface.drop(columns="forward"), NOW)


@pytest.mark.real_data
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recorded option book in {FOLDER}")
def test_the_recorded_book_agrees_with_its_reference() -> None:
    """The reference allows half a volatility point; the conventions are the same, so a hundredth is asked."""
    reference = json.loads((FOLDER / "reference_eth_2024-01-08.json").read_text())
    as_of, recorded = read_option_book(FOLDER / reference["file"])
    assert abs(as_of - datetime.fromisoformat(reference["as_of"])) < timedelta(seconds=1)
    table = smiles(recorded, as_of)
    assert [expiry.isoformat() for expiry in table["expiry_utc"]] == [row["expiry"] for row in reference["per_expiry"]]
    for column in ("days", "forward", "atm_iv", "iv_25c", "iv_25p", "rr25"):
        expected = [row[column] for row in reference["per_expiry"]]
        assert table[column].to_numpy() == pytest.approx(expected, abs=0.01), column
    constant = reference["constant_maturity"]
    for days in (7, 30):
        assert at_the_money(table, days) == pytest.approx(constant[f"atm_{days}d"], abs=0.01)
        assert risk_reversal(table, days) == pytest.approx(constant[f"rr25_{days}d"], abs=0.01)
    assert option_levels(recorded, as_of)["term_slope_7d_30d"][0] == pytest.approx(
        constant["term_slope_7d_30d"], abs=0.01
    )
