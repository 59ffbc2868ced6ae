//! Owns what an auditor of the demo should stumble over: somebody guesses the
//! manager's password at night from where nobody of the bank is, gets in, and looks
//! around; and a clerk reads forty customers in ten minutes late on a Sunday. All of
//! it is done, under clocks of its day, by the operations that real people use.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use audit::query::{Filter, StoredEvent, list};
use banking::{ReadCustomer, Withdraw};
use identity::{Identity, LoginRequest};
use jiff::SignedDuration;
use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Weekday};
use operation::{Call, OperationError};
use tenancy::{ActorKind, Clock, OpContext, RequestInfo, SessionId};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::timeline::{Stage, expect_refusal, instant};
use super::wish::at;
use crate::cli::tenant::refused;

/// Where nobody of the bank is (TEST-NET-3, RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
const ELSEWHERE_AGENT: &str = "python-requests/2.32.3";
/// The clerk's home.
const CLERK_HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 240));
const CLERK_AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/138.0 Safari/537.36";
const CLERK: &str = "jonas";
/// One fewer than locks the account.
const GUESSES: [&str; 4] = ["Summer2026!", "Manager-2026!", "Welcome123!!", "Qwertz!2345678"];
const CUSTOMERS_READ: usize = 40;

/// Both, as far as they are missing.
pub(super) async fn perform(stage: &Stage<'_>, password: &str, today: Date) -> anyhow::Result<()> {
    tokio::try_join!(
        guessed_password(stage, password, today),
        curious_clerk(stage, password, today)
    )?;
    Ok(())
}

async fn guessed_password(stage: &Stage<'_>, password: &str, today: Date) -> anyhow::Result<()> {
    let Some(manager) = stage.logins.get("manager") else { return Ok(()) };
    let night = today.saturating_sub(3.days());
    let seen = seen(stage, ELSEWHERE).await?;
    let of = |kind: &str| seen.iter().filter(|event| event.event_type == kind).count();
    if of("logout") > 0 {
        return Ok(());
    }
    let (identity, clock) = moment(stage, at(night, 3, 12))?;
    for guess in GUESSES.iter().skip(of("auth_failure")) {
        clock.advance(SignedDuration::from_secs(4));
        match sign_in(stage, &identity, ("manager", guess), (ELSEWHERE, ELSEWHERE_AGENT)).await {
            Err(OperationError::Refused(_)) => {}
            Ok(_) => anyhow::bail!("a guessed password was right"),
            Err(error) => return Err(refused(error)),
        }
    }
    clock.advance(SignedDuration::from_secs(41));
    let session = match sign_in(
        stage,
        &identity,
        ("manager", password),
        (ELSEWHERE, ELSEWHERE_AGENT),
    )
    .await
    {
        Ok(session) => session,
        // An earlier start was killed after charging a guess and before recording it.
        Err(OperationError::Refused(refusal)) => {
            tracing::warn!(code = %refusal.code, "the demo's sign-in at night was refused");
            return Ok(());
        }
        Err(error) => return Err(refused(error)),
    };
    let from = RequestInfo {
        id: String::new(),
        ip: Some(ELSEWHERE),
        user_agent: Some(ELSEWHERE_AGENT.to_owned()),
    };
    let context = |minute, second: i64| -> anyhow::Result<OpContext> {
        let context = stage.acting(manager, at(night, 3, minute), from.clone())?;
        context.clock.advance(SignedDuration::from_secs(second));
        Ok(OpContext { session: Some(SessionId(session)), ..context })
    };
    let sleeping = stage.plan.people.iter().position(|person| person.key == "wilhelm").unwrap_or(0);
    let account =
        stage.plan.accounts.iter().position(|account| account.owner == sleeping).unwrap_or(0);
    read_customers(stage, vec![(context(14, 9)?, stage.ids.people[sleeping])]).await?;
    let withdraw = Withdraw {
        account_id: stage.ids.accounts[account],
        amount: 950_000,
        currency: None,
        description: "Cash".to_owned(),
        reference: None,
        value_date: None,
    };
    let call = Call { context: context(16, 33)?, idempotency_key: None, command: withdraw };
    let outcome = stage.installation.operations.run_one(call).await.map(drop);
    // More than there is, or the booking of what there is has not come so far yet.
    expect_refusal(outcome, "cash of somebody else")?;
    identity.logout(&context(19, 2)?).await.map_err(refused)
}

