// Starts Swagger UI under Trusted Types: what it writes as HTML passes DOMPurify first.
// Scripts and addresses of scripts have no way in at all.
(() => {
  "use strict";
  const sanitize = window.DOMPurify.sanitize;
  window.trustedTypes?.createPolicy("default", { createHTML: (text) => sanitize(text) });
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const light = () => root.classList.toggle("dark-mode", root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  dark.addEventListener("change", light);
  light();
  window.SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger",
    layout: "BaseLayout",
    presets: [window.SwaggerUIBundle.presets.apis],
    deepLinking: true,
    filter: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    // Nothing is sent to anybody else, and no token is kept.
    validatorUrl: null,
    persistAuthorization: false,
    syntaxHighlight: false,
  });
})();
