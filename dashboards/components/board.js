export function render({model}) {
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const figures = node("div", {className: "figures"})
  const hint = node("span", {className: "hint"})
  const plot = node("div", {className: "plot"}, model.get_child("chart"))
  const hollow = node("div", {className: "void"})
  const exposureCard = node("section", {className: "card exposure"})
  const rebalanceCard = node("section", {className: "card rebalance"})
  const exported = (table, ids) => model.send_msg({export: table, ids})
  const positionsTable = new PositionsTable(model.view, () => remember(), exported)

  let range = model.range
  let shownRange = range
  const choose = (name) => {
    range = name
    model.range = name
    follow()
  }
  const ranges = rangeButtons(model.desk.ranges, choose)
  const chart = node("section", {className: "card chart", "aria-label": "Portfolio Value over time"},
    node("header", {}, node("h2", {}, model.desk.cards[0].title), hint), ranges, plot, hollow)
  const root = node("div", {className: "desk"}, strip, figures, chart, exposureCard, positionsTable.el, rebalanceCard)

  const show = () => {
    const desk = model.desk
    showPills(strip, desk.pills, desk.notice)
    figures.replaceChildren(...desk.cards.map(cardOf))
    chart.classList.toggle("bare", Boolean(desk.chart.reason))
    hollow.hidden = !desk.chart.reason
    hollow.replaceChildren(node("b", {}, desk.chart.reason), node("span", {}, "Started by: desk up"))
    root.classList.toggle("disconnected", desk.notice?.state === "disconnected")
    showExposure(exposureCard, desk.exposure)
    positionsTable.show(desk.positions)
    showRebalance(rebalanceCard, desk.rebalance)
    follow()
    count()
  }

  const count = () => {
    countAges(root)
    for (const pill of strip.children) pill.count?.()
  }

  const follow = () => {
    shownRange = range
    showRange(ranges, hint, range)
    if (model.desk.chart.loading) hint.textContent = "loading history"
    remember()
  }

  // The address holds the view, so that a reload after a restart shows the same; written late, gestures come in floods.
  let pending = 0
  const remember = () => {
    clearTimeout(pending)
    pending = setTimeout(() => {
      const query = new URLSearchParams(location.search)
      const put = (name, value, plain) => (value && value !== plain ? query.set(name, value) : query.delete(name))
      put("range", shownRange, "")
      put("sort", positionsTable.sortName(), "-pnl")
      put("filter", positionsTable.filter, "")
      const wanted = `${location.pathname}${query.size ? "?" + query : ""}`
      if (wanted !== location.pathname + location.search) history.replaceState(null, "", wanted)
    }, 200)
  }

  const beat = () => {
    clock.ahead = model.beat - Date.now()
    count()
    window.dispatchEvent(new CustomEvent("desk:beat", {detail: {now: model.beat, source: model.desk.source}}))
  }

  const keys = (event) => {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || (at instanceof HTMLElement && at.matches("input, textarea, select"))) return
    if (event.key === "/") positionsTable.box.input.focus()
    else if (event.key === "Escape" && positionsTable.filter) positionsTable.box.clear()
    else if (event.key === "[") choose(stepped(ranges, range, -1))
    else if (event.key === "]") choose(stepped(ranges, range, 1))
    else return
    event.preventDefault()
  }

  model.on("msg:custom", save)
  model.on("desk", show)
  model.on("beat", beat)
  model.on("range", () => {
    range = model.range
    follow()
  })
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
