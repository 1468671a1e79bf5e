"""Span versus rows: whether data are as long, as dense and as orderly as they are said to be.

"One year of hourly bars" with 684 rows is 28 days of them (reference/predecessors.md, brief 4 (d) 5). Nothing is
filled in or put into order here: what is missing, repeated or out of order is counted and named.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from assets.accounting.precision import divided
from resources.documents import Document, to_iso
from resources.market import Market

# So many missing ranges are named one by one; their number and the rows missing are always stated in full.
_NAMED_GAPS = 20

Number = Decimal | int | str


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing that cannot be so, or not as stated: a code and the numbers that show it.

    ``file`` and ``line`` (1 is the header) say where; ``line`` is None for what concerns a whole file.
    """

    code: str
    file: str
    line: int | None = None
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def document(self) -> Document:
        return {"code": self.code, "file": self.file, "line": self.line, "numbers": dict(self.numbers)}

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return " ".join([f"{where} {self.code}", *(f"{name}={value}" for name, value in self.numbers.items())])


@dataclass(frozen=True, slots=True)
class Gap:
    """``missing`` expected rows in a row: from ``first`` up to and including ``last``."""

    first: datetime
    last: datetime
    missing: int

    def document(self) -> Document:
        return {"first": to_iso(self.first), "last": to_iso(self.last), "missing": self.missing}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a series of time stamps covers of the span from ``start`` through ``end`` (None: nothing said where).

    ``rows``: as given. ``expected``: grid instants of the span. ``present``: of these, how many have a row; the rest
    are in ``gaps``. ``repeated``: rows whose stamp was there before; ``backwards``: rows stamped before the row above;
    ``off_grid``: rows that are no whole number of intervals from the beginning. ``flags``: codes ``no_rows``,
    ``naive_time``, ``short_of_claim``, ``missing_rows``, ``duplicate_times``, ``time_backwards``, ``off_grid``,
    ``future_time``, each with its numbers.
    """

    name: str
    interval: timedelta
    start: datetime | None
    end: datetime | None
    rows: int
    expected: int
    present: int
    gaps: tuple[Gap, ...]
    repeated: int
    backwards: int
    off_grid: int
    flags: tuple[Flag, ...]

    @property
    def share(self) -> Decimal:
        """Present of expected rows, 0 to 1; 0 where nothing was expected or came."""
        return divided(Decimal(self.present), Decimal(self.expected)) if self.expected else Decimal(0)

    def document(self) -> Document:
        return {
            "start": None if self.start is None else to_iso(self.start),
            "end": None if self.end is None else to_iso(self.end),
            "interval_seconds": int(self.interval.total_seconds()),
            "rows": self.rows,
            "expected": self.expected,
            "present": self.present,
            "gaps": len(self.gaps),
            "named_gaps": [gap.document() for gap in self.gaps[:_NAMED_GAPS]],
            "repeated": self.repeated,
            "backwards": self.backwards,
            "off_grid": self.off_grid,
        }


def check_coverage(
    name: str,
    stamps: Sequence[datetime],
    interval: timedelta,
    *,
    claimed: timedelta | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    now: datetime | None = None,
) -> Coverage:
    """Compare the rows' stamps (bar opens) with the grid of ``interval`` over their span.

    The span runs from ``start`` (default: the earliest stamp) through ``end`` (default: the latest). ``claimed`` is how
    long the series is said to be: a year of hourly bars is 8,760 rows. ``now`` makes later stamps a flag. Naive stamps
    are counted and flagged and take no part in the rest. Raises ValueError when ``interval`` is not positive.
    """
    if interval <= timedelta(0):
        raise ValueError(f"interval must be positive, got {interval}")
    flags: list[Flag] = []

    def flag(code: str, **numbers: Number) -> None:
        flags.append(Flag(code, name, None, numbers))

    known = [stamp for stamp in stamps if stamp.tzinfo is not None]
    if len(known) < len(stamps):
        flag("naive_time", rows=len(stamps) - len(known))
    if not known:
        flag("no_rows", rows=len(stamps))
        if start is None or end is None:
            return Coverage(name, interval, start, end, len(stamps), 0, 0, (), 0, 0, 0, tuple(flags))
    first = min(known) if start is None else start
    last = max(known) if end is None else end
    expected = max(0, (last - first) // interval + 1)
    if claimed is not None and len(known) < claimed // interval:
        flag(
            "short_of_claim",
            rows=len(known),
            expected=claimed // interval,
            claimed_days=divided(Decimal(int(claimed.total_seconds())), Decimal(86_400)),
            covered_days=divided(Decimal(int((last - first + interval).total_seconds())), Decimal(86_400)),
        )
    on_grid = {(stamp - first) // interval for stamp in known if not (stamp - first) % interval}
    present = sorted(number for number in on_grid if 0 <= number < expected)
    gaps = _gaps(present, expected, first, interval)
    repeated = len(known) - len(set(known))
    backwards = sum(later < earlier for earlier, later in itertools.pairwise(known))
    off_grid = sum(bool((stamp - first) % interval) for stamp in known)
    missing = expected - len(present)
    if missing:
        flag("missing_rows", missing=missing, expected=expected, ranges=len(gaps))
    if repeated:
        flag("duplicate_times", rows=repeated)
    if backwards:
        flag("time_backwards", rows=backwards)
    if off_grid:
        flag("off_grid", rows=off_grid, interval_seconds=int(interval.total_seconds()))
    if now is not None and (late := sum(stamp > now for stamp in known)):
        flag("future_time", rows=late, last=max(known).isoformat(), now=now.isoformat())
    return Coverage(
        name, interval, first, last, len(stamps), expected, len(present), gaps, repeated, backwards, off_grid,
        tuple(flags),
    )  # fmt: skip


def _gaps(present: Sequence[int], expected: int, first: datetime, interval: timedelta) -> tuple[Gap, ...]:
    gaps = []
    bounds = [-1, *present, expected]
    for before, after in itertools.pairwise(bounds):
        if after - before > 1:
            gaps.append(Gap(first + (before + 1) * interval, first + (after - 1) * interval, after - before - 1))
    return tuple(gaps)


def market_coverage(
    market: Market, spans: Mapping[str, tuple[datetime, datetime]], bar: timedelta
) -> dict[str, Coverage]:
    """Whether ``market`` has a mark of each symbol no older than ``bar`` at every instant, one a ``bar``, of its span:
    from its first through its last.

    A replayed folder whose bars are longer than ``bar`` shows here as almost empty: its closes would be taken for
    known long before they were.
    """
    asked: dict[datetime, list[str]] = {}
    for symbol, (start, end) in sorted(spans.items()):
        for number in range((end - start) // bar + 1):
            asked.setdefault(start + number * bar, []).append(symbol)
    fresh: dict[str, list[datetime]] = {symbol: [] for symbol in sorted(spans)}
    for instant in sorted(asked):
        marks = market.marks(instant)
        for symbol in asked[instant]:
            mark = marks.get(symbol)
            if mark is not None and instant - mark.as_of < bar:
                fresh[symbol].append(instant)
    return {
        symbol: check_coverage(symbol, instants, bar, start=spans[symbol][0], end=spans[symbol][1])
        for symbol, instants in fresh.items()
    }
