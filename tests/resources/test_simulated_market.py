"""SimulatedMarket: a pure function of (seed, instant) with the statistics of a crypto market."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from resources.market import Mark, MarketError, open_market
from resources.market.simulated import EPOCH, GRID, UNIVERSE, PricePaths, SimulatedMarket
from resources.settings import Settings

NOON = datetime(2026, 11, 21, 12, 0, 3, 250_000, tzinfo=UTC)
CONTRACTS = {contract.symbol: contract for contract in UNIVERSE}
REQUIRED = """
BTC ETH XRP BNB SOL TRX DOGE ADA AVAX LINK ICP XLM HBAR FET BCH LTC DOT TON RENDER SUI UNI NEAR ETC AAVE VET ATOM
ALGO APT FIL 1000SHIB 1000PEPE
"""


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(7)


@pytest.fixture(scope="module")
def daily() -> tuple[np.ndarray, np.ndarray]:
    """(log returns, log prices) of 2,500 days of anchors."""
    prices, _ = PricePaths(7).anchors(2_500)
    return np.diff(prices, axis=0), prices


def _answers(market: SimulatedMarket, at: datetime) -> str:
    symbols = ["BTCUSDT", "ENAUSDT", "FETUSDT"]
    return repr(
        (
            sorted(market.marks(at).items()),
            [market.liquidity(symbol, at) for symbol in symbols],
            market.funding(symbols, at - timedelta(days=1), at),
        )
    )


def test_marks_every_required_symbol_on_its_tick_grid_and_never_from_the_future(market: SimulatedMarket) -> None:
    marks = market.marks(NOON)
    assert {base + "USDT" for base in REQUIRED.split()} <= set(marks)
    for symbol, mark in marks.items():
        assert mark.symbol == symbol
        assert mark.price > 0
        assert mark.price % CONTRACTS[symbol].tick_size == 0
        assert mark.as_of <= NOON
        assert (mark.as_of - EPOCH) % GRID == timedelta(0)
    assert marks["BTCUSDT"].as_of == NOON.replace(microsecond=0) - timedelta(seconds=3)


def test_an_answer_does_not_depend_on_what_was_asked_before() -> None:
    walked = SimulatedMarket(7)
    for day in range(-9, 9):
        walked.marks(NOON + timedelta(days=100 * day))
    assert _answers(walked, NOON) == _answers(SimulatedMarket(7), NOON)


def test_another_process_gives_the_same_answers(market: SimulatedMarket) -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests/resources')\n"
        "from test_simulated_market import NOON, SimulatedMarket, _answers\n"
        "sys.stdout.write(_answers(SimulatedMarket(7), NOON))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout == _answers(market, NOON)


def test_another_seed_is_another_market(market: SimulatedMarket) -> None:
    assert SimulatedMarket(8).marks(NOON)["BTCUSDT"].price != market.marks(NOON)["BTCUSDT"].price
    assert SimulatedMarket(-1).marks(NOON)["BTCUSDT"].price > 0


def test_nothing_is_known_before_the_epoch_and_naive_instants_are_refused(market: SimulatedMarket) -> None:
    assert market.marks(EPOCH)["BTCUSDT"].price == 115_000
    with pytest.raises(MarketError, match="2020-01-01"):
        market.marks(EPOCH - GRID)
    with pytest.raises(TypeError):
        market.marks(datetime(2026, 1, 1))  # noqa: DTZ001


def test_annual_volatility_is_each_contracts_own(daily: tuple[np.ndarray, np.ndarray]) -> None:
    returns, _ = daily
    ratio = returns.std(axis=0) * np.sqrt(365) / [contract.volatility for contract in UNIVERSE]
    assert ratio.min() > 0.75
    assert ratio.max() < 1.3
    assert ratio.mean() == pytest.approx(1, abs=0.08)


def test_intraday_steps_carry_the_same_variance_as_the_days(daily: tuple[np.ndarray, np.ndarray]) -> None:
    returns, _ = daily
    paths = PricePaths(7)
    days = range(1_000, 1_030)
    squared = [
        (np.diff(np.log(paths.day(day).ticks[:2].astype(float)), axis=1) ** 2).sum(axis=1) for day in days
    ]  # BTC and ETH: their ticks are fine enough not to add rounding noise
    _, log_volatility = paths.anchors(1_030)
    expected = np.exp(2 * log_volatility[1_000:1_030, :2])
    assert (np.array(squared) / expected).mean(axis=0) == pytest.approx([1, 1], abs=0.15)
    assert np.mean(squared, axis=0)[0] < 10 * (returns[:, 0] ** 2).mean()


def test_returns_are_correlated_through_the_market(daily: tuple[np.ndarray, np.ndarray]) -> None:
    returns, _ = daily
    correlation = np.corrcoef(returns.T)
    pairs = correlation[np.triu_indices(len(UNIVERSE), k=1)]
    assert pairs.min() > 0.1
    assert pairs.max() < 0.95
    assert 0.4 < pairs.mean() < 0.75
    assert correlation[0, 1] > 0.6


def test_volatility_clusters_while_returns_do_not_repeat(daily: tuple[np.ndarray, np.ndarray]) -> None:
    returns, _ = daily

    def lagged(series: np.ndarray, lag: int) -> float:
        return float(np.mean([np.corrcoef(s[:-lag], s[lag:])[0, 1] for s in series.T]))

    assert lagged(np.abs(returns), 1) > 0.1
    assert lagged(np.abs(returns), 10) > 0.05
    assert abs(lagged(returns, 1)) < 0.05


def test_falling_prices_raise_volatility(daily: tuple[np.ndarray, np.ndarray]) -> None:
    returns, _ = daily
    _, log_volatility = PricePaths(7).anchors(2_500)
    change = np.diff(log_volatility, axis=0)
    assert np.mean([np.corrcoef(r, c)[0, 1] for r, c in zip(returns.T, change.T, strict=True)]) < -0.2


def test_prices_stay_in_a_range_that_suits_the_filters(daily: tuple[np.ndarray, np.ndarray]) -> None:
    _, prices = daily
    away = prices - np.log([contract.price for contract in UNIVERSE])
    assert np.abs(away).max() < np.log(30)


def test_the_path_is_continuous_across_midnight() -> None:
    paths = PricePaths(7)
    inside, across = [], []
    for day in range(2_000, 2_020):
        today, tomorrow = (np.log(paths.day(number).ticks[:8].astype(float)) for number in (day, day + 1))
        inside.append(np.abs(np.diff(today[:, -200:], axis=1)).mean())
        across.append(np.abs(tomorrow[:, 0] - today[:, -1]).mean())
    assert np.mean(across) < 1.5 * np.mean(inside)


def test_a_day_starts_at_its_anchor() -> None:
    paths = PricePaths(7)
    prices, _ = paths.anchors(1_500)
    ticks = np.exp(prices[1_500]) / [float(contract.tick_size) for contract in UNIVERSE]
    assert np.abs(paths.day(1_500).ticks[:, 0] - ticks).max() <= 0.5


def test_marks_go_silent_a_few_times_a_week_and_come_back(market: SimulatedMarket) -> None:
    paths = PricePaths(7)
    days = range(2_400, 2_456)
    gaps = [(day, *gap) for day in days for gap in paths.day(day).gaps]
    seconds = [5 * (end - first) for _, _, first, end in gaps]
    assert 2 <= len(gaps) / (len(days) / 7) <= 8
    assert sum(length > 120 for length in seconds) > len(gaps) / 3
    assert max(seconds) <= 7 * 60

    day, contract, first, end = next(gap for gap in gaps if UNIVERSE[gap[1]].status == "TRADING")
    symbol = UNIVERSE[contract].symbol
    silent_from, silent_until = (EPOCH + timedelta(days=day) + slot * GRID for slot in (first, end))
    before = market.marks(silent_from)[symbol]
    assert before.as_of == silent_from
    assert market.marks(silent_until - timedelta(microseconds=1))[symbol] == before
    book = market.liquidity(symbol, silent_until - GRID)
    assert book is not None
    assert book.as_of == silent_from
    assert market.marks(silent_until)[symbol].as_of == silent_until


def test_funding_is_published_on_schedule_and_bounded(market: SimulatedMarket) -> None:
    end = datetime(2026, 3, 1, 8, tzinfo=UTC)
    published = market.funding(["BTCUSDT", "ENAUSDT", "NOPEUSDT", "MONUSDT"], end - timedelta(days=5), end)
    times = {s: [row.time for row in published if row.symbol == s] for s in ("BTCUSDT", "ENAUSDT")}
    assert len(published) == len(times["BTCUSDT"]) + len(times["ENAUSDT"])
    assert times["BTCUSDT"] == [end - timedelta(hours=8 * back) for back in reversed(range(15))]
    assert len(times["ENAUSDT"]) == 30
    assert published == sorted(published, key=lambda row: (row.time, row.symbol))
    for row in published:
        assert abs(row.rate) <= Decimal("0.02")
        assert row.mark == market.marks(row.time)[row.symbol].price


def test_two_windows_of_funding_join_without_loss_or_repeat(market: SimulatedMarket) -> None:
    start, middle, end = (datetime(2026, 3, day, 8, tzinfo=UTC) for day in (1, 2, 4))
    halves = market.funding(CONTRACTS, start, middle) + market.funding(CONTRACTS, middle, end)
    assert halves == market.funding(CONTRACTS, start, end)


def test_longs_pay_after_rallies(daily: tuple[np.ndarray, np.ndarray], market: SimulatedMarket) -> None:
    returns, _ = daily
    start = 1_800
    rows = market.funding(["SOLUSDT"], EPOCH + timedelta(days=start), EPOCH + timedelta(days=start + 60))
    drift = [returns[(row.time - EPOCH).days - 1, 4] for row in rows]
    assert np.corrcoef(drift, [float(row.rate) for row in rows])[0, 1] > 0.4


def test_exchange_info_lists_the_universe_in_the_exchanges_shape(market: SimulatedMarket) -> None:
    data = market.exchange_info(NOON)
    assert data == SimulatedMarket(99).exchange_info(EPOCH)
    listings = {row["symbol"]: row for row in json.loads(data)["symbols"]}
    assert sorted(row["status"] for row in listings.values() if row["status"] != "TRADING") == [
        "PENDING_TRADING",
        "SETTLING",
    ]
    for symbol, row in listings.items():
        assert (row["baseAsset"] + row["quoteAsset"], row["contractType"]) == (symbol, "PERPETUAL")
        filters = {entry["filterType"]: entry for entry in row["filters"]}
        lot, market_lot = filters["LOT_SIZE"], filters["MARKET_LOT_SIZE"]
        assert Decimal(market_lot["maxQty"]) < Decimal(lot["maxQty"])
        assert Decimal(lot["minQty"]) % Decimal(lot["stepSize"]) == 0
        assert Decimal(filters["PRICE_FILTER"]["tickSize"]) == CONTRACTS[symbol].tick_size
        assert Decimal(filters["MIN_NOTIONAL"]["notional"]) >= 5
    btc = {entry["filterType"]: entry for entry in listings["BTCUSDT"]["filters"]}
    assert (btc["LOT_SIZE"]["stepSize"], btc["MIN_NOTIONAL"]["notional"]) == ("0.001", "100")
    assert {"1", "0.1", "0.01"} <= {
        entry["stepSize"] for row in listings.values() for entry in row["filters"] if entry["filterType"] == "LOT_SIZE"
    }


def test_pending_contracts_have_no_mark_and_settling_ones_no_book(market: SimulatedMarket) -> None:
    marks = market.marks(NOON)
    assert "MONUSDT" not in marks
    assert "FTMUSDT" in marks
    assert market.liquidity("MONUSDT", NOON) is None
    assert market.liquidity("FTMUSDT", NOON) is None
    assert market.liquidity("NOPEUSDT", NOON) is None


@pytest.mark.parametrize("contract", [c for c in UNIVERSE if c.status == "TRADING"], ids=lambda c: c.symbol)
def test_a_book_surrounds_the_mark_and_holds_a_realistic_amount(market: SimulatedMarket, contract) -> None:
    mark: Mark = market.marks(NOON)[contract.symbol]
    book = market.liquidity(contract.symbol, NOON)
    assert book is not None
    assert (book.as_of, len(book.bids), len(book.asks)) == (mark.as_of, 20, 20)
    assert book.bids[0][0] < mark.price < book.asks[0][0]
    assert [price for price, _ in book.bids] == sorted({price for price, _ in book.bids}, reverse=True)
    assert [price for price, _ in book.asks] == sorted({price for price, _ in book.asks})
    for side in (book.bids, book.asks):
        assert all(price > 0 and price % contract.tick_size == 0 for price, _ in side)
        assert all(quantity > 0 and quantity % contract.step_size == 0 for _, quantity in side)
        values = [price * quantity for price, quantity in side]
        assert values[0] < 100_000 < sum(values) < 50_000_000


def test_answers_come_fast_enough_for_a_one_second_display() -> None:
    market = SimulatedMarket(11)
    market.marks(NOON)
    cold = min(_timed(lambda day=day: market.marks(NOON + timedelta(days=day))) for day in range(2, 7))
    warm = min(_timed(lambda: market.marks(NOON + timedelta(days=6))) for _ in range(50))
    assert cold < 1
    assert warm < cold / 20, "a day's prices are computed once, on a slow machine too"


def _timed(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def test_the_last_slot_of_a_day_belongs_to_it(market: SimulatedMarket) -> None:
    midnight = datetime(2026, 5, 2, tzinfo=UTC)
    marks = market.marks(midnight - timedelta(microseconds=1))
    assert max(mark.as_of for mark in marks.values()) == midnight - GRID


def test_the_default_setting_opens_the_simulated_market() -> None:
    opened = open_market(Settings(seed=7))
    assert opened.name == "SIMULATED"
    assert opened.marks(NOON) == SimulatedMarket(7).marks(NOON)
