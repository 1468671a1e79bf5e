"""The newest backtest report of the store, whoever wrote it: ``desk backtest`` or the trading day's own asset."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from assets.telemetry.backtest.report import RESULTS
from assets.telemetry.telemetry_log import BACKTEST, METRICS
from resources.documents import Document, load_document
from resources.store import NotFound, Store

_FOLDER = "reports/"
# results.json has the brief's units: these are in per cent there, and fractions here as everywhere inside.
_PER_CENT = {"volatility"}


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """``name`` is the report's folder, ``stored_at`` when its results were written. ``values`` are brief 4's metrics of
    a backtest in the units of ``telemetry_log.METRICS``, None undefined; amounts are in ``currency``. ``damaged`` says
    what is wrong with the stored results ("" while nothing is); they then have no values."""

    name: str
    stored_at: datetime
    currency: str
    values: Mapping[str, Decimal | int | None]
    damaged: str = ""


class NewestReport:
    """Follows the store's reports; one that was read is not read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read = ("", "")  # key and version
        self.report: BacktestReport | None = None

    def refresh(self) -> None:
        """Look which report was stored last, and read it. Raises StoreError."""
        results = (each for each in self._store.list(_FOLDER) if each.key.endswith(f"/{RESULTS}"))
        newest = max(results, key=lambda each: (each.modified, each.key), default=None)
        if newest is None:
            self._read, self.report = ("", ""), None
            return
        if (newest.key, newest.version) == self._read:
            return
        name = newest.key.removeprefix(_FOLDER).removesuffix(f"/{RESULTS}")
        try:
            currency, values = _values(load_document(self._store.read(newest.key).data))
            self.report = BacktestReport(name, newest.modified, currency, values)
        except NotFound:
            return  # taken away since it was listed: the next look finds another
        except ValueError as error:
            self.report = BacktestReport(name, newest.modified, "", {}, f"{newest.key}: {error}")
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
