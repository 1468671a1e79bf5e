// Range buttons; a range made by a gesture is "<start ms>-<end ms>" and lights none of them.
function rangeButtons(names, choose) {
  const group = node("div", {className: "ranges", role: "group", "aria-label": "Range"})
  for (const name of names) group.append(node("button", {type: "button", onclick: () => choose(name)}, name))
  return group
}

function showRange(group, hint, range) {
  for (const button of group.children) button.setAttribute("aria-pressed", String(button.textContent === range))
  hint.textContent = /^\d+-\d+$/.test(range) ? shownSpan(...range.split("-").map(Number)) : "drawdown below, UTC"
}

function shownSpan(start, end) {
  const clockToo = end - start < 3 * 86400000
  const text = (ms) => {
    const iso = new Date(ms).toISOString()
    const day = new Date(ms).toLocaleDateString("en-GB", {day: "2-digit", month: "short", timeZone: "UTC"})
    return clockToo ? `${day} ${iso.slice(11, 16)}` : day
  }
  return `${text(start)} – ${text(end)} UTC`
}

function stepped(group, range, by) {
  const names = [...group.children].map((button) => button.textContent)
  const at = names.indexOf(range)
  return names[Math.min(names.length - 1, Math.max(0, (at < 0 ? names.length - 1 : at) + by))]
}
