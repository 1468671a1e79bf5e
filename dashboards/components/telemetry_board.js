export function render({model}) {
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const records = model.records.columns.map((column) => column.map((record) => new MetricCard(record)))
  const levels = new StatusCard("levels", levelsOf)
  const alarms = new StatusCard("alarms", alarmsOf)
  const bus = new StatusCard("bus", busOf)
  const rejected = new StatusCard("rejected", rejectedOf)
  const root = node("div", {className: "telemetry"}, strip,
    ...records.map((cards) => node("div", {className: "column"}, ...cards.map(({el}) => el))),
    node("div", {className: "column"}, levels.el, alarms.el, bus.el, rejected.el))

  const showHead = () => {
    const {notices, pills} = model.head
    showPills(strip, pills, null)
    strip.prepend(...notices.map(noticeOf))
    root.classList.toggle("disconnected", notices.some(({state}) => state === "disconnected"))
    count()
  }

  const showRecords = () => {
    model.records.columns.forEach((column, i) => column.forEach((record, j) => records[i][j].show(record)))
    count()
  }

  const showStatus = () => {
    levels.show(model.status.levels)
    alarms.show(model.status.alarms)
    bus.show(model.status.bus)
    rejected.show(model.status.rejected)
    count()
  }

  const count = () => {
    countAges(root)
    for (const pill of strip.children) pill.count?.()
    const {since, stale_after, text, title} = model.head.freshness
    const stale = since != null && stale_after != null && clock.now() - since > 1000 * stale_after
    root.classList.toggle("stale", stale)
    const said = strip.querySelector(".staleness")
    if (!stale) said?.remove()
    else if (!said) {
      const pill = noticeOf({state: "attention", text, title})
      pill.classList.add("staleness")
      strip.prepend(pill)
    }
  }

  const beat = () => {
    clock.ahead = model.beat - Date.now()
    count()
    window.dispatchEvent(new CustomEvent("desk:beat", {detail: {now: model.beat, source: model.head.source}}))
  }

  model.on("head", showHead)
  model.on("records", showRecords)
  model.on("status", showStatus)
  model.on("beat", beat)
  const timer = setInterval(count, 1000)
  model.on("remove", () => clearInterval(timer))

  showHead()
  showRecords()
  showStatus()
  beat()
  return root
}

function noticeOf({state, text, title}) {
  return node("span", {className: "pill notice", title, role: "status", "data-state": state === "loading" ? "busy" : "attention"}, node("i"), node("b", {}, text))
}
