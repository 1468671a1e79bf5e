from itertools import pairwise, product

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.regime.two_state import TwoStateChain, forward_filter


def test_the_recursion_is_the_sum_over_all_paths():
    chain = TwoStateChain(initial_on=0.3, stay_on=0.9, turn_on=0.2)
    logs = np.random.default_rng(1).normal(size=(7, 2)) * 2
    move = np.array([[0.8, 0.2], [0.1, 0.9]])
    for length in range(1, 8):
        total = on_last = 0.0
        for path in product((0, 1), repeat=length):
            weight = (0.3 if path[0] else 0.7) * np.exp(sum(logs[t, state] for t, state in enumerate(path)))
            for before, after in pairwise(path):
                weight *= move[before, after]
            total += weight
            on_last += weight * path[-1]
        probabilities, log_likelihood = forward_filter(chain, logs[:length])
        assert probabilities[-1] == pytest.approx(on_last / total, abs=1e-12)
        assert log_likelihood == pytest.approx(np.log(total), abs=1e-12)


def test_densities_far_below_the_smallest_number_do_no_harm():
    chain = TwoStateChain(0.5, 0.9, 0.1)
    logs = np.array([[-2000.0, -2001.0], [-5000.0, -4990.0]])
    shifted = logs - logs.max(axis=1, keepdims=True)
    np.testing.assert_allclose(forward_filter(chain, logs)[0], forward_filter(chain, shifted)[0])


def test_what_is_no_chain_or_no_density_is_refused():
    with pytest.raises(BadInput, match="column stay_on"):
        TwoStateChain(0.5, 1.2, 0.1)
    chain = TwoStateChain(0.5, 0.9, 0.1)
    with pytest.raises(BadInput, match="instead of"):
        forward_filter(chain, np.zeros((3, 3)))
    with pytest.raises(BadInput, match="impossible under the chain"):
        forward_filter(TwoStateChain(0.0, 0.5, 0.0), np.array([[-1000.0, 0.0]]))
