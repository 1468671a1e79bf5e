"""What a training window teaches, and that nothing outside of it does."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from assets.research.archive import dump_value
from assets.research.bad_input import BadInput
from assets.research.models import TRAINING, filter_returns, position_exit, seed_of, train_models, volatility_inputs
from assets.research.stopping.exits import ExitConfig
from assets.research.validation import fold_of
from assets.research.walk_forward import Tables, panel_of
from tests.research_parts import SYMBOL, TINY, TODAY, ScriptedHistory

FOLD = fold_of(TODAY, TINY.scheme)
EXITS = ExitConfig("longstaff_schwartz", paths=256, continuation_paths=64, outer=4, inner=4)


@pytest.fixture(scope="module")
def panel():
    return panel_of(SYMBOL, ScriptedHistory().tables())


@pytest.fixture(scope="module")
def models(panel):
    return train_models(panel.features, panel.outcomes, FOLD, TINY, None)


def as_bytes(models):
    rest = [models.volatility.to_document(), dump_value(models.latent), dump_value(models.execution)]
    return models.direction.to_bytes(), rest, models.usual_funding


def day_of(panel, day):
    return panel.features.loc[pd.Timestamp(day, tz="UTC")]


def test_the_same_window_teaches_the_same_models(panel, models):
    again = train_models(panel.features.copy(), panel.outcomes.copy(), FOLD, TINY, None)
    assert as_bytes(again) == as_bytes(models)


def test_nothing_outside_of_the_window_is_learned_from(panel, models):
    """Every row outside is poison: what had looked at one of them would differ or fail."""

    def inside(frame):
        first, end = (pd.Timestamp(day, tz="UTC") for day in (FOLD.train_start, FOLD.train_end))
        return (frame.index >= first) & (frame.index < end)

    features, outcomes = panel.features.copy(), panel.outcomes.copy()
    features.loc[~inside(features)] = math.inf
    outcomes.loc[~inside(outcomes)] = -math.inf
    assert as_bytes(train_models(features, outcomes, FOLD, TINY, None)) == as_bytes(models)
    alone = train_models(features[inside(features)], outcomes[inside(outcomes)], FOLD, TINY, None)
    assert as_bytes(alone) == as_bytes(models)


def test_the_last_day_of_the_window_is_learned_from(panel, models):
    last = pd.Timestamp(FOLD.train_end - timedelta(days=1), tz="UTC")
    changed = panel.outcomes.copy()
    changed.loc[last, "return"] += 0.01
    assert as_bytes(train_models(panel.features, changed, FOLD, TINY, None)) != as_bytes(models)


def test_a_few_training_days_may_be_missing_and_the_first_of_more_than_a_tenth_is_named(panel):
    first = pd.Timestamp(FOLD.train_start + timedelta(days=40), tz="UTC")
    tenth = TINY.scheme.train_days // 10
    few, many = (pd.date_range(first, periods=count, freq="D") for count in (4, tenth + 1))
    for features, outcomes in ((panel.features.drop(few), panel.outcomes), (panel.features, panel.outcomes.drop(few))):
        assert train_models(features, outcomes, FOLD, TINY, None).latent.days == TINY.scheme.train_days - 4
    with pytest.raises(BadInput, match=f"{first:%Y-%m-%d}.*{tenth + 1} of {TINY.scheme.train_days}"):
        train_models(panel.features.drop(many), panel.outcomes, FOLD, TINY, None)


def test_a_bias_lies_within_bounds_and_names_what_moved_it(panel, models):
    biases = set()
    for day in panel.features.index:
        bias, attributions = models.bias(panel.features.loc[day].to_dict())
        assert -1 <= bias <= 1
        assert set(attributions) == set(TRAINING.columns)
        biases.add(bias)
    assert min(biases) < -0.2 < 0.2 < max(biases), "the tests that follow need both sides"


def test_a_missing_optional_feature_is_allowed_and_a_missing_price_feature_is_not(panel, models):
    row = day_of(panel, TODAY).to_dict()
    bias, _ = models.bias(row | {"oi_pct_delta": None, "rr25d_delta": None})
    assert -1 <= bias <= 1
    with pytest.raises(BadInput, match="return_1d"):
        models.bias(row | {"return_1d": None})


def test_the_volatility_forecast_is_positive_and_follows_the_market(panel, models):
    forecasts = models.volatility.predict(volatility_inputs(panel.features))
    assert (forecasts > 0).all()
    calm, _ = models.forecast_volatility(day_of(panel, TODAY).to_dict())
    wild = day_of(panel, TODAY).to_dict() | {"realised_volatility_1d": 0.06, "realised_volatility_7d": 0.06}
    assert models.forecast_volatility(wild)[0] > calm


def test_the_filter_runs_from_the_burn_in_to_the_day_and_sees_no_later_one(panel, models):
    returns = filter_returns(panel.features, FOLD, TODAY, TINY)
    assert len(returns) == TINY.burn_in_days + (TODAY - FOLD.test_start).days + 1
    assert returns[-1] == day_of(panel, TODAY)["return_1d"]
    path = models.filter(returns, TINY)
    assert ((path.probability >= 0) & (path.probability <= 1)).all()
    later = models.filter(filter_returns(panel.features, FOLD, TODAY + timedelta(days=3), TINY), TINY)
    assert np.array_equal(later.probability[: len(returns)], path.probability)


def test_a_missing_day_is_one_the_filter_does_not_see(panel):
    day = pd.Timestamp(TODAY - timedelta(days=5), tz="UTC")
    whole = filter_returns(panel.features, FOLD, TODAY, TINY)
    assert filter_returns(panel.features.drop(day), FOLD, TODAY, TINY) == [*whole[:-6], None, *whole[-5:]]


def test_models_that_outlived_their_window_see_as_many_days_as_at_its_end(panel):
    scheme, later = TINY.scheme, FOLD.test_end + timedelta(days=3)
    assert len(filter_returns(panel.features, FOLD, later, TINY)) == TINY.burn_in_days + scheme.test_days
    last = FOLD.test_end - timedelta(days=1)
    assert len(filter_returns(panel.features, FOLD, last, TINY)) == TINY.burn_in_days + scheme.test_days


def test_seeds_differ_by_fold_and_by_configuration():
    folds = [fold_of(TODAY + timedelta(days=10 * n), TINY.scheme) for n in range(5)]
    seeds = {seed_of(fold, configuration) for fold in folds for configuration in (TINY, replace(TINY, seed=8))}
    assert len(seeds) == 10


def test_without_funding_there_is_no_usual_funding_and_everything_else_is_learned():
    panel = panel_of(SYMBOL, Tables(ScriptedHistory().bars))
    models = train_models(panel.features, panel.outcomes, FOLD, TINY, None)
    assert models.usual_funding is None
    assert models.exit_rule is None
    assert math.isfinite(models.bias(day_of(panel, TODAY).to_dict())[0])


def test_usual_funding_is_the_mean_of_the_windows_days(panel, models):
    inside = panel.outcomes.loc[pd.Timestamp(FOLD.train_start, tz="UTC") : pd.Timestamp(FOLD.train_end, tz="UTC")]
    assert models.usual_funding == pytest.approx(inside["funding"].iloc[:-1].mean())


def test_pure_noise_gets_a_scale_and_a_bias_without_conviction():
    history = ScriptedHistory()
    draw = np.random.default_rng(5)
    history.bars["close"] = 40_000 * np.exp(np.cumsum(draw.normal(0, 0.004, len(history.bars))))
    panel = panel_of(SYMBOL, history.tables())
    models = train_models(panel.features, panel.outcomes, FOLD, TINY, None)
    assert abs(models.bias(day_of(panel, TODAY).to_dict())[0]) < 0.2
    assert 0 <= models.execution.scale.return_per_day <= TINY.preferences.full_return * 3


def test_the_exit_problem_is_the_fitted_models_at_the_configurations_costs(panel):
    models = train_models(panel.features, panel.outcomes, FOLD, TINY, EXITS)
    problem = position_exit(models.latent, models.execution, replace(TINY, position_stop=0.04))
    assert problem.hard_stop == 0.04, "of the notional; the capital's stop is another number"
    problem = position_exit(models.latent, models.execution, TINY)
    assert models.exit_rule.problem == problem
    assert problem.exit_cost == pytest.approx((TINY.fee_bp + TINY.slippage_bp) * 1e-4)
    assert (problem.hard_stop, problem.dates) == (TINY.position_stop, TINY.max_holding_days)
    assert math.exp(problem.log_vol_mean) == pytest.approx(models.latent.scale)
    # A stationary autoregression keeps its spread: noise^2 = spread^2 (1 - persistence^2), of the log VOLATILITY.
    spread = problem.vol_of_log_vol / math.sqrt(1 - problem.log_vol_persistence**2)
    assert spread == pytest.approx(models.latent.volatility_spread / 2)
