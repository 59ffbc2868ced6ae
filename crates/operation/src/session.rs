//! Whether the sessions and API keys that a batch came with are still alive, and whether
//! the people behind them are still what they were when they were recognised.
//!
//! What recognised them may be a second old, on a node that was not told of a change.
//! Writes are decided on what the transaction itself reads.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tenancy::{ActorKind, DbError, OpContext, Query};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Call, Operations, Refusal};

const LIVE_SESSIONS: &str = tenancy::sql!("operation/session.sql", "live_sessions");
const LIVE_API_KEYS: &str = tenancy::sql!("operation/session.sql", "live_api_keys");

/// What a batch came with: ids of sessions, then of API keys.
pub(crate) struct Presented {
    tenant: Uuid,
    sessions: Vec<Uuid>,
    api_keys: Vec<Uuid>,
}

impl Presented {
    pub(crate) fn of<C>(calls: &[Call<C>]) -> Self {
        let contexts = || calls.iter().map(|call| &call.context);
        Self {
            tenant: contexts().map(OpContext::tenant_id).next().unwrap_or_default(),
            sessions: contexts().filter_map(|context| context.session.map(|id| id.0)).collect(),
            api_keys: contexts()
                .filter(|context| context.actor.kind == ActorKind::ApiKey)
                .map(|context| context.actor.id)
                .collect(),
        }
    }

    /// The parameters of [`Self::queries`].
    pub(crate) fn parameters(&self) -> [Parameters<'_>; 2] {
        [[&self.tenant, &self.sessions], [&self.tenant, &self.api_keys]]
    }

    /// What has to be asked, for the round trip of BEGIN.
    pub(crate) fn queries<'a>(&self, parameters: &'a [Parameters<'_>; 2]) -> Vec<Query<'a>> {
        let [sessions, api_keys] = parameters;
        let mut queries = Vec::new();
        if !self.sessions.is_empty() {
            queries.push(Query::new(LIVE_SESSIONS, sessions));
        }
        if !self.api_keys.is_empty() {
            queries.push(Query::new(LIVE_API_KEYS, api_keys));
        }
        queries
    }

    /// The answers to [`Self::queries`].
    pub(crate) fn live(&self, rows: &[Vec<Row>]) -> Result<Live, DbError> {
        let mut answers = rows.iter();
        let mut next = |was_asked: bool| {
            was_asked.then(|| answers.next()).flatten().map_or(&[][..], Vec::as_slice)
        };
        let sessions = next(!self.sessions.is_empty());
        let api_keys = next(!self.api_keys.is_empty());
        let keys = api_keys.iter().map(|row| row.try_get("id"));
        Ok(Live { people: people(sessions)?, api_keys: keys.collect::<Result<_, _>>()? })
    }
}

type Parameters<'a> = [&'a (dyn tokio_postgres::types::ToSql + Sync); 2];

/// The live sessions of a batch with who is behind each, and its live API keys.
#[derive(Default)]
pub(crate) struct Live {
    people: HashMap<Uuid, Person>,
    api_keys: HashSet<Uuid>,
}

/// Whom a live session belongs to, and what policy knows of them.
pub(crate) struct Person {
    id: Uuid,
    roles: Vec<String>,
    custom_roles: Vec<Arc<str>>,
    organization: Option<Uuid>,
    department: Option<String>,
    /// The access tokens of the session that were ended before their time.
    revoked_tokens: Vec<Uuid>,
    /// The keys whose tokens are accepted.
    signing_keys: Vec<Uuid>,
}

/// The rows of [`LIVE_SESSIONS`].
fn people(rows: &[Row]) -> Result<HashMap<Uuid, Person>, DbError> {
    let read = |row: &Row| {
        let person = Person {
            id: row.try_get("user_id")?,
            roles: row.try_get("roles")?,
            custom_roles: custom_roles(row)?,
            organization: row.try_get("organization_id")?,
            department: row.try_get("department")?,
            revoked_tokens: row.try_get("revoked_tokens")?,
            signing_keys: row.try_get("signing_keys")?,
        };
        Ok((row.try_get("id")?, person))
    };
    Ok(rows.iter().map(read).collect::<Result<_, tokio_postgres::Error>>()?)
}

/// The definitions of the custom roles that somebody holds, of a row that tells them.
pub fn custom_roles(row: &Row) -> Result<Vec<Arc<str>>, tokio_postgres::Error> {
    let texts: Vec<String> = row.try_get("custom_roles")?;
    Ok(texts.into_iter().map(Arc::from).collect())
}

/// Refuses a caller whose session has ended, or never was theirs, or whose token, the key
/// that signed it or the API key has.
pub(crate) fn check(context: &OpContext, live: &Live) -> Result<(), Refusal> {
    let actor = &context.actor;
    let holds = match context.session {
        Some(session) => live.people.get(&session.0).is_some_and(|person| {
            let revoked = |token| person.revoked_tokens.contains(&token);
            let verifies = |key| person.signing_keys.contains(&key);
            person.id == actor.id
                && !actor.token.is_some_and(revoked)
                && actor.signing_key.is_none_or(verifies)
        }),
        None => actor.kind != ActorKind::ApiKey || live.api_keys.contains(&actor.id),
    };
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
            let Some(person) = context.session.and_then(|session| live.people.get(&session.0))
            else {
                continue;
            };
            let actor = &mut context.actor;
            let same = *actor.roles == *person.roles
                && *actor.custom_roles == *person.custom_roles
                && actor.organization == person.organization
                && actor.department == person.department;
            // Another's session is refused for being that.
            if same || person.id != actor.id {
                continue;
            }
            actor.roles = person.roles.as_slice().into();
            actor.custom_roles = person.custom_roles.as_slice().into();
            actor.organization = person.organization;
            actor.department.clone_from(&person.department);
            self.show_people(context);
            renewed = true;
        }
        renewed
    }
}
