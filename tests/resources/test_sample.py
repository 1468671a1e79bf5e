"""The sample signal: the real file's form, labelled, deterministic, different enough from one day to the next."""

import csv
import io
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from resources.market import Mark
from resources.market.sample import HEADER, sample_signal
from resources.market.simulated import SimulatedMarket

DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(7)


def _marks(market: SimulatedMarket, day: date) -> dict[str, Mark]:
    return dict(market.marks(datetime.combine(day, time(23, 55), UTC)))


def _rows(market: SimulatedMarket, day: date, seed: int = 7) -> dict[str, dict[str, str]]:
    _, data = sample_signal(market, day, _marks(market, day), seed)
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    tickers = {row["ticker"]: row for row in rows}
    assert len(tickers) == len(rows)
    return tickers


def test_the_file_has_the_real_files_form(market: SimulatedMarket) -> None:
    name, data = sample_signal(market, DAY, _marks(market, DAY), 7)
    assert name == "monitor_signal_DF_20261120-2355.csv"
    assert data.decode().splitlines()[0] == ",".join(HEADER)
    assert data.endswith(b"\n")
    rows = _rows(market, DAY)
    assert len(rows) == 29
    btc = rows["BTC_USDT"]
    assert btc["extra_key"] == f"{btc['strategy']}_BTC_USDT"
    assert btc["internal_code"] == "Binance Linear_BTC_USDT_FUTPERP"
    assert (btc["id_specific"], btc["ric"], btc["currency"]) == ("DF", "BTC_USDT", "USD")
    assert btc["value_ts"] == "2026-11-20 23:55"
    assert Decimal(btc["ref_price"]) == _marks(market, DAY)["BTCUSDT"].price


def test_every_row_says_that_it_is_simulated(market: SimulatedMarket) -> None:
    for row in _rows(market, DAY).values():
        assert row["strategy"].startswith("SIMULATED")
        assert row["advisor_name"].startswith("SIMULATED")


@pytest.mark.parametrize("seed", [0, 7, -3, 123_456_789])
def test_notionals_are_signed_like_contracts_and_sum_to_a_million(market: SimulatedMarket, seed: int) -> None:
    rows = _rows(market, DAY, seed).values()
    assert sum(abs(Decimal(row["target_notional"])) for row in rows) == 1_000_000
    for row in rows:
        assert row["target_contracts"] in ("1", "-1")
        assert Decimal(row["target_notional"]) * int(row["target_contracts"]) > 0
    assert {row["target_contracts"] for row in rows} == {"1", "-1"}
    assert {row["strategy"] for row in rows} == {"SIMULATED_trend", "SIMULATED_carry"}


def test_the_same_seed_and_day_give_the_same_bytes(market: SimulatedMarket) -> None:
    marks = _marks(market, DAY)
    assert sample_signal(market, DAY, marks, 7) == sample_signal(SimulatedMarket(7), DAY, marks, 7)
    assert sample_signal(market, DAY, marks, 8) != sample_signal(market, DAY, marks, 7)


def test_each_new_day_closes_opens_flips_and_reweights(market: SimulatedMarket) -> None:
    previous = _rows(market, DAY)
    for days in range(1, 30):
        rows = _rows(market, DAY + timedelta(days=days))
        stayed = set(rows) & set(previous)
        assert set(previous) - stayed
        assert set(rows) - stayed
        flipped = [t for t in stayed if rows[t]["target_contracts"] != previous[t]["target_contracts"]]
        assert 0 < len(flipped) < 10
        assert all(rows[t]["target_notional"] != previous[t]["target_notional"] for t in stayed)
        previous = rows


def test_only_names_that_can_be_traded_at_a_usable_mark_are_chosen(market: SimulatedMarket) -> None:
    marks = _marks(market, DAY)
    marks["BTCUSDT"] = replace(marks["BTCUSDT"], price=Decimal("NaN"))
    marks["ETHUSDT"] = replace(marks["ETHUSDT"], price=Decimal(0))
    del marks["SOLUSDT"]
    for days in range(35):
        _, data = sample_signal(market, DAY + timedelta(days=days), marks, 7)
        tickers = {row["ticker"] for row in csv.DictReader(io.StringIO(data.decode()))}
        assert not tickers & {"BTC_USDT", "ETH_USDT", "SOL_USDT", "FTM_USDT", "MON_USDT"}


def test_a_small_market_gives_a_small_signal_and_an_empty_one_an_error(market: SimulatedMarket) -> None:
    marks = _marks(market, DAY)
    small = {symbol: marks[symbol] for symbol in ("BTCUSDT", "ETHUSDT")}
    _, data = sample_signal(market, DAY, small, 7)
    (row,) = csv.DictReader(io.StringIO(data.decode()))
    assert abs(Decimal(row["target_notional"])) == 1_000_000
    with pytest.raises(ValueError, match="no sample signal"):
        sample_signal(market, DAY, {}, 7)
