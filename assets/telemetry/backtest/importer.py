"""Reading a backtest report in brief 4's files and flagging what cannot be so.

Nothing is repaired, dropped or put into order: every row comes out as it went in, with the codes of what is wrong with
it, and what concerns a file or the figures together is a flag of its own. What the flags look for was all seen stored
and shown (reference/predecessors.md, brief 4 (d) and the traps).

A printed number stands for everything that rounds to it: an identity is broken only where no such numbers could hold
it. Percentages are as in the brief: 0.39 is 0.39 %.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

from assets.accounting.instrument import NotADecimal, parse_decimal
from assets.accounting.precision import ZERO, divided, logged
from assets.telemetry.backtest.coverage import Flag, Number, check_coverage
from assets.telemetry.backtest.engine import quoted_in
from assets.telemetry.backtest.report import (
    EQUITY,
    EQUITY_COLUMNS,
    RESULTS,
    SIGNALS,
    TRADE_COLUMNS,
    TRADES,
    EquityPoint,
    daily_returns,
    return_and_drawdown,
    volatility_and_sharpe,
)
from resources.documents import Document, load_document, sha256_hex

FILES = (EQUITY, TRADES, SIGNALS, RESULTS)
_FIGURES = (
    "total_return", "sharpe_ratio", "max_drawdown", "final_equity", "start_value", "volatility", "total_trades",
    "total_signals", "signal_to_trade_ratio", "win_rate",
)  # fmt: skip
_TIME_COLUMNS = ("datetime", "timestamp", "time", "date", "entry_time")
_ID_COLUMNS = ("trade_id", "id", "fill_id", "order_id")
# A path that moves by this factor and ends where it began is flagged, though no arithmetic forbids it: -99.21 % of
# drawdown and -0.23 % of return need a factor of 126.
_IMPLAUSIBLE_SWING = 10
# A fee rate that one row alone has, further than this from the usual one, which most rows have.
_FEE_TOLERANCE = Decimal("0.01")
# Numbers written by a program that computes with float64 carry its rounding: four units in the last place.
_FLOAT = Decimal(2) ** -50
_ROUNDED_DIGITS = 6
_MONTH = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One row as it stood in its file. ``line``: as in an editor, the header being 1; ``codes``: () when accepted."""

    line: int
    values: Mapping[str, str]
    codes: tuple[str, ...] = ()

    def document(self) -> Document:
        return {"line": self.line, "values": dict(self.values), "codes": list(self.codes)}


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in: rows by file in their order, the figures of results.json as given, and every flag."""

    rows: Mapping[str, tuple[ImportedRow, ...]]
    results: tuple[Document, ...]
    sha256: Mapping[str, str]
    flags: tuple[Flag, ...]

    def accepted(self, file: str) -> int:
        return sum(not row.codes for row in self.rows.get(file, ()))

    def document(self) -> Document:
        """The whole outcome; rows in = accepted + flagged, file by file."""
        return {
            "files": {
                file: {
                    "sha256": self.sha256[file],
                    "rows": len(rows),
                    "accepted": [row.document() for row in rows if not row.codes],
                    "flagged": [row.document() for row in rows if row.codes],
                }
                for file, rows in self.rows.items()
            },
            "results": list(self.results),
            "flags": [flag.document() for flag in self.flags],
        }


@dataclass(slots=True)
class _Raw:
    """A file's rows before they are judged: line, cells by column."""

    header: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]


@dataclass(slots=True)
class _Found:
    flags: list[Flag] = field(default_factory=list)

    def add(self, code: str, file: str, line: int | None = None, **numbers: Number) -> None:
        self.flags.append(Flag(code, file, line, numbers))


