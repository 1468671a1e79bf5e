"""The signature volatility model: its signature, its integrals, its prices and their gradient."""

from dataclasses import replace
from math import factorial

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.signatures import path_signature
from assets.research.signatures.price_models import black_scholes_price
from assets.research.signatures.volatility_model import (
    COEFFICIENTS,
    WORDS,
    PrimaryPaths,
    SignatureVolatility,
    signature_moments,
    square_root_paths,
    time_grid,
    volterra_paths,
)

SPOT = 100.0
STRIKES = np.array([90.0, 100.0, 110.0])
YEARS = np.array([0.5, 1.0])
GRID = time_grid(YEARS, 40)
# Any coefficients with every word in play.
COEFFICIENT_ROW = np.array(
    [0.2, 0.1, 1.1, -0.2, 0.3, -0.3, 0.8, 0.1, -0.4, 0.5, 0.2, 0.3, -0.2, 0.6, -0.5]
)  # fmt: skip


def square_root(paths: int = 256, seed: int = 0) -> PrimaryPaths:
    return square_root_paths(
        GRID, initial=0.1, mean_reversion=2.0, long_run=0.15, noise=0.2, paths=paths, seed=seed
    )  # fmt: skip


def signature_of(primary: PrimaryPaths) -> dict[tuple[int, ...], np.ndarray]:
    """Each signature coefficient along each path, asked for one unit vector of coefficients at a time."""
    return {
        word: SignatureVolatility(np.eye(COEFFICIENTS)[index], 0.0).volatility(primary)
        for index, word in enumerate(WORDS)
    }


def test_words_are_in_the_order_of_the_paper() -> None:
    assert ["".join(map(str, word)) for word in WORDS] == (
        ["", "0", "1", "00", "01", "10", "11", "000", "001", "010", "011", "100", "101", "110", "111"]
    )


def test_signature_of_a_straight_path_is_the_tensor_exponential() -> None:
    times = np.array([0.0, 0.3, 0.5, 2.0])
    values = 1.7 + 0.4 * times[None, :]
    signature = signature_of(PrimaryPaths(times, np.zeros_like(values), values))
    for word in WORDS:
        expected = np.prod([(2.0, 0.8)[letter] for letter in word]) / factorial(len(word))
        assert signature[word][0, -1] == pytest.approx(expected, rel=1e-14)


def test_signature_obeys_the_shuffle_identities() -> None:
    s = signature_of(square_root())
    np.testing.assert_allclose(s[0,] * s[1,], s[0, 1] + s[1, 0], atol=1e-14)
    np.testing.assert_allclose(s[1,] ** 2 / 2, s[1, 1], atol=1e-14)
    np.testing.assert_allclose(s[1,] * s[0, 1], s[1, 0, 1] + 2 * s[0, 1, 1], atol=1e-14)
    np.testing.assert_allclose(s[0,] * s[1, 0], s[0, 1, 0] + 2 * s[1, 0, 0], atol=1e-14)
    np.testing.assert_allclose(s[1,] ** 3 / 6, s[1, 1, 1], atol=1e-14)


def test_signature_agrees_with_that_of_the_path_module() -> None:
    primary = square_root(paths=8)
    ours = np.array([coefficient[:, -1] for coefficient in signature_of(primary).values()]).T
    paths = np.stack((np.broadcast_to(GRID, primary.values.shape), primary.values), axis=-1)
    np.testing.assert_allclose(ours[:, 1:], path_signature.signature(paths, 3), rtol=1e-12, atol=1e-15)


def test_expected_signature_of_brownian_motion() -> None:
    times = np.linspace(0.0, 1.0, 65)
    # The Volterra process of 1/2 is the Brownian motion itself. 4096 independent paths would have a standard error of
    # sqrt(15) / 6 / 64 = 1e-2 in the widest word, 111.
    primary = volterra_paths(times, hurst=0.5, paths=4096, seed=2)
    np.testing.assert_allclose(primary.values, primary.driver, atol=1e-6)
    signature = signature_of(primary)
    expected = {(): 1.0, (0,): 1.0, (0, 0): 1 / 2, (1, 1): 1 / 2, (0, 0, 0): 1 / 6, (0, 1, 1): 1 / 4, (1, 1, 0): 1 / 4}
    for word in WORDS:
        assert signature[word][:, -1].mean() == pytest.approx(expected.get(word, 0.0), abs=1e-2)


