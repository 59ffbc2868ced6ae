//! Every page on one screen, and the layers around them.

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    areas::{overview, palette, preferences, sign_in},
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
}

/// Everything under one roof. The host that mounts it gives each request an
/// `Arc<tenancy::RequestInfo>` extension.
pub fn router(console: Console) -> Router {
    let open = Router::new()
        .route("/login", get(sign_in::show).post(sign_in::enter))
        .route("/preferences/theme", post(preferences::theme))
        .route("/assets/{hash}/{name}", get(assets::serve))
        .merge(docs::router());
    for_the_signed_in()
        .route_layer(from_fn(frame::signed_in_only))
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
