//! Every page on one screen, and the layers around them.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    areas::{
        access, account, account_settings, accounts, activity, api_keys, approval, approvals,
        audit, backup_codes, contact, customer_forms, customers, data_keys, devices, enrolment,
        factor_setup, factors, hold_new, holds, keys, overview, palette, passkeys, password,
        policy, policy::changes as policy_changes, preferences, recovery, role_forms, roles,
        second_step, security, sessions, settings, sign_in, step_up, teller, transfer_proof,
        transfers, user, user_forms, users, webhook, webhook_forms, webhooks,
    },
    assets, docs,
    fault::{Answer, Fault},
    frame,
    state::Console,
    visitor::see_other,
};

/// A page for the signed-in.
#[derive(Clone, Copy, Debug)]
pub struct PagePath {
    /// `get` or `post`.
    pub method: &'static str,
    /// With `{id}` where an id stands.
    pub path: &'static str,
    /// The tenant's module that must be on; there is no such page otherwise.
    pub module: &'static str,
}

macro_rules! pages {
    ($($method:ident $path:literal $module:ident $area:ident::$handler:ident;)*) => {
        /// The pages for the signed-in: what tests walk.
        pub fn page_paths() -> Vec<PagePath> {
            vec![$(PagePath {
                method: stringify!($method),
                path: $path,
                module: stringify!($module),
            }),*]
        }

        fn for_the_signed_in() -> Router<Console> {
            Router::new()$(.route(
                $path,
                $method($area::$handler)
                    .layer(from_fn_with_state(stringify!($module), frame::with_module)),
            ))*
        }
    };
}

