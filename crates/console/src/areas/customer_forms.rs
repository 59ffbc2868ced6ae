//! Recording a customer and changing one. A change is made on the version that was
//! drawn: where somebody else was faster, both values are shown and a person decides.

use std::sync::Arc;

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{
    CreateCustomer, Customer, CustomerChange, CustomerStatus, CustomerType, NewCustomer,
    PersonalData, UpdateCustomer,
};
use http::StatusCode;
use operation::{Refusal, RefusalKind};
use uuid::Uuid;

use super::{customers::read_one, under_way};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// The fields of the form: name and label, in order.
const FIELDS: [(&str, &str); 8] = [
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("company_name", "Company"),
    ("email", "E-mail"),
    ("phone", "Telephone"),
    ("date_of_birth", "Date of birth"),
    ("tax_id", "Tax number"),
    ("status", "Status"),
];

#[derive(Template)]
#[template(path = "areas/customer_new.html")]
struct New {
    page: Page,
    form: Form,
    once: String,
    is_business: bool,
}

#[derive(Template)]
#[template(path = "areas/customer_edit.html")]
struct Edit {
    page: Page,
    form: Form,
    id: Uuid,
    version: i64,
    is_business: bool,
    /// Their own record: contact details only.
    is_self: bool,
    statuses: Vec<(String, String)>,
    conflicts: Vec<Conflict>,
}

/// A field on which two people disagree.
#[derive(Debug, PartialEq, Eq)]
struct Conflict {
    label: &'static str,
    now: String,
    yours: String,
}

/// `GET /customers/new`.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    if !visitor.may(Permission::CustomerCreate) {
        return Err(Fault::denied());
    }
    draw_new(&visitor, Form::new(&params), &params, visitor.once(), StatusCode::OK)
}

