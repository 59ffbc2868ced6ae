//! Owns the closed list of events: which change of which kind of object is told under which
//! name, and which commands tell nothing, and why.

/// Kind of object, command (or step, as its record names it), event.
pub const PUBLISHED: &[(&str, &str, &str)] = &[
    ("user", "user.create", "user.created"),
    ("user", "user.update", "user.updated"),
    ("user", "user.lock", "user.locked"),
    ("user", "user.unlock", "user.unlocked"),
    ("user", "user.delete", "user.deleted"),
    ("user", "user.restore", "user.restored"),
    ("api_key", "api_key.create", "api_key.created"),
    ("api_key", "api_key.rotate", "api_key.rotated"),
    ("api_key", "api_key.revoke", "api_key.revoked"),
    ("role", "role.create", "role.created"),
    ("role", "role.update", "role.updated"),
    ("role", "role.delete", "role.deleted"),
    ("policy_change", "policy_change.request", "policy_change.requested"),
    ("policy_change", "policy_change.decide", "policy_change.decided"),
    ("policy_change", "policy_change.expire", "policy_change.expired"),
    ("customer", "customer.create", "customer.created"),
    ("customer", "customer.update", "customer.updated"),
    ("account", "account.open", "account.opened"),
    ("account", "account.update", "account.updated"),
    ("account", "account.close", "account.closed"),
    ("hold", "hold.create", "hold.created"),
    ("hold", "hold.capture", "hold.captured"),
    ("hold", "hold.release", "hold.released"),
    ("hold", "hold.expire", "hold.expired"),
    ("approval", "transfer.create", "approval.requested"),
    ("approval", "user.create", "approval.requested"),
    ("approval", "user.update", "approval.requested"),
    ("approval", "approval.agree", "approval.agreed"),
    ("approval", "approval.approve", "approval.approved"),
    ("approval", "approval.reject", "approval.rejected"),
    ("approval", "approval.expire", "approval.expired"),
    ("transfer", "transfer.create", "transfer.posted"),
    ("transfer", "approval.approve", "transfer.posted"),
    ("transfer", "hold.capture", "transfer.posted"),
    ("transfer", "deposit.create", "transfer.posted"),
    ("transfer", "withdrawal.create", "transfer.posted"),
    ("transfer", "fee.create", "transfer.posted"),
    ("transfer", "journal.create", "transfer.posted"),
    ("transfer", "transaction.reverse", "transfer.posted"),
];

/// Commands that publish nothing, by the reason.
pub const SILENT: &[(&str, &[&str])] = &[
    (
        "its steps are published under their own names: user.lock, user.unlock, user.delete",
        &["user.standing"],
    ),
    (
        "what somebody proves of themselves changes no object that others follow",
        &[
            "auth.login",
            "auth.passkey",
            "auth.passkey_options",
            "auth.refresh",
            "auth.step_up",
            "auth.step_up_challenge",
            "mfa.challenge",
            "mfa.passkey_options",
            "mfa.verify",
            "passkey.begin",
            "payment.ask_proof",
            "payment.prove",
            "contact.prove",
            "link.refuse",
            "api_key.misuse",
            "signature.refuse",
        ],
    ),
    (
        "sessions, links and messages have no version",
        &[
            "session.cleanup",
            "session.end",
            "session.end_by_staff",
            "session.revoke",
            "session.revoke_all",
            "token.revoke",
            "password.forgot",
            "password.reset_link",
            "password.send_reset",
            "notice.expire",
            "notice.send",
        ],
    ),
    (
        "factors and resets of them have no version yet, nor do the steps by which somebody \
         registers or changes their own password and addresses say to which version they led",
        &[
            "contact.confirm",
            "mfa.confirm",
            "mfa.regenerate_backup_codes",
            "mfa.remove",
            "mfa.rename",
            "mfa.reset",
            "mfa.reset_reject",
            "mfa.reset_request",
            "mfa.setup",
            "passkey.register",
            "passkey.remove",
            "passkey.rename",
            "password.change",
            "password.set_by_link",
            "user.invite",
            "user.register",
            "device.rename",
            "device.revoke",
            "client_key.register",
            "client_key.revoke",
        ],
    ),
    (
        "settings of the tenant, read when they are needed; a change of policy is published as \
         its policy_change",
        &[
            "branding.update",
            "key.revoke",
            "key.rotate",
            "tenant.create",
            "webhook.create",
            "webhook.delete",
            "webhook.replay",
            "webhook.rotate_secret",
            "webhook.suspend",
            "webhook.test",
            "webhook.update",
        ],
    ),
    (
        "what is loaded in bulk has one record for a whole batch",
        &[
            "import.accounts",
            "import.customers",
            "import.transactions",
            "development.book_day",
            "development.demo",
            "development.enrol",
            "development.seed_customers",
        ],
    ),
    (
        "it reads, and is a command for the keys that it needs",
        &["customer.list", "customer.name", "customer.read", "session.list", "user.read"],
    ),
    ("what leaves the log, or is proven, changes nothing", &["audit.export", "ledger.prove"]),
    (
        "keys of the tenant are told by their inventory, whose generations are no versions",
        &[
            "data_key.rotate",
            "data_key.rewrap",
            "data_key.reseal",
            "data_key.destroy",
            "data_key.tell",
            "data_key.adopt",
        ],
    ),
];

