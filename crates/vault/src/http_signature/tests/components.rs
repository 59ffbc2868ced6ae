//! The values of components, by the examples of RFC 9421 section 2 and beside them.

use super::*;

/// A request by its line, authority and fields.
fn request(method: &str, authority: &str, target: &str) -> Owned {
    Owned {
        method: method.to_owned(),
        authority: authority.to_owned(),
        target: target.to_owned(),
        fields: Vec::new(),
        ..Owned::payment()
    }
}

#[test]
fn derived_components_of_a_request() {
    let get = |authority, target| request("GET", authority, target);
    let long = "/path?param=value&foo=bar&baz=batman&qux=";
    // request, component, value
    let table = [
        (get("www.example.com", "/path?param=value"), "@method", "GET"),
        (get("www.example.com", "/path?param=value"), "@request-target", "/path?param=value"),
        (get("www.example.com", "/path?param=value"), "@path", "/path"),
        (get("www.example.com", "/path?param=value"), "@query", "?param=value"),
        (get("www.example.com", "/path?param=value"), "@scheme", "https"),
        (get("www.example.com", "/path?param=value"), "@authority", "www.example.com"),
        (
            get("www.example.com", "/path?param=value"),
            "@target-uri",
            "https://www.example.com/path?param=value",
        ),
        (get("WWW.Example.com:443", "/a"), "@authority", "www.example.com"),
        (get("WWW.Example.com:443", "/a"), "@target-uri", "https://WWW.Example.com:443/a"),
        (get("www.example.com:", "/"), "@authority", "www.example.com"),
        (get("www.example.com:80", "/"), "@authority", "www.example.com:80"),
        (get("[2001:DB8::1]:443", "/"), "@authority", "[2001:db8::1]"),
        (get("[2001:DB8::1]:8443", "/"), "@authority", "[2001:db8::1]:8443"),
        (get("a.example", "/path"), "@query", "?"),
        (get("a.example", "/path?"), "@query", "?"),
        (get("a.example", "/path?queryString"), "@query", "?queryString"),
        (get("a.example", "/a%2fB?x=%7e"), "@path", "/a%2fB"),
        (get("a.example", "/a%2fB?x=%7e"), "@query", "?x=%7e"),
        (get("a.example", "https://A.example:443?x"), "@path", "/"),
        (get("a.example", "https://a.example/p?x"), "@path", "/p"),
        (get("a.example", "https://a.example?x"), "@target-uri", "https://a.example/?x"),
        // RFC 9421 section 2.2.5: the four forms of a target.
        (
            get("www.example.com", "https://www.example.com/path?x=y"),
            "@request-target",
            "https://www.example.com/path?x=y",
        ),
        (
            request("CONNECT", "www.example.com:80", "www.example.com:80"),
            "@request-target",
            "www.example.com:80",
        ),
        (request("OPTIONS", "a.example", "*"), "@request-target", "*"),
        (request("OPTIONS", "a.example", "*"), "@path", "/"),
        (request("OPTIONS", "a.example", "*"), "@target-uri", "https://a.example"),
        (get("a.example", long), "\"@query-param\";name=\"baz\"", "batman"),
        (get("a.example", long), "\"@query-param\";name=\"qux\"", ""),
        (get("a.example", long), "\"@query-param\";name=\"param\"", "value"),
    ];
    for (request, wanted, value) in table {
        let found = request.value(wanted);
        let place = (&request.authority, &request.target);
        assert_eq!(found.as_deref(), Ok(value), "{wanted} {place:?}");
    }
}

