//! What another set of policies would change, found by asking both about every kind of
//! object there is: a review reads cells, not Cedar.

use crate::blueprint::Blueprint;
use crate::engine::{Policies, probe_resource};
use crate::permission::Permission;
use crate::scope::Scope;

/// A cell of the matrix that two sets of policies fill differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What may be done.
    pub permission: Permission,
    /// By whom.
    pub role: &'static str,
    /// The cell before, as [`crate::MatrixRow`] has it.
    pub old: String,
    /// The cell after.
    pub new: String,
    /// Whether somebody may do something that they could not before.
    pub widens: bool,
    /// Whether somebody may no longer do what they could.
    pub narrows: bool,
}

/// Every cell of a blueprint that differs, by permission and role.
pub fn differences(old: &Policies, new: &Policies, blueprint: Blueprint) -> Vec<Difference> {
    let mut found = Vec::new();
    for permission in Permission::ALL.iter().copied() {
        for (role, name) in blueprint.roles().iter().copied().enumerate() {
            let [before, after] =
                [old, new].map(|policies| policies.answers(blueprint, role, permission));
            if before == after {
                continue;
            }
            let gained = |(before, after): (&bool, &bool)| !before && *after;
            found.push(Difference {
                permission,
                role: name,
                old: old.cell(blueprint, role, permission),
                new: new.cell(blueprint, role, permission),
                widens: before.iter().zip(&after).any(gained),
                narrows: after.iter().zip(&before).any(gained),
            });
        }
    }
    found
}

impl Policies {
    /// Whether a role alone may do something, for each combination of the facts there are
    /// about an object.
    fn answers(&self, blueprint: Blueprint, role: usize, permission: Permission) -> Vec<bool> {
        let unrelated = std::iter::once(Scope::NONE);
        let conditions = Scope::CONDITIONS.into_iter().map(|(condition, _)| condition);
        let mut answers = Vec::new();
        for condition in unrelated.chain(conditions) {
            let object = probe_resource(permission, condition);
            for object in
                [object, object.owned(true), object.held(true), object.owned(true).held(true)]
            {
                answers.push(self.probe(blueprint, role, permission, &object).allowed());
            }
        }
        answers
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

    fn policies(text: &'static str) -> Policies {
        let of = |blueprint| if blueprint == Blueprint::CoreBank { text } else { "" };
        Policies::from_texts(|blueprint| vec![of(blueprint).into()]).unwrap()
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
            let found = differences(&policies(old), &policies(new), Blueprint::CoreBank);
            let told = found.first().map(|one| {
                assert_eq!((one.permission.as_str(), one.role), ("account:read", "customer"));
                (one.old.as_str(), one.new.as_str(), one.widens, one.narrows)
            });
            assert_eq!((found.len() <= 1, told), (true, expected), "{old} → {new}");
        }
    }

    #[test]
    fn what_is_the_same_differs_nowhere() {
        for blueprint in Blueprint::ALL {
            assert_eq!(differences(&POLICIES, &POLICIES, blueprint), []);
        }
    }
}
