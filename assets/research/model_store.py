"""Models in the store: trained once a fold, the exit rule once a day, and found again by every later run."""

import json
from dataclasses import asdict
from datetime import date, timedelta

from assets.research import archive
from assets.research.archive import written_once
from assets.research.bad_input import BadInput
from assets.research.models import Models, position_exit, seed_of, train_models
from assets.research.regime.risk_on import LatentModel
from assets.research.research_desk import Research
from assets.research.signatures.realised_volatility import RealisedVolatility
from assets.research.sources import store_tables, tables_between
from assets.research.stopping.exits import ExitRule, train_exit_rule
from assets.research.trading.exposure import Execution
from assets.research.training.direction import Device, DirectionModel
from assets.research.validation import Fold, fold_of
from assets.research.walk_forward import panel_of
from resources.documents import Document, dump_document, sha256_hex, to_iso
from resources.store import AlreadyExists, NotFound
from resources.store.once import create_bytes_once

# Models of so many folds back may still be in force where newer ones cannot be trained.
_OLDER_FOLDS = 12


def trained(research: Research, symbol: str, day: date, device: Device = "cpu") -> tuple[Models, Document]:
    """The models in force on ``day`` and their manifest: those its decision began with, else those of its fold, trained
    on ``device`` from the history when the store has none.

    Where too much of the fold's training window is missing, the newest models before it stay in force, for a year at
    most; ``data_pull`` names the fold used. Raises BadInput where there are none such, MarketError
    without a source, NotFound or TamperedObject where a decision's models are gone or changed.
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
            for _ in range(_OLDER_FOLDS):
                fold = fold_of(fold.test_start - timedelta(days=1), scheme)
                manifest = _manifest(research, symbol, fold)
                if manifest is not None:
                    break
            else:
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
    models, manifest = trained(research, symbol, day)
    key = exit_rule_key(research, symbol, day, manifest)
    try:
        return ExitRule.from_bytes(store.read(key).data)
    except NotFound:
        pass
    checkpoint = key.removesuffix("rule.npz") + "checkpoint.npz"

    def keep(content: bytes) -> None:
        store.write(checkpoint, content)

    def train(begun: bytes | None) -> ExitRule:
        return train_exit_rule(
            position_exit(models.latent, models.execution, configuration),
            configuration.exits,
            seed=seed_of(models.fold, configuration) + day.toordinal(),
            device=device,
            checkpoint=begun,
            on_checkpoint=keep,
        )

    try:
        rule = train(store.read(checkpoint).data)
    except (NotFound, BadInput):  # none, or one that another version of this code began
        rule = train(None)
    try:
        store.create(key, rule.to_bytes())
    except AlreadyExists:  # another process was as fast; its rule is the one that decides
        return ExitRule.from_bytes(store.read(key).data)
    return rule


def exit_rule_key(research: Research, symbol: str, day: date, manifest: Document) -> str:
    """Where the rule of ``day`` for these models lies."""
    models = f"{manifest['configuration']}-{model_version(manifest)}"
    return archive.exit_rule_key(research.source, symbol, day, models, "rule.npz")
