"""Foreign reports: the brief's own sample and every impossible thing seen, each flagged; a true report is not."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.backtest.engine import BacktestEngine, Signal
from assets.telemetry.backtest.importer import Imported, import_report
from assets.telemetry.backtest.report import EQUITY, RESULTS, SIGNALS, TRADES, report_files
from resources.documents import sha256_hex
from tests.assets.telemetry.backtest.path_market import MINUTE, START, PathMarket, venue

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)

# Brief 4, its samples as they stand there.
BRIEF = {
    EQUITY: b"""datetime,equity,cash
2025-05-24 12:00:00+00:00,10000.0,10000.0
2025-05-24 16:00:00+00:00,10000.0,10000.0
2025-05-24 20:00:00+00:00,10000.0,10000.0
2025-05-25 00:00:00+00:00,10000.0,10000.0
2025-05-25 04:00:00+00:00,10000.0,10000.0
""",
    TRADES: b"""symbol,side,qty,price,fee,strategy,cost,proceeds
BTC/EUR,buy,0.006540804138365035,91731.84019999999,1.5599999999999998,trend_following,601.56,
BTC/USD,buy,0.0055268541719740594,108560.85239999999,1.5599999999999998,trend_following,601.56,
ETH/USD,buy,0.23964521005941128,2503.7011999999995,1.5599999999999998,trend_following,601.56,
BTC/USD,sell,0.0055268541719740594,107013.17970000001,1.5377602205710024,trend_following,,589.9084784605838
ETH/USD,sell,0.23964521005941128,2421.75582,1.5089416737109045,trend_following,,578.8532405227909
""",
    RESULTS: b"""{
  "total_return": 0.39, "sharpe_ratio": 0.011, "max_drawdown": -1.41, "final_equity": 10038.55,
  "start_value": 10000.0, "volatility": 4.02, "total_trades": 51, "total_signals": 51,
  "signal_to_trade_ratio": 1.0, "win_rate": 28.0
}""",
}


def test_the_brief_s_sample_has_the_flags_it_deserves_and_no_others() -> None:
    imported = import_report(BRIEF, NOW)
    assert {(flag.file, flag.code): dict(flag.numbers) for flag in imported.flags} == {
        (SIGNALS, "file_missing"): {},
        (TRADES, "trades_without_time"): {"rows": 5},
        (TRADES, "trades_without_id"): {"rows": 5},
        (TRADES, "mixed_quote_currencies"): {"EUR": 1, "USD": 4},
        (TRADES, "row_count"): {"rows": 5, "stated": 51, "figure": "total_trades"},
        (RESULTS, "annualisation_unstated"): {"sharpe_ratio": Decimal("0.011")},
        (RESULTS, "win_rate_denominator"): {
            "win_rate": Decimal("28.0"), "total_trades": 51, "fits": "7 of 25 round trips",
        },
        # An excerpt of the curve: it ends before anything was earned or lost.
        (RESULTS, "final_equity_vs_curve"): {
            "figure": "final_equity", "stated": Decimal("10038.55"), "computed": Decimal("10000.000000"),
        },
        (RESULTS, "drawdown_vs_curve"): {
            "figure": "max_drawdown", "stated": Decimal("-1.41"), "computed": Decimal("0.000000"),
        },
        (EQUITY, "equity_constant"): {
            "points": 5, "equity": Decimal("10000.0"), "stated": "total_return, volatility, max_drawdown",
        },
    }  # fmt: skip
    assert all(flag.line is None for flag in imported.flags)
    assert [imported.accepted(file) for file in (EQUITY, TRADES)] == [5, 5]


def figures(**changes: Any) -> dict[str, bytes]:
    return {RESULTS: json.dumps(json.loads(BRIEF[RESULTS]) | changes).encode()}


IN_EVERY_SAMPLE = {"file_missing", "annualisation_unstated", "win_rate_denominator"}


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, set()),
        ({"total_return": 249.43, "final_equity": 10221.02}, {"return_vs_final_equity"}),
        (
            {"total_return": -99.91, "final_equity": 9.0, "sharpe_ratio": 4.41, "max_drawdown": -100},
            {"sharpe_sign"},
        ),
        (
            {"total_return": -0.23, "final_equity": 9977.0, "sharpe_ratio": 1.16, "max_drawdown": -99.21},
            {"sharpe_sign", "drawdown_vs_return"},
        ),
        ({"total_return": -5.0, "final_equity": 9500.0, "sharpe_ratio": -1}, {"drawdown_smaller_than_loss"}),
        ({"total_return": -1.4, "final_equity": 9860.0, "sharpe_ratio": -1}, set()),
        ({"max_drawdown": -100.5}, {"out_of_range"}),
        ({"max_drawdown": 1.41}, set()),
        ({"win_rate": 101.0}, {"out_of_range"}),
        ({"volatility": -4.0}, {"out_of_range"}),
        ({"volatility": 0}, {"no_volatility"}),
        ({"start_value": 0}, {"out_of_range"}),
        ({"win_rate": 28.4}, {"win_rate_impossible"}),
        ({"win_rate": 51.2}, {"win_rate_impossible"}),
        ({"win_rate": 50.98039}, set()),
        ({"signal_to_trade_ratio": 2.0}, {"signal_to_trade_ratio"}),
        ({"total_trades": 0}, {"result_without_trades"}),
        ({"total_trades": 5.5}, {"out_of_range"}),
        ({"sharpe_ratio": "high"}, {"not_a_number"}),
        ({"annualisation": {"days_per_year": 365}}, set()),
    ],
)
def test_figures_that_contradict_each_other(changes: dict[str, Any], codes: set[str]) -> None:
    found = {flag.code for flag in import_report(figures(**changes), NOW).flags}
    assert found - IN_EVERY_SAMPLE == codes


def test_a_total_loss_that_was_none_is_flagged_where_digits_allow() -> None:
    found = import_report(figures(total_return=-99.91, final_equity=9.0, max_drawdown=-100.001), NOW)
    assert "out_of_range" in {flag.code for flag in found.flags}
    (flag,) = (
        flag
        for flag in import_report(
            {RESULTS: figures(total_return=-99.91)[RESULTS].replace(b"-1.41", b"-100.00")}, NOW
        ).flags
        if flag.code == "drawdown_vs_return"
    )
    assert flag.numbers["factor"] == Decimal("18.00")


def test_identical_rows_of_a_sweep_are_flagged() -> None:
    one = json.loads(BRIEF[RESULTS])
    sweep = {RESULTS: json.dumps([one] * 8 + [one | {"win_rate": 36.0}]).encode()}
    (flag,) = (flag for flag in import_report(sweep, NOW).flags if flag.code == "results_repeated")
    assert dict(flag.numbers) == {"identical": 8, "of": 9}
    assert "results_repeated" not in {flag.code for flag in import_report(figures(), NOW).flags}


def curve(*rows: str) -> list[tuple[str, int | None]]:
    text = "\n".join(["datetime,equity,cash", *rows]) + "\n"
    return [(flag.code, flag.line) for flag in import_report({EQUITY: text.encode()}, NOW).flags if flag.file == EQUITY]


@pytest.mark.parametrize(
    ("rows", "flags"),
    [
        (["2025-01-01 00:00:00+00:00,1,1", "2025-01-02 00:00:00+00:00,1,1"], []),
        (["2025-01-01 00:00:00,1,1"], [("naive_time", 2)]),
        (["2025-01-01T00:00:00Z,1,1", "2025-01-01T00:00:00Z,2,2"], [("duplicate_time", 3)]),
        (["2025-01-02T00:00:00Z,1,1", "2025-01-01T00:00:00Z,2,2"], [("time_backwards", 3)]),
        (["2026-12-01T00:00:00Z,1,1"], [("future_time", 2)]),
        (["soon,1,1"], [("bad_time", 2)]),
        (["2025-01-01T00:00:00Z,,1"], [("number_missing", 2)]),
        (["2025-01-01T00:00:00Z,1,1e"], [("not_a_number", 2)]),
        (["2025-01-01T00:00:00Z,0.00,0"], [("equity_not_positive", 2)]),
        (["2025-01-01T00:00:00Z,1"], [("row_shape", 2), ("number_missing", 2)]),
        (["2025-01-01T00:00:00Z,1,1,9"], [("row_shape", 2)]),
        ([f"2025-01-01T0{hour}:00:00Z,1,1" for hour in (0, 1, 2, 5)], [("missing_rows", None)]),
        ([], [("no_rows", None)]),
    ],
)
def test_rows_of_a_curve(rows: list[str], flags: list[tuple[str, int | None]]) -> None:
    assert curve(*rows) == flags


def test_a_year_of_statements_with_a_doubled_and_a_missing_month() -> None:
    months = [1, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    rows = [f"2024-{month:02d}-{10 + number:02d}T00:00:00Z,1,1" for number, month in enumerate(months)]
    assert curve(*rows) == [("month_repeated", 4), ("month_missing", None)]


def test_a_year_of_statements_that_runs_backwards() -> None:
    rows = [f"2024-{month:02d}-01T00:00:00Z,{1000 + month},1" for month in range(12, 0, -1)]
    assert curve(*rows) == [("time_backwards", line) for line in range(3, 14)]


def test_a_year_of_statements_in_order_is_not_flagged() -> None:
    assert curve(*(f"2024-{month:02d}-01T00:00:00Z,{1000 + month},1" for month in range(1, 13))) == []


GOOD_TRADES = (
    "BTC/USD,buy,1,100,0.26,trend,100.26,",
    "BTC/USD,sell,0.5,110,0.143,trend,,54.857",
    "ETH/USD,buy,2,50,0.26,trend,100.26,",
    "BTC/USD,sell,0.5,90,0.117,trend,,44.883",
)


@pytest.mark.parametrize(
    ("line", "row", "codes"),
    [
        (2, GOOD_TRADES[0], []),
        (2, "BTC/USD,buy,1,100,0.26,trend,100.00,", ["cost_identity"]),
        (2, "BTC/USD,buy,1,100,0.26,trend,100.3,", []),  # printed with one decimal
        (3, "BTC/USD,sell,0.5,110,0.143,trend,,55.143", ["proceeds_identity"]),
        (2, "BTC/USD,buy,1,100,0.26,trend,,", ["cost_missing"]),
        (2, "BTC/USD,buy,1,100,0.26,trend,100.26,5", ["amount_on_wrong_side"]),
        (3, "BTC/USD,sell,0.5,110,0.143,trend,,", ["proceeds_missing"]),
        (4, "ETH/USD,buy,0,50,0,trend,0,", ["not_positive"]),
        (4, "ETH/USD,buy,0.00,0.00,0,trend,0,", ["not_positive"]),
        (5, "BTC/USD,sell,0.75,90,0.1755,trend,,67.3245", ["sells_more_than_held"]),
        (5, "SOL/USD,sell,1,90,0.234,trend,,89.766", ["sells_more_than_held"]),
        (4, "ETH/USD,buy,2,50,1.26,trend,101.26,", ["fee_inconsistent"]),
        (4, "ETH/USD,buy,2,50,0,trend,100,", ["fee_inconsistent"]),
        (4, "ETH/USD,buy,2,50,-0.26,trend,99.74,", ["fee_negative", "fee_inconsistent"]),
        (4, "ETH/USD,hold,2,50,0.26,trend,100.26,", ["side_unknown"]),
        (4, ",buy,2,50,0.26,trend,100.26,", ["symbol_missing"]),
        (4, "ETH/USD,buy,two,50,0.26,trend,100.26,", ["not_a_number"]),
        (4, "ETH/USD,buy,2,nan,0.26,trend,100.26,", ["not_a_number"]),
        (4, GOOD_TRADES[0], ["row_repeated"]),
    ],
)
def test_rows_of_trades(line: int, row: str, codes: list[str]) -> None:
    rows = [*GOOD_TRADES]
    rows[line - 2] = row
    text = "\n".join(["symbol,side,qty,price,fee,strategy,cost,proceeds", *rows]) + "\n"
    imported = import_report({TRADES: text.encode()}, NOW)
    found = imported.rows[TRADES]
    assert list(found[line - 2].codes) == codes
    assert [each for each in found if each.codes and each.line != line] == []
    assert [",".join(each.values.values()) for each in found] == rows


def test_trades_with_times_and_ids_are_checked_by_them() -> None:
    text = "trade_id,timestamp,symbol,side,qty,price,fee,strategy,cost,proceeds\n"
    text += "1,2025-01-01T00:00:00Z,BTC/USD,buy,1,100,0,a,100,\n1,2025-01-01T00:00:00,BTC/USD,buy,1,100,0,a,100,\n"
    codes = [flag.code for flag in import_report({TRADES: text.encode()}, NOW).flags if flag.file == TRADES]
    assert codes == ["naive_time", "id_repeated"]


def own_report(signals: int = 24) -> dict[str, bytes]:
    """Ten days of a market that goes up and down, traded both ways."""
    minutes = 10 * 1440
    path: list[Decimal | None] = [Decimal(10_000 + (n * 7919) % 2500 - n // 60) / 100 for n in range(minutes + 1)]
    sides: tuple[Any, ...] = ("buy", "sell", "sell", "buy")
    given = [
        Signal(f"s{n}", START + (n + 1) * 9 * 60 * MINUTE, "BTC/USDT", sides[n % 4], "trend", Decimal("1.5"))
        for n in range(signals)
    ]
    engine = BacktestEngine(
        PathMarket({"BTCUSDT": path}), venue(), capital=Decimal(1000), currency="USDT", step=timedelta(hours=4)
    )
    return report_files(engine.run(given, START, START + minutes * MINUTE))


def test_our_own_report_has_no_flag() -> None:
    imported = import_report(own_report(), NOW)
    assert imported.flags == ()
    assert len(imported.rows[TRADES]) == 24


def edited(name: str, change: Callable[[dict[str, Any]], None]) -> Imported:
    """Our own report with its figures changed and its hashes made to fit."""
    files = own_report()
    document = json.loads(files[RESULTS], parse_float=Decimal)
    change(document)
    assert name == RESULTS
    return import_report(files | {RESULTS: json.dumps(document, default=float).encode()}, NOW)


@pytest.mark.parametrize(
    ("figure", "value", "code"),
    [
        ("sharpe_ratio", 4.41, "sharpe_vs_curve"),
        ("volatility", 1.0, "volatility_vs_curve"),
        ("max_drawdown", -90.0, "drawdown_vs_curve"),
        ("final_equity", 2000.0, "final_equity_vs_curve"),
        ("final_equity", 2000.0, "trades_vs_final_equity"),
        ("funding", 1.0, "trades_vs_final_equity"),
        ("points", 365, "row_count"),
        ("total_signals", 720, "row_count"),
        ("period", {"start": "2025-01-01T00:00:00+00:00", "end": "2026-01-01T00:00:00+00:00"}, "period"),
        ("win_rate", 61.3, "win_rate_impossible"),
        ("trade_rows", [], "trades_without_time"),
        ("currency", "EUR", "mixed_quote_currencies"),
    ],
)
def test_a_changed_figure_is_found_by_the_rows(figure: str, value: Any, code: str) -> None:
    imported = edited(RESULTS, lambda document: document.update({figure: value}))
    assert code in {flag.code for flag in imported.flags}


@pytest.mark.parametrize("name", [EQUITY, TRADES, SIGNALS])
def test_one_changed_byte_is_found_by_its_hash(name: str) -> None:
    files = own_report()
    data = files[name]
    place = data.rindex(b"trend") if name != EQUITY else data.rindex(b"+00:00") + 1
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert ("sha256_differs", name) in [
        (flag.code, flag.file) for flag in import_report(files | {name: changed}, NOW).flags
    ]


cells = st.one_of(
    st.sampled_from(
        ["", "buy", "sell", "BTC/USD", "BTC/EUR", "1", "0.00", "-5", "nan", "1e999999", "2025-01-01T00:00:00Z",
         "2025-01-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "trend", "1e30", "1e-30", "٣", "601.56"]
    ),
    st.text(max_size=6),
)  # fmt: skip
tables = st.lists(st.lists(cells, min_size=1, max_size=9), max_size=8)
headers = st.sampled_from(
    [
        "symbol,side,qty,price,fee,strategy,cost,proceeds", "datetime,equity,cash",
        "timestamp,id,symbol,side,qty,price", "a,a,b",
    ]
)  # fmt: skip
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["total_return", "sharpe_ratio", "max_drawdown", "final_equity", "start_value", "win_rate", "total_trades",
             "total_signals", "round_trips", "closed", "period", "start", "sha256", EQUITY, "annualisation",
             "held_value", "trade_rows", "currency", "net_flows", "volatility", "signal_to_trade_ratio"]
        ),
        inner, max_size=9,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=120)
@given(headers, tables, headers, tables, jsons)
def test_whatever_comes_in_comes_out(
    first: str, equity: list[list[str]], second: str, trades: list[list[str]], results: Any
) -> None:
    """Count in = count out, cell by cell, whatever the files hold; and nothing raises."""

    def table(header: str, rows: list[list[str]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([header.split(","), *rows])
        return text.getvalue().encode("utf-8", "surrogatepass")

    files = {EQUITY: table(first, equity), TRADES: table(second, trades), RESULTS: json.dumps(results).encode()}
    imported = import_report(files, NOW)
    document = imported.document()
    for name, rows in ((EQUITY, equity), (TRADES, trades)):
        if name not in imported.rows:
            assert "unreadable" in {flag.code for flag in imported.flags if flag.file == name}
            continue
        assert [list(row.values.values()) for row in imported.rows[name]] == rows
        stored = document["files"][name]
        assert stored["rows"] == len(rows) == len(stored["accepted"]) + len(stored["flagged"])
        lines = [row["line"] for row in [*stored["accepted"], *stored["flagged"]]]
        assert len(set(lines)) == len(lines)
        assert stored["sha256"] == sha256_hex(files[name])


@settings(max_examples=60)
@given(st.binary(max_size=60), st.sampled_from([EQUITY, TRADES, SIGNALS, RESULTS]))
def test_bytes_of_anything_are_flagged_not_raised(data: bytes, name: str) -> None:
    imported = import_report({name: data}, NOW)
    assert imported.flags
    assert imported.sha256 == {name: sha256_hex(data)}
