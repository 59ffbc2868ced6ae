//! The feed of events: what happened, to be read on from a position. Nobody hears of a kind
//! of object of which they may not read every one.

use access::{
    Permission::{
        self, AccountRead, CustomerRead, HoldRead, KeyRead, SettingsView, TransactionRead, UserRead,
    },
    Scope,
};
use axum::extract::State;
use events::{PUBLISHED, Page, Selection};
use operation::{
    Found, Operations, Refusal, View, page,
    read::{ViewFailure, told_filter},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::{Database, OpContext};
use uuid::Uuid;
use webhooks::{KINDS, readable_kinds};

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

impl EventQuery {
    fn selection(self, operations: &Operations, context: &OpContext) -> Result<Selection, Problem> {
        let limit = self.limit.unwrap_or(page::LIMIT_DEFAULT);
        if !(1..=page::LIMIT_MAX).contains(&limit) {
            let message = format!("Expected 1 to {}", page::LIMIT_MAX);
            return Err(Problem::malformed_field("limit", "invalid_value", message));
        }
        let after = self.after.unwrap_or_default();
        if after < 0 {
            let message = "Expected a position, 0 for the beginning";
            return Err(Problem::malformed_field("after", "invalid_value", message));
        }
        let is_known = |name: &String| PUBLISHED.iter().any(|(_, _, known)| known == name);
        if self.event_type.as_ref().is_some_and(|name| !is_known(name)) {
            let message = "Not one of the known names";
            return Err(Problem::malformed_field("type", "invalid_value", message));
        }
        let is_kind = |kind: &String| KINDS.iter().any(|(known, _)| known == kind);
        if self.object_type.as_ref().is_some_and(|kind| !is_kind(kind)) {
            let message = "Not one of the known kinds";
            return Err(Problem::malformed_field("object_type", "invalid_value", message));
        }
        let mut object_types = readable_kinds(operations, context);
        object_types.retain(|kind| self.object_type.as_deref().is_none_or(|only| only == *kind));
        Ok(Selection {
            after,
            limit: i64::from(limit),
            object_types,
            event_type: self.event_type,
            object_id: self.object_id,
        })
    }
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<EventQuery>,
) -> Answer {
    let view = ListEvents(query.selection(&state.operations, &context)?);
    let page = state.operations.read(&context, &view).await?;
    ok(wire::Events::from(page))
}

/// What of the log the actor may hear.
struct ListEvents(Selection);

impl View for ListEvents {
    const NAME: &'static str = "event.list";
    const RESOURCE: &'static str = "event";
    type Output = Page;

    /// That of the first kind: each kind's own was asked for before.
    fn permission(&self) -> Permission {
        let first = self.0.object_types.first();
        let of = |kind: &&str| KINDS.iter().find(|(known, _)| known == kind);
        first.and_then(of).map_or(UserRead, |(_, permission)| *permission)
    }

    fn filter(&self) -> Option<Value> {
        told_filter(json!({ "type": self.0.event_type, "object_id": self.0.object_id }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Page>, ViewFailure> {
        if self.0.object_types.is_empty() {
            return Err(Refusal::denied().into());
        }
        let value = events::page(database, context, &self.0).await?;
        if self.0.after > value.head {
            // Another tenant's position, or one from before a restore: to wait here would be
            // to miss what comes.
            let detail = "The log has not come to this position";
            return Err(Refusal::rule("position_unknown", "after", detail).into());
        }
        if self.0.after > 0 && value.start > self.0.after {
            let detail =
                "Events behind this position are forgotten: read the objects, then on from 0";
            return Err(Refusal::rule("position_forgotten", "after", detail).into());
        }
        let count = value.events.len();
        Ok(Found::List { value, count })
    }
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
