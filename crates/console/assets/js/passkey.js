// Passkeys: carries what the server asks to the authenticator, and its answer into a form
// of ours, which is sent like any other. Nothing is kept, and no token comes by here.
(() => {
  "use strict";
  const passkeys = window.PublicKeyCredential;
  const able = Boolean(passkeys?.parseRequestOptionsFromJSON && passkeys.parseCreationOptionsFromJSON);
  const say = (form, text) => { form.querySelector("[data-passkey-said]").textContent = text; };
  const failed = "That did not work. Try again in a moment.";

  const asked = async (form) => {
    const body = new URLSearchParams(new FormData(form));
    const tenant = document.getElementById("tenant");
    if (tenant) body.set("tenant", tenant.value);
    const answer = await fetch(form.dataset.options, { method: "POST", body, headers: { "HX-Request": "true" } });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) {
      location.assign(elsewhere);
      return new Promise(() => {});
    }
    return answer.ok ? answer.json() : null;
  };
  const get = async (form) => {
    const options = await asked(form);
    return options && navigator.credentials.get({ publicKey: passkeys.parseRequestOptionsFromJSON(options) });
  };
  const create = (form) => navigator.credentials.create({
    publicKey: passkeys.parseCreationOptionsFromJSON(JSON.parse(form.dataset.options)),
  });
  const words = (error) => {
    if (error.name === "InvalidStateError") return "This device has a passkey of yours here already.";
    if (error.name === "NotAllowedError") return "Nothing was confirmed, or there is no passkey here that would do. Try again, or choose another way.";
    return failed;
  };
  const run = async (form) => {
    const tenant = document.getElementById("tenant");
    if (tenant && !tenant.reportValidity()) return;
    say(form, "");
    form.setAttribute("aria-busy", "true");
    try {
      const credential = await (form.dataset.passkey === "create" ? create(form) : get(form));
      if (!credential) { say(form, failed); return; }
      form.elements.credential.value = JSON.stringify(credential.toJSON());
      form.requestSubmit();
    } catch (error) {
      say(form, words(error));
    } finally { form.removeAttribute("aria-busy"); }
  };
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    if (!able) continue;
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      if (!form.hasAttribute("aria-busy")) run(form);
    });
    // Back from the browser's cache: an answer is good once.
    window.addEventListener("pageshow", () => { form.elements.credential.value = ""; });
  }
})();
