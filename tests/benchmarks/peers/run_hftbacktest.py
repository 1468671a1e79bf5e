"""hftbacktest on the stream of ``bench_exchange``, with its queue model and the same orders; and three partial fills.

Runs in an environment of its own, started by ``bench_exchange`` with the stream's file; answers in JSON on stdout.
"""

import json
import sys
import time

import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_BBO_EVENT,
    EXCH_EVENT,
    GTC,
    LIMIT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit

TICK, LOT = 0.1, 0.001
_BOTH = EXCH_EVENT | LOCAL_EVENT


def rows_of(stream: np.ndarray) -> np.ndarray:
    """Their format: a quote is a best bid and a best ask, a row each."""
    quotes, trades = stream[stream[:, 0] == 0], stream[stream[:, 0] == 1]
    parts = []
    for flags, of, price, size in (
        (_BOTH | DEPTH_BBO_EVENT | BUY_EVENT, quotes, 2, 3),
        (_BOTH | DEPTH_BBO_EVENT | SELL_EVENT, quotes, 4, 5),
        (None, trades, 2, 3),
    ):
        rows = np.zeros(len(of), event_dtype)
        rows["ev"] = (
            np.where(of[:, 4] == 1, _BOTH | TRADE_EVENT | BUY_EVENT, _BOTH | TRADE_EVENT | SELL_EVENT)
            if flags is None
            else flags
        )
        rows["exch_ts"] = rows["local_ts"] = of[:, 1]
        rows["px"], rows["qty"] = of[:, price] * TICK, of[:, size] * LOT
        parts.append(rows)
    every = np.concatenate(parts)
    return every[np.argsort(every["exch_ts"], kind="stable")]


def backtest(rows: np.ndarray, latency_ns: int, partial: bool) -> HashMapMarketDepthBacktest:
    asset = (
        BacktestAsset()
        .data(rows)
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, latency_ns)
        .risk_adverse_queue_model()
        .trading_value_fee_model(0.0002, 0.0005)
        .tick_size(TICK)
        .lot_size(LOT)
        .last_trades_capacity(0)
    )
    return HashMapMarketDepthBacktest([asset.partial_fill_exchange() if partial else asset.no_partial_fill_exchange()])


@njit
def trade(hbt: HashMapMarketDepthBacktest, pause_ns: int, quantity: float) -> int:
    """An order at the best price each ``pause_ns``, bids and asks in turn, in place of the one before."""
    sent = 0
    while hbt.elapse(pause_ns) == 0:
        if sent:
            hbt.cancel(0, sent, False)
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        sent += 1
        if sent % 2:
            hbt.submit_buy_order(0, sent, depth.best_bid, quantity, GTC, LIMIT, False)
        else:
            hbt.submit_sell_order(0, sent, depth.best_ask, quantity, GTC, LIMIT, False)
    return sent


@njit
def partial_fills(hbt: HashMapMarketDepthBacktest) -> float:
    """The position after an order of 1.0 alone at its price met three trades of 0.3."""
    hbt.elapse(1_000)
    hbt.submit_buy_order(0, 1, 100.1, 1.0, GTC, LIMIT, False)
    hbt.elapse(1_000_000)
    return hbt.position(0)


def three_trades() -> np.ndarray:
    stream = [[0, 100, 1000, 10_000, 1005, 10_000]]
    stream += [[1, 100_000 + number, 1001, 300, 0, 0] for number in range(3)]
    return rows_of(np.array([*stream, [0, 2_000_000, 1000, 10_000, 1005, 10_000]], np.int64))


def main() -> None:
    question = json.load(sys.stdin)
    rows = rows_of(np.load(question["stream"]))
    seconds, sent = [], 0
    for _ in range(question["repeats"] + 1):
        hbt = backtest(rows, question["latency_ns"], partial=True)
        began = time.process_time()
        sent = trade(hbt, question["pause_ns"], question["lots"] * LOT)
        seconds.append(time.process_time() - began)
        hbt.close()
    few = three_trades()
    hbt = backtest(few, 10, partial=True)
    position = partial_fills(hbt)
    hbt.close()
    # The first run compiles.
    json.dump({"seconds": min(seconds[1:]), "orders": sent, "rows": len(rows), "position": position}, sys.stdout)


if __name__ == "__main__":
    main()
