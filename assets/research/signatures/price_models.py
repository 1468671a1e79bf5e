"""Reference prices: Black-Scholes, Heston and rough Bergomi, everything at zero interest rate.

They are the markets the signature volatility model is calibrated to (arXiv 2507.23392, section 4) and its oracles.
Prices are calls in the unit of the spot, volatilities are per square root of a year, maturities are years. Surfaces
have shape (maturities, strikes).
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad_vec
from scipy.special import erfcx, hyp2f1, ndtr, ndtri
from scipy.stats import qmc

from assets.research.bad_input import BadInput, Floats, finite

# Newton on the logarithm of the price needs a handful of steps; a bisection to the last digit needs about this many.
_ITERATIONS = 120
# Independent scrambles of the point set: enough for a standard error, few enough for the points to stay even.
_SCRAMBLES = 8
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)


def numbers(values: npt.ArrayLike, name: str) -> Floats:
    """``values`` (or one value) as float64, finite; raises BadInput naming the first that is not."""
    array: Floats = finite(np.atleast_1d(values), name).reshape(np.shape(values))
    return array


def positive(values: npt.ArrayLike, name: str) -> Floats:
    """``values`` (or one value) as float64, finite and > 0; raises BadInput naming the first that is not."""
    array = numbers(values, name)
    if not (array > 0).all():
        place = int(np.argmax(array.ravel() <= 0))
        raise BadInput(f"{array.ravel()[place]} is not positive", column=name, at=place if array.ndim else None)
    return array


def black_scholes_price(
    spot: npt.ArrayLike, strike: npt.ArrayLike, maturity: npt.ArrayLike, volatility: npt.ArrayLike
) -> Floats:
    """Call price; the arguments broadcast. A zero volatility gives the intrinsic value."""
    spots, strikes, deviation = _terms(spot, strike, maturity, volatility)
    moneyness = np.log(spots / strikes)
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = moneyness / deviation + deviation / 2
        price = spots * ndtr(upper) - strikes * ndtr(upper - deviation)
    return np.where(deviation > 0, price, np.maximum(spots - strikes, 0.0))


def black_scholes_vega(
    spot: npt.ArrayLike, strike: npt.ArrayLike, maturity: npt.ArrayLike, volatility: npt.ArrayLike
) -> Floats:
    """Change of the price per unit of volatility (0.01 of it is one volatility point)."""
    spots, strikes, deviation = _terms(spot, strike, maturity, positive(volatility, "volatility"))
    upper = np.log(spots / strikes) / deviation + deviation / 2
    result: Floats = spots * np.exp(-upper * upper / 2) / np.sqrt(2 * np.pi) * np.sqrt(numbers(maturity, "maturity"))
    return result


def black_scholes_delta(
    spot: npt.ArrayLike, strike: npt.ArrayLike, maturity: npt.ArrayLike, volatility: npt.ArrayLike
) -> Floats:
    """Change of the price per unit of spot."""
    spots, strikes, deviation = _terms(spot, strike, maturity, positive(volatility, "volatility"))
    delta: Floats = ndtr(np.log(spots / strikes) / deviation + deviation / 2)
    return delta


def implied_volatility(
    price: npt.ArrayLike, spot: npt.ArrayLike, strike: npt.ArrayLike, maturity: npt.ArrayLike
) -> Floats:
    """The volatility at which Black-Scholes gives the call ``price``; the arguments broadcast.

    Solved for the out-of-the-money option of the same strike, whose price has no intrinsic part to drown in, by Newton
    steps on its logarithm inside a bracket. Raises BadInput where no volatility gives the price: at or below the
    intrinsic value, or at or above the spot.
    """
    prices, spots, strikes, years = np.broadcast_arrays(
        numbers(price, "price"), positive(spot, "spot"), positive(strike, "strike"), positive(maturity, "maturity")
    )
    outside = (prices <= np.maximum(spots - strikes, 0.0)) | (prices >= spots)
    if outside.any():
        place = int(np.argmax(outside.ravel()))
        raise BadInput(
            f"no volatility gives a call price of {prices.ravel()[place]} at spot {spots.ravel()[place]} "
            f"and strike {strikes.ravel()[place]}",
            column="price",
            at=place,
        )
    distance = -np.abs(np.log(spots / strikes))
    scaled = (prices - np.maximum(spots - strikes, 0.0)) / np.sqrt(spots * strikes)
    solved: Floats = _deviation_of(np.log(scaled), distance) / np.sqrt(years)
    return solved


def _deviation_of(target: Floats, distance: Floats) -> Floats:
    """The standard deviation s of the log price at which ``_log_black(distance, s)`` is ``target``."""
    low, high = np.full_like(target, 1e-9), np.full_like(target, 60.0)
    # The inflection point of the price as a function of s: no Newton step from it leaves the domain.
    deviation: Floats = np.clip(np.sqrt(2 * np.abs(distance)), 0.05, 3.0)
    for _ in range(_ITERATIONS):
        value, slope = _log_black(distance, deviation)
        excess = value - target
        low, high = np.where(excess < 0, deviation, low), np.where(excess < 0, high, deviation)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = deviation - excess / slope
        following = np.where((step > low) & (step < high), step, (low + high) / 2)
        settled = (np.abs(following - deviation) <= 4e-16 * deviation).all()
        deviation = following
        if settled:
            break
    return deviation


def _log_black(distance: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """Logarithm of the out-of-the-money price over sqrt(spot * strike), and its slope in ``deviation``.

    ``distance`` = -|ln(spot / strike)|. Far from the money both terms of the formula carry the same factor, which is
    taken out (the scaled complementary error function), so that prices of 1e-300 keep their digits.
    """
    upper = distance / deviation + deviation / 2
    lower = upper - deviation
    exponent = -((distance / deviation) ** 2) / 2 - deviation**2 / 8
    far = upper < 0
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        # price = exp(exponent) * core in the first form, and the plain formula in the second
        core = (erfcx(-np.minimum(upper, 0.0) / np.sqrt(2)) - erfcx(-np.minimum(lower, 0.0) / np.sqrt(2))) / 2
        plain = np.exp(distance / 2) * ndtr(upper) - np.exp(-distance / 2) * ndtr(lower)
        value = np.where(far, exponent + np.log(core), np.log(plain))
        slope = np.exp(np.where(far, -np.log(core), exponent - np.log(plain))) / np.sqrt(2 * np.pi)
    return value, slope


def _terms(
    spot: npt.ArrayLike, strike: npt.ArrayLike, maturity: npt.ArrayLike, volatility: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Spot, strike and the standard deviation of the log price, checked and broadcast."""
    volatilities = numbers(volatility, "volatility")
    if (volatilities < 0).any():
        raise BadInput("a volatility is negative", column="volatility", at=int(np.argmax(volatilities.ravel() < 0)))
    spots, strikes, deviation = np.broadcast_arrays(
        positive(spot, "spot"), positive(strike, "strike"), volatilities * np.sqrt(positive(maturity, "maturity"))
    )
    return spots, strikes, deviation


