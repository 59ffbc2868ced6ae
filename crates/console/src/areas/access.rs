//! What somebody may do, and why or why not, now or at a moment that is past.
//!
//! Who may ask about whom, and the answer itself, are `explain`'s. Refuses to say more of a
//! person than their roles.

use access::{Missing, Permission, ResourceKind};
use askama::Template;
use explain::{Explained, Explainer, KINDS, Question};
use http::StatusCode;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use operation::{OperationError, Refusal, RefusalKind};
use serde_json::json;
use uuid::Uuid;

use super::approvals;
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "areas/access.html")]
struct Access {
    page: Page,
    params: Params,
    person: Uuid,
    actions: Vec<(&'static str, &'static str)>,
    kinds: Vec<(String, &'static str)>,
    told: Option<Told>,
    refused: Option<String>,
}

/// An answer in words.
struct Told {
    allowed: bool,
    question: String,
    roles: String,
    reach: String,
    relations: String,
    policies: Vec<String>,
    missing: Vec<String>,
    moment: Option<kit::Markup>,
}

/// `GET /access`: of oneself, or of the `person` that the address names.
pub(crate) async fn show(visitor: Visitor, params: Params) -> Answer {
    let me = visitor.context().actor.id;
    let person = params.id("person")?.unwrap_or(me);
    let page = frame(&visitor, person).await?;
    let body = request(person, &params, &visitor.zone());
    let page = page.api_call("POST", "/v1/access/explain", Some(body));
    let asked = match params.get("action") {
        None => Ok(None),
        Some(_) => ask(&visitor, person, &params).await?,
    };
    let (told, refused) = match asked {
        Ok(told) => (told, None),
        Err(why) => (None, Some(why)),
    };
    let status = if refused.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let known = std::iter::once((String::new(), "Nothing in particular"));
    let kinds = KINDS.iter().map(|kind| (kind.as_str().to_ascii_lowercase(), kind.as_str()));
    let template = Access {
        page,
        params,
        person,
        actions: Permission::ALL.iter().map(|one| (one.as_str(), one.as_str())).collect(),
        kinds: known.chain(kinds).collect(),
        told,
        refused,
    };
    visitor.show_as(status, &template)
}

/// The body that asks the interface the same; where the form asks nothing yet, an example.
fn request(person: Uuid, params: &Params, zone: &TimeZone) -> String {
    let question = question_of(person, params, zone).ok();
    let action = question.as_ref().map_or(Permission::ALL[0], |one| one.permission);
    let mut body = json!({ "actor": person, "action": action.as_str() });
    if let Some((kind, id)) = question.as_ref().and_then(|one| one.object) {
        body["resource"] = json!({ "type": kind.as_str().to_ascii_lowercase(), "id": id });
    }
    if let Some(at) = question.and_then(|one| one.as_of) {
        body["as_of"] = at.to_string().into();
    }
    body.to_string()
}

async fn frame(visitor: &Visitor, person: Uuid) -> Result<Page, Fault> {
    let is_self = person == visitor.context().actor.id;
    let lead = "One action, one object: whether it is allowed, by which policies, and what is \
        missing where it is not.";
    if is_self {
        return Ok(visitor.page("What you may do").lead(lead));
    }
    let names = approvals::names(visitor, vec![person]).await?;
    let (_, name) = names.into_iter().next().ok_or_else(Fault::not_found)?;
    let page = visitor.page(format!("What {name} may do")).lead(lead);
    Ok(page.crumb("People", "/users").crumb(name, format!("/users/{person}")))
}

/// The answer, or why there is none.
async fn ask(
    visitor: &Visitor,
    person: Uuid,
    params: &Params,
) -> Result<Result<Option<Told>, String>, Fault> {
    let context = visitor.context();
    let question = match question_of(person, params, &visitor.zone()) {
        Ok(question) => question,
        Err(why) => return Ok(Err(why.to_owned())),
    };
    if let Some((_, why)) = question.fault(context.clock.now()) {
        return Ok(Err(why.to_owned()));
    }
    let console = &visitor.console;
    let explainer = Explainer::new(console.operations.clone(), console.identity.clone());
    match explainer.explain(context, &question).await {
        Ok(told) => Ok(Ok(Some(Told::of(&question, told, &visitor.zone())))),
        Err(OperationError::Refused(refusal)) => words(refusal).map(Err),
        Err(error) => Err(error.into()),
    }
}

fn words(refusal: Refusal) -> Result<String, Fault> {
    match refusal.kind {
        RefusalKind::NotFound => {
            Ok("There is no such object, or it is not yours to see.".to_owned())
        }
        RefusalKind::Rule => Ok(format!("{}.", refusal.detail)),
        _ => Err(refusal.into()),
    }
}

/// What the form asks, or which of its fields cannot be read.
fn question_of(person: Uuid, params: &Params, zone: &TimeZone) -> Result<Question, &'static str> {
    let permission = params.text("action").parse();
    let permission: Permission = permission.map_err(|_| "Choose an action of the list.")?;
    let id = match params.text("id").trim() {
        "" => None,
        text => Some(text.parse::<Uuid>().map_err(|_| "The id is not one of an object.")?),
    };
    let object = match (kind_of(params.text("kind"))?, id) {
        (None, None) => None,
        (Some(kind), Some(id)) => Some((kind, id)),
        (Some(_), None) => return Err("Which object? Its id is missing."),
        (None, Some(_)) => return Err("What kind of object is it?"),
    };
    Ok(Question { person, permission, object, as_of: moment(params.text("as_of"), zone)? })
}

