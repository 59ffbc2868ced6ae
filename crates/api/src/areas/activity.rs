//! What was done with a person's own access.

use axum::extract::State;

use super::Answer;
use crate::{
    extract::{Caller, PageQuery, Paging, Parameters},
    state::ApiState,
    wire::activity::Activity,
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/auth/activity", &query).await?;
    let page = state.identity.activity(&context, &paging.request).await?;
    Ok(paging.answer(page, Activity::from))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use crate::{
        openapi_parts::Doc,
        wire::{List, activity::Activity},
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listActivity", "auth", "What was done with your access, newest first")
            .describe(
                "Sign-ins and failures, changes of how you prove who you are, and what staff did to your \
                 account. A page may hold fewer than asked for and still have a `next_cursor`.",
            )
            .paged()
            .answers::<List<Activity>>(200, "A page of activity.")
    }
}
