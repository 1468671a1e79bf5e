// What every page shares: the clock, the sign of life, the market's name, page keys and the keyboard overview.
// A board dispatches "desk:beat" on window each time the server spoke, with the server's time and the market.
(() => {
  const boot = JSON.parse(document.getElementById("boot").textContent)
  const SILENT_AFTER_MS = 4500
  const GIVE_UP_AFTER_MS = 30000
  let ahead = boot.now - Date.now()
  let heard = performance.now()
  let asking = false

  const now = () => new Date(Date.now() + ahead)
  const two = (n) => String(n).padStart(2, "0")
  const clock = document.querySelector(".now b")
  const day = document.querySelector(".now span")
  const lost = document.querySelector(".lost")
  const market = document.querySelector(".market")

  const showTime = () => {
    const at = now()
    clock.textContent = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`
    day.textContent = at.toLocaleDateString("en-GB", {weekday: "short", day: "2-digit", month: "short", timeZone: "UTC"}).replace(",", "")
    clock.parentElement.title = `${at.toLocaleTimeString()} local time`
  }

  // A restarted server has forgotten this page: only a reload makes its numbers live again. The address holds the view.
  const askWhoIsThere = async (silentFor) => {
    if (asking) return
    asking = true
    try {
      const answer = await fetch("boot", {cache: "no-store"})
      const {id} = await answer.json()
      if (id !== boot.id || silentFor > GIVE_UP_AFTER_MS) location.reload()
    } catch {
      // Nobody there yet; the next second asks again.
    } finally {
      asking = false
    }
  }

  const watch = () => {
    showTime()
    const silentFor = performance.now() - heard
    const silent = silentFor > SILENT_AFTER_MS && document.body.classList.contains("alive")
    document.body.classList.toggle("silent", silent)
    lost.hidden = !silent
    if (!silent) return
    lost.textContent = `Connection to the desk lost ${Math.round(silentFor / 1000)} s ago. Values are frozen; reconnecting.`
    askWhoIsThere(silentFor)
  }

  window.addEventListener("desk:beat", ({detail}) => {
    heard = performance.now()
    ahead = detail.now - Date.now()
    document.body.classList.add("alive")
    market.hidden = !detail.source
    if (detail.source) market.textContent = detail.source
  })

  // A background tab's timers sleep; coming back is not silence.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) heard = Math.max(heard, performance.now() - SILENT_AFTER_MS + 1500)
  })

  const sheet = document.querySelector(".sheet")
  const help = () => (sheet.open ? sheet.close() : sheet.showModal())
  document.querySelector(".help").addEventListener("click", help)
  const pages = document.querySelectorAll("nav a")

  document.addEventListener("keydown", (event) => {
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || (at instanceof HTMLElement && at.matches("input, textarea, select"))) return
    if (event.key === "?") help()
    else if (/^[1-8]$/.test(event.key) && pages[event.key - 1]) pages[event.key - 1].click()
    else return
    event.preventDefault()
  })

  watch()
  setInterval(watch, 1000)
})()
