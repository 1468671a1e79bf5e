"""The data contracts of brief 1: what each input table holds, how it is built, when a row was known, what is wrong.

Time. Every stamp is timezone-aware UTC; a naive one is refused, never guessed. ``timestamp_utc`` of an hourly bar is
its OPEN: the bar is known an hour later. ``date_utc`` is the midnight that begins a UTC day: a daily row tells about
[date, date + 1 day) and is known when that day is over, that is at the 00:00 UTC decision after it. So a settlement or
snapshot stamped exactly 00:00 belongs to the day it opens; the decision of that instant does not see it, and a stamp
that comes milliseconds late falls on the same day as its rounded copy.

Builders leave out what they cannot compute (a day with a missing hour, a change without the day before): a row is
there in full or not at all, and ``check_gaps`` names the days that are not. Only ``forward_filled`` ever repeats a
value, only for exogenous columns, and it says for how many days.

Raw series (``FUNDING_SETTLEMENTS``, ``OPEN_INTEREST``, ``OPTION_LEVELS``) have contracts of the same kind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from assets.research.bad_input import BadInput

HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
# Brief 1: data this old is stale.
STALE_AFTER = pd.Timedelta(hours=26)
# A settlement appears moments after its stamp; a minute is our own allowance, for the stamp and for its publication.
_PUBLICATION = pd.Timedelta(minutes=1)
# The longest interval between two settlements of the exchange.
_LONGEST_FUNDING_INTERVAL = pd.Timedelta(hours=8)
_NO_TIME = pd.Timedelta(0)
_HOURS_PER_DAY = 24

Rule = Literal[
    "columns",  # not exactly the contract's columns
    "type",  # a column of another type
    "naive",  # stamps without a time zone
    "utc",  # stamps in another zone than UTC
    "missing",  # NaN, infinity, an empty cell
    "order",  # a stamp before the one above it
    "duplicate",  # a stamp twice
    "grid",  # a stamp off the hour or off midnight
    "range",  # a price of zero, a negative volume, an unknown word
    "empty",  # no rows
    "gap",  # rows missing between others
    "late",  # rows missing between the last one and the decision
    "stale",  # the newest row is older than the brief allows
    "future",  # rows that were not known at the decision
]


@dataclass(frozen=True, slots=True)
class Contract:
    """What a table must look like.

    ``columns`` are exact and in order, the first is the time. A row is known ``known_after`` its stamp. Stamps lie on
    multiples of ``grid`` (up to ``tolerance`` after them) and, when ``regular``, on every one of them, once.
    ``words`` are the text columns and what they may say (an empty tuple: anything but nothing). ``exogenous`` columns
    may be carried forward. A column in ``unknowable`` may be NaN throughout: the source has no such thing.
    """

    name: str
    columns: tuple[str, ...]
    known_after: pd.Timedelta
    grid: pd.Timedelta
    tolerance: pd.Timedelta = _NO_TIME
    regular: bool = True
    repeats: bool = False
    positive: tuple[str, ...] = ()
    not_negative: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exogenous: tuple[str, ...] = ()
    unknowable: tuple[str, ...] = ()

    @property
    def time(self) -> str:
        return self.columns[0]


BARS_1H = Contract(
    "bars_1h",
    ("timestamp_utc", "close", "volume"),
    known_after=HOUR,
    grid=HOUR,
    positive=("close",),
    not_negative=("volume",),
    unknowable=("volume",),
)
DAILY_CLOSE = Contract("daily_close", ("date_utc", "close"), known_after=DAY, grid=DAY, positive=("close",))
FUNDING_24H = Contract(
    "funding_24h", ("date_utc", "funding_delta"), known_after=DAY, grid=DAY, exogenous=("funding_delta",)
)
OI_24H = Contract("oi_24h", ("date_utc", "oi_pct_delta"), known_after=DAY, grid=DAY, exogenous=("oi_pct_delta",))
OPTIONS_MOVES = Contract(
    "options_moves",
    ("date_utc", "rr25d_delta", "term_slope_7d_30d_delta"),
    known_after=DAY,
    grid=DAY,
    exogenous=("rr25d_delta", "term_slope_7d_30d_delta"),
)
SLIPPAGE_LOG = Contract(
    "slippage_log",
    ("date_utc", "symbol", "side", "size", "est_impact_bp"),
    known_after=DAY,
    grid=DAY,
    regular=False,
    repeats=True,
    positive=("size",),
    words={"symbol": (), "side": ("BUY", "SELL")},
)
FUNDING_SETTLEMENTS = Contract(
    "funding_settlements",
    ("timestamp_utc", "funding_rate"),
    known_after=_PUBLICATION,
    grid=HOUR,
    tolerance=_PUBLICATION,
    regular=False,
)
OPEN_INTEREST = Contract("open_interest", ("date_utc", "oi_usd"), known_after=DAY, grid=DAY, positive=("oi_usd",))
OPTION_LEVELS = Contract("option_levels", ("date_utc", "rr25d", "term_slope_7d_30d"), known_after=DAY, grid=DAY)

CONTRACTS: Mapping[str, Contract] = {
    contract.name: contract for contract in (BARS_1H, DAILY_CLOSE, FUNDING_24H, OI_24H, OPTIONS_MOVES, SLIPPAGE_LOG)
}
_KNOWN = {
    frozenset(contract.columns): contract
    for contract in (*CONTRACTS.values(), FUNDING_SETTLEMENTS, OPEN_INTEREST, OPTION_LEVELS)
}
_EXOGENOUS = frozenset(column for contract in CONTRACTS.values() for column in contract.exogenous)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a table: the broken rule, the first place (and, for spans, the last), and a sentence."""

    table: str
    rule: Rule
    message: str
    column: str | None = None
    at: datetime | int | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.table}: {self.message}"


