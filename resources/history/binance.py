"""Live Binance USD-M history: klines, published funding, open-interest statistics. No key, closed hours only.

Needs the ``binance`` extra. Pages are windows of time of the size the exchange answers at once, so it never matters
which end of a longer window it would cut off.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from resources.clock import Clock, SystemClock
from resources.history import HistoryError, Source
from resources.market.binance import (
    MALFORMED,
    USD_M,
    BinanceMarket,
    UnknownSymbolError,
    milliseconds,
    parsed,
    unexpected,
)

if TYPE_CHECKING:  # the market's adapter says what to install where httpx is missing
    import httpx

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_TICK = timedelta(microseconds=1)
_BAR_PAGE = 1500
_OPEN_INTEREST_PAGE = 500
# The exchange keeps a month of open interest; the hour less keeps a slow request inside of it.
_OPEN_INTEREST_KEPT = timedelta(days=30) - _HOUR
_LAST_HOUR = 23


class _Exchange(BinanceMarket):
    """The market's endpoints and its manners (retries, bans), and two endpoints more."""

    def pages(
        self, endpoint: str, symbol: str, interval: tuple[str, str], start: datetime, stop: datetime, page: int
    ) -> Iterator[Any]:
        """Hourly rows stamped from ``start`` to before ``stop``, as sent; ``interval`` is a parameter and its value."""
        name, value = interval
        while start < stop:
            until = min(stop, start + page * _HOUR)
            window = {"startTime": milliseconds(start), "endTime": milliseconds(until) - 1, "limit": page}
            try:
                answer = parsed(endpoint, self._get(endpoint, symbol=symbol, **{name: value}, **window))
            except UnknownSymbolError as error:
                raise HistoryError(f"{error}: {symbol} is not listed, see DESK_RESEARCH_SYMBOLS") from error
            if not isinstance(answer, list):
                raise unexpected(endpoint, "no list of rows")
            yield from answer
            start = until


class BinanceHistory:
    """History of USD-M perpetuals; ``end`` is cut at the clock's present, so the running hour is never returned.

    Every method raises MarketError, naming the endpoint, when the exchange refuses, stays silent or answers something
    else than documented.
    """

    def __init__(self, base_url: str = USD_M, client: "httpx.Client | None" = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._exchange = _Exchange(base_url, client, self._clock)

    @property
    def source(self) -> Source:
        return "BINANCE"

    def hourly_bars(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        endpoint = "/fapi/v1/klines"
        first, stop = _whole_hours(start, min(end, self._clock.now()))
        bars = self._exchange.pages(endpoint, symbol, ("interval", "1h"), first, stop, _BAR_PAGE)
        try:
            rows = [(int(row[0]), float(row[4]), float(row[5])) for row in bars]
        except (*MALFORMED, IndexError) as error:
            raise unexpected(endpoint, error) from error
        return _table(("timestamp_utc", "close", "volume"), _inside(rows, first, stop))

    def funding(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        until = min(end, self._clock.now()) - _TICK
        rows = [
            (milliseconds(row.time), float(row.rate)) for row in self._exchange.funding([symbol], start - _TICK, until)
        ]
        return _table(("timestamp_utc", "funding_rate"), rows)

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        """The value stamped 23:00 of each day that is over: the exchange's last hourly one before midnight.

        The exchange keeps 30 days; earlier ones are not there.
        """
        endpoint = "/futures/data/openInterestHist"
        now = self._clock.now()
        first, stop = _whole_hours(max(start, now - _OPEN_INTEREST_KEPT), min(end, now))
        snapshots = self._exchange.pages(endpoint, symbol, ("period", "1h"), first, stop, _OPEN_INTEREST_PAGE)
        try:
            rows = [(int(row["timestamp"]), float(row["sumOpenInterestValue"])) for row in snapshots]
        except MALFORMED as error:
            raise unexpected(endpoint, error) from error
        hourly = _table(("date_utc", "oi_usd"), _inside(rows, first, stop))
        stamps = hourly["date_utc"]
        closing: pd.DataFrame = hourly[(stamps.dt.hour == _LAST_HOUR) & (stamps == stamps.dt.floor("h"))].reset_index(
            drop=True
        )
        closing["date_utc"] = closing["date_utc"].dt.floor("D")
        whole = (closing["date_utc"] >= start) & (closing["date_utc"] <= end - _DAY)
        return closing.loc[whole].reset_index(drop=True)

    def option_levels(self, symbol: str, start: datetime, end: datetime) -> None:  # noqa: ARG002
        return None

    def absence(self, series: Literal["open_interest", "option_levels"], symbol: str) -> str:  # noqa: ARG002
        return "the exchange's USD-M futures have no options" if series == "option_levels" else ""


def _whole_hours(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """(the first whole hour at or after ``start``, the whole hour at or before ``end``)."""
    stop = end.replace(minute=0, second=0, microsecond=0)
    first = start.replace(minute=0, second=0, microsecond=0)
    return (first if first == start else first + _HOUR), stop


def _inside(rows: list[tuple[Any, ...]], first: datetime, stop: datetime) -> list[tuple[Any, ...]]:
    """Rows stamped in the hours asked for: an exchange that sends more, the running hour say, is not believed."""
    begin, end = milliseconds(first), milliseconds(stop)
    return [row for row in rows if begin <= row[0] < end]


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    stamps = np.array([row[0] for row in rows], dtype="datetime64[ms]")
    table: Mapping[str, Any] = {
        columns[0]: pd.DatetimeIndex(stamps, tz=UTC).as_unit("us"),
        **{
            name: np.array([row[place] for row in rows], dtype=np.float64)
            for place, name in enumerate(columns)
            if place
        },
    }
    return pd.DataFrame(table)
