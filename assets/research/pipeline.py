"""The ten steps of a daily decision over the store: each is loaded from what the steps before it stored, computed by
``decision``, and written once.

A step found in the store is used as it is, so that a killed day goes on where it stopped and a repeated one changes
nothing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from assets.research import archive, decision
from assets.research.archive import written_once
from assets.research.bad_input import BadInput
from assets.research.configuration import ResearchConfiguration
from assets.research.data import contracts
from assets.research.decision import (
    MEMORY_DAYS,
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
from assets.research.model_store import exit_rule_key, model_version, trained, trained_exit_rule
from assets.research.models import Models, filter_returns
from assets.research.research_desk import Research, midnight
from assets.research.sources import load_tables, pull_source
from assets.research.steps import SOURCES, STEPS
from assets.research.trading.exposure import Execution, Step
from assets.research.trading.impact import Recalibration, recalibrate
from assets.research.trading.risk import RiskReport
from assets.research.walk_forward import LOOK_BACK, funding_paid, log_closes, panel_of, recent
from resources.documents import Document, dump_document, sha256_hex


@dataclass(frozen=True, slots=True)
class Extraction:
    """Step 2: what is known, the book marked, the volatility expected, and the returns the filter runs over."""

    known: Known
    filter_returns: tuple[float | None, ...]
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
    if step == STEPS[0]:
        configuration = research.configuration
        key_of_it = archive.configuration_key(research.source, symbol, configuration.fingerprint)
        written_once(research.store, key_of_it, archive.dump_value(configuration))
    else:
        research = as_begun(research, symbol, day)
    result, inputs = BUILDERS[step](research, symbol, day)
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


def configuration_of(research: Research, symbol: str, day: date) -> str:
    """The fingerprint of the configuration that the decision of ``day`` was begun under. Raises NotFound."""
    fingerprint: str = _stored(research, symbol, day, STEPS[0])[0]["configuration"]
    return fingerprint


def as_begun(research: Research, symbol: str, day: date) -> Research:
    """``research`` under the configuration that the decision of ``day`` was begun under, so that a day is finished and
    replayed as it was meant, whatever has been chosen since. Raises NotFound where the day was not begun, BadInput
    where this version no longer makes that configuration."""
    fingerprint = configuration_of(research, symbol, day)
    if fingerprint == research.configuration.fingerprint:
        return research
    stored = archive.read_document(research.store, archive.configuration_key(research.source, symbol, fingerprint))
    configuration = archive.load_value(ResearchConfiguration, stored)
    if configuration.fingerprint != fingerprint:
        raise BadInput(f"decided under {fingerprint}, which this version does not make", column="day", at=midnight(day))
    return replace(research, configuration=configuration)


def _data_pull(research: Research, symbol: str, day: date) -> tuple[Document, Document]:
    """Step 1: which tables the decision uses, whether they may be used, and which book it continues."""
    sources = {name: pull_source(research, symbol, day, name) for name in SOURCES}
    bars = sources["bars_1h"]
    refusal = "; ".join(_grave(bars["findings"], day)) or bars["absence"]
    usable = {}
    for name, document in sources.items():
        harmful = [finding for finding in document["findings"] if finding["rule"] not in ("late", "stale", "gap")]
        usable[name] = bool(document["tables"]) and not (refusal if name == "bars_1h" else harmful)
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


def _grave(findings: Sequence[Document], day: date) -> list[str]:
    """The faults of the bars that close the gate: any, but for gaps that end before the features begin to look. Of the
    days such a gap touches the filter has no observation, and models are trained without them."""
    features_begin = midnight(day) - LOOK_BACK.to_pytimedelta()
    return [
        finding["message"]
        for finding in findings
        if not (finding["rule"] == "gap" and datetime.fromisoformat(finding["until"]) < features_begin)
    ]


def _feature_extraction(research: Research, symbol: str, day: date) -> tuple[Extraction, Document]:
    """Step 2: signature and positioning features, the book marked to 00:00, the volatility forecast."""
    pulled, inputs = result_of(research, symbol, day, "data_pull")
    models, _ = trained(research, symbol, day)
    chain = _chain(research, symbol, day, pulled)
    known, returns = _known(research, symbol, day, models, pulled)
    marked = decision.mark(chain.book, known)
    return Extraction(known, returns, marked, decision.volatility_step(known, models)), inputs


def _known(
    research: Research, symbol: str, day: date, models: Models, pulled: Document
) -> tuple[Known, tuple[float | None, ...]]:
    """What is known on the day and the returns up to it. Where the data may not be used for a forecast there are no
    features and the reason why; whole days still have their closes, so that what is held is marked and can be left."""
    refusal = pulled["refusal"]
    if not refusal:
        try:
            panel = panel_of(symbol, load_tables(research, symbol, pulled["tables"]))
            return panel.known(day), tuple(filter_returns(panel.features, models.fold, day, research.configuration))
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
    extraction, inputs = extraction_of(research, symbol, day)
    models, _ = trained(research, symbol, day)
    before = decision.gate_before(chain_of(research, symbol, day).book, day)
    if extraction.known.refusal:
        return decision.gate_step(before, None, None, extraction.known.refusal, research.configuration), inputs
    path = models.filter(extraction.filter_returns, research.configuration)
    probability, ess = float(path.probability[-1]), float(path.ess[-1])
    return decision.gate_step(before, probability, ess, "", research.configuration), inputs


def _bias_computation(research: Research, symbol: str, day: date) -> tuple[BiasStep, Document]:
    """Step 4: the direction classifier's bias, while the gate is on."""
    extraction, inputs = extraction_of(research, symbol, day)
    gate, more = value_of(research, symbol, day, "regime_gate", GateStep)
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
    step, inputs = value_of(research, symbol, day, "execution_rate", Step)
    return decision.impact_step(extraction.marked, step, execution), inputs


