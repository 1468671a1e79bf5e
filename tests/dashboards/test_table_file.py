"""What a person saves of a table: exact, in UTC, inert, and what was shown."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dashboards.components.table_file import chosen, record, table_file, utc

NOW = datetime(2026, 3, 2, 16, 30, 12, 999_000, tzinfo=UTC)


@dataclass
class Row:
    name: str
    price: Decimal | None
    at_ns: int | None
    held_ns: int
    missing: tuple[str, ...]


def saved(*rows: Row) -> tuple[str, list[dict[str, str]]]:
    file = table_file("arbitrage", "exits", [record(row) for row in rows], NOW)
    assert file is not None
    return file["name"], list(csv.DictReader(file["content"].splitlines()))


def test_digits_and_nanoseconds_are_those_that_are_stored() -> None:
    exact = Decimal("1234567890.123456789012345678")
    name, (row,) = saved(Row("BTCUSDT", exact, 1_772_469_012_000_000_007, 31_871_159_941, ("binance", "bybit")))
    assert name == "arbitrage_exits_20260302T163012Z.csv"
    assert row == {
        "name": "BTCUSDT",
        "price": str(exact),
        "at_utc": "2026-03-02T16:30:12.000000007+00:00",
        "held_ns": "31871159941",
        "missing": "binance bybit",
    }


def test_what_is_tiny_is_written_out_and_what_is_unknown_is_empty_and_not_zero() -> None:
    _, (tiny, unknown) = saved(Row("a", Decimal("9.3E-7"), 0, 0, ()), Row("b", None, None, 0, ()))
    assert (tiny["price"], unknown["price"], unknown["at_utc"]) == ("0.00000093", "", "")
    assert utc(None) is None


def test_a_text_that_a_spreadsheet_would_run_is_made_inert_and_a_negative_number_is_not_a_text() -> None:
    _, rows = saved(
        *(Row(start + "cmd|'/c calc'!A0", Decimal("-0.5"), 0, 0, ()) for start in ("=", "+", "-", "@", "\t"))
    )
    assert all(row["name"].startswith("'") for row in rows)
    assert {row["price"] for row in rows} == {"-0.5"}


def test_quotes_and_lines_within_a_text_stay_within_their_cell() -> None:
    file = table_file("p", "t", [{"a": 'x,"y"\nz', "b": 1}], NOW)
    assert file is not None
    assert list(csv.reader(file["content"].splitlines(keepends=True))) == [["a", "b"], ['x,"y"\nz', "1"]]


def test_a_table_without_a_row_is_no_file() -> None:
    assert table_file("arbitrage", "exits", [], NOW) is None


def test_the_rows_shown_in_the_order_shown_whatever_a_browser_asks_for() -> None:
    rows: dict[str, Any] = {name: {"name": name} for name in "abc"}
    assert [row["name"] for row in chosen(rows, ["c", "gone", "a"])] == ["c", "a"]
    assert [row["name"] for row in chosen(rows, None)] == ["a", "b", "c"]
    assert chosen(rows, [["a"], {}, 3]) == []
