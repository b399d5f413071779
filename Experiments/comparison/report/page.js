"use strict";
// Tables sort by a click on a heading: by number where cells begin with one, otherwise by text; dashes come last.
const value = (cell) => {
  const text = cell.textContent.trim();
  const number = parseFloat(text);
  return text === "-" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
};

const compare = (first, second) => {
  if (first === null || second === null) return (first === null) - (second === null);
  if (typeof first === "number" && typeof second === "number") return first - second;
  return String(first).localeCompare(String(second), undefined, { numeric: true });
};

for (const cell of document.querySelectorAll("td")) {
  if (/^(-|[-+]?[\d.]+(e[-+]?\d+)?%?( ± \S+)?( \(\S+\))?)$/.test(cell.textContent.trim())) cell.classList.add("number");
}

for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const falls = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
    rows.sort(([first], [second]) => {
      if (first === null || second === null) return compare(first, second);
      return falls ? compare(second, first) : compare(first, second);
    });
    body.append(...rows.map(([, row]) => row));
  });
}

// Folded tables are printed, too.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
