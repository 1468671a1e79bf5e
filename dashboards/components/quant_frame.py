"""What stands around the quant cards: the header's facts and actions, and the footer.

The page starts nothing itself: its actions are links to the jobs in Dagster, where runs are started and watched.
"""

from collections.abc import Iterable
from typing import Any

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.pills import Pill
from dashboards.components.quant_gate import STALE_AFTER_SECONDS
from dashboards.components.quant_shown import Decided, Shown, moment
from dashboards.components.quant_validation import WALK_FORWARD_JOB
from resources.settings import Settings

DAILY_JOB = "research_daily"

NO_IMPORT = "Uploaded weights are not loaded through a browser; use desk train"
ONE_THEME = "There is one theme, dark; paper prints light"


def header_pills(decided: Decided, unreadable: Iterable[str]) -> list[Pill]:
    """Version, data age, options, and what needs somebody: refused data, risk guards, unreadable objects."""
    pulled = decided.step("data_pull")
    return [
        _version(decided, pulled),
        _data_age(decided, pulled),
        _options(decided, pulled),
        *_refused(pulled),
        *_risk(decided),
        *_unreadable(list(unreadable)),
    ]


def actions(settings: Settings) -> dict[str, list[Shown]]:
    """The buttons of header and footer; each is a link (``href``), a download (``export``) or off with its reason."""

    def job(label: str, name: str) -> Shown:
        # Dagster finds the job's code location by itself under this address.
        href = f"{settings.dagster_address}/guess/{name}"
        return {"label": label, "href": href, "title": f"Opens the job {name} in Dagster, where it is started"}

    return {
        "header": [
            job(labels.EXECUTE_NOW, DAILY_JOB),
            job(labels.BACKTEST, WALK_FORWARD_JOB),
            {"label": labels.THEME, "off": ONE_THEME, "short": labels.ONE_THEME},
        ],
        "footer": [
            job(labels.RUN_NOW, DAILY_JOB),
            job(labels.BACKTEST_30D, WALK_FORWARD_JOB),
            {"label": labels.IMPORT, "off": NO_IMPORT, "short": labels.USE_TRAIN},
            {"label": labels.EXPORT, "export": True, "title": "Downloads the decision shown here as JSON"},
        ],
    }


def footer(decided: Decided) -> Shown:
    """When the decision was made and when the next one is due (ms); the browser adds the connection."""
    return {
        "last": {"label": labels.LAST_RUN, "at": decided.published, "reason": decided.absence or "not stored"},
        "next": {
            "label": labels.NEXT_RUN,
            "at": moment(decided.document.get("next_run_utc")),
            "reason": decided.absence or "not stored",
        },
        "connection": {
            "label": labels.CONNECTION,
            "live": labels.LIVE,
            "lost": labels.LOST,
            "disconnected": labels.NOT_ANSWERING,
        },
    }


def _pill(key: str, label: str, shown: str, state: str, title: str, **more: Any) -> Pill:
    return {"key": key, "label": label, "text": shown, "state": state, "title": title, **more}


def _version(decided: Decided, pulled: dict[str, Any]) -> Pill:
    version = pulled.get("model_version")
    if not version:
        return _pill(
            "version", labels.VERSION, text.MISSING, "off", decided.why("data_pull") or "no model version stored"
        )
    title = f"Models {version}\nConfiguration {decided.document.get('configuration', 'not stored')}"
    return _pill("version", labels.VERSION, version, "ok", title)


def _data_age(decided: Decided, pulled: dict[str, Any]) -> Pill:
    as_of = moment(pulled.get("as_of"))
    if as_of is None:
        why = decided.why("data_pull") or "no hourly bar"
        return _pill("age", labels.DATA_AGE, text.MISSING, "off" if decided.absence else "attention", why)
    tables = "\n".join(f"{name}: {_table(state)}" for name, state in pulled.get("states", {}).items())
    return _pill(
        "age",
        labels.DATA_AGE,
        "",
        "ok",
        f"Newest hourly bar; stale after 26 h\n{tables}",
        since=as_of,
        attention_after=STALE_AFTER_SECONDS,
    )


def _table(state: dict[str, Any]) -> str:
    if state.get("used"):
        return f"{state['rows']:,} rows"
    findings = "; ".join(finding["message"] for finding in state.get("findings", ()))
    return f"not used, {findings or state.get('absence') or 'no rows'}"


def _options(decided: Decided, pulled: dict[str, Any]) -> Pill:
    state = pulled.get("states", {}).get("options_moves")
    if state is None:
        return _pill(
            "options",
            labels.OPTIONS,
            text.MISSING,
            "off",
            decided.why("data_pull") or "no state of options_moves stored",
        )
    return _pill(
        "options",
        labels.OPTIONS,
        labels.ON if state["used"] else labels.OFF,
        "ok" if state["used"] else "off",
        _table(state),
    )


def _refused(pulled: dict[str, Any]) -> list[Pill]:
    refusal = pulled.get("refusal")
    return [_pill("refused", labels.DATA, labels.REFUSED, "attention", refusal)] if refusal else []


def _risk(decided: Decided) -> list[Pill]:
    report = decided.step("risk_checks")
    if report.get("state") in (None, "ACTIVE"):
        return []
    return [_pill("risk", labels.RISK_GUARDS, report["state"], "attention", report["reason"])]


def _unreadable(keys: list[str]) -> list[Pill]:
    """Present only when a stored object is not what it should be: its numbers are then shown as missing."""
    if not keys:
        return []
    return [_pill("unreadable", labels.STORE, f"{len(keys)} {labels.UNREADABLE}", "attention", "\n".join(keys))]