# ---------------------------------------------------------------------------------------------------- integrity


def check(frame: pd.DataFrame, contract: Contract, decision_time: datetime | None = None) -> list[Finding]:
    """Everything wrong with ``frame``; with ``decision_time`` also what is late, stale or not yet known then.

    A table whose form is broken is not searched for gaps. Raises BadInput for a decision time that is not UTC.
    """
    findings = check_form(frame, contract)
    if findings and any(finding.rule in ("columns", "type", "naive", "utc") for finding in findings):
        return findings
    findings += check_gaps(frame, contract)
    if decision_time is not None:
        findings += check_freshness(frame, contract, decision_time)
    return findings


def require(frame: pd.DataFrame, contract: Contract, decision_time: datetime | None = None) -> pd.DataFrame:
    """``frame`` itself when ``check`` finds nothing. Raises BadInput with the first finding otherwise."""
    _raise_first(check(frame, contract, decision_time), contract)
    return frame


def check_form(frame: pd.DataFrame, contract: Contract) -> list[Finding]:
    """Columns, types, stamps and values; gaps and age are not looked at. An empty table has no fault of form."""
    columns = tuple(str(column) for column in frame.columns)
    if columns != contract.columns:
        return [_finding(contract, "columns", f"columns are {list(columns)}, not {list(contract.columns)}")]
    findings = _wrong_types(frame, contract)
    if findings:
        return findings
    times = _times(frame, contract)
    return [*_wrong_times(times, contract), *_wrong_values(frame, times, contract)]


def _wrong_types(frame: pd.DataFrame, contract: Contract) -> list[Finding]:
    findings = []
    stamps = frame[contract.time]
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        naive = pd.api.types.is_datetime64_dtype(stamps.dtype)
        text = "stamps carry no time zone" if naive else f"stamps are of type {stamps.dtype}, not UTC instants"
        findings.append(_finding(contract, "naive" if naive else "type", text, contract.time))
    elif str(stamps.dtype.tz) not in ("UTC", "Etc/UTC", "UTC+00:00"):
        findings.append(_finding(contract, "utc", f"stamps are in {stamps.dtype.tz}, not UTC", contract.time))
    findings += [
        _finding(contract, "type", f"values are of type {frame[column].dtype}, not numbers", column)
        for column in contract.columns[1:]
        if column not in contract.words
        and (not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]))
    ]
    return findings