/// The event's name; none where that change is not published.
pub fn name_of(object_type: &str, action: &str) -> Option<&'static str> {
    let is_it =
        |(kind, command, _): &&(&str, &str, &str)| *kind == object_type && *command == action;
    PUBLISHED.iter().find(is_it).map(|(_, _, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::{PUBLISHED, SILENT, name_of};

    /// The names of all commands, as their sources write them.
    fn commands() -> BTreeSet<String> {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = BTreeSet::new();
        for source in sources(&crates) {
            let mut is_command = false;
            for line in source.lines().map(str::trim) {
                if line.starts_with("impl") && line.contains(" for ") {
                    is_command = line.contains("Command for ");
                }
                let Some(value) = line.strip_prefix("const NAME: &'static str = \"") else {
                    if let Some(called) = line.strip_prefix("teller_command!(") {
                        names.extend(called.split('"').nth(1).map(str::to_owned));
                    }
                    continue;
                };
                if is_command {
                    names.extend(value.split('"').next().map(str::to_owned));
                }
            }
        }
        names.retain(|name| !name.starts_with("toy."));
        names
    }

    fn sources(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders: Vec<PathBuf> = (folder.read_dir().expect("the crates"))
            .filter_map(|entry| Some(entry.ok()?.path().join("src")))
            .collect();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = folder.read_dir() else { continue };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(std::fs::read_to_string(&path).expect("a source"));
                }
            }
        }
        found
    }

    #[test]
    fn every_command_is_published_or_silent_for_a_reason() {
        let commands = commands();
        assert!(commands.len() > 60, "the sources were not found: {commands:?}");
        let silent = || SILENT.iter().flat_map(|(_, names)| names.iter().copied());
        let known: BTreeSet<&str> =
            PUBLISHED.iter().map(|(_, command, _)| *command).chain(silent()).collect();
        let unknown: Vec<_> =
            commands.iter().filter(|name| !known.contains(name.as_str())).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "commands in neither list");
        let gone: Vec<_> = silent().filter(|name| !commands.contains(*name)).collect();
        assert_eq!(gone, Vec::<&str>::new(), "no command has these names");
        let both: Vec<_> = silent()
            .filter(|name| PUBLISHED.iter().any(|(_, command, _)| command == name))
            .collect();
        assert_eq!(both, Vec::<&str>::new(), "both published and silent");
    }

    #[test]
    fn a_change_has_one_name_of_its_kind() {
        for (kind, command, name) in PUBLISHED {
            assert_eq!(name_of(kind, command), Some(*name), "{kind} {command}");
            assert_eq!(name.split('.').next(), Some(*kind), "{name}");
        }
        assert_eq!(name_of("customer", "account.open"), None);
    }
}
