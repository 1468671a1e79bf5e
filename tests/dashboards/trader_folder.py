"""Builds what the paper trader stores for its two pages, from the values it computes: labelled test data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from assets.arbitrage.model import PortfolioMetrics
from assets.arbitrage.view import (
    ActiveRow,
    CapitalPoint,
    ExitRow,
    LegOutRow,
    OpportunityRow,
    TraderView,
    live_document,
    live_key,
)
from assets.telemetry import watch
from assets.telemetry.alarms import AlarmStatus
from assets.telemetry.service_levels import ServiceLevel
from assets.telemetry.telemetry_log import METRICS, SUMMARY, TICK
from resources.documents import Document, dump_document, to_iso
from resources.store import Store

SECOND, MINUTE = 10**9, 60 * 10**9
HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'"
PARTS = (("spread", 36), ("funding", 25), ("depth", 10), ("freshness", 8))


def nanoseconds(at: datetime) -> int:
    return round(at.timestamp()) * SECOND


def midnight_of(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class TraderFolder:
    """What the trader knows at ``now``, which is also when it wrote it. ``changes`` are fields of its view."""

    now: datetime
    trades: int = 3
    exits: int = 12
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def now_ns(self) -> int:
        return nanoseconds(self.now)

    def write(self, store: Store) -> None:
        store.write(live_key("SIMULATED"), dump_document(live_document(self.view(), self.now)))
        store.write(watch.live_key("SIMULATED"), dump_document(self.telemetry()))

    def view(self) -> TraderView:
        metrics = PortfolioMetrics(
            total_trades=self.exits,
            win_rate=Decimal("0.8"),
            cumulative_pnl=Decimal(250),
            pnl_percentage=Decimal("0.0125"),
            available_capital=Decimal(15_000),
            utilization_pct=Decimal("0.25"),
            utilization_of_equity=Decimal("0.247"),
            leg_out_count=1,
            leg_out_loss_pct=Decimal("0.1"),
            leg_out_loss_bps=Decimal("12.5"),
            realistic_apr=Decimal("0.456"),
            apr_provisional=False,
        )
        view = TraderView(
            source="SIMULATED",
            day=f"{self.now:%Y-%m-%d}",
            seq=4711,
            as_of_ns=self.now_ns,
            starting_capital=Decimal(20_000),
            total_open_positions=Decimal(5_000),
            equity=Decimal("20308.80"),
            unrealized_pnl=Decimal("58.80"),
            metrics=metrics,
            halted="",
            active=tuple(self.active(number) for number in range(self.trades)),
            exits=tuple(self.exit(number) for number in range(self.exits)),
            opportunities=(self.opportunity(), self.opportunity(ticker="SOLUSDT", tradable="low_confidence")),
            removed=(
                self.opportunity(ticker="DOGEUSDT", removed_ns=self.now_ns - 9 * SECOND, removed_reason="spread_gone"),
            ),
            leg_outs=(self.leg_out(), self.leg_out(phase="exit", hedged_at_ns=None, hedge_price=None, cost=Decimal(0))),
            capital=self.capital(600),
            venues=(("binance", self.now_ns - SECOND), ("bybit", self.now_ns - 2 * SECOND)),
            counts=(),
            net_flows=Decimal(0),
            taken=0,
            instructions=(),
        )
        return replace(view, **self.changes)

    def active(self, number: int, **changes: Any) -> ActiveRow:
        row = ActiveRow(
            trade_id=f"trade-{number}",
            ticker=f"{('BTC', 'ETH', 'BNB', 'SOL')[number % 4]}USDT",
            long_exchange="binance",
            short_exchange="bybit",
            entry_time_ns=self.now_ns - (number + 1) * MINUTE,
            entry_spread_bps=Decimal("5.2") + number,
            current_spread_bps=Decimal("3.1") + number,
            unrealized_pnl=Decimal("45.20") - 18 * number,
            projected_profit=Decimal(50),
            position_size_usd=Decimal("1666.67"),
            quantity=Decimal("0.031"),
            funding_delta=Decimal("0.00012"),
            status="Active",
            missing=(),
        )
        return replace(row, **changes)

    def exit(self, number: int, **changes: Any) -> ExitRow:
        row = ExitRow(
            trade_id=f"exit-{number}",
            ticker=f"{('ADA', 'DOGE')[number % 2]}USDT",
            long_exchange="binance",
            short_exchange="bybit",
            status="Closed",
            profit=(Decimal("28.50"), Decimal("-12.30"))[number % 2],
            reason=("profit_target", "loss_limit")[number % 2],
            exit_time_ns=self.now_ns - (number + 1) * 7 * MINUTE,
            held_ns=4 * MINUTE,
        )
        return replace(row, **changes)

    def opportunity(self, **changes: Any) -> OpportunityRow:
        row = OpportunityRow(
            ticker="BTCUSDT",
            long_exchange="kucoin",
            short_exchange="binance",
            long_bid=Decimal("63516.9"),
            long_ask=Decimal(63522),
            short_bid=Decimal("63751.1"),
            short_ask=Decimal("63763.3"),
            spread_bps=Decimal("36.06"),
            net_bps=Decimal("12.44"),
            funding_delta=Decimal("0.00025"),
            confidence=79,
            confidence_parts=PARTS,
            quote_time_ns=self.now_ns - 2_100_000_000,
            tradable="",
            since_ns=self.now_ns - 4 * SECOND,
            removed_ns=None,
            removed_reason="",
        )
        return replace(row, **changes)

    def leg_out(self, **changes: Any) -> LegOutRow:
        """A minute ago, and of the day in its first minute too: a date beside the time takes more room."""
        filled_ns = max(self.now_ns - MINUTE, nanoseconds(midnight_of(self.now)))
        row = LegOutRow(
            trade_id="exit-1",
            ticker="DOGEUSDT",
            phase="entry",
            filled_leg="short",
            filled_at_ns=filled_ns,
            hedged_at_ns=filled_ns + 450_000_000,
            hedge_price=Decimal("0.13379"),
            cost=Decimal("3.7604"),
        )
        return replace(row, **changes)

    def capital(self, minutes: int) -> tuple[CapitalPoint, ...]:
        begin = nanoseconds(midnight_of(self.now))
        points = []
        for minute in range(minutes):
            opened = Decimal(5_000) if minute % 50 > 40 else Decimal(0)
            equity = Decimal(20_000) + Decimal(round(80 * math.sin(minute / 90), 2)).quantize(Decimal("0.01"))
            points.append(CapitalPoint(begin + minute * MINUTE, Decimal(20_000) - opened, opened, equity))
        return tuple(points)

    def telemetry(self, **changes: Any) -> Document:
        """The live document of ``assets.telemetry.watch``, without Redis."""
        values = {metric.name: Decimal("12.5") for metric in METRICS if metric.source in (TICK, SUMMARY)}
        values |= {name: Decimal("0.65") for name in ("win_rate", "win_rate_1h", "total_return", "errors_rate")}
        values |= {name: Decimal("-0.021") for name in ("max_drawdown", "drawdown_daily", "current_drawdown")}
        whole: dict[str, Any] = {"timestamp": self.now_ns // 10**6, "total_trades": 27, "winning_trades": 21}
        undefined = {"latency_ms_p95": None, "sharpe_ratio": None}
        points = [[self.now_ns - (119 - n) * MINUTE, Decimal(n % 7)] for n in range(120)]
        series = {
            name: {"points": points, "changed_ns": self.now_ns - MINUTE}
            for name in (*values, "equity_curve", "fees_usd", "confidence")
        }
        document: Document = {
            "as_of": to_iso(self.now),
            "source": "SIMULATED",
            "day": f"{self.now:%Y-%m-%d}",
            "grid_seconds": 10,
            "values": values | whole | undefined,
            "tick": {"type": "metrics.tick"},
            "levels": [asdict(level) for level in LEVELS],
            "alarms": [asdict(alarm) for alarm in self.alarms()],
            "bus": None,
            "rejected": {"crossed_book": 3, "out_of_order": 12},
            "last_trade": {
                "closed_ns": self.now_ns - 5 * MINUTE,
                "pnl_usd": Decimal("28.5"),
                "fees_usd": Decimal("13.45"),
                "slippage_bps": None,
                "hold_time_seconds": Decimal("55.11"),
                "strategy": "dual_leg_arbitrage",
                "confidence": 71,
                "close_reason": "profit_target",
            },
            "errors": 1,
            "handled": 1168,
            "series": series,
        }
        return document | changes

    def alarms(self) -> tuple[AlarmStatus, ...]:
        since = self.now_ns - 2 * MINUTE
        return (
            AlarmStatus("no_ticks", False, "the last metric tick is 3.000 s old", None, None, 0, 0),
            AlarmStatus("drawdown", True, "today's drawdown is -0.06 of the peak", since, since, 2, 5),
            AlarmStatus("service_level:uptime", None, "uptime is undecided: 3 of the 200 samples", None, None, 0, 0),
        )


LEVELS = (
    ServiceLevel("publish_latency_p95", Decimal("0.012"), "s", "<=", Decimal("0.5"), 640, 20, True, ""),
    ServiceLevel("stream_lag_p95", Decimal("1.8"), "s", "<=", Decimal(1), 640, 20, False, ""),
    ServiceLevel("uptime", None, "fraction", ">=", Decimal("0.995"), 3, 200, None, "3 of the 200 samples needed"),
)

NOW = datetime(2026, 3, 2, 16, 30, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=2)
