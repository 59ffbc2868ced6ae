//! Changes of a tenant's security policy: asked for by one person, agreed to by another.
//!
//! Owns what is acceptable, what waits, what it is bound to, and who decides. What is
//! agreed to is the whole policy as it will be, by its hash, and as a change from the
//! version it was made of: if anybody has changed the policy meanwhile, it is not applied.
//! From the moment of the decision every node obeys it within a second.
//!
//! Refuses to enforce any policy.

mod decide;
mod expire;
mod patch;
mod preview;
mod request;
mod rules;

use access::{Permission, Resource, Scope};
use audit::canonical;
use jiff::{SignedDuration, Timestamp};
use operation::{
    Call, FieldError, Found, OperationError, Page, PageRequest, Refusal, Reply, View,
    read::ViewFailure,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query, policy::SecurityPolicy};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Identity,
    events::hexadecimal,
    sessions::{Forgotten, after_of},
};
use decide::{Decide, Verdict};
pub use patch::{merged as policy_merged, patch_between as policy_patch};
pub use preview::PolicyPreview;
use request::RequestChange;
pub use rules::{POLICY_RULES, PolicyRule};

const CURRENT: &str = tenancy::sql!("identity/policy.sql", "current");
const ONE: &str = tenancy::sql!("identity/policy.sql", "one");
const LIST: &str = tenancy::sql!("identity/policy.sql", "list");
const RESOURCE: &str = "policy_change";

/// How long a change waits for a second person.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The longest note, in characters.
const NOTE_MAX: usize = 140;

/// How a change is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyWish {
    /// The whole policy as it shall be.
    Whole(Value),
    /// A JSON merge patch (RFC 7396) of the policy as it is.
    Patch(Value),
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChangeStatus {
    /// It waits.
    Pending,
    /// It is the policy, or was until the next one.
    Approved,
    /// It never was.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

impl PolicyChangeStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Rejected, Self::Expired];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// A name that is none of the statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicyChangeStatus;

impl std::str::FromStr for PolicyChangeStatus {
    type Err = UnknownPolicyChangeStatus;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == name);
        found.ok_or(UnknownPolicyChangeStatus)
    }
}

/// A field that a change concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDifference {
    /// Its path, as in `session.concurrent_limit`.
    pub path: String,
    /// What it is.
    pub old: Value,
    /// What it shall be.
    pub new: Value,
}

/// A change of the security policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// Its id.
    pub id: Uuid,
    /// What has become of it.
    pub status: PolicyChangeStatus,
    /// The whole policy as it shall be.
    pub policy: Value,
    /// What it changes.
    pub differences: Vec<PolicyDifference>,
    /// SHA-256 over the policy and what it is bound to; what is agreed to is this.
    pub payload_hash: String,
    /// The version of the policy that it changes.
    pub base_version: i64,
    /// What its maker says to it.
    pub note: Option<String>,
    /// Who has asked for it.
    pub requested_by: Uuid,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// From when on nobody can decide it.
    pub expires_at: Timestamp,
    /// Who has decided.
    pub decided_by: Option<Uuid>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// What whoever decided says to it.
    pub decision_note: Option<String>,
    /// Counts its changes.
    pub version: i64,
}

impl PolicyChange {
    fn read(row: &Row) -> Result<Self, DbError> {
        let corrupt = |what: &str| DbError::Corrupt(format!("policy change: {what}"));
        let status: String = row.try_get("status")?;
        let hash: Vec<u8> = row.try_get("payload_hash")?;
        let differences: Value = row.try_get("differences")?;
        Ok(Self {
            id: row.try_get("id")?,
            status: status.parse().map_err(|_| corrupt("status"))?,
            policy: row.try_get("policy")?,
            differences: serde_json::from_value(differences).map_err(|_| corrupt("differences"))?,
            payload_hash: hexadecimal(&hash),
            base_version: row.try_get("base_version")?,
            note: row.try_get("note")?,
            requested_by: row.try_get("requested_by")?,
            requested_at: row.try_get("requested_at")?,
            expires_at: row.try_get("expires_at")?,
            decided_by: row.try_get("decided_by")?,
            decided_at: row.try_get("decided_at")?,
            decision_note: row.try_get("decision_note")?,
            version: row.try_get("version")?,
        })
    }

    /// The merge patch that asks for the same again, of the policy as it is by then.
    pub fn patch(&self) -> Value {
        patch::patch_of(&self.differences)
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of the policy and what it is bound to: a
    /// change that was moved, given to another maker or kept alive is another one.
    fn hash(&self, tenant: Uuid) -> Result<[u8; 32], DbError> {
        let whole = json!({
            "tenant_id": tenant,
            "id": self.id,
            "requested_by": self.requested_by,
            "requested_at": format!("{:.6}", self.requested_at),
            "expires_at": format!("{:.6}", self.expires_at),
            "base_version": self.base_version,
            "policy": self.policy,
            "differences": self.differences,
        });
        let bytes =
            canonical::to_vec(&whole).map_err(|error| DbError::Corrupt(error.to_string()))?;
        Ok(vault::sha256(&bytes))
    }
}

/// Which changes to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChangeFilter {
    /// Only those in this status, as it reads.
    pub status: Option<PolicyChangeStatus>,
}

