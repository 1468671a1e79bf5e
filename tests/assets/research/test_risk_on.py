import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from assets.research.bad_input import BadInput
from assets.research.regime.gate import gate_states
from assets.research.regime.orcsmc import AdaptiveConfig, FilterConfig
from assets.research.regime.risk_on import (
    LatentModel,
    RiskOnDefinition,
    RiskOnFilter,
    filter_risk_on,
    fit_latent_model,
)
from assets.research.regime.two_state import TwoStateChain, forward_filter
from resources.settings import Settings
from tests.assets.research.regime_models import grid_filter, latent_path, normal_steps

TRUTH = LatentModel(
    scale=0.03,
    volatility_persistence=0.95,
    volatility_spread=0.7,
    drift_persistence=0.5 ** (1 / 20),
    drift_spread=0.25,
    days=365,
)
QUICK = FilterConfig(particles=500, window=10, iterations=2)


def simulated(model, length, seed):
    """Returns (T,) and states (T, 2) of the latent model."""
    generator = np.random.default_rng(seed)
    states = latent_path(model.state_space().transition, length, generator)
    noise = generator.normal(size=length)
    return model.scale * (states[:, 1] + np.exp(states[:, 0] / 2) * noise), states


def switching_returns(days, seed):
    """Calm days (on) and stressed ones with three times the volatility and a falling drift; with their exact filter."""
    generator = np.random.default_rng(seed)
    chain = TwoStateChain(initial_on=0.8, stay_on=0.985, turn_on=0.06)
    on, chance = np.empty(days, bool), chain.initial_on
    for t in range(days):
        on[t] = generator.random() < chance
        chance = chain.stay_on if on[t] else chain.turn_on
    mean, spread = np.array([-0.006, 0.001]), np.array([0.06, 0.02])
    returns = mean[on.astype(int)] + spread[on.astype(int)] * generator.normal(size=days)
    logs = -0.5 * math.log(2 * math.pi) - np.log(spread) - 0.5 * ((returns[:, None] - mean) / spread) ** 2
    return on, returns, forward_filter(chain, logs)[0]


def test_the_probability_is_that_of_a_grid_over_both_states():
    returns, _ = simulated(TRUTH, 40, seed=1)
    h, m = np.linspace(-3.5, 3.5, 71), np.linspace(-1.1, 1.1, 67)
    law = TRUTH.state_space().transition
    steps = [normal_steps(grid, law.matrix[i, i], law.covariance[i, i]) for i, grid in enumerate((h, m))]
    points = np.array([[x, y] for x in h for y in m])
    initial = np.exp(-0.5 * (points[:, 0] / 0.7) ** 2 - 0.5 * (points[:, 1] / 0.25) ** 2)
    logs = (
        -0.5 * math.log(2 * math.pi)
        - math.log(0.03)
        - 0.5 * points[:, 0]
        - 0.5 * (returns[:, None] / 0.03 - points[:, 1]) ** 2 * np.exp(-points[:, 0])
    )
    beliefs, log_likelihood = grid_filter(initial, np.kron(*steps), logs)
    # The grid's points stand for cells: a border through a cell counts by the part of the cell inside.
    inside = []
    for grid, border, sign in ((h, 0.7 * ndtri(0.8), 1), (m, 0.25 * ndtri(0.15), -1)):
        width = grid[1] - grid[0]
        inside.append(np.clip(sign * (border - grid) / width + 0.5, 0, 1))
    exact = beliefs @ np.kron(*inside)

    paths = [filter_risk_on(TRUTH, returns, FilterConfig(iterations=2), seed) for seed in range(6)]
    probabilities = np.array([path.probability for path in paths])
    # 1000 particles with an effective size above 600: at most 0.5 / sqrt 600 = 0.02 in root mean square.
    assert np.sqrt(((probabilities - exact) ** 2).mean()) < 0.025
    assert np.abs(probabilities.mean(axis=0) - exact).max() < 0.03
    errors = np.array([path.log_likelihood for path in paths]) - log_likelihood
    assert abs(errors.mean()) < 0.03
    assert errors.std(ddof=1) < 0.1
    assert min(path.ess.mean() for path in paths) > 600


def test_the_fit_finds_the_parameters_of_a_long_series():
    """Up to what the quasi-likelihood leaves out: drift hides the quietest days, so that the spread comes out low."""
    truth = replace(TRUTH, drift_spread=0.15)
    fitted = fit_latent_model(simulated(truth, 6000, seed=2)[0])
    assert fitted.scale == pytest.approx(0.03, rel=0.1)
    assert fitted.volatility_persistence == pytest.approx(0.95, abs=0.03)
    assert fitted.volatility_spread == pytest.approx(0.7, rel=0.25)
    assert fitted.drift_spread == pytest.approx(0.15, rel=0.5)
    assert fitted.days == 6000
    assert fitted.drift_persistence == 0.5 ** (1 / 20)


def test_the_fit_follows_the_unit_of_the_returns_alone():
    returns, _ = simulated(TRUTH, 365, seed=3)
    fitted, larger = fit_latent_model(returns), fit_latent_model(10 * returns)
    assert larger.scale == pytest.approx(10 * fitted.scale, rel=1e-3)
    assert larger.volatility_spread == pytest.approx(fitted.volatility_spread, rel=1e-2)
    assert larger.drift_spread == pytest.approx(fitted.drift_spread, rel=1e-2)


