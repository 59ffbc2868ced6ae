//! Owns what the time of an answer tells of names: the same question about one that somebody
//! has and one that nobody has, in random order, compared by the ranks of their times. Told
//! and not judged: a clock on a busy machine proves nothing to the microsecond. That the
//! answers are the same is checked for each pair.
//!
//! A door of the interface is a row of [`Door`]s. Refuses to know what happens behind it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Effort, http::Dice};
use crate::load::{Connection, write_request};
use crate::report::Outcome;
use crate::stage::{Manifest, Stage};
use crate::statistics::{RankTest, Round, Summary, median};

/// A way to ask about a name.
struct Door {
    line: &'static str,
    /// Of the tenant and a name.
    body: fn(&Manifest, &str) -> Value,
    /// Of each kind of name; and in a quick run.
    samples: (usize, usize),
    /// What is done after the answer is over when this has passed: it is not the next one's.
    pause: Duration,
    /// What opens it, where the policy has it shut.
    opened_by: Option<&'static str>,
}

/// After so long every node has read a change of policy.
const POLICY_READ: Duration = Duration::from_millis(1_100);

/// Each answer takes a hash, so few of them are many seconds. Nobody is asked for so often
/// that they would be locked.
const LOGIN: Door = Door {
    line: "POST /v1/auth/login",
    body: |manifest, name| json!({ "tenant": manifest.tenant, "username": name, "password": "Not-It-9-Battery" }),
    samples: (300, 6),
    pause: Duration::ZERO,
    opened_by: None,
};

const FORGOT: Door = Door {
    line: "POST /v1/auth/password/forgot",
    body: |manifest, name| json!({ "tenant": manifest.tenant, "username": name }),
    samples: (400, 40),
    pause: Duration::from_millis(25),
    opened_by: None,
};

/// Whoever asks under a name that nobody has is somebody afterwards, so each is asked about
/// once.
const SIGN_UP: Door = Door {
    line: "POST /v1/auth/register",
    body: |manifest, name| {
        let email = format!("{name}@{}.example", manifest.tenant);
        json!({ "tenant": manifest.tenant, "username": name, "email": email })
    },
    samples: (100, 20),
    pause: Duration::from_millis(40),
    opened_by: Some(
        "UPDATE security_policies SET policy = jsonb_set(policy, '{self_registration}', 'true') \
         WHERE tenant_id = $1",
    ),
};

pub(super) async fn login(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    compare(stage, &LOGIN, effort).await
}

pub(super) async fn forgot(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    compare(stage, &FORGOT, effort).await
}

pub(super) async fn sign_up(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    compare(stage, &SIGN_UP, effort).await
}

async fn compare(stage: &Stage, door: &Door, effort: Effort) -> anyhow::Result<Outcome> {
    // Behind those whose sessions other rows use, and before those who have factors.
    let people = stage.ready.manifest.users.get(stage.sessions.len()..160);
    let people = people.context("too few people")?;
    if let Some(change) = door.opened_by {
        stage.client().await?.execute(change, &[&stage.tenant]).await?;
        tokio::time::sleep(POLICY_READ).await;
    }
    let count = if effort.quick { door.samples.1 } else { door.samples.0 };
    let mut dice = Dice::new(count);
    let mut asking = Asking {
        connection: Connection::open(stage.address).await?,
        manifest: &stage.ready.manifest,
        door,
    };
    let (mut known, mut unknown) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..=count {
        let name = &people[number % people.len()].username;
        let first = *dice.pick(&[true, false]);
        let one = asking.ask(name, first).await?;
        let other = asking.ask(name, !first).await?;
        anyhow::ensure!(one.0 == other.0, "the answers differ: {} and {}", one.0, other.0);
        // The first pair opens the connection's caches.
        if number > 0 {
            let (of_known, of_unknown) = if first { (one, other) } else { (other, one) };
            known.push(of_known.1);
            unknown.push(of_unknown.1);
        }
    }
    let ranks = RankTest::of(&known, &unknown);
    let round = Round { measured: median(known), limit: median(unknown) };
    let note = format!(
        "{count} each; the known one is slower in {:.1} % of pairs, by chance as uneven in {:.0} % of runs",
        ranks.larger * 100.0,
        ranks.chance * 100.0
    );
    Ok(Outcome { summary: Summary::of(&[round]), rounds: 1, note: Some(note) })
}

struct Asking<'a> {
    connection: Connection,
    manifest: &'a Manifest,
    door: &'a Door,
}

impl Asking<'_> {
    /// What is answered, without what no two answers share, and the milliseconds it took.
    async fn ask(&mut self, name: &str, known: bool) -> anyhow::Result<(String, f64)> {
        // As long as the known one.
        let unknown = name.replacen(|first: char| first.is_ascii_lowercase(), "q", 1);
        let body = (self.door.body)(self.manifest, if known { name } else { &unknown });
        let mut request = Vec::new();
        write_request(&mut request, self.door.line, None, None, Some(&body.to_string()));
        let started = Instant::now();
        let answer = self.connection.call(&request).await?;
        let took_ms = started.elapsed().as_secs_f64() * 1e3;
        let mut said: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        if let Some(members) = said.as_object_mut() {
            members.retain(|name, _| name != "request_id" && name != "instance");
        }
        let said = format!("{} {said}", answer.status);
        anyhow::ensure!(answer.status < 500 && answer.status != 429, "not let in: {said}");
        tokio::time::sleep(self.door.pause).await;
        Ok((said, took_ms))
    }
}
