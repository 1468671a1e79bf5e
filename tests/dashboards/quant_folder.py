"""Builds the research documents the quant page reads, from the values research computes: labelled test data.

The documents have the shape their writers give them because they are dumped from the same dataclasses.
"""

import math
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np

from assets.research import archive
from assets.research.data.features import FEATURES, SIGNATURE_FEATURES
from assets.research.decision import (
    BiasStep,
    Book,
    ExitStep,
    GateStep,
    ImpactStep,
    Known,
    Marked,
    Position,
    Settlement,
    SizingStep,
    Volatility,
)
from assets.research.pipeline import Calibration, Extraction, Management
from assets.research.regime.gate import Gate, gate_states
from assets.research.trading.exposure import Step, stance
from assets.research.trading.impact import Recalibration
from assets.research.trading.risk import Limits, Observed, review
from assets.research.training.direction import TrainingReport
from assets.research.training.recipe import judged
from assets.research.validation import Scheme, accept, fold_of, performance
from resources.documents import Document, dump_document, to_iso
from resources.store import Store

DAY = timedelta(days=1)
REFUSED_SLICE = "bars_1h: 31 rows missing, 2023-03-24 12:00 to 2023-03-25 18:00"
LEVELS = tuple(feature.name for feature in FEATURES if not feature.name.startswith("sig_"))


