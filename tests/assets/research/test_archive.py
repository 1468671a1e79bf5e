"""Values become bytes and come back; a changed byte is found."""

from dataclasses import dataclass
from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.research import archive
from assets.research.bad_input import BadInput
from assets.research.decision import Book, Known, Position, Unfunded
from assets.research.regime.gate import GateDay
from resources.documents import dump_document, sha256_hex
from tests.memory_store import MemoryStore

DAY = date(2024, 2, 29)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def through_bytes(kind, value):
    store = MemoryStore()
    store.write("value.json", dump_document({"value": archive.dump_value(value)}))
    return archive.load_value(kind, archive.read_document(store, "value.json")["value"])


@given(numbers, numbers, numbers, numbers | st.none())
def test_a_value_comes_back_with_every_digit(one, two, three, four):
    known = Known(DAY, {"a": one, "b": None}, {DAY: two}, {DAY: three}, "why")
    assert through_bytes(Known, known) == known
    gate, owed = GateDay("RISK-ON", four, 2, ""), (Unfunded(DAY, one), Unfunded(DAY, two))
    book = Book(DAY, DAY, one, Position(DAY, two, three), two, three, gate, None, owed)
    assert through_bytes(Book, book) == book


@dataclass(frozen=True)
class Whole:
    count: int


def test_what_does_not_fit_the_kind_is_refused():
    with pytest.raises(ValueError, match="count"):
        archive.load_value(Whole, {"count": "many"})


def test_what_is_no_number_is_never_stored():
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_document({"value": archive.dump_value(Known(DAY, {"a": float("nan")}, {}, {}))})


def table(count=3):
    stamps = pd.date_range("2024-01-01", periods=count, freq="D", tz="UTC", unit="us")
    return pd.DataFrame({"date_utc": stamps, "close": [1 / 3] * count})


def test_a_table_lies_under_its_content_once():
    store = MemoryStore()
    sha256 = archive.store_table(store, "SIMULATED", "BTCUSDT", table())
    assert archive.store_table(store, "SIMULATED", "BTCUSDT", table()) == sha256
    assert list(store.contents()) == [f"research/simulated/BTCUSDT/tables/{sha256}.parquet"]
    pd.testing.assert_frame_equal(archive.load_table(store, "SIMULATED", "BTCUSDT", sha256), table())
    assert archive.store_table(store, "SIMULATED", "BTCUSDT", table(4)) != sha256


def test_any_flipped_byte_of_a_table_is_tampering():
    store = MemoryStore()
    sha256 = archive.store_table(store, "SIMULATED", "BTCUSDT", table())
    key = archive.table_key("SIMULATED", "BTCUSDT", sha256)
    whole = store.read(key).data
    for at in range(0, len(whole), 97):
        store.write(key, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(archive.TamperedObject, match=sha256[:12]):
            archive.load_table(store, "SIMULATED", "BTCUSDT", sha256)


def test_bytes_that_are_no_table_say_so():
    store = MemoryStore()
    sha256 = sha256_hex(b"no parquet")
    store.write(archive.table_key("SIMULATED", "BTCUSDT", sha256), b"no parquet")
    with pytest.raises(BadInput, match="no table"):
        archive.load_table(store, "SIMULATED", "BTCUSDT", sha256)


def test_sources_and_symbols_never_share_a_key():
    keys = {
        archive.step_key(source, symbol, DAY, "data_pull")
        for source in ("SIMULATED", "RECORDED", "BINANCE")
        for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert len(keys) == 6


def test_a_document_is_an_object_and_may_be_absent():
    store = MemoryStore()
    assert archive.find_document(store, "research/none.json") is None
    store.write("research/list.json", b"[1]")
    with pytest.raises(ValueError, match="expected a JSON object, got list"):
        archive.read_document(store, "research/list.json")
