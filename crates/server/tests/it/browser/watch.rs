//! Owns what a page did besides showing itself: complaints, requests, loads. Hears
//! events as they come off the wire; asks nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Kinds of complaint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// An error or warning on the console, or in the browser's log.
    Console,
    /// An exception nobody caught, or a rejection nobody handled.
    Exception,
    /// The page's Content-Security-Policy or Trusted Types refused something.
    Policy,
    /// A request that failed, or anything but a document that answered 400 or more.
    Network,
    /// A request to any host but the server.
    Foreign,
}

/// Something no page of ours may do.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.kind, self.text)
    }
}

/// How a document was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Visit {
    #[track_caller]
    pub(crate) fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{:?}", self.headers);
        self
    }
}

/// One page's watch.
pub(super) struct Watch {
    origin: String,
    state: Mutex<State>,
}

struct State {
    findings: Vec<Finding>,
    /// By loader: each navigation has its own.
    visits: BTreeMap<String, Visit>,
    loaded: BTreeSet<String>,
    /// The document that asks, by request.
    in_flight: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
    last_activity: Instant,
}

impl Watch {
    pub(super) fn new(origin: &str) -> Self {
        let state = State {
            findings: Vec::new(),
            visits: BTreeMap::new(),
            loaded: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_activity: Instant::now(),
        };
        Self { origin: origin.to_owned(), state: Mutex::new(state) }
    }

    /// The findings so far; the watch forgets them.
    pub(super) fn take_findings(&self) -> Vec<Finding> {
        std::mem::take(&mut self.state.lock().unwrap().findings)
    }

    /// How a navigation was answered, once its page has loaded.
    pub(super) fn visit(&self, loader: &str) -> Option<Visit> {
        let state = self.state.lock().unwrap();
        state.loaded.contains(loader).then(|| state.visits.get(loader).cloned().unwrap_or_default())
    }

    /// Nothing under way, and nothing for a while.
    pub(super) fn is_quiet(&self, for_at_least: Duration) -> bool {
        let state = self.state.lock().unwrap();
        state.in_flight.is_empty() && state.last_activity.elapsed() >= for_at_least
    }

    /// What is under way, for messages.
    pub(super) fn under_way(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.in_flight.keys().filter_map(|id| state.requests.get(id).cloned()).collect()
    }

    pub(super) fn hear(&self, method: &str, params: &Value) {
        let mut state = self.state.lock().unwrap();
        match method {
            "Network.requestWillBeSent" => state.request(&self.origin, params),
            "Network.responseReceived" => state.response(params),
            "Network.loadingFinished" => state.ended(params),
            "Network.loadingFailed" => state.failed(params),
            "Network.webSocketCreated" if !is_own(&self.origin, text(&params["url"])) => {
                state.find(Kind::Foreign, text(&params["url"]));
            }
            "Page.frameNavigated" => state.navigated(&params["frame"]),
            "Page.lifecycleEvent" if params["name"] == "load" => {
                state.loaded.insert(text(&params["loaderId"]).to_owned());
            }
            "Runtime.consoleAPICalled" => state.console(params),
            "Runtime.exceptionThrown" => state.exception(&params["exceptionDetails"]),
            "Runtime.bindingCalled" => state.find(Kind::Policy, text(&params["payload"])),
            "Log.entryAdded" => state.log(&params["entry"]),
            "Audits.issueAdded" => state.issue(&params["issue"]),
            "Inspector.targetCrashed" => state.find(Kind::Exception, "the page crashed"),
            _ => {}
        }
    }
}

impl State {
    fn find(&mut self, kind: Kind, text: impl Into<String>) {
        self.findings.push(Finding { kind, text: text.into() });
    }

    fn request(&mut self, origin: &str, params: &Value) {
        let url = text(&params["request"]["url"]);
        if !is_own(origin, url) {
            self.find(Kind::Foreign, url);
        }
        let id = text(&params["requestId"]).to_owned();
        let asked = format!("{} {url}", text(&params["request"]["method"]));
        self.requests.insert(id.clone(), asked);
        // A stream of events never ends; of data in the address, and of an icon ("Other")
        // that a navigation cuts off, no end may be told: nobody waits for these.
        let endless = matches!(text(&params["type"]), "EventSource" | "Other");
        if !endless && !url.starts_with("data:") {
            self.in_flight.insert(id, text(&params["loaderId"]).to_owned());
        }
        self.last_activity = Instant::now();
    }

