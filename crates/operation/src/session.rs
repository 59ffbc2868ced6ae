//! Whether the sessions that a batch came in are still alive, and whether the people
//! behind them are still what they were when they were recognised.
//!
//! What recognised them may be a second old, on a node that was not told of a change.
//! Writes are decided on what the transaction itself reads.

use std::collections::HashMap;

use tenancy::{DbError, OpContext};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Call, Operations, Refusal};

pub(crate) const LIVE: &str = tenancy::sql!("operation/session.sql", "live_sessions");

/// The live sessions of a batch and who is behind each, by session.
pub(crate) type Live = HashMap<Uuid, Person>;

/// Whom a live session belongs to, and what policy knows of them.
pub(crate) struct Person {
    id: Uuid,
    roles: Vec<String>,
    organization: Option<Uuid>,
    department: Option<String>,
    /// The access tokens of the session that were ended before their time.
    revoked_tokens: Vec<Uuid>,
}

/// The rows of [`LIVE`].
pub(crate) fn live(rows: &[Row]) -> Result<Live, DbError> {
    let read = |row: &Row| {
        let person = Person {
            id: row.try_get("user_id")?,
            roles: row.try_get("roles")?,
            organization: row.try_get("organization_id")?,
            department: row.try_get("department")?,
            revoked_tokens: row.try_get("revoked_tokens")?,
        };
        Ok((row.try_get("id")?, person))
    };
    Ok(rows.iter().map(read).collect::<Result<_, tokio_postgres::Error>>()?)
}

/// Refuses a caller whose session has ended, or never was theirs, or whose token has.
pub(crate) fn check(context: &OpContext, live: &Live) -> Result<(), Refusal> {
    let Some(session) = context.session else { return Ok(()) };
    let actor = &context.actor;
    let holds = live.get(&session.0).is_some_and(|person| {
        let revoked = |token| person.revoked_tokens.contains(&token);
        person.id == actor.id && !actor.token.is_some_and(revoked)
    });
    if holds {
        return Ok(());
    }
    Err(Refusal::unauthenticated("token_revoked", "Token has been revoked"))
}

impl Operations {
    /// Has the actors of a batch be what the database says they are, and says whether
    /// any of them was something else.
    pub(crate) fn renew_actors<C>(&self, calls: &mut [Call<C>], live: &Live) -> bool {
        let mut renewed = false;
        for context in calls.iter_mut().map(|call| &mut call.context) {
            let Some(person) = context.session.and_then(|session| live.get(&session.0)) else {
                continue;
            };
            let actor = &mut context.actor;
            let same = *actor.roles == *person.roles
                && actor.organization == person.organization
                && actor.department == person.department;
            // Another's session is refused for being that.
            if same || person.id != actor.id {
                continue;
            }
            actor.roles = person.roles.as_slice().into();
            actor.organization = person.organization;
            actor.department.clone_from(&person.department);
            actor.sees_all_users = self.sees_all_users(context.tenant.blueprint, &person.roles);
            renewed = true;
        }
        renewed
    }
}