fn kind_of(text: &str) -> Result<Option<ResourceKind>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let kind = KINDS.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    kind.map(Some).ok_or("Choose a kind of object of the list.")
}

/// A moment as a browser writes it, in the tenant's zone.
fn moment(text: &str, zone: &TimeZone) -> Result<Option<Timestamp>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let moment = text.parse::<DateTime>().ok();
    let moment = moment.and_then(|local| local.to_zoned(zone.clone()).ok());
    moment.map(|at| Some(at.timestamp())).ok_or("The moment cannot be read: a date and a time.")
}

impl Told {
    fn of(question: &Question, told: Explained, zone: &TimeZone) -> Self {
        let decision = told.explanation.decision;
        let relations = [
            (told.owned, "their own"),
            (told.held, "on an account that they hold"),
            (told.same_organization, "of their organisation"),
        ];
        let relations: Vec<_> =
            relations.iter().filter(|(is_so, _)| *is_so).map(|(_, words)| *words).collect();
        Self {
            allowed: decision.allowed(),
            question: match question.object {
                None => question.permission.as_str().to_owned(),
                Some((kind, id)) => format!("{} on {} {id}", question.permission, kind.as_str()),
            },
            roles: kit::words(&told.roles.join(", ")),
            reach: reach(&told.explanation.scope.to_string()),
            relations: match (question.object.is_some(), relations.is_empty()) {
                (false, _) => String::new(),
                (true, true) => "nothing that policies ask for".to_owned(),
                (true, false) => relations.join(", "),
            },
            policies: decision.reasons,
            missing: told.explanation.missing.iter().map(lack).collect(),
            moment: told.as_of.map(|at| kit::time(at, zone)),
        }
    }
}

/// The objects on which somebody may do it at all.
fn reach(scope: &str) -> String {
    match scope {
        "all" => "every object".to_owned(),
        "none" => "no object".to_owned(),
        relations => format!("objects by relation: {}", relations.replace('+', ", ")),
    }
}

fn lack(missing: &Missing) -> String {
    match missing {
        Missing::Role(roles) => {
            let roles: Vec<_> = roles.iter().map(|role| kit::words(role)).collect();
            format!("One of the roles {}.", roles.join(", "))
        }
        Missing::Relation(relation) => {
            format!("Another relation to the object: {}.", kit::words(relation).to_lowercase())
        }
        Missing::Absence("held") => {
            "An account that they do not hold: a prohibition stands on their own.".to_owned()
        }
        Missing::Absence(_) => {
            "An object that is not their own: a prohibition stands on it.".to_owned()
        }
        Missing::Condition(condition) => format!(
            "A condition of a custom role of theirs: {}.",
            kit::words(condition).to_lowercase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use uuid::Uuid;

    use super::question_of;
    use crate::params::Params;

    #[test]
    fn what_cannot_be_read_is_said_and_not_guessed() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let table = [
            ("action=account:read", Ok(())),
            (&*format!("action=account:read&kind=account&id={id}"), Ok(())),
            ("action=account:read&as_of=2026-01-31T08:00", Ok(())),
            ("action=account:steal", Err("Choose an action of the list.")),
            ("action=account:read&kind=ship&id=1", Err("The id is not one of an object.")),
            (
                &*format!("action=account:read&kind=ship&id={id}"),
                Err("Choose a kind of object of the list."),
            ),
            ("action=account:read&kind=account", Err("Which object? Its id is missing.")),
            (&*format!("action=account:read&id={id}"), Err("What kind of object is it?")),
            (
                "action=account:read&as_of=yesterday",
                Err("The moment cannot be read: a date and a time."),
            ),
        ];
        for (address, expected) in table {
            let params = Params::parse(address.as_bytes()).unwrap();
            let asked = question_of(Uuid::nil(), &params, &TimeZone::UTC).map(drop);
            assert_eq!(asked, expected, "{address}");
        }
    }
}
