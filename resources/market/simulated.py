"""A simulated USD-M perpetual market: correlated stochastic-volatility paths with random access in time.

Sensor, run worker and ticker are different processes, so nothing here depends on what was asked before: every
answer is a function of (seed, symbol, instant). Floats are used to draw the paths only; each price is rounded to a
whole number of ticks and leaves as an exact Decimal. The numbers are identical wherever numpy's generator is.
"""

import json
import math
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resources.market import Book, FundingRate, Mark, MarketError

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
GRID = timedelta(seconds=5)
SLOTS_PER_DAY = 17_280
_SLOTS_PER_MINUTE = 12
_MINUTES_PER_DAY = 1_440

_EXACT = Context(prec=60, traps=[Inexact])
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contract:
    """One simulated perpetual.

    ``price`` is the level the path reverts to (quote per unit), ``volatility`` its long-run annualised standard
    deviation of log returns (365 days), ``market_correlation`` the correlation of its returns with the market
    factor, ``step_size`` the quantity grid of LOT_SIZE and MARKET_LOT_SIZE, ``displayed`` the notional shown on
    each side of the book (quote).
    """

    base: str
    price: float
    volatility: float
    market_correlation: float
    tick_size: Decimal
    step_size: Decimal
    min_notional: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    displayed: float
    funding_hours: int = 8
    status: str = "TRADING"

    @property
    def symbol(self) -> str:
        return self.base + "USDT"


def _listed(rows: str) -> tuple[Contract, ...]:
    contracts = []
    for row in rows.strip().splitlines():
        base, price, vol, corr, tick, step, least, most, market_most, shown, hours, status = row.split()
        contracts.append(
            Contract(
                base=base,
                price=float(price),
                volatility=float(vol),
                market_correlation=float(corr),
                tick_size=Decimal(tick),
                step_size=Decimal(step),
                min_notional=Decimal(least),
                max_quantity=Decimal(most),
                max_market_quantity=Decimal(market_most),
                displayed=float(shown),
                funding_hours=int(hours),
                status=status,
            )
        )
    return tuple(contracts)


# Ticks, steps and minima as recorded from Binance USD-M in 2025; levels and volatilities of the same year, rounded.
UNIVERSE = _listed(
    """
    BTC      115000  0.45 0.90 0.1       0.001 100 1000      120      8e6   8 TRADING
    ETH      4300    0.68 0.88 0.01      0.001 20  10000     2000     6e6   8 TRADING
    XRP      2.9     0.80 0.72 0.0001    0.1   5   10000000  2000000  3e6   8 TRADING
    BNB      900     0.50 0.74 0.01      0.01  5   100000    2000     3e6   8 TRADING
    SOL      215     0.80 0.82 0.01      0.01  5   1000000   80000    4e6   8 TRADING
    TRX      0.34    0.48 0.52 0.00001   1     5   10000000  5000000  1.2e6 8 TRADING
    DOGE     0.25    0.92 0.80 0.00001   1     5   50000000  10000000 2.5e6 8 TRADING
    ADA      0.85    0.88 0.80 0.0001    1     5   20000000  2000000  1.8e6 8 TRADING
    AVAX     28      0.92 0.80 0.001     1     5   1000000   100000   1.5e6 8 TRADING
    LINK     22      0.86 0.80 0.001     0.01  5   1000000   100000   1.6e6 8 TRADING
    ICP      4.8     0.88 0.74 0.001     1     5   1000000   50000    7e5   8 TRADING
    XLM      0.38    0.85 0.70 0.00001   1     5   50000000  5000000  9e5   8 TRADING
    HBAR     0.23    0.95 0.74 0.00001   1     5   50000000  5000000  9e5   8 TRADING
    FET      0.62    1.05 0.74 0.0001    1     5   10000000  1000000  7e5   8 TRADING
    BCH      580     0.75 0.70 0.01      0.001 5   10000     1500     1.2e6 8 TRADING
    LTC      112     0.72 0.76 0.01      0.001 5   100000    10000    1.2e6 8 TRADING
    DOT      4.1     0.85 0.82 0.001     0.1   5   5000000   500000   1.1e6 8 TRADING
    TON      3.1     0.75 0.62 0.0001    0.1   5   1000000   200000   8e5   8 TRADING
    RENDER   3.6     1.00 0.76 0.001     0.1   5   1000000   100000   7e5   8 TRADING
    SUI      3.4     1.02 0.78 0.0001    0.1   5   10000000  1000000  1.8e6 8 TRADING
    UNI      9.2     0.95 0.76 0.001     1     5   1000000   100000   1.0e6 8 TRADING
    NEAR     2.6     0.95 0.80 0.001     1     5   5000000   400000   9e5   8 TRADING
    ETC      20      0.80 0.80 0.001     0.01  5   1000000   100000   1.0e6 8 TRADING
    AAVE     295     0.90 0.78 0.01      0.1   5   100000    5000     1.1e6 8 TRADING
    VET      0.024   0.86 0.78 0.000001  1     5   100000000 20000000 7e5   8 TRADING
    ATOM     4.5     0.80 0.80 0.001     0.01  5   1000000   100000   8e5   8 TRADING
    ALGO     0.23    0.90 0.76 0.0001    0.1   5   50000000  2000000  7e5   8 TRADING
    APT      4.4     0.92 0.80 0.0001    0.1   5   5000000   500000   9e5   8 TRADING
    FIL      2.4     0.84 0.80 0.001     0.1   5   5000000   300000   9e5   8 TRADING
    1000SHIB 0.0125  0.86 0.80 0.000001  1     5   100000000 20000000 9e5   8 TRADING
    1000PEPE 0.0105  1.15 0.76 0.0000001 1     5   500000000 50000000 1.6e6 8 TRADING
    ENA      0.65    1.20 0.74 0.0001    1     5   10000000  1000000  1.0e6 4 TRADING
    LAYER    0.60    1.35 0.55 0.0001    0.1   5   800000    80000    3e5   4 TRADING
    XMR      310     0.70 0.50 0.01      0.001 5   10000     1000     7e5   8 TRADING
    FTM      0.70    1.00 0.74 0.0001    1     5   10000000  1000000  5e5   8 SETTLING
    MON      0.04    1.30 0.60 0.00001   1     5   10000000  1000000  4e5   8 PENDING_TRADING
    """
)

