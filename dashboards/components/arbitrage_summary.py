"""The portfolio summary: brief 3's eight figures in its words and its order.

A figure is ``{label, whole, rest, unit, title, note, reason, sign, delta, share}``: an undefined one is the placeholder
with its reason, and zero stays zero.
"""

from decimal import Decimal

from assets.arbitrage.view import TraderView
from dashboards import arbitrage_labels as labels
from dashboards import format as text
from dashboards.components.arbitrage_shown import Shown, bps
from dashboards.format import Split, sign_of

NO_TRADER = "No trader has written to this store yet"
NOTHING_YET = "no trader yet"
NO_CLOSED_TRADE = "no trade has closed yet"
NO_YEAR = "under one day of trading"
UNKNOWN_EQUITY = "an open trade has no usable quote"

_TITLES = {
    labels.CAPITAL: "Starting capital, in quote currency",
    labels.AVAILABLE: "Capital that is neither reserved nor tied in a trade",
    labels.UTILIZATION: "Open positions / starting capital",
    labels.TRADES: "Closed trades",
    labels.WIN_RATE: "Closed trades with a profit / all closed trades",
    labels.CUMULATIVE_PNL: "Sum of the actual profits of the closed trades: fees, funding and leg-outs included",
    labels.REALISTIC_APR: "Cumulative P&L / starting capital, per year since the first trade, not compounded",
    labels.LEG_OUT_EVENTS: "How often one leg filled and the other did not in time",
}


def summary(view: TraderView | None) -> list[Shown]:
    """The eight figures."""
    if view is None:
        return [_undefined(label, NOTHING_YET) for label in labels.SUMMARY]
    metrics = view.metrics
    capital = view.starting_capital
    return [
        _figure(labels.CAPITAL, text.money(capital), note=_equity(view)),
        _figure(labels.AVAILABLE, text.money(metrics.available_capital), note=_reserved(view)),
        _figure(
            labels.UTILIZATION,
            Split(text.percent(metrics.utilization_pct, signed=False, decimals=1), ""),
            note=f"open {text.money(view.total_open_positions).text}",
            share=min(1.0, max(0.0, float(metrics.utilization_pct))),
        ),
        _figure(labels.TRADES, Split(f"{metrics.total_trades:,}", ""), note=f"closed, {len(view.active)} active"),
        _ratio(labels.WIN_RATE, metrics.win_rate, NO_CLOSED_TRADE, "of closed trades"),
        _figure(
            labels.CUMULATIVE_PNL,
            text.money(metrics.cumulative_pnl, signed=True),
            sign=_sign_as_shown(metrics.cumulative_pnl),
            delta=text.percent(metrics.pnl_percentage),
            note="of capital",
        ),
        _ratio(
            labels.REALISTIC_APR,
            metrics.realistic_apr,
            NO_YEAR,
            "provisional: under seven days" if metrics.apr_provisional else "simple, since the first trade",
        ),
        _figure(
            labels.LEG_OUT_EVENTS,
            Split(f"{metrics.leg_out_count:,}", ""),
            note=f"cost {bps(metrics.leg_out_loss_bps)} bps of capital",
            title=_leg_out_share(metrics.leg_out_loss_pct),
        ),
    ]


def _equity(view: TraderView) -> str:
    """What the capital has become; what came or went since the start is named where there is any."""
    flows = f"flows {text.money(view.net_flows, signed=True).text}, " if view.net_flows else ""
    return flows + (
        f"equity {text.MISSING}: {UNKNOWN_EQUITY}" if view.equity is None else f"equity {_plain(view.equity)}"
    )


def _reserved(view: TraderView) -> str:
    """What the open trades would add if they were closed now."""
    if view.unrealized_pnl is None:
        return f"unrealized {text.MISSING}: {UNKNOWN_EQUITY}"
    return f"unrealized {text.money(view.unrealized_pnl, signed=True).text}"


def _leg_out_share(share: Decimal | None) -> str:
    if share is None:
        return "Their cost has no share of a cumulative P&L that is not positive"
    return f"Their cost is {text.percent(share, signed=False)} of the cumulative P&L"


def _plain(value: Decimal) -> str:
    return text.money(value).text


def _sign_as_shown(value: Decimal) -> int:
    """What rounds to zero cents is neither a gain nor a loss."""
    return sign_of(round(value, 2))


def _ratio(label: str, value: Decimal | None, reason: str, note: str) -> Shown:
    if value is None:
        return _undefined(label, reason)
    return _figure(
        label, Split(text.percent(value, signed=False, decimals=1), ""), sign=min(0, sign_of(value)), note=note
    )


def _figure(
    label: str,
    shown: Split,
    *,
    note: str = "",
    title: str = "",
    sign: int = 0,
    delta: str = "",
    share: float | None = None,
) -> Shown:
    return {
        "label": label,
        "whole": shown.whole,
        "rest": shown.rest,
        "title": "\n".join(filter(None, (_TITLES[label], title))),
        "note": note,
        "reason": "",
        "sign": sign,
        "delta": delta,
        "share": share,
    }


def _undefined(label: str, reason: str) -> Shown:
    return {**_figure(label, Split(text.MISSING, "")), "title": f"{_TITLES[label]}\n{reason}", "reason": reason}
