"""The daily roll-up: what is read of the log's end, which days are written, and that a day is a copy of its rows."""

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from assets.desk.artifacts import PORTFOLIO_VALUE_LOG
from assets.desk.history import COLUMNS, compact, compacted_days, history_key, holds_exactly, log_rows, rows_since
from resources.documents import dump_line, to_iso
from tests.memory_store import MemoryStore

START = datetime(2026, 11, 18, 22, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def line(minute: int, value: str = "1000000.5") -> bytes:
    row = {"timestamp": to_iso(START + minute * MINUTE), "portfolio_value": Decimal(value), "daily_pnl": 0}
    return dump_line(row | {"total_pnl": 0, "seq": minute, "stale": []})


def log_of(minutes: int) -> MemoryStore:
    store = MemoryStore()
    store.write(PORTFOLIO_VALUE_LOG, b"".join(line(minute) + b"\n" for minute in range(minutes)))
    return store


@pytest.mark.parametrize("since", [0, 1, 500, 1499, 2999, 3000])
def test_rows_since_an_instant_are_all_of_them_however_long_the_log(since: int) -> None:
    store = log_of(3000)
    assert store.read(PORTFOLIO_VALUE_LOG).size > 4 * 65_536
    rows = rows_since(store, START + since * MINUTE)
    assert [row.seq for row in rows] == list(range(since, 3000))


def test_the_end_of_a_long_log_is_read_alone() -> None:
    store = log_of(3000)
    tails: list[int | None] = []
    read = store.read

    def counted(key: str, *, tail: int | None = None) -> object:
        tails.append(tail)
        return read(key, tail=tail)

    store.read = counted  # type: ignore[method-assign,assignment]
    assert len(rows_since(store, START + 2990 * MINUTE)) == 10
    assert tails == [65_536]


def test_there_are_no_rows_without_a_log() -> None:
    assert rows_since(MemoryStore(), START) == []


def test_lines_that_are_no_rows_are_passed_over_and_of_one_minute_the_last_wins() -> None:
    lines = [line(0), b"garbage", b"{}", line(1), line(1, "2"), b"", line(2)]
    assert [(row.seq, row.portfolio_value) for row in log_rows(lines)] == [(0, 1000000.5), (1, 2), (2, 1000000.5)]


def test_a_torn_last_line_is_no_row_yet() -> None:
    store = log_of(3)
    store.write(PORTFOLIO_VALUE_LOG, store.read(PORTFOLIO_VALUE_LOG).data + line(3)[:40])
    assert [row.seq for row in rows_since(store, START)] == [0, 1, 2]


def test_only_whole_days_are_compacted_each_into_its_own_file() -> None:
    store = log_of(120 + 1440 + 7)
    written = compact(store, date(2026, 11, 20))
    assert written == {date(2026, 11, 18): 120, date(2026, 11, 19): 1440}
    assert compacted_days(store) == [date(2026, 11, 18), date(2026, 11, 19)]
    assert compact(store, date(2026, 11, 20)) == {}


def test_a_day_without_ticks_has_no_file_and_does_not_stop_the_next() -> None:
    store = log_of(10)
    later = line(3 * 1440)
    store.write(PORTFOLIO_VALUE_LOG, store.read(PORTFOLIO_VALUE_LOG).data + later + b"\n")
    compact(store, date(2026, 11, 25))
    assert compacted_days(store) == [date(2026, 11, 18), date(2026, 11, 21)]


def test_a_compacted_day_holds_the_columns_charts_read() -> None:
    store = log_of(130)
    compact(store, date(2026, 11, 19))
    table = pq.read_table(io.BytesIO(store.read(history_key(date(2026, 11, 18))).data))
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert table.column("timestamp")[0].as_py() == START
    assert table.column("portfolio_value").to_pylist() == [1000000.5] * 120


def test_the_same_rows_give_the_same_bytes() -> None:
    one, other = log_of(130), log_of(130)
    for store in (one, other):
        compact(store, date(2026, 11, 19))
    key = history_key(date(2026, 11, 18))
    assert one.read(key).data == other.read(key).data
    assert holds_exactly(one.read(key).data, rows_since(log_of(120), START))
    assert not holds_exactly(one.read(key).data, rows_since(log_of(119), START))


def test_files_of_other_names_beside_the_days_are_not_ours() -> None:
    store = log_of(130)
    compact(store, date(2026, 11, 19))
    foreign = ("date=tomorrow.parquet", "date=20261118.parquet", "date=2026-11-18.parquet.bak", "date=2026-11-17.csv")
    for name in foreign:
        store.write(f"history/portfolio_value/{name}", b"")
    assert compacted_days(store) == [date(2026, 11, 18)]
