//! The route table: every route on one screen, with its limits, who may knock, the
//! module that has to be on, its handler and what the handler says of itself.

use access::Permission::{
    AccountCreate, AccountDelete, AccountRead, AccountUpdate, AuditRead, CustomerCreate,
    CustomerRead, CustomerUpdate, HoldCapture, HoldCreate, HoldRead, HoldRelease, KeyCreate,
    KeyRead, KeyRevoke, KeyRotate, SessionDelete, SessionIntrospect, SessionRead, SettingsUpdate,
    SettingsView, TransactionApprove, TransactionCreate, TransactionDeposit, TransactionFee,
    TransactionPost, TransactionRead, TransactionReverse, TransactionWithdraw, UserCreate,
    UserDelete, UserRead, UserUpdate,
};
use axum::{
    Router,
    routing::{delete, get, patch, post},
};

use crate::{
    areas::{
        access as explaining, accounts, activity, api_keys, approvals, audit, auth, client_keys,
        customers, data_keys, devices, events, holds, keys, mfa, passkeys, postings, recovery,
        roles, settings, transfers, users, webhooks, well_known,
    },
    middleware,
    route::{
        Access::{self, Needs, NeedsOne, Public, SignedIn},
        Class::{self, Admin, Auth, Default, Mfa, Read, Write},
        Place, Route, SignatureDemand,
    },
    state::ApiState,
};

macro_rules! routes {
    ($($method:ident $path:literal $class:ident $access:expr, $module:literal, $area:ident::$handler:ident;)*) => {
        vec![$(Route {
            method: http::Method::$method,
            path: $path,
            class: $class,
            access: $access,
            module: $module,
            handler: on!($method)($area::$handler),
            doc: $area::docs::$handler,
        }),*]
    };
}

macro_rules! on {
    (GET) => {
        get
    };
    (POST) => {
        post
    };
    (PATCH) => {
        patch
    };
    (DELETE) => {
        delete
    };
}

const SIGN_IN: Access = Public("it is how one becomes known");
const SECOND_STEP: Access = Public("the pending token in the body is what it asks for");
const SIGN_UP: Access = Public("the way in for those who are nobody yet, where policy has it");
const LINK: Access = Public("the way in for those who have no password to sign in with");
const RULES: Access = Public("rules are read before one has a password");
const KEYS: Access = Public("verifiers of tokens have none of their own");
const DOCUMENT: Access = Public("it describes the interface and nobody's data");

/// Every route, in the order of the document.
pub(crate) fn table() -> Vec<Route> {
    let mut routes = own();
    routes.extend(administration());
    routes.extend(business());
    routes
}

