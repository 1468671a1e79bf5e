"""A small research desk whose history a test scripts: hours that trend up and down, and a quick configuration."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from assets.research.configuration import ResearchConfiguration
from assets.research.regime.orcsmc import FilterConfig
from assets.research.research_desk import Research
from assets.research.stopping.exits import ExitConfig
from assets.research.validation import Scheme
from assets.research.walk_forward import Tables
from resources.clock import Clock, ManualClock
from resources.history import Source
from resources.market import MarketError
from resources.settings import Settings
from resources.store import Store

SYMBOL = "BTCUSDT"
FIRST = date(2024, 1, 1)
DAYS = 330
# In the middle of a test window of TINY: the fold is 2024-10-24 to 2024-11-03.
TODAY = date(2024, 10, 27)

# 62 of 250 training rows validate, the fewest a forecast scale is estimated from.
TINY = ResearchConfiguration(
    scheme=Scheme(train_days=250, test_days=10, purge_days=7),
    filter=FilterConfig(particles=100, window=5, iterations=2),
    burn_in_days=20,
    # Trends of a percent a day are what these hours have, and what a bias is taken to promise.
    preferences=replace(ResearchConfiguration().preferences, full_return=0.01),
    exits=ExitConfig(
        width=4, paths=256, batch=64, first_steps=10, steps=5, continuation_paths=128, outer=4, inner=4
    ),
)  # fmt: skip


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def stamps(first: date, count: int, freq: str) -> pd.DatetimeIndex:
    return pd.date_range(pd.Timestamp(first, tz="UTC"), periods=count, freq=freq, unit="us")


def hourly(days: int = DAYS, seed: int = 11) -> pd.DataFrame:
    """Bars with trends of eight days that a classifier can learn from, in noise that it has to see through."""
    draw = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    trend = np.where((hours // (8 * 24)) % 2 == 0, 1.0, -1.0) * 0.0005
    moves = trend + draw.normal(0, 0.002, len(hours))
    return pd.DataFrame(
        {
            "timestamp_utc": stamps(FIRST, len(hours), "h"),
            "close": 40_000 * np.exp(np.cumsum(moves)),
            "volume": draw.uniform(100, 300, len(hours)),
        }
    )


def settlements(days: int = DAYS, seed: int = 12) -> pd.DataFrame:
    rates = np.random.default_rng(seed).normal(1e-4, 5e-5, 3 * days)
    return pd.DataFrame({"timestamp_utc": stamps(FIRST, 3 * days, "8h"), "funding_rate": rates})


def interest(days: int = DAYS, seed: int = 13) -> pd.DataFrame:
    levels = 1e9 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, days)))
    return pd.DataFrame({"date_utc": stamps(FIRST, days, "D"), "oi_usd": levels})


def surface(days: int = DAYS, seed: int = 14) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "date_utc": stamps(FIRST, days, "D"),
            "rr25d": np.cumsum(draw.normal(0, 1, days)),
            "term_slope_7d_30d": np.cumsum(draw.normal(0, 1, days)),
        }
    )


@dataclass
class ScriptedHistory:
    """Says what a test sets. ``calls`` are the (series, start, end) asked for; ``failing`` series do not answer."""

    bars: pd.DataFrame = field(default_factory=hourly)
    settled: pd.DataFrame = field(default_factory=settlements)
    levels: pd.DataFrame | None = field(default_factory=interest)
    options: pd.DataFrame | None = field(default_factory=surface)
    failing: set[str] = field(default_factory=set)
    calls: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    source: Source = "SIMULATED"

    def hourly_bars(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:  # noqa: ARG002
        return self._piece("bars", self.bars, start, end, pd.Timedelta(hours=1))

    def funding(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame:  # noqa: ARG002
        return self._piece("funding", self.settled, start, end, pd.Timedelta(microseconds=1))

    def open_interest(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame | None:  # noqa: ARG002
        self.calls.append(("open_interest", start, end))
        return None if self.levels is None else self._piece("oi", self.levels, start, end, pd.Timedelta(days=1))

    def option_levels(self, symbol: str, start: datetime, end: datetime) -> pd.DataFrame | None:  # noqa: ARG002
        self.calls.append(("option_levels", start, end))
        return None if self.options is None else self._piece("options", self.options, start, end, pd.Timedelta(days=1))

    def absence(self, series: Literal["open_interest", "option_levels"], symbol: str) -> str:
        return f"the script has no {series} of {symbol}"

    def tables(self) -> Tables:
        """All of it as validation takes it."""
        from assets.research.data.contracts import oi_24h, options_moves

        return Tables(
            self.bars,
            self.settled,
            None if self.levels is None else oi_24h(self.levels),
            None if self.options is None else options_moves(self.options),
        )

    def _piece(
        self, name: str, table: pd.DataFrame, start: datetime, end: datetime, known_after: pd.Timedelta
    ) -> pd.DataFrame:
        self.calls.append((name, start, end))
        if name in self.failing:
            raise MarketError(f"the source of {name} does not answer")
        times = table.iloc[:, 0]
        return table[(times >= start) & (times + known_after <= end)].reset_index(drop=True)


def research_on(
    day: date,
    store: Store,
    history: ScriptedHistory | None = None,
    clock: Clock | None = None,
    configuration: ResearchConfiguration = TINY,
    **settings: Any,
) -> Research:
    """A fresh process's research desk, twenty minutes into ``day``."""
    return Research(
        Settings(store=store.url, research_symbols=(SYMBOL,), **settings),
        store,
        history or ScriptedHistory(),
        clock or ManualClock(midnight(day) + timedelta(minutes=20)),
        configuration,
    )


def without_hours(bars: pd.DataFrame, first: datetime, count: int) -> pd.DataFrame:
    """``bars`` without the ``count`` hours from ``first`` on."""
    times = bars["timestamp_utc"]
    return bars[(times < first) | (times >= first + timedelta(hours=count))].reset_index(drop=True)


def with_value(table: pd.DataFrame, at: datetime, column: str, value: float) -> pd.DataFrame:
    changed = table.copy()
    changed.loc[changed.iloc[:, 0] == at, column] = value
    return changed
