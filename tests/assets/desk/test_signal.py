"""The daily CSV: one test for each input rule of reference/trading.md 3.4 that concerns reading the file."""

import pickle
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.desk import signal as signal_module
from assets.desk.signal import (
    MAX_PROBLEMS,
    Problem,
    Signal,
    SignalRejected,
    SignalRow,
    from_report,
    has_unit_mismatch,
    parse_signal,
    rebalance_id_of,
    report,
    stem_of,
    trading_day_of_name,
)
from resources.documents import dump_document, load_document, sha256_hex

NAME = "lpxd_external_advisors_DF_20250915-2355.csv"
HEADER = "ticker,target_notional,target_contracts"
REAL = (
    "id_specific,extra_key,value_ts,strategy,internal_code,ric,ticker,target_notional,currency,target_contracts,"
    "ref_price,advisor_name\n"
    "DF,dfilabs_BTC_USDT,2025-09-15 23:55,dfilabs,Binance Linear_BTC_USDT_FUTPERP,BTC_USDT,BTC_USDT,"
    "102366.94468783143,USD,1,115344.0,DFI Labs\n"
    "DF,dfilabs_ETH_USDT,2025-09-15 23:55,dfilabs,Binance Linear_ETH_USDT_FUTPERP,ETH_USDT,ETH_USDT,"
    "-41690.42193854695,USD,-1,4522.61,DFI Labs\n"
)


def csv_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join((header, *rows, "")).encode()


def parse(*rows: str, header: str = HEADER, **options: Any) -> Signal:
    return parse_signal(csv_of(*rows, header=header), NAME, **options)


def reasons(data: bytes | Sequence[str], filename: str = NAME, **options: Any) -> list[Problem]:
    content = data if isinstance(data, bytes) else csv_of(*data)
    with pytest.raises(SignalRejected) as caught:
        parse_signal(content, filename, **options)
    assert caught.value.reasons
    return list(caught.value.reasons)


def codes(data: bytes | Sequence[str], filename: str = NAME, **options: Any) -> list[str]:
    return [problem.code for problem in reasons(data, filename, **options)]


def notices(signal: Signal) -> list[str]:
    return [notice.code for notice in signal.notices]


# --- an accepted file -------------------------------------------------------------------------------------------------


def test_the_real_form_is_read_field_by_field() -> None:
    signal = parse_signal(REAL.encode(), NAME)
    assert signal.rows == (
        SignalRow(2, "dfilabs", "BTC_USDT", Decimal("102366.94468783143"), Decimal(1), 1, Decimal("115344.0")),
        SignalRow(3, "dfilabs", "ETH_USDT", Decimal("-41690.42193854695"), Decimal(-1), -1, Decimal("4522.61")),
    )
    assert signal.gross_base == Decimal("144057.36662637838")
    assert signal.trading_day == date(2025, 9, 15)
    assert signal.notices == ()
    assert signal.filename == NAME
    assert signal.stem == "lpxd_external_advisors_DF_20250915-2355"
    assert signal.sha256 == sha256_hex(REAL.encode())
    assert signal.rebalance_id == f"{signal.stem}-{signal.sha256[:12]}" == rebalance_id_of(NAME, signal.sha256)


def test_only_the_three_named_columns_are_required() -> None:
    signal = parse("BTC_USDT,100,1", "ETH_USDT,-50.5,-1")
    assert [(row.ticker, row.notional, row.side, row.strategy, row.ref_price) for row in signal.rows] == [
        ("BTC_USDT", Decimal(100), 1, "", None),
        ("ETH_USDT", Decimal("-50.5"), -1, "", None),
    ]
    assert signal.gross_base == Decimal("150.5")


def test_columns_may_come_in_any_order_and_case() -> None:
    signal = parse("1,BTC_USDT,7", header="Target_Contracts, TICKER ,target_notional")
    assert (signal.rows[0].ticker, signal.rows[0].notional) == ("BTC_USDT", Decimal(7))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: b'"' + data.replace(b",", b'","').replace(b"\n", b'"\n"')[:-1],
        lambda data: data.replace(b",", b" , "),
        lambda data: b"\n\n" + data + b"\n\r\n",
        lambda data: data.replace(b"BTC_USDT,", b'"BTC_USDT",'),
    ],
    ids=["bom", "crlf", "cr", "quoted", "spaces", "blank lines", "partly quoted"],
)
def test_the_way_a_table_is_written_does_not_matter(rewrite: Callable[[bytes], bytes]) -> None:
    written = parse_signal(rewrite(REAL.encode()), NAME)
    plain = parse_signal(REAL.encode(), NAME)
    assert [(row.ticker, row.notional, row.side, row.ref_price) for row in written.rows] == [
        (row.ticker, row.notional, row.side, row.ref_price) for row in plain.rows
    ]
    assert written.notices == ()


