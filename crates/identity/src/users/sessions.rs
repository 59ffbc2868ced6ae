//! Other people's sessions, for staff: where somebody is signed in, and ending that.
//!
//! Failures in this order: no permission on anybody's sessions, not seen, not permitted,
//! oneself or somebody mightier (who ends sessions), no such session.

use access::{Permission, Resource};
use audit::EventType;
use operation::{
    Applied, Call, Command, Failure, OperationError, Page, PageRequest, Refusal, Target, event,
};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::commands::{Facts, facts};
use crate::{
    Identity, SessionRecord,
    sessions::{
        Forgotten, LIST_OWN, REVOKE_FAMILY, REVOKE_OWN, after_of, revoke_all, session_record,
    },
};

impl Identity {
    /// Somebody's live sessions, newest first; the look is recorded.
    pub async fn sessions_of(
        &self,
        context: &OpContext,
        user: Uuid,
        page: &PageRequest,
    ) -> Result<Page<SessionRecord>, OperationError> {
        let command = ReadSessions { user, after: after_of(page)?, fetch: page.fetch() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let rows = self.inner.operations.run_one(call).await?.output;
        Ok(Page::of(rows, page, |record| record.id.to_string()))
    }

    /// Ends all of somebody's sessions, or one; says how many. 404 where that one is not
    /// theirs or not alive.
    pub async fn end_sessions_of(
        &self,
        context: &OpContext,
        user: Uuid,
        session: Option<Uuid>,
    ) -> Result<i32, OperationError> {
        let command = EndSessions { identity: self.clone(), user, session };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }
}

/// What a decision on somebody's sessions rests on: theirs are `owned` by them.
fn target(context: &OpContext, user: Uuid, held: Option<&Facts>) -> Target {
    let Some(Facts { target: Target::Object { resource: person, .. }, .. }) = held else {
        return Target::Missing { field: None };
    };
    let resource = Resource::for_permission(Permission::SessionRead, Some(user))
        .owned(context.actor.id == user)
        .organization(person.organization);
    Target::Object { resource, read_permission: Permission::SessionRead, field: None }
}

struct ReadSessions {
    user: Uuid,
    after: Option<Uuid>,
    fetch: i64,
}

impl Command for ReadSessions {
    const NAME: &'static str = "session.list";
    const RESOURCE: &'static str = "session";
    type Output = Vec<SessionRecord>;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(target(context, self.user, facts(transaction, context, self.user).await?.as_ref()))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Vec<SessionRecord>>, Failure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &self.user, &self.after, &self.fetch];
        let rows = transaction.query(LIST_OWN, &parameters).await?;
        let current = context.session.map(|session| session.0);
        let output =
            rows.iter().map(|row| session_record(row, current)).collect::<Result<Vec<_>, _>>()?;
        // Where somebody signs in from is about them.
        let event = event(context, EventType::DataAccess, Self::NAME, "user")
            .resource_id(self.user)
            .details(json!({ "count": output.len() }))
            .personal_fields();
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

struct EndSessions {
    identity: Identity,
    user: Uuid,
    session: Option<Uuid>,
}

impl Command for EndSessions {
    const NAME: &'static str = "session.end_by_staff";
    const RESOURCE: &'static str = "session";
    type Output = i32;

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(target(context, self.user, facts(transaction, context, self.user).await?.as_ref()))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<i32>, Failure> {
        let roles =
            facts(transaction, context, self.user).await?.ok_or_else(Refusal::not_found)?.roles;
        // One's own end at `/v1/auth/sessions`, and here where policy lets them.
        if context.actor.id != self.user {
            let held = (self.user, roles.as_slice());
            self.identity.check_power_over(transaction, context, held).await?;
        }
        let output = match self.session {
            None => revoke_all(transaction, self.user, "ended_by_staff", None).await?,
            Some(session) => self.end_one(transaction, context, session).await?,
        };
        let event = event(context, EventType::SessionRevocation, Self::NAME, "user")
            .resource_id(self.user)
            .details(json!({ "ended": output, "session_id": self.session }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

impl EndSessions {
    async fn end_one(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        session: Uuid,
    ) -> Result<i32, Failure> {
        let (tenant, reason) = (context.tenant_id(), "ended_by_staff");
        let ended = transaction
            .pipeline(&[
                Query::new(REVOKE_OWN, &[&tenant, &session, &self.user, &reason]),
                Query::new(REVOKE_FAMILY, &[&tenant, &session]),
            ])
            .await?;
        // A refusal rolls back to the savepoint, the family of another's session included.
        if ended.first().is_none_or(Vec::is_empty) {
            return Err(Refusal::invisible("session_id").into());
        }
        Ok(1)
    }
}
