//! Every page on one screen, and the layers around them.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    areas::{
        account, account_settings, accounts, approvals, audit, customer_forms, customers, hold_new,
        holds, overview, palette, password, preferences, recovery, settings, sign_in, teller,
        transfers,
    },
    assets, docs,
    fault::Fault,
    frame,
    state::Console,
};

macro_rules! pages {
    ($($method:ident $path:literal $area:ident::$handler:ident;)*) => {
        /// The pages for the signed-in, by method and path: what tests walk.
        pub fn page_paths() -> Vec<(&'static str, &'static str)> {
            vec![$((stringify!($method), $path)),*]
        }

        fn for_the_signed_in() -> Router<Console> {
            Router::new()$(.route($path, $method($area::$handler)))*
        }
    };
}

// Paths never begin with `/v1`, `/api`, `/t`, `/openapi.json`, `/livez`, `/readyz`.
pages! {
    get  "/"              overview::show;
    get  "/palette"       palette::look_up;
    post "/logout"        sign_in::leave;
    get  "/password"      password::show;
    post "/password"      password::change;
    get  "/activity.csv"  overview::csv;
    get  "/transfers"     transfers::begin;
    post "/transfers"     transfers::create;
    get  "/transfers/new" transfers::new;
    post "/transfers/new" transfers::review;
    get  "/transfers/{id}" transfers::show;
    get  "/transfers/{id}/reverse" transfers::ask_reversal;
    post "/transfers/{id}/reverse" transfers::reverse;
    get  "/accounts/{id}/deposit" teller::ask_deposit;
    post "/accounts/{id}/deposit" teller::deposit;
    get  "/accounts/{id}/withdraw" teller::ask_withdrawal;
    post "/accounts/{id}/withdraw" teller::withdraw;
    get  "/accounts/{id}/fee" teller::ask_fee;
    post "/accounts/{id}/fee" teller::charge;
    get  "/accounts/{id}/hold" hold_new::ask;
    post "/accounts/{id}/hold" hold_new::place;
    get  "/approvals"     approvals::list;
    get  "/audit"         audit::list;
    get  "/audit.csv"     audit::csv;
    get  "/audit/verify"  audit::verify;
    get  "/audit/{id}"    audit::show;
    get  "/audit/{id}/proof.json" audit::proof;
    get  "/settings"      settings::show;
    get  "/customers"                 customers::list;
    get  "/customers/export"          customers::export;
    get  "/customers/new"             customer_forms::blank;
    post "/customers/new"             customer_forms::create;
    get  "/customers/{id}"            customers::show;
    get  "/customers/{id}/edit"       customer_forms::edit;
    post "/customers/{id}/edit"       customer_forms::save;
    get  "/accounts"                  accounts::list;
    get  "/accounts/export"           accounts::export;
    get  "/accounts/new"              accounts::blank;
    post "/accounts/new"              accounts::open;
    get  "/accounts/{id}"             account::show;
    get  "/accounts/{id}/export"      account::export;
    get  "/accounts/{id}/holds"       holds::list;
    get  "/accounts/{id}/settings"    account_settings::show;
    post "/accounts/{id}/settings"    account_settings::save;
    get  "/accounts/{id}/status"      account_settings::begin;
    post "/accounts/{id}/status"      account_settings::change_status;
    get  "/accounts/{id}/close"       account_settings::begin;
    post "/accounts/{id}/close"       account_settings::close;
    get  "/holds/{id}"                holds::show;
    get  "/holds/{id}/capture"        holds::begin;
    post "/holds/{id}/capture"        holds::capture;
    get  "/holds/{id}/release"        holds::begin;
    post "/holds/{id}/release"        holds::release;
}

/// Everything under one roof. The host that mounts it gives each request an
/// `Arc<tenancy::RequestInfo>` extension.
pub fn router(console: Console) -> Router {
    let open = Router::new()
        .route("/login", get(sign_in::show).post(sign_in::enter))
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

async fn nothing_here() -> Fault {
    Fault::not_found()
}
