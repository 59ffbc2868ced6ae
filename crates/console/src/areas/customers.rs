//! Customers: the list, its file, and the page of one. Names are sealed at rest, so
//! every look goes through commands that leave a record.
//!
//! Refuses to change anybody: that is `customer_forms`.

use std::{collections::HashMap, sync::Arc};

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::{
    Account, Customer, CustomerFilter, CustomerPage, CustomerStatus, CustomerType, ListCustomers,
    NameCustomers, PartyAccounts, PartyRole, ReadCustomer,
};
use operation::PageRequest;
use uuid::Uuid;

use super::{
    as_api::{AsApi, address},
    export::{self, Bounds, File},
};
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

const PATH: &str = "/customers";
const EXPORT_PATH: &str = "/customers/export";
/// The list as a file. Whoever may look at everybody may not therefore carry them away.
struct CustomersFile;

impl File for CustomersFile {
    const ACTION: &'static str = "customer.export";
    const RESOURCE: &'static str = "customer";
    const PERMISSION: Permission = Permission::ReportExport;
    const PERSONAL: bool = true;
    const COLUMNS: &'static [&'static str] =
        &["Id", "Name", "Type", "E-mail", "Telephone", "Status", "KYC status", "Customer since"];
    const TOLD: &'static [&'static str] = &["status", "customer_type"];
    const NAMED: &'static [&'static str] = &["email", "phone"];
}

/// Names are opened one by one, and every read of them leaves a record.
const EXPORT: Bounds = Bounds { page_rows: 200, rows: 1_000, reads: 5 };

