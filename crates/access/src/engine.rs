//! The decision itself: Cedar over the embedded policies.
//!
//! Everything that a question does not change (schema, policy slices, names of actions,
//! roles and kinds) is built at load; a question builds two entities and evaluates the few
//! policies that name its action. A decision is kept only by inputs that make it final: one
//! role, and facts that are all yes or no (see [`Plain`]). Scopes are kept, for they follow
//! from the policies alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, Request, Response, RestrictedExpression, Validator,
};
use uuid::Uuid;

use crate::blueprint::Blueprint;
use crate::custom::{CustomRoles, Workshop};
use crate::decision::{Decision, Effect, Principal, Resource};
use crate::load::{self, PolicyError};
use crate::permission::{Permission, ResourceKind};
use crate::scope::Scope;

pub(crate) const PROBE_ORGANIZATION: Uuid = Uuid::from_u128(1);
pub(crate) const PROBE_DEPARTMENT: &str = "probe";

/// The policies of every blueprint, ready to decide. Built once, shared by reference.
pub struct Policies {
    authorizer: Authorizer,
    person: EntityTypeName,
    /// By [`Permission`] discriminant.
    actions: Vec<EntityUid>,
    /// By [`ResourceKind`] discriminant.
    kinds: Vec<EntityTypeName>,
    /// By [`Blueprint`] discriminant.
    blueprints: Vec<BlueprintPolicies>,
    /// What tenants define for themselves.
    pub(crate) workshop: Workshop,
    pub(crate) validator: Validator,
}

struct BlueprintPolicies {
    /// By position in [`Blueprint::roles`].
    roles: Vec<EntityUid>,
    /// By [`Permission`] discriminant: every policy that names the action.
    slices: Vec<PolicySet>,
    /// By role, then permission: the same without what only other roles can meet. Most
    /// actors have one role, and then this is all there is to evaluate.
    role_slices: Vec<Vec<PolicySet>>,
    /// By role, then permission; filled at the first question.
    scopes: Vec<Vec<OnceLock<Probed>>>,
    /// By role, then permission, then [`Plain::facts`]; filled at the first question.
    /// None where a policy names a person or an object, so that ids would matter.
    plain: Vec<Vec<Option<[OnceLock<Decision>; PLAIN_FACTS]>>>,
}

/// What asking about made-up objects gave.
#[derive(Clone, Copy)]
struct Probed {
    scope: Scope,
    /// Whether a policy failed to evaluate meanwhile, which narrows the scope.
    errored: bool,
}

/// Combinations of the facts `owned`, `held` and `assigned`.
const PLAIN_FACTS: usize = 8;

/// A question whose answer depends on the policies alone: asked by the holder of one role
/// who belongs to no organisation and no department, of an object that belongs to none.
struct Plain {
    role: usize,
    facts: usize,
}

impl Plain {
    fn of(
        blueprint: Blueprint,
        principal: &Principal<'_>,
        resource: &Resource<'_>,
    ) -> Option<Self> {
        let belongs = principal.organization.is_some()
            || principal.department.is_some()
            || resource.organization.is_some()
            || resource.department.is_some();
        let mut roles = principal.roles.iter().filter_map(|role| role_position(blueprint, role));
        match (belongs, roles.next(), roles.next()) {
            (false, Some(role), None) => {
                let bits = [resource.owned, resource.held, resource.assigned].map(usize::from);
                Some(Self { role, facts: bits[0] | bits[1] << 1 | bits[2] << 2 })
            }
            _ => None,
        }
    }
}

impl Policies {
    /// Parses the embedded policies of all blueprints and validates them strictly against
    /// the schema. Takes a fraction of a second: once for a process.
    pub fn load() -> Result<Self, PolicyError> {
        Self::from_texts(|blueprint| {
            load::files(blueprint).iter().map(|file| Cow::Borrowed(file.text)).collect()
        })
    }

    /// The files of this binary's policies, by name.
    pub fn texts() -> BTreeMap<&'static str, &'static str> {
        let files = Blueprint::ALL.into_iter().flat_map(load::files);
        files.map(|file| (file.name, file.text)).collect()
    }

