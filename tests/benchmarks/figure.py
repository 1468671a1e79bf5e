"""One line of the benchmark table, whether it meets its target, and how a bench is asked for its lines."""

import importlib
import inspect
import re
from typing import NamedTuple

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_UNIT = re.compile(r"[\d\s](ns|us|µs|ms|s|min|B|KB|MB|GB|%|x)(?![\w/])")
_SCALES = {
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "µs": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "min": ("time", 60.0),
    "B": ("size", 1.0),
    "KB": ("size", 1e3),
    "MB": ("size", 1e6),
    "GB": ("size", 1e9),
}
# A rate counted over a few seconds ("1 read a refresh") is never a whole number; a target of 0 is exact all the same.
_COUNTING_ERROR = 0.05


class Figure(NamedTuple):
    """``measured`` and ``target`` are texts with their units; ``peer`` is what another library does in the same run.

    The first number of ``measured`` is the one the target judges; a target without a comparison is what may be counted
    at most. An empty target judges nothing.
    """

    what: str
    measured: str
    target: str
    peer: str = ""

    @property
    def verdict(self) -> str:
        """ "met", "MISSED", or "-" where there is nothing to judge."""
        target, measured = _quantity(self.target), _quantity(self.measured)
        if target is None or measured is None:
            return "-"
        limit, kind = target
        value, measured_kind = measured
        if kind != measured_kind:
            return "-"
        if "<=" in self.target:
            met = value <= limit
        elif ">=" in self.target:
            met = value >= limit
        else:
            met = value <= limit * (1 + _COUNTING_ERROR)
        return "met" if met else "MISSED"


def rows_of(name: str, fast: bool) -> list[Figure]:
    """What ``bench_<name>.measure()`` returns; ``fast`` reaches those that have a shorter variant."""
    module = importlib.import_module(f"tests.benchmarks.bench_{name}")
    takes_fast = "fast" in inspect.signature(module.measure).parameters
    rows = module.measure(fast=fast) if takes_fast else module.measure()
    return [Figure(*(str(part) for part in row)) for row in rows]


def _quantity(text: str) -> tuple[float, str] | None:
    """The first number of ``text`` in its base unit, and what kind of unit that is ("" for a plain number)."""
    number = _NUMBER.search(text)
    if number is None:
        return None
    unit = _UNIT.search(text, number.start())
    kind, scale = _SCALES.get(unit[1], ("", 1.0)) if unit else ("", 1.0)
    return float(number[0].replace(",", "")) * scale, kind
