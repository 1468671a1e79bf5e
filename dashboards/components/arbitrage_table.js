const SORT_ARROW = '<path d="M1 5.5 4 2.5 7 5.5"/>'

// A table that writes changed cells and nothing else: its rows are known by their id, so that scroll, focus and
// selection stay where they are while numbers move. Texts are put in as text, never as markup.
class LiveTable {
  constructor(kind, {exported, sort = "", changed = () => {}}) {
    this.groups = []
    this.columns = []
    this.sort = sort
    this.filter = ""
    this.changed = changed
    this.title = node("h2")
    this.hint = node("span", {className: "hint"})
    // A table that is sorted and filtered is saved as it stands; of the others rows come and go on the way.
    this.button = exportButton(`${sort ? "The shown rows, in the shown order" : "Every row shown"}, exact, as CSV`, () => exported(kind, sort ? this.ids() : null))
    this.head = node("tr")
    this.table = node("table", {}, node("thead", {}, this.head))
    this.scroll = node("div", {className: "scroll", tabIndex: 0, role: "region"}, this.table)
    this.nothing = node("div", {className: "void"})
    this.el = node("section", {className: `card table ${kind}`}, node("header", {}, this.title, node("span", {className: "tools"}, this.hint, this.button)), this.scroll, this.nothing)
  }

  // `groups` are [heading, rows]; the first one has no heading and is the one that is sorted and filtered.
  show({title, hint = "", columns, empty}, groups) {
    this.title.textContent = title
    this.scroll.setAttribute("aria-label", title)
    this.button.setAttribute("aria-label", `${title} as CSV`)
    this.hint.textContent = hint
    this.empty = empty
    if (!this.columns.length) this.heads(columns)
    groups.forEach(([heading, rows], at) => this.group(at, heading, rows))
    this.arrange()
  }

  heads(columns) {
    this.columns = columns
    for (const {key, head, title, kind} of columns) {
      const th = node("th", {scope: "col", "data-col": key, "data-kind": kind, title})
      if (kind === "bar") th.setAttribute("aria-hidden", "true")
      else if (this.sort && key) th.append(node("button", {type: "button", onclick: () => this.sortBy(key, kind)}, head, drawing("0 0 8 8", SORT_ARROW, "arrow")))
      else th.append(head)
      this.head.append(th)
    }
  }

  group(at, heading, rows) {
    if (!this.groups[at]) {
      const body = node("tbody")
      this.table.append(body)
      this.groups[at] = {body, rows: new Map(), head: null}
    }
    const group = this.groups[at]
    if (heading && !group.head) {
      group.head = node("tr", {className: "group"}, node("th", {scope: "rowgroup", colSpan: this.columns.length}))
    }
    if (group.head) group.head.firstChild.textContent = heading
    group.data = rows
    const present = new Set(rows.map(({id}) => id))
    for (const [id, tr] of group.rows) if (!present.has(id)) { tr.remove(); group.rows.delete(id) }
    const bar = this.columns.findIndex(({kind}) => kind === "bar")
    const largest = bar < 0 ? 1 : Math.max(...rows.map((row) => Math.abs(row.sort?.[bar - 1] ?? 0)), 1e-9)
    for (const row of rows) this.fill(group, row, bar, largest)
  }

  fill(group, row, bar, largest) {
    let tr = group.rows.get(row.id)
    if (!tr) {
      tr = node("tr", {}, ...this.columns.map(({key, kind}, i) => node(i ? "td" : "th", {"data-col": key, "data-kind": kind, ...(i ? {} : {scope: "row"}), ...(kind === "bar" ? {"aria-hidden": "true"} : {})})))
      tr.shown = []
      group.rows.set(row.id, tr)
    }
    row.cells.forEach((cell, i) => {
      const made = JSON.stringify(cell)
      if (tr.shown[i] === made) return
      tr.shown[i] = made
      fillCell(tr.children[i], this.columns[i].kind, cell)
    })
    tr.dataset.sign = row.sign
    tr.classList.toggle("quiet", Boolean(row.quiet))
    if (tr.title !== row.title) tr.title = row.title
    const tag = row.tag ?? ""
    if ((tr.dataset.tag ?? "") !== tag) {
      tr.dataset.tag = tag
      tr.firstChild.querySelector(".tag")?.remove()
      if (tag) tr.firstChild.append(node("span", {className: "tag"}, tag))
    }
    if (bar >= 0) {
      if (!tr.children[bar].firstChild) tr.children[bar].append(node("span", {className: "bar", "aria-hidden": "true"}))
      tr.children[bar].firstChild.style.setProperty("--size", Math.abs(row.sort[bar - 1] ?? 0) / largest)
    }
  }

