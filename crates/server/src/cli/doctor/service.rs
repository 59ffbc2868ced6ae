//! Owns asking the running server, over its own plain HTTP listener: does it
//! answer, is it ready, which headers does it send.
//!
//! It refuses to speak TLS: what a proxy in front does is asked with curl.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Patient;
use super::report::Finding;

pub(super) const ALIVE: &str = "server.alive";
pub(super) const READY: &str = "server.ready";
pub(super) const PUBLIC: &str = "server.public_url";

const PATIENCE: Duration = Duration::from_secs(3);
/// Headers and the short answers of the probes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The first line of the body.
    pub line: String,
}

/// Every check of this file, and the server's answer where one answers.
pub(super) async fn check(patient: &Patient<'_>) -> (Vec<Finding>, Option<Answer>) {
    let configuration = patient.configuration;
    let running = configuration.running();
    let address = match running {
        Some(running) => host_of(&running.base_url).map(str::to_owned),
        None => configuration.listen_address().ok().map(|address| {
            if address.ip().is_unspecified() {
                format!("127.0.0.1:{}", address.port())
            } else {
                address.to_string()
            }
        }),
    };
    let Some(address) = address else {
        let why = "LISTEN_ADDRESS is not one";
        return ([ALIVE, READY, PUBLIC].map(|check| Finding::skipped(check, why)).into(), None);
    };
    let live = get(&address, "/livez").await;
    let mut findings = match &live {
        Ok(answer) if answer.status == 200 => {
            vec![
                Finding::ok(ALIVE, format!("a server answers at {address}")),
                ready(&address).await,
            ]
        }
        Ok(answer) => {
            let found =
                format!("{address}/livez answers {}: something else listens there", answer.status);
            let mend = format!("ss -ltnp 'sport = :{}'", port_of(&address));
            vec![
                Finding::fault(ALIVE, found, mend),
                Finding::skipped(READY, "nothing of ours answers"),
            ]
        }
        Err(_) => absent(running.map(|running| running.pid), &address),
    };
    findings.push(public(configuration.public_url(), live.is_ok(), running.is_some()).await);
    (findings, live.ok().filter(|answer| answer.status == 200))
}

/// In development the note says that one should run; elsewhere it may be stopped on purpose.
fn absent(pid: Option<u32>, address: &str) -> Vec<Finding> {
    let alive = match pid {
        Some(pid) => Finding::fault(
            ALIVE,
            format!("no server answers at {address}: process {pid} of `dev` is gone or stuck"),
            "./scripts/dev   (in another terminal; it cleans up after the one that was killed)",
        ),
        None => Finding::skipped(
            ALIVE,
            format!("no server answers at {address}; start one: strongroom serve"),
        ),
    };
    vec![alive, Finding::skipped(READY, "no server answers")]
}

async fn ready(address: &str) -> Finding {
    match get(address, "/readyz").await {
        Ok(answer) if answer.status == 200 => Finding::ok(READY, "it is ready"),
        Ok(answer) => Finding::fault(
            READY,
            format!("it is not ready: {}", answer.line),
            if answer.line.contains("draining") {
                "wait: it is shutting down"
            } else {
                "pg_isready   (the server cannot reach its database; its log says why)"
            },
        ),
        Err(error) => Finding::fault(
            READY,
            format!("/readyz does not answer: {error}"),
            format!("curl -v http://{address}/readyz"),
        ),
    }
}

async fn public(url: &str, serves: bool, is_development: bool) -> Finding {
    if !serves {
        return Finding::skipped(PUBLIC, "no server answers");
    }
    if is_development {
        return Finding::ok(PUBLIC, format!("{url} is that server"));
    }
    let Some(address) = host_of(url) else {
        return Finding::skipped(
            PUBLIC,
            format!("https is the proxy's; ask it: curl -fsS {url}/livez"),
        );
    };
    match get(address, "/livez").await {
        Ok(answer) if answer.status == 200 => Finding::ok(PUBLIC, format!("{url} answers")),
        _ => Finding::warning(
            PUBLIC,
            format!("{url} is what clients are told, and does not answer from here"),
            "strongroom config explain PUBLIC_URL",
        ),
    }
}

/// `host:port` of a plain HTTP origin.
fn host_of(url: &str) -> Option<&str> {
    url.strip_prefix("http://")
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// One request over one connection.
pub(super) async fn get(address: &str, path: &str) -> std::io::Result<Answer> {
    let ask = async {
        let with_port =
            if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
        let mut stream = TcpStream::connect(with_port).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let bytes = tokio::time::timeout(PATIENCE, ask)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, line: body.lines().next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{host_of, parse};

    #[test]
    fn answers_are_taken_apart() {
        let answer =
            parse("HTTP/1.1 503 Service Unavailable\r\nX-Frame-Options: DENY\r\n\r\ndraining\n");
        let answer = answer.map(|one| (one.status, one.headers, one.line));
        let headers = vec![("x-frame-options".to_owned(), "DENY".to_owned())];
        assert_eq!(answer, Some((503, headers, "draining".to_owned())));
        for nonsense in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 x y\r\n\r\n"] {
            assert!(parse(nonsense).is_none(), "{nonsense}");
        }
        assert_eq!(host_of("http://localhost:8080"), Some("localhost:8080"));
        assert_eq!(host_of("https://bank.example"), None);
    }
}
