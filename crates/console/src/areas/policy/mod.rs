//! Changing the security policy: a form of all of it, a summary of what would change, and
//! the request. A second person decides (`changes`).
//!
//! What is asked for is a patch of the policy that the form was drawn from: where somebody
//! else changed the policy meanwhile, it is said, and what was typed is laid upon the policy
//! as it is then. Refuses to judge values: identity does, and its faults land under fields.

pub(crate) mod changes;
mod duration;
pub(crate) mod fields;
mod typed;

use access::{Permission, Resource, Scope};
use askama::Template;
use http::StatusCode;
use identity::{
    Identity, PolicyDifference, PolicyPreview, PolicyWish, policy_merged, policy_patch,
};
use operation::{Found, OperationError, Refusal, RefusalKind, View, read::ViewFailure};
use serde_json::Value;
use tenancy::{Database, OpContext, policy::SecurityPolicy};

use self::typed::{Control, Section, Source};
use super::under_way;
use crate::{
    fault::{Answer, Fault},
    form::Form,
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/settings/policy";
/// What the second person may read of the reason, in characters; identity counts them.
const NOTE_MAX: usize = 140;
/// The longest address that somebody is led back to.
const ADDRESS_MAX: usize = 1_000;

/// The policy as it is stored, and its version.
pub(crate) struct ReadSettings(pub(crate) Identity);

impl View for ReadSettings {
    const NAME: &'static str = "settings.read";
    const RESOURCE: &'static str = "settings";
    type Output = (SecurityPolicy, i64);

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        _: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let value = self.0.stored_policy(context).await?;
        Ok(Found::Object { value, resource: Resource::for_permission(self.permission(), None) })
    }
}

#[derive(Template)]
#[template(path = "areas/policy.html")]
struct Edit {
    page: Page,
    form: Form,
    sections: Vec<Section>,
    note: String,
    note_max: usize,
    /// What the texts were drawn from, and its version: what is sent is the difference.
    base: String,
    version: i64,
}

#[derive(Template)]
#[template(path = "areas/policy_review.html")]
struct Review {
    page: Page,
    lines: Vec<DiffLine>,
    note: String,
    patch: String,
    version: i64,
    once: String,
    /// The form again, with what was typed.
    back: String,
}

/// A field that changes, in words.
pub(super) struct DiffLine {
    pub(super) group: String,
    pub(super) label: String,
    pub(super) old: String,
    pub(super) new: String,
}

/// What a form is drawn of.
struct Draft<'a> {
    base: Value,
    version: i64,
    source: Source<'a>,
    note: &'a str,
}

/// `GET /settings/policy?patch=`: the policy, with a change laid upon it where the address
/// names one.
pub(crate) async fn edit(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor).await?;
    let (base, version) = stored(&visitor).await?;
    let shown = match params.get("patch") {
        Some(_) => policy_merged(base.clone(), &json(&params, "patch")?),
        None => base.clone(),
    };
    let source = Source::Policy(&shown);
    let draft = Draft { base, version, source, note: params.text("note") };
    draw(&visitor, &draft, &Form::default(), StatusCode::OK)
}

/// `POST /settings/policy`: what it would come to. Nothing is asked for yet.
pub(crate) async fn review(visitor: Visitor, form: Params) -> Answer {
    let (version, base) = (version_of(&form)?, json(&form, "base")?);
    let roles = visitor.context().tenant.blueprint.roles();
    let patch = policy_patch(&base, &typed::policy_of(&form, &base, roles));
    let note = form.text("note");
    if let Err(due) = visitor.console.identity.prove_for_policy(visitor.context()).await {
        return after_proof(&visitor, &patch, note, due);
    }
    match preview(&visitor, patch.clone(), version).await? {
        Ok(preview) => summary(&visitor, &preview, &patch, note),
        Err(refusal) if refusal.kind == RefusalKind::PreconditionFailed => {
            anew(&visitor, &patch, note, &refusal).await
        }
        Err(refusal) => {
            let source = Source::Typed(&form);
            let draft = Draft { base, version, source, note };
            let drawn = Form::refused(&form, &kindly(&refusal));
            draw(&visitor, &draft, &drawn, StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

/// `POST /settings/policy/changes`: asks for what the summary showed.
pub(crate) async fn request(visitor: Visitor, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let (version, patch) = (version_of(&form)?, json(&form, "patch")?);
    let note = form.text("note");
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let ask = || {
        let wish = (PolicyWish::Patch(patch.clone()), Some(version));
        identity.request_policy_change(context, Some(once.clone()), wish, Some(note))
    };
    let busy = |done: &Result<_, _>| matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal));
    match under_way::settled(ask, busy).await {
        Ok(done) => {
            let place = format!("{}/{}", changes::PATH, done.output.id);
            visitor.redirect_saying(&place, "Asked for. Another administrator has to agree")
        }
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, changes::PATH, &form)
        }
        Err(OperationError::Refused(refusal)) if is_for_the_form(refusal.kind) => {
            anew(&visitor, &patch, note, &refusal).await
        }
        Err(error) => after_proof(&visitor, &patch, note, error),
    }
}

/// Where a factor is due the form is opened anew with what was typed: opening it asks for
/// the factor, and comes back.
fn after_proof(visitor: &Visitor, patch: &Value, note: &str, error: OperationError) -> Answer {
    let back = again(&patch.to_string(), note);
    match &error {
        OperationError::Refused(refusal)
            if refusal.code == "step_up_required" && back.len() <= ADDRESS_MAX =>
        {
            visitor.redirect(&back)
        }
        _ => Err(error.into()),
    }
}