def import_report(files: Mapping[str, bytes], now: datetime) -> Imported:
    """Judge the files of one report, by name; ``now`` (UTC) tells which times lie in the future.

    Never raises for what is in the files: unreadable ones are flagged ``unreadable``, absent ones ``file_missing``.
    """
    found = _Found()
    raw: dict[str, _Raw] = {}
    for name in (EQUITY, TRADES, SIGNALS):
        if name not in files:
            found.add("file_missing", name)
        elif (table := _table(name, files[name], found)) is not None:
            raw[name] = table
    results = _results(files, found)
    points = _equity(raw.get(EQUITY), now, found)
    _trades(raw.get(TRADES), results[0] if results else {}, now, found)
    if SIGNALS in raw:
        _times(SIGNALS, raw[SIGNALS], now, found, ordered=False)
    for number, figures in enumerate(results, start=1):
        line = None if len(results) == 1 else number
        _figures(figures, line, found)
    repeated = Counter(str(sorted(figures.items(), key=lambda item: item[0])) for figures in results)
    for times in repeated.values():
        if times > 1:
            found.add("results_repeated", RESULTS, None, identical=times, of=len(results))
    if len(results) == 1:
        _against_files(results[0], raw, points, files, found)
    return Imported(
        rows={
            name: tuple(
                ImportedRow(
                    line, values,
                    tuple(dict.fromkeys(f.code for f in found.flags if f.file == name and f.line == line)),
                )
                for line, values in table.rows
            )
            for name, table in raw.items()
        },
        results=results,
        sha256={name: sha256_hex(data) for name, data in files.items()},
        flags=tuple(found.flags),
    )  # fmt: skip


def _table(name: str, data: bytes, found: _Found) -> _Raw | None:
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        cells = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        found.add("unreadable", name, None, error=str(error))
        return None
    if not cells:
        found.add("unreadable", name, None, error="empty")
        return None
    header = tuple(cells[0][1])
    wanted = {EQUITY: EQUITY_COLUMNS, TRADES: TRADE_COLUMNS}.get(name, ())
    missing = [column for column in wanted if column not in header]
    if missing or len(set(header)) < len(header):
        found.add("columns", name, 1, missing=", ".join(missing), header=", ".join(header))
    rows = []
    for line, row in cells[1:]:
        if len(row) != len(header):
            found.add("row_shape", name, line, cells=len(row), columns=len(header))
        values: dict[str, str] = {}
        for number, cell in enumerate(row):
            column = header[number] if number < len(header) else f"column {number + 1}"
            # A second cell under one name keeps its place and gets a name of its own: no cell is lost.
            values[column if column not in values else f"column {number + 1} {column}"] = cell
        rows.append((line, values))
    return _Raw(header, rows)


def _results(files: Mapping[str, bytes], found: _Found) -> tuple[Document, ...]:
    """The figures: one object, or a list of them as a sweep stores it (wrapped here so that one reader serves)."""
    if RESULTS not in files:
        found.add("file_missing", RESULTS)
        return ()
    try:
        document = load_document(b'{"results":' + files[RESULTS].strip() + b"}")
    except (ValueError, RecursionError, ArithmeticError) as error:
        found.add("unreadable", RESULTS, None, error=str(error))
        return ()
    given = document["results"]
    results = given if isinstance(given, list) else [given]
    if set(document) != {"results"} or not results or not all(isinstance(each, dict) for each in results):
        found.add("unreadable", RESULTS, None, error="neither an object nor a list of objects")
        return ()
    return tuple(results)


def _number(
    values: Mapping[str, str], column: str, name: str, line: int, found: _Found, *, optional: bool = False
) -> Decimal | None:
    text = values.get(column, "")
    if not text.strip():
        if not optional:
            found.add("number_missing", name, line, column=column)
        return None
    try:
        return parse_decimal(text)
    except NotADecimal as error:
        found.add("not_a_number", name, line, column=column, text=text[:40], why=error.code)
        return None


def _half_unit(number: Decimal) -> Decimal:
    """Half a unit of the last printed digit, and what float64 may have added before it was printed."""
    with localcontext(prec=60):
        return Decimal(1).scaleb(int(number.as_tuple().exponent)) / 2 + abs(number) * _FLOAT


