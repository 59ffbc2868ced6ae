//! Opening ledger accounts and changing their settings. Balances are the posting
//! engine's alone; who may do this and under which product is banking's business.

use money::Currency;
use tenancy::{Clock, DbError, TenantTx};
use uuid::Uuid;

use crate::{
    model::{AccountState, InternalAccount},
    posting,
};

const OPEN: &str = tenancy::sql!("ledger/accounts.sql", "open_accounts");
const FIND_INTERNAL: &str = tenancy::sql!("ledger/accounts.sql", "find_internal");
const MAKE_INTERNAL: &str = tenancy::sql!("ledger/accounts.sql", "make_internal");
const SAVE_SETTINGS: &str = tenancy::sql!("ledger/accounts.sql", "save_settings");

/// A customer account to be opened, empty and active.
#[derive(Clone, Copy, Debug)]
pub struct NewAccount {
    /// Its id.
    pub id: Uuid,
    /// The one currency it will hold.
    pub currency: Currency,
    /// How far below zero it may go, minor units, 0 to 2^53 − 1.
    pub overdraft_limit: i64,
    /// What must stay on it; excludes an overdraft.
    pub minimum_balance: Option<i64>,
}

/// Opens customer accounts, all in one statement.
pub async fn open(transaction: &TenantTx, accounts: &[NewAccount]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.id).collect();
    let currencies: Vec<&str> = accounts.iter().map(|account| account.currency.code()).collect();
    let limits: Vec<i64> = accounts.iter().map(|account| account.overdraft_limit).collect();
    let minimums: Vec<Option<i64>> =
        accounts.iter().map(|account| account.minimum_balance).collect();
    transaction
        .execute(OPEN, &[&transaction.tenant(), &ids, &currencies, &limits, &minimums])
        .await?;
    Ok(())
}

/// The id of the bank's own account of that kind and currency; made where this is
/// its first use. One round trip, three at the first use.
pub async fn internal(
    transaction: &TenantTx,
    clock: &Clock,
    account: InternalAccount,
    currency: Currency,
) -> Result<Uuid, DbError> {
    let tenant = transaction.tenant();
    let (code, currency) = (account.as_str(), currency.code());
    if let Some(row) = transaction.query_opt(FIND_INTERNAL, &[&tenant, &code, &currency]).await? {
        return Ok(row.try_get("id")?);
    }
    make_internal(transaction, clock.new_id(), (code, currency)).await
}

/// Makes the bank's own account of a code and a currency under that id, unless it was
/// made meanwhile, and gives its id.
pub(crate) async fn make_internal(
    transaction: &TenantTx,
    id: Uuid,
    (code, currency): (&str, &str),
) -> Result<Uuid, DbError> {
    let tenant = transaction.tenant();
    transaction.execute(MAKE_INTERNAL, &[&tenant, &id, &code, &currency]).await?;
    let row = transaction.query_opt(FIND_INTERNAL, &[&tenant, &code, &currency]).await?;
    let row = row.ok_or_else(|| DbError::Corrupt(format!("no internal account {code}")))?;
    Ok(row.try_get("id")?)
}

/// Locks one account as the posting engine does, and reads it.
pub async fn lock(transaction: &TenantTx, id: Uuid) -> Result<Option<AccountState>, DbError> {
    Ok(posting::lock(transaction, &[id]).await?.remove(&id))
}

/// Stores limits and status of an account that is locked, and counts its version.
pub async fn save_settings(transaction: &TenantTx, account: &AccountState) -> Result<(), DbError> {
    transaction
        .execute(
            SAVE_SETTINGS,
            &[
                &transaction.tenant(),
                &account.id,
                &account.overdraft_limit,
                &account.minimum_balance,
                &account.status.as_str(),
            ],
        )
        .await?;
    Ok(())
}