impl Identity {
    /// The security policy as it is stored this moment, and its version.
    pub async fn stored_policy(
        &self,
        context: &OpContext,
    ) -> Result<(SecurityPolicy, i64), DbError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(CURRENT, &[&tenant])).await?;
        let (policy, version) = current(rows.first())?;
        let policy = serde_json::from_value(policy)
            .map_err(|error| DbError::Corrupt(format!("security policy: {error}")))?;
        Ok((policy, version))
    }

    /// Asks for a change of the policy, made of `expected_version` where that is given.
    /// Refused, first found, with `step_up_required`, `version_conflict`, `validation_failed` (every fault,
    /// under its path), `nothing_changes`, `too_many_pending`.
    pub async fn request_policy_change(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        (wish, expected_version): (PolicyWish, Option<i64>),
        note: Option<&str>,
    ) -> Result<Reply<PolicyChange>, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let note = checked_note(note)?;
        let id = context.clock.new_id();
        let command = RequestChange { id, wish, expected_version, note };
        let call = Call { context: context.clone(), idempotency_key, command };
        self.inner.operations.run_one(call).await
    }

    /// Agrees to a change, which is the policy from then on. Refused, first found, with
    /// `step_up_required`, `permission_denied` (to its maker), `change_decided`, `change_expired`,
    /// `change_tampered`, `not_independent`, `maker_not_permitted`, `policy_changed`.
    pub async fn approve_policy_change(
        &self,
        context: &OpContext,
        change: Uuid,
        note: Option<&str>,
    ) -> Result<PolicyChange, OperationError> {
        self.decide_policy_change(context, change, Verdict::Approve, note).await
    }

    /// Rejects a change. Refused, first found, with `step_up_required`, `permission_denied` (to its maker),
    /// `change_decided`, `change_expired`.
    pub async fn reject_policy_change(
        &self,
        context: &OpContext,
        change: Uuid,
        note: Option<&str>,
    ) -> Result<PolicyChange, OperationError> {
        self.decide_policy_change(context, change, Verdict::Reject, note).await
    }

    async fn decide_policy_change(
        &self,
        context: &OpContext,
        change: Uuid,
        verdict: Verdict,
        note: Option<&str>,
    ) -> Result<PolicyChange, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let note = checked_note(note)?;
        let command = Decide { identity: self.clone(), change, verdict, note };
        self.run_and_forget(context, command, Forgotten::State).await
    }

    /// The policy decides who comes in: a person proves a factor of late, or is refused with
    /// `step_up_required`. For whoever wants to know before something long is filled in.
    pub async fn prove_for_policy(&self, context: &OpContext) -> Result<(), OperationError> {
        self.require_recent_factor_of_people(context).await
    }

    /// One change.
    pub async fn policy_change(
        &self,
        context: &OpContext,
        change: Uuid,
    ) -> Result<PolicyChange, OperationError> {
        self.inner.operations.read(context, &OneChange(change)).await
    }

    /// Changes, newest first.
    pub async fn policy_changes(
        &self,
        context: &OpContext,
        filter: PolicyChangeFilter,
        page: &PageRequest,
    ) -> Result<Page<PolicyChange>, OperationError> {
        let list = ChangeList { filter, page: page.clone() };
        self.inner.operations.read(context, &list).await
    }
}

/// The policy and its version, out of a row of [`CURRENT`].
fn current(row: Option<&Row>) -> Result<(Value, i64), DbError> {
    let row =
        row.ok_or_else(|| DbError::Corrupt("the tenant has no security policy".to_owned()))?;
    Ok((row.try_get("policy")?, row.try_get("version")?))
}

/// A note that says nothing is none.
fn checked_note(note: Option<&str>) -> Result<Option<String>, Refusal> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    let unfit = |note: &&str| note.chars().count() > NOTE_MAX || note.chars().any(char::is_control);
    if note.as_ref().is_some_and(unfit) {
        return Err(Refusal::validation(vec![FieldError {
            field: "note".into(),
            code: "note_malformed".into(),
            message: format!("At most {NOTE_MAX} characters are possible"),
        }]));
    }
    Ok(note.map(str::to_owned))
}

struct OneChange(Uuid);

impl View for OneChange {
    const NAME: &'static str = "policy_change.read";
    const RESOURCE: &'static str = RESOURCE;
    type Output = PolicyChange;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.0)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<PolicyChange>, ViewFailure> {
        let tenant = context.tenant_id();
        let rows = database.look_up(context, Query::new(ONE, &[&tenant, &self.0])).await?;
        let Some(row) = rows.first() else { return Ok(Found::Missing) };
        let resource = Resource::for_permission(self.permission(), Some(self.0));
        Ok(Found::Object { value: PolicyChange::read(row)?, resource })
    }
}

struct ChangeList {
    filter: PolicyChangeFilter,
    page: PageRequest,
}

impl View for ChangeList {
    const NAME: &'static str = "policy_change.list";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Page<PolicyChange>;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    fn filter(&self) -> Option<Value> {
        self.filter.status.map(|status| json!({ "status": status }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Page<PolicyChange>>, ViewFailure> {
        let (tenant, after, fetch) =
            (context.tenant_id(), after_of(&self.page)?, self.page.fetch());
        let status = self.filter.status.map(PolicyChangeStatus::as_str);
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &after, &status, &fetch];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let rows = rows.first().map_or(&[][..], Vec::as_slice);
        let changes: Vec<_> = rows.iter().map(PolicyChange::read).collect::<Result<_, _>>()?;
        let page = Page::of(changes, &self.page, |change| change.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}
