"""nautilus_trader's backtest engine replaying quotes through a strategy that reads each and does nothing.

Runs in the environment of ``run_nautilus_trader``, started by ``bench_scanner`` with the number of quotes; answers in
JSON on stdout.
"""

import json
import sys
import time

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from run_nautilus_trader import instrument


class Reading(Strategy):
    """Looks at the bid of each quote."""

    def __init__(self, contract: object) -> None:
        super().__init__()
        self._contract, self.seen = contract, 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._contract.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self.seen += tick.bid_price.raw > 0


def main() -> None:
    count = int(sys.argv[1])
    contract = instrument("0.001")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, base_currency=None,
        starting_balances=[Money(1_000_000, Currency.from_str("USDT"))],
    )  # fmt: skip
    engine.add_instrument(contract)
    engine.add_data(
        [
            QuoteTick(
                contract.id, Price(2000 + number % 50 / 100, 2), Price(2000.01 + number % 50 / 100, 2),
                Quantity(1000, 3), Quantity(1000, 3), number * 1_000_000, number * 1_000_000,
            )
            for number in range(1, count + 1)
        ]
    )  # fmt: skip
    strategy = Reading(contract)
    engine.add_strategy(strategy)
    began = time.process_time()
    engine.run()
    seconds = time.process_time() - began
    if strategy.seen != count:
        raise RuntimeError(f"{strategy.seen} of {count} quotes were seen")
    print(json.dumps({"quotes_per_second": count / seconds}))


if __name__ == "__main__":
    main()
