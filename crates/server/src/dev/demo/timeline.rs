//! Owns the order in which a demo's steps become real: the bank's own runs a day at
//! a time, everything that a person does as that person's own command, under a clock
//! that stands at the moment of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context as _;
use banking::{
    AccountChange, AccountStatus, CloseAccount, CreateTransfer, Deposit, ReverseTransaction,
    TransferKind, UpdateAccount, Withdraw,
};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use operation::{Call, Command, OperationError};
use tenancy::{Actor, ActorKind, Clock, OpContext, Query, RequestInfo, TenantRef};
use uuid::Uuid;

use super::book::Book;
use super::memory::Ids;
use super::plan::{By, Movement, Plan, Side, Step, What};
use crate::cli::progress::Progress;
use crate::cli::tenant::refused;
use crate::compose::Installation;

const NEWEST_ENTRY: &str = tenancy::sql!("server/demo.sql", "newest_entry");

/// The bank's own rooms (TEST-NET-1, RFC 5737).
const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const OFFICE_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HOME_AGENTS: [&str; 3] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/138.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15",
];

/// A login of the tenant.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) id: Uuid,
    pub(super) role: String,
}

/// What the steps need.
pub(super) struct Stage<'a> {
    pub(super) installation: &'a Installation,
    pub(super) tenant: &'a Arc<TenantRef>,
    pub(super) plan: &'a Plan,
    pub(super) ids: &'a Ids,
    /// By user name.
    pub(super) logins: &'a HashMap<String, Login>,
}

