// The keyboard map: Ctrl-K, ?, /, g and a letter, j and k through rows. The single
// letters can be turned off (WCAG 2.1.4): whoever speaks to the machine, or slips on its
// keys, would set them off unasked. The choice outlives the session, so it is a cookie
// and not the storage that signing out clears; it tells nobody anything.
(() => {
  "use strict";
  const OFF = "__Host-strongroom-keys=off";
  const YEAR_S = 31536000;
  let going = 0;
  const lettersAreOff = () => document.cookie.split("; ").includes(OFF);
  const keep = (on) => {
    const age = on ? 0 : YEAR_S;
    document.cookie = `${OFF}; Path=/; Secure; SameSite=Strict; Max-Age=${age}`;
  };
  // Nobody types into a box that is ticked, nor into a dialog that has closed, where focus
  // may stay.
  const typing = (target) => target instanceof Element
    && target.closest("dialog:not([open])") === null
    && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a[href]"));
  const step = (by) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    next.querySelector("a[href]").focus();
    next.scrollIntoView({ block: "nearest" });
  };

  const focused = () => rows().find((row) => row.contains(document.activeElement));
  const mark = (event) => {
    const box = focused()?.querySelector("input[type=checkbox]");
    if (!box) return;
    event.preventDefault();
    box.checked = !box.checked;
  };
  // What is marked; where nothing is, the row; on a page of one thing, that. Never more than
  // a question is opened by a letter.
  const decide = (event) => {
    const target = document.querySelector("[data-key=e]");
    if (!target) return;
    event.preventDefault();
    const row = focused();
    if (row && !document.querySelector("main tbody input:checked")) row.querySelector("a[href]").click();
    else target.click();
  };

  // The switch stands in the help, which the account menu opens as well. Without scripts
  // there are no shortcuts and so no switch.
  const help = document.querySelector("#keys .keys");
  if (help) {
    const label = document.createElement("label");
    label.className = "check keys-choice";
    const box = document.createElement("input");
    box.type = "checkbox";
    box.id = "keys-letters";
    box.checked = !lettersAreOff();
    box.addEventListener("change", () => keep(box.checked));
    label.append(box, " Shortcuts of a single letter or sign");
    help.after(label);
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      window.strongroom?.open("palette");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]") || lettersAreOff()) return;
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
      case "x": mark(event); break;
      case "e": decide(event); break;
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
