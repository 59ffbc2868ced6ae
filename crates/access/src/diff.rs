//! What another set of policies would change, found by asking both every question that they
//! could answer differently: a review reads cells, not Cedar.
//!
//! Sound, because what a policy may depend on is closed: roles, the action, three facts, and
//! whether department and organisation are the actor's. Policies that depend on more, on one
//! person, object, department or organisation by name, are refused. Bounded, because only
//! permissions whose policies differ are asked about, only the facts that those policies
//! mention are varied, and roles are combined no further than it can matter.

use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicySet, PrincipalConstraint};
use serde_json::Value;
use uuid::Uuid;

use crate::blueprint::Blueprint;
use crate::custom::CustomRoles;
use crate::decision::{Principal, Resource};
use crate::engine::Policies;
use crate::permission::{Permission, ResourceKind};

const THEIRS: (Uuid, &str) = (Uuid::from_u128(1), "theirs");
const ANOTHER: (Uuid, &str) = (Uuid::from_u128(2), "another");

/// What two sets of policies answer differently about one permission and the holders of
/// some roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What may be done.
    pub permission: Permission,
    /// By whom: by one role, or by several together where fewer do not explain it. None:
    /// whoever has no role at all.
    pub roles: Vec<&'static str>,
    /// The cell before, as [`crate::MatrixRow`] has it; `yes` or `no` about the object where
    /// cells do not tell the difference.
    pub old: String,
    /// The same after.
    pub new: String,
    /// What the first object with another answer is to them: `own, department`.
    pub object: String,
    /// Whether somebody may do something that they could not before.
    pub widens: bool,
    /// Whether somebody may no longer do what they could.
    pub narrows: bool,
}

/// Policies that cannot be compared, because what they say depends on more than is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "policies of {blueprint}: {policy} names {named}; policies may name roles and actions only, or \
     a comparison would not see whom they let in"
)]
pub struct NamesSomething {
    /// Whose policies.
    pub blueprint: Blueprint,
    /// The policy's `@id`.
    pub policy: String,
    /// What it names, as it stands there.
    pub named: String,
}

/// Everything of a blueprint that differs, by permission and roles.
pub fn differences(
    old: &Policies,
    new: &Policies,
    blueprint: Blueprint,
) -> Result<Vec<Difference>, NamesSomething> {
    let mut found = Vec::new();
    for permission in Permission::ALL.iter().copied() {
        let slices = [old, new].map(|policies| policies.slice_of(blueprint, permission));
        for slice in slices {
            slice.policies().try_for_each(|policy| names_nothing(blueprint, policy))?;
        }
        if texts(slices[0]) == texts(slices[1]) {
            continue;
        }
        let comparison = Comparison {
            sides: [old, new],
            blueprint,
            permission,
            questions: Question::all(permission, slices),
        };
        found.extend(comparison.differences(&role_sets(blueprint, slices)));
    }
    Ok(found)
}

/// Whether a policy speaks of roles and actions only, and compares no text.
fn names_nothing(blueprint: Blueprint, policy: &Policy) -> Result<(), NamesSomething> {
    let entity = policy.entity_literals().into_iter().find(|entity| !is_role_or_action(entity));
    let named = entity.map(|entity| entity.to_string()).or_else(|| {
        // A policy that Cedar has parsed it can write; one that it cannot is not compared.
        policy.to_json().map_or_else(|error| Some(error.to_string()), |json| text_in(&json))
    });
    match named {
        None => Ok(()),
        Some(named) => Err(NamesSomething { blueprint, policy: policy.id().to_string(), named }),
    }
}

fn is_role_or_action(entity: &cedar_policy::EntityUid) -> bool {
    matches!(entity.type_name().basename(), "Role" | "Action")
}

/// The first text or pattern in a policy's conditions: some department or organisation.
fn text_in(json: &Value) -> Option<String> {
    match json {
        Value::Array(members) => members.iter().find_map(text_in),
        Value::Object(members) => members.iter().find_map(|(key, value)| match (&**key, value) {
            ("annotations", _) => None,
            ("Value", Value::String(text)) => Some(format!("{text:?}")),
            ("like", _) => Some("a pattern".to_owned()),
            _ => text_in(value),
        }),
        _ => None,
    }
}

