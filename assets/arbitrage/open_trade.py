"""A trade while the engine works on it: its two legs, their orders, and where in its life it stands.

Only what deciding needs, in integer units; the log and the portfolio that is folded from it have everything else.
"""

from decimal import Decimal
from enum import Enum, auto
from fractions import Fraction
from typing import NamedTuple

from assets.accounting.precision import EXACT, ZERO, posted, quotient
from assets.arbitrage.exits import ExitWatch, Holding, exit_watch
from assets.arbitrage.model import Leg, OrderSide, PaperTrade, Purpose
from assets.arbitrage.rules import Rules
from assets.arbitrage.sizing import common_grid
from assets.arbitrage.timers import Handle
from resources.feed import UNITS, Listing, to_units

SQUARED = 20  # decimals of a price times a size, both in integer units


class Stage(Enum):
    """Where a trade stands: on its way in, held, or on its way out."""

    ENTRY = auto()  # entry limits are working
    ENTRY_SETTLE = auto()  # no more entry: cancel, then make the legs equal
    ACTIVE = auto()
    EXIT_QUOTE = auto()  # exit limits are working
    EXIT_SETTLE = auto()  # cancel, then quote again or close at the market
    OVER = auto()


class Pair(NamedTuple):
    """What never changes of two listings traded against each other."""

    grid: int  # the quantity step of both, in units
    budget_ns: int  # kept back of the 500 ms: one cancellation and as many hedges as may be tried
    possible: bool  # whether anything is left of the 500 ms


def pair_of(long: Listing, short: Listing, rules: Rules) -> Pair:
    """What trading the two against each other takes. Raises ValueError for a step that is no grid (``common_grid``)."""
    latency_ns = max(long.latency_ns, short.latency_ns)
    budget_ns = max(rules.hedge_latency_ns, latency_ns * (1 + rules.hedge_attempts))
    return Pair(common_grid((long.step, short.step)), budget_ns, latency_ns < rules.leg_timeout_ns - budget_ns)


class OpenLeg:
    """One leg under way: what it ``held`` and what it cost, in units and units squared."""

    __slots__ = (
        "cash",
        "changed_ns",
        "held",
        "held_before",
        "index",
        "leg",
        "listing",
        "opened",
        "paid",
        "plan",
        "realised",
        "step",
    )

    def __init__(self, leg: Leg, index: int, listing: Listing, plan: int) -> None:
        self.leg = leg
        self.index = index
        self.listing = listing
        self.step = to_units(listing.step)
        self.plan = plan  # the price the current phase counts on
        self.held = 0
        self.cash = 0  # purchases less sales since the leg was last flat
        self.realised = 0  # the same, of what is flat
        self.opened = 0  # quantity and
        self.paid = 0  # notional of the opening fills
        self.held_before = 0  # strictly before
        self.changed_ns = -1  # the newest fill

    def fill(self, side: OrderSide, price: int, size: int, now_ns: int) -> None:
        """Take one execution: what is held, and what it cost or brought."""
        if now_ns != self.changed_ns:
            self.held_before, self.changed_ns = self.held, now_ns
        self.cash += side.sign * price * size
        if side is self.leg.opening_side:
            self.held += size
            self.opened += size
            self.paid += price * size
        else:
            self.held -= size
            if not self.held:
                self.realised += self.cash
                self.cash = 0


class OpenOrder:
    """An order that is not final: ``remaining`` of it may still fill; ``limit`` None is a market order."""

    __slots__ = ("leg", "limit", "order_id", "remaining", "side", "trade", "withdrawn")

    def __init__(
        self,
        order_id: str,
        trade: "OpenTrade",
        leg: OpenLeg,
        side: OrderSide,
        size: int,
        limit: int | None,
    ) -> None:
        self.order_id = order_id
        self.trade = trade
        self.leg = leg
        self.side = side
        self.remaining = size
        self.limit = limit
        self.withdrawn = False


