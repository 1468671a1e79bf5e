function showExposure(card, shown) {
  const age = node("span", {className: "age"})
  ageOf(age, shown.since, {prefix: "marks ", suffix: " old"})
  const body = shown.reason ? [emptiness(shown.reason, "Long and short blocks appear with the first baseline")] : [blocks(shown), ...netExposure(shown), weights(shown.weights)]
  card.replaceChildren(node("header", {}, node("h2", {}, "Exposure"), age), ...body)
}

function emptiness(what, then) {
  return node("div", {className: "void"}, node("b", {}, what), node("span", {}, then))
}

function blocks({long, short}) {
  return node("div", {className: "blocks"}, blockOf("Long", long, 1), blockOf("Short", short, -1))
}

function blockOf(name, block, side) {
  const delta = node("p", {className: "delta", "data-sign": block.sign})
  if (block.sign) delta.append(triangle(block.sign))
  delta.append(node("b", {}, block.pnl), node("span", {}, "P&L"))
  const el = node("div", {className: "block", "data-side": side},
    node("p", {className: "what"}, chip(side), node("span", {}, `${block.count} ${block.count === 1 ? "position" : "positions"}`)),
    node("p", {className: "number", style: `--chars:${block.notional.length + block.cents.length}`}, node("span", {}, block.notional), node("small", {}, block.cents)),
    node("p", {className: "of"}, node("b", {}, block.share), " of portfolio value"),
    delta,
  )
  if (block.unvalued.length) el.append(node("p", {className: "reason"}, `without ${block.unvalued.join(", ")}: no price`))
  return el
}

function chip(side) {
  return node("span", {className: "chip", "data-side": side}, side > 0 ? "Long" : side < 0 ? "Short" : "Flat")
}

// A ruler from -1 to +1 (wider when the book is), a bar from zero and a pointer.
function netExposure({net}) {
  const head = node("div", {className: "net"}, node("h3", {}, "Net exposure"), node("span", {className: "number"}, net.text))
  if (net.value == null) return [head, node("p", {className: "reason"}, "A held symbol has no price")]
  const reach = Math.max(1, Math.ceil(Math.abs(net.value) * 10) / 10)
  const at = (value) => 50 + (value / reach) * 49.5
  const ticks = Array.from({length: 41}, (_, i) => {
    const x = (0.5 + i * 2.475).toFixed(2)
    const tall = i % 10 === 0 ? 13 : 7
    return `<path d="M${x} ${14 - tall / 2}V${14 + tall / 2}"${i === 20 ? ' class="zero"' : ""}/>`
  }).join("")
  const from = Math.min(at(0), at(net.value))
  const width = Math.abs(at(net.value) - at(0))
  const bar = `<rect class="${net.value < 0 ? "hollow" : "solid"}" x="${from}" y="12.5" width="${width}" height="3"/>`
  const ruler = node("div", {className: "ruler"}, drawing("0 0 100 28", `<g class="ticks">${ticks}<path d="M.5 14H99.5"/></g>${bar}`), node("i", {className: "pointer", style: `left:${at(net.value)}%`}))
  const edge = reach.toFixed(reach % 1 ? 1 : 0)
  return [head, ruler, node("div", {className: "ends"}, node("span", {}, `−${edge} short`), node("span", {}, "0"), node("span", {}, `long +${edge}`))]
}

// One bar a position, largest long first: solid up for long, hollow down for short.
function weights(list) {
  const largest = Math.max(...list.map(([, weight]) => Math.abs(weight)), 1e-9)
  const bars = node("div", {className: "weights", role: "img", style: `--count:${list.length}`, "aria-label": "Weight of each position, largest long to largest short"})
  for (const [symbol, weight, text] of list) {
    bars.append(node("i", {title: `${symbol} ${text}`, "data-side": Math.sign(weight), style: `--size:${Math.abs(weight) / largest}`}))
  }
  const ends = node("div", {className: "ends"})
  if (list.length) {
    const [first, last] = [list[0], list[list.length - 1]]
    ends.append(node("span", {}, `${first[0]} ${first[2]}`))
    if (list.length > 1) ends.append(node("span", {}, `${last[0]} ${last[2]}`))
  }
  return node("div", {className: "book"}, bars, ends)
}
