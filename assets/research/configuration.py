"""Everything about research that is chosen rather than measured, in one value; its fingerprint names the choice.

Numbers of brief 1: window, gate, inertia, bias threshold, holding cap, fold lengths. The rest is our own and says so at
its home. Validation and the live decision use one and the same configuration.
"""

from dataclasses import asdict, dataclass, field

from assets.research.data.features import FEATURES
from assets.research.regime.gate import Gate
from assets.research.regime.orcsmc import FilterConfig
from assets.research.regime.risk_on import RiskOnDefinition
from assets.research.stopping.exits import ExitConfig
from assets.research.trading.exposure import Preferences
from assets.research.trading.impact import RecalibrationRule
from assets.research.trading.risk import Limits
from assets.research.validation import Scheme
from resources.documents import dump_document, sha256_hex


@dataclass(frozen=True, slots=True)
class ResearchConfiguration:
    """Defaults are the desk's choice; a test or a study replaces what it studies.

    burn_in_days: days the filter runs before the first decision of a fold, so that its start is forgotten.
    scale_prior_days: how many days of evidence at full bias the promised return counts for. fee_bp, slippage_bp: of
    every traded fraction of capital. smallest_exposure: less than this is not held. half_step: the brief's overlay,
    which contradicts its paper; off. position_stop: loss of the notional at entry at which the exit rule ends a
    position; our own, and the smaller the position, the tighter than ``limits.hard_stop``, a share of capital. exits:
    of the live desk's exit rule, trained every day.
    """

    scheme: Scheme = field(default_factory=Scheme)
    gate: Gate = field(default_factory=Gate)
    filter: FilterConfig = field(default_factory=FilterConfig)
    risk_on: RiskOnDefinition = field(default_factory=RiskOnDefinition)
    burn_in_days: int = 60
    preferences: Preferences = field(
        default_factory=lambda: Preferences(
            full_return=0.001,
            full_exposure=1.0,
            unit_trade_cost=0.0005,
            impact_per_trade=0.0005,
            impact_decay=1.0,
            discount=0.001,
        )
    )
    scale_prior_days: int = 90
    exposure_cap: float = 1.0
    smallest_exposure: float = 0.01
    half_step: bool = False
    limits: Limits = field(default_factory=Limits)
    recalibration: RecalibrationRule = field(default_factory=RecalibrationRule)
    max_holding_days: int = 7
    position_stop: float = 0.05
    exits: ExitConfig = field(default_factory=ExitConfig)
    fee_bp: float = 5.0
    slippage_bp: float = 2.0
    seed: int = 7

    @property
    def fingerprint(self) -> str:
        """12 hex digits that differ for any other choice, the list of features included."""
        chosen = {**asdict(self), "features": [feature.name for feature in FEATURES]}
        return sha256_hex(dump_document(chosen))[:12]
