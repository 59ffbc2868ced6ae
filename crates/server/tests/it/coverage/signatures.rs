//! Route × demand: what has to be signed where policy wants what is sensitive signed, and that a
//! signature is verified wherever one is sent.

use std::fmt::Write as _;

use api::SignatureDemand;

use super::{Objects, call, plan, routes, version};
use crate::{harness::App, signed_requests::require_signatures};

#[tokio::test]
async fn each_route_demands_what_the_table_says() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    require_signatures(&app, &app.bank, true).await;
    let facts = api::route_facts();
    let mut table = String::new();
    for route in routes().iter().filter(|route| !route.public) {
        let fact = facts.iter().find(|fact| fact.method == route.method && fact.path == route.path);
        let demand = fact.unwrap().signature;
        // Anew: some routes end the session.
        let token = app.login_by_factor(&app.bank, "super_admin").await;
        let version = version(&app, route, &objects, &token).await;
        let answer = call(&app, route, &objects, Some(&token), &version).await;
        let is_refused = (answer.status, answer.code()) == (401, "signature_required");
        assert_eq!(is_refused, demand == SignatureDemand::Always, "{}: {}", route.id, answer.body);
        if demand != SignatureDemand::Never {
            writeln!(table, "{:<24} {}", route.id, demand.as_str()).unwrap();
        }
    }
    insta::assert_snapshot!("signature_by_route", table);
}

#[tokio::test]
async fn no_route_overlooks_a_signature() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let token = app.login_by_factor(&app.bank, "admin").await;
    for route in routes().iter().filter(|route| !route.public) {
        let (id, body, query) = plan(route, &objects);
        let path = id.map_or(route.path.clone(), |id| route.path.replace("{id}", &id.to_string()));
        for half in ["signature", "signature-input"] {
            let mut ask = app
                .ask(route.method.clone(), format!("{path}{query}"))
                .bearer(&token)
                .key("k")
                .header(half, "sig=:AAAA:");
            if let Some(body) = &body {
                ask = ask.json(body);
            }
            let answer = ask.send().await;
            let told = (answer.status, answer.code().to_owned());
            assert_eq!(told, (401, "signature_invalid".to_owned()), "{} {half}", route.id);
        }
    }
}