#[test]
fn parameters_of_the_query_are_read_as_a_form_and_written_anew() {
    let rfc = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&\
               bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something";
    let tail = "/?a=1&b=~%7e*&%zz=%zz&c&&d=%FF&%FF=1&e=1&e=2&f=%f0%9f%8f%a6";
    let table = [
        (rfc, "var", Ok("this%20is%20a%20big%0Amultiline%20value")),
        (rfc, "bar", Ok("with%20plus%20whitespace")),
        (rfc, "façade\": ", Ok("something")),
        (tail, "b", Ok("%7E%7E*")),
        (tail, "%zz", Ok("%25zz")),
        (tail, "c", Ok("")),
        (tail, "f", Ok("%F0%9F%8F%A6")),
        // No text, twice, not there.
        (tail, "d", Err(true)),
        (tail, "e", Err(true)),
        (tail, "g", Err(false)),
        ("/", "g", Err(false)),
    ];
    for (target, name, expected) in table {
        let wanted = Component::query_parameter(name).unwrap();
        let found = request("GET", "a.example", target).request(|message| message.value(&wanted));
        match expected {
            Ok(value) => assert_eq!(found.as_deref(), Ok(value), "{name}"),
            Err(true) => {
                let why = SignatureError::ComponentUnusable(wanted.to_string());
                assert_eq!(found, Err(why), "{name}");
            }
            Err(false) => {
                let why = SignatureError::ComponentAbsent(wanted.to_string());
                assert_eq!(found, Err(why), "{name}");
            }
        }
    }
    let written = Component::query_parameter("façade\": ").unwrap().to_string();
    assert_eq!(written, "\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\"");
}

