//! The feed of events: what happened, to be read on from a position. Nobody hears of a kind
//! of object of which they may not read every one.

use access::Permission::{
    self, AccountRead, CustomerRead, HoldRead, KeyRead, SettingsView, TransactionRead, UserRead,
};
use axum::extract::State;
use events::PUBLISHED;
use serde::Deserialize;
use uuid::Uuid;
use webhooks::{Feed, KINDS};

use super::{Answer, ok};
use crate::{
    extract::{Caller, Parameters},
    problem::Problem,
    state::ApiState,
    wire::events as wire,
};

/// The permissions of which one has to be held on everything.
pub(crate) const READERS: &[Permission] =
    &[UserRead, KeyRead, SettingsView, CustomerRead, AccountRead, HoldRead, TransactionRead];

/// From where, and which.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    after: Option<i64>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    object_type: Option<String>,
    object_id: Option<Uuid>,
    limit: Option<u32>,
}

impl From<EventQuery> for Feed {
    fn from(query: EventQuery) -> Self {
        let EventQuery { after, event_type, object_type, object_id, limit } = query;
        Self { after, event_type, object_type, object_id, limit }
    }
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<EventQuery>,
) -> Answer {
    let view = Feed::from(query).view(&state.operations, &context);
    let view = view
        .map_err(|fault| Problem::malformed_field(fault.field, "invalid_value", fault.message))?;
    let page = state.operations.read(&context, &view).await?;
    ok(wire::Events::from(page))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use super::{KINDS, PUBLISHED};
    use crate::{
        openapi_parts::{Doc, one_of, uuid, whole_number},
        wire::events as wire,
    };

    pub(crate) fn list() -> Doc {
        let mut names: Vec<_> = PUBLISHED.iter().map(|(_, _, name)| *name).collect();
        names.dedup();
        Doc::new("listEvents", "events", "What happened, oldest first")
            .describe(
                "Every change of an object once, an object's in the order of its versions, on from a position \
                 that the reader keeps: ask with `after` as the last answer's `next_after` told. Only kinds of \
                 which the caller may read every object. A page may hold few events, or none, and still have \
                 `has_more`. Events are kept for 30 days.",
            )
            .query("after", whole_number(), "The position behind which to read on.")
            .query("type", one_of(names), "By what happened.")
            .query("object_type", one_of(KINDS.map(|(kind, _)| kind)), "By the kind of object.")
            .query("object_id", uuid(), "By the object.")
            .query("limit", whole_number(), "At most so many; 1 to 200.")
            .answers::<wire::Events>(200, "Events, and where to read on.")
            .problem(422, &["position_unknown", "position_forgotten"])
    }
}
