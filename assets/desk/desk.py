"""The desk at work: the store, market, clock and venue that one process uses together."""

from dataclasses import dataclass

from assets.accounting.ledger import Ledger
from resources.clock import Clock, SystemClock
from resources.market import Market, open_market
from resources.settings import Settings
from resources.store import Store, open_store
from resources.venue import PaperVenue


@dataclass(frozen=True, slots=True)
class Desk:
    """What every step of a rebalance and every tick is given; tests and the demo put their own parts in."""

    settings: Settings
    store: Store
    market: Market
    clock: Clock
    venue: PaperVenue

    def ledger(self) -> Ledger:
        return Ledger(self.store, self.settings.initial_capital)


def paper_venue(settings: Settings) -> PaperVenue:
    return PaperVenue(
        settings.fee_bps, settings.slippage_floor_bps, settings.slippage_cap_bps, settings.stale_mark_seconds
    )


def open_desk(settings: Settings) -> Desk:
    """The desk that ``settings`` describe. Raises StoreUnsafe, StoreUnavailable or MarketError."""
    store = open_store(settings.store)
    store.check()
    return Desk(settings, store, open_market(settings), SystemClock(), paper_venue(settings))
