"""One small classifier of the next day's direction: from features to a bias P(up) - P(down) in [-1, 1].

A day's direction is mostly noise, so the pieces are chosen to end near 0 when there is nothing to learn:

1. inputs standardised on the training rows alone; the last rows, behind a purge gap, are the validation;
2. a network of one hidden layer trained with a noise-tolerant loss whose asymmetry comes from an estimated rate of
   wrong labels, classes weighted equally so that it learns what the features add to the base rate;
3. last iterate, EMA and BEMA compared by their validation loss, the best taken;
4. its raw score r in [-1, 1] is no probability (noise-tolerant losses drive it to the corners): bias = base + slope
   (r - mean r), the slope measured on the validation rows and shrunk by its own uncertainty, to 0 when it is less than
   one standard error from 0 or negative.

Steps 2 and 4 are our own; the losses, rates and averages are described in their modules. Training is one compiled loop
in float32 of fixed shapes, compiled once in a process for a configuration; everything else is float64 numpy, so a
trained model is used without JAX.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.training import metrics
from assets.research.training.losses import LossName, asymmetry_threshold, cross_entropy, loss_named
from assets.research.training.recipe import LargeRate, Recipe, gradient_descent, judged
from assets.research.training.weight_averaging import AveragingConfig, with_averages

Candidate = Literal["last", "ema", "bema"]
Device = Literal["cpu", "gpu"]

# An estimate of the noise below the floor is luck, one above the ceiling is no signal: asymmetries of 1.1 to 10.
NOISE_FLOOR, NOISE_CEILING = 0.05, 0.45
LEAST_ROWS = 60

_NOISE_BLOCKS = 5
_FARTHEST = 5.0  # standardised inputs beyond are cut: features have heavy tails, a network none to compare them with
_FORMAT = "direction-model-1"
_PATH_POINTS = 64
_LEAST_CAPACITY = 512
_ARRAYS = (
    "centre", "scale", "hidden_weights", "hidden_offset", "output_weights", "output_offset",
)  # fmt: skip


class DeviceAbsent(RuntimeError):
    """The device asked for is not there, or this JAX cannot use it."""


class BadCheckpoint(BadInput):
    """Bytes that are no checkpoint of this kind, or not the ones that were written."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """``columns`` name the features; the ``optional_columns`` among them may be NaN, and get an indicator each.

    ``steps`` of ``batch_rows`` samples; ``validation_share`` of the rows, the last ones, validate behind a gap of
    ``purge_rows``. ``active_weight`` and ``passive_weight`` belong to the JAL losses.

    ``robust_after_epochs`` and ``robust_above_noise`` are the brief's switch (5 and 0.15 there): cross-entropy until
    then, and throughout when less noise is estimated. The paper uses its loss from the start, which is the default.

    ``recipe`` is the brief's but for the weight decay, 0.2 for its 5e-4: on synthetic years of 30 % wrong labels that
    was right more often on clean ones (76 % for 71 %) and left no slope on pure noise. The averages start half-way:
    from random weights BEMA is of no use earlier, nor with the paper's power of 0.2.
    """

    columns: tuple[str, ...]
    optional_columns: tuple[str, ...] = ()
    hidden_units: int = 16
    steps: int = 300
    batch_rows: int = 64
    validation_share: float = 0.25
    purge_rows: int = 7
    loss: LossName = "jal-ce"
    active_weight: float = 1.0
    passive_weight: float = 1.0
    robust_after_epochs: float = 0.0
    robust_above_noise: float = 0.0
    recipe: Recipe = field(default_factory=lambda: LargeRate(weight_decay=0.2))
    averaging: AveragingConfig = field(default_factory=lambda: AveragingConfig(bias_power=0.7, burn_in=150))

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise BadInput(f"{self.columns} are not distinct names", column="columns")
        for name in self.optional_columns:
            if name not in self.columns:
                raise BadInput("declared optional, but is no column", column=name)
        for name in ("hidden_units", "steps", "batch_rows"):
            if getattr(self, name) < 1:
                raise BadInput(f"{getattr(self, name)} is not at least 1", column=name)
        if self.purge_rows < 0:
            raise BadInput(f"{self.purge_rows} is negative", column="purge_rows")
        if not 0.05 <= self.validation_share <= 0.5:
            raise BadInput(f"{self.validation_share} is outside [0.05, 0.5]", column="validation_share")
        if self.loss not in get_args(LossName):
            raise BadInput(f"{self.loss!r} is none of {', '.join(get_args(LossName))}", column="loss")


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training did and what came of it; shares and rates in [0, 1], ``None`` where a value is undefined.

    ``candidates`` have the validation ``loss`` (the trained one) and ``accuracy`` of each. ``base_rate`` is the share
    of ups among the training rows, ``base_rate_accuracy`` what always saying its side would get in the validation,
    where ``accuracy`` is the raw score's sign and ``accuracy_error`` its standard error. ``slope_evidence`` is the
    measured slope in standard errors, ``slope`` what is left of it after the shrinking. ``learning_rates`` are
    (step, rate) at some steps. ``confidence`` is the mean largest class probability of the raw network on the
    validation rows; sparsity, separation and prunability (share of the accuracy kept by share pruned) are measured on
    the same rows.
    """

    training_rows: int
    validation_rows: int
    purge_rows: int
    epochs: float
    seed: int
    device: str
    loss: str
    noise_rate: float
    measured_noise_rate: float
    asymmetry: float
    robust_from_step: int
    candidates: dict[str, dict[str, float]]
    chosen: str
    base_rate: float
    base_rate_accuracy: float
    accuracy: float
    accuracy_error: float
    slope_evidence: float | None
    slope: float
    base_bias: float
    beats_base_rate: bool
    verdict: str
    learning_rates: list[list[float]]
    activation_sparsity: float
    confidence: float
    class_separation: float | None
    prunability: dict[str, float]
    pq_index: float | None
    targets: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class DirectionModel:
    """A trained classifier; see the module. Made by ``train_direction`` and ``from_bytes``.

    ``centre`` and ``scale`` (F,) are the training rows' mean and standard deviation; a scale of 0 marks a column that
    was constant or always missing there, and is ignored.
    """

    columns: tuple[str, ...]
    optional_columns: tuple[str, ...]
    centre: Floats
    scale: Floats
    weights: Mapping[str, Floats]
    score_centre: float
    slope: float
    base_bias: float
    report: TrainingReport

    def bias(self, features: npt.ArrayLike, *, times: Sequence[datetime] | None = None) -> Floats:
        """P(up) - P(down) in [-1, 1] of each row of ``features`` (n, F); raises BadInput as training does."""
        score = _score(self.weights, self._inputs(features, times))
        bias: Floats = np.clip(self.base_bias + self.slope * (score - self.score_centre), -1.0, 1.0)
        return bias

    def attributions(self, features: npt.ArrayLike, *, times: Sequence[datetime] | None = None) -> Floats:
        """What each column adds to the bias, (n, F): integrated gradients from the training rows' mean.

        The rows' sums are bias(row) - bias(mean), up to the quadrature and the final cut to [-1, 1]. An optional
        column's share includes that of its being there or missing.
        """
        inputs = self._inputs(features, times)
        output = self.weights["output_weights"][:, 1] - self.weights["output_weights"][:, 0]
        total = np.zeros_like(inputs)
        for point in (np.arange(_PATH_POINTS) + 0.5) / _PATH_POINTS:
            hidden = point * inputs @ self.weights["hidden_weights"] + self.weights["hidden_offset"]
            score = _score(self.weights, point * inputs)
            total += (1 - score[:, None] ** 2) / 2 * (((hidden > 0) * output) @ self.weights["hidden_weights"].T)
        shares = self.slope * inputs * total / _PATH_POINTS
        result: Floats = shares[:, : len(self.columns)].copy()
        for extra, name in enumerate(self.optional_columns, start=len(self.columns)):
            result[:, self.columns.index(name)] += shares[:, extra]
        return result

    def to_bytes(self) -> bytes:
        """An .npz without pickle: the arrays, and a JSON header with everything else and a digest of it all.

        The same model gives the same bytes. The digest finds damage and mixed-up files; it is no signature.
        """
        known = {"centre": self.centre, "scale": self.scale, **self.weights}
        arrays = {name: np.ascontiguousarray(known[name]) for name in _ARRAYS}
        header = {
            "format": _FORMAT,
            "columns": self.columns,
            "optional_columns": self.optional_columns,
            "score_centre": self.score_centre,
            "slope": self.slope,
            "base_bias": self.base_bias,
            "report": asdict(self.report),
        }
        text = json.dumps({**header, "digest": _digest(header, arrays)}, sort_keys=True, allow_nan=False)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "DirectionModel":
        """The model that ``to_bytes`` wrote; BadCheckpoint for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                header = json.loads(stored["header"].tobytes())
                arrays = {name: np.asarray(stored[name], np.float64) for name in _ARRAYS}
            if header["format"] != _FORMAT:
                raise BadCheckpoint(f"format {header['format']!r}, {_FORMAT!r} is read here")
            digest = header.pop("digest")
            if digest != _digest(header, arrays):
                raise BadCheckpoint("the content is not what was written")
            model = cls(
                columns=tuple(header["columns"]),
                optional_columns=tuple(header["optional_columns"]),
                centre=arrays.pop("centre"),
                scale=arrays.pop("scale"),
                weights=arrays,
                score_centre=header["score_centre"],
                slope=header["slope"],
                base_bias=header["base_bias"],
                report=TrainingReport(**header["report"]),
            )
        except BadCheckpoint:
            raise
        except Exception as error:  # whatever the readers of zip, arrays and JSON make of foreign bytes
            raise BadCheckpoint(f"no direction model ({type(error).__name__}: {error})") from None
        return model

    def _inputs(self, features: npt.ArrayLike, times: Sequence[datetime] | None) -> Floats:
        table = _table(features, self.columns, self.optional_columns, times)
        return _standardised(table, self.columns, self.optional_columns, self.centre, self.scale)


class Checkpoint(NamedTuple):
    """``version`` is the head of the content's SHA-256, ``content`` what ``DirectionModel.from_bytes`` reads."""

    version: str
    content: bytes
    report: TrainingReport


