//! Custom roles under Cedar: a definition becomes permits that are decided together with the
//! blueprint's prohibitions.
//!
//! What was made of a definition is kept by the definition itself, an input that makes it
//! final: a changed role is another text, and no node can hold on to what it was.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cedar_policy::{
    Context, Effect as CedarEffect, Policy, PolicyId, PolicySet, RestrictedExpression,
    ValidationMode,
};

use crate::blueprint::Blueprint;
use crate::conditions::{Conditions, Situation};
use crate::decision::{Decision, Principal, Resource};
use crate::engine::{PROBE_DEPARTMENT, PROBE_ORGANIZATION, Policies, probe_resource};
use crate::grant::{CustomRole, Grant, RoleDefinition, RolePermission};
use crate::permission::Permission;
use crate::scope::Scope;

/// Definitions that a process keeps of one blueprint; beyond it begins anew.
const KEPT_MAX: usize = 1024;

/// The custom roles that somebody holds, and under which circumstances they act.
#[derive(Clone, Copy, Debug, Default)]
pub struct CustomRoles<'a> {
    /// A [`RoleDefinition`] each, in JSON, as the database has it.
    pub definitions: &'a [Arc<str>],
    /// The circumstances.
    pub situation: Situation,
}

/// What was made of the definitions, by blueprint.
pub(crate) struct Workshop {
    made: Vec<RwLock<HashMap<Arc<str>, Arc<Made>>>>,
    /// By blueprint, then permission: what prohibitions leave of a permit without any bound.
    bounds: Vec<Vec<OnceLock<Scope>>>,
}

/// A role of one blueprint.
struct Made {
    role: CustomRole,
    /// By [`Permission`] discriminant; its permits and the blueprint's prohibitions.
    slices: Vec<OnceLock<Result<PolicySet, String>>>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let unknown = || Permission::ALL.iter().map(|_| OnceLock::new()).collect();
        Self {
            made: Blueprint::ALL.iter().map(|_| RwLock::default()).collect(),
            bounds: Blueprint::ALL.iter().map(|_| unknown()).collect(),
        }
    }

    fn made(&self, blueprint: Blueprint, definition: &Arc<str>) -> Result<Arc<Made>, String> {
        let kept = &self.made[blueprint as usize];
        let found = kept.read().unwrap_or_else(PoisonError::into_inner).get(definition).cloned();
        if let Some(made) = found {
            return Ok(made);
        }
        let parsed: RoleDefinition =
            serde_json::from_str(definition).map_err(|error| format!("custom role: {error}"))?;
        let role = CustomRole::parse(&parsed)
            .map_err(|faults| format!("custom role {:?}: {faults:?}", parsed.name))?;
        let slices = Permission::ALL.iter().map(|_| OnceLock::new()).collect();
        let made = Arc::new(Made { role, slices });
        let mut kept = kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(Arc::clone(definition), Arc::clone(&made));
        Ok(made)
    }
}