def test_a_missing_final_newline_is_accepted_with_a_notice() -> None:
    signal = parse_signal(REAL.encode()[:-1], NAME)
    assert len(signal.rows) == 2
    assert notices(signal) == ["no_final_newline"]


def test_unknown_extra_columns_are_ignored_with_a_notice() -> None:
    signal = parse("0,BTC_USDT,100,1,x", header=f",{HEADER},colour")
    assert [(notice.column, notice.code) for notice in signal.notices] == [
        ("", "unknown_column"),
        ("colour", "unknown_column"),
    ]


# --- target_contracts and target_notional -----------------------------------------------------------------------------


def test_contracts_and_notional_of_zero_are_an_explicit_flat_row() -> None:
    signal = parse("BTC_USDT,100,1", "ETH_USDT,0,0")
    assert (signal.rows[1].side, signal.rows[1].direction_unknown) == (0, False)
    assert signal.gross_base == 100


def test_contracts_of_zero_with_a_notional_keep_their_weight_without_a_side() -> None:
    signal = parse("BTC_USDT,99,1", "ETH_USDT,-1,0")
    assert (signal.rows[1].side, signal.rows[1].direction_unknown) == (0, True)
    assert signal.gross_base == 100


def test_more_than_one_percent_without_direction_quarantines_the_file() -> None:
    (problem,) = reasons(["BTC_USDT,98.99,1", "ETH_USDT,0.5,0", "XRP_USDT,-0.51,0"])
    assert (problem.row, problem.column, problem.code) == (3, "target_contracts", "direction_unknown")
    assert "1.01 of 100.00" in problem.message


def test_positive_notional_with_negative_contracts_is_a_short() -> None:
    assert parse("BTC_USDT,100,-3").rows[0].side == -1


def test_negative_notional_with_positive_contracts_quarantines_the_file() -> None:
    (problem,) = reasons(["BTC_USDT,100,1", "ETH_USDT,-100,1"])
    assert (problem.row, problem.column, problem.code) == (3, "target_notional", "sign_contradiction")


def test_negative_notional_with_negative_contracts_counts_by_its_magnitude() -> None:
    signal = parse("BTC_USDT,-100,-1")
    assert (signal.rows[0].side, signal.rows[0].notional, signal.gross_base) == (-1, -100, 100)


def test_contracts_without_a_notional_are_flat_with_a_notice() -> None:
    signal = parse("BTC_USDT,100,1", "ETH_USDT,0,1")
    assert signal.rows[1].side == 0
    assert notices(signal) == ["zero_notional"]


def test_a_file_of_flat_rows_is_rejected_unless_allowed() -> None:
    rows = ["BTC_USDT,0,0", "ETH_USDT,0,0"]
    assert codes(rows) == ["all_flat"]
    signal = parse(*rows, allow_flat=True)
    assert signal.gross_base == 0
    assert [row.side for row in signal.rows] == [0, 0]


# --- duplicates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["BTC_USDT", "BTCUSDT", "btc_usdt", " BTC_USDT", "B_T_C_USDT"])
def test_a_duplicate_ticker_after_normalisation_is_rejected(second: str) -> None:
    (problem,) = reasons(["BTC_USDT,100,1", "ETH_USDT,100,1", f"{second},50,1"])
    assert (problem.row, problem.column, problem.code) == (4, "ticker", "duplicate_ticker")
    assert "rows 2, 4" in problem.message


def test_several_strategies_naming_one_ticker_are_rejected_by_default() -> None:
    assert codes(csv_of("a,BTC_USDT,100,1", "b,BTC_USDT,50,1", header=f"strategy,{HEADER}")) == ["duplicate_ticker"]


