"""nautilus_trader's backtest engine on the stream of ``bench_exchange``: without orders, and with the same ones.

Runs in the environment of ``run_nautilus_trader``, started by ``bench_exchange`` with the stream's file; answers in
JSON on stdout.
"""

import json
import sys
import time

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from run_nautilus_trader import instrument


def ticks(stream: np.ndarray, contract: object) -> list[object]:
    """The stream in their types; their contract has two digits of price, ours one of tick."""
    data: list[object] = []
    for number, (kind, time_ns, price, size, second, second_size) in enumerate(stream.tolist()):
        if kind:
            side = AggressorSide.BUYER if second else AggressorSide.SELLER
            data.append(
                TradeTick(
                    contract.id, Price(price / 10, 2), Quantity(size / 1000, 3), side, TradeId(str(number)), time_ns,
                    time_ns,
                )
            )  # fmt: skip
        else:
            data.append(
                QuoteTick(
                    contract.id, Price(price / 10, 2), Price(second / 10, 2), Quantity(size / 1000, 3),
                    Quantity(second_size / 1000, 3), time_ns, time_ns,
                )
            )  # fmt: skip
    return data


class Quoting(Strategy):
    """An order at the best price each ``pause_ns`` (0: never), bids and asks in turn, in place of the one before."""

    def __init__(self, contract: object, pause_ns: int, lots: int) -> None:
        super().__init__()
        self._contract, self._pause_ns, self._size = contract, pause_ns, contract.make_qty(lots / 1000)
        self._next_ns, self.sent = 0, 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._contract.id)
        self.subscribe_trade_ticks(self._contract.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        if not self._pause_ns or tick.ts_event < self._next_ns:
            return
        self._next_ns = tick.ts_event + self._pause_ns
        self.cancel_all_orders(self._contract.id)
        self.sent += 1
        side, price = (OrderSide.BUY, tick.bid_price) if self.sent % 2 else (OrderSide.SELL, tick.ask_price)
        self.submit_order(self.order_factory.limit(self._contract.id, side, self._size, price))


def replay(stream: np.ndarray, pause_ns: int, lots: int, latency_ns: int) -> tuple[float, int]:
    contract = instrument("0.001")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, base_currency=None,
        starting_balances=[Money(1_000_000, Currency.from_str("USDT"))], latency_model=LatencyModel(latency_ns),
    )  # fmt: skip
    engine.add_instrument(contract)
    engine.add_data(ticks(stream, contract))
    strategy = Quoting(contract, pause_ns, lots)
    engine.add_strategy(strategy)
    began = time.process_time()
    engine.run()
    seconds = time.process_time() - began
    engine.dispose()
    return seconds, strategy.sent


def main() -> None:
    question = json.load(sys.stdin)
    stream = np.load(question["stream"])[: question["events"]]
    alone, _ = replay(stream, 0, question["lots"], question["latency_ns"])
    busy, sent = replay(stream, question["pause_ns"], question["lots"], question["latency_ns"])
    json.dump({"events": len(stream), "without": alone, "with": busy, "orders": sent}, sys.stdout)


if __name__ == "__main__":
    main()
