//! Owns who lives in a development installation: one tenant of each blueprint,
//! somebody for each of its roles. What is there already stays as it is.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use identity::{NewPassword, NewTenant, NewUser, UserFilter};
use jiff::{SignedDuration, Timestamp};
use operation::PageRequest;
use tenancy::policy::PolicyOverrides;
use tenancy::{ActorKind, Blueprint, Clock, OpContext, TenantRef};
use zeroize::Zeroizing;

use super::demo::LOGIN_DAYS;
use super::ready::{Login, TenantLogins};
use super::secrets::Secrets;
use crate::cli::tenant::refused;
use crate::compose::Installation;

/// Passwords hashed side by side: even one core takes two without a wait worth naming.
const HASHED_AT_ONCE: usize = 2;

/// Slug and name of the tenant of each blueprint.
const TENANTS: [(Blueprint, &str, &str); 7] = [
    (Blueprint::CoreBank, "demo-bank", "Demo Bank"),
    (Blueprint::DigitalBank, "demo-digital", "Demo Digital"),
    (Blueprint::CardBank, "demo-cards", "Demo Cards"),
    (Blueprint::CreditRisk, "demo-credit", "Demo Credit Risk"),
    (Blueprint::EquipmentErp, "demo-equipment", "Demo Equipment"),
    (Blueprint::Standard, "demo-standard", "Demo Standard"),
    (Blueprint::Platform, PLATFORM, "Platform"),
];

/// Somebody with a login: user name, role, name, department.
type Somebody = (&'static str, &'static str, &'static str, &'static str);

/// Customers have none.
const NO_DEPARTMENT: &str = "";

/// The bank's people: one for each role, who is named after it, then the others. The
/// customers are those of the living demo.
const BANK_PEOPLE: [Somebody; 17] = [
    ("super_admin", "super_admin", "Ingrid Sørensen", "IT Operations"),
    ("admin", "admin", "Rafael Monteiro", "IT Operations"),
    ("manager", "manager", "Helene Achterberg", "Branch Köln"),
    ("officer", "officer", "Marcin Lewandowski", "Counter"),
    ("customer_service", "customer_service", "Nadia Benali", "Customer Service"),
    ("auditor", "auditor", "Oluwaseun Bakare", "Internal Audit"),
    ("customer", "customer", "Katharina Lindqvist", NO_DEPARTMENT),
    ("ada", "customer", "Adaeze Okonkwo", NO_DEPARTMENT),
    ("bela", "customer", "Béla Szabó", NO_DEPARTMENT),
    ("chiara", "customer", "Chiara Moretti", NO_DEPARTMENT),
    ("dmitri", "customer", "Dmitri Volkov", NO_DEPARTMENT),
    ("emma", "customer", "Emma Dupont", NO_DEPARTMENT),
    ("farid", "customer", "Farid Rahimi", NO_DEPARTMENT),
    ("grete", "customer", "Grete Brandt", NO_DEPARTMENT),
    ("hugo", "customer", "Hugo Almeida", NO_DEPARTMENT),
    ("priya", "officer", "Priya Venkatesan", "Lending"),
    ("jonas", "customer_service", "Jonas Weber", "Customer Service"),
];

