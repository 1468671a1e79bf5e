"""The signature volatility model: volatility as a linear form of the signature of (time, primary process).

arXiv 2507.23392: dS_t = S_t sigma_t dZ_t, Z = r W + sqrt(1 - r^2) B, sigma_t = <l, sig(t, X)_t> truncated at level 3,
with a primary process X driven by W alone. The paths of X are simulated once; every price is then an algebraic function
of the 15 coefficients l, because the two integrals it needs are quadratic and linear in l:

    V = integral sigma^2 dt = l' (integral S S' dt) l          I = integral sigma dW = l' (integral S dW).

The paper reads the first from a level-7 signature; summing the 120 distinct products along the path gives the same
matrix from level 3 alone. Given the path of X the log price is Gaussian, so B is never simulated.

Letter 0 is time (years), letter 1 is X - X_0; the coefficients are ordered as ``WORDS``. The signature is that of the
piecewise linear interpolation; the integrals are left-point sums, so that on the grid the price is a martingale and a
constant l_() is Black-Scholes exactly. Coefficients belong to their grid: on one of half the step the implied
volatilities move by the order of one step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numba
import numpy as np
import numpy.typing as npt

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.signatures.price_models import (
    conditional_prices,
    normal_points,
    numbers,
    positive,
    principal_factor,
    volterra_factor,
)

ORDER = 3
WORDS: tuple[tuple[int, ...], ...] = tuple(
    word for length in range(ORDER + 1) for word in product((0, 1), repeat=length)
)
COEFFICIENTS = len(WORDS)
_ROWS, _COLUMNS = np.triu_indices(COEFFICIENTS)
PRODUCTS = _ROWS.size
# A product off the diagonal stands for two entries of the symmetric matrix.
_MULTIPLICITY = np.where(_ROWS == _COLUMNS, 1.0, 2.0)
# Below this total variance the option is worth its intrinsic value to the last digit, and 1/sqrt(V) would overflow.
_LEAST_VARIANCE = 1e-14
_ROOT_TWO, _ROOT_TWO_PI = math.sqrt(2), math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class PrimaryPaths:
    """Simulated paths of the primary process and of the Brownian motion W that drives it.

    ``times`` (n + 1,) in years from 0; ``driver`` and ``values`` (paths, n + 1), the driver starting at 0.
    """

    times: Floats
    driver: Floats
    values: Floats

    def __post_init__(self) -> None:
        times = finite(self.times, "times")
        if times.ndim != 1 or times.size < 2 or times[0] != 0:
            raise BadInput("expected at least two times, the first of them 0", column="times")
        if (np.diff(times) <= 0).any():
            raise BadInput("times do not increase", column="times", at=int(np.argmax(np.diff(times) <= 0)) + 1)
        for name in ("driver", "values"):
            shape = finite(getattr(self, name), name).shape
            if len(shape) != 2 or shape[1] != times.size or shape[0] == 0:
                raise BadInput(f"shape {shape} is not (paths, {times.size})", column=name)
        if self.driver.shape != self.values.shape:
            raise BadInput(f"{len(self.driver)} drivers for {len(self.values)} paths", column="driver")


@dataclass(frozen=True, slots=True)
class SignatureMoments:
    """What of the paths the prices depend on, at each of the ``maturities`` (years, increasing).

    ``products`` (maturities, paths, 120): sums of S_I S_J dt over pairs of words I <= J, row by row of the upper
    triangle. ``integrals`` (maturities, paths, 15): sums of S_I dW.
    """

    maturities: Floats
    products: Floats
    integrals: Floats

    def scales(self) -> Floats:
        """(15,): root mean square of each signature coefficient over paths and time up to the last maturity."""
        diagonal = self.products[-1][:, _ROWS == _COLUMNS].mean(axis=0) / self.maturities[-1]
        root: Floats = np.sqrt(diagonal)
        return root


def square_root_paths(
    times: npt.ArrayLike,
    *,
    initial: float,
    mean_reversion: float,
    long_run: float,
    noise: float,
    paths: int,
    seed: int,
) -> PrimaryPaths:
    """dX = mean_reversion (long_run - X) dt + noise sqrt(X) dW by Euler steps with X cut at 0 in both coefficients:
    the primary process of the paper for a Heston market. ``paths`` is a power of two."""
    for name, value in (("initial", initial), ("mean_reversion", mean_reversion), ("long_run", long_run)):
        positive(value, name)
    points, driver = _brownian_paths(times, paths, seed)
    values = _square_root_steps(driver, points, initial, mean_reversion, long_run, float(positive(noise, "noise")))
    return PrimaryPaths(points, driver, values)


def volterra_paths(times: npt.ArrayLike, *, hurst: float, paths: int, seed: int) -> PrimaryPaths:
    """The Volterra process of RoughBergomi, exact in law on the grid: the paper's primary process for that market.

    ``paths`` is a power of two.
    """
    points = finite(times, "times")
    gaussians = normal_points(paths, 2 * (points.size - 1), seed) @ volterra_factor(points, hurst)
    return PrimaryPaths(
        points, _from_zero(gaussians[:, : points.size - 1]), _from_zero(gaussians[:, points.size - 1 :])
    )


def signature_moments(primary: PrimaryPaths, maturities: npt.ArrayLike) -> SignatureMoments:
    """The integrals of the signature of (time, X - X_0) along every path, up to each maturity.

    Raises BadInput where a maturity is no grid time of the paths, or the maturities do not increase.
    """
    years = positive(maturities, "maturities")
    stops = np.searchsorted(primary.times, years - 1e-9)
    for index, (stop, year) in enumerate(zip(stops, years, strict=True)):
        if stop == primary.times.size or abs(primary.times[stop] - year) > 1e-9:
            raise BadInput(f"{year} is no time of the grid", column="maturities", at=index)
    if (np.diff(stops) <= 0).any():
        raise BadInput("maturities do not increase", column="maturities", at=int(np.argmax(np.diff(stops) <= 0)) + 1)
    products = np.empty((years.size, len(primary.values), PRODUCTS))
    integrals = np.empty((years.size, len(primary.values), COEFFICIENTS))
    _accumulate(primary.times, primary.driver, primary.values, stops, products, integrals)
    return SignatureMoments(years, products, integrals)


@dataclass(frozen=True, slots=True)
class SignatureVolatility:
    """Volatility coefficients (15,) in the order of ``WORDS``, and the correlation of W with the price."""

    coefficients: Floats
    correlation: float

    def __post_init__(self) -> None:
        if finite(self.coefficients, "coefficients").shape != (COEFFICIENTS,):
            raise BadInput(f"expected {COEFFICIENTS}, got shape {np.shape(self.coefficients)}", column="coefficients")
        if abs(numbers(self.correlation, "correlation")) >= 1:
            raise BadInput(f"{self.correlation} is not between -1 and 1", column="correlation")

    def volatility(self, primary: PrimaryPaths) -> Floats:
        """sigma at every grid time of every path, (paths, n + 1); a linear form, so it may be negative."""
        result = np.empty_like(primary.values)
        _linear_form(primary.times, primary.values, np.asarray(self.coefficients, dtype=np.float64), result)
        return result

    def integrated(self, moments: SignatureMoments) -> tuple[Floats, Floats]:
        """V = sum sigma^2 dt and I = sum sigma dW, each (maturities, paths)."""
        return np.maximum(moments.products @ self._quadratic(), 0.0), moments.integrals @ self.coefficients

    def prices(self, moments: SignatureMoments, spot: float, strikes: npt.ArrayLike) -> Floats:
        """Call prices (maturities, strikes), with the control variate's coefficient regressed at these paths."""
        levels, initial = positive(strikes, "strikes"), float(positive(spot, "spot"))
        return np.array(
            [
                conditional_prices(initial, levels, self.correlation, variances, integrals)
                for variances, integrals in zip(*self.integrated(moments), strict=True)
            ]
        )

    def prices_and_gradients(
        self, moments: SignatureMoments, spot: float, strikes: npt.ArrayLike, control: npt.ArrayLike
    ) -> tuple[Floats, Floats]:
        """Call prices (maturities, strikes) and their derivatives by the coefficients, (maturities, strikes, 15).

        ``control`` (maturities, strikes) are the coefficients of the control variate. They are given, not regressed,
        so that the gradient is exactly that of the price. With a path's effective spot F and variance v the price moves
        by F phi(d1) / (2 sqrt v) dv + (N(d1) - control) dF, both linear in dV and dI, and dV = 2 (S S' dt) l: each
        strike weighs the paths' products, and the 15 x 15 matrices are formed after the mean.
        """
        levels, initial = positive(strikes, "strikes"), float(positive(spot, "spot"))
        slopes = finite(control, "control")
        if slopes.shape != (moments.maturities.size, levels.size):
            raise BadInput(f"shape {slopes.shape} is not (maturities, strikes)", column="control")
        coefficients = np.asarray(self.coefficients, dtype=np.float64)
        prices, gradients = np.empty(slopes.shape), np.empty((*slopes.shape, COEFFICIENTS))
        for row in range(moments.maturities.size):
            prices[row], by_product, by_integral = _price_pass(
                moments.products[row],
                moments.integrals[row],
                self._quadratic(),
                coefficients,
                float(self.correlation),
                initial,
                levels,
                slopes[row],
            )
            matrices = np.empty((levels.size, COEFFICIENTS, COEFFICIENTS))
            matrices[:, _ROWS, _COLUMNS] = matrices[:, _COLUMNS, _ROWS] = by_product
            gradients[row] = 2 * matrices @ coefficients + by_integral
        return prices, gradients

    def _quadratic(self) -> Floats:
        """(120,): what the products are weighed with to give V."""
        weights: Floats = _MULTIPLICITY * self.coefficients[_ROWS] * self.coefficients[_COLUMNS]
        return weights


