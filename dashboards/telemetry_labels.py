"""Every label of the telemetry page. Metrics carry brief 4's names and are never reworded; their records are named as
``assets.telemetry.telemetry_log`` names them."""

from assets.telemetry.telemetry_log import BACKTEST, CONFIRMATION, METRICS, MONITOR, SIGNAL, SUMMARY, TICK, TRADE

# Brief 4's names, in the order of its table.
IMMUTABLE = tuple(metric.name for metric in METRICS)

# The records in the columns of the page; each metric is a field of one of them.
COLUMNS = ((TICK, TRADE, SIGNAL, CONFIRMATION, MONITOR), (SUMMARY, BACKTEST))

METRIC = "Metric"
TREND = "Trend"
VALUE = "Value"
UNIT = "Unit"
AGE = "Age"
ONE_VALUE = "one value"

SERVICE_LEVELS = "Service levels"
MET = "met"
NOT_MET = "not met"
UNDECIDED = "undecided"

ALARMS = "Alarms"
FIRING = "firing"
SILENT = "silent"
UNKNOWN = "unknown"

BUS = "Bus"
NO_REDIS = "no Redis: REDIS_URL is not set"

REJECTED = "Rejected feed events"

# How a unit is written where it is shown: fractions inside, per cent at the edge.
UNITS = {"fraction": "%", "points of 100": "of 100", "text": ""}
