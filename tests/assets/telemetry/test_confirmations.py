"""Confirmations are read or refused by name of the field; the brief's own sample is refused."""

from decimal import Decimal

import pytest

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.confirmations import STATUSES, read_confirmation

# The sample of brief 4, word for word.
SAMPLE = {
    "order_id": "paper_1703123456789",
    "symbol": "BTC/USD",
    "side": "buy",
    "strategy": "trend_following",
    "status": "filled",
    "price": "0.00",
    "quantity": "0.00",
    "timestamp": "1703123456789",
    "paper_mode": "true",
    "execution_time_ms": "1.0",
}
GOOD = SAMPLE | {"price": "43000.10", "quantity": "0.0020"}


def test_a_confirmation_is_read_exactly() -> None:
    read = read_confirmation(GOOD | {"further": "fields are left alone"})
    assert (read.price, read.quantity) == (Decimal("43000.10"), Decimal("0.0020"))
    assert (read.order_id, read.symbol, read.side, read.strategy) == (
        "paper_1703123456789",
        "BTC/USD",
        "buy",
        "trend_following",
    )
    assert (read.timestamp, read.paper_mode, read.execution_time_ms) == (1703123456789, True, 1)


def test_the_brief_s_sample_filled_at_zero_is_refused() -> None:
    with pytest.raises(BadTelemetry, match="price: a filled order cannot have a price of zero"):
        read_confirmation(SAMPLE)


@pytest.mark.parametrize("status", ["filled", "partially_filled"])
@pytest.mark.parametrize("field", ["price", "quantity"])
@pytest.mark.parametrize("zero", ["0", "0.00", "0E+3", "-0"])
def test_nothing_is_filled_for_nothing(status: str, field: str, zero: str) -> None:
    with pytest.raises(BadTelemetry) as caught:
        read_confirmation(GOOD | {"status": status, field: zero})
    assert caught.value.field == field


@pytest.mark.parametrize("status", sorted(STATUSES - {"filled", "partially_filled"}))
def test_what_was_not_filled_may_have_no_price(status: str) -> None:
    assert read_confirmation(SAMPLE | {"status": status}).price == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "FILLED"),
        ("status", "done"),
        ("side", "long"),
        ("price", "NaN"),
        ("price", "Infinity"),
        ("price", "-1"),
        ("price", "1,5"),
        ("quantity", "sNaN"),
        ("quantity", "-0.1"),
        ("execution_time_ms", "-1"),
        ("execution_time_ms", "soon"),
        ("paper_mode", "yes"),
        ("timestamp", "123456.789"),
        ("timestamp", "8123456"),
        ("timestamp", "1703123456"),
        ("timestamp", "1703123456789000000"),
        ("order_id", " "),
        ("strategy", ""),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(field: str, value: str) -> None:
    with pytest.raises(BadTelemetry) as caught:
        read_confirmation(GOOD | {field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("field", sorted(SAMPLE))
def test_every_field_is_needed(field: str) -> None:
    with pytest.raises(BadTelemetry, match="missing") as caught:
        read_confirmation({name: value for name, value in GOOD.items() if name != field})
    assert caught.value.field == field
