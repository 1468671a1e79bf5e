"""SimulatedHistory: the market's own past, and nothing the market does not have."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from assets.research.data.contracts import BARS_1H, FUNDING_SETTLEMENTS, check, daily_funding
from resources.history import HistoryError
from resources.history.simulated import SimulatedHistory
from resources.market.simulated import EPOCH, UNIVERSE, SimulatedMarket

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LAST_SHOWN = HOUR - timedelta(seconds=1)
END = datetime(2025, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize("seed", [7, -3])
def test_closes_are_the_marks_the_market_shows_at_the_end_of_the_hour(seed: int) -> None:
    market, history = SimulatedMarket(seed), SimulatedHistory(seed)
    for symbol in ("BTCUSDT", "ETHUSDT", "ENAUSDT", "FTMUSDT"):
        bars = history.hourly_bars(symbol, END - 3 * DAY, END)
        for row in range(0, 72, 5):
            shown = market.marks(bars["timestamp_utc"][row].to_pydatetime() + LAST_SHOWN)[symbol]
            assert bars["close"][row] == float(shown.price)


def test_a_silent_market_closes_at_its_last_mark() -> None:
    """Some hour ends within a silent window of the market; both then show the price from before it."""
    market, history = SimulatedMarket(7), SimulatedHistory(7)
    found = 0
    for back in range(1, 40):
        day = END - back * DAY
        for contract, first, end in market._paths.day((day - EPOCH) // DAY).gaps:
            symbol = UNIVERSE[contract].symbol
            hour = (end - 1) // 720 if first // 720 != end // 720 else None
            if hour is None or UNIVERSE[contract].status != "TRADING" or not first <= first // 720 * 720 + 719 < end:
                continue
            opened = day + first // 720 * HOUR
            (close,) = history.hourly_bars(symbol, opened, opened + HOUR)["close"]
            mark = market.marks(opened + LAST_SHOWN)[symbol]
            assert mark.as_of < opened + LAST_SHOWN - timedelta(seconds=4)
            assert close == float(mark.price)
            found += 1
    assert found > 0


def test_funding_is_the_markets() -> None:
    market, history = SimulatedMarket(7), SimulatedHistory(7)
    for symbol, a_day in (("BTCUSDT", 3), ("ENAUSDT", 6)):
        table = history.funding(symbol, END - 2 * DAY, END)
        published = market.funding([symbol], END - 2 * DAY - HOUR, END - HOUR)
        assert len(table) == 2 * a_day
        assert table["timestamp_utc"].tolist() == [row.time for row in published]
        assert table["funding_rate"].tolist() == [float(row.rate) for row in published]
        assert check(table, FUNDING_SETTLEMENTS, END) == []
        assert len(daily_funding(table)) == 2


def test_the_same_seed_tells_the_same_past_whatever_was_asked_before() -> None:
    fresh, asked = SimulatedHistory(7), SimulatedHistory(7)
    asked.hourly_bars("BTCUSDT", END - 9 * DAY, END - 6 * DAY)
    asked.funding("BTCUSDT", END - 30 * DAY, END)
    window = ("BTCUSDT", END - 5 * DAY, END)
    pd.testing.assert_frame_equal(fresh.hourly_bars(*window), asked.hourly_bars(*window))
    other = SimulatedHistory(8).hourly_bars(*window)
    assert (fresh.hourly_bars(*window)["close"] != other["close"]).mean() > 0.9


def test_a_quarter_has_every_hour_and_prices_that_move() -> None:
    bars = SimulatedHistory(7).hourly_bars("BTCUSDT", END - 90 * DAY, END)
    assert check(bars, BARS_1H, END) == []
    returns = np.diff(np.log(bars["close"]))
    # 45 % a year, a wide band for stochastic volatility.
    assert 0.2 < returns.std() * np.sqrt(24 * 365) < 1.0


def test_nothing_is_known_before_the_market_began() -> None:
    history = SimulatedHistory(7)
    bars = history.hourly_bars("BTCUSDT", EPOCH - 2 * DAY, EPOCH + HOUR)
    assert bars["timestamp_utc"].tolist() == [EPOCH]
    assert len(history.hourly_bars("BTCUSDT", EPOCH - 2 * DAY, EPOCH - DAY)) == 0
    assert history.funding("BTCUSDT", EPOCH - 2 * DAY, EPOCH + DAY)["timestamp_utc"][0] == EPOCH + 8 * HOUR


def test_what_the_market_does_not_have_is_missing_with_a_reason() -> None:
    history = SimulatedHistory(7)
    assert history.source == "SIMULATED"
    assert history.open_interest("BTCUSDT", END - DAY, END) is None
    assert history.option_levels("BTCUSDT", END - DAY, END) is None
    assert history.absence("open_interest", "BTCUSDT") == "the simulated market has no open interest"
    assert history.absence("option_levels", "BTCUSDT") == "the simulated market has no options"
    assert history.hourly_bars("BTCUSDT", END - DAY, END)["volume"].isna().all()


@pytest.mark.parametrize("symbol", ["NOPEUSDT", "MONUSDT"])
def test_a_contract_that_is_not_traded_has_no_history(symbol: str) -> None:
    with pytest.raises(HistoryError, match=symbol):
        SimulatedHistory(7).hourly_bars(symbol, END - DAY, END)
    with pytest.raises(HistoryError, match=symbol):
        SimulatedHistory(7).funding(symbol, END - DAY, END)
