//! The life of signing keys: published before they sign, verifying after they have
//! signed, and then wiped; or revoked, which ends all of it at once.
//!
//! A key is published a day before it signs where the worker rotates, and where somebody
//! asks for it now, until every node has read of it: no token is ever signed by a key that
//! is not published everywhere. Revoking is for a key that somebody else may have: its tokens
//! are refused from the next request on, and where it was the one that signs, one that is
//! made at that moment takes over, for what gave the old one away may have given away the
//! one published beside it. Sessions are not signed by any key (cookies and refresh tokens
//! are opaque), so they go on: clients refresh once, the console notices nothing.
//!
//! Refuses to know how keys are made and opened.

use std::{fmt, time::Duration};

use access::{Permission, Resource, Scope};
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{
    Applied, Command, Failure, Found, OperationError, Page, PageRequest, Refusal, RefusalKind,
    Target, View, event, read::ViewFailure,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{
    Database, DbError, OpContext, Query, TenantTx,
    policy::{SecurityPolicy, TokenPolicy},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Identity, STATE_FRESH_FOR,
    context::key_failure,
    sessions::{Forgotten, after_of},
    signing::{self, MadeKey, algorithm_of},
};

const RECORDS: &str = tenancy::sql!("identity/keys.sql", "records");
const RECORD: &str = tenancy::sql!("identity/keys.sql", "record");
const STANDING: &str = tenancy::sql!("identity/keys.sql", "standing");
const POLICY: &str = tenancy::sql!("identity/login.sql", "state");
const LOCK: &str = tenancy::sql!("identity/keys.sql", "lock");
const DEMOTE: &str = tenancy::sql!("identity/keys.sql", "demote");
const ACTIVATE: &str = tenancy::sql!("identity/keys.sql", "activate");
const RETIRE: &str = tenancy::sql!("identity/keys.sql", "retire");
const REVOKE: &str = tenancy::sql!("identity/keys.sql", "revoke");

/// How long before it signs a key is published, where nobody is in a hurry: verifiers keep
/// what they have read for minutes, some for hours.
const PUBLISHED_AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// How long every node may take to read of a new key, with a little for the reading.
const KNOWN_EVERYWHERE: Duration = STATE_FRESH_FOR.saturating_add(Duration::from_millis(250));
/// How much longer than its tokens live a key verifies: for a node that signed with it in
/// the second before it read of the change, and for clocks that differ.
const SLACK_S: i64 = 60;
/// A key is made before the lock is taken, and may by then not be what is needed.
const ATTEMPTS: u32 = 4;

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Published, signs nothing yet.
    PrePublished,
    /// Signs.
    Active,
    /// Signs no more; its tokens are still good.
    VerifyOnly,
    /// Good for nothing, its secret destroyed.
    Retired,
}

impl KeyStatus {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrePublished => "pre_published",
            Self::Active => "active",
            Self::VerifyOnly => "verify_only",
            Self::Retired => "retired",
        }
    }

    fn of(name: &str) -> Result<Self, DbError> {
        [Self::PrePublished, Self::Active, Self::VerifyOnly, Self::Retired]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| DbError::Corrupt(format!("a signing key is {name}")))
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A signing key, without any part of it that signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRecord {
    /// Its `kid` in tokens and key sets.
    pub id: Uuid,
    /// `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: String,
    /// Counts the tenant's keys.
    pub epoch: i32,
    /// Where it stands.
    pub status: KeyStatus,
    /// When it was made and published.
    pub created_at: Timestamp,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// When its last token will have expired, once it signs no more.
    pub verify_until: Option<Timestamp>,
    /// When its secret was destroyed.
    pub retired_at: Option<Timestamp>,
    /// When somebody ended it before its time.
    pub revoked_at: Option<Timestamp>,
}

impl SigningKeyRecord {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("key_id")?,
            algorithm: row.try_get("algorithm")?,
            epoch: row.try_get("epoch")?,
            status: KeyStatus::of(row.try_get("status")?)?,
            created_at: row.try_get("created_at")?,
            activated_at: row.try_get("activated_at")?,
            verify_until: row.try_get("verify_until")?,
            retired_at: row.try_get("retired_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    }
}

/// A key that is not retired, as far as its next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    id: Uuid,
    algorithm: String,
    status: KeyStatus,
    created_at: Timestamp,
    activated_at: Option<Timestamp>,
    verify_until: Option<Timestamp>,
}

impl Standing {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("key_id")?,
            algorithm: row.try_get("algorithm")?,
            status: KeyStatus::of(row.try_get("status")?)?,
            created_at: row.try_get("created_at")?,
            activated_at: row.try_get("activated_at")?,
            verify_until: row.try_get("verify_until")?,
        })
    }
}

