// Comforts of forms, all of which the pages can do without: copying, printing, showing a
// password, the theme without a reload, faults in focus, no second submission.
(() => {
  "use strict";
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      window.strongroom?.say("Copied");
    } catch { window.strongroom?.say("Copying is not allowed here"); }
  };
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const code = target?.closest("[data-copy-code]");
    if (code) copy(code.closest(".code")?.querySelector("code")?.textContent ?? "");
    const text = target?.closest("[data-copy]");
    if (text) copy(text.dataset.copy);
    if (target?.closest("[data-print]")) window.print();
    const reveal = target?.closest("[data-reveal]");
    if (reveal) {
      const input = document.getElementById(reveal.dataset.reveal);
      const shown = input.type === "text";
      input.type = shown ? "password" : "text";
      reveal.textContent = shown ? "Show" : "Hide";
      reveal.setAttribute("aria-pressed", String(!shown));
      input.focus();
    }
  });
  for (const button of document.querySelectorAll("[data-reveal]")) button.hidden = false;
  document.querySelector("[data-focus]")?.focus();

  // What a page keeps over its own lifetime only: a form is sent once.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.method === "dialog") return;
    if (form.matches("[data-theme-form]")) { theme(event, form); return; }
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  });
  // Back from the browser's cache: forms may be sent again.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }
  });

  const theme = async (event, form) => {
    const chosen = event.submitter?.value;
    if (!chosen) return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form));
    body.set("theme", chosen);
    const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
    if (!answer.ok) { window.strongroom?.say("That did not work. Try again in a moment."); return; }
    const root = document.documentElement;
    if (chosen === "system") delete root.dataset.theme; else root.dataset.theme = chosen;
    for (const button of form.querySelectorAll("button[name=theme]")) {
      button.setAttribute("aria-pressed", String(button.value === chosen));
    }
  };
})();
