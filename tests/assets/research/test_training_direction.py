"""The direction classifier: finds what is there, stays near 0 where nothing is, and looks at no later row."""

import io
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jax
import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.training import direction
from assets.research.training.direction import (
    BadCheckpoint,
    DeviceAbsent,
    DirectionModel,
    TrainingConfig,
    estimated_noise,
    train,
    train_direction,
)
from assets.research.training.losses import asymmetry_threshold

COLUMNS = tuple(f"feature_{number}" for number in range(25))
CONFIG = TrainingConfig(COLUMNS)
YEAR = 365
Days = tuple[np.ndarray, np.ndarray, np.ndarray]


def days(seed: int, noise: float | None = 0.3, rows: int = YEAR, fresh: int = 1000) -> Days:
    """Features, returns whose sign is wrong at the rate ``noise`` (None: pure chance), and the clean signs."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows + fresh, len(COLUMNS)))
    clean = np.sign(features @ rng.normal(size=len(COLUMNS)))
    flipped = rng.random(rows + fresh) < (0.5 if noise is None else noise)
    returns = np.where(flipped, -clean, clean) * rng.exponential(0.02, rows + fresh)
    return features, returns, clean


@pytest.fixture(scope="module")
def trained() -> tuple[DirectionModel, Days]:
    features, returns, clean = days(0)
    model = train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=0)
    return model, (features[YEAR:], returns[YEAR:], clean[YEAR:])


def test_finds_the_direction_behind_labels_of_which_three_in_ten_are_wrong() -> None:
    """Twelve years. A coin is right on half of 1,000 fresh days within 1.6 % a year, 0.5 % over all of them. Where the
    features do not move the bias there is no direction to be right about."""
    right, earned, beats = [], [], 0
    for seed in range(12):
        features, returns, clean = days(seed)
        model = train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=seed)
        bias = model.bias(features[YEAR:])
        earned.append((bias * np.sign(returns[YEAR:])).mean())
        if model.slope:
            right.append(((bias > model.base_bias) == (clean[YEAR:] > 0)).mean())
        beats += model.report.beats_base_rate
    assert np.mean(right) > 0.7
    assert np.mean(earned) > 3 * np.std(earned) / 12**0.5
    assert len(right) >= 9
    assert beats >= 9


def test_bias_stays_near_zero_out_of_sample_where_there_is_nothing_to_learn() -> None:
    """Twelve years of pure chance. What is left is the base rate, known to 1/sqrt(270) = 6 % from the training rows
    and shrunk, and about a tenth of the slope's standard error."""
    sizes, beats = [], 0
    for seed in range(12):
        features, returns, _ = days(100 + seed, noise=None)
        model = train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=seed)
        sizes.append(np.abs(model.bias(features[YEAR:])).mean())
        beats += model.report.beats_base_rate
    assert np.mean(sizes) < 0.05, sizes
    assert beats <= 3


def test_base_rate_alone_becomes_a_bias_and_is_said_not_to_be_beaten() -> None:
    rng = np.random.default_rng(1)
    features, returns = rng.normal(size=(400, 25)), np.where(rng.random(400) < 0.7, 0.01, -0.01)
    model = train_direction(features, returns, CONFIG, seed=1)
    assert not model.report.beats_base_rate
    assert model.report.verdict.startswith("does not beat the base rate")
    assert model.bias(rng.normal(size=(500, 25))).mean() == pytest.approx(2 * model.report.base_rate - 1, abs=0.05)


def test_bias_is_within_its_bounds_far_outside_the_training_rows(trained: tuple[DirectionModel, Days]) -> None:
    bias = trained[0].bias(1e6 * trained[1][0])
    assert np.isfinite(bias).all()
    assert (np.abs(bias) <= 1).all()


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    features, returns, _ = days(2, fresh=0)
    first, again, other = (train(features, returns, CONFIG, seed=seed) for seed in (5, 5, 6))
    assert first.content == again.content
    assert first.version == again.version != other.version


