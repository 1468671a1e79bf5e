"""Training is repeatable, can be killed and resumed, and says so where it cannot go on."""

import io
from dataclasses import replace

import jax
import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.stopping import deep, longstaff_schwartz
from assets.research.stopping.longstaff_schwartz import RegressionPolicy
from assets.research.stopping.networks import NetworkPolicy
from assets.research.stopping.problems import MaxCall
from assets.research.stopping.training_paths import TrainingPaths

PROBLEM = MaxCall.symmetric(2, 100)
TINY = deep.DeepConfig(width=8, paths=1024, batch=256, first_steps=20, steps=10)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[NetworkPolicy, list[bytes]]:
    checkpoints: list[bytes] = []
    return deep.train(PROBLEM, TINY, seed=1, on_checkpoint=checkpoints.append), checkpoints


def test_there_is_a_checkpoint_after_each_date(uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    assert len(uninterrupted[1]) == 8


@pytest.mark.parametrize("survived", [1, 4, 8])
def test_killed_and_resumed_training_gives_the_same_rule(
    survived: int, uninterrupted: tuple[NetworkPolicy, list[bytes]]
):
    saved: list[bytes] = []

    def save(content: bytes) -> None:
        saved.append(content)
        if len(saved) == survived:
            raise Killed

    with pytest.raises(Killed):
        deep.train(PROBLEM, TINY, seed=1, on_checkpoint=save)
    policy, checkpoints = uninterrupted
    assert saved == checkpoints[:survived]
    resumed = deep.train(PROBLEM, TINY, seed=1, checkpoint=saved[-1], on_checkpoint=saved.append)
    assert resumed.to_bytes() == policy.to_bytes()
    assert saved == checkpoints


def test_another_seed_gives_another_rule(uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    assert deep.train(PROBLEM, TINY, seed=2).to_bytes() != uninterrupted[0].to_bytes()


@pytest.mark.parametrize("change", ["seed", "config", "problem"])
def test_a_checkpoint_of_another_training_is_refused(change: str, uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    problem = MaxCall.symmetric(2, 101) if change == "problem" else PROBLEM
    config = replace(TINY, steps=11) if change == "config" else TINY
    with pytest.raises(BadInput, match="checkpoint"):
        deep.train(problem, config, seed=2 if change == "seed" else 1, checkpoint=uninterrupted[1][0])


def _pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, seal=np.array([{}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 broken", _pickled()])
def test_damaged_or_pickled_content_is_refused(damage: bytes):
    with pytest.raises(BadInput, match="checkpoint"):
        deep.train(PROBLEM, TINY, seed=1, checkpoint=damage)
    with pytest.raises(BadInput, match="checkpoint"):
        NetworkPolicy.from_bytes(PROBLEM, damage)


def test_half_a_checkpoint_is_refused(uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    content = uninterrupted[1][-1]
    with pytest.raises(BadInput, match="checkpoint"):
        deep.train(PROBLEM, TINY, seed=1, checkpoint=content[: len(content) // 2])
    middle = len(content) // 2
    with pytest.raises(BadInput, match="checkpoint"):
        deep.train(PROBLEM, TINY, seed=1, checkpoint=content[:middle] + bytes(64) + content[middle + 64 :])


def test_no_changed_byte_changes_a_rule_unseen():
    content = longstaff_schwartz.fit(PROBLEM, paths=200, seed=1).to_bytes()
    whole, random = RegressionPolicy.from_bytes(PROBLEM, content).to_bytes(), np.random.default_rng(8)
    for place in np.append(random.integers(len(content), size=150), len(content) - 1 - random.integers(3000, size=150)):
        damaged = bytearray(content)
        damaged[place] ^= int(random.integers(1, 256))
        try:
            restored = RegressionPolicy.from_bytes(PROBLEM, bytes(damaged))
        except BadInput:
            continue
        assert restored.to_bytes() == whole  # what was hit does not matter to the content


def test_rules_survive_being_stored(uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    networks, regression = uninterrupted[0], longstaff_schwartz.fit(PROBLEM, paths=1000, seed=1)
    state = TrainingPaths(PROBLEM, 1000, seed=3)
    state.step_back()
    for policy in (
        (networks, NetworkPolicy.from_bytes(PROBLEM, networks.to_bytes())),
        (regression, RegressionPolicy.from_bytes(PROBLEM, regression.to_bytes())),
    ):
        before, after = (each.probability(8, state.state, state.payoff) for each in policy)
        np.testing.assert_array_equal(before, after)
    with pytest.raises(BadInput, match="checkpoint"):
        RegressionPolicy.from_bytes(PROBLEM, networks.to_bytes())
    with pytest.raises(BadInput, match="checkpoint"):
        NetworkPolicy.from_bytes(MaxCall.symmetric(2, 90), networks.to_bytes())


def test_soft_and_hard_decisions_agree_and_nothing_is_stopped_out_of_the_money(
    uninterrupted: tuple[NetworkPolicy, list[bytes]],
):
    paths = TrainingPaths(PROBLEM, 4000, seed=3)
    paths.step_back()
    for policy in (uninterrupted[0], longstaff_schwartz.fit(PROBLEM, paths=1000, seed=1)):
        stops = policy.stops(8, paths.state, paths.payoff)
        probability = policy.probability(8, paths.state, paths.payoff)
        np.testing.assert_array_equal(stops, probability >= 0.5)
        assert 0 < stops.sum() < len(stops)
        assert not stops[paths.payoff == 0].any()
        assert (probability[paths.payoff == 0] == 0).all()


def test_a_decision_does_not_depend_on_its_neighbours(uninterrupted: tuple[NetworkPolicy, list[bytes]]):
    paths = TrainingPaths(PROBLEM, 500, seed=3)
    paths.step_back()
    policy, payoff = uninterrupted[0], paths.payoff
    together = policy.probability(8, paths.state, payoff)
    alone = [policy.probability(8, paths.state[row : row + 1], payoff[row : row + 1])[0] for row in range(20)]
    np.testing.assert_allclose(alone, together[:20], rtol=1e-4)


def test_a_device_that_is_not_there_is_named():
    try:
        jax.devices("gpu")
    except RuntimeError:
        with pytest.raises(deep.NoSuchDevice, match="gpu"):
            deep.train(PROBLEM, TINY, seed=1, device="gpu")
    else:
        pytest.skip("this machine has a GPU")


def test_bad_settings_are_refused_by_name():
    with pytest.raises(BadInput, match="device"):
        deep.train(PROBLEM, TINY, seed=1, device="abacus")  # type: ignore[arg-type]
    for name in ("width", "batch", "steps", "learning_rate"):
        with pytest.raises(BadInput, match=name):
            replace(TINY, **{name: 0})
    with pytest.raises(BadInput, match="paths"):
        deep.train(PROBLEM, replace(TINY, paths=10), seed=1)
