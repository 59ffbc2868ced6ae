//! The real bank: orders as the commands that the API runs, answers in the numbers of
//! the model, and the stored books read past everything, by SQL.

use std::collections::BTreeMap;

use banking::{
    AccountChange, AccountStatus, AuthoriseHold, BalanceAsOf, CaptureHold, ChargeFee, CloseAccount,
    CreateTransfer, Deposit, Hold, InternalAccount, JournalAccount, JournalEntry, NewAccount,
    PostJournal, ReleaseHold, ReverseTransaction, Transfer, UpdateAccount, Withdraw,
    holds::expire_due,
};
use jiff::{SignedDuration, civil::Date};
use operation::{Call, Refusal, Reply};
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;

use super::{
    bank::{Answer, Bank, CURRENCIES, Done, INTERNAL, Order, day_of, internal, status},
    draw::{ACCOUNTS, FOREIGN},
    reference::Status,
};
use crate::bank_world::{BankWorld, read, refused};

/// One tenant of a world, and which of its ids is which number of the model.
pub(super) struct Books<'a> {
    pub(super) world: &'a BankWorld,
    pub(super) tenant: OpContext,
    accounts: BTreeMap<u64, Uuid>,
    transfers: BTreeMap<u64, Uuid>,
    holds: BTreeMap<u64, Uuid>,
}

/// What came of an order: its answer, and the ids that it made.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) transfer: Option<Uuid>,
    pub(super) hold: Option<Uuid>,
}