def _given(number: Decimal) -> Decimal:
    """By how much a number that others are computed from may be off: 1, 0.5 and 100 are meant as they stand, longer
    ones may have been rounded to the digits printed."""
    return _half_unit(number) if len(number.as_tuple().digits) >= _ROUNDED_DIGITS else abs(number) * _FLOAT


def _times(name: str, table: _Raw, now: datetime, found: _Found, *, ordered: bool) -> list[tuple[int, datetime]]:
    """(line, time) of every row whose time can be read; each thing wrong with one is a flag of its line."""
    column = next((column for column in _TIME_COLUMNS if column in table.header), None)
    if column is None:
        return []
    known: list[tuple[int, datetime]] = []
    for line, values in table.rows:
        text = values.get(column, "").strip()
        try:
            given = datetime.fromisoformat(text)
            # A naive one is read as UTC to look for what else is wrong; its flag says that nobody knows the zone.
            time = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
        except (ValueError, OverflowError):
            found.add("bad_time", name, line, text=text[:40])
            continue
        if given.tzinfo is None:
            found.add("naive_time", name, line, time=text)
        if time > now:
            found.add("future_time", name, line, time=time.isoformat(), now=now.isoformat())
        if known and ordered:
            before = known[-1][1]
            if time == before:
                found.add("duplicate_time", name, line, time=time.isoformat())
            elif time < before:
                found.add("time_backwards", name, line, time=time.isoformat(), row_above=before.isoformat())
        known.append((line, time))
    return known


def _equity(table: _Raw | None, now: datetime, found: _Found) -> list[EquityPoint]:
    """Judge the curve; returns its points when all of it can be read, in order, else nothing to compute from."""
    if table is None:
        return []
    if not table.rows:
        found.add("no_rows", EQUITY)
        return []
    known = dict(_times(EQUITY, table, now, found, ordered=True))
    points = []
    for line, values in table.rows:
        equity = _number(values, "equity", EQUITY, line, found)
        cash = _number(values, "cash", EQUITY, line, found)
        if equity is not None and equity <= 0:
            found.add("equity_not_positive", EQUITY, line, equity=equity)
        if equity is not None and cash is not None and line in known:
            points.append(EquityPoint(known[line], equity, cash))
    _spacing(list(known.items()), found)
    readable = len(points) == len(table.rows) and all(a.time < b.time for a, b in pairwise(points))
    return points if readable else []


