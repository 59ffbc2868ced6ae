//! Loads the embedded policies: parse, name, validate, slice.
//!
//! Owns the rule that a policy set is either wholly valid against the schema or not loaded
//! at all. Refuses to know what the policies say.

use std::collections::HashMap;
use std::str::FromStr;

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, Schema,
    ValidationMode, Validator,
};

use crate::blueprint::Blueprint;
use crate::permission::Permission;

/// The embedded policies cannot be used; the binary must not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The schema does not parse.
    #[error("policy schema: {0}")]
    Schema(String),
    /// A policy file does not parse.
    #[error("policies of {blueprint}: {message}")]
    Parse {
        /// Whose policies.
        blueprint: Blueprint,
        /// What Cedar says.
        message: String,
    },
    /// A policy bears no `@id`, so that no decision could name it.
    #[error("policies of {blueprint}: a policy bears no @id: {policy}")]
    Unnamed {
        /// Whose policies.
        blueprint: Blueprint,
        /// The policy's text.
        policy: String,
    },
    /// Two policies of a blueprint share an id, or the policy cannot be added.
    #[error("policies of {blueprint}: {message}")]
    Duplicate {
        /// Whose policies.
        blueprint: Blueprint,
        /// What Cedar says.
        message: String,
    },
    /// A policy does not agree with the schema (strict mode; warnings count).
    #[error("policies of {blueprint} fail validation: {}", .messages.join("; "))]
    Invalid {
        /// Whose policies.
        blueprint: Blueprint,
        /// What the validator says, a line each.
        messages: Vec<String>,
    },
    /// A name of the closed lists is no Cedar identifier.
    #[error("{name:?} is no entity of the schema: {message}")]
    Name {
        /// The name.
        name: String,
        /// What Cedar says.
        message: String,
    },
}

pub(crate) const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");

/// A file of `policies/`.
pub(crate) struct PolicyFile {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! file {
    ($name:literal) => {
        PolicyFile { name: $name, text: include_str!(concat!("../../../policies/", $name)) }
    };
}

const EVERY_TENANT: PolicyFile = file!("every-tenant.cedar");
const CORE_BANK: PolicyFile = file!("core-bank.cedar");

/// The files that make up a blueprint's policies. `standard` is the core-bank matrix under
/// further prohibitions; everything but `platform` obeys `every-tenant.cedar`.
pub(crate) const fn files(blueprint: Blueprint) -> &'static [PolicyFile] {
    match blueprint {
        Blueprint::CoreBank => &[EVERY_TENANT, CORE_BANK],
        Blueprint::EquipmentErp => &[EVERY_TENANT, file!("equipment-erp.cedar")],
        Blueprint::DigitalBank => &[EVERY_TENANT, file!("digital-bank.cedar")],
        Blueprint::CardBank => &[EVERY_TENANT, file!("card-bank.cedar")],
        Blueprint::CreditRisk => &[EVERY_TENANT, file!("credit-risk.cedar")],
        Blueprint::Standard => &[EVERY_TENANT, CORE_BANK, file!("standard.cedar")],
        Blueprint::Platform => &[file!("platform.cedar")],
    }
}

/// The schema of `policies/schema.cedarschema`.
pub(crate) fn schema() -> Result<Schema, PolicyError> {
    Schema::from_cedarschema_str(SCHEMA)
        .map(|(schema, _)| schema)
        .map_err(|error| PolicyError::Schema(error.to_string()))
}

/// A blueprint's policies, parsed, named by their `@id` and validated strictly.
pub(crate) fn policies(
    blueprint: Blueprint,
    texts: &[impl AsRef<str>],
    validator: &Validator,
) -> Result<PolicySet, PolicyError> {
    let text = texts.iter().fold(String::new(), |all, text| all + text.as_ref() + "\n");
    let parsed = PolicySet::from_str(&text)
        .map_err(|error| PolicyError::Parse { blueprint, message: error.to_string() })?;
    let mut named = PolicySet::new();
    for policy in parsed.policies() {
        let id = policy
            .annotation("id")
            .filter(|id| !id.is_empty())
            .ok_or_else(|| PolicyError::Unnamed { blueprint, policy: policy.to_string() })?;
        named
            .add(policy.new_id(PolicyId::new(id)))
            .map_err(|error| PolicyError::Duplicate { blueprint, message: error.to_string() })?;
    }
    let outcome = validator.validate(&named, ValidationMode::Strict);
    let circumstantial = named.policies().filter(|policy| asks_circumstances(policy));
    let messages: Vec<_> = outcome
        .validation_errors()
        .map(ToString::to_string)
        .chain(outcome.validation_warnings().map(ToString::to_string))
        .chain(circumstantial.map(|policy| {
            format!("{}: circumstances and amounts are for custom roles", policy.id())
        }))
        .collect();
    if messages.is_empty() { Ok(named) } else { Err(PolicyError::Invalid { blueprint, messages }) }
}

/// Whether a policy speaks of what only custom roles are decided by. A blueprint's answers
/// are kept whatever the circumstances, so they must not depend on them.
fn asks_circumstances(policy: &Policy) -> bool {
    const WORDS: [&str; 5] = ["context.", "context has", "amount", "currency", "status"];
    let text = policy.to_string();
    WORDS.iter().any(|word| text.contains(word))
}

/// One policy set for each permission, in the order of [`Permission::ALL`], holding only
/// the policies whose scope names that action: a decision then evaluates a handful.
pub(crate) fn slice_by_action(
    blueprint: Blueprint,
    policies: &PolicySet,
    actions: &[EntityUid],
) -> Result<Vec<PolicySet>, PolicyError> {
    let position: HashMap<_, _> =
        actions.iter().enumerate().map(|(index, action)| (action.clone(), index)).collect();
    let mut slices = vec![PolicySet::new(); Permission::ALL.len()];
    for policy in policies.policies() {
        for index in actions_of(policy, &position) {
            slices[index].add(policy.clone()).map_err(|error| PolicyError::Duplicate {
                blueprint,
                message: error.to_string(),
            })?;
        }
    }
    Ok(slices)
}

/// The slices as they bear on somebody whose only role is `role`: without the policies
/// whose scope demands membership of another one. Roles contain no roles, so a policy left
/// out could not have been met; prohibitions without a role stay.
pub(crate) fn slices_of_role(
    blueprint: Blueprint,
    slices: &[PolicySet],
    role: &EntityUid,
) -> Result<Vec<PolicySet>, PolicyError> {
    let concerns = |policy: &&Policy| match policy.principal_constraint() {
        PrincipalConstraint::In(other) => other == *role,
        _ => true,
    };
    slices
        .iter()
        .map(|slice| {
            PolicySet::from_policies(slice.policies().filter(concerns).cloned())
                .map_err(|error| PolicyError::Duplicate { blueprint, message: error.to_string() })
        })
        .collect()
}

/// The positions of the actions that a policy's scope names; the schema has no action
/// groups, so that a name is all there is to match.
fn actions_of(policy: &Policy, position: &HashMap<EntityUid, usize>) -> Vec<usize> {
    match policy.action_constraint() {
        ActionConstraint::Any => position.values().copied().collect(),
        ActionConstraint::Eq(action) => position.get(&action).copied().into_iter().collect(),
        ActionConstraint::In(actions) => {
            let mut found: Vec<_> =
                actions.iter().filter_map(|action| position.get(action).copied()).collect();
            found.sort_unstable();
            found.dedup();
            found
        }
    }
}