def test_net_adds_signed_notionals_before_the_gross_base() -> None:
    signal = parse(
        "a,BTC_USDT,100,1,50000",
        "a,ETH_USDT,-30,-1,3000",
        "b,BTCUSDT,40,-2,50001",
        header=f"strategy,{HEADER},ref_price",
        duplicates="net",
    )
    btc, eth = signal.rows
    assert (btc.line, btc.strategy, btc.ticker, btc.notional, btc.contracts, btc.side, btc.ref_price) == (
        2, "a+b", "BTC_USDT", 60, 1, 1, None,
    )  # fmt: skip
    assert [(row.line, row.strategy, row.notional, row.ref_price) for row in btc.netted] == [
        (2, "a", 100, 50000),
        (4, "b", 40, 50001),
    ]
    assert eth.netted == ()
    assert signal.gross_base == 90


def test_net_leaves_a_file_without_duplicates_as_it_is() -> None:
    assert parse_signal(REAL.encode(), NAME, duplicates="net") == parse_signal(REAL.encode(), NAME)


def test_net_to_nothing_is_a_flat_row() -> None:
    rows = ["a,BTC_USDT,100,1", "b,BTC_USDT,100,-1"]
    header = f"strategy,{HEADER}"
    signal = parse(*rows, "a,ETH_USDT,1,1", header=header, duplicates="net")
    assert (signal.rows[0].notional, signal.rows[0].side, signal.gross_base) == (0, 0, 1)
    assert codes(csv_of(*rows, header=header), duplicates="net") == ["all_flat"]


def test_a_row_without_direction_cannot_be_netted() -> None:
    data = csv_of("a,BTC_USDT,100000,1", "b,BTC_USDT,1,0", header=f"strategy,{HEADER}")
    (problem,) = reasons(data, duplicates="net")
    assert (problem.row, problem.column, problem.code) == (3, "target_contracts", "direction_unknown")


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        (["a,BTC_USDT,100,1"], {"a": "1"}),
        (["a,BTC_USDT,75,1", "b,BTC_USDT,25,1"], {"a": "0.75", "b": "0.25"}),
        (["a,BTC_USDT,100,1", "b,BTC_USDT,40,-1"], {"a": "1.666666666667", "b": "-0.666666666667"}),
        (["a,BTC_USDT,1,1", "b,BTC_USDT,1,1", "c,BTC_USDT,1,1"],
         {"a": "0.333333333333", "b": "0.333333333333", "c": "0.333333333334"}),
        (["a,BTC_USDT,10,1", "a,BTC_USDT,30,1", "b,BTC_USDT,40,1"], {"a": "0.5", "b": "0.5"}),
        (["a,BTC_USDT,30,1", "b,BTC_USDT,10,-1", "b,BTC_USDT,20,-1"], {"a": "0.5", "b": "0.5"}),
        (["a,BTC_USDT,0,0", "b,BTC_USDT,0,0"], {"a": "0.5", "b": "0.5"}),
    ],
)  # fmt: skip
def test_fills_can_be_attributed_to_the_strategies(rows: list[str], shares: dict[str, str]) -> None:
    signal = parse(*rows, "z,ETH_USDT,5,1", header=f"strategy,{HEADER}", duplicates="net")
    assert signal.rows[0].strategies == {name: Decimal(share) for name, share in shares.items()}
    assert sum(signal.rows[0].strategies.values()) == 1


def test_an_unknown_duplicates_rule_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="duplicates must be"):
        parse("BTC_USDT,100,1", duplicates="first")


# --- tables that are not one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [csv_of(), REAL.splitlines()[0].encode(), csv_of("", "\r")])
def test_a_file_without_rows_is_rejected(data: bytes) -> None:
    assert codes(data) == ["no_rows"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"\xef\xbb\xbf", b"BTC_USDT,100,1\n", b"ticker;target_notional;target_contracts\n", b"hello"],
)
def test_a_file_without_a_header_is_rejected(data: bytes) -> None:
    assert codes(data) == ["missing_header"]


@pytest.mark.parametrize("missing", ["ticker", "target_notional", "target_contracts"])
def test_a_missing_column_is_named(missing: str) -> None:
    names = [name for name in HEADER.split(",") if name != missing]
    (problem,) = reasons(csv_of("1,1", header=",".join(names)))
    assert (problem.column, problem.code) == (missing, "missing_column")