def _spacing(known: Sequence[tuple[int, datetime]], found: _Found) -> None:
    """Missing and repeated months of a monthly statement; missing rows of any other regular curve."""
    distances = [later - earlier for (_, earlier), (_, later) in pairwise(known) if later != earlier]
    if not distances:
        return
    if sorted(abs(distance) for distance in distances)[len(distances) // 2] >= _MONTH:
        months = [(line, time.year * 12 + time.month - 1) for line, time in known]
        seen: set[int] = set()
        for line, month in months:
            if month in seen:
                found.add("month_repeated", EQUITY, line, month=f"{month // 12}-{month % 12 + 1:02d}")
            seen.add(month)
        for month in range(min(seen), max(seen)):
            if month not in seen:
                found.add("month_missing", EQUITY, None, month=f"{month // 12}-{month % 12 + 1:02d}")
        return
    forward = Counter(distance for distance in distances if distance > timedelta(0))
    if not forward:
        return
    usual = max(forward, key=lambda distance: (forward[distance], -distance))
    coverage = check_coverage(EQUITY, sorted({time for _, time in known}), usual)
    # A last point between two of the grid, at the end of the period, is no fault.
    found.flags.extend(flag for flag in coverage.flags if flag.code == "missing_rows")


def _trades(table: _Raw | None, results: Mapping[str, Any], now: datetime, found: _Found) -> None:
    if table is None:
        return
    listed = results.get("trade_rows")
    elsewhere = isinstance(listed, list) and len(listed) == len(table.rows)
    if not elsewhere and table.rows:
        if not any(column in table.header for column in _TIME_COLUMNS):
            found.add("trades_without_time", TRADES, None, rows=len(table.rows))
        if not any(column in table.header for column in _ID_COLUMNS):
            found.add("trades_without_id", TRADES, None, rows=len(table.rows))
    _times(TRADES, table, now, found, ordered=False)
    _repeats(table, elsewhere, found)
    quotes = Counter(quoted_in(values.get("symbol", "")) for _, values in table.rows)
    named = {quote: rows for quote, rows in quotes.items() if quote}
    stated = results.get("currency")
    if len(named) > 1 or (named and isinstance(stated, str) and stated not in named):
        found.add(
            "mixed_quote_currencies", TRADES, None, **named, **({"stated": stated} if isinstance(stated, str) else {})
        )
    held: dict[str, Decimal] = {}
    rates: list[tuple[int, Decimal, Decimal]] = []
    for line, values in table.rows:
        _trade_row(line, values, bool(results.get("short_selling")), held, rates, found)
    _fee_rates(rates, found)


def _repeats(table: _Raw, elsewhere: bool, found: _Found) -> None:
    """A row that is there twice, and an id that is: two trades, or one counted twice, cannot be told apart."""
    column = next((column for column in _ID_COLUMNS if column in table.header), None)
    if column is None and elsewhere:
        return  # the ids in results.json tell equal rows apart
    seen: dict[object, int] = {}
    for line, values in table.rows:
        key: object = tuple(values.items()) if column is None else values.get(column)
        if key in seen:
            found.add("row_repeated" if column is None else "id_repeated", TRADES, line, first_line=seen[key])
        seen.setdefault(key, line)


def _trade_row(
    line: int,
    values: Mapping[str, str],
    short_selling: bool,
    held: dict[str, Decimal],
    rates: list[tuple[int, Decimal, Decimal]],
    found: _Found,
) -> None:
    quantity = _number(values, "qty", TRADES, line, found)
    price = _number(values, "price", TRADES, line, found)
    fee = _number(values, "fee", TRADES, line, found)
    cost = _number(values, "cost", TRADES, line, found, optional=True)
    proceeds = _number(values, "proceeds", TRADES, line, found, optional=True)
    symbol, side = values.get("symbol", ""), values.get("side", "").strip().lower()
    for column, number in (("qty", quantity), ("price", price)):
        if number is not None and number <= 0:
            found.add("not_positive", TRADES, line, column=column, value=number)
    if fee is not None and fee < 0:
        found.add("fee_negative", TRADES, line, fee=fee)
    if side not in ("buy", "sell"):
        found.add("side_unknown", TRADES, line, side=side)
        return
    if not symbol:
        found.add("symbol_missing", TRADES, line)
    stated, other, sign = (cost, proceeds, 1) if side == "buy" else (proceeds, cost, -1)
    name = "cost" if side == "buy" else "proceeds"
    if stated is None and not values.get(name, "").strip():
        found.add(f"{name}_missing", TRADES, line)
    if other is not None:
        found.add("amount_on_wrong_side", TRADES, line, side=side, cost=str(cost), proceeds=str(proceeds))
    if quantity is None or price is None or quantity <= 0 or price <= 0:
        return
    with localcontext(prec=60):
        notional = quantity * price
        if fee is not None:
            slack = quantity * _given(price) + price * _given(quantity) + _given(fee)
            if stated is not None and abs(notional + sign * fee - stated) > slack + _half_unit(stated):
                found.add(
                    f"{name}_identity", TRADES, line, stated=stated, computed=notional + sign * fee,
                    difference=stated - notional - sign * fee,
                )  # fmt: skip
            # A fee is computed from the rest and may be rounded to its decimals; without any, it is meant as it stands.
            rounded = _given(fee) if int(fee.as_tuple().exponent) >= 0 else _half_unit(fee)
            rates.append((line, fee / notional, rounded / notional))
        before = held.get(symbol, ZERO)
        held[symbol] = before + sign * quantity
        # Without shorts a sale of more than held has no meaning; what remains is then held at zero.
        if not short_selling and held[symbol] < -(_half_unit(quantity) + before * _FLOAT):
            found.add("sells_more_than_held", TRADES, line, symbol=symbol, qty=quantity, held=before)
            held[symbol] = ZERO


def _fee_rates(rates: Sequence[tuple[int, Decimal, Decimal]], found: _Found) -> None:
    """Rows whose fee rate is not the one that at least two thirds of three or more rows share."""
    if len(rates) < 3:
        return
    usual = sorted(rate for _, rate, _ in rates)[len(rates) // 2]
    odd = [(line, rate) for line, rate, slack in rates if abs(rate - usual) > slack + usual * _FEE_TOLERANCE]
    if 3 * len(odd) > len(rates):
        return
    for line, rate in odd:
        found.add("fee_inconsistent", TRADES, line, fee_bps=logged(rate * 10_000), usual_bps=logged(usual * 10_000))


def _figure(figures: Mapping[str, Any], name: str) -> Decimal | None:
    value = figures.get(name)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def _figures(figures: Mapping[str, Any], line: int | None, found: _Found) -> None:
    """What the figures of one result say against each other."""

    def add(code: str, **numbers: Number) -> None:
        found.add(code, RESULTS, line, **numbers)

    for name in _FIGURES:
        if name not in figures:
            add("figure_missing", figure=name)
        elif figures[name] is not None and _figure(figures, name) is None:
            add("not_a_number", figure=name, text=str(figures[name])[:40])
    total, sharpe, final, start, win, volatility = (
        _figure(figures, name)
        for name in ("total_return", "sharpe_ratio", "final_equity", "start_value", "win_rate", "volatility")
    )
    drawdown = _figure(figures, "max_drawdown")
    trades, signals = _figure(figures, "total_trades"), _figure(figures, "total_signals")
    if sharpe is not None and not isinstance(figures.get("annualisation"), dict):
        add("annualisation_unstated", sharpe_ratio=sharpe)
    for name, low, high in (("win_rate", 0, 100), ("volatility", 0, None), ("total_return", -100, None)):
        value = _figure(figures, name)
        if value is not None and (value < low or (high is not None and value > high)):
            add("out_of_range", figure=name, value=value)
    for name, value in (("final_equity", final), ("start_value", start)):
        if value is not None and value <= 0:
            add("out_of_range", figure=name, value=value)
    with localcontext(prec=60):
        flows = _figure(figures, "net_flows") or ZERO
        if total is not None and final is not None and start is not None and start > 0 and not flows:
            implied = 100 * (final / start - 1)
            slack = _half_unit(total) + 100 * (_half_unit(final) + abs(final) * _half_unit(start) / start) / start
            if abs(implied - total) > slack:
                add("return_vs_final_equity", total_return=total, implied=logged(implied), final_equity=final)
        if drawdown is not None:
            _drawdown(total, abs(drawdown), drawdown, add)
    if sharpe is not None and total is not None and sharpe * total < 0:
        # A volatile path can lose while its mean daily return is above zero; the curve decides where there is one.
        add("sharpe_sign", sharpe_ratio=sharpe, total_return=total)
    if volatility is not None and not volatility and total:
        add("no_volatility", total_return=total)
    if trades is not None:
        _trade_figures(figures, trades, signals, total, win, add)


def _drawdown(total: Decimal | None, depth: Decimal, stated: Decimal, add: Any) -> None:
    if depth > 100:
        add("out_of_range", figure="max_drawdown", value=stated)
        return
    if total is None or total < -100:
        return
    if -total > depth + _half_unit(stated) + _half_unit(total):
        add("drawdown_smaller_than_loss", max_drawdown=stated, total_return=total)
    # What the printed digits leave at the trough, at most; from there to the end, or from the peak, is the swing.
    swing = (100 + total) / (100 - depth + _half_unit(stated))
    if swing > _IMPLAUSIBLE_SWING and depth > total:
        add("drawdown_vs_return", max_drawdown=stated, total_return=total, factor=divided(swing, Decimal(1), 4))


def _trade_figures(
    figures: Mapping[str, Any],
    trades: Decimal,
    signals: Decimal | None,
    total: Decimal | None,
    win: Decimal | None,
    add: Any,
) -> None:
    if trades != int(trades) or trades < 0:
        add("out_of_range", figure="total_trades", value=trades)
        return
    if not trades:
        if total or win:
            add("result_without_trades", total_return=str(total), win_rate=str(win))
        else:
            add("no_trades")
        return
    ratio = _figure(figures, "signal_to_trade_ratio")
    if ratio is not None and signals is not None and abs(signals / trades - ratio) > _half_unit(ratio):
        add("signal_to_trade_ratio", stated=ratio, computed=divided(signals, trades, 8))
    if win is None or not 0 <= win <= 100:
        return
    stated = figures.get("round_trips")
    if isinstance(stated, dict):
        closed = _figure(stated, "closed")
        if closed is None or _fitting(win, int(closed)) is None:
            add("win_rate_impossible", win_rate=win, round_trips=str(closed))
        return
    count = int(trades)
    if _fitting(win, count) is not None:
        return
    # Fills come in pairs: the rate may be one of the round trips that so many fills can have closed.
    for closed_trips in range(count // 2, 0, -1):
        won = _fitting(win, closed_trips)
        if won is not None:
            add("win_rate_denominator", win_rate=win, total_trades=count, fits=f"{won} of {closed_trips} round trips")
            return
    add("win_rate_impossible", win_rate=win, total_trades=count)


def _fitting(win: Decimal, of: int) -> int | None:
    """How many of ``of`` give the printed per cent ``win``; None when no whole number does."""
    won = round(win * of / 100)
    return won if of and abs(Decimal(100 * won) / of - win) <= _half_unit(win) else None


def _against_files(
    figures: Mapping[str, Any],
    raw: Mapping[str, _Raw],
    points: Sequence[EquityPoint],
    files: Mapping[str, bytes],
    found: _Found,
) -> None:
    """What the figures say against the rows beside them."""
    for name, table, figure in (
        (TRADES, raw.get(TRADES), "total_trades"),
        (SIGNALS, raw.get(SIGNALS), "total_signals"),
        (EQUITY, raw.get(EQUITY), "points"),
    ):
        stated = _figure(figures, figure)
        if table is not None and stated is not None and stated != len(table.rows):
            found.add("row_count", name, None, rows=len(table.rows), stated=stated, figure=figure)
    hashes = figures.get("sha256")
    for name, stated_hash in hashes.items() if isinstance(hashes, dict) else ():
        if name not in files or sha256_hex(files[name]) != stated_hash:
            found.add("sha256_differs", name, None, stated=str(stated_hash))
    if points:
        _against_curve(figures, points, found)
    _against_trades(figures, raw.get(TRADES), found)


def _against_curve(figures: Mapping[str, Any], points: Sequence[EquityPoint], found: _Found) -> None:
    def differs(code: str, name: str, computed: Decimal | None, slack: Decimal = ZERO) -> None:
        stated = _figure(figures, name)
        if stated is not None and (computed is None or abs(computed - stated) > _half_unit(stated) + slack):
            shown = "undefined" if computed is None else logged(computed)
            found.add(code, RESULTS, None, figure=name, stated=stated, computed=shown)

    first, last = points[0].equity, points[-1].equity
    differs("final_equity_vs_curve", "final_equity", last, _half_unit(last))
    claims = [name for name in ("total_return", "volatility", "max_drawdown") if _figure(figures, name)]
    if len(points) > 1 and claims and len({point.equity for point in points}) == 1:
        found.add("equity_constant", EQUITY, None, points=len(points), equity=first, stated=", ".join(claims))
    period = figures.get("period")
    if isinstance(period, dict):
        for name, point in (("start", points[0]), ("end", points[-1])):
            if _instant(period.get(name)) != point.time:
                found.add("period", EQUITY, None, stated=str(period.get(name)), row=point.time.isoformat())
    if _figure(figures, "net_flows") or any(point.equity <= 0 for point in points):
        return
    start = _figure(figures, "start_value") or first
    if start <= 0:
        return
    _, drawdown = return_and_drawdown(start, points, ())
    stated_drawdown = _figure(figures, "max_drawdown")
    if stated_drawdown is not None and drawdown is not None:
        # Written as a magnitude by some: the sign is theirs.
        sign = -1 if stated_drawdown > 0 else 1
        slack = 200 * max(_half_unit(point.equity) / point.equity for point in points)
        differs("drawdown_vs_curve", "max_drawdown", 100 * sign * drawdown, slack)
    if isinstance(figures.get("annualisation"), dict):
        _ratios_of_curve(start, points, differs, found)


def _ratios_of_curve(start: Decimal, points: Sequence[EquityPoint], differs: Any, found: _Found) -> None:
    """Recompute what says how it was annualised; a Sharpe ratio that the curve bears out may have either sign."""
    volatility, sharpe = volatility_and_sharpe(daily_returns(start, points, ()).returns)
    before = len(found.flags)
    differs("sharpe_vs_curve", "sharpe_ratio", sharpe)
    if len(found.flags) == before:
        found.flags[:] = [flag for flag in found.flags if flag.code != "sharpe_sign"]
    differs("volatility_vs_curve", "volatility", None if volatility is None else 100 * volatility)


def _against_trades(figures: Mapping[str, Any], table: _Raw | None, found: _Found) -> None:
    """Sum of proceeds - cost + what is held = final equity - start, where the rows are all there and can be read."""
    final, start = _figure(figures, "final_equity"), _figure(figures, "start_value")
    if table is None or not table.rows or final is None or start is None:
        return
    if _figure(figures, "total_trades") != len(table.rows):
        return
    held: dict[str, Decimal] = {}
    with localcontext(prec=60):
        cash = slack = ZERO
        for _, values in table.rows:
            side = values.get("side", "").strip().lower()
            amount = _plain_number(values.get("cost" if side == "buy" else "proceeds", ""))
            quantity = _plain_number(values.get("qty", ""))
            if side not in ("buy", "sell") or amount is None or quantity is None:
                return
            sign = 1 if side == "buy" else -1
            cash -= sign * amount
            slack += _half_unit(amount)
            symbol = values.get("symbol", "")
            held[symbol] = held.get(symbol, ZERO) + sign * quantity
        value = _figure(figures, "held_value")
        if value is None:
            if any(abs(quantity) > abs(quantity) * _FLOAT and quantity for quantity in held.values()):
                return  # what is still held was worth something that nobody wrote down
            value = ZERO
        other = [_figure(figures, name) or ZERO for name in ("funding", "net_flows")]
        due = start + cash + value + sum(other) - (_figure(figures, "opening_value") or ZERO)
        if abs(due - final) > slack + _half_unit(final) + _half_unit(start):
            found.add("trades_vs_final_equity", TRADES, None, final_equity=final, trades_leave=due)


def _plain_number(text: str) -> Decimal | None:
    try:
        return parse_decimal(text)
    except NotADecimal:
        return None


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def counts(imported: Imported) -> Iterable[tuple[str, int, int]]:
    """(file, rows, accepted rows) of every table read."""
    return ((file, len(rows), imported.accepted(file)) for file, rows in imported.rows.items())
