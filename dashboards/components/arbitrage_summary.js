// The eight figures of the summary: label, number, and below it a note or why there is none.
function figureOf({label, whole, rest, title, note, reason, sign, delta, share}) {
  const below = node("dd", {className: "delta", "data-sign": sign})
  if (delta) below.append(...(sign ? [triangle(sign)] : []), node("b", {}, delta))
  below.append(node("span", {className: reason ? "reason" : "", title: reason || note}, reason || note))
  const chars = whole.length + rest.length
  return node("div", {className: "fact", title, "data-sign": sign, "data-missing": Boolean(reason)},
    node("dt", {}, label),
    node("dd", {className: "number", style: `--chars:${Math.max(6, chars)}`}, node("span", {}, whole), node("small", {}, rest)),
    ...(share == null ? [] : [node("dd", {className: "share", "aria-hidden": "true"}, node("i", {style: `width:${100 * share}%`}))]),
    below)
}

class Summary {
  constructor() {
    this.age = node("span", {className: "age"})
    this.title = node("h2")
    this.list = node("dl")
    this.el = node("section", {className: "card summary"}, node("header", {}, this.title, this.age), this.list)
    this.shown = []
  }

  show({title, figures, since, stale_after}) {
    this.title.textContent = title
    this.el.setAttribute("aria-label", title)
    ageOf(this.age, since, {suffix: " old", staleAfter: stale_after})
    figures.forEach((figure, i) => {
      const made = JSON.stringify(figure)
      if (this.shown[i] === made) return
      this.shown[i] = made
      const el = figureOf(figure)
      if (this.list.children[i]) this.list.children[i].replaceWith(el)
      else this.list.append(el)
    })
  }
}
