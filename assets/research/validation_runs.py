"""Walk-forward over the store: the features of a fold, its report, and the summary of all folds.

Every engine does the same two steps for a fold and writes the same two objects: a pool of processes within one call,
or a partition a fold on as many machines as there are. A report found in the store is used as it is, so a run that was
killed goes on with the folds that are missing.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from assets.research import archive
from assets.research.bad_input import BadInput
from assets.research.pipeline import (
    Research,
    load_tables,
    midnight,
    store_tables,
    tables_between,
    written_once,
)
from assets.research.validation import Fold, fold_of
from assets.research.walk_forward import (
    FoldResult,
    Refused,
    Tables,
    buy_and_hold_of,
    panel_of,
    performance_of,
    plan,
    run_fold,
    run_folds,
)
from resources.documents import Document, dump_document, sha256_hex, to_iso

FEATURES, FEATURE_TABLE, REPORT = "features.json", "features.parquet", "report.json"


def available_folds(research: Research, symbol: str, last: date) -> list[Fold]:
    """The folds that the history holds whole, going back ``research_history_days`` from ``last``."""
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
    tables = tables_between(research, symbol, fold.train_start, fold.test_end - timedelta(days=1))
    panel = panel_of(symbol, tables)
    content = io.BytesIO()
    panel.features.reset_index(names="decision_time").to_parquet(content, index=False)
    research.store.write(_key(research, symbol, fold, FEATURE_TABLE), content.getvalue())
    document = {
        "symbol": symbol,
        "source": research.source,
        "fold": archive.dump_value(fold),
        "configuration": research.configuration.fingerprint,
        "inputs": store_tables(research, symbol, tables),
        "features": sha256_hex(content.getvalue()),
        "rows": len(panel.features),
        "missing": {name: int(count) for name, count in panel.features.isna().sum().items() if count},
    }
    return written_once(research.store, key, document)


def fold_report(research: Research, symbol: str, fold: Fold) -> Document:
    """Decide and judge a fold from its stored features' tables; in this process."""
    found = archive.find_document(research.store, _key(research, symbol, fold, REPORT))
    if found is not None:
        return found
    result = run_fold(symbol, _tables(research, symbol, fold), fold, research.configuration)
    return _store_report(research, symbol, result)


def run(research: Research, symbol: str, folds: Sequence[Fold], workers: int) -> Iterator[Document]:
    """The reports of ``folds`` in order, missing ones computed by ``workers`` processes.

    A fold whose data cannot be used is skipped with its reason, as a document with ``refused``.
    """
    missing, refused = [], dict[Fold, str]()
    for fold in folds:
        if archive.find_document(research.store, _key(research, symbol, fold, REPORT)) is None:
            try:
                missing.append((fold, _tables(research, symbol, fold)))
            except BadInput as error:
                refused[fold] = str(error)
    computed = run_folds(symbol, missing, research.configuration, workers) if missing else iter(())
    waiting = {fold for fold, _ in missing}
    for fold in folds:
        if fold in refused:
            yield _refusal(research, symbol, Refused(fold, refused[fold]))
        elif fold not in waiting:
            yield archive.read_document(research.store, _key(research, symbol, fold, REPORT))
        else:
            # Taken even where another process has reported the fold meanwhile: results come in the order of the folds.
            result = next(computed)
            if isinstance(result, Refused):
                yield _refusal(research, symbol, result)
            else:
                yield _store_report(research, symbol, result)


def reported_folds(research: Research, symbol: str) -> list[Fold]:
    """The folds with a report under the configuration in force, in order."""
    key = _key(research, symbol, fold_of(date(1970, 1, 1), research.configuration.scheme), REPORT)
    prefix = key.removesuffix(f"1970-01-01/{REPORT}")
    names = [entry.key.removeprefix(prefix) for entry in research.store.list(prefix)]
    return [fold_named(name.partition("/")[0], research) for name in names if name.endswith(f"/{REPORT}")]


def summarise(research: Research, symbol: str) -> Document:
    """Every reported fold's verdict and the performance across all their days, published for the screen."""
    results = []
    for fold in reported_folds(research, symbol):
        stored = archive.read_document(research.store, _key(research, symbol, fold, REPORT))
        results.append(archive.load_value(FoldResult, stored["result"]))
    if not results:
        raise BadInput("no fold has a report yet", column="fold")
    days = [day for result in results for day in result.days]
    rate = (research.configuration.fee_bp + research.configuration.slippage_bp) * 1e-4
    document = {
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
                "verdicts": [archive.dump_value(verdict) for verdict in result.verdicts],
                "training_verdict": result.training_verdict,
                "averaging": result.averaging,
            }
            for result in results
        ],
        "accepted_folds": sum(result.accepted for result in results),
        "overall": archive.dump_value(performance_of(days)),
        "buy_and_hold": archive.dump_value(buy_and_hold_of(days, rate)),
        "purge_days": research.configuration.scheme.purge_days,
        "cost_bp": research.configuration.fee_bp + research.configuration.slippage_bp,
    }
    research.store.write(archive.summary_key(research.source, symbol), dump_document(document))
    return document


def _tables(research: Research, symbol: str, fold: Fold) -> Tables:
    return load_tables(research, symbol, fold_features(research, symbol, fold)["inputs"])


def _store_report(research: Research, symbol: str, result: FoldResult) -> Document:
    document = {"symbol": symbol, "source": research.source, "result": archive.dump_value(result)}
    return written_once(research.store, _key(research, symbol, result.fold, REPORT), document)


def _refusal(research: Research, symbol: str, refused: Refused) -> Document:
    return {"symbol": symbol, "source": research.source, "refused": archive.dump_value(refused)}


def _key(research: Research, symbol: str, fold: Fold, name: str) -> str:
    return archive.fold_key(research.source, symbol, research.configuration.fingerprint, fold.name, name)
