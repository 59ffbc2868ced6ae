//! Owns the walk over many pages: each in four variants, each held to the same rules.
//! Refuses to stop at the first fault: the report names all of them.

use serde_json::Value;

use super::{
    accessibility::barriers,
    page::{Media, Page, Scheme, Viewport},
};

const VARIANTS: [(&str, Viewport, Scheme); 4] = [
    ("desktop-light", Viewport::Desktop, Scheme::Light),
    ("desktop-dark", Viewport::Desktop, Scheme::Dark),
    ("phone-light", Viewport::Phone, Scheme::Light),
    ("phone-dark", Viewport::Phone, Scheme::Dark),
];

/// What lies beyond the right edge without a scroll area of its own around it.
const OVERFLOW: &str = r"((width) => {
    const root = document.scrollingElement;
    if (root.scrollWidth <= width) return [];
    const scrolls = (element) => element && element !== document.body
        && (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(element).overflowX)
            || scrolls(element.parentElement));
    const wide = [...document.body.querySelectorAll('*')].filter((element) =>
        element.getBoundingClientRect().right > width + 1 && !scrolls(element.parentElement));
    return [`${root.scrollWidth} px wide`, ...wide.slice(0, 5).map((element) =>
        element.outerHTML.slice(0, 120))];
})";

/// A page to walk over.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// The screenshots' name.
    pub(crate) name: String,
    /// Path and query.
    pub(crate) path: String,
    /// What the document answers.
    pub(crate) status: u16,
}

impl Stop {
    /// A page that answers 200.
    pub(crate) fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), status: 200 }
    }

    /// A page that answers something else, an error page for example.
    pub(crate) fn answering(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// Visits pages and gathers what is wrong with them.
#[derive(Default)]
pub(crate) struct Walker {
    faults: Vec<String>,
    visited: usize,
}

impl Walker {
    /// Visits one page in every variant: the status asked for, nothing the browser
    /// complains of, no sideways scrolling, no barrier; a screenshot of each in
    /// `target/screenshots/<name>-<variant>.png`.
    pub(crate) async fn visit(&mut self, page: &Page, stop: &Stop) {
        for (variant, viewport, scheme) in VARIANTS {
            dress(page, viewport, scheme).await;
            let visit = page.goto(&stop.path).await;
            let mut faults = Vec::new();
            if visit.status != stop.status {
                faults.push(format!("answered {} instead of {}", visit.status, stop.status));
            }
            faults.extend(seen(page, &stop.name, (variant, viewport)).await);
            self.note(&format!("{} ({}) {variant}", stop.name, stop.path), faults);
        }
        self.visited += 1;
    }

    /// The same of the page as it stands, loaded once: what a form answered, which no
    /// address leads to, or what is dear to provoke. In two variants that between them
    /// have both widths and both lights.
    pub(crate) async fn look(&mut self, page: &Page, name: &str) {
        let [wide_and_light, .., narrow_and_dark] = VARIANTS;
        for (variant, viewport, scheme) in [wide_and_light, narrow_and_dark] {
            dress(page, viewport, scheme).await;
            page.settle().await;
            let faults = seen(page, name, (variant, viewport)).await;
            self.note(&format!("{name} {variant}"), faults);
        }
        dress(page, Viewport::Desktop, Scheme::Light).await;
        // Where a click lands is decided on the frame that was drawn last.
        let drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))";
        page.wait_until(drawn).await;
        self.visited += 1;
    }

    fn note(&mut self, place: &str, faults: Vec<String>) {
        self.faults.extend(faults.into_iter().map(|fault| format!("{place}: {fault}")));
    }

    /// Every fault so far; forgotten.
    pub(crate) fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    /// # Panics
    /// With every fault of every page, or where no page was visited.
    pub(crate) fn finish(mut self) {
        assert!(self.visited > 0, "no page was visited");
        let faults = self.take_faults();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }
}

async fn dress(page: &Page, viewport: Viewport, scheme: Scheme) {
    page.set_viewport(viewport).await;
    page.emulate(Media { scheme, ..Media::default() }).await;
}

/// What is wrong with the page as it is drawn now; a screenshot of it.
async fn seen(page: &Page, name: &str, (variant, viewport): (&str, Viewport)) -> Vec<String> {
    let mut faults = Vec::new();
    let overflow = page.eval(&format!("{OVERFLOW}({})", viewport.size().0)).await;
    let overflow: Vec<String> = overflow.as_array().into_iter().flatten().map(word).collect();
    if !overflow.is_empty() {
        faults.push(format!("scrolls sideways: {}", overflow.join("\n      ")));
    }
    page.stretch(viewport).await;
    faults.extend(barriers(page).await);
    page.screenshot(&format!("{name}-{variant}")).await;
    faults.extend(page.take_findings().iter().map(ToString::to_string));
    faults
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