/// The form upon the policy as it is now, with what was asked for laid upon it.
async fn anew(visitor: &Visitor, patch: &Value, note: &str, refusal: &Refusal) -> Answer {
    let (base, version) = stored(visitor).await?;
    let shown = policy_merged(base.clone(), patch);
    let draft = Draft { base, version, source: Source::Policy(&shown), note };
    let status = match refusal.kind {
        RefusalKind::Conflict | RefusalKind::PreconditionFailed => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    draw(visitor, &draft, &Form::refused(&Params::default(), &kindly(refusal)), status)
}

/// Whoever may not ask for a change, or has to prove a factor first, learns it before
/// anything is filled in.
async fn demand(visitor: &Visitor) -> Result<(), Fault> {
    if !visitor.may(Permission::SettingsUpdate) {
        return Err(Fault::denied());
    }
    Ok(visitor.console.identity.prove_for_policy(visitor.context()).await?)
}

async fn stored(visitor: &Visitor) -> Result<(Value, i64), Fault> {
    let view = ReadSettings(visitor.console.identity.clone());
    let (policy, version) = visitor.read(&view).await?;
    Ok((written(&policy)?, version))
}

/// A policy as JSON.
pub(crate) fn written(policy: &SecurityPolicy) -> Result<Value, Fault> {
    serde_json::to_value(policy).map_err(|_| Fault::internal())
}

async fn preview(
    visitor: &Visitor,
    patch: Value,
    version: i64,
) -> Result<Result<PolicyPreview, Refusal>, Fault> {
    let wish = (PolicyWish::Patch(patch), Some(version));
    match visitor.console.identity.preview_policy_change(visitor.context(), wish).await {
        Ok(preview) => Ok(Ok(preview)),
        Err(OperationError::Refused(refusal)) if is_for_the_form(refusal.kind) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

const fn is_for_the_form(kind: RefusalKind) -> bool {
    matches!(
        kind,
        RefusalKind::Malformed
            | RefusalKind::Rule
            | RefusalKind::Conflict
            | RefusalKind::PreconditionFailed
    )
}

fn draw(visitor: &Visitor, draft: &Draft<'_>, form: &Form, status: StatusCode) -> Answer {
    let roles = visitor.context().tenant.blueprint.roles();
    let mut page = visitor
        .page("Change the security policy")
        .lead("Nothing changes until another administrator has agreed.")
        .crumb("Settings", "/settings")
        .api("/v1/settings");
    // Behind a refused form the browser stands at an address that shows something else.
    PATH.clone_into(&mut page.path);
    visitor.show_as(
        status,
        &Edit {
            page,
            form: form.clone(),
            sections: typed::sections(draft.source, roles, form.errors()),
            note: draft.note.to_owned(),
            note_max: NOTE_MAX,
            base: draft.base.to_string(),
            version: draft.version,
        },
    )
}

fn summary(visitor: &Visitor, preview: &PolicyPreview, patch: &Value, note: &str) -> Answer {
    let mut body = serde_json::json!({ "patch": patch });
    if !note.is_empty() {
        body["note"] = note.into();
    }
    let page = visitor
        .page("Is this what you want?")
        .lead("Read each line. Another administrator sees the same and has seven days to decide.")
        .crumb("Settings", "/settings")
        .crumb("Change the security policy", PATH)
        .api_call("POST", "/v1/settings/policy/changes", Some(body.to_string()));
    let patch = patch.to_string();
    visitor.show(&Review {
        page,
        lines: lines(&preview.differences),
        note: note.to_owned(),
        version: preview.base_version,
        once: visitor.once(),
        back: again(&patch, note),
        patch,
    })
}

/// The form with a change laid upon it.
pub(super) fn again(patch: &str, note: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("patch", patch);
    if !note.is_empty() {
        query.append_pair("note", note);
    }
    format!("{PATH}?{}", query.finish())
}

/// What changes, in words.
pub(super) fn lines(differences: &[PolicyDifference]) -> Vec<DiffLine> {
    let line = |difference: &PolicyDifference| {
        let PolicyDifference { path, old, new } = difference;
        let (group, label, [old, new]) = fields::difference(path, old, new);
        DiffLine { group, label, old, new }
    };
    differences.iter().map(line).collect()
}

/// The refusal in words that tell the next step, its faults under the fields.
fn kindly(refusal: &Refusal) -> Refusal {
    let refusal = typed::told(refusal);
    let detail = match refusal.code.as_ref() {
        "version_conflict" => {
            "Somebody else changed the policy meanwhile, and nothing was asked for. Here is the \
             policy as it is now, with what you changed laid upon it. Look at it again."
        }
        "nothing_changes" => "The policy is so already: nothing here is different from it.",
        "too_many_pending" => {
            "Twenty of your changes wait for a second person already. Let them be decided first."
        }
        "validation_failed" => "Some of it cannot be. Nothing was asked for.",
        "idempotency_key_reused" => {
            let detail = "This form was sent before, for another change. Look at it and send it \
                          anew."
                .to_owned();
            return Refusal { detail, errors: Vec::new(), ..refusal };
        }
        _ => return refusal,
    };
    Refusal { detail: detail.to_owned(), ..refusal }
}

fn version_of(form: &Params) -> Result<i64, Fault> {
    form.parsed::<i64>("version")?.ok_or_else(|| Fault::malformed("version"))
}

/// A hidden field that holds an object.
fn json(form: &Params, name: &'static str) -> Result<Value, Fault> {
    let read = serde_json::from_str::<Value>(form.text(name)).ok();
    read.filter(Value::is_object).ok_or_else(|| Fault::malformed(name))
}
