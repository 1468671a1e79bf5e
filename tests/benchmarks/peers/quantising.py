"""What every peer script does: quantise the asked values on each grid, and say how long one took."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Asked = dict[str, Any]


def asked() -> Asked:
    """The question on stdin: ``on_grid`` and ``off_grid`` values by step, all as text, and ``fills`` counts."""
    question: Asked = json.load(sys.stdin)
    return question


def answer(question: Asked, quantised: Callable[[str, list[float]], Iterable[Any]], **more: Any) -> None:
    """Answer on stdout. ``quantised(step, values)`` gives the peer's results, which are passed on unjudged.

    Floats, because that is what each of these takes; reading them and writing the results is not timed.
    """
    values = {kind: {step: list(map(float, texts)) for step, texts in question[kind].items()} for kind in
              ("on_grid", "off_grid")}  # fmt: skip
    began = time.process_time()
    on_grid = {step: quantised(step, numbers) for step, numbers in values["on_grid"].items()}
    seconds = time.process_time() - began
    off_grid = {step: quantised(step, numbers) for step, numbers in values["off_grid"].items()}
    results = {"on_grid": on_grid, "off_grid": off_grid}
    texts = {
        kind: {step: list(map(str, found)) for step, found in by_step.items()} for kind, by_step in results.items()
    }
    per_value = seconds / sum(map(len, values["on_grid"].values()))
    json.dump({"seconds_per_value": per_value, **texts, **more}, sys.stdout)