#[derive(Template)]
#[template(path = "areas/customers.html")]
struct Customers {
    page: Page,
    params: Params,
    statuses: Vec<(String, String)>,
    types: Vec<(String, String)>,
    may_create: bool,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/customers_rows.html")]
struct Rows {
    customers: Vec<Line>,
    is_filtered: bool,
    /// Where the file is, for those who may have it.
    export: Option<String>,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// A customer as a row draws it.
struct Line {
    id: Uuid,
    name: String,
    contact: String,
    customer_type: String,
    kyc_status: String,
    status: &'static str,
    since: kit::Markup,
}

#[derive(Template)]
#[template(path = "areas/customer.html")]
struct One {
    page: Page,
    customer: Customer,
    name: String,
    accounts: Option<Vec<(PartyRole, Account)>>,
    created: kit::Markup,
    updated: kit::Markup,
    may_update: bool,
    may_open: bool,
    may_audit: bool,
}

/// `GET /customers`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let request = visitor.page_request(PATH, &params).await?;
    let filter = filter_of(&params)?;
    let page = visitor
        .page("Customers")
        .lead("People and businesses, the newest first. Looking is recorded.")
        .api(api_of(&filter));
    let api = AsApi::of(&page, "");
    let found = read_page(&visitor, filter, request).await?;
    let zone = visitor.zone();
    let customers = found.data.iter().map(|customer| Line::of(customer, &zone)).collect();
    let list = Rows {
        customers,
        is_filtered: is_filtered(&params),
        export: visitor
            .may(CustomersFile::PERMISSION)
            .then(|| params.link(EXPORT_PATH, "cursor", "")),
        api,
        first: params.get("cursor").map(|_| params.link(PATH, "cursor", "")),
        next: visitor.next_page(PATH, &params, found.next.as_deref()).await?,
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    visitor.show(&Customers {
        page,
        params,
        statuses: choices(&CustomerStatus::ALL.map(CustomerStatus::as_str)),
        types: choices(&CustomerType::ALL.map(CustomerType::as_str)),
        may_create: visitor.may(Permission::CustomerCreate),
        list,
    })
}

/// `GET /customers/export`: what the list shows, as a file, up to a bound.
pub(crate) async fn export(visitor: Visitor, params: Params) -> Answer {
    let filter = filter_of(&params)?;
    let lines =
        export::lines::<CustomersFile, _>(&visitor, EXPORT_PATH, &params, &EXPORT, |page| {
            let (visitor, filter) = (&visitor, filter.clone());
            async move {
                let found = read_page(visitor, filter, page).await?;
                Ok((found.data.iter().map(exported).collect(), found.next))
            }
        })
        .await?;
    export::send::<CustomersFile>(&visitor, "customers", &params, None, &lines).await
}

/// `GET /customers/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(customer_id): Path<Uuid>) -> Answer {
    let customer = read_one(&visitor, customer_id).await?;
    let accounts = if visitor.may(Permission::AccountRead) {
        Some(visitor.read(&PartyAccounts { customer_id }).await?)
    } else {
        None
    };
    let zone = visitor.zone();
    let name = kit::customer_name(&customer.personal);
    let page = visitor
        .page(name.clone())
        .crumb("Customers", PATH)
        .api(format!("/v1/customers/{customer_id}"));
    visitor.show(&One {
        page,
        name,
        created: kit::time(customer.record.created_at, &zone),
        updated: kit::time(customer.record.updated_at, &zone),
        may_update: visitor.may(Permission::CustomerUpdate),
        may_open: visitor.may(Permission::AccountCreate),
        may_audit: visitor.may(Permission::AuditRead),
        accounts,
        customer,
    })
}

/// One customer, opened; the look is recorded.
pub(crate) async fn read_one(visitor: &Visitor, customer_id: Uuid) -> Result<Customer, Fault> {
    let keyring = Arc::clone(&visitor.console.keyring);
    visitor.open(ReadCustomer { keyring, customer_id }).await
}

/// The names behind a few ids, as far as they are the visitor's to read; one record.
pub(crate) async fn names(
    visitor: &Visitor,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, String>, Fault> {
    if ids.is_empty() || !visitor.may(Permission::CustomerRead) {
        return Ok(HashMap::new());
    }
    let keyring = Arc::clone(&visitor.console.keyring);
    let operations = &visitor.console.operations;
    let mut names =
        visitor.open(NameCustomers::new(operations, visitor.context(), keyring, ids)).await?;
    for name in names.values_mut().filter(|name| name.is_empty()) {
        "Unnamed".clone_into(name);
    }
    Ok(names)
}

/// The options of a closed vocabulary, behind “all”.
pub(crate) fn choices(codes: &[&str]) -> Vec<(String, String)> {
    let all = std::iter::once((String::new(), "All".to_owned()));
    all.chain(codes.iter().map(|code| ((*code).to_owned(), kit::words(code)))).collect()
}

fn filter_of(params: &Params) -> Result<CustomerFilter, Fault> {
    Ok(CustomerFilter {
        email: params.get("email").map(str::to_owned),
        phone: params.get("phone").map(|phone| phone.replace([' ', '-', '(', ')'], "")),
        status: params.parsed::<CustomerStatus>("status")?,
        customer_type: params.parsed::<CustomerType>("customer_type")?,
    })
}

/// The same list from the interface, which has every one of its filters.
fn api_of(filter: &CustomerFilter) -> String {
    let filters = [
        ("email", filter.email.clone()),
        ("phone", filter.phone.clone()),
        ("status", filter.status.map(|status| status.as_str().to_owned())),
        ("customer_type", filter.customer_type.map(|kind| kind.as_str().to_owned())),
    ];
    address("/v1/customers", &filters)
}

async fn read_page(
    visitor: &Visitor,
    filter: CustomerFilter,
    request: PageRequest,
) -> Result<CustomerPage, Fault> {
    let keyring = Arc::clone(&visitor.console.keyring);
    let operations = &visitor.console.operations;
    let command = ListCustomers::new(operations, visitor.context(), keyring, filter, request);
    visitor.open(command).await
}

fn is_filtered(params: &Params) -> bool {
    ["email", "phone", "status", "customer_type"].iter().any(|name| params.get(name).is_some())
}

fn exported(customer: &Customer) -> Vec<String> {
    let (record, personal) = (&customer.record, &customer.personal);
    vec![
        record.id.to_string(),
        kit::customer_name(personal),
        record.customer_type.to_string(),
        personal.email.clone().unwrap_or_default(),
        personal.phone.clone().unwrap_or_default(),
        record.status.to_string(),
        record.kyc_status.clone(),
        record.created_at.to_string(),
    ]
}

impl Line {
    fn of(customer: &Customer, zone: &jiff::tz::TimeZone) -> Self {
        let (record, personal) = (&customer.record, &customer.personal);
        let contact = personal.email.clone().or_else(|| personal.phone.clone());
        Self {
            id: record.id,
            name: kit::customer_name(personal),
            contact: contact.unwrap_or_default(),
            customer_type: kit::words(record.customer_type.as_str()),
            kyc_status: record.kyc_status.clone(),
            status: record.status.as_str(),
            since: kit::date(record.created_at.to_zoned(zone.clone()).date()),
        }
    }
}
