// Drawings without data of their own: what they show comes as levels and shares from the server.
function scaled(viewBox, inside, className) {
  const svg = drawing(viewBox, inside, className)
  svg.removeAttribute("preserveAspectRatio")
  return svg
}

// 270 degrees from lower left to lower right, with 41 hairlines that brighten up to the value.
function radial({label, value, text, mark, note, title, reason}) {
  const [cx, cy, radius] = [60, 56, 46]
  const at = (share, r) => {
    const angle = ((135 + 270 * share) * Math.PI) / 180
    return `${(cx + r * Math.cos(angle)).toFixed(2)} ${(cy + r * Math.sin(angle)).toFixed(2)}`
  }
  const arc = (share) => `M${at(0, radius)}A${radius} ${radius} 0 ${share > 2 / 3 ? 1 : 0} 1 ${at(share, radius)}`
  const ticks = Array.from({length: 41}, (_, i) => `<path class="${value != null && i / 40 <= value ? "lit" : "dim"}" d="M${at(i / 40, 37.5)}L${at(i / 40, 40.5)}"/>`).join("")
  const threshold = mark == null ? "" : `<path class="mark" d="M${at(mark, 42)}L${at(mark, 52)}"/>`
  const reached = value == null ? "" : `<path class="arc" d="${arc(value)}"/><circle cx="${at(value, radius).split(" ")[0]}" cy="${at(value, radius).split(" ")[1]}" r="3.4"/>`
  const size = Math.min(25, 96 / text.length)
  const svg = scaled("6 3 108 89", `<path class="track" d="${arc(1)}"/>${ticks}${threshold}${reached}<text x="60" y="${56 + size * 0.36}" font-size="${size}">${text}</text>`, "radial")
  return node("div", {className: "gauge", role: "img", "aria-label": `${label} ${text} ${note || ""} ${reason || ""}`, "data-missing": value == null, title: reason ? `${title}\n${reason}` : title}, svg, node("b", {}, label), node("span", {}, note))
}

// A line through the past with gaps where nothing is known; its last value is a dot.
function past({values, mark, title}) {
  if (!values.length) return node("div", {className: "past none"}, "No past of two days yet")
  const el = node("div", {className: "past", title, role: "img", "aria-label": title})
  const x = (i) => ((i / (values.length - 1)) * 1000).toFixed(1)
  const y = (level) => (1000 - level).toFixed(0)
  let line = ""
  let pen = "M"
  values.forEach((level, i) => {
    if (level != null) line += `${pen}${x(i)} ${y(level)}`
    pen = level == null ? "M" : "L"
  })
  const under = values.includes(null) ? "" : `<path class="under" d="${line}L1000 1000H0Z"/>`
  const dashed = mark == null ? "" : `<path class="dashed" d="M0 ${1000 - 1000 * mark}H1000"/>`
  el.append(drawing("0 0 1000 1000", `${under}${dashed}<path class="over" d="${line}"/>`))
  const last = values[values.length - 1]
  if (last != null) el.append(node("i", {style: `top:${(1000 - last) / 10}%`}))
  return el
}

// Signed bars, one a day: solid above the middle, hollow below it, nothing where nothing is known.
function signedBars(levels, title) {
  if (!levels.length) return node("div", {className: "days none"}, "No past of two days yet")
  const el = node("div", {className: "days", role: "img", title, "aria-label": title})
  for (const level of levels) {
    const size = level == null ? 0 : Math.abs(level - 500) / 500
    el.append(node("i", {"data-side": level == null ? "none" : Math.sign(level - 500), style: `--size:${size}`}))
  }
  return el
}

// A ruler from -reach to +reach with a bar from zero and marks; `pointers` are [value, class].
function ruler({reach, value, marks, pointers}) {
  const at = (v) => 50 + (Math.max(-reach, Math.min(reach, v)) / reach) * 49.5
  const ticks = Array.from({length: 41}, (_, i) => {
    const x = (0.5 + i * 2.475).toFixed(2)
    const tall = i % 10 === 0 ? 13 : 7
    return `<path d="M${x} ${14 - tall / 2}V${14 + tall / 2}"${i === 20 ? ' class="zero"' : ""}/>`
  }).join("")
  const limits = marks.map((v) => `<path class="limit" d="M${at(v)} 4V24"/>`).join("")
  const bar = value == null ? "" : `<rect class="${value < 0 ? "hollow" : "solid"}" x="${Math.min(at(0), at(value))}" y="12.5" width="${Math.abs(at(value) - at(0))}" height="3"/>`
  return node("div", {className: "ruler"},
    drawing("0 0 100 28", `<g class="ticks">${ticks}<path d="M.5 14H99.5"/>${limits}</g>${bar}`),
    ...pointers.filter(([v]) => v != null).map(([v, kind]) => node("i", {className: `pointer ${kind}`, style: `left:${at(v)}%`})))
}

// A contribution: solid to the right, hollow to the left.
function partBar(size) {
  return node("i", {className: "part", "data-side": Math.sign(size), style: `--size:${Math.abs(size)}`})
}

function tick(passed) {
  const path = passed == null ? "M2 5H8" : passed ? "M1.5 5.4 4 7.8 8.6 2.4" : "M2.4 2.4 7.6 7.6M7.6 2.4 2.4 7.6"
  return scaled("0 0 10 10", `<path d="${path}"/>`, "tick")
}