/// The people of the other tenants, one for each role of the blueprint in its order.
const OTHERS: [(Blueprint, &[(&str, &str)]); 6] = [
    (
        Blueprint::DigitalBank,
        &[
            ("Sigrid Halvorsen", "Platform"),
            ("Theo Papadakis", "Compliance"),
            ("Maya Rosenthal", "Support"),
            ("Luca Ferraro", NO_DEPARTMENT),
        ],
    ),
    (
        Blueprint::CardBank,
        &[
            ("Anneke Visser", "Card Operations"),
            ("Samuel Kiprotich", "Support"),
            ("Camila Herrera", NO_DEPARTMENT),
        ],
    ),
    (
        Blueprint::CreditRisk,
        &[
            ("Viktor Nyström", "Platform"),
            ("Esther Goldfarb", "Risk Office"),
            ("Ravi Subramanian", "Corporate Lending"),
            ("Chloé Perrin", "Corporate Lending"),
            ("Mateusz Zając", "Analytics"),
        ],
    ),
    (
        Blueprint::EquipmentErp,
        &[
            ("Birgit Oberhauser", "Operations"),
            ("Dario Conti", "Operations"),
            ("Yusuf Karaca", "Workshop"),
            ("Hanna Virtanen", "Workshop"),
            ("Pedro Sousa", "Stores"),
        ],
    ),
    (
        Blueprint::Standard,
        &[
            ("Astrid Lund", "IT Operations"),
            ("Gabriel Costa", "IT Operations"),
            ("Noor van Dijk", "Branch Office"),
            ("Takeshi Yamamoto", "Counter"),
            ("Fatima Zahra", "Customer Service"),
            ("Cormac Byrne", "Internal Audit"),
            ("Elif Kaya", NO_DEPARTMENT),
        ],
    ),
    (
        Blueprint::Platform,
        &[
            ("Wanda Kessel", "Site Reliability"),
            ("Ibrahim Sesay", "Site Reliability"),
            ("Judith Amsel", "Internal Audit"),
        ],
    ),
];

/// Age of the demo's tenants. Their books are older, as those of a bank that brought
/// its history along; their signing keys must be younger than any policy of rotation.
const FOUNDED_DAYS: i64 = 5;

/// Load drivers' logins have numbers for names.
const UNNAMED: &str = "Load Driver";

/// The tenant of the blueprint that money moves in.
pub(super) const BANK: &str = "demo-bank";
/// Its ceiling in the living demo: a transfer of more waits for a second person.
pub(super) const CEILING_MINOR: i64 = 5_000_000;
/// The tenant of operators.
const PLATFORM: &str = "platform";
/// The tenant of load drivers.
const LOAD: &str = "load-bank";

/// A tenant of the demo with its people.
pub(super) struct Peopled {
    /// The tenant.
    pub(super) tenant: Arc<TenantRef>,
    /// Its people.
    pub(super) logins: TenantLogins,
}

/// Makes the tenants that are missing, with their people; lists all. The ceiling, in
/// minor units, is the bank's.
pub(super) async fn settle(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
    ceiling_minor: Option<i64>,
) -> anyhow::Result<Vec<Peopled>> {
    let identity = installation.identity.at(founded(installation, PLATFORM));
    identity.ensure_platform().await.map_err(refused)?;
    // Each tenant's password costs a quarter of a second: hashed side by side, but no
    // more of them than hash at once anywhere, or a slow machine calls itself busy.
    let of_bank = PolicyOverrides { transfer_ceiling_minor: ceiling_minor, ..overrides.clone() };
    let making = TENANTS.map(|(blueprint, slug, name)| {
        let overrides = if slug == BANK { &of_bank } else { overrides };
        // Boxed: seven of these futures at once are large.
        Box::pin(one(installation, secrets, overrides, (blueprint, slug, name)))
    });
    futures_util::stream::iter(making).buffered(HASHED_AT_ONCE).try_collect().await
}

/// The tenant that load drivers work in: a bank with `users` customers.
pub(super) async fn load_tenant(
    installation: &Installation,
    secrets: &Secrets,
    overrides: &PolicyOverrides,
    users: usize,
) -> anyhow::Result<Peopled> {
    let mut people = people(Blueprint::CoreBank);
    people.retain(|person| person.role != "customer");
    people.extend((1..=users).map(|number| Person {
        username: format!("load{number:03}"),
        role: "customer",
        full_name: UNNAMED,
        department: NO_DEPARTMENT,
    }));
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
    people: Vec<Person>,
) -> anyhow::Result<Peopled> {
    if installation.directory.by_slug(slug).await?.is_none() {
        let tenant = NewTenant {
            slug: slug.to_owned(),
            name: name.to_owned(),
            blueprint,
            time_zone: "UTC".to_owned(),
            overrides: overrides.clone(),
        };
        let identity = installation.identity.at(founded(installation, slug));
        identity.create_tenant(tenant).await.map_err(refused)?;
    }
    let tenant = installation.tenant(slug).await?;
    let password = secrets.password_of(slug);
    if !is_peopled(installation, &tenant).await? {
        make(installation, &tenant, &people, &password).await?;
    }
    let users = people
        .into_iter()
        .map(|person| Login {
            username: person.username,
            password: password.to_string(),
            role: person.role.to_owned(),
        })
        .collect();
    let logins = TenantLogins { slug: slug.to_owned(), blueprint: blueprint.to_string(), users };
    Ok(Peopled { tenant, logins })
}

