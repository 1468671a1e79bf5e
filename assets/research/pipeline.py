"""The ten steps of a daily decision over the store: each is loaded from what the steps before it stored, computed by
``decision``, and written once.

A step found in the store is used as it is, so that a killed day goes on where it stopped and a repeated one changes
nothing. ``replay`` computes every step again from the stored inputs and compares.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from assets.research import archive, decision
from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.data import contracts
from assets.research.data.contracts import CONTRACTS, Contract, Finding
from assets.research.decision import (
    BiasStep,
    Book,
    ExitStep,
    GateStep,
    ImpactStep,
    Known,
    Marked,
    Settlement,
    SizingStep,
    Volatility,
)
from assets.research.models import Models, filter_returns, position_exit, seed_of, train_models
from assets.research.regime.risk_on import LatentModel
from assets.research.signatures.realised_volatility import RealisedVolatility
from assets.research.steps import SOURCES, STEPS
from assets.research.stopping.exits import ExitRule, train_exit_rule
from assets.research.trading.exposure import Execution, Step
from assets.research.trading.impact import Recalibration, recalibrate
from assets.research.trading.risk import RiskReport
from assets.research.training.direction import Device, DirectionModel
from assets.research.validation import Fold, fold_of
from assets.research.walk_forward import LOOK_BACK, MEMORY_DAYS, Tables, funding_paid, log_closes, panel_of, recent
from resources.clock import Clock
from resources.documents import Document, dump_document, sha256_hex, to_iso
from resources.history import History
from resources.market import MarketError
from resources.settings import Settings
from resources.store import AlreadyExists, NotFound, Store
from resources.store.once import create_bytes_once

# Days of source tables behind a decision: the filter's burn-in, the test window and the one before it, whose models may
# still be in force, and a week for the features.
_SOURCE_DAYS = 150
# So long after 00:00 a table that lacks its newest rows is asked for again; later the decision is made without them.
_PATIENCE = timedelta(minutes=10)
_HISTORY_DAYS = 90
# Where the leakage guard cuts: yesterday, a week and a month before.
_LEAKAGE_DAYS = (1, 7, 30)
_TABLES = tuple(field.name for field in fields(Tables))


@dataclass(frozen=True, slots=True)
class Research:
    """What research works with."""

    settings: Settings
    store: Store
    history: History
    clock: Clock
    configuration: ResearchConfiguration

    @property
    def source(self) -> str:
        return self.history.source


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# ------------------------------------------------------------------------------------------------------- sources


def pull_source(research: Research, symbol: str, day: date, name: str) -> Document:
    """The source table ``name`` of brief 1 as it was at 00:00 of ``day``, stored, with what is wrong with it.

    A table the source does not have is absent with the reason; nothing is made up. Raises MarketError where the
    source does not answer, and while it may still be about to.
    """
    key = archive.source_key(research.source, symbol, day, name)
    found = archive.find_document(research.store, key)
    if found is not None:
        return found
    tables, absence, faults = _tables(research, symbol, day, name)
    contract = CONTRACTS[name]
    stored = {
        each: {
            "sha256": archive.store_table(research.store, research.source, symbol, table),
            "rows": len(table),
            "first": _instant(table, 0),
            "last": _instant(table, -1),
        }
        for each, table in tables.items()
    }
    findings = faults if name not in tables else _findings(tables[name], contract, midnight(day))
    if any(finding.rule == "late" for finding in findings) and research.clock.now() < midnight(day) + _PATIENCE:
        raise MarketError(f"{symbol}: {name} is not complete yet: {findings[0].message}")
    document = {
        "table": name,
        "symbol": symbol,
        "day": day.isoformat(),
        "source": research.source,
        "pulled_utc": to_iso(research.clock.now()),
        "tables": stored,
        "absence": absence,
        "findings": [archive.dump_value(finding) for finding in findings],
    }
    return written_once(research.store, key, document)


def _tables(
    research: Research, symbol: str, day: date, name: str
) -> tuple[dict[str, pd.DataFrame], str, list[Finding]]:
    """The tables of a source by name; where there is none why, and what is wrong with what it would be made from.
    Funding keeps its raw settlements beside the deltas."""
    history, end = research.history, midnight(day)
    start = end - timedelta(days=_SOURCE_DAYS)
    if name == "bars_1h":
        return {name: history.hourly_bars(symbol, start, end)}, "", []
    if name == "daily_close":
        bars = _source_table(research, symbol, day, "bars_1h")
        return _built(name, bars, contracts.BARS_1H, contracts.daily_close)
    if name == "funding_24h":
        settlements = history.funding(symbol, start, end)
        if settlements.empty:
            return {}, "no settlements", []
        tables, absence, faults = _built(name, settlements, contracts.FUNDING_SETTLEMENTS, contracts.funding_24h)
        return tables | ({"funding_settlements": settlements} if tables else {}), absence, faults
    if name == "oi_24h":
        levels = history.open_interest(symbol, start, end)
        if levels is None or levels.empty:
            return {}, history.absence("open_interest", symbol), []
        return _built(name, levels, contracts.OPEN_INTEREST, contracts.oi_24h)
    if name == "options_moves":
        moves = history.option_moves(symbol, start, end)
        if moves is None or moves.empty:
            return {}, history.absence("option_moves", symbol), []
        return {name: moves}, "", []
    slippage = slippage_log(research.store, symbol, end)
    return ({}, "the desk has not traded this symbol yet", []) if slippage.empty else ({name: slippage}, "", [])


def _built(
    name: str, raw: pd.DataFrame, contract: Contract, build: Callable[[pd.DataFrame], pd.DataFrame]
) -> tuple[dict[str, pd.DataFrame], str, list[Finding]]:
    """The table ``build`` makes of ``raw``. Of a raw table that breaks its contract nothing is made: the decision goes
    on without, as it does without a table that never came."""
    faults = contracts.check_form(raw, contract)
    if faults:
        return {}, f"{contract.name} cannot be used: {faults[0].message}", faults
    return {name: build(raw)}, "", []


def slippage_log(store: Store, symbol: str, end: datetime) -> pd.DataFrame:
    """SLIPPAGE_LOG of the desk's own fills of ``symbol`` before ``end``: for each, the distance of its price from the
    mark the rebalance was sized on, positive where the price moved against it; size is the traded notional."""
    rows = []
    for entry in store.list("rebalances/"):
        if not entry.key.endswith("/fills.json") or entry.modified < end - timedelta(days=_SOURCE_DAYS):
            continue
        fills = archive.read_document(store, entry.key)
        marks = archive.read_document(store, entry.key.removesuffix("fills.json") + "pre_execution.json")[
            "prices_at_t0"
        ]
        for fill in fills["fills"]:
            at = pd.Timestamp(fill["time"])
            if fill["symbol"] != symbol or at >= end or symbol not in marks:
                continue
            sign = 1 if fill["side"] == "BUY" else -1
            price, mark = float(fill["price"]), float(marks[symbol])
            rows.append(
                {
                    "date_utc": at.floor("D"),
                    "symbol": symbol,
                    "side": fill["side"],
                    "size": abs(float(fill["quantity"])) * price,
                    "est_impact_bp": sign * (price / mark - 1) * 1e4,
                }
            )
    table = pd.DataFrame(rows, columns=list(contracts.SLIPPAGE_LOG.columns))
    if not table.empty:
        table["date_utc"] = pd.DatetimeIndex(table["date_utc"]).as_unit("us")
    return table.sort_values("date_utc", kind="stable", ignore_index=True)


def _findings(table: pd.DataFrame, contract: Contract, decision_time: datetime) -> list[Finding]:
    if table.empty:
        return [Finding(contract.name, "empty", "no rows", contract.time, None)]
    return contracts.check(table, contract, decision_time)


def _source_table(research: Research, symbol: str, day: date, name: str, table: str | None = None) -> pd.DataFrame:
    document = pull_source(research, symbol, day, name)
    entry = document["tables"].get(table or name)
    if entry is None:
        raise BadInput(document["absence"], column=name)
    return archive.load_table(research.store, research.source, symbol, entry["sha256"])


# -------------------------------------------------------------------------------------------------------- models


def trained(research: Research, symbol: str, day: date, device: Device = "cpu") -> tuple[Models, Document]:
    """The models in force on ``day`` and their manifest: those its decision began with, else those of its fold, trained
    on ``device`` from the history when the store has none.

    Where the fold's training window has holes, the models before it stay in force as long as the history behind a
    decision reaches back to their fold; ``data_pull`` names the fold used. Raises BadInput where there are none such,
    MarketError without a source, NotFound or TamperedObject where a decision's models are gone or changed.
    """
    begun = archive.find_document(research.store, archive.step_key(research.source, symbol, day, "data_pull"))
    if begun is not None:
        return _models_of(research, symbol, begun["result"])
    scheme = research.configuration.scheme
    fold = fold_of(day, scheme)
    manifest = _manifest(research, symbol, fold)
    if manifest is None:
        try:
            manifest = _train(research, symbol, fold, device)
        except BadInput:
            fold = fold_of(fold.test_start - timedelta(days=1), scheme)
            manifest = _manifest(research, symbol, fold)
            if manifest is None:
                raise
    return load_models(research, symbol, fold, manifest), manifest


def _models_of(research: Research, symbol: str, pulled: Document) -> tuple[Models, Document]:
    fold = archive.load_value(Fold, pulled["model_fold"])
    key = _model_key(research, symbol, fold, "manifest.json")
    manifest = archive.read_document(research.store, key)
    if sha256_hex(dump_document(manifest)) != pulled["model_manifest"]:
        raise archive.TamperedObject(f"{key} is not the manifest that the decision began with")
    return load_models(research, symbol, fold, manifest), manifest


def _manifest(research: Research, symbol: str, fold: Fold) -> Document | None:
    return archive.find_document(research.store, _model_key(research, symbol, fold, "manifest.json"))


def tables_between(research: Research, symbol: str, first: date, last: date) -> Tables:
    """What the decisions of ``first`` to ``last`` and their outcomes need, from the history. Raises MarketError."""
    history = research.history
    start, end = midnight(first) - LOOK_BACK.to_pytimedelta(), midnight(last) + timedelta(days=1)
    funding, levels = history.funding(symbol, start, end), history.open_interest(symbol, start, end)
    return Tables(
        history.hourly_bars(symbol, start, end),
        None if funding.empty else funding,
        None if levels is None or levels.empty else contracts.oi_24h(levels),
        history.option_moves(symbol, start, end),
    )


def store_tables(research: Research, symbol: str, tables: Tables) -> dict[str, str]:
    """The sha256 of each table there is, under which it is stored."""
    present = {name: getattr(tables, name) for name in _TABLES if getattr(tables, name) is not None}
    return {
        name: archive.store_table(research.store, research.source, symbol, table) for name, table in present.items()
    }


def load_tables(research: Research, symbol: str, stored: Mapping[str, str]) -> Tables:
    """The tables that ``store_tables`` stored. Raises TamperedObject."""
    return Tables(
        **{
            name: archive.load_table(research.store, research.source, symbol, stored[name])
            for name in _TABLES
            if name in stored
        }
    )


def _train(research: Research, symbol: str, fold: Fold, device: Device) -> Document:
    configuration = research.configuration
    tables = tables_between(research, symbol, fold.train_start, fold.train_end - timedelta(days=1))
    panel = panel_of(symbol, tables)
    models = train_models(panel.features, panel.outcomes, fold, configuration, None, device)
    parts = {
        "direction.npz": models.direction.to_bytes(),
        "models.json": dump_document(
            {
                "volatility": models.volatility.to_document(),
                "latent": archive.dump_value(models.latent),
                "execution": archive.dump_value(models.execution),
                "usual_funding": models.usual_funding,
            }
        ),
    }
    manifest = {
        "symbol": symbol,
        "source": research.source,
        "fold": archive.dump_value(fold),
        "configuration": configuration.fingerprint,
        "seed": seed_of(fold, configuration),
        "trained_utc": to_iso(research.clock.now()),
        "inputs": store_tables(research, symbol, tables),
        "parts": {name: sha256_hex(content) for name, content in parts.items()},
        "direction_report": json.loads(json.dumps(asdict(models.direction.report))),
        "latent": archive.dump_value(models.latent),
    }
    for name, content in parts.items():
        # Under their content's sha256, because another machine may train the same fold at once with other last bits;
        # before the manifest that vouches for them, so that a kill between leaves parts that training finds again.
        create_bytes_once(research.store, _part_key(research, symbol, fold, name, manifest["parts"][name]), content)
    return written_once(research.store, _model_key(research, symbol, fold, "manifest.json"), manifest)


def load_models(research: Research, symbol: str, fold: Fold, manifest: Document) -> Models:
    """The models a manifest names. Raises TamperedObject when a byte of them has changed."""
    parts = {
        name: archive.verified(research.store, _part_key(research, symbol, fold, name, sha256), sha256)
        for name, sha256 in manifest["parts"].items()
    }
    rest = json.loads(parts["models.json"])
    return Models(
        fold,
        DirectionModel.from_bytes(parts["direction.npz"]),
        RealisedVolatility.from_document(rest["volatility"]),
        archive.load_value(LatentModel, rest["latent"]),
        archive.load_value(Execution, rest["execution"]),
        rest["usual_funding"],
        None,
    )


def model_version(manifest: Document) -> str:
    """12 hex digits that differ for any other trained model."""
    return sha256_hex(dump_document(manifest["parts"]))[:12]


def _model_key(research: Research, symbol: str, fold: Fold, name: str) -> str:
    return archive.model_key(research.source, symbol, fold.name, research.configuration.fingerprint, name)


def _part_key(research: Research, symbol: str, fold: Fold, name: str, sha256: str) -> str:
    return _model_key(research, symbol, fold, f"{sha256}/{name}")


def trained_exit_rule(research: Research, symbol: str, day: date, device: Device = "cpu") -> ExitRule:
    """The exit rule of ``day``, trained at its 00:00; a killed training goes on from its last checkpoint."""
    store, configuration = research.store, research.configuration
    key = archive.exit_rule_key(research.source, symbol, day, "rule.npz")
    try:
        return ExitRule.from_bytes(store.read(key).data)
    except NotFound:
        models, _ = trained(research, symbol, day)
    checkpoint = archive.exit_rule_key(research.source, symbol, day, "checkpoint.npz")
    try:
        begun: bytes | None = store.read(checkpoint).data
    except NotFound:
        begun = None
    rule = train_exit_rule(
        position_exit(models.latent, models.execution, configuration),
        configuration.exits,
        seed=seed_of(models.fold, configuration) + day.toordinal(),
        device=device,
        checkpoint=begun,
        on_checkpoint=lambda content: void(store.write(checkpoint, content)),
    )
    try:
        store.create(key, rule.to_bytes())
    except AlreadyExists:  # another process was as fast; its rule is the one that decides
        return ExitRule.from_bytes(store.read(key).data)
    return rule


def void(_: object) -> None:
    """Drop a result where a callback must return none."""


# --------------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class Extraction:
    """Step 2: what is known, the book marked, the volatility expected, and the returns the filter runs over."""

    known: Known
    filter_returns: tuple[float, ...]
    marked: Marked
    volatility: Volatility


@dataclass(frozen=True, slots=True)
class Calibration:
    """Step 10, in force from the next decision on."""

    result: Recalibration


@dataclass(frozen=True, slots=True)
class Chain:
    """What a day continues: the book and the impact parameter the last decision left, and which that was."""

    book: Book
    impact_per_trade: float
    calibrated: date | None
    previous: date | None


def run_step(research: Research, symbol: str, day: date, step: str) -> Document:
    """The stored document of a step, computed and written when absent. The steps before it must be there."""
    key = archive.step_key(research.source, symbol, day, step)
    found = archive.find_document(research.store, key)
    if found is not None:
        return found
    result, inputs = _BUILDERS[step](research, symbol, day)
    document = {
        "step": step,
        "symbol": symbol,
        "day": day.isoformat(),
        "source": research.source,
        "configuration": research.configuration.fingerprint,
        "inputs": inputs,
        "result": result if isinstance(result, dict) else archive.dump_value(result),
    }
    return written_once(research.store, key, document)


def _data_pull(research: Research, symbol: str, day: date) -> tuple[Document, Document]:
    """Step 1: which tables the decision uses, whether they may be used, and which book it continues."""
    sources = {name: pull_source(research, symbol, day, name) for name in SOURCES}
    bars = sources["bars_1h"]
    refusal = "; ".join(finding["message"] for finding in bars["findings"]) or bars["absence"]
    usable = {}
    for name, document in sources.items():
        harmful = [finding for finding in document["findings"] if finding["rule"] not in ("late", "stale", "gap")]
        usable[name] = bool(document["tables"]) and not (harmful if name != "bars_1h" else document["findings"])
    _, manifest = trained(research, symbol, day)
    begun = archive.find_document(research.store, archive.step_key(research.source, symbol, day, "data_pull"))
    # A decision made again continues what it continued, whatever has been decided for the days between since then.
    previous = previous_day(research, symbol, day) if begun is None else _date(begun["result"]["previous"])
    result = {
        "refusal": refusal,
        "tables": {
            table: entry["sha256"]
            for name, document in sources.items()
            if usable[name]
            for table, entry in document["tables"].items()
        },
        "as_of": bars["tables"].get("bars_1h", {}).get("last"),
        "states": {
            name: {
                "rows": document["tables"].get(name, {}).get("rows", 0),
                "last": document["tables"].get(name, {}).get("last"),
                "absence": document["absence"],
                "findings": document["findings"],
                "used": usable[name],
            }
            for name, document in sources.items()
        },
        "model_version": model_version(manifest),
        "model_fold": manifest["fold"],
        "model_manifest": sha256_hex(dump_document(manifest)),
        "previous": None if previous is None else previous.isoformat(),
    }
    inputs = {
        f"sources/{name}": _sha(research, archive.source_key(research.source, symbol, day, name)) for name in SOURCES
    }
    return result, inputs


def _feature_extraction(research: Research, symbol: str, day: date) -> tuple[Extraction, Document]:
    """Step 2: signature and positioning features, the book marked to 00:00, the volatility forecast."""
    pulled, inputs = _result(research, symbol, day, "data_pull")
    models, _ = trained(research, symbol, day)
    chain = _chain(research, symbol, day, pulled)
    known, returns = _known(research, symbol, day, models, pulled)
    marked = decision.mark(chain.book, known)
    return Extraction(known, returns, marked, decision.volatility_step(known, models)), inputs


def _known(
    research: Research, symbol: str, day: date, models: Models, pulled: Document
) -> tuple[Known, tuple[float, ...]]:
    """What is known on the day and the returns up to it. Where the data may not be used for a forecast there are no
    features and the reason why; whole days still have their closes, so that what is held is marked and can be left."""
    refusal = pulled["refusal"]
    if not refusal:
        try:
            panel = panel_of(symbol, load_tables(research, symbol, pulled["tables"]))
            returns = filter_returns(panel.features, models.fold, day, research.configuration)
            return panel.known(day), tuple(map(float, returns))
        except BadInput as error:
            refusal = str(error)

    def table(name: str) -> pd.DataFrame | None:
        sha256 = pulled["tables"].get(name)
        return None if sha256 is None else archive.load_table(research.store, research.source, symbol, sha256)

    closes = table("daily_close")
    return Known(
        day,
        {},
        {} if closes is None else recent(log_closes(closes), day),
        recent(funding_paid(table("funding_settlements")), day - timedelta(days=1)),
        refusal,
    ), ()


def _regime_gate(research: Research, symbol: str, day: date) -> tuple[GateStep, Document]:
    """Step 3: P(RISK-ON) by the controlled particle filter, threshold and inertia."""
    extraction, inputs = _extraction(research, symbol, day)
    models, _ = trained(research, symbol, day)
    before = decision.gate_before(_chain_of(research, symbol, day).book, day)
    if extraction.known.refusal:
        return decision.gate_step(before, None, None, extraction.known.refusal, research.configuration), inputs
    path = models.filter(np.array(extraction.filter_returns), research.configuration)
    probability, ess = float(path.probability[-1]), float(path.ess[-1])
    return decision.gate_step(before, probability, ess, "", research.configuration), inputs


def _bias_computation(research: Research, symbol: str, day: date) -> tuple[BiasStep, Document]:
    """Step 4: the direction classifier's bias, while the gate is on."""
    extraction, inputs = _extraction(research, symbol, day)
    gate, more = _value(research, symbol, day, "regime_gate", GateStep)
    models, _ = trained(research, symbol, day)
    return decision.bias_step(extraction.known, gate, models), inputs | more


