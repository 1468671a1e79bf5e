"""Sample signal files in the form of the real daily CSV, for demos and tests; labelled SIMULATED in every row."""

import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np

from resources.market import Mark, Market
from resources.market.simulated import UNIVERSE

HEADER = (
    "id_specific",
    "extra_key",
    "value_ts",
    "strategy",
    "internal_code",
    "ric",
    "ticker",
    "target_notional",
    "currency",
    "target_contracts",
    "ref_price",
    "advisor_name",
)
GROSS_NOTIONAL = Decimal(1_000_000)
_STRATEGIES = ("SIMULATED_trend", "SIMULATED_carry")
_ADVISOR = "SIMULATED sample"
_ROWS = 29
_DIGITS = Decimal("0.00000000001")
# Days between two changes of a name's side; a prime, so that a few names change on every day.
_SIDE_DAYS = 11
_SIDE_STRIDE = 3
_BASES = [contract.base for contract in UNIVERSE]


def sample_signal(market: Market, day: date, marks: Mapping[str, Mark], seed: int) -> tuple[str, bytes]:
    """(file name, CSV bytes) of a made-up signal dated ``day`` 23:55, deterministic in (seed, day).

    About 29 names (fewer on a small market) that are TRADING on ``market`` and have a usable mark, each once; signed
    target_notional in USD, absolute values summing to exactly 1,000,000; target_contracts +-1; ref_price = mark. From
    one day to the next weights drift, one name enters, one leaves and some change side. Raises ValueError when no
    name can be traded.
    """
    value_time = datetime.combine(day, time(23, 55), UTC)
    names = _tradable(market, value_time, marks)
    if not names:
        raise ValueError(f"no sample signal: {market.name} trades none of the sample's names at a usable mark")
    number = day.toordinal()
    random = np.random.default_rng(seed % 2**64)  # numpy takes no negative seeds
    # Drawn for the whole universe, so that a name's numbers do not depend on which others can be traded.
    place = {base: int(at) for base, at in zip(_BASES, random.permutation(len(_BASES)), strict=True)}
    size = {base: float(draw) for base, draw in zip(_BASES, np.exp(random.normal(0, 0.8, len(_BASES))), strict=True)}

    names = sorted(names, key=place.__getitem__)
    kept = min(_ROWS, max(1, len(names) * 6 // 7))
    chosen = sorted(names[(number + offset) % len(names)] for offset in range(kept))

    drifting = {base: size[base] * math.exp(0.4 * math.sin(number / 5 + place[base])) for base in chosen}
    gross = sum(drifting.values())
    magnitudes = {base: (GROSS_NOTIONAL * Decimal(drifting[base] / gross)).quantize(_DIGITS) for base in chosen}
    largest = max(chosen, key=magnitudes.__getitem__)
    magnitudes[largest] += GROSS_NOTIONAL - sum(magnitudes.values())

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for base in chosen:
        side = 1 if (number + _SIDE_STRIDE * place[base]) // _SIDE_DAYS % 2 else -1
        strategy = _STRATEGIES[place[base] % len(_STRATEGIES)]
        ticker = f"{base}_USDT"
        writer.writerow(
            [
                "DF",
                f"{strategy}_{ticker}",
                f"{value_time:%Y-%m-%d %H:%M}",
                strategy,
                f"Binance Linear_{ticker}_FUTPERP",
                ticker,
                ticker,
                format(side * magnitudes[base], "f"),
                "USD",
                side,
                format(marks[base + "USDT"].price, "f"),
                _ADVISOR,
            ]
        )
    return f"monitor_signal_DF_{day:%Y%m%d}-2355.csv", text.getvalue().encode()


def _tradable(market: Market, at: datetime, marks: Mapping[str, Mark]) -> list[str]:
    listed = {row["symbol"]: row["status"] for row in json.loads(market.exchange_info(at))["symbols"]}
    return [
        contract.base
        for contract in UNIVERSE
        if listed.get(contract.symbol) == "TRADING"
        and (mark := marks.get(contract.symbol)) is not None
        and mark.price.is_finite()
        and mark.price > 0
    ]
