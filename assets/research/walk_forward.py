"""Walk-forward validation: train on a year, leave a week out, decide a month as the live desk would, account for it.

A fold is a pure function of its data and its configuration. Folds share nothing, so they may run one after another, in
a pool of processes, or as partitions on as many machines as there are: the results are the same to the last bit on the
same kind of machine.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from multiprocessing import get_context, parent_process
from threading import Thread

import numpy as np
import pandas as pd

from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.data.contracts import DAY, HOUR, daily_close, daily_funding, known_at
from assets.research.data.features import LOOKBACK_HOURS, feature_table, outcome_table, unbroken
from assets.research.decision import MEMORY_DAYS, Decision, Known, decide, feature_row, first_book, mark
from assets.research.models import Models, filter_returns, train_models
from assets.research.stopping.exits import ExitConfig
from assets.research.validation import Fold, Performance, Verdict, accept, folds_between, performance

# One thread a process: folds are the parallelism, and threads below them would only contend for the same cores.
_SINGLE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}

# The longest look back of a feature, in whole days.
LOOK_BACK = pd.Timedelta(days=-(-LOOKBACK_HOURS // 24))
# Sixty folds train sixty exit rules: by the regression, which takes the same decisions to within noise in a fraction
# of the time, and with fewer paths behind the values that nobody looks at.
VALIDATION_EXITS = ExitConfig(method="longstaff_schwartz", paths=1 << 13, continuation_paths=256, outer=8, inner=8)


@dataclass(frozen=True, eq=False)
class Panel:
    """Everything a symbol's folds look at, a row a decision day (index: UTC midnights).

    ``log_close`` holds the close at 00:00 of each day, ``funding`` the sum settled within it.
    """

    symbol: str
    features: pd.DataFrame
    outcomes: pd.DataFrame
    log_close: Mapping[date, float]
    funding: Mapping[date, float]

    def known(self, day: date) -> Known:
        """What ``decide`` is given on ``day``. Nothing of a later day is in it."""
        at = pd.Timestamp(day, tz="UTC")
        closes, funding = recent(self.log_close, day), recent(self.funding, day - timedelta(days=1))
        if at not in self.features.index:
            return Known(day, {}, closes, funding, f"no features at 00:00 of {day}")
        return Known(day, feature_row(dict(self.features.loc[[at]].iloc[0])), closes, funding)


def recent(series: Mapping[date, float], last: date) -> dict[date, float]:
    """The entries of the ``MEMORY_DAYS`` days up to ``last``, and of that one."""
    days = [last - timedelta(days=back) for back in range(MEMORY_DAYS + 1)]
    return {day: series[day] for day in days if day in series}


@dataclass(frozen=True, eq=False)
class Tables:
    """What features are made from; ``feature_table`` says what each must be. None: the source has no such series."""

    bars_1h: pd.DataFrame
    funding_settlements: pd.DataFrame | None = None
    oi_24h: pd.DataFrame | None = None
    options_moves: pd.DataFrame | None = None

    def known_at(self, day: date) -> "Tables":
        """The rows that were known at 00:00 of ``day``."""
        at = pd.Timestamp(day, tz="UTC").to_pydatetime()
        bars = known_at(self.bars_1h, at)
        rest = (self.funding_settlements, self.oi_24h, self.options_moves)
        return Tables(bars, *(None if table is None else known_at(table, at) for table in rest))

    def between(self, first: date, last: date) -> "Tables":
        """What the decisions of ``first`` to ``last`` and their outcomes need: the look back of the first feature
        before, a day after. A fold is always computed from its own piece, so that it cannot depend on the rest."""
        start = pd.Timestamp(first, tz="UTC") - LOOK_BACK
        end = pd.Timestamp(last, tz="UTC") + DAY

        def piece(table: pd.DataFrame | None) -> pd.DataFrame | None:
            if table is None:
                return None
            times = table.iloc[:, 0]
            return table[(times >= start) & (times < end)].reset_index(drop=True)

        bars = piece(self.bars_1h)
        assert bars is not None
        return Tables(bars, piece(self.funding_settlements), piece(self.oi_24h), piece(self.options_moves))


def panel_of(symbol: str, tables: Tables) -> Panel:
    """The panel of one symbol. Days whose features or outcome would reach across missing hours have no row: nothing is
    computed over a hole. Raises BadInput where a table breaks its contract or no day is left."""
    bars, funding = tables.bars_1h, tables.funding_settlements
    pieces = unbroken(bars)
    return Panel(
        symbol,
        _stacked(pieces, lambda piece: feature_table(piece, funding, tables.oi_24h, tables.options_moves)),
        _stacked(pieces, lambda piece: outcome_table(piece, funding)),
        log_closes(daily_close(bars)),
        funding_paid(funding),
    )


def _stacked(pieces: Sequence[pd.DataFrame], build: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The tables of all pieces that are long enough for a row, one under the other."""
    built = []
    for piece in pieces:
        try:
            built.append(build(piece))
        except BadInput:
            if piece is pieces[-1] and not built:
                raise
    return pd.concat(built)


