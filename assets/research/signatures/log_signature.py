"""Log-signatures: the same information as signatures, without its algebraic repetitions.

The tensor logarithm of a signature is a Lie element, which its coefficients on Lyndon words determine: 14 numbers for
three channels to order 3 instead of 39, 5 for two channels instead of 14. The coordinates are those coefficients
themselves, not the ones in a basis of brackets, from which a triangular map with ones on its diagonal leads to these.
"""

from typing import Any

import numpy as np

from assets.research.bad_input import Floats
from assets.research.signatures import chen
from assets.research.signatures.path_signature import signature, words
from assets.research.signatures.rolling import rolling_signature
from assets.research.signatures.tensor_algebra import Word


def log_signature(paths: Any, order: int) -> Floats:
    """Log-signatures (B, L) of ``paths`` (B, T, d), or (L,) of one path (T, d); columns are ``lyndon_words(d, order)``.

    Raises BadInput as ``signature`` does.
    """
    signatures = signature(paths, order)
    rows = _on_lyndon_words(np.atleast_2d(signatures), np.shape(paths)[-1], order)
    return rows if signatures.ndim == 2 else rows[0]


def rolling_log_signature(path: Any, window_points: int, order: int) -> Floats:
    """Log-signatures (T - window_points + 1, L) of all windows of ``path`` (T, d); see ``rolling_signature``."""
    return _on_lyndon_words(rolling_signature(path, window_points, order), np.shape(path)[-1], order)


def lyndon_words(channels: int, order: int) -> list[Word]:
    """Words strictly smaller than each of their rotations, shorter ones first, then lexicographic."""
    return [word for word in words(channels, order) if all(word < word[k:] + word[:k] for k in range(1, len(word)))]


def _on_lyndon_words(signatures: Floats, channels: int, order: int) -> Floats:
    columns = {word: column for column, word in enumerate(words(channels, order))}
    places = np.array([columns[word] for word in lyndon_words(channels, order)])
    logarithms: Floats = chen.logarithms(signatures, channels, order, places, len(chen.LANES))
    return logarithms
