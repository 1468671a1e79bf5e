"""Deposits and withdrawals: capital moves in or out of the ledger, and portfolio value with it, never P&L."""

from decimal import Decimal, localcontext

from assets.accounting.book import LedgerError
from assets.accounting.events import Flow
from assets.accounting.ledger import Ledger
from assets.accounting.precision import EXACT, logged
from assets.desk.desk import Desk
from assets.desk.tick import last_log_line
from assets.desk.value_log import parse_log_row


class FlowRefused(LedgerError):
    """The flow was not posted; the message says why."""


def post_flow(desk: Desk, amount: Decimal, reason: str, flow_id: str) -> tuple[Flow, bool]:
    """Post a deposit (``amount`` > 0) or a withdrawal (< 0, quote currency), once an id: the flow as it stands in the
    ledger, and whether it is new.

    Raises FlowRefused when the id stands for another flow, when ``amount`` is zero or has more than 6 decimals, or when
    a withdrawal would leave nothing of the newest portfolio value.
    """
    if not amount or amount != logged(amount):
        raise FlowRefused(f"{amount} is no amount with at most 6 decimals")
    ledger = desk.ledger()
    wanted = Flow(f"flow:{flow_id}", desk.clock.now(), amount, reason)
    before = _posted(ledger, wanted.event_id)
    if before is None:
        left = _capital_now(desk, ledger, amount)
        if amount < 0 and left <= 0:
            raise FlowRefused(f"a withdrawal of {-amount:,} would leave a portfolio value of {left:,}")
        if ledger.post([wanted]):
            return wanted, True
        before = _posted(ledger, wanted.event_id)
    if before is None or (before.amount, before.note) != (amount, reason):
        raise FlowRefused(f"{flow_id} was posted before, as another flow: {before}")
    return before, False


def _posted(ledger: Ledger, event_id: str) -> Flow | None:
    """The flow of this id, looked for in all segments: the book remembers ids for days only, people repeat later."""
    for segment in ledger.segments():
        for event in segment.events:
            if event.event_id == event_id and isinstance(event, Flow):
                return event
    return None


def _capital_now(desk: Desk, ledger: Ledger, amount: Decimal) -> Decimal:
    """The newest logged portfolio value, with the flows since and ``amount``; before the first row all is capital."""
    book, line = ledger.book(), last_log_line(desk)
    with localcontext(EXACT):
        if not line:
            return book.initial_capital + book.flows + amount
        row = parse_log_row(line)
        return row.portfolio_value + book.flows - row.net_flows + amount
