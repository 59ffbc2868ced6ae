//! The queue: in by whoever has something to tell, out by the worker. Owns sealing and
//! wiping. Refuses to know how anything is sent.

use tenancy::{
    DbError, OpContext, TenantTx,
    keyring::{KeyringError, TenantKeys, load_subject_keys},
};
use uuid::Uuid;
use vault::DataKey;

use crate::notice::{Notice, Values, is_address};

const INSERT: &str = tenancy::sql!("notify/queue.sql", "insert");

pub(crate) const TABLE: &str = "notices";
pub(crate) const RECIPIENT: &str = "recipient_sealed";
pub(crate) const VALUES: &str = "values_sealed";

/// Puts a notice into the queue, in the caller's transaction: it is sent once that
/// commits, or never. Gives its id, by which records speak of it.
///
/// An address or values that cannot be meant are [`DbError::Corrupt`]: callers check what
/// people give them, so it is an error of ours, and so is a notice about a person whose
/// key was destroyed. A notice whose time is over already is refused by the table.
pub async fn enqueue(
    transaction: &TenantTx,
    context: &OpContext,
    keys: &TenantKeys,
    notice: &Notice<'_>,
) -> Result<Uuid, DbError> {
    let id = context.clock.new_id();
    let name = notice.template.as_str();
    let complain = |what: &str| DbError::Corrupt(format!("notice {name}: {what}"));
    if !is_address(notice.channel, notice.to) {
        return Err(complain("the recipient is no address of its channel"));
    }
    let now = context.clock.now();
    let mut values = Values::of(notice.template, &notice.values)
        .map_err(|fault| complain(&format!("its values {fault}")))?;
    values.occurred_at.get_or_insert(now);
    let text = serde_json::to_string(&values).map_err(|_| complain("its values have no form"))?;
    let subject = subject_key(transaction, keys, notice.user).await?;
    let key = subject.as_ref().unwrap_or(keys.field());
    let recipient = keys.seal(key, (TABLE, RECIPIENT, id), notice.to)?;
    let sealed = keys.seal(key, (TABLE, VALUES, id), &text)?;
    transaction
        .execute(
            INSERT,
            &[
                &transaction.tenant(),
                &id,
                &notice.user,
                &notice.channel.as_str(),
                &name,
                &recipient,
                &sealed,
                &values.deadline(now),
            ],
        )
        .await?;
    Ok(id)
}

/// The key of the person it is about; none where it is about nobody.
async fn subject_key(
    transaction: &TenantTx,
    keys: &TenantKeys,
    user: Option<Uuid>,
) -> Result<Option<DataKey>, KeyringError> {
    let Some(user) = user else { return Ok(None) };
    let mut found = load_subject_keys(transaction, keys, &[user]).await?;
    found.remove(&user).map(Some).ok_or(KeyringError::Shredded)
}
