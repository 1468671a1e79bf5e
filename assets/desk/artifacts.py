"""The contract objects of brief 0 and the audit set of each rebalance: where they lie."""

INBOX = "inbox/"
PORTFOLIO_VALUE_LOG = "portfolio_value_log.jsonl"
LATEST_PRICES = "latest_prices.json"
PRE_EXECUTION = "pre_execution.json"
DAILY_BASELINE = "daily_baseline.json"
LATEST_EXECUTED = "latest_executed.json"
LATEST_REFUSED = "latest_refused.json"
EXECUTION = "execution.json"
REBALANCES = "rebalances/"
MARKS_HISTORY = "history/marks/"
VALUE_HISTORY = "history/portfolio_value/"
FORCED = "forced/"


def audit_key(rebalance_id: str, name: str) -> str:
    """Key of one document of a rebalance's immutable audit set, such as ``fills.json``."""
    return f"{REBALANCES}{rebalance_id}/{name}"


def filters_key(sha256: str) -> str:
    return f"filters/{sha256}.json"


def detection_key(csv_sha256: str, generation: int) -> str:
    """Where the freeze of one signal content lies; a later generation is a fresh t0 after an expired one."""
    return f"detections/{csv_sha256}.json" if generation == 1 else f"detections/{csv_sha256}.{generation}.json"


def forced_key(csv_sha256: str) -> str:
    """Present when a person asked for this content to execute although its date is older than the last."""
    return f"{FORCED}{csv_sha256}.json"
