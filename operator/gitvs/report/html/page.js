"use strict";

const find = (selector) => [...document.querySelectorAll(selector)];
const [tools, search, count, theme] = find("#tools, #search, #count, #theme");
const folds = find("details");

// Rows are searched, and what holds them: who finds a heading finds all below it.
const parts = [];
const known = new Map();
for (const element of find(".scope, .row")) {
  const heading = element.matches(".row")
    ? element
    : element.querySelector(":scope > .title, :scope > tr > .title");
  const part = {
    element,
    text: heading?.textContent.toLowerCase() ?? "",
    above: known.get(element.parentElement.closest(".scope")),
  };
  known.set(element, part);
  parts.push(part);
}
const rows = parts.filter((part) => part.element.matches(".row"));

// What a reader had folded before a search, is folded after it.
let folded = null;

function filter() {
  const wanted = search.value.trim().toLowerCase();
  for (const part of parts) {
    part.isFound = part.text.includes(wanted) || Boolean(part.above?.isFound);
    part.isShown = part.isFound;
  }
  for (const part of [...parts].reverse()) {
    if (part.isShown && part.above) part.above.isShown = true;
  }
  for (const { element, isShown } of parts) {
    if (element.hidden === isShown) element.hidden = !isShown;
  }
  unfoldFound(wanted);
  const shown = rows.filter((part) => part.isShown).length;
  const total = rows.length.toLocaleString("en");
  count.value = wanted ? `${shown.toLocaleString("en")} of ${total} rows` : `${total} rows`;
}

function unfoldFound(wanted) {
  folded ??= folds.filter((fold) => !fold.open);
  for (const fold of folded) fold.open = wanted !== "" && !fold.hidden;
  if (!wanted) folded = null;
}

search.addEventListener("input", filter);
search.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  search.value = "";
  filter();
});
tools.addEventListener("submit", (event) => event.preventDefault());

for (const [id, isOpen] of [["#unfold", true], ["#fold", false]]) {
  find(id)[0].addEventListener("click", () => folds.forEach((fold) => { fold.open = isOpen; }));
}

const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const other = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark" ? "light" : "dark";
const nameTheme = () => { theme.textContent = other() === "dark" ? "Dark" : "Light"; };

theme.addEventListener("click", () => {
  root.dataset.theme = other();
  nameTheme();
});
system.addEventListener("change", nameTheme);

nameTheme();
filter();
tools.hidden = false;