class OpenTrade:
    """One trade from its proposal to its end, as the engine needs it; the log has everything else."""

    __slots__ = (
        "alarmed",
        "asset",
        "attempts",
        "converged",
        "deadline",
        "fees",
        "filled_ns",
        "funding",
        "funding_due",
        "harder",
        "hedge_loss",
        "hedge_notional",
        "hedged",
        "leg_out_cost",
        "leg_outs",
        "legs",
        "live",
        "long",
        "naked_since",
        "orders",
        "pair",
        "projected",
        "reason",
        "rounds",
        "short",
        "stage",
        "trade_id",
        "unrealized",
        "urgent",
        "waiting",
        "watch",
        "watchdog",
    )  # fmt: skip

    def __init__(self, trade_id: str, asset: str, long: OpenLeg, short: OpenLeg, pair: Pair) -> None:
        self.trade_id = trade_id
        self.asset = asset
        self.long = long
        self.short = short
        self.legs = {Leg.LONG: long, Leg.SHORT: short}
        self.pair = pair
        self.harder = Leg.LONG
        self.projected = ZERO
        self.unrealized = ZERO  # at entry
        self.funding_due = ZERO  # a fraction of notional that the trade was expected to receive
        self.stage = Stage.ENTRY
        self.live: list[OpenOrder] = []
        self.orders = 0
        self.fees = ZERO
        self.funding = ZERO
        self.leg_out_cost = ZERO
        self.leg_outs: dict[Purpose, bool] = {}  # phase -> hedged
        self.naked_since: int | None = None
        self.alarmed = False  # since then
        self.filled_ns = 0  # when the legs last became unequal
        self.deadline: Handle | None = None
        self.watchdog: Handle | None = None
        self.attempts = 0  # orders refused since the legs became unequal
        self.waiting = False  # for a quote that lets it be settled
        self.hedged = 0  # quantity and
        self.hedge_notional = 0  # notional of the hedge's fills, and
        self.hedge_loss = Fraction(0)  # what they lost, units squared
        self.watch: ExitWatch | None = None
        self.converged = False
        self.reason = ""
        self.rounds = 0
        self.urgent = False

    @property
    def naked(self) -> int:
        """By how much more the long leg holds, below zero where the short one does."""
        return self.long.held - self.short.held

    @property
    def entering(self) -> bool:
        return self.stage in (Stage.ENTRY, Stage.ENTRY_SETTLE)

    @property
    def phase(self) -> Purpose:
        return Purpose.ENTRY if self.entering else Purpose.EXIT

    @property
    def hedging(self) -> bool:
        """Whether a leg-out of this phase is logged and not hedged yet."""
        return self.leg_outs.get(self.phase) is False

    def count_hedge(self, leg: OpenLeg, side: OrderSide, size: int, notional: int, fee: Decimal) -> None:
        """Take a hedge's fill, before the leg does, and what it lost: against the planned price where it completes what
        was planned, with the fees of the round trip where it takes the filled leg back."""
        self.hedged += size
        self.hedge_notional += notional
        if self.entering and side is not leg.leg.opening_side:
            entry = Fraction(leg.paid, leg.opened)
            fees = Fraction(fee) * UNITS**2 + entry * size * Fraction(leg.listing.taker_fee)
            self.hedge_loss += side.sign * (notional - entry * size) + fees
        else:
            self.hedge_loss += side.sign * (notional - leg.plan * size)

    def end_hedge(self) -> tuple[int, Decimal]:
        """The mean price of the hedge's fills, units, and what they cost, quote currency with 8 decimals and never
        below zero. The phase's leg-out is hedged now, and its cost one of the trade's."""
        # A fill that raced the cancellation may have made a hedge unnecessary: then the legs met at the plan's price.
        missing = self.long if self.long.changed_ns >= self.short.changed_ns else self.short
        price = Fraction(self.hedge_notional, self.hedged) if self.hedged else Fraction(missing.plan)
        loss = max(self.hedge_loss, Fraction(0))
        cost = posted(quotient(Decimal(loss.numerator), Decimal(loss.denominator * UNITS**2)))
        self.leg_outs[self.phase] = True
        self.leg_out_cost = EXACT.add(self.leg_out_cost, cost)
        self.hedged, self.hedge_notional, self.hedge_loss = 0, 0, Fraction(0)
        return round(price), cost

    @property
    def spent(self) -> int:
        """All purchases less all sales, units squared."""
        return self.long.cash + self.long.realised + self.short.cash + self.short.realised

    @property
    def charges(self) -> Decimal:
        """Fees paid less funding received, quote currency."""
        return EXACT.subtract(self.fees, self.funding)

    def watched(self, unrealized: Decimal, rules: Rules) -> ExitWatch:
        """The exits of what is held now, for a trade that was worth ``unrealized`` at entry."""
        fees = self.long.listing.taker_fee, self.short.listing.taker_fee
        holding = Holding(self.long.held, self.short.held, self.spent, self.charges, *fees)
        return exit_watch(holding, self.projected, unrealized, rules)


def places(trade: PaperTrade) -> dict[Leg, tuple[str, str]]:
    """Venue and symbol of each leg."""
    return {
        Leg.LONG: (trade.long_exchange, trade.long_symbol),
        Leg.SHORT: (trade.short_exchange, trade.short_symbol),
    }
