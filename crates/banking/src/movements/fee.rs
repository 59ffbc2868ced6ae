//! Fees: a charge of the bank, from a customer's account to the bank's fee income.
//!
//! A fee is a debit like any other: it honours the account's floor, so what cannot be
//! paid is refused and not forced. It takes effect today; charging an earlier day would
//! change interest that has been shown, and is an accountant's journal.

use access::Permission;
use ledger::TransferKind;
use money::Currency;
use operation::{Command, Target, command::Outcome};
use serde_json::Value;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{Transfer, teller::Order};
use crate::accounts::movement_target;

/// Charges a fee. Answers 201. An account that the actor may not read is 404; nobody
/// charges an account that they hold, and no customer any.
#[derive(Clone, Debug)]
pub struct ChargeFee {
    /// The account (from the path).
    pub account_id: Uuid,
    /// Minor units; anything but 1 to 2^53 − 1 is refused.
    pub amount: i64,
    /// Of the amount; none means the account's own.
    pub currency: Option<Currency>,
    /// Text on the statement; may be empty.
    pub description: String,
    /// The bank's own reference.
    pub reference: Option<String>,
}

impl ChargeFee {
    fn order(&self) -> Order<'_> {
        Order {
            account_id: self.account_id,
            amount: self.amount,
            currency: self.currency,
            description: &self.description,
            reference: self.reference.as_deref(),
            value_date: None,
        }
    }
}

impl Command for ChargeFee {
    const NAME: &'static str = "fee.create";
    const RESOURCE: &'static str = "fee";
    type Output = Transfer;

    fn permission(&self) -> Permission {
        Permission::TransactionFee
    }

    fn fingerprint(&self) -> Value {
        self.order().fingerprint()
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let account = (self.account_id, Permission::TransactionRead);
        let amount = Some((self.amount, self.currency));
        movement_target(transaction, context, account, amount).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Transfer> {
        self.order().execute(transaction, context, Self::NAME, TransferKind::Fee).await
    }
}
