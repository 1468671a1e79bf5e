"""freqtrade's rounding of amounts on the quantities read from stdin.

Runs in an environment of its own, started by ``bench_lots``; answers in JSON on stdout.
"""

from ccxt import TICK_SIZE
from freqtrade.exchange.exchange_utils import amount_to_precision
from quantising import answer, asked


def quantised(step: str, values: list[float]) -> list[float]:
    grid = float(step)
    return [amount_to_precision(value, grid, TICK_SIZE) for value in values]


def main() -> None:
    question = asked()
    answer(question, quantised)


if __name__ == "__main__":
    main()