def train(
    features: npt.ArrayLike,
    next_returns: npt.ArrayLike,
    config: TrainingConfig,
    *,
    seed: int,
    device: Device = "cpu",
    times: Sequence[datetime] | None = None,
) -> Checkpoint:
    """``train_direction``, as a checkpoint to be stored."""
    model = train_direction(features, next_returns, config, seed=seed, device=device, times=times)
    content = model.to_bytes()
    return Checkpoint(hashlib.sha256(content).hexdigest()[:12], content, model.report)


def train_direction(
    features: npt.ArrayLike,
    next_returns: npt.ArrayLike,
    config: TrainingConfig,
    *,
    seed: int,
    device: Device = "cpu",
    times: Sequence[datetime] | None = None,
) -> DirectionModel:
    """A classifier of the sign of ``next_returns`` (n,), the return after each row of ``features`` (n, F).

    Rows are in time order; ``times``, where given, must be increasing, and names rows in messages. A return of exactly
    0 has no direction, and its row is left out. The same arguments give the same model on the same machine.

    Raises BadInput for missing or non-finite values (NaN is accepted in optional columns), shapes that do not fit,
    fewer than 60 rows, or a single direction among the training rows; DeviceAbsent.
    """
    table = _table(features, config.columns, config.optional_columns, times)
    returns = finite(next_returns, "next_returns", times=times)
    if returns.shape != (len(table),):
        raise BadInput(f"shape {returns.shape} beside {len(table)} rows of features", column="next_returns")
    if len(table) < LEAST_ROWS:
        raise BadInput(f"{len(table)} rows, at least {LEAST_ROWS} are needed", column="features")
    directions = np.sign(returns)

    begins = len(table) - round(config.validation_share * len(table))
    training = np.flatnonzero(directions[: max(begins - config.purge_rows, 0)])
    validation = begins + np.flatnonzero(directions[begins:])
    if len(training) < LEAST_ROWS // 2 or not len(validation):
        reason = f"{len(training)} rows with a direction to train on, {len(validation)} to validate: too few"
        raise BadInput(reason, column="next_returns")
    if len(np.unique(directions[training])) < 2:
        raise BadInput("a single direction in all training rows", column="next_returns")

    centre, scale = _moments(table[training])
    inputs = _standardised(table, config.columns, config.optional_columns, centre, scale)
    measured_noise = estimated_noise(inputs[training], directions[training], config.purge_rows)
    noise = float(np.clip(measured_noise, NOISE_FLOOR, NOISE_CEILING))
    asymmetry = asymmetry_threshold(noise)

    epoch_steps = len(training) / config.batch_rows
    rates = config.recipe.rates(config.steps, epoch_steps)
    robust_from = round(config.robust_after_epochs * epoch_steps) if noise > config.robust_above_noise else config.steps
    candidates, row_losses = _fitted(
        inputs, directions, training, rates, asymmetry, robust_from, config, seed, _device(device)
    )
    scores = {name: _score(weights, inputs) for name, weights in candidates.items()}
    compared = {
        name: {
            "loss": float(row_losses[name][validation].mean()),
            "accuracy": float(_right(scores[name][validation], directions[validation]).mean()),
        }
        for name in candidates
    }
    chosen = min(compared, key=lambda name: compared[name]["loss"])

    score, weights = scores[chosen], candidates[chosen]
    slope, evidence = _calibrated(score[validation], directions[validation])
    base_bias = _shrunk_mean(directions[training])
    base_rate = float((directions[training] > 0).mean())
    base_accuracy = float((directions[validation] == (1 if base_rate >= 0.5 else -1)).mean())
    accuracy = compared[chosen]["accuracy"]
    beats = slope > 0 and accuracy > base_accuracy
    described = _described(weights, inputs[validation], directions[validation], accuracy)
    at = np.unique(np.linspace(0, config.steps - 1, 61).round().astype(int))
    report = TrainingReport(
        training_rows=len(training),
        validation_rows=len(validation),
        purge_rows=config.purge_rows,
        epochs=config.steps / epoch_steps,
        seed=seed,
        device=device,
        loss=config.loss,
        noise_rate=noise,
        measured_noise_rate=measured_noise,
        asymmetry=asymmetry,
        robust_from_step=robust_from,
        candidates=compared,
        chosen=chosen,
        base_rate=base_rate,
        base_rate_accuracy=base_accuracy,
        accuracy=accuracy,
        accuracy_error=0.5 / len(validation) ** 0.5,
        slope_evidence=evidence,
        slope=slope,
        base_bias=base_bias,
        beats_base_rate=beats,
        verdict=_verdict(beats, accuracy, base_accuracy, len(validation), slope),
        learning_rates=[[int(step), float(rates[step])] for step in at],
        **described,
    )
    return DirectionModel(
        columns=config.columns,
        optional_columns=config.optional_columns,
        centre=centre,
        scale=scale,
        weights=weights,
        score_centre=float(score[np.concatenate([training, validation])].mean()),
        slope=slope,
        base_bias=base_bias,
        report=report,
    )