_DAYS_PER_YEAR = 365
# A price a year's half-life away from its level keeps ticks and minima realistic for decades of simulated time.
_REVERSION = math.log(2) / _DAYS_PER_YEAR
# Daily log-volatility: AR(1) around the long-run level; falling prices raise it (leverage), the market's share of the
# shocks makes calm and wild weeks common to all coins.
_PERSISTENCE = 0.96
_LOG_VOLATILITY_SD = 0.4
_LEVERAGE = -0.35
_COMMON_VOLATILITY = 0.75
_INTRADAY_LOG_VOLATILITY = 0.8

# Mean number of silent windows a day in the whole universe, and their lengths in 5 s slots (30 s to 7 min).
_GAPS_PER_DAY = 0.6
_GAP_SLOTS = (6, 84)

_LEVELS = 20
_HALF_SPREAD = 0.4e-4
_LEVEL_SPACING = 0.8e-4

_INTEREST_PER_8H = 0.0001
_FUNDING_CLAMP = 0.0005
_FUNDING_CAP = 0.02
_RATE_DIGITS = Decimal("0.00000001")

# Leading words of each random stream's seed, so that no two streams ever share one.
_ANCHOR_STREAM, DAY_STREAM, _GAP_STREAM, _BOOK_STREAM, _FUNDING_STREAM = range(5)
_DAYS_PER_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of every contract of the universe.

    ``ticks[i, s]`` is contract i's price in ticks at midnight + 5 s * s; ``gaps`` are (contract, first slot, end
    slot): the mark of the first slot is not renewed before the end slot.
    """

    ticks: NDArray[np.int64]
    gaps: tuple[tuple[int, int, int], ...]

    def renewed(self, contract: int, slot: int) -> int:
        """The slot at which the mark shown at ``slot`` was made."""
        for silent, first, end in self.gaps:
            if silent == contract and first <= slot < end:
                return first
        return slot


class PricePaths:
    """The price paths behind a simulated market; days are numbered from ``EPOCH``.

    Daily anchors are a chain of correlated returns with stochastic volatility. Between two anchors the path is a
    Brownian bridge run on a random intraday clock (volatility by minute), so a day needs nothing but its own seed
    and its two anchors.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**64  # numpy takes no negative seeds
        count = len(UNIVERSE)
        self._level = np.log([contract.price for contract in UNIVERSE])
        self._loading = np.array([contract.market_correlation for contract in UNIVERSE])
        self._own = np.sqrt(1 - self._loading**2)
        volatility = np.array([contract.volatility for contract in UNIVERSE]) / math.sqrt(_DAYS_PER_YEAR)
        # Half the log-normal correction, so that the mean variance is volatility squared.
        self._log_volatility = np.log(volatility) - _LOG_VOLATILITY_SD**2
        self._tick = np.array([[float(contract.tick_size)] for contract in UNIVERSE])
        self._random = np.random.default_rng([self._seed, _ANCHOR_STREAM])
        self._prices = self._level[None, :].copy()
        self._deviations = np.zeros((1, count))
        self._growing = threading.Lock()
        self.day = lru_cache(maxsize=4)(self._draw_day)

    def anchors(self, last_day: int) -> tuple[_Floats, _Floats]:
        """(log price, daily log-volatility) at midnight of days 0 to ``last_day``; rows are days."""
        with self._growing:
            while len(self._prices) <= last_day:
                self._grow()
            return self._prices[: last_day + 1], self._log_volatility + self._deviations[: last_day + 1]

    def drift(self, day: int, contract: int) -> float:
        """The log return of one contract over the day before ``day``."""
        with self._growing:
            while len(self._prices) <= day:
                self._grow()
            return float(self._prices[day, contract] - self._prices[max(0, day - 1), contract])

    def _grow(self) -> None:
        """Append a fixed-size chunk of anchors: the chain is drawn in one order whoever asks first."""
        count = len(UNIVERSE)
        prices = np.vstack([self._prices, np.empty((_DAYS_PER_CHUNK, count))])
        deviations = np.vstack([self._deviations, np.empty((_DAYS_PER_CHUNK, count))])
        draws = self._random.standard_normal((_DAYS_PER_CHUNK, 2, count + 1))
        returns = self._loading * draws[:, 0, :1] + self._own * draws[:, 0, 1:]
        surprises = _COMMON_VOLATILITY * draws[:, 1, :1] + math.sqrt(1 - _COMMON_VOLATILITY**2) * draws[:, 1, 1:]
        shocks = _LEVERAGE * returns + math.sqrt(1 - _LEVERAGE**2) * surprises
        shocks *= _LOG_VOLATILITY_SD * math.sqrt(1 - _PERSISTENCE**2)
        for row in range(_DAYS_PER_CHUNK):
            today = len(self._prices) - 1 + row
            move = np.exp(self._log_volatility + deviations[today]) * returns[row]
            prices[today + 1] = prices[today] + _REVERSION * (self._level - prices[today]) + move
            deviations[today + 1] = _PERSISTENCE * deviations[today] + shocks[row]
        self._prices, self._deviations = prices, deviations

    def _draw_day(self, day: int) -> Day:
        prices, log_volatility = self.anchors(day + 1)
        start, move = prices[day][:, None], (prices[day + 1] - prices[day])[:, None]
        random = np.random.default_rng([self._seed, DAY_STREAM, day])

        shares = self._variance_shares(random, log_volatility[day], log_volatility[day + 1])
        draws = random.standard_normal((len(UNIVERSE) + 1, SLOTS_PER_DAY))
        steps = self._own[:, None] * draws[1:]
        steps += self._loading[:, None] * draws[0]
        deviation = np.exp(log_volatility[day])[:, None] * np.sqrt(shares)
        steps *= np.repeat(deviation, _SLOTS_PER_MINUTE, axis=1)
        free = np.cumsum(steps, axis=1)
        elapsed = np.cumsum(np.repeat(shares, _SLOTS_PER_MINUTE, axis=1), axis=1)
        # Slot 0 is the anchor itself; the end of the last step is the next day's slot 0.
        path = np.empty_like(free)
        path[:, :1] = start
        path[:, 1:] = start + free[:, :-1] + (move - free[:, -1:]) * elapsed[:, :-1]
        np.exp(path, out=path)
        path /= self._tick
        ticks = np.maximum(np.rint(path, out=path), 1).astype(np.int64)
        return Day(ticks, self._draw_gaps(day))

    @staticmethod
    def _variance_shares(random: np.random.Generator, opening: _Floats, closing: _Floats) -> _Floats:
        """Each slot's share of the day's variance, by contract and minute (12 slots a minute share one value)."""
        minutes = np.arange(_MINUTES_PER_DAY) / _MINUTES_PER_DAY
        draws = random.standard_normal((len(opening) + 1, _MINUTES_PER_DAY)) / math.sqrt(_MINUTES_PER_DAY)
        walk = np.cumsum(math.sqrt(0.5) * (draws[1:] + draws[0]), axis=1)
        bridge = walk - walk[:, -1:] * minutes
        # European and American hours are busier; the curve is the same on both sides of midnight.
        busy = 0.25 * np.sin(2 * np.pi * (minutes - 9 / 24))
        level = opening[:, None] + (closing - opening)[:, None] * minutes
        variance = np.exp(2 * (level + _INTRADAY_LOG_VOLATILITY * bridge + busy))
        shares: _Floats = variance / (variance.sum(axis=1, keepdims=True) * _SLOTS_PER_MINUTE)
        return shares

    def _draw_gaps(self, day: int) -> tuple[tuple[int, int, int], ...]:
        random = np.random.default_rng([self._seed, _GAP_STREAM, day])
        silent = random.permutation(len(UNIVERSE))[: random.poisson(_GAPS_PER_DAY)]  # one gap a day and contract
        lengths = random.integers(*_GAP_SLOTS, size=len(silent))
        # Never across midnight: a day is drawn without looking at its neighbours' gaps.
        firsts = random.integers(SLOTS_PER_DAY - _GAP_SLOTS[1], size=len(silent))
        gaps = zip(silent.tolist(), firsts.tolist(), (firsts + lengths).tolist(), strict=True)
        return tuple(gaps)


