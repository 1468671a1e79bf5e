function emptyOf([what, then]) {
  return node("div", {className: "void"}, node("b", {}, what), node("span", {}, then))
}

// A card whose rows are few: made anew when it changed, its scroll kept.
class StatusCard {
  constructor(kind, body) {
    this.body = body
    this.title = node("h2")
    this.hint = node("span", {className: "hint"})
    this.scroll = node("div", {className: "scroll", tabIndex: 0, role: "region"})
    this.el = node("section", {className: `card ${kind}`}, node("header", {}, this.title, this.hint), this.scroll)
    this.shown = ""
  }

  show(shown) {
    const made = JSON.stringify(shown)
    if (made === this.shown) return
    this.shown = made
    this.title.textContent = shown.title
    this.hint.textContent = shown.hint ?? ""
    this.scroll.setAttribute("aria-label", shown.title)
    const at = this.scroll.scrollTop
    const body = this.body(shown, this)
    this.el.classList.toggle("bare", !body)
    this.scroll.replaceChildren(body ?? emptyOf(shown.empty))
    this.scroll.scrollTop = at
  }
}

function levelsOf({rows}) {
  if (!rows.length) return null
  return node("ul", {}, ...rows.map(({name, text, target, samples, met, state, reason, title}) =>
    node("li", {title, "data-passed": String(met)},
      tick(met), node("span", {className: "name"}, name), node("b", {}, text), node("em", {}, target),
      node("span", {className: "state"}, state), node("span", {className: "why"}, reason || samples))))
}

function alarmsOf({rows}) {
  if (!rows.length) return null
  return node("ul", {}, ...rows.map(({name, state, detail, suppressed, since, title}) => {
    const age = node("span", {className: "age"})
    ageOf(age, since, {prefix: "for "})
    return node("li", {title, "data-state": state}, node("i", {"aria-hidden": "true"}), node("span", {className: "name"}, name), node("span", {className: "state"}, state), node("span", {className: "why"}, [detail, suppressed].filter(Boolean).join(" · ")), age)
  }))
}

function busOf({state, note, facts}, card) {
  card.hint.textContent = state
  card.el.dataset.state = state
  if (!facts.length) return null
  const list = node("dl", {}, ...facts.map(([name, text, title]) => node("div", {title}, node("dt", {}, name), node("dd", {}, text))))
  return note ? node("div", {}, list, node("p", {className: "reason"}, note)) : list
}

function rejectedOf({rows}) {
  return rows.length ? node("dl", {}, ...rows.map(([reason, count]) => node("div", {}, node("dt", {}, reason), node("dd", {}, count)))) : null
}