/// The id of a number that stands for nothing.
fn nobody(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn number_of(ids: &BTreeMap<u64, Uuid>, id: Uuid) -> u64 {
    ids.iter().find(|(_, known)| **known == id).map_or(u64::MAX, |(number, _)| *number)
}

fn date_of(day: i32) -> Date {
    Date::constant(1970, 1, 1) + SignedDuration::from_hours(24 * i64::from(day))
}

fn number_of_day(date: Date) -> i32 {
    day_of(date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second())
}

fn shown(refusal: &Refusal) -> (String, String) {
    let first = refusal.errors.first();
    let code = match first {
        Some(error) if refusal.code == "validation_failed" => error.code.to_string(),
        _ => refusal.code.to_string(),
    };
    (code, first.map(|error| error.field.to_string()).unwrap_or_default())
}

impl<'a> Books<'a> {
    pub(super) async fn open(world: &'a BankWorld, slug: &str, foreign: Uuid) -> Self {
        let tenant = world.tenant(slug).await;
        let customer = world.customer(&tenant, None).await.id;
        let mut accounts = BTreeMap::from([(FOREIGN, foreign)]);
        for number in ACCOUNTS {
            let currency = if number == 6 { "CZK" } else { "EUR" };
            let mut account = NewAccount::plain(customer, currency.parse().unwrap());
            account.overdraft_limit = if number == 4 { 500 } else { 0 };
            account.minimum_balance = (number == 5).then_some(100);
            accounts.insert(number, world.account_like(&tenant, account, 0).await.id);
        }
        Self { world, tenant, accounts, transfers: BTreeMap::new(), holds: BTreeMap::new() }
    }

    pub(super) fn keep(&mut self, number: u64, outcome: &Outcome) {
        self.transfers.extend(outcome.transfer.map(|id| (number, id)));
        self.holds.extend(outcome.hold.map(|id| (number, id)));
    }

    fn account(&self, number: u64) -> Uuid {
        self.accounts.get(&number).copied().unwrap_or_else(|| nobody(number))
    }

    fn hold_id(&self, number: u64) -> Uuid {
        self.holds.get(&number).copied().unwrap_or_else(|| nobody(number))
    }

    pub(super) fn transfer_call(&self, key: Option<&str>, order: &Order) -> Call<CreateTransfer> {
        let Order::Transfer { from, to, amount, currency } = order else { panic!("{order:?}") };
        let command = CreateTransfer {
            from_account_id: self.account(*from),
            to_account_id: self.account(*to),
            amount: *amount,
            currency: currency.parse().unwrap(),
            description: String::new(),
            reference: None,
        };
        self.call(key, command)
    }

    fn call<C>(&self, key: Option<&str>, command: C) -> Call<C> {
        Call { context: self.tenant.clone(), idempotency_key: key.map(str::to_owned), command }
    }

    pub(super) async fn of_transfer(&self, result: Result<Transfer, Refusal>) -> Outcome {
        match result {
            Err(refusal) => refuse(&refusal),
            Ok(made) => {
                // The bank's own may have been made for this very movement.
                let accounts = self.with_internal().await;
                let done = Done::Transfer {
                    amount: i128::from(made.amount),
                    from: number_of(&accounts, made.from_account_id),
                    to: number_of(&accounts, made.to_account_id),
                    day: number_of_day(made.value_date),
                    reverses: made.reverses_transfer_id.map(|id| number_of(&self.transfers, id)),
                };
                Outcome { answer: Ok(done), transfer: Some(made.id), hold: None }
            }
        }
    }

    /// Orders of one kind in one transaction.
    pub(super) async fn batch(&self, orders: &[Order]) -> Vec<Outcome> {
        if matches!(orders[0], Order::Authorise { .. }) {
            let calls = orders.iter().map(|order| self.call(None, self.authorisation(order)));
            let results = self.world.operations.run(calls.collect()).await;
            results.into_iter().map(|result| made_hold(refused(result).map(output))).collect()
        } else {
            let calls = orders.iter().map(|order| self.call(None, self.capture(order)));
            let results = self.world.operations.run(calls.collect()).await;
            results.into_iter().map(|result| paid(refused(result).map(output))).collect()
        }
    }

    fn authorisation(&self, order: &Order) -> AuthoriseHold {
        let Order::Authorise { account, to, amount, currency, seconds } = order else {
            panic!("{order:?}")
        };
        AuthoriseHold {
            account_id: self.account(*account),
            to_account_id: to.map(|to| self.account(to)),
            amount: *amount,
            currency: currency.map(|code| code.parse().unwrap()),
            description: String::new(),
            reference: None,
            expires_at: Some(self.tenant.clock.now() + SignedDuration::from_secs(*seconds)),
        }
    }

    fn capture(&self, order: &Order) -> CaptureHold {
        let Order::Capture { hold, amount, is_final } = order else { panic!("{order:?}") };
        CaptureHold { hold_id: self.hold_id(*hold), amount: *amount, is_final: *is_final }
    }

    /// Runs one order alone.
    pub(super) async fn run(&self, order: &Order) -> Outcome {
        let (world, tenant) = (self.world, &self.tenant);
        let parsed = |code: Option<&'static str>| code.map(|code| code.parse().unwrap());
        let (description, reference) = (String::new(), None);
        match order {
            Order::Transfer { .. } => {
                let call = self.transfer_call(None, order);
                self.of_transfer(refused(world.operations.run_one(call).await).map(output)).await
            }
            Order::Deposit { account, amount, currency, day } => {
                let (account_id, amount, currency) =
                    (self.account(*account), *amount, parsed(*currency));
                let value_date = day.map(date_of);
                let command =
                    Deposit { account_id, amount, currency, description, reference, value_date };
                self.of_transfer(world.run(tenant, command).await).await
            }
            Order::Withdraw { account, amount, currency, day } => {
                let (account_id, amount, currency) =
                    (self.account(*account), *amount, parsed(*currency));
                let value_date = day.map(date_of);
                let command =
                    Withdraw { account_id, amount, currency, description, reference, value_date };
                self.of_transfer(world.run(tenant, command).await).await
            }
            Order::Fee { account, amount, currency } => {
                let (account_id, amount, currency) =
                    (self.account(*account), *amount, parsed(*currency));
                let command = ChargeFee { account_id, amount, currency, description, reference };
                self.of_transfer(world.run(tenant, command).await).await
            }
            Order::Reverse { transfer, day } => {
                let id = self.transfers.get(transfer).copied();
                let command = ReverseTransaction {
                    transaction_id: id.unwrap_or_else(|| nobody(*transfer)),
                    reason: None,
                    value_date: day.map(date_of),
                };
                self.of_transfer(world.run(tenant, command).await).await
            }
            Order::Journal { entries, currency, day } => {
                self.journal(entries, currency, *day).await
            }
            Order::Authorise { .. } => {
                made_hold(world.run(tenant, self.authorisation(order)).await)
            }
            Order::Capture { .. } => paid(world.run(tenant, self.capture(order)).await),
            Order::Release { hold } => {
                let command = ReleaseHold { hold_id: self.hold_id(*hold) };
                let released = made_hold(world.run(tenant, command).await);
                Outcome { hold: None, ..released }
            }
            Order::Expire => {
                let clock = tenant.clock.clone();
                let worker = OpContext::system(tenant.tenant.clone(), ActorKind::Worker, clock);
                let count = expire_due(&world.operations, &worker).await.unwrap();
                Outcome { answer: Ok(Done::Expired(count)), transfer: None, hold: None }
            }
            Order::Freeze { .. } | Order::Overdraft { .. } | Order::Minimum { .. } => {
                self.setting(order).await
            }
            Order::Close { account } => {
                let (account_id, expected_version) = (self.account(*account), None);
                settled(world.run(tenant, CloseAccount { account_id, expected_version }).await)
            }
        }
    }

    /// Orders that change what an account may do.
    async fn setting(&self, order: &Order) -> Outcome {
        match order {
            Order::Freeze { account, is_frozen } => {
                let status = if *is_frozen { AccountStatus::Frozen } else { AccountStatus::Active };
                let change = AccountChange { status: Some(status), ..AccountChange::default() };
                self.change(*account, change).await
            }
            Order::Overdraft { account, limit } => {
                let overdraft_limit = Some(*limit);
                self.change(*account, AccountChange { overdraft_limit, ..AccountChange::default() })
                    .await
            }
            Order::Minimum { account, minimum } => {
                let minimum_balance = Some(*minimum);
                self.change(*account, AccountChange { minimum_balance, ..AccountChange::default() })
                    .await
            }
            _ => panic!("{order:?}"),
        }
    }

    async fn change(&self, account: u64, change: AccountChange) -> Outcome {
        let (account_id, expected_version) = (self.account(account), None);
        let command = UpdateAccount { account_id, expected_version, change };
        settled(self.world.run(&self.tenant, command).await)
    }

    async fn journal(&self, entries: &[(u64, i64)], currency: &str, day: Option<i32>) -> Outcome {
        let entry = |&(account, amount): &(u64, i64)| {
            let own = INTERNAL.into_iter().find(|code| internal(code, currency) == account);
            let account = match own {
                Some(code) => JournalAccount::Internal(code.parse::<InternalAccount>().unwrap()),
                None => JournalAccount::Customer(self.account(account)),
            };
            JournalEntry { account, amount }
        };
        let command = PostJournal {
            currency: currency.parse().unwrap(),
            description: String::new(),
            reference: None,
            value_date: day.map(date_of),
            entries: entries.iter().map(entry).collect(),
        };
        let made = match self.world.run(&self.tenant, command).await {
            Err(refusal) => return refuse(&refusal),
            Ok(made) => made,
        };
        let known = self.with_internal().await;
        let mut written: Vec<_> = (made.entries.iter())
            .map(|entry| {
                let place = usize::try_from(entry.account_sequence).unwrap();
                let account = number_of(&known, entry.account_id);
                (account, place, i128::from(entry.amount), i128::from(entry.balance_after))
            })
            .collect();
        written.sort_by_key(|entry| (entry.2, entry.0));
        Outcome { answer: Ok(Done::Journal(written)), transfer: Some(made.transfer.id), hold: None }
    }

    /// The accounts, and those of the bank's own that have been made by now.
    async fn with_internal(&self) -> BTreeMap<u64, Uuid> {
        let mut known = self.accounts.clone();
        let sql = "SELECT id, code, currency FROM ledger_accounts WHERE tenant_id = $1 AND class = 'internal'";
        for row in self.world.superuser.query(sql, &[&self.tenant.tenant_id()]).await.unwrap() {
            known.insert(internal(row.get("code"), row.get("currency")), row.get("id"));
        }
        known
    }

    /// What is stored of this tenant's books, byte after byte, where every row stands
    /// included: a row that was written anew with the same values shows.
    pub(super) async fn dump(&self) -> String {
        let part = |table: &str| {
            format!(
                "SELECT coalesce(string_agg(row.ctid::text || row::text, ',' ORDER BY row.ctid), '') \
                 AS part FROM {table} row WHERE row.tenant_id = $1"
            )
        };
        let tables = ["ledger_accounts", "transfers", "transactions", "holds", "savings_accounts"];
        let sql = tables.map(part).join(" UNION ALL ");
        let rows = self.world.superuser.query(&sql, &[&self.tenant.tenant_id()]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
    }

    /// The balance of an account at the end of a day, as customers ask for it.
    pub(super) async fn balance_on(&self, account: u64, day: i32) -> i128 {
        let view = BalanceAsOf { account_id: self.account(account), date: date_of(day) };
        i128::from(read(self.world, &self.tenant, &view).await.unwrap().balance)
    }

    /// Everything that is stored against everything that the model knows.
    pub(super) async fn differences(&mut self, bank: &Bank) -> Vec<String> {
        self.accounts = self.with_internal().await;
        let mut wrong = self.accounts_differ(bank).await;
        wrong.extend(self.entries_differ(bank).await);
        wrong.extend(self.transfers_differ(bank).await);
        wrong.extend(self.holds_differ(bank).await);
        wrong
    }

    /// Balance, held sum, count and settings of every account, beside the database's own
    /// sums over entries and live holds.
    async fn accounts_differ(&self, bank: &Bank) -> Vec<String> {
        let sql =
            "SELECT account.id, account.status, account.overdraft_limit, account.minimum_balance,
                account.balance, account.held, account.entry_count,
                (SELECT coalesce(sum(amount), 0)::text FROM transactions entry
                 WHERE entry.tenant_id = $1 AND entry.account_id = account.id) AS summed,
                (SELECT coalesce(sum(remaining), 0)::text FROM holds hold
                 WHERE hold.tenant_id = $1 AND hold.account_id = account.id) AS kept
            FROM ledger_accounts account WHERE account.tenant_id = $1";
        let rows = self.world.superuser.query(sql, &[&self.tenant.tenant_id()]).await.unwrap();
        let mut wrong = Vec::new();
        let mut sums = BTreeMap::<&str, i128>::new();
        for row in &rows {
            let number = number_of(&self.accounts, row.get("id"));
            let Some(known) = bank.books.accounts.get(&number) else {
                wrong.push(format!("an account that nobody opened: {row:?}"));
                continue;
            };
            let (balance, held) = (known.balance(), bank.books.held(number));
            *sums.entry(known.currency).or_default() += i128::from(row.get::<_, i64>("balance"));
            let expected = format!(
                "{balance} {held} {} {balance} {held} {} {} {:?}",
                known.entries.len(),
                match known.status {
                    Status::Active => "active",
                    Status::Frozen => "frozen",
                    Status::Closed => "closed",
                },
                known.overdraft,
                known.minimum
            );
            let found = format!(
                "{} {} {} {} {} {} {} {:?}",
                row.get::<_, i64>("balance"),
                row.get::<_, i64>("held"),
                row.get::<_, i64>("entry_count"),
                row.get::<_, &str>("summed"),
                row.get::<_, &str>("kept"),
                row.get::<_, &str>("status"),
                row.get::<_, i64>("overdraft_limit"),
                row.get::<_, Option<i64>>("minimum_balance")
            );
            if found != expected {
                wrong.push(format!("account {number}: {found}; expected {expected}"));
            }
        }
        for currency in CURRENCIES {
            if sums.get(currency).is_some_and(|sum| *sum != 0) {
                wrong.push(format!("the balances in {currency} sum to {}", sums[currency]));
            }
        }
        wrong
    }

    async fn entries_differ(&self, bank: &Bank) -> Vec<String> {
        let sql = "SELECT account_id, account_sequence, transfer_id, amount, balance_after, transaction_date \
                   FROM transactions WHERE tenant_id = $1 ORDER BY account_id, account_sequence";
        let rows = self.world.superuser.query(sql, &[&self.tenant.tenant_id()]).await.unwrap();
        let mut found = BTreeMap::<u64, Vec<(i64, u64, i64, i64, i32)>>::new();
        for row in &rows {
            let account = number_of(&self.accounts, row.get("account_id"));
            let transfer = number_of(&self.transfers, row.get("transfer_id"));
            let day = number_of_day(row.get("transaction_date"));
            let entry = (row.get(1), transfer, row.get(3), row.get(4), day);
            found.entry(account).or_default().push(entry);
        }
        let mut wrong = Vec::new();
        for (number, known) in &bank.books.accounts {
            let mut balance = 0;
            let expected: Vec<(i64, u64, i64, i64, i32)> = (1..)
                .zip(&known.entries)
                .map(|(place, entry)| {
                    let amount = i64::try_from(entry.amount).unwrap();
                    balance += amount;
                    (place, entry.transfer, amount, balance, entry.day)
                })
                .collect();
            let stored = found.remove(number).unwrap_or_default();
            if stored != expected {
                wrong.push(format!("entries of {number}: {stored:?}; expected {expected:?}"));
            }
        }
        wrong.extend(found.iter().map(|(number, more)| format!("entries of {number}: {more:?}")));
        wrong
    }

    async fn transfers_differ(&self, bank: &Bank) -> Vec<String> {
        let sql = "SELECT id, kind, amount, value_date, reverses_transfer_id, hold_id FROM transfers \
                   WHERE tenant_id = $1";
        let rows = self.world.superuser.query(sql, &[&self.tenant.tenant_id()]).await.unwrap();
        let mut wrong = Vec::new();
        if rows.len() != bank.transfers.len() {
            wrong.push(format!("{} transfers, {} expected", rows.len(), bank.transfers.len()));
        }
        for row in &rows {
            let number = number_of(&self.transfers, row.get("id"));
            let id = |name: &str, ids: &BTreeMap<u64, Uuid>| {
                row.get::<_, Option<Uuid>>(name).map(|id| number_of(ids, id))
            };
            let same = bank.transfers.get(&number).is_some_and(|known| {
                row.get::<_, &str>("kind") == known.kind
                    && i128::from(row.get::<_, i64>("amount")) == known.amount
                    && number_of_day(row.get("value_date")) == known.day
                    && id("reverses_transfer_id", &self.transfers) == known.reverses
                    && id("hold_id", &self.holds) == known.hold
            });
            if !same {
                wrong.push(format!("transfer {number}: {row:?}"));
            }
        }
        wrong
    }

    async fn holds_differ(&self, bank: &Bank) -> Vec<String> {
        let sql = "SELECT id, account_id, to_account_id, amount, captured_amount, remaining, status, version, \
                   last_transfer_id, extract(epoch FROM expires_at)::bigint AS ends FROM holds WHERE tenant_id = $1";
        let rows = self.world.superuser.query(sql, &[&self.tenant.tenant_id()]).await.unwrap();
        let mut wrong = Vec::new();
        if rows.len() != bank.books.holds.len() {
            wrong.push(format!("{} holds, {} expected", rows.len(), bank.books.holds.len()));
        }
        for row in &rows {
            let number = number_of(&self.holds, row.get("id"));
            let amount = |name: &str| i128::from(row.get::<_, i64>(name));
            let last = row.get::<_, Option<Uuid>>("last_transfer_id");
            let same = bank.books.holds.get(&number).is_some_and(|known| {
                number_of(&self.accounts, row.get("account_id")) == known.account
                    && number_of(&self.accounts, row.get("to_account_id")) == known.to
                    && amount("amount") == known.amount
                    && amount("captured_amount") == known.captured
                    && amount("remaining") == known.remaining()
                    && row.get::<_, &str>("status") == status(known.end, known.captured > 0)
                    && row.get::<_, i64>("version") == known.changes
                    && last.map(|id| number_of(&self.transfers, id)) == known.last_transfer
                    && row.get::<_, i64>("ends") == known.expires_at
            });
            if !same {
                wrong.push(format!(
                    "hold {number}: {row:?}, expected {:?}",
                    bank.books.holds.get(&number)
                ));
            }
        }
        wrong
    }
}

pub(super) fn output<T>(reply: Reply<T>) -> T {
    reply.output
}

fn refuse(refusal: &Refusal) -> Outcome {
    Outcome { answer: Err(shown(refusal)), transfer: None, hold: None }
}

fn of_hold(hold: &Hold) -> Done {
    Done::Hold {
        status: hold.status.as_str(),
        remaining: i128::from(hold.remaining),
        captured: i128::from(hold.captured_amount),
    }
}

fn made_hold(result: Result<Hold, Refusal>) -> Outcome {
    match result {
        Ok(hold) => Outcome { answer: Ok(of_hold(&hold)), transfer: None, hold: Some(hold.id) },
        Err(refusal) => refuse(&refusal),
    }
}

fn paid(result: Result<banking::CapturedHold, Refusal>) -> Outcome {
    match result {
        Ok(done) => {
            let answer = Ok(of_hold(&done.hold));
            Outcome { answer, transfer: Some(done.transfer_id), hold: None }
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn settled(result: Result<banking::Account, Refusal>) -> Outcome {
    match result {
        Err(refusal) => refuse(&refusal),
        Ok(account) => {
            let status = match account.status {
                AccountStatus::Active => Status::Active,
                AccountStatus::Frozen => Status::Frozen,
                AccountStatus::Closed => Status::Closed,
            };
            let (balance, available) =
                (i128::from(account.balance), i128::from(account.available_balance));
            let done = Done::Account { balance, available, status };
            Outcome { answer: Ok(done), transfer: None, hold: None }
        }
    }
}