def estimated_noise(inputs: Floats, directions: Floats, purge_rows: int) -> float:
    """Out-of-sample error of a ridge regression of ``directions`` (+1, -1) on standardised ``inputs``: our estimate of
    the rate of wrong labels, an upper one in so far as the line misses what there is to know.

    Five blocks in time, each predicted from the others but for ``purge_rows`` on either side of it; the penalty is the
    number of inputs, and both directions count equally.
    """
    rows, predicted = np.arange(len(inputs)), np.zeros(len(inputs))
    for block in np.array_split(rows, _NOISE_BLOCKS):
        others = (rows < block[0] - purge_rows) | (rows > block[-1] + purge_rows)
        if not others.any():
            raise BadInput(f"a gap of {purge_rows} leaves no row to learn from", column="purge_rows")
        known, wanted = inputs[others], directions[others] - directions[others].mean()
        penalised = known.T @ known + inputs.shape[1] * np.eye(inputs.shape[1])
        predicted[block] = inputs[block] @ np.linalg.solve(penalised, known.T @ wanted)
    right = _right(predicted, directions)
    return float(1 - (right[directions > 0].mean() + right[directions < 0].mean()) / 2)


def _table(
    features: npt.ArrayLike, columns: tuple[str, ...], optional: tuple[str, ...], times: Sequence[datetime] | None
) -> Floats:
    """``features`` as (n, F) float64: finite but for NaN in optional columns."""
    try:
        table = np.array(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"not numeric ({error})", column="features") from None
    if table.ndim != 2 or table.shape[1] != len(columns):
        raise BadInput(f"shape {table.shape}, (rows, {len(columns)}) is needed", column="features")
    if times is not None:
        if len(times) != len(table):
            raise BadInput(f"{len(times)} times for {len(table)} rows", column="times")
        for row, (earlier, later) in enumerate(pairwise(times), start=1):
            if not earlier < later:
                raise BadInput("not after the row before it", column="times", at=times[row])
    may_miss = np.isin(columns, optional)
    finite(np.where(np.isnan(table) & may_miss, 0.0, table), "features", columns=columns, times=times)
    return table