    /// What the document before still asked for is cut off, and its end not always told.
    fn navigated(&mut self, frame: &Value) {
        if frame["parentId"].is_null() {
            let loader = text(&frame["loaderId"]);
            self.in_flight.retain(|_, asking| asking == loader);
        }
    }

    fn response(&mut self, params: &Value) {
        let status = params["response"]["status"].as_u64().unwrap_or_default();
        let status = u16::try_from(status).unwrap_or_default();
        let id = text(&params["requestId"]);
        let loader = text(&params["loaderId"]);
        if params["type"] == "Document" && id == loader {
            let headers = params["response"]["headers"].as_object().into_iter().flatten();
            let headers = headers
                .map(|(name, value)| (name.to_ascii_lowercase(), text(value).to_owned()))
                .collect();
            self.visits.insert(loader.to_owned(), Visit { status, headers });
        } else if status >= 400 {
            let asked = self.requests.get(id).cloned().unwrap_or_default();
            self.find(Kind::Network, format!("{asked} answered {status}"));
        }
    }

    fn ended(&mut self, params: &Value) {
        self.in_flight.remove(text(&params["requestId"]));
        self.last_activity = Instant::now();
    }

    fn failed(&mut self, params: &Value) {
        self.ended(params);
        // A request that a navigation cut off is nobody's fault.
        if params["canceled"] != true {
            let asked = self.requests.get(text(&params["requestId"])).cloned().unwrap_or_default();
            let reason = params["blockedReason"].as_str().unwrap_or(text(&params["errorText"]));
            self.find(Kind::Network, format!("{asked} failed: {reason}"));
        }
    }

    fn console(&mut self, params: &Value) {
        if matches!(text(&params["type"]), "error" | "warning" | "assert") {
            let arguments = params["args"].as_array().map(Vec::as_slice).unwrap_or_default();
            let words: Vec<String> = arguments.iter().map(describe).collect();
            self.find(Kind::Console, words.join(" "));
        }
    }

    fn exception(&mut self, details: &Value) {
        let what = details["exception"]["description"].as_str().unwrap_or(text(&details["text"]));
        // Chromium's own: a view between two pages that another navigation overtook.
        if what.contains("Transition was aborted") || what.contains("Transition was skipped") {
            return;
        }
        let found = format!("{what} at {}:{}", text(&details["url"]), details["lineNumber"]);
        self.find(Kind::Exception, found);
    }

    fn log(&mut self, entry: &Value) {
        let words = text(&entry["text"]);
        // Failed requests are told by the network's own events, with their method.
        if entry["source"] == "network" || !matches!(text(&entry["level"]), "error" | "warning") {
            return;
        }
        let is_policy = words.contains("Content Security Policy") || words.contains("Trusted Type");
        let kind = if is_policy { Kind::Policy } else { Kind::Console };
        self.find(kind, format!("{words} ({})", text(&entry["url"])));
    }

    fn issue(&mut self, issue: &Value) {
        let details = &issue["details"];
        match text(&issue["code"]) {
            "ContentSecurityPolicyIssue" => {
                self.find(Kind::Policy, details["contentSecurityPolicyIssueDetails"].to_string());
            }
            "MixedContentIssue" | "CookieIssue" | "CorsIssue" | "DeprecationIssue" => {
                self.find(Kind::Console, format!("{}: {details}", text(&issue["code"])));
            }
            // Advice on forms and performance: axe and the tests of speed judge those.
            _ => {}
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn describe(argument: &Value) -> String {
    match (&argument["value"], &argument["description"]) {
        (Value::String(value), _) | (_, Value::String(value)) => value.clone(),
        (value, _) => value.to_string(),
    }
}

/// Whether an address is the server's, or leaves no machine at all.
fn is_own(origin: &str, url: &str) -> bool {
    let local = ["about:", "blob:", "data:"].iter().any(|scheme| url.starts_with(scheme));
    let rest = url.strip_prefix(origin).or_else(|| {
        // The same host and port over a WebSocket.
        url.strip_prefix("ws").and_then(|url| url.strip_prefix(origin.strip_prefix("http")?))
    });
    local || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}
