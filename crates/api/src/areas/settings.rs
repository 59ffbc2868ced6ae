//! The tenant's settings. Changing them comes with approvals.

use access::{Permission, Resource, Scope};
use axum::extract::State;
use identity::Identity;
use operation::{Found, View, read::ViewFailure};
use tenancy::{Database, OpContext, policy::SecurityPolicy};

use super::{Answer, ok};
use crate::{extract::Caller, state::ApiState, wire::settings::Settings};

pub(crate) async fn read(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let view = ReadSettings(state.identity.clone());
    let policy = state.operations.read(&context, &view).await?;
    ok(Settings::of(&context.tenant, &policy))
}

struct ReadSettings(Identity);

impl View for ReadSettings {
    const NAME: &'static str = "settings.read";
    const RESOURCE: &'static str = "settings";
    type Output = SecurityPolicy;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        _: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let value = self.0.policy(context).await?;
        Ok(Found::Object { value, resource: Resource::for_permission(self.permission(), None) })
    }
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use crate::{openapi_parts::Doc, wire::settings::Settings};

    pub(crate) fn read() -> Doc {
        Doc::new("readSettings", "settings", "The tenant's settings and security policy")
            .answers::<Settings>(200, "The settings.")
    }
}
