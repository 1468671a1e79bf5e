"""What is learned from a training window, for one symbol: the models behind the decisions of the fold that follows.

All of them see decisions of [train_start, train_end) and their outcomes, nothing else; the purge after the window is
the fold's. Trained models are a value, so that a decision made with them can be made again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from assets.research.bad_input import BadInput, Floats
from assets.research.configuration import ResearchConfiguration
from assets.research.data.features import FEATURES, SIGNATURE_FEATURES
from assets.research.regime.risk_on import LatentModel, RiskOnPath, filter_risk_on, fit_latent_model
from assets.research.signatures.realised_volatility import RealisedVolatility, fit_realised_volatility
from assets.research.stopping.exits import ExitConfig, ExitRule, train_exit_rule
from assets.research.stopping.problems import PositionExit
from assets.research.trading.coefficients import solve
from assets.research.trading.corrections import estimate_fast_factor, estimate_slow_factor
from assets.research.trading.exposure import (
    BIAS_THRESHOLD,
    HALF_STEP_RATIO,
    Execution,
    ForecastScale,
    calibrate_model,
    estimate_scale,
    forecast_of,
)
from assets.research.training.direction import Device, DirectionModel, TrainingConfig, train_direction
from assets.research.validation import Fold

_BASIS_POINT = 1e-4
# A window with more of its days missing than this is not the year the models are meant to learn from.
_MOST_MISSING = 0.1
# Half-life of a bias when past ones do not tell: a day, the rhythm of the decisions.
_ASSUMED_DECAY = math.log(2)

TRAINING = TrainingConfig(
    columns=tuple(feature.name for feature in FEATURES),
    optional_columns=tuple(feature.name for feature in FEATURES if feature.optional),
)
# What the volatility regression sees: the shape of the last three days and the levels of one and seven.
_LEVELS = ("realised_volatility_1d", "realised_volatility_7d")
VOLATILITY_INPUTS = (*(feature.name for feature in SIGNATURE_FEATURES), *_LEVELS)


@dataclass(frozen=True, eq=False)
class Models:
    """Trained on ``fold.train_start`` to ``fold.train_end``. ``usual_funding``: mean daily funding there (fraction of
    notional), None where unknown. ``exit_rule`` None: the holding cap alone ends a position."""

    fold: Fold
    direction: DirectionModel
    volatility: RealisedVolatility
    latent: LatentModel
    execution: Execution
    usual_funding: float | None
    exit_rule: ExitRule | None

    def bias(self, features: Mapping[str, float | None]) -> tuple[float, dict[str, float]]:
        """The bias in [-1, 1] of a feature row, and what each feature adds to it."""
        row = np.array([[np.nan if (value := features[name]) is None else value for name in TRAINING.columns]])
        shares = self.direction.attributions(row)[0]
        return float(self.direction.bias(row)[0]), dict(zip(TRAINING.columns, map(float, shares), strict=True))

    def forecast_volatility(self, features: Mapping[str, float | None]) -> tuple[float, dict[str, float]]:
        """Volatility of the next day (per day) of a feature row, and what each input adds to it (as the regression
        counts: see ``RealisedVolatility``)."""
        row = volatility_inputs(pd.DataFrame([features]))
        shares = self.volatility.attributions(row[0])
        return float(self.volatility.predict(row)[0]), dict(zip(VOLATILITY_INPUTS, map(float, shares), strict=True))

    def filter(self, returns: Sequence[float | None], configuration: ResearchConfiguration) -> RiskOnPath:
        """P(RISK-ON) of each day of ``returns``, always with the fold's own random numbers."""
        return filter_risk_on(
            self.latent, returns, configuration.filter, seed_of(self.fold, configuration), configuration.risk_on
        )


def seed_of(fold: Fold, configuration: ResearchConfiguration) -> int:
    """One seed a fold, so that no two folds share their random numbers and each always has the same."""
    return configuration.seed * 1_000_003 + fold.test_start.toordinal()


def volatility_inputs(features: pd.DataFrame) -> Floats:
    """The regression's inputs (n, 16) in the order of VOLATILITY_INPUTS."""
    return features[list(VOLATILITY_INPUTS)].to_numpy(dtype=np.float64)


def filter_returns(
    features: pd.DataFrame, fold: Fold, day: date, configuration: ResearchConfiguration
) -> list[float | None]:
    """Daily log returns from the burn-in before the test window up to the decision of ``day``, what the filter runs
    over; None for a day that is missing, on which the filter only predicts. Of models that have outlived their window
    the filter runs over as many days as it does at the end of one."""
    scheme = configuration.scheme
    earliest = day - timedelta(days=configuration.burn_in_days + scheme.test_days - 1)
    first = max(fold.test_start - timedelta(days=configuration.burn_in_days), earliest)
    found = features["return_1d"].reindex(pd.date_range(first, day, freq="D", tz="UTC"))
    return [None if np.isnan(value) else float(value) for value in found]