class SimulatedMarket:
    """The market of the default setting; see the module's docstring for what it promises.

    Contracts in status PENDING_TRADING have no mark, book or funding yet; those in SETTLING have marks and funding
    but no book. Instants before ``EPOCH`` raise MarketError.
    """

    name = "SIMULATED"

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**64
        self._paths = PricePaths(seed)
        self._index = {contract.symbol: index for index, contract in enumerate(UNIVERSE)}
        self._marked = [
            (index, contract.symbol, contract.tick_size)
            for index, contract in enumerate(UNIVERSE)
            if contract.status != "PENDING_TRADING"
        ]
        self._exchange_info = json.dumps(_exchange_info(), separators=(",", ":")).encode()

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        number, slot = _located(at)
        day = self._paths.day(number)
        made = _instant(number, slot)
        ticks = day.ticks[:, slot].tolist()
        marks = {
            symbol: Mark(symbol, _EXACT.multiply(ticks[index], tick), made) for index, symbol, tick in self._marked
        }
        for contract, first, end in day.gaps:
            symbol = UNIVERSE[contract].symbol
            if first <= slot < end and symbol in marks:
                marks[symbol] = self._mark(contract, number, first)
        return marks

    def exchange_info(self, at: datetime) -> bytes:  # noqa: ARG002  the listing never changes
        return self._exchange_info

    def liquidity(self, symbol: str, at: datetime) -> Book | None:
        """Twenty levels a side around the mark, as old as the mark; None for what is not TRADING or not listed."""
        index = self._index.get(symbol)
        if index is None or UNIVERSE[index].status != "TRADING":
            return None
        contract = UNIVERSE[index]
        number, slot = _located(at)
        day = self._paths.day(number)
        slot = day.renewed(index, slot)
        middle = int(day.ticks[index, slot])
        tick, step = float(contract.tick_size), float(contract.step_size)
        price = middle * tick
        random = np.random.default_rng([self._seed, _BOOK_STREAM, index, number, slot])
        # Depth grows away from the touch, as it does in recorded books.
        notional = contract.displayed * np.arange(1, _LEVELS + 1) / (_LEVELS * (_LEVELS + 1) / 2)
        steps = np.maximum(1, np.rint(notional * random.uniform(0.6, 1.4, (2, _LEVELS)) / price / step))
        half_spread = max(1, round(price * _HALF_SPREAD / tick))
        spacing = max(1, round(price * _LEVEL_SPACING / tick))
        away = half_spread + np.cumsum(random.integers(1, 2 * spacing, (2, _LEVELS)), axis=1) - 1

        def side(direction: int, row: int) -> tuple[tuple[Decimal, Decimal], ...]:
            levels = zip(away[row].tolist(), steps[row].tolist(), strict=True)
            return tuple(
                (
                    _EXACT.multiply(middle + direction * distance, contract.tick_size),
                    _EXACT.multiply(int(size), contract.step_size),
                )
                for distance, size in levels
                if middle + direction * distance > 0
            )

        return Book(symbol, bids=side(-1, 0), asks=side(1, 1), as_of=_instant(number, slot))

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        """Settlements every 8 h (4 h for a few) from ``EPOCH`` on, by the exchange's formula.

        rate = premium + clamp(interest - premium, +-0.05 %); the premium follows the last complete UTC day's return,
        so a rally makes longs pay.
        """
        due = [
            (time, symbol, index)
            for index, symbol, _ in self._marked
            if symbol in symbols
            for time in _settlement_times(UNIVERSE[index].funding_hours, after, until)
        ]
        # In the order of time, so that each day is drawn once, not once a contract.
        return [self._settlement(index, time) for time, _, index in sorted(due)]

    def _settlement(self, index: int, time: datetime) -> FundingRate:
        contract = UNIVERSE[index]
        number, slot = _located(time)
        drift = self._paths.drift(number, index)
        random = np.random.default_rng([self._seed, _FUNDING_STREAM, index, number, slot])
        interest = _INTEREST_PER_8H * contract.funding_hours / 8
        premium = 0.02 * drift + 0.0004 * float(random.standard_normal())
        rate = premium + min(_FUNDING_CLAMP, max(-_FUNDING_CLAMP, interest - premium))
        rate = min(_FUNDING_CAP, max(-_FUNDING_CAP, rate))
        mark = self._mark(index, number, self._paths.day(number).renewed(index, slot))
        return FundingRate(contract.symbol, time, Decimal(repr(rate)).quantize(_RATE_DIGITS), mark.price)

    def _mark(self, index: int, number: int, slot: int) -> Mark:
        contract = UNIVERSE[index]
        price = _EXACT.multiply(int(self._paths.day(number).ticks[index, slot]), contract.tick_size)
        return Mark(contract.symbol, price, _instant(number, slot))


