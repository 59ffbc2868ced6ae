//! Owns what waits for a second person in the demo: the café pays the workshop for its
//! fit-out, on a paper order that the officer has entered; it exceeds the bank's
//! ceiling, so the manager has to approve it.

use banking::CreateTransfer;
use jiff::ToSpan as _;
use jiff::civil::Date;
use operation::Call;
use uuid::Uuid;

use super::life::is_working_day;
use super::timeline::Stage;
use super::wish::at;
use crate::cli::tenant::refused;

const AMOUNT: i64 = 8_430_000;
const INVOICE: &str = "Invoice 2026-0398 · fit-out of the pavilion";
const REFERENCE: &str = "RE 2026-0398";

/// Orders it, where the tenant has an officer to do so. What an earlier start has
/// ordered is answered by its key and not ordered again.
pub(super) async fn perform(stage: &Stage<'_>, today: Date) -> anyhow::Result<()> {
    let (Some(officer), Some(_)) = (stage.logins.get("officer"), stage.logins.get("manager"))
    else {
        return Ok(());
    };
    let (Some(from_account_id), Some(to_account_id)) =
        (account_of(stage, "cafe"), account_of(stage, "workshop"))
    else {
        return Ok(());
    };
    let mut day = today.saturating_sub(1.day());
    while !is_working_day(day) {
        day = day.saturating_sub(1.day());
    }
    let command = CreateTransfer {
        from_account_id,
        to_account_id,
        amount: AMOUNT,
        currency: "EUR".parse()?,
        description: INVOICE.to_owned(),
        reference: Some(REFERENCE.to_owned()),
    };
    let context = stage.at_the_office(officer, at(day, 15, 20))?;
    let call = Call { context, idempotency_key: Some("demo-approval".to_owned()), command };
    stage.installation.operations.run_one(call).await.map_err(refused)?;
    Ok(())
}

/// The first account of a customer of the plan.
fn account_of(stage: &Stage<'_>, person: &str) -> Option<Uuid> {
    let owner = stage.plan.people.iter().position(|one| one.key == person)?;
    let account = stage.plan.accounts.iter().position(|account| account.owner == owner)?;
    stage.ids.accounts.get(account).copied()
}
