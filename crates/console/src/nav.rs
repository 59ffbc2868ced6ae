//! Owns the navigation: a line for each place, with what it takes to see it.
//!
//! Refuses to decide: the tenant's modules and policy do. A place that does not exist
//! yet has no line.

use access::Permission;
use operation::Operations;
use tenancy::OpContext;

/// A place.
pub(crate) struct Item {
    pub(crate) label: &'static str,
    pub(crate) href: &'static str,
    /// A name that `kit::icon` knows.
    pub(crate) icon: &'static str,
    /// The second key after `g`.
    pub(crate) key: &'static str,
    /// The heading it stands under.
    pub(crate) group: &'static str,
    /// The tenant's module that must be on.
    pub(crate) module: &'static str,
    /// What the person must hold on at least one object; anybody where absent.
    pub(crate) permission: Option<Permission>,
}

/// Every place there is.
#[rustfmt::skip]
pub(crate) const ITEMS: &[Item] = &[
    Item { label: "Overview", href: "/", icon: "home", key: "o", group: "", module: "identity", permission: None },
    Item { label: "Customers", href: "/customers", icon: "users", key: "c", group: "Banking", module: "banking", permission: Some(Permission::CustomerRead) },
    Item { label: "Accounts", href: "/accounts", icon: "wallet", key: "b", group: "Banking", module: "banking", permission: Some(Permission::AccountRead) },
    Item { label: "Transfer", href: "/transfers/new", icon: "transfer", key: "t", group: "Banking", module: "banking", permission: Some(Permission::TransactionCreate) },
    Item { label: "Approvals", href: "/approvals", icon: "check", key: "a", group: "Oversight", module: "banking", permission: Some(Permission::TransactionApprove) },
    Item { label: "People", href: "/users", icon: "user", key: "p", group: "Oversight", module: "identity", permission: Some(Permission::UserRead) },
    Item { label: "Audit log", href: "/audit", icon: "shield", key: "l", group: "Oversight", module: "audit", permission: Some(Permission::AuditRead) },
    Item { label: "Keys", href: "/keys", icon: "key", key: "k", group: "Oversight", module: "identity", permission: Some(Permission::KeyRead) },
    Item { label: "Roles", href: "/roles", icon: "card", key: "r", group: "Oversight", module: "identity", permission: Some(Permission::SettingsView) },
    Item { label: "Webhooks", href: "/webhooks", icon: "send", key: "w", group: "Oversight", module: "identity", permission: Some(Permission::SettingsView) },
    Item { label: "Settings", href: "/settings", icon: "settings", key: "s", group: "Oversight", module: "identity", permission: Some(Permission::SettingsView) },
];

/// A place as the layout draws it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) label: &'static str,
    pub(crate) href: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) key: &'static str,
    /// A new heading begins here.
    pub(crate) heading: Option<&'static str>,
    pub(crate) is_current: bool,
}

/// What this person may go to, in order.
pub(crate) fn of(operations: &Operations, context: &OpContext, path: &str) -> Vec<Link> {
    let may = |item: &&Item| {
        let held = |needed| {
            let scope = operations.scope(context, needed);
            // Whoever sees nobody but themselves has their own security for that.
            if needed == Permission::UserRead { scope.is_all() } else { !scope.is_none() }
        };
        context.tenant.has_module(item.module) && item.permission.is_none_or(held)
    };
    let mut group = "";
    let links = ITEMS.iter().filter(may).map(|item| {
        let heading = (item.group != group).then_some(item.group);
        group = item.group;
        Link {
            label: item.label,
            href: item.href,
            icon: item.icon,
            key: item.key,
            heading,
            is_current: is_within(path, item.href),
        }
    });
    links.collect()
}

fn is_within(path: &str, place: &str) -> bool {
    let rest = path.strip_prefix(place);
    path == place || (place != "/" && rest.is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ITEMS, is_within};

    #[test]
    fn keys_and_places_are_unique_and_places_are_not_the_interfaces() {
        let keys: BTreeSet<_> = ITEMS.iter().map(|item| item.key).collect();
        let places: BTreeSet<_> = ITEMS.iter().map(|item| item.href).collect();
        assert_eq!((keys.len(), places.len()), (ITEMS.len(), ITEMS.len()));
        for place in places {
            let first = place.split('/').nth(1).unwrap_or_default();
            assert!(!["v1", "api", "t", "openapi.json", "livez", "readyz"].contains(&first));
        }
    }

    #[test]
    fn a_place_is_current_on_its_own_pages_only() {
        for (path, place, within) in [
            ("/", "/", true),
            ("/accounts", "/", false),
            ("/accounts", "/accounts", true),
            ("/accounts/1", "/accounts", true),
            ("/accounts-x", "/accounts", false),
        ] {
            assert_eq!(is_within(path, place), within, "{path} {place}");
        }
    }
}
