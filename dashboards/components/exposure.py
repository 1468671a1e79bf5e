"""Long and short blocks, the net-exposure ruler and the weight of every position."""

from typing import Any

from assets.accounting.precision import divided
from assets.desk.position_table import PositionRow, block, net_exposure
from dashboards import format as text
from dashboards.components.cards import NO_SIGNAL
from dashboards.components.pills import milliseconds
from dashboards.snapshot import Snapshot
from resources.documents import from_iso


def exposure(snapshot: Snapshot, rows: list[PositionRow]) -> dict[str, Any]:
    """``{reason}`` while there is nothing to show, else both blocks, the net and the weights, largest first."""
    if snapshot.baseline is None or snapshot.row is None:
        return {"reason": NO_SIGNAL}
    value = snapshot.row.portfolio_value
    net = net_exposure(rows, value)
    weights = sorted(((row.weight, row.symbol) for row in rows if row.side and row.weight is not None), reverse=True)
    shown: dict[str, Any] = {
        "reason": "",
        "net": {"text": text.ratio(net), "value": None if net is None else float(net)},
        "weights": [[symbol, float(weight), text.percent(weight)] for weight, symbol in weights],
    }
    if snapshot.prices is not None:
        shown["since"] = milliseconds(from_iso(snapshot.prices["timestamp_utc"]))
    for name, side in (("long", 1), ("short", -1)):
        total = block(rows, side)
        notional, pnl = text.money(total.notional), text.money(total.pnl, signed=True)
        share = divided(total.notional, value) if value else None
        shown[name] = {
            "count": total.count,
            "notional": notional.whole,
            "cents": notional.rest,
            "share": text.percent(share, signed=False, decimals=1),
            "size": None if share is None else float(share),
            "pnl": pnl.text,
            "sign": text.sign_of(total.pnl),
            "unvalued": list(total.unvalued),
        }
    return shown
