"""Training: time of one walk-forward fold, what losses and weight averages are worth, and a toy of large rates.

Everything here is synthetic and seeded; the comparisons have no target, they are what came out. Peers: scikit-learn's
logistic regression and network on the same rows.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from assets.research.training import metrics
from assets.research.training.direction import Candidate, TrainingConfig, train_direction
from assets.research.training.losses import LossName, cross_entropy
from assets.research.training.recipe import LargeRate, Recipe, gradient_descent, rate_grid
from assets.research.training.weight_averaging import (
    AveragingConfig,
    averages_of,
    double_ema,
    ornstein_uhlenbeck_optimum,
)
from tests.benchmarks.figure import Figure

FEATURES, YEAR, FRESH = 25, 365, 2000
CONFIG = TrainingConfig(tuple(f"feature_{number}" for number in range(FEATURES)))

# The toy: two noisy core columns whose product has the label's sign, one clean spurious column, six of nothing.
_CORE, _COLUMNS, _UNITS, _ROWS, _BATCH, _BLOCK = (0, 1), 9, 64, 500, 50, 20
_STOP_ACCURACY = 0.98


def measure(fast: bool = False) -> list[Figure]:
    years = 6 if fast else 30
    return [
        *_times(10 if fast else 60),
        *_losses(years),
        *_averages(years),
        *_quadratic(50 if fast else 400),
        *_rates(5 if fast else 7, 4 if fast else 12),
    ]


def year(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, returns of the wrong sign at the rate ``noise``, and the clean sign: a year and ``FRESH`` days."""
    rng = np.random.default_rng(10_000 + seed)
    features = rng.normal(size=(YEAR + FRESH, FEATURES))
    clean = np.sign(features @ rng.normal(size=FEATURES))
    return features, np.where(rng.random(len(clean)) < noise, -clean, clean), clean


def _times(folds: int) -> list[Figure]:
    def network(rows: np.ndarray, labels: np.ndarray) -> None:
        # As many passes over as many rows as ours makes, without its validation, averages and report.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            MLPClassifier((CONFIG.hidden_units,), solver="sgd", batch_size=64, max_iter=70, n_iter_no_change=70).fit(
                rows[:270], labels[:270]
            )

    began = time.perf_counter()
    _fold(0)
    first = time.perf_counter() - began
    ours = _seconds(lambda seed: _fold(seed), folds)
    theirs = _seconds(lambda seed: network(*year(seed, 0.3)[:2]), min(folds, 10))
    return [
        Figure("training one fold, 365 days of 25 features", _spread(ours), "<= 1 s", f"sklearn {_spread(theirs)}"),
        Figure("the first fold of a process, compiling", f"{first:.1f} s", ""),
    ]


def _fold(seed: int) -> None:
    features, returns, _ = year(seed, 0.3)
    train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=seed)


def _seconds(once: Callable[[int], None], count: int) -> list[float]:
    took = []
    for seed in range(count):
        began = time.perf_counter()
        once(seed)
        took.append(time.perf_counter() - began)
    return took


def _spread(seconds: list[float]) -> str:
    return f"{np.median(seconds) * 1e3:.0f} ms (least {min(seconds) * 1e3:.0f})"


def _losses(years: int) -> list[Figure]:
    """Share of clean directions found on fresh days by the raw score, each loss at its best of five weight decays and
    the regression at its best of five penalties: their scales differ, and one setting would favour one loss."""
    figures = []
    for noise in (0.3, 0.4):
        drawn = [year(seed, noise) for seed in range(years)]
        peer = _best(
            {
                strength: [
                    (LogisticRegression(C=strength).fit(f[:270], r[:270]).predict(f[YEAR:]) == c[YEAR:]).mean()
                    for f, r, c in drawn
                ]
                for strength in (0.001, 0.003, 0.01, 0.1, 1.0)
            }
        )
        for name in get_args(LossName):
            found = {}
            for decay in (0.01, 0.03, 0.1, 0.2, 0.3):
                config = replace(CONFIG, loss=name, recipe=LargeRate(weight_decay=decay))
                found[decay] = [_found(*days, config, seed) for seed, days in enumerate(drawn)]
            what = f"clean directions found, {noise:.0%} of labels wrong, {name}".replace("%", " %")
            figures.append(Figure(what, _best(found), "", f"logistic regression {peer}"))
    return figures


def _best(found: dict[float, list[Any]]) -> str:
    setting = max(found, key=lambda each: float(np.mean(found[each])))
    return f"{_share(found[setting])} at {setting:g}"


def _found(features: np.ndarray, returns: np.ndarray, clean: np.ndarray, config: TrainingConfig, seed: int) -> float:
    model = train_direction(features[:YEAR], returns[:YEAR], config, seed=seed)
    # A slope of 1 shows the raw score even where the calibration has taken it away.
    raw = replace(model, slope=1.0, score_centre=0.0, base_bias=0.0).bias(features[YEAR:])
    return float((np.sign(raw) == clean[YEAR:]).mean())