def test_the_later_format_with_weights_is_rejected_by_its_columns() -> None:
    found = reasons(csv_of("BTC_USDT,−5 %", header="ticker,target_weight"))
    assert [(problem.column, problem.code) for problem in found] == [
        ("target_notional", "missing_column"),
        ("target_contracts", "missing_column"),
    ]


def test_a_column_named_twice_is_rejected() -> None:
    (problem,) = reasons(csv_of("BTC_USDT,1,1,2", header=f"{HEADER},target_notional"))
    assert (problem.column, problem.code) == ("target_notional", "duplicate_column")


@pytest.mark.parametrize("row", ["BTC_USDT,100", "BTC_USDT,1,000,1", "BTC_USDT", "BTC_USDT,100,1,"])
def test_a_row_with_another_number_of_fields_is_rejected(row: str) -> None:
    (problem,) = reasons(["ETH_USDT,1,1", row])
    assert (problem.row, problem.code) == (3, "field_count")


@pytest.mark.parametrize("row", ['"BTC_USDT,100,1', '"BTC"_USDT,100,1', 'BTC_USDT,100,"1'])
def test_broken_quoting_is_rejected(row: str) -> None:
    assert codes(csv_of(row)) == ["malformed_csv"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (REAL.encode("utf-16"), "binary"),
        (REAL.encode().replace(b"dfilabs", b"df\0labs"), "binary"),
        (b"PK\x03\x04\x14\x00\x00\x00", "binary"),
        (REAL.replace("DFI Labs", "Société").encode("latin-1"), "not_utf8"),
        (b"\x1f\x8b\x08\x01\xff", "not_utf8"),
    ],
)
def test_other_encodings_and_binaries_are_rejected(data: bytes, code: str) -> None:
    assert codes(data) == [code]


def test_a_huge_file_field_line_or_row_count_is_rejected() -> None:
    assert codes(b"x" * (signal_module.MAX_BYTES + 1)) == ["huge_file"]
    assert codes([f"BTC_USDT,{'1' * 1_001},1"]) == ["huge_field"]
    assert codes(["," * 20_000]) == ["huge_line"]
    assert codes([f"C{i}_USDT,1,1" for i in range(signal_module.MAX_ROWS + 1)]) == ["too_many_rows"]
    assert len(parse(*[f"C{i}_USDT,1,1" for i in range(signal_module.MAX_ROWS)]).rows) == signal_module.MAX_ROWS


# --- fields that are not one ------------------------------------------------------------------------------------------


NOT_NUMBERS = [
    ("NaN", "not_finite"),
    ("inf", "not_finite"),
    ("-Infinity", "not_finite"),
    ('"1,000"', "thousands_separator"),
    ("1 000", "thousands_separator"),
    ("5%", "percent"),
    ("−5", "unicode_minus"),
    ("1e999999", "out_of_range"),
    ("1e-999999", "out_of_range"),
    ("abc", "not_a_number"),
    ("", "blank"),
    ("  ", "blank"),
]


@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        (column, text, code)
        for column in ("target_notional", "target_contracts", "ref_price")
        for text, code in NOT_NUMBERS
        if (column, code) != ("ref_price", "blank")  # a row may have no reference price
    ],
)
def test_a_field_that_is_no_number_is_named_by_row_and_column(column: str, text: str, code: str) -> None:
    fields = {"ticker": "BTC_USDT", "target_notional": "100", "target_contracts": "1", "ref_price": "5"} | {
        column: text
    }
    header = ",".join(fields)
    (problem,) = reasons(csv_of("ETH_USDT,1,1,1", ",".join(fields.values()), header=header))
    assert (problem.row, problem.column, problem.code) == (3, column, code)
    assert "row 3" in problem.message


def test_plain_and_exponent_numbers_are_both_read() -> None:
    signal = parse("BTC_USDT,1.5e5,1.0", "ETH_USDT,+1E-3,+1", "XRP_USDT,.5,1.")
    assert [row.notional for row in signal.rows] == [150_000, Decimal("0.001"), Decimal("0.5")]


@pytest.mark.parametrize(
    ("ticker", "code"),
    [("", "blank"), ("BTC USDT", "bad_ticker"), ("___", "bad_ticker"), ("X" * 101, "bad_ticker"),
     ('"BTC\nUSDT"', "bad_ticker"), ("BTC\u200b_USDT", "bad_ticker"), ("BTC\u00a0USDT", "bad_ticker")],
)  # fmt: skip
def test_a_ticker_that_cannot_be_one_is_rejected(ticker: str, code: str) -> None:
    (problem,) = reasons([f"{ticker},1,1"])
    assert (problem.column, problem.code) == ("ticker", code)