def test_scale_and_origin_of_a_feature_do_not_matter() -> None:
    features, returns, _ = days(3)
    moved = features * np.linspace(0.01, 100, 25) + np.linspace(-5, 5, 25)
    plain = train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=0).bias(features[YEAR:])
    other = train_direction(moved[:YEAR], returns[:YEAR], CONFIG, seed=0).bias(moved[YEAR:])
    np.testing.assert_allclose(other, plain, atol=1e-4)


def test_standardisation_and_weights_know_nothing_of_the_validation_rows() -> None:
    features, returns, _ = days(4, fresh=0)
    begins = YEAR - round(CONFIG.validation_share * YEAR)
    changed = features.copy()
    changed[begins:] = 3 + 7 * changed[begins:]
    config = replace(CONFIG, averaging=replace(CONFIG.averaging, burn_in=CONFIG.steps))  # one candidate
    plain = train_direction(features, returns, config, seed=0)
    other = train_direction(changed, returns, config, seed=0)
    np.testing.assert_array_equal(plain.centre, other.centre)
    np.testing.assert_array_equal(plain.scale, other.scale)
    for name, values in plain.weights.items():
        np.testing.assert_array_equal(values, other.weights[name])
    assert plain.report.noise_rate == other.report.noise_rate


def test_nothing_is_learnt_from_the_days_in_the_gap() -> None:
    features, returns, _ = days(5, fresh=0)
    begins = YEAR - round(CONFIG.validation_share * YEAR)
    gap = slice(begins - CONFIG.purge_rows, begins)
    plain = train(features, returns, CONFIG, seed=0)
    features[gap], returns[gap] = 9.0, -returns[gap]
    assert train(features, returns, CONFIG, seed=0).version == plain.version


def test_windows_of_about_a_year_share_one_compilation() -> None:
    features, returns, _ = days(6, rows=420, fresh=0)
    train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=0)
    compiled = direction._loop._cache_size()
    for rows in (370, 400, 420):
        train_direction(features[:rows], returns[:rows], CONFIG, seed=rows)
    assert direction._loop._cache_size() == compiled


def test_missing_value_is_refused_by_column_and_time_unless_the_column_is_optional() -> None:
    features, returns, _ = days(7, fresh=0)
    times = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(YEAR)]
    features[17, 3] = np.nan
    with pytest.raises(BadInput, match=r"column feature_3 at 2025-01-18"):
        train_direction(features, returns, CONFIG, seed=0, times=times)
    optional = replace(CONFIG, optional_columns=("feature_3",))
    model = train_direction(features, returns, optional, seed=0, times=times)
    with pytest.raises(BadInput, match="feature_4 at index 0"):
        model.bias(np.where(np.arange(25) == 4, np.nan, features[:1]))
    features[18, 3] = np.inf
    with pytest.raises(BadInput, match=r"column feature_3 at 2025-01-19"):
        train_direction(features, returns, optional, seed=0, times=times)


def test_that_an_optional_value_is_missing_can_be_learnt() -> None:
    rng = np.random.default_rng(8)
    there = rng.random(900) < 0.5
    features = rng.normal(size=(900, 3))
    features[~there, 1] = np.nan
    returns = np.where(there ^ (rng.random(900) < 0.2), 0.01, -0.01)
    config = TrainingConfig(("a", "b", "c"), optional_columns=("b",))
    model = train_direction(features[:400], returns[:400], config, seed=0)
    bias = model.bias(features[400:])
    assert bias[there[400:]].min() > 0.2
    assert bias[~there[400:]].max() < -0.2
    shares = np.abs(model.attributions(features[400:])).mean(0)
    assert shares[1] > 5 * max(shares[0], shares[2])


def test_optional_column_that_training_never_saw_changes_nothing_when_it_appears() -> None:
    features, returns, _ = days(9)
    features[:, 2] = np.nan
    model = train_direction(features[:YEAR], returns[:YEAR], replace(CONFIG, optional_columns=("feature_2",)), seed=0)
    present = features[YEAR:].copy()
    present[:, 2] = 1e3
    np.testing.assert_array_equal(model.bias(present), model.bias(features[YEAR:]))


