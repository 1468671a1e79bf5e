"""``desk verify`` finds a changed byte in whatever the desk stores, and never falls over it.

Exempt, because nothing stored can vouch for them, are the spans ``EXEMPT`` names; verify checks their form alone.
"""

import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache

import pytest

from assets.desk.history import compact
from assets.desk.verify import Report, verify
from resources.documents import dump_document, load_document
from resources.market import FundingRate
from tests.desk_parts import DAY, Parts, file_name, market_of, signal_csv
from tests.memory_store import MemoryStore

ALL = rb"(?s).*"
EXEMPT = [
    (r"inbox/", ALL, "the outside world's files: what was executed is the copy frozen at t0"),
    (r"execution\.json", ALL, "the lock of the moment, overwritten by the next rebalance"),
    (r"forced/", ALL, "a marker: its name says everything"),
    (r"latest_prices\.json", rb'"timestamp_utc":"[^"]*"', "a minute claimed by another tick has no marks row of ours"),
    (r"latest_prices\.json", rb'"source":"[^"]*"', "the market's label, not a number"),
    (r"portfolio_value_log\.jsonl", rb'"source":"[^"]*"', "the market's label, not a number"),
    (r"history/marks/", rb'"as_of":\{[^}]*\}', "when a mark was made is stated by the market alone"),
    (r".*/outcome\.json", rb'"timestamp_utc":"[^"]*"', "when an outcome was recorded is stated once"),
    (r".*/outcome\.json", rb'"reason":"[^"]*"', "why a file was refused was said under the settings of then"),
    (r".*/outcome\.json", rb'"status":"(superseded|quarantined)"', "likewise, among the known endings"),
    (
        r"history/portfolio_value/",
        rb"parquet-cpp-arrow version [0-9.]*",
        "another writer's bytes are compared by value",
    ),
]


def _small_store() -> Parts:
    """Two days with a flip, funding, a refused file, a superseded one and a forced one, compacted."""
    parts = Parts(market_of({"BTCUSDT": "90000", "ETHUSDT": "3000"}), MemoryStore())
    parts.tick()
    parts.minutes(1)
    parts.execute({"BTC_USDT": ("600000", 1), "ETH_USDT": ("-400000", -1)})
    parts.market.prices["BTCUSDT"] = Decimal("90100.5")
    parts.minutes(2)
    settled = parts.clock.now() - timedelta(seconds=30)
    parts.market.rates.append(FundingRate("BTCUSDT", settled, Decimal("0.0001"), Decimal("90050")))
    parts.minutes(2)
    parts.drop("broken_20261120.csv", b"ticker,target_notional,target_contracts\nBTC_USDT,x,1\n")
    (refused,) = parts.detect()
    with pytest.raises(Exception, match="quarantined"):
        _run(parts, refused)
    parts.clock.sleep(DAY.total_seconds())
    parts.minutes(2)
    parts.drop("older_20261119.csv", signal_csv({"ETH_USDT": ("1", 1)}))
    data = signal_csv({"BTC_USDT": ("-500000", -1), "ETH_USDT": ("-500000", -1)})
    parts.drop(file_name(parts.clock.now()), data)
    (second,) = parts.detect()
    _run(parts, second)
    parts.minutes(2)
    settled = parts.clock.now() - timedelta(seconds=30)
    parts.market.rates.append(FundingRate("ETHUSDT", settled, Decimal("-0.0002"), Decimal("3001")))
    parts.minutes(1)
    compact(parts.store, (parts.clock.now() + DAY).date())
    return parts


def _run(parts: Parts, rebalance_id: str) -> None:
    from assets.desk.rebalance import run_rebalance

    run_rebalance(parts.desk(), rebalance_id)


@lru_cache(maxsize=1)
def small() -> tuple[Parts, dict[str, bytes]]:
    parts = _small_store()
    assert isinstance(parts.store, MemoryStore)
    return parts, parts.store.contents()


def verified(contents: dict[str, bytes]) -> Report:
    parts, _ = small()
    store = MemoryStore()
    for key, data in contents.items():
        store.put(key, data, parts.clock.now())
    return verify(parts.desk(store))


