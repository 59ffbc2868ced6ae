//! Every component once, so that each compiles and none lets markup through.

#![allow(clippy::unwrap_used)]

use askama::Template;
use operation::{FieldError, Refusal, RefusalKind};

use crate::{
    assets,
    flash::Flash,
    form::Form,
    kit,
    page::{ApiCall, Crumb, Page, Person, Theme},
    params::Params,
};

#[derive(Template)]
#[template(path = "kit/gallery.html")]
struct Gallery {
    page: Page,
    form: Form,
    params: Params,
    options: Vec<(&'static str, &'static str)>,
    tabs: Vec<(&'static str, &'static str, bool)>,
    first: Option<String>,
    next: Option<String>,
    once: String,
    chart: kit::Markup,
}

const HOSTILE: &str = "<script>alert(1)</script>\"'";

/// Around a page, with hostile texts wherever somebody types them.
pub(crate) fn page() -> Page {
    let hostile = || HOSTILE.to_owned();
    Page {
        title: hostile(),
        lead: Some(hostile()),
        nonce: "n0nce".to_owned(),
        csrf: "t0ken".to_owned(),
        theme: Some(Theme::Dark),
        path: "/gallery".to_owned(),
        tenant: hostile(),
        person: Some(Person { username: hostile(), role: hostile(), initial: "<".to_owned() }),
        navigation: Vec::new(),
        crumbs: vec![Crumb { label: hostile(), href: hostile() }],
        api: Some(ApiCall {
            method: "POST",
            path: "/v1/x?a=<b>'".to_owned(),
            body: Some(hostile()),
        }),
        flash: Some(Flash::new(HOSTILE)),
        public_url: "http://localhost".to_owned(),
        assets: assets::addresses(),
        request_id: "r".to_owned(),
    }
}

#[test]
fn every_component_draws_hostile_text_as_text() {
    let mut refusal = Refusal::new(RefusalKind::Rule, "wrong", HOSTILE);
    refusal.errors.push(FieldError {
        field: "amount".into(),
        code: "wrong".into(),
        message: HOSTILE.to_owned(),
    });
    let query = "amount=%3Cscript%3Ealert(1)%3C/script%3E%22'&status=closed";
    let params = Params::parse(query.as_bytes()).unwrap();
    let points = [kit::Point { label: HOSTILE.to_owned(), value: 5, text: HOSTILE.to_owned() }];
    let gallery = Gallery {
        page: page(),
        form: Form::refused(&params, &refusal),
        params,
        options: vec![("", "All"), ("closed", "Closed")],
        tabs: vec![("/a", HOSTILE, true), ("/b", "B", false)],
        first: Some("/x".to_owned()),
        next: Some("/x?cursor=a".to_owned()),
        once: HOSTILE.to_owned(),
        chart: kit::line(HOSTILE, &points, |value| value.to_string()),
    };
    let html = gallery.render().unwrap();
    assert!(!html.contains("<script>"), "{html}");
    assert!(!html.contains("alert(1)</script>"), "{html}");
    for part in [
        "aria-current=\"page\"",
        "id=\"error-amount\"",
        "aria-invalid=\"true\"",
        "value=\"closed\" selected",
        "rel=\"next\"",
        "name=\"csrf\" value=\"t0ken\"",
        "hx-nonce=\"n0nce\"",
        "data-open=\"as-api\"",
        "class=\"skeleton\"",
        "class=\"chart\"",
        "data-theme=\"dark\"",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
}