/// What the next step of a tenant's keys is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Make the next key known.
    Publish,
    /// Let a published key sign.
    Activate(Uuid),
    /// Destroy a key whose tokens have all expired.
    Retire(Uuid),
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Activate(_) => "activate",
            Self::Retire(_) => "retire",
        }
    }
}

/// The key that signs next, if it is there and signs as policy wants now.
fn next_of<'a>(keys: &'a [Standing], policy: &TokenPolicy) -> Option<&'a Standing> {
    let wanted = algorithm_of(policy.algorithm).as_str();
    keys.iter().find(|key| key.status == KeyStatus::PrePublished && key.algorithm == wanted)
}

/// What is due at this moment, if anything: the one rule of rotation.
fn due(keys: &[Standing], policy: &TokenPolicy, now: Timestamp) -> Option<Step> {
    let over = |key: &&Standing| {
        key.status == KeyStatus::VerifyOnly && key.verify_until.is_some_and(|until| until <= now)
    };
    if let Some(key) = keys.iter().find(over) {
        return Some(Step::Retire(key.id));
    }
    let active = keys.iter().find(|key| key.status == KeyStatus::Active)?;
    let period = SignedDuration::from_hours(24 * i64::from(policy.key_rotation_days.max(1)));
    let age = now.duration_since(active.activated_at.unwrap_or(active.created_at));
    // Policy has left its algorithm: the next one need not wait for its age.
    let is_outdated = active.algorithm != algorithm_of(policy.algorithm).as_str();
    match next_of(keys, policy) {
        None => (is_outdated || age >= period - PUBLISHED_AHEAD).then_some(Step::Publish),
        Some(next) => {
            let is_known = now.duration_since(next.created_at) >= PUBLISHED_AHEAD;
            (is_known && (is_outdated || age >= period)).then_some(Step::Activate(next.id))
        }
    }
}

impl Identity {
    /// Every signing key there was, newest first.
    pub async fn signing_keys(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<SigningKeyRecord>, OperationError> {
        self.inner.operations.read(context, &KeyList { page: page.clone() }).await
    }

    /// Has the next key sign from now on; the present one verifies until its last token has
    /// expired. Where no key is published yet, one is made and published first, and signs as
    /// soon as every node knows it: a little more than a second. 403 `step_up_required`.
    pub async fn rotate_signing_key(
        &self,
        context: &OpContext,
    ) -> Result<SigningKeyRecord, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let (identity, context) = (self.clone(), context.clone());
        // A task of its own: who hangs up leaves no rotation half done.
        let whole = tokio::spawn(async move {
            let next = identity.publish_next(&context).await?;
            let since = context.clock.now().duration_since(next.created_at);
            if Duration::try_from(since).map_or(true, |since| since < KNOWN_EVERYWHERE) {
                tokio::time::sleep(KNOWN_EVERYWHERE).await;
            }
            let command = ChangeKeys::new(&identity, Wish::Activate(next.id));
            identity.run_and_forget(&context, command, Forgotten::State).await
        });
        whole.await.unwrap_or(Err(OperationError::Aborted))
    }