/// Steps that are one operation, or one batch of them.
enum Run<'a> {
    Bank(usize, Vec<&'a Step>),
    Person(usize, &'a Step),
}

impl Stage<'_> {
    /// Everything behind the last step that is there.
    pub(super) async fn perform(&self, last_step: Option<usize>) -> anyhow::Result<()> {
        let runs = self.runs();
        let progress = Progress::new("living ninety days", runs.len() as u64);
        let accounts: Arc<[Uuid]> = self.ids.accounts.clone().into();
        for (number, run) in runs.iter().enumerate() {
            progress.set(number as u64);
            let first = match run {
                Run::Bank(first, _) | Run::Person(first, _) => *first,
            };
            if last_step.is_some_and(|last| first <= last) {
                continue;
            }
            match run {
                Run::Bank(first, steps) => self.book(*first, steps, &accounts).await,
                Run::Person(first, step) => self.person(*first, step).await,
            }
            .with_context(|| format!("the demo's step {first}"))?;
        }
        Ok(())
    }

    fn runs(&self) -> Vec<Run<'_>> {
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (number, step) in self.plan.steps.iter().enumerate() {
            if !self.is_the_banks(step) {
                runs.push(Run::Person(number, step));
                continue;
            }
            match runs.last_mut() {
                Some(Run::Bank(_, steps))
                    if steps.last().is_some_and(|last| last.at.date() == step.at.date()) =>
                {
                    steps.push(step);
                }
                _ => runs.push(Run::Bank(number, vec![step])),
            }
        }
        runs
    }

    /// Nobody can order what has no login in this tenant: the bank does it for them.
    fn is_the_banks(&self, step: &Step) -> bool {
        match &step.what {
            What::Move(movement) => match movement.by {
                By::Bank => true,
                By::Customer(person) => self.login_of(person).is_none(),
                By::Teller => self.staff("officer").is_none(),
            },
            What::Refused(_) | What::Freeze(_) | What::Close(_) | What::Reversal(_) => false,
        }
    }

    fn login_of(&self, person: usize) -> Option<&Login> {
        self.plan.people[person].username.and_then(|name| self.logins.get(name))
    }

    fn staff(&self, username: &str) -> Option<&Login> {
        self.logins.get(username)
    }

    async fn book(
        &self,
        first: usize,
        steps: &[&Step],
        accounts: &Arc<[Uuid]>,
    ) -> anyhow::Result<()> {
        let mut movements = Vec::with_capacity(steps.len());
        for step in steps {
            if let What::Move(movement) = &step.what {
                movements.push((instant(self.tenant, step.at)?, movement.clone()));
            }
        }
        let Some((last, _)) = movements.last() else { return Ok(()) };
        let clock = Clock::manual(*last);
        let context = OpContext::system(Arc::clone(self.tenant), ActorKind::Worker, clock);
        let command = Book { first_step: first, movements, accounts: Arc::clone(accounts) };
        self.run(context, None, command).await.map_err(refused)
    }

    /// What a person does has a key: where a killed start has done it already, it is
    /// answered and not repeated.
    async fn person(&self, number: usize, step: &Step) -> anyhow::Result<()> {
        let key = Some(format!("demo-{number}"));
        let manager = || self.staff("manager").map(|login| self.at_the_office(login, step.at));
        match &step.what {
            What::Move(movement) => self.ordered(key, step.at, movement).await?.map_err(refused),
            What::Refused(movement) => {
                expect_refusal(self.ordered(key, step.at, movement).await?, &movement.text)
            }
            What::Freeze(account) => {
                let Some(context) = manager() else { return Ok(()) };
                let change = AccountChange {
                    status: Some(AccountStatus::Frozen),
                    ..AccountChange::default()
                };
                let account_id = self.ids.accounts[*account];
                let command = UpdateAccount { account_id, expected_version: None, change };
                self.run(context?, key, command).await.map_err(refused)
            }
            What::Reversal(account) => {
                let Some(officer) = self.staff("officer") else { return Ok(()) };
                let context = self.at_the_office(officer, step.at)?;
                let transaction_id =
                    self.newest_entry(&context, self.ids.accounts[*account]).await?;
                let reason = Some("Booked twice, says the customer".to_owned());
                let command = ReverseTransaction { transaction_id, reason, value_date: None };
                let outcome = self.run(context, key, command).await;
                expect_refusal(outcome, "an officer's reversal")
            }
            What::Close(account) => {
                let Some(context) = manager() else { return Ok(()) };
                let command = CloseAccount {
                    account_id: self.ids.accounts[*account],
                    expected_version: None,
                };
                self.run(context?, key, command).await.map_err(refused)
            }
        }
    }

    async fn ordered(
        &self,
        key: Option<String>,
        at: DateTime,
        movement: &Movement,
    ) -> anyhow::Result<Result<(), OperationError>> {
        let account = |side: Side| match side {
            Side::Account(account) => self.ids.accounts[account],
            Side::Bank(_) => Uuid::nil(),
        };
        let currency = movement.currency.parse()?;
        let (amount, description) = (movement.amount, movement.text.clone());
        let reference = movement.reference.clone();
        let value_date = Some(movement.value_date);
        let officer = || self.staff("officer").map(|login| self.at_the_office(login, at));
        Ok(match (movement.by, movement.kind) {
            (By::Customer(person), _) => {
                let Some(login) = self.login_of(person) else { return Ok(Ok(())) };
                let context = self.acting(login, at, home(person))?;
                let (from_account_id, to_account_id) =
                    (account(movement.from), account(movement.to));
                let command = CreateTransfer {
                    from_account_id,
                    to_account_id,
                    amount,
                    currency,
                    description,
                    reference,
                };
                self.run(context, key, command).await
            }
            (_, TransferKind::Deposit) => {
                let Some(context) = officer() else { return Ok(Ok(())) };
                let account_id = account(movement.to);
                let command = Deposit {
                    account_id,
                    amount,
                    currency: Some(currency),
                    description,
                    reference,
                    value_date,
                };
                self.run(context?, key, command).await
            }
            _ => {
                let Some(context) = officer() else { return Ok(Ok(())) };
                let account_id = account(movement.from);
                let command = Withdraw {
                    account_id,
                    amount,
                    currency: Some(currency),
                    description,
                    reference,
                    value_date,
                };
                self.run(context?, key, command).await
            }
        })
    }

    async fn run<C: Command>(
        &self,
        context: OpContext,
        idempotency_key: Option<String>,
        command: C,
    ) -> Result<(), OperationError> {
        self.installation
            .operations
            .run_one(Call { context, idempotency_key, command })
            .await
            .map(drop)
    }

    async fn newest_entry(&self, context: &OpContext, account: Uuid) -> anyhow::Result<Uuid> {
        let tenant = context.tenant_id();
        let rows = self
            .installation
            .app
            .read(context, &[Query::new(NEWEST_ENTRY, &[&tenant, &account])])
            .await?;
        let row =
            rows.first().and_then(|rows| rows.first()).context("an account without entries")?;
        Ok(row.try_get("transaction_id")?)
    }

    /// A member of staff at work.
    pub(super) fn at_the_office(&self, login: &Login, at: DateTime) -> anyhow::Result<OpContext> {
        let from = RequestInfo {
            id: String::new(),
            ip: Some(OFFICE),
            user_agent: Some(OFFICE_AGENT.to_owned()),
            ..RequestInfo::default()
        };
        self.acting(login, at, from)
    }

    /// A person at a moment, coming from somewhere.
    pub(super) fn acting(
        &self,
        login: &Login,
        at: DateTime,
        from: RequestInfo,
    ) -> anyhow::Result<OpContext> {
        let clock = Clock::manual(instant(self.tenant, at)?);
        let request = RequestInfo { id: clock.new_id().to_string(), ..from };
        Ok(OpContext {
            tenant: Arc::clone(self.tenant),
            actor: Actor::user(login.id, vec![login.role.clone()]),
            session: None,
            request: Arc::new(request),
            clock,
        })
    }
}

/// What is in the demo to be refused must be.
pub(super) fn expect_refusal(
    outcome: Result<(), OperationError>,
    what: &str,
) -> anyhow::Result<()> {
    match outcome {
        Ok(()) => anyhow::bail!("the bank did not refuse {what:?}"),
        Err(OperationError::Refused(_)) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// The instant of a tenant's local time.
pub(super) fn instant(tenant: &TenantRef, at: DateTime) -> anyhow::Result<Timestamp> {
    // Most tenants keep UTC; it needs no zone files.
    let zone =
        if tenant.time_zone == "UTC" { TimeZone::UTC } else { TimeZone::get(&tenant.time_zone)? };
    Ok(at.to_zoned(zone)?.timestamp())
}

/// Where a customer signs in from.
fn home(person: usize) -> RequestInfo {
    let last = u8::try_from(20 + person % 200).unwrap_or(20);
    RequestInfo {
        id: String::new(),
        ip: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))),
        user_agent: Some(HOME_AGENTS[person % HOME_AGENTS.len()].to_owned()),
        ..RequestInfo::default()
    }
}
