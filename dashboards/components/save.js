// Hands the person a file.
function save({name, content}) {
  const type = name.endsWith(".csv") ? "text/csv" : "application/json"
  const link = node("a", {href: URL.createObjectURL(new Blob([content], {type})), download: name})
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
