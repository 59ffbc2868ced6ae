//! Owns the `DevTools` wire: JSON messages, each ended by a zero byte, over two pipes
//! of the browser. Refuses to know what a command means. A pipe instead of a
//! WebSocket: no port, no handshake, no crate, and the browser ends itself when the
//! test's end of the pipe closes, however the test died.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdin, ChildStdout},
    sync::oneshot,
};

use super::watch::Watch;

const ANSWER_WAIT: Duration = Duration::from_secs(60);

type Answer = Result<Value, String>;

/// One browser's wire, shared by all its pages.
pub(super) struct Wire {
    writer: tokio::sync::Mutex<ChildStdin>,
    shared: Arc<Shared>,
    last_id: AtomicU64,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>,
    /// Who hears of events, by session.
    watches: Mutex<BTreeMap<String, Arc<Watch>>>,
}

impl Wire {
    pub(super) fn new(writer: ChildStdin, reader: ChildStdout) -> Self {
        let shared = Arc::new(Shared::default());
        tokio::spawn(read(BufReader::new(reader), Arc::clone(&shared)));
        Self { writer: tokio::sync::Mutex::new(writer), shared, last_id: AtomicU64::new(0) }
    }

    /// Sends events of a session to a watch from now on.
    pub(super) fn watch(&self, session: &str, watch: Arc<Watch>) {
        self.shared.watches.lock().unwrap().insert(session.to_owned(), watch);
    }

    /// Asks the browser, or one of its pages, and waits for the answer.
    pub(super) async fn ask(&self, session: Option<&str>, method: &str, params: Value) -> Answer {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (sender, answer) = oneshot::channel();
        self.shared.waiting.lock().unwrap().insert(id, sender);
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = self.writer.lock().await.write_all(&bytes).await;
        sent.map_err(|error| format!("{method}: the browser is gone: {error}"))?;
        match tokio::time::timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(answer)) => answer.map_err(|error| format!("{method}: {error}")),
            Ok(Err(_)) => Err(format!("{method}: the browser ended before it answered")),
            Err(_) => Err(format!("{method}: no answer within {ANSWER_WAIT:?}")),
        }
    }
}

async fn read(mut reader: BufReader<ChildStdout>, shared: Arc<Shared>) {
    let mut bytes = Vec::new();
    while reader.read_until(0, &mut bytes).await.is_ok_and(|length| length > 0) {
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        let message: Value = serde_json::from_slice(&bytes).expect("the browser speaks JSON");
        bytes.clear();
        deliver(&shared, message);
    }
    // Whoever waits learns that nothing will come.
    shared.waiting.lock().unwrap().clear();
}

fn deliver(shared: &Shared, mut message: Value) {
    if let Some(id) = message["id"].as_u64() {
        let Some(waiting) = shared.waiting.lock().unwrap().remove(&id) else { return };
        let answer = match message.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(message["result"].take()),
        };
        // Whoever asked may have given up.
        let _ = waiting.send(answer);
        return;
    }
    let session = message["sessionId"].as_str().unwrap_or_default();
    let watch = shared.watches.lock().unwrap().get(session).cloned();
    if let (Some(watch), Some(method)) = (watch, message["method"].as_str()) {
        watch.hear(method, &message["params"]);
    }
}
