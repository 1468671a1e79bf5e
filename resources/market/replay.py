"""A recorded market: one-minute bars replayed without looking ahead.

A bar stamped 12:00 covers 12:00 to 12:01, so its close is known from 12:01 on and its volume is the depth stand-in
for the minute after. Nothing is interpolated: where bars are missing, the last close simply gets older.
"""

import csv
import gzip
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from resources.market import Depth, FundingRate, Mark, MarketError

BAR = timedelta(minutes=1)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = ["timestamp_utc", "close", "volume"]


@dataclass(frozen=True, slots=True, eq=False)
class _Bars:
    """One symbol's bars; ``known`` is when each close became known, microseconds since 1970, ascending."""

    symbol: str
    known: NDArray[np.int64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def last(self, at: datetime) -> int:
        """Index of the newest bar complete at ``at``; -1 when there is none."""
        return int(np.searchsorted(self.known, _microseconds(at), side="right")) - 1

    def mark(self, bar: int) -> Mark:
        return Mark(self.symbol, _exact(self.close[bar]), _instant(self.known[bar]))


class ReplayMarket:
    """Bars in ``<folder>/perp/<SYMBOL>.parquet`` (or directly in ``folder``) as a market.

    Columns: timestamp_utc (bar open), close (quote per unit), volume (units). Exchange filters are read from
    ``exchangeInfo*.json[.gz]`` in the folder or, failing that, from its sibling ``exchange_rest``; funding from
    ``funding/*.csv`` in the folder or the sibling ``funding_oi/funding_2025`` (columns timestamp_utc, funding_rate).
    Raises MarketError when there are no bars or a file cannot be understood.
    """

    name = "REPLAY"

    def __init__(self, folder: Path) -> None:
        nested = folder / "perp"
        bars = nested if nested.is_dir() else folder
        self._folder = folder.parent if folder.name == "perp" else folder
        files = sorted(bars.glob("*.parquet"))
        if not files:
            raise MarketError(f"replay: no <SYMBOL>.parquet in {nested} or {folder}")
        self._bars = {file.stem: _read_bars(file) for file in files}
        known = [series.known for series in self._bars.values()]
        # One search a call serves every symbol: the instants at which any close became known, and for each of
        # them the newest bar of every symbol.
        self._instants: NDArray[np.int64] = np.unique(np.concatenate(known))
        self._newest = np.stack([np.searchsorted(series, self._instants, side="right") - 1 for series in known], axis=1)
        self._shown: tuple[int, dict[str, Mark]] = (-1, {})
        self._rates = lru_cache(maxsize=None)(self._recorded_rates)

    @property
    def start(self) -> datetime:
        """The first instant at which some mark is known."""
        return _instant(self._instants[0])

    @property
    def end(self) -> datetime:
        """The instant at which the last recorded close became known."""
        return _instant(self._instants[-1])

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        row = int(np.searchsorted(self._instants, _microseconds(at), side="right")) - 1
        if row < 0:
            return {}
        shown_row, shown = self._shown
        if row != shown_row:
            newest = zip(self._bars.values(), self._newest[row].tolist(), strict=True)
            shown = {series.symbol: series.mark(bar) for series, bar in newest if bar >= 0}
            self._shown = (row, shown)
        return dict(shown)

    def exchange_info(self, at: datetime) -> bytes:
        """The recorded exchange-info generation whose serverTime is nearest to ``at``, decompressed."""
        return min(self._generations, key=lambda generation: abs(generation[0] - at))[1]

    @cached_property
    def _generations(self) -> list[tuple[datetime, bytes]]:
        sibling = self._folder.parent / "exchange_rest"
        for folder, pattern in ((self._folder, "exchangeInfo*.json*"), (sibling, "*exchangeInfo*.json*")):
            generations = [
                generation for file in sorted(folder.glob(pattern)) if (generation := _read_exchange_info(file))
            ]
            if generations:
                return generations
        raise MarketError(
            f"replay: no USD-M exchange filters: expected exchangeInfo*.json or .json.gz in {self._folder} or {sibling}"
        )

    def liquidity(self, symbol: str, at: datetime) -> Depth | None:
        """The last complete bar's volume; None before the first bar and for a bar without a volume."""
        series = self._bars.get(symbol)
        if series is None or (bar := series.last(at)) < 0 or np.isnan(series.volume[bar]):
            return None
        return Depth(symbol, _exact(series.volume[bar]), _instant(series.known[bar]))

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        """Recorded settlements; the mark is the close known at that minute, None where bars do not cover it."""
        settlements = [
            FundingRate(symbol, time, rate, self._price(symbol, time))
            for symbol in self._bars
            if symbol in symbols
            for time, rate in self._rates(symbol)
            if after < time <= until
        ]
        return sorted(settlements, key=lambda settlement: (settlement.time, settlement.symbol))

    def _price(self, symbol: str, time: datetime) -> Decimal | None:
        series = self._bars[symbol]
        bar = series.last(time)
        if bar < 0 or time - _instant(series.known[bar]) >= BAR:
            return None
        return _exact(series.close[bar])

    def _recorded_rates(self, symbol: str) -> list[tuple[datetime, Decimal]]:
        own = self._folder / "funding"
        recorded = own if own.is_dir() else self._folder.parent / "funding_oi" / "funding_2025"
        return _read_rates(recorded / f"{symbol}.csv")


def _read_bars(file: Path) -> _Bars:
    try:
        table = pq.read_table(file, columns=_COLUMNS)
        opened = pc.cast(table["timestamp_utc"], pa.timestamp("us", tz="UTC")).cast(pa.int64())
        close, volume = (table[column].cast(pa.float64()).to_numpy() for column in ("close", "volume"))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise MarketError(f"replay: {file} is not a table of minute bars ({', '.join(_COLUMNS)}): {error}") from error
    if not len(opened) or opened.null_count:
        raise MarketError(f"replay: {file} has no bars or a bar without timestamp_utc")
    known = opened.to_numpy() + BAR // _MICROSECOND
    if (np.diff(known) <= 0).any():
        raise MarketError(f"replay: timestamp_utc in {file} is not strictly ascending")
    return _Bars(file.stem, known, close, volume)


def _read_exchange_info(file: Path) -> tuple[datetime, bytes] | None:
    """(serverTime, JSON bytes) of a recorded answer; None when it lists no contracts (the spot exchange's)."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        answer = json.loads(data)
        if not any("contractType" in listing for listing in answer["symbols"]):
            return None
        return _UNIX_EPOCH + timedelta(milliseconds=answer["serverTime"]), data
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise MarketError(f"replay: {file} is not an exchange-info answer: {error!r}") from error


def _read_rates(file: Path) -> list[tuple[datetime, Decimal]]:
    if not file.exists():
        return []
    try:
        with file.open(newline="") as lines:
            return [
                (datetime.fromisoformat(row["timestamp_utc"]).astimezone(UTC), Decimal(row["funding_rate"]))
                for row in csv.DictReader(lines)
            ]
    except (KeyError, ValueError, InvalidOperation) as error:
        raise MarketError(f"replay: {file} is not a list of timestamp_utc, funding_rate: {error!r}") from error


def _exact(value: np.float64) -> Decimal:
    """The shortest decimal that reads back as the recorded float: the number the exchange sent."""
    return Decimal(repr(float(value)))


def _microseconds(instant: datetime) -> int:
    return (instant - _UNIX_EPOCH) // _MICROSECOND


def _instant(microseconds: np.int64) -> datetime:
    return _UNIX_EPOCH + timedelta(microseconds=int(microseconds))
