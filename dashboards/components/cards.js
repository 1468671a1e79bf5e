function cardOf(card) {
  const el = node("section", {className: "card figure", "data-card": card.id, "data-tone": card.tone})
  const age = node("span", {className: "age"})
  ageOf(age, card.since, {staleAfter: card.stale_after})
  const digits = card.whole.length + card.rest.length
  el.append(
    node("header", {}, node("h2", {}, card.title), age),
    node("p", {className: "number", style: `--chars:${digits}`}, node("span", {}, card.whole), node("small", {}, card.rest), ...(card.unit ? [node("em", {}, card.unit)] : [])),
  )
  if (card.reason) el.append(node("p", {className: "reason"}, card.reason))
  if (card.delta) el.append(deltaOf(card.delta))
  if (card.spark?.length) el.append(sparkOf(card.spark))
  if (card.parts) el.append(partsOf(card))
  return el
}

function deltaOf({sign, text, note}) {
  const el = node("p", {className: "delta", "data-sign": sign})
  if (sign) el.append(triangle(sign))
  if (text) el.append(node("b", {}, text))
  el.append(node("span", {}, note))
  return el
}

function sparkOf(values) {
  const x = (i) => ((i / (values.length - 1)) * 100).toFixed(2)
  const y = (v) => (96 - v * 0.92).toFixed(1)
  const line = values.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("")
  return drawing("0 0 100 100", `<path class="under" d="${line}L100 100H0Z"/><path class="over" d="${line}"/>`, "spark")
}

// A share of something: solid for the first part, then lighter, the last one hollow.
function partsOf({parts, legend}) {
  const whole = parts.reduce((sum, [, size]) => sum + size, 0)
  const bar = node("div", {className: "parts"})
  for (const [name, size] of parts) {
    if (size > 0) bar.append(node("i", {title: name, style: `flex-grow:${size / whole}`, "data-part": name}))
  }
  const el = node("div", {className: "share"}, bar)
  if (legend) el.prepend(node("dl", {className: "legend"}, ...legend.map(([name, text]) => node("div", {}, node("dt", {}, name), node("dd", {}, text)))))
  return el
}