fn texts(slice: &PolicySet) -> BTreeSet<String> {
    slice.policies().map(ToString::to_string).collect()
}

/// The sets of roles to be asked about, smaller ones first.
///
/// Where roles stand in scopes only, pairs are enough: whoever gains or loses does so by
/// one permit, and at most one prohibition, of another role, tells them from its role alone.
/// Conditions on roles can ask for any set, and get every set.
fn role_sets(blueprint: Blueprint, slices: [&PolicySet; 2]) -> Vec<Vec<&'static str>> {
    let in_conditions =
        slices.into_iter().flat_map(PolicySet::policies).any(|policy| !roles_in_scope_only(policy));
    let roles = blueprint.roles();
    let largest = if in_conditions { roles.len() } else { 2 };
    let mut sets: Vec<Vec<&'static str>> = (0_usize..1 << roles.len())
        .map(|bits| {
            let held = roles.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
            held.map(|(_, role)| *role).collect()
        })
        .filter(|set: &Vec<_>| set.len() <= largest)
        .collect();
    sets.sort_by_key(Vec::len);
    sets
}

fn roles_in_scope_only(policy: &Policy) -> bool {
    let named = policy.entity_literals();
    let roles = named.iter().filter(|entity| entity.type_name().basename() == "Role");
    match policy.principal_constraint() {
        PrincipalConstraint::In(scope) => roles.into_iter().all(|role| *role == scope),
        _ => roles.count() == 0,
    }
}

/// Whether actor and object have a department or organisation, and the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belonging {
    Neither,
    Actor,
    Object,
    Same,
    Different,
}

impl Belonging {
    const ALL: [Self; 5] = [Self::Neither, Self::Actor, Self::Object, Self::Same, Self::Different];

    const fn of_actor<T: Copy>(self, theirs: T) -> Option<T> {
        match self {
            Self::Neither | Self::Object => None,
            Self::Actor | Self::Same | Self::Different => Some(theirs),
        }
    }

    const fn of_object<T: Copy>(self, theirs: T, another: T) -> Option<T> {
        match self {
            Self::Neither | Self::Actor => None,
            Self::Object | Self::Same => Some(theirs),
            Self::Different => Some(another),
        }
    }
}

/// What an object is to somebody, down to the last fact that a policy can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    kind: ResourceKind,
    owned: bool,
    held: bool,
    assigned: bool,
    organization: Belonging,
    department: Belonging,
}

impl Question {
    /// Every combination of the facts that the policies mention; of the others none holds.
    fn all(permission: Permission, slices: [&PolicySet; 2]) -> Vec<Self> {
        let text: String = slices.into_iter().flat_map(texts).collect();
        let flag = |name: &str| if text.contains(name) { &[false, true][..] } else { &[false] };
        let belonging = |name: &str| {
            if text.contains(name) { &Belonging::ALL[..] } else { &Belonging::ALL[..1] }
        };
        let mut all = Vec::new();
        let kinds = ResourceKind::ALL.iter().filter(|kind| permission.acts_on(**kind));
        for kind in kinds.copied() {
            for organization in belonging("organization").iter().copied() {
                for department in belonging("department").iter().copied() {
                    for assigned in flag("assigned").iter().copied() {
                        for held in flag("held").iter().copied() {
                            all.extend(flag("owned").iter().map(|owned| Self {
                                kind,
                                owned: *owned,
                                held,
                                assigned,
                                organization,
                                department,
                            }));
                        }
                    }
                }
            }
        }
        all
    }

    fn words(self) -> String {
        let belongs = |belonging, name: &'static str, other: &'static str| match belonging {
            Belonging::Same => Some(name),
            Belonging::Object | Belonging::Different => Some(other),
            Belonging::Neither | Belonging::Actor => None,
        };
        let facts = [
            self.owned.then_some("own"),
            self.held.then_some("held"),
            self.assigned.then_some("assigned"),
            belongs(self.department, "department", "another department"),
            belongs(self.organization, "organisation", "another organisation"),
        ];
        let words: Vec<_> = facts.into_iter().flatten().collect();
        if words.is_empty() { "unrelated".to_owned() } else { words.join(", ") }
    }
}

/// An answer that changed: which question, and whether it is a yes now.
type Changed = (usize, bool);

