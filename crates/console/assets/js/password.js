// Which rules a password obeys, as it is typed. Nothing of it leaves the page; whether it
// is common, contains a name or was used before is answered when it is sent.
(() => {
  "use strict";
  const obeys = {
    length: (text, item) => [...text].length >= Number(item.dataset.least),
    upper: (text) => /\p{Lu}/u.test(text),
    lower: (text) => /\p{Ll}/u.test(text),
    digit: (text) => /\p{N}/u.test(text),
    special: (text) => /[^\p{L}\p{N}\p{Cc}]/u.test(text),
  };
  for (const list of document.querySelectorAll("[data-rules]")) {
    const input = document.getElementById(list.dataset.rules);
    const look = () => {
      for (const item of list.querySelectorAll("[data-rule]")) {
        const met = obeys[item.dataset.rule]?.(input.value, item) ?? false;
        item.toggleAttribute("data-met", met);
      }
    };
    input?.addEventListener("input", look);
    look();
  }
})();
