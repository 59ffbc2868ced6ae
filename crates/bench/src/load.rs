//! Owns the load generator: HTTP/1.1 over kept connections, closed loop or paced,
//! with as little work a request as possible, because it shares the cores with what
//! it measures. Refuses to know what is asked: requests come from a [`Source`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::statistics::{float, percentile};

const READ_BYTES: usize = 16 * 1024;
/// Nothing here takes longer; whatever does has hung.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How much of an unexpected answer is shown.
const SHOWN_BYTES: usize = 500;

/// One kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer: its status and its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'connection> {
    pub(crate) status: u16,
    pub(crate) body: &'connection [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a finished request and reads its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        match tokio::time::timeout(ANSWER_LIMIT, self.exchange(request)).await {
            Ok(Ok((status, start))) => Ok(Answer { status, body: &self.buffer[start..] }),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("no answer within {} s", ANSWER_LIMIT.as_secs()),
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.receive().await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.body_start + head.body_length {
            self.receive().await?;
        }
        anyhow::ensure!(
            self.buffer.len() == head.body_start + head.body_length,
            "the answer is longer than it says"
        );
        Ok((head.status, head.body_start))
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body_start: usize,
    body_length: usize,
}

impl Head {
    /// `None` until the head is complete.
    fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = str::from_utf8(&bytes[..end]).context("the answer's head is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok());
        match (status, length) {
            (Some(status), Some(body_length)) => {
                Ok(Some(Self { status, body_start: end + 4, body_length }))
            }
            (Some(204 | 304), None) => bail!("an answer without a body where one was expected"),
            _ => bail!("an answer without status or length: {head}"),
        }
    }
}

/// Where one connection's requests come from, and what counts as an answer.
pub(crate) trait Source: Send + 'static {
    /// Writes the next request into `out`, which is empty.
    fn next(&mut self, out: &mut Vec<u8>);

    /// How many units of work an answer finished; `None` where it is not what was expected.
    fn judge(&mut self, answer: Answer<'_>) -> Option<u64>;
}

/// How long and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Not counted.
    pub(crate) warm_up: Duration,
    /// Counted; the most it takes where `at_most` is given.
    pub(crate) duration: Duration,
    /// Ends after so many requests, for work so slow that a window would cut it.
    pub(crate) at_most: Option<u64>,
    /// A connection sends every so often, instead of as soon as it has its answer;
    /// latencies then count from when it should have sent.
    pub(crate) every: Option<Duration>,
}

impl Plan {
    /// Closed loop for a time.
    pub(crate) fn lasting(duration: Duration) -> Self {
        Self { warm_up: duration / 5, duration, at_most: None, every: None }
    }
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Units of work finished in the window.
    pub(crate) units: u64,
    /// The window, or the time until the last answer where the requests were counted.
    pub(crate) elapsed: Duration,
    /// Of each request of the window, in microseconds.
    pub(crate) latencies_us: Vec<u64>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        float(self.units) / self.elapsed.as_secs_f64()
    }

    /// In milliseconds.
    pub(crate) fn percentile_ms(&mut self, percent: usize) -> f64 {
        float(percentile(&mut self.latencies_us, percent)) / 1_000.0
    }
}

/// Drives one connection per source on a thread of its own.
pub(crate) async fn drive<S: Source>(
    address: SocketAddr,
    sources: Vec<S>,
    plan: Plan,
) -> anyhow::Result<Load> {
    // One thread: on few cores a second one would only take more from the server.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(drive_here(address, sources, plan))
    })
    .await?
}

async fn drive_here<S: Source>(
    address: SocketAddr,
    sources: Vec<S>,
    plan: Plan,
) -> anyhow::Result<Load> {
    let mut connections = Vec::with_capacity(sources.len());
    for source in sources {
        connections.push((Connection::open(address).await?, source));
    }
    let begin = Instant::now() + plan.warm_up;
    let window = Window { begin, end: begin + plan.duration, plan, sent: Arc::default() };
    let mut tasks = JoinSet::new();
    for (number, (connection, source)) in connections.into_iter().enumerate() {
        tasks.spawn(run(connection, source, window.clone(), number));
    }
    let mut total = Load::default();
    let mut last = begin;
    while let Some(ended) = tasks.join_next().await {
        let (load, until) = ended??;
        total.units += load.units;
        total.latencies_us.extend(load.latencies_us);
        last = last.max(until);
    }
    total.elapsed = if plan.at_most.is_some() { last.duration_since(begin) } else { plan.duration };
    Ok(total)
}

