"""One definition of a percentile for every figure of telemetry."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction


def percentile(samples: Iterable[Decimal], share: Fraction) -> Decimal | None:
    """The nearest-rank percentile: the smallest sample that at least ``share`` of all samples do not exceed.

    It is always one of the samples, of n the one of rank ceil(share * n) counted from 1 in ascending order, with
    exact arithmetic: the p95 of 20 samples is the 19th. (``sorted[int(n * 0.95)]``, often seen, is the 20th: the
    maximum of every set of up to 20.) None without a sample. Raises ValueError unless 0 < share <= 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a percentile lies above 0 and at most at 1, not at {share}")
    ordered = sorted(samples)
    if not ordered:
        return None
    return ordered[-(-share.numerator * len(ordered) // share.denominator) - 1]
