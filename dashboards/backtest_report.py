"""The newest backtest report of the store, whoever wrote it: ``desk backtest`` or the trading day's own asset; and how
its metrics went over the runs before it."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from assets.telemetry.backtest.report import EQUITY, RESULTS, ReportError, report_key
from assets.telemetry.telemetry_log import BACKTEST, METRICS
from resources.documents import Document, load_document, sha256_hex
from resources.store import Entry, NotFound, Store

Value = Decimal | int | None
Points = tuple[tuple[int, Value], ...]

_FOLDER = "reports/"
_POINTS = 120  # as many as other metrics' trends have
_RUNS = 30  # a month of days; each is read once
_DATE = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)")
_NUMBER = re.compile(r"(?<![\d.])\d+$")  # that ends a name; after a point it would be part of a parameter
# results.json has the brief's units: these are in per cent there, and fractions here as everywhere inside.
_PER_CENT = {"volatility"}


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """``name`` is the report's folder, ``stored_at`` when its results were written. ``values`` are brief 4's metrics of
    a backtest in the units of ``telemetry_log.METRICS``, None undefined; amounts are in ``currency``. ``trends`` are
    their points, oldest first, as (time_ns, value): of ``final_equity`` the equity during the run, of the others one
    for each run of its kind: this report and those before it in its currency whose names differ from its name in their
    dates alone or, where a name has none, in the number that it ends with. That date or number is what they are
    ordered by, whenever each was stored. ``damaged`` says what is wrong with what is stored ("" while nothing is);
    there are no values then."""

    name: str
    stored_at: datetime
    currency: str
    values: Mapping[str, Value]
    trends: Mapping[str, Points] = field(default_factory=dict)
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class _Results:
    """One results.json, as ``BacktestReport`` has it."""

    currency: str
    values: Mapping[str, Value]
    curve_sha256: object = None
    damaged: str = ""


class NewestReport:
    """Follows the store's reports; one that was read is not read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[Entry, _Results] = {}
        self.report: BacktestReport | None = None

    def refresh(self) -> None:
        """Look which report was stored last, and read it and those before it. Raises StoreError."""
        stored = [each for each in self._store.list(_FOLDER) if each.key.endswith(f"/{RESULTS}")]
        newest = max(stored, key=lambda each: (each.modified, *_run(each.key)), default=None)
        if newest is None:
            self._read, self.report = {}, None
            return
        last = _run(newest.key)
        alike = {each: run for each in stored if (run := _run(each.key))[0] == last[0] and run <= last}
        runs = sorted(alike, key=alike.__getitem__)[-_RUNS:]
        if runs == list(self._read):
            return
        read = {each: self._read[each] if each in self._read else self._results(each) for each in runs}
        self.report = self._report(newest, read)
        self._read = read

    def _results(self, entry: Entry) -> _Results:
        try:
            return _parsed(load_document(self._store.read(entry.key).data))
        except (NotFound, ValueError, ArithmeticError) as error:
            return _Results("", {}, damaged=f"{entry.key}: {error}")

    def _report(self, newest: Entry, runs: Mapping[Entry, _Results]) -> BacktestReport:
        name, results, key = _name(newest.key), runs[newest], newest.key
        if results.damaged:
            return BacktestReport(name, newest.modified, "", {}, damaged=results.damaged)
        try:
            key = report_key(name, EQUITY)
            curve = _curve(self._store.read(key).data, results.curve_sha256)
        except (NotFound, ReportError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            return BacktestReport(name, newest.modified, "", {}, damaged=f"{key}: {error}")
        # A run that cannot be read stays a gap.
        alike = [
            (round(entry.modified.timestamp()) * 10**9, run)
            for entry, run in runs.items()
            if run.damaged or run.currency == results.currency
        ]
        trends = {metric: tuple((at, run.values.get(metric)) for at, run in alike) for metric in results.values}
        return BacktestReport(name, newest.modified, results.currency, results.values, trends | {"final_equity": curve})


def _name(key: str) -> str:
    return key.removeprefix(_FOLDER).removesuffix(f"/{RESULTS}")


def _run(key: str) -> tuple[str, int, str]:
    """What a report's name has in common with those of its kind, and what orders it among them: its dates or the number
    it ends with. The name itself is last: two that are written differently may have the same number (7, 07)."""
    name = _name(key)
    part, mark = (_DATE, "/date") if _DATE.search(name) else (_NUMBER, "/number")  # no name has a slash
    digits = "".join(part.findall(name)).replace("-", "")
    return part.sub(mark, name), int(digits or 0), name


def _parsed(results: Document) -> _Results:
    """Raises ValueError naming what is missing or no number."""
    currency = results.get("currency")
    if not isinstance(currency, str):
        raise ValueError("currency is missing or no text")
    values: dict[str, Value] = {}
    for metric in METRICS:
        if metric.source == BACKTEST:
            if metric.name not in results:
                raise ValueError(f"{metric.name} is missing")
            value = results[metric.name]
            if value is not None and (isinstance(value, bool) or not isinstance(value, (Decimal, int))):
                raise ValueError(f"{metric.name} is no number")
            values[metric.name] = Decimal(value).scaleb(-2) if metric.name in _PER_CENT and value is not None else value
    hashes = results.get("sha256")
    return _Results(currency, values, hashes.get(EQUITY) if isinstance(hashes, dict) else None)


def _curve(data: bytes, sha256: object) -> Points:
    """Evenly chosen points, the first and the last among them. Raises ValueError, ArithmeticError, LookupError or
    TypeError where the file is no curve."""
    if sha256_hex(data) != sha256:
        raise ValueError("not what results.json was made of")
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    picked = sorted({n * (len(rows) - 1) // (_POINTS - 1) for n in range(_POINTS)}) if rows else []
    return tuple(
        (round(datetime.fromisoformat(rows[n]["datetime"]).timestamp()) * 10**9, Decimal(rows[n]["equity"]))
        for n in picked
    )
