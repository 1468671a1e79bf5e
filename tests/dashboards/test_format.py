from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import format as text


@pytest.mark.parametrize(
    ("value", "signed", "whole", "rest"),
    [
        (Decimal("1004870.38"), False, "1,004,870", ".38"),
        (Decimal("-345.3"), True, "−345", ".30"),
        (Decimal("4870.38"), True, "+4,870", ".38"),
        (0, True, "0", ".00"),
        (Decimal("-0.001"), True, "0", ".00"),
        (Decimal("0.001"), True, "0", ".00"),
        (-0.005000001, False, "−0", ".01"),
        (Decimal("1e12"), False, "1,000,000,000,000", ""),
        (None, True, "—", ""),
        (float("nan"), True, "—", ""),
        (Decimal("Infinity"), True, "—", ""),
    ],
)
def test_money(value: text.Number | None, signed: bool, whole: str, rest: str) -> None:
    assert text.money(value, signed=signed) == (whole, rest)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (92_000, "92,000.00"),
        (Decimal("3394.7"), "3,394.70"),
        (Decimal("36.89"), "36.890"),
        (Decimal("0.8581"), "0.85810"),
        (Decimal("0.0000204"), "0.000020400"),
        (Decimal("0.000000012345678"), "0.000000012346"),
        (None, "—"),
    ],
)
def test_price_keeps_the_decimals_its_size_needs(value: text.Number | None, shown: str) -> None:
    assert text.price(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("127.4381"), "+127.438"),
        (Decimal("-17345.868"), "−17,345.868"),
        (Decimal("1538033820"), "+1,538,033,820"),
        (Decimal("0.000123"), "+0.000123"),
        (0, "0.000"),
    ],
)
def test_quantity(value: text.Number, shown: str) -> None:
    assert text.quantity(value) == shown


def test_ratios() -> None:
    assert text.percent(Decimal("0.0049")) == "+0.49%"
    assert text.percent(-0.0003) == "−0.03%"
    assert text.percent(None) == "—"
    assert text.basis_points(Decimal("0.00132")) == "13.2"
    assert text.ratio(0.28) == "+0.28"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (41, "41 s"),
        (59.6, "1 min"),
        (61, "1 min 01 s"),
        (600, "10 min"),
        (3 * 3600 + 300, "3 h 05 min"),
        (187_300, "2 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_clock_time_names_the_day_only_when_it_is_another_one() -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert text.clock_time(datetime(2026, 1, 2, 0, 41, tzinfo=UTC), today=now) == "00:41 UTC"
    assert text.clock_time(datetime(2026, 1, 1, 0, 41, 9, tzinfo=UTC), today=now, seconds=True) == "01 Jan 00:41:09 UTC"
    assert text.clock_time(datetime(2025, 12, 31, 0, 41, tzinfo=UTC), today=now) == "31 Dec 2025 00:41 UTC"


@pytest.mark.parametrize(
    ("value", "step", "shown"),
    [
        (1_000_000, 10_000, "1,000,000"),
        (12.5, 2.5, "12.5"),
        (0.25, 0.25, "0.25"),
        (1.5e12, 5e11, "1,500 bn"),
        (-20.0, 10, "−20"),
    ],
)
def test_axis_labels_have_the_decimals_of_their_step(value: float, step: float, shown: str) -> None:
    assert text.axis_value(value, step) == shown


def test_drawdown_axis_labels() -> None:
    assert [text.axis_percent(v) for v in (0.0, -0.01, -0.125, -0.0005)] == ["0%", "−1.0%", "−12.5%", "−0.05%"]


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
def test_texts_never_show_a_hyphen_or_a_signed_zero(value: Decimal) -> None:
    for shown in (text.money(value, signed=True).text, text.price(value), text.quantity(value), text.percent(value)):
        assert "-" not in shown
        if not any(digit in "123456789" for digit in shown):
            assert shown[0] not in "+−"


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8, places=2))
def test_money_says_exactly_its_value(value: Decimal) -> None:
    shown = text.money(value, signed=True).text
    assert Decimal(shown.replace(",", "").replace("−", "-")) == value


def test_numbers_of_unknown_size_keep_three_digits_and_never_grow() -> None:
    values = [0, 1, -0.0123, 4210.4, 999_999, 1.234e-7, -5.6e12, None, float("inf")]
    shown = [text.number(value) for value in values]
    assert shown == ["0", "1.00", "−0.0123", "4,210", "999,999", "1.23e−7", "−5.60e12", "—", "—"]
    assert text.number(2.0, signed=True) == "+2.00"
    assert text.number(2e9, signed=True, significant=2) == "+2.0e9"


def test_percentages_beyond_reading_have_an_exponent() -> None:
    assert text.percent(999_999) == "+99,999,900.00%"
    assert text.percent(-2e7) == "−2.0e9%"