def _wrong_times(times: pd.DatetimeIndex, contract: Contract) -> list[Finding]:
    absent = np.flatnonzero(times.isna())
    if len(absent):
        return [_finding(contract, "missing", f"{_rows(len(absent))} without a stamp", contract.time, int(absent[0]))]
    findings = []

    def found(rule: Rule, places: npt.NDArray[np.bool_], text: str) -> None:
        where = np.flatnonzero(places)
        if len(where):
            message = f"{_rows(len(where))} {text}, the first at {_text(times[where[0]])}"
            findings.append(_finding(contract, rule, message, contract.time, times[where[0]].to_pydatetime()))

    backwards = np.zeros(len(times), dtype=bool)
    backwards[1:] = times[1:] < times[:-1]
    found("order", backwards, "earlier than the row above")
    if not contract.repeats:
        found("duplicate", np.asarray(times.duplicated()), "with a stamp that was there before")
    beyond = times - times.floor(contract.grid)
    off = np.asarray((beyond > _NO_TIME) & (beyond >= contract.tolerance))
    found("grid", off, "off the hour" if contract.grid == HOUR else "off midnight")
    return findings


def _wrong_values(frame: pd.DataFrame, times: pd.DatetimeIndex, contract: Contract) -> list[Finding]:
    findings = []

    def found(rule: Rule, places: npt.NDArray[np.bool_], column: str, text: str) -> None:
        where = np.flatnonzero(places)
        if len(where):
            first = times[where[0]]
            at = int(where[0]) if first is pd.NaT else first.to_pydatetime()
            findings.append(
                _finding(contract, rule, f"{column} {text} in {_rows(len(where))}, the first at {at}", column, at)
            )

    for column in contract.columns[1:]:
        if column in contract.words:
            allowed = contract.words[column]
            said = [value if isinstance(value, str) else "" for value in frame[column]]
            unknown = np.array([word not in allowed if allowed else not word.strip() for word in said], dtype=bool)
            found("range", unknown, column, f"is none of {', '.join(allowed)}" if allowed else "is empty")
            continue
        values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
        if column in contract.unknowable and np.isnan(values).all():
            continue
        finite = np.isfinite(values)
        found("missing", ~finite, column, "is not a finite number")
        if column in contract.positive:
            found("range", finite & (values <= 0), column, "is not positive")
        if column in contract.not_negative:
            found("range", finite & (values < 0), column, "is negative")
    return findings


def check_gaps(frame: pd.DataFrame, contract: Contract) -> list[Finding]:
    """One finding for every missing span between the first row and the last, named by its first and last stamp.

    Of settlements, whose interval changes (8 h, 4 h, 1 h), a span is missing where two of them lie further apart than
    the two before did, or than the exchange's longest interval. Of a log, nothing is.
    """
    times = _times(frame, contract).unique().sort_values()
    if contract is FUNDING_SETTLEMENTS:
        return [
            _finding(
                contract,
                "gap",
                f"nothing between {_text(before)} and {_text(after)}, where settlements were {usual} apart",
                contract.time,
                before.to_pydatetime(),
                after.to_pydatetime(),
            )
            for before, after, usual in _funding_holes(times)
        ]
    if not contract.regular or len(times) < 2:
        return []
    steps = np.flatnonzero(np.asarray(times[1:] - times[:-1]) > np.timedelta64(contract.grid))
    return [_span(contract, "gap", times[i] + contract.grid, times[i + 1] - contract.grid) for i in steps.tolist()]


