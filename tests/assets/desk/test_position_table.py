from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.precision import EXACT
from assets.desk.position_table import block, net_exposure, position_rows

D = Decimal

BASELINE: dict[str, Any] = {
    "positions": {"BTCUSDT": D("0.5"), "ETHUSDT": D("-10"), "OLDUSDT": D("3")},
    "prices": {"BTCUSDT": D("90000"), "ETHUSDT": D("3000"), "OLDUSDT": D("7"), "XRPUSDT": D("2")},
}
PRICES: dict[str, Any] = {
    "prices": {"BTCUSDT": D("91000"), "ETHUSDT": D("3030"), "OLDUSDT": D("6"), "XRPUSDT": D("2.1")},
    "refused": {"ETHUSDT": "stale_mark"},
}
PRE_EXECUTION: dict[str, Any] = {
    "rows": [
        {"symbol": "BTCUSDT", "status": "kept", "target_notional": D("45010")},
        {"symbol": "ETHUSDT", "status": "kept", "target_notional": D("30020")},
        {"symbol": "XRPUSDT", "status": "dropped", "target_notional": D("4")},
        {"symbol": "OLDUSDT", "status": "not_in_csv", "target_notional": 0},
        {"symbol": "GONEUSDT", "status": "not_in_csv", "target_notional": 0},
    ]
}
VALUE = D("100000")


def rows() -> dict[str, Any]:
    return {row.symbol: row for row in position_rows(BASELINE, PRICES, PRE_EXECUTION, VALUE)}


def test_a_row_states_its_formulas() -> None:
    btc = rows()["BTCUSDT"]
    assert (btc.side, btc.pnl, btc.weight) == (1, D("500.0"), D("0.455"))
    assert btc.pnl_pct == D("0.0111111111111")
    eth = rows()["ETHUSDT"]
    assert (eth.side, eth.pnl, eth.weight, eth.pnl_pct) == (-1, D("-300"), D("-0.303"), D("-0.01"))
    assert eth.stale == "stale_mark"
    assert not eth.missing


def test_csv_symbols_without_a_position_show_zero_and_hold_overs_are_marked() -> None:
    table = rows()
    assert table["XRPUSDT"].pnl == 0
    assert table["XRPUSDT"].in_csv
    assert not table["OLDUSDT"].in_csv
    assert table["OLDUSDT"].target_notional is None
    assert table["OLDUSDT"].pnl == -3
    assert "GONEUSDT" not in table


@pytest.mark.parametrize(("missing_from", "reason"), [("prices", "no_mark"), ("baseline", "no_baseline")])
def test_a_missing_price_is_missing_with_its_reason_never_zero(missing_from: str, reason: str) -> None:
    baseline, prices = ({**BASELINE, "prices": dict(BASELINE["prices"])}, {**PRICES, "prices": dict(PRICES["prices"])})
    del (prices if missing_from == "prices" else baseline)["prices"]["BTCUSDT"]
    table = position_rows(baseline, prices, PRE_EXECUTION, VALUE)
    btc = next(row for row in table if row.symbol == "BTCUSDT")
    assert btc.pnl is None
    assert btc.missing == reason
    assert block(table, 1).unvalued == ("BTCUSDT",)
    assert (net_exposure(table, VALUE) is None) == (reason == "no_mark")


def test_blocks_and_net_exposure() -> None:
    table = list(rows().values())
    long, short = block(table, 1), block(table, -1)
    assert (long.count, long.notional, long.pnl) == (2, D("45518"), D("497"))
    assert (short.count, short.notional, short.pnl) == (1, D("30300"), D("-300"))
    assert net_exposure(table, VALUE) == D("0.15218")
    assert net_exposure(table, None) is None


def test_without_documents_there_are_no_rows() -> None:
    assert position_rows(None, None, None, None) == []
    only_signal = position_rows(None, PRICES, PRE_EXECUTION, None)
    assert {row.side for row in only_signal} == {0}


amounts = st.decimals(min_value=D("1e-9"), max_value=D("1e6"), allow_nan=False, places=9)
quantities = st.decimals(min_value=D("-1e9"), max_value=D("1e9"), allow_nan=False, places=6)


@given(st.dictionaries(st.sampled_from([f"S{i}USDT" for i in range(30)]), st.tuples(quantities, amounts, amounts)))
def test_the_rows_add_up_to_the_daily_pnl_and_satisfy_the_briefs_formula(book: dict[str, tuple[D, D, D]]) -> None:
    baseline = {"positions": {s: q for s, (q, _, _) in book.items()}, "prices": {s: b for s, (_, b, _) in book.items()}}
    prices = {"prices": {s: m for s, (_, _, m) in book.items()}}
    table = position_rows(baseline, prices, None, VALUE)
    with localcontext(EXACT):
        value_at = {which: sum((q * pair[which] for q, *pair in book.values()), D(0)) for which in (0, 1)}
        assert sum((row.pnl for row in table if row.pnl is not None), D(0)) == value_at[1] - value_at[0]
    for row in table:
        notional = abs(row.quantity * row.baseline)
        brief = row.side * (row.mark - row.baseline) / row.baseline * notional
        assert abs(brief - row.pnl) <= abs(row.pnl) * D("1e-20") + D("1e-20")
