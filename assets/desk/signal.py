"""The daily CSV, parsed whole or refused whole.

A row that were silently dropped would change S and lever every other row, so one bad row quarantines the file, with
every problem named by row and column. Rules: reference/trading.md 3.4, table "Input rules"; columns: brief 0 and the
real files of the predecessor (``target_notional`` signed, ``target_contracts`` +1 or -1, ``value_ts`` without a zone).
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from assets.accounting.instrument import NotADecimal, parse_decimal, plain_symbol
from assets.accounting.precision import EXACT, ZERO
from resources.documents import Document, sha256_hex

# A real file is 4 KB and 30 rows; the exchange lists under a thousand contracts. Far more is another file by mistake,
# and these bounds keep the worst file under a second.
MAX_BYTES = 4 * 1024 * 1024
MAX_ROWS = 10_000
MAX_LINE_CHARACTERS = 16_384
MAX_FIELD_CHARACTERS = 1_000
MAX_NAME_CHARACTERS = 100  # a ticker or strategy; also a stem, since it goes into object keys and partition keys
MAX_FILENAME_BYTES = 255  # what file systems allow
MAX_PROBLEMS = 100  # the first hundred tell what is wrong with a file; ten thousand would only fill the report

REQUIRED_COLUMNS = ("ticker", "target_notional", "target_contracts")
KNOWN_COLUMNS = frozenset(
    {
        *REQUIRED_COLUMNS,
        *("id_specific", "extra_key", "value_ts", "strategy", "internal_code", "ric", "currency", "ref_price"),
        "advisor_name",
    }
)

# Rows whose direction is unknown are held back as dropped weight; above this share of S the file says too little.
MAX_DIRECTION_UNKNOWN = Decimal("0.01")
# A reference price this far from the mark is another unit (a 1000x contract, another currency), not a market move.
_LEAST_OF_MARK, _MOST_OF_MARK = Decimal("0.8"), Decimal("1.2")

SHARE_DECIMALS = 12
_WHOLE = Decimal(1)
_STAMP = re.compile(r"(?<!\d)(20\d{6})(?:-\d{4})?(?!\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding about a file: ``row`` is the line in the file (the header is usually line 1), None for the whole."""

    row: int | None
    column: str | None
    code: str
    message: str


