// A table's filter; `changed` is told its text at each keystroke and when it is cleared.
class FilterBox {
  constructor(placeholder, label, text, changed) {
    this.changed = changed
    this.input = node("input", {type: "search", value: text, placeholder, spellcheck: false, autocomplete: "off", "aria-label": label})
    this.input.addEventListener("input", () => changed(this.input.value.trim()))
    this.input.addEventListener("keydown", (event) => event.key === "Escape" && this.clear())
    this.el = node("label", {className: "filter"}, this.input, node("kbd", {"aria-hidden": "true"}, "/"))
  }

  clear() {
    this.input.value = ""
    this.input.blur()
    this.changed("")
  }
}
