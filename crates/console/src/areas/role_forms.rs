//! Writing a role: its grants as a text, what they would change before anything is changed,
//! and the change on the version that was drawn.
//!
//! One address has the three steps: the form, the preview of what it would do, and doing it;
//! each is a form's answer, so that nothing needs a script.

use access::{RoleDefinition, RolePermission};
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::RoleRecord;
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    customer_forms::prefilled,
    role_text::{self, Difference, Written},
    roles::{self, PATH, is_for_the_page, path_of, people, status_of},
    under_way,
    webhook::{is_under_way, version_of},
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

const NEW: &str = "/roles/new";

#[derive(Template)]
#[template(path = "areas/role_form.html")]
struct Drawn {
    page: Page,
    action: String,
    /// Where to, undone.
    back: String,
    form: Form,
    /// The role that is changed, and the version that its text was written upon; none of a
    /// new one.
    version: Option<i64>,
}

#[derive(Template)]
#[template(path = "areas/role_preview.html")]
struct Preview {
    page: Page,
    action: String,
    name: String,
    grants: String,
    version: Option<i64>,
    once: String,
    lines: Vec<Difference>,
    /// Whom it is about, in words.
    affected: String,
}

/// Which of the three steps a form asks for.
enum Step {
    Write,
    Preview,
    Confirm,
}

impl Step {
    fn of(form: &Params) -> Result<Self, Fault> {
        match form.text("step") {
            "write" => Ok(Self::Write),
            "preview" => Ok(Self::Preview),
            "confirm" => Ok(Self::Confirm),
            _ => Err(Fault::malformed("step")),
        }
    }
}

/// `GET /roles/new?from=`: empty, or what another role may. A factor that is due is asked for
/// before anything is typed.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor).await?;
    let text = match params.id("from")? {
        None => String::new(),
        Some(from) => {
            let role = visitor.console.identity.role(visitor.context(), from).await?;
            role_text::write(&role.permissions)
        }
    };
    let values = prefilled([("grants", text.as_str())].into_iter());
    draw_new(&visitor, (Form::new(&values), StatusCode::OK))
}

/// `POST /roles/new`.
pub(crate) async fn create(visitor: Visitor, form: Params) -> Answer {
    demand(&visitor).await?;
    let written = match (Step::of(&form)?, written(&form)) {
        (Step::Write, _) => return draw_new(&visitor, (Form::new(&form), StatusCode::OK)),
        (_, Err(faulty)) => {
            return draw_new(&visitor, (faulty, StatusCode::UNPROCESSABLE_ENTITY));
        }
        (Step::Preview, Ok(written)) => return preview_new(&visitor, &form, written).await,
        (Step::Confirm, Ok(written)) => written,
    };
    let once = visitor.once_of(&form)?;
    let definition = definition(form.text("name"), &written);
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let attempt = || identity.create_role(context, Some(once.clone()), definition.clone());
    match under_way::settled(attempt, is_under_way).await {
        Ok(role) => visitor.redirect_saying(&path_of(role.id), "The role is made"),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, NEW, &form)
        }
        Err(error) => draw_new(&visitor, refused(&form, &written, error)?),
    }
}

async fn preview_new(visitor: &Visitor, form: &Params, written: Written) -> Answer {
    let definition = definition(form.text("name"), &written);
    let identity = &visitor.console.identity;
    match identity.preview_role(visitor.context(), None, &definition).await {
        Ok(_) => {
            let affected = "Nobody holds it yet.".to_owned();
            draw_preview(visitor, None, (&definition, form), affected)
        }
        Err(error) => draw_new(visitor, refused(form, &written, error)?),
    }
}

/// `GET /roles/{id}/edit`.
pub(crate) async fn edit(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let role = visitor.console.identity.role(visitor.context(), id).await?;
    demand(&visitor).await?;
    let text = role_text::write(&role.permissions);
    let values = prefilled([("grants", text.as_str())].into_iter());
    draw_edit(&visitor, (&role, role.version), (Form::new(&values), StatusCode::OK))
}

/// `POST /roles/{id}/edit`.
pub(crate) async fn save(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let role = visitor.console.identity.role(visitor.context(), id).await?;
    demand(&visitor).await?;
    let expected = version_of(&form)?;
    let seen = (&role, expected);
    let written = match (Step::of(&form)?, written(&form)) {
        (Step::Write, _) => return draw_edit(&visitor, seen, (Form::new(&form), StatusCode::OK)),
        (_, Err(faulty)) => {
            return draw_edit(&visitor, seen, (faulty, StatusCode::UNPROCESSABLE_ENTITY));
        }
        (Step::Preview, Ok(written)) => {
            return preview_change(&visitor, seen, &form, written).await;
        }
        (Step::Confirm, Ok(written)) => written,
    };
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let wish = (id, Some(expected));
    match identity.change_role(context, wish, written.permissions.clone()).await {
        Ok(_) => visitor.redirect_saying(&path_of(id), "Changed. Whoever holds it signs in anew"),
        Err(error) => not_changed(&visitor, seen, &form, (&written, error)).await,
    }
}

async fn preview_change(
    visitor: &Visitor,
    (role, expected): (&RoleRecord, i64),
    form: &Params,
    written: Written,
) -> Answer {
    let definition = definition(&role.name, &written);
    let (identity, context) = (&visitor.console.identity, visitor.context());
    match identity.preview_role(context, Some((role.id, expected)), &definition).await {
        Ok(before) => {
            let before = before.ok_or_else(Fault::not_found)?;
            let affected = match before.holders {
                0 => "Nobody holds it.".to_owned(),
                1 => "One person holds it: their sessions end, and they sign in anew.".to_owned(),
                _ => {
                    let many = people(before.holders);
                    format!("{many} hold it: their sessions end, and they sign in anew.")
                }
            };
            draw_preview(visitor, Some((&before, expected)), (&definition, form), affected)
        }
        Err(error) => not_changed(visitor, (role, expected), form, (&written, error)).await,
    }
}

