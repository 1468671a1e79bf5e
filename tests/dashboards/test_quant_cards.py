"""Each card of the quant page from documents as research writes them: full, refused, without steps, and absent."""

import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dashboards import quant_labels as labels
from dashboards.components import quant_frame
from dashboards.components.quant_bias import bias, side_of, word_of
from dashboards.components.quant_execution import execution
from dashboards.components.quant_gate import freshness, gate
from dashboards.components.quant_performance import guards, performance
from dashboards.components.quant_shown import Decided, line
from dashboards.components.quant_signatures import signatures
from dashboards.components.quant_stopping import stopping
from dashboards.components.quant_training import learning_rate, noise_robust
from dashboards.components.quant_validation import NO_SUMMARY, validation
from pipelines import jobs
from resources.settings import Settings
from tests.dashboards.quant_folder import REFUSED_SLICE, QuantFolder

TODAY = date(2026, 3, 2)
NORMAL = QuantFolder(TODAY)
SETTINGS = Settings(auth="off")
ABSENT = Decided({}, "nothing decided")
HOUR_MS = 3_600_000


def decided(folder: QuantFolder = NORMAL) -> Decided:
    return Decided(folder.decision())


def without(step: str) -> Decided:
    document = NORMAL.decision()
    del document["steps"][step]
    return Decided(document)


