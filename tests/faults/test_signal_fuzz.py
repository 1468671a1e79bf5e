"""Broken, hostile and half-written files: each is a signal whose invariants hold exactly, or a reasoned rejection."""

import random
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.accounting.instrument import plain_symbol
from assets.desk.signal import (
    MAX_BYTES,
    MAX_ROWS,
    Signal,
    SignalRejected,
    from_report,
    parse_signal,
    report,
    stem_of,
)
from resources.documents import dump_document, load_document

MUTATED_FILES = 30_000
NAME = "lpxd_external_advisors_DF_20250915-2355.csv"
TICKERS = (
    "BTC", "ETH", "XRP", "BNB", "SOL", "TRX", "DOGE", "ADA", "AVAX", "LINK", "ICP", "XLM", "HBAR", "FET", "BCH", "LTC",
    "DOT", "TON", "RENDER", "SUI", "UNI", "NEAR", "ETC", "AAVE", "VET", "ATOM", "ALGO", "APT", "FIL",
)  # fmt: skip
HEADER = (
    "id_specific,extra_key,value_ts,strategy,internal_code,ric,ticker,target_notional,currency,target_contracts,"
    "ref_price,advisor_name"
)
# What turns up in real exports, and what an attacker or a broken job would write.
FIELDS = (
    "", " ", "0", "-0", "1", "-1", "0.0", "1e5", "1e-9", "1e999999", "-1e999999", "1e-999999", "9" * 40, "9" * 400,
    "NaN", "nan", "inf", "-Infinity", "1,000", '"1,000"', "1 000", "1_000", "50%", "−5", "–1", "+7", "1e", "0x1F",
    "１２", "None", "null", "N/A", "#REF!", "=1+1", "'", '"', '""', '"a', 'a"b', "\n", '"a\nb"', "\r", "\t", "\0",
    "\ufeff", "\u200b", "BTC_USDT", "BTCUSDT", "btc_usdt", "ETH_USDT", "___", "测试测试_USDT", "X" * 5_000, "ticker",
    "2025-09-16 23:55", "2025-13-99", "EUR", "\x1b[31m", "../../etc", "0.1" + "0" * 60,
)  # fmt: skip


def realistic_file(draw: random.Random) -> list[list[str]]:
    """Rows of fields like the real daily file, its header first: 1 to 29 tickers, gross 1,000,000 before rounding."""
    names = draw.sample(TICKERS, draw.choice([1, 2, 5, 29]))
    weights = [draw.random() + 0.01 for _ in names]
    rows = [HEADER.split(",")]
    for name, weight in zip(names, weights, strict=True):
        side = draw.choice([1, 1, 1, -1])
        notional = 1_000_000 * weight / sum(weights) * side
        code = f"{name}_USDT"
        ref_price = round(draw.random() * 1000 + 0.1, 4)
        rows.append(
            f"DF,dfilabs_{code},2025-09-15 23:55,dfilabs,Binance Linear_{code}_FUTPERP,{code},{code},"
            f"{notional!r},USD,{side},{ref_price!r},DFI Labs".split(",")
        )
    return rows


def set_field(rows: list[list[str]], draw: random.Random) -> None:
    row = draw.choice(rows)
    row[draw.randrange(len(row))] = draw.choice(FIELDS)


def set_number(rows: list[list[str]], draw: random.Random) -> None:
    column = draw.choice([7, 9, 10])
    if len(rows) > 1:
        draw.choice(rows[1:])[column : column + 1] = [draw.choice(FIELDS)]


def drop_or_add_field(rows: list[list[str]], draw: random.Random) -> None:
    row = draw.choice(rows)
    if draw.random() < 0.5 and len(row) > 1:
        del row[draw.randrange(len(row))]
    else:
        row.insert(draw.randrange(len(row) + 1), draw.choice(FIELDS))


def drop_column(rows: list[list[str]], draw: random.Random) -> None:
    index = draw.randrange(len(rows[0]))
    for row in rows:
        del row[index : index + 1]


def repeat_row(rows: list[list[str]], draw: random.Random) -> None:
    rows.insert(draw.randrange(len(rows) + 1), list(draw.choice(rows)))


def drop_row(rows: list[list[str]], draw: random.Random) -> None:
    if len(rows) > 1:
        del rows[draw.randrange(len(rows))]


