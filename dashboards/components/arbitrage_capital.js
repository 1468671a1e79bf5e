// Equity above on its own scale, available and open capital below from zero; one crosshair with a readout.
const BAND = 0.6 // of the height, for equity

class CapitalChart {
  constructor() {
    this.title = node("h2")
    this.hint = node("span", {className: "hint"})
    this.plot = node("div", {className: "day", tabIndex: 0, role: "img"})
    this.times = node("div", {className: "times", "aria-hidden": "true"})
    this.nothing = node("div", {className: "void"})
    this.el = node("section", {className: "card capital"}, node("header", {}, this.title, this.hint), this.plot, this.times, this.nothing)
    this.cross = node("i", {className: "cross", hidden: true})
    this.dot = node("i", {className: "dot", hidden: true})
    this.plot.addEventListener("pointermove", (event) => this.point((event.clientX - this.plot.getBoundingClientRect().left) / (this.plot.clientWidth - AXIS)))
    this.plot.addEventListener("pointerleave", () => this.leave())
    this.plot.addEventListener("blur", () => this.leave())
    this.plot.addEventListener("keydown", (event) => this.keyed(event))
  }

  show(shown) {
    this.data = shown
    this.title.textContent = shown.title
    const bare = !shown.points.length
    this.el.classList.toggle("bare", bare)
    this.nothing.hidden = !bare
    if (bare) {
      this.nothing.replaceChildren(node("b", {}, shown.empty[0]), node("span", {}, shown.empty[1]))
      this.plot.replaceChildren()
      this.plot.setAttribute("aria-label", shown.empty[0])
      this.leave()
      return
    }
    this.plot.setAttribute("aria-label", `${shown.title}: ${shown.summary}`)
    this.draw()
    this.leave()
  }

  draw() {
    const {points, start, end, capital} = this.data
    const known = points.map(([, , , equity]) => equity).filter((equity) => equity != null)
    const scale = niceScale(Math.min(...known, capital), Math.max(...known, capital), 3)
    const most = {high: 1.02 * Math.max(...points.map(([, available, open]) => Math.max(available, open)), capital), ticks: [0, capital]}
    this.x = (ms) => (1000 * (ms - start)) / (end - start)
    this.equity = (value) => 1000 * (0.03 + (BAND - 0.06) * (1 - (value - scale.low) / (scale.high - scale.low)))
    const floor = (value) => 1000 * (BAND + 0.06 + (1 - BAND - 0.07) * (1 - value / most.high))
    const path = (pick, y) => {
      let line = "", pen = "M"
      for (const point of points) {
        const value = pick(point)
        if (value != null) line += `${pen}${this.x(point[0]).toFixed(1)} ${y(value).toFixed(1)}`
        pen = value == null ? "M" : "L"
      }
      return line
    }
    const last = points[points.length - 1]
    const opened = `${path((point) => point[2], floor)}L${this.x(last[0]).toFixed(1)} ${floor(0)}L${this.x(points[0][0]).toFixed(1)} ${floor(0)}Z`
    const grid = [...scale.ticks.map((value) => [this.equity(value), value]), ...most.ticks.map((value) => [floor(value), value])]
    const lines = grid.map(([y]) => `<path class="grid" d="M0 ${y.toFixed(1)}H1000"/>`).join("")
    this.svg = drawing("0 0 1000 1000", `${lines}<path class="start" d="M0 ${this.equity(capital).toFixed(1)}H1000"/><path class="open" d="${opened}"/><path class="available" d="${path((point) => point[1], floor)}"/><path class="equity" d="${path((point) => point[3], this.equity)}"/>`)
    const marks = grid.map(([y, value]) => node("span", {className: "mark", style: `top:${y / 10}%`}, short(value)))
    this.plot.replaceChildren(node("div", {className: "canvas"}, this.svg, this.cross, this.dot), ...marks)
    this.times.replaceChildren(...[0, 6, 12, 18, 24].map((hour) => node("span", {style: `left:${(hour / 24) * 100}%`}, `${String(hour).padStart(2, "0")}:00`)))
  }

  point(share) {
    if (!this.data?.points.length) return
    const {points, start, end} = this.data
    const at = start + Math.max(0, Math.min(1, share)) * (end - start)
    let best = 0
    points.forEach(([ms], i) => { if (Math.abs(ms - at) < Math.abs(points[best][0] - at)) best = i })
    this.pick(best)
  }

  pick(index) {
    const [ms, available, open, equity] = this.data.points[this.picked = index]
    const [equityLabel, availableLabel, openLabel] = this.data.labels
    this.cross.hidden = false
    this.cross.style.left = `${this.x(ms) / 10}%`
    this.hint.replaceChildren(`${new Date(ms).toISOString().slice(11, 16)}  `, `${equityLabel} `, node("b", {}, amount(equity)), ` ${availableLabel} `, node("b", {}, amount(available)), ` ${openLabel} `, node("b", {}, amount(open)))
  }

  leave() {
    const {points = [], labels} = this.data ?? {}
    this.picked = points.length - 1
    this.cross.hidden = true
    const last = points[points.length - 1]
    this.dot.hidden = !last || last[3] == null
    if (!last) return this.hint.replaceChildren()
    if (last[3] != null) {
      this.dot.style.left = `${this.x(last[0]) / 10}%`
      this.dot.style.top = `${this.equity(last[3]) / 10}%`
    }
    const [equity, available, open] = labels
    this.hint.replaceChildren(node("i", {className: "key", "data-line": "equity"}), `${equity} `, node("i", {className: "key", "data-line": "available"}), `${available} `, node("i", {className: "key", "data-line": "open"}), open)
  }

  keyed(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key]
    if (!step || !this.data?.points.length) return
    this.pick(Math.max(0, Math.min(this.data.points.length - 1, this.picked + step)))
    this.plot.setAttribute("aria-label", this.hint.textContent)
    event.preventDefault()
  }
}

const AXIS = 58 // px to the right of the drawing, for its marks

// Round limits around low and high with about `wanted` steps; a flat line gets room around it.
function niceScale(low, high, wanted) {
  const span = high - low || Math.abs(high) * 0.01 || 1
  const raw = span / wanted
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw)
  const bottom = Math.floor(low / step) * step
  const top = Math.max(Math.ceil(high / step) * step, bottom + step)
  const ticks = []
  for (let value = bottom; value <= top + step / 2; value += step) ticks.push(value)
  return {low: bottom, high: top, ticks}
}

function amount(value) {
  return value == null ? "—" : value.toLocaleString("en-US", {minimumFractionDigits: 2, maximumFractionDigits: 2}).replace("-", "−")
}

function short(value) {
  const [unit, suffix] = Math.abs(value) >= 1e9 ? [1e9, " bn"] : Math.abs(value) >= 1e6 ? [1e6, " m"] : [1, ""]
  return (value / unit).toLocaleString("en-US", {maximumFractionDigits: suffix ? 2 : 0}).replace("-", "−") + suffix
}
