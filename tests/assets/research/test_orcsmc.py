import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import multivariate_normal, norm

from assets.research.bad_input import BadInput
from assets.research.regime.bootstrap import BootstrapConfig, bootstrap_filter
from assets.research.regime.kalman import kalman_filter
from assets.research.regime.orcsmc import AdaptiveConfig, FilterConfig, RollingFilter, controlled_smc
from assets.research.regime.resampling import resample
from assets.research.regime.state_space import (
    BinomialCounts,
    GaussianTransition,
    LinearGaussian,
    StateSpaceModel,
)
from assets.research.regime.twisting import (
    learn_twist,
    new_scratch,
    new_systems,
    new_twists,
    prepare_twist,
    transition_of,
)
from assets.research.regime.two_state import TwoStateChain, forward_filter
from tests.assets.research.regime_models import (
    BETA,
    PHI,
    SIGMA,
    autoregression,
    grid_filter,
    latent_path,
    linear_data,
    linear_gaussian,
    normal_steps,
    stochastic_volatility,
    two_regimes,
    volatility_data,
)


def rolled(model, observations, config, seed):
    online = RollingFilter(model, config, seed)
    return [online.step(row) for row in observations]


def estimation_stream(seed):
    return np.random.SeedSequence(seed).spawn(2)[1]


