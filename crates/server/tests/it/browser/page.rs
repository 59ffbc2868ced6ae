//! Owns one tab: going somewhere, waiting, clicking, typing, looking. Panics, naming
//! the page and what it shows, where a person would be at a loss.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    watch::{Finding, Kind, Visit, Watch},
    wire::Wire,
};

/// How long a page may take to show what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);
/// No request for so long: the page has settled.
const QUIET: Duration = Duration::from_millis(120);
/// Tallest screenshot, CSS pixels.
const SCREENSHOT_HEIGHT_MAX: f64 = 8_000.0;
/// Where scripts of ours listen: a world of their own, which the page's policy and
/// the page's scripts do not reach.
const WORLD: &str = "harness";
const LISTEN: &str = r"
document.addEventListener('securitypolicyviolation', (event) => harnessViolation(
    `${event.effectiveDirective} refused ${event.blockedURI || 'inline'} ${event.sample} ` +
    `(${event.sourceFile || document.URL}:${event.lineNumber})`));
";
/// No animation of ours lasts so long.
const MOVING: Duration = Duration::from_secs(1);
/// Ends when all animations that end have ended, and two frames are drawn.
const STAND_STILL: &str = "(async () => { \
    const ends = (one) => Number.isFinite(one.effect?.getComputedTiming().endTime); \
    await Promise.allSettled(document.getAnimations().filter(ends).map((one) => one.finished)); \
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); \
})()";
/// Finds the visible element that a selector, and a text where given, mean.
const FIND: &str = r"(selector, text) => [...document.querySelectorAll(selector)].find((element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && (text === null || (element.innerText ?? '').trim().includes(text)))";

/// A window's size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Viewport {
    /// 1440 × 900.
    Desktop,
    /// 390 × 844 at two device pixels, with touch.
    Phone,
    /// Anything else, CSS pixels.
    Other { width: u32, height: u32 },
}

impl Viewport {
    /// Width and height, CSS pixels.
    pub(crate) fn size(self) -> (u32, u32) {
        match self {
            Self::Desktop => (1440, 900),
            Self::Phone => (390, 844),
            Self::Other { width, height } => (width, height),
        }
    }
}

/// What the person prefers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// What the page is made for, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media {
    pub(crate) scheme: Scheme,
    pub(crate) reduced_motion: bool,
    /// As on paper.
    pub(crate) print: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self { scheme: Scheme::Light, reduced_motion: true, print: false }
    }
}

/// A tab. Dropping it fails the test where findings were left: assert on those that
/// are expected with [`Page::take_findings`] or [`Page::expect_finding`].
pub(crate) struct Page {
    wire: Arc<Wire>,
    session: String,
    origin: String,
    watch: Arc<Watch>,
}