def time_grid(maturities: Sequence[float], steps: int) -> Floats:
    """``steps`` equal steps from 0 to the last maturity; signature_moments refuses a grid that misses a maturity."""
    return np.linspace(0.0, float(positive(maturities, "maturities")[-1]), steps + 1)


def _brownian_paths(times: npt.ArrayLike, paths: int, seed: int) -> tuple[Floats, Floats]:
    points = finite(times, "times")
    factor = principal_factor(np.minimum.outer(points[1:], points[1:]))
    return points, _from_zero(normal_points(paths, points.size - 1, seed) @ factor)


def _from_zero(values: Floats) -> Floats:
    return np.hstack((np.zeros((len(values), 1)), values))


@numba.njit(cache=True)
def _square_root_steps(
    driver: Floats, times: Floats, initial: float, mean_reversion: float, long_run: float, noise: float
) -> Floats:
    values = np.empty_like(driver)
    for path in range(driver.shape[0]):
        values[path, 0] = current = initial
        for step in range(times.size - 1):
            level = max(current, 0.0)
            current += mean_reversion * (long_run - level) * (times[step + 1] - times[step])
            current += noise * np.sqrt(level) * (driver[path, step + 1] - driver[path, step])
            values[path, step + 1] = current
    return values


@numba.njit(cache=True)
def _extend(signature: Floats, elapsed: float, moved: float) -> None:
    """Multiply the level-3 signature of a two-letter path by that of one straight piece (Chen), in place."""
    step = (elapsed, moved)
    for first in range(2):
        for second in range(2):
            pair = (step[first] / 3 + signature[1 + first]) * step[second] / 2 + signature[3 + 2 * first + second]
            for third in range(2):
                signature[7 + 4 * first + 2 * second + third] += pair * step[third]
    for first in range(2):
        for second in range(2):
            signature[3 + 2 * first + second] += (step[first] / 2 + signature[1 + first]) * step[second]
    for first in range(2):
        signature[1 + first] += step[first]


