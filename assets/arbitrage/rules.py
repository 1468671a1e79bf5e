"""Every constant of the paper trader, with its source, in one frozen object that is stored with each session."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

MILLISECOND = 1_000_000  # nanoseconds


@dataclass(frozen=True, slots=True)
class Rules:
    """The brief's numbers, as read by ``reference/trading.md`` 3.5 where the brief contradicts itself.

    Times in nanoseconds of the engine's clock, money in quote currency, fractions as fractions.
    """

    starting_capital: Decimal = Decimal(20_000)
    min_confidence: int = 70  # of 100, inclusive (brief 3, entry)
    max_capital_share: Decimal = Decimal("0.5")  # of the available capital in one trade (brief 3, sizing)
    min_trade_usd: Decimal = Decimal(100)  # brief 3, sizing
    # "floor" lets the minimum win over the share while 100 <= available < 200, as the brief writes it.
    min_size_policy: Literal["floor", "reject"] = "floor"

    leg_timeout_ns: int = 500 * MILLISECOND  # inclusive: filled at exactly 500 ms is in time
    # Time kept back for the hedge, so that it is done, not begun, when the 500 ms are over.
    hedge_latency_ns: int = 50 * MILLISECOND
    fill_threshold: Decimal = Decimal("0.20")  # of the resting depth ahead; 1 is the conservative model
    partial_fills: bool = True  # False: an order fills whole or not at all, as the brief's order does

    slippage_floor_bps: Decimal = Decimal(2)
    slippage_cap_bps: Decimal = Decimal(5)
    slippage_per_depth_bps: Decimal = Decimal(3)  # times size / depth
    max_depth_share: tuple[int, int] = (5, 3)  # size / depth above which the two bounds contradict each other
    stale_quote_ns: int = 5_000 * MILLISECOND

    profit_target: Decimal = Decimal("0.9")  # of the projected profit
    loss_limit: Decimal = Decimal("0.3")  # of the projected profit
    funding_floor: Decimal = Decimal("0.00005")  # "0.005 %" as a fraction, compared with the signed difference
    # How long a trade is expected to be held: a settlement further away is no part of what it promises. Trades of
    # simulated days are held for 4 minutes (median), so that most never see one.
    expected_hold_ns: int = 600_000 * MILLISECOND
    exit_requotes: int = 3  # times both exit limits are quoted anew before they become market orders
    hedge_attempts: int = 3  # before the trader halts with a naked position
    # A symbol is left alone this long after a trade or a failed entry: a loop that re-opens at once pays fees for ever.
    reentry_pause_ns: int = 60_000 * MILLISECOND

    @property
    def limits_ns(self) -> int:
        """How long a quote must still be believed for limits to be sent by it: they wait for ``leg_timeout_ns``, and
        what fills at the last moment is hedged within as much again."""
        return 2 * self.leg_timeout_ns
