//! Owns what `dev` says when it is ready: where to go, who can sign in, what to
//! ask when in doubt, and a command that moves money, to be pasted as it stands.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::people::BANK;
use super::ready::{Ready, TenantLogins};
use crate::cli::output::program;

/// User names shown of one tenant.
const NAMES_SHOWN: usize = 8;

/// What the options made of this installation.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) limits_are_raised: bool,
    /// Kept in a folder in which other commands find it.
    pub(super) is_kept: bool,
}

/// Prints the greeting to standard output.
pub(super) fn print(ready: &Ready, manner: Manner, took: Duration) -> anyhow::Result<()> {
    let text = greeting(ready, manner, took, &program());
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

fn greeting(ready: &Ready, manner: Manner, took: Duration, program: &str) -> String {
    let mut text = format!(
        "Strongroom is ready after {:.1} s.\n\n  API       {base}/v1\n  Console   {base}/login\n  Docs      \
         {base}/docs   (OpenAPI: {base}/openapi.json)\n  Metrics   {}/metrics\n",
        took.as_secs_f32(),
        ready.metrics_url,
        base = ready.base_url,
    );
    text.push_str(&logins(&ready.tenants));
    if manner.limits_are_raised {
        text.push_str(
            "\nRate limits are raised to at least 100,000 a minute; --strict-limits keeps the tenants' own.\n",
        );
    }
    if manner.is_kept {
        // Writing to a String cannot fail.
        let _ = write!(text, "\nIs everything in order? In another terminal: {program} doctor\n");
    }
    // Last, and nothing behind it: what follows is pasted as it stands.
    if let Some(bank) = ready.tenants.iter().find(|tenant| tenant.slug == BANK) {
        text.push_str("\nMove money:\n\n");
        text.push_str(&curl(&ready.base_url, bank));
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

/// One line a tenant, in columns; everybody of a tenant shares its password.
fn logins(tenants: &[TenantLogins]) -> String {
    if tenants.is_empty() {
        return String::new();
    }
    let width = |cell: fn(&TenantLogins) -> &str, heading: &str| {
        tenants.iter().map(|tenant| cell(tenant).len()).fold(heading.len(), usize::max)
    };
    let (slugs, passwords) = (width(slug, "TENANT"), width(password, "PASSWORD"));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n  {:slugs$}  {:passwords$}  USER NAMES", "TENANT", "PASSWORD");
    for tenant in tenants {
        let mut names: Vec<_> =
            tenant.users.iter().map(|user| user.username.as_str()).take(NAMES_SHOWN).collect();
        let more = format!("and {} more", tenant.users.len() - names.len());
        if tenant.users.len() > names.len() {
            names.push(&more);
        }
        let _ = writeln!(
            text,
            "  {:slugs$}  {:passwords$}  {}",
            slug(tenant),
            password(tenant),
            names.join(" ")
        );
    }
    text
}

fn slug(tenant: &TenantLogins) -> &str {
    &tenant.slug
}

fn password(tenant: &TenantLogins) -> &str {
    tenant.users.first().map(|user| user.password.as_str()).unwrap_or_default()
}

/// Signs in as the first customer and moves 12.34 between their two accounts.
/// Needs nothing but a shell, curl and sed.
pub(super) fn curl(base_url: &str, bank: &TenantLogins) -> String {
    let customer = bank.users.iter().find(|user| user.role == "customer");
    let (username, password) =
        customer.map(|user| (user.username.as_str(), user.password.as_str())).unwrap_or_default();
    format!(
        r#"TOKEN=$(curl -s {base_url}/v1/auth/login -H 'Content-Type: application/json' -d '{{"tenant":"{}","username":"{username}","password":"{password}"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
ACCOUNTS=$(curl -s {base_url}/v1/accounts -H "Authorization: Bearer $TOKEN" | grep -o '"id":"[^"]*"' | cut -d'"' -f4)
set -- $ACCOUNTS
curl -s {base_url}/v1/transfers -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: \"$(date +%s%N)\"" -H 'Content-Type: application/json' -d "{{\"from_account_id\":\"$1\",\"to_account_id\":\"$2\",\"amount\":1234,\"currency\":\"EUR\",\"description\":\"Lunch\"}}"
"#,
        bank.slug
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Manner, greeting};
    use crate::dev::ready::{Login, Ready, TenantLogins};

    fn tenant(slug: &str, password: &str, people: usize) -> TenantLogins {
        let users = (0..people)
            .map(|number| Login {
                username: format!("person{number}"),
                password: password.to_owned(),
                role: if number == 0 { "customer" } else { "officer" }.to_owned(),
            })
            .collect();
        TenantLogins { slug: slug.to_owned(), blueprint: "core-bank".to_owned(), users }
    }

    #[test]
    fn a_newcomer_sees_where_to_go_who_they_are_and_whom_to_ask() {
        let ready = Ready {
            base_url: "http://localhost:8080".to_owned(),
            metrics_url: "http://127.0.0.1:9464".to_owned(),
            pid: 7,
            database_url: "postgres://postgres:hidden@127.0.0.1:1/strongroom".to_owned(),
            encryption_key: "hidden".to_owned(),
            tenants: vec![tenant("demo-bank", "Try-abc-4u", 2), tenant("a-longer-slug", "p", 12)],
            manifest: None,
        };
        let took = Duration::from_secs(2);
        let plain = Manner { limits_are_raised: false, is_kept: true };
        let text = greeting(&ready, plain, took, "target/release/strongroom");
        for part in [
            "http://localhost:8080/v1\n",
            "http://localhost:8080/login\n",
            "http://localhost:8080/docs ",
            "TENANT         PASSWORD    USER NAMES\n",
            "demo-bank      Try-abc-4u  person0 person1\n",
            "a-longer-slug  p           person0 person1",
            "person7 and 4 more\n",
            "\"username\":\"person0\"",
            "target/release/strongroom doctor\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(!text.contains("hidden") && !text.contains("Rate limits"), "{text}");
        // An ephemeral one is found by nobody who is not told where it is.
        let ephemeral = Manner { limits_are_raised: true, is_kept: false };
        let text = greeting(&ready, ephemeral, took, "target/release/strongroom");
        assert!(!text.contains("doctor") && text.contains("Rate limits"), "{text}");
    }
}
