//! Who somebody is to the policies, and what a person is to somebody else, now or at a moment
//! that is past: the facts of decisions, for whoever explains one. Refuses to decide, and to
//! show more of a person.

use std::sync::Arc;

use access::{CustomRoles, Permission, Resource, Situation};
use jiff::Timestamp;
use tenancy::{DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::Identity;

const CAPACITY: &str = tenancy::sql!("identity/users.sql", "capacity");
const CAPACITY_AT: &str = tenancy::sql!("identity/users.sql", "capacity_at");
const IS_KNOWN: &str = tenancy::sql!("identity/users.sql", "is_known");

/// A person as policies see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Whose.
    pub person: Uuid,
    /// The primary role first; none of an inactive person.
    pub roles: Vec<String>,
    /// The definitions of the custom ones among them.
    pub custom_roles: Vec<Arc<str>>,
    /// The organisation they belong to.
    pub organization: Option<Uuid>,
    /// The department they belong to.
    pub department: Option<String>,
}

impl Capacity {
    /// As the one who acts at some time. Of where from, and how well they would be known then,
    /// nothing is known: grants under such conditions do not count.
    pub fn principal(&self, now: Timestamp) -> access::Principal<'_> {
        let situation = Situation { now: Some(now), ..Situation::default() };
        access::Principal {
            custom: CustomRoles { definitions: &self.custom_roles, situation },
            user_id: self.person,
            roles: &self.roles,
            organization: self.organization,
            department: self.department.as_deref(),
        }
    }

    /// As the one who is acted on, by somebody.
    pub fn resource_for(&self, somebody: Uuid) -> Resource<'static> {
        Resource::for_permission(Permission::UserRead, Some(self.person))
            .owned(self.person == somebody)
            .organization(self.organization)
    }
}

impl Identity {
    /// As what somebody acts; none where the actor sees nobody of that id. Leaves no record:
    /// whoever asks tells of what they were shown.
    pub async fn capacity_of(
        &self,
        context: &OpContext,
        person: Uuid,
    ) -> Result<Option<Capacity>, DbError> {
        let tenant = context.tenant_id();
        self.capacity(context, person, Query::new(CAPACITY, &[&tenant, &person])).await
    }

    /// As what somebody acted at a moment that is past; none as well where they were not there
    /// then, though they may be deleted now.
    pub async fn capacity_at(
        &self,
        context: &OpContext,
        person: Uuid,
        at: Timestamp,
    ) -> Result<Option<Capacity>, DbError> {
        let tenant = context.tenant_id();
        self.capacity(context, person, Query::new(CAPACITY_AT, &[&tenant, &person, &at])).await
    }

    /// Whether the actor sees that there is, or was, somebody of that id.
    pub async fn is_known(&self, context: &OpContext, person: Uuid) -> Result<bool, DbError> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&context.tenant_id(), &person];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(IS_KNOWN, &parameters)).await?;
        Ok(!rows.is_empty())
    }

    async fn capacity(
        &self,
        context: &OpContext,
        person: Uuid,
        query: Query<'_>,
    ) -> Result<Option<Capacity>, DbError> {
        let rows = self.inner.operations.database().look_up(context, query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Capacity {
            person,
            roles: row.try_get("roles")?,
            custom_roles: operation::custom_roles(row)?,
            organization: row.try_get("organization_id")?,
            department: row.try_get("department")?,
        }))
    }
}