#[test]
fn fields_are_taken_as_the_component_says() {
    // RFC 9421 sections 2.1, 2.1.1, 2.1.2 and 2.1.3.
    let message = request("GET", "www.example.com", "/")
        .with("Host", "www.example.com")
        .with("X-OWS-Header", "   Leading and trailing whitespace.   ")
        .with("Cache-Control", "max-age=60")
        .with("Cache-Control", "    must-revalidate")
        .with("Example-Dict", "  a=1,    b=2;x=1;y=2,   c=(a   b   c), d")
        .with("X-Empty-Header", "")
        .with("Example-Header", "value, with, lots")
        .with("Example-Header", "of, commas")
        .with("Priority", "u=1,i")
        .with("Signature", "a=:YQ==:,   b=:Yg==:")
        .with("X-Bytes", [0xff, b'a'])
        .with("Set-Cookie", "a=b; Expires=Wed, 09 Jun 2021 10:18:14 GMT")
        .with("X-Tab", "a\tb");
    let table = [
        ("host", "www.example.com"),
        ("x-ows-header", "Leading and trailing whitespace."),
        ("cache-control", "max-age=60, must-revalidate"),
        ("x-empty-header", ""),
        ("example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("\"example-dict\";key=\"a\"", "1"),
        ("\"example-dict\";key=\"b\";sf", "2;x=1;y=2"),
        ("\"example-dict\";key=\"c\"", "(a b c)"),
        ("\"example-dict\";key=\"d\"", "?1"),
        ("example-header", "value, with, lots, of, commas"),
        ("\"example-header\";bs", ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"),
        ("\"priority\";sf", "u=1, i"),
        ("\"signature\";sf", "a=:YQ==:, b=:Yg==:"),
        ("\"signature\";key=\"b\"", ":Yg==:"),
        ("\"x-bytes\";bs", ":/2E=:"),
        ("set-cookie", "a=b; Expires=Wed, 09 Jun 2021 10:18:14 GMT"),
        ("x-tab", "a\tb"),
    ];
    for (wanted, value) in table {
        assert_eq!(message.value(wanted).as_deref(), Ok(value), "{wanted}");
    }
}

#[test]
fn of_two_possible_values_neither_is_taken() {
    let message = request("GET", "bank.example", "/")
        .with("X-Bytes", [0xff])
        .with("X-Utf8", "é")
        .with("X-Folded", "a\r\n b")
        .with("X-Line", "a\n\"@method\": GET")
        .with("X-Nul", "\0")
        .with("Set-Cookie", "a=1")
        .with("Set-Cookie", "b=2")
        .with("Priority", "u=1, u=2")
        .with("X-Unknown", "a=1");
    let unusable = |text: &str| Err(SignatureError::ComponentUnusable(component(text).to_string()));
    for text in [
        "x-bytes",
        "x-utf8",
        "x-folded",
        "x-line",
        "x-nul",
        "set-cookie",
        "\"priority\";sf",
        "\"priority\";key=\"u\"",
        // Nobody has said how it is structured.
        "\"x-unknown\";sf",
        "\"x-utf8\";key=\"a\"",
    ] {
        assert_eq!(message.value(text), unusable(text), "{text}");
    }
    for (authority, target) in [
        ("", "/"),
        ("user@bank.example", "/"),
        ("bank.example:4a", "/"),
        ("bank.example/", "/"),
        ("a b", "/"),
        ("::1", "/"),
        ("bank.example", "https://other.example/"),
        ("bank.example", "http://bank.example/"),
        ("bank.example", "/#fragment"),
        ("bank.example", "path"),
        ("bank.example", ""),
    ] {
        let request = request("GET", authority, target);
        let found = request.value("@target-uri");
        assert_eq!(found, unusable("@target-uri"), "{authority} {target}");
    }
    let broken = request("GET\n", "bank.example", "/é");
    for text in ["@method", "@path", "@request-target", "@target-uri"] {
        assert_eq!(broken.value(text), unusable(text), "{text}");
    }
}

#[test]
fn a_response_has_its_status_and_its_request() {
    let asked = Owned::payment();
    let mut answer = Owned::payment();
    answer.fields = vec![("Content-Type".to_owned(), b"text/plain".to_vec())];
    let absent = |text: &str| Err(SignatureError::ComponentAbsent(component(text).to_string()));
    answer.response(&asked, |message| {
        let value = |text: &str| message.value(&component(text));
        assert_eq!(value("@status").as_deref(), Ok("201"));
        assert_eq!(value("content-type").as_deref(), Ok("text/plain"));
        assert_eq!(value("\"content-type\";req").as_deref(), Ok("application/json"));
        assert_eq!(value("\"@method\";req").as_deref(), Ok("POST"));
        let named = "\"@query-param\";req;name=\"dry_run\"";
        assert_eq!(value(named).as_deref(), Ok("false"));
        // What belongs to the other is not found by accident.
        for text in ["@method", "@authority", "content-digest", "@path"] {
            assert_eq!(value(text), absent(text), "{text}");
        }
    });
    for text in ["@status", "\"@method\";req", "\"content-type\";req"] {
        assert_eq!(asked.value(text), absent(text), "{text}");
    }
    let alone = Message::Response(Response { status: 200, fields: &[], request: None });
    assert_eq!(alone.value(&component("\"@method\";req")), absent("\"@method\";req"));
}

#[test]
fn components_that_cannot_be_are_refused() {
    for text in [
        "",
        "Content-Type",
        "content type",
        "content-type:",
        "@signature-params",
        "@unknown",
        "@request-response",
        "@query-param",
        "é",
        "\"@method\";sf",
        "\"@method\";bs",
        "\"@path\";key=\"a\"",
        "\"@path\";name=\"a\"",
        "\"@status\";req",
        "\"@query-param\";name=a",
        "\"content-type\";tr",
        "\"content-type\";sf=?0",
        "\"content-type\";req=1",
        "\"content-type\";key=a",
        "\"content-type\";key=\"A\"",
        "\"content-type\";name=\"a\"",
        "\"content-type\";bs;sf",
        "\"content-type\";bs;key=\"a\"",
        "\"content-type\";sf;sf",
        "\"content-type\"; other",
        "\"content-type",
        "\"content-type\" ,",
        &format!("\"{}\"", "a".repeat(257)),
    ] {
        assert!(Component::parse(text).is_err(), "{text}");
    }
    let long = Component::query_parameter(&"é".repeat(43));
    assert!(long.is_err(), "{long:?}");
    // The order of parameters tells nothing apart, and is kept.
    let (one, other) = (component("\"a\";key=\"b\";req"), component("\"a\";req;key=\"b\""));
    assert_eq!(one, other);
    assert_ne!(one.to_string(), other.to_string());
    assert_ne!(one, component("\"a\";key=\"b\""));
    assert_ne!(one, component("\"a\";key=\"c\";req"));
}