def check_freshness(
    frame: pd.DataFrame, contract: Contract, decision_time: datetime, stale_after: pd.Timedelta = STALE_AFTER
) -> list[Finding]:
    """Rows not known at ``decision_time``, rows that should be there and are not, and age.

    Age counts from the moment the newest row was known, so a daily row is fresh at the midnight that ends its day.
    The brief allows less than 26 h; a row that is due but not there is named as ``late`` before that already. A log,
    which may be empty, can only hold rows from the future.
    """
    decision = _utc(decision_time)
    times = _times(frame, contract).sort_values()
    if not len(times):
        # A log may have nothing to tell.
        return [] if contract.repeats else [_finding(contract, "empty", "no rows", contract.time)]
    findings = []
    last = times[-1]
    due = decision - contract.known_after
    if last > due:
        count = int((times > due).sum())
        message = f"{_rows(count)} not known at {_text(decision)}, the last stamped {_text(last)}"
        findings.append(_finding(contract, "future", message, contract.time, last.to_pydatetime()))
        return findings
    if contract.repeats:
        return findings  # no row is due
    if contract is FUNDING_SETTLEMENTS:
        interval = _usual_interval(times)
        if last.floor("min") + interval <= due:
            message = f"no settlement since {_text(last)}, where they were {interval} apart"
            findings.append(_finding(contract, "late", message, contract.time, last.to_pydatetime()))
    elif last.floor(contract.grid) + contract.grid <= due:
        findings.append(_span(contract, "late", last + contract.grid, due.floor(contract.grid)))
    age = due - last
    if age >= stale_after:
        hours = age / HOUR
        message = f"{hours:.0f} h old at {_text(decision)}; {stale_after / HOUR:.0f} h and more are stale"
        findings.append(_finding(contract, "stale", message, contract.time, last.to_pydatetime()))
    return findings


# ------------------------------------------------------------------------------------------------------ leakage


def known_at(frame: pd.DataFrame, decision_time: datetime) -> pd.DataFrame:
    """The rows of ``frame`` that were known at ``decision_time``; the contract is recognised by the columns.

    Raises BadInput for columns of no contract, stamps that are not UTC, and a decision time that is not.
    """
    contract = _KNOWN.get(frozenset(str(column) for column in frame.columns))
    if contract is None:
        raise BadInput(f"columns {list(frame.columns)} are those of no contract: when were such rows known?")
    _raise_first(_wrong_types(frame, contract), contract)
    known = _times(frame, contract) + contract.known_after <= _utc(decision_time)
    return frame.loc[np.asarray(known)].reset_index(drop=True)


# ----------------------------------------------------------------------------------------------------- builders


def daily_close(bars: pd.DataFrame) -> pd.DataFrame:
    """DAILY_CLOSE from BARS_1H: the close of the 23:00 bar of every UTC day that has its 24 bars."""
    times = _sound(bars, BARS_1H)
    days = times.floor(DAY)
    whole = bars.groupby(days)["close"].transform("size").to_numpy() == _HOURS_PER_DAY
    last = whole & (times.hour == _HOURS_PER_DAY - 1)
    return _table(DAILY_CLOSE, days[last], close=bars["close"].to_numpy(dtype=np.float64)[last])


def daily_funding(settlements: pd.DataFrame) -> pd.DataFrame:
    """(date_utc, funding): the sum of the settlements stamped within each UTC day, as a fraction of notional.

    Only days none of whose settlements is missing: the first is stamped 00:00, none lies further from the one before
    than that one from its own, and the interval after the last one reaches midnight. Later days change nothing. The
    builder cannot tell whether the last day is over: cut the settlements at a midnight, or the result by ``known_at``.
    """
    times = _sound(settlements, FUNDING_SETTLEMENTS)
    rates = settlements["funding_rate"].to_numpy(dtype=np.float64)
    rounded = times.floor("min")
    table = pd.DataFrame({"date_utc": times.floor(DAY), "time": rounded, "funding": rates})
    table["interval"] = _intervals(rounded)
    table["hole"] = _hole_before(rounded) & (rounded != table["date_utc"])
    days = table.groupby("date_utc").agg(
        first=("time", "first"),
        last=("time", "last"),
        interval=("interval", "last"),
        hole=("hole", "any"),
        funding=("funding", "sum"),
    )
    start = pd.DatetimeIndex(days.index)
    whole = (days["first"] == start) & ~days["hole"] & (days["last"] + days["interval"] >= start + DAY)
    kept = whole.to_numpy(dtype=bool)
    return pd.DataFrame(
        {"date_utc": start[kept].as_unit("us"), "funding": days["funding"].to_numpy(dtype=np.float64)[kept]}
    )


