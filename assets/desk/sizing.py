"""Target quantities from a signal and the capital before execution (reference/trading.md 3.3 and 3.4).

The identity ``pv_pre = gross + rounding + dropped + untradable`` holds exactly. Each target is one floor of
one exact quotient, ``lots = |n| * PV // (S * P * step)``: computing the scale PV / S first loses a lot on
more than a tenth of on-grid rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from operator import attrgetter
from typing import Literal, NamedTuple

from assets.accounting.instrument import (
    Instruments,
    Resolution,
    lots_of,
    quantity_of,
    resolve_tickers,
)
from assets.accounting.marks import MarkSet
from assets.accounting.precision import EXACT, ZERO, logged, logged_ratio, quotient
from assets.desk.signal import SignalRow, has_unit_mismatch

Status = Literal["kept", "dropped", "untradable", "flat", "not_in_csv"]


# Resolutions that leave something to trade: a contract that is not trading may still be reduced.
_REDUCIBLE = ("", "not_trading")


class SizedRow(NamedTuple):
    """One symbol's way from signal to target.

    ``target_notional`` = |notional| * pv_pre / S >= 0 in quote (6 decimals); quantities are signed contract
    units; ``delta_quantity`` = target - current; ``rounding`` = target_notional - |target_quantity| * price for
    kept rows, else 0. ``status`` with ``reason`` (a stable code, "" when there is nothing to explain):

    - ``kept``: on the grid, to be held
    - ``dropped``: too small to open, or direction unknown; target 0
    - ``untradable``: no usable price, no filters or not trading; held as it is, exposure never raised
    - ``flat``: an explicit zero row; target 0
    - ``not_in_csv``: held but no longer in the signal; target 0 (held on where it has no price)
    """

    ticker: str
    symbol: str
    side: int
    notional: Decimal
    status: Status
    reason: str
    target_notional: Decimal
    target_quantity: Decimal
    current_quantity: Decimal
    delta_quantity: Decimal
    rounding: Decimal
    strategies: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Residual:
    """How the capital divides; the four sum to ``pv_pre`` exactly. In quote currency."""

    gross: Decimal
    rounding: Decimal
    dropped: Decimal
    untradable: Decimal

    def total(self) -> Decimal:
        with localcontext(EXACT):
            return self.gross + self.rounding + self.dropped + self.untradable


@dataclass(frozen=True, slots=True)
class Sizing:
    """Sized rows in symbol order; ``untradable_share`` is the untradable fraction of S."""

    pv_pre: Decimal
    gross_base: Decimal
    rows: tuple[SizedRow, ...]
    residual: Residual
    untradable_share: Decimal


def size(
    rows: Sequence[SignalRow],
    gross_base: Decimal,
    pv_pre: Decimal,
    marks: MarkSet,
    instruments: Instruments,
    current: Mapping[str, Decimal],
    *,
    quote: str,
    residual: Literal["floor", "largest_remainder"] = "floor",
) -> Sizing:
    """Size every signal row and every held symbol against ``pv_pre``.

    ``gross_base`` is S = sum |notional| over all parsed rows; ``current`` the signed quantities held. Raises
    ValueError when ``pv_pre`` is not positive.
    """
    if pv_pre <= 0:
        raise ValueError(f"pv_pre must be positive, got {pv_pre}")
    with localcontext(EXACT):
        resolutions = resolve_tickers((row.ticker for row in rows), instruments, quote)
        sized = [
            _size_row(row, resolutions[row.ticker], gross_base, pv_pre, marks, instruments, current) for row in rows
        ]
        if residual == "largest_remainder":
            sized = _spend_remainders(sized, gross_base, pv_pre, marks, instruments)
        named = {row.symbol for row in sized}
        sized += [_left_the_signal(s, q, marks, instruments) for s, q in current.items() if s not in named]
        sized.sort(key=attrgetter("ticker"))
        sized.sort(key=attrgetter("symbol"))
        return Sizing(
            pv_pre, gross_base, tuple(sized), _residual(sized, gross_base, pv_pre, marks), _share(sized, gross_base)
        )


def _size_row(
    row: SignalRow,
    resolution: Resolution,
    gross_base: Decimal,
    pv_pre: Decimal,
    marks: MarkSet,
    instruments: Instruments,
    current: Mapping[str, Decimal],
) -> SizedRow:
    contract, refusal, multiplier = resolution
    symbol = contract or row.ticker
    held, side = current.get(symbol, ZERO), row.side
    share = row.notional.copy_abs() * pv_pre
    ideal = quotient(share, gross_base) if gross_base else ZERO
    instrument = instruments.by_symbol.get(symbol) if contract else None
    mark = marks.accepted.get(symbol)
    status: Status = "untradable"
    target, rounding = held, ZERO
    if instrument is None or refusal not in _REDUCIBLE:
        reason = refusal
    elif mark is None:
        reason = marks.reason(symbol)
    elif has_unit_mismatch(row, mark.price, multiplier):
        reason = "unit_mismatch"
    elif not side or not share:
        status, reason, target = ("dropped", "direction_unknown", ZERO) if share else ("flat", "", ZERO)
    else:
        price, step = mark.price, instrument.step
        if instrument.grid_offset:
            quantity = quantity_of(lots_of((share,), (gross_base, price), instrument), instrument)
        else:
            # One exact floor: the products are exact, and "//" on positive Decimals floors the exact quotient.
            quantity = share // (gross_base * price * step) * step
        notional = quantity * price
        if refusal:
            reason, target = refusal, _no_new_exposure(held, quantity if side > 0 else -quantity)
        elif quantity < instrument.min_qty or not quantity:
            status, reason, target = "dropped", "below_min_qty", ZERO
        elif notional < instrument.min_notional and held * side <= 0:
            status, reason, target = "dropped", "below_min_notional", ZERO
        else:
            status, reason, target = "kept", "", quantity if side > 0 else -quantity
            rounding = logged(ideal - notional)
    fields = (
        row.ticker, symbol, side, row.notional, status, reason, logged(ideal), target, held,
        target - held, rounding, row.strategies,
    )  # fmt: skip
    return tuple.__new__(SizedRow, fields)  # twice as fast as the call


def _no_new_exposure(held: Decimal, target: Decimal) -> Decimal:
    """The part of the way from ``held`` to ``target`` that only reduces."""
    if held * target <= 0:
        return ZERO
    return target if abs(target) < abs(held) else held


def _left_the_signal(symbol: str, held: Decimal, marks: MarkSet, instruments: Instruments) -> SizedRow:
    reason = "no_filters" if symbol not in instruments else marks.reason(symbol)
    target = held if reason else ZERO
    side = 1 if held > 0 else -1
    return SizedRow("", symbol, side, ZERO, "not_in_csv", reason, ZERO, target, held, target - held, ZERO, {})


def _spend_remainders(
    rows: list[SizedRow], gross_base: Decimal, pv_pre: Decimal, marks: MarkSet, instruments: Instruments
) -> list[SizedRow]:
    """Give single steps back to kept rows, largest fractional remainder first, while the rounding total pays.

    Never spends what was dropped or untradable: that would lever the remaining names unseen. Everything is compared
    times S, where it is exact.
    """
    remainders: dict[int, Decimal] = {}
    costs: dict[int, Decimal] = {}
    for index, row in enumerate(rows):
        if row.status == "kept":
            price = marks.accepted[row.symbol].price
            remainders[index] = abs(row.notional) * pv_pre - abs(row.target_quantity) * price * gross_base
            costs[index] = instruments[row.symbol].step * price
    budget = sum(remainders.values(), ZERO)

    def rank(index: int) -> tuple[Fraction, str]:
        return -Fraction(remainders[index]) / Fraction(costs[index]), rows[index].symbol

    for index in sorted(remainders, key=rank):
        cost = costs[index] * gross_base
        if cost <= budget:
            budget -= cost
            row = rows[index]
            step = instruments[row.symbol].step * row.side
            rows[index] = row._replace(
                target_quantity=row.target_quantity + step,
                delta_quantity=row.delta_quantity + step,
                rounding=logged_ratio(remainders[index] - cost, gross_base),
            )
    return rows


def _residual(rows: Sequence[SizedRow], gross_base: Decimal, pv_pre: Decimal, marks: MarkSet) -> Residual:
    """The division of ``pv_pre``: gross is exact, the two quotients are logged once, rounding is the exact rest (and
    so within 1e-6 of the sum it stands for; exactly 0 where nothing is kept)."""
    gross = dropped = untradable = ZERO
    kept = False
    for row in rows:
        if row.status == "kept":
            kept = True
            gross += row.target_quantity.copy_abs() * marks.accepted[row.symbol].price
        elif row.status == "dropped":
            dropped += row.notional.copy_abs()
        elif row.status == "untradable":
            untradable += row.notional.copy_abs()
    if not gross_base:
        # An accepted all-flat signal targets nothing: the whole capital stays in cash, counted as dropped.
        return Residual(ZERO, ZERO, logged(pv_pre), ZERO)
    lost, held = logged_ratio(dropped * pv_pre, gross_base), logged_ratio(untradable * pv_pre, gross_base)
    if not kept:
        # The larger quotient takes the last digit, so that no rounding is stated where nothing was rounded.
        lost, held = (lost, pv_pre - lost) if untradable > dropped else (pv_pre - held, held)
    return Residual(gross, pv_pre - gross - lost - held, lost, held)


def _share(rows: Sequence[SizedRow], gross_base: Decimal) -> Decimal:
    untradable = sum((abs(row.notional) for row in rows if row.status == "untradable"), ZERO)
    return logged_ratio(untradable, gross_base) if gross_base else ZERO
