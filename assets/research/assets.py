"""The Dagster faces of research: source tables, models, the ten steps of a day, and walk-forward by fold.

A partition of the daily assets is a UTC day, the decision at its 00:00; each asset does its part for every symbol of
``DESK_RESEARCH_SYMBOLS``. The work is in ``pipeline`` and ``validation_runs``, loaded when a run needs it. Everything
is written once, so a repeated run changes nothing and a killed one goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from pydantic import Field

from assets import metadata
from assets.research.research_desk import ResearchDesk, open_research_desk
from resources.documents import Document
from resources.market import MarketError
from resources.settings import load_settings
from resources.store import StoreError

if TYPE_CHECKING:
    from assets.research.validation import Fold

GROUP = "research"
OWNERS = ["team:research"]
# The first day of which the recorded history could have a decision.
FIRST_DAY = "2019-01-01"

# Today's partition exists from its own 00:00 on: the decision is made at the start of the day it is for.
decision_days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)
folds = dg.DynamicPartitionsDefinition(name="fold")

Result = TypeVar("Result")


@lru_cache(maxsize=1)
def research_from_environment() -> ResearchDesk:
    """The research desk of this process; opening it probes the store once."""
    return open_research_desk(load_settings())


@dg.resource(description="Store, history and symbols named by the DESK_* environment variables (README, Settings).")
def research_resource(_context: dg.InitResourceContext) -> ResearchDesk:
    """What the command line uses too."""
    return research_from_environment()


def answered(action: Callable[..., Result], *arguments: Any, again: bool = False) -> Result:
    """``action(*arguments)``; what it refuses is a failed run that says why. ``again`` allows the asset's retries, for
    a source that did not answer."""
    from assets.research.archive import TamperedObject
    from assets.research.bad_input import BadInput

    try:
        return action(*arguments)
    except (BadInput, TamperedObject) as error:
        raise dg.Failure(f"Refused: {error}", allow_retries=False) from None
    except (StoreError, MarketError) as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=again) from error


def _for_each(desk: ResearchDesk, work: Callable[[str], Document], *, again: bool = False) -> dict[str, Document]:
    return {symbol: answered(work, symbol, again=again) for symbol in desk.settings.research_symbols}


def _day(context: dg.AssetExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


# --- source tables ---

_SOURCE_COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "bars_1h": {
        "timestamp_utc": ("datetime", "OPEN of the bar, UTC; known an hour later"),
        "close": ("float", "last price of the hour"),
        "volume": ("float", "base units; empty where the source has none"),
    },
    "daily_close": {
        "date_utc": ("datetime", "midnight that begins the day"),
        "close": ("float", "close of the day's last hourly bar; whole days only"),
    },
    "funding_24h": {
        "date_utc": ("datetime", "midnight that begins the day"),
        "funding_delta": ("float", "sum of the day's settlements less the day's before, fraction of notional"),
    },
    "oi_24h": {
        "date_utc": ("datetime", "midnight that begins the day"),
        "oi_pct_delta": ("float", "open interest over the day before, as a fraction"),
    },
    "options_moves": {
        "date_utc": ("datetime", "midnight that begins the day"),
        "rr25d_delta": ("float", "change of the 25-delta risk reversal, volatility points"),
        "term_slope_7d_30d_delta": ("float", "change of the 7 to 30 day term slope, volatility points"),
    },
    "slippage_log": {
        "date_utc": ("datetime", "UTC day of the fill"),
        "symbol": ("string", "exchange symbol"),
        "side": ("string", "BUY or SELL"),
        "size": ("float", "traded notional, reporting currency"),
        "est_impact_bp": ("float", "price against the mark at t0, positive against the trade, basis points"),
    },
}
_SOURCE_TEXT = {
    "bars_1h": "Hourly bars known at 00:00 UTC of the day. Missing bars stay missing; with any gap the gate is OFF.",
    "daily_close": "Closes of whole UTC days, from `bars_1h`.",
    "funding_24h": "Change of daily funding: the sum of what really settled, never one rate times three.",
    "oi_24h": "Change of open interest. Absent, with the reason, where the source has none.",
    "options_moves": "Moves of the option surface (optional). Absent, with the reason, where the source has none.",
    "slippage_log": "What the desk's own fills cost against the marks their orders were sized on.",
}
_SOURCE_DEPS: Mapping[str, list[Any]] = {
    "daily_close": ["bars_1h"],
    "slippage_log": [dg.AssetDep("fills", partition_mapping=dg.AllPartitionMapping())],
}


def _source_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name, group_name=GROUP, owners=OWNERS, kinds={"parquet"}, partitions_def=decision_days,
        deps=_SOURCE_DEPS.get(name, []), description=_SOURCE_TEXT[name],
        metadata={"dagster/column_schema": metadata.column_schema(_SOURCE_COLUMNS[name])},
        # Reads only: a source that does not answer is asked again.
        retry_policy=dg.RetryPolicy(max_retries=3, delay=20, backoff=dg.Backoff.EXPONENTIAL),
    )  # fmt: skip
    def source(context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.MaterializeResult:
        from assets.research.sources import pull_source

        day = _day(context)
        pulled = _for_each(research, lambda symbol: pull_source(research.research, symbol, day, name), again=True)
        rows = [
            {"symbol": symbol, **document["tables"].get(name, {"rows": 0}), "absence": document["absence"]}
            for symbol, document in pulled.items()
        ]
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(row["rows"] for row in rows),
                "source": research.research.source,
                "tables": metadata.table(
                    rows,
                    {
                        "symbol": ("string", "symbol"),
                        "rows": ("integer", "rows known at the decision"),
                        "first": ("string", "first stamp"),
                        "last": ("string", "last stamp"),
                        "absence": ("string", "why there is no table"),
                        "sha256": ("string", "of the stored table"),
                    },
                ),
                "findings": [
                    f"{symbol}: {finding['message']}"
                    for symbol, document in pulled.items()
                    for finding in document["findings"]
                ]
                or "none",
            }
        )

    return source


source_assets = {name: _source_asset(name) for name in _SOURCE_COLUMNS}


# --- models ---


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"jax"}, partitions_def=decision_days,
    deps=["bars_1h", "funding_24h", "oi_24h", "options_moves"],
)  # fmt: skip
def research_models(
    context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]
) -> dg.MaterializeResult:
    """The models in force: direction classifier, volatility regression, latent volatility and drift, trading model.

    Trained once a fold (30 days) on the 365 days that end a week before it; found in the store they are used as they
    are.
    """
    from assets.research.model_store import model_version, trained

    manifests = _for_each(research, lambda symbol: trained(research.research, symbol, _day(context))[1], again=True)
    return dg.MaterializeResult(
        metadata={
            symbol: {
                "version": model_version(manifest),
                "trained on": f"{manifest['fold']['train_start']} to {manifest['fold']['train_end']}",
                "direction": manifest["direction_report"]["verdict"],
                "averaging chosen by validation": manifest["direction_report"]["chosen"],
                "latent": metadata.plain(manifest["latent"]),
            }
            for symbol, manifest in manifests.items()
        }
    )


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"jax"}, partitions_def=decision_days, deps=[research_models],
)  # fmt: skip
def exit_rule(context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.MaterializeResult:
    """The day's optimal-stopping rule, networks of 16 units trained at 00:00 UTC on paths of the fitted model.

    A killed training goes on from its last checkpoint.
    """
    from assets.research.model_store import trained_exit_rule

    rules = {
        symbol: answered(trained_exit_rule, research.research, symbol, _day(context))
        for symbol in research.settings.research_symbols
    }
    return dg.MaterializeResult(
        metadata={symbol: {"seed": rule.seed, **rule.problem.document()} for symbol, rule in rules.items()}
    )


# --- the ten steps ---

_STEP_DEPS: Mapping[str, list[str]] = {
    "data_pull": [*_SOURCE_COLUMNS, "research_models"],
    "feature_extraction": ["data_pull"],
    "regime_gate": ["feature_extraction"],
    "bias_computation": ["regime_gate"],
    "target_sizing": ["bias_computation"],
    "execution_rate": ["target_sizing"],
    "impact_tracking": ["execution_rate"],
    "risk_checks": ["feature_extraction", "impact_tracking"],
    "position_management": ["risk_checks", "exit_rule"],
    "weekly_calibration": ["position_management", "slippage_log"],
}
_STEP_TEXT = {
    "data_pull": "1. Which tables the decision uses, whether they may be used, and which book it continues "
    "(yesterday's decision: a loop through time that no lineage can draw).",
    "feature_extraction": "2. Signature and positioning features, the book marked to 00:00, the volatility forecast.",
    "regime_gate": "3. P(RISK-ON) by the controlled particle filter; ON at 0.60 and, after OFF, on the second such "
    "day. Stale or missing data: OFF.",
    "bias_computation": "4. Directional bias in [-1, 1], only while the gate is on.",
    "target_sizing": "5. x*, the exposure aimed at: [(Aql + lambda All) l + (Aqx + lambda Axl) x] / [Aqq - lambda - "
    "lambda Aql], capped.",
    "execution_rate": "6. u* with its fast and slow corrections, and the exposure it leads to in a day.",
    "impact_tracking": "7. Price impact, dl = (lambda u - beta l) dt.",
    "risk_checks": "8. Hard stop, daily limit, funding and volatility guards: ACTIVE, REDUCING or HALTED.",
    "position_management": "9. Leave or hold (optimal stopping, at most 7 days), and the trade of the day. "
    "The decision is published after it.",
    "weekly_calibration": "10. lambda from realised slippage, once a week, in force from the next decision on.",
}


def _step_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name, group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=decision_days,
        deps=_STEP_DEPS[name], description=_STEP_TEXT[name],
    )  # fmt: skip
    def step(context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.MaterializeResult:
        from assets.research.archive import step_key
        from assets.research.pipeline import run_step
        from assets.research.publication import publish
        from assets.research.steps import STEPS

        desk, day = research.research, _day(context)
        documents = _for_each(research, lambda symbol: run_step(desk, symbol, day, name))
        if name == STEPS[-1]:
            _for_each(research, lambda symbol: publish(desk, symbol, day))
        return dg.MaterializeResult(
            metadata={
                "source": desk.source,
                "results": _side_by_side({symbol: document["result"] for symbol, document in documents.items()}),
                **_plotted(name, {symbol: document["result"] for symbol, document in documents.items()}),
                **{
                    f"{symbol} document": dg.MetadataValue.path(
                        f"{research.store.url.rstrip('/')}/{step_key(desk.source, symbol, day, name)}"
                    )
                    for symbol in documents
                },
            }
        )

    return step


# What Dagster plots over the days, by step: where in the result it stands.
_PLOTTED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "feature_extraction": {"volatility forecast per day": ("volatility", "forecast")},
    "regime_gate": {"P(RISK-ON)": ("day", "probability")},
    "bias_computation": {"bias": ("value",)},
    "target_sizing": {"target exposure": ("target",)},
    "execution_rate": {"planned exposure": ("planned",)},
    "impact_tracking": {"impact bp": ("now_bp",)},
    "position_management": {
        "exposure": ("settlement", "book", "exposure"),
        "equity": ("settlement", "book", "equity"),
    },
    "weekly_calibration": {"lambda": ("result", "new")},
}


def _plotted(step: str, results: Mapping[str, Document]) -> dict[str, Any]:
    """The step's headline numbers, one entry a symbol; what is missing is left out, so that no plot shows it as 0."""
    shown: dict[str, Any] = {}
    for label, path in _PLOTTED.get(step, {}).items():
        for symbol, result in results.items():
            value: Any = result
            for name in path:
                value = value[name]
            if value is not None:
                shown[f"{symbol} {label}"] = float(value)
    return shown


