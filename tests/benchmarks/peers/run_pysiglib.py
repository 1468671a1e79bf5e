"""pysiglib's signatures of the paths it is given, its log-signatures on Lyndon words, and its own window stream.

Runs in an environment of its own, started by ``bench_signatures``; answers in JSON on stdout.
"""

from typing import Any

import numpy as np
import pysiglib
from signature_times import answer

_WINDOW = 72


def logarithms(paths: Any, order: int) -> Any:
    pysiglib.prepare_log_sig(paths.shape[-1], order, 1)  # remembered from the first call on
    return pysiglib.log_sig(paths, order, method=1)


def stream(path: Any, order: int) -> Any:
    windows = pysiglib.SigWindowStream(path.shape[1], order, _WINDOW)
    for point in path:
        windows.push(point)
    return np.asarray(windows.sig())


if __name__ == "__main__":
    answer({"signature": pysiglib.sig, "log": logarithms, "stream": stream})
