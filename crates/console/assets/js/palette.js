// The command palette: places by fuzzy name at once, accounts and customers from the
// server as it answers. Arrow keys and Enter; the links work by themselves.
(() => {
  "use strict";
  const dialog = document.getElementById("palette");
  const input = document.getElementById("palette-input");
  const places = document.getElementById("palette-places");
  const list = document.getElementById("palette-list");
  if (!dialog || !input || !places || !list) return;
  const empty = list.querySelector(".palette-empty");

  // Letters in order, early and together is better; 0 where one is missing.
  const score = (name, wanted) => {
    let at = -1, points = 1;
    for (const letter of wanted) {
      const found = name.indexOf(letter, at + 1);
      if (found < 0) return 0;
      points += found === at + 1 ? 3 : 1;
      if (found === 0 || name[found - 1] === " ") points += 2;
      at = found;
    }
    return points;
  };
  const items = () => [...list.querySelectorAll(".palette-item")];
  const select = (item) => {
    for (const other of items()) other.setAttribute("aria-selected", String(other === item));
    if (item) { item.id ||= `palette-${Math.random().toString(36).slice(2)}`; input.setAttribute("aria-activedescendant", item.id); }
    else input.removeAttribute("aria-activedescendant");
    item?.scrollIntoView({ block: "nearest" });
  };
  const show = () => {
    const wanted = input.value.trim().toLowerCase();
    const links = [...document.querySelectorAll(".sidebar-link")]
      .map((link) => ({ link, points: wanted ? score(link.dataset.label.toLowerCase(), wanted) : 1 }))
      .filter((found) => found.points > 0)
      .sort((left, right) => right.points - left.points);
    places.replaceChildren(...links.map(({ link }) => {
      const item = document.createElement("a");
      item.className = "palette-item";
      item.href = link.href;
      item.tabIndex = -1;
      item.setAttribute("role", "option");
      const words = document.createElement("span");
      words.textContent = link.dataset.label;
      const kind = document.createElement("small");
      kind.textContent = "Go to";
      const icon = link.querySelector("svg");
      if (icon) item.append(icon.cloneNode(true));
      item.append(words, kind);
      return item;
    }));
    settle();
  };
  const settle = () => {
    const all = items();
    if (empty) empty.hidden = all.length > 0;
    select(all[0]);
  };
  input.addEventListener("input", show);
  dialog.addEventListener("strongroom:open", () => { input.value = ""; document.getElementById("palette-hits").replaceChildren(); show(); input.focus(); });
  document.addEventListener("htmx:after:swap", settle);
  input.addEventListener("keydown", (event) => {
    // A search field would take the first Escape for itself.
    if (event.key === "Escape") { event.preventDefault(); dialog.close(); return; }
    const all = items();
    const at = all.findIndex((item) => item.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown") { event.preventDefault(); select(all[Math.min(at + 1, all.length - 1)]); }
    if (event.key === "ArrowUp") { event.preventDefault(); select(all[Math.max(at - 1, 0)]); }
    if (event.key === "Enter") { event.preventDefault(); all[at]?.click(); }
  });
})();
