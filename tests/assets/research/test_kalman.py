import numpy as np
import pytest
from scipy.stats import multivariate_normal

from assets.research.bad_input import BadInput
from assets.research.regime.kalman import (
    autoregression_log_likelihood,
    autoregression_smoothed,
    kalman_filter,
    rts_smoother,
)
from assets.research.regime.state_space import (
    BinomialCounts,
    DriftAndVolatility,
    GaussianTransition,
    LinearGaussian,
    StateSpaceModel,
)
from tests.assets.research.regime_models import autoregression, linear_data, linear_gaussian, stochastic_volatility


def general_model():
    return StateSpaceModel(
        GaussianTransition(
            matrix=np.array([[0.8, 0.3], [-0.2, 0.5]]),
            offset=np.array([0.4, -0.1]),
            covariance=np.array([[0.5, 0.2], [0.2, 0.7]]),
            initial_mean=np.array([1.0, 2.0]),
            initial_covariance=np.array([[1.5, 0.3], [0.3, 0.9]]),
        ),
        LinearGaussian(np.array([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]]), np.diag([0.3, 0.5, 0.9]) + 0.1),
    )


def test_filter_smoother_and_likelihood_are_those_of_the_joint_normal():
    """All states and observations of a short series are one normal vector: condition it directly."""
    model, length = general_model(), 5
    law, seen = model.transition, model.observation
    means, blocks = [law.initial_mean], {(0, 0): law.initial_covariance}
    for t in range(1, length):
        means.append(law.matrix @ means[-1] + law.offset)
        blocks[t, t] = law.matrix @ blocks[t - 1, t - 1] @ law.matrix.T + law.covariance
        for s in range(t):
            blocks[t, s] = law.matrix @ blocks[t - 1, s]
            blocks[s, t] = blocks[t, s].T
    mean = np.concatenate(means)
    joint = np.block([[blocks[t, s] for s in range(length)] for t in range(length)])
    observations = list(np.random.default_rng(1).normal(size=(length, 3)))
    observations[2] = None
    present = [t for t in range(length) if observations[t] is not None]
    rows = np.zeros((3 * len(present), 2 * length))
    for number, t in enumerate(present):
        rows[3 * number : 3 * number + 3, 2 * t : 2 * t + 2] = seen.matrix
    noise = np.kron(np.eye(len(present)), seen.covariance)
    values = np.concatenate([observations[t] for t in present])
    spread = rows @ joint @ rows.T + noise

    path = kalman_filter(model, observations)
    assert path.log_likelihoods[-1] == pytest.approx(multivariate_normal.logpdf(values, rows @ mean, spread), abs=1e-10)
    gain = joint @ rows.T @ np.linalg.inv(spread)
    smoothed, covariances = rts_smoother(model, path)
    np.testing.assert_allclose(smoothed.ravel(), mean + gain @ (values - rows @ mean), atol=1e-10)
    exact = joint - gain @ rows @ joint
    for t in range(length):
        np.testing.assert_allclose(covariances[t], exact[2 * t : 2 * t + 2, 2 * t : 2 * t + 2], atol=1e-10)
    np.testing.assert_allclose(path.means[-1], smoothed[-1])
    np.testing.assert_allclose(path.means[2], path.predicted_means[2])


def test_the_scalar_recursion_is_the_general_one():
    generator = np.random.default_rng(2)
    values, level, persistence, innovation, noise = generator.normal(size=80), 0.3, 0.9, 0.4, 1.7
    model = StateSpaceModel(
        autoregression(persistence, innovation, innovation / (1 - persistence**2)),
        LinearGaussian(np.eye(1), np.array([[noise]])),
    )
    path = kalman_filter(model, values - level)
    variances = np.full(80, noise)
    assert autoregression_log_likelihood(values, variances, level, persistence, innovation) == pytest.approx(
        path.log_likelihoods[-1], abs=1e-10
    )
    np.testing.assert_allclose(
        autoregression_smoothed(values, variances, level, persistence, innovation),
        rts_smoother(model, path)[0][:, 0],
        atol=1e-12,
    )


def test_a_model_that_is_not_linear_has_no_kalman_filter():
    with pytest.raises(BadInput, match="linear observation"):
        kalman_filter(stochastic_volatility(), [0.1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"covariance": np.array([[1.0, 2.0], [2.0, 1.0]])}, "column covariance: not positive definite"),
        ({"covariance": np.array([[1.0, 0.5], [0.0, 1.0]])}, "column covariance: not symmetric"),
        ({"offset": np.zeros(3)}, "column offset: shape"),
        ({"matrix": np.array([[1.0, np.nan], [0, 1]])}, r"column matrix\[1\] at index 0: nan"),
    ],
)
def test_a_transition_that_is_none_is_refused(changed, message):
    law = general_model().transition
    fields = {name: getattr(law, name) for name in ("matrix", "offset", "covariance", "initial_mean")}
    with pytest.raises(BadInput, match=message):
        GaussianTransition(**{**fields, "initial_covariance": law.initial_covariance, **changed})


def test_observations_that_do_not_fit_are_refused_by_place():
    model = linear_gaussian(2)
    data = linear_data(model, 5, 1)
    data[3, 1] = np.inf
    with pytest.raises(BadInput, match=r"column observations\[1\] at index 3: inf"):
        model.evidence(data)
    with pytest.raises(BadInput, match="column observations at index 1: shape"):
        model.evidence([[0.0, 1.0], [2.0], None])
    with pytest.raises(BadInput, match="two states, not 1"):
        StateSpaceModel(autoregression(0.9, 1.0, 1.0), DriftAndVolatility(1.0))
    counts = StateSpaceModel(autoregression(0.9, 1.0, 1.0), BinomialCounts(50))
    with pytest.raises(BadInput, match="at index 1: no count"):
        counts.evidence([3, 51])
