"""Builds a store folder as the desk would leave it: labelled test data for tests and benchmarks, never shown as real.

Everything is drawn from one seed. The log, the baseline and the marks agree: the sum of the rows' P&L is the last
row's daily P&L.
"""

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from assets.desk.artifacts import (
    DAILY_BASELINE,
    EXECUTION,
    LATEST_EXECUTED,
    LATEST_PRICES,
    PORTFOLIO_VALUE_LOG,
    PRE_EXECUTION,
    VALUE_HISTORY,
    audit_key,
)
from resources.documents import Document, dump_document, dump_line, sha256_hex, to_iso

MINUTE = timedelta(minutes=1)

# Symbol and an order of magnitude for its price; the last is a sub-cent coin.
BOOK = (
    ("BTCUSDT", 92_000.0),
    ("ETHUSDT", 3_390.0),
    ("BNBUSDT", 684.0),
    ("SOLUSDT", 131.0),
    ("ADAUSDT", 0.8581),
    ("AVAXUSDT", 36.89),
    ("LINKUSDT", 20.13),
    ("NEARUSDT", 4.95),
    ("APTUSDT", 8.83),
    ("DOGEUSDT", 0.3187),
    ("ATOMUSDT", 6.41),
    ("LTCUSDT", 104.2),
    ("XRPUSDT", 2.19),
    ("1000PEPEUSDT", 0.0000204),
)


