"""Which marks may be used: reference/trading.md 3.4, rows "no price / stale" and "clock skew"."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from assets.accounting.marks import refusal, sift
from resources.market import Mark

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MAX_AGE = timedelta(seconds=120)


@pytest.mark.parametrize(
    ("price", "age_seconds", "reason"),
    [
        ("100", 0, ""),
        ("0.00000001", 0, ""),
        ("100", 120, ""),
        ("100", 120.000001, "stale_mark"),
        ("100", -5, ""),
        ("100", -5.000001, "future_mark"),
        ("0", 0, "not_positive"),
        ("-0", 0, "not_positive"),
        ("-1", 0, "not_positive"),
        ("NaN", 0, "not_finite"),
        ("sNaN", 0, "not_finite"),
        ("Infinity", 0, "not_finite"),
        ("-Infinity", 0, "not_finite"),
        ("NaN", 500, "not_finite"),
    ],
)
def test_a_mark_is_used_or_refused_with_its_reason(price: str, age_seconds: float, reason: str) -> None:
    mark = Mark("AUSDT", Decimal(price), NOW - timedelta(seconds=age_seconds))
    assert refusal(mark, NOW, MAX_AGE) == reason


def test_no_mark_is_no_price() -> None:
    assert refusal(None, NOW, MAX_AGE) == "no_price"


def test_sifting_puts_every_symbol_on_one_side_and_none_on_both() -> None:
    marks = {
        "AUSDT": Mark("AUSDT", Decimal(1), NOW),
        "BUSDT": Mark("BUSDT", Decimal(0), NOW),
        "CUSDT": Mark("CUSDT", Decimal(3), NOW - timedelta(hours=1)),
    }
    sifted = sift(marks, NOW, MAX_AGE)
    assert sifted.accepted == {"AUSDT": marks["AUSDT"]}
    assert sifted.refused == {"BUSDT": "not_positive", "CUSDT": "stale_mark"}
    assert (sifted.price("AUSDT"), sifted.reason("AUSDT")) == (1, "")
    assert (sifted.price("BUSDT"), sifted.reason("BUSDT")) == (None, "not_positive")


def test_a_symbol_nobody_asked_about_has_no_price_either() -> None:
    sifted = sift({}, NOW, MAX_AGE)
    assert (sifted.price("ZUSDT"), sifted.reason("ZUSDT")) == (None, "no_price")
