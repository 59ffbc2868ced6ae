//! Customers. Their names and addresses are sealed at rest, so that lists and reads
//! run as commands: every look at them is recorded.

use std::sync::Arc;

use axum::extract::State;
use banking::{
    CreateCustomer, CustomerFilter, CustomerPage, CustomerStatus, CustomerType, ListCustomers,
    NewCustomer, ReadCustomer, UpdateCustomer,
};
use operation::{Call, Page};
use serde::{Deserialize, Serialize};

use super::{Answer, ok_versioned, reply, tag};
use crate::{
    extract::{Caller, Id, IdempotencyKey, IfMatch, PageParameters, Paging, Parameters, named},
    json::Json,
    state::ApiState,
    wire::customers::{ChangeCustomer, CreateCustomer as Creation, Customer, CustomerRecord},
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerQuery {
    email: Option<String>,
    phone: Option<String>,
    status: Option<String>,
    customer_type: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for CustomerQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<CustomerQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/customers", &query).await?;
    let filter = CustomerFilter {
        email: query.email,
        phone: query.phone,
        status: named::<CustomerStatus>("status", query.status.as_deref())?,
        customer_type: named::<CustomerType>("customer_type", query.customer_type.as_deref())?,
    };
    let keyring = Arc::clone(&state.keyring);
    let page = paging.request.clone();
    let command = ListCustomers::new(&state.operations, &context, keyring, filter, page);
    let done = state.operations.run_one(Call { context, idempotency_key: None, command }).await?;
    let CustomerPage { data, next, total } = done.output;
    Ok(paging.answer(Page { data, next, total }, Customer::from))
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(creation): Json<Creation>,
) -> Answer {
    let customer = NewCustomer::from(creation);
    let personal = customer.personal.clone();
    let command = CreateCustomer { keyring: Arc::clone(&state.keyring), customer };
    let done = state.operations.run_one(Call { context, idempotency_key, command }).await?;
    let version = done.output.version;
    // The stored answer holds nothing personal; a replay is of the same request.
    let mut response = reply(done, |record| Customer::of(record, personal));
    tag(&mut response, version);
    Ok(response)
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(customer_id): Id,
) -> Answer {
    let command = ReadCustomer { keyring: Arc::clone(&state.keyring), customer_id };
    let done = state.operations.run_one(Call { context, idempotency_key: None, command }).await?;
    let version = done.output.record.version;
    ok_versioned(Customer::from(done.output), version)
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(customer_id): Id,
    IfMatch(expected_version): IfMatch,
    Json(change): Json<ChangeCustomer>,
) -> Answer {
    let command = UpdateCustomer {
        keyring: Arc::clone(&state.keyring),
        customer_id,
        expected_version,
        change: change.into(),
    };
    let done = state.operations.run_one(Call { context, idempotency_key: None, command }).await?;
    let version = done.output.version;
    let mut response = reply(done, CustomerRecord::from);
    tag(&mut response, version);
    Ok(response)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use banking::{CustomerStatus, CustomerType};
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, one_of, text},
        wire::{
            List,
            customers::{ChangeCustomer, CreateCustomer, Customer, CustomerRecord},
        },
    };

    pub(crate) fn list() -> Doc {
        let statuses = CustomerStatus::ALL.map(CustomerStatus::as_str);
        let kinds = CustomerType::ALL.map(CustomerType::as_str);
        Doc::new("listCustomers", "customers", "Customers, newest first")
            .describe("A customer sees their own record.")
            .query("email", text(), "With this e-mail address, whatever its case.")
            .query("phone", text(), "With this telephone number, E.164.")
            .query("status", one_of(statuses), "In this status.")
            .query("customer_type", one_of(kinds), "Persons or companies.")
            .paged()
            .answers::<List<Customer>>(200, "A page of customers.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createCustomer", "customers", "Records a customer")
            .body::<CreateCustomer>(json!({
                "customer_type": "individual", "first_name": "Jana", "last_name": "Nováková",
                "email": "jana@bank.example", "phone": "+420601123456", "date_of_birth": "1990-04-17",
            }))
            .idempotent()
            .answers::<Customer>(201, "The customer.")
            .etag()
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readCustomer", "customers", "One customer")
            .answers::<Customer>(200, "The customer.")
            .etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeCustomer", "customers", "Changes a customer")
            .body::<ChangeCustomer>(json!({ "phone": "+420601765432" }))
            .if_match()
            .answers::<CustomerRecord>(200, "The customer as it is now, without what is sealed.")
            .etag()
    }
}