def train_models(
    features: pd.DataFrame,
    outcomes: pd.DataFrame,
    fold: Fold,
    configuration: ResearchConfiguration,
    exits: ExitConfig | None,
    device: Device = "cpu",
) -> Models:
    """All models of a fold from the rows of ``feature_table`` and ``outcome_table`` within its training window.

    Without ``exits`` no exit rule is trained (the live desk trains its own every day). Days that a hole in the bars
    touches are left out; raises BadInput where that is more than a tenth of them, and as the single models do.
    """
    known, followed = _of_window(features, outcomes, fold)
    returns = followed["return"].to_numpy(dtype=np.float64)
    seed = seed_of(fold, configuration)
    direction = train_direction(
        known[list(TRAINING.columns)].to_numpy(dtype=np.float64), returns, TRAINING, seed=seed, device=device,
        times=[at.to_pydatetime() for at in pd.DatetimeIndex(known.index)],
    )  # fmt: skip
    realised = followed["realised_volatility"].to_numpy(dtype=np.float64)
    volatility = fit_realised_volatility(volatility_inputs(known), realised)
    latent = fit_latent_model(returns)
    # What a bias is worth is judged on the newest rows, which no weight was fitted to. They chose among the candidates
    # and set the slope, though, so they flatter the bias a little; the scale's prior is what stands against that.
    judged = known.iloc[-direction.report.validation_rows :]
    biases = direction.bias(judged[list(TRAINING.columns)].to_numpy(dtype=np.float64))
    scale = _scale(biases, returns[-len(biases) :], configuration)
    execution = _execution(returns, realised, biases, scale, configuration)
    funding = followed["funding"].to_numpy(dtype=np.float64)
    usual = float(np.nanmean(funding)) if np.isfinite(funding).any() else None
    exit_rule = None
    if exits is not None:
        exit_rule = train_exit_rule(position_exit(latent, execution, configuration), exits, seed=seed, device=device)
    return Models(fold, direction, volatility, latent, execution, usual, exit_rule)


def position_exit(latent: LatentModel, execution: Execution, configuration: ResearchConfiguration) -> PositionExit:
    """The exit problem the fitted models imply. The forecast is an autoregression around zero with the scale's decay
    and innovations; no funding is charged, because the rule is trained before the position's side is known."""
    persistence = latent.volatility_persistence
    scale = execution.scale
    lasting = math.exp(-scale.decay)
    # Innovations of variance eta a day in continuous time leave this much after one day.
    noise = math.sqrt(scale.innovation_variance * -math.expm1(-2 * scale.decay) / (2 * scale.decay))
    return PositionExit(
        log_vol_mean=math.log(latent.scale),
        log_vol_persistence=persistence,
        # The latent log VARIANCE has this spread; its half is the log volatility's.
        vol_of_log_vol=latent.volatility_spread / 2 * math.sqrt(1 - persistence**2),
        forecast_mean=0.0,
        forecast_persistence=lasting,
        forecast_noise=noise,
        correlation=0.0,
        # As for the smallest position that a bias opens: how much of a larger one to hold is the sizing's affair.
        risk_aversion=execution.coefficients.model.risk_aversion
        * BIAS_THRESHOLD
        * configuration.preferences.full_exposure,
        funding=0.0,
        exit_cost=(configuration.fee_bp + configuration.slippage_bp) * _BASIS_POINT,
        hard_stop=configuration.position_stop,
        dates=configuration.max_holding_days,
    )


def _scale(biases: Floats, returns: Floats, configuration: ResearchConfiguration) -> ForecastScale:
    """What a bias is worth; where it never leaves zero there is nothing to measure and the promise alone counts."""
    promise = configuration.preferences.full_return
    if not np.any(biases):
        return ForecastScale(promise, _ASSUMED_DECAY, 0.0, 0)
    return estimate_scale(biases, returns, full_return=promise, prior_days=configuration.scale_prior_days)


def _execution(
    returns: Floats, realised: Floats, biases: Floats, scale: ForecastScale, configuration: ResearchConfiguration
) -> Execution:
    coefficients = solve(calibrate_model(returns, scale, configuration.preferences))
    # The slow factor is the month's mean variance, against the forecasts of the same days.
    slow = pd.Series(realised**2).rolling(30).mean().to_numpy(dtype=np.float64)[-len(biases) :]
    forecasts = np.array([forecast_of(bias, scale) for bias in biases])
    return Execution(
        coefficients,
        scale,
        configuration.exposure_cap,
        estimate_fast_factor(realised**2, coefficients),
        estimate_slow_factor(slow, forecasts),
        HALF_STEP_RATIO if configuration.half_step else None,
    )


def _of_window(features: pd.DataFrame, outcomes: pd.DataFrame, fold: Fold) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training days that have both features and an outcome. BadInput names the first missing day of too many."""
    days = pd.date_range(fold.train_start, fold.train_end - timedelta(days=1), freq="D", tz="UTC")
    there = days.intersection(pd.DatetimeIndex(features.index)).intersection(pd.DatetimeIndex(outcomes.index))
    missing = days.difference(there)
    if len(missing) > _MOST_MISSING * len(days):
        reason = f"{len(missing)} of {len(days)} training days are missing, this one first"
        raise BadInput(reason, column="return", at=missing[0].to_pydatetime())
    return features.loc[there], outcomes.loc[there]
