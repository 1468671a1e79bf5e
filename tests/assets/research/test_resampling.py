import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.regime.exponential import exponential
from assets.research.regime.resampling import METHODS, resample

WEIGHTS = np.array([0.02, 0.4, 0.0, 0.13, 0.25, 0.2])


@pytest.mark.parametrize("method", METHODS)
def test_a_particle_gets_copies_in_proportion_to_its_weight(method):
    generator, count, repeats = np.random.default_rng(1), 17, 20_000
    copies = np.array([np.bincount(resample(WEIGHTS, count, generator, method), minlength=6) for _ in range(repeats)])
    # Four standard errors of each average.
    error = 4 * copies.std(axis=0) / np.sqrt(repeats) + 1e-12
    assert (np.abs(copies.mean(axis=0) - count * WEIGHTS) <= error).all()


@pytest.mark.parametrize("method", METHODS)
def test_no_particle_falls_below_the_whole_copies_it_is_due(method):
    generator = np.random.default_rng(2)
    for _ in range(200):
        weights = generator.dirichlet(np.ones(40))
        copies = np.bincount(resample(weights, 100, generator, method), minlength=40)
        assert copies.sum() == 100
        assert (copies >= np.floor(100 * weights - 1e-9)).all()
        if method == "systematic":
            assert (copies <= np.ceil(100 * weights + 1e-9)).all()


def test_residual_multinomial_is_what_the_same_random_numbers_give_by_hand():
    weights, count = np.random.default_rng(3).dirichlet(np.ones(50)), 60
    whole = np.floor(count * weights).astype(int)
    expected = list(np.repeat(np.arange(50), whole))
    missing = count - whole.sum()
    spacings = np.cumsum(np.random.default_rng(4).standard_exponential(missing + 1))
    left_over = np.cumsum(count * weights - whole)
    levels = spacings[:-1] / spacings[-1] * left_over[-1]
    expected += list(np.searchsorted(left_over, levels))
    assert resample(weights, count, np.random.default_rng(4)).tolist() == expected


def test_weights_need_not_be_normalised_and_the_number_may_change():
    drawn = resample([0, 3, 1], 8, np.random.default_rng(5), "residual-multinomial")
    assert np.bincount(drawn, minlength=3).tolist() == [0, 6, 2]


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        ([0.5, float("nan")], 2, "column weights at index 1: nan is not a finite number"),
        ([0.5, -0.1], 2, "column weights at index 1: negative"),
        ([0.0, 0.0], 2, "every weight is zero"),
        ([[0.5, 0.5]], 2, "one weight a particle"),
        ([1.0], 0, "column count"),
    ],
)
def test_unusable_weights_are_refused_by_place(weights, count, message):
    with pytest.raises(BadInput, match=message):
        resample(weights, count, np.random.default_rng(0))


def test_the_vector_exponential_agrees_with_the_library_and_never_leaves_the_numbers():
    points = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-1e-8, 1e-8, 101)])
    ours = np.array([exponential(point) for point in points])
    assert np.abs(ours / np.exp(points) - 1).max() < 1e-15
    assert 0 < exponential(-1e9) < 1e-300
    assert np.isfinite(exponential(1e9))
