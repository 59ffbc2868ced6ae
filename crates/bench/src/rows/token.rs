//! Owns the rows of token verification: identity's own door, in this process, over the
//! stage's database, against nothing but the signature. Refuses to know claims.

use std::sync::Arc;
use std::time::{Duration, Instant};

use access::Policies;
use anyhow::Context as _;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{Identity, IdentityConfig};
use operation::{AccessLog, Operations};
use serde_json::json;
use tenancy::directory::Directory;
use tenancy::keyring::Keyring;
use tenancy::{Clock, Database, DatabaseConfig, RequestInfo};
use vault::password::{Hasher, HasherOptions, Pepper, Peppers};
use vault::{RootKey, RootKeys};

use super::{Effort, alternate, figures};
use crate::load::{Connection, write_request};
use crate::report::Outcome;
use crate::stage::{Stage, sign_in};
use crate::statistics::{float, percentile};

/// Tokens of one session that nobody has seen.
const FRESH_TOKENS: usize = 64;

pub(super) async fn cached(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let verifying = Verifying::set_up(stage).await?;
    let token = &stage.sessions[0].access_token;
    let bare = [BareToken::of(token)?];
    let from = Arc::new(RequestInfo::default());
    let identity = verifying.identity();
    alternate(
        effort,
        async || {
            let (started, mut calls) = (Instant::now(), 0);
            while started.elapsed() < effort.short_window() {
                for _ in 0..256 {
                    identity
                        .authenticate(token, Arc::clone(&from))
                        .await
                        .map_err(|refusal| refused(&refusal))?;
                }
                calls += 256;
            }
            Ok(float(calls) / started.elapsed().as_secs_f64())
        },
        async || verifying.bare_a_second(&bare, effort.short_window()),
    )
    .await
}

pub(super) async fn uncached(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let verifying = Verifying::set_up(stage).await?;
    let tokens = fresh_tokens(stage).await?;
    let bare = tokens.iter().map(|token| BareToken::of(token)).collect::<Result<Vec<_>, _>>()?;
    let from = Arc::new(RequestInfo::default());
    alternate(
        effort,
        async || {
            let (mut spent, mut calls) = (Duration::ZERO, 0);
            while spent < effort.short_window() {
                // A new one has seen no token; the first call loads tenant and session.
                let identity = verifying.identity();
                let (first, unseen) = tokens.split_first().context("no token")?;
                identity
                    .authenticate(first, Arc::clone(&from))
                    .await
                    .map_err(|refusal| refused(&refusal))?;
                let started = Instant::now();
                for token in unseen {
                    identity
                        .authenticate(token, Arc::clone(&from))
                        .await
                        .map_err(|refusal| refused(&refusal))?;
                }
                spent += started.elapsed();
                calls += unseen.len() as u64;
            }
            Ok(float(calls) / spent.as_secs_f64())
        },
        async || verifying.bare_a_second(&bare, effort.short_window()),
    )
    .await
}

/// The first session warms tenant and keys; each other is asked for once, of an identity
/// that has never seen it.
pub(super) async fn session(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let parts = Parts::of(stage)?;
    let from = Arc::new(RequestInfo::default());
    let authenticate = async |identity: &Identity, token: &str| {
        let started = Instant::now();
        let found = identity.authenticate(token, Arc::clone(&from)).await;
        found.map_err(|refusal| refused(&refusal))?;
        anyhow::Ok(started.elapsed())
    };
    let (warming, unseen) = stage.sessions.split_first().context("nobody is signed in")?;
    let mut means_ms = Vec::with_capacity(effort.rounds);
    let mut each_us = Vec::new();
    for _ in 0..effort.rounds {
        let (mut spent, first) = (Duration::ZERO, each_us.len());
        while spent < effort.short_window() {
            let identity = parts.identity();
            authenticate(&identity, &warming.access_token).await?;
            for signed_in in unseen {
                let took = authenticate(&identity, &signed_in.access_token).await?;
                spent += took;
                each_us.push(u64::try_from(took.as_micros())?);
            }
        }
        means_ms.push(spent.as_secs_f64() * 1e3 / float((each_us.len() - first) as u64));
    }
    let mut outcome = figures(&means_ms);
    outcome.note = Some(format!(
        "of {} calls p99 {:.2} ms",
        each_us.len(),
        float(percentile(&mut each_us, 99)) / 1e3
    ));
    Ok(outcome)
}

fn refused(refusal: &operation::Refusal) -> anyhow::Error {
    anyhow::anyhow!("a genuine token was refused: {refusal:?}")
}

