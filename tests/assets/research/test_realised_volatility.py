"""The ridge regression of realised volatility: what it recovers, what it may not see, what it refuses."""

import json

import numpy as np
import pytest

from assets.research.bad_input import BadInput
from assets.research.signatures.realised_volatility import STRENGTHS, RealisedVolatility, fit_realised_volatility

FEATURES = 6


def linear_history(rows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of very different sizes, a positive volatility linear in them, and the coefficients of it."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, FEATURES)) * 10.0 ** np.arange(-3, 3) + 1.0
    coefficients = np.array([40.0, -3.0, 0.0, 0.05, 0.0, 0.0002])
    volatilities = 1.0 + (features - 1.0) @ coefficients + noise * random.normal(size=rows)
    return features, np.maximum(volatilities, 0.05), coefficients


def test_a_linear_relation_is_recovered() -> None:
    features, volatilities, coefficients = linear_history(2000, 0.0)
    model = fit_realised_volatility(features, volatilities)
    # The smallest strength shrinks by about 1e-5; nothing else stands between the fit and the truth.
    np.testing.assert_allclose(model.coefficients * 10.0 ** np.arange(-3, 3), coefficients * 10.0 ** np.arange(-3, 3),
                               atol=2e-5)  # fmt: skip
    np.testing.assert_allclose(model.predict(features), volatilities, atol=1e-4)
    assert model.strength == STRENGTHS[0]


def test_a_noisy_relation_is_recovered_within_its_standard_errors() -> None:
    features, volatilities, coefficients = linear_history(4000, 0.1)
    model = fit_realised_volatility(features, volatilities)
    # Least squares has the standard error noise / sqrt(rows) per standardised coefficient; ridge shrinks a little more.
    scaled = (model.coefficients - coefficients) * 10.0 ** np.arange(-3, 3)
    assert np.abs(scaled).max() <= 5 * 0.1 / np.sqrt(4000)


def test_features_without_information_are_shrunk_to_the_mean() -> None:
    random = np.random.default_rng(3)
    features, volatilities = random.normal(size=(120, FEATURES)), 0.5 + 0.1 * random.random(120)
    model = fit_realised_volatility(features, volatilities)
    assert model.strength >= 1.0
    np.testing.assert_allclose(model.predict(features), volatilities.mean(), atol=0.03)
    assert model.validation_errors[model.strength] == min(model.validation_errors.values())


def test_later_rows_do_not_touch_the_fit_nor_each_other() -> None:
    features, volatilities, _ = linear_history(400, 0.1)
    model = fit_realised_volatility(features[:300], volatilities[:300])
    changed = features.copy()
    changed[350:] *= 1e6
    again = fit_realised_volatility(changed[:300], volatilities[:300])
    assert again.to_document() == model.to_document()
    np.testing.assert_array_equal(again.predict(changed[300:])[:50], model.predict(features[300:])[:50])


def test_the_strength_is_chosen_on_later_rows() -> None:
    # The relation reverses half-way: a fit on the past is worse than its mean, which a shuffled validation would miss.
    features, volatilities, _ = linear_history(600, 0.05)
    reversed_later = np.where(np.arange(600) < 300, volatilities, 2.0 - volatilities)
    model = fit_realised_volatility(features, np.maximum(reversed_later, 0.05))
    assert model.strength >= 1.0


def test_rows_of_the_gap_do_not_train_the_validation() -> None:
    features, volatilities, _ = linear_history(240, 0.1)
    errors = [fit_realised_volatility(features, volatilities, gap=gap).validation_errors for gap in (0, 20)]
    assert errors[0] != errors[1]
    with pytest.raises(BadInput, match="too few"):
        fit_realised_volatility(features, volatilities, gap=36)


def test_constant_features_take_no_part() -> None:
    features, volatilities, _ = linear_history(300, 0.1)
    # A window's time levels: the same number up to rounding.
    constant = 1 / 6 + 1e-17 * np.arange(300)[:, None]
    model = fit_realised_volatility(np.hstack((constant, features)), volatilities)
    plain = fit_realised_volatility(features, volatilities)
    assert model.coefficients[0] == 0.0
    np.testing.assert_allclose(model.coefficients[1:], plain.coefficients, rtol=1e-12)
    moved = np.hstack((constant + 5.0, features))
    np.testing.assert_allclose(model.predict(moved), plain.predict(features), rtol=1e-12)


def test_with_nothing_but_constants_the_forecast_is_the_mean() -> None:
    _, volatilities, _ = linear_history(60, 0.1)
    model = fit_realised_volatility(np.ones((60, 2)), volatilities)
    assert model.predict([[7.0, 8.0]])[0] == pytest.approx(volatilities.mean())


def test_a_forecast_is_its_level_and_attributions_and_never_below_the_floor() -> None:
    features, volatilities, _ = linear_history(400, 0.1)
    model = fit_realised_volatility(features, volatilities)
    forecasts = model.predict(features)
    for row, forecast in zip(features[:50], forecasts, strict=False):
        assert forecast == pytest.approx(max(model.level + model.attributions(row).sum(), model.floor), rel=1e-12)
    wild = features[:1] - 1e4 * np.sign(model.coefficients)
    assert model.predict(wild)[0] == volatilities.min()
    assert model.attributions(features.mean(axis=0)) == pytest.approx(np.zeros(FEATURES), abs=1e-12)


def test_a_document_brings_the_same_model_back() -> None:
    features, volatilities, _ = linear_history(200, 0.1)
    model = fit_realised_volatility(features, volatilities)
    back = RealisedVolatility.from_document(json.loads(json.dumps(model.to_document())))
    assert back.to_document() == model.to_document()
    np.testing.assert_array_equal(back.predict(features), model.predict(features))


def test_documents_that_describe_no_model_are_refused() -> None:
    features, volatilities, _ = linear_history(200, 0.1)
    document = fit_realised_volatility(features, volatilities).to_document()
    for field in document:
        with pytest.raises(BadInput, match=f"column {field}"):
            RealisedVolatility.from_document({name: value for name, value in document.items() if name != field})
    with pytest.raises(BadInput, match="column coefficients"):
        RealisedVolatility.from_document({**document, "coefficients": [1.0]})
    with pytest.raises(BadInput, match="column level"):
        RealisedVolatility.from_document({**document, "level": float("nan")})
    with pytest.raises(BadInput, match="does not describe"):
        RealisedVolatility.from_document({**document, "rows": "many"})


def test_bad_input_is_refused_with_its_place() -> None:
    features, volatilities, _ = linear_history(200, 0.1)
    broken = features.copy()
    broken[17, 2] = np.nan
    with pytest.raises(BadInput, match=r"column signatures\[2\] at index 17"):
        fit_realised_volatility(broken, volatilities)
    with pytest.raises(BadInput, match="column realised at index 5"):
        fit_realised_volatility(features, np.where(np.arange(200) == 5, 0.0, volatilities))
    with pytest.raises(BadInput, match="column realised"):
        fit_realised_volatility(features, volatilities[:-1])
    with pytest.raises(BadInput, match="column signatures"):
        fit_realised_volatility(features[:, 0], volatilities)
    with pytest.raises(BadInput, match="too few"):
        fit_realised_volatility(features[:29], volatilities[:29])
    with pytest.raises(BadInput, match="column strengths"):
        fit_realised_volatility(features, volatilities, strengths=[1.0, 0.1])
    model = fit_realised_volatility(features, volatilities)
    with pytest.raises(BadInput, match=r"column signatures\[2\] at index 17"):
        model.predict(broken)
    with pytest.raises(BadInput, match="column signatures"):
        model.predict(features[:, :5])
    with pytest.raises(BadInput, match="column signatures"):
        model.attributions(features[:2])