    /// Ends a key at once, and all its tokens. Where it was the one that signs, a new one
    /// takes over. One that is retired already stays what it is. 403 `step_up_required`.
    pub async fn revoke_signing_key(
        &self,
        context: &OpContext,
        key: Uuid,
    ) -> Result<SigningKeyRecord, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let mut attempt = 1;
        loop {
            let (keys, policy) = self.standing(context).await?;
            let signs = |known: &Standing| known.id == key && known.status == KeyStatus::Active;
            let replacement = if keys.iter().any(signs) && self.may(context, Permission::KeyRevoke)
            {
                Some(self.make_signing_key(context.tenant_id(), policy.algorithm).await?)
            } else {
                None
            };
            let command = RevokeKey { identity: self.clone(), key, replacement };
            match self.run_and_forget(context, command, Forgotten::State).await {
                Err(OperationError::Refused(refusal))
                    if refusal.code == REPLACEMENT_NEEDED && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Takes the steps of rotation that are due in one tenant; for a worker. Says how many.
    pub async fn tend_signing_keys(&self, context: &OpContext) -> Result<u32, OperationError> {
        for done in 0..ATTEMPTS {
            let (keys, policy) = self.standing(context).await?;
            let Some(step) = due(&keys, &policy, context.clock.now()) else { return Ok(done) };
            let mut command = ChangeKeys::new(self, Wish::Due);
            if step == Step::Publish {
                let made = self.make_signing_key(context.tenant_id(), policy.algorithm).await?;
                command.made = Some(made);
            }
            match self.run_and_forget(context, command, Forgotten::State).await {
                // Another node was faster.
                Err(OperationError::Refused(refusal)) if refusal.code == NOTHING_DUE => {}
                outcome => drop(outcome?),
            }
        }
        Ok(ATTEMPTS)
    }

    async fn publish_next(&self, context: &OpContext) -> Result<SigningKeyRecord, OperationError> {
        let (keys, policy) = self.standing(context).await?;
        let mut command = ChangeKeys::new(self, Wish::Publish);
        // Making one takes a noticeable fraction of a second, for RSA: not for anybody.
        if next_of(&keys, &policy).is_none() && self.may(context, Permission::KeyRotate) {
            let made = self.make_signing_key(context.tenant_id(), policy.algorithm).await?;
            command.made = Some(made);
        }
        self.run_and_forget(context, command, Forgotten::State).await
    }

    /// Whether policy lets the actor do this to any object at all. Asked before a factor is:
    /// nobody proves one to be refused afterwards. The command decides again and records it.
    pub(crate) fn may(&self, context: &OpContext, permission: Permission) -> bool {
        !self.inner.operations.scope(context, permission).is_none()
    }

    async fn standing(
        &self,
        context: &OpContext,
    ) -> Result<(Vec<Standing>, TokenPolicy), OperationError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let rows = database
            .read(context, &[Query::new(STANDING, &[&tenant]), Query::new(POLICY, &[&tenant])])
            .await?;
        let [keys, policies] = rows.as_slice() else {
            return Err(DbError::Corrupt("two questions, other answers".to_owned()).into());
        };
        Ok((standing(keys)?, token_policy(policies.first())?))
    }
}

fn standing(rows: &[Row]) -> Result<Vec<Standing>, DbError> {
    rows.iter().map(Standing::read).collect()
}

fn token_policy(row: Option<&Row>) -> Result<TokenPolicy, DbError> {
    let row =
        row.ok_or_else(|| DbError::Corrupt("the tenant has no security policy".to_owned()))?;
    let policy: SecurityPolicy = serde_json::from_value(row.try_get("policy")?)
        .map_err(|error| DbError::Corrupt(format!("security policy: {error}")))?;
    Ok(policy.token)
}

/// What the keys are, behind the lock on them.
async fn locked(transaction: &TenantTx) -> Result<(Vec<Standing>, TokenPolicy), DbError> {
    let tenant = transaction.tenant();
    // The lock is a statement of its own: what follows it sees what was committed before.
    let policy = transaction.query_opt(LOCK, &[&tenant]).await?;
    let rows = transaction.pipeline(&[Query::new(STANDING, &[&tenant])]).await?;
    let keys = standing(rows.first().map_or(&[][..], Vec::as_slice))?;
    Ok((keys, token_policy(policy.as_ref())?))
}

async fn record(transaction: &TenantTx, key: Uuid) -> Result<SigningKeyRecord, Failure> {
    let row = transaction.query_opt(RECORD, &[&transaction.tenant(), &key]).await?;
    Ok(SigningKeyRecord::read(&row.ok_or_else(Refusal::not_found)?)?)
}

/// The tenant's keys for whoever may see them.
struct KeyList {
    page: PageRequest,
}

impl View for KeyList {
    const NAME: &'static str = "key.list";
    const RESOURCE: &'static str = "signing_key";
    type Output = Page<SigningKeyRecord>;

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = after_of(&self.page)?;
        let (tenant, fetch) = (context.tenant_id(), self.page.fetch());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &fetch];
        let rows = database.read(context, &[Query::new(RECORDS, &parameters)]).await?;
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(SigningKeyRecord::read)
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, &self.page, |record| record.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

const NOTHING_DUE: &str = "nothing_due";
const REPLACEMENT_NEEDED: &str = "key_replacement_needed";

/// Which step of rotation is wished for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    /// Whatever is due; refused with `nothing_due` where nothing is.
    Due,
    /// That the next key is published, whether or not it is time.
    Publish,
    /// That this key signs, whether or not it is time.
    Activate(Uuid),
}

/// One step of rotation, decided behind the lock. Answers the key that it was about.
struct ChangeKeys {
    identity: Identity,
    wish: Wish,
    /// The key to publish, where that may be the step.
    made: Option<MadeKey>,
}

impl ChangeKeys {
    fn new(identity: &Identity, wish: Wish) -> Self {
        Self { identity: identity.clone(), wish, made: None }
    }
}