/// What identities are made of, and the tenant's public key alone.
struct Verifying {
    parts: Parts,
    key: ParsedPublicKey,
}

struct Parts {
    operations: Operations,
    directory: Directory,
    keyring: Arc<Keyring>,
    hasher: Arc<Hasher>,
    public_url: String,
}

impl Parts {
    /// As the composition root puts them together, over the stage's database.
    fn of(stage: &Stage) -> anyhow::Result<Self> {
        let config =
            DatabaseConfig::new(stage.ready.database_url.as_str()).with_role("strongroom_app");
        let database = Database::new(&config)?;
        let roots = RootKeys::new(RootKey::parse(&stage.ready.encryption_key)?, None);
        let peppers = Peppers::new(Pepper::derive(roots.encryption()), Vec::new());
        let policies = Arc::new(Policies::load()?);
        Ok(Self {
            operations: Operations::new(database.clone(), policies, AccessLog::default()),
            directory: Directory::new(database),
            keyring: Arc::new(Keyring::new(roots)),
            hasher: Arc::new(Hasher::start(HasherOptions::production(peppers))?),
            public_url: stage.ready.base_url.clone(),
        })
    }

    /// One that has seen nothing yet.
    fn identity(&self) -> Identity {
        Identity::new(
            self.operations.clone(),
            self.directory.clone(),
            Arc::clone(&self.keyring),
            Arc::clone(&self.hasher),
            Clock::System,
            IdentityConfig {
                public_url: self.public_url.clone(),
                jwt_secret: None,
                exempt_loopback: true,
                sealed: &[],
            },
        )
    }
}

/// Identity over the stage's database, in this process.
pub(super) fn identity_of(stage: &Stage) -> anyhow::Result<Identity> {
    Ok(Parts::of(stage)?.identity())
}

impl Verifying {
    async fn set_up(stage: &Stage) -> anyhow::Result<Self> {
        let parts = Parts::of(stage)?;
        let jwks = parts.identity().jwks(&stage.ready.manifest.tenant).await;
        let jwks = jwks.map_err(|error| anyhow::anyhow!("no keys: {error:?}"))?;
        let part = |name: &str| -> anyhow::Result<Vec<u8>> {
            let text = jwks["keys"][0][name].as_str().context("the tenant does not sign RS256")?;
            Ok(URL_SAFE_NO_PAD.decode(text)?)
        };
        let key = RsaPublicKeyComponents { n: part("n")?, e: part("e")? }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        Ok(Self { parts, key: key.ok().context("the tenant's public key does not parse")? })
    }

    fn identity(&self) -> Identity {
        self.parts.identity()
    }

    fn bare_a_second(&self, tokens: &[BareToken], window: Duration) -> anyhow::Result<f64> {
        let (started, mut calls) = (Instant::now(), 0);
        while started.elapsed() < window {
            for token in tokens {
                let verified = self.key.verify_sig(&token.message, &token.signature);
                anyhow::ensure!(verified.is_ok(), "the bare verification fails");
            }
            calls += tokens.len() as u64;
        }
        Ok(float(calls) / started.elapsed().as_secs_f64())
    }
}

/// A token taken apart beforehand: the limit does nothing but verify.
struct BareToken {
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl BareToken {
    fn of(token: &str) -> anyhow::Result<Self> {
        let (message, signature) = token.rsplit_once('.').context("not a token")?;
        Ok(Self {
            message: message.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD.decode(signature)?,
        })
    }
}

/// Access tokens of one new session: a refresh token that is presented again within
/// its grace gives another one.
async fn fresh_tokens(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(stage.address).await?;
    let person = stage.ready.manifest.users.get(stage.sessions.len());
    let person = person.context("too few people")?;
    let signed_in = sign_in(&mut connection, &stage.ready.manifest, person).await?;
    let body = json!({ "refresh_token": signed_in.refresh_token }).to_string();
    let mut request = Vec::new();
    write_request(&mut request, "POST /v1/auth/refresh", None, None, Some(&body));
    let mut tokens = Vec::with_capacity(FRESH_TOKENS);
    while tokens.len() < FRESH_TOKENS {
        let answer = connection.call(&request).await?;
        let grant: serde_json::Value = serde_json::from_slice(answer.body)?;
        let token = grant["access_token"].as_str();
        let token = token.with_context(|| format!("refresh answered {}", answer.status))?;
        tokens.push(token.to_owned());
    }
    Ok(tokens)
}
