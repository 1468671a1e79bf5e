"""Portfolio value and P&L: the identities A1 to A9 of reference/trading.md 3.1, by their names.

Unquantised values are exact Decimals; a ``Valuation`` holds what is logged, quantised once so that the
identities between its fields hold exactly after a JSON round trip.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext

from assets.accounting.book import Book, LedgerError
from assets.accounting.precision import EXACT, ZERO, logged


class MissingMark(LedgerError):
    """A held symbol has no price at all, so no portfolio value can be stated."""


def portfolio_value(book: Book, prices: Mapping[str, Decimal]) -> Decimal:
    """A3, the cash view: PV = cash + sum(quantity * mark). Raises MissingMark naming the symbols."""
    _require(book, prices)
    with localcontext(EXACT):
        value = book.cash
        for symbol, position in book.positions.items():
            value += position.quantity * prices[symbol]
        return value


def portfolio_value_from_lots(book: Book, prices: Mapping[str, Decimal]) -> Decimal:
    """A2, the lot view: PV = C0 + F + R + U - K + G, with U = sum over lots of quantity * (mark - price)."""
    _require(book, prices)
    with localcontext(EXACT):
        unrealised = ZERO
        for symbol, position in book.positions.items():
            mark = prices[symbol]
            for quantity, price in position.lots:
                unrealised += quantity * (mark - price)
        return book.initial_capital + book.flows + book.realised + unrealised - book.fees + book.funding


def logged_portfolio_value(book: Book, prices: Mapping[str, Decimal]) -> Decimal:
    """Portfolio value as persisted, 6 decimals. What was earned is rounded and the flows, which have 6 decimals, are
    added: half-even of the sum would let a deposit move a tie, and with it the P&L (A9)."""
    with localcontext(EXACT):
        return logged(portfolio_value(book, prices) - book.flows) + logged(book.flows)


def _require(book: Book, prices: Mapping[str, Decimal]) -> None:
    missing = sorted(symbol for symbol in book.positions if symbol not in prices)
    if missing:
        raise MissingMark(f"no price for held {', '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Valuation:
    """What one log row states, in the reporting currency, 6 decimals.

    ``total_pnl`` = PV - C0 - F (A4); ``daily_pnl`` = PV - PV_baseline - (F - F_baseline) (A5);
    ``base_cumulative`` = total_pnl - daily_pnl, constant between re-baselines (A6).
    """

    portfolio_value: Decimal
    daily_pnl: Decimal
    total_pnl: Decimal
    base_cumulative: Decimal
    net_flows: Decimal


def valuation(book: Book, prices: Mapping[str, Decimal]) -> Valuation:
    """Value the book at ``prices``. Raises MissingMark, or LedgerError when the two views disagree (A2 = A3).

    Before the first re-baseline the inception is the baseline: PV_baseline = C0, F_baseline = 0.
    """
    exact = portfolio_value(book, prices)
    if exact != portfolio_value_from_lots(book, prices):
        raise LedgerError("cash view and lot view of portfolio value differ: the ledger is corrupt")
    with localcontext(EXACT):
        value = logged_portfolio_value(book, prices)
        base_value, base_flows = book.initial_capital, ZERO
        if book.baseline is not None:
            base_value, base_flows = book.baseline.portfolio_value, book.baseline.net_flows
        total = value - book.initial_capital - book.flows
        daily = value - base_value - (book.flows - base_flows)
        return Valuation(value, daily, total, total - daily, logged(book.flows))