def test_a_strategy_with_control_characters_is_rejected() -> None:
    (problem,) = reasons(csv_of("a\x1b[2J,BTC_USDT,1,1", header=f"strategy,{HEADER}"))
    assert (problem.row, problem.column, problem.code) == (2, "strategy", "bad_strategy")


def test_a_ticker_outside_ascii_is_kept_as_given() -> None:
    assert parse("测试测试_USDT,1,1").rows[0].ticker == "测试测试_USDT"


def test_every_problem_of_a_file_is_reported_at_once() -> None:
    found = reasons(["BTC_USDT,x,", ",1,1", "ETH_USDT,-1,1"])
    assert [(problem.row, problem.column, problem.code) for problem in found] == [
        (2, "target_notional", "not_a_number"),
        (2, "target_contracts", "blank"),
        (3, "ticker", "blank"),
        (4, "target_notional", "sign_contradiction"),
    ]


def test_a_thousand_problems_are_cut_to_a_hundred_and_a_count() -> None:
    found = reasons([f"C{i}_USDT,x,1" for i in range(1_000)])
    assert len(found) == MAX_PROBLEMS + 1
    assert (found[-1].code, found[-1].message) == ("more_findings", "and 900 more findings")


def test_a_rejection_reads_as_a_sentence_and_survives_a_process_border() -> None:
    with pytest.raises(SignalRejected) as caught:
        parse("BTC_USDT,x,y", "ETH_USDT,z,z")
    assert str(caught.value).startswith("row 2, target_notional: 'x' is not a decimal number; ")
    assert str(caught.value).endswith("; and 1 more")
    assert pickle.loads(pickle.dumps(caught.value)).reasons == caught.value.reasons


def test_notionals_in_two_currencies_cannot_be_added() -> None:
    header = f"{HEADER},currency"
    assert codes(csv_of("BTC_USDT,1,1,USD", "ETH_USDT,1,1,EUR", header=header)) == ["mixed_currencies"]
    assert len(parse("BTC_USDT,1,1,USD", "ETH_USDT,1,1,usd", "XRP_USDT,1,1,", header=header).rows) == 3


@pytest.mark.parametrize("text", ["0", "-5"])
def test_a_reference_price_that_is_no_price_is_ignored_with_a_notice(text: str) -> None:
    signal = parse(f"BTC_USDT,1,1,{text}", "ETH_USDT,1,1,", header=f"{HEADER},ref_price")
    assert [row.ref_price for row in signal.rows] == [None, None]
    assert notices(signal) == ["no_ref_price"]


# --- names and days ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filename", "day"),
    [
        ("lpxd_external_advisors_DF_20250915-2355.csv", date(2025, 9, 15)),
        ("20250915.csv", date(2025, 9, 15)),
        ("run-20250101_for-20250915-2355.csv", date(2025, 9, 15)),
        ("signal_20251332.csv", None),
        ("signal_202509150.csv", None),
        ("signal_19991231.csv", None),
        ("signal.csv", None),
        ("signal_２０２５０９１５.csv", None),
    ],
)
def test_the_trading_day_comes_from_the_file_name(filename: str, day: date | None) -> None:
    assert trading_day_of_name(filename) == day
    assert parse_signal(csv_of("BTC_USDT,1,1"), filename).trading_day == day


@pytest.mark.parametrize(
    ("filename", "stamps", "day", "noticed"),
    [
        ("s.csv", ["2025-09-15 23:55", "2025-09-15T23:55:00"], date(2025, 9, 15), []),
        ("s.csv", ["2025-09-15", ""], date(2025, 9, 15), []),
        ("s.csv", ["", ""], None, []),
        ("s.csv", ["2025-09-15", "2025-09-16"], None, ["value_ts_disagree"]),
        ("s.csv", ["yesterday", "2025-09-16"], date(2025, 9, 16), ["bad_value_ts"]),
        ("s_20250915.csv", ["2025-09-16", "2025-09-16"], date(2025, 9, 15), ["value_ts_differs"]),
        ("s_20250915.csv", ["2025-09-15", "2025-09-15"], date(2025, 9, 15), []),
    ],
)
def test_without_a_dated_name_the_trading_day_is_what_the_rows_agree_on(
    filename: str, stamps: list[str], day: date | None, noticed: list[str]
) -> None:
    data = csv_of(*(f"{stamp},C{i}_USDT,1,1" for i, stamp in enumerate(stamps)), header=f"value_ts,{HEADER}")
    signal = parse_signal(data, filename)
    assert (signal.trading_day, notices(signal)) == (day, noticed)


