"""Realised volatility from signature features by ridge regression: our own step, not the paper's.

The signature volatility paper (arXiv 2507.23392) writes the volatility as a linear form of the signature but fits it to
option prices with a simulated primary process; nothing in it estimates realised volatility from a price history. What
is kept here is the form, sigma = level + <l, features>, with l from a penalised least-squares fit to past realised
volatility. So a forecast is a sum of one contribution per feature, in the unit of the volatility it was fitted to.

The fit sees the training rows alone: mean, deviation and ridge strength come from them, the last one from validation
on later training rows after earlier ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit

from assets.research.bad_input import BadInput, Floats, finite

# Ridge strengths per training row, for standardised features: from nearly least squares to nearly the mean.
STRENGTHS: tuple[float, ...] = tuple(float(strength) for strength in np.logspace(-5, 2, 15))
_FOLDS = 5
# Fewer rows than this in a validation fold say nothing about a strength.
_LEAST_FOLD = 5
# A spread of less than this share of its size is rounding: the time levels of a window's signature are constants.
_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class RealisedVolatility:
    """A fitted linear form; features (F,) in the order of the training columns.

    ``level`` is the mean training volatility, ``centre`` the mean features and ``coefficients`` what a unit of a
    feature adds (0 where it was constant in training). ``floor`` is the smallest volatility seen in training: a linear
    form knows no sign, and nothing quieter was ever observed. ``strength`` is the ridge strength per row and
    ``validation_errors`` the root mean square errors of all strengths tried, in increasing order of strength.
    """

    level: float
    centre: Floats
    coefficients: Floats
    floor: float
    strength: float
    rows: int
    validation_errors: Mapping[float, float]

    def predict(self, signatures: Any) -> Floats:
        """Volatilities (n,) of the rows ``signatures`` (n, F), never below ``floor``."""
        return np.maximum(self.level + (self._features(signatures) - self.centre) @ self.coefficients, self.floor)

    def attributions(self, row: Any) -> Floats:
        """What each feature of one ``row`` (F,) adds to ``level``: together they are the forecast before the floor."""
        features = self._features(np.atleast_2d(finite(row, "signatures")))
        if len(features) != 1:
            raise BadInput(f"expected one row, got {len(features)}", column="signatures")
        contributions: Floats = self.coefficients * (features[0] - self.centre)
        return contributions

    def to_document(self) -> dict[str, Any]:
        """As plain numbers, lists and texts (JSON), from which the same object comes back exactly."""
        return {
            "level": self.level,
            "centre": self.centre.tolist(),
            "coefficients": self.coefficients.tolist(),
            "floor": self.floor,
            "strength": self.strength,
            "rows": self.rows,
            "validation_errors": [[strength, error] for strength, error in self.validation_errors.items()],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RealisedVolatility":
        """Raises BadInput where a field is missing, not finite or of another width."""
        try:
            centre = finite(document["centre"], "centre")
            coefficients = finite(document["coefficients"], "coefficients")
            level, floor, strength = (
                float(finite([document[name]], name)[0]) for name in ("level", "floor", "strength")
            )
            errors = {float(strength): float(error) for strength, error in document["validation_errors"]}
            rows = int(document["rows"])
        except KeyError as missing:
            raise BadInput("the document lacks it", column=str(missing.args[0])) from None
        except (TypeError, ValueError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"the document does not describe a model ({error})") from None
        if centre.ndim != 1 or centre.shape != coefficients.shape:
            raise BadInput(f"{coefficients.shape} coefficients for {centre.shape} features", column="coefficients")
        return cls(level, centre, coefficients, floor, strength, rows, errors)

    def _features(self, signatures: Any) -> Floats:
        features = finite(signatures, "signatures")
        if features.ndim != 2 or features.shape[1] != self.centre.size:
            raise BadInput(f"shape {features.shape} is not (rows, {self.centre.size})", column="signatures")
        return features


def fit_realised_volatility(
    signatures: Any, realised: Any, *, strengths: Sequence[float] = STRENGTHS, gap: int = 0
) -> RealisedVolatility:
    """Fit ``realised`` (n,) volatilities > 0, in any unit, on ``signatures`` (n, F), both in order of time.

    Each of ``strengths`` (ridge penalty per row, features standardised) is fitted on the rows before each of five
    consecutive blocks and judged on the block; the least mean squared error wins and is refitted on all rows. ``gap``
    rows are left out before each block: as many as share part of their realised window with the block's first row.
    Raises BadInput where values are not finite or not positive, shapes differ or the rows are too few to validate.
    """
    features, volatilities = finite(signatures, "signatures"), finite(realised, "realised")
    if features.ndim != 2 or features.shape[1] == 0:
        raise BadInput(f"shape {features.shape} is not (rows, features)", column="signatures")
    if volatilities.shape != (len(features),):
        raise BadInput(f"shape {volatilities.shape} for {len(features)} rows of features", column="realised")
    if (volatilities <= 0).any():
        raise BadInput("a realised volatility is not positive", column="realised", at=int(np.argmax(volatilities <= 0)))
    if gap < 0:
        raise BadInput(f"{gap} is negative", column="gap")
    tried = finite(list(strengths), "strengths")
    if tried.size == 0 or tried[0] <= 0 or any(second <= first for first, second in pairwise(tried)):
        raise BadInput("expected at least one, > 0 and increasing", column="strengths")
    block = len(features) // (_FOLDS + 1)
    if block < _LEAST_FOLD or len(features) - _FOLDS * block - gap < _LEAST_FOLD:
        raise BadInput(f"{len(features)} rows with a gap of {gap} are too few to validate in order of time")

    squares = np.zeros(tried.size)
    for before, after in TimeSeriesSplit(_FOLDS, gap=gap).split(features):
        for index, strength in enumerate(tried):
            level, centre, coefficients = _fitted(features[before], volatilities[before], strength)
            forecasts = np.maximum(level + (features[after] - centre) @ coefficients, volatilities[before].min())
            squares[index] += ((forecasts - volatilities[after]) ** 2).sum()
    errors = np.sqrt(squares / (_FOLDS * block))
    best = float(tried[np.argmin(errors)])
    level, centre, coefficients = _fitted(features, volatilities, best)
    return RealisedVolatility(
        level=level,
        centre=centre,
        coefficients=coefficients,
        floor=float(volatilities.min()),
        strength=best,
        rows=len(features),
        validation_errors=dict(zip(tried.tolist(), errors.tolist(), strict=True)),
    )


def _fitted(features: Floats, volatilities: Floats, strength: float) -> tuple[float, Floats, Floats]:
    """Level, centre and coefficients per unit of each feature; what is constant in these rows gets none."""
    centre, spread = features.mean(axis=0), features.std(axis=0)
    varies = spread > _ROUNDING * np.abs(features).max(axis=0)
    coefficients = np.zeros(centre.size)
    level = float(volatilities.mean())
    if varies.any():
        standard = (features[:, varies] - centre[varies]) / spread[varies]
        ridge = Ridge(alpha=strength * len(features), fit_intercept=False).fit(standard, volatilities - level)
        coefficients[varies] = ridge.coef_ / spread[varies]
    return level, centre, coefficients
