//! Owns reading the log of events on under policy, for the API and the command line alike:
//! nobody hears of a kind of object of which they may not read every one.

use std::borrow::Cow;

use access::{
    Permission::{self, UserRead},
    Scope,
};
use events::{PUBLISHED, Page, Selection};
use operation::{
    Found, Operations, Refusal, View, page,
    read::{ViewFailure, told_filter},
    refusal::FieldError,
};
use serde_json::{Value, json};
use tenancy::{Database, OpContext};
use uuid::Uuid;

use crate::kinds::{KINDS, readable_kinds};

/// From where to read on, and which events.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// The position behind which to read on; the beginning where absent.
    pub after: Option<i64>,
    /// By what happened.
    pub event_type: Option<String>,
    /// By the kind of object.
    pub object_type: Option<String>,
    /// By the object.
    pub object_id: Option<Uuid>,
    /// At most so many.
    pub limit: Option<u32>,
}

impl Feed {
    /// What of it the actor may hear, or the field at fault.
    pub fn view(
        self,
        operations: &Operations,
        context: &OpContext,
    ) -> Result<ReadFeed, FieldError> {
        let limit = self.limit.unwrap_or(page::LIMIT_DEFAULT);
        if !(1..=page::LIMIT_MAX).contains(&limit) {
            return Err(invalid("limit", format!("Expected 1 to {}", page::LIMIT_MAX)));
        }
        let after = self.after.unwrap_or_default();
        if after < 0 {
            return Err(invalid("after", "Expected a position, 0 for the beginning"));
        }
        let is_known = |name: &String| PUBLISHED.iter().any(|(_, _, known)| known == name);
        if self.event_type.as_ref().is_some_and(|name| !is_known(name)) {
            return Err(invalid("type", "Not one of the known names"));
        }
        let is_kind = |kind: &String| KINDS.iter().any(|(known, _)| known == kind);
        if self.object_type.as_ref().is_some_and(|kind| !is_kind(kind)) {
            return Err(invalid("object_type", "Not one of the known kinds"));
        }
        let mut object_types = readable_kinds(operations, context);
        object_types.retain(|kind| self.object_type.as_deref().is_none_or(|only| only == *kind));
        Ok(ReadFeed(Selection {
            after,
            limit: i64::from(limit),
            object_types,
            event_type: self.event_type,
            object_id: self.object_id,
        }))
    }
}

fn invalid(field: &'static str, message: impl Into<String>) -> FieldError {
    FieldError {
        field: Cow::Borrowed(field),
        code: Cow::Borrowed("invalid_value"),
        message: message.into(),
    }
}

/// What of the log an actor may hear.
#[derive(Debug)]
pub struct ReadFeed(Selection);

impl View for ReadFeed {
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