@pytest.mark.parametrize(
    "filename",
    ["", "a\nb.csv", "a\0b.csv", "a\tb.csv", "inbox/a.csv", "..\\a.csv", "x" * 256, "\udcff.csv", "a\u2028b.csv"],
)
def test_a_file_name_that_cannot_be_stored_is_rejected(filename: str) -> None:
    assert codes(csv_of("BTC_USDT,1,1"), filename) == ["bad_filename"]


@pytest.mark.parametrize(
    ("filename", "stem"),
    [
        (NAME, "lpxd_external_advisors_DF_20250915-2355"),
        ("Signal.CSV", "Signal"),
        ("no suffix", "no_suffix"),
        ("a, b (copy).csv", "a_b_copy_"),
        ("a...b..c.d.csv", "a.b.c.d"),
        ("...csv", "signal"),
        ("--help.csv", "help"),
        ("信号.csv", "_"),
        (".csv", "signal"),
        ("x" * 200 + ".csv", "x" * 100),
    ],
)
def test_a_stem_is_made_safe_the_same_way_every_time(filename: str, stem: str) -> None:
    assert stem_of(filename) == stem
    assert parse_signal(csv_of("BTC_USDT,1,1"), filename).rebalance_id.startswith(f"{stem}-")


@given(st.text(max_size=300))
def test_any_stem_is_a_valid_partition_key_and_stays_as_it_is(filename: str) -> None:
    stem = stem_of(filename)
    assert 0 < len(stem) <= 100
    assert all(char.isascii() and (char.isalnum() or char in "._-") for char in stem)
    assert ".." not in stem
    assert stem_of(f"{stem}.csv") == stem


# --- reference prices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref_price", "mark", "multiplier", "mismatch"),
    [
        ("100", "100", 1, False),
        ("120", "100", 1, False),
        ("80", "100", 1, False),
        ("120.00000000000000000000000000000000001", "100", 1, True),
        ("79.99999999999999999999999999999999999", "100", 1, True),
        ("0.0000081", "0.0081", 1000, False),
        ("0.0000081", "0.0081", 1, True),
        ("0.0081", "0.0081", 1000, True),
        (None, "100", 1000, False),
    ],
)
def test_a_reference_price_in_another_unit_is_noticed(
    ref_price: str | None, mark: str, multiplier: int, mismatch: bool
) -> None:
    reference = None if ref_price is None else Decimal(ref_price)
    row = SignalRow(2, "a", "SHIB_USDT", Decimal(1), Decimal(1), 1, reference)
    assert has_unit_mismatch(row, Decimal(mark), multiplier) is mismatch


def test_one_reference_price_in_another_unit_taints_the_netted_row() -> None:
    header = f"strategy,{HEADER},ref_price"
    signal = parse("a,BTC_USDT,1,1,100", "b,BTC_USDT,1,1,0.1", header=header, duplicates="net")
    assert has_unit_mismatch(signal.rows[0], Decimal(100), 1)
    assert not has_unit_mismatch(signal.rows[0].netted[0], Decimal(100), 1)


# --- properties -------------------------------------------------------------------------------------------------------

# Few enough digits that the arithmetic of the tests themselves is exact in Decimal's ordinary context.
_magnitudes = st.decimals(min_value="0.00000001", max_value="1e9", allow_nan=False, places=8)
_targets = st.lists(st.tuples(_magnitudes, st.sampled_from([-1, 1])), min_size=1, max_size=12)


def _rows_of(targets: Sequence[tuple[Decimal, int]], *, one_ticker_in: int = 1_000_000) -> list[str]:
    return [
        f"s{i % 3},C{i % one_ticker_in}_USDT,{notional * side},{side},{notional + 1}"
        for i, (notional, side) in enumerate(targets)
    ]