def test_every_year_of_days_gives_a_model_within_the_bounds():
    for seed in range(15):
        returns, _ = simulated(TRUTH, 120 + 20 * seed, seed=100 + seed)
        fitted = fit_latent_model(returns)
        assert 0.5 ** (1 / 7) <= fitted.volatility_persistence <= 0.5 ** (1 / 180)
        assert 0.1 <= fitted.volatility_spread <= 1.5
        assert 0.01 <= fitted.drift_spread <= math.sqrt(0.1)
        fitted.state_space()
    still = np.where(np.arange(365) % 3 == 0, 0.0, simulated(TRUTH, 365, seed=4)[0])
    assert math.isfinite(fit_latent_model(still).scale)


def test_without_information_the_probability_is_the_definitions_own():
    path = filter_risk_on(TRUTH, [None] * 5, FilterConfig(), seed=1)
    # 0.80 * 0.85, known to 1000 particles: four standard errors.
    np.testing.assert_allclose(path.probability, 0.68, atol=4 * math.sqrt(0.68 * 0.32 / 1000))
    np.testing.assert_allclose(path.ess, 1000)
    assert not path.observed.any()
    assert path.log_likelihood == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [1, 3, 6])
def test_two_regimes_are_told_apart_as_the_exact_filter_tells_them(seed):
    """Fitted to a year of two-state data, then run over the next two: neither model nor set is the chain's own, so
    only the order is the exact filter's and, by and large, the side of the gate's threshold."""
    on, returns, exact = switching_returns(365 + 730, seed)
    model = fit_latent_model(returns[:365])
    ours = filter_risk_on(model, returns[365:], QUICK, seed=1).probability
    on, exact = on[365:], exact[365:]
    assert exact[on].mean() > 0.9
    assert exact[~on].mean() < 0.3
    assert ours[on].mean() - ours[~on].mean() > 0.3
    assert np.corrcoef(ours, exact)[0, 1] > 0.8
    assert ((ours >= 0.60) == (exact >= 0.60)).mean() > 0.85


def test_a_missing_return_only_predicts_and_is_not_observed():
    returns = [*simulated(TRUTH, 20, seed=6)[0], None, None]
    online = RiskOnFilter(TRUTH, QUICK, seed=1)
    days = [online.step(value) for value in returns]
    assert [day.observed for day in days] == [True] * 20 + [False] * 2
    assert days[-1].log_likelihood == pytest.approx(days[19].log_likelihood, abs=0.1)
    path = filter_risk_on(TRUTH, returns, QUICK, seed=1)
    assert path.probability.tolist() == [day.probability for day in days]
    refusals = ["" if seen else "no close" for seen in path.observed]
    assert [day.state for day in gate_states(path.probability.tolist(), refusals)[-2:]] == ["GATE-OFF"] * 2


def test_a_crash_closes_the_gate_and_the_future_changes_nothing():
    calm = 0.03 * 0.5 * np.random.default_rng(7).normal(size=40)
    crash = [*calm, -0.15, -0.09, 0.11, -0.12]
    path = filter_risk_on(TRUTH, crash, QUICK, seed=1)
    assert path.probability[39] > 0.6
    assert path.probability[-1] < 0.1
    np.testing.assert_array_equal(filter_risk_on(TRUTH, crash[:40], QUICK, seed=1).probability, path.probability[:40])


@pytest.mark.parametrize("config", [QUICK, AdaptiveConfig(largest_window=5, most_iterations=3)])
def test_it_resumes_where_it_was_put_away(config):
    returns, _ = simulated(TRUTH, 12, seed=8)
    whole = filter_risk_on(TRUTH, returns, config, seed=3)
    online = RiskOnFilter(TRUTH, config, seed=3)
    for value in returns[:7]:
        online.step(value)
    resumed = RiskOnFilter.from_bytes(online.to_bytes(), TRUTH, config)
    assert [resumed.step(value).probability for value in returns[7:]] == whole.probability[7:].tolist()


def test_the_definition_is_a_set_of_states():
    states = np.array([[0.0, 0.0], [0.58, 0.0], [0.60, 0.0], [0.0, -0.25], [0.0, -0.27], [-3.0, 3.0]])
    assert RiskOnDefinition().contains(TRUTH, states).tolist() == [True, True, False, True, False, True]
    assert RiskOnDefinition(0.5, 0.5).contains(TRUTH, states).tolist() == [True, False, False, False, False, True]
    with pytest.raises(BadInput, match="column calm_share"):
        RiskOnDefinition(calm_share=1.0)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (np.full(119, 0.01), "119 returns, 120 are needed"),
        (np.zeros(200), "all zero"),
        ([*np.full(150, 0.01), float("nan")], "column returns at index 150: nan"),
        (np.full((200, 2), 0.01), "instead of"),
    ],
)
def test_returns_that_cannot_be_fitted_are_refused(returns, message):
    with pytest.raises(BadInput, match=message):
        fit_latent_model(returns)


@pytest.mark.real_data
def test_on_recorded_bitcoin_days_the_gate_is_neither_stuck_open_nor_shut():
    file = Path(Settings().test_data) / "bars_1h" / "perp" / "BTCUSDT.parquet"
    if not file.exists():
        pytest.skip(f"no recorded bars at {file}")
    close = pd.read_parquet(file).set_index("timestamp_utc")["close"].resample("1D").last().ffill()
    returns = np.diff(np.log(close.to_numpy()))
    probabilities, swings = [], []
    for start in range(365, len(returns) - 30, 180):
        model = fit_latent_model(returns[start - 365 : start])
        path = filter_risk_on(model, returns[start - 30 : start + 30], QUICK, seed=1)
        probabilities += path.probability[30:].tolist()
        swings += np.abs(returns[start : start + 30]).tolist()
        assert path.ess.min() > 0.2 * QUICK.particles
    qualifies = np.array(probabilities) >= 0.60
    assert 0.3 < qualifies.mean() < 0.95
    assert np.mean(np.array(swings)[qualifies]) < np.mean(np.array(swings)[~qualifies])