/// Signing in, and what everybody does with their own.
#[rustfmt::skip]
fn own() -> Vec<Route> {
    routes! {
        POST   "/v1/auth/login"                            Auth    SIGN_IN,                    "identity", auth::login;
        POST   "/v1/auth/refresh"                          Auth    SIGN_IN,                    "identity", auth::refresh;
        POST   "/v1/auth/logout"                           Write   SignedIn,                   "identity", auth::logout;
        POST   "/v1/auth/logout-everywhere"                Write   SignedIn,                   "identity", auth::sign_out_everywhere;
        GET    "/v1/auth/me"                               Read    SignedIn,                   "identity", auth::me;
        GET    "/v1/auth/sessions"                         Read    SignedIn,                   "identity", auth::sessions;
        DELETE "/v1/auth/sessions/{id}"                    Write   SignedIn,                   "identity", auth::end_session;
        GET    "/v1/auth/activity"                         Read    SignedIn,                   "identity", activity::list;
        GET    "/v1/auth/devices"                          Read    SignedIn,                   "identity", devices::list;
        PATCH  "/v1/auth/devices/{id}"                     Write   SignedIn,                   "identity", devices::rename;
        DELETE "/v1/auth/devices/{id}"                     Write   SignedIn,                   "identity", devices::revoke;
        POST   "/v1/auth/mfa/challenge"                    Auth    SECOND_STEP,                "identity", mfa::challenge;
        POST   "/v1/auth/mfa/verify"                       Mfa     SECOND_STEP,                "identity", mfa::verify;
        POST   "/v1/auth/mfa/enrolment"                    Auth    SECOND_STEP,                "identity", mfa::enrol;
        POST   "/v1/auth/mfa/enrolment/confirm"            Mfa     SECOND_STEP,                "identity", mfa::finish_enrolment;
        POST   "/v1/auth/mfa/setup"                        Write   SignedIn,                   "identity", mfa::setup;
        POST   "/v1/auth/mfa/confirm"                      Mfa     SignedIn,                   "identity", mfa::confirm;
        GET    "/v1/auth/mfa/methods"                      Read    SignedIn,                   "identity", mfa::list;
        PATCH  "/v1/auth/mfa/methods/{id}"                 Write   SignedIn,                   "identity", mfa::rename;
        DELETE "/v1/auth/mfa/methods/{id}"                 Write   SignedIn,                   "identity", mfa::remove;
        POST   "/v1/auth/mfa/backup-codes"                 Write   SignedIn,                   "identity", mfa::backup_codes;
        POST   "/v1/auth/step-up/challenge"                Write   SignedIn,                   "identity", mfa::send_step_up_code;
        POST   "/v1/auth/step-up"                          Mfa     SignedIn,                   "identity", mfa::step_up;
        GET    "/v1/auth/password-policy"                  Default RULES,                      "identity", auth::password_policy;
        POST   "/v1/auth/webauthn/login/options"           Auth    SIGN_IN,                    "identity", passkeys::sign_in_options;
        POST   "/v1/auth/webauthn/login"                   Auth    SIGN_IN,                    "identity", passkeys::sign_in;
        POST   "/v1/auth/webauthn/passkeys/options"        Write   SignedIn,                   "identity", passkeys::creation_options;
        POST   "/v1/auth/webauthn/passkeys"                Write   SignedIn,                   "identity", passkeys::register;
        GET    "/v1/auth/webauthn/passkeys"                Read    SignedIn,                   "identity", passkeys::list;
        PATCH  "/v1/auth/webauthn/passkeys/{id}"           Write   SignedIn,                   "identity", passkeys::rename;
        DELETE "/v1/auth/webauthn/passkeys/{id}"           Write   SignedIn,                   "identity", passkeys::remove;
        POST   "/v1/auth/password/strength"                Default RULES,                      "identity", recovery::try_password;
        POST   "/v1/auth/password/change"                  Write   SignedIn,                   "identity", recovery::change_password;
        POST   "/v1/auth/register"                         Auth    SIGN_UP,                    "identity", recovery::register;
        POST   "/v1/auth/password/forgot"                  Auth    LINK,                       "identity", recovery::forgot_password;
        POST   "/v1/auth/password/reset"                   Auth    LINK,                       "identity", recovery::reset_password;
        POST   "/v1/auth/me/email"                         Write   SignedIn,                   "identity", recovery::change_email;
        POST   "/v1/auth/me/email/verification"            Write   SignedIn,                   "identity", recovery::prove_email;
        POST   "/v1/auth/me/phone"                         Write   SignedIn,                   "identity", recovery::change_phone;
        POST   "/v1/auth/verify-email"                     Auth    LINK,                       "identity", recovery::verify_email;
        POST   "/v1/auth/verify-phone"                     Write   SignedIn,                   "identity", recovery::verify_phone;
        GET    "/v1/auth/referrals"                        Read    SignedIn,                   "identity", recovery::referrals;
        POST   "/v1/invitations"                           Admin   Needs(UserCreate),          "identity", recovery::invite;
        POST   "/v1/invitations/accept"                    Auth    LINK,                       "identity", recovery::accept_invitation;
        POST   "/v1/auth/introspect"                       Read    Needs(SessionIntrospect),   "identity", keys::introspect;
        GET    "/v1/keys"                                  Admin   Needs(KeyRead),             "identity", keys::list;
        POST   "/v1/keys/rotate"                           Admin   Needs(KeyRotate),           "identity", keys::rotate;
        POST   "/v1/keys/{id}/revoke"                      Admin   Needs(KeyRevoke),           "identity", keys::revoke;
        GET    "/v1/keys/inventory"                        Admin   Needs(KeyRead),             "identity", data_keys::inventory;
        GET    "/v1/keys/data"                             Admin   Needs(KeyRead),             "identity", data_keys::list;
        POST   "/v1/keys/data/rotate"                      Admin   Needs(KeyRotate),           "identity", data_keys::rotate;
        POST   "/v1/keys/data/rewrap"                      Admin   Needs(KeyRotate),           "identity", data_keys::rewrap;
        POST   "/v1/keys/data/destroy"                     Admin   Needs(KeyRevoke),           "identity", data_keys::destroy;
        GET    "/v1/client-keys"                           Admin   SignedIn,                   "identity", client_keys::list;
        POST   "/v1/client-keys"                           Admin   SignedIn,                   "identity", client_keys::register;
        GET    "/v1/client-keys/{id}"                      Admin   SignedIn,                   "identity", client_keys::read;
        DELETE "/v1/client-keys/{id}"                      Admin   SignedIn,                   "identity", client_keys::revoke;
        GET    "/v1/api-keys"                              Admin   Needs(KeyRead),             "identity", api_keys::list;
        POST   "/v1/api-keys"                              Admin   Needs(KeyCreate),           "identity", api_keys::create;
        GET    "/v1/api-keys/{id}"                         Admin   Needs(KeyRead),             "identity", api_keys::read;
        POST   "/v1/api-keys/{id}/rotate"                  Admin   Needs(KeyRotate),           "identity", api_keys::rotate;
        DELETE "/v1/api-keys/{id}"                         Admin   Needs(KeyRevoke),           "identity", api_keys::revoke;
    }
}