class SignalRejected(ValueError):
    """The file is quarantined; ``reasons`` holds at least one problem."""

    def __init__(self, reasons: Sequence[Problem]) -> None:
        super().__init__(tuple(reasons))
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        shown = "; ".join(problem.message for problem in self.reasons[:3])
        return shown if len(self.reasons) <= 3 else f"{shown}; and {len(self.reasons) - 3} more"


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One ticker's target.

    ``line``: in the file. ``ticker``: as given. ``notional``: quote currency, signed as in the file, so its magnitude
    is the weight and ``side`` alone is the direction. ``contracts``: as in the file, a sign rather than a quantity.
    ``side``: sign of ``contracts``; 0 when contracts or notional is 0. ``ref_price``: quote per unit of the ticker,
    never used for sizing; None when not given.
    ``netted``: the file rows behind a row that nets several, else empty. Such a row has the first line, the strategies'
    names joined by "+", the signed net notional, the side as ``contracts``, and no ``ref_price`` of its own.
    """

    line: int
    strategy: str
    ticker: str
    notional: Decimal
    contracts: Decimal
    side: Literal[-1, 0, 1]
    ref_price: Decimal | None
    netted: tuple["SignalRow", ...] = ()

    @property
    def direction_unknown(self) -> bool:
        """A weight without a side, often a contract count that was rounded to 0: target 0, weight kept in S."""
        return self.side == 0 and self.notional != 0

    @property
    def strategies(self) -> dict[str, Decimal]:
        """Each strategy's share of the row's fills; shares sum to exactly 1 (12 decimals, the largest takes the rest).

        A strategy on the other side of the net has a negative share: of a net 60 = 100 - 40 the shares are 5/3 and
        -2/3. Where everything nets to 0 the shares follow the magnitudes.
        """
        if not self.netted:
            return {self.strategy: _WHOLE}
        names = sorted({row.strategy for row in self.netted})
        for weights in (
            {name: _total(_signed(row) for row in self.netted if row.strategy == name) for name in names},
            {name: _total(_magnitude(row) for row in self.netted if row.strategy == name) for name in names},
            dict.fromkeys(names, _WHOLE),
        ):
            if total := _total(weights.values()):
                break
        units = {
            name: round(Fraction(weight) / Fraction(total) * 10**SHARE_DECIMALS) for name, weight in weights.items()
        }
        shares = {name: Decimal(unit).scaleb(-SHARE_DECIMALS, EXACT) for name, unit in units.items()}
        largest = max(names, key=lambda name: (abs(shares[name]), name))
        shares[largest] = EXACT.subtract(_WHOLE, _total(shares[name] for name in names if name != largest))
        return shares


def _magnitude(row: SignalRow) -> Decimal:
    # copy_abs, because abs() would round to the 28 digits of Decimal's ordinary context; so would a minus sign.
    return row.notional.copy_abs()


def _signed(row: SignalRow) -> Decimal:
    return EXACT.multiply(_magnitude(row), Decimal(row.side))


def _total(numbers: Iterable[Decimal]) -> Decimal:
    """The exact sum; EXACT raises rather than round."""
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


@dataclass(frozen=True, slots=True)
class Signal:
    """One accepted file.

    ``trading_day``: from the file name's YYYYMMDD or YYYYMMDD-HHMM, else from ``value_ts``, else None. ``rows``: in
    file order, no ticker twice. ``gross_base``: S = sum of |notional| over all rows, those without direction included
    (quote currency, exact). ``notices``: what was ignored or looks odd without being wrong.
    """

    filename: str
    sha256: str
    trading_day: date | None
    rows: tuple[SignalRow, ...]
    gross_base: Decimal
    notices: tuple[Problem, ...]

    @property
    def stem(self) -> str:
        return stem_of(self.filename)

    @property
    def rebalance_id(self) -> str:
        return rebalance_id_of(self.filename, self.sha256)


def stem_of(filename: str) -> str:
    """The file name without ``.csv``, made safe for object keys and Dagster partition keys.

    Only A-Z a-z 0-9 . _ - remain, every run of others becomes "_", runs of dots become one (partition ranges are
    written with "..."), dots and dashes at the ends go, and 100 characters are kept. Real names are unchanged. Two
    names may share a stem; the digest in the rebalance id tells their contents apart.
    """
    stem = filename[:-4] if filename.lower().endswith(".csv") else filename
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)
    stem = re.sub(r"\.{2,}", ".", stem)[:MAX_NAME_CHARACTERS].strip(".-")
    return stem or "signal"


def rebalance_id_of(filename: str, sha256: str) -> str:
    """``<stem>-<first 12 hex of sha256>``: names the processing of one signal content; a valid partition key."""
    return f"{stem_of(filename)}-{sha256[:12]}"


def trading_day_of_name(filename: str) -> date | None:
    """The last YYYYMMDD, or YYYYMMDD-HHMM, in a file name that is a date; None where there is none."""
    day = None
    for stamp in _STAMP.findall(filename):
        try:
            day = date.fromisoformat(stamp)
        except ValueError:  # eight digits that are no date
            continue
    return day


def parse_signal(
    data: bytes, filename: str, *, duplicates: Literal["reject", "net"] = "reject", allow_flat: bool = False
) -> Signal:
    """The signal in a CSV file, or SignalRejected with every problem found.

    ``duplicates``: what several rows of one ticker mean (``BTC_USDT`` and ``btcusdt`` are one): an error, or rows of
    several strategies to be netted, signed, before S is taken. ``allow_flat``: accept a file that targets nothing,
    which closes the book.

    No target depends on the order of rows. Fields may be quoted, spaces around them do not count, and a row
    must have exactly as many fields as the header, because a comma inside a number would shift the others.
    """
    if duplicates not in ("reject", "net"):
        raise ValueError(f"duplicates must be reject or net, got {duplicates!r}")
    _reject_any(_filename_problems(filename))
    columns, records, notices = _read_table(_decode(data))

    rows: list[SignalRow] = []
    problems: list[Problem] = []
    for line, fields in records:
        row = _parse_row(line, {name: fields[index] for name, index in columns.items()}, problems, notices)
        if row is not None:
            rows.append(row)
    problems += _currency_problems(columns, records)
    _reject_any(problems)
    if not data.endswith((b"\n", b"\r")):
        notices.append(Problem(None, None, "no_final_newline", "the last line has no newline; was it cut off?"))

    rows = _unite(rows, net=duplicates == "net")
    gross_base = _total(_magnitude(row) for row in rows)
    _reject_any(_whole_file_problems(rows, gross_base, allow_flat=allow_flat))
    trading_day = _trading_day(filename, columns, records, notices)
    return Signal(filename, sha256_hex(data), trading_day, tuple(rows), gross_base, _first(notices))


def _reject_any(problems: list[Problem]) -> None:
    if problems:
        raise SignalRejected(_first(problems))


def _first(findings: Sequence[Problem]) -> tuple[Problem, ...]:
    """The findings worth keeping: the first hundred, and how many more there were."""
    if len(findings) <= MAX_PROBLEMS:
        return tuple(findings)
    more = f"and {len(findings) - MAX_PROBLEMS} more findings"
    return (*findings[:MAX_PROBLEMS], Problem(None, None, "more_findings", more))


def _rejected(code: str, message: str, row: int | None = None, column: str | None = None) -> SignalRejected:
    return SignalRejected([Problem(row, column, code, message)])


def _filename_problems(filename: str) -> list[Problem]:
    try:
        length = len(filename.encode())
    except UnicodeEncodeError:
        return [Problem(None, None, "bad_filename", f"the file name is not UTF-8: {filename!r}")]
    if not filename or length > MAX_FILENAME_BYTES:
        message = f"the file name has {length} bytes; 1 to {MAX_FILENAME_BYTES} are accepted"
        return [Problem(None, None, "bad_filename", message)]
    if not filename.isprintable() or "/" in filename or "\\" in filename:
        message = f"the file name holds a control character or a path separator: {filename!r}"
        return [Problem(None, None, "bad_filename", message)]
    return []


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _rejected("huge_file", f"the file has {len(data)} bytes; at most {MAX_BYTES} are read")
    if b"\0" in data:
        raise _rejected("binary", "the file holds NUL bytes: it is binary or UTF-16, not UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _rejected("not_utf8", f"byte {error.start} is not UTF-8; save the file as UTF-8") from None


Record = tuple[int, list[str]]


def _read_table(text: str) -> tuple[dict[str, int], list[Record], list[Problem]]:
    """Column positions by name, the stripped fields of every row with its line, and notices about the header."""
    records = _records(text)
    header_line, header = next(records, (None, []))
    names = [name.lower() for name in header]
    if not any(name in REQUIRED_COLUMNS for name in names):
        raise _rejected("missing_header", f"no header with the columns {', '.join(REQUIRED_COLUMNS)}", header_line)
    problems = [
        Problem(header_line, name, "missing_column", f"the header lacks the column {name}")
        for name in REQUIRED_COLUMNS
        if name not in names
    ] + [
        Problem(header_line, name, "duplicate_column", f"the header names {name} more than once")
        for name in sorted(KNOWN_COLUMNS)
        if names.count(name) > 1
    ]
    _reject_any(problems)
    columns = {name: index for index, name in enumerate(names) if name in KNOWN_COLUMNS}
    notices = [
        Problem(header_line, name, "unknown_column", f"the column {name!r} is not known and was ignored")
        for name in dict.fromkeys(names)
        if name not in KNOWN_COLUMNS
    ]

    rows: list[Record] = []
    for line, fields in records:
        if len(rows) == MAX_ROWS:
            raise _rejected("too_many_rows", f"the file has more than {MAX_ROWS} rows", line)
        if len(fields) != len(header):
            message = f"row {line} has {len(fields)} fields where the header has {len(header)}"
            problems.append(Problem(line, None, "field_count", message))
        rows.append((line, fields))
    _reject_any(problems)
    if not rows:
        raise _rejected("no_rows", "the file has a header and no rows; an empty signal must not close the book")
    return columns, rows, notices


def _records(text: str) -> Iterator[Record]:
    """The line each record ends on and its fields, stripped; blank lines are passed over."""
    reader = csv.reader(_bounded_lines(text), strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _rejected("malformed_csv", f"line {reader.line_num}: {error}", reader.line_num) from None
        if fields:
            if max(map(len, fields)) > MAX_FIELD_CHARACTERS:
                message = f"line {reader.line_num} has a field of more than {MAX_FIELD_CHARACTERS} characters"
                raise _rejected("huge_field", message, reader.line_num)
            yield reader.line_num, [field.strip(" \t") for field in fields]


def _bounded_lines(text: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if len(line) > MAX_LINE_CHARACTERS:
            message = f"line {number} is longer than {MAX_LINE_CHARACTERS} characters"
            raise _rejected("huge_line", message, number)
        yield line


def _parse_row(
    line: int, fields: Mapping[str, str], problems: list[Problem], notices: list[Problem]
) -> SignalRow | None:
    """The row, or None after adding what is wrong with it to ``problems``."""
    found_before = len(problems)
    ticker, strategy = fields["ticker"], fields.get("strategy", "")
    if not ticker:
        problems.append(Problem(line, "ticker", "blank", f"row {line}: the ticker is blank"))
    elif not _is_name(ticker) or any(map(str.isspace, ticker)) or not plain_symbol(ticker):
        problems.append(Problem(line, "ticker", "bad_ticker", f"row {line}: {ticker[:40]!r} cannot be a ticker"))
    if not _is_name(strategy):
        problems.append(
            Problem(line, "strategy", "bad_strategy", f"row {line}: {strategy[:40]!r} cannot name a strategy")
        )
    notional = _parse_number(line, "target_notional", fields, problems)
    contracts = _parse_number(line, "target_contracts", fields, problems)
    ref_price = _parse_number(line, "ref_price", fields, problems) if fields.get("ref_price") else None
    if notional is not None and contracts is not None and notional < 0 < contracts:
        message = f"row {line}: notional {notional} is negative while contracts {contracts} are positive"
        problems.append(Problem(line, "target_notional", "sign_contradiction", message))
    if notional is None or contracts is None or len(problems) > found_before:
        return None

    if ref_price is not None and ref_price <= 0:
        message = f"row {line}: ref_price {ref_price} is not a price and was ignored"
        notices.append(Problem(line, "ref_price", "no_ref_price", message))
        ref_price = None
    if contracts and not notional:
        message = f"row {line}: contracts {contracts} with a notional of 0 are read as flat"
        notices.append(Problem(line, "target_notional", "zero_notional", message))
    side: Literal[-1, 0, 1] = 0 if not (contracts and notional) else 1 if contracts > 0 else -1
    return SignalRow(line, strategy, ticker, notional, contracts, side, ref_price)


def _is_name(text: str) -> bool:
    return len(text) <= MAX_NAME_CHARACTERS and text.isprintable()


def _parse_number(line: int, column: str, fields: Mapping[str, str], problems: list[Problem]) -> Decimal | None:
    try:
        return parse_decimal(fields[column])
    except NotADecimal as error:
        problems.append(Problem(line, column, error.code, f"row {line}, {column}: {error}"))
        return None


def _currency_problems(columns: Mapping[str, int], records: Sequence[Record]) -> list[Problem]:
    """Weights are shares of one sum, so notionals in two currencies cannot be added."""
    if "currency" not in columns:
        return []
    currencies = sorted({fields[columns["currency"]].upper() for _, fields in records} - {""})
    if len(currencies) < 2:
        return []
    message = f"notionals are in several currencies: {', '.join(name[:10] for name in currencies[:5])}"
    return [Problem(None, "currency", "mixed_currencies", message)]


def _unite(rows: Sequence[SignalRow], *, net: bool) -> list[SignalRow]:
    """Rows with every ticker once, in the order of first appearance. Raises SignalRejected for duplicates not netted.

    A row without direction cannot be netted with others: its weight would leave S and lever the rest.
    """
    groups: dict[str, list[SignalRow]] = {}
    for row in rows:
        groups.setdefault(plain_symbol(row.ticker), []).append(row)
    problems: list[Problem] = []
    for symbol, group in groups.items():
        lines = ", ".join(str(row.line) for row in group[:10])
        if not net:
            message = f"{symbol} is named by the rows {lines}"
            problems += [Problem(row.line, "ticker", "duplicate_ticker", message) for row in group[1:]]
        elif len(group) > 1:
            message = f"{symbol} is named by the rows {lines} and cannot be netted: one of them has no direction"
            problems += [
                Problem(row.line, "target_contracts", "direction_unknown", message)
                for row in group
                if row.direction_unknown
            ]
    _reject_any(problems)
    return [group[0] if len(group) == 1 else _net(group) for group in groups.values()]


def _net(group: Sequence[SignalRow]) -> SignalRow:
    notional = _total(_signed(row) for row in group)
    side: Literal[-1, 0, 1] = 0 if not notional else 1 if notional > 0 else -1
    strategies = "+".join(sorted({row.strategy for row in group}))
    return SignalRow(group[0].line, strategies, group[0].ticker, notional, Decimal(side), side, None, tuple(group))


def _whole_file_problems(rows: Sequence[SignalRow], gross_base: Decimal, *, allow_flat: bool) -> list[Problem]:
    if not gross_base:
        if allow_flat:
            return []
        message = "every target is 0; closing the whole book needs allow_flat"
        return [Problem(None, "target_notional", "all_flat", message)]
    unknown = [row for row in rows if row.direction_unknown]
    weight = _total(_magnitude(row) for row in unknown)
    if weight <= EXACT.multiply(MAX_DIRECTION_UNKNOWN, gross_base):
        return []
    lines = ", ".join(str(row.line) for row in unknown[:10])
    message = f"rows {lines} have a notional but contracts 0: {weight} of {gross_base} without direction, above 1 %"
    return [Problem(unknown[0].line, "target_contracts", "direction_unknown", message)]


def _trading_day(
    filename: str, columns: Mapping[str, int], records: Sequence[Record], notices: list[Problem]
) -> date | None:
    """The date in the file name, else the one date all ``value_ts`` agree on; disagreement is noticed."""
    named = trading_day_of_name(filename)
    written: set[date] = set()
    for line, fields in records:
        text = fields[columns["value_ts"]] if "value_ts" in columns else ""
        if not text:
            continue
        try:
            written.add(datetime.fromisoformat(text).date())
        except ValueError:
            message = f"row {line}: value_ts {text[:40]!r} is not a date and time and was ignored"
            notices.append(Problem(line, "value_ts", "bad_value_ts", message))
    if len(written) > 1:
        days = ", ".join(str(day) for day in sorted(written)[:5])
        notices.append(Problem(None, "value_ts", "value_ts_disagree", f"value_ts names several days: {days}"))
    elif named and written and named not in written:
        message = f"value_ts says {min(written)}, the file name {named}"
        notices.append(Problem(None, "value_ts", "value_ts_differs", message))
    return named or (min(written) if len(written) == 1 else None)


def has_unit_mismatch(row: SignalRow, mark: Decimal, multiplier: int) -> bool:
    """Whether ``ref_price`` * ``multiplier`` is more than 20 % away from ``mark`` (quote per contract unit, > 0).

    ``multiplier`` is the Resolution's: coins per contract unit in the ticker's terms. A row without a reference price
    cannot mismatch; a netted row does if any row behind it does. Such a row is untradable (reason ``unit_mismatch``).
    """
    if row.netted:
        return any(has_unit_mismatch(part, mark, multiplier) for part in row.netted)
    if row.ref_price is None:
        return False
    reference = row.ref_price if multiplier == 1 else EXACT.multiply(row.ref_price, multiplier)
    if reference > mark:
        return reference > EXACT.multiply(mark, _MOST_OF_MARK)
    return reference < EXACT.multiply(mark, _LEAST_OF_MARK)


def report(signal: Signal) -> Document:
    """The signal as stored in ``signal.json``; ``from_report`` gives it back unchanged."""
    return {
        "filename": signal.filename,
        "sha256": signal.sha256,
        "rebalance_id": signal.rebalance_id,
        "trading_day": signal.trading_day.isoformat() if signal.trading_day else None,
        "gross_base": signal.gross_base,
        "rows": [_row_report(row) for row in signal.rows],
        "notices": [
            {"row": notice.row, "column": notice.column, "code": notice.code, "message": notice.message}
            for notice in signal.notices
        ],
    }


def _row_report(row: SignalRow) -> Document:
    document: Document = {
        "line": row.line,
        "strategy": row.strategy,
        "ticker": row.ticker,
        "notional": row.notional,
        "contracts": row.contracts,
        "side": row.side,
        "ref_price": row.ref_price,
    }
    if row.netted:
        document["netted"] = [_row_report(part) for part in row.netted]
    return document


def from_report(document: Document) -> Signal:
    """The signal a stored report stands for. Raises ValueError when a field is missing, of a wrong type or at odds
    with the rows (``gross_base``) or the content (``rebalance_id``)."""
    try:
        day = document["trading_day"]
        signal = Signal(
            filename=document["filename"],
            sha256=document["sha256"],
            trading_day=date.fromisoformat(day) if day is not None else None,
            rows=tuple(_row_from_report(row) for row in document["rows"]),
            gross_base=_number_from_report(document["gross_base"]),
            notices=tuple(Problem(**notice) for notice in document["notices"]),
        )
        if document["rebalance_id"] != signal.rebalance_id:
            raise ValueError(f"rebalance_id {document['rebalance_id']!r} does not belong to this content")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a signal report: {error!r}") from error
    if signal.gross_base != _total(_magnitude(row) for row in signal.rows):
        raise ValueError(f"gross_base {signal.gross_base} is not the sum of the rows")
    return signal


def _row_from_report(document: Document) -> SignalRow:
    ref_price = document["ref_price"]
    return SignalRow(
        line=document["line"],
        strategy=document["strategy"],
        ticker=document["ticker"],
        notional=_number_from_report(document["notional"]),
        contracts=_number_from_report(document["contracts"]),
        side=document["side"],
        ref_price=None if ref_price is None else _number_from_report(ref_price),
        netted=tuple(_row_from_report(part) for part in document.get("netted", ())),
    )


def _number_from_report(value: Any) -> Decimal:
    """A stored number: JSON readers give int or Decimal; a float has already lost digits."""
    if isinstance(value, bool | float):
        raise TypeError(f"not an exact number: {value!r}")
    return Decimal(value)
