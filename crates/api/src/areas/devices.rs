//! A person's own devices.

use axum::extract::State;

use super::{Answer, nothing, ok_versioned};
use crate::{
    extract::{Caller, Id, IfMatch, MaybeIfMatch, PageQuery, Paging, Parameters},
    json::Json,
    state::ApiState,
    wire::devices::{Device, RenameDevice},
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/auth/devices", &query).await?;
    let page = state.identity.devices(&context, &paging.request).await?;
    Ok(paging.answer(page, Device::from))
}

pub(crate) async fn rename(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IfMatch(version): IfMatch,
    Json(body): Json<RenameDevice>,
) -> Answer {
    let device = state.identity.rename_device(&context, id, version, &body.name).await?;
    let version = device.version;
    ok_versioned(Device::from(device), version)
}

pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(version): MaybeIfMatch,
) -> Answer {
    state.identity.revoke_device(&context, id, version).await?;
    nothing()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            devices::{Device, RenameDevice},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listDevices", "auth", "The devices you signed in from, newest first")
            .describe(
                "A device is recognised by its user agent, its client hints and, where a client keeps one \
                 on it, the id it sends as `X-Device-Id` (16 to 128 visible characters).",
            )
            .paged()
            .answers::<List<Device>>(200, "A page of devices.")
    }

    pub(crate) fn rename() -> Doc {
        Doc::new("renameDevice", "auth", "Gives one of your devices a name")
            .body::<RenameDevice>(json!({ "name": "Laptop at home" }))
            .answers::<Device>(200, "The device.")
            .etag()
            .if_match()
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn revoke() -> Doc {
        Doc::new("revokeDevice", "auth", "Revokes one of your devices and ends its sessions")
            .describe("Who signs in from it again is on a new device, and you are told.")
            .answers_nothing("Revoked.")
            .honours_if_match()
    }
}
