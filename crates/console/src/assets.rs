//! Owns the files that pages load: one style sheet, our script, htmx, the font.
//! Embedded, named by their content, kept for ever by browsers.
//!
//! Refuses anything inline: the policy would not let it run.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, header};

use crate::fault::Fault;

/// One file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: Vec<u8>,
}

/// The cascade layers, in order.
const STYLES: [&str; 7] = [
    include_str!("../assets/css/tokens.css"),
    include_str!("../assets/css/base.css"),
    include_str!("../assets/css/shell.css"),
    include_str!("../assets/css/components.css"),
    include_str!("../assets/css/pages.css"),
    include_str!("../assets/css/docs.css"),
    include_str!("../assets/css/utilities.css"),
];

/// Our modules; each is a function of its own.
const SCRIPTS: [&str; 9] = [
    include_str!("../assets/js/htmx.js"),
    include_str!("../assets/js/dialogs.js"),
    include_str!("../assets/js/forms.js"),
    include_str!("../assets/js/keys.js"),
    include_str!("../assets/js/palette.js"),
    include_str!("../assets/js/passkey.js"),
    include_str!("../assets/js/passwords.js"),
    include_str!("../assets/js/advice.js"),
    include_str!("../assets/js/docs.js"),
];

const HTMX: &str = include_str!("../assets/vendor/htmx-4.0.1.min.js");
const HTMX_CSP: &str = include_str!("../assets/vendor/hx-csp-4.0.1.min.js");
/// For `/docs/swagger` alone; packed, see the README beside them.
const SWAGGER: [(&str, &str, &[u8]); 4] = [
    (
        "swagger-ui.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/vendor/swagger-ui/swagger-ui-bundle-5.35.0.js.gz"),
    ),
    (
        "swagger-ui.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/vendor/swagger-ui/swagger-ui-5.35.0.css.gz"),
    ),
    (
        "purify.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/vendor/swagger-ui/purify-3.4.18.min.js.gz"),
    ),
    (
        "swagger-start.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/js/swagger/start.js"),
    ),
];
/// What a packed file begins with (RFC 1952).
const PACKED: [u8; 2] = [0x1f, 0x8b];
const LATIN: &[u8] = include_bytes!("../assets/fonts/inter-latin-wght-normal.woff2");
const LATIN_EXT: &[u8] = include_bytes!("../assets/fonts/inter-latin-ext-wght-normal.woff2");
const FAVICON: &str = include_str!("../assets/favicon.svg");
/// A guilloche, as on securities: the sign-in's ornament, drawn by ourselves.
const ROSETTE: &str = include_str!("../assets/rosette.svg");

/// Where the files are, for templates.
pub(crate) struct Addresses {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) htmx: String,
    pub(crate) htmx_csp: String,
    pub(crate) font: String,
    pub(crate) icon: String,
    pub(crate) rosette: String,
}

static FILES: LazyLock<Vec<(String, Asset)>> = LazyLock::new(files);
static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| Addresses {
    style: address("app.css"),
    script: address("app.js"),
    htmx: address("htmx.js"),
    htmx_csp: address("htmx-csp.js"),
    font: address("inter-latin.woff2"),
    icon: address("icon.svg"),
    rosette: address("rosette.svg"),
});

/// Where the files are.
pub(crate) fn addresses() -> &'static Addresses {
    &ADDRESSES
}

/// Where a file is, by its name.
pub(crate) fn address(name: &str) -> String {
    let found = FILES.iter().find(|(_, asset)| asset.name == name);
    found.map(|(hash, asset)| format!("/assets/{hash}/{}", asset.name)).unwrap_or_default()
}