def log_closes(closes: pd.DataFrame) -> dict[date, float]:
    """DAILY_CLOSE by the day at whose 00:00 it is the price: the day after its own."""
    return {day + timedelta(days=1): float(np.log(close)) for day, close in _by_day(closes, "close").items()}


def funding_paid(settlements: pd.DataFrame | None) -> dict[date, float]:
    """The sum settled in each whole UTC day; nothing where there is no such series."""
    return {} if settlements is None else _by_day(daily_funding(settlements), "funding")


def _by_day(frame: pd.DataFrame, column: str) -> dict[date, float]:
    return dict(zip(pd.DatetimeIndex(frame["date_utc"]).date, frame[column].astype(float), strict=True))


@dataclass(frozen=True, slots=True)
class TestDay:
    """A decision of the test window and what it earned until the next 00:00, after costs; shares of capital.

    funding: paid by the position (negative: received); None where something was held and the sum is unknown.
    asset_funding: what holding the asset itself would have paid. trade: at the day's start; closing: at its end, which
    only the fold's last day has. cost: of both.
    """

    day: date
    probability: float | None
    gate: str
    bias: float | None
    target: float
    exposure: float
    trade: float
    closing: float
    cost: float
    funding: float | None
    net_return: float
    asset_return: float
    asset_funding: float | None
    risk: str
    exit: str


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A fold judged. ``buy_and_hold`` is the same days with the whole capital in the asset, at the same costs.

    ``cost_gaps`` says which costs the returns lack ("": none). Acceptance is of results with all costs included, so a
    fold with any is not accepted, whatever its verdicts.
    """

    symbol: str
    fold: Fold
    configuration: str
    days: tuple[TestDay, ...]
    performance: Performance
    buy_and_hold: Performance
    verdicts: tuple[Verdict, ...]
    cost_gaps: str
    accepted: bool
    training_verdict: str
    averaging: str


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A fold's result and the feature table that it came from."""

    result: FoldResult
    features: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """A fold that could not be computed, and why."""

    fold: Fold
    reason: str


def plan(bars: pd.DataFrame, configuration: ResearchConfiguration) -> list[Fold]:
    """The folds that whole ``bars`` hold: training, purge, test and the outcome of the last test day. Holes are found
    when a fold runs into them."""
    if bars.empty:
        return []
    opened = pd.DatetimeIndex(bars["timestamp_utc"])
    first = (opened[0] + pd.Timedelta(hours=LOOKBACK_HOURS)).ceil("D").date()
    last = ((opened[-1] + HOUR).floor("D") - DAY).date()
    return folds_between(first, last, configuration.scheme)


def run_fold(symbol: str, tables: Tables, fold: Fold, configuration: ResearchConfiguration) -> Computed:
    """Train on the fold's year, decide its month day by day from flat, close at its end, and judge it.

    Raises BadInput where a training or test day is missing: a fold with holes is no fold.
    """
    panel = panel_of(symbol, fold_tables(tables, fold))
    models = train_models(panel.features, panel.outcomes, fold, configuration, VALIDATION_EXITS)
    result = judge(panel, models, decisions_of(panel, models, configuration), configuration)
    return Computed(result, panel.features)


def fold_tables(tables: Tables, fold: Fold) -> Tables:
    """The piece of ``tables`` that a fold sees, from the first feature of its training to the end of its last day."""
    return tables.between(fold.train_start, fold.test_end - timedelta(days=1))


def decisions_of(panel: Panel, models: Models, configuration: ResearchConfiguration) -> list[Decision]:
    """The decisions of the fold's test days in order; the book starts flat."""
    fold = models.fold
    days = [fold.test_start + timedelta(days=n) for n in range((fold.test_end - fold.test_start).days)]
    path = models.filter(filter_returns(panel.features, fold, days[-1], configuration), configuration)
    # The filter ran through its burn-in first; its last days are the test's.
    probabilities, ess = path.probability[-len(days) :], path.ess[-len(days) :]
    book, decisions = first_book(days[0]), list[Decision]()
    lasting = configuration.preferences.impact_per_trade
    for day, probability, size in zip(days, probabilities, ess, strict=True):
        decision = decide(panel.known(day), book, models, float(probability), float(size), lasting, configuration)
        decisions.append(decision)
        book = decision.settlement.book
    return decisions


