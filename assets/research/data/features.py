"""The features of a decision at 00:00 UTC and what came of it, a row a day.

A row of ``feature_table`` uses what was complete at its decision time and nothing later: removing later data changes
none of its bits. A row of ``outcome_table`` tells about the day after the decision; it is what models learn from and
what a position earned, and is known a day later.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.research.bad_input import BadInput, Floats
from assets.research.data.contracts import (
    BARS_1H,
    DAY,
    HOUR,
    check_form,
    daily_funding,
    forward_filled,
    funding_24h,
    require,
)
from assets.research.signatures.path_signature import words
from assets.research.signatures.rolling import window_features

# Brief 1: features look at the last 72 hourly bars, signatures to order 3.
WINDOW_HOURS = 72
SIGNATURE_ORDER = 3
# The longest look back of any feature: a week, and the close before it.
LOOKBACK_HOURS = 7 * 24 + 1
# Our own limit: an exogenous value is carried for at most two days, then it is missing.
CARRIED_DAYS = 2


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of the feature table. ``optional`` ones may be missing (NaN): their source may have no such series."""

    name: str
    meaning: str
    optional: bool = False


SIGNATURE_FEATURES = tuple(
    Feature(
        "sig_" + "".join(map(str, word)),
        f"iterated integral {word} of (time, log price) over {WINDOW_HOURS} hourly closes, window-normalised",
    )
    for word in words(2, SIGNATURE_ORDER)
)
FEATURES: tuple[Feature, ...] = (
    *SIGNATURE_FEATURES,
    Feature("return_1d", "log return of the last 24 hours"),
    Feature("return_7d", "log return of the last 168 hours"),
    Feature("realised_volatility_1d", "root of the sum of squared hourly log returns of 24 hours, per day"),
    Feature("realised_volatility_7d", "the same over 168 hours, per day"),
    Feature("volume_ratio", "log of the last day's volume over the week's daily mean", optional=True),
    Feature("funding_24h", "funding of the last UTC day, fraction of notional", optional=True),
    Feature("funding_delta", "that less the day's before (brief 1)", optional=True),
    Feature("oi_pct_delta", "open interest over the day before, as a fraction (brief 1)", optional=True),
    Feature("rr25d_delta", "change of the 25-delta risk reversal, volatility points (brief 1)", optional=True),
    Feature("term_slope_7d_30d_delta", "change of the 7 to 30 day term slope, volatility points", optional=True),
)