def _target_sizing(research: Research, symbol: str, day: date) -> tuple[SizingStep, Document]:
    """Step 5: x*, the exposure aimed at."""
    extraction, bias, execution, inputs = _sizing_inputs(research, symbol, day)
    return decision.sizing_step(extraction.marked, bias, extraction.volatility, execution), inputs


def _execution_rate(research: Research, symbol: str, day: date) -> tuple[Step, Document]:
    """Step 6: u*, with its fast and slow corrections, and where it leads in a day."""
    extraction, bias, execution, inputs = _sizing_inputs(research, symbol, day)
    return decision.execution_step(extraction.marked, bias, extraction.volatility, execution), inputs


def _impact_tracking(research: Research, symbol: str, day: date) -> tuple[ImpactStep, Document]:
    """Step 7: dl = (lambda u - beta l) dt."""
    extraction, _, execution, _ = _sizing_inputs(research, symbol, day)
    step, inputs = _value(research, symbol, day, "execution_rate", Step)
    return decision.impact_step(extraction.marked, step, execution), inputs


def _risk_checks(research: Research, symbol: str, day: date) -> tuple[RiskReport, Document]:
    """Step 8: stops, limits and guards."""
    extraction, inputs = _extraction(research, symbol, day)
    models, _ = trained(research, symbol, day)
    before = _chain_of(research, symbol, day).book.risk
    report = decision.risk_step(
        before, extraction.known, extraction.marked, extraction.volatility, models, research.configuration.limits
    )
    return report, inputs