struct Comparison<'a> {
    sides: [&'a Policies; 2],
    blueprint: Blueprint,
    permission: Permission,
    questions: Vec<Question>,
}

impl Comparison<'_> {
    fn differences(&self, role_sets: &[Vec<&'static str>]) -> Vec<Difference> {
        let mut told: Vec<(&[&'static str], Vec<Changed>)> = Vec::new();
        let mut found = Vec::new();
        for roles in role_sets {
            let mut changed = self.changed(roles);
            // What fewer of the roles explain is not told again.
            changed.retain(|change| {
                !told.iter().any(|(fewer, known)| {
                    fewer.iter().all(|role| roles.contains(role)) && known.contains(change)
                })
            });
            if let Some((question, _)) = changed.first() {
                found.push(self.difference(roles, self.questions[*question], &changed));
                told.push((roles, changed));
            }
        }
        found
    }

    fn changed(&self, roles: &[&'static str]) -> Vec<Changed> {
        let ask = |(number, question): (usize, &Question)| {
            let [before, after] = self.sides.map(|side| self.allows(side, roles, *question));
            (before != after).then_some((number, after))
        };
        self.questions.iter().enumerate().filter_map(ask).collect()
    }

    fn allows(&self, policies: &Policies, roles: &[&str], question: Question) -> bool {
        let roles: Vec<_> = roles.iter().map(|role| (*role).to_owned()).collect();
        let principal = Principal {
            user_id: Uuid::nil(),
            roles: &roles,
            organization: question.organization.of_actor(THEIRS.0),
            department: question.department.of_actor(THEIRS.1),
            custom: CustomRoles::default(),
        };
        let object = Resource::new(question.kind, None)
            .owned(question.owned)
            .held(question.held)
            .assigned(question.assigned)
            .organization(question.organization.of_object(THEIRS.0, ANOTHER.0))
            .department(question.department.of_object(THEIRS.1, ANOTHER.1));
        policies.decide(self.blueprint, &principal, self.permission, &object).allowed()
    }

    fn difference(
        &self,
        roles: &[&'static str],
        first: Question,
        changed: &[Changed],
    ) -> Difference {
        let position = |role| self.blueprint.roles().iter().position(|known| *known == role);
        let cells = match roles {
            [role] => position(*role).map(|role| {
                self.sides.map(|side| side.cell(self.blueprint, role, self.permission))
            }),
            _ => None,
        };
        let plain = || {
            self.sides
                .map(|side| if self.allows(side, roles, first) { "yes" } else { "no" }.to_owned())
        };
        let [old, new] = cells.filter(|[old, new]| old != new).unwrap_or_else(plain);
        Difference {
            permission: self.permission,
            roles: roles.to_vec(),
            old,
            new,
            object: first.words(),
            widens: changed.iter().any(|(_, is_yes)| *is_yes),
            narrows: changed.iter().any(|(_, is_yes)| !is_yes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::differences;
    use crate::tests::POLICIES;
    use crate::{Blueprint, Policies};

    const READ: &str = r#"@id("read") permit (
        principal in Role::"customer", action == Action::"account:read", resource
    ) when { resource.owned };"#;
    const READ_ALL: &str = r#"@id("read") permit (
        principal in Role::"customer", action == Action::"account:read", resource
    );"#;
    const READ_UNHELD: &str = r#"@id("read") permit (
        principal in Role::"customer", action == Action::"account:read", resource
    );
    @id("not-held") forbid (principal, action == Action::"account:read", resource)
    when { resource.held };"#;

    fn policies(text: &str) -> Policies {
        let of = |blueprint| if blueprint == Blueprint::CoreBank { text } else { "" };
        Policies::from_texts(|blueprint| vec![of(blueprint).to_owned().into()]).unwrap()
    }

    #[test]
    fn a_cell_says_what_it_gains_and_what_it_loses() {
        let table = [
            (READ, READ_ALL, Some(("own", "yes", true, false))),
            (READ_ALL, READ, Some(("yes", "own", false, true))),
            (READ_ALL, READ_UNHELD, Some(("yes", "yes !held", false, true))),
            // An own account that is held goes, one that is somebody else's comes.
            (READ, READ_UNHELD, Some(("own", "yes !held", true, true))),
            (READ, READ, None),
        ];
        for (old, new, expected) in table {
            let found = differences(&policies(old), &policies(new), Blueprint::CoreBank).unwrap();
            let told = found.first().map(|one| {
                assert_eq!(
                    (one.permission.as_str(), &*one.roles),
                    ("account:read", &["customer"][..])
                );
                (one.old.as_str(), one.new.as_str(), one.widens, one.narrows)
            });
            assert_eq!((found.len() <= 1, told), (true, expected), "{old} → {new}");
        }
    }

    #[test]
    fn what_is_the_same_differs_nowhere() {
        for blueprint in Blueprint::ALL {
            assert_eq!(differences(&POLICIES, &POLICIES, blueprint), Ok(vec![]));
        }
    }

    /// Each lets somebody in whom no role on its own, no single relation shows.
    #[test]
    fn what_hides_behind_several_conditions_is_found() {
        let permit = |scope: &str, condition: &str| {
            format!(
                "{READ}\n@id(\"more\") permit (principal{scope}, action == Action::\"account:read\", \
                 resource) when {{ {condition} }};"
            )
        };
        let officer = " in Role::\"officer\"";
        let both = "principal in Role::\"officer\" && principal in Role::\"auditor\"";
        let three = format!("{both} && principal in Role::\"manager\"");
        let neither = "!(principal in Role::\"customer\") && !(principal in Role::\"officer\")";
        let department = "principal has department && resource has department && \
            principal.department == resource.department";
        // policy, by whom, of what
        let table = [
            (permit(officer, "resource.owned && resource.held"), vec!["officer"], "own, held"),
            (
                permit(officer, "resource.assigned && resource.owned && resource.held"),
                vec!["officer"],
                "own, held, assigned",
            ),
            (
                permit(officer, &format!("resource.held && {department}")),
                vec!["officer"],
                "held, department",
            ),
            (
                permit(officer, "resource has department && !(principal has department)"),
                vec!["officer"],
                "another department",
            ),
            (permit("", both), vec!["officer", "auditor"], "unrelated"),
            (permit("", &three), vec!["manager", "officer", "auditor"], "unrelated"),
            (permit("", neither), vec![], "unrelated"),
        ];
        for (text, roles, object) in table {
            let found =
                differences(&policies(READ), &policies(&text), Blueprint::CoreBank).unwrap();
            let told: Vec<_> = found.iter().map(|one| (&one.roles, one.object.as_str())).collect();
            assert!(told.contains(&(&roles, object)), "{text}: {told:?}");
            assert!(found.iter().all(|one| one.widens && !one.narrows), "{text}: {found:?}");
        }
    }

    /// A prohibition that goes shows only in who holds its role beside the permitted one.
    #[test]
    fn a_prohibition_of_another_role_is_found_by_pairs() {
        let forbidding = format!(
            "{READ_ALL}\n@id(\"not-auditors\") forbid (principal in Role::\"auditor\", action == \
             Action::\"account:read\", resource);"
        );
        let found =
            differences(&policies(&forbidding), &policies(READ_ALL), Blueprint::CoreBank).unwrap();
        let told: Vec<_> = found.iter().map(|one| (&*one.roles, &*one.old, &*one.new)).collect();
        assert_eq!(told, [(&["auditor", "customer"][..], "no", "yes")]);
        assert!(found[0].widens);
    }

    #[test]
    fn policies_that_name_somebody_are_refused() {
        let table = [
            ("resource == Account::\"a\"", "Account::\"a\""),
            ("principal == Person::\"p\"", "Person::\"p\""),
            ("resource has department && [\"loans\"].contains(resource.department)", "\"loans\""),
            ("resource has department && resource.department == \"loans\"", "\"loans\""),
            ("resource has department && resource.department like \"l*\"", "a pattern"),
        ];
        for (condition, named) in table {
            let text = format!(
                "@id(\"naming\") permit (principal, action == Action::\"account:read\", resource) \
                 when {{ {condition} }};"
            );
            // In the policies that are there as well as in those that come.
            for (old, new) in [(READ, &*text), (&*text, READ), (&*text, &*text)] {
                let refused = differences(&policies(old), &policies(new), Blueprint::CoreBank);
                let refused = refused.unwrap_err();
                assert_eq!((&*refused.policy, &*refused.named), ("naming", named), "{condition}");
            }
        }
    }
}