@dataclass(frozen=True)
class QuantFolder:
    """What to build: the decision of ``day`` and ``folds`` slices of ``symbol``.

    ``probability`` is the day's, ``calm`` for gate on. ``refusal`` refuses the day's data. ``scale`` multiplies every
    figure that has no bounds. ``day_return`` moves the risk guards. ``options``: whether the source has them.
    ``refused`` are the slices without a result, counted back from the newest, 0; ``cost_gaps`` is what the newest
    result's costs lack. ``uncalibrated`` is why there never was a calibration.
    """

    day: date
    symbol: str = "BTCUSDT"
    source: str = "SIMULATED"
    seed: int = 3
    probability: float = 0.73
    bias: float = 0.34
    refusal: str = ""
    scale: float = 1.0
    day_return: float = 0.0042
    options: bool = False
    days: int = 90
    folds: int = 48
    refused: tuple[int, ...] = ()
    cost_gaps: str = ""
    uncalibrated: str = ""

    def write(self, store: Store) -> None:
        store.write(archive.latest_key(self.source, self.symbol), dump_document(self.decision()))
        store.write(archive.summary_key(self.source, self.symbol), dump_document(self.summary()))

    @property
    def midnight(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)

    def decision(self) -> Document:
        steps = {name: archive.dump_value(value) for name, value in self._steps().items()}
        return {
            "symbol": self.symbol,
            "day": self.day.isoformat(),
            "source": self.source,
            "published_utc": to_iso(self.midnight + timedelta(minutes=2, seconds=11)),
            "next_run_utc": to_iso(self.midnight + DAY),
            "configuration": "5f1c0e9ab237",
            "model_version": "a41b7c02d9ee",
            "steps": {"data_pull": self._data_pull(), **steps},
            "training": asdict(self._training()),
            "latent": {},
            "history": self._history(),
        }

    def summary(self) -> Document:
        random = np.random.default_rng(self.seed + 1)
        folds, refused, last = [], [], fold_of(self.day - 31 * DAY, Scheme())
        for back in range(self.folds - 1, -1, -1):
            fold = fold_of(last.test_start - back * 30 * DAY, Scheme())
            if back in self.refused:
                refused.append({"fold": archive.dump_value(fold), "reason": REFUSED_SLICE})
                continue
            net = random.normal(0.0012, 0.012, 30)
            held = np.where(random.random(30) < 0.7, 0.5, 0.0)
            on = list(held > 0)
            found = performance(net * on, held, on, np.full(30, 0.0002), 0.1 * np.array(on), [True] * 30)
            verdicts = accept(found)
            folds.append(
                {
                    "fold": archive.dump_value(fold),
                    "accepted": all(verdict.passed for verdict in verdicts),
                    "performance": archive.dump_value(found),
                    "buy_and_hold": archive.dump_value(found),
                    "verdicts": [archive.dump_value(verdict) for verdict in verdicts],
                    "cost_gaps": "",
                    "training_verdict": "",
                    "averaging": "bema",
                }
            )
        always = [True] * 300
        if self.cost_gaps:
            folds[-1] |= {"accepted": False, "cost_gaps": self.cost_gaps}
        overall = performance(random.normal(0, 0.01, 300), np.ones(300), always, np.zeros(300), np.zeros(300), always)
        return {
            "symbol": self.symbol,
            "source": self.source,
            "configuration": "5f1c0e9ab237",
            "computed_utc": to_iso(self.midnight),
            "folds": folds,
            "refused": refused,
            "accepted_folds": sum(fold["accepted"] for fold in folds),
            "overall": archive.dump_value(overall),
            "buy_and_hold": archive.dump_value(replace(overall, total_return=1.31, sharpe=0.88)),
            "purge_days": 7,
            "cost_bp": 7.0,
        }

    def _data_pull(self) -> Document:
        last = self.midnight - timedelta(hours=1)
        state = {"rows": 2880, "last": to_iso(last), "absence": "", "findings": [], "used": True}
        daily = state | {"rows": 120, "last": to_iso(self.midnight - DAY)}
        absent = {
            "rows": 0,
            "last": None,
            "absence": "the simulated market has no options",
            "findings": [],
            "used": False,
        }
        finding = {"table": "bars_1h", "rule": "gap", "message": self.refusal, "column": "timestamp_utc", "at": None}
        bars = state if not self.refusal else state | {"findings": [finding], "used": False}
        return {
            "refusal": self.refusal,
            "tables": {},
            "as_of": to_iso(last),
            "states": {
                "bars_1h": bars,
                "daily_close": daily,
                "funding_24h": daily,
                "oi_24h": absent | {"absence": "the simulated market has no open interest"},
                "options_moves": daily if self.options else absent,
                "slippage_log": absent | {"absence": "the desk has not traded this symbol yet"},
            },
            "model_version": "a41b7c02d9ee",
            "previous": (self.day - DAY).isoformat(),
        }

    def _steps(self) -> dict[str, Any]:
        random = np.random.default_rng(self.seed)
        scale, refused = self.scale, bool(self.refusal)
        features = {} if refused else self._features(random)
        known = Known(self.day, features, {self.day: 11.0}, {}, self.refusal)
        position = Position(self.day - 3 * DAY, 0.011 * scale, 0.02 * scale)
        marked = Marked(self.day, 0.12, position, 1.0342 * scale, 0.0, 0.01, 0.0001, self.day_return, "")
        words = {name: 0.004 * scale * float(random.normal()) for name in [f.name for f in SIGNATURE_FEATURES]}
        forecast = None if refused else 0.0231
        volatility = Volatility(forecast, None if refused else 0.0207, 0.028, {} if refused else words, self.refusal)
        states = gate_states([0.7, None if refused else self.probability], ["", self.refusal], Gate())
        gate = GateStep(states[-1], 0.60, 2, None if refused else 742.3, 1000, 5, 30)
        on = states[-1].state == "RISK-ON"
        parts = {feature.name: 0.03 * float(random.normal()) for feature in FEATURES}
        reason = "" if on else f"gate off: {states[-1].reason}"
        bias = BiasStep(
            self.bias if on else None, stance(self.bias) if on else "NEUTRAL", 0.2, parts if on else {}, reason
        )
        report = review(
            Observed(0.011, self.day_return, 0.0001, 0.00012, 0.021, 0.028), Limits(), day=self.day, previous=None
        )
        exit_step = ExitStep("HOLD", 3, 7, 0.81, 0.0041 * scale, 0.0062 * scale, 0.0049 * scale, "")
        book = Book(self.day, self.day, 0.31, position, 1.0342 * scale, 0.0, states[-1], report)
        return {
            "feature_extraction": Extraction(known, (), marked, volatility),
            "regime_gate": gate,
            "bias_computation": bias,
            "target_sizing": SizingStep(0.0014, 320.0, -1.2, 0.42 * min(scale, 9.0)),
            "execution_rate": Step("LONG", 0.0014, 0.42, 1.29, -0.021 * scale, 0.0034, 0.31, 0.19, 0.0001, False),
            "impact_tracking": ImpactStep(0.42 * scale, 0.61 * scale, 0.0002, 2.8),
            "risk_checks": report,
            "position_management": Management(exit_step, Settlement(0.19, 0.00013, "planned step", book)),
            "weekly_calibration": Calibration(
                Recalibration(0.0002, 0.0002, None, 0, None, self.uncalibrated)
                if self.uncalibrated
                else Recalibration(0.0002, 0.00021, 0.0003, 14, self.day - 2 * DAY, "14 rows, weight 41%")
            ),
        }

    def _features(self, random: np.random.Generator) -> dict[str, float | None]:
        words = {feature.name: self.scale * float(random.normal()) for feature in SIGNATURE_FEATURES}
        levels: dict[str, float | None] = {name: 0.01 * float(random.normal()) for name in LEVELS}
        return words | levels | {"rr25d_delta": None, "term_slope_7d_30d_delta": None}

    def _training(self) -> TrainingReport:
        measured = {
            "activation_sparsity": 0.41,
            "confidence": 0.78,
            "class_separation": 0.034,
            "kept_at_half": 0.97,
        }
        return TrainingReport(
            training_rows=267,
            validation_rows=91,
            purge_rows=7,
            epochs=72.0,
            seed=7,
            device="cpu",
            loss="jal-ce",
            noise_rate=0.45,
            measured_noise_rate=0.487,
            asymmetry=10.0,
            robust_from_step=0,
            candidates={
                "last": {"loss": 0.7131, "accuracy": 0.505},
                "ema": {"loss": 0.7014, "accuracy": 0.527},
                "bema": {"loss": 0.6987, "accuracy": 0.538},
            },
            chosen="bema",
            base_rate=0.53,
            base_rate_accuracy=0.516,
            accuracy=0.538,
            accuracy_error=0.052,
            slope_evidence=1.31,
            slope=0.043,
            base_bias=0.02,
            beats_base_rate=True,
            verdict="beats the base rate: right on 53.8% of 91 validation days, the base rate on 51.6%",
            learning_rates=[
                [step, 0.3 * min(1.0, (step + 1) / 25) * (0.5 + 0.5 * math.cos(math.pi * step / 299))]
                for step in range(0, 300, 5)
            ],
            activation_sparsity=measured["activation_sparsity"],
            confidence=measured["confidence"],
            class_separation=measured["class_separation"],
            prunability={"0.5": 0.97},
            pq_index=0.3,
            targets=[row._asdict() for row in judged(measured)],
        )

    def _history(self) -> list[Document]:
        random = np.random.default_rng(self.seed + 2)
        count = self.days
        noise = np.convolve(random.normal(size=count + 6), np.ones(7) / 7, "valid")
        probabilities = [float(p) for p in np.clip(0.7 + 0.35 * noise, 0.02, 0.98)]
        if count:
            probabilities[-4:] = [max(self.probability, 0.6)] * len(probabilities[-4:-1]) + [self.probability]
        lean = np.clip(np.convolve(random.normal(size=count + 8), np.ones(9) / 9, "valid") * 1.4, -1, 1)
        states = gate_states(probabilities, [""] * count, Gate())
        equity, rows = 1.0 - 0.03, []
        for n, (state, probability) in enumerate(zip(states, probabilities, strict=True)):
            on = state.state == "RISK-ON"
            leaning = self.bias if n == count - 1 else float(lean[n])
            net = float(random.normal(0.0008, 0.006)) if on else 0.0
            equity *= 1 + net
            rows.append(
                {
                    "day": (self.day - (count - 1 - n) * DAY).isoformat(),
                    "probability": probability,
                    "gate": state.state,
                    "bias": leaning if on else None,
                    "exposure": leaning / 2 if on else 0.0,
                    "target": leaning * 0.8 if on else 0.0,
                    "equity": equity * self.scale,
                    "net_return": net,
                }
            )
        return rows