def _side_by_side(results: Mapping[str, Document]) -> dg.TableMetadataValue:
    """Every single value of the results, a row each and a column a symbol; long series stay in the documents."""
    rows = {symbol: dict(_flat(result)) for symbol, result in results.items()}
    names = {name: None for row in rows.values() for name in row}
    return metadata.table(
        [{"name": name, **{symbol: row.get(name) for symbol, row in rows.items()}} for name in names],
        {"name": ("string", "value"), **{symbol: ("string", symbol) for symbol in rows}},
    )


def _flat(value: Document, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if name in ("log_close", "funding", "inputs"):
            continue
        place = f"{path}.{name}" if path else name
        if isinstance(item, dict):
            yield from _flat(item, place)
        elif not isinstance(item, list):
            yield place, item


step_assets = {name: _step_asset(name) for name in _STEP_TEXT}


# --- walk-forward ---


def fold_key(symbol: str, fold: "Fold") -> str:
    """The partition of one symbol's fold, such as ``BTCUSDT_2024-11-13`` (its first test day)."""
    return f"{symbol}_{fold.name}"


def _fold(context: dg.AssetExecutionContext, research: ResearchDesk) -> "tuple[str, Fold]":
    from assets.research.validation_runs import fold_named

    symbol, _, name = context.partition_key.partition("_")
    return symbol, answered(fold_named, name, research.research)


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet"}, partitions_def=folds)
def walk_forward_features(
    context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]
) -> dg.MaterializeResult:
    """Tables and features of one fold: 365 days to train on, a week left out, 30 days to decide."""
    from assets.research.validation_runs import fold_features

    symbol, fold = _fold(context, research)
    document = answered(fold_features, research.research, symbol, fold)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": document["rows"],
            "source": document["source"],
            "fold": document["fold"],
            "inputs": document["inputs"],
            "missing values": document["missing"] or "none",
        },
        data_version=dg.DataVersion(document["features"]),
    )


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=folds, deps=[walk_forward_features])
def walk_forward_report(
    context: dg.AssetExecutionContext, research: dg.ResourceParam[ResearchDesk]
) -> dg.MaterializeResult:
    """One fold decided day by day as the live desk would, costs included, and judged by the brief's criteria."""
    from assets.research.validation_runs import fold_report, summarise

    symbol, fold = _fold(context, research)
    report = answered(fold_report, research.research, symbol, fold)
    answered(summarise, research.research, symbol)
    return dg.MaterializeResult(metadata=report_metadata(report))