def _share(values: list[Any]) -> str:
    return f"{np.mean(values):.1%} +- {np.std(values, ddof=1) / len(values) ** 0.5:.1%}".replace("%", " %")


def _averages(years: int) -> list[Figure]:
    """Validation of the three candidates: averages from half-way at power 0.7 (ours) and from the start at 0.2."""
    figures = []
    settings = {
        "from half-way, power 0.7": CONFIG.averaging,
        "from the start, power 0.2": AveragingConfig(),
    }
    for label, averaging in settings.items():
        reports = []
        for seed in range(years):
            features, returns, _ = year(seed, 0.3)
            config = replace(CONFIG, averaging=averaging)
            reports.append(train_direction(features[:YEAR], returns[:YEAR], config, seed=seed).report)
        for name in get_args(Candidate):
            losses = [report.candidates[name]["loss"] - report.candidates["last"]["loss"] for report in reports]
            accuracy = _share([report.candidates[name]["accuracy"] for report in reports])
            chosen = sum(report.chosen == name for report in reports)
            text = f"loss {np.mean(losses):+.0e} to last, accuracy {accuracy}, chosen {chosen} of {years}"
            figures.append(Figure(f"validation of {name}, {label}", text, ""))
    return figures


def _quadratic(runs: int) -> list[Figure]:
    """Root mean squared error after 1,000 steps of noisy descent on A theta^2 / 2 from 10, noise 0.05 a step."""
    figures = []
    for curvature in (0.001, 0.01, 0.1):
        noise = 0.05 * np.random.default_rng(1).normal(size=(1000, runs))
        path = np.empty((1001, runs))
        path[0] = 10.0
        for step in range(1000):
            path[step + 1] = (1 - curvature) * path[step] + noise[step]
        iterates = jnp.asarray(path)
        estimates = {
            "last": path[-1],
            "EMA": averages_of(iterates, AveragingConfig()).ema,
            "BEMA 0.2": averages_of(iterates, AveragingConfig()).bema,
            "BEMA 0.5": averages_of(iterates, AveragingConfig(bias_power=0.5)).bema,
            "DEMA": double_ema(iterates, AveragingConfig()),
            "likelihood": ornstein_uhlenbeck_optimum(path, curvature),
        }
        errors = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in estimates.items()}
        text = ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
        figures.append(Figure(f"distance to the optimum of a quadratic, curvature {curvature}", text, ""))
    return figures


def _rates(count: int, seeds: int) -> list[Figure]:
    """Spearman correlation of the learning rate with what the paper says rises with it, runs that reached the stop."""
    grid = rate_grid(0.01, 1.0, count)
    runs = [spurious_run(recipe, seeds) for recipe in grid]
    rates = np.repeat([recipe.rate for recipe in grid], seeds)
    table = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    reached = table["train_accuracy"] >= _STOP_ACCURACY
    figures = [
        Figure(
            f"toy of spurious correlation, {count} rates 0.01 to 1, {seeds} seeds: runs stopped at equal accuracy",
            f"{reached.sum()} of {len(reached)}",
            "",
        )
    ]
    for name in (
        "unbiased_accuracy", "worst_group_accuracy", "activation_sparsity", "class_separation", "kept", "pq_index",
        "core_share", "confident_mispredictions",
    ):  # fmt: skip
        usable = reached & np.isfinite(table[name])
        result = spearmanr(rates[usable], table[name][usable])
        low, high = (table[name][usable & (rates == rate)] for rate in (grid[0].rate, grid[-1].rate))
        ends = [f"{np.mean(end):.3f}" if len(end) else "none" for end in (low, high)]
        text = f"{result.statistic:+.2f} (p {result.pvalue:.1g}), {ends[0]} at 0.01, {ends[1]} at 1"
        figures.append(Figure(f"rank correlation of the rate with {name}", text, ""))
    return figures