def _risk_checks(research: Research, symbol: str, day: date) -> tuple[RiskReport, Document]:
    """Step 8: stops, limits and guards."""
    extraction, inputs = extraction_of(research, symbol, day)
    models, _ = trained(research, symbol, day)
    before = chain_of(research, symbol, day).book.risk
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
    gate, gate_inputs = value_of(research, symbol, day, "regime_gate", GateStep)
    step, step_inputs = value_of(research, symbol, day, "execution_rate", Step)
    risk, risk_inputs = value_of(research, symbol, day, "risk_checks", RiskReport)
    models, manifest = trained(research, symbol, day)
    models = replace(models, exit_rule=trained_exit_rule(research, symbol, day))
    configuration, known, marked = research.configuration, extraction.known, extraction.marked
    leave = decision.exit_step(known, marked, extraction.volatility, bias, models, configuration)
    settlement = decision.settle(known, marked, gate, step, risk, leave, execution, configuration)
    inputs = inputs | gate_inputs | step_inputs | risk_inputs
    inputs["exit_rule"] = _sha(research, exit_rule_key(research, symbol, day, manifest))
    return Management(leave, settlement), inputs


def _weekly_calibration(research: Research, symbol: str, day: date) -> tuple[Calibration, Document]:
    """Step 10: lambda from realised slippage, once a week; in force from the next decision on."""
    pulled, inputs = result_of(research, symbol, day, "data_pull")
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


BUILDERS: dict[str, Callable[[Research, str, date], tuple[Any, Document]]] = {
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


def previous_day(research: Research, symbol: str, day: date) -> date | None:
    """The last whole decision before ``day``; None where there is none."""
    prefix = archive.decisions_prefix(research.source, symbol)
    whole = [
        entry.key.removeprefix(prefix).partition("/")[0]
        for entry in research.store.list(prefix)
        if entry.key.endswith(f"/{STEPS[-1]}.json")
    ]
    before = [each for each in whole if each < day.isoformat()]
    return date.fromisoformat(before[-1]) if before else None


def chain_of(research: Research, symbol: str, day: date) -> Chain:
    return _chain(research, symbol, day, result_of(research, symbol, day, "data_pull")[0])


def _chain(research: Research, symbol: str, day: date, pulled: Document) -> Chain:
    lasting = research.configuration.preferences.impact_per_trade
    previous = _date(pulled["previous"])
    if previous is None:
        return Chain(decision.first_book(day), lasting, None, None)
    management, _ = value_of(research, symbol, previous, "position_management", Management)
    calibration, _ = value_of(research, symbol, previous, "weekly_calibration", Calibration)
    book = management.settlement.book
    if (day - book.marked).days > MEMORY_DAYS:
        # Held without a price for so long that none is remembered to mark it by: the book goes on with what it had.
        book = replace(decision.first_book(day), equity=book.equity)
    return Chain(book, calibration.result.new, calibration.result.calibrated, previous)


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _sizing_inputs(research: Research, symbol: str, day: date) -> tuple[Extraction, BiasStep, Execution, Document]:
    extraction, inputs = extraction_of(research, symbol, day)
    bias, more = value_of(research, symbol, day, "bias_computation", BiasStep)
    models, _ = trained(research, symbol, day)
    chain = chain_of(research, symbol, day)
    return extraction, bias, decision.execution_of(models, chain.impact_per_trade), inputs | more


def extraction_of(research: Research, symbol: str, day: date) -> tuple[Extraction, Document]:
    return value_of(research, symbol, day, "feature_extraction", Extraction)


def value_of(research: Research, symbol: str, day: date, step: str, kind: Any) -> tuple[Any, Document]:
    document, inputs = result_of(research, symbol, day, step)
    return archive.load_value(kind, document), inputs


def result_of(research: Research, symbol: str, day: date, step: str) -> tuple[Document, Document]:
    """A stored step's result and its sha256 by name. Raises NotFound where the step has not run."""
    document, sha256 = _stored(research, symbol, day, step)
    return document["result"], {step: sha256}


def _stored(research: Research, symbol: str, day: date, step: str) -> tuple[Document, str]:
    data = research.store.read(archive.step_key(research.source, symbol, day, step)).data
    return json.loads(data), sha256_hex(data)


def _sha(research: Research, key: str) -> str:
    return sha256_hex(research.store.read(key).data)