def funding_24h(settlements: pd.DataFrame) -> pd.DataFrame:
    """FUNDING_24H from FUNDING_SETTLEMENTS: the day's funding less the day's before, as a fraction of notional.

    Funding of a day is the sum of what really settled in it (``daily_funding``), whatever the interval was; both days
    have to be whole.
    """
    days = daily_funding(settlements)
    dates, after, before = _day_pairs(pd.DatetimeIndex(days["date_utc"]), days["funding"].to_numpy())
    return _table(FUNDING_24H, dates, funding_delta=after - before)


def oi_24h(open_interest: pd.DataFrame) -> pd.DataFrame:
    """OI_24H from OPEN_INTEREST (the level at the end of each UTC day): change over the day before as a fraction.

    0.01 is one percent.
    """
    dates = _sound(open_interest, OPEN_INTEREST)
    dates, after, before = _day_pairs(dates, open_interest["oi_usd"].to_numpy(dtype=np.float64))
    return _table(OI_24H, dates, oi_pct_delta=after / before - 1.0)


def options_moves(levels: pd.DataFrame) -> pd.DataFrame:
    """OPTIONS_MOVES from OPTION_LEVELS: changes in volatility points against the level of the day before.

    A day without the day before has no move: one snapshot alone gives an empty table.
    """
    dates = _sound(levels, OPTION_LEVELS)
    _, skew, skew_before = _day_pairs(dates, levels["rr25d"].to_numpy(dtype=np.float64))
    dates, slope, slope_before = _day_pairs(dates, levels["term_slope_7d_30d"].to_numpy(dtype=np.float64))
    return _table(OPTIONS_MOVES, dates, rr25d_delta=skew - skew_before, term_slope_7d_30d_delta=slope - slope_before)


def forward_filled(exogenous: pd.DataFrame, limit: int, *, until: datetime | None = None) -> pd.DataFrame:
    """Every day from the first row to ``until`` (default: the last row), values carried forward at most ``limit`` days.

    For each column a second one, ``<column>_filled_days``, tells what was done: 0 observed, n carried for n days,
    missing where the value still is. Returns, prices and anything else that is not exogenous are refused: repeating
    a price makes up a return of zero. Raises BadInput.
    """
    columns = [str(column) for column in exogenous.columns]
    for column in columns[1:]:
        if column not in _EXOGENOUS:
            raise BadInput(f"only {', '.join(sorted(_EXOGENOUS))} may be carried forward", column=column)
    if limit < 0:
        raise BadInput(f"cannot carry a value forward {limit} days", column="limit")
    contract = Contract("exogenous", ("date_utc", *columns[1:]), known_after=DAY, grid=DAY)
    dates = _sound(exogenous, contract)
    if not len(dates):
        raise BadInput("no row to carry forward", column="date_utc")
    last = dates[-1] if until is None else _utc(until).floor(DAY)
    if last < dates[-1]:
        raise BadInput(f"rows end later than {_text(last)}", column="until", at=dates[-1].to_pydatetime())
    days = pd.date_range(dates[0], last, freq="D")
    observed = exogenous.set_index(dates).reindex(days)
    # Rows hold all columns or none, so one count of days serves every column.
    present = days.isin(dates)
    age = np.arange(len(days)) - np.maximum.accumulate(np.where(present, np.arange(len(days)), 0))
    filled = pd.DataFrame({"date_utc": days.as_unit("us")})
    for column in columns[1:]:
        carried = observed[column].ffill().to_numpy(dtype=np.float64)
        filled[column] = np.where(age <= limit, carried, np.nan)
        filled[f"{column}_filled_days"] = pd.array(np.where(age <= limit, age, -1), dtype="Int64")
        filled.loc[age > limit, f"{column}_filled_days"] = pd.NA
    return filled


