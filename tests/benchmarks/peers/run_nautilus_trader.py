"""nautilus_trader on the quantities read from stdin, and its backtest engine on alternating market orders.

Runs in an environment of its own, started by ``bench_lots``; answers in JSON on stdout.
"""

import time

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy
from quantising import answer, asked

_UNBOUNDED = dict.fromkeys(("max_quantity", "min_quantity", "max_notional", "min_notional"))


def instrument(step: str) -> CryptoPerpetual:
    """A perpetual of the test kit on the quantity grid ``step``."""
    fields = CryptoPerpetual.to_dict(TestInstrumentProvider.ethusdt_perp_binance())
    precision = len(step.partition(".")[2])
    return CryptoPerpetual.from_dict({**fields, **_UNBOUNDED, "size_precision": precision, "size_increment": step})


def quantised(step: str, values: list[float]) -> list[Quantity]:
    contract = instrument(step)
    return [contract.make_qty(value, round_down=True) for value in values]


class Alternating(Strategy):
    """Buys one, then sells two, buys two, ...: every order but the first flips the position."""

    def __init__(self, contract: CryptoPerpetual) -> None:
        super().__init__()
        self._contract = contract
        self._sent = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._contract.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:  # noqa: ARG002  any tick is the signal to trade
        side = OrderSide.SELL if self._sent % 2 else OrderSide.BUY
        quantity = self._contract.make_qty(2 if self._sent else 1)
        self._sent += 1
        self.submit_order(self.order_factory.market(self._contract.id, side, quantity))


def engine_seconds(orders: int) -> float:
    """The CPU time of a backtest in which each of ``orders`` quotes causes one market order and one fill."""
    contract = instrument("0.001")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    usdt = Currency.from_str("USDT")
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, base_currency=None,
        starting_balances=[Money(100_000_000, usdt)],
    )  # fmt: skip
    engine.add_instrument(contract)
    engine.add_data(
        [
            QuoteTick(
                contract.id,
                Price(2000 + number % 50 / 100, 2), Price(2000.01 + number % 50 / 100, 2),
                Quantity(1000, 3), Quantity(1000, 3),
                number * 1_000_000_000, number * 1_000_000_000,
            )
            for number in range(1, orders + 1)
        ]
    )  # fmt: skip
    engine.add_strategy(Alternating(contract))
    began = time.process_time()
    engine.run()
    seconds = time.process_time() - began
    filled = sum(order.is_closed for order in engine.cache.orders())
    if filled != orders:
        raise RuntimeError(f"{filled} of {orders} orders were filled")
    engine.dispose()
    return seconds


def main() -> None:
    question = asked()
    answer(question, quantised, engine=[engine_seconds(fills) for fills in question["fills"]])


if __name__ == "__main__":
    main()
