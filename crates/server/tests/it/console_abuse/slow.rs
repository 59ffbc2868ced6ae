//! Forms that are begun and never sent whole, over a socket.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    console::Browser,
    harness::{App, unlimited},
};

const LIMIT: Duration = Duration::from_millis(400);

/// Announces a form, sends a letter of it now and then, and reads what it is answered.
async fn dribbled(port: u16, path: &str, cookies: &str, letters: usize) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\ncookie: {cookies}\r\n\
         sec-fetch-site: same-origin\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: 60000\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dribble = tokio::spawn(async move {
        for _ in 0..letters {
            if writing.write_all(b"x").await.is_err() {
                break;
            }
            tokio::time::sleep(LIMIT / 8).await;
        }
        // Not closed: somebody who hangs up is no longer waited for.
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    let read = reading.read_to_end(&mut answer);
    // Whoever still writes may find the connection reset once the answer is there.
    let _ = tokio::time::timeout(Duration::from_secs(8), read).await.expect("an answer in time");
    dribble.abort();
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

#[tokio::test]
async fn a_form_that_never_comes_is_not_waited_for() {
    let limit = u64::try_from(LIMIT.as_millis()).unwrap();
    let app = App::start_with(api::ApiConfig { request_timeout_ms: limit, ..unlimited() }).await;
    let (port, acceptor) = app.listen().await;
    let browser = Browser::signed_in(&app, "bank", "admin").await;
    let session = browser.jar();
    // Nothing at all, and a letter again and again: the time is the whole form's.
    let table = [
        ("/login", "a=b", 0),
        ("/login", "a=b", 40),
        ("/preferences/theme", "a=b", 0),
        ("/customers/new", session.as_str(), 0),
        ("/transfers", session.as_str(), 40),
    ];
    for (path, cookies, letters) in table {
        let (answer, took) = dribbled(port, path, cookies, letters).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{path} {letters}: {answer}");
        assert!(answer.contains("The form took too long"), "{path}: {answer}");
        assert!(took >= LIMIT && took < Duration::from_secs(5), "{path} {letters}: {took:?}");
    }
    // What comes in time is taken.
    let mut browser = browser;
    assert_eq!(browser.post(&app, "/preferences/theme", &[("theme", "dark")]).await.status, 303);
    acceptor.stop(Duration::from_secs(5)).await;
}
