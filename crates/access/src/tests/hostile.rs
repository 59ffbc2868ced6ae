//! Policies that must not load, and a policy that fails while deciding.

use std::collections::BTreeSet;

use super::{person, roles};
use crate::engine::Policies;
use crate::load::{self, PolicyError};
use crate::{Blueprint, Permission, Resource, ResourceKind, Scope};

const PERMIT: &str =
    r#"@id("permit") permit (principal, action == Action::"account:read", resource);"#;
/// Valid for the validator, yet overflows on an owned account.
const ERRING_FORBID: &str = r#"@id("erring") forbid (
    principal, action == Action::"account:read", resource
) when { (if resource.owned then 9223372036854775807 else 0) + 1 > 10 };"#;

fn load_text(text: &str) -> Result<cedar_policy::PolicySet, PolicyError> {
    let validator = cedar_policy::Validator::new(load::schema()?);
    load::policies(Blueprint::CoreBank, &[text], &validator)
}

#[test]
fn an_erring_forbid_denies_and_is_flagged() {
    let policies = Policies::from_texts(|_| vec![PERMIT.into(), ERRING_FORBID.into()]).unwrap();
    let nobody = roles(&[]);
    let account = Resource::new(ResourceKind::Account, None);
    let decide = |object: &Resource<'_>| {
        policies.decide(Blueprint::CoreBank, &person(&nobody), Permission::AccountRead, object)
    };
    assert!(decide(&account).allowed());
    let failed = decide(&account.owned(true));
    assert!(!failed.allowed());
    assert!(failed.errored());
    assert!(failed.errors[0].contains("erring"), "{:?}", failed.errors);
}

#[test]
fn an_erring_policy_narrows_the_scope_and_never_widens_it() {
    let policies = Policies::from_texts(|_| vec![PERMIT.into(), ERRING_FORBID.into()]).unwrap();
    let decided = policies.scope(Blueprint::CoreBank, &["customer"], Permission::AccountRead);
    assert_eq!(decided, Scope::ALL);
    assert!(policies.matrix(Blueprint::CoreBank).contains("yes !own"));
}

#[test]
fn unusable_policies_do_not_load() {
    type Expected = fn(&PolicyError) -> bool;
    let invalid: Expected = |error| matches!(error, PolicyError::Invalid { .. });
    let table: &[(&str, Expected)] = &[
        ("permit (", |error| matches!(error, PolicyError::Parse { .. })),
        ("permit (principal, action == Action::\"account:read\", resource);", |error| {
            matches!(error, PolicyError::Unnamed { .. })
        }),
        (
            r#"@id("a") permit (principal, action == Action::"account:read", resource);
               @id("a") permit (principal, action == Action::"loan:read", resource);"#,
            |error| matches!(error, PolicyError::Duplicate { .. }),
        ),
        (r#"@id("a") permit (principal, action == Action::"account:red", resource);"#, invalid),
        (
            r#"@id("a") permit (principal in Role::"boss", action == Action::"account:read",
               resource);"#,
            invalid,
        ),
        (
            r#"@id("a") permit (principal, action == Action::"account:read", resource)
               when { resource.owner };"#,
            invalid,
        ),
        (
            r#"@id("a") permit (principal, action == Action::"account:read", resource)
               when { resource.department == "x" };"#,
            invalid,
        ),
        (
            r#"@id("a") permit (principal, action == Action::"account:read", resource)
               when { principal is Account };"#,
            invalid,
        ),
    ];
    for (text, expected) in table {
        let error = load_text(text).expect_err(text);
        assert!(expected(&error), "{text}: {error}");
    }
}

/// The schema and the closed lists of this crate name the same things.
#[test]
fn schema_and_lists_agree() {
    let schema = load::schema().unwrap();
    let actions: BTreeSet<_> =
        schema.actions().map(|action| action.id().unescaped().to_owned()).collect();
    let names: BTreeSet<_> = Permission::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(actions, names);
    let types: BTreeSet<_> = schema.entity_types().map(ToString::to_string).collect();
    let kinds: BTreeSet<_> = ResourceKind::ALL
        .iter()
        .map(|kind| kind.as_str().to_owned())
        .chain(["Person".to_owned(), "Role".to_owned()])
        .collect();
    assert_eq!(types, kinds);
}

/// Which kinds a permission may be asked of is said twice: in the schema and in `acts_on`.
#[test]
fn schema_and_kinds_agree() {
    let schema = load::schema().unwrap();
    for action in schema.actions() {
        let permission: Permission = action.id().unescaped().parse().unwrap();
        let said: BTreeSet<_> =
            schema.resources_for_action(action).unwrap().map(ToString::to_string).collect();
        let known: BTreeSet<_> = ResourceKind::ALL
            .iter()
            .filter(|kind| permission.acts_on(**kind))
            .map(|kind| kind.as_str().to_owned())
            .collect();
        assert_eq!(said, known, "{permission}");
        assert!(permission.acts_on(permission.kind()));
    }
}

/// A policy names only roles that its blueprint knows, and bears its file's prefix.
#[test]
fn policies_name_their_own_blueprints_roles() {
    let named_roles = |text: &str| -> BTreeSet<String> {
        text.split("Role::\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    };
    for blueprint in Blueprint::ALL {
        let texts: Vec<_> = load::files(blueprint).iter().map(|file| file.text).collect();
        let named = named_roles(&texts.join("\n"));
        let known: BTreeSet<_> = blueprint.roles().iter().map(ToString::to_string).collect();
        assert_eq!(named, known, "{blueprint}");
    }
}