/// `POST /customers/new`.
pub(crate) async fn create(visitor: Visitor, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let personal = match personal_of(&form) {
        Ok(personal) => personal,
        Err(faulty) => {
            return draw_new(&visitor, faulty, &form, once, StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    let customer_type = form.parsed::<CustomerType>("customer_type")?;
    let customer = NewCustomer {
        customer_type: customer_type.unwrap_or(CustomerType::Individual),
        personal,
        user_id: None,
    };
    let keyring = Arc::clone(&visitor.console.keyring);
    match under_way::attempt(&visitor, CreateCustomer { keyring, customer }, once).await? {
        Ok(reply) => {
            let to = format!("/customers/{}", reply.output.id);
            visitor.redirect_saying(&to, "Customer recorded")
        }
        Err(refusal) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, "/customers/new", &form)
        }
        Err(refusal) => {
            let drawn = Form::refused(&form, &refusal);
            // Another key: what was refused is remembered under the old one.
            draw_new(&visitor, drawn, &form, visitor.once(), StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

/// `GET /customers/{id}/edit`.
pub(crate) async fn edit(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    if !visitor.may(Permission::CustomerUpdate) {
        return Err(Fault::denied());
    }
    let customer = read_one(&visitor, id).await?;
    let form = (Form::new(&filled(&customer)), customer.record.version);
    draw_edit(&visitor, &customer, form, Vec::new(), StatusCode::OK)
}

/// `POST /customers/{id}/edit`.
pub(crate) async fn save(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let customer = read_one(&visitor, id).await?;
    let expected_version = form.parsed::<i64>("version")?;
    let expected = expected_version.ok_or_else(|| Fault::malformed("version"))?;
    let personal = match personal_of(&form) {
        Ok(personal) => personal,
        Err(faulty) => {
            let (form, status) = ((faulty, expected), StatusCode::UNPROCESSABLE_ENTITY);
            return draw_edit(&visitor, &customer, form, Vec::new(), status);
        }
    };
    let command = UpdateCustomer {
        keyring: Arc::clone(&visitor.console.keyring),
        customer_id: id,
        expected_version: Some(expected),
        change: change_of(&form, personal, form.parsed::<CustomerStatus>("status")?),
    };
    match visitor.attempt(command, None).await? {
        Ok(_) => visitor.redirect_saying(&format!("/customers/{id}"), "Changes saved"),
        Err(refusal) if refusal.kind == RefusalKind::PreconditionFailed => {
            conflict(&visitor, id, &form).await
        }
        Err(refusal) => {
            let drawn = (Form::refused(&form, &refusal), expected);
            draw_edit(&visitor, &customer, drawn, Vec::new(), StatusCode::UNPROCESSABLE_ENTITY)
        }
    }
}

/// Somebody was faster. Where they wrote the same, it is done; else both are shown, and
/// the form now stands on the version that was seen here.
async fn conflict(visitor: &Visitor, id: Uuid, form: &Params) -> Answer {
    let customer = read_one(visitor, id).await?;
    let conflicts = differences(&filled(&customer), form);
    if conflicts.is_empty() {
        return visitor.redirect_saying(&format!("/customers/{id}"), "Changes saved");
    }
    let detail = "Somebody else changed this customer while you were typing";
    let refusal = Refusal::new(RefusalKind::PreconditionFailed, "version_conflict", detail);
    let drawn = (Form::refused(form, &refusal), customer.record.version);
    draw_edit(visitor, &customer, drawn, conflicts, StatusCode::CONFLICT)
}

/// What the form holds of a person; or the form, with what cannot be read in it.
fn personal_of(form: &Params) -> Result<PersonalData, Form> {
    let text = |name: &str| form.get(name).map(str::to_owned);
    let date_of_birth = match form.get("date_of_birth").map(str::parse) {
        None => None,
        Some(Ok(day)) => Some(day),
        Some(Err(_)) => {
            let message = "Write it like 1990-04-17";
            return Err(Form::new(form).fault("date_of_birth", "invalid_value", message));
        }
    };
    Ok(PersonalData {
        first_name: text("first_name"),
        last_name: text("last_name"),
        company_name: text("company_name"),
        email: text("email"),
        phone: form.get("phone").map(|phone| phone.replace([' ', '-', '(', ')'], "")),
        date_of_birth,
        tax_id: text("tax_id"),
    })
}

/// What the form shows, and no field besides; of their own record people change contact
/// details only.
fn change_of(
    form: &Params,
    personal: PersonalData,
    status: Option<CustomerStatus>,
) -> CustomerChange {
    let shows = |name: &str| form.raw(name).is_some();
    CustomerChange {
        first_name: shows("first_name").then_some(personal.first_name),
        last_name: shows("last_name").then_some(personal.last_name),
        company_name: shows("company_name").then_some(personal.company_name),
        email: shows("email").then_some(personal.email),
        phone: shows("phone").then_some(personal.phone),
        date_of_birth: shows("date_of_birth").then_some(personal.date_of_birth),
        tax_id: shows("tax_id").then_some(personal.tax_id),
        user_id: None,
        status,
    }
}

/// The form of a customer as it is.
fn filled(customer: &Customer) -> Params {
    let personal = &customer.personal;
    let born = personal.date_of_birth.map(|day| day.to_string());
    let values = [
        ("first_name", personal.first_name.as_deref()),
        ("last_name", personal.last_name.as_deref()),
        ("company_name", personal.company_name.as_deref()),
        ("email", personal.email.as_deref()),
        ("phone", personal.phone.as_deref()),
        ("date_of_birth", born.as_deref()),
        ("tax_id", personal.tax_id.as_deref()),
        ("status", Some(customer.record.status.as_str())),
    ];
    prefilled(values.iter().filter_map(|(name, value)| Some((*name, (*value)?))))
}

/// Values as if a form had brought them.
pub(crate) fn prefilled<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Params {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(values);
    Params::parse(encoded.finish().as_bytes()).unwrap_or_default()
}

/// The fields that the form shows and that differ.
fn differences(now: &Params, yours: &Params) -> Vec<Conflict> {
    let differing = FIELDS
        .iter()
        .filter(|(name, _)| yours.raw(name).is_some() && now.text(name) != yours.text(name));
    let shown = |text: &str| if text.is_empty() { "Nothing".to_owned() } else { text.to_owned() };
    differing
        .map(|(name, label)| Conflict {
            label,
            now: shown(now.text(name)),
            yours: shown(yours.text(name)),
        })
        .collect()
}

fn draw_new(
    visitor: &Visitor,
    form: Form,
    params: &Params,
    once: String,
    status: StatusCode,
) -> Answer {
    let is_business = params.get("customer_type") == Some("business");
    let body = if is_business {
        r#"{"customer_type":"business","company_name":"Papírny Labe"}"#
    } else {
        r#"{"customer_type":"individual","first_name":"Jana","last_name":"Nováková"}"#
    };
    let page = visitor.page("New customer").crumb("Customers", "/customers").api_call(
        "POST",
        "/v1/customers",
        Some(body.to_owned()),
    );
    visitor.show_as(status, &New { page, form, once, is_business })
}

/// The form, and the version that its texts were written upon.
fn draw_edit(
    visitor: &Visitor,
    customer: &Customer,
    (form, version): (Form, i64),
    conflicts: Vec<Conflict>,
    status: StatusCode,
) -> Answer {
    let id = customer.record.id;
    let page = visitor
        .page("Edit customer")
        .crumb("Customers", "/customers")
        .crumb(kit::customer_name(&customer.personal), format!("/customers/{id}"))
        // What the form shows; its `ETag` is what a change of it has to name.
        .api(format!("/v1/customers/{id}"));
    let statuses = CustomerStatus::ALL.map(CustomerStatus::as_str);
    visitor.show_as(
        status,
        &Edit {
            page,
            form,
            id,
            version,
            is_business: customer.record.customer_type == CustomerType::Business,
            is_self: customer.record.user_id == Some(visitor.context().actor.id),
            statuses: statuses.iter().map(|code| ((*code).to_owned(), kit::words(code))).collect(),
            conflicts,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{differences, prefilled};

    #[test]
    fn two_people_disagree_on_what_differs_only() {
        let now = prefilled([("email", "a@b.cz"), ("last_name", "Nová")].into_iter());
        let yours = prefilled([("email", "c@d.cz"), ("last_name", "Nová")].into_iter());
        let found = differences(&now, &yours);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].now.as_str(), found[0].yours.as_str()), ("a@b.cz", "c@d.cz"));
        let hidden = prefilled([("email", "a@b.cz")].into_iter());
        assert_eq!(differences(&now, &hidden), []);
        let emptied = prefilled([("email", ""), ("last_name", "Nová")].into_iter());
        assert_eq!(differences(&now, &emptied)[0].yours, "Nothing");
    }
}
