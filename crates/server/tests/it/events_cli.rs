//! `strongroom events` over the real binary: the log read on, followed while it grows, and
//! told again to a webhook.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use events::Relay;
use serde_json::{Value, json};

use crate::{
    bank_world::open,
    cli::strongroom,
    harness::App,
    webhooks::{Sink, change, create, deliver},
};

fn command(app: &App, folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = strongroom(folder.path());
    command.env("DATABASE_URL", app.database.superuser_url());
    command.env("ENCRYPTION_KEY", "07".repeat(32)).arg("events").args(arguments);
    command
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.code(), text.concat())
}

async fn relayed(app: &App) {
    let relay = Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone());
    relay.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_on_from_a_position_and_only_as_asked() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 3).await;
    change(&app, &rival, rival.customers[0].accounts[0], 1).await;
    relayed(&app).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let words = [words, &["--tenant", "bank", "-o", "json"]].concat();
        told(&command(&app, &folder, &words).output().unwrap())
    };
    let list = |words: &[&str]| {
        let (code, text) = run(&[&["list"], words].concat());
        assert_eq!(code, Some(0), "{text}");
        serde_json::from_str::<Vec<Value>>(&text).unwrap()
    };
    let object = account.to_string();
    let updated = list(&["--type", "account.updated", "--object-id", &object]);
    assert_eq!(updated.len(), 3, "{updated:?}");
    let sequence = |event: &Value| event["sequence"].as_i64().unwrap();
    assert!(updated.windows(2).all(|pair| sequence(&pair[0]) + 1 == sequence(&pair[1])));
    assert!(updated.iter().all(|event| event["object_id"] == object && event["data"].is_object()));
    let second = updated[1]["position"].to_string();
    let behind = list(&["--after", &second, "--object-type", "account", "--object-id", &object]);
    assert_eq!(behind, updated[2..]);
    assert_eq!(list(&["--limit", "1"]).len(), 1);
    for (words, code, part) in [
        (&["list", "--limit", "0"][..], 2, "--limit"),
        (&["list", "--type", "account.gone"], 2, "--type"),
        (&["list", "--object-type", "ghost"], 2, "--object-type"),
        (&["list", "--after=-1"], 2, "--after"),
        (&["list", "--after", "100000"], 1, "position_unknown"),
        (&["replay", &"0".repeat(32)], 2, "--from"),
        (&["replay", &"0".repeat(32), "--from", "1"], 1, "not_found"),
        (&["replay", &"0".repeat(32), "--from", "0"], 1, "not_found"),
    ] {
        let (found, text) = run(words);
        assert!(found == Some(code) && text.contains(part), "{words:?}: {found:?} {text}");
    }
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'event.list' AND actor_kind = 'cli'";
    let looks: i64 = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert!(looks > 0, "reads leave a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_followed_until_interrupted() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 1).await;
    relayed(&app).await;
    let folder = tempfile::tempdir().unwrap();
    let words = ["tail", "--tenant", "bank", "--after", "0", "--object-type", "account"];
    let mut tail = command(&app, &folder, &words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let mut before = 0;
    let mut until = |name: &str| loop {
        let event = next();
        let position = event["position"].as_i64().unwrap();
        assert!(position > before, "{event}");
        before = position;
        if event["type"] == name {
            return event;
        }
    };
    assert_eq!(until("account.updated")["object_id"], account.to_string());
    change(&app, &app.bank, account, 1).await;
    relayed(&app).await;
    assert_eq!(until("account.updated")["object_id"], account.to_string());
    let pid = tail.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(tail.wait().unwrap().code(), Some(0), "to interrupt is how it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_has_a_webhook_told_again() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 2).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 2);
    let folder = tempfile::tempdir().unwrap();
    let id = id.to_string();
    let replay = |words: &[&str]| {
        let place = ["replay", &id, "--tenant", "bank", "-o", "json"];
        let output = command(&app, &folder, &[&place, words].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let event = sink.ids()[1].trim_start_matches("msg_").to_owned();
    assert_eq!(replay(&["--event", &event]), json!({ "webhook": id, "events": 1 }));
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 1);
    assert_eq!(replay(&["--from", "1"])["events"], 2);
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 2);
    let ids = sink.ids();
    assert_eq!(ids[2..], [ids[1].clone(), ids[0].clone(), ids[1].clone()]);
}