impl Policies {
    /// What the custom roles say where the blueprint's roles permit nothing. Whichever permits
    /// is enough; a prohibition or a failure denies.
    pub(crate) fn decide_by_custom_roles(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Result<Option<Decision>, String> {
        // All of them first: where one cannot be read, the order of names must not decide.
        let made = |definition| self.workshop.made(blueprint, definition);
        let roles = principal.custom.definitions.iter().map(made);
        for made in roles.collect::<Result<Vec<_>, _>>()? {
            if made.role.grants_of(permission).next().is_none() {
                continue;
            }
            let slice = made.slices[permission as usize]
                .get_or_init(|| self.make_slice(blueprint, &made.role, permission))
                .as_ref()
                .map_err(Clone::clone)?;
            let context = context_of(&made.role, permission, &principal.custom.situation)?;
            let asked = (principal, permission, resource);
            let decision = self.evaluate_on(blueprint, asked, (slice, context))?;
            if decision.allowed() || decision.errored() || !decision.reasons.is_empty() {
                return Ok(Some(decision));
            }
        }
        Ok(None)
    }

    /// On which objects the actor has a permission at this moment: by the blueprint's roles
    /// and by the custom ones whose circumstances are met.
    pub fn scope_of(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
    ) -> Scope {
        let situation = &principal.custom.situation;
        let custom = self.union_of(blueprint, principal, permission, |role| {
            let met = |grant: &&Grant| grant.demands.are_met(situation);
            let grants = role.grants_of(permission).filter(met);
            grants.map(|grant| grant.scope).fold(Scope::NONE, Scope::union)
        });
        self.scope(blueprint, principal.roles, permission).union(custom)
    }

    /// On which objects the actor has a permission whatever the circumstances: what they may
    /// give away. A permission under a condition is nobody's to give.
    pub fn assured_scope(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
    ) -> Scope {
        let custom =
            self.union_of(blueprint, principal, permission, |role| role.assured(permission));
        self.scope(blueprint, principal.roles, permission).union(custom)
    }

    /// What the circumstances, the amount or the account's state lack, of the grant that lacks
    /// least; nothing where no grant would do even so.
    pub(crate) fn unmet_conditions(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Vec<&'static str> {
        let made = |definition| self.workshop.made(blueprint, definition).ok();
        let mut least: Vec<&'static str> = Vec::new();
        for definition in principal.custom.definitions {
            let Some(made) = made(definition) else { continue };
            for grant in made.role.grants_of(permission) {
                let situation = &principal.custom.situation;
                let unmet = grant.demands.unmet(situation, (resource.amount, resource.status));
                let (amount, status) = grant.demands.particulars();
                let object = Resource {
                    amount: amount.or(resource.amount),
                    status: status.or(resource.status),
                    ..*resource
                };
                let definitions = std::slice::from_ref(definition);
                let custom = CustomRoles { definitions, situation: Situation::past() };
                let met = Principal { custom, ..*principal };
                let would_do = self.decide_uncached(blueprint, &met, permission, &object).allowed();
                if would_do && (least.is_empty() || unmet.len() < least.len()) {
                    least = unmet;
                }
            }
        }
        least
    }

    /// Whether a definition cannot be read, so that nothing can be decided by it.
    pub fn custom_roles_fail(&self, blueprint: Blueprint, custom: &CustomRoles<'_>) -> bool {
        let fails = |definition| self.workshop.made(blueprint, definition).is_err();
        custom.definitions.iter().any(fails)
    }

    /// The names of the permissions that somebody has on at least one object at this moment,
    /// sorted.
    pub fn permissions_held(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
    ) -> Vec<&'static str> {
        let held =
            |permission: &&Permission| !self.scope_of(blueprint, principal, **permission).is_none();
        let mut names: Vec<_> =
            Permission::ALL.iter().filter(held).map(|permission| permission.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// What a system role may do, in the words of a custom one.
    pub fn permissions_of_role(&self, blueprint: Blueprint, role: &str) -> Vec<RolePermission> {
        let words = |permission: &Permission| {
            let scope = self.scope(blueprint, &[role], *permission);
            let grant = |suffix: &str, department| RolePermission {
                permission: format!("{permission}{suffix}"),
                conditions: Conditions { department, ..Conditions::default() },
            };
            if scope.is_all() {
                return vec![grant("", false)];
            }
            let parts = [
                (Scope::OWN, ":own", false),
                (Scope::ASSIGNED, ":assigned_companies", false),
                (Scope::ORGANISATION, ":own_org", false),
                (Scope::DEPARTMENT, "", true),
            ];
            let held = parts.into_iter().filter(|(part, ..)| scope.includes(*part));
            held.map(|(_, suffix, department)| grant(suffix, department)).collect()
        };
        Permission::ALL.iter().flat_map(words).collect()
    }

    fn union_of(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        scope: impl Fn(&CustomRole) -> Scope,
    ) -> Scope {
        let made = |definition| self.workshop.made(blueprint, definition);
        let roles = principal.custom.definitions.iter().map(made);
        // As single decisions: where one cannot be read, none of them gives anything.
        let Ok(roles) = roles.collect::<Result<Vec<_>, _>>() else { return Scope::NONE };
        let union = roles.iter().map(|made| scope(&made.role)).fold(Scope::NONE, Scope::union);
        if union.is_none() {
            return union;
        }
        union.intersection(self.bound(blueprint, permission))
    }

    /// What prohibitions leave, read off them by deciding on probe objects.
    fn bound(&self, blueprint: Blueprint, permission: Permission) -> Scope {
        let cell = &self.workshop.bounds[blueprint as usize][permission as usize];
        *cell.get_or_init(|| {
            let Ok(slice) = self.with_prohibitions(
                blueprint,
                permission,
                &[("probe".to_owned(), "permit (principal, action, resource);".to_owned())],
            ) else {
                return Scope::NONE;
            };
            let principal = Principal {
                user_id: uuid::Uuid::nil(),
                roles: &[],
                organization: Some(PROBE_ORGANIZATION),
                department: Some(PROBE_DEPARTMENT),
                custom: CustomRoles::default(),
            };
            let admits = |condition: Scope| {
                let object = probe_resource(permission, condition);
                let asked = (&principal, permission, &object);
                self.evaluate_on(blueprint, asked, (&slice, Context::empty()))
                    .is_ok_and(|decision| decision.allowed())
            };
            if admits(Scope::NONE) {
                return Scope::ALL;
            }
            let conditions = Scope::CONDITIONS.into_iter().map(|(condition, _)| condition);
            conditions.filter(|condition| admits(*condition)).fold(Scope::NONE, Scope::union)
        })
    }

    /// The permits of a role for one permission, validated strictly, with the prohibitions.
    fn make_slice(
        &self,
        blueprint: Blueprint,
        role: &CustomRole,
        permission: Permission,
    ) -> Result<PolicySet, String> {
        let permits: Vec<_> = (role.grants_of(permission).enumerate())
            .map(|(number, grant)| (format!("{}#{number}", role.name()), permit(grant, permission)))
            .collect();
        let slice = self.with_prohibitions(blueprint, permission, &permits)?;
        let outcome = self.validator.validate(&slice, ValidationMode::Strict);
        match outcome.validation_errors().next() {
            None => Ok(slice),
            Some(error) => Err(error.to_string()),
        }
    }

    fn with_prohibitions(
        &self,
        blueprint: Blueprint,
        permission: Permission,
        permits: &[(String, String)],
    ) -> Result<PolicySet, String> {
        let known = self.slice_of(blueprint, permission).policies();
        let forbids = known.filter(|policy| policy.effect() == CedarEffect::Forbid);
        let mut slice =
            PolicySet::from_policies(forbids.cloned()).map_err(|error| error.to_string())?;
        for (id, text) in permits {
            let policy = Policy::from_str(text).map_err(|error| error.to_string())?;
            slice.add(policy.new_id(PolicyId::new(id))).map_err(|error| error.to_string())?;
        }
        Ok(slice)
    }
}

/// The Cedar form of one permission of a grant.
fn permit(grant: &Grant, permission: Permission) -> String {
    let mut conjuncts = Vec::new();
    let same = |fact: &str| {
        format!(
            "principal has {fact} && resource has {fact} && principal.{fact} == resource.{fact}"
        )
    };
    match grant.scope {
        Scope::OWN => conjuncts.push("resource.owned".to_owned()),
        Scope::ASSIGNED => conjuncts.push("resource.assigned".to_owned()),
        Scope::DEPARTMENT => conjuncts.push(same("department")),
        Scope::ORGANISATION => conjuncts.push(same("organization")),
        _ => {}
    }
    conjuncts.extend(grant.demands.to_cedar());
    let condition = if conjuncts.is_empty() {
        String::new()
    } else {
        format!(" when {{ {} }}", conjuncts.join(" && "))
    };
    let action = permission.as_str();
    format!("permit (principal, action == Action::{action:?}, resource){condition};")
}

/// Which of the circumstances that the role's grants ask for are met.
fn context_of(
    role: &CustomRole,
    permission: Permission,
    situation: &Situation,
) -> Result<Context, String> {
    let hours = role.grants_of(permission).filter_map(|grant| grant.demands.hours.as_ref());
    let open_hours = hours
        .filter(|hours| situation.is_within(hours))
        .map(|hours| RestrictedExpression::new_string(hours.to_string()));
    let networks = role.grants_of(permission).flat_map(|grant| grant.demands.networks.iter());
    let networks = networks
        .filter(|network| situation.is_from(network))
        .map(|network| RestrictedExpression::new_string(network.to_string()));
    let mfa_level = RestrictedExpression::new_long(i64::from(situation.mfa_level));
    Context::from_pairs([
        ("mfa_level".to_owned(), mfa_level),
        ("open_hours".to_owned(), RestrictedExpression::new_set(open_hours)),
        ("networks".to_owned(), RestrictedExpression::new_set(networks)),
    ])
    .map_err(|error| error.to_string())
}