/// People, keys and settings, administered.
#[rustfmt::skip]
fn administration() -> Vec<Route> {
    routes! {
        GET    "/v1/users"                                 Admin   Needs(UserRead),            "identity", users::list;
        POST   "/v1/users"                                 Admin   Needs(UserCreate),          "identity", users::create;
        GET    "/v1/users/{id}"                            Admin   Needs(UserRead),            "identity", users::read;
        PATCH  "/v1/users/{id}"                            Admin   Needs(UserUpdate),          "identity", users::change;
        DELETE "/v1/users/{id}"                            Admin   Needs(UserDelete),          "identity", users::remove;
        POST   "/v1/users/{id}/restore"                    Admin   Needs(UserDelete),          "identity", users::restore;
        POST   "/v1/users/{id}/lock"                       Admin   Needs(UserUpdate),          "identity", users::lock;
        POST   "/v1/users/{id}/unlock"                     Admin   Needs(UserUpdate),          "identity", users::unlock;
        GET    "/v1/users/{id}/sessions"                   Admin   Needs(SessionRead),         "identity", users::sessions;
        POST   "/v1/users/{id}/sessions/end"               Admin   Needs(SessionDelete),       "identity", users::end_sessions;
        POST   "/v1/users/{id}/mfa-reset"                  Admin   Needs(UserUpdate),          "identity", mfa::request_reset;
        POST   "/v1/users/{id}/mfa-reset/confirm"          Admin   Needs(UserUpdate),          "identity", mfa::confirm_reset;
        POST   "/v1/users/{id}/mfa-reset/reject"           Admin   Needs(UserUpdate),          "identity", mfa::reject_reset;
        GET    "/v1/mfa-resets"                            Admin   Needs(UserUpdate),          "identity", mfa::waiting_resets;
        POST   "/v1/users/{id}/password-reset"             Admin   Needs(UserUpdate),          "identity", recovery::send_reset_link;
        POST   "/v1/access/explain"                        Admin   SignedIn,                   "identity", explaining::explain;
        GET    "/v1/roles"                                 Admin   Needs(SettingsView),        "identity", roles::list;
        POST   "/v1/roles"                                 Admin   Needs(SettingsUpdate),      "identity", roles::create;
        GET    "/v1/roles/{id}"                            Admin   Needs(SettingsView),        "identity", roles::read;
        PATCH  "/v1/roles/{id}"                            Admin   Needs(SettingsUpdate),      "identity", roles::change;
        DELETE "/v1/roles/{id}"                            Admin   Needs(SettingsUpdate),      "identity", roles::remove;
        GET    "/v1/settings"                              Admin   Needs(SettingsView),        "identity", settings::read;
        GET    "/v1/settings/policy/changes"               Admin   Needs(SettingsView),        "identity", settings::changes;
        POST   "/v1/settings/policy/changes"               Admin   Needs(SettingsUpdate),      "identity", settings::request_change;
        GET    "/v1/settings/policy/changes/{id}"          Admin   Needs(SettingsView),        "identity", settings::change;
        POST   "/v1/settings/policy/changes/{id}/approve"  Admin   Needs(SettingsUpdate),      "identity", settings::approve_change;
        POST   "/v1/settings/policy/changes/{id}/reject"   Admin   Needs(SettingsUpdate),      "identity", settings::reject_change;
        GET    "/v1/webhooks"                              Admin   Needs(SettingsView),        "identity", webhooks::list;
        POST   "/v1/webhooks"                              Admin   Needs(SettingsUpdate),      "identity", webhooks::create;
        GET    "/v1/webhooks/{id}"                         Admin   Needs(SettingsView),        "identity", webhooks::read;
        PATCH  "/v1/webhooks/{id}"                         Admin   Needs(SettingsUpdate),      "identity", webhooks::change;
        DELETE "/v1/webhooks/{id}"                         Admin   Needs(SettingsUpdate),      "identity", webhooks::remove;
        POST   "/v1/webhooks/{id}/rotate-secret"           Admin   Needs(SettingsUpdate),      "identity", webhooks::rotate_secret;
        POST   "/v1/webhooks/{id}/test"                    Admin   Needs(SettingsUpdate),      "identity", webhooks::test;
        POST   "/v1/webhooks/{id}/replay"                  Admin   Needs(SettingsUpdate),      "identity", webhooks::replay;
        GET    "/v1/webhooks/{id}/deliveries"              Admin   Needs(SettingsView),        "identity", webhooks::deliveries;
    }
}

