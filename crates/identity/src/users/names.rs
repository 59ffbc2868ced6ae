//! User names beside ids, for pages that say who did something.

use access::{Permission, Scope};
use operation::{Found, OperationError, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{model::username_key, read::Reach};
use crate::Identity;

const NAMES: &str = tenancy::sql!("identity/users.sql", "names");

/// Ids and user names asked for at once.
const WANTED_MAX: usize = 200;

struct UserNames {
    ids: Vec<Uuid>,
    keys: Vec<String>,
}

impl View for UserNames {
    const NAME: &'static str = "user.names";
    const RESOURCE: &'static str = "user";
    type Output = Vec<(Uuid, String)>;

    fn permission(&self) -> Permission {
        Permission::UserRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let (tenant, reach) = (context.tenant_id(), Reach::of(context, scope));
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&tenant, &reach.all, &reach.own, &self.ids, &self.keys, &reach.organization];
        let answers = database.read(context, &[Query::new(NAMES, &parameters)]).await?;
        let value: Vec<_> = answers
            .iter()
            .flatten()
            .map(|row| Ok((row.try_get("id")?, row.try_get("username")?)))
            .collect::<Result<_, DbError>>()?;
        let count = value.len();
        Ok(Found::List { value, count })
    }
}

impl Identity {
    /// Ids and user names of those among them that the actor may see, at most 200 of each.
    pub async fn user_names(
        &self,
        context: &OpContext,
        ids: &[Uuid],
        usernames: &[&str],
    ) -> Result<Vec<(Uuid, String)>, OperationError> {
        let view = UserNames {
            ids: ids.iter().copied().take(WANTED_MAX).collect(),
            keys: usernames.iter().map(|name| username_key(name)).take(WANTED_MAX).collect(),
        };
        self.inner.operations.read(context, &view).await
    }
}
