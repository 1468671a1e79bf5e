const ARROW = '<path d="M1 5.5 4 2.5 7 5.5"/>'
const PNL = 7

class PositionsTable {
  constructor(view, changed, exported) {
    this.sort = {key: "pnl", descending: true}
    this.filter = view.filter ?? ""
    this.changed = changed
    this.rows = new Map()
    const wanted = /^(-?)(\w+)$/.exec(view.sort ?? "")
    if (wanted) this.sort = {key: wanted[2], descending: wanted[1] === "-"}

    this.hint = node("span", {className: "hint"})
    this.age = node("span", {className: "age"})
    this.box = new FilterBox("Filter symbol", "Filter by symbol", this.filter, (text) => {
      this.filter = text
      this.arrange()
      this.changed()
    })
    this.button = node("button", {type: "button", className: "export", title: "The shown rows, in the shown order, as CSV", onclick: () => exported("positions", this.view().map((row) => row.cells[0]))}, "CSV")
    this.head = node("tr")
    this.body = node("tbody")
    this.nothing = node("div", {className: "void"})
    this.scroll = node("div", {className: "scroll", tabIndex: 0, role: "region", "aria-label": "Positions"}, node("table", {}, node("thead", {}, this.head), this.body))
    this.el = node("section", {className: "card positions"},
      node("header", {}, node("h2", {}, "Positions"), node("span", {className: "tools"}, this.hint, this.age, this.box.el, this.button)),
      this.scroll, this.nothing)
  }

  show({columns, rows, open, reason, since}) {
    if (!this.head.children.length) this.columns(columns)
    this.data = rows
    this.reason = reason
    this.hint.textContent = reason ? "" : `${open} open`
    this.el.classList.toggle("bare", Boolean(reason))
    ageOf(this.age, reason ? null : since, {prefix: "marks ", suffix: " old"})
    this.largest = Math.max(...rows.map((row) => Math.abs(row.sort[PNL] ?? 0)), 1e-9)
    const present = new Set(rows.map((row) => row.cells[0]))
    for (const [symbol, el] of this.rows) if (!present.has(symbol)) { el.remove(); this.rows.delete(symbol) }
    for (const row of rows) this.fill(row)
    this.arrange()
  }

  columns(columns) {
    this.names = columns.map(([key]) => key)
    if (!this.names.includes(this.sort.key)) this.sort = {key: "pnl", descending: true}
    for (const [key, title, explanation] of columns) {
      const arrow = drawing("0 0 8 8", ARROW, "arrow")
      const button = node("button", {type: "button", title: explanation, onclick: () => this.sortBy(key)}, title, arrow)
      this.head.append(node("th", {scope: "col", "data-col": key}, button))
    }
    this.head.append(node("th", {"data-col": "bar", "aria-hidden": "true"}))
  }

  fill(row) {
    const symbol = row.cells[0]
    let tr = this.rows.get(symbol)
    if (!tr) {
      tr = node("tr", {}, ...this.names.map((name) => node("td", {"data-col": name})), node("td", {"data-col": "bar"}, node("span", {className: "bar"})))
      this.rows.set(symbol, tr)
    }
    row.cells.forEach((text, i) => {
      const td = tr.children[i]
      if (this.names[i] === "side") { if (td.dataset.side !== String(row.side)) td.replaceChildren(chip(row.side)) ; td.dataset.side = row.side }
      else if (td.textContent !== text) td.textContent = text
      td.classList.toggle("missing", row.sort[i] === null)
    })
    const pnl = row.sort[PNL]
    tr.dataset.sign = Math.sign(pnl ?? 0)
    tr.classList.toggle("flat", row.side === 0)
    tr.classList.toggle("stale", row.stale)
    tr.title = row.note
    if (!row.in_csv) tr.children[this.names.indexOf("target")].textContent = "not in CSV"
    const bar = tr.lastChild.firstChild
    bar.style.setProperty("--size", Math.abs(pnl ?? 0) / this.largest)
  }

  // The rows as shown: filtered, then sorted by number, missing ones last whichever way.
  view() {
    const at = this.names.indexOf(this.sort.key)
    const way = this.sort.descending ? -1 : 1
    const wanted = this.filter.toUpperCase()
    const shown = this.data.filter((row) => row.cells[0].toUpperCase().includes(wanted))
    const compare = (a, b) => (typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b)
    return shown.sort((one, other) => {
      const [a, b] = [one.sort[at], other.sort[at]]
      if (a === null || b === null) return (a === null) - (b === null)
      return way * compare(a, b) || compare(one.cells[0], other.cells[0])
    })
  }

  arrange() {
    if (!this.data) return
    for (const th of this.head.children) {
      if (th.dataset.col === "bar") continue
      const active = th.dataset.col === this.sort.key
      th.setAttribute("aria-sort", active ? (this.sort.descending ? "descending" : "ascending") : "none")
    }
    const shown = this.view()
    const wanted = shown.map((row) => this.rows.get(row.cells[0]))
    if (wanted.length !== this.body.children.length || wanted.some((tr, i) => this.body.children[i] !== tr)) this.body.replaceChildren(...wanted)
    this.scroll.classList.toggle("bare", !shown.length)
    this.nothing.hidden = shown.length > 0
    if (!shown.length) {
      const filtered = this.data.length > 0
      this.nothing.replaceChildren(
        node("b", {}, filtered ? `No symbol contains “${this.filter}”` : this.reason),
        node("span", {}, filtered ? "Esc clears the filter" : "Each row of the file becomes a row here once it is sized"))
    }
    this.button.disabled = !shown.length
  }

  sortBy(key) {
    const text = key === "symbol"
    this.sort = this.sort.key === key ? {key, descending: !this.sort.descending} : {key, descending: !text}
    this.arrange()
    this.changed()
  }

  sortName() {
    return (this.sort.descending ? "-" : "") + this.sort.key
  }
}
