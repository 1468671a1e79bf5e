"""Published performance figures with their inputs: our drawdown and Sharpe ratio give the same numbers."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from assets.telemetry.performance_monitor import EquityPoint, PerformanceMonitor, sharpe_ratio
from resources.settings import Settings

FOLDER = Settings().test_data / "perf_oracles"
START = int(datetime(2026, 11, 18, tzinfo=UTC).timestamp()) * 10**9
DAY = 86_400 * 10**9

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no published figures in {FOLDER}"),
]


def expected(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}_expected.json").read_text(), parse_float=Decimal)
    return document


def managers(column: str) -> list[Decimal]:
    with (FOLDER / "managers_monthly_returns.csv").open() as file:
        return [Decimal(row[column]) for row in csv.DictReader(file) if row[column]]


def drawdown(returns: list[Decimal]) -> Decimal:
    """The monitor's, shown a return a day and, to be no simpler than life, a flow on each."""
    monitor, equity = PerformanceMonitor(Decimal(1_000_000), START), Decimal(1_000_000)
    for number, each in enumerate(returns):
        now = START + number * DAY
        monitor.flow(now, Decimal(1000))
        equity = (equity + 1000) * (1 + each)
        monitor.observe(EquityPoint(now, equity, equity, Decimal(0), Decimal(0)))
    return monitor.max_drawdown


def test_drawdowns_of_the_managers_are_the_published_ones() -> None:
    checks = [each for each in expected("performanceanalytics")["checks"] if each["metric"] == "max_drawdown"]
    assert len(checks) >= 8
    for check in checks:
        assert -drawdown(managers(check["series"])) == pytest.approx(check["value"], abs=Decimal("1e-10"))


def test_sharpe_ratios_of_the_managers_are_the_published_ones() -> None:
    """Less a constant risk-free rate, which is the caller's to take off; monthly, hence sqrt(12)."""
    checks = [
        each
        for each in expected("performanceanalytics")["checks"]
        if each["metric"] == "sharpe_annualized_arithmetic" and isinstance(each["params"]["rf_per_period"], Decimal)
    ]
    assert len(checks) >= 6
    for check in checks:
        excess = [each - check["params"]["rf_per_period"] for each in managers(check["series"])]
        assert sharpe_ratio(excess, 12) == pytest.approx(check["value"], abs=Decimal("1e-10"))


def test_the_figures_of_empyrical_s_own_tests_come_out() -> None:
    document = expected("empyrical")
    found = 0
    for check in document["checks"]:
        series = [Decimal(each) for each in document["series"][check["series"]] if each is not None]
        if check["metric"] == "max_drawdown":
            assert drawdown(series) == pytest.approx(check["expected"], abs=check["tolerance"])
        elif check["metric"] == "sharpe" and check["params"].get("rf") == 0:
            assert sharpe_ratio(series, 252) == pytest.approx(check["expected"], abs=check["tolerance"])
        else:
            continue
        found += 1
    assert found >= 7


def test_drawdowns_of_shares_are_those_of_ffn() -> None:
    with (FOLDER / "ffn_prices_aapl_msft_c.csv").open() as file:
        rows = list(csv.DictReader(file))[:10]
    for check in (each for each in expected("ffn")["checks"] if each["metric"] == "max_drawdown"):
        prices = [Decimal(row[check["series"]]) for row in rows]
        returns = [now / before - 1 for before, now in pairwise(prices)]
        assert drawdown(returns) == pytest.approx(check["expected"], abs=check["tolerance"])
