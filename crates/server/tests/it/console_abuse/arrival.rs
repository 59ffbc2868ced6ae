//! Links and forms of other sites: `SameSite=Strict` keeps our cookies at home, and
//! whoever follows a link arrives all the same.

use std::sync::{Arc, Mutex};

use axum::{
    extract::Request,
    http::{HeaderMap, Method},
    middleware::{Next, from_fn},
};

use crate::{
    browser,
    console::{Browser, is_sent_away},
    harness::{Answered, App},
};

use super::{HTML, SESSION};

/// A header of a request: name and value.
type Header = (&'static str, &'static str);

/// What it is, method and path, its cookies, its further headers.
type Case<'a> = (&'a str, (&'a str, &'a str), &'a str, &'a [Header]);

const FOLLOWED: [Header; 3] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// Where the page goes by itself; nothing where it stays.
fn goes_on_to(answer: &Answered) -> Option<&str> {
    let (_, rest) = answer.text.split_once("http-equiv=\"refresh\" content=\"0; url=")?;
    rest.split('"').next()
}

async fn ask(
    app: &App,
    (method, path): (&str, &str),
    cookies: &str,
    headers: &[Header],
) -> Answered {
    let mut ask = app.ask(method.parse().unwrap(), path).header("accept", HTML);
    if !cookies.is_empty() {
        ask = ask.header("cookie", cookies);
    }
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    ask.send().await
}

#[tokio::test]
async fn who_follows_a_link_from_elsewhere_is_asked_to_come_again_and_nobody_else() {
    let app = App::start().await;
    let signed_in = Browser::signed_in(&app, "bank", "admin").await;
    // Every page, since each may hold a form or be another one for the signed-in; the
    // address is repeated as it came, and written so that it stays one.
    for (path, to) in [
        ("/", "/"),
        ("/accounts?status=active&q=a%27%22b", "/accounts?status=active&#38;q=a%27%22b"),
        ("/accounts?q='", "/accounts?q=&#39;"),
        ("/login?next=%2Faccounts", "/login?next=%2Faccounts"),
        ("/docs", "/docs"),
    ] {
        let answer = ask(&app, ("GET", path), "", &FOLLOWED).await;
        assert_eq!((answer.status, goes_on_to(&answer)), (200, Some(to)), "{path}");
        assert!(answer.text.contains(&format!("href=\"{to}\"")), "and a link: {}", answer.text);
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert!(answer.headers.get("set-cookie").is_none(), "a form open elsewhere stays good");
    }
    let jar = signed_in.jar();
    let with = |name: &str, value: &'static str| {
        FOLLOWED.map(|(given, kept)| if given == name { (given, value) } else { (given, kept) })
    };
    let same = with("sec-fetch-site", "same-origin");
    let table: [Case<'_>; 9] = [
        ("asked for by our page: no second turn", ("GET", "/accounts"), "", &same),
        ("typed", ("GET", "/accounts"), "", &with("sec-fetch-site", "none")),
        ("a sister host", ("GET", "/accounts"), "", &with("sec-fetch-site", "same-site")),
        ("a script", ("GET", "/accounts"), "", &with("sec-fetch-mode", "cors")),
        ("a frame", ("GET", "/accounts"), "", &with("sec-fetch-dest", "iframe")),
        ("a browser that says nothing", ("GET", "/accounts"), "", &[]),
        ("a form", ("POST", "/logout"), "", &FOLLOWED),
        ("a cookie came along", ("GET", "/accounts"), &jar, &FOLLOWED),
        ("another host's name for a path", ("GET", "//evil.example/x"), "", &FOLLOWED),
    ];
    for (what, request, cookies, headers) in table {
        let answer = ask(&app, request, cookies, headers).await;
        assert_eq!(goes_on_to(&answer), None, "{what}");
        let expected = match (request.1, cookies.is_empty()) {
            ("//evil.example/x", _) => answer.status == 404,
            (_, true) => is_sent_away(&answer),
            (_, false) => answer.status == 200,
        };
        assert!(expected, "{what}: {} {}", answer.status, answer.text);
    }
}

/// What arrived at the server: method, path, whether the session's cookie came along,
/// and from where the browser says that it comes.
type Arrivals = Arc<Mutex<Vec<(Method, String, bool, String)>>>;

fn recorded(app: &mut App) -> Arrivals {
    let arrivals = Arrivals::default();
    let kept = Arc::clone(&arrivals);
    let record = from_fn(move |request: Request, next: Next| {
        let path = request.uri().path().to_owned();
        if !path.starts_with("/assets/") {
            let said = |name| text(request.headers(), name);
            let has_session = said("cookie").contains(&format!("{SESSION}="));
            let one = (request.method().clone(), path, has_session, said("sec-fetch-site"));
            kept.lock().unwrap().push(one);
        }
        next.run(request)
    });
    app.router = app.router.clone().layer(record);
    arrivals
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn in_a_browser_a_foreign_link_opens_the_page_and_a_foreign_form_brings_no_cookie() {
    let mut app = App::start().await;
    let arrivals = recorded(&mut app);
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let chromium = browser::Browser::start().await;
    let person = chromium.person(&origin).await;
    let page = browser::sign_in(&person, &app, "admin").await;
    let cookies = person.cookies().await;
    let session = cookies.iter().find(|cookie| cookie["name"] == SESSION).unwrap();
    assert_eq!(session["sameSite"], "Strict", "{session}");

    for scripts in [true, false] {
        // A page of nobody's origin is another site than ours.
        let link = format!("<a%20href='{origin}/accounts?status=active'>Your%20accounts</a>");
        page.goto(&format!("data:text/html,{link}")).await;
        arrivals.lock().unwrap().clear();
        page.set_scripts(scripts).await;
        page.click("a").await;
        page.wait_for(".sidebar").await;
        page.set_scripts(true).await;
        page.settle().await;
        assert_eq!(page.path().await, "/accounts?status=active");
        let expected = [("cross-site", false), ("same-origin", true)]
            .map(|(site, cookie)| (Method::GET, "/accounts".to_owned(), cookie, site.to_owned()));
        assert_eq!(arrivals.lock().unwrap()[..], expected, "scripts: {scripts}");
    }

    let form =
        format!("<form%20method='post'%20action='{origin}/logout'><button>Win</button></form>");
    page.goto(&format!("data:text/html,{form}")).await;
    arrivals.lock().unwrap().clear();
    page.click("button").await;
    // It ends at the sign-in, which sends the signed-in on: nothing was done.
    page.wait_for(".sidebar").await;
    page.settle().await;
    assert_eq!(page.path().await, "/");
    let seen = arrivals.lock().unwrap().clone();
    let posted = (Method::POST, "/logout".to_owned(), false, "cross-site".to_owned());
    assert_eq!(seen[0], posted, "{seen:?}");
    assert!(seen.iter().all(|(_, _, cookie, site)| !cookie || site == "same-origin"), "{seen:?}");
    // The browser says itself why it kept the cookie, and complains of nothing else.
    page.expect_finding(browser::Kind::Console, "ExcludeSameSiteStrict");
}
