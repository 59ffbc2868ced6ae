//! Authorised reads: one round trip, decided on the facts that it returned.

use std::future::Future;

use access::{Permission, Resource, Scope};
use serde_json::Value;
use tenancy::{ActorKind, Database, DbError, OpContext};
use uuid::Uuid;

use crate::{OperationError, Operations, Refusal, RefusalKind, access_log::Access};

/// What a view found.
#[derive(Debug)]
pub enum Found<T> {
    /// One object with the facts policy needs.
    Object {
        /// The answer.
        value: T,
        /// The facts.
        resource: Resource<'static>,
    },
    /// A list, already confined to the scope it was asked for.
    List {
        /// The answer.
        value: T,
        /// How many objects it holds.
        count: usize,
    },
    /// Nothing of that id in this tenant.
    Missing,
}

/// Something that can be read.
pub trait View: Send + Sync {
    /// The access record's action, e.g. `account.read`.
    const NAME: &'static str;
    /// The kind of thing, as audit records name it.
    const RESOURCE: &'static str;
    /// The answer's body.
    type Output: Send;

    /// The permission it needs.
    fn permission(&self) -> Permission;

    /// The object asked for; none for lists.
    fn object(&self) -> Option<Uuid> {
        None
    }

    /// What a list is filtered by, for its access record: ids, states and dates.
    /// Never what was typed as a name: personal data has no place in the log.
    fn filter(&self) -> Option<Value> {
        None
    }

    /// Loads it, in one [`Database::read`]. A list must apply `scope` in SQL,
    /// before its LIMIT.
    fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> impl Future<Output = Result<Found<Self::Output>, ViewFailure>> + Send;
}

/// A filter as its access record tells it: what is not filtered by is left out, and a filter
/// of nothing is none.
pub fn told_filter(mut filter: Value) -> Option<Value> {
    let members = filter.as_object_mut()?;
    members.retain(|_, value| !value.is_null());
    (!members.is_empty()).then_some(filter)
}

/// Why a view could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ViewFailure {
    /// The request makes no sense: a cursor of another list, say.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Operations {
    /// Reads a view under policy and leaves an access record.
    pub async fn read<V: View>(
        &self,
        context: &OpContext,
        view: &V,
    ) -> Result<V::Output, OperationError> {
        if context.actor.kind == ActorKind::Anonymous {
            return Err(Refusal::unauthenticated(
                "invalid_token",
                "A valid access token is needed",
            )
            .into());
        }
        let scope = self.scope(context, view.permission());
        if scope.is_none() {
            self.record(context, view, false, 0).await;
            return Err(Refusal::denied().into());
        }
        let mut loaded = view.load(&self.database, context, scope).await;
        if let Err(ViewFailure::Database(DbError::StaleKeys(_))) = &loaded {
            loaded = view.load(&self.database, context, scope).await;
        }
        let found = match loaded {
            Ok(found) => found,
            Err(ViewFailure::Refused(refusal)) => {
                if matches!(refusal.kind, RefusalKind::Denied | RefusalKind::NotFound) {
                    self.record(context, view, false, 0).await;
                }
                return Err(refusal.into());
            }
            Err(ViewFailure::Database(error)) => return Err(error.into()),
        };
        match found {
            Found::List { value, count } => {
                self.record(context, view, true, count).await;
                Ok(value)
            }
            Found::Object { value, resource }
                if self.readable(context, view.permission(), &resource) =>
            {
                self.record(context, view, true, 1).await;
                Ok(value)
            }
            Found::Object { .. } | Found::Missing => {
                self.record(context, view, false, 0).await;
                Err(Refusal::not_found().into())
            }
        }
    }

    /// The widest part of a kind of object that the actor may see.
    pub fn scope(&self, context: &OpContext, permission: Permission) -> Scope {
        match context.actor.kind {
            ActorKind::Anonymous => return Scope::NONE,
            _ if context.actor.is_system() => return Scope::ALL,
            _ => {}
        }
        self.held(context, permission)
    }

    fn readable(
        &self,
        context: &OpContext,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> bool {
        context.actor.is_system() || self.allows(context, permission, resource)
    }

    async fn record<V: View>(&self, context: &OpContext, view: &V, allowed: bool, count: usize) {
        let access = Access {
            action: V::NAME,
            resource: V::RESOURCE,
            object: view.object(),
            allowed,
            count,
        };
        self.access_log.record_list(&self.database, context, access, view.filter()).await;
    }
}
