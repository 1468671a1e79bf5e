"""Records of a paper trader's day as telemetry is told them, and the day as it is stored once it is over."""

from datetime import date
from decimal import Decimal
from typing import Any

from assets.telemetry.day_record import DAY_NS, MINUTE_NS, performance_key, start_of
from resources.documents import Document, dump_document
from resources.store import Store

DAY = date(2026, 3, 1)
T0 = start_of(DAY)
SECOND = 10**9
CAPITAL = Decimal(20_000)


def opened(day: date = DAY, capital: Decimal = CAPITAL, carried_day: str = "") -> Document:
    return {
        "kind": "opened",
        "time_ns": start_of(day),
        "day": day.isoformat(),
        "source": "SIMULATED",
        "capital": capital,
        "carried_day": carried_day,
    }


def point(time_ns: int, realized: str, unrealized: str | None = "0", fees: str = "0", **changes: Any) -> Document:
    equity = None if unrealized is None else CAPITAL + Decimal(realized) + Decimal(unrealized)
    return {
        "kind": "point",
        "time_ns": time_ns,
        "equity": equity,
        "cash": CAPITAL + Decimal(realized),
        "realized": Decimal(realized),
        "unrealized": None if unrealized is None else Decimal(unrealized),
        "fees": Decimal(fees),
    } | changes


def signal(time_ns: int, name: str, quantity: str = "0.1", notional: str = "5000") -> Document:
    return {
        "kind": "signal",
        "time_ns": time_ns,
        "signal_id": name,
        "symbol": "BTC",
        "quantity": Decimal(quantity),
        "notional": Decimal(notional),
        "confidence": 80,
        "strategy": "dual_leg_arbitrage",
    }


def fill(time_ns: int, name: str, place: str, side: str, price: str, **changes: Any) -> Document:
    """A fill of 0.1 at 5 basis points of fee; ``name`` is the signal's."""
    exchange, _, symbol = place.partition(":")
    quantity = Decimal(changes.pop("quantity", "0.1"))
    return {
        "kind": "fill",
        "time_ns": time_ns,
        "order_id": f"{name}_{place}_{side}_{time_ns - T0}",
        "signal_id": name,
        "exchange": exchange,
        "symbol": symbol,
        "side": side,
        "quantity": quantity,
        "price": Decimal(price),
        "fee": quantity * Decimal(price) * Decimal("0.0005"),
        "slippage_bps": None,
    } | changes


def trade(pnl: str, fees: str, opened_ns: int, closed_ns: int) -> Document:
    return {
        "kind": "trade",
        "pnl_usd": Decimal(pnl),
        "fees_usd": Decimal(fees),
        "notional_usd": Decimal(5000),
        "slippage_bps": Decimal("2.5"),
        "opened_ns": opened_ns,
        "closed_ns": closed_ns,
        "strategy": "dual_leg_arbitrage",
        "confidence": 80,
        "close_reason": "profit_target",
    }


def a_day(day: date = DAY, carried_day: str = "", *, before: str = "0", fees_before: str = "0") -> list[Document]:
    """A trade won, one refused order, one signal that came to nothing, and a position that is open at the end.

    ``before`` and ``fees_before``: what was realised and paid on earlier days, with everything closed.
    """
    t = start_of(day)
    at = [t + number * MINUTE_NS for number in range(60)]
    long, short = "binance:BTCUSDT", "bybit:BTCUSDT"
    base, paid = Decimal(before), Decimal(fees_before)

    def valued(minute: int, pnl: str, unrealized: str | None, fees: str) -> Document:
        realized = base + Decimal(pnl)
        return point(at[minute], f"{realized}", unrealized, f"{paid + Decimal(fees)}")

    records = [opened(day, CAPITAL + base, carried_day), valued(0, "0", "0", "0")]
    # Long at 50000, short at 50100: fees 2.5 + 2.505; closed at 50060 and 50080: fees 2.503 + 2.504, gross 6 + 2.
    name = f"{day}-1"
    records += [
        signal(at[1] + 1, name),
        fill(at[1] + 2, name, long, "buy", "50000"),
        fill(at[1] + 3, name, short, "sell", "50100", slippage_bps=Decimal("2")),
        valued(2, "-5.005", "1.25", "5.005"),
        {"kind": "error", "time_ns": at[2] + 5, "reason": "insufficient_depth"},
        valued(3, "-5.005", None, "5.005"),
        fill(at[3] + 1, name, long, "sell", "50060", slippage_bps=Decimal("4")),
        fill(at[3] + 2, name, short, "buy", "50080", slippage_bps=Decimal("3")),
        trade("-2.012", "10.012", at[1] + 3, at[3] + 2),
        valued(4, "-2.012", "0", "10.012"),
        signal(at[5], f"{day}-2"),
        {"kind": "entry_abandoned", "time_ns": at[5] + 9, "signal_id": f"{day}-2", "reason": "spread_lost"},
        valued(6, "-2.012", "0", "10.012"),
        # 0.1 each at 50000 and 50100 again: 5.005 of fees, and a settlement.
        signal(at[6] + 1, f"{day}-3"),
        fill(at[6] + 2, f"{day}-3", long, "buy", "50000"),
        fill(at[6] + 3, f"{day}-3", short, "sell", "50100", slippage_bps=Decimal("2")),
        {
            "kind": "funding",
            "time_ns": at[7],
            "signal_id": f"{day}-3",
            "exchange": "bybit",
            "symbol": "BTCUSDT",
            "amount": Decimal("0.5"),
        },
        valued(8, "-6.517", "-1.5", "15.017"),
    ]
    return records


def whole_day(records: list[Document]) -> list[Document]:
    """The day with a valuation every minute to its end, each as the newest that is given."""
    begin = int(records[0]["time_ns"])
    given = {record["time_ns"]: record for record in records if record["kind"] == "point"}
    newest, minutes = given[begin], []
    for number in range(24 * 60):
        at = begin + number * MINUTE_NS
        newest = given.get(at, newest)
        minutes.append(newest | {"time_ns": at})
    others = [record for record in records if record["kind"] != "point"]

    def place(record: Document) -> tuple[int, bool]:
        return int(record.get("time_ns", record.get("closed_ns"))), record["kind"] == "point"

    return [records[0], *sorted([*others[1:], *minutes], key=place)]


MARKS = {"binance:BTCUSDT": Decimal("50010"), "bybit:BTCUSDT": Decimal("50105")}


def day_document(records: list[Document], **changes: Any) -> Document:
    return {
        "day": records[0]["day"],
        "source": "SIMULATED",
        "log_sha256": "0" * 64,
        "records": records,
        "closed": True,
        "marks": dict(MARKS),
        "opening": [],
    } | changes


def store_day(store: Store, document: Document) -> None:
    store.create(performance_key("SIMULATED", date.fromisoformat(document["day"])), dump_document(document))


def end_of(day: date) -> int:
    return start_of(day) + DAY_NS
