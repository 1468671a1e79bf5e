"""ccxt's rounding, as its ``amount_to_precision`` calls it for Binance, on the quantities read from stdin.

Runs in an environment of its own, started by ``bench_lots``; answers in JSON on stdout.
"""

from ccxt.base.decimal_to_precision import TICK_SIZE, TRUNCATE, decimal_to_precision
from quantising import answer, asked


def quantised(step: str, values: list[float]) -> list[str]:
    grid = float(step)
    return [decimal_to_precision(value, TRUNCATE, grid, TICK_SIZE) for value in values]


def main() -> None:
    question = asked()
    answer(question, quantised)


if __name__ == "__main__":
    main()