def test_attributions_add_up_to_the_bias_less_that_of_the_mean_day(trained: tuple[DirectionModel, Days]) -> None:
    model, (fresh, _, _) = trained
    assert model.slope > 0
    shares = model.attributions(fresh)
    assert shares.shape == fresh.shape
    np.testing.assert_allclose(shares.sum(1), model.bias(fresh) - model.bias(model.centre[None]), atol=0.01)


def test_constant_column_is_ignored() -> None:
    features, returns, _ = days(10)
    features[:YEAR, 6] = 0.1
    model = train_direction(features[:YEAR], returns[:YEAR], CONFIG, seed=0)
    assert (model.attributions(features[YEAR:])[:, 6] == 0).all()


def test_noise_estimate_is_the_flip_rate_where_a_line_separates_and_sets_the_asymmetry() -> None:
    rng = np.random.default_rng(11)
    inputs = rng.normal(size=(4000, 5))
    clean = np.sign(inputs[:, 0])
    flipped = np.where(rng.random(4000) < 0.3, -clean, clean)
    # Standard error sqrt(0.3 * 0.7 / 4000) = 0.7 %, and the fitted line is off by a little more.
    assert estimated_noise(inputs, flipped, 7) == pytest.approx(0.3, abs=0.03)
    report = train_direction(inputs[:400], flipped[:400], TrainingConfig(COLUMNS[:5]), seed=0).report
    assert report.asymmetry == asymmetry_threshold(report.noise_rate)


def test_noise_outside_its_bounds_is_cut_to_them() -> None:
    features, _, clean = days(12, fresh=0)
    easy = TrainingConfig(("only",))
    assert train_direction(clean[:, None] * np.abs(features[:, :1]), clean, easy, seed=0).report.noise_rate == 0.05
    hopeless, returns, _ = days(13, noise=None, fresh=0)
    report = train_direction(hopeless, returns, CONFIG, seed=0).report
    assert report.noise_rate == 0.45
    assert report.measured_noise_rate > 0.45
    assert report.asymmetry == pytest.approx(10)


def test_report_names_the_candidate_of_least_validation_loss_and_what_was_done(
    trained: tuple[DirectionModel, Days],
) -> None:
    report = trained[0].report
    assert set(report.candidates) == {"last", "ema", "bema"}
    assert report.candidates[report.chosen]["loss"] == min(each["loss"] for each in report.candidates.values())
    assert report.accuracy == report.candidates[report.chosen]["accuracy"]
    assert report.training_rows + report.validation_rows + report.purge_rows == YEAR
    assert report.learning_rates[0] == [0, pytest.approx(0.01)]
    assert report.learning_rates[-1] == [CONFIG.steps - 1, pytest.approx(1e-5)]
    assert 0 <= report.activation_sparsity <= 1
    assert 0.5 <= report.confidence <= 1
    assert report.class_separation is not None
    assert report.class_separation <= 1
    assert set(report.prunability) == {"0.5", "0.7", "0.8", "0.9", "0.95"}
    assert [row["metric"] for row in report.targets][:2] == ["activation_sparsity", "confidence"]


@pytest.mark.parametrize("loss", ["jal-fl", "cross-entropy-nontarget-power"])
def test_other_losses_train_too(loss: Any) -> None:
    features, returns, _ = days(14)
    model = train_direction(features[:YEAR], returns[:YEAR], replace(CONFIG, loss=loss), seed=0)
    assert (model.bias(features[YEAR:]) * np.sign(returns[YEAR:])).mean() > 0


def test_briefs_switch_stays_with_cross_entropy_below_its_noise_and_until_its_epoch() -> None:
    features, returns, _ = days(15, fresh=0)
    never = train_direction(features, returns, replace(CONFIG, robust_above_noise=0.99), seed=0).report
    plain = train_direction(features, returns, replace(CONFIG, loss="cross-entropy"), seed=0).report
    assert never.robust_from_step == CONFIG.steps
    for name, candidate in never.candidates.items():
        assert candidate["accuracy"] == plain.candidates[name]["accuracy"]
    late = train_direction(
        features, returns, replace(CONFIG, robust_after_epochs=5.0, robust_above_noise=0.15), seed=0
    ).report
    assert late.robust_from_step == round(5 * late.training_rows / CONFIG.batch_rows)