impl Page {
    pub(super) async fn attach(wire: Arc<Wire>, session: &str, origin: &str) -> Self {
        let watch = Arc::new(Watch::new(origin));
        wire.watch(session, Arc::clone(&watch));
        let page = Self { wire, session: session.to_owned(), origin: origin.to_owned(), watch };
        let nothing = json!({});
        for (method, params) in [
            ("Page.enable", &nothing),
            ("Page.setLifecycleEventsEnabled", &json!({ "enabled": true })),
            ("Network.enable", &nothing),
            ("Log.enable", &nothing),
            ("Audits.enable", &nothing),
            (
                "Runtime.addBinding",
                &json!({ "name": "harnessViolation", "executionContextName": WORLD }),
            ),
            (
                "Page.addScriptToEvaluateOnNewDocument",
                &json!({ "source": LISTEN, "worldName": WORLD }),
            ),
            ("Runtime.enable", &nothing),
            // Several tabs, each of which believes that it is the one looked at.
            ("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true })),
        ] {
            page.command(method, params.clone()).await;
        }
        page.set_viewport(Viewport::Desktop).await;
        page.emulate(Media::default()).await;
        page
    }

    /// Any `DevTools` command of the page's session, such as `WebAuthn.enable`.
    ///
    /// # Panics
    /// Where the browser refuses.
    pub(crate) async fn command(&self, method: &str, params: Value) -> Value {
        self.wire.ask(Some(&self.session), method, params).await.unwrap()
    }

    /// Goes to a path of the server (or an absolute address) and waits until the page
    /// has settled.
    pub(crate) async fn goto(&self, path: &str) -> Visit {
        let url =
            if path.starts_with('/') { format!("{}{path}", self.origin) } else { path.to_owned() };
        let answer = self.command("Page.navigate", json!({ "url": url })).await;
        assert!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        let Some(loader) = answer["loaderId"].as_str() else {
            // A fragment of the page that is shown already.
            return Visit::default();
        };
        let started = Instant::now();
        let visit = loop {
            if let Some(visit) = self.watch.visit(loader) {
                break visit;
            }
            let under_way = self.watch.under_way();
            assert!(started.elapsed() < PATIENCE, "{url} does not load; waits for {under_way:?}");
            tokio::time::sleep(GLANCE).await;
        };
        self.settle().await;
        visit
    }

    /// Waits until the page is loaded, asks for nothing and moves nothing.
    pub(crate) async fn settle(&self) {
        let started = Instant::now();
        loop {
            let ready = self.watch.is_quiet(QUIET)
                && self
                    .try_eval("document.readyState")
                    .await
                    .is_ok_and(|state| state == "complete");
            if ready {
                break;
            }
            let under_way = self.watch.under_way();
            assert!(started.elapsed() < PATIENCE, "never settles; waits for {under_way:?}");
            tokio::time::sleep(GLANCE).await;
        }
        // A navigation may begin meanwhile: the page it leads to is settled as well.
        self.stand_still().await;
    }

    /// Waits until nothing moves. While one page gives way to the next, clicks reach
    /// neither.
    async fn stand_still(&self) {
        // Should the page go meanwhile, there is nothing left to wait for; where it may
        // run no script, nothing says when.
        let _ = tokio::time::timeout(MOVING, self.try_eval(STAND_STILL)).await;
    }

    /// Waits until an element is there and visible.
    pub(crate) async fn wait_for(&self, selector: &str) {
        self.wait_until(&format!("({FIND})({}, null) !== undefined", quoted(selector))).await;
    }

    /// Waits until a visible element that the selector means contains a text.
    pub(crate) async fn wait_for_text(&self, selector: &str, text: &str) {
        let script = format!("({FIND})({}, {}) !== undefined", quoted(selector), quoted(text));
        self.wait_until(&script).await;
    }

    /// Waits until a script's expression is true.
    pub(crate) async fn wait_until(&self, expression: &str) {
        let started = Instant::now();
        // In the middle of a navigation there is nothing to ask.
        while self.try_eval(expression).await != Ok(Value::Bool(true)) {
            if started.elapsed() > PATIENCE {
                let url = self.url().await;
                let shown = self.text("body").await;
                panic!("waited in vain at {url} for {expression}; the page shows:\n{shown}");
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Clicks in the middle of an element, as a person would: it must be visible and
    /// nothing may lie over it.
    pub(crate) async fn click(&self, selector: &str) {
        self.click_found(selector, None).await;
    }

    /// Clicks the first of the elements that contains a text.
    pub(crate) async fn click_text(&self, selector: &str, text: &str) {
        self.click_found(selector, Some(text)).await;
    }

    async fn click_found(&self, selector: &str, text: Option<&str>) {
        let script = format!(
            "(() => {{
                const element = ({FIND})({}, {});
                if (!element) return 'not there';
                element.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }});
                const box = element.getClientRects()[0];
                const x = box.x + box.width / 2, y = box.y + box.height / 2;
                const hit = document.elementFromPoint(x, y);
                if (!element.contains(hit)) return `covered by ${{hit?.outerHTML.slice(0, 200)}}`;
                return {{ x, y }};
            }})()",
            quoted(selector),
            text.map_or("null".to_owned(), quoted),
        );
        self.stand_still().await;
        let started = Instant::now();
        let place = loop {
            let found = self.try_eval(&script).await.unwrap_or_default();
            if found.is_object() {
                break found;
            }
            let words = text.unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "cannot click {selector} {words}: {found}");
            tokio::time::sleep(GLANCE).await;
        };
        for (event, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let params = json!({
                "type": event, "x": place["x"], "y": place["y"], "buttons": buttons,
                "button": if event == "mouseMoved" { "none" } else { "left" }, "clickCount": 1,
            });
            self.command("Input.dispatchMouseEvent", params).await;
        }
    }

    /// Replaces what a field holds.
    pub(crate) async fn type_text(&self, selector: &str, text: &str) {
        self.click(selector).await;
        let select = format!("({FIND})({}, null)?.select?.()", quoted(selector));
        self.eval(&select).await;
        self.command("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses keys one after the other: characters, or names such as `Enter`, each
    /// perhaps with modifiers: `g a`, `Control+k`, `Shift+Tab`.
    pub(crate) async fn press(&self, keys: &str) {
        for stroke in keys.split_whitespace() {
            let mut parts: Vec<&str> = stroke.split('+').collect();
            let key = parts.pop().unwrap();
            let modifiers: u8 = parts.iter().map(|name| modifier(name)).sum();
            let mut params = key_event(key, modifiers);
            params["type"] = if params["text"].is_null() { "rawKeyDown" } else { "keyDown" }.into();
            self.command("Input.dispatchKeyEvent", params.clone()).await;
            params["type"] = "keyUp".into();
            params["text"] = Value::Null;
            self.command("Input.dispatchKeyEvent", without_nulls(params)).await;
        }
    }

    /// What an element shows.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let script = format!("document.querySelector({})?.innerText ?? null", quoted(selector));
        match self.eval(&script).await {
            Value::String(text) => text,
            _ => panic!("{selector} is not there at {}", self.url().await),
        }
    }

    /// How many elements a selector means.
    pub(crate) async fn count(&self, selector: &str) -> u64 {
        let script = format!("document.querySelectorAll({}).length", quoted(selector));
        self.eval(&script).await.as_u64().unwrap()
    }

    /// A script's value, awaited where it is a promise. The page's policy does not
    /// bind it; what it makes the page do is bound.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        match self.try_eval(expression).await {
            Ok(value) => value,
            Err(error) => panic!("{expression}: {error}"),
        }
    }

    /// As [`Self::eval`], told of failure.
    pub(crate) async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        self.evaluate(json!({ "expression": expression })).await
    }

    async fn evaluate(&self, mut params: Value) -> Result<Value, String> {
        params["returnByValue"] = true.into();
        params["awaitPromise"] = true.into();
        let mut answer = self.wire.ask(Some(&self.session), "Runtime.evaluate", params).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(details.to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Evaluates scripts one after the other in a world beside the page's own, so that
    /// neither sees the other's variables; the last one's value.
    pub(super) async fn eval_apart(&self, scripts: &[&str]) -> Value {
        let tree = self.command("Page.getFrameTree", json!({})).await;
        let params = json!({
            "frameId": tree["frameTree"]["frame"]["id"], "worldName": "apart",
        });
        let world = self.command("Page.createIsolatedWorld", params).await;
        let mut last = Value::Null;
        for script in scripts {
            let params = json!({ "expression": script, "contextId": world["executionContextId"] });
            last = self.evaluate(params).await.unwrap();
        }
        last
    }

    /// Where the page is.
    pub(crate) async fn url(&self) -> String {
        self.eval("location.href").await.as_str().unwrap().to_owned()
    }

    /// Path, query and fragment of where the page is.
    pub(crate) async fn path(&self) -> String {
        let url = self.url().await;
        url.strip_prefix(&self.origin).unwrap_or(&url).to_owned()
    }

    /// The whole page, into `target/screenshots/<name>.png`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let metrics = self.command("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let height = size["height"].as_f64().unwrap().min(SCREENSHOT_HEIGHT_MAX);
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1 });
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let answer = self.command("Page.captureScreenshot", params).await;
        let image = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name).with_extension("png");
        std::fs::write(&path, image).unwrap();
        path
    }

    pub(crate) async fn set_viewport(&self, viewport: Viewport) {
        let (width, height) = viewport.size();
        let is_phone = viewport == Viewport::Phone;
        let params = json!({
            "width": width, "height": height, "mobile": is_phone,
            "deviceScaleFactor": if is_phone { 2 } else { 1 },
        });
        self.command("Emulation.setDeviceMetricsOverride", params).await;
        let params = json!({ "enabled": is_phone });
        self.command("Emulation.setTouchEmulationEnabled", params).await;
    }

    /// As tall as its content, so that no bar that sticks to an edge covers what a scroll
    /// would show.
    pub(crate) async fn stretch(&self, viewport: Viewport) {
        let height = self.eval("document.scrollingElement.scrollHeight").await;
        let (width, least) = viewport.size();
        let height = height.as_u64().unwrap_or_default().clamp(u64::from(least), 8_000);
        let is_phone = viewport == Viewport::Phone;
        let params = json!({
            "width": width, "height": height, "mobile": is_phone,
            "deviceScaleFactor": if is_phone { 2 } else { 1 },
        });
        self.command("Emulation.setDeviceMetricsOverride", params).await;
    }

    pub(crate) async fn emulate(&self, media: Media) {
        let scheme = match media.scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let motion = if media.reduced_motion { "reduce" } else { "no-preference" };
        let params = json!({
            "media": if media.print { "print" } else { "" },
            "features": [
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": motion },
            ],
        });
        self.command("Emulation.setEmulatedMedia", params).await;
    }

    /// Whether scripts run: pages must be of use without.
    pub(crate) async fn set_scripts(&self, enabled: bool) {
        let params = json!({ "value": !enabled });
        self.command("Emulation.setScriptExecutionDisabled", params).await;
    }

    /// What the browser complained of so far; forgotten by the page.
    pub(crate) fn take_findings(&self) -> Vec<Finding> {
        self.watch.take_findings()
    }

    /// Forgets the findings of a kind that contain a text: the test expects them.
    ///
    /// # Panics
    /// Where there is none, or there are others.
    #[track_caller]
    pub(crate) fn expect_finding(&self, kind: Kind, text: &str) {
        let (expected, others): (Vec<_>, Vec<_>) = self
            .take_findings()
            .into_iter()
            .partition(|finding| finding.kind == kind && finding.text.contains(text));
        assert!(!expected.is_empty(), "no {kind:?} with {text:?} among {others:?}");
        assert!(others.is_empty(), "{others:?}");
    }

    /// # Panics
    /// Where the browser complained of anything.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let findings = self.take_findings();
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "the browser complains:\n  {}", lines.join("\n  "));
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_clean();
        }
    }
}