@dataclass(frozen=True, slots=True)
class Management:
    """Step 9: leave or hold, and the trade of the day."""

    exit: ExitStep
    settlement: Settlement


def _position_management(research: Research, symbol: str, day: date) -> tuple[Management, Document]:
    """Step 9: the exit rule, the holding cap, and what is held from now on."""
    extraction, bias, execution, inputs = _sizing_inputs(research, symbol, day)
    gate, gate_inputs = _value(research, symbol, day, "regime_gate", GateStep)
    step, step_inputs = _value(research, symbol, day, "execution_rate", Step)
    risk, risk_inputs = _value(research, symbol, day, "risk_checks", RiskReport)
    rule = trained_exit_rule(research, symbol, day)
    models = replace(trained(research, symbol, day)[0], exit_rule=rule)
    configuration, known, marked = research.configuration, extraction.known, extraction.marked
    leave = decision.exit_step(known, marked, extraction.volatility, bias, models, configuration)
    settlement = decision.settle(known, marked, gate, step, risk, leave, execution, configuration)
    rule_key = archive.exit_rule_key(research.source, symbol, day, "rule.npz")
    inputs = inputs | gate_inputs | step_inputs | risk_inputs | {"exit_rule": _sha(research, rule_key)}
    return Management(leave, settlement), inputs