@numba.njit(cache=True)
def _accumulate(
    times: Floats, driver: Floats, values: Floats, stops: npt.NDArray[np.intp], products: Floats, integrals: Floats
) -> None:
    signature = np.empty(COEFFICIENTS)
    product_sums, integral_sums = np.empty(PRODUCTS), np.empty(COEFFICIENTS)
    for path in range(values.shape[0]):
        signature[:] = 0.0
        signature[0] = 1.0
        product_sums[:] = 0.0
        integral_sums[:] = 0.0
        step = 0
        for maturity in range(stops.size):
            while step < stops[maturity]:
                elapsed = times[step + 1] - times[step]
                shock = driver[path, step + 1] - driver[path, step]
                start = 0
                for row in range(COEFFICIENTS):
                    integral_sums[row] += signature[row] * shock
                    weight = signature[row] * elapsed
                    for column in range(row, COEFFICIENTS):
                        product_sums[start + column - row] += weight * signature[column]
                    start += COEFFICIENTS - row
                _extend(signature, elapsed, values[path, step + 1] - values[path, step])
                step += 1
            products[maturity, path] = product_sums
            integrals[maturity, path] = integral_sums


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def _price_pass(
    products: Floats,
    integrals: Floats,
    quadratic: Floats,
    coefficients: Floats,
    correlation: float,
    spot: float,
    strikes: Floats,
    control: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Prices of one maturity, and the mean products and integrals weighed with the price's slope in V and in I.

    One pass in one thread: a threaded matrix product of this shape gains little and stalls where cores are shared.
    """
    prices = np.zeros(strikes.size)
    by_product, by_integral = np.zeros((strikes.size, PRODUCTS)), np.zeros((strikes.size, COEFFICIENTS))
    moneyness = np.log(spot / strikes)
    own = 1.0 - correlation * correlation
    for path in range(products.shape[0]):
        variance, integral = 0.0, 0.0
        for index in range(PRODUCTS):
            variance += products[path, index] * quadratic[index]
        for index in range(COEFFICIENTS):
            integral += integrals[path, index] * coefficients[index]
        drift = correlation * integral - correlation * correlation * max(variance, 0.0) / 2
        effective = spot * math.exp(drift)
        deviation = math.sqrt(own * max(variance, _LEAST_VARIANCE))
        for index in range(strikes.size):
            upper = (moneyness[index] + drift) / deviation + deviation / 2
            delta = math.erfc(-upper / _ROOT_TWO) / 2
            payoff = effective * delta - strikes[index] * math.erfc((deviation - upper) / _ROOT_TWO) / 2
            prices[index] += payoff - control[index] * (effective - spot)
            by_spot = effective * (delta - control[index])
            density = effective * math.exp(-upper * upper / 2) / _ROOT_TWO_PI
            by_variance = own * density / (2 * deviation) - correlation * correlation / 2 * by_spot
            for column in range(PRODUCTS):
                by_product[index, column] += by_variance * products[path, column]
            for column in range(COEFFICIENTS):
                by_integral[index, column] += correlation * by_spot * integrals[path, column]
    count = products.shape[0]
    return prices / count, by_product / count, by_integral / count


@numba.njit(cache=True)
def _linear_form(times: Floats, values: Floats, coefficients: Floats, result: Floats) -> None:
    signature = np.empty(COEFFICIENTS)
    for path in range(values.shape[0]):
        signature[:] = 0.0
        signature[0] = 1.0
        result[path, 0] = coefficients[0]
        for step in range(times.size - 1):
            _extend(signature, times[step + 1] - times[step], values[path, step + 1] - values[path, step])
            result[path, step + 1] = signature @ coefficients
