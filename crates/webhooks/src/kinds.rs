//! Owns who hears of which kind of object: whoever may read every one of them.

use access::Permission::{
    self, AccountRead, CustomerRead, HoldRead, KeyRead, SettingsView, TransactionRead, UserRead,
};
use operation::Operations;
use tenancy::OpContext;

/// The kinds of objects that events are about, and under which permission they are read.
pub const KINDS: [(&str, Permission); 9] = [
    ("user", UserRead),
    ("api_key", KeyRead),
    ("policy_change", SettingsView),
    ("role", SettingsView),
    ("customer", CustomerRead),
    ("account", AccountRead),
    ("hold", HoldRead),
    ("approval", TransactionRead),
    ("transfer", TransactionRead),
];

/// The names that the actor may follow, each once, in the order of the list.
pub(crate) fn offered(operations: &Operations, context: &OpContext) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for (_, _, name) in events::PUBLISHED {
        if !names.contains(name) && is_offered(operations, context, name) {
            names.push(name);
        }
    }
    names
}

/// Whether the actor reads every object that events of this name are about, whatever the
/// circumstances: a webhook goes on at all hours and from everywhere.
pub(crate) fn is_offered(operations: &Operations, context: &OpContext, name: &str) -> bool {
    permission_of(name).is_some_and(|permission| operations.assured(context, permission).is_all())
}

/// The permission to read every object that events of this name are about.
fn permission_of(event_type: &str) -> Option<Permission> {
    let (kind, _, _) = events::PUBLISHED.iter().find(|(_, _, name)| *name == event_type)?;
    KINDS.iter().find(|(known, _)| known == kind).map(|(_, permission)| *permission)
}

/// The kinds of which the actor may read every object.
pub(crate) fn readable_kinds(operations: &Operations, context: &OpContext) -> Vec<&'static str> {
    let is_readable = |kind: &&(&str, Permission)| operations.scope(context, kind.1).is_all();
    KINDS.iter().filter(is_readable).map(|(kind, _)| *kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_permission() {
        for (_, _, name) in events::PUBLISHED {
            assert!(permission_of(name).is_some(), "{name}");
        }
        assert_eq!(permission_of("transfer.posted"), Some(TransactionRead));
        assert_eq!(permission_of("webhook.test"), None);
    }
}
