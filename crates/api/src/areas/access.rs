//! Why somebody may or may not do something, now or at a moment that is past: `explain` over
//! HTTP.

use axum::extract::State;
use explain::Question;

use super::{Answer, ok};
use crate::{
    extract::Caller,
    json::Json,
    problem::Problem,
    state::ApiState,
    wire::access::{Explain, Explained},
};

pub(crate) async fn explain(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<Explain>,
) -> Answer {
    let (permission, object) = body.checked()?;
    let person = body.actor.unwrap_or(context.actor.id);
    let question = Question { person, permission, object, as_of: body.as_of };
    if let Some((field, message)) = question.fault(context.clock.now()) {
        return Err(Problem::malformed_field(field, "invalid_value", message));
    }
    ok(Explained::from(state.explainer().explain(&context, &question).await?))
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
                 transfer the object is the account to debit. People ask; API keys do not. \
                 With `as_of` the answer is that of a moment that is past: roles, standing, \
                 custom roles, relations and policies are those of then; of circumstances \
                 the time alone is known.",
            )
            .body::<Explain>(json!({
                "action": "account:read", "resource": { "type": "account", "id": EXAMPLE_ID },
            }))
            .answers::<Explained>(200, "The decision, what made it, and what is missing.")
            .problem(403, &["permission_denied"])
            .problem(404, &["not_found"])
            .problem(422, &["not_there_then", "policies_unknown"])
    }
}
