//! What a person signs in from: their devices, named and revoked by them.
//!
//! A change is made on the version that was drawn. Refuses to know how a device is
//! recognised (identity's).

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::DeviceRecord;
use jiff::tz::TimeZone;
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;

use super::security::{self, Tab};
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

const PATH: &str = "/security/devices";

#[derive(Template)]
#[template(path = "areas/devices.html")]
struct DevicesPage {
    page: Page,
    tabs: Vec<Tab>,
    devices: Vec<Line>,
    refused: Option<String>,
    first: Option<String>,
    next: Option<String>,
}

struct Line {
    id: Uuid,
    name: String,
    /// As it was typed, where that was not accepted.
    typed: Option<String>,
    is_current: bool,
    version: i64,
    first_seen: kit::Markup,
    last_seen: kit::Markup,
    trusted_until: Option<kit::Markup>,
}

/// `GET /security/devices`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, (None, None), StatusCode::OK).await
}

/// `GET` of what only a form is sent to: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor, Path(_): Path<Uuid>) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /security/devices/{id}/name`.
pub(crate) async fn rename(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let (version, name) = (version_of(&form)?, form.text("name"));
    let identity = &visitor.console.identity;
    match identity.rename_device(visitor.context(), id, Some(version), name).await {
        Ok(_) => visitor.redirect_saying(PATH, "Device renamed"),
        Err(error) => refused(&visitor, error, Some((id, name.to_owned()))).await,
    }
}

/// `POST /security/devices/{id}/revoke`.
pub(crate) async fn revoke(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let version = version_of(&form)?;
    let identity = &visitor.console.identity;
    match identity.revoke_device(visitor.context(), id, Some(version)).await {
        Ok(()) => visitor.redirect_saying(PATH, "Device revoked and signed out"),
        Err(error) => refused(&visitor, error, None).await,
    }
}

fn version_of(form: &Params) -> Result<i64, Fault> {
    form.parsed::<i64>("version")?.ok_or_else(|| Fault::malformed("version"))
}

async fn refused(
    visitor: &Visitor,
    error: OperationError,
    typed: Option<(Uuid, String)>,
) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    let status = match refusal.kind {
        RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        // Somebody else was faster: the list shows how it stands now.
        RefusalKind::PreconditionFailed => StatusCode::CONFLICT,
        _ => return Err(refusal.into()),
    };
    draw(visitor, &Params::default(), (Some(said(&refusal)), typed), status).await
}

fn said(refusal: &Refusal) -> String {
    if refusal.kind == RefusalKind::PreconditionFailed {
        return "This device was changed meanwhile. Here is how it stands now; nothing of yours \
                was done."
            .to_owned();
    }
    let fault = refusal.errors.first().map(|error| error.message.clone());
    fault.unwrap_or_else(|| refusal.detail.clone())
}

async fn draw(
    visitor: &Visitor,
    params: &Params,
    (refused, typed): (Option<String>, Option<(Uuid, String)>),
    status: StatusCode,
) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let wanted = visitor.page_request(PATH, params).await?;
    let found = identity.devices(context, &wanted).await?;
    let next = visitor.next_page(PATH, params, found.next.as_deref()).await?;
    let zone = visitor.zone();
    let mut devices: Vec<Line> =
        found.data.into_iter().map(|device| Line::of(device, &zone)).collect();
    if let Some((id, name)) = typed {
        for line in devices.iter_mut().filter(|line| line.id == id) {
            line.typed = Some(name.clone());
        }
    }
    let page = visitor
        .page("Security")
        .lead("What you have signed in from. You are told of every new one.")
        .api("/v1/auth/devices");
    let template = DevicesPage {
        page,
        tabs: security::tabs(PATH),
        devices,
        refused,
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    };
    visitor.show_as(status, &template)
}

impl Line {
    fn of(device: DeviceRecord, zone: &TimeZone) -> Self {
        Self {
            id: device.id,
            name: device.name,
            typed: None,
            is_current: device.current,
            version: device.version,
            first_seen: kit::time(device.first_seen_at, zone),
            last_seen: kit::time(device.last_seen_at, zone),
            trusted_until: device.trusted_until.map(|until| kit::time(until, zone)),
        }
    }
}