    /// The names of the files that make up a blueprint's policies, in their order.
    pub fn file_names(blueprint: Blueprint) -> impl Iterator<Item = &'static str> {
        load::files(blueprint).iter().map(|file| file.name)
    }

    /// As [`Policies::load`], from other policy texts than the embedded: of the files of
    /// each blueprint.
    pub fn from_texts(
        texts: impl Fn(Blueprint) -> Vec<Cow<'static, str>>,
    ) -> Result<Self, PolicyError> {
        let validator = Validator::new(load::schema()?);
        let action = type_name("Action")?;
        let actions: Vec<_> =
            Permission::ALL.iter().map(|permission| uid(&action, permission.as_str())).collect();
        let role = type_name("Role")?;
        let blueprints = Blueprint::ALL
            .into_iter()
            .map(|blueprint| {
                let policies = load::policies(blueprint, &texts(blueprint), &validator)?;
                let slices = load::slice_by_action(blueprint, &policies, &actions)?;
                BlueprintPolicies::new(blueprint, &role, slices)
            })
            .collect::<Result<_, PolicyError>>()?;
        let kinds = ResourceKind::ALL
            .iter()
            .map(|kind| type_name(kind.as_str()))
            .collect::<Result<_, _>>()?;
        let person = type_name("Person")?;
        Ok(Self {
            authorizer: Authorizer::new(),
            person,
            actions,
            kinds,
            blueprints,
            workshop: Workshop::new(),
            validator,
        })
    }

    /// Whether `principal` may do `permission` to `resource` in a tenant of `blueprint`.
    ///
    /// Denies, with [`Decision::errored`], when any policy fails to evaluate or the resource
    /// is not of the permission's kind. No I/O; microseconds, or less where the same plain
    /// question was asked before.
    pub fn decide(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Decision {
        let decision = self.decide_by_blueprint(blueprint, principal, permission, resource);
        self.or_by_custom_roles(decision, (blueprint, principal, permission, resource))
    }

    /// By the blueprint's roles alone, kept where that is final.
    fn decide_by_blueprint(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Decision {
        let afresh = || self.decide_afresh(blueprint, principal, permission, resource);
        if !permission.acts_on(resource.kind) {
            return afresh();
        }
        let kept = Plain::of(blueprint, principal, resource).and_then(|plain| {
            let answers = &self.blueprints[blueprint as usize].plain[plain.role];
            answers[permission as usize].as_ref().map(|answers| &answers[plain.facts])
        });
        let Some(answer) = kept else { return afresh() };
        if let Some(decision) = answer.get() {
            return decision.clone();
        }
        let decision = afresh();
        // An error is said, and alerts, every time.
        if !decision.errored() {
            let _ = answer.set(decision.clone());
        }
        decision
    }

    /// As [`Policies::decide`], and nothing is kept.
    pub fn decide_uncached(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Decision {
        let decision = self.decide_afresh(blueprint, principal, permission, resource);
        self.or_by_custom_roles(decision, (blueprint, principal, permission, resource))
    }

    fn decide_afresh(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Decision {
        let decision = self
            .evaluate(blueprint, principal, permission, resource)
            .unwrap_or_else(|message| Decision::failed(vec![message]));
        told(decision, blueprint, permission)
    }

    /// A custom role helps where the blueprint's permit nothing and prohibit nothing.
    fn or_by_custom_roles(
        &self,
        decision: Decision,
        (blueprint, principal, permission, resource): (
            Blueprint,
            &Principal<'_>,
            Permission,
            &Resource<'_>,
        ),
    ) -> Decision {
        let is_final = decision.allowed() || decision.errored() || !decision.reasons.is_empty();
        if is_final || principal.custom.definitions.is_empty() {
            return decision;
        }
        match self.decide_by_custom_roles(blueprint, principal, permission, resource) {
            Ok(found) => told(found.unwrap_or(decision), blueprint, permission),
            Err(message) => told(Decision::failed(vec![message]), blueprint, permission),
        }
    }

    /// On which objects the holder of `roles` has `permission`: the union over the roles.
    ///
    /// Prohibitions that depend on the object (the teller rule) are not part of it: the
    /// scope bounds what [`Policies::decide`] allows, and equals it where no `forbid` bears
    /// on the permission, as for every read.
    pub fn scope<R: AsRef<str>>(
        &self,
        blueprint: Blueprint,
        roles: &[R],
        permission: Permission,
    ) -> Scope {
        roles
            .iter()
            .filter_map(|role| role_position(blueprint, role.as_ref()))
            .map(|role| self.scope_of_role(blueprint, role, permission).scope)
            .fold(Scope::NONE, Scope::union)
    }

    /// Whether a policy failed to evaluate where [`Policies::scope`] was found, so that the
    /// scope may be narrower than meant.
    pub fn scope_errored<R: AsRef<str>>(
        &self,
        blueprint: Blueprint,
        roles: &[R],
        permission: Permission,
    ) -> bool {
        roles
            .iter()
            .filter_map(|role| role_position(blueprint, role.as_ref()))
            .any(|role| self.scope_of_role(blueprint, role, permission).errored)
    }

    /// The names of the permissions held on at least one object, sorted; what
    /// `GET /v1/auth/me` and a token's `scope` list.
    pub fn permissions_of<R: AsRef<str>>(
        &self,
        blueprint: Blueprint,
        roles: &[R],
    ) -> Vec<&'static str> {
        let mut names: Vec<_> = Permission::ALL
            .iter()
            .filter(|permission| !self.scope(blueprint, roles, **permission).is_none())
            .map(|permission| permission.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    fn scope_of_role(&self, blueprint: Blueprint, role: usize, permission: Permission) -> Probed {
        let cell = &self.blueprints[blueprint as usize].scopes[role][permission as usize];
        *cell.get_or_init(|| {
            let unrelated = Resource::for_permission(permission, None);
            let whole = self.probe(blueprint, role, permission, &unrelated);
            if whole.allowed() {
                return Probed { scope: Scope::ALL, errored: false };
            }
            let mut probed = Probed { scope: Scope::NONE, errored: whole.errored() };
            for (condition, _) in Scope::CONDITIONS {
                let related = probe_resource(permission, condition);
                let decision = self.probe(blueprint, role, permission, &related);
                probed.errored |= decision.errored();
                if decision.allowed() {
                    probed.scope = probed.scope.union(condition);
                }
            }
            probed
        })
    }

    /// The policies that bear on a permission.
    pub(crate) fn slice_of(&self, blueprint: Blueprint, permission: Permission) -> &PolicySet {
        &self.blueprints[blueprint as usize].slices[permission as usize]
    }

    /// What the role alone may do to a made-up object.
    pub(crate) fn probe(
        &self,
        blueprint: Blueprint,
        role: usize,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Decision {
        let roles = [blueprint.roles()[role].to_owned()];
        let principal = Principal {
            user_id: Uuid::nil(),
            roles: &roles,
            organization: Some(PROBE_ORGANIZATION),
            department: Some(PROBE_DEPARTMENT),
            custom: CustomRoles::default(),
        };
        self.decide(blueprint, &principal, permission, resource)
    }

    fn evaluate(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Result<Decision, String> {
        if !permission.acts_on(resource.kind) {
            return Err(format!("{permission} does not act on {}", resource.kind.as_str()));
        }
        let slice =
            self.blueprints[blueprint as usize].slice(blueprint, principal.roles, permission);
        // Without what only custom roles ask for: the answer is kept for every amount.
        let plain = Resource { amount: None, status: None, ..*resource };
        let asked = (principal, permission, &plain);
        self.evaluate_on(blueprint, asked, (slice, Context::empty()))
    }

    /// What some policies say of a question under some circumstances.
    pub(crate) fn evaluate_on(
        &self,
        blueprint: Blueprint,
        (principal, permission, resource): (&Principal<'_>, Permission, &Resource<'_>),
        (slice, context): (&PolicySet, Context),
    ) -> Result<Decision, String> {
        let policies = &self.blueprints[blueprint as usize];
        let person = self.person_entity(blueprint, policies, principal)?;
        let object = self.object_entity(resource)?;
        let request = Request::new(
            person.uid(),
            self.actions[permission as usize].clone(),
            object.uid(),
            context,
            None,
        )
        .map_err(|error| error.to_string())?;
        let entities =
            Entities::from_entities([person, object], None).map_err(|error| error.to_string())?;
        Ok(decision_of(&self.authorizer.is_authorized(&request, slice, &entities)))
    }

    fn person_entity(
        &self,
        blueprint: Blueprint,
        policies: &BlueprintPolicies,
        principal: &Principal<'_>,
    ) -> Result<Entity, String> {
        let roles: HashSet<_> = principal
            .roles
            .iter()
            .filter_map(|role| role_position(blueprint, role))
            .map(|role| policies.roles[role].clone())
            .collect();
        let attributes = membership(principal.organization, principal.department).collect();
        let id = uuid_uid(&self.person, principal.user_id);
        Entity::new(id, attributes, roles).map_err(|error| error.to_string())
    }

    fn object_entity(&self, resource: &Resource<'_>) -> Result<Entity, String> {
        let flags =
            [("owned", resource.owned), ("held", resource.held), ("assigned", resource.assigned)];
        let attributes: HashMap<_, _> = flags
            .into_iter()
            .map(|(name, value)| (name.to_owned(), RestrictedExpression::new_bool(value)))
            .chain(membership(resource.organization, resource.department))
            .chain(particulars(resource))
            .collect();
        let kind = &self.kinds[resource.kind as usize];
        let id = uuid_uid(kind, resource.id.unwrap_or_default());
        Entity::new(id, attributes, HashSet::new()).map_err(|error| error.to_string())
    }
}

impl BlueprintPolicies {
    fn new(
        blueprint: Blueprint,
        role: &EntityTypeName,
        slices: Vec<PolicySet>,
    ) -> Result<Self, PolicyError> {
        let names = blueprint.roles();
        let roles: Vec<_> = names.iter().map(|name| uid(role, name)).collect();
        let role_slices = roles
            .iter()
            .map(|role| load::slices_of_role(blueprint, &slices, role))
            .collect::<Result<Vec<_>, _>>()?;
        let unknown = || Permission::ALL.iter().map(|_| OnceLock::new()).collect();
        let scopes = names.iter().map(|_| unknown()).collect();
        let plain = (role_slices.iter())
            .map(|slices: &Vec<PolicySet>| {
                let kept = slices.iter().map(|slice| names_nobody(slice).then(Default::default));
                kept.collect()
            })
            .collect();
        Ok(Self { roles, slices, role_slices, scopes, plain })
    }

    /// The fewest policies that can bear on holders of these roles.
    fn slice(&self, blueprint: Blueprint, roles: &[String], permission: Permission) -> &PolicySet {
        let mut known = roles.iter().filter_map(|role| role_position(blueprint, role));
        match (known.next(), known.next()) {
            (Some(role), None) => &self.role_slices[role][permission as usize],
            _ => &self.slices[permission as usize],
        }
    }
}

/// An object of the permission's kind that fulfils exactly `condition` for the probing role.
pub(crate) fn probe_resource(permission: Permission, condition: Scope) -> Resource<'static> {
    let unrelated = Resource::for_permission(permission, None);
    match condition {
        Scope::OWN => unrelated.owned(true),
        Scope::ASSIGNED => unrelated.assigned(true),
        Scope::DEPARTMENT => unrelated.department(Some(PROBE_DEPARTMENT)),
        Scope::ORGANISATION => unrelated.organization(Some(PROBE_ORGANIZATION)),
        _ => unrelated,
    }
}

/// Whether the policies speak of roles and actions only, never of one person or object.
fn names_nobody(policies: &PolicySet) -> bool {
    policies
        .policies()
        .flat_map(cedar_policy::Policy::entity_literals)
        .all(|named| matches!(named.type_name().basename(), "Role" | "Action"))
}

fn role_position(blueprint: Blueprint, role: &str) -> Option<usize> {
    blueprint.roles().iter().position(|name| *name == role)
}

fn membership(
    organization: Option<Uuid>,
    department: Option<&str>,
) -> impl Iterator<Item = (String, RestrictedExpression)> {
    let organization = organization.map(|id| ("organization", id.to_string()));
    let department = department.map(|name| ("department", name.to_owned()));
    organization
        .into_iter()
        .chain(department)
        .map(|(name, value)| (name.to_owned(), RestrictedExpression::new_string(value)))
}

/// What only the conditions of custom roles ask for.
fn particulars(
    resource: &Resource<'_>,
) -> impl Iterator<Item = (String, RestrictedExpression)> + use<> {
    let text = |name: &str, value: &str| {
        (name.to_owned(), RestrictedExpression::new_string(value.to_owned()))
    };
    let amount = resource.amount.map(|(minor, currency)| {
        [("amount".to_owned(), RestrictedExpression::new_long(minor)), text("currency", currency)]
    });
    let status = resource.status.map(|status| text("status", status));
    amount.into_iter().flatten().chain(status)
}

/// A failure is said, and alerts, every time.
fn told(decision: Decision, blueprint: Blueprint, permission: Permission) -> Decision {
    if decision.errored() {
        tracing::error!(
            %blueprint,
            %permission,
            errors = ?decision.errors,
            "access decision failed and was denied"
        );
    }
    decision
}

/// Cedar's own answer, except that an error denies: Cedar leaves out the policy that
/// failed, which turns a broken `forbid` into an allow.
fn decision_of(response: &Response) -> Decision {
    let diagnostics = response.diagnostics();
    let errors: Vec<_> = diagnostics.errors().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return Decision::failed(errors);
    }
    let mut reasons: Vec<_> = diagnostics.reason().map(ToString::to_string).collect();
    reasons.sort_unstable();
    let effect = match response.decision() {
        CedarDecision::Allow => Effect::Allow,
        CedarDecision::Deny => Effect::Deny,
    };
    Decision { effect, reasons, errors }
}

fn type_name(name: &str) -> Result<EntityTypeName, PolicyError> {
    name.parse().map_err(|error: cedar_policy::ParseErrors| PolicyError::Name {
        name: name.to_owned(),
        message: error.to_string(),
    })
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn uuid_uid(kind: &EntityTypeName, id: Uuid) -> EntityUid {
    uid(kind, id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}
