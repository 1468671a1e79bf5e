"""Where the paper trader's market data comes from: quotes, depth, trades and funding of several venues on one clock.

``simulated`` (labelled on every screen), ``recorded:<folder>`` or ``live:<venue>,<venue>``. All of them hand over the
same events in time order, so that a replay and a live session run the same code. A feed hands over what it has: it
never fills a hole, and never gives one venue's numbers for another's.

Prices and sizes are exact integers in units of 1e-10 (``UNITS`` of them make one): as fast as floats in Python, and
every exchange's grid lies on them. Sizes are in units of the base asset, after contract size and multiplier.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from resources.market import MarketError
from resources.settings import Settings

# Integer units in one quote-currency unit (prices) and in one base-asset unit (sizes).
UNITS = 10**10
_DIGITS = 10

NANOSECONDS = 10**9  # in one second
FUNDING_PERIOD_NS = 8 * 3600 * NANOSECONDS  # the settlement interval in which rates of all venues are compared

Source = Literal["SIMULATED", "RECORDED", "LIVE"]

_SOURCES: dict[str, Source] = {"simulated": "SIMULATED", "recorded": "RECORDED", "live": "LIVE"}


class FeedError(MarketError):
    """The feed cannot be opened or read; the message says which file, venue, symbol or setting."""


def to_units(number: Decimal) -> int:
    """A price or size in integer units. Raises ValueError when it is not finite or finer than 1e-10."""
    if not number.is_finite():
        raise ValueError(f"{number} is not a finite number")
    units = number.scaleb(_DIGITS)
    if units != units.to_integral_value():
        raise ValueError(f"{number} is finer than 1e-{_DIGITS}")
    return int(units)


def from_units(units: int) -> Decimal:
    """The exact number that ``to_units`` came from, without trailing zeros or exponent (exact to 28 digits)."""
    number = Decimal(units).scaleb(-_DIGITS).normalize()
    return number if number.as_tuple().exponent <= 0 else number.quantize(Decimal(1))  # type: ignore[operator]


def is_sound_rate(rate: Decimal) -> bool:
    """Whether a rate of funding can be one: a number, and at most the whole notional in one settlement."""
    return rate.is_finite() and abs(rate) <= 1


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument of one venue.

    ``asset`` is the canonical base asset (XBT is BTC, 1000PEPE is PEPE): listings of one asset can be traded against
    each other. Events of a venue that quotes a multiple (1000PEPE) or contracts have been converted to single base
    units before they are handed over; ``tick``, ``step`` and ``min_size`` are in those units too. ``min_notional`` in
    quote currency. Fees are fractions of notional. ``settles_inverse`` marks contracts settled in the base asset, which
    a linear hedge cannot use. ``can_short`` is False on spot. ``latency_ns`` is from sending an order or a cancellation
    to its acceptance. ``facts`` says where the filters and fees come from.
    """

    venue: str
    symbol: str
    asset: str
    quote: str
    tick: Decimal
    step: Decimal
    min_size: Decimal
    min_notional: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    latency_ns: int
    settles_inverse: bool
    can_short: bool
    facts: str


class Quote(NamedTuple):
    """Best bid and ask. Integer units; ``listing`` is the index into ``Feed.listings``; ``time_ns`` since 1970 UTC."""

    time_ns: int
    listing: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int


class Depth(NamedTuple):
    """Levels of the book as (price, size) pairs: all of them after a ``snapshot``, else changes (size 0 removes)."""

    time_ns: int
    listing: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    snapshot: bool


class Trade(NamedTuple):
    """A public trade. ``buyer_is_aggressor``: it took from the asks."""

    time_ns: int
    listing: int
    price: int
    size: int
    buyer_is_aggressor: bool


class FundingQuote(NamedTuple):
    """The rate that will be settled at ``settles_ns``: a fraction of notional, positive when longs pay.

    ``rate`` is for one settlement interval of ``interval_ns``, which differs between venues: an hour's rate and that of
    eight hours can be compared only after both are for the same time.
    """

    time_ns: int
    listing: int
    rate: Decimal
    settles_ns: int
    interval_ns: int


class FundingSettled(NamedTuple):
    """A settlement: whoever holds the contract strictly before ``time_ns`` pays or receives. ``mark`` in units.

    ``time_ns`` is the instant of the settlement, of a live feed that of handing over: up to a second later.
    """

    time_ns: int
    listing: int
    rate: Decimal
    mark: int


class Interrupted(NamedTuple):
    """The connection to a listing was lost: what was known of it is stale until its next snapshot or quote."""

    time_ns: int
    listing: int


FeedEvent = Quote | Depth | Trade | FundingQuote | FundingSettled | Interrupted


class Feed(Protocol):
    """Events of all listings merged into one order, never backwards in time (equal times keep the venue's order)."""

    @property
    def source(self) -> Source:
        """Shown wherever the numbers are."""
        ...

    @property
    def listings(self) -> tuple[Listing, ...]:
        """Every instrument the feed speaks of, in the order of their indices."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether asking for the same span again gives the same events (a recording, a simulation)."""
        ...

    def days(self) -> tuple[str, ...]:
        """The UTC days (YYYY-MM-DD) a recording covers; empty where any day can be asked for."""
        ...

    def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
        """Events with ``start_ns`` <= time < ``end_ns``; a live feed waits for them and gives only what comes from now
        on. Raises FeedError when the feed cannot be read."""
        ...

    def close(self) -> None:
        """Gives up connections. Nothing can be read from a live feed afterwards; closing again does nothing."""
        ...


class Settlements(NamedTuple):
    """What a venue says that it settled on one listing.

    ``known``: each with its rate and mark, at its own instant, oldest first. ``unknown``: the instants of those whose
    rate or mark is not told, or not in time, and of those that are due, by the time between the two before, and not
    published yet. Settlements are a minute or more apart.
    """

    known: tuple[FundingSettled, ...]
    unknown: tuple[int, ...]


@runtime_checkable
class SettlementHistory(Protocol):
    """A feed that cannot be asked again for its past, but for what was settled: venues publish that. A feed that can be
    asked again has settlements among its events and need not be one."""

    def ask_settled(self, listing: int, since_ns: int, until_ns: int) -> Future[Settlements]:
        """Begins to ask for the settlements on a listing with ``since_ns`` <= time < ``until_ns``, and does not wait:
        who asks has trades to look after. The answer comes within half a minute, and is FeedError where the venue does
        not tell. Raises FeedError when the feed is closed."""
        ...


def source_of(settings: Settings) -> Source:
    """The source of ``open_feed`` by name, without opening anything."""
    return _SOURCES[settings.feed.partition(":")[0]]


def open_feed(settings: Settings) -> Feed:
    """The feed ``settings.feed`` names. Raises FeedError when it cannot be opened, saying what to set or install."""
    # Imported here so that a process pays for its own source only.
    kind, _, rest = settings.feed.partition(":")
    if kind == "simulated":
        from resources.feed.simulated import SimulatedFeed

        return SimulatedFeed(settings.seed)
    if kind == "recorded":
        from resources.feed.recorded import RecordedFeed

        return RecordedFeed(Path(rest))
    from resources.feed.live import LiveFeed

    return LiveFeed(tuple(name.strip() for name in rest.split(",")))
