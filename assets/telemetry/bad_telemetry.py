"""What telemetry refuses, said so that a person finds the place: which field, and why."""

from decimal import Decimal


class BadTelemetry(ValueError):
    """A record that cannot be measured with: a missing or impossible field, a number that is none, an unknown word.

    ``field`` names the offending field, ``reason`` says what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")


def finite(field: str, value: Decimal) -> Decimal:
    """``value`` itself. Raises BadTelemetry unless it is a Decimal or an int that stands for a number.

    Floats are refused: what entered as 0.1 would be shown as 0.1000000000000000055.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise BadTelemetry(field, f"{value!r} is a {type(value).__name__}, not an exact number")
    if isinstance(value, Decimal) and not value.is_finite():
        raise BadTelemetry(field, f"{value} is not a finite number")
    return value


def instant(field: str, value: int) -> int:
    """``value`` itself, a count of time units since 1970 UTC. Raises BadTelemetry unless it is a positive int."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise BadTelemetry(field, f"{value!r} is no time after 1970")
    return value
