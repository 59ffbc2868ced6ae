// Every request of htmx carries the session's form token; slow answers show that they
// are under way, failed ones say so.
(() => {
  "use strict";
  const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";
  document.addEventListener("htmx:config:request", (event) => {
    const headers = event.detail?.ctx?.request?.headers;
    if (headers) headers["X-CSRF-Token"] = token();
  });
  for (const name of ["htmx:error", "htmx:response:error"]) {
    document.addEventListener(name, () => window.strongroom?.say("That did not work. Try again in a moment."));
  }
})();
