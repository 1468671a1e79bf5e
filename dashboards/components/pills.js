const SEVERITY = ["off", "ok", "link", "busy", "stale", "attention"]

function pillOf(pill) {
  const label = node("span", {}, pill.label)
  const text = node("b")
  const el = pill.href
    ? node("a", {href: pill.href, target: "_blank", rel: "noopener"}, node("i"), label, text)
    : node("span", {}, node("i"), label, text)
  el.className = "pill"
  el.setAttribute("role", "listitem")
  el.dataset.key = pill.key
  el.title = pill.since ? `${pill.title}\n${localTime(pill.since)}` : pill.title
  el.count = () => {
    const [state, shown] = judged(pill)
    el.dataset.state = state
    if (text.textContent !== shown) text.textContent = shown
  }
  el.count()
  return el
}

// The state the server gave, raised by what has aged since.
function judged(pill) {
  if (pill.marks) return judgedMarks(pill)
  let state = pill.state
  if (pill.since == null) return [state, pill.text]
  const age = clock.now() - pill.since
  const raise = (to) => { if (SEVERITY.indexOf(to) > SEVERITY.indexOf(state)) state = to }
  if (age > 1000 * (pill.stale_after ?? Infinity)) raise("stale")
  if (age > 1000 * (pill.attention_after ?? Infinity)) raise("attention")
  return [state, pill.text || span(age)]
}

function judgedMarks(pill) {
  const stale = pill.marks.filter(([symbol, at]) => pill.refused.includes(symbol) || clock.now() - at > 1000 * pill.stale_after)
  if (!stale.length) return ["ok", `${pill.marks.length} fresh`]
  const oldest = Math.min(...stale.map(([, at]) => at).filter((at) => at > 0))
  const since = Number.isFinite(oldest) ? `, ${span(clock.now() - oldest)}` : ""
  const state = stale.length === pill.marks.length ? "attention" : "stale"
  return [state, `${stale.length} stale${since}`]
}

function noticeOf({state, text, title}) {
  return node("span", {className: "pill notice", title, role: "status", "data-state": state === "loading" ? "busy" : "attention"}, node("i"), node("b", {}, text))
}

function showPills(strip, pills, ...notices) {
  strip.replaceChildren(...notices.filter(Boolean).map(noticeOf), ...pills.map(pillOf))
}
