//! Owns who lives in a development installation: one tenant of each blueprint,
//! somebody for each of its roles. What is there already stays as it is.

use std::sync::Arc;

use identity::{NewPassword, NewTenant, NewUser, UserFilter};
use operation::PageRequest;
use tenancy::policy::PolicyOverrides;
use tenancy::{ActorKind, Blueprint, TenantRef};
use zeroize::Zeroizing;

use super::ready::{Login, TenantLogins};
use super::secrets::Secrets;
use crate::cli::tenant::refused;
use crate::compose::Installation;

/// Slug and name of the tenant of each blueprint.
const TENANTS: [(Blueprint, &str, &str); 7] = [
    (Blueprint::CoreBank, "demo-bank", "Demo Bank"),
    (Blueprint::DigitalBank, "demo-digital", "Demo Digital"),
    (Blueprint::CardBank, "demo-cards", "Demo Cards"),
    (Blueprint::CreditRisk, "demo-credit", "Demo Credit Risk"),
    (Blueprint::EquipmentErp, "demo-equipment", "Demo Equipment"),
    (Blueprint::Standard, "demo-standard", "Demo Standard"),
    (Blueprint::Platform, "platform", "Platform"),
];

/// Customers of a bank's tenant beside the one that stands for the role.
const FURTHER_CUSTOMERS: [&str; 4] = ["ada", "bela", "chiara", "dmitri"];

/// The tenant of the blueprint that money moves in.
pub(super) const BANK: &str = "demo-bank";
/// The tenant of load drivers.
const LOAD: &str = "load-bank";

/// A tenant of the demo with its people.
pub(super) struct Peopled {
    /// The tenant.
    pub(super) tenant: Arc<TenantRef>,
    /// Its people.
    pub(super) logins: TenantLogins,
}

/// Makes the tenants that are missing, with their people; lists all.
pub(super) async fn settle(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
) -> anyhow::Result<Vec<Peopled>> {
    installation.identity.ensure_platform().await.map_err(refused)?;
    // Each tenant's password costs a quarter of a second: hashed side by side.
    let making = TENANTS.map(|(blueprint, slug, name)| {
        one(installation, secrets, overrides, (blueprint, slug, name))
    });
    futures_util::future::try_join_all(making).await
}

/// The tenant that load drivers work in: a bank with `users` customers.
pub(super) async fn load_tenant(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
    users: usize,
) -> anyhow::Result<Peopled> {
    let mut people = people(Blueprint::CoreBank);
    people.retain(|(_, role)| *role != "customer");
    people.extend((1..=users).map(|number| (format!("load{number:03}"), "customer")));
    inhabit(installation, secrets, overrides, (Blueprint::CoreBank, LOAD, "Load"), people).await
}

async fn one(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
    tenant: (Blueprint, &str, &str),
) -> anyhow::Result<Peopled> {
    inhabit(installation, secrets, overrides, tenant, people(tenant.0)).await
}

async fn inhabit(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
    (blueprint, slug, name): (Blueprint, &str, &str),
    people: Vec<(String, &'static str)>,
) -> anyhow::Result<Peopled> {
    if installation.directory.by_slug(slug).await?.is_none() {
        let tenant = NewTenant {
            slug: slug.to_owned(),
            name: name.to_owned(),
            blueprint,
            time_zone: "UTC".to_owned(),
            overrides: overrides.clone(),
        };
        installation.identity.create_tenant(tenant).await.map_err(refused)?;
    }
    let tenant = installation.tenant(slug).await?;
    let password = secrets.password_of(slug);
    if !is_peopled(installation, &tenant).await? {
        make(installation, &tenant, &people, &password).await?;
    }
    let users = people
        .into_iter()
        .map(|(username, role)| Login {
            username,
            password: password.to_string(),
            role: role.to_owned(),
        })
        .collect();
    let logins = TenantLogins { slug: slug.to_owned(), blueprint: blueprint.to_string(), users };
    Ok(Peopled { tenant, logins })
}

async fn is_peopled(installation: &Installation, tenant: &Arc<TenantRef>) -> anyhow::Result<bool> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let request = PageRequest { limit: 1, after: None };
    let page = installation.identity.users(&context, UserFilter::default(), &request).await;
    Ok(!page.map_err(refused)?.data.is_empty())
}

/// User names with their roles, one for each role first.
fn people(blueprint: Blueprint) -> Vec<(String, &'static str)> {
    let mut people: Vec<_> =
        blueprint.roles().iter().map(|&role| (role.to_owned(), role)).collect();
    if blueprint == Blueprint::CoreBank {
        people.extend(FURTHER_CUSTOMERS.map(|name| (name.to_owned(), "customer")));
    }
    people
}

async fn make(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    people: &[(String, &'static str)],
    password: &Zeroizing<String>,
) -> anyhow::Result<()> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let hash = installation.identity.hash_password(password).await.map_err(refused)?;
    let users = people
        .iter()
        .map(|(username, role)| NewUser {
            username: username.clone(),
            email: Some(format!("{username}@{}.example", tenant.slug)),
            phone: None,
            full_name: Some(full_name(username)),
            password: NewPassword::Hashed(hash.clone()),
            role: (*role).to_owned(),
            department: (tenant.blueprint == Blueprint::EquipmentErp)
                .then(|| "Workshop".to_owned()),
            organization_id: None,
            referral_code: None,
        })
        .collect();
    for made in installation.identity.create_users(&context, users).await.map_err(refused)? {
        made.map_err(refused)?;
    }
    Ok(())
}

/// `customer_service` → `Customer Service Demo`.
fn full_name(username: &str) -> String {
    let words = username.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_uppercase())
    });
    format!("{} Demo", words.collect::<Vec<_>>().join(" "))
}