/// A text as a script writes it.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn modifier(name: &str) -> u8 {
    match name {
        "Alt" => 1,
        "Control" => 2,
        "Meta" => 4,
        "Shift" => 8,
        _ => panic!("{name} is no modifier"),
    }
}

fn key_event(key: &str, modifiers: u8) -> Value {
    let (code, virtual_key, text) = match key {
        "Enter" => ("Enter".to_owned(), 13, Some("\r".to_owned())),
        "Tab" => ("Tab".to_owned(), 9, None),
        "Escape" => ("Escape".to_owned(), 27, None),
        "Backspace" => ("Backspace".to_owned(), 8, None),
        "Delete" => ("Delete".to_owned(), 46, None),
        "Space" => ("Space".to_owned(), 32, Some(" ".to_owned())),
        "Home" => ("Home".to_owned(), 36, None),
        "End" => ("End".to_owned(), 35, None),
        "ArrowLeft" => ("ArrowLeft".to_owned(), 37, None),
        "ArrowUp" => ("ArrowUp".to_owned(), 38, None),
        "ArrowRight" => ("ArrowRight".to_owned(), 39, None),
        "ArrowDown" => ("ArrowDown".to_owned(), 40, None),
        _ => character(key),
    };
    // With Alt, Control or Meta (the low three bits) held a letter is a command, no text.
    let text = text.filter(|_| modifiers.trailing_zeros() >= 3);
    let key = if key == "Space" { " " } else { key };
    without_nulls(json!({
        "key": key, "code": code, "windowsVirtualKeyCode": virtual_key,
        "text": text, "modifiers": modifiers,
    }))
}

fn character(key: &str) -> (String, u32, Option<String>) {
    let mut characters = key.chars();
    let (Some(only), None) = (characters.next(), characters.next()) else {
        panic!("{key} is no key")
    };
    let upper = only.to_ascii_uppercase();
    let code = match upper {
        'A'..='Z' => format!("Key{upper}"),
        '0'..='9' => format!("Digit{upper}"),
        _ => String::new(),
    };
    (code, u32::from(upper), Some(key.to_owned()))
}

fn without_nulls(mut params: Value) -> Value {
    params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    params
}
