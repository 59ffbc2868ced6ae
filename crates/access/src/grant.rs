//! The grammar of a custom role: `resource:action[:scope]` with `*` for the action, and the
//! conditions of each.
//!
//! Refuses to know who may give a role; what no role of a tenant may ever hold is refused here.

use serde::{Deserialize, Serialize};

use crate::conditions::{Conditions, Demands, Fault, is_the_platforms, knows};
use crate::permission::Permission;
use crate::scope::Scope;

const PERMISSIONS_MAX: usize = 64;
/// Of one permission, in bytes.
const PATTERN_MAX: usize = 100;
const NAME_LENGTH_MAX: usize = 50;

/// A custom role as it is written down: what the interface takes and the database keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDefinition {
    /// What it is called in the tenant.
    pub name: String,
    /// What it may do.
    pub permissions: Vec<RolePermission>,
}

/// One grant of a custom role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePermission {
    /// `resource:action[:scope]`.
    pub permission: String,
    /// What it demands beside its scope.
    #[serde(default)]
    pub conditions: Conditions,
}

/// A custom role that was checked: what policies are made of.
#[derive(Clone, Debug)]
pub struct CustomRole {
    name: String,
    grants: Vec<Grant>,
}

/// One grant, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) permissions: Vec<Permission>,
    pub(crate) scope: Scope,
    pub(crate) demands: Demands,
    is_unconditional: bool,
    /// As they were written.
    conditions: Conditions,
    /// `:scope` as it was written, or nothing.
    suffix: &'static str,
}

/// Whether a text is the name of a role: what the database takes as one.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    (2..=NAME_LENGTH_MAX).contains(&text.len())
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

impl CustomRole {
    /// Checks a definition; every fault at once, each with its field.
    pub fn parse(definition: &RoleDefinition) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let reserved = tenancy::Blueprint::ALL.iter().any(|known| known.has_role(&definition.name));
        if !is_name(&definition.name) {
            faults.push(Fault::new("name", "Expected 2 to 50 small letters and underscores"));
        } else if reserved {
            faults.push(Fault::new("name", "This is the name of a system role"));
        }
        let wanted = &definition.permissions;
        if wanted.is_empty() || wanted.len() > PERMISSIONS_MAX {
            let message = format!("Expected 1 to {PERMISSIONS_MAX} permissions");
            faults.push(Fault::new("permissions", message));
            return Err(faults);
        }
        let mut grants = Vec::with_capacity(wanted.len());
        for (index, permission) in wanted.iter().enumerate() {
            let parent = format!("permissions[{index}]");
            if wanted[..index].contains(permission) {
                faults.push(Fault::new(parent, "The same stands above"));
                continue;
            }
            match permission.parse() {
                Ok(grant) => grants.push(grant),
                Err(wrong) => faults.extend(wrong.into_iter().map(|fault| fault.within(&parent))),
            }
        }
        if faults.is_empty() {
            Ok(Self { name: definition.name.clone(), grants })
        } else {
            Err(faults)
        }
    }

    /// Whether it may be written: spelled out it has no more permissions than a role may have.
    pub fn check_size(&self) -> Result<(), Fault> {
        if self.spelled_out().len() <= PERMISSIONS_MAX {
            return Ok(());
        }
        let message = format!(
            "Expected 1 to {PERMISSIONS_MAX} permissions, each * counted as what it stands for"
        );
        Err(Fault::new("permissions", message))
    }

    /// What it may do, permission by permission: `*` is every action there was when the role
    /// was written, and none that a later release brings.
    pub fn spelled_out(&self) -> Vec<RolePermission> {
        let mut spelled: Vec<RolePermission> = Vec::new();
        for grant in &self.grants {
            for permission in &grant.permissions {
                let permission = format!("{permission}{}", grant.suffix);
                let one = RolePermission { permission, conditions: grant.conditions.clone() };
                if !spelled.contains(&one) {
                    spelled.push(one);
                }
            }
        }
        spelled
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn grants_of(&self, permission: Permission) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.permissions.contains(&permission))
    }

    /// On which objects it may ever have a permission, whatever the circumstances.
    pub fn reach(&self, permission: Permission) -> Scope {
        self.grants_of(permission).map(|grant| grant.scope).fold(Scope::NONE, Scope::union)
    }

    /// On which objects it has a permission under any circumstances and without a ceiling.
    pub(crate) fn assured(&self, permission: Permission) -> Scope {
        self.grants_of(permission)
            .filter(|grant| grant.is_unconditional)
            .map(|grant| grant.scope)
            .fold(Scope::NONE, Scope::union)
    }
}

impl RolePermission {
    fn parse(&self) -> Result<Grant, Vec<Fault>> {
        let (permissions, scope, suffix) = parse_pattern(&self.permission)
            .map_err(|message| vec![Fault::new("permission", message)])?;
        let in_conditions = |fault: Fault| fault.within("conditions");
        let demands = self
            .conditions
            .parse(&permissions)
            .map_err(|faults| faults.into_iter().map(in_conditions).collect::<Vec<_>>())?;
        let conditions = &self.conditions;
        let (field, scope) = match (scope, conditions.owner_only, conditions.department) {
            (scope, false, false) => ("permission", scope),
            (Scope::ALL | Scope::OWN, true, _) => ("conditions.owner_only", Scope::OWN),
            (Scope::ALL, _, true) => ("conditions.department", Scope::DEPARTMENT),
            (_, owner_only, _) => {
                let field = if owner_only { "owner_only" } else { "department" };
                let fault = Fault::new(field, "The permission names another scope already");
                return Err(vec![in_conditions(fault)]);
            }
        };
        if let Some(other) = permissions.iter().find(|one| !knows(one.kind(), scope)) {
            let message = format!("{other} knows no scope {scope}");
            return Err(vec![Fault::new(field, message)]);
        }
        let is_unconditional = conditions.is_unconditional();
        let conditions = conditions.clone();
        Ok(Grant { permissions, scope, demands, is_unconditional, conditions, suffix })
    }
}

/// The permissions and the scope that a pattern names, and how it names the scope.
fn parse_pattern(text: &str) -> Result<(Vec<Permission>, Scope, &'static str), String> {
    if text.len() > PATTERN_MAX {
        return Err(format!("Expected at most {PATTERN_MAX} bytes"));
    }
    let mut parts = text.split(':');
    let (resource, action) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (scope, suffix) = match parts.next() {
        None => (Scope::ALL, ""),
        Some("own_tenant") => (Scope::ALL, ":own_tenant"),
        Some("own") => (Scope::OWN, ":own"),
        Some("own_org") => (Scope::ORGANISATION, ":own_org"),
        Some("assigned_companies") => (Scope::ASSIGNED, ":assigned_companies"),
        Some(_) => {
            let expected = "own, own_tenant, own_org or assigned_companies";
            return Err(format!("{text:?} names no scope: expected {expected}"));
        }
    };
    let matches = |permission: &&Permission| {
        permission
            .as_str()
            .split_once(':')
            .is_some_and(|(known, verb)| known == resource && (action == "*" || verb == action))
    };
    let permissions: Vec<_> = Permission::ALL.iter().filter(matches).copied().collect();
    if parts.next().is_some() || permissions.is_empty() {
        return Err(format!("{text:?} names no permission: expected resource:action[:scope]"));
    }
    if permissions.iter().any(|permission| is_the_platforms(permission.kind())) {
        return Err(format!("{text:?} is the platform's alone"));
    }
    Ok((permissions, scope, suffix))
}
