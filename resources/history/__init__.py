"""Where the past comes from: hourly bars, funding, open interest, option levels, for research and the daily decision.

``simulated`` (the simulated market's own paths), ``recorded:<folder>`` or ``binance`` (live USD-M). The source's name
goes wherever its numbers go. A source hands over what it has: a missing bar stays missing, a series it does not have
is None, and no source ever stands in for another. Whether a table may be used is for its reader to decide.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from resources.market import MarketError
from resources.settings import Settings

if TYPE_CHECKING:  # a process that only asks for the source's name need not load it
    import pandas as pd

Source = Literal["SIMULATED", "RECORDED", "BINANCE"]

_SOURCES: dict[str, Source] = {"simulated": "SIMULATED", "recorded": "RECORDED", "binance": "BINANCE"}


class HistoryError(MarketError):
    """The history cannot be opened or read; the message says which file, symbol or setting."""


class History(Protocol):
    """Tables with UTC stamps (datetime64[us, UTC]), ascending. ``start`` and ``end`` are UTC instants.

    Nothing that was not complete before ``end`` is returned, so ``end`` = decision time looks at the past only.
    Methods raise MarketError where the source does not know the symbol, cannot be read or does not answer.
    """

    @property
    def source(self) -> Source:
        """Shown wherever the numbers are."""
        ...

    def hourly_bars(self, symbol: str, start: datetime, end: datetime) -> "pd.DataFrame":
        """timestamp_utc (bar OPEN), close, volume: bars opened at or after ``start`` and closed by ``end``.

        Volume in base units; NaN throughout where the source has none.
        """
        ...

    def funding(self, symbol: str, start: datetime, end: datetime) -> "pd.DataFrame":
        """timestamp_utc, funding_rate (fraction of notional, positive when longs pay): ``start`` <= stamp < ``end``."""
        ...

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> "pd.DataFrame | None":
        """date_utc, oi_usd at the end of the day: days begun at or after ``start`` and over by ``end``.

        None where the source has no open interest of this symbol (``absence`` says why).
        """
        ...

    def option_levels(self, symbol: str, start: datetime, end: datetime) -> "pd.DataFrame | None":
        """date_utc, rr25d, term_slope_7d_30d at the end of the day (volatility points); days as for open interest.

        None where the source has no two days in a row, whose levels alone would tell a move.
        """
        ...

    def absence(self, series: Literal["open_interest", "option_levels"], symbol: str) -> str:
        """Why this source gives None (or no rows) for ``series`` of ``symbol``, for a person to read; "" otherwise."""
        ...


def source_of(settings: Settings) -> Source:
    """The source of ``open_history`` by name, without opening anything. Raises HistoryError as it does."""
    return _SOURCES[_named(settings).partition(":")[0]]


def open_history(settings: Settings) -> History:
    """The history ``settings.history`` names, or the one that belongs to ``settings.market`` when that is empty.

    Raises HistoryError (a MarketError) when it cannot be opened, saying what to set.
    """
    # Imported here so that a process pays for its own source only.
    kind, _, folder = _named(settings).partition(":")
    if kind == "simulated":
        from resources.history.simulated import SimulatedHistory

        return SimulatedHistory(settings.seed)
    if kind == "recorded":
        from resources.history.recorded import RecordedHistory

        return RecordedHistory(Path(folder))
    from resources.history.binance import BinanceHistory

    return BinanceHistory()


def _named(settings: Settings) -> str:
    return settings.history or _following(settings.market)


def _following(market: str) -> str:
    """The history that goes with a market; a replayed market's is recorded in or beside its folder."""
    kind, _, replayed = market.partition(":")
    if kind != "replay":
        return kind
    folder = Path(replayed)
    for candidate in (folder, folder.parent, folder.parent.parent):
        if (candidate / "bars_1h").is_dir():
            return f"recorded:{candidate}"
    raise HistoryError(
        f"no hourly bars (folder bars_1h) in or beside {folder}: set DESK_HISTORY to recorded:<folder>, "
        "simulated or binance"
    )