/// Money, its record, and what verifiers and readers of the interface need.
#[rustfmt::skip]
fn business() -> Vec<Route> {
    routes! {
        GET    "/v1/customers"                             Read    Needs(CustomerRead),        "banking",  customers::list;
        POST   "/v1/customers"                             Write   Needs(CustomerCreate),      "banking",  customers::create;
        GET    "/v1/customers/{id}"                        Read    Needs(CustomerRead),        "banking",  customers::read;
        PATCH  "/v1/customers/{id}"                        Write   Needs(CustomerUpdate),      "banking",  customers::change;
        GET    "/v1/accounts"                              Read    Needs(AccountRead),         "banking",  accounts::list;
        POST   "/v1/accounts"                              Write   Needs(AccountCreate),       "banking",  accounts::open;
        GET    "/v1/accounts/{id}"                         Read    Needs(AccountRead),         "banking",  accounts::read;
        PATCH  "/v1/accounts/{id}"                         Write   Needs(AccountUpdate),       "banking",  accounts::change;
        DELETE "/v1/accounts/{id}"                         Write   Needs(AccountDelete),       "banking",  accounts::close;
        POST   "/v1/accounts/{id}/deposits"                Write   Needs(TransactionDeposit),  "banking",  accounts::deposit;
        POST   "/v1/accounts/{id}/withdrawals"             Write   Needs(TransactionWithdraw), "banking",  accounts::withdraw;
        POST   "/v1/accounts/{id}/fees"                    Write   Needs(TransactionFee),      "banking",  accounts::charge;
        GET    "/v1/accounts/{id}/transactions"            Read    Needs(TransactionRead),     "banking",  accounts::transactions;
        GET    "/v1/accounts/{id}/balance"                 Read    Needs(AccountRead),         "banking",  accounts::balance;
        POST   "/v1/transfers"                             Write   Needs(TransactionCreate),   "banking",  transfers::create;
        POST   "/v1/transfers/batch"                       Write   Needs(TransactionCreate),   "banking",  transfers::create_batch;
        GET    "/v1/transfers/{id}"                        Read    Needs(TransactionRead),     "banking",  transfers::read;
        POST   "/v1/postings"                              Write   Needs(TransactionPost),     "banking",  postings::create;
        GET    "/v1/postings/{id}"                         Read    Needs(TransactionRead),     "banking",  postings::read;
        POST   "/v1/transactions/{id}/reverse"             Write   Needs(TransactionReverse),  "banking",  postings::reverse;
        GET    "/v1/holds"                                 Read    Needs(HoldRead),            "banking",  holds::list;
        POST   "/v1/holds"                                 Write   Needs(HoldCreate),          "banking",  holds::create;
        GET    "/v1/holds/{id}"                            Read    Needs(HoldRead),            "banking",  holds::read;
        POST   "/v1/holds/{id}/capture"                    Write   Needs(HoldCapture),         "banking",  holds::capture;
        POST   "/v1/holds/{id}/release"                    Write   Needs(HoldRelease),         "banking",  holds::release;
        GET    "/v1/approvals"                             Read    Needs(TransactionRead),     "banking",  approvals::list;
        POST   "/v1/approvals/decisions"                   Write   Needs(TransactionApprove),  "banking",  approvals::decide_many;
        GET    "/v1/approvals/{id}"                        Read    Needs(TransactionRead),     "banking",  approvals::read;
        POST   "/v1/approvals/{id}/approve"                Write   Needs(TransactionApprove),  "banking",  approvals::approve;
        POST   "/v1/approvals/{id}/reject"                 Write   Needs(TransactionApprove),  "banking",  approvals::reject;
        GET    "/v1/audit/events"                          Admin   Needs(AuditRead),           "audit",    audit::list;
        GET    "/v1/audit/export"                          Admin   Needs(AuditRead),           "audit",    audit::export;
        GET    "/v1/audit/events/{id}"                     Admin   Needs(AuditRead),           "audit",    audit::read;
        GET    "/v1/audit/events/{id}/proof"               Admin   Needs(AuditRead),           "audit",    audit::prove;
        GET    "/v1/audit/checkpoints"                     Admin   Needs(AuditRead),           "audit",    audit::checkpoints;
        GET    "/v1/audit/consistency"                     Admin   Needs(AuditRead),           "audit",    audit::consistency;
        GET    "/v1/events"                                Read    NeedsOne(events::READERS),   "audit",    events::list;
        GET    "/t/{tenant}/.well-known/jwks.json"            Default KEYS,                    "identity", well_known::jwks;
        GET    "/t/{tenant}/.well-known/openid-configuration" Default KEYS,                    "identity", well_known::openid_configuration;
        GET    "/openapi.json"                             Default DOCUMENT,                   "identity", well_known::openapi;
    }
}

