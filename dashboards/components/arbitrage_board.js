export function render({model}) {
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const wanted = new URLSearchParams(location.search)
  const summary = new Summary()
  const active = new LiveTable("active", {sort: /^-?\w+$/.test(wanted.get("sort") ?? "") ? wanted.get("sort") : "-age", changed: () => remember()})
  const exits = new LiveTable("exits")
  const opportunities = new LiveTable("opportunities")
  const legOuts = new LiveTable("leg-outs")
  const capital = new CapitalChart()

  const input = node("input", {type: "search", placeholder: "Filter ticker", spellcheck: false, autocomplete: "off", "aria-label": "Filter the active trades by ticker"})
  const filterBy = (text) => {
    active.filter = text.trim()
    active.arrange()
    remember()
  }
  const clear = () => {
    input.value = ""
    input.blur()
    filterBy("")
  }
  input.addEventListener("input", () => filterBy(input.value))
  input.addEventListener("keydown", (event) => event.key === "Escape" && clear())
  active.tools.append(node("label", {className: "filter"}, input, node("kbd", {"aria-hidden": "true"}, "/")))
  active.filter = input.value = (wanted.get("filter") ?? "").slice(0, 40)

  const root = node("div", {className: "arbitrage"}, strip, summary.el, active.el, exits.el, opportunities.el, capital.el, legOuts.el)

  const showHead = () => {
    const {notices, pills} = model.head
    showPills(strip, pills, null)
    strip.prepend(...notices.map(noticeOf))
    summary.show(model.head.summary)
    root.classList.toggle("disconnected", notices.some(({state}) => state === "disconnected"))
    count()
  }

  const count = () => {
    countAges(root)
    for (const pill of strip.children) pill.count?.()
    const {since, stale_after, text, title} = model.head.freshness
    const stale = since != null && clock.now() - since > 1000 * stale_after
    root.classList.toggle("stale", stale)
    const said = strip.querySelector(".staleness")
    if (!stale) said?.remove()
    else if (!said) {
      const pill = noticeOf({state: "attention", text, title})
      pill.classList.add("staleness")
      strip.prepend(pill)
    }
  }

  const showOpportunities = () => opportunities.show(model.opportunities, [["", model.opportunities.rows], [model.removed.title, model.removed.rows]])

  const show = {
    head: showHead,
    active: () => active.show(model.active, [["", model.active.rows]]),
    exits: () => exits.show(model.exits, [["", model.exits.rows]]),
    opportunities: showOpportunities,
    removed: showOpportunities,
    leg_outs: () => legOuts.show(model.leg_outs, [["", model.leg_outs.rows]]),
    capital: () => capital.show(model.capital),
  }

  // The address holds the view, so that a reload after a restart shows the same.
  let pending = 0
  const remember = () => {
    clearTimeout(pending)
    pending = setTimeout(() => {
      const query = new URLSearchParams(location.search)
      const put = (name, value, plain) => (value && value !== plain ? query.set(name, value) : query.delete(name))
      put("sort", active.sort, "-age")
      put("filter", active.filter, "")
      const address = `${location.pathname}${query.size ? "?" + query : ""}`
      if (address !== location.pathname + location.search) history.replaceState(null, "", address)
    }, 200)
  }

  const beat = () => {
    clock.ahead = model.beat - Date.now()
    count()
    window.dispatchEvent(new CustomEvent("desk:beat", {detail: {now: model.beat, source: model.head.source}}))
  }

  const keys = (event) => {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || (at instanceof HTMLElement && at.matches("input, textarea, select"))) return
    if (event.key === "/") input.select()
    else if (event.key === "Escape" && active.filter) clear()
    else return
    event.preventDefault()
  }

  for (const [name, draw] of Object.entries(show)) model.on(name, draw)
  model.on("beat", beat)
  document.addEventListener("keydown", keys)
  const timer = setInterval(count, 1000)
  model.on("remove", () => {
    clearInterval(timer)
    document.removeEventListener("keydown", keys)
  })

  for (const draw of Object.values(show)) draw()
  beat()
  return root
}

function noticeOf({state, text, title}) {
  return node("span", {className: "pill notice", title, role: "status", "data-state": state === "loading" ? "busy" : "attention"}, node("i"), node("b", {}, text))
}
