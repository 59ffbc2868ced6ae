//! Owns what `dev` says when it is ready: where to go, who can sign in, and a
//! command that moves money, to be pasted as it stands.

use std::io::Write as _;
use std::time::Duration;

use super::people::BANK;
use super::ready::{Ready, TenantLogins};

/// Prints the greeting to standard output.
pub(super) fn print(ready: &Ready, limits_are_raised: bool, took: Duration) -> anyhow::Result<()> {
    let mut text = format!(
        "Strongroom is ready after {:.1} s.\n\n  API       {base}/v1\n  OpenAPI   {base}/openapi.json\n  \
         Metrics   {}/metrics\n\n",
        took.as_secs_f32(),
        ready.metrics_url,
        base = ready.base_url,
    );
    if limits_are_raised {
        text.push_str("Rate limits are raised to at least 100,000 a minute; --strict-limits keeps the tenants' own.\n\n");
    }
    for tenant in &ready.tenants {
        text.push_str(&logins(tenant));
    }
    if let Some(bank) = ready.tenants.iter().find(|tenant| tenant.slug == BANK) {
        text.push_str("\nMove money:\n\n");
        text.push_str(&curl(&ready.base_url, bank));
    }
    text.push_str("\nCtrl-C stops it.\n");
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

fn logins(tenant: &TenantLogins) -> String {
    let shown = tenant.users.iter().map(|user| user.username.as_str()).take(12);
    let password = tenant.users.first().map(|user| user.password.as_str()).unwrap_or_default();
    format!("  {:15} {password}   {}\n", tenant.slug, shown.collect::<Vec<_>>().join(" "))
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
