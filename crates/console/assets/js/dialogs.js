// Dialogs, drawers, menus, toasts: opened by data-open, closed by data-close, Esc and
// a click beside them.
(() => {
  "use strict";
  const say = (text) => {
    const toasts = document.getElementById("toasts");
    if (!toasts) return;
    const toast = document.createElement("div");
    toast.className = "toast";
    const words = document.createElement("p");
    words.textContent = text;
    toast.append(words);
    toasts.append(toast);
    leave(toast, 6000);
  };
  const leave = (toast, after_ms) => setTimeout(() => toast.remove(), after_ms);
  const open = (id) => {
    const dialog = document.getElementById(id);
    if (dialog instanceof HTMLDialogElement && !dialog.open) {
      for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
      if (id === "as-api") follow(dialog);
      dialog.showModal();
      dialog.dispatchEvent(new CustomEvent("strongroom:open"));
    }
  };
  // The drawer was drawn with the page; a list that filters have swapped in since brings
  // the request that gives it, and what that request cannot say.
  const follow = (drawer) => {
    const now = document.querySelector("[data-as-api]");
    const code = drawer.querySelector("pre code");
    if (!now || !code) return;
    code.textContent = now.dataset.asApi;
    let note = drawer.querySelector("[data-note]");
    if (!note) {
      note = document.createElement("p");
      note.className = "soft small";
      note.dataset.note = "";
      drawer.append(note);
    }
    note.textContent = now.dataset.asApiNote;
    note.hidden = note.textContent === "";
  };
  window.strongroom = Object.freeze({ say, open });
  for (const toast of document.querySelectorAll(".toast")) leave(toast, 8000);

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    const opener = target.closest("[data-open]");
    if (opener) { event.preventDefault(); open(opener.dataset.open); return; }
    const closer = target.closest("[data-close]");
    if (closer) { event.preventDefault(); closer.closest("dialog")?.close(); return; }
    const dismiss = target.closest("[data-dismiss]");
    if (dismiss) { dismiss.closest(".toast")?.remove(); return; }
    // A click on the dialog itself is one on its backdrop: its content fills it.
    if (target instanceof HTMLDialogElement) {
      const box = target.getBoundingClientRect();
      const inside = event.clientX >= box.left && event.clientX <= box.right
        && event.clientY >= box.top && event.clientY <= box.bottom;
      if (!inside) target.close();
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });
  // Whoever tabs on leaves the menu behind.
  document.addEventListener("focusin", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
  });
})();