# Precomputation and learning of one twist.


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("variances", [[0.3, 2.0, 0.7], [1e-6, 1e4, 1.0]])
def test_the_twisted_kernel_is_transition_times_twist_normalised(first, variances):
    generator = np.random.default_rng(1)
    root = generator.normal(size=(2, 3, 3))
    covariance, initial = (r @ r.T + 0.2 * np.eye(3) for r in root)
    law = GaussianTransition(
        generator.normal(size=(3, 3)), generator.normal(size=3), covariance, generator.normal(size=3), initial
    )
    twists, mean, spread = new_twists(1, 3), generator.normal(size=3), np.diag(variances)
    twists.means[0], twists.variances[0] = mean, variances
    prepare_twist(0, first, transition_of(law), twists, new_scratch(3, 4))

    x = generator.normal(size=3)
    centre = law.initial_mean if first else law.matrix @ x + law.offset
    used = initial if first else covariance
    predictive = multivariate_normal(mean, used + spread, allow_singular=True).logpdf(centre)
    white = twists.whiteners[0] @ x + twists.centres[0]
    assert twists.log_scales[0] - 0.5 * white @ white == pytest.approx(predictive, rel=1e-9)
    kernel = np.linalg.inv(np.linalg.inv(used) + np.linalg.inv(spread))
    exact = kernel @ (np.linalg.solve(used, centre) + np.linalg.solve(spread, mean))
    np.testing.assert_allclose(twists.gains[0] @ x + twists.shifts[0], exact, rtol=1e-6)
    np.testing.assert_allclose(twists.roots[0] @ twists.roots[0].T, kernel, rtol=1e-5, atol=1e-12)
    assert twists.log_norms[0] == pytest.approx(norm.logpdf(0, 0, np.sqrt(variances)).sum(), rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_learning_is_unweighted_least_squares(size):
    generator, count = np.random.default_rng(2), 200
    systems, twists = new_systems(2, size, count), new_twists(2, size)
    systems.states[0] = generator.normal(size=(size, count)) * 1.3 + 0.4
    systems.log_weights[0] = np.log(generator.dirichlet(np.ones(count)))
    states = systems.states[0].T
    systems.potentials[0] = -(0.5 * (states - 0.8) ** 2 / 0.6).sum(axis=1) + 0.1 * np.sin(3 * states).sum(axis=1)
    twists.means[1], twists.variances[1] = generator.normal(size=size), generator.uniform(0.5, 2, size)
    law = linear_gaussian(size).transition
    scratch = new_scratch(size, count)
    prepare_twist(1, False, transition_of(law), twists, scratch)
    learn_twist(0, 1, systems, twists, scratch)

    ahead = multivariate_normal(twists.means[1], law.covariance + np.diag(twists.variances[1]))
    targets = systems.potentials[0] + ahead.logpdf(states @ law.matrix.T)
    design = np.hstack([np.ones((count, 1)), states, states**2])
    coefficients = np.linalg.lstsq(design, targets, rcond=None)[0]
    linear, square = coefficients[1 : size + 1], coefficients[size + 1 :]
    np.testing.assert_allclose(twists.variances[0], -0.5 / square, rtol=1e-6)
    np.testing.assert_allclose(twists.means[0], -0.5 * linear / square, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("curvature", "spread"), [(1.0, 1.0), (0.0, 1.0), (-1.0, 0.0)])
def test_a_parabola_that_cannot_be_a_twist_becomes_flat_around_the_particles(size, curvature, spread):
    generator, count = np.random.default_rng(3), 50
    systems, twists = new_systems(1, size, count), new_twists(1, size)
    systems.states[0] = 3 + spread * generator.normal(size=(size, count))
    systems.potentials[0] = curvature * (systems.states[0] ** 2).sum(axis=0)
    learn_twist(0, -1, systems, twists, new_scratch(size, count))
    np.testing.assert_allclose(twists.variances[0], 5e9)
    np.testing.assert_allclose(twists.means[0], systems.states[0].mean(axis=1))


def test_a_needle_is_held_at_the_smallest_variance():
    systems, twists = new_systems(1, 1, 50), new_twists(1, 1)
    systems.states[0] = 1e-3 * np.random.default_rng(4).normal(size=(1, 50))
    systems.potentials[0] = -1e9 * systems.states[0, 0] ** 2
    learn_twist(0, -1, systems, twists, new_scratch(1, 50))
    assert twists.variances[0, 0] == 1e-6


# The whole algorithm by hand.


class ByHand:
    """Offline controlled SMC of a linear Gaussian model in plain numpy, drawing in the promised order."""

    def __init__(self, model, data, config, seed):
        self.law, self.seen, self.data, self.config = model.transition, model.observation, data, config
        self.size, self.count = model.dimension, config.particles
        learner, estimator = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
        psi = [None] * (len(data) + 1)
        system = self.forward(psi, learner)
        for _ in range(config.iterations):
            for t in range(len(data) - 1, -1, -1):
                psi[t] = self.fit(system[t], psi[t + 1])
            system = self.forward(psi, learner)
        self.system = self.forward(psi, estimator)

    def predictive(self, psi, centres, covariance):
        if psi is None:
            return np.zeros(len(centres))
        mean, variance = psi
        return multivariate_normal(mean, covariance + np.diag(variance)).logpdf(centres).reshape(-1)

    def fit(self, at, ahead):
        states, potentials = at[0], at[3]
        targets = potentials + self.predictive(ahead, states @ self.law.matrix.T, self.law.covariance)
        design = np.hstack([np.ones((self.count, 1)), states, states**2])
        coefficients = np.linalg.lstsq(design, targets, rcond=None)[0]
        linear, square = coefficients[1 : self.size + 1], coefficients[self.size + 1 :]
        assert (square < 0).all()
        return -0.5 * linear / square, -0.5 / square

    def forward(self, psi, generator):
        states, weights, total, system = None, np.full(self.count, 1 / self.count), 0.0, []
        for t, value in enumerate(self.data):
            covariance = self.law.covariance if t else self.law.initial_covariance
            centres = states @ self.law.matrix.T if t else np.tile(self.law.initial_mean, (self.count, 1))
            tilted = weights * np.exp(self.predictive(psi[t], centres, covariance))
            total += np.log(tilted.sum())
            weights = tilted / tilted.sum()
            if 1 / (weights**2).sum() < self.config.ess_threshold * self.count:
                centres = centres[resample(weights, self.count, generator, self.config.resampling)]
                weights = np.full(self.count, 1 / self.count)
            precision, pull, log_psi = np.linalg.inv(covariance), np.zeros(self.size), 0.0
            if psi[t] is not None:
                mean, variance = psi[t]
                precision, pull = precision + np.diag(1 / variance), mean / variance
            kernel = np.linalg.inv(precision)
            noise = generator.standard_normal((self.size, self.count)).T
            states = (np.linalg.solve(covariance, centres.T).T + pull) @ kernel + noise @ np.linalg.cholesky(kernel).T
            if psi[t] is not None:
                log_psi = norm.logpdf(states, mean, np.sqrt(variance)).sum(axis=1)
            errors = multivariate_normal(np.zeros(self.size), self.seen.covariance)
            potentials = errors.logpdf(value - states @ self.seen.matrix.T).reshape(-1)
            joint = weights * np.exp(potentials - log_psi)
            total += np.log(joint.sum())
            weights = joint / joint.sum()
            system.append((states, weights, total, potentials))
        return system


@pytest.mark.parametrize("size", [1, 3])
def test_the_offline_form_is_what_the_same_random_numbers_give_by_hand(size):
    model = linear_gaussian(size)
    data = linear_data(model, 8, 5)
    config = FilterConfig(particles=150, iterations=2, ess_threshold=0.95)
    reference = ByHand(model, data, config, seed=9).system
    filtered, log_likelihoods = controlled_smc(model, data, config, seed=9)
    states, weights, *_ = reference[-1]
    # The regressions differ by the ridge of 1e-8; eight steps do not amplify it.
    np.testing.assert_allclose(filtered.particles, states, atol=1e-5)
    np.testing.assert_allclose(filtered.weights, weights, atol=1e-6)
    np.testing.assert_allclose(log_likelihoods, [at[2] for at in reference], atol=1e-6)
    assert filtered.ess == pytest.approx(1 / (weights**2).sum(), rel=1e-4)


def test_without_iterations_it_is_the_bootstrap_filter():
    data, model = volatility_data(40, 1), stochastic_volatility()
    config = FilterConfig(particles=200, window=1, iterations=0)
    bootstrap = BootstrapConfig(200, config.ess_threshold, config.resampling)
    path = bootstrap_filter(model, data, bootstrap, estimation_stream(3))
    _, offline = controlled_smc(model, data, config, seed=3)
    np.testing.assert_array_equal(offline, path.log_likelihoods)
    online = rolled(model, data, config, seed=3)
    np.testing.assert_array_equal([at.log_likelihood for at in online], path.log_likelihoods)
    np.testing.assert_array_equal([at.mean for at in online], path.means)


def test_a_window_over_everything_is_the_offline_form():
    model, repeats = linear_gaussian(2), 30
    data = linear_data(model, 12, 6)
    config = FilterConfig(particles=300, window=12)
    at_once = controlled_smc(model, data[:1], config, seed=1)[0]
    np.testing.assert_array_equal(at_once.particles, rolled(model, data[:1], config, seed=1)[0].particles)
    online = np.array([rolled(model, data, config, seed)[-1].log_likelihood for seed in range(repeats)])
    offline = np.array([controlled_smc(model, data, config, 100 + seed)[0].log_likelihood for seed in range(repeats)])
    error = np.sqrt((online.var(ddof=1) + offline.var(ddof=1)) / repeats)
    assert abs(online.mean() - offline.mean()) <= 4 * error
    # The ratio of two variances of 30 values each lies within a factor 3.3 with probability 0.998.
    assert 1 / 3.3 < online.var(ddof=1) / offline.var(ddof=1) < 3.3


# Exact answers.


@pytest.mark.parametrize(("size", "length"), [(1, 60), (2, 60), (16, 30), (64, 6)])
def test_where_the_best_twist_is_in_the_class_there_is_no_variance(size, length):
    model = linear_gaussian(size, diagonal=True)
    data = linear_data(model, length, 7)
    exact = kalman_filter(model, data)
    filtered = rolled(model, data, FilterConfig(window=8, iterations=2 if size == 64 else 5), seed=1)[-1]
    assert abs(filtered.log_likelihood - exact.log_likelihoods[-1]) < 1e-4
    assert filtered.ess == pytest.approx(1000, abs=0.01)


@pytest.mark.parametrize(("size", "target"), [(2, 0.02), (4, 0.06)])
def test_its_likelihood_has_the_promised_spread_and_no_bias(size, target):
    model, repeats = linear_gaussian(size), 12
    data = linear_data(model, 100, 8)
    exact = kalman_filter(model, data)
    runs = [rolled(model, data, FilterConfig(window=4), seed) for seed in range(repeats)]
    errors = np.array([run[-1].log_likelihood for run in runs]) - exact.log_likelihoods[-1]
    # A standard deviation of 12 values exceeds the true one by 1.7 with probability 0.001.
    assert errors.std(ddof=1) <= 1.7 * target
    assert abs(np.expm1(errors).mean()) <= 4 * errors.std(ddof=1) / np.sqrt(repeats)
    means = np.array([[at.mean for at in run] for run in runs])
    assert np.sqrt(((means - exact.means) ** 2).mean()) < 0.035
    assert np.mean([at.ess for at in runs[0]]) > 0.65 * 1000


def test_a_short_window_is_unbiased_too():
    """ln Z strays most with L = 1; its exponential must not."""
    model, repeats = linear_gaussian(1), 200
    data = linear_data(model, 15, 9)
    config = FilterConfig(particles=100, window=1, iterations=1)
    exact = kalman_filter(model, data).log_likelihoods[-1]
    ratios = np.exp([rolled(model, data, config, seed)[-1].log_likelihood - exact for seed in range(repeats)])
    assert abs(ratios.mean() - 1) <= 4 * ratios.std(ddof=1) / np.sqrt(repeats)


def test_stochastic_volatility_agrees_with_a_grid():
    data = volatility_data(80, 10)
    grid = np.linspace(-6, 6, 1201)
    logs = -0.5 * (data[:, None] / BETA) ** 2 * np.exp(-grid) - grid / 2 - 0.5 * np.log(2 * np.pi) - np.log(BETA)
    initial = np.exp(-0.5 * grid**2 * (1 - PHI**2) / SIGMA**2)
    beliefs, log_likelihood = grid_filter(initial, normal_steps(grid, PHI, SIGMA**2), logs)
    repeats = 8
    runs = [rolled(stochastic_volatility(), data, FilterConfig(iterations=2), seed) for seed in range(repeats)]
    errors = np.array([run[-1].log_likelihood for run in runs]) - log_likelihood
    assert errors.std(ddof=1) < 0.06
    assert abs(np.expm1(errors).mean()) <= 4 * errors.std(ddof=1) / np.sqrt(repeats)
    means = np.array([[at.mean[0] for at in run] for run in runs])
    # Half a unit of filter deviation over sqrt(0.75 N) particles gives 0.02.
    assert np.sqrt(((means - beliefs @ grid) ** 2).mean()) < 0.025


def test_binomial_counts_agree_with_a_grid():
    law, trials, length = autoregression(0.99, 0.11, 1.0), 50, 40
    generator = np.random.default_rng(11)
    states = latent_path(law, length, generator)[:, 0]
    data = generator.binomial(trials, 1 / (1 + np.exp(-states)))
    grid = np.linspace(-9, 9, 1801)
    ways = gammaln(trials + 1) - gammaln(data + 1) - gammaln(trials - data + 1)
    logs = ways[:, None] + data[:, None] * grid - trials * np.logaddexp(0, grid)
    beliefs, log_likelihood = grid_filter(np.exp(-0.5 * grid**2), normal_steps(grid, 0.99, 0.11), logs)
    model = StateSpaceModel(law, BinomialCounts(trials))
    runs = [rolled(model, data, FilterConfig(window=8, iterations=2), seed) for seed in range(8)]
    errors = np.array([run[-1].log_likelihood for run in runs]) - log_likelihood
    assert errors.std(ddof=1) < 0.02
    assert abs(np.expm1(errors).mean()) <= 4 * errors.std(ddof=1) / np.sqrt(8)
    means = np.array([[at.mean[0] for at in run] for run in runs])
    assert np.sqrt(((means - beliefs @ grid) ** 2).mean()) < 0.02


def test_missing_observations_are_predicted_through():
    model = linear_gaussian(2, diagonal=True)
    data = list(linear_data(model, 12, 12))
    data[4] = data[5] = data[11] = None
    exact = kalman_filter(model, data)
    online = rolled(model, data, FilterConfig(window=6), seed=1)
    np.testing.assert_allclose([at.log_likelihood for at in online], exact.log_likelihoods, atol=1e-4)
    # Four standard errors of a mean of 1000 particles of unit variance.
    np.testing.assert_allclose([at.mean for at in online], exact.means, atol=4 * 1.1 / np.sqrt(1000))


def test_two_regimes_are_followed_as_the_exact_filter_follows_them():
    """A Gaussian state with the chain's mean, variance and memory, seen through the same noise, on two-state data.

    The twisted filter needs a Gaussian transition, so the model differs from the chain; its own exact answer (Kalman)
    it must match within Monte-Carlo error, the chain's up to what the Gaussian state costs: 0.10 in root mean square.
    The predecessor averaged 0.45 and 0.41 in the two phases, with a root mean square of 0.50.
    """
    chain, mean_on = TwoStateChain(initial_on=2 / 3, stay_on=0.95, turn_on=0.10), 0.7
    on, values, logs = two_regimes(chain, 800, mean_on, seed=13)
    exact, _ = forward_filter(chain, logs)
    centre, variance, memory = 1 / 3, 8 / 9, chain.stay_on - chain.turn_on
    law = GaussianTransition(
        np.array([[memory]]),
        np.array([centre * (1 - memory)]),
        np.array([[variance * (1 - memory**2)]]),
        np.array([centre]),
        np.array([[variance]]),
    )
    model = StateSpaceModel(law, LinearGaussian(np.array([[mean_on]]), np.eye(1)))
    # On where the Gaussian state lies in its upper two thirds, the chain's share of days on.
    border = centre + np.sqrt(variance) * norm.ppf(1 / 3)
    online = rolled(model, values, FilterConfig(window=8, iterations=2), seed=1)
    probability = np.array([at.weights[at.particles[:, 0] > border].sum() for at in online])

    kalman = kalman_filter(model, values)
    own_exact = norm.sf((border - kalman.means[:, 0]) / np.sqrt(kalman.covariances[:, 0, 0]))
    assert np.sqrt(((probability - own_exact) ** 2).mean()) < 2 * 0.5 / np.sqrt(1000)
    assert np.sqrt(((probability - exact) ** 2).mean()) < 0.12
    assert np.corrcoef(probability, exact)[0, 1] > 0.95
    assert probability[on].mean() == pytest.approx(exact[on].mean(), abs=0.06)
    assert probability[~on].mean() == pytest.approx(exact[~on].mean(), abs=0.12)


# The online object.


def test_a_filter_that_was_put_away_goes_on_as_if_it_had_not():
    data, model, config = volatility_data(25, 14), stochastic_volatility(), FilterConfig(particles=100, window=6)
    whole = rolled(model, data, config, seed=2)
    online = RollingFilter(model, config, seed=2)
    for value in data[:11]:
        online.step(value)
    early = online.to_bytes()
    resumed = RollingFilter.from_bytes(early, model, config)
    for value, expected in zip(data[11:], whole[11:], strict=True):
        filtered = resumed.step(value)
        np.testing.assert_array_equal(filtered.particles, expected.particles)
        assert filtered.log_likelihood == expected.log_likelihood
    # Memory is bounded: fourteen steps later the state is as large as before, up to the digits of its counters.
    assert abs(len(resumed.to_bytes()) - len(early)) < 100


def test_another_configuration_or_model_is_not_resumed():
    model, config = stochastic_volatility(), FilterConfig(particles=50, window=3)
    kept = RollingFilter(model, config, seed=1).to_bytes()
    with pytest.raises(BadInput, match="column config"):
        RollingFilter.from_bytes(kept, model, FilterConfig(particles=50, window=4))
    with pytest.raises(BadInput, match="column model"):
        RollingFilter.from_bytes(kept, linear_gaussian(2), config)


def test_the_same_seed_gives_the_same_steps_and_the_future_changes_nothing():
    data, model, config = volatility_data(12, 15), stochastic_volatility(), FilterConfig(particles=100, window=4)
    whole, part = rolled(model, data, config, seed=1), rolled(model, data[:7], config, seed=1)
    np.testing.assert_array_equal(whole[6].particles, part[6].particles)
    assert not np.array_equal(rolled(model, data[:1], config, seed=2)[0].particles, whole[0].particles)


def test_the_adaptive_variant_keeps_to_its_budget_and_to_the_exact_answer():
    model = linear_gaussian(2)
    data = linear_data(model, 60, 16)
    exact = kalman_filter(model, data)
    config = AdaptiveConfig(largest_window=8, most_iterations=4)
    runs = [rolled(model, data, config, seed) for seed in range(10)]
    for at in runs[0]:
        assert 1 <= at.window <= 8
        assert 1 <= at.iterations <= 4
        assert len(at.weights) * (1 + at.window * (at.iterations + 1)) <= config.budget
    # It started with the shortest window and moved.
    assert runs[0][0].window == 1
    assert max(at.window for at in runs[0]) > 2
    errors = np.array([run[-1].log_likelihood for run in runs]) - exact.log_likelihoods[-1]
    assert errors.std(ddof=1) < 0.15
    assert abs(np.expm1(errors).mean()) <= 4 * errors.std(ddof=1) / np.sqrt(10)
    resumed = RollingFilter(model, config, seed=0)
    for row in data[:20]:
        resumed.step(row)
    resumed = RollingFilter.from_bytes(resumed.to_bytes(), model, config)
    assert resumed.step(data[20]).log_likelihood == runs[0][20].log_likelihood


@pytest.mark.parametrize(
    ("make", "column"),
    [
        (lambda: FilterConfig(window=0), "window"),
        (lambda: FilterConfig(iterations=-1), "iterations"),
        (lambda: FilterConfig(particles=0), "particles"),
        (lambda: AdaptiveConfig(fewest_iterations=5, most_iterations=3), "fewest_iterations"),
        (lambda: AdaptiveConfig(largest_window=0), "largest_window"),
    ],
)
def test_settings_that_make_no_filter_are_refused(make, column):
    with pytest.raises(BadInput, match=f"column {column}"):
        make()


def test_an_observation_that_is_none_is_refused_and_leaves_the_filter_as_it_was():
    online = RollingFilter(stochastic_volatility(), FilterConfig(particles=50, window=3), seed=1)
    online.step(0.2)
    before = online.to_bytes()
    with pytest.raises(BadInput, match="column observations at index 0: nan"):
        online.step(float("nan"))
    assert online.to_bytes() == before
    with pytest.raises(BadInput, match="empty"):
        controlled_smc(stochastic_volatility(), [], FilterConfig(), seed=1)


@pytest.mark.parametrize("ess_threshold", [0.0, 1.0])
def test_an_observation_beyond_all_numbers_is_refused(ess_threshold):
    online = RollingFilter(linear_gaussian(1), FilterConfig(50, 3, 2, ess_threshold), seed=1)
    online.step(0.2)
    with pytest.raises(BadInput, match="column observations at index 1: no particle can explain it"):
        online.step(1e200)
