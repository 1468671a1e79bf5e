"""Recorded history: hourly bars, settlements, open interest and option books as files of one folder.

Layout: ``bars_1h/perp/<SYMBOL>.parquet`` (timestamp_utc, close, volume), ``funding_oi/funding*/<SYMBOL>.csv``
(timestamp_utc, funding_rate), ``funding_oi/open_interest_<base>_daily*.csv`` (date_utc, oi_usd) and
``options/*_<base>_book_summary_*.csv[.gz]`` (Deribit's book summary by currency, one file a snapshot), where base is
the symbol without its quote, in lower case. Holes in the files are holes in the tables.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from resources.history import HistoryError, Source
from resources.history.option_surface import option_levels

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_QUOTE = "USDT"
# Deribit's options expire at 08:00 UTC of their date.
_EXPIRY = timedelta(hours=8)
_SETTLEMENTS = ("timestamp_utc", "funding_rate")
_OPTION_LEVELS = ("date_utc", "rr25d", "term_slope_7d_30d")


class RecordedHistory:
    """The files of ``folder``; each is read once. Raises HistoryError for a folder without hourly bars."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._perpetuals = folder / "bars_1h" / "perp"
        if not any(self._perpetuals.glob("*.parquet")):
            raise HistoryError(f"recorded: no <SYMBOL>.parquet in {self._perpetuals}")
        self._bars = lru_cache(maxsize=None)(self._read_bars)
        self._settlements = lru_cache(maxsize=None)(self._read_settlements)
        self._open_interest = lru_cache(maxsize=None)(self._read_open_interest)
        self._levels = lru_cache(maxsize=None)(self._read_levels)

    @property
    def source(self) -> Source:
        return "RECORDED"

    def hourly_bars(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        return _between(self._bars(symbol), start, end - _HOUR, closed=True)

    def funding(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:
        return _between(self._settlements(symbol), start, end, closed=False)

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame | None:
        recorded = self._open_interest(symbol)
        return None if recorded is None else _between(recorded, start, end - _DAY, closed=True)

    def option_levels(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame | None:
        """Of the last snapshot of each day; None where no two days in a row are recorded."""
        levels = self._levels(symbol)
        return _between(levels, start, end - _DAY, closed=True) if _has_a_day_after_another(levels) else None

    def absence(self, series: Literal["open_interest", "option_levels"], symbol: str) -> str:
        if series == "open_interest":
            return "" if self._open_interest(symbol) is not None else f"no open interest of {symbol} is recorded"
        levels = self._levels(symbol)
        if levels.empty:
            return f"no option book of {_base(symbol).upper()} is recorded"
        if _has_a_day_after_another(levels):
            return ""
        dates = ", ".join(f"{day:%Y-%m-%d}" for day in levels["date_utc"])
        return f"option books of {_base(symbol).upper()} are recorded of {dates} only; a move needs two days in a row"

    def _read_bars(self, symbol: str) -> pd.DataFrame:
        file = self._perpetuals / f"{symbol}.parquet"
        if not file.exists():
            raise HistoryError(f"recorded: no hourly bars of {symbol}: {file} does not exist")
        return _table(file, ("timestamp_utc", "close", "volume"), pd.read_parquet)

    def _read_settlements(self, symbol: str) -> pd.DataFrame:
        """All recordings together; a stamp in two of them has to say the same in both."""
        tables = [
            _table(file, _SETTLEMENTS, pd.read_csv)
            for file in sorted((self._folder / "funding_oi").glob(f"funding*/{symbol}.csv"))
        ]
        if not tables:
            return _empty(_SETTLEMENTS)
        together = pd.concat(tables).drop_duplicates().sort_values("timestamp_utc", ignore_index=True)
        twice = together["timestamp_utc"].duplicated()
        if len(tables) > 1 and twice.any():
            at = together["timestamp_utc"][twice].iloc[0]
            raise HistoryError(f"recorded: files of {symbol} disagree about the settlement at {at}")
        return together

    def _read_open_interest(self, symbol: str) -> pd.DataFrame | None:
        files = sorted((self._folder / "funding_oi").glob(f"open_interest_{_base(symbol)}_daily*.csv"))
        if not files:
            return None
        return pd.concat([_table(file, ("date_utc", "oi_usd"), pd.read_csv) for file in files], ignore_index=True)

    def _read_levels(self, symbol: str) -> pd.DataFrame:
        """Skew and slope of the last snapshot of each day."""
        files = (self._folder / "options").glob(f"*_{_base(symbol)}_book_summary_*.csv*")
        snapshots = sorted(((*read_option_book(file), file) for file in files), key=lambda snapshot: snapshot[0])
        last_of_day = {as_of.date(): (as_of, book, file) for as_of, book, file in snapshots}
        rows = []
        for as_of, book, file in last_of_day.values():
            try:
                rows.append(option_levels(book, as_of))
            except ValueError as error:
                raise HistoryError(f"recorded: {file}: {error}") from error
        if not rows:
            return _empty(_OPTION_LEVELS)
        return pd.concat(rows, ignore_index=True)


def read_option_book(file: Path) -> tuple[datetime, pd.DataFrame]:
    """(instant of the snapshot, book as ``resources.history.option_surface`` wants it) of a book-summary file.

    Prices are quoted in the coin and turned into the quote currency at the expiry's own underlying price.
    """
    try:
        rows = pd.read_csv(file)
        # A coin's expiry date reads 26JAN24.
        expiry = pd.to_datetime(rows["expire_date"], format="%d%b%y", utc=True) + _EXPIRY
        book = pd.DataFrame(
            {
                "expiry_utc": expiry,
                "strike": rows["strike_price"].astype("float64"),
                "kind": rows["option_type"],
                "forward": rows["underlying_price"].astype("float64"),
                "price": rows["mark_price"].astype("float64") * rows["underlying_price"].astype("float64"),
            }
        )
        taken = pd.Timestamp(int(rows["creation_timestamp"].max()), unit="ms", tz=UTC)
    except (OSError, KeyError, ValueError) as error:
        raise HistoryError(f"recorded: {file} is not an option book summary: {error!r}") from error
    return taken.to_pydatetime(), book


def _empty(columns: tuple[str, ...]) -> pd.DataFrame:
    stamps = pd.DatetimeIndex([], tz=UTC).as_unit("us")
    return pd.DataFrame({columns[0]: stamps} | {column: np.empty(0) for column in columns[1:]})


def _has_a_day_after_another(levels: pd.DataFrame) -> bool:
    return bool((levels["date_utc"].diff() == _DAY).any())


def _base(symbol: str) -> str:
    return symbol.removesuffix(_QUOTE).lower()


def _table(file: Path, columns: tuple[str, ...], read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """The ``columns`` of a file, stamps as UTC microseconds, values as recorded (faults are the contract's to find)."""
    try:
        recorded = read(file)[list(columns)]
        stamps = pd.to_datetime(recorded[columns[0]])
        if stamps.dt.tz is None:
            if columns[0] != "date_utc":
                raise HistoryError(f"recorded: {columns[0]} of {file} carries no time zone")
            stamps = stamps.dt.tz_localize(UTC)  # a plain date is a UTC day by the name of its column
        values = {column: recorded[column].astype("float64") for column in columns[1:]}
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise HistoryError(f"recorded: {file} is not a table of {', '.join(columns)}: {error!r}") from error
    return pd.DataFrame({columns[0]: stamps.dt.tz_convert(UTC).dt.as_unit("us"), **values})


def _between(table: pd.DataFrame, first: datetime, last: datetime, *, closed: bool) -> pd.DataFrame:
    """A copy of the rows stamped from ``first`` to ``last``, the latter included when ``closed``."""
    stamps = table.iloc[:, 0]
    return table[(stamps >= first) & ((stamps <= last) if closed else (stamps < last))].reset_index(drop=True)
