"""Metrics of a trained classifier on cases worked by hand."""

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.training import metrics


def test_sparsity_counts_exact_zeros_only() -> None:
    assert metrics.activation_sparsity([[0.0, 1e-30], [0.0, 2.0]]) == 0.5


def test_confidence_is_the_mean_of_the_largest_probability_right_or_wrong() -> None:
    assert metrics.confidence([[0.9, 0.1], [0.4, 0.6]]) == pytest.approx(0.75)


def test_confident_mispredictions_look_at_the_wrong_and_conflicting_alone() -> None:
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
    assert metrics.confident_mispredictions(probabilities, [1, 0, 1, 1], [True, True, True, False]) == pytest.approx(
        0.85
    )
    assert metrics.confident_mispredictions(probabilities, [0, 1, 1, 0], [True] * 4) is None


def test_class_separation_is_the_ratio_of_the_pairwise_cosine_distances() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(9, 4)) + 0.5, np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    distance = 1 - unit @ unit.T
    within = np.mean([distance[np.ix_(labels == k, labels == k)].mean() for k in range(3)])
    total = np.mean([distance[np.ix_(labels == j, labels == k)].mean() for j in range(3) for k in range(3)])
    assert metrics.class_separation(rows, labels) == pytest.approx(1 - within / total)


def test_class_separation_is_one_for_points_zero_for_like_classes_and_undefined_for_one() -> None:
    assert metrics.class_separation([[1, 0], [2, 0], [0, 1], [0, 3]], [0, 0, 1, 1]) == pytest.approx(1.0)
    assert metrics.class_separation([[1, 0], [0, 1], [1, 0], [0, 1]], [0, 0, 1, 1]) == pytest.approx(0.0)
    assert metrics.class_separation([[1, 0], [0, 1]], [1, 1]) is None
    assert metrics.class_separation([[1, 0], [2, 0]], [0, 1]) is None


def test_pq_index_of_equal_and_of_single_weights_is_its_closed_form() -> None:
    assert metrics.pq_index(np.full(10, -0.3)) == pytest.approx(0.0)
    assert metrics.pq_index([0, 0, 5.0, 0]) == pytest.approx(1 - 4 ** (1 - 2))
    assert metrics.pq_index([3.0, 4.0], p=1.0, q=2.0) == pytest.approx(1 - 2 ** (0.5 - 1) * 7 / 5)
    assert metrics.pq_index([0.0, 0.0]) is None


def test_pq_index_does_not_depend_on_the_scale() -> None:
    values = np.random.default_rng(1).normal(size=50)
    assert metrics.pq_index(1e-9 * values) == pytest.approx(metrics.pq_index(values))


def test_pruning_takes_the_smallest_of_all_matrices_together_and_no_offset() -> None:
    weights = {"a": np.array([[1.0, -4.0]]), "offset": np.array([0.001]), "b": np.array([[0.5], [3.0]])}
    left = metrics.pruned(weights, 0.5)
    np.testing.assert_array_equal(left["a"], [[0.0, -4.0]])
    np.testing.assert_array_equal(left["b"], [[0.0], [3.0]])
    np.testing.assert_array_equal(left["offset"], [0.001])
    np.testing.assert_array_equal(weights["a"], [[1.0, -4.0]])


def test_pruning_takes_exactly_its_share_among_equals() -> None:
    assert (metrics.pruned({"a": np.ones((4, 5))}, 0.3)["a"] == 0).sum() == 6


def test_prunability_is_the_share_of_accuracy_kept() -> None:
    def accuracy(weights: metrics.Weights) -> float:
        return 0.8 if weights["a"][0, 1] else 0.4

    assert metrics.prunability(accuracy, {"a": np.array([[1.0, 2.0]])}, (0.5, 1.0)) == {0.5: 1.0, 1.0: 0.5}


def test_worst_group_is_the_lowest_accuracy() -> None:
    assert metrics.worst_group_accuracy([True, True, False, True], ["a", "a", "b", "b"]) == 0.5


def test_core_share_is_of_absolute_attribution() -> None:
    assert metrics.core_feature_share([[3.0, -1.0], [0.0, 0.0]], [1]) == 0.25
    assert metrics.core_feature_share([[0.0, 0.0]], [1]) is None


def test_metrics_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(BadInput, match="activations"):
        metrics.activation_sparsity([np.nan])
    with pytest.raises(BadInput, match="empty"):
        metrics.confidence(np.empty((0, 2)))
    with pytest.raises(BadInput, match="labels"):
        metrics.class_separation([[1.0, 0.0]], [0, 1])
    with pytest.raises(BadInput, match="share"):
        metrics.pruned({"a": np.ones((2, 2))}, 1.5)
    with pytest.raises(BadInput, match="column p"):
        metrics.pq_index([1.0], p=1.0, q=0.5)
