// The keyboard map: Ctrl-K, ?, /, g and a letter, j and k through rows.
(() => {
  "use strict";
  let going = 0;
  const typing = (target) => target instanceof Element
    && target.closest("input, textarea, select, [contenteditable]") !== null;
  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a[href]"));
  const step = (by) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    next.querySelector("a[href]").focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      window.strongroom?.open("palette");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    switch (event.key) {
      case "g": going = Date.now(); break;
      case "j": step(1); break;
      case "k": step(-1); break;
      case "?": window.strongroom?.open("keys"); break;
      case "/": {
        event.preventDefault();
        const filter = document.querySelector("[data-filter]");
        if (filter) filter.focus(); else window.strongroom?.open("palette");
        break;
      }
      default:
    }
  });
})();
