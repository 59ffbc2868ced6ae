// The documentation's index: narrows the list while one types. Without scripts the form
// asks the server for the same.
(() => {
  "use strict";
  const field = document.querySelector("[data-narrow]");
  if (!field) return;
  const none = document.getElementById("docs-none");
  const narrow = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const area of document.querySelectorAll("[data-area]")) {
      let here = 0;
      for (const row of area.querySelectorAll("[data-words]")) {
        row.hidden = !words.every((word) => row.dataset.words.includes(word));
        if (!row.hidden) here += 1;
      }
      area.hidden = here === 0;
      left += here;
    }
    if (none) none.hidden = left > 0;
  };
  field.addEventListener("input", narrow);
})();
