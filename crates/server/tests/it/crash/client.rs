//! Owns one client's side of HTTP: a kept connection, patience, and the difference
//! between an answer and none. It refuses to know what is asked.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Longer than any answer may take in an outage: waiting for a connection of the
/// pool is 5 s for the token and 5 s for the operation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// An access token.
    pub(crate) bearer: Option<String>,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    pub(crate) body: Option<Value>,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>, bearer: Option<&str>) -> Self {
        let bearer = bearer.map(str::to_owned);
        Self { method: "GET", path: path.into(), bearer, key: None, body: None }
    }

    pub(crate) fn post(
        path: impl Into<String>,
        bearer: Option<&str>,
        key: Option<&str>,
        body: Value,
    ) -> Self {
        let (bearer, key) = (bearer.map(str::to_owned), key.map(str::to_owned));
        Self { method: "POST", path: path.into(), bearer, key, body: Some(body) }
    }

    fn text(&self, port: u16) -> String {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let bearer = self.bearer.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let key = self.key.as_ref().map(|key| format!("Idempotency-Key: \"{key}\"\r\n"));
        format!(
            "{} {} HTTP/1.1\r\nHost: localhost:{port}\r\n{}{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.method,
            self.path,
            bearer.unwrap_or_default(),
            key.unwrap_or_default(),
            body.len()
        )
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Value,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// What is wrong with a 503 that the contract promises: a problem with a stable
    /// code that says nothing else, and when to come back.
    pub(crate) fn faults_of_unavailable(&self) -> Vec<String> {
        let body = self.body.as_object().into_iter().flatten();
        let mut members: Vec<&String> = body.map(|(name, _)| name).collect();
        members.sort();
        let checks = [
            (self.status == 503, "status"),
            (self.header("content-type") == "application/problem+json", "media type"),
            (
                self.header("retry-after")
                    .parse::<u64>()
                    .is_ok_and(|wait| (1..=60).contains(&wait)),
                "Retry-After",
            ),
            (["unavailable", "busy"].contains(&self.code()), "code"),
            (members == ["code", "request_id", "title"], "members"),
        ];
        let wrong = checks.into_iter().filter(|(good, _)| !good);
        wrong.map(|(_, what)| format!("503 with the wrong {what}: {self:?}")).collect()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The connection could not be had, or broke.
    Broken(String),
    /// Nothing came within [`PATIENCE`].
    Hung,
}

/// A client with one connection, opened where there is none.
#[derive(Debug)]
pub(crate) struct Client {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Result<Answer, Missing> {
        let begun = tokio::time::Instant::now();
        let exchanged = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        match exchanged {
            Ok(Ok(answer)) => {
                if answer.header("connection") == "close" {
                    self.stream = None;
                }
                Ok(Answer { took: begun.elapsed(), ..answer })
            }
            Ok(Err(error)) => {
                self.stream = None;
                Err(Missing::Broken(error.to_string()))
            }
            Err(_) => {
                self.stream = None;
                Err(Missing::Hung)
            }
        }
    }

    /// Sends a request and hangs up after a while, the answer being there or not.
    pub(crate) async fn send_and_hang_up(&mut self, request: &Request, after: Duration) {
        let text = request.text(self.port);
        // Whether it arrives is what is left open.
        if let Ok(stream) = self.stream().await {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.flush().await;
            tokio::time::sleep(after).await;
        }
        self.stream = None;
    }

    async fn stream(&mut self) -> std::io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or_else(|| std::io::Error::other("no connection"))
    }

    async fn exchange(&mut self, request: &Request) -> std::io::Result<Answer> {
        let text = request.text(self.port);
        let stream = self.stream().await?;
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        let first = line(stream).await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {first}")))?;
        let mut headers = Vec::new();
        loop {
            let header = line(stream).await?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
        Ok(Answer { status, headers, body, took: Duration::ZERO })
    }
}

/// One line of the head without its end.
async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
