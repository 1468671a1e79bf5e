function showRebalance(card, shown) {
  const scrolled = card.querySelector(".facts")?.scrollTop ?? 0
  const age = node("span", {className: "age"})
  ageOf(age, shown.since, {suffix: " ago"})
  const head = node("header", {}, node("h2", {}, "Last rebalance"), age)
  if (shown.reason) {
    card.replaceChildren(head, emptiness(shown.reason, "t0, t1 and the sizing identity appear with its first rebalance"))
    return
  }
  const facts = node("div", {className: "facts", tabIndex: 0, role: "region", "aria-label": "Last rebalance"},
    node("div", {className: "file"}, node("span", {className: "status", "data-status": shown.status, title: shown.why}, shown.status), node("b", {title: `${shown.file}\nsha256 ${shown.sha}`}, shown.file), node("span", {title: shown.sha}, `sha ${shown.sha_short}`)),
    node("dl", {className: "anchors"}, ...shown.anchors.flatMap(([name, time, exact]) => node("div", {title: exact}, node("dt", {}, name), node("dd", {}, time)))),
    ...warningsOf(shown).map((warning) => node("p", {className: "warning"}, warning)),
    identityOf(shown),
    ...leftOut(shown.dropped),
  )
  if (shown.run) facts.append(node("a", {className: "run", href: shown.run, target: "_blank", rel: "noopener"}, "Open the run in Dagster"))
  card.replaceChildren(head, facts)
  facts.scrollTop = scrolled
}

function warningsOf({status, why, warnings}) {
  return why && status !== "executed" && status !== "executing" ? [why, ...warnings] : warnings
}

// pv_pre = gross + rounding + dropped + untradable, written as the sum it is.
function identityOf({identity, pv_source, pv_time}) {
  if (!identity) return node("p", {className: "warning"}, "pre_execution.json states no sizing residual")
  const line = (label, whole, rest, share, className = "") =>
    node("tr", {className}, node("th", {scope: "row"}, label), node("td", {}, whole, node("small", {}, rest)), node("td", {}, share))
  const table = node("table", {className: "identity"})
  identity.terms.forEach(([label, whole, rest, share], i) => table.append(line(label, whole, rest, share, i ? "" : "first")))
  const [whole, rest] = identity.pv_pre
  const sum = line("pv_pre", whole, rest, identity.exact ? "exact" : identity.difference, "sum")
  sum.title = identity.exact ? "The four terms add up to pv_pre to the last digit" : "The four terms do not add up to pv_pre"
  sum.firstChild.append(node("span", {title: pv_time}, pv_source))
  table.append(sum)
  return table
}

function leftOut(rows) {
  if (!rows.length) return []
  return [node("ul", {className: "dropped"}, ...rows.map(([symbol, why, notional]) => node("li", {}, node("b", {}, symbol), node("span", {}, why), node("span", {}, notional))))]
}
