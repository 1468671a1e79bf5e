"""Every stored report judged from the store alone.

The report of a day of paper trading is made again from the day's records, byte for byte. Of any other, a backtest's,
the bars it was run on are not in the store: its files are judged by what they say of each other, as the importer of
foreign reports does it. A report without its results, which are written last, is still being written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from assets.telemetry.backtest.importer import import_report
from assets.telemetry.backtest.report import RESULTS, report_files, report_key
from assets.telemetry.day_record import day_document
from assets.telemetry.day_report import FORCED, report_of, stored_files
from resources.documents import load_document
from resources.store import Store
from resources.store.differences import Difference, Progress, recomputing, unlike

_FOLDER = "reports/"
_OF_A_DAY = re.compile(r"paper_([a-z]+)_([0-9]{4}-[0-9]{2}-[0-9]{2})")
# What the importer flags though no arithmetic forbids it: unusual, or because of the columns.
_POSSIBLE = FORCED.keys() | {"drawdown_vs_return"}


@dataclass(frozen=True, slots=True)
class ReportsVerdict:
    """How many finished reports were judged, and what differs."""

    reports: int
    differences: tuple[Difference, ...]


def verify_reports(store: Store, now: datetime, progress: Progress = lambda _what, _done, _of: None) -> ReportsVerdict:
    """Judge every finished report. Reads only. ``progress`` is told what is under way. Raises StoreError where the
    store itself cannot be read: whatever else stored bytes cause is a difference."""
    found: list[Difference] = []
    parts = (entry.key.removeprefix(_FOLDER).split("/") for entry in store.list(_FOLDER))
    names = sorted({each[0] for each in parts if len(each) == 2})
    judged = 0
    for number, name in enumerate(names):
        progress("reports", number, len(names))
        with recomputing(f"{_FOLDER}{name}", found):
            files = stored_files(store, name)
            if RESULTS in files:
                judged += 1
                found += _judged(store, name, files, now)
    return ReportsVerdict(judged, tuple(found))


def _judged(store: Store, name: str, files: Mapping[str, bytes], now: datetime) -> Iterator[Difference]:
    of_a_day = _OF_A_DAY.fullmatch(name)
    document = None if of_a_day is None else day_document(store, of_a_day[1], date.fromisoformat(of_a_day[2]))
    if document is None:
        for flag in import_report(files, now).flags:
            if flag.code not in _POSSIBLE:
                yield Difference(report_key(name, flag.file), str(flag))
        return
    for file, data in report_files(report_of(document)).items():
        if files.get(file) == data:
            continue
        key = report_key(name, file)
        if file != RESULTS or file not in files:
            yield Difference(key, "is not what the day's records give")
            continue
        for each in unlike(load_document(files[file]), load_document(data)):
            yield Difference(key, each)
