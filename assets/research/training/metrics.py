"""What a trained classifier is like inside: sparse, confident, well separated, prunable. Reported, never assumed.

arXiv 2507.17748 measures these against the learning rate; the definitions are the usual ones of the literature it
rests on, since its exact variants are not known to us.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from assets.research.bad_input import BadInput, Floats, finite

PRUNED_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95)

Weights = Mapping[str, Floats]


def activation_sparsity(activations: npt.ArrayLike) -> float:
    """Share of exact zeros among the activations after ReLU, over samples and units."""
    return float((_filled(activations, "activations") == 0).mean())


def confidence(probabilities: npt.ArrayLike) -> float:
    """Mean over the samples (n, K) of the largest class probability, right or wrong; from 1/K to 1."""
    return float(_table(probabilities, "probabilities").max(1).mean())


def confident_mispredictions(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, conflicting: npt.ArrayLike
) -> float | None:
    """Mean largest probability of the wrong predictions among the ``conflicting`` samples (n,) booleans.

    The paper's mechanism: samples whose spurious feature contradicts the label, mispredicted with confidence early in
    training. None where no such sample is mispredicted.
    """
    table, truth = _table(probabilities, "probabilities"), np.asarray(labels)
    wrong = np.asarray(conflicting, bool) & (table.argmax(1) != truth)
    return float(table[wrong].max(1).mean()) if wrong.any() else None


def class_separation(representations: npt.ArrayLike, labels: npt.ArrayLike) -> float | None:
    """R^2 = 1 - mean cosine distance within classes / over all pairs of classes (Kornblith et al.).

    ``representations`` (n, d) are the last hidden layer's. Classes count equally, pairs of a sample with itself are in.
    1 when each class is one point, about 0 when the classes lie on one another. None with a single class, and where
    all samples point the same way. A sample at the origin has no direction: its cosine is 0 with everything.
    """
    rows, truth = _table(representations, "representations"), np.asarray(labels)
    if truth.shape != (len(rows),):
        raise BadInput(f"{truth.shape} labels for {len(rows)} rows", column="labels")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    # The mean cosine over all pairs of two classes is the product of the classes' mean directions.
    means = np.array([directions[truth == label].mean(0) for label in np.unique(truth)])
    if len(means) < 2:
        return None
    cosines = means @ means.T
    total = 1 - cosines.mean()
    return float(1 - (1 - cosines.diagonal().mean()) / total) if total > 1e-12 else None


def pq_index(values: npt.ArrayLike, p: float = 0.5, q: float = 1.0) -> float | None:
    """1 - d^(1/q - 1/p) ||w||_p / ||w||_q, 0 < p < q: 0 when all are equally large, 1 - d^(1/q-1/p) for a single one.

    None where all are zero.
    """
    if not 0 < p < q:
        raise BadInput(f"p = {p} and q = {q} are not 0 < p < q", column="p")
    sizes = np.abs(_filled(values, "values")).ravel()
    if not sizes.any():
        return None
    sizes = sizes / sizes.max()
    # With means in place of sums the factor d^(1/q - 1/p) is already in.
    return float(1 - (sizes**p).mean() ** (1 / p) / (sizes**q).mean() ** (1 / q))


def pruned(weights: Weights, share: float) -> dict[str, Floats]:
    """``weights`` with the ``share`` smallest in size set to zero, over all matrices together.

    Vectors (offsets) are left alone, as usual.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"{share} is outside [0, 1]", column="share")
    matrices = [name for name, values in weights.items() if values.ndim > 1]
    if not matrices:
        raise BadInput("no matrix to prune", column="weights")
    sizes = np.concatenate([np.abs(weights[name]).ravel() for name in matrices])
    kept = np.ones(len(sizes), bool)
    kept[np.argsort(sizes, kind="stable")[: round(share * len(sizes))]] = False
    result, at = dict(weights), 0
    for name in matrices:
        values = weights[name]
        result[name] = np.where(kept[at : at + values.size].reshape(values.shape), values, 0.0)
        at += values.size
    return result


def prunability(
    accuracy: Callable[[Weights], float], weights: Weights, shares: Sequence[float] = PRUNED_SHARES
) -> dict[float, float]:
    """Share of the accuracy kept after pruning each of ``shares``: accuracy(pruned) / accuracy(all weights).

    ``accuracy`` measures weights on samples of its own choosing. Against a base rate of one half a useless network
    keeps everything: read it beside the accuracy itself. BadInput where the accuracy is 0.
    """
    whole = accuracy(weights)
    if not whole > 0:
        raise BadInput(f"an accuracy of {whole} has no share to keep", column="accuracy")
    return {share: accuracy(pruned(weights, share)) / whole for share in shares}


def worst_group_accuracy(right: npt.ArrayLike, groups: npt.ArrayLike) -> float:
    """The lowest accuracy among the groups; ``right`` (n,) booleans, ``groups`` (n,) any labels."""
    hits, names = np.asarray(right, bool), np.asarray(groups)
    if not hits.size or hits.shape != names.shape:
        raise BadInput(f"{names.shape} groups for {hits.shape} samples", column="groups")
    return float(min(hits[names == name].mean() for name in np.unique(names)))


def core_feature_share(attributions: npt.ArrayLike, core: Sequence[int]) -> float | None:
    """Share of the absolute attribution (n, F) that falls on the ``core`` columns; None where there is none at all."""
    sizes = np.abs(_table(attributions, "attributions"))
    total = sizes.sum()
    return float(sizes[:, list(core)].sum() / total) if total > 0 else None


def _filled(values: npt.ArrayLike, name: str) -> Floats:
    array = finite(values, name)
    if not array.size:
        raise BadInput("empty", column=name)
    return array


def _table(values: npt.ArrayLike, name: str) -> Floats:
    array = _filled(values, name)
    if array.ndim != 2:
        raise BadInput(f"{array.ndim} dimensions, 2 are needed", column=name)
    return array
