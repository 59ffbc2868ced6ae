//! Owns the rows of tokens over HTTP: how many refreshes and introspections a second, and
//! what a handler with nothing of ours around the same work does. Refuses to know claims.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use identity::{Identity, NewApiKey};
use serde::Deserialize;
use serde_json::json;
use tenancy::{ActorKind, Clock, OpContext};

use super::token::identity_of;
use super::{Effort, figures_beside};
use crate::load::{Answer, Connection, Plan, Source, drive, write_request};
use crate::report::Outcome;
use crate::stage::{Stage, sign_in};

/// Sessions that refresh at once: each signs in first, which costs a bcrypt.
const FAMILIES: usize = 24;
const FAMILIES_QUICK: usize = 8;
const INTROSPECTORS: usize = 32;
/// A core bank's own choice. Signing RS256 with 3072 bits takes more than a millisecond of a
/// core, which would be all that is measured.
const SIGN_HS256: &str = "UPDATE security_policies \
    SET policy = jsonb_set(policy, '{token,algorithm}', '\"HS256\"') WHERE tenant_id = $1";

const ANALYSE: &str = "ANALYZE users, user_roles, user_devices, user_sessions, refresh_tokens";

/// One family of refresh tokens: each answer brings the token of the next request.
struct Refreshes {
    line: &'static str,
    token: String,
}

#[derive(Deserialize)]
struct Next {
    refresh_token: String,
}

impl Source for Refreshes {
    fn next(&mut self, out: &mut Vec<u8>) {
        let body = format!("{{\"refresh_token\":\"{}\"}}", self.token);
        write_request(out, self.line, None, None, Some(&body));
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        let next: Next = serde_json::from_slice(answer.body).ok()?;
        self.token = next.refresh_token;
        (answer.status == 200).then_some(1)
    }
}

pub(super) async fn refresh(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let plan = plan(effort);
    stage.client().await?.execute(SIGN_HS256, &[&stage.tenant]).await?;
    let (identity, operator) = operator(stage).await?;
    let rotated = identity.rotate_signing_key(&operator).await;
    rotated.map_err(|error| anyhow::anyhow!("no rotation: {error:?}"))?;
    let families = if effort.quick { FAMILIES_QUICK } else { FAMILIES };
    let mut tokens = families_of(stage, families).await?;
    // Autovacuum does so within a minute of an installation's life. Before, PostgreSQL thinks
    // that a tenant has no sessions, and enters each join by all of them.
    stage.client().await?.batch_execute(ANALYSE).await?;
    let mut bare: Vec<String> = (0..families).map(|number| format!("bare-{number}")).collect();
    let rate = async |address, line: &'static str, tokens: &mut Vec<String>| {
        let sources: Vec<_> =
            tokens.drain(..).map(|token| Kept::new(Refreshes { line, token })).collect();
        let last: Vec<_> = sources.iter().map(Kept::clone).collect();
        let load = drive(address, sources, plan).await?;
        // The next round goes on where this one ended.
        tokens.extend(last.iter().map(|kept| kept.with(|source| source.token.clone())));
        anyhow::Ok(load.per_second())
    };
    figures_beside(
        effort,
        "a bare handler doing the same SQL",
        async || rate(stage.address, "POST /v1/auth/refresh", &mut tokens).await,
        async || rate(stage.bare_address, "POST /refresh", &mut bare).await,
    )
    .await
}

/// Neither half is slow to settle: a quick run needs no more than half of its window.
fn plan(effort: Effort) -> Plan {
    Plan::lasting(if effort.quick { effort.window / 2 } else { effort.window })
}

/// Refresh tokens of new sessions, a few people with several each.
async fn families_of(stage: &Stage, count: usize) -> anyhow::Result<Vec<String>> {
    // Behind those whose sessions other rows use, and no more of one person than may be.
    let people = &stage.ready.manifest.users[stage.sessions.len()..];
    let people = people.iter().cycle().take(count);
    let signing_in = people.map(async |person| {
        let mut connection = Connection::open(stage.address).await?;
        let signed_in = sign_in(&mut connection, &stage.ready.manifest, person).await?;
        anyhow::Ok(signed_in.refresh_token)
    });
    futures_util::future::try_join_all(signing_in).await
}

/// A source whose state outlives its load.
struct Kept<S>(Arc<Mutex<S>>);

impl<S> Kept<S> {
    fn new(source: S) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn with<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Source> Source for Kept<S> {
    fn next(&mut self, out: &mut Vec<u8>) {
        self.with(|source| source.next(out));
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        self.with(|source| source.judge(answer))
    }
}

/// The same question again and again, of a token of one of the signed-in.
struct Introspections {
    line: &'static str,
    bearer: Option<String>,
    body: String,
}

impl Source for Introspections {
    fn next(&mut self, out: &mut Vec<u8>) {
        write_request(out, self.line, self.bearer.as_deref(), None, Some(&self.body));
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        let active = b"\"active\":true";
        let is_active = answer.body.windows(active.len()).any(|part| part == active);
        (answer.status == 200 && is_active).then_some(1)
    }
}

pub(super) async fn introspection(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let plan = plan(effort);
    let secret = machine(stage).await?;
    let rate = async |address, line: &'static str, bearer: Option<&str>| {
        let sources = (0..INTROSPECTORS).map(|number| Introspections {
            line,
            bearer: bearer.map(str::to_owned),
            body: json!({ "token": stage.session(number).access_token }).to_string(),
        });
        anyhow::Ok(drive(address, sources.collect(), plan).await?.per_second())
    };
    figures_beside(
        effort,
        "a bare handler that reads the same question and answers as much",
        async || rate(stage.address, "POST /v1/auth/introspect", Some(&secret)).await,
        async || rate(stage.bare_address, "POST /introspect", None).await,
    )
    .await
}

/// An API key that may introspect, made by the operator at the command line: nobody of a
/// load installation may make one.
async fn machine(stage: &Stage) -> anyhow::Result<String> {
    let (identity, operator) = operator(stage).await?;
    let wish = NewApiKey {
        name: "bench".to_owned(),
        role: "admin".to_owned(),
        scopes: Some(vec!["session:introspect".to_owned()]),
        ..NewApiKey::default()
    };
    let made = identity.create_api_key(&operator, wish).await;
    let made = made.map_err(|error| anyhow::anyhow!("no API key: {error:?}"))?;
    Ok(made.secret.as_str().to_owned())
}

/// The operator at the command line, in the stage's tenant.
async fn operator(stage: &Stage) -> anyhow::Result<(Identity, OpContext)> {
    let identity = identity_of(stage)?;
    let tenant = identity.directory().by_slug(&stage.ready.manifest.tenant).await?;
    let tenant = tenant.context("the tenant is gone")?;
    Ok((identity, OpContext::system(tenant, ActorKind::Cli, Clock::System)))
}