#[derive(Clone)]
struct Window {
    begin: Instant,
    end: Instant,
    plan: Plan,
    sent: Arc<AtomicU64>,
}

async fn run<S: Source>(
    mut connection: Connection,
    mut source: S,
    window: Window,
    number: usize,
) -> anyhow::Result<(Load, Instant)> {
    let mut load = Load::default();
    let mut request = Vec::with_capacity(1_024);
    // Spread over the period, or all would send at once.
    let mut due = Instant::now()
        + window
            .plan
            .every
            .map_or(Duration::ZERO, |every| every.mul_f64(float(number as u64) * 0.618 % 1.0));
    let mut last = window.begin;
    loop {
        let sent = window.sent.fetch_add(1, Ordering::Relaxed);
        if window.plan.at_most.is_some_and(|most| sent >= most) {
            return Ok((load, last));
        }
        let from = if let Some(every) = window.plan.every {
            tokio::time::sleep_until(due.into()).await;
            let from = due;
            due += every;
            from
        } else {
            Instant::now()
        };
        // A schedule that fell behind is not worked off after the end.
        if from.max(Instant::now()) >= window.end {
            return Ok((load, last));
        }
        request.clear();
        source.next(&mut request);
        let answer = connection.call(&request).await?;
        let done = Instant::now();
        let Some(units) = source.judge(answer) else {
            let body = String::from_utf8_lossy(answer.body);
            let shown: String = body.chars().take(SHOWN_BYTES).collect();
            bail!("unexpected answer {}: {shown}", answer.status);
        };
        if done >= window.begin && done < window.end {
            load.units += units;
            load.latencies_us.push(
                u64::try_from(done.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX),
            );
            last = done;
        }
    }
}

/// Writes one request; the body follows its head in the same buffer.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    line: &str,
    bearer: Option<&str>,
    key: Option<&str>,
    body: Option<&str>,
) {
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in [("authorization: Bearer ", bearer), ("idempotency-key: ", key)] {
        if let Some(value) = value {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(body) = body {
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        out.extend_from_slice(head.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default().as_bytes());
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{Answer, Duration, Head, Plan, Source, drive, write_request};

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let answer = b"HTTP/1.1 201 Created\r\nETag: x\r\nContent-Length: 5\r\n\r\nhello";
        let head = Head { status: 201, body_start: answer.len() - 5, body_length: 5 };
        assert_eq!(Head::parse(answer).unwrap(), Some(head));
        assert_eq!(Head::parse(&answer[..answer.len() - 7]).unwrap(), None);
        for bad in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 x OK\r\ncontent-length: 1\r\n\r\n"] {
            assert!(Head::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_carry_what_they_are_given() {
        let mut out = Vec::new();
        write_request(&mut out, "POST /a", Some("t"), Some("k"), Some("{}"));
        let text = String::from_utf8(out).unwrap();
        let head = "POST /a HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer t\r\n\
                    idempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(text, head);
    }

    struct Gets;

    impl Source for Gets {
        fn next(&mut self, out: &mut Vec<u8>) {
            write_request(out, "GET /", None, None, None);
        }

        fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
            (answer.status == 200).then_some(1)
        }
    }

    /// Answers everything with `status`, in pieces.
    async fn serve(status: u16) -> std::net::SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 1_024];
                    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\nbo");
                        stream.write_all(head.as_bytes()).await.unwrap();
                        tokio::task::yield_now().await;
                        stream.write_all(b"dy").await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_counted_load_ends_with_its_count() {
        let plan = Plan {
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(60),
            at_most: Some(20),
            every: None,
        };
        let load = drive(serve(200).await, vec![Gets, Gets, Gets], plan).await.unwrap();
        assert_eq!((load.units, load.latencies_us.len()), (20, 20));
        assert!(load.elapsed < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn an_unexpected_answer_ends_the_load_and_is_shown() {
        let plan = Plan::lasting(Duration::from_secs(60));
        let error = drive(serve(503).await, vec![Gets], plan).await.unwrap_err();
        assert_eq!(error.to_string(), "unexpected answer 503: body");
    }
}
