"""The one percentile: a sample, by nearest rank, and not the maximum of small sets."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.percentile import percentile

P95 = Fraction(95, 100)
SAMPLES = st.lists(st.decimals(-1000, 1000, places=3), min_size=1, max_size=60)
SHARES = st.fractions(Fraction(1, 100), Fraction(1))


def numbers(count: int) -> list[Decimal]:
    return [Decimal(number) for number in range(count, 0, -1)]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, 1), (19, 19), (20, 19), (21, 20), (40, 38), (100, 95), (101, 96), (1000, 950)]
)
def test_the_p95_is_the_sample_of_the_nearest_rank(count: int, expected: int) -> None:
    assert percentile(numbers(count), P95) == expected


def test_the_index_int_n_times_095_is_not_it() -> None:
    samples = sorted(numbers(20))
    assert samples[int(20 * 0.95)] == 20
    assert percentile(samples, P95) == 19


def test_no_sample_has_no_percentile() -> None:
    assert percentile([], P95) is None


@pytest.mark.parametrize("share", [Fraction(0), Fraction(-1), Fraction(3, 2)])
def test_a_share_outside_of_the_samples_is_refused(share: Fraction) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(numbers(3), share)


@settings(max_examples=80)
@given(SAMPLES, SHARES)
def test_it_is_the_smallest_sample_that_the_share_does_not_exceed(samples: list[Decimal], share: Fraction) -> None:
    value = percentile(samples, share)
    assert value is not None
    assert value in samples
    assert sum(each <= value for each in samples) >= share * len(samples)
    assert sum(each < value for each in samples) < share * len(samples)


@settings(max_examples=50)
@given(SAMPLES)
def test_percentiles_rise_with_their_share_to_the_maximum(samples: list[Decimal]) -> None:
    values = [percentile(samples, Fraction(number, 10)) for number in range(1, 11)]
    known = [value for value in values if value is not None]
    assert len(known) == len(values)
    assert known == sorted(known)
    assert known[-1] == max(samples)
