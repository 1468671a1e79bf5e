"""What research refuses, said so that a person finds the place: which column, at which time or index, and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class BadInput(ValueError):
    """Input that cannot be computed with.

    ``column`` names the column, channel or argument and ``at`` the time or index of the first offence, as far as the
    refusal has one.
    """

    def __init__(self, reason: str, *, column: str | None = None, at: datetime | int | None = None) -> None:
        self.reason, self.column, self.at = reason, column, at
        place = " ".join(
            part
            for part in (
                "" if column is None else f"column {column}",
                "" if at is None else f"at {at.isoformat() if isinstance(at, datetime) else f'index {at}'}",
            )
            if part
        )
        super().__init__(f"{place}: {reason}" if place else reason)


def finite(
    values: Any, name: str, *, columns: Sequence[str] | None = None, times: Sequence[datetime] | None = None
) -> Floats:
    """``values`` as float64, every entry finite.

    ``columns`` names the last axis and ``times`` the one before it (or the only one), for the message alone.
    Raises BadInput at the first NaN or infinity, and where the values are no numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"not numeric ({error})", column=name) from None
    if np.isfinite(array).all():
        return array
    if not array.ndim:
        raise BadInput(f"{array} is not a finite number", column=name)
    place = np.argwhere(~np.isfinite(array))[0]
    column, row = name, int(place[0])
    if array.ndim > 1:
        row = int(place[-2])
        column = columns[place[-1]] if columns is not None else f"{name}[{place[-1]}]"
    offender = array[tuple(place)]
    raise BadInput(f"{offender} is not a finite number", column=column, at=row if times is None else times[row])