fn files() -> Vec<(String, Asset)> {
    let asset = |name, kind, bytes: &[u8]| Asset { name, kind, bytes: bytes.to_vec() };
    let script = "text/javascript; charset=utf-8";
    let mut files = vec![
        asset("inter-latin.woff2", "font/woff2", LATIN),
        asset("inter-latin-ext.woff2", "font/woff2", LATIN_EXT),
        asset("htmx.js", script, HTMX.as_bytes()),
        asset("htmx-csp.js", script, HTMX_CSP.as_bytes()),
        asset("app.js", script, SCRIPTS.join("\n").as_bytes()),
        asset("icon.svg", "image/svg+xml", FAVICON.as_bytes()),
        asset("rosette.svg", "image/svg+xml", ROSETTE.as_bytes()),
    ];
    files.extend(SWAGGER.map(|(name, kind, bytes)| asset(name, kind, bytes)));
    // The style sheet names the fonts by their content as well.
    let mut style = STYLES.join("\n");
    for font in &files[..2] {
        let place = format!("/assets/{}/{}", hash(&font.bytes), font.name);
        style = style.replace(&format!("/assets/{}", font.name), &place);
    }
    files.push(asset("app.css", "text/css; charset=utf-8", style.as_bytes()));
    files.into_iter().map(|asset| (hash(&asset.bytes), asset)).collect()
}

fn hash(bytes: &[u8]) -> String {
    vault::sha256(bytes).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `GET /assets/{hash}/{name}`.
pub(crate) async fn serve(place: Result<Path<(String, String)>, PathRejection>) -> Response {
    let Ok(Path((hash, name))) = place else { return Fault::not_found().into_response() };
    let found = FILES.iter().find(|(known, asset)| *known == hash && asset.name == name);
    let Some((_, asset)) = found else { return Fault::not_found().into_response() };
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let mut response = (headers, asset.bytes.as_slice()).into_response();
    if asset.bytes.starts_with(&PACKED) {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::{FILES, SCRIPTS, STYLES, addresses};

    #[test]
    fn every_file_has_an_address_of_its_content() {
        let known = addresses();
        for address in [&known.style, &known.script, &known.htmx, &known.htmx_csp, &known.font] {
            assert!(address.starts_with("/assets/"), "{address}");
        }
        let style = FILES.iter().find(|(_, asset)| asset.name == "app.css");
        let text =
            style.map(|(_, asset)| String::from_utf8_lossy(&asset.bytes)).unwrap_or_default();
        assert!(!text.contains("url(\"/assets/inter"), "fonts are named by their content");
    }

    #[test]
    fn templates_hold_nothing_inline() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut folders = vec![root];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default().to_lowercase();
                seen += 1;
                for tag in text.split('<').skip(1) {
                    let tag = tag.split_inclusive('>').next().unwrap_or_default();
                    let name = path.display();
                    assert!(!tag.starts_with("style"), "{name}: {tag}");
                    assert!(!tag.contains(" style="), "{name}: {tag}");
                    assert!(!tag.contains(" on") || !has_handler(tag), "{name}: {tag}");
                    assert!(!tag.contains("javascript:"), "{name}: {tag}");
                    assert!(!tag.starts_with("script") || tag.contains("src="), "{name}: {tag}");
                    assert!(!tag.contains("|safe"), "{name}: markup is made in the kit: {tag}");
                    let is_htmx = tag.contains(" hx-");
                    assert!(!is_htmx || tag.contains("hx-nonce="), "{name}: {tag}");
                    let posts = tag.starts_with("form") && tag.contains("method=\"post\"");
                    assert!(!posts || text.contains("csrf"), "{name}: a form without its token");
                }
                assert!(!text.contains("|safe"), "{}", path.display());
            }
        }
        assert!(seen >= 8, "the templates are where they are looked for");
    }

    fn has_handler(tag: &str) -> bool {
        let attributes = tag.split(" on").skip(1);
        attributes.map(|rest| rest.split('=').next().unwrap_or_default()).any(|name| {
            !name.is_empty()
                && name.len() < 20
                && name.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    }

    #[test]
    fn our_scripts_make_no_code_and_no_style_out_of_text() {
        for script in SCRIPTS {
            for forbidden in
                ["eval(", "new Function", "innerHTML", "outerHTML", "document.write", ".style."]
            {
                assert!(!script.contains(forbidden), "{forbidden}");
            }
        }
        for style in STYLES {
            assert!(!style.contains("@import") && !style.contains("http"), "loads nothing else");
        }
    }
}