/// What a session may still do whose password has reached its maximum age: see who it is,
/// change the password, prove the factor that this needs, look at its sessions and end them.
const AFTER_EXPIRY: [&str; 9] = [
    "/v1/auth/logout",
    "/v1/auth/logout-everywhere",
    "/v1/auth/me",
    "/v1/auth/mfa/methods",
    "/v1/auth/password/change",
    "/v1/auth/sessions",
    "/v1/auth/sessions/{id}",
    "/v1/auth/step-up",
    "/v1/auth/step-up/challenge",
];

/// Whether a route, by its template, is open to such a session.
pub(crate) fn is_open_after_expiry(path: &str) -> bool {
    AFTER_EXPIRY.contains(&path)
}

/// What a session may still do whose owner has two backup codes or fewer left: see who it
/// is, prove a factor, make new codes, and end.
const WITH_SPENT_CODES: [&str; 6] = [
    "/v1/auth/logout",
    "/v1/auth/logout-everywhere",
    "/v1/auth/me",
    "/v1/auth/mfa/backup-codes",
    "/v1/auth/step-up",
    "/v1/auth/step-up/challenge",
];

/// Whether a route, by its template, is open to such a session.
pub(crate) fn is_open_with_spent_codes(path: &str) -> bool {
    WITH_SPENT_CODES.contains(&path)
}

