"""Every label of the quant page: those brief 1 fixes, of its original screen, and ours. They are never reworded,
abbreviated or reordered. Sentences and what is composed from a document's own words stay with their card.

Of the original screen a description has come down to us, not its texts: where that description and the brief leave the
exact words open, the words of the description stand here and a TODO says so.
"""

# Header. TODO: the original's title is not recorded; this is the brief's name for the screen.
TITLE = "Quantitative Trading Dashboard"
VERSION = "Version"
DATA_AGE = "Data age"
OPTIONS = "Options"
ON = "ON"
OFF = "OFF"
EXECUTE_NOW = "Execute Now"
BACKTEST = "Backtest"
THEME = "Theme"
ONE_THEME = "one theme"
# Pills that are there only when somebody should look.
DATA = "Data"
REFUSED = "Refused"
STORE = "Store"
UNREADABLE = "unreadable"

# Gate. "Confidence" of the gate is defined in no source: see ``quant_gate``.
GATE = "Gate"
PROBABILITY = "P(RISK-ON)"
RISK_ON = "RISK-ON"
GATE_OFF = "GATE-OFF"
INERTIA = "Inertia"
CONFIDENCE = "Confidence"
ESS = "ESS"
LEARNING_STEPS = "Learning steps"
WINDOW = "Window"

# Bias.
BIAS = "Bias"
NEUTRAL = "NEUTRAL"
BULL = "BULL"
BEAR = "BEAR"
STRONG = "STRONG"
EXTREME = "EXTREME"
LONG = "LONG"
SHORT = "SHORT"
HOLD = "HOLD"

# Performance, and the guards, which are shown only when active.
PERFORMANCE = "Performance"
PNL = "P&L"
CURRENT_EXPOSURE = "Current exposure"
TARGET_EXPOSURE = "Target exposure"
RISK_GUARDS = "Risk guards"
HARD_STOP = "Hard stop"
DAILY_LIMIT = "Daily limit"
FUNDING_DRIFT = "Funding drift"
VOLATILITY_DRIFT = "Volatility drift"

# Execution.
EXECUTION = "Execution"
FAST_SPEED = "κ fast"
SLOW_SPEED = "κ slow"
IMPACT = "Impact"
PLANNED_STEP = "Planned step"
EXPOSURE_PREVIEW = "Exposure preview"
LAST_CALIBRATION = "Last calibration"
HALF_STEP = "Half-step"

# Stopping.
STOPPING = "Optimal Stopping"
DECISION = "Decision"
LOWER_BOUND = "Lower bound"
UPPER_BOUND = "Upper bound"
CONTINUATION = "Continuation value"
DAY = "Day"

# Validation. TODO: the original only ever said GO, so its word for the opposite is not known.
VALIDATION = "Walk-Forward Validation"
GO = "GO"
NO_GO = "NO-GO"
HIT_RATE = "Hit rate"
SHARPE = "Sharpe"
DRAWDOWN = "Max drawdown"
GATE_OFF_DAYS = "Gate off"
SLICE = "Slice"
COSTS = "Costs"
EMBARGO = "Embargo"
ACCEPTED = "accepted"
FAILS = "fails"
SLICE_REFUSED = "refused"
INCOMPLETE = "incomplete"

SIGNATURES = "Signature Features"
FEATURE = "Feature"
VALUE = "Value"
TO_VOLATILITY = "to σ"
TO_BIAS = "to bias"
ALL_OTHERS = "all others"
VOLATILITY = "Volatility"

# The two training cards, by the brief's names for what they show.
NOISE_ROBUST = "JAL (Joint Asymmetric Loss)"
LEARNING_RATE = "Large Learning Rates"
AVERAGING = "BEMA (Bias-corrected EMA)"
LOSS = "Loss"
NOISE = "Noise"
ASYMMETRY = "Asymmetry a"
ACTIVE_FROM = "Active from"
ACCURACY = "Accuracy"
BASE_RATE = "Base rate"
SLOPE = "Slope"
SPARSITY = "Sparsity"
CLASS_SEPARATION = "Class separation"
COMPRESSION = "Compression 50%"
LAST_ITERATE = "Last iterate"
EMA = "EMA"
BEMA = "BEMA"
AVERAGE_LOSS = "loss"
AVERAGE_ACCURACY = "accuracy"
CHOSEN = "chosen"

# Footer.
LAST_RUN = "Last run"
NEXT_RUN = "Next run"
CONNECTION = "Connection"
LIVE = "live"
LOST = "lost"
NOT_ANSWERING = "store not answering"
RUN_NOW = "Run Now"
BACKTEST_30D = "Backtest 30d"
IMPORT = "Import"
USE_TRAIN = "use desk train"
EXPORT = "Export"

HEADER = (TITLE, VERSION, DATA_AGE, OPTIONS, EXECUTE_NOW, BACKTEST, THEME)
CARDS = (
    GATE,
    BIAS,
    PERFORMANCE,
    EXECUTION,
    STOPPING,
    VALIDATION,
    SIGNATURES,
    NOISE_ROBUST,
    LEARNING_RATE,
)
FOOTER = (LAST_RUN, NEXT_RUN, CONNECTION, RUN_NOW, BACKTEST_30D, IMPORT, EXPORT)
