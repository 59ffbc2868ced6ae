//! Why somebody may or may not do something: one decision, asked of real objects.
//!
//! Explaining tells nothing that a read does not: of an object that the asker may not read
//! it knows as little as of one that is not there, and about others only those ask who read
//! every person.

use access::{Permission, Resource, ResourceKind};
use axum::extract::State;
use identity::Capacity;
use operation::{Refusal, access_log::Access};
use serde_json::json;
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;

use super::{Answer, ok};
use crate::{
    extract::Caller,
    json::Json,
    problem::Problem,
    state::ApiState,
    wire::access::{Explain, Explained},
};

/// A question whose names are known.
struct Question {
    person: Uuid,
    permission: Permission,
    /// The object; none where the permission is asked of nothing in particular.
    object: Option<(ResourceKind, Uuid)>,
}

pub(crate) async fn explain(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<Explain>,
) -> Answer {
    if context.actor.kind != ActorKind::User {
        return Err(Refusal::denied().into());
    }
    let (permission, object) = body.checked()?;
    let person = body.actor.unwrap_or(context.actor.id);
    let question = Question { person, permission, object };
    let answered = answer(&state, &context, &question).await;
    let missed = matches!(&answered, Err(problem) if problem.status == http::StatusCode::NOT_FOUND);
    if answered.is_ok() || missed {
        record(&state, &context, &question, answered.is_ok()).await;
    }
    ok(answered?)
}

async fn answer(
    state: &ApiState,
    context: &OpContext,
    question: &Question,
) -> Result<Explained, Problem> {
    let capacity = capacity(state, context, question.person).await?;
    // Of oneself the circumstances are those of the question.
    let principal = if question.person == context.actor.id {
        operation::principal(context)
    } else {
        capacity.principal(context.clock.now())
    };
    let resource = match question.object {
        None => Resource::for_permission(question.permission, None),
        Some(object) => {
            readable(state, context, object).await?;
            facts(state, context, object, (question.permission, question.person))
                .await?
                .ok_or_else(Problem::not_found)?
        }
    };
    let blueprint = context.tenant.blueprint;
    let policies = state.operations.policies();
    let told = policies.explain(blueprint, &principal, question.permission, &resource);
    Ok(Explained::new(told, &principal, &resource))
}

/// Of oneself, or of anybody to whoever reads every person.
async fn capacity(
    state: &ApiState,
    context: &OpContext,
    person: Uuid,
) -> Result<Capacity, Problem> {
    let reads_all = || state.operations.scope(context, Permission::UserRead).is_all();
    if person != context.actor.id && !reads_all() {
        return Err(Problem::not_found());
    }
    state.identity.capacity_of(context, person).await?.ok_or_else(Problem::not_found)
}

/// 404 where the asker does not read the object.
async fn readable(
    state: &ApiState,
    context: &OpContext,
    (kind, id): (ResourceKind, Uuid),
) -> Result<(), Problem> {
    let permission = match kind {
        ResourceKind::Account => Permission::AccountRead,
        ResourceKind::Customer => Permission::CustomerRead,
        ResourceKind::Hold => Permission::HoldRead,
        _ => Permission::UserRead,
    };
    let asker = operation::principal(context);
    let object = facts(state, context, (kind, id), (permission, asker.user_id)).await?;
    let object = object.ok_or_else(Problem::not_found)?;
    if state.operations.allows_other(context, &asker, permission, &object) {
        return Ok(());
    }
    Err(Problem::not_found())
}

/// What an object is to somebody, as the operations see it.
async fn facts(
    state: &ApiState,
    context: &OpContext,
    (kind, id): (ResourceKind, Uuid),
    about: (Permission, Uuid),
) -> Result<Option<Resource<'static>>, Problem> {
    if kind == ResourceKind::User {
        let capacity = state.identity.capacity_of(context, id).await?;
        return Ok(capacity.map(|capacity| capacity.resource_for(about.1)));
    }
    let database = state.operations.database();
    Ok(banking::facts::resource_for(database, context, (kind, id), about).await?)
}

/// Who asked about whom and what: ids, and no answer.
async fn record(state: &ApiState, context: &OpContext, question: &Question, allowed: bool) {
    let access = Access {
        action: "access.explain",
        resource: "user",
        object: Some(question.person),
        allowed,
        count: 1,
    };
    let object = question
        .object
        .map(|(kind, id)| json!({ "type": kind.as_str().to_ascii_lowercase(), "id": id }));
    let filter = json!({ "permission": question.permission.as_str(), "resource": object });
    let (log, database) = (state.operations.access_log(), state.operations.database());
    log.record_list(database, context, access, operation::read::told_filter(filter)).await;
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            EXAMPLE_ID,
            access::{Explain, Explained},
        },
    };

    pub(crate) fn explain() -> Doc {
        Doc::new("explainAccess", "access", "Why somebody may or may not do something")
            .describe(
                "Of yourself, or of anybody where you read every person; of an object that you \
                 may read. Whatever you may not see is answered like what is not there. Of a \
                 transfer the object is the account to debit. People ask; API keys do not.",
            )
            .body::<Explain>(json!({
                "action": "account:read", "resource": { "type": "account", "id": EXAMPLE_ID },
            }))
            .answers::<Explained>(200, "The decision, what made it, and what is missing.")
            .problem(403, &["permission_denied"])
            .problem(404, &["not_found"])
    }
}
