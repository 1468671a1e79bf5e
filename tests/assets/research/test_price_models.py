"""Reference prices against printed tables, closed forms and quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

from assets.research.bad_input import BadInput
from assets.research.signatures.price_models import (
    Heston,
    RoughBergomi,
    black_scholes_delta,
    black_scholes_price,
    black_scholes_vega,
    conditional_prices,
    implied_volatility,
    normal_points,
    volterra_covariance,
    volterra_factor,
)

SPOT = 100.0
STRIKES = np.array([90.0, 95.0, 100.0, 105.0, 110.0])
YEARS = np.array([0.1, 0.6, 1.1, 1.6])
# Exact implied volatilities of the Heston market with volatility 0.2, reversion 3, long variance 0.09, noise 0.3.
HESTON_VOLATILITIES = {
    0.0: [
        [0.218067, 0.215790, 0.215044, 0.215720, 0.217541],
        [0.256750, 0.256231, 0.256069, 0.256216, 0.256627],
        [0.272735, 0.272515, 0.272447, 0.272509, 0.272683],
        [0.280578, 0.280458, 0.280421, 0.280455, 0.280550],
    ],
    -0.5: [
        [0.231455, 0.222748, 0.214725, 0.207665, 0.201880],
        [0.262997, 0.258476, 0.254309, 0.250487, 0.247006],
        [0.275844, 0.272771, 0.269916, 0.267264, 0.264799],
        [0.281975, 0.279656, 0.277490, 0.275466, 0.273570],
    ],
}
ROUGH_YEARS = np.array([0.1, 0.2, 0.4, 0.6])
# Another simulation's, on 128-256 steps; its standard errors are 1e-4 to 2e-4.
ROUGH_VOLATILITIES = [
    [0.2197, 0.2087, 0.1982, 0.1885, 0.1797],
    [0.2140, 0.2056, 0.1978, 0.1904, 0.1836],
    [0.2095, 0.2032, 0.1972, 0.1917, 0.1864],
    [0.2071, 0.2018, 0.1967, 0.1920, 0.1876],
]


def heston(correlation: float, variance_noise: float = 0.3) -> Heston:
    return Heston(0.2, 3.0, 0.09, variance_noise, correlation)


def test_black_scholes_price_of_a_known_option() -> None:
    # At the money the price is S (2 N(s/2) - 1); N(0.1) = 0.539827837277029.
    assert black_scholes_price(100.0, 100.0, 1.0, 0.2) == pytest.approx(100 * (2 * 0.539827837277029 - 1), abs=1e-11)


def test_without_volatility_an_option_is_worth_what_it_pays() -> None:
    assert black_scholes_price(100.0, np.array([90.0, 110.0]), 1.0, 0.0).tolist() == [10.0, 0.0]


def test_delta_and_vega_are_the_slopes_of_the_price() -> None:
    step = 1e-5
    years = YEARS[:, None]
    by_volatility = (
        black_scholes_price(SPOT, STRIKES, years, 0.25 + step) - black_scholes_price(SPOT, STRIKES, years, 0.25 - step)
    ) / (2 * step)
    by_spot = (
        black_scholes_price(SPOT + step, STRIKES, years, 0.25) - black_scholes_price(SPOT - step, STRIKES, years, 0.25)
    ) / (2 * step)
    np.testing.assert_allclose(black_scholes_vega(SPOT, STRIKES, years, 0.25), by_volatility, rtol=1e-6)
    np.testing.assert_allclose(black_scholes_delta(SPOT, STRIKES, years, 0.25), by_spot, rtol=1e-6)


def test_implied_volatility_undoes_the_price() -> None:
    # Out of the money calls: no intrinsic part, so the price carries all digits of the volatility, down to 1e-280.
    strikes = np.array([100.0, 101.0, 120.0, 200.0, 1000.0])[:, None, None]
    years = np.array([0.01, 0.5, 3.0])[:, None]
    volatilities = np.array([0.05, 0.2, 0.8, 2.0])
    prices = black_scholes_price(100.0, strikes, years, volatilities)
    kept = prices > 1e-280
    assert kept.mean() > 0.7
    prices, strikes, years, volatilities = (x[kept] for x in np.broadcast_arrays(prices, strikes, years, volatilities))
    # Where the price is small against the terms it is the difference of, those leave it fewer digits.
    digits = np.maximum(1e-13 * 100 / black_scholes_vega(100.0, strikes, years, volatilities), 1e-12)
    solved = implied_volatility(prices, 100.0, strikes, years)
    assert (np.abs(solved - volatilities) <= digits).all()


def test_implied_volatility_far_from_the_money_keeps_its_digits() -> None:
    # A price of 6e-51, whose volatility a solver working on the price itself cannot see.
    price = black_scholes_price(100.0, 200.0, 0.01, 0.47)
    assert price < 1e-45
    assert implied_volatility(price, 100.0, 200.0, 0.01) == pytest.approx(0.47, abs=1e-10)


def test_implied_volatility_in_the_money_is_that_of_the_put() -> None:
    price = black_scholes_price(100.0, 60.0, 0.5, 0.4)
    assert implied_volatility(price, 100.0, 60.0, 0.5) == pytest.approx(0.4, abs=1e-9)


@pytest.mark.parametrize("price", [10.0, 9.5, 100.0, 120.0])
def test_a_price_no_volatility_gives_is_refused(price: float) -> None:
    with pytest.raises(BadInput, match="no volatility gives") as refusal:
        implied_volatility([12.0, price], 100.0, 90.0, 1.0)
    assert (refusal.value.column, refusal.value.at) == ("price", 1)


def test_what_is_not_finite_or_not_positive_is_refused() -> None:
    with pytest.raises(BadInput, match="column volatility"):
        black_scholes_price(100.0, 100.0, 1.0, np.nan)
    with pytest.raises(BadInput, match="column strike at index 1"):
        black_scholes_price(100.0, [100.0, -1.0], 1.0, 0.2)
    with pytest.raises(BadInput, match="column volatility"):
        black_scholes_price(100.0, 100.0, 1.0, -0.2)
    with pytest.raises(BadInput, match="column correlation"):
        heston(1.0)
    with pytest.raises(BadInput, match="column hurst"):
        RoughBergomi(0.2, 1.0, 0.5, -0.7)


@pytest.mark.parametrize("correlation", [0.0, -0.5])
def test_heston_volatilities_to_the_printed_digits(correlation: float) -> None:
    prices = heston(correlation).prices(SPOT, YEARS, STRIKES)
    volatilities = implied_volatility(prices, SPOT, STRIKES, YEARS[:, None])
    np.testing.assert_allclose(volatilities, HESTON_VOLATILITIES[correlation], atol=5.1e-7)


@pytest.mark.parametrize(
    ("correlation", "at_the_money"),
    [(0.0, [2.712395, 7.900064, 11.360892, 14.076958]), (-0.5, [2.708377, 7.845940, 11.256083, 13.931343])],
)
def test_heston_prices_at_the_money(correlation: float, at_the_money: list[float]) -> None:
    np.testing.assert_allclose(heston(correlation).prices(SPOT, YEARS, [100.0])[:, 0], at_the_money, atol=5.1e-7)


def test_heston_without_noise_is_black_scholes_at_the_mean_variance() -> None:
    prices = heston(0.0, variance_noise=1e-3).prices(SPOT, YEARS, STRIKES)
    mean = 0.09 + (0.04 - 0.09) * (1 - np.exp(-3 * YEARS)) / (3 * YEARS)
    np.testing.assert_allclose(prices, black_scholes_price(SPOT, STRIKES, YEARS[:, None], np.sqrt(mean)[:, None]),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(("correlation", "inner", "short_wings"), [(0.0, 7e-5, 7e-5), (-0.5, 6e-4, 2.3e-3)])
def test_the_second_order_expansion_is_as_close_as_stated(correlation: float, inner: float, short_wings: float) -> None:
    off = np.abs(heston(correlation).expansion(SPOT, YEARS, STRIKES) - HESTON_VOLATILITIES[correlation])
    assert off[1:].max() <= inner
    assert off[0, 1:-1].max() <= inner
    assert off[0].max() <= short_wings


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.8])
def test_volterra_covariance_is_the_integral_of_its_kernel(hurst: float) -> None:
    times, power = np.array([0.2, 0.5, 1.3]), hurst - 0.5
    covariance = volterra_covariance(times, hurst)
    for row, late in enumerate(times):
        for column, early in enumerate(times[: row + 1]):
            # The singularity at u = early is a weight of the quadrature.
            exponent = 2 * power if early == late else power
            kernel = (lambda _: 1.0) if early == late else (lambda u, late=late: (late - u) ** power)
            rough = 2 * hurst * quad(kernel, 0, early, weight="alg", wvar=(0, exponent))[0]
            assert covariance[3 + row, 3 + column] == pytest.approx(rough, rel=1e-8)
            mixed = (
                np.sqrt(2 * hurst) * quad(kernel, 0, early, weight="alg", wvar=(0, power if early == late else 0))[0]
            )
            assert covariance[3 + row, column] == pytest.approx(mixed, rel=1e-8)
    np.testing.assert_allclose(np.diag(covariance)[3:], times ** (2 * hurst), rtol=1e-12)


def test_volterra_process_of_half_is_its_driver_and_of_less_is_no_fractional_motion() -> None:
    times = np.array([0.3, 1.0])
    half = volterra_covariance(times, 0.5)
    np.testing.assert_allclose(half[2:, 2:], half[:2, :2], rtol=1e-12)
    fractional = (0.3**0.2 + 1.0 - 0.7**0.2) / 2
    assert abs(volterra_covariance(times, 0.1)[2, 3] - fractional) > 0.05


def test_volterra_factor_has_the_covariance() -> None:
    times = np.linspace(0.0, 0.6, 25)
    factor = volterra_factor(times, 0.1)
    np.testing.assert_allclose(factor.T @ factor, volterra_covariance(times[1:], 0.1), atol=1e-12)


def test_rough_bergomi_volatilities_within_their_standard_errors() -> None:
    estimate = RoughBergomi(0.2, 0.1, 0.5, -0.7).prices(SPOT, ROUGH_YEARS, STRIKES, steps=128, paths=1024, seed=1)
    years = ROUGH_YEARS[:, None]
    volatilities = implied_volatility(estimate.prices, SPOT, STRIKES, years)
    ours = estimate.standard_errors / black_scholes_vega(SPOT, STRIKES, years, volatilities)
    assert ours.max() < 2.5e-4
    # Three times the standard error of the difference, the table's being 2e-4, and half a printed digit.
    assert (np.abs(volatilities - ROUGH_VOLATILITIES) <= 3 * np.hypot(ours, 2e-4) + 5e-5).all()


def test_simulated_prices_are_reproducible_and_differ_by_seed() -> None:
    market = RoughBergomi(0.2, 0.1, 0.5, -0.7)
    first, again, other = (market.prices(SPOT, [0.2], STRIKES, steps=16, paths=64, seed=s).prices for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_conditional_prices_of_one_volatility_are_black_scholes() -> None:
    # Integrals of sigma dW at +-1 standard deviation have the mean of the effective spot the control variate restores.
    prices = conditional_prices(SPOT, STRIKES, 0.0, np.full(4, 0.04), np.array([-0.2, 0.2, -0.1, 0.1]))
    np.testing.assert_allclose(prices, black_scholes_price(SPOT, STRIKES, 1.0, 0.2), rtol=1e-14)


def test_conditional_prices_take_the_correlated_noise_in() -> None:
    # A constant volatility: whatever the correlation, the mean over dW is Black-Scholes again.
    shocks = 0.2 * normal_points(4096, 1, 7)[:, 0]
    prices = conditional_prices(SPOT, STRIKES, -0.7, np.full(4096, 0.04), shocks)
    np.testing.assert_allclose(prices, black_scholes_price(SPOT, STRIKES, 1.0, 0.2), atol=2e-3)


def test_point_sets_are_powers_of_two() -> None:
    with pytest.raises(BadInput, match="power of two"):
        normal_points(1000, 3, 0)
    points = normal_points(4096, 3, 0)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(points.std(axis=0), 1.0, atol=2e-3)