async fn is_peopled(installation: &Installation, tenant: &Arc<TenantRef>) -> anyhow::Result<bool> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let request = PageRequest { limit: 1, after: None, ..PageRequest::default() };
    let page = installation.identity.users(&context, UserFilter::default(), &request).await;
    Ok(!page.map_err(refused)?.data.is_empty())
}

/// Somebody who is to have a login.
struct Person {
    username: String,
    role: &'static str,
    full_name: &'static str,
    department: &'static str,
}

/// The people of a blueprint's tenant, one for each role first.
fn people(blueprint: Blueprint) -> Vec<Person> {
    if blueprint == Blueprint::CoreBank {
        let people = BANK_PEOPLE.iter().map(|&(username, role, full_name, department)| Person {
            username: username.to_owned(),
            role,
            full_name,
            department,
        });
        return people.collect();
    }
    let named = OTHERS.iter().find(|(of, _)| *of == blueprint).map_or(&[][..], |(_, names)| names);
    let named = named.iter().copied().chain(std::iter::repeat((UNNAMED, NO_DEPARTMENT)));
    let roles = blueprint.roles().iter().zip(named);
    let people = roles.map(|(&role, (full_name, department))| Person {
        username: role.to_owned(),
        role,
        full_name,
        department,
    });
    people.collect()
}

async fn make(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    people: &[Person],
    password: &Zeroizing<String>,
) -> anyhow::Result<()> {
    let hash = installation.identity.hash_password(password).await.map_err(refused)?;
    let users = people
        .iter()
        .map(|person| NewUser {
            username: person.username.clone(),
            email: Some(format!("{}@{}.example", person.username, tenant.slug)),
            phone: None,
            full_name: Some(person.full_name.to_owned()),
            password: NewPassword::Hashed(hash.clone()),
            role: person.role.to_owned(),
            department: Some(person.department.to_owned()).filter(|name| !name.is_empty()),
            organization_id: None,
            referral_code: None,
        })
        .collect();
    let context =
        OpContext::system(Arc::clone(tenant), ActorKind::Cli, joined(installation, tenant));
    for made in installation.identity.create_users(&context, users).await.map_err(refused)? {
        made.map_err(refused)?;
    }
    Ok(())
}

/// When a tenant was made: in the demo before its history begins.
fn founded(installation: &Installation, slug: &str) -> Clock {
    if slug == LOAD {
        return installation.clock.clone();
    }
    let age = SignedDuration::from_hours(24 * FOUNDED_DAYS);
    Clock::manual(installation.clock.now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// When the people of a tenant got their logins: in the demo before they used them.
fn joined(installation: &Installation, tenant: &TenantRef) -> Clock {
    if tenant.slug == LOAD {
        return installation.clock.clone();
    }
    let age = SignedDuration::from_hours(24 * LOGIN_DAYS);
    Clock::manual(installation.clock.now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tenancy::Blueprint;

    use super::{UNNAMED, people};

    #[test]
    fn every_role_of_every_blueprint_has_somebody_with_a_name_who_comes_first() {
        for blueprint in Blueprint::ALL {
            let people = people(blueprint);
            let first: Vec<_> = people.iter().take(blueprint.roles().len()).collect();
            assert!(first.iter().map(|one| one.role).eq(blueprint.roles().iter().copied()));
            assert!(people.iter().all(|one| one.full_name != UNNAMED), "{blueprint}");
            assert!(people.iter().all(|one| blueprint.has_role(one.role)), "{blueprint}");
            let names: BTreeSet<_> = people.iter().map(|one| one.username.as_str()).collect();
            assert_eq!(names.len(), people.len(), "{blueprint}");
        }
    }
}