def test_days_without_a_direction_are_left_out() -> None:
    features, returns, _ = days(16, fresh=0)
    returns[:40] = 0.0
    report = train_direction(features, returns, CONFIG, seed=0).report
    assert report.training_rows == YEAR - 40 - report.validation_rows - report.purge_rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, r: (f[:50], r[:50]), "50 rows"),
        (lambda f, r: (f, r[:-1]), "next_returns"),
        (lambda f, r: (f[:, :3], r), "shape"),
        (lambda f, r: (f, np.abs(r)), "single direction"),
        (lambda f, r: (f, np.where(np.arange(len(r)) == 3, np.nan, r)), "column next_returns at index 3"),
        (lambda f, r: (f, 0 * r), "too few"),
        (lambda f, r: (f.astype(str) + "x", r), "not numeric"),
    ],
)
def test_unusable_days_are_refused(change: Any, message: str) -> None:
    features, returns, _ = days(17, fresh=0)
    with pytest.raises(BadInput, match=message):
        train_direction(*change(features, returns), CONFIG, seed=0)


def test_times_out_of_order_are_refused() -> None:
    features, returns, _ = days(18, fresh=0)
    times = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(YEAR)]
    times[9] = times[8]
    with pytest.raises(BadInput, match="column times at 2025-01-09"):
        train_direction(features, returns, CONFIG, seed=0, times=times)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ()}, "distinct"),
        ({"columns": ("a", "a")}, "distinct"),
        ({"optional_columns": ("elsewhere",)}, "elsewhere"),
        ({"hidden_units": 0}, "hidden_units"),
        ({"validation_share": 0.9}, "validation_share"),
        ({"purge_rows": -1}, "purge_rows"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_meaningless_configuration_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(CONFIG, **settings)


def test_absent_device_is_said_to_be_absent() -> None:
    features, returns, _ = days(19, fresh=0)
    with pytest.raises(DeviceAbsent, match="abacus"):
        train_direction(features, returns, CONFIG, seed=0, device="abacus")  # type: ignore[arg-type]
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceAbsent, match="no gpu"):
        train_direction(features, returns, CONFIG, seed=0, device="gpu")


def test_checkpoint_brings_back_the_same_model(trained: tuple[DirectionModel, Days]) -> None:
    model, (fresh, _, _) = trained
    again = DirectionModel.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(again.bias(fresh), model.bias(fresh))
    np.testing.assert_array_equal(again.attributions(fresh), model.attributions(fresh))
    assert again.report == model.report
    assert again.to_bytes() == model.to_bytes()


def test_checkpoint_damaged_anywhere_is_refused_or_means_the_same(trained: tuple[DirectionModel, Days]) -> None:
    """Bytes of the zip's own bookkeeping (dates, flags) carry nothing of the model; any other must be noticed."""
    content = trained[0].to_bytes()
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(len(content), size=200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        try:
            assert DirectionModel.from_bytes(bytes(damaged)).to_bytes() == content
        except BadCheckpoint:
            refused += 1
    assert refused > 150


def test_foreign_and_altered_checkpoints_are_refused(trained: tuple[DirectionModel, Days]) -> None:
    def rewritten(**changes: Any) -> bytes:
        with np.load(io.BytesIO(trained[0].to_bytes())) as stored:
            parts: dict[str, Any] = dict(stored)
        header = json.loads(parts["header"].tobytes()) | changes
        parts["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        target = io.BytesIO()
        np.savez(target, **parts)
        return target.getvalue()

    assert DirectionModel.from_bytes(rewritten()).slope == trained[0].slope
    array, objects = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    np.savez(objects, header=np.array([{}], object))
    for content in (
        b"", b"PK\x03\x04", b"not a checkpoint", pickle.dumps({"slope": 1}), array.getvalue(), objects.getvalue(),
        trained[0].to_bytes()[:-100], rewritten(slope=1.0), rewritten(format="direction-model-0"),
    ):  # fmt: skip
        with pytest.raises(BadCheckpoint):
            DirectionModel.from_bytes(content)
