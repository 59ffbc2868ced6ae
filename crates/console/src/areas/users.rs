//! People who sign in, as their administrators list them; the list's file; and what of
//! theirs waits for a second administrator.
//!
//! A list opens nothing sealed. Refuses to change anybody: that is `user` and `user_forms`.

use std::collections::HashMap;

use access::Permission;
use askama::Template;
use identity::{ResetRequest, UserFilter, UserSummary};
use jiff::{Timestamp, tz::TimeZone};
use operation::PageRequest;
use uuid::Uuid;

use super::{
    as_api::{AsApi, address},
    customers::choices,
    export::{self, Bounds, File},
};
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/users";
const EXPORT_PATH: &str = "/users/export";
pub(crate) const RESETS_PATH: &str = "/users/resets";

/// The list as a file. Whoever may look at everybody may not therefore carry them away.
struct UsersFile;

impl File for UsersFile {
    const ACTION: &'static str = "user.export";
    const RESOURCE: &'static str = "user";
    const PERMISSION: Permission = Permission::ReportExport;
    const PERSONAL: bool = true;
    const COLUMNS: &'static [&'static str] = &[
        "Id",
        "User name",
        "Role",
        "State",
        "Second factor",
        "Department",
        "Last sign-in",
        "Added",
    ];
    const TOLD: &'static [&'static str] = &["role", "status"];
    const NAMED: &'static [&'static str] = &["email", "username"];
}

const EXPORT: Bounds = Bounds { page_rows: 200, rows: 10_000, reads: 50 };

/// How an account stands, as the filter names it.
const STATUSES: [&str; 3] = ["active", "disabled", "deleted"];

#[derive(Template)]
#[template(path = "areas/users.html")]
struct Users {
    page: Page,
    params: Params,
    roles: Vec<(String, String)>,
    statuses: Vec<(String, String)>,
    may_create: bool,
    /// How many removals of factors wait, for those who decide them.
    waiting: Option<usize>,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/users_rows.html")]
struct Rows {
    users: Vec<Line>,
    is_filtered: bool,
    may_restore: bool,
    /// Where the file is, for those who may have it.
    export: Option<String>,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// Somebody as a row draws them.
struct Line {
    id: Uuid,
    username: String,
    role: String,
    status: &'static str,
    has_factor: bool,
    last_login: Option<kit::Markup>,
    since: kit::Markup,
}

#[derive(Template)]
#[template(path = "areas/user_resets.html")]
struct Resets {
    page: Page,
    requests: Vec<Waiting>,
    first: Option<String>,
    next: Option<String>,
}

/// A removal of factors that waits.
pub(crate) struct Waiting {
    pub(crate) request: Uuid,
    pub(crate) user: Uuid,
    pub(crate) username: String,
    pub(crate) requested_by: String,
    /// Whoever asked does not decide.
    pub(crate) is_own: bool,
    pub(crate) expires: kit::Markup,
}

/// Refuses whoever manages nobody but themselves: their own security is theirs.
pub(crate) fn demand(visitor: &Visitor, permission: Permission) -> Result<(), Fault> {
    let scope = visitor.console.operations.scope(visitor.context(), permission);
    if scope.is_all() { Ok(()) } else { Err(Fault::denied()) }
}

/// Whether the person manages everybody's, to draw a button or not.
pub(crate) fn manages(visitor: &Visitor, permission: Permission) -> bool {
    demand(visitor, permission).is_ok()
}

/// `GET /users`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor, Permission::UserRead)?;
    let request = visitor.page_request(PATH, &params).await?;
    let filter = filter_of(&params)?;
    let page = visitor
        .page("People")
        .lead("Everybody who signs in, the newest first.")
        .api(api_of(&filter));
    let api = AsApi::of(&page, "");
    let found = visitor.console.identity.users(visitor.context(), filter, &request).await?;
    let (zone, now) = (visitor.zone(), visitor.console.clock.now());
    let list = Rows {
        users: found.data.iter().map(|user| Line::of(user, &zone, now)).collect(),
        is_filtered: ["username", "email", "role", "status"]
            .iter()
            .any(|name| params.get(name).is_some()),
        may_restore: manages(&visitor, Permission::UserDelete),
        export: visitor.may(UsersFile::PERMISSION).then(|| params.link(EXPORT_PATH, "cursor", "")),
        api,
        first: params.get("cursor").map(|_| params.link(PATH, "cursor", "")),
        next: visitor.next_page(PATH, &params, found.next.as_deref()).await?,
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let waiting = if manages(&visitor, Permission::UserUpdate) {
        Some(all_waiting(&visitor).await?.len())
    } else {
        None
    };
    visitor.show(&Users {
        page,
        params,
        roles: choices(visitor.context().tenant.blueprint.roles()),
        statuses: choices(&STATUSES),
        may_create: manages(&visitor, Permission::UserCreate),
        waiting,
        list,
    })
}

/// `GET /users/export`: what the list shows, as a file, up to a bound.
pub(crate) async fn export(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor, Permission::UserRead)?;
    let filter = filter_of(&params)?;
    let now = visitor.console.clock.now();
    let lines = export::lines::<UsersFile, _>(&visitor, EXPORT_PATH, &params, &EXPORT, |page| {
        let (visitor, filter) = (&visitor, filter.clone());
        async move {
            let found = visitor.console.identity.users(visitor.context(), filter, &page).await?;
            Ok((found.data.iter().map(|user| exported(user, now)).collect(), found.next))
        }
    })
    .await?;
    export::send::<UsersFile>(&visitor, "people", &params, None, &lines).await
}

/// `GET /users/resets`: removals of second factors that wait for a second administrator.
pub(crate) async fn resets(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor, Permission::UserUpdate)?;
    let request = visitor.page_request(RESETS_PATH, &params).await?;
    let found = visitor.console.identity.waiting_factor_resets(visitor.context(), &request).await?;
    let next = visitor.next_page(RESETS_PATH, &params, found.next.as_deref()).await?;
    let page = visitor
        .page("Waiting for a second administrator")
        .lead("Removals of somebody’s second factors. Whoever asked does not decide.")
        .crumb("People", PATH)
        .api("/v1/mfa-resets");
    visitor.show(&Resets {
        page,
        requests: waiting(&visitor, &found.data).await?,
        first: params.get("cursor").map(|_| RESETS_PATH.to_owned()),
        next,
    })
}