def spurious_run(recipe: Recipe, seeds: int, steps: int = 6000) -> dict[str, np.ndarray]:
    """Networks trained on rows of which 95 % have a spurious column that agrees with the label; metrics (seeds,).

    The core columns say the label by the sign of their product, hard and noisy; the spurious one says it by its own.
    Each network stops where its accuracy on the training rows reaches 98 %, so that rates are compared at equal fit.
    Tested on fresh rows with the same agreement (biased) and with one half (unbiased).
    """
    rng = np.random.default_rng(7)
    rows, labels, agrees = _toy(rng, seeds, _ROWS, 0.95)
    start = {
        "first": rng.normal(size=(seeds, _COLUMNS, _UNITS)) * (2 / _COLUMNS) ** 0.5,
        "offset": np.zeros((seeds, _UNITS)),
        "second": rng.normal(size=(seeds, _UNITS, 2)) * (1 / _UNITS) ** 0.5,
    }
    blocks = steps // _BLOCK
    picks = rng.integers(_ROWS, size=(blocks, _BLOCK, seeds, _BATCH)).astype(np.int32)
    rates = np.float32(recipe.rates(steps, _ROWS / _BATCH))
    single = jax.tree.map(np.float32, start)
    trained, early = _descend(single, np.float32(rows), labels, picks, rates, recipe.clip_norm, recipe.weight_decay)
    weights = {name: np.asarray(leaf, float) for name, leaf in trained.items()}
    at_first = {name: np.asarray(leaf, float) for name, leaf in early.items()}
    biased, unbiased = _toy(rng, seeds, 2000, 0.95), _toy(rng, seeds, 2000, 0.5)
    each = [
        _measured(
            *({name: leaf[seed] for name, leaf in tree.items()} for tree in (weights, at_first)),
            *(tuple(part[seed] for part in data) for data in ((rows, labels, agrees), biased, unbiased)),
        )
        for seed in range(seeds)
    ]
    return {name: np.array([one[name] for one in each], float) for name in each[0]}


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def _toy(rng: np.random.Generator, seeds: int, rows: int, agreement: float) -> Rows:
    signs = np.sign(rng.normal(size=(seeds, rows, 2)))
    label = signs.prod(-1)
    agrees = rng.random((seeds, rows)) < agreement
    noise = rng.normal(size=(seeds, rows, _COLUMNS))
    columns = noise.copy()
    columns[..., :2] = signs + 0.4 * noise[..., :2]
    columns[..., 2] = np.where(agrees, label, -label) + 0.1 * noise[..., 2]
    return columns, (label > 0).astype(np.int32), agrees


@partial(jax.jit, static_argnums=(5, 6))
def _descend(start: Any, rows: Any, labels: Any, picks: Any, rates: Any, clip_norm: Any, weight_decay: Any) -> Any:
    """All seeds side by side; the final weights and those after the first block (two passes over the rows)."""
    optimiser = gradient_descent(rates, clip_norm, weight_decay)
    seeds = jnp.arange(rows.shape[0])[:, None]

    def logits(weights: Any, inputs: Any) -> Any:
        return jax.nn.relu(inputs @ weights["first"] + weights["offset"][:, None]) @ weights["second"]

    def step(carry: Any, pick: Any) -> tuple[Any, None]:
        weights, state = carry
        inputs, targets = rows[seeds, pick], labels[seeds, pick]
        # The sum over seeds: each has weights of its own, and so a gradient of its own.
        gradient = jax.grad(lambda w: cross_entropy(logits(w, inputs), targets).mean(1).sum())(weights)
        updates, state = optimiser.update(gradient, state, weights)
        return (optax.apply_updates(weights, updates), state), None

    def block(carry: Any, pick: Any) -> tuple[Any, None]:
        weights, state = carry
        going = (logits(weights, rows).argmax(-1) == labels).mean(1) < _STOP_ACCURACY
        (moved, state), _ = jax.lax.scan(step, (weights, state), pick)
        return (
            jax.tree.map(
                lambda new, old: jnp.where(going.reshape(-1, *[1] * (new.ndim - 1)), new, old), moved, weights
            ),
            state,
        ), None

    early = block((start, optimiser.init(start)), picks[0])[0]
    (last, _), _ = jax.lax.scan(block, early, picks[1:])
    return last, early[0]


def _measured(
    weights: dict[str, np.ndarray], early: dict[str, np.ndarray], seen: Rows, biased: Rows, unbiased: Rows
) -> dict[str, float | None]:
    def hidden(tree: Any, rows: np.ndarray) -> np.ndarray:
        return np.maximum(rows @ tree["first"] + tree["offset"], 0)

    def right(tree: Any, data: Rows) -> np.ndarray:
        return (hidden(tree, data[0]) @ tree["second"]).argmax(-1) == data[1]

    logits = hidden(early, seen[0]) @ early["second"]
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    rows, labels, agrees = unbiased
    activations = hidden(weights, rows)
    slopes = ((activations > 0) * (weights["second"][:, 1] - weights["second"][:, 0])) @ weights["first"].T
    hits = right(weights, unbiased)
    kept = metrics.prunability(lambda tree: float(right(tree, unbiased).mean()), weights)
    return {
        "train_accuracy": right(weights, seen).mean(),
        "biased_accuracy": right(weights, biased).mean(),
        "unbiased_accuracy": hits.mean(),
        "worst_group_accuracy": metrics.worst_group_accuracy(hits, 2 * labels + agrees),
        "activation_sparsity": metrics.activation_sparsity(activations),
        "class_separation": metrics.class_separation(activations, labels),
        "kept": float(np.mean(list(kept.values()))),
        "pq_index": metrics.pq_index(np.concatenate([weights["first"].ravel(), weights["second"].ravel()])),
        "core_share": metrics.core_feature_share(slopes * rows, _CORE),
        "confident_mispredictions": metrics.confident_mispredictions(
            odds / odds.sum(-1, keepdims=True), seen[1], ~seen[2]
        ),
    }
