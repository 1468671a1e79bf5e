function quantCard(kind, {title, since}, staleAfter, ...body) {
  const age = node("span", {className: "age"})
  ageOf(age, since, {suffix: " ago", staleAfter})
  return node("section", {className: `card ${kind}`, "aria-label": title}, node("header", {}, node("h2", {}, title), age), ...body.filter(Boolean))
}

// A state the eye must find: filled while all is well, inverse only where somebody should look.
function stateChip(text, look, title = "") {
  return node("span", {className: "state", "data-look": look, title}, text)
}

// Facts say why they are missing, unless the card has said so already.
function factsOf(facts, said = "") {
  return node("dl", {className: "facts"}, ...facts.map(({label, text, title, note, reason, tone}) => {
    const beside = reason && reason !== said ? reason : note || ""
    return node("div", {title: [title, beside].filter(Boolean).join("\n"), "data-tone": reason ? "missing" : tone || ""}, node("dt", {}, label), node("span", {}, beside), node("dd", {}, text))
  }))
}

function reasonOf(text) {
  return text ? node("p", {className: "reason", title: text}, text) : null
}

function gateCard(shown, staleAfter) {
  const chip = stateChip("", "")
  const reason = node("p", {className: "reason why"})
  const card = quantCard("gate", shown, staleAfter,
    node("div", {className: "gauges"}, ...shown.gauges.map(radial)),
    node("div", {className: "verdict"}, chip, reason),
    factsOf(shown.facts, shown.reason),
    past({values: shown.line, mark: shown.mark, title: shown.line_title}),
  )
  // Stale data close the gate, whatever was decided when they were fresh.
  card.count = (stale) => {
    const state = stale && shown.state ? shown.off_state : shown.state
    chip.textContent = state ?? "—"
    chip.dataset.look = stale ? "attention" : state == null ? "missing" : state === shown.off_state ? "off" : "on"
    chip.title = stale ? `The decision said ${shown.state ?? "nothing"}; stale data close the gate` : shown.reason
    reason.textContent = stale ? `Stale: ${stale}` : shown.reason
    reason.title = reason.textContent
    card.dataset.stale = Boolean(stale)
  }
  return card
}

function biasCard(shown, staleAfter) {
  const side = shown.side ? stateChip(shown.side, shown.look, shown.details) : stateChip("—", "missing", shown.reason)
  const limits = shown.threshold == null ? [] : [-shown.threshold, shown.threshold]
  return quantCard("bias", shown, staleAfter,
    node("div", {className: "verdict", title: shown.details}, node("p", {className: "number", "data-sign": shown.sign, "data-missing": shown.value == null}, shown.text), node("span", {className: "word"}, shown.word ?? "—"), side),
    ruler({reach: 1, value: shown.value, marks: limits, pointers: [[shown.value, ""]]}),
    node("div", {className: "ends"}, ...shown.ends.map((end) => node("span", {}, end))),
    reasonOf(shown.reason),
    signedBars(shown.bars, `Bias of the last ${shown.days} days; nothing where the gate was off`),
    shown.bars.length ? node("div", {className: "ends"}, ...shown.span.map((day) => node("span", {}, day))) : null,
  )
}

function performanceCard(shown, staleAfter) {
  const reach = Math.max(1, Math.abs(shown.held ?? 0), Math.abs(shown.target ?? 0))
  const delta = node("p", {className: "delta", "data-sign": shown.delta.sign})
  if (shown.delta.sign) delta.append(triangle(shown.delta.sign))
  if (shown.delta.text) delta.append(node("b", {}, shown.delta.text))
  delta.append(node("span", {}, shown.delta.note))
  return quantCard("performance", shown, staleAfter,
    node("div", {className: "hero"},
      node("div", {title: shown.pnl_title},
        node("h3", {}, shown.label),
        node("p", {className: "number", "data-sign": shown.sign, "data-missing": Boolean(shown.reason), style: `--chars:${shown.text.length}`}, shown.text),
        delta),
      past({values: shown.line, title: shown.line_title})),
    reasonOf(shown.reason),
    guardsOf(shown.guards, shown.guards_label),
    node("div", {className: "exposures"},
      factsOf(shown.facts, shown.reason),
      ruler({reach, value: shown.held, marks: [], pointers: [[shown.held, ""], [shown.target, "aim"]]}),
      node("div", {className: "ends"}, node("span", {}, `−${reach.toFixed(reach % 1 ? 2 : 0)}`), node("span", {}, "0"), node("span", {}, `+${reach.toFixed(reach % 1 ? 2 : 0)}`))),
  )
}

function guardsOf(guards, label) {
  if (!guards.length) return null
  return node("ul", {className: "guards", role: "status", "aria-label": label}, ...guards.map(({name, text, title}) => node("li", {title}, node("b", {}, name), node("span", {}, text))))
}

function executionCard(shown, staleAfter) {
  return quantCard("execution", shown, staleAfter, factsOf(shown.facts, shown.reason), reasonOf(shown.reason))
}

