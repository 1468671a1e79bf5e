"""freqtrade's dry-run walk of a book: its time, and what it gives where there is no book to walk.

Runs in the environment of ``run_freqtrade``, started by ``bench_exchange`` with the levels; answers in JSON on stdout.
The exchange's own parts are replaced by the least that the walk asks for: its rounding to a tick costs nothing here.
"""

import json
import sys
import time
from types import SimpleNamespace

from freqtrade.exchange import Exchange

_PARTS = SimpleNamespace(exchange_has=lambda _: True, price_to_precision=lambda _, price: price)


def fill_price(side: str, amount: float, worst: float, asks: list[list[float]], bids: list[list[float]]) -> float:
    book = {"asks": asks, "bids": bids}
    return Exchange.get_dry_market_fill_price(_PARTS, "BTC/USDT", side, amount, 100.0, worst, book)


def main() -> None:
    question = json.load(sys.stdin)
    levels, amount = question["levels"], question["amount"]
    worst = levels[0][0] * 1.05
    took = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(10_000):
            fill_price("buy", amount, worst, levels, [])
        took.append((time.process_time() - began) / 10_000)
    crossed = [[100.0, 5.0]], [[101.0, 5.0]]
    nothing = [fill_price(side, 1.0, 95.0, *book) for book in (([], []), crossed) for side in ("buy", "sell")]
    json.dump({"seconds": min(took), "from_nothing": nothing}, sys.stdout)


if __name__ == "__main__":
    main()
