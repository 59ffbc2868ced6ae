// The rules of a new password, checked while it is typed: a comfort beside the server's
// own check, which decides.
(() => {
  "use strict";
  const checks = {
    length: (text, value) => [...text].length >= value,
    upper: (text) => /\p{Lu}/u.test(text),
    lower: (text) => /\p{Ll}/u.test(text),
    digit: (text) => /\p{N}/u.test(text),
    special: (text) => /[^\p{L}\p{N}\p{Cc}]/u.test(text),
  };
  for (const list of document.querySelectorAll("[data-rules-of]")) {
    const input = document.getElementById(list.dataset.rulesOf);
    const look = () => {
      for (const rule of list.querySelectorAll("[data-rule]")) {
        const met = checks[rule.dataset.rule](input.value, Number(rule.dataset.value));
        if (met) rule.dataset.met = "yes"; else delete rule.dataset.met;
      }
    };
    input?.addEventListener("input", look);
  }
})();