@dataclass(frozen=True, slots=True)
class Heston:
    """dS = S sqrt(v) dZ, dv = mean_reversion (long_variance - v) dt + variance_noise sqrt(v) dW, d<Z,W> = correlation
    dt. ``volatility`` is sqrt(v) at time 0. Raises BadInput where a parameter has no meaning."""

    volatility: float
    mean_reversion: float
    long_variance: float
    variance_noise: float
    correlation: float

    def __post_init__(self) -> None:
        _check_parameters(self)

    def prices(self, spot: float, maturities: npt.ArrayLike, strikes: npt.ArrayLike) -> Floats:
        """Call prices by Lewis' integral of the characteristic function along Im(u) = -1/2, to about 1e-9."""
        years, levels = positive(maturities, "maturities"), positive(strikes, "strikes")
        return np.array([self._row(float(positive(spot, "spot")), float(each), levels) for each in years])

    def expansion(self, spot: float, maturities: npt.ArrayLike, strikes: npt.ArrayLike) -> Floats:
        """Implied volatilities of second order in ``variance_noise`` (Alos, de Santiago, Vives).

        I = m + r/(2 m T) (1 - d/(m sqrt T)) c1 + (d^2/(m^2 T) - d/(m sqrt T) - 1/(m^2 T)) c2 / (8 m T), where m^2 is
        the mean variance up to T, d the usual d_plus at m, and c1, c2 integrals of the expected variance against the
        part of a variance shock that is still felt. Within 1e-4 of the exact value where the correlation is 0; off by
        up to 2e-3 for short maturities in the wings at correlation -0.5.
        """
        years, levels = positive(maturities, "maturities"), positive(strikes, "strikes")
        initial, reversion = self.volatility**2 - self.long_variance, self.mean_reversion
        rows = []
        for horizon in years:
            decay = -np.expm1(-reversion * horizon) / (reversion * horizon)
            mean = np.sqrt(self.long_variance + initial * decay)
            times = horizon * (_NODES + 1) / 2
            weights = _NODE_WEIGHTS * horizon / 2 * (self.long_variance + initial * np.exp(-reversion * times))
            felt = -np.expm1(-reversion * (horizon - times)) * self.variance_noise / reversion
            first, second = weights @ felt, weights @ felt**2
            deviation = mean * np.sqrt(horizon)
            upper = np.log(spot / levels) / deviation + deviation / 2
            scaled = upper / deviation
            skew = self.correlation / (2 * mean * horizon) * (1 - scaled) * first
            smile = (scaled**2 - scaled - 1 / deviation**2) * second / (8 * mean * horizon)
            rows.append(mean + skew + smile)
        return np.array(rows)

    def _row(self, spot: float, horizon: float, strikes: Floats) -> Floats:
        moneyness = np.log(spot / strikes)

        def integrand(frequency: float) -> Floats:
            values = np.exp(1j * frequency * moneyness) * self._characteristic(frequency - 0.5j, horizon)
            result: Floats = np.real(values) / (frequency**2 + 0.25)
            return result

        integral, _ = quad_vec(integrand, 0.0, np.inf, epsabs=1e-12, epsrel=1e-11)
        prices: Floats = spot - np.sqrt(spot * strikes) / np.pi * integral
        return prices

    def _characteristic(self, frequency: complex, horizon: float) -> complex:
        """E exp(i u ln(S_T / S_0)), in the form whose logarithm never crosses its branch cut."""
        noise = self.variance_noise**2
        drift = self.mean_reversion - self.correlation * self.variance_noise * 1j * frequency
        root = np.sqrt(drift**2 + noise * (frequency**2 + 1j * frequency))
        ratio, decay = (drift - root) / (drift + root), np.exp(-root * horizon)
        quotient = (1 - ratio * decay) / (1 - ratio)
        level = self.mean_reversion * self.long_variance / noise * ((drift - root) * horizon - 2 * np.log(quotient))
        slope = (drift - root) / noise * (1 - decay) / (1 - ratio * decay)
        return complex(np.exp(level + slope * self.volatility**2))


