//! Whether a call may run: session, form of its key, policy, in the order of the
//! specification: 401, 400, 403 (on no object at all), 404, 403 (on this one).

use access::Resource;
use tenancy::{Actor, ActorKind};

use crate::{Call, Command, Operations, Refusal, Target};

impl Operations {
    pub(crate) fn authorise<C: Command>(
        &self,
        call: &Call<C>,
        target: &Target,
    ) -> Result<(), Refusal> {
        let actor = &call.context.actor;
        if let Some(verdict) = without_policy::<C>(actor, target) {
            return verdict;
        }
        let (context, permission) = (&call.context, call.command.permission());
        if self.held(context, permission).is_none() {
            return Err(Refusal::denied());
        }
        match target {
            Target::Missing { field } => Err(unseen(*field)),
            Target::Tenant => {
                // What is to be created, or has no owner, is nobody's yet.
                let tenant = Resource::for_permission(permission, None);
                allow_if(self.allows(context, permission, &tenant))
            }
            Target::Object { resource, read_permission, field } => {
                if !self.allows(context, *read_permission, resource) {
                    return Err(unseen(*field));
                }
                allow_if(self.allows(context, permission, resource))
            }
        }
    }
}

/// The system itself is outside policy (and audited); nobody at all may run only
/// what is made for that.
fn without_policy<C: Command>(actor: &Actor, target: &Target) -> Option<Result<(), Refusal>> {
    match actor.kind {
        ActorKind::Anonymous if !C::ANONYMOUS => {
            Some(Err(Refusal::unauthenticated("invalid_token", "A valid access token is needed")))
        }
        _ if C::ANONYMOUS || actor.is_system() => Some(match target {
            Target::Missing { field } => Err(unseen(*field)),
            Target::Tenant | Target::Object { .. } => Ok(()),
        }),
        _ => None,
    }
}

fn unseen(field: Option<&'static str>) -> Refusal {
    field.map_or_else(Refusal::not_found, Refusal::invisible)
}

fn allow_if(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::denied()) }
}
