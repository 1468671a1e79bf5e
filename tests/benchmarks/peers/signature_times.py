"""What every peer script for signatures does: time what was asked, and hand the results back for comparison."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Tasks = Mapping[str, Callable[[Any, int], Any]]


def answer(tasks: Tasks) -> None:
    """Run ``tasks`` on the arrays of the question on stdin.

    The question has a ``folder`` with one ``<input>.npy`` each, ``repeats``, and ``calls``: task, input and order.
    Results go to ``<task>-<input>-<peer>.npy`` in the folder; the answer, on stdout, is the seconds of
    each repeat by ``<task>-<input>``. The first call of a task is not timed: libraries prepare themselves in it.
    """
    question = json.load(sys.stdin)
    folder, peer = Path(question["folder"]), Path(sys.argv[0]).stem.removeprefix("run_")
    seconds: dict[str, list[float]] = {}
    for task, given, order in question["calls"]:
        if task not in tasks:
            continue
        values = np.load(folder / f"{given}.npy")
        np.save(folder / f"{task}-{given}-{peer}.npy", tasks[task](values, order))
        seconds[f"{task}-{given}"] = times = []
        for _ in range(question["repeats"]):
            began = time.perf_counter()
            tasks[task](values, order)
            times.append(time.perf_counter() - began)
    json.dump(seconds, sys.stdout)
