//! Each message as it reads, and what none may hold. Refuses to know the queue.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::branding::Branding;

const ORIGIN: &str = "https://bank.example";

fn plain() -> Look {
    Look::of("Horní banka", Branding::default())
}

fn chosen() -> Look {
    Look::of(
        "horni",
        Branding {
            display_name: Some("Horní & synové".to_owned()),
            logo_text: Some("H&S".to_owned()),
            brand_colour: Some("#ffd400".to_owned()),
            support_address: Some("help@bank.example".to_owned()),
        },
    )
}

fn values_of(template: Template) -> Value {
    let end = "2026-11-22T10:30:00Z";
    let done = json!({
        "occurred_at": "2026-11-22T10:00:00Z", "device": "Firefox on Linux", "ip_address": "192.0.2.7", "link": "/security",
    });
    let with = |field: &str, value: Value| {
        let mut values = done.clone();
        values[field] = value;
        values
    };
    match template {
        Template::PasswordReset => {
            json!({ "link": "/reset?token=pwr_abc_DEF", "expires_at": end, "name": "Jana" })
        }
        Template::Invite => json!({ "link": "/invite?token=inv_abc_DEF", "expires_at": end }),
        Template::VerifyEmail => {
            json!({ "link": format!("{ORIGIN}/verify?token=evt_abc_DEF"), "expires_at": end })
        }
        Template::SignInCode => json!({ "code": "482913", "expires_at": end }),
        Template::FactorAdded | Template::FactorRemoved => {
            with("factor", json!("authenticator app"))
        }
        Template::BackupCodeUsed => with("remaining", json!(2)),
        Template::AccountLocked => with("until", json!(end)),
        _ => done,
    }
}

fn written(
    channel: Channel,
    template: Template,
    values: &Value,
    look: &Look,
) -> Result<Content, Unwritten> {
    let values = Values::of(template, values).unwrap();
    let time_zone = TimeZone::get("Europe/Prague").unwrap();
    let frame = Frame { look, origin: ORIGIN, time_zone: &time_zone };
    write(channel, template, &values, &frame)
}

fn mail(template: Template, values: &Value, look: &Look) -> (String, String, String) {
    match written(Channel::Email, template, values, look).unwrap() {
        Content::Email { subject, text, html, .. } => (subject, text, html),
        Content::Sms { .. } => panic!("an e-mail was asked for"),
    }
}

fn sms(template: Template, values: &Value, look: &Look) -> String {
    match written(Channel::Sms, template, values, look).unwrap() {
        Content::Sms { text } => text,
        Content::Email { .. } => panic!("an SMS was asked for"),
    }
}

#[test]
fn every_template_reads_well() {
    for template in Template::ALL {
        let values = values_of(*template);
        let (subject, text, html) = mail(*template, &values, &plain());
        let sms = sms(*template, &values, &plain());
        let page = format!("Subject: {subject}\n\n{text}\n==== SMS\n{sms}\n==== HTML\n{html}\n");
        insta::assert_snapshot!(template.as_str(), page);
    }
}

#[test]
fn a_tenants_look_is_in_all_of_it() {
    let template = Template::NewDevice;
    let (subject, text, html) = mail(template, &values_of(template), &chosen());
    insta::assert_snapshot!(
        "branded",
        format!("Subject: {subject}\n\n{text}\n==== HTML\n{html}\n")
    );
    let content = written(Channel::Email, template, &values_of(template), &chosen()).unwrap();
    let Content::Email { from_name, reply_to, .. } = content else { panic!("an e-mail") };
    assert_eq!(
        (from_name.as_str(), reply_to.as_deref()),
        ("Horní & synové", Some("help@bank.example"))
    );
}

#[test]
fn nothing_leads_or_loads_from_anywhere_else() {
    for template in Template::ALL {
        let (_, text, html) = mail(*template, &values_of(*template), &chosen());
        for body in [&text, &html] {
            for (at, _) in body.match_indices("http") {
                assert!(
                    body[at..].starts_with(ORIGIN),
                    "{template:?}: {}",
                    &body[at..(at + 40).min(body.len())]
                );
            }
        }
        for loads in ["<img", "src=", "url(", "<link", "@import", "<script", "<form"] {
            assert!(!html.contains(loads), "{template:?} {loads}");
        }
    }
}

#[test]
fn links_stay_with_us() {
    let table = [
        ("/reset?token=a", Ok("https://bank.example/reset?token=a")),
        ("https://bank.example/reset?token=a", Ok("https://bank.example/reset?token=a")),
        ("https://bank.example", Err(Unwritten::ForeignLink)),
        ("https://bank.example.evil.example/", Err(Unwritten::ForeignLink)),
        ("https://bank.example@evil.example/", Err(Unwritten::ForeignLink)),
        ("https://evil.example/", Err(Unwritten::ForeignLink)),
        ("http://bank.example/", Err(Unwritten::ForeignLink)),
        ("//evil.example/", Err(Unwritten::ForeignLink)),
        ("/\\evil.example/", Err(Unwritten::ForeignLink)),
        ("https://bank.example//evil.example/", Err(Unwritten::ForeignLink)),
        ("javascript:alert(1)", Err(Unwritten::ForeignLink)),
        ("/a b", Err(Unwritten::ForeignLink)),
        ("", Err(Unwritten::ForeignLink)),
    ];
    for (link, expected) in table {
        assert_eq!(own_link(ORIGIN, Some(link)), expected.map(str::to_owned), "{link}");
    }
    assert_eq!(own_link(ORIGIN, None), Ok(String::new()));
}

#[test]
fn what_people_call_themselves_is_text_and_not_markup() {
    let device = "</td><script>alert(1)</script>\"'&";
    let values = json!({ "device": device, "name": "<b>Jana</b>" });
    let (_, text, html) = mail(Template::NewDevice, &values, &plain());
    assert!(text.contains(device), "{text}");
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(html.contains("script"), "{html}");
}

#[test]
fn a_code_says_what_it_is_for_and_stays_out_of_the_subject() {
    let values = json!({
        "code": "482913", "expires_at": "2026-11-22T10:30:00Z", "purpose": "to pay 12.00 EUR to Jana Nováková",
    });
    let (subject, text, html) = mail(Template::SignInCode, &values, &plain());
    let sms = sms(Template::SignInCode, &values, &plain());
    for body in [&text, &html, &sms] {
        assert!(
            body.contains("482913") && body.contains("to pay 12.00 EUR to Jana Nováková"),
            "{body}"
        );
    }
    assert!(!subject.contains("482913"));
    assert!(sms.starts_with("Horní banka: 482913 is your code to pay"), "{sms}");
}

#[test]
fn times_are_the_tenants() {
    let (_, text, _) = mail(Template::SignInCode, &values_of(Template::SignInCode), &plain());
    assert!(text.contains("22 November 2026, 11:30 CET"), "{text}");
}
