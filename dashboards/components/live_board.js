// What both live boards are beside their parts: a strip that says when their writer fell silent, files to save, and a
// life that follows the model's. `draws` has a function for each part of the model.
function liveBoard(model, root, strip, draws, keys = () => {}) {
  const count = () => {
    countAges(root)
    for (const pill of strip.children) pill.count?.()
    const {since, stale_after, text, title} = model.head.freshness
    const stale = since != null && stale_after != null && clock.now() - since > 1000 * stale_after
    root.classList.toggle("stale", stale)
    const said = strip.querySelector(".staleness")
    if (!stale) said?.remove()
    else if (!said) {
      const pill = noticeOf({state: "attention", text, title})
      pill.classList.add("staleness")
      strip.prepend(pill)
    }
  }

  const head = () => {
    const {notices, pills} = model.head
    showPills(strip, pills, ...notices)
    root.classList.toggle("disconnected", notices.some(({state}) => state === "disconnected"))
    draws.head?.()
  }

  const beat = () => {
    clock.ahead = model.beat - Date.now()
    count()
    window.dispatchEvent(new CustomEvent("desk:beat", {detail: {now: model.beat, source: model.head.source}}))
  }

  for (const [name, draw] of Object.entries({...draws, head})) {
    draw()
    model.on(name, () => {
      draw()
      count()
    })
  }
  model.on("beat", beat)
  model.on("msg:custom", save)
  document.addEventListener("keydown", keys)
  const timer = setInterval(count, 1000)
  model.on("remove", () => {
    clearInterval(timer)
    document.removeEventListener("keydown", keys)
  })
  beat()
  return root
}

// The server makes the file, of what is stored: a browser's numbers have fewer digits.
function exportButton(title, exportNow) {
  return node("button", {type: "button", className: "export", title, onclick: exportNow}, "CSV")
}
