"""A small recorded folder."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd


def record(folder: Path, symbol: str, start: datetime, days: int) -> None:
    """``days`` of hourly bars, of settlements every 8 h and of daily open interest, from ``start`` on."""
    opened = pd.date_range(start, periods=24 * days, freq="h", unit="ms")
    close = 100.0 + np.arange(24 * days)
    bars = folder / "bars_1h" / "perp" / f"{symbol}.parquet"
    bars.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"timestamp_utc": opened, "open": close - 1, "close": close, "volume": 5.0}).to_parquet(bars)
    settlements = pd.DataFrame({"timestamp_utc": opened[::8]})
    write_csv(folder / "funding_oi" / "funding" / f"{symbol}.csv", settlements.assign(funding_rate=0.0001))
    levels = pd.DataFrame({"date_utc": [f"{start + timedelta(days=day):%Y-%m-%d}" for day in range(days)]})
    base = symbol.removesuffix("USDT").lower()
    write_csv(
        folder / "funding_oi" / f"open_interest_{base}_daily.csv",
        levels.assign(price_usd_close=1.0, oi_usd=1e9 + np.arange(days)),
    )


def write_csv(file: Path, table: pd.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False)
