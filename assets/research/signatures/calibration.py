"""Calibration of the signature volatility model to option prices (arXiv 2507.23392, section 4).

Loss = sum over contracts of (model price - market price)^2 / vega, the coefficients in a box. The paper minimises it
with L-BFGS-B over 800,000 simulated prices; here the prices are conditional expectations, the Jacobian is analytic, and
the sum of squares is given as such to a trust-region Gauss-Newton method with the same box. The 15 coefficients are
nearly collinear; on the paper's Heston markets L-BFGS-B with the same gradient needs three to ten times the evaluations
for the same loss, and stops short of it at the paper's tolerance.

The coefficients are not identified - very different ones give the same prices - so only prices and implied volatilities
mean anything, and those also on paths that the calibration has not seen.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from assets.research.bad_input import BadInput, Floats
from assets.research.signatures.price_models import (
    black_scholes_delta,
    black_scholes_vega,
    implied_volatility,
    positive,
)
from assets.research.signatures.volatility_model import COEFFICIENTS, SignatureMoments, SignatureVolatility

# Of the at-the-money volatility, how much the level-1 term of the primary process has at the start. At 0 the loss can
# be stationary in it: a symmetric process moves no price to first order.
_INITIAL_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class OptionSurface:
    """Call prices (maturities, strikes) at zero interest, maturities in years. Raises BadInput where a price has no
    implied volatility."""

    spot: float
    maturities: Floats
    strikes: Floats
    prices: Floats

    def __post_init__(self) -> None:
        expected = (positive(self.maturities, "maturities").size, positive(self.strikes, "strikes").size)
        if np.shape(self.prices) != expected:
            raise BadInput(f"shape {np.shape(self.prices)} is not (maturities, strikes) = {expected}", column="prices")
        self.volatilities()

    def volatilities(self) -> Floats:
        """Implied volatilities (maturities, strikes)."""
        return implied_volatility(self.prices, self.spot, self.strikes, self.maturities[:, None])


class Fit(NamedTuple):
    """A model's prices and implied volatilities beside the market's: model less market, (maturities, strikes)."""

    prices: Floats
    volatilities: Floats
    price_errors: Floats
    volatility_errors: Floats


class Calibration(NamedTuple):
    """``loss`` and ``fit`` are those on the paths calibrated on; ``evaluations`` of prices with Jacobian it took.

    ``converged`` is False where the evaluations ran out first; ``at_bounds`` counts coefficients on their box.
    """

    model: SignatureVolatility
    loss: float
    evaluations: int
    converged: bool
    at_bounds: int
    fit: Fit


def calibrate(
    surface: OptionSurface, moments: SignatureMoments, correlation: float, *, bound: float = 1.0, evaluations: int = 100
) -> Calibration:
    """The coefficients whose prices on the paths of ``moments`` come closest to the surface's.

    Each coefficient is measured by the root mean square of what it adds to the volatility, and ``bound`` is the box in
    that measure (1 = 100 volatility points; the paper does not give its box). ``evaluations`` at most are spent.
    The start - the at-the-money volatility of the first maturity, part of it proportional to the primary process - is
    our own choice as well. Raises BadInput where the maturities differ or an argument has no meaning.
    """
    _same_maturities(surface, moments)
    volatilities, years = surface.volatilities(), surface.maturities[:, None]
    scales = moments.scales()
    root_weights = 1 / np.sqrt(black_scholes_vega(surface.spot, surface.strikes, years, volatilities))
    # Near the solution the model's delta is about the market's, which makes the control variate nearly optimal.
    control = black_scholes_delta(surface.spot, surface.strikes, years, volatilities)
    known: tuple[Floats, Floats, Floats] | None = None

    def evaluated(scaled: Floats) -> tuple[Floats, Floats, Floats]:
        """The point, its residuals and their Jacobian, which cost one pass over the paths together."""
        nonlocal known
        if known is None or not np.array_equal(known[0], scaled):
            model = SignatureVolatility(scaled / scales, correlation)
            prices, gradients = model.prices_and_gradients(moments, surface.spot, surface.strikes, control)
            residuals = (root_weights * (prices - surface.prices)).ravel()
            jacobian = (root_weights[:, :, None] * gradients / scales).reshape(-1, COEFFICIENTS)
            known = scaled.copy(), residuals, jacobian
        return known

    level = volatilities[0, np.argmin(np.abs(np.log(surface.strikes / surface.spot)))]
    start = np.zeros(COEFFICIENTS)
    start[0], start[2] = level, _INITIAL_SHARE * level
    box = float(positive(bound, "bound"))
    if level >= box:
        raise BadInput(f"the market's volatility {level} is outside a box of {box}", column="bound")
    found = least_squares(
        lambda scaled: evaluated(scaled)[1],
        start,
        jac=lambda scaled: evaluated(scaled)[2],
        bounds=(-box, box),
        max_nfev=evaluations,
    )
    model = SignatureVolatility(found.x / scales, correlation)
    return Calibration(
        model=model,
        loss=2 * float(found.cost),
        evaluations=int(found.nfev),
        converged=found.status > 0,
        at_bounds=int(np.count_nonzero(found.active_mask)),
        fit=compare(surface, moments, model),
    )


def compare(surface: OptionSurface, moments: SignatureMoments, model: SignatureVolatility) -> Fit:
    """What ``model`` gives on the paths of ``moments`` beside the surface: fresh paths tell what the fit is worth."""
    _same_maturities(surface, moments)
    prices = model.prices(moments, surface.spot, surface.strikes)
    volatilities = implied_volatility(prices, surface.spot, surface.strikes, surface.maturities[:, None])
    return Fit(prices, volatilities, prices - surface.prices, volatilities - surface.volatilities())


def _same_maturities(surface: OptionSurface, moments: SignatureMoments) -> None:
    if not np.array_equal(surface.maturities, moments.maturities):
        raise BadInput(
            f"the paths stop at {moments.maturities}, the surface has {surface.maturities}", column="maturities"
        )