# ------------------------------------------------------------------------------------------------------ details


def _sound(frame: pd.DataFrame, contract: Contract) -> pd.DatetimeIndex:
    """The stamps of a table without faults of form; BadInput with the first fault otherwise."""
    _raise_first(check_form(frame, contract), contract)
    return _times(frame, contract)


def _raise_first(findings: list[Finding], contract: Contract) -> None:
    if findings:
        first = findings[0]
        more = f" ({len(findings) - 1} more findings)" if len(findings) > 1 else ""
        raise BadInput(f"{contract.name}: {first.message}{more}", column=first.column, at=first.at)


def _table(contract: Contract, dates: pd.DatetimeIndex, **values: npt.NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame({contract.time: dates.as_unit("us"), **values})[list(contract.columns)].reset_index(drop=True)


def _day_pairs(
    dates: pd.DatetimeIndex, values: npt.NDArray[Any]
) -> tuple[pd.DatetimeIndex, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(days whose day before is there too, their values, the values of the days before)."""
    follows = np.asarray(dates[1:] - dates[:-1]) == np.timedelta64(DAY)
    return dates[1:][follows], values[1:][follows], values[:-1][follows]


def _intervals(times: pd.DatetimeIndex) -> pd.Series:
    """The interval in force at each settlement: the newest step up to it that the exchange could have meant."""
    steps = pd.Series(times).diff()
    return steps.where(steps <= _LONGEST_FUNDING_INTERVAL).ffill()


def _hole_before(times: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    steps = pd.Series(times).diff()
    usual = _intervals(times).shift(1).fillna(_LONGEST_FUNDING_INTERVAL)
    return np.asarray(steps > usual, dtype=bool)


def _funding_holes(times: pd.DatetimeIndex) -> Iterator[tuple[pd.Timestamp, pd.Timestamp, pd.Timedelta]]:
    rounded = times.floor("min")
    usual = _intervals(rounded).shift(1).fillna(_LONGEST_FUNDING_INTERVAL)
    for place in np.flatnonzero(_hole_before(rounded)).tolist():
        yield times[place - 1], times[place], usual.iloc[place]


def _usual_interval(times: pd.DatetimeIndex) -> pd.Timedelta:
    interval: pd.Timedelta = _intervals(times.floor("min")).fillna(_LONGEST_FUNDING_INTERVAL).iloc[-1]
    return interval


def _times(frame: pd.DataFrame, contract: Contract) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame[contract.time])


def _utc(instant: datetime) -> pd.Timestamp:
    if instant.tzinfo is None or instant.utcoffset() != timedelta(0):
        raise BadInput(f"{instant!r} is not an instant in UTC", column="decision_time")
    return pd.Timestamp(instant).tz_convert(UTC)


def _span(contract: Contract, rule: Rule, first: pd.Timestamp, last: pd.Timestamp) -> Finding:
    count = (last - first) // contract.grid + 1
    message = f"{_rows(count)} missing, {_text(first)} to {_text(last)}"
    return _finding(contract, rule, message, contract.time, first.to_pydatetime(), last.to_pydatetime())


def _finding(
    contract: Contract,
    rule: Rule,
    message: str,
    column: str | None = None,
    at: datetime | int | None = None,
    until: datetime | None = None,
) -> Finding:
    return Finding(contract.name, rule, message, column, at, until)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _text(instant: pd.Timestamp) -> str:
    return instant.strftime("%Y-%m-%d %H:%M")