impl Command for ChangeKeys {
    const NAME: &'static str = "key.rotate";
    const RESOURCE: &'static str = "signing_key";
    type Output = SigningKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<SigningKeyRecord>, Failure> {
        let (keys, policy) = locked(transaction).await?;
        let step = match self.wish {
            Wish::Due => due(&keys, &policy, context.clock.now()).ok_or_else(nothing_due)?,
            Wish::Publish => match next_of(&keys, &policy) {
                // It is there: rotating twice at once is rotating once.
                Some(next) => return already(transaction, next.id).await,
                None => Step::Publish,
            },
            Wish::Activate(key) => match keys.iter().find(|known| known.id == key) {
                Some(known) if known.status == KeyStatus::PrePublished => Step::Activate(key),
                _ => return already(transaction, key).await,
            },
        };
        let key = self.take(transaction, step, (&keys, &policy)).await?;
        let output = record(transaction, key).await?;
        let event = event(context, EventType::KeyManagement, Self::NAME, Self::RESOURCE)
            .resource_id(key)
            .details(json!({
                "step": step.as_str(), "algorithm": output.algorithm, "epoch": output.epoch,
            }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

impl ChangeKeys {
    async fn take(
        &self,
        transaction: &TenantTx,
        step: Step,
        (keys, policy): (&[Standing], &TokenPolicy),
    ) -> Result<Uuid, Failure> {
        let tenant = transaction.tenant();
        match step {
            Step::Publish => {
                let made = self.made.as_ref().filter(|made| {
                    made.algorithm().as_str() == algorithm_of(policy.algorithm).as_str()
                });
                // What was made is not what is wanted any more; the next turn makes another.
                let made = made.ok_or_else(nothing_due)?;
                // One that was to sign next, under an algorithm that policy has left.
                let outdated = |key: &&Standing| key.status == KeyStatus::PrePublished;
                if let Some(key) = keys.iter().find(outdated) {
                    transaction.execute(RETIRE, &[&tenant, &key.id]).await?;
                }
                publish(&self.identity, transaction, made, policy).await?;
                Ok(made.id())
            }
            Step::Activate(key) => {
                transaction.execute(DEMOTE, &[&tenant, &SLACK_S]).await?;
                transaction.execute(ACTIVATE, &[&tenant, &key]).await?;
                Ok(key)
            }
            Step::Retire(key) => {
                transaction.execute(RETIRE, &[&tenant, &key]).await?;
                Ok(key)
            }
        }
    }
}

async fn publish(
    identity: &Identity,
    transaction: &TenantTx,
    made: &MadeKey,
    policy: &TokenPolicy,
) -> Result<(), DbError> {
    let keys = identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
    signing::publish(transaction, &keys, made, policy.access_lifetime_s).await
}

/// Nothing was to be done; recorded as what was asked.
async fn already(transaction: &TenantTx, key: Uuid) -> Result<Applied<SigningKeyRecord>, Failure> {
    let output = record(transaction, key).await?;
    Ok(Applied { output, status: 200, events: Vec::new() })
}

fn nothing_due() -> Refusal {
    Refusal::new(RefusalKind::Conflict, NOTHING_DUE, "Another rotation was faster")
}

/// Ends a key before its time.
struct RevokeKey {
    identity: Identity,
    key: Uuid,
    /// What signs instead, where the key does.
    replacement: Option<MadeKey>,
}

impl Command for RevokeKey {
    const NAME: &'static str = "key.revoke";
    const RESOURCE: &'static str = "signing_key";
    type Output = SigningKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyRevoke
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        let row = transaction.query_opt(RECORD, &[&transaction.tenant(), &self.key]).await?;
        Ok(match row {
            Some(_) => Target::Object {
                resource: Resource::for_permission(Permission::KeyRevoke, Some(self.key)),
                read_permission: Permission::KeyRead,
                field: None,
            },
            None => Target::Missing { field: None },
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<SigningKeyRecord>, Failure> {
        let (keys, policy) = locked(transaction).await?;
        let Some(known) = keys.iter().find(|known| known.id == self.key) else {
            // Retired: there is nothing left of it to end.
            return already(transaction, self.key).await;
        };
        let (tenant, was) = (transaction.tenant(), known.status);
        transaction.execute(REVOKE, &[&tenant, &self.key]).await?;
        let (mut replaced_by, mut withdrawn) = (None, Vec::new());
        if was == KeyStatus::Active {
            let made = self.replacement.as_ref().ok_or_else(|| {
                let detail = "The key has begun to sign meanwhile; try again";
                Refusal::new(RefusalKind::Conflict, REPLACEMENT_NEEDED, detail)
            })?;
            withdrawn = self.take_over(transaction, made, (&keys, &policy)).await?;
            replaced_by = Some(made.id());
        }
        let output = record(transaction, self.key).await?;
        let event = event(context, EventType::KeyManagement, Self::NAME, Self::RESOURCE)
            .resource_id(self.key)
            .old_values(json!({ "status": was }))
            .new_values(json!({ "status": output.status }))
            .details(json!({ "replaced_by": replaced_by, "withdrawn": withdrawn }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

impl RevokeKey {
    /// The new key signs at once. One that waits to be next gives way: it is published
    /// beside the one that was given away, and may have gone with it. Returns these.
    async fn take_over(
        &self,
        transaction: &TenantTx,
        made: &MadeKey,
        (keys, policy): (&[Standing], &TokenPolicy),
    ) -> Result<Vec<Uuid>, DbError> {
        let tenant = transaction.tenant();
        let waits = |key: &&Standing| key.status == KeyStatus::PrePublished;
        let withdrawn: Vec<Uuid> = keys.iter().filter(waits).map(|key| key.id).collect();
        for key in &withdrawn {
            transaction.execute(RETIRE, &[&tenant, key]).await?;
        }
        publish(&self.identity, transaction, made, policy).await?;
        transaction.execute(ACTIVATE, &[&tenant, &made.id()]).await?;
        Ok(withdrawn)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::{SignedDuration, Timestamp};
    use tenancy::{Blueprint, policy::SecurityPolicy};
    use uuid::Uuid;

    use super::{KeyStatus, Standing, Step, due};

    const ACTIVE: Uuid = Uuid::from_u128(1);
    const NEXT: Uuid = Uuid::from_u128(2);
    const OLD: Uuid = Uuid::from_u128(3);

    fn key(id: Uuid, status: KeyStatus, algorithm: &str, hours_old: i64) -> Standing {
        let at = Timestamp::UNIX_EPOCH - SignedDuration::from_hours(hours_old);
        let signs = status != KeyStatus::PrePublished;
        Standing {
            id,
            algorithm: algorithm.to_owned(),
            status,
            created_at: at,
            activated_at: signs.then_some(at),
            verify_until: (status == KeyStatus::VerifyOnly).then_some(at),
        }
    }

    #[test]
    fn each_step_has_its_time_and_no_other() {
        use KeyStatus::{Active, PrePublished, VerifyOnly};
        let active = |hours| key(ACTIVE, Active, "HS256", hours);
        let next = |hours| key(NEXT, PrePublished, "HS256", hours);
        // Rotation is every 30 days: 720 hours.
        let table = [
            ("young", vec![active(0)], None),
            ("not yet a day before", vec![active(695)], None),
            ("a day before", vec![active(696)], Some(Step::Publish)),
            ("overdue, nothing published", vec![active(9_000)], Some(Step::Publish)),
            ("published, not yet time", vec![next(24), active(719)], None),
            ("published a day, and time", vec![next(24), active(720)], Some(Step::Activate(NEXT))),
            ("time, published too lately", vec![next(23), active(720)], None),
            (
                "of an algorithm that policy has left",
                vec![key(NEXT, PrePublished, "RS256", 24), active(720)],
                Some(Step::Publish),
            ),
            (
                "what is over goes first",
                vec![active(9_000), key(OLD, VerifyOnly, "HS256", 0)],
                Some(Step::Retire(OLD)),
            ),
            ("still verifying", vec![active(0), key(OLD, VerifyOnly, "HS256", -1)], None),
            ("nothing signs: nothing to rotate", vec![next(100)], None),
            (
                "young, of an algorithm that policy has left",
                vec![key(ACTIVE, Active, "RS256", 0)],
                Some(Step::Publish),
            ),
            (
                "its successor is known",
                vec![next(24), key(ACTIVE, Active, "RS256", 30)],
                Some(Step::Activate(NEXT)),
            ),
        ];
        let policy = SecurityPolicy::of(Blueprint::CoreBank).token;
        for (case, keys, expected) in table {
            assert_eq!(due(&keys, &policy, Timestamp::UNIX_EPOCH), expected, "{case}");
        }
        let daily = tenancy::policy::TokenPolicy { key_rotation_days: 0, ..policy };
        assert_eq!(due(&[active(0)], &daily, Timestamp::UNIX_EPOCH), Some(Step::Publish));
        assert_eq!(due(&[next(1), active(1)], &daily, Timestamp::UNIX_EPOCH), None);
    }
}