def _meaning(signal: Signal) -> object:
    return (
        signal.trading_day,
        signal.gross_base,
        {row.ticker: (row.notional, row.side, row.ref_price, row.strategies) for row in signal.rows},
    )


@given(_targets, st.randoms(use_true_random=False), st.sampled_from([2, 1_000_000]))
def test_permuting_rows_changes_nothing(targets: list[tuple[Decimal, int]], draw: Any, one_ticker_in: int) -> None:
    rows = _rows_of(targets, one_ticker_in=one_ticker_in)
    options: dict[str, Any] = {"header": f"strategy,{HEADER},ref_price", "duplicates": "net", "allow_flat": True}
    before = parse(*rows, **options)
    draw.shuffle(rows)
    assert _meaning(parse(*rows, **options)) == _meaning(before)


@given(_targets, st.sampled_from([Decimal(3), Decimal("0.1"), Decimal("1234.5678")]))
def test_scaling_all_notionals_scales_the_gross_base_and_no_share_of_it(
    targets: list[tuple[Decimal, int]], factor: Decimal
) -> None:
    header = f"strategy,{HEADER},ref_price"
    before = parse(*_rows_of(targets), header=header)
    after = parse(*_rows_of([(notional * factor, side) for notional, side in targets]), header=header)
    assert Fraction(after.gross_base) == Fraction(before.gross_base) * Fraction(factor)
    for old, new in zip(before.rows, after.rows, strict=True):
        assert new.side == old.side
        assert Fraction(new.notional) / Fraction(after.gross_base) == Fraction(old.notional) / Fraction(
            before.gross_base
        )


@given(_targets)
def test_negating_all_rows_negates_the_sides_and_keeps_the_gross_base(targets: list[tuple[Decimal, int]]) -> None:
    header = f"strategy,{HEADER},ref_price"
    before = parse(*_rows_of(targets), header=header)
    after = parse(*_rows_of([(notional, -side) for notional, side in targets]), header=header)
    assert after.gross_base == before.gross_base
    assert [row.side for row in after.rows] == [-row.side for row in before.rows]


@given(_targets, st.sampled_from([2, 1_000_000]))
def test_netting_keeps_the_sum_of_signed_notionals(targets: list[tuple[Decimal, int]], one_ticker_in: int) -> None:
    rows = _rows_of(targets, one_ticker_in=one_ticker_in)
    signal = parse(*rows, header=f"strategy,{HEADER},ref_price", duplicates="net", allow_flat=True)
    assert sum(Fraction(row.notional) for row in signal.rows) == sum(Fraction(n) * s for n, s in targets)
    assert all(sum(row.strategies.values()) == 1 for row in signal.rows)


@given(_targets, st.sampled_from([2, 1_000_000]))
def test_a_stored_report_gives_the_signal_back(targets: list[tuple[Decimal, int]], one_ticker_in: int) -> None:
    rows = _rows_of(targets, one_ticker_in=one_ticker_in)
    signal = parse(*rows, header=f"strategy,{HEADER},ref_price", duplicates="net", allow_flat=True)
    assert from_report(load_document(dump_document(report(signal)))) == signal


def test_numbers_beyond_ordinary_precision_are_summed_and_stored_exactly() -> None:
    digits = "123456789012345678901234567890.12345678901234567890123456789"
    signal = parse(f"BTC_USDT,-{digits},-1", "ETH_USDT,0.000000000000000000000000000001,1", "XRP_USDT,1e-30,1")
    assert Fraction(signal.gross_base) == Fraction(digits) + 2 * Fraction(1, 10**30)
    assert from_report(load_document(dump_document(report(signal)))) == signal


@pytest.mark.parametrize(
    "change",
    [
        {"gross_base": Decimal(1)},
        {"gross_base": 144057.5},
        {"rows": None},
        {"rows": [{"line": 2}]},
        {"notices": [{"row": 1}]},
        {"trading_day": "someday"},
        {"trading_day": 20250915},
        {"rebalance_id": "other-0123456789ab"},
        {"sha256": "0" * 64},
        {"filename": None},
    ],
)
def test_a_report_that_was_tampered_with_is_refused(change: dict[str, Any]) -> None:
    document = report(parse_signal(REAL.encode(), NAME))
    with pytest.raises(ValueError, match=r".+"):
        from_report(document | change)
    with pytest.raises(ValueError, match="not a signal report"):
        from_report({})