def shuffle_rows(rows: list[list[str]], draw: random.Random) -> None:
    body = rows[1:]
    draw.shuffle(body)
    rows[1:] = body


def shrink_to_no_direction(rows: list[list[str]], draw: random.Random) -> None:
    if len(rows) > 1:
        row = draw.choice(rows[1:])
        row[7:10] = [draw.choice(["0.01", "5", "0"]), "USD", "0"]


FIELD_MUTATIONS: list[Callable[[list[list[str]], random.Random], None]] = [
    set_field, set_number, set_number, drop_or_add_field, drop_column, repeat_row, drop_row, shuffle_rows,
    shrink_to_no_direction, shrink_to_no_direction,
]  # fmt: skip


def flip_bytes(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 8])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def insert_bytes(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    piece = draw.choice(
        [b"\0", b"\xff", b",", b'"', b"\n", b"\r\n", b"\xef\xbb\xbf", b"," * 200, data[: draw.randrange(99)]]
    )
    return data[:at] + piece + data[at:]


def splice(data: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:]


def rewrite(data: bytes, draw: random.Random) -> bytes:
    text = data.decode(errors="replace")
    return draw.choice(
        [
            b"\xef\xbb\xbf" + data,
            data.replace(b"\n", b"\r\n"),
            data.replace(b"\n", b"\r"),
            data.replace(b",", b";"),
            data.replace(b".", b","),
            text.encode("utf-16"),
            text.encode("latin-1", errors="replace"),
            data + data,
            data.rstrip(),
            data.upper(),
        ]
    )


BYTE_MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [flip_bytes, cut_off, insert_bytes, splice, rewrite]
FILE_NAMES = (
    NAME,
    NAME,
    NAME,
    "a\nb.csv",
    "20250230.csv",
    "...",
    "x" * 300,
    "信号.csv",
    "a,b...c.csv",
    "dir/a.csv",
    "\udc80",
)


def mutated_file(seed: int) -> tuple[bytes, str]:
    draw = random.Random(seed)
    rows = realistic_file(draw)
    for _ in range(draw.choice([0, 1, 1, 1, 2, 4])):
        draw.choice(FIELD_MUTATIONS)(rows, draw)
    data = ("\n".join(",".join(row) for row in rows) + "\n").encode()
    for _ in range(draw.choice([0, 0, 0, 1, 2])):
        data = draw.choice(BYTE_MUTATIONS)(data, draw) or b"\n"
    return data, draw.choice(FILE_NAMES) if draw.random() < 0.1 else NAME


def assert_sound(signal: Signal, duplicates: Literal["reject", "net"], allow_flat: bool) -> None:
    """Everything sizing relies on, in exact arithmetic."""
    magnitudes = [abs(Fraction(row.notional)) for row in signal.rows]
    assert signal.rows
    assert Fraction(signal.gross_base) == sum(magnitudes)
    assert signal.gross_base > 0 or allow_flat
    symbols = [plain_symbol(row.ticker) for row in signal.rows]
    assert len(set(symbols)) == len(symbols)
    assert all(symbols)
    for row in signal.rows:
        parts = row.netted or (row,)
        assert duplicates == "net" or not row.netted
        assert sum(row.strategies.values()) == 1
        for number in (row.notional, row.contracts, *(part.ref_price for part in parts if part.ref_price is not None)):
            assert isinstance(number, Decimal)
            assert number.is_finite()
        assert all(part.ref_price is None or part.ref_price > 0 for part in parts)
        sign = (row.contracts > 0) - (row.contracts < 0)
        assert row.side == (sign if row.notional else 0)
        assert not row.notional < 0 < row.contracts
    unknown = sum(magnitude for row, magnitude in zip(signal.rows, magnitudes, strict=True) if row.direction_unknown)
    assert unknown * 100 <= Fraction(signal.gross_base)
    assert signal.rebalance_id == f"{stem_of(signal.filename)}-{signal.sha256[:12]}"
    assert from_report(load_document(dump_document(report(signal)))) == signal


def outcome(data: bytes, filename: str, **options: Any) -> list[str]:
    """The rejection's codes, or none for a sound signal; any other exception fails the test."""
    try:
        signal = parse_signal(data, filename, **options)
    except SignalRejected as caught:
        rejection = caught
    else:
        assert_sound(signal, options["duplicates"], options["allow_flat"])
        return []
    assert rejection.reasons
    assert all(problem.code and problem.message for problem in rejection.reasons)
    assert str(rejection)
    return [problem.code for problem in rejection.reasons]


def test_every_mutated_file_is_a_sound_signal_or_a_reasoned_rejection() -> None:
    seen: Counter[str] = Counter()
    slowest = 0.0
    for seed in range(MUTATED_FILES):
        data, filename = mutated_file(seed)
        duplicates, allow_flat = ("reject", "net")[seed % 2], seed % 3 == 0
        started = time.process_time()
        codes = outcome(data, filename, duplicates=duplicates, allow_flat=allow_flat)
        slowest = max(slowest, time.process_time() - started)
        seen.update(set(codes) or {"accepted"})
    # The mutations reach both sides and nearly every rule, so the test has not gone blind.
    assert seen["accepted"] > MUTATED_FILES / 10
    assert seen.keys() >= {
        "all_flat", "bad_filename", "bad_strategy", "bad_ticker", "binary", "blank", "direction_unknown",
        "duplicate_column", "duplicate_ticker", "field_count", "huge_field", "malformed_csv", "missing_column",
        "missing_header", "mixed_currencies", "no_rows", "not_a_number", "not_finite", "not_utf8", "out_of_range",
        "percent", "sign_contradiction", "thousands_separator", "unicode_minus",
    }  # fmt: skip
    assert slowest < 1


@settings(max_examples=500)
@given(st.binary(max_size=400), st.sampled_from(["reject", "net"]), st.booleans())
def test_any_bytes_are_a_sound_signal_or_a_reasoned_rejection(data: bytes, duplicates: str, allow_flat: bool) -> None:
    outcome(data, NAME, duplicates=duplicates, allow_flat=allow_flat)


@settings(max_examples=500)
@given(
    st.lists(st.lists(st.sampled_from(FIELDS) | st.text(max_size=6), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["reject", "net"]),
    st.booleans(),
)
def test_any_fields_under_a_good_header_are_sound_or_rejected(
    rows: list[list[str]], duplicates: str, allow_flat: bool
) -> None:
    lines = ["ticker,target_notional,target_contracts", *(",".join(row) for row in rows)]
    data = "\n".join(lines).encode(errors="surrogatepass")
    outcome(data, NAME, duplicates=duplicates, allow_flat=allow_flat)


@settings(max_examples=300)
@given(st.text(st.characters(), max_size=300))
def test_any_file_name_is_usable_or_rejected(filename: str) -> None:
    data = b"ticker,target_notional,target_contracts\nBTC_USDT,1,1\n"
    assert outcome(data, filename, duplicates="reject", allow_flat=False) in ([], ["bad_filename"])


_HEAD = b"ticker,target_notional,target_contracts\n"


@pytest.mark.parametrize(
    "data",
    [
        b"," * MAX_BYTES,
        b"\n" * MAX_BYTES,
        b'"' * MAX_BYTES,
        b'"' + b"\n" * (MAX_BYTES - 1),
        b"\xff" * MAX_BYTES,
        b"1" * MAX_BYTES,
        _HEAD + b"\n" * (MAX_BYTES - 100),
        _HEAD + b"x\n" * (MAX_BYTES // 2 - 100),
        _HEAD + b"BTC_USDT,1,1\n" * MAX_ROWS,
        _HEAD + b"".join(b"C%d_USDT,1e30,1\nD%d_USDT,1e-30,1\n" % (i, i) for i in range(MAX_ROWS // 2)),
        _HEAD + b"".join(b"C%d_USDT,%s,1\n" % (i, b"1e" + b"9" * 300) for i in range(MAX_ROWS)),
        _HEAD + b"".join(b"C%d_USDT,NaN,NaN\n" % i for i in range(MAX_ROWS)),
        b"," * 16_000 + _HEAD + b"".join(b"," * 16_000 + b"C%d,1,1\n" % i for i in range(200)),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("duplicates", ["reject", "net"])
def test_the_worst_file_of_a_permitted_size_is_answered_quickly(data: bytes, duplicates: str) -> None:
    started = time.process_time()
    outcome(data, NAME, duplicates=duplicates, allow_flat=True)
    assert time.process_time() - started < 3
