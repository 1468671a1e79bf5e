const SILENT_AFTER_MS = 4500

// Why what is shown is not the present; "" while it is. A decision holds for its own UTC day and for fresh data only.
function stalenessOf({as_of, stale_after, day, begins, ends, absence}, now) {
  if (absence) return ""
  if (begins == null) return "the decision does not say of which day it is"
  if (now < begins || now >= ends) return `decided for ${day}, not for today`
  if (as_of == null) return "the decision does not say how old its data are"
  const age = now - as_of
  return age > 1000 * stale_after ? `data ${span(age)} old, the limit is ${span(1000 * stale_after)}` : ""
}

function actionOf(action, exportNow) {
  if (action.href) return node("a", {className: "action", href: action.href, target: "_blank", rel: "noopener", title: action.title}, action.label)
  if (action.export) return node("button", {type: "button", className: "action", title: action.title, onclick: exportNow}, action.label)
  return node("button", {type: "button", className: "action", title: action.off, "aria-disabled": "true", "aria-description": action.off}, action.label, node("small", {}, action.short))
}

export function render({model}) {
  let symbol = model.symbol
  let heard = performance.now()

  const heading = node("h1", {}, model.quant.title)
  const choices = node("div", {className: "ranges", role: "group", "aria-label": "Symbol"})
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const head = node("div", {className: "head"}, heading, choices, strip)
  const cards = node("div", {className: "cards"})
  const last = node("span", {className: "when"})
  const next = node("span", {className: "when"})
  const connection = node("span", {className: "when connection", role: "status"})
  const foot = node("footer", {}, last, next, connection)
  const root = node("div", {className: "quant"}, head, cards, foot)
  let gate = null

  const exportNow = () => model.send_msg({export: symbol})
  head.append(node("div", {className: "actions"}, ...model.quant.actions.header.map((action) => actionOf(action, exportNow))))
  foot.append(node("div", {className: "actions"}, ...model.quant.actions.footer.map((action) => actionOf(action, exportNow))))
  for (const {name, label} of model.quant.symbols) choices.append(node("button", {type: "button", value: name, title: name, onclick: () => choose(name)}, label))

  const choose = (name) => {
    symbol = name
    const query = new URLSearchParams(location.search)
    query.set("symbol", model.quant.symbols.find((each) => each.name === name).label)
    history.replaceState(null, "", `${location.pathname}?${query}`)
    show()
  }

  const show = () => {
    const {shown: all, notice} = model.quant
    const shown = all[symbol]
    for (const button of choices.children) button.setAttribute("aria-pressed", String(button.value === symbol))
    showPills(strip, shown.pills, notice)
    root.classList.toggle("disconnected", notice?.state === "disconnected")
    const after = shown.freshness.stale_after
    gate = gateCard(shown.gate, after)
    const scrolled = cards.querySelector(".scroll")?.scrollTop ?? 0
    cards.replaceChildren(gate, biasCard(shown.bias, after), performanceCard(shown.performance, after), executionCard(shown.execution, after), stoppingCard(shown.stopping, after), validationCard(shown.validation, after), signaturesCard(shown.signatures, after), noiseCard(shown.noise_robust), rateCard(shown.learning_rate))
    const scroll = cards.querySelector(".scroll")
    if (scroll) scroll.scrollTop = scrolled
    count()
  }

  const count = () => {
    const {shown: all, notice} = model.quant
    const shown = all[symbol]
    const stale = stalenessOf(shown.freshness, clock.now())
    gate.count(stale)
    root.classList.toggle("stale", Boolean(stale))
    announce(stale)
    countAges(root)
    for (const pill of strip.children) pill.count?.()
    when(last, shown.footer.last, (at) => `${clockOf(at)}, ${span(clock.now() - at)} ago`)
    when(next, shown.footer.next, (at) => `${clockOf(at)}, ${at > clock.now() ? `in ${span(at - clock.now())}` : `${span(clock.now() - at)} overdue`}`)
    const silent = performance.now() - heard > SILENT_AFTER_MS
    const {label, live, lost, disconnected} = shown.footer.connection
    const state = silent ? lost : notice?.state === "disconnected" ? disconnected : live
    connection.dataset.state = state === live ? "ok" : "attention"
    if (connection.dataset.shown !== state) {
      connection.dataset.shown = state
      connection.replaceChildren(node("i"), `${label} `, node("b", {}, state))
    }
  }

  // The first pill, in inverse: nobody should have to look for it.
  const announce = (stale) => {
    const text = stale ? `Stale: ${stale}` : ""
    const said = strip.querySelector(".staleness")
    if (!text) said?.remove()
    else if (said) said.lastChild.textContent = text
    else strip.prepend(node("span", {className: "pill staleness", role: "status", "data-state": "attention"}, node("i"), node("b", {}, text)))
  }

  const clockOf = (at) => `${new Date(at).toLocaleDateString("en-GB", {day: "2-digit", month: "short", timeZone: "UTC"})} ${new Date(at).toISOString().slice(11, 16)} UTC`
  const when = (el, {label, at, reason}, text) => {
    const shown = at == null ? "—" : text(at)
    if (el.dataset.shown === shown) return
    el.dataset.shown = shown
    el.title = at == null ? reason : localTime(at)
    el.replaceChildren(`${label} `, node("b", {}, shown))
  }

  const beat = () => {
    heard = performance.now()
    clock.ahead = model.beat - Date.now()
    count()
    window.dispatchEvent(new CustomEvent("desk:beat", {detail: {now: model.beat, source: model.quant.source}}))
  }

  const keys = (event) => {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || (at instanceof HTMLElement && at.matches("input, textarea, select"))) return
    const names = model.quant.symbols.map(({name}) => name)
    const step = {"[": -1, "]": 1}[event.key]
    if (!step) return
    choose(names[Math.min(names.length - 1, Math.max(0, names.indexOf(symbol) + step))])
    event.preventDefault()
  }

  model.on("quant", show)
  model.on("beat", beat)
  model.on("msg:custom", save)
  document.addEventListener("keydown", keys)
  const timer = setInterval(count, 1000)
  model.on("remove", () => {
    clearInterval(timer)
    document.removeEventListener("keydown", keys)
  })

  show()
  beat()
  return root
}
