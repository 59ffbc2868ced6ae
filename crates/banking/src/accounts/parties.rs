//! Who has a part in which account, read from either side.

use access::{Permission, Scope};
use operation::{Found, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{ACCOUNT, Account, Party, PartyRole, resource_of};

const PARTIES_OF_ACCOUNT: &str = tenancy::sql!("banking/parties.sql", "parties_of_account");
const ACCOUNTS_OF_PARTY: &str = tenancy::sql!("banking/parties.sql", "accounts_of_party");

/// The most accounts that [`PartyAccounts`] answers.
pub const PARTY_ACCOUNTS_MAX: i64 = 100;

/// The parties to one account, the owner first.
#[derive(Clone, Copy, Debug)]
pub struct AccountParties {
    /// Which account.
    pub account_id: Uuid,
}

/// The accounts that a customer has a part in, the newest first, at most
/// [`PARTY_ACCOUNTS_MAX`]; of those, the ones that the actor may see.
#[derive(Clone, Copy, Debug)]
pub struct PartyAccounts {
    /// Which customer.
    pub customer_id: Uuid,
}

impl View for AccountParties {
    const NAME: &'static str = "account.parties";
    const RESOURCE: &'static str = "account";
    type Output = Vec<Party>;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.account_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Vec<Party>>, ViewFailure> {
        let tenant = context.tenant_id();
        let party = (!scope.is_all()).then_some(context.actor.id);
        let account: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &context.actor.id];
        let parties: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &party];
        let queries = [Query::new(ACCOUNT, &account), Query::new(PARTIES_OF_ACCOUNT, &parties)];
        let answers = database.read(context, &queries).await?;
        let [account, rows] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(account) = account.first() else { return Ok(Found::Missing) };
        let resource = resource_of(account, Permission::AccountRead, self.account_id)?;
        let mut value = Vec::with_capacity(rows.len());
        for row in rows {
            let customer_id = row.try_get("customer_id").map_err(DbError::from)?;
            let role: &str = row.try_get("party_role").map_err(DbError::from)?;
            value.push(Party {
                customer_id,
                party_role: role.parse::<PartyRole>().map_err(DbError::from)?,
            });
        }
        Ok(Found::Object { value, resource })
    }
}

impl View for PartyAccounts {
    const NAME: &'static str = "account.list_of_party";
    const RESOURCE: &'static str = "account";
    type Output = Vec<(PartyRole, Account)>;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let party = (!scope.is_all()).then_some(context.actor.id);
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&tenant, &self.customer_id, &party, &PARTY_ACCOUNTS_MAX];
        let answers = database.read(context, &[Query::new(ACCOUNTS_OF_PARTY, &parameters)]).await?;
        let mut value = Vec::new();
        for row in answers.first().into_iter().flatten() {
            let role: &str = row.try_get("party_role").map_err(DbError::from)?;
            value
                .push((role.parse::<PartyRole>().map_err(DbError::from)?, Account::from_row(row)?));
        }
        let count = value.len();
        Ok(Found::List { value, count })
    }
}
