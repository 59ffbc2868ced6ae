//! Owns the judgement of the database's roles and of our logins: what they are,
//! and what they could do that they must not.
//!
//! It refuses to change any of it.

use tenancy::migrate::ROLES;
use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::Client;

use super::Patient;
use super::report::Finding;
use crate::config::Faults;
use crate::serve::roles;

const ROLE_ROWS: &str = tenancy::sql!("server/doctor.sql", "roles");

pub(super) const POWERS: &str = "database.roles";
pub(super) const LOGINS: &str = "database.logins";

/// Every check of this file.
pub(super) async fn check(patient: &Patient<'_>, client: &Client) -> Result<Vec<Finding>, DbError> {
    let mut findings = powers(client).await?;
    let all_there = findings.iter().all(|finding| !finding.found.contains("does not exist"));
    if all_there {
        findings.extend(logins(patient).await);
    } else {
        findings.push(Finding::skipped(LOGINS, "the roles come first"));
    }
    Ok(findings)
}

async fn powers(client: &Client) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for row in client.query(ROLE_ROWS, &[&ROLES.as_slice()]).await? {
        let name: String = row.try_get("name")?;
        let flag = |column: &str| row.try_get::<_, bool>(column);
        if !flag("is_there")? {
            let found = format!("the role {name} does not exist");
            findings.push(Finding::fault(POWERS, found, "strongroom migrate up"));
            continue;
        }
        let is_owner = name == "strongroom_owner";
        let judged = [
            (
                flag("is_superuser")?,
                "is a superuser: row security does not bind it",
                format!("ALTER ROLE {name} NOSUPERUSER"),
            ),
            (
                flag("bypasses_row_security")?,
                "has BYPASSRLS: it sees every tenant's rows",
                format!("ALTER ROLE {name} NOBYPASSRLS"),
            ),
            (flag("creates_roles")?, "may create roles", format!("ALTER ROLE {name} NOCREATEROLE")),
            (
                flag("owns_tables")? && !is_owner,
                "owns tables and could switch row security off",
                format!("REASSIGN OWNED BY {name} TO strongroom_owner"),
            ),
            (
                flag("may_become_owner")? && !is_owner,
                "may act as strongroom_owner and switch row security off",
                format!("REVOKE strongroom_owner FROM {name}"),
            ),
        ];
        for (_, what, statement) in judged.into_iter().filter(|(wrong, ..)| *wrong) {
            let mend = format!("sudo -u postgres psql -c '{statement}'");
            findings.push(Finding::fault(POWERS, format!("{name} {what}"), mend));
        }
    }
    if findings.is_empty() {
        let found = "the four roles exist, none bypasses row security, only the owner owns tables";
        findings.push(Finding::ok(POWERS, found));
    }
    Ok(findings)
}

/// Whether each login that is configured can do its work, and in production no more.
async fn logins(patient: &Patient<'_>) -> Vec<Finding> {
    let configuration = patient.configuration;
    let wanted = [
        (configuration.database(), "strongroom_app", "DATABASE_URL"),
        (configuration.sealer_database(), "strongroom_sealer", "DATABASE_SEALER_URL"),
        (configuration.auditor_database(), "strongroom_auditor", "DATABASE_AUDITOR_URL"),
        (configuration.owner_database(), "strongroom_owner", "DATABASE_OWNER_URL"),
    ];
    let mut findings = Vec::new();
    for (config, role, setting) in wanted {
        let is_set = setting == "DATABASE_URL" || configuration.found(setting).is_some();
        match config {
            // Without a login of their own, verifying and migrating by hand ask for one then.
            Ok(config) if is_set || role == "strongroom_sealer" => {
                findings.extend(may_act(config, role, setting).await);
            }
            _ => {}
        }
    }
    if patient.strict
        && let Ok(config) = configuration.database()
    {
        findings.extend(too_powerful(&config).await);
    }
    if findings.is_empty() {
        let found = if patient.strict {
            "each acts as its role and has no power besides"
        } else {
            "each may act as its role; --production judges what else they could do"
        };
        findings.push(Finding::ok(LOGINS, found));
    }
    findings
}

async fn may_act(
    config: DatabaseConfig,
    role: &'static str,
    setting: &'static str,
) -> Option<Finding> {
    let error = roles::acting_as(config, role, setting).await.err()?;
    if let Some(Faults(faults)) = error.downcast_ref::<Faults>() {
        let message = faults.first().map(|fault| fault.message.clone()).unwrap_or_default();
        let (found, grant) = message.split_once(": ").unwrap_or((&message, ""));
        let mend = format!("sudo -u postgres psql -c '{grant}'");
        return Some(Finding::fault(LOGINS, format!("{setting} {found}"), mend));
    }
    let mend = format!("strongroom config explain {setting}");
    Some(Finding::fault(LOGINS, format!("{setting}: {error:#}"), mend))
}

async fn too_powerful(config: &DatabaseConfig) -> Vec<Finding> {
    match roles::faults_of_app_login(config).await {
        Ok(faults) => faults
            .into_iter()
            .map(|fault| {
                let found = format!("{} {}", fault.setting, fault.message);
                let mend = "sudo -u postgres createuser strongroom_login && sudo -u postgres psql -c 'GRANT \
                            strongroom_app TO strongroom_login'   (and let DATABASE_URL log in as it)";
                Finding::fault(LOGINS, found, mend)
            })
            .collect(),
        Err(error) => vec![Finding::fault(LOGINS, error.to_string(), "strongroom config explain DATABASE_URL")],
    }
}
