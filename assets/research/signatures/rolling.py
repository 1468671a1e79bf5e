"""Signatures of every window of a path, each made from two stored pieces rather than anew."""

from typing import Any

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.signatures import chen
from assets.research.signatures.path_signature import (
    at_least,
    check_width,
    refuse_not_finite,
    signature_length,
    single_path,
    time_augmented,
    words,
)


def rolling_signature(path: Any, window_points: int, order: int) -> Floats:
    """Signatures (T - window_points + 1, F) of all windows of ``window_points`` points of ``path`` (T, d).

    Row i is ``signature(path[i : i + window_points], order)`` up to rounding (1e-14 of the largest coordinate); the
    cost does not grow with the window. Blocks are counted from the first point, so later points change no earlier row
    by a single bit. Raises BadInput as ``signature`` does, and where the path is shorter than one window.
    """
    numbers = single_path(path, window_points)
    order, channels = at_least(1, order, "order"), numbers.shape[1]
    signatures: Floats = chen.rolling(
        numbers,
        int(window_points) - 1,
        order,
        signature_length(channels, order),
        chen.letters_of(channels, order),
        chen.LANES,
    )
    refuse_not_finite(signatures, numbers, "path")
    return signatures


def window_features(log_prices: Any, window_points: int, order: int = 3) -> Floats:
    """Signatures of (time, log price) in every window, free of units: 14 columns at order 3, ``words(2, order)``.

    Time runs from 0 to 1 within each window and the log price is measured in the window's realised volatility
    ``window_scales``. Signatures are those of increments, so demeaning changes nothing and is left out; and a scaled
    channel multiplies a coordinate once per letter, so the raw windows are rolled in exact unit time steps and scaled
    afterwards. The level of volatility is thereby *not* in these features, only the shape: multiply by
    ``window_scales ** (ones in the word)`` to have it back. A window whose price never moved has 0 in every word with a
    price in it, which is its exact signature at any scale.

    The scale is this project's choice (the papers ask only for a rescaling that keeps the numbers near 1): the root of
    the sum of squares is 0 only for a price that stood still, unlike a standard deviation about the mean, which a
    straight line makes 0 too. Word (1,) is then the return over its realised volatility, at most
    sqrt(window_points - 1).

    Raises BadInput where the order breaks the cap on features, and as ``rolling_signature`` does.
    """
    check_width(2, order)
    prices = finite(log_prices, "log_prices")
    if prices.ndim != 1:
        raise BadInput(f"{prices.ndim} axes, not one", column="log_prices")
    if len(prices) < at_least(2, window_points, "window_points"):
        raise BadInput(f"{len(prices)} points do not fill one window of {window_points}", column="log_prices")
    raw = rolling_signature(time_augmented(prices, window_normalised=False), window_points, order)
    scales = window_scales(prices, window_points)
    per_price = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0)
    prices_in = np.array([sum(word) for word in words(2, order)])
    times_in = np.array([len(word) for word in words(2, order)]) - prices_in
    time_factors = (1.0 / (window_points - 1)) ** times_in
    price_factors = per_price[:, np.newaxis] ** np.arange(order + 1)
    features: Floats = raw * time_factors * price_factors[:, prices_in]
    return features


def window_scales(log_prices: Floats, window_points: int) -> Floats:
    """The realised volatility of each window: the root of the sum of its squared log returns, per window (no unit)."""
    squares = np.diff(log_prices) ** 2
    windows = np.lib.stride_tricks.sliding_window_view(squares, window_points - 1)
    scales: Floats = np.sqrt(windows.sum(axis=-1))
    return scales