@dataclass
class DeskFolder:
    """What to build. ``minutes`` log rows end at ``end``; whole UTC days before the last go to the history when
    ``compacted``. ``missing`` are minutes (counted back from the end) without a row. ``scale`` multiplies money."""

    root: Path
    end: datetime
    minutes: int = 2 * 1440
    symbols: int = len(BOOK)
    seed: int = 11
    scale: float = 1.0
    compacted: bool = True
    missing: frozenset[int] = frozenset()
    volatility: float = 0.0002
    source: str = "SIMULATED"
    status: str = "complete"
    prices: dict[str, Decimal] = field(default_factory=dict)

    def build(self) -> "DeskFolder":
        """Write every object; returns self."""
        rng = np.random.default_rng(self.seed)
        end = self.end.astimezone(UTC).replace(microsecond=0)
        minute = end.replace(second=0)
        t1 = minute - MINUTE * min(self.minutes - 1, 600)
        t0 = t1 - timedelta(seconds=41)
        capital = Decimal(1_000_000) * Decimal(str(self.scale))

        symbols, at_t1 = self._symbols(rng)
        sides = {s: (1 if rng.random() < 0.6 else -1) for s in symbols}
        moves = {s: Decimal(str(round(float(rng.normal(0, 0.012)), 6))) for s in symbols}
        self.prices = {s: _rounded(at_t1[s] * (1 + moves[s])) for s in symbols}

        raw = rng.exponential(1.0, len(symbols)) + 0.15
        weights = {s: Decimal(str(round(float(w), 6))) for s, w in zip(symbols, raw / raw.sum(), strict=True)}
        history_moves = rng.normal(0, self.volatility, self.minutes)
        value = self._path(history_moves, float(capital))
        minutes_since_t1 = min(self.minutes - 1, 600)
        pv_pre = Decimal(str(round(float(value[-1 - minutes_since_t1]), 6)))

        name, body = f"signal_{t0:%Y%m%d}_2355.csv", f"labelled test data {self.seed}".encode()
        sha = sha256_hex(body)
        rebalance = f"{name[:-4]}-{sha[:12]}"
        rows, positions, residual = self._sized(symbols, sides, weights, at_t1, pv_pre)
        daily = sum((positions[s] * (self.prices[s] - at_t1[s]) for s in positions), Decimal(0))
        daily = daily.quantize(Decimal("0.000001"))

        value = self._anchored(value, minutes_since_t1, float(pv_pre), float(daily))
        series_daily = np.where(
            np.arange(self.minutes) >= self.minutes - 1 - minutes_since_t1, value - float(pv_pre), 0
        )
        self._write_log(minute, end, value, series_daily, float(capital), rebalance, pv_pre + daily, daily, capital)

        common = {"csv_filename": name, "csv_sha256": sha, "rebalance_id": rebalance}
        pre_execution = {
            "timestamp_utc": to_iso(t0),
            **common,
            "pv_pre": pv_pre,
            "prices_at_t0": at_t1,
            "pv_source": "log",
            "pv_timestamp": to_iso(t0.replace(second=0)),
            "pv_at_t0": pv_pre,
            "gross_base": Decimal(1_000_000),
            "scale": (pv_pre / Decimal(1_000_000)).quantize(Decimal("0.00000000001")),
            "filters_sha256": sha,
            "warnings": [],
            "residual": residual,
            "rows": rows,
        }
        baseline = {
            "timestamp_utc": to_iso(t1),
            **common,
            "portfolio_value": pv_pre,
            "prices": at_t1,
            "positions": positions,
            "base_cumulative": pv_pre - capital,
            "net_flows": 0,
            "supersedes": None,
            "status": self.status,
            "unfilled": [],
            "ledger_seq": 40,
        }
        self.put(PRE_EXECUTION, pre_execution)
        self.put(audit_key(rebalance, "pre_execution.json"), pre_execution)
        self.put(DAILY_BASELINE, baseline)
        executed = {"timestamp_utc": to_iso(t1), **common, "status": "executed"}
        self.put(LATEST_EXECUTED, executed)
        self.put(audit_key(rebalance, "outcome.json"), {**executed, "reason": ""})
        self.put(
            EXECUTION,
            {
                "rebalance_id": rebalance,
                "state": "idle",
                "step": "",
                "run_id": "0f6f3c1e-5f0e-4a53-9f39-6a1d2c0c7b11",
                "started_utc": to_iso(t0),
                "updated_utc": to_iso(t1),
            },
        )
        self.put_prices(end)
        return self

    def put(self, key: str, document: Document) -> None:
        """Write one document, replacing it atomically."""
        self._write(key, dump_document(document))

    def put_prices(self, instant: datetime) -> None:
        self.put(
            LATEST_PRICES,
            {
                "timestamp_utc": to_iso(instant),
                "prices": self.prices,
                "as_of": {s: to_iso(instant) for s in self.prices},
                "source": self.source,
                "refused": {},
            },
        )

    def append(self, instant: datetime, change: float = 0.0) -> Document:
        """One more log row at ``instant``, ``change`` above the last; returns it."""
        log = self.root / PORTFOLIO_VALUE_LOG
        last = json.loads(log.read_bytes().splitlines()[-1])
        for name in ("portfolio_value", "daily_pnl", "total_pnl"):
            last[name] = round(last[name] + change, 6)
        last |= {"timestamp": to_iso(instant), "seq": last["seq"] + 1}
        with log.open("ab") as file:
            file.write(dump_line(last) + b"\n")
        return last

    def _symbols(self, rng: np.random.Generator) -> tuple[list[str], dict[str, Decimal]]:
        named = list(BOOK[: self.symbols])
        named += [(f"COIN{i:03d}USDT", float(10 ** rng.uniform(-7, 4))) for i in range(len(named), self.symbols)]
        return [s for s, _ in named], {s: _rounded(Decimal(str(price))) for s, price in named}

    def _path(self, moves: np.ndarray, capital: float) -> np.ndarray:
        return capital * np.exp(np.cumsum(moves) - moves[0])

    def _anchored(self, value: np.ndarray, since: int, pv_pre: float, daily: float) -> np.ndarray:
        """The path bent so that it passes through pv_pre at t1 and ends at pv_pre + daily."""
        value = value.copy()
        tail = value[-1 - since :]
        bend = np.linspace(0, 1, len(tail)) * (pv_pre + daily - tail[-1]) if len(tail) > 1 else 0
        value[-1 - since :] = tail + bend
        value[-1] = pv_pre + daily
        return value

    def _sized(self, symbols, sides, weights, prices, pv_pre):  # type: ignore[no-untyped-def]
        """Rows, positions and residual; one symbol in nine is dropped as too small when there are enough."""
        rows, positions = [], {}
        gross = rounding = dropped = Decimal(0)
        left = pv_pre
        for number, symbol in enumerate(symbols):
            target = (weights[symbol] * pv_pre).quantize(Decimal("0.000001"))
            if number == len(symbols) - 1:
                target = left
            left -= target
            step = Decimal(1).scaleb(max(-6, min(3, 1 - (10 / prices[symbol]).adjusted()) * -1 - 3))
            quantity = (target / prices[symbol] // step) * step
            status, reason, rest = "kept", "", target - quantity * prices[symbol]
            if quantity == 0 or number % 13 == 12:
                status, reason, quantity, rest = "dropped", "below_min_notional", Decimal(0), Decimal(0)
                dropped += target
            else:
                gross += quantity * prices[symbol]
                rounding += rest
                positions[symbol] = sides[symbol] * quantity
            rows.append(
                {
                    "ticker": symbol.replace("USDT", "_USDT"),
                    "symbol": symbol,
                    "side": sides[symbol],
                    "notional": sides[symbol] * weights[symbol] * 1_000_000,
                    "status": status,
                    "reason": reason,
                    "target_notional": target,
                    "target_quantity": sides[symbol] * quantity,
                    "current_quantity": Decimal(0),
                    "delta_quantity": sides[symbol] * quantity,
                    "rounding": rest,
                }
            )
        residual = {"gross": gross, "rounding": rounding, "dropped": dropped, "untradable": Decimal(0)}
        return rows, positions, residual

    def _write_log(self, minute, end, value, daily, capital, rebalance, last_value, last_daily, exact_capital):  # type: ignore[no-untyped-def]
        first = minute - MINUTE * (self.minutes - 1)
        midnight = minute.replace(hour=0, minute=0)
        old = max(0, round((midnight - first) / MINUTE)) if self.compacted else 0
        kept = np.array([self.minutes - 1 - i not in self.missing for i in range(self.minutes)])
        if old:
            self._write_history(first, value[:old], daily[:old], capital, kept[:old])
        lines = []
        for i in range(old, self.minutes):
            if not kept[i]:
                continue
            newest = i == self.minutes - 1
            pv = last_value if newest else Decimal(str(round(float(value[i]), 6)))
            day = last_daily if newest else Decimal(str(round(float(daily[i]), 6)))
            lines.append(
                dump_line(
                    {
                        "timestamp": to_iso(end if newest else first + MINUTE * i + timedelta(seconds=1)),
                        "portfolio_value": pv,
                        "daily_pnl": day,
                        "total_pnl": pv - exact_capital,
                        "base_cumulative": pv - exact_capital - day,
                        "net_flows": 0,
                        "seq": i,
                        "stale": [],
                        "ledger_seq": 40,
                        "rebalance_id": rebalance,
                        "source": self.source,
                    }
                )
            )
        self._write(PORTFOLIO_VALUE_LOG, b"".join(line + b"\n" for line in lines))

    def _write_history(self, first, value, daily, capital, kept):  # type: ignore[no-untyped-def]
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = np.datetime64(first.replace(tzinfo=None), "us")
        stamps = start + np.arange(len(value)) * np.timedelta64(60_000_000, "us") + np.timedelta64(1_000_000, "us")
        days = stamps.astype("datetime64[D]")
        edges = np.flatnonzero(np.append(True, days[1:] != days[:-1]))
        for left, right in zip(edges, np.append(edges[1:], len(value)), strict=True):
            here = slice(left, right)
            keep = kept[here]
            table = pa.table(
                {
                    "timestamp": pa.array(stamps[here][keep], pa.timestamp("us", tz="UTC")),
                    "portfolio_value": value[here][keep],
                    "daily_pnl": daily[here][keep],
                    "total_pnl": value[here][keep] - capital,
                    "stale": np.zeros(int(keep.sum()), bool),
                }
            )
            target = io.BytesIO()
            pq.write_table(table, target)
            self._write(f"{VALUE_HISTORY}date={days[left]}.parquet", target.getvalue())

    def _write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".new")
        aside.write_bytes(data)
        aside.replace(path)


def _rounded(value: Decimal) -> Decimal:
    """A price on a plausible tick: five significant digits."""
    return value.quantize(Decimal(1).scaleb(value.adjusted() - 5))
