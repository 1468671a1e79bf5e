export function render({model}) {
  const strip = node("div", {className: "strip", role: "list", tabIndex: 0, "aria-label": "Status"})
  const button = exportButton("Every metric, exact, as CSV", () => model.send_msg({export: "metrics"}))
  button.setAttribute("aria-label", "Metrics as CSV")
  const records = model.records.columns.map((column) => column.map((record) => new MetricCard(record)))
  const levels = new StatusCard("levels", levelsOf)
  const alarms = new StatusCard("alarms", alarmsOf)
  const bus = new StatusCard("bus", busOf)
  const rejected = new StatusCard("rejected", rejectedOf)
  const root = node("div", {className: "live telemetry"}, node("div", {className: "head"}, strip, button),
    ...records.map((cards) => node("div", {className: "column"}, ...cards.map(({el}) => el))),
    node("div", {className: "column"}, levels.el, alarms.el, bus.el, rejected.el))

  return liveBoard(model, root, strip, {
    records: () => model.records.columns.forEach((column, i) => column.forEach((record, j) => records[i][j].show(record))),
    status: () => {
      levels.show(model.status.levels)
      alarms.show(model.status.alarms)
      bus.show(model.status.bus)
      rejected.show(model.status.rejected)
    },
  })
}