def _located(at: datetime) -> tuple[int, int]:
    """(day number, slot within the day) of the newest grid instant not after ``at``."""
    if at < EPOCH:
        raise MarketError(f"the simulated market begins at {EPOCH:%Y-%m-%d} UTC; nothing is known at {at.isoformat()}")
    return divmod((at - EPOCH) // GRID, SLOTS_PER_DAY)


def _instant(number: int, slot: int) -> datetime:
    return EPOCH + timedelta(days=number) + slot * GRID


def _settlement_times(hours: int, after: datetime, until: datetime) -> Iterator[datetime]:
    interval = timedelta(hours=hours)
    number = max(1, (after - EPOCH) // interval + 1)
    while (time := EPOCH + number * interval) <= until:
        yield time
        number += 1


def _exchange_info() -> dict[str, object]:
    """The universe in the shape of Binance USD-M ``/fapi/v1/exchangeInfo``."""
    return {
        "timezone": "UTC",
        "serverTime": _milliseconds(EPOCH),
        "futuresType": "U_MARGINED",
        "rateLimits": [],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_listing(contract) for contract in UNIVERSE],
    }


def _listing(contract: Contract) -> dict[str, object]:
    def places(grid: Decimal) -> int:
        return -int(grid.as_tuple().exponent)

    step, tick = format(contract.step_size, "f"), format(contract.tick_size, "f")
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": _milliseconds(EPOCH),
        "status": contract.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": places(contract.tick_size),
        "quantityPrecision": places(contract.step_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": format(contract.tick_size * 10**8, "f"),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": str(contract.max_quantity), "stepSize": step},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": step,
                "maxQty": str(contract.max_market_quantity),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": str(contract.min_notional)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _milliseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
