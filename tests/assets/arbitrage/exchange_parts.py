"""A venue with one or more listings, and a diary of what it reports."""

from decimal import Decimal
from typing import NamedTuple

from assets.arbitrage.exchange import Exchange, Filled
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.timers import Timers
from resources.feed import UNITS, Depth, FeedEvent, Listing, Quote, Trade

LATENCY = 10 * MILLISECOND
TICK = UNITS // 10
STEP = UNITS // 1000


def listing(
    venue: str = "north", latency_ns: int = LATENCY, min_notional: str = "5", min_size: str = "0.001"
) -> Listing:
    """BTCUSDT with a tick of 0.1 and a step of 0.001."""
    return Listing(
        venue=venue, symbol="BTCUSDT", asset="BTC", quote="USDT", tick=Decimal("0.1"), step=Decimal("0.001"),
        min_size=Decimal(min_size), min_notional=Decimal(min_notional), maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"), latency_ns=latency_ns, settles_inverse=False, can_short=True, facts="a test",
    )  # fmt: skip


def units(number: str | float) -> int:
    return int(Decimal(str(number)) * UNITS)


def quote(time_ns: int, bid: float, bid_size: float, ask: float, ask_size: float, index: int = 0) -> Quote:
    return Quote(time_ns, index, units(bid), units(bid_size), units(ask), units(ask_size))


def sold(time_ns: int, price: float, size: float, index: int = 0) -> Trade:
    """A seller hit the bids."""
    return Trade(time_ns, index, units(price), units(size), buyer_is_aggressor=False)


def bought(time_ns: int, price: float, size: float, index: int = 0) -> Trade:
    """A buyer took from the asks."""
    return Trade(time_ns, index, units(price), units(size), buyer_is_aggressor=True)


def depth(
    time_ns: int, bids: dict[float, float], asks: dict[float, float], snapshot: bool = True, index: int = 0
) -> Depth:
    def levels(side: dict[float, float]) -> tuple[tuple[int, int], ...]:
        return tuple((units(price), units(size)) for price, size in side.items())

    return Depth(time_ns, index, levels(bids), levels(asks), snapshot)


class Report(NamedTuple):
    time_ns: int
    order_id: str
    word: str
    reason: str = ""
    depth: int | None = None
    fill: Filled | None = None


class Diary:
    """What the venues reported, in order."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def accepted(self, time_ns: int, order_id: str, resting_depth: int) -> None:
        self.reports.append(Report(time_ns, order_id, "accepted", depth=resting_depth))

    def refused(self, time_ns: int, order_id: str, reason: str) -> None:
        self.reports.append(Report(time_ns, order_id, "refused", reason))

    def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:
        self.reports.append(Report(time_ns, order_id, "filled", fill=fill))

    def cancelled(self, time_ns: int, order_id: str, reason: str) -> None:
        self.reports.append(Report(time_ns, order_id, "cancelled", reason))


class Stage:
    """Clock, venues and diary together."""

    def __init__(self, *listings: Listing, rules: Rules | None = None) -> None:
        self.timers, self.diary = Timers(), Diary()
        self.exchange = Exchange(listings or (listing(),), rules or Rules(), self.timers, self.diary)

    def play(self, *events: FeedEvent) -> None:
        """Market events at their times, ahead of the timers of the same time."""
        for event in events:
            self.timers.run_before(event.time_ns)
            self.exchange.on_event(event)

    def through(self, time_ns: int) -> list[Report]:
        """All reports after the clock ran through ``time_ns``."""
        self.timers.run_through(time_ns)
        return self.diary.reports

    def fills(self, order_id: str) -> list[tuple[int, int]]:
        """(price, size) of each of the order's fills."""
        return [
            (r.fill.price, r.fill.size) for r in self.diary.reports if r.fill is not None and r.order_id == order_id
        ]

    def words(self, order_id: str) -> list[str]:
        """What became of the order: the word, with the reason where there is one."""
        return [f"{r.word} {r.reason}".strip() for r in self.diary.reports if r.order_id == order_id]
