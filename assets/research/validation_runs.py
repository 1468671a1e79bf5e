"""Walk-forward over the store: the features of a fold, its report, and the summary of all folds.

Every engine does the same two steps for a fold and writes the same two objects: a pool of processes within one call,
or a partition a fold on as many machines as there are. A report found in the store is used as it is, so a run that was
killed goes on with the folds that are missing.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import pandas as pd

from assets.research import archive
from assets.research.archive import written_once
from assets.research.bad_input import BadInput
from assets.research.research_desk import Research, midnight
from assets.research.sources import load_tables, store_tables, tables_between
from assets.research.validation import Fold, fold_of
from assets.research.walk_forward import (
    FoldResult,
    Refused,
    Tables,
    buy_and_hold_of,
    panel_of,
    performance_of,
    plan,
    run_folds,
)
from resources.documents import Document, dump_document, sha256_hex, to_iso

FEATURES, FEATURE_TABLE, REPORT, REFUSAL = "features.json", "features.parquet", "report.json", "refused.json"


def available_folds(research: Research, symbol: str, last: date) -> list[Fold]:
    """The folds that the history holds whole, going back ``research_history_days`` from ``last``, or from today where
    that lies in the future."""
    last = min(last, research.clock.now().date())
    start = midnight(last) - timedelta(days=research.settings.research_history_days)
    return plan(research.history.hourly_bars(symbol, start, midnight(last)), research.configuration)


def fold_named(name: str, research: Research) -> Fold:
    """The fold whose test window begins on the day ``name`` (ISO). Raises BadInput where none does."""
    fold = fold_of(date.fromisoformat(name), research.configuration.scheme)
    if fold.name != name:
        raise BadInput(f"no test window begins on {name}; the one that holds it begins on {fold.name}", column="fold")
    return fold


def fold_features(research: Research, symbol: str, fold: Fold) -> Document:
    """Pull and store the tables and the feature table of a fold. Raises BadInput where they break their contracts."""
    key = _key(research, symbol, fold, FEATURES)
    found = archive.find_document(research.store, key)
    if found is not None:
        return found
    tables = _pulled(research, symbol, fold)
    return _store_features(research, symbol, fold, tables, panel_of(symbol, tables).features)


def fold_report(research: Research, symbol: str, fold: Fold) -> Document:
    """Decide and judge a fold from its stored tables, in a process like those of the pool: its libraries have one
    thread there, on whatever machine, so that the report is the same to the last bit. Raises BadInput."""
    found = archive.find_document(research.store, _key(research, symbol, fold, REPORT))
    if found is not None:
        return found
    tables = load_tables(research, symbol, fold_features(research, symbol, fold)["inputs"])
    [computed] = run_folds(symbol, [(fold, tables)], research.configuration, workers=1)
    if isinstance(computed, Refused):
        raise BadInput(computed.reason, column="fold")
    return _store_report(research, symbol, computed.result)


def run(research: Research, symbol: str, folds: Sequence[Fold], workers: int) -> Iterator[Document]:
    """The reports of ``folds`` in order, missing ones computed by ``workers`` processes.

    A fold whose data cannot be used is skipped with its reason, as a document with ``refused``.
    """
    waiting = [
        fold for fold in folds if archive.find_document(research.store, _key(research, symbol, fold, REPORT)) is None
    ]
    pulled = dict[Fold, Tables]()

    def pieces() -> Iterator[tuple[Fold, Tables] | Refused]:
        for fold in waiting:
            try:
                found = archive.find_document(research.store, _key(research, symbol, fold, FEATURES))
                if found is None:
                    pulled[fold] = _pulled(research, symbol, fold)
                yield fold, load_tables(research, symbol, found["inputs"]) if found else pulled[fold]
            except BadInput as error:
                yield Refused(fold, str(error))

    results = run_folds(symbol, pieces(), research.configuration, workers) if waiting else iter(())
    for fold in folds:
        if fold not in waiting:
            yield archive.read_document(research.store, _key(research, symbol, fold, REPORT))
            continue
        # Taken even where another process has reported the fold meanwhile: results come in the order of the folds.
        computed = next(results)
        if isinstance(computed, Refused):
            document = {"symbol": symbol, "source": research.source, "refused": archive.dump_value(computed)}
            # Written over: the next run may find that the history has been mended.
            research.store.write(_key(research, symbol, fold, REFUSAL), dump_document(document))
            yield document
            continue
        if fold in pulled:
            _store_features(research, symbol, fold, pulled.pop(fold), computed.features)
        yield _store_report(research, symbol, computed.result)


def reported_folds(research: Research, symbol: str) -> list[Fold]:
    """The folds with a report under the configuration in force, in order."""
    return _folds_with(research, symbol, REPORT)


def _folds_with(research: Research, symbol: str, name: str) -> list[Fold]:
    prefix = _key(research, symbol, fold_of(date(1970, 1, 1), research.configuration.scheme), "")
    prefix = prefix.removesuffix("1970-01-01/")
    keys = [entry.key.removeprefix(prefix) for entry in research.store.list(prefix)]
    return [fold_named(key.partition("/")[0], research) for key in keys if key.endswith(f"/{name}")]


def summarise(research: Research, symbol: str) -> Document:
    """Every fold's verdict and the performance across all reported days, published for the screen. Made again where
    another process published in between, so that no fold is lost."""
    key = archive.summary_key(research.source, symbol)
    return archive.published(research.store, key, lambda _before: _summary(research, symbol))


def _summary(research: Research, symbol: str) -> Document:
    results = []
    for fold in reported_folds(research, symbol):
        stored = archive.read_document(research.store, _key(research, symbol, fold, REPORT))
        results.append(archive.load_value(FoldResult, stored["result"]))
    if not results:
        raise BadInput("no fold has a report yet", column="fold")
    days = [day for result in results for day in result.days]
    rate = (research.configuration.fee_bp + research.configuration.slippage_bp) * 1e-4
    return {
        "symbol": symbol,
        "source": research.source,
        "configuration": research.configuration.fingerprint,
        "computed_utc": to_iso(research.clock.now()),
        "folds": [
            {
                "fold": archive.dump_value(result.fold),
                "accepted": result.accepted,
                "performance": archive.dump_value(result.performance),
                "buy_and_hold": archive.dump_value(result.buy_and_hold),
                "cost_gaps": result.cost_gaps,
                "verdicts": [archive.dump_value(verdict) for verdict in result.verdicts],
                "training_verdict": result.training_verdict,
                "averaging": result.averaging,
            }
            for result in results
        ],
        "refused": [
            archive.read_document(research.store, _key(research, symbol, fold, REFUSAL))["refused"]
            for fold in _folds_with(research, symbol, REFUSAL)
            if fold not in {result.fold for result in results}
        ],
        "accepted_folds": sum(result.accepted for result in results),
        "overall": archive.dump_value(performance_of(days)),
        "buy_and_hold": archive.dump_value(buy_and_hold_of(days, rate)),
        "purge_days": research.configuration.scheme.purge_days,
        "cost_bp": research.configuration.fee_bp + research.configuration.slippage_bp,
    }


def _pulled(research: Research, symbol: str, fold: Fold) -> Tables:
    """The fold's tables from the history. Raises BadInput and MarketError."""
    return tables_between(research, symbol, fold.train_start, fold.test_end - timedelta(days=1))


def _store_features(research: Research, symbol: str, fold: Fold, tables: Tables, features: pd.DataFrame) -> Document:
    content = io.BytesIO()
    features.reset_index(names="decision_time").to_parquet(content, index=False)
    research.store.write(_key(research, symbol, fold, FEATURE_TABLE), content.getvalue())
    document = {
        "symbol": symbol,
        "source": research.source,
        "fold": archive.dump_value(fold),
        "configuration": research.configuration.fingerprint,
        "inputs": store_tables(research, symbol, tables),
        "features": sha256_hex(content.getvalue()),
        "rows": len(features),
        "missing": {name: int(count) for name, count in features.isna().sum().items() if count},
    }
    return written_once(research.store, _key(research, symbol, fold, FEATURES), document)


def _store_report(research: Research, symbol: str, result: FoldResult) -> Document:
    document = {"symbol": symbol, "source": research.source, "result": archive.dump_value(result)}
    return written_once(research.store, _key(research, symbol, result.fold, REPORT), document)


def _key(research: Research, symbol: str, fold: Fold, name: str) -> str:
    return archive.fold_key(research.source, symbol, research.configuration.fingerprint, fold.name, name)