class Estimate(NamedTuple):
    """Simulated call prices with their standard errors, both (maturities, strikes)."""

    prices: Floats
    standard_errors: Floats


@dataclass(frozen=True, slots=True)
class RoughBergomi:
    """dS = S sigma dZ, sigma_t^2 = volatility^2 exp(noise V_t - noise^2 t^(2 hurst) / 2), d<Z,W> = correlation dt, with
    the Volterra process V_t = sqrt(2 hurst) integral_0^t (t - s)^(hurst - 1/2) dW_s."""

    volatility: float
    hurst: float
    noise: float
    correlation: float

    def __post_init__(self) -> None:
        _check_parameters(self)
        _check_hurst(self.hurst)

    def prices(
        self, spot: float, maturities: npt.ArrayLike, strikes: npt.ArrayLike, *, steps: int, paths: int, seed: int
    ) -> Estimate:
        """Call prices from paths that are exact in law at the ``steps`` grid points of each maturity.

        ``paths`` (a power of two) is what each of eight independent scrambles has; their scatter is the standard error.
        The integrals over time are left-point sums, so that the price stays a martingale on the grid.
        """
        years, levels = positive(maturities, "maturities"), positive(strikes, "strikes")
        means, errors = [], []
        for row, horizon in enumerate(years):
            times = np.linspace(0.0, horizon, steps + 1)
            factor = volterra_factor(times, self.hurst)
            draws = [
                self._row(spot, levels, times, normal_points(paths, 2 * steps, [seed, row, scramble]) @ factor)
                for scramble in range(_SCRAMBLES)
            ]
            means.append(np.mean(draws, axis=0))
            errors.append(np.std(draws, axis=0, ddof=1) / np.sqrt(_SCRAMBLES))
        return Estimate(np.array(means), np.array(errors))

    def _row(self, spot: float, strikes: Floats, times: Floats, gaussians: Floats) -> Floats:
        steps = times.size - 1
        increments = np.diff(gaussians[:, :steps], axis=1, prepend=0.0)
        rough = np.hstack((np.zeros((len(gaussians), 1)), gaussians[:, steps:-1]))
        logarithm = self.noise * rough - self.noise**2 * times[:-1] ** (2 * self.hurst) / 2
        volatility = self.volatility * np.exp(logarithm / 2)
        return conditional_prices(
            spot, strikes, self.correlation, (volatility**2) @ np.diff(times), (volatility * increments).sum(axis=1)
        )


