"""vectorbt on the quantities read from stdin: one order each, with ``size_granularity`` as the grid.

Runs in an environment of its own, started by ``bench_lots``; answers in JSON on stdout.
"""

import numpy as np
import pandas as pd
import vectorbt as vbt
from quantising import answer, asked


def quantised(step: str, values: list[float]) -> list[float]:
    sizes = np.array(values)
    portfolio = vbt.Portfolio.from_orders(
        pd.Series(np.ones(len(sizes))), size=sizes, size_granularity=float(step), init_cash=np.inf
    )
    filled = np.zeros(len(sizes))
    filled[portfolio.orders.records["idx"].to_numpy()] = portfolio.orders.records["size"].to_numpy()
    return filled.tolist()


def main() -> None:
    question = asked()
    quantised("1", [1.0, 2.0])  # numba compiles at the first call, which is no part of the speed
    answer(question, quantised)


if __name__ == "__main__":
    main()
