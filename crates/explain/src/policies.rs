//! Which policies decided at a moment: those of the binary that had started last before it.
//!
//! Refuses to guess: where that is not written down, or where this binary cannot read them any
//! more (another schema), a moment cannot be answered for.

use std::{borrow::Cow, collections::BTreeMap};

use access::{Blueprint, Policies};
use jiff::Timestamp;
use operation::{OperationError, Refusal};
use serde_json::{Value, json};
use tenancy::{Database, DbError};

use crate::unreadable;

const REMEMBER: &str = tenancy::sql!("explain/policies.sql", "remember");
const IN_FORCE_AT: &str = tenancy::sql!("explain/policies.sql", "in_force_at");

/// Writes down that this binary's policies decide from now on, where others did before.
///
/// # Errors
/// Where the database does not answer.
pub async fn remember_policies(database: &Database) -> Result<(), DbError> {
    let connection = database.system_connection().await?;
    connection.execute(REMEMBER, &[&json!(Policies::texts())]).await?;
    Ok(())
}

/// Those that decided at a moment; none where they are this binary's.
pub(crate) async fn other_in_force_at(
    database: &Database,
    at: Timestamp,
) -> Result<Option<Policies>, OperationError> {
    let connection = database.system_connection().await?;
    let row = connection.query_opt(IN_FORCE_AT, &[&at]).await.map_err(DbError::from)?;
    let row = row.ok_or_else(unknown)?;
    let texts: Value = row.try_get("texts").map_err(DbError::from)?;
    if texts == json!(Policies::texts()) {
        return Ok(None);
    }
    let texts: BTreeMap<String, String> = serde_json::from_value(texts).map_err(unreadable)?;
    Ok(Some(parsed(&texts).ok_or_else(unknown)?))
}

fn parsed(texts: &BTreeMap<String, String>) -> Option<Policies> {
    let names = || Blueprint::ALL.into_iter().flat_map(Policies::file_names);
    if !names().all(|name| texts.contains_key(name)) {
        return None;
    }
    let of = |blueprint| {
        let files = Policies::file_names(blueprint);
        files.filter_map(|name| texts.get(name)).map(|text| Cow::Owned(text.clone())).collect()
    };
    Policies::from_texts(of).ok()
}

fn unknown() -> Refusal {
    let detail = "Which policies decided at that moment is not known here";
    Refusal::rule("policies_unknown", "as_of", detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use access::{Blueprint, CustomRoles, Permission, Policies, Principal, Resource};

    use super::parsed;

    fn texts() -> BTreeMap<String, String> {
        let texts = Policies::texts().into_iter();
        texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn other_policies_decide_as_they_say() {
        let mut texts = texts();
        let added = "@id(\"test/never\") forbid (principal, \
            action == Action::\"account:read\", resource);";
        texts.get_mut("core-bank.cedar").unwrap().push_str(added);
        let [former, ours] = [parsed(&texts).unwrap(), Policies::load().unwrap()];
        let roles = ["officer".to_owned()];
        let principal = Principal {
            user_id: uuid::Uuid::nil(),
            roles: &roles,
            organization: None,
            department: None,
            custom: CustomRoles::default(),
        };
        let object = Resource::for_permission(Permission::AccountRead, None);
        let decided = [&former, &ours].map(|policies| {
            let permission = Permission::AccountRead;
            policies.decide(Blueprint::CoreBank, &principal, permission, &object).allowed()
        });
        assert_eq!(decided, [false, true]);
    }

    #[test]
    fn what_this_binary_cannot_read_is_not_guessed_at() {
        assert!(parsed(&texts()).is_some());
        let mut without = texts();
        without.remove("core-bank.cedar");
        assert!(parsed(&without).is_none());
        let mut foreign = texts();
        let added = "@id(\"test/other\") permit (principal, \
            action == Action::\"ship:sail\", resource);";
        foreign.get_mut("core-bank.cedar").unwrap().push_str(added);
        assert!(parsed(&foreign).is_none());
    }
}
