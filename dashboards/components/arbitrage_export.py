"""The tables of the arbitrage page as rows to save, each under the id it is shown by."""

from assets.arbitrage.view import OpportunityRow, TraderView
from dashboards.components.arbitrage_opportunities import opportunity_id
from dashboards.components.arbitrage_trades import leg_out_id
from dashboards.components.table_file import record
from resources.documents import Document


def table_rows(view: TraderView, table: str) -> dict[str, Document]:
    """Every row of ``table``, none for a name that is no table's. Opportunities that ended follow those that stand."""
    match table:
        case "active":
            return {row.trade_id: record(row) for row in view.active}
        case "exits":
            return {row.trade_id: record(row) for row in view.exits}
        case "opportunities":
            return {opportunity_id(row): _opportunity(row) for row in (*view.opportunities, *view.removed)}
        case "leg-outs":
            return {leg_out_id(row): record(row) for row in view.leg_outs}
        case _:
            return {}


def _opportunity(row: OpportunityRow) -> Document:
    """The parts of the score are fields beside it."""
    return record(row, without="confidence_parts") | {
        f"confidence_{name}": points for name, points in row.confidence_parts
    }