def report_metadata(report: Document) -> dict[str, Any]:
    """What the Dagster UI shows of a fold's report."""
    result = report["result"]
    return {
        "accepted": result["accepted"],
        "source": report["source"],
        "performance": result["performance"],
        "buy and hold": result["buy_and_hold"],
        "verdicts": [f"{verdict['name']}: {verdict['reason']}" for verdict in result["verdicts"]],
        "direction": result["training_verdict"],
    }


class WalkForwardConfig(dg.Config):
    """What one run of `walk_forward` covers."""

    until: str = Field("", description="Last day (ISO) of the history looked at; empty means today")
    partitions_only: bool = Field(False, description="Add the folds as partitions, for a backfill to compute")


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"},
    deps=[dg.AssetDep("daily_close", partition_mapping=dg.LastPartitionMapping())],
)  # fmt: skip
def walk_forward(
    context: dg.AssetExecutionContext, config: WalkForwardConfig, research: dg.ResourceParam[ResearchDesk]
) -> dg.MaterializeResult:
    """All folds the history holds, those without a report computed in a pool of processes within this one step.

    It writes the same objects as the partitions of `walk_forward_report` do, which is the way to spread folds over
    runs and machines instead, and reports them as materialized. Its summary is what the screen shows.
    """
    from assets.research.validation_runs import available_folds, run, summarise

    desk = research.research
    until = date.fromisoformat(config.until) if config.until else research.clock.now().date()
    shown: dict[str, Any] = {}
    for symbol in research.settings.research_symbols:
        planned = answered(available_folds, desk, symbol, until, again=True)
        context.instance.add_dynamic_partitions(folds.name or "", [fold_key(symbol, fold) for fold in planned])
        if config.partitions_only:
            shown[symbol] = {"folds": len(planned)}
            continue
        reports = run(desk, symbol, planned, research.settings.walk_forward_workers)
        computed: list[Document] = answered(list, reports)
        for fold, report in zip(planned, computed, strict=True):
            if "result" in report:
                context.log_event(
                    dg.AssetMaterialization(
                        walk_forward_report.key,
                        partition=fold_key(symbol, fold),
                        metadata=metadata.plain(report_metadata(report)),
                    )
                )
        refused = [report["refused"]["reason"] for report in computed if "refused" in report]
        summary = answered(summarise, desk, symbol) if len(refused) < len(planned) else None
        shown[symbol] = {
            "folds": len(planned),
            "accepted": 0 if summary is None else summary["accepted_folds"],
            "refused": refused or "none",
            "overall": None if summary is None else summary["overall"],
        }
    return dg.MaterializeResult(metadata={"source": desk.source, **shown})


daily_assets = [*source_assets.values(), research_models, exit_rule, *step_assets.values()]
fold_assets = [walk_forward_features, walk_forward_report]
