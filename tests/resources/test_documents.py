"""Whatever bytes are stored, reading them as a document gives one or a ValueError."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.bus.redis_bus import Cursor
from resources.bus.streams import MalformedEntry, Tick
from resources.documents import dump_document, is_canonical, load_document, load_value

BEYOND = b"1e99999999999999999999"
DEEP = 100_000

_pieces = st.sampled_from(
    [b"{", b"}", b"[", b"]", b":", b",", b'"', b'"a":', b'"a"', b'"\\ud800"', b'"\\udc00\\ud800"', b"\xed\xa0\x80",
     b"\xef\xbb\xbf", BEYOND, b"-" + BEYOND, b"1e-99999999999999999999", b"1E+999999999", b"NaN", b"-Infinity",
     b"9" * 5_000, b"0." + b"1" * 3_000, b"true", b"null", b"\x00", b"\\u", b"-", b".5", b"[" * DEEP, b'{"a":' * DEEP]
)  # fmt: skip
_junk = st.lists(_pieces | st.binary(max_size=4), max_size=8).map(b"".join)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | _pieces,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
).map(lambda value: str(value).encode("utf-8", "surrogatepass"))


@given(_junk | _values | _pieces.map(lambda piece: b'{"a":' + piece + b',"a":1}'))
@example(b'{"a":' + BEYOND + b"}")
@example(b'{"a":' * DEEP)
def test_any_bytes_are_a_document_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(load_document(data), dict)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":' + BEYOND + b"}", "a number is beyond what a Decimal holds"),
        (b"[" * DEEP, "it is nested too deeply"),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"a":NaN}', "Expecting value"),
    ],
)
def test_what_is_none_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_document(data)


def test_numbers_are_exact_and_a_key_that_is_there_twice_has_its_last_value() -> None:
    assert load_document(b'{"a":1,"b":0.10,"a":2}') == {"a": 2, "b": Decimal("0.10")}
    assert load_value("[1.50]") == [Decimal("1.50")]


@pytest.mark.parametrize("seq", [BEYOND.decode(), "1e999999999", '"5"', "null", "[" * DEEP])
def test_a_cursor_that_nobody_here_wrote_says_nothing(seq: str) -> None:
    """One of a number with a billion digits, too: none is written out."""
    assert Cursor.from_text(f'{{"log":"x","seq":{seq},"complete":true,"last_ids":{{}}}}') is None


@pytest.mark.parametrize("text", [BEYOND.decode(), "[" * DEEP, "NaN"])
def test_a_tick_of_the_stream_with_such_a_number_is_malformed(text: str) -> None:
    with pytest.raises(MalformedEntry, match="is no JSON"):
        Tick.from_fields({"type": "metrics.tick", "errors_rate": text})


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(), numbers | st.integers() | st.lists(numbers)))
@example({"volatility": 3.65e-05, "zero": -0.0, "large": 1e300, "small": 5e-324})
def test_what_was_written_of_floats_is_canonical_and_with_a_byte_more_is_not(document: dict[str, object]) -> None:
    data = dump_document(document)
    assert is_canonical(data, floats=True)
    assert not is_canonical(data + b" ", floats=True)


@pytest.mark.parametrize(
    ("data", "decimals", "floats"),
    [
        (b'{"a":0.10}\n', True, True),  # a Decimal keeps its zeros
        (b'{"a":1e-05}\n', False, True),
        (b'{"a":0.00001}\n', True, True),
        (b'{"a":1E-05}\n', False, False),
        (b'{"a": 0.1}\n', False, False),
        (b'{"b":1,"a":1}\n', False, False),
    ],
)
def test_numbers_have_the_form_of_their_kind(data: bytes, decimals: bool, floats: bool) -> None:
    assert (is_canonical(data), is_canonical(data, floats=True)) == (decimals, floats)
