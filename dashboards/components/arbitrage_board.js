export function render({model}) {
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const wanted = new URLSearchParams(location.search)
  const summary = new Summary()
  const exported = (table, ids) => model.send_msg({export: table, ids})
  const active = new LiveTable("active", {exported, sort: /^-?\w+$/.test(wanted.get("sort") ?? "") ? wanted.get("sort") : "-age", changed: () => remember()})
  const exits = new LiveTable("exits", {exported})
  const opportunities = new LiveTable("opportunities", {exported})
  const legOuts = new LiveTable("leg-outs", {exported})
  const capital = new CapitalChart()

  active.filter = (wanted.get("filter") ?? "").slice(0, 40)
  const box = new FilterBox("Filter ticker", "Filter the active trades by ticker", active.filter, (text) => {
    active.filter = text
    active.arrange()
    remember()
  })
  active.button.before(box.el)

  const root = node("div", {className: "live arbitrage"}, strip, summary.el, active.el, exits.el, opportunities.el, capital.el, legOuts.el)

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

  const keys = (event) => {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || (at instanceof HTMLElement && at.matches("input, textarea, select"))) return
    if (event.key === "/") box.input.select()
    else if (event.key === "Escape" && active.filter) box.clear()
    else return
    event.preventDefault()
  }

  const showOpportunities = () => opportunities.show(model.opportunities, [["", model.opportunities.rows], [model.removed.title, model.removed.rows]])

  return liveBoard(model, root, strip, {
    head: () => summary.show(model.head.summary),
    active: () => active.show(model.active, [["", model.active.rows]]),
    exits: () => exits.show(model.exits, [["", model.exits.rows]]),
    opportunities: showOpportunities,
    removed: showOpportunities,
    leg_outs: () => legOuts.show(model.leg_outs, [["", model.leg_outs.rows]]),
    capital: () => capital.show(model.capital),
  }, keys)
}
