// Ages are counted in the browser from stored timestamps, so that they go on rising when nothing arrives any more.
// `ahead` is the server's clock minus this one, measured at every beat.
const clock = {ahead: 0, now: () => Date.now() + clock.ahead}

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 100) return `${s} s`
  if (s < 6000) return `${Math.floor(s / 60)} min`
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`
}

function localTime(ms) {
  const at = new Date(ms)
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC\n${at.toLocaleString()} local time`
}

// Every element with data-since shows its age; data-stale-after (seconds) marks it old.
function countAges(root) {
  for (const el of root.querySelectorAll("[data-since]")) {
    const age = clock.now() - Number(el.dataset.since)
    const shown = (el.dataset.prefix ?? "") + span(age) + (el.dataset.suffix ?? "")
    if (el.textContent !== shown) el.textContent = shown
    el.classList.toggle("old", age > 1000 * Number(el.dataset.staleAfter ?? Infinity))
  }
}

function ageOf(el, since, {staleAfter, prefix = "", suffix = ""} = {}) {
  if (since == null) {
    delete el.dataset.since
    el.textContent = ""
    return
  }
  el.dataset.since = since
  el.dataset.prefix = prefix
  el.dataset.suffix = suffix
  if (staleAfter != null) el.dataset.staleAfter = staleAfter
  el.title = localTime(since)
}

function node(tag, properties = {}, ...children) {
  const el = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("data-") || name.startsWith("aria-") || name === "role" || name === "style") el.setAttribute(name, value)
    else el[name] = value
  }
  el.append(...children)
  return el
}

function drawing(viewBox, inside, className = "") {
  const holder = document.createElement("div")
  holder.innerHTML = `<svg class="${className}" viewBox="${viewBox}" preserveAspectRatio="none" aria-hidden="true">${inside}</svg>`
  return holder.firstChild
}

// Gain and loss are told apart by sign, by filled against hollow, and by tone; never by hue.
function triangle(sign) {
  const path = sign > 0 ? "M4 1.2 7.4 7H.6Z" : "M4 6.8.9 1.4h6.2Z"
  const svg = drawing("0 0 8 8", sign ? `<path d="${path}"/>` : "", `tri ${sign > 0 ? "up" : "down"}`)
  svg.removeAttribute("preserveAspectRatio")
  return svg
}
