//! The keys that seal and wrap: their generations, and what is sealed under which.

use axum::extract::State;

use super::{Answer, ok};
use crate::{
    extract::Caller,
    json::{Json, OptionalJson},
    state::ApiState,
    wire::{
        List,
        auth::Nothing,
        data_keys::{
            DataKey, DataKeyDestroyed, DataKeyRotated, DataKeysRewrapped, DestroyDataKey,
            RotateDataKey, SealedValues,
        },
    },
};

pub(crate) async fn list(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let keys = state.identity.key_generations(&context).await?;
    ok(List { data: keys.into_iter().map(DataKey::from).collect(), next_cursor: None })
}

pub(crate) async fn inventory(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let lines = state.identity.key_inventory(&context).await?;
    ok(List { data: lines.into_iter().map(SealedValues::from).collect(), next_cursor: None })
}

pub(crate) async fn rotate(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(RotateDataKey { purpose }): Json<RotateDataKey>,
) -> Answer {
    let made = state.identity.rotate_data_key(&context, purpose.into()).await?;
    ok(DataKeyRotated::from(made))
}

pub(crate) async fn rewrap(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    ok(DataKeysRewrapped::from(state.identity.rewrap_keys(&context).await?))
}

pub(crate) async fn destroy(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(DestroyDataKey { purpose, epoch }): Json<DestroyDataKey>,
) -> Answer {
    let ended = state.identity.destroy_data_key(&context, purpose.into(), epoch).await?;
    ok(DataKeyDestroyed::from(ended))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            auth::Nothing,
            data_keys::{
                DataKey, DataKeyDestroyed, DataKeyRotated, DataKeysRewrapped, DestroyDataKey,
                RotateDataKey, SealedValues,
            },
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listDataKeys", "keys", "The generations of the keys that seal and wrap")
            .describe("By key, newest first, destroyed ones included; never anything that opens.")
            .answers::<List<DataKey>>(200, "All of them.")
    }

    pub(crate) fn inventory() -> Doc {
        Doc::new("readKeyInventory", "keys", "What is sealed under which keys")
            .describe(
                "Counted now, from the headers of the values themselves. It reads every sealed \
                 value of the tenant, one request at a time: seconds on a large tenant. A value \
                 whose key the tenant has not counts as `unknown`.",
            )
            .answers::<List<SealedValues>>(200, "Every column, by generation of its keys.")
    }

    pub(crate) fn rotate() -> Doc {
        Doc::new("rotateDataKey", "keys", "Makes one generation more of a key")
            .describe(
                "It seals or wraps from now on, on every node within a second. The one before \
                 opens what it sealed and wrapped, until it is destroyed.",
            )
            .body::<RotateDataKey>(json!({ "purpose": "field_kek" }))
            .answers::<DataKeyRotated>(200, "The generation that seals or wraps now.")
            .problem(403, &["permission_denied", "step_up_required"])
    }

    pub(crate) fn rewrap() -> Doc {
        Doc::new("rewrapDataKeys", "keys", "Wraps by the newest KEKs what older ones wrap")
            .describe(
                "Ten thousand keys of people at most. Ask again until it answers that there \
                 were none; who stops before has lost nothing.",
            )
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<DataKeysRewrapped>(200, "How many keys.")
            .problem(403, &["permission_denied", "step_up_required"])
    }

    pub(crate) fn destroy() -> Doc {
        Doc::new("destroyDataKey", "keys", "Destroys a retired generation of a key")
            .describe(
                "For good, and only where nothing is sealed or wrapped by it any more. One that \
                 is destroyed already stays what it is.",
            )
            .body::<DestroyDataKey>(json!({ "purpose": "field_kek", "epoch": 1 }))
            .answers::<DataKeyDestroyed>(200, "The generation, destroyed.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(404, &["not_found"])
            .problem(409, &["key_not_retired", "key_in_use"])
    }
}