function stoppingCard(shown, staleAfter) {
  const {day} = shown
  const dots = node("div", {className: "dots"}, ...Array.from({length: day.most ?? 0}, (_, i) => node("i", {"data-lit": i < day.day})))
  const look = {STOP: "attention", HOLD: "on", FLAT: "off"}[shown.decision] ?? "missing"
  const bounds = shown.range && node("div", {className: "bounds", title: "Lower bound, upper bound, and the value of going on between or beside them", style: `--lower:${shown.range[0]};--upper:${shown.range[1]};--going:${shown.range[2]}`}, node("i", {className: "span"}), node("i", {className: "going"}))
  return quantCard("stopping", shown, staleAfter,
    node("div", {className: "pair"},
      radial(shown.gauge),
      node("div", {className: "column"},
        node("h3", {}, shown.label), stateChip(shown.decision ?? "—", look, shown.reason),
        node("h3", {title: day.title}, `${day.label} `, node("b", {}, day.text)), dots)),
    reasonOf(shown.reason),
    factsOf(shown.facts, shown.reason || shown.gauge.reason),
    bounds,
  )
}

function ticksOf(ticks) {
  return node("ul", {className: "ticks-list"}, ...ticks.map(({label, text, passed, limit, title}) =>
    node("li", {title, "data-passed": String(passed), "aria-label": `${label} ${text}, ${limit}: ${passed == null ? "unknown" : passed ? "passed" : "failed"}`}, tick(passed), node("span", {}, label), node("b", {}, text), node("em", {}, limit))))
}

function validationCard(shown, staleAfter) {
  const verdict = shown.verdict ? stateChip(shown.verdict, shown.passed ? "on" : "off", shown.sum) : stateChip("—", "missing", shown.reason)
  const card = quantCard("validation", shown, undefined,
    ticksOf(shown.ticks),
    reasonOf(shown.reason),
    node("dl", {className: "lines"}, ...shown.lines.map(([label, text, title]) => node("div", {title}, node("dt", {}, label), node("dd", {}, text)))),
    shown.slices.length ? node("div", {className: "slices", role: "img", "aria-label": shown.sum}, ...shown.slices.map(([passed, title]) => node("i", {title, "data-passed": String(passed)}))) : null,
    shown.sum ? node("p", {className: "reason", title: [shown.sum, shown.remarks].filter(Boolean).join("\n")}, shown.sum) : null,
  )
  card.querySelector("header").insertBefore(verdict, card.querySelector(".age"))
  return card
}

function signaturesCard(shown, staleAfter) {
  const card = quantCard("signatures", shown, staleAfter)
  if (shown.reason) {
    card.append(node("div", {className: "void"}, node("b", {}, shown.reason), node("span", {}, "Features, and what each adds to volatility and bias, appear with a decision")))
    return card
  }
  const head = (text, title, span = 1) => node("th", {scope: "col", title, colSpan: span}, text)
  const [feature, value, toVolatility, toBias] = shown.heads
  const table = node("table", {},
    node("thead", {}, node("tr", {}, head(feature, "Words of the path's channels: 0 is time, 1 is log price"), head(value, "Iterated integral over 72 hourly closes, window-normalised"), head(toVolatility, shown.no_volatility || "What the feature adds to the volatility forecast, per day", 2), head(toBias, shown.no_bias || "What the feature adds to the bias", 2))),
    node("tbody", {}, ...shown.rows.map(({name, title, text, parts}) => node("tr", {title}, node("th", {scope: "row"}, name), node("td", {}, text), ...parts.flatMap((part) => [node("td", {className: "bar-cell"}, partBar(part.size)), node("td", {"data-missing": part.text === "—"}, part.text)])))))
  card.append(node("p", {className: "reason", title: shown.hint_title}, shown.hint), node("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": shown.title}, table), ...[shown.no_volatility, shown.no_bias].filter(Boolean).slice(0, 1).map((text) => reasonOf(text)))
  return card
}

function trainingHeader(card, hint) {
  card.querySelector(".age").replaceWith(node("span", {className: "hint"}, hint))
  return card
}

function noiseCard(shown) {
  const {ruler: found} = shown
  const scale = found && node("div", {className: "accuracy", title: "Accuracy on the validation days with its standard error; the upright line is the base rate", style: `--low:${found[0] - found[1]};--high:${found[0] + found[1]};--at:${found[0]};--base:${found[2]}`}, node("i", {className: "span"}), node("i", {className: "at"}), node("i", {className: "base"}))
  const card = quantCard("noise", shown, undefined,
    node("p", {className: "reason told", "data-beats": shown.beats, title: shown.verdict}, shown.verdict),
    factsOf(shown.facts, shown.verdict),
    scale)
  return trainingHeader(card, shown.hint)
}

function rateCard(shown) {
  const [lossLabel, accuracyLabel, chosenLabel] = shown.average_labels
  const card = quantCard("rate", shown, undefined,
    reasonOf(shown.reason),
    node("div", {className: "pair"}, past({values: shown.line, title: shown.line_title}), ticksOf(shown.metrics)),
    node("h3", {}, shown.averaging),
    node("table", {className: "averages"}, node("tbody", {}, ...shown.averages.map(({label, loss, accuracy, chosen, title}) => node("tr", {title, "data-chosen": chosen}, node("th", {scope: "row"}, label), node("td", {}, `${lossLabel} ${loss}`), node("td", {}, `${accuracyLabel} ${accuracy}`), node("td", {}, chosen ? chosenLabel : ""))))),
  )
  return trainingHeader(card, shown.hint)
}
