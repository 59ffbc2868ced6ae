//! Owns what a start knows of an earlier one: which parts of the demo are there.
//! Each part is remembered in the transaction that makes it, in the table that
//! imports use for the same purpose, so that a start that was killed at any moment
//! is continued by the next one, and nothing is made twice.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use operation::Operations;
use tenancy::{DbError, OpContext, Query, TenantTx};
use uuid::Uuid;

use super::plan::Plan;

const REMEMBERED: &str = tenancy::sql!("server/demo.sql", "remembered");
const REMEMBER: &str = tenancy::sql!("server/demo.sql", "remember");
const HAS_CUSTOMERS: &str = tenancy::sql!("server/demo.sql", "has_customers");

const SOURCE: &str = "living-demo";
const PLAN: &str = "plan";
const DONE: &str = "done";

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Memory {
    objects: HashMap<(String, String), Uuid>,
    steps: BTreeSet<usize>,
    plan: Option<(Date, u64)>,
    is_done: bool,
    has_other_customers: bool,
}

impl Memory {
    /// Reads it; one round trip.
    pub(super) async fn read(
        operations: &Operations,
        context: &OpContext,
    ) -> Result<Self, DbError> {
        let tenant = context.tenant_id();
        let answers = operations
            .database()
            .read(
                context,
                &[
                    Query::new(REMEMBERED, &[&tenant, &SOURCE]),
                    Query::new(HAS_CUSTOMERS, &[&tenant]),
                ],
            )
            .await?;
        let mut memory = Self::default();
        for row in answers.first().into_iter().flatten() {
            let (kind, name): (String, String) = (row.try_get("kind")?, row.try_get("source_id")?);
            memory.learn(&name);
            memory.objects.insert((kind, name), row.try_get("object_id")?);
        }
        if let Some(row) = answers.get(1).and_then(|rows| rows.first()) {
            memory.has_other_customers = memory.plan.is_none() && row.try_get("found")?;
        }
        Ok(memory)
    }

    fn learn(&mut self, name: &str) {
        let mut words = name.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(DONE), None, None) => self.is_done = true,
            (Some(PLAN), Some(day), Some(seed)) => {
                self.plan = day.parse().ok().zip(seed.parse().ok());
            }
            (Some("step"), Some(number), None) => {
                self.steps.extend(number.parse::<usize>().ok());
            }
            _ => {}
        }
    }

    /// Whether there is nothing left to do: a whole demo, or somebody else's work.
    pub(super) fn is_settled(&self) -> bool {
        self.is_done || self.has_other_customers
    }

    /// The day and the seed of the demo that was begun.
    pub(super) fn plan(&self) -> Option<(Date, u64)> {
        self.plan
    }

    /// The last step that was remembered; those before it are there as well.
    pub(super) fn last_step(&self) -> Option<usize> {
        self.steps.last().copied()
    }

    /// The ids of a plan's accounts and people.
    pub(super) fn ids(&self, plan: &Plan) -> Option<Ids> {
        let find =
            |kind: &str, key: &str| self.objects.get(&(kind.to_owned(), key.to_owned())).copied();
        let people = plan
            .people
            .iter()
            .map(|person| find("customer", &person.key))
            .collect::<Option<_>>()?;
        let accounts = plan
            .accounts
            .iter()
            .map(|account| find("account", &account.key))
            .collect::<Option<_>>()?;
        Some(Ids { people, accounts })
    }
}

/// What a plan's people and accounts have become, in its order.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) people: Vec<Uuid>,
    pub(super) accounts: Vec<Uuid>,
}

/// What one transaction makes: kind, name, object.
pub(super) type Made = Vec<(&'static str, String, Uuid)>;

/// The mark of a demo that was begun.
pub(super) fn plan_mark(today: Date, seed: u64, id: Uuid) -> (&'static str, String, Uuid) {
    ("transaction", format!("{PLAN} {today} {seed}"), id)
}

/// The mark of a run of steps that begins with this one.
pub(super) fn step_mark(first_step: usize, id: Uuid) -> (&'static str, String, Uuid) {
    ("transaction", format!("step {first_step:06}"), id)
}

/// The mark of a demo that is whole.
pub(super) fn done_mark(id: Uuid) -> (&'static str, String, Uuid) {
    ("transaction", DONE.to_owned(), id)
}

/// Remembers in the transaction that makes it.
pub(super) async fn remember(transaction: &TenantTx, made: &Made) -> Result<(), DbError> {
    let kinds: Vec<&str> = made.iter().map(|(kind, _, _)| *kind).collect();
    let names: Vec<&str> = made.iter().map(|(_, name, _)| name.as_str()).collect();
    let objects: Vec<Uuid> = made.iter().map(|(_, _, object)| *object).collect();
    transaction
        .execute(REMEMBER, &[&transaction.tenant(), &SOURCE, &kinds, &names, &objects])
        .await?;
    Ok(())
}