// Method, path, module, handler. Paths never begin with `/v1`, `/api`, `/t`, `/openapi.json`,
// `/livez`, `/readyz`.
pages! {
    get  "/"                             identity overview::show;
    get  "/palette"                      identity palette::look_up;
    post "/logout"                       identity sign_in::leave;
    get  "/activity.csv"                 banking  overview::csv;
    get  "/transfers"                    banking  transfers::begin;
    post "/transfers"                    banking  transfers::create;
    get  "/transfers/new"                banking  transfers::new;
    post "/transfers/new"                banking  transfers::review;
    get  "/transfers/prove"              banking  transfer_proof::again;
    post "/transfers/prove"              banking  transfer_proof::prove;
    post "/transfers/prove/options"      banking  transfer_proof::options;
    get  "/transfers/{id}"               banking  transfers::show;
    get  "/transfers/{id}/reverse"       banking  transfers::ask_reversal;
    post "/transfers/{id}/reverse"       banking  transfers::reverse;
    get  "/accounts/{id}/deposit"        banking  teller::ask_deposit;
    post "/accounts/{id}/deposit"        banking  teller::deposit;
    get  "/accounts/{id}/withdraw"       banking  teller::ask_withdrawal;
    post "/accounts/{id}/withdraw"       banking  teller::withdraw;
    get  "/accounts/{id}/fee"            banking  teller::ask_fee;
    post "/accounts/{id}/fee"            banking  teller::charge;
    get  "/accounts/{id}/hold"           banking  hold_new::ask;
    post "/accounts/{id}/hold"           banking  hold_new::place;
    get  "/approvals"                    banking  approvals::list;
    get  "/approvals/review"             banking  approval::begin;
    post "/approvals/review"             banking  approval::review;
    get  "/approvals/decide"             banking  approval::begin;
    post "/approvals/decide"             banking  approval::decide_many;
    get  "/approvals/{id}"               banking  approval::show;
    get  "/approvals/{id}/approve"       banking  approval::show;
    post "/approvals/{id}/approve"       banking  approval::approve;
    get  "/approvals/{id}/reject"        banking  approval::show;
    post "/approvals/{id}/reject"        banking  approval::reject;
    get  "/audit"                        audit    audit::list;
    get  "/audit.csv"                    audit    audit::csv;
    get  "/audit.jsonl"                  audit    audit::json_lines;
    get  "/audit/verify"                 audit    audit::verify;
    get  "/audit/{id}"                   audit    audit::show;
    get  "/audit/{id}/proof.json"        audit    audit::proof;
    get  "/settings"                     identity settings::show;
    get  "/settings/policy"              identity policy::edit;
    post "/settings/policy"              identity policy::review;
    get  "/settings/policy/changes"      identity policy_changes::list;
    post "/settings/policy/changes"      identity policy::request;
    get  "/settings/policy/changes/{id}" identity policy_changes::show;
    get  "/settings/policy/changes/{id}/approve" identity policy_changes::begin;
    post "/settings/policy/changes/{id}/approve" identity policy_changes::approve;
    get  "/settings/policy/changes/{id}/reject"  identity policy_changes::begin;
    post "/settings/policy/changes/{id}/reject"  identity policy_changes::reject;
    get  "/keys"                         identity keys::list;
    get  "/keys/rotate"                  identity keys::begin;
    post "/keys/rotate"                  identity keys::rotate;
    get  "/keys/{id}/revoke"             identity keys::begin_revocation;
    post "/keys/{id}/revoke"             identity keys::revoke;
    get  "/keys/data"                    identity data_keys::list;
    get  "/keys/data/rewrap"             identity data_keys::begin;
    post "/keys/data/rewrap"             identity data_keys::rewrap;
    get  "/keys/data/{purpose}/rotate"   identity data_keys::begin;
    post "/keys/data/{purpose}/rotate"   identity data_keys::rotate;
    get  "/keys/data/{purpose}/{epoch}/destroy" identity data_keys::begin;
    post "/keys/data/{purpose}/{epoch}/destroy" identity data_keys::destroy;
    get  "/keys/api"                     identity api_keys::list;
    get  "/keys/api/new"                 identity api_keys::blank;
    post "/keys/api/new"                 identity api_keys::create;
    get  "/keys/api/{id}"                identity api_keys::show;
    get  "/keys/api/{id}/rotate"         identity api_keys::begin;
    post "/keys/api/{id}/rotate"         identity api_keys::rotate;
    get  "/keys/api/{id}/revoke"         identity api_keys::begin;
    post "/keys/api/{id}/revoke"         identity api_keys::revoke;
    get  "/roles"                        identity roles::list;
    get  "/roles/new"                    identity role_forms::blank;
    post "/roles/new"                    identity role_forms::create;
    get  "/roles/{id}"                   identity roles::show;
    get  "/roles/{id}/edit"              identity role_forms::edit;
    post "/roles/{id}/edit"              identity role_forms::save;
    get  "/roles/{id}/delete"            identity roles::begin;
    post "/roles/{id}/delete"            identity roles::delete;
    get  "/webhooks"                     identity webhooks::list;
    get  "/webhooks/new"                 identity webhook_forms::blank;
    post "/webhooks/new"                 identity webhook_forms::create;
    get  "/webhooks/{id}"                identity webhook::show;
    get  "/webhooks/{id}/edit"           identity webhook_forms::edit;
    post "/webhooks/{id}/edit"           identity webhook_forms::save;
    get  "/webhooks/{id}/status"         identity webhook::begin;
    post "/webhooks/{id}/status"         identity webhook::change_status;
    get  "/webhooks/{id}/rotate"         identity webhook::begin;
    post "/webhooks/{id}/rotate"         identity webhook::rotate;
    get  "/webhooks/{id}/test"           identity webhook::begin;
    post "/webhooks/{id}/test"           identity webhook::test;
    get  "/webhooks/{id}/replay"         identity webhook::begin;
    post "/webhooks/{id}/replay"         identity webhook::replay;
    get  "/webhooks/{id}/delete"         identity webhook::begin;
    post "/webhooks/{id}/delete"         identity webhook::delete;
    get  "/security"                     identity security::show;
    get  "/security/factors"             identity factors::list;
    get  "/security/factors/new"         identity factor_setup::again;
    post "/security/factors/new"         identity factor_setup::begin;
    get  "/security/factors/confirm"     identity factor_setup::again;
    post "/security/factors/confirm"     identity factor_setup::confirm;
    get  "/security/factors/{id}"        identity factors::show;
    post "/security/factors/{id}"        identity factors::rename;
    get  "/security/factors/{id}/remove" identity factors::again;
    post "/security/factors/{id}/remove" identity factors::remove;
    get  "/security/passkeys"            identity passkeys::again;
    post "/security/passkeys"            identity passkeys::register;
    get  "/security/passkeys/new"        identity passkeys::again;
    post "/security/passkeys/new"        identity passkeys::begin;
    get  "/security/passkeys/{id}"       identity passkeys::show;
    post "/security/passkeys/{id}"       identity passkeys::rename;
    get  "/security/passkeys/{id}/remove" identity passkeys::removal;
    post "/security/passkeys/{id}/remove" identity passkeys::remove;
    get  "/security/backup-codes"        identity backup_codes::show;
    post "/security/backup-codes"        identity backup_codes::renew;
    get  "/step-up"                      identity step_up::show;
    post "/step-up"                      identity step_up::prove;
    get  "/step-up/passkey"              identity step_up::again;
    post "/step-up/passkey"              identity step_up::prove_by_passkey;
    post "/step-up/passkey/options"      identity step_up::passkey_options;
    get  "/security/password"            identity password::show;
    post "/security/password"            identity password::change;
    post "/security/password/advice"     identity password::advise;
    get  "/security/contact"             identity contact::show;
    get  "/security/contact/email"       identity contact::begin;
    post "/security/contact/email"       identity contact::change_email;
    post "/security/contact/email/prove" identity contact::prove_email;
    get  "/security/contact/phone"       identity contact::ask_code;
    post "/security/contact/phone"       identity contact::change_phone;
    get  "/security/contact/phone/code"  identity contact::ask_code;
    post "/security/contact/phone/code"  identity contact::confirm_phone;
    get  "/security/devices"             identity devices::list;
    get  "/security/devices/{id}/name"   identity devices::begin;
    post "/security/devices/{id}/name"   identity devices::rename;
    get  "/security/devices/{id}/revoke" identity devices::begin;
    post "/security/devices/{id}/revoke" identity devices::revoke;
    get  "/security/sessions"            identity sessions::list;
    post "/security/sessions/end"        identity sessions::end_others;
    post "/security/sessions/{id}/end"   identity sessions::end;
    get  "/security/activity"            identity activity::list;
    get  "/access"                       identity access::show;
    get  "/users"                        identity users::list;
    get  "/users/export"                 identity users::export;
    get  "/users/new"                    identity user_forms::blank;
    post "/users/new"                    identity user_forms::create;
    get  "/users/resets"                 identity users::resets;
    get  "/users/{id}"                   identity user::show;
    post "/users/{id}"                   identity user::act;
    get  "/users/{id}/edit"              identity user_forms::edit;
    post "/users/{id}/edit"              identity user_forms::save;
    get  "/users/{id}/restore"           identity user::ask_restore;
    post "/users/{id}/restore"           identity user::restore;
    get  "/customers"                    banking  customers::list;
    get  "/customers/export"             banking  customers::export;
    get  "/customers/new"                banking  customer_forms::blank;
    post "/customers/new"                banking  customer_forms::create;
    get  "/customers/{id}"               banking  customers::show;
    get  "/customers/{id}/edit"          banking  customer_forms::edit;
    post "/customers/{id}/edit"          banking  customer_forms::save;
    get  "/accounts"                     banking  accounts::list;
    get  "/accounts/export"              banking  accounts::export;
    get  "/accounts/new"                 banking  accounts::blank;
    post "/accounts/new"                 banking  accounts::open;
    get  "/accounts/{id}"                banking  account::show;
    get  "/accounts/{id}/export"         banking  account::export;
    get  "/accounts/{id}/holds"          banking  holds::list;
    get  "/accounts/{id}/settings"       banking  account_settings::show;
    post "/accounts/{id}/settings"       banking  account_settings::save;
    get  "/accounts/{id}/status"         banking  account_settings::begin;
    post "/accounts/{id}/status"         banking  account_settings::change_status;
    get  "/accounts/{id}/close"          banking  account_settings::begin;
    post "/accounts/{id}/close"          banking  account_settings::close;
    get  "/holds/{id}"                   banking  holds::show;
    get  "/holds/{id}/capture"           banking  holds::begin;
    post "/holds/{id}/capture"           banking  holds::capture;
    get  "/holds/{id}/release"           banking  holds::begin;
    post "/holds/{id}/release"           banking  holds::release;
}