  // Filtered, then sorted by number; what has no value comes last whichever way.
  arranged({data}, at) {
    if (at || (!this.sort && !this.filter)) return data
    const wanted = this.filter.toUpperCase()
    const shown = data.filter(({sort}) => sort[0].toUpperCase().includes(wanted))
    const key = this.sort.replace("-", "")
    const by = this.columns.findIndex((column) => column.key === key)
    if (by < 0) return shown
    const way = this.sort.startsWith("-") ? -1 : 1
    const compare = (a, b) => (typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b)
    return shown.sort((one, other) => {
      const [a, b] = [one.sort[by], other.sort[by]]
      if (a === null || b === null) return (a === null) - (b === null)
      return way * compare(a, b) || compare(one.id, other.id)
    })
  }

  arrange() {
    for (const th of this.head.children) {
      if (!this.sort || th.dataset.kind === "bar") continue
      const active = th.dataset.col === this.sort.replace("-", "")
      th.setAttribute("aria-sort", active ? (this.sort.startsWith("-") ? "descending" : "ascending") : "none")
    }
    let count = 0
    this.groups.forEach((group, at) => {
      const wanted = this.arranged(group, at).map(({id}) => group.rows.get(id))
      count += wanted.length
      if (group.head && wanted.length) wanted.unshift(group.head)
      const {body} = group
      if (wanted.length !== body.children.length || wanted.some((tr, i) => body.children[i] !== tr)) body.replaceChildren(...wanted)
    })
    this.el.classList.toggle("bare", !count)
    this.nothing.hidden = count > 0
    this.button.disabled = !count
    if (count) return
    const filtered = this.filter && this.groups[0].data.length
    const [what, then] = filtered ? [`No ticker contains “${this.filter}”`, "Esc clears the filter"] : this.empty
    this.nothing.replaceChildren(node("b", {}, what), node("span", {}, then))
  }

  ids() {
    return this.arranged(this.groups[0], 0).map(({id}) => id)
  }

  sortBy(key, kind) {
    const now = this.sort.replace("-", "") === key
    this.sort = now ? (this.sort.startsWith("-") ? key : `-${key}`) : kind === "text" ? key : `-${key}`
    this.arrange()
    this.changed()
  }
}

function fillCell(td, kind, cell) {
  const {text = cell, title = "", unit = "", missing = false} = typeof cell === "object" ? cell : {}
  td.classList.toggle("missing", missing)
  if (title) td.title = title
  else td.removeAttribute("title")
  if (kind === "quotes") td.replaceChildren(...quotesOf(cell))
  else if (kind === "confidence") td.replaceChildren(confidenceOf(cell))
  else if (kind !== "bar") td.replaceChildren(text, ...(unit ? [node("small", {}, ` ${unit}`)] : []), ...(td.querySelector(".tag") ? [td.querySelector(".tag")] : []))
}

// Both sides of a venue's quote; the one that would be traded at stands out.
function quotesOf({venue, bid, ask, take}) {
  return [node("span", {className: "venue"}, venue), node(take ? "span" : "b", {}, bid), node("i", {}, " / "), node(take ? "b" : "span", {}, ask)]
}

// The score, what it is made of as a sum, and the same as a bar of 100 points.
function confidenceOf({score, parts}) {
  const bar = node("span", {className: "points", "aria-hidden": "true"}, ...parts.map(([name, points]) => node("i", {"data-part": name, style: `width:${points}%`})))
  return node("span", {className: "score"}, node("b", {}, score), node("span", {className: "sum"}, ` = ${parts.map(([, points]) => points).join("+")}`), bar)
}
