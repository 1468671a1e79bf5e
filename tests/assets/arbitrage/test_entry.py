"""Whether and how an opportunity is entered: each refusal by its name, the first leg and its limit."""

from decimal import Decimal
from typing import Any

import pytest

from assets.arbitrage.entry import Entries, Entry
from assets.arbitrage.model import Leg
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.scanner import Opportunity, Scanner
from resources.feed import FUNDING_PERIOD_NS, NANOSECONDS, FundingQuote, Interrupted, Listing, Quote, from_units
from tests.assets.arbitrage.exchange_parts import Stage as Venues
from tests.assets.arbitrage.exchange_parts import bought, sold
from tests.assets.arbitrage.trader_parts import NORTH, SOUTH, listing, units

D = Decimal
NOW = 10**18
RULES = Rules()


class Scene:
    """Two venues 1 % apart, the dearer one paying 3 basis points more funding, and the opportunity that is found."""

    def __init__(self, south: Listing = SOUTH, size: float = 400, settles_in: int = 3600) -> None:
        listings = (NORTH, south)
        self.venues = Venues(*listings)
        self.entries = Entries(listings, self.venues.exchange, RULES)
        scanner = Scanner(listings, RULES)
        for index, rate in enumerate(("0.0001", "0.0004")):
            told = FundingQuote(NOW, index, D(rate), NOW + settles_in * NANOSECONDS, FUNDING_PERIOD_NS)
            scanner.on_event(told)
            self.entries.take_rate(told)
        for index, bid, ask in ((0, 99.99, 100), (1, 101, 101.01)):
            shown = Quote(NOW, index, units(bid), units(size), units(ask), units(size))
            self.venues.play(shown)
            opportunities = scanner.on_event(shown)
        (self.found,) = opportunities

    def judged(self, available: str = "20000", after_ms: int = 0, **changed: Any) -> Entry | str:
        found: Opportunity = self.found._replace(**changed)
        return self.entries.judge(found, D(available), NOW + after_ms * MILLISECOND)

    def entry(self, **changed: Any) -> Entry:
        judged = self.judged(**changed)
        assert isinstance(judged, Entry)
        return judged


def test_half_of_the_capital_goes_into_equal_quantities_of_both_legs() -> None:
    entry = Scene().entry()
    assert (from_units(entry.quantity), entry.size) == (99, 10_000)
    # 1 each, less two fees of 0.05 % on 100 and on 101 and a half of both spreads.
    assert entry.projected == 99 * (1 - D("0.201") - D("0.01"))
    assert (entry.funding_due, entry.funding_delta) == (0, D("0.0003"))


def test_funding_counts_that_is_settled_soon() -> None:
    soon, late = Scene(settles_in=600).entry(), Scene(settles_in=601).entry()
    assert soon.funding_due == D("0.0003")
    assert soon.projected - late.projected == 99 * 100 * D("0.0003")


def test_an_unsound_rate_is_none() -> None:
    scene = Scene(settles_in=600)
    scene.entries.take_rate(FundingQuote(NOW, 1, D("NaN"), NOW + NANOSECONDS, FUNDING_PERIOD_NS))
    assert scene.entry().funding_due == D("-0.0001")


def test_a_leg_that_nobody_trades_goes_first_at_the_touch() -> None:
    scene = Scene()
    scene.venues.play(bought(NOW, 101.01, 4_000, index=1))
    entry = scene.entry()
    assert (entry.harder, entry.limit) == (Leg.LONG, units(100))
    assert entry.reason.endswith("; sent at the touch, where it need not wait")


def test_a_harder_leg_whose_queue_is_quick_goes_first_where_it_rests() -> None:
    scene = Scene()
    scene.venues.play(sold(NOW, 99.99, 40_000), bought(NOW, 101.01, 10_000, index=1))
    entry = scene.entry()
    # 0.2 x 400 wait behind 10,000 / 60 a second: 0.48 s of the half second there is.
    assert (entry.harder, entry.limit) == (Leg.SHORT, units(101.01))
    assert "touch" not in entry.reason


def test_a_queue_that_takes_longer_than_limits_wait_is_not_joined() -> None:
    scene = Scene()
    scene.venues.play(sold(NOW, 99.99, 40_000), bought(NOW, 101.01, 9_000, index=1))
    entry = scene.entry()
    assert (entry.harder, entry.limit) == (Leg.SHORT, units(101))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"tradable": "low_confidence"}, "low_confidence"),
        ({"funding_delta": None}, "no_funding"),
        ({"funding_delta": D("0.0000499")}, "funding_converged"),
        ({"after_ms": 4_000}, ""),
        ({"after_ms": 4_001}, "stale_quote"),  # too old before what fills at the last moment could be hedged
        ({"available": "0"}, "insufficient_capital"),
        ({"available": "100"}, "insufficient_capital"),  # the least size and what it may cost
        ({"fees_bps": D(100)}, "no_edge"),
        ({"short_quote": Quote(NOW, 1, units(100.2), units(400), units(100.21), units(400))}, "no_profit"),
    ],
)
def test_what_speaks_against_an_opportunity_is_named(changed: dict[str, Any], reason: str) -> None:
    judged = Scene().judged(**changed)
    assert judged == reason if reason else isinstance(judged, Entry)


@pytest.mark.parametrize(
    ("south", "size", "reason"),
    [
        (listing("south", 101), 400, "latency"),  # one cancellation and three hedges take 404 ms of 500
        (listing("south", min_notional="20000"), 400, "below_min_notional"),
        (listing("south", step="200"), 400, "below_minimum"),
        (SOUTH, 1.9, "insufficient_depth"),  # half of it is worth less than the smallest trade
    ],
)
def test_what_a_venue_cannot_do_is_named(south: Listing, size: float, reason: str) -> None:
    assert Scene(south, size).judged() == reason


def test_a_book_that_is_gone_since_is_not_entered() -> None:
    scene = Scene()
    scene.venues.play(Interrupted(NOW, 1))
    assert scene.judged() == "interrupted"


def test_no_more_is_entered_than_either_book_could_take_back() -> None:
    scene = Scene()
    scene.venues.play(Quote(NOW, 0, units(99.99), units(20), units(100), units(400)))  # little to sell into again
    assert from_units(scene.entry().quantity) == 10
