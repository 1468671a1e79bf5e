"""The past of the simulated market: its own paths, so that history and marks agree to the tick.

A bar's close is the mark shown in the last five seconds of its hour. Funding settles by the market's own formula and
schedule. The market has no trades, no open interest and no options: volume is NaN and the rest None, not made up.
Nothing is known before the market's ``EPOCH``.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from resources.history import HistoryError, Source
from resources.market.simulated import (
    DAY_STREAM,
    EPOCH,
    GRID,
    SLOTS_PER_DAY,
    UNIVERSE,
    Day,
    PricePaths,
    SimulatedMarket,
)

_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
_SLOTS_PER_HOUR = SLOTS_PER_DAY // 24
_SLOTS_PER_MINUTE = timedelta(minutes=1) // GRID
_CLOSES = range(_SLOTS_PER_HOUR - 1, SLOTS_PER_DAY, _SLOTS_PER_HOUR)


class _OnePath(PricePaths):
    """One contract's path out of the whole universe: the same ticks, fourteen times quicker for the first contract.

    The random numbers of a day are drawn contract by contract, so those of the contracts behind this one can stay
    undrawn. Their ticks are zero: this object never leaves the module.
    """

    def __init__(self, seed: int, contract: int) -> None:
        super().__init__(seed)
        self._contract = contract

    def _draw_day(self, day: int) -> Day:
        """As in the base class, for one row."""
        row = self._contract
        prices, log_volatility = self.anchors(day + 1)
        start, move = prices[day, row], prices[day + 1, row] - prices[day, row]
        random = np.random.default_rng([self._seed, DAY_STREAM, day])
        share = self._variance_shares(random, log_volatility[day], log_volatility[day + 1])[row]
        draws = random.standard_normal((row + 2, SLOTS_PER_DAY))
        steps = self._own[row] * draws[row + 1] + self._loading[row] * draws[0]
        steps *= np.repeat(np.exp(log_volatility[day, row]) * np.sqrt(share), _SLOTS_PER_MINUTE)
        free = np.cumsum(steps)
        elapsed = np.cumsum(np.repeat(share, _SLOTS_PER_MINUTE))
        path = np.empty_like(free)
        path[0] = start
        path[1:] = start + free[:-1] + (move - free[-1]) * elapsed[:-1]
        ticks = np.zeros((len(UNIVERSE), SLOTS_PER_DAY), dtype=np.int64)
        ticks[row] = np.maximum(np.rint(np.exp(path) / self._tick[row]), 1)
        return Day(ticks, self._draw_gaps(day))


class _OneContract(SimulatedMarket):
    """The simulated market, of which only one contract is ever asked."""

    def __init__(self, seed: int, contract: int) -> None:
        super().__init__(seed)
        self._paths = _OnePath(seed, contract)
        self.closes = lru_cache(maxsize=None)(self._draw_closes)
        self._contract = contract

    def _draw_closes(self, day: int) -> list[float]:
        """The 24 hourly closes of a day, in quote currency."""
        shown = self._paths.day(day)
        slots = (shown.renewed(self._contract, slot) for slot in _CLOSES)
        return [float(self._mark(self._contract, day, slot).price) for slot in slots]


class SimulatedHistory:
    """History of the market ``SimulatedMarket(seed)``. Asking beyond the present is answered: the caller has the clock.

    A year of hours takes about a second for the first contracts of the universe (BTC, ETH), a few for the last, and is
    kept.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._index = {
            contract.symbol: index
            for index, contract in enumerate(UNIVERSE)
            if contract.status != "PENDING_TRADING"  # listed, but never marked
        }
        self._contract = lru_cache(maxsize=None)(self._open_contract)

    @property
    def source(self) -> Source:
        return "SIMULATED"

    def hourly_bars(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        contract = self._contract(symbol)
        first = max(0, -((EPOCH - start) // _HOUR))  # the first whole hour at or after start
        stop = max(first, (end - EPOCH) // _HOUR)
        closes = [close for day in range(first // 24, -(-stop // 24)) for close in contract.closes(day)]
        offset = first // 24 * 24
        opened = pd.date_range(EPOCH + first * _HOUR, periods=stop - first, freq="h", unit="us")
        return pd.DataFrame(
            {
                "timestamp_utc": opened,
                "close": np.array(closes[first - offset : stop - offset], dtype=np.float64),
                "volume": np.full(stop - first, np.nan),
            }
        )

    def funding(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        published = self._contract(symbol).funding([symbol], start - _TICK, end - _TICK)
        return pd.DataFrame(
            {
                "timestamp_utc": pd.DatetimeIndex([row.time for row in published], tz="UTC").as_unit("us"),
                "funding_rate": np.array([float(row.rate) for row in published], dtype=np.float64),
            }
        )

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> None:  # noqa: ARG002
        return None

    def option_levels(self, symbol: str, start: datetime, end: datetime) -> None:  # noqa: ARG002
        return None

    def absence(self, series: Literal["open_interest", "option_levels"], symbol: str) -> str:  # noqa: ARG002
        what = "open interest" if series == "open_interest" else "options"
        return f"the simulated market has no {what}"

    def _open_contract(self, symbol: str) -> _OneContract:
        index = self._index.get(symbol)
        if index is None:
            raise HistoryError(f"the simulated market does not trade {symbol}: see DESK_RESEARCH_SYMBOLS")
        return _OneContract(self._seed, index)