async fn curious_clerk(stage: &Stage<'_>, password: &str, today: Date) -> anyhow::Result<()> {
    let Some(clerk) = stage.logins.get(CLERK) else { return Ok(()) };
    if seen(stage, CLERK_HOME).await?.iter().any(|event| event.event_type == "logout") {
        return Ok(());
    }
    let mut sunday = today.saturating_sub(1.day());
    while sunday.weekday() != Weekday::Sunday {
        sunday = sunday.saturating_sub(1.day());
    }
    let (identity, _) = moment(stage, at(sunday, 22, 39))?;
    let session = sign_in(stage, &identity, (CLERK, password), (CLERK_HOME, CLERK_AGENT))
        .await
        .map_err(refused)?;
    let from = RequestInfo {
        id: String::new(),
        ip: Some(CLERK_HOME),
        user_agent: Some(CLERK_AGENT.to_owned()),
    };
    let context = |minute, second: i64| -> anyhow::Result<OpContext> {
        let context = stage.acting(clerk, at(sunday, 22, minute), from.clone())?;
        context.clock.advance(SignedDuration::from_secs(second));
        Ok(OpContext { session: Some(SessionId(session)), ..context })
    };
    let mut reads = Vec::with_capacity(CUSTOMERS_READ);
    for (second, person) in
        (0_i64..).step_by(14).zip(stage.ids.people.iter().rev().take(CUSTOMERS_READ))
    {
        reads.push((context(41, second)?, *person));
    }
    read_customers(stage, reads).await?;
    identity.logout(&context(52, 17)?).await.map_err(refused)
}

async fn read_customers(stage: &Stage<'_>, reads: Vec<(OpContext, Uuid)>) -> anyhow::Result<()> {
    let calls = reads.into_iter().map(|(context, customer_id)| {
        let command =
            ReadCustomer { keyring: Arc::clone(&stage.installation.keyring), customer_id };
        Call { context, idempotency_key: None, command }
    });
    for read in stage.installation.operations.run(calls.collect()).await {
        read.map_err(refused)?;
    }
    Ok(())
}

/// Identity as it is at a moment, and the clock that moves it on.
fn moment(stage: &Stage<'_>, at: DateTime) -> anyhow::Result<(Identity, Clock)> {
    let clock = Clock::manual(instant(stage.tenant, at)?);
    Ok((stage.installation.identity.at(clock.clone()), clock))
}

async fn sign_in(
    stage: &Stage<'_>,
    identity: &Identity,
    (username, password): (&str, &str),
    (ip, agent): (IpAddr, &str),
) -> Result<Uuid, OperationError> {
    let request = LoginRequest {
        tenant: Some(stage.tenant.slug.clone()),
        username: username.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    };
    let from = RequestInfo {
        id: identity.clock().new_id().to_string(),
        ip: Some(ip),
        user_agent: Some(agent.to_owned()),
    };
    Ok(identity.login(request, Arc::new(from)).await?.into_tokens()?.session_id)
}

/// What is in the log of an address.
async fn seen(stage: &Stage<'_>, address: IpAddr) -> anyhow::Result<Vec<StoredEvent>> {
    let context = stage.installation.context(Arc::clone(stage.tenant), ActorKind::Cli);
    let filter = Filter { ip_address: Some(address), ..Filter::default() };
    Ok(list(&stage.installation.app, &context, &filter, None, 100).await?)
}
