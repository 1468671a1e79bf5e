"""The newest backtest report of the store, whoever wrote it: ``desk backtest`` or the trading day's own asset."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from assets.telemetry.backtest.report import EQUITY, RESULTS, ReportError, report_key
from assets.telemetry.telemetry_log import BACKTEST, METRICS
from resources.documents import Document, load_document, sha256_hex
from resources.store import NotFound, Store

_FOLDER = "reports/"
_POINTS = 120  # as many as other metrics' trends have
# results.json has the brief's units: these are in per cent there, and fractions here as everywhere inside.
_PER_CENT = {"volatility"}


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """``name`` is the report's folder, ``stored_at`` when its results were written. ``values`` are brief 4's metrics of
    a backtest in the units of ``telemetry_log.METRICS``, None undefined; amounts are in ``currency``. ``curve`` is its
    equity as (time_ns, amount), as many points as a trend has. ``damaged`` says what is wrong with what is stored (""
    while nothing is); there are no values then."""

    name: str
    stored_at: datetime
    currency: str
    values: Mapping[str, Decimal | int | None]
    curve: tuple[tuple[int, Decimal], ...] = ()
    damaged: str = ""


class NewestReport:
    """Follows the store's reports; one that was read is not read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read = ("", "")  # key and version
        self.report: BacktestReport | None = None

    def refresh(self) -> None:
        """Look which report was stored last, and read it. Raises StoreError."""
        stored = (each for each in self._store.list(_FOLDER) if each.key.endswith(f"/{RESULTS}"))
        newest = max(stored, key=lambda each: (each.modified, each.key), default=None)
        if newest is None:
            self._read, self.report = ("", ""), None
            return
        if (newest.key, newest.version) == self._read:
            return
        name = newest.key.removeprefix(_FOLDER).removesuffix(f"/{RESULTS}")
        key = newest.key
        try:
            results = load_document(self._store.read(key).data)
            currency, values = _values(results)
            hashes = results.get("sha256")
            key = report_key(name, EQUITY)
            curve = _curve(self._store.read(key).data, hashes.get(EQUITY) if isinstance(hashes, dict) else None)
            self.report = BacktestReport(name, newest.modified, currency, values, curve)
        except (NotFound, ReportError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            self.report = BacktestReport(name, newest.modified, "", {}, damaged=f"{key}: {error}")
        self._read = newest.key, newest.version


def _values(results: Document) -> tuple[str, dict[str, Decimal | int | None]]:
    """Raises ValueError naming what is missing or no number."""
    currency = results.get("currency")
    if not isinstance(currency, str):
        raise ValueError("currency is missing or no text")
    values: dict[str, Decimal | int | None] = {}
    for metric in METRICS:
        if metric.source == BACKTEST:
            if metric.name not in results:
                raise ValueError(f"{metric.name} is missing")
            value = results[metric.name]
            if value is not None and (isinstance(value, bool) or not isinstance(value, (Decimal, int))):
                raise ValueError(f"{metric.name} is no number")
            values[metric.name] = Decimal(value).scaleb(-2) if metric.name in _PER_CENT and value is not None else value
    return currency, values


def _curve(data: bytes, sha256: object) -> tuple[tuple[int, Decimal], ...]:
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