def _weekly_calibration(research: Research, symbol: str, day: date) -> tuple[Calibration, Document]:
    """Step 10: lambda from realised slippage, once a week; in force from the next decision on."""
    pulled, inputs = _result(research, symbol, day, "data_pull")
    chain = _chain(research, symbol, day, pulled)
    sha256 = pulled["tables"].get("slippage_log")
    empty = pd.DataFrame(columns=list(contracts.SLIPPAGE_LOG.columns))
    log = empty if sha256 is None else archive.load_table(research.store, research.source, symbol, sha256)
    result = recalibrate(
        chain.impact_per_trade,
        log,
        symbol=symbol,
        capital=float(research.settings.initial_capital),
        as_of=day,
        last=chain.calibrated,
        rule=research.configuration.recalibration,
    )
    return Calibration(result), inputs


_BUILDERS: dict[str, Callable[[Research, str, date], tuple[Any, Document]]] = {
    "data_pull": _data_pull,
    "feature_extraction": _feature_extraction,
    "regime_gate": _regime_gate,
    "bias_computation": _bias_computation,
    "target_sizing": _target_sizing,
    "execution_rate": _execution_rate,
    "impact_tracking": _impact_tracking,
    "risk_checks": _risk_checks,
    "position_management": _position_management,
    "weekly_calibration": _weekly_calibration,
}