def exempt(key: str, data: bytes) -> list[tuple[int, int]]:
    return [
        found.span()
        for keys, spans, _why in EXEMPT
        if re.match(keys, key)
        for found in re.finditer(spans, data)
        if found.end() > found.start()
    ]


def changed(data: bytes, position: int) -> bytes:
    """The same length, another byte there: a digit becomes another digit, a letter another letter."""
    old = data[position : position + 1]
    new = bytes([(old[0] - 48 + 1) % 10 + 48]) if old.isdigit() else bytes([old[0] ^ 1])
    return data[:position] + new + data[position + 1 :]


def positions(key: str, data: bytes, count: int) -> list[int]:
    """Evenly spread places outside what is exempt, the first and the last byte always among them."""
    free = [p for p in range(len(data)) if not any(a <= p < b for a, b in exempt(key, data))]
    if not free:
        return []
    step = max(1, len(free) // count)
    return sorted({free[0], free[-1], *free[::step]})


def test_nothing_differs_in_the_store_before_it_is_tampered_with() -> None:
    report = verified(small()[1])
    assert report.differences == ()
    assert (report.rebalances, report.days) == (4, 2)
    assert report.log_rows == 11
    assert report.segments >= 7


def test_the_store_holds_every_kind_of_object_the_desk_writes() -> None:
    kinds = {re.sub(r"[0-9a-f]{64}|[0-9]{12}|rebalances/[^/]*", "*", key) for key in small()[1]}
    assert {
        "detections/*.json",
        "filters/*.json",
        "ledger/segments/*.json",
        "ledger/snapshot.json",
        *(f"*/{name}" for name in ("signal.csv", "signal.json", "detection.json", "claim.json", "outcome.json")),
        *(f"*/{name}" for name in ("pre_execution.json", "sized_orders.json", "fills.json", "baseline.json")),
        *(f"*/executions_{batch}.json" for batch in ("reductions", "increases")),
        "pre_execution.json",
        "daily_baseline.json",
        "latest_executed.json",
        "latest_prices.json",
        "portfolio_value_log.jsonl",
        "execution.json",
    } <= kinds


@pytest.mark.parametrize("key", sorted(small()[1]))
def test_one_changed_byte_is_found(key: str) -> None:
    contents = small()[1]
    places = positions(key, contents[key], 10)
    assert places or any(re.match(keys, key) and spans == ALL for keys, spans, _ in EXEMPT)
    unnoticed = [
        contents[key][max(0, place - 30) : place + 10]
        for place in places
        if not verified(contents | {key: changed(contents[key], place)}).differences
    ]
    assert unnoticed == []


@pytest.mark.parametrize("key", sorted(small()[1]))
@pytest.mark.parametrize("instead", [b"", b"not json\n", b"[]\n", b"{}\n", b"\xff\xfe"], ids=repr)
def test_an_object_replaced_by_anything_is_found_and_does_not_stop_verify(key: str, instead: bytes) -> None:
    contents = small()[1]
    report = verified(contents | {key: instead})
    whole = any(re.match(keys, key) and spans == ALL for keys, spans, _ in EXEMPT)
    assert report.differences or whole


# May be absent without anything being wrong: made anew by the next tick, rebalance, look, snapshot or upkeep.
MADE_ANEW = r"inbox/|execution\.json|forced/|latest_prices|ledger/snapshot|.*/outcome\.json"
LAST_DAY = max(key for key in small()[1] if key.startswith("history/portfolio_value/"))
GONE = [key for key in sorted(small()[1]) if not re.match(MADE_ANEW, key) and key != LAST_DAY]


@pytest.mark.parametrize("key", GONE)
def test_a_missing_object_is_found_and_does_not_stop_verify(key: str) -> None:
    contents = small()[1]
    report = verified({other: data for other, data in contents.items() if other != key})
    assert report.differences


def test_a_missing_segment_in_the_middle_is_found() -> None:
    contents = dict(small()[1])
    segments = sorted(key for key in contents if key.startswith("ledger/segments/"))
    del contents[segments[2]]
    found = verified(contents).differences
    assert any(difference.key == segments[-1] and "ends before it" in difference.what for difference in found)


def test_a_document_with_the_same_values_in_other_bytes_is_found() -> None:
    contents = dict(small()[1])
    key = "pre_execution.json"
    contents[key] = contents[key].replace(b'","', b'", "', 1)
    assert load_document(contents[key]) == load_document(small()[1][key])
    assert [d.key for d in verified(contents).differences] == [key]


def test_a_research_document_with_a_small_number_is_no_difference_and_in_other_bytes_is_one() -> None:
    key = "research/simulated/BTCUSDT/models/2026-11-03/manifest.json"
    data = dump_document({"loss": [0.25, 1e-05], "volatility": 3.65e-05})
    for stored, wanted in ((data, []), (data.replace(b",", b", ", 1), [key])):
        assert [each.key for each in verified(small()[1] | {key: stored}).differences] == wanted


def test_a_wrong_number_that_fits_the_form_is_named_with_the_right_one() -> None:
    contents = dict(small()[1])
    lines = contents["portfolio_value_log.jsonl"].splitlines(keepends=True)
    value = load_document(lines[4])["portfolio_value"]
    lines[4] = lines[4].replace(str(value).encode(), str(value + 1).encode())
    contents["portfolio_value_log.jsonl"] = b"".join(lines)
    found = " ".join(difference.what for difference in verified(contents).differences)
    assert f"portfolio value {value + 1}, recomputed {value}" in found


def test_other_capital_in_the_settings_is_a_difference_and_not_a_crash() -> None:
    parts, contents = small()
    other = Parts(parts.market, MemoryStore(), parts.clock, initial_capital=Decimal(2_000_000))
    for key, data in contents.items():
        other.store.write(key, data)
    found = verify(other.desk()).differences
    assert any(d.key.endswith("000000000000.json") and "the settings say 2000000" in d.what for d in found)


def test_verify_of_an_empty_store_writes_nothing_and_finds_nothing() -> None:
    parts = Parts(market_of({"BTCUSDT": "1"}), MemoryStore())
    assert verify(parts.desk()) == Report(0, 0, 0, 0, ())
    assert isinstance(parts.store, MemoryStore)
    assert parts.store.contents() == {}


def test_verify_in_the_middle_of_a_rebalance_finds_nothing_wrong_with_it() -> None:
    from assets.desk.rebalance import (
        execute_orders,
        freeze_pre_execution,
        parse_daily_csv,
        plan_sized_orders,
        publish_executed,
        rebaseline,
    )

    parts = Parts(market_of({"BTCUSDT": "90000", "ETHUSDT": "3000"}), MemoryStore())
    parts.tick()
    parts.clock.sleep(60)
    parts.drop(file_name(parts.clock.now()), signal_csv({"BTC_USDT": ("1", 1), "ETH_USDT": ("-1", -1)}))
    (rebalance_id,) = parts.detect()
    for step in (
        parse_daily_csv, freeze_pre_execution, plan_sized_orders, execute_orders, rebaseline, publish_executed,
    ):  # fmt: skip
        step(parts.desk(), rebalance_id)
        assert verify(parts.desk()).differences == (), step.__name__


def test_a_day_that_another_version_of_the_writer_compacted_is_compared_by_its_values() -> None:
    import io

    import pyarrow.parquet as pq

    contents = dict(small()[1])
    key = next(key for key in contents if key.startswith("history/portfolio_value/"))
    table = pq.read_table(io.BytesIO(contents[key]))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy")
    contents[key] = buffer.getvalue()
    assert [d.key for d in verified(contents).differences] == [key]
    contents[key] = contents[key].replace(b"parquet-cpp-arrow version", b"parquet-cpp-other version")
    assert verified(contents).differences == ()


def test_a_day_missing_between_compacted_ones_is_found() -> None:
    contents = dict(small()[1])
    days = sorted(key for key in contents if key.startswith("history/portfolio_value/"))
    del contents[days[0]]
    assert [d.key for d in verified(contents).differences] == [days[0]]


def test_every_exempt_span_occurs_so_that_no_exemption_outlives_its_reason() -> None:
    contents = small()[1]
    for keys, spans, why in EXEMPT:
        if keys == "forced/":
            continue
        assert any(re.match(keys, key) and re.search(spans, data) for key, data in contents.items()), why
