//! Structured fields: what is read, what it is written as, and what is refused.

use proptest::prelude::*;

use super::super::structured::{Bare, Dictionary, FIELD_BYTES_MAX, Item, Member, Parameters};

#[test]
fn what_is_read_is_written_in_its_one_form() {
    // RFC 8941 section 3 and RFC 9421 section 2.1.1, dictionaries.
    let dictionaries = [
        ("", ""),
        ("  a=1,    b=2;x=1;y=2,   c=(a   b   c)", "a=1, b=2;x=1;y=2, c=(a b c)"),
        ("a=?0, b, c; foo=bar", "a=?0, b, c;foo=bar"),
        ("rating=1.50, feelings=(joy sadness)", "rating=1.5, feelings=(joy sadness)"),
        ("a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid", "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid"),
        ("en=\"Applepie\" ,\tda=:w4ZibGV0w6ZydGU=:", "en=\"Applepie\", da=:w4ZibGV0w6ZydGU=:"),
        ("*_-.9=()", "*_-.9=()"),
        ("a=?1;b=?0", "a;b=?0"),
        ("a=(\"foo\"; a=1;b=2);lvl=5, b=abc;a", "a=(\"foo\";a=1;b=2);lvl=5, b=abc;a"),
        ("a=(  ),b=(\"foo\" \"bar\")", "a=(), b=(\"foo\" \"bar\")"),
    ];
    for (text, written) in dictionaries {
        assert_eq!(Dictionary::parse(text).unwrap().to_string(), written, "{text}");
    }
    let items = [
        ("5; foo=bar", "5;foo=bar"),
        ("-0", "0"),
        ("-4.500", "-4.5"),
        ("-0.25", "-0.25"),
        ("7.0", "7.0"),
        ("00042", "42"),
        ("999999999999999", "999999999999999"),
        ("999999999999.999", "999999999999.999"),
        (r#""a \"b\" \\c""#, r#""a \"b\" \\c""#),
        ("foo123/456:*", "foo123/456:*"),
        ("::", "::"),
        ("?1", "?1"),
    ];
    for (text, written) in items {
        assert_eq!(Item::parse(text).unwrap().to_string(), written, "{text}");
    }
}

#[test]
fn what_is_none_is_refused() {
    let dictionaries = [
        "a=1,",
        ",a=1",
        "a=1,,b=2",
        "a=1 b=2",
        "A=1",
        "1=a",
        "a=",
        "a==1",
        "a=(1",
        "a=(1,2)",
        "a=(1(2))",
        "a=1;",
        "a=1;B",
        "a=1;b=",
        "a =1",
        "a= 1",
        "\ta=1",
        "a=1\n",
        "é=1",
        // Stricter than the RFC: which of the two was meant?
        "a=1, a=1",
        "a=1;b=1;b=2",
        "a=(1;c;c)",
    ];
    for text in dictionaries {
        assert!(Dictionary::parse(text).is_err(), "{text}");
    }
    let items = [
        "",
        "1.",
        "1.0000",
        "-",
        "--1",
        "1000000000000.0",
        "1000000000000000",
        "\"a",
        "\"a\\b\"",
        "\"\u{7f}\"",
        "\"é\"",
        "\"a\tb\"",
        ":a",
        ":YQ:",
        ":YQ=:",
        ":YR==:",
        ":Y Q==:",
        ":-_==:",
        "?",
        "?2",
        "?true",
        "@1",
        "é",
        "a b",
        "(1)",
        "1, 2",
        "1;é=1",
    ];
    for text in items {
        assert!(Item::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let members =
        |count: usize| (0..count).map(|at| format!("a{at}")).collect::<Vec<_>>().join(",");
    assert!(Dictionary::parse(&members(256)).is_ok());
    assert!(Dictionary::parse(&members(257)).is_err());
    let inner = |count: usize| format!("a=({})", "1 ".repeat(count));
    assert!(Dictionary::parse(&inner(256)).is_ok());
    assert!(Dictionary::parse(&inner(257)).is_err());
    let parameters =
        |count: usize| (0..count).map(|at| format!(";a{at}")).collect::<Vec<_>>().concat();
    assert!(Item::parse(&format!("1{}", parameters(32))).is_ok());
    assert!(Item::parse(&format!("1{}", parameters(33))).is_err());
    let text = |bytes: usize| format!("\"{}\"", "a".repeat(bytes - 2));
    assert!(Item::parse(&text(FIELD_BYTES_MAX)).is_ok());
    assert!(Item::parse(&text(FIELD_BYTES_MAX + 1)).is_err());
    // However deep it means to go, it goes no deeper than a list inside.
    for deep in ["a=((1))".to_owned(), format!("a={}", "(".repeat(FIELD_BYTES_MAX - 2))] {
        assert!(Dictionary::parse(&deep).is_err());
    }
}

fn bare() -> impl Strategy<Value = Bare> {
    prop_oneof![
        (-999_999_999_999_999_i64..=999_999_999_999_999).prop_map(Bare::Integer),
        (-999_999_999_999_999_i64..=999_999_999_999_999).prop_map(Bare::Decimal),
        "[ -~]{0,12}".prop_map(Bare::String),
        "[a-zA-Z*][!#$%&'*+.^_`|~:/a-zA-Z0-9-]{0,8}".prop_map(Bare::Token),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Bare::Bytes),
        any::<bool>().prop_map(Bare::Boolean),
    ]
}

/// Keys that differ, each with something.
fn keyed<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(String, T)>> {
    let entries = prop::collection::btree_map("[a-z*][a-z0-9_.*-]{0,6}", value, 0..4);
    entries.prop_map(|entries| entries.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn dictionary() -> impl Strategy<Value = Dictionary> {
    let parameters = || keyed(bare()).prop_map(Parameters);
    let item =
        move || (bare(), parameters()).prop_map(|(value, parameters)| Item { value, parameters });
    let member = prop_oneof![
        item().prop_map(Member::Item),
        (prop::collection::vec(item(), 0..4), parameters())
            .prop_map(|(items, parameters)| Member::Inner(items, parameters)),
    ];
    keyed(member).prop_map(Dictionary)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_written_form_is_read_as_the_same(
        text in r#"[ -~\t\n]{0,60}|[a-c=;,()"\\: ?01.\-]{0,40}|(a|=|;|,|\(|\)|"|:YQ==:|\?1|1\.5| ){0,30}"#,
    ) {
        if let Ok(value) = Dictionary::parse(&text) {
            prop_assert_eq!(Dictionary::parse(&value.to_string()), Ok(value));
        }
        if let Ok(value) = Item::parse(&text) {
            prop_assert_eq!(Item::parse(&value.to_string()), Ok(value));
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was(value in dictionary()) {
        let written = value.to_string();
        prop_assert_eq!(Dictionary::parse(&written), Ok(value.clone()));
        // And written so again, whatever space was around it.
        let spaced = format!("  {}  ", written.replace(", ", " \t,   "));
        if !written.contains('"') {
            prop_assert_eq!(Dictionary::parse(&spaced).unwrap().to_string(), written);
        }
    }
}