def _moments(table: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column over the values there are; 0 and 0 for none, scale 0 for constants."""
    there = ~np.isnan(table)
    count = np.maximum(there.sum(0), 1)
    centre = np.where(there, table, 0.0).sum(0) / count
    scale = np.sqrt((np.where(there, table - centre, 0.0) ** 2).sum(0) / count)
    # What rounding leaves of a constant is no scale to divide by.
    scale[scale <= 1e-12 * np.abs(centre)] = 0.0
    return centre, scale


def _standardised(
    table: Floats, columns: tuple[str, ...], optional: tuple[str, ...], centre: Floats, scale: Floats
) -> Floats:
    """(n, F + optional): missing values at the mean, and for each optional column +1 where it is there, else -1."""
    inputs = np.divide(table - centre, scale, out=np.zeros_like(table), where=(scale > 0) & ~np.isnan(table))
    there = ~np.isnan(table[:, [columns.index(name) for name in optional]])
    # A column never seen in training stays missing: the network has not learnt what its presence means.
    there &= (scale > 0)[[columns.index(name) for name in optional]]
    return np.concatenate([np.clip(inputs, -_FARTHEST, _FARTHEST), np.where(there, 1.0, -1.0)], axis=1)


def _device(name: str) -> Any:
    if name not in get_args(Device):
        raise DeviceAbsent(f"{name!r} is no device; there are {' and '.join(get_args(Device))}")
    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise DeviceAbsent(f"no {name} that this JAX can use ({error})") from None


def _fitted(
    inputs: Floats, directions: Floats, training: npt.NDArray[np.intp], rates: Floats, asymmetry: float,
    robust_from: int, config: TrainingConfig, seed: int, device: Any,
) -> tuple[dict[str, dict[str, Floats]], dict[str, Floats]]:  # fmt: skip
    """The candidates' weights, and their loss at each row."""
    rng = np.random.default_rng(seed)
    width, units = inputs.shape[1], config.hidden_units
    start = {
        "hidden_weights": rng.normal(size=(width, units)) * (2 / width) ** 0.5,
        "hidden_offset": np.zeros(units),
        "output_weights": rng.normal(size=(units, 2)) * (1 / units) ** 0.5,
        "output_offset": np.zeros(2),
    }
    needed = config.steps * config.batch_rows
    passes = -(-needed // len(training))
    order = np.concatenate([rng.permutation(training) for _ in range(passes)])[:needed]

    # The next power of two, so that windows of about a year all share one compilation.
    capacity = max(_LEAST_CAPACITY, 1 << (len(inputs) - 1).bit_length())
    rows = np.zeros((capacity, width))
    rows[: len(inputs)] = inputs
    labels = np.zeros(capacity)
    labels[: len(inputs)] = directions > 0
    importance = np.zeros(capacity)
    for side in (-1.0, 1.0):
        members = training[directions[training] == side]
        importance[members] = len(training) / (2 * len(members))

    def single(values: npt.ArrayLike) -> Any:
        return jax.device_put(np.asarray(values, np.float32), device)

    def whole(values: npt.ArrayLike) -> Any:
        return jax.device_put(np.asarray(values, np.int32), device)

    trees, losses = _loop(
        jax.tree.map(single, start), single(rows), whole(labels), single(importance),
        whole(order.reshape(config.steps, config.batch_rows)), single(rates), single(asymmetry), whole(robust_from),
        single(config.recipe.weight_decay),
        loss=config.loss, weights_of_loss=(config.active_weight, config.passive_weight),
        clip_norm=config.recipe.clip_norm, averaging=config.averaging,
    )  # fmt: skip
    names = get_args(Candidate)
    return (
        {
            name: {key: np.asarray(leaf, np.float64) for key, leaf in tree.items()}
            for name, tree in zip(names, trees, strict=True)
        },
        {name: np.asarray(loss, np.float64)[: len(inputs)] for name, loss in zip(names, losses, strict=True)},
    )


@partial(jax.jit, static_argnames=("loss", "weights_of_loss", "clip_norm", "averaging"))
def _loop(
    start: Any, rows: jax.Array, labels: jax.Array, importance: jax.Array, batches: jax.Array, rates: jax.Array,
    asymmetry: jax.Array, robust_from: jax.Array, weight_decay: jax.Array, *, loss: LossName,
    weights_of_loss: tuple[float, float], clip_norm: float | None, averaging: AveragingConfig,
) -> tuple[Any, Any]:  # fmt: skip
    """The whole training: ``batches`` (steps, batch) are row numbers, ``rates`` (steps,). Weights and losses at every
    row of (last, EMA, BEMA)."""
    optimiser = with_averages(gradient_descent(rates, clip_norm, weight_decay), averaging)

    def cost(weights: Any, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = jax.nn.relu(inputs @ weights["hidden_weights"] + weights["hidden_offset"])
        logits = hidden @ weights["output_weights"] + weights["output_offset"]
        return loss_named(loss, logits, targets, asymmetry, *weights_of_loss), cross_entropy(logits, targets)

    def step(carry: tuple[Any, Any], at: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
        weights, state = carry
        number, batch = at

        def mean_cost(weights: Any) -> jax.Array:
            robust, plain = cost(weights, rows[batch], labels[batch])
            return (importance[batch] * jnp.where(number < robust_from, plain, robust)).sum() / importance[batch].sum()

        updates, state = optimiser.update(jax.grad(mean_cost)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    numbered = (jnp.arange(len(batches)), batches)
    (last, state), _ = jax.lax.scan(step, (start, optimiser.init(start)), numbered)
    trees = (last, state.averages.ema, state.averages.bema)
    return trees, tuple(cost(tree, rows, labels)[0] for tree in trees)


def _hidden(weights: Mapping[str, Floats], inputs: Floats) -> Floats:
    hidden: Floats = np.maximum(inputs @ weights["hidden_weights"] + weights["hidden_offset"], 0.0)
    return hidden


def _score(weights: Mapping[str, Floats], inputs: Floats) -> Floats:
    """p_up - p_down of the raw network."""
    logits = _hidden(weights, inputs) @ weights["output_weights"] + weights["output_offset"]
    score: Floats = np.tanh((logits[:, 1] - logits[:, 0]) / 2)
    return score


def _right(score: Floats, directions: Floats) -> npt.NDArray[np.bool_]:
    """Whether the score's sign is the direction; a score of exactly 0 says up."""
    right: npt.NDArray[np.bool_] = (score >= 0) == (directions > 0)
    return right


def _calibrated(score: Floats, directions: Floats) -> tuple[float, float | None]:
    """Slope of the regression of ``directions`` on ``score``, shrunk into [0, 1], and how many standard errors it is.

    Shrunk by the positive-part James-Stein factor 1 - 1/z^2: without any signal what is left of it is about 0.1
    standard errors on average. None and a slope of 0 where the score does not vary.
    """
    deviations = score - score.mean()
    spread = float(deviations @ deviations)
    if len(score) < 3 or spread <= 1e-12 * len(score):
        return 0.0, None
    slope = float(deviations @ directions) / spread
    rest = directions - directions.mean() - slope * deviations
    # At least one wrong day's worth of rest: a perfect score on a few rows is no proof.
    error = (max(float(rest @ rest), 4.0) / (len(score) - 2) / spread) ** 0.5
    evidence = slope / error
    return (min(slope * (1 - evidence**-2), 1.0) if evidence > 1 else 0.0), evidence


def _shrunk_mean(directions: Floats) -> float:
    """Mean direction, shrunk by its own uncertainty as the slope is."""
    mean = float(directions.mean())
    return mean * max(0.0, 1 - 1 / (len(directions) * mean**2)) if mean else 0.0


def _described(weights: Mapping[str, Floats], inputs: Floats, directions: Floats, accuracy: float) -> dict[str, Any]:
    """The metrics of a report, on the validation rows."""
    hidden, score = _hidden(weights, inputs), _score(weights, inputs)
    kept = (
        metrics.prunability(lambda w: float(_right(_score(w, inputs), directions).mean()), weights) if accuracy else {}
    )
    values = {
        "activation_sparsity": metrics.activation_sparsity(hidden),
        "confidence": metrics.confidence(np.stack([(1 - score) / 2, (1 + score) / 2], 1)),
        "class_separation": metrics.class_separation(hidden, directions),
    }
    matrices = np.concatenate([values.ravel() for values in weights.values() if values.ndim > 1])
    return {
        **values,
        "prunability": {str(share): accuracy_kept for share, accuracy_kept in kept.items()},
        "pq_index": metrics.pq_index(matrices),
        "targets": [row._asdict() for row in judged({**values, "kept_at_half": kept.get(0.5)})],
    }


def _verdict(beats: bool, accuracy: float, base_accuracy: float, rows: int, slope: float) -> str:
    counted = f"right on {accuracy:.1%} of {rows} validation days, the base rate on {base_accuracy:.1%}"
    if beats:
        return f"beats the base rate: {counted}"
    unmoved = "" if slope else "; the features do not move the bias"
    if accuracy > base_accuracy:
        return f"better than the base rate by luck: {counted}, but larger scores foretell no larger gains{unmoved}"
    return f"does not beat the base rate: {counted}{unmoved}"


def _digest(header: Mapping[str, Any], arrays: Mapping[str, Floats]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False).encode())
    for name in _ARRAYS:
        values = np.ascontiguousarray(arrays[name], "<f8")
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