def judge(
    panel: Panel, models: Models, decisions: Sequence[Decision], configuration: ResearchConfiguration
) -> FoldResult:
    """What the decisions earned, day by day, and the verdicts on it."""
    rate = (configuration.fee_bp + configuration.slippage_bp) * 1e-4
    rows = []
    for decision in decisions:
        settlement = decision.settlement
        # Each day is judged by its own funding, not by what the days before it still owe.
        book = replace(settlement.book, unfunded=())
        marked = mark(book, _close_of(panel, decision.day))
        if marked.day_return is None or marked.asset_return is None:
            raise BadInput("no close a day later", column="close", at=_midnight(decision.day))
        closing = -book.exposure if decision is decisions[-1] else 0.0
        cost = settlement.cost + abs(closing) * rate
        rows.append(
            TestDay(
                decision.day,
                decision.gate.day.probability,
                decision.gate.day.state,
                decision.bias.value,
                decision.sizing.target,
                book.exposure,
                settlement.trade,
                closing,
                cost,
                marked.funding_paid,
                (1 - cost) * (1 + marked.day_return) - 1,
                marked.asset_return,
                panel.funding.get(decision.day),
                decision.risk.state,
                decision.exit.decision,
            )
        )
    result = performance_of(rows)
    verdicts, gaps = accept(result), cost_gaps(result)
    report = models.direction.report
    return FoldResult(
        panel.symbol,
        models.fold,
        configuration.fingerprint,
        tuple(rows),
        result,
        buy_and_hold_of(rows, rate),
        verdicts,
        gaps,
        not gaps and all(verdict.passed for verdict in verdicts),
        report.verdict,
        report.chosen,
    )


def _close_of(panel: Panel, day: date) -> Known:
    """The next 00:00, at which the day's holding is marked; features play no part in that."""
    after = day + timedelta(days=1)
    closes = {each: panel.log_close[each] for each in (day, after) if each in panel.log_close}
    funding = {day: panel.funding[day]} if day in panel.funding else {}
    return Known(after, {}, closes, funding)


def cost_gaps(result: Performance) -> str:
    """The costs that ``result`` lacks, in words; "" where it has them all."""
    return f"funding unknown on {result.unfunded_days} traded days" if result.unfunded_days else ""


def performance_of(rows: Sequence[TestDay]) -> Performance:
    return performance(
        [row.net_return for row in rows],
        [row.exposure for row in rows],
        [row.gate == "RISK-ON" for row in rows],
        [row.cost + (row.funding or 0.0) for row in rows],
        [abs(row.trade) + abs(row.closing) for row in rows],
        [row.funding is not None for row in rows],
    )


def buy_and_hold_of(rows: Sequence[TestDay], rate: float) -> Performance:
    """The same days with the whole capital in the asset, bought on the first and sold after the last at ``rate``."""
    count = len(rows)
    trades = [float((n == 0) + (n == count - 1)) for n in range(count)]
    costs = [rate * trade for trade in trades]
    paid = [row.asset_funding or 0.0 for row in rows]
    return performance(
        [(1 - cost) * (1 + row.asset_return - fee) - 1 for row, fee, cost in zip(rows, paid, costs, strict=True)],
        [1.0] * count,
        [True] * count,
        [cost + fee for cost, fee in zip(costs, paid, strict=True)],
        trades,
        [row.asset_funding is not None for row in rows],
    )


def _midnight(day: date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC") + DAY


def run_folds(
    symbol: str, pieces: Iterable[tuple[Fold, Tables] | Refused], configuration: ResearchConfiguration, workers: int
) -> Iterator[Computed | Refused]:
    """What became of each piece, in their order, from ``workers`` processes; one worker is a process of its own too,
    so that any number of workers computes under the same conditions. A piece holds at least its fold's tables, and is
    being computed while the next is fetched."""
    with (
        _single_threaded(),
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool,
    ):
        running = [
            piece if isinstance(piece, Refused) else pool.submit(_computed, symbol, *piece, configuration)
            for piece in pieces
        ]
        try:
            yield from (each if isinstance(each, Refused) else each.result() for each in running)
        finally:
            pool.shutdown(cancel_futures=True)


def _computed(symbol: str, fold: Fold, tables: Tables, configuration: ResearchConfiguration) -> Computed | Refused:
    try:
        return run_fold(symbol, tables, fold, configuration)
    except BadInput as error:
        return Refused(fold, str(error))


def _end_with_parent() -> None:
    """A worker waits on a pipe that it holds open itself: one whose parent was killed would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started within have one thread each: their libraries read this once, when they are loaded."""
    before = {name: os.environ.get(name) for name in _SINGLE_THREAD}
    os.environ.update(_SINGLE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