def conditional_prices(
    spot: float, strikes: Floats, correlation: float, variances: Floats, integrals: Floats
) -> Floats:
    """Mean call prices over volatility paths, each integrated over the independent half of the price's noise.

    Given the path of the volatility the log price is Gaussian (Romano and Touzi), so that a path contributes the
    Black-Scholes price of an effective spot S_0 exp(r I - r^2 V / 2) with variance (1 - r^2) V, where ``variances``
    V = sum sigma^2 dt and ``integrals`` I = sum sigma dW have shape (paths,) and r is ``correlation``. The effective
    spot has mean S_0 and is the control variate, with the regression coefficient of each strike.
    """
    effective = spot * np.exp(correlation * integrals - correlation**2 * variances / 2)
    deviation = np.sqrt((1 - correlation**2) * variances)
    prices = black_scholes_price(effective, strikes[:, None], 1.0, deviation)
    off = effective - effective.mean()
    spread = off @ off
    slopes = prices @ off / spread if spread > 0 else np.zeros(strikes.size)
    mean: Floats = prices.mean(axis=1) - slopes * (effective.mean() - spot)
    return mean


def volterra_covariance(times: npt.ArrayLike, hurst: float) -> Floats:
    """Covariance (2n, 2n) of (W at the n ``times``, V at the n ``times``); ``times`` > 0 and increasing.

    V is the Volterra (Riemann-Liouville) process of RoughBergomi, whose increments are not stationary: its covariance
    is s^(2h) 2h/(h + 1/2) (s/t)^(1/2 - h) 2F1(1, 1/2 - h; 3/2 + h; s/t) for s <= t, not that of fractional Brownian
    motion.
    """
    points = positive(times, "times")
    _check_hurst(hurst)
    if (np.diff(points) <= 0).any():
        raise BadInput("times do not increase", column="times", at=int(np.argmax(np.diff(points) <= 0)) + 1)
    earlier, later = np.minimum.outer(points, points), np.maximum.outer(points, points)
    ratio, power = earlier / later, 0.5 - hurst
    rough = earlier ** (2 * hurst) * 2 * hurst / (1 - power) * ratio**power * hyp2f1(1.0, power, 2 - power, ratio)
    # Cov(V_t, W_s): rows are t, columns s
    reach = points[:, None] - np.minimum.outer(points, points)
    mixed = np.sqrt(2 * hurst) / (hurst + 0.5) * (points[:, None] ** (hurst + 0.5) - reach ** (hurst + 0.5))
    return np.block([[earlier, mixed.T], [mixed, rough]])


def volterra_factor(times: npt.ArrayLike, hurst: float) -> Floats:
    """A (2n, 2n) matrix F such that standard normal rows z give z @ F the law of ``volterra_covariance``.

    ``times`` start at 0, where both processes vanish; n is the number of points after it. The rows are principal
    components, the strongest first, so that the best dimensions of a quasi-random point carry the most.
    """
    return principal_factor(volterra_covariance(finite(times, "times")[1:], hurst))


def principal_factor(covariance: Floats) -> Floats:
    """Principal components of a covariance, scaled to their standard deviations, one a row, the strongest first."""
    values, vectors = np.linalg.eigh(covariance)
    factor: Floats = np.sqrt(np.maximum(values, 0.0))[::-1, None] * vectors.T[::-1]
    return factor


def normal_points(paths: int, dimensions: int, seed: int | list[int]) -> Floats:
    """(paths, dimensions) standard normal coordinates of a scrambled Sobol point set.

    Each scramble is unbiased by itself; ``paths`` must be a power of two, for which the set is balanced.
    """
    exponent = paths.bit_length() - 1
    if paths < 2 or paths != 1 << exponent:
        raise BadInput(f"{paths} is not a power of two", column="paths")
    uniform = qmc.Sobol(dimensions, rng=np.random.default_rng(seed)).random_base2(exponent)
    # The points are multiples of 2^-30 and may be 0: their cells' centres are not.
    points: Floats = ndtri(uniform + 2.0**-31)
    return points


def _check_parameters(model: Heston | RoughBergomi) -> None:
    for field in fields(model):
        value = numbers(getattr(model, field.name), field.name)
        if field.name == "correlation":
            if abs(value) >= 1:
                raise BadInput(f"{value} is not between -1 and 1", column="correlation")
        else:
            positive(value, field.name)


def _check_hurst(hurst: float) -> None:
    if not 0 < hurst < 1:
        raise BadInput(f"{hurst} is not between 0 and 1", column="hurst")
