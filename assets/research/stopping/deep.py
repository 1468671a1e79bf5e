"""Deep optimal stopping: one decision network a date, trained backwards (arXiv 1804.05394, section 2).

At date n = N-1, ..., 1 (and 0, where paths do not start alike) Adam maximises, over mini-batches of simulated states,

    r_n(theta) = mean_k [ g(n, x_k) F(x_k) + c_k (1 - F(x_k)) ],

where c_k is the payoff that path k brings when it continues and stops by the hard decisions of the later dates. Then
the network is frozen. What differs from the paper, to need a tenth of its steps: a network starts from that of the date
after; only states that are open to stopping (in the money) are trained on; prices enter in falling order; c_k is
hedged; and one set of paths serves all steps, where the paper draws new ones for each. None of it touches the bounds,
which use the hard decisions alone and paths of their own.
"""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from assets.research.bad_input import BadInput
from assets.research.stopping.dual import generator
from assets.research.stopping.networks import (
    ROUNDING,
    Network,
    NetworkPolicy,
    network_arrays,
    networks_in,
    packed,
    unpacked,
)
from assets.research.stopping.problems import States, StoppingProblem
from assets.research.stopping.training_paths import TrainingPaths

Device = Literal["cpu", "gpu"]


class NoSuchDevice(RuntimeError):
    """The device asked for is not on this machine, or the installed jax cannot use it."""


@dataclass(frozen=True)
class DeepConfig:
    """How the networks are trained.

    width: units of both hidden layers (the paper: assets + 40); paths: simulated once for all dates; batch: states a
    step; first_steps and steps: Adam steps of the network trained first and of each one after it; learning_rate: of
    Adam, falling to zero along a half cosine at each date.
    """

    width: int
    paths: int = 1 << 16
    batch: int = 4096
    first_steps: int = 600
    steps: int = 150
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise BadInput(f"{value} is not positive", column=name)


def train(
    problem: StoppingProblem,
    config: DeepConfig,
    *,
    seed: int,
    device: Device = "cpu",
    checkpoint: bytes | None = None,
    on_checkpoint: Callable[[bytes], None] | None = None,
) -> NetworkPolicy:
    """The decisions for ``problem``; the same for the same seed and device, interrupted or not.

    ``on_checkpoint`` gets the state of the training after each date (.npz without pickle); handed back as
    ``checkpoint``, the training goes on from there. Raises NoSuchDevice, and BadInput for a checkpoint that is damaged
    or of another problem, configuration or seed.
    """
    target = _device(device)
    about = {**problem.document(), **asdict(config), "seed": seed}
    networks: list[Network | None] = [None] * problem.dates
    done = problem.dates
    if checkpoint is not None:
        arrays = unpacked("stopping training", about, checkpoint)
        networks, done = list(networks_in(arrays, problem.dates)), int(arrays["done"])
    paths = TrainingPaths(problem, config.paths, seed)
    first = 0 if problem.initial_noise else 1
    for date in range(problem.dates - 1, first - 1, -1):
        paths.step_back()
        if date < done:
            after = networks[date + 1] if date + 1 < problem.dates else None
            networks[date] = _train_date(paths, after, config, seed, target)
        paths.settle(NetworkPolicy(problem, tuple(networks), None))
        if date < done and on_checkpoint is not None:
            on_checkpoint(
                packed("stopping training", about, {"done": np.array(date), **network_arrays(tuple(networks))})
            )
    if first == 0:
        return NetworkPolicy(problem, tuple(networks), None)
    paths.step_back()
    return NetworkPolicy(problem, tuple(networks), bool(paths.payoff[0] >= paths.continued().mean()))


def _device(device: Device) -> jax.Device:
    if device not in ("cpu", "gpu"):
        raise BadInput(f"{device!r} is neither cpu nor gpu", column="device")
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise NoSuchDevice(f"no {device} to train on: {error}") from None


def _train_date(
    paths: TrainingPaths, after: Network | None, config: DeepConfig, seed: int, device: jax.Device
) -> Network | None:
    """The network of the date at which ``paths`` stand, begun from ``after``; ``after`` where nothing can be learnt."""
    problem, date, state, payoff = paths.problem, paths.date, paths.state, paths.payoff
    advantage = payoff - paths.continued()
    is_open = problem.open_to_stop(state, date, payoff)
    scale = advantage[is_open].std() if is_open.any() else 0.0
    if not scale > 0:
        return after
    rows = problem.features(state[is_open], date, payoff[is_open])
    means, deviations = rows.mean(axis=0), rows.std(axis=0)
    deviations = np.where(deviations > ROUNDING, deviations, np.float32(1))
    # One shape for all dates, so that one compilation serves them: the rows beyond ``count`` are never drawn.
    inputs = np.zeros((len(state), rows.shape[1]), np.float32)
    rewards = np.zeros(len(state), np.float32)
    count = len(rows)
    inputs[:count] = (rows - means) / deviations
    rewards[:count] = advantage[is_open] / scale
    start = _first_weights(rows.shape[1], config.width, seed) if after is None else after[2:]
    steps = config.first_steps if after is None else config.steps
    weights = _compiled(config.batch)(
        *jax.device_put((tuple(start), inputs, rewards, count, steps, np.float32(config.learning_rate)), device)
    )
    return Network(means, deviations, *(np.asarray(array) for array in weights))


def _first_weights(inputs: int, width: int, seed: int) -> list[States]:
    """Uniform weights of variance 2 / (inputs + outputs), offsets zero (Glorot and Bengio, as in the paper)."""
    random = generator(seed, 4)
    arrays = []
    for rows, columns in ((inputs, width), (width, width), (width, 1)):
        limit = np.sqrt(6 / (rows + columns))
        arrays += [random.uniform(-limit, limit, (rows, columns)).astype(np.float32), np.zeros(columns, np.float32)]
    return arrays


@functools.cache
def _compiled(batch: int) -> Callable[..., Any]:
    """Adam over ``steps`` batches, which run through the first ``count`` rows again and again."""

    def loss(weights: Any, inputs: Any, rewards: Any) -> Any:
        weights_1, offsets_1, weights_2, offsets_2, weights_3, offsets_3 = weights
        hidden = jax.nn.relu(inputs @ weights_1 + offsets_1)
        hidden = jax.nn.relu(hidden @ weights_2 + offsets_2)
        soft = jax.nn.sigmoid((hidden @ weights_3 + offsets_3)[:, 0])
        return -jnp.mean(rewards * soft)

    adam = optax.scale_by_adam()

    @jax.jit
    def run(weights: Any, inputs: Any, rewards: Any, count: Any, steps: Any, learning_rate: Any) -> Any:
        def step(number: Any, carry: Any) -> Any:
            weights, moments = carry
            drawn = (number * batch + jnp.arange(batch)) % count
            gradient = jax.grad(loss)(weights, inputs[drawn], rewards[drawn])
            update, moments = adam.update(gradient, moments)
            rate = learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * number / steps))
            return jax.tree.map(lambda weight, change: weight - rate * change, weights, update), moments

        return jax.lax.fori_loop(0, steps, step, (weights, adam.init(weights)))[0]

    return run