# ---------------------------------------------------------------------------------------------- decision as a whole


def decide_day(research: Research, symbol: str, day: date) -> dict[str, Document]:
    """All steps of a day by name, computed where the store has none, and the decision published."""
    steps = {step: run_step(research, symbol, day, step) for step in STEPS}
    publish(research, symbol, day)
    return steps


def publish(research: Research, symbol: str, day: date) -> Document:
    """What the screen shows of the decision of ``day``, written over the last; an older decision never replaces a
    newer one."""
    key = archive.latest_key(research.source, symbol)
    shown = archive.find_document(research.store, key)
    if shown is not None and shown["day"] > day.isoformat():
        return shown
    _, manifest = trained(research, symbol, day)
    document = {
        "symbol": symbol,
        "day": day.isoformat(),
        "source": research.source,
        "published_utc": to_iso(research.clock.now()),
        "next_run_utc": to_iso(midnight(day + timedelta(days=1))),
        "configuration": research.configuration.fingerprint,
        "model_version": model_version(manifest),
        "steps": {step: _result(research, symbol, day, step)[0] for step in STEPS},
        "training": manifest["direction_report"],
        "latent": manifest["latent"],
        "history": _history(research, symbol, day),
    }
    research.store.write(key, dump_document(document))
    return document


def _history(research: Research, symbol: str, last: date) -> list[Document]:
    """One row a day for the sparklines, oldest first, from the stored steps of the last ``_HISTORY_DAYS`` days."""
    rows = []
    for back in range(_HISTORY_DAYS - 1, -1, -1):
        day = last - timedelta(days=back)
        try:
            extraction, _ = _extraction(research, symbol, day)
            gate, _ = _value(research, symbol, day, "regime_gate", GateStep)
            bias, _ = _value(research, symbol, day, "bias_computation", BiasStep)
            sizing, _ = _value(research, symbol, day, "target_sizing", SizingStep)
            management, _ = _value(research, symbol, day, "position_management", Management)
        except NotFound:
            continue
        rows.append(
            {
                "day": day.isoformat(),
                "probability": gate.day.probability,
                "gate": gate.day.state,
                "bias": bias.value,
                "target": sizing.target,
                "exposure": management.settlement.book.exposure,
                "equity": management.settlement.book.equity,
                # Of the holding period that ended with this decision, and the cost of its own trade.
                "net_return": None
                if extraction.marked.day_return is None
                else extraction.marked.day_return - management.settlement.cost,
            }
        )
    return rows


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step computed again: ``differences`` between what is stored and what came out, path by path; none if equal."""

    step: str
    differences: tuple[str, ...]


def replay(research: Research, symbol: str, day: date) -> list[Replayed]:
    """Every stored step of the decision of ``day`` again, each from the stored results before it and the stored tables
    and models. Raises NotFound where there is no such decision and TamperedObject where a table or model changed."""
    replayed = []
    for step in STEPS:
        stored = archive.read_document(research.store, archive.step_key(research.source, symbol, day, step))
        try:
            result, inputs = _BUILDERS[step](research, symbol, day)
        except ValueError as error:  # a stored value that no step could have written
            replayed.append(Replayed(step, (f"cannot be computed from what is stored: {error}",)))
            continue
        again = {
            "inputs": inputs,
            "result": result if isinstance(result, dict) else archive.dump_value(result),
        }
        # Through the same bytes as the stored one, so that only a difference of value is one.
        fresh = json.loads(dump_document(again))
        replayed.append(Replayed(step, tuple(_differences({name: stored[name] for name in fresh}, fresh))))
    return replayed


def leaked_features(research: Research, symbol: str, day: date) -> list[str]:
    """Which features of earlier days change when later data are cut away: none, unless something looks ahead.

    The day's tables are cut at a few earlier midnights; the last feature row of each piece must have the bits of the
    same row computed from the whole. Nothing to compare where the day's data were refused.
    """
    pulled, _ = _result(research, symbol, day, "data_pull")
    if pulled["refusal"]:
        return []
    tables = load_tables(research, symbol, pulled["tables"])
    whole = panel_of(symbol, tables).features
    leaks = []
    for back in _LEAKAGE_DAYS:
        at = day - timedelta(days=back)
        early = panel_of(symbol, tables.known_at(at)).features.iloc[[-1]]
        alike = early.eq(whole.loc[early.index]) | (early.isna() & whole.loc[early.index].isna())
        leaks += [f"{name} of {at}" for name, same in alike.iloc[0].items() if not same]
    return leaks


def bound_violations(research: Research, symbol: str, day: date) -> list[str]:
    """Which bounds the decision of ``day`` breaks: none."""
    gate, _ = _value(research, symbol, day, "regime_gate", GateStep)
    bias, _ = _value(research, symbol, day, "bias_computation", BiasStep)
    extraction, _ = _extraction(research, symbol, day)
    management, _ = _value(research, symbol, day, "position_management", Management)
    held, before = management.settlement.book.exposure, extraction.marked.exposure
    cap = research.configuration.exposure_cap
    broken = []
    if gate.day.probability is not None and not 0 <= gate.day.probability <= 1:
        broken.append(f"probability {gate.day.probability}")
    if bias.value is not None and not -1 <= bias.value <= 1:
        broken.append(f"bias {bias.value}")
    if abs(held) > cap:
        broken.append(f"exposure {held} beyond {cap}")
    # Without a price nothing is traded, which may leave what was held; more of it is what the gate forbids.
    if gate.day.state == "GATE-OFF" and (abs(held) > abs(before) or held * before < 0):
        broken.append(f"exposure went from {before} to {held} while the gate was off")
    return broken


def _differences(stored: Any, fresh: Any, path: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(fresh, dict):
        for name in sorted(stored.keys() | fresh.keys()):
            yield from _differences(stored.get(name), fresh.get(name), f"{path}.{name}" if path else name)
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for index, (one, other) in enumerate(zip(stored, fresh, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif stored != fresh:
        yield f"{path}: stored {stored!r}, computed {fresh!r}"


# ------------------------------------------------------------------------------------------------ between the steps


def previous_day(research: Research, symbol: str, day: date) -> date | None:
    """The last whole decision before ``day``, at most ``MEMORY_DAYS`` back; None where there is none."""
    for back in range(1, MEMORY_DAYS + 1):
        each = day - timedelta(days=back)
        if archive.find_document(research.store, archive.step_key(research.source, symbol, each, STEPS[-1])):
            return each
    return None


def _chain_of(research: Research, symbol: str, day: date) -> Chain:
    return _chain(research, symbol, day, _result(research, symbol, day, "data_pull")[0])


def _chain(research: Research, symbol: str, day: date, pulled: Document) -> Chain:
    lasting = research.configuration.preferences.impact_per_trade
    previous = _date(pulled["previous"])
    if previous is None:
        return Chain(decision.first_book(day), lasting, None, None)
    management, _ = _value(research, symbol, previous, "position_management", Management)
    calibration, _ = _value(research, symbol, previous, "weekly_calibration", Calibration)
    book = management.settlement.book
    if (day - book.marked).days > MEMORY_DAYS:
        # Held without a price for so long that none is remembered to mark it by.
        book = decision.first_book(day)
    return Chain(book, calibration.result.new, calibration.result.calibrated, previous)


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _sizing_inputs(research: Research, symbol: str, day: date) -> tuple[Extraction, BiasStep, Execution, Document]:
    extraction, inputs = _extraction(research, symbol, day)
    bias, more = _value(research, symbol, day, "bias_computation", BiasStep)
    models, _ = trained(research, symbol, day)
    chain = _chain_of(research, symbol, day)
    return extraction, bias, decision.execution_of(models, chain.impact_per_trade), inputs | more


def _extraction(research: Research, symbol: str, day: date) -> tuple[Extraction, Document]:
    return _value(research, symbol, day, "feature_extraction", Extraction)


def _value(research: Research, symbol: str, day: date, step: str, kind: Any) -> tuple[Any, Document]:
    document, inputs = _result(research, symbol, day, step)
    return archive.load_value(kind, document), inputs


def _result(research: Research, symbol: str, day: date, step: str) -> tuple[Document, Document]:
    """A stored step's result and its sha256 by name. Raises NotFound where the step has not run."""
    key = archive.step_key(research.source, symbol, day, step)
    data = research.store.read(key).data
    return json.loads(data)["result"], {step: sha256_hex(data)}


def _sha(research: Research, key: str) -> str:
    return sha256_hex(research.store.read(key).data)


def written_once(store: Store, key: str, document: Document) -> Document:
    """Create the document; a racer's, written first, wins. Read back, so that every reader sees the same values."""
    with contextlib.suppress(AlreadyExists):
        store.create(key, dump_document(document))
    return archive.read_document(store, key)


def _instant(table: pd.DataFrame, row: int) -> str | None:
    """The stamp of a row (0 the first, -1 the last); None in an empty table. What is no UTC instant is a finding of its
    contract and shown as it came."""
    if table.empty:
        return None
    stamp: Any = table.iloc[row, 0]
    utc = isinstance(stamp, pd.Timestamp) and stamp.tzinfo is not None and not stamp.utcoffset()
    return to_iso(stamp.to_pydatetime()) if utc else str(stamp)