/// The form once more; where somebody was faster, upon the role as it is now.
async fn not_changed(
    visitor: &Visitor,
    (role, expected): (&RoleRecord, i64),
    form: &Params,
    (written, error): (&Written, OperationError),
) -> Answer {
    let is_stale = matches!(&error, OperationError::Refused(refusal)
        if refusal.kind == RefusalKind::PreconditionFailed);
    let drawn = refused(form, written, error)?;
    if !is_stale {
        return draw_edit(visitor, (role, expected), drawn);
    }
    let now = visitor.console.identity.role(visitor.context(), role.id).await?;
    if now.permissions == written.permissions {
        // Somebody was faster, and wrote the same: this form, sent twice, say.
        let said = "Changed. Whoever holds it signs in anew";
        return visitor.redirect_saying(&path_of(role.id), said);
    }
    draw_edit(visitor, (&now, now.version), drawn)
}

/// Whoever may write roles, and proved a factor of late.
async fn demand(visitor: &Visitor) -> Result<(), Fault> {
    if !visitor.may(access::Permission::SettingsUpdate) {
        return Err(Fault::denied());
    }
    Ok(visitor.console.identity.prove_for_roles(visitor.context()).await?)
}

/// The grants of the form, or the form with every line at fault.
fn written(form: &Params) -> Result<Written, Form> {
    role_text::read(form.raw("grants").unwrap_or_default()).map_err(|faults| {
        let told = |form: Form, (number, fault): &(usize, String)| {
            form.fault("grants", "invalid_value", role_text::line_fault(*number, fault))
        };
        faults.iter().fold(Form::new(form), told)
    })
}

fn definition(name: &str, written: &Written) -> RoleDefinition {
    RoleDefinition { name: name.to_owned(), permissions: written.permissions.clone() }
}

/// The form with why it was not done, and its status; everything else is a page of its own.
fn refused(
    form: &Params,
    written: &Written,
    error: OperationError,
) -> Result<(Form, StatusCode), Fault> {
    let refusal = match error {
        OperationError::Refused(refusal) if is_for_the_page(&refusal) => refusal,
        error => return Err(error.into()),
    };
    let status = status_of(&refusal);
    let detail = roles::words(&refusal);
    let said = Refusal { errors: written.faults(refusal.errors.clone()), detail, ..refusal };
    Ok((Form::refused(form, &said), status))
}

fn draw_new(visitor: &Visitor, (form, status): (Form, StatusCode)) -> Answer {
    let body = r#"{"name":"night_desk","permissions":[{"permission":"account:read"}]}"#;
    let mut page = visitor
        .page("New role")
        .lead("Nothing is made before you have seen what it may do.")
        .crumb("Roles", PATH)
        .api_call("POST", "/v1/roles", Some(body.to_owned()));
    NEW.clone_into(&mut page.path);
    let (action, back) = (NEW.to_owned(), PATH.to_owned());
    visitor.show_as(status, &Drawn { page, action, back, form, version: None })
}

/// The form, and the version that its text was written upon.
fn draw_edit(
    visitor: &Visitor,
    (role, version): (&RoleRecord, i64),
    (form, status): (Form, StatusCode),
) -> Answer {
    let back = path_of(role.id);
    let mut page = visitor
        .page("Change what it may do")
        .lead("Nothing is changed before you have seen what it does.")
        .crumb("Roles", PATH)
        .crumb(kit::words(&role.name), back.clone())
        // What the form shows; its `ETag` is what a change of it has to name.
        .api(format!("/v1/roles/{}", role.id));
    let action = format!("{back}/edit");
    page.path.clone_from(&action);
    visitor.show_as(status, &Drawn { page, action, back, form, version: Some(version) })
}

fn draw_preview(
    visitor: &Visitor,
    seen: Option<(&RoleRecord, i64)>,
    (definition, form): (&RoleDefinition, &Params),
    affected: String,
) -> Answer {
    let (title, lead) = match seen {
        None => ("Make this role?", "This is what it may do. Nothing is made yet."),
        Some(_) => ("Change this role?", "This is what becomes different. Nothing is changed yet."),
    };
    let body = serde_json::to_string(&definition.permissions).map_err(|_| Fault::internal())?;
    let mut page = visitor.page(title).lead(lead).crumb("Roles", PATH);
    let action = match seen {
        None => NEW.to_owned(),
        Some((role, _)) => {
            page = page.crumb(kit::words(&role.name), path_of(role.id));
            format!("{}/edit", path_of(role.id))
        }
    };
    let page = match seen {
        None => {
            let name = serde_json::Value::from(definition.name.as_str());
            let body = format!("{{\"name\":{name},\"permissions\":{body}}}");
            page.api_call("POST", "/v1/roles", Some(body))
        }
        Some((role, _)) => {
            let body = format!("{{\"permissions\":{body}}}");
            page.api_call("PATCH", format!("/v1/roles/{}", role.id), Some(body))
        }
    };
    let now: &[RolePermission] = seen.map_or(&[], |(role, _)| &role.permissions);
    visitor.show(&Preview {
        page: Page { path: action.clone(), ..page },
        action,
        name: definition.name.clone(),
        grants: form.raw("grants").unwrap_or_default().to_owned(),
        version: seen.map(|(_, version)| version),
        once: visitor.once(),
        lines: role_text::differences(now, &definition.permissions),
        affected,
    })
}
