//! Owns the browser's process and profile, and the people in it. Refuses to know
//! what they look at.

use std::{process::Stdio, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{page::Page, wire::Wire};

/// Descriptors 3 and 4 are where Chromium speaks `DevTools`; a shell puts them there
/// because Rust's own way to do so is unsafe code. Its complaints go into the profile.
const LAUNCH: &str = r#"
for browser in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$browser" >/dev/null 2>&1; then
        exec "$browser" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>"$PROFILE/complaints"
    fi
done
exit 127
"#;

const FLAGS: [&str; 22] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-proxy-server",
    // What is not this machine is not found: a foreign host is a finding, not a visit.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE ::1",
];

const MISSING: &str = "no Chromium: install `chromium` (Debian, Ubuntu) or Google Chrome, \
                       or run scripts/test, which installs it";

/// A headless Chromium with a profile of its own; both are gone when it is dropped.
pub(crate) struct Browser {
    wire: Arc<Wire>,
    child: Child,
    profile: Option<TempDir>,
}

impl Browser {
    /// # Panics
    /// Where no Chromium is installed, or it does not start.
    pub(crate) async fn start() -> Self {
        let profile = TempDir::with_prefix("strongroom-browser-").unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", LAUNCH, "sh"])
            .args(FLAGS)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("PROFILE", profile.path())
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let wire = Wire::new(child.stdin.take().unwrap(), child.stdout.take().unwrap());
        if let Err(error) = wire.ask(None, "Browser.getVersion", json!({})).await {
            let status = child.wait().await.unwrap();
            assert_ne!(status.code(), Some(127), "{MISSING}");
            let complaints = std::fs::read_to_string(profile.path().join("complaints"));
            panic!(
                "Chromium did not start ({status}): {error}\n{}",
                complaints.unwrap_or_default()
            );
        }
        Self { wire: Arc::new(wire), child, profile: Some(profile) }
    }

    /// Somebody with cookies, storage and cache of their own, visiting a server such
    /// as `http://localhost:8080`.
    pub(crate) async fn person(&self, origin: &str) -> Person {
        let params = json!({ "disposeOnDetach": true });
        let made = self.wire.ask(None, "Target.createBrowserContext", params).await.unwrap();
        Person {
            wire: Arc::clone(&self.wire),
            context: made["browserContextId"].as_str().unwrap().to_owned(),
            origin: origin.trim_end_matches('/').to_owned(),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.start_kill();
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let Some(profile) = self.profile.take() else { return };
        // The browser's own children end a moment after it and may still write.
        let path = profile.keep();
        for _ in 0..100 {
            if std::fs::remove_dir_all(&path).is_ok() || !path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An isolated (incognito) visitor.
#[derive(Clone)]
pub(crate) struct Person {
    wire: Arc<Wire>,
    context: String,
    origin: String,
}

impl Person {
    /// A tab.
    pub(crate) async fn page(&self) -> Page {
        let params = json!({ "url": "about:blank", "browserContextId": self.context });
        let target = self.wire.ask(None, "Target.createTarget", params).await.unwrap();
        let params = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.wire.ask(None, "Target.attachToTarget", params).await.unwrap();
        let session = session["sessionId"].as_str().unwrap();
        Page::attach(Arc::clone(&self.wire), session, &self.origin).await
    }

    /// Every cookie with its attributes, as `DevTools` tells them: `name`, `value`,
    /// `domain`, `path`, `expires`, `httpOnly`, `secure`, `sameSite`.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        let params = json!({ "browserContextId": self.context });
        let mut answer = self.wire.ask(None, "Storage.getCookies", params).await.unwrap();
        serde_json::from_value(answer["cookies"].take()).unwrap()
    }

    /// Sets cookies, in the shape `Storage.setCookies` takes.
    pub(crate) async fn set_cookies(&self, cookies: &[Value]) {
        let params = json!({ "browserContextId": self.context, "cookies": cookies });
        self.wire.ask(None, "Storage.setCookies", params).await.unwrap();
    }
}
