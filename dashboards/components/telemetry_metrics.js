// One record's metrics: name, trend, value, unit, age. Rows are made once; texts are put in as text.
class MetricCard {
  constructor({title, heads, rows}) {
    const head = node("thead", {}, node("tr", {}, ...heads.map((text) => node("th", {scope: "col"}, node("span", {className: "unseen"}, text)))))
    const columns = node("colgroup", {}, ...["name", "trend", "value", "unit", "age"].map((key) => node("col", {className: key})))
    this.rows = rows.map(({name}) => {
      const cells = ["trend", "value", "unit", "age"].map((key) => node("td", {className: key}))
      return {cells, shown: "", tr: node("tr", {"data-metric": name}, node("th", {scope: "row"}, name), ...cells)}
    })
    this.el = node("section", {className: "card record", "aria-label": title, style: `--rows:${rows.length}`},
      node("header", {}, node("h2", {}, title), this.hint = node("span", {className: "hint"})),
      node("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": title}, node("table", {}, columns, head, node("tbody", {}, ...this.rows.map(({tr}) => tr)))))
  }

  show({rows, hint, hint_title}) {
    this.hint.textContent = hint
    this.hint.title = hint_title
    rows.forEach((row, i) => {
      const made = JSON.stringify(row)
      const {tr, cells, shown} = this.rows[i]
      if (made === shown) return
      this.rows[i].shown = made
      const [trend, value, unit, age] = cells
      tr.title = row.title
      tr.dataset.sign = row.sign
      tr.dataset.missing = Boolean(row.reason)
      // Words need the room of the trend, which they do not have.
      const wide = Boolean(row.reason) || row.words
      trend.hidden = wide
      value.colSpan = wide ? 2 : 1
      trend.replaceChildren(wide ? "" : row.line.length ? past({values: row.line, title: `${row.name}, the newest ${row.line.length} values`}) : row.alone)
      value.replaceChildren(row.reason ? node("span", {className: "why"}, node("span", {className: "reason"}, row.reason), node("span", {}, row.text)) : row.text)
      unit.textContent = row.unit
      ageOf(age, row.since, {staleAfter: row.stale_after ?? undefined})
      age.classList.remove("old")
      if (row.stale_after == null) delete age.dataset.staleAfter
    })
  }
}
