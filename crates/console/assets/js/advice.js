// How strong a new password is, asked of the server once the field is left: in the body of
// a POST, where no log sees it, and not on every key. Advice only; the rules decide.
(() => {
  "use strict";
  for (const box of document.querySelectorAll("[data-advice-of]")) {
    const input = document.getElementById(box.dataset.adviceOf);
    const [label, meter, notes] = ["p", "meter", "ul"].map((name) => box.querySelector(name));
    const show = (advice) => {
      label.textContent = advice.label;
      meter.value = advice.score;
      notes.replaceChildren(...advice.notes.map((text) => {
        const note = document.createElement("li");
        note.textContent = text;
        return note;
      }));
      box.hidden = false;
    };
    input?.addEventListener("input", () => { box.hidden = true; });
    input?.addEventListener("change", async () => {
      const asked = input.value;
      if (asked === "") return;
      const body = new URLSearchParams({ [input.name]: asked });
      const token = document.querySelector("meta[name=csrf-token]")?.content ?? "";
      const answer = await fetch(box.dataset.adviceFrom, {
        method: "POST", body, headers: { "X-CSRF-Token": token, "HX-Request": "true" },
      }).catch(() => undefined);
      // Too many, too busy, signed out: nobody needs advice to go on.
      if (!answer?.ok || input.value !== asked) return;
      show(await answer.json());
    });
  }
})();
