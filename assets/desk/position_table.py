"""The positions table: one row a symbol, every column a formula of stored objects (brief 0, section 4.2).

A row's P&L is quantity * (mark - baseline) with the executed quantity and the t1 price. Brief 0's
side * (mark - baseline) / baseline * |notional| is the same number when |notional| = |quantity| * baseline,
and only then do rows add up to the daily P&L (reference/trading.md 3.4, "Which notional in the row formula").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

from assets.accounting.precision import EXACT, ZERO, divided
from resources.documents import Document


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One symbol of the book or of the signal in force. Money in the reporting currency, quantities signed.

    ``side`` is the sign of the quantity. ``weight`` = quantity * mark / PV. ``pnl`` = quantity * (mark - baseline),
    0 without a position. ``pnl_pct`` = side * (mark / baseline - 1), 0 without a position. ``target_notional`` is
    the t0 target, None for a hold-over (``in_csv`` False). A None number has its reason in ``missing``: ``no_mark``
    (no price ever), ``no_baseline`` (no price at t1), ``no_portfolio_value``. ``stale`` is the refusal code of the
    last mark ("" when fresh): the number shown then rests on an older price.
    """

    symbol: str
    side: int
    quantity: Decimal
    weight: Decimal | None
    target_notional: Decimal | None
    baseline: Decimal | None
    mark: Decimal | None
    pnl: Decimal | None
    pnl_pct: Decimal | None
    in_csv: bool
    stale: str
    missing: str


@dataclass(frozen=True, slots=True)
class Block:
    """The long or the short side: ``notional`` = sum |quantity * mark| and ``pnl`` over its ``count`` rows.

    ``unvalued`` names rows that could not enter a sum because a price is missing.
    """

    count: int
    notional: Decimal
    pnl: Decimal
    unvalued: tuple[str, ...]


def position_rows(
    baseline: Document | None,
    latest_prices: Document | None,
    pre_execution: Document | None,
    portfolio_value: Decimal | None,
) -> list[PositionRow]:
    """Rows in symbol order, from the stored documents; an absent document leaves its columns missing.

    Without a baseline there are no positions to show, only the signal's symbols at quantity 0. The
    ``pre_execution`` given must be the one of the baseline's rebalance.
    """
    quantities = _numbers(baseline, "positions")
    at_t1 = _numbers(baseline, "prices")
    marks = _numbers(latest_prices, "prices")
    refused: Mapping[str, str] = {} if latest_prices is None else latest_prices.get("refused", {})
    sized: Iterable[Document] = () if pre_execution is None else pre_execution.get("rows", ())
    targets = {row["symbol"]: Decimal(row["target_notional"]) for row in sized if row["status"] != "not_in_csv"}
    held = {symbol for symbol, quantity in quantities.items() if quantity}
    return [
        _row(
            symbol,
            quantities.get(symbol, ZERO),
            at_t1.get(symbol),
            marks.get(symbol),
            targets.get(symbol),
            portfolio_value,
            refused.get(symbol, ""),
        )
        for symbol in sorted(held | targets.keys())
    ]


def _row(
    symbol: str,
    quantity: Decimal,
    baseline: Decimal | None,
    mark: Decimal | None,
    target: Decimal | None,
    portfolio_value: Decimal | None,
    refused: str,
) -> PositionRow:
    side = (quantity > 0) - (quantity < 0)
    weight: Decimal | None = ZERO
    pnl: Decimal | None = ZERO
    pnl_pct: Decimal | None = ZERO
    missing = ""
    if side:
        weight = pnl = pnl_pct = None
        if mark is None:
            missing = "no_mark"
        elif baseline is None:
            missing = "no_baseline"
        else:
            with localcontext(EXACT):
                pnl = quantity * (mark - baseline)
            pnl_pct = divided(side * (mark - baseline), baseline)
        if mark is not None and portfolio_value:
            weight = divided(quantity * mark, portfolio_value)
        elif mark is not None:
            missing = missing or "no_portfolio_value"
    return PositionRow(
        symbol=symbol,
        side=side,
        quantity=quantity,
        weight=weight,
        target_notional=target,
        baseline=baseline,
        mark=mark,
        pnl=pnl,
        pnl_pct=pnl_pct,
        in_csv=target is not None,
        stale=refused if side else "",
        missing=missing,
    )


def block(rows: Iterable[PositionRow], side: int) -> Block:
    """Totals of the rows on one ``side`` (1 long, -1 short)."""
    count, notional, pnl = 0, ZERO, ZERO
    unvalued = []
    with localcontext(EXACT):
        for row in rows:
            if row.side != side:
                continue
            count += 1
            if row.mark is None or row.pnl is None:
                unvalued.append(row.symbol)
            if row.mark is not None:
                notional += abs(row.quantity * row.mark)
            if row.pnl is not None:
                pnl += row.pnl
    return Block(count, notional, pnl, tuple(unvalued))


def net_exposure(rows: Iterable[PositionRow], portfolio_value: Decimal | None) -> Decimal | None:
    """sum(quantity * mark) / PV, signed; None without a portfolio value or while a held symbol has no mark."""
    if not portfolio_value:
        return None
    net = ZERO
    with localcontext(EXACT):
        for row in rows:
            if not row.side:
                continue
            if row.mark is None:
                return None
            net += row.quantity * row.mark
    return divided(net, portfolio_value)


def _numbers(document: Document | None, key: str) -> dict[str, Decimal]:
    """A stored map of numbers as Decimals; {} when the document or the key is absent."""
    return {} if document is None else {name: Decimal(value) for name, value in document.get(key, {}).items()}