/// What waits, up to the longest page: more than anybody leaves waiting.
pub(crate) async fn all_waiting(visitor: &Visitor) -> Result<Vec<ResetRequest>, Fault> {
    let most =
        PageRequest { limit: operation::page::LIMIT_MAX, after: None, ..PageRequest::default() };
    Ok(visitor.console.identity.waiting_factor_resets(visitor.context(), &most).await?.data)
}

/// The same with names in the place of ids.
pub(crate) async fn waiting(
    visitor: &Visitor,
    requests: &[ResetRequest],
) -> Result<Vec<Waiting>, Fault> {
    let ids: Vec<Uuid> =
        requests.iter().flat_map(|request| [request.user_id, request.requested_by]).collect();
    let found = names(visitor, &ids).await?;
    let named = |id: Uuid| found.get(&id).cloned().unwrap_or_else(|| "Somebody".to_owned());
    let zone = visitor.zone();
    let of = |request: &ResetRequest| Waiting {
        request: request.id,
        user: request.user_id,
        username: named(request.user_id),
        requested_by: named(request.requested_by),
        is_own: request.requested_by == visitor.context().actor.id,
        expires: kit::time(request.expires_at, &zone),
    };
    Ok(requests.iter().map(of).collect())
}

/// User names behind ids, a page's worth at a time.
pub(crate) async fn names(visitor: &Visitor, ids: &[Uuid]) -> Result<HashMap<Uuid, String>, Fault> {
    let mut names = HashMap::new();
    for some in ids.chunks(100) {
        names.extend(visitor.console.identity.user_names(visitor.context(), some, &[]).await?);
    }
    Ok(names)
}

fn filter_of(params: &Params) -> Result<UserFilter, Fault> {
    let (is_active, deleted) = match params.get("status") {
        None => (None, false),
        Some("active") => (Some(true), false),
        Some("disabled") => (Some(false), false),
        Some("deleted") => (None, true),
        Some(_) => return Err(Fault::malformed("status")),
    };
    Ok(UserFilter {
        role: params.get("role").map(str::to_owned),
        is_active,
        email: params.get("email").map(str::to_owned),
        username: params.get("username").map(str::to_owned),
        deleted,
    })
}

/// The same list from the interface, which has every one of its filters.
fn api_of(filter: &UserFilter) -> String {
    let filters = [
        ("username", filter.username.clone()),
        ("email", filter.email.clone()),
        ("role", filter.role.clone()),
        ("is_active", filter.is_active.map(|is_active| is_active.to_string())),
        ("deleted", filter.deleted.then(|| "true".to_owned())),
    ];
    address("/v1/users", &filters)
}

fn status_of(user: &UserSummary, now: Timestamp) -> &'static str {
    if user.deleted_at.is_some() {
        "deleted"
    } else if !user.is_active {
        "disabled"
    } else if user.lock_reason.is_some() || user.locked_until.is_some_and(|until| until > now) {
        "locked"
    } else {
        "active"
    }
}

fn exported(user: &UserSummary, now: Timestamp) -> Vec<String> {
    vec![
        user.id.to_string(),
        user.username.clone(),
        user.role.clone(),
        status_of(user, now).to_owned(),
        user.mfa_enabled.to_string(),
        user.department.clone().unwrap_or_default(),
        user.last_login_at.map(|at| at.to_string()).unwrap_or_default(),
        user.created_at.to_string(),
    ]
}

impl Line {
    fn of(user: &UserSummary, zone: &TimeZone, now: Timestamp) -> Self {
        Self {
            id: user.id,
            username: user.username.clone(),
            role: kit::words(&user.role),
            status: status_of(user, now),
            has_factor: user.mfa_enabled,
            last_login: user.last_login_at.map(|at| kit::time(at, zone)),
            since: kit::date(user.created_at.to_zoned(zone.clone()).date()),
        }
    }
}