def feature_table(
    bars: pd.DataFrame,
    funding: pd.DataFrame | None = None,
    oi_24h: pd.DataFrame | None = None,
    options_moves: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a decision time (index, UTC midnights), columns ``FEATURES`` in their order.

    ``bars`` are whole (BARS_1H, no gaps), ``funding`` raw settlements; the rest as their contracts say, or None where
    the source has no such series. Exogenous columns are carried forward at most ``CARRIED_DAYS`` days, prices never.
    The first row is the first midnight with ``LOOKBACK_HOURS`` closes behind it.
    Raises BadInput (column and time) for tables that break their contract or are too short.
    """
    times, closes, volumes = _bars(bars)
    ends = _midnights(times)  # index of the bar that closes at each decision time
    ends = ends[ends >= LOOKBACK_HOURS - 1]
    if not len(ends):
        raise BadInput(f"{len(closes)} bars hold no midnight with {LOOKBACK_HOURS} closes behind it", column="close")
    log_price = np.log(closes)
    signatures = window_features(log_price, WINDOW_HOURS, SIGNATURE_ORDER)[ends - WINDOW_HOURS + 1]
    squares = np.concatenate([[0.0], np.cumsum(np.diff(log_price) ** 2)])
    decisions = times[ends] + HOUR
    table = pd.DataFrame(signatures, index=decisions, columns=[feature.name for feature in SIGNATURE_FEATURES])
    table["return_1d"] = log_price[ends] - log_price[ends - 24]
    table["return_7d"] = log_price[ends] - log_price[ends - 168]
    table["realised_volatility_1d"] = np.sqrt(_between(squares, ends, 24))
    table["realised_volatility_7d"] = np.sqrt(_between(squares, ends, 168) / 7)
    volume = np.concatenate([[0.0], np.cumsum(volumes)])
    day, week = (volume[ends + 1] - volume[ends + 1 - hours] for hours in (24, 168))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(7 * day / week)
    table["volume_ratio"] = np.where(np.isfinite(ratio), ratio, np.nan)
    exogenous = [frame for frame in (oi_24h, options_moves) if frame is not None]
    table["funding_24h"] = np.nan
    if funding is not None:
        exogenous.append(funding_24h(funding))
        level = daily_funding(funding).set_index("date_utc")["funding"]
        table["funding_24h"] = level.reindex(decisions - DAY).to_numpy()
    for frame in exogenous:
        carried = _carried(frame, decisions)
        for column in carried:
            table[column] = carried[column]
    return table.reindex(columns=[feature.name for feature in FEATURES])


def unbroken(bars: pd.DataFrame) -> list[pd.DataFrame]:
    """``bars`` in pieces without a missing hour, in order. Raises BadInput for faults of form."""
    faults = check_form(bars, BARS_1H)
    if faults:
        raise BadInput(f"{BARS_1H.name}: {faults[0].message}", column=faults[0].column, at=faults[0].at)
    steps = np.diff(pd.DatetimeIndex(bars["timestamp_utc"]).to_numpy())
    places = np.flatnonzero(steps != HOUR.to_timedelta64()) + 1
    edges = [0, *places.tolist(), len(bars)]
    return [bars.iloc[first:last].reset_index(drop=True) for first, last in itertools.pairwise(edges)]


def outcome_table(bars: pd.DataFrame, funding: pd.DataFrame | None = None) -> pd.DataFrame:
    """What followed each decision time (index): ``return`` and ``realised_volatility`` of the 24 hours after it (log
    return; root of the sum of squared hourly log returns) and ``funding`` paid by a long position in them (fraction of
    notional, NaN where unknown). The last decision has no row: its day is not over. Raises BadInput as above.
    """
    times, closes, _ = _bars(bars)
    ends = _midnights(times)
    ends = ends[ends + 24 < len(closes)]
    if not len(ends):
        raise BadInput(f"{len(closes)} bars hold no whole day after a midnight", column="close")
    log_price = np.log(closes)
    squares = np.concatenate([[0.0], np.cumsum(np.diff(log_price) ** 2)])
    decisions = times[ends] + HOUR
    table = pd.DataFrame(
        {
            "return": log_price[ends + 24] - log_price[ends],
            "realised_volatility": np.sqrt(_between(squares, ends + 24, 24)),
            "funding": np.nan,
        },
        index=decisions,
    )
    if funding is not None:
        level = daily_funding(funding).set_index("date_utc")["funding"]
        table["funding"] = level.reindex(decisions).to_numpy()
    return table


def _bars(bars: pd.DataFrame) -> tuple[pd.DatetimeIndex, Floats, Floats]:
    require(bars, BARS_1H)
    return (
        pd.DatetimeIndex(bars["timestamp_utc"]),
        bars["close"].to_numpy(dtype=np.float64),
        bars["volume"].to_numpy(dtype=np.float64),
    )


def _midnights(times: pd.DatetimeIndex) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Index of every bar that closes at a UTC midnight."""
    return np.flatnonzero(times.hour == 23)


def _between(cumulated: Floats, ends: np.ndarray[tuple[int], np.dtype[np.int64]], hours: int) -> Floats:
    """Sum over the last ``hours`` increments up to each end, never below zero by rounding."""
    sums: Floats = np.maximum(cumulated[ends] - cumulated[ends - hours], 0.0)
    return sums


def _carried(frame: pd.DataFrame, decisions: pd.DatetimeIndex) -> pd.DataFrame:
    """The exogenous columns of ``frame`` at each decision time: the row of the day before it, carried if need be."""
    columns = [str(column) for column in frame.columns if column != "date_utc"]
    if frame.empty:
        return pd.DataFrame(np.nan, index=decisions, columns=columns)
    last = max(decisions[-1] - DAY, pd.DatetimeIndex(frame["date_utc"])[-1])
    filled = forward_filled(frame, CARRIED_DAYS, until=last.to_pydatetime()).set_index("date_utc")
    return filled[columns].reindex(decisions - DAY).set_axis(decisions)