def test_primary_processes_have_their_law() -> None:
    rooted = square_root(4096)
    # Euler steps keep the mean of the continuous process up to (1 - a dt)^n for exp(-a t). The standard error of 4096
    # independent paths is 1e-3.
    mean = 0.15 - 0.05 * (1 - 2 / 40) ** np.arange(41)
    np.testing.assert_allclose(rooted.values.mean(axis=0), mean, atol=1e-3)
    rough = volterra_paths(GRID, hurst=0.2, paths=4096, seed=0)
    # sqrt(2 / 4096) = 2.2 % is the standard error of a variance from as many independent paths.
    np.testing.assert_allclose((rough.values**2).mean(axis=0), GRID**0.4, rtol=0.03)
    np.testing.assert_allclose((rough.driver**2).mean(axis=0), GRID, rtol=0.03)


@pytest.mark.parametrize("correlation", [0.0, -0.6])
def test_integrals_are_those_of_the_volatility_along_the_path(correlation: float) -> None:
    primary = square_root()
    model = SignatureVolatility(COEFFICIENT_ROW, correlation)
    variances, integrals = model.integrated(signature_moments(primary, YEARS))
    volatility = model.volatility(primary)[:, :-1]
    steps, shocks = np.diff(GRID), np.diff(primary.driver, axis=1)
    for row, stop in enumerate((20, 40)):
        np.testing.assert_allclose(variances[row], (volatility**2 * steps)[:, :stop].sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(integrals[row], (volatility * shocks)[:, :stop].sum(axis=1), rtol=1e-9, atol=1e-12)


def test_constant_volatility_is_black_scholes_exactly() -> None:
    constant = np.eye(COEFFICIENTS)[0] * 0.3
    prices = SignatureVolatility(constant, 0.0).prices(signature_moments(square_root(), YEARS), SPOT, STRIKES)
    np.testing.assert_allclose(prices, black_scholes_price(SPOT, STRIKES, YEARS[:, None], 0.3), rtol=1e-13)


def test_constant_volatility_with_correlation_is_black_scholes_up_to_sampling() -> None:
    constant = np.eye(COEFFICIENTS)[0] * 0.3
    moments = signature_moments(square_root(4096), YEARS)
    prices = SignatureVolatility(constant, -0.6).prices(moments, SPOT, STRIKES)
    # The price given W has a standard deviation of about 10 and the control variate leaves a third of it: 0.05 is the
    # standard error of 4096 independent paths.
    np.testing.assert_allclose(prices, black_scholes_price(SPOT, STRIKES, YEARS[:, None], 0.3), atol=0.05)


def test_prices_agree_with_a_simulation_of_both_noises() -> None:
    model = SignatureVolatility(COEFFICIENT_ROW, -0.5)
    primary = square_root(2**15, seed=5)
    volatility, steps = model.volatility(primary)[:, :-1], np.diff(GRID)
    own = np.random.default_rng(6).normal(size=volatility.shape) * np.sqrt(steps)
    shocks = -0.5 * np.diff(primary.driver, axis=1) + np.sqrt(0.75) * own
    final = SPOT * np.exp((volatility * shocks - volatility**2 * steps / 2).sum(axis=1))
    payoffs = np.maximum(final[:, None] - STRIKES, 0.0)
    prices = model.prices(signature_moments(square_root(2**13, seed=7), YEARS), SPOT, STRIKES)[1]
    errors = payoffs.std(axis=0) / np.sqrt(len(payoffs))
    assert (np.abs(payoffs.mean(axis=0) - prices) <= 4 * errors).all()


def test_the_control_variate_takes_the_noise_of_the_spot_out() -> None:
    model = SignatureVolatility(COEFFICIENT_ROW, -0.6)
    prices = []
    for seed in range(6):
        # Fresh pseudo-random drivers: the quasi-random ones leave little noise to take out.
        driver = np.random.default_rng(seed).normal(size=(512, 40)).cumsum(axis=1) * np.sqrt(1 / 40)
        walk = np.hstack((np.zeros((512, 1)), driver))
        moments = signature_moments(PrimaryPaths(GRID, walk, 0.1 + 0.05 * walk), YEARS)
        bare, _ = model.prices_and_gradients(moments, SPOT, STRIKES, np.zeros((2, 3)))
        prices.append((bare, model.prices(moments, SPOT, STRIKES)))
    bare_spread, spread = np.std(prices, axis=0, ddof=1)
    assert (spread < bare_spread / 2).all()


@pytest.mark.parametrize("correlation", [0.0, -0.6])
def test_gradient_is_that_of_the_prices(correlation: float) -> None:
    moments = signature_moments(square_root(), YEARS)
    control = np.array([[0.8, 0.5, 0.3], [0.7, 0.5, 0.4]])

    def prices(coefficients: np.ndarray) -> np.ndarray:
        model = SignatureVolatility(coefficients, correlation)
        return model.prices_and_gradients(moments, SPOT, STRIKES, control)[0]

    _, gradients = SignatureVolatility(COEFFICIENT_ROW, correlation).prices_and_gradients(
        moments, SPOT, STRIKES, control
    )
    step = 1e-5
    for index in range(COEFFICIENTS):
        moved = np.eye(COEFFICIENTS)[index] * step
        slope = (prices(COEFFICIENT_ROW + moved) - prices(COEFFICIENT_ROW - moved)) / (2 * step)
        np.testing.assert_allclose(gradients[:, :, index], slope, rtol=1e-6, atol=1e-7)


def test_both_ways_to_a_price_agree() -> None:
    moments = signature_moments(square_root(), YEARS)
    model = SignatureVolatility(COEFFICIENT_ROW, 0.0)
    prices, _ = model.prices_and_gradients(moments, SPOT, STRIKES, np.zeros((2, 3)))
    np.testing.assert_allclose(prices, model.prices(moments, SPOT, STRIKES), rtol=1e-12)


def test_prices_depend_on_the_seed_and_not_on_the_order_of_the_paths() -> None:
    model = SignatureVolatility(COEFFICIENT_ROW, -0.6)
    primary = square_root()
    shuffled = np.random.default_rng(0).permutation(256)
    permuted = replace(primary, driver=primary.driver[shuffled], values=primary.values[shuffled])
    first, again, reordered, other = (
        model.prices(signature_moments(paths, YEARS), SPOT, STRIKES)
        for paths in (primary, square_root(), permuted, square_root(seed=1))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(reordered, first, rtol=1e-12)
    assert (other != first).all()


def test_bad_paths_maturities_and_coefficients_are_refused() -> None:
    primary = square_root()
    with pytest.raises(BadInput, match="column maturities at index 1: 0"):
        signature_moments(primary, [0.5, 0.51])
    with pytest.raises(BadInput, match="column maturities at index 1"):
        signature_moments(primary, [1.0, 0.5])
    with pytest.raises(BadInput, match="column maturities at index 0"):
        signature_moments(primary, [1.5])
    broken = primary.values.copy()
    broken[3, 7] = np.nan
    with pytest.raises(BadInput, match=r"column values\[7\] at index 3"):
        replace(primary, values=broken)
    with pytest.raises(BadInput, match="column times at index 2"):
        replace(primary, times=np.concatenate(([0.0, 0.2, 0.1], GRID[3:])))
    with pytest.raises(BadInput, match="column driver"):
        replace(primary, driver=primary.driver[:-1])
    with pytest.raises(BadInput, match="column coefficients"):
        SignatureVolatility(np.ones(14), 0.0)
    with pytest.raises(BadInput, match="column correlation"):
        SignatureVolatility(COEFFICIENT_ROW, -1.0)
    with pytest.raises(BadInput, match="column control"):
        SignatureVolatility(COEFFICIENT_ROW, 0.0).prices_and_gradients(
            signature_moments(primary, YEARS), SPOT, STRIKES, np.zeros(3)
        )