/// What has to be signed where policy wants what is sensitive signed: batches, the approval of
/// what is over the ceiling, policy changes, key operations and exports. The end of a client's
/// key is not: whoever lost the key has nothing to sign it with.
const SIGNED: [(&str, &str); 16] = [
    ("POST", "/v1/transfers/batch"),
    ("POST", "/v1/approvals/{id}/approve"),
    ("POST", "/v1/approvals/decisions"),
    ("POST", "/v1/settings/policy/changes"),
    ("POST", "/v1/settings/policy/changes/{id}/approve"),
    ("POST", "/v1/settings/policy/changes/{id}/reject"),
    ("POST", "/v1/keys/rotate"),
    ("POST", "/v1/keys/{id}/revoke"),
    ("POST", "/v1/keys/data/rotate"),
    ("POST", "/v1/keys/data/rewrap"),
    ("POST", "/v1/keys/data/destroy"),
    ("POST", "/v1/api-keys"),
    ("POST", "/v1/api-keys/{id}/rotate"),
    ("DELETE", "/v1/api-keys/{id}"),
    ("POST", "/v1/webhooks/{id}/rotate-secret"),
    ("GET", "/v1/audit/export"),
];

/// Whether requests to a route, by its template, have to be signed.
pub(crate) fn signature_demand(method: &http::Method, path: &str) -> SignatureDemand {
    match (method.as_str(), path) {
        ("POST", "/v1/transfers") => SignatureDemand::OverCeiling,
        ("POST", "/v1/client-keys") => SignatureDemand::AfterTheFirstKey,
        place if SIGNED.contains(&place) => SignatureDemand::Always,
        _ => SignatureDemand::Never,
    }
}

/// Modules that a later release brings: their paths answer `module_not_enabled` to
/// the signed-in, as those of a module that the tenant has switched off do.
const LATER: [&str; 18] = [
    "alerts",
    "auth/register",
    "cards",
    "companies",
    "compliance",
    "equipment",
    "kyc",
    "loans",
    "models",
    "organizations",
    "predictions",
    "privacy",
    "recurring-deposits",
    "savings-buckets",
    "screening",
    "simulations",
    "standing-orders",
    "tenants",
];

/// Whether a path belongs to one of them.
pub(crate) fn is_of_later_module(path: &str) -> bool {
    let path = path.strip_prefix("/api").unwrap_or(path);
    path.strip_prefix("/v1/").is_some_and(|rest| {
        LATER.iter().any(|module| {
            rest.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

/// Where such a path is counted.
pub(crate) fn later_module() -> Place {
    let (class, access, module) = (Default, SignedIn, "later");
    Place {
        class,
        access,
        module,
        exact: true,
        after_expiry: false,
        with_spent_codes: false,
        signature: SignatureDemand::Never,
    }
}

/// Everything under one roof, `/api/v1/…` answering as `/v1/…`.
pub fn router(state: ApiState) -> Router {
    built(state, None)
}

/// The API and, on every path that is not its own, the pages of a console: one
/// frame around both. The pages find an `Arc<tenancy::RequestInfo>` among the
/// request's extensions, answer for their own errors, and may leave a
/// `hotstate::limits::Counted` among the response's to be written into its headers.
pub fn router_with_pages(state: ApiState, pages: Router) -> Router {
    built(state, Some(pages))
}

fn built(state: ApiState, pages: Option<Router>) -> Router {
    let mut router = Router::new();
    for route in table() {
        if route.path.starts_with("/v1/") {
            router = router.route(&format!("/api{}", route.path), route.handler.clone());
        }
        router = router.route(route.path, route.handler);
    }
    let router = router.fallback(nothing_here);
    middleware::around(router, &state, pages).with_state(state)
}

async fn nothing_here() -> http::StatusCode {
    http::StatusCode::NOT_FOUND
}

/// A route as tests and tools see it.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// `GET`, `POST`, `PATCH` or `DELETE`.
    pub method: http::Method,
    /// The template.
    pub path: &'static str,
    /// The class of its limits.
    pub class: Class,
    /// Who may knock.
    pub access: Access,
    /// Whether requests have to be signed where policy wants that.
    pub signature: SignatureDemand,
}

/// Every route's facts, in the order of the table.
pub fn route_facts() -> Vec<RouteFacts> {
    let facts = |route: Route| RouteFacts {
        signature: signature_demand(&route.method, route.path),
        method: route.method,
        path: route.path,
        class: route.class,
        access: route.access,
    };
    table().into_iter().map(facts).collect()
}
