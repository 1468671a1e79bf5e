"""A scripted desk, and a Dagster instance that ends with its test."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources.store.local import LocalStore
from tests.desk_parts import Parts, market_of

PRICES = {"BTCUSDT": "90000", "ETHUSDT": "3000", "SOLUSDT": "150"}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(market_of(PRICES), LocalStore(tmp_path / "store"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
