"""A desk whose market a test scripts line by line: prices, filters, liquidity, funding and the clock."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from assets.desk.desk import Desk, paper_venue
from assets.desk.detection import Look, Sightings, look
from assets.desk.rebalance import run_rebalance
from assets.desk.tick import Ticker, TickResult
from resources.clock import ManualClock
from resources.documents import Document, load_document
from resources.market import Book, Depth, FundingRate, Liquidity, Mark
from resources.settings import Settings
from resources.store import Store
from resources.store.local import LocalStore
from tests.memory_store import MemoryStore

START = datetime(2026, 11, 20, 0, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

Target = tuple[str, int]  # (notional as in the CSV, contracts)


def D(number: str | int) -> Decimal:  # noqa: N802 (reads as the type it makes)
    return Decimal(number)


def contract(
    symbol: str,
    *,
    step: str = "0.001",
    min_qty: str | None = None,
    max_qty: str = "1000000",
    min_notional: str = "5",
    tick: str = "0.01",
    status: str = "TRADING",
) -> dict[str, Any]:
    """One symbol of an exchange-info answer, in Binance USD-M form."""
    lots = {"stepSize": step, "minQty": min_qty or step, "maxQty": max_qty}
    return {
        "symbol": symbol,
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "status": status,
        "contractType": "PERPETUAL",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": tick, "maxPrice": "100000000"},
            {"filterType": "LOT_SIZE", **lots},
            {"filterType": "MARKET_LOT_SIZE", **lots},
            {"filterType": "MIN_NOTIONAL", "notional": min_notional},
        ],
    }


def exchange_info(*contracts: Mapping[str, Any]) -> bytes:
    return json.dumps({"symbols": list(contracts)}).encode()


@dataclass
class ScriptedMarket:
    """Says what a test sets. ``prices`` are as fresh as the clock unless ``as_of`` dates one; where ``offers`` has no
    entry for a symbol its book is deep at exactly the price, so fills happen at the mark."""

    prices: dict[str, Decimal]
    contracts: dict[str, dict[str, Any]]
    as_of: dict[str, datetime] = field(default_factory=dict)
    offers: dict[str, Liquidity | None] = field(default_factory=dict)
    rates: list[FundingRate] = field(default_factory=list)
    spread: Decimal = Decimal(0)
    name: str = "SCRIPTED"

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        return {symbol: Mark(symbol, price, self.as_of.get(symbol, at)) for symbol, price in self.prices.items()}

    def exchange_info(self, at: datetime) -> bytes:  # noqa: ARG002
        return exchange_info(*(self.contracts[symbol] for symbol in sorted(self.contracts)))

    def liquidity(self, symbol: str, at: datetime) -> Liquidity | None:
        if symbol in self.offers:
            offer = self.offers[symbol]
            if isinstance(offer, Book):
                return Book(symbol, offer.bids, offer.asks, at)
            return None if offer is None else Depth(symbol, offer.quantity, at)
        price, much = self.prices[symbol], Decimal(10) ** 12
        tick = Decimal(self.contracts[symbol]["filters"][0]["tickSize"])
        # A book may not cross: buyers find the mark itself (plus the spread), sellers one tick below it.
        return Book(symbol, ((price - tick - self.spread, much),), ((price + self.spread, much),), at)

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        return sorted(
            (rate for rate in self.rates if rate.symbol in symbols and after < rate.time <= until),
            key=lambda rate: (rate.time, rate.symbol),
        )


def market_of(prices: Mapping[str, str], **filters: str) -> ScriptedMarket:
    """A market with one ordinary contract for each price; ``filters`` apply to all of them."""
    return ScriptedMarket(
        {symbol: Decimal(price) for symbol, price in prices.items()},
        {symbol: contract(symbol, **filters) for symbol in prices},
    )


def signal_csv(targets: Mapping[str, Target], ref_prices: Mapping[str, str] | None = None) -> bytes:
    """A daily CSV: ticker -> (target_notional, target_contracts)."""
    lines = ["strategy,ticker,target_notional,target_contracts,ref_price"]
    lines += [
        f"trend,{ticker},{notional},{contracts},{(ref_prices or {}).get(ticker, '')}"
        for ticker, (notional, contracts) in targets.items()
    ]
    return ("\n".join(lines) + "\n").encode()


def file_name(day: datetime) -> str:
    """What the signal that executes on ``day`` is called: it is dated the evening before."""
    return f"monitor_signal_DF_{day - DAY:%Y%m%d}-2355.csv"


class Parts:
    """One desk and what a test does to it. A fresh ``desk()`` is a fresh process on the same store."""

    def __init__(self, market: ScriptedMarket, store: Store, clock: ManualClock | None = None, **settings: Any) -> None:
        self.market = market
        self.store = store
        self.clock = clock or ManualClock(START)
        self.settings = Settings(store=store.url, **settings)
        self.sightings: Sightings = {}
        self.ticker: Ticker | None = None

    def desk(self, store: Store | None = None) -> Desk:
        return Desk(self.settings, store or self.store, self.market, self.clock, paper_venue(self.settings))

    def drop(self, name: str, data: bytes, modified: datetime | None = None) -> None:
        """Leave a file in the inbox as the outside world does."""
        modified = modified or self.clock.now()
        if isinstance(self.store, MemoryStore):
            self.store.put(f"inbox/{name}", data, modified)
        else:
            assert isinstance(self.store, LocalStore)
            file = Path(self.store.url) / "inbox" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
            os.utime(file, (modified.timestamp(), modified.timestamp()))

    def look(self) -> Look:
        seen = look(self.desk(), self.sightings)
        self.sightings = seen.sightings
        return seen

    def detect(self) -> tuple[str, ...]:
        """Two looks five seconds apart, as many as a local file needs to count as complete; what waits for a run."""
        self.look()
        self.clock.sleep(5)
        pending = self.look().pending
        self.clock.sleep(5)
        return pending

    def execute(self, targets: Mapping[str, Target], name: str | None = None) -> Document:
        """Drop a signal, detect it and run its rebalance; returns the outcome."""
        self.drop(name or file_name(self.clock.now()), signal_csv(targets))
        (rebalance_id,) = self.detect()
        return run_rebalance(self.desk(), rebalance_id)

    def tick(self) -> TickResult:
        """Tick as the resident ticker does, which keeps its book between ticks."""
        if self.ticker is None:
            self.ticker = Ticker(self.desk())
        return self.ticker.tick()

    def minutes(self, count: int) -> list[TickResult]:
        """Let ``count`` minutes pass with a tick at the end of each."""
        results = []
        for _ in range(count):
            self.clock.sleep(60)
            results.append(self.tick())
        return results

    def document(self, key: str) -> Document:
        return load_document(self.store.read(key).data)

    def audit(self, rebalance_id: str, name: str) -> Document:
        return self.document(f"rebalances/{rebalance_id}/{name}")

    def held(self) -> dict[str, Decimal]:
        return self.desk().ledger().book().held()

    def log(self) -> list[Document]:
        return [load_document(line) for line in self.store.read("portfolio_value_log.jsonl").data.splitlines()]

    def outcomes(self) -> dict[str, str]:
        """Status of every rebalance that has an outcome."""
        keys = [entry.key for entry in self.store.list("rebalances/") if entry.key.endswith("/outcome.json")]
        return {key.split("/")[1]: self.document(key)["status"] for key in keys}