/// Everything under one roof. The host that mounts it gives each request an
/// `Arc<tenancy::RequestInfo>` extension.
pub fn router(console: Console) -> Router {
    let open = Router::new()
        .route("/login", get(sign_in::show).post(sign_in::enter))
        .route("/login/passkey", get(again_at_sign_in).post(sign_in::enter_by_passkey))
        .route("/login/passkey/options", post(sign_in::passkey_options))
        .route(second_step::PATH, get(second_step::show).post(second_step::enter))
        .route("/login/code/passkey", get(again_at_sign_in).post(second_step::enter_by_passkey))
        .route("/login/code/passkey/options", post(second_step::passkey_options))
        .route(enrolment::PATH, get(enrolment::show).post(enrolment::begin))
        .route("/login/factor/confirm", get(enrolment::again).post(enrolment::confirm))
        .route("/login/factor/passkey", get(enrolment::again).post(enrolment::make_passkey))
        .route("/reset", get(recovery::ask).post(recovery::forgot))
        .route("/reset/confirm", get(recovery::follow_reset).post(recovery::reset))
        .route("/invite", get(recovery::follow_invite).post(recovery::accept))
        .route("/verify-email", get(recovery::follow_email).post(recovery::verify))
        .route("/preferences/theme", post(preferences::theme))
        .route("/assets/{hash}/{name}", get(assets::serve))
        .merge(docs::router());
    for_the_signed_in()
        .route_layer(from_fn_with_state(console.clone(), frame::signed_in_only))
        .merge(open)
        .fallback(nothing_here)
        .layer(from_fn_with_state(console.clone(), frame::in_time))
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(from_fn_with_state(console.clone(), frame::frame))
        .with_state(console)
}

/// A page reloaded that only a form's answer makes.
async fn again_at_sign_in() -> Answer {
    see_other("/login")
}

async fn nothing_here() -> Fault {
    Fault::not_found()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tenancy::Blueprint;

    use super::page_paths;

    #[test]
    fn every_page_is_of_a_module_that_a_tenant_can_have_and_of_the_one_it_reads_like() {
        let known: BTreeSet<&str> =
            Blueprint::ALL.iter().flat_map(|blueprint| blueprint.modules()).copied().collect();
        for page in page_paths() {
            assert!(known.contains(page.module), "{page:?}");
            let expected = match page.path.split('/').nth(1).unwrap_or_default() {
                "" | "palette" | "logout" | "settings" | "security" | "step-up" | "keys"
                | "users" | "webhooks" | "roles" | "access" => "identity",
                first if first.starts_with("audit") => "audit",
                _ => "banking",
            };
            assert_eq!(page.module, expected, "{page:?}");
        }
    }
}