def facts(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {fact["label"]: fact for fact in shown["facts"]}


def texts(shown: dict[str, Any]) -> dict[str, str]:
    return {label: fact["text"] for label, fact in facts(shown).items()}


# --------------------------------------------------------------------------------------------------------- gate


def test_the_gate_shows_probability_confidence_and_particles_against_their_scales() -> None:
    shown = gate(decided())
    assert shown["state"] == "RISK-ON"
    assert [(g["label"], g["text"], g["note"]) for g in shown["gauges"]] == [
        ("P(RISK-ON)", "73%", "gate 0.60"),
        ("Confidence", "73%", "max(p, 1−p)"),
        ("ESS", "742", "n/1000"),
    ]
    assert [g["value"] for g in shown["gauges"]] == pytest.approx([0.73, 0.73, 0.7423])
    assert texts(shown) == {"Inertia": "2 of 2", "Learning steps": "5", "Window": "30 d"}
    assert len(shown["line"]) == 90
    assert shown["mark"] == 0.6


def test_confidence_is_that_of_the_likelier_regime() -> None:
    assert gate(decided(replace(NORMAL, probability=0.1)))["gauges"][1]["text"] == "90%"


def test_a_probability_of_zero_is_a_number_and_not_a_gap() -> None:
    shown = gate(decided(replace(NORMAL, probability=0.0)))
    assert (shown["gauges"][0]["text"], shown["gauges"][0]["value"]) == ("0%", 0.0)
    assert shown["state"] == "GATE-OFF"
    assert shown["reason"] == "probability below 0.60"


def test_refused_data_leave_placeholders_with_the_refusal() -> None:
    shown = gate(decided(replace(NORMAL, refusal="2 bars missing")))
    assert shown["state"] == "GATE-OFF"
    assert shown["reason"] == "2 bars missing"
    assert all((g["value"], g["text"], g["reason"]) == (None, "—", "2 bars missing") for g in shown["gauges"])
    assert texts(shown)["Inertia"] == "0 of 2"


def test_freshness_ends_with_the_day_and_with_the_age_of_the_data() -> None:
    shown = freshness(decided())
    assert shown["ends"] - shown["begins"] == 24 * HOUR_MS
    assert shown["begins"] - shown["as_of"] == HOUR_MS
    assert shown["stale_after"] == 26 * 3600
    document = NORMAL.decision()
    document["steps"]["data_pull"]["as_of"] = None
    assert freshness(Decided(document))["as_of"] is None


# --------------------------------------------------------------------------------------------------------- bias


@pytest.mark.parametrize(
    ("value", "side", "word"),
    [
        (0.0, "HOLD", "NEUTRAL"),
        (0.1999, "HOLD", "NEUTRAL"),
        (-0.1999, "HOLD", "NEUTRAL"),
        (0.2, "LONG", "BULL"),
        (-0.2, "SHORT", "BEAR"),
        (0.5, "LONG", "STRONG BULL"),
        (-0.79, "SHORT", "STRONG BEAR"),
        (0.8, "LONG", "EXTREME BULL"),
        (-1.0, "SHORT", "EXTREME BEAR"),
    ],
)
def test_sides_and_words_begin_at_their_thresholds(value: float, side: str, word: str) -> None:
    assert (side_of(value, 0.2), word_of(value, 0.2)) == (side, word)


def test_the_bias_shows_its_value_its_threshold_and_its_past() -> None:
    shown = bias(decided())
    assert (shown["text"], shown["side"], shown["word"], shown["threshold"]) == ("+0.34", "LONG", "BULL", 0.2)
    assert len(shown["bars"]) == 90
    assert shown["bars"][-1] == 670  # 500 is zero, 1000 is +1
    assert shown["span"] == ["03 Dec 2025", "02 Mar 2026"]


def test_a_closed_gate_leaves_no_bias_no_side_and_no_word() -> None:
    shown = bias(decided(replace(NORMAL, probability=0.2)))
    assert (shown["value"], shown["text"], shown["side"], shown["word"]) == (None, "—", None, None)
    assert shown["reason"] == "gate off: probability below 0.60"


# -------------------------------------------------------------------------------------------------- performance


def test_performance_is_the_paper_books_and_exposures_are_fractions_of_capital() -> None:
    shown = performance(decided())
    assert (shown["text"], shown["sign"]) == ("+3.42%", 1)
    assert shown["delta"] == {"sign": 1, "text": "+0.42%", "note": "the day before, before costs"}
    assert texts(shown) == {"Current exposure": "+0.31", "Target exposure": "+0.42"}
    assert shown["guards"] == []


def test_a_flat_day_is_zero_and_an_unmarked_one_is_not_a_number() -> None:
    assert performance(decided(replace(NORMAL, day_return=0.0)))["delta"]["text"] == "0.00%"
    document = NORMAL.decision()
    document["steps"]["feature_extraction"]["marked"] |= {"day_return": None, "reason": "no close at 00:00"}
    assert performance(Decided(document))["delta"] == {"sign": 0, "text": "", "note": "no close at 00:00"}


def test_only_guards_that_fire_are_shown() -> None:
    shown = guards(decided(replace(NORMAL, day_return=-0.04)))
    assert [guard["name"] for guard in shown] == ["REDUCING", "Daily limit"]
    assert shown[1]["text"] == "the day lost 4.00% of capital"
    assert "the limit is 0.03" in shown[1]["title"]


def test_a_blind_rail_is_shown_although_no_guard_fires() -> None:
    document = NORMAL.decision()
    document["steps"]["risk_checks"] |= {"state": "REDUCING", "reason": "no data for hard_stop"}
    assert [(g["name"], g["text"]) for g in guards(Decided(document))] == [("REDUCING", "no data for hard_stop")]


# ---------------------------------------------------------------------------------------------------- execution


def test_execution_states_rates_impact_step_preview_calibration_and_half_step() -> None:
    shown = execution(decided())
    assert texts(shown) == {
        "κ fast": "−0.0210 /d",
        "κ slow": "+0.00340 /d",
        "Impact": "+0.420 bp",
        "Planned step": "+0.190",
        "Exposure preview": "+0.12 → +0.31",
        "Last calibration": "28 Feb 2026",
        "Half-step": "OFF",
    }
    assert facts(shown)["Impact"]["note"] == "then +0.610 bp"
    assert shown["reason"] == "Trade: planned step"


def test_a_calibration_that_never_was_says_what_it_waits_for() -> None:
    document = NORMAL.decision()
    document["steps"]["weekly_calibration"]["result"] |= {"calibrated": None, "reason": "3 rows in 28 days, 10 needed"}
    fact = facts(execution(Decided(document)))["Last calibration"]
    assert (fact["text"], fact["reason"]) == ("—", "never yet: 3 rows in 28 days, 10 needed")


def test_a_half_step_stands_out() -> None:
    document = NORMAL.decision()
    document["steps"]["execution_rate"]["half_step"] = True
    fact = facts(execution(Decided(document)))["Half-step"]
    assert (fact["text"], fact["tone"]) == ("ON", "loud")


# ----------------------------------------------------------------------------------------------------- stopping


def test_stopping_states_its_decision_its_bounds_and_the_day() -> None:
    shown = stopping(decided())
    assert (shown["decision"], shown["gauge"]["text"], shown["day"]["text"]) == ("HOLD", "81%", "3 of 7")
    assert texts(shown) == {"Lower bound": "+0.41%", "Upper bound": "+0.62%", "Continuation value": "+0.49%"}
    assert shown["range"] == pytest.approx([0.0, 1.0, (0.49 - 0.41) / 0.21])


def test_without_a_position_the_bounds_are_missing_and_the_day_is_zero() -> None:
    document = NORMAL.decision()
    document["steps"]["position_management"]["exit"] |= {
        "decision": "FLAT",
        "day": 0,
        "reason": "no open position",
        **dict.fromkeys(("confidence", "lower", "upper", "continuation")),
    }
    shown = stopping(Decided(document))
    assert (shown["decision"], shown["day"]["text"], shown["range"]) == ("FLAT", "0 of 7", None)
    assert all(fact["reason"] == "no open position" for fact in shown["facts"])


# --------------------------------------------------------------------------------------------------- validation


def test_validation_judges_the_newest_slice_and_marks_every_one() -> None:
    summary = NORMAL.summary()
    newest = summary["folds"][-1]
    shown = validation({**summary, "folds": list(reversed(summary["folds"]))}, "")
    assert shown["verdict"] == (labels.GO if newest["accepted"] else labels.NO_GO)
    assert [tick["passed"] for tick in shown["ticks"]] == [verdict["passed"] for verdict in newest["verdicts"]]
    assert [tick["label"] for tick in shown["ticks"]] == ["Hit rate", "Sharpe", "Max drawdown", "Gate off"]
    assert [tick["limit"] for tick in shown["ticks"]] == ["≥ 56%", "≥ 1.00", "≤ 15%", "≤ 60%"]
    assert [passed for passed, _ in shown["slices"]] == [fold["accepted"] for fold in summary["folds"]]
    assert {label: value for label, value, _ in shown["lines"]}["Embargo"] == "7 d"
    assert shown["sum"].startswith(f"{summary['accepted_folds']} of 48 slices accepted; all slices")
    assert "buy and hold +131.00%, Sharpe +0.88" in shown["sum"]


def test_an_undefined_measure_does_not_pass_and_shows_no_number() -> None:
    summary = NORMAL.summary()
    summary["folds"][-1]["verdicts"][1] |= {"value": None, "passed": False, "reason": "undefined: 2 traded of 30 days"}
    tick = validation(summary, "")["ticks"][1]
    assert (tick["text"], tick["passed"]) == ("—", False)
    assert "2 traded of 30 days" in tick["title"]


def test_refused_slices_are_counted_and_marked_with_their_reason() -> None:
    summary = replace(NORMAL, refused=(40, 7)).summary()
    shown = validation(summary, "")
    assert shown["sum"].startswith(f"{summary['accepted_folds']} of 46 slices accepted, 2 refused; all slices")
    assert shown["remarks"] == f"2 refused: {REFUSED_SLICE}"
    assert [place for place, (passed, _) in enumerate(shown["slices"]) if passed is None] == [7, 40]
    assert shown["slices"][40][1].endswith(f": refused, {REFUSED_SLICE}")
    assert shown["reason"] == ""  # the newest slice has a result


def test_a_refused_newest_slice_leaves_no_go_to_an_older_one() -> None:
    summary = replace(NORMAL, refused=(0,)).summary()
    summary["folds"][-1]["accepted"] = True
    shown = validation(summary, "")
    assert (shown["verdict"], shown["passed"]) == (labels.NO_GO, False)
    assert shown["reason"].endswith(f": refused, {REFUSED_SLICE}")


def test_a_walk_forward_of_refused_slices_only_says_why() -> None:
    shown = validation(replace(NORMAL, folds=3, refused=(0, 1, 2)).summary() | {"overall": None}, "")
    assert shown["verdict"] is None
    assert shown["reason"].endswith(f": refused, {REFUSED_SLICE}")
    assert [passed for passed, _ in shown["slices"]] == [None] * 3


def test_incomplete_costs_are_shown_with_what_they_lack() -> None:
    gaps = "funding unknown on 3 traded days"
    shown = validation(replace(NORMAL, cost_gaps=gaps).summary(), "")
    assert (shown["verdict"], shown["reason"]) == (labels.NO_GO, gaps)
    costs = next(line for line in shown["lines"] if line[0] == labels.COSTS)
    assert costs[1].endswith("%, incomplete")
    assert costs[2].endswith(gaps)
    assert gaps in shown["slices"][-1][1]
    assert ", 1 with costs incomplete" in shown["sum"]
    assert shown["remarks"] == f"1 with costs incomplete: {gaps}"


def test_a_summary_written_before_refusals_were_kept_is_shown_as_it_is() -> None:
    summary = NORMAL.summary()
    del summary["refused"]
    for fold in summary["folds"]:
        del fold["cost_gaps"]
    shown = validation(summary, "")
    assert shown["remarks"] == ""
    assert "refused" not in shown["sum"]


def test_without_a_walk_forward_nothing_passes_and_nothing_says_go() -> None:
    shown = validation(None, "")
    assert shown["verdict"] is None
    assert shown["reason"] == NO_SUMMARY
    assert {tick["passed"] for tick in shown["ticks"]} == {None}
    assert {text for _, text, _ in shown["lines"]} == {"—"}


# --------------------------------------------------------------------------------------------------- signatures


def test_signatures_list_every_word_in_order_with_what_it_adds() -> None:
    document = NORMAL.decision()
    shown = signatures(Decided(document))
    rows = shown["rows"]
    assert [row["name"] for row in rows[:6]] == ["sig_0", "sig_1", "sig_00", "sig_01", "sig_10", "sig_11"]
    assert len(rows) == 14 + 1
    assert rows[3]["title"] == "Iterated integral of time, log price"
    largest = max(abs(row["parts"][0]["size"]) for row in rows[:-1])
    assert largest == 1.0
    others = document["steps"]["bias_computation"]["attributions"]
    expected = sum(share for name, share in others.items() if not name.startswith("sig_"))
    assert rows[-1]["parts"][1]["text"] == f"{expected:+.3g}".replace("-", "−")
    assert shown["hint"] == "σ 2.31% a day, realised 2.07%"


def test_a_closed_gate_leaves_the_part_in_the_bias_open() -> None:
    shown = signatures(decided(replace(NORMAL, probability=0.2)))
    assert {row["parts"][1]["text"] for row in shown["rows"]} == {"—"}
    assert shown["no_bias"] == "gate off: probability below 0.60"


def test_refused_data_leave_no_features() -> None:
    shown = signatures(decided(replace(NORMAL, refusal="2 bars missing")))
    assert shown["rows"] == []
    assert shown["reason"] == "2 bars missing"


# ----------------------------------------------------------------------------------------------------- training


def test_training_shows_what_was_measured_and_which_average_was_chosen() -> None:
    noise, rate = noise_robust(decided()), learning_rate(decided())
    assert texts(noise) == {
        "Loss": "jal-ce",
        "Noise": "45.0%",
        "Asymmetry a": "10.0",
        "Active from": "step 0",
        "Accuracy": "53.8%",
        "Base rate": "51.6%",
        "Slope": "0.0430",
    }
    assert [(m["label"], m["passed"]) for m in rate["metrics"]] == [
        ("Sparsity", True),
        ("Confidence", False),
        ("Class separation", False),
        ("Compression 50%", True),
    ]
    assert "cannot be met" in rate["metrics"][2]["title"]
    assert [a["label"] for a in rate["averages"] if a["chosen"]] == ["BEMA"]
    assert len(rate["line"]) == 60


def test_training_without_a_report_says_so() -> None:
    document = NORMAL.decision()
    document["training"] = None
    shown = learning_rate(Decided(document))
    assert shown["reason"] == "the decision holds no training report"
    assert {m["passed"] for m in shown["metrics"]} == {None}
    assert set(texts(noise_robust(Decided(document))).values()) == {"—"}


# -------------------------------------------------------------------------------------------------------- frame


def pills(folder_or_decided: Decided, unreadable: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    return {pill["key"]: pill for pill in quant_frame.header_pills(folder_or_decided, unreadable)}


def test_the_header_states_version_age_and_options() -> None:
    shown = pills(decided())
    assert shown["version"]["text"] == "a41b7c02d9ee"
    assert shown["age"]["attention_after"] == 26 * 3600
    assert (shown["options"]["text"], shown["options"]["state"]) == ("OFF", "off")
    assert "has no options" in shown["options"]["title"]
    assert "bars_1h: 2,880 rows" in shown["age"]["title"]
    assert pills(decided(replace(NORMAL, options=True)))["options"]["text"] == "ON"


def test_what_needs_somebody_is_in_the_header() -> None:
    shown = pills(decided(replace(NORMAL, refusal="2 bars missing", day_return=-0.06)), ("research/x.json",))
    assert {shown[key]["state"] for key in ("refused", "risk", "unreadable")} == {"attention"}
    assert not {"refused", "risk", "unreadable"} & pills(decided()).keys()


def test_actions_are_links_to_jobs_that_exist_and_what_is_off_says_why() -> None:
    shown = quant_frame.actions(SETTINGS)
    links = {action["label"]: action["href"] for group in shown.values() for action in group if "href" in action}
    assert {jobs.research_job.name, jobs.walk_forward_job.name} == {"research_daily", "walk_forward_pool"}
    assert links == {
        "Execute Now": f"{SETTINGS.dagster_address}/guess/research_daily",
        "Run Now": f"{SETTINGS.dagster_address}/guess/research_daily",
        "Backtest": f"{SETTINGS.dagster_address}/guess/walk_forward_pool",
        "Backtest 30d": f"{SETTINGS.dagster_address}/guess/walk_forward_pool",
    }
    off = [action["label"] for group in shown.values() for action in group if action.get("off")]
    assert off == ["Theme", "Import"]


def test_the_footer_names_the_last_and_the_next_run() -> None:
    shown = quant_frame.footer(decided())
    assert [shown[key]["label"] for key in ("last", "next")] == ["Last run", "Next run"]
    assert shown["next"]["at"] - shown["last"]["at"] == 24 * HOUR_MS - 131_000
    assert quant_frame.footer(ABSENT)["last"] == {"label": "Last run", "at": None, "reason": "nothing decided"}


# --------------------------------------------------------------------------------------------- what is not there

CARDS = (gate, bias, performance, execution, stopping, signatures)


@pytest.mark.parametrize("card", CARDS)
def test_without_a_decision_every_value_is_the_placeholder_and_says_why(card: Any) -> None:
    shown = card(ABSENT)
    assert shown["since"] is None
    assert shown["reason"] == "nothing decided"
    for fact in [*shown.get("facts", []), *shown.get("gauges", [])]:
        assert fact["text"] == "—"
        assert "nothing decided" in fact["reason"]


@pytest.mark.parametrize("step", NORMAL.decision()["steps"])
def test_a_decision_without_one_of_its_steps_is_shown_with_the_rest(step: str) -> None:
    found = without(step)
    for card in CARDS:
        card(found)
    named = [
        fact["reason"]
        for card in (gate, performance, execution, stopping)
        for fact in card(found)["facts"]
        if "reason" in fact
    ]
    if step not in ("data_pull", "bias_computation", "risk_checks"):
        assert any(step in reason for reason in named)


def test_the_labels_of_brief_1_and_of_its_screen_never_change() -> None:
    assert labels.HEADER == (
        "Quantitative Trading Dashboard", "Version", "Data age", "Options", "Execute Now", "Backtest", "Theme",
    )  # fmt: skip
    assert labels.CARDS == (
        "Gate", "Bias", "Performance", "Execution", "Optimal Stopping", "Walk-Forward Validation",
        "Signature Features", "JAL (Joint Asymmetric Loss)", "Large Learning Rates",
    )  # fmt: skip
    assert labels.FOOTER == (
        "Last run", "Next run", "Connection", "Run Now", "Backtest 30d", "Import", "Export",
    )  # fmt: skip
    assert (labels.RISK_ON, labels.GATE_OFF) == ("RISK-ON", "GATE-OFF")


@pytest.mark.parametrize("found", [decided(), ABSENT])
def test_header_and_footer_carry_their_labels_in_order(found: Decided) -> None:
    actions, foot = quant_frame.actions(SETTINGS), quant_frame.footer(found)
    header = [pill["label"] for pill in quant_frame.header_pills(found, ())]
    header += [action["label"] for action in actions["header"]]
    assert (labels.TITLE, *header) == labels.HEADER
    footer = [foot["last"]["label"], foot["next"]["label"], foot["connection"]["label"]]
    footer += [action["label"] for action in actions["footer"]]
    assert tuple(footer) == labels.FOOTER


def shown_labels(shown: Any) -> set[str]:
    """Whatever stands as a label, wherever it is."""
    if isinstance(shown, list):
        return set().union(*map(shown_labels, shown))
    if not isinstance(shown, dict):
        return set()
    own = {shown[key] for key in ("label", "averaging", "side", "off_state", "short") if shown.get(key)}
    listed = {each for key in ("heads", "average_labels") for each in shown.get(key, ())}
    return own | listed | set().union(*map(shown_labels, shown.values()))


@pytest.mark.parametrize("found", [decided(), decided(replace(NORMAL, refusal="x", day_return=-0.06)), ABSENT])
def test_every_label_shown_is_one_of_the_module(found: Decided) -> None:
    module = {value for name, value in vars(labels).items() if name.isupper() and isinstance(value, str)}
    cards = [card(found) for card in (*CARDS, noise_robust, learning_rate)]
    shown = shown_labels([*cards, validation(NORMAL.summary(), ""), validation(None, "")])
    shown |= shown_labels([quant_frame.header_pills(found, ("x",)), quant_frame.footer(found)])
    shown |= shown_labels(quant_frame.actions(SETTINGS))
    assert len(shown) > 50
    assert shown <= module
    rows = signatures(found)["rows"]
    assert not rows or rows[-1]["name"] == labels.ALL_OTHERS
    # The state of the rails is the decision's own word; the guards below it have labels.
    assert {guard["name"] for guard in guards(found)[1:]} <= module


@pytest.mark.parametrize(
    "script", sorted(Path(quant_frame.__file__).parent.glob("quant_*")), ids=lambda path: path.name
)
def test_no_card_and_no_script_writes_a_label_of_its_own(script: Path) -> None:
    """A label of the module as a text of its own; a single word in small letters may be a key as well."""
    module = {value for name, value in vars(labels).items() if name.isupper() and isinstance(value, str)}
    keys = {value for value in module if value.islower() and value.isalpha()}
    written = set(re.findall(r"""["'`]([^"'`\n]*)["'`]""", script.read_text(encoding="utf-8")))
    assert not written & (module - keys)


def test_labels_of_the_cards_are_those_of_the_module() -> None:
    found = decided()
    titles = [card(found)["title"] for card in (gate, bias, performance, execution, stopping)]
    titles += [validation(None, "")["title"], signatures(found)["title"]]
    titles += [noise_robust(found)["title"], learning_rate(found)["title"]]
    assert tuple(titles) == labels.CARDS


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e9, 1e300])
def test_extreme_figures_are_stated_in_a_few_characters(scale: float) -> None:
    found = decided(replace(NORMAL, scale=scale))
    for shown in (execution(found), gate(found)):
        assert all(len(fact["text"]) < 18 for fact in shown["facts"])
    assert all(len(fact["text"]) < 18 for fact in stopping(found)["facts"])
    assert len(performance(found)["text"]) < 14
    assert all(len(row["text"]) < 12 for row in signatures(found)["rows"])


def test_lines_keep_gaps_and_never_divide_by_nothing() -> None:
    assert line([1.0, None, 3.0]) == [0, None, 1000]
    assert line([2.0, 2.0]) == [500, 500]
    assert line([1.0]) == line([]) == line([None, None]) == []
    assert line([0.5, 2.0, -1.0], 0.0, 1.0) == [500, 1000, 0]
    assert line([math.nan, 1.0, 2.0]) == [None, 0, 1000]
    assert line([-1.7e308, 1.7e308]) == [500, 500]


def test_the_past_has_a_place_for_every_day() -> None:
    document = NORMAL.decision()
    del document["history"][10:20]
    past = Decided(document).history("probability")
    assert len(past) == 90
    assert past[10:20] == [None] * 10
